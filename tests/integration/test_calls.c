/* Calls: names, what can be called, keywords, coroutines, sources and paths. What goes wrong inside Python is the
 * matter of test_errors.c, what is wrong with the call itself of test_bad_input.c. */
#include "check.h"

#include <pthread.h>
#include <sys/stat.h>

static const char module[] =
    "import asyncio, ctypes, functools, math, sys\n"
    "import numpy\n"
    "number = 5\n"
    "def args(*args, **kwargs):\n"
    "    return f'{args} {kwargs}'\n"
    "def named(a, /, b, *, c=3):\n"
    "    return f'{a} {b} {c}'\n"
    "def is_imported(name):\n"
    "    return name in sys.modules\n"
    "def forget_module(name):\n"
    "    sys.modules.pop(name, None)\n"
    "class Counter:\n"
    "    def __init__(self): self.n = 0\n"
    "    def add(self, k):\n"
    "        self.n += k\n"
    "        return self.n\n"
    "    def __call__(self, k): return -k\n"
    "    @classmethod\n"
    "    def label(cls): return cls.__name__\n"
    "    @staticmethod\n"
    "    def twice(k): return 2 * k\n"
    "    class Inner:\n"
    "        @staticmethod\n"
    "        def depth(): return 2\n"
    "counter = Counter()\n"
    "bound = counter.add\n"
    "negate = lambda x: -x\n"
    "power3 = functools.partial(pow, exp=3)\n"
    "cached = functools.lru_cache(lambda x: x + 100)\n"
    "class NewType(type):\n"
    "    def __call__(cls, x): return x + 1\n"
    "class Increment(metaclass=NewType): pass\n"
    "async def soon(x, wait=0.001):\n"
    "    await asyncio.sleep(wait)\n"
    "    return x\n"
    "async def soon_array(a):\n"
    "    return await soon({'sum': float(a.sum()), 'all': await soon(a)})\n"
    "def gives_coroutine(x):\n"
    "    return soon(x)\n"
    "ran = []\n"
    "async def notes_that_it_ran(x):\n"
    "    ran.append(x)\n"
    "def last_note():\n"
    "    return ran.pop()\n"
    "def coroutine_inside():\n"
    "    c = soon(1)\n"
    "    c.close()\n"
    "    return [1, c]\n"
    "async def generator():\n"
    "    yield 1\n"
    "def from_a_running_loop(address):\n"
    "    async def main():\n"
    "        return ctypes.CFUNCTYPE(ctypes.c_int)(address)()\n"
    "    return asyncio.run(main())\n"
    "def path_at(i):\n"
    "    return sys.path[i]\n"
    "def path_count(p):\n"
    "    return sys.path.count(p)\n"
    "def drop_path(p):\n"
    "    while p in sys.path: sys.path.remove(p)\n";

/* Fails unless the result is that text. */
static void assert_text(krait_value *value, const char *expected) {
    krait_error *err = NULL;
    const char  *text;
    krait_get_text(value, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
    krait_value_clear(value);
}

static int64_t int_of(const char *name, krait_value value) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      n;
    call1(name, value, 0, &out, &err);
    krait_get_i64(&out, &n, &err);
    assert_good(err);
    return n;
}

static bool bool_of(const char *name, krait_value value) {
    krait_error *err = NULL;
    krait_value  out;
    bool         b;
    call1(name, value, 0, &out, &err);
    krait_get_bool(&out, &b, &err);
    assert_good(err);
    return b;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void bad_forms_of_names(void **state) {
    static const char *const names[] = { NULL,     "",     ":",    "m",      "m:",    ":f",   "m:f:g",
                                         "m::f",   " m:f", "m :f", "m: f",   "m:f ",  ".m:f", "m.:f",
                                         "m..n:f", "m:.f", "m:f.", "m:f..g", "m\n:f", "m:f\t" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_error *err = NULL;
        if (krait_func_new(names[i], &err)) fail_msg("\"%s\" was taken", names[i]);
        assert_string_equal(krait_error_step(err), "func_new");
        if (names[i] && *names[i]) assert_non_null(strstr(krait_error_message(err), names[i]));
        assert_error(err, KRAIT_E_ARGUMENT, "expected \"package.module:function\"");
    }
    assert_null(krait_func_new("m:", NULL));
    assert_nothing_left(&before);
}

static void names_of_functions(void **state) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("calls:Counter.Inner.depth", &err), *same = krait_func_ref(func);
    (void)state;
    assert_ptr_equal(func, same);
    krait_func_unref(func);
    assert_string_equal(krait_func_name(same), "calls:Counter.Inner.depth");
    krait_func_check(same, NULL, &err);
    assert_good(err);
    krait_func_unref(same);
    krait_func_unref(NULL);
    assert_null(krait_func_ref(NULL));
    assert_string_equal(krait_func_name(NULL), "");
}

