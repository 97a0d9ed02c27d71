/* What a failed call tells: every part of an error, and why one check at the end is enough. */
#include <krait.h>
#include <stdio.h>

static const char source[] = "def load(path):\n"
                             "    with open(path) as file:\n"
                             "        return file.read()\n"
                             "\n"
                             "def value_at_risk(path):\n"
                             "    try:\n"
                             "        return load(path)\n"
                             "    except OSError as missing:\n"
                             "        error = ValueError('no prices for 2024-02-30')\n"
                             "        error.add_note('prices are written at 18:00')\n"
                             "        raise error from missing\n";

static void print_error(const krait_error *err) {
    const krait_frame *frames;
    size_t             n = krait_error_frames(err, &frames);
    krait_status       status = krait_error_status(err);
    printf("  status   %s: %s\n", krait_status_name(status), krait_status_text(status));
    if (*krait_error_step(err)) printf("  step     %s\n", krait_error_step(err));
    printf("  message  %s\n", krait_error_message(err));
    if (krait_error_python_type(err)) printf("  type     %s\n", krait_error_python_type(err));
    for (size_t i = 0; i < n; i++)
        printf("  frame    %s:%d in %s\n", frames[i].file, frames[i].line, frames[i].function);
    for (size_t i = 0; i < krait_error_note_count(err); i++) printf("  note     %s\n", krait_error_note(err, i));
    if (krait_error_cause(err)) {
        printf("caused by\n");
        print_error(krait_error_cause(err));
    }
}

/* For a log: one line, whatever the message holds. */
static void print_json(const krait_error *err) {
    char   line[8192];
    size_t size = krait_error_json(err, line, sizeof line);
    printf("\nThe same as JSON, %s: %.76s...\n", size < sizeof line ? "whole" : "cut", line);
}

/* Two mistakes; the first one stays, and what comes after it does nothing. */
static void show_sticking(krait_func *func, krait_error **err) {
    krait_arg   args[] = { krait_pos(krait_vector_f64(NULL, 3)) };
    krait_value out;
    krait_array array;
    double      number;
    krait_call(func, args, 1, NULL, &out, err);       /* refused: three elements at NULL */
    krait_get_array(&out, KRAIT_F64, 1, &array, err); /* with *err set nothing is done, the outputs are empty */
    krait_get_f64(&out, &number, err);
    printf("\nThree calls later, the first mistake:\n");
    print_error(*err);
    printf("  outputs  kind %d, %lld elements, %g\n", out.kind, (long long)array.size, number);
    krait_value_clear(&out);
    krait_error_clear(err);
}

int main(void) {
    krait_error *err = NULL;
    krait_value  out;
    krait_init(NULL, &err);
    krait_module_from_source("risk", source, &err);
    krait_func *func = krait_func_new("risk:value_at_risk", &err);
    if (err) {
        fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
        krait_error_clear(&err);
        return 1;
    }
    krait_arg args[] = { krait_pos(krait_str("/no/such/file")) };
    krait_call(func, args, 1, NULL, &out, &err);
    printf("risk:value_at_risk raised:\n");
    print_error(err);
    printf("\nThe traceback as Python prints it:\n%s", krait_error_traceback(err));
    print_json(err);
    krait_error_clear(&err);
    show_sticking(func, &err);
    krait_func_unref(func);
    return 0;
}
