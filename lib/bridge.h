/* bridge: the Python sources that libkrait carries, and calls of the helpers in krait._bridge. All attached. */
#ifndef KRAIT_LIB_BRIDGE_H
#define KRAIT_LIB_BRIDGE_H

#include "pyapi.h"

/* One Python source, as the build made it from bridge/python; the list ends with a NULL name. */
typedef struct krait__source {
    const char          *module; /* "krait.analysis" */
    const unsigned char *text;
    size_t               size;
} krait__source;
extern const krait__source krait__sources[];

/* Runs krait._boot and puts its finder in front. KRAIT_E_CONFLICT when another libkrait did so before. `own_start`:
 * krait started this Python and is on its main thread. `host_faults`: the host handles SIGSEGV. */
krait_status krait__bridge_boot(const char *library, bool own_start, bool host_faults, krait_error **err);

/* krait._boot's add_path. */
krait_status krait__bridge_add_path(const char *path, int position, krait_error **err);

/* A function of krait._bridge, borrowed; NULL with an exception set. Imports the module on first use. */
PyObject *krait__bridge_get(const char *name);

/* Calls it with one or two arguments (borrowed); new reference or NULL with an exception set. */
PyObject *krait__bridge_call(const char *name, PyObject *a, PyObject *b);

/* gc.collect(generation): PyGC_Collect does nothing while automatic collection is off. False with an exception set. */
bool krait__bridge_collect(int generation);

#endif
