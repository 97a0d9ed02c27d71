/* column: checks, copies and views of one column, in plain C.
 *
 * The check takes nothing on trust that a caller may have made by hand: no address is formed of what it has not found
 * to lie in memory, and each refusal names the column and the row. Text is scanned whole first, which is what good text
 * needs; only where that finds a fault are rows looked at one by one, to name the first bad one that has a value. */
#include "column.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "table.h"
#include "value.h"

enum {
    DECIMAL_BYTES = 16,
    DATE_BYTES = 4,
    KNOWN_FLAGS = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_F_CONTIGUOUS | KRAIT_ARRAY_ALIGNED |
                  KRAIT_ARRAY_COPIED | KRAIT_ARRAY_ALIAS,
    KEPT_FLAGS = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED | KRAIT_ARRAY_ALIAS /* what the layout does not tell */
};

static const uint64_t HIGH_BITS = 0x8080808080808080u; /* of eight bytes: set where one is not ASCII */

int64_t krait__column_item(const krait_column *column) {
    switch (column->kind) {
    case KRAIT_COLUMN_ARRAY:
    case KRAIT_COLUMN_CATEGORY: return (int64_t)column->dtype.item_size;
    case KRAIT_COLUMN_DECIMAL: return DECIMAL_BYTES;
    case KRAIT_COLUMN_DATE: return DATE_BYTES;
    default: return 0;
    }
}

int krait__shown(const char *name) {
    size_t n = 0;
    while (n < KRAIT__NAME_SHOWN && name[n]) n++;
    if (name[n])
        while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80) n--;
    return (int)n;
}

