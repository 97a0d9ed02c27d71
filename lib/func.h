/* func: a Python function by name, resolved once, with the keyword tuples of its callers. */
#ifndef KRAIT_LIB_FUNC_H
#define KRAIT_LIB_FUNC_H

#include <krait/call.h>

#include "gil.h"

enum { KRAIT__KEYWORDS_MAX = 8 }; /* different sets of keywords that a function remembers */

/* The names of one set of keywords, as PyObject_Vectorcall wants them. Never changed once published. */
typedef struct krait__keywords {
    krait__hold *hold; /* of the tuple */
    size_t       count;
    char        *names; /* each with its NUL, one after the other */
} krait__keywords;

struct krait_func {
    _Atomic uint32_t           refs;
    char                      *name;                          /* "package.module:qualified.name" */
    char                      *module;                        /* "package.module" */
    const char                *path;                          /* "qualified.name", in name */
    _Atomic(krait__hold *)     resolved;                      /* keeps the callable; NULL until it was found */
    _Atomic(krait__hold *)     own;                           /* static room for it, that counts as no result */
    _Atomic int64_t            last_full_collection;          /* ns; what looking for escapes may cost is bounded */
    _Atomic(krait__keywords *) keywords[KRAIT__KEYWORDS_MAX]; /* filled from the front */
};

/* Is it a dotted name, "package.module"? */
bool krait__is_dotted(const char *text, size_t size);

/* The callable, borrowed; imports the module if need be. Attached. */
krait_status krait__func_resolve(krait_func *func, krait__thread *thread, krait__hold **resolved, krait_error **err);

/* A function of a callable that is at hand (borrowed), called `name` in messages. NULL with *err filled. Attached. */
krait_func *krait__func_of(krait__thread *thread, PyObject *callable, const char *name, krait_error **err);

static inline krait__hold *krait__func_resolved(krait_func *func) {
    return atomic_load_explicit(&func->resolved, memory_order_acquire);
}

/* The tuple of the names of args[0..count), a new reference. Attached. */
krait_status krait__func_keywords(krait_func *func, krait__thread *thread, const krait_arg *args, size_t count,
                                  PyObject **tuple, krait_error **err);

/* A refused call consumes what it was given, like any other: for what is refused before it comes to krait_call too.
 * Returns `status`. In call. */
krait_status krait__refuse_args(const krait_arg *args, size_t n, krait_status status);

#endif
