/* value: readers, copies and descriptions of values, in plain C.
 *
 * Readers take nothing on trust: what a caller made by hand is checked in full before an address is formed, and a
 * mismatch says what was got and what was asked for. No reader allocates, except for its error. Refuses copies nested
 * deeper than KRAIT__DEPTH_MAX. */
#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "instant.h"
#include "mem.h"
#include "table.h"

enum {
    LINE_MAX_ = 1024, /* a dtype's name and 32 lengths of 20 digits need some 800 */
    NAMES_SHOWN = 20, /* names listed when one was not found */
    DATA_ALIGN = 64   /* of copied arrays: a cache line, and what vector instructions like */
};

/* ---- short texts ------------------------------------------------------------------------------------------------- */

/* Built on the stack, so that describing a value cannot fail. */
struct line {
    size_t size;
    char   text[LINE_MAX_];
};

static void add(struct line *line, const char *format, ...) KRAIT_PRINTF(2, 3);
static void add(struct line *line, const char *format, ...) {
    size_t  room = sizeof line->text - line->size;
    va_list args;
    int     length;
    va_start(args, format);
    length = vsnprintf(line->text + line->size, room, format, args);
    va_end(args);
    if (length > 0) line->size += (size_t)length < room ? (size_t)length : room - 1;
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

struct dtype_row {
    uint32_t    bytes, align;
    const char *name;
    char        letter; /* numpy's, for the names of swapped ones; 0: has no byte order */
};

static const struct dtype_row dtype_rows[] = {
#define ROW(NAME, name, code, type, bytes, text) [code] = { bytes, bytes, text, 0 },
    KRAIT_DTYPE_MAP(ROW)
#undef ROW
        [KRAIT_DATETIME] = { 8, 8, "datetime64", 'M' },
    [KRAIT_TIMEDELTA] = { 8, 8, "timedelta64", 'm' },
    [KRAIT_STRUCT] = { 0, 1, "struct", 0 },
    [KRAIT_FIXED_BYTES] = { 0, 1, "bytes of fixed width (S)", 'S' },
    [KRAIT_FIXED_TEXT] = { 0, 4, "text of fixed width (U)", 'U' },
};

static bool is_code(int code) {
    return code >= KRAIT_BOOL && code <= KRAIT_FIXED_TEXT;
}

static bool is_time(uint8_t code) {
    return code == KRAIT_DATETIME || code == KRAIT_TIMEDELTA;
}

static bool is_complex(uint8_t code) {
    return code == KRAIT_C64 || code == KRAIT_C128;
}

static bool is_fixed(uint8_t code) {
    return code == KRAIT_FIXED_BYTES || code == KRAIT_FIXED_TEXT;
}

/* Bytes that change places when the byte order does. */
static uint32_t swap_width(krait_dtype dtype) {
    if (dtype.code == KRAIT_FIXED_TEXT) return 4;
    if (dtype.code == KRAIT_FIXED_BYTES) return 1;
    return is_complex(dtype.code) ? dtype.item_size / 2 : dtype.item_size;
}

/* As numpy has it: complex numbers align like their halves, records not at all. */
static uint32_t align_of(uint8_t code) {
    if (!is_code(code)) return 1;
    return is_complex(code) ? dtype_rows[code].bytes / 2 : dtype_rows[code].align;
}

static char letter_of(uint8_t code) {
    if (dtype_rows[code].letter) return dtype_rows[code].letter;
    if (is_complex(code)) return 'c';
    if (code >= KRAIT_F16) return 'f';
    return code >= KRAIT_U8 ? 'u' : 'i';
}

static void add_unit(struct line *line, krait_dtype dtype) {
    static const char *const units[] = { "", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };
    if (dtype.unit > KRAIT_AS) add(line, "[unit %d]", dtype.unit);
    else if (dtype.unit != KRAIT_GENERIC && dtype.of.count == 1) add(line, "[%s]", units[dtype.unit]);
    else if (dtype.unit != KRAIT_GENERIC) add(line, "[%" PRId64 "%s]", dtype.of.count, units[dtype.unit]);
}

/* "S8", "U5": characters, as numpy counts them. */
static uint32_t letter_count(krait_dtype dtype) {
    return dtype.code == KRAIT_FIXED_TEXT ? dtype.item_size / 4 : dtype.item_size;
}

static void add_dtype(struct line *line, krait_dtype dtype) {
    const char  order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '>' : '<';
    const char *name = is_code(dtype.code) ? dtype_rows[dtype.code].name : NULL;
    if (!name) {
        add(line, "unknown dtype %d", dtype.code);
    } else if (dtype.code == KRAIT_STRUCT) {
        size_t count = krait_dtype_fields(dtype, NULL);
        add(line, "struct of %zu field%s", count, plural(count));
    } else if (is_fixed(dtype.code)) {
        if (dtype.swapped && swap_width(dtype) > 1) add(line, "%c", order);
        add(line, "%c%" PRIu32, letter_of(dtype.code), letter_count(dtype));
    } else if (dtype.swapped && dtype_rows[dtype.code].bytes > 1) {
        add(line, "%c%c%u", order, letter_of(dtype.code), (unsigned)dtype_rows[dtype.code].bytes);
    } else {
        add(line, "%s", name);
    }
    if (is_time(dtype.code)) add_unit(line, dtype);
}

size_t krait__dtype_format(krait_dtype dtype, char *buffer, size_t size) {
    bool        little = (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) != (dtype.swapped != 0);
    struct line line = { 0, "" };
    add(&line, "%c", swap_width(dtype) == 1 ? '|' : little ? '<' : '>');
    add(&line, "%c%" PRIu32, dtype.code == KRAIT_BOOL ? 'b' : letter_of(dtype.code), letter_count(dtype));
    if (is_time(dtype.code)) add_unit(&line, dtype);
    return krait__copy_out(line.text, line.size, buffer, size);
}

size_t krait_dtype_fields(krait_dtype dtype, const krait_field **fields) {
    const struct krait_struct *record = dtype.code == KRAIT_STRUCT ? dtype.of.fields : NULL;
    if (fields) *fields = record ? record->fields : NULL;
    return record ? record->count : 0;
}

size_t krait_dtype_name(krait_dtype dtype, char *buffer, size_t size) {
    struct line line = { 0, "" };
    add_dtype(&line, dtype);
    return krait__copy_out(line.text, line.size, buffer, buffer ? size : 0);
}

/* ---- descriptions ------------------------------------------------------------------------------------------------ */

/* Shape of an array value, or NULL when there is none to read: krait_ndarray marks that with INT64_MIN. */
static const int64_t *shape_of(const krait_value *value) {
    int32_t ndim = value->as.array.ndim;
    if (ndim < 0 || ndim > KRAIT_MAX_NDIM) return NULL;
    if (!value->as.array.shape && (ndim > 3 || (ndim > 0 && value->as.array.dims[0] == INT64_MIN))) return NULL;
    return krait__array_shape(value);
}

static void add_shape(struct line *line, int32_t ndim, const int64_t *shape) {
    add(line, "(");
    for (int32_t i = 0; i < ndim; i++) add(line, "%s%" PRId64, i ? ", " : "", shape[i]);
    add(line, ")");
}

static void add_array(struct line *line, const krait_value *value) {
    const int64_t *shape = shape_of(value);
    add_dtype(line, value->as.array.dtype);
    add(line, " array ");
    if (shape) add_shape(line, value->as.array.ndim, shape);
    else add(line, "of %d dimensions without a shape", (int)value->as.array.ndim);
}

static void add_sized(struct line *line, const char *what, size_t n, const char *unit) {
    add(line, "%s of %zu%s%s", what, n, unit, *unit ? plural(n) : "");
}

static void add_table(struct line *line, const krait_value *value) {
    char text[128];
    krait__table_describe(value->as.table, text, sizeof text);
    add(line, "%s", text);
}

static void add_value(struct line *line, const krait_value *value) {
    switch (value->kind) {
    case KRAIT_KIND_NONE: add(line, "none"); break;
    case KRAIT_KIND_BOOL: add(line, "bool"); break;
    case KRAIT_KIND_I64:
    case KRAIT_KIND_U64: add(line, "int"); break;
    case KRAIT_KIND_F64: add(line, "float"); break;
    case KRAIT_KIND_COMPLEX: add(line, "complex"); break;
    case KRAIT_KIND_TEXT: add_sized(line, "text", value->as.bytes.size, " byte"); break;
    case KRAIT_KIND_BYTES: add_sized(line, "bytes", value->as.bytes.size, ""); break;
    case KRAIT_KIND_ARRAY: add_array(line, value); break;
    case KRAIT_KIND_LIST: add_sized(line, "list", value->as.list.count, " item"); break;
    case KRAIT_KIND_MAP: add_sized(line, "map", value->as.list.count, " item"); break;
    case KRAIT_KIND_TIME: add(line, value->as.time.dtype.code == KRAIT_TIMEDELTA ? "duration" : "time"); break;
    case KRAIT_KIND_DECIMAL: add(line, "decimal"); break;
    case KRAIT_KIND_TABLE: add_table(line, value); break;
    case KRAIT_KIND_OBJECT: add(line, "object"); break;
    case KRAIT_KIND_ITERATOR: add(line, "iterator"); break;
    default: add(line, "unknown kind %d", value->kind);
    }
}

size_t krait_value_describe(const krait_value *value, char *buffer, size_t size) {
    struct line line = { 0, "" };
    if (value) add_value(&line, value);
    else add(&line, "NULL");
    return krait__copy_out(line.text, line.size, buffer, buffer ? size : 0);
}

/* ---- how readers begin and refuse -------------------------------------------------------------------------------- */

/* Fails for an error that sticks, and for NULL where the object or the place for the answer is expected. */
static krait_status begin(const void *object, const char *object_name, const void *out, const char *out_name,
                          krait_error **err) {
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!object) return krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", object_name);
    if (!out) return krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", out_name);
    return KRAIT_OK;
}

