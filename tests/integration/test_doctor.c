/* The doctor: krait_doctor in this process (healthy, with the GIL held, on a small stack, with a wrong answer, after
 * fork and after shutdown), and the krait command in processes of its own, each on a machine made up in a folder: venvs
 * deleted, half deleted and bare, numpy and pandas missing and broken, a Python too old, no Python at all. Each report
 * is read by Python's own json.
 *
 * KRAIT_TEST_CLI names the command; default: krait in $BUILD, else in build/. Build with -DKRAIT_FAULTS to fail every
 * allocation in turn. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

enum {
    TIME_LIMIT_S = 280,
    CHILD_MS = 60 * 1000, /* for one run of the command; it takes 0.1 to 1 s on a quiet machine */
    TEXTS = 128
};

static char root[PATH_MAX];       /* the folder all is made up in; removed at the end */
static char command[PATH_MAX];    /* the krait command */
static char executable[PATH_MAX]; /* the Python that this process runs, and tests may rely on */
static char base_python[PATH_MAX];
static int  minor;

/* ---- making things up -------------------------------------------------------------------------------------------- */

/* A path below root, or any other text; one of the last TEXTS asked for. */
static const char *text(const char *format, ...) KRAIT_PRINTF(1, 2);
static const char *text(const char *format, ...) {
    static char texts[TEXTS][2 * PATH_MAX];
    static int  next;
    char       *out = texts[next++ % TEXTS];
    va_list     args;
    va_start(args, format);
    vsnprintf(out, sizeof texts[0], format, args);
    va_end(args);
    return out;
}

#define AT(...) text("%s/%s", root, text(__VA_ARGS__))

static void make_folders(const char *path) {
    char copy[2 * PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0755)) assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
}

