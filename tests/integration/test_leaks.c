/* KRAIT_DEBUG_LEAKS: planted leaks are named with the line that made them, clean programs have none, and without the
 * variable nothing of it is there. The program runs itself anew where a process has to end, or to begin without it. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

static const char leaking[] =
    "import threading\n"
    "import numpy\n"
    "kept, entered, go_on = [], threading.Event(), threading.Event()\n"
    "class Model:\n"
    "    pass\n"
    "def number(): return 1.5\n"
    "def none(): return None\n"
    "def text(): return 'a text'\n"
    "def octets(): return b'four'\n"
    "def array(): return numpy.arange(6.0).reshape(2, 3)\n"
    "def stripes(): return numpy.arange(20.0).reshape(2, 2, 5)[:, :, ::2]\n"
    "def listed(): return [numpy.zeros(2), 'x', [1, 2]]\n"
    "def mapped(): return {'a': numpy.zeros(2), 'b': 1}\n"
    "def model(): return Model()\n"
    "def frame():\n"
    "    import pandas\n"
    "    return pandas.DataFrame({'a': [1, 2, 3], 'b': ['x', 'y', 'z']})\n"
    "def generator(): yield from range(3)\n"
    "def words(): yield 'first'\n"
    "def fail(a): raise ValueError('no')\n"
    "def same(a): return a\n"
    "def keep(a): kept.append(a)\n"
    "def forget(): kept.clear()\n"
    "def length(a): return float(len(a))\n"
    "def wait(n, *, data, given, copied):\n"
    "    entered.set()\n"
    "    if not go_on.wait(60): raise TimeoutError\n"
    "    return float(data.sum())\n"
    "def has_entered(): return entered.wait(60)\n"
    "def let_go(): go_on.set()\n";

enum { LENGTH = 4, MANY = 64 };
static const double data[LENGTH] = { 1, 2, 3, 4 };

/* What krait_loans tells, newest first; filled in a callback, looked at afterwards. */
typedef struct one_loan {
    const void *data;
    size_t      bytes;
    uint32_t    kind;
    char        function[64], argument[128], origin[512];
} one_loan;
static struct {
    size_t   count;
    one_loan all[MANY];
} seen;

static void see(void *user, const krait_loan *loan) {
    one_loan *one = &seen.all[seen.count % MANY];
    (void)user;
    seen.count++;
    one->data = loan->data;
    one->bytes = loan->bytes;
    one->kind = loan->kind;
    snprintf(one->function, sizeof one->function, "%s", loan->function);
    snprintf(one->argument, sizeof one->argument, "%s", loan->argument);
    snprintf(one->origin, sizeof one->origin, "%s", loan->origin);
}