static krait_status other_kind(const krait_value *value, const char *expected, krait_error **err) {
    struct line line = { 0, "" };
    add_value(&line, value);
    return krait__fail(err, KRAIT_E_KIND, "value is %s, expected %s", line.text, expected);
}

/* One more name for the list of what there is; false when enough are listed. */
static bool add_name(krait__text *text, size_t i, size_t count, const char *name) {
    if (i == NAMES_SHOWN) {
        krait__text_addf(text, " and %zu more", count - i);
        return false;
    }
    if (!name) name = "";
    krait__text_addf(text, "%s'%.*s'", i ? ", " : ": ", krait__shown(name), name);
    return true;
}

static krait_status no_such(const char *what, const char *name, const char *where, krait__text *names,
                            krait_error **err) {
    const char  *list = names->failed || !names->data ? "" : names->data;
    krait_status status =
        krait__fail(err, KRAIT_E_NOT_FOUND, "no %s '%.*s' in %s%s", what, krait__shown(name), name, where, list);
    krait__text_free(names);
    return status;
}

/* ---- checking an array ------------------------------------------------------------------------------------------- */

static krait_status check_time(krait_dtype dtype, krait_error **err) {
    const char *name = dtype_rows[dtype.code].name;
    if (dtype.unit > KRAIT_AS)
        return krait__fail(err, KRAIT_E_ARGUMENT, "%s has unit %d, expected 0 to 13", name, dtype.unit);
    if (dtype.of.count < 1 || dtype.of.count > INT32_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "%s counts %" PRId64 " of its unit, expected 1 to %" PRId32, name,
                           dtype.of.count, INT32_MAX);
    return KRAIT_OK;
}

static krait_status check_struct(krait_dtype dtype, krait_error **err) {
    const struct krait_struct *fields = dtype.of.fields;
    if (!fields) return krait__fail(err, KRAIT_E_ARGUMENT, "dtype struct has of.fields NULL");
    if (!fields->size || dtype.item_size == fields->size) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "dtype struct has item_size %" PRIu32 ", its description says %" PRIu32,
                       dtype.item_size, fields->size);
}

static krait_status check_fixed(krait_dtype dtype, krait_error **err) {
    if (dtype.unit)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has unit %d, expected 0", dtype_rows[dtype.code].name,
                           dtype.unit);
    if (dtype.code == KRAIT_FIXED_TEXT && dtype.item_size % 4)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has item_size %" PRIu32 ", expected a multiple of 4",
                           dtype_rows[dtype.code].name, dtype.item_size);
    if (dtype.item_size > INT32_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has item_size %" PRIu32 ", expected at most %" PRId32,
                           dtype_rows[dtype.code].name, dtype.item_size, INT32_MAX);
    return KRAIT_OK;
}

krait_status krait__dtype_check(krait_dtype dtype, krait_error **err) {
    const struct dtype_row *row;
    if (!is_code(dtype.code)) return krait__fail(err, KRAIT_E_ARGUMENT, "dtype code %d is unknown", dtype.code);
    row = &dtype_rows[dtype.code];
    if (dtype.swapped > 1 || dtype.reserved)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has swapped %d and reserved %d, expected 0 or 1 and 0",
                           row->name, dtype.swapped, dtype.reserved);
    if (dtype.code == KRAIT_STRUCT) return check_struct(dtype, err);
    if (is_fixed(dtype.code)) return check_fixed(dtype, err);
    if (dtype.item_size != row->bytes)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has item_size %" PRIu32 ", expected %" PRIu32, row->name,
                           dtype.item_size, row->bytes);
    if (is_time(dtype.code)) return check_time(dtype, err);
    if (dtype.unit)
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype %s has unit %d, expected 0", row->name, dtype.unit);
    return KRAIT_OK;
}

