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

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static const char tables_source[] = BENCH_TABLES_SOURCE
    "from time import perf_counter_ns\n"
    "from krait import host\n"
    "def ask_host(n):\n"
    "    ask(host.bench.last, n)\n"
    "def sums_in_python(data, n):\n" /* what struct-table-1m is held against */
    "    start = perf_counter_ns()\n"
    "    for _ in range(n):\n"
    "        frame = pd.DataFrame({name: data[name] for name in data.dtype.names}, copy=False)\n"
    "        sums(frame).to_numpy()\n"
    "    return perf_counter_ns() - start\n";

static struct {
    krait_func  *same, *sums, *sums_in_python, *ask_host, *predict;
    krait_struct *trade;
    krait_value  model;
} tables;

typedef struct trade {
    int64_t time;
    double  price, amount;
    int32_t venue;
    float   fee;
} trade;

static krait_status answer(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    double x;
    (void)user;
    if (n != 1) return krait_error_new(err, KRAIT_E_ARGUMENT, "one price, please");
    if (krait_get_f64(&args[0].value, &x, err)) return krait_error_status(*err);
    *out = krait_f64(x);
    return KRAIT_OK;
}

static krait_error *prepare_tables(void) {
    static const char *const names[] = { "same", "sums", "sums_in_python", "ask_host" };
    krait_func             **funcs[] = { &tables.same, &tables.sums, &tables.sums_in_python, &tables.ask_host };
    krait_error             *err = NULL;
    krait_func              *make_model;
    krait_member             members[] = { KRAIT_FIELD(trade, time, krait_i64_type), KRAIT_FIELD(trade, price, krait_f64_type),
                                           KRAIT_FIELD(trade, amount, krait_f64_type),
                                           KRAIT_FIELD(trade, venue, krait_i32_type), KRAIT_FIELD(trade, fee, krait_f32_type) };
    if (tables.same) return NULL;
    krait_register("bench.last", answer, NULL, NULL, &err);
    krait_module_from_source(BENCH_TABLES, tables_source, &err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, BENCH_TABLES ":%s", names[i]);
        *funcs[i] = krait_func_new(name, &err);
    }
    make_model = krait_func_new(BENCH_TABLES ":Model", &err);
    krait_call(make_model, NULL, 0, NULL, &tables.model, &err);
    krait_func_unref(make_model);
    tables.predict = krait_method(&tables.model, "predict", &err);
    tables.trade = krait_struct_new(members, sizeof members / sizeof *members, sizeof(trade), &err);
    return err;
}

/* C columns to a DataFrame and its columns back: views of the same memory. */
static int64_t table(int64_t n) {
    static const char *const names[BENCH_COLUMNS] = { "a", "b", "c", "d", "e", "f", "g", "h", "i", "j" };
    const double            *data = bench_columns();
    krait_error             *err = prepare_tables();
    int64_t                  start = bench_now();
    double                   sum = 0;
    if (err) return report(err);
    for (int64_t i = 0; i < n; i++) {
        krait_value        out;
        krait_column       column;
        krait_array        array;
        const krait_table *result;
        krait_table       *frame = krait_table_new(&err);
        for (int k = 0; k < BENCH_COLUMNS; k++)
            krait_table_add(frame, names[k], krait_vector_f64(data + k * BENCH_ROWS, BENCH_ROWS), NULL, &err);
        krait_arg args[] = { krait_with(krait_pos(krait_table_value(frame)), KRAIT_ALIAS) };
        krait_call(tables.same, args, 1, NULL, &out, &err);
        krait_get_table(&out, &result, &err);
        for (size_t k = 0; k < BENCH_COLUMNS; k++) {
            krait_table_column(result, k, &column, &err);
            krait_column_array(&column, KRAIT_F64, false, &array, &err);
            if (err) return report(err);
            if (array.shape[0] != BENCH_ROWS || array.data != data + k * BENCH_ROWS) return BENCH_FAILED;
            sum += ((const double *)array.data)[BENCH_ROWS - 1];
        }
        krait_value_clear(&out);
        krait_table_free(frame);
    }
    return sum == 0 ? BENCH_FAILED : bench_now() - start;
}

static int64_t table_held(int64_t n) {
    return held(table, n);
}

/* C strings to a column of text and back. */
static int64_t text(int64_t n) {
    const char *const *texts = bench_texts();
    krait_error       *err = prepare_tables();
    int64_t            start = bench_now();
    size_t             sum = 0;
    if (err) return report(err);
    for (int64_t i = 0; i < n; i++) {
        krait_value        out;
        krait_column       column;
        const krait_table *result;
        krait_table       *frame = krait_table_new(&err);
        krait_table_add_strings(frame, "name", texts, BENCH_ROWS, &err);
        krait_arg args[] = { krait_with(krait_pos(krait_table_value(frame)), KRAIT_ALIAS) };
        krait_call(tables.same, args, 1, NULL, &out, &err);
        krait_get_table(&out, &result, &err);
        krait_table_column(result, 0, &column, &err);
        if (err) return report(err);
        if (column.kind != KRAIT_COLUMN_TEXT || column.rows != BENCH_ROWS) return BENCH_FAILED;
        for (int64_t row = 0; row < BENCH_ROWS; row++) {
            size_t      size;
            const char *bytes = krait_column_text(&column, row, &size);
            if (bytes && size) sum += size + (unsigned char)bytes[0];
        }
        krait_value_clear(&out);
        krait_table_free(frame);
    }
    return sum == 0 ? BENCH_FAILED : bench_now() - start;
}

