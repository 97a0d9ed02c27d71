/* Values without layout: scalars, text, bytes, lists and maps, both ways and bit for bit; readers that refuse;
 * results passed on. Arrays are the matter of test_arrays.c and test_types.c. */
#include "check.h"

#include <math.h>
#include <pthread.h>

/* `same` is written on what Python itself makes of an expression, so that krait is not asked about itself. */
static const char module[] =
    "import collections, enum, gc, struct, sys\n"
    "import numpy, pandas\n"
    "\n"
    "class Whole(int): pass\n"
    "class Name(str): pass\n"
    "class Level(enum.IntEnum):\n"
    "    HIGH = 3\n"
    "Pair = collections.namedtuple('Pair', 'left right')\n"
    "kept = None\n"
    "\n"
    "def float_of(hexadecimal):\n"
    "    return struct.unpack('>d', bytes.fromhex(hexadecimal))[0]\n"
    "def bits(x):\n"
    "    if isinstance(x, complex): return struct.pack('<2d', x.real, x.imag)\n"
    "    return struct.pack('<d', x) if isinstance(x, float) else x\n"
    "def same(x, expression):\n"
    "    y = eval(expression)\n"
    "    return type(x) is type(y) and bits(x) == bits(y)\n"
    "def make(expression):\n"
    "    return eval(expression)\n"
    "def identity(x):\n"
    "    return x\n"
    "def keep(x):\n"
    "    global kept\n"
    "    kept = x\n"
    "    return x\n"
    "def is_kept(x):\n"
    "    return x is kept\n"
    "def item_is_kept(x, key):\n"
    "    return x is kept[key]\n"
    "def equals_kept(x):\n"
    "    return type(x) is type(kept) and x == kept\n"
    "def grow(x):\n"
    "    x.append(x[0] + 1)\n"
    "def dissolve(name):\n"
    "    del sys.modules[name]\n"
    "    gc.collect()\n"
    "    trash = [numpy.full(1000, -1.0) for i in range(1000)]\n"
    "    return len(trash)\n";

static double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Equal kind and equal bits: NaN is itself, -0.0 is not 0.0. */
static void assert_same(const krait_value *got, const krait_value *expected, const char *what) {
    bool same = got->kind == expected->kind;
    switch (same ? expected->kind : 0) {
    case KRAIT_KIND_BOOL: same = got->as.b == expected->as.b; break;
    case KRAIT_KIND_I64: same = got->as.i64 == expected->as.i64; break;
    case KRAIT_KIND_U64: same = got->as.u64 == expected->as.u64; break;
    case KRAIT_KIND_F64: same = bits_of(got->as.f64) == bits_of(expected->as.f64); break;
    case KRAIT_KIND_COMPLEX:
        same = bits_of(got->as.complex.re) == bits_of(expected->as.complex.re) &&
               bits_of(got->as.complex.im) == bits_of(expected->as.complex.im);
        break;
    case KRAIT_KIND_TEXT:
    case KRAIT_KIND_BYTES:
        same = got->as.bytes.size == expected->as.bytes.size &&
               (!expected->as.bytes.size ||
                !memcmp(got->as.bytes.data, expected->as.bytes.data, expected->as.bytes.size));
        break;
    default: break;
    }
    if (!same) fail_msg("%s: kind %d instead of %d, or other contents", what, got->kind, expected->kind);
}

/* ---- the table of scalars ---------------------------------------------------------------------------------------- */

typedef struct row {
    const char *python;
    krait_value value;
} row;

static const char all_bytes[] = "\x00\x01\x7f\x80\xfe\xff";

enum { SCALARS = 36 };

