/* krait: init and shutdown, and the small functions that need a running Python. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <krait/call.h>
#include <krait/metrics.h>
#include <krait/runtime.h>

#include "bridge.h"
#include "func.h"
#include "host.h"
#include "leaks.h"
#include "log.h"
#include "mem.h"
#include "ndarray.h"
#include "options.h"
#include "os.h"
#include "pyerr.h"
#include "runtime.h"

/* One lock for starting and ending: init_lock is held for as long as that takes, preload.lock only for a look. Order:
 * init_lock first. A thread may wait for the GIL while it holds init_lock: so nobody takes that while attached. */
static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static krait_error    *failed_for_good; /* why the interpreter did not start; under init_lock */

const char *krait_version(void) {
    return KRAIT_VERSION_STRING;
}

int krait_version_number(void) {
    return KRAIT_VERSION_NUMBER;
}

/* ---- preloading -------------------------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t  changed;
    bool            has_cond;
    char          **names; /* still to be imported, in order; ends with NULL */
    size_t          count, next;
    bool            busy;  /* the janitor is at it */
    krait_error    *error; /* the first that failed */
    bool            told;  /* a call has returned it */
} preload = { .lock = PTHREAD_MUTEX_INITIALIZER };

#ifdef __APPLE__
enum { CONDITION_CLOCK = CLOCK_REALTIME };
#else
enum { CONDITION_CLOCK = CLOCK_MONOTONIC };
#endif

/* Preloaded modules may call krait themselves: not to be kept waiting for themselves. */
static __thread bool is_preloading;

static krait_status set_up_preload(krait_error **err) {
    pthread_condattr_t attributes;
    if (preload.has_cond) return KRAIT_OK;
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CONDITION_CLOCK);
#endif
    if (pthread_cond_init(&preload.changed, &attributes))
        return krait__fail(err, KRAIT_E_SYSTEM, "no condition variable");
    pthread_condattr_destroy(&attributes);
    preload.has_cond = true;
    return KRAIT_OK;
}

static void keep_error(krait_error *error, const char *name) {
    krait__at(&error, "preload %s", name);
    pthread_mutex_lock(&preload.lock);
    if (!preload.error) {
        preload.error = error;
        error = NULL;
    }
    pthread_mutex_unlock(&preload.lock);
    krait_error_clear(&error);
}

static void import_one(void *user) {
    krait_error *error = NULL;
    PyObject    *module = py.PyImport_ImportModule(user);
    if (module) {
        py.Py_DecRef(module);
        return;
    }
    krait__pyerr_take(KRAIT_E_IMPORT, &error);
    keep_error(error, user);
}

static void not_imported(const char *name) {
    krait_error *error = NULL;
    krait__fail_nomem(&error);
    keep_error(error, name);
}

/* Under preload.lock. While an error waits for the first call, the life stays LOADING: that is what sends the call
 * there. */
static void open_fully(void) {
    int loading = KRAIT__LOADING;
    atomic_compare_exchange_strong(&krait__life, &loading, KRAIT__OPEN);
}

/* On the janitor's thread. A name added meanwhile is taken too. */
static void import_all(void *unused) {
    (void)unused;
    is_preloading = true;
    pthread_mutex_lock(&preload.lock);
    while (preload.next < preload.count && atomic_load(&krait__life) != KRAIT__SHUT) {
        char *name = preload.names[preload.next++];
        pthread_mutex_unlock(&preload.lock);
        if (!krait__gil_borrow(import_one, name)) not_imported(name);
        krait__free(name);
        pthread_mutex_lock(&preload.lock);
    }
    preload.busy = false;
    if (!preload.error || preload.told) open_fully();
    pthread_cond_broadcast(&preload.changed);
    pthread_mutex_unlock(&preload.lock);
    is_preloading = false;
}

static krait_status add_names(const char *const *names, krait_error **err) {
    for (; names && *names; names++) {
        char **longer = krait__realloc(preload.names, krait__size(preload.count + 1, sizeof *longer, 0));
        if (longer) preload.names = longer;
        if (!longer || !(longer[preload.count] = krait__strdup(*names))) return krait__fail_nomem(err);
        preload.count++;
    }
    return KRAIT_OK;
}

