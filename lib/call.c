/* call: the only file that enters user code.
 *
 * The order at the end of a call is fixed: the result is converted (what of it lies in lent memory is copied), an
 * exception becomes data and its frames are cleared, the arguments are dropped, and then every loan must be dead. */
#include <string.h>

#include "bridge.h"
#include "convert.h"
#include "func.h"
#include "leaks.h"
#include "mem.h"
#include "ndarray.h"
#include "options.h"
#include "os.h"
#include "pyerr.h"
#include "value.h"

enum {
    FEW = 8,                              /* arguments that need no allocation */
    FULL_COLLECTION_EVERY_NS = 1000000000 /* per function: a full collection takes 7-170 ms */
};

typedef struct invocation {
    krait_func               *func;
    const krait_arg          *args;
    size_t                    n, made; /* arguments; of these, converted */
    PyObject                **objects; /* n + 1: the first belongs to the vectorcall protocol */
    krait__loan              *loans;   /* n */
    size_t                    loan_count;
    krait__thread            *thread;
    const krait_call_options *options; /* checked, or NULL */
} invocation;

/* Kept out of the way of the usual call, which is 33 ns long. */
#define COLD __attribute__((noinline, cold))
#define ALWAYS __attribute__((always_inline))

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static void release_owned(const krait_arg *arg) {
    if (arg->value.flags & KRAIT_VALUE_OWNED_ && arg->value.release) arg->value.release(arg->value.owner);
}

krait_status krait__refuse_args(const krait_arg *args, size_t n, krait_status status) {
    for (size_t i = 0; args && i < n; i++) release_owned(&args[i]);
    return status;
}

static krait_status convert_one(invocation *call, size_t i, krait_error **err) {
    const krait_arg *arg = &call->args[i];
    krait__loan     *loan = &call->loans[call->loan_count];
    bool             consumed;
    krait_status     status = krait__to_python(call->thread, arg, loan, &consumed, &call->objects[1 + i], err);
    if (arg->value.flags & KRAIT_VALUE_OWNED_ && !consumed) release_owned(arg);
    if (!loan->dead) {
        loan->index = (uint32_t)i;
        loan->name = arg->name;
        loan->alias = (arg->flags & KRAIT_ALIAS) != 0;
        loan->kept = false;
        call->loan_count++;
    }
    if (status) {
        char name[128];
        krait__argument_name(name, sizeof name, (uint32_t)i, arg->name);
        krait__at(err, "convert %s", name);
    }
    return status;
}

/* A borrowed array without flags, the usual way; false: convert_one has to see to it. */
static inline bool lend_one(invocation *call, size_t i) {
    const krait_arg *arg = &call->args[i];
    krait__loan     *loan = &call->loans[call->loan_count];
    if (arg->value.kind != KRAIT_KIND_ARRAY || arg->flags | arg->value.flags) return false;
    loan->dead = true;
    loan->table = NULL;
    call->objects[1 + i] = krait__lend(&arg->value, loan);
    if (!call->objects[1 + i]) return false;
    loan->index = (uint32_t)i;
    loan->name = arg->name;
    loan->alias = loan->kept = false;
    call->loan_count++;
    return true;
}

/* The rest of the arguments, from call->made on. Stops at the first that fails; those after it are consumed all the
 * same. */
static krait_status convert_rest(invocation *call, krait_error **err) {
    for (; call->made < call->n; call->made++) {
        krait_status status;
        if (lend_one(call, call->made)) continue;
        py.PyErr_Clear(); /* of a quick try that failed: it is made again, and explained */
        status = convert_one(call, call->made, err);
        if (!status) continue;
        for (size_t i = call->made + 1; i < call->n; i++) release_owned(&call->args[i]);
        return status;
    }
    return KRAIT_OK;
}

/* ---- loans at the end of a call ---------------------------------------------------------------------------------- */

static bool all_dead(const invocation *call) {
    for (size_t i = 0; i < call->loan_count; i++)
        if (!call->loans[i].dead && !call->loans[i].kept) return false;
    return true;
}

static void collect(int generation) {
    if (!krait__bridge_collect(generation)) py.PyErr_Clear();
}

/* A cycle may be all that keeps an argument: young ones are looked through at once, all of them at most once a second.
 */
static void collect_young(const invocation *call) {
    for (int generation = 0; generation < 2 && !all_dead(call); generation++) collect(generation);
}

static void collect_all(invocation *call) {
    int64_t now = krait__os_now(), last = atomic_load(&call->func->last_full_collection);
    if (last && now - last < FULL_COLLECTION_EVERY_NS) return;
    atomic_store(&call->func->last_full_collection, now);
    collect(2);
}

