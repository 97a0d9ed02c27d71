/* value: what every reader takes, refuses and says; copies against a naive reference on random arrays; every
 * allocation failed in turn. Build with -DKRAIT_FAULTS. KRAIT_TEST_SEED repeats a run of the random tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "mem.h"
#include "table.h"
#include "value.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static krait_error *err;

/* Fails the test unless err has that status and exactly that message; clears it. */
#define SAYS(call, expected, message)                                                                                  \
    do {                                                                                                               \
        krait_status got_ = (call);                                                                                    \
        if (got_ != (expected) || krait_error_status(err) != got_)                                                     \
            fail_msg("%s: %s: %s", #call, krait_status_name(got_), krait_error_message(err));                          \
        assert_string_equal(krait_error_message(err), message);                                                        \
        krait_error_clear(&err);                                                                                       \
    } while (0)

#define GOOD(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != KRAIT_OK) fail_msg("%s: %s", #call, krait_error_message(err));                                   \
        assert_null(err);                                                                                              \
    } while (0)

static bool big_endian(void) {
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
}

/* ---- making values ----------------------------------------------------------------------------------------------- */

static krait_dtype swapped(krait_dtype dtype) {
    dtype.swapped = 1;
    return dtype;
}

static krait_dtype struct_type(const struct krait_struct *fields, uint32_t item_size) {
    krait_dtype dtype = krait_dtype_make_(KRAIT_STRUCT, 0, item_size, 0);
    dtype.of.fields = fields;
    return dtype;
}

static void set_field(struct krait_struct *record, size_t i, const char *name, int64_t offset, krait_dtype dtype) {
    record->fields[i].name = krait__strdup(name);
    record->fields[i].offset = offset;
    record->fields[i].dtype = dtype;
    assert_non_null(record->fields[i].name);
}

/* A record of 40 bytes: when (8), close (8, swapped), flag (1, so that x is misaligned), x (4), pair (2 x 4),
 * at {n (2)}, raw (krait does not read it). */
static struct krait_struct *bar_type(void) {
    struct krait_struct *bar = krait__struct_new(7), *nested = krait__struct_new(1);
    int64_t             *two = krait__alloc(sizeof *two);
    assert_true(bar && nested && two);
    set_field(nested, 0, "n", 0, krait_i16_type());
    set_field(bar, 0, "when", 0, krait_datetime(KRAIT_S, 25));
    set_field(bar, 1, "close", 8, swapped(krait_f64_type()));
    set_field(bar, 2, "flag", 16, krait_bool_type());
    set_field(bar, 3, "x", 17, krait_i32_type());
    set_field(bar, 4, "pair", 24, krait_f32_type());
    *two = 2;
    bar->fields[4].shape = two;
    bar->fields[4].ndim = 1;
    set_field(bar, 5, "at", 32, struct_type(nested, 2));
    set_field(bar, 6, "raw", 34, krait_dtype_make_(0, 0, 6, 0));
    return bar;
}

/* A map or list of n nones in krait's own memory. */
static krait_value tree_value(size_t n, const char *const *keys) {
    size_t       bytes = 0;
    krait_value  value = krait_make_(keys ? KRAIT_KIND_MAP : KRAIT_KIND_LIST);
    krait__tree *tree;
    char        *text;
    for (size_t i = 0; keys && i < n; i++) bytes += strlen(keys[i]) + 1;
    tree = krait__tree_new(n, keys != NULL, bytes);
    assert_non_null(tree);
    text = tree->text;
    for (size_t i = 0; keys && i < n; i++) {
        tree->keys[i] = strcpy(text, keys[i]);
        text += strlen(keys[i]) + 1;
    }
    value.release = krait__tree_release;
    value.owner = tree;
    value.as.list.items = tree->items;
    value.as.list.keys = tree->keys;
    value.as.list.count = n;
    return value;
}

static const double prices[] = { 1.5, 2.5, 3.5, 4.5, 5.5, 6.5 };

static krait_value with_shape(int32_t ndim, const int64_t *shape, const int64_t *strides) {
    return krait_ndarray(prices, krait_f64_type(), ndim, shape, strides);
}

/* {"open": float64 (6,), "volume": int32 (2, 3), "name": text, "when": list of 2} */
static krait_value price_map(void) {
    static const int32_t     volume[] = { 1, 2, 3, 4, 5, 6 };
    static const char *const keys[] = { "open", "volume", "name", "when" };
    krait_value              map = tree_value(4, keys);
    map.as.list.items[0] = krait_vector_f64(prices, 6);
    map.as.list.items[1] = krait_matrix_i32(volume, 2, 3);
    map.as.list.items[2] = krait_str("goog");
    map.as.list.items[3] = tree_value(2, NULL);
    map.as.list.items[3].as.list.items[0] = krait_i64(7);
    return map;
}

/* Columns "open" (float64, strided), "volume" (int32, the second row missing), "name" (text), "open" again. */
static krait_value price_table(void) {
    static const int32_t volume[] = { 1, 2, 3 };
    static const bool    has[] = { true, false, true };
    const char *const    names[] = { "goog", NULL, "msft" };
    const int64_t        three = 3, every_other = 16;
    krait_table         *table = krait_table_new(&err);
    krait_value          valid = krait_vector_bool(has, 3);
    krait_table_add(table, "open", krait_ndarray(prices, krait_f64_type(), 1, &three, &every_other), NULL, &err);
    krait_table_add(table, "volume", krait_vector_i32(volume, 3), &valid, &err);
    krait_table_add_strings(table, "name", names, 3, &err);
    krait_table_add(table, "open", krait_vector_f64(prices, 3), NULL, &err);
    if (err) fail_msg("%s", krait_error_message(err));
    valid = krait_table_value(table); /* freed with the value, as those of results are */
    valid.release = krait__table_release;
    valid.owner = table;
    return valid;
}

/* ---- names and descriptions -------------------------------------------------------------------------------------- */

static void is_named(krait_dtype dtype, const char *expected) {
    char name[64];
    assert_int_equal(krait_dtype_name(dtype, name, sizeof name), strlen(expected));
    assert_string_equal(name, expected);
}

static void names_are_numpys(void **state) {
    struct krait_struct *bar = bar_type();
    (void)state;
#define NAMED(NAME, name, code, type, bytes, text) is_named(krait_##name##_type(), text);
    KRAIT_DTYPE_MAP(NAMED)
#undef NAMED
    is_named(krait_datetime(KRAIT_S, 25), "datetime64[25s]");
    is_named(krait_datetime(KRAIT_NS, 1), "datetime64[ns]");
    is_named(krait_timedelta(KRAIT_MINUTE, 1), "timedelta64[m]");
    is_named(krait_datetime(KRAIT_MONTH, 3), "datetime64[3M]");
    is_named(krait_timedelta(KRAIT_GENERIC, 1), "timedelta64");
    is_named(krait_timedelta(KRAIT_AS, 1), "timedelta64[as]");
    is_named(krait_datetime(14, 1), "datetime64[unit 14]");
    is_named(struct_type(bar, 40), "struct of 7 fields");
    is_named(bar->fields[5].dtype, "struct of 1 field");
    is_named(struct_type(NULL, 8), "struct of 0 fields");
    is_named(krait_dtype_make_(0, 0, 8, 0), "unknown dtype 0");
    is_named(krait_dtype_make_(20, 0, 8, 0), "unknown dtype 20");
    is_named(krait_fixed_bytes(8), "S8");
    is_named(krait_fixed_text(5), "U5");
    is_named(krait_fixed_bytes(0), "S0");
    krait__struct_free(bar);
}

