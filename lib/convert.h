/* convert: one value into Python, one object out of it. Attached. */
#ifndef KRAIT_LIB_CONVERT_H
#define KRAIT_LIB_CONVERT_H

#include <krait/call.h>

#include "gil.h"
#include "loan.h"

enum {
    KRAIT__ITEMS_MAX = 1000000   /* items of one list or dict: beyond, it should have been an array */
};

/* A new reference for one argument. `loan` is where a borrowed array is noted (its owner NULL when nothing was lent). A value that krait_owned
 * gave is consumed, whatever happens: *consumed is set as soon as its release has been arranged for. */
krait_status krait__to_python(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed, PyObject **object,
                              krait_error **err);

/* A result on its way out. */
typedef struct krait__outlet {
    krait__thread     *thread;
    krait__loan       *loans; /* of the call; a result that lies in one is copied, or marked as alias */
    size_t             loan_count;
    bool               keep_strides;
    bool               detached; /* something below was copied for that reason: the object itself must not be kept */
    int                depth;
} krait__outlet;

/* Fills *out from object, taking over the reference. KRAIT_E_UNSUPPORTED names the type and what would do. */
krait_status krait__from_python(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err);

/* Drops a result that nobody wants, taking over the reference; a coroutine is run all the same. */
krait_status krait__drop_result(krait__outlet *outlet, PyObject *object, krait_error **err);

#endif