static void write_file(const char *path, const char *data, size_t size, mode_t mode) {
    int fd;
    make_folders(path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void write_text(const char *path, const char *data) {
    write_file(path, data, strlen(data), 0644);
}

/* Looks like a program in machine code, and is none. */
static void write_program(const char *path) {
    write_file(path, "\x7f" "ELF", 4, 0755);
}

static void make_link(const char *target, const char *path) {
    make_folders(path);
    assert_int_equal(symlink(target, path), 0);
}

static bool is_there(const char *path) {
    struct stat st;
    return !stat(path, &st);
}

/* ---- running the command ----------------------------------------------------------------------------------------- */

extern char **environ;

typedef struct run {
    int  code;           /* exit code; 128 + n: signal n; -1: not ended in time */
    char out[64 * 1024]; /* stdout */
    char err[4096];
} run;

/* What another's Python, numpy and krait are told is not for the machine that a test makes up. */
static bool is_kept(const char *variable) {
    static const char *const dropped[] = { "PYTHON", "KRAIT_", "VIRTUAL_ENV=", "CONDA", "PYENV_VERSION=" };
    for (size_t i = 0; i < COUNT(dropped); i++)
        if (!strncmp(variable, dropped[i], strlen(dropped[i]))) return false;
    return !strstr(variable, "_NUM_THREADS=");
}

/* `sets` ends with NULL. A variable that is set twice counts as it was set first. */
static void make_environment(const char **out, size_t room, const char *const *sets) {
    size_t n = 0;
    for (; *sets; sets++) out[n++] = *sets;
    for (char **variable = environ; *variable && n + 1 < room; variable++)
        if (is_kept(*variable)) out[n++] = *variable;
    out[n] = NULL;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads both pipes until they end or the time is over. */
static void read_both(const int *fds, run *result, int64_t deadline) {
    char  *buffers[2] = { result->out, result->err };
    size_t rooms[2] = { sizeof result->out - 1, sizeof result->err - 1 }, sizes[2] = { 0, 0 };
    bool   open_ones[2] = { true, true };
    while ((open_ones[0] || open_ones[1]) && now_ms() < deadline) {
        struct pollfd ready[2] = { { open_ones[0] ? fds[0] : -1, POLLIN, 0 },
                                   { open_ones[1] ? fds[1] : -1, POLLIN, 0 } };
        if (poll(ready, 2, 100) <= 0) continue;
        for (int i = 0; i < 2; i++) {
            ssize_t n = ready[i].revents ? read(fds[i], buffers[i] + sizes[i], rooms[i] - sizes[i]) : 0;
            if (n > 0) sizes[i] += (size_t)n;
            if (ready[i].revents && n <= 0) open_ones[i] = false;
        }
    }
    buffers[0][sizes[0]] = buffers[1][sizes[1]] = 0;
}

static int reap(pid_t pid, int64_t deadline) {
    int   state = 0;
    pid_t got;
    while ((got = waitpid(pid, &state, WNOHANG)) == 0 && now_ms() < deadline) poll(NULL, 0, 2);
    if (got == pid) return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
    kill(pid, SIGKILL);
    waitpid(pid, &state, 0);
    return -1;
}

/* Runs argv (ends with NULL) with the variables `sets`, stdout to a file when `output` is not NULL. */
static void spawn_to(const char *output, const char *const *argv, const char *const *sets, run *result) {
    posix_spawn_file_actions_t actions;
    const char                *variables[512];
    int                        out[2], err[2];
    int64_t                    deadline = now_ms() + CHILD_MS;
    pid_t                      pid;
    make_environment(variables, COUNT(variables), sets);
    assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    if (output) posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY, 0);
    assert_int_equal(posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
                                  (char *const *)(uintptr_t)variables), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    read_both((int[]){ out[0], err[0] }, result, deadline);
    result->code = reap(pid, deadline);
    close(out[0]);
    close(err[0]);
}

static run result; /* of the last command */

#define RUN(...) ((const char *const[]){ command, __VA_ARGS__, NULL })
#define SET(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define spawn(argv, sets) spawn_to(NULL, argv, sets, &result)

/* ---- reading reports --------------------------------------------------------------------------------------------- */

static krait_value report; /* the last that was read, as Python's json understood it; a copy in C memory */

static void read_json(const char *data, size_t size) {
    krait_error *err = NULL;
    krait_value  map;
    krait_value_clear(&report);
    call1("json:loads", krait_text(data, size), 0, &map, &err);
    krait_value_copy(&map, &report, &err);
    krait_value_clear(&map);
    if (err) fail_msg("no JSON: %s\n%s", krait_error_message(err), data);
    assert_int_equal(report.kind, KRAIT_KIND_MAP);
}

/* "problems.0.cure"; fails the test where there is no such entry. */
static const krait_value *entry(const char *path) {
    const krait_value *value = &report;
    krait_error       *err = NULL;
    char               key[128];
    while (*path) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        if (value->kind == KRAIT_KIND_LIST)
            krait_list_at(value, (size_t)atol(key), &value, &err);
        else
            krait_map_get(value, key, &value, &err);
        assert_good(err);
        path += length + (path[length] == '.');
    }
    return value;
}

static const char *word(const char *path) {
    krait_error *err = NULL;
    const char  *found = NULL;
    krait_get_text(entry(path), &found, NULL, &err);
    if (err) fail_msg("%s: %s", path, krait_error_message(err));
    return found;
}

static int64_t number(const char *path) {
    krait_error *err = NULL;
    int64_t      found = 0;
    krait_get_i64(entry(path), &found, &err);
    assert_good(err);
    return found;
}

static bool flag(const char *path) {
    krait_error *err = NULL;
    bool         found = false;
    krait_get_bool(entry(path), &found, &err);
    assert_good(err);
    return found;
}

static void assert_has(const char *whole, const char *part) {
    if (!strstr(whole, part)) fail_msg("\"%s\" is not in:\n%s", part, whole);
}

/* One of the problems or warnings has `what` and, unless NULL, `cure` in it. */
static void assert_told(const char *list, const char *what, const char *cure) {
    size_t count = krait_list_len(entry(list));
    for (size_t i = 0; i < count; i++) {
        if (!strstr(word(text("%s.%zu.what", list, i)), what)) continue;
        if (cure) assert_has(word(text("%s.%zu.cure", list, i)), cure);
        return;
    }
    fail_msg("none of the %zu %s tells: %s\n%s", count, list, what, result.out);
}

/* Runs `krait doctor --json` with these variables; its exit code must fit what it tells. */
static void diagnose(int code, const char *const *sets) {
    spawn(RUN("doctor", "--json"), sets);
    if (result.code != code) fail_msg("exit code %d, not %d:\n%s%s", result.code, code, result.out, result.err);
    read_json(result.out, strlen(result.out));
    assert_int_equal(flag("ok"), code == 0);
    assert_int_equal(flag("call.works"), code == 0);
    assert_int_equal(krait_list_len(entry("problems")) == 0, code == 0);
    assert_int_equal(entry("error")->kind == KRAIT_KIND_NONE, code == 0);
    assert_string_equal(result.err, "");
}

/* The text form tells the same problem and the same cure. */
static void assert_text_too(const char *const *sets, const char *cure) {
    spawn(RUN("doctor"), sets);
    assert_int_equal(result.code, 1);
    assert_has(result.out, "does not work here: 1 problem");
    assert_has(result.out, "\nproblem: ");
    assert_has(result.out, text("\n  cure: %s", cure));
}

/* krait_doctor in this process, read from JSON. */
static krait_status diagnose_here(void) {
    krait_error *err = NULL;
    krait_value  json;
    krait_status status = krait_doctor(KRAIT_REPORT_JSON, &json, &err);
    const char  *data = NULL;
    size_t       size = 0;
    assert_int_equal(krait_error_status(err), status);
    krait_get_text(&json, &data, &size, NULL);
    assert_non_null(data);
    assert_int_equal(data[size], 0);
    read_json(data, size);
    krait_value_clear(&json);
    assert_string_equal(word("status"), krait_status_name(status));
    assert_int_equal(flag("ok"), status == KRAIT_OK);
    krait_error_clear(&err);
    return status;
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void a_wrong_command_line_is_exit_code_2(void **state) {
    static const char *const lines[][3] = { { NULL },         { "no-such-command", NULL },  { "doctor", "--jsn" },
                                            { "doctor", "x" }, { "version", "x" },          { "help", "doctor" } };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        spawn(((const char *const[]){ command, lines[i][0], lines[i][1], NULL }), SET(NULL));
        assert_int_equal(result.code, 2);
        assert_string_equal(result.out, "");
        assert_has(result.err, "krait help");
    }
}

static void version_and_help(void **state) {
    (void)state;
    spawn(RUN("version"), SET(NULL));
    assert_int_equal(result.code, 0);
    assert_string_equal(result.out, text("krait %s\n", krait_version()));
    spawn(RUN("--help"), SET(NULL));
    assert_int_equal(result.code, 0);
    assert_has(result.out, "krait doctor");
    assert_null(strstr(result.out, "pipe"));
}

static void a_report_that_cannot_be_written_is_no_success(void **state) {
    (void)state;
    spawn_to("/dev/full", RUN("doctor"), SET(text("KRAIT_PYTHON=%s", executable)), &result);
    assert_int_equal(result.code, 1);
    assert_has(result.err, "stdout: ");
}

/* ---- a good machine ---------------------------------------------------------------------------------------------- */

static void a_good_machine_is_exit_code_0(void **state) {
    krait_value  version;
    krait_error *err = NULL;
    const char  *own = "";
    (void)state;
    diagnose(0, SET(text("KRAIT_PYTHON=%s", executable), "NO_SUCH_NUM_THREADS=7"));
    assert_string_equal(word("python.chosen_by"), "KRAIT_PYTHON");
    assert_string_equal(word("python.given"), executable);
    assert_string_equal(word("python.state"), "started by krait");
    assert_string_equal(word("environment.KRAIT_PYTHON"), executable);
    assert_string_equal(word("environment.NO_SUCH_NUM_THREADS"), "7");
    assert_true(is_there(word("python.libpython")));
    assert_has(word("python.looked_at.0"), executable);
    call("platform:python_version", NULL, 0, &version, &err);
    krait_get_text(&version, &own, NULL, &err);
    assert_good(err);
    assert_string_equal(word("python.version"), own);
    krait_value_clear(&version);
    spawn(RUN("doctor"), SET(text("KRAIT_PYTHON=%s", executable)));
    assert_int_equal(result.code, 0);
    assert_has(result.out, text("krait %s works here", krait_version()));
    assert_has(result.out, "\n  chosen by         KRAIT_PYTHON\n");
}

/* ---- no Python that could be used -------------------------------------------------------------------------------- */

static void a_deleted_venv(void **state) {
    const char *sets[] = { text("KRAIT_PYTHON=%s", AT("gone")), NULL };
    (void)state;
    diagnose(1, sets);
    assert_told("problems", "cannot be opened: No such file", text("python3 -m venv %s", AT("gone")));
    assert_string_equal(word("status"), "KRAIT_E_NO_PYTHON");
    assert_string_equal(word("python.state"), "not started");
    assert_has(word("python.looked_at.0"), AT("gone"));
    assert_text_too(sets, "right would be ");
    diagnose(1, SET(text("KRAIT_PYTHON=%s", AT("gone/bin/python3"))));
    assert_told("problems", "gone/bin/python3", text("python3 -m venv %s", AT("gone")));
    diagnose(1, SET(text("VIRTUAL_ENV=%s", AT("gone"))));
    assert_told("problems", "VIRTUAL_ENV is ", text("python3 -m venv %s", AT("gone")));
}

static void a_half_deleted_venv(void **state) {
    const char *sets[] = { text("KRAIT_PYTHON=%s", AT("half")), NULL };
    (void)state;
    make_link(base_python, AT("half/bin/python"));
    write_text(AT("half/bin/activate"), "");
    write_text(AT("half/bin/activate.fish"), "");
    diagnose(1, sets);
    assert_told("problems", "half deleted", text("python3 -m venv --clear %s", AT("half")));
    assert_text_too(sets, "make the venv anew: python3 -m venv --clear ");
    write_text(AT("half2/pyvenv.cfg"), text("home = %s\n", AT("nothing/bin")));
    make_link(AT("nothing/bin/python3"), AT("half2/bin/python"));
    diagnose(1, SET(text("KRAIT_PYTHON=%s", AT("half2"))));
    assert_told("problems", "which is gone", text("python3 -m venv --clear %s", AT("half2")));
}

static void a_python_too_old(void **state) {
    (void)state;
    write_program(AT("old/bin/python3.9"));
    write_text(AT("old/lib/python3.9/os.py"), "");
    diagnose(1, SET(text("KRAIT_PYTHON=%s", AT("old/bin/python3.9"))));
    assert_string_equal(word("status"), "KRAIT_E_PYTHON_VERSION");
    assert_told("problems", "this is Python 3.9", "install a newer one");
}

static void no_python_on_path(void **state) {
    const char *sets[] = { text("PATH=%s", AT("nothing")), NULL };
    (void)state;
    diagnose(1, sets);
    assert_told("problems", "no python3 on PATH", "install Python 3.");
    assert_text_too(sets, "install Python 3.");
}

/* Who installed it says how its shared library is brought. */
static void no_libpython(void **state) {
    static const struct {
        const char *base, *mark, *cure;
    } layouts[] = {
        { "debian/usr", "debian/var/lib/dpkg/status", "apt-get install libpython3.12" },
        { ".pyenv/versions/3.12.9", ".pyenv/shims/python3",
          "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.12.9" },
        { "miniconda", "miniconda/conda-meta/history", "conda install --prefix " },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(layouts); i++) {
        write_program(AT("%s/bin/python3.12", layouts[i].base));
        write_text(AT("%s/lib/python3.12/os.py", layouts[i].base), "");
        write_text(AT("%s", layouts[i].mark), "");
        diagnose(1, SET(text("KRAIT_PYTHON=%s/bin/python3.12", AT("%s", layouts[i].base))));
        assert_string_equal(word("status"), "KRAIT_E_NO_LIBPYTHON");
        assert_told("problems", "has no shared library", layouts[i].cure);
    }
}

/* ---- a Python that cannot start ---------------------------------------------------------------------------------- */

static void a_wrong_pythonhome(void **state) {
    (void)state;
    diagnose(1, SET(text("KRAIT_PYTHON=%s", executable), text("PYTHONHOME=%s", AT("nothing"))));
    assert_told("problems", "PYTHONHOME is ", "unset PYTHONHOME");
    assert_string_equal(word("python.executable"), executable);
    assert_string_equal(word("environment.PYTHONHOME"), AT("nothing"));
}

static void a_variable_that_python_refuses(void **state) {
    (void)state;
    diagnose(1, SET(text("KRAIT_PYTHON=%s", executable), "PYTHONHASHSEED=abc"));
    assert_string_equal(word("status"), "KRAIT_E_INIT");
    assert_told("problems", "PYTHONHASHSEED", "unset PYTHONHASHSEED");
}

static void a_small_main_stack(void **state) {
    static const char source[] = "ulimit -s 512; exec \"$0\" doctor --json";
    (void)state;
    spawn(((const char *const[]){ "/bin/sh", "-c", source, command, NULL }), SET(text("KRAIT_PYTHON=%s", executable)));
    assert_int_equal(result.code, 1);
    read_json(result.out, strlen(result.out));
    assert_told("problems", "stack has 512 KiB", "ulimit -s 8192");
    assert_int_equal(number("stack.rlimit_kib"), 512);
}

/* ---- packages missing and broken --------------------------------------------------------------------------------- */

/* A venv of the same Python, without pip. A libpython that was unpacked into the own venv goes along. */
static void make_venv(const char *name) {
    const char *argv[] = { base_python, "-m", "venv", "--without-pip", AT("%s", name), NULL };
    const char *libpython = text("%s", word("python.libpython")), *below = strstr(libpython, "/libpython/");
    spawn(argv, SET(NULL));
    if (result.code) fail_msg("%s -m venv: %s%s", base_python, result.out, result.err);
    if (below) make_link(text("%.*s/libpython", (int)(below - libpython), libpython), AT("%s/libpython", name));
}

static const char *site(const char *venv, const char *below) {
    return AT("%s/lib/python3.%d/site-packages/%s", venv, minor, below);
}

/* Gives the venv the numpy of this process, and nothing else. */
static void link_numpy(const char *venv) {
    const char *numpy = text("%s", word("packages.numpy.path")), *libs = text("%s.libs", numpy);
    make_link(numpy, site(venv, "numpy"));
    if (is_there(libs)) make_link(libs, site(venv, "numpy.libs"));
}

static void a_venv_without_numpy(void **state) {
    const char *sets[] = { text("KRAIT_PYTHON=%s", AT("bare")), NULL };
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_OK);
    make_venv("bare");
    diagnose(1, sets);
    assert_told("problems", "No module named 'numpy'", text("%s -m pip install numpy pandas", AT("bare/bin/python")));
    assert_has(word("problems.0.cure"), text("%s -m ensurepip && ", AT("bare/bin/python")));
    assert_string_equal(word("error.python_type"), "ModuleNotFoundError");
    assert_int_equal(entry("packages.numpy")->kind, KRAIT_KIND_NONE);
    assert_string_equal(word("python.prefix"), AT("bare"));
    spawn(RUN("doctor"), sets);
    assert_has(result.out, "\nerror\nTraceback ");
}

