/* What the parts of the demo share. Errors stick, so these are called one after the other and checked once. */
#ifndef DEMO_H
#define DEMO_H

#include <krait.h>

/* demo_google.c: daily prices of a share, an array of records. Leaves the days that stand out in *anomalies. */
void demo_google(const krait_value *google, double threshold, krait_value *anomalies, krait_error **err);

/* demo_stocks.c: ten series of prices, a table with gaps. Leaves the correlation of their monthly returns. */
void demo_stocks(const krait_value *data, krait_value *correlation, krait_error **err);

/* demo_time.c: calls "module:function" many times, through krait and in Python alone, notes both times under `what`
 * (added to those that stand there), and leaves the last result in *out. */
void demo_call_timed(const char *what, const char *function, const krait_arg *args, size_t n, krait_value *out,
                     krait_error **err);
void demo_print_times(void);
double demo_now(void); /* seconds */

/* demo_print.c, demo_bars.c: tables for a person, 100 columns wide, of what functions of krait.analysis return. */
void demo_heading(const char *format, ...) KRAIT_PRINTF(1, 2);
void demo_print_statistics(const krait_value *described, const char *const *names, krait_error **err);
void demo_print_matrix(const krait_value *matrix, const krait_value *names, krait_error **err);
void demo_print_fit(const char *name, const krait_value *fit, krait_error **err);
void demo_print_bars(const krait_value *bars, int64_t last, krait_error **err);

/* demo_help.c: small things. */
void demo_call(const char *function, const krait_arg *args, size_t n, krait_value *out, krait_error **err);
double demo_number(const krait_array *array, int64_t i);    /* element i of one dimension, float64 or int64 */
const char *demo_date(const krait_array *times, int64_t i); /* good until the next one */
const char *demo_name(const krait_value *names, size_t i, krait_error **err);
void *demo_alloc(int64_t count, size_t size); /* zeroed; or the end of the program */

#endif
