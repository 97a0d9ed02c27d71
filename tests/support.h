/* What the integration tests share: one Python per program, started once, and calls in one line.
 *
 * A failed assertion longjmps, which must never cross Python frames: so nothing here asserts inside a callback. */
#ifndef KRAIT_TESTS_SUPPORT_H
#define KRAIT_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <krait.h>

/* Number of elements. */
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Fails the test, with the error's words, if there is one. */
#define assert_good(err)                                                                                               \
    do {                                                                                                               \
        if (err) fail_msg("%s: %s\n%s", krait_error_step(err), krait_error_message(err),                               \
                          krait_error_traceback(err) ? krait_error_traceback(err) : "");                               \
    } while (0)

/* Fails the test unless err has that status and `part` in its message; clears it. */
#define assert_error(err, status, part)                                                                                \
    do {                                                                                                               \
        if (krait_error_status(err) != (status) || !strstr(krait_error_message(err), (part)))                          \
            fail_msg("expected %s with \"%s\", got %s: %s: %s", krait_status_name(status), (part),                     \
                     krait_status_name(krait_error_status(err)), krait_error_step(err), krait_error_message(err));     \
        krait_error_clear(&(err));                                                                                     \
    } while (0)

/* Starts Python; for cmocka's group set-up. */
static inline int start_python(void **state) {
    krait_error *err = NULL;
    (void)state;
    krait_init(NULL, &err);
    if (err) fprintf(stderr, "krait_init: %s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? -1 : 0;
}

/* Defines module `name` from text; fails the test if it does not import. */
static inline void define(const char *name, const char *source) {
    krait_error *err = NULL;
    krait_module_from_source(name, source, &err);
    assert_good(err);
}

/* Calls "module:function" with n arguments. */
static inline krait_status call(const char *name, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    krait_func  *func = krait_func_new(name, err);
    krait_status status = krait_call(func, args, n, NULL, out, err);
    krait_func_unref(func);
    return status;
}

/* The same with one positional argument. */
static inline krait_status call1(const char *name, krait_value value, uint32_t flags, krait_value *out, krait_error **err) {
    krait_arg args[] = { krait_with(krait_pos(value), flags) };
    return call(name, args, 1, out, err);
}

/* Counters now. */
static inline krait_metrics counters(void) {
    krait_metrics metrics = { .size = sizeof metrics };
    krait_metrics_get(&metrics, NULL);
    return metrics;
}

/* ---- after each test --------------------------------------------------------------------------------------------- */

enum { LEAK_PATIENCE_MS = 3000 }; /* for what krait's own thread still releases */

static inline void tell_loan(void *user, const krait_loan *loan) {
    (void)user;
    fprintf(stderr, "    kind %u, %s of %s, called at %s\n", loan->kind, loan->argument, loan->function, loan->origin);
}

/* Objects that results and functions keep, and memory of tests that Python keeps; waits for what is on its way. */
static inline uint64_t left_over(uint64_t before) {
    krait_metrics now = counters();
    for (int ms = 0; now.live_results + now.loans > before && ms < LEAK_PATIENCE_MS; ms++) {
        struct timespec pause = { 0, 1000000 };
        nanosleep(&pause, NULL);
        if (ms % 64 == 63) krait_gc(NULL);
        now = counters();
    }
    return now.live_results + now.loans;
}

/* Runs a test, then fails it unless its results are cleared, its functions let go and its memory is back. */
static inline void run_to_the_end(void **state) {
    CMUnitTestFunction *test = *state;
    uint64_t            before = counters().live_results + counters().loans, after;
    void               *none = NULL;
    (*test)(&none);
    after = left_over(before);
    if (after <= before) return;
    krait_loans(tell_loan, NULL);
    fail_msg("%llu results, functions or loans were left%s", (unsigned long long)(after - before),
             getenv("KRAIT_DEBUG_LEAKS") ? ", see above" : ": KRAIT_DEBUG_LEAKS=1 tells where they were made");
}

#undef cmocka_unit_test
#undef cmocka_unit_test_setup
#define cmocka_unit_test(test) cmocka_unit_test_setup(test, NULL)
#define cmocka_unit_test_setup(test, setup)                                                                            \
    { #test, run_to_the_end, setup, NULL, &(CMUnitTestFunction){ test } }

#endif
