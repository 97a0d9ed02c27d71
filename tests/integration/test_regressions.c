/* Regressions: defects that a hostile review found, one scenario each, and what is next to them. What a scenario proves
 * stands above it.
 *
 * Python starts once in a process and most of these end in a crash or a hang when they come back, so each runs in a
 * process of its own with a time limit: this program again, with the scenario's name. A scenario says what went wrong
 * and returns 1, or returns 0. Hosts that brought their own Python are a C program that opens libpython, and python
 * itself with krait opened by ctypes. */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAY(...) (fprintf(stderr, __VA_ARGS__), fprintf(stderr, " (line %d)\n", __LINE__))
#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            SAY("not so: " #condition);                                                                                \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)
#define GOOD(err)                                                                                                      \
    do {                                                                                                               \
        if (err) {                                                                                                     \
            SAY("%s: %s", krait_error_step(err), krait_error_message(err));                                            \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)
#define BAD(err, status, part)                                                                                         \
    do {                                                                                                               \
        if (krait_error_status(err) != (status) || !strstr(krait_error_message(err), (part))) {                        \
            SAY("expected %s with \"%s\", got %s: %s", krait_status_name(status), (part),                              \
                krait_status_name(krait_error_status(err)), krait_error_message(err));                                 \
            return 1;                                                                                                  \
        }                                                                                                              \
        krait_error_clear(&(err));                                                                                     \
    } while (0)

enum { SCENARIO_SECONDS = 25 }; /* for one process; with the sanitizers a start of Python with numpy takes two */

static void pause_ms(long ms) {
    struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double number(const char *name, krait_error **err) {
    krait_value out;
    double      x = 0;
    call(name, NULL, 0, &out, err);
    krait_get_f64(&out, &x, err);
    krait_value_clear(&out);
    return x;
}

/* For pthread_create: calls the function named `user`; returns the status. */
static void *call_by_name(void *user) {
    krait_error *err = NULL;
    krait_status status;
    number(user, &err);
    status = krait_error_status(err);
    krait_error_clear(&err);
    return (void *)(intptr_t)status;
}

static krait_status call_elsewhere(const char *name) {
    pthread_t thread;
    void     *status;
    char      copy[100];
    snprintf(copy, sizeof copy, "%s", name);
    pthread_create(&thread, NULL, call_by_name, copy);
    pthread_join(thread, &status);
    return (krait_status)(intptr_t)status;
}

static bool gone_within(int64_t ms, uint64_t live) {
    for (; counters().live_results > live && ms > 0; ms -= 10) pause_ms(10);
    return counters().live_results <= live;
}

/* The end of a scenario after which Python's own blocks look lost to a leak checker: its interned texts once it was
 * finalised, or a thread in the middle of an import. */
static int end_unchecked(void) {
    fflush(NULL);
    _exit(0);
}

/* Starts Python with module "m" of that text. */
static int start(const char *source) {
    krait_error *err = NULL;
    krait_init(NULL, &err);
    krait_module_from_source("m", source, &err);
    GOOD(err);
    return 0;
}

/* ---- destructors and release functions that call krait ---------------------------------------------------------- */

static atomic_int released;

static void acquire_and_release(void *user) {
    (void)user;
    if (krait_acquire(NULL)) return;
    krait_release();
    atomic_fetch_add(&released, 1);
}

/* What was cleared inside krait_acquire is freed by krait_release; a release function called then may acquire and
 * release itself. */
static int acquire_in_destructor(void) {
    static double data[4];
    krait_error  *err = NULL;
    krait_value   results[3];
    if (start("def same(a): return a\ndef one(): return 1.0\n")) return 1;
    krait_acquire(&err);
    for (size_t i = 0; i < COUNT(results); i++)
        call1("m:same", krait_owned(krait_vector_f64(data, 4), acquire_and_release, NULL), 0, &results[i], &err);
    GOOD(err);
    for (size_t i = 0; i < COUNT(results); i++) krait_value_clear(&results[i]);
    krait_release();
    MUST(atomic_load(&released) == 3);
    MUST(call_elsewhere("m:one") == KRAIT_OK); /* the GIL was let go, once */
    krait_release();
    MUST(number("m:one", &err) == 1);
    GOOD(err);
    return 0;
}

static void clear_value(void *user) {
    krait_value_clear(user);
}

static void *clear_elsewhere(void *user) {
    krait_value_clear(user);
    return NULL;
}

/* What such a release function clears is freed too, although the thread never calls again. */
static int clear_in_destructor(void) {
    static double data[4];
    krait_error  *err = NULL;
    krait_value   outer, inner;
    pthread_t     thread;
    uint64_t      before;
    if (start("import numpy\ndef same(a): return a\ndef make(): return numpy.ones(3)\ndef one(): return 1.0\n"))
        return 1;
    number("m:one", &err);
    krait_acquire(&err);
    krait_gc(&err);
    before = counters().live_results;
    call("m:make", NULL, 0, &inner, &err);
    call1("m:same", krait_owned(krait_vector_f64(data, 4), clear_value, &inner), 0, &outer, &err);
    GOOD(err);
    pthread_create(&thread, NULL, clear_elsewhere, &outer);
    pthread_join(thread, NULL);
    krait_release();
    MUST(gone_within(3000, before));
    return 0;
}

static void call_python(void *user) {
    krait_error *err = NULL;
    *(bool *)user = number("m:five", &err) == 5 && !err;
    krait_error_clear(&err);
}

/* A release function runs while an exception is on its way through the frame that kept the memory: it may call Python,
 * and the exception arrives. */
static int call_with_exception(void) {
    static double data[4];
    krait_error  *err = NULL;
    bool          called = false;
    if (start("kept = []\n"
              "def keep(a): kept.append(a)\n"
              "def five(): return 5.0\n"
              "def two(*a): pass\n"
              "def raises():\n"
              "    try: two(kept.pop(), 1 / 0)\n"
              "    except ZeroDivisionError: return 1.0\n"
              "    return 0.0\n"))
        return 1;
    number("m:five", &err);
    call1("m:keep", krait_owned(krait_vector_f64(data, 4), call_python, &called), 0, NULL, &err);
    MUST(number("m:raises", &err) == 1);
    GOOD(err);
    MUST(called);
    return 0;
}

/* Destructors that call back into krait one after the other, on a thread with the smallest stack that is let in:
 * freeing must not nest. */
static const char calling_back[] = "import ctypes, sys, numpy\n"
                                   "died = depth = deepest = 0\n"
                                   "class Item(numpy.ndarray):\n"
                                   "    def __del__(self):\n"
                                   "        global died, depth, deepest\n"
                                   "        depth += 1\n"
                                   "        deepest = max(depth, deepest)\n"
                                   "        BACK()\n"
                                   "        depth -= 1\n"
                                   "        died += 1\n"
                                   "def use(address):\n"
                                   "    global BACK\n"
                                   "    BACK = ctypes.PYFUNCTYPE(None)(address)\n"
                                   "def items(): return [numpy.zeros(1).view(Item) for _ in range(2000)]\n"
                                   "def one(): return 1.0\n"
                                   "def count(): return float(died)\n"
                                   "def depth_seen(): return float(deepest)\n";

static void call_one(void) {
    number("m:one", NULL);
}

static void *clear_many(void *user) {
    krait_error *err = NULL;
    krait_value  out;
    (void)user;
    krait_acquire(&err);
    call("m:items", NULL, 0, &out, &err);
    krait_value_clear(&out);
    krait_release();
    return err;
}

static int destructors_in_a_row(void) {
    krait_error   *err = NULL;
    pthread_t      thread;
    pthread_attr_t small;
    void          *error;
    if (start(calling_back)) return 1;
    call1("m:use", krait_u64((uint64_t)(uintptr_t)call_one), 0, NULL, &err);
    GOOD(err);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1280 * 1024);
    MUST(pthread_create(&thread, &small, clear_many, NULL) == 0);
    pthread_join(thread, &error);
    MUST(!error);
    MUST(number("m:count", &err) == 2000);
    MUST(number("m:depth_seen", &err) <= 10);
    GOOD(err);
    return 0;
}

static krait_func *twice;
static atomic_int  right;

static void call_twice(void) {
    krait_arg   args[] = { krait_pos(krait_f64(21)) };
    krait_value out;
    for (int i = 0; i < 100; i++) {
        if (!krait_call(twice, args, 1, NULL, &out, NULL) && out.kind == KRAIT_KIND_F64 && out.as.f64 == 42)
            atomic_fetch_add(&right, 1);
        krait_value_clear(&out);
    }
}

static atomic_int stop;

static void *call_until_stopped(void *user) {
    while (!atomic_load(&stop)) call_by_name(user);
    return NULL;
}

/* Inside krait_acquire, but in C code that Python called and let the GIL go for: in a module being imported, and in
 * destructors that krait_gc and krait_release run. A call from there takes the GIL first. */
static int call_where_gil_was_let_go(void) {
    static const char nap[] = "m:nap";
    krait_error      *err = NULL;
    krait_value       out;
    pthread_t         thread;
    char              source[200];
    twice = krait_func_new("m:twice", &err);
    if (start("import ctypes, time, numpy\n"
              "class Item(numpy.ndarray):\n"
              "    def __del__(self): BACK()\n"
              "def use(address):\n"
              "    global BACK\n"
              "    BACK = ctypes.CFUNCTYPE(None)(address)\n"
              "def item(): return numpy.zeros(1).view(Item)\n"
              "def nap():\n"
              "    sum(range(1000))\n"
              "    return 1.0\n"
              "def twice(x): return 2 * x\n"))
        return 1;
    call1("m:use", krait_u64((uint64_t)(uintptr_t)call_twice), 0, NULL, &err);
    pthread_create(&thread, NULL, call_until_stopped, (void *)(uintptr_t)nap);
    krait_acquire(&err);
    call_twice();
    snprintf(source, sizeof source, "import ctypes\nctypes.CFUNCTYPE(None)(%llu)()\n",
             (unsigned long long)(uintptr_t)call_twice);
    krait_module_from_source("calls_back", source, &err);
    for (int i = 0; i < 2; i++) {
        call("m:item", NULL, 0, &out, &err);
        krait_value_clear(&out);
        if (i == 0) krait_gc(&err);
    }
    krait_release();
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    GOOD(err);
    MUST(atomic_load(&right) == 400);
    krait_func_unref(twice);
    return 0;
}

/* ---- a host that brought its own Python, and finalises it ------------------------------------------------------- */

static struct {
    void *library;
    void *(*save)(void);
    void (*restore)(void *state);
    int (*finalize)(void);
    void *state;
} host;

static void *find(const char *name) {
    return dlsym(host.library, name);
}

/* Starts Python as an embedding program does, and lets the GIL go. */
static int start_host(void) {
    const char *path = getenv("KRAIT_TEST_LIBPYTHON");
    void (*initialize)(int) = NULL;
    void *symbol[4];
    host.library = path ? dlopen(path, RTLD_NOW | RTLD_GLOBAL) : NULL;
    MUST(host.library);
    symbol[0] = find("Py_InitializeEx");
    symbol[1] = find("PyEval_SaveThread");
    symbol[2] = find("PyEval_RestoreThread");
    symbol[3] = find("Py_FinalizeEx");
    MUST(symbol[0] && symbol[1] && symbol[2] && symbol[3]);
    memcpy(&initialize, &symbol[0], sizeof initialize);
    memcpy(&host.save, &symbol[1], sizeof host.save);
    memcpy(&host.restore, &symbol[2], sizeof host.restore);
    memcpy(&host.finalize, &symbol[3], sizeof host.finalize);
    initialize(0);
    host.state = host.save();
    return 0;
}

static void finalize_host(void) {
    host.restore(host.state);
    host.finalize();
}

static int closed_after_finalize(krait_func *func) {
    krait_error *err = NULL;
    krait_value  out;
    krait_call(func, NULL, 0, NULL, &out, &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    krait_acquire(&err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    krait_release();
    krait_gc(&err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    krait_add_path("/krait", 0, &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    krait_module_from_source("late", "", &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    MUST(call_elsewhere("time:time") == KRAIT_E_CLOSED); /* a thread without a state of its own */
    return 0;
}

/* After the host has finalised its Python, krait refuses by name; results and functions can be cleared all the same,
 * also by the janitor. */
static int host_finalizes(void) {
    krait_error *err = NULL;
    krait_func  *func;
    krait_value  text, list;
    if (start_host()) return 1;
    krait_init(NULL, &err);
    krait_module_from_source("m", "def text(): return 'x' * 100\ndef many(): return ['y' * 100, {'z': 'z' * 100}]\n",
                             &err);
    func = krait_func_new("time:time", &err);
    krait_call(func, NULL, 0, NULL, NULL, &err);
    call("m:text", NULL, 0, &text, &err);
    call("m:many", NULL, 0, &list, &err);
    GOOD(err);
    MUST(call_elsewhere("time:time") == KRAIT_OK); /* a thread that ends: its state is reaped before or never */
    finalize_host();
    if (closed_after_finalize(func)) return 1;
    krait_value_clear(&text);
    krait_value_clear(&list);
    krait_func_unref(func);
    pause_ms(200); /* the janitor looks */
    return end_unchecked();
}

/* krait_shutdown and a krait_init with modules to preload come too late as well. */
static int shutdown_after_finalize(void) {
    krait_error *err = NULL;
    if (start_host()) return 1;
    krait_init(NULL, &err);
    number("time:time", &err);
    GOOD(err);
    finalize_host();
    krait_shutdown(1000, &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    number("time:time", &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    return end_unchecked();
}

static int preload_after_finalize(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "colorsys", NULL };
    if (start_host()) return 1;
    krait_init(NULL, &err);
    number("time:time", &err);
    GOOD(err);
    finalize_host();
    options.preload = names;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    krait_wait_ready(1000, &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    number("time:time", &err);
    BAD(err, KRAIT_E_CLOSED, "finalised");
    return end_unchecked();
}

/* The Python that runs is the host's: options.python is refused, and that is not final. */
static int host_chose_python(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    if (start_host()) return 1;
    options.python = "/no/such/python";
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CONFLICT, "options.python");
    krait_init(NULL, &err);
    MUST(number("time:time", &err) > 0);
    GOOD(err);
    return 0;
}

/* ---- preloading ------------------------------------------------------------------------------------------------- */

/* Modules may be preloaded again and again: whoever was told that they are there can hand over the next at once. */
static int preload_again(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "json", NULL };
    options.preload = names;
    for (int i = 0; i < 20000; i++) {
        krait_init(&options, &err);
        GOOD(err);
        krait_wait_ready(5000, &err);
        GOOD(err);
    }
    MUST(number("time:time", &err) > 0);
    GOOD(err);
    return 0;
}

/* The first call gets the error of a preload, whether it came before or after the failure; the second does not. */
static int preload_error(long wait_ms) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "json", "no_such_module", NULL };
    options.preload = names;
    krait_init(&options, &err);
    GOOD(err);
    pause_ms(wait_ms);
    number("time:time", &err);
    BAD(err, KRAIT_E_IMPORT, "no_such_module");
    MUST(number("time:time", &err) > 0);
    GOOD(err);
    krait_wait_ready(-1, &err);
    BAD(err, KRAIT_E_IMPORT, "no_such_module");
    return 0;
}

static int preload_error_at_once(void) {
    return preload_error(0);
}

static int preload_error_later(void) {
    return preload_error(1000);
}

static int write_file(const char *name, const char *text) {
    char  path[PATH_MAX];
    FILE *out;
    snprintf(path, sizeof path, "%s/%s", getenv("KRAIT_TEST_FOLDER"), name);
    out = fopen(path, "w");
    MUST(out && fputs(text, out) >= 0);
    return fclose(out);
}

/* Who waits for a preload is sent away by krait_shutdown, not kept until the import ends. */
static int shutdown_while_preloading(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *paths[] = { getenv("KRAIT_TEST_FOLDER"), NULL }, *names[] = { "takes_long", NULL };
    pthread_t     thread;
    void         *status;
    double        begun;
    if (write_file("takes_long.py", "import time\ntime.sleep(15)\n")) return 1;
    options.paths = paths;
    options.preload = names;
    krait_init(&options, &err);
    GOOD(err);
    pthread_create(&thread, NULL, call_by_name, "time:time");
    pause_ms(100);
    begun = seconds();
    krait_shutdown(200, &err);
    krait_error_clear(&err);
    pthread_join(thread, &status);
    MUST((intptr_t)status == KRAIT_E_CLOSED);
    MUST(seconds() - begun < 5);
    return end_unchecked();
}

/* ---- shutdown --------------------------------------------------------------------------------------------------- */

static atomic_int holding, let_go;

static void *hold_the_gil(void *user) {
    (void)user;
    if (krait_acquire(NULL)) return NULL;
    atomic_store(&holding, 1);
    for (int i = 0; i < 1500 && !atomic_load(&let_go); i++) pause_ms(10);
    krait_release();
    return NULL;
}

/* A thread between krait_acquire and krait_release keeps krait_shutdown for the time given, not for ever. */
static int shutdown_while_held(void) {
    krait_error *err = NULL;
    pthread_t    thread;
    double       begun;
    if (start("")) return 1;
    pthread_create(&thread, NULL, hold_the_gil, NULL);
    while (!atomic_load(&holding)) pause_ms(1);
    begun = seconds();
    krait_shutdown(300, &err);
    MUST(seconds() - begun < 5);
    BAD(err, KRAIT_E_TIMEOUT, "holds the GIL");
    number("time:time", &err);
    BAD(err, KRAIT_E_CLOSED, "krait_shutdown");
    atomic_store(&let_go, 1);
    pthread_join(thread, NULL);
    return 0;
}

static atomic_int  shut, ran_late;
static krait_value slow_to_die;

static void note_late(void) {
    if (atomic_load(&shut)) atomic_store(&ran_late, 1);
}

static void *clear_and_call(void *user) {
    krait_value_clear(&slow_to_die);
    return call_by_name(user);
}

/* A call first frees what was cleared, where a destructor may let the GIL go: when krait_shutdown comes in just then,
 * the call counts as running, and none of its code runs after the shutdown has returned. */
static int nothing_after_shutdown(void) {
    krait_error *err = NULL;
    pthread_t    thread;
    if (start("import ctypes, time, numpy\n"
              "class Slow(numpy.ndarray):\n"
              "    def __del__(self): time.sleep(0.8)\n"
              "def slow(): return numpy.zeros(2).view(Slow)\n"
              "def use(address):\n"
              "    global NOTE\n"
              "    NOTE = ctypes.CFUNCTYPE(None)(address)\n"
              "def note():\n"
              "    NOTE()\n"
              "    return 1.0\n"))
        return 1;
    call1("m:use", krait_u64((uint64_t)(uintptr_t)note_late), 0, NULL, &err);
    number("m:note", &err);
    call("m:slow", NULL, 0, &slow_to_die, &err);
    GOOD(err);
    pthread_create(&thread, NULL, clear_and_call, "m:note");
    pause_ms(200);
    krait_shutdown(10000, &err);
    atomic_store(&shut, 1);
    GOOD(err);
    pthread_join(thread, NULL);
    MUST(!atomic_load(&ran_late));
    return 0;
}

static void *import_from_source(void *user) {
    return (void *)(intptr_t)krait_module_from_source("slow_source", user, NULL);
}

static void *import_from_file(void *user) {
    krait_func  *func = krait_func_new("slow_file:nothing", NULL);
    krait_status status = krait_func_check(func, NULL, NULL);
    (void)user;
    krait_func_unref(func);
    return (void *)(intptr_t)status;
}

/* A module that is being run from source or imported by krait_func_check is code that runs, too. */
static int nothing_imported_after_shutdown(void *(*import)(void *user)) {
    krait_error *err = NULL;
    pthread_t    thread;
    void        *status;
    char         source[300];
    snprintf(source, sizeof source,
             "import ctypes, time\ndef nothing(): pass\ntime.sleep(0.8)\nctypes.CFUNCTYPE(None)(%llu)()\n",
             (unsigned long long)(uintptr_t)note_late);
    if (start("import ctypes") || write_file("slow_file.py", source)) return 1;
    krait_add_path(getenv("KRAIT_TEST_FOLDER"), 0, &err);
    GOOD(err);
    pthread_create(&thread, NULL, import, source);
    pause_ms(300);
    krait_shutdown(10000, &err);
    atomic_store(&shut, 1);
    GOOD(err);
    pthread_join(thread, &status);
    MUST((intptr_t)status == KRAIT_OK);
    MUST(!atomic_load(&ran_late));
    return 0;
}

static int shutdown_waits_for_source(void) {
    return nothing_imported_after_shutdown(import_from_source);
}

static int shutdown_waits_for_check(void) {
    return nothing_imported_after_shutdown(import_from_file);
}

/* ---- what was cleared is freed ---------------------------------------------------------------------------------- */

/* Clearing more than a call frees in passing does not pile up inside krait_acquire: nobody else could free it. */
static int no_pile_inside_acquire(void) {
    enum { EACH = 500, ROUNDS = 40 };
    krait_error *err = NULL;
    krait_value  out;
    uint64_t     most = 0;
    if (start("import numpy\ndef many(): return [numpy.empty(100) for _ in range(500)]\n")) return 1;
    krait_acquire(&err);
    for (int i = 0; i < ROUNDS && !err; i++) {
        call("m:many", NULL, 0, &out, &err);
        krait_value_clear(&out);
        if (counters().live_results > most) most = counters().live_results;
    }
    krait_release();
    GOOD(err);
    MUST(most >= EACH && most < 3 * EACH);
    MUST(counters().live_results < 100);
    return 0;
}

/* What one call leaves of a long list is freed in the end, although nobody calls any more. */
static int backlog_drains(void) {
    krait_error *err = NULL;
    krait_value  out;
    krait_func  *one = krait_func_new("m:one", &err);
    if (start("import time, numpy\n"
              "class Slow(numpy.ndarray):\n"
              "    def __del__(self): time.sleep(0.001)\n"
              "def many(): return [numpy.zeros(2).view(Slow) for _ in range(300)]\n"
              "def one(): return 1.0\n"))
        return 1;
    krait_call(one, NULL, 0, NULL, NULL, &err);
    call("m:many", NULL, 0, &out, &err);
    krait_value_clear(&out);
    krait_call(one, NULL, 0, NULL, NULL, &err);
    GOOD(err);
    for (int i = 0; i < 500 && counters().pending_releases; i++) pause_ms(10);
    MUST(counters().pending_releases == 0);
    krait_func_unref(one);
    return 0;
}

/* ---- escapes ---------------------------------------------------------------------------------------------------- */

static const char nesting[] = "import ctypes\n"
                              "now = []\n"
                              "def use(address):\n"
                              "    global BACK\n"
                              "    BACK = ctypes.CFUNCTYPE(None)(address)\n"
                              "def outer(a):\n"
                              "    now.append(a)\n"
                              "    try: BACK()\n"
                              "    finally: now.clear()\n"
                              "    return 1.0\n"
                              "def inner(): return now[0]\n";

static atomic_int inner_calls;

static void call_inner(void) {
    krait_value out;
    if (!call("m:inner", NULL, 0, &out, NULL)) atomic_fetch_add(&inner_calls, 1);
    krait_value_clear(&out);
}

/* A nested call returned the argument and its result was cleared: nothing of it is left, so the outer call has no
 * escape. */
static int no_false_escape(bool acquired) {
    static double data[10];
    krait_error  *err = NULL;
    if (start(nesting)) return 1;
    call1("m:use", krait_u64((uint64_t)(uintptr_t)call_inner), 0, NULL, &err);
    if (acquired) krait_acquire(&err);
    for (int i = 0; i < 5; i++) {
        call1("m:outer", krait_vector_f64(data, 10), 0, NULL, &err);
        GOOD(err);
    }
    if (acquired) krait_release();
    MUST(atomic_load(&inner_calls) == 5);
    MUST(krait_loans(NULL, NULL) == 0);
    return 0;
}

static int nested_result_cleared(void) {
    return no_false_escape(false);
}

static int nested_result_cleared_acquired(void) {
    return no_false_escape(true);
}

static atomic_int outer_calls;

static void call_outer(void *user) {
    krait_error *err = NULL;
    call1("m:outer", krait_vector_f64(user, 10), 0, NULL, &err);
    if (err) SAY("%s", krait_error_message(err));
    else atomic_fetch_add(&outer_calls, 1);
    krait_error_clear(&err);
}

/* The same where the outer call is made by a release function, while cleared results are being freed. */
static int nested_result_cleared_in_release(void) {
    static double data[10], more[10];
    krait_error  *err = NULL;
    krait_value   out;
    if (start(nesting)) return 1;
    call1("m:use", krait_u64((uint64_t)(uintptr_t)call_inner), 0, NULL, &err);
    krait_module_from_source("same", "def same(a): return a\n", &err);
    for (int i = 0; i < 2; i++) {
        call1("same:same", krait_owned(krait_vector_f64(data, 10), call_outer, more), 0, &out, &err);
        GOOD(err);
        if (i) krait_acquire(&err);
        krait_value_clear(&out);
        if (i) krait_release();
        else krait_gc(&err); /* frees it, unless the janitor did */
        for (int k = 0; k < 300 && atomic_load(&outer_calls) <= i; k++) pause_ms(10);
        GOOD(err);
        MUST(atomic_load(&outer_calls) == i + 1);
    }
    MUST(krait_loans(NULL, NULL) == 0);
    return 0;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

/* A few nested lists stand for millions of items: the bound is on all of them together. */
static int items_bounded(void) {
    static const char *const makers[] = { "m:lists", "m:dicts", "m:mixed" };
    krait_error             *err = NULL;
    krait_value              out;
    if (start("def grow(n, join):\n"
              "    x = 1.0\n"
              "    for _ in range(n): x = join(x)\n"
              "    return x\n"
              "def lists(n): return grow(n, lambda x: [x, x])\n"
              "def dicts(n): return grow(n, lambda x: {'a': x, 'b': x})\n"
              "def mixed(n): return grow(n, lambda x: [x, {'b': x}])\n"))
        return 1;
    for (size_t i = 0; i < COUNT(makers); i++) {
        call1(makers[i], krait_i64(12), 0, &out, &err);
        GOOD(err);
        MUST(krait_list_len(&out) + krait_map_len(&out) == 2);
        krait_value_clear(&out);
        call1(makers[i], krait_i64(20), 0, &out, &err);
        BAD(err, KRAIT_E_UNSUPPORTED, "numpy array");
        MUST(out.kind == KRAIT_KIND_NONE);
    }
    return 0;
}

/* Asking what a result is may fail; that failure is nobody's, and must not come up in a later call. */
static int coroutine_question_fails(void) {
    krait_error *err = NULL;
    krait_func  *unknown = krait_func_new("m:unknown", &err);
    krait_func  *loop = krait_func_new("m:loop", &err); /* found once: looking for a name would hide what is left */
    krait_value  out;
    if (start("import sys\n"
              "def break_question(): sys.modules['decimal'] = sys.modules['types'] = None\n"
              "class Unknown: pass\n"
              "def unknown(): return Unknown()\n"
              "def loop():\n"
              "    for key in {1: 2}: pass\n"
              "    return 1.0\n"))
        return 1;
    krait_acquire(&err); /* one thread state all the time: what is left in it stays */
    krait_call(loop, NULL, 0, NULL, NULL, &err);
    call("m:break_question", NULL, 0, NULL, &err);
    for (int i = 0; i < 3; i++) {
        krait_call(unknown, NULL, 0, NULL, NULL, &err); /* dropped, so of any type */
        krait_call(loop, NULL, 0, NULL, &out, &err);
        GOOD(err);
        MUST(out.kind == KRAIT_KIND_F64);
        krait_call(unknown, NULL, 0, NULL, &out, &err);
        GOOD(err);
        MUST(out.kind == KRAIT_KIND_OBJECT);
        krait_value_clear(&out);
        krait_call(loop, NULL, 0, NULL, &out, &err);
        GOOD(err);
    }
    krait_release();
    krait_func_unref(unknown);
    krait_func_unref(loop);
    return 0;
}

/* ---- init: what is refused, and what is not --------------------------------------------------------------------- */

/* sitecustomize may put anything in the place of sys.stdout. Run with its folder in PYTHONPATH. */
static int stdout_replaced(void) {
    if (start("import io, sys\ndef replaced(): return float(isinstance(sys.stdout, io.StringIO) and sys.stderr is "
              "None)\n"))
        return 1;
    MUST(number("m:replaced", NULL) == 1);
    return 0;
}

/* Too many words for the interpreter are refused before it is started, so the next krait_init can do better. */
static int too_many_words(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *words[71] = { NULL };
    for (size_t i = 0; i < 70; i++) words[i] = "ignore::FutureWarning";
    options.warnings = words;
    krait_init(&options, &err);
    MUST(err);
    krait_error_clear(&err);
    options.x_options = words;
    options.warnings = NULL;
    krait_init(&options, &err);
    MUST(err);
    krait_error_clear(&err);
    krait_init(NULL, &err);
    MUST(number("time:time", &err) > 0);
    GOOD(err);
    return 0;
}

/* The BLAS has its threads already: another number comes too late, and is told so. */
static int other_blas_threads(void) {
    krait_error  *err = NULL;
    krait_options options = KRAIT_OPTIONS_INIT;
    options.blas_threads = 1;
    krait_init(&options, &err);
    GOOD(err);
    options.blas_threads = 2;
    krait_init(&options, &err);
    BAD(err, KRAIT_E_CONFLICT, "blas_threads");
    options.blas_threads = 1;
    krait_init(&options, &err);
    options.blas_threads = 0;
    krait_init(&options, &err);
    GOOD(err);
    return 0;
}

/* ---- counters --------------------------------------------------------------------------------------------------- */

/* gil_wait_ns is a sample; threads that call once only must not all fall into it. What it says is compared with the
 * time that two threads at once can have waited at all, with room for the sample's noise; when each counts for 64, it
 * is more than ten times as much. */
static int short_threads_wait(void) {
    enum { ROUNDS = 96, SAMPLED = 64 };
    krait_error *err = NULL;
    double       begun, told;
    if (start("import time\n"
              "def busy():\n"
              "    end = time.perf_counter() + 0.002\n"
              "    while time.perf_counter() < end: pass\n"
              "    return 1.0\n"))
        return 1;
    number("m:busy", &err);
    GOOD(err);
    begun = seconds();
    told = (double)counters().gil_wait_ns;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t threads[2];
        for (size_t k = 0; k < COUNT(threads); k++) pthread_create(&threads[k], NULL, call_by_name, "m:busy");
        for (size_t k = 0; k < COUNT(threads); k++) pthread_join(threads[k], NULL);
    }
    told = ((double)counters().gil_wait_ns - told) * 1e-9;
    if (told > 8 * (seconds() - begun)) {
        SAY("%g s of waiting in %g s", told, seconds() - begun);
        return 1;
    }
    return 0;
}

/* ---- hosts in Python: krait by ctypes --------------------------------------------------------------------------- */

/* lend(keeper) lends 8 doubles to krait_test_m:keep. The argument's bytes were made by this program, all but the
 * address. */
#define HOST_HEAD                                                                                                      \
    "import ctypes, faulthandler, os, struct, sys, threading, time\n"                                                  \
    "faulthandler.dump_traceback_later(10, exit=True)\n"                                                               \
    "P = ctypes.c_void_p\n"                                                                                            \
    "k = ctypes.CDLL(os.environ['KRAIT_TEST_LIBRARY'])\n"                                                              \
    "k.krait_init.argtypes = [P, P]\n"                                                                                 \
    "k.krait_module_from_source.argtypes = [ctypes.c_char_p, ctypes.c_char_p, P]\n"                                    \
    "k.krait_func_new.argtypes, k.krait_func_new.restype = [ctypes.c_char_p, P], P\n"                                  \
    "k.krait_call.argtypes = [P, P, ctypes.c_size_t, P, P, P]\n"                                                       \
    "k.krait_loans.argtypes, k.krait_loans.restype = [P, P], ctypes.c_size_t\n"                                        \
    "memory = (ctypes.c_double * 8)()\n"                                                                               \
    "def start(source):\n"                                                                                             \
    "    assert k.krait_init(None, None) == 0\n"                                                                       \
    "    assert k.krait_module_from_source(b'krait_test_m', source, None) == 0\n"                                      \
    "def lend():\n"                                                                                                    \
    "    raw = bytearray.fromhex(os.environ['KRAIT_TEST_ARG'])\n"                                                      \
    "    struct.pack_into('P', raw, int(os.environ['KRAIT_TEST_AT']), ctypes.addressof(memory))\n"                     \
    "    arg = ctypes.create_string_buffer(bytes(raw), len(raw))\n"                                                    \
    "    func = k.krait_func_new(b'krait_test_m:keep', None)\n"                                                        \
    "    return k.krait_call(func, ctypes.addressof(arg), 1, None, None, None)\n"

/* krait_loans calls back into Python code that ends loans, as any Python code may. */
static const char host_loans[] = HOST_HEAD "start(b'kept = []\\ndef keep(a): kept.append(a)\\n')\n"
                                           "import krait_test_m\n"
                                           "assert lend() and lend()\n"
                                           "seen = []\n"
                                           "def each(user, loan):\n"
                                           "    seen.append(loan)\n"
                                           "    krait_test_m.kept.clear()\n"
                                           "callback = ctypes.CFUNCTYPE(None, P, P)(each)\n"
                                           "assert k.krait_loans(callback, None) == 2\n"
                                           "assert len(seen) == 2 and k.krait_loans(None, None) == 0\n";

/* Two threads make the first krait_init at once, one of them with the GIL held; DELAY says how much later that one
 * comes. */
static const char host_first_init[] =
    HOST_HEAD "held = ctypes.PyDLL(os.environ['KRAIT_TEST_LIBRARY'])\n"
              "held.krait_init.argtypes = [P, P]\n"
              "sys.setswitchinterval(1e-6)\n"
              "delay = int(os.environ['KRAIT_TEST_DELAY']) * 1e-6\n"
              "status = []\n"
              "def holds():\n"
              "    until = time.perf_counter() + delay\n"
              "    while time.perf_counter() < until: pass\n"
              "    status.append(held.krait_init(None, None))\n"
              "threads = [threading.Thread(target=holds), threading.Thread(target=lambda: "
              "status.append(k.krait_init(None, None)))]\n"
              "for t in threads: t.start()\n"
              "for t in threads: t.join()\n"
              "assert status == [0, 0], status\n";

/* The host ends, and its Python with it, while krait's janitor has the states of ended threads to delete. */
static const char host_ends[] = HOST_HEAD "start(b'def keep(a): return a\\n')\n"
                                          "threads = [threading.Thread(target=lend) for _ in range(20)]\n"
                                          "for t in threads: t.start()\n"
                                          "for t in threads: t.join()\n";

/* ---- running ---------------------------------------------------------------------------------------------------- */

static const struct scenario {
    const char *name;
    int (*run)(void);
} scenarios[] = {
#define SCENARIO(name)                                                                                                 \
    { #name, name }
    SCENARIO(acquire_in_destructor),
    SCENARIO(clear_in_destructor),
    SCENARIO(call_with_exception),
    SCENARIO(destructors_in_a_row),
    SCENARIO(call_where_gil_was_let_go),
    SCENARIO(host_finalizes),
    SCENARIO(shutdown_after_finalize),
    SCENARIO(preload_after_finalize),
    SCENARIO(host_chose_python),
    SCENARIO(preload_again),
    SCENARIO(preload_error_at_once),
    SCENARIO(preload_error_later),
    SCENARIO(shutdown_while_preloading),
    SCENARIO(shutdown_while_held),
    SCENARIO(nothing_after_shutdown),
    SCENARIO(shutdown_waits_for_source),
    SCENARIO(shutdown_waits_for_check),
    SCENARIO(no_pile_inside_acquire),
    SCENARIO(backlog_drains),
    SCENARIO(nested_result_cleared),
    SCENARIO(nested_result_cleared_acquired),
    SCENARIO(nested_result_cleared_in_release),
    SCENARIO(items_bounded),
    SCENARIO(coroutine_question_fails),
    SCENARIO(stdout_replaced),
    SCENARIO(too_many_words),
    SCENARIO(other_blas_threads),
    SCENARIO(short_threads_wait),
};

static char self[PATH_MAX], folder[] = "/tmp/krait-regressions.XXXXXX", python[PATH_MAX], library[PATH_MAX];

/* Runs a program in a changed environment; fails the test unless it returns 0. */
static void run(const char *what, const char *const *argv, const char *const (*variables)[2]) {
    pid_t child = fork();
    int   status = -1;
    assert_true(child >= 0);
    if (child == 0) {
        for (; variables && (*variables)[0]; variables++) setenv((*variables)[0], (*variables)[1], 1);
        setenv("KRAIT_TEST_FOLDER", folder, 1);
        alarm(SCENARIO_SECONDS);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status)
        fail_msg("%s ended with %s %d", what, WIFSIGNALED(status) ? "signal" : "exit code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void run_scenario(const char *name, const char *const (*variables)[2]) {
    const char *const argv[] = { self, name, NULL };
    run(name, argv, variables);
}

#define PLAIN(name)                                                                                                    \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        run_scenario(#name, NULL);                                                                                     \
    }
PLAIN(acquire_in_destructor)
PLAIN(clear_in_destructor)
PLAIN(call_with_exception)
PLAIN(destructors_in_a_row)
PLAIN(call_where_gil_was_let_go)
PLAIN(preload_again)
PLAIN(preload_error_at_once)
PLAIN(preload_error_later)
PLAIN(shutdown_while_preloading)
PLAIN(shutdown_while_held)
PLAIN(nothing_after_shutdown)
PLAIN(shutdown_waits_for_source)
PLAIN(shutdown_waits_for_check)
PLAIN(no_pile_inside_acquire)
PLAIN(backlog_drains)
PLAIN(nested_result_cleared)
PLAIN(nested_result_cleared_acquired)
PLAIN(nested_result_cleared_in_release)
PLAIN(items_bounded)
PLAIN(coroutine_question_fails)
PLAIN(too_many_words)
PLAIN(other_blas_threads)
PLAIN(short_threads_wait)

static void test_stdout_replaced(void **state) {
    const char *const variables[][2] = { { "PYTHONPATH", folder }, { NULL, NULL } };
    (void)state;
    setenv("KRAIT_TEST_FOLDER", folder, 1);
    assert_int_equal(write_file("sitecustomize.py", "import io, sys\nsys.stdout = io.StringIO()\nsys.stderr = None\n"),
                     0);
    run_scenario("stdout_replaced", variables);
}

/* ---- running: a C host with its own Python ---------------------------------------------------------------------- */

/* The libpython that krait loads here, and its home, for a host that starts the same Python: printed by a first
 * process. */
static int print_python(void) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *home;
    char         line[PATH_MAX + 100], *path = NULL;
    FILE        *maps = fopen("/proc/self/maps", "r");
    if (start("import sys\ndef home(): return sys.base_prefix\n")) return 1;
    while (maps && !path && fgets(line, sizeof line, maps)) {
        path = strchr(line, '/');
        if (path && !strstr(path, "/libpython3.")) path = NULL;
    }
    if (maps) fclose(maps);
    call("m:home", NULL, 0, &out, &err);
    krait_get_text(&out, &home, NULL, &err);
    GOOD(err);
    MUST(path);
    printf("%s%s\n", path, home);
    krait_value_clear(&out);
    return 0;
}

static void run_host(const char *name) {
    char              path[PATH_MAX] = "", home[PATH_MAX] = "", command[PATH_MAX + 100];
    const char *const variables[][2] = { { "KRAIT_TEST_LIBPYTHON", path }, { "PYTHONHOME", home }, { NULL, NULL } };
    FILE             *pipe;
    snprintf(command, sizeof command, "'%s' print_python", self);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    if (fgets(path, sizeof path, pipe) && fgets(home, sizeof home, pipe))
        path[strcspn(path, "\n")] = home[strcspn(home, "\n")] = 0;
    pclose(pipe);
    assert_true(path[0] == '/' && home[0] == '/');
    run_scenario(name, variables);
}

#define HOST(name)                                                                                                     \
    static void test_##name(void **state) {                                                                            \
        (void)state;                                                                                                   \
        run_host(#name);                                                                                               \
    }
HOST(host_finalizes)
HOST(shutdown_after_finalize)
HOST(preload_after_finalize)
HOST(host_chose_python)

/* ---- running: a Python host ------------------------------------------------------------------------------------- */

/* KRAIT_PYTHON as a program: a virtual environment's folder, or an executable; python3 where it is not set. */
static bool find_python(void) {
    const char *chosen = getenv("KRAIT_PYTHON");
    struct stat about;
    if (!chosen || !*chosen) {
        FILE *pipe = popen("command -v python3", "r");
        if (pipe && fgets(python, sizeof python, pipe)) python[strcspn(python, "\n")] = 0;
        if (pipe) pclose(pipe);
    } else if (!stat(chosen, &about) && S_ISDIR(about.st_mode)) {
        snprintf(python, sizeof python, "%s/bin/python3", chosen);
    } else {
        snprintf(python, sizeof python, "%s", chosen);
    }
    return python[0] && !strstr(python, ".so") && !access(python, X_OK);
}

/* The shared library: beside this program's folder, also when the program itself was linked with the static one. */
static bool find_library(void) {
    const char *chosen = getenv("KRAIT_TEST_LIBRARY"), *names[] = { "libkrait.so.0", "libkrait.so" };
    if (chosen) snprintf(library, sizeof library, "%s", chosen);
    for (size_t i = 0; !chosen && i < COUNT(names); i++) {
        int length = snprintf(library, sizeof library, "%.*s/../%s", (int)(strrchr(self, '/') - self), self, names[i]);
        if (length > 0 && (size_t)length < sizeof library && !access(library, R_OK)) return true;
    }
    return !access(library, R_OK);
}

/* The bytes of an argument that lends 8 doubles, as digits. */
static void print_argument(char *text) {
    const krait_arg      arg = krait_pos(krait_vector_f64((const double *)sizeof(double), 8));
    const unsigned char *bytes = (const unsigned char *)&arg;
    for (size_t i = 0; i < sizeof arg; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void run_python(const char *what, const char *script, const char *delay) {
    const char *const argv[] = { python, "-c", script, NULL };
    char              argument[2 * sizeof(krait_arg) + 1], at[20];
    const char *const variables[][2] = { { "KRAIT_TEST_LIBRARY", library },
                                         { "KRAIT_TEST_ARG", argument },
                                         { "KRAIT_TEST_AT", at },
                                         { "KRAIT_TEST_DELAY", delay },
                                         { NULL, NULL } };
    if (!find_python()) {
        print_message("no python program at '%s': skipped\n", python);
        skip();
    }
    if (!find_library()) fail_msg("no shared library at %s", library);
    print_argument(argument);
    snprintf(at, sizeof at, "%zu", offsetof(krait_arg, value.as.array.data));
    run(what, argv, variables);
}

static void test_loans_end_in_callback(void **state) {
    (void)state;
    run_python("host_loans", host_loans, "0");
}

/* The window is as long as finding CPython's functions takes, some 50 microseconds: what hits it differs from machine
 * to machine. */
static void test_first_init_at_once(void **state) {
    char delay[20];
    (void)state;
    for (int us = 0; us < 400; us += 10) {
        snprintf(delay, sizeof delay, "%d", us);
        run_python("host_first_init", host_first_init, delay);
    }
}

static void test_host_ends(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) run_python("host_ends", host_ends, "0");
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
        cmocka_unit_test(test_acquire_in_destructor),
        cmocka_unit_test(test_clear_in_destructor),
        cmocka_unit_test(test_call_with_exception),
        cmocka_unit_test(test_destructors_in_a_row),
        cmocka_unit_test(test_call_where_gil_was_let_go),
        cmocka_unit_test(test_host_finalizes),
        cmocka_unit_test(test_shutdown_after_finalize),
        cmocka_unit_test(test_preload_after_finalize),
        cmocka_unit_test(test_host_chose_python),
        cmocka_unit_test(test_preload_again),
        cmocka_unit_test(test_preload_error_at_once),
        cmocka_unit_test(test_preload_error_later),
        cmocka_unit_test(test_shutdown_while_preloading),
        cmocka_unit_test(test_shutdown_while_held),
        cmocka_unit_test(test_nothing_after_shutdown),
        cmocka_unit_test(test_shutdown_waits_for_source),
        cmocka_unit_test(test_shutdown_waits_for_check),
        cmocka_unit_test(test_no_pile_inside_acquire),
        cmocka_unit_test(test_backlog_drains),
        cmocka_unit_test(test_nested_result_cleared),
        cmocka_unit_test(test_nested_result_cleared_acquired),
        cmocka_unit_test(test_nested_result_cleared_in_release),
        cmocka_unit_test(test_items_bounded),
        cmocka_unit_test(test_coroutine_question_fails),
        cmocka_unit_test(test_stdout_replaced),
        cmocka_unit_test(test_too_many_words),
        cmocka_unit_test(test_other_blas_threads),
        cmocka_unit_test(test_short_threads_wait),
        cmocka_unit_test(test_loans_end_in_callback),
        cmocka_unit_test(test_first_init_at_once),
        cmocka_unit_test(test_host_ends),
    };
    if (!realpath(argv[0], self)) return 1;
    if (argc > 1 && !strcmp(argv[1], "print_python")) return print_python();
    for (size_t i = 0; argc > 1 && i < COUNT(scenarios); i++)
        if (!strcmp(argv[1], scenarios[i].name)) return scenarios[i].run();
    alarm(280);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
