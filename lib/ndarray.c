#include "ndarray.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "bridge.h"
#include "mem.h"
#include "pyerr.h"

krait__numpy       krait__np;
krait__numpy_texts krait__np_texts;

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
    SLOT_STRING_LOAD = 313, /* these three since feature 0x12 (2.0) */
    SLOT_STRING_ACQUIRE = 316,
    SLOT_STRING_RELEASE = 318,
    FEATURE_STRINGS = 0x12,
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
    if (krait__np.feature >= FEATURE_STRINGS) {
        fill(&krait__np_texts.load, slots, SLOT_STRING_LOAD);
        fill(&krait__np_texts.acquire, slots, SLOT_STRING_ACQUIRE);
        fill(&krait__np_texts.release, slots, SLOT_STRING_RELEASE);
    }
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

char krait__descr_kind(PyObject *descr) {
    PyObject   *kind = py.PyObject_GetAttrString(descr, "kind");
    const char *text = kind ? py.PyUnicode_AsUTF8AndSize(kind, NULL) : NULL;
    char        first = text ? *text : 0;
    if (kind) py.Py_DecRef(kind);
    return first;
}

bool krait__descr_is_objects(PyObject *descr) {
    char kind = krait__descr_kind(descr);
    py.PyErr_Clear();
    return kind == 'O' || kind == 'T';
}

static krait_status unsupported(PyObject *descr, krait_error **err) {
    PyObject   *name = py.PyObject_GetAttrString(descr, "name");
    const char *text = name ? py.PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    py.PyErr_Clear();
    krait__fail(err, KRAIT_E_UNSUPPORTED,
                "arrays of dtype %s are not supported: krait takes bool, integers, floats up to 64 bits, complex, "
                "datetime64, timedelta64, S, U and records of these; convert with astype",
                text ? text : "?");
    if (name) py.Py_DecRef(name);
    return KRAIT_E_UNSUPPORTED;
}

/* A record that is being read: how deep in it, and how many fields it has had so far. */
typedef struct reading {
    int    depth;
    size_t total;
} reading;

static krait_status read_fields(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, reading *reading,
                                krait_error **err);

/* numpy's type string, "<f8": all of a dtype but the fields of a record. False: krait has no such dtype. */
static bool read_format(const char *text, krait_dtype *dtype) {
    char    kind = text[0] ? text[1] : 0;
    long    size = kind ? strtol(text + 2, NULL, 10) : 0;
    uint8_t code = code_of(kind, size);
    if (kind == 'S') code = KRAIT_FIXED_BYTES;
    if (kind == 'U') code = KRAIT_FIXED_TEXT;
    if (kind == 'V' && size > 0) code = KRAIT_STRUCT;
    if (code == KRAIT_FIXED_TEXT) size *= 4;
    if (!code || size < 0 || size > INT32_MAX) return false;
    *dtype = krait_dtype_make_(code, 0, (uint32_t)size, 0);
    dtype->swapped = size > 1 && text[0] != '|' && (text[0] == '>') != big_endian();
    return (code != KRAIT_DATETIME && code != KRAIT_TIMEDELTA) || read_unit(text + 3, dtype);
}

static krait_status descr_read(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, reading *reading,
                               krait_error **err) {
    PyObject    *str = py.PyObject_GetAttr(descr, krait__np.str_attr);
    const char  *text = str ? py.PyUnicode_AsUTF8AndSize(str, NULL) : NULL;
    krait_status status = KRAIT_OK;
    *fields = NULL;
    if (!text) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    else if (!read_format(text, dtype)) status = unsupported(descr, err);
    else if (dtype->code == KRAIT_STRUCT) status = read_fields(descr, dtype, fields, reading, err);
    if (str) py.Py_DecRef(str);
    return status;
}

krait_status krait__descr_read(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, krait_error **err) {
    reading reading = { 0, 0 };
    return descr_read(descr, dtype, fields, &reading, err);
}

/* An int that fits; what is wrong shows in PyErr_Occurred. */
static int64_t whole(PyObject *number) {
    int overflow;
    return py.PyLong_AsLongLongAndOverflow(number, &overflow);
}

/* A record may have fields of dtypes that krait does not read: they get code 0, and only reading such a field is an
 * error. */