static void pandas_missing_then_broken(void **state) {
    const char *sets[] = { text("KRAIT_PYTHON=%s", AT("lean")), NULL };
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_OK);
    make_venv("lean");
    link_numpy("lean");
    diagnose(0, sets);
    assert_told("warnings", "pandas is not installed", "-m pip install pandas");
    write_text(site("lean", "pandas/__init__.py"), "raise ValueError('numpy.dtype size changed')\n");
    diagnose(0, sets);
    assert_told("warnings", "pandas cannot be imported: ValueError: numpy.dtype size changed",
                "--force-reinstall pandas");
    write_text(site("lean", "pandas/__init__.py"), "");
    diagnose(0, sets);
    assert_told("warnings", "pandas cannot be imported: AttributeError", "--force-reinstall pandas");
}

static void numpy_broken(void **state) {
    const char *sets[] = { text("KRAIT_PYTHON=%s", AT("sick")), NULL };
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_OK);
    make_venv("sick");
    write_text(site("sick", "pip/__init__.py"), "");
    write_text(site("sick", "numpy/__init__.py"),
               "try:\n    raise ImportError('libx.so.3: cannot open')\n"
               "except ImportError as exc:\n    raise ImportError('IMPORTANT: PLEASE READ\\n\\n...') from exc\n");
    diagnose(1, sets);
    assert_told("problems", "ImportError: libx.so.3: cannot open",
                text("%s -m pip install --force-reinstall numpy", AT("sick/bin/python")));
    assert_null(strstr(word("problems.0.cure"), "ensurepip"));
    unlink(site("sick", "numpy/__init__.py"));
    diagnose(1, sets);
    assert_told("problems", "numpy is half deleted", "--force-reinstall numpy");
}

