/* Host functions: what goes in and what comes back, errors through Python and back, registering and taking back,
 * nesting, threads, the end. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

enum { DEEP = 50, THREADS = 8 };

static const char source[] =
    "import asyncio, copy, os, pickle, threading, time\n"
    "import numpy as np\n"
    "import krait\n"
    "from krait import host\n"
    "kept = {}\n"
    "def do(text):\n"
    "    return eval(text)\n"
    "def run(text):\n"
    "    scope = {'krait': krait, 'host': host, 'np': np, 'kept': kept}\n"
    "    exec(text, scope)\n"
    "    return scope.get('result')\n"
    "def caught(function, *args, **kwargs):\n"
    "    try:\n"
    "        function(*args, **kwargs)\n"
    "    except BaseException as e:\n"
    "        return e\n"
    "def told(e):\n"
    "    return f'{type(e).__name__} {getattr(e, \"status\", None)} {getattr(e, \"step\", None)}: {e}'\n"
    "def address(a):\n"
    "    return a.ctypes.data\n"
    "def wraps(function):\n"
    "    try:\n"
    "        function()\n"
    "    except krait.Error as e:\n"
    "        raise ValueError('wrapped') from e\n"
    "def boom():\n"
    "    try:\n"
    "        {}['key']\n"
    "    except KeyError as e:\n"
    "        e = ValueError('boom')\n"
    "        e.add_note('a note')\n"
    "        raise e\n"
    "def nest(n):\n"
    "    return n if n <= 0 else host.t.nest(n) + 0\n"
    "def in_thread(function, *args):\n"
    "    got = []\n"
    "    thread = threading.Thread(target=lambda: got.append(function(*args)))\n"
    "    thread.start(); thread.join()\n"
    "    return got[0]\n"
    "async def gathered(n):\n"
    "    async def one(i):\n"
    "        await asyncio.sleep(0)\n"
    "        return host.t.twice(i)\n"
    "    return sum(await asyncio.gather(*(one(i) for i in range(n))))\n"
    "def forked():\n"
    "    import warnings\n"
    "    warnings.simplefilter('ignore', DeprecationWarning)\n"
    "    pid = os.fork()\n"
    "    if pid == 0:\n"
    "        e = caught(host.t.twice, 1)\n"
    "        os._exit(7 if isinstance(e, krait.Error) and e.status == 'KRAIT_E_FORKED' else 8)\n"
    "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n";

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static krait_status do_text(const char *function, const char *text, krait_value *out, krait_error **err) {
    krait_arg args[] = { krait_pos(krait_str(text)) };
    return call(function, args, 1, out, err);
}

/* Fails unless the Python expression is true. */
static void assert_python(const char *expression) {
    krait_error *err = NULL;
    krait_value  out;
    char         shown[512];
    bool         is_true;
    do_text("hosts:do", expression, &out, &err);
    assert_good(err);
    is_true = out.kind == KRAIT_KIND_BOOL && out.as.b;
    krait_value_describe(&out, shown, sizeof shown);
    if (!is_true && out.kind == KRAIT_KIND_TEXT) snprintf(shown, sizeof shown, "%.500s", out.as.bytes.data);
    krait_value_clear(&out);
    if (!is_true) fail_msg("%s is %s", expression, shown);
}

static void assert_text(const char *expression, const char *expected) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *text;
    do_text("hosts:do", expression, &out, &err);
    krait_get_text(&out, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
    krait_value_clear(&out);
}

/* Python statements. */
static void run_python(const char *text) {
    krait_error *err = NULL;
    do_text("hosts:run", text, NULL, &err);
    assert_good(err);
}

static void add(const char *name, krait_host_fn fn, void *user) {
    krait_error *err = NULL;
    krait_register(name, fn, user, NULL, &err);
    assert_good(err);
}

static void take_back(const char *name) {
    krait_error *err = NULL;
    krait_unregister(name, &err);
    assert_good(err);
}

/* Exceptions may be in cycles, and hold errors. The records of threads that ended are freed a little later: the janitor
 * may let callers go first for 200 ms. */
static krait_metrics settled(void) {
    krait_metrics before, now;
    int           same = 0;
    krait_gc(NULL);
    now = at_rest();
    for (int ms = 0; ms < PATIENCE_MS && same < 2; ms += 120) {
        before = now;
        wait_ms(120);
        now = at_rest();
        same = same_rest(&before, &now) ? same + 1 : 0;
    }
    return now;
}

static void count_up(void *user) {
    atomic_fetch_add((_Atomic int *)user, 1);
}

/* One test that failed is not to fail all after it. */
static int clear_away(void **state) {
    static const char *const names[] = { "t.address", "t.apply",  "t.blocks", "t.boom",  "t.clears", "t.copy", "t.describe", "t.fail",
                                         "t.give",    "t.it",     "t.late",   "t.moved", "t.nest",   "t.new",  "t.odd",      "t.same",
                                         "t.twice",   "t.wrap",   "t.comes",  "t.f" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) krait_unregister(names[i], NULL);
    return 0;
}

/* ---- host functions ---------------------------------------------------------------------------------------------- */

static krait_status twice(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    double x;
    (void)user;
    if (n != 1) return krait_error_new(err, KRAIT_E_ARGUMENT, "twice takes one number, got %zu", n);
    if (krait_get_f64(&args[0].value, &x, err)) return krait_error_status(*err);
    *out = krait_f64(2 * x);
    return KRAIT_OK;
}

/* All arguments as text. */
static krait_status describe(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    char   text[2048] = "";
    size_t used = 0;
    (void)user, (void)err;
    for (size_t i = 0; i < n && used < sizeof text - 200; i++) {
        used += (size_t)snprintf(text + used, 100, "%s%s%s", i ? ", " : "", args[i].name ? args[i].name : "", args[i].name ? "=" : "");
        used += krait_value_describe(&args[i].value, text + used, 100);
    }
    return krait_value_copy(&(krait_value){ .kind = KRAIT_KIND_TEXT, .as.bytes = { .data = text, .size = used } }, out, err);
}

static krait_status address(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    krait_array array;
    (void)user, (void)n;
    if (krait_get_array(&args[0].value, KRAIT_ANY, -1, &array, err)) return krait_error_status(*err);
    *out = krait_i64((int64_t)(intptr_t)array.data);
    return KRAIT_OK;
}

/* Gives what user points to. */
static krait_status give(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)args, (void)n, (void)err;
    *out = *(krait_value *)user;
    return KRAIT_OK;
}

/* A status and an error, as the test wants them. */
struct answer {
    krait_status status;
    krait_status error; /* KRAIT_OK: none */
    const char  *message;
};
static krait_status answer(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    const struct answer *wanted = user;
    (void)args, (void)n, (void)out;
    if (wanted->error) krait_error_new(err, wanted->error, "%s", wanted->message);
    return wanted->status;
}

