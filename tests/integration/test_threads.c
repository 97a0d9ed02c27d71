/* Threads and the GIL: many at once, short-lived ones, batches, calls from threads that hold the GIL already, flat memory. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static const char source[] =
    "import ctypes, threading, time\n"
    "import numpy as np\n"
    "def twice(x): return 2 * x\n"
    "def slow(ms): time.sleep(ms / 1000)\n"
    "def spin(n):\n"
    "    s = 0\n"
    "    for i in range(n): s += i\n"
    "    return s\n"
    "def array(n): return np.arange(float(n))\n"
    "def total(a): return float(a.sum())\n"
    "def name(): return threading.current_thread().name\n"
    "def is_main(): return threading.current_thread() is threading.main_thread()\n"
    "CALL = ctypes.CFUNCTYPE(ctypes.c_int)\n"
    "def through_ctypes(address): return CALL(address)()\n"
    "def holding(address): return ctypes.PYFUNCTYPE(ctypes.c_int)(address)()\n"
    "ended = 0\n"
    "class Local:\n"
    "    def __del__(self):\n"
    "        global ended\n"
    "        ended += STRLEN(b'x')\n"
    "STRLEN = ctypes.CDLL(None).strlen\n"
    "local = threading.local()\n"
    "def keep_local(): local.x = Local()\n"
    "def count(): return ended\n";

static int set_up(void **state) {
    krait_error *err = NULL;
    if (start_python(state)) return -1;
    krait_module_from_source("threads_test", source, &err);
    if (err) fprintf(stderr, "%s\n", krait_error_message(err));
    return err ? -1 : 0;
}

static void pause_ms(long ms) {
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

/* Waits until the janitor has reaped down to `states`. */
static uint64_t settled_states(uint64_t states) {
    for (int i = 0; i < 500 && counters().thread_states > states; i++) pause_ms(10);
    return counters().thread_states;
}

/* ---- many threads at once ---------------------------------------------------------------------------------------- */

struct work {
    krait_func *func;
    int         rounds;
    atomic_int  wrong;
};

static void *double_many(void *user) {
    struct work *work = user;
    for (int i = 0; i < work->rounds; i++) {
        krait_arg    args[] = { krait_pos(krait_f64(i)) };
        krait_error *err = NULL;
        krait_value  out;
        double       x;
        krait_call(work->func, args, 1, NULL, &out, &err);
        krait_get_f64(&out, &x, &err);
        if (err || x != 2.0 * i) atomic_fetch_add(&work->wrong, 1);
        krait_error_clear(&err);
        krait_value_clear(&out);
    }
    return NULL;
}