static void nothing_is_imported_before_the_first_use(void **state) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("colorsys:rgb_to_hsv", &err);
    (void)state;
    assert_good(err);
    call1("calls:forget_module", krait_str("colorsys"), 0, NULL, &err);
    assert_false(bool_of("calls:is_imported", krait_str("colorsys")));
    krait_func_check(func, NULL, &err);
    assert_good(err);
    assert_true(bool_of("calls:is_imported", krait_str("colorsys")));
    krait_func_unref(func);
}

static void check_tells_what_is_wrong(void **state) {
    static const struct {
        const char  *name;
        krait_status status;
        const char  *words, *step;
    } rows[] = {
        { "no_such_module:f", KRAIT_E_IMPORT, "No module named 'no_such_module'", "import no_such_module" },
        { "numpy.no_such:f", KRAIT_E_IMPORT, "No module named 'numpy.no_such'", "import numpy.no_such" },
        { "calls.inside:f", KRAIT_E_IMPORT, "'calls' is not a package", "import calls.inside" },
        { "calls:absent", KRAIT_E_NOT_FOUND, "module 'calls' has no attribute 'absent'", "find calls:absent" },
        { "calls:Counter.absent", KRAIT_E_NOT_FOUND, "has no attribute 'absent'", "find calls:Counter.absent" },
        { "calls:number", KRAIT_E_KIND, "it is of type int, which cannot be called", "find calls:number" },
        { "calls:numpy", KRAIT_E_KIND, "it is of type module, which cannot be called", "find calls:numpy" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_func  *func = krait_func_new(rows[i].name, &err);
        krait_value  out;
        krait_func_check(func, NULL, &err);
        assert_string_equal(krait_error_step(err), rows[i].step);
        assert_error(err, rows[i].status, rows[i].words);
        krait_call(func, NULL, 0, NULL, &out, &err); /* a call says the same */
        assert_string_equal(krait_error_step(err), rows[i].step);
        assert_error(err, rows[i].status, rows[i].words);
        krait_func_unref(func);
    }
    krait_error *err = NULL;
    krait_func_check(NULL, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "func is NULL");
    assert_nothing_left(&before);
}

static void what_was_missing_may_come(void **state) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("comes_later:f", &err);
    krait_value  out;
    (void)state;
    krait_call(func, NULL, 0, NULL, &out, &err);
    assert_error(err, KRAIT_E_IMPORT, "comes_later");
    define("comes_later", "def f():\n    return 'here'\n");
    krait_call(func, NULL, 0, NULL, &out, &err);
    assert_good(err);
    assert_text(&out, "here");
    krait_func_unref(func);
}

/* ---- what can be called ------------------------------------------------------------------------------------------ */

