/* Life: init, preload, shutdown, fork, exit, and what starting Python must not change in the host.
 *
 * Python can be started once in a process, so each scenario runs in a process of its own: this program again, with the scenario's name.
 * A scenario says what went wrong and returns 1, or returns 0. */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define SAY(...) (fprintf(stderr, __VA_ARGS__), fprintf(stderr, " (line %d)\n", __LINE__))
#define MUST(condition)                 \
    do {                                \
        if (!(condition)) {             \
            SAY("not so: " #condition); \
            return 1;                   \
        }                               \
    } while (0)
#define GOOD(err)                                                                      \
    do {                                                                               \
        if (err) {                                                                     \
            SAY("%s: %s", krait_error_step(err), krait_error_message(err));            \
            return 1;                                                                  \
        }                                                                              \
    } while (0)
#define BAD(err, status, part)                                                                              \
    do {                                                                                                    \
        if (krait_error_status(err) != (status) || !strstr(krait_error_message(err), (part))) {             \
            SAY("expected %s with \"%s\", got %s: %s", krait_status_name(status), (part),                   \
                krait_status_name(krait_error_status(err)), krait_error_message(err));                      \
            return 1;                                                                                       \
        }                                                                                                   \
        krait_error_clear(&(err));                                                                          \
    } while (0)

static void pause_ms(long ms) {
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

static double number(const char *name, krait_error **err) {
    krait_value out;
    double      x = 0;
    call(name, NULL, 0, &out, err);
    krait_get_f64(&out, &x, err);
    krait_value_clear(&out);
    return x;
}

/* ---- init -------------------------------------------------------------------------------------------------------- */

static int before_init(void) {
    krait_error *err = NULL;
    krait_func  *func = krait_func_new("math:sqrt", &err);
    krait_value  out;
    GOOD(err);
    MUST(krait_version_number() == KRAIT_VERSION_NUMBER && !strcmp(krait_version(), KRAIT_VERSION_STRING));
    krait_call(func, NULL, 0, NULL, &out, &err);
    BAD(err, KRAIT_E_NOT_READY, "krait_init");
    krait_acquire(&err);
    BAD(err, KRAIT_E_NOT_READY, "krait_init");
    krait_release();
    krait_wait_ready(0, &err);
    BAD(err, KRAIT_E_NOT_READY, "krait_init");
    krait_shutdown(0, &err);
    BAD(err, KRAIT_E_NOT_READY, "krait_init");
    krait_value_clear(&out);
    krait_func_unref(func);
    return 0;
}

static int init_twice(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *words[] = { "importtime", NULL };
    krait_init(NULL, &err);
    krait_init(NULL, &err);
    krait_init(&options, &err);
    GOOD(err);
    options.x_options = words;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CONFLICT, "x_options");
    options.x_options = NULL;
    options.flags = KRAIT_ISOLATED;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CONFLICT, "ISOLATED");
    options.flags = 0x8000;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_UNSUPPORTED, "flags");
    options.flags = 0;
    options.reserved[2] = 1;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_UNSUPPORTED, "reserved");
    options.reserved[2] = 0;
    options.size = 4;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_ARGUMENT, "size");
    options.size = sizeof options;
    options.python = getenv("KRAIT_PYTHON");
    krait_init(&options, &err); /* the same one is no conflict */
    GOOD(err);
    return 0;
}

static int same_words_twice(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *x[] = { "dev", NULL }, *w[] = { "ignore::FutureWarning", NULL };
    options.x_options = x;
    options.warnings = w;
    options.flags = KRAIT_ISOLATED;
    krait_init(&options, &err);
    krait_init(&options, &err);
    GOOD(err);
    krait_module_from_source("words", "import sys\n"
                             "def dev(): return sys.flags.dev_mode + 2 * sys.flags.isolated\n"
                             "def warned(): return float(any('FutureWarning' in w for w in sys.warnoptions))\n", &err);
    MUST(number("words:dev", &err) == 3 && number("words:warned", &err) == 1);
    GOOD(err);
    return 0;
}