/* Calls the Python function that user names, with its own arguments. */
static krait_status call_back(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    return call(user, args, n, out, err);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void arguments_arrive_as_values(void **state) {
    (void)state;
    add("t.describe", describe, NULL);
    assert_text("host.t.describe()", "");
    assert_text("host.t.describe(1, 2.5, True, None)", "int, float, bool, none");
    assert_text("host.t.describe('abc', b'abcd', 1j, 2**63)", "text of 3 bytes, bytes of 4, complex, int");
    assert_text("host.t.describe(np.zeros((2, 3)), [1, 2], {'a': 1})", "float64 array (2, 3), list of 2 items, map of 1 item");
    assert_text("host.t.describe(1.5, ddof=1, name='x')", "float, ddof=int, name=text of 1 byte");
    assert_text("host.t.describe(**{'größe': 2})", "größe=int");
    assert_text("host.t.describe(*range(9), last=9.5)", "int, int, int, int, int, int, int, int, int, last=float");
    assert_text("host.t.describe(np.float32(0.5), np.int8(3), np.arange(6)[::2])", "float, int, int64 array (3)");
    take_back("t.describe");
}

static void an_argument_that_cannot_be_converted(void **state) {
    _Atomic int ran = 0;
    (void)state;
    add("t.twice", twice, &ran);
    assert_text("told(caught(host.t.twice, 2**70))",
                "Error KRAIT_E_RANGE convert argument 1 of host function t.twice: an int beyond 64 bits; expected -2^63 to 2^64 - 1");
    assert_python("'convert argument 2 \\'x\\' of host function t.twice' in told(caught(host.t.twice, 1, x=2**70))");
    assert_python("'argument 1 of host function t.twice, item 1' in told(caught(host.t.twice, [0, 2**70]))");
    assert_python("caught(host.t.twice, '\\ud800').status == 'KRAIT_E_ENCODING'");
    assert_python("caught(host.t.twice, **{'a\\0b': 1}).status == 'KRAIT_E_ARGUMENT'");
    assert_python("caught(host.t.twice, **{'\\ud800': 1}).status == 'KRAIT_E_ENCODING'");
    assert_python("(lambda c: (caught(host.t.twice, c).status, c.close())[0])(gathered(1)) == 'KRAIT_E_UNSUPPORTED'");
    assert_text("told(caught(host.t.twice))", "Error KRAIT_E_ARGUMENT host function t.twice: twice takes one number, got 0");
    assert_python("host.t.twice(4) == 8.0");
    take_back("t.twice");
}

static void arrays_are_not_copied_on_their_way(void **state) {
    static double data[3] = { 1, 2, 3 };
    krait_error  *err = NULL;
    krait_value   out;
    (void)state;
    add("t.address", address, NULL);
    assert_python("(lambda a: host.t.address(a) == address(a))(np.arange(10.))");
    assert_python("(lambda a: host.t.address(a[2:]) == address(a) + 16)(np.arange(10.))");
    assert_python("(lambda a: host.t.address(a[::2]) != address(a))(np.arange(10.))"); /* made contiguous */
    run_python("import hosts\nhosts.pass_on = lambda a: host.t.address(a)");
    call1("hosts:pass_on", krait_vector_f64(data, 3), 0, &out, &err); /* lent through Python, to ourselves */
    assert_good(err);
    assert_int_equal(out.as.i64, (int64_t)(intptr_t)data);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    take_back("t.address");
}

static void what_is_given_without_release_is_copied(void **state) {
    static double data[3] = { 1, 2, 3 };
    krait_value   items[2], given = krait_vector_f64(data, 3), list;
    (void)state;
    add("t.give", give, &given);
    run_python("kept['a'] = host.t.give()");
    data[0] = 100;
    assert_python("kept['a'].tolist() == [1.0, 2.0, 3.0] and kept['a'].flags.writeable");
    assert_python("host.t.give().tolist() == [100.0, 2.0, 3.0]");
    items[0] = krait_vector_f64(data, 3);
    items[1] = krait_str("x");
    list = krait_list(items, 2);
    given = list;
    run_python("kept['a'] = host.t.give()");
    data[0] = 1;
    assert_python("kept['a'][0].tolist() == [100.0, 2.0, 3.0] and kept['a'][1] == 'x'");
    given = krait_none();
    assert_python("host.t.give() is None");
    given = krait_bool(true);
    assert_python("host.t.give() is True");
    given = krait_text("a\0b", 3);
    assert_python("host.t.give() == 'a\\0b'");
    run_python("kept.clear()");
    take_back("t.give");
}

static void what_is_owned_is_handed_over(void **state) {
    static double data[3] = { 1, 2, 3 };
    _Atomic int   released = 0;
    krait_value   given = krait_owned(krait_vector_f64(data, 3), count_up, &released);
    (void)state;
    add("t.give", give, &given);
    run_python("kept['a'] = host.t.give()");
    data[0] = 100;
    assert_python("kept['a'][0] == 100 and not kept['a'].flags.writeable");
    assert_int_equal(released, 0);
    run_python("kept.clear()");
    assert_int_equal(released, 1);
    given.as.array.flags |= KRAIT_ARRAY_WRITABLE;
    run_python("kept['a'] = host.t.give()\nkept['a'][1] = 5");
    assert_true(data[1] == 5);
    run_python("kept.clear()");
    assert_int_equal(released, 2);
    given = krait_owned(krait_str("text"), count_up, &released);
    assert_python("host.t.give() == 'text'");
    assert_int_equal(released, 3);
    given = krait_owned(krait_vector(data, krait_f64_type(), SIZE_MAX / 4), count_up, &released); /* beyond all memory */
    assert_python("isinstance(caught(host.t.give), krait.Error)");
    assert_int_equal(released, 4);
    take_back("t.give");
}

static krait_status give_copy(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)user, (void)n;
    return krait_value_copy(&args[0].value, out, err);
}

static void a_copy_is_handed_over(void **state) {
    krait_metrics before = settled();
    (void)state;
    add("t.copy", give_copy, NULL);
    assert_python("(lambda a: (host.t.copy(a) == a).all())(np.arange(6.).reshape(2, 3))");
    assert_python("host.t.copy([1, 'x', {'k': [None]}]) == [1, 'x', {'k': [None]}]");
    assert_python("host.t.copy('text') == 'text'");
    take_back("t.copy");
    assert_nothing_left(&before);
}

static krait_status pass_argument(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)n, (void)err;
    *out = user ? krait_borrow(&args[0].value) : args[0].value;
    return KRAIT_OK;
}

