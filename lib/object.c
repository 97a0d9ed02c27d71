/* object: attributes, methods and items of Python objects, and iterators.
 *
 * Each is a krait_call of a helper in krait._bridge with the object as first argument, so lending, escapes, errors and
 * the GIL have one path. Only finding a method and pulling an item enter Python from here: the one makes a krait_func,
 * the other is done a million times. Refuses values that do not stand for a Python object (any more). */
#include <krait/object.h>

#include <string.h>

#include "bridge.h"
#include "convert.h"
#include "func.h"
#include "leaks.h"
#include "pyerr.h"

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

enum { GET, SET, ITEM, LEN, ISINSTANCE, REPR, HELPERS };

#define HELPER(index, what, in, function)                                                                              \
    [index] = { .refs = 1, .name = (char[]){ what }, .module = (char[]){ in }, .path = function, .own = &holds[index] }

/* Made once and for good, without memory of their own. */
static krait__hold holds[HELPERS];
static krait_func  helpers[HELPERS] = {
     HELPER(GET, "krait_object_get", "krait._bridge", "object_get"),
     HELPER(SET, "krait_object_set", "krait._bridge", "object_set"),
     HELPER(ITEM, "krait_object_item", "krait._bridge", "object_item"),
     HELPER(LEN, "krait_object_len", "krait._bridge", "object_len"),
     HELPER(ISINSTANCE, "krait_object_isinstance", "krait._bridge", "object_isinstance"),
     HELPER(REPR, "krait_object_repr", "builtins", "repr"),
};

/* ---- what all begin with ----------------------------------------------------------------------------------------- */

static krait_status check_object(const krait_value *object, krait_error **err) {
    char text[256];
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!object) return krait__fail(err, KRAIT_E_ARGUMENT, "object is NULL");
    if (krait__object_of(object)) return KRAIT_OK;
    krait_value_describe(object, text, sizeof text);
    return krait__fail(err, KRAIT_E_KIND, "value is %s, expected a Python object", text);
}

static krait_status check_named(const krait_value *object, const char *name, krait_error **err) {
    krait_status status = check_object(object, err);
    if (!status && !name) status = krait__fail(err, KRAIT_E_ARGUMENT, "name is NULL");
    return status;
}

static krait_status at(const char *step, krait_status status, krait_error **err) {
    krait__at(err, "%s", step);
    return status;
}

static krait_arg unnamed(const krait_arg *arg) {
    krait_arg positional = *arg;
    positional.name = NULL;
    return positional;
}

/* ---- attributes and items ---------------------------------------------------------------------------------------- */

krait_status krait_object_get(const krait_value *object, const char *name, krait_value *out, krait_error **err) {
    krait_status status;
    if (out) krait__set_none(out);
    status = check_named(object, name, err);
    if (status) return at("object_get", status, err);
    krait_arg args[] = { krait_pos(krait_borrow(object)), krait_pos(krait_str(name)) };
    return krait_call(&helpers[GET], args, 2, NULL, out, err);
}

krait_status krait_object_set(const krait_value *object, const char *name, const krait_arg *value, krait_error **err) {
    krait_status status = check_named(object, name, err);
    if (!status && !value) status = krait__fail(err, KRAIT_E_ARGUMENT, "value is NULL");
    if (status) return at("object_set", krait__refuse_args(value, 1, status), err);
    krait_arg args[] = { krait_pos(krait_borrow(object)), krait_pos(krait_str(name)), unnamed(value) };
    return krait_call(&helpers[SET], args, 3, NULL, NULL, err);
}

krait_status krait_object_item(const krait_value *object, const krait_arg *key, krait_value *out, krait_error **err) {
    krait_status status;
    if (out) krait__set_none(out);
    status = check_object(object, err);
    if (!status && !key) status = krait__fail(err, KRAIT_E_ARGUMENT, "key is NULL");
    if (status) return at("object_item", krait__refuse_args(key, 1, status), err);
    krait_arg args[] = { krait_pos(krait_borrow(object)), unnamed(key) };
    return krait_call(&helpers[ITEM], args, 2, NULL, out, err);
}

