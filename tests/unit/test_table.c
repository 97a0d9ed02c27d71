/* table and column: what every way of building takes, refuses and says; reading; copies against a naive reference on
 * random tables; every allocation failed in turn. Build with -DKRAIT_FAULTS. KRAIT_TEST_SEED repeats a random run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
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

static krait_table *new_table(void) {
    krait_table *table = krait_table_new(&err);
    assert_null(err);
    assert_non_null(table);
    return table;
}

static void free_table(krait_table *table) {
    krait_table_free(table);
    assert_int_equal(krait__mem_blocks(), 0);
}

static krait_dtype swapped(krait_dtype dtype) {
    dtype.swapped = 1;
    return dtype;
}

/* Counts how often it was released. */
static int released;
static void release(void *user) {
    released += *(int *)user;
}
static int one = 1;

static krait_column column_of(uint8_t kind, const char *name, int64_t rows) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.name = name;
    column.kind = kind;
    column.rows = rows;
    return column;
}

static krait_column array_column(const char *name, const void *data, krait_dtype dtype, int64_t rows) {
    krait_column column = column_of(KRAIT_COLUMN_ARRAY, name, rows);
    column.dtype = dtype;
    column.data = data;
    column.stride = (int64_t)dtype.item_size;
    return column;
}

static krait_column text_column(const char *name, const char *data, int64_t bytes, const void *offsets, int32_t width,
                                int64_t rows) {
    krait_column column = column_of(KRAIT_COLUMN_TEXT, name, rows);
    column.data = data;
    column.data_bytes = bytes;
    column.offsets = offsets;
    column.offset_bytes = width;
    return column;
}

static const double  prices[] = { 1.5, 2.5, 3.5, 4.5, 5.5, 6.5 };
static const int32_t abc_offsets[] = { 0, 1, 3, 6 }; /* "a", "bb", "ccc" */

static krait_column abc_column(const char *name) {
    return text_column(name, "abbccc", 6, abc_offsets, 4, 3);
}

static void text_is(const krait_column *column, int64_t row, const char *expected) {
    size_t      size;
    const char *text = krait_column_text(column, row, &size);
    if (!expected) {
        assert_null(text);
        assert_int_equal(size, 0);
        return;
    }
    assert_non_null(text);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(text, expected, size);
}

/* ---- memory and lifetime ----------------------------------------------------------------------------------------- */

static char order[8];
static void note(void *user) {
    strcat(order, user);
}

static void kept_things_go_with_the_last_reference(void **state) {
    krait_table *table = krait__table_new(3), *shared;
    (void)state;
    order[0] = 0;
    assert_true(krait__table_keep(table, note, (char[]){ "1" }));
    assert_true(krait__table_keep(table, note, (char[]){ "2" }));
    table->object = (char[]){ "o" };
    table->object_release = note;
    shared = krait__table_ref(table);
    assert_ptr_equal(shared, table);
    krait__table_release(table);
    assert_string_equal(order, "");
    krait_table_free(shared);
    assert_string_equal(order, "21o");
    krait__table_release(NULL);
    krait_table_free(NULL);
    assert_int_equal(krait__mem_blocks(), 0);
}

/* The description of what is kept may lie in the table's own memory. */
static void release_in_block(void *user) {
    *(char *)user = 'x';
}

static void blocks_are_aligned_and_last_longest(void **state) {
    krait_table *table = krait__table_new(-1);
    (void)state;
    for (size_t size = 0; size < 200; size++) {
        char *made = krait__table_alloc(table, size);
        assert_int_equal((uintptr_t)made % 64, 0);
        memset(made, 1, size); /* ASan sees a byte too many */
    }
    assert_string_equal(krait__table_text(table, "abcdef", 3), "abc");
    assert_string_equal(krait__table_text(table, NULL, 0), "");
    assert_null(krait__table_alloc(table, SIZE_MAX - 8));
    assert_null(krait__table_alloc(table, SIZE_MAX / 2));
    assert_true(krait__table_keep(table, release_in_block, krait__table_alloc(table, 1)));
    free_table(table);
}

static void pushed_columns_are_empty_but_for_name_and_rows(void **state) {
    static const krait_column init = KRAIT_COLUMN_INIT;
    krait_table              *table = krait__table_new(7);
    (void)state;
    for (int i = 0; i < 1000; i++) {
        krait_column *column = krait__table_push(table, i % 2, "names", (size_t)i % 6), rest;
        assert_non_null(column);
        assert_int_equal(strlen(column->name), i % 6);
        rest = *column;
        assert_int_equal(rest.rows, 7);
        rest.rows = 0;
        rest.name = NULL;
        assert_memory_equal(&rest, &init, sizeof rest);
    }
    assert_int_equal(krait_table_column_count(table), 500);
    assert_int_equal(krait_table_index_count(table), 500);
    free_table(table);
}

static void refused_parts_say_why(void **state) {
    krait_table *table = krait__table_new(2);
    krait_column column;
    krait_array  array;
    krait_value  value = krait_table_value(table), copy;
    (void)state;
    krait__table_push(table, false, "odd", 3);
    assert_true(krait__table_refuse(table, false, "column 'odd' has a %s at row %d", "set", 1));
    krait__table_push(table, true, "", 0);
    assert_true(krait__table_refuse(table, true, "no level"));
    assert_string_equal(krait_table_column_name(table, 0), "odd");
    SAYS(krait_table_column(table, 0, &column, &err), KRAIT_E_UNSUPPORTED, "column 'odd' has a set at row 1");
    SAYS(krait_table_find(table, "odd", &column, &err), KRAIT_E_UNSUPPORTED, "column 'odd' has a set at row 1");
    SAYS(krait_table_index(table, 0, &column, &err), KRAIT_E_UNSUPPORTED, "no level");
    SAYS(krait_get_array(&value, KRAIT_ANY, 1, &array, &err), KRAIT_E_UNSUPPORTED, "column 'odd' has a set at row 1");
    GOOD(krait_value_copy(&value, &copy, &err));
    SAYS(krait_table_column(copy.as.table, 0, &column, &err), KRAIT_E_UNSUPPORTED, "column 'odd' has a set at row 1");
    SAYS(krait_table_index(copy.as.table, 0, &column, &err), KRAIT_E_UNSUPPORTED, "no level");
    krait_value_clear(&copy);
    free_table(table);
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

static void ranges_of_all_buffers(void **state) {
    char          memory[200];
    uint8_t       bits[4];
    krait_table  *table = new_table();
    const char   *lo, *hi;
    krait_column  column = array_column("x", memory + 100, krait_i32_type(), 3);
    krait_column  text = text_column("t", memory + 10, 5, abc_offsets, 4, 3);
    (void)state;
    krait__table_hull(table, &lo, &hi);
    assert_true(!lo && !hi);
    assert_false(krait__table_touches(table, memory, memory + 200));
    column.stride = -20; /* rows at 100, 80, 60 */
    memset(memory, 0, sizeof memory);
    GOOD(krait_table_add_column(table, &column, &err));
    krait__table_hull(table, &lo, &hi);
    assert_ptr_equal(lo, memory + 60);
    assert_ptr_equal(hi, memory + 104);
    assert_true(krait__table_touches(table, memory + 60, memory + 61));
    assert_true(krait__table_touches(table, memory + 50, memory + 61));
    assert_true(krait__table_touches(table, memory, memory + 200));
    assert_true(krait__table_touches(table, memory + 103, memory + 200));
    assert_false(krait__table_touches(table, memory, memory + 60));
    assert_false(krait__table_touches(table, memory + 104, memory + 105));
    assert_true(krait__table_touches(table, memory + 60, memory + 60)); /* empty ones */
    assert_true(krait__table_touches(table, memory + 104, memory + 104));
    assert_false(krait__table_touches(table, memory + 59, memory + 59));
    assert_false(krait__table_touches(table, memory + 105, memory + 105));
    text.offsets = (int32_t[]){ 0, 0, 0, 5 };
    text.valid = bits;
    text.valid_offset = 14; /* bits 14 to 16: bytes 1 and 2 */
    memset(bits, 0, sizeof bits);
    GOOD(krait_table_add_index(table, &text, &err));
    assert_true(krait__table_touches(table, memory + 14, memory + 15));
    assert_false(krait__table_touches(table, memory + 15, memory + 16));
    assert_false(krait__table_touches(table, (char *)bits, (char *)bits + 1));
    assert_true(krait__table_touches(table, (char *)bits + 2, (char *)bits + 3));
    assert_false(krait__table_touches(table, (char *)bits + 3, (char *)bits + 4));
    assert_true(krait__table_touches(table, (const char *)text.offsets + 15, (const char *)text.offsets + 17));
    assert_false(krait__table_touches(table, (const char *)text.offsets + 16, (const char *)text.offsets + 17));
    free_table(table);
}

static void ranges_of_dictionaries_and_of_nothing(void **state) {
    static const int8_t codes[] = { 0, 1 };
    krait_table        *table = new_table();
    krait_column        dictionary = abc_column(NULL), column = column_of(KRAIT_COLUMN_CATEGORY, "c", 2);
    const char         *lo, *hi;
    (void)state;
    column.dtype = krait_i8_type();
    column.data = codes;
    column.stride = 1;
    column.dictionary = &dictionary;
    GOOD(krait_table_add_column(table, &column, &err));
    assert_true(krait__table_touches(table, (const char *)codes, (const char *)codes + 2));
    assert_true(krait__table_touches(table, (const char *)dictionary.data, (const char *)dictionary.data + 1));
    assert_true(krait__table_touches(table, (const char *)abc_offsets + 15, (const char *)abc_offsets + 16));
    free_table(table);
    table = new_table();
    GOOD(krait_table_add(table, "none", krait_vector_f64(prices, 0), NULL, &err));
    column = column_of(KRAIT_COLUMN_TEXT, "empty", 0);
    GOOD(krait_table_add_column(table, &column, &err));
    krait__table_hull(table, &lo, &hi);
    assert_true(!lo && !hi);
    assert_true(krait__table_touches(table, (const char *)prices, (const char *)prices)); /* a view of the empty column */
    assert_false(krait__table_touches(table, (const char *)prices, (const char *)prices + 1));
    assert_false(krait__table_touches(table, (const char *)prices - 1, (const char *)prices + 1));
    free_table(table);
}

/* ---- adding arrays ----------------------------------------------------------------------------------------------- */

static void arrays_of_every_dtype(void **state) {
    _Alignas(16) static char memory[64];
    const krait_dtype        dtypes[] = {
#define MADE(NAME, name, code, type, bytes, text) krait_##name##_type(),
        KRAIT_DTYPE_MAP(MADE)
#undef MADE
            krait_datetime(KRAIT_NS, 1), krait_datetime(KRAIT_S, 25), krait_timedelta(KRAIT_DAY, 1),
        swapped(krait_f64_type()),
    };
    krait_table *table = new_table();
    (void)state;
    for (size_t i = 0; i < COUNT(dtypes); i++)
        GOOD(krait_table_add(table, i % 2 ? "x" : "", krait_vector(memory, dtypes[i], 4), NULL, &err));
    assert_int_equal(krait_table_rows(table), 4);
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        krait_column column;
        krait_array  array;
        GOOD(krait_table_column(table, i, &column, &err));
        assert_string_equal(column.name, i % 2 ? "x" : "");
        assert_int_equal(column.kind, KRAIT_COLUMN_ARRAY);
        assert_memory_equal(&column.dtype, &dtypes[i], sizeof dtypes[i]);
        assert_ptr_equal(column.data, memory);
        assert_null(column.valid);
        GOOD(krait_column_array(&column, dtypes[i].code, false, &array, &err));
        assert_int_equal(array.flags, KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_F_CONTIGUOUS | KRAIT_ARRAY_ALIGNED);
        assert_ptr_equal(array.data, memory);
        assert_ptr_equal(array.shape, &column.rows);
        assert_ptr_equal(array.strides, &column.stride);
        assert_int_equal(array.size, 4);
        assert_int_equal(array.ndim, 1);
    }
    free_table(table);
}

