/* pyerr: turns the exception that is set into a krait_error, plain data, and a krait_error into the exception
 * krait.Error. Attached. */
#ifndef KRAIT_LIB_PYERR_H
#define KRAIT_LIB_PYERR_H

#include "pyapi.h"

/* Takes the exception that is set (none left afterwards), fills *err with all of it under `status` (SystemExit becomes
 * KRAIT_E_EXIT, a MemoryError KRAIT_E_NOMEM where status is not KRAIT_E_PYTHON), clears its frames. Returns the status.
 * Without an exception: out of memory. A krait.Error has a status of its own, and one that krait__pyerr_raise made is
 * the error it was made of, in the chain of causes too. */
krait_status krait__pyerr_take(krait_status status, krait_error **err);

/* Raises krait.Error (or what failed while it was made), taking over the error, which is never NULL. Always NULL. */
PyObject *krait__pyerr_raise(krait_error *error);

/* True when the exception that is set is of that type. */
bool krait__pyerr_is(PyObject *type);

/* An error that names the qualified type of an object between two texts. */
krait_status krait__fail_type(PyObject *object, krait_status status, krait_error **err, const char *before,
                              const char *after);

#endif
