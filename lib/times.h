/* times: instants, dates, durations and decimals, one by one. Attached. */
#ifndef KRAIT_LIB_TIMES_H
#define KRAIT_LIB_TIMES_H

#include "outlet.h"

/* A new reference for a TIME or DECIMAL value: numpy.datetime64, numpy.timedelta64, pandas.Timestamp where there is a
 * zone, decimal.Decimal. */
krait_status krait__time_in(const krait_value *value, PyObject **object, krait_error **err);

/* Is this numpy scalar a datetime64 or timedelta64? -1 with an exception set. */
int krait__is_time_scalar(PyObject *object);

/* datetime, date, timedelta, Timestamp, Timedelta, NaT, numpy.datetime64 and timedelta64, Decimal, each with its unit.
 * Takes over the reference. */
krait_status krait__time_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err);

#endif
