#include "loan.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <krait/runtime.h>

#include "gil.h"
#include "mem.h"

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

size_t krait__argument_name(char *buffer, size_t size, uint32_t index, const char *name) {
    int length = name ? snprintf(buffer, size, "argument %u '%s'", index + 1, name)
                      : snprintf(buffer, size, "argument %u", index + 1);
    return length < 0 ? 0 : (size_t)length;
}

/* ---- loans that live on ------------------------------------------------------------------------------------------ */

typedef struct record {
    struct record *next, **link;
    const void    *data;
    size_t         bytes;
    char          *function;
    char           argument[96];
} record;

static struct {
    pthread_mutex_t lock; /* guards the list; nothing is called under it */
    record         *first;
} records = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* In a forked child the lock may have been held by a thread that is not there any more; there is only one left. */
static void lock_records(void) {
    if (atomic_load(&krait__life) != KRAIT__FORKED) pthread_mutex_lock(&records.lock);
}

static void unlock_records(void) {
    if (atomic_load(&krait__life) != KRAIT__FORKED) pthread_mutex_unlock(&records.lock);
}

static void record_died(void *user) {
    record *gone = user;
    lock_records();
    *gone->link = gone->next;
    if (gone->next) gone->next->link = gone->link;
    unlock_records();
    krait__free(gone->function);
    krait__free(gone);
}

void krait__loan_survives(krait__loan *loan, const char *function) {
    record        *survivor = krait__zalloc(sizeof *survivor);
    owner_payload *payload = payload_of(loan->owner);
    payload->done = survivor ? record_died : NULL;
    payload->user = survivor;
    if (!survivor) return;
    survivor->data = loan->lo;
    survivor->bytes = (size_t)(loan->hi - loan->lo);
    survivor->function = krait__strdup(function);
    krait__argument_name(survivor->argument, sizeof survivor->argument, loan->index, loan->name);
    lock_records();
    survivor->next = records.first;
    survivor->link = &records.first;
    if (records.first) records.first->link = &survivor->next;
    records.first = survivor;
    unlock_records();
}

/* fn may run Python code, which may end loans: so it gets copies, and no lock is held around it. */
size_t krait_loans(void (*fn)(void *user, const krait_loan *loan), void *user) {
    struct shown {
        record one;
        char   function[256];
    } *shown = NULL;
    size_t count = 0, room = 0;
    lock_records();
    for (const record *one = records.first; one; one = one->next) count++;
    if (fn && count) shown = krait__alloc(krait__size(count, sizeof *shown, 0));
    for (const record *one = records.first; shown && one; one = one->next, room++) {
        shown[room].one = *one;
        snprintf(shown[room].function, sizeof shown->function, "%s", one->function ? one->function : "");
    }
    unlock_records();
    for (size_t i = 0; i < room; i++) {
        krait_loan loan = { shown[i].one.data, shown[i].one.bytes, shown[i].function, shown[i].one.argument, { 0, 0 } };
        fn(user, &loan);
    }
    krait__free(shown);
    return count;
}
