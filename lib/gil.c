#include "gil.h"

#include <pthread.h>
#include <string.h>

#include "mem.h"
#include "os.h"

enum {
    STACK_MIN = 1024 * 1024, /* below, Python before 3.14 crashes instead of raising RecursionError */
    SPARES_MAX = 64,         /* unused holds a thread keeps */
    SAMPLE = 64              /* one enter in so many is timed: two clock readings cost as much as a call */
};

_Atomic int             krait__life;
bool                    krait__guest, krait__careful;
__thread krait__thread *krait__self __attribute__((tls_model("initial-exec")));
static __thread bool    thread_is_ending __attribute__((tls_model("initial-exec")));
krait_status (*krait__gil_wait_loaded)(krait_error **err);

static struct {
    pthread_mutex_t lock; /* guards all below; nothing is called under it */
    krait__thread  *alive;
    krait__counters ended; /* sums of threads that have gone */
    bool            started, has_key;
    pthread_key_t   key;
} threads = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- thread records ---------------------------------------------------------------------------------------------- */

static void record_unlink(krait__thread *thread) {
    pthread_mutex_lock(&threads.lock);
    if (thread->prev) thread->prev->next_alive = thread->next_alive;
    else threads.alive = thread->next_alive;
    if (thread->next_alive) thread->next_alive->prev = thread->prev;
#define FOLD(name) threads.ended.name += atomic_load(&thread->count.name);
    KRAIT__COUNTER_MAP(FOLD)
#undef FOLD
    pthread_mutex_unlock(&threads.lock);
}

/* Runs as the thread ends. Takes no lock that is held around Python code and never waits for the GIL. */
static void thread_ends(void *user) {
    krait__thread *thread = user;
    thread_is_ending = true;
    krait__self = NULL;
    /* A host that ends a thread between krait_acquire and krait_release would stop everyone. */
    if (thread->state && thread->holds && py.current() == thread->state) py.PyEval_SaveThread();
    krait__stack_push(&krait__lists.threads, &thread->node);
    krait__janitor_poke();
}

static _Atomic uint32_t phases;

static krait__thread *record_new(krait_error **err) {
    krait__thread *thread = krait__zalloc(sizeof *thread);
    if (!thread || pthread_setspecific(threads.key, thread)) {
        krait__free(thread);
        krait__fail_nomem(err);
        return NULL;
    }
    thread->phase = atomic_fetch_add_explicit(&phases, 1, memory_order_relaxed);
    thread->id = (unsigned long)(uintptr_t)pthread_self();
    pthread_mutex_lock(&threads.lock);
    thread->next_alive = threads.alive;
    if (threads.alive) threads.alive->prev = thread;
    threads.alive = thread;
    pthread_mutex_unlock(&threads.lock);
    krait__self = thread;
    return thread;
}

static krait_status record_get(krait__thread **out, krait_error **err) {
    *out = krait__self;
    if (*out) return KRAIT_OK;
    if (thread_is_ending)
        return krait__fail(err, KRAIT_E_CLOSED, "this thread is ending: its thread-local data is being destroyed");
    *out = record_new(err);
    return *out ? KRAIT_OK : KRAIT_E_NOMEM;
}

static void record_free(krait__thread *thread) {
    while (thread->spare) {
        krait__node *node = thread->spare;
        thread->spare = node->next;
        krait__free(node);
    }
    krait__free(thread);
}

/* ---- doors ------------------------------------------------------------------------------------------------------- */

krait_status krait__refuse(int door, krait_error **err) {
    int life = atomic_load(&krait__life);
    if (door & 1 << life) {
        if (!krait__guest || life == KRAIT__STARTING || py.Py_IsInitialized()) return KRAIT_OK;
        return krait__fail(err, KRAIT_E_CLOSED, "the program has finalised its Python");
    }
    switch (life) {
    case KRAIT__FORKED:
        return krait__fail(err, KRAIT_E_FORKED,
                           "this process was forked from process that started Python; only that one can call it: "
                           "fork before krait_init, or start the child with exec");
    case KRAIT__SHUT: return krait__fail(err, KRAIT_E_CLOSED, "krait_shutdown has been called");
    default: return krait__fail(err, KRAIT_E_NOT_READY, "Python has not been started: call krait_init first");
    }
}

/* The lock may have been held by a thread that is not there any more. */
static void in_forked_child(void) {
    pthread_mutex_init(&threads.lock, NULL);
    if (atomic_load(&krait__life) != KRAIT__NOT_READY) atomic_store(&krait__life, KRAIT__FORKED);
}

/* ---- attaching --------------------------------------------------------------------------------------------------- */