static int unknown_word(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *x[] = { "importtime=nonsense", "int_max_str_digits=minus", NULL };
    options.x_options = x;
    krait_init(&options, &err);
    MUST(krait_error_status(err) == KRAIT_E_INIT);
    krait_error_clear(&err);
    krait_init(NULL, &err); /* final */
    MUST(krait_error_status(err) == KRAIT_E_INIT);
    krait_error_clear(&err);
    return 0;
}

static void *init_here(void *user) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    number("math:pi", &err);
    atomic_fetch_add((atomic_int *)user, krait_error_status(err) == KRAIT_E_KIND);
    krait_error_clear(&err);
    return NULL;
}

static int init_by_many(void) {
    pthread_t  threads[8];
    atomic_int right = 0;
    for (size_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, init_here, &right);
    for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
    MUST(right == 8); /* math.pi was found, and cannot be called */
    return 0;
}

static int paths(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *first[] = { "/krait/a", "/krait/b", NULL }, *more[] = { "/krait/c", "/krait/a", NULL };
    options.paths = first;
    krait_init(&options, &err);
    options.paths = more;
    krait_init(&options, &err);
    krait_add_path("/krait/last", -1, &err);
    GOOD(err);
    krait_module_from_source("paths", "import sys\n"
                             "def right(): return float(sys.path[:3] == ['/krait/c', '/krait/a', '/krait/b'] and sys.path[-1] == '/krait/last')\n", &err);
    MUST(number("paths:right", &err) == 1);
    GOOD(err);
    krait_add_path("", 0, &err);
    BAD(err, KRAIT_E_ARGUMENT, "empty");
    krait_add_path(NULL, 0, &err);
    BAD(err, KRAIT_E_ARGUMENT, "NULL");
    return 0;
}

/* ---- preload ----------------------------------------------------------------------------------------------------- */

static int preload(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "json", "numpy", NULL };
    options.preload = names;
    krait_init(&options, &err);
    krait_wait_ready(-1, &err);
    GOOD(err);
    krait_module_from_source("loaded", "import sys\ndef both(): return float('json' in sys.modules and 'numpy' in sys.modules)\n", &err);
    MUST(number("loaded:both", &err) == 1);
    GOOD(err);
    return 0;
}

static int preload_fails(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "no_such_module_a", "json", NULL };
    options.preload = names;
    krait_init(&options, &err);
    GOOD(err);
    number("math:sqrt", &err); /* the first call waits and gets the error */
    BAD(err, KRAIT_E_IMPORT, "no_such_module_a");
    krait_wait_ready(-1, &err);
    BAD(err, KRAIT_E_IMPORT, "no_such_module_a");
    number("time:time", &err);
    GOOD(err);
    return 0;
}

static int preload_is_slow(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *folder = getenv("KRAIT_TEST_FOLDER"), *paths_[] = { folder, NULL }, *names[] = { "slow_module", NULL };
    char          file[4096];
    FILE         *out;
    snprintf(file, sizeof file, "%s/slow_module.py", folder);
    out = fopen(file, "w");
    MUST(out != NULL);
    fprintf(out, "import time\ntime.sleep(1)\ndef one(): return 1.0\n");
    fclose(out);
    options.paths = paths_;
    options.preload = names;
    krait_init(&options, &err);
    GOOD(err);
    krait_wait_ready(50, &err);
    BAD(err, KRAIT_E_TIMEOUT, "50 ms");
    MUST(number("slow_module:one", &err) == 1); /* waits */
    krait_wait_ready(0, &err);
    GOOD(err);
    return 0;
}

/* ---- what starting Python must not change ------------------------------------------------------------------------ */

static const char busy_python[] =
    "import asyncio, subprocess, signal, faulthandler\n"
    "import numpy, pandas\n"
    "async def nothing(): return 1.0\n"
    "def busy():\n"
    "    subprocess.run(['true'])\n"
    "    return asyncio.run(nothing())\n";

static void host_handler(int signal) {
    (void)signal;
}

