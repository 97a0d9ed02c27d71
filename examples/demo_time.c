/* Times a function through krait and in Python alone, in turns, so that what else the machine does falls on both. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 5, CALLS = 9, ROWS = 16, MAX_ARGS = 8 };

static struct row {
    const char *what;
    int         functions;
    double      krait, python; /* seconds, sums of medians */
} rows[ROWS];

double demo_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void *demo_alloc(int64_t count, size_t size) {
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);
    if (memory) return memory;
    fprintf(stderr, "demo: out of memory\n");
    exit(1);
}

static int compare(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *times) {
    qsort(times, ROUNDS * CALLS, sizeof *times, compare);
    return times[ROUNDS * CALLS / 2];
}

static void time_krait(krait_func *func, const krait_arg *args, size_t n, double *times, krait_value *out, krait_error **err) {
    for (int i = 0; i < CALLS && !*err; i++) {
        double from = demo_now();
        krait_value_clear(out); /* Python too frees its result before the next call */
        krait_call(func, args, n, NULL, out, err);
        times[i] = demo_now() - from;
    }
}

/* The same arguments go to a loop written in Python: lent once, then called without krait. */
static void time_python(const char *name, const krait_arg *args, size_t n, double *times, krait_error **err) {
    krait_func *func = krait_func_new("demo_data:times", err);
    krait_arg   all[2 + MAX_ARGS] = { krait_pos(krait_str(name)), krait_pos(krait_i64(CALLS)) };
    krait_value out;
    krait_array measured;
    for (size_t i = 0; i < n; i++) all[2 + i] = args[i];
    krait_call(func, all, 2 + n, NULL, &out, err);
    krait_get_array(&out, KRAIT_F64, 1, &measured, err);
    for (int64_t i = 0; i < measured.size; i++) times[i] = demo_number(&measured, i);
    krait_value_clear(&out);
    krait_func_unref(func);
}

void demo_call(const char *what, const char *function, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    krait_func *func = krait_func_new(function, err);
    struct row *row = rows;
    double      krait[ROUNDS * CALLS] = { 0 }, python[ROUNDS * CALLS] = { 0 };
    krait_call(func, args, n, NULL, out, err); /* the first one imports */
    for (int round = 0; round < ROUNDS && !*err; round++) {
        time_python(function, args, n, python + round * CALLS, err);
        time_krait(func, args, n, krait + round * CALLS, out, err);
    }
    while (row->what && row->what != what) row++;
    ...
}