/* "shape (3, -1): dimension 1 is negative" */
static krait_status bad_shape(const krait_value *value, const char *why, int32_t dimension, krait_error **err) {
    struct line line = { 0, "" };
    add(&line, "shape ");
    add_shape(&line, value->as.array.ndim, krait__array_shape(value));
    if (dimension >= 0) add(&line, ": dimension %d %s", (int)dimension, why);
    else add(&line, ": %s", why);
    return krait__fail(err, KRAIT_E_SHAPE, "%s", line.text);
}

static krait_status check_ndim(const krait_value *value, krait_error **err) {
    int ndim = (int)value->as.array.ndim;
    if (ndim < 0 || ndim > KRAIT_MAX_NDIM)
        return krait__fail(err, KRAIT_E_SHAPE, "array has %d dimensions, expected 0 to %d", ndim, KRAIT_MAX_NDIM);
    if (!shape_of(value))
        return krait__fail(err, KRAIT_E_ARGUMENT, "shape is NULL, expected %d length%s", ndim, plural((uint64_t)ndim));
    return KRAIT_OK;
}

/* Like numpy, refuses lengths whose product with the item size overflows even when another length is 0. */
static krait_status check_shape(const krait_value *value, int64_t *size, krait_error **err) {
    const int64_t *shape = krait__array_shape(value);
    int64_t        bytes = value->as.array.dtype.item_size ? (int64_t)value->as.array.dtype.item_size : 1;
    int64_t        n = 1;
    for (int32_t i = 0; i < value->as.array.ndim; i++) {
        if (shape[i] < 0) return bad_shape(value, "is negative", i, err);
        if (shape[i] > 0 && __builtin_mul_overflow(bytes, shape[i], &bytes))
            return bad_shape(value, "more bytes than memory can have", -1, err);
        n *= shape[i];
    }
    *size = n;
    return KRAIT_OK;
}

/* Bytes that an array reaches before and behind its first element; false when they overflow. */
static bool reach(const krait_value *value, int64_t *before, int64_t *behind) {
    const int64_t *shape = krait__array_shape(value), *strides = krait__array_strides(value);
    *before = 0;
    *behind = (int64_t)value->as.array.dtype.item_size;
    if (!strides) {
        for (int32_t i = 0; i < value->as.array.ndim; i++) *behind *= shape[i]; /* check_shape found that this fits */
        return true;
    }
    for (int32_t i = 0; i < value->as.array.ndim; i++) {
        int64_t  span;
        int64_t *side = strides[i] < 0 ? before : behind;
        if (__builtin_mul_overflow(shape[i] - 1, strides[i], &span) || __builtin_add_overflow(*side, span, side))
            return false;
    }
    return true;
}

static krait_status check_span(const krait_value *value, int64_t size, const char **lo, const char **hi,
                               krait_error **err) {
    const char *data = value->as.array.data;
    uintptr_t   at = (uintptr_t)data, low, high;
    int64_t     before, behind;
    if (!data) {
        struct line line = { 0, "" };
        add_dtype(&line, value->as.array.dtype);
        return krait__fail(err, KRAIT_E_ARGUMENT, "data is NULL, expected %" PRId64 " element%s of %s", size,
                           plural((uint64_t)size), line.text);
    }
    if (!reach(value, &before, &behind) || __builtin_add_overflow(at, before, &low) ||
        __builtin_add_overflow(at, behind, &high))
        return bad_shape(value, "strides reach beyond memory", -1, err);
    *lo = (const char *)low;
    *hi = (const char *)high;
    return KRAIT_OK;
}

krait_status krait__array_check(const krait_value *value, const char **lo, const char **hi, int64_t *size,
                                krait_error **err) {
    krait_status status;
    *lo = *hi = NULL;
    *size = 0;
    if (value->kind != KRAIT_KIND_ARRAY) return other_kind(value, "an array", err);
    status = krait__dtype_check(value->as.array.dtype, err);
    if (!status) status = check_ndim(value, err);
    if (!status) status = check_shape(value, size, err);
    if (status) return status;
    *lo = *hi = value->as.array.data;
    return *size ? check_span(value, *size, lo, hi, err) : KRAIT_OK;
}

/* ---- layout ------------------------------------------------------------------------------------------------------ */

/* Strides of an array in C order. */
static void c_strides(krait_dtype dtype, int32_t ndim, const int64_t *shape, int64_t *strides) {
    int64_t step = (int64_t)dtype.item_size;
    for (int32_t i = ndim - 1; i >= 0; i--) {
        strides[i] = step;
        if (shape[i] > 0) step *= shape[i];
    }
}

/* Whether the elements lie without gaps, the last (C) or first (F) dimension fastest; a length of 1 has no stride. */
static bool contiguous(const krait_array *array, const int64_t *strides, bool c_order) {
    int64_t step = (int64_t)array->dtype.item_size;
    for (int32_t i = 0; i < array->ndim; i++) {
        int32_t at = c_order ? array->ndim - 1 - i : i;
        if (array->shape[at] != 1 && strides[at] != step) return false;
        step *= array->shape[at];
    }
    return true;
}

static bool aligned(const krait_array *array, const int64_t *strides) {
    int64_t align = (int64_t)align_of(array->dtype.code);
    if ((uintptr_t)array->data % (uintptr_t)align) return false;
    for (int32_t i = 0; i < array->ndim; i++)
        if (array->shape[i] > 1 && strides[i] % align) return false;
    return true;
}

/* The flags that follow from pointer, shape and strides, as numpy sets them: an empty array has them all. */
static uint32_t layout(const krait_array *array) {
    int64_t        own[KRAIT_MAX_NDIM];
    const int64_t *strides = array->strides ? array->strides : own;
    uint32_t       flags = 0;
    if (array->size == 0) return KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_F_CONTIGUOUS | KRAIT_ARRAY_ALIGNED;
    if (!array->strides) c_strides(array->dtype, array->ndim, array->shape, own);
    if (contiguous(array, strides, true)) flags |= KRAIT_ARRAY_C_CONTIGUOUS;
    if (contiguous(array, strides, false)) flags |= KRAIT_ARRAY_F_CONTIGUOUS;
    if (aligned(array, strides)) flags |= KRAIT_ARRAY_ALIGNED;
    return flags;
}

enum { KEPT_FLAGS = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED | KRAIT_ARRAY_ALIAS }; /* what layout cannot know */

/* The checked array of a value. */
static void view_unchecked(const krait_value *value, krait_array *out) {
    out->data = value->as.array.data;
    out->dtype = value->as.array.dtype;
    out->ndim = value->as.array.ndim;
    out->flags = value->as.array.flags;
    out->shape = krait__array_shape(value);
    out->strides = krait__array_strides(value);
    out->reserved = 0;
}

/* As numpy had it: nothing to check, and the flags are numpy's. */
static void view_result(const krait_value *value, krait_array *out) {
    view_unchecked(value, out);
    out->size = 1;
    for (int32_t i = 0; i < out->ndim; i++) out->size *= out->shape[i];
}

