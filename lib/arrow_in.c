/* arrow_in: Arrow arrays become tables.
 *
 * Columns are taken as they lie; copied are bools (bits become bytes), views (texts become one block), codes of
 * unsigned integers (a wider signed type), rows that are missing as a whole (their bits go into each column), and
 * buffers that are not aligned. A column of nulls becomes text that is missing everywhere. Extension types come as
 * their storage: metadata is not read. A type that krait has no column for (nested, time of day, interval, other
 * widths of decimal) is refused when its column is read; the rest of the table is there.
 *
 * A producer is not trusted, unless the caller knows it: lengths, offsets, counts, pointers, texts and codes are
 * checked before they are used. What no consumer can check is how large a buffer is, and whether a pointer is one.
 * Nothing is moved before all is read.
 */
#include "arrow.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "column.h"
#include "error.h"
#include "mem.h"

enum {
    COLUMNS_MAX = 1 << 20, /* children of one struct */
    WHO_SIZE = 160,        /* "column '...'" with a name of 100 bytes */
    FORMAT_SHOWN = 40      /* bytes of a format in a message */
};

/* What an empty buffer points to, where a producer may leave it NULL: an offset of 0. */
static const int64_t nothing[2];

typedef struct reader {
    krait_table  *table;
    bool          trusted;
    char          who[WHO_SIZE]; /* whose fault it is, for messages */
    krait_error **err;
} reader;

/* Rows of one Arrow array. */
typedef struct source {
    const struct ArrowSchema *schema;
    const struct ArrowArray  *array; /* NULL: a stream had no batch; no rows */
    int64_t                   first; /* where in the buffers the first row lies */
    int64_t                   rows;
    const uint8_t            *row_bits; /* from bit 0 on: rows that the struct around has; NULL: all */
} source;

static krait_status bad(const reader *in, const char *format, ...) KRAIT_PRINTF(2, 3);
static krait_status bad(const reader *in, const char *format, ...) {
    char    what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return krait__fail(in->err, KRAIT_E_ARGUMENT, "%s %s", in->who, what);
}

static krait_status no_memory(const reader *in) {
    return krait__fail_nomem(in->err);
}

/* ---- types ------------------------------------------------------------------------------------------------------- */

enum layout {
    PLAIN = 1, /* validity, elements */
    BITS,      /* validity, bits */
    TEXTS,     /* validity, offsets, bytes */
    FIXED,     /* validity, `width` bytes each */
    VIEWS,     /* validity, views, any number of bytes, sizes of those */
    NULLS      /* no buffer */
};

typedef struct type {
    uint8_t     layout, kind, code, unit; /* code and unit: of the dtype, 0 for none */
    uint8_t     precision;
    int8_t      scale;
    int32_t     width; /* bytes of an element, or of an offset */
    const char *zone;
} type;

static const struct type_row {
    char    format[4];
    uint8_t layout, kind, code, unit, width;
} type_rows[] = {
    { "n", NULLS, KRAIT_COLUMN_TEXT, 0, 0, 4 },
    { "b", BITS, KRAIT_COLUMN_ARRAY, KRAIT_BOOL, 0, 1 },
    { "c", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_I8, 0, 1 },
    { "C", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_U8, 0, 1 },
    { "s", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_I16, 0, 2 },
    { "S", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_U16, 0, 2 },
    { "i", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_I32, 0, 4 },
    { "I", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_U32, 0, 4 },
    { "l", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_I64, 0, 8 },
    { "L", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_U64, 0, 8 },
    { "e", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_F16, 0, 2 },
    { "f", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_F32, 0, 4 },
    { "g", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_F64, 0, 8 },
    { "u", TEXTS, KRAIT_COLUMN_TEXT, 0, 0, 4 },
    { "U", TEXTS, KRAIT_COLUMN_TEXT, 0, 0, 8 },
    { "z", TEXTS, KRAIT_COLUMN_BYTES, 0, 0, 4 },
    { "Z", TEXTS, KRAIT_COLUMN_BYTES, 0, 0, 8 },
    { "vu", VIEWS, KRAIT_COLUMN_TEXT, 0, 0, 16 },
    { "vz", VIEWS, KRAIT_COLUMN_BYTES, 0, 0, 16 },
    { "tdD", PLAIN, KRAIT_COLUMN_DATE, 0, 0, 4 },
    { "tdm", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_DATETIME, KRAIT_MS, 8 },
    { "tDs", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_TIMEDELTA, KRAIT_S, 8 },
    { "tDm", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_TIMEDELTA, KRAIT_MS, 8 },
    { "tDu", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_TIMEDELTA, KRAIT_US, 8 },
    { "tDn", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_TIMEDELTA, KRAIT_NS, 8 },
    { "tss", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_DATETIME, KRAIT_S, 8 }, /* ":zone" follows those of ts */
    { "tsm", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_DATETIME, KRAIT_MS, 8 },
    { "tsu", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_DATETIME, KRAIT_US, 8 },
    { "tsn", PLAIN, KRAIT_COLUMN_ARRAY, KRAIT_DATETIME, KRAIT_NS, 8 },
};

