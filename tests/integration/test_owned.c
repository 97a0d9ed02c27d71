/* Whose memory: krait_owned is released exactly once whatever happens, KRAIT_COPY is Python's own, KRAIT_WRITABLE
 * alone lets Python write, and what krait_shutdown leaves alone. */
#include "check.h"

#include <stdatomic.h>

static const char module[] =
    "import gc\n"
    "import numpy\n"
    "kept = []\n"
    "def total(*args, **kwargs):\n"
    "    return float(sum(numpy.sum(a) for a in args if isinstance(a, numpy.ndarray)))\n"
    "def identity(a):\n"
    "    return a\n"
    "def part(a):\n"
    "    return {'tail': a[1:], 'n': 1}\n"
    "def fail(*args):\n"
    "    raise ValueError('no')\n"
    "def refuse(a):\n"
    "    return {1: 2}\n"
    "def keep(a):\n"
    "    kept.append(a[1:])\n"
    "def total_kept():\n"
    "    return float(sum(k.sum() for k in kept))\n"
    "def forget():\n"
    "    kept.clear()\n"
    "def cycle(a):\n"
    "    loop = [a]\n"
    "    loop.append(loop)\n"
    "def write(a, at, x):\n"
    "    a[at] = x\n"
    "def unlock(a):\n"
    "    a.flags.writeable = True\n"
    "    a[0] = -1\n"
    "def unlock_view(a):\n"
    "    b = a[:]\n"
    "    b.flags.writeable = True\n"
    "    b[0] = -1\n"
    "def unlock_buffer(a):\n"
    "    memoryview(a)[0] = -1\n"
    "def writable(a):\n"
    "    return a.flags.writeable\n"
    "def copy_is_own(a):\n"
    "    kept.append(a)\n"
    "    a[0] = 99\n"
    "    return a.flags.owndata and a.flags.writeable\n";

/* Memory that is given away. */
typedef struct gift {
    double     data[4];
    atomic_int released;
} gift;

static void release_gift(void *user) {
    gift *mine = user;
    memset(mine->data, 0xff, sizeof mine->data); /* NaN: who still reads will show it */
    atomic_fetch_add(&mine->released, 1);
}

static gift new_gift(void) {
    gift made = { { 1, 2, 3, 4 }, 0 };
    return made;
}

static krait_value given(gift *mine) {
    return krait_owned(krait_vector_f64(mine->data, 4), release_gift, mine);
}

/* Waits for the release, then looks whether there is another. */
static void assert_released_once(gift *mine, const char *when) {
    for (int ms = 0; ms < PATIENCE_MS && !atomic_load(&mine->released); ms++) {
        if (ms % 100 == 50) krait_gc(NULL); /* a cycle may hold it */
        wait_ms(1);
    }
    krait_gc(NULL);
    wait_ms(10);
    if (atomic_load(&mine->released) != 1) fail_msg("released %d times: %s", atomic_load(&mine->released), when);
}

/* ---- released once ----------------------------------------------------------------------------------------------- */

/* One call with arguments of which one is a gift, and the status it must end with. */
static void give_once(const char *name, krait_arg *args, size_t n, gift *mine, krait_status expected,
                      const char *when) {
    krait_error *err = NULL;
    krait_value  out;
    call(name, args, n, &out, &err);
    if (krait_error_status(err) != expected)
        fail_msg("%s: %s: %s", when, krait_status_name(krait_error_status(err)), krait_error_message(err));
    krait_value_clear(&out);
    krait_error_clear(&err);
    assert_released_once(mine, when);
}

