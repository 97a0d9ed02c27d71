/* Bad input to calls: each is a clear error of the right status, leaves nothing behind, and the next call works.
 * Starting up is the matter of test_bad_start.c, hostile exceptions of test_errors.c. */
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static const char module[] =
    "import array, asyncio, ctypes, datetime, decimal, enum, fractions, os, sys, uuid\n"
    "import numpy, pandas\n"
    "def ping(): return 'pong'\n"
    "def identity(x): return x\n"
    "def total(a): return float(a.sum())\n"
    "def make(expression): return eval(expression)\n"
    "def numpy_major(): return int(numpy.__version__.split('.')[0])\n"
    "class Colour(enum.Enum):\n"
    "    RED = 1\n"
    "def endless(): return endless()\n"
    "class EndlessRepr:\n"
    "    def __repr__(self): return repr(self)\n"
    "def endless_repr(): return repr(EndlessRepr())\n"
    "def loop():\n"
    "    x = [1]\n"
    "    x.append(x)\n"
    "    return x\n"
    "def dict_loop():\n"
    "    x = {}\n"
    "    x['me'] = {'inner': x}\n"
    "    return x\n"
    "def nested(n):\n"
    "    x = 'core'\n"
    "    for i in range(n): x = [x] if i % 2 else {'k': x}\n"
    "    return x\n"
    "def released_view():\n"
    "    m = memoryview(b'abc')\n"
    "    m.release()\n"
    "    return m\n"
    "def leave(code): sys.exit(code)\n"
    "async def leave_later():\n"
    "    await asyncio.sleep(0)\n"
    "    sys.exit(4)\n";

static const char destructors[] =
    "import ctypes, os\n"
    "class Blocks(list):\n"
    "    def __init__(self, begun, go_on): self.begun, self.go_on = begun, go_on\n"
    "    def __del__(self):\n"
    "        os.write(self.begun, b'x')\n"
    "        os.read(self.go_on, 1)\n"
    "def blocks(begun, go_on): return Blocks(begun, go_on)\n"
    "class CallsBack(list):\n"
    "    def __init__(self, fn): self.fn = fn\n"
    "    def __del__(self): self.fn()\n"
    "def calls_back(address): return CallsBack(ctypes.CFUNCTYPE(ctypes.c_int)(address))\n"
    "def calls_back_holding(address): return CallsBack(ctypes.PYFUNCTYPE(ctypes.c_int)(address))\n"
    "class Raises(list):\n"
    "    def __del__(self): raise ValueError('in a destructor')\n"
    "def raises(): return Raises()\n"
    "def quiet():\n"
    "    import sys\n"
    "    sys.unraisablehook = lambda what: seen.append(str(what.exc_value))\n"
    "seen = []\n"
    "def told(): return seen\n";

static void assert_works(void) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *text;
    call("bad:ping", NULL, 0, &out, &err);
    krait_get_text(&out, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, "pong");
    krait_value_clear(&out);
}

/* The refusal of one argument: the step names it, the second call works. */
static void refused(krait_arg arg, krait_status status, const char *words) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out = krait_i64(1);
    krait_arg     args[] = { krait_pos(krait_i64(0)), arg };
    args[1].name = "x";
    call("bad:identity", args, 2, &out, &err);
    if (!err) fail_msg("taken, but expected: %s", words);
    assert_string_equal(krait_error_step(err), "convert argument 2 'x'");
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_error(err, status, words);
    call("bad:identity", args, 2, NULL, NULL); /* the same without an error to fill */
    assert_works();
    assert_nothing_left(&before);
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static void texts_and_bytes(void **state) {
    static const char *const not_utf8[] = {
        "\xff", "a\x80", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"
    };
    (void)state;
    for (size_t i = 0; i < COUNT(not_utf8); i++)
        refused(krait_pos(krait_str(not_utf8[i])), KRAIT_E_ENCODING, "'utf-8' codec can't decode byte");
    refused(krait_pos(krait_str(NULL)), KRAIT_E_ARGUMENT, "the text is NULL, expected UTF-8");
    refused(krait_pos(krait_text(NULL, 5)), KRAIT_E_ARGUMENT, "the text is NULL");
    refused(krait_pos(krait_text("x", SIZE_MAX)), KRAIT_E_RANGE, "is too long");
    refused(krait_pos(krait_bytes(NULL, 5)), KRAIT_E_ARGUMENT, "data is NULL, expected 5 bytes");
    refused(krait_pos(krait_bytes("x", SIZE_MAX)), KRAIT_E_RANGE, "too many");
}

static double some[8];

static krait_value array_of(int32_t ndim, const int64_t *shape, const int64_t *strides) {
    return krait_ndarray(some, krait_f64_type(), ndim, shape, strides);
}