/* Types without a column of krait's, by the first letters of the format; the first row that fits counts. */
static const struct {
    const char *start, *words;
} refused_rows[] = {
    { "+l", "list" },
    { "+L", "large list" },
    { "+vl", "list view" },
    { "+vL", "large list view" },
    { "+w:", "list of a fixed size" },
    { "+s", "struct" },
    { "+m", "map" },
    { "+ud:", "dense union" },
    { "+us:", "sparse union" },
    { "+r", "run-end encoded" },
    { "tt", "time of day" },
    { "tiM", "interval of months" },
    { "tiD", "interval of days and milliseconds" },
    { "tin", "interval of months, days and nanoseconds" },
    { "d:", "decimal of other than 128 bits" },
    { "", "unknown" },
};

static const char *words_of(const char *format) {
    size_t i = 0;
    while (strncmp(format, refused_rows[i].start, strlen(refused_rows[i].start)) != 0) i++;
    return refused_rows[i].words;
}

/* Numbers with commas between them, to the end of the text: how many, or 0 when it is anything else. */
static int numbers(const char *text, int64_t out[3]) {
    for (int n = 0; n < 3; text++) {
        bool    minus = *text == '-';
        int64_t value = 0;
        text += minus;
        if (*text < '0' || *text > '9') return 0;
        for (; *text >= '0' && *text <= '9' && value < INT32_MAX; text++) value = value * 10 + (*text - '0');
        out[n++] = minus ? -value : value;
        if (!*text) return n;
        if (*text != ',') return 0;
    }
    return 0;
}

enum parsed { KNOWN, UNKNOWN, BROKEN };

static enum parsed parse_decimal(const char *text, type *out) {
    int64_t part[3] = { 0, 0, 128 };
    if (numbers(text, part) < 2) return BROKEN;
    if (part[2] == 32 || part[2] == 64 || part[2] == 256) return UNKNOWN;
    if (part[2] != 128 || part[0] < 1 || part[0] > 38 || part[1] < INT8_MIN || part[1] > INT8_MAX) return BROKEN;
    *out = (type){ PLAIN, KRAIT_COLUMN_DECIMAL, 0, 0, (uint8_t)part[0], (int8_t)part[1], 16, NULL };
    return KNOWN;
}

static enum parsed parse(const char *format, type *out) {
    int64_t size[3];
    bool    stamp = strncmp(format, "ts", 2) == 0 && format[2] && format[3] == ':';
    if (strncmp(format, "d:", 2) == 0) return parse_decimal(format + 2, out);
    if (strncmp(format, "w:", 2) == 0) {
        if (numbers(format + 2, size) != 1 || size[0] < 0 || size[0] > INT32_MAX) return BROKEN;
        *out = (type){ FIXED, KRAIT_COLUMN_BYTES, 0, 0, 0, 0, (int32_t)size[0], NULL };
        return KNOWN;
    }
    for (size_t i = 0; i < sizeof type_rows / sizeof *type_rows; i++) {
        const struct type_row *row = &type_rows[i];
        bool                   is_stamp = strncmp(row->format, "ts", 2) == 0;
        if (is_stamp ? !stamp || strncmp(format, row->format, 3) != 0 : strcmp(format, row->format) != 0) continue;
        *out = (type){ row->layout, row->kind, row->code, row->unit, 0, 0, row->width, NULL };
        if (is_stamp && format[4]) out->zone = format + 4;
        return KNOWN;
    }
    return UNKNOWN;
}

