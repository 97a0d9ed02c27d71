/* arrow_out: tables leave as Arrow arrays and streams.
 *
 * Each array that leaves holds the table by a reference of its own, and what had to be copied for it: so children may
 * be moved out and released in any order, on any thread, and nothing points into the struct around them. Copied are
 * bools (bytes become bits), elements that are strided, of the other byte order or not aligned, validity that does not
 * begin at a byte, times of units that Arrow does not have, and validity where a time is NaT: Arrow has no such value,
 * it is missing there. Every field says that it may be null. Refuses names that stand twice, complex numbers, durations
 * of years or months, and times without a unit. */
#include "arrow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "column.h"
#include "error.h"
#include "mem.h"

enum { BUFFERS = 3, LABEL_SIZE = 48 }; /* "__index_level_18446744073709551615__" */

/* What an empty buffer points to: some readers do not take NULL. An offset of 0, too. */
static const int64_t nothing[2];

/* One column on its way out, or the dictionary of one. */
typedef struct leaving {
    const krait_table  *table;
    const krait_column *column;
    const char         *name; /* for messages */
    krait_error       **err;
} leaving;

static krait_status refuse(const leaving *l, krait_status status, const char *format, ...) KRAIT_PRINTF(3, 4);
static krait_status refuse(const leaving *l, krait_status status, const char *format, ...) {
    char    what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return krait__fail(l->err, status, "column '%.*s' %s", krait__shown(l->name), l->name, what);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

static bool is_time(const krait_column *column) {
    return column->kind == KRAIT_COLUMN_ARRAY &&
           (column->dtype.code == KRAIT_DATETIME || column->dtype.code == KRAIT_TIMEDELTA);
}

static bool is_bool(const krait_column *column) {
    return column->kind == KRAIT_COLUMN_ARRAY && column->dtype.code == KRAIT_BOOL;
}

/* The unit that a time leaves in: its own where Arrow has it, else the next finer one; below nanoseconds those. Days
 * stay days (date32) unless they are shown in a zone. 0: none. */
static uint8_t unit_out(const krait_column *column) {
    uint8_t unit = column->dtype.unit;
    bool    duration = column->dtype.code == KRAIT_TIMEDELTA;
    if (unit == KRAIT_GENERIC || (duration && unit <= KRAIT_MONTH)) return 0;
    if (unit == KRAIT_DAY && !duration && !column->zone) return KRAIT_DAY;
    return unit < KRAIT_S ? KRAIT_S : unit > KRAIT_NS ? KRAIT_NS : unit;
}

static krait_status unsupported(const leaving *l) {
    char type[64];
    krait_dtype_name(l->column->dtype, type, sizeof type);
    return refuse(l, KRAIT_E_UNSUPPORTED, "is %s, for which Arrow has no type", type);
}

static krait_status time_format(const leaving *l, krait__text *out) {
    static const char letters[] = { [KRAIT_S] = 's', [KRAIT_MS] = 'm', [KRAIT_US] = 'u', [KRAIT_NS] = 'n' };
    uint8_t           unit = unit_out(l->column);
    if (!unit) return unsupported(l);
    if (unit == KRAIT_DAY) krait__text_addf(out, "tdD");
    else if (l->column->dtype.code == KRAIT_TIMEDELTA) krait__text_addf(out, "tD%c", letters[unit]);
    else krait__text_addf(out, "ts%c:%s", letters[unit], l->column->zone ? l->column->zone : "");
    return KRAIT_OK;
}

static krait_status element_format(const leaving *l, krait__text *out) {
    static const char *const formats[] = {
        [KRAIT_BOOL] = "b", [KRAIT_I8] = "c",  [KRAIT_I16] = "s", [KRAIT_I32] = "i",
        [KRAIT_I64] = "l",  [KRAIT_U8] = "C",  [KRAIT_U16] = "S", [KRAIT_U32] = "I",
        [KRAIT_U64] = "L",  [KRAIT_F16] = "e", [KRAIT_F32] = "f", [KRAIT_F64] = "g",
    };
    uint8_t code = l->column->dtype.code;
    if (is_time(l->column)) return time_format(l, out);
    if (code >= sizeof formats / sizeof *formats || !formats[code]) return unsupported(l);
    krait__text_addf(out, "%s", formats[code]);
    return KRAIT_OK;
}

static krait_status format_of(const leaving *l, krait__text *out) {
    const krait_column *column = l->column;
    krait_status        status = KRAIT_OK;
    switch (column->kind) {
    case KRAIT_COLUMN_TEXT: krait__text_addf(out, "%s", column->offset_bytes == 8 ? "U" : "u"); break;
    case KRAIT_COLUMN_BYTES: krait__text_addf(out, "%s", column->offset_bytes == 8 ? "Z" : "z"); break;
    case KRAIT_COLUMN_DECIMAL: krait__text_addf(out, "d:%d,%d", column->precision, column->scale); break;
    case KRAIT_COLUMN_DATE: krait__text_addf(out, "tdD"); break;
    default: status = element_format(l, out);
    }
    if (!status && out->failed) status = krait__fail_nomem(l->err);
    return status;
}

/* ---- schemas ----------------------------------------------------------------------------------------------------- */

typedef struct naming {
    char                *format, *name;
    struct ArrowSchema  *below; /* children, or the dictionary */
    struct ArrowSchema **children;
} naming;

static void release_schema(struct ArrowSchema *schema) {
    naming *own = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++)
        if (schema->children[i]->release) schema->children[i]->release(schema->children[i]);
    if (schema->dictionary && schema->dictionary->release) schema->dictionary->release(schema->dictionary);
    krait__free(own->format);
    krait__free(own->name);
    krait__free(own->below);
    krait__free(own->children);
    krait__free(own);
    schema->release = NULL;
}