static krait_status view(const krait_value *value, krait_array *out, krait_error **err) {
    const char  *lo, *hi;
    krait_status status = KRAIT_OK;
    if (value->flags & KRAIT_VALUE_PYTHON_) {
        view_result(value, out);
        return KRAIT_OK;
    }
    view_unchecked(value, out);
    status = krait__array_check(value, &lo, &hi, &out->size, err);
    if (!status) out->flags = (out->flags & KEPT_FLAGS) | layout(out);
    return status;
}

/* ---- clear, trees ------------------------------------------------------------------------------------------------ */

void krait_value_clear(krait_value *value) {
    void (*release)(void *);
    void *owner;
    if (!value) return;
    release = value->release;
    owner = value->owner;
    krait__set_none(value);
    if (release) release(owner);
}

krait__tree *krait__tree_new(size_t count, bool keyed, size_t key_bytes) {
    size_t       each = sizeof(krait_value) + (keyed ? sizeof(char *) : 0);
    size_t       bytes = krait__size(count, each, sizeof(krait__tree));
    krait__tree *tree = bytes > SIZE_MAX - key_bytes ? NULL : krait__zalloc(bytes + key_bytes);
    if (!tree) return NULL;
    tree->count = count;
    tree->items = (krait_value *)(void *)(tree + 1);
    if (keyed) tree->keys = (const char **)(void *)(tree->items + count);
    tree->text = (char *)tree + bytes;
    return tree;
}

void krait__tree_release(void *owner) {
    krait__tree *tree = owner;
    if (!tree) return;
    for (size_t i = 0; i < tree->count; i++) krait_value_clear(&tree->items[i]);
    if (tree->object_release) tree->object_release(tree->object);
    krait__free(tree);
}

/* ---- copy: arrays ------------------------------------------------------------------------------------------------ */

/* Memory of a copied array: this head, shape and strides, then the elements. */
struct copied {
    struct krait_struct *fields;
    int64_t              dims[]; /* shape, then strides */
};

static void release_copied(void *owner) {
    struct copied *copied = owner;
    krait__struct_free(copied->fields);
    krait__free(copied);
}

/* A compiler makes a load and a store of a memcpy of known size. */
#define COPY_RUN(bytes)                                                                                                \
    case bytes:                                                                                                        \
        for (int64_t i = 0; i < n; i++) memcpy(to + i * (bytes), from + i * stride, (bytes));                          \
        break

static void copy_run(char *to, const char *from, int64_t n, int64_t stride, int64_t item) {
    switch (item) {
        COPY_RUN(1);
        COPY_RUN(2);
        COPY_RUN(4);
        COPY_RUN(8);
        COPY_RUN(16);
    default:
        for (int64_t i = 0; i < n; i++) memcpy(to + i * item, from + i * stride, (size_t)item);
    }
}

/* All elements in C order, run by run along the last dimension. */
static void gather(char *to, const krait_array *array) {
    int32_t     last = array->ndim - 1, d;
    int64_t     index[KRAIT_MAX_NDIM] = { 0 }, item = (int64_t)array->dtype.item_size;
    int64_t     run = last < 0 ? 1 : array->shape[last], stride = last < 0 ? 0 : array->strides[last];
    const char *from = array->data;
    do {
        copy_run(to, from, run, stride, item);
        to += run * item;
        for (d = last - 1; d >= 0 && ++index[d] == array->shape[d]; d--) {
            from -= (array->shape[d] - 1) * array->strides[d];
            index[d] = 0;
        }
        if (d >= 0) from += array->strides[d];
    } while (d >= 0);
}

static void swap_bytes(char *data, int64_t count, size_t width) {
    for (; count > 0; count--, data += width)
        for (size_t i = 0; i < width / 2; i++) {
            char byte = data[i];
            data[i] = data[width - 1 - i];
            data[width - 1 - i] = byte;
        }
}

/* To this machine's byte order; records are left alone, since their fields say their own order. */
static void make_native(char *data, krait_dtype dtype, int64_t size) {
    if (!dtype.swapped || dtype.code == KRAIT_STRUCT) return;
    swap_bytes(data, size * (dtype.item_size / swap_width(dtype)), swap_width(dtype));
}

static char *align_up(void *pointer) {
    uintptr_t at = ((uintptr_t)pointer + DATA_ALIGN - 1) & ~(uintptr_t)(DATA_ALIGN - 1);
    return (char *)at;
}

/* Room for the array, described by *out but not filled; NULL without memory. */
static struct copied *make_room(const krait_array *from, krait_array *out) {
    size_t         dims = 2 * (size_t)from->ndim;
    size_t         head = sizeof(struct copied) + dims * sizeof(int64_t) + DATA_ALIGN;
    struct copied *copied = krait__alloc(krait__size((size_t)from->size, from->dtype.item_size, head));
    if (!copied) return NULL;
    copied->fields = NULL;
    *out = *from;
    out->shape = copied->dims;
    out->strides = copied->dims + from->ndim;
    out->data = align_up(copied->dims + dims);
    if (from->ndim) memcpy(copied->dims, from->shape, (size_t)from->ndim * sizeof(int64_t));
    c_strides(from->dtype, from->ndim, from->shape, copied->dims + from->ndim);
    if (from->dtype.code != KRAIT_STRUCT) out->dtype.swapped = 0;
    out->flags = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED | layout(out);
    return copied;
}

static void set_array(krait_value *out, const krait_array *array, struct copied *owner) {
    out->kind = KRAIT_KIND_ARRAY;
    out->release = release_copied;
    out->owner = owner;
    out->as.array.data = array->data;
    out->as.array.dtype = array->dtype;
    out->as.array.ndim = array->ndim;
    out->as.array.flags = array->flags;
    out->as.array.shape = array->shape;
    out->as.array.strides = array->strides;
}

static krait_status copy_array(const krait_value *value, krait_value *out, krait_error **err) {
    krait_array    from = { 0 }, to;
    struct copied *copied;
    krait_status   status = view(value, &from, err);
    if (status) return status;
    copied = make_room(&from, &to);
    if (!copied) return krait__fail_nomem(err);
    if (from.dtype.code == KRAIT_STRUCT) {
        to.dtype.of.fields = copied->fields = krait__struct_copy(from.dtype.of.fields);
        if (!copied->fields) {
            release_copied(copied);
            return krait__fail_nomem(err);
        }
    }
    if (from.size && (from.flags & KRAIT_ARRAY_C_CONTIGUOUS))
        memcpy(to.data, from.data, (size_t)from.size * from.dtype.item_size);
    else if (from.size) gather(to.data, &from);
    make_native(to.data, from.dtype, from.size);
    set_array(out, &to, copied);
    return KRAIT_OK;
}

/* ---- copy: the rest ---------------------------------------------------------------------------------------------- */