static krait_status escaped(const invocation *call, const krait__loan *loan, const char *result, krait_status before,
                            krait_error **err) {
    char         name[128], value[128];
    krait_error *cause = err ? *err : NULL;
    krait_status status;
    krait__argument_name(name, sizeof name, loan->index, loan->name);
    krait_value_describe(&call->args[loan->index].value, value, sizeof value);
    if (err) *err = NULL;
    status = krait__fail(
        err, KRAIT_E_ESCAPED,
        "Python kept %s (%s), which was lent for the call only, after %s %s %s: do not store it or a view of it (in a "
        "global, an attribute, a closure, a thread), or give it with KRAIT_COPY or krait_owned. Its memory must stay "
        "valid while krait_loans lists it",
        name, value, call->func->name, before ? "failed with" : "returned",
        before ? krait_status_name(before) : result);
    krait__at(err, "after the call");
    if (err && *err && status == KRAIT_E_ESCAPED) (*err)->cause = cause;
    else krait__error_free(cause);
    return status;
}

/* Every loan that lives on gets a record; those that no result accounts for are the caller's error. */
static krait_status settle_survivors(invocation *call, krait_status before, krait_value *out, krait_error **err) {
    char         result[128];
    krait_status status = before;
    krait_value_describe(out, result, sizeof result);
    for (size_t i = 0; i < call->loan_count; i++) {
        krait__loan *loan = &call->loans[i];
        if (loan->dead) continue;
        if (!loan->kept && status != KRAIT_E_ESCAPED) status = escaped(call, loan, result, before, err);
        krait__loan_survives(loan, call->func->name);
    }
    if (status == KRAIT_E_ESCAPED) KRAIT__COUNT(call->thread, escapes, 1);
    if (status != before) krait_value_clear(out);
    return status;
}

static COLD krait_status settle_living(invocation *call, krait_status status, krait_value *out, krait_error **err) {
    krait_value dropped;
    krait__set_none(&dropped);
    if (!out) out = &dropped;
    if (!all_dead(call))
        krait__drain_all(call->thread); /* a result cleared by a nested call may be all that keeps it */
    if (!all_dead(call)) collect_young(call);
    if (!all_dead(call) && krait__let_go(out)) { /* a frame keeps more than its columns, such as labels */
        krait__drain_all(call->thread);
        collect_young(call);
    }
    if (!all_dead(call)) collect_all(call);
    return settle_survivors(call, status, out, err);
}

