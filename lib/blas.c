#include "blas.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

/* Functions that set and get, in the spellings of numpy's wheels, scipy's, Debian's and conda's builds. */
static const struct {
    const char *library, *set, *get;
} known[] = {
    { "OpenBLAS", "scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_" },
    { "OpenBLAS", "scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads" },
    { "OpenBLAS", "openblas_set_num_threads64_", "openblas_get_num_threads64_" },
    { "OpenBLAS", "openblas_set_num_threads", "openblas_get_num_threads" },
    { "MKL", "MKL_Set_Num_Threads", "MKL_Get_Max_Threads" },
    { "BLIS", "bli_thread_set_num_threads", "bli_thread_get_num_threads" },
};

typedef struct search {
    const char *library;
    void (*set)(int threads);
    int (*get)(void);
} search;

/* Debian's libblas.so.3 is OpenBLAS under another name, so any file with "blas" in its name is asked for each spelling.
 */
static bool look(void *user, const char *path) {
    search     *found = user;
    const char *name = strrchr(path, '/');
    void       *handle;
    name = name ? name + 1 : path;
    if (!strstr(name, "blas") && !strstr(name, "mkl_rt") && !strstr(name, "blis")) return false;
    handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    for (size_t i = 0; handle && i < sizeof known / sizeof *known && !found->set; i++) {
        void *set = dlsym(handle, known[i].set), *get = dlsym(handle, known[i].get);
        if (!set || !get) continue;
        memcpy(&found->set, &set, sizeof set);
        memcpy(&found->get, &get, sizeof get);
        found->library = known[i].library;
    }
    if (handle) dlclose(handle);
    return found->set != NULL;
}

static bool environment_says(void) {
    static const char *const names[] = { "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                                         "OMP_NUM_THREADS" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return true;
    }
    return false;
}

void krait__blas_limit(int wanted) {
    search found = { 0 };
    if (wanted <= 0 && environment_says()) return;
    krait__os_each_library(look, &found);
    if (found.set) found.set(wanted > 0 ? wanted : (int)krait__os_cpus());
}

int krait__blas_threads(const char **name) {
    search found = { 0 };
    krait__os_each_library(look, &found);
    *name = found.library ? found.library : "";
    return found.get ? found.get() : -1;
}