/* Refuses text without memory (krait_str(NULL) made it), and bytes that should be somewhere but are not. */
static krait_status check_bytes(const krait_value *value, krait_error **err) {
    bool text = value->kind != KRAIT_KIND_BYTES;
    if (value->as.bytes.data || (!text && value->as.bytes.size == 0)) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL, expected %zu bytes", text ? "text" : "bytes",
                       value->as.bytes.size);
}

static krait_status copy_bytes(const krait_value *value, krait_value *out, krait_error **err) {
    krait_status status = check_bytes(value, err);
    char        *copy;
    if (status) return status;
    copy = krait__strndup(value->as.bytes.size ? value->as.bytes.data : "", value->as.bytes.size);
    if (!copy) return krait__fail_nomem(err);
    out->kind = value->kind;
    out->release = krait__free;
    out->owner = copy;
    out->as.bytes.data = copy;
    out->as.bytes.size = value->as.bytes.size;
    return KRAIT_OK;
}

static krait_status copy_time(const krait_value *value, krait_value *out, krait_error **err) {
    krait_status status = krait__time_check(value, err);
    char        *zone = NULL;
    if (status) return status;
    if (value->as.time.zone && !(zone = krait__strdup(value->as.time.zone))) return krait__fail_nomem(err);
    out->kind = KRAIT_KIND_TIME;
    out->release = zone ? krait__free : NULL;
    out->owner = zone;
    out->as.time = value->as.time;
    out->as.time.zone = zone;
    return KRAIT_OK;
}

static krait_status check_items(const krait_value *value, krait_error **err) {
    bool map = value->kind == KRAIT_KIND_MAP;
    if (value->as.list.count == 0) return KRAIT_OK;
    if (!value->as.list.items)
        return krait__fail(err, KRAIT_E_ARGUMENT, "items of the %s are NULL", map ? "map" : "list");
    if (map && !value->as.list.keys) return krait__fail(err, KRAIT_E_ARGUMENT, "keys of the map are NULL");
    return KRAIT_OK;
}

static krait_status check_key(const krait_value *value, size_t index, krait_error **err) {
    if (value->as.list.keys[index]) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "key %zu of the map is NULL", index);
}

static krait_status check_map(const krait_value *value, krait_error **err) {
    krait_status status = check_items(value, err);
    size_t       keys = value->kind == KRAIT_KIND_MAP ? value->as.list.count : 0;
    for (size_t i = 0; !status && i < keys; i++) status = check_key(value, i, err);
    return status;
}

static krait__tree *tree_like(const krait_value *value) {
    size_t       bytes = 0;
    size_t       keys = value->kind == KRAIT_KIND_MAP ? value->as.list.count : 0;
    krait__tree *tree;
    char        *text;
    for (size_t i = 0; i < keys; i++) bytes += strlen(value->as.list.keys[i]) + 1;
    tree = krait__tree_new(value->as.list.count, value->kind == KRAIT_KIND_MAP, bytes);
    text = tree ? tree->text : NULL;
    for (size_t i = 0; tree && i < keys; i++) {
        size_t length = strlen(value->as.list.keys[i]) + 1;
        memcpy(text, value->as.list.keys[i], length);
        tree->keys[i] = text;
        text += length;
    }
    return tree;
}

static krait_status copy_value(const krait_value *value, int depth, krait_value *out, krait_error **err);

static krait_status copy_list(const krait_value *value, int depth, krait_value *out, krait_error **err) {
    krait_status status = check_map(value, err);
    krait__tree *tree;
    if (status) return status;
    if (depth >= KRAIT__DEPTH_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "lists and maps are nested deeper than %d", KRAIT__DEPTH_MAX);
    tree = tree_like(value);
    if (!tree) return krait__fail_nomem(err);
    for (size_t i = 0; !status && i < tree->count; i++)
        status = copy_value(&value->as.list.items[i], depth + 1, &tree->items[i], err);
    if (status) {
        krait__tree_release(tree);
        return status;
    }
    out->kind = value->kind;
    out->release = krait__tree_release;
    out->owner = tree;
    out->as.list.items = tree->items;
    out->as.list.keys = tree->keys;
    out->as.list.count = tree->count;
    return KRAIT_OK;
}

/* *out is none already. */
static krait_status copy_table(const krait_value *value, krait_value *out, krait_error **err) {
    krait_table *table;
    krait_status status = krait__table_check(value, err);
    if (!status) status = krait__table_copy(value->as.table, &table, err);
    if (status) return status;
    out->kind = KRAIT_KIND_TABLE;
    out->release = krait__table_release;
    out->owner = table;
    out->as.table = table;
    return KRAIT_OK;
}

static krait_status copy_value(const krait_value *value, int depth, krait_value *out, krait_error **err) {
    switch (value->kind) {
    case KRAIT_KIND_NONE: return KRAIT_OK;
    case KRAIT_KIND_BOOL: out->as.b = value->as.b; break;
    case KRAIT_KIND_I64: out->as.i64 = value->as.i64; break;
    case KRAIT_KIND_U64: out->as.u64 = value->as.u64; break;
    case KRAIT_KIND_F64: out->as.f64 = value->as.f64; break;
    case KRAIT_KIND_COMPLEX: out->as.complex = value->as.complex; break;
    case KRAIT_KIND_TEXT:
    case KRAIT_KIND_DECIMAL:
    case KRAIT_KIND_BYTES: return copy_bytes(value, out, err);
    case KRAIT_KIND_TIME: return copy_time(value, out, err);
    case KRAIT_KIND_ARRAY: return copy_array(value, out, err);
    case KRAIT_KIND_LIST:
    case KRAIT_KIND_MAP: return copy_list(value, depth, out, err);
    case KRAIT_KIND_TABLE: return copy_table(value, out, err);
    case KRAIT_KIND_OBJECT:
    case KRAIT_KIND_ITERATOR:
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "a Python object cannot be copied into C memory");
    default: return krait__fail(err, KRAIT_E_UNSUPPORTED, "value is of unknown kind %d", value->kind);
    }
    out->kind = value->kind;
    return KRAIT_OK;
}

krait_status krait_value_copy(const krait_value *value, krait_value *out, krait_error **err) {
    krait_status status;
    if (value && out == value) return krait__fail(err, KRAIT_E_ARGUMENT, "out is the value itself");
    if (out) krait__set_none(out);
    status = begin(value, "value", out, "out", err);
    if (!status) status = copy_value(value, 0, out, err);
    if (status) krait__at(err, "copy value");
    return status;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

/* A number as it was, none of it lost yet. */
struct number {
    enum { NO_NUMBER, BOOLEAN, SIGNED, UNSIGNED, REAL, COMPLEX } type;
    int64_t  i;
    uint64_t u;
    double   re, im;
};

static double half_to_double(uint16_t half) {
    uint32_t exponent = (half >> 10) & 31u, fraction = half & 1023u, bits;
    float    single;
    if (exponent == 0) return (half >> 15 ? -1.0 : 1.0) * (double)fraction * 0x1p-24;
    bits = (uint32_t)(half >> 15) << 31 | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

static int64_t load_signed(const char *raw, size_t size) {
    int8_t  i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    switch (size) {
    case 1: return memcpy(&i8, raw, 1), i8;
    case 2: return memcpy(&i16, raw, 2), i16;
    case 4: return memcpy(&i32, raw, 4), i32;
    default: return memcpy(&i64, raw, 8), i64;
    }
}

static uint64_t load_unsigned(const char *raw, size_t size) {
    uint64_t mask = size == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * size)) - 1;
    return (uint64_t)load_signed(raw, size) & mask;
}

