/* A host that has krait as a plugin: not linked, opened with RTLD_LOCAL, each function found by name. Pandas works all
 * the same, since krait loads Python so that the extension modules of numpy and pandas find its symbols. */
#include <dlfcn.h>
#include <krait.h>
#include <stdio.h>
#include <string.h>

/* The header is for types and inline makers; what is called is listed here. */
#define FUNCTIONS(X)                                                                                            \
    X(krait_init) X(krait_module_from_source) X(krait_func_new) X(krait_call) X(krait_func_unref)               \
    X(krait_get_column) X(krait_value_clear) X(krait_error_step) X(krait_error_message) X(krait_error_clear)    \
    X(krait_gc) X(krait_metrics_get) X(krait_version)

static struct {
#define FIELD(name) __typeof__(name) *name;
    FUNCTIONS(FIELD)
} k;

static const char source[] =
    "import pandas as pd\n"
    "def by_day(times, prices):\n"
    "    days = pd.Series(prices, index=pd.to_datetime(times)).resample('D')\n"
    "    return {'day': days.mean().index.to_numpy(), 'mean': days.mean().to_numpy(), 'max': days.max().to_numpy()}\n";

static int find_functions(void *library) {
    void *symbol;
#define FIND(name)                                               \
    if (!(symbol = dlsym(library, #name))) return -1;            \
    memcpy(&k.name, &symbol, sizeof symbol); /* ISO C has no cast for it */
    FUNCTIONS(FIND)
    return 0;
}

static void print_days(krait_error **err) {
    int64_t     times[] = { 0, 3600, 7200, 86400, 90000, 172800 }; /* seconds since 1970 */
    double      prices[] = { 10, 11, 12, 20, 22, 30 };
    krait_value out;
    krait_array mean, max;
    k.krait_module_from_source("plugin_rules", source, err);
    krait_func *by_day = k.krait_func_new("plugin_rules:by_day", err);
    krait_arg   args[] = { krait_pos(krait_vector(times, krait_datetime(KRAIT_S, 1), 6)),
                           krait_pos(krait_vector_f64(prices, 6)) };
    k.krait_call(by_day, args, 2, NULL, &out, err);
    k.krait_get_column(&out, "mean", KRAIT_F64, &mean, err);
    k.krait_get_column(&out, "max", KRAIT_F64, &max, err);
    for (int64_t i = 0; i < mean.size && !*err; i++)
        printf("day %lld: mean %4.1f, max %4.1f\n", (long long)i, ((double *)mean.data)[i], ((double *)max.data)[i]);
    k.krait_value_clear(&out);
    k.krait_func_unref(by_day);
}

int main(int argc, char **argv) {
    krait_error  *err = NULL;
    krait_metrics metrics = { .size = sizeof metrics };
    void         *library = dlopen(argc > 1 ? argv[1] : "build/libkrait.so", RTLD_LOCAL | RTLD_NOW);
    if (!library || find_functions(library) != 0) {
        fprintf(stderr, "plugin_host: %s\n", dlerror());
        return 1;
    }
    printf("krait %s by dlopen\n", k.krait_version());
    k.krait_init(NULL, &err);
    print_days(&err);
    k.krait_gc(&err); /* what was cleared is released a little later, or now */
    k.krait_metrics_get(&metrics, &err);
    if (err) {
        fprintf(stderr, "%s: %s\n", k.krait_error_step(err), k.krait_error_message(err));
        k.krait_error_clear(&err);
        return 1;
    }
    printf("%llu live results\n", (unsigned long long)metrics.live_results);
    return 0; /* no dlclose: krait stays until the process ends */
}
