/* Small things that the demo needs in several places. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void demo_call(const char *function, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    krait_func *func = krait_func_new(function, err);
    krait_call(func, args, n, NULL, out, err);
    krait_func_unref(func);
}

static const void *element(const krait_array *array, int64_t i) {
    return (const char *)array->data + i * array->strides[0]; /* a field is strided over the records */
}

double demo_number(const krait_array *array, int64_t i) {
    const void *at = element(array, i);
    return array->dtype.code == KRAIT_I64 ? (double)*(const int64_t *)at : *(const double *)at;
}

static int64_t ticks_per_second(uint8_t unit) {
    return unit == KRAIT_NS ? 1000000000 : unit == KRAIT_US ? 1000000 : unit == KRAIT_MS ? 1000 : 1;
}

/* A datetime64 counts ticks since 1970 in a unit that depends on the data, and on the version of pandas. */
const char *demo_date(const krait_array *times, int64_t i) {
    static char text[16];
    uint8_t     unit = times->dtype.unit;
    int64_t     ticks = *(const int64_t *)element(times, i);
    time_t      seconds = unit == KRAIT_DAY ? ticks * 86400 : ticks / ticks_per_second(unit);
    struct tm   date;
    strftime(text, sizeof text, "%Y-%m-%d", gmtime_r(&seconds, &date));
    return text;
}

const char *demo_name(const krait_value *names, size_t i, krait_error **err) {
    const krait_value *item;
    const char        *text = NULL;
    krait_list_at(names, i, &item, err);
    krait_get_text(item, &text, NULL, err);
    return text ? text : "";
}

void *demo_alloc(int64_t count, size_t size) {
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);
    if (memory) return memory;
    fprintf(stderr, "demo: out of memory\n");
    exit(1);
}
