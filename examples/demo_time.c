/* Times a function through krait and in Python alone, in turns, so that what else the machine does falls on both. */
#include "demo.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 7, CALLS = 7, TIMES = ROUNDS * CALLS, ROWS = 16, MAX_ARGS = 8 };

static struct row {
    const char *what;
    double      krait, python; /* seconds, sums of medians */
} rows[ROWS + 1]; /* the last stays empty */

double demo_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void time_krait(krait_func *func, const krait_arg *args, size_t n, double *times, krait_value *out,
                       krait_error **err) {
    for (int i = 0; i < CALLS && !*err; i++) {
        double from = demo_now();
        krait_value_clear(out); /* Python, too, frees a result before the next call */
        krait_call(func, args, n, NULL, out, err);
        times[i] = demo_now() - from;
    }
}

/* The same arguments, lent once to a loop written in Python. */
static void time_python(const char *function, const krait_arg *args, size_t n, double *times, krait_error **err) {
    krait_arg   all[2 + MAX_ARGS] = { krait_pos(krait_str(function)), krait_pos(krait_i64(CALLS)) };
    krait_value out;
    krait_array measured;
    assert(n <= MAX_ARGS);
    for (size_t i = 0; i < n; i++) all[2 + i] = args[i];
    demo_call("demo_data:times", all, 2 + n, &out, err);
    krait_get_array(&out, KRAIT_F64, 1, &measured, err);
    for (int64_t i = 0; i < measured.size && i < CALLS; i++) times[i] = demo_number(&measured, i);
    krait_value_clear(&out);
}

static int compare(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *times) {
    qsort(times, TIMES, sizeof *times, compare);
    return times[TIMES / 2];
}

void demo_call_timed(const char *what, const char *function, const krait_arg *args, size_t n, krait_value *out,
                     krait_error **err) {
    double      krait[TIMES] = { 0 }, python[TIMES] = { 0 };
    krait_func *func = krait_func_new(function, err);
    struct row *row = rows;
    krait_call(func, args, n, NULL, out, err); /* not counted: the first one imports */
    for (int round = 0; round < ROUNDS; round++) {
        time_python(function, args, n, python + round * CALLS, err);
        time_krait(func, args, n, krait + round * CALLS, out, err);
    }
    krait_func_unref(func);
    while (row->what && strcmp(row->what, what) != 0 && row < rows + ROWS - 1) row++;
    row->what = what;
    row->krait += median(krait);
    row->python += median(python);
}

void demo_print_times(void) {
    demo_heading("Median times of %d calls", TIMES);
    printf("%-50s%16s%16s%16s\n", "", "Python alone", "through krait", "difference");
    for (const struct row *row = rows; row->what; row++)
        printf("%-50s%13.1f us%13.1f us%+15.1f%%\n", row->what, row->python * 1e6, row->krait * 1e6,
               100 * (row->krait / row->python - 1));
}