static bool is_index(const type *kind) {
    return kind->layout == PLAIN && kind->code >= KRAIT_I8 && kind->code <= KRAIT_U64;
}

/* Bytes of a format to show in a message. */
static int shown(const char *format) {
    size_t n = strlen(format);
    return (int)krait__utf8_span(format, n < FORMAT_SHOWN ? n : FORMAT_SHOWN);
}

/* ---- what can be checked before anything is read ----------------------------------------------------------------- */

static krait_status check_schema(const reader *in, const struct ArrowSchema *schema) {
    if (!schema) return bad(in, "has no Arrow schema: the pointer is NULL");
    if (!schema->release) return bad(in, "has an Arrow schema that was released or moved already");
    if (!schema->format) return bad(in, "has an Arrow schema without a format");
    if (schema->n_children < 0 || schema->n_children > COLUMNS_MAX)
        return bad(in, "has an Arrow schema with %" PRId64 " children, expected 0 to %d", schema->n_children,
                   (int)COLUMNS_MAX);
    if (schema->n_children && !schema->children) return bad(in, "has an Arrow schema whose children are NULL");
    return KRAIT_OK;
}

static krait_status check_pointers(const reader *in, const source *src) {
    const struct ArrowArray *array = src->array;
    if (array->n_buffers < 0) return bad(in, "has %" PRId64 " buffers in its Arrow array", array->n_buffers);
    if (array->n_buffers && !array->buffers) return bad(in, "has an Arrow array whose buffers are NULL");
    if (array->n_children != src->schema->n_children)
        return bad(in, "has %" PRId64 " children in its Arrow array, but %" PRId64 " in its schema", array->n_children,
                   src->schema->n_children);
    if (array->n_children && !array->children) return bad(in, "has an Arrow array whose children are NULL");
    if (!array->dictionary != !src->schema->dictionary)
        return bad(in, "has a dictionary in its Arrow %s only", array->dictionary ? "array" : "schema");
    return KRAIT_OK;
}

/* The rows [first, first + rows) of the array, first counted from the array's own start: on success src is complete. */
static krait_status check_array(const reader *in, source *src) {
    const struct ArrowArray *array = src->array;
    int64_t                  end;
    if (!array) return bad(in, "has no Arrow array: the pointer is NULL");
    if (!array->release) return bad(in, "has an Arrow array that was released or moved already");
    if (array->length < 0 || array->offset < 0)
        return bad(in, "has length %" PRId64 " and offset %" PRId64 " in its Arrow array: negative", array->length,
                   array->offset);
    if (__builtin_add_overflow(array->length, array->offset, &end))
        return bad(in, "has length %" PRId64 " and offset %" PRId64 " in its Arrow array: too large", array->length,
                   array->offset);
    if (array->null_count < -1 || array->null_count > array->length)
        return bad(in, "has %" PRId64 " missing values of %" PRId64 " in its Arrow array", array->null_count,
                   array->length);
    if (src->first > array->length || src->rows > array->length - src->first)
        return bad(in,
                   "has %" PRId64 " rows in its Arrow array, fewer than the %" PRId64 " of the table from row %" PRId64
                   " on",
                   array->length, src->rows, src->first);
    src->first += array->offset;
    return check_pointers(in, src);
}

static bool has_buffers(uint8_t layout, int64_t n) {
    switch (layout) {
    case NULLS: return n <= 1; /* polars adds a validity buffer, against the letter of the specification */
    case VIEWS: return n >= 3;
    case TEXTS: return n == 3;
    default: return n == 2;
    }
}

