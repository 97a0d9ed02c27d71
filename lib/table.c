/* table: tables in plain C: memory and lifetime, building, reading.
 *
 * A table is built by one thread and read by any number. Nothing is added of a column that is refused, and what was
 * handed over with it (krait_owned) is released then. Refuses arrays of more than one dimension and records as columns;
 * each field of records is one. */
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "value.h"

enum {
    BLOCK_ALIGN = 64, /* a cache line, and what Arrow recommends */
    NAMES_SHOWN = 20  /* names listed when one was not found */
};

/* ---- memory and lifetime ----------------------------------------------------------------------------------------- */

/* The list with room for one more of `each` bytes, perhaps elsewhere; NULL without memory: then it is as it was. */
static void *grown(void *items, size_t count, size_t *room, size_t each) {
    size_t wanted = *room ? *room * 2 : 4;
    void  *bigger;
    if (count < *room) return items;
    bigger = krait__realloc(items, krait__size(wanted, each, 0));
    if (bigger) *room = wanted;
    return bigger;
}

krait_table *krait__table_new(int64_t rows) {
    krait_table *table = krait__zalloc(sizeof *table);
    if (!table) return NULL;
    atomic_init(&table->refs, 1);
    table->rows = rows;
    return table;
}

krait_table *krait__table_ref(const krait_table *table) {
    krait_table *shared = (krait_table *)(uintptr_t)table;
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

/* What is kept goes before the blocks: its description may lie in one. */
void krait__table_release(void *owner) {
    krait_table *table = owner;
    if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1) return;
    while (table->keep_count) {
        krait__keep keep = table->keeps[--table->keep_count];
        keep.release(keep.owner);
    }
    if (table->object_release) table->object_release(table->object);
    for (size_t i = 0; i < table->block_count; i++) krait__free(table->blocks[i]);
    krait__free(table->blocks);
    krait__free(table->keeps);
    krait__free(table->columns.items);
    krait__free(table->index.items);
    krait__free(table);
}

static char *block(krait_table *table, size_t bytes) {
    void **blocks = grown(table->blocks, table->block_count, &table->block_room, sizeof *blocks);
    char  *made;
    if (!blocks) return NULL;
    table->blocks = blocks;
    made = krait__alloc(bytes);
    if (made) blocks[table->block_count++] = made;
    return made;
}

void *krait__table_alloc(krait_table *table, size_t bytes) {
    char     *made = block(table, krait__size(bytes, 1, BLOCK_ALIGN));
    uintptr_t at = (uintptr_t)made;
    return made ? made + ((BLOCK_ALIGN - at % BLOCK_ALIGN) % BLOCK_ALIGN) : NULL;
}

