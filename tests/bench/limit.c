/* The limit: the work of the bench written by hand on CPython's C API, as fast as a careful C programmer can make it
 * for these very functions.
 *
 * Functions found by dlsym, vectorcall, one kept thread state, lent memory owned by an object of a private type,
 * numpy's table by slot. It checks what a correct program must (every NULL, the result's type, dtype, shape and
 * layout, that lent memory came back) and is no more general than that: GIL builds of 64-bit CPython 3.11 to 3.13,
 * numpy 1.24 to 2.x, one float or one contiguous array.
 *
 *   limit <libpython> <python executable> */
#include "bench.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct object {
    ssize_t        count;
    struct object *type;
} object;

typedef struct array {
    object   head;
    char    *data;
    int      ndim;
    ssize_t *shape, *strides;
    object  *base, *descr;
    int      flags;
} array;

typedef struct thread_state thread_state;
typedef struct status {
    int         type;
    const char *function, *message;
    int         code;
} status;
typedef struct slot {
    int   number;
    void *value;
} slot;
typedef struct spec {
    const char *name;
    int         size, item_size;
    unsigned    flags;
    slot       *slots;
} spec;

/* Each function once: return type, name, arguments. */
#define FUNCTIONS(X)                                                                                                   \
    X(void, PyConfig_InitPythonConfig, (void *))                                                                       \
    X(status, PyConfig_SetBytesArgv, (void *, ssize_t, char *const *))                                                 \
    X(status, Py_InitializeFromConfig, (const void *))                                                                 \
    X(void *, PyInterpreterState_Get, (void))                                                                          \
    X(thread_state *, PyThreadState_New, (void *))                                                                     \
    X(void, PyEval_RestoreThread, (thread_state *))                                                                    \
    X(thread_state *, PyEval_SaveThread, (void))                                                                       \
    X(int, PyGILState_Ensure, (void))                                                                                  \
    X(void, PyGILState_Release, (int))                                                                                 \
    X(object *, Py_CompileString, (const char *, const char *, int))                                                   \
    X(object *, PyImport_ExecCodeModule, (const char *, object *))                                                     \
    X(object *, PyImport_ImportModule, (const char *))                                                                 \
    X(object *, PyObject_GetAttrString, (object *, const char *))                                                      \
    X(void *, PyCapsule_GetPointer, (object *, const char *))                                                          \
    X(object *, PyType_FromSpec, (spec *))                                                                             \
    X(object *, _PyObject_New, (object *))                                                                             \
    X(void, PyObject_Free, (void *))                                                                                   \
    X(void, Py_IncRef, (object *))                                                                                     \
    X(void, Py_DecRef, (object *))                                                                                     \
    X(object *, PyFloat_FromDouble, (double))                                                                          \
    X(double, PyFloat_AsDouble, (object *))                                                                            \
    X(object *, PyObject_Vectorcall, (object *, object *const *, size_t, object *))                                    \
    X(void, PyErr_Clear, (void))                                                                                       \
    X(void, PyErr_Print, (void))

static struct {
#define FIELD(type, name, args) type(*name) args;
    FUNCTIONS(FIELD)
#undef FIELD
    object *PyFloat_Type;
} py;

static struct {
    object *array_type, *float64;
    object *(*new_from_descr)(object *type, object *descr, int ndim, const ssize_t *shape, const ssize_t *strides,
                              void *data, int flags, object *like);
    int (*set_base)(array *on, object *base);
} np;

enum { SLOT_ARRAY_TYPE = 2, SLOT_DESCR_FROM_TYPE = 45, SLOT_NEW_FROM_DESCR = 94, SLOT_SET_BASE = 282 };
enum { NUMBER_OF_FLOAT64 = 12 };
enum { C_CONTIGUOUS = 0x1, ALIGNED = 0x100, PLAIN = C_CONTIGUOUS | ALIGNED };
enum { TP_DEALLOC = 52, FILE_INPUT = 257 };
#define ARGUMENTS_OFFSET ((size_t)1 << 63)

static thread_state *kept;
static object       *same, *fixed, *owner_type;
static double        ticks[BENCH_LENGTH];

static int64_t failed(const char *why) {
    fprintf(stderr, "limit: %s\n", why);
    return BENCH_FAILED;
}