static size_t look(void) {
    seen.count = 0;
    if (krait_loans(see, NULL) != seen.count) fail_msg("krait_loans does not count what it lists");
    if (krait_loans(NULL, NULL) != seen.count) fail_msg("krait_loans counts otherwise than it lists");
    return seen.count;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

static char self[4096];

/* What a command prints, at most size - 1 bytes. */
static int output_of(const char *command, char *text, size_t size) {
    FILE  *pipe = popen(command, "r");
    size_t length = pipe ? fread(text, 1, size - 1, pipe) : 0;
    text[length] = 0;
    return pipe ? pclose(pipe) : -1;
}

/* Fails unless the first frame of the origin is of `line` in this file, by the debugger's own means. Linked statically,
 * krait's own frames are the program's and may come before it. */
static void assert_origin(const char *origin, int line) {
    char        command[8192], answer[4096] = "", expected[64];
    const char *name = strrchr(self, '/') + 1, *plus = strchr(origin, '+');
    snprintf(expected, sizeof expected, "test_leaks.c:%d", line);
    if (!plus || strncmp(origin, name, (size_t)(plus - origin)) != 0) fail_msg("\"%s\" does not name %s", origin, name);
    for (; plus && !strstr(answer, expected); plus = strchr(plus + 1, '+')) {
        snprintf(command, sizeof command, "addr2line -e '%s' %.*s", self, (int)strcspn(plus + 1, " ,"), plus + 1);
        if (output_of(command, answer, sizeof answer)) fail_msg("%s: does not run", command);
        if (!strstr(answer, expected) && !strstr(answer, "lib/")) break;
    }
    if (!strstr(answer, expected)) fail_msg("\"%s\" is %s, expected %s", origin, answer, expected);
    if (!strstr(origin, ", thread ")) fail_msg("\"%s\" names no thread", origin);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static void a_result_is_listed_until_it_is_cleared(void **state) {
    krait_error *err = NULL;
    krait_value  out, moved;
    krait_func  *array = krait_func_new("leaking:array", &err);
    int          line;
    (void)state;
    line = __LINE__, krait_call(array, NULL, 0, NULL, &out, &err);
    krait_func_unref(array);
    assert_good(err);
    assert_int_equal(look(), 1);
    assert_int_equal(seen.all[0].kind, KRAIT_LOAN_RESULT);
    assert_ptr_equal(seen.all[0].data, out.as.array.data);
    assert_int_equal(seen.all[0].bytes, 6 * sizeof(double));
    assert_string_equal(seen.all[0].function, "leaking:array");
    assert_string_equal(seen.all[0].argument, "float64 array (2, 3)");
    assert_origin(seen.all[0].origin, line);
    moved = out;
    assert_int_equal(look(), 1);
    krait_value_clear(&moved);
    assert_int_equal(look(), 0);
}

static void every_kind_of_result(void **state) {
    static const struct {
        const char *function, *argument;
    } rows[] = {
        { "leaking:text", "text of 6 bytes" },         { "leaking:octets", "bytes of 4" },
        { "leaking:array", "float64 array (2, 3)" },   { "leaking:stripes", "float64 array (2, 2, 3)" },
        { "leaking:listed", "list of 3 items" },       { "leaking:mapped", "map of 2 items" },
        { "leaking:model", "object" },                 { "leaking:generator", "iterator" },
        { "leaking:frame", "table of 2 columns, 3 rows" },
    };
    krait_value results[COUNT(rows)];
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        call(rows[i].function, NULL, 0, &results[i], &err);
        assert_good(err);
        assert_int_equal(look(), i + 1);
        assert_string_equal(seen.all[0].function, rows[i].function);
        assert_string_equal(seen.all[0].argument, rows[i].argument);
        assert_int_equal(seen.all[0].kind, KRAIT_LOAN_RESULT);
    }
    for (size_t i = 0; i < COUNT(rows); i++) { /* the oldest first: each is found by itself */
        krait_value_clear(&results[i]);
        assert_int_equal(look(), COUNT(rows) - 1 - i);
        if (seen.count) assert_string_equal(seen.all[seen.count - 1].function, rows[i + 1].function);
    }
}

/* Whichever public function handed it out, the first frame is the program's. */
static void results_of_other_functions(void **state) {
    krait_error *err = NULL;
    krait_value  frame, shape, generator, item;
    int          line;
    (void)state;
    call("leaking:frame", NULL, 0, &frame, &err);
    line = __LINE__, krait_object_get(&frame, "shape", &shape, &err);
    assert_good(err);
    assert_int_equal(look(), 2);
    assert_string_equal(seen.all[0].argument, "list of 2 items");
    assert_origin(seen.all[0].origin, line);
    krait_value_clear(&shape);
    line = __LINE__, krait_object_call(&frame, "__str__", NULL, 0, NULL, &item, &err);
    assert_good(err);
    assert_int_equal(look(), 2);
    assert_non_null(strstr(seen.all[0].function, ":DataFrame.__str__"));
    assert_origin(seen.all[0].origin, line);
    krait_value_clear(&item);
    krait_value_clear(&frame);
    call("leaking:words", NULL, 0, &generator, &err);
    line = __LINE__, krait_next(&generator, &item, &err);
    assert_good(err);
    assert_int_equal(look(), 2);
    assert_string_equal(seen.all[0].function, "krait_next");
    assert_string_equal(seen.all[0].argument, "text of 5 bytes");
    assert_origin(seen.all[0].origin, line);
    krait_value_clear(&item);
    krait_value_clear(&generator);
    assert_int_equal(look(), 0);
}

/* Numbers hold nothing; items belong to their list; a dropped result and a failed call leave nothing. */
static void what_is_no_leak(void **state) {
    krait_error *err = NULL;
    krait_value  out, copy;
    const krait_value *item;
    (void)state;
    call("leaking:number", NULL, 0, &out, &err);
    call("leaking:none", NULL, 0, &out, &err);
    call("leaking:listed", NULL, 0, NULL, &err);
    assert_good(err);
    assert_int_equal(look(), 0);
    call1("leaking:fail", krait_vector_f64(data, LENGTH), 0, &out, &err);
    assert_error(err, KRAIT_E_PYTHON, "no");
    assert_int_equal(look(), 0);
    call("leaking:listed", NULL, 0, &out, &err);
    krait_list_at(&out, 0, &item, &err);
    krait_value_copy(item, &copy, &err);
    assert_good(err);
    assert_int_equal(look(), 1);
    krait_value_clear(&out);
    assert_int_equal(look(), 0);
    krait_value_clear(&copy);
}

/* A result may be handed on, for the call or for good: then Python releases it. */
static void results_that_are_handed_on(void **state) {
    krait_error *err = NULL;
    krait_value  first, second;
    double       length;
    (void)state;
    call("leaking:array", NULL, 0, &first, &err);
    call1("leaking:same", krait_borrow(&first), 0, &second, &err);
    assert_good(err);
    assert_int_equal(look(), 2);
    krait_value_clear(&first);
    assert_int_equal(look(), 1);
    call1("leaking:length", krait_owned(krait_vector_f64(second.as.array.data, 6), second.release, second.owner), 0, &first,
          &err);
    krait_get_f64(&first, &length, &err);
    assert_good(err);
    assert_int_equal(look(), 0);
}

static atomic_int errors_logged;

static void count_errors(void *user, int level, const char *line) {
    (void)user;
    if (level == KRAIT_LOG_ERROR && strstr(line, "released twice")) atomic_fetch_add(&errors_logged, 1);
}

static void a_copy_that_is_cleared_too(void **state) {
    krait_error *err = NULL;
    krait_value  out, other;
    (void)state;
    call("leaking:text", NULL, 0, &out, &err);
    assert_good(err);
    other = out;
    krait_value_clear(&out);
    krait_value_clear(&other);
    assert_int_equal(atomic_load(&errors_logged), 1);
    assert_int_equal(look(), 0);
}

/* ---- arguments and views ----------------------------------------------------------------------------------------- */

static double *given, *copied;

static void *call_and_wait(void *user) {
    krait_error *err = NULL;
    krait_func  *wait = krait_func_new("leaking:wait", &err);
    krait_value  out;
    krait_arg    args[] = { krait_pos(krait_i64(LENGTH)), krait_kw("data", krait_vector_f64(data, LENGTH)),
                            krait_kw("given", krait_owned(krait_vector_f64(given, LENGTH), free, given)),
                            krait_with(krait_kw("copied", krait_vector_f64(copied, LENGTH)), KRAIT_COPY) };
    *(int *)user = __LINE__, krait_call(wait, args, COUNT(args), NULL, &out, &err);
    krait_func_unref(wait);
    return err;
}

/* Of another thread's call, while it runs: what it borrows, not what it gave away or had copied. */
static void arguments_of_a_call_that_runs(void **state) {
    krait_error *err = NULL;
    void        *failed = NULL;
    pthread_t    thread;
    int          line = 0;
    (void)state;
    given = calloc(LENGTH, sizeof *given);
    copied = calloc(LENGTH, sizeof *copied);
    assert_int_equal(pthread_create(&thread, NULL, call_and_wait, &line), 0);
    call("leaking:has_entered", NULL, 0, NULL, &err);
    look();
    call("leaking:let_go", NULL, 0, NULL, &err);
    pthread_join(thread, &failed);
    free(copied);
    assert_good(err);
    assert_null(failed);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.all[0].kind, KRAIT_LOAN_ARGUMENT);
    assert_ptr_equal(seen.all[0].data, data);
    assert_int_equal(seen.all[0].bytes, sizeof data);
    assert_string_equal(seen.all[0].function, "leaking:wait");
    assert_string_equal(seen.all[0].argument, "argument 2 'data'");
    assert_origin(seen.all[0].origin, line);
    assert_int_equal(look(), 0);
}

