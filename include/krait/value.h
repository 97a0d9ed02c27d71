/* Values: what goes into a Python call and what comes out.
 *
 * Makers (krait_f64, krait_vector_f64, ...) describe the caller's memory and copy nothing; that memory must live as
 * long as the value is used. Values that krait fills own what they point to, until krait_value_clear. A value moves
 * by assignment: the copy is the value then, the original must not be cleared as well. */
#ifndef KRAIT_VALUE_H
#define KRAIT_VALUE_H

#include <stdbool.h>
#include <string.h>

#include <krait/status.h>

KRAIT_BEGIN

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

/* Element types with a C type of their own, written once: X(NAME, name, code, C type, bytes, numpy's name). float16
 * is passed as its bits; complex numbers are two floats, real part first (C's `float _Complex`, C++'s std::complex). */
#define KRAIT_DTYPE_MAP(X)                      \
    X(BOOL, bool, 1, bool, 1, "bool")           \
    X(I8, i8, 2, int8_t, 1, "int8")             \
    X(I16, i16, 3, int16_t, 2, "int16")         \
    X(I32, i32, 4, int32_t, 4, "int32")         \
    X(I64, i64, 5, int64_t, 8, "int64")         \
    X(U8, u8, 6, uint8_t, 1, "uint8")           \
    X(U16, u16, 7, uint16_t, 2, "uint16")       \
    X(U32, u32, 8, uint32_t, 4, "uint32")       \
    X(U64, u64, 9, uint64_t, 8, "uint64")       \
    X(F16, f16, 10, uint16_t, 2, "float16")     \
    X(F32, f32, 11, float, 4, "float32")        \
    X(F64, f64, 12, double, 8, "float64")       \
    X(C64, c64, 13, void, 8, "complex64")       \
    X(C128, c128, 14, void, 16, "complex128")

enum {
    KRAIT_ANY = 0, /* to readers: any dtype */
#define KRAIT_DTYPE_ENUM(NAME, name, code, type, bytes, text) KRAIT_##NAME = code,
    KRAIT_DTYPE_MAP(KRAIT_DTYPE_ENUM)
#undef KRAIT_DTYPE_ENUM
    KRAIT_DATETIME = 15,    /* int64 ticks of a unit since 1970-01-01; INT64_MIN is NaT */
    KRAIT_TIMEDELTA = 16,   /* int64 ticks of a unit; INT64_MIN is NaT */
    KRAIT_STRUCT = 17,      /* records: see krait_dtype_fields */
    KRAIT_FIXED_BYTES = 18, /* item_size bytes each, padded with NULs at the end; numpy's S */
    KRAIT_FIXED_TEXT = 19   /* item_size / 4 code points of 32 bits each, padded with NULs at the end; numpy's U */
};

/* Units of datetime64 and timedelta64. */
enum {
    KRAIT_GENERIC = 0, /* no unit: only NaT and timedelta have it */
    KRAIT_YEAR = 1,
    KRAIT_MONTH = 2,
    KRAIT_WEEK = 3,
    KRAIT_DAY = 4,
    KRAIT_HOUR = 5,
    KRAIT_MINUTE = 6,
    KRAIT_S = 7,
    KRAIT_MS = 8,
    KRAIT_US = 9,
    KRAIT_NS = 10,
    KRAIT_PS = 11,
    KRAIT_FS = 12,
    KRAIT_AS = 13
};

/* Fields of a record: of krait_struct_new, or belonging to the value it was read from. */
typedef struct krait_struct krait_struct;

/* An element type, 16 bytes, passed by value. */
typedef struct krait_dtype {
    uint8_t  code;      /* KRAIT_F64, ... */
    uint8_t  swapped;   /* 1: the other byte order than this machine's */
    uint8_t  unit;      /* KRAIT_NS, ... for times, else 0 */
    uint8_t  reserved;  /* 0 */
    uint32_t item_size; /* bytes of one element */
    union {
        int64_t                    count;  /* times: the unit's multiple, 25 of `25s`; else 0 */
        const struct krait_struct *fields; /* KRAIT_STRUCT */
    } of;
} krait_dtype;