static void names_tell_the_other_byte_order(void **state) {
    static const struct {
        krait_dtype dtype;
        const char *name;
    } rows[] = {
        { { KRAIT_F64, 1, 0, 0, 8, { 0 } }, ">f8" },   { { KRAIT_I32, 1, 0, 0, 4, { 0 } }, ">i4" },
        { { KRAIT_U16, 1, 0, 0, 2, { 0 } }, ">u2" },   { { KRAIT_U64, 1, 0, 0, 8, { 0 } }, ">u8" },
        { { KRAIT_F16, 1, 0, 0, 2, { 0 } }, ">f2" },   { { KRAIT_C64, 1, 0, 0, 8, { 0 } }, ">c8" },
        { { KRAIT_C128, 1, 0, 0, 16, { 0 } }, ">c16" }, { { KRAIT_I8, 1, 0, 0, 1, { 0 } }, "int8" },
        { { KRAIT_BOOL, 1, 0, 0, 1, { 0 } }, "bool" },  { { KRAIT_DATETIME, 1, 10, 0, 8, { 5 } }, ">M8[5ns]" },
        { { KRAIT_TIMEDELTA, 1, 4, 0, 8, { 1 } }, ">m8[D]" },
        { { KRAIT_FIXED_TEXT, 1, 0, 0, 12, { 0 } }, ">U3" }, { { KRAIT_FIXED_BYTES, 1, 0, 0, 12, { 0 } }, "S12" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char expected[16];
        strcpy(expected, rows[i].name);
        if (big_endian() && expected[0] == '>') expected[0] = '<';
        is_named(rows[i].dtype, expected);
    }
}

static void names_are_cut_like_snprintf(void **state) {
    char        name[6] = "?????";
    krait_value value = krait_str("hello");
    (void)state;
    assert_int_equal(krait_dtype_name(krait_f64_type(), name, 4), 7);
    assert_string_equal(name, "flo");
    assert_int_equal(name[4], '?');
    assert_int_equal(krait_dtype_name(krait_f64_type(), NULL, 0), 7);
    assert_int_equal(krait_dtype_name(krait_f64_type(), NULL, 9), 7);
    assert_int_equal(krait_value_describe(&value, name, sizeof name), 15);
    assert_string_equal(name, "text ");
    assert_int_equal(krait_value_describe(&value, NULL, 10), 15);
}

static void is_described(const krait_value *value, const char *expected) {
    char text[1024];
    assert_int_equal(krait_value_describe(value, text, sizeof text), strlen(expected));
    assert_string_equal(text, expected);
}

static void values_are_described(void **state) {
    static const int64_t shape4[] = { 2, 1, 3, 1 }, long_shape[KRAIT_MAX_NDIM] = { INT64_MIN + 1, INT64_MIN + 1 };
    char                 text[1024];
    krait_value          map = price_map(), list = tree_value(1, NULL), table = price_table(), odd = krait_make_(77);
    krait_value          values[] = {
        krait_none(), krait_bool(true), krait_i64(1), krait_u64(1), krait_f64(1), krait_complex(1, 2),
        krait_str("hello"), krait_text("h", 1), krait_bytes("hello", 5), krait_matrix_f64(prices, 10, 3),
        krait_vector_f64(prices, 10), with_shape(0, NULL, NULL), with_shape(4, shape4, NULL), with_shape(2, NULL, NULL),
        with_shape(33, shape4, NULL), with_shape(-1, shape4, NULL),
        krait_time(krait_datetime(KRAIT_MS, 1), 5), krait_time_in(krait_datetime(KRAIT_NS, 1), INT64_MIN, "UTC"),
        krait_time(krait_timedelta(KRAIT_S, 90), 1), krait_decimal("12.50"), krait_make_(KRAIT_KIND_OBJECT),
        krait_make_(KRAIT_KIND_ITERATOR), krait_table_value(NULL), krait_vector(prices, krait_fixed_bytes(16), 3),
        krait_vector(prices, krait_fixed_text(2), 6),
    };
    static const char *const expected[] = {
        "none", "bool", "int", "int", "float", "complex", "text of 5 bytes", "text of 1 byte", "bytes of 5",
        "float64 array (10, 3)", "float64 array (10)", "float64 array ()", "float64 array (2, 1, 3, 1)",
        "float64 array of 2 dimensions without a shape", "float64 array of 33 dimensions without a shape",
        "float64 array of -1 dimensions without a shape",
        "time", "time", "duration", "decimal", "object", "iterator", "table that is NULL", "S16 array (3)",
        "U2 array (6)",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) is_described(&values[i], expected[i]);
    is_described(&map, "map of 4 items");
    is_described(&list, "list of 1 item");
    is_described(&table, "table of 4 columns, 3 rows");
    is_described(&odd, "unknown kind 77");
    is_described(NULL, "NULL");
    odd = krait_ndarray(prices, krait_timedelta(KRAIT_AS, INT32_MAX), KRAIT_MAX_NDIM, long_shape, NULL);
    assert_true(krait_value_describe(&odd, text, sizeof text) < sizeof text);
    assert_int_equal(text[strlen(text) - 1], ')'); /* nothing was cut */
    krait_value_clear(&table);
    krait_value_clear(&map);
    krait_value_clear(&list);
}

/* ---- the array check --------------------------------------------------------------------------------------------- */

static krait_status check(krait_value value) {
    const char  *lo, *hi;
    int64_t      size;
    krait_status status = krait__array_check(&value, &lo, &hi, &size, &err);
    krait_array  array;
    krait_value  copy;
    /* Whoever uses the value gets the same answer. */
    if (value.kind == KRAIT_KIND_ARRAY) {
        assert_int_equal(krait_get_array(&value, KRAIT_ANY, -1, &array, NULL), status);
        assert_int_equal(krait_value_copy(&value, &copy, NULL), status);
        krait_value_clear(&copy);
    }
    return status;
}

static krait_value typed(uint8_t code, uint8_t unit, uint32_t size, int64_t count) {
    return krait_vector(prices, krait_dtype_make_(code, unit, size, count), 1);
}

static void check_refuses_dtypes(void **state) {
    krait_value value;
    (void)state;
    SAYS(check(krait_f64(1)), KRAIT_E_KIND, "value is float, expected an array");
    SAYS(check(typed(0, 0, 8, 0)), KRAIT_E_ARGUMENT, "dtype code 0 is unknown");
    SAYS(check(typed(20, 0, 8, 0)), KRAIT_E_ARGUMENT, "dtype code 20 is unknown");
    SAYS(check(typed(255, 0, 8, 0)), KRAIT_E_ARGUMENT, "dtype code 255 is unknown");
    SAYS(check(typed(KRAIT_F64, 0, 4, 0)), KRAIT_E_ARGUMENT, "dtype float64 has item_size 4, expected 8");
    SAYS(check(typed(KRAIT_DATETIME, 1, 0, 1)), KRAIT_E_ARGUMENT, "dtype datetime64 has item_size 0, expected 8");
    SAYS(check(typed(KRAIT_I8, 3, 1, 0)), KRAIT_E_ARGUMENT, "dtype int8 has unit 3, expected 0");
    SAYS(check(typed(KRAIT_DATETIME, 14, 8, 1)), KRAIT_E_ARGUMENT, "datetime64 has unit 14, expected 0 to 13");
    SAYS(check(typed(KRAIT_TIMEDELTA, 13, 8, 0)), KRAIT_E_ARGUMENT,
         "timedelta64 counts 0 of its unit, expected 1 to 2147483647");
    SAYS(check(typed(KRAIT_TIMEDELTA, 13, 8, 2147483648)), KRAIT_E_ARGUMENT,
         "timedelta64 counts 2147483648 of its unit, expected 1 to 2147483647");
    SAYS(check(typed(KRAIT_STRUCT, 0, 8, 0)), KRAIT_E_ARGUMENT, "dtype struct has of.fields NULL");
    value = krait_vector_f64(prices, 1);
    value.as.array.dtype.swapped = 2;
    SAYS(check(value), KRAIT_E_ARGUMENT, "dtype float64 has swapped 2 and reserved 0, expected 0 or 1 and 0");
    value.as.array.dtype.swapped = 0;
    value.as.array.dtype.reserved = 1;
    SAYS(check(value), KRAIT_E_ARGUMENT, "dtype float64 has swapped 0 and reserved 1, expected 0 or 1 and 0");
    SAYS(check(typed(KRAIT_FIXED_TEXT, 0, 6, 0)), KRAIT_E_ARGUMENT,
         "dtype text of fixed width (U) has item_size 6, expected a multiple of 4");
    SAYS(check(typed(KRAIT_FIXED_BYTES, 2, 6, 0)), KRAIT_E_ARGUMENT,
         "dtype bytes of fixed width (S) has unit 2, expected 0");
    SAYS(check(typed(KRAIT_FIXED_BYTES, 0, UINT32_C(1) << 31, 0)), KRAIT_E_ARGUMENT,
         "dtype bytes of fixed width (S) has item_size 2147483648, expected at most 2147483647");
    GOOD(check(typed(KRAIT_FIXED_BYTES, 0, 7, 0)));
    GOOD(check(typed(KRAIT_FIXED_TEXT, 0, 8, 0)));
    GOOD(check(typed(KRAIT_FIXED_TEXT, 0, 0, 0))); /* of width 0, as numpy has it */
    GOOD(check(typed(KRAIT_DATETIME, 0, 8, 1)));
    GOOD(check(typed(KRAIT_TIMEDELTA, 13, 8, 2147483647)));
}

static void check_refuses_shapes(void **state) {
    const int64_t negative[] = { 3, -1 }, huge[] = { INT64_C(1) << 62, 8 }, hollow[] = { 0, INT64_C(1) << 60 };
    const int64_t most[] = { 0, INT64_C(1) << 59 }, twice[] = { INT64_C(1) << 59, 2 }, negative4[] = { -5, 1, 1, 1 };
    krait_value   value = krait_matrix_f64(prices, 2, 3);
    (void)state;
    SAYS(check(with_shape(2, negative, NULL)), KRAIT_E_SHAPE, "shape (3, -1): dimension 1 is negative");
    SAYS(check(with_shape(4, negative4, NULL)), KRAIT_E_SHAPE, "shape (-5, 1, 1, 1): dimension 0 is negative");
    SAYS(check(with_shape(2, huge, NULL)), KRAIT_E_SHAPE,
         "shape (4611686018427387904, 8): more bytes than memory can have");
    SAYS(check(with_shape(2, hollow, NULL)), KRAIT_E_SHAPE,
         "shape (0, 1152921504606846976): more bytes than memory can have");
    SAYS(check(with_shape(2, twice, NULL)), KRAIT_E_SHAPE,
         "shape (576460752303423488, 2): more bytes than memory can have");
    GOOD(check(with_shape(2, most, NULL)));
    SAYS(check(krait_matrix_f64(prices, 3, (size_t)1 << 61)), KRAIT_E_SHAPE,
         "shape (3, 2305843009213693952): more bytes than memory can have");
    SAYS(check(krait_vector_f64(prices, SIZE_MAX)), KRAIT_E_SHAPE, "shape (-1): dimension 0 is negative");
    SAYS(check(with_shape(33, most, NULL)), KRAIT_E_SHAPE, "array has 33 dimensions, expected 0 to 32");
    SAYS(check(with_shape(-1, most, NULL)), KRAIT_E_SHAPE, "array has -1 dimensions, expected 0 to 32");
    SAYS(check(with_shape(INT32_MIN, NULL, NULL)), KRAIT_E_SHAPE, "array has -2147483648 dimensions, expected 0 to 32");
    SAYS(check(with_shape(1, NULL, NULL)), KRAIT_E_ARGUMENT, "shape is NULL, expected 1 length");
    SAYS(check(with_shape(3, NULL, most)), KRAIT_E_ARGUMENT, "shape is NULL, expected 3 lengths");
    SAYS(check(with_shape(4, NULL, NULL)), KRAIT_E_ARGUMENT, "shape is NULL, expected 4 lengths");
    value.as.array.ndim = 4; /* by hand: dims hold three lengths only */
    SAYS(check(value), KRAIT_E_ARGUMENT, "shape is NULL, expected 4 lengths");
    SAYS(check(krait_vector_f64(NULL, 3)), KRAIT_E_ARGUMENT, "data is NULL, expected 3 elements of float64");
    SAYS(check(krait_ndarray(NULL, krait_datetime(KRAIT_S, 25), 0, NULL, NULL)), KRAIT_E_ARGUMENT,
         "data is NULL, expected 1 element of datetime64[25s]");
    GOOD(check(krait_vector_f64(NULL, 0)));
}

static void check_refuses_strides(void **state) {
    const int64_t three[] = { 3 }, two[] = { 2, 2 }, far[] = { INT64_MAX }, back[] = { INT64_MIN };
    const int64_t both[] = { INT64_MAX / 2 + 1, INT64_MAX / 2 + 1 }, reach[] = { INT64_MAX - 8 }, one[] = { 1 };
    krait_value   high;
    (void)state;
    SAYS(check(with_shape(1, three, far)), KRAIT_E_SHAPE, "shape (3): strides reach beyond memory");
    SAYS(check(with_shape(1, two, back)), KRAIT_E_SHAPE, "shape (2): strides reach beyond memory");
    SAYS(check(with_shape(2, two, both)), KRAIT_E_SHAPE, "shape (2, 2): strides reach beyond memory");
    GOOD(check(with_shape(1, one, back))); /* one element: its stride is never taken */
    high = krait_ndarray((void *)(UINTPTR_MAX - 64), krait_f64_type(), 1, two, reach);
    SAYS(check(high), KRAIT_E_SHAPE, "shape (2): strides reach beyond memory");
    high = krait_vector_f64((double *)(UINTPTR_MAX - 15), 3);
    SAYS(check(high), KRAIT_E_SHAPE, "shape (3): strides reach beyond memory");
}

static void spans(krait_value value, int64_t low, int64_t high, int64_t elements) {
    const char *lo, *hi;
    int64_t     size;
    GOOD(krait__array_check(&value, &lo, &hi, &size, &err));
    assert_int_equal(lo - (const char *)value.as.array.data, low);
    assert_int_equal(hi - (const char *)value.as.array.data, high);
    assert_int_equal(size, elements);
}

static void check_finds_the_span(void **state) {
    const int64_t shape[] = { 3, 2 }, mixed[] = { -16, 8 }, still[] = { 0, 0 }, empty[] = { 3, 0 };
    const int64_t shape4[] = { 1, 3, 1, 2 }, strides4[] = { 999, -16, -999, -8 };
    const double *middle = prices + 5;
    (void)state;
    spans(krait_vector_f64(prices, 6), 0, 48, 6);
    spans(krait_matrix_f64(prices, 2, 3), 0, 48, 6);
    spans(krait_ndarray(prices, krait_f64_type(), 0, NULL, NULL), 0, 8, 1);
    spans(krait_ndarray(middle - 1, krait_f64_type(), 2, shape, mixed), -32, 16, 6);
    spans(krait_ndarray(prices, krait_f64_type(), 2, shape, still), 0, 8, 6);
    spans(krait_ndarray(prices, krait_f64_type(), 2, empty, mixed), 0, 0, 0);
    spans(krait_ndarray(middle, krait_f64_type(), 4, shape4, strides4), -40, 8, 6);
    spans(krait_ndarray(prices, krait_f64_type(), 4, shape4, NULL), 0, 48, 6);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static void numbers_that_fit(void **state) {
    static const struct {
        int64_t in;
        bool    f64;
    } rows[] = { { 0, true }, { -1, true }, { INT64_MAX, false }, { INT64_MIN, false }, { 1LL << 53, true },
                 { (1LL << 53) + 1, false }, { -(1LL << 53), true }, { -(1LL << 53) - 1, false } };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value value = krait_i64(rows[i].in);
        int64_t     i64;
        uint64_t    u64;
        double      f64 = 9, re = 9, im = 9;
        GOOD(krait_get_i64(&value, &i64, &err));
        assert_int_equal(i64, rows[i].in);
        assert_int_equal(krait_get_u64(&value, &u64, NULL), rows[i].in < 0 ? KRAIT_E_RANGE : KRAIT_OK);
        assert_int_equal(u64, rows[i].in < 0 ? 0 : (uint64_t)rows[i].in);
        assert_int_equal(krait_get_f64(&value, &f64, NULL), rows[i].f64 ? KRAIT_OK : KRAIT_E_RANGE);
        assert_true(f64 == (rows[i].f64 ? (double)rows[i].in : 0));
        assert_int_equal(krait_get_complex(&value, &re, &im, NULL), rows[i].f64 ? KRAIT_OK : KRAIT_E_RANGE);
        assert_true(re == f64 && im == 0);
    }
}

static void unsigned_numbers(void **state) {
    krait_value value = krait_u64(UINT64_MAX);
    int64_t     i64 = 5;
    uint64_t    u64;
    double      f64 = 5;
    (void)state;
    GOOD(krait_get_u64(&value, &u64, &err));
    assert_true(u64 == UINT64_MAX);
    SAYS(krait_get_i64(&value, &i64, &err), KRAIT_E_RANGE, "value is 18446744073709551615, which int64 cannot hold");
    assert_int_equal(i64, 0);
    SAYS(krait_get_f64(&value, &f64, &err), KRAIT_E_RANGE,
         "value is 18446744073709551615, which a double (whole numbers up to 2^53) cannot hold");
    assert_true(f64 == 0);
    value = krait_u64(1ULL << 53);
    GOOD(krait_get_f64(&value, &f64, &err));
    assert_true(f64 == 0x1p53);
    value = krait_u64(INT64_MAX);
    GOOD(krait_get_i64(&value, &i64, &err));
    assert_int_equal(i64, INT64_MAX);
}

static void floats_as_integers(void **state) {
    static const struct {
        double in;
        bool   i64, u64;
    } rows[] = { { 0.0, true, true }, { -0.0, true, true }, { 3.0, true, true }, { -3.0, true, false },
                 { 0.5, false, false }, { -0x1p63, true, false }, { 0x1p63, false, true }, { 0x1p64, false, false },
                 { 0x1.fffffffffffffp62, true, true }, { 0x1.fffffffffffffp63, false, true },
                 { -0x1.0000000000001p63, false, false }, { INFINITY, false, false }, { -INFINITY, false, false },
                 { NAN, false, false }, { 1e300, false, false }, { -1e-300, false, false }, { 5e-324, false, false } };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value value = krait_f64(rows[i].in);
        int64_t     i64 = 1;
        uint64_t    u64 = 1;
        double      f64;
        assert_int_equal(krait_get_i64(&value, &i64, NULL), rows[i].i64 ? KRAIT_OK : KRAIT_E_RANGE);
        assert_true(rows[i].i64 ? (double)i64 == rows[i].in : i64 == 0);
        assert_int_equal(krait_get_u64(&value, &u64, NULL), rows[i].u64 ? KRAIT_OK : KRAIT_E_RANGE);
        assert_true(rows[i].u64 ? (double)u64 == rows[i].in : u64 == 0);
        GOOD(krait_get_f64(&value, &f64, &err));
        assert_memory_equal(&f64, &rows[i].in, sizeof f64); /* the sign of zero and NaN too */
    }
}