static double load_real(const char *raw, size_t size) {
    float  f32;
    double f64;
    if (size == 2) return half_to_double((uint16_t)load_unsigned(raw, 2));
    if (size == 4) return memcpy(&f32, raw, 4), (double)f32;
    return memcpy(&f64, raw, 8), f64;
}

static struct number load(krait_dtype dtype, const void *data) {
    struct number n = { NO_NUMBER, 0, 0, 0, 0 };
    char          raw[16];
    size_t        size = dtype.item_size;
    if (dtype.code > KRAIT_C128) return n;
    memcpy(raw, data, size);
    make_native(raw, dtype, 1);
    if (dtype.code == KRAIT_BOOL) {
        n.type = BOOLEAN;
        n.i = raw[0] != 0;
    } else if (dtype.code <= KRAIT_I64) {
        n.type = SIGNED;
        n.i = load_signed(raw, size);
    } else if (dtype.code <= KRAIT_U64) {
        n.type = UNSIGNED;
        n.u = load_unsigned(raw, size);
    } else if (dtype.code <= KRAIT_F64) {
        n.type = REAL;
        n.re = load_real(raw, size);
    } else {
        n.type = COMPLEX;
        n.re = load_real(raw, size / 2);
        n.im = load_real(raw + size / 2, size / 2);
    }
    return n;
}

static struct number number_of(const krait_value *value) {
    switch (value->kind) {
    case KRAIT_KIND_BOOL: return (struct number){ BOOLEAN, value->as.b, 0, 0, 0 };
    case KRAIT_KIND_I64: return (struct number){ SIGNED, value->as.i64, 0, 0, 0 };
    case KRAIT_KIND_U64: return (struct number){ UNSIGNED, 0, value->as.u64, 0, 0 };
    case KRAIT_KIND_F64: return (struct number){ REAL, 0, 0, value->as.f64, 0 };
    case KRAIT_KIND_COMPLEX: return (struct number){ COMPLEX, 0, 0, value->as.complex.re, value->as.complex.im };
    case KRAIT_KIND_ARRAY:
        if (value->as.array.ndim == 0) return load(value->as.array.dtype, value->as.array.data);
        break;
    default: break;
    }
    return (struct number){ NO_NUMBER, 0, 0, 0, 0 };
}

/* The number in a value, of a type up to `widest`; `expected` names what was asked for. */
static krait_status read_number(const krait_value *value, int widest, const char *expected, struct number *n,
                                krait_error **err) {
    if (value->kind == KRAIT_KIND_ARRAY) {
        const char  *lo, *hi;
        int64_t      size;
        krait_status status = krait__array_check(value, &lo, &hi, &size, err);
        if (status) return status;
    }
    *n = number_of(value);
    if (n->type == NO_NUMBER || (int)n->type > widest) return other_kind(value, expected, err);
    if (n->type == BOOLEAN && widest > BOOLEAN) n->type = SIGNED;
    return KRAIT_OK;
}

static krait_status does_not_fit(const struct number *n, const char *type, krait_error **err) {
    if (n->type == SIGNED)
        return krait__fail(err, KRAIT_E_RANGE, "value is %" PRId64 ", which %s cannot hold", n->i, type);
    if (n->type == UNSIGNED)
        return krait__fail(err, KRAIT_E_RANGE, "value is %" PRIu64 ", which %s cannot hold", n->u, type);
    return krait__fail(err, KRAIT_E_RANGE, "value is %.17g, which %s cannot hold", n->re, type);
}

/* Every reader ends by this. */
static krait_status told(krait_status status, krait_error **err) {
    if (status) krait__at(err, "read value");
    return status;
}

krait_status krait_get_bool(const krait_value *value, bool *out, krait_error **err) {
    struct number n;
    krait_status  status;
    if (out) *out = false;
    status = begin(value, "value", out, "out", err);
    if (!status) status = read_number(value, BOOLEAN, "a bool", &n, err);
    if (!status) *out = n.i != 0;
    return told(status, err);
}

/* Whole numbers in [-2^63, 2^63); 2^63 - 1 is no double. The range first: a cast beyond it is undefined. */
static bool fits_i64(const struct number *n, int64_t *out) {
    if (n->type == SIGNED) return *out = n->i, true;
    if (n->type == UNSIGNED) return n->u <= INT64_MAX && (*out = (int64_t)n->u, true);
    if (!(n->re >= -0x1p63 && n->re < 0x1p63) || (double)(int64_t)n->re != n->re) return false;
    return *out = (int64_t)n->re, true;
}

static bool fits_u64(const struct number *n, uint64_t *out) {
    if (n->type == SIGNED) return n->i >= 0 && (*out = (uint64_t)n->i, true);
    if (n->type == UNSIGNED) return *out = n->u, true;
    if (!(n->re >= 0 && n->re < 0x1p64) || (double)(uint64_t)n->re != n->re) return false;
    return *out = (uint64_t)n->re, true;
}

static bool fits_f64(const struct number *n, double *out) {
    const int64_t exact = (int64_t)1 << 53;
    if (n->type == SIGNED) return n->i >= -exact && n->i <= exact && (*out = (double)n->i, true);
    if (n->type == UNSIGNED) return n->u <= (uint64_t)exact && (*out = (double)n->u, true);
    return *out = n->re, true;
}

krait_status krait_get_i64(const krait_value *value, int64_t *out, krait_error **err) {
    struct number n;
    krait_status  status;
    if (out) *out = 0;
    status = begin(value, "value", out, "out", err);
    if (!status) status = read_number(value, REAL, "an integer", &n, err);
    if (!status && !fits_i64(&n, out)) status = does_not_fit(&n, "int64", err);
    return told(status, err);
}

krait_status krait_get_u64(const krait_value *value, uint64_t *out, krait_error **err) {
    struct number n;
    krait_status  status;
    if (out) *out = 0;
    status = begin(value, "value", out, "out", err);
    if (!status) status = read_number(value, REAL, "an integer", &n, err);
    if (!status && !fits_u64(&n, out)) status = does_not_fit(&n, "uint64", err);
    return told(status, err);
}