static krait_status check_leaf(const reader *in, const source *src, const type *kind) {
    static const char *const expected[] = {
        [PLAIN] = "2", [BITS] = "2", [TEXTS] = "3", [FIXED] = "2", [VIEWS] = "3 or more", [NULLS] = "none"
    };
    int64_t bytes;
    if (src->schema->n_children)
        return bad(in, "has %" PRId64 " children, but type '%.*s' has none", src->schema->n_children,
                   shown(src->schema->format), src->schema->format);
    if (!has_buffers(kind->layout, src->array->n_buffers))
        return bad(in, "has %" PRId64 " buffers, expected %s for type '%.*s'", src->array->n_buffers,
                   expected[kind->layout], shown(src->schema->format), src->schema->format);
    if (__builtin_add_overflow(src->first, src->rows, &bytes) || __builtin_add_overflow(bytes, 1, &bytes) ||
        __builtin_mul_overflow(bytes, (int64_t)kind->width, &bytes))
        return bad(in, "has %" PRId64 " rows, more than memory can hold", src->rows);
    return KRAIT_OK;
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

static const void *buffer(const source *src, int64_t i) {
    return src->array ? src->array->buffers[i] : NULL;
}

static krait_status missing_buffer(const reader *in, int64_t i) {
    return bad(in, "has no buffer %" PRId64 " in its Arrow array: the pointer is NULL", i);
}

/* Memory of the table's own for the column's `n` times `size` bytes. */
static void *own(const reader *in, krait_column *column, int64_t n, size_t size) {
    column->flags |= KRAIT_ARRAY_COPIED;
    return krait__table_alloc(in->table, krait__size((size_t)n, size, 0));
}

static uint8_t *own_bits(const reader *in, int64_t n) {
    size_t   bytes = (size_t)(n / 8 + 1);
    uint8_t *bits = krait__table_alloc(in->table, bytes);
    if (bits) memset(bits, 0, bytes);
    return bits;
}

/* `n` elements of `size` bytes where they lie, or a copy when they are not aligned for C; NULL without memory. Arrow
 * recommends alignment but does not ask for it. */
static const void *take(const reader *in, krait_column *column, const void *data, int64_t n, size_t size) {
    void *copy;
    if ((uintptr_t)data % size == 0) return data;
    copy = own(in, column, n, size);
    if (copy) memcpy(copy, data, (size_t)n * size);
    return copy;
}

/* Validity: the array's own bits and those of the struct around. */
static krait_status fill_valid(const reader *in, const source *src, krait_column *column) {
    const uint8_t *bits = buffer(src, 0);
    uint8_t       *both;
    if (src->array && src->array->null_count > 0 && !bits)
        return bad(in, "has %" PRId64 " missing values but no validity bits", src->array->null_count);
    if (!src->rows) return KRAIT_OK;
    if (src->array && src->array->null_count == 0) bits = NULL;
    column->valid = bits ? bits : src->row_bits;
    column->valid_offset = bits ? src->first : 0;
    if (!bits || !src->row_bits) return KRAIT_OK;
    both = own_bits(in, src->rows);
    if (!both) return no_memory(in);
    krait__bits_copy(both, 0, bits, src->first, src->rows);
    for (int64_t i = 0; i < (src->rows + 7) / 8; i++) both[i] &= src->row_bits[i];
    column->valid = both;
    column->valid_offset = 0;
    return KRAIT_OK;
}

/* ---- columns by layout: src and its buffers' number are checked
 * ------------------------------------------------------ */

static krait_status fill_plain(const reader *in, const source *src, const type *kind, krait_column *column) {
    const char *data = buffer(src, 1);
    column->stride = kind->width;
    column->data = nothing;
    if (!src->rows) return KRAIT_OK;
    if (!data) return missing_buffer(in, 1);
    column->data = take(in, column, data + src->first * kind->width, src->rows, (size_t)kind->width);
    return column->data ? KRAIT_OK : no_memory(in);
}

static krait_status fill_bits(const reader *in, const source *src, krait_column *column) {
    const uint8_t *bits = buffer(src, 1);
    uint8_t       *bytes;
    column->stride = 1;
    column->data = nothing;
    if (!src->rows) return KRAIT_OK;
    if (!bits) return missing_buffer(in, 1);
    bytes = own(in, column, src->rows, 1);
    if (!bytes) return no_memory(in);
    for (int64_t i = 0, bit = src->first; i < src->rows; i++, bit++) bytes[i] = bits[bit / 8] >> (bit % 8) & 1;
    column->data = bytes;
    return KRAIT_OK;
}

/* An empty column: producers may leave out even the one offset that it has. */
static krait_status fill_no_texts(krait_column *column, int32_t offset_bytes) {
    column->offset_bytes = offset_bytes;
    column->offsets = nothing;
    column->data = nothing;
    return KRAIT_OK;
}

static krait_status fill_texts(const reader *in, const source *src, const type *kind, krait_column *column) {
    const char *offsets = buffer(src, 1), *data = buffer(src, 2);
    if (!src->rows) return fill_no_texts(column, kind->width);
    if (!offsets) return missing_buffer(in, 1);
    column->offset_bytes = kind->width;
    column->offsets = take(in, column, offsets + src->first * kind->width, src->rows + 1, (size_t)kind->width);
    if (!column->offsets) return no_memory(in);
    column->data_bytes = krait__offset_at(column, src->rows);
    column->data = data ? data : (const char *)nothing;
    if (krait__offset_at(column, 0) < 0 || krait__offset_at(column, 0) > column->data_bytes)
        return bad(in, "has offsets in its Arrow array that run from %" PRId64 " to %" PRId64,
                   krait__offset_at(column, 0), column->data_bytes);
    return data || !column->data_bytes ? KRAIT_OK : missing_buffer(in, 2);
}

/* Room for rows + 1 offsets into so many bytes; the first is 0. */
static bool own_offsets(const reader *in, krait_column *column, int64_t bytes) {
    void *offsets;
    column->offset_bytes = bytes > INT32_MAX ? 8 : 4;
    column->data_bytes = bytes;
    column->offsets = offsets = own(in, column, column->rows + 1, (size_t)column->offset_bytes);
    if (offsets) memset(offsets, 0, (size_t)column->offset_bytes);
    return offsets;
}

static krait_status fill_fixed(const reader *in, const source *src, const type *kind, krait_column *column) {
    const char *data = buffer(src, 1);
    if (!src->rows) return fill_no_texts(column, 4);
    if (!data && kind->width) return missing_buffer(in, 1);
    if (!own_offsets(in, column, src->rows * kind->width)) return no_memory(in);
    for (int64_t i = 1; i <= src->rows; i++) krait__set_offset(column, i, i * kind->width);
    column->data = data ? data + src->first * kind->width : (const char *)nothing;
    return KRAIT_OK;
}

static krait_status fill_nulls(const reader *in, const source *src, krait_column *column) {
    void *offsets;
    if (!src->rows) return fill_no_texts(column, 4);
    if (!own_offsets(in, column, 0)) return no_memory(in);
    offsets = (void *)(uintptr_t)column->offsets;
    memset(offsets, 0, (size_t)(src->rows + 1) * 4);
    column->data = nothing;
    column->valid = own_bits(in, src->rows);
    return column->valid ? KRAIT_OK : no_memory(in);
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

enum { VIEW_SIZE = 16, INLINE_MAX = 12 };

/* Where the bytes of view `row` lie. */
static krait_status find_view(const reader *in, const source *src, int64_t row, const char **data, int32_t *size) {
    const char *view = (const char *)buffer(src, 1) + (src->first + row) * VIEW_SIZE;
    int64_t     blocks = src->array->n_buffers - 3, room;
    int32_t     where[2]; /* block, offset in it */
    memcpy(size, view, sizeof *size);
    *data = view + 4;
    if (*size >= 0 && *size <= INLINE_MAX) return KRAIT_OK;
    memcpy(where, view + 8, sizeof where);
    if (*size < 0 || where[0] < 0 || where[0] >= blocks || where[1] < 0)
        return bad(in, "has a view in row %" PRId64 " of %d bytes at %d in block %d of %" PRId64, row, (int)*size,
                   (int)where[1], (int)where[0], blocks);
    if (!buffer(src, blocks + 2)) return missing_buffer(in, blocks + 2);
    memcpy(&room, (const char *)buffer(src, blocks + 2) + where[0] * (int64_t)sizeof room, sizeof room);
    if (where[1] + (int64_t)*size > room)
        return bad(in, "has a view in row %" PRId64 " of %d bytes at %d in a block of %" PRId64, row, (int)*size,
                   (int)where[1], room);
    *data = buffer(src, where[0] + 2);
    if (!*data) return missing_buffer(in, where[0] + 2);
    *data += where[1];
    return KRAIT_OK;
}

static krait_status measure_views(const reader *in, const source *src, const krait_column *column, int64_t *bytes) {
    *bytes = 0;
    for (int64_t i = 0; i < src->rows; i++) {
        const char  *data;
        int32_t      size;
        krait_status status;
        if (!krait_column_has(column, i)) continue;
        status = find_view(in, src, i, &data, &size);
        if (status) return status;
        if (__builtin_add_overflow(*bytes, (int64_t)size, bytes)) return no_memory(in);
    }
    return KRAIT_OK;
}

static krait_status fill_views(const reader *in, const source *src, krait_column *column) {
    krait_status status;
    int64_t      bytes, at = 0;
    char        *all;
    if (!src->rows) return fill_no_texts(column, 4);
    if (!buffer(src, 1)) return missing_buffer(in, 1);
    status = measure_views(in, src, column, &bytes);
    if (status) return status;
    all = own(in, column, bytes, 1);
    if (!all || !own_offsets(in, column, bytes)) return no_memory(in);
    for (int64_t i = 0; i < src->rows; i++) {
        const char *data = NULL;
        int32_t     size = 0;
        if (krait_column_has(column, i) && find_view(in, src, i, &data, &size) == KRAIT_OK)
            memcpy(all + at, data, (size_t)size);
        at += size;
        krait__set_offset(column, i + 1, at);
    }
    column->data = all;
    return KRAIT_OK;
}

/* ---- dictionaries ------------------------------------------------------------------------------------------------ */

static krait_status fill(const reader *in, const source *src, const type *kind, krait_column *column);

/* Unsigned code of `width` bytes. */
static uint64_t code_at(const char *data, int32_t width) {
    uint64_t value = 0;
    memcpy((char *)&value + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 8 - width : 0), data, (size_t)width);
    return value;
}

/* Codes of an unsigned type as the next wider signed one; those of 64 bits stay as wide: no dictionary is that long.
 * What stands in missing rows becomes 0. */
static krait_status widen_codes(const reader *in, const type *kind, krait_column *column) {
    static const uint8_t wider[] = { [1] = KRAIT_I16, [2] = KRAIT_I32, [4] = KRAIT_I64, [8] = KRAIT_I64 };
    const char          *data = column->data;
    char                *codes;
    int32_t              width = kind->width < 8 ? kind->width * 2 : 8;
    column->dtype = krait_dtype_make_(wider[kind->width], 0, (uint32_t)width, 0);
    column->stride = width;
    if (!column->rows) return KRAIT_OK;
    column->data = codes = own(in, column, column->rows, (size_t)width);
    if (!codes) return no_memory(in);
    for (int64_t i = 0; i < column->rows; i++) {
        uint64_t code = krait_column_has(column, i) ? code_at(data + i * kind->width, kind->width) : 0;
        int16_t  code16 = (int16_t)code;
        int32_t  code32 = (int32_t)code;
        if (width == 2) memcpy(codes + i * 2, &code16, 2);
        else if (width == 4) memcpy(codes + i * 4, &code32, 4);
        else memcpy(codes + i * 8, &code, 8);
    }
    return KRAIT_OK;
}

static krait_status fill_dictionary(const reader *in, const source *src, krait_column *column) {
    source        values = { src->schema->dictionary, src->array ? src->array->dictionary : NULL, 0, 0, NULL };
    krait_column *dictionary = krait__table_alloc(in->table, sizeof *dictionary);
    krait_status  status = KRAIT_OK;
    type          kind;
    if (!dictionary) return no_memory(in);
    if (src->array) {
        values.rows = values.array->length;
        status = check_array(in, &values);
    }
    if (status) return status;
    parse(values.schema->format, &kind);
    *dictionary = (krait_column){ .name = "", .rows = values.rows };
    column->dictionary = dictionary;
    column->ordered = (src->schema->flags & ARROW_FLAG_DICTIONARY_ORDERED) != 0;
    return fill(in, &values, &kind, dictionary);
}

static krait_status fill_category(const reader *in, const source *src, const type *kind, krait_column *column) {
    krait_status status = fill_plain(in, src, kind, column);
    column->kind = KRAIT_COLUMN_CATEGORY;
    if (!status && kind->code >= KRAIT_U8) status = widen_codes(in, kind, column);
    return status ? status : fill_dictionary(in, src, column);
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */

/* What `column`, which has its name and rows, holds. */
static krait_status fill(const reader *in, const source *src, const type *kind, krait_column *column) {
    krait_status status = src->array ? check_leaf(in, src, kind) : KRAIT_OK;
    if (!status && kind->layout != NULLS) status = fill_valid(in, src, column);
    if (status) return status;
    column->kind = kind->kind;
    column->precision = kind->precision;
    column->scale = kind->scale;
    if (kind->code) column->dtype = krait_dtype_make_(kind->code, kind->unit, (uint32_t)kind->width, kind->unit != 0);
    if (kind->zone) {
        column->zone = krait__table_text(in->table, kind->zone, strlen(kind->zone));
        if (!column->zone) return no_memory(in);
    }
    if (src->schema->dictionary) return fill_category(in, src, kind, column);
    switch (kind->layout) {
    case PLAIN: return fill_plain(in, src, kind, column);
    case BITS: return fill_bits(in, src, column);
    case TEXTS: return fill_texts(in, src, kind, column);
    case FIXED: return fill_fixed(in, src, kind, column);
    case VIEWS: return fill_views(in, src, column);
    default: return fill_nulls(in, src, column);
    }
}

/* The schema's type; *refused is in words what krait has no column for, NULL when it has one. */
static krait_status classify(const reader *in, const struct ArrowSchema *schema, type *kind, const char **refused) {
    const struct ArrowSchema *values = schema->dictionary;
    enum parsed               found = parse(schema->format, kind);
    krait_status              status;
    *refused = found == UNKNOWN ? words_of(schema->format) : NULL;
    if (found == BROKEN)
        return bad(in, "has an Arrow schema of format '%.*s': malformed", shown(schema->format), schema->format);
    if (!values) return KRAIT_OK;
    status = check_schema(in, values);
    if (status) return status;
    if (found != KNOWN || !is_index(kind))
        return bad(in, "has a dictionary, but indices of format '%.*s': expected integers", shown(schema->format),
                   schema->format);
    if (values->dictionary) *refused = "dictionary";
    else status = classify(in, values, kind, refused);
    if (!status && !*refused) parse(schema->format, kind);
    return status;
}

static krait_status refuse(const reader *in, const struct ArrowSchema *schema, const char *refused) {
    const char *format = schema->dictionary ? schema->dictionary->format : schema->format;
    return krait__table_refuse(in->table, false, "%s is of an Arrow type that krait has no column for: %s%s ('%.*s')",
                               in->who, schema->dictionary ? "dictionary of type " : "", refused, shown(format), format)
               ? KRAIT_OK
               : no_memory(in);
}

/* Codes out of the dictionary and the like are a malformed array here, not a value out of range. */
static krait_status check_column(const reader *in, const krait_column *column) {
    krait_error *found = NULL;
    krait_status status = krait__column_check(column, in->trusted, &found);
    if (!status) return status;
    if (status == KRAIT_E_NOMEM) no_memory(in);
    else if (status == KRAIT_E_ENCODING) krait__fail(in->err, status, "%s", krait_error_message(found));
    else status = krait__fail(in->err, KRAIT_E_ARGUMENT, "%s", krait_error_message(found));
    krait_error_clear(&found);
    return status;
}

static krait_status name_column(reader *in, const struct ArrowSchema *schema, size_t i, const char **name) {
    *name = schema && schema->name ? schema->name : "";
    snprintf(in->who, sizeof in->who, "column %zu", i);
    if (krait__utf8_span(*name, strlen(*name)) != strlen(*name))
        return krait__fail(in->err, KRAIT_E_ENCODING, "%s has a name that is not UTF-8", in->who);
    if (**name) snprintf(in->who, sizeof in->who, "column '%.*s'", krait__shown(*name), *name);
    return KRAIT_OK;
}

static krait_status add_column(reader *in, source *src, size_t i) {
    const char   *name, *refused = NULL;
    krait_column *column;
    type          kind = { 0 };
    krait_status  status = name_column(in, src->schema, i, &name);
    if (!status) status = check_schema(in, src->schema);
    if (!status) status = classify(in, src->schema, &kind, &refused);
    if (!status && src->array) status = check_array(in, src);
    if (status) return status;
    column = krait__table_push(in->table, false, name, strlen(name));
    if (!column) return no_memory(in);
    if (refused) return refuse(in, src->schema, refused);
    status = fill(in, src, &kind, column);
    return status ? status : check_column(in, column);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* Rows that are missing as a whole, from bit 0 on. */
static krait_status read_row_bits(const reader *in, const source *src, const uint8_t **out) {
    uint8_t *bits;
    *out = NULL;
    if (src->array->n_buffers != 1) return bad(in, "has %" PRId64 " buffers, expected 1", src->array->n_buffers);
    if (src->array->null_count > 0 && !src->array->buffers[0])
        return bad(in, "has %" PRId64 " missing rows but no validity bits", src->array->null_count);
    if (!src->array->null_count || !src->array->buffers[0] || !src->rows) return KRAIT_OK;
    bits = own_bits(in, src->rows);
    if (!bits) return no_memory(in);
    krait__bits_copy(bits, 0, src->array->buffers[0], src->first, src->rows);
    *out = bits;
    return KRAIT_OK;
}

static krait_status add_children(reader *in, const source *src) {
    const uint8_t *row_bits = NULL;
    krait_status   status = src->array ? read_row_bits(in, src, &row_bits) : KRAIT_OK;
    for (int64_t i = 0; !status && i < src->schema->n_children; i++) {
        source child = { src->schema->children[i], NULL, src->first, src->rows, row_bits };
        if (src->array) child.array = src->array->children[i];
        if (src->array && !child.array) {
            const char *name;
            name_column(in, child.schema, (size_t)i, &name);
            return bad(in, "has no Arrow array: the pointer is NULL");
        }
        status = add_column(in, &child, (size_t)i);
    }
    return status;
}

/* A table over schema and array, neither moved; of no rows without an array. */
static krait_status read_table(reader *in, const struct ArrowSchema *schema, const struct ArrowArray *array) {
    source       src = { schema, array, 0, array ? array->length : 0, NULL };
    bool         is_struct;
    krait_status status;
    snprintf(in->who, sizeof in->who, "the table");
    status = check_schema(in, schema);
    if (status) return status;
    is_struct = strcmp(schema->format, "+s") == 0 && !schema->dictionary;
    if (is_struct && array) status = check_array(in, &src);
    if (status) return status;
    if (src.rows < 0) return bad(in, "has %" PRId64 " rows", src.rows);
    in->table = krait__table_new(src.rows);
    if (!in->table) return no_memory(in);
    return is_struct ? add_children(in, &src) : add_column(in, &src, 0);
}

static void release_array(void *owner) {
    struct ArrowArray *array = owner;
    if (array->release) array->release(array);
    krait__free(array);
}

static bool move_array(krait_table *table, struct ArrowArray *array) {
    struct ArrowArray *moved = krait__alloc(sizeof *moved);
    if (!moved || !krait__table_keep(table, release_array, moved)) {
        krait__free(moved);
        return false;
    }
    *moved = *array;
    array->release = NULL;
    return true;
}

krait_status krait__arrow_read(const struct ArrowSchema *schema, struct ArrowArray *array, bool trusted,
                               krait_table **out, krait_error **err) {
    reader       in = { NULL, trusted, "", err };
    krait_status status = read_table(&in, schema, array);
    if (!status && array && !move_array(in.table, array)) status = no_memory(&in);
    if (status) krait_table_free(in.table);
    else *out = in.table;
    return status;
}

krait_status krait__arrow_import(struct ArrowSchema *schema, struct ArrowArray *array, bool trusted, krait_table **out,
                                 krait_error **err) {
    krait_status status;
    if (out) *out = NULL;
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!out || !schema || !array)
        status = krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", !out ? "out" : schema ? "array" : "schema");
    else status = krait__arrow_read(schema, array, trusted, out, err);
    if (status) krait__at(err, "import Arrow array");
    if (!status) {
        schema->release(schema);
        schema->release = NULL;
    }
    return status;
}

krait_status krait_arrow_import(struct ArrowSchema *schema, struct ArrowArray *array, krait_table **out,
                                krait_error **err) {
    return krait__arrow_import(schema, array, false, out, err);
}