krait_status krait_object_len(const krait_value *object, size_t *out, krait_error **err) {
    krait_value  length;
    uint64_t     number = 0;
    krait_status status;
    if (out) *out = 0;
    status = check_object(object, err);
    if (!status && !out) status = krait__fail(err, KRAIT_E_ARGUMENT, "out is NULL");
    if (status) return at("object_len", status, err);
    krait_arg args[] = { krait_pos(krait_borrow(object)) };
    status = krait_call(&helpers[LEN], args, 1, NULL, &length, err);
    if (!status) status = krait_get_u64(&length, &number, err);
    *out = (size_t)number;
    return status;
}

krait_status krait_object_repr(const krait_value *object, krait_value *out, krait_error **err) {
    krait_status status = KRAIT_OK;
    if (out) krait__set_none(out);
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!object) status = krait__fail(err, KRAIT_E_ARGUMENT, "object is NULL");
    if (status) return at("object_repr", status, err);
    krait_arg args[] = { krait_pos(krait_borrow(object)) };
    return krait_call(&helpers[REPR], args, 1, NULL, out, err);
}

/* ---- isinstance -------------------------------------------------------------------------------------------------- */

static krait_status check_class_name(const char *type, krait_error **err) {
    const char *colon = type ? strchr(type, ':') : NULL;
    if (!type) return krait__fail(err, KRAIT_E_ARGUMENT, "type is NULL, expected \"package.module:Class\"");
    if (colon && krait__is_dotted(type, (size_t)(colon - type)) && krait__is_dotted(colon + 1, strlen(colon + 1)))
        return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "class name is \"%s\", expected \"package.module:Class\"", type);
}

/* A class is called to make an object of it, so it is found like a function. */
static krait_status find_class(const char *type, krait_func **class, krait_error **err) {
    krait_error *own = NULL;
    krait_status status;
    *class = krait_func_new(type, &own);
    status = krait_func_check(*class, NULL, &own);
    if (status == KRAIT_E_KIND) {
        krait_error_clear(&own);
        return krait__fail(err, KRAIT_E_KIND, "%s is no class", type);
    }
    if (err) *err = own;
    else krait_error_clear(&own);
    return status;
}

krait_status krait_object_isinstance(const krait_value *object, const char *type, bool *out, krait_error **err) {
    krait_value class_value = krait_make_(KRAIT_KIND_OBJECT), answer;
    krait_func *class = NULL;
    krait_status status;
    if (out) *out = false;
    status = check_object(object, err);
    if (!status && !out) status = krait__fail(err, KRAIT_E_ARGUMENT, "out is NULL");
    if (!status) status = check_class_name(type, err);
    if (!status) status = find_class(type, &class, err);
    if (!status) {
        class_value.flags = KRAIT_VALUE_PYTHON_;
        class_value.owner = krait__func_resolved(class);
        krait_arg args[] = { krait_pos(krait_borrow(object)), krait_pos(class_value) };
        status = krait_call(&helpers[ISINSTANCE], args, 2, NULL, &answer, err);
        if (!status) status = krait_get_bool(&answer, out, err);
    }
    krait_func_unref(class);
    return at("object_isinstance", status, err);
}

/* ---- names of methods -------------------------------------------------------------------------------------------- */

/* Names of methods as Python wants them, each where its characters put it, there for good: the first to come stays. */
enum { NAMES = 128, NAME_SIZE = 32 };
static struct {
    _Atomic bool        taken;
    _Atomic(PyObject *) name;
    char                text[NAME_SIZE];
} names[NAMES];

static size_t place_of(const char *text, size_t size) {
    return (size * 31 + (unsigned char)text[0] * 7 + (unsigned char)text[size / 2] * 3 +
            (unsigned char)text[size - 1]) %
           NAMES;
}

static PyObject *known_name(const char *text) {
    size_t    size = strlen(text), at = size && size < NAME_SIZE ? place_of(text, size) : 0;
    PyObject *name = atomic_load_explicit(&names[at].name, memory_order_acquire);
    return name && !strcmp(names[at].text, text) ? name : NULL;
}