static krait_status read_field_dtype(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields,
                                     reading *reading, krait_error **err) {
    krait_error *refusal = NULL;
    krait_status status = descr_read(descr, dtype, fields, reading, &refusal);
    if (status == KRAIT_E_UNSUPPORTED) {
        PyObject *size = py.PyObject_GetAttrString(descr, "itemsize");
        krait_error_clear(&refusal);
        *dtype = krait_dtype_make_(0, 0, size ? (uint32_t)whole(size) : 0, 0);
        if (size) py.Py_DecRef(size);
        return py.PyErr_Occurred() ? krait__pyerr_take(KRAIT_E_PYTHON, err) : KRAIT_OK;
    }
    if (err && !*err) *err = refusal;
    else krait_error_clear(&refusal);
    return status;
}

/* One row of krait._bridge.fields: (name, offset, dtype, shape). */
static krait_status read_field(PyObject *row, krait_field *field, reading *reading, krait_error **err) {
    PyObject            *shape = py.PyTuple_GetItem(row, 3);
    struct krait_struct *nested;
    const char          *name = py.PyUnicode_AsUTF8AndSize(py.PyTuple_GetItem(row, 0), NULL);
    int64_t             *lengths;
    krait_status         status;
    if (!name) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    field->name = krait__strdup(name);
    field->offset = whole(py.PyTuple_GetItem(row, 1));
    if (py.PyErr_Occurred()) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    status = read_field_dtype(py.PyTuple_GetItem(row, 2), &field->dtype, &nested, reading, err);
    if (nested) field->dtype.of.fields = nested;
    if (status) return status;
    field->ndim = (int32_t)py.PyTuple_Size(shape);
    field->shape = lengths = field->ndim ? krait__alloc(krait__size((size_t)field->ndim, sizeof *lengths, 0)) : NULL;
    if (!field->name || (field->ndim && !lengths)) return krait__fail_nomem(err);
    for (int32_t i = 0; i < field->ndim; i++) lengths[i] = whole(py.PyTuple_GetItem(shape, i));
    return py.PyErr_Occurred() ? krait__pyerr_take(KRAIT_E_PYTHON, err) : KRAIT_OK;
}

/* All rows of krait._bridge.fields. */
static krait_status read_rows(PyObject *rows, struct krait_struct *fields, reading *reading, krait_error **err) {
    krait_status status = KRAIT_OK;
    reading->total += fields->count;
    if (reading->depth >= KRAIT__RECORD_DEPTH_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "a dtype nests records deeper than %d", KRAIT__RECORD_DEPTH_MAX);
    if (reading->total > KRAIT__FIELDS_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "a dtype has more than %d fields in all", KRAIT__FIELDS_MAX);
    reading->depth++;
    for (size_t i = 0; i < fields->count && !status; i++)
        status = read_field(py.PyTuple_GetItem(rows, (Py_ssize_t)i), &fields->fields[i], reading, err);
    reading->depth--;
    return status;
}

static krait_status read_fields(PyObject *descr, krait_dtype *dtype, struct krait_struct **fields, reading *reading,
                                krait_error **err) {
    PyObject    *names = py.PyObject_GetAttrString(descr, "names"), *rows;
    krait_status status;
    if (!names) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    py.Py_DecRef(names);
    if (names == py._Py_NoneStruct) return unsupported(descr, err); /* a void without fields */
    rows = krait__bridge_call("fields", descr, NULL);
    if (!rows) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    *fields = krait__struct_new((size_t)py.PyTuple_Size(rows));
    status = *fields ? read_rows(rows, *fields, reading, err) : krait__fail_nomem(err);
    py.Py_DecRef(rows);
    if (status) {
        krait__struct_free(*fields);
        *fields = NULL;
        return status;
    }
    (*fields)->size = dtype->item_size;
    dtype->of.fields = *fields;
    return KRAIT_OK;
}

PyObject *krait__arrays_call(const char *name, PyObject *argument) {
    static PyObject *module; /* under the GIL; kept for good */
    PyObject        *function, *answer;
    if (!module) module = py.PyImport_ImportModule("krait._arrays");
    function = module ? py.PyObject_GetAttrString(module, name) : NULL;
    if (!function) return NULL;
    answer = py.PyObject_Vectorcall(function, &argument, 1, NULL);
    py.Py_DecRef(function);
    return answer;
}