static size_t list_scalars(row *rows) {
    const row all[] = {
        { "None", krait_none() },
        { "True", krait_bool(true) },
        { "False", krait_bool(false) },
        { "0", krait_i64(0) },
        { "-1", krait_i64(-1) },
        { "2**63 - 1", krait_i64(INT64_MAX) },
        { "-2**63", krait_i64(INT64_MIN) },
        { "2**63", krait_u64((uint64_t)INT64_MAX + 1) },
        { "2**64 - 1", krait_u64(UINT64_MAX) },
        { "0.0", krait_f64(0.0) },
        { "-0.0", krait_f64(-0.0) },
        { "0.1", krait_f64(0.1) },
        { "float('inf')", krait_f64(INFINITY) },
        { "float('-inf')", krait_f64(-INFINITY) },
        { "5e-324", krait_f64(double_of(1)) },
        { "float_of('000fffffffffffff')", krait_f64(double_of(0x000fffffffffffffu)) },
        { "-sys.float_info.max", krait_f64(double_of(0xffefffffffffffffu)) },
        { "float('nan')", krait_f64(double_of(0x7ff8000000000000u)) },
        { "float_of('fff8000000000001')", krait_f64(double_of(0xfff8000000000001u)) },
        { "float_of('7ff8dead0000beef')", krait_f64(double_of(0x7ff8dead0000beefu)) },
        { "1.5-2j", krait_complex(1.5, -2) },
        { "complex(-0.0, float_of('7ff8000000000123'))", krait_complex(-0.0, double_of(0x7ff8000000000123u)) },
        { "complex(float('-inf'), 5e-324)", krait_complex(-INFINITY, double_of(1)) },
        { "''", krait_text("", 0) },
        { "'plain'", krait_str("plain") },
        { "'a\\0b\\0'", krait_text("a\0b\0", 4) },
        { "'\\u00e4\\u20ac\\U0001f600\\U0010ffff'", krait_str("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf") },
        { "'\\ufeff\\uffff'", krait_str("\xef\xbb\xbf\xef\xbf\xbf") },
        { "b''", krait_bytes("", 0) },
        { "b''", krait_bytes(NULL, 0) },
        { "b'\\x00\\x01\\x7f\\x80\\xfe\\xff'", krait_bytes(all_bytes, sizeof all_bytes - 1) },
    };
    assert_true(COUNT(all) <= SCALARS);
    memcpy(rows, all, sizeof all);
    return COUNT(all);
}

static void scalars_go_in(void **state) {
    row    rows[SCALARS];
    size_t count = list_scalars(rows);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        krait_error *err = NULL;
        krait_arg    args[] = { krait_pos(rows[i].value), krait_pos(krait_str(rows[i].python)) };
        krait_value  out;
        bool         same;
        call("values:same", args, 2, &out, &err);
        krait_get_bool(&out, &same, &err);
        assert_good(err);
        if (!same) fail_msg("Python did not get %s", rows[i].python);
    }
}

static void scalars_come_out(void **state) {
    row    rows[SCALARS];
    size_t count = list_scalars(rows);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        krait_error *err = NULL;
        krait_value  made, returned;
        call1("values:make", krait_str(rows[i].python), 0, &made, &err);
        call1("values:identity", rows[i].value, 0, &returned, &err);
        assert_good(err);
        assert_same(&made, &rows[i].value, rows[i].python);
        assert_same(&returned, &rows[i].value, rows[i].python);
        krait_value_clear(&made);
        krait_value_clear(&returned);
    }
}

/* uint64 of a C program comes back as int64 where it fits: in Python there is one int. */
static void small_uint64_is_an_int(void **state) {
    krait_error *err = NULL;
    krait_value  out, expected = krait_i64(7);
    (void)state;
    call1("values:identity", krait_u64(7), 0, &out, &err);
    assert_good(err);
    assert_same(&out, &expected, "uint64 7");
}

static void texts_end_with_nul(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *text;
    size_t       size;
    (void)state;
    call1("values:make", krait_str("'x' * 4096 + '\\0tail'"), 0, &out, &err);
    krait_get_text(&out, &text, &size, &err);
    assert_good(err);
    assert_int_equal(size, 4096 + 5);
    assert_int_equal(text[size], 0);
    assert_memory_equal(text + 4096, "\0tail", 5);
    krait_get_text(&out, &text, NULL, &err);
    assert_error(err, KRAIT_E_RANGE, "NUL at byte 4096");
    krait_value_clear(&out);
}