/* A schema of `n` children, or of a dictionary; takes over the format. False without memory: then all is freed. */
static bool make_schema(struct ArrowSchema *schema, char *format, const char *name, size_t n, bool dictionary) {
    naming *own = krait__zalloc(sizeof *own);
    memset(schema, 0, sizeof *schema);
    if (!own) {
        krait__free(format);
        return false;
    }
    schema->private_data = own;
    schema->release = release_schema;
    schema->format = own->format = format;
    schema->name = own->name = krait__strdup(name);
    own->below = krait__zalloc(krait__size(n + dictionary, sizeof *own->below, 0));
    own->children = krait__alloc(krait__size(n, sizeof *own->children, 0));
    if (!format || !schema->name || !own->below || !own->children) {
        release_schema(schema);
        return false;
    }
    for (size_t i = 0; i < n; i++) own->children[i] = &own->below[i];
    schema->children = n ? own->children : NULL;
    schema->n_children = (int64_t)n;
    if (dictionary) schema->dictionary = own->below;
    return true;
}

static krait_status column_schema(const leaving *l, const char *name, struct ArrowSchema *schema) {
    bool         category = l->column->kind == KRAIT_COLUMN_CATEGORY;
    krait__text  format = { 0 };
    krait_status status = format_of(l, &format);
    if (status) {
        krait__text_free(&format);
        return status;
    }
    if (!make_schema(schema, format.data, name, 0, category)) return krait__fail_nomem(l->err);
    schema->flags = ARROW_FLAG_NULLABLE;
    if (l->column->ordered) schema->flags |= ARROW_FLAG_DICTIONARY_ORDERED;
    if (category) {
        leaving values = { l->table, l->column->dictionary, l->name, l->err };
        status = column_schema(&values, "", schema->dictionary);
    }
    if (status) release_schema(schema);
    return status;
}

/* ---- arrays: what they hold -------------------------------------------------------------------------------------- */

typedef struct holder {
    krait_table        *table; /* a reference; NULL: the struct around, which has no buffers */
    const void         *buffers[BUFFERS];
    void               *copies[BUFFERS];
    struct ArrowArray  *below; /* children, or the dictionary */
    struct ArrowArray **children;
} holder;

