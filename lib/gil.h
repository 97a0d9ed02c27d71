/* gil: thread records, kept thread states, attaching and detaching. The only file that saves or restores a thread
 * state.
 *
 * Each thread that calls gets a record with a thread state of its own (PyThreadState_New once, then Restore/Save per
 * call: 30 ns instead of 7,000). A thread that holds the GIL already, in a state of its own or a foreign one, is let in
 * with that state; a foreign state is never kept. When a thread ends, its record goes to the janitor, which clears and
 * deletes the state: thread exit never waits for the GIL.
 *
 * Fields of a record are written by its thread only; other threads read the counters, relaxed. */
#ifndef KRAIT_LIB_GIL_H
#define KRAIT_LIB_GIL_H

#include <stdatomic.h>

#include <krait/value.h>

#include "janitor.h"
#include "pyapi.h"

/* Where in its life the library is. The doors other than OPEN are refused by krait__refuse. LOADING: Python is up,
 * modules are being preloaded. */
enum {
    KRAIT__NOT_READY = 0,
    KRAIT__STARTING = 1,
    KRAIT__LOADING = 2,
    KRAIT__OPEN = 3,
    KRAIT__SHUT = 4,
    KRAIT__FORKED = 5
};
extern _Atomic int krait__life;

/* Python was started by the host, which may finalise it. */
extern bool krait__guest;

/* krait__guest, or every call is to be noted: none takes a short way. */
extern bool krait__careful;

/* Keeps one Python object alive for a result; freed through the janitor's list. */
typedef struct krait__hold {
    krait__node    node;
    PyObject      *object;
    vectorcallfunc enter; /* of a function that was looked up: what calls it */
    size_t         bytes; /* of memory the object keeps alive, for the bound of the list */
    void          *extra; /* C memory that goes with it: shapes, fields; NULL for most */
    void (*extra_free)(void *extra);
} krait__hold;

/* krait_acquire attaches a second time on one thread only where the GIL was let go in between, by ctypes or an
 * extension that calls back. */
enum { KRAIT__ATTACHES_MAX = 16 };

/* Counters that a thread keeps for itself, written once: X(name). */
#define KRAIT__COUNTER_MAP(X)                                                                                          \
    X(calls) X(failures) X(copies) X(copied_bytes) X(escapes) X(gil_enters) X(gil_wait_ns) X(held) X(dropped)

typedef struct krait__thread {
    krait__node      node;      /* on the janitor's list, once the thread has ended */
    PyThreadState   *state;     /* kept; NULL until first needed */
    _Atomic bool     has_state; /* the same, for other threads to look at */
    uint32_t         holds;     /* krait_acquire minus krait_release */
    uint32_t         attaches;  /* of these, that had to attach: which ones stands in attached_at */
    uint32_t         attached_at[KRAIT__ATTACHES_MAX];
    _Atomic uint64_t calls_ended; /* of count.calls; the others run, one inside the other */
    krait__node     *spare;       /* unused krait__hold */
    uint32_t         spares;
    bool             draining; /* frees cleared objects at this moment */
    krait__node     *cleared;  /* holds cleared while this thread held the GIL */
    uint32_t         nested;   /* host functions that run, one inside the other */
    uint32_t         phase;    /* of the sampled enters: else the first of each short-lived thread would count for 64 */
    unsigned long    id;       /* as PyThreadState_SetAsyncExc wants it */
    struct krait__thread *prev, *next_alive; /* the registry, under its lock */
#define KRAIT__COUNTER_FIELD(name) _Atomic uint64_t name;
    struct {
        KRAIT__COUNTER_MAP(KRAIT__COUNTER_FIELD)
    } count;
#undef KRAIT__COUNTER_FIELD
} krait__thread;

/* Adds to a counter of the own thread. */
#define KRAIT__COUNT(thread, name, n)                                                                                  \
    atomic_store_explicit(&(thread)->count.name,                                                                       \
                          atomic_load_explicit(&(thread)->count.name, memory_order_relaxed) + (n),                     \
                          memory_order_relaxed)

/* One stay in the interpreter. */
typedef struct krait__gil {
    krait__thread *thread;
    PyThreadState *leave; /* the state to detach at the end; NULL: it was attached before */
} krait__gil;

extern __thread krait__thread *krait__self __attribute__((tls_model("initial-exec")));

/* Attaches; on success the thread may use Python until krait__gil_leave. Refused when the door is not open. */
krait_status krait__gil_enter_slow(krait__gil *gil, krait_error **err);

/* Attaches the thread's own state; the door may have shut while it waited. */
krait_status krait__gil_attach(krait__gil *gil, krait_error **err);

static inline krait_status krait__gil_enter(krait__gil *gil, krait_error **err) {
    krait__thread *thread = krait__self;
    if (thread && thread->state && atomic_load_explicit(&krait__life, memory_order_relaxed) == KRAIT__OPEN) {
        /* Compared with the own state, and with NULL, this is right on 3.11 too, where `current` is global. */
        PyThreadState *current = py.current();
        gil->thread = thread;
        gil->leave = NULL;
        if (current == thread->state) return KRAIT_OK;
        if (!current && !krait__guest) return krait__gil_attach(gil, err);
    }
    return krait__gil_enter_slow(gil, err);
}

static inline bool krait__gil_in_call(krait__thread *thread) {
    return atomic_load_explicit(&thread->count.calls, memory_order_relaxed) !=
           atomic_load_explicit(&thread->calls_ended, memory_order_relaxed);
}

