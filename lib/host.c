/* What a call costs is two conversions, letting the GIL go and taking it again (half of it all), and two atomic
 * operations that count the run.
 *
 * The lock guards the list of names only; it is held for a look, never around Python, a callback or a free. A
 * registration lives as long as the list or an entry in Python refers to it; `user` as long as it is registered or a
 * run is on. Both are counts, so nothing waits for anything.
 *
 * An entry whose registration has been taken back looks for a new one of its name: so what Python code kept works again
 * once the name is registered again. */
#include "host.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "bridge.h"
#include "convert.h"
#include "gil.h"
#include "mem.h"
#include "pyerr.h"
#include "table.h"
#include "value.h"

#define CAPSULE "krait_host_function"

enum {
    FEW = 8,                            /* arguments that need no allocation */
    METHOD_FAST_KEYWORDS = 0x80 | 0x02, /* METH_FASTCALL | METH_KEYWORDS */
    REGISTERED = 1,                     /* in `life` of a registration, where each run counts RUN */
    RUN = 2
};

typedef struct registration {
    _Atomic uint32_t refs; /* the list, entries, and runs that found it by its name */
    _Atomic uint32_t life; /* REGISTERED, and RUN for each run; at 0 `user` is destroyed */
    krait_host_fn    fn;
    void            *user;
    void (*destroy)(void *user);
    PyMethodDef method; /* of its entries */
    char        name[]; /* "prices.last" */
} registration;

/* ---- names ------------------------------------------------------------------------------------------------------- */

static const char *const keywords[] = { "False",  "None",   "True",   "and",      "as",       "assert", "async",
                                        "await",  "break",  "class",  "continue", "def",      "del",    "elif",
                                        "else",   "except", "for",    "finally",  "from",     "global", "if",
                                        "import", "in",     "is",     "lambda",   "nonlocal", "not",    "or",
                                        "pass",   "raise",  "return", "try",      "while",    "with",   "yield" };
static const char *const taken[] = { "fake", "unfake" }; /* krait.host's own */

static bool is_one_of(const char *const *words, size_t count, const char *text, size_t size) {
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) == size && !memcmp(words[i], text, size)) return true;
    return false;
}

static bool is_identifier(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(i && (c == '_' || (c >= '0' && c <= '9')))) return false;
    }
    return size > 0 && !is_one_of(keywords, sizeof keywords / sizeof *keywords, text, size);
}

static krait_status check_name(const char *name, krait_error **err) {
    const char *part = name;
    if (!name) return krait__fail(err, KRAIT_E_ARGUMENT, "name is NULL, expected \"prices.last\" or the like");
    if (strlen(name) > KRAIT__HOST_NAME_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "a name of %zu bytes; at most %d", strlen(name),
                           KRAIT__HOST_NAME_MAX);
    for (const char *end; part; part = *end ? end + 1 : NULL) {
        end = part + strcspn(part, ".");
        if (is_identifier(part, (size_t)(end - part))) continue;
        return krait__fail(
            err, KRAIT_E_ARGUMENT,
            "name is \"%s\", expected identifiers of ASCII letters, digits and _ with dots between, none "
            "a Python keyword or with a leading _",
            name);
    }
    if (is_one_of(taken, sizeof taken / sizeof *taken, name, strcspn(name, ".")))
        return krait__fail(err, KRAIT_E_ARGUMENT, "name is \"%s\", but krait.host.%.*s is krait's own", name,
                           (int)strcspn(name, "."), name);
    return KRAIT_OK;
}

/* ---- the registry ------------------------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    registration  **rows; /* sorted by name */
    size_t          count, room;
    _Atomic bool    asked; /* by krait.host, which keeps what it was told */
} registry = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void lock_registry(void) {
    pthread_mutex_lock(&registry.lock);
}

static void unlock_registry(void) {
    pthread_mutex_unlock(&registry.lock);
}

/* A child forked while another thread is at it has a list that is whole, and a lock that is free. */
static void guard_fork(void) {
    pthread_atfork(lock_registry, unlock_registry, unlock_registry);
}

