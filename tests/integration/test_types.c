/* Element types: names, the makers of each dtype, datetime64 and timedelta64 of every unit and multiple, records read
 * field by field. Layouts are the matter of test_arrays.c. */
#include "check.h"

static const char module[] =
    "import numpy\n"
    "def describe(a):\n"
    "    return f'{a.dtype.str} {a.shape} {a.tobytes().hex()}'\n"
    "def make(expression):\n"
    "    return eval(expression)\n"
    "def identity(a):\n"
    "    return a\n"
    "def times(name, ticks):\n"
    "    return numpy.frombuffer(ticks, 'i8').astype(name, copy=True)\n"
    "def missing(a):\n"
    "    return ''.join('n' if x else '.' for x in numpy.isnat(a))\n"
    "def second_field(a):\n"
    "    return float(a['price'][1])\n"
    "def records(n):\n"
    "    r = numpy.zeros(n, [('date', 'M8[D]'), ('price', 'f8'), ('volume', 'i4'), ('flag', '?')])\n"
    "    r['date'] = numpy.datetime64('2024-01-01') + numpy.arange(n)\n"
    "    r['price'] = numpy.arange(n) + 0.5\n"
    "    r['volume'] = -numpy.arange(n)\n"
    "    r['flag'] = numpy.arange(n) % 2\n"
    "    return r\n"
    "inner = numpy.dtype([('x', '>i2'), ('y', 'u1', (2, 3))])\n"
    "outer = numpy.dtype([('t', 'u1'), ('at', inner), ('z', '>c8'), ('when', '<m8[25ms]')], align=True)\n"
    "odd = numpy.dtype({'names': ['b', 'a'], 'formats': ['>f8', 'i4'], 'offsets': [5, 1], 'itemsize': 40})\n"
    "def nested():\n"
    "    r = numpy.zeros(3, outer)\n"
    "    r['t'] = [1, 2, 3]\n"
    "    r['at']['x'] = [-300, 300, 2]\n"
    "    r['at']['y'] = numpy.arange(18).reshape(3, 2, 3)\n"
    "    r['z'] = [1 - 2j, 0.5, 0]\n"
    "    r['when'] = [7, 'NaT', -7]\n"
    "    return r\n"
    "def oddly(n):\n"
    "    r = numpy.zeros(n, odd)\n"
    "    r['a'] = numpy.arange(n)\n"
    "    r['b'] = numpy.arange(n) / 4\n"
    "    return r\n"
    "def layout_of(a):\n"
    "    return ' '.join(f'{n}:{a.dtype.fields[n][1]}' for n in a.dtype.names) + f' of {a.itemsize}'\n";

