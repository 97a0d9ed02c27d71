/* times: instants, dates, durations and decimals, one by one.
 *
 * Into Python ticks go exactly or not at all: where there is a zone, in the unit that pandas has for them. Out of it
 * the arithmetic is krait._bridge's, on Python's ints. */
#include "times.h"

#include "bridge.h"
#include "instant.h"
#include "mem.h"
#include "pyerr.h"

/* ---- into Python ------------------------------------------------------------------------------------------------- */

static krait_status made(PyObject *object, PyObject **out, krait_error **err) {
    bool no_module = !object && krait__pyerr_is(*py.PyExc_ImportError);
    *out = object;
    return object ? KRAIT_OK : krait__pyerr_take(no_module ? KRAIT_E_IMPORT : KRAIT_E_PYTHON, err);
}

/* numpy.datetime64 or timedelta64: what an array without dimensions has inside. */
static krait_status scalar_in(krait_dtype dtype, int64_t ticks, PyObject **out, krait_error **err) {
    krait_value  value = krait_ndarray(&ticks, dtype, 0, NULL, NULL);
    PyObject    *array = NULL, *nothing;
    krait_status status = krait__numpy_load(err);
    if (status) return status;
    py.Py_IncRef(py._Py_NoneStruct); /* for the array, whose memory nobody need keep */
    status = krait__array_over(&value, false, py._Py_NoneStruct, &array, err);
    if (status) return status;
    nothing = py.PyTuple_New(0);
    status = made(nothing ? py.PyObject_GetItem(array, nothing) : NULL, out, err);
    if (nothing) py.Py_DecRef(nothing);
    py.Py_DecRef(array);
    return status;
}

/* The unit that pandas has for an instant: seconds at the coarsest, nanoseconds at the finest. */
static uint8_t unit_of_pandas(uint8_t unit) {
    if (unit < KRAIT_S) return KRAIT_S;
    return unit > KRAIT_NS ? KRAIT_NS : unit;
}

static krait_status zoned_in(const krait_value *value, PyObject **out, krait_error **err) {
    krait_dtype  dtype = krait_datetime(unit_of_pandas(value->as.time.dtype.unit), 1);
    PyObject    *instant, *zone;
    int64_t      ticks;
    krait_status status = krait__ticks_in(value->as.time.ticks, value->as.time.dtype, dtype.unit, &ticks, err);
    if (!status) status = scalar_in(dtype, ticks, &instant, err);
    if (status) return status;
    zone = py.PyUnicode_FromStringAndSize(value->as.time.zone, (Py_ssize_t)strlen(value->as.time.zone));
    if (zone) status = made(krait__bridge_call("timestamp", instant, zone), out, err);
    else status = krait__pyerr_take(KRAIT_E_ENCODING, err);
    if (zone) py.Py_DecRef(zone);
    py.Py_DecRef(instant);
    return status;
}

static krait_status decimal_in(const krait_value *value, PyObject **out, krait_error **err) {
    PyObject    *digits;
    krait_status status;
    if (!value->as.bytes.data) return krait__fail(err, KRAIT_E_ARGUMENT, "the digits are NULL, expected text");
    if (value->as.bytes.size > PTRDIFF_MAX)
        return krait__fail(err, KRAIT_E_RANGE, "%zu digits are too many", value->as.bytes.size);
    digits = py.PyUnicode_FromStringAndSize(value->as.bytes.data, (Py_ssize_t)value->as.bytes.size);
    if (!digits) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    status = made(krait__bridge_call("decimal_of", digits, NULL), out, err);
    py.Py_DecRef(digits);
    return status;
}

krait_status krait__time_in(const krait_value *value, PyObject **object, krait_error **err) {
    krait_status status;
    if (value->kind == KRAIT_KIND_DECIMAL) return decimal_in(value, object, err);
    status = krait__time_check(value, err);
    if (status) return status;
    return value->as.time.zone ? zoned_in(value, object, err)
                               : scalar_in(value->as.time.dtype, value->as.time.ticks, object, err);
}

/* ---- out of Python ----------------------------------------------------------------------------------------------- */

int krait__is_time_scalar(PyObject *object) {
    static PyTypeObject     *types[2]; /* filled on first use, under the GIL; kept for good */
    static const char *const names[2] = { "datetime64", "timedelta64" };
    for (int i = 0; i < 2; i++) {
        PyObject *numpy = types[i] ? NULL : py.PyImport_ImportModule("numpy");
        if (numpy) types[i] = (PyTypeObject *)py.PyObject_GetAttrString(numpy, names[i]);
        if (numpy) py.Py_DecRef(numpy);
        if (!types[i]) return -1;
    }
    return krait__is(object, types[0]) || krait__is(object, types[1]);
}

/* Makes the value the owner of the object and of a copy of a text, which may be None (then *copy is NULL). Takes over
 * the reference. */
static krait_status own_with_text(krait__outlet *outlet, PyObject *object, PyObject *text, krait_value *out,
                                  const char **copy, krait_error **err) {
    Py_ssize_t   size = 0;
    const char  *data = text == py._Py_NoneStruct ? NULL : py.PyUnicode_AsUTF8AndSize(text, &size);
    char        *own = data ? krait__strndup(data, (size_t)size) : NULL;
    krait__hold *hold;
    *copy = own;
    if (!own && text != py._Py_NoneStruct) {
        py.Py_DecRef(object);
        return data ? krait__fail_nomem(err) : krait__pyerr_take(KRAIT_E_ENCODING, err);
    }
    if (krait__own(outlet, object, 0, out, err)) {
        krait__free(own);
        return KRAIT_E_NOMEM;
    }
    hold = out->owner;
    hold->extra = own;
    hold->extra_free = krait__free;
    out->as.bytes.size = (size_t)size;
    return KRAIT_OK;
}

static int64_t int_at(PyObject *tuple, Py_ssize_t index) {
    int overflow; /* the bridge has looked */
    return py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(tuple, index), &overflow);
}

/* (code, unit, count, ticks, zone or None) */
static krait_status instant_out(krait__outlet *outlet, PyObject *object, PyObject *parts, krait_value *out,
                                krait_error **err) {
    const char  *zone;
    krait_status status = own_with_text(outlet, object, py.PyTuple_GetItem(parts, 4), out, &zone, err);
    if (status) return status;
    out->kind = KRAIT_KIND_TIME;
    out->as.time.dtype = krait_dtype_make_((uint8_t)int_at(parts, 0), (uint8_t)int_at(parts, 1), 8, int_at(parts, 2));
    out->as.time.ticks = int_at(parts, 3);
    out->as.time.zone = zone;
    return KRAIT_OK;
}

static krait_status decimal_out(krait__outlet *outlet, PyObject *object, PyObject *digits, krait_value *out,
                                krait_error **err) {
    const char  *text;
    krait_status status = own_with_text(outlet, object, digits, out, &text, err);
    if (status) return status;
    out->kind = KRAIT_KIND_DECIMAL;
    out->as.bytes.data = text;
    return KRAIT_OK;
}

krait_status krait__time_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    PyObject    *parts = krait__bridge_call("time_parts", object, NULL);
    krait_status status;
    if (!parts) {
        py.Py_DecRef(object);
        return krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    status = krait__is(parts, py.PyUnicode_Type) ? decimal_out(outlet, object, parts, out, err)
                                                 : instant_out(outlet, object, parts, out, err);
    py.Py_DecRef(parts);
    return status;
}