static void strides_are_kept(void **state) {
    krait_table  *table = new_table();
    const int64_t rows[] = { 3 }, back[] = { -16 }, still[] = { 0 }, odd[] = { 9 };
    krait_column  column;
    krait_array   array;
    krait_value   result;
    (void)state;
    GOOD(krait_table_add(table, "back", krait_ndarray(prices + 4, krait_f64_type(), 1, rows, back), NULL, &err));
    GOOD(krait_table_add(table, "still", krait_ndarray(prices, krait_f64_type(), 1, rows, still), NULL, &err));
    GOOD(krait_table_add(table, "odd", krait_ndarray(prices, krait_f32_type(), 1, rows, odd), NULL, &err));
    result = krait_vector_f64(prices, 3);
    result.flags = KRAIT_VALUE_PYTHON_;
    result.as.array.flags |= KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED;
    GOOD(krait_table_add(table, "result", krait_borrow(&result), NULL, &err));
    GOOD(krait_table_find(table, "back", &column, &err));
    GOOD(krait_column_array(&column, KRAIT_F64, false, &array, &err));
    assert_int_equal(array.strides[0], -16);
    assert_int_equal(array.flags, KRAIT_ARRAY_ALIGNED);
    GOOD(krait_table_find(table, "still", &column, &err));
    assert_int_equal(column.stride, 0);
    GOOD(krait_table_find(table, "odd", &column, &err));
    GOOD(krait_column_array(&column, KRAIT_ANY, false, &array, &err));
    assert_int_equal(array.flags, 0);
    GOOD(krait_table_find(table, "result", &column, &err));
    assert_int_equal(column.flags, KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED);
    GOOD(krait_column_array(&column, KRAIT_ANY, false, &array, &err));
    assert_true((array.flags & KRAIT_ARRAY_WRITABLE) && (array.flags & KRAIT_ARRAY_COPIED));
    free_table(table);
}