size_t krait__column_type(const krait_column *column, char *buffer, size_t size) {
    int64_t count = column->dictionary ? column->dictionary->rows : 0;
    char    text[64] = "of an unknown kind";
    switch (column->kind) {
    case KRAIT_COLUMN_ARRAY: krait_dtype_name(column->dtype, text, sizeof text); break;
    case KRAIT_COLUMN_TEXT: strcpy(text, "text"); break;
    case KRAIT_COLUMN_BYTES: strcpy(text, "bytes"); break;
    case KRAIT_COLUMN_CATEGORY:
        snprintf(text, sizeof text, "category of %" PRId64 " value%s", count, count == 1 ? "" : "s");
        break;
    case KRAIT_COLUMN_DECIMAL: snprintf(text, sizeof text, "decimal(%d, %d)", column->precision, column->scale); break;
    case KRAIT_COLUMN_DATE: strcpy(text, "dates"); break;
    default: break;
    }
    return krait__copy_out(text, strlen(text), buffer, buffer ? size : 0);
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

static bool is_tail(unsigned char byte) {
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the character that begins at s, of n bytes that are there; 0: not UTF-8. The second byte decides what is
 * overlong (after E0, F0), a surrogate (ED) or beyond U+10FFFF (F4): table 3-7 of the Unicode standard. */
static size_t character(const unsigned char *s, size_t n) {
    unsigned char lead = s[0], low = 0x80, high = 0xbf;
    size_t        size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (size < 2) return size;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    if (size > n || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < size; i++)
        if (!is_tail(s[i])) return 0;
    return size;
}

size_t krait__utf8_span(const char *text, size_t size) {
    const unsigned char *s = (const unsigned char *)text;
    size_t               i = 0;
    while (i < size) {
        uint64_t eight;
        size_t   step;
        while (size - i >= sizeof eight && (memcpy(&eight, s + i, sizeof eight), !(eight & HIGH_BITS)))
            i += sizeof eight;
        while (i < size && s[i] < 0x80) i++;
        while (i < size && s[i] >= 0x80) {
            step = character(s + i, size - i);
            if (!step) return i;
            i += step;
        }
    }
    return size;
}

size_t krait__utf8_encode(uint32_t point, char *to) {
    static const uint8_t leads[] = { 0, 0x00, 0xc0, 0xe0, 0xf0 };
    size_t               size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
    for (size_t i = size; to && i-- > 0; point >>= 6) to[i] = (char)(i ? 0x80 | (point & 0x3f) : leads[size] | point);
    return size;
}

/* Most text is, and this is much faster than looking at characters. */
static bool is_ascii(const char *text, size_t size) {
    uint64_t four[4], high = 0;
    size_t   i = 0;
    for (; size - i >= sizeof four && !high; i += sizeof four) {
        memcpy(four, text + i, sizeof four);
        high = (four[0] | four[1] | four[2] | four[3]) & HIGH_BITS;
    }
    for (; i < size && !high; i++) high = (unsigned char)text[i] & 0x80;
    return !high;
}

/* ---- how a check refuses ----------------------------------------------------------------------------------------- */

/* What is checked: "column 'x'", or "dictionary of column 'x'". */
struct subject {
    const krait_column *column;
    const char         *what, *name;
    bool                trusted;
};

/* "column 'x' has ..." */
static krait_status refuse(const struct subject *s, krait_error **err, krait_status status, const char *format, ...)
    KRAIT_PRINTF(4, 5);
static krait_status refuse(const struct subject *s, krait_error **err, krait_status status, const char *format, ...) {
    char    text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return krait__fail(err, status, "%s '%.*s' %s", s->what, krait__shown(s->name), s->name, text);
}

/* ---- checking: memory -------------------------------------------------------------------------------------------- */

/* The elements lie in memory: a pointer, and a reach that an address can have. */
static krait_status check_elements(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    uintptr_t           at = (uintptr_t)column->data, end;
    int64_t             reach;
    if (column->rows == 0) return KRAIT_OK;
    if (!column->data)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has data NULL, expected %" PRId64 " rows", column->rows);
    if (__builtin_mul_overflow(column->rows - 1, column->stride, &reach) || __builtin_add_overflow(at, reach, &end) ||
        __builtin_add_overflow(end > at ? end : at, krait__column_item(column), &end))
        return refuse(s, err, KRAIT_E_SHAPE, "reaches beyond memory: %" PRId64 " rows, stride %" PRId64, column->rows,
                      column->stride);
    return KRAIT_OK;
}

static krait_status check_valid(const struct subject *s, krait_error **err) {
    int64_t   bits;
    uintptr_t end;
    if (!s->column->valid) return KRAIT_OK;
    if (s->column->valid_offset < 0)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has valid_offset %" PRId64 ", expected 0 or more",
                      s->column->valid_offset);
    if (__builtin_add_overflow(s->column->valid_offset, s->column->rows, &bits) ||
        __builtin_add_overflow((uintptr_t)s->column->valid, bits / 8 + 1, &end))
        return refuse(s, err, KRAIT_E_SHAPE, "has valid_offset %" PRId64 ", which reaches beyond memory",
                      s->column->valid_offset);
    return KRAIT_OK;
}

/* ---- checking: elements ------------------------------------------------------------------------------------------ */

/* value says what is wrong with dtype and stride; this adds the name. */
static krait_status check_array(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    krait_value         value = krait_ndarray(column->data, column->dtype, 1, &column->rows, &column->stride);
    krait_error        *why = NULL;
    const char         *lo, *hi;
    int64_t             size;
    krait_status        status;
    char                type[64];
    if (column->dtype.code > KRAIT_TIMEDELTA) {
        krait_dtype_name(column->dtype, type, sizeof type);
        return refuse(s, err, KRAIT_E_ARGUMENT, "is an array of %s, expected bool, numbers or times", type);
    }
    status = krait__array_check(&value, &lo, &hi, &size, &why);
    if (status) refuse(s, err, status, "is no array: %s", krait_error_message(why));
    krait_error_clear(&why);
    if (!status && column->zone && column->dtype.code != KRAIT_DATETIME) {
        krait_dtype_name(column->dtype, type, sizeof type);
        return refuse(s, err, KRAIT_E_ARGUMENT, "is %s and has a zone, which is for datetime64", type);
    }
    return status;
}

static int64_t load_code(const krait_column *column, int64_t row) {
    const char *from = (const char *)column->data + row * column->stride;
    bool        swapped = column->dtype.swapped;
    int8_t      i8;
    uint16_t    i16;
    uint32_t    i32;
    uint64_t    i64;
    switch (column->dtype.item_size) {
    case 1: return memcpy(&i8, from, 1), i8;
    case 2: return memcpy(&i16, from, 2), (int16_t)(swapped ? __builtin_bswap16(i16) : i16);
    case 4: return memcpy(&i32, from, 4), (int32_t)(swapped ? __builtin_bswap32(i32) : i32);
    default: return memcpy(&i64, from, 8), (int64_t)(swapped ? __builtin_bswap64(i64) : i64);
    }
}

static bool is_code_within(const krait_column *column, int64_t row) {
    int64_t code = load_code(column, row);
    return code >= 0 && code < column->dictionary->rows;
}

/* Is `test` true of no i below n? In blocks without a branch and of a known length, of which compilers make vectors
 * even with -O2; `type` is as wide as what is compared. */
enum { BLOCK = 64 };
#define NONE_IS(type, n, test)                                                                                         \
    do {                                                                                                               \
        int64_t i_ = 0;                                                                                                \
        for (; (n)-i_ >= BLOCK; i_ += BLOCK) {                                                                         \
            type any_ = 0;                                                                                             \
            for (int64_t i = i_; i < i_ + BLOCK; i++) any_ |= (test);                                                  \
            if (any_) return false;                                                                                    \
        }                                                                                                              \
        for (int64_t i = i_; i < (n); i++)                                                                             \
            if (test) return false;                                                                                    \
        return true;                                                                                                   \
    } while (0)

/* Codes below `limit`, compared as unsigned numbers, of which negative ones are the largest. */
#define CODES_BELOW(bits)                                                                                              \
    static bool codes##bits##_below(const uint##bits##_t *codes, int64_t n, int64_t limit) {                           \
        uint##bits##_t end =                                                                                           \
            (uint##bits##_t)(limit > INT##bits##_MAX ? (uint64_t)INT##bits##_MAX + 1 : (uint64_t)limit);               \
        NONE_IS(uint##bits##_t, n, codes[i] >= end);                                                                   \
    }
CODES_BELOW(8)
CODES_BELOW(16)
CODES_BELOW(32)
CODES_BELOW(64)

/* Codes as they mostly are: in a row, aligned, native, and all of them in the dictionary. */
static bool are_codes_within(const krait_column *column) {
    int64_t rows = column->rows, limit = column->dictionary->rows, item = krait__column_item(column);
    if (column->dtype.swapped || column->stride != item || (uintptr_t)column->data % (uintptr_t)item) return false;
    switch (item) {
    case 1: return codes8_below(column->data, rows, limit);
    case 2: return codes16_below(column->data, rows, limit);
    case 4: return codes32_below(column->data, rows, limit);
    default: return codes64_below(column->data, rows, limit);
    }
}

static krait_status check_codes(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    if (column->rows == 0 || are_codes_within(column)) return KRAIT_OK;
    for (int64_t row = 0; row < column->rows; row++)
        if (krait_column_has(column, row) && !is_code_within(column, row))
            return refuse(
                s, err, KRAIT_E_RANGE, "has code %" PRId64 " at row %" PRId64 ", its dictionary %" PRId64 " row%s",
                load_code(column, row), row, column->dictionary->rows, column->dictionary->rows == 1 ? "" : "s");
    return KRAIT_OK;
}

static krait_status check_column(const struct subject *s, krait_error **err);

static krait_status check_category(const struct subject *s, krait_error **err) {
    const krait_column  *column = s->column;
    const struct subject dictionary = { column->dictionary, "dictionary of column", s->name, s->trusted };
    krait_status         status;
    char                 type[64];
    if (column->dtype.code < KRAIT_I8 || column->dtype.code > KRAIT_I64) {
        krait_dtype_name(column->dtype, type, sizeof type);
        return refuse(s, err, KRAIT_E_ARGUMENT, "has codes of dtype %s, expected int8, int16, int32 or int64", type);
    }
    if (!column->dictionary) return refuse(s, err, KRAIT_E_ARGUMENT, "is a category with dictionary NULL");
    if (column->dictionary->kind == KRAIT_COLUMN_CATEGORY)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has a dictionary that is a category itself");
    status = check_array(s, err);
    if (!status) status = check_column(&dictionary, err);
    return status || s->trusted ? status : check_codes(s, err);
}

/* ---- checking: text ---------------------------------------------------------------------------------------------- */

static int64_t offset_at(const krait_column *column, int64_t i) {
    if (!column->offsets) return 0; /* there are no rows */
    return column->offset_bytes == 4 ? ((const int32_t *)column->offsets)[i] : ((const int64_t *)column->offsets)[i];
}

static krait_status check_offsets_lie(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    uintptr_t           at = (uintptr_t)column->offsets, end;
    int64_t             bytes;
    if (!column->offsets && column->rows == 0) return KRAIT_OK;
    if (column->offset_bytes != 4 && column->offset_bytes != 8)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has offset_bytes %d, expected 4 or 8", (int)column->offset_bytes);
    if (!column->offsets)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has offsets NULL, expected %" PRId64 " of them", column->rows + 1);
    if (at % (uintptr_t)column->offset_bytes)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has offsets at an address that is no multiple of %d",
                      (int)column->offset_bytes);
    if (__builtin_mul_overflow(column->rows + 1, column->offset_bytes, &bytes) ||
        __builtin_add_overflow(at, bytes, &end))
        return refuse(s, err, KRAIT_E_SHAPE, "has %" PRId64 " rows, whose offsets reach beyond memory", column->rows);
    return KRAIT_OK;
}

static krait_status check_bytes_lie(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    uintptr_t           end;
    if (column->data_bytes < 0)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has data_bytes %" PRId64 ", expected 0 or more", column->data_bytes);
    if (!column->data && column->data_bytes)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has data NULL, expected %" PRId64 " bytes", column->data_bytes);
    if (__builtin_add_overflow((uintptr_t)column->data, column->data_bytes, &end))
        return refuse(s, err, KRAIT_E_SHAPE, "has data_bytes %" PRId64 ", which reaches beyond memory",
                      column->data_bytes);
    return KRAIT_OK;
}

static bool runs_forward32(const int32_t *offsets, int64_t rows) {
    NONE_IS(int32_t, rows, offsets[i] > offsets[i + 1]);
}

static bool runs_forward64(const int64_t *offsets, int64_t rows) {
    NONE_IS(int64_t, rows, offsets[i] > offsets[i + 1]);
}

static bool are_offsets_good(const krait_column *column) {
    bool forward = column->offset_bytes == 4 ? runs_forward32(column->offsets, column->rows)
                                             : runs_forward64(column->offsets, column->rows);
    return forward && offset_at(column, 0) >= 0 && offset_at(column, column->rows) <= column->data_bytes;
}

static krait_status check_offsets(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    if (column->rows == 0 || are_offsets_good(column)) return KRAIT_OK;
    for (int64_t row = 0; row < column->rows; row++) {
        int64_t from = offset_at(column, row), to = offset_at(column, row + 1);
        if (from < 0 || to < from)
            return refuse(s, err, KRAIT_E_RANGE, "has offsets %" PRId64 " and %" PRId64 " at row %" PRId64 ", which %s",
                          from, to, row, from < 0 ? "lie before its data" : "run backwards");
        if (to > column->data_bytes)
            return refuse(s, err, KRAIT_E_RANGE, "ends at offset %" PRId64 " in row %" PRId64 ", its data at %" PRId64,
                          to, row, column->data_bytes);
    }
    return KRAIT_OK;
}

/* All texts in one run, and none begins within a character: then each is UTF-8. */
static bool are_texts_good(const krait_column *column) {
    int64_t              from = offset_at(column, 0), to = offset_at(column, column->rows);
    const unsigned char *data = column->data;
    if (from == to || is_ascii((const char *)data + from, (size_t)(to - from))) return true;
    if (krait__utf8_span((const char *)data + from, (size_t)(to - from)) != (size_t)(to - from)) return false;
    for (int64_t row = 1; row < column->rows; row++) {
        int64_t at = offset_at(column, row);
        if (at < to && is_tail(data[at])) return false;
    }
    return true;
}

static krait_status check_texts(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    if (column->rows == 0 || are_texts_good(column)) return KRAIT_OK;
    for (int64_t row = 0; row < column->rows; row++) {
        size_t      size;
        const char *text = krait_column_text(column, row, &size);
        size_t      good = text ? krait__utf8_span(text, size) : size;
        if (good < size)
            return refuse(s, err, KRAIT_E_ENCODING, "is not UTF-8 at row %" PRId64 ": byte %zu of %zu is 0x%02x", row,
                          good, size, (unsigned char)text[good]);
    }
    return KRAIT_OK;
}

static krait_status check_text(const struct subject *s, krait_error **err) {
    krait_status status = check_offsets_lie(s, err);
    if (!status) status = check_bytes_lie(s, err);
    if (!status && !s->trusted) status = check_offsets(s, err);
    if (!status && !s->trusted && s->column->kind == KRAIT_COLUMN_TEXT) status = check_texts(s, err);
    return status;
}

/* ---- checking: all of it ----------------------------------------------------------------------------------------- */

static krait_status check_kind(const struct subject *s, krait_error **err) {
    switch (s->column->kind) {
    case KRAIT_COLUMN_ARRAY: return check_array(s, err);
    case KRAIT_COLUMN_TEXT:
    case KRAIT_COLUMN_BYTES: return check_text(s, err);
    case KRAIT_COLUMN_CATEGORY: return check_category(s, err);
    case KRAIT_COLUMN_DECIMAL:
        if (s->column->precision >= 1 && s->column->precision <= 38) return check_elements(s, err);
        return refuse(s, err, KRAIT_E_ARGUMENT, "has precision %d, expected 1 to 38", s->column->precision);
    case KRAIT_COLUMN_DATE: return check_elements(s, err);
    default:
        return refuse(s, err, KRAIT_E_ARGUMENT, "has kind %d, expected KRAIT_COLUMN_ARRAY, _TEXT, ... (1 to 6)",
                      s->column->kind);
    }
}

/* What a caller forgot who did not begin with KRAIT_COLUMN_INIT. */
static krait_status check_rest(const struct subject *s, krait_error **err) {
    const krait_column *column = s->column;
    const char         *zone = column->kind == KRAIT_COLUMN_ARRAY ? column->zone : NULL;
    if (column->flags & ~(uint32_t)KNOWN_FLAGS)
        return refuse(s, err, KRAIT_E_ARGUMENT, "has flags 0x%x, which are not known",
                      (unsigned)(column->flags & ~(uint32_t)KNOWN_FLAGS));
    if (column->reserved0 || column->reserved[0] || column->reserved[1])
        return refuse(s, err, KRAIT_E_ARGUMENT, "has reserved fields that are not 0: begin with KRAIT_COLUMN_INIT");
    if (zone && (!*zone || krait__utf8_span(zone, strlen(zone)) != strlen(zone)))
        return refuse(s, err, KRAIT_E_ARGUMENT, "has a zone that is %s", *zone ? "not UTF-8" : "empty");
    return KRAIT_OK;
}

static krait_status check_column(const struct subject *s, krait_error **err) {
    krait_status status = KRAIT_OK;
    if (s->column->rows < 0 || s->column->rows == INT64_MAX)
        return refuse(s, err, KRAIT_E_SHAPE, "has %" PRId64 " rows", s->column->rows);
    if (!s->trusted) status = check_rest(s, err);
    if (!status) status = check_valid(s, err);
    return status ? status : check_kind(s, err);
}

krait_status krait__name_check(const char *name, krait_error **err) {
    size_t size = name ? strlen(name) : 0, good = krait__utf8_span(name, size);
    if (!name) return krait__fail(err, KRAIT_E_ARGUMENT, "name is NULL, expected UTF-8 (\"\" for none)");
    if (good == size) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ENCODING, "name of a column is not UTF-8: byte %zu of %zu is 0x%02x", good, size,
                       (unsigned char)name[good]);
}

