/* loan: memory of the host in Python's hands. Attached.
 *
 * Each borrowed array stands on an owner object of a private type, whose dealloc tells. At the end of the call it must
 * be dead: no reference counts, no weak references, so it holds on every Python. One that lives on is listed by
 * krait_loans until it dies. */
#ifndef KRAIT_LIB_LOAN_H
#define KRAIT_LIB_LOAN_H

#include <krait/call.h>

#include "pyapi.h"

/* One borrowed argument of a call that runs; on the stack of the call. */
typedef struct krait__loan {
    bool                      dead;
    bool                      alias;   /* KRAIT_ALIAS: a result may view it */
    bool                      kept;    /* and one does */
    uint32_t                  index;   /* of the argument */
    const char               *name;    /* of a keyword, else NULL */
    PyObject                 *owner;   /* valid while not dead */
    const char               *lo, *hi; /* the memory lent; of a table, the least range that holds all of it */
    const struct krait_table *table;   /* a table was lent: only its columns count; else NULL */
    size_t                    near;    /* its column found last */
} krait__loan;

/* New reference to an owner object; when it dies done(user) is called. NULL with an exception set. */
PyObject *krait__owner_new(void (*done)(void *user), void *user);

/* The owner of a loan. */
PyObject *krait__loan_owner(krait__loan *loan);

/* The owner object of an array or table argument, whose memory loan->lo to hi is: one that calls its release, one that
 * tells the loan, or one that does nothing where there is no memory. *consumed: its release has been arranged for. */
krait_status krait__argument_owner(const krait_arg *arg, krait__loan *loan, bool *consumed, PyObject **owner,
                                   krait_error **err);

/* "argument 2 'ddof'" */
size_t krait__argument_name(char *buffer, size_t size, uint32_t index, const char *name);

/* Turns a loan that is not dead into an entry of its own (leaks); the stack it lies on may go afterwards. Without
 * memory it is not listed. */
void krait__loan_survives(krait__loan *loan, const char *function);

#endif
