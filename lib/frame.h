/* frame: tables into Python and out of it. Attached. frame_in.c and
 * frame_out.c; what is done with pandas, pyarrow and polars stands in krait._frame_in and krait._frame_out. */
#ifndef KRAIT_LIB_FRAME_H
#define KRAIT_LIB_FRAME_H

#include "outlet.h"
#include "table.h"

/* A DataFrame over the columns of a table value; the same terms as krait__to_python. */
krait_status krait__frame_in(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                             PyObject **object, krait_error **err);

/* A table of anything that krait._frame_out can split, or that has an Arrow capsule. Takes over the reference. */
krait_status krait__frame_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err);

/* A one-column table of an ndarray that is text (object dtype, StringDType) or decimals or dates. Takes over the
 * reference. */
krait_status krait__frame_of_array(krait__outlet *outlet, PyObject *array, krait_value *out, krait_error **err);

/* A new 1-D object array from a column: str from TEXT, bytes from BYTES, datetime.date from DATE, decimal.Decimal from
 * DECIMAL; `missing` (borrowed) where there is no value. */
krait_status krait__objects_in(const krait_column *column, PyObject *missing, PyObject **array, krait_error **err);

#endif
