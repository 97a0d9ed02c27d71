/* An array of C structs becomes a DataFrame, one column a field, without a copy; pandas makes bars of it. */
#include <inttypes.h>
#include <krait.h>
#include <stdio.h>

enum { TICKS = 9000 };

struct tick {
    int64_t time; /* ns since 1970 */
    double  price;
    int64_t size;
    char    symbol[4]; /* the padding behind it belongs to nobody */
};

static const char source[] = "def bars(ticks, every):\n"
                             "    by = ticks.set_index('time').groupby('symbol')\n"
                             "    bars = by['price'].resample(every).ohlc()\n"
                             "    return bars.assign(size=by['size'].resample(every).sum())\n";

static void make(struct tick *ticks) {
    const int64_t start = INT64_C(1700000000) * 1000000000; /* 2023-11-14 22:13:20 */
    for (int i = 0; i < TICKS; i++) {
        ticks[i].time = start + (int64_t)i * 20000000;
        ticks[i].price = 100 + (i * 7919 % 1000) / 100.0;
        ticks[i].size = 1 + i % 5;
        snprintf(ticks[i].symbol, sizeof ticks[i].symbol, "%s", i % 3 ? "KRT" : "ABC");
    }
}

static void show(const krait_table *table, krait_error **err) {
    krait_column symbol, time, column;
    krait_array  t, c;
    size_t       size;
    krait_table_index(table, 0, &symbol, err);
    krait_table_index(table, 1, &time, err);
    krait_column_array(&time, KRAIT_DATETIME, false, &t, err);
    for (int64_t row = 0; row < krait_table_rows(table) && !*err; row++) {
        const char *text = krait_column_text(&symbol, row, &size);
        printf("%.*s %" PRId64, (int)size, text, ((int64_t *)t.data)[row] / 1000000000);
        for (size_t i = 0; i < krait_table_column_count(table); i++) {
            krait_table_column(table, i, &column, err);
            if (krait_column_array(&column, KRAIT_ANY, false, &c, err)) return;
            const char *cell = (const char *)c.data + row * c.strides[0];
            if (c.dtype.code == KRAIT_F64) printf("  %s %6.2f", column.name, *(const double *)cell);
            else printf("  %s %4" PRId64, column.name, *(const int64_t *)cell);
        }
        printf("\n");
    }
}

int main(void) {
    static struct tick ticks[TICKS];
    const krait_member members[] = {
        KRAIT_FIELD_OF(struct tick, time, krait_datetime(KRAIT_NS, 1)),
        KRAIT_FIELD(struct tick, price, krait_f64_type),
        KRAIT_FIELD(struct tick, size, krait_i64_type),
        KRAIT_FIELD_CHARS(struct tick, symbol),
    };
    krait_error       *err = NULL;
    krait_value        out;
    const krait_table *result = NULL;

    make(ticks);
    krait_init(NULL, &err);
    krait_module_from_source("bars", source, &err);
    krait_func   *bars = krait_func_new("bars:bars", &err);
    krait_struct *tick = krait_struct_new(members, 4, sizeof *ticks, &err);
    krait_table  *table = krait_table_new(&err);
    krait_table_add_structs(table, krait_structs(ticks, TICKS, tick), &err);
    krait_arg args[] = { krait_pos(krait_table_value(table)), krait_pos(krait_str("60s")) };
    krait_call(bars, args, 2, NULL, &out, &err);
    krait_get_table(&out, &result, &err);
    if (!err) show(result, &err);
    krait_value_clear(&out);
    krait_table_free(table);
    krait_struct_free(tick);
    krait_func_unref(bars);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? krait_error_clear(&err), 1 : 0;
}
