#include "ndarray.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "bridge.h"
#include "mem.h"
#include "pyerr.h"

krait__numpy krait__np;

/* ---- the table: slots that are the same from numpy 1.24 to 2.5 --------------------------------------------------- */

enum {
    SLOT_ABI_VERSION = 0,
    SLOT_ARRAY_TYPE = 2,
    SLOT_DESCR_FROM_TYPE = 45,
    SLOT_NEW_FROM_DESCR = 94,
    SLOT_CHECK_FROM_ANY = 108,
    SLOT_DESCR_CONVERTER = 174,
    SLOT_FEATURE_VERSION = 211,
    SLOT_SET_BASE_OBJECT = 282,
    SLOT_ARRAY_HEAD = 369, /* since feature 0x16 (2.5): the address of an array's fields */
    FEATURE_ARRAY_HEAD = 0x16
};

static struct {
    PyObject *(*descr_from_type)(int type);
    PyObject *(*new_from_descr)(PyTypeObject *type, PyObject *descr, int ndim, const Py_ssize_t *shape,
                                const Py_ssize_t *strides, void *data, int flags, PyObject *like);
    PyObject *(*check_from_any)(PyObject *object, PyObject *descr, int min_ndim, int max_ndim, int flags,
                                PyObject *context);
    int (*descr_converter)(PyObject *object, PyObject **descr);
    int (*set_base_object)(PyObject *array, PyObject *base);
} np;

/* numpy's type numbers of the C types; `long` is what int64 is called on LP64. */
static const uint8_t type_numbers[KRAIT_C128 + 1] = {
    [KRAIT_BOOL] = 0, [KRAIT_I8] = 1,   [KRAIT_U8] = 2,   [KRAIT_I16] = 3,   [KRAIT_U16] = 4,
    [KRAIT_I32] = 5,  [KRAIT_U32] = 6,  [KRAIT_I64] = 7,  [KRAIT_U64] = 8,   [KRAIT_F16] = 23,
    [KRAIT_F32] = 11, [KRAIT_F64] = 12, [KRAIT_C64] = 14, [KRAIT_C128] = 15,
};

static void fill(void *table_entry, void *const *slots, int slot) {
    memcpy(table_entry, &slots[slot], sizeof(void *));
}

static void *const *find_table(void) {
    static const char *const modules[] = { "numpy._core._multiarray_umath", "numpy.core._multiarray_umath" };
    void *const             *slots = NULL;
    for (size_t i = 0; i < 2 && !slots; i++) {
        PyObject *module = py.PyImport_ImportModule(modules[i]);
        PyObject *capsule = module ? py.PyObject_GetAttrString(module, "_ARRAY_API") : NULL;
        if (capsule) {
            slots = py.PyCapsule_GetPointer(capsule, NULL);
            py.Py_DecRef(capsule);
        }
        if (module) py.Py_DecRef(module);
        if (!slots && i == 0 && krait__pyerr_is(*py.PyExc_ImportError)) py.PyErr_Clear();
        else if (!slots) break;
    }
    return slots;
}

static krait_status read_table(void *const *slots, krait_error **err) {
    unsigned (*abi)(void), (*feature)(void);
    fill(&abi, slots, SLOT_ABI_VERSION);
    if (abi() != 0x01000009 && abi() != 0x02000000)
        return krait__fail(err, KRAIT_E_NO_NUMPY,
                           "numpy's C-API has ABI version 0x%08x; krait knows 0x01000009 (1.x) and 0x02000000 (2.x)",
                           abi());
    fill(&feature, slots, SLOT_FEATURE_VERSION);
    krait__np.feature = feature();
    fill(&np.descr_from_type, slots, SLOT_DESCR_FROM_TYPE);
    fill(&np.new_from_descr, slots, SLOT_NEW_FROM_DESCR);
    fill(&np.check_from_any, slots, SLOT_CHECK_FROM_ANY);
    fill(&np.descr_converter, slots, SLOT_DESCR_CONVERTER);
    fill(&np.set_base_object, slots, SLOT_SET_BASE_OBJECT);
    return KRAIT_OK;
}

/* Where the fields of an array lie: after the object header; numpy 2.5 tells it itself. Proven on an array whose data
 * pointer is known. */
