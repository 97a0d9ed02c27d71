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


/* For the figures of tables, text, objects and callbacks; imported on their first use. */
#define BENCH_TABLES "bench_tables"
#define BENCH_TABLES_SOURCE                                                                                            \
    "import pandas as pd\n"                                                                                            \
    "def same(x):\n"                                                                                                   \
    "    return x\n"                                                                                                   \
    "def sums(frame):\n"                                                                                               \
    "    return frame.sum()\n"                                                                                         \
    "class Model:\n"                                                                                                   \
    "    def predict(self, x):\n"                                                                                      \
    "        return x\n"                                                                                               \
    "def ask(f, n):\n"                                                                                                 \
    "    for _ in range(n):\n"                                                                                         \
    "        f(1.5)\n"

enum { BENCH_LENGTH = 1000, BENCH_ROWS = 1000000, BENCH_COLUMNS = 10, BENCH_TEXT_SIZE = 24, BENCH_FAILED = -1 };

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

/* What table-1m-x-10 lends: BENCH_COLUMNS columns one after the other; made once, NULL without memory. */
static inline double *bench_columns(void) {
    static double *data;
    size_t         count = (size_t)BENCH_COLUMNS * BENCH_ROWS;
    if (!data && (data = (double *)malloc(count * sizeof *data)))
        for (size_t i = 0; i < count; i++) data[i] = (double)(i % 1009);
    return data;
}

/* What text-1m hands over: names of 4 to 16 bytes; made once, NULL without memory. */
static inline const char *const *bench_texts(void) {
    static const char **texts;
    char               *slab = texts ? NULL : (char *)malloc((size_t)BENCH_ROWS * BENCH_TEXT_SIZE);
    if (texts || !slab || !(texts = (const char **)malloc(BENCH_ROWS * sizeof *texts))) return texts;
    for (size_t i = 0; i < BENCH_ROWS; i++, slab += BENCH_TEXT_SIZE) {
        snprintf(slab, BENCH_TEXT_SIZE, "%.*s%u", (int)(i % 12), "instruments..", (unsigned)(1000 + i % 8999));
        texts[i] = slab;
    }
    return texts;
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
