/* pyapi: the table of CPython's functions, filled by dlsym; what is known of its struct layouts.
 *
 * The only file that knows a layout of CPython's: `ob_type` at the end of the object header, whose size is
 * object.__basicsize__; PyStatus; the first ints of PyPreConfig and of PyConfig. Each is held against the real headers
 * by a test. Includes no Python.h. */
#ifndef KRAIT_LIB_PYAPI_H
#define KRAIT_LIB_PYAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

typedef ssize_t            Py_ssize_t;
typedef struct _object     PyObject;
typedef struct _typeobject PyTypeObject;
typedef struct _ts         PyThreadState;
typedef struct _is         PyInterpreterState;
typedef struct PyConfig    PyConfig;

typedef struct PyStatus {
    int         type; /* 0 ok, 1 error, 2 exit */
    const char *func, *err_msg;
    int         exitcode;
} PyStatus;

typedef struct PyPreConfig {
    int field[16]; /* 10 are used up to 3.15 */
} PyPreConfig;
enum { PRECONFIG_ISOLATED = 2, PRECONFIG_USE_ENVIRONMENT = 3, PRECONFIG_UTF8_MODE = 7, PRECONFIG_DEV_MODE = 8 };

typedef struct PyType_Slot {
    int   slot;
    void *pfunc;
} PyType_Slot;
typedef struct PyType_Spec {
    const char  *name;
    int          basicsize, itemsize;
    unsigned int flags;
    PyType_Slot *slots;
} PyType_Spec;
typedef PyObject *(*vectorcallfunc)(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *names);
typedef PyObject *(*PyCFunction)(PyObject *self, PyObject *args);
typedef struct PyMethodDef {
    const char *ml_name;
    PyCFunction ml_meth;
    int         ml_flags;
    const char *ml_doc;
} PyMethodDef;
enum { KRAIT__METH_VARARGS = 1 };
enum { Py_tp_dealloc_SLOT = 52, Py_tp_doc_SLOT = 56, Py_TPFLAGS_DEFAULT_BITS = 0, Py_file_input_START = 257 };

/* Bit that tells PyObject_Vectorcall that args[-1] may be written to. */
#define KRAIT__ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))

typedef struct krait__pyapi {
#define PY_FUNCTION(need, fails, type, name, args) type(*name) args;
#define PY_DATA(type, name) type *name;
#include "pyapi.def"
#undef PY_FUNCTION
#undef PY_DATA
    PyThreadState *(*current)(void); /* the attached state: PyThreadState_GetUnchecked or its older name */
    size_t header;                   /* object.__basicsize__ */
    size_t type_at;                  /* offset of ob_type */
    int    minor;                    /* of Python 3.minor */
    bool   current_is_global;        /* 3.11: `current` tells the state of whichever thread holds the GIL */
} krait__pyapi;

extern krait__pyapi krait__py;
#define py krait__py

/* Fills the function table from a dlopen handle (or RTLD_DEFAULT); names the first symbol that is missing. */
krait_status krait__pyapi_load(void *handle, krait_error **err);

/* Needs an attached thread: reads object.__basicsize__. */
krait_status krait__pyapi_measure(krait_error **err);

static inline PyTypeObject *krait__type(PyObject *object) {
    return *(PyTypeObject **)((char *)object + py.type_at);
}

static inline bool krait__is(PyObject *object, PyTypeObject *type) {
    return krait__type(object) == type || py.PyType_IsSubtype(krait__type(object), type);
}

#endif
