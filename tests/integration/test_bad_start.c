/* Bad input to starting up: no Python, one that is gone, too old or without libpython, a wrong environment, numpy
 * missing or broken, a static program. Each is tried in a process of its own: this program started again with
 * KRAIT_TEST_CASE set, which prints what it got. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- in the child ------------------------------------------------------------------------------------------------ */

/* One line: what a step came to. */
static void tell(const char *what, krait_error **err) {
    printf("%s: %s: %s\n", what, krait_status_name(krait_error_status(*err)), krait_error_message(*err));
    krait_error_clear(err);
}

static void call_len(void) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      n;
    call1("builtins:len", krait_str("four"), 0, &out, &err);
    krait_get_i64(&out, &n, &err);
    if (!err && n != 4) puts("len is wrong");
    tell("call", &err);
}

/* krait_init with the environment as it is, a call, and what KRAIT_TEST_THEN names afterwards. */
static void case_init(void) {
    krait_options options = KRAIT_OPTIONS_INIT;
    krait_error  *err = NULL;
    krait_init(NULL, &err);
    tell("init", &err);
    call_len();
    options.python = getenv("KRAIT_TEST_THEN");
    if (!options.python) return;
    krait_init(*options.python ? &options : NULL, &err);
    tell("again", &err);
    call_len();
}

/* Numbers need no numpy, arrays do; not to have it is told at each. */
static void case_numpy(void) {
    static const double data[] = { 1, 2, 3 };
    krait_error        *err = NULL;
    krait_init(NULL, &err);
    tell("init", &err);
    call_len();
    for (int i = 0; i < 2; i++) {
        call1("builtins:sum", krait_vector_f64(data, 3), 0, NULL, &err);
        tell("array", &err);
    }
    call_len();
    call1("pandas:DataFrame", krait_i64(1), 0, NULL, &err);
    tell("pandas", &err);
}

static void case_facts(void) {
    krait_error *err = NULL;
    krait_value  out;
    krait_init(NULL, &err);
    krait_module_from_source("facts",
                             "import sys, os\n"
                             "def get():\n"
                             "    exe = os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable)\n"
                             "    return f'{exe}\\n{sys.version_info.minor}\\n'\n",
                             &err);
    call("facts:get", NULL, 0, &out, &err);
    if (err) tell("facts", &err);
    else fputs(out.as.bytes.data, stdout);
    krait_value_clear(&out);
}

static atomic_int released;

static void count_release(void *user) {
    (void)user;
    atomic_fetch_add(&released, 1);
}

/* Everything that needs Python says so, what does not works, and what was given is released. */
static void case_before_init(void) {
    static const double data[] = { 1, 2, 3 };
    krait_error        *err = NULL;
    krait_func         *func = krait_func_new("builtins:len", &err);
    krait_value         copy, value = krait_vector_f64(data, 3);
    krait_arg           args[] = { krait_pos(krait_owned(value, count_release, NULL)) };
    tell("func_new", &err);
    krait_call(func, args, 1, NULL, NULL, &err);
    tell("call", &err);
    printf("released: %d\n", atomic_load(&released));
    krait_func_check(func, NULL, &err);
    tell("check", &err);
    krait_acquire(&err);
    tell("acquire", &err);
    krait_add_path("/tmp", 0, &err);
    tell("add_path", &err);
    krait_module_from_source("early", "x = 1\n", &err);
    tell("module_from_source", &err);
    krait_gc(&err);
    tell("gc", &err);
    krait_wait_ready(0, &err);
    tell("wait_ready", &err);
    krait_shutdown(0, &err);
    tell("shutdown", &err);
    krait_release();
    krait_value_copy(&value, &copy, &err);
    tell("value_copy", &err);
    krait_value_clear(&copy);
    printf("loans: %zu, calls: %" PRIu64 "\n", krait_loans(NULL, NULL), counters().calls);
    krait_func_unref(func);
    krait_init(NULL, &err);
    tell("init", &err);
    call_len();
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    { "init", case_init }, { "numpy", case_numpy }, { "facts", case_facts }, { "before_init", case_before_init }
};