static void run_threads(int count, void *(*run)(void *), void *user) {
    pthread_t threads[64];
    assert_true(count <= 64);
    for (int i = 0; i < count; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, user), 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void test_64_threads_at_once(void **state) {
    krait_error *err = NULL;
    struct work  work = { krait_func_new("threads_test:twice", &err), 500, 0 };
    (void)state;
    assert_good(err);
    run_threads(64, double_many, &work);
    assert_int_equal(work.wrong, 0);
    assert_true(settled_states(1) <= 1);
    krait_func_unref(work.func);
}

static void *array_many(void *user) {
    struct work *work = user;
    for (int i = 1; i <= work->rounds; i++) {
        krait_arg    args[] = { krait_pos(krait_i64(1000)) };
        krait_error *err = NULL;
        krait_value  out, sum;
        double       x;
        krait_call(work->func, args, 1, NULL, &out, &err);
        krait_arg again[] = { krait_pos(krait_borrow(&out)) };
        call("threads_test:total", again, 1, &sum, &err);
        krait_get_f64(&sum, &x, &err);
        if (err || x != 499500) atomic_fetch_add(&work->wrong, 1);
        krait_error_clear(&err);
        krait_value_clear(&out);
    }
    return NULL;
}

static void test_arrays_freed_by_threads(void **state) {
    krait_error *err = NULL;
    struct work  work = { krait_func_new("threads_test:array", &err), 200, 0 };
    (void)state;
    run_threads(16, array_many, &work);
    assert_int_equal(work.wrong, 0);
    krait_func_unref(work.func);
}

/* ---- short-lived threads whose destructors call back ------------------------------------------------------------- */

static void *one_call(void *user) {
    krait_error *err = NULL;
    call("threads_test:keep_local", NULL, 0, NULL, &err);
    if (err) atomic_fetch_add((atomic_int *)user, 1);
    krait_error_clear(&err);
    return NULL;
}

/* Each thread leaves a thread-local Python object whose __del__ goes through ctypes: it runs when the janitor clears the state. */
static void test_5000_short_threads(void **state) {
    enum { THREADS = 5000, AT_ONCE = 20 };
    atomic_int   wrong = 0;
    krait_error *err = NULL;
    krait_value  out;
    int64_t      ended = 0;
    (void)state;
    for (int i = 0; i < THREADS / AT_ONCE; i++) run_threads(AT_ONCE, one_call, &wrong);
    assert_int_equal(wrong, 0);
    assert_true(settled_states(1) <= 1);
    for (int i = 0; i < 100 && ended < THREADS; i++) {
        pause_ms(10);
        call("threads_test:count", NULL, 0, &out, &err);
        krait_get_i64(&out, &ended, &err);
        assert_good(err);
    }
    assert_int_equal(ended, THREADS);
}

static void *ends_while_acquired(void *unused) {
    krait_acquire(NULL);
    return unused;
}

static void test_thread_ends_while_holding(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    run_threads(4, ends_while_acquired, NULL);
    call("threads_test:name", NULL, 0, &out, &err); /* would hang if the GIL were lost */
    assert_good(err);
    krait_value_clear(&out);
}

/* ---- acquire and release ----------------------------------------------------------------------------------------- */

static void test_acquire_nests(void **state) {
    krait_error *err = NULL;
    uint64_t     before;
    (void)state;
    for (int i = 0; i < 100; i++) krait_acquire(&err);
    assert_good(err);
    before = counters().gil_enters;
    for (int i = 0; i < 100; i++) {
        krait_value out;
        call1("threads_test:twice", krait_f64(i), 0, &out, &err);
        krait_value_clear(&out);
    }
    assert_good(err);
    assert_int_equal(counters().gil_enters, before); /* none of them had to attach */
    for (int i = 0; i < 100; i++) krait_release();
    krait_release(); /* one too many does nothing */
    call1("threads_test:twice", krait_f64(1), 0, NULL, &err);
    assert_good(err);
    assert_int_equal(counters().gil_enters, before + 1);
}

static void *wants_gil(void *user) {
    krait_error *err = NULL;
    call1("threads_test:twice", krait_f64(1), 0, NULL, &err);
    atomic_store((atomic_int *)user, krait_error_status(err) == KRAIT_OK ? 1 : -1);
    krait_error_clear(&err);
    return NULL;
}

static void test_acquire_keeps_others_out(void **state) {
    atomic_int   done = 0;
    pthread_t    thread;
    krait_error *err = NULL;
    (void)state;
    krait_acquire(&err);
    assert_good(err);
    pthread_create(&thread, NULL, wants_gil, &done);
    pause_ms(100);
    assert_int_equal(atomic_load(&done), 0);
    krait_release();
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&done), 1);
}

/* A host function that Python calls by ctypes, the GIL let go (CDLL) or held (PYFUNCTYPE): both may call krait. */
static int calls_krait(void) {
    krait_error *err = NULL;
    krait_value  out;
    double       x = 0;
    call1("threads_test:twice", krait_f64(21), 0, &out, &err);
    krait_get_f64(&out, &x, &err);
    krait_acquire(&err);
    call1("threads_test:twice", krait_f64(21), 0, &out, &err);
    krait_release();
    if (err) fprintf(stderr, "%s\n", krait_error_message(err));
    krait_error_clear(&err);
    return (int)x;
}

static void nested_call(const char *name) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      x = 0;
    call1(name, krait_u64((uint64_t)(uintptr_t)calls_krait), 0, &out, &err);
    krait_get_i64(&out, &x, &err);
    assert_good(err);
    assert_int_equal(x, 42);
}

static void test_call_inside_a_call(void **state) {
    krait_error *err = NULL;
    (void)state;
    nested_call("threads_test:through_ctypes");
    nested_call("threads_test:holding");
    krait_acquire(&err);
    nested_call("threads_test:through_ctypes");
    nested_call("threads_test:holding");
    krait_release();
    assert_good(err);
}

static void *nested_on_thread(void *user) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      x = 0;
    call1("threads_test:through_ctypes", krait_u64((uint64_t)(uintptr_t)calls_krait), 0, &out, &err);
    krait_get_i64(&out, &x, &err);
    if (err || x != 42) atomic_fetch_add((atomic_int *)user, 1);
    krait_error_clear(&err);
    return NULL;
}

