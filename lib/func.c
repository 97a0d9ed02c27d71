#include "func.h"

#include <ctype.h>
#include <string.h>

#include "bridge.h"
#include "mem.h"
#include "pyerr.h"

/* ---- making and freeing ------------------------------------------------------------------------------------------ */

/* Dotted, no part empty, no blanks: anything else is Python's to judge. */
bool krait__is_dotted(const char *text, size_t size) {
    if (!size || text[0] == '.' || text[size - 1] == '.') return false;
    for (size_t i = 0; i < size; i++)
        if (isspace((unsigned char)text[i]) || text[i] == ':' || (text[i] == '.' && text[i + 1] == '.')) return false;
    return true;
}

krait_func *krait_func_new(const char *name, krait_error **err) {
    const char *colon = name ? strchr(name, ':') : NULL;
    krait_func *func;
    if (krait__stuck(err)) return NULL;
    if (!name || !colon || !krait__is_dotted(name, (size_t)(colon - name)) ||
        !krait__is_dotted(colon + 1, strlen(colon + 1))) {
        krait__fail(err, KRAIT_E_ARGUMENT, "function name is %s%s%s, expected \"package.module:function\"",
                    name ? "\"" : "", name ? name : "NULL", name ? "\"" : "");
        krait__at(err, "func_new");
        return NULL;
    }
    func = krait__zalloc(sizeof *func);
    if (func) {
        atomic_init(&func->refs, 1);
        func->name = krait__strdup(name);
        func->module = krait__strndup(name, (size_t)(colon - name));
        if (func->name && func->module) {
            func->path = func->name + (colon + 1 - name);
            return func;
        }
    }
    krait_func_unref(func);
    krait__fail_nomem(err);
    return NULL;
}

krait_func *krait_func_ref(krait_func *func) {
    if (func) atomic_fetch_add_explicit(&func->refs, 1, memory_order_relaxed);
    return func;
}

static void keywords_free(krait__keywords *keywords) {
    krait__free(keywords->names);
    krait__free(keywords);
}

void krait_func_unref(krait_func *func) {
    krait__hold *hold;
    if (!func || atomic_fetch_sub_explicit(&func->refs, 1, memory_order_acq_rel) > 1) return;
    hold = atomic_load(&func->resolved);
    if (hold) krait__hold_release(hold);
    for (size_t i = 0; i < KRAIT__KEYWORDS_MAX; i++) {
        krait__keywords *keywords = atomic_load(&func->keywords[i]);
        if (!keywords) break;
        krait__hold_release(keywords->hold);
        keywords_free(keywords);
    }
    krait__free(func->module);
    krait__free(func->name);
    krait__free(func);
}

const char *krait_func_name(const krait_func *func) {
    return func ? func->name : "";
}

/* ---- resolving --------------------------------------------------------------------------------------------------- */

static PyObject *walk(PyObject *object, const char *path) {
    while (object && *path) {
        size_t    length = strcspn(path, ".");
        PyObject *name = py.PyUnicode_FromStringAndSize(path, (Py_ssize_t)length);
        PyObject *next = name ? py.PyObject_GetAttr(object, name) : NULL;
        if (name) py.Py_DecRef(name);
        py.Py_DecRef(object);
        object = next;
        path += length + (path[length] == '.');
    }
    return object;
}

/* A module that is not there is the first thing that goes wrong for everybody. */
static void add_hint(krait_error **err) {
    static const char hint[] = "; krait_add_path adds a folder to sys.path, `krait doctor` tells which Python this is";
    const char       *type = err ? krait_error_python_type(*err) : NULL;
    krait__text       text = { 0 };
    if (!type || strcmp(type, "ModuleNotFoundError") != 0 || !(*err)->message) return;
    krait__text_addf(&text, "%s%s", (*err)->message, hint);
    if (text.failed) {
        krait__text_free(&text);
        return;
    }
    krait__free((*err)->message);
    (*err)->message = text.data;
}

static krait_status find(krait_func *func, PyObject **callable, krait_error **err) {
    PyObject    *module = py.PyImport_ImportModule(func->module);
    krait_status status;
    if (!module) {
        status = krait__pyerr_take(KRAIT_E_IMPORT, err);
        add_hint(err);
        krait__at(err, "import %s", func->module);
        return status;
    }
    *callable = walk(module, func->path);
    if (!*callable) {
        status = krait__pyerr_take(krait__pyerr_is(*py.PyExc_AttributeError) ? KRAIT_E_NOT_FOUND : KRAIT_E_PYTHON, err);
    } else if (py.PyCallable_Check(*callable)) {
        return KRAIT_OK;
    } else {
        status = krait__fail_type(*callable, KRAIT_E_KIND, err, "it is of type ", ", which cannot be called");
        py.Py_DecRef(*callable);
    }
    krait__at(err, "find %s", func->name);
    return status;
}

/* The own entry of a Python function or bound method spares the detour that checks what only C functions get wrong. It
 * stays right for as long as the function lives, whatever is assigned to its __code__. */
static vectorcallfunc entry_of(PyObject *callable) {
    PyTypeObject  *type = krait__type(callable);
    bool           plain = type == py.PyFunction_Type || type == py.PyMethod_Type;
    vectorcallfunc own = plain ? py.PyVectorcall_Function(callable) : NULL;
    return own ? own : py.PyObject_Vectorcall;
}