/* Installing again would not help against what stands in front. */
static void numpy_hidden_by_another(void **state) {
    (void)state;
    write_text(AT("front/numpy/__init__.py"), "raise ImportError('not this one')\n");
    diagnose(1, SET(text("KRAIT_PYTHON=%s", executable), text("PYTHONPATH=%s", AT("front"))));
    assert_told("problems", "ImportError: not this one", text("mend or remove %s", AT("front/numpy")));
}

static void others_called_krait(void **state) {
    const char *path = getenv("PATH");
    (void)state;
    write_text(AT("others/krait/__init__.py"), "raise ImportError('the wrong krait')\n");
    write_file(AT("others/krait-bin/krait"), "#!/bin/sh\n", 10, 0755);
    diagnose(0, SET(text("KRAIT_PYTHON=%s", executable), text("PYTHONPATH=%s", AT("others")),
                    text("PATH=%s:%s", AT("others/krait-bin"), path ? path : "/bin")));
    assert_told("warnings", text("module called krait is at %s", AT("others/krait/__init__.py")), NULL);
    assert_told("warnings", text("command called krait is on PATH: %s", AT("others/krait-bin/krait")), NULL);
}

/* ---- the command that brings a package, by layout ---------------------------------------------------------------- */

static void assert_install(const char *prefix, const char *base, bool again, const char *expected) {
    const char *source = "import krait._doctor as d\n"
                         "def command(again, executable, prefix, base):\n"
                         "    return d.install_command(['numpy', 'pandas'], again, executable, prefix, base)\n";
    krait_arg    args[] = { krait_pos(krait_bool(again)), krait_pos(krait_str(text("%s/bin/python", prefix))),
                            krait_pos(krait_str(prefix)), krait_pos(krait_str(base)) };
    krait_error *err = NULL;
    krait_value  out;
    const char  *found = "";
    define("doctor_test", source);
    call("doctor_test:command", args, COUNT(args), &out, &err);
    krait_get_text(&out, &found, NULL, &err);
    assert_good(err);
    assert_string_equal(found, expected);
    krait_value_clear(&out);
}