static inline krait_dtype krait_dtype_make_(uint8_t code, uint8_t unit, uint32_t item_size, int64_t count) {
    krait_dtype dtype;
    dtype.code = code;
    dtype.swapped = 0;
    dtype.unit = unit;
    dtype.reserved = 0;
    dtype.item_size = item_size;
    dtype.of.count = count;
    return dtype;
}

/* krait_f64_type(), krait_i32_type(), ...: the dtypes of the list above. */
#define KRAIT_DTYPE_MAKER(NAME, name, code, type, bytes, text)      \
    static inline krait_dtype krait_##name##_type(void) {           \
        return krait_dtype_make_((uint8_t)(code), 0, (bytes), 0);   \
    }
KRAIT_DTYPE_MAP(KRAIT_DTYPE_MAKER)
#undef KRAIT_DTYPE_MAKER

/* datetime64 and timedelta64 of `count` units: krait_datetime(KRAIT_NS, 1) is datetime64[ns]. */
static inline krait_dtype krait_datetime(uint8_t unit, int32_t count) {
    return krait_dtype_make_(KRAIT_DATETIME, unit, 8, count);
}
static inline krait_dtype krait_timedelta(uint8_t unit, int32_t count) {
    return krait_dtype_make_(KRAIT_TIMEDELTA, unit, 8, count);
}

/* Arrays of `char[n]` members, and of n code points: numpy's S and U. */
static inline krait_dtype krait_fixed_bytes(uint32_t n) {
    return krait_dtype_make_(KRAIT_FIXED_BYTES, 0, n, 0);
}
static inline krait_dtype krait_fixed_text(uint32_t n) {
    return krait_dtype_make_(KRAIT_FIXED_TEXT, 0, n * 4, 0);
}

/* One field of a record. */
typedef struct krait_field {
    const char    *name;
    int64_t        offset; /* bytes from the start of the record */
    krait_dtype    dtype;
    const int64_t *shape;  /* of a field that is itself an array, else NULL */
    int32_t        ndim;   /* of a field that is itself an array, else 0 */
    int32_t        reserved;
} krait_field;

/* Fields of a KRAIT_STRUCT dtype: returns their number and fills *fields; 0 and NULL for any other dtype.
 * Ownership: borrowed from the value the dtype was read from.  Threads: any.  GIL: not needed.  Errors: none.  Since:
 * 0.1 */
KRAIT_API size_t krait_dtype_fields(krait_dtype dtype, const krait_field **fields);

/* One member of a C struct, as krait_struct_new takes it; made by KRAIT_FIELD and its kin. */
typedef struct krait_member {
    const char *name;
    size_t      offset, size; /* bytes from the start of the struct; bytes in all */
    krait_dtype dtype;        /* of one element: a member of several is an array */
    int32_t     ndim;         /* 0: one dimension where size says so; set it and shape for more */
    int32_t     reserved;
    int64_t     shape[4];
} krait_member;

static inline krait_member krait_member_(const char *name, size_t offset, size_t size, krait_dtype dtype) {
    krait_member member;
    member.name = name;
    member.offset = offset;
    member.size = size;
    member.dtype = dtype;
    member.ndim = 0;
    member.reserved = 0;
    member.shape[0] = member.shape[1] = member.shape[2] = member.shape[3] = 0;
    return member;
}

/* A member by its element type, KRAIT_FIELD(struct tick, price, krait_f64_type); by any dtype,
 * KRAIT_FIELD_OF(struct tick, time, krait_datetime(KRAIT_NS, 1)), a nested struct by krait_struct_type(inner); or
 * `char name[n]` padded with NULs. Arrays of elements become fields with a shape. */