/* dtypes of records by their recipe, since numpy takes tens of us to make one. Kept for good, but for a bound. */
enum { KNOWN_RECORDS_MAX = 256 };
static struct {
    PyObject *by_recipe; /* under the GIL, like the rest */
    int       count;
} records;

static bool remember(const char *recipe, PyObject *descr) {
    if (records.by_recipe && records.count == KNOWN_RECORDS_MAX) {
        py.Py_DecRef(records.by_recipe);
        records.by_recipe = NULL;
    }
    if (!records.by_recipe) {
        records.by_recipe = py.PyDict_New();
        records.count = 0;
    }
    records.count++;
    return records.by_recipe && !py.PyDict_SetItemString(records.by_recipe, recipe, descr);
}

static PyObject *make_record(const char *recipe) {
    PyObject *text = py.PyUnicode_FromStringAndSize(recipe, (Py_ssize_t)strlen(recipe)), *descr = NULL;
    if (text) descr = krait__arrays_call("record_type", text);
    if (text) py.Py_DecRef(text);
    if (!descr || remember(recipe, descr)) return descr;
    py.Py_DecRef(descr);
    return NULL;
}

static krait_status record_of(const char *recipe, PyObject **descr, krait_error **err) {
    *descr = records.by_recipe ? py.PyDict_GetItemString(records.by_recipe, recipe) : NULL;
    if (*descr) {
        py.Py_IncRef(*descr);
        return KRAIT_OK;
    }
    py.PyErr_Clear();
    *descr = make_record(recipe);
    return *descr ? KRAIT_OK : krait__pyerr_take(KRAIT_E_UNSUPPORTED, err);
}

/* Descriptions that krait_struct_new made carry their recipe; those read from a result do not. */
static krait_status make_struct(const struct krait_struct *fields, PyObject **descr, krait_error **err) {
    char        *recipe;
    krait_status status;
    if (fields->recipe) return record_of(fields->recipe, descr, err);
    status = krait__struct_recipe(fields, &recipe, err);
    if (status) return status;
    status = record_of(recipe, descr, err);
    krait__free(recipe);
    return status;
}

krait_status krait__descr_make(krait_dtype dtype, PyObject **descr, krait_error **err) {
    krait_status status = KRAIT_OK;
    char         text[64];
    PyObject    *name;
    if (dtype.code <= KRAIT_C128 && !dtype.swapped) {
        *descr = krait__np.descr[dtype.code];
        py.Py_IncRef(*descr);
        return KRAIT_OK;
    }
    if (dtype.code == KRAIT_STRUCT) return make_struct(dtype.of.fields, descr, err);
    if (!dtype.item_size) /* it would read one character each */
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "numpy has no arrays of text or bytes of width 0");
    krait__dtype_format(dtype, text, sizeof text);
    name = py.PyUnicode_FromStringAndSize(text, (Py_ssize_t)strlen(text));
    if (!name || !np.descr_converter(name, descr)) status = krait__pyerr_take(KRAIT_E_UNSUPPORTED, err);
    if (name) py.Py_DecRef(name);
    return status;
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

/* What C can read. Records are not asked for it: their fields say their own order of bytes, and numpy 2 would move the
 * fields together. */
enum { NPY_PLAIN = NPY_C | NPY_ALIGNED | NPY_ENSUREARRAY | NPY_NOTSWAPPED };

/* False with an exception set when that cannot be told. */
static bool tell_records(PyObject *array, bool *records) {
    PyObject *names = py.PyObject_GetAttrString(krait__head(array)->descr, "names");
    if (!names) return false;
    *records = names != py._Py_NoneStruct;
    py.Py_DecRef(names);
    return true;
}

PyObject *krait__array_copy(PyObject *array) {
    bool records;
    if (!tell_records(array, &records)) return NULL;
    if (records) return krait__arrays_call("copy_records", array);
    return np.check_from_any(array, NULL, 0, 0, NPY_PLAIN | NPY_ENSURECOPY, NULL);
}

PyObject *krait__array_plain(PyObject *array) {
    const int lies_well = NPY_C | NPY_ALIGNED;
    bool      records;
    if (!tell_records(array, &records)) return NULL;
    if (!records) return np.check_from_any(array, NULL, 0, 0, NPY_PLAIN, NULL);
    if ((krait__head(array)->flags & lies_well) != lies_well) return krait__arrays_call("copy_records", array);
    py.Py_IncRef(array);
    return array;
}