static void shapes_and_strides(void **state) {
    static const int64_t ones[64] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    static const int64_t negative[] = { 3, -1 }, deep[] = { 1, 2, 3, 4, -5 }, least[] = { -INT64_MAX, 1 };
    static const int64_t huge[] = { INT64_MAX }, product[] = { (int64_t)1 << 31, (int64_t)1 << 31, 4 },
                         empty[] = { 0, INT64_MAX };
    static const int64_t four[] = { 4 }, far[] = { INT64_MAX / 2 }, back[] = { INT64_MIN / 2 };
    (void)state;
    refused(krait_pos(krait_vector_f64(NULL, 3)), KRAIT_E_ARGUMENT, "data is NULL, expected 3 elements of float64");
    refused(krait_pos(krait_matrix_i8(NULL, 1, 1)), KRAIT_E_ARGUMENT, "data is NULL, expected 1 element of int8");
    refused(krait_pos(array_of(2, NULL, NULL)), KRAIT_E_ARGUMENT, "shape is NULL, expected 2 lengths");
    refused(krait_pos(array_of(7, NULL, NULL)), KRAIT_E_ARGUMENT, "shape is NULL, expected 7 lengths");
    refused(krait_pos(array_of(2, negative, NULL)), KRAIT_E_SHAPE, "shape (3, -1): dimension 1 is negative");
    refused(krait_pos(array_of(5, deep, NULL)), KRAIT_E_SHAPE, "shape (1, 2, 3, 4, -5): dimension 4 is negative");
    refused(krait_pos(array_of(2, least, NULL)), KRAIT_E_SHAPE, "negative");
    refused(krait_pos(array_of(-1, ones, NULL)), KRAIT_E_SHAPE, "array has -1 dimensions, expected 0 to 32");
    refused(krait_pos(array_of(33, ones, NULL)), KRAIT_E_SHAPE, "array has 33 dimensions, expected 0 to 32");
    refused(krait_pos(array_of(64, ones, ones)), KRAIT_E_SHAPE, "array has 64 dimensions");
    refused(krait_pos(array_of(INT32_MAX, ones, NULL)), KRAIT_E_SHAPE, "array has 2147483647 dimensions");
    refused(krait_pos(array_of(1, huge, NULL)), KRAIT_E_SHAPE,
            "shape (9223372036854775807): more bytes than memory can have");
    refused(krait_pos(array_of(3, product, NULL)), KRAIT_E_SHAPE, "more bytes than memory can have");
    refused(krait_pos(array_of(2, empty, NULL)), KRAIT_E_SHAPE, "more bytes than memory can have");
    refused(krait_pos(krait_vector_f64(some, SIZE_MAX)), KRAIT_E_SHAPE, "negative");
    refused(krait_pos(krait_matrix_f64(some, (size_t)1 << 40, (size_t)1 << 40)), KRAIT_E_SHAPE,
            "more bytes than memory can have");
    refused(krait_pos(array_of(1, four, far)), KRAIT_E_SHAPE, "strides reach beyond memory");
    refused(krait_pos(array_of(1, four, back)), KRAIT_E_SHAPE, "strides reach beyond memory");
    refused(krait_pos(krait_vector_f64((const double *)(UINTPTR_MAX - 7), 2)), KRAIT_E_SHAPE,
            "strides reach beyond memory");
}

static krait_value of_dtype(uint8_t code, uint32_t item_size, uint8_t swapped, uint8_t unit) {
    krait_dtype dtype = { .code = code, .item_size = item_size, .swapped = swapped, .unit = unit };
    return krait_vector(some, dtype, 2);
}

static void dtypes_and_kinds(void **state) {
    krait_value strange = krait_make_(42), list = krait_make_(KRAIT_KIND_LIST), map = krait_make_(KRAIT_KIND_MAP);
    krait_value items[] = { krait_i64(1) };
    const char *keys[] = { NULL };
    (void)state;
    refused(krait_pos(of_dtype(0, 8, 0, 0)), KRAIT_E_ARGUMENT, "dtype code 0 is unknown");
    refused(krait_pos(of_dtype(20, 8, 0, 0)), KRAIT_E_ARGUMENT, "dtype code 20 is unknown");
    refused(krait_pos(of_dtype(255, 8, 0, 0)), KRAIT_E_ARGUMENT, "dtype code 255 is unknown");
    refused(krait_pos(of_dtype(KRAIT_F64, 4, 0, 0)), KRAIT_E_ARGUMENT, "dtype float64 has item_size 4, expected 8");
    refused(krait_pos(of_dtype(KRAIT_F64, 8, 2, 0)), KRAIT_E_ARGUMENT, "dtype float64 has swapped 2");
    refused(krait_pos(of_dtype(KRAIT_STRUCT, 8, 0, 0)), KRAIT_E_ARGUMENT, "dtype struct has of.fields NULL");
    refused(krait_pos(strange), KRAIT_E_ARGUMENT, "a value of kind 42");
    list.as.list.items = NULL;
    list.as.list.keys = NULL;
    list.as.list.count = 3;
    refused(krait_pos(list), KRAIT_E_ARGUMENT, "NULL");
    map.as.list.items = items;
    map.as.list.keys = keys;
    map.as.list.count = 1;
    refused(krait_pos(map), KRAIT_E_ARGUMENT, "NULL");
    map.as.list.keys = NULL;
    refused(krait_pos(map), KRAIT_E_ARGUMENT, "NULL");
    items[0] = krait_owned(krait_vector_f64(some, 2), free, NULL);
    refused(krait_pos(krait_list(items, 1)), KRAIT_E_UNSUPPORTED, "krait_owned, which is for arguments only");
}

static void a_list_that_contains_itself(void **state) {
    krait_value loop = krait_make_(KRAIT_KIND_LIST);
    (void)state;
    loop.as.list.items = &loop;
    loop.as.list.keys = NULL;
    loop.as.list.count = 1;
    refused(krait_pos(loop), KRAIT_E_UNSUPPORTED, "nested more than 64 deep");
}