static int run_case(const char *name) {
    alarm(TIME_LIMIT_S);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < COUNT(cases); i++)
        if (!strcmp(cases[i].name, name)) cases[i].run();
    puts("end");
    return 0;
}

/* ---- starting a child -------------------------------------------------------------------------------------------- */

extern char **environ;

static char own_path[1024]; /* this program */
static char root[FOLDER_SIZE]; /* a folder of this test's own, removed after it */
static char python[512], version[16]; /* the executable under test, not a venv's; its minor version */
static char output[64 * 1024];

/* The environment as it is, with "NAME=value" set and "NAME" alone removed; ends with NULL. */
static char **environment_with(const char *const *changes) {
    size_t count = 0, n = 0, extra = 0;
    char **made;
    while (environ[count]) count++;
    while (changes[extra]) extra++;
    made = calloc(count + extra + 1, sizeof *made);
    for (size_t i = 0; made && i < count; i++) {
        size_t length = strcspn(environ[i], "=");
        bool   changed = false;
        for (const char *const *c = changes; *c; c++)
            changed |= !strncmp(*c, environ[i], length) && (!(*c)[length] || (*c)[length] == '=');
        if (!changed) made[n++] = environ[i];
    }
    for (const char *const *c = changes; made && *c; c++)
        if (strchr(*c, '=')) made[n++] = (char *)(uintptr_t)*c;
    return made;
}

static void read_all(int fd) {
    size_t  used = 0;
    ssize_t got;
    while (used < sizeof output - 1 && (got = read(fd, output + used, sizeof output - 1 - used)) != 0) {
        if (got < 0 && errno != EINTR) break;
        if (got > 0) used += (size_t)got;
    }
    output[used] = 0;
}