static bool is_attached(const krait__thread *thread) {
    PyThreadState *current = py.current();
    if (!current) return false;
    if (current == thread->state || !py.current_is_global) return true;
    return py.PyGILState_GetThisThreadState() == current;
}

static krait_status check_stack(krait_error **err) {
    size_t stack = krait__os_stack();
    if (stack >= STACK_MIN) return KRAIT_OK;
    if (stack == 0)
        return krait__fail(err, KRAIT_E_STACK, "the size of this thread's stack cannot be told; Python needs 1 MiB");
    return krait__fail(err, KRAIT_E_STACK,
                       "this thread's stack has %zu KiB; Python needs 1024: pthread_attr_setstacksize", stack / 1024);
}

/* The state to attach: the own one, made now if need be, or the one that Python itself gave this thread, which is never
 * kept. */
static krait_status state_for(krait__thread *thread, PyThreadState **state, krait_error **err) {
    krait_status status;
    *state = thread->state ? thread->state : py.PyGILState_GetThisThreadState();
    if (*state) return KRAIT_OK;
    status = check_stack(err);
    if (status) return status;
    *state = thread->state = py.PyThreadState_New(py.PyInterpreterState_Main());
    if (!*state) return krait__fail_nomem(err);
    atomic_store_explicit(&thread->has_state, true, memory_order_relaxed);
    return KRAIT_OK;
}

static void attach(krait__thread *thread, PyThreadState *state) {
    uint64_t n = atomic_load_explicit(&thread->count.gil_enters, memory_order_relaxed);
    KRAIT__COUNT(thread, gil_enters, 1);
    if ((n + thread->phase) % SAMPLE) {
        py.PyEval_RestoreThread(state);
    } else {
        int64_t start = krait__os_now();
        py.PyEval_RestoreThread(state);
        KRAIT__COUNT(thread, gil_wait_ns, (uint64_t)(krait__os_now() - start) * SAMPLE);
    }
}

static krait_status attach_by(krait__gil *gil, PyThreadState *state, int door, krait_error **err) {
    krait_status status = KRAIT_OK;
    attach(gil->thread, state);
    gil->leave = state;
    if (!(door & 1 << atomic_load_explicit(&krait__life, memory_order_relaxed))) status = krait__refuse(door, err);
    if (status) krait__gil_leave(gil);
    return status;
}

krait_status krait__gil_enter_by(krait__gil *gil, int door, krait_error **err) {
    PyThreadState *state;
    krait_status   status = krait__refuse(door, err);
    gil->leave = NULL;
    if (status) return status;
    status = record_get(&gil->thread, err);
    if (status || is_attached(gil->thread)) return status;
    status = state_for(gil->thread, &state, err);
    if (status) return status;
    return attach_by(gil, state, door, err);
}

krait_status krait__gil_attach(krait__gil *gil, krait_error **err) {
    return attach_by(gil, gil->thread->state, KRAIT__DOOR_CALL, err);
}

krait_status krait__gil_enter_slow(krait__gil *gil, krait_error **err) {
    gil->leave = NULL;
    if (atomic_load(&krait__life) == KRAIT__LOADING) {
        krait_status status = krait__gil_wait_loaded(err);
        if (status) return status;
        return krait__gil_enter_by(gil, KRAIT__DOOR_SETUP, err);
    }
    return krait__gil_enter_by(gil, KRAIT__DOOR_CALL, err);
}

void krait__gil_leave_slow(krait__gil *gil) {
    py.PyEval_SaveThread();
    gil->leave = NULL;
}

PyThreadState *krait__gil_pause(void) {
    krait__thread none = { 0 };
    if (!py.current || !is_attached(krait__self ? krait__self : &none)) return NULL;
    return py.PyEval_SaveThread();
}

void krait__gil_resume(PyThreadState *state) {
    if (state) py.PyEval_RestoreThread(state);
}

krait_status krait__gil_called(krait__thread **thread, krait_error **err) {
    return record_get(thread, err);
}

void krait__gil_away(krait__thread *thread, krait__away *away) {
    away->holds = thread->holds;
    away->attaches = thread->attaches;
    if (away->attaches) memcpy(away->attached_at, thread->attached_at, away->attaches * sizeof *away->attached_at);
    thread->holds = thread->attaches = 0;
    away->state = py.PyEval_SaveThread();
}

void krait__gil_back(krait__thread *thread, const krait__away *away) {
    for (uint32_t n = thread->holds; n; n--) krait_release();
    py.PyEval_RestoreThread(away->state);
    thread->holds = away->holds;
    thread->attaches = away->attaches;
    if (away->attaches) memcpy(thread->attached_at, away->attached_at, away->attaches * sizeof *away->attached_at);
}