static void the_install_command_by_layout(void **state) {
    const char *usr = AT("deb/usr"), *own = AT("opt/python"), *conda = AT("conda env"), *marked = AT("brew");
    const char *venv = AT("deb/venv"), *uv = AT("deb/uv");
    const char *into_venv = text("%s/bin/python -m ensurepip && %s/bin/python -m pip install numpy pandas", venv, venv);
    (void)state;
    write_text(AT("deb/usr/lib/python3.12/os.py"), "");
    write_text(AT("deb/var/lib/dpkg/status"), "");
    write_text(AT("conda env/conda-meta/history"), "");
    write_text(AT("brew/lib/python3.12/EXTERNALLY-MANAGED"), "");
    write_text(AT("deb/venv/pyvenv.cfg"), "home = x\n");
    write_text(AT("deb/uv/pyvenv.cfg"), "home = x\nuv = 0.9\n");
    assert_install(usr, usr, false, "apt-get install python3-numpy python3-pandas");
    assert_install(usr, usr, true, "apt-get install --reinstall python3-numpy python3-pandas");
    assert_install(own, own, false, text("%s/bin/python -m pip install numpy pandas", own));
    assert_install(conda, conda, true, text("conda install --prefix '%s' --force-reinstall numpy pandas", conda));
    assert_install(marked, marked, false,
                   text("%s/bin/python -m venv .venv && .venv/bin/python -m pip install numpy pandas &&"
                        " export KRAIT_PYTHON=\"$PWD/.venv\"", marked));
    assert_install(uv, usr, false, text("uv pip install --python %s/bin/python numpy pandas", uv));
    assert_install(venv, usr, false, text("apt-get install python3.%d-venv && %s", minor, into_venv));
    write_text(AT("deb/usr/lib/python3.12/ensurepip/__init__.py"), "");
    assert_install(venv, usr, false, into_venv);
    write_text(AT("deb/venv/lib/python3.12/site-packages/pip/__init__.py"), "");
    assert_install(venv, usr, true, text("%s/bin/python -m pip install --force-reinstall numpy pandas", venv));
}

