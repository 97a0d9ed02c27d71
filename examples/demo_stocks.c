/* Ten series of prices with gaps, some of them years long: monthly returns, their correlation, and what follows the market. */
#include "demo.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SERIES = 10, MARKET = 8 }; /* the S&P 500 */

/* A column of a matrix where it lies, one element per row. */
static krait_value column_of(const double *matrix, int64_t rows, int column) {
    int64_t shape[] = { rows }, strides[] = { SERIES * (int64_t)sizeof *matrix };
    return krait_ndarray(matrix + column, krait_f64_type(), 1, shape, strides);
}

/* Returns in percent, month by month; NaN where a price is missing. */
static double *monthly_returns(const krait_value *dates, const krait_array *prices, int64_t *months, krait_error **err) {
    double *returns = NULL;
    for (int s = 0; s < SERIES; s++) {
        krait_arg   args[] = { krait_pos(krait_borrow(dates)), krait_pos(column_of(prices->data, prices->shape[0], s)),
                               krait_kw("frequency", krait_str("1M")) };
        krait_value bars;
        krait_array close;
        demo_call_timed("resample_ohlc, 524 days to months, 10 series", "krait.analysis:resample_ohlc", args, 3, &bars, err);
        krait_get_column(&bars, "close", KRAIT_F64, &close, err);
        if (!returns) returns = demo_alloc(close.size, SERIES * sizeof *returns);
        *months = close.size - 1;
        for (int64_t m = 0; m < *months; m++)
            returns[m * SERIES + s] = 100 * (demo_number(&close, m + 1) / demo_number(&close, m) - 1);
        krait_value_clear(&bars);
    }
    return returns;
}

static void print_fit(const char *name, const krait_value *fit, krait_error **err) {
    static const char *const numbers[] = { "intercept", "intercept_t_value", "r_squared", "residual_std", "n" };
    krait_array              beta, error;
    double                   x[5];
    krait_get_column(fit, "coefficients", KRAIT_F64, &beta, err);
    krait_get_column(fit, "standard_errors", KRAIT_F64, &error, err);
    for (int i = 0; i < 5; i++) {
        const krait_value *item;
        krait_map_get(fit, numbers[i], &item, err);
        krait_get_f64(item, &x[i], err);
    }
    if (!*err)
        printf("%-10s%10.2f +- %4.2f%14.2f%10.1f%16.2f%18.2f%14.0f\n", name, demo_number(&beta, 0), demo_number(&error, 0), x[0],
               x[1], x[2], x[3], x[4]);
}

static void fit_market(const double *returns, int64_t months, const krait_value *names, krait_error **err) {
    demo_heading("Regression on the market: return = alpha + beta x return of %s", demo_name(names, MARKET, err));
    printf("%-10s%18s%14s%10s%16s%18s%14s\n", "", "beta", "alpha, %", "its t", "R squared", "residual std, %", "months");
    for (int s = 0; s < SERIES && !*err; s++) {
        krait_arg   args[] = { krait_pos(column_of(returns, months, MARKET)), krait_pos(column_of(returns, months, s)) };
        krait_value fit;
        if (s == MARKET) continue;
        demo_call_timed("linear_regression, 389 months, 9 series", "krait.analysis:linear_regression", args, 2, &fit, err);
        print_fit(demo_name(names, (size_t)s, err), &fit, err);
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
    double   *returns = monthly_returns(dates, &prices, &months, err);
    krait_arg args[] = { krait_pos(krait_matrix_f64(returns, (size_t)months, SERIES)) };
    demo_call_timed("correlation, 389 months x 10", "krait.analysis:correlation", args, 1, correlation, err);
    demo_heading("Correlation of monthly returns, 1990 to 2022");
    demo_print_matrix(correlation, names, err);
    fit_market(returns, months, names, err);
    free(returns);
}