static int dispositions_kept(void) {
    krait_error     *err = NULL;
    struct sigaction before[65], after;
    char             locale_before[128], **variable = environ;
    size_t           variables = 0;
    int              bytes = -1, ends[2], out = dup(1);
    setlocale(LC_ALL, "");
    if (getenv("KRAIT_TEST_SIGINT")) signal(SIGINT, host_handler);
    snprintf(locale_before, sizeof locale_before, "%s", setlocale(LC_ALL, NULL));
    while (*variable++) variables++;
    for (int i = 1; i < 65; i++) sigaction(i, NULL, &before[i]);
    MUST(pipe(ends) == 0 && dup2(ends[1], 1) == 1); /* stdout is no terminal: it is buffered in full */
    krait_init(NULL, &err);
    krait_module_from_source("busy_module", busy_python, &err);
    MUST(number("busy_module:busy", &err) == 1);
    printf("held back");
    ioctl(ends[0], FIONREAD, &bytes);
    fflush(stdout);
    dup2(out, 1);
    GOOD(err);
    MUST(bytes == 0);
    for (int i = 1; i < 65; i++) {
        if (sigaction(i, NULL, &after)) continue;
        /* glibc marks whatever went through sigaction once with SA_RESTORER */
        if (after.sa_handler != before[i].sa_handler || (after.sa_flags ^ before[i].sa_flags) & ~0x04000000) {
            SAY("signal %d has changed", i);
            return 1;
        }
    }
    MUST(!strcmp(locale_before, setlocale(LC_ALL, NULL)));
    for (variable = environ; *variable; variable++) variables--;
    MUST(variables == 0);
    return 0;
}

static atomic_int faults;
static void fault_handler(int number_, siginfo_t *info, void *context) {
    (void)info, (void)context;
    atomic_fetch_add(&faults, 1);
    signal(number_, SIG_DFL);
}

/* A host with a SIGSEGV handler keeps it, whatever PYTHONFAULTHANDLER says and a module enables. */
static char logged[256];
static void keep_log(void *user, int level, const char *line) {
    (void)user, (void)level;
    snprintf(logged, sizeof logged, "%s", line);
}

static int fault_handler_kept(void) {
    krait_error     *err = NULL;
    krait_options    options = KRAIT_OPTIONS_INIT;
    struct sigaction mine = { .sa_sigaction = fault_handler, .sa_flags = SA_SIGINFO }, now;
    options.log = keep_log;
    sigaction(SIGSEGV, &mine, NULL);
    krait_init(&options, &err);
    krait_module_from_source("enables", "import faulthandler\nfaulthandler.enable()\ndef f(): return 1.0\n", &err);
    GOOD(err);
    sigaction(SIGSEGV, NULL, &now);
    MUST(now.sa_sigaction == fault_handler);
    MUST(strstr(logged, "faulthandler"));
    return 0;
}

/* ---- shutdown ---------------------------------------------------------------------------------------------------- */

static const char endless[] =
    "import time, atexit\n"
    "import numpy as np\n"
    "def spin():\n"
    "    while True:\n"
    "        time.sleep(0.001)\n"
    "def nap(): time.sleep(0.3); return 7.0\n"
    "def array(): return np.arange(5.0)\n"
    "def mark(path): atexit.register(lambda: open(path, 'w').write('done'))\n";

static void *call_by_name(void *user) {
    krait_error *err = NULL;
    krait_status status;
    number(user, &err);
    status = krait_error_status(err);
    krait_error_clear(&err);
    return (void *)(intptr_t)status;
}

static int shutdown_drains(void) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    pthread_t    thread;
    void        *status;
    char         path[4096];
    snprintf(path, sizeof path, "%s/atexit", getenv("KRAIT_TEST_FOLDER"));
    krait_init(NULL, &err);
    krait_module_from_source("ends", endless, &err);
    call("ends:array", NULL, 0, &out, &err);
    call1("ends:mark", krait_str(path), 0, NULL, &err);
    GOOD(err);
    pthread_create(&thread, NULL, call_by_name, "ends:nap");
    pause_ms(100);
    krait_shutdown(5000, &err);
    GOOD(err);
    pthread_join(thread, &status);
    MUST((intptr_t)status == KRAIT_OK);
    MUST(access(path, R_OK) == 0);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err); /* results stay valid */
    MUST(!err && ((double *)array.data)[4] == 4);
    krait_value_clear(&out);
    number("ends:nap", &err);
    BAD(err, KRAIT_E_CLOSED, "krait_shutdown");
    krait_acquire(&err);
    BAD(err, KRAIT_E_CLOSED, "krait_shutdown");
    krait_init(NULL, &err);
    BAD(err, KRAIT_E_CLOSED, "krait_shutdown");
    krait_shutdown(0, &err); /* twice is fine */
    GOOD(err);
    return 0;
}