static void results_are_passed_on_as_they_are(void **state) {
    krait_metrics before = settled();
    int           borrow = 1;
    (void)state;
    run_python("import hosts\nkept['it'] = object()\nhosts.it = lambda *a: kept['it']");
    add("t.it", call_back, "hosts:it");
    assert_python("host.t.it() is kept['it']");
    run_python("kept['it'] = np.arange(3)");
    assert_python("host.t.it() is kept['it']");
    run_python("kept['it'] = [1, {'a': 2}]");
    assert_python("host.t.it() is kept['it']");
    add("t.same", pass_argument, &borrow);
    add("t.moved", pass_argument, NULL);
    assert_python("all(f(x) is x for f in (host.t.same, host.t.moved) for x in (kept['it'], np.arange(3), 'text', kept, object()))");
    assert_python("all(f(x) == x for f in (host.t.same, host.t.moved) for x in (1, 2.5, None, True, b'x', [1, [2]]))");
    run_python("kept.clear()");
    take_back("t.it");
    take_back("t.same");
    take_back("t.moved");
    assert_nothing_left(&before);
}

static void tables_go_both_ways(void **state) {
    static double  data[3] = { 1, 2, 3 };
    krait_metrics  before = settled();
    krait_error   *err = NULL;
    krait_table   *table = krait_table_new(&err);
    krait_value    given = krait_table_value(table);
    _Atomic int    released = 0;
    (void)state;
    data[0] = 1;
    krait_table_add(table, "x", krait_vector_f64(data, 3), NULL, &err);
    assert_good(err);
    run_python("import pandas as pd\nkept['frame'] = pd.DataFrame({'a': [1.0, 2.0], 'b': [3, 4]}, index=['p', 'q'])");
    add("t.describe", describe, NULL);
    assert_python("'table of 2 columns' in host.t.describe(kept['frame'])");
    add("t.address", address, NULL);
    assert_python("(lambda s: host.t.address(s) == address(s.to_numpy()))(kept['frame']['a'])");
    add("t.same", pass_argument, NULL);
    assert_python("host.t.same(kept['frame']) is kept['frame']");
    add("t.copy", give_copy, NULL);
    assert_python("host.t.copy(kept['frame']).equals(kept['frame'])");
    add("t.give", give, &given);
    run_python("kept['table'] = host.t.give()");
    data[0] = 100;
    assert_python("kept['table']['x'].tolist() == [1.0, 2.0, 3.0]"); /* without release: copied */
    assert_int_equal(krait_loans(NULL, NULL), 0);
    given = krait_owned(given, count_up, &released);
    run_python("kept['table'] = host.t.give()");
    data[0] = 50;
    assert_python("kept['table']['x'].tolist() == [50.0, 2.0, 3.0]"); /* the memory itself */
    assert_int_equal(released, 0);
    run_python("kept.clear()");
    assert_int_equal(released, 1);
    krait_table_free(table);
    clear_away(state);
    assert_nothing_left(&before);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static void errors_become_exceptions(void **state) {
    struct answer wanted = { KRAIT_E_RANGE, KRAIT_E_RANGE, "too much: 7" };
    (void)state;
    add("t.fail", answer, &wanted);
    assert_text("told(caught(host.t.fail))", "Error KRAIT_E_RANGE host function t.fail: too much: 7");
    assert_python("type(caught(host.t.fail)) is krait.Error");
    assert_python("(lambda e: e.message == str(e) == 'too much: 7' and e.python_type is None and e.traceback is None"
                  " and e.cause is None)(caught(host.t.fail))");
    wanted.message = "not UTF-8: \xff";
    assert_text("str(caught(host.t.fail))", "not UTF-8: \\xff");
    wanted.error = KRAIT_OK;
    assert_text("told(caught(host.t.fail))", "Error KRAIT_E_RANGE host function t.fail: host function t.fail failed with KRAIT_E_RANGE "
                                             "(a number does not fit the type) and left no message");
    take_back("t.fail");
}

static void an_error_comes_back_unchanged(void **state) {
    struct answer      wanted = { KRAIT_E_SHAPE, KRAIT_E_SHAPE, "odd" };
    krait_error       *err = NULL;
    const krait_frame *frames;
    (void)state;
    add("t.fail", answer, &wanted);
    assert_int_equal(do_text("hosts:do", "host.t.fail(1)", NULL, &err), KRAIT_E_SHAPE);
    assert_int_equal(krait_error_status(err), KRAIT_E_SHAPE);
    assert_string_equal(krait_error_message(err), "odd");
    assert_string_equal(krait_error_step(err), "host function t.fail");
    assert_null(krait_error_python_type(err)); /* nothing of Python's own */
    assert_non_null(strstr(krait_error_traceback(err), "in do"));
    assert_non_null(strstr(krait_error_traceback(err), "krait.Error: odd"));
    assert_int_equal(krait_error_frames(err, &frames), 2);
    assert_string_equal(frames[0].function, "do");
    assert_null(krait_error_cause(err));
    krait_error_clear(&err);
    assert_int_equal(do_text("hosts:do", "host.t.fail(1)", NULL, NULL), KRAIT_E_SHAPE);
    take_back("t.fail");
}

static void python_errors_cross_c_unchanged(void **state) {
    krait_error       *err = NULL, *direct = NULL;
    const krait_error *cause;
    const krait_frame *frames[2];
    (void)state;
    add("t.boom", call_back, "hosts:boom");
    call("hosts:boom", NULL, 0, NULL, &direct);
    assert_int_equal(do_text("hosts:do", "host.t.boom()", NULL, &err), KRAIT_E_PYTHON);
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_string_equal(krait_error_message(err), "boom");
    assert_string_equal(krait_error_step(err), krait_error_step(direct));
    assert_string_equal(krait_error_traceback(err), krait_error_traceback(direct));
    assert_int_equal(krait_error_frames(err, &frames[0]), krait_error_frames(direct, &frames[1]));
    assert_string_equal(frames[0][0].function, frames[1][0].function);
    assert_int_equal(krait_error_note_count(err), 1);
    assert_string_equal(krait_error_note(err, 0), "a note");
    cause = krait_error_cause(err);
    assert_non_null(cause);
    assert_string_equal(krait_error_python_type(cause), "KeyError");
    krait_error_clear(&err);
    krait_error_clear(&direct);
    assert_python("(lambda e: 'KeyError' in e.traceback and e.python_type == 'ValueError' and e.step == 'call'"
                  " and e.cause.python_type == 'KeyError' and e.__notes__ == ['a note'])(caught(host.t.boom))");
    take_back("t.boom");
}

static void an_error_can_be_a_cause(void **state) {
    struct answer      wanted = { KRAIT_E_NOT_FOUND, KRAIT_E_NOT_FOUND, "gone" };
    krait_error       *err = NULL;
    const krait_error *cause;
    (void)state;
    add("t.fail", answer, &wanted);
    add("t.boom", call_back, "hosts:boom");
    assert_int_equal(do_text("hosts:do", "wraps(host.t.fail)", NULL, &err), KRAIT_E_PYTHON);
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_string_equal(krait_error_message(err), "wrapped");
    assert_non_null(strstr(krait_error_traceback(err), "direct cause"));
    cause = krait_error_cause(err);
    assert_int_equal(krait_error_status(cause), KRAIT_E_NOT_FOUND);
    assert_string_equal(krait_error_message(cause), "gone");
    assert_string_equal(krait_error_step(cause), "host function t.fail");
    assert_null(krait_error_cause(cause));
    krait_error_clear(&err);
    do_text("hosts:do", "wraps(host.t.boom)", NULL, &err);
    cause = krait_error_cause(err);
    assert_string_equal(krait_error_message(cause), "boom");
    assert_string_equal(krait_error_message(krait_error_cause(cause)), "'key'");
    assert_null(krait_error_cause(krait_error_cause(cause)));
    krait_error_clear(&err);
    take_back("t.fail");
    take_back("t.boom");
}

/* Each level wraps the error of the one below: the chain is cut. */
static void causes_have_an_end(void **state) {
    krait_error *err = NULL;
    int          depth = 0;
    (void)state;
    run_python("import hosts\n"
               "def wrap(n):\n"
               "    if n == 0: raise KeyError('inmost')\n"
               "    try: host.t.wrap(n - 1)\n"
               "    except krait.Error as e: raise ValueError(f'level {n}') from e\n"
               "hosts.wrap = wrap");
    add("t.wrap", call_back, "hosts:wrap");
    call1("hosts:wrap", krait_i64(30), 0, NULL, &err);
    for (const krait_error *each = err; each; each = krait_error_cause(each)) depth++;
    assert_int_equal(depth, 16);
    assert_string_equal(krait_error_message(err), "level 30");
    krait_error_clear(&err);
    take_back("t.wrap");
}

static void python_raises_with_a_status(void **state) {
    krait_error *err = NULL;
    (void)state;
    assert_int_equal(do_text("hosts:run", "raise krait.Error('no such book', 'KRAIT_E_NOT_FOUND')", NULL, &err), KRAIT_E_NOT_FOUND);
    assert_string_equal(krait_error_message(err), "no such book");
    assert_string_equal(krait_error_python_type(err), "krait.Error");
    assert_non_null(krait_error_traceback(err));
    krait_error_clear(&err);
    do_text("hosts:run", "raise krait.Error('x', 'KRAIT_E_NONE_SUCH')", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "x");
    do_text("hosts:run", "raise krait.Error('x', 'KRAIT_OK')", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "x");
    do_text("hosts:run", "raise krait.Error('x', 'KRAIT_DONE')", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "x");
    do_text("hosts:run", "raise krait.Error('x', None)", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "x");
    do_text("hosts:run", "e = krait.Error('x', 'KRAIT_E_RANGE'); e._native = 5; raise e", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "x");
    do_text("hosts:run", "class Mine(krait.Error): pass\nraise Mine('x', 'KRAIT_E_RANGE')", NULL, &err);
    assert_non_null(strstr(krait_error_python_type(err), "Mine"));
    assert_error(err, KRAIT_E_RANGE, "x");
    do_text("hosts:run", "raise krait.Error", NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "");
    do_text("hosts:run", "raise KeyError('x') from krait.Error('under', 'KRAIT_E_RANGE', step='somewhere')", NULL, &err);
    assert_int_equal(krait_error_status(krait_error_cause(err)), KRAIT_E_RANGE);
    assert_string_equal(krait_error_step(krait_error_cause(err)), "somewhere");
    assert_error(err, KRAIT_E_PYTHON, "'x'");
}

/* The bridge's own modules raise it as well: then there is nothing of Python to see. */
static void the_bridge_raises_plain_errors(void **state) {
    krait_error *err = NULL;
    (void)state;
    define("krait._plain", "from krait import Error\ndef fail(): raise Error('plain', 'KRAIT_E_SHAPE')\n");
    call("krait._plain:fail", NULL, 0, NULL, &err);
    assert_null(krait_error_python_type(err));
    assert_null(krait_error_traceback(err));
    assert_int_equal(krait_error_frames(err, NULL), 0);
    assert_string_equal(krait_error_step(err), "call");
    assert_error(err, KRAIT_E_SHAPE, "plain");
}

static void copies_of_an_error(void **state) {
    krait_error *err = NULL;
    (void)state;
    add("t.boom", call_back, "hosts:boom");
    run_python("import copy, pickle, hosts\n"
               "e = hosts.caught(host.t.boom)\n"
               "hosts.copies = [copy.copy(e), copy.deepcopy(e), pickle.loads(pickle.dumps(e))]\n"
               "for c in hosts.copies:\n"
               "    assert type(c) is krait.Error and c._native is None\n"
               "    assert [c.message, c.status, c.step, c.python_type, c.traceback] == \\\n"
               "        [e.message, e.status, e.step, e.python_type, e.traceback]\n"
               "    assert c.cause.message == e.cause.message and c.__notes__ == e.__notes__\n");
    for (int i = 0; i < 3; i++) {
        char text[64];
        snprintf(text, sizeof text, "import hosts\nraise hosts.copies[%d]", i);
        do_text("hosts:run", text, NULL, &err);
        assert_string_equal(krait_error_python_type(err), "ValueError");
        assert_non_null(strstr(krait_error_traceback(err), "in boom"));
        assert_string_equal(krait_error_python_type(krait_error_cause(err)), "KeyError");
        assert_string_equal(krait_error_note(err, 0), "a note");
        assert_string_equal(krait_error_step(err), "call");
        assert_error(err, KRAIT_E_PYTHON, "boom");
    }
    take_back("t.boom");
}

static void notes_are_added(void **state) {
    struct answer wanted = { KRAIT_E_SHAPE, KRAIT_E_SHAPE, "odd" };
    krait_error  *err = NULL;
    (void)state;
    add("t.fail", answer, &wanted);
    do_text("hosts:run", "try: host.t.fail()\nexcept krait.Error as e:\n    e.add_note('on Monday')\n    raise", NULL, &err);
    assert_int_equal(krait_error_note_count(err), 1);
    assert_string_equal(krait_error_note(err, 0), "on Monday");
    assert_error(err, KRAIT_E_SHAPE, "odd");
    take_back("t.fail");
}

static void a_swallowed_error_leaves_no_trace(void **state) {
    struct answer wanted = { KRAIT_E_SHAPE, KRAIT_E_SHAPE, "odd" };
    krait_metrics before;
    krait_error  *err = NULL;
    (void)state;
    add("t.fail", answer, &wanted);
    run_python("import hosts\nhosts.swallow = lambda: [hosts.caught(host.t.fail) for _ in range(100)] and None");
    call("hosts:swallow", NULL, 0, NULL, &err);
    before = settled();
    call("hosts:swallow", NULL, 0, NULL, &err);
    assert_good(err);
    assert_nothing_left(&before);
    take_back("t.fail");
}

static void nonsense_is_told(void **state) {
    struct answer wanted = { KRAIT_OK, KRAIT_E_RANGE, "left" };
    krait_value   given = krait_none();
    _Atomic int   released = 0;
    (void)state;
    add("t.odd", answer, &wanted);
    assert_text("str(caught(host.t.odd))", "host function t.odd returned KRAIT_OK but left an error (KRAIT_E_RANGE: left); expected one or the other");
    assert_python("(lambda e: e.status == 'KRAIT_E_ARGUMENT' and e.cause.status == 'KRAIT_E_RANGE')(caught(host.t.odd))");
    wanted = (struct answer){ KRAIT_DONE, KRAIT_OK, NULL };
    assert_text("told(caught(host.t.odd))", "Error KRAIT_E_ARGUMENT host function t.odd: host function t.odd returned 1 (KRAIT_DONE), "
                                            "expected KRAIT_OK or the status of an error");
    wanted.status = (krait_status)-12345;
    assert_python("'returned -12345 (unknown status)' in str(caught(host.t.odd))");
    wanted = (struct answer){ (krait_status)77, KRAIT_E_RANGE, "why" };
    assert_python("(lambda e: 'returned 77' in str(e) and e.cause.message == 'why')(caught(host.t.odd))");
    take_back("t.odd");
    add("t.give", give, &given);
    given.kind = 99;
    assert_python("(lambda e: e.status == 'KRAIT_E_ARGUMENT' and 'kind 99' in str(e)"
                  " and e.step == 'convert result of host function t.give')(caught(host.t.give))");
    given = krait_owned(given, count_up, &released);
    assert_python("'kind 99' in str(caught(host.t.give))");
    assert_int_equal(released, 1);
    given = krait_text("\xff", 1);
    assert_python("caught(host.t.give).status == 'KRAIT_E_ENCODING'");
    given = krait_text(NULL, 3);
    assert_python("caught(host.t.give).status == 'KRAIT_E_ARGUMENT'");
    given = krait_none();
    given.kind = KRAIT_KIND_OBJECT;
    assert_python("isinstance(caught(host.t.give), krait.Error)");
    given = krait_vector_f64(NULL, 3);
    assert_python("isinstance(caught(host.t.give), krait.Error)");
    assert_python("host.__name__ == 'krait.host'");
    take_back("t.give");
}

/* What a failing function put into *out is let go. */
static krait_status fail_late(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)args, (void)n;
    *out = krait_owned(krait_i64(1), count_up, user);
    return krait_error_new(err, KRAIT_E_RANGE, "late");
}