/* numpy's and pandas' scalars, subclasses, and what else stands for a scalar. */
static void scalars_of_other_types(void **state) {
    const row rows[] = {
        { "numpy.bool_(True)", krait_bool(true) },
        { "numpy.int8(-3)", krait_i64(-3) },
        { "numpy.int64(-2**63)", krait_i64(INT64_MIN) },
        { "numpy.uint8(255)", krait_i64(255) },
        { "numpy.uint64(2**64 - 1)", krait_u64(UINT64_MAX) },
        { "numpy.float16(-0.0)", krait_f64(-0.0) },
        { "numpy.float32(0.1)", krait_f64((double)0.1f) },
        { "numpy.float64(0.1)", krait_f64(0.1) },
        { "numpy.complex64(1-2j)", krait_complex(1, -2) },
        { "numpy.complex128(complex(-0.0, 0.1))", krait_complex(-0.0, 0.1) },
        { "numpy.str_('h\\u00e9')", krait_str("h\xc3\xa9") },
        { "numpy.bytes_(b'\\xff')", krait_bytes("\xff", 1) },
        { "pandas.NA", krait_none() },
        { "Whole(2**40)", krait_i64((int64_t)1 << 40) },
        { "Name('n')", krait_str("n") },
        { "Level.HIGH", krait_i64(3) },
        { "bytearray(b'ab')", krait_bytes("ab", 2) },
        { "bytearray()", krait_bytes("", 0) },
        { "memoryview(b'abcdef')[::2]", krait_bytes("ace", 3) },
        { "memoryview(numpy.array([[1, 2], [3, 4]], numpy.uint8))", krait_bytes("\1\2\3\4", 4) },
        { "pandas.Series([1, 2, 3]).sum()", krait_i64(6) },
        { "pandas.Series([1, 2, 4]).mean() == 7 / 3", krait_bool(true) },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        call1("values:make", krait_str(rows[i].python), 0, &out, &err);
        assert_good(err);
        assert_same(&out, &rows[i].value, rows[i].python);
        krait_value_clear(&out);
    }
}

/* ---- lists and maps ---------------------------------------------------------------------------------------------- */

static const krait_value *at(const krait_value *list, size_t index) {
    const krait_value *item;
    krait_error       *err = NULL;
    krait_list_at(list, index, &item, &err);
    assert_good(err);
    return item;
}

static const krait_value *get(const krait_value *map, const char *key) {
    const krait_value *item;
    krait_error       *err = NULL;
    krait_map_get(map, key, &item, &err);
    assert_good(err);
    return item;
}

static void nested_results(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out, copy;
    krait_array   array;
    (void)state;
    call1(
        "values:make",
        krait_str(
            "(1, [2.5, 'x', None, [True]], {'a': numpy.arange(3), '\\u00e9': {'c': b'z', '': ()}}, (), Pair(-1, {}))"),
        0, &out, &err);
    assert_good(err);
    assert_int_equal(krait_list_len(&out), 5);
    for (int round = 0; round < 2; round++) { /* the second time of a copy that knows no Python */
        const krait_value *all = round ? &copy : &out;
        const krait_value *map = at(all, 2),
                          expected[] = { krait_i64(1), krait_f64(2.5), krait_str("x"), krait_bytes("z", 1) };
        assert_same(at(all, 0), &expected[0], "item 0");
        assert_same(at(at(all, 1), 0), &expected[1], "item 1, 0");
        assert_same(at(at(all, 1), 1), &expected[2], "item 1, 1");
        assert_int_equal(at(at(all, 1), 2)->kind, KRAIT_KIND_NONE);
        assert_true(at(at(at(all, 1), 3), 0)->as.b);
        assert_int_equal(krait_map_len(map), 2);
        krait_get_array(get(map, "a"), KRAIT_I64, 1, &array, &err);
        assert_good(err);
        assert_int_equal(((int64_t *)array.data)[2], 2);
        assert_same(get(get(map, "\xc3\xa9"), "c"), &expected[3], "item 2, e, c");
        assert_int_equal(krait_list_len(get(get(map, "\xc3\xa9"), "")), 0);
        assert_int_equal(krait_list_len(at(all, 3)), 0);
        assert_int_equal(at(at(all, 4), 0)->as.i64, -1);
        assert_int_equal(krait_map_len(at(at(all, 4), 1)), 0);
        if (round == 0) krait_value_copy(&out, &copy, &err);
        if (round == 0) krait_value_clear(&out);
        assert_good(err);
    }
    krait_value_clear(&copy);
    assert_nothing_left(&before);
}

static void maps_keep_their_order(void **state) {
    static const char *const expected[] = { "zebra", "apple", "\xf0\x9f\x98\x80", "" };
    krait_error             *err = NULL;
    krait_value              out;
    (void)state;
    call1("values:make", krait_str("{'zebra': 0, 'apple': 1, '\\U0001f600': 2, '': 3}"), 0, &out, &err);
    assert_good(err);
    assert_int_equal(krait_map_len(&out), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++) {
        const char        *key;
        const krait_value *item;
        krait_map_at(&out, i, &key, &item, &err);
        assert_good(err);
        assert_string_equal(key, expected[i]);
        assert_int_equal(item->as.i64, i);
    }
    krait_value_clear(&out);
}