/* Hands the names to the janitor; the door for calls stays closed until they are imported. */
static krait_status start_preload(const char *const *names, krait_error **err) {
    krait_status status;
    pthread_mutex_lock(&preload.lock);
    status = add_names(names, err);
    if (!status && preload.next < preload.count && !preload.busy) {
        preload.busy = true;
        atomic_store(&krait__life, KRAIT__LOADING);
        if (!krait__janitor_run(import_all, NULL)) {
            preload.busy = false;
            open_fully();
            status = krait__fail(err, KRAIT_E_SYSTEM, "the janitor is busy");
        }
    }
    pthread_mutex_unlock(&preload.lock);
    return status;
}

/* Waits for the imports; `once`: their error is given to one caller only. No GIL is held meanwhile. */
static krait_status wait_for_preload(int64_t timeout_ms, bool once, krait_error **err) {
    PyThreadState  *state;
    struct timespec until = krait__os_after(CONDITION_CLOCK, timeout_ms < 0 ? 0 : timeout_ms);
    krait_status    status = KRAIT_OK;
    int             rc = 0;
    if (is_preloading) return KRAIT_OK;
    state = krait__gil_pause();
    pthread_mutex_lock(&preload.lock);
    while (preload.busy && rc != ETIMEDOUT && atomic_load(&krait__life) != KRAIT__SHUT)
        rc = timeout_ms < 0 ? pthread_cond_wait(&preload.changed, &preload.lock)
                            : pthread_cond_timedwait(&preload.changed, &preload.lock, &until);
    if (preload.busy && atomic_load(&krait__life) == KRAIT__SHUT) {
        status = krait__refuse(KRAIT__DOOR_SETUP, err);
    } else if (preload.busy) {
        status = krait__fail(err, KRAIT_E_TIMEOUT, "the preloaded modules are still being imported after %lld ms",
                             (long long)timeout_ms);
    } else if (preload.error && !(once && preload.told)) {
        preload.told = true;
        open_fully();
        status = krait__error_copy(preload.error, err);
    }
    pthread_mutex_unlock(&preload.lock);
    krait__gil_resume(state);
    return status;
}

static krait_status wait_loaded(krait_error **err) {
    return wait_for_preload(-1, true, err);
}

krait_status krait_wait_ready(int64_t timeout_ms, krait_error **err) {
    krait_status status;
    if (krait__stuck(err)) return (*err)->status;
    status = krait__refuse(KRAIT__DOOR_SETUP, err);
    if (!status) status = wait_for_preload(timeout_ms, false, err);
    krait__at(err, "wait_ready");
    return status;
}

/* ---- init: the ordered list -------------------------------------------------------------------------------------- */

static krait_status use_allocator(const krait_options *options, krait_error **err) {
    if (!options->allocator || krait__mem_set_allocator(options->allocator)) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_CONFLICT,
                       "krait_options.allocator must be set before krait allocates anything; %llu blocks are in use",
                       (unsigned long long)krait__mem_blocks());
}

static krait_status use_log(const krait_options *options, krait_error **err) {
    (void)err;
    if (options->log) krait__log_set(options->log, options->log_user, options->log_destroy);
    return KRAIT_OK;
}

static krait_status start(const krait_options *options, krait_error **err) {
    bool         final;
    krait_status status;
    atomic_store(&krait__life, KRAIT__STARTING);
    status = krait__runtime_start(options, &final, err);
    if (!status) return KRAIT_OK;
    atomic_store(&krait__life, KRAIT__NOT_READY);
    if (final && err) krait__error_copy(*err, &failed_for_good);
    if (final && !failed_for_good) krait__fail(&failed_for_good, KRAIT_E_INIT, "an earlier krait_init failed for good");
    return status;
}

static krait_status set_up(const krait_options *options, krait_error **err) {
    krait__gil_wait_loaded = wait_loaded;
    krait__leaks_start();
    krait__np.blas_threads = (int)options->blas_threads;
    return set_up_preload(err);
}