static void a_result_beside_an_error_is_released(void **state) {
    _Atomic int released = 0;
    (void)state;
    add("t.late", fail_late, &released);
    assert_text("str(caught(host.t.late))", "late");
    assert_int_equal(released, 1);
    take_back("t.late");
}

/* ---- registering ------------------------------------------------------------------------------------------------- */

static void names_are_checked(void **state) {
    static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "a b", "1a", "_a", "a._b", "__init__", "a.__x__", "class", "a.None", "größe",
                                       "a-b", "fake", "unfake.x", "a.b\n" };
    char                     longest[300];
    (void)state;
    for (size_t i = 0; i <= COUNT(bad); i++) {
        krait_error *err = NULL;
        _Atomic int  destroyed = 0;
        assert_int_equal(krait_register(i < COUNT(bad) ? bad[i] : NULL, twice, &destroyed, count_up, &err), KRAIT_E_ARGUMENT);
        assert_string_equal(krait_error_step(err), "register");
        assert_error(err, KRAIT_E_ARGUMENT, "name is");
        assert_int_equal(destroyed, 1);
    }
    memset(longest, 'x', sizeof longest);
    longest[256] = 0;
    assert_int_equal(krait_register(longest, twice, NULL, NULL, NULL), KRAIT_E_ARGUMENT);
    longest[255] = 0;
    assert_int_equal(krait_register(longest, twice, NULL, NULL, NULL), KRAIT_OK);
    take_back(longest);
    assert_int_equal(krait_register("t.x", NULL, NULL, NULL, NULL), KRAIT_E_ARGUMENT);
    add("classy.None_.if_", twice, NULL);
    assert_python("host.classy.None_.if_(2) == 4");
    take_back("classy.None_.if_");
}