static void test_calls_inside_calls_on_threads(void **state) {
    atomic_int wrong = 0;
    (void)state;
    run_threads(16, nested_on_thread, &wrong);
    assert_int_equal(wrong, 0);
}

static void test_never_on_main_thread(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    bool         is_main = true;
    (void)state;
    call("threads_test:is_main", NULL, 0, &out, &err);
    krait_get_bool(&out, &is_main, &err);
    assert_good(err);
    assert_false(is_main);
}

/* ---- freeing ----------------------------------------------------------------------------------------------------- */

static void *clears(void *user) {
    krait_value_clear(user);
    return NULL;
}

/* From a thread that never saw Python, while another one holds the GIL: it must not wait. */
static void test_clear_without_gil(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    pthread_t    thread;
    (void)state;
    call1("threads_test:array", krait_i64(1000), 0, &out, &err);
    assert_good(err);
    krait_acquire(&err);
    pthread_create(&thread, NULL, clears, &out);
    pthread_join(thread, NULL); /* would never end if it waited */
    krait_release();
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    for (int i = 0; i < 200 && counters().pending_releases; i++) pause_ms(10);
    assert_int_equal(counters().pending_releases, 0);
}

static void test_many_clears_are_drained(void **state) {
    enum { MANY = 200000 };
    krait_error *err = NULL;
    krait_value *values = calloc(MANY, sizeof *values);
    krait_func  *func = krait_func_new("threads_test:array", &err);
    krait_arg    args[] = { krait_pos(krait_i64(1)) };
    uint64_t     before = counters().live_results;
    (void)state;
    for (int i = 0; i < MANY; i++) krait_call(func, args, 1, NULL, &values[i], &err);
    assert_good(err);
    for (int i = 0; i < MANY; i++) krait_value_clear(&values[i]);
    krait_call(func, args, 1, NULL, NULL, &err); /* at its bound the list is drained by a call */
    for (int i = 0; i < 500 && counters().live_results > before + 1; i++) pause_ms(10);
    assert_true(counters().live_results <= before + 1);
    krait_func_unref(func);
    free(values);
}

/* ---- flat memory ------------------------------------------------------------------------------------------------- */

static long resident_kib(void) {
    long  pages = 0, total;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &total, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void many_calls(int count, krait_error **err) {
    static double data[1000];
    krait_func   *func = krait_func_new("threads_test:array", err), *total = krait_func_new("threads_test:total", err);
    for (int i = 0; i < count; i++) {
        krait_arg   one[] = { krait_pos(krait_i64(100)) };
        krait_arg   two[] = { krait_pos(krait_vector_f64(data, COUNT(data))) };
        krait_value out;
        krait_call(i % 2 ? func : total, i % 2 ? one : two, 1, NULL, &out, err);
        krait_value_clear(&out);
    }
    krait_func_unref(func);
    krait_func_unref(total);
}

/* KRAIT_TEST_CALLS calls, 1,000,000 unless set: resident memory after the second half is what it was after the first. */
static void test_flat_memory(void **state) {
    const char  *wanted = getenv("KRAIT_TEST_CALLS");
    int          count = wanted ? atoi(wanted) : 1000000;
    krait_error *err = NULL;
    long         middle, end;
    (void)state;
    many_calls(count / 2, &err);
    middle = resident_kib();
    many_calls(count / 2, &err);
    end = resident_kib();
    assert_good(err);
#ifndef __SANITIZE_ADDRESS__ /* it keeps freed memory for a while; what is lost there, the leak checker tells */
    if (end > middle + 2048) fail_msg("resident memory grew from %ld to %ld KiB in %d calls", middle, end, count / 2);
#else
    (void)middle, (void)end;
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_64_threads_at_once),
        cmocka_unit_test(test_arrays_freed_by_threads),
        cmocka_unit_test(test_5000_short_threads),
        cmocka_unit_test(test_thread_ends_while_holding),
        cmocka_unit_test(test_acquire_nests),
        cmocka_unit_test(test_acquire_keeps_others_out),
        cmocka_unit_test(test_call_inside_a_call),
        cmocka_unit_test(test_calls_inside_calls_on_threads),
        cmocka_unit_test(test_never_on_main_thread),
        cmocka_unit_test(test_clear_without_gil),
        cmocka_unit_test(test_many_clears_are_drained),
        cmocka_unit_test(test_flat_memory),
    };
    alarm(280);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
