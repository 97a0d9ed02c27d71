/* A table with text, dates and missing values goes into pandas; a table comes back. */
#include <krait.h>
#include <stdio.h>

enum { ROWS = 6 };

static const char source[] = "def by_city(orders):\n"
                             "    by = orders.groupby('city', as_index=False)\n"
                             "    return by.agg(orders=('amount', 'size'), paid=('amount', 'sum'),\n"
                             "                  last=('day', 'max'))\n";

static void show(const krait_table *table, krait_error **err) {
    krait_column city, columns[3];
    krait_array  orders, paid, last;
    krait_table_find(table, "city", &city, err);
    krait_table_find(table, "orders", &columns[0], err);
    krait_table_find(table, "paid", &columns[1], err);
    krait_table_find(table, "last", &columns[2], err);
    krait_column_array(&columns[0], KRAIT_I64, true, &orders, err);
    krait_column_array(&columns[1], KRAIT_F64, true, &paid, err); /* may have missing values, as `amount` has */
    krait_column_array(&columns[2], KRAIT_DATETIME, false, &last, err);
    for (int64_t row = 0; row < krait_table_rows(table) && !*err; row++) {
        size_t      size;
        const char *name = krait_column_text(&city, row, &size);
        krait_value time = krait_time(last.dtype, ((int64_t *)last.data)[row]); /* in whatever unit this pandas has */
        int64_t     days = 0;
        krait_get_ticks(&time, KRAIT_DATETIME, KRAIT_DAY, &days, err);
        printf("%.*s: %lld orders, %.2f paid, the last %lld days into 2024\n", (int)size, name,
               (long long)((int64_t *)orders.data)[row], ((double *)paid.data)[row], (long long)days - 19723);
    }
}

int main(void) {
    const char *cities[ROWS] = { "Bergen", "Kraków", "Bergen", NULL, "Kraków", "Bergen" };
    double      amounts[ROWS] = { 12.5, 8, 30, 99, 0, 7.5 };
    bool        paid[ROWS] = { true, true, true, true, false, true }; /* the amount of one is not known */
    int64_t     days[ROWS] = { 19723, 19724, 19730, 19731, 19740, 19741 };
    krait_value has_amount = krait_vector_bool(paid, ROWS), out;
    krait_error *err = NULL;
    const krait_table *result = NULL;

    krait_init(NULL, &err);
    krait_module_from_source("orders", source, &err);
    krait_func  *by_city = krait_func_new("orders:by_city", &err);
    krait_table *table = krait_table_new(&err);
    krait_table_add_strings(table, "city", cities, ROWS, &err);
    krait_table_add(table, "amount", krait_vector_f64(amounts, ROWS), &has_amount, &err);
    krait_table_add(table, "day", krait_vector(days, krait_datetime(KRAIT_DAY, 1), ROWS), NULL, &err);
    krait_arg args[] = { krait_pos(krait_table_value(table)) };
    krait_call(by_city, args, 1, NULL, &out, &err);
    krait_get_table(&out, &result, &err);
    if (!err) show(result, &err);
    krait_value_clear(&out);
    krait_table_free(table);
    krait_func_unref(by_city);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? krait_error_clear(&err), 1 : 0;
}