static void a_name_stands_for_one_thing(void **state) {
    static const char *const others[] = { "a.b", "a", "a.b.c", "a.b.c.d" };
    krait_error             *err = NULL;
    _Atomic int              destroyed = 0;
    (void)state;
    add("a.b", twice, NULL);
    for (size_t i = 0; i < COUNT(others); i++) {
        krait_register(others[i], twice, &destroyed, count_up, &err);
        assert_error(err, KRAIT_E_ARGUMENT, "\"a.b\" is registered");
        assert_int_equal(destroyed, i + 1);
    }
    add("a.bc", twice, NULL);
    add("ab", twice, NULL);
    add("a.b2.c", twice, NULL);
    assert_python("dir(host.a) == ['b', 'b2', 'bc']");
    assert_python("{'a', 'ab', 'fake', 'unfake'} <= set(dir(host)) and 'sys' not in dir(host)");
    assert_python("host.a.b2.c(1) == host.a.bc(1) == host.ab(1) == 2");
    krait_unregister("a", &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "no host function \"a\"");
    krait_unregister(NULL, &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "NULL");
    take_back("a.b");
    take_back("a.bc");
    take_back("ab");
    take_back("a.b2.c");
    add("a", twice, NULL); /* nothing of the group is left */
    assert_python("host.a(3) == 6");
    take_back("a");
    assert_python("'a' not in dir(host) and not hasattr(host, 'a')");
}

static void many_names_are_sorted(void **state) {
    enum { MANY = 500 };
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%u.f%u", i * 7919 % 13, i * 7919 % MANY);
        add(name, twice, NULL);
    }
    assert_python("sum(len(dir(getattr(host, g))) for g in dir(host) if g[0] == 'm') == 500");
    for (unsigned i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%u.f%u", i * 7919 % 13, i * 7919 % MANY);
        take_back(name);
    }
    assert_python("dir(host) == ['fake', 'unfake']");
}

static void an_error_that_is_set_stops_registering(void **state) {
    krait_error *err = NULL;
    _Atomic int  destroyed = 0;
    (void)state;
    krait_error_new(&err, KRAIT_E_RANGE, "before");
    assert_int_equal(krait_register("t.x", twice, &destroyed, count_up, &err), KRAIT_E_RANGE);
    assert_int_equal(destroyed, 1);
    assert_int_equal(krait_unregister("t.x", &err), KRAIT_E_RANGE);
    krait_error_clear(&err);
    assert_int_equal(krait_unregister("t.x", NULL), KRAIT_E_NOT_FOUND);
}

