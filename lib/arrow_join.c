/* arrow_join: Arrow streams become tables, their batches put together.
 *
 * One batch is taken as it lies. Several are copied once into the table's memory: elements and texts one after the
 * other, offsets counted from 0 and widened to 64 bits when the texts need it. Dictionaries that are equal stay one;
 * others become one dictionary of all values, each once, in the order in which they come. Refuses to read a category
 * whose order has a meaning when no batch's dictionary holds all others in its order: nothing tells how the values of
 * different batches compare. */
#include "arrow.h"

#include <stdio.h>
#include <string.h>

#include "column.h"
#include "error.h"
#include "mem.h"

/* Batches of one stream; beyond, it is taken for endless. */
static const size_t batches_max = (size_t)1 << 31;

/* One column of the joined table, and the tables it comes from. */
typedef struct joint {
    krait_table        *table;
    krait_table *const *parts;
    size_t              n, i; /* tables; which column of each */
    krait_column       *out;  /* until the next push; its name and rows are set */
    krait_error       **err;
} joint;

static const krait_column *part(const joint *j, size_t n) {
    return &j->parts[n]->columns.items[j->i].column;
}

/* ---- bits -------------------------------------------------------------------------------------------------------- */

/* Up to eight bits from bit `first` on, the first lowest. */
static unsigned gather(const uint8_t *bits, int64_t first, int64_t n) {
    const uint8_t *at = bits + first / 8;
    int            shift = (int)(first % 8);
    unsigned       value = (unsigned)at[0] >> shift;
    if (shift + n > 8) value |= (unsigned)at[1] << (8 - shift);
    return value & ((1u << n) - 1);
}

void krait__bits_copy(uint8_t *to, int64_t at, const uint8_t *from, int64_t first, int64_t n) {
    while (n > 0) {
        int64_t  room = 8 - at % 8, step = n < room ? n : room;
        unsigned bits = from ? gather(from, first, step) : (1u << step) - 1;
        to[at / 8] |= (uint8_t)(bits << (at % 8));
        at += step;
        first += step;
        n -= step;
    }
}

static bool join_valid(const joint *j) {
    size_t   bytes = (size_t)(j->out->rows / 8 + 1);
    int64_t  at = 0;
    bool     any = false;
    uint8_t *bits;
    for (size_t n = 0; n < j->n && !any; n++) any = part(j, n)->valid;
    if (!any) return true;
    bits = krait__table_alloc(j->table, bytes);
    if (!bits) return false;
    memset(bits, 0, bytes);
    for (size_t n = 0; n < j->n; n++) {
        krait__bits_copy(bits, at, part(j, n)->valid, part(j, n)->valid_offset, part(j, n)->rows);
        at += part(j, n)->rows;
    }
    j->out->valid = bits;
    return true;
}

/* ---- elements and texts ------------------------------------------------------------------------------------------ */

static bool join_elements(const joint *j) {
    size_t item = (size_t)krait__column_item(j->out);
    char  *data = krait__table_alloc(j->table, krait__size((size_t)j->out->rows, item, 0));
    j->out->data = data;
    j->out->stride = (int64_t)item;
    if (!data) return false;
    for (size_t n = 0; n < j->n; n++) {
        size_t bytes = (size_t)part(j, n)->rows * item;
        memcpy(data, part(j, n)->data, bytes);
        data += bytes;
    }
    return true;
}

static int64_t text_bytes(const krait_column *column) {
    return krait__offset_at(column, column->rows) - krait__offset_at(column, 0);
}

/* Memory for the column's rows, its texts of so many bytes; the first offset is set. */
static char *text_room(krait_table *table, krait_column *column, int64_t bytes) {
    char *data = krait__table_alloc(table, (size_t)bytes);
    if (bytes > INT32_MAX) column->offset_bytes = 8;
    column->data = data;
    column->data_bytes = bytes;
    column->offsets = krait__table_alloc(table, krait__size((size_t)column->rows + 1, (size_t)column->offset_bytes, 0));
    if (!data || !column->offsets) return NULL;
    krait__set_offset(column, 0, 0);
    return data;
}

/* The texts of a column behind those of `at` rows that take `end` bytes. */
static void append_texts(krait_column *out, int64_t at, int64_t end, const krait_column *from) {
    int64_t first = krait__offset_at(from, 0);
    char   *data = (char *)(uintptr_t)out->data;
    if (text_bytes(from)) memcpy(data + end, (const char *)from->data + first, (size_t)text_bytes(from));
    for (int64_t i = 1; i <= from->rows; i++) krait__set_offset(out, at + i, end + krait__offset_at(from, i) - first);
}

