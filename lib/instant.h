/* instant: ticks of one unit in another, exactly, in plain C. */
#ifndef KRAIT_LIB_INSTANT_H
#define KRAIT_LIB_INSTANT_H

#include <krait/value.h>

/* What is wrong with a TIME value that was made by hand: KRAIT_E_ARGUMENT. */
krait_status krait__time_check(const krait_value *value, krait_error **err);

/* `ticks` of a time dtype that passed the check, in ticks of `unit`; NaT stays NaT. KRAIT_E_RANGE where that is not
 * exact: a part of a tick, more than 64 bits, months as days of a duration. */
krait_status krait__ticks_in(int64_t ticks, krait_dtype dtype, uint8_t unit, int64_t *out, krait_error **err);

#endif