static void unknown_names(void **state) {
    (void)state;
    add("prices.last", twice, NULL);
    assert_text("told(caught(lambda: host.prices.lst))", "AttributeError None None: no host function 'prices.lst'; registered are prices.last");
    assert_text("str(caught(lambda: host.orders))", "no host function 'orders'; registered are prices.last");
    assert_python("not hasattr(host, '__path__') and not hasattr(host.prices, '_x') and not hasattr(host, 'sys')");
    assert_text("repr(host.prices)", "<host functions prices.*>");
    take_back("prices.last");
    assert_text("str(caught(lambda: host.prices))", "no host function 'prices'; none is registered");
}

static void what_was_registered_before_init(void **state) {
    (void)state;
    assert_python("host.early(21) == 42.0"); /* by main */
    take_back("early");
}

static void taken_back_and_registered_again(void **state) {
    static double      seven = 7;
    static krait_value given;
    _Atomic int        destroyed = 0;
    (void)state;
    given = krait_f64(seven);
    krait_register("t.f", twice, &destroyed, count_up, NULL);
    run_python("kept['f'] = host.t.f; kept['t'] = host.t");
    assert_python("kept['f'](2) == 4");
    take_back("t.f");
    assert_int_equal(destroyed, 1);
    assert_text("told(caught(kept['f'], 2))", "Error KRAIT_E_NOT_FOUND host function t.f: no host function 't.f': the host has taken it back");
    assert_python("not hasattr(kept['t'], 'f') and not hasattr(host, 't')");
    add("t.f", give, &given);
    assert_python("host.t.f(2) == kept['t'].f(2) == kept['f'](2) == 7");
    run_python("kept.clear()");
    take_back("t.f");
}

static krait_status takes_itself_back(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    _Atomic int *destroyed = user;
    (void)args, (void)n;
    if (krait_unregister("t.self", err)) return krait_error_status(*err);
    *out = krait_i64(*destroyed); /* not while it runs */
    return KRAIT_OK;
}

static void a_function_may_take_itself_back(void **state) {
    krait_metrics before = settled();
    _Atomic int   destroyed = 0;
    (void)state;
    for (int i = 1; i < 3; i++) {
        krait_register("t.self", takes_itself_back, &destroyed, count_up, NULL);
        assert_int_equal(destroyed, i - 1);
        assert_python(i == 1 ? "host.t.self() == 0" : "host.t.self() == 1");
        assert_int_equal(destroyed, i);
        assert_python("not hasattr(host, 't')");
    }
    assert_nothing_left(&before);
}

static void fakes_hide_the_real_one(void **state) {
    (void)state;
    add("t.twice", twice, NULL);
    run_python("import hosts\n"
               "assert host.t.twice(2) == 4\n"
               "with krait.host.fake('t.twice', lambda x: x):\n"
               "    assert host.t.twice('as it is') == 'as it is'\n"
               "    with krait.host.fake('t.twice', lambda x: -x):\n"
               "        assert host.t.twice(2) == -2\n"
               "    assert host.t.twice(2) == 2\n"
               "assert host.t.twice(2) == 4\n"
               "host.fake('t.other', len)\n"
               "assert host.t.other is len and dir(host.t) == ['other', 'twice']\n"
               "host.unfake('t.other')\n"
               "assert not hasattr(host.t, 'other')\n"
               "assert hosts.caught(host.fake, 't', len).status == 'KRAIT_E_ARGUMENT'\n");
    take_back("t.twice");
}

/* ---- nesting ----------------------------------------------------------------------------------------------------- */

/* One level up from Python to Python; odd levels within krait_acquire. */
static krait_status nest(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    int64_t      level;
    bool         acquire;
    krait_status status;
    (void)n;
    if (krait_get_i64(&args[0].value, &level, err)) return krait_error_status(*err);
    acquire = user && level % 2;
    if (acquire && krait_acquire(err)) return krait_error_status(*err);
    status = call1("hosts:nest", krait_i64(level - 1), 0, out, err);
    if (acquire) krait_release();
    return status;
}

static void assert_nests(int depth, void *user) {
    krait_error *err = NULL;
    krait_value  out;
    add("t.nest", nest, user);
    call1("hosts:nest", krait_i64(depth), 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.kind, KRAIT_KIND_I64);
    assert_int_equal(out.as.i64, 0);
    take_back("t.nest");
}

static void calls_nest(void **state) {
    krait_error *err = NULL;
    int          acquire;
    (void)state;
    assert_nests(DEEP, NULL);
    assert_nests(DEEP, &acquire);
    krait_acquire(&err);
    assert_good(err);
    assert_nests(DEEP, NULL);
    assert_nests(DEEP, &acquire);
    krait_release();
    assert_python("True");
}

static void nesting_has_an_end(void **state) {
    krait_error *err = NULL;
    (void)state;
    add("t.nest", nest, NULL);
    call1("hosts:nest", krait_i64(1000), 0, NULL, &err);
    assert_error(err, KRAIT_E_STACK, "more than 100 deep");
    take_back("t.nest");
    assert_nests(DEEP, NULL);
}

static void *nest_on_small_stack(void *user) {
    krait_error *err = NULL;
    krait_value  out;
    call1("hosts:nest", krait_i64(100), 0, &out, &err);
    *(krait_error **)user = err;
    return NULL;
}

/* As deep as it goes, on the least stack that krait takes. */
static void nesting_fits_a_small_stack(void **state) {
    pthread_t      thread;
    pthread_attr_t attributes;
    krait_error   *err = NULL;
    (void)state;
    add("t.nest", nest, NULL);
    pthread_attr_init(&attributes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    pthread_attr_setstacksize(&attributes, 1024 * 1024 + 64 * 1024);
#endif
    assert_int_equal(pthread_create(&thread, &attributes, nest_on_small_stack, &err), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    assert_good(err);
    take_back("t.nest");
}

/* Acquires more, or releases more, than it should. */
static krait_status unbalanced(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)args, (void)n;
    if (user) {
        krait_acquire(err);
        krait_acquire(err);
    } else {
        krait_release();
        krait_release();
    }
    return call("hosts:do", (krait_arg[]){ krait_pos(krait_str("[1, 'x']")) }, 1, out, err);
}

static void acquiring_without_balance(void **state) {
    krait_metrics before = settled();
    krait_error  *err = NULL;
    int           acquire;
    (void)state;
    for (int round = 0; round < 4; round++) {
        if (round & 1) krait_acquire(&err);
        add("t.odd", unbalanced, round & 2 ? &acquire : NULL);
        assert_python("host.t.odd() == [1, 'x']");
        assert_python("in_thread(host.t.odd) == [1, 'x']");
        take_back("t.odd");
        if (round & 1) krait_release();
        assert_good(err);
    }
    assert_nothing_left(&before);
}

/* Results of nested calls cleared while the GIL is let go, below krait_acquire. */
static krait_status clears(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)user, (void)args, (void)n, (void)out;
    for (int i = 0; i < 200; i++) {
        krait_value made;
        if (call("builtins:list", NULL, 0, &made, err)) return krait_error_status(*err);
        krait_value_clear(&made);
    }
    return KRAIT_OK;
}

