/* Holds every line of lib/pyapi.def, and every layout that lib/ knows, against the real headers of one Python.
 *
 * Compiled only: test_pyapi.sh does so for each Python whose headers are on the machine. A wrong type is a compile error. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stddef.h>
#include <stdint.h>

/* Removed from the headers while still exported, or declared only for the internal API: what they were. */
#if PY_VERSION_HEX >= 0x030d0000
PyAPI_FUNC(PyThreadState *) _PyThreadState_UncheckedGet(void);
#endif
#if PY_VERSION_HEX < 0x030d0000
PyAPI_FUNC(PyThreadState *) PyThreadState_GetUnchecked(void);
#endif
#if PY_VERSION_HEX < 0x030c0000
PyAPI_FUNC(PyObject *) PyErr_GetRaisedException(void);
#endif
/* Types: the pointer to each symbol is of the type that the table says. */
#define PY_FUNCTION(need, fails, type, name, args) \
    _Static_assert(_Generic(&name, type(*) args: 1, default: 0), #name " has another type");
#define PY_DATA(type, name) _Static_assert(_Generic(&name, type *: 1, default: 0), #name " has another type");
#include "../../lib/pyapi.def"

/* Layouts: what lib/pyapi.h and lib/start.c rely on. */
_Static_assert(offsetof(PyObject, ob_type) == sizeof(PyObject) - sizeof(void *), "ob_type ends the object header");
_Static_assert(offsetof(PyStatus, func) == 8 && offsetof(PyStatus, err_msg) == 16 && offsetof(PyStatus, exitcode) == 24 &&
                   sizeof(PyStatus) == 32,
               "PyStatus is {int, char *, char *, int}");
_Static_assert(offsetof(PyConfig, install_signal_handlers) == 4 * sizeof(int), "PyConfig int [4]");
_Static_assert(sizeof(PyConfig) <= 4096, "PyConfig fits the opaque buffer");
_Static_assert(offsetof(PyPreConfig, utf8_mode) == 7 * sizeof(int), "PyPreConfig int [7]");
_Static_assert(offsetof(PyPreConfig, use_environment) == 3 * sizeof(int) && offsetof(PyPreConfig, dev_mode) == 8 * sizeof(int), "PyPreConfig");
_Static_assert(sizeof(PyPreConfig) <= 16 * sizeof(int), "PyPreConfig fits");
_Static_assert(offsetof(PyConfig, configure_c_stdio) == offsetof(PyConfig, user_site_directory) + sizeof(int) &&
                   offsetof(PyConfig, buffered_stdio) == offsetof(PyConfig, configure_c_stdio) + sizeof(int),
               "the three ints by which start.c finds configure_c_stdio");
_Static_assert(offsetof(PyMethodDef, ml_meth) == 8 && offsetof(PyMethodDef, ml_flags) == 16 && sizeof(PyMethodDef) == 32, "PyMethodDef");
_Static_assert(offsetof(PyType_Spec, slots) == 24 && offsetof(PyType_Spec, flags) == 16 && sizeof(PyType_Slot) == 16, "PyType_Spec");
_Static_assert(Py_tp_dealloc == 52 && Py_tp_doc == 56 && Py_file_input == 257 && METH_VARARGS == 1, "numbers");
_Static_assert(PY_VECTORCALL_ARGUMENTS_OFFSET == (size_t)1 << (8 * sizeof(size_t) - 1), "vectorcall flag");
_Static_assert(sizeof(Py_ssize_t) == sizeof(int64_t), "shapes are 64-bit");