static void columns_of_a_map(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  column;
    (void)state;
    call1("values:make", krait_str("{'close': numpy.array([1.5, 2.5]), 'n': 2, 'grid': numpy.zeros((2, 2))}"), 0, &out,
          &err);
    krait_get_column(&out, "close", KRAIT_F64, &column, &err);
    assert_good(err);
    assert_int_equal(column.size, 2);
    assert_true(((double *)column.data)[1] == 2.5);
    krait_get_column(&out, "open", KRAIT_F64, &column, &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "no item 'open' in map of 3 items: 'close', 'n', 'grid'");
    krait_get_column(&out, "close", KRAIT_I32, &column, &err);
    assert_error(err, KRAIT_E_KIND, "column 'close' is float64 with 1 dimension (2), expected int32");
    krait_get_column(&out, "n", KRAIT_ANY, &column, &err);
    assert_error(err, KRAIT_E_KIND, "column 'n' is int, expected an array");
    krait_get_column(&out, "grid", KRAIT_F64, &column, &err);
    assert_error(err, KRAIT_E_SHAPE, "column 'grid' is float64 with 2 dimensions (2, 2), expected float64 with 1");
    krait_value_clear(&out);
}

/* ---- readers refuse ---------------------------------------------------------------------------------------------- */

static void readers_explain_a_mismatch(void **state) {
    krait_error       *err = NULL;
    krait_value        out;
    krait_array        array;
    const krait_value *item;
    const char        *text;
    double             x;
    int64_t            n;
    uint64_t           u;
    bool               b;
    (void)state;
    call1("values:make",
          krait_str("(numpy.arange(10, dtype=numpy.int32), 2**53 + 1, 2.5, 'five5', float('nan'), -1, 2.0**63)"), 0,
          &out, &err);
    assert_good(err);
    krait_get_array(at(&out, 0), KRAIT_F64, 2, &array, &err);
    assert_error(err, KRAIT_E_KIND, "value is int32 with 1 dimension (10), expected float64 with 2");
    krait_get_array(at(&out, 0), KRAIT_I32, 2, &array, &err);
    assert_error(err, KRAIT_E_SHAPE, "value is int32 with 1 dimension (10), expected int32 with 2");
    assert_null(array.data);
    krait_get_array(at(&out, 3), KRAIT_F64, -1, &array, &err);
    assert_error(err, KRAIT_E_KIND, "value is text of 5 bytes, expected an array of float64");
    krait_get_f64(at(&out, 1), &x, &err);
    assert_error(err, KRAIT_E_RANGE,
                 "value is 9007199254740993, which a double (whole numbers up to 2^53) cannot hold");
    krait_get_i64(at(&out, 2), &n, &err);
    assert_error(err, KRAIT_E_RANGE, "value is 2.5, which int64 cannot hold");
    krait_get_i64(at(&out, 4), &n, &err);
    assert_error(err, KRAIT_E_RANGE, "value is nan, which int64 cannot hold");
    krait_get_i64(at(&out, 6), &n, &err);
    assert_error(err, KRAIT_E_RANGE, "which int64 cannot hold");
    krait_get_u64(at(&out, 5), &u, &err);
    assert_error(err, KRAIT_E_RANGE, "value is -1, which uint64 cannot hold");
    krait_get_f64(at(&out, 3), &x, &err);
    assert_error(err, KRAIT_E_KIND, "value is text of 5 bytes, expected a number");
    krait_get_bool(at(&out, 5), &b, &err);
    assert_error(err, KRAIT_E_KIND, "value is int, expected a bool");
    krait_get_text(at(&out, 2), &text, NULL, &err);
    assert_error(err, KRAIT_E_KIND, "value is float, expected text");
    krait_list_at(&out, 7, &item, &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "no item 7 in list of 7 items (0 to 6)");
    krait_map_get(&out, "x", &item, &err);
    assert_error(err, KRAIT_E_KIND, "value is list of 7 items, expected a map");
    krait_value_clear(&out);
}

