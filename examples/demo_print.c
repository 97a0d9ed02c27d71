/* Tables for a person, at most 100 columns wide. */
#include "demo.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 100, CHART = 37 };

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

/* What krait.analysis:describe found: a line for each column of the data. */
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

/* "---===--": the line is the bar's range, the body goes from open to close, # when it fell. */
static void draw_candle(char *text, const double *bar, double low, double high) {
    int at[4];
    for (int i = 0; i < 4; i++) at[i] = (int)lround((bar[i] - low) / (high - low) * (CHART - 1));
    memset(text, ' ', CHART);
    text[CHART] = '\0';
    for (int x = at[2]; x <= at[1]; x++) text[x] = '-';
    for (int x = at[0]; x <= at[3]; x++) text[x] = '=';
    for (int x = at[3]; x < at[0]; x++) text[x] = '#';
}

/* What krait.analysis:resample_ohlc made; the last of it. */
void demo_print_bars(const krait_value *bars, int64_t last, krait_error **err) {
    static const char *const names[] = { "open", "high", "low", "close", "volume" };
    krait_array              time, columns[5];
    double                   bar[5], low = INFINITY, high = 0;
    char                     chart[CHART + 1];
    krait_get_column(bars, "time", KRAIT_DATETIME, &time, err);
    for (int c = 0; c < 5; c++) krait_get_column(bars, names[c], KRAIT_F64, &columns[c], err);
    if (*err) return;
    for (int64_t i = time.size - last; i < time.size; i++) {
        low = fmin(low, demo_number(&columns[2], i));
        high = fmax(high, demo_number(&columns[1], i));
    }
    printf("%-10s%9s%9s%9s%9s%11s   $%-8.0f%*.0f\n", "week to", "open", "high", "low", "close", "volume, M", low, CHART - 9, high);
    for (int64_t i = time.size - last; i < time.size; i++) {
        for (int c = 0; c < 5; c++) bar[c] = demo_number(&columns[c], i);
        draw_candle(chart, bar, low, high);
        printf("%s%9.2f%9.2f%9.2f%9.2f%11.2f   %s\n", demo_date(&time, i), bar[0], bar[1], bar[2], bar[3], bar[4] / 1e6, chart);
    }
}

void demo_print_matrix(const krait_value *matrix, const krait_value *names, krait_error **err) {
    krait_array cells;
    krait_get_array(matrix, KRAIT_F64, 2, &cells, err);
    if (*err) return;
    for (int64_t row = -1; row < cells.shape[0]; row++) {
        printf("%-10s", row < 0 ? "" : demo_name(names, (size_t)row, err));
        for (int64_t column = 0; column < cells.shape[1]; column++)
            if (row < 0) printf("%9s", demo_name(names, (size_t)column, err));
            else printf("%9.2f", ((double *)cells.data)[row * cells.shape[1] + column]);
        printf("\n");
    }
}