/* A hold of the callable, in `own` if that is not NULL. Takes over the reference; NULL without memory. */
static krait__hold *keep(krait__thread *thread, PyObject *callable, krait__hold *own) {
    krait__hold *hold = own ? own : krait__hold_new(thread, callable, 0);
    if (!hold) {
        py.Py_DecRef(callable);
        return NULL;
    }
    hold->object = callable;
    hold->enter = entry_of(callable);
    return hold;
}

krait_status krait__func_resolve(krait_func *func, krait__thread *thread, krait__hold **resolved, krait_error **err) {
    PyObject    *callable = NULL;
    krait__hold *other = NULL, *own;
    krait_status status = find(func, &callable, err);
    if (status) return status;
    own = atomic_exchange(&func->own, NULL);
    *resolved = keep(thread, callable, own);
    if (!*resolved) return krait__fail_nomem(err);
    if (!atomic_compare_exchange_strong(&func->resolved, &other, *resolved)) { /* another thread was first: as good */
        if (own) py.Py_DecRef(callable);
        else krait__hold_release(*resolved);
        *resolved = other;
    }
    return KRAIT_OK;
}

krait_func *krait__func_of(krait__thread *thread, PyObject *callable, const char *name, krait_error **err) {
    krait_func  *func = krait__zalloc(sizeof *func);
    krait__hold *hold = NULL;
    if (func) {
        atomic_init(&func->refs, 1);
        func->name = krait__strdup(name);
        func->path = func->name;
        py.Py_IncRef(callable);
        hold = keep(thread, callable, NULL);
        atomic_init(&func->resolved, hold);
        if (hold && func->name) return func;
    }
    krait_func_unref(func);
    krait__fail_nomem(err);
    return NULL;
}

/* ---- keywords ---------------------------------------------------------------------------------------------------- */

static bool same_names(const krait__keywords *keywords, const krait_arg *args, size_t count) {
    const char *name = keywords->names;
    if (keywords->count != count) return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, args[i].name) != 0) return false;
        name += strlen(name) + 1;
    }
    return true;
}

static krait_status check_names(const krait_arg *args, size_t count, krait_error **err) {
    for (size_t i = 0; i < count; i++) {
        if (!args[i].name)
            return krait__fail(err, KRAIT_E_ARGUMENT, "a positional argument after keyword '%s'", args[i - 1].name);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(args[i].name, args[j].name))
                return krait__fail(err, KRAIT_E_ARGUMENT, "keyword '%s' is given twice", args[i].name);
    }
    return KRAIT_OK;
}

static PyObject *make_tuple(const krait_arg *args, size_t count) {
    PyObject *tuple = py.PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *name = py.PyUnicode_FromStringAndSize(args[i].name, (Py_ssize_t)strlen(args[i].name));
        if (!name || py.PyTuple_SetItem(tuple, (Py_ssize_t)i, name)) {
            py.Py_DecRef(tuple);
            tuple = NULL;
        }
    }
    return tuple;
}

static krait__keywords *remember(krait__hold *hold, const krait_arg *args, size_t count) {
    krait__keywords *keywords = krait__alloc(sizeof *keywords);
    size_t           size = 0;
    char            *at;
    for (size_t i = 0; i < count; i++) size += strlen(args[i].name) + 1;
    at = keywords ? krait__alloc(size) : NULL;
    if (!at) {
        krait__free(keywords);
        return NULL;
    }
    *keywords = (krait__keywords){ .hold = hold, .count = count, .names = at };
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(args[i].name) + 1;
        memcpy(at, args[i].name, length);
        at += length;
    }
    return keywords;
}

/* Puts the tuple into a free place; when all are taken, or without memory, it is simply made again next time. */
static void publish(krait_func *func, krait__thread *thread, PyObject *tuple, const krait_arg *args, size_t count) {
    krait__hold     *hold = krait__hold_new(thread, tuple, 0);
    krait__keywords *keywords = hold ? remember(hold, args, count) : NULL;
    if (hold) py.Py_IncRef(tuple);
    for (size_t i = 0; keywords && i < KRAIT__KEYWORDS_MAX; i++) {
        krait__keywords *empty = NULL;
        if (atomic_compare_exchange_strong(&func->keywords[i], &empty, keywords)) return;
    }
    if (hold) krait__hold_release(hold);
    if (keywords) keywords_free(keywords);
}

static PyObject *remembered(krait_func *func, const krait_arg *args, size_t count) {
    for (size_t i = 0; i < KRAIT__KEYWORDS_MAX; i++) {
        krait__keywords *keywords = atomic_load_explicit(&func->keywords[i], memory_order_acquire);
        if (!keywords) return NULL;
        if (same_names(keywords, args, count)) return keywords->hold->object;
    }
    return NULL;
}

krait_status krait__func_keywords(krait_func *func, krait__thread *thread, const krait_arg *args, size_t count,
                                  PyObject **tuple, krait_error **err) {
    krait_status status;
    for (size_t i = 1; i < count; i++) /* before any name is compared */
        if (!args[i].name) return check_names(args, count, err);
    *tuple = remembered(func, args, count);
    if (*tuple) {
        py.Py_IncRef(*tuple);
        return KRAIT_OK;
    }
    status = check_names(args, count, err);
    if (status) return status;
    *tuple = make_tuple(args, count);
    if (!*tuple) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    publish(func, thread, *tuple, args, count);
    return KRAIT_OK;
}
