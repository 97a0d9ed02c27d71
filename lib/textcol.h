/* textcol: columns of Python's own texts: object arrays and numpy's StringDType. Attached. */
#ifndef KRAIT_LIB_TEXTCOL_H
#define KRAIT_LIB_TEXTCOL_H

#include "outlet.h"
#include "table.h"

/* Fills the column pushed last (its name and rows are set) from a 1-D object array, by what is in it: all str or
 * missing: TEXT; Decimal: DECIMAL; date: DATE; bool or missing: ARRAY of bool with bits; nothing but missing: TEXT.
 * Missing is None, NaN, pandas.NA and NaT. Anything else makes the part refused with a message that names column, row
 * and type: that is KRAIT_OK too. Copies. */
krait_status krait__objects_out(krait__outlet *outlet, krait_table *table, bool index, PyObject *array,
                                krait_error **err);

/* The same for a 1-D array of StringDType, through numpy's own calls (slots 313 to 319). */
krait_status krait__strings_out(krait__outlet *outlet, krait_table *table, bool index, PyObject *array,
                                krait_error **err);

/* A function of krait._frame_out called with one argument; new reference or NULL with an exception set. */
PyObject *krait__frame_out_ask(const char *function, PyObject *argument);

#endif