static __attribute__((noinline)) krait_status read_f64(const krait_value *value, double *out, krait_error **err) {
    struct number n;
    krait_status  status;
    if (out) *out = 0;
    status = begin(value, "value", out, "out", err);
    if (!status) status = read_number(value, REAL, "a number", &n, err);
    if (!status && !fits_f64(&n, out)) status = does_not_fit(&n, "a double (whole numbers up to 2^53)", err);
    return told(status, err);
}

krait_status krait_get_f64(const krait_value *value, double *out, krait_error **err) {
    if (!value || !out || value->kind != KRAIT_KIND_F64 || krait__stuck(err)) return read_f64(value, out, err);
    *out = value->as.f64;
    return KRAIT_OK;
}

krait_status krait_get_complex(const krait_value *value, double *re, double *im, krait_error **err) {
    struct number n;
    krait_status  status;
    if (re) *re = 0;
    if (im) *im = 0;
    status = begin(value, "value", re, "re", err);
    if (!status) status = begin(value, "value", im, "im", err);
    if (!status) status = read_number(value, COMPLEX, "a number", &n, err);
    if (!status && !fits_f64(&n, re)) status = does_not_fit(&n, "a double (whole numbers up to 2^53)", err);
    if (!status) *im = n.im;
    return told(status, err);
}

/* ---- text and bytes ---------------------------------------------------------------------------------------------- */

krait_status krait_get_text(const krait_value *value, const char **text, size_t *size, krait_error **err) {
    const char  *nul;
    krait_status status;
    if (text) *text = NULL;
    if (size) *size = 0;
    status = begin(value, "value", text, "text", err);
    if (status) return told(status, err);
    if (value->kind != KRAIT_KIND_TEXT && value->kind != KRAIT_KIND_DECIMAL)
        return told(other_kind(value, "text", err), err);
    status = check_bytes(value, err);
    if (status) return told(status, err);
    nul = size ? NULL : memchr(value->as.bytes.data, 0, value->as.bytes.size);
    if (nul)
        return told(krait__fail(err, KRAIT_E_RANGE, "text of %zu bytes has a NUL at byte %td: read it with its size",
                                value->as.bytes.size, nul - value->as.bytes.data),
                    err);
    *text = value->as.bytes.data;
    if (size) *size = value->as.bytes.size;
    return KRAIT_OK;
}

krait_status krait_get_bytes(const krait_value *value, const void **data, size_t *size, krait_error **err) {
    krait_status status;
    if (data) *data = NULL;
    if (size) *size = 0;
    status = begin(value, "value", data, "data", err);
    if (!status) status = begin(value, "value", size, "size", err);
    if (status) return told(status, err);
    if (value->kind != KRAIT_KIND_BYTES) return told(other_kind(value, "bytes", err), err);
    status = check_bytes(value, err);
    if (status) return told(status, err);
    *data = value->as.bytes.data;
    *size = value->as.bytes.size;
    return KRAIT_OK;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static krait_status check_asked(int code, int ndim, krait_error **err) {
    if (code != KRAIT_ANY && !is_code(code))
        return krait__fail(err, KRAIT_E_ARGUMENT, "dtype code %d is unknown", code);
    if (ndim > KRAIT_MAX_NDIM)
        return krait__fail(err, KRAIT_E_ARGUMENT, "%d dimensions were asked for, no array has over %d", ndim,
                           KRAIT_MAX_NDIM);
    return KRAIT_OK;
}

static const char *asked_name(int code) {
    return code == KRAIT_STRUCT ? "records" : dtype_rows[code].name;
}

/* "value is int32 with 1 dimension (10), expected float64 with 2"; `who` is "value" or a column. */
static krait_status other_array(const krait_array *array, krait_status status, const char *who, int code, int ndim,
                                krait_error **err) {
    struct line line = { 0, "" };
    add_dtype(&line, array->dtype);
    add(&line, " with %d dimension%s ", (int)array->ndim, plural((uint64_t)array->ndim));
    add_shape(&line, array->ndim, array->shape);
    if (code == KRAIT_ANY) add(&line, ", expected %d dimension%s", ndim, plural((uint64_t)ndim));
    else add(&line, ", expected %s", asked_name(code));
    if (code != KRAIT_ANY && ndim >= 0) add(&line, " with %d", ndim);
    return krait__fail(err, status, "%s is %s", who, line.text);
}

/* "value is text of 5 bytes, expected an array of float64 with 2 dimensions" */
static krait_status no_array(const krait_value *value, const char *who, int code, int ndim, krait_error **err) {
    struct line line = { 0, "" };
    add_value(&line, value);
    add(&line, ", expected an array");
    if (code != KRAIT_ANY) add(&line, " of %s", asked_name(code));
    if (ndim >= 0) add(&line, " with %d dimension%s", ndim, plural((uint64_t)ndim));
    return krait__fail(err, KRAIT_E_KIND, "%s is %s", who, line.text);
}

static krait_status read_array(const krait_value *value, const char *who, int code, int ndim, krait_array *out,
                               krait_error **err) {
    krait_array  array;
    krait_status status;
    if (value->kind == KRAIT_KIND_TABLE && ndim <= 1 && ndim != 0)
        return krait__table_single(value->as.table, code, out, err);
    if (value->kind != KRAIT_KIND_ARRAY) return no_array(value, who, code, ndim, err);
    status = view(value, &array, err);
    if (status) return status;
    if (code != KRAIT_ANY && code != array.dtype.code) return other_array(&array, KRAIT_E_KIND, who, code, ndim, err);
    if (ndim >= 0 && ndim != array.ndim) return other_array(&array, KRAIT_E_SHAPE, who, code, ndim, err);
    *out = array;
    return KRAIT_OK;
}

static __attribute__((noinline)) krait_status get_array(const krait_value *value, int code, int ndim, krait_array *out,
                                                        krait_error **err) {
    krait_status status;
    if (out) memset(out, 0, sizeof *out);
    status = begin(value, "value", out, "out", err);
    if (!status) status = check_asked(code, ndim, err);
    return told(status ? status : read_array(value, "value", code, ndim, out, err), err);
}

/* A result that is what was asked for needs no more than to be copied. */
krait_status krait_get_array(const krait_value *value, int code, int ndim, krait_array *out, krait_error **err) {
    if (!value || !out || krait__stuck(err) || value->kind != KRAIT_KIND_ARRAY ||
        !(value->flags & KRAIT_VALUE_PYTHON_) || code != value->as.array.dtype.code || ndim != value->as.array.ndim)
        return get_array(value, code, ndim, out, err);
    view_result(value, out);
    return KRAIT_OK;
}

static const krait_field *find_field(krait_dtype dtype, const char *name) {
    const krait_field *fields;
    size_t             count = krait_dtype_fields(dtype, &fields);
    for (size_t i = 0; i < count; i++)
        if (fields[i].name && strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

static krait_status no_field(krait_dtype dtype, const char *name, krait_error **err) {
    const krait_field *fields;
    size_t             count = krait_dtype_fields(dtype, &fields);
    struct line        line = { 0, "" };
    krait__text        names = { 0 };
    add_dtype(&line, dtype);
    for (size_t i = 0; i < count && add_name(&names, i, count, fields[i].name); i++) continue;
    return no_such("field", name, line.text, &names, err);
}

/* What of a field a krait_array cannot tell. */
static krait_status check_field(const krait_array *array, const krait_field *field, krait_error **err) {
    int length = krait__shown(field->name);
    if (field->ndim)
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "field '%.*s' is itself an array of %d dimension%s: read it at data + offset", length,
                           field->name, (int)field->ndim, plural((uint64_t)field->ndim));
    if (!is_code(field->dtype.code))
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "field '%.*s' is of a dtype that krait does not read", length,
                           field->name);
    if (!array->strides && array->ndim)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "fields cannot be read from an array made without strides");
    return KRAIT_OK;
}

