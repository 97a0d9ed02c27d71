/* Starting Python, ending it, holding it, diagnosing it. */
#ifndef KRAIT_RUNTIME_H
#define KRAIT_RUNTIME_H

#include <krait/value.h>

KRAIT_BEGIN

/* Memory functions for krait's own C allocations (Python and numpy keep theirs). As malloc, realloc and free, with
 * `user` first; called from any thread; must not call krait. */
typedef struct krait_allocator {
    void *(*allocate)(void *user, size_t size);
    void *(*reallocate)(void *user, void *block, size_t size);
    void (*release)(void *user, void *block);
    void *user;
} krait_allocator;

/* Levels of log lines. */
enum { KRAIT_LOG_DEBUG = 10, KRAIT_LOG_INFO = 20, KRAIT_LOG_WARNING = 30, KRAIT_LOG_ERROR = 40 };

/* Receives krait's own log lines: `line` has no newline. Called from any thread, with or without the GIL; must not
 * block or call krait. */
typedef void (*krait_log_fn)(void *user, int level, const char *line);

/* Flags of krait_options. */
enum {
    KRAIT_ISOLATED = 1 /* as `python -I`: no PYTHON* variables, no user site-packages */
};

/* Options of krait_init. Start with KRAIT_OPTIONS_INIT; zero and NULL mean default. Texts are copied. */
typedef struct krait_options {
    size_t      size;
    const char *python;   /* a python executable, a venv's folder or a libpython file; "$ORIGIN" at its start is the
                             program's folder. Default: KRAIT_PYTHON, then VIRTUAL_ENV, then python3 on PATH */
    uint32_t    flags;    /* KRAIT_ISOLATED */
    uint32_t    blas_threads; /* threads of numpy's BLAS. Default: OPENBLAS_NUM_THREADS, MKL_NUM_THREADS or
                                 OMP_NUM_THREADS if set, else what affinity and cgroup quota allow */
    const char *const *paths;          /* put in front of sys.path, in this order; ends with NULL */
    const char *const *preload;        /* modules to import in the background; ends with NULL */
    const char *const *x_options;      /* "importtime" for -X importtime; ends with NULL */
    const char *const *warnings;       /* "error::DeprecationWarning" for -W ...; ends with NULL */
    krait_log_fn log;                  /* default: none, or stderr with KRAIT_LOG=stderr in the environment */
    void        *log_user;
    void (*log_destroy)(void *user);   /* called when the log function is no longer used; may be NULL */
    const krait_allocator *allocator;  /* only before krait has allocated anything */
    uint64_t reserved[4];
} krait_options;

#define KRAIT_OPTIONS_INIT \
    { sizeof(krait_options), NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, { 0, 0, 0, 0 } }

/* Starts Python once for the process, or attaches to one that already runs in it. Returns when the interpreter is up;
 * preloaded modules are imported meanwhile. After a success further calls succeed: paths and preload add up, other
 * set fields must agree with what runs. The host's signals, locale, environment and stdio buffering stay as they
 * were. A failed start of the interpreter itself is final, since CPython cannot try again; not finding a usable
 * Python is not.
 * Threads: any; concurrent calls wait for the first.  GIL: may be held; if so it is let go meanwhile.
 * Errors: KRAIT_E_NO_PYTHON, KRAIT_E_NO_LIBPYTHON, KRAIT_E_PYTHON_VERSION, KRAIT_E_STATIC, KRAIT_E_INIT,
 *         KRAIT_E_CONFLICT, KRAIT_E_ARGUMENT, KRAIT_E_UNSUPPORTED, KRAIT_E_CLOSED, KRAIT_E_FORKED, KRAIT_E_NOMEM.
 *         Since: 0.1 */
KRAIT_API krait_status krait_init(const krait_options *options, krait_error **err);

/* Waits at most timeout_ms (negative: for ever) until the preloaded modules are imported, and tells whether they were.
 * Errors: KRAIT_E_IMPORT (the first that failed), KRAIT_E_TIMEOUT, KRAIT_E_NOT_READY, ...  Threads: any.
 * GIL: may be held; let go meanwhile.  Since: 0.1 */
KRAIT_API krait_status krait_wait_ready(int64_t timeout_ms, krait_error **err);

