/* Tables for a person, 100 columns wide, of what functions of krait.analysis return. */
#include "demo.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 100 };

void demo_heading(const char *format, ...) {
    char    line[WIDTH + 1];
    va_list args;
    memset(line, '-', WIDTH);
    line[WIDTH] = '\0';
    va_start(args, format);
    printf("\n");
    vprintf(format, args);
    printf("\n%s\n", line);
    va_end(args);
}

/* Of describe: a line for each column of the data. */
void demo_print_statistics(const krait_value *described, const char *const *names, krait_error **err) {
    static const char *const statistics[] = { "count", "mean", "std", "min", "25%", "50%", "75%", "max" };
    enum { COUNT = sizeof statistics / sizeof *statistics };
    krait_array columns[COUNT];
    for (int s = 0; s < COUNT; s++) krait_get_column(described, statistics[s], KRAIT_ANY, &columns[s], err);
    if (*err) return;
    printf("%-14s", "");
    for (int s = 0; s < COUNT; s++) printf(s ? "%11s" : "%9s", statistics[s]);
    for (int64_t i = 0; i < columns[0].size; i++) {
        printf("\n%-14s%9.0f", names[i], demo_number(&columns[0], i));
        for (int s = 1; s < COUNT; s++) printf("%11.2f", demo_number(&columns[s], i));
    }
    printf("\n");
}

/* Of correlation. */
void demo_print_matrix(const krait_value *matrix, const krait_value *names, krait_error **err) {
    krait_array cells;
    krait_get_array(matrix, KRAIT_F64, 2, &cells, err);
    for (int64_t row = -1; row < cells.size / (cells.size ? cells.shape[1] : 1); row++) {
        printf("%-10s", row < 0 ? "" : demo_name(names, (size_t)row, err));
        for (int64_t column = 0; column < cells.shape[1]; column++)
            if (row < 0) printf("%9s", demo_name(names, (size_t)column, err));
            else printf("%9.2f", ((double *)cells.data)[row * cells.shape[1] + column]);
        printf("\n");
    }
}

/* Of linear_regression, on one series: a line. */
void demo_print_fit(const char *name, const krait_value *fit, krait_error **err) {
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
    if (*err) return;
    printf("%-10s%14.2f +- %4.2f", name, demo_number(&beta, 0), demo_number(&error, 0));
    printf("%12.2f%10.1f%14.2f%18.2f%14.0f\n", x[0], x[1], x[2], x[3], x[4]);
}
