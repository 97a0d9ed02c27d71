#include "bridge.h"

#include <string.h>

#include "log.h"
#include "pyerr.h"

static struct {
    PyObject *boot;   /* globals of krait._boot */
    PyObject *bridge; /* __dict__ of krait._bridge */
} modules;

/* ---- a log function for Python ----------------------------------------------------------------------------------- */

static PyObject *log_from_python(PyObject *self, PyObject *args) {
    int         overflow;
    long long   level = py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(args, 0), &overflow);
    const char *text = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(args, 1), NULL);
    (void)self;
    if (!text) return NULL;
    krait__log((int)level, "%s", text);
    py.Py_IncRef(py._Py_NoneStruct);
    return py._Py_NoneStruct;
}

static PyMethodDef log_method = { "log", log_from_python, KRAIT__METH_VARARGS, "log(level, text) into the host's log" };

/* ---- boot -------------------------------------------------------------------------------------------------------- */

static PyObject *all_sources(void) {
    PyObject *sources = py.PyDict_New();
    for (const krait__source *s = krait__sources; sources && s->module; s++) {
        PyObject *text = py.PyBytes_FromStringAndSize((const char *)s->text, (Py_ssize_t)s->size);
        if (!text || py.PyDict_SetItemString(sources, s->module, text)) {
            py.Py_DecRef(sources);
            sources = NULL;
        }
        if (text) py.Py_DecRef(text);
    }
    return sources;
}

/* Executes krait._boot in globals of its own; they are returned. */
static PyObject *run_boot(void) {
    const krait__source *boot = krait__sources;
    PyObject            *code, *result = NULL, *globals = py.PyDict_New();
    while (boot->module && strcmp(boot->module, "krait._boot") != 0) boot++;
    code = globals ? py.Py_CompileString((const char *)boot->text, "<libkrait>/krait/_boot.py", Py_file_input_START)
                   : NULL;
    if (code && !py.PyDict_SetItemString(globals, "__builtins__", py.PyEval_GetBuiltins())) {
        PyObject *name = py.PyUnicode_InternFromString("krait._boot");
        if (name && !py.PyDict_SetItemString(globals, "__name__", name))
            result = py.PyEval_EvalCode(code, globals, globals);
        if (name) py.Py_DecRef(name);
    }
    if (code) py.Py_DecRef(code);
    if (result) {
        py.Py_DecRef(result);
        return globals;
    }
    if (globals) py.Py_DecRef(globals);
    return NULL;
}

static PyObject *boot_call(const char *name, PyObject *const *args, size_t n) {
    PyObject *function = py.PyDict_GetItemString(modules.boot, name);
    return function ? py.PyObject_Vectorcall(function, args, n, NULL) : NULL;
}

/* install(sources, library, token, log); the answer is the path of another libkrait, or None. */
static PyObject *install(const char *library, PyObject *log) {
    PyObject *args[4] = { all_sources(), py.PyUnicode_FromStringAndSize(library, (Py_ssize_t)strlen(library)),
                          py.PyLong_FromVoidPtr(&modules), log };
    PyObject *answer = args[0] && args[1] && args[2] ? boot_call("install", args, 4) : NULL;
    for (int i = 0; i < 3; i++)
        if (args[i]) py.Py_DecRef(args[i]);
    return answer;
}

static krait_status refuse_second(PyObject *other, const char *library, krait_error **err) {
    const char *path = py.PyUnicode_AsUTF8AndSize(other, NULL);
    return krait__fail(err, KRAIT_E_CONFLICT,
                       "two copies of krait in one process: %s runs Python already, %s is the second; "
                       "link or load only one of them",
                       path ? path : "another one", library);
}

static bool settle(PyObject *log, bool own_start, bool host_faults) {
    PyObject *settled = own_start ? boot_call("settle", NULL, 0) : NULL;
    PyObject *kept = host_faults ? boot_call("keep_faults", &log, 1) : NULL;
    bool      good = (settled || !own_start) && (kept || !host_faults);
    if (settled) py.Py_DecRef(settled);
    if (kept) py.Py_DecRef(kept);
    return good;
}

krait_status krait__bridge_boot(const char *library, bool own_start, bool host_faults, krait_error **err) {
    krait_status status = KRAIT_OK;
    PyObject    *log = py.PyCFunction_NewEx(&log_method, NULL, NULL), *other = NULL;
    if (!modules.boot) modules.boot = run_boot();
    if (modules.boot && log) other = install(library, log);
    if (!other) status = krait__pyerr_take(KRAIT_E_INIT, err);
    else if (other != py._Py_NoneStruct) status = refuse_second(other, library, err);
    else if (!settle(log, own_start, host_faults)) status = krait__pyerr_take(KRAIT_E_INIT, err);
    if (other) py.Py_DecRef(other);
    if (log) py.Py_DecRef(log);
    return status;
}

krait_status krait__bridge_add_path(const char *path, int position, krait_error **err) {
    PyObject *args[2] = { py.PyUnicode_FromStringAndSize(path, (Py_ssize_t)strlen(path)),
                          py.PyLong_FromLongLong(position) };
    PyObject *done = args[0] && args[1] ? boot_call("add_path", args, 2) : NULL;
    for (int i = 0; i < 2; i++)
        if (args[i]) py.Py_DecRef(args[i]);
    if (!done) return krait__pyerr_take(KRAIT_E_ARGUMENT, err);
    py.Py_DecRef(done);
    return KRAIT_OK;
}

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

PyObject *krait__bridge_get(const char *name) {
    if (!modules.bridge) {
        PyObject *module = py.PyImport_ImportModule("krait._bridge");
        if (!module) return NULL;
        modules.bridge = py.PyObject_GetAttrString(module, "__dict__");
        py.Py_DecRef(module);
        if (!modules.bridge) return NULL;
    }
    return py.PyDict_GetItemString(modules.bridge, name);
}

PyObject *krait__bridge_call(const char *name, PyObject *a, PyObject *b) {
    PyObject *args[2] = { a, b };
    PyObject *function = krait__bridge_get(name);
    return function ? py.PyObject_Vectorcall(function, args, b ? 2 : a ? 1 : 0, NULL) : NULL;
}

bool krait__bridge_collect(int generation) {
    PyObject *number = py.PyLong_FromLongLong(generation);
    PyObject *done = number ? krait__bridge_call("collect", number, NULL) : NULL;
    if (number) py.Py_DecRef(number);
    if (done) py.Py_DecRef(done);
    return done != NULL;
}
