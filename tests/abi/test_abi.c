/* The frozen part of the ABI: sizes and offsets of the structs that stand in arrays or that krait fills, and the
 * numbers of every enum. Programs built against 0.1 must keep running, so lines are added here, never changed. LP64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <krait.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), "offset of " #type "." #field)

_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "LP64");

SIZE(krait_value, 128);
_Static_assert(_Alignof(krait_value) == 8, "alignment of krait_value");
AT(krait_value, kind, 0);
AT(krait_value, flags, 1);
AT(krait_value, reserved0, 2);
AT(krait_value, reserved1, 4);
AT(krait_value, release, 8);
AT(krait_value, owner, 16);
AT(krait_value, as, 24);
AT(krait_value, as.b, 24);
AT(krait_value, as.i64, 24);
AT(krait_value, as.u64, 24);
AT(krait_value, as.f64, 24);
AT(krait_value, as.complex.re, 24);
AT(krait_value, as.complex.im, 32);
AT(krait_value, as.bytes.data, 24);
AT(krait_value, as.bytes.size, 32);
AT(krait_value, as.array.data, 24);
AT(krait_value, as.array.dtype, 32);
AT(krait_value, as.array.ndim, 48);
AT(krait_value, as.array.flags, 52);
AT(krait_value, as.array.shape, 56);
AT(krait_value, as.array.strides, 64);
AT(krait_value, as.array.dims, 72);
AT(krait_value, as.list.items, 24);
AT(krait_value, as.list.keys, 32);
AT(krait_value, as.list.count, 40);
AT(krait_value, as.time.ticks, 24);
AT(krait_value, as.time.dtype, 32);
AT(krait_value, as.time.zone, 48);
AT(krait_value, as.table, 24);

SIZE(krait_dtype, 16);
AT(krait_dtype, code, 0);
AT(krait_dtype, swapped, 1);
AT(krait_dtype, unit, 2);
AT(krait_dtype, reserved, 3);
AT(krait_dtype, item_size, 4);
AT(krait_dtype, of.count, 8);
AT(krait_dtype, of.fields, 8);

SIZE(krait_field, 48);
AT(krait_field, name, 0);
AT(krait_field, offset, 8);
AT(krait_field, dtype, 16);
AT(krait_field, shape, 32);
AT(krait_field, ndim, 40);
AT(krait_field, reserved, 44);

SIZE(krait_member, 80);
AT(krait_member, name, 0);
AT(krait_member, offset, 8);
AT(krait_member, size, 16);
AT(krait_member, dtype, 24);
AT(krait_member, ndim, 40);
AT(krait_member, reserved, 44);
AT(krait_member, shape, 48);

SIZE(krait_time_parts, 48);
AT(krait_time_parts, ticks, 0);
AT(krait_time_parts, dtype, 8);
AT(krait_time_parts, zone, 24);
AT(krait_time_parts, reserved, 32);

SIZE(krait_column, 128);
AT(krait_column, name, 0);
AT(krait_column, kind, 8);
AT(krait_column, ordered, 9);
AT(krait_column, precision, 10);
AT(krait_column, scale, 11);
AT(krait_column, flags, 12);
AT(krait_column, rows, 16);
AT(krait_column, dtype, 24);
AT(krait_column, data, 40);
AT(krait_column, stride, 48);
AT(krait_column, offsets, 56);
AT(krait_column, data_bytes, 64);
AT(krait_column, valid, 72);
AT(krait_column, valid_offset, 80);
AT(krait_column, zone, 88);
AT(krait_column, dictionary, 96);
AT(krait_column, offset_bytes, 104);
AT(krait_column, reserved0, 108);
AT(krait_column, reserved, 112);

/* As the Arrow specification has them. */
SIZE(struct ArrowSchema, 72);
SIZE(struct ArrowArray, 80);
SIZE(struct ArrowArrayStream, 40);

SIZE(krait_array, 64);
AT(krait_array, data, 0);
AT(krait_array, dtype, 8);
AT(krait_array, ndim, 24);
AT(krait_array, flags, 28);
AT(krait_array, shape, 32);
AT(krait_array, strides, 40);
AT(krait_array, size, 48);
AT(krait_array, reserved, 56);

SIZE(krait_arg, 144);
AT(krait_arg, name, 0);
AT(krait_arg, flags, 8);
AT(krait_arg, reserved, 12);
AT(krait_arg, value, 16);

SIZE(krait_frame, 24);
AT(krait_frame, file, 0);
AT(krait_frame, function, 8);
AT(krait_frame, line, 16);
AT(krait_frame, reserved, 20);

SIZE(krait_loan, 48);
AT(krait_loan, data, 0);
AT(krait_loan, bytes, 8);
AT(krait_loan, function, 16);
AT(krait_loan, argument, 24);
AT(krait_loan, origin, 32);
AT(krait_loan, kind, 40);
AT(krait_loan, reserved, 44);