static void an_escape_names_its_line(void **state) {
    krait_error *err = NULL;
    krait_func  *keep = krait_func_new("leaking:keep", &err);
    krait_arg    args[] = { krait_pos(krait_vector_f64(data, LENGTH)) };
    int          line;
    (void)state;
    line = __LINE__, krait_call(keep, args, 1, NULL, NULL, &err);
    krait_func_unref(keep);
    assert_error(err, KRAIT_E_ESCAPED, "argument 1");
    assert_int_equal(look(), 1);
    assert_int_equal(seen.all[0].kind, KRAIT_LOAN_VIEW);
    assert_ptr_equal(seen.all[0].data, data);
    assert_string_equal(seen.all[0].argument, "argument 1");
    assert_origin(seen.all[0].origin, line);
    call("leaking:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_int_equal(look(), 0);
}

/* An alias is both: a result that is not cleared, and memory that Python refers to. */
static void an_alias_is_listed_twice(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("leaking:same", krait_vector_f64(data, LENGTH), KRAIT_ALIAS, &out, &err);
    assert_good(err);
    assert_int_equal(look(), 2);
    assert_int_equal(seen.all[0].kind, KRAIT_LOAN_RESULT);
    assert_int_equal(seen.all[1].kind, KRAIT_LOAN_VIEW);
    assert_ptr_equal(seen.all[0].data, data);
    assert_ptr_equal(seen.all[1].data, data);
    assert_string_equal(seen.all[1].origin, seen.all[0].origin);
    krait_value_clear(&out);
    for (int ms = 0; ms < PATIENCE_MS && look(); ms++) wait_ms(1);
    assert_int_equal(look(), 0);
}

/* ---- clean programs ---------------------------------------------------------------------------------------------- */

static void *work_cleanly(void *user) {
    krait_error *err = NULL;
    krait_func  *same = krait_func_new("leaking:same", &err), *listed = krait_func_new("leaking:listed", &err);
    bool         hold = *(bool *)user;
    if (hold) krait_acquire(&err);
    for (int i = 0; i < 300 && !err; i++) {
        krait_arg   array = krait_pos(krait_vector_f64(data, LENGTH)), number = krait_pos(krait_f64(i));
        krait_value out[3];
        krait_call(same, &array, 1, NULL, &out[0], &err);
        krait_call(same, &number, 1, NULL, &out[1], &err);
        krait_call(listed, NULL, 0, NULL, &out[2], &err);
        for (size_t k = 0; k < COUNT(out); k++) krait_value_clear(&out[k]);
    }
    if (hold) krait_release();
    krait_func_unref(same);
    krait_func_unref(listed);
    return err;
}

static void clean_threads_leave_nothing(void **state) {
    pthread_t threads[4];
    bool      hold[COUNT(threads)] = { true, false, true, false };
    (void)state;
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_cleanly, &hold[i]), 0);
    for (int i = 0; i < 50; i++) krait_loans(see, NULL); /* while others work: whatever it sees, it is whole */
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_good((krait_error *)failed);
    }
    assert_int_equal(look(), 0);
}