static int shutdown_cancels(void) {
    krait_error *err = NULL;
    pthread_t    thread;
    void        *status;
    krait_init(NULL, &err);
    krait_module_from_source("ends", endless, &err);
    GOOD(err);
    pthread_create(&thread, NULL, call_by_name, "ends:spin");
    pause_ms(100);
    krait_shutdown(400, &err);
    GOOD(err);
    pthread_join(thread, &status);
    MUST((intptr_t)status == KRAIT_E_EXIT);
    return 0;
}

static void *calls_until_closed(void *unused) {
    krait_status status = KRAIT_OK;
    (void)unused;
    while (!status) {
        krait_error *err = NULL;
        number("time:time", &err);
        status = krait_error_status(err);
        krait_error_clear(&err);
    }
    return (void *)(intptr_t)status;
}

static int shutdown_under_traffic(void) {
    krait_error *err = NULL;
    pthread_t    threads[8];
    krait_init(NULL, &err);
    GOOD(err);
    for (size_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, calls_until_closed, NULL);
    pause_ms(100);
    krait_shutdown(5000, &err);
    GOOD(err);
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *status;
        pthread_join(threads[i], &status);
        MUST((intptr_t)status == KRAIT_E_CLOSED);
    }
    return 0;
}

static int exit_in_flight(void) {
    krait_error *err = NULL;
    pthread_t    threads[4];
    krait_init(NULL, &err);
    krait_module_from_source("ends", endless, &err);
    GOOD(err);
    for (size_t i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, call_by_name, i % 2 ? "ends:spin" : "ends:nap");
    pause_ms(50);
    return 0; /* main returns while they run */
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

static int child_is_refused(void) {
    krait_error *err = NULL;
    krait_value  out;
    number("time:time", &err);
    BAD(err, KRAIT_E_FORKED, "forked");
    krait_acquire(&err);
    BAD(err, KRAIT_E_FORKED, "forked");
    krait_init(NULL, &err);
    BAD(err, KRAIT_E_FORKED, "forked");
    krait_add_path("/x", 0, &err);
    BAD(err, KRAIT_E_FORKED, "forked");
    out = krait_none();
    krait_value_clear(&out);
    return 0;
}

static int forked_child(void) {
    krait_error *err = NULL;
    krait_value  out;
    pthread_t    thread;
    int          status = -1;
    pid_t        child;
    krait_init(NULL, &err);
    krait_module_from_source("ends", endless, &err);
    call("ends:array", NULL, 0, &out, &err);
    GOOD(err);
    pthread_create(&thread, NULL, call_by_name, "ends:spin"); /* holds the GIL again and again */
    pause_ms(50);
    child = fork();
    if (child == 0) {
        alarm(20);
        krait_value_clear(&out); /* neither waits nor crashes */
        _exit(child_is_refused());
    }
    MUST(waitpid(child, &status, 0) == child && status == 0);
    krait_value_clear(&out);
    number("time:time", &err); /* the parent goes on */
    GOOD(err);
    return 0;
}

static const char forks[] =
    "import os, multiprocessing\n"
    "def square(x): return x * x\n"
    "def pool():\n"
    "    with multiprocessing.get_context('fork').Pool(2) as p:\n"
    "        return float(sum(p.map(square, range(10))))\n"
    "def bare():\n"
    "    pid = os.fork()\n"
    "    if pid == 0:\n"
    "        os._exit(3)\n"
    "    return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";

static int python_forks(void) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    krait_module_from_source("forks", forks, &err);
    MUST(number("forks:pool", &err) == 285);
    MUST(number("forks:bare", &err) == 3);
    GOOD(err);
    return 0;
}

/* ---- how the library comes in ------------------------------------------------------------------------------------ */