static void values_that_are_no_arrays(void **state) {
    krait_table  *table = new_table();
    const int64_t negative[] = { -1 };
    krait_value   list = krait_make_(KRAIT_KIND_LIST), records = krait_vector(prices, krait_struct_type(NULL), 1);
    krait_dtype   odd = krait_f64_type();
    (void)state;
    list.as.list.items = NULL;
    list.as.list.count = 2;
    odd.item_size = 4;
    SAYS(krait_table_add(NULL, "x", krait_vector_f64(prices, 3), NULL, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_add(table, NULL, krait_vector_f64(prices, 3), NULL, &err), KRAIT_E_ARGUMENT,
         "name is NULL, expected UTF-8 (\"\" for none)");
    SAYS(krait_table_add(table, "a\xff", krait_vector_f64(prices, 3), NULL, &err), KRAIT_E_ENCODING,
         "name of a column is not UTF-8: byte 1 of 2 is 0xff");
    SAYS(krait_table_add(table, "x", krait_f64(1), NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is float, expected an array of one dimension: krait_vector_f64 and its kin make one");
    SAYS(krait_table_add(table, "x", krait_str("hello"), NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is text of 5 bytes, expected an array: krait_table_add_strings takes texts");
    SAYS(krait_table_add(table, "x", list, NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is list of 2 items, expected an array: krait_table_add_strings takes texts");
    SAYS(krait_table_add(table, "x", krait_table_value(table), NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is table of 0 columns, 0 rows, expected an array: krait_table_add_column takes columns of a table");
    SAYS(krait_table_add(table, "x", records, NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is struct of 0 fields array (1), expected no records: krait_table_add_structs makes a column of each "
         "field");
    SAYS(krait_table_add(table, "x", krait_matrix_f64(prices, 3, 2), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' is float64 array (3, 2), expected one dimension");
    SAYS(krait_table_add(table, "x", krait_ndarray(prices, krait_f64_type(), 0, NULL, NULL), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' is float64 array (), expected one dimension");
    SAYS(krait_table_add(table, "x", krait_ndarray(prices, krait_f64_type(), 1, negative, NULL), NULL, &err),
         KRAIT_E_SHAPE, "column 'x' is no array: shape (-1): dimension 0 is negative");
    SAYS(krait_table_add(table, "x", krait_vector_f64(NULL, 3), NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is no array: data is NULL, expected 3 elements of float64");
    SAYS(krait_table_add(table, "x", krait_vector(prices, odd, 3), NULL, &err), KRAIT_E_ARGUMENT,
         "column 'x' is no array: dtype float64 has item_size 4, expected 8");
    assert_int_equal(krait_table_column_count(table), 0);
    assert_int_equal(krait_table_rows(table), 0);
    GOOD(krait_table_add(table, "x", krait_vector_f64(NULL, 0), NULL, &err));
    free_table(table);
}

static void rows_must_be_the_same(void **state) {
    static const char *const strings[] = { "a", "b", "c" };
    krait_table             *table = new_table();
    krait_column             column = abc_column("c");
    size_t                   kept;
    (void)state;
    GOOD(krait_table_add(table, "first", krait_vector_f64(prices, 4), NULL, &err));
    SAYS(krait_table_add(table, "x", krait_vector_f64(prices, 3), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' has 3 rows, the table 4");
    SAYS(krait_table_add(table, "x", krait_vector_f64(prices, 1), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' has 1 row, the table 4");
    SAYS(krait_table_add_strings(table, "s", strings, 3, &err), KRAIT_E_SHAPE, "column 's' has 3 rows, the table 4");
    SAYS(krait_table_add_column(table, &column, &err), KRAIT_E_SHAPE, "column 'c' has 3 rows, the table 4");
    SAYS(krait_table_add_index(table, &column, &err), KRAIT_E_SHAPE, "index level 'c' has 3 rows, the table 4");
    assert_int_equal(krait_table_column_count(table), 1);
    kept = table->columns.count;
    table->columns.count = KRAIT__COLUMNS_MAX; /* without the hour it takes to add them */
    SAYS(krait_table_add(table, "x", krait_vector_f64(prices, 4), NULL, &err), KRAIT_E_UNSUPPORTED,
         "column 'x' is one too many: a table has at most 1000000");
    table->columns.count = kept;
    free_table(table);
    table = new_table();
    GOOD(krait_table_add(table, "none", krait_vector_f64(prices, 0), NULL, &err));
    SAYS(krait_table_add(table, "x", krait_vector_f64(prices, 1), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' has 1 row, the table 0");
    free_table(table);
}

/* ---- validity ---------------------------------------------------------------------------------------------------- */

static void has_pattern(const krait_table *table, const char *name, const char *pattern) {
    krait_column column;
    GOOD(krait_table_find(table, name, &column, &err));
    for (int64_t row = 0; row < column.rows; row++)
        assert_int_equal(krait_column_has(&column, row), pattern[row] == '1');
}

static void bools_become_bits_and_bits_are_borrowed(void **state) {
    static const bool    bools[] = { 1, 0, 1, 1, 0, 0, 0, 0, 1, 1 };
    static const uint8_t bits[] = { 0x0d, 0x03, 0xff };
    static double        ten[10];
    const int64_t        five[] = { 5 }, strides[] = { -2 }, single[] = { 1 }, gaps[] = { 3 };
    krait_value          valid = krait_vector_bool(bools, 10);
    krait_table         *table = new_table();
    krait_column         column;
    krait_array          array;
    (void)state;
    GOOD(krait_table_add(table, "bools", krait_vector_f64(ten, 10), &valid, &err));
    valid = krait_vector_u8(bits, 2);
    GOOD(krait_table_add(table, "bits", krait_vector_f64(ten, 10), &valid, &err));
    valid = krait_vector_u8(bits, 3);
    GOOD(krait_table_add(table, "more", krait_vector_f64(ten, 10), &valid, &err));
    has_pattern(table, "bools", "1011000011");
    has_pattern(table, "bits", "1011000011");
    GOOD(krait_table_find(table, "bits", &column, &err));
    assert_ptr_equal(column.valid, bits);
    assert_int_equal(column.valid_offset, 0);
    SAYS(krait_column_array(&column, KRAIT_F64, false, &array, &err), KRAIT_E_KIND,
         "column 'bits' is float64, expected float64 without validity: missing_too takes it, krait_column_has tells which rows have a value");
    GOOD(krait_column_array(&column, KRAIT_F64, true, &array, &err));
    assert_ptr_equal(array.data, ten);
    free_table(table);
    table = new_table();
    valid = krait_ndarray(bools + 8, krait_bool_type(), 1, five, strides); /* 8, 6, 4, 2, 0 */
    GOOD(krait_table_add(table, "x", krait_vector_f64(ten, 5), &valid, &err));
    has_pattern(table, "x", "10011");
    valid = krait_ndarray(bits, krait_u8_type(), 1, single, gaps); /* of one byte the stride is never taken */
    GOOD(krait_table_add(table, "y", krait_vector_f64(ten, 5), &valid, &err));
    has_pattern(table, "y", "10110");
    free_table(table);
}

static void validity_that_does_not_fit(void **state) {
    static const bool    bools[10] = { 1 };
    static const uint8_t bits[20] = { 0 };
    static const double  ten[10] = { 0 };
    const int64_t        two[] = { 2 }, gaps[] = { 3 };
    krait_table         *table = new_table();
    krait_value          valid = krait_vector_bool(bools, 9);
    (void)state;
#define ADD krait_table_add(table, "x", krait_vector_f64(ten, 10), &valid, &err)
    SAYS(ADD, KRAIT_E_SHAPE, "valid of column 'x' has 9 bools, expected 10 for 10 rows");
    valid = krait_vector_bool(bools, 11);
    SAYS(ADD, KRAIT_E_SHAPE, "valid of column 'x' has 11 bools, expected 10 for 10 rows");
    valid = krait_vector_u8(bits, 1);
    SAYS(ADD, KRAIT_E_SHAPE, "valid of column 'x' has 1 bytes of bits, expected 2 for 10 rows");
    valid = krait_ndarray(bits, krait_u8_type(), 1, two, gaps);
    SAYS(ADD, KRAIT_E_SHAPE, "valid of column 'x' has bits with gaps between the bytes");
    valid = krait_vector_f64(ten, 10);
    SAYS(ADD, KRAIT_E_ARGUMENT,
         "valid of column 'x' is float64 array (10), expected an array of bool, or of uint8 with bits");
    valid = krait_none();
    SAYS(ADD, KRAIT_E_ARGUMENT, "valid of column 'x' is none, expected an array of bool, or of uint8 with bits");
    valid = krait_matrix_bool(bools, 5, 2);
    SAYS(ADD, KRAIT_E_SHAPE, "valid of column 'x' is bool array (5, 2), expected one dimension");
    valid = krait_vector_u8(NULL, 2);
    SAYS(ADD, KRAIT_E_ARGUMENT, "valid of column 'x' is no array: data is NULL, expected 2 elements of uint8");
#undef ADD
    assert_int_equal(krait_table_column_count(table), 0);
    free_table(table);
}

/* ---- handed over ------------------------------------------------------------------------------------------------- */

static void owned_values_live_as_long_as_the_table(void **state) {
    static const uint8_t bits[1] = { 7 };
    static const bool    bools[3] = { 0 };
    static const char    fixed[] = "ab\0cd\0";
    krait_value          values = krait_owned(krait_vector_f64(prices, 3), release, &one);
    krait_value          packed = krait_owned(krait_vector_u8(bits, 1), release, &one);
    krait_value          unpacked = krait_owned(krait_vector_bool(bools, 3), release, &one);
    krait_value          text = krait_owned(krait_vector(fixed, krait_fixed_bytes(2), 3), release, &one);
    krait_table         *table = new_table();
    (void)state;
    released = 0;
    GOOD(krait_table_add(table, "x", values, &packed, &err));
    assert_int_equal(released, 0);
    GOOD(krait_table_add(table, "y", values, &unpacked, &err));
    assert_int_equal(released, 1); /* the bools, which were copied */
    GOOD(krait_table_add(table, "z", text, NULL, &err));
    assert_int_equal(released, 2);
    free_table(table);
    assert_int_equal(released, 5);
    table = new_table();
    GOOD(krait_table_add(table, "x", values, NULL, &err));
    for (int i = 0; i < 5; i++) GOOD(krait_table_add(table, "y", values, &packed, &err));
    free_table(table);
    assert_int_equal(released, 16);
}

static void owned_values_are_released_when_refused(void **state) {
    krait_value  values = krait_owned(krait_vector_f64(prices, 3), release, &one);
    krait_value  structs = krait_owned(krait_str("x"), release, &one);
    krait_value  valid = krait_owned(krait_vector_f64(prices, 3), release, &one);
    krait_table *table = new_table();
    (void)state;
    released = 0;
    SAYS(krait_table_add(table, NULL, values, NULL, &err), KRAIT_E_ARGUMENT,
         "name is NULL, expected UTF-8 (\"\" for none)");
    assert_int_equal(released, 1);
    SAYS(krait_table_add(NULL, "x", values, &valid, &err), KRAIT_E_ARGUMENT, "table is NULL");
    assert_int_equal(released, 3);
    SAYS(krait_table_add_structs(table, structs, &err), KRAIT_E_ARGUMENT,
         "argument 'structs' is text of 1 byte, expected an array made by krait_structs");
    assert_int_equal(released, 4);
    krait_error_new(&err, KRAIT_E_RANGE, "earlier");
    assert_int_equal(krait_table_add(table, "x", values, &valid, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_table_add_structs(table, values, &err), KRAIT_E_RANGE);
    krait_error_clear(&err);
    assert_int_equal(released, 7);
    assert_int_equal(krait_table_add(table, "x", krait_f64(1), NULL, NULL), KRAIT_E_ARGUMENT);
    free_table(table);
    assert_int_equal(released, 7);
}

/* ---- fixed text and bytes, strings ------------------------------------------------------------------------------- */

static void fixed_elements_become_text(void **state) {
    static const char    bytes[] = "ab\0\0" "\0x\0\0" "\xff\xff\xff\xff" "\0\0\0\0";
    static const uint32_t points[] = { 'a', 0x20ac, 0, 0x1f600, 0, 0, 0xe9, 0, 'z', 0, 0, 0 };
    const bool            has[] = { 1, 0, 1, 1 };
    const int64_t         four[] = { 4 }, back[] = { -4 };
    uint32_t              other[12];
    krait_value           valid = krait_vector_bool(has, 4);
    krait_table          *table = new_table();
    krait_column          column;
    (void)state;
    for (size_t i = 0; i < 12; i++) other[i] = __builtin_bswap32(points[i]);
    GOOD(krait_table_add(table, "S", krait_vector(bytes, krait_fixed_bytes(4), 4), NULL, &err));
    GOOD(krait_table_add(table, "U", krait_vector(points, krait_fixed_text(3), 4), NULL, &err));
    GOOD(krait_table_add(table, "swapped", krait_vector(other, swapped(krait_fixed_text(3)), 4), &valid, &err));
    GOOD(krait_table_add(table, "back", krait_ndarray(bytes + 12, krait_fixed_bytes(4), 1, four, back), NULL, &err));
    GOOD(krait_table_add(table, "nothing", krait_vector("", krait_fixed_text(0), 4), NULL, &err));
    GOOD(krait_table_find(table, "S", &column, &err));
    assert_int_equal(column.kind, KRAIT_COLUMN_BYTES);
    assert_int_equal(column.flags, KRAIT_ARRAY_COPIED);
    assert_int_equal(column.data_bytes, 8);
    text_is(&column, 0, "ab");
    assert_int_equal(((const int64_t *)column.offsets)[2], 4); /* "\0x" keeps its first NUL */
    text_is(&column, 2, "\xff\xff\xff\xff");
    text_is(&column, 3, "");
    GOOD(krait_table_find(table, "U", &column, &err));
    assert_int_equal(column.kind, KRAIT_COLUMN_TEXT);
    assert_int_equal(column.dtype.code, 0);
    text_is(&column, 0, "a\xe2\x82\xac");
    text_is(&column, 1, "\xf0\x9f\x98\x80");
    assert_int_equal(((const int64_t *)column.offsets)[3] - ((const int64_t *)column.offsets)[2], 4);
    assert_memory_equal((const char *)column.data + 8, "\xc3\xa9\0z", 4);
    GOOD(krait_table_find(table, "swapped", &column, &err));
    text_is(&column, 0, "a\xe2\x82\xac");
    text_is(&column, 1, NULL);
    GOOD(krait_table_find(table, "back", &column, &err));
    text_is(&column, 0, "");
    text_is(&column, 3, "ab");
    GOOD(krait_table_find(table, "nothing", &column, &err));
    text_is(&column, 3, "");
    free_table(table);
}

static void fixed_text_that_is_none(void **state) {
    static const uint32_t points[] = { 'a', 'b', 'c', 0xd800, 0x110000, 0xdfff };
    const bool            has[] = { 1, 0, 1 };
    krait_value           valid = krait_vector_bool(has, 3);
    krait_table          *table = new_table();
    (void)state;
    SAYS(krait_table_add(table, "U", krait_vector(points, krait_fixed_text(2), 3), NULL, &err), KRAIT_E_ENCODING,
         "column 'U' has 0xd800 at row 1, which is no code point");
    SAYS(krait_table_add(table, "U", krait_vector(points, krait_fixed_text(2), 3), &valid, &err), KRAIT_E_ENCODING,
         "column 'U' has 0x110000 at row 2, which is no code point");
    SAYS(krait_table_add(table, "U", krait_vector(points, swapped(krait_fixed_text(2)), 3), NULL, &err),
         KRAIT_E_ENCODING, "column 'U' has 0x61000000 at row 0, which is no code point");
    assert_int_equal(krait_table_column_count(table), 0);
    free_table(table);
}

static void strings_are_copied(void **state) {
    char         hello[] = "hello";
    const char  *strings[] = { hello, NULL, "", "gr\xc3\xbc\xc3\x9f" };
    krait_table *table = new_table();
    krait_column column;
    (void)state;
    GOOD(krait_table_add_strings(table, "s", strings, 4, &err));
    hello[0] = 'j';
    strings[2] = NULL;
    GOOD(krait_table_find(table, "s", &column, &err));
    assert_int_equal(column.kind, KRAIT_COLUMN_TEXT);
    assert_int_equal(column.rows, 4);
    text_is(&column, 0, "hello");
    text_is(&column, 1, NULL);
    text_is(&column, 2, "");
    text_is(&column, 3, "gr\xc3\xbc\xc3\x9f");
    GOOD(krait_table_add_strings(table, "all", (const char *[]){ "a", "b", "c", "d" }, 4, &err));
    GOOD(krait_table_find(table, "all", &column, &err));
    assert_null(column.valid);
    free_table(table);
    table = new_table();
    GOOD(krait_table_add_strings(table, "none", NULL, 0, &err));
    assert_int_equal(krait_table_column_count(table), 1);
    free_table(table);
}

static void strings_are_refused(void **state) {
    static const char *const strings[] = { "a", "b\xc3", "c" };
    krait_table             *table = new_table();
    (void)state;
    SAYS(krait_table_add_strings(NULL, "s", strings, 3, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_add_strings(table, NULL, strings, 3, &err), KRAIT_E_ARGUMENT,
         "name is NULL, expected UTF-8 (\"\" for none)");
    SAYS(krait_table_add_strings(table, "s", NULL, 3, &err), KRAIT_E_ARGUMENT, "strings is NULL, expected 3");
    SAYS(krait_table_add_strings(table, "s", strings, 3, &err), KRAIT_E_ENCODING,
         "column 's' is not UTF-8 at row 1: byte 1 of 2 is 0xc3");
    SAYS(krait_table_add_strings(table, "s", strings, SIZE_MAX, &err), KRAIT_E_SHAPE,
         "18446744073709551615 strings are more than memory can have");
    SAYS(krait_table_add_strings(table, "s", strings, PTRDIFF_MAX / sizeof *strings, &err), KRAIT_E_NOMEM,
         "out of memory");
    free_table(table);
}

/* ---- structs ----------------------------------------------------------------------------------------------------- */

struct tick {
    int64_t  time;
    char     symbol[6];
    double   price;
    uint16_t flags;
    bool     last;
    uint32_t note[2];
};

static krait_struct *tick_type(void) {
    const krait_member members[] = {
        KRAIT_FIELD_OF(struct tick, time, krait_datetime(KRAIT_NS, 1)),
        KRAIT_FIELD_CHARS(struct tick, symbol),
        KRAIT_FIELD(struct tick, price, krait_f64_type),
        KRAIT_FIELD(struct tick, flags, krait_u16_type),
        KRAIT_FIELD(struct tick, last, krait_bool_type),
        KRAIT_FIELD_OF(struct tick, note, krait_fixed_text(2)),
    };
    krait_struct *made = krait_struct_new(members, COUNT(members), sizeof(struct tick), &err);
    assert_null(err);
    return made;
}

static const struct tick ticks[] = {
    { 1, "GOOG", 10.5, 1, true, { 'a', 0xfc } },
    { 2, "MSFT\xc3\xa9", 11.5, 2, false, { 0, 0 } },
    { 3, "", 12.5, 3, true, { 'c', 0 } },
};

static void structs_become_columns(void **state) {
    krait_struct *type = tick_type();
    krait_table  *table = new_table();
    krait_column  column;
    krait_array   array;
    (void)state;
    GOOD(krait_table_add(table, "before", krait_vector_f64(prices, 3), NULL, &err));
    GOOD(krait_table_add_structs(table, krait_structs(ticks, 3, type), &err));
    assert_int_equal(krait_table_column_count(table), 7);
    GOOD(krait_table_find(table, "price", &column, &err));
    assert_ptr_equal(column.data, &ticks[0].price);
    assert_int_equal(column.stride, sizeof(struct tick));
    GOOD(krait_column_array(&column, KRAIT_F64, false, &array, &err));
    GOOD(krait_table_find(table, "time", &column, &err));
    assert_int_equal(column.dtype.unit, KRAIT_NS);
    GOOD(krait_table_find(table, "symbol", &column, &err));
    assert_int_equal(column.kind, KRAIT_COLUMN_TEXT);
    text_is(&column, 0, "GOOG");
    text_is(&column, 1, "MSFT\xc3\xa9");
    text_is(&column, 2, "");
    GOOD(krait_table_find(table, "note", &column, &err));
    text_is(&column, 0, "a\xc3\xbc");
    text_is(&column, 1, "");
    krait_struct_free(type);
    free_table(table);
}

static void owned_structs_live_as_long_as_the_table(void **state) {
    krait_struct *type = tick_type();
    krait_table  *table = new_table();
    (void)state;
    released = 0;
    GOOD(krait_table_add_structs(table, krait_owned(krait_structs(ticks, 3, type), release, &one), &err));
    SAYS(krait_table_add_structs(table, krait_owned(krait_structs(ticks, 2, type), release, &one), &err),
         KRAIT_E_SHAPE, "column 'time' has 2 rows, the table 3");
    assert_int_equal(released, 1);
    assert_int_equal(krait_table_column_count(table), 6);
    krait_table_free(table);
    assert_int_equal(released, 2);
    table = new_table();
    GOOD(krait_table_add_structs(table, krait_structs(NULL, 0, type), &err));
    assert_int_equal(krait_table_rows(table), 0);
    SAYS(krait_table_add(table, "x", krait_vector_f64(prices, 1), NULL, &err), KRAIT_E_SHAPE,
         "column 'x' has 1 row, the table 0");
    krait_struct_free(type);
    free_table(table);
}

static void set_field(struct krait_struct *record, size_t i, const char *name, krait_dtype dtype) {
    record->fields[i].name = krait__strdup(name);
    record->fields[i].dtype = dtype;
    assert_non_null(record->fields[i].name);
}

/* A field "first" that is good, and "x" of that dtype. */
static krait_value two_fields(krait_dtype dtype, int32_t ndim) {
    struct krait_struct *record = krait__struct_new(2);
    int64_t             *shape = ndim ? krait__alloc(sizeof *shape) : NULL;
    assert_non_null(record);
    set_field(record, 0, "first", krait_u8_type());
    set_field(record, 1, "x", dtype);
    if (shape) *shape = 2;
    record->fields[1].shape = shape;
    record->fields[1].ndim = ndim;
    dtype = krait_dtype_make_(KRAIT_STRUCT, 0, 24, 0);
    dtype.of.fields = record;
    return krait_vector("ab\xff" "defghijklmnopqrstuvwxyz", dtype, 1);
}

static void free_fields(krait_value *value) {
    krait__struct_free((struct krait_struct *)(uintptr_t)value->as.array.dtype.of.fields);
}

static void structs_are_refused_whole(void **state) {
    krait_struct *type = tick_type();
    krait_table  *table = new_table();
    krait_value   nested = two_fields(krait_f32_type(), 1), unknown = two_fields(krait_dtype_make_(0, 0, 8, 0), 0);
    krait_value   text = two_fields(krait_fixed_bytes(4), 0), good = two_fields(krait_u8_type(), 0), inner;
    (void)state;
    inner = two_fields(krait_dtype_make_(KRAIT_STRUCT, 0, 8, 0), 0);
    SAYS(krait_table_add_structs(NULL, good, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_add_structs(table, krait_vector_f64(prices, 3), &err), KRAIT_E_ARGUMENT,
         "argument 'structs' is float64 array (3), expected an array made by krait_structs");
    SAYS(krait_table_add_structs(table, krait_structs(ticks, 3, NULL), &err), KRAIT_E_ARGUMENT,
         "argument 'structs' is no array: dtype struct has of.fields NULL");
    SAYS(krait_table_add_structs(table, krait_matrix(ticks, krait_struct_type(type), 1, 2), &err), KRAIT_E_SHAPE,
         "argument 'structs' is struct of 6 fields array (1, 2), expected one dimension");
    SAYS(krait_table_add_structs(table, nested, &err), KRAIT_E_UNSUPPORTED,
         "field 'x' is an array of float32, which no column can be");
    SAYS(krait_table_add_structs(table, unknown, &err), KRAIT_E_UNSUPPORTED,
         "field 'x' is unknown dtype 0, which no column can be");
    SAYS(krait_table_add_structs(table, inner, &err), KRAIT_E_UNSUPPORTED,
         "field 'x' is struct of 0 fields, which no column can be");
    SAYS(krait_table_add_structs(table, text, &err), KRAIT_E_ENCODING,
         "column 'x' is not UTF-8 at row 0: byte 2 of 4 is 0xff");
    assert_int_equal(krait_table_column_count(table), 0);
    assert_int_equal(table->rows, -1);
    GOOD(krait_table_add(table, "a", krait_vector_f64(prices, 6), NULL, &err));
    SAYS(krait_table_add_structs(table, good, &err), KRAIT_E_SHAPE, "column 'first' has 1 row, the table 6");
    assert_int_equal(krait_table_column_count(table), 1);
    free_fields(&nested);
    free_fields(&unknown);
    free_fields(&text);
    free_fields(&good);
    free_fields(&inner);
    krait_struct_free(type);
    free_table(table);
}

/* ---- adding columns ---------------------------------------------------------------------------------------------- */

/* What adding the column says; nothing is added. */
#define REFUSED(column, expected, message)                                                                             \
    do {                                                                                                               \
        krait_table *table_ = new_table();                                                                             \
        SAYS(krait_table_add_column(table_, &(column), &err), expected, message);                                      \
        SAYS(krait_table_add_index(table_, &(column), &err), expected, message);                                       \
        assert_int_equal(krait_table_column_count(table_), 0);                                                         \
        assert_int_equal(krait_table_index_count(table_), 0);                                                          \
        krait_table_free(table_);                                                                                      \
    } while (0)

static void columns_are_taken_as_they_are(void **state) {
    char          name[] = "x", zone[] = "Europe/Berlin";
    krait_table  *table = new_table();
    krait_column  column = array_column(name, prices, krait_datetime(KRAIT_US, 1), 2), read;
    const uint8_t bits[] = { 0x40 };
    (void)state;
    column.zone = zone;
    column.valid = bits;
    column.valid_offset = 5;
    column.flags = KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_ALIGNED;
    column.precision = 9; /* of no meaning here */
    GOOD(krait_table_add_column(table, &column, &err));
    GOOD(krait_table_add_index(table, &column, &err));
    name[0] = zone[0] = '?';
    GOOD(krait_table_column(table, 0, &read, &err));
    assert_string_equal(read.name, "x");
    assert_string_equal(read.zone, "Europe/Berlin");
    assert_ptr_equal(read.data, prices);
    assert_ptr_equal(read.valid, bits);
    assert_int_equal(read.flags, KRAIT_ARRAY_WRITABLE);
    assert_int_equal(read.precision, 0);
    assert_false(krait_column_has(&read, 0));
    assert_true(krait_column_has(&read, 1));
    GOOD(krait_table_index(table, 0, &read, &err));
    assert_string_equal(read.name, "x");
    GOOD(krait_table_add_column(table, &read, &err)); /* as read from a table, even the same */
    free_table(table);
}

static void columns_without_rows_need_no_memory(void **state) {
    static const uint8_t kinds[] = { KRAIT_COLUMN_ARRAY, KRAIT_COLUMN_TEXT,    KRAIT_COLUMN_BYTES,
                                     KRAIT_COLUMN_CATEGORY, KRAIT_COLUMN_DECIMAL, KRAIT_COLUMN_DATE };
    krait_table         *table = new_table(), *copy;
    krait_column         dictionary = column_of(KRAIT_COLUMN_TEXT, NULL, 0);
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        krait_column column = column_of(kinds[i], "x", 0);
        column.dtype = krait_i8_type();
        column.dictionary = &dictionary;
        column.precision = 1;
        GOOD(krait_table_add_column(table, &column, &err));
        GOOD(krait_table_column(table, i, &column, &err));
        assert_non_null(column.data);
        assert_int_equal(column.offsets != NULL, kinds[i] == KRAIT_COLUMN_TEXT || kinds[i] == KRAIT_COLUMN_BYTES);
        assert_int_equal(column.dictionary != NULL, kinds[i] == KRAIT_COLUMN_CATEGORY);
        if (column.dictionary) assert_string_equal(column.dictionary->name, "");
        if (column.dictionary) assert_non_null(column.dictionary->offsets);
    }
    GOOD(krait__table_copy(table, &copy, &err));
    assert_int_equal(krait_table_rows(copy), 0);
    krait_table_free(copy);
    free_table(table);
}

static void columns_that_are_none(void **state) {
    krait_table *table = new_table();
    krait_column good = array_column("x", prices, krait_f64_type(), 3), bad;
    (void)state;
    SAYS(krait_table_add_column(NULL, &good, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_add_index(NULL, &good, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_add_column(table, NULL, &err), KRAIT_E_ARGUMENT, "column is NULL");
    SAYS(krait_table_add_index(table, NULL, &err), KRAIT_E_ARGUMENT, "column is NULL");
    assert_int_equal(krait_table_add_column(table, NULL, NULL), KRAIT_E_ARGUMENT);
    krait_table_free(table);
    bad = good, bad.name = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "name is NULL, expected UTF-8 (\"\" for none)");
    bad = good, bad.name = "\xed\xa0\x80";
    REFUSED(bad, KRAIT_E_ENCODING, "name of a column is not UTF-8: byte 0 of 3 is 0xed");
    bad = good, bad.kind = 0;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has kind 0, expected KRAIT_COLUMN_ARRAY, _TEXT, ... (1 to 6)");
    bad = good, bad.kind = 7;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has kind 7, expected KRAIT_COLUMN_ARRAY, _TEXT, ... (1 to 6)");
    bad = good, bad.rows = -1;
    REFUSED(bad, KRAIT_E_SHAPE, "column 'x' has -1 rows");
    bad = good, bad.rows = INT64_MAX;
    REFUSED(bad, KRAIT_E_SHAPE, "column 'x' has 9223372036854775807 rows");
    bad = good, bad.flags = 0x80 | KRAIT_ARRAY_WRITABLE;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has flags 0x80, which are not known");
    bad = good, bad.reserved[1] = 3;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has reserved fields that are not 0: begin with KRAIT_COLUMN_INIT");
    bad = good, bad.reserved0 = 3;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has reserved fields that are not 0: begin with KRAIT_COLUMN_INIT");
    bad = good, bad.zone = "UTC";
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is float64 and has a zone, which is for datetime64");
    bad = array_column("x", prices, krait_datetime(KRAIT_S, 1), 3), bad.zone = "";
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has a zone that is empty");
    bad.zone = "\x80";
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has a zone that is not UTF-8");
}

static void arrays_that_are_none(void **state) {
    krait_column good = array_column("x", prices, krait_f64_type(), 3), bad;
    (void)state;
    bad = good, bad.dtype = krait_struct_type(NULL);
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is an array of struct of 0 fields, expected bool, numbers or times");
    bad = good, bad.dtype.code = 0;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is no array: dtype code 0 is unknown");
    bad = good, bad.dtype.item_size = 7;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is no array: dtype float64 has item_size 7, expected 8");
    bad = good, bad.dtype = krait_datetime(77, 1);
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is no array: datetime64 has unit 77, expected 0 to 13");
    bad = good, bad.data = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' is no array: data is NULL, expected 3 elements of float64");
    bad = good, bad.stride = INT64_MAX;
    REFUSED(bad, KRAIT_E_SHAPE, "column 'x' is no array: shape (3): strides reach beyond memory");
    bad = good, bad.valid = (const uint8_t *)"", bad.valid_offset = -1;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'x' has valid_offset -1, expected 0 or more");
    bad.valid_offset = INT64_MAX;
    REFUSED(bad, KRAIT_E_SHAPE, "column 'x' has valid_offset 9223372036854775807, which reaches beyond memory");
}

static void decimals_and_dates(void **state) {
    static const int32_t days[] = { 0, 1, 2 };
    krait_table         *table = new_table();
    krait_column         decimal = column_of(KRAIT_COLUMN_DECIMAL, "d", 3), date = column_of(KRAIT_COLUMN_DATE, "t", 3);
    krait_column         read;
    krait_array          array;
    (void)state;
    decimal.data = prices;
    decimal.stride = 16;
    decimal.scale = -2;
    date.data = days;
    date.stride = 4;
    REFUSED(decimal, KRAIT_E_ARGUMENT, "column 'd' has precision 0, expected 1 to 38");
    decimal.precision = 39;
    REFUSED(decimal, KRAIT_E_ARGUMENT, "column 'd' has precision 39, expected 1 to 38");
    decimal.precision = 38;
    GOOD(krait_table_add_column(table, &decimal, &err));
    GOOD(krait_table_add_column(table, &date, &err));
    GOOD(krait_table_column(table, 0, &read, &err));
    assert_int_equal(read.precision, 38);
    assert_int_equal(read.scale, -2);
    SAYS(krait_column_array(&read, KRAIT_ANY, true, &array, &err), KRAIT_E_KIND,
         "column 'd' is decimal(38, -2), expected numbers or times");
    GOOD(krait_table_column(table, 1, &read, &err));
    SAYS(krait_column_array(&read, KRAIT_I32, true, &array, &err), KRAIT_E_KIND,
         "column 't' is dates, expected int32");
    free_table(table);
    date.data = NULL;
    REFUSED(date, KRAIT_E_ARGUMENT, "column 't' has data NULL, expected 3 rows");
    date.data = days;
    date.stride = INT64_MIN;
    REFUSED(date, KRAIT_E_SHAPE, "column 't' reaches beyond memory: 3 rows, stride -9223372036854775808");
    date.stride = INT64_MIN / 2;
    REFUSED(date, KRAIT_E_SHAPE, "column 't' reaches beyond memory: 3 rows, stride -4611686018427387904");
    date.stride = INT64_MAX / 2;
    date.data = (const void *)(UINTPTR_MAX - 1000);
    REFUSED(date, KRAIT_E_SHAPE, "column 't' reaches beyond memory: 3 rows, stride 4611686018427387903");
    date.stride = -4;
    date.data = (const void *)(UINTPTR_MAX - 2);
    REFUSED(date, KRAIT_E_SHAPE, "column 't' reaches beyond memory: 3 rows, stride -4");
}

static void text_columns_are_checked(void **state) {
    const int64_t wide[] = { 2, 2, 5 };
    krait_column  good = abc_column("t"), bad;
    krait_table  *table = new_table();
    (void)state;
    GOOD(krait_table_add_column(table, &good, &err));
    free_table(table);
    table = new_table();
    bad = text_column("t", "\xff\xff" "abc\xff", 6, wide, 8, 2); /* what no row has is not looked at */
    GOOD(krait_table_add_column(table, &bad, &err));
    text_is(&table->columns.items[0].column, 0, "");
    text_is(&table->columns.items[0].column, 1, "abc");
    free_table(table);
    bad = good, bad.offset_bytes = 0;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 't' has offset_bytes 0, expected 4 or 8");
    bad = good, bad.offsets = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 't' has offsets NULL, expected 4 of them");
    bad = good, bad.offsets = (const char *)abc_offsets + 2;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 't' has offsets at an address that is no multiple of 4");
    bad = good, bad.rows = INT64_MAX - 1;
    REFUSED(bad, KRAIT_E_SHAPE, "column 't' has 9223372036854775806 rows, whose offsets reach beyond memory");
    bad = good, bad.data_bytes = -1;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 't' has data_bytes -1, expected 0 or more");
    bad = good, bad.data = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 't' has data NULL, expected 6 bytes");
    bad = good, bad.data = (const void *)UINTPTR_MAX;
    REFUSED(bad, KRAIT_E_SHAPE, "column 't' has data_bytes 6, which reaches beyond memory");
    bad = good, bad.data_bytes = 5;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' ends at offset 6 in row 2, its data at 5");
}

static void offsets_that_run_wrong(void **state) {
    const int32_t back[] = { 0, 3, 1, 6 }, before[] = { -1, 1, 2, 3 }, up_and_down[] = { 0, 7, 7, 6 };
    const int64_t far_off[] = { 0, INT64_MAX, INT64_MAX, INT64_MAX }, turned[] = { 0, 1, 2, INT64_MIN };
    uint8_t       none = 0;
    krait_column  bad = abc_column("t");
    (void)state;
    bad.valid = &none; /* also where no row has a value */
    bad.offsets = back;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' has offsets 3 and 1 at row 1, which run backwards");
    bad.offsets = before;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' has offsets -1 and 1 at row 0, which lie before its data");
    bad.offsets = up_and_down;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' ends at offset 7 in row 0, its data at 6");
    bad.offset_bytes = 8;
    bad.offsets = far_off;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' ends at offset 9223372036854775807 in row 0, its data at 6");
    bad.offsets = turned;
    bad.kind = KRAIT_COLUMN_BYTES;
    REFUSED(bad, KRAIT_E_RANGE, "column 't' has offsets 2 and -9223372036854775808 at row 2, which run backwards");
}

static void texts_that_are_not_utf8(void **state) {
    static const int32_t offsets[] = { 0, 4, 5, 8 };
    const uint8_t        not_second = 5;
    char                 name[210];
    krait_table         *table = new_table();
    krait_column         column = text_column("t", "aaaa\xff\xe2\x82\xac", 8, offsets, 4, 3);
    krait_column         split = text_column("t", "\xe2\x82\xac\xe2\x82\xac", 6, (int32_t[]){ 0, 3, 5, 6 }, 4, 3);
    (void)state;
    REFUSED(column, KRAIT_E_ENCODING, "column 't' is not UTF-8 at row 1: byte 0 of 1 is 0xff");
    REFUSED(split, KRAIT_E_ENCODING, "column 't' is not UTF-8 at row 1: byte 0 of 2 is 0xe2");
    split.offsets = (int32_t[]){ 0, 0, 3, 6 };
    krait_table_free(table);
    table = new_table();
    GOOD(krait_table_add_column(table, &split, &err));
    column.valid = &not_second;
    GOOD(krait_table_add_column(table, &column, &err)); /* a row without a value may have anything */
    column.kind = KRAIT_COLUMN_BYTES;
    column.valid = NULL;
    GOOD(krait_table_add_column(table, &column, &err));
    free_table(table);
    column.kind = KRAIT_COLUMN_TEXT;
    memset(name, 'n', sizeof name);
    memcpy(name + 99, "\xc3\xa9", 2); /* would be cut in the middle */
    name[209] = 0;
    column.name = name;
    table = new_table();
    assert_int_equal(krait_table_add_column(table, &column, &err), KRAIT_E_ENCODING);
    assert_non_null(strstr(krait_error_message(err), "nnn' is not UTF-8"));
    assert_string_equal(krait_error_step(err), "build table");
    krait_error_clear(&err);
    free_table(table);
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

/* The definition, slowly: decode, and compare with what the code point's own encoding is. Returns the bytes used, 0 if
 * it is not UTF-8. */
static size_t naive_character(const unsigned char *s, size_t n) {
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t                size = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
    uint32_t              point = size == 1 ? s[0] : s[0] & (0xffu >> (size + 1));
    if (size == 4 && (s[0] & 0xf8) != 0xf0) return 0;
    if (size > n) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    return point >= least[size] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff) ? size : 0;
}

static size_t naive_span(const unsigned char *s, size_t n) {
    size_t i = 0, step;
    while (i < n && (step = naive_character(s + i, n - i)) > 0) i += step;
    return i;
}

static void utf8_is_as_strict_as_the_standard(void **state) {
    static const unsigned char later[] = { 0x7f, 0x80, 0x8f, 0x9f, 0xbf, 0xc0 };
    unsigned char              text[5] = { 0 };
    size_t                     wrong = 0;
    (void)state;
    for (unsigned two = 0; two < 65536; two++)
        for (size_t i = 0; i < COUNT(later) * COUNT(later); i++) {
            text[0] = (unsigned char)(two >> 8);
            text[1] = (unsigned char)two;
            text[2] = later[i / COUNT(later)];
            text[3] = later[i % COUNT(later)];
            for (size_t size = 1; size <= 4; size++)
                wrong += krait__utf8_span((char *)text, size) != naive_span(text, size);
        }
    assert_int_equal(wrong, 0);
    assert_int_equal(krait__utf8_span(NULL, 0), 0);
}

static void every_code_point_is_encoded(void **state) {
    size_t wrong = 0;
    (void)state;
    for (uint32_t point = 0; point < 0x111000; point++) {
        char   text[4] = { 0 };
        size_t size = krait__utf8_encode(point, text);
        bool   none = point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff);
        wrong += size != krait__utf8_encode(point, NULL);
        wrong += none ? size != 0 : naive_character((unsigned char *)text, 4) != size;
        wrong += none ? 0 : krait__utf8_span(text, size) != size;
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(krait__utf8_encode(UINT32_MAX, NULL), 0);
    assert_memory_equal((krait__utf8_encode(0x20ac, (char[4]){ 0 }), "\xe2\x82\xac"), "\xe2\x82\xac", 3);
}

/* ---- categories -------------------------------------------------------------------------------------------------- */

static krait_column category(const char *name, const void *codes, krait_dtype dtype, int64_t rows,
                             const krait_column *dictionary) {
    krait_column column = array_column(name, codes, dtype, rows);
    column.kind = KRAIT_COLUMN_CATEGORY;
    column.dictionary = dictionary;
    column.ordered = 1;
    return column;
}

static void codes_of_every_size_are_read(void **state) {
    const int8_t       i8[] = { 2, -1, 1 };
    const int16_t      i16[] = { 2, -1, 1 };
    const int32_t      i32[] = { 2, -1, 1 };
    const int64_t      i64[] = { 2, 1 << 20, 1 };
    const uint8_t      not_second = 5;
    const krait_column values = abc_column(NULL);
    const krait_column columns[] = { category("c", i8, krait_i8_type(), 3, &values),
                                     category("c", i16, krait_i16_type(), 3, &values),
                                     category("c", i32, krait_i32_type(), 3, &values),
                                     category("c", i64, krait_i64_type(), 3, &values) };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        krait_column column = columns[i];
        column.valid = &not_second;
        assert_int_equal(krait_column_code(&column, 0), 2);
        assert_int_equal(krait_column_code(&column, 1), -1);
        assert_int_equal(krait_column_code(&column, 2), 1);
    }
}

static void codes_must_be_in_the_dictionary(void **state) {
    const int8_t  i8[] = { 0, 1, 2, -1 };
    const int16_t i16[] = { 0, 1, 2, 3 };
    const int32_t i32[] = { 0, 256, 2, 0 };
    const int64_t i64[] = { 0, 1, 2, INT64_C(1) << 32 };
    const uint8_t not_last = 7;
    krait_column  values = abc_column(NULL), column, read;
    krait_table  *table = new_table();
    (void)state;
    column = category("c", i8, krait_i8_type(), 4, &values);
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code -1 at row 3, its dictionary 3 rows");
    column.valid = &not_last;
    GOOD(krait_table_add_column(table, &column, &err));
    GOOD(krait_table_column(table, 0, &read, &err));
    assert_int_equal(read.ordered, 1);
    assert_ptr_not_equal(read.dictionary, &values);
    assert_ptr_equal(read.dictionary->data, values.data);
    text_is(read.dictionary, 2, "ccc");
    column = category("c", i16, krait_i16_type(), 4, &values);
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code 3 at row 3, its dictionary 3 rows");
    column = category("c", i32, swapped(krait_i32_type()), 4, &values);
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code 65536 at row 1, its dictionary 3 rows");
    column = category("c", i64, krait_i64_type(), 4, &values);
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code 4294967296 at row 3, its dictionary 3 rows");
    column.stride = 16; /* only rows 0 and 2 */
    column.rows = 2;
    values.rows = 3;
    krait_table_free(table);
    table = new_table();
    GOOD(krait_table_add_column(table, &column, &err));
    values.rows = 1;
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code 2 at row 1, its dictionary 1 row");
    values.rows = 0;
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code 0 at row 0, its dictionary 0 rows");
    free_table(table);
}

static void swapped_codes_are_read(void **state) {
    const int16_t i16[] = { 0x0100, 0x0200, 0 };
    const int64_t i64[] = { 0, (int64_t)__builtin_bswap64(2), -1 };
    krait_column  values = abc_column(NULL), column = category("c", i16, swapped(krait_i16_type()), 3, &values);
    krait_table  *table = new_table(), *copy;
    krait_column  read;
    (void)state;
    GOOD(krait_table_add_column(table, &column, &err));
    GOOD(krait__table_copy(table, &copy, &err));
    GOOD(krait_table_column(copy, 0, &read, &err));
    assert_memory_equal(read.data, ((int16_t[]){ 1, 2, 0 }), 6);
    assert_int_equal(read.dtype.swapped, 0);
    krait_table_free(copy);
    column = category("c", i64, swapped(krait_i64_type()), 3, &values);
    REFUSED(column, KRAIT_E_RANGE, "column 'c' has code -1 at row 2, its dictionary 3 rows");
    free_table(table);
}

#undef REFUSED
#define REFUSED(column, expected, message)                                                                             \
    do {                                                                                                               \
        SAYS(krait__column_check(&(column), false, &err), expected, message);                                          \
    } while (0)

static void categories_that_are_none(void **state) {
    const int32_t codes[] = { 0, 1, 2 };
    krait_column  values = abc_column("v"), good = category("c", codes, krait_i32_type(), 3, &values), bad, inner;
    (void)state;
    GOOD(krait__column_check(&good, false, &err));
    bad = good, bad.dtype = krait_u32_type();
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' has codes of dtype uint32, expected int8, int16, int32 or int64");
    bad = good, bad.dtype = krait_bool_type();
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' has codes of dtype bool, expected int8, int16, int32 or int64");
    bad = good, bad.dictionary = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' is a category with dictionary NULL");
    bad = good, bad.dictionary = &good;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' has a dictionary that is a category itself");
    bad.dictionary = &bad;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' has a dictionary that is a category itself");
    bad = good, bad.data = NULL;
    REFUSED(bad, KRAIT_E_ARGUMENT, "column 'c' is no array: data is NULL, expected 3 elements of int32");
    inner = values, inner.data = "a\xff" "bccc";
    bad = good, bad.dictionary = &inner;
    REFUSED(bad, KRAIT_E_ENCODING, "dictionary of column 'c' is not UTF-8 at row 1: byte 0 of 2 is 0xff");
    inner = values, inner.rows = -5;
    REFUSED(bad, KRAIT_E_SHAPE, "dictionary of column 'c' has -5 rows");
    inner = array_column(NULL, prices, krait_f64_type(), 3); /* of numbers, and without a name */
    GOOD(krait__column_check(&bad, false, &err));
}

static void trusted_columns_are_looked_at_less(void **state) {
    const int32_t codes[] = { 0, 9, 2 };
    krait_column  values = abc_column("v"), column = category("c", codes, krait_i32_type(), 3, &values);
    (void)state;
    GOOD(krait__column_check(&column, true, &err));
    values.data = "\xff\xff\xff\xff\xff\xff";
    values.reserved[0] = 1;
    GOOD(krait__column_check(&values, true, &err));
    values.offsets = NULL;
    SAYS(krait__column_check(&column, true, &err), KRAIT_E_ARGUMENT,
         "dictionary of column 'c' has offsets NULL, expected 4 of them");
    column.dictionary = NULL;
    SAYS(krait__column_check(&column, true, &err), KRAIT_E_ARGUMENT, "column 'c' is a category with dictionary NULL");
    column.name = NULL;
    SAYS(krait__column_check(&column, true, &err), KRAIT_E_ARGUMENT, "name is NULL, expected UTF-8 (\"\" for none)");
}

/* Fast scans find a fault wherever it is, and no fault where there is none. */
static void faults_are_found_at_every_row(void **state) {
    enum { ROWS = 150 };
    static int8_t  i8[ROWS];
    static int16_t i16[ROWS];
    static int32_t i32[ROWS], narrow[ROWS + 1];
    static int64_t i64[ROWS], wide[ROWS + 1];
    static char    data[ROWS];
    krait_column   values = column_of(KRAIT_COLUMN_DATE, NULL, 130), columns[] = {
        category("c", i8, krait_i8_type(), ROWS, &values),   category("c", i16, krait_i16_type(), ROWS, &values),
        category("c", i32, krait_i32_type(), ROWS, &values), category("c", i64, krait_i64_type(), ROWS, &values),
        text_column("c", data, ROWS, narrow, 4, ROWS),       text_column("c", data, ROWS, wide, 8, ROWS),
    };
    char message[64];
    (void)state;
    values.data = prices;
    memset(data, 'a', sizeof data);
    for (int i = 0; i <= ROWS; i++) wide[i] = narrow[i] = i;
    for (int i = 0; i < ROWS; i++) i64[i] = i32[i] = i16[i] = i8[i] = (int8_t)(i % 128);
    for (size_t i = 0; i < COUNT(columns); i++) GOOD(krait__column_check(&columns[i], false, &err));
    for (int row = 0; row < ROWS; row++) {
        i8[row] = row % 2 ? -1 : INT8_MIN;
        i16[row] = INT16_MIN;
        i32[row] = 130;
        i64[row] = INT64_C(1) << 32;
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(krait__column_check(&columns[i], false, &err), KRAIT_E_RANGE);
            snprintf(message, sizeof message, " at row %d, its", row);
            assert_non_null(strstr(krait_error_message(err), message));
            krait_error_clear(&err);
        }
        i64[row] = i32[row] = i16[row] = i8[row] = (int8_t)(row % 128);
        wide[row] = narrow[row] = row ? row - 2 : -1;
        snprintf(message, sizeof message, " at row %d, which", row ? row - 1 : 0);
        for (size_t i = 4; i < 6; i++) {
            assert_int_equal(krait__column_check(&columns[i], false, &err), KRAIT_E_RANGE);
            assert_non_null(strstr(krait_error_message(err), message));
            krait_error_clear(&err);
        }
        wide[row] = narrow[row] = row;
        data[row] = (char)0xc3;
        snprintf(message, sizeof message, " at row %d: byte 0 of 1 is 0xc3", row);
        for (size_t i = 4; i < 6; i++) {
            assert_int_equal(krait__column_check(&columns[i], false, &err), KRAIT_E_ENCODING);
            assert_non_null(strstr(krait_error_message(err), message));
            krait_error_clear(&err);
        }
        data[row] = 'a';
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static krait_table *read_table(void) {
    krait_table *table = new_table();
    krait_column level = abc_column("level");
    GOOD(krait_table_add(table, "x", krait_vector_f64(prices, 3), NULL, &err));
    GOOD(krait_table_add(table, "y", krait_vector_i32((const int32_t *)abc_offsets, 3), NULL, &err));
    GOOD(krait_table_add(table, "x", krait_vector_f64(prices + 3, 3), NULL, &err));
    GOOD(krait_table_add_index(table, &level, &err));
    return table;
}

static void columns_by_position_and_name(void **state) {
    krait_table *table = read_table();
    krait_column column;
    (void)state;
    assert_int_equal(krait_table_rows(table), 3);
    assert_int_equal(krait_table_column_count(table), 3);
    assert_int_equal(krait_table_index_count(table), 1);
    assert_string_equal(krait_table_column_name(table, 1), "y");
    assert_string_equal(krait_table_column_name(table, 3), "");
    GOOD(krait_table_column(table, 2, &column, &err));
    assert_ptr_equal(column.data, prices + 3);
    GOOD(krait_table_find(table, "y", &column, &err));
    assert_ptr_equal(column.data, abc_offsets);
    GOOD(krait_table_index(table, 0, &column, &err));
    assert_string_equal(column.name, "level");
    SAYS(krait_table_column(table, 3, &column, &err), KRAIT_E_NOT_FOUND,
         "no column 3 in table of 3 columns, 3 rows: 'x', 'y', 'x'");
    assert_null(column.name);
    SAYS(krait_table_index(table, 1, &column, &err), KRAIT_E_NOT_FOUND,
         "no level of the index 1 in table of 3 columns, 3 rows: 'level'");
    SAYS(krait_table_find(table, "level", &column, &err), KRAIT_E_NOT_FOUND,
         "no column 'level': level 0 of the index has that name: krait_table_index");
    SAYS(krait_table_find(table, "none", &column, &err), KRAIT_E_NOT_FOUND,
         "no column 'none' in table of 3 columns, 3 rows: 'x', 'y', 'x'");
    SAYS(krait_table_find(table, "x", &column, &err), KRAIT_E_AMBIGUOUS,
         "2 columns are named 'x', at positions 0, 2: krait_table_column takes one");
    krait_table_column(table, 9, &column, &err);
    assert_string_equal(krait_error_step(err), "read value");
    krait_error_clear(&err);
    free_table(table);
}

static void long_lists_are_cut(void **state) {
    krait_table *table = new_table();
    krait_column column;
    char         name[16];
    (void)state;
    for (int i = 0; i < 23; i++) {
        snprintf(name, sizeof name, "%d", i);
        GOOD(krait_table_add(table, name, krait_vector_f64(prices, 0), NULL, &err));
    }
    SAYS(krait_table_find(table, "x", &column, &err), KRAIT_E_NOT_FOUND,
         "no column 'x' in table of 23 columns, 0 rows: '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', "
         "'12', '13', '14', '15', '16', '17', '18', '19' and 3 more");
    for (int i = 0; i < 22; i++) GOOD(krait_table_add(table, "x", krait_vector_f64(prices, 0), NULL, &err));
    SAYS(krait_table_find(table, "x", &column, &err), KRAIT_E_AMBIGUOUS,
         "22 columns are named 'x', at positions 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, "
         "41, 42 and 2 more: krait_table_column takes one");
    free_table(table);
}

static void null_is_refused(void **state) {
    krait_table       *table = read_table();
    const krait_table *read;
    krait_column       column = abc_column("t");
    krait_array        array;
    krait_value        value = krait_table_value(table), nothing = krait_table_value(NULL), copy;
    (void)state;
    assert_int_equal(krait_table_rows(NULL), 0);
    assert_int_equal(krait_table_column_count(NULL), 0);
    assert_int_equal(krait_table_index_count(NULL), 0);
    assert_string_equal(krait_table_column_name(NULL, 0), "");
    SAYS(krait_get_table(NULL, &read, &err), KRAIT_E_ARGUMENT, "value is NULL");
    SAYS(krait_get_table(&value, NULL, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_get_table(&nothing, &read, &err), KRAIT_E_ARGUMENT, "table is NULL, expected one of krait_table_new");
    SAYS(krait_value_copy(&nothing, &copy, &err), KRAIT_E_ARGUMENT, "table is NULL, expected one of krait_table_new");
    SAYS(krait_get_array(&nothing, KRAIT_ANY, 1, &array, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_get_column(&nothing, "x", KRAIT_ANY, &array, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_column(NULL, 0, &column, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_column(table, 0, NULL, &err), KRAIT_E_ARGUMENT, "column is NULL");
    SAYS(krait_table_index(NULL, 0, &column, &err), KRAIT_E_ARGUMENT, "table is NULL");
    SAYS(krait_table_find(table, NULL, &column, &err), KRAIT_E_ARGUMENT, "name is NULL");
    SAYS(krait_table_find(table, "x", NULL, &err), KRAIT_E_ARGUMENT, "column is NULL");
    SAYS(krait_column_array(NULL, KRAIT_ANY, false, &array, &err), KRAIT_E_ARGUMENT, "column is NULL");
    SAYS(krait_column_array(&column, KRAIT_ANY, false, NULL, &err), KRAIT_E_ARGUMENT, "out is NULL");
    SAYS(krait_column_array(&column, 99, false, &array, &err), KRAIT_E_ARGUMENT,
         "dtype code 99 is none that columns have");
    free_table(table);
}

static void errors_stick(void **state) {
    krait_table       *table = read_table();
    const krait_table *read;
    krait_column       column = abc_column("t");
    krait_array        array;
    krait_value        value = krait_table_value(table);
    (void)state;
    krait_error_new(&err, KRAIT_E_RANGE, "earlier");
    assert_null(krait_table_new(&err));
    assert_int_equal(krait_get_table(&value, &read, &err), KRAIT_E_RANGE);
    assert_null(read);
    assert_int_equal(krait_table_add_column(table, &column, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_table_add_index(table, &column, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_table_add_strings(table, "s", NULL, 0, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_column_array(&column, KRAIT_ANY, false, &array, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_table_column(table, 0, &column, &err), KRAIT_E_RANGE);
    assert_int_equal(krait_table_find(table, "y", &column, &err), KRAIT_E_RANGE);
    assert_null(column.name);
    assert_string_equal(krait_error_message(err), "earlier");
    krait_error_clear(&err);
    assert_int_equal(krait_table_column_count(table), 3);
    free_table(table);
}

static void tables_of_values(void **state) {
    krait_table       *table = read_table();
    krait_value        value = krait_table_value(table), other = krait_f64(1);
    const krait_table *read;
    krait_array        array;
    char               text[64];
    (void)state;
    GOOD(krait_get_table(&value, &read, &err));
    assert_ptr_equal(read, table);
    SAYS(krait_get_table(&other, &read, &err), KRAIT_E_KIND, "value is float, expected a table");
    assert_null(read);
    assert_int_equal(krait_value_describe(&value, text, sizeof text), 26);
    assert_string_equal(text, "table of 3 columns, 3 rows");
    assert_int_equal(krait__table_describe(NULL, text, sizeof text), 18);
    assert_string_equal(text, "table that is NULL");
    GOOD(krait_get_column(&value, "y", KRAIT_I32, &array, &err));
    assert_ptr_equal(array.data, abc_offsets);
    assert_ptr_equal(array.shape, &table->columns.items[1].column.rows); /* not of the stack */
    assert_ptr_equal(array.strides, &table->columns.items[1].column.stride);
    SAYS(krait_get_column(&value, "y", KRAIT_F64, &array, &err), KRAIT_E_KIND,
         "column 'y' is int32, expected float64");
    SAYS(krait_get_column(&value, "x", KRAIT_F64, &array, &err), KRAIT_E_AMBIGUOUS,
         "2 columns are named 'x', at positions 0, 2: krait_table_column takes one");
    SAYS(krait_get_column(&value, "z", KRAIT_F64, &array, &err), KRAIT_E_NOT_FOUND,
         "no column 'z' in table of 3 columns, 3 rows: 'x', 'y', 'x'");
    SAYS(krait_get_array(&value, KRAIT_F64, 1, &array, &err), KRAIT_E_SHAPE,
         "value is table of 3 columns, 3 rows, expected exactly one column: krait_get_column takes one");
    free_table(table);
}

static void single_columns_are_arrays(void **state) {
    static const char *const strings[] = { "a", "b", "c" };
    krait_table             *table = new_table();
    krait_value              value = krait_table_value(table), valid = krait_vector_u8((const uint8_t *)"\7", 1);
    krait_column             column = abc_column("level"), dates = column_of(KRAIT_COLUMN_DATE, "d", 3);
    krait_array              array;
    (void)state;
    SAYS(krait_get_array(&value, KRAIT_F64, 1, &array, &err), KRAIT_E_SHAPE,
         "value is table of 0 columns, 0 rows, expected exactly one column: krait_get_column takes one");
    GOOD(krait_table_add(table, "x", krait_vector_f64(prices, 3), NULL, &err));
    GOOD(krait_table_add_index(table, &column, &err));
    GOOD(krait_get_array(&value, KRAIT_F64, 1, &array, &err));
    assert_ptr_equal(array.data, prices);
    assert_ptr_equal(array.shape, &table->columns.items[0].column.rows);
    GOOD(krait_get_array(&value, KRAIT_ANY, -1, &array, &err));
    SAYS(krait_get_array(&value, KRAIT_I64, 1, &array, &err), KRAIT_E_KIND, "column 'x' is float64, expected int64");
    SAYS(krait_get_array(&value, KRAIT_DATETIME, 1, &array, &err), KRAIT_E_KIND,
         "column 'x' is float64, expected datetime64");
    krait_table_free(table);
    table = new_table();
    value = krait_table_value(table);
    GOOD(krait_table_add_strings(table, "s", strings, 3, &err));
    SAYS(krait_get_array(&value, KRAIT_F64, 1, &array, &err), KRAIT_E_KIND, "column 's' is text, expected float64");
    SAYS(krait_get_array(&value, KRAIT_ANY, 1, &array, &err), KRAIT_E_KIND,
         "column 's' is text, expected numbers or times");
    krait_table_free(table);
    table = new_table();
    value = krait_table_value(table);
    GOOD(krait_table_add(table, "m", krait_vector_f64(prices, 3), &valid, &err));
    SAYS(krait_get_array(&value, KRAIT_F64, 1, &array, &err), KRAIT_E_KIND,
         "column 'm' is float64, expected float64 without validity: missing_too takes it, krait_column_has tells which rows have a value");
    dates.data = prices;
    dates.stride = 4;
    GOOD(krait__column_check(&dates, false, &err));
    free_table(table);
}

static void types_have_names(void **state) {
    krait_column values = abc_column("v"), column = abc_column("x");
    char         text[64];
    (void)state;
    column.kind = KRAIT_COLUMN_BYTES;
    krait__column_type(&column, text, sizeof text);
    assert_string_equal(text, "bytes");
    column = category("c", NULL, krait_i8_type(), 0, &values);
    krait__column_type(&column, text, sizeof text);
    assert_string_equal(text, "category of 3 values");
    values.rows = 1;
    assert_int_equal(krait__column_type(&column, text, 9), 19);
    assert_string_equal(text, "category");
    assert_int_equal(krait__column_type(&column, NULL, 0), 19);
    column.kind = 0;
    krait__column_type(&column, text, sizeof text);
    assert_string_equal(text, "of an unknown kind");
}

/* ---- copies against a naive reference ---------------------------------------------------------------------------- */

static uint64_t rng;
static uint64_t draw(uint64_t below) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % below;
}

/* Memory of exactly that size, so that ASan sees every step too far; listed to be freed. */
static void  *made[64];
static size_t made_count;
static void *make(size_t size) {
    void *memory = malloc(size ? size : 1);
    assert_non_null(memory);
    assert_true(made_count < COUNT(made));
    return made[made_count++] = memory;
}

static void random_bits(krait_column *column) {
    uint8_t *bits;
    size_t   size;
    if (draw(2)) return;
    column->valid_offset = (int64_t)draw(20);
    size = (size_t)(column->valid_offset + column->rows + 7) / 8;
    column->valid = bits = make(size);
    for (size_t i = 0; i < size; i++) bits[i] = (uint8_t)draw(256);
}

/* The elements of a column of any stride, offset and alignment. */
static char *random_elements(krait_column *column, int64_t item) {
    int64_t span, start;
    char   *memory;
    column->stride = draw(3) ? item : (int64_t)draw(40) - 20;
    span = column->rows ? (column->rows - 1) * column->stride : 0;
    start = (int64_t)draw(9);
    memory = make((size_t)(start + llabs(span) + (column->rows ? item : 0)));
    for (int64_t i = 0; i < start + llabs(span) + (column->rows ? item : 0); i++) memory[i] = (char)draw(256);
    column->data = memory + start + (span < 0 ? -span : 0);
    return memory;
}

static void random_text(krait_column *column) {
    int64_t first = (int64_t)draw(5), total = first;
    bool    narrow = draw(2);
    char   *offsets, *data;
    column->offset_bytes = narrow ? 4 : 8;
    column->offsets = offsets = make((size_t)(column->rows + 1) * (size_t)column->offset_bytes);
    for (int64_t row = 0; row <= column->rows; row++) {
        if (narrow) ((int32_t *)(void *)offsets)[row] = (int32_t)total;
        else ((int64_t *)(void *)offsets)[row] = total;
        if (row < column->rows) total += (int64_t)draw(6);
    }
    column->data_bytes = total + (int64_t)draw(3);
    column->data = data = make((size_t)column->data_bytes);
    for (int64_t i = 0; i < column->data_bytes; i++) data[i] = (char)(column->kind == KRAIT_COLUMN_TEXT ? 'a' + draw(26) : draw(256));
}

static krait_column random_column(int64_t rows, bool inner) {
    static const uint8_t codes[] = { KRAIT_BOOL, KRAIT_I8, KRAIT_U16, KRAIT_F32, KRAIT_I64, KRAIT_F64, KRAIT_C64,
                                     KRAIT_C128, KRAIT_DATETIME };
    krait_column         column = column_of((uint8_t)(1 + draw(6)), "x", rows);
    if (inner && column.kind == KRAIT_COLUMN_CATEGORY) column.kind = KRAIT_COLUMN_TEXT;
    if (column.kind == KRAIT_COLUMN_ARRAY) {
        uint8_t code = codes[draw(COUNT(codes))];
        column.dtype = code == KRAIT_DATETIME ? krait_datetime(KRAIT_MS, 1)
                                              : krait_dtype_make_(code, 0, krait__code_size(code), 0);
        column.dtype.swapped = (uint8_t)draw(2);
        if (code == KRAIT_DATETIME && draw(2)) column.zone = "UTC";
        random_elements(&column, column.dtype.item_size);
    } else if (column.kind == KRAIT_COLUMN_CATEGORY) {
        krait_column *dictionary = make(sizeof *dictionary);
        char         *memory;
        *dictionary = random_column((int64_t)draw(9) + 1, true);
        dictionary->name = NULL;
        column.dictionary = dictionary;
        column.dtype = krait_i8_type();
        memory = random_elements(&column, 1);
        for (char *at = memory; rows && at < (const char *)column.data + 1; at++) *at = 0;
        for (int64_t row = 0; row < rows; row++)
            *((char *)(uintptr_t)column.data + row * column.stride) = (char)draw((uint64_t)dictionary->rows);
    } else if (krait__column_is_text(&column)) {
        random_text(&column);
    } else {
        column.precision = (uint8_t)(1 + draw(38));
        column.scale = (int8_t)draw(9);
        random_elements(&column, krait__column_item(&column));
    }
    random_bits(&column);
    return column;
}

static void element_is_equal(const krait_column *copy, const krait_column *from, int64_t row) {
    size_t      item = (size_t)krait__column_item(from), width = item;
    const char *a = (const char *)copy->data + row * (int64_t)item, *b = (const char *)from->data + row * from->stride;
    if (from->kind == KRAIT_COLUMN_ARRAY && (from->dtype.code == KRAIT_C64 || from->dtype.code == KRAIT_C128)) width /= 2;
    for (size_t i = 0; i < item; i++)
        assert_int_equal(a[i], b[from->dtype.swapped ? i / width * width + width - 1 - i % width : i]);
}

static void column_is_equal(const krait_column *copy, const krait_column *from) {
    assert_int_equal(copy->kind, from->kind);
    assert_int_equal(copy->rows, from->rows);
    assert_int_equal(copy->precision, from->kind == KRAIT_COLUMN_DECIMAL ? from->precision : 0);
    assert_int_equal(copy->dtype.code, from->dtype.code);
    assert_int_equal(copy->dtype.swapped, 0);
    assert_int_equal(copy->flags, KRAIT_ARRAY_WRITABLE | KRAIT_ARRAY_COPIED);
    assert_int_equal((uintptr_t)copy->data % 64, 0);
    assert_int_equal(copy->valid != NULL, from->valid != NULL);
    assert_int_equal(copy->valid_offset, 0);
    assert_int_equal(copy->zone != NULL, from->zone != NULL);
    if (copy->valid && from->rows % 8) assert_int_equal(copy->valid[from->rows / 8] >> from->rows % 8, 0);
    for (int64_t row = 0; row < from->rows; row++) {
        size_t      size, size_from;
        const char *text, *text_from;
        assert_int_equal(krait_column_has(copy, row), krait_column_has(from, row));
        if (!krait__column_is_text(from)) {
            element_is_equal(copy, from, row);
            continue;
        }
        text = krait_column_text(copy, row, &size);
        text_from = krait_column_text(from, row, &size_from);
        assert_int_equal(size, size_from);
        assert_int_equal(text != NULL, text_from != NULL);
        if (size) assert_memory_equal(text, text_from, size);
    }
    if (from->kind == KRAIT_COLUMN_CATEGORY) column_is_equal(copy->dictionary, from->dictionary);
}

static void count_range(void *user, const char *lo, const char *hi) {
    assert_true(lo <= hi); /* without rows there is none, but a place */
    *(uint64_t *)user += (uint64_t)(hi - lo);
}

static void try_table(void) {
    int64_t      rows = draw(8) ? (int64_t)(draw(4) ? draw(40) : draw(300)) : 0;
    size_t       columns = (size_t)draw(4), levels = (size_t)draw(3);
    krait_column from[6], read;
    krait_table *table = new_table(), *copy;
    uint64_t     bytes = 0, expected = 0;
    made_count = 0;
    for (size_t i = 0; i < columns + levels; i++) {
        from[i] = random_column(rows, false);
        if (i < columns) GOOD(krait_table_add_column(table, &from[i], &err));
        else GOOD(krait_table_add_index(table, &from[i], &err));
    }
    GOOD(krait__table_copy(table, &copy, &err));
    assert_int_equal(krait_table_rows(copy), columns + levels ? rows : 0);
    for (size_t i = 0; i < columns + levels; i++) {
        if (i < columns) GOOD(krait_table_column(copy, i, &read, &err));
        else GOOD(krait_table_index(copy, i - columns, &read, &err));
        column_is_equal(&read, &from[i]);
        krait__column_ranges(&read, count_range, &expected);
        GOOD(krait__column_copy(copy, &read, &bytes, &err)); /* a second one, for what it counts */
    }
    assert_true(bytes >= expected && bytes <= expected + 16 * (columns + levels)); /* offsets of no rows are counted */
    krait_table_free(table);
    for (size_t i = 0; i < made_count; i++) memset(made[i], 0xee, 1), free(made[i]);
    for (size_t i = 0; i < columns; i++) { /* the copy stands alone: ASan would see it read what was freed */
        GOOD(krait_table_column(copy, i, &read, &err));
        assert_string_equal(read.name, "x");
        GOOD(krait__column_check(&read, false, &err));
    }
    krait_table_free(copy);
}

static void random_tables_are_copied(void **state) {
    const char *seed = getenv("KRAIT_TEST_SEED");
    uint64_t    start = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    (void)state;
    rng = start ? start : 1;
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", rng);
    for (int i = 0; i < 3000; i++) try_table();
    assert_int_equal(krait__mem_blocks(), 0);
}

/* ---- no memory --------------------------------------------------------------------------------------------------- */

#ifdef KRAIT_FAULTS
/* A bit of everything, stopping at the first failure; the copy too. What was handed over is released in any case. */
static krait_status build_all(const krait_struct *type, krait_error **error) {
    static const char *const strings[] = { "a", NULL, "c" };
    static const bool        bools[] = { 1, 0, 1 };
    static const int8_t      codes[] = { 0, 1, 2 };
    krait_column             values = abc_column("v"), coded = category("c", codes, krait_i8_type(), 3, &values);
    krait_column             times = array_column("t", prices, krait_datetime(KRAIT_NS, 1), 3), level = abc_column("l");
    krait_value              valid = krait_vector_bool(bools, 3), value, copy = krait_none();
    krait_table             *table = krait_table_new(error);
    krait_value              owned = krait_owned(krait_vector_f64(prices, 3), release, &one);
    times.zone = "UTC";
    for (int i = 0; i < 6; i++) krait_table_add(table, "owned", owned, &valid, error); /* six are released in any case */
    krait_table_add_strings(table, "s", strings, 3, error);
    krait_table_add_structs(table, krait_structs(ticks, 3, type), error);
    krait_table_add_column(table, &coded, error);
    krait_table_add_column(table, &times, error);
    krait_table_add_index(table, &level, error);
    if (!*error && !(krait__table_push(table, false, "odd", 3) && krait__table_refuse(table, false, "%s", "odd")))
        krait__fail_nomem(error);
    value = krait_table_value(table);
    krait_value_copy(&value, &copy, error);
    krait_value_clear(&copy);
    krait_table_free(table);
    return krait_error_status(*error);
}

static void building_survives_want_of_memory(void **state) {
    krait_struct *type = tick_type();
    uint64_t      blocks = krait__mem_blocks(), needed;
    (void)state;
    krait__mem_fail_at(0);
    GOOD(build_all(type, &err));
    needed = krait__mem_count();
    assert_true(needed > 80);
    for (uint64_t n = 1; n <= needed; n++) {
        released = 0;
        krait__mem_fail_at(n);
        build_all(type, &err);
        krait__mem_fail_at(0);
        if (krait_error_status(err) != KRAIT_E_NOMEM)
            fail_msg("allocation %" PRIu64 ": %s", n, krait_error_message(err));
        krait_error_clear(&err);
        assert_int_equal(released, 6);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
    krait_struct_free(type);
}

/* What failed for want of memory can be tried again, and nothing of it is there twice. */
static void tables_stay_good_after_want_of_memory(void **state) {
    krait_struct *type = tick_type();
    krait_table  *table = new_table();
    (void)state;
    GOOD(krait_table_add(table, "x", krait_vector_f64(prices, 3), NULL, &err));
    for (uint64_t n = 1;; n++) {
        krait_status status;
        krait__mem_fail_at(n);
        status = krait_table_add_structs(table, krait_structs(ticks, 3, type), &err);
        krait__mem_fail_at(0);
        if (!status) break;
        SAYS(status, KRAIT_E_NOMEM, "out of memory");
        assert_int_equal(krait_table_column_count(table), 1);
    }
    assert_int_equal(krait_table_column_count(table), 7);
    krait_struct_free(type);
    free_table(table);
}

/* Without memory for the message there is still a status, and nothing is lost. */
static void refusals_survive_want_of_memory(void **state) {
    krait_table *table = read_table();
    uint64_t     blocks = krait__mem_blocks();
    krait_column column, bad = array_column("x", NULL, krait_f64_type(), 3);
    (void)state;
    for (uint64_t n = 1; n < 12; n++) {
        krait_status statuses[4];
        krait_error *errors[4] = { NULL };
        krait__mem_fail_at(n);
        statuses[0] = krait_table_find(table, "z", &column, &errors[0]);
        krait__mem_fail_at(n);
        statuses[1] = krait_table_find(table, "x", &column, &errors[1]);
        krait__mem_fail_at(n);
        statuses[2] = krait_table_add_column(table, &bad, &errors[2]);
        krait__mem_fail_at(n);
        statuses[3] = krait_table_add(table, "x", krait_vector_f64(NULL, 3), NULL, &errors[3]);
        krait__mem_fail_at(0);
        for (size_t i = 0; i < 4; i++) {
            assert_non_null(errors[i]);
            assert_int_not_equal(statuses[i], KRAIT_OK);
            krait_error_clear(&errors[i]);
        }
        assert_int_equal(krait__mem_blocks(), blocks);
    }
    free_table(table);
}
#endif

static int forget_error(void **state) {
    (void)state;
    krait_error_clear(&err);
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_teardown(name, forget_error)
    const struct CMUnitTest tests[] = {
        TEST(kept_things_go_with_the_last_reference),
        TEST(blocks_are_aligned_and_last_longest),
        TEST(pushed_columns_are_empty_but_for_name_and_rows),
        TEST(refused_parts_say_why),
        TEST(ranges_of_all_buffers),
        TEST(ranges_of_dictionaries_and_of_nothing),
        TEST(arrays_of_every_dtype),
        TEST(strides_are_kept),
        TEST(values_that_are_no_arrays),
        TEST(rows_must_be_the_same),
        TEST(bools_become_bits_and_bits_are_borrowed),
        TEST(validity_that_does_not_fit),
        TEST(owned_values_live_as_long_as_the_table),
        TEST(owned_values_are_released_when_refused),
        TEST(fixed_elements_become_text),
        TEST(fixed_text_that_is_none),
        TEST(strings_are_copied),
        TEST(strings_are_refused),
        TEST(structs_become_columns),
        TEST(owned_structs_live_as_long_as_the_table),
        TEST(structs_are_refused_whole),
        TEST(columns_are_taken_as_they_are),
        TEST(columns_without_rows_need_no_memory),
        TEST(columns_that_are_none),
        TEST(arrays_that_are_none),
        TEST(decimals_and_dates),
        TEST(text_columns_are_checked),
        TEST(offsets_that_run_wrong),
        TEST(texts_that_are_not_utf8),
        TEST(utf8_is_as_strict_as_the_standard),
        TEST(every_code_point_is_encoded),
        TEST(codes_of_every_size_are_read),
        TEST(codes_must_be_in_the_dictionary),
        TEST(swapped_codes_are_read),
        TEST(categories_that_are_none),
        TEST(trusted_columns_are_looked_at_less),
        TEST(faults_are_found_at_every_row),
        TEST(columns_by_position_and_name),
        TEST(long_lists_are_cut),
        TEST(null_is_refused),
        TEST(errors_stick),
        TEST(tables_of_values),
        TEST(single_columns_are_arrays),
        TEST(types_have_names),
        TEST(random_tables_are_copied),
#ifdef KRAIT_FAULTS
        TEST(building_survives_want_of_memory),
        TEST(tables_stay_good_after_want_of_memory),
        TEST(refusals_survive_want_of_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
