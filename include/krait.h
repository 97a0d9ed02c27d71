/* krait: call numpy and pandas code from C as if it were a C library. Include this; the headers by topic follow.
 *
 * Rules that every function keeps:
 *
 * - Arguments stand in one order: object, inputs, options, output, error. Options may be NULL, the error may be NULL.
 * - An output is overwritten with none on entry (not cleared: clear a value before it is used again) and filled only
 *   on success.
 * - krait_status is returned: 0 is success, negative an error, positive (KRAIT_DONE) a success with nothing more to
 *   come. Constructors return the object, or NULL with the error filled. Free and clear functions return nothing and
 *   take NULL.
 * - Errors stick: with *err set on entry nothing is done, outputs become none and that error's status is returned, so
 *   a sequence of calls needs one check at its end.
 * - Structs that the caller fills begin with `size` and come with an initialiser; zero means default. A set field
 *   that this version does not support is KRAIT_E_UNSUPPORTED, never ignored.
 * - Names: _new/_free one owner, _ref/_unref shared, _get borrowed from the object named first.
 * - Any function may be called from any thread, with or without Python's GIL, unless its Threads: line says
 *   otherwise. Several threads may read one value at once; one value is written by one thread at a time.
 * - Release and destroy functions given to krait may run on any thread, with or without the GIL. They must not block,
 *   take a lock that is held around krait calls, or call krait except to clear and free.
 * */
#ifndef KRAIT_H
#define KRAIT_H

#include <krait/version.h>
#include <krait/status.h>
#include <krait/value.h>
#include <krait/table.h>
#include <krait/arrow.h>
#include <krait/runtime.h>
#include <krait/call.h>
#include <krait/object.h>
#include <krait/host.h>
#include <krait/metrics.h>

#endif
