/* tensor: Python objects with __dlpack__. Attached. */
#ifndef KRAIT_LIB_TENSOR_H
#define KRAIT_LIB_TENSOR_H

#include <krait/status.h>

#include "pyapi.h"

/* An ndarray over the memory of an object that has __dlpack__ and is none itself (torch, jax, cupy, ...): new
 * reference. Takes over the reference of `object`. */
krait_status krait__tensor_array(PyObject *object, PyObject **array, krait_error **err);

#endif