SIZE(krait_allocator, 32);
AT(krait_allocator, allocate, 0);
AT(krait_allocator, reallocate, 8);
AT(krait_allocator, release, 16);
AT(krait_allocator, user, 24);

/* Option structs grow at their end: what is there stays where it is. */
AT(krait_options, size, 0);
AT(krait_options, python, 8);
AT(krait_options, flags, 16);
AT(krait_options, blas_threads, 20);
AT(krait_options, paths, 24);
AT(krait_options, preload, 32);
AT(krait_options, x_options, 40);
AT(krait_options, warnings, 48);
AT(krait_options, log, 56);
AT(krait_options, log_user, 64);
AT(krait_options, log_destroy, 72);
AT(krait_options, allocator, 80);
AT(krait_options, reserved, 88);
_Static_assert(sizeof(krait_options) >= 120, "size of krait_options");

AT(krait_call_options, size, 0);
AT(krait_call_options, flags, 8);
AT(krait_call_options, reserved0, 12);
AT(krait_call_options, on, 16);
AT(krait_call_options, timeout_ms, 24);
AT(krait_call_options, deadline_ns, 32);
AT(krait_call_options, trace, 40);
AT(krait_call_options, cancel, 48);
AT(krait_call_options, tag, 56);
AT(krait_call_options, reserved, 64);
_Static_assert(sizeof(krait_call_options) >= 96, "size of krait_call_options");

static const struct {
    const char *name;
    int         is, must_be;
} numbers[] = {
#define IS(name, number) { #name, name, number }
    IS(KRAIT_ANY, 0), IS(KRAIT_BOOL, 1), IS(KRAIT_I8, 2), IS(KRAIT_I16, 3), IS(KRAIT_I32, 4), IS(KRAIT_I64, 5),
    IS(KRAIT_U8, 6), IS(KRAIT_U16, 7), IS(KRAIT_U32, 8), IS(KRAIT_U64, 9), IS(KRAIT_F16, 10), IS(KRAIT_F32, 11),
    IS(KRAIT_F64, 12), IS(KRAIT_C64, 13), IS(KRAIT_C128, 14), IS(KRAIT_DATETIME, 15), IS(KRAIT_TIMEDELTA, 16),
    IS(KRAIT_STRUCT, 17), IS(KRAIT_FIXED_BYTES, 18), IS(KRAIT_FIXED_TEXT, 19),
    IS(KRAIT_GENERIC, 0), IS(KRAIT_YEAR, 1), IS(KRAIT_MONTH, 2), IS(KRAIT_WEEK, 3), IS(KRAIT_DAY, 4), IS(KRAIT_HOUR, 5),
    IS(KRAIT_MINUTE, 6), IS(KRAIT_S, 7), IS(KRAIT_MS, 8), IS(KRAIT_US, 9), IS(KRAIT_NS, 10), IS(KRAIT_PS, 11),
    IS(KRAIT_FS, 12), IS(KRAIT_AS, 13),
    IS(KRAIT_KIND_NONE, 0), IS(KRAIT_KIND_BOOL, 1), IS(KRAIT_KIND_I64, 2), IS(KRAIT_KIND_U64, 3), IS(KRAIT_KIND_F64, 4),
    IS(KRAIT_KIND_COMPLEX, 5), IS(KRAIT_KIND_TEXT, 6), IS(KRAIT_KIND_BYTES, 7), IS(KRAIT_KIND_ARRAY, 8),
    IS(KRAIT_KIND_LIST, 9), IS(KRAIT_KIND_MAP, 10), IS(KRAIT_KIND_TIME, 11), IS(KRAIT_KIND_DECIMAL, 12),
    IS(KRAIT_KIND_TABLE, 13), IS(KRAIT_KIND_OBJECT, 14), IS(KRAIT_KIND_ITERATOR, 15), IS(KRAIT_MAX_NDIM, 32),
    IS(KRAIT_COLUMN_ARRAY, 1), IS(KRAIT_COLUMN_TEXT, 2), IS(KRAIT_COLUMN_BYTES, 3), IS(KRAIT_COLUMN_CATEGORY, 4),
    IS(KRAIT_COLUMN_DECIMAL, 5), IS(KRAIT_COLUMN_DATE, 6),
    IS(KRAIT_ARRAY_WRITABLE, 1), IS(KRAIT_ARRAY_C_CONTIGUOUS, 2), IS(KRAIT_ARRAY_F_CONTIGUOUS, 4),
    IS(KRAIT_ARRAY_ALIGNED, 8), IS(KRAIT_ARRAY_COPIED, 16), IS(KRAIT_ARRAY_ALIAS, 32),
    IS(KRAIT_VALUE_PYTHON_, 1), IS(KRAIT_VALUE_OWNED_, 2), /* private, but compiled into programs by the makers */
    IS(KRAIT_WRITABLE, 1), IS(KRAIT_COPY, 2), IS(KRAIT_ALIAS, 4), IS(KRAIT_KEEP_STRIDES, 1), IS(KRAIT_IDEMPOTENT, 2),
    IS(KRAIT_LOAN_VIEW, 1), IS(KRAIT_LOAN_ARGUMENT, 2), IS(KRAIT_LOAN_RESULT, 3),
    IS(KRAIT_ISOLATED, 1), IS(KRAIT_REPORT_TEXT, 0), IS(KRAIT_REPORT_JSON, 1),
    IS(KRAIT_LOG_DEBUG, 10), IS(KRAIT_LOG_INFO, 20), IS(KRAIT_LOG_WARNING, 30), IS(KRAIT_LOG_ERROR, 40),
    IS(KRAIT_CLASS_NONE, 0), IS(KRAIT_CLASS_CALLER, 1), IS(KRAIT_CLASS_ENVIRONMENT, 2), IS(KRAIT_CLASS_PYTHON, 3),
    IS(KRAIT_CLASS_PLACE, 4), IS(KRAIT_CLASS_LIFE, 5),
};

