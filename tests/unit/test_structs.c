/* structs: what a description takes, refuses and says; text of fixed width; every allocation failed in turn. Build with
 * -DKRAIT_FAULTS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "value.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static krait_error *err;

static void assert_good(void) {
    if (err) fail_msg("%s", krait_error_message(err));
}

/* Fails the test unless the status and exactly that message are there; clears it. */
static void says(krait_status status, const char *message) {
    if (krait_error_status(err) != status) fail_msg("%s", krait_error_message(err));
    assert_string_equal(krait_error_message(err), message);
    krait_error_clear(&err);
}

static void refused(const krait_member *members, size_t n, size_t size, const char *message) {
    assert_null(krait_struct_new(members, n, size, &err));
    assert_string_equal(krait_error_step(err), "describe struct");
    says(KRAIT_E_ARGUMENT, message);
}

static krait_member member(const char *name, size_t offset, size_t size, krait_dtype dtype) {
    return krait_member_(name, offset, size, dtype);
}

/* ---- what is taken ----------------------------------------------------------------------------------------------- */

struct point {
    int16_t x;
    double  y[3];
};

static krait_struct *point_type(void) {
    const krait_member members[] = {
        KRAIT_FIELD(struct point, x, krait_i16_type),
        KRAIT_FIELD(struct point, y, krait_f64_type),
    };
    return krait_struct_new(members, COUNT(members), sizeof(struct point), &err);
}

static void members_become_fields(void **state) {
    krait_struct      *point = point_type(), *pair;
    const krait_field *fields, *inner;
    krait_member       members[] = {
        member("tail", 70, 4, krait_fixed_bytes(2)), /* two of them; any order */
        member("points", 0, 2 * sizeof(struct point), krait_struct_type(point)),
        member("grid", 74, 24, krait_i32_type()),
        member("when", 98, 8, krait_datetime(KRAIT_MS, 25)), /* misaligned */
    };
    (void)state;
    assert_good();
    members[2].ndim = 2;
    members[2].shape[0] = 3;
    members[2].shape[1] = 2;
    pair = krait_struct_new(members, COUNT(members), 120, &err);
    assert_good();
    krait_struct_free(point); /* was copied */
    assert_int_equal(krait_struct_type(pair).item_size, 120);
    assert_int_equal(krait_dtype_fields(krait_struct_type(pair), &fields), 4);
    assert_string_equal(fields[0].name, "tail");
    assert_true(fields[0].ndim == 1 && fields[0].shape[0] == 2 && fields[0].dtype.code == KRAIT_FIXED_BYTES);
    assert_true(fields[1].ndim == 1 && fields[1].shape[0] == 2 && fields[1].dtype.code == KRAIT_STRUCT);
    assert_int_equal(krait_dtype_fields(fields[1].dtype, &inner), 2);
    assert_true(inner[1].offset == 8 && inner[1].ndim == 1 && inner[1].shape[0] == 3);
    assert_true(fields[2].ndim == 2 && fields[2].shape[0] == 3 && fields[2].shape[1] == 2);
    assert_true(fields[3].ndim == 0 && fields[3].dtype.unit == KRAIT_MS && fields[3].dtype.of.count == 25);
    assert_string_equal(
        pair->recipe,
        "{\"names\":[\"tail\",\"points\",\"grid\",\"when\"],\"formats\":[[\"|S2\",[2]],"
        "[{\"names\":[\"x\",\"y\"],\"formats\":[\"<i2\",[\"<f8\",[3]]],\"offsets\":[0,8],\"itemsize\":32},[2]],"
        "[\"<i4\",[3,2]],\"<M8[25ms]\"],\"offsets\":[70,0,74,98],\"itemsize\":120}");
    krait_struct_free(pair);
    krait_struct_free(NULL);
}