static void flags_of_arguments(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    refused(krait_with(krait_pos(krait_vector_f64(some, 2)), 8), KRAIT_E_UNSUPPORTED,
            "argument flags 0x8 are not known");
    refused(krait_with(krait_pos(krait_vector_f64(some, 2)), KRAIT_COPY | KRAIT_ALIAS), KRAIT_E_ARGUMENT,
            "exclude each other");
    refused(krait_with(krait_pos(krait_str("text")), KRAIT_COPY), KRAIT_E_UNSUPPORTED, "are for arrays and tables only");
    refused(krait_with(krait_pos(krait_i64(1)), KRAIT_WRITABLE), KRAIT_E_UNSUPPORTED, "are for arrays and tables only");
    call1("bad:make", krait_str("numpy.zeros(3)"), 0, &out, &err);
    assert_good(err);
    refused(krait_with(krait_pos(krait_borrow(&out)), KRAIT_WRITABLE), KRAIT_E_UNSUPPORTED, "no flags but KRAIT_COPY");
    krait_value_clear(&out);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void refused_result(const char *expression, krait_status status, const char *words) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out = krait_i64(1);
    call1("bad:make", krait_str(expression), 0, &out, &err);
    if (!err) fail_msg("%s was taken", expression);
    if (strncmp(krait_error_step(err), "convert result", 14) != 0)
        fail_msg("%s: step \"%s\"", expression, krait_error_step(err));
    if (krait_error_status(err) != status || !strstr(krait_error_message(err), words))
        fail_msg("%s: %s: %s", expression, krait_status_name(krait_error_status(err)), krait_error_message(err));
    krait_error_clear(&err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_works();
    assert_nothing_left(&before);
}

/* Whatever has no C form is a handle; the numbers of the kinds stand in krait/value.h. */
static void results_of_other_types(void **state) {
    static const struct {
        const char *expression;
        int         kind;
    } rows[] = {
        { "{1, 2}", KRAIT_KIND_OBJECT },
        { "frozenset()", KRAIT_KIND_OBJECT },
        { "object()", KRAIT_KIND_OBJECT },
        { "fractions.Fraction(1, 3)", KRAIT_KIND_OBJECT },
        { "range(3)", KRAIT_KIND_OBJECT },
        { "{}.keys()", KRAIT_KIND_OBJECT },
        { "array.array('d', [1.0])", KRAIT_KIND_OBJECT },
        { "lambda: 1", KRAIT_KIND_OBJECT },
        { "len", KRAIT_KIND_OBJECT },
        { "sys", KRAIT_KIND_OBJECT },
        { "int", KRAIT_KIND_OBJECT },
        { "...", KRAIT_KIND_OBJECT },
        { "Colour.RED", KRAIT_KIND_OBJECT },
        { "ValueError('returned')", KRAIT_KIND_OBJECT },
        { "uuid.UUID(int=1)", KRAIT_KIND_OBJECT },
        { "numpy.dtype('f8')", KRAIT_KIND_OBJECT },
        { "ctypes.c_int(1)", KRAIT_KIND_OBJECT },
        { "(x for x in 'ab')", KRAIT_KIND_ITERATOR },
        { "iter([1])", KRAIT_KIND_ITERATOR },
        { "map(len, [])", KRAIT_KIND_ITERATOR },
        { "decimal.Decimal('1.5')", KRAIT_KIND_DECIMAL },
        { "datetime.datetime(2024, 1, 1)", KRAIT_KIND_TIME },
        { "datetime.date(2024, 1, 1)", KRAIT_KIND_TIME },
        { "datetime.timedelta(1)", KRAIT_KIND_TIME },
        { "pandas.Timestamp('2024-01-01')", KRAIT_KIND_TIME },
        { "pandas.NaT", KRAIT_KIND_TIME },
        { "pandas.NA", KRAIT_KIND_NONE },
        { "pandas.DataFrame({'a': [1]})", KRAIT_KIND_TABLE },
        { "pandas.Series([1, 2])", KRAIT_KIND_TABLE },
        { "pandas.Index([1, 2])", KRAIT_KIND_TABLE },
        { "numpy.array(['a', None], object)", KRAIT_KIND_TABLE },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        call1("bad:make", krait_str(rows[i].expression), 0, &out, &err);
        if (err) fail_msg("%s: %s", rows[i].expression, krait_error_message(err));
        if (out.kind != rows[i].kind) fail_msg("%s: kind %d", rows[i].expression, out.kind);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

/* Columns of objects: the table is there, and reading the column is the error. */
static void columns_of_other_types(void **state) {
    static const char *const rows[][2] = {
        { "numpy.array([1, None], object)", "column '' cannot be read: row 0 is of type int" },
        { "numpy.array(['a', 2.5], object)", "row 1 is of type float" },
        { "pandas.Series([object()], name='x')", "column 'x' cannot be read: row 0 is of type object" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error       *err = NULL;
        krait_value        out;
        krait_column       column;
        const krait_table *table;
        call1("bad:make", krait_str(rows[i][0]), 0, &out, &err);
        krait_get_table(&out, &table, &err);
        assert_good(err);
        krait_table_column(table, 0, &column, &err);
        assert_error(err, KRAIT_E_UNSUPPORTED, rows[i][1]);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void arrays_of_other_dtypes(void **state) {
    static const char *const rows[][2] = {
        { "numpy.array([[1, None]], object)", "dtype object" },
        { "numpy.array(None)", "dtype object" },
        { "numpy.zeros(2, numpy.longdouble)", "dtype float128" },
        { "numpy.zeros(2, numpy.clongdouble)", "dtype complex256" },
        { "numpy.longdouble(1)", "longdouble" },
        { "numpy.zeros(2, 'V8')", "dtype void64" },
        { "numpy.zeros(2, [('x', 'f8')])[0]", "numpy.void" },
        { "numpy.ma.array([1.0, 2.0], mask=[0, 1])", "a masked array: return a.filled(value)" },
        { "numpy.ma.array([1.0])", "a masked array" },
        { "numpy.ma.masked", "a masked array" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool version = strstr(rows[i][1], "longdouble") != NULL; /* numpy.longdouble or numpy.float128 by version */
        refused_result(rows[i][0], KRAIT_E_UNSUPPORTED, version ? "a scalar of type numpy." : rows[i][1]);
    }
}

static int64_t numpy_major(void) {
    krait_error *err = NULL;
    krait_value  out;
    call("bad:numpy_major", NULL, 0, &out, &err);
    assert_good(err);
    return out.as.i64;
}

/* numpy 2 has up to 64 dimensions and a text dtype of its own; numpy 1 has neither. */
static void arrays_that_only_numpy_2_has(void **state) {
    krait_error *err = NULL;
    (void)state;
    if (numpy_major() >= 2) {
        refused_result("numpy.zeros((1,) * 33)", KRAIT_E_SHAPE,
                       "an array with 33 dimensions; at most 32 are supported");
        refused_result("numpy.zeros((1,) * 64)", KRAIT_E_SHAPE, "an array with 64 dimensions");
        refused_result("numpy.array([['a']], numpy.dtypes.StringDType())", KRAIT_E_UNSUPPORTED, "not supported");
    } else {
        call1("bad:make", krait_str("numpy.zeros((1,) * 33)"), 0, NULL, &err);
        assert_error(err, KRAIT_E_PYTHON, "32");
    }
}

static void numbers_and_texts_out_of_range(void **state) {
    (void)state;
    refused_result("2**64", KRAIT_E_RANGE, "an int beyond 64 bits; expected -2^63 to 2^64 - 1");
    refused_result("-2**63 - 1", KRAIT_E_RANGE, "an int below 64 bits");
    refused_result("10**4000", KRAIT_E_RANGE, "an int beyond 64 bits");
    refused_result("'lone \\udc80 surrogate'", KRAIT_E_ENCODING, "surrogates not allowed");
    refused_result("['fine', '\\ud800']", KRAIT_E_ENCODING, "surrogates not allowed");
    refused_result("released_view()", KRAIT_E_PYTHON, "released memoryview");
}

static void dicts_and_lists(void **state) {
    (void)state;
    refused_result("{1: 'a'}", KRAIT_E_UNSUPPORTED, "a dict key is of type int; expected str");
    refused_result("{'a': 1, None: 2}", KRAIT_E_UNSUPPORTED, "a dict key is of type NoneType");
    refused_result("{(1, 2): 3}", KRAIT_E_UNSUPPORTED, "a dict key is of type tuple");
    refused_result("{'a\\0b': 1}", KRAIT_E_UNSUPPORTED, "NUL");
    refused_result("{'\\udc80': 1}", KRAIT_E_ENCODING, "surrogates not allowed");
    refused_result("loop()", KRAIT_E_UNSUPPORTED, "nested more than 64 deep; one may contain itself");
    refused_result("dict_loop()", KRAIT_E_UNSUPPORTED, "nested more than 64 deep");
    refused_result("nested(65)", KRAIT_E_UNSUPPORTED, "nested more than 64 deep");
    refused_result("[0] * 1_000_001", KRAIT_E_UNSUPPORTED,
                   "lists and dicts of 1000001 items in all; at most 1000000: return a numpy array");
    refused_result("dict.fromkeys(map(str, range(1_000_001)))", KRAIT_E_UNSUPPORTED, "1000001 items");
    refused_result("[[0] * 500_000] * 3", KRAIT_E_UNSUPPORTED, "items in all"); /* one list, three times */
    refused_result("[numpy.zeros(3), 'text', object(), [b'x', 2**70]]", KRAIT_E_RANGE,
                   "an int beyond 64 bits"); /* what came before it goes */
    refused_result("{'a': numpy.zeros((1,) * 5), 'b': ['t'], 'c': numpy.array(None)}", KRAIT_E_UNSUPPORTED,
                   "dtype object");
}

static void steps_name_the_item(void **state) {
    krait_error *err = NULL;
    (void)state;
    krait_value out;
    call1("bad:make", krait_str("[1, -2**70]"), 0, &out, &err);
    assert_string_equal(krait_error_step(err), "convert result, item 1");
    krait_error_clear(&err);
    call1("bad:make", krait_str("{'x': 1, 'y': 2**70}"), 0, &out, &err);
    assert_string_equal(krait_error_step(err), "convert result, item 'y'");
    krait_error_clear(&err);
}

static void what_just_fits(void **state) {
    krait_metrics      before = at_rest();
    krait_error       *err = NULL;
    krait_value        out;
    const krait_value *item = &out;
    const char        *text;
    (void)state;
    call1("bad:nested", krait_i64(64), 0, &out, &err);
    assert_good(err);
    for (int i = 63; i >= 0 && !err; i--) {
        if (i % 2) krait_list_at(item, 0, &item, &err);
        else krait_map_get(item, "k", &item, &err);
    }
    krait_get_text(item, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, "core");
    krait_value_clear(&out);
    call1("bad:make", krait_str("list(range(1_000_000))"), 0, &out, &err);
    assert_good(err);
    assert_int_equal(krait_list_len(&out), 1000000);
    krait_list_at(&out, 999999, &item, &err);
    assert_int_equal(item->as.i64, 999999);
    krait_value_clear(&out);
    assert_nothing_left(&before);
}

/* ---- leaving, printing, broken modules --------------------------------------------------------------------------- */

static void exits_are_errors(void **state) {
    static const struct {
        const char *name, *given, *message;
    } rows[] = {
        { "bad:leave", "3", "3" },
        { "builtins:exit", "0", "0" },
        { "bad:leave", "text", "text" },
        { "bad:leave_later", NULL, "4" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_arg    args[] = { krait_pos(krait_str(rows[i].given ? rows[i].given : "")) };
        call(rows[i].name, args, rows[i].given ? 1 : 0, NULL, &err);
        assert_string_equal(krait_error_python_type(err), "SystemExit");
        assert_error(err, KRAIT_E_EXIT, rows[i].message);
        assert_works();
    }
    assert_nothing_left(&before);
}

/* A folder with modules, first in sys.path. */
static char folder[FOLDER_SIZE];

static void write_file(const char *name, const char *text) {
    char  path[FOLDER_SIZE + 32];
    FILE *out;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static const char *const files[][2] = {
    { "bad_exits.py", "import sys\nsys.exit('not today')\n" },
    { "bad_raises.py", "x = 1\nraise RuntimeError('broken module')\n" },
    { "bad_syntax.py", "def f():\n    return (\n" },
    { "bad_needs.py", "import no_such_dependency_of_it\n" },
    { "bad_outer.py", "import bad_raises\n" },
    { "bad_bytes.py", "text = '\xff'\n" },
    { "bad_interrupt.py", "raise KeyboardInterrupt\n" },
    { "bad_prints.py",
      "import sys\nprint('printed at import')\nprint('and this', file=sys.stderr)\n"
      "def f():\n    print('\\u20ac')\n    return 6\n" },
    { "bad_circle_a.py", "from bad_circle_b import y\nx = 1\n" },
    { "bad_circle_b.py", "from bad_circle_a import x\ny = 1\n" },
};

static void add_folder(void) {
    krait_error *err = NULL;
    assert_true(make_folder(folder));
    for (size_t i = 0; i < COUNT(files); i++) write_file(files[i][0], files[i][1]);
    define("bad_path", "import sys\nsys.dont_write_bytecode = True\n");
    krait_add_path(folder, 0, &err);
    assert_good(err);
}

static int remove_folder(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[FOLDER_SIZE + 32];
        snprintf(path, sizeof path, "%s/%s", folder, files[i][0]);
        unlink(path);
    }
    return rmdir(folder);
}

static void modules_that_do_not_import(void **state) {
    static const struct {
        const char  *name, *type, *words, *trace;
        krait_status status;
    } rows[] = {
        { "bad_exits:f", "SystemExit", "not today", "bad_exits.py\", line 2", KRAIT_E_EXIT },
        { "bad_raises:f", "RuntimeError", "broken module", "bad_raises.py\", line 2", KRAIT_E_IMPORT },
        { "bad_syntax:f", "SyntaxError", "(bad_syntax.py, line 2)", "return (", KRAIT_E_IMPORT },
        { "bad_needs:f", "ModuleNotFoundError", "No module named 'no_such_dependency_of_it'", "bad_needs.py\", line 1",
          KRAIT_E_IMPORT },
        { "bad_outer:f", "RuntimeError", "broken module", "bad_outer.py\", line 1", KRAIT_E_IMPORT },
        { "bad_bytes:f", "SyntaxError", "bad_bytes.py", "SyntaxError", KRAIT_E_IMPORT },
        { "bad_interrupt:f", "KeyboardInterrupt", "", "bad_interrupt.py\", line 1", KRAIT_E_IMPORT },
        { "bad_circle_a:f", "ImportError", "circular import", "bad_circle_b.py\", line 1", KRAIT_E_IMPORT },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        call(rows[i].name, NULL, 0, &out, &err);
        if (!err) fail_msg("%s was imported", rows[i].name);
        assert_string_equal(krait_error_python_type(err), rows[i].type);
        if (!strstr(krait_error_traceback(err), rows[i].trace))
            fail_msg("%s: %s", rows[i].name, krait_error_traceback(err));
        assert_error(err, rows[i].status, rows[i].words);
        assert_works();
    }
}

/* Once mended, the same name imports. */
static void a_module_mended_afterwards(void **state) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("bad_raises:f", &err);
    krait_value  out;
    (void)state;
    krait_call(func, NULL, 0, NULL, &out, &err);
    assert_error(err, KRAIT_E_IMPORT, "broken module");
    write_file("bad_raises.py", "def f():\n    return 'mended'\n");
    define("bad_caches", "import importlib\nimportlib.invalidate_caches()\n");
    krait_call(func, NULL, 0, NULL, &out, &err);
    assert_good(err);
    krait_value_clear(&out);
    krait_func_unref(func);
}

/* What Python prints arrives, in UTF-8, before the host ends; here it is caught in a file. */
static void modules_that_print(void **state) {
    char         path[FOLDER_SIZE + 32], text[256] = "";
    krait_error *err = NULL;
    krait_value  out;
    int          was[2], file;
    ssize_t      size;
    (void)state;
    snprintf(path, sizeof path, "%s/output", folder);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    fflush(stdout);
    was[0] = dup(1);
    was[1] = dup(2);
    dup2(file, 1);
    dup2(file, 2);
    call("bad_prints:f", NULL, 0, &out, &err);
    dup2(was[0], 1);
    dup2(was[1], 2);
    close(was[0]);
    close(was[1]);
    size = pread(file, text, sizeof text - 1, 0);
    close(file);
    unlink(path);
    assert_good(err);
    assert_int_equal(out.as.i64, 6);
    assert_true(size > 0);
    assert_string_equal(text, "printed at import\nand this\n\xe2\x82\xac\n");
}

/* ---- stacks ------------------------------------------------------------------------------------------------------ */

typedef struct errand {
    const char  *name;
    krait_error *err, *acquire;
    krait_value  old; /* to be cleared there */
} errand;

static void *run_errand(void *user) {
    errand *mine = user;
    krait_value_clear(&mine->old);
    call(mine->name, NULL, 0, NULL, &mine->err);
    if (!krait_acquire(&mine->acquire)) krait_release();
    return NULL;
}

static void run_with_stack(errand *mine, size_t kib) {
    pthread_attr_t attributes;
    pthread_t      thread;
    pthread_attr_init(&attributes);
    assert_int_equal(pthread_attr_setstacksize(&attributes, kib * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, run_errand, mine), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

static void small_stacks_are_refused(void **state) {
    static const size_t sizes[] = { 64, 128, 512, 1020 };
    krait_metrics       before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        errand       mine = { .name = "bad:ping" };
        krait_error *err = NULL;
        char         words[64];
        call1("bad:make", krait_str("numpy.zeros(3)"), 0, &mine.old, &err);
        assert_good(err);
        run_with_stack(&mine, sizes[i]);
        snprintf(words, sizeof words, "this thread's stack has %zu KiB; Python needs 1024", sizes[i]);
        assert_error(mine.err, KRAIT_E_STACK, words);
        assert_error(mine.acquire, KRAIT_E_STACK, words);
        assert_int_equal(mine.old.kind, KRAIT_KIND_NONE); /* clearing needs no Python */
    }
    assert_nothing_left(&before);
}

static void a_mebibyte_is_enough_for_endless_recursion(void **state) {
    static const char *const names[] = { "bad:endless", "bad:endless_repr" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        errand mine = { .name = names[i] };
        run_with_stack(&mine, 1024);
        assert_string_equal(krait_error_python_type(mine.err), "RecursionError");
        assert_error(mine.err, KRAIT_E_PYTHON, ""); /* "recursion depth exceeded", or since 3.14 "Stack overflow" */
        assert_good(mine.acquire);
    }
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static void refused_options(krait_call_options *options, krait_status status, const char *words) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("bad:ping", &err);
    krait_value  out;
    krait_call(func, NULL, 0, options, &out, &err);
    assert_string_equal(krait_error_step(err), "call");
    assert_error(err, status, words);
    krait_func_check(func, options, &err);
    assert_error(err, status, words);
    krait_func_unref(func);
}

static void options_that_are_not_there_yet(void **state) {
    const krait_call_options init = KRAIT_CALL_OPTIONS_INIT;
    krait_call_options       at;
    char                     place;
    (void)state;
#define REFUSE(field, value)                                                                      \
    at = init;                                                                                    \
    at.field = value;                                                                             \
    refused_options(&at, KRAIT_E_UNSUPPORTED, "krait_call_options." #field " is not supported yet")
    REFUSE(on, (struct krait_pool *)(void *)&place);
    REFUSE(timeout_ms, 1);
    REFUSE(timeout_ms, -1);
    REFUSE(deadline_ns, 1);
    REFUSE(trace, (const struct krait_trace *)(const void *)&place);
    REFUSE(cancel, (struct krait_cancel *)(void *)&place);
    REFUSE(tag, "tag");
    REFUSE(reserved0, 1);
#undef REFUSE
    at = init;
    at.reserved[3] = 1;
    refused_options(&at, KRAIT_E_UNSUPPORTED, "krait_call_options.reserved is not supported yet");
    at = init;
    at.flags = KRAIT_IDEMPOTENT;
    refused_options(&at, KRAIT_E_UNSUPPORTED, "KRAIT_IDEMPOTENT is not supported yet");
    at.flags = 4;
    refused_options(&at, KRAIT_E_UNSUPPORTED, "krait_call_options.flags 0x4 are not known");
    assert_works();
}

/* As a program of another release would give them. */
static void options_of_another_size(void **state) {
    struct {
        krait_call_options known;
        uint64_t           later[2];
    } newer = { .known = KRAIT_CALL_OPTIONS_INIT };
    krait_call_options older = KRAIT_CALL_OPTIONS_INIT;
    krait_error       *err = NULL;
    krait_func        *func = krait_func_new("bad:ping", &err);
    (void)state;
    newer.known.size = sizeof newer;
    krait_call(func, NULL, 0, &newer.known, NULL, &err);
    assert_good(err);
    newer.later[1] = 1;
    refused_options(&newer.known, KRAIT_E_UNSUPPORTED, "a field beyond its first");
    older.size = sizeof older - 8;
    refused_options(&older, KRAIT_E_ARGUMENT, "krait_call_options.size is");
    older.size = 0;
    refused_options(&older, KRAIT_E_ARGUMENT, "OPTIONS_INIT");
    krait_func_unref(func);
}

static void refused_init(krait_options *options, krait_status status, const char *words) {
    krait_error *err = NULL;
    krait_init(options, &err);
    if (!err) fail_msg("krait_init took it: %s", words);
    assert_true(krait_error_step(err)[0] != 0);
    assert_error(err, status, words);
    assert_works();
}

/* krait_init once more, while Python runs. */
static void options_of_init(void **state) {
    static const char *const words[] = { "importtime", NULL };
    const krait_options      init = KRAIT_OPTIONS_INIT;
    krait_allocator          half = { NULL, NULL, NULL, NULL };
    krait_options            options = init;
    krait_error             *err = NULL;
    (void)state;
    krait_init(&options, &err);
    krait_init(NULL, &err);
    assert_good(err);
    options.size = 8;
    refused_init(&options, KRAIT_E_ARGUMENT, "krait_options.size is 8");
    options = init;
    options.reserved[1] = 1;
    refused_init(&options, KRAIT_E_UNSUPPORTED, "krait_options.reserved is not supported yet");
    options = init;
    options.flags = 2;
    refused_init(&options, KRAIT_E_UNSUPPORTED, "krait_options.flags 0x2 are not known");
    options.flags = KRAIT_ISOLATED;
    refused_init(&options, KRAIT_E_CONFLICT, "KRAIT_ISOLATED");
    options = init;
    options.blas_threads = 100000;
    refused_init(&options, KRAIT_E_RANGE, "krait_options.blas_threads is 100000");
    options = init;
    options.x_options = words;
    refused_init(&options, KRAIT_E_CONFLICT, "krait_options.x_options");
    options = init;
    options.allocator = &half;
    refused_init(&options, KRAIT_E_ARGUMENT, "all three functions are needed");
    options = init;
    options.python = "/no/such/python";
    refused_init(&options, KRAIT_E_NO_PYTHON, "/no/such/python");
}

/* ---- NULL -------------------------------------------------------------------------------------------------------- */

static void null_is_refused_everywhere(void **state) {
    krait_error       *err = NULL;
    krait_value        value = krait_f64(1), text = krait_str("x");
    krait_array        array;
    krait_metrics      metrics = { .size = 0 };
    const krait_value *item;
    const char        *key;
    double             x;
    bool               b;
    (void)state;
#define REFUSED(what)                               \
    do {                                            \
        what;                                       \
        assert_error(err, KRAIT_E_ARGUMENT, "NULL"); \
    } while (0)
    REFUSED(krait_call(NULL, NULL, 0, NULL, NULL, &err));
    REFUSED(krait_get_f64(NULL, &x, &err));
    REFUSED(krait_get_f64(&value, NULL, &err));
    REFUSED(krait_get_bool(NULL, &b, &err));
    REFUSED(krait_get_i64(&value, NULL, &err));
    REFUSED(krait_get_u64(&value, NULL, &err));
    REFUSED(krait_get_complex(&value, &x, NULL, &err));
    REFUSED(krait_get_text(&text, NULL, NULL, &err));
    REFUSED(krait_get_bytes(&text, NULL, NULL, &err));
    REFUSED(krait_get_array(NULL, KRAIT_ANY, -1, &array, &err));
    REFUSED(krait_get_array(&value, KRAIT_ANY, -1, NULL, &err));
    REFUSED(krait_get_column(&value, NULL, KRAIT_ANY, &array, &err));
    REFUSED(krait_array_field(NULL, "x", KRAIT_ANY, &array, &err));
    REFUSED(krait_list_at(NULL, 0, &item, &err));
    REFUSED(krait_list_at(&value, 0, NULL, &err));
    REFUSED(krait_map_get(&value, NULL, &item, &err));
    REFUSED(krait_map_at(&value, 0, &key, NULL, &err));
    REFUSED(krait_value_copy(NULL, &value, &err));
    REFUSED(krait_value_copy(&text, NULL, &err));
    REFUSED(krait_metrics_get(NULL, &err));
#undef REFUSED
    krait_metrics_get(&metrics, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "size is not set");
    krait_value_clear(NULL);
    krait_error_clear(NULL);
    krait_release(); /* without krait_acquire */
    assert_int_equal(krait_list_len(NULL) + krait_map_len(NULL) + krait_loans(NULL, NULL), 0);
    assert_true(krait_value_describe(NULL, NULL, 0) > 0);
    assert_int_equal(krait_error_status(NULL), KRAIT_OK);
    assert_string_equal(krait_error_message(NULL), "");
    assert_works();
}

/* ---- clearing ---------------------------------------------------------------------------------------------------- */

static void clear_twice_and_in_any_order(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL, *other = NULL;
    krait_func   *func = krait_func_new("bad:make", &err);
    krait_arg     args[] = { krait_pos(krait_str("[numpy.arange(5), {'k': 'text'}]")) };
    krait_value   first, second, third;
    (void)state;
    krait_call(func, args, 1, NULL, &first, &err);
    krait_call(func, args, 1, NULL, &second, &err);
    call1("bad:identity", krait_borrow(&second), 0, &third, &err);
    assert_good(err);
    krait_value_clear(&second); /* the original before what was passed on */
    krait_value_clear(&second);
    assert_int_equal(second.kind, KRAIT_KIND_NONE);
    krait_func_unref(func);
    call("bad:no_such", NULL, 0, NULL, &other);
    krait_value_clear(&first);
    krait_value_clear(&third);
    krait_value_clear(&first);
    krait_error_clear(&other);
    krait_error_clear(&other);
    assert_works();
    assert_nothing_left(&before);
}

static void *clear_all(void *user) {
    krait_value *values = user;
    for (int i = 99; i >= 0; i--) krait_value_clear(&values[i]);
    return NULL;
}

static void clear_in_a_thread_without_python(void **state) {
    static krait_value values[100];
    krait_metrics      before = at_rest();
    krait_error       *err = NULL;
    pthread_t          thread;
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++)
        call1("bad:make", krait_str(i % 2 ? "numpy.zeros(100000)" : "{'a': ('x' * 100, numpy.ones(3))}"), 0, &values[i],
              &err);
    assert_good(err);
    assert_true(counters().live_results >= before.live_results + 100);
    assert_int_equal(pthread_create(&thread, NULL, clear_all, values), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_nothing_left(&before);
}

static bool arrives(int fd) {
    struct pollfd waiting = { .fd = fd, .events = POLLIN };
    char          byte;
    return poll(&waiting, 1, PATIENCE_MS) == 1 && read(fd, &byte, 1) == 1;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The destructor stops krait's own thread for as long as it likes; clearing and the calls of others go on. */
static void a_destructor_that_blocks(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out, others[50];
    int           begun[2], go_on[2];
    int64_t       start;
    (void)state;
    assert_int_equal(pipe(begun) | pipe(go_on), 0);
    krait_arg args[] = { krait_pos(krait_i64(begun[1])), krait_pos(krait_i64(go_on[0])) };
    call("destructors:blocks", args, 2, &out, &err);
    assert_good(err);
    start = now_ms();
    krait_value_clear(&out);
    assert_true(now_ms() - start < 1000);
    assert_true(arrives(begun[0])); /* it has begun, and not on this thread */
    for (size_t i = 0; i < COUNT(others); i++) {
        errand mine = { .name = "bad:ping" };
        call1("bad:make", krait_str("numpy.zeros(3)"), 0, &others[i], &err);
        krait_value_clear(&others[i]);
        if (i % 10 == 0) run_with_stack(&mine, 8192);
        assert_good(mine.err);
    }
    assert_good(err);
    assert_works();
    assert_true(now_ms() - start < PATIENCE_MS);
    assert_int_equal(write(go_on[1], "x", 1), 1);
    assert_nothing_left(&before);
    for (int i = 0; i < 2; i++) close(begun[i]), close(go_on[i]);
}

static atomic_int  called_back, call_failed;
static krait_value to_clear;

static int call_and_clear(void) {
    krait_error *err = NULL;
    krait_value  out;
    call("bad:ping", NULL, 0, &out, &err);
    if (err || out.kind != KRAIT_KIND_TEXT) atomic_fetch_add(&call_failed, 1);
    krait_value_clear(&out);
    krait_value_clear(&to_clear);
    krait_error_clear(&err);
    atomic_fetch_add(&called_back, 1);
    return 0;
}

static void destructors_that_call_back(void **state) {
    static const char *const names[] = { "destructors:calls_back", "destructors:calls_back_holding" };
    int (*fn)(void) = call_and_clear;
    krait_metrics before = at_rest();
    uintptr_t     address;
    (void)state;
    memcpy(&address, &fn, sizeof address);
    for (size_t round = 0; round < 3 * COUNT(names); round++) {
        krait_error *err = NULL;
        krait_value  out;
        call1(names[round % 2], krait_u64(address), 0, &out, &err);
        call1("bad:make", krait_str("numpy.zeros(3)"), 0, &to_clear, &err);
        if (round >= 4) krait_acquire(&err); /* freed by this thread, not by krait's own */
        krait_value_clear(&out);
        if (round >= 4) krait_release();
        if (round == 2 || round == 3) assert_works(); /* freed in passing */
        for (int ms = 0; ms < PATIENCE_MS && atomic_load(&called_back) <= (int)round; ms++) wait_ms(1);
        assert_good(err);
        assert_int_equal(atomic_load(&called_back), round + 1);
    }
    assert_int_equal(atomic_load(&call_failed), 0);
    assert_nothing_left(&before);
}

static void destructors_that_raise(void **state) {
    krait_metrics before;
    krait_error  *err = NULL;
    krait_value   out;
    const char   *text = "";
    (void)state;
    call("destructors:quiet", NULL, 0, NULL, &err);
    before = at_rest();
    call("destructors:raises", NULL, 0, &out, &err);
    assert_good(err);
    krait_value_clear(&out);
    assert_works();
    assert_nothing_left(&before);
    call("destructors:told", NULL, 0, &out, &err);
    const krait_value *item;
    krait_list_at(&out, 0, &item, &err);
    krait_get_text(item, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, "in a destructor");
    krait_value_clear(&out);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (failed) return failed;
    define("bad", module);
    define("destructors", destructors);
    add_folder();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_bytes),
        cmocka_unit_test(shapes_and_strides),
        cmocka_unit_test(dtypes_and_kinds),
        cmocka_unit_test(a_list_that_contains_itself),
        cmocka_unit_test(flags_of_arguments),
        cmocka_unit_test(results_of_other_types),
        cmocka_unit_test(columns_of_other_types),
        cmocka_unit_test(arrays_of_other_dtypes),
        cmocka_unit_test(arrays_that_only_numpy_2_has),
        cmocka_unit_test(numbers_and_texts_out_of_range),
        cmocka_unit_test(dicts_and_lists),
        cmocka_unit_test(steps_name_the_item),
        cmocka_unit_test(what_just_fits),
        cmocka_unit_test(exits_are_errors),
        cmocka_unit_test(modules_that_do_not_import),
        cmocka_unit_test(a_module_mended_afterwards),
        cmocka_unit_test(modules_that_print),
        cmocka_unit_test(small_stacks_are_refused),
        cmocka_unit_test(a_mebibyte_is_enough_for_endless_recursion),
        cmocka_unit_test(options_that_are_not_there_yet),
        cmocka_unit_test(options_of_another_size),
        cmocka_unit_test(options_of_init),
        cmocka_unit_test(null_is_refused_everywhere),
        cmocka_unit_test(clear_twice_and_in_any_order),
        cmocka_unit_test(clear_in_a_thread_without_python),
        cmocka_unit_test(a_destructor_that_blocks),
        cmocka_unit_test(destructors_that_call_back),
        cmocka_unit_test(destructors_that_raise),
    };
    return cmocka_run_group_tests(tests, set_up, remove_folder);
}