static void release_array(struct ArrowArray *array) {
    holder *own = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++)
        if (array->children[i]->release) array->children[i]->release(array->children[i]);
    if (array->dictionary && array->dictionary->release) array->dictionary->release(array->dictionary);
    for (int i = 0; i < BUFFERS; i++) krait__free(own->copies[i]);
    krait__free(own->below);
    krait__free(own->children);
    krait__table_release(own->table);
    krait__free(own);
    array->release = NULL;
}

static bool make_array(struct ArrowArray *array, const krait_table *table, size_t n, bool dictionary) {
    holder *own = krait__zalloc(sizeof *own);
    memset(array, 0, sizeof *array);
    if (!own) return false;
    array->private_data = own;
    array->release = release_array;
    array->buffers = own->buffers;
    own->below = krait__zalloc(krait__size(n + dictionary, sizeof *own->below, 0));
    own->children = krait__alloc(krait__size(n, sizeof *own->children, 0));
    if (!own->below || !own->children) {
        release_array(array);
        return false;
    }
    for (size_t i = 0; i < n; i++) own->children[i] = &own->below[i];
    array->children = n ? own->children : NULL;
    array->n_children = (int64_t)n;
    if (dictionary) array->dictionary = own->below;
    if (table) own->table = krait__table_ref(table);
    return true;
}

static void share(struct ArrowArray *array, int i, const void *data) {
    array->buffers[i] = data ? data : nothing;
}

/* Memory for buffer i; the array frees it. */
static void *room(struct ArrowArray *array, int i, int64_t n, size_t size) {
    holder *own = array->private_data;
    own->copies[i] = krait__alloc(krait__size((size_t)n, size, 0));
    array->buffers[i] = own->copies[i];
    return own->copies[i];
}

/* Zeroed bits for every row in buffer i. */
static uint8_t *room_for_bits(struct ArrowArray *array, int i, int64_t rows) {
    uint8_t *bits = room(array, i, rows / 8 + 1, 1);
    if (bits) memset(bits, 0, (size_t)(rows / 8 + 1));
    return bits;
}

/* ---- arrays: validity -------------------------------------------------------------------------------------------- */

static bool put_valid(const krait_column *column, struct ArrowArray *array) {
    uint8_t *bits;
    if (!column->valid || !column->rows) return true;
    array->null_count = -1;
    if (column->valid_offset % 8 == 0) {
        array->buffers[0] = column->valid + column->valid_offset / 8;
        return true;
    }
    bits = room_for_bits(array, 0, column->rows);
    if (bits) krait__bits_copy(bits, 0, column->valid, column->valid_offset, column->rows);
    return bits;
}

static int64_t tick_at(const krait_column *column, int64_t row) {
    uint64_t tick;
    memcpy(&tick, (const char *)column->data + row * column->stride, sizeof tick);
    return (int64_t)(column->dtype.swapped ? __builtin_bswap64(tick) : tick);
}

/* Its elements lie one after the other as a C program of this machine reads them. */
static bool is_plain(const krait_column *column, int64_t item) {
    bool typed = column->kind == KRAIT_COLUMN_ARRAY || column->kind == KRAIT_COLUMN_CATEGORY;
    if (typed && column->dtype.swapped && item > 1) return false;
    return (column->stride == item || column->rows <= 1) && (uintptr_t)column->data % (uintptr_t)item == 0;
}

static bool has_nat(const krait_column *column) {
    const int64_t *ticks = column->data;
    int            found = 0;
    if (is_plain(column, 8)) {
        for (int64_t i = 0; i < column->rows; i++) found |= ticks[i] == INT64_MIN;
    } else {
        for (int64_t i = 0; i < column->rows && !found; i++) found = tick_at(column, i) == INT64_MIN;
    }
    return found;
}