/* ---- in this process --------------------------------------------------------------------------------------------- */

static void a_report_in_this_process(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *words = NULL;
    (void)state;
    assert_int_equal(krait_doctor(KRAIT_REPORT_TEXT, &out, &err), KRAIT_OK);
    assert_good(err);
    krait_get_text(&out, &words, NULL, &err);
    assert_good(err);
    assert_has(words, text("krait %s works here", krait_version()));
    assert_has(words, text("\n  executable        %s\n", executable));
    krait_value_clear(&out);
    assert_int_equal(krait_doctor(KRAIT_REPORT_TEXT, &out, NULL), KRAIT_OK);
    krait_value_clear(&out);
}

static void its_numbers_are_right(void **state) {
    krait_metrics now = counters();
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_int_equal(number("counters.calls"), now.calls);
    assert_true(number("counters.calls") > 0);
    assert_true(number("processors.usable") >= 1 && number("processors.usable") <= number("processors.affinity"));
    assert_true(number("stack.this_thread_kib") >= 1024);
    assert_string_equal(word("call.function"), "krait.analysis:normalize");
}

static void bytes_that_are_no_utf8(void **state) {
    (void)state;
    setenv("KRAIT_TEST_BYTES", "a\"b\\c\td\xff\xc0\xaf\xed\xa0\x80 \xc3\xa9 \xf0\x9f\x90\x8d", 1);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_has(word("environment.KRAIT_TEST_BYTES"), "a\"b\\c\td");
    assert_has(word("environment.KRAIT_TEST_BYTES"), " \xc3\xa9 \xf0\x9f\x90\x8d");
    {
        krait_error *err = NULL;
        krait_value  out, length;
        krait_doctor(KRAIT_REPORT_TEXT, &out, &err);
        call1("builtins:len", krait_borrow(&out), 0, &length, &err); /* a str can be made of it */
        assert_good(err);
        krait_value_clear(&length);
        krait_value_clear(&out);
    }
    unsetenv("KRAIT_TEST_BYTES");
}

static void what_is_refused(void **state) {
    krait_error *err = NULL;
    krait_value  out = krait_i64(7);
    (void)state;
    assert_int_equal(krait_doctor(KRAIT_REPORT_TEXT, NULL, &err), KRAIT_E_ARGUMENT);
    assert_error(err, KRAIT_E_ARGUMENT, "report is NULL");
    assert_int_equal(krait_doctor(7, &out, &err), KRAIT_E_ARGUMENT);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    out = krait_i64(7);
    assert_int_equal(krait_doctor(KRAIT_REPORT_TEXT, &out, &err), KRAIT_E_ARGUMENT); /* it sticks */
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_error(err, KRAIT_E_ARGUMENT, "format is 7");
}