static bool join_texts(const joint *j) {
    int64_t bytes = 0, at = 0, end = 0;
    for (size_t n = 0; n < j->n; n++) {
        if (part(j, n)->offset_bytes == 8) j->out->offset_bytes = 8;
        if (__builtin_add_overflow(bytes, text_bytes(part(j, n)), &bytes)) return false;
    }
    if (!text_room(j->table, j->out, bytes)) return false;
    for (size_t n = 0; n < j->n; n++) {
        append_texts(j->out, at, end, part(j, n));
        at += part(j, n)->rows;
        end += text_bytes(part(j, n));
    }
    return true;
}

/* ---- dictionaries ------------------------------------------------------------------------------------------------ */

/* One value of a dictionary as bytes; NULL for the missing one. */
typedef struct item {
    const char *data;
    size_t      size;
} item;

static item item_at(const krait_column *column, int64_t row) {
    item    value = { NULL, 0 };
    int64_t bytes = krait__column_item(column);
    if (!krait_column_has(column, row)) return value;
    if (krait__column_is_text(column)) {
        value.data = krait_column_text(column, row, &value.size);
    } else {
        value.data = (const char *)column->data + row * column->stride;
        value.size = (size_t)bytes;
    }
    return value;
}

static bool same_item(item a, item b) {
    return !a.data == !b.data && a.size == b.size && (!a.size || memcmp(a.data, b.data, a.size) == 0);
}

static bool same_dictionary(const krait_column *a, const krait_column *b) {
    if (a->rows != b->rows) return false;
    if (a->data == b->data && a->offsets == b->offsets && a->valid == b->valid && a->valid_offset == b->valid_offset)
        return true;
    for (int64_t i = 0; i < a->rows; i++)
        if (!same_item(item_at(a, i), item_at(b, i))) return false;
    return true;
}

/* All values of all dictionaries, each once, and where they went. */
typedef struct merger {
    item    *items; /* in the order in which they came */
    int64_t  count;
    int64_t *slots; /* index into items + 1; 0: free */
    size_t   mask;  /* slots - 1, of a power of two */
    int64_t *codes; /* new code of each row of each dictionary, one after the other */
    int64_t *start; /* of each part's first code in there */
} merger;

static void free_merger(merger *m) {
    krait__free(m->items);
    krait__free(m->slots);
    krait__free(m->codes);
    krait__free(m->start);
}

static bool same_as_before(const joint *j, size_t n) {
    return n > 0 && same_dictionary(part(j, n - 1)->dictionary, part(j, n)->dictionary);
}

static bool make_merger(const joint *j, merger *m) {
    size_t rows = 0, slots = 16;
    m->start = krait__alloc(krait__size(j->n, sizeof *m->start, 0));
    if (!m->start) return false;
    for (size_t n = 0; n < j->n; n++) {
        bool again = same_as_before(j, n);
        m->start[n] = again ? m->start[n - 1] : (int64_t)rows;
        if (!again && __builtin_add_overflow(rows, (size_t)part(j, n)->dictionary->rows, &rows)) return false;
    }
    while (slots / 2 < rows && slots < SIZE_MAX / 2) slots *= 2;
    m->mask = slots - 1;
    m->items = krait__alloc(krait__size(rows, sizeof *m->items, 0));
    m->codes = krait__alloc(krait__size(rows, sizeof *m->codes, 0));
    m->slots = krait__zalloc(krait__size(slots, sizeof *m->slots, 0));
    return m->items && m->codes && m->slots;
}