/* Belongs to the program, never to a plugin. Closes the door: later calls are KRAIT_E_CLOSED. Waits at most
 * timeout_ms (negative: for ever) for the calls that run; those that do not end get SystemExit raised in their Python
 * code. Then runs atexit functions and flushes Python's streams. Python is not finalised, its memory stays, results
 * stay valid. Final: krait_init is refused afterwards, and a second
 * krait_shutdown does nothing.
 * Threads: any but one inside a call.  GIL: may be held; let go meanwhile.
 * Errors: KRAIT_E_TIMEOUT (something still runs; the door is closed all the same), KRAIT_E_NOT_READY.  Since: 0.1 */
KRAIT_API krait_status krait_shutdown(int64_t timeout_ms, krait_error **err);

/* Holds the interpreter on this thread until krait_release, counted: calls between skip the hand-over (50 ns each).
 * While it is held no other thread runs Python code, so hold it for batches, not for waiting. Any krait call works
 * without it.
 * Threads: each for itself.  GIL: held afterwards.
 * Errors: KRAIT_E_NOT_READY, KRAIT_E_CLOSED, KRAIT_E_FORKED, KRAIT_E_STACK, KRAIT_E_NOMEM: then it is not held and
 *         must not be released.  Since: 0.1 */
KRAIT_API krait_status krait_acquire(krait_error **err);

/* Undoes one krait_acquire of this thread; without one it does nothing.
 * Threads: the one that acquired.  Errors: none.  Since: 0.1 */
KRAIT_API void krait_release(void);

/* Puts a folder into sys.path at `position` (0: first; negative: last), unless it stands there already.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_ARGUMENT, KRAIT_E_NOT_READY, ...  Since: 0.1 */
KRAIT_API krait_status krait_add_path(const char *path, int position, krait_error **err);

/* Runs Python's garbage collector in full and drains what was cleared.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_NOT_READY, ...  Since: 0.1 */
KRAIT_API krait_status krait_gc(krait_error **err);

/* Kinds of loan. */
enum {
    KRAIT_LOAN_VIEW = 1,     /* memory of the host that Python still refers to after the call it was lent to: an escape,
                                or a result that views a KRAIT_ALIAS argument. Must stay valid until it is listed no
                                more */
    KRAIT_LOAN_ARGUMENT = 2, /* only with KRAIT_DEBUG_LEAKS: a borrowed argument of a call that runs now */
    KRAIT_LOAN_RESULT = 3    /* only with KRAIT_DEBUG_LEAKS: a result that has not been cleared */
};

/* What is lent or handed out and not back yet. With KRAIT_DEBUG_LEAKS=1 in the environment of krait_init, krait
 * remembers where each came from, at the price of some microseconds a call. */
typedef struct krait_loan {
    const void *data;     /* the memory; NULL for a result that is no array, text or bytes */
    size_t      bytes;    /* of a table, the least range that holds all columns */
    const char *function; /* "module:name" */
    const char *argument; /* "argument 1" or "argument 2 'ddof'"; of a result what it is: "float64 array (10, 3)" */
    const char *origin;   /* who called, and who called that: "program+0x1234 < program+0x1300, thread 12", for
                             addr2line -e program 0x1234; "" without KRAIT_DEBUG_LEAKS */
    uint32_t    kind;     /* KRAIT_LOAN_... */
    uint32_t    reserved;
} krait_loan;

/* Calls fn (NULL: only count) for each loan that is open now, the newest first; returns their number. fn must not call
 * krait.
 * Ownership: the loan is valid during fn only.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API size_t krait_loans(void (*fn)(void *user, const krait_loan *loan), void *user);

/* Formats of a report. */
enum { KRAIT_REPORT_TEXT = 0, KRAIT_REPORT_JSON = 1 };

/* Diagnosis: which Python, by which rule, libpython, versions of numpy and pandas, BLAS and its threads, CPU quota,
 * stack sizes, what is missing and the command that cures it on this machine. Starts krait with default options if it
 * does not run yet, and makes a real call. *report is text also when the diagnosis is bad; the status is KRAIT_OK
 * only when the real call worked.
 * Ownership: *report is the caller's.  Threads: any.  GIL: not needed.  Errors: those of krait_init and krait_call.
 * Since: 0.1 */
KRAIT_API krait_status krait_doctor(int format, krait_value *report, krait_error **err);

KRAIT_END
#endif