typedef struct offer_job {
    krait_status  status;
    krait_error **err;
} offer_job;

static void offer_attached(void *user) {
    offer_job *job = user;
    job->status = krait__host_start(job->err);
}

/* On krait's own thread where there is one: this one's stack may be too small for Python. */
static krait_status offer_host(const krait_options *options, krait_error **err) {
    offer_job    job = { KRAIT_OK, err };
    krait__gil   gil;
    krait_status status;
    (void)options;
    if (krait__runtime_on_main(offer_attached, &job, -1)) return job.status;
    status = krait__gil_enter_by(&gil, KRAIT__DOOR_ANY, err);
    if (status) return status;
    offer_attached(&job);
    krait__gil_leave(&gil);
    return job.status;
}

/* The last of the paths first, so that they end up in their order. */
static krait_status add_paths(const krait_options *options, krait_error **err) {
    krait__gil   gil;
    size_t       count = 0;
    krait_status status;
    while (options->paths && options->paths[count]) count++;
    if (!count) return KRAIT_OK;
    status = krait__gil_enter_by(&gil, KRAIT__DOOR_ANY, err);
    if (status) return status;
    while (count-- && !status) status = krait__bridge_add_path(options->paths[count], 0, err);
    krait__gil_leave(&gil);
    return status;
}

static krait_status preload_modules(const krait_options *options, krait_error **err) {
    return start_preload(options->preload, err);
}

static krait_status compare(const krait_options *options, krait_error **err) {
    int now = krait__np.blas_threads;
    if (options->blas_threads && (int)options->blas_threads != now)
        return krait__fail(err, KRAIT_E_CONFLICT, "krait_options.blas_threads is %u, but an earlier krait_init said %d",
                           (unsigned)options->blas_threads, now);
    return krait__runtime_compare(options, err);
}

typedef krait_status (*step_fn)(const krait_options *options, krait_error **err);
static const step_fn first_time[] = { use_allocator, use_log, start, set_up, offer_host, add_paths, preload_modules };
static const step_fn once_more[] = { compare, use_log, add_paths, preload_modules };

static krait_status run_steps(const step_fn *steps, size_t count, const krait_options *options, krait_error **err) {
    krait_status status = KRAIT_OK;
    for (size_t i = 0; i < count && !status; i++) status = steps[i](options, err);
    return status;
}

static krait_status init_locked(const krait_options *options, krait_error **err) {
    krait_status status;
    int          life = atomic_load(&krait__life);
    if (life == KRAIT__SHUT || life == KRAIT__FORKED) return krait__refuse(0, err);
    if (failed_for_good) return krait__error_copy(failed_for_good, err);
    if (life == KRAIT__OPEN || life == KRAIT__LOADING) {
        status = krait__refuse(KRAIT__DOOR_SETUP, err);
        if (status) return status;
        return run_steps(once_more, sizeof once_more / sizeof *once_more, options, err);
    }
    status = run_steps(first_time, sizeof first_time / sizeof *first_time, options, err);
    /* Python may be up although a later step failed; the steps can be taken again. With modules to preload the janitor
     * opens. */
    life = KRAIT__STARTING;
    atomic_compare_exchange_strong(&krait__life, &life, KRAIT__OPEN);
    return status;
}

/* To be asked before init_lock is taken: another thread may have held it when this process was forked. */
static bool is_forked(void) {
    return atomic_load(&krait__life) == KRAIT__FORKED;
}

static pthread_once_t loaded_once = PTHREAD_ONCE_INIT;