static void assert_text(const krait_value *value, const char *expected) {
    krait_error *err = NULL;
    const char  *text;
    krait_get_text(value, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
}

static char order(void) {
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
}

/* ---- one dtype each ---------------------------------------------------------------------------------------------- */

typedef struct given {
    krait_value vector, matrix;
    const char *kind;
    size_t      bytes;
} given;

static uint64_t memory[12];

enum { PLAIN = 14 };

static void list_given(given *all) {
    static const char kinds[] = "?biiiiuuuufffcc";
    size_t            i = 0;
#define GIVEN(NAME, name, code, type, size, text)                                                                      \
    all[i++] = (given){ krait_vector_##name((const type *)memory, 6), krait_matrix_##name((const type *)memory, 2, 3), \
                        &kinds[code], size };
    KRAIT_DTYPE_MAP(GIVEN)
#undef GIVEN
    assert_int_equal(i, PLAIN);
}

/* What Python should see: dtype, shape, bytes. */
static void expect(char *text, size_t size, const given *one, const char *shape) {
    size_t length = (size_t)snprintf(text, size, "%c%c%zu %s ", one->bytes == 1 ? '|' : order(), *one->kind, one->bytes,
                                     shape);
    for (size_t i = 0; i < 6 * one->bytes; i++)
        length += (size_t)snprintf(text + length, size - length, "%02x", ((const unsigned char *)memory)[i]);
}

static void each_maker_makes_its_dtype(void **state) {
    given all[PLAIN];
    (void)state;
    memset(memory, 0, sizeof memory);
    for (size_t i = 0; i < sizeof memory; i++) ((unsigned char *)memory)[i] = i % 3 ? 0 : 1;
    list_given(all);
    for (size_t i = 0; i < PLAIN; i++) {
        krait_error *err = NULL;
        krait_value  vector, matrix;
        char         expected[512];
        call1("dtypes:describe", all[i].vector, 0, &vector, &err);
        call1("dtypes:describe", all[i].matrix, 0, &matrix, &err);
        assert_good(err);
        expect(expected, sizeof expected, &all[i], "(6,)");
        assert_text(&vector, expected);
        expect(expected, sizeof expected, &all[i], "(2, 3)");
        assert_text(&matrix, expected);
        krait_value_clear(&vector);
        krait_value_clear(&matrix);
    }
}

static void dtypes_have_numpys_names(void **state) {
    const struct {
        krait_dtype dtype;
        bool        swapped;
        const char *name;
    } rows[] = {
        { krait_bool_type(), false, "bool" },
        { krait_u8_type(), true, "uint8" },
        { krait_f16_type(), false, "float16" },
        { krait_i32_type(), true, order() == '<' ? ">i4" : "<i4" },
        { krait_c128_type(), true, order() == '<' ? ">c16" : "<c16" },
        { krait_datetime(KRAIT_S, 25), false, "datetime64[25s]" },
        { krait_timedelta(KRAIT_AS, 1), false, "timedelta64[as]" },
        { krait_timedelta(KRAIT_GENERIC, 1), false, "timedelta64" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_dtype dtype = rows[i].dtype;
        char        name[64];
        dtype.swapped = rows[i].swapped;
        assert_int_equal(krait_dtype_name(dtype, name, sizeof name), strlen(rows[i].name));
        assert_string_equal(name, rows[i].name);
    }
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static const char units[][8] = { "", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };
static const int64_t ticks[] = { 0, 1, -1, INT64_MIN, INT64_MAX, INT64_MIN + 1, 1700000000 };
static const char which_is_nat[] = "...n...";

/* "<M8[25s]" */
static void numpy_name(char *text, size_t size, krait_dtype dtype) {
    char kind = dtype.code == KRAIT_DATETIME ? 'M' : 'm';
    if (dtype.unit == KRAIT_GENERIC)
        snprintf(text, size, "%c%c8", order(), kind);
    else if (dtype.of.count == 1)
        snprintf(text, size, "%c%c8[%s]", order(), kind, units[dtype.unit]);
    else
        snprintf(text, size, "%c%c8[%" PRId64 "%s]", order(), kind, dtype.of.count, units[dtype.unit]);
}

static void check_time(krait_dtype dtype) {
    krait_error *err = NULL;
    krait_value  out, vector = krait_vector(ticks, dtype, COUNT(ticks));
    krait_array  array;
    char         name[32], expected[256];
    size_t       length;
    numpy_name(name, sizeof name, dtype);
    length = (size_t)snprintf(expected, sizeof expected, "%s (%zu,) ", name, COUNT(ticks));
    for (size_t i = 0; i < sizeof ticks; i++)
        length += (size_t)snprintf(expected + length, sizeof expected - length, "%02x",
                                   ((const unsigned char *)ticks)[i]);
    call1("dtypes:describe", vector, 0, &out, &err);
    assert_good(err);
    assert_text(&out, expected);
    krait_value_clear(&out);
    call1("dtypes:missing", vector, 0, &out, &err);
    assert_text(&out, which_is_nat);
    krait_value_clear(&out);
    krait_arg args[] = { krait_pos(krait_str(name)), krait_pos(krait_bytes(ticks, sizeof ticks)) };
    call("dtypes:times", args, 2, &out, &err);
    krait_get_array(&out, dtype.code, 1, &array, &err);
    assert_good(err);
    assert_int_equal(array.dtype.unit, dtype.unit);
    assert_int_equal(array.dtype.of.count, dtype.of.count);
    assert_int_equal(array.dtype.item_size, 8);
    assert_memory_equal(array.data, ticks, sizeof ticks);
    krait_value_clear(&out);
}

static void times_of_every_unit_and_multiple(void **state) {
    static const int32_t counts[] = { 1, 2, 25, 60, 1000, INT32_MAX };
    (void)state;
    for (uint8_t unit = KRAIT_YEAR; unit <= KRAIT_AS; unit++)
        for (size_t i = 0; i < COUNT(counts); i++) {
            check_time(krait_datetime(unit, counts[i]));
            check_time(krait_timedelta(unit, counts[i]));
        }
    check_time(krait_datetime(KRAIT_GENERIC, 1));
    check_time(krait_timedelta(KRAIT_GENERIC, 1));
}

static void times_mean_what_they_say(void **state) {
    const int64_t half_hours[] = { 0, 3 };
    krait_error  *err = NULL;
    krait_value   out;
    krait_array   array;
    (void)state;
    call1("dtypes:make", krait_str("numpy.array(['1970-01-01T00:00', '1970-01-02T01:30'], 'M8[30m]')"), 0, &out, &err);
    krait_get_array(&out, KRAIT_DATETIME, 1, &array, &err);
    assert_good(err);
    assert_int_equal(((int64_t *)array.data)[1], 51);
    krait_value_clear(&out);
    define("half_hours", "def text(a):\n    return ' '.join(map(str, a))\n");
    call1("half_hours:text", krait_vector(half_hours, krait_datetime(KRAIT_MINUTE, 30), 2), 0, &out, &err);
    assert_good(err);
    assert_text(&out, "1970-01-01T00:00 1970-01-01T01:30");
    krait_value_clear(&out);
}

/* Scalars keep their unit like the arrays they come out of; the rest of them is the matter of test_times.c. */
static void scalar_times_keep_their_unit(void **state) {
    static const struct {
        const char *made;
        int         code, unit;
        int64_t     ticks;
    } rows[] = {
        { "numpy.datetime64('2024-01-01', 'ns')", KRAIT_DATETIME, KRAIT_NS, 1704067200000000000 },
        { "numpy.datetime64('2024-01-01')", KRAIT_DATETIME, KRAIT_DAY, 19723 },
        { "numpy.timedelta64(5, 'ns')", KRAIT_TIMEDELTA, KRAIT_NS, 5 },
        { "numpy.timedelta64(5, 's')", KRAIT_TIMEDELTA, KRAIT_S, 5 },
        { "numpy.datetime64('NaT')", KRAIT_DATETIME, KRAIT_GENERIC, INT64_MIN },
        { "numpy.array([1], 'm8[ps]')[0]", KRAIT_TIMEDELTA, KRAIT_PS, 1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error     *err = NULL;
        krait_value      out;
        krait_time_parts parts;
        call1("dtypes:make", krait_str(rows[i].made), 0, &out, &err);
        krait_get_time(&out, &parts, &err);
        assert_good(err);
        assert_int_equal(parts.dtype.code, rows[i].code);
        assert_int_equal(parts.dtype.unit, rows[i].unit);
        assert_true(parts.ticks == rows[i].ticks);
        krait_value_clear(&out);
    }
}

static void wrong_times_are_refused(void **state) {
    krait_dtype  dtype = krait_datetime(14, 1);
    krait_error *err = NULL;
    (void)state;
    call1("dtypes:identity", krait_vector(ticks, dtype, 2), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "datetime64 has unit 14, expected 0 to 13");
    call1("dtypes:identity", krait_vector(ticks, krait_timedelta(KRAIT_S, 0), 2), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "timedelta64 counts 0 of its unit");
    call1("dtypes:identity", krait_vector(ticks, krait_timedelta(KRAIT_S, -3), 2), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "timedelta64 counts -3 of its unit");
    dtype = krait_i64_type();
    dtype.unit = KRAIT_S;
    call1("dtypes:identity", krait_vector(ticks, dtype, 2), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "int64 has unit 7, expected 0");
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static void records_field_by_field(void **state) {
    krait_metrics      before = at_rest();
    krait_error       *err = NULL;
    krait_value        out;
    krait_array        all, date, price, volume, flag;
    const krait_field *fields;
    char               name[64];
    (void)state;
    call1("dtypes:records", krait_i64(100), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &all, &err);
    assert_good(err);
    assert_int_equal(krait_dtype_fields(all.dtype, &fields), 4);
    assert_string_equal(fields[2].name, "volume");
    assert_int_equal(fields[2].offset, 16);
    krait_dtype_name(all.dtype, name, sizeof name);
    assert_string_equal(name, "struct of 4 fields");
    krait_array_field(&all, "date", KRAIT_DATETIME, &date, &err);
    krait_array_field(&all, "price", KRAIT_F64, &price, &err);
    krait_array_field(&all, "volume", KRAIT_I32, &volume, &err);
    krait_get_column(&out, "flag", KRAIT_BOOL, &flag, &err);
    assert_good(err);
    assert_int_equal(date.dtype.unit, KRAIT_DAY);
    assert_int_equal(price.strides[0], 21);
    for (int64_t i = 0; i < 100; i++) {
        int64_t day;
        double  amount;
        int32_t count;
        memcpy(&day, (char *)date.data + i * date.strides[0], sizeof day); /* packed: not aligned */
        memcpy(&amount, (char *)price.data + i * price.strides[0], sizeof amount);
        memcpy(&count, (char *)volume.data + i * volume.strides[0], sizeof count);
        assert_int_equal(day, 19723 + i);
        assert_true(amount == (double)i + 0.5);
        assert_int_equal(count, -i);
        assert_int_equal(((bool *)flag.data)[i * flag.strides[0]], i % 2);
    }
    krait_value_clear(&out);
    assert_nothing_left(&before);
}

static void field_mismatches_are_explained(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  all, one;
    (void)state;
    call1("dtypes:records", krait_i64(2), 0, &out, &err);
    krait_get_array(&out, KRAIT_ANY, 1, &all, &err);
    assert_good(err);
    krait_array_field(&all, "close", KRAIT_F64, &one, &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "no field 'close' in struct of 4 fields: 'date', 'price', 'volume', 'flag'");
    krait_array_field(&all, "volume", KRAIT_F64, &one, &err);
    assert_error(err, KRAIT_E_KIND, "field 'volume' is int32 with 1 dimension (2), expected float64");
    krait_get_array(&out, KRAIT_F64, 2, &one, &err);
    assert_error(err, KRAIT_E_KIND, "value is struct of 4 fields with 1 dimension (2), expected float64 with 2");
    krait_value_clear(&out);
    call1("dtypes:make", krait_str("numpy.zeros(3)"), 0, &out, &err);
    krait_get_column(&out, "price", KRAIT_F64, &one, &err);
    assert_error(err, KRAIT_E_KIND,
                 "value is float64 array (3), expected a table, a map of arrays or an array of records");
    krait_value_clear(&out);
}

static int64_t big_endian_i16(const void *at) {
    const unsigned char *bytes = at;
    return (int16_t)(bytes[0] << 8 | bytes[1]);
}

/* Nested, padded, big-endian and array fields are where the description says. */
static void nested_and_padded_records(void **state) {
    krait_error       *err = NULL;
    krait_value        out;
    krait_array        all, t, at, x, z, when;
    const krait_field *fields, *inner;
    (void)state;
    call("dtypes:nested", NULL, 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &all, &err);
    assert_good(err);
    assert_int_equal(krait_dtype_fields(all.dtype, &fields), 4);
    assert_int_equal(fields[3].offset % 8, 0);
    krait_array_field(&all, "t", KRAIT_U8, &t, &err);
    krait_array_field(&all, "at", KRAIT_STRUCT, &at, &err);
    krait_array_field(&at, "x", KRAIT_I16, &x, &err);
    krait_array_field(&all, "z", KRAIT_C64, &z, &err);
    krait_array_field(&all, "when", KRAIT_TIMEDELTA, &when, &err);
    assert_good(err);
    assert_int_equal(((uint8_t *)t.data)[2 * t.strides[0]], 3);
    assert_int_equal(x.dtype.swapped, order() == '<');
    assert_int_equal(z.dtype.swapped, order() == '<');
    assert_int_equal(when.dtype.unit, KRAIT_MS);
    assert_int_equal(when.dtype.of.count, 25);
    assert_int_equal(big_endian_i16(x.data), -300);
    assert_int_equal(big_endian_i16((char *)x.data + x.strides[0]), 300);
    assert_true(*(int64_t *)(void *)((char *)when.data + when.strides[0]) == INT64_MIN);
    assert_int_equal(krait_dtype_fields(at.dtype, &inner), 2);
    assert_string_equal(inner[1].name, "y");
    assert_int_equal(inner[1].ndim, 2);
    assert_int_equal(inner[1].shape[0], 2);
    assert_int_equal(inner[1].shape[1], 3);
    assert_int_equal(((uint8_t *)at.data + 2 * at.strides[0] + inner[1].offset)[5], 17);
    krait_array_field(&at, "y", KRAIT_U8, &t, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'y' is itself an array of 2 dimensions");
    krait_value_clear(&out);
}

static void records_at_odd_offsets(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  all, a, b;
    int32_t      whole;
    uint64_t     bits;
    double       part;
    (void)state;
    call1("dtypes:oddly", krait_i64(9), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &all, &err);
    krait_array_field(&all, "a", KRAIT_I32, &a, &err);
    krait_array_field(&all, "b", KRAIT_F64, &b, &err);
    assert_good(err);
    assert_int_equal(all.dtype.item_size, 40);
    assert_false(a.flags & KRAIT_ARRAY_ALIGNED);
    assert_false(a.flags & KRAIT_ARRAY_C_CONTIGUOUS);
    memcpy(&whole, (char *)a.data + 7 * a.strides[0], sizeof whole);
    memcpy(&bits, (char *)b.data + 7 * b.strides[0], sizeof bits);
    if (b.dtype.swapped) bits = __builtin_bswap64(bits);
    memcpy(&part, &bits, sizeof part);
    assert_int_equal(whole, 7);
    assert_true(part == 1.75);
    krait_value_clear(&out);
}

/* Fields of a dtype that krait has no name for (objects, long double) do not stand in the way of the others. */
static void records_with_fields_that_cannot_be_read(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  all, x, name;
    (void)state;
    call1("dtypes:make", krait_str("numpy.array([(1, 1.5), (2, 2.5)], [('name', 'longdouble'), ('x', 'f8')])"), 0, &out,
          &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &all, &err);
    krait_array_field(&all, "x", KRAIT_F64, &x, &err);
    assert_good(err);
    assert_int_equal(x.strides[0], all.dtype.item_size);
    double second;
    memcpy(&second, (char *)x.data + x.strides[0], sizeof second);
    assert_true(second == 2.5);
    krait_array_field(&all, "name", KRAIT_ANY, &name, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'name' is of a dtype that krait does not read");
    krait_value_clear(&out);
}

/* A result of records is passed on as itself; strided ones are copied once, their padding kept where it was. */
static void records_strided_copied_passed_on(void **state) {
    static const char *const made[] = { "oddly(9)[::2]", "nested()[::-1]", "records(7)[1:6:3]" };
    (void)state;
    for (size_t i = 0; i < COUNT(made); i++) {
        krait_error *err = NULL;
        krait_value  out, copy, layouts[2];
        krait_array  array, second;
        char         expression[64];
        call1("dtypes:make", krait_str(made[i]), 0, &out, &err);
        krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
        assert_good(err);
        assert_true(array.flags & KRAIT_ARRAY_COPIED);
        assert_int_equal(array.strides[0], array.dtype.item_size);
        snprintf(expression, sizeof expression, "layout_of(%s)", made[i]);
        call1("dtypes:make", krait_str(expression), 0, &layouts[0], &err);
        call1("dtypes:layout_of", krait_borrow(&out), 0, &layouts[1], &err);
        assert_good(err);
        assert_text(&layouts[1], layouts[0].as.bytes.data);
        krait_value_copy(&out, &copy, &err);
        krait_get_array(&copy, KRAIT_STRUCT, 1, &second, &err);
        assert_good(err);
        assert_memory_equal(second.data, array.data, (size_t)array.size * array.dtype.item_size);
        krait_value_clear(&layouts[0]);
        krait_value_clear(&layouts[1]);
        krait_value_clear(&copy);
        krait_value_clear(&out);
    }
}

static void one_field_as_a_result(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    (void)state;
    call1("dtypes:make", krait_str("oddly(9)['b']"), 0, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_int_equal(array.dtype.swapped, 0);
    assert_true(((double *)array.data)[8] == 2);
    krait_value_clear(&out);
}

/* Records of a copy in C memory go in like those of krait_structs: lent, and their own description with them. */
static void records_from_a_copy(void **state) {
    krait_error *err = NULL;
    krait_value  out, copy, fields[2];
    char         told[2][200];
    (void)state;
    call1("dtypes:records", krait_i64(3), 0, &out, &err);
    krait_value_copy(&out, &copy, &err);
    assert_good(err);
    call1("dtypes:second_field", krait_borrow(&copy), 0, &fields[0], &err);
    call1("dtypes:second_field", krait_borrow(&out), 0, &fields[1], &err);
    assert_good(err);
    for (int i = 0; i < 2; i++) krait_value_describe(&fields[i], told[i], sizeof told[i]);
    assert_string_equal(told[0], told[1]);
    for (int i = 0; i < 2; i++) krait_value_clear(&fields[i]);
    krait_value_clear(&copy);
    krait_value_clear(&out);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("dtypes", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_maker_makes_its_dtype),
        cmocka_unit_test(dtypes_have_numpys_names),
        cmocka_unit_test(times_of_every_unit_and_multiple),
        cmocka_unit_test(times_mean_what_they_say),
        cmocka_unit_test(scalar_times_keep_their_unit),
        cmocka_unit_test(wrong_times_are_refused),
        cmocka_unit_test(records_field_by_field),
        cmocka_unit_test(field_mismatches_are_explained),
        cmocka_unit_test(nested_and_padded_records),
        cmocka_unit_test(records_at_odd_offsets),
        cmocka_unit_test(records_with_fields_that_cannot_be_read),
        cmocka_unit_test(records_strided_copied_passed_on),
        cmocka_unit_test(one_field_as_a_result),
        cmocka_unit_test(records_from_a_copy),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