#ifdef KRAIT_FAULTS
/* What cannot be noted is not listed, and all else is as ever. */
static void without_memory(void **state) {
    bool reached = true;
    (void)state;
    for (uint64_t n = 1; reached; n++) {
        krait_error *err = NULL;
        krait_value  out;
        krait__mem_fail_at(n);
        call1("leaking:same", krait_vector_f64(data, LENGTH), 0, &out, &err);
        krait_loans(see, NULL);
        reached = krait__mem_count() >= n;
        krait__mem_fail_at(0);
        krait_error_clear(&err);
        krait_value_clear(&out);
        assert_int_equal(look(), 0);
    }
}
#endif

/* ---- told by the doctor and at the end --------------------------------------------------------------------------- */

static void the_doctor_tells(void **state) {
    krait_error *err = NULL;
    krait_value  out[5], report;
    krait_func  *text = krait_func_new("leaking:text", &err);
    const char  *words;
    (void)state;
    for (size_t i = 0; i < COUNT(out); i++) krait_call(text, NULL, 0, NULL, &out[i], &err);
    krait_func_unref(text);
    krait_doctor(KRAIT_REPORT_TEXT, &report, &err);
    krait_get_text(&report, &words, NULL, &err);
    assert_good(err);
    if (!strstr(words, "text of 6 bytes, the result of leaking:text, called at test_leaks+0x") ||
        !strstr(words, "; 4 more like it"))
        fail_msg("the report does not tell: %s", words);
    if (strstr(words, "krait._doctor:survey")) fail_msg("the doctor tells of itself: %s", words);
    krait_value_clear(&report);
    for (size_t i = 0; i < COUNT(out); i++) krait_value_clear(&out[i]);
    assert_int_equal(look(), 0);
}

static void print_line(void *user, int level, const char *line) {
    (void)user;
    printf("%d %s\n", level, line);
}