static void clearing_below_acquire(void **state) {
    krait_metrics before = settled();
    krait_error  *err = NULL;
    (void)state;
    add("t.clears", clears, NULL);
    krait_acquire(&err);
    assert_python("host.t.clears() is None");
    krait_release();
    assert_python("in_thread(host.t.clears) is None");
    assert_good(err);
    take_back("t.clears");
    assert_nothing_left(&before);
}

static void a_handle_goes_through_c(void **state) {
    krait_metrics before = settled();
    (void)state;
    run_python("import hosts\nhosts.apply = lambda f, *a: f(*a)\n"
               "class Thing: pass\nkept['thing'] = Thing()");
    add("t.apply", call_back, "hosts:apply");
    assert_python("host.t.apply(len, [1, 2, 3]) == 3");
    assert_python("host.t.apply(lambda x: x, kept['thing']) is kept['thing']");
    assert_python("host.t.apply(next, iter([5])) == 5");
    assert_python("host.t.apply(max, 3, 4) == 4");
    run_python("kept.clear()");
    take_back("t.apply");
    assert_nothing_left(&before);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static _Atomic bool stop;

static void *call_in_a_loop(void *user) {
    krait_func *func = krait_func_new("hosts:callback", NULL);
    uint64_t    good = 0;
    (void)user;
    for (int64_t i = 0; !stop; i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_arg    args[] = { krait_pos(krait_i64(i)) };
        int64_t      got = -1;
        krait_call(func, args, 1, NULL, &out, &err);
        krait_get_i64(&out, &got, &err);
        krait_value_clear(&out);
        if (err || got != 2 * i) {
            fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
            krait_error_clear(&err);
            krait_func_unref(func);
            return NULL;
        }
        good++;
    }
    krait_func_unref(func);
    return (void *)(uintptr_t)(good + 1);
}

/* Eight threads of C; meanwhile another name comes and goes, and Python threads call it. */
static void many_threads_call_back(void **state) {
    pthread_t    threads[THREADS];
    krait_value  given = krait_i64(2); /* a late run may still read it when its name is gone, hence not in the loop */
    int          rounds = 0;
    krait_error *err = NULL;
    (void)state;
    add("t.twice", twice, NULL);
    run_python("import hosts\n"
               "hosts.callback = lambda i: host.t.twice(i)\n"
               "def hammer():\n"
               "    while not kept.get('stop'):\n"
               "        try:\n"
               "            if host.t.comes() != 2: kept['bad'] = True\n"
               "            kept['good'] = True\n"
               "        except AttributeError: kept['missed'] = True\n"
               "        except krait.Error as e: kept.setdefault('bad', e.status != 'KRAIT_E_NOT_FOUND' and e)\n"
               "kept['threads'] = [hosts.threading.Thread(target=hammer) for _ in range(2)]\n"
               "for t in kept['threads']: t.start()");
    stop = false;
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, call_in_a_loop, NULL);
    for (; rounds < 100; rounds++) {
        if (krait_register("t.comes", give, &given, NULL, &err)) break;
        wait_ms(1);
        if (krait_unregister("t.comes", &err)) break;
        wait_ms(2);
    }
    stop = true;
    for (size_t i = 0; i < THREADS; i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_true((uintptr_t)good > 1);
    }
    run_python("kept['stop'] = True\nfor t in kept['threads']: t.join()");
    assert_python("str(kept['bad']) if kept.get('bad') else kept.get('good') and kept.get('missed')");
    run_python("kept.clear()");
    assert_good(err);
    assert_int_equal(rounds, 100);
    take_back("t.twice");
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    bool            inside, open;
    _Atomic int     destroyed;
};

static void gate_init(struct gate *gate) {
    memset(gate, 0, sizeof *gate);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

static void gate_destroyed(void *user) {
    ((struct gate *)user)->destroyed++;
}

/* Waits inside until the test opens. */
static krait_status blocks(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    struct gate *gate = user;
    (void)args, (void)n, (void)err;
    pthread_mutex_lock(&gate->lock);
    gate->inside = true;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open) pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
    *out = krait_i64(gate->destroyed);
    return KRAIT_OK;
}

static void wait_inside(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    while (!gate->inside) pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate) {
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

static void *call_blocks(void *user) {
    krait_value out;
    (void)user;
    do_text("hosts:do", "host.t.blocks()", &out, NULL);
    return (void *)(uintptr_t)(out.kind == KRAIT_KIND_I64 ? out.as.i64 + 1 : 0);
}

static void taken_back_while_it_runs(void **state) {
    struct gate gate;
    pthread_t   thread;
    void       *result;
    (void)state;
    gate_init(&gate);
    krait_register("t.blocks", blocks, &gate, gate_destroyed, NULL);
    run_python("kept['f'] = host.t.blocks");
    pthread_create(&thread, NULL, call_blocks, NULL);
    wait_inside(&gate);
    assert_python("sum(range(1000)) == 499500"); /* the GIL is free meanwhile */
    take_back("t.blocks");
    assert_int_equal(gate.destroyed, 0);
    assert_python("caught(kept['f']).status == 'KRAIT_E_NOT_FOUND'");
    add("t.blocks", twice, NULL);
    assert_python("kept['f'](1) == host.t.blocks(1) == 2"); /* another one of that name, while the old one still runs */
    take_back("t.blocks");
    open_gate(&gate);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, 1); /* not destroyed while it ran */
    assert_int_equal(gate.destroyed, 1);
    run_python("kept.clear()");
}

static void threads_of_python_call_back(void **state) {
    krait_metrics before;
    (void)state;
    add("t.twice", twice, NULL);
    add("t.nest", nest, NULL);
    assert_python("in_thread(host.t.twice, 4) == 8");
    before = settled();
    assert_python("in_thread(host.t.twice, 4) == 8");
    assert_python("in_thread(nest, 20) == 0"); /* krait_call within a thread that Python made */
    assert_python("str(in_thread(caught, host.t.twice)) == 'twice takes one number, got 0'");
    assert_nothing_left(&before);
    take_back("t.nest");
    assert_python("asyncio.run(gathered(10)) == 90");
    take_back("t.twice");
}