static void with_the_gil_held(void **state) {
    krait_error *err = NULL;
    (void)state;
    krait_acquire(&err);
    krait_acquire(&err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    krait_release();
    assert_int_equal(diagnose_here(), KRAIT_OK);
    krait_release();
    assert_int_equal(diagnose_here(), KRAIT_OK);
}

typedef struct small_stack {
    krait_status status;
    krait_value  json;
} small_stack;

static void *on_small_stack(void *user) {
    small_stack *small = user;
    small->status = krait_doctor(KRAIT_REPORT_JSON, &small->json, NULL);
    return NULL;
}

static krait_status diagnose_with_stack(size_t kib) {
    small_stack    small;
    pthread_attr_t attributes;
    pthread_t      thread;
    const char    *data = NULL;
    size_t         size = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kib * 1024);
    assert_int_equal(pthread_create(&thread, &attributes, on_small_stack, &small), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    krait_get_text(&small.json, &data, &size, NULL);
    assert_non_null(data);
    read_json(data, size);
    krait_value_clear(&small.json);
    assert_int_equal(number("stack.this_thread_kib"), kib);
    return small.status;
}

static void on_small_stacks(void **state) {
    (void)state;
    assert_int_equal(diagnose_with_stack(768), KRAIT_E_STACK);
    assert_told("problems", "stack has 768 KiB", "pthread_attr_setstacksize");
    assert_string_equal(word("python.executable"), executable);
    assert_int_equal(diagnose_with_stack(2048), KRAIT_OK);
    assert_told("warnings", "2048 KiB of stack", "pthread_attr_setstacksize");
    assert_int_equal(diagnose_with_stack(8192), KRAIT_OK);
    for (size_t i = 0; i < krait_list_len(entry("warnings")); i++)
        assert_null(strstr(word(text("warnings.%zu.what", i)), "of stack"));
}

/* Good is only what gives the right answer. */
static void a_wrong_answer(void **state) {
    krait_error *err = NULL;
    define("krait.analysis", "def normalize(a): return a * 1.0\n");
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_E_NO_NUMPY);
    assert_told("problems", "krait.analysis:normalize gives 1 where -1 is right", NULL);
    assert_false(flag("call.works"));
    define("krait.analysis", "def normalize(a): return a[:2] * 1.0\n");
    assert_int_equal(diagnose_here(), KRAIT_E_SHAPE);
    define("krait.analysis", "def normalize(a): raise KeyError('first line\\nsecond')\n");
    assert_int_equal(diagnose_here(), KRAIT_E_PYTHON);
    assert_told("problems", "KeyError: 'first line", NULL);
    define("doctor_test", "import sys\ndef forget(): del sys.modules['krait.analysis']\n");
    call("doctor_test:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
}

/* A survey that fails loses its sections, not the report. */
static void a_survey_that_fails(void **state) {
    krait_error *err = NULL;
    define("krait._doctor", "def survey(): raise OSError('no such thing')\n");
    (void)state;
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_told("warnings", "could not be asked about itself: call: no such thing", NULL);
    assert_string_equal(word("python.executable"), executable);
    assert_int_equal(krait_map_len(entry("packages")), 0);
    define("doctor_test", "import sys\ndef forget(): del sys.modules['krait._doctor']\n");
    call("doctor_test:forget", NULL, 0, NULL, &err);
    assert_good(err);
}

static void open_loans(void **state) {
    static const double data[4] = { 1, 2, 3, 4 };
    krait_error        *err = NULL;
    krait_value         view;
    (void)state;
    define("doctor_test", "def same(a): return a\n");
    call1("doctor_test:same", krait_vector_f64(data, COUNT(data)), KRAIT_ALIAS, &view, &err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_int_equal(number("loans.open"), 1);
    assert_string_equal(word("loans.first.0"), "32 bytes, argument 1 of doctor_test:same");
    krait_value_clear(&view);
    krait_gc(&err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_int_equal(number("loans.open"), 0);
}

/* Which BLAS numpy has is its own matter; of one that krait does not know nothing is told. */
static void more_blas_threads_than_processors(void **state) {
    static const char source[] =
        "import ctypes, numpy\n"
        "def set_threads(n):\n"
        "    with open('/proc/self/maps') as maps:\n"
        "        files = {line.split()[-1] for line in maps if '/' in line}\n"
        "    for file in files:\n"
        "        if 'blas' not in file.rsplit('/', 1)[-1]: continue\n"
        "        library = ctypes.CDLL(file)\n"
        "        for name in ('scipy_openblas_set_num_threads64_', 'openblas_set_num_threads64_',\n"
        "                     'openblas_set_num_threads'):\n"
        "            if hasattr(library, name): return getattr(library, name)(n)\n";
    krait_error *err = NULL;
    (void)state;
    define("doctor_test", source);
    call1("doctor_test:set_threads", krait_i64(sysconf(_SC_NPROCESSORS_CONF) + 2), 0, NULL, &err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    if (entry("processors.blas")->kind == KRAIT_KIND_NONE) {
        assert_int_equal(entry("processors.blas_threads")->kind, KRAIT_KIND_NONE);
    } else {
        assert_int_equal(number("processors.blas_threads"), sysconf(_SC_NPROCESSORS_CONF) + 2);
        assert_told("warnings", "they wait for each other", "blas_threads");
    }
    call1("doctor_test:set_threads", krait_i64(1), 0, NULL, &err);
    assert_good(err);
}

/* In the child: 0 when it was refused as forked, with a report that says so, in both formats. */
static int diagnose_forked(void) {
    for (int format = KRAIT_REPORT_TEXT; format <= KRAIT_REPORT_JSON; format++) {
        krait_error *err = NULL;
        krait_value  out;
        const char  *data = NULL;
        if (krait_doctor(format, &out, &err) != KRAIT_E_FORKED || krait_error_status(err) != KRAIT_E_FORKED) return 1;
        if (krait_get_text(&out, &data, NULL, NULL)) return 2;
        if (!strstr(data, "forked from") || !strstr(data, executable)) return 3;
        krait_value_clear(&out);
        krait_error_clear(&err);
    }
    return 0;
}

static void in_a_forked_child(void **state) {
    krait_error *err = NULL;
    (void)state;
    for (int held = 0; held < 2; held++) {
        pid_t pid;
        if (held) krait_acquire(&err);
        pid = fork();
        if (pid == 0) _exit(diagnose_forked());
        assert_true(pid > 0);
        assert_int_equal(reap(pid, now_ms() + CHILD_MS), 0);
        if (held) krait_release();
    }
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
}

#ifdef KRAIT_FAULTS
/* The report is made, or refused for want of memory; nothing is lost or broken. */
static void every_allocation_fails_in_turn(void **state) {
    bool complete = false;
    (void)state;
    define("krait._doctor",
           "def survey(): return {'python': {'version': 'x', 'path': ['a', 'b']}, 'packages': {'numpy': None}}\n");
    setenv("KRAIT_PYTHON", executable, 1);
    for (uint64_t n = 1; !complete && n < 5000; n++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_status status;
        krait__mem_fail_at(n);
        status = krait_doctor(n % 2 ? KRAIT_REPORT_JSON : KRAIT_REPORT_TEXT, &out, &err);
        complete = krait__mem_count() < n;
        krait__mem_fail_at(0);
        assert_int_equal(status, krait_error_status(err));
        if (out.kind == KRAIT_KIND_NONE) assert_int_equal(status, KRAIT_E_NOMEM);
        krait_value_clear(&out);
        krait_error_clear(&err);
    }
    assert_true(complete);
}
#endif

/* What the host is to learn from krait_wait_ready is left for it. */
static void a_module_that_cannot_be_preloaded(void **state) {
    const char *const preload[] = { "no_such_module", NULL };
    krait_options     options = KRAIT_OPTIONS_INIT;
    krait_error      *err = NULL;
    (void)state;
    options.preload = preload;
    krait_init(&options, &err);
    assert_good(err);
    assert_int_equal(diagnose_here(), KRAIT_OK);
    assert_told("warnings", "preload no_such_module", NULL);
    assert_int_equal(krait_wait_ready(1000, &err), KRAIT_E_IMPORT);
    assert_error(err, KRAIT_E_IMPORT, "no_such_module");
}

/* Last: nothing can be called after it. So JSON cannot be read any more. */
static void after_shutdown(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *data = "";
    (void)state;
    krait_value_clear(&report);
    krait_shutdown(10000, &err);
    assert_good(err);
    for (int format = KRAIT_REPORT_TEXT; format <= KRAIT_REPORT_JSON; format++) {
        assert_int_equal(krait_doctor(format, &out, &err), KRAIT_E_CLOSED);
        krait_get_text(&out, &data, NULL, NULL);
        assert_has(data, "shut down");
        assert_has(data, executable);
        assert_error(err, KRAIT_E_CLOSED, "krait_shutdown");
        krait_value_clear(&out);
    }
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk) {
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

static int tear_down(void **state) {
    (void)state;
    krait_value_clear(&report);
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool read_text_of(const char *name, char *out, size_t size) {
    krait_error *err = NULL;
    krait_value  value;
    const char  *found = "";
    call(name, NULL, 0, &value, &err);
    krait_get_text(&value, &found, NULL, &err);
    snprintf(out, size, "%s", found);
    krait_value_clear(&value);
    if (err) fprintf(stderr, "%s: %s\n", name, krait_error_message(err));
    krait_error_clear(&err);
    return out[0] != 0;
}

static int set_up(void **state) {
    static const char source[] = "import os, sys\n"
                                 "def own(): return sys.executable\n"
                                 "def base(): return os.path.realpath(sys.executable)\n"
                                 "def minor(): return str(sys.version_info.minor)\n";
    const char *build = getenv("BUILD"), *cli = getenv("KRAIT_TEST_CLI");
    char        folder[PATH_MAX], digits[16];
    alarm(TIME_LIMIT_S);
    if (!build || !*build) build = "build";
    snprintf(folder, sizeof folder, "%s/doctor.XXXXXX", build);
    if (!mkdtemp(folder) || !realpath(folder, root)) return -1;
    if (!realpath(cli && *cli ? cli : text("%s/krait", build), command)) return -1;
    if (start_python(state)) return -1;
    define("doctor_set_up", source);
    if (!read_text_of("doctor_set_up:own", executable, sizeof executable) ||
        !read_text_of("doctor_set_up:base", base_python, sizeof base_python) ||
        !read_text_of("doctor_set_up:minor", digits, sizeof digits))
        return -1;
    minor = atoi(digits);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_command_line_is_exit_code_2),
        cmocka_unit_test(version_and_help),
        cmocka_unit_test(a_report_that_cannot_be_written_is_no_success),
        cmocka_unit_test(a_good_machine_is_exit_code_0),
        cmocka_unit_test(a_deleted_venv),
        cmocka_unit_test(a_half_deleted_venv),
        cmocka_unit_test(a_python_too_old),
        cmocka_unit_test(no_python_on_path),
        cmocka_unit_test(no_libpython),
        cmocka_unit_test(a_wrong_pythonhome),
        cmocka_unit_test(a_variable_that_python_refuses),
        cmocka_unit_test(a_small_main_stack),
        cmocka_unit_test(a_venv_without_numpy),
        cmocka_unit_test(pandas_missing_then_broken),
        cmocka_unit_test(numpy_broken),
        cmocka_unit_test(numpy_hidden_by_another),
        cmocka_unit_test(others_called_krait),
        cmocka_unit_test(the_install_command_by_layout),
        cmocka_unit_test(a_report_in_this_process),
        cmocka_unit_test(its_numbers_are_right),
        cmocka_unit_test(bytes_that_are_no_utf8),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(with_the_gil_held),
        cmocka_unit_test(on_small_stacks),
        cmocka_unit_test(a_wrong_answer),
        cmocka_unit_test(a_survey_that_fails),
        cmocka_unit_test(open_loans),
        cmocka_unit_test(more_blas_threads_than_processors),
        cmocka_unit_test(in_a_forked_child),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(every_allocation_fails_in_turn),
#endif
        cmocka_unit_test(a_module_that_cannot_be_preloaded),
        cmocka_unit_test(after_shutdown),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