krait_status krait_init(const krait_options *options, krait_error **err) {
    krait_error   *own = NULL; /* the status that matters must be known even when the caller wants no error */
    krait_options  copy;
    PyThreadState *state;
    krait_status   status;
    if (krait__stuck(err)) return (*err)->status;
    status = krait__check_options(options, &copy, &own);
    if (!status && is_forked()) status = krait__refuse(0, &own);
    if (!status) {
        pthread_once(&loaded_once,
                     krait__runtime_peek); /* to know whether the GIL is held, before waiting for the lock */
        state = krait__gil_pause();
        pthread_mutex_lock(&init_lock);
        status = init_locked(&copy, &own);
        pthread_mutex_unlock(&init_lock);
        krait__gil_resume(state);
    }
    krait__at(&own, "init");
    if (err) *err = own;
    else krait_error_clear(&own);
    return status;
}

/* ---- shutdown ---------------------------------------------------------------------------------------------------- */

enum { POLL_MS = 2, ATEXIT_MIN_MS = 100 };

static int64_t left_of(int64_t until) {
    int64_t ms;
    if (until == INT64_MAX) return -1;
    ms = (until - krait__os_now()) / 1000000;
    return ms > 0 ? ms : 0;
}

/* Waits until no call runs. */
static unsigned drain_calls(int64_t until) {
    unsigned running;
    while ((running = krait__gil_running(NULL)) != 0 && krait__os_now() < until) {
        struct timespec pause = { 0, POLL_MS * 1000000 };
        nanosleep(&pause, NULL);
    }
    return running;
}

/* The GIL may be held for any time, so a thread of its own waits for it; the job stays valid when that comes too late.
 */
typedef struct attached_job {
    krait__event done;
    void (*fn)(void *user);
} attached_job;

static void *run_attached(void *user) {
    attached_job *job = user;
    krait__gil_borrow(job->fn, NULL);
    krait__event_post(&job->done);
    return NULL;
}

static bool attached_within(attached_job *job, void (*fn)(void *user), int64_t timeout_ms) {
    job->fn = fn;
    return krait__event_init(&job->done) && krait__thread_start("krait-shutdown", run_attached, job) &&
           krait__event_wait(&job->done, timeout_ms);
}

static void cancel_calls(void *unused) {
    (void)unused;
    krait__gil_running(*py.PyExc_SystemExit);
}

static void nothing(void *unused) {
    (void)unused;
}

static void run_atexit(void *user) {
    PyObject *done = krait__bridge_call("run_atexit", NULL, NULL);
    (void)user;
    if (done) py.Py_DecRef(done);
    else py.PyErr_Clear();
}

/* Once the GIL has changed hands, every call has either seen the door closed or is counted as running. False: it did
 * not within the time. */
static bool shut_door(int64_t timeout_ms) {
    static attached_job job;
    atomic_store(&krait__life, KRAIT__SHUT);
    pthread_mutex_lock(&preload.lock);
    if (preload.has_cond) pthread_cond_broadcast(&preload.changed);
    pthread_mutex_unlock(&preload.lock);
    return attached_within(&job, nothing, timeout_ms);
}

static krait_status shut_down(int64_t timeout_ms, krait_error **err) {
    int64_t      now = krait__os_now();
    int64_t      until = timeout_ms < 0 ? INT64_MAX : now + timeout_ms * 1000000;
    int64_t      patience = timeout_ms < 0 ? INT64_MAX : now + timeout_ms * 750000; /* three quarters, then cancel */
    unsigned     running;
    bool         ended;
    int64_t      rest;
    krait_status status = krait__refuse(KRAIT__DOOR_SETUP, err);
    if (status) return status;
    if (!shut_door(left_of(until)))
        return krait__fail(err, KRAIT_E_TIMEOUT, "a thread still holds the GIL after %lld ms; the door is closed",
                           (long long)timeout_ms);
    if (drain_calls(patience)) {
        static attached_job job;
        attached_within(&job, cancel_calls, left_of(until));
        drain_calls(until);
    }
    running = krait__gil_running(NULL);
    rest = left_of(until);
    ended = krait__runtime.attached ||
            krait__runtime_on_main(run_atexit, NULL, rest >= 0 && rest < ATEXIT_MIN_MS ? ATEXIT_MIN_MS : rest);
    if (running)
        return krait__fail(err, KRAIT_E_TIMEOUT, "%u calls still run after %lld ms; the door is closed", running,
                           (long long)timeout_ms);
    if (!ended)
        return krait__fail(err, KRAIT_E_TIMEOUT, "Python's atexit functions still run after %lld ms",
                           (long long)timeout_ms);
    return KRAIT_OK;
}