static void readers_take_what_holds_the_number(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    double       x, re, im;
    int64_t      n;
    uint64_t     u;
    (void)state;
    call1("values:make", krait_str("(2**53, 2.0**62, True, numpy.array(7, numpy.int16), numpy.array(1-2j), 2**63)"), 0,
          &out, &err);
    krait_get_f64(at(&out, 0), &x, &err);
    assert_good(err);
    assert_true(x == 9007199254740992.0);
    krait_get_i64(at(&out, 1), &n, &err);
    assert_int_equal(n, (int64_t)1 << 62);
    krait_get_i64(at(&out, 2), &n, &err);
    assert_int_equal(n, 1);
    krait_get_f64(at(&out, 3), &x, &err);
    assert_true(x == 7);
    krait_get_complex(at(&out, 4), &re, &im, &err);
    assert_true(re == 1 && im == -2);
    krait_get_u64(at(&out, 5), &u, &err);
    assert_true(u == (uint64_t)1 << 63);
    assert_good(err);
    krait_value_clear(&out);
}

/* A sequence needs one check: what comes after the first error does nothing and leaves it as it is. */
static void errors_stick(void **state) {
    krait_error       *err = NULL, *first;
    krait_value        out, more;
    krait_array        array;
    const krait_value *item = &out;
    double             x = 5;
    (void)state;
    call1("values:make", krait_str("1 / 0"), 0, &out, &err);
    first = err;
    assert_int_equal(krait_error_status(err), KRAIT_E_PYTHON);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_int_equal(krait_get_f64(&out, &x, &err), KRAIT_E_PYTHON);
    assert_true(x == 0);
    assert_int_equal(krait_get_array(&out, KRAIT_ANY, -1, &array, &err), KRAIT_E_PYTHON);
    assert_null(array.data);
    assert_int_equal(krait_list_at(&out, 0, &item, &err), KRAIT_E_PYTHON);
    assert_null(item);
    assert_int_equal(call1("values:make", krait_str("1"), 0, &more, &err), KRAIT_E_PYTHON);
    assert_int_equal(more.kind, KRAIT_KIND_NONE);
    assert_ptr_equal(err, first);
    assert_null(krait_func_new("values:make", &err));
    assert_error(err, KRAIT_E_PYTHON, "division by zero");
}

/* ---- results passed on ------------------------------------------------------------------------------------------- */

static bool is_true(const char *name, krait_value value) {
    krait_error *err = NULL;
    krait_value  out;
    bool         answer;
    call1(name, value, 0, &out, &err);
    krait_get_bool(&out, &answer, &err);
    assert_good(err);
    return answer;
}

static void borrowed_results_are_the_same_object(void **state) {
    static const char *const made[] = { "numpy.arange(5.0)",
                                        "numpy.arange(12).reshape(3, 4).T",
                                        "'t' * 100",
                                        "b'b' * 100",
                                        "[1, [2, 'three']]",
                                        "(1, (2, 3))",
                                        "{'k': [1.5]}",
                                        "Pair(1, 2)",
                                        "numpy.zeros((1,) * 5)",
                                        "numpy.zeros(2, [('x', 'f8')])",
                                        "{}",
                                        "[]" };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(made); i++) {
        krait_error *err = NULL;
        krait_value  out, again, moved;
        krait_call_options as_is = KRAIT_CALL_OPTIONS_INIT;
        krait_func        *make = krait_func_new("values:make", &err);
        krait_arg          args[] = { krait_pos(krait_str(made[i])) };
        as_is.flags = KRAIT_KEEP_STRIDES;
        krait_call(make, args, 1, &as_is, &out, &err);
        krait_func_unref(make);
        moved = out; /* a value moves by assignment */
        call1("values:keep", krait_borrow(&moved), 0, &again, &err);
        assert_good(err);
        if (!is_true("values:is_kept", krait_borrow(&moved))) fail_msg("%s is another object", made[i]);
        krait_value_clear(&moved);
        if (!again.release) fail_msg("%s: the second result owns nothing", made[i]);
        krait_value_clear(&again);
    }
    call1("values:keep", krait_none(), 0, NULL, NULL);
    assert_nothing_left(&before);
}