static const struct {
    krait_status is;
    int          must_be;
    const char  *name;
} statuses[] = {
#define STATUS(name, number) { name, number, #name }
    STATUS(KRAIT_OK, 0),
    STATUS(KRAIT_DONE, 1),
    STATUS(KRAIT_E_ARGUMENT, -10),
    STATUS(KRAIT_E_KIND, -11),
    STATUS(KRAIT_E_SHAPE, -12),
    STATUS(KRAIT_E_RANGE, -13),
    STATUS(KRAIT_E_ENCODING, -14),
    STATUS(KRAIT_E_UNSUPPORTED, -15),
    STATUS(KRAIT_E_ESCAPED, -16),
    STATUS(KRAIT_E_NOT_FOUND, -17),
    STATUS(KRAIT_E_STACK, -18),
    STATUS(KRAIT_E_AMBIGUOUS, -19),
    STATUS(KRAIT_E_NOMEM, -30),
    STATUS(KRAIT_E_SYSTEM, -31),
    STATUS(KRAIT_E_NO_PYTHON, -32),
    STATUS(KRAIT_E_NO_LIBPYTHON, -33),
    STATUS(KRAIT_E_PYTHON_VERSION, -34),
    STATUS(KRAIT_E_STATIC, -35),
    STATUS(KRAIT_E_INIT, -36),
    STATUS(KRAIT_E_CONFLICT, -37),
    STATUS(KRAIT_E_NO_NUMPY, -38),
    STATUS(KRAIT_E_PYTHON, -50),
    STATUS(KRAIT_E_IMPORT, -51),
    STATUS(KRAIT_E_EXIT, -52),
    STATUS(KRAIT_E_TIMEOUT, -70),
    STATUS(KRAIT_E_NOT_READY, -90),
    STATUS(KRAIT_E_CLOSED, -91),
    STATUS(KRAIT_E_FORKED, -92),
};

static void numbers_are_frozen(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (numbers[i].is != numbers[i].must_be)
            fail_msg("%s is %d, must be %d", numbers[i].name, numbers[i].is, numbers[i].must_be);
}

static void statuses_are_frozen(void **state) {
    size_t listed = 0;
    (void)state;
    _Static_assert(sizeof(krait_status) == 4, "size of krait_status");
    for (size_t i = 0; i < COUNT(statuses); i++) {
        if ((int)statuses[i].is != statuses[i].must_be)
            fail_msg("%s is %d, must be %d", statuses[i].name, (int)statuses[i].is, statuses[i].must_be);
        assert_string_equal(krait_status_name(statuses[i].is), statuses[i].name);
    }
#define ONE(name, number, group, http, grpc, text) listed++;
    KRAIT_STATUS_MAP(ONE)
#undef ONE
    assert_int_equal(listed, COUNT(statuses)); /* a new status is to be frozen here too */
}

/* What the makers write is read by a library of another version. */
static void makers_write_what_is_frozen(void **state) {
    static const double data[6];
    int                 mark;
    krait_value         matrix = krait_matrix_f64(data, 2, 3);
    krait_value         owned = krait_owned(krait_text("abc", 3), NULL, &mark);
    unsigned char       raw[128];
    int64_t             word;
    (void)state;
    memcpy(raw, &matrix, sizeof raw);
    assert_int_equal(raw[0], 8);
    assert_int_equal(raw[32], 12);
    memcpy(&word, raw + 72, sizeof word);
    assert_int_equal(word, 2);
    memcpy(&word, raw + 96, sizeof word);
    assert_int_equal(word, 24);
    memcpy(raw, &owned, sizeof raw);
    assert_int_equal(raw[0], 6);
    assert_int_equal(raw[1], 2);
    memcpy(&word, raw + 32, sizeof word);
    assert_int_equal(word, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_frozen),
        cmocka_unit_test(statuses_are_frozen),
        cmocka_unit_test(makers_write_what_is_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
