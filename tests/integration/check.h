/* What the tests of calls and values share beside support.h: the time limit, waiting, and the proof that nothing is
 * left behind. */
#ifndef KRAIT_TESTS_CHECK_H
#define KRAIT_TESTS_CHECK_H

#include "../support.h"

#include <inttypes.h>
#include <time.h>
#include <unistd.h>

enum {
    TIME_LIMIT_S = 120,
    PATIENCE_MS = 10000, /* for what another thread does soon: far above what it takes, below the limit */
    STORE = 80           /* more results than the unused holders that a thread keeps (64) */
};

/* Starts Python and the time limit; for cmocka's group set-up. */
static inline int begin(void **state) {
    alarm(TIME_LIMIT_S);
    return start_python(state);
}

static inline void wait_ms(long ms) {
    struct timespec pause = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&pause, NULL);
}

enum { FOLDER_SIZE = 512 };

/* Makes an empty folder under TMPDIR, an absolute path; false when it cannot. */
static inline bool make_folder(char folder[FOLDER_SIZE]) {
    const char *parent = getenv("TMPDIR");
    char       *whole = realpath(parent && *parent ? parent : "/tmp", NULL);
    int         length = whole ? snprintf(folder, FOLDER_SIZE, "%s/krait-test.XXXXXX", whole) : -1;
    free(whole);
    return length > 0 && length < FOLDER_SIZE && mkdtemp(folder);
}

/* Makes results that hold Python objects and clears them. */
static inline void fill_store(krait_func *make_text) {
    krait_value  results[STORE];
    krait_error *err = NULL;
    for (size_t i = 0; i < COUNT(results); i++) krait_call(make_text, NULL, 0, NULL, &results[i], &err);
    assert_good(err);
    for (size_t i = 0; i < COUNT(results); i++) krait_value_clear(&results[i]);
}

/* Counters at rest. krait keeps up to 64 unused holders in each of the two threads that free results, this one and
 * the janitor: with both stores full, equal numbers of blocks mean that nothing was left in between. */
static inline krait_metrics at_rest(void) {
    static bool  janitor_full;
    krait_error *err = NULL;
    krait_func  *make_text = krait_func_new("builtins:str", &err);
    if (!janitor_full) fill_store(make_text);
    janitor_full = true;
    for (int ms = 0; ms < PATIENCE_MS && counters().pending_releases; ms++) wait_ms(1);
    krait_acquire(&err);
    fill_store(make_text);
    krait_release();
    krait_func_unref(make_text);
    assert_good(err);
    return counters();
}

static inline bool same_rest(const krait_metrics *a, const krait_metrics *b) {
    return a->live_results == b->live_results && a->loans == b->loans && a->blocks == b->blocks;
}

/* Fails unless results, loans and C memory are back to what they were; waits for what other threads still release. */
static inline void assert_nothing_left(const krait_metrics *before) {
    krait_metrics now = at_rest();
    for (int ms = 0; ms < PATIENCE_MS && !same_rest(before, &now); ms += 50) {
        krait_gc(NULL);
        wait_ms(50);
        now = at_rest();
    }
    if (!same_rest(before, &now))
        fail_msg("left: results %" PRIu64 " -> %" PRIu64 ", loans %" PRIu64 " -> %" PRIu64 ", blocks %" PRIu64
                 " -> %" PRIu64,
                 before->live_results, now.live_results, before->loans, now.loans, before->blocks, now.blocks);
}

#endif
