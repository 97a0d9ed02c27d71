/* runtime: gets a Python into this process. Chooses, loads, starts it on a thread of krait's own that stays for ever,
 * or attaches to one that runs already.
 *
 * Python's main thread must never end (a later thread could be taken for it) and must not be a host thread: so it is
 * krait's, and parked. It runs pending calls and the end of the program, nothing else; no user code of a call ever runs
 * there, so it cannot take the host's signals. What starting Python changes in the process (signals, locale,
 * environment, C stdio) is avoided or put back, by the recipe of facts 9. */
#ifndef KRAIT_LIB_RUNTIME_H
#define KRAIT_LIB_RUNTIME_H

#include <krait/runtime.h>

#include "gil.h"
#include "locate.h"

/* What the doctor tells about the Python that runs. */
typedef struct krait__runtime_facts {
    krait__place place;    /* empty when attached */
    bool         attached; /* the process ran Python already */
    const char  *library;  /* path of libkrait, or of the file it is linked into */
} krait__runtime_facts;
extern krait__runtime_facts krait__runtime;

/* Loads and starts Python, or attaches. *final is set when it cannot be tried again. No thread may be attached to
 * Python here. */
krait_status krait__runtime_start(const krait_options *options, bool *final, krait_error **err);

/* Fills the function table when a Python is in the process already. */
void krait__runtime_peek(void);

/* Refuses options that the Python that runs cannot satisfy; attached. */
krait_status krait__runtime_compare(const krait_options *options, krait_error **err);

/* Runs fn(user) on Python's main thread, attached there; false when it did not end within timeout_ms, or krait did not
 * start Python. */
bool krait__runtime_on_main(void (*fn)(void *user), void *user, int64_t timeout_ms);

#endif
