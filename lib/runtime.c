#include "runtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge.h"
#include "log.h"
#include "mem.h"
#include "os.h"
#include "pyerr.h"
#include "start.h"

enum {
    PARK_MS = 500,         /* how often the main thread looks for pending calls while there is traffic */
    EXPLAIN_MS = 10 * 1000 /* for the child that explains a failed start */
};

krait__runtime_facts krait__runtime;

/* ---- a Python that is in the process already --------------------------------------------------------------------- */

static bool promote(void *user, const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (strncmp(name, "libpython3", 10) != 0 || !strncmp(name, "libpython3.so", 13)) return false;
    *(void **)user = dlopen(path, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
    return *(void **)user != NULL;
}

/* Is a CPython in the process, of the program itself or of a libpython that somebody opened (made global now)? *handle
 * finds its symbols; RTLD_DEFAULT is NULL, so that alone says nothing. Only where there is none may one be opened. */
static bool is_loaded(void **handle) {
    *handle = RTLD_DEFAULT;
    if (dlsym(RTLD_DEFAULT, "Py_IsInitialized")) return true;
    *handle = NULL;
    return krait__os_each_library(promote, handle);
}

static krait_status open_library(const krait__place *place, void **handle, krait_error **err) {
    const char *reason;
    *handle = dlopen(place->libpython, RTLD_NOW | RTLD_GLOBAL);
    if (*handle) return KRAIT_OK;
    reason = dlerror();
    return krait__fail(err, KRAIT_E_NO_LIBPYTHON, "%s cannot be loaded: %s", place->libpython,
                       reason ? reason : "no reason given");
}

/* ---- the main thread --------------------------------------------------------------------------------------------- */

static struct {
    krait__event wake, done;
    void (*job)(void *user);
    void *job_user;
    bool  parked; /* the thread has started and waits for jobs */
} main_thread;

typedef struct start_job {
    const krait_options *options;
    krait_status         status;
    krait_error        **err;
    bool                 is_up; /* the interpreter itself has started */
} start_job;

static bool host_handles_faults(const krait__signals *signals) {
    return signals->known[SIGSEGV] &&
           (signals->action[SIGSEGV].sa_flags & SA_SIGINFO || signals->action[SIGSEGV].sa_handler != SIG_DFL);
}

/* Puts back the host's dispositions. PYTHONFAULTHANDLER in a host without handlers of its own is what somebody asked
 * for: it stays. */
static void restore_signals(krait__signals *signals, const krait_options *options) {
    static const int faults[] = { SIGSEGV, SIGFPE, SIGABRT, SIGBUS, SIGILL };
    const char      *wanted = options->flags & KRAIT_ISOLATED ? NULL : getenv("PYTHONFAULTHANDLER");
    for (size_t i = 0; wanted && *wanted && !host_handles_faults(signals) && i < sizeof faults / sizeof *faults; i++)
        signals->known[faults[i]] = false;
    krait__signals_restore(signals);
}

static void start_here(start_job *job) {
    krait__signals signals;
    krait__signals_save(&signals);
    job->status = krait__start_python(&krait__runtime.place, job->options, job->err);
    job->is_up = job->status == KRAIT_OK;
    if (!job->status) job->status = krait__pyapi_measure(job->err);
    if (!job->status)
        job->status = krait__bridge_boot(krait__runtime.library, true, host_handles_faults(&signals), job->err);
    restore_signals(&signals, job->options);
}

/* Without traffic nobody can have left a pending call, and the GIL is left alone. */
static bool any_traffic(void) {
    static uint64_t seen;
    krait__counters now;
    krait__gil_counters(&now);
    if (now.gil_enters == seen) return false;
    seen = now.gil_enters;
    return true;
}

static void run_job(void) {
    void (*job)(void *) = main_thread.job;
    main_thread.job = NULL;
    job(main_thread.job_user);
    krait__event_post(&main_thread.done);
}

/* Never returns once Python is up. */
static void *main_run(void *user) {
    start_job     *job = user;
    PyThreadState *state;
    bool           is_up;
    start_here(job);
    is_up = job->is_up;
    state = is_up ? krait__gil_pause() : NULL;
    krait__event_post(&main_thread.done);
    while (is_up) {
        bool woken = krait__event_wait(&main_thread.wake, PARK_MS);
        if (!woken && !any_traffic()) continue;
        krait__gil_resume(state);
        if (woken && main_thread.job) run_job();
        if (py.Py_MakePendingCalls()) py.PyErr_Clear();
        state = krait__gil_pause();
    }
    return NULL;
}

bool krait__runtime_on_main(void (*fn)(void *user), void *user, int64_t timeout_ms) {
    if (!main_thread.parked) return false;
    main_thread.job_user = user;
    main_thread.job = fn;
    krait__event_post(&main_thread.wake);
    return krait__event_wait(&main_thread.done, timeout_ms);
}

/* What Python was started with, to compare a later krait_init with; words one after the other, each with its NUL. */
static struct {
    bool        isolated;
    krait__text x_options, warnings;
} started_with;

static void remember_words(krait__text *text, const char *const *words) {
    for (; words && *words; words++) krait__text_add(text, *words, strlen(*words) + 1);
}

/* Unset words agree with anything. */
static bool words_agree(const krait__text *before, const char *const *words) {
    size_t at = 0;
    if (!words) return true;
    for (; *words; words++) {
        if (at >= before->size || strcmp(before->data + at, *words) != 0) return false;
        at += strlen(*words) + 1;
    }
    return at == before->size;
}

static krait_status refuse_for_running(const krait_options *options, krait_error **err) {
    const char *field = NULL;
    if (options->flags & KRAIT_ISOLATED && !started_with.isolated) field = "flags KRAIT_ISOLATED";
    if (!words_agree(&started_with.x_options, options->x_options)) field = "x_options";
    if (!words_agree(&started_with.warnings, options->warnings)) field = "warnings";
    if (!field) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_CONFLICT,
                       "krait_options.%s: Python runs already in this process and cannot be started anew", field);
}