/* Attached. */
static void learn_name(const char *text) {
    size_t    size = strlen(text);
    PyObject *name;
    if (!size || size >= NAME_SIZE || atomic_exchange(&names[place_of(text, size)].taken, true)) return;
    memcpy(names[place_of(text, size)].text, text, size + 1);
    name = py.PyUnicode_InternFromString(text);
    if (!name) py.PyErr_Clear();
    atomic_store_explicit(&names[place_of(text, size)].name, name, memory_order_release);
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

/* (callable, what to call it), as krait._bridge has it. */
static krait_status find_callable(PyObject *object, const char *method, PyObject **pair, krait_error **err) {
    PyObject *name = NULL;
    if (method) {
        name = py.PyUnicode_FromStringAndSize(method, (Py_ssize_t)strlen(method));
        if (!name) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    }
    *pair = krait__bridge_call(method ? "method_of" : "callable_of", object, name);
    if (name) py.Py_DecRef(name);
    return *pair ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

static krait_func *func_of_pair(krait__thread *thread, PyObject *pair, krait_error **err) {
    const char *name = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(pair, 1), NULL);
    if (!name) py.PyErr_Clear(); /* a class may be named what is no UTF-8 */
    return krait__func_of(thread, py.PyTuple_GetItem(pair, 0), name ? name : "a Python callable", err);
}

/* Finding a method may run Python code, so it counts as a call that runs. */
static krait_func *function_of(const krait_value *object, const char *method, krait_error **err) {
    krait_func *func = NULL;
    krait__gil  gil;
    PyObject   *pair;
    if (krait__gil_enter(&gil, err)) return NULL;
    krait__gil_busy(gil.thread, 1);
    krait__drain_in_passing(gil.thread);
    if (!find_callable(krait__object_of(object), method, &pair, err)) {
        func = func_of_pair(gil.thread, pair, err);
        py.Py_DecRef(pair);
        if (method) learn_name(method);
    }
    krait__gil_busy(gil.thread, -1);
    krait__gil_leave(&gil);
    return func;
}

krait_func *krait_func_of(const krait_value *object, krait_error **err) {
    krait_func *func = check_object(object, err) ? NULL : function_of(object, NULL, err);
    krait__at(err, "func_of");
    return func;
}

krait_func *krait_method(const krait_value *object, const char *name, krait_error **err) {
    krait_func *func = check_named(object, name, err) ? NULL : function_of(object, name, err);
    krait__at(err, "method");
    return func;
}

/* ---- methods, looked up as they are called ----------------------------------------------------------------------- */

/* A method to be looked up as it is called; stands where a callable does. */
typedef struct late_method {
    PyObject *self, *name;
} late_method;

/* krait_call leaves room before the arguments. The method itself may clear the value that holds its object. */
static PyObject *enter_method(PyObject *method, PyObject *const *args, size_t n, PyObject *keywords) {
    const late_method *late = (const void *)method;
    PyObject         **with_self = (PyObject **)(uintptr_t)args - 1, *result;
    py.Py_IncRef(late->self);
    with_self[0] = late->self;
    result = py.PyObject_VectorcallMethod(late->name, with_self, (n & ~KRAIT__ARGUMENTS_OFFSET) + 1, keywords);
    py.Py_DecRef(late->self);
    return result;
}

/* Was it the method that raised, or was there none to call? */
static krait_status explain(const krait_value *object, const char *method, krait_error **err) {
    const char  *type = krait_error_python_type(*err);
    krait_error *why = NULL;
    krait_func  *func;
    if (!type || (strcmp(type, "AttributeError") != 0 && strcmp(type, "TypeError") != 0))
        return krait_error_status(*err);
    func = krait_method(object, method, &why);
    krait_func_unref(func);
    if (!why) return krait_error_status(*err);
    krait_error_clear(err);
    *err = why;
    return krait_error_status(why);
}

/* Numbers alone are not lent: nothing can escape, so nothing has to be told of the method but that it failed. */
static bool are_numbers(const krait_arg *args, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!args || args[i].name || !krait__is_simple(&args[i])) return false;
    return true;
}

