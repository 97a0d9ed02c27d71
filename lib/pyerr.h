/* pyerr: turns the exception that is set into a krait_error, plain data. Attached. */
#ifndef KRAIT_LIB_PYERR_H
#define KRAIT_LIB_PYERR_H

#include "pyapi.h"

/* Takes the exception that is set (none left afterwards), fills *err with all of it under `status` (SystemExit becomes
 * KRAIT_E_EXIT, a UnicodeError while text is converted KRAIT_E_ENCODING), clears its frames. Returns the status.
 * Without an exception: out of memory. */
krait_status krait__pyerr_take(krait_status status, krait_error **err);

/* True when the exception that is set is of that type. */
bool krait__pyerr_is(PyObject *type);

/* An error that names the qualified type of an object between two texts. */
krait_status krait__fail_type(PyObject *object, krait_status status, krait_error **err, const char *before,
                              const char *after);

#endif
