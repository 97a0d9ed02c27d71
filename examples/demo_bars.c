/* Bars of krait.analysis:resample_ohlc as numbers and as candles. */
#include "demo.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { OPEN, HIGH, LOW, CLOSE, VOLUME, FIELDS, CHART = 37 };

/* "--===-": the line is the range, the body goes from open to close, of = when it rose and of # when it fell. */
static void draw_candle(char *text, const double *bar, double low, double high) {
    int at[4];
    for (int i = 0; i < 4; i++) at[i] = (int)lround((bar[i] - low) / (high - low) * (CHART - 1));
    memset(text, ' ', CHART);
    text[CHART] = '\0';
    for (int x = at[LOW]; x <= at[HIGH]; x++) text[x] = '-';
    for (int x = at[OPEN]; x <= at[CLOSE]; x++) text[x] = '=';
    for (int x = at[CLOSE]; x <= at[OPEN] && at[CLOSE] < at[OPEN]; x++) text[x] = '#';
}

/* The last so many bars. */
void demo_print_bars(const krait_value *bars, int64_t last, krait_error **err) {
    static const char *const names[] = { "open", "high", "low", "close", "volume" };
    krait_array              time, columns[FIELDS];
    double                   bar[FIELDS], low = INFINITY, high = 0;
    char                     candle[CHART + 1];
    krait_get_column(bars, "time", KRAIT_DATETIME, &time, err);
    for (int f = 0; f < FIELDS; f++) krait_get_column(bars, names[f], KRAIT_F64, &columns[f], err);
    if (*err) return;
    int64_t first = time.size > last ? time.size - last : 0;
    for (int64_t i = first; i < time.size; i++) {
        low = fmin(low, demo_number(&columns[LOW], i));
        high = fmax(high, demo_number(&columns[HIGH], i));
    }
    printf("%-10s%9s%9s%9s%9s%11s   ", "week to", "open", "high", "low", "close", "volume, M");
    printf("%-8.0f%*.0f\n", low, CHART - 8, high);
    for (int64_t i = first; i < time.size; i++) {
        for (int f = 0; f < FIELDS; f++) bar[f] = demo_number(&columns[f], i);
        draw_candle(candle, bar, low, high);
        printf("%s%9.2f%9.2f%9.2f%9.2f", demo_date(&time, i), bar[OPEN], bar[HIGH], bar[LOW], bar[CLOSE]);
        printf("%11.2f   %s\n", bar[VOLUME] / 1e6, candle);
    }
}