static void a_coroutine_calls_back(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    add("t.twice", twice, NULL);
    call1("hosts:gathered", krait_i64(10), 0, &out, &err);
    assert_good(err);
    assert_true(out.as.f64 == 90);
    take_back("t.twice");
}

static void a_forked_child_is_refused(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    add("t.twice", twice, NULL);
    run_python("host.t.twice");
    call("hosts:forked", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.i64, 7);
    assert_python("host.t.twice(1) == 2");
    take_back("t.twice");
}

/* ---- memory that is not there ------------------------------------------------------------------------------------ */

#ifdef KRAIT_FAULTS
static krait_status all_at_once(krait_error **err) {
    krait_value given = krait_none();
    if (krait_register("t.new", give, &given, NULL, err)) return krait_error_status(*err);
    do_text("hosts:do", "host.t.new() or host.t.describe('x', [1, 'y'], *range(9), k=np.zeros((2, 2, 2, 2))) and dir(host.t) and None", NULL, err);
    krait_unregister("t.new", NULL);
    return krait_error_status(*err);
}

/* Each allocation fails once: an error, nothing lost, and it works again. */
static void every_allocation_may_fail(void **state) {
    struct answer wanted = { KRAIT_E_SHAPE, KRAIT_E_SHAPE, "odd" };
    krait_error  *err = NULL;
    krait_metrics before;
    uint64_t      seen = 0;
    bool          reached = true; /* there was an n-th allocation to fail */
    (void)state;
    add("t.describe", describe, NULL);
    add("t.fail", answer, &wanted);
    all_at_once(&err);
    assert_good(err);
    before = settled();
    for (uint64_t n = 1; reached; n++) {
        krait__mem_fail_at(n);
        all_at_once(&err);
        reached = krait__mem_count() >= n;
        krait__mem_fail_at(0);
        if (reached && krait_error_status(err) != KRAIT_E_NOMEM) fail_msg("allocation %u: %s", (unsigned)n, krait_error_message(err));
        seen = n;
        krait_error_clear(&err);
    }
    assert_true(seen > 8);
    for (uint64_t n = 1; n <= 20; n++) { /* while an error goes through */
        krait__mem_fail_at(n);
        assert_true(do_text("hosts:do", "host.t.fail()", NULL, &err));
        krait__mem_fail_at(0);
        krait_error_clear(&err);
    }
    all_at_once(&err);
    assert_good(err);
    assert_nothing_left(&before);
    take_back("t.describe");
    take_back("t.fail");
}
#endif

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void nothing_is_left_registered(void **state) {
    (void)state;
    assert_python("dir(host) == ['fake', 'unfake']");
    assert_int_equal(krait_loans(NULL, NULL), 0);
}

/* Comes last. A function that blocks is a call that runs, in a thread of Python's too; after the end none begins. */
static void shutdown_waits_for_host_functions(void **state) {
    struct gate  gates[2];
    pthread_t    thread;
    krait_error *err = NULL;
    void        *result;
    _Atomic int  destroyed = 0;
    (void)state;
    for (int i = 0; i < 2; i++) gate_init(&gates[i]);
    krait_register("t.blocks", blocks, &gates[0], gate_destroyed, NULL);
    krait_register("t.blocks2", blocks, &gates[1], gate_destroyed, NULL);
    krait_register("t.late", twice, &destroyed, count_up, NULL);
    run_python("import hosts\n"
               "def late():\n"
               "    try: host.t.blocks2()\n"
               "    finally: hosts.late = hosts.told(hosts.caught(host.t.late, 1))\n"
               "hosts.threading.Thread(target=late, daemon=True).start()");
    pthread_create(&thread, NULL, call_blocks, NULL);
    for (int i = 0; i < 2; i++) wait_inside(&gates[i]);
    krait_shutdown(50, &err);
    assert_error(err, KRAIT_E_TIMEOUT, "2 calls still run");
    for (int i = 0; i < 2; i++) open_gate(&gates[i]);
    pthread_join(thread, &result);
    wait_ms(200); /* for the other one to try */
    take_back("t.blocks");
    take_back("t.blocks2");
    take_back("t.late");
    assert_int_equal(gates[0].destroyed + gates[1].destroyed, 2);
    assert_int_equal(destroyed, 1);
    krait_register("t.after", twice, &destroyed, count_up, &err);
    assert_good(err);
    take_back("t.after");
    assert_int_equal(destroyed, 2);
}

static int set_up(void **state) {
    krait_error *err = NULL;
    if (begin(state)) return -1;
    krait_module_from_source("hosts", source, &err);
    if (err) fprintf(stderr, "%s\n%s\n", krait_error_message(err), krait_error_traceback(err));
    return err ? -1 : 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_away)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_registered_before_init),
        TEST(arguments_arrive_as_values),
        TEST(an_argument_that_cannot_be_converted),
        TEST(arrays_are_not_copied_on_their_way),
        TEST(what_is_given_without_release_is_copied),
        TEST(what_is_owned_is_handed_over),
        TEST(a_copy_is_handed_over),
        TEST(results_are_passed_on_as_they_are),
        TEST(tables_go_both_ways),
        TEST(errors_become_exceptions),
        TEST(an_error_comes_back_unchanged),
        TEST(python_errors_cross_c_unchanged),
        TEST(an_error_can_be_a_cause),
        TEST(causes_have_an_end),
        TEST(python_raises_with_a_status),
        TEST(the_bridge_raises_plain_errors),
        TEST(copies_of_an_error),
        TEST(notes_are_added),
        TEST(a_swallowed_error_leaves_no_trace),
        TEST(nonsense_is_told),
        TEST(a_result_beside_an_error_is_released),
        TEST(names_are_checked),
        TEST(a_name_stands_for_one_thing),
        TEST(many_names_are_sorted),
        TEST(an_error_that_is_set_stops_registering),
        TEST(unknown_names),
        TEST(taken_back_and_registered_again),
        TEST(a_function_may_take_itself_back),
        TEST(fakes_hide_the_real_one),
        TEST(calls_nest),
        TEST(nesting_has_an_end),
        TEST(nesting_fits_a_small_stack),
        TEST(acquiring_without_balance),
        TEST(clearing_below_acquire),
        TEST(a_handle_goes_through_c),
        TEST(many_threads_call_back),
        TEST(taken_back_while_it_runs),
        TEST(threads_of_python_call_back),
        TEST(a_coroutine_calls_back),
        TEST(a_forked_child_is_refused),
#ifdef KRAIT_FAULTS
        TEST(every_allocation_may_fail),
#endif
        TEST(nothing_is_left_registered),
        TEST(shutdown_waits_for_host_functions),
    };
    if (krait_register("early", twice, NULL, NULL, NULL)) return 1;
    return cmocka_run_group_tests(tests, set_up, NULL);
}