static void items_are_the_same_object_too(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("values:keep", krait_none(), 0, NULL, &err);
    call1("values:make", krait_str("keep([numpy.arange(3), 'text' * 9, (1, 2)])"), 0, &out, &err);
    assert_good(err);
    for (int64_t i = 0; i < 3; i++) {
        krait_arg   args[] = { krait_pos(krait_borrow(at(&out, (size_t)i))), krait_pos(krait_i64(i)) };
        krait_value answer;
        call("values:item_is_kept", args, 2, &answer, &err);
        assert_good(err);
        assert_true(answer.as.b);
    }
    krait_value_clear(&out);
}

/* The result is what it was when it came; the object is what it is now. */
static void a_list_that_grows_afterwards(void **state) {
    krait_error *err = NULL;
    krait_value  out, again;
    (void)state;
    call1("values:make", krait_str("[1]"), 0, &out, &err);
    call1("values:grow", krait_borrow(&out), 0, NULL, &err);
    call1("values:identity", krait_borrow(&out), 0, &again, &err);
    assert_good(err);
    assert_int_equal(krait_list_len(&out), 1);
    assert_int_equal(krait_list_len(&again), 2);
    assert_int_equal(at(&again, 1)->as.i64, 2);
    krait_value_clear(&out);
    krait_value_clear(&again);
}

/* A copy has no Python object behind it: it is built anew, and equal. */
static void copies_go_in_as_new_objects(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out, copy;
    (void)state;
    call1("values:make",
          krait_str("keep([1, 2.5, None, 'a\\0b', b'c', True, 3j, 2**64 - 1, {'x': [], '\\u00e9': {'y': -1}}])"), 0,
          &out, &err);
    krait_value_copy(&out, &copy, &err);
    assert_good(err);
    krait_value_clear(&out);
    assert_false(is_true("values:is_kept", krait_borrow(&copy)));
    assert_true(is_true("values:equals_kept", krait_borrow(&copy)));
    krait_value_clear(&copy);
    call1("values:keep", krait_none(), 0, NULL, NULL);
    assert_nothing_left(&before);
}

/* ---- results outlive everything ---------------------------------------------------------------------------------- */

typedef struct errand {
    krait_value  out;
    krait_error *err;
} errand;

static void *call_elsewhere(void *user) {
    errand *mine = user;
    krait_module_from_source(
        "passing",
        "import numpy\n"
        "def work():\n"
        "    return {'a': numpy.arange(100000.0), 't': 'text' * 1000, 'b': bytes(range(256)) * 10}\n",
        &mine->err);
    call("passing:work", NULL, 0, &mine->out, &mine->err);
    return NULL;
}

static void results_outlive_function_module_and_thread(void **state) {
    krait_metrics before = at_rest();
    errand        there = { .err = NULL };
    pthread_t     thread;
    krait_error  *err = NULL;
    krait_array   array;
    const char   *text;
    const void   *data;
    size_t        size;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, call_elsewhere, &there), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_good(there.err);
    call1("values:dissolve", krait_str("passing"), 0, NULL, &err);
    krait_get_array(get(&there.out, "a"), KRAIT_F64, 1, &array, &err);
    assert_good(err);
    for (int64_t i = 0; i < array.size; i++)
        if (((double *)array.data)[i] != (double)i) fail_msg("element %" PRId64 " is not what it was", i);
    krait_get_text(get(&there.out, "t"), &text, &size, &err);
    assert_int_equal(size, 4000);
    assert_memory_equal(text + 3996, "text", 5);
    krait_get_bytes(get(&there.out, "b"), &data, &size, &err);
    assert_int_equal(((const unsigned char *)data)[2559], 255);
    assert_good(err);
    krait_value_clear(&there.out);
    assert_nothing_left(&before);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("values", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_go_in),
        cmocka_unit_test(scalars_come_out),
        cmocka_unit_test(small_uint64_is_an_int),
        cmocka_unit_test(texts_end_with_nul),
        cmocka_unit_test(scalars_of_other_types),
        cmocka_unit_test(nested_results),
        cmocka_unit_test(maps_keep_their_order),
        cmocka_unit_test(columns_of_a_map),
        cmocka_unit_test(readers_explain_a_mismatch),
        cmocka_unit_test(readers_take_what_holds_the_number),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(borrowed_results_are_the_same_object),
        cmocka_unit_test(items_are_the_same_object_too),
        cmocka_unit_test(a_list_that_grows_afterwards),
        cmocka_unit_test(copies_go_in_as_new_objects),
        cmocka_unit_test(results_outlive_function_module_and_thread),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