static void in_calls_that_end_well_and_badly(void **state) {
    static const struct {
        const char  *name;
        krait_status status;
    } rows[] = {
        { "owned:total", KRAIT_OK },
        { "owned:identity", KRAIT_OK },
        { "owned:part", KRAIT_OK },
        { "owned:fail", KRAIT_E_PYTHON },
        { "owned:refuse", KRAIT_E_UNSUPPORTED }, /* its keys are no text */
        { "owned:cycle", KRAIT_OK },
        { "owned:absent", KRAIT_E_NOT_FOUND },
        { "no_such_module:f", KRAIT_E_IMPORT },
        { "owned:forget", KRAIT_E_PYTHON },
        { "owned:kept", KRAIT_E_KIND },
    };
    static const uint32_t flags[] = { 0, KRAIT_WRITABLE, KRAIT_COPY, KRAIT_ALIAS, KRAIT_COPY | KRAIT_WRITABLE };
    krait_metrics         before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows) * COUNT(flags); i++) {
        gift      mine = new_gift();
        krait_arg args[] = { krait_with(krait_pos(given(&mine)), flags[i / COUNT(rows)]) };
        give_once(rows[i % COUNT(rows)].name, args, 1, &mine, rows[i % COUNT(rows)].status, rows[i % COUNT(rows)].name);
    }
    assert_nothing_left(&before);
}

static void beside_a_bad_argument(void **state) {
    static const int64_t negative[] = { -1 };
    const krait_value         bad[] = { krait_str(NULL), krait_text("\xff", 1), krait_vector_f64(NULL, 3),
                                        krait_ndarray("", krait_f64_type(), 1, negative, NULL) };
    static const krait_status statuses[] = { KRAIT_E_ARGUMENT, KRAIT_E_ENCODING, KRAIT_E_ARGUMENT, KRAIT_E_SHAPE };
    krait_metrics        before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        for (int position = 0; position < 2; position++) {
            gift      mine = new_gift();
            krait_arg args[2];
            args[position] = krait_pos(given(&mine));
            args[1 - position] = krait_pos(bad[i]);
            give_once("owned:total", args, 2, &mine, statuses[i],
                      position ? "after a bad argument" : "before a bad argument");
        }
    assert_nothing_left(&before);
}

static void in_the_bad_argument_itself(void **state) {
    static const int64_t shape[] = { INT64_MAX, 4 };
    gift                 mine[4] = { new_gift(), new_gift(), new_gift(), new_gift() };
    krait_arg            args[4];
    (void)state;
    args[0] = krait_pos(
        krait_owned(krait_ndarray(mine[0].data, krait_f64_type(), 2, shape, NULL), release_gift, &mine[0]));
    give_once("owned:total", &args[0], 1, &mine[0], KRAIT_E_SHAPE, "shape overflow");
    args[1] = krait_with(krait_pos(given(&mine[1])), 64);
    give_once("owned:total", &args[1], 1, &mine[1], KRAIT_E_UNSUPPORTED, "unknown flag");
    args[2] = krait_with(krait_pos(given(&mine[2])), KRAIT_COPY | KRAIT_ALIAS);
    give_once("owned:total", &args[2], 1, &mine[2], KRAIT_E_ARGUMENT, "flags that exclude each other");
    args[3] = krait_pos(krait_owned(krait_str("text"), release_gift, &mine[3]));
    give_once("owned:total", &args[3], 1, &mine[3], KRAIT_OK, "a text, which Python copies");
}

static void in_calls_that_are_refused(void **state) {
    gift               mine[5];
    krait_error       *err = NULL, *stuck = NULL;
    krait_call_options later = KRAIT_CALL_OPTIONS_INIT;
    krait_func        *func = krait_func_new("owned:total", &err);
    (void)state;
    for (size_t i = 0; i < COUNT(mine); i++) mine[i] = new_gift();
    later.timeout_ms = 5;
    krait_arg args[] = { krait_pos(given(&mine[0])) };
    krait_call(func, args, 1, &later, NULL, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "timeout_ms");
    assert_released_once(&mine[0], "an option that is not supported");
    args[0] = krait_pos(given(&mine[1]));
    krait_call(NULL, args, 1, NULL, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "func is NULL");
    assert_released_once(&mine[1], "no function");
    call("owned:fail", NULL, 0, NULL, &stuck);
    args[0] = krait_pos(given(&mine[2]));
    assert_int_equal(krait_call(func, args, 1, NULL, NULL, &stuck), KRAIT_E_PYTHON);
    assert_released_once(&mine[2], "an error that sticks");
    krait_error_clear(&stuck);
    krait_arg misplaced[] = { krait_kw("x", krait_i64(1)), krait_pos(given(&mine[3])) };
    krait_call(func, misplaced, 2, NULL, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "positional argument after keyword 'x'");
    assert_released_once(&mine[3], "positional after keyword");
    krait_arg twice[] = { krait_kw("x", given(&mine[4])), krait_kw("x", krait_i64(1)) };
    krait_call(func, twice, 2, NULL, NULL, NULL); /* nor is an error needed */
    assert_released_once(&mine[4], "a keyword given twice");
    krait_func_unref(func);
}