static krait_status measure_head(void *const *slots, PyTypeObject *type, krait_error **err) {
    static double one = 1;
    Py_ssize_t    shape = 1;
    PyObject     *descr = np.descr_from_type(type_numbers[KRAIT_F64]);
    PyObject     *probe = descr ? np.new_from_descr(type, descr, 1, &shape, NULL, &one, 0, NULL) : NULL;
    bool          right;
    if (!probe) return krait__pyerr_take(KRAIT_E_NO_NUMPY, err);
    krait__np.head = py.header;
    if (krait__np.feature >= FEATURE_ARRAY_HEAD) {
        void *(*head)(PyObject *);
        fill(&head, slots, SLOT_ARRAY_HEAD);
        krait__np.head = (size_t)((char *)head(probe) - (char *)probe);
    }
    right =
        krait__head(probe)->data == (char *)&one && krait__head(probe)->ndim == 1 && krait__head(probe)->shape[0] == 1;
    py.Py_DecRef(probe);
    if (right) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_NO_NUMPY,
                       "numpy's array object is laid out differently (C-API feature version 0x%x)", krait__np.feature);
}

static bool intern_names(PyObject *numpy) {
    PyObject *generic = py.PyObject_GetAttrString(numpy, "generic");
    krait__np.generic_type = (PyTypeObject *)generic;
    krait__np.dtype_attr = py.PyUnicode_InternFromString("dtype");
    krait__np.str_attr = py.PyUnicode_InternFromString("str");
    krait__np.item_attr = py.PyUnicode_InternFromString("item");
    for (int code = KRAIT_BOOL; code <= KRAIT_C128; code++)
        if (!krait__np.descr[code]) krait__np.descr[code] = np.descr_from_type(type_numbers[code]);
    return generic && krait__np.dtype_attr && krait__np.str_attr && krait__np.item_attr && krait__np.descr[KRAIT_C128];
}

krait_status krait__numpy_load(krait_error **err) {
    PyObject    *numpy;
    void *const *slots;
    krait_status status;
    if (krait__numpy_loaded()) return KRAIT_OK;
    numpy = py.PyImport_ImportModule("numpy");
    slots = numpy ? find_table() : NULL;
    if (!slots) {
        status = krait__pyerr_take(KRAIT_E_NO_NUMPY, err);
    } else {
        PyTypeObject *type = slots[SLOT_ARRAY_TYPE];
        status = read_table(slots, err);
        if (!status) status = measure_head(slots, type, err);
        if (!status && !intern_names(numpy)) status = krait__pyerr_take(KRAIT_E_NO_NUMPY, err);
        if (!status) {
            krait__blas_limit(krait__np.blas_threads);
            krait__np.array_type = type; /* last: says that all else is there */
        }
    }
    if (numpy) py.Py_DecRef(numpy);
    return status;
}

/* numpy may have been imported by Python code alone, before krait needed it. */
static bool load_if_imported(void) {
    PyObject *modules = py.PyImport_GetModuleDict();
    if (!modules || !py.PyDict_GetItemString(modules, "numpy")) return false;
    return krait__numpy_load(NULL) == KRAIT_OK;
}

