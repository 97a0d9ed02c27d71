/* outlet: what all conversions out of Python share: holds, and what lies in lent memory. Attached. */
#ifndef KRAIT_LIB_OUTLET_H
#define KRAIT_LIB_OUTLET_H

#include <krait/call.h>

#include "gil.h"
#include "loan.h"
#include "ndarray.h"

/* A result on its way out. */
typedef struct krait__outlet {
    krait__thread *thread;
    krait__loan   *loans; /* of the call; a result that lies in one is copied, or marked as alias */
    size_t         loan_count;
    bool           keep_strides;
    bool           detached; /* something below was copied for that reason: the object itself must not be kept */
    int            depth;
    Py_ssize_t     items; /* of all lists and dicts so far */
} krait__outlet;

/* Makes the value the object's owner, taking over the reference in any case. KRAIT_E_NOMEM. The kind and the payload
 * are the caller's to fill. */
krait_status krait__own(krait__outlet *outlet, PyObject *object, size_t bytes, krait_value *out, krait_error **err);

/* The memory an array spans: [*lo, *hi). */
void krait__span(const krait__array_head *head, size_t item_size, const char **lo, const char **hi);

/* Is any loan of the call alive? */
bool krait__any_loan(const krait__outlet *outlet);

/* The loan that [lo, hi) lies in, if any. An empty range counts too: what it stands on keeps the memory. */
krait__loan *krait__loan_under(const krait__outlet *outlet, const char *lo, const char *hi);

/* The same for an array. Fast when no loan is alive. */
krait__loan *krait__loan_under_array(const krait__outlet *outlet, const krait__array_head *head, size_t item_size);

/* KRAIT_ARRAY_... of numpy's flags. */
uint32_t krait__flags_of(int numpy_flags);

#endif
