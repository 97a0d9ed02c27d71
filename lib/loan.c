#include "loan.h"

#include <stdio.h>
#include <string.h>

#include "leaks.h"
#include "pyerr.h"

/* ---- owner objects ----------------------------------------------------------------------------------------------- */

typedef struct owner_payload {
    void (*done)(void *user);
    void *user;
} owner_payload;

static PyTypeObject *owner_type; /* made on first use, under the GIL; kept for good */

static owner_payload *payload_of(PyObject *owner) {
    return (owner_payload *)(void *)((char *)owner + py.header);
}

static void loan_died(void *user);

static void owner_dealloc(PyObject *owner) {
    owner_payload payload = *payload_of(owner);
    PyTypeObject *type = krait__type(owner);
    py.PyObject_Free(owner);
    py.Py_DecRef((PyObject *)type);
    if (payload.done == loan_died) {
        loan_died(payload.user);
    } else if (payload.done) { /* a release function may call Python, and an exception may be on its way here */
        PyObject *error[3];
        py.PyErr_Fetch(&error[0], &error[1], &error[2]);
        payload.done(payload.user);
        py.PyErr_Restore(error[0], error[1], error[2]);
    }
}

static PyTypeObject *make_owner_type(void) {
    static char doc[] = "Keeps memory that a C program lent or gave to Python.";
    void (*dealloc)(PyObject *) = owner_dealloc;
    PyType_Slot slots[] = { { Py_tp_dealloc_SLOT, NULL }, { Py_tp_doc_SLOT, doc }, { 0, NULL } };
    PyType_Spec spec = { "krait.Owner", (int)(py.header + sizeof(owner_payload)), 0, Py_TPFLAGS_DEFAULT_BITS, slots };
    memcpy(&slots[0].pfunc, &dealloc, sizeof dealloc);
    return (PyTypeObject *)py.PyType_FromSpec(&spec);
}

static inline PyObject *owner_new(void (*done)(void *user), void *user) {
    PyObject *owner;
    if (!owner_type) owner_type = make_owner_type();
    owner = owner_type ? py._PyObject_New(owner_type) : NULL;
    if (!owner) return NULL;
    payload_of(owner)->done = done;
    payload_of(owner)->user = user;
    return owner;
}

PyObject *krait__owner_new(void (*done)(void *user), void *user) {
    return owner_new(done, user);
}

/* ---- loans of a running call ------------------------------------------------------------------------------------- */

static void loan_died(void *user) {
    ((krait__loan *)user)->dead = true;
}

PyObject *krait__loan_owner(krait__loan *loan) {
    loan->dead = false;
    loan->owner = owner_new(loan_died, loan);
    if (!loan->owner) loan->dead = true;
    return loan->owner;
}

krait_status krait__argument_owner(const krait_arg *arg, krait__loan *loan, bool *consumed, PyObject **owner,
                                   krait_error **err) {
    if (arg->value.flags & KRAIT_VALUE_OWNED_) {
        *owner = owner_new(arg->value.release, arg->value.owner);
        *consumed = *owner != NULL;
    } else {
        bool empty = loan->lo == loan->hi; /* no memory is lent, so none can escape */
        *owner = empty ? owner_new(NULL, NULL) : krait__loan_owner(loan);
    }
    return *owner ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

size_t krait__argument_name(char *buffer, size_t size, uint32_t index, const char *name) {
    int length = name ? snprintf(buffer, size, "argument %u '%s'", index + 1, name)
                      : snprintf(buffer, size, "argument %u", index + 1);
    return length < 0 ? 0 : (size_t)length;
}

/* ---- loans that live on ------------------------------------------------------------------------------------------ */

static void survivor_died(void *user) {
    krait__leaks_forget(user);
}

void krait__loan_survives(krait__loan *loan, const char *function) {
    owner_payload *payload = payload_of(loan->owner);
    char           argument[128];
    krait__argument_name(argument, sizeof argument, loan->index, loan->name);
    payload->user = krait__leaks_view(loan->lo, (size_t)(loan->hi - loan->lo), function, argument);
    payload->done = payload->user ? survivor_died : NULL;
}