/* NaT has no value in Arrow. */
static bool put_time_valid(const krait_column *column, struct ArrowArray *array) {
    uint8_t *bits;
    if (!has_nat(column)) return put_valid(column, array);
    bits = room_for_bits(array, 0, column->rows);
    if (!bits) return false;
    krait__bits_copy(bits, 0, column->valid, column->valid_offset, column->rows);
    for (int64_t i = 0; i < column->rows; i++)
        if (tick_at(column, i) == INT64_MIN) bits[i / 8] &= (uint8_t) ~(1u << (i % 8));
    array->null_count = -1;
    return true;
}

/* ---- arrays: elements -------------------------------------------------------------------------------------------- */

/* With the size constant, memcpy is a move. */
#define EACH(size)                                                                                                     \
    for (int64_t i = 0; i < column->rows; i++) memcpy(to + i * (size), from + i * column->stride, (size))

static void copy_elements(char *to, const krait_column *column, size_t item) {
    const char *from = column->data;
    switch (item) {
    case 1: EACH(1); break;
    case 2: EACH(2); break;
    case 4: EACH(4); break;
    case 8: EACH(8); break;
    default: EACH(16); break;
    }
}

static void swap_elements(char *data, int64_t rows, size_t item) {
    for (char *end = data + (size_t)rows * item; data < end; data += item) {
        for (size_t i = 0; i < item / 2; i++) {
            char byte = data[i];
            data[i] = data[item - 1 - i];
            data[item - 1 - i] = byte;
        }
    }
}

static bool put_elements(const krait_column *column, struct ArrowArray *array) {
    int64_t item = krait__column_item(column);
    bool    typed = column->kind == KRAIT_COLUMN_ARRAY || column->kind == KRAIT_COLUMN_CATEGORY;
    char   *data;
    if (!column->rows || is_plain(column, item)) {
        share(array, 1, column->rows ? column->data : NULL);
        return true;
    }
    data = room(array, 1, column->rows, (size_t)item);
    if (!data) return false;
    copy_elements(data, column, (size_t)item);
    if (typed && column->dtype.swapped) swap_elements(data, column->rows, (size_t)item);
    return true;
}

static bool put_bits(const krait_column *column, struct ArrowArray *array) {
    const char *from = column->data;
    uint8_t    *bits = room_for_bits(array, 1, column->rows);
    if (!bits) return false;
    for (int64_t i = 0; i < column->rows; i++)
        bits[i / 8] |= (uint8_t)((unsigned)(from[i * column->stride] != 0) << (i % 8));
    return true;
}

/* A tick in another unit, which holds it exactly; false where it does not. */
static bool convert(const krait_column *column, int64_t tick, uint8_t unit, int64_t *out) {
    krait_dtype dtype = column->dtype;
    krait_value time;
    dtype.swapped = 0;
    time = krait_time(dtype, tick);
    return krait_get_ticks(&time, dtype.code, unit, out, NULL) == KRAIT_OK &&
           (unit != KRAIT_DAY || (*out >= INT32_MIN && *out <= INT32_MAX));
}

static krait_status put_converted(const leaving *l, struct ArrowArray *array, uint8_t unit) {
    const krait_column *column = l->column;
    size_t              size = unit == KRAIT_DAY ? 4 : 8;
    char               *data = room(array, 1, column->rows, size);
    if (!data) return krait__fail_nomem(l->err);
    for (int64_t i = 0; i < column->rows; i++) {
        int64_t tick = tick_at(column, i), out = 0;
        int32_t day;
        if (tick != INT64_MIN && krait_column_has(column, i) && !convert(column, tick, unit, &out)) {
            char type[64];
            krait_dtype_name(column->dtype, type, sizeof type);
            return refuse(l, KRAIT_E_RANGE, "has %" PRId64 " of %s in row %" PRId64 ", which is no %s", tick, type, i,
                          unit == KRAIT_DAY  ? "day that 32 bits hold"
                          : unit == KRAIT_NS ? "whole number of nanoseconds that 64 bits hold"
                                             : "number of that Arrow unit that 64 bits hold");
        }
        day = (int32_t)out;
        if (size == 4) memcpy(data + i * 4, &day, 4);
        else memcpy(data + i * 8, &out, 8);
    }
    return KRAIT_OK;
}