static void formats_are_numpys(void **state) {
    static const struct {
        krait_dtype dtype;
        const char *format;
    } rows[] = {
        { { KRAIT_BOOL, 0, 0, 0, 1, { 0 } }, "|b1" },       { { KRAIT_I8, 1, 0, 0, 1, { 0 } }, "|i1" },
        { { KRAIT_U8, 0, 0, 0, 1, { 0 } }, "|u1" },         { { KRAIT_I64, 0, 0, 0, 8, { 0 } }, "<i8" },
        { { KRAIT_U16, 1, 0, 0, 2, { 0 } }, ">u2" },        { { KRAIT_F16, 0, 0, 0, 2, { 0 } }, "<f2" },
        { { KRAIT_F32, 1, 0, 0, 4, { 0 } }, ">f4" },        { { KRAIT_C128, 1, 0, 0, 16, { 0 } }, ">c16" },
        { { KRAIT_DATETIME, 0, 10, 0, 8, { 1 } }, "<M8[ns]" }, { { KRAIT_TIMEDELTA, 1, 7, 0, 8, { 25 } }, ">m8[25s]" },
        { { KRAIT_TIMEDELTA, 0, 0, 0, 8, { 1 } }, "<m8" },  { { KRAIT_FIXED_BYTES, 1, 0, 0, 7, { 0 } }, "|S7" },
        { { KRAIT_FIXED_TEXT, 0, 0, 0, 12, { 0 } }, "<U3" }, { { KRAIT_FIXED_TEXT, 1, 0, 0, 4, { 0 } }, ">U1" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char format[32];
        assert_int_equal(krait__dtype_format(rows[i].dtype, format, sizeof format), strlen(rows[i].format));
        assert_string_equal(format, rows[i].format);
    }
}

static void names_of_fixed_dtypes(void **state) {
    char        name[16];
    krait_dtype dtype = krait_fixed_text(5);
    (void)state;
    krait_dtype_name(dtype, name, sizeof name);
    assert_string_equal(name, "U5");
    dtype.swapped = 1;
    krait_dtype_name(dtype, name, sizeof name);
    assert_string_equal(name, ">U5");
    krait_dtype_name(krait_fixed_bytes(8), name, sizeof name);
    assert_string_equal(name, "S8");
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void names_are_checked(void **state) {
    krait_member members[] = { member("a", 0, 4, krait_i32_type()), member("a", 4, 4, krait_i32_type()) };
    (void)state;
    refused(members, 2, 8, "two members are named 'a'");
    members[1].name = NULL;
    refused(members, 2, 8, "name of member 1 is NULL");
    members[1].name = "";
    refused(members, 2, 8, "name of member 1 is empty");
    members[1].name = "caf\xe9";
    refused(members, 2, 8, "name of member 1 is not valid UTF-8");
}

static void places_are_checked(void **state) {
    krait_member members[] = { member("price", 4, 8, krait_f64_type()), member("qty", 8, 8, krait_i64_type()) };
    (void)state;
    refused(members, 2, 16, "member 'qty' at 8 to 16 overlaps member 'price' at 4 to 12");
    members[1].offset = 4;
    assert_null(krait_struct_new(members, 2, 16, &err)); /* the same place */
    krait_error_clear(&err);
    members[1].offset = 0;
    refused(members, 2, 16, "member 'price' at 4 to 12 overlaps member 'qty' at 0 to 8");
    members[1].offset = 12;
    refused(members, 2, 16, "member 'qty' has 8 bytes at 12, beyond the struct's 16");
    members[1].offset = SIZE_MAX - 3; /* offset + size would be 4 */
    assert_null(krait_struct_new(members, 2, 16, &err));
    krait_error_clear(&err);
    members[1].offset = 0;
    members[1].size = 10;
    refused(members, 2, 16, "member 'qty' has 10 bytes, expected a multiple of the 8 of int64");
    members[1].size = 4;
    refused(members, 2, 16, "member 'qty' has 4 bytes, expected a multiple of the 8 of int64");
    members[1].size = 0;
    refused(members, 2, 16, "member 'qty' has 0 bytes, expected a multiple of the 8 of int64");
}

static void shapes_are_checked(void **state) {
    krait_member one = member("m", 0, 24, krait_f64_type());
    (void)state;
    one.ndim = 2;
    one.shape[0] = one.shape[1] = 2;
    refused(&one, 1, 32, "member 'm' has 24 bytes, its shape takes 32");
    one.shape[1] = 0;
    refused(&one, 1, 32, "member 'm' has length 0 in dimension 1");
    one.shape[0] = INT64_MAX;
    refused(&one, 1, 32, "member 'm' has length 9223372036854775807 in dimension 0");
    one.ndim = 5;
    refused(&one, 1, 32, "member 'm' has 5 dimensions, expected 0 to 4");
    one.ndim = -1;
    refused(&one, 1, 32, "member 'm' has -1 dimensions, expected 0 to 4");
    one.ndim = 0;
    one.reserved = 1;
    refused(&one, 1, 32, "member 'm' has reserved 1, expected 0");
}

static void dtypes_are_checked(void **state) {
    krait_member one = member("m", 0, 8, krait_dtype_make_(20, 0, 8, 0));
    (void)state;
    refused(&one, 1, 8, "member 'm': dtype code 20 is unknown");
    one.dtype = krait_dtype_make_(KRAIT_F64, 0, 4, 0);
    refused(&one, 1, 8, "member 'm': dtype float64 has item_size 4, expected 8");
    one.dtype = krait_datetime(KRAIT_NS, 0);
    refused(&one, 1, 8, "member 'm': datetime64 counts 0 of its unit, expected 1 to 2147483647");
    one.dtype = krait_fixed_bytes(0);
    refused(&one, 1, 8, "member 'm' is of elements of 0 bytes");
    one.dtype = krait_dtype_make_(KRAIT_FIXED_TEXT, 0, 6, 0);
    refused(&one, 1, 8, "member 'm': dtype text of fixed width (U) has item_size 6, expected a multiple of 4");
    one.dtype = krait_struct_type(NULL);
    refused(&one, 1, 8, "member 'm': dtype struct has of.fields NULL");
}

static void whole_structs_are_checked(void **state) {
    krait_member one = member("m", 0, 1, krait_u8_type());
    (void)state;
    refused(&one, 0, 8, "the struct has no member, expected at least one");
    refused(NULL, 1, 8, "members is NULL, expected 1");
    refused(&one, 1, 0, "the struct has 0 bytes, expected 1 to 2147483647");
    refused(&one, 1, (size_t)1 << 31, "the struct has 2147483648 bytes, expected 1 to 2147483647");
    refused(&one, 40000, 40000, "the struct has 40000 members, at most 32767 are supported");
}

static void nesting_is_bounded(void **state) {
    krait_struct *nested[KRAIT__RECORD_DEPTH_MAX + 1] = { NULL };
    krait_member  one = member("m", 0, 1, krait_u8_type());
    (void)state;
    for (int i = 0; i < KRAIT__RECORD_DEPTH_MAX; i++) {
        nested[i] = krait_struct_new(&one, 1, 1, &err);
        assert_good();
        one.dtype = krait_struct_type(nested[i]);
    }
    refused(&one, 1, 1, "member 'm' nests structs deeper than 16");
    for (int i = 0; i < KRAIT__RECORD_DEPTH_MAX; i++) krait_struct_free(nested[i]);
}

static void fields_are_bounded_in_all(void **state) {
    enum { WIDE = 200 };
    static char   names[WIDE][8];
    krait_member  members[WIDE];
    krait_struct *inner, *most;
    (void)state;
    for (size_t i = 0; i < WIDE; i++) {
        snprintf(names[i], sizeof names[i], "m%zu", i);
        members[i] = member(names[i], i, 1, krait_u8_type());
    }
    inner = krait_struct_new(members, WIDE, WIDE, &err);
    assert_good();
    for (size_t i = 0; i < WIDE; i++) members[i] = member(names[i], i * WIDE, WIDE, krait_struct_type(inner));
    refused(members, WIDE, WIDE * WIDE,
            "the struct has more than 32767 members, those of structs within it counted too");
    most = krait_struct_new(members, 163, WIDE * WIDE, &err); /* 163 + 163 * 200 are 32763 */
    assert_good();
    krait_struct_free(most);
    krait_struct_free(inner);
}

static void most_members(void **state) {
    enum { MOST = KRAIT__FIELDS_MAX };
    static char         names[MOST][8];
    static krait_member members[MOST];
    krait_struct       *made;
    (void)state;
    for (size_t i = 0; i < MOST; i++) {
        snprintf(names[i], sizeof names[i], "m%zu", i * 7919 % MOST);
        members[i] = member(names[i], MOST - 1 - i, 1, krait_u8_type());
    }
    made = krait_struct_new(members, MOST, MOST, &err);
    assert_good();
    krait_struct_free(made);
    members[MOST - 1].name = names[3];
    assert_null(krait_struct_new(members, MOST, MOST, &err));
    krait_error_clear(&err);
}

static void errors_stick(void **state) {
    krait_member one = member("m", 0, 1, krait_u8_type());
    krait_array  array = { 0 };
    size_t       length = 7;
    (void)state;
    krait__fail(&err, KRAIT_E_RANGE, "before");
    assert_null(krait_struct_new(&one, 1, 1, &err));
    assert_int_equal(krait_array_text(&array, 0, NULL, 0, &length, &err), KRAIT_E_RANGE);
    assert_int_equal(length, 0);
    says(KRAIT_E_RANGE, "before");
    assert_null(krait_struct_new(&one, 1, 0, NULL));
}

/* A dtype whose size was changed by hand would reach beyond the record. */
static void sizes_have_to_agree(void **state) {
    krait_struct *point = point_type();
    struct point  rows[2] = { 0 };
    krait_dtype   dtype = krait_struct_type(point);
    krait_value   value;
    krait_array   array;
    (void)state;
    dtype.item_size = 16;
    value = krait_vector(rows, dtype, 4);
    krait_get_array(&value, KRAIT_STRUCT, 1, &array, &err);
    says(KRAIT_E_ARGUMENT, "dtype struct has item_size 16, its description says 32");
    value = krait_structs(rows, 2, point);
    krait_get_array(&value, KRAIT_STRUCT, 1, &array, &err);
    assert_good();
    assert_int_equal(array.strides[0], sizeof(struct point));
    krait_struct_free(point);
}

/* ---- text of fixed width ----------------------------------------------------------------------------------------- */

static krait_array array_of(const void *data, krait_dtype dtype, size_t n) {
    static krait_value value;
    krait_array        array;
    value = krait_vector(data, dtype, n);
    krait_get_array(&value, KRAIT_ANY, 1, &array, &err);
    assert_good();
    return array;
}

static void assert_reads(const krait_array *array, int64_t index, const char *expected, size_t size) {
    char   text[32];
    size_t length;
    krait_array_text(array, index, text, sizeof text, &length, &err);
    assert_good();
    assert_int_equal(length, size);
    assert_memory_equal(text, expected, size + 1);
}

static void text_is_read_without_padding(void **state) {
    static const char     bytes[] = "ab\0\0wxyz\0a\0b\0\0\0\0";
    static const uint32_t points[] = { 'a', 0, 'b', 0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff, 0xd7ff };
    static const uint32_t foreign[] = { 0xe9000000, 0x0df40100 };
    krait_array           array = array_of(bytes, krait_fixed_bytes(4), 4);
    krait_dtype           swapped = krait_fixed_text(2);
    (void)state;
    assert_reads(&array, 0, "ab", 2);
    assert_reads(&array, 1, "wxyz", 4);
    assert_reads(&array, 2, "\0a\0b", 4);
    assert_reads(&array, 3, "", 0);
    array = array_of(points, krait_fixed_text(4), 3);
    assert_reads(&array, 0, "a\0b", 3);
    assert_reads(&array, 1, "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80", 8);
    assert_reads(&array, 2, "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf", 14);
    swapped.swapped = 1;
    array = array_of(foreign, swapped, 1);
    assert_reads(&array, 0, "é\U0001F40D", 6);
}

static void text_is_cut_like_snprintf(void **state) {
    krait_array points = array_of(U"aé", krait_fixed_text(2), 1), bytes;
    char        text[4] = "zzz";
    size_t      length;
    (void)state;
    krait_array_text(&points, 0, NULL, 0, &length, &err);
    assert_int_equal(length, 3);
    krait_array_text(&points, 0, text, 0, NULL, &err);
    assert_string_equal(text, "zzz");
    krait_array_text(&points, 0, text, 2, NULL, &err);
    assert_string_equal(text, "a");
    krait_array_text(&points, 0, text, 4, NULL, &err);
    assert_string_equal(text, "aé");
    bytes = array_of("wxyz", krait_fixed_bytes(4), 1);
    krait_array_text(&bytes, 0, text, 4, &length, &err);
    assert_good();
    assert_int_equal(length, 4);
    assert_string_equal(text, "wxy");
}

static void text_of_any_layout(void **state) {
    static const char cells[2][3][2] = { { "a", "b", "c" }, { "d", "e", "f" } };
    const int64_t     turned[] = { 3, 2 }, steps[] = { -2, 6 }, many[] = { 1, 2, 1, 3 };
    krait_value       value = krait_ndarray(cells[0][2], krait_fixed_bytes(2), 2, turned, steps);
    krait_array       array;
    (void)state;
    krait_get_array(&value, KRAIT_FIXED_BYTES, 2, &array, &err);
    assert_good();
    assert_reads(&array, 0, "c", 1);
    assert_reads(&array, 1, "f", 1);
    assert_reads(&array, 4, "a", 1);
    value = krait_ndarray(cells, krait_fixed_bytes(2), 4, many, NULL); /* without strides */
    krait_get_array(&value, KRAIT_FIXED_BYTES, 4, &array, &err);
    assert_good();
    assert_null(array.strides);
    assert_reads(&array, 5, "f", 1);
    value = krait_ndarray(cells[1][0], krait_fixed_bytes(2), 0, NULL, NULL);
    krait_get_array(&value, KRAIT_FIXED_BYTES, 0, &array, &err);
    assert_good();
    assert_reads(&array, 0, "d", 1);
}

static void text_is_refused(void **state) {
    static const uint32_t wrong[] = { 'a', 0xdfff, 'a', 0x110000 };
    krait_array           numbers = array_of(wrong, krait_i32_type(), 4), points;
    char                  text[8] = "zzz";
    size_t                length = 7;
    (void)state;
    krait_array_text(&numbers, 0, text, sizeof text, &length, &err);
    says(KRAIT_E_KIND, "array is of int32, expected text or bytes of fixed width");
    assert_string_equal(text, "");
    points = array_of(wrong, krait_fixed_text(2), 2);
    krait_array_text(&points, 0, text, sizeof text, &length, &err);
    says(KRAIT_E_ENCODING, "element 0 has 0xDFFF at character 1, which is no code point");
    assert_string_equal(text, "");
    assert_int_equal(length, 0);
    krait_array_text(&points, 1, text, sizeof text, NULL, &err);
    says(KRAIT_E_ENCODING, "element 1 has 0x110000 at character 1, which is no code point");
    krait_array_text(&points, 2, text, sizeof text, NULL, &err);
    says(KRAIT_E_NOT_FOUND, "no element 2 in an array of 2");
    krait_array_text(&points, -1, text, sizeof text, NULL, &err);
    says(KRAIT_E_NOT_FOUND, "no element -1 in an array of 2");
    krait_array_text(NULL, 0, text, sizeof text, NULL, &err);
    says(KRAIT_E_ARGUMENT, "array is NULL");
    krait_array_text(&points, 0, NULL, 4, NULL, &err);
    says(KRAIT_E_ARGUMENT, "buffer is NULL, expected 4 bytes");
}

static void text_is_copied_native(void **state) {
    static const uint32_t foreign[] = { 0x61000000, 0xe9000000, 0x62000000, 0 };
    krait_dtype           dtype = krait_fixed_text(2);
    krait_value           value, copy;
    krait_array           array;
    (void)state;
    dtype.swapped = 1;
    value = krait_vector(foreign, dtype, 2);
    krait_value_copy(&value, &copy, &err);
    krait_get_array(&copy, KRAIT_FIXED_TEXT, 1, &array, &err);
    assert_good();
    assert_int_equal(array.dtype.swapped, 0);
    assert_memory_equal(array.data, U"aéb", 4 * sizeof(uint32_t));
    krait_value_clear(&copy);
}

/* Code points lie at multiples of 4, whatever the width. */
static void alignment_of_text(void **state) {
    static uint32_t memory[8];
    krait_array     array = array_of((char *)memory + 1, krait_fixed_text(2), 2);
    (void)state;
    assert_false(array.flags & KRAIT_ARRAY_ALIGNED);
    array = array_of((char *)memory + 4, krait_fixed_text(3), 2);
    assert_true(array.flags & KRAIT_ARRAY_ALIGNED);
    array = array_of((char *)memory + 1, krait_fixed_bytes(2), 2);
    assert_true(array.flags & KRAIT_ARRAY_ALIGNED);
}

/* ---- every allocation fails once --------------------------------------------------------------------------------- */

static void nested_and_copied(void) {
    krait_struct *point = point_type(), *line = NULL;
    krait_member  members[] = {
        member("from", 0, sizeof(struct point), point ? krait_struct_type(point) : krait_u8_type()),
        member("to", 32, 2 * sizeof(struct point), point ? krait_struct_type(point) : krait_u8_type()),
    };
    struct point points[3] = { 0 };
    krait_value  value, copy;
    line = krait_struct_new(members, 2, 96, &err);
    value = krait_structs(points, 1, line);
    krait_value_copy(&value, &copy, &err);
    krait_value_clear(&copy);
    krait_struct_free(point);
    krait_struct_free(line);
}

static void without_memory(void **state) {
    uint64_t blocks = krait__mem_blocks(), asked;
    (void)state;
    krait__mem_fail_at(0);
    nested_and_copied();
    assert_good();
    asked = krait__mem_count();
    assert_true(asked > 20);
    for (uint64_t n = 1; n <= asked; n++) {
        krait__mem_fail_at(n);
        nested_and_copied();
        krait__mem_fail_at(0);
        assert_int_equal(krait_error_status(err), KRAIT_E_NOMEM);
        krait_error_clear(&err);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
}

static int clean(void **state) {
    (void)state;
    krait_error_clear(&err);
    return krait__mem_blocks() ? -1 : 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(members_become_fields),
        TEST(formats_are_numpys),
        TEST(names_of_fixed_dtypes),
        TEST(names_are_checked),
        TEST(places_are_checked),
        TEST(shapes_are_checked),
        TEST(dtypes_are_checked),
        TEST(whole_structs_are_checked),
        TEST(nesting_is_bounded),
        TEST(fields_are_bounded_in_all),
        TEST(most_members),
        TEST(errors_stick),
        TEST(sizes_have_to_agree),
        TEST(text_is_read_without_padding),
        TEST(text_is_cut_like_snprintf),
        TEST(text_of_any_layout),
        TEST(text_is_refused),
        TEST(text_is_copied_native),
        TEST(alignment_of_text),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
