/* Functions and calls. */
#ifndef KRAIT_CALL_H
#define KRAIT_CALL_H

#include <krait/value.h>

KRAIT_BEGIN

/* A Python function by name; found on first use, good in any thread. */
typedef struct krait_func krait_func;

/* "package.module:qualified.name", e.g. "krait.analysis:normalize". Nothing is imported before the first call or
 * krait_func_check. May be made before krait_init.
 * Ownership: the caller's; krait_func_unref.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (not of that form), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_func *krait_func_new(const char *name, krait_error **err);

/* One more owner, one less; the last one frees. Whoever calls a function keeps it until the call has returned. NULL
 * is fine.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API krait_func *krait_func_ref(krait_func *func);
KRAIT_API void krait_func_unref(krait_func *func);

/* "package.module:qualified.name".  Ownership: borrowed from func.  Threads: any.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_func_name(const krait_func *func);

struct krait_call_options;

/* Imports the module and finds the function now, in the place that options name. Waits for preloaded modules first; the
 * first call or check gets the error of one that failed, unless krait_wait_ready told it before.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_IMPORT (with the traceback), KRAIT_E_NOT_FOUND, KRAIT_E_KIND (not callable), ...  Since: 0.1 */
KRAIT_API krait_status krait_func_check(krait_func *func, const struct krait_call_options *options, krait_error **err);

/* Makes module `name` ("my_rules", importable by that name afterwards) from source text; done again, it replaces the
 * module, and functions made from then on see the new one.
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_ARGUMENT, KRAIT_E_IMPORT (with the traceback), ...  Since: 0.1 */
KRAIT_API krait_status krait_module_from_source(const char *name, const char *source, krait_error **err);

/* Flags of an argument. They concern arrays; on other kinds they are KRAIT_E_UNSUPPORTED. */
enum {
    KRAIT_WRITABLE = 1, /* Python may write into the array (default: read-only) */
    KRAIT_COPY = 2,     /* Python gets a copy of its own, which it may keep */
    KRAIT_ALIAS = 4     /* a result may view the argument (default: it is copied): clear it before the memory goes */
};

/* One argument of a call. */
typedef struct krait_arg {
    const char *name; /* NULL: positional */
    uint32_t    flags;
    uint32_t    reserved;
    krait_value value;
} krait_arg;

static inline krait_arg krait_pos(krait_value value) {
    krait_arg arg;
    arg.name = NULL;
    arg.flags = 0;
    arg.reserved = 0;
    arg.value = value;
    return arg;
}
/* Keyword argument; keywords come after all positional ones. */
static inline krait_arg krait_kw(const char *name, krait_value value) {
    krait_arg arg = krait_pos(value);
    arg.name = name;
    return arg;
}
/* The same argument with flags: krait_with(krait_pos(v), KRAIT_WRITABLE). */
static inline krait_arg krait_with(krait_arg arg, uint32_t flags) {
    arg.flags = flags;
    return arg;
}

/* Flags of a call. */
enum {
    KRAIT_KEEP_STRIDES = 1, /* arrays of the result come as they are: strided, misaligned, other byte order */
    KRAIT_IDEMPOTENT = 2    /* not supported yet: may be run a second time after a crash */
};

struct krait_pool;
struct krait_trace;
struct krait_cancel;

/* Options of a call. Start with KRAIT_CALL_OPTIONS_INIT. Fields marked "not yet" must be zero: KRAIT_E_UNSUPPORTED
 * names them. */
typedef struct krait_call_options {
    size_t                    size;
    uint32_t                  flags;       /* KRAIT_KEEP_STRIDES */
    uint32_t                  reserved0;
    struct krait_pool        *on;          /* not yet: where it runs */
    int64_t                   timeout_ms;  /* not yet: from now, queue and run together */
    int64_t                   deadline_ns; /* not yet: the same as an instant of CLOCK_MONOTONIC */
    const struct krait_trace *trace;       /* not yet: trace context */
    struct krait_cancel      *cancel;      /* not yet: cancel token */
    const char               *tag;         /* not yet: tag of log lines */
    uint64_t                  reserved[4];
} krait_call_options;

#define KRAIT_CALL_OPTIONS_INIT \
    { sizeof(krait_call_options), 0, 0, NULL, 0, 0, NULL, NULL, NULL, { 0, 0, 0, 0 } }

/* Calls func with n arguments and waits for its result. Borrowed arrays are lent for the call, read-only and without
 * a copy; a result that views one is copied. If Python keeps one otherwise (in a global, a cache, a thread), the call
 * is KRAIT_E_ESCAPED and that memory must stay valid while krait_loans lists it. `out` may be NULL: the result is
 * dropped. Coroutines are run to their result. Waits for preloaded modules, as krait_func_check does.
 * Ownership: *out is the caller's; krait_owned values are consumed whatever happens.
 * Threads: any with at least 1 MiB of stack, also from inside a Python call.  GIL: not needed; held or not, left as
 * it was.
 * Errors: KRAIT_E_PYTHON (the exception as data), KRAIT_E_EXIT, KRAIT_E_ESCAPED, KRAIT_E_IMPORT, KRAIT_E_NOT_FOUND,
 *         KRAIT_E_ARGUMENT, KRAIT_E_SHAPE, KRAIT_E_RANGE, KRAIT_E_ENCODING, KRAIT_E_UNSUPPORTED (options, result
 *         types), KRAIT_E_NO_NUMPY, KRAIT_E_STACK, KRAIT_E_NOT_READY, KRAIT_E_CLOSED, KRAIT_E_FORKED, KRAIT_E_NOMEM.
 *         Since: 0.1 */
KRAIT_API krait_status krait_call(krait_func *func, const krait_arg *args, size_t n, const krait_call_options *options,
                                  krait_value *out, krait_error **err);

KRAIT_END
#endif
