/* The demo: a C program calls numpy, pandas and matplotlib as if they were a C library.
 *
 * usage: demo [picture.png [folder of demo_data.py and demo_report.py]] */
#include "demo.h"

#include <stdio.h>

static const double threshold = 4; /* sigmas that make a day unusual */

static void print_versions(krait_error **err) {
    krait_value out;
    const char *text;
    demo_call("demo_data:versions", NULL, 0, &out, err);
    krait_get_text(&out, &text, NULL, err);
    if (!*err) printf("krait %s, %s\n", krait_version(), text);
    krait_value_clear(&out);
}

/* All the elevations as one column, in the array where they lie. */
static void describe_elevations(const krait_value *data, krait_error **err) {
    static const char *const names[] = { "elevation, m" };
    const krait_value       *item;
    krait_value              out;
    krait_array              grid;
    krait_map_get(data, "elevation", &item, err);
    krait_get_array(item, KRAIT_I16, 2, &grid, err);
    if (*err) return;
    krait_arg args[] = { krait_pos(krait_vector_i16(grid.data, (size_t)grid.size)) };
    demo_call_timed("describe, 138632 elevations", "krait.analysis:describe", args, 1, &out, err);
    if (!*err) demo_heading("Jacksboro fault, a grid of %d x %d elevations", (int)grid.shape[0], (int)grid.shape[1]);
    demo_print_statistics(&out, names, err);
    krait_value_clear(&out);
}

/* Results go on as they are, the same Python objects. */
static void draw(const char *path, const krait_value *data, const krait_value *anomalies,
                 const krait_value *correlation, krait_error **err) {
    double      from = demo_now();
    krait_arg   args[] = { krait_pos(krait_str(path)), krait_pos(krait_borrow(data)),
                           krait_pos(krait_borrow(anomalies)), krait_pos(krait_borrow(correlation)),
                           krait_kw("threshold", krait_f64(threshold)) };
    krait_value out;
    const char *size;
    demo_call("demo_report:draw", args, 5, &out, err);
    krait_get_text(&out, &size, NULL, err);
    if (!*err) printf("\n%s: %s, drawn in %.1f s\n", path, size, demo_now() - from);
    krait_value_clear(&out);
}

static void print_metrics(krait_error **err) {
    krait_metrics m = { .size = sizeof m };
    krait_gc(err); /* releases what was cleared, which otherwise happens a little later */
    krait_metrics_get(&m, err);
    if (!*err)
        printf("%llu calls, %llu arrays copied, %llu results left\n", (unsigned long long)m.calls,
               (unsigned long long)m.copies, (unsigned long long)m.live_results);
}

int main(int argc, char **argv) {
    krait_error       *err = NULL;
    krait_value        data, anomalies = krait_none(), correlation = krait_none();
    const krait_value *google;
    krait_init(NULL, &err);
    krait_add_path(argc > 2 ? argv[2] : "examples", 0, &err);
    demo_call("demo_data:load", NULL, 0, &data, &err);
    krait_map_get(&data, "google", &google, &err);
    print_versions(&err);
    demo_google(google, threshold, &anomalies, &err);
    describe_elevations(&data, &err);
    demo_stocks(&data, &correlation, &err);
    if (!err) demo_print_times();
    draw(argc > 1 ? argv[1] : "demo.png", &data, &anomalies, &correlation, &err);
    krait_value_clear(&data);
    krait_value_clear(&anomalies);
    krait_value_clear(&correlation);
    print_metrics(&err);
    if (err) fprintf(stderr, "demo: %s: %s\n", krait_error_step(err), krait_error_message(err));
    return err ? krait_error_clear(&err), 1 : 0;
}
