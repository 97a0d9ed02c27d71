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

typedef struct method {
    const char *name;
    object *(*call)(object *self, object *argument);
    int         flags;
    const char *doc;
} method;

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
    X(object *, PyObject_VectorcallMethod, (object *, object *const *, size_t, object *))                              \
    X(object *, PyObject_GetItem, (object *, object *))                                                                \
    X(object *, PyObject_GetAttr, (object *, object *))                                                                \
    X(object *, PyDict_New, (void))                                                                                    \
    X(int, PyDict_SetItem, (object *, object *, object *))                                                             \
    X(object *, PyTuple_New, (ssize_t))                                                                                \
    X(int, PyTuple_SetItem, (object *, ssize_t, object *))                                                             \
    X(object *, PyUnicode_InternFromString, (const char *))                                                            \
    X(object *, PyLong_FromLongLong, (long long))                                                                      \
    X(object *, PyLong_FromVoidPtr, (void *))                                                                          \
    X(object *, PyCFunction_NewEx, (method *, object *, object *))                                                     \
    X(void, PyErr_SetString, (object *, const char *))                                                                 \
    X(void, PyErr_Clear, (void))                                                                                       \
    X(void, PyErr_Print, (void))

static struct {
#define FIELD(type, name, args) type(*name) args;
    FUNCTIONS(FIELD)
#undef FIELD
    object *PyFloat_Type, *_Py_FalseStruct, **PyExc_TypeError;
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
enum { TP_DEALLOC = 52, FILE_INPUT = 257, METHOD_ONE_ARGUMENT = 8 };
#define ARGUMENTS_OFFSET ((size_t)1 << 63)

static void         *interpreter;
static thread_state *kept; /* of the one thread that works; made there: 3.11 takes it for the state of its maker */
static object       *same, *fixed, *owner_type;
static double        ticks[BENCH_LENGTH];

static int64_t failed(const char *why) {
    fprintf(stderr, "limit: %s\n", why);
    return BENCH_FAILED;
}

static void make_state(void) {
    if (!kept) kept = py.PyThreadState_New(interpreter);
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
    make_state();
    py.PyEval_RestoreThread(kept);
    start = bench_now();
    for (int64_t i = 0; i < n; i++)
        if (!call((double)i, &result) || result != (double)i) return BENCH_FAILED;
    start = bench_now() - start;
    kept = py.PyEval_SaveThread();
    return start;
}

static int64_t call_foreign_thread(int64_t n) {
    int64_t start = (make_state(), bench_now());
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

static bool is_expected(const object *out, ssize_t length) {
    const array *a = (const array *)(const void *)out;
    return out->type == np.array_type && a->descr == np.float64 && a->ndim == 1 && a->shape[0] == length &&
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
    if (!is_expected(out, BENCH_LENGTH)) {
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
    make_state();
    py.PyEval_RestoreThread(kept);
    start = bench_now();
    for (int64_t i = 0; i < n; i++)
        if (!call_array(&sum)) return BENCH_FAILED;
    start = bench_now() - start;
    kept = py.PyEval_SaveThread();
    return sum != 0 ? BENCH_FAILED : start;
}

/* ---- what the figures of tables, text, objects and callbacks need ------------------------------------------------ */

/* The same functions, and what is handed over by pyarrow: two structs each way, by their addresses. */
static const char tables_source[] = BENCH_TABLES_SOURCE
    "import numpy as np\n"
    "def text(array, schema, array_back, schema_back):\n"
    "    import pyarrow as pa\n"
    "    column = pa.Array._import_from_c(array, schema)\n"
    "    dtype = pd.StringDtype('pyarrow', na_value=np.nan)\n"
    "    frame = same(pd.DataFrame({'name': dtype.__from_arrow__(column)}, copy=False))\n"
    "    frame['name'].array.__arrow_array__().chunk(0)._export_to_c(array_back, schema_back)\n";

static struct {
    object *same, *ask, *text, *model, *frame_type, *predict, *copy_keyword, *values, *names[BENCH_COLUMNS], *host;
} tables;

/* The host's function, as an extension module would have it: a float in, a float out. */
static object *last_price(object *self, object *argument) {
    (void)self;
    if (argument->type != py.PyFloat_Type) {
        py.PyErr_SetString(*py.PyExc_TypeError, "one price, please");
        return NULL;
    }
    return py.PyFloat_FromDouble(py.PyFloat_AsDouble(argument));
}

static bool prepare_tables(void) {
    static method about = { "last", last_price, METHOD_ONE_ARGUMENT, NULL };
    object       *code, *module, *model, *pandas;
    if (tables.same) return true;
    code = py.Py_CompileString(tables_source, BENCH_TABLES, FILE_INPUT);
    module = code ? py.PyImport_ExecCodeModule(BENCH_TABLES, code) : NULL;
    pandas = module ? py.PyImport_ImportModule("pandas") : NULL;
    if (!pandas || !(model = py.PyObject_GetAttrString(module, "Model"))) return raised();
    tables.model = py.PyObject_Vectorcall(model, NULL, 0, NULL);
    tables.ask = py.PyObject_GetAttrString(module, "ask");
    tables.text = py.PyObject_GetAttrString(module, "text");
    tables.frame_type = py.PyObject_GetAttrString(pandas, "DataFrame");
    tables.predict = py.PyUnicode_InternFromString("predict");
    tables.values = py.PyUnicode_InternFromString("values");
    tables.copy_keyword = py.PyTuple_New(1);
    py.PyTuple_SetItem(tables.copy_keyword, 0, py.PyUnicode_InternFromString("copy"));
    for (int i = 0; i < BENCH_COLUMNS; i++) tables.names[i] = py.PyUnicode_InternFromString((char[]){ (char)('a' + i), 0 });
    tables.host = py.PyCFunction_NewEx(&about, NULL, NULL);
    tables.same = py.PyObject_GetAttrString(module, "same");
    return (tables.model && tables.ask && tables.text && tables.frame_type && tables.host && tables.same) || raised();
}

/* Runs `once` n times with the interpreter held. */
static int64_t held(int64_t n, bool (*once)(void)) {
    int64_t start;
    make_state();
    py.PyEval_RestoreThread(kept);
    if (!prepare_tables()) return BENCH_FAILED;
    start = bench_now();
    for (int64_t i = 0; i < n; i++)
        if (!once()) return BENCH_FAILED;
    start = bench_now() - start;
    kept = py.PyEval_SaveThread();
    return start;
}

/* ---- a table in, a table out ------------------------------------------------------------------------------------- */

static object *frame_over(double *data, bool *returned) {
    object *args[3] = { NULL, py.PyDict_New(), py._Py_FalseStruct }, *frame = NULL;
    bool    good = args[1] != NULL;
    for (int i = 0; good && i < BENCH_COLUMNS; i++) {
        object *column = lend(data + (size_t)i * BENCH_ROWS, BENCH_ROWS, &returned[i]);
        good = column && !py.PyDict_SetItem(args[1], tables.names[i], column);
        if (column) py.Py_DecRef(column);
    }
    if (good) frame = py.PyObject_Vectorcall(tables.frame_type, args + 1, 1 | ARGUMENTS_OFFSET, tables.copy_keyword);
    if (args[1]) py.Py_DecRef(args[1]);
    return frame;
}

/* Adds the last element of each column, which must be a view of the memory that was lent. */
static bool read_frame(object *frame, const double *data, double *sum) {
    for (int i = 0; i < BENCH_COLUMNS; i++) {
        object *series = py.PyObject_GetItem(frame, tables.names[i]);
        object *values = series ? py.PyObject_GetAttr(series, tables.values) : NULL;
        bool    good = values && is_expected(values, BENCH_ROWS);
        if (good) {
            const double *column = (const double *)(const void *)((array *)(void *)values)->data;
            good = column == data + (size_t)i * BENCH_ROWS;
            *sum += column[BENCH_ROWS - 1];
        }
        if (values) py.Py_DecRef(values);
        else py.PyErr_Print();
        if (series) py.Py_DecRef(series);
        if (!good) return failed("expected a view of the lent column") == 0;
    }
    return true;
}

static bool table(void) {
    static double sum;
    double       *data = bench_columns();
    bool          returned[BENCH_COLUMNS] = { false }, good;
    object       *args[2] = { NULL, frame_over(data, returned) }, *out;
    if (!args[1]) return raised();
    out = py.PyObject_Vectorcall(tables.same, args + 1, 1 | ARGUMENTS_OFFSET, NULL);
    py.Py_DecRef(args[1]);
    if (!out) return raised();
    good = read_frame(out, data, &sum);
    py.Py_DecRef(out);
    for (int i = 0; good && i < BENCH_COLUMNS; i++) good = returned[i] || failed("Python kept a column") == 0;
    return good;
}

static int64_t table_held(int64_t n) {
    return held(n, table);
}

/* ---- text in, text out: Arrow's buffers made by hand, handed over by pyarrow ------------------------------------- */

struct ArrowSchema {
    const char          *format, *name, *metadata;
    int64_t              flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};
struct ArrowArray {
    int64_t             length, null_count, offset, n_buffers, n_children;
    const void        **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

static void release_schema(struct ArrowSchema *schema) {
    schema->release = NULL;
}

static void release_array(struct ArrowArray *given) {
    free((void *)(uintptr_t)given->buffers[1]);
    free((void *)(uintptr_t)given->buffers[2]);
    free((void *)given->buffers);
    given->release = NULL;
}

/* All texts in one block, with 64-bit offsets as pandas keeps them: one pass for their sizes, one to copy them. */
static bool put_together(const char *const *texts, struct ArrowArray *given) {
    const void **buffers = calloc(3, sizeof *buffers);
    int64_t     *offsets = malloc((BENCH_ROWS + 1) * sizeof *offsets);
    char        *data;
    if (!buffers || !offsets) return false;
    offsets[0] = 0;
    for (size_t i = 0; i < BENCH_ROWS; i++) offsets[i + 1] = offsets[i] + (int64_t)strlen(texts[i]);
    data = malloc((size_t)offsets[BENCH_ROWS]);
    if (!data) return false;
    for (size_t i = 0; i < BENCH_ROWS; i++) memcpy(data + offsets[i], texts[i], (size_t)(offsets[i + 1] - offsets[i]));
    buffers[1] = offsets;
    buffers[2] = data;
    *given = (struct ArrowArray){ .length = BENCH_ROWS, .n_buffers = 3, .buffers = buffers, .release = release_array };
    return true;
}

static bool read_texts(const struct ArrowArray *got, const char *format) {
    const int64_t *offsets = got->buffers[1];
    const char    *data = got->buffers[2];
    static size_t  sum;
    if (strcmp(format, "U") != 0 || got->length != BENCH_ROWS || got->offset)
        return failed("expected a large string array") == 0;
    for (size_t i = 0; i < BENCH_ROWS; i++)
        if (offsets[i + 1] > offsets[i]) sum += (size_t)(offsets[i + 1] - offsets[i]) + (unsigned char)data[offsets[i]];
    return sum > 0;
}

static bool text(void) {
    struct ArrowSchema schema = { .format = "U", .name = "name", .release = release_schema }, schema_back;
    struct ArrowArray  given, got;
    void              *places[4] = { &given, &schema, &got, &schema_back };
    object            *args[5] = { NULL }, *out;
    bool               good;
    if (!put_together(bench_texts(), &given)) return failed("no memory") == 0;
    for (int i = 0; i < 4; i++)
        if (!(args[1 + i] = py.PyLong_FromVoidPtr(places[i]))) return raised();
    out = py.PyObject_Vectorcall(tables.text, args + 1, 4 | ARGUMENTS_OFFSET, NULL);
    for (int i = 0; i < 4; i++) py.Py_DecRef(args[1 + i]);
    if (!out) return raised();
    py.Py_DecRef(out);
    good = read_texts(&got, schema_back.format);
    got.release(&got);
    schema_back.release(&schema_back);
    return good;
}

static int64_t text_held(int64_t n) {
    return held(n, text);
}

/* ---- Python calls C; C calls a method ---------------------------------------------------------------------------- */

static int64_t asked;

static bool ask(void) {
    object *args[3] = { NULL, tables.host, py.PyLong_FromLongLong(asked) };
    object *out = args[2] ? py.PyObject_Vectorcall(tables.ask, args + 1, 2 | ARGUMENTS_OFFSET, NULL) : NULL;
    if (args[2]) py.Py_DecRef(args[2]);
    if (!out) return raised();
    py.Py_DecRef(out);
    return true;
}

static int64_t callback(int64_t n) {
    asked = n;
    return held(1, ask);
}

static bool call_method(void) {
    static double x;
    object       *args[3] = { NULL, tables.model, py.PyFloat_FromDouble(++x) }, *out;
    bool          good;
    if (!args[2]) return raised();
    out = py.PyObject_VectorcallMethod(tables.predict, args + 1, 2 | ARGUMENTS_OFFSET, NULL);
    py.Py_DecRef(args[2]);
    if (!out) return raised();
    good = out->type == py.PyFloat_Type && py.PyFloat_AsDouble(out) == x;
    py.Py_DecRef(out);
    return good || failed("expected the same float") == 0;
}

static int64_t object_method(int64_t n) {
    return held(n, call_method);
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
    bool  all = library && find(library, "PyFloat_Type", &py.PyFloat_Type) &&
               find(library, "_Py_FalseStruct", &py._Py_FalseStruct) && find(library, "PyExc_TypeError", &py.PyExc_TypeError);
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
        { "table-1m-x-10", table_held },
        { "text-1m", text_held },
        { "callback", callback },
        { "object-method", object_method },
        { NULL, NULL },
    };
    if (argc != 3) return (fprintf(stderr, "usage: limit <libpython> <python executable>\n"), EXIT_FAILURE);
    if (!fill_table(argv[1]) || !start_python(argv[2]) || !load_numpy() || !prepare_functions()) return EXIT_FAILURE;
    interpreter = py.PyInterpreterState_Get();
    py.PyEval_SaveThread();
    return bench_serve(figures);
}
