/* start: initialises the interpreter from a place that was found. On the calling thread, which becomes Python's main
 * thread. */
#ifndef KRAIT_LIB_START_H
#define KRAIT_LIB_START_H

#include <krait/runtime.h>

#include "locate.h"
#include "pyapi.h"

/* What can be refused before anything is final. */
krait_status krait__start_check(const krait_options *options, krait_error **err);
krait_status krait__start_python(const krait__place *place, const krait_options *options, krait_error **err);

#endif
