#include "pyerr.h"

#include <stdio.h>
#include <string.h>

#include "bridge.h"
#include "mem.h"

/* ---- reading the tuple that krait._bridge.describe makes --------------------------------------------------------- */

static char *text_at(PyObject *tuple, Py_ssize_t index) {
    PyObject   *item = py.PyTuple_GetItem(tuple, index);
    Py_ssize_t  size;
    const char *text = item ? py.PyUnicode_AsUTF8AndSize(item, &size) : NULL;
    if (!text) {
        py.PyErr_Clear();
        return NULL;
    }
    return krait__strndup(text, (size_t)size);
}

static void read_frames(krait_error *error, PyObject *frames) {
    Py_ssize_t count = py.PyTuple_Size(frames);
    error->frames = count > 0 ? krait__zalloc(krait__size((size_t)count, sizeof *error->frames, 0)) : NULL;
    for (Py_ssize_t i = 0; error->frames && i < count; i++) {
        PyObject *frame = py.PyTuple_GetItem(frames, i);
        int       overflow;
        error->frames[i].file = text_at(frame, 0);
        error->frames[i].line = (int32_t)py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(frame, 1), &overflow);
        error->frames[i].function = text_at(frame, 2);
        error->frame_count++;
    }
}

static void read_notes(krait_error *error, PyObject *notes) {
    Py_ssize_t count = py.PyTuple_Size(notes);
    error->notes = count > 0 ? krait__zalloc(krait__size((size_t)count, sizeof *error->notes, 0)) : NULL;
    for (Py_ssize_t i = 0; error->notes && i < count; i++) error->notes[error->note_count++] = text_at(notes, i);
}

/* One exception; the caller goes on with the cause, the sixth item. */
static krait_error *read_described(PyObject *described, krait_status status) {
    krait_error *error = krait__error_make(status);
    if (!error) return NULL;
    error->python_type = text_at(described, 0);
    error->message = text_at(described, 1);
    error->traceback = text_at(described, 2);
    read_frames(error, py.PyTuple_GetItem(described, 3));
    read_notes(error, py.PyTuple_GetItem(described, 4));
    return error;
}

static krait_error *read_chain(PyObject *described, krait_status status) {
    krait_error *first = NULL, **last = &first;
    while (described && described != py._Py_NoneStruct) {
        *last = read_described(described, status);
        if (!*last) break;
        last = &(*last)->cause;
        described = py.PyTuple_GetItem(described, 5);
    }
    return first;
}

/* ---- taking the exception ---------------------------------------------------------------------------------------- */

static PyObject *raised(void) {
    PyObject *type, *value, *traceback;
    if (py.PyErr_GetRaisedException) return py.PyErr_GetRaisedException();
    py.PyErr_Fetch(&type, &value, &traceback);
    if (!type) return NULL;
    py.PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback) py.PyException_SetTraceback(value, traceback);
    if (traceback) py.Py_DecRef(traceback);
    py.Py_DecRef(type);
    return value;
}

static PyObject *describe(PyObject *exception) {
    static const long long limits[] = { KRAIT__MESSAGE_MAX, KRAIT__TRACEBACK_MAX, KRAIT__FRAMES_MAX, KRAIT__NOTES_MAX,
                                        KRAIT__CAUSES_MAX };
    enum { LIMITS = sizeof limits / sizeof *limits };
    PyObject *args[1 + LIMITS] = { exception };
    PyObject *function = krait__bridge_get("describe"), *described = NULL;
    size_t    n = 1;
    while (n <= LIMITS && (args[n] = py.PyLong_FromLongLong(limits[n - 1]))) n++;
    if (function && n == 1 + LIMITS) described = py.PyObject_Vectorcall(function, args, n, NULL);
    while (--n) py.Py_DecRef(args[n]);
    if (!described) py.PyErr_Clear(); /* no memory, or Python is half gone: the type's name has to do */
    return described;
}

/* What can be said without running Python code. */
static krait_error *describe_roughly(PyObject *exception, krait_status status) {
    krait_error *error = krait__error_make(status);
    PyObject    *name = py.PyObject_GetAttrString((PyObject *)krait__type(exception), "__name__");
    const char  *text = name ? py.PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    if (error && text) error->python_type = krait__strdup(text);
    if (name) py.Py_DecRef(name);
    py.PyErr_Clear();
    return error;
}

static krait_status status_of(PyObject *exception, krait_status status) {
    if (py.PyErr_GivenExceptionMatches(exception, *py.PyExc_SystemExit)) return KRAIT_E_EXIT;
    return status;
}

krait_status krait__pyerr_take(krait_status status, krait_error **err) {
    PyObject    *exception = raised(), *described;
    krait_error *error = NULL;
    if (!exception) return krait__fail_nomem(err);
    status = status_of(exception, status);
    described = describe(exception); /* also without an err: it clears the frames */
    if (err && !*err) {
        error = described ? read_chain(described, status) : describe_roughly(exception, status);
        if (error) *err = error;
        else status = krait__fail_nomem(err);
    }
    if (described) py.Py_DecRef(described);
    py.Py_DecRef(exception);
    return status;
}

bool krait__pyerr_is(PyObject *type) {
    PyObject *set = py.PyErr_Occurred();
    return set && py.PyErr_GivenExceptionMatches(set, type);
}

krait_status krait__fail_type(PyObject *object, krait_status status, krait_error **err, const char *before,
                              const char *after) {
    static const char *const attributes[] = { "__module__", "__qualname__" };
    char                     name[256] = "";
    for (size_t i = 0; i < 2; i++) {
        PyObject   *part = py.PyObject_GetAttrString((PyObject *)krait__type(object), attributes[i]);
        const char *text = part ? py.PyUnicode_AsUTF8AndSize(part, NULL) : NULL;
        size_t      used = strlen(name);
        if (text && (i || strcmp(text, "builtins") != 0))
            snprintf(name + used, sizeof name - used, i ? "%s" : "%s.", text);
        if (part) py.Py_DecRef(part);
    }
    py.PyErr_Clear();
    return krait__fail(err, status, "%s%s%s", before, name[0] ? name : "?", after);
}