/* A tenth of what it takes to make a function of the method first. */
static krait_status call_late(const krait_value *object, const char *method, const late_method *late,
                              const krait_arg *args, size_t n, const krait_call_options *options, krait_value *out,
                              krait_error **err) {
    krait__hold  hold = { .object = (PyObject *)(uintptr_t)late, .enter = enter_method };
    krait_func   func = { .refs = 1, .name = (char *)(uintptr_t)method, .path = method, .resolved = &hold };
    krait_error *own = NULL;
    krait_status status = krait_call(&func, args, n, options, out, &own);
    if (status == KRAIT_E_PYTHON) status = explain(object, method, &own);
    if (err) *err = own;
    else krait_error_clear(&own);
    return status;
}

krait_status krait_object_call(const krait_value *object, const char *method, const krait_arg *args, size_t n,
                               const krait_call_options *options, krait_value *out, krait_error **err) {
    krait_error *own = NULL;
    krait_func  *func;
    krait_status status;
    if (object && method && are_numbers(args, n) && !krait__stuck(err) && !krait__leaks_on) {
        late_method late = { krait__object_of(object), known_name(method) };
        if (late.self && late.name) return call_late(object, method, &late, args, n, options, out, err);
    }
    if (out) krait__set_none(out);
    if (krait__stuck(err)) return krait__refuse_args(args, n, krait_error_status(*err));
    func = method ? krait_method(object, method, &own) : krait_func_of(object, &own);
    if (!func) {
        status = krait_error_status(own);
        if (err) *err = own;
        else krait_error_clear(&own);
        return krait__refuse_args(args, n, status);
    }
    status = krait_call(func, args, n, options, out, err);
    krait_func_unref(func);
    return status;
}

/* ---- iterators --------------------------------------------------------------------------------------------------- */

static krait_status no_iterator(const krait_value *value, PyObject *object, krait_error **err) {
    char text[256];
    if (object && value->kind == KRAIT_KIND_OBJECT)
        return krait__fail_type(object, KRAIT_E_KIND, err, "value is of type ", ", expected an iterator");
    krait_value_describe(value, text, sizeof text);
    return krait__fail(err, KRAIT_E_KIND, "value is %s, expected an iterator", text);
}

/* The iterator's own code may clear the value that holds it. */
static krait_status pull(krait__thread *thread, PyObject *iterator, krait_value *out, krait_error **err) {
    PyObject *item;
    py.Py_IncRef(iterator);
    item = py.PyIter_Next(iterator);
    py.Py_DecRef(iterator);
    if (!item) return py.PyErr_Occurred() ? krait__pyerr_take(KRAIT_E_PYTHON, err) : KRAIT_DONE;
    if (out && krait__type(item) == py.PyFloat_Type) return krait__float_out(item, out);
    krait__outlet outlet = { .thread = thread };
    return out ? krait__from_python(&outlet, item, out, err) : krait__drop_result(item, err);
}

static krait_status next_item(const krait_value *iterator, krait_value *out, krait_error **err) {
    krait__gil   gil;
    PyObject    *object;
    krait_status status;
    if (out) krait__set_none(out);
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!iterator) return at("next", krait__fail(err, KRAIT_E_ARGUMENT, "iterator is NULL"), err);
    object = krait__object_of(iterator);
    if (!object) return at("next", no_iterator(iterator, NULL, err), err);
    status = krait__gil_enter(&gil, err);
    if (status) return at("next", status, err);
    krait__gil_busy(gil.thread, 1);
    krait__drain_in_passing(gil.thread);
    status = py.PyIter_Check(object) ? pull(gil.thread, object, out, err) : no_iterator(iterator, object, err);
    krait__gil_busy(gil.thread, -1);
    krait__gil_leave(&gil);
    if (status < 0) krait__at(err, "next");
    return status;
}

krait_status krait_next(const krait_value *iterator, krait_value *out, krait_error **err) {
    krait__watch watch;
    krait_status status;
    if (!krait__leaks_on) return next_item(iterator, out, err);
    krait__watch_begin(&watch, "krait_next", NULL, 0, __builtin_return_address(0));
    status = next_item(iterator, out, err);
    krait__watch_end(&watch, out);
    return status;
}