static bool raised(void) {
    py.PyErr_Print();
    return false;
}

/* ---- one float in, one out --------------------------------------------------------------------------------------- */

static inline bool call(double x, double *result) {
    object *args[2], *out;
    args[1] = py.PyFloat_FromDouble(x);
    if (!args[1]) return raised();
    out = py.PyObject_Vectorcall(same, args + 1, 1 | ARGUMENTS_OFFSET, NULL);
    py.Py_DecRef(args[1]);
    if (!out) return raised();
    if (out->type != py.PyFloat_Type) {
        py.Py_DecRef(out);
        return failed("expected a float") == 0;
    }
    *result = py.PyFloat_AsDouble(out);
    py.Py_DecRef(out);
    return true;
}

static int64_t call_held(int64_t n) {
    int64_t start;
    double  result;
    py.PyEval_RestoreThread(kept);
    start = bench_now();
    for (int64_t i = 0; i < n; i++)
        if (!call((double)i, &result) || result != (double)i) return BENCH_FAILED;
    start = bench_now() - start;
    kept = py.PyEval_SaveThread();
    return start;
}

static int64_t call_foreign_thread(int64_t n) {
    int64_t start = bench_now();
    double  result;
    for (int64_t i = 0; i < n; i++) {
        bool good;
        py.PyEval_RestoreThread(kept);
        good = call((double)i, &result);
        kept = py.PyEval_SaveThread();
        if (!good || result != (double)i) return BENCH_FAILED;
    }
    return bench_now() - start;
}

/* ---- the peer ensure-release: as documented, on a thread that has no state of its own ---------------------------- */

typedef struct ensure_job {
    int64_t n, took;
} ensure_job;

static void *ensure_each_time(void *user) {
    ensure_job *job = user;
    int64_t     start = bench_now();
    double      result;
    job->took = BENCH_FAILED;
    for (int64_t i = 0; i < job->n; i++) {
        int  state = py.PyGILState_Ensure();
        bool good = call((double)i, &result);
        py.PyGILState_Release(state);
        if (!good || result != (double)i) return NULL;
    }
    job->took = bench_now() - start;
    return NULL;
}

static int64_t ensure_release(int64_t n) {
    ensure_job job = { n, BENCH_FAILED };
    pthread_t  thread;
    if (pthread_create(&thread, NULL, ensure_each_time, &job)) return failed("no thread");
    pthread_join(thread, NULL);
    return job.took;
}

/* ---- an array in, an array out ----------------------------------------------------------------------------------- */

/* Stands under an array over lent memory; when it dies, Python has let the memory go. */
typedef struct owner {
    object head;
    bool  *returned;
} owner;

static void owner_dealloc(object *self) {
    object *type = self->type;
    *((owner *)(void *)self)->returned = true;
    py.PyObject_Free(self);
    py.Py_DecRef(type);
}

static object *lend(double *data, ssize_t length, bool *returned) {
    owner  *base = (owner *)(void *)py._PyObject_New(owner_type);
    object *out;
    if (!base) return NULL;
    base->returned = returned;
    py.Py_IncRef(np.float64);
    out = np.new_from_descr(np.array_type, np.float64, 1, &length, NULL, data, 0, NULL);
    if (!out) {
        py.Py_DecRef(&base->head);
        return NULL;
    }
    if (np.set_base((array *)(void *)out, &base->head)) { /* takes base over, also when it fails */
        py.Py_DecRef(out);
        return NULL;
    }
    return out;
}

static bool is_expected(const object *out) {
    const array *a = (const array *)(const void *)out;
    return out->type == np.array_type && a->descr == np.float64 && a->ndim == 1 && a->shape[0] == BENCH_LENGTH &&
           (a->flags & PLAIN) == PLAIN;
}

/* The result is dropped only after it was read, and the lent memory must be back when both are dropped: so no overlap
 * need be looked for. */
static inline bool call_array(double *last) {
    bool    returned = false;
    object *args[2], *out;
    args[1] = lend(ticks, BENCH_LENGTH, &returned);
    if (!args[1]) return raised();
    out = py.PyObject_Vectorcall(fixed, args + 1, 1 | ARGUMENTS_OFFSET, NULL);
    py.Py_DecRef(args[1]);
    if (!out) return raised();
    if (!is_expected(out)) {
        py.Py_DecRef(out);
        return failed("expected an array of 1000 float64") == 0;
    }
    *last += ((const double *)(const void *)((array *)(void *)out)->data)[BENCH_LENGTH - 1];
    py.Py_DecRef(out);
    return returned || failed("Python kept the array") == 0;
}