/* Some host code opened libpython RTLD_LOCAL before: krait makes it global, and numpy imports. */
static int local_libpython(void) {
    krait_error *err = NULL;
    const char  *library = getenv("KRAIT_TEST_LIBPYTHON");
    MUST(library && dlopen(library, RTLD_NOW | RTLD_LOCAL));
    krait_init(NULL, &err);
    krait_module_from_source("local", "import numpy\ndef one(): return float(numpy.ones(1)[0])\n", &err);
    MUST(number("local:one", &err) == 1);
    GOOD(err);
    return 0;
}

/* A second copy of libkrait in the process refuses, naming both. */
static int two_copies(void) {
    krait_error *err = NULL;
    const char  *copy = getenv("KRAIT_TEST_COPY");
    void        *handle = copy ? dlopen(copy, RTLD_NOW | RTLD_LOCAL) : NULL;
    krait_status (*init)(const krait_options *, krait_error **);
    void *symbol = handle ? dlsym(handle, "krait_init") : NULL;
    MUST(symbol);
    memcpy(&init, &symbol, sizeof init);
    MUST((void *)(uintptr_t)init != (void *)(uintptr_t)krait_init);
    krait_init(NULL, &err);
    GOOD(err);
    init(NULL, &err);
    BAD(err, KRAIT_E_CONFLICT, "two copies");
    return 0;
}

static atomic_long allocated, given_back;
static void *count_alloc(void *user, size_t size) {
    (void)user;
    atomic_fetch_add(&allocated, 1);
    return malloc(size);
}
static void *count_realloc(void *user, void *block, size_t size) {
    (void)user;
    return realloc(block, size);
}
static void count_free(void *user, void *block) {
    (void)user;
    atomic_fetch_add(&given_back, 1);
    free(block);
}

static int own_allocator(void) {
    krait_error          *err = NULL;
    krait_options         options = KRAIT_OPTIONS_INIT;
    const krait_allocator allocator = { count_alloc, count_realloc, count_free, NULL };
    options.allocator = &allocator;
    krait_init(&options, &err);
    GOOD(err);
    MUST(atomic_load(&allocated) > 0);
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CONFLICT, "allocator");
    return 0;
}

/* Threads of the BLAS that numpy brought, asked of the library itself; -1 where it cannot be asked. */
static const char blas[] =
    "import ctypes\n"
    "import numpy\n"
    "def threads():\n"
    "    files = {line.split()[-1] for line in open('/proc/self/maps') if 'blas' in line}\n"
    "    for file in sorted(files):\n"
    "        for name in ('scipy_openblas_get_num_threads64_', 'openblas_get_num_threads64_', 'openblas_get_num_threads'):\n"
    "            try:\n"
    "                return float(getattr(ctypes.CDLL(file), name)())\n"
    "            except (AttributeError, OSError):\n"
    "                pass\n"
    "    return -1.0\n"
    "def make(n): return numpy.ones(3)\n";

static int blas_budget(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *wanted = getenv("KRAIT_TEST_BLAS"), *expected = getenv("KRAIT_TEST_EXPECTED");
    double        threads;
    options.blas_threads = (uint32_t)atoi(wanted);
    krait_init(&options, &err);
    krait_module_from_source("blas", blas, &err);
    call1("blas:make", krait_i64(1), 0, NULL, &err); /* the first array is when krait meets numpy */
    call1("blas:make", krait_vector_f64(&(double){ 1 }, 1), 0, NULL, &err);
    threads = number("blas:threads", &err);
    GOOD(err);
    if (threads < 0) return 0; /* Debian's reference BLAS has no threads */
    MUST(threads == atof(expected));
    return 0;
}

static int collects(void) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    krait_module_from_source("cycles", "import weakref, gc\ngc.disable()\nclass C: pass\nrefs = []\n"
                                       "def make():\n    c = C(); c.me = c; refs.append(weakref.ref(c))\n"
                                       "def alive(): return float(sum(r() is not None for r in refs))\n", &err);
    call("cycles:make", NULL, 0, NULL, &err);
    MUST(number("cycles:alive", &err) == 1);
    krait_gc(&err);
    MUST(number("cycles:alive", &err) == 0);
    GOOD(err);
    return 0;
}

/* ---- running the scenarios --------------------------------------------------------------------------------------- */