static void numbers_of_another_kind(void **state) {
    static const int32_t data[] = { 1, 2 };
    krait_value          text = krait_str("hello"), complex = krait_complex(1, -2), truth = krait_bool(true);
    krait_value          vector = krait_vector_i32(data, 1), one = krait_i64(1), real = krait_f64(2.5);
    krait_value          none = krait_none();
    bool                 b = true;
    int64_t              i64 = 1;
    uint64_t             u64 = 1;
    double               f64 = 1, im = 1;
    (void)state;
    SAYS(krait_get_f64(&text, &f64, &err), KRAIT_E_KIND, "value is text of 5 bytes, expected a number");
    SAYS(krait_get_i64(&none, &i64, &err), KRAIT_E_KIND, "value is none, expected an integer");
    SAYS(krait_get_f64(&complex, &f64, &err), KRAIT_E_KIND, "value is complex, expected a number");
    SAYS(krait_get_u64(&complex, &u64, &err), KRAIT_E_KIND, "value is complex, expected an integer");
    SAYS(krait_get_complex(&text, &f64, &im, &err), KRAIT_E_KIND, "value is text of 5 bytes, expected a number");
    SAYS(krait_get_f64(&vector, &f64, &err), KRAIT_E_KIND, "value is int32 array (1), expected a number");
    SAYS(krait_get_bool(&one, &b, &err), KRAIT_E_KIND, "value is int, expected a bool");
    SAYS(krait_get_i64(&real, &i64, &err), KRAIT_E_RANGE, "value is 2.5, which int64 cannot hold");
    assert_true(!b && i64 == 0 && u64 == 0 && f64 == 0 && im == 0);
    GOOD(krait_get_bool(&truth, &b, &err));
    GOOD(krait_get_i64(&truth, &i64, &err));
    GOOD(krait_get_u64(&truth, &u64, &err));
    assert_true(b && i64 == 1 && u64 == 1);
    GOOD(krait_get_f64(&truth, &f64, &err));
    assert_true(f64 == 1);
    GOOD(krait_get_complex(&complex, &f64, &im, &err));
    assert_true(f64 == 1 && im == -2);
}

/* `raw` as a 0-d array at an odd address, in this byte order and in the other, parts of `width` bytes each. */
static krait_value zero_d(char *room, krait_dtype dtype, const void *raw, size_t width, bool swap) {
    char *at = room + 1;
    memcpy(at, raw, dtype.item_size);
    for (size_t part = 0; swap && part < dtype.item_size; part += width)
        for (size_t i = 0; i < width; i++) at[part + i] = ((const char *)raw)[part + width - 1 - i];
    dtype.swapped = swap;
    return krait_ndarray(at, dtype, 0, NULL, NULL);
}

static void zero_d_numbers(void **state) {
    char room[32];
    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        krait_value value;
        int64_t     i64;
        uint64_t    u64;
        double      re, im;
        bool        b;
#define TRIES(name, type, number, get, place)                                                                          \
    do {                                                                                                               \
        type in_ = (number);                                                                                           \
        value = zero_d(room, krait_##name##_type(), &in_, sizeof in_, swap);                                           \
        GOOD(get(&value, &place, &err));                                                                               \
        assert_true(place == (number));                                                                                \
    } while (0)
        TRIES(bool, bool, true, krait_get_bool, b);
        TRIES(bool, bool, true, krait_get_i64, i64);
        TRIES(i8, int8_t, -128, krait_get_i64, i64);
        TRIES(i16, int16_t, -32767, krait_get_i64, i64);
        TRIES(i32, int32_t, -2147483647, krait_get_i64, i64);
        TRIES(i64, int64_t, INT64_MIN + 5, krait_get_i64, i64);
        TRIES(u8, uint8_t, 255, krait_get_i64, i64);
        TRIES(u16, uint16_t, 65534, krait_get_u64, u64);
        TRIES(u32, uint32_t, 4294967294U, krait_get_u64, u64);
        TRIES(u64, uint64_t, UINT64_MAX - 1, krait_get_u64, u64);
        TRIES(i32, int32_t, -77, krait_get_f64, re);
        TRIES(u32, uint32_t, 4294967294U, krait_get_f64, re);
        TRIES(f32, float, 0.1F, krait_get_f64, re);
        TRIES(f64, double, 0.1, krait_get_f64, re);
        TRIES(f32, float, 16777216, krait_get_i64, i64);
#undef TRIES
        value = zero_d(room, krait_c64_type(), (float[]){ 1.5F, -2.5F }, 4, swap);
        GOOD(krait_get_complex(&value, &re, &im, &err));
        assert_true(re == 1.5 && im == -2.5);
        value = zero_d(room, krait_c128_type(), (double[]){ 0.1, -0.2 }, 8, swap);
        GOOD(krait_get_complex(&value, &re, &im, &err));
        assert_true(re == 0.1 && im == -0.2);
        assert_int_equal(krait_get_f64(&value, &re, NULL), KRAIT_E_KIND);
        value = zero_d(room, krait_i64_type(), (int64_t[]){ 1 }, 8, swap);
        assert_int_equal(krait_get_bool(&value, &b, NULL), KRAIT_E_KIND);
    }
}

static void zero_d_that_are_no_numbers(void **state) {
    krait_value time = krait_ndarray(prices, krait_datetime(KRAIT_NS, 1), 0, NULL, NULL);
    krait_value lost = krait_ndarray(NULL, krait_f64_type(), 0, NULL, NULL);
    double      f64;
    (void)state;
    SAYS(krait_get_f64(&time, &f64, &err), KRAIT_E_KIND, "value is datetime64[ns] array (), expected a number");
    SAYS(krait_get_f64(&lost, &f64, &err), KRAIT_E_ARGUMENT, "data is NULL, expected 1 element of float64");
}

/* All 65,536 of them, by the definition. */
static void halves(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t    half = (uint16_t)bits;
        int         exponent = (int)(bits >> 10 & 31);
        double      fraction = bits & 1023, sign = bits >> 15 ? -1 : 1, got;
        double      expected = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        krait_value value = krait_ndarray(&half, krait_f16_type(), 0, NULL, NULL);
        if (exponent == 31) expected = (bits & 1023) ? (double)NAN : (double)INFINITY;
        GOOD(krait_get_f64(&value, &got, &err));
        if (isnan(expected))
            assert_true(isnan(got));
        else
            assert_true(got == sign * expected && !signbit(got) == !signbit(sign));
    }
}

/* ---- text and bytes ---------------------------------------------------------------------------------------------- */

static void text_is_read(void **state) {
    krait_value hello = krait_str("hello"), nul = krait_text("a\0b", 3), lost = krait_str(NULL), number = krait_i64(1);
    const char *text;
    size_t      size;
    (void)state;
    GOOD(krait_get_text(&hello, &text, &size, &err));
    assert_string_equal(text, "hello");
    assert_int_equal(size, 5);
    GOOD(krait_get_text(&hello, &text, NULL, &err));
    GOOD(krait_get_text(&nul, &text, &size, &err));
    assert_memory_equal(text, "a\0b", 3);
    SAYS(krait_get_text(&nul, &text, NULL, &err), KRAIT_E_RANGE,
         "text of 3 bytes has a NUL at byte 1: read it with its size");
    assert_null(text);
    SAYS(krait_get_text(&lost, &text, &size, &err), KRAIT_E_ARGUMENT, "text is NULL, expected 0 bytes");
    text = "old", size = 9;
    SAYS(krait_get_text(&number, &text, &size, &err), KRAIT_E_KIND, "value is int, expected text");
    assert_true(text == NULL && size == 0);
    number = krait_decimal("12.50");
    GOOD(krait_get_text(&number, &text, &size, &err));
    assert_true(!strcmp(text, "12.50") && size == 5);
    hello.kind = KRAIT_KIND_BYTES;
    SAYS(krait_get_text(&hello, &text, &size, &err), KRAIT_E_KIND, "value is bytes of 5, expected text");
}