bool krait__is_array(PyObject *object) {
    if (!krait__numpy_loaded() && !load_if_imported()) return false;
    return krait__is(object, krait__np.array_type);
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

static const char *const units[] = { "generic", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };
enum { UNITS = sizeof units / sizeof *units };

static bool big_endian(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 0;
}

static uint8_t code_of(char kind, long size) {
    static const struct {
        char    kind;
        uint8_t size, code;
    } rows[] = {
        { 'b', 1, KRAIT_BOOL }, { 'i', 1, KRAIT_I8 },    { 'i', 2, KRAIT_I16 },      { 'i', 4, KRAIT_I32 },
        { 'i', 8, KRAIT_I64 },  { 'u', 1, KRAIT_U8 },    { 'u', 2, KRAIT_U16 },      { 'u', 4, KRAIT_U32 },
        { 'u', 8, KRAIT_U64 },  { 'f', 2, KRAIT_F16 },   { 'f', 4, KRAIT_F32 },      { 'f', 8, KRAIT_F64 },
        { 'c', 8, KRAIT_C64 },  { 'c', 16, KRAIT_C128 }, { 'M', 8, KRAIT_DATETIME }, { 'm', 8, KRAIT_TIMEDELTA },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kind == kind && rows[i].size == size) return rows[i].code;
    return 0;
}

/* "[25s]" after M8 or m8; nothing there is the generic unit. */
static bool read_unit(const char *text, krait_dtype *dtype) {
    char  *end;
    size_t length;
    dtype->unit = KRAIT_GENERIC;
    dtype->of.count = 1;
    if (*text != '[') return *text == 0;
    dtype->of.count = strtol(text + 1, &end, 10);
    if (end == text + 1) dtype->of.count = 1;
    length = strcspn(end, "]");
    for (uint8_t unit = 1; unit < UNITS; unit++)
        if (strlen(units[unit]) == length && !strncmp(units[unit], end, length)) dtype->unit = unit;
    return dtype->unit != KRAIT_GENERIC;
}

static krait_status unsupported(PyObject *descr, krait_error **err) {
    PyObject   *name = py.PyObject_GetAttrString(descr, "name");
    const char *text = name ? py.PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    py.PyErr_Clear();
    krait__fail(err, KRAIT_E_UNSUPPORTED,
                "arrays of dtype %s are not supported: krait takes bool, integers, floats up to 64 bits, complex, "
                "datetime64, timedelta64 and records of these; convert with astype",
                text ? text : "?");
    if (name) py.Py_DecRef(name);
    return KRAIT_E_UNSUPPORTED;
}

static krait_status read_fields(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, krait_error **err);

krait_status krait__descr_read(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, krait_error **err) {
    PyObject    *str = py.PyObject_GetAttr(descr, krait__np.str_attr);
    const char  *text = str ? py.PyUnicode_AsUTF8AndSize(str, NULL) : NULL;
    char        *rest;
    long         size;
    krait_status status = KRAIT_OK;
    *fields = NULL;
    if (!text) return krait__pyerr_take(KRAIT_E_UNSUPPORTED, err); /* getattr failed: out of memory at worst */
    size = text[0] && text[1] ? strtol(text + 2, &rest, 10) : 0;
    *dtype = krait_dtype_make_(text[0] ? code_of(text[1], size) : 0, 0, (uint32_t)size, 0);
    dtype->swapped = size > 1 && (text[0] == '>') != big_endian() && text[0] != '|';
    if (dtype->code == KRAIT_DATETIME || dtype->code == KRAIT_TIMEDELTA) {
        if (!read_unit(rest, dtype)) status = unsupported(descr, err);
    } else if (text[0] && text[1] == 'V' && size > 0) {
        dtype->code = KRAIT_STRUCT;
        dtype->swapped = 0;
        status = read_fields(descr, dtype, fields, err);
    } else if (!dtype->code) {
        status = unsupported(descr, err);
    }
    py.Py_DecRef(str);
    return status;
}

/* A record may have fields of dtypes that krait does not read: they get code 0, and only reading such a field is an
 * error. */
static krait_status read_field_dtype(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields,
                                     krait_error **err) {
    krait_error *refusal = NULL;
    krait_status status = krait__descr_read(descr, dtype, fields, &refusal);
    PyObject    *size;
    int          overflow;
    if (status == KRAIT_E_UNSUPPORTED) {
        krait_error_clear(&refusal);
        size = py.PyObject_GetAttrString(descr, "itemsize");
        if (!size) return krait__pyerr_take(KRAIT_E_PYTHON, err);
        *dtype = krait_dtype_make_(0, 0, (uint32_t)py.PyLong_AsLongLongAndOverflow(size, &overflow), 0);
        py.Py_DecRef(size);
        return KRAIT_OK;
    }
    if (err && !*err) *err = refusal;
    else krait_error_clear(&refusal);
    return status;
}

/* One row of krait._bridge.fields: (name, offset, dtype, shape). */
static krait_status read_field(PyObject *row, krait_field *field, krait_error **err) {
    PyObject            *shape = py.PyTuple_GetItem(row, 3);
    struct krait_struct *nested;
    const char          *name = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(row, 0), NULL);
    int                  overflow;
    int64_t             *lengths;
    krait_status         status;
    if (!name) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    field->name = krait__strdup(name);
    field->offset = py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(row, 1), &overflow);
    status = read_field_dtype(py.PyTuple_GetItem(row, 2), &field->dtype, &nested, err);
    if (nested) field->dtype.of.fields = nested;
    if (status) return status;
    field->ndim = (int32_t)py.PyTuple_Size(shape);
    field->shape = lengths = field->ndim ? krait__alloc(krait__size((size_t)field->ndim, sizeof *lengths, 0)) : NULL;
    if (!field->name || (field->ndim && !lengths)) return krait__fail_nomem(err);
    for (int32_t i = 0; i < field->ndim; i++)
        lengths[i] = py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(shape, i), &overflow);
    return KRAIT_OK;
}

static krait_status read_fields(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, krait_error **err) {
    PyObject    *names = py.PyObject_GetAttrString(descr, "names"), *rows;
    Py_ssize_t   count;
    krait_status status = KRAIT_OK;
    if (!names || names == py._Py_NoneStruct) { /* a void without fields */
        if (names) py.Py_DecRef(names);
        py.PyErr_Clear();
        return unsupported(descr, err);
    }
    py.Py_DecRef(names);
    rows = krait__bridge_call("fields", descr, NULL);
    if (!rows) return krait__pyerr_take(KRAIT_E_UNSUPPORTED, err);
    count = py.PyTuple_Size(rows);
    *fields = krait__struct_new((size_t)count);
    if (!*fields) status = krait__fail_nomem(err);
    for (Py_ssize_t i = 0; i < count && !status; i++)
        status = read_field(py.PyTuple_GetItem(rows, i), &(*fields)->fields[i], err);
    py.Py_DecRef(rows);
    if (status) {
        krait__struct_free(*fields);
        *fields = NULL;
    }
    dtype->of.fields = *fields;
    return status;
}