static const struct scenario {
    const char *name;
    int (*run)(void);
} scenarios[] = {
#define SCENARIO(name) { #name, name }
    SCENARIO(before_init),       SCENARIO(init_twice),        SCENARIO(same_words_twice), SCENARIO(unknown_word),
    SCENARIO(init_by_many),      SCENARIO(paths),             SCENARIO(preload),          SCENARIO(preload_fails),
    SCENARIO(preload_is_slow),   SCENARIO(dispositions_kept), SCENARIO(fault_handler_kept),
    SCENARIO(shutdown_drains),   SCENARIO(shutdown_cancels),  SCENARIO(shutdown_under_traffic), SCENARIO(exit_in_flight),
    SCENARIO(forked_child),      SCENARIO(python_forks),      SCENARIO(local_libpython),  SCENARIO(two_copies),
    SCENARIO(own_allocator),     SCENARIO(collects),
    SCENARIO(blas_budget),
};

static char self[4096], folder[] = "/tmp/krait-life.XXXXXX";

/* Runs a scenario with NAME=value pairs added to the environment (a value of NULL takes the name away); fails the test unless it returns 0. */
static void run_with(const char *name, const char *const (*variables)[2]) {
    pid_t child = fork();
    int   status = -1;
    assert_true(child >= 0);
    if (child == 0) {
        for (; variables && (*variables)[0]; variables++) {
            if ((*variables)[1])
                setenv((*variables)[0], (*variables)[1], 1);
            else
                unsetenv((*variables)[0]);
        }
        setenv("KRAIT_TEST_FOLDER", folder, 1);
        if (getenv("KRAIT_TEST_ONE_CPU")) {
            cpu_set_t set, one;
            size_t    cpu = 0;
            sched_getaffinity(0, sizeof set, &set);
            while (!CPU_ISSET(cpu, &set)) cpu++;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
        alarm(100);
        execl(self, self, name, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFSIGNALED(status)) fail_msg("%s ended with signal %d", name, WTERMSIG(status));
    if (status) fail_msg("%s ended with exit code %d", name, WEXITSTATUS(status));
}

#define PLAIN(name)                       \
    static void test_##name(void **state) { \
        (void)state;                      \
        run_with(#name, NULL);            \
    }
PLAIN(before_init)
PLAIN(init_twice)
PLAIN(unknown_word)
PLAIN(init_by_many)
PLAIN(paths)
PLAIN(preload)
PLAIN(preload_fails)
PLAIN(preload_is_slow)
PLAIN(shutdown_drains)
PLAIN(shutdown_cancels)
PLAIN(shutdown_under_traffic)
PLAIN(exit_in_flight)
PLAIN(forked_child)
PLAIN(python_forks)
PLAIN(own_allocator)
PLAIN(collects)

/* -X dev hides blocks from the leak checker: its debug allocator hands out pointers into them. */
static void test_same_words_twice(void **state) {
    static const char *const variables[][2] = { { "ASAN_OPTIONS", "detect_leaks=0" }, { NULL, NULL } };
    (void)state;
    run_with("same_words_twice", variables);
}

/* Under LANG=C and a missing locale CPython would set LC_CTYPE in the host's environment; PYTHONUNBUFFERED would unbuffer its stdout. */
static void test_dispositions_kept(void **state) {
    static const char *const cases[][6][2] = {
        { { "LANG", "C" }, { "LC_ALL", NULL }, { "LC_CTYPE", NULL }, { "PYTHONUNBUFFERED", "1" }, { NULL, NULL } },
        { { "LANG", "xx_XX.UTF-8" }, { "LC_ALL", NULL }, { "LC_CTYPE", NULL }, { "PYTHONUNBUFFERED", NULL }, { NULL, NULL } },
        { { "LC_ALL", "C.UTF-8" }, { "KRAIT_TEST_SIGINT", "1" }, { "PYTHONUNBUFFERED", "1" }, { NULL, NULL } },
        { { "LC_ALL", "C" }, { "KRAIT_TEST_SIGINT", NULL }, { "PYTHONUNBUFFERED", NULL }, { NULL, NULL } },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) run_with("dispositions_kept", cases[i]);
}

/* The option first, then the environment, then what affinity and quota allow: here one processor of this machine. */
static void test_blas_budget(void **state) {
    static const char *const cases[][5][2] = {
        { { "OPENBLAS_NUM_THREADS", NULL }, { "KRAIT_TEST_BLAS", "1" }, { "KRAIT_TEST_EXPECTED", "1" }, { NULL, NULL } },
        { { "OPENBLAS_NUM_THREADS", "2" }, { "KRAIT_TEST_BLAS", "0" }, { "KRAIT_TEST_EXPECTED", "2" }, { NULL, NULL } },
        { { "OPENBLAS_NUM_THREADS", NULL }, { "KRAIT_TEST_BLAS", "0" }, { "KRAIT_TEST_EXPECTED", "1" }, { "KRAIT_TEST_ONE_CPU", "1" }, { NULL, NULL } },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) run_with("blas_budget", cases[i]);
}

static void test_fault_handler_kept(void **state) {
    static const char *const variables[][2] = { { "PYTHONFAULTHANDLER", "1" }, { NULL, NULL } };
    (void)state;
    if (strstr(self, "/asan/")) return; /* the sanitizer replaces the handler itself; the plain build shows it */
    run_with("fault_handler_kept", NULL);
    run_with("fault_handler_kept", variables);
}

/* The libpython that krait loads here, by asking a first process. */
static void test_local_libpython(void **state) {
    char               path[4096] = "";
    const char *const  variables[][2] = { { "KRAIT_TEST_LIBPYTHON", path }, { NULL, NULL } };
    char               command[8300];
    FILE              *pipe;
    (void)state;
    snprintf(command, sizeof command, "'%s' print_libpython", self);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    if (fgets(path, sizeof path, pipe)) path[strcspn(path, "\n")] = 0;
    pclose(pipe);
    assert_true(path[0] == '/');
    run_with("local_libpython", variables);
}

static int print_libpython(void) {
    krait_error *err = NULL;
    char         line[4096], *path;
    FILE        *maps;
    krait_init(NULL, &err);
    GOOD(err);
    maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        path = strchr(line, '/');
        if (!path || !strstr(path, "/libpython3.")) continue;
        fputs(path, stdout);
        break;
    }
    if (maps) fclose(maps);
    return 0;
}

static void test_two_copies(void **state) {
    char              copy[4200], command[8500];
    const char *const variables[][2] = { { "KRAIT_TEST_COPY", copy }, { NULL, NULL } };
    (void)state;
    if (strstr(self, "/asan/")) return; /* two runtimes of the sanitizer do not mix; the plain build shows it */
    snprintf(copy, sizeof copy, "%s/libkrait_copy.so", folder);
    snprintf(command, sizeof command, "cp -L '%.*s/../libkrait.so' '%s'", (int)(strrchr(self, '/') - self), self, copy);
    assert_int_equal(system(command), 0);
    run_with("two_copies", variables);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[200];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_init),       cmocka_unit_test(test_init_twice),       cmocka_unit_test(test_same_words_twice),
        cmocka_unit_test(test_unknown_word),      cmocka_unit_test(test_init_by_many),     cmocka_unit_test(test_paths),
        cmocka_unit_test(test_preload),           cmocka_unit_test(test_preload_fails),    cmocka_unit_test(test_preload_is_slow),
        cmocka_unit_test(test_dispositions_kept), cmocka_unit_test(test_fault_handler_kept), cmocka_unit_test(test_shutdown_drains),
        cmocka_unit_test(test_shutdown_cancels),  cmocka_unit_test(test_shutdown_under_traffic), cmocka_unit_test(test_exit_in_flight),
        cmocka_unit_test(test_forked_child),      cmocka_unit_test(test_python_forks),     cmocka_unit_test(test_local_libpython),
        cmocka_unit_test(test_two_copies),        cmocka_unit_test(test_own_allocator),    cmocka_unit_test(test_collects),
        cmocka_unit_test(test_blas_budget),
    };
    if (!realpath(argv[0], self)) return 1;
    if (argc > 1 && !strcmp(argv[1], "print_libpython")) return print_libpython();
    for (size_t i = 0; argc > 1 && i < COUNT(scenarios); i++)
        if (!strcmp(argv[1], scenarios[i].name)) return scenarios[i].run();
    alarm(280);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
