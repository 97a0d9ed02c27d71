/* What the bench programs share: the Python code they call and the loop that takes orders. C11 and C++17.
 *
 * A program starts Python, then reads lines "figure n", does the work of that figure n times and answers with the
 * nanoseconds it took. So the runner can let programs that are up and warm take turns every few milliseconds, and
 * callgrind can count two n in one process. All work is done on a thread that Python did not make, so that all
 * programs use malloc in the same way. A failure is told and ends the program. */
#ifndef KRAIT_BENCH_H
#define KRAIT_BENCH_H

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BENCH_MODULE "bench_functions"
#define BENCH_SOURCE                                                                                                   \
    "import numpy as np\n"                                                                                             \
    "A = np.zeros(1000)\n"                                                                                             \
    "def same(x):\n"                                                                                                   \
    "    return x\n"                                                                                                   \
    "def fixed(a):\n"                                                                                                  \
    "    return A\n"

enum { BENCH_LENGTH = 1000, BENCH_FAILED = -1 };

/* Does the work n times; nanoseconds, or BENCH_FAILED. */
typedef struct bench_figure {
    const char *name;
    int64_t (*run)(int64_t n);
} bench_figure;

static inline int64_t bench_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#ifdef __cplusplus
extern "C"
#endif
    /* Callgrind counts what happens inside this function: the runner names it. */
    __attribute__((noinline)) int64_t
    bench_run(const bench_figure *figure, int64_t n) {
    return figure->run(n);
}

static inline void *bench_serve_here(void *user) {
    const bench_figure *figures = (const bench_figure *)user;
    char                name[64];
    int64_t             n;
    while (scanf("%63s %" SCNd64, name, &n) == 2) {
        const bench_figure *figure = figures;
        int64_t             took = BENCH_FAILED;
        while (figure->name && strcmp(figure->name, name) != 0) figure++;
        if (figure->name) took = bench_run(figure, n);
        if (took == BENCH_FAILED) {
            fprintf(stderr, "%s: failed\n", name);
            return user;
        }
        printf("%" PRId64 "\n", took);
        fflush(stdout);
    }
    return NULL;
}

/* Serves until the input ends; `figures` ends with a NULL name. Returns the program's exit code. */
static inline int bench_serve(const bench_figure *figures) {
    pthread_t thread;
    void     *failed = NULL;
    if (pthread_create(&thread, NULL, bench_serve_here, (void *)(uintptr_t)figures)) return EXIT_FAILURE;
    pthread_join(thread, &failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