/* numpy's text for a dtype: ">f8", "<M8[25s]". */
static void descr_text(krait_dtype dtype, char *text, size_t size) {
    static const char kinds[] = "?biiiiuuuufffccMm";
    bool              big = big_endian() != (dtype.swapped != 0);
    char              kind = kinds[dtype.code], order = dtype.item_size == 1 ? '|' : big ? '>' : '<';
    if (dtype.code < KRAIT_DATETIME) snprintf(text, size, "%c%c%u", order, kind, (unsigned)dtype.item_size);
    else if (dtype.unit == KRAIT_GENERIC) snprintf(text, size, "%c%c8", order, kind);
    else snprintf(text, size, "%c%c8[%lld%s]", order, kind, (long long)dtype.of.count, units[dtype.unit]);
}

krait_status krait__descr_make(krait_dtype dtype, PyObject **descr, krait_error **err) {
    char      text[64];
    PyObject *name;
    if (dtype.code <= KRAIT_C128 && !dtype.swapped) {
        *descr = krait__np.descr[dtype.code];
        py.Py_IncRef(*descr);
        return KRAIT_OK;
    }
    if (dtype.code == KRAIT_STRUCT)
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "arrays of records are passed on only as krait_borrow of a result, for now");
    descr_text(dtype, text, sizeof text);
    name = py.PyUnicode_FromStringAndSize(text, (Py_ssize_t)strlen(text));
    if (!name || !np.descr_converter(name, descr)) {
        krait_status status = krait__pyerr_take(KRAIT_E_UNSUPPORTED, err);
        if (name) py.Py_DecRef(name);
        return status;
    }
    py.Py_DecRef(name);
    return KRAIT_OK;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

krait_status krait__array_over(const krait_value *value, bool writable, PyObject *owner, PyObject **array,
                               krait_error **err) {
    static int64_t nothing; /* numpy would allocate for a NULL pointer */
    bool           c_order = value->as.array.flags & KRAIT_ARRAY_C_CONTIGUOUS;
    const int64_t *strides = c_order ? NULL : krait__array_strides(value);
    void          *data = value->as.array.data ? value->as.array.data : &nothing;
    PyObject      *descr = NULL;
    krait_status   status = krait__descr_make(value->as.array.dtype, &descr, err);
    if (!status) {
        *array = np.new_from_descr(krait__np.array_type, descr, value->as.array.ndim,
                                   (const Py_ssize_t *)krait__array_shape(value), (const Py_ssize_t *)strides, data,
                                   writable ? NPY_WRITABLE : 0, NULL);
        if (*array && !np.set_base_object(*array, owner)) return KRAIT_OK; /* both took their references over */
        if (*array) {
            py.Py_DecRef(*array);
            owner = NULL;
        }
        status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (owner) py.Py_DecRef(owner);
    *array = NULL;
    return status;
}

/* Records keep the order of their bytes, which their fields tell: asked for native ones, numpy 2 would also move the
 * fields together. */
static int what_c_can_read(PyObject *array) {
    PyObject *names = py.PyObject_GetAttrString(krait__head(array)->descr, "names");
    bool      records = names && names != py._Py_NoneStruct;
    if (names) py.Py_DecRef(names);
    py.PyErr_Clear();
    return NPY_C | NPY_ALIGNED | NPY_ENSUREARRAY | (records ? 0 : NPY_NOTSWAPPED);
}

PyObject *krait__array_over_plain(const krait_value *value, PyObject *owner) {
    PyObject *descr = krait__np.descr[value->as.array.dtype.code], *array;
    py.Py_IncRef(descr);
    array = np.new_from_descr(krait__np.array_type, descr, value->as.array.ndim,
                              (const Py_ssize_t *)value->as.array.dims, NULL, value->as.array.data, 0, NULL);
    if (!array) {
        py.Py_DecRef(owner);
        return NULL;
    }
    if (!np.set_base_object(array, owner)) return array;
    py.Py_DecRef(array);
    return NULL;
}

PyObject *krait__array_copy(PyObject *array) {
    return np.check_from_any(array, NULL, 0, 0, what_c_can_read(array) | NPY_ENSURECOPY, NULL);
}

PyObject *krait__array_plain(PyObject *array) {
    return np.check_from_any(array, NULL, 0, 0, what_c_can_read(array), NULL);
}
