/* The work of the bench, done through krait's public header only, as its README tells: one call, one reader, one
 * clear, one check.
 *
 * `krait_bench` serves (bench.h); `krait_bench init` starts Python and exits. The Python is krait's own choice
 * (KRAIT_PYTHON). */
#include "bench.h"

#include <krait.h>

enum { ROWS = 1000, COLUMNS = 10, HUGE_LENGTH = 125000000 };

static krait_func *same, *fixed, *normalize, *python_loop;
static double      ticks[ROWS * COLUMNS];

/* The function that the figure normalize-1000x10 is held against: the same calls, made and timed in Python. */
static const char python_source[] = "from time import perf_counter_ns\n"
                                    "from krait.analysis import normalize\n"
                                    "def loop(data, n):\n"
                                    "    start = perf_counter_ns()\n"
                                    "    for _ in range(n):\n"
                                    "        normalize(data, ddof=1)\n"
                                    "    return perf_counter_ns() - start\n";

static int64_t report(krait_error *err) {
    fprintf(stderr, "krait: %s: %s\n", krait_error_step(err), krait_error_message(err));
    if (krait_error_traceback(err)) fprintf(stderr, "%s\n", krait_error_traceback(err));
    krait_error_clear(&err);
    return BENCH_FAILED;
}

/* ---- one float in, one out --------------------------------------------------------------------------------------- */

static int64_t calls(int64_t n) {
    int64_t start = bench_now();
    for (int64_t i = 0; i < n; i++) {
        krait_error *err = NULL;
        krait_value  out;
        double       result, x = (double)i;
        krait_arg    args[] = { krait_pos(krait_f64(x)) };
        krait_call(same, args, 1, NULL, &out, &err);
        krait_get_f64(&out, &result, &err);
        krait_value_clear(&out);
        if (err) return report(err);
        if (result != x) return BENCH_FAILED;
    }
    return bench_now() - start;
}

static int64_t held(int64_t (*run)(int64_t n), int64_t n) {
    krait_error *err = NULL;
    int64_t      took;
    if (krait_acquire(&err)) return report(err);
    took = run(n);
    krait_release();
    return took;
}

static int64_t call_held(int64_t n) {
    return held(calls, n);
}

/* ---- an array in, an array out ----------------------------------------------------------------------------------- */

static int64_t arrays_of(const double *data, size_t length, int64_t n) {
    int64_t start = bench_now();
    double  sum = 0;
    for (int64_t i = 0; i < n; i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        krait_arg    args[] = { krait_pos(krait_vector_f64(data, length)) };
        krait_call(fixed, args, 1, NULL, &out, &err);
        krait_get_array(&out, KRAIT_F64, 1, &array, &err);
        if (err) return report(err);
        if (array.shape[0] != BENCH_LENGTH) return BENCH_FAILED;
        sum += ((const double *)array.data)[BENCH_LENGTH - 1];
        krait_value_clear(&out);
    }
    return sum != 0 ? BENCH_FAILED : bench_now() - start;
}

static int64_t arrays_8k(int64_t n) {
    return arrays_of(ticks, BENCH_LENGTH, n);
}

static int64_t array_8k(int64_t n) {
    return held(arrays_8k, n);
}

/* Allocated on first use and filled, so that a copy would have something to copy. */
static int64_t arrays_1g(int64_t n) {
    static double *huge;
    if (!huge) {
        huge = malloc(HUGE_LENGTH * sizeof *huge);
        if (!huge) return BENCH_FAILED;
        for (size_t i = 0; i < HUGE_LENGTH; i++) huge[i] = (double)i;
    }
    return arrays_of(huge, HUGE_LENGTH, n);
}

static int64_t array_1g(int64_t n) {
    return held(arrays_1g, n);
}

/* ---- krait.analysis.normalize ------------------------------------------------------------------------------------ */

static int64_t normalize_c(int64_t n) {
    int64_t start = bench_now();
    for (int64_t i = 0; i < n; i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  z;
        krait_arg    args[] = { krait_pos(krait_matrix_f64(ticks, ROWS, COLUMNS)), krait_kw("ddof", krait_i64(1)) };
        krait_call(normalize, args, 2, NULL, &out, &err);
        krait_get_array(&out, KRAIT_F64, 2, &z, &err);
        if (err) return report(err);
        if (z.shape[0] != ROWS) return BENCH_FAILED;
        krait_value_clear(&out);
    }
    return bench_now() - start;
}

static int64_t normalize_python(int64_t n) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      took;
    krait_arg    args[] = { krait_pos(krait_matrix_f64(ticks, ROWS, COLUMNS)), krait_pos(krait_i64(n)) };
    krait_call(python_loop, args, 2, NULL, &out, &err);
    krait_get_i64(&out, &took, &err);
    krait_value_clear(&out);
    return err ? report(err) : took;
}

/* ---- program ----------------------------------------------------------------------------------------------------- */

static krait_error *prepare(void) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    krait_module_from_source(BENCH_MODULE, BENCH_SOURCE, &err);
    krait_module_from_source("bench_python_loop", python_source, &err);
    same = krait_func_new(BENCH_MODULE ":same", &err);
    fixed = krait_func_new(BENCH_MODULE ":fixed", &err);
    normalize = krait_func_new("krait.analysis:normalize", &err);
    python_loop = krait_func_new("bench_python_loop:loop", &err);
    for (int i = 0; i < ROWS * COLUMNS; i++) ticks[i] = (double)(i * 7919 % 1009);
    return err;
}

static int init_only(void) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    return err ? (report(err), EXIT_FAILURE) : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    static const bench_figure figures[] = {
        { "call-held", call_held },
        { "call-foreign-thread", calls },
        { "array-8k", array_8k },
        { "array-1g", array_1g },
        { "normalize-1000x10", normalize_c },
        { "normalize-python", normalize_python },
        { NULL, NULL },
    };
    krait_error *err;
    if (argc > 1 && !strcmp(argv[1], "init")) return init_only();
    err = prepare();
    if (err) return (report(err), EXIT_FAILURE);
    return bench_serve(figures);
}