static inline krait_status settle_loans(invocation *call, krait_status status, krait_value *out, krait_error **err) {
    for (size_t i = 0; i < call->loan_count; i++)
        if (!call->loans[i].dead) return settle_living(call, status, out, err);
    return status;
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

static size_t count_positional(const krait_arg *args, size_t n) {
    size_t count = 0;
    while (count < n && !args[count].name) count++;
    return count;
}

static COLD krait_status raised(krait_error **err) {
    krait_status status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    krait__at(err, "call");
    return status;
}

/* Anything but a float or a plain array. */
static COLD krait_status convert_result(invocation *call, PyObject *result, krait_value *out, krait_error **err) {
    krait__outlet outlet = { .thread = call->thread, .loans = call->loans, .loan_count = call->loan_count };
    if (!result) return raised(err);
    outlet.keep_strides = call->options && call->options->flags & KRAIT_KEEP_STRIDES;
    return out ? krait__from_python(&outlet, result, out, err) : krait__drop_result(result, err);
}

/* What a call of numbers alone does not need: the function is found, keywords get their tuple, the other arguments are
 * converted. */
static krait_status prepare(invocation *call, krait__hold **callable, PyObject **names, size_t *positional,
                            krait_error **err) {
    krait_status status = *callable ? KRAIT_OK : krait__func_resolve(call->func, call->thread, callable, err);
    *positional = count_positional(call->args, call->n);
    if (!status && *positional < call->n)
        status =
            krait__func_keywords(call->func, call->thread, call->args + *positional, call->n - *positional, names, err);
    if (!status) return convert_rest(call, err);
    krait__at(err, "convert keywords");
    return krait__refuse_args(call->args, call->n, status);
}

static inline ALWAYS krait_status take_result(invocation *call, PyObject *result, krait_value *out, krait_error **err) {
    if (result && out) {
        PyTypeObject *type = krait__type(result);
        if (type == py.PyFloat_Type) return krait__float_out(result, out);
        if (type == krait__np.array_type &&
            krait__array_out_quick(call->thread, call->loans, call->loan_count, result, out))
            return KRAIT_OK;
    }
    return convert_result(call, result, out, err);
}

static inline ALWAYS krait_status invoke(invocation *call, krait_value *out, krait_error **err) {
    krait__hold *callable = krait__func_resolved(call->func);
    PyObject    *names = NULL;
    size_t       positional = call->n, made = 0;
    krait_status status = KRAIT_OK;
    for (; made < call->n && !call->args[made].name; made++) {
        const krait_arg *arg = &call->args[made];
        if (!krait__is_simple(arg)) {
            if (!lend_one(call, made)) break;
            continue;
        }
        call->objects[1 + made] = krait__simple(&arg->value);
        if (!call->objects[1 + made]) break;
    }
    call->made = made;
    if (made < call->n || !callable) status = prepare(call, &callable, &names, &positional, err);
    if (!status)
        status = take_result(
            call, callable->enter(callable->object, call->objects + 1, positional | KRAIT__ARGUMENTS_OFFSET, names),
            out, err);
    for (size_t i = 0; i < call->made; i++) py.Py_DecRef(call->objects[1 + i]);
    if (names) py.Py_DecRef(names);
    return call->loan_count ? settle_loans(call, status, out, err) : status;
}

static COLD krait_status invoke_many(invocation *call, krait_value *out, krait_error **err) {
    krait_status status;
    call->objects = krait__alloc(krait__size(call->n + 1, sizeof *call->objects, 0));
    call->loans = krait__alloc(krait__size(call->n + 1, sizeof *call->loans, 0));
    if (call->objects && call->loans) status = invoke(call, out, err);
    else status = krait__refuse_args(call->args, call->n, krait__fail_nomem(err));
    krait__free(call->objects);
    krait__free(call->loans);
    return status;
}

static COLD krait_status refuse_call(const krait_arg *args, size_t n, krait_status status, krait_error **err) {
    krait__at(err, "call");
    return krait__refuse_args(args, n, status);
}

static COLD krait_status fail_argument(const krait_func *func, size_t n, krait_error **err) {
    if (!func) return krait__fail(err, KRAIT_E_ARGUMENT, "func is NULL");
    return krait__fail(err, KRAIT_E_ARGUMENT, "args is NULL, expected %zu of them", n);
}

static inline void leave_call(krait__thread *thread) {
    krait__gil_busy(thread, -1);
}

static krait_status call_any(krait_func *func, const krait_arg *args, size_t n, const krait_call_options *options,
                             krait_value *out, krait_error **err) {
    PyObject    *objects[FEW + 1];
    krait__loan  loans[FEW + 1]; /* one more: where the last argument would note its loan */
    krait__gil   gil;
    krait_status status = KRAIT_OK;
    if (out) krait__set_none(out);
    if (krait__stuck(err)) return krait__refuse_args(args, n, (*err)->status);
    if (!func || (!args && n)) status = fail_argument(func, n, err);
    if (!status && options) status = krait__check_call_options(options, err);
    if (!status) status = krait__gil_enter(&gil, err);
    if (status) return refuse_call(args, n, status, err);
    invocation call = { func, args, n, 0, objects, loans, 0, gil.thread, options };
    KRAIT__COUNT(gil.thread, calls, 1);
    krait__drain_in_passing(
        gil.thread); /* counted as running already: it may let the GIL go, and the door may shut meanwhile */
    status = n <= FEW ? invoke(&call, out, err) : invoke_many(&call, out, err);
    if (status) KRAIT__COUNT(gil.thread, failures, 1);
    leave_call(gil.thread);
    krait__gil_leave(&gil);
    return status;
}

/* The result of a call of numbers that is not a float. */
static COLD krait_status end_call(krait__thread *thread, PyObject *result, krait_value *out, krait_error **err) {
    invocation   call = { .thread = thread };
    krait_status status = take_result(&call, result, out, err);
    if (status) KRAIT__COUNT(thread, failures, 1);
    leave_call(thread);
    return status;
}

/* What an array call that goes the short way needs only when something is unusual about it. */
static COLD krait_status other_result(krait__thread *thread, krait__loan *loan, PyObject *result, krait_value *out,
                                      krait_error **err) {
    invocation call = { .loans = loan, .loan_count = 1, .thread = thread };
    return convert_result(&call, result, out, err);
}
static COLD krait_status settle_one(krait_func *func, krait__thread *thread, const krait_arg *arg, krait__loan *loan,
                                    krait_status status, krait_value *out, krait_error **err) {
    invocation call = {
        .func = func, .args = arg, .n = 1, .made = 1, .loans = loan, .loan_count = 1, .thread = thread
    };
    return settle_loans(&call, status, out, err);
}

/* The short way for one array that is lent. */
static krait_status call_with_array(krait_func *func, krait__hold *callable, krait__thread *thread,
                                    const krait_arg *arg, krait_value *out, krait_error **err) {
    krait__loan  loan = { .dead = true };
    PyObject    *objects[2], *result;
    krait_status status = KRAIT_OK;
    KRAIT__COUNT(thread, calls, 1);
    krait__drain_in_passing(thread);
    krait__set_none(out);
    objects[1] = krait__lend(&arg->value, &loan);
    if (!objects[1]) {
        py.PyErr_Clear();
        KRAIT__COUNT(thread, calls, (uint64_t)-1);
        return call_any(func, arg, 1, NULL, out, err);
    }
    result = callable->enter(callable->object, objects + 1, 1 | KRAIT__ARGUMENTS_OFFSET, NULL);
    if (!result || krait__type(result) != krait__np.array_type ||
        !krait__array_out_quick(thread, &loan, 1, result, out))
        status = other_result(thread, &loan, result, out, err);
    py.Py_DecRef(objects[1]);
    if (!loan.dead) status = settle_one(func, thread, arg, &loan, status, out, err);
    if (status) KRAIT__COUNT(thread, failures, 1);
    leave_call(thread);
    return status;
}

/* The short way for one double. */
static krait_status call_with_double(krait__hold *callable, krait__thread *thread, double x, krait_value *out,
                                     krait_error **err) {
    PyObject *objects[2], *result = NULL;
    krait__set_none(out);
    KRAIT__COUNT(thread, calls, 1);
    objects[1] = py.PyFloat_FromDouble(x);
    if (objects[1]) {
        result = callable->enter(callable->object, objects + 1, 1 | KRAIT__ARGUMENTS_OFFSET, NULL);
        py.Py_DecRef(objects[1]);
    }
    if (!result || krait__type(result) != py.PyFloat_Type) return end_call(thread, result, out, err);
    krait__float_out(result, out);
    leave_call(thread);
    return KRAIT_OK;
}

/* The short way for a few numbers; what does not fit it goes by call_any, which starts anew. */
static krait_status call_with_numbers(krait_func *func, krait__hold *callable, krait__thread *thread,
                                      const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    PyObject *objects[FEW + 1], *result;
    size_t    made = 0;
    while (made < n && !args[made].name && krait__is_simple(&args[made]) &&
           (objects[made + 1] = krait__simple(&args[made].value)))
        made++;
    if (made < n) {
        while (made) py.Py_DecRef(objects[made--]);
        py.PyErr_Clear();
        return call_any(func, args, n, NULL, out, err);
    }
    krait__set_none(out);
    KRAIT__COUNT(thread, calls, 1);
    result = callable->enter(callable->object, objects + 1, n | KRAIT__ARGUMENTS_OFFSET, NULL);
    for (; made; made--) py.Py_DecRef(objects[made]);
    if (!result || krait__type(result) != py.PyFloat_Type) return end_call(thread, result, out, err);
    krait__float_out(result, out);
    leave_call(thread);
    return KRAIT_OK;
}

/* The same, noted for krait_loans: what it borrows while it runs, what it hands out until that is cleared. */
static COLD krait_status call_watched(krait_func *func, const krait_arg *args, size_t n,
                                      const krait_call_options *options, krait_value *out, krait_error **err,
                                      void *caller) {
    krait__watch watch;
    krait_status status;
    krait__watch_begin(&watch, func ? func->name : "", args, n, caller);
    status = call_any(func, args, n, options, out, err);
    krait__watch_end(&watch, out);
    return status;
}

/* The short ways are for a thread that is attached: a third of a short call is saved by not setting up what only
 * others need. */
krait_status krait_call(krait_func *func, const krait_arg *args, size_t n, const krait_call_options *options,
                        krait_value *out, krait_error **err) {
    krait__thread *thread = krait__self;
    krait__hold   *callable;
    if (n > FEW || options || !out || !func || !args || krait__stuck(err) || !thread || !krait__gil_is_idle(thread) ||
        !(callable = krait__func_resolved(func)))
        return krait__leaks_on ? call_watched(func, args, n, options, out, err, __builtin_return_address(0))
                               : call_any(func, args, n, options, out, err);
    if (n == 1 && krait__is_lent(args)) return call_with_array(func, callable, thread, args, out, err);
    if (krait__anything_to_drain(thread)) return call_any(func, args, n, options, out, err);
    if (n == 1 && krait__is_double(args)) return call_with_double(callable, thread, args->value.as.f64, out, err);
    return call_with_numbers(func, callable, thread, args, n, out, err);
}

krait_status krait_func_check(krait_func *func, const krait_call_options *options, krait_error **err) {
    krait__gil   gil;
    krait__hold *callable;
    krait_status status = KRAIT_OK;
    if (krait__stuck(err)) return (*err)->status;
    if (!func) status = krait__fail(err, KRAIT_E_ARGUMENT, "func is NULL");
    if (!status && options) status = krait__check_call_options(options, err);
    if (!status) status = krait__gil_enter(&gil, err);
    krait__at(err, "func_check");
    if (status) return status;
    krait__gil_busy(gil.thread, 1);
    if (!krait__func_resolved(func)) status = krait__func_resolve(func, gil.thread, &callable, err);
    krait__gil_busy(gil.thread, -1);
    krait__gil_leave(&gil);
    return status;
}