static void of_many_arguments_each_once(void **state) {
    enum { MANY = 20 };
    gift         mine[MANY];
    krait_arg    args[MANY];
    krait_error *err = NULL;
    krait_value  out;
    double       sum;
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        mine[i] = new_gift();
        args[i] = krait_pos(given(&mine[i]));
    }
    call("owned:total", args, MANY, &out, &err);
    krait_get_f64(&out, &sum, &err);
    assert_good(err);
    assert_true(sum == 10 * MANY);
    for (size_t i = 0; i < MANY; i++) assert_released_once(&mine[i], "one of many");
    for (size_t i = 0; i < MANY; i++) mine[i] = new_gift();
    for (size_t i = 0; i < MANY; i++) args[i] = krait_pos(i == 11 ? krait_str(NULL) : given(&mine[i]));
    call("owned:total", args, MANY, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "text is NULL");
    for (size_t i = 0; i < MANY; i++)
        if (i != 11) assert_released_once(&mine[i], "one of many, of which one is bad");
}

static void kept_by_python_and_dropped_later(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    gift         mine = new_gift();
    double       sum;
    (void)state;
    call1("owned:keep", given(&mine), 0, NULL, &err);
    assert_good(err); /* given, not lent: no escape */
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_gc(&err);
    assert_int_equal(atomic_load(&mine.released), 0);
    call("owned:total_kept", NULL, 0, &out, &err);
    krait_get_f64(&out, &sum, &err);
    assert_good(err);
    assert_true(sum == 9);
    call("owned:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_released_once(&mine, "kept and dropped");
}

static void returned_and_cleared(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  tail;
    gift         mine = new_gift();
    (void)state;
    call1("owned:part", given(&mine), 0, &out, &err);
    krait_get_column(&out, "tail", KRAIT_F64, &tail, &err);
    assert_good(err);
    assert_ptr_equal(tail.data, mine.data + 1);
    assert_false(tail.flags & KRAIT_ARRAY_COPIED);
    krait_gc(&err);
    assert_int_equal(atomic_load(&mine.released), 0);
    krait_value_clear(&out);
    assert_released_once(&mine, "returned and cleared");
}

static void without_elements(void **state) {
    krait_error *err = NULL;
    gift         mine = new_gift();
    (void)state;
    call1("owned:identity", krait_owned(krait_vector_f64(NULL, 0), release_gift, &mine), 0, NULL, &err);
    assert_good(err);
    assert_released_once(&mine, "an empty array");
}

/* A result is handed on together with its ownership. */
static void release_clear(void *user) {
    krait_value_clear(user);
}

static void a_result_given_away(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out;
    static double data[] = { 1, 2 };
    (void)state;
    call1("owned:identity", krait_vector_f64(data, 2), KRAIT_COPY, &out, &err);
    krait_arg args[] = { krait_pos(krait_owned(krait_borrow(&out), release_clear, &out)) };
    call("owned:total", args, 1, NULL, &err);
    assert_good(err);
    for (int ms = 0; ms < PATIENCE_MS && out.kind; ms++) wait_ms(1);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_nothing_left(&before);
}

/* ---- copies and writing ------------------------------------------------------------------------------------------ */

static void a_copy_is_pythons_own(void **state) {
    static double data[] = { 1, 2, 3 };
    krait_error  *err = NULL;
    krait_value   out;
    bool          own;
    double        sum;
    (void)state;
    call1("owned:copy_is_own", krait_vector_f64(data, 3), KRAIT_COPY, &out, &err);
    krait_get_bool(&out, &own, &err);
    assert_good(err); /* kept: no escape */
    assert_true(own);
    assert_true(data[0] == 1);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    memset(data, 0xff, sizeof data);
    call("owned:total_kept", NULL, 0, &out, &err);
    krait_get_f64(&out, &sum, &err);
    call("owned:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_true(sum == 104);
}

/* Every attempt of Python to write into what was lent fails, and says so. */
static void check_read_only(krait_value value) {
    static const char *const ways_in[] = { "owned:unlock", "owned:unlock_view", "owned:unlock_buffer" };
    krait_error             *err = NULL;
    krait_arg                args[] = { krait_pos(value), krait_pos(krait_i64(1)), krait_pos(krait_f64(-5)) };
    call("owned:write", args, 3, NULL, &err);
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_error(err, KRAIT_E_PYTHON, "read-only");
    for (size_t i = 0; i < COUNT(ways_in); i++) {
        call1(ways_in[i], value, 0, NULL, &err);
        assert_int_equal(krait_error_status(err), KRAIT_E_PYTHON);
        krait_error_clear(&err);
    }
}

static void read_only_unless_granted(void **state) {
    static double        data[] = { 1, 2, 3 };
    static const int64_t shape[] = { 3 }, backwards[] = { -8 };
    const krait_value    values[] = { krait_vector_f64(data, 3), krait_matrix_f64(data, 3, 1),
                                      krait_ndarray(data + 2, krait_f64_type(), 1, shape, backwards),
                                      krait_vector(data, krait_datetime(KRAIT_S, 1), 3) };
    krait_error         *err = NULL;
    krait_arg            args[] = { krait_with(krait_pos(values[0]), KRAIT_WRITABLE), krait_pos(krait_i64(1)),
                                    krait_pos(krait_f64(-5)) };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) check_read_only(values[i]);
    assert_true(data[0] == 1 && data[1] == 2 && data[2] == 3);
    call("owned:write", args, 3, NULL, &err);
    assert_good(err);
    assert_true(data[1] == -5);
}

static void a_writable_result_is_the_hosts(void **state) {
    krait_error *err = NULL;
    krait_value  out, again;
    krait_array  array;
    double       sum;
    (void)state;
    static double data[] = { 1, 2, 3 };
    call1("owned:identity", krait_vector_f64(data, 3), 0, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_WRITABLE);
    ((double *)array.data)[0] = 11; /* Python sees it when the result is passed on */
    call1("owned:total", krait_borrow(&out), 0, &again, &err);
    krait_get_f64(&again, &sum, &err);
    assert_good(err);
    assert_true(sum == 16 && data[0] == 1);
    krait_value_clear(&out);
}

/* ---- shutdown: last, since nothing can be called afterwards ------------------------------------------------------ */

static void on_shutdown(void **state) {
    static gift  returned, refused;
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    returned = new_gift();
    refused = new_gift();
    (void)state;
    call1("owned:identity", given(&returned), 0, &out, &err);
    krait_shutdown(10000, &err);
    assert_good(err);
    call1("owned:identity", given(&refused), 0, NULL, &err);
    assert_error(err, KRAIT_E_CLOSED, "krait_shutdown");
    assert_int_equal(atomic_load(&refused.released), 1);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_true(((double *)array.data)[3] == 4); /* results stay valid */
    assert_int_equal(atomic_load(&returned.released), 0);
    krait_value_clear(&out);
    assert_released_once(&returned, "cleared after shutdown");
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("owned", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_calls_that_end_well_and_badly),
        cmocka_unit_test(beside_a_bad_argument),
        cmocka_unit_test(in_the_bad_argument_itself),
        cmocka_unit_test(in_calls_that_are_refused),
        cmocka_unit_test(of_many_arguments_each_once),
        cmocka_unit_test(kept_by_python_and_dropped_later),
        cmocka_unit_test(returned_and_cleared),
        cmocka_unit_test(without_elements),
        cmocka_unit_test(a_result_given_away),
        cmocka_unit_test(a_copy_is_pythons_own),
        cmocka_unit_test(read_only_unless_granted),
        cmocka_unit_test(a_writable_result_is_the_hosts),
        cmocka_unit_test(on_shutdown),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