/* Around whatever else may run user code, so that it counts as a call that runs: imports, collections, destructors. */
static inline void krait__gil_busy(krait__thread *thread, int n) {
    uint64_t ended = atomic_load_explicit(&thread->calls_ended, memory_order_relaxed);
    atomic_store_explicit(&thread->calls_ended, ended - (uint64_t)n, memory_order_relaxed);
}

/* Attached by krait_acquire, no call running on it: a thread that may call at once. Between krait_acquire and
 * krait_release only a call can let the GIL go, unless the host has a Python of its own. */
static inline bool krait__gil_is_idle(krait__thread *thread) {
    return thread->holds && !krait__gil_in_call(thread) && !krait__careful &&
           atomic_load_explicit(&krait__life, memory_order_relaxed) == KRAIT__OPEN;
}

static inline bool krait__anything_to_drain(const krait__thread *thread) {
    return thread->cleared || krait__stack_any(&krait__lists.holds);
}

void krait__gil_leave_slow(krait__gil *gil);

static inline void krait__gil_leave(krait__gil *gil) {
    if (gil->leave) krait__gil_leave_slow(gil);
}

/* As krait__gil_enter, through other doors: a set of lives in which it is let in. */
enum {
    KRAIT__DOOR_CALL = 1 << KRAIT__OPEN,
    KRAIT__DOOR_SETUP = KRAIT__DOOR_CALL | 1 << KRAIT__LOADING,
    KRAIT__DOOR_ANY = KRAIT__DOOR_SETUP | 1 << KRAIT__STARTING | 1 << KRAIT__SHUT
};
krait_status krait__gil_enter_by(krait__gil *gil, int door, krait_error **err);

/* KRAIT_OK when the present life is one of `door`, else the refusal that fits it. */
krait_status krait__refuse(int door, krait_error **err);

/* Set by runtime: waits until the preloaded modules are there; the first caller gets their error. */
extern krait_status (*krait__gil_wait_loaded)(krait_error **err);

/* Lets the GIL go if this thread holds it, for a wait; krait__gil_resume takes it again. */
PyThreadState *krait__gil_pause(void);
void           krait__gil_resume(PyThreadState *state);

/* The record of this thread, which Python code that it runs has entered C on: attached, in whatever state. */
krait_status krait__gil_called(krait__thread **thread, krait_error **err);

/* A host function's stay outside: the GIL is let go, and what krait_acquire counted on this thread rests meanwhile, so
 * that acquiring and releasing starts anew. Coming back undoes what was acquired there and not released. */
typedef struct krait__away {
    PyThreadState *state;
    uint32_t       holds, attaches, attached_at[KRAIT__ATTACHES_MAX];
} krait__away;
void krait__gil_away(krait__thread *thread, krait__away *away);
void krait__gil_back(krait__thread *thread, const krait__away *away);

/* Runs fn with a thread state that lives for that long only: for krait's own threads. */
bool krait__gil_borrow(void (*fn)(void *user), void *user);

/* Room for a hold, when the thread has none to spare. */
krait__hold *krait__hold_alloc(void);

/* Holds. krait__hold_new takes over one reference of object on success; NULL without memory. */
static inline krait__hold *krait__hold_new(krait__thread *thread, PyObject *object, size_t bytes) {
    krait__hold *hold = (krait__hold *)thread->spare;
    if (hold) {
        thread->spare = hold->node.next;
        thread->spares--;
    } else if (!(hold = krait__hold_alloc())) {
        return NULL;
    }
    hold->object = object;
    hold->bytes = bytes;
    hold->extra = NULL;
    KRAIT__COUNT(thread, held, 1);
    return hold;
}
/* The release function of every value that owns a Python object: owner is a krait__hold. */
void krait__hold_release(void *owner);
/* Clears a value and frees its objects at once, in place of leaving them for later; attached. */
void krait__clear_now(krait__thread *thread, krait_value *value);
/* Frees what was cleared: all that this thread cleared while it held the GIL, and at most `limit` objects of the shared
 * list; attached. */
void krait__drain(krait__thread *thread, size_t limit);
/* Frees all of it, also from inside a destructor that is being drained. */
void krait__drain_all(krait__thread *thread);

enum {
    KRAIT__DRAIN_SOME = 64,     /* objects a call frees in passing */
    KRAIT__PENDING_MAX = 65536, /* at this many, or this many bytes, a call frees all */
    KRAIT__PENDING_BYTES_MAX = 256 * 1024 * 1024
};

static inline void krait__drain_in_passing(krait__thread *thread) {
    if (krait__anything_to_drain(thread)) krait__drain(thread, KRAIT__DRAIN_SOME);
}

/* Starts the janitor, the fork handler and the thread-exit key; idempotent. Called once Python runs. */
krait_status krait__gil_start(krait_error **err);

/* Sum of a counter over all threads, alive and ended. */
typedef struct krait__counters {
#define KRAIT__COUNTER_SUM(name) uint64_t name;
    KRAIT__COUNTER_MAP(KRAIT__COUNTER_SUM)
#undef KRAIT__COUNTER_SUM
    uint64_t states;
} krait__counters;
void krait__gil_counters(krait__counters *sum);

/* Calls that run now, in all threads but the calling one; with `raise` set, that exception is raised asynchronously in
 * each (attached). */
unsigned krait__gil_running(PyObject *raise);

#endif
