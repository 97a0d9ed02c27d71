/* tensor: results of other array libraries, through DLPack.
 *
 * The tensor becomes a numpy array over the same memory, whose base is an owner object that calls the tensor's deleter:
 * so the deleter runs attached, as some producers need, and lent memory is noticed as in any other array. numpy's own
 * from_dlpack would do most of this, but 1.24 takes no bools, no versioned tensors, and calls all of them read-only. */
#include "tensor.h"

#include "dlpack.h"
#include "loan.h"
#include "ndarray.h"
#include "pyerr.h"

static krait_status check_device(PyObject *answer, krait_error **err) {
    int       overflow;
    long long type = py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(answer, 0), &overflow);
    long long number = py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(answer, 1), &overflow);
    if (py.PyErr_Occurred()) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (type < 0 || type > INT32_MAX || number < INT32_MIN || number > INT32_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "__dlpack_device__ answered (%lld, %lld), which is no device",
                           type, number);
    return krait__dlpack_device((int32_t)type, (int32_t)number, err);
}

/* The tensor of a capsule, which is renamed and thereby left without it. */
static krait_status consume(PyObject *capsule, krait_value *value, krait_error **err) {
    bool         versioned = py.PyCapsule_IsValid(capsule, "dltensor_versioned");
    const char  *name = versioned ? "dltensor_versioned" : "dltensor";
    void        *tensor = py.PyCapsule_IsValid(capsule, name) ? py.PyCapsule_GetPointer(capsule, name) : NULL;
    krait_status status;
    if (!tensor)
        return krait__fail_type(capsule, KRAIT_E_UNSUPPORTED, err, "__dlpack__ answered an object of type ",
                                ", expected a capsule named dltensor or dltensor_versioned that nobody used");
    status = krait__dlpack_take(tensor, versioned, value, err);
    if (status || !py.PyCapsule_SetName(capsule, versioned ? "used_dltensor_versioned" : "used_dltensor"))
        return status;
    krait__dlpack_forget(value);
    return krait__pyerr_take(KRAIT_E_PYTHON, err);
}

static krait_status array_over(krait_value *value, PyObject **array, krait_error **err) {
    PyObject *owner = krait__owner_new(value->release, value->owner);
    if (!owner) {
        krait_status status = krait__pyerr_take(KRAIT_E_PYTHON, err);
        krait_value_clear(value);
        return status;
    }
    return krait__array_over(value, (value->as.array.flags & KRAIT_ARRAY_WRITABLE) != 0, owner, array, err);
}

krait_status krait__tensor_array(PyObject *object, PyObject **array, krait_error **err) {
    krait_value  value;
    PyObject    *answer;
    krait_status status = krait__numpy_load(err);
    answer = status ? NULL : krait__arrays_call("capsule_of", object); /* (device type, its number, capsule) */
    if (!status && !answer) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    py.Py_DecRef(object);
    if (!status) status = check_device(answer, err);
    if (!status) status = consume(py.PyTuple_GetItem(answer, 2), &value, err);
    if (answer) py.Py_DecRef(answer);
    return status ? status : array_over(&value, array, err);
}
