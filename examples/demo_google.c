/* Daily prices of Google, an array of records read field by field: described, as weeks, and its unusual days. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIELDS = 5, WEEKS = 12, WINDOW = 60 };

/* The fields side by side in memory of the program's own, which is lent as it is. */
static void describe(const krait_value *google, krait_error **err) {
    static const char *const fields[] = { "open", "high", "low", "close", "volume" };
    static const char *const names[] = { "open, USD", "high, USD", "low, USD", "close, USD", "volume, M" };
    double                  *table = NULL;
    krait_array              days, field;
    krait_value              out;
    krait_get_column(google, "date", KRAIT_DATETIME, &days, err);
    for (int f = 0; f < FIELDS; f++) {
        krait_get_column(google, fields[f], KRAIT_ANY, &field, err);
        if (!table) table = demo_alloc(field.size, FIELDS * sizeof *table);
        for (int64_t i = 0; i < field.size; i++) table[FIELDS * i + f] = demo_number(&field, i) / (f < 4 ? 1 : 1e6);
    }
    krait_arg args[] = { krait_pos(krait_matrix_f64(table, (size_t)field.size, FIELDS)) };
    demo_call_timed("describe, 1047 days x 5", "krait.analysis:describe", args, 1, &out, err);
    if (!*err) demo_heading("Google, %lld trading days from %s", (long long)days.size, demo_date(&days, 0));
    demo_print_statistics(&out, names, err);
    krait_value_clear(&out);
    free(table);
}

/* The records go back in as the very array they came as. */
static void print_weeks(const krait_value *google, krait_error **err) {
    krait_arg   args[] = { krait_pos(krait_borrow(google)), krait_kw("frequency", krait_str("1W")) };
    krait_value out;
    demo_call_timed("resample_ohlc, 1047 days to weeks", "krait.analysis:resample_ohlc", args, 2, &out, err);
    if (!*err) demo_heading("Weekly bars of Google, the last %d (== rose, ## fell)", WEEKS);
    demo_print_bars(&out, WEEKS, err);
    krait_value_clear(&out);
}

static void print_anomalies(const krait_value *google, const krait_value *found, const double *returns,
                            krait_error **err) {
    krait_array days, close, indices, z, mean, std;
    krait_get_column(google, "date", KRAIT_DATETIME, &days, err);
    krait_get_column(google, "close", KRAIT_F64, &close, err);
    krait_get_column(found, "indices", KRAIT_I64, &indices, err);
    krait_get_column(found, "z", KRAIT_F64, &z, err);
    krait_get_column(found, "mean", KRAIT_F64, &mean, err);
    krait_get_column(found, "std", KRAIT_F64, &std, err);
    if (*err) return;
    printf("%-10s%18s%18s%18s%18s%18s\n", "day", "close, USD", "return", "mean before", "std before", "z");
    for (int64_t i = 0; i < indices.size; i++) {
        int64_t at = ((int64_t *)indices.data)[i];
        printf("%s%18.2f%+17.2f%%", demo_date(&days, at + 1), demo_number(&close, at + 1), returns[at]);
        printf("%+17.2f%%%17.2f%%%+18.2f\n", demo_number(&mean, at), demo_number(&std, at), demo_number(&z, at));
    }
}

static void find_anomalies(const krait_value *google, double threshold, krait_value *found, krait_error **err) {
    krait_array close;
    krait_get_column(google, "close", KRAIT_F64, &close, err);
    double *returns = demo_alloc(close.size, sizeof *returns);
    for (int64_t i = 0; i + 1 < close.size; i++) /* return 0 is that of day 1 */
        returns[i] = 100 * (demo_number(&close, i + 1) / demo_number(&close, i) - 1);
    krait_arg args[] = { krait_pos(krait_vector_f64(returns, (size_t)close.size - 1)), krait_pos(krait_i64(WINDOW)),
                         krait_kw("threshold", krait_f64(threshold)), krait_kw("include_point", krait_bool(false)) };
    demo_call_timed("zscore_anomalies, 1046 returns", "krait.analysis:zscore_anomalies", args, 4, found, err);
    if (!*err) demo_heading("Unusual days: return over %g sigma from the mean of %d before", threshold, WINDOW);
    print_anomalies(google, found, returns, err);
    free(returns);
}

void demo_google(const krait_value *google, double threshold, krait_value *anomalies, krait_error **err) {
    if (*err) return;
    describe(google, err);
    print_weeks(google, err);
    find_anomalies(google, threshold, anomalies, err);
}
