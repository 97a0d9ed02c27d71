/* The example of the README: a C array through a numpy function, without a copy. */
#include <krait.h>
#include <stdio.h>

int main(void) {
    double       ticks[] = { 1, 10, 2, 20, 3, 60 };
    krait_error *err = NULL;
    krait_value  out;
    krait_array  z;

    krait_init(NULL, &err);
    krait_func *normalize = krait_func_new("krait.analysis:normalize", &err);
    krait_arg   args[] = { krait_pos(krait_matrix_f64(ticks, 3, 2)), krait_kw("ddof", krait_i64(1)) };
    krait_call(normalize, args, 2, NULL, &out, &err);
    krait_get_array(&out, KRAIT_F64, 2, &z, &err);
    if (err) {
        fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
        krait_error_clear(&err);
        return 1;
    }
    for (int64_t row = 0; row < z.shape[0]; row++)
        printf("%6.3f %6.3f\n", ((double *)z.data)[2 * row], ((double *)z.data)[2 * row + 1]);
    krait_value_clear(&out);
    krait_func_unref(normalize);
    return 0;
}
