/* Eight threads call at once, with no lock and nothing to set up; then one thread makes many small calls as a batch. */
#include <krait.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { THREADS = 8, VALUES = 1000, CALLS = 10000, ROUNDS = 20 };

static krait_func *describe; /* one handle for all threads */

struct job {
    pthread_t    thread;
    double       values[VALUES], std;
    krait_error *err; /* an error belongs to whoever made the call */
};

static void *work(void *user) {
    struct job *job = user;
    krait_arg   args[] = { krait_pos(krait_vector_f64(job->values, VALUES)) };
    krait_value out;
    krait_array std;
    krait_call(describe, args, 1, NULL, &out, &job->err);
    krait_get_column(&out, "std", KRAIT_F64, &std, &job->err);
    if (!job->err) job->std = *(double *)std.data;
    krait_value_clear(&out);
    return NULL;
}

static void run_threads(krait_error **err) {
    static struct job jobs[THREADS];
    int               started = 0;
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < VALUES; i++) jobs[t].values[i] = (t + 1) * i;
    while (started < THREADS && pthread_create(&jobs[started].thread, NULL, work, &jobs[started]) == 0) started++;
    for (int t = 0; t < started; t++) {
        pthread_join(jobs[t].thread, NULL);
        if (!jobs[t].err) printf("thread %d: standard deviation %6.1f\n", t + 1, jobs[t].std);
        else if (!*err) *err = jobs[t].err; /* the first one goes to the caller */
        else krait_error_clear(&jobs[t].err);
    }
}

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void time_calls(const char *how, krait_func *hypot, krait_error **err) {
    krait_arg   args[] = { krait_pos(krait_f64(3)), krait_pos(krait_f64(4)) };
    krait_value out;
    double      best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double from = now_ns(), each;
        for (int i = 0; i < CALLS && !*err; i++) {
            krait_call(hypot, args, 2, NULL, &out, err); /* does next to nothing: the time is the call's own */
            krait_value_clear(&out);
        }
        each = (now_ns() - from) / CALLS;
        if (each < best) best = each;
    }
    if (!*err) printf("%d calls, %s %4.0f ns each\n", CALLS, how, best);
}

int main(void) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    krait_func *hypot = krait_func_new("math:hypot", &err);
    describe = krait_func_new("krait.analysis:describe", &err);
    run_threads(&err);
    time_calls("one by one:", hypot, &err);
    krait_acquire(&err); /* this thread keeps the interpreter until krait_release */
    time_calls("as a batch:", hypot, &err);
    krait_release();
    krait_func_unref(describe);
    krait_func_unref(hypot);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? krait_error_clear(&err), 1 : 0;
}