/* Where a name stands, or would. */
static size_t place_of(const char *name, size_t size) {
    size_t from = 0, to = registry.count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int    order = strncmp(registry.rows[middle]->name, name, size);
        if (order < 0) from = middle + 1;
        else to = middle; /* a longer one of the same beginning comes after it */
    }
    return from;
}

static registration *row_named(const char *name, size_t size) {
    size_t at = place_of(name, size);
    if (at == registry.count || strncmp(registry.rows[at]->name, name, size) != 0) return NULL;
    return registry.rows[at]->name[size] ? NULL : registry.rows[at];
}

/* A name that is a group of functions and a function as well cannot be had: the one that is in the way, or NULL. '.'
 * sorts before all else that a name may hold, so those below a name come right after it. */
static const registration *in_the_way(const char *name) {
    size_t size = strlen(name), at = place_of(name, size);
    if (at < registry.count && !strncmp(registry.rows[at]->name, name, size) &&
        (!registry.rows[at]->name[size] || registry.rows[at]->name[size] == '.'))
        return registry.rows[at];
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        const registration *above = row_named(name, (size_t)(dot - name));
        if (above) return above;
    }
    return NULL;
}

static krait_status insert(registration *row, krait_error **err) {
    const registration *other = in_the_way(row->name);
    size_t              at = place_of(row->name, strlen(row->name));
    if (other && !strcmp(other->name, row->name))
        return krait__fail(err, KRAIT_E_ARGUMENT, "\"%s\" is registered already", row->name);
    if (other)
        return krait__fail(err, KRAIT_E_ARGUMENT,
                           "\"%s\" is registered: \"%s\" cannot be too, as one would be a group and a function",
                           other->name, row->name);
    if (registry.count == registry.room) {
        size_t         room = registry.room ? registry.room * 2 : 16;
        registration **rows = krait__realloc(registry.rows, krait__size(room, sizeof *rows, 0));
        if (!rows) return krait__fail_nomem(err);
        registry.rows = rows;
        registry.room = room;
    }
    memmove(registry.rows + at + 1, registry.rows + at, (registry.count - at) * sizeof *registry.rows);
    registry.rows[at] = row;
    registry.count++;
    return KRAIT_OK;
}

/* The list is given back with its last name, so that a program that took all back has no block left. */
static registration *take_out(const char *name) {
    size_t        size = strlen(name), at = place_of(name, size);
    registration *row = row_named(name, size);
    if (!row) return NULL;
    registry.count--;
    memmove(registry.rows + at, registry.rows + at + 1, (registry.count - at) * sizeof *registry.rows);
    if (!registry.count) {
        krait__free(registry.rows);
        registry.rows = NULL;
        registry.room = 0;
    }
    return row;
}

/* ---- registrations ----------------------------------------------------------------------------------------------- */

static registration *registration_ref(registration *row) {
    atomic_fetch_add_explicit(&row->refs, 1, memory_order_relaxed);
    return row;
}

static void registration_unref(registration *row) {
    if (atomic_fetch_sub_explicit(&row->refs, 1, memory_order_acq_rel) == 1) krait__free(row);
}