static int64_t text_held(int64_t n) {
    return held(text, n);
}

static const trade *trades(void) {
    static trade *data;
    if (!data && (data = calloc(BENCH_ROWS, sizeof *data)))
        for (int i = 0; i < BENCH_ROWS; i++) data[i] = (trade){ i, i % 97, 1, i % 7, 0.5f };
    return data;
}

/* C structs to a DataFrame, its sums back. */
static int64_t structs(int64_t n) {
    krait_error *err = prepare_tables();
    const trade *data = trades();
    int64_t      start = bench_now();
    if (err) return report(err);
    for (int64_t i = 0; i < n; i++) {
        krait_value        out;
        krait_column       column;
        krait_array        array;
        const krait_table *result;
        krait_table       *frame = krait_table_new(&err);
        krait_table_add_structs(frame, krait_structs(data, BENCH_ROWS, tables.trade), &err);
        krait_arg args[] = { krait_pos(krait_table_value(frame)) };
        krait_call(tables.sums, args, 1, NULL, &out, &err);
        krait_get_table(&out, &result, &err);
        krait_table_column(result, 0, &column, &err);
        krait_column_array(&column, KRAIT_F64, false, &array, &err);
        if (err) return report(err);
        if (array.shape[0] != 5 || ((const double *)array.data)[2] != BENCH_ROWS) return BENCH_FAILED;
        krait_value_clear(&out);
        krait_table_free(frame);
    }
    return bench_now() - start;
}

static int64_t structs_held(int64_t n) {
    return held(structs, n);
}

static int64_t structs_python(int64_t n) {
    krait_error *err = prepare_tables();
    krait_value  out;
    int64_t      took;
    krait_arg    args[] = { krait_pos(krait_structs(trades(), BENCH_ROWS, tables.trade)), krait_pos(krait_i64(n)) };
    krait_call(tables.sums_in_python, args, 2, NULL, &out, &err);
    krait_get_i64(&out, &took, &err);
    krait_value_clear(&out);
    return err ? report(err) : took;
}

/* ---- callbacks, objects ------------------------------------------------------------------------------------------ */

/* Python asks the host n times. */
static int64_t callback(int64_t n) {
    krait_error *err = prepare_tables();
    krait_arg    args[] = { krait_pos(krait_i64(n)) };
    int64_t      start = bench_now();
    krait_call(tables.ask_host, args, 1, NULL, NULL, &err);
    return err ? report(err) : bench_now() - start;
}

static int64_t methods(int64_t n) {
    krait_error *err = prepare_tables();
    int64_t      start = bench_now();
    for (int64_t i = 0; i < n && !err; i++) {
        krait_value out;
        double      result, x = (double)i;
        krait_arg   args[] = { krait_pos(krait_f64(x)) };
        krait_object_call(&tables.model, "predict", args, 1, NULL, &out, &err);
        krait_get_f64(&out, &result, &err);
        krait_value_clear(&out);
        if (!err && result != x) return BENCH_FAILED;
    }
    return err ? report(err) : bench_now() - start;
}

static int64_t bound_methods(int64_t n) {
    krait_error *err = prepare_tables();
    int64_t      start = bench_now();
    for (int64_t i = 0; i < n && !err; i++) {
        krait_value out;
        double      result, x = (double)i;
        krait_arg   args[] = { krait_pos(krait_f64(x)) };
        krait_call(tables.predict, args, 1, NULL, &out, &err);
        krait_get_f64(&out, &result, &err);
        krait_value_clear(&out);
        if (!err && result != x) return BENCH_FAILED;
    }
    return err ? report(err) : bench_now() - start;
}

static int64_t object_method(int64_t n) {
    return held(methods, n);
}

static int64_t object_bound(int64_t n) {
    return held(bound_methods, n);
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
        { "table-1m-x-10", table_held },
        { "text-1m", text_held },
        { "struct-table-1m", structs_held },
        { "struct-table-python", structs_python },
        { "callback", callback },
        { "object-method", object_method },
        { "object-bound", object_bound },
        { NULL, NULL },
    };
    krait_error *err;
    if (argc > 1 && !strcmp(argv[1], "init")) return init_only();
    err = prepare();
    if (err) return (report(err), EXIT_FAILURE);
    return bench_serve(figures);
}