/* Leaves n results and ends in order; prints what is logged. */
static int end_with_leaks(int n) {
    static krait_value lost[MANY]; /* not to a leak sanitizer */
    krait_options      options = KRAIT_OPTIONS_INIT;
    krait_error       *err = NULL;
    options.log = print_line;
    krait_init(&options, &err);
    for (int i = 0; i < n; i++) call("builtins:str", NULL, 0, &lost[i % MANY], &err);
    krait_shutdown(10000, &err);
    if (err) printf("%s\n", krait_error_message(err));
    return err ? 1 : 0;
}

/* Without the variable: only what Python keeps, and no origin. */
static int without_debugging(void) {
    krait_error *err = NULL;
    krait_value  text, view;
    krait_init(NULL, &err);
    krait_module_from_source("leaking", leaking, &err);
    call("leaking:text", NULL, 0, &text, &err);
    call1("leaking:same", krait_vector_f64(data, LENGTH), KRAIT_ALIAS, &view, &err);
    krait_loans(see, NULL);
    for (size_t i = 0; i < seen.count; i++)
        printf("%u %s of %s \"%s\"\n", seen.all[i].kind, seen.all[i].argument, seen.all[i].function, seen.all[i].origin);
    krait_value_clear(&text);
    krait_value_clear(&view);
    return err ? 1 : 0;
}

static void run_self(const char *variable, const char *argument, char text[4096]) {
    char command[8192];
    snprintf(command, sizeof command, "%s '%s' %s", variable, self, argument);
    if (output_of(command, text, 4096)) fail_msg("%s: %s", command, text);
}

static void shutdown_tells(void **state) {
    char        text[4096];
    const char *like;
    (void)state;
    run_self("KRAIT_DEBUG_LEAKS=1", "3", text);
    like = strstr(text, "30 KRAIT_DEBUG_LEAKS: 3 results were never cleared, 0 views");
    if (like) like = strstr(like, "\n30 KRAIT_DEBUG_LEAKS: text of 0 bytes, the result of builtins:str, called at test_leaks+0x");
    if (!like || !strstr(like, "; 2 more like it\n")) fail_msg("told: %s", text);
    run_self("KRAIT_DEBUG_LEAKS=1", "0", text);
    if (!strstr(text, "20 KRAIT_DEBUG_LEAKS: 0 results were never cleared, 0 views")) fail_msg("told: %s", text);
    run_self("KRAIT_DEBUG_LEAKS=0", "3", text);
    if (strstr(text, "KRAIT_DEBUG_LEAKS")) fail_msg("told: %s", text);
    run_self("env -u KRAIT_DEBUG_LEAKS", "3", text);
    if (strstr(text, "KRAIT_DEBUG_LEAKS")) fail_msg("told: %s", text);
}

static void without_it_only_views_are_listed(void **state) {
    char text[4096];
    (void)state;
    run_self("env -u KRAIT_DEBUG_LEAKS", "without", text);
    assert_string_equal(text, "1 argument 1 of leaking:same \"\"\n");
}

/* ---- program ----------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
    krait_options options = KRAIT_OPTIONS_INIT;
    krait_error  *err = NULL;
    (void)state;
    alarm(TIME_LIMIT_S);
    setenv("KRAIT_DEBUG_LEAKS", "1", 1);
    options.log = count_errors;
    krait_init(&options, &err);
    krait_module_from_source("leaking", leaking, &err);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? -1 : 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_listed_until_it_is_cleared),
        cmocka_unit_test(every_kind_of_result),
        cmocka_unit_test(results_of_other_functions),
        cmocka_unit_test(what_is_no_leak),
        cmocka_unit_test(results_that_are_handed_on),
        cmocka_unit_test(a_copy_that_is_cleared_too),
        cmocka_unit_test(arguments_of_a_call_that_runs),
        cmocka_unit_test(an_escape_names_its_line),
        cmocka_unit_test(an_alias_is_listed_twice),
        cmocka_unit_test(clean_threads_leave_nothing),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(without_memory),
#endif
        cmocka_unit_test(the_doctor_tells),
        cmocka_unit_test(shutdown_tells),
        cmocka_unit_test(without_it_only_views_are_listed),
    };
    if (argc > 1) return strcmp(argv[1], "without") ? end_with_leaks(atoi(argv[1])) : without_debugging();
    if (!realpath("/proc/self/exe", self)) return EXIT_FAILURE;
    return cmocka_run_group_tests(tests, set_up, NULL);
}