bool krait__gil_borrow(void (*fn)(void *user), void *user) {
    PyThreadState *state;
    if (krait__guest && !py.Py_IsInitialized()) return false;
    state = py.PyThreadState_New(py.PyInterpreterState_Main());
    if (!state) return false;
    py.PyEval_RestoreThread(state);
    fn(user);
    py.PyThreadState_Clear(state);
    py.PyThreadState_DeleteCurrent();
    return true;
}

/* ---- krait_acquire, krait_release -------------------------------------------------------------------------------- */

krait_status krait_acquire(krait_error **err) {
    krait__gil     gil;
    krait__thread *thread;
    krait_status   status;
    if (krait__stuck(err)) return (*err)->status;
    status = krait__gil_enter(&gil, err);
    krait__at(err, "acquire");
    if (status) return status;
    thread = gil.thread;
    if (gil.leave && thread->attaches == KRAIT__ATTACHES_MAX) {
        krait__gil_leave(&gil);
        status = krait__fail(err, KRAIT_E_RANGE,
                             "the GIL was acquired, let go and acquired again %d times within each other",
                             KRAIT__ATTACHES_MAX);
        krait__at(err, "acquire");
        return status;
    }
    thread->holds++;
    if (gil.leave) thread->attached_at[thread->attaches++] = thread->holds;
    return KRAIT_OK;
}

void krait_release(void) {
    krait__thread *thread = krait__self;
    bool           detach;
    if (!thread || !thread->holds || atomic_load(&krait__life) == KRAIT__FORKED) return;
    if (thread->holds == 1) { /* while it counts: a destructor may acquire and release */
        krait__gil_busy(thread, 1);
        krait__drain(thread, SIZE_MAX);
        krait__gil_busy(thread, -1);
    }
    detach = thread->attaches && thread->attached_at[thread->attaches - 1] == thread->holds;
    thread->holds--;
    if (!detach) return;
    thread->attaches--;
    py.PyEval_SaveThread();
}

/* ---- holds ------------------------------------------------------------------------------------------------------- */

krait__hold *krait__hold_alloc(void) {
    return krait__alloc(sizeof(krait__hold));
}

void krait__hold_release(void *owner) {
    krait__hold   *hold = owner;
    krait__thread *thread = krait__self;
    if (thread && thread->holds) { /* nobody else can take the GIL: no need to share it */
        hold->node.next = thread->cleared;
        thread->cleared = &hold->node;
        return;
    }
    atomic_fetch_add_explicit(&krait__lists.pending, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&krait__lists.pending_bytes, hold->bytes, memory_order_relaxed);
    krait__stack_push(&krait__lists.holds, &hold->node);
    krait__janitor_poke();
}

/* As if it were within krait_acquire: then a hold goes on the thread's own list. */
void krait__clear_now(krait__thread *thread, krait_value *value) {
    if (!value->release) return;
    thread->holds++;
    krait_value_clear(value);
    thread->holds--;
    if (thread->cleared) krait__drain(thread, 0);
}

static inline void free_hold(krait__thread *thread, krait__hold *hold) {
    PyObject *object = hold->object;
    if (hold->extra) hold->extra_free(hold->extra);
    if (thread->spares < SPARES_MAX) {
        hold->node.next = thread->spare;
        thread->spare = &hold->node;
        thread->spares++;
    } else {
        krait__free(hold);
    }
    KRAIT__COUNT(thread, dropped, 1);
    py.Py_DecRef(object); /* last: a destructor may call krait */
}

/* Frees the chain until *left is used up; returns the rest. */
static krait__node *drain_chain(krait__thread *thread, krait__node *node, size_t *left, uint64_t *bytes) {
    while (node && *left) {
        krait__node *next = node->next;
        *bytes += ((krait__hold *)node)->bytes;
        --*left;
        free_hold(thread, (krait__hold *)node);
        node = next;
    }
    return node;
}

static krait__node *last_of(krait__node *node) {
    while (node->next) node = node->next;
    return node;
}

/* All of it: nobody else can, so what is left would only grow. A destructor may clear something meanwhile. */
static void free_own(krait__thread *thread) {
    while (thread->cleared) {
        krait__node *node = thread->cleared;
        thread->cleared = node->next;
        free_hold(thread, (krait__hold *)node);
    }
}