krait_status krait_shutdown(int64_t timeout_ms, krait_error **err) {
    PyThreadState *state;
    krait_status   status;
    bool           first;
    if (krait__stuck(err)) return (*err)->status;
    if (timeout_ms > INT64_MAX / 4000000) timeout_ms = -1;
    if (is_forked()) return krait__refuse(0, err);
    state = krait__gil_pause();
    pthread_mutex_lock(&init_lock);
    first = atomic_load(&krait__life) != KRAIT__SHUT;
    status = first ? shut_down(timeout_ms, err) : KRAIT_OK;
    pthread_mutex_unlock(&init_lock);
    if (first) krait__leaks_log();
    krait__gil_resume(state);
    krait__at(err, "shutdown");
    return status;
}

/* ---- small functions --------------------------------------------------------------------------------------------- */

krait_status krait_add_path(const char *path, int position, krait_error **err) {
    krait__gil   gil;
    krait_status status;
    if (krait__stuck(err)) return (*err)->status;
    if (!path || !*path) {
        status = krait__fail(err, KRAIT_E_ARGUMENT, "path is %s, expected a folder", path ? "empty" : "NULL");
    } else if (!(status = krait__gil_enter_by(&gil, KRAIT__DOOR_SETUP, err))) {
        status = krait__bridge_add_path(path, position, err);
        krait__gil_leave(&gil);
    }
    krait__at(err, "add_path");
    return status;
}

krait_status krait_gc(krait_error **err) {
    krait__gil   gil;
    krait_status status;
    if (krait__stuck(err)) return (*err)->status;
    status = krait__gil_enter_by(&gil, KRAIT__DOOR_SETUP, err);
    krait__at(err, "gc");
    if (status) return status;
    krait__gil_busy(gil.thread, 1);
    krait__drain(gil.thread, SIZE_MAX);
    if (!krait__bridge_collect(2)) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    krait__drain(gil.thread, SIZE_MAX);
    krait__gil_busy(gil.thread, -1);
    krait__gil_leave(&gil);
    return status;
}

static krait_status run_source(const char *name, const char *source, krait_error **err) {
    PyObject    *args[2] = { py.PyUnicode_FromStringAndSize(name, (Py_ssize_t)strlen(name)),
                             py.PyUnicode_FromStringAndSize(source, (Py_ssize_t)strlen(source)) };
    krait_status status = KRAIT_OK;
    PyObject    *done = NULL;
    if (!args[0] || !args[1]) {
        status = krait__pyerr_take(KRAIT_E_ENCODING, err);
    } else {
        done = krait__bridge_call("module_from_source", args[0], args[1]);
        if (!done) status = krait__pyerr_take(KRAIT_E_IMPORT, err);
    }
    for (int i = 0; i < 2; i++)
        if (args[i]) py.Py_DecRef(args[i]);
    if (done) py.Py_DecRef(done);
    return status;
}

krait_status krait_module_from_source(const char *name, const char *source, krait_error **err) {
    krait__gil   gil;
    krait_status status;
    if (krait__stuck(err)) return (*err)->status;
    if (!name || !krait__is_dotted(name, strlen(name))) {
        status = krait__fail(err, KRAIT_E_ARGUMENT, "name is %s%s%s, expected \"module\" or \"package.module\"",
                             name ? "\"" : "", name ? name : "NULL", name ? "\"" : "");
    } else if (!source) {
        status = krait__fail(err, KRAIT_E_ARGUMENT, "source is NULL");
    } else if (!(status = krait__gil_enter(&gil, err))) {
        krait__gil_busy(gil.thread, 1);
        status = run_source(name, source, err);
        krait__gil_busy(gil.thread, -1);
        krait__gil_leave(&gil);
    }
    krait__at(err, "import %s", name ? name : "");
    return status;
}
