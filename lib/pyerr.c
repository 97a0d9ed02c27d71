#include "pyerr.h"

#include <stdio.h>
#include <string.h>

#include "bridge.h"
#include "mem.h"

#define CAPSULE "krait_error"

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

/* The krait_error that a krait.Error was made of; NULL for one that was not, and for other exceptions. */
static const krait_error *native_of(PyObject *described) {
    PyObject          *own = py.PyTuple_GetItem(described, 6);
    const krait_error *native = NULL;
    if (own != py._Py_NoneStruct && !krait__is(own, py.PyTuple_Type)) native = py.PyCapsule_GetPointer(own, CAPSULE);
    py.PyErr_Clear();
    return native;
}

/* The status that a krait.Error has. A name that is no failure's is KRAIT_E_PYTHON. */
static krait_status own_status(PyObject *described, krait_status status) {
    PyObject          *own = py.PyTuple_GetItem(described, 6);
    const krait_error *native = native_of(described);
    krait_status       named;
    const char        *name;
    if (native) return native->status;
    if (!krait__is(own, py.PyTuple_Type)) return status;
    name = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(own, 0), NULL);
    if (!name) py.PyErr_Clear();
    named = krait__status_named(name);
    return named ? named : KRAIT_E_PYTHON;
}

static void drop_notes(krait_error *error) {
    while (error->note_count) krait__free(error->notes[--error->note_count]);
    krait__free(error->notes);
    error->notes = NULL;
}

/* As it was, with its causes; where no Python code had been, the way through Python is added, as are new notes. */
static krait_error *read_native(PyObject *described, const krait_error *native) {
    PyObject    *notes = py.PyTuple_GetItem(described, 4);
    krait_error *error = NULL;
    krait__error_copy(native, &error);
    if (error->fixed) return error;
    if (!native->traceback) error->traceback = text_at(described, 2);
    if (!native->traceback && !native->frame_count) read_frames(error, py.PyTuple_GetItem(described, 3));
    if ((size_t)py.PyTuple_Size(notes) > native->note_count) {
        drop_notes(error);
        read_notes(error, notes);
    }
    return error;
}

/* One exception; the caller goes on with the cause, the sixth item. */
static krait_error *read_described(PyObject *described, krait_status status) {
    const krait_error *native = native_of(described);
    PyObject          *own = py.PyTuple_GetItem(described, 6);
    krait_error       *error;
    if (native) return read_native(described, native);
    error = krait__error_make(own_status(described, status));
    if (!error) return NULL;
    error->python_type = text_at(described, 0);
    error->message = text_at(described, 1);
    error->traceback = text_at(described, 2);
    read_frames(error, py.PyTuple_GetItem(described, 3));
    read_notes(error, py.PyTuple_GetItem(described, 4));
    if (krait__is(own, py.PyTuple_Type)) error->step = text_at(own, 1);
    return error;
}

/* An error that goes through Python again and again, each time as the cause of another, grows by its own causes. */
static void limit_chain(krait_error *error) {
    for (int i = 1; error && i < KRAIT__CAUSES_MAX; i++) error = error->cause;
    if (!error || error->fixed) return;
    krait__error_free(error->cause);
    error->cause = NULL;
}

static krait_error *read_chain(PyObject *described, krait_status status) {
    krait_error *first = NULL, **last = &first;
    while (described && described != py._Py_NoneStruct) {
        *last = read_described(described, status);
        if (!*last || (*last)->fixed) break;
        last = &(*last)->cause;
        described = py.PyTuple_GetItem(described, 5); /* none after one that brought its causes along */
    }
    limit_chain(first);
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
    if (status == KRAIT_E_PYTHON) return status; /* what a function raises is its own */
    return py.PyErr_GivenExceptionMatches(exception, *py.PyExc_MemoryError) ? KRAIT_E_NOMEM : status;
}

krait_status krait__pyerr_take(krait_status status, krait_error **err) {
    PyObject    *exception = raised(), *described;
    krait_error *error = NULL;
    if (!exception) return krait__fail_nomem(err);
    status = status_of(exception, status);
    described = describe(exception); /* also without an err: it clears the frames */
    if (described && status != KRAIT_E_EXIT) status = own_status(described, status);
    if (err && !*err) {
        error = described ? read_chain(described, status) : describe_roughly(exception, status);
        if (error) *err = error;
        status = error ? error->status : krait__fail_nomem(err);
    }
    if (described) py.Py_DecRef(described);
    py.Py_DecRef(exception);
    return status;
}

/* ---- raising ----------------------------------------------------------------------------------------------------- */

static void capsule_dies(PyObject *capsule) {
    krait__error_free(py.PyCapsule_GetPointer(capsule, CAPSULE));
}

/* A host's texts need not be UTF-8. */
static PyObject *text_or_none(const char *text) {
    if (text) return py.PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "backslashreplace");
    py.Py_IncRef(py._Py_NoneStruct);
    return py._Py_NoneStruct;
}

/* Status, message, step, type, traceback, and the notes. */
static PyObject *tell_one(const krait_error *error) {
    const char *const texts[] = { krait_status_name(error->status), krait_error_message(error), krait_error_step(error),
                                  error->python_type, error->traceback };
    enum { TEXTS = sizeof texts / sizeof *texts };
    PyObject *told = py.PyTuple_New((Py_ssize_t)(TEXTS + error->note_count));
    for (size_t i = 0; told && i < TEXTS + error->note_count; i++) {
        PyObject *text = text_or_none(i < TEXTS ? texts[i] : error->notes[i - TEXTS]);
        if (text && !py.PyTuple_SetItem(told, (Py_ssize_t)i, text)) continue;
        py.Py_DecRef(told);
        return NULL;
    }
    return told;
}

static PyObject *tell_chain(const krait_error *error) {
    Py_ssize_t         count = 0;
    PyObject          *told;
    const krait_error *cause = error;
    for (; cause; cause = cause->cause) count++;
    told = py.PyTuple_New(count);
    for (Py_ssize_t i = 0; told && i < count; i++, error = error->cause) {
        PyObject *one = tell_one(error);
        if (one && !py.PyTuple_SetItem(told, i, one)) continue;
        py.Py_DecRef(told);
        return NULL;
    }
    return told;
}

PyObject *krait__pyerr_raise(krait_error *error) {
    PyObject *capsule = py.PyCapsule_New(error, CAPSULE, capsule_dies);
    PyObject *told = capsule ? tell_chain(error) : NULL;
    PyObject *exception = told ? krait__bridge_call("make_error", told, capsule) : NULL;
    if (exception) py.PyErr_SetObject((PyObject *)krait__type(exception), exception);
    if (!capsule) krait__error_free(error);
    if (exception) py.Py_DecRef(exception);
    if (told) py.Py_DecRef(told);
    if (capsule) py.Py_DecRef(capsule);
    return NULL;
}

/* ---- asking about exceptions and types --------------------------------------------------------------------------- */

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
