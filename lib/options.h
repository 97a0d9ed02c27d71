/* options: what is common to option structs: size, reserved space, fields that are not supported yet. */
#ifndef KRAIT_LIB_OPTIONS_H
#define KRAIT_LIB_OPTIONS_H

#include <krait/call.h>
#include <krait/runtime.h>

/* Fills *copy, zeroed beyond what the caller's struct has. A larger struct with something set in its tail is
 * KRAIT_E_UNSUPPORTED. */
krait_status krait__check_options(const krait_options *options, krait_options *copy, krait_error **err);
krait_status krait__check_call_options(const krait_call_options *options, krait_error **err);

#endif