static int64_t array_8k(int64_t n) {
    int64_t start;
    double  sum = 0;
    py.PyEval_RestoreThread(kept);
    start = bench_now();
    for (int64_t i = 0; i < n; i++)
        if (!call_array(&sum)) return BENCH_FAILED;
    start = bench_now() - start;
    kept = py.PyEval_SaveThread();
    return sum != 0 ? BENCH_FAILED : start;
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static bool find(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    if (!address) fprintf(stderr, "limit: no symbol %s\n", name);
    return address != NULL;
}

static bool fill_table(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    bool  all = library && find(library, "PyFloat_Type", &py.PyFloat_Type);
    if (!library) fprintf(stderr, "limit: %s\n", dlerror());
#define FIND(type, name, args) all = all && find(library, #name, &py.name);
    FUNCTIONS(FIND)
#undef FIND
    return all;
}

/* PyConfig as an opaque block larger than any version's; the executable's name leads Python to its venv. */
static bool start_python(char *executable) {
    static long config[512];
    status      result;
    py.PyConfig_InitPythonConfig(config);
    result = py.PyConfig_SetBytesArgv(config, 1, &executable);
    if (!result.type) result = py.Py_InitializeFromConfig(config);
    if (result.type) fprintf(stderr, "limit: Python did not start: %s\n", result.message ? result.message : "");
    return result.type == 0;
}

static bool load_numpy(void) {
    object *module = py.PyImport_ImportModule("numpy._core._multiarray_umath"), *capsule;
    void  **slots;
    object *(*descr_from_type)(int number);
    if (!module) {
        py.PyErr_Clear();
        module = py.PyImport_ImportModule("numpy.core._multiarray_umath");
    }
    capsule = module ? py.PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
    slots = capsule ? py.PyCapsule_GetPointer(capsule, NULL) : NULL;
    if (!slots) return raised();
    np.array_type = slots[SLOT_ARRAY_TYPE];
    memcpy(&descr_from_type, &slots[SLOT_DESCR_FROM_TYPE], sizeof descr_from_type);
    memcpy(&np.new_from_descr, &slots[SLOT_NEW_FROM_DESCR], sizeof np.new_from_descr);
    memcpy(&np.set_base, &slots[SLOT_SET_BASE], sizeof np.set_base);
    np.float64 = descr_from_type(NUMBER_OF_FLOAT64);
    return np.float64 || raised();
}

static bool prepare_functions(void) {
    void (*dealloc)(object *) = owner_dealloc;
    slot    slots[] = { { TP_DEALLOC, NULL }, { 0, NULL } };
    spec    about = { "bench.Owner", sizeof(owner), 0, 0, slots };
    object *code = py.Py_CompileString(BENCH_SOURCE, BENCH_MODULE, FILE_INPUT);
    object *module = code ? py.PyImport_ExecCodeModule(BENCH_MODULE, code) : NULL;
    memcpy(&slots[0].value, &dealloc, sizeof dealloc);
    owner_type = py.PyType_FromSpec(&about);
    same = module ? py.PyObject_GetAttrString(module, "same") : NULL;
    fixed = module ? py.PyObject_GetAttrString(module, "fixed") : NULL;
    return (owner_type && same && fixed) || raised();
}

int main(int argc, char **argv) {
    static const bench_figure figures[] = {
        { "call-held", call_held },
        { "call-foreign-thread", call_foreign_thread },
        { "ensure-release", ensure_release },
        { "array-8k", array_8k },
        { NULL, NULL },
    };
    if (argc != 3) return (fprintf(stderr, "usage: limit <libpython> <python executable>\n"), EXIT_FAILURE);
    if (!fill_table(argv[1]) || !start_python(argv[2]) || !load_numpy() || !prepare_functions()) return EXIT_FAILURE;
    kept = py.PyThreadState_New(py.PyInterpreterState_Get());
    if (!kept) return EXIT_FAILURE;
    py.PyEval_SaveThread();
    return bench_serve(figures);
}