static void bytes_are_read(void **state) {
    krait_value some = krait_bytes("a\0b", 3), empty = krait_bytes(NULL, 0), lost = krait_bytes(NULL, 4);
    krait_value text = krait_str("x");
    const void *data = "old";
    size_t      size = 9;
    (void)state;
    GOOD(krait_get_bytes(&some, &data, &size, &err));
    assert_int_equal(size, 3);
    assert_memory_equal(data, "a\0b", 3);
    GOOD(krait_get_bytes(&empty, &data, &size, &err));
    assert_int_equal(size, 0);
    size = 9;
    SAYS(krait_get_bytes(&lost, &data, &size, &err), KRAIT_E_ARGUMENT, "bytes is NULL, expected 4 bytes");
    assert_true(data == NULL && size == 0);
    SAYS(krait_get_bytes(&text, &data, &size, &err), KRAIT_E_KIND, "value is text of 1 byte, expected bytes");
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

static void arrays_are_read(void **state) {
    const int64_t shape4[] = { 1, 2, 3, 1 };
    krait_value   matrix = krait_matrix_f64(prices, 2, 3), deep = with_shape(4, shape4, NULL);
    krait_array   array;
    (void)state;
    GOOD(krait_get_array(&matrix, KRAIT_F64, 2, &array, &err));
    assert_ptr_equal(array.data, prices);
    assert_int_equal(array.dtype.code, KRAIT_F64);
    assert_int_equal(array.ndim, 2);
    assert_int_equal(array.size, 6);
    assert_true(array.shape[0] == 2 && array.shape[1] == 3 && array.strides[0] == 24 && array.strides[1] == 8);
    assert_int_equal(array.flags, KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_ALIGNED);
    GOOD(krait_get_array(&matrix, KRAIT_ANY, -1, &array, &err));
    GOOD(krait_get_array(&matrix, KRAIT_ANY, 2, &array, &err));
    GOOD(krait_get_array(&deep, KRAIT_F64, 4, &array, &err));
    assert_null(array.strides);
    assert_ptr_equal(array.shape, shape4);
    assert_int_equal(array.flags, KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_ALIGNED);
    matrix.as.array.flags = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_ALIAS | KRAIT_ARRAY_COPIED | KRAIT_ARRAY_F_CONTIGUOUS;
    GOOD(krait_get_array(&matrix, KRAIT_ANY, 2, &array, &err));
    assert_int_equal(array.flags, KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_ALIAS | KRAIT_ARRAY_COPIED |
                                      KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_ALIGNED);
}

static void arrays_are_refused(void **state) {
    static const int32_t data[10];
    const int64_t        broken[] = { -1 };
    krait_value          ten = krait_vector_i32(data, 10), matrix = krait_matrix_f64(prices, 2, 3);
    krait_value          text = krait_str("hello"), point = with_shape(0, NULL, NULL);
    krait_value          bad = krait_ndarray(data, krait_i32_type(), 1, broken, NULL);
    krait_array          array, zero = { 0 };
    (void)state;
    memset(&array, 1, sizeof array);
    SAYS(krait_get_array(&ten, KRAIT_F64, 2, &array, &err), KRAIT_E_KIND,
         "value is int32 with 1 dimension (10), expected float64 with 2");
    SAYS(krait_get_array(&ten, KRAIT_F64, -1, &array, &err), KRAIT_E_KIND,
         "value is int32 with 1 dimension (10), expected float64");
    SAYS(krait_get_array(&ten, KRAIT_I32, 2, &array, &err), KRAIT_E_SHAPE,
         "value is int32 with 1 dimension (10), expected int32 with 2");
    SAYS(krait_get_array(&matrix, KRAIT_ANY, 1, &array, &err), KRAIT_E_SHAPE,
         "value is float64 with 2 dimensions (2, 3), expected 1 dimension");
    SAYS(krait_get_array(&point, KRAIT_STRUCT, 0, &array, &err), KRAIT_E_KIND,
         "value is float64 with 0 dimensions (), expected records with 0");
    SAYS(krait_get_array(&text, KRAIT_F64, 2, &array, &err), KRAIT_E_KIND,
         "value is text of 5 bytes, expected an array of float64 with 2 dimensions");
    SAYS(krait_get_array(&text, KRAIT_ANY, -1, &array, &err), KRAIT_E_KIND,
         "value is text of 5 bytes, expected an array");
    SAYS(krait_get_array(&bad, KRAIT_F64, 3, &array, &err), KRAIT_E_SHAPE, "shape (-1): dimension 0 is negative");
    assert_memory_equal(&array, &zero, sizeof array);
    SAYS(krait_get_array(&ten, KRAIT_FIXED_BYTES, 1, &array, &err), KRAIT_E_KIND,
         "value is int32 with 1 dimension (10), expected bytes of fixed width (S) with 1");
    SAYS(krait_get_array(&ten, 20, 1, &array, &err), KRAIT_E_ARGUMENT, "dtype code 20 is unknown");
    SAYS(krait_get_array(&ten, -1, 1, &array, &err), KRAIT_E_ARGUMENT, "dtype code -1 is unknown");
    SAYS(krait_get_array(&ten, KRAIT_ANY, 33, &array, &err), KRAIT_E_ARGUMENT,
         "33 dimensions were asked for, no array has over 32");
}

static void columns_of_maps(void **state) {
    krait_value map = price_map(), list = tree_value(2, NULL);
    krait_array array, zero = { 0 };
    (void)state;
    GOOD(krait_get_column(&map, "open", KRAIT_F64, &array, &err));
    assert_ptr_equal(array.data, prices);
    assert_int_equal(array.size, 6);
    GOOD(krait_get_column(&map, "open", KRAIT_ANY, &array, &err));
    SAYS(krait_get_column(&map, "close", KRAIT_F64, &array, &err), KRAIT_E_NOT_FOUND,
         "no item 'close' in map of 4 items: 'open', 'volume', 'name', 'when'");
    SAYS(krait_get_column(&map, "open", KRAIT_I32, &array, &err), KRAIT_E_KIND,
         "column 'open' is float64 with 1 dimension (6), expected int32 with 1");
    SAYS(krait_get_column(&map, "volume", KRAIT_ANY, &array, &err), KRAIT_E_SHAPE,
         "column 'volume' is int32 with 2 dimensions (2, 3), expected 1 dimension");
    SAYS(krait_get_column(&map, "name", KRAIT_F64, &array, &err), KRAIT_E_KIND,
         "column 'name' is text of 4 bytes, expected an array of float64 with 1 dimension");
    memset(&array, 1, sizeof array);
    SAYS(krait_get_column(&list, "open", KRAIT_F64, &array, &err), KRAIT_E_KIND,
         "value is list of 2 items, expected a table, a map of arrays or an array of records");
    SAYS(krait_get_column(&map.as.list.items[0], "open", KRAIT_F64, &array, &err), KRAIT_E_KIND,
         "value is float64 array (6), expected a table, a map of arrays or an array of records");
    assert_memory_equal(&array, &zero, sizeof array);
    krait_value_clear(&map);
    krait_value_clear(&list);
}

/* A table of one column without missing values is an array too, at the table's own addresses. */
static void tables_of_one_column_are_arrays(void **state) {
    const int64_t three = 3, back = -8;
    krait_table  *one = krait_table_new(&err), *none = krait_table_new(&err);
    krait_value   series = krait_table_value(one), four = price_table(), empty = krait_table_value(none);
    krait_value   lost = krait_table_value(NULL);
    krait_array   array, zero = { 0 };
    double        number;
    (void)state;
    GOOD(krait_table_add(one, "x", krait_ndarray(prices + 2, krait_f64_type(), 1, &three, &back), NULL, &err));
    GOOD(krait_get_array(&series, KRAIT_F64, 1, &array, &err));
    assert_ptr_equal(array.data, prices + 2);
    assert_true(array.ndim == 1 && array.size == 3 && array.shape[0] == 3 && array.strides[0] == -8);
    assert_int_equal(array.flags, KRAIT_ARRAY_ALIGNED);
    GOOD(krait_get_array(&series, KRAIT_ANY, -1, &array, &err));
    SAYS(krait_get_array(&series, KRAIT_I32, 1, &array, &err), KRAIT_E_KIND,
         "column 'x' is float64, expected int32");
    SAYS(krait_get_array(&series, KRAIT_ANY, 2, &array, &err), KRAIT_E_KIND,
         "value is table of 1 column, 3 rows, expected an array with 2 dimensions");
    SAYS(krait_get_array(&series, KRAIT_ANY, 0, &array, &err), KRAIT_E_KIND,
         "value is table of 1 column, 3 rows, expected an array with 0 dimensions");
    memset(&array, 1, sizeof array);
    SAYS(krait_get_array(&four, KRAIT_F64, 1, &array, &err), KRAIT_E_SHAPE,
         "value is table of 4 columns, 3 rows, expected exactly one column: krait_get_column takes one");
    assert_memory_equal(&array, &zero, sizeof array);
    SAYS(krait_get_array(&empty, KRAIT_ANY, -1, &array, &err), KRAIT_E_SHAPE,
         "value is table of 0 columns, 0 rows, expected exactly one column: krait_get_column takes one");
    SAYS(krait_get_array(&lost, KRAIT_ANY, 1, &array, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_get_f64(&series, &number, &err), KRAIT_E_KIND,
         "value is table of 1 column, 3 rows, expected a number");
    krait_value_clear(&four);
    krait_table_free(one);
    krait_table_free(none);
}

static void columns_of_tables(void **state) {
    krait_value table = price_table(), lost = krait_table_value(NULL);
    krait_array array, zero = { 0 };
    (void)state;
    SAYS(krait_get_column(&table, "open", KRAIT_F64, &array, &err), KRAIT_E_AMBIGUOUS,
         "2 columns are named 'open', at positions 0, 3: krait_table_column takes one");
    SAYS(krait_get_column(&table, "close", KRAIT_F64, &array, &err), KRAIT_E_NOT_FOUND,
         "no column 'close' in table of 4 columns, 3 rows: 'open', 'volume', 'name', 'open'");
    SAYS(krait_get_column(&table, "name", KRAIT_ANY, &array, &err), KRAIT_E_KIND,
         "column 'name' is text, expected numbers or times");
    memset(&array, 1, sizeof array);
    SAYS(krait_get_column(&table, "volume", KRAIT_I32, &array, &err), KRAIT_E_KIND,
         "column 'volume' is int32, expected int32 without validity: missing_too takes it, krait_column_has tells which rows have a value");
    assert_memory_equal(&array, &zero, sizeof array);
    SAYS(krait_get_column(&lost, "open", KRAIT_F64, &array, &err), KRAIT_E_ARGUMENT, "table is NULL");
    GOOD(krait_table_add((krait_table *)table.owner, "close", krait_vector_f64(prices + 3, 3), NULL, &err));
    GOOD(krait_get_column(&table, "close", KRAIT_ANY, &array, &err));
    assert_ptr_equal(array.data, prices + 3);
    assert_int_equal(array.flags, KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_F_CONTIGUOUS | KRAIT_ARRAY_ALIGNED);
    krait_value_clear(&table);
    assert_int_equal(krait__mem_blocks(), 0);
}

static void fields_of_records(void **state) {
    _Alignas(8) static char data[6 * 40];
    struct krait_struct    *bar = bar_type();
    krait_dtype             dtype = struct_type(bar, 40);
    krait_value             rows = krait_vector(data, dtype, 6), table = krait_matrix(data, dtype, 2, 3);
    krait_array             all, field, inner;
    int32_t                 x = -7, got;
    const krait_field      *fields;
    (void)state;
    memcpy(data + 2 * 40 + 17, &x, sizeof x);
    assert_int_equal(krait_dtype_fields(dtype, &fields), 7);
    assert_ptr_equal(fields, bar->fields);
    assert_int_equal(krait_dtype_fields(krait_f64_type(), &fields), 0);
    assert_null(fields);
    assert_int_equal(krait_dtype_fields(dtype, NULL), 7);
    GOOD(krait_get_column(&rows, "x", KRAIT_I32, &field, &err));
    assert_true(field.size == 6 && field.strides[0] == 40 && field.dtype.item_size == 4);
    memcpy(&got, (char *)field.data + 2 * field.strides[0], sizeof got);
    assert_int_equal(got, -7);
    assert_int_equal(field.flags, 0); /* neither contiguous nor aligned */
    GOOD(krait_get_column(&rows, "close", KRAIT_F64, &field, &err));
    assert_int_equal(field.dtype.swapped, 1);
    assert_int_equal(field.flags, KRAIT_ARRAY_ALIGNED);
    GOOD(krait_get_array(&table, KRAIT_STRUCT, 2, &all, &err));
    GOOD(krait_array_field(&all, "when", KRAIT_DATETIME, &field, &err));
    assert_true(field.ndim == 2 && field.dtype.of.count == 25 && field.strides[0] == 120);
    GOOD(krait_array_field(&all, "at", KRAIT_STRUCT, &field, &err));
    GOOD(krait_array_field(&field, "n", KRAIT_I16, &inner, &err));
    assert_ptr_equal(inner.data, data + 32);
    GOOD(krait_array_field(&field, "n", KRAIT_I16, &field, &err)); /* in place */
    assert_memory_equal(&field, &inner, sizeof field);
    rows = krait_vector(NULL, dtype, 0);
    GOOD(krait_get_column(&rows, "x", KRAIT_I32, &field, &err));
    assert_true(field.data == NULL && field.size == 0);
    krait__struct_free(bar);
}

static void fields_are_refused(void **state) {
    static char          data[6 * 40];
    const int64_t        shape4[] = { 1, 2, 3, 1 };
    struct krait_struct *bar = bar_type();
    krait_dtype          dtype = struct_type(bar, 40);
    krait_value          rows = krait_vector(data, dtype, 6), table = krait_matrix(data, dtype, 2, 3);
    krait_value          deep = krait_ndarray(data, dtype, 4, shape4, NULL), plain = krait_vector_f64(prices, 6);
    krait_array          all, field, zero = { 0 };
    (void)state;
    GOOD(krait_get_array(&rows, KRAIT_STRUCT, 1, &all, &err));
    SAYS(krait_array_field(&all, "open", KRAIT_ANY, &field, &err), KRAIT_E_NOT_FOUND,
         "no field 'open' in struct of 7 fields: 'when', 'close', 'flag', 'x', 'pair', 'at', 'raw'");
    SAYS(krait_array_field(&all, "x", KRAIT_F64, &field, &err), KRAIT_E_KIND,
         "field 'x' is int32 with 1 dimension (6), expected float64");
    SAYS(krait_array_field(&all, "pair", KRAIT_F32, &field, &err), KRAIT_E_UNSUPPORTED,
         "field 'pair' is itself an array of 1 dimension: read it at data + offset");
    SAYS(krait_array_field(&all, "raw", KRAIT_ANY, &field, &err), KRAIT_E_UNSUPPORTED,
         "field 'raw' is of a dtype that krait does not read");
    SAYS(krait_array_field(&all, "x", 99, &field, &err), KRAIT_E_ARGUMENT, "dtype code 99 is unknown");
    SAYS(krait_get_column(&table, "x", KRAIT_I32, &field, &err), KRAIT_E_SHAPE,
         "value is struct of 7 fields with 2 dimensions (2, 3), expected records with 1");
    GOOD(krait_get_array(&deep, KRAIT_STRUCT, 4, &all, &err));
    SAYS(krait_array_field(&all, "x", KRAIT_I32, &field, &err), KRAIT_E_UNSUPPORTED,
         "fields cannot be read from an array made without strides");
    GOOD(krait_get_array(&plain, KRAIT_ANY, 1, &all, &err));
    memset(&field, 1, sizeof field);
    SAYS(krait_array_field(&all, "x", KRAIT_I32, &field, &err), KRAIT_E_KIND,
         "array is float64 with 1 dimension (6), expected records");
    assert_memory_equal(&field, &zero, sizeof field);
    krait__struct_free(bar);
}

/* ---- makers of lists and maps ------------------------------------------------------------------------------------ */

static void lists_and_maps_are_made(void **state) {
    const krait_value  items[] = { krait_i64(7), krait_str("x"), krait_vector_f64(prices, 6) };
    const char *const  keys[] = { "seven", "text", "prices" };
    krait_value        list = krait_list(items, 3), map = krait_map(keys, items, 3), empty = krait_list(NULL, 0), copy;
    krait_value        nested = krait_list(&map, 1), nothing = krait_map(NULL, NULL, 0), lost = krait_list(NULL, 2);
    const krait_value *item;
    krait_array        array;
    (void)state;
    assert_true(list.kind == KRAIT_KIND_LIST && map.kind == KRAIT_KIND_MAP && !list.release && !map.release);
    assert_int_equal(krait_list_len(&list), 3);
    assert_int_equal(krait_map_len(&map), 3);
    GOOD(krait_list_at(&list, 1, &item, &err));
    assert_ptr_equal(item, &items[1]); /* borrowed */
    GOOD(krait_map_get(&map, "seven", &item, &err));
    assert_ptr_equal(item, &items[0]);
    GOOD(krait_get_column(&map, "prices", KRAIT_F64, &array, &err));
    assert_ptr_equal(array.data, prices);
    GOOD(krait_list_at(&nested, 0, &item, &err));
    GOOD(krait_map_get(item, "text", &item, &err));
    GOOD(krait_value_copy(&nested, &copy, &err));
    krait_value_clear(&nested); /* owns nothing */
    krait_value_clear(&map);
    GOOD(krait_list_at(&copy, 0, &item, &err));
    GOOD(krait_get_column(item, "prices", KRAIT_F64, &array, &err));
    assert_ptr_not_equal(array.data, prices);
    assert_memory_equal(array.data, prices, sizeof prices);
    krait_value_clear(&copy);
    assert_int_equal(krait_list_len(&empty) + krait_map_len(&nothing), 0);
    GOOD(krait_value_copy(&nothing, &copy, &err));
    assert_int_equal(copy.kind, KRAIT_KIND_MAP);
    krait_value_clear(&copy);
    SAYS(krait_list_at(&lost, 0, &item, &err), KRAIT_E_ARGUMENT, "items of the list are NULL");
    assert_int_equal(krait__mem_blocks(), 0);
}

/* ---- lists and maps ---------------------------------------------------------------------------------------------- */

static void items_are_read(void **state) {
    krait_value        map = price_map(), empty = tree_value(0, NULL);
    const krait_value *item;
    const char        *key;
    int64_t            seven;
    (void)state;
    assert_int_equal(krait_map_len(&map), 4);
    assert_int_equal(krait_list_len(&map), 0);
    assert_int_equal(krait_map_len(NULL) + krait_list_len(NULL) + krait_list_len(&empty), 0);
    GOOD(krait_map_get(&map, "when", &item, &err));
    assert_int_equal(krait_list_len(item), 2);
    assert_int_equal(krait_map_len(item), 0);
    GOOD(krait_list_at(item, 0, &item, &err));
    GOOD(krait_get_i64(item, &seven, &err));
    assert_int_equal(seven, 7);
    for (size_t i = 0; i < 4; i++) {
        GOOD(krait_map_at(&map, i, &key, &item, &err));
        assert_ptr_equal(item, &map.as.list.items[i]);
        assert_string_equal(key, map.as.list.keys[i]);
    }
    krait_value_clear(&map);
    krait_value_clear(&empty);
}

static void items_are_refused(void **state) {
    krait_value        map = price_map(), list = tree_value(3, NULL), empty = tree_value(0, NULL), one = krait_i64(1);
    const krait_value *item = &map;
    const char        *key = "old";
    (void)state;
    SAYS(krait_map_get(&map, "close", &item, &err), KRAIT_E_NOT_FOUND,
         "no item 'close' in map of 4 items: 'open', 'volume', 'name', 'when'");
    assert_null(item);
    SAYS(krait_list_at(&list, 3, &item, &err), KRAIT_E_NOT_FOUND, "no item 3 in list of 3 items (0 to 2)");
    SAYS(krait_list_at(&empty, 0, &item, &err), KRAIT_E_NOT_FOUND, "no item 0 in list of 0 items");
    SAYS(krait_map_at(&map, SIZE_MAX, &key, &item, &err), KRAIT_E_NOT_FOUND,
         "no item 18446744073709551615 in map of 4 items (0 to 3)");
    assert_true(key == NULL && item == NULL);
    SAYS(krait_list_at(&map, 0, &item, &err), KRAIT_E_KIND, "value is map of 4 items, expected a list");
    SAYS(krait_map_at(&list, 0, &key, &item, &err), KRAIT_E_KIND, "value is list of 3 items, expected a map");
    SAYS(krait_map_get(&one, "x", &item, &err), KRAIT_E_KIND, "value is int, expected a map");
    krait_value_clear(&map);
    krait_value_clear(&list);
    krait_value_clear(&empty);
}

/* As a caller may write them by hand. */
static void items_that_are_missing(void **state) {
    const char        *keys[2] = { "a", NULL };
    krait_value        items[2] = { krait_i64(1), krait_i64(2) }, map = krait_make_(KRAIT_KIND_MAP), copy;
    const krait_value *item;
    const char        *key;
    krait_array        array;
    (void)state;
    map.as.list.items = NULL;
    map.as.list.keys = keys;
    map.as.list.count = 2;
    SAYS(krait_map_get(&map, "a", &item, &err), KRAIT_E_ARGUMENT, "items of the map are NULL");
    SAYS(krait_value_copy(&map, &copy, &err), KRAIT_E_ARGUMENT, "items of the map are NULL");
    map.as.list.items = items;
    SAYS(krait_map_get(&map, "a", &item, &err), KRAIT_E_ARGUMENT, "key 1 of the map is NULL");
    SAYS(krait_map_at(&map, 1, &key, &item, &err), KRAIT_E_ARGUMENT, "key 1 of the map is NULL");
    SAYS(krait_get_column(&map, "a", KRAIT_ANY, &array, &err), KRAIT_E_ARGUMENT, "key 1 of the map is NULL");
    SAYS(krait_value_copy(&map, &copy, &err), KRAIT_E_ARGUMENT, "key 1 of the map is NULL");
    map.as.list.keys = NULL;
    SAYS(krait_map_at(&map, 0, &key, &item, &err), KRAIT_E_ARGUMENT, "keys of the map are NULL");
    map.kind = KRAIT_KIND_LIST;
    GOOD(krait_list_at(&map, 1, &item, &err));
    map.as.list.items = NULL;
    SAYS(krait_list_at(&map, 1, &item, &err), KRAIT_E_ARGUMENT, "items of the list are NULL");
}

static void long_lists_of_names_are_cut(void **state) {
    char               names[25][16], wide[400], message[1024];
    const char        *keys[25];
    krait_value        map;
    const krait_value *item;
    size_t             at = 0;
    (void)state;
    for (int i = 0; i < 25; i++) snprintf(names[i], sizeof names[i], "k%d", i), keys[i] = names[i];
    map = tree_value(25, keys);
    at += (size_t)snprintf(message, sizeof message, "no item 'x' in map of 25 items: 'k0'");
    for (int i = 1; i < 20; i++) at += (size_t)snprintf(message + at, sizeof message - at, ", 'k%d'", i);
    snprintf(message + at, sizeof message - at, " and 5 more");
    SAYS(krait_map_get(&map, "x", &item, &err), KRAIT_E_NOT_FOUND, message);
    krait_value_clear(&map);
    /* 133 euro signs of three bytes: 33 whole ones are shown of each name */
    for (size_t i = 0; i < 399; i++) wide[i] = "\xe2\x82\xac"[i % 3];
    wide[399] = 0;
    keys[0] = wide;
    map = tree_value(1, keys);
    snprintf(message, sizeof message, "no item '%.99s' in map of 1 item: '%.99s'", wide, wide);
    wide[398] = 'x'; /* now another name */
    SAYS(krait_map_get(&map, wide, &item, &err), KRAIT_E_NOT_FOUND, message);
    krait_value_clear(&map);
}

/* ---- NULL, and errors that stick --------------------------------------------------------------------------------- */

/* Every reader once; `value`, `name` and the places as given. */
static void each_reader(const krait_value *value, const krait_array *array, const char *name, bool places,
                        void (*check_one)(krait_status)) {
    bool               b = true;
    int64_t            i64 = 1;
    uint64_t           u64 = 1;
    double             re = 1, im = 1;
    const char        *text = "old", *key = "old";
    const void        *data = "old";
    size_t             size = 1;
    const krait_value *item = value;
    krait_array        out = { .size = 1 };
    krait_value        copy = krait_i64(1);
    check_one(krait_get_bool(value, places ? &b : NULL, &err));
    check_one(krait_get_i64(value, places ? &i64 : NULL, &err));
    check_one(krait_get_u64(value, places ? &u64 : NULL, &err));
    check_one(krait_get_f64(value, places ? &re : NULL, &err));
    check_one(krait_get_complex(value, places ? &re : NULL, places ? &im : NULL, &err));
    check_one(krait_get_complex(value, &re, places ? &im : NULL, &err));
    check_one(krait_get_text(value, places ? &text : NULL, places ? &size : NULL, &err));
    check_one(krait_get_bytes(value, places ? &data : NULL, places ? &size : NULL, &err));
    check_one(krait_get_bytes(value, &data, places ? &size : NULL, &err));
    check_one(krait_get_array(value, KRAIT_ANY, -1, places ? &out : NULL, &err));
    check_one(krait_get_column(value, name, KRAIT_ANY, places ? &out : NULL, &err));
    check_one(krait_array_field(array, name, KRAIT_ANY, places ? &out : NULL, &err));
    check_one(krait_list_at(value, 0, places ? &item : NULL, &err));
    check_one(krait_map_get(value, name, places ? &item : NULL, &err));
    check_one(krait_map_at(value, 0, places ? &key : NULL, places ? &item : NULL, &err));
    check_one(krait_map_at(value, 0, &key, places ? &item : NULL, &err));
    check_one(krait_value_copy(value, places ? &copy : NULL, &err));
    if (!places) return;
    assert_true(!b && !i64 && !u64 && re == 0 && im == 0 && !size && !out.size);
    assert_true(!text && !key && !data && !item && copy.kind == KRAIT_KIND_NONE);
}

static void is_an_argument_error(krait_status status) {
    assert_int_equal(status, KRAIT_E_ARGUMENT);
    assert_int_equal(krait_error_status(err), KRAIT_E_ARGUMENT);
    assert_non_null(strstr(krait_error_message(err), " is NULL"));
    krait_error_clear(&err);
}

static void is_stuck(krait_status status) {
    assert_int_equal(status, KRAIT_E_TIMEOUT);
    assert_string_equal(krait_error_message(err), "the first");
}

static void null_is_refused(void **state) {
    krait_value map = price_map();
    krait_array array = { .dtype = { KRAIT_STRUCT, 0, 0, 0, 8, { 0 } } };
    krait_array out;
    (void)state;
    each_reader(NULL, NULL, "open", true, is_an_argument_error);
    each_reader(&map, &array, "open", false, is_an_argument_error);
    SAYS(krait_get_column(&map, NULL, KRAIT_ANY, &out, &err), KRAIT_E_ARGUMENT, "name is NULL");
    SAYS(krait_array_field(&array, NULL, KRAIT_ANY, &out, &err), KRAIT_E_ARGUMENT, "name is NULL");
    SAYS(krait_map_get(&map, NULL, &(const krait_value *){ NULL }, &err), KRAIT_E_ARGUMENT, "key is NULL");
    assert_int_equal(krait_get_i64(NULL, NULL, NULL), KRAIT_E_ARGUMENT); /* no place for the error either */
    krait_value_clear(&map);
}

static void errors_stick(void **state) {
    krait_value map = price_map();
    krait_array array = { 0 };
    (void)state;
    krait__fail(&err, KRAIT_E_TIMEOUT, "the first");
    each_reader(&map, &array, "open", true, is_stuck);
    each_reader(NULL, NULL, NULL, false, is_stuck);
    krait_error_clear(&err);
    krait_value_clear(&map);
}

/* ---- clear and trees --------------------------------------------------------------------------------------------- */

static struct {
    int          calls;
    krait_value *value; /* to be none already */
    void        *order[8];
} released;

static void count_release(void *owner) {
    if (released.value) assert_int_equal(released.value->kind, KRAIT_KIND_NONE);
    if (released.calls < 8) released.order[released.calls] = owner;
    released.calls++;
}

static void clear_releases_once(void **state) {
    int         mark;
    krait_value value = krait_owned(krait_vector_f64(prices, 6), count_release, &mark), moved, borrowed;
    (void)state;
    memset(&released, 0, sizeof released);
    released.value = &value;
    borrowed = krait_borrow(&value);
    krait_value_clear(&borrowed);
    assert_int_equal(released.calls, 0);
    krait_value_clear(&value);
    krait_value_clear(&value);
    assert_int_equal(released.calls, 1);
    assert_ptr_equal(released.order[0], &mark);
    assert_true(value.release == NULL && value.owner == NULL && value.flags == 0);
    value = krait_owned(krait_str("x"), count_release, NULL);
    moved = value;
    released.value = &moved;
    krait_value_clear(&moved);
    assert_int_equal(released.calls, 2);
    krait_value_clear(NULL);
    value = krait_none();
    krait_value_clear(&value);
    assert_int_equal(released.calls, 2);
}

static void trees_release_items_then_the_object(void **state) {
    int          marks[3];
    krait_value  list = tree_value(2, NULL);
    krait__tree *tree = list.owner;
    (void)state;
    memset(&released, 0, sizeof released);
    list.as.list.items[0] = krait_owned(krait_i64(1), count_release, &marks[0]);
    list.as.list.items[1] = krait_owned(krait_i64(1), count_release, &marks[1]);
    tree->object = &marks[2];
    tree->object_release = count_release;
    krait_value_clear(&list);
    assert_int_equal(released.calls, 3);
    for (int i = 0; i < 3; i++) assert_ptr_equal(released.order[i], &marks[i]);
    krait__tree_release(NULL);
    assert_null(krait__tree_new(SIZE_MAX / 8, true, 0));
    assert_null(krait__tree_new(1, true, SIZE_MAX));
    assert_null(krait__tree_new(SIZE_MAX / sizeof(krait_value) + 1, false, 0));
    assert_null(krait__struct_new(SIZE_MAX / 8));
    krait__struct_free(NULL);
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static void scalars_are_copied(void **state) {
    krait_value values[] = { krait_none(), krait_bool(true), krait_i64(-5), krait_u64(UINT64_MAX), krait_f64(0.1),
                             krait_complex(1, -2) };
    krait_value copy;
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        krait_value owned = krait_owned(values[i], count_release, NULL); /* the copy must not own it too */
        GOOD(krait_value_copy(&owned, &copy, &err));
        assert_int_equal(copy.kind, values[i].kind);
        assert_true(copy.release == NULL && copy.owner == NULL && copy.flags == 0);
    }
    assert_true(copy.as.complex.re == 1 && copy.as.complex.im == -2);
    krait_value_copy(&values[1], &copy, NULL);
    assert_true(copy.as.b);
    krait_value_copy(&values[2], &copy, NULL);
    assert_int_equal(copy.as.i64, -5);
    krait_value_copy(&values[3], &copy, NULL);
    assert_true(copy.as.u64 == UINT64_MAX);
    krait_value_copy(&values[4], &copy, NULL);
    assert_true(copy.as.f64 == 0.1);
}

static void text_is_copied(void **state) {
    char        memory[] = { 'a', 0, 'b', 'X' };
    krait_value text = krait_text(memory, 3), bytes = krait_bytes(memory, 3), empty = krait_bytes(NULL, 0);
    krait_value lost = krait_str(NULL), odd = krait_make_(77), copy;
    (void)state;
    GOOD(krait_value_copy(&text, &copy, &err));
    memset(memory, '?', sizeof memory);
    assert_int_equal(copy.kind, KRAIT_KIND_TEXT);
    assert_int_equal(copy.as.bytes.size, 3);
    assert_memory_equal(copy.as.bytes.data, "a\0b", 4); /* and a NUL after it */
    krait_value_clear(&copy);
    GOOD(krait_value_copy(&bytes, &copy, &err));
    assert_int_equal(copy.kind, KRAIT_KIND_BYTES);
    assert_memory_equal(copy.as.bytes.data, "???", 3);
    krait_value_clear(&copy);
    GOOD(krait_value_copy(&empty, &copy, &err));
    assert_int_equal(copy.as.bytes.size, 0);
    krait_value_clear(&copy);
    SAYS(krait_value_copy(&lost, &copy, &err), KRAIT_E_ARGUMENT, "text is NULL, expected 0 bytes");
    SAYS(krait_value_copy(&odd, &copy, &err), KRAIT_E_UNSUPPORTED, "value is of unknown kind 77");
    SAYS(krait_value_copy(&bytes, &bytes, &err), KRAIT_E_ARGUMENT, "out is the value itself");
    assert_int_equal(bytes.kind, KRAIT_KIND_BYTES);
    assert_int_equal(krait__mem_blocks(), 0);
}

static void times_and_decimals_are_copied(void **state) {
    char             zone[] = "Europe/Berlin", digits[] = "12.50";
    krait_value      zoned = krait_time_in(krait_datetime(KRAIT_MS, 1), 1700000000000, zone), copy;
    krait_value      plain = krait_time(krait_timedelta(KRAIT_S, 25), INT64_MIN), decimal = krait_decimal(digits);
    krait_value      bad = krait_time(krait_f64_type(), 1), lost = krait_decimal(NULL), object;
    krait_time_parts parts;
    const char      *text;
    size_t           size;
    (void)state;
    GOOD(krait_value_copy(&zoned, &copy, &err));
    memset(zone, '?', sizeof zone - 1);
    GOOD(krait_get_time(&copy, &parts, &err));
    assert_string_equal(parts.zone, "Europe/Berlin");
    assert_true(parts.ticks == 1700000000000 && parts.dtype.code == KRAIT_DATETIME && parts.dtype.unit == KRAIT_MS);
    krait_value_clear(&copy);
    GOOD(krait_value_copy(&plain, &copy, &err));
    assert_true(copy.kind == KRAIT_KIND_TIME && !copy.release && !copy.owner);
    GOOD(krait_get_time(&copy, &parts, &err));
    assert_true(parts.ticks == INT64_MIN && parts.dtype.of.count == 25 && !parts.zone);
    GOOD(krait_value_copy(&decimal, &copy, &err));
    memset(digits, '?', sizeof digits - 1);
    assert_int_equal(copy.kind, KRAIT_KIND_DECIMAL);
    GOOD(krait_get_text(&copy, &text, &size, &err));
    assert_true(!strcmp(text, "12.50") && size == 5);
    krait_value_clear(&copy);
    assert_int_equal(krait_value_copy(&bad, &copy, &err), KRAIT_E_ARGUMENT);
    krait_error_clear(&err);
    assert_int_equal(krait_value_copy(&lost, &copy, &err), KRAIT_E_ARGUMENT);
    krait_error_clear(&err);
    object = krait_make_(KRAIT_KIND_OBJECT);
    SAYS(krait_value_copy(&object, &copy, &err), KRAIT_E_UNSUPPORTED, "a Python object cannot be copied into C memory");
    object.kind = KRAIT_KIND_ITERATOR;
    SAYS(krait_value_copy(&object, &copy, &err), KRAIT_E_UNSUPPORTED, "a Python object cannot be copied into C memory");
    assert_int_equal(krait__mem_blocks(), 0);
}

static void fixed_text_is_copied(void **state) {
    static const uint32_t points[] = { 'a', 0x20ac, 0, 'b', 0, 0 }; /* U3, twice */
    uint32_t              turned[6];
    krait_value           value = krait_vector(turned, swapped(krait_fixed_text(3)), 2), copy;
    krait_array           array;
    (void)state;
    for (int i = 0; i < 6; i++) turned[i] = __builtin_bswap32(points[i]);
    GOOD(krait_value_copy(&value, &copy, &err));
    GOOD(krait_get_array(&copy, KRAIT_FIXED_TEXT, 1, &array, &err));
    assert_true(!array.dtype.swapped && array.dtype.item_size == 12);
    assert_memory_equal(array.data, points, sizeof points);
    krait_value_clear(&copy);
    value = krait_vector("abcdef", swapped(krait_fixed_bytes(2)), 3); /* bytes have no order */
    GOOD(krait_value_copy(&value, &copy, &err));
    GOOD(krait_get_array(&copy, KRAIT_FIXED_BYTES, 1, &array, &err));
    assert_memory_equal(array.data, "abcdef", 6);
    krait_value_clear(&copy);
    assert_int_equal(krait__mem_blocks(), 0);
}

static void tables_are_copied(void **state) {
    krait_value        table = price_table(), lost = krait_table_value(NULL), copy;
    const krait_table *own;
    krait_column       column;
    const char        *text;
    size_t             size;
    (void)state;
    GOOD(krait_value_copy(&table, &copy, &err));
    krait_value_clear(&table);
    assert_int_equal(copy.kind, KRAIT_KIND_TABLE);
    GOOD(krait_get_table(&copy, &own, &err));
    assert_true(krait_table_rows(own) == 3 && krait_table_column_count(own) == 4);
    GOOD(krait_table_column(own, 0, &column, &err));
    assert_int_equal(column.stride, 8); /* no gaps any more */
    assert_true(((const double *)column.data)[1] == prices[2] && column.flags & KRAIT_ARRAY_COPIED);
    assert_true((const double *)column.data < prices || (const double *)column.data >= prices + 6);
    GOOD(krait_table_find(own, "volume", &column, &err));
    assert_true(krait_column_has(&column, 0) && !krait_column_has(&column, 1) && krait_column_has(&column, 2));
    GOOD(krait_table_find(own, "name", &column, &err));
    text = krait_column_text(&column, 2, &size);
    assert_true(size == 4 && !memcmp(text, "msft", 4));
    assert_null(krait_column_text(&column, 1, &size));
    krait_value_clear(&copy);
    SAYS(krait_value_copy(&lost, &copy, &err), KRAIT_E_ARGUMENT, "table is NULL, expected one of krait_table_new");
    assert_int_equal(krait__mem_blocks(), 0);
}

static void records_are_copied(void **state) {
    char                 data[6 * 40];
    struct krait_struct *bar = bar_type();
    int64_t              shape[] = { 3 }, strides[] = { -80 };
    krait_value          every_other = krait_ndarray(data + 4 * 40, struct_type(bar, 40), 1, shape, strides), copy;
    krait_array          array, field;
    const krait_field   *fields;
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)i;
    GOOD(krait_value_copy(&every_other, &copy, &err));
    krait__struct_free(bar); /* the copy has its own */
    GOOD(krait_get_array(&copy, KRAIT_STRUCT, 1, &array, &err));
    for (int i = 0; i < 3; i++) assert_memory_equal((char *)array.data + 40 * i, data + 160 - 80 * i, 40);
    memset(data, 0, sizeof data);
    assert_int_equal(krait_dtype_fields(array.dtype, &fields), 7);
    assert_string_equal(fields[1].name, "close");
    assert_int_equal(fields[1].dtype.swapped, 1);
    assert_true(fields[4].ndim == 1 && fields[4].shape[0] == 2);
    GOOD(krait_array_field(&array, "at", KRAIT_STRUCT, &field, &err));
    GOOD(krait_array_field(&field, "n", KRAIT_I16, &field, &err));
    krait_value_clear(&copy);
    assert_int_equal(krait__mem_blocks(), 0);
}

static void trees_are_copied(void **state) {
    krait_value        map = price_map(), copy;
    const krait_value *item;
    krait_array        array;
    const char        *text;
    int64_t            seven;
    (void)state;
    GOOD(krait_value_copy(&map, &copy, &err));
    krait_value_clear(&map);
    GOOD(krait_get_column(&copy, "open", KRAIT_F64, &array, &err));
    assert_ptr_not_equal(array.data, prices);
    assert_memory_equal(array.data, prices, sizeof prices);
    GOOD(krait_map_get(&copy, "name", &item, &err));
    GOOD(krait_get_text(item, &text, NULL, &err));
    assert_string_equal(text, "goog");
    GOOD(krait_map_get(&copy, "when", &item, &err));
    GOOD(krait_list_at(item, 0, &item, &err));
    GOOD(krait_get_i64(item, &seven, &err));
    assert_int_equal(seven, 7);
    krait_value_clear(&copy);
    assert_int_equal(krait__mem_blocks(), 0);
}

/* n lists, one in the other. */
static krait_value nest(int n) {
    krait_value value = tree_value(0, NULL);
    for (int i = 1; i < n; i++) {
        krait_value outer = tree_value(1, NULL);
        outer.as.list.items[0] = value;
        value = outer;
    }
    return value;
}

static void copies_are_bounded_in_depth(void **state) {
    krait_value deepest = nest(KRAIT__DEPTH_MAX), beyond = nest(KRAIT__DEPTH_MAX + 1), copy;
    (void)state;
    GOOD(krait_value_copy(&deepest, &copy, &err));
    krait_value_clear(&copy);
    SAYS(krait_value_copy(&beyond, &copy, &err), KRAIT_E_UNSUPPORTED, "lists and maps are nested deeper than 64");
    krait_value_clear(&deepest);
    krait_value_clear(&beyond);
    assert_int_equal(krait__mem_blocks(), 0);
}

/* ---- random arrays against a naive reference --------------------------------------------------------------------- */

static uint64_t rng;

static uint64_t draw(uint64_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % n;
}

struct sample {
    krait_dtype dtype;
    int32_t     ndim;
    int64_t     shape[KRAIT_MAX_NDIM], strides[KRAIT_MAX_NDIM];
    int64_t     size, before, behind; /* bytes reached on either side of the first element */
};

static krait_dtype random_dtype(void) {
    krait_dtype dtype = krait_f64_type();
    switch (draw(16) + 1) {
#define CASE(NAME, name, code, type, bytes, text)                                                                      \
    case code: dtype = krait_##name##_type(); break;
        KRAIT_DTYPE_MAP(CASE)
#undef CASE
        case KRAIT_DATETIME: dtype = krait_datetime(KRAIT_NS, 3); break;
        default: dtype = krait_timedelta(KRAIT_GENERIC, 1);
    }
    dtype.swapped = (uint8_t)draw(2);
    return dtype;
}

/* C order of the dimensions taken in random order, some turned round, some widened, some still. */
static void random_strides(struct sample *s) {
    int32_t order[KRAIT_MAX_NDIM];
    int64_t step = s->dtype.item_size;
    bool    plain = draw(4) == 0, fortran = draw(4) == 0, shuffled = draw(2) == 0;
    for (int32_t i = 0; i < s->ndim; i++) order[i] = fortran ? i : s->ndim - 1 - i;
    for (int32_t i = s->ndim - 1; shuffled && i > 0; i--) {
        int32_t j = (int32_t)draw((uint64_t)i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (int32_t i = 0; i < s->ndim; i++) {
        int64_t length = s->shape[order[i]], stride = step;
        if (!plain && draw(3) == 0) stride += (int64_t)draw(9); /* misaligned at times */
        if (!plain && draw(4) == 0) stride = -stride;
        if (!plain && draw(8) == 0) stride = 0;
        if (length == 1 && draw(2)) stride = (int64_t)draw(1000) - 500; /* never taken */
        s->strides[order[i]] = stride;
        if (length > 1) step = step > llabs(stride) * length ? step : llabs(stride) * length;
    }
}

static void random_sample(struct sample *s) {
    s->dtype = random_dtype();
    s->ndim = (int32_t)(draw(10) ? draw(6) : draw(KRAIT_MAX_NDIM + 1));
    s->size = 1;
    s->before = 0;
    s->behind = s->dtype.item_size;
    for (int32_t i = 0; i < s->ndim; i++) {
        s->shape[i] = s->ndim < 6 ? (int64_t)draw(5) + (draw(20) != 0) : 1 + (draw(8) == 0);
        s->size *= s->shape[i];
    }
    random_strides(s);
    for (int32_t i = 0; i < s->ndim; i++) {
        int64_t span = s->size ? (s->shape[i] - 1) * s->strides[i] : 0;
        if (span < 0)
            s->before -= span;
        else
            s->behind += span;
    }
}

/* Where element k, in C order, lies from the first one. */
static int64_t offset_of(const struct sample *s, int64_t k) {
    int64_t offset = 0;
    for (int32_t i = s->ndim - 1; i >= 0; i--) {
        offset += k % s->shape[i] * s->strides[i];
        k /= s->shape[i];
    }
    return offset;
}

/* Number in C order of the k-th element in Fortran order. */
static int64_t fortran_at(const struct sample *s, int64_t k) {
    int64_t number = 0, weight = s->size;
    for (int32_t i = 0; i < s->ndim; i++) {
        weight /= s->shape[i];
        number += k % s->shape[i] * weight;
        k /= s->shape[i];
    }
    return number;
}

static void native_element(char *to, const char *from, krait_dtype dtype) {
    size_t width = dtype.code >= KRAIT_C64 && dtype.code <= KRAIT_C128 ? dtype.item_size / 2 : dtype.item_size;
    for (size_t i = 0; i < dtype.item_size; i++)
        to[i] = from[dtype.swapped ? i / width * width + width - 1 - i % width : i];
}

static uint32_t naive_flags(const struct sample *s, const char *data) {
    uint32_t flags = KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_F_CONTIGUOUS | KRAIT_ARRAY_ALIGNED;
    bool     complex = s->dtype.code == KRAIT_C64 || s->dtype.code == KRAIT_C128;
    int64_t  item = s->dtype.item_size, align = complex ? item / 2 : item;
    for (int64_t k = 0; k < s->size; k++) {
        if (offset_of(s, k) != k * item) flags &= ~(uint32_t)KRAIT_ARRAY_C_CONTIGUOUS;
        if (offset_of(s, fortran_at(s, k)) != k * item) flags &= ~(uint32_t)KRAIT_ARRAY_F_CONTIGUOUS;
        if ((uintptr_t)(data + offset_of(s, k)) % (uintptr_t)align) flags &= ~(uint32_t)KRAIT_ARRAY_ALIGNED;
    }
    return flags;
}

static void check_copy(const struct sample *s, const krait_value *copy, const char *data) {
    krait_array array;
    char        element[16];
    GOOD(krait_get_array(copy, s->dtype.code, s->ndim, &array, &err));
    assert_true((array.flags & KRAIT_ARRAY_C_CONTIGUOUS) && (array.flags & KRAIT_ARRAY_ALIGNED));
    assert_true((array.flags & KRAIT_ARRAY_WRITABLE) && (array.flags & KRAIT_ARRAY_COPIED));
    assert_int_equal(array.dtype.swapped, 0);
    assert_int_equal(array.dtype.unit, s->dtype.unit);
    assert_int_equal(array.size, s->size);
    if (s->ndim) assert_memory_equal(array.shape, s->shape, (size_t)s->ndim * sizeof *s->shape);
    for (int64_t k = 0; k < s->size; k++) {
        native_element(element, data + offset_of(s, k), s->dtype);
        assert_memory_equal((char *)array.data + k * s->dtype.item_size, element, s->dtype.item_size);
    }
}

static void try_sample(void) {
    struct sample s;
    size_t        slack = (size_t)draw(9), bytes;
    char         *memory, *data;
    krait_value   value, copy;
    krait_array   array;
    const char   *lo, *hi;
    int64_t       size;
    random_sample(&s);
    if (s.before + s.behind > 1 << 20) return;
    bytes = (size_t)(s.before + s.behind) + slack; /* not a byte more, so that ASan sees every step too far */
    memory = malloc(bytes);
    assert_non_null(memory);
    for (size_t i = 0; i < bytes; i++) memory[i] = (char)draw(256);
    data = memory + slack + s.before;
    value = krait_ndarray(data, s.dtype, s.ndim, s.shape, s.strides);
    GOOD(krait__array_check(&value, &lo, &hi, &size, &err));
    assert_int_equal(size, s.size);
    assert_ptr_equal(lo, s.size ? data - s.before : data);
    assert_ptr_equal(hi, s.size ? data + s.behind : data);
    GOOD(krait_get_array(&value, KRAIT_ANY, -1, &array, &err));
    assert_int_equal(array.flags, naive_flags(&s, data));
    GOOD(krait_value_copy(&value, &copy, &err));
    check_copy(&s, &copy, data);
    krait_value_clear(&copy);
    free(memory);
}

static void random_arrays_are_copied(void **state) {
    const char *seed = getenv("KRAIT_TEST_SEED");
    uint64_t    start = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    (void)state;
    rng = start ? start : 1;
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", rng);
    for (int i = 0; i < 4000; i++) try_sample();
    assert_int_equal(krait__mem_blocks(), 0);
}

/* ---- no memory, many threads ------------------------------------------------------------------------------------- */

#ifdef KRAIT_FAULTS
/* A map with one of everything that owns memory. */
static krait_value everything(struct krait_struct *bar) {
    static char          records[80];
    static const int64_t shape[] = { 1, 2, 1, 3 }, strides[] = { 0, -8, 0, 8 };
    static const char   *keys[] = { "text", "bytes", "array", "records", "list", "map", "time", "decimal", "table" };
    krait_value          map = tree_value(COUNT(keys), keys), list = tree_value(2, NULL);
    list.as.list.items[0] = krait_str("a");
    list.as.list.items[1] = krait_vector_f64(prices, 6);
    map.as.list.items[0] = krait_str("hello");
    map.as.list.items[1] = krait_bytes("hello", 5);
    map.as.list.items[2] = krait_ndarray(prices + 1, krait_f64_type(), 4, shape, strides);
    map.as.list.items[3] = krait_vector(records, struct_type(bar, 40), 2);
    map.as.list.items[4] = list;
    map.as.list.items[5] = price_map();
    map.as.list.items[6] = krait_time_in(krait_datetime(KRAIT_S, 1), 90, "UTC");
    map.as.list.items[7] = krait_decimal("1E+3");
    map.as.list.items[8] = price_table();
    return map;
}

static void copies_survive_want_of_memory(void **state) {
    struct krait_struct *bar = bar_type();
    krait_value          map = everything(bar), copy;
    uint64_t             blocks = krait__mem_blocks(), needed;
    krait_status         status;
    (void)state;
    krait__mem_fail_at(0);
    GOOD(krait_value_copy(&map, &copy, &err));
    needed = krait__mem_count();
    krait_value_clear(&copy);
    assert_true(needed > 20);
    for (uint64_t n = 1; n <= needed; n++) {
        krait__mem_fail_at(n);
        status = krait_value_copy(&map, &copy, &err);
        krait__mem_fail_at(0);
        SAYS(status, KRAIT_E_NOMEM, "out of memory");
        assert_int_equal(copy.kind, KRAIT_KIND_NONE);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
    krait_value_clear(&map);
    krait__struct_free(bar);
    assert_int_equal(krait__mem_blocks(), 0);
}

/* Without memory for the message there is still a status, and nothing is lost. */
static void refusals_survive_want_of_memory(void **state) {
    krait_value        map = price_map();
    uint64_t           blocks = krait__mem_blocks(), needed;
    const krait_value *item;
    (void)state;
    krait__mem_fail_at(0);
    krait_map_get(&map, "close", &item, &err);
    needed = krait__mem_count();
    krait_error_clear(&err);
    assert_true(needed > 5);
    for (uint64_t n = 1; n <= needed; n++) {
        krait_status status;
        krait__mem_fail_at(n);
        status = krait_map_get(&map, "close", &item, &err);
        krait__mem_fail_at(0);
        assert_non_null(err);
        assert_true(status == KRAIT_E_NOT_FOUND || status == KRAIT_E_NOMEM);
        assert_null(item);
        krait_error_clear(&err);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
    krait_value_clear(&map);
}
#endif

/* Assertions must not leave a thread by longjmp: it counts instead. */
static void *read_and_copy(void *shared) {
    const krait_value *map = &((const krait_value *)shared)[0], *table = &((const krait_value *)shared)[1];
    size_t             wrong = 0;
    for (int i = 0; i < 200; i++) {
        krait_value  copy;
        krait_array  array;
        krait_error *own = NULL;
        if (krait_value_copy(map, &copy, &own)) wrong++;
        if (krait_get_column(&copy, "open", KRAIT_F64, &array, &own)) wrong++;
        if (!own && memcmp(array.data, prices, sizeof prices) != 0) wrong++;
        if (krait_get_column(map, "close", KRAIT_F64, &array, &own) != KRAIT_E_NOT_FOUND) wrong++;
        krait_error_clear(&own);
        krait_value_clear(&copy);
        if (krait_value_copy(table, &copy, &own)) wrong++;
        if (krait_get_column(&copy, "open", KRAIT_F64, &array, &own) != KRAIT_E_AMBIGUOUS) wrong++;
        krait_error_clear(&own);
        krait_value_clear(&copy);
        krait__table_release(krait__table_ref(table->as.table)); /* as an exported array does */
    }
    return (void *)(uintptr_t)wrong;
}

static void several_threads_read_the_same(void **state) {
    krait_value both[] = { price_map(), price_table() };
    pthread_t   threads[4];
    void       *wrong[4] = { NULL };
    int         started = 0;
    (void)state;
    while (started < 4 && pthread_create(&threads[started], NULL, read_and_copy, both) == 0) started++;
    for (int i = 0; i < started; i++) pthread_join(threads[i], &wrong[i]);
    krait_value_clear(&both[0]); /* only now may an assertion leave: the threads read this stack */
    krait_value_clear(&both[1]);
    assert_int_equal(started, 4);
    for (int i = 0; i < 4; i++) assert_null(wrong[i]);
    assert_int_equal(krait__mem_blocks(), 0);
}

static int forget_error(void **state) {
    (void)state;
    krait_error_clear(&err);
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, forget_error)
    const struct CMUnitTest tests[] = {
        TEST(names_are_numpys),
        TEST(names_tell_the_other_byte_order),
        TEST(names_are_cut_like_snprintf),
        TEST(values_are_described),
        TEST(check_refuses_dtypes),
        TEST(check_refuses_shapes),
        TEST(check_refuses_strides),
        TEST(check_finds_the_span),
        TEST(numbers_that_fit),
        TEST(unsigned_numbers),
        TEST(floats_as_integers),
        TEST(numbers_of_another_kind),
        TEST(zero_d_numbers),
        TEST(zero_d_that_are_no_numbers),
        TEST(halves),
        TEST(text_is_read),
        TEST(bytes_are_read),
        TEST(arrays_are_read),
        TEST(arrays_are_refused),
        TEST(columns_of_maps),
        TEST(tables_of_one_column_are_arrays),
        TEST(columns_of_tables),
        TEST(fields_of_records),
        TEST(fields_are_refused),
        TEST(lists_and_maps_are_made),
        TEST(items_are_read),
        TEST(items_are_refused),
        TEST(items_that_are_missing),
        TEST(long_lists_of_names_are_cut),
        TEST(null_is_refused),
        TEST(errors_stick),
        TEST(clear_releases_once),
        TEST(trees_release_items_then_the_object),
        TEST(scalars_are_copied),
        TEST(text_is_copied),
        TEST(times_and_decimals_are_copied),
        TEST(fixed_text_is_copied),
        TEST(tables_are_copied),
        TEST(records_are_copied),
        TEST(trees_are_copied),
        TEST(copies_are_bounded_in_depth),
        TEST(random_arrays_are_copied),
#ifdef KRAIT_FAULTS
        TEST(copies_survive_want_of_memory),
        TEST(refusals_survive_want_of_memory),
#endif
        TEST(several_threads_read_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