/* ---- starting, attaching ----------------------------------------------------------------------------------------- */

/* Adds what the same Python says when started as a program. */
static void explain(krait_error **err) {
    static const char source[] = "import sys; sys.stdout.write('it starts as a program: ' + sys.version)";
    krait__text       output = { 0 };
    const char       *tail;
    char              first[512];
    if (!err || !*err) return;
    krait__locate_run(krait__runtime.place.executable, source, EXPLAIN_MS, &output);
    tail = output.size > 1500 ? output.data + output.size - 1500 : output.data;
    snprintf(first, sizeof first, "%s", krait_error_message(*err));
    krait_error_clear(err);
    krait__fail(err, KRAIT_E_INIT, "%s. %s, started by itself, says: %s. CPython cannot be tried again in this process",
                first, krait__runtime.place.executable, tail ? tail : "(nothing)");
    krait__text_free(&output);
}

static krait_status start_own(const krait_options *options, bool *final, krait_error **err) {
    start_job    job = { .options = options, .err = err };
    krait_status status = krait__start_check(options, err);
    if (status) return status;
    if (!krait__event_init(&main_thread.wake) || !krait__event_init(&main_thread.done) ||
        !krait__thread_start("krait-main", main_run, &job))
        return krait__fail(err, KRAIT_E_SYSTEM, "krait's main thread could not be started");
    *final = true;
    started_with.isolated = options->flags & KRAIT_ISOLATED;
    remember_words(&started_with.x_options, options->x_options);
    remember_words(&started_with.warnings, options->warnings);
    krait__event_wait(&main_thread.done, -1);
    if (job.is_up) main_thread.parked = true;
    else explain(err);
    return job.status;
}

static krait_status attach_running(krait_error **err) {
    krait__gil     gil;
    krait__signals signals;
    krait_status   status;
    krait__signals_save(&signals);
    status = krait__gil_start(err);
    if (!status) status = krait__gil_enter_by(&gil, KRAIT__DOOR_ANY, err);
    if (status) return status;
    status = krait__pyapi_measure(err);
    if (!status) status = krait__bridge_boot(krait__runtime.library, false, false, err);
    krait__gil_leave(&gil);
    return status;
}

static krait_status check_choice(int minor_loaded, krait_error **err) {
    if (krait__runtime.place.minor == minor_loaded) return KRAIT_OK;
    return krait__fail(
        err, KRAIT_E_CONFLICT, "libpython 3.%d is loaded in this process, but %s chooses %s, which is Python 3.%d",
        minor_loaded, krait__runtime.place.rule, krait__runtime.place.executable, krait__runtime.place.minor);
}

void krait__runtime_peek(void) {
    void *handle;
    if (is_loaded(&handle)) krait__pyapi_load(handle, NULL);
}

krait_status krait__runtime_start(const krait_options *options, bool *final, krait_error **err) {
    static const char anchor = 0;
    krait_status      status = KRAIT_OK;
    void             *handle;
    bool              loaded;
    *final = false;
    if (krait__os_is_static())
        return krait__fail(err, KRAIT_E_STATIC,
                           "this program is fully static and cannot load Python; link it without -static");
    krait__runtime.library = krait__os_pin(&anchor);
    loaded = is_loaded(&handle);
    if (loaded && (status = krait__pyapi_load(handle, err))) return status;
    if (loaded && py.Py_IsInitialized()) {
        krait__runtime.attached = krait__guest = krait__careful = true;
        status = krait__runtime_compare(options, err);
        return status ? status : attach_running(err);
    }
    krait__place_free(&krait__runtime.place);
    status = krait__locate(options->python, &krait__runtime.place, NULL, err);
    if (!status) status = krait__place_check(&krait__runtime.place, !(options->flags & KRAIT_ISOLATED), err);
    if (!status && !loaded) {
        status = open_library(&krait__runtime.place, &handle, err);
        if (!status) status = krait__pyapi_load(handle, err);
    }
    if (!status) status = check_choice(py.minor, err);
    if (!status) status = start_own(options, final, err);
    return status ? status : krait__gil_start(err);
}

/* ---- krait_init once more ---------------------------------------------------------------------------------------- */

/* Does `python` choose the Python that runs? Compared by what is found, since a venv and its bin/python are the same
 * choice. */
static krait_status compare_python(const char *python, krait_error **err) {
    krait__place other = { 0 };
    krait_status status;
    if (krait__runtime.attached)
        return krait__fail(err, KRAIT_E_CONFLICT,
                           "krait_options.python is %s, but this process ran its own Python before krait", python);
    status = krait__locate(python, &other, NULL, err);
    if (!status && strcmp(other.executable, krait__runtime.place.executable) != 0 &&
        strcmp(other.prefix, krait__runtime.place.prefix) != 0)
        status = krait__fail(err, KRAIT_E_CONFLICT, "krait_options.python is %s, but %s runs already", python,
                             krait__runtime.place.executable);
    krait__place_free(&other);
    return status;
}

krait_status krait__runtime_compare(const krait_options *options, krait_error **err) {
    krait_status status = refuse_for_running(options, err);
    if (!status && options->python) status = compare_python(options->python, err);
    if (!status && options->allocator)
        status = krait__fail(err, KRAIT_E_CONFLICT, "krait_options.allocator: krait has allocated memory already");
    return status;
}