char *krait__table_text(krait_table *table, const char *text, size_t size) {
    char *copy = block(table, krait__size(size, 1, 1));
    if (!copy) return NULL;
    if (size) memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

/* Room for `more` that are kept, two at most. */
static bool keep_room(krait_table *table, size_t more) {
    krait__keep *keeps = grown(table->keeps, table->keep_count + more - 1, &table->keep_room, sizeof *keeps);
    if (keeps) table->keeps = keeps;
    return keeps != NULL;
}

bool krait__table_keep(krait_table *table, void (*release)(void *owner), void *owner) {
    if (!keep_room(table, 1)) return false;
    table->keeps[table->keep_count++] = (krait__keep){ release, owner };
    return true;
}

krait_column *krait__table_push(krait_table *table, bool index, const char *name, size_t size) {
    krait__parts *parts = index ? &table->index : &table->columns;
    krait__part  *items = grown(parts->items, parts->count, &parts->room, sizeof *items);
    krait_column  column = KRAIT_COLUMN_INIT;
    if (!items) return NULL;
    parts->items = items;
    column.name = krait__table_text(table, name, size);
    if (!column.name) return NULL;
    column.rows = krait_table_rows(table);
    parts->items[parts->count] = (krait__part){ column, NULL };
    return &parts->items[parts->count++].column;
}

bool krait__table_refuse(krait_table *table, bool index, const char *format, ...) {
    krait__parts *parts = index ? &table->index : &table->columns;
    va_list       args, again;
    int           length;
    char         *text;
    va_start(args, format);
    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    text = length < 0 ? NULL : block(table, (size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    if (text) parts->items[parts->count - 1].refusal = text;
    return text != NULL;
}

/* ---- the memory of all columns ----------------------------------------------------------------------------------- */

struct range {
    const char *lo, *hi;
    bool        touched;
};

static void each_range(const krait_table *table, krait__range_fn *fn, void *user) {
    for (size_t i = 0; i < table->columns.count; i++) krait__column_ranges(&table->columns.items[i].column, fn, user);
    for (size_t i = 0; i < table->index.count; i++) krait__column_ranges(&table->index.items[i].column, fn, user);
}

static void touch(void *user, const char *lo, const char *hi) {
    struct range *range = user;
    if (range->lo == range->hi) range->touched |= range->lo >= lo && range->hi <= hi;
    else range->touched |= lo < hi && range->lo < hi && range->hi > lo;
}

bool krait__table_touches(const krait_table *table, const char *lo, const char *hi) {
    struct range range = { lo, hi, false };
    each_range(table, touch, &range);
    return range.touched;
}

static bool part_touches(const krait__part *part, struct range *range) {
    krait__column_ranges(&part->column, touch, range);
    return range->touched;
}

/* Results mostly have the columns in their order: the next one is looked at before all. */
bool krait__table_touches_near(const krait_table *table, const char *lo, const char *hi, size_t *near) {
    struct range range = { lo, hi, false };
    size_t       at = *near;
    for (size_t i = at; i < table->columns.count && i <= at + 1; i++, *near = i)
        if (part_touches(&table->columns.items[i], &range)) return true;
    for (*near = 0; *near < table->columns.count; ++*near)
        if (part_touches(&table->columns.items[*near], &range)) return true;
    *near = 0;
    return krait__table_touches(table, lo, hi);
}

static void widen(void *user, const char *lo, const char *hi) {
    struct range *range = user;
    if (lo == hi) return;
    if (!range->lo || lo < range->lo) range->lo = lo;
    if (!range->hi || hi > range->hi) range->hi = hi;
}

void krait__table_hull(const krait_table *table, const char **lo, const char **hi) {
    struct range range = { NULL, NULL, false };
    each_range(table, widen, &range);
    *lo = range.lo;
    *hi = range.hi;
}

static krait_status copy_parts(krait_table *copy, bool index, const krait__parts *parts, krait_error **err) {
    krait_status status = KRAIT_OK;
    for (size_t i = 0; i < parts->count && !status; i++) {
        const krait__part *part = &parts->items[i];
        krait_column      *column = krait__table_push(copy, index, part->column.name, strlen(part->column.name));
        const char        *name = column ? column->name : NULL;
        if (!column) return krait__fail_nomem(err);
        if (part->refusal) {
            if (!krait__table_refuse(copy, index, "%s", part->refusal)) return krait__fail_nomem(err);
            continue;
        }
        *column = part->column;
        column->name = name;
        status = krait__column_copy(copy, column, NULL, err);
    }
    return status;
}

krait_status krait__table_copy(const krait_table *table, krait_table **out, krait_error **err) {
    krait_table *copy = krait__table_new(table->rows);
    krait_status status;
    *out = NULL;
    if (!copy) return krait__fail_nomem(err);
    status = copy_parts(copy, false, &table->columns, err);
    if (!status) status = copy_parts(copy, true, &table->index, err);
    if (status) krait__table_release(copy);
    else *out = copy;
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

int64_t krait_table_rows(const krait_table *table) {
    return table && table->rows > 0 ? table->rows : 0;
}

size_t krait_table_column_count(const krait_table *table) {
    return table ? table->columns.count : 0;
}

size_t krait_table_index_count(const krait_table *table) {
    return table ? table->index.count : 0;
}

const char *krait_table_column_name(const krait_table *table, size_t i) {
    return i < krait_table_column_count(table) ? table->columns.items[i].column.name : "";
}

size_t krait__table_describe(const krait_table *table, char *buffer, size_t size) {
    size_t  columns = krait_table_column_count(table);
    int64_t rows = krait_table_rows(table);
    char    text[96] = "table that is NULL";
    if (table)
        snprintf(text, sizeof text, "table of %zu column%s, %" PRId64 " row%s", columns, columns == 1 ? "" : "s", rows,
                 rows == 1 ? "" : "s");
    return krait__copy_out(text, strlen(text), buffer, buffer ? size : 0);
}

krait_status krait__table_check(const krait_value *value, krait_error **err) {
    char text[128];
    if (value->kind == KRAIT_KIND_TABLE && value->as.table) return KRAIT_OK;
    if (value->kind == KRAIT_KIND_TABLE)
        return krait__fail(err, KRAIT_E_ARGUMENT, "table is NULL, expected one of krait_table_new");
    krait_value_describe(value, text, sizeof text);
    return krait__fail(err, KRAIT_E_KIND, "value is %s, expected a table", text);
}

/* Fails for an error that sticks, and for NULL. */
static krait_status begin(const void *object, const char *name, krait_error **err) {
    if (krait__stuck(err)) return krait_error_status(*err);
    return object ? KRAIT_OK : krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", name);
}

static krait_status told(krait_status status, krait_error **err) {
    if (status) krait__at(err, "read value");
    return status;
}

krait_status krait_get_table(const krait_value *value, const krait_table **table, krait_error **err) {
    krait_status status;
    if (table) *table = NULL;
    status = begin(value, "value", err);
    if (!status) status = begin(table, "table", err);
    if (!status) status = krait__table_check(value, err);
    if (!status) *table = value->as.table;
    return told(status, err);
}

/* "no column 'x' in table of 2 columns, 3 rows: 'a', 'b'" */
static krait_status no_such(const krait__parts *parts, const krait_table *table, const char *what, krait_error **err) {
    krait__text  names = { 0 };
    char         where[96];
    krait_status status;
    krait__table_describe(table, where, sizeof where);
    for (size_t i = 0; i < parts->count && i < NAMES_SHOWN; i++) {
        const char *name = parts->items[i].column.name;
        krait__text_addf(&names, "%s'%.*s'", i ? ", " : ": ", krait__shown(name), name);
    }
    if (parts->count > NAMES_SHOWN) krait__text_addf(&names, " and %zu more", parts->count - NAMES_SHOWN);
    status = krait__fail(err, KRAIT_E_NOT_FOUND, "no %s in %s%s", what, where,
                         names.failed || !names.data ? "" : names.data);
    krait__text_free(&names);
    return status;
}

static krait_status readable(const krait__part *part, krait_error **err) {
    return part->refusal ? krait__fail(err, KRAIT_E_UNSUPPORTED, "%s", part->refusal) : KRAIT_OK;
}

static krait_status part_at(const krait_table *table, bool index, size_t i, const krait__part **part,
                            krait_error **err) {
    const krait__parts *parts = index ? &table->index : &table->columns;
    char                what[64];
    if (i >= parts->count) {
        snprintf(what, sizeof what, "%s %zu", index ? "level of the index" : "column", i);
        return no_such(parts, table, what, err);
    }
    *part = &parts->items[i];
    return readable(*part, err);
}

/* "'x' stands for 2 columns of a table of 3 columns, 4 rows: at positions 0, 2" */
static krait_status ambiguous(const krait_table *table, const char *name, size_t found, krait_error **err) {
    krait__text  at = { 0 };
    size_t       listed = 0;
    krait_status status;
    for (size_t i = 0; i < table->columns.count && listed < NAMES_SHOWN; i++)
        if (strcmp(table->columns.items[i].column.name, name) == 0)
            krait__text_addf(&at, "%s%zu", listed++ ? ", " : "", i);
    if (found > listed) krait__text_addf(&at, " and %zu more", found - listed);
    status = krait__fail(err, KRAIT_E_AMBIGUOUS,
                         "%zu columns are named '%.*s', at positions %s: krait_table_column takes one", found,
                         krait__shown(name), name, at.failed || !at.data ? "?" : at.data);
    krait__text_free(&at);
    return status;
}

static krait_status part_named(const krait_table *table, const char *name, const krait__part **part,
                               krait_error **err) {
    size_t found = 0;
    for (size_t i = 0; i < table->columns.count; i++) {
        if (strcmp(table->columns.items[i].column.name, name) != 0) continue;
        if (!found++) *part = &table->columns.items[i];
    }
    if (found == 0) {
        char what[160];
        for (size_t i = 0; i < table->index.count; i++)
            if (strcmp(table->index.items[i].column.name, name) == 0)
                return krait__fail(err, KRAIT_E_NOT_FOUND,
                                   "no column '%.*s': level %zu of the index has that name: krait_table_index",
                                   krait__shown(name), name, i);
        snprintf(what, sizeof what, "column '%.*s'", krait__shown(name), name);
        return no_such(&table->columns, table, what, err);
    }
    return found > 1 ? ambiguous(table, name, found, err) : readable(*part, err);
}

static krait_status read_at(const krait_table *table, bool index, size_t i, krait_column *column, krait_error **err) {
    const krait__part *part = NULL;
    krait_status       status;
    if (column) memset(column, 0, sizeof *column);
    status = begin(table, "table", err);
    if (!status) status = begin(column, "column", err);
    if (!status) status = part_at(table, index, i, &part, err);
    if (!status) *column = part->column;
    return told(status, err);
}

krait_status krait_table_column(const krait_table *table, size_t i, krait_column *column, krait_error **err) {
    return read_at(table, false, i, column, err);
}

krait_status krait_table_index(const krait_table *table, size_t i, krait_column *column, krait_error **err) {
    return read_at(table, true, i, column, err);
}

krait_status krait_table_find(const krait_table *table, const char *name, krait_column *column, krait_error **err) {
    const krait__part *part = NULL;
    krait_status       status;
    if (column) memset(column, 0, sizeof *column);
    status = begin(table, "table", err);
    if (!status) status = begin(name, "name", err);
    if (!status) status = begin(column, "column", err);
    if (!status) status = part_named(table, name, &part, err);
    if (!status) *column = part->column;
    return told(status, err);
}

krait_status krait__table_single(const krait_table *table, int code, krait_array *out, krait_error **err) {
    const krait__part *part = NULL;
    krait_status       status = begin(table, "table", err);
    char               text[96];
    if (status) return status;
    if (table->columns.count != 1) {
        krait__table_describe(table, text, sizeof text);
        return krait__fail(err, KRAIT_E_SHAPE, "value is %s, expected exactly one column: krait_get_column takes one",
                           text);
    }
    status = part_at(table, false, 0, &part, err);
    return status ? status : krait_column_array(&part->column, code, false, out, err);
}

krait_status krait__table_named(const krait_table *table, const char *name, int code, krait_array *out,
                                krait_error **err) {
    const krait__part *part = NULL;
    krait_status       status = begin(table, "table", err);
    if (!status) status = part_named(table, name, &part, err);
    return status ? status : krait_column_array(&part->column, code, false, out, err);
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

krait_table *krait_table_new(krait_error **err) {
    krait_table *table = krait__stuck(err) ? NULL : krait__table_new(-1);
    if (!table && !krait__stuck(err)) krait__fail_nomem(err);
    return table;
}

void krait_table_free(krait_table *table) {
    krait__table_release(table);
}

/* "column 'x' is text of 5 bytes, expected ..." */
static krait_status refuse_value(const char *what, const char *name, krait_status status, const krait_value *value,
                                 const char *expected, krait_error **err) {
    char text[1024];
    krait_value_describe(value, text, sizeof text);
    return krait__fail(err, status, "%s '%.*s' is %s, expected %s", what, krait__shown(name), name, text, expected);
}

/* Is there room for a column of so many rows? */
static krait_status check_room(const krait_table *table, bool index, const char *name, int64_t rows,
                               krait_error **err) {
    const krait__parts *parts = index ? &table->index : &table->columns;
    const char         *what = index ? "index level" : "column";
    if (table->rows >= 0 && rows != table->rows)
        return krait__fail(err, KRAIT_E_SHAPE, "%s '%.*s' has %" PRId64 " row%s, the table %" PRId64, what,
                           krait__shown(name), name, rows, rows == 1 ? "" : "s", table->rows);
    if (parts->count >= KRAIT__COLUMNS_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "%s '%.*s' is one too many: a table has at most %d", what,
                           krait__shown(name), name, KRAIT__COLUMNS_MAX);
    return KRAIT_OK;
}

/* Adds a column that was checked and is the table's own. */
static krait_status append(krait_table *table, bool index, const krait_column *column, krait_error **err) {
    krait_column *pushed = krait__table_push(table, index, column->name, strlen(column->name));
    const char   *name = pushed ? pushed->name : NULL;
    if (!pushed) return krait__fail_nomem(err);
    *pushed = *column;
    pushed->name = name;
    table->rows = column->rows;
    return KRAIT_OK;
}

/* Adds a column that was checked. */
static krait_status add_good(krait_table *table, bool index, const krait_column *column, krait_error **err) {
    krait_column own = *column;
    krait_status status = check_room(table, index, column->name, column->rows, err);
    if (!status && !krait__column_own(table, &own)) status = krait__fail_nomem(err);
    return status ? status : append(table, index, &own, err);
}

/* One that was filled by the caller or from what the caller gave. */
static krait_status add_checked(krait_table *table, bool index, const krait_column *column, krait_error **err) {
    krait_status status = krait__column_check(column, false, err);
    return status ? status : add_good(table, index, column, err);
}

static krait_status built(krait_status status, krait_error **err) {
    if (status) krait__at(err, "build table");
    return status;
}

krait_status krait_table_add_column(krait_table *table, const krait_column *column, krait_error **err) {
    krait_status status = begin(table, "table", err);
    if (!status) status = begin(column, "column", err);
    return built(status ? status : add_checked(table, false, column, err), err);
}

krait_status krait_table_add_index(krait_table *table, const krait_column *column, krait_error **err) {
    krait_status status = begin(table, "table", err);
    if (!status) status = begin(column, "column", err);
    return built(status ? status : add_checked(table, true, column, err), err);
}

/* ---- building: arrays -------------------------------------------------------------------------------------------- */

static bool is_fixed(uint8_t code) {
    return code == KRAIT_FIXED_BYTES || code == KRAIT_FIXED_TEXT;
}

/* The array of one dimension in a value, as a column. */
static krait_status read_vector(const char *what, const char *name, const krait_value *value, krait_column *column,
                                krait_error **err) {
    krait_error   *why = NULL;
    const char    *lo, *hi;
    const int64_t *strides = krait__array_strides(value);
    int64_t        size;
    krait_status   status = krait__array_check(value, &lo, &hi, &size, &why);
    if (status)
        krait__fail(err, status, "%s '%.*s' is no array: %s", what, krait__shown(name), name, krait_error_message(why));
    krait_error_clear(&why);
    if (status) return status;
    if (value->as.array.ndim != 1) return refuse_value(what, name, KRAIT_E_SHAPE, value, "one dimension", err);
    column->name = name;
    column->kind = KRAIT_COLUMN_ARRAY;
    column->flags = value->as.array.flags & (KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED | KRAIT_ARRAY_ALIAS);
    column->rows = size;
    column->dtype = value->as.array.dtype;
    column->data = value->as.array.data;
    column->stride = strides ? strides[0] : (int64_t)column->dtype.item_size;
    return KRAIT_OK;
}

static krait_status read_values(const char *name, const krait_value *values, krait_column *column, krait_error **err) {
    const char *expected = "an array of one dimension: krait_vector_f64 and its kin make one";
    if (values->kind == KRAIT_KIND_TABLE) expected = "an array: krait_table_add_column takes columns of a table";
    if (values->kind == KRAIT_KIND_LIST || values->kind == KRAIT_KIND_TEXT)
        expected = "an array: krait_table_add_strings takes texts";
    if (values->kind != KRAIT_KIND_ARRAY) return refuse_value("column", name, KRAIT_E_ARGUMENT, values, expected, err);
    if (values->as.array.dtype.code == KRAIT_STRUCT)
        return refuse_value("column", name, KRAIT_E_ARGUMENT, values,
                            "no records: krait_table_add_structs makes a column of each field", err);
    return read_vector("column", name, values, column, err);
}

/* A bit for each row, 0; the column's own. */
static uint8_t *new_bits(krait_table *table, krait_column *column) {
    size_t   size = (size_t)(column->rows + 7) / 8;
    uint8_t *bits = krait__table_alloc(table, size);
    if (bits) memset(bits, 0, size);
    column->valid = bits;
    return bits;
}

static krait_status pack_bools(krait_table *table, const krait_column *bools, krait_column *column, krait_error **err) {
    const uint8_t *from = bools->data;
    uint8_t       *bits = new_bits(table, column);
    if (!bits) return krait__fail_nomem(err);
    for (int64_t row = 0; row < bools->rows; row++)
        bits[row / 8] |= (uint8_t)((from[row * bools->stride] != 0) << row % 8);
    return KRAIT_OK;
}

/* Which rows of a column have a value: bools are packed, bits are borrowed. */
static krait_status read_valid(krait_table *table, const krait_value *valid, krait_column *column, krait_error **err) {
    const char  *name = column->name;
    krait_column given = KRAIT_COLUMN_INIT;
    uint8_t      code = valid->kind == KRAIT_KIND_ARRAY ? valid->as.array.dtype.code : 0;
    bool         bits = code == KRAIT_U8;
    int64_t      wanted = bits ? (column->rows + 7) / 8 : column->rows;
    krait_status status;
    if (code != KRAIT_BOOL && !bits)
        return refuse_value("valid of column", name, KRAIT_E_ARGUMENT, valid, "an array of bool, or of uint8 with bits",
                            err);
    status = read_vector("valid of column", name, valid, &given, err);
    if (status) return status;
    if (bits ? given.rows < wanted : given.rows != wanted)
        return krait__fail(
            err, KRAIT_E_SHAPE, "valid of column '%.*s' has %" PRId64 " %s, expected %" PRId64 " for %" PRId64 " rows",
            krait__shown(name), name, given.rows, bits ? "bytes of bits" : "bools", wanted, column->rows);
    if (bits && wanted > 1 && given.stride != 1)
        return krait__fail(err, KRAIT_E_SHAPE, "valid of column '%.*s' has bits with gaps between the bytes",
                           krait__shown(name), name);
    if (!bits) return pack_bools(table, &given, column, err);
    column->valid = given.data;
    return KRAIT_OK;
}

static krait_status add_values(krait_table *table, const char *name, const krait_value *values,
                               const krait_value *valid, krait_error **err) {
    krait_column column = KRAIT_COLUMN_INIT;
    krait_status status = krait__name_check(name, err);
    if (!status) status = read_values(name, values, &column, err);
    if (!status) status = check_room(table, false, name, column.rows, err);
    if (!status && valid) status = read_valid(table, valid, &column, err);
    if (!status && is_fixed(column.dtype.code))
        status = krait__column_of_fixed(
            table, &column, column.dtype.code == KRAIT_FIXED_TEXT ? KRAIT_COLUMN_TEXT : KRAIT_COLUMN_BYTES, err);
    return status ? status : add_checked(table, false, &column, err);
}

static bool is_handed_over(const krait_value *value) {
    return value && value->flags & KRAIT_VALUE_OWNED_ && value->release;
}

/* What was handed over is released with the table that borrows it (there is room: keep_room), else now. */
static void settle(krait_table *table, const krait_value *value, bool borrowed) {
    if (!is_handed_over(value)) return;
    if (borrowed) table->keeps[table->keep_count++] = (krait__keep){ value->release, value->owner };
    else value->release(value->owner);
}

krait_status krait_table_add(krait_table *table, const char *name, krait_value values, const krait_value *valid,
                             krait_error **err) {
    krait_status status = begin(table, "table", err);
    if (!status && (is_handed_over(&values) || is_handed_over(valid)) && !keep_room(table, 2))
        status = krait__fail_nomem(err);
    if (!status) status = add_values(table, name, &values, valid, err);
    settle(table, &values, !status && !is_fixed(values.as.array.dtype.code));
    settle(table, valid, !status && valid && valid->as.array.dtype.code == KRAIT_U8);
    return built(status, err);
}

/* ---- building: strings, structs ---------------------------------------------------------------------------------- */

/* The size of all strings together, and how many are missing. */
static size_t measure(const char *const *strings, int64_t rows, int64_t *offsets, int64_t *missing) {
    int64_t total = 0;
    *missing = 0;
    for (int64_t row = 0; row < rows; row++) {
        offsets[row] = total;
        if (strings[row]) total += (int64_t)strlen(strings[row]);
        else ++*missing;
    }
    offsets[rows] = total;
    return (size_t)total;
}

static krait_status mark_missing(krait_table *table, const char *const *strings, krait_column *column,
                                 krait_error **err) {
    uint8_t *bits = new_bits(table, column);
    if (!bits) return krait__fail_nomem(err);
    for (int64_t row = 0; row < column->rows; row++) bits[row / 8] |= (uint8_t)((strings[row] != NULL) << row % 8);
    return KRAIT_OK;
}

static krait_status add_strings(krait_table *table, const char *name, const char *const *strings, int64_t rows,
                                krait_error **err) {
    krait_column column = KRAIT_COLUMN_INIT;
    int64_t     *offsets = krait__table_alloc(table, krait__size((size_t)rows + 1, sizeof *offsets, 0)), missing;
    size_t       size = offsets ? measure(strings, rows, offsets, &missing) : 0;
    char        *data = offsets ? krait__table_alloc(table, size) : NULL;
    krait_status status;
    if (!data) return krait__fail_nomem(err);
    for (int64_t row = 0; row < rows; row++)
        if (strings[row]) memcpy(data + offsets[row], strings[row], (size_t)(offsets[row + 1] - offsets[row]));
    column.name = name;
    column.kind = KRAIT_COLUMN_TEXT;
    column.flags = KRAIT_ARRAY_COPIED;
    column.rows = rows;
    column.data = data;
    column.data_bytes = (int64_t)size;
    column.offsets = offsets;
    column.offset_bytes = sizeof *offsets;
    status = missing ? mark_missing(table, strings, &column, err) : KRAIT_OK;
    if (!status) status = krait__column_check_texts(&column, err); /* its offsets are good */
    return status ? status : add_good(table, false, &column, err);
}

krait_status krait_table_add_strings(krait_table *table, const char *name, const char *const *strings, size_t rows,
                                     krait_error **err) {
    krait_status status = begin(table, "table", err);
    if (!status) status = krait__name_check(name, err);
    if (!status && !strings && rows) status = krait__fail(err, KRAIT_E_ARGUMENT, "strings is NULL, expected %zu", rows);
    if (!status && rows > PTRDIFF_MAX / sizeof *strings)
        status = krait__fail(err, KRAIT_E_SHAPE, "%zu strings are more than memory can have", rows);
    if (!status) status = check_room(table, false, name, (int64_t)rows, err);
    return built(status ? status : add_strings(table, name, strings, (int64_t)rows, err), err);
}

static krait_status add_field(krait_table *table, const krait_column *records, const krait_field *field,
                              krait_error **err) {
    krait_column column = *records;
    krait_status status = krait__name_check(field->name, err);
    char         type[64];
    if (status) return status;
    if (!field->dtype.code || field->dtype.code == KRAIT_STRUCT || field->ndim) {
        krait_dtype_name(field->dtype, type, sizeof type);
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "field '%.*s' is %s%s, which no column can be",
                           krait__shown(field->name), field->name, field->ndim ? "an array of " : "", type);
    }
    column.name = field->name;
    column.dtype = field->dtype;
    if (column.data) column.data = (const char *)column.data + field->offset;
    if (is_fixed(field->dtype.code)) status = krait__column_of_fixed(table, &column, KRAIT_COLUMN_TEXT, err);
    return status ? status : add_checked(table, false, &column, err);
}

/* All fields or none. */
static krait_status add_fields(krait_table *table, const krait_value *structs, krait_error **err) {
    const krait_field *fields;
    size_t             count = krait_dtype_fields(structs->as.array.dtype, &fields), before = table->columns.count;
    int64_t            rows = table->rows;
    krait_column       records = KRAIT_COLUMN_INIT;
    krait_status       status = read_vector("argument", "structs", structs, &records, err);
    for (size_t i = 0; i < count && !status; i++) status = add_field(table, &records, &fields[i], err);
    if (!status) return KRAIT_OK;
    table->columns.count = before;
    table->rows = rows;
    return status;
}

krait_status krait_table_add_structs(krait_table *table, krait_value structs, krait_error **err) {
    krait_status status = begin(table, "table", err);
    if (!status && (structs.kind != KRAIT_KIND_ARRAY || structs.as.array.dtype.code != KRAIT_STRUCT))
        status = refuse_value("argument", "structs", KRAIT_E_ARGUMENT, &structs, "an array made by krait_structs", err);
    if (!status && is_handed_over(&structs) && !keep_room(table, 1)) status = krait__fail_nomem(err);
    if (!status) status = add_fields(table, &structs, err);
    settle(table, &structs, !status);
    return built(status, err);
}