/* Runs a program, its stdout into `output`; returns its wait status. */
static int run(char *const *argv, const char *const *changes) {
    posix_spawn_file_actions_t actions;
    char                     **environment = environment_with(changes);
    int                        ends[2], status = -1;
    pid_t                      child;
    assert_non_null(environment);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    assert_int_equal(posix_spawn(&child, argv[0], &actions, NULL, argv, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    read_all(ends[0]);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    free(environment);
    return status;
}

/* The child of that case; it must end by itself, whatever it was given. */
static void run_child(const char *name, const char *const *changes) {
    const char *all[16] = { NULL };
    char        which[64];
    char       *argv[] = { own_path, NULL };
    size_t      n = 0;
    snprintf(which, sizeof which, "KRAIT_TEST_CASE=%s", name);
    all[n++] = which;
    while (*changes && n < COUNT(all) - 1) all[n++] = *changes++;
    int status = run(argv, all);
    if (!WIFEXITED(status) || WEXITSTATUS(status) || !strstr(output, "end\n"))
        fail_msg("case %s ended with 0x%x: %s", name, status, output);
}

/* Fails unless the child told `what: status: ...words...` on one line. */
static void told(const char *what, const char *status, const char *words) {
    char        start[128];
    const char *line = output;
    size_t      length = (size_t)snprintf(start, sizeof start, "%s: %s: ", what, status);
    for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *found = strstr(line, words), *end = strchr(line, '\n');
        if (!strncmp(line, start, length) && found && (!end || found < end)) return;
    }
    fail_msg("expected \"%s...%s...\" in:\n%s", start, words, output);
}

/* ---- made-up installations --------------------------------------------------------------------------------------- */

static const char *at(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
static const char *at(const char *format, ...) {
    static char paths[8][1024];
    static int  next;
    char       *path = paths[next++ % 8];
    int         length = snprintf(path, sizeof paths[0], "%s/", root);
    va_list     args;
    va_start(args, format);
    vsnprintf(path + length, sizeof paths[0] - (size_t)length, format, args);
    va_end(args);
    return path;
}

/* The folders above a path, and the file itself with that text; NULL: an empty folder. */
static void put(const char *path, const char *text) {
    char  copy[1024];
    FILE *out;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(copy, 0700);
        *slash = '/';
    }
    if (!text) {
        mkdir(copy, 0700);
        return;
    }
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

/* A venv of the Python under test with no packages; `home` and `target` as given. */
static void make_venv(const char *name, const char *home, const char *target) {
    char text[1024];
    snprintf(text, sizeof text, "home = %s\ninclude-system-site-packages = false\nversion = 3.%s\n", home, version);
    put(at("%s/pyvenv.cfg", name), text);
    put(at("%s/lib/python3.%s/site-packages", name, version), NULL);
    put(at("%s/bin", name), NULL);
    if (target) assert_int_equal(symlink(target, at("%s/bin/python", name)), 0);
}

static const char *folder_of(const char *path) {
    static char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    return folder;
}

static const char *setting(const char *name, const char *value) {
    static char texts[8][1200];
    static int  next;
    char       *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%s=%s", name, value);
    return text;
}

/* ---- the tests: no Python to be found ---------------------------------------------------------------------------- */

/* krait_init fails as told; calls too; and afterwards a good choice still works, since nothing was started. */
static void start_fails(const char *const *changes, const char *status, const char *words) {
    const char *all[12];
    size_t      n = 0;
    while (*changes) all[n++] = *changes++;
    all[n++] = setting("KRAIT_TEST_THEN", python);
    all[n] = NULL;
    run_child("init", all);
    told("init", status, words);
    told("call", "KRAIT_E_NOT_READY", "call krait_init first");
    told("again", "KRAIT_OK", "");
    told("call", "KRAIT_OK", "");
}

static void no_python_at_all(void **state) {
    const char *changes[] = { "KRAIT_PYTHON", "VIRTUAL_ENV", setting("PATH", at("empty")), NULL };
    (void)state;
    put(at("empty"), NULL);
    start_fails(changes, "KRAIT_E_NO_PYTHON", "there is no python3 on PATH");
}

static void choices_that_are_not_there(void **state) {
    const char *missing[] = { "KRAIT_PYTHON=/no/such/python3", NULL };
    const char *venv[] = { "KRAIT_PYTHON", setting("VIRTUAL_ENV", at("deleted")), NULL };
    const char *text[] = { setting("KRAIT_PYTHON", at("notes.txt")), NULL };
    const char *folder[] = { setting("KRAIT_PYTHON", at("nothing")), NULL };
    (void)state;
    put(at("notes.txt"), "not a program\n");
    put(at("nothing"), NULL);
    start_fails(missing, "KRAIT_E_NO_PYTHON", "KRAIT_PYTHON is /no/such/python3");
    start_fails(venv, "KRAIT_E_NO_PYTHON", "VIRTUAL_ENV is ");
    start_fails(text, "KRAIT_E_NO_PYTHON", "notes.txt");
    start_fails(folder, "KRAIT_E_NO_PYTHON", "nothing");
}

static void venvs_half_deleted(void **state) {
    const char *no_program[] = { setting("KRAIT_PYTHON", at("half1")), NULL };
    const char *dangling[] = { setting("KRAIT_PYTHON", at("half2")), NULL };
    const char *no_home[] = { setting("KRAIT_PYTHON", at("half3")), NULL };
    (void)state;
    make_venv("half1", folder_of(python), NULL);
    make_venv("half2", folder_of(python), "/no/such/place/python3");
    make_venv("half3", "/no/such/home/bin", "/no/such/home/bin/python3");
    start_fails(no_program, "KRAIT_E_NO_PYTHON", "half1");
    start_fails(dangling, "KRAIT_E_NO_PYTHON", "half2");
    start_fails(no_home, "KRAIT_E_NO_PYTHON", "half3");
}

/* A prefix with a library of its own, of which only the names are right. */
static void make_prefix(const char *name, const char *minor) {
    char *argv[] = { (char[]){ "/bin/cp" }, python, (char *)(uintptr_t)at("%s/bin/python3.%s", name, minor), NULL };
    put(at("%s/bin", name), NULL);
    put(at("%s/lib/python3.%s/os.py", name, minor), "\n");
    put(at("%s/lib/python3.%s/encodings/__init__.py", name, minor), "\n");
    assert_int_equal(run(argv, (const char *const[]){ NULL }), 0);
}

static void pythons_that_cannot_be_used(void **state) {
    const char *old[] = { setting("KRAIT_PYTHON", at("old/bin/python3.8")), NULL };
    const char *bare[] = { setting("KRAIT_PYTHON", at("bare/bin/python3.97")), NULL };
    (void)state;
    make_prefix("old", "8");
    make_prefix("bare", "97"); /* a version whose libpython is nowhere on this machine */
    start_fails(old, "KRAIT_E_PYTHON_VERSION", "3.11 or newer");
    start_fails(bare, "KRAIT_E_NO_LIBPYTHON", "libpython3.97");
}

/* ---- Python is there but does not start -------------------------------------------------------------------------- */

static void a_wrong_pythonhome(void **state) {
    const char *changes[] = { "PYTHONHOME=/no/such/home", "KRAIT_TEST_THEN=", NULL };
    (void)state;
    run_child("init", changes);
    if (strstr(output, "init: KRAIT_OK")) fail_msg("PYTHONHOME was not looked at: %s", output);
    assert_non_null(strstr(output, "PYTHONHOME"));
    told("call", "KRAIT_E_NOT_READY", "call krait_init first");
}

/* CPython cannot be started a second time, so the first reason is told again, and that it is final. */
static void a_start_that_fails_is_final(void **state) {
    const char *hash[] = { "PYTHONHASHSEED=abc", "KRAIT_TEST_THEN=", NULL };
    const char *site[] = { setting("PYTHONPATH", at("leaves")), "KRAIT_TEST_THEN=", NULL };
    (void)state;
    run_child("init", hash);
    told("init", "KRAIT_E_INIT", "PYTHONHASHSEED");
    told("init", "KRAIT_E_INIT", "CPython cannot be tried again in this process");
    told("again", "KRAIT_E_INIT", "PYTHONHASHSEED");
    told("call", "KRAIT_E_NOT_READY", "");
    put(at("leaves/sitecustomize.py"), "raise SystemExit(3)\n");
    run_child("init", site);
    told("init", "KRAIT_E_INIT", "site");
    told("again", "KRAIT_E_INIT", "");
}

/* ---- numpy ------------------------------------------------------------------------------------------------------- */

static void numpy_fails(const char *const *changes, const char *words) {
    run_child("numpy", changes);
    told("init", "KRAIT_OK", "");
    told("array", "KRAIT_E_NO_NUMPY", words);
    told("call", "KRAIT_OK", "");
    if (strstr(output, "array: KRAIT_OK") || strstr(output, "call: KRAIT_E"))
        fail_msg("not each time the same: %s", output);
}

static void numpy_missing(void **state) {
    const char *changes[] = { setting("KRAIT_PYTHON", at("empty_venv")), "VIRTUAL_ENV", "PYTHONPATH", NULL };
    (void)state;
    make_venv("empty_venv", folder_of(python), python);
    numpy_fails(changes, "No module named 'numpy'");
    told("pandas", "KRAIT_E_IMPORT", "No module named 'pandas'");
}

static void numpy_broken(void **state) {
    const char *raising[] = { setting("PYTHONPATH", at("raising")), NULL };
    const char *shadow[] = { setting("PYTHONPATH", at("shadow")), NULL };
    const char *leaving[] = { setting("PYTHONPATH", at("leaving")), NULL };
    (void)state;
    put(at("raising/numpy/__init__.py"), "raise RuntimeError('numpy is broken here')\n");
    put(at("shadow/numpy.py"), "def zeros(n): return [0] * n\n");
    put(at("leaving/numpy/__init__.py"), "import sys\nsys.exit('numpy leaves')\n");
    numpy_fails(raising, "numpy is broken here");
    numpy_fails(shadow, "numpy");
    run_child("numpy", leaving);
    told("array", "KRAIT_E_EXIT", "numpy leaves");
    told("call", "KRAIT_OK", "");
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void before_init(void **state) {
    static const char *const refused[] = { "call", "check",      "acquire", "add_path", "module_from_source",
                                           "gc",   "wait_ready", "shutdown" };
    const char              *changes[] = { NULL };
    (void)state;
    run_child("before_init", changes);
    told("func_new", "KRAIT_OK", "");
    for (size_t i = 0; i < COUNT(refused); i++) told(refused[i], "KRAIT_E_NOT_READY", "call krait_init first");
    assert_non_null(strstr(output, "released: 1\n"));
    assert_non_null(strstr(output, "loans: 0, calls: 0\n"));
    told("value_copy", "KRAIT_OK", "");
    told("init", "KRAIT_OK", "");
    told("call", "KRAIT_OK", "");
}

/* Compiled here from the sources beside this file, without the Python ones: it must not get that far. */
static void a_fully_static_program(void **state) {
    static const char source[] =
        "#include <stdio.h>\n#include <krait.h>\n#include \"bridge.h\"\n"
        "const krait__source krait__sources[] = { { NULL, NULL, 0 } };\n"
        "int main(void) {\n"
        "    krait_error *err = NULL;\n"
        "    krait_init(NULL, &err);\n"
        "    printf(\"init: %s: %s\\n\", krait_status_name(krait_error_status(err)), krait_error_message(err));\n"
        "    krait_error_clear(&err);\n"
        "    return 0;\n"
        "}\n";
    char  command[4096], tree[512] = __FILE__;
    char *compile[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, command, NULL };
    char *program[] = { (char *)(uintptr_t)at("static"), NULL };
    (void)state;
    for (int i = 0; i < 3; i++) /* up from tests/integration/... */
        if (strrchr(tree, '/')) *strrchr(tree, '/') = 0;
        else snprintf(tree, sizeof tree, ".");
    snprintf(command, sizeof command, "test -f %s/lib/mem.c && command -v ${CC:-cc} >/dev/null", tree);
    if (system(command)) {
        print_message("no sources or no compiler here: run beside the tree, this test is made\n");
        skip();
    }
    put(at("static.c"), source);
    snprintf(
        command, sizeof command,
        "${CC:-cc} -std=c11 -D_GNU_SOURCE -w -static -O0 -I%s/include -I%s/lib %s %s/lib/*.c -o %s -lm -pthread 2>&1",
        tree, tree, at("static.c"), tree, program[0]);
    if (run(compile, (const char *const[]){ NULL })) fail_msg("it does not compile: %s", output);
    assert_int_equal(run(program, (const char *const[]){ NULL }), 0);
    told("init", "KRAIT_E_STATIC", "-static");
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int set_up(void **state) {
    char   *newline;
    ssize_t length = readlink("/proc/self/exe", own_path, sizeof own_path - 1);
    (void)state;
    alarm(TIME_LIMIT_S);
    if (length <= 0 || !make_folder(root)) return -1;
    run_child("facts", (const char *const[]){ NULL });
    newline = strchr(output, '\n');
    if (!newline || output[0] != '/') fail_msg("%s", output);
    snprintf(python, sizeof python, "%.*s", (int)(newline - output), output);
    snprintf(version, sizeof version, "%.*s", (int)strcspn(newline + 1, "\n"), newline + 1);
    return 0;
}

static int tear_down(void **state) {
    char *argv[] = { (char[]){ "/bin/rm" }, (char[]){ "-rf" }, root, NULL };
    (void)state;
    return run(argv, (const char *const[]){ NULL });
}

int main(void) {
    const char             *name = getenv("KRAIT_TEST_CASE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_python_at_all),
        cmocka_unit_test(choices_that_are_not_there),
        cmocka_unit_test(venvs_half_deleted),
        cmocka_unit_test(pythons_that_cannot_be_used),
        cmocka_unit_test(a_wrong_pythonhome),
        cmocka_unit_test(a_start_that_fails_is_final),
        cmocka_unit_test(numpy_missing),
        cmocka_unit_test(numpy_broken),
        cmocka_unit_test(before_init),
        cmocka_unit_test(a_fully_static_program),
    };
    return name ? run_case(name) : cmocka_run_group_tests(tests, set_up, tear_down);
}