static void drain_shared(krait__thread *thread, size_t *left) {
    size_t       before = *left;
    uint64_t     bytes = 0;
    krait__node *empty = NULL;
    krait__node *chain = atomic_exchange(&krait__lists.backlog, NULL);
    if (!chain) chain = krait__stack_take(&krait__lists.holds);
    if (!chain) return;
    chain = drain_chain(thread, chain, left, &bytes);
    atomic_fetch_sub_explicit(&krait__lists.pending, before - *left, memory_order_relaxed);
    atomic_fetch_sub_explicit(&krait__lists.pending_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&krait__lists.drained, before - *left, memory_order_relaxed);
    if (!chain) return;
    if (!atomic_compare_exchange_strong(&krait__lists.backlog, &empty, chain))
        krait__stack_push_chain(&krait__lists.holds, chain, last_of(chain));
    krait__janitor_poke(); /* it may have looked while the chain was in our hands, and gone to sleep */
}

static bool anything_shared(void) {
    return krait__stack_any(&krait__lists.holds) || atomic_load_explicit(&krait__lists.backlog, memory_order_relaxed);
}

static bool too_much_pending(void) {
    return atomic_load_explicit(&krait__lists.pending, memory_order_relaxed) >= KRAIT__PENDING_MAX ||
           atomic_load_explicit(&krait__lists.pending_bytes, memory_order_relaxed) >= KRAIT__PENDING_BYTES_MAX;
}

/* Destructors that call krait come by here again: then the outer one goes on, or a long list would be a deep stack. */
void krait__drain(krait__thread *thread, size_t limit) {
    if (thread->draining) return;
    thread->draining = true;
    if (too_much_pending()) limit = SIZE_MAX;
    free_own(thread);
    while (limit && anything_shared()) {
        drain_shared(thread, &limit);
        free_own(thread);
    }
    thread->draining = false;
}

void krait__drain_all(krait__thread *thread) {
    bool draining = thread->draining;
    thread->draining = false;
    krait__drain(thread, SIZE_MAX);
    thread->draining = draining;
}

/* ---- the janitor's work ------------------------------------------------------------------------------------------ */

/* Clear all first, delete afterwards: deleting breaks the deleter's own GILState binding (facts 14), and clearing runs
 * user code that may need it. */
static void reap(void) {
    krait__node *ended = krait__stack_take(&krait__lists.threads);
    for (krait__node *node = ended; node; node = node->next) {
        krait__thread *thread = (krait__thread *)node;
        free_own(thread);
        if (thread->state) py.PyThreadState_Clear(thread->state);
    }
    while (ended) {
        krait__thread *thread = (krait__thread *)ended;
        ended = ended->next;
        if (thread->state) py.PyThreadState_Delete(thread->state);
        record_unlink(thread);
        record_free(thread);
    }
}

static void drain_and_reap(void *user) {
    krait__thread *self;
    (void)user;
    if (!record_get(&self, NULL)) krait__drain(self, SIZE_MAX);
    reap();
}

static void janitor_work(void) {
    if (atomic_load(&krait__life) != KRAIT__FORKED && (!krait__guest || py.Py_IsInitialized()))
        krait__gil_borrow(drain_and_reap, NULL);
}

krait_status krait__gil_start(krait_error **err) {
    if (threads.started) return KRAIT_OK;
    if (!threads.has_key && pthread_key_create(&threads.key, thread_ends))
        return krait__fail(err, KRAIT_E_SYSTEM, "no thread-local key is left: the process has used all of them");
    threads.has_key = true;
    if (!krait__janitor_start(janitor_work))
        return krait__fail(err, KRAIT_E_SYSTEM, "krait's janitor thread could not be started");
    if (pthread_atfork(NULL, NULL, in_forked_child)) return krait__fail_nomem(err);
    threads.started = true;
    return KRAIT_OK;
}

/* ---- looking at all threads -------------------------------------------------------------------------------------- */

void krait__gil_counters(krait__counters *sum) {
    pthread_mutex_lock(&threads.lock);
    *sum = threads.ended;
    for (krait__thread *thread = threads.alive; thread; thread = thread->next_alive) {
#define ADD(name) sum->name += atomic_load_explicit(&thread->count.name, memory_order_relaxed);
        KRAIT__COUNTER_MAP(ADD)
#undef ADD
        sum->states += atomic_load_explicit(&thread->has_state, memory_order_relaxed);
    }
    pthread_mutex_unlock(&threads.lock);
}

unsigned krait__gil_running(PyObject *raise) {
    enum { MANY = 1024 };
    unsigned long ids[MANY];
    unsigned      running = 0;
    pthread_mutex_lock(&threads.lock);
    for (krait__thread *thread = threads.alive; thread && running < MANY; thread = thread->next_alive)
        if (thread != krait__self && krait__gil_in_call(thread)) ids[running++] = thread->id;
    pthread_mutex_unlock(&threads.lock);
    for (unsigned i = 0; raise && i < running; i++) py.PyThreadState_SetAsyncExc(ids[i], raise);
    return running;
}