/* One more run; false when the name has been taken back. */
static inline bool run_begins(registration *row) {
    uint32_t life = atomic_load_explicit(&row->life, memory_order_relaxed);
    while (life & REGISTERED)
        if (atomic_compare_exchange_weak_explicit(&row->life, &life, life + RUN, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* A run, or being registered, ends. */
static inline void life_ends(registration *row, uint32_t part) {
    if (atomic_fetch_sub_explicit(&row->life, part, memory_order_acq_rel) == part && row->destroy)
        row->destroy(row->user);
}

static PyObject *entry(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names);

static registration *registration_new(const char *name, krait_host_fn fn) {
    size_t        size = strlen(name);
    registration *row = krait__zalloc(krait__size(1, sizeof *row, size + 1));
    if (!row) return NULL;
    atomic_init(&row->refs, 1);
    atomic_init(&row->life, REGISTERED);
    row->fn = fn;
    memcpy(row->name, name, size);
    row->method.ml_name = strrchr(row->name, '.') ? strrchr(row->name, '.') + 1 : row->name;
    row->method.ml_meth = (PyCFunction)(void (*)(void))entry;
    row->method.ml_flags = METHOD_FAST_KEYWORDS;
    row->method.ml_doc = "A function of the host program.";
    return row;
}

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static krait_status add_registration(const char *name, krait_host_fn fn, void *user, void (*destroy)(void *user),
                                     krait_error **err) {
    registration *row;
    krait_status  status = check_name(name, err);
    if (!status && !fn) status = krait__fail(err, KRAIT_E_ARGUMENT, "the function for \"%s\" is NULL", name);
    if (status) return status;
    row = registration_new(name, fn);
    if (!row) return krait__fail_nomem(err);
    row->user = user;
    row->destroy = destroy;
    pthread_once(&fork_once, guard_fork);
    lock_registry();
    status = insert(row, err);
    unlock_registry();
    if (status) registration_unref(row);
    return status;
}

krait_status krait_register(const char *name, krait_host_fn fn, void *user, void (*destroy)(void *user),
                            krait_error **err) {
    krait_status status = krait__stuck(err) ? (*err)->status : add_registration(name, fn, user, destroy, err);
    krait__at(err, "register");
    if (status && destroy) destroy(user);
    return status;
}

/* A module that has been imported, borrowed; NULL for any other. */
static PyObject *imported(const char *name) {
    PyObject *modules = py.PyImport_GetModuleDict();
    PyObject *module = modules ? py.PyDict_GetItemString(modules, name) : NULL;
    if (!module) py.PyErr_Clear();
    return module;
}

/* Python code may hold on to the entry all the same: where this cannot be done now, nothing is lost but an
 * AttributeError in place of krait.Error. */
static void tell_python(const char *name) {
    krait__gil gil;
    PyObject  *module, *forget = NULL, *text, *done = NULL;
    if (krait__gil_enter_by(&gil, KRAIT__DOOR_SETUP, NULL)) return;
    krait__gil_busy(gil.thread, 1);
    module = imported("krait.host");
    if (module) forget = py.PyObject_GetAttrString(module, "_forget");
    text = forget ? py.PyUnicode_FromStringAndSize(name, (Py_ssize_t)strlen(name)) : NULL;
    if (text) done = py.PyObject_Vectorcall(forget, &text, 1, NULL);
    if (done) py.Py_DecRef(done);
    else if (module) py.PyErr_Clear();
    if (text) py.Py_DecRef(text);
    if (forget) py.Py_DecRef(forget);
    krait__gil_busy(gil.thread, -1);
    krait__gil_leave(&gil);
}

krait_status krait_unregister(const char *name, krait_error **err) {
    registration *row = NULL;
    if (krait__stuck(err)) return (*err)->status;
    if (name) {
        lock_registry();
        row = take_out(name);
        unlock_registry();
    }
    if (!row) {
        krait_status status =
            krait__fail(err, KRAIT_E_NOT_FOUND, "no host function \"%s\" is registered", name ? name : "NULL");
        krait__at(err, "unregister");
        return status;
    }
    life_ends(row, REGISTERED);
    if (atomic_load(&registry.asked)) tell_python(row->name);
    registration_unref(row);
    return KRAIT_OK;
}

/* ---- a run: arguments -------------------------------------------------------------------------------------------- */

typedef struct run {
    krait__thread *thread;
    registration  *row;
    krait_arg     *args;
    size_t         made; /* arguments that are converted, from the first on */
    krait_value    out;
} run;

/* The step of an error of convert, "convert result, item 3", is told from this side. */
static void name_step(krait_error *err, const char *what, const char *function) {
    static const char from[] = "convert result";
    const char       *rest = "";
    char             *old;
    if (!err || err->fixed) return;
    old = err->step;
    if (old && strncmp(old, from, sizeof from - 1) != 0) return;
    if (old) rest = old + sizeof from - 1;
    err->step = NULL;
    krait__at(&err, "convert %s of host function %s%s", what, function, rest);
    krait__free(old);
}

static krait_status object_out(run *run, PyObject *object, krait_value *value, krait_error **err) {
    krait__outlet outlet = { .thread = run->thread, .depth = 1 }; /* within a call: a coroutine is not run */
    py.Py_IncRef(object);
    return krait__from_python(&outlet, object, value, err);
}

static inline krait_status argument_out(run *run, PyObject *object, krait_value *value, krait_error **err) {
    if (krait__type(object) != py.PyFloat_Type) return object_out(run, object, value, err);
    krait__set_none(value);
    value->kind = KRAIT_KIND_F64;
    value->as.f64 = py.PyFloat_AsDouble(object);
    return KRAIT_OK;
}

static krait_status keyword_of(PyObject *names, size_t index, const char **name, krait_error **err) {
    Py_ssize_t size;
    *name = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(names, (Py_ssize_t)index), &size);
    if (!*name) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    if (strlen(*name) == (size_t)size) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "a keyword with a NUL character in it: '%s...'", *name);
}

/* All point to what the caller of the entry keeps alive: the objects, and the names in their tuple. */
static krait_status arguments_out(run *run, PyObject *const *objects, size_t positional, PyObject *names, size_t n,
                                  krait_error **err) {
    for (; run->made < n; run->made++) {
        krait_arg   *arg = &run->args[run->made];
        krait_status status = KRAIT_OK;
        char         text[128];
        arg->name = NULL;
        arg->flags = arg->reserved = 0;
        if (run->made >= positional) status = keyword_of(names, run->made - positional, &arg->name, err);
        if (!status) status = argument_out(run, objects[run->made], &arg->value, err);
        if (!status) continue;
        krait__argument_name(text, sizeof text, (uint32_t)run->made, arg->name);
        if (err) name_step(*err, text, run->row->name);
        return status;
    }
    return KRAIT_OK;
}

/* ---- a run: the result ------------------------------------------------------------------------------------------- */

/* Has the run something to give away? `*out = args[0].value` stands for krait_borrow(&args[0].value): the argument
 * stays its owner. */
static bool owns_result(const run *run) {
    if (!run->out.release) return false;
    for (size_t i = 0; i < run->made; i++)
        if (run->args[i].value.owner == run->out.owner && run->args[i].value.release) return false;
    return true;
}

static void drop_result(run *run) {
    if (owns_result(run)) krait__clear_now(run->thread, &run->out);
}

static bool stands_for_object(const krait_value *value) {
    if (!(value->flags & KRAIT_VALUE_PYTHON_)) return false;
    return value->kind != KRAIT_KIND_TABLE || value->as.table->object;
}

/* Memory that comes with a release function is handed over, any other copied. */
static krait_arg result_arg(const run *run) {
    krait_arg arg = krait_pos(run->out);
    bool      array = run->out.kind == KRAIT_KIND_ARRAY;
    if ((!array && run->out.kind != KRAIT_KIND_TABLE) || stands_for_object(&run->out)) return arg;
    if (owns_result(run)) {
        arg.value.flags = KRAIT_VALUE_OWNED_;
        if (array && run->out.as.array.flags & KRAIT_ARRAY_WRITABLE) arg.flags = KRAIT_WRITABLE;
    } else {
        arg.value = krait_borrow(&run->out);
        arg.value.flags = 0;
        arg.flags = KRAIT_COPY;
    }
    return arg;
}

static krait_status result_in(run *run, PyObject **object, krait_error **err) {
    krait_arg    arg = result_arg(run);
    krait__loan  loan = { .dead = true };
    bool         consumed = false;
    krait_status status = krait__to_python(run->thread, &arg, &loan, &consumed, object, err);
    if (status && err) name_step(*err, "result", run->row->name);
    if (!loan.dead) krait__loan_survives(&loan, run->row->name);
    if (!consumed) drop_result(run);
    return status;
}

/* ---- a run: what the function returned --------------------------------------------------------------------------- */

static krait_error *nonsense(const run *run, krait_status status, krait_error *left) {
    krait_error *error = NULL;
    const char  *name = run->row->name;
    if (status == KRAIT_OK)
        krait__fail(&error, KRAIT_E_ARGUMENT,
                    "host function %s returned KRAIT_OK but left an error (%s: %.500s); expected one or the other",
                    name, krait_status_name(left->status), krait_error_message(left));
    else
        krait__fail(&error, KRAIT_E_ARGUMENT,
                    "host function %s returned %d (%s), expected KRAIT_OK or the status of an error", name, (int)status,
                    krait_status_name(status));
    if (!error->fixed) error->cause = left;
    else krait__error_free(left);
    return error;
}

/* The error that Python gets for it, NULL for none. Takes over `left`. */
static krait_error *judge(const run *run, krait_status status, krait_error *left) {
    if (!status && !left) return NULL;
    if (status && krait__is_failure(status)) {
        if (!left)
            krait__fail(&left, status, "host function %s failed with %s (%s) and left no message", run->row->name,
                        krait_status_name(status), krait_status_text(status));
    } else {
        left = nonsense(run, status, left);
    }
    krait__at(&left, "host function %s", run->row->name);
    return left;
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static krait_error *enter_host(run *run) {
    krait_error *error = NULL;
    krait_status status;
    krait__away  away;
    krait__set_none(&run->out);
    krait__gil_away(run->thread, &away);
    status = run->row->fn(run->row->user, run->args, run->made, &run->out, &error);
    krait__gil_back(run->thread, &away);
    return status || error ? judge(run, status, error) : NULL;
}

/* Converts, runs, converts; with everything at hand. */
static PyObject *run_with(run *run, PyObject *const *objects, size_t positional, PyObject *names, size_t n) {
    krait_error *error = NULL;
    PyObject    *result = NULL;
    arguments_out(run, objects, positional, names, n, &error);
    if (!error) {
        error = enter_host(run);
        if (!error && run->out.kind == KRAIT_KIND_F64 && !run->out.release)
            result = py.PyFloat_FromDouble(run->out.as.f64);
        else if (!error) result_in(run, &result, &error);
        else drop_result(run);
    }
    for (size_t i = 0; i < run->made; i++)
        if (run->args[i].value.release) krait__clear_now(run->thread, &run->args[i].value);
    return error ? krait__pyerr_raise(error) : result;
}

static PyObject *run_few(run *run, PyObject *const *objects, size_t positional, PyObject *names, size_t n) {
    krait_arg args[FEW];
    run->args = args;
    return run_with(run, objects, positional, names, n);
}

static PyObject *run_many(run *run, PyObject *const *objects, size_t positional, PyObject *names, size_t n) {
    krait_error *error = NULL;
    PyObject    *result = NULL;
    run->args = krait__alloc(krait__size(n, sizeof *run->args, 0));
    if (run->args) result = run_with(run, objects, positional, names, n);
    else krait__fail_nomem(&error);
    krait__free(run->args);
    return error ? krait__pyerr_raise(error) : result;
}

/* After krait_shutdown only calls that it waits for may still ask the host. */
static krait_status check_door(krait__thread *thread, krait_error **err) {
    int life = atomic_load_explicit(&krait__life, memory_order_relaxed);
    if (life == KRAIT__OPEN || (life == KRAIT__SHUT && krait__gil_in_call(thread))) return KRAIT_OK;
    return krait__refuse(KRAIT__DOOR_SETUP | 1 << KRAIT__STARTING, err);
}

static krait_status check_nesting(const krait__thread *thread, krait_error **err) {
    if (thread->nested < KRAIT__HOST_NESTED_MAX) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_STACK, "host functions and Python code call each other more than %d deep",
                       KRAIT__HOST_NESTED_MAX);
}

/* The registration of that name, one run begun, or NULL. */
static registration *run_by_name(const char *name) {
    registration *row;
    lock_registry();
    row = row_named(name, strlen(name));
    if (row && run_begins(row)) registration_ref(row);
    else row = NULL;
    unlock_registry();
    return row;
}

static krait_status begin(run *run, registration **found, krait_error **err) {
    krait_status status = krait__gil_called(&run->thread, err);
    *found = NULL;
    if (!status) status = check_door(run->thread, err);
    if (!status) status = check_nesting(run->thread, err);
    if (status || run_begins(run->row)) return status;
    *found = run_by_name(run->row->name);
    if (!*found)
        return krait__fail(err, KRAIT_E_NOT_FOUND, "no host function '%s': the host has taken it back", run->row->name);
    run->row = *found;
    return KRAIT_OK;
}

/* krait.host.<name>(...) */
static PyObject *entry(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
    run           run; /* the value in it is not zeroed: that alone would be a fifth of a short call */
    registration *found;
    krait_error  *error = NULL;
    PyObject     *result;
    size_t        all = (size_t)n + (names ? (size_t)py.PyTuple_Size(names) : 0);
    run.row = py.PyCapsule_GetPointer(self, CAPSULE);
    run.made = 0;
    if (!run.row) return NULL;
    if (begin(&run, &found, &error)) {
        krait__at(&error, "host function %s", run.row->name);
        return krait__pyerr_raise(error);
    }
    run.thread->nested++;
    krait__gil_busy(run.thread, 1);
    result = all <= FEW ? run_few(&run, args, (size_t)n, names, all) : run_many(&run, args, (size_t)n, names, all);
    krait__gil_busy(run.thread, -1);
    run.thread->nested--;
    life_ends(run.row, RUN);
    if (found) registration_unref(found);
    return result;
}

/* ---- what krait.host asks ---------------------------------------------------------------------------------------- */

static void capsule_dies(PyObject *capsule) {
    registration *row = py.PyCapsule_GetPointer(capsule, CAPSULE);
    if (row) registration_unref(row);
}

/* A new entry, taking over a reference. */
static PyObject *entry_new(registration *row) {
    PyObject *capsule = py.PyCapsule_New(row, CAPSULE, capsule_dies), *made;
    if (!capsule) {
        registration_unref(row);
        return NULL;
    }
    made = py.PyCFunction_NewEx(&row->method, capsule, NULL);
    py.Py_DecRef(capsule);
    return made;
}

/* find(name): the function, or None. */
static PyObject *find(PyObject *self, PyObject *args) {
    PyObject     *text = py.PyTuple_GetItem(args, 0);
    const char   *name = text ? py.PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
    registration *row;
    (void)self;
    if (!name) return NULL;
    lock_registry();
    row = row_named(name, strlen(name));
    if (row) registration_ref(row);
    atomic_store(&registry.asked, true);
    unlock_registry();
    if (row) return entry_new(row);
    py.Py_IncRef(py._Py_NoneStruct);
    return py._Py_NoneStruct;
}

/* All names, one after the other with a newline between; under the lock nothing of Python may run. */
static char *names_now(void) {
    krait__text text = { 0 };
    lock_registry();
    atomic_store(&registry.asked, true);
    krait__text_add(&text, "", 0);
    for (size_t i = 0; i < registry.count; i++) {
        if (i) krait__text_add(&text, "\n", 1);
        krait__text_add(&text, registry.rows[i]->name, strlen(registry.rows[i]->name));
    }
    unlock_registry();
    if (text.failed) krait__text_free(&text);
    return text.data;
}

/* names(): all that is registered, as one text of lines. */
static PyObject *names(PyObject *self, PyObject *args) {
    krait_error *error = NULL;
    char        *text = names_now();
    PyObject    *told;
    (void)self, (void)args;
    if (!text) {
        krait__fail_nomem(&error);
        return krait__pyerr_raise(error);
    }
    told = py.PyUnicode_FromStringAndSize(text, (Py_ssize_t)strlen(text));
    krait__free(text);
    return told;
}

static PyMethodDef questions[] = {
    { "find", find, KRAIT__METH_VARARGS, "find(name): the host function of that name, or None" },
    { "names", names, KRAIT__METH_VARARGS, "names(): all host functions, one a line" },
};

static bool offer(PyObject *dict) {
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        PyObject *function = py.PyCFunction_NewEx(&questions[i], NULL, NULL);
        bool      good = function && !py.PyDict_SetItemString(dict, questions[i].ml_name, function);
        if (function) py.Py_DecRef(function);
        if (!good) return false;
    }
    return true;
}

krait_status krait__host_start(krait_error **err) {
    PyObject    *module = imported("_krait_host");
    PyObject    *dict = module ? py.PyObject_GetAttrString(module, "__dict__") : NULL;
    krait_status status = dict && offer(dict) ? KRAIT_OK : krait__pyerr_take(KRAIT_E_INIT, err);
    if (dict) py.Py_DecRef(dict);
    return status;
}
