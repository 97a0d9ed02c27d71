/* host: functions of the C program that Python code calls, krait.host.<name>.
 *
 * A name stands in the registry while it is registered; krait.host looks it up there when Python code first asks for it
 * and keeps the entry, so that a call costs no look-up. Registering never waits for Python; unregistering tells
 * krait.host to look again, where it has looked before. Refuses names that Python code could not write, what a function
 * returns that is no result, and nesting without end: each a krait.Error or a krait_error, never a crash. */
#ifndef KRAIT_LIB_HOST_H
#define KRAIT_LIB_HOST_H

#include <krait/host.h>

enum {
    KRAIT__HOST_NAME_MAX = 255,  /* bytes of a name */
    KRAIT__HOST_NESTED_MAX = 100 /* host functions that run on one thread, one inside the other: C stack has an end */
};

/* Gives krait.host, through the module _krait_host, its two functions: find and names. Attached. */
krait_status krait__host_start(krait_error **err);

#endif