krait_status krait__column_check(const krait_column *column, bool trusted, krait_error **err) {
    const struct subject s = { column, "column", column->name, trusted };
    krait_status         status = krait__name_check(column->name, err);
    return status ? status : check_column(&s, err);
}

krait_status krait__column_check_texts(const krait_column *column, krait_error **err) {
    const struct subject s = { column, "column", column->name, false };
    return check_texts(&s, err);
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

void krait__column_ranges(const krait_column *column, krait__range_fn *fn, void *user) {
    const char *data = column->data;
    int64_t     rows = column->rows, item = krait__column_item(column);
    if (krait__column_is_text(column)) {
        if (data) fn(user, data, data + column->data_bytes);
        if (column->offsets && rows > 0)
            fn(user, column->offsets, (const char *)column->offsets + (rows + 1) * column->offset_bytes);
        else if (column->offsets) fn(user, column->offsets, column->offsets);
    } else if (data && rows > 0 && item) {
        int64_t reach = (rows - 1) * column->stride;
        fn(user, data + (reach < 0 ? reach : 0), data + (reach > 0 ? reach : 0) + item);
    } else if (data && item) {
        fn(user, data, data);
    }
    if (column->valid && rows > 0) {
        const char *bits = (const char *)column->valid;
        fn(user, bits + column->valid_offset / 8, bits + (column->valid_offset + rows + 7) / 8);
    }
    if (column->dictionary) krait__column_ranges(column->dictionary, fn, user);
}

/* ---- what a table owns of a column ------------------------------------------------------------------------------- */

/* What the kind does not use is as KRAIT_COLUMN_INIT has it, and no buffer is NULL but `valid`. */
static void tidy(krait_column *column) {
    static const int64_t no_offset = 0;
    krait_column         used = KRAIT_COLUMN_INIT;
    used.name = column->name;
    used.kind = column->kind;
    used.flags = column->flags & KEPT_FLAGS;
    used.rows = column->rows;
    used.data = column->data ? column->data : "";
    used.valid = column->valid;
    used.valid_offset = column->valid ? column->valid_offset : 0;
    if (krait__column_is_text(column)) {
        used.data_bytes = column->data_bytes;
        used.offsets = column->offsets ? column->offsets : &no_offset;
        used.offset_bytes = column->offsets ? column->offset_bytes : (int32_t)sizeof no_offset;
    } else {
        used.stride = column->stride;
    }
    switch (column->kind) {
    case KRAIT_COLUMN_ARRAY:
        used.zone = column->zone;
        used.dtype = column->dtype;
        break;
    case KRAIT_COLUMN_CATEGORY:
        used.dtype = column->dtype;
        used.dictionary = column->dictionary;
        used.ordered = column->ordered != 0;
        break;
    case KRAIT_COLUMN_DECIMAL:
        used.precision = column->precision;
        used.scale = column->scale;
        break;
    default: break;
    }
    *column = used;
}

static const krait_column *own_dictionary(krait_table *table, const krait_column *from) {
    krait_column *dictionary = krait__table_alloc(table, sizeof *dictionary);
    const char   *name = from->name ? from->name : "";
    if (!dictionary) return NULL;
    *dictionary = *from;
    dictionary->name = krait__table_text(table, name, strlen(name));
    return dictionary->name && krait__column_own(table, dictionary) ? dictionary : NULL;
}

bool krait__column_own(krait_table *table, krait_column *column) {
    tidy(column);
    if (column->zone && !(column->zone = krait__table_text(table, column->zone, strlen(column->zone)))) return false;
    return !column->dictionary || (column->dictionary = own_dictionary(table, column->dictionary)) != NULL;
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static void count(uint64_t *bytes, size_t more) {
    if (bytes) *bytes += more;
}

/* value copies elements of any stride and byte order; decimals and dates are copied as what they are as wide as. */
static krait_status copy_elements(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err) {
    krait_dtype  dtype = column->kind == KRAIT_COLUMN_DECIMAL ? krait_c128_type()
                         : column->kind == KRAIT_COLUMN_DATE  ? krait_i32_type()
                                                              : column->dtype;
    krait_value  value = krait_ndarray(column->data, dtype, 1, &column->rows, &column->stride), copy;
    krait_status status = krait_value_copy(&value, &copy, err);
    if (status) return status;
    if (!krait__table_keep(table, copy.release, copy.owner)) {
        krait_value_clear(&copy);
        return krait__fail_nomem(err);
    }
    column->data = copy.as.array.data;
    column->stride = krait__column_item(column);
    column->dtype.swapped = 0;
    count(bytes, (size_t)(column->rows * column->stride));
    return KRAIT_OK;
}

/* Only the bytes that offsets reach; they begin at 0 then. */
static krait_status copy_text(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err) {
    int64_t rows = column->rows, first = offset_at(column, 0), size = offset_at(column, rows) - first;
    char   *data = krait__table_alloc(table, (size_t)size);
    void   *offsets = krait__table_alloc(table, krait__size((size_t)rows + 1, (size_t)column->offset_bytes, 0));
    if (!data || !offsets) return krait__fail_nomem(err);
    if (size) memcpy(data, (const char *)column->data + first, (size_t)size);
    if (column->offset_bytes == 4)
        for (int64_t i = 0; i <= rows; i++) ((int32_t *)offsets)[i] = (int32_t)(offset_at(column, i) - first);
    else
        for (int64_t i = 0; i <= rows; i++) ((int64_t *)offsets)[i] = offset_at(column, i) - first;
    column->data = data;
    column->data_bytes = size;
    column->offsets = offsets;
    count(bytes, (size_t)(size + (rows + 1) * column->offset_bytes));
    return KRAIT_OK;
}

/* To bits that begin at 0, those behind the last row 0. */
static krait_status copy_valid(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err) {
    size_t         size = (size_t)(column->rows + 7) / 8, shift = (size_t)(column->valid_offset % 8);
    const uint8_t *from = column->valid + column->valid_offset / 8;
    size_t         end = (shift + (size_t)column->rows + 7) / 8; /* bytes that `from` has */
    uint8_t       *bits = krait__table_alloc(table, size);
    if (!bits) return krait__fail_nomem(err);
    for (size_t i = 0; i < size; i++) {
        unsigned two = from[i] | (i + 1 < end ? (unsigned)from[i + 1] << 8 : 0);
        bits[i] = (uint8_t)(two >> shift);
    }
    if (column->rows % 8) bits[size - 1] &= (uint8_t)((1u << (column->rows % 8)) - 1);
    column->valid = bits;
    column->valid_offset = 0;
    count(bytes, size);
    return KRAIT_OK;
}

static krait_status copy_buffers(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err) {
    krait_status status =
        krait__column_is_text(column) ? copy_text(table, column, bytes, err) : copy_elements(table, column, bytes, err);
    if (!status && column->valid) status = copy_valid(table, column, bytes, err);
    column->flags = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED;
    return status;
}

krait_status krait__column_copy(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err) {
    krait_status status;
    if (!krait__column_own(table, column)) return krait__fail_nomem(err);
    status = copy_buffers(table, column, bytes, err);
    if (status || !column->dictionary) return status;
    return copy_buffers(table, (krait_column *)(uintptr_t)column->dictionary, bytes, err);
}

/* ---- fixed text and bytes ---------------------------------------------------------------------------------------- */

static uint32_t load_point(const char *item, size_t i, bool swapped) {
    uint32_t point;
    memcpy(&point, item + 4 * i, sizeof point);
    return swapped ? __builtin_bswap32(point) : point;
}

/* One element without its padding, as bytes or in UTF-8: its size, written where `to` is not NULL. False for a text
 * that has no UTF-8; then *size is the code point that is none. */
static bool read_fixed(const char *item, krait_dtype dtype, char *to, size_t *size) {
    size_t n = dtype.code == KRAIT_FIXED_TEXT ? dtype.item_size / 4 : dtype.item_size, done = 0;
    if (dtype.code == KRAIT_FIXED_BYTES) {
        while (n && !item[n - 1]) n--;
        if (to) memcpy(to, item, n);
        *size = n;
        return true;
    }
    while (n && load_point(item, n - 1, false) == 0) n--;
    for (size_t i = 0; i < n; i++) {
        uint32_t point = load_point(item, i, dtype.swapped);
        size_t   bytes = krait__utf8_encode(point, to ? to + done : NULL);
        *size = point;
        if (!bytes) return false;
        done += bytes;
    }
    *size = done;
    return true;
}

krait_status krait__column_of_fixed(krait_table *table, krait_column *column, uint8_t kind, krait_error **err) {
    int64_t  rows = column->rows, total = 0;
    int64_t *offsets = krait__table_alloc(table, krait__size((size_t)rows + 1, sizeof *offsets, 0));
    char    *data;
    size_t   size;
    if (!offsets) return krait__fail_nomem(err);
    for (int64_t row = 0; row < rows; row++) {
        const char *item = (const char *)column->data + row * column->stride;
        offsets[row] = total;
        if (!krait_column_has(column, row)) continue;
        if (!read_fixed(item, column->dtype, NULL, &size))
            return krait__fail(err, KRAIT_E_ENCODING,
                               "column '%.*s' has 0x%zx at row %" PRId64 ", which is no code point",
                               krait__shown(column->name), column->name, size, row);
        total += (int64_t)size;
    }
    offsets[rows] = total;
    data = krait__table_alloc(table, (size_t)total);
    if (!data) return krait__fail_nomem(err);
    for (int64_t row = 0; row < rows; row++)
        if (krait_column_has(column, row))
            read_fixed((const char *)column->data + row * column->stride, column->dtype, data + offsets[row], &size);
    column->kind = kind;
    column->data = data;
    column->data_bytes = total;
    column->offsets = offsets;
    column->offset_bytes = sizeof *offsets;
    column->flags = KRAIT_ARRAY_COPIED;
    return KRAIT_OK;
}

/* ---- a column as an array ---------------------------------------------------------------------------------------- */

/* "column 'close' is int32, expected float64" */
static krait_status other_type(const krait_column *column, int code, const char *hint, krait_error **err) {
    char        type[64], expected[64] = "numbers or times";
    const char *name = column->name ? column->name : "";
    krait__column_type(column, type, sizeof type);
    if (code != KRAIT_ANY) krait_dtype_name(krait_dtype_make_((uint8_t)code, 0, 0, 1), expected, sizeof expected);
    return krait__fail(err, KRAIT_E_KIND, "column '%.*s' is %s, expected %s%s", krait__shown(name), name, type,
                       expected, hint);
}

static krait_status view(const krait_column *column, int code, bool missing_too, krait_array *out, krait_error **err) {
    krait_value  value = krait_ndarray(column->data, column->dtype, 1, &column->rows, &column->stride);
    krait_status status;
    if (column->kind != KRAIT_COLUMN_ARRAY) return other_type(column, code, "", err);
    if (code != KRAIT_ANY && code != column->dtype.code) return other_type(column, code, "", err);
    if (column->valid && !missing_too)
        return other_type(column, code,
                          " without validity: missing_too takes it, krait_column_has tells which rows have a value",
                          err);
    status = krait_get_array(&value, KRAIT_ANY, 1, out, err);
    if (status) return status;
    out->flags |= column->flags & KEPT_FLAGS;
    out->shape = &column->rows;
    out->strides = &column->stride;
    return KRAIT_OK;
}

krait_status krait_column_array(const krait_column *column, int code, bool missing_too, krait_array *out,
                                krait_error **err) {
    krait_status status = KRAIT_OK;
    if (out) memset(out, 0, sizeof *out);
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!column || !out) status = krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", column ? "out" : "column");
    else if (code < KRAIT_ANY || code > KRAIT_TIMEDELTA)
        status = krait__fail(err, KRAIT_E_ARGUMENT, "dtype code %d is none that columns have", code);
    else status = view(column, code, missing_too, out, err);
    if (status) krait__at(err, "read value");
    return status;
}