static void callables_of_every_sort(void **state) {
    static const struct {
        const char *name;
        int64_t     given, expected;
    } rows[] = {
        { "builtins:abs", -4, 4 },       { "builtins:int", 9, 9 },        { "math:isqrt", 17, 4 },
        { "numpy:negative", 3, -3 },     { "numpy.linalg:norm", -2, 2 },  { "calls:negate", 3, -3 },
        { "calls:power3", 2, 8 },        { "calls:cached", 1, 101 },      { "calls:counter", 6, -6 },
        { "calls:Counter.twice", 4, 8 }, { "calls:counter.twice", 4, 8 }, { "calls:Increment", 1, 2 },
        { "calls:math.isqrt", 26, 5 },   { "operator:neg", 1, -1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (int_of(rows[i].name, krait_i64(rows[i].given)) != rows[i].expected)
            fail_msg("%s gave another result", rows[i].name);
}

static void methods_keep_their_object(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    assert_int_equal(int_of("calls:counter.add", krait_i64(2)), 2);
    assert_int_equal(int_of("calls:bound", krait_i64(3)), 5);
    assert_int_equal(int_of("calls:counter.add", krait_i64(-5)), 0);
    call("calls:Counter.label", NULL, 0, &out, &err);
    assert_good(err);
    assert_text(&out, "Counter");
    call("calls:Counter.Inner.depth", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.i64, 2);
}

static void *add_elsewhere(void *user) {
    krait_error *err = NULL;
    for (int i = 0; i < 500; i++) call1("calls:counter.add", krait_i64(1), 0, NULL, &err);
    *(krait_error **)user = err;
    return NULL;
}

static void state_is_one_for_all_threads(void **state) {
    pthread_t    threads[4];
    krait_error *errors[4];
    (void)state;
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_elsewhere, &errors[i]), 0);
    for (size_t i = 0; i < COUNT(threads); i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (size_t i = 0; i < COUNT(threads); i++) assert_good(errors[i]);
    assert_int_equal(int_of("calls:counter.add", krait_i64(0)), 2000);
}

static void a_function_may_go_before_its_result(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_func   *func = krait_func_new("builtins:str", &err);
    krait_arg     args[] = { krait_pos(krait_f64(0.5)) };
    krait_value   out;
    (void)state;
    krait_call(func, args, 1, NULL, &out, &err);
    krait_func_unref(func);
    assert_good(err);
    assert_text(&out, "0.5");
    assert_nothing_left(&before);
}

static void a_result_may_be_dropped(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    (void)state;
    call1("builtins:list", krait_str("abc"), 0, NULL, &err);
    call1("builtins:frozenset", krait_str("abc"), 0, NULL, &err); /* of whatever type */
    assert_good(err);
    assert_nothing_left(&before);
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static void call_with(const krait_arg *args, size_t n, const char *expected) {
    krait_error *err = NULL;
    krait_value  out;
    call("calls:args", args, n, &out, &err);
    assert_good(err);
    assert_text(&out, expected);
}

static void keywords_in_their_order(void **state) {
    krait_arg args[] = { krait_pos(krait_i64(1)),
                         krait_kw("z", krait_i64(2)),
                         krait_kw("a", krait_i64(3)),
                         krait_kw("gr\xc3\xb6\xc3\x9f"
                                  "e",
                                  krait_i64(4)),
                         krait_kw("", krait_i64(5)),
                         krait_kw("not an identifier", krait_none()) };
    (void)state;
    call_with(args, 0, "() {}");
    call_with(args, 1, "(1,) {}");
    call_with(args, 6, "(1,) {'z': 2, 'a': 3, 'gr\xc3\xb6\xc3\x9f" "e': 4, '': 5, 'not an identifier': None}");
    call_with(args + 1, 2, "() {'z': 2, 'a': 3}");
}

/* Eight sets of names are remembered for each function; the ninth and the same names in another order are as right. */
static void many_sets_of_keywords(void **state) {
    static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l" };
    krait_metrics            before = at_rest();
    krait_error             *err = NULL;
    krait_func              *func = krait_func_new("calls:args", &err);
    (void)state;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < COUNT(names); i++)
            for (size_t j = 0; j < COUNT(names); j++) {
                krait_arg   args[] = { krait_kw(names[i], krait_i64(1)), krait_kw(names[j], krait_i64(2)) };
                char        expected[64];
                krait_value out;
                if (i == j) continue;
                snprintf(expected, sizeof expected, "() {'%s': 1, '%s': 2}", names[i], names[j]);
                krait_call(func, args, 2, NULL, &out, &err);
                assert_good(err);
                assert_text(&out, expected);
            }
    krait_func_unref(func);
    assert_nothing_left(&before);
}

/* Remembered names are compared by their text, not by their address. */
static void keyword_names_may_be_reused_memory(void **state) {
    char         name[8] = "first";
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("calls:args", &err);
    krait_arg    args[] = { krait_kw(name, krait_i64(1)) };
    krait_value  out;
    (void)state;
    krait_call(func, args, 1, NULL, &out, &err);
    assert_good(err);
    assert_text(&out, "() {'first': 1}");
    snprintf(name, sizeof name, "other");
    krait_call(func, args, 1, NULL, &out, &err);
    assert_good(err);
    assert_text(&out, "() {'other': 1}");
    krait_func_unref(func);
}

static void wrong_arguments(void **state) {
    krait_error *err = NULL;
    krait_arg    misplaced[] = { krait_pos(krait_i64(1)), krait_kw("b", krait_i64(2)), krait_kw("c", krait_i64(2)),
                                 krait_pos(krait_i64(3)) };
    krait_arg    twice[] = { krait_kw("b", krait_i64(1)), krait_kw("c", krait_i64(2)), krait_kw("b", krait_i64(3)) };
    krait_arg    not_utf8[] = { krait_kw("\xff\xfe", krait_i64(1)) };
    krait_arg    unknown[] = { krait_pos(krait_i64(1)), krait_pos(krait_i64(2)), krait_kw("d", krait_i64(1)) };
    krait_arg    positional_only[] = { krait_kw("a", krait_i64(1)), krait_kw("b", krait_i64(1)) };
    (void)state;
    call("calls:args", misplaced, 4, NULL, &err);
    assert_string_equal(krait_error_step(err), "convert keywords");
    assert_error(err, KRAIT_E_ARGUMENT, "a positional argument after keyword 'c'");
    call("calls:args", twice, 3, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "keyword 'b' is given twice");
    call("calls:args", not_utf8, 1, NULL, &err);
    assert_error(err, KRAIT_E_ENCODING, "utf-8");
    call("calls:named", unknown, 3, NULL, &err);
    assert_string_equal(krait_error_python_type(err), "TypeError");
    assert_error(err, KRAIT_E_PYTHON, "unexpected keyword argument 'd'");
    call("calls:named", positional_only, 2, NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "positional-only");
    call("calls:named", unknown, 1, NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "missing 1 required positional argument: 'b'");
    call("calls:named", NULL, 3, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "args is NULL, expected 3 of them");
}

/* More than the eight that need no memory of their own, and far more. */
static void many_arguments(void **state) {
    enum { MANY = 1000 };
    static krait_arg args[MANY];
    static char      names[MANY][8];
    static char      expected[MANY * 16];
    krait_metrics    before = at_rest();
    (void)state;
    for (size_t n = 7; n <= MANY; n = n < 20 ? n + 1 : n * 7) {
        size_t length = (size_t)snprintf(expected, sizeof expected, "(");
        for (size_t i = 0; i < n; i++) {
            bool positional = i < n / 2;
            snprintf(names[i], sizeof names[i], "k%zu", i);
            args[i] = positional ? krait_pos(krait_i64((int64_t)i)) : krait_kw(names[i], krait_i64((int64_t)i));
            if (positional)
                length += (size_t)snprintf(expected + length, sizeof expected - length, i ? ", %zu" : "%zu", i);
            else
                length += (size_t)snprintf(expected + length, sizeof expected - length,
                                           i > n / 2 ? ", 'k%zu': %zu" : ") {'k%zu': %zu", i, i);
        }
        snprintf(expected + length, sizeof expected - length, "}");
        call_with(args, n, expected);
    }
    assert_nothing_left(&before);
}

/* ---- coroutines -------------------------------------------------------------------------------------------------- */

static void coroutines_are_run_to_their_result(void **state) {
    static const double data[] = { 1, 2, 3 };
    krait_metrics       before = at_rest();
    krait_error        *err = NULL;
    krait_value         out;
    krait_array         all;
    (void)state;
    assert_int_equal(int_of("calls:soon", krait_i64(42)), 42);
    assert_int_equal(int_of("calls:gives_coroutine", krait_i64(43)), 43);
    call1("calls:soon_array", krait_vector_f64(data, 3), 0, &out, &err);
    krait_get_column(&out, "all", KRAIT_F64, &all, &err);
    assert_good(err);
    assert_true(((double *)all.data)[2] == 3);
    assert_true(all.flags & KRAIT_ARRAY_COPIED);
    krait_value_clear(&out);
    call1("calls:notes_that_it_ran", krait_i64(7), 0, NULL, &err); /* also when nobody wants the result */
    call("calls:last_note", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.i64, 7);
    assert_nothing_left(&before);
}

/* Only a call's own result is run: not what it yields later, not what lies in a list. */
static void other_awaitables_are_not_run(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call("calls:generator", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.kind, KRAIT_KIND_OBJECT);
    krait_value_clear(&out);
    call("calls:coroutine_inside", NULL, 0, &out, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "a coroutine is only run as a call's own result: await it before");
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
}

static krait_status nested_status;
static char         nested_message[256];

static int call_coroutine(void) {
    krait_error *err = NULL;
    nested_status = call1("calls:soon", krait_i64(1), 0, NULL, &err);
    snprintf(nested_message, sizeof nested_message, "%s", krait_error_message(err));
    krait_error_clear(&err);
    return 11;
}

/* In a thread whose event loop runs already a coroutine cannot be waited for: an error, not a hang. */
static void a_coroutine_inside_a_running_loop(void **state) {
    int (*fn)(void) = call_coroutine;
    uintptr_t address;
    (void)state;
    memcpy(&address, &fn, sizeof address);
    assert_int_equal(int_of("calls:from_a_running_loop", krait_u64(address)), 11);
    assert_int_equal(nested_status, KRAIT_E_PYTHON);
    assert_non_null(strstr(nested_message, "running event loop"));
}

/* ---- sources and paths ------------------------------------------------------------------------------------------- */

static void a_source_replaces_a_module(void **state) {
    krait_error *err = NULL;
    krait_func  *old = krait_func_new("rules:version", &err), *late, *new;
    krait_value  out;
    (void)state;
    define("rules", "def version():\n    return 1\n");
    late = krait_func_new("rules:version", &err);
    krait_func_check(old, NULL, &err);
    define("rules", "def version():\n    return 2\n");
    new = krait_func_new("rules:version", &err);
    krait_call(old, NULL, 0, NULL, &out, &err);
    assert_int_equal(out.as.i64, 1); /* found before */
    krait_call(late, NULL, 0, NULL, &out, &err);
    assert_int_equal(out.as.i64, 2); /* found now, on first use */
    krait_call(new, NULL, 0, NULL, &out, &err);
    assert_int_equal(out.as.i64, 2);
    assert_good(err);
    krait_module_from_source("rules", "raise RuntimeError('half way')\n", &err);
    assert_error(err, KRAIT_E_IMPORT, "half way");
    krait_module_from_source("rules", "def version(:\n", &err);
    assert_string_equal(krait_error_python_type(err), "SyntaxError");
    assert_error(err, KRAIT_E_IMPORT, "line 1");
    call("rules:version", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.i64, 2); /* a source that fails replaces nothing */
    krait_func_unref(old);
    krait_func_unref(late);
    krait_func_unref(new);
}

static void sources_of_many_sorts(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    define("sorts", "");
    define("sorts", "# coding: utf-8\r\nname = __name__\r\ntext = 'gr\xc3\xbc\xc3\x9f"
                    "e'\r\ndef get():\r\n\treturn name + ' ' + text\r\n");
    call("sorts:get", NULL, 0, &out, &err);
    assert_good(err);
    assert_text(&out, "sorts gr\xc3\xbc\xc3\x9f" "e");
    define("sorts.inner", "from sorts import get\n");
    call("sorts.inner:get", NULL, 0, &out, &err);
    assert_good(err);
    krait_value_clear(&out);
    define("using", "import sorts, inspect\ndef source():\n    return inspect.getsource(sorts.get).splitlines()[0]\n");
    call("using:source", NULL, 0, &out, &err);
    assert_good(err);
    assert_text(&out, "def get():");
    krait_module_from_source("failing", "x = 1\n\ndef f():\n    pass\n\n1 / 0\n", &err);
    assert_string_equal(krait_error_step(err), "import failing");
    assert_non_null(strstr(krait_error_traceback(err), "line 6, in <module>"));
    assert_non_null(strstr(krait_error_traceback(err), "    1 / 0"));
    assert_error(err, KRAIT_E_IMPORT, "division by zero");
    assert_false(bool_of("calls:is_imported", krait_str("failing")));
}

/* A name that no function name could contain would make a module that nobody can reach. */
static void bad_names_of_sources(void **state) {
    static const char *const names[] = { NULL, "", ".", ".relative", "a.", "a..b", "a b", "a:b", "a\n" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_error *err = NULL;
        krait_module_from_source(names[i], "x = 1\n", &err);
        if (!err) fail_msg("\"%s\" was taken", names[i]);
        assert_error(err, KRAIT_E_ARGUMENT, "name is");
    }
    krait_error *err = NULL;
    krait_module_from_source("fine", NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "source is NULL");
    krait_module_from_source("fine", "x = '\xff'\n", &err);
    assert_error(err, KRAIT_E_ENCODING, "utf-8");
    krait_module_from_source("\xff", "x = 1\n", &err);
    assert_error(err, KRAIT_E_ENCODING, "utf-8");
    assert_nothing_left(&before);
}

/* A folder with a module in it. */
static char *put_module(const char *root, const char *name) {
    char *folder = NULL, path[FOLDER_SIZE + 64];
    FILE *out;
    assert_true(asprintf(&folder, "%s/%s", root, name) > 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/found_there.py", folder);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs("def where():\n    return __file__\n", out);
    fclose(out);
    return folder;
}

static void remove_module(char *folder) {
    char path[FOLDER_SIZE + 64];
    snprintf(path, sizeof path, "%s/found_there.py", folder);
    unlink(path);
    rmdir(folder);
    free(folder);
}

static bool path_is(int64_t at, const char *folder) {
    krait_error *err = NULL;
    krait_value  out;
    bool         same;
    call1("calls:path_at", krait_i64(at), 0, &out, &err);
    assert_good(err);
    same = !strcmp(out.as.bytes.data, folder);
    krait_value_clear(&out);
    return same;
}

static void folders_in_sys_path(void **state) {
    char         root[FOLDER_SIZE], *first, *last;
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    assert_true(make_folder(root));
    first = put_module(root, "first");
    last = put_module(root, "last");
    define("no_bytecode", "import sys\nsys.dont_write_bytecode = True\n");
    krait_add_path(last, -1, &err);
    krait_add_path(first, 0, &err);
    assert_good(err);
    assert_true(path_is(0, first));
    assert_true(path_is(-1, last));
    krait_add_path(first, -1, &err); /* stands there already */
    assert_good(err);
    assert_true(path_is(0, first));
    assert_int_equal(int_of("calls:path_count", krait_str(first)), 1);
    call("found_there:where", NULL, 0, &out, &err);
    assert_good(err);
    assert_memory_equal(out.as.bytes.data, first, strlen(first));
    krait_value_clear(&out);
    call1("calls:drop_path", krait_str(first), 0, NULL, &err);
    krait_add_path(first, 1, &err);
    assert_true(path_is(1, first));
    call1("calls:drop_path", krait_str(first), 0, NULL, &err);
    krait_add_path(first, 1000000, &err); /* beyond the end is the end */
    assert_true(path_is(-1, first));
    call1("calls:drop_path", krait_str(first), 0, NULL, &err);
    call1("calls:drop_path", krait_str(last), 0, NULL, &err);
    krait_add_path(NULL, 0, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "path is NULL");
    krait_add_path("", 0, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "path is empty");
    remove_module(first);
    remove_module(last);
    rmdir(root);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("calls", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_forms_of_names),
        cmocka_unit_test(names_of_functions),
        cmocka_unit_test(nothing_is_imported_before_the_first_use),
        cmocka_unit_test(check_tells_what_is_wrong),
        cmocka_unit_test(what_was_missing_may_come),
        cmocka_unit_test(callables_of_every_sort),
        cmocka_unit_test(methods_keep_their_object),
        cmocka_unit_test(state_is_one_for_all_threads),
        cmocka_unit_test(a_function_may_go_before_its_result),
        cmocka_unit_test(a_result_may_be_dropped),
        cmocka_unit_test(keywords_in_their_order),
        cmocka_unit_test(many_sets_of_keywords),
        cmocka_unit_test(keyword_names_may_be_reused_memory),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(many_arguments),
        cmocka_unit_test(coroutines_are_run_to_their_result),
        cmocka_unit_test(other_awaitables_are_not_run),
        cmocka_unit_test(a_coroutine_inside_a_running_loop),
        cmocka_unit_test(a_source_replaces_a_module),
        cmocka_unit_test(sources_of_many_sorts),
        cmocka_unit_test(bad_names_of_sources),
        cmocka_unit_test(folders_in_sys_path),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