#define KRAIT_FIELD_OF(type, member, dtype) \
    krait_member_(#member, offsetof(type, member), sizeof(((type *)0)->member), (dtype))
#define KRAIT_FIELD(type, member, maker) KRAIT_FIELD_OF(type, member, maker())
#define KRAIT_FIELD_CHARS(type, member) \
    KRAIT_FIELD_OF(type, member, krait_fixed_bytes((uint32_t)sizeof(((type *)0)->member)))

/* Describes a C struct of `size` bytes (sizeof) by n of its members; what no member covers is padding. Names and
 * nested descriptions are copied.
 * Ownership: the caller's; krait_struct_free. It must outlive every value and array that uses it.  Threads: any.
 * GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (no member; no name or one that stands twice; a member that overlaps another, lies beyond
 *         `size`, or whose size is no multiple of its element's), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_struct *krait_struct_new(const krait_member *members, size_t n, size_t size, krait_error **err);
KRAIT_API void krait_struct_free(krait_struct *description);

/* The dtype of one such struct. NULL gives a dtype that every use refuses.
 * Ownership: borrows the description.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API krait_dtype krait_struct_type(const krait_struct *description);

/* numpy's name of a dtype: "float64", "datetime64[25s]", ">i4", "struct of 6 fields". Writes at most `size` bytes,
 * NUL included, like snprintf; returns the length needed without the NUL.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_dtype_name(krait_dtype dtype, char *buffer, size_t size);

/* ---- the value --------------------------------------------------------------------------------------------------- */

/* Kinds of value. */
enum {
    KRAIT_KIND_NONE = 0,
    KRAIT_KIND_BOOL = 1,
    KRAIT_KIND_I64 = 2,
    KRAIT_KIND_U64 = 3, /* only for numbers above INT64_MAX, in results */
    KRAIT_KIND_F64 = 4,
    KRAIT_KIND_COMPLEX = 5,
    KRAIT_KIND_TEXT = 6,
    KRAIT_KIND_BYTES = 7,
    KRAIT_KIND_ARRAY = 8,
    KRAIT_KIND_LIST = 9, /* list or tuple */
    KRAIT_KIND_MAP = 10, /* dict with text keys */
    KRAIT_KIND_TIME = 11,     /* an instant, a date or a duration: krait_get_time */
    KRAIT_KIND_DECIMAL = 12,  /* text of digits: krait_get_text; decimal.Decimal */
    KRAIT_KIND_TABLE = 13,    /* krait_get_table, krait/table.h */
    KRAIT_KIND_OBJECT = 14,   /* any other Python object: krait/object.h */
    KRAIT_KIND_ITERATOR = 15  /* a generator or another iterator: krait_next */
};

enum { KRAIT_MAX_NDIM = 32 }; /* numpy's own limit up to 1.26 */

/* Flags of an array. */
enum {
    KRAIT_ARRAY_WRITABLE = 1,     /* numpy regards the memory as writable */
    KRAIT_ARRAY_C_CONTIGUOUS = 2, /* row by row, no gaps */
    KRAIT_ARRAY_F_CONTIGUOUS = 4, /* column by column, no gaps */
    KRAIT_ARRAY_ALIGNED = 8,      /* every element at a multiple of its alignment */
    KRAIT_ARRAY_COPIED = 16,      /* krait copied the data out of what Python returned */
    KRAIT_ARRAY_ALIAS = 32        /* views an argument given with KRAIT_ALIAS: clear before that memory goes */
};

typedef struct krait_value {
    uint8_t  kind;  /* KRAIT_KIND_... */
    uint8_t  flags; /* private */
    uint16_t reserved0;
    uint32_t reserved1;
    void (*release)(void *owner); /* NULL: borrowed */
    void *owner;
    union {
        bool     b;
        int64_t  i64;
        uint64_t u64;
        double   f64;
        struct {
            double re, im;
        } complex;
        struct {
            const char *data; /* text of a result ends with a NUL that `size` does not count */
            size_t      size; /* bytes */
        } bytes;
        struct {
            void          *data;
            krait_dtype    dtype;
            int32_t        ndim;
            uint32_t       flags;
            const int64_t *shape;   /* NULL: dims[0..2] */
            const int64_t *strides; /* in bytes; NULL: dims[3..5], or C order when shape is set */
            int64_t        dims[6];
        } array;
        struct {
            struct krait_value *items;
            const char *const  *keys; /* maps: UTF-8, NUL-terminated; lists: NULL */
            size_t              count;
        } list;
        struct {
            int64_t     ticks; /* INT64_MIN is NaT */
            krait_dtype dtype; /* KRAIT_DATETIME or KRAIT_TIMEDELTA with unit and count */
            const char *zone;  /* name of the time zone of an instant that has one, else NULL */
        } time;
        const struct krait_table *table;
        uint64_t reserved[13];
    } as;
} krait_value;

/* Private flags of krait_value.flags. */
enum { KRAIT_VALUE_PYTHON_ = 1, KRAIT_VALUE_OWNED_ = 2 };

/* Releases what the value owns and makes it none. NULL, none and borrowed values are fine; clearing twice does
 * nothing. Never waits for Python: its objects are handed to krait's own thread.
 * Threads: any, the value's own.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API void krait_value_clear(krait_value *value);

/* A copy in C memory of its own, deep, C-contiguous and native-endian, that outlives the original and Python.
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_NOMEM, KRAIT_E_UNSUPPORTED (over 64 deep; objects and iterators), KRAIT_E_ARGUMENT and KRAIT_E_SHAPE
 *         (made badly).  Since: 0.1 */
KRAIT_API krait_status krait_value_copy(const krait_value *value, krait_value *out, krait_error **err);

/* "float64 array (10, 3)", "text of 5 bytes", ...: what the value is, for messages. Writes at most `size` bytes like
 * snprintf.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_value_describe(const krait_value *value, char *buffer, size_t size);

/* ---- makers: inline, borrow the memory they are given ------------------------------------------------------------ */

/* gcc 12 (its -fipa-modref) forgets that memory which only a value points to can be read by the callee, and drops the
 * caller's stores into it. This says once that the pointer has been seen. */
#if defined(__GNUC__) && !defined(__clang__)
#define KRAIT_SEEN_(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")
#else
#define KRAIT_SEEN_(pointer) ((void)(pointer))
#endif

static inline krait_value krait_make_(uint8_t kind) {
    krait_value value;
    value.kind = kind;
    value.flags = 0;
    value.reserved0 = 0;
    value.reserved1 = 0;
    value.release = NULL;
    value.owner = NULL;
    return value;
}

static inline krait_value krait_none(void) {
    return krait_make_(KRAIT_KIND_NONE);
}
static inline krait_value krait_bool(bool x) {
    krait_value value = krait_make_(KRAIT_KIND_BOOL);
    value.as.b = x;
    return value;
}
static inline krait_value krait_i64(int64_t x) {
    krait_value value = krait_make_(KRAIT_KIND_I64);
    value.as.i64 = x;
    return value;
}
static inline krait_value krait_u64(uint64_t x) {
    krait_value value = krait_make_(KRAIT_KIND_U64);
    value.as.u64 = x;
    return value;
}
static inline krait_value krait_f64(double x) {
    krait_value value = krait_make_(KRAIT_KIND_F64);
    value.as.f64 = x;
    return value;
}
static inline krait_value krait_complex(double re, double im) {
    krait_value value = krait_make_(KRAIT_KIND_COMPLEX);
    value.as.complex.re = re;
    value.as.complex.im = im;
    return value;
}
/* UTF-8 of `size` bytes, NULs allowed; becomes a str. */
static inline krait_value krait_text(const char *data, size_t size) {
    krait_value value = krait_make_(KRAIT_KIND_TEXT);
    KRAIT_SEEN_(data);
    value.as.bytes.data = data;
    value.as.bytes.size = size;
    return value;
}
/* A C string in UTF-8; NULL is refused by the call. */
static inline krait_value krait_str(const char *text) {
    return krait_text(text, text ? strlen(text) : 0);
}
/* `size` bytes; becomes bytes (a copy). */
static inline krait_value krait_bytes(const void *data, size_t size) {
    krait_value value = krait_text((const char *)data, size);
    value.kind = KRAIT_KIND_BYTES;
    return value;
}

/* Digits as decimal.Decimal reads them, "12.50". */
static inline krait_value krait_decimal(const char *digits) {
    krait_value value = krait_str(digits);
    value.kind = KRAIT_KIND_DECIMAL;
    return value;
}
/* `ticks` of a time dtype: krait_time(krait_datetime(KRAIT_MS, 1), t) is numpy.datetime64, krait_time(krait_timedelta(
 * KRAIT_S, 1), 90) numpy.timedelta64. */
static inline krait_value krait_time(krait_dtype dtype, int64_t ticks) {
    krait_value value = krait_make_(KRAIT_KIND_TIME);
    value.as.time.ticks = ticks;
    value.as.time.dtype = dtype;
    value.as.time.zone = NULL;
    return value;
}
/* An instant, in ticks of UTC, to be shown in a time zone ("Europe/Berlin", "UTC"): pandas.Timestamp. */
static inline krait_value krait_time_in(krait_dtype dtype, int64_t ticks, const char *zone) {
    krait_value value = krait_time(dtype, ticks);
    KRAIT_SEEN_(zone);
    value.as.time.zone = zone;
    return value;
}

/* n values one after the other: a list; with n UTF-8 keys: a dict. Items may be lists and maps too, up to 64 deep.
 * Arrays and tables within are copied; krait_owned is for arguments, and refused within. */
static inline krait_value krait_list(const krait_value *items, size_t n) {
    krait_value value = krait_make_(KRAIT_KIND_LIST);
    KRAIT_SEEN_(items);
    value.as.list.items = (krait_value *)(uintptr_t)items;
    value.as.list.keys = NULL;
    value.as.list.count = n;
    return value;
}
static inline krait_value krait_map(const char *const *keys, const krait_value *items, size_t n) {
    krait_value value = krait_list(items, n);
    KRAIT_SEEN_(keys);
    value.kind = KRAIT_KIND_MAP;
    value.as.list.keys = keys;
    return value;
}

static inline krait_value krait_array_make_(const void *data, krait_dtype dtype, int32_t ndim) {
    krait_value value = krait_make_(KRAIT_KIND_ARRAY);
    KRAIT_SEEN_(data);
    value.as.array.data = (void *)(uintptr_t)data;
    value.as.array.dtype = dtype;
    value.as.array.ndim = ndim;
    value.as.array.flags = KRAIT_ARRAY_C_CONTIGUOUS;
    value.as.array.shape = NULL;
    value.as.array.strides = NULL;
    return value;
}

/* `n` elements one after the other: an array of shape (n,). */
static inline krait_value krait_vector(const void *data, krait_dtype dtype, size_t n) {
    krait_value value = krait_array_make_(data, dtype, 1);
    value.as.array.dims[0] = (int64_t)n;
    value.as.array.dims[3] = (int64_t)dtype.item_size;
    return value;
}
/* Row by row: an array of shape (rows, cols). */
static inline krait_value krait_matrix(const void *data, krait_dtype dtype, size_t rows, size_t cols) {
    krait_value value = krait_array_make_(data, dtype, 2);
    value.as.array.dims[0] = (int64_t)rows;
    value.as.array.dims[1] = (int64_t)cols;
    value.as.array.dims[3] = (int64_t)(cols * dtype.item_size);
    value.as.array.dims[4] = (int64_t)dtype.item_size;
    return value;
}
/* Any array of 0 to KRAIT_MAX_NDIM dimensions. strides are in bytes, may be negative or 0; NULL is C order. Up to
 * three dimensions shape and strides are copied; beyond, they are borrowed like the data. What does not fit together
 * is refused by the call. */
static inline krait_value krait_ndarray(const void *data, krait_dtype dtype, int32_t ndim, const int64_t *shape,
                                        const int64_t *strides) {
    krait_value value = krait_array_make_(data, dtype, ndim);
    if (strides) value.as.array.flags = 0;
    if (ndim >= 0 && ndim <= 3 && (shape || ndim == 0)) {
        int64_t step = (int64_t)dtype.item_size;
        for (int32_t i = ndim - 1; i >= 0; i--) {
            value.as.array.dims[i] = shape[i];
            value.as.array.dims[3 + i] = strides ? strides[i] : step;
            step = (int64_t)((uint64_t)step * (uint64_t)shape[i]);
        }
    } else {
        KRAIT_SEEN_(shape);
        KRAIT_SEEN_(strides);
        value.as.array.shape = shape;
        value.as.array.strides = strides;
        value.as.array.dims[0] = INT64_MIN; /* no shape was given: refused by name when the value is used */
    }
    return value;
}

/* `n` C structs one after the other, described by krait_struct_new: a structured array over the same memory. */
static inline krait_value krait_structs(const void *data, size_t n, const krait_struct *description) {
    return krait_vector(data, krait_struct_type(description), n);
}

/* krait_vector_f64(ptr, n), krait_matrix_f64(ptr, rows, cols), ...: one of each for every dtype of the list. */
#define KRAIT_ARRAY_MAKER(NAME, name, code, type, bytes, text)                                             \
    static inline krait_value krait_vector_##name(const type *data, size_t n) {                            \
        return krait_vector(data, krait_##name##_type(), n);                                               \
    }                                                                                                      \
    static inline krait_value krait_matrix_##name(const type *data, size_t rows, size_t cols) {            \
        return krait_matrix(data, krait_##name##_type(), rows, cols);                                      \
    }
KRAIT_DTYPE_MAP(KRAIT_ARRAY_MAKER)
#undef KRAIT_ARRAY_MAKER

/* Hands the value's memory over to the call it is given to: release(user) is called exactly once, on any thread, when
 * Python no longer needs it, also when the call fails or is refused. */
static inline krait_value krait_owned(krait_value value, void (*release)(void *user), void *user) {
    value.release = release;
    value.owner = user;
    value.flags = KRAIT_VALUE_OWNED_;
    return value;
}

/* A result passed on as an argument: the same Python object, no copy. The original stays its owner and must outlive
 * the call. */
static inline krait_value krait_borrow(const krait_value *value) {
    krait_value borrowed = *value;
    borrowed.release = NULL;
    borrowed.flags = (uint8_t)(value->flags & KRAIT_VALUE_PYTHON_);
    return borrowed;
}

/* ---- readers: check and explain ---------------------------------------------------------------------------------- */

/* Numbers. Each takes every kind that holds the number exactly (a 0-d array of one too): krait_get_f64 bool, float,
 * and integers up to 2^53 in magnitude; krait_get_i64 and krait_get_u64 bool, integers in range, and whole floats in
 * range; krait_get_bool bool only; krait_get_complex what krait_get_f64 takes, and complex. *out is 0 on failure.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND (another kind), KRAIT_E_RANGE (does not fit).  Since: 0.1 */
KRAIT_API krait_status krait_get_bool(const krait_value *value, bool *out, krait_error **err);
KRAIT_API krait_status krait_get_i64(const krait_value *value, int64_t *out, krait_error **err);
KRAIT_API krait_status krait_get_u64(const krait_value *value, uint64_t *out, krait_error **err);
KRAIT_API krait_status krait_get_f64(const krait_value *value, double *out, krait_error **err);
KRAIT_API krait_status krait_get_complex(const krait_value *value, double *re, double *im, krait_error **err);

/* A time: an instant (datetime, Timestamp, datetime64; in UTC where it has a zone), a date (unit KRAIT_DAY) or a
 * duration (timedelta, Timedelta, timedelta64), in the unit it has; NaT is INT64_MIN. */
typedef struct krait_time_parts {
    int64_t     ticks;
    krait_dtype dtype; /* KRAIT_DATETIME or KRAIT_TIMEDELTA */
    const char *zone;  /* "Europe/Berlin", "UTC", "UTC+02:00"; NULL: none */
    uint64_t    reserved[2];
} krait_time_parts;

/* Ownership: zone is borrowed from the value.  Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND.  Since: 0.1 */
KRAIT_API krait_status krait_get_time(const krait_value *value, krait_time_parts *out, krait_error **err);

/* The same in ticks of `unit` (KRAIT_NS, ...): exact, or KRAIT_E_RANGE. `code` is KRAIT_DATETIME, KRAIT_TIMEDELTA or
 * KRAIT_ANY. Years and months only convert between themselves, and instants of them to any unit.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND, KRAIT_E_RANGE.  Since: 0.1 */
KRAIT_API krait_status krait_get_ticks(const krait_value *value, int code, int unit, int64_t *out, krait_error **err);

/* Text: UTF-8 of *size bytes, with a NUL after it in results. `size` may be NULL when the text has no NUL inside.
 * Ownership: borrowed from the value.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND, KRAIT_E_RANGE (a NUL inside, and no `size`).  Since: 0.1 */
KRAIT_API krait_status krait_get_text(const krait_value *value, const char **text, size_t *size, krait_error **err);

/* Bytes.  Ownership: borrowed from the value.  Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND.  Since: 0.1 */
KRAIT_API krait_status krait_get_bytes(const krait_value *value, const void **data, size_t *size, krait_error **err);

/* An array as it lies in memory. */
typedef struct krait_array {
    void          *data;
    krait_dtype    dtype;
    int32_t        ndim;
    uint32_t       flags;   /* KRAIT_ARRAY_... */
    const int64_t *shape;   /* ndim lengths */
    const int64_t *strides; /* ndim steps in bytes; NULL only for a value that krait_ndarray made without strides, with
                               over three dimensions */
    int64_t        size;    /* elements in all */
    int64_t        reserved;
} krait_array;

/* The value as an array of dtype `code` (KRAIT_ANY: any) with `ndim` dimensions (negative: any); a table of exactly one
 * column of numbers or times without validity is one too (a Series). A result is C-contiguous, aligned and
 * native-endian unless the call said KRAIT_KEEP_STRIDES; a column is aligned and native, but may be strided.
 * Ownership: data, shape and strides are borrowed from the value at its present address: do not move it meanwhile.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND, KRAIT_E_SHAPE.  Since: 0.1 */
KRAIT_API krait_status krait_get_array(const krait_value *value, int code, int ndim, krait_array *out,
                                       krait_error **err);

/* The array named `name` of a map of arrays, that column of a table, or that field of an array of records; 1-D, of
 * tables and records perhaps strided. Same rules.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_NOT_FOUND (names what there is), KRAIT_E_AMBIGUOUS (a name that stands twice), KRAIT_E_KIND (text,
 *         missing values: krait_table_find), KRAIT_E_SHAPE.
 * Since: 0.1 */
KRAIT_API krait_status krait_get_column(const krait_value *value, const char *name, int code, krait_array *out,
                                        krait_error **err);

/* Field `name` of an array of records, of any number of dimensions: same shape and strides, no copy. A field that is
 * an array itself is KRAIT_E_UNSUPPORTED: read it at data + offset with the shape that krait_dtype_fields tells.
 * Ownership: borrowed from the value that `array` was read from.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_NOT_FOUND, KRAIT_E_KIND, KRAIT_E_UNSUPPORTED.  Since: 0.1 */
KRAIT_API krait_status krait_array_field(const krait_array *array, const char *name, int code, krait_array *out,
                                         krait_error **err);

/* Element `index`, in C order, of an array of fixed text or bytes: its text in UTF-8 (bytes as they are) without the
 * padding. Writes at most `size` bytes, NUL included, like snprintf; *length (may be NULL) is what was needed without
 * the NUL.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (another dtype), KRAIT_E_NOT_FOUND (no such element), KRAIT_E_ENCODING (no code point).
 * Since: 0.1 */
KRAIT_API krait_status krait_array_text(const krait_array *array, int64_t index, char *buffer, size_t size,
                                        size_t *length, krait_error **err);

/* Lists and maps: number of items (0 for any other kind).
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_list_len(const krait_value *value);
KRAIT_API size_t krait_map_len(const krait_value *value);

/* One item, NULL on failure.
 * Ownership: borrowed from the list or map.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (no list or map), KRAIT_E_NOT_FOUND (names what there is).  Since: 0.1 */
KRAIT_API krait_status krait_list_at(const krait_value *value, size_t index, const krait_value **item,
                                     krait_error **err);
KRAIT_API krait_status krait_map_get(const krait_value *value, const char *key, const krait_value **item,
                                     krait_error **err);
KRAIT_API krait_status krait_map_at(const krait_value *value, size_t index, const char **key, const krait_value **item,
                                    krait_error **err);

KRAIT_END
#endif