/* FNV-1a, its high bits folded down. */
static size_t hash(item value) {
    uint64_t h = 0xcbf29ce484222325u + !value.data;
    for (size_t i = 0; i < value.size; i++) h = (h ^ (unsigned char)value.data[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

static int64_t code_of(merger *m, item value) {
    size_t slot = hash(value) & m->mask;
    while (m->slots[slot] && !same_item(m->items[m->slots[slot] - 1], value)) slot = (slot + 1) & m->mask;
    if (!m->slots[slot]) {
        m->items[m->count++] = value;
        m->slots[slot] = m->count;
    }
    return m->slots[slot] - 1;
}

/* Finds the new codes; returns whether one dictionary holds all others in its order. */
static bool merge(const joint *j, merger *m) {
    bool    in_order = true;
    int64_t longest = 0;
    for (size_t n = 0; n < j->n; n++) {
        const krait_column *dictionary = part(j, n)->dictionary;
        int64_t            *codes = m->codes + m->start[n];
        if (n > 0 && m->start[n] == m->start[n - 1] && part(j, n - 1)->dictionary->rows > 0)
            continue; /* the same one */
        for (int64_t i = 0; i < dictionary->rows; i++) {
            codes[i] = code_of(m, item_at(dictionary, i));
            in_order &= i == 0 || codes[i] > codes[i - 1];
        }
        if (dictionary->rows > longest) longest = dictionary->rows;
    }
    return in_order && m->count == longest;
}

static bool merged_texts(const joint *j, const merger *m, krait_column *out) {
    int64_t bytes = 0, end = 0;
    char   *data;
    for (int64_t i = 0; i < m->count; i++)
        if (__builtin_add_overflow(bytes, (int64_t)m->items[i].size, &bytes)) return false;
    data = text_room(j->table, out, bytes);
    if (!data) return false;
    for (int64_t i = 0; i < m->count; i++) {
        if (m->items[i].size) memcpy(data + end, m->items[i].data, m->items[i].size);
        end += (int64_t)m->items[i].size;
        krait__set_offset(out, i + 1, end);
    }
    return true;
}

static bool merged_elements(const joint *j, const merger *m, krait_column *out) {
    size_t bytes = (size_t)krait__column_item(out);
    char  *data = krait__table_alloc(j->table, krait__size((size_t)m->count, bytes, 0));
    if (!data) return false;
    for (int64_t i = 0; i < m->count; i++) {
        if (m->items[i].data) memcpy(data + (size_t)i * bytes, m->items[i].data, bytes);
        else memset(data + (size_t)i * bytes, 0, bytes);
    }
    out->data = data;
    out->stride = (int64_t)bytes;
    return true;
}

/* Bits of a dictionary that has a missing value. */
static bool merged_valid(const joint *j, const merger *m, krait_column *out) {
    size_t   bytes = (size_t)(m->count / 8 + 1);
    int64_t  missing = 0;
    uint8_t *bits;
    while (missing < m->count && m->items[missing].data) missing++;
    if (missing == m->count) return true;
    bits = krait__table_alloc(j->table, bytes);
    if (!bits) return false;
    memset(bits, 0, bytes);
    krait__bits_copy(bits, 0, NULL, 0, missing);
    krait__bits_copy(bits, missing + 1, NULL, 0, m->count - missing - 1);
    out->valid = bits;
    return true;
}

/* ---- codes ------------------------------------------------------------------------------------------------------- */

static int64_t code_at(const krait_column *column, int64_t row) {
    switch (column->dtype.item_size) {
    case 1: return ((const int8_t *)column->data)[row];
    case 2: return ((const int16_t *)column->data)[row];
    case 4: return ((const int32_t *)column->data)[row];
    default: return ((const int64_t *)column->data)[row];
    }
}

static void set_code(void *codes, size_t width, int64_t row, int64_t code) {
    switch (width) {
    case 1: ((int8_t *)codes)[row] = (int8_t)code; break;
    case 2: ((int16_t *)codes)[row] = (int16_t)code; break;
    case 4: ((int32_t *)codes)[row] = (int32_t)code; break;
    default: ((int64_t *)codes)[row] = code; break;
    }
}

/* The dtype of the column's codes, or a wider one when so many values need it. */
static krait_dtype code_type(krait_dtype dtype, int64_t count) {
    if (dtype.item_size < 2 && count > INT8_MAX) dtype = krait_i16_type();
    if (dtype.item_size < 4 && count > INT16_MAX) dtype = krait_i32_type();
    if (dtype.item_size < 8 && count > INT32_MAX) dtype = krait_i64_type();
    return dtype;
}

/* Codes of a trusted producer were not looked at before: what is none becomes 0, as what is missing. */
static int64_t new_code(const joint *j, const merger *m, size_t n, int64_t row) {
    int64_t code = krait_column_has(part(j, n), row) ? code_at(part(j, n), row) : -1;
    return code >= 0 && code < part(j, n)->dictionary->rows ? m->codes[m->start[n] + code] : 0;
}

static bool merged_codes(const joint *j, const merger *m) {
    int64_t at = 0;
    size_t  width;
    void   *codes;
    j->out->dtype = code_type(j->out->dtype, m->count);
    width = j->out->dtype.item_size;
    codes = krait__table_alloc(j->table, krait__size((size_t)j->out->rows, width, 0));
    if (!codes) return false;
    for (size_t n = 0; n < j->n; n++)
        for (int64_t i = 0; i < part(j, n)->rows; i++) set_code(codes, width, at++, new_code(j, m, n, i));
    j->out->data = codes;
    j->out->stride = (int64_t)width;
    return true;
}

static bool fill_merged(const joint *j, const merger *m, krait_column *dictionary) {
    dictionary->rows = m->count;
    if (!merged_valid(j, m, dictionary) || !merged_codes(j, m)) return false;
    return krait__column_is_text(dictionary) ? merged_texts(j, m, dictionary) : merged_elements(j, m, dictionary);
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */

/* What a column is, without what it points to. */
static bool describe(const joint *j, krait_column *out, const krait_column *like) {
    out->kind = like->kind;
    out->ordered = like->ordered;
    out->precision = like->precision;
    out->scale = like->scale;
    out->dtype = like->dtype;
    out->offset_bytes = like->offset_bytes;
    out->flags = KRAIT_ARRAY_COPIED;
    if (!like->zone) return true;
    out->zone = krait__table_text(j->table, like->zone, strlen(like->zone));
    return out->zone;
}

/* Nothing of it is read any more. */
static bool refuse_order(const joint *j) {
    *j->out = (krait_column){ .name = j->out->name, .rows = j->out->rows };
    return krait__table_refuse(j->table, false,
                               "column '%.*s' is a category whose order has a meaning, but the batches of its stream "
                               "have dictionaries of different order",
                               krait__shown(j->out->name), j->out->name);
}

static krait_status join_merged(const joint *j, krait_column *dictionary) {
    merger m = { 0 };
    bool   made = make_merger(j, &m), in_order = made && merge(j, &m);
    if (made && j->out->ordered && !in_order) made = refuse_order(j);
    else made = made && fill_merged(j, &m, dictionary);
    free_merger(&m);
    return made ? KRAIT_OK : krait__fail_nomem(j->err);
}

static krait_status join_category(const joint *j) {
    const krait_column *first = part(j, 0)->dictionary;
    krait_column       *dictionary = krait__table_alloc(j->table, sizeof *dictionary);
    bool                same = true;
    if (!dictionary) return krait__fail_nomem(j->err);
    for (size_t n = 1; n < j->n && same; n++) same = same_dictionary(first, part(j, n)->dictionary);
    *dictionary = *first;
    dictionary->name = "";
    j->out->dictionary = dictionary;
    if (same) {
        krait_status status = krait__column_copy(j->table, dictionary, NULL, j->err);
        return status || join_elements(j) ? status : krait__fail_nomem(j->err);
    }
    *dictionary = (krait_column){ .name = "" };
    return describe(j, dictionary, first) ? join_merged(j, dictionary) : krait__fail_nomem(j->err);
}

static krait_status join_column(joint *j) {
    const krait__part *first = &j->parts[0]->columns.items[j->i];
    bool               done;
    j->out = krait__table_push(j->table, false, first->column.name, strlen(first->column.name));
    if (!j->out) return krait__fail_nomem(j->err);
    if (first->refusal)
        return krait__table_refuse(j->table, false, "%s", first->refusal) ? KRAIT_OK : krait__fail_nomem(j->err);
    if (!describe(j, j->out, &first->column) || !join_valid(j)) return krait__fail_nomem(j->err);
    if (first->column.kind == KRAIT_COLUMN_CATEGORY) return join_category(j);
    done = krait__column_is_text(j->out) ? join_texts(j) : join_elements(j);
    return done ? KRAIT_OK : krait__fail_nomem(j->err);
}

krait_status krait__arrow_join(krait_table *const *tables, size_t n, krait_table **out, krait_error **err) {
    joint        j = { NULL, tables, n, 0, NULL, err };
    int64_t      rows = 0;
    krait_status status = KRAIT_OK;
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(rows, krait_table_rows(tables[i]), &rows))
            return krait__fail(err, KRAIT_E_RANGE, "the batches have more rows than can be counted");
    j.table = krait__table_new(rows);
    if (!j.table) return krait__fail_nomem(err);
    for (; !status && j.i < tables[0]->columns.count; j.i++) status = join_column(&j);
    if (status) krait_table_free(j.table);
    else *out = j.table;
    return status;
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* What was taken from a stream so far. */
typedef struct batches {
    krait_table **tables;
    size_t        count, room;
    size_t        seen; /* those without rows too */
} batches;

static void free_batches(batches *all) {
    for (size_t i = 0; i < all->count; i++) krait_table_free(all->tables[i]);
    krait__free(all->tables);
}

/* Takes over the table. One without rows is kept only until another comes: it tells nothing but the columns. */
static bool add_batch(batches *all, krait_table *table) {
    if (all->count && krait_table_rows(table) == 0) {
        krait_table_free(table);
        return true;
    }
    if (all->count == 1 && krait_table_rows(all->tables[0]) == 0) krait_table_free(all->tables[--all->count]);
    if (all->count == all->room) {
        size_t        room = all->room * 2 + 4;
        krait_table **bigger = krait__realloc(all->tables, krait__size(room, sizeof *bigger, 0));
        if (!bigger) {
            krait_table_free(table);
            return false;
        }
        all->tables = bigger;
        all->room = room;
    }
    all->tables[all->count++] = table;
    return true;
}

static krait_status stream_failed(struct ArrowArrayStream *stream, const char *what, int code, krait_error **err) {
    const char *text = stream->get_last_error ? stream->get_last_error(stream) : NULL;
    if (!text || krait__utf8_span(text, strlen(text)) != strlen(text)) text = "it does not say why";
    return krait__fail(err, KRAIT_E_SYSTEM, "the Arrow stream gave no %s: %s (code %d)", what, text, code);
}

/* One batch more; *done when there is none. */
static krait_status next_batch(struct ArrowArrayStream *stream, const struct ArrowSchema *schema, bool trusted,
                               batches *all, bool *done, krait_error **err) {
    struct ArrowArray array = { 0 };
    krait_table      *table;
    krait_status      status;
    int               code = stream->get_next(stream, &array);
    if (code) return stream_failed(stream, "next batch", code, err);
    *done = !array.release;
    if (*done) return KRAIT_OK;
    if (all->seen++ == batches_max) status = krait__fail(err, KRAIT_E_RANGE, "more than %zu batches", batches_max);
    else status = krait__arrow_read(schema, &array, trusted, &table, err);
    if (status) array.release(&array);
    if (!status && !add_batch(all, table)) status = krait__fail_nomem(err);
    if (status) krait__at(err, "import Arrow batch %zu", all->seen - 1);
    return status;
}

static krait_status read_stream(struct ArrowArrayStream *stream, const struct ArrowSchema *schema, bool trusted,
                                krait_table **out, krait_error **err) {
    batches      all = { 0 };
    bool         done = false;
    krait_status status = KRAIT_OK;
    while (!status && !done) status = next_batch(stream, schema, trusted, &all, &done, err);
    if (!status && all.count == 0) status = krait__arrow_read(schema, NULL, trusted, out, err);
    else if (!status && all.count == 1) *out = all.tables[--all.count];
    else if (!status) status = krait__arrow_join(all.tables, all.count, out, err);
    free_batches(&all);
    return status;
}

static void release_schema(struct ArrowSchema *schema) {
    if (schema->release) schema->release(schema);
    schema->release = NULL;
}

static krait_status import_stream(struct ArrowArrayStream *stream, bool trusted, krait_table **out, krait_error **err) {
    struct ArrowSchema schema = { 0 };
    krait_status       status;
    int                code;
    if (!stream->release) return krait__fail(err, KRAIT_E_ARGUMENT, "the Arrow stream was released or moved already");
    if (!stream->get_schema || !stream->get_next)
        return krait__fail(err, KRAIT_E_ARGUMENT, "the Arrow stream has no get_schema or get_next");
    code = stream->get_schema(stream, &schema);
    if (code) return stream_failed(stream, "schema", code, err);
    status = read_stream(stream, &schema, trusted, out, err);
    release_schema(&schema);
    return status;
}

krait_status krait__arrow_import_stream(struct ArrowArrayStream *stream, bool trusted, krait_table **out,
                                        krait_error **err) {
    krait_status status;
    if (out) *out = NULL;
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!out || !stream) status = krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", out ? "stream" : "out");
    else status = import_stream(stream, trusted, out, err);
    if (status) {
        krait__at(err, "import Arrow stream");
    } else {
        stream->release(stream);
        stream->release = NULL;
    }
    return status;
}

krait_status krait_arrow_import_stream(struct ArrowArrayStream *stream, krait_table **out, krait_error **err) {
    return krait__arrow_import_stream(stream, false, out, err);
}
