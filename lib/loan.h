/* loan: memory of the host in Python's hands. Attached, but for krait_loans.
 *
 * Each borrowed array stands on an owner object of a private type, whose dealloc tells. At the end of the call it must
 * be dead: no reference counts, no weak references, so it holds on every Python. One that lives on becomes a record
 * that krait_loans lists until it dies. */
#ifndef KRAIT_LIB_LOAN_H
#define KRAIT_LIB_LOAN_H

#include "pyapi.h"

/* One borrowed argument of a call that runs; on the stack of the call. */
typedef struct krait__loan {
    bool        dead;
    bool        alias;   /* KRAIT_ALIAS: a result may view it */
    bool        kept;    /* and one does */
    uint32_t    index;   /* of the argument */
    const char *name;    /* of a keyword, else NULL */
    PyObject   *owner;   /* valid while not dead */
    const char *lo, *hi; /* the memory lent */
} krait__loan;

/* New reference to an owner object; when it dies done(user) is called. NULL with an exception set. */
PyObject *krait__owner_new(void (*done)(void *user), void *user);

/* The owner of a loan. */
PyObject *krait__loan_owner(krait__loan *loan);

/* "argument 2 'ddof'" */
size_t krait__argument_name(char *buffer, size_t size, uint32_t index, const char *name);

/* Turns a loan that is not dead into a record of its own; the stack it lies on may go afterwards. Without memory it is
 * not listed. */
void krait__loan_survives(krait__loan *loan, const char *function);

#endif
