/* Ten series of prices with gaps, some years long: how monthly returns correlate, and what the market explains. */
#include "demo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ANALYSIS "krait.analysis:"

enum { SERIES = 10, MARKET = 8 /* the S&P 500 */ };

/* A column of a matrix, where it lies. */
static krait_value column_of(const double *matrix, int64_t rows, int column) {
    int64_t shape[] = { rows }, strides[] = { SERIES * (int64_t)sizeof *matrix };
    return krait_ndarray(matrix + column, krait_f64_type(), 1, shape, strides);
}

static int count_empty(const krait_array *prices) {
    int empty = 0;
    for (int64_t row = 0; row < prices->shape[0]; row++) {
        int s = 0;
        while (s < SERIES && isnan(((double *)prices->data)[row * SERIES + s])) s++;
        empty += s == SERIES;
    }
    return empty;
}

/* In percent, a column for each series; NaN where a price is missing. */
static double *find_returns(const krait_value *dates, const krait_array *prices, int64_t *months, krait_error **err) {
    double *returns = NULL;
    for (int s = 0; s < SERIES; s++) {
        krait_value series = column_of(prices->data, prices->shape[0], s), month = krait_str("1M"), bars;
        krait_arg   args[] = { krait_pos(krait_borrow(dates)), krait_pos(series), krait_kw("frequency", month) };
        krait_array close;
        demo_call_timed("resample_ohlc, 524 rows to months, 10 series", ANALYSIS "resample_ohlc", args, 3, &bars, err);
        krait_get_column(&bars, "close", KRAIT_F64, &close, err);
        if (!returns) returns = demo_alloc(close.size, SERIES * sizeof *returns);
        for (int64_t m = 0; m + 1 < close.size; m++)
            returns[m * SERIES + s] = 100 * (demo_number(&close, m + 1) / demo_number(&close, m) - 1);
        *months = close.size - 1;
        krait_value_clear(&bars);
    }
    return returns;
}

static void fit_market(const double *returns, int64_t months, const krait_value *names, krait_error **err) {
    krait_value market = column_of(returns, months, MARKET), fit;
    demo_heading("Regression: monthly return = alpha + beta x return of the %s", demo_name(names, MARKET, err));
    printf("%32s%12s%10s%14s%18s%14s\n", "beta", "alpha, %", "its t", "R squared", "residual std, %", "months");
    for (int s = 0; s < SERIES && !*err; s++) {
        krait_arg args[] = { krait_pos(market), krait_pos(column_of(returns, months, s)) };
        if (s == MARKET) continue;
        demo_call_timed("linear_regression, 389 months, 9 series", ANALYSIS "linear_regression", args, 2, &fit, err);
        demo_print_fit(demo_name(names, (size_t)s, err), &fit, err);
        krait_value_clear(&fit);
    }
}

void demo_stocks(const krait_value *data, krait_value *correlation, krait_error **err) {
    const krait_value *names, *dates, *item;
    krait_array        prices;
    int64_t            months = 0;
    krait_map_get(data, "names", &names, err);
    krait_map_get(data, "dates", &dates, err);
    krait_map_get(data, "prices", &item, err);
    krait_get_array(item, KRAIT_F64, 2, &prices, err);
    if (*err) return;
    double   *returns = find_returns(dates, &prices, &months, err);
    krait_arg args[] = { krait_pos(krait_matrix_f64(returns, (size_t)months, SERIES)) };
    demo_call_timed("correlation, 389 months x 10", ANALYSIS "correlation", args, 1, correlation, err);
    if (!*err) demo_heading("Correlation of monthly returns since 1990 (%d rows, %d of them empty dividend days)",
                            (int)prices.shape[0], count_empty(&prices));
    demo_print_matrix(correlation, names, err);
    if (!*err) fit_market(returns, months, names, err);
    free(returns);
}