static krait_status read_field(const krait_array *array, const char *name, int code, krait_array *out,
                               krait_error **err) {
    const krait_field *field = find_field(array->dtype, name);
    krait_array        found = *array;
    char               who[KRAIT__NAME_SHOWN + 16];
    krait_status       status;
    if (!field) return no_field(array->dtype, name, err);
    status = check_field(array, field, err);
    if (status) return status;
    if (found.data) found.data = (char *)array->data + field->offset;
    found.dtype = field->dtype;
    found.flags = (array->flags & KEPT_FLAGS) | layout(&found);
    snprintf(who, sizeof who, "field '%.*s'", krait__shown(name), name);
    if (code != KRAIT_ANY && code != found.dtype.code) return other_array(&found, KRAIT_E_KIND, who, code, -1, err);
    *out = found;
    return KRAIT_OK;
}

krait_status krait_array_field(const krait_array *array, const char *name, int code, krait_array *out,
                               krait_error **err) {
    krait_array  records;
    krait_status status;
    if (array) records = *array; /* `out` may be the same */
    if (out) memset(out, 0, sizeof *out);
    status = begin(array, "array", out, "out", err);
    if (!status) status = begin(name, "name", out, "out", err);
    if (!status) status = check_asked(code, -1, err);
    if (status) return told(status, err);
    if (records.dtype.code != KRAIT_STRUCT)
        return told(other_array(&records, KRAIT_E_KIND, "array", KRAIT_STRUCT, -1, err), err);
    return told(read_field(&records, name, code, out, err), err);
}

/* ---- lists and maps ---------------------------------------------------------------------------------------------- */

size_t krait_list_len(const krait_value *value) {
    return value && value->kind == KRAIT_KIND_LIST ? value->as.list.count : 0;
}

size_t krait_map_len(const krait_value *value) {
    return value && value->kind == KRAIT_KIND_MAP ? value->as.list.count : 0;
}

static krait_status need_items(const krait_value *value, uint8_t kind, krait_error **err) {
    if (value->kind != kind) return other_kind(value, kind == KRAIT_KIND_MAP ? "a map" : "a list", err);
    return check_items(value, err);
}

static krait_status need_index(const krait_value *value, size_t index, krait_error **err) {
    struct line line = { 0, "" };
    size_t      count = value->as.list.count;
    if (index < count) return KRAIT_OK;
    add_value(&line, value);
    if (count) add(&line, " (0 to %zu)", count - 1);
    return krait__fail(err, KRAIT_E_NOT_FOUND, "no item %zu in %s", index, line.text);
}

krait_status krait_list_at(const krait_value *value, size_t index, const krait_value **item, krait_error **err) {
    krait_status status;
    if (item) *item = NULL;
    status = begin(value, "value", item, "item", err);
    if (!status) status = need_items(value, KRAIT_KIND_LIST, err);
    if (!status) status = need_index(value, index, err);
    if (!status) *item = &value->as.list.items[index];
    return told(status, err);
}

krait_status krait_map_at(const krait_value *value, size_t index, const char **key, const krait_value **item,
                          krait_error **err) {
    krait_status status;
    if (key) *key = NULL;
    if (item) *item = NULL;
    status = begin(value, "value", key, "key", err);
    if (!status) status = begin(value, "value", item, "item", err);
    if (!status) status = need_items(value, KRAIT_KIND_MAP, err);
    if (!status) status = need_index(value, index, err);
    if (!status) status = check_key(value, index, err);
    if (status) return told(status, err);
    *key = value->as.list.keys[index];
    *item = &value->as.list.items[index];
    return KRAIT_OK;
}

static krait_status find_item(const krait_value *value, const char *key, const krait_value **item, krait_error **err) {
    size_t      count = value->as.list.count;
    struct line line = { 0, "" };
    krait__text names = { 0 };
    for (size_t i = 0; i < count; i++) {
        if (strcmp(value->as.list.keys[i], key) != 0) continue;
        *item = &value->as.list.items[i];
        return KRAIT_OK;
    }
    add_value(&line, value);
    for (size_t i = 0; i < count && add_name(&names, i, count, value->as.list.keys[i]); i++) continue;
    return no_such("item", key, line.text, &names, err);
}

krait_status krait_map_get(const krait_value *value, const char *key, const krait_value **item, krait_error **err) {
    krait_status status;
    if (item) *item = NULL;
    status = begin(value, "value", item, "item", err);
    if (!status) status = begin(key, "key", item, "item", err);
    if (!status) status = need_items(value, KRAIT_KIND_MAP, err);
    if (!status) status = check_map(value, err);
    return told(status ? status : find_item(value, key, item, err), err);
}

static krait_status map_column(const krait_value *value, const char *name, int code, krait_array *out,
                               krait_error **err) {
    const krait_value *item = NULL;
    char               who[KRAIT__NAME_SHOWN + 16];
    krait_status       status = check_map(value, err);
    if (!status) status = find_item(value, name, &item, err);
    if (status) return status;
    snprintf(who, sizeof who, "column '%.*s'", krait__shown(name), name);
    return read_array(item, who, code, 1, out, err);
}

krait_status krait_get_column(const krait_value *value, const char *name, int code, krait_array *out,
                              krait_error **err) {
    krait_array  records;
    krait_status status;
    if (out) memset(out, 0, sizeof *out);
    status = begin(value, "value", out, "out", err);
    if (!status) status = begin(name, "name", out, "out", err);
    if (!status) status = check_asked(code, 1, err);
    if (status) return told(status, err);
    if (value->kind == KRAIT_KIND_MAP) return told(map_column(value, name, code, out, err), err);
    if (value->kind == KRAIT_KIND_TABLE) return told(krait__table_named(value->as.table, name, code, out, err), err);
    if (value->kind != KRAIT_KIND_ARRAY || value->as.array.dtype.code != KRAIT_STRUCT)
        return told(other_kind(value, "a table, a map of arrays or an array of records", err), err);
    status = read_array(value, "value", KRAIT_STRUCT, 1, &records, err);
    return told(status ? status : read_field(&records, name, code, out, err), err);
}
