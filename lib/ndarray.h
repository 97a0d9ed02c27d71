/* ndarray: numpy's C table, arrays over foreign memory, arrays as they lie in memory. Attached.
 *
 * The only file that knows numpy: table slots (facts 3) and the head of PyArrayObject (facts 4), whose place is
 * measured at load. */
#ifndef KRAIT_LIB_NDARRAY_H
#define KRAIT_LIB_NDARRAY_H

#include "pyapi.h"
#include "value.h"

typedef struct krait__numpy {
    PyTypeObject *array_type;
    PyTypeObject *generic_type;                      /* numpy.generic: the base of its scalars */
    PyObject     *descr[KRAIT_C128 + 1];             /* the builtin dtype of each code, native byte order */
    PyObject     *dtype_attr, *str_attr, *item_attr; /* interned names */
    size_t        head;                              /* offset of PyArrayObject's fields */
    unsigned      feature;                           /* C-API feature version */
    int           blas_threads;                      /* wanted: 0 default */
} krait__numpy;
extern krait__numpy krait__np;

/* numpy's own calls for the texts of StringDType arrays (its NpyString API, slots 313, 316, 318); NULL before numpy 2.
 * `allocator` is a lock: no Python while it is held. load: 0, 1 for a missing text, -1 with an exception set. */
typedef struct krait__numpy_text {
    size_t      size;
    const char *data;
} krait__numpy_text;
typedef struct krait__numpy_texts {
    int (*load)(void *allocator, const void *element, krait__numpy_text *text);
    void *(*acquire)(PyObject *descr);
    void (*release)(void *allocator);
} krait__numpy_texts;
extern krait__numpy_texts krait__np_texts;

/* Imports numpy and fills the table, once. KRAIT_E_NO_NUMPY with the traceback when that fails. */
krait_status krait__numpy_load(krait_error **err);

static inline bool krait__numpy_loaded(void) {
    return krait__np.array_type != NULL;
}

/* Is it an ndarray (or of a subclass)? False while numpy has not been imported by anybody. */
bool krait__is_array(PyObject *object);

/* The builtin numeric dtypes are one object each, so most arrays are known by a pointer; 0 for any other. */
static inline uint8_t krait__descr_code(PyObject *descr) {
    if (descr == krait__np.descr[KRAIT_F64]) return KRAIT_F64;
    for (uint8_t code = KRAIT_BOOL; code <= KRAIT_C128; code++)
        if (descr == krait__np.descr[code]) return code;
    return 0;
}

/* The head of PyArrayObject, and numpy's own flag bits; frozen since 1.7. */
typedef struct krait__array_head {
    char       *data;
    int         ndim;
    Py_ssize_t *shape, *strides;
    PyObject   *base, *descr;
    int         flags;
} krait__array_head;
enum {
    NPY_C = 0x1,
    NPY_F = 0x2,
    NPY_ENSURECOPY = 0x20,
    NPY_ENSUREARRAY = 0x40,
    NPY_ALIGNED = 0x100,
    NPY_NOTSWAPPED = 0x200,
    NPY_WRITABLE = 0x400
};

static inline krait__array_head *krait__head(PyObject *array) {
    return (krait__array_head *)((char *)array + krait__np.head);
}

/* A dtype object as krait_dtype. Fields of records are allocated: *fields is the caller's (NULL for others).
 * KRAIT_E_UNSUPPORTED names what numpy calls it. */
krait_status krait__descr_read(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, krait_error **err);

/* numpy's letter of a dtype's kind, 'O', 'T', ...; 0 with an exception set when it cannot be told. */
char krait__descr_kind(PyObject *descr);

/* Are its elements Python objects, or texts of StringDType? */
bool krait__descr_is_objects(PyObject *descr);

/* New reference to numpy's object for a krait_dtype that passed krait__dtype_check. */
krait_status krait__descr_make(krait_dtype dtype, PyObject **descr, krait_error **err);

/* New array over memory that passed krait__array_check; takes over the reference `owner`, which keeps the memory. */
krait_status krait__array_over(const krait_value *value, bool writable, PyObject *owner, PyObject **array,
                               krait_error **err);

/* The same for what krait__array_quick takes, read-only; NULL with an exception set. */
PyObject *krait__array_over_plain(const krait_value *value, PyObject *owner);

/* Calls a function of krait._arrays; new reference or NULL with an exception set. */
PyObject *krait__arrays_call(const char *name, PyObject *argument);

/* New references: a C-contiguous copy in any case; one that is C-contiguous, aligned and native, a copy only where
 * needed. Of records the padding too is copied. */
PyObject *krait__array_copy(PyObject *array);
PyObject *krait__array_plain(PyObject *array);

#endif
