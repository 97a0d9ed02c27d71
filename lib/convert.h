/* convert: one value into Python, one object out of it. Attached. */
#ifndef KRAIT_LIB_CONVERT_H
#define KRAIT_LIB_CONVERT_H

#include <krait/call.h>

#include "outlet.h"

enum {
    KRAIT__ITEMS_MAX = 1000000 /* items of one list or dict: beyond, it should have been an array */
};

/* Numbers without flags or owner, as most arguments are. */
static inline bool krait__is_simple(const krait_arg *arg) {
    return !(arg->flags | arg->value.flags) && arg->value.kind >= KRAIT_KIND_BOOL && arg->value.kind <= KRAIT_KIND_F64;
}

/* A new reference for the number; NULL with an exception set. */
static inline PyObject *krait__simple(const krait_value *value) {
    if (value->kind == KRAIT_KIND_F64) return py.PyFloat_FromDouble(value->as.f64);
    switch (value->kind) {
    case KRAIT_KIND_I64: return py.PyLong_FromLongLong(value->as.i64);
    case KRAIT_KIND_U64: return py.PyLong_FromUnsignedLongLong(value->as.u64);
    default: return py.PyBool_FromLong(value->as.b);
    }
}

/* A float, taking over the reference. */
static inline krait_status krait__float_out(PyObject *object, krait_value *out) {
    out->kind = KRAIT_KIND_F64;
    out->as.f64 = py.PyFloat_AsDouble(object);
    py.Py_DecRef(object);
    return KRAIT_OK;
}

/* A new reference for one argument. `loan` is where a borrowed array is noted (its owner NULL when nothing was lent). A
 * value that krait_owned gave is consumed, whatever happens: *consumed is set as soon as its release has been arranged
 * for. */
krait_status krait__to_python(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                              PyObject **object, krait_error **err);

/* The two that have short ways of their own: a double, an array that is only lent; positional. */
static inline bool krait__is_double(const krait_arg *arg) {
    return arg->value.kind == KRAIT_KIND_F64 && !arg->value.flags && !arg->flags && !arg->name;
}
static inline bool krait__is_lent(const krait_arg *arg) {
    return arg->value.kind == KRAIT_KIND_ARRAY && !arg->value.flags && !arg->flags && !arg->name;
}

/* Most arguments that are arrays: lent, read-only, of a numeric dtype in C order. NULL, perhaps with an exception set:
 * krait__to_python takes any other. */
PyObject *krait__lend(const krait_value *value, krait__loan *loan);

/* The Python object that a value still stands for, borrowed; NULL when there is none (any more). */
PyObject *krait__object_of(const krait_value *value);

/* Fills *out from object, taking over the reference. KRAIT_E_UNSUPPORTED names the type and what would do. */
krait_status krait__from_python(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err);

/* Most results that are arrays: exactly an ndarray of a numeric dtype, C-contiguous and aligned, of up to three
 * dimensions, apart from all loans. Takes over the reference; false for any other, which krait__from_python takes. */
bool krait__array_out_quick(krait__thread *thread, const krait__loan *loans, size_t loan_count, PyObject *object,
                            krait_value *out);

/* Drops a result that nobody wants, taking over the reference; a coroutine is run all the same. */
krait_status krait__drop_result(PyObject *object, krait_error **err);

/* Tables in a result, and the lists and maps that they are in, stand for their Python objects no more; what was made of
 * these stays. False: there are none that did. */
bool krait__let_go(krait_value *value);

#endif
