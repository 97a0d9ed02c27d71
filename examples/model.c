/* A scikit-learn model is fitted once and asked by many threads. Needs scikit-learn beside numpy. */
#include <krait.h>
#include <pthread.h>
#include <stdio.h>

enum { ROWS = 200, COLS = 3, THREADS = 8, CALLS = 500 };

static krait_func *predict; /* a method of the fitted model: any thread may call it */

struct job {
    pthread_t    thread;
    double       x[COLS], worst;
    krait_error *err;
};

static double truth(const double *x) {
    return 1 + 2 * x[0] - 3 * x[1] + 0.5 * x[2];
}

static void *ask(void *user) {
    struct job *job = user;
    for (int i = 0; i < CALLS && !job->err; i++) {
        krait_arg   args[] = { krait_pos(krait_matrix_f64(job->x, 1, COLS)) }; /* only lent: predict keeps nothing */
        krait_value out;
        krait_array y;
        double      off;
        job->x[i % COLS] += 0.01;
        krait_call(predict, args, 1, NULL, &out, &job->err);
        krait_get_array(&out, KRAIT_F64, 1, &y, &job->err);
        off = job->err ? 0 : *(double *)y.data - truth(job->x);
        if (off < 0) off = -off;
        if (off > job->worst) job->worst = off;
        krait_value_clear(&out);
    }
    return NULL;
}

/* What the model keeps of its training data is not lent any more: KRAIT_COPY gives it copies of its own. */
static void fit(krait_value *model, krait_error **err) {
    static double x[ROWS][COLS], y[ROWS];
    krait_value   fitted;
    krait_func   *make = krait_func_new("sklearn.linear_model:LinearRegression", err);
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLS; j++) x[i][j] = (i * (7 + 4 * j) % 101) / 101.0;
        y[i] = truth(x[i]);
    }
    krait_arg args[] = { krait_with(krait_pos(krait_matrix_f64(x[0], ROWS, COLS)), KRAIT_COPY),
                         krait_with(krait_pos(krait_vector_f64(y, ROWS)), KRAIT_COPY) };
    krait_call(make, NULL, 0, NULL, model, err);
    krait_object_call(model, "fit", args, 2, NULL, &fitted, err);
    krait_value_clear(&fitted); /* the model itself once more */
    krait_func_unref(make);
}

int main(void) {
    static struct job jobs[THREADS];
    krait_error      *err = NULL;
    krait_value       model = krait_none();
    double            worst = 0;
    int               started = 0;

    krait_init(NULL, &err);
    fit(&model, &err);
    predict = krait_method(&model, "predict", &err);
    while (!err && started < THREADS && !pthread_create(&jobs[started].thread, NULL, ask, &jobs[started])) started++;
    for (int t = 0; t < started; t++) {
        pthread_join(jobs[t].thread, NULL);
        if (jobs[t].worst > worst) worst = jobs[t].worst;
        if (jobs[t].err && !err) err = jobs[t].err;
        else krait_error_clear(&jobs[t].err);
    }
    if (!err) printf("%d predictions by %d threads: %s\n", THREADS * CALLS, started, worst < 1e-9 ? "right" : "wrong");
    krait_func_unref(predict);
    krait_value_clear(&model);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? krait_error_clear(&err), 1 : 0;
}