static krait_status put_time(const leaving *l, struct ArrowArray *array) {
    uint8_t unit = unit_out(l->column);
    if (l->column->dtype.unit == unit && l->column->dtype.of.count == 1 && unit != KRAIT_DAY)
        return put_elements(l->column, array) ? KRAIT_OK : krait__fail_nomem(l->err);
    return put_converted(l, array, unit);
}

static bool put_texts(const krait_column *column, struct ArrowArray *array) {
    size_t width = (size_t)column->offset_bytes;
    void  *copy;
    array->n_buffers = 3;
    share(array, 1, column->rows ? column->offsets : NULL);
    share(array, 2, column->data);
    if (!column->rows || (uintptr_t)column->offsets % width == 0) return true;
    copy = room(array, 1, column->rows + 1, width);
    if (copy) memcpy(copy, column->offsets, (size_t)(column->rows + 1) * width);
    return copy;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static krait_status column_array(const leaving *l, struct ArrowArray *array);

static krait_status put_column(const leaving *l, struct ArrowArray *array) {
    const krait_column *column = l->column;
    leaving             values = { l->table, column->dictionary, l->name, l->err };
    bool                done;
    array->length = column->rows;
    array->n_buffers = 2;
    done = is_time(column) ? put_time_valid(column, array) : put_valid(column, array);
    if (!done) return krait__fail_nomem(l->err);
    if (is_time(column)) return put_time(l, array);
    if (krait__column_is_text(column)) done = put_texts(column, array);
    else done = is_bool(column) ? put_bits(column, array) : put_elements(column, array);
    if (!done) return krait__fail_nomem(l->err);
    return column->kind == KRAIT_COLUMN_CATEGORY ? column_array(&values, array->dictionary) : KRAIT_OK;
}

static krait_status column_array(const leaving *l, struct ArrowArray *array) {
    krait_status status;
    if (!make_array(array, l->table, 0, l->column->kind == KRAIT_COLUMN_CATEGORY)) return krait__fail_nomem(l->err);
    status = put_column(l, array);
    if (status) release_array(array);
    return status;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static size_t part_count(const krait_table *table) {
    return table->columns.count + table->index.count;
}

/* Columns, then the levels of the index. */
static const krait__part *part_at(const krait_table *table, size_t i) {
    size_t columns = table->columns.count;
    return i < columns ? &table->columns.items[i] : &table->index.items[i - columns];
}

/* The name of a part; of a level without one what pyarrow calls it, written into `buffer`. */
static const char *label(const krait_table *table, size_t i, char buffer[LABEL_SIZE]) {
    const char *name = part_at(table, i)->column.name;
    if (i < table->columns.count || *name) return name;
    snprintf(buffer, LABEL_SIZE, "__index_level_%zu__", i - table->columns.count);
    return buffer;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static krait_status check_labels(const krait_table *table, krait_error **err) {
    size_t       n = part_count(table);
    const char **names = krait__alloc(krait__size(n, sizeof *names + LABEL_SIZE, 0));
    char        *text = names ? (char *)(names + n) : NULL;
    krait_status status = KRAIT_OK;
    if (!names) return krait__fail_nomem(err);
    for (size_t i = 0; i < n; i++) names[i] = label(table, i, text + i * LABEL_SIZE);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 1; i < n && !status; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            status = krait__fail(err, KRAIT_E_AMBIGUOUS, "more than one column is named '%.*s'; Arrow's must differ",
                                 krait__shown(names[i]), names[i]);
    krait__free(names);
    return status;
}

static krait_status table_schema(const krait_table *table, struct ArrowSchema *schema, krait_error **err) {
    size_t       n = part_count(table);
    krait_status status = check_labels(table, err);
    if (status) return status;
    if (!make_schema(schema, krait__strdup("+s"), "", n, false)) return krait__fail_nomem(err);
    for (size_t i = 0; i < n && !status; i++) {
        const krait__part *part = part_at(table, i);
        char               buffer[LABEL_SIZE];
        leaving            l = { table, &part->column, label(table, i, buffer), err };
        if (part->refusal) status = krait__fail(err, KRAIT_E_UNSUPPORTED, "%s", part->refusal);
        else status = column_schema(&l, l.name, schema->children[i]);
    }
    if (status) release_schema(schema);
    return status;
}

/* The schema was made: every column can leave. */
static krait_status table_array(const krait_table *table, struct ArrowArray *array, krait_error **err) {
    size_t       n = part_count(table);
    krait_status status = KRAIT_OK;
    if (!make_array(array, NULL, n, false)) return krait__fail_nomem(err);
    array->length = krait_table_rows(table);
    array->n_buffers = 1;
    for (size_t i = 0; i < n && !status; i++) {
        char    buffer[LABEL_SIZE];
        leaving l = { table, &part_at(table, i)->column, label(table, i, buffer), err };
        status = column_array(&l, array->children[i]);
    }
    if (status) release_array(array);
    return status;
}

static krait_status export(const krait_table *table, struct ArrowSchema *schema, struct ArrowArray *array,
                           krait_error **err) {
    krait_status status = table_schema(table, schema, err);
    if (status) return status;
    status = table_array(table, array, err);
    if (status) release_schema(schema);
    return status;
}

krait_status krait_arrow_export(const krait_table *table, struct ArrowSchema *schema, struct ArrowArray *array,
                                krait_error **err) {
    krait_status status;
    if (schema) memset(schema, 0, sizeof *schema);
    if (array) memset(array, 0, sizeof *array);
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!table || !schema || !array)
        status = krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", !table ? "table" : schema ? "array" : "schema");
    else status = export(table, schema, array, err);
    if (status) krait__at(err, "export Arrow array");
    return status;
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

typedef struct outflow {
    krait_table      *table; /* a reference: get_schema may be called at any time */
    struct ArrowArray array; /* released: it was given */
    krait_error      *err;   /* the last one */
} outflow;

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    outflow     *own = stream->private_data;
    krait_status status;
    krait_error_clear(&own->err);
    status = table_schema(own->table, out, &own->err);
    return !status ? 0 : status == KRAIT_E_NOMEM ? ENOMEM : EINVAL;
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    outflow *own = stream->private_data;
    *out = own->array;
    own->array.release = NULL;
    return 0;
}

static const char *stream_error(struct ArrowArrayStream *stream) {
    outflow *own = stream->private_data;
    return own->err ? krait_error_message(own->err) : NULL;
}

static void release_stream(struct ArrowArrayStream *stream) {
    outflow *own = stream->private_data;
    if (own->array.release) own->array.release(&own->array);
    krait__table_release(own->table);
    krait_error_clear(&own->err);
    krait__free(own);
    stream->release = NULL;
}

static krait_status export_stream(const krait_table *table, struct ArrowArrayStream *stream, krait_error **err) {
    outflow           *own = krait__zalloc(sizeof *own);
    struct ArrowSchema schema;
    krait_status       status;
    if (!own) return krait__fail_nomem(err);
    status = export(table, &schema, &own->array, err);
    if (status) {
        krait__free(own);
        return status;
    }
    release_schema(&schema);
    own->table = krait__table_ref(table);
    *stream = (struct ArrowArrayStream){ stream_schema, stream_next, stream_error, release_stream, own };
    return KRAIT_OK;
}

krait_status krait_arrow_export_stream(const krait_table *table, struct ArrowArrayStream *stream, krait_error **err) {
    krait_status status;
    if (stream) memset(stream, 0, sizeof *stream);
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!table || !stream) status = krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", table ? "stream" : "table");
    else status = export_stream(table, stream, err);
    if (status) krait__at(err, "export Arrow stream");
    return status;
}
