#include "convert.h"

#include <stdio.h>
#include <string.h>

#include "bridge.h"
#include "frame.h"
#include "mem.h"
#include "ndarray.h"
#include "pyerr.h"
#include "tensor.h"
#include "times.h"

/* ---- into Python: scalars, text, bytes --------------------------------------------------------------------------- */

static krait_status made(PyObject *object, krait_status failure, PyObject **out, krait_error **err) {
    *out = object;
    return object ? KRAIT_OK : krait__pyerr_take(failure, err);
}

static krait_status text_in(const krait_value *value, PyObject **out, krait_error **err) {
    if (!value->as.bytes.data) return krait__fail(err, KRAIT_E_ARGUMENT, "the text is NULL, expected UTF-8");
    if (value->as.bytes.size > PTRDIFF_MAX)
        return krait__fail(err, KRAIT_E_RANGE, "a text of %zu bytes is too long", value->as.bytes.size);
    return made(py.PyUnicode_FromStringAndSize(value->as.bytes.data, (Py_ssize_t)value->as.bytes.size),
                KRAIT_E_ENCODING, out, err);
}

static krait_status bytes_in(const krait_value *value, PyObject **out, krait_error **err) {
    if (!value->as.bytes.data && value->as.bytes.size)
        return krait__fail(err, KRAIT_E_ARGUMENT, "data is NULL, expected %zu bytes", value->as.bytes.size);
    if (value->as.bytes.size > PTRDIFF_MAX)
        return krait__fail(err, KRAIT_E_RANGE, "%zu bytes are too many", value->as.bytes.size);
    return made(py.PyBytes_FromStringAndSize(value->as.bytes.data, (Py_ssize_t)value->as.bytes.size), KRAIT_E_PYTHON,
                out, err);
}

/* ---- into Python: arrays ----------------------------------------------------------------------------------------- */

static krait_status array_in(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                             PyObject **out, krait_error **err) {
    PyObject    *owner, *lent;
    int64_t      size;
    krait_status status = krait__array_check(&arg->value, &loan->lo, &loan->hi, &size, err);
    if (!status) status = krait__numpy_load(err);
    if (!status) status = krait__argument_owner(arg, loan, consumed, &owner, err);
    if (!status) status = krait__array_over(&arg->value, (arg->flags & KRAIT_WRITABLE) != 0, owner, out, err);
    if (status || !(arg->flags & KRAIT_COPY)) return status;
    lent = *out;
    *out = krait__array_copy(lent);
    py.Py_DecRef(lent); /* and with it the loan */
    KRAIT__COUNT(thread, copies, 1);
    KRAIT__COUNT(thread, copied_bytes, (uint64_t)(loan->hi - loan->lo));
    return *out ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

/* Most arrays: lent, read-only, of a numeric dtype in C order. NULL without an exception: any other. */
PyObject *krait__lend(const krait_value *value, krait__loan *loan) {
    PyObject *owner;
    int64_t   size;
    if (!krait__numpy_loaded() || !krait__array_quick(value, &loan->lo, &loan->hi, &size)) return NULL;
    owner = krait__loan_owner(loan);
    return owner ? krait__array_over_plain(value, owner) : NULL;
}

/* ---- into Python: results passed on, lists, maps ----------------------------------------------------------------- */

PyObject *krait__object_of(const krait_value *value) {
    const krait__hold *hold = value->owner;
    if (!(value->flags & KRAIT_VALUE_PYTHON_)) return NULL;
    if (value->kind == KRAIT_KIND_LIST || value->kind == KRAIT_KIND_MAP)
        hold = ((const krait__tree *)value->owner)->object;
    else if (value->kind == KRAIT_KIND_TABLE) hold = value->as.table->object;
    return hold ? hold->object : NULL;
}

static krait_status passed_on(const krait_arg *arg, PyObject *object, PyObject **out, krait_error **err) {
    if (arg->flags & KRAIT_COPY) {
        if (!krait__is_array(object)) return krait__fail(err, KRAIT_E_UNSUPPORTED, "KRAIT_COPY is for arrays only");
        return made(krait__array_copy(object), KRAIT_E_PYTHON, out, err);
    }
    if (arg->flags)
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "a result is passed on as the object it is: no flags but KRAIT_COPY");
    py.Py_IncRef(object);
    *out = object;
    return KRAIT_OK;
}

static krait_status value_in(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                             PyObject **out, krait_error **err, int depth);

/* Items have no loans of their own: what lies in C memory is copied. */
static krait_status item_in(krait__thread *thread, const krait_value *item, PyObject **out, krait_error **err,
                            int depth) {
    krait__loan unused = { .dead = true };
    bool        consumed;
    krait_arg   arg = krait_pos(krait_borrow(item));
    if (item->flags & KRAIT_VALUE_OWNED_)
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "an item of a list or map was given with krait_owned, which is for arguments only");
    if (item->kind == KRAIT_KIND_ARRAY || item->kind == KRAIT_KIND_TABLE) arg.flags = KRAIT_COPY;
    if (krait__object_of(item)) arg.flags = 0;
    return value_in(thread, &arg, &unused, &consumed, out, err, depth);
}

/* What a list or map made by hand may lack. */
static krait_status check_items(const krait_value *value, krait_error **err) {
    bool map = value->kind == KRAIT_KIND_MAP;
    if (value->as.list.count && !value->as.list.items)
        return krait__fail(err, KRAIT_E_ARGUMENT, "items of the %s are NULL", map ? "map" : "list");
    if (map && value->as.list.count && !value->as.list.keys)
        return krait__fail(err, KRAIT_E_ARGUMENT, "keys of the map are NULL");
    for (size_t i = 0; map && i < value->as.list.count; i++)
        if (!value->as.list.keys[i]) return krait__fail(err, KRAIT_E_ARGUMENT, "key %zu of the map is NULL", i);
    return KRAIT_OK;
}

static krait_status list_in(krait__thread *thread, const krait_value *value, PyObject **out, krait_error **err,
                            int depth) {
    size_t       count = value->as.list.count;
    PyObject    *list = py.PyList_New((Py_ssize_t)count), *item;
    krait_status status = list ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
    for (size_t i = 0; i < count && !status; i++) {
        status = item_in(thread, &value->as.list.items[i], &item, err, depth + 1);
        if (!status && py.PyList_SetItem(list, (Py_ssize_t)i, item)) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (status && list) py.Py_DecRef(list);
    *out = status ? NULL : list;
    return status;
}

static krait_status map_in(krait__thread *thread, const krait_value *value, PyObject **out, krait_error **err,
                           int depth) {
    PyObject    *dict = py.PyDict_New(), *item;
    krait_status status = dict ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
    for (size_t i = 0; i < value->as.list.count && !status; i++) {
        status = item_in(thread, &value->as.list.items[i], &item, err, depth + 1);
        if (status) break;
        if (py.PyDict_SetItemString(dict, value->as.list.keys[i], item))
            status = krait__pyerr_take(KRAIT_E_PYTHON, err);
        py.Py_DecRef(item);
    }
    if (status && dict) py.Py_DecRef(dict);
    *out = status ? NULL : dict;
    return status;
}

static krait_status check_flags(const krait_arg *arg, krait_error **err) {
    static const uint32_t known = KRAIT_WRITABLE | KRAIT_COPY | KRAIT_ALIAS;
    if (arg->flags & ~known)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "argument flags 0x%x are not known",
                           (unsigned)(arg->flags & ~known));
    if (arg->value.kind != KRAIT_KIND_ARRAY && arg->value.kind != KRAIT_KIND_TABLE)
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "KRAIT_WRITABLE, KRAIT_COPY and KRAIT_ALIAS are for arrays and tables only");
    if (arg->flags & KRAIT_COPY && arg->flags & KRAIT_ALIAS)
        return krait__fail(err, KRAIT_E_ARGUMENT, "KRAIT_COPY and KRAIT_ALIAS exclude each other");
    return KRAIT_OK;
}

static krait_status value_in(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                             PyObject **out, krait_error **err, int depth) {
    const krait_value *value = &arg->value;
    PyObject          *object = value->flags & KRAIT_VALUE_PYTHON_ ? krait__object_of(value) : NULL;
    krait_status       status = arg->flags ? check_flags(arg, err) : KRAIT_OK;
    if (status) return status;
    if (object) return passed_on(arg, object, out, err);
    if (depth > KRAIT__DEPTH_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "lists are nested more than %d deep", KRAIT__DEPTH_MAX);
    switch (value->kind) {
    case KRAIT_KIND_NONE:
        py.Py_IncRef(py._Py_NoneStruct);
        *out = py._Py_NoneStruct;
        return KRAIT_OK;
    case KRAIT_KIND_BOOL:
    case KRAIT_KIND_I64:
    case KRAIT_KIND_U64:
    case KRAIT_KIND_F64: py.PyErr_Clear(); return made(krait__simple(value), KRAIT_E_PYTHON, out, err);
    case KRAIT_KIND_COMPLEX:
        return made(py.PyComplex_FromDoubles(value->as.complex.re, value->as.complex.im), KRAIT_E_PYTHON, out, err);
    case KRAIT_KIND_TEXT: return text_in(value, out, err);
    case KRAIT_KIND_BYTES: return bytes_in(value, out, err);
    case KRAIT_KIND_ARRAY: return array_in(thread, arg, loan, consumed, out, err);
    case KRAIT_KIND_TABLE: return krait__frame_in(thread, arg, loan, consumed, out, err);
    case KRAIT_KIND_TIME:
    case KRAIT_KIND_DECIMAL: return krait__time_in(value, out, err);
    case KRAIT_KIND_LIST:
    case KRAIT_KIND_MAP:
        status = check_items(value, err);
        if (status) return status;
        return value->kind == KRAIT_KIND_LIST ? list_in(thread, value, out, err, depth)
                                              : map_in(thread, value, out, err, depth);
    default:
        return krait__fail(err, KRAIT_E_ARGUMENT, "a value of kind %d; expected one made by krait_f64, krait_text, ...",
                           value->kind);
    }
}

krait_status krait__to_python(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                              PyObject **object, krait_error **err) {
    *consumed = false;
    loan->dead = true;
    loan->table = NULL;
    return value_in(thread, arg, loan, consumed, object, err, 0);
}

/* ---- out of Python: what holds an object ------------------------------------------------------------------------- */

static krait_status text_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    Py_ssize_t  size;
    const char *data = py.PyUnicode_AsUTF8AndSize(object, &size);
    if (!data) {
        py.Py_DecRef(object);
        return krait__pyerr_take(KRAIT_E_ENCODING, err);
    }
    if (krait__own(outlet, object, (size_t)size, out, err)) return KRAIT_E_NOMEM;
    out->kind = KRAIT_KIND_TEXT;
    out->as.bytes.data = data;
    out->as.bytes.size = (size_t)size;
    return KRAIT_OK;
}

static krait_status bytes_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    Py_ssize_t size;
    char      *data;
    if (krait__type(object) != py.PyBytes_Type) { /* bytearray and memoryview may change under the reader */
        PyObject *copy = py.PyBytes_FromObject(object);
        py.Py_DecRef(object);
        if (!copy) return krait__pyerr_take(KRAIT_E_PYTHON, err);
        object = copy;
    }
    if (py.PyBytes_AsStringAndSize(object, &data, &size)) {
        py.Py_DecRef(object);
        return krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (krait__own(outlet, object, (size_t)size, out, err)) return KRAIT_E_NOMEM;
    out->kind = KRAIT_KIND_BYTES;
    out->as.bytes.data = data;
    out->as.bytes.size = (size_t)size;
    return KRAIT_OK;
}

/* ---- out of Python: numbers -------------------------------------------------------------------------------------- */

static krait_status int_out(PyObject *object, krait_value *out, krait_error **err) {
    int       overflow;
    long long number = py.PyLong_AsLongLongAndOverflow(object, &overflow);
    if (!overflow) {
        out->kind = KRAIT_KIND_I64;
        out->as.i64 = number;
        py.Py_DecRef(object);
        return number == -1 && py.PyErr_Occurred() ? krait__pyerr_take(KRAIT_E_PYTHON, err) : KRAIT_OK;
    }
    out->as.u64 = overflow > 0 ? py.PyLong_AsUnsignedLongLong(object) : 0;
    py.Py_DecRef(object);
    if (overflow < 0 || py.PyErr_Occurred()) {
        py.PyErr_Clear();
        return krait__fail(err, KRAIT_E_RANGE, "an int %s 64 bits; expected -2^63 to 2^64 - 1",
                           overflow < 0 ? "below" : "beyond");
    }
    out->kind = KRAIT_KIND_U64;
    return KRAIT_OK;
}

static krait_status complex_out(PyObject *object, krait_value *out, krait_error **err) {
    out->as.complex.re = py.PyComplex_RealAsDouble(object);
    out->as.complex.im = py.PyComplex_ImagAsDouble(object);
    py.Py_DecRef(object);
    if (py.PyErr_Occurred()) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    out->kind = KRAIT_KIND_COMPLEX;
    return KRAIT_OK;
}

/* ---- out of Python: arrays --------------------------------------------------------------------------------------- */

/* What goes with the hold of an array that has more than three dimensions, or records. */
typedef struct array_extra {
    struct krait_struct *fields;
    int64_t              dims[];
} array_extra;

static void extra_free(void *user) {
    array_extra *extra = user;
    krait__struct_free(extra->fields);
    krait__free(extra);
}

static int64_t bytes_of(const krait__array_head *head, size_t item_size) {
    int64_t bytes = (int64_t)item_size;
    for (int i = 0; i < head->ndim; i++) bytes *= head->shape[i];
    return bytes;
}

/* Replaces *object by a copy: of memory that was lent, or in an order and alignment that C can read. */
static krait_status copy_out(krait__outlet *outlet, PyObject **object, size_t item_size, bool anyway,
                             krait_error **err) {
    PyObject *copy = anyway ? krait__array_copy(*object) : krait__array_plain(*object);
    py.Py_DecRef(*object);
    *object = copy;
    if (!copy) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    KRAIT__COUNT(outlet->thread, copies, 1);
    KRAIT__COUNT(outlet->thread, copied_bytes, (uint64_t)bytes_of(krait__head(copy), item_size));
    return KRAIT_OK;
}

/* Shape and strides: in the value up to three dimensions, else beside the hold. numpy's own would go when Python
 * reshapes in place. */
static void fill_dims(const krait__array_head *head, int64_t *shape, int64_t *strides) {
    for (int i = 0; i < head->ndim; i++) {
        shape[i] = head->shape[i];
        strides[i] = head->strides[i];
    }
}

static krait_status add_extra(krait_value *out, const krait__array_head *head, struct krait_struct *fields,
                              krait_error **err) {
    krait__hold *hold = out->owner;
    array_extra *extra = krait__alloc(krait__size((size_t)head->ndim * 2, sizeof(int64_t), sizeof *extra));
    if (!extra) return krait__fail_nomem(err);
    extra->fields = fields;
    fill_dims(head, extra->dims, extra->dims + head->ndim);
    if (head->ndim > 3) {
        out->as.array.shape = extra->dims;
        out->as.array.strides = extra->dims + head->ndim;
    }
    hold->extra = extra;
    hold->extra_free = extra_free;
    return KRAIT_OK;
}

/* The array is as it shall be: describe it in *out. Takes over the reference and the fields. */
static krait_status array_fill(krait__outlet *outlet, PyObject *object, krait_dtype dtype, struct krait_struct *fields,
                               uint32_t marks, krait_value *out, krait_error **err) {
    const krait__array_head *head = krait__head(object);
    if (krait__own(outlet, object, (size_t)bytes_of(head, dtype.item_size), out, err)) {
        krait__struct_free(fields);
        return KRAIT_E_NOMEM;
    }
    out->kind = KRAIT_KIND_ARRAY;
    out->as.array.data = head->data;
    out->as.array.dtype = dtype;
    out->as.array.ndim = head->ndim;
    out->as.array.flags = krait__flags_of(head->flags) | marks;
    out->as.array.shape = NULL;
    out->as.array.strides = NULL;
    if (head->ndim <= 3) fill_dims(head, out->as.array.dims, out->as.array.dims + 3);
    if ((head->ndim > 3 || fields) && add_extra(out, head, fields, err)) {
        krait__struct_free(fields);
        krait_value_clear(out);
        return KRAIT_E_NOMEM;
    }
    return KRAIT_OK;
}

static krait_status refuse_array(PyObject *object, krait_error **err) {
    if (krait__type(object) != krait__np.array_type) {
        PyObject *mask =
            py.PyObject_GetAttrString(object, "_mask"); /* of numpy.ma, whose missing values would be lost */
        py.PyErr_Clear();
        if (mask) {
            py.Py_DecRef(mask);
            return krait__fail(err, KRAIT_E_UNSUPPORTED,
                               "a masked array: return a.filled(value), or data and mask apart");
        }
    }
    if (krait__head(object)->ndim > KRAIT_MAX_NDIM)
        return krait__fail(err, KRAIT_E_SHAPE, "an array with %d dimensions; at most %d are supported",
                           krait__head(object)->ndim, KRAIT_MAX_NDIM);
    return KRAIT_OK;
}

static inline bool may_touch(const krait__loan *loans, size_t count, const char *data, int64_t bytes) {
    for (size_t i = 0; i < count; i++) {
        const krait__loan *loan = &loans[i];
        if (!loan->dead && (bytes == 0 || (data < loan->hi && data + bytes > loan->lo))) return true;
    }
    return false;
}

/* Most results: an ndarray of a numeric dtype, C-contiguous and aligned, of up to three dimensions, apart from all
 * loans. False: any other, and *out is as it was but for room that is written again. */
bool krait__array_out_quick(krait__thread *thread, const krait__loan *loans, size_t loan_count, PyObject *object,
                            krait_value *out) {
    const krait__array_head *head = krait__head(object);
    uint8_t                  code = krait__descr_code(head->descr);
    krait__hold             *hold;
    int64_t                  bytes = krait__code_size(code);
    if (!code || head->ndim > 3 || (head->flags & (NPY_C | NPY_ALIGNED)) != (NPY_C | NPY_ALIGNED)) return false;
    for (int i = 0; i < head->ndim; i++) {
        out->as.array.dims[i] = head->shape[i];
        out->as.array.dims[3 + i] = head->strides[i];
        bytes *= head->shape[i];
    }
    if (may_touch(loans, loan_count, head->data, bytes)) return false;
    hold = krait__hold_new(thread, object, (size_t)bytes);
    if (!hold) return false;
    out->kind = KRAIT_KIND_ARRAY;
    out->flags = KRAIT_VALUE_PYTHON_;
    out->release = krait__hold_release;
    out->owner = hold;
    out->as.array.data = head->data;
    out->as.array.dtype = krait_dtype_make_(code, 0, krait__code_size(code), 0);
    out->as.array.ndim = head->ndim;
    out->as.array.flags = krait__flags_of(head->flags);
    out->as.array.shape = NULL;
    out->as.array.strides = NULL;
    return true;
}

static krait_status array_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    const krait__array_head *head = krait__head(object);
    struct krait_struct     *fields = NULL;
    krait__loan             *under;
    krait_dtype              dtype;
    uint32_t                 marks = 0;
    bool                     detach, plain;
    krait_status             status = refuse_array(object, err);
    uint8_t                  code = krait__descr_code(head->descr);
    if (!status && !code && krait__descr_is_objects(head->descr) && head->ndim == 1)
        return krait__frame_of_array(outlet, object, out, err);
    if (code) dtype = krait_dtype_make_(code, 0, krait__code_size(code), 0);
    else if (!status) status = krait__descr_read(head->descr, &dtype, &fields, err);
    if (status) {
        py.Py_DecRef(object);
        return status;
    }
    under = outlet->loan_count ? krait__loan_under_array(outlet, head, dtype.item_size) : NULL;
    detach = under && !under->alias;
    plain = (head->flags & (NPY_C | NPY_ALIGNED)) == (NPY_C | NPY_ALIGNED) && !dtype.swapped;
    if (detach || (!plain && !outlet->keep_strides)) {
        status = copy_out(outlet, &object, dtype.item_size, detach, err);
        dtype.swapped = 0;
        marks = KRAIT_ARRAY_COPIED;
        outlet->detached |= detach;
    } else if (under) {
        under->kept = true;
        marks = KRAIT_ARRAY_ALIAS;
    }
    if (status) {
        krait__struct_free(fields);
        return status;
    }
    return array_fill(outlet, object, dtype, fields, marks, out, err);
}

/* ---- out of Python: lists and maps ------------------------------------------------------------------------------- */

static krait_status too_many(Py_ssize_t count, krait_error **err) {
    return krait__fail(err, KRAIT_E_UNSUPPORTED,
                       "lists and dicts of %zd items in all; at most %d: return a numpy array", count,
                       KRAIT__ITEMS_MAX);
}

static krait_status from_python(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err);

static krait_status child_out(krait__outlet *outlet, PyObject *child, krait_value *out, krait_error **err) {
    krait_status status;
    if (outlet->depth >= KRAIT__DEPTH_MAX)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "lists or dicts nested more than %d deep; one may contain itself",
                           KRAIT__DEPTH_MAX);
    outlet->depth++;
    py.Py_IncRef(child);
    status = from_python(outlet, child, out, err);
    outlet->depth--;
    return status;
}

/* Ends a list or map: the tree becomes the value's owner and keeps the Python object, so that it can be passed on as
 * itself. */
static krait_status tree_out(krait__outlet *outlet, krait__tree *tree, PyObject *object, krait_value *out,
                             krait_error **err) {
    krait__hold *hold = NULL;
    if (!outlet->detached) {
        hold = krait__hold_new(outlet->thread, object, 0);
        if (!hold) return krait__fail_nomem(err);
        py.Py_IncRef(object);
    }
    tree->object = hold;
    tree->object_release = hold ? krait__hold_release : NULL;
    out->kind = tree->keys ? KRAIT_KIND_MAP : KRAIT_KIND_LIST;
    out->flags = KRAIT_VALUE_PYTHON_;
    out->release = krait__tree_release;
    out->owner = tree;
    out->as.list.items = tree->items;
    out->as.list.keys = tree->keys;
    out->as.list.count = tree->count;
    return KRAIT_OK;
}

/* A tuple; a list comes as a tuple of its items, since converting may run Python code that changes it. */
static krait_status items_out(krait__outlet *outlet, PyObject *items, PyObject *object, krait_value *out,
                              krait_error **err) {
    Py_ssize_t   count = py.PyTuple_Size(items);
    krait__tree *tree;
    krait_status status = KRAIT_OK;
    bool         outer = outlet->detached;
    if ((outlet->items += count) > KRAIT__ITEMS_MAX) return too_many(outlet->items, err);
    tree = krait__tree_new((size_t)count, false, 0);
    if (!tree) return krait__fail_nomem(err);
    outlet->detached = false;
    for (Py_ssize_t i = 0; i < count && !status; i++) {
        status = child_out(outlet, py.PyTuple_GetItem(items, i), &tree->items[i], err);
        krait__at(err, "convert result, item %zd", i);
    }
    if (!status) status = tree_out(outlet, tree, object, out, err);
    if (status) krait__tree_release(tree);
    outlet->detached |= outer;
    return status;
}

static krait_status list_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    bool         is_tuple = krait__is(object, py.PyTuple_Type);
    PyObject    *items = is_tuple ? object : py.PyList_AsTuple(object);
    krait_status status;
    status = items ? items_out(outlet, items, object, out, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (items && !is_tuple) py.Py_DecRef(items);
    py.Py_DecRef(object);
    return status;
}

static krait_status key_of(PyObject *pair, const char **text, size_t *size, krait_error **err) {
    PyObject  *key = py.PyTuple_GetItem(pair, 0);
    Py_ssize_t length = 0;
    *text = krait__is(key, py.PyUnicode_Type) ? py.PyUnicode_AsUTF8AndSize(key, &length) : NULL;
    *size = (size_t)length;
    if (*text && strlen(*text) == *size) return KRAIT_OK;
    if (*text) return krait__fail(err, KRAIT_E_UNSUPPORTED, "a dict key contains a NUL character");
    if (py.PyErr_Occurred()) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    return krait__fail_type(key, KRAIT_E_UNSUPPORTED, err, "a dict key is of type ", "; expected str");
}

static krait_status pairs_out(krait__outlet *outlet, PyObject *pairs, Py_ssize_t count, krait__tree *tree,
                              krait_error **err) {
    krait_status status = KRAIT_OK;
    char        *text = tree->text;
    for (Py_ssize_t i = 0; i < count && !status; i++) {
        PyObject   *pair = py.PyTuple_GetItem(pairs, i);
        const char *key;
        size_t      size;
        status = key_of(pair, &key, &size, err);
        if (status) break;
        tree->keys[i] = memcpy(text, key, size + 1);
        text += size + 1;
        status = child_out(outlet, py.PyTuple_GetItem(pair, 1), &tree->items[i], err);
        krait__at(err, "convert result, item '%s'", tree->keys[i]);
    }
    return status;
}

static krait_status key_bytes(PyObject *pairs, Py_ssize_t count, size_t *bytes, krait_error **err) {
    *bytes = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        const char  *key;
        size_t       size;
        krait_status status = key_of(py.PyTuple_GetItem(pairs, i), &key, &size, err);
        if (status) return status;
        *bytes += size + 1;
    }
    return KRAIT_OK;
}

static krait_status map_of_pairs(krait__outlet *outlet, PyObject *pairs, PyObject *object, krait_value *out,
                                 krait_error **err) {
    Py_ssize_t   count = py.PyTuple_Size(pairs);
    krait__tree *tree;
    size_t       bytes = 0;
    bool         outer = outlet->detached;
    krait_status status = (outlet->items += count) > KRAIT__ITEMS_MAX ? too_many(outlet->items, err)
                                                                      : key_bytes(pairs, count, &bytes, err);
    if (status) return status;
    tree = krait__tree_new((size_t)count, true, bytes);
    if (!tree) return krait__fail_nomem(err);
    outlet->detached = false;
    status = pairs_out(outlet, pairs, count, tree, err);
    if (!status) status = tree_out(outlet, tree, object, out, err);
    if (status) krait__tree_release(tree);
    outlet->detached |= outer;
    return status;
}

static krait_status map_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    PyObject    *list = py.PyDict_Items(object);
    PyObject    *pairs = list ? py.PyList_AsTuple(list) : NULL;
    krait_status status =
        pairs ? map_of_pairs(outlet, pairs, object, out, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (pairs) py.Py_DecRef(pairs);
    if (list) py.Py_DecRef(list);
    py.Py_DecRef(object);
    return status;
}

/* ---- out of Python: everything else ------------------------------------------------------------------------------ */

static bool is_plain_scalar(PyObject *object) {
    PyTypeObject *const types[] = { py.PyFloat_Type,   py.PyLong_Type,    py.PyBool_Type,
                                    py.PyComplex_Type, py.PyUnicode_Type, py.PyBytes_Type };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (krait__type(object) == types[i]) return true;
    return false;
}

/* A numpy scalar becomes the Python scalar it stands for; those that have none are refused by name. */
static krait_status scalar_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    PyObject *item = py.PyObject_GetAttr(object, krait__np.item_attr);
    PyObject *plain = item ? py.PyObject_Vectorcall(item, NULL, 0, NULL) : NULL;
    if (item) py.Py_DecRef(item);
    if (!plain) {
        py.Py_DecRef(object);
        return krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (!is_plain_scalar(plain)) {
        krait_status status = krait__fail_type(object, KRAIT_E_UNSUPPORTED, err, "a scalar of type ",
                                               " is not supported; return numpy.asarray(x), or float(x)");
        py.Py_DecRef(plain);
        py.Py_DecRef(object);
        return status;
    }
    py.Py_DecRef(object);
    return from_python(outlet, plain, out, err);
}

/* Any of numpy's scalars. */
static krait_status generic_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    int time = krait__is_time_scalar(object);
    if (time > 0) return krait__time_out(outlet, object, out, err);
    if (!time) return scalar_out(outlet, object, out, err);
    py.Py_DecRef(object);
    return krait__pyerr_take(KRAIT_E_PYTHON, err);
}

/* What krait._bridge.sort_of says of a type that is none of the usual ones; SORT_FAILED: an exception is set. */
enum { SORT_FAILED = -1, SORT_OBJECT, SORT_NONE, SORT_COROUTINE, SORT_ITERATOR, SORT_TABLE, SORT_TIME, SORT_TENSOR };

static int sort_of(PyObject *object) {
    PyObject *answer = krait__bridge_call("sort_of", object, NULL);
    int       overflow, sort = answer ? (int)py.PyLong_AsLongLongAndOverflow(answer, &overflow) : SORT_FAILED;
    if (answer) py.Py_DecRef(answer);
    return sort;
}

/* A coroutine's result, in the place of its reference; NULL with an exception set. */
static PyObject *run_coroutine(PyObject *coroutine) {
    PyObject *result = krait__bridge_call("run_coroutine", coroutine, NULL);
    py.Py_DecRef(coroutine);
    return result;
}

/* Only a call's own result is run. */
static krait_status coroutine_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    if (outlet->depth) {
        py.Py_DecRef(object);
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "a coroutine is only run as a call's own result: await it before");
    }
    object = run_coroutine(object);
    return object ? from_python(outlet, object, out, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

static krait_status handle_out(krait__outlet *outlet, PyObject *object, uint8_t kind, krait_value *out,
                               krait_error **err) {
    if (krait__own(outlet, object, 0, out, err)) return KRAIT_E_NOMEM;
    out->kind = kind;
    return KRAIT_OK;
}

/* Of another array library: an array over its memory. */
static krait_status tensor_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    PyObject    *array;
    krait_status status = krait__tensor_array(object, &array, err);
    return status ? status : array_out(outlet, array, out, err);
}

/* What has to be asked for. */
static krait_status sorted_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    switch (sort_of(object)) {
    case SORT_FAILED: py.Py_DecRef(object); return krait__pyerr_take(KRAIT_E_PYTHON, err);
    case SORT_NONE: py.Py_DecRef(object); return KRAIT_OK;
    case SORT_COROUTINE: return coroutine_out(outlet, object, out, err);
    case SORT_ITERATOR: return handle_out(outlet, object, KRAIT_KIND_ITERATOR, out, err);
    case SORT_TABLE: return krait__frame_out(outlet, object, out, err);
    case SORT_TIME: return krait__time_out(outlet, object, out, err);
    case SORT_TENSOR: return tensor_out(outlet, object, out, err);
    default: return handle_out(outlet, object, KRAIT_KIND_OBJECT, out, err);
    }
}

/* Subclasses, and numpy's scalars. */
static krait_status rare_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    if (krait__is_array(object)) return array_out(outlet, object, out, err);
    if (krait__is(object, py.PyFloat_Type)) return krait__float_out(object, out); /* numpy.float64 is one */
    if (krait__is(object, py.PyUnicode_Type)) return text_out(outlet, object, out, err);
    if (krait__is(object, py.PyLong_Type)) return int_out(object, out, err);
    if (krait__is(object, py.PyComplex_Type)) return complex_out(object, out, err);
    if (krait__is(object, py.PyBytes_Type) || krait__is(object, py.PyByteArray_Type) ||
        krait__is(object, py.PyMemoryView_Type))
        return bytes_out(outlet, object, out, err);
    if (krait__is(object, py.PyTuple_Type) || krait__is(object, py.PyList_Type))
        return list_out(outlet, object, out, err);
    if (krait__is(object, py.PyDict_Type)) return map_out(outlet, object, out, err);
    if (krait__numpy_loaded() && krait__is(object, krait__np.generic_type))
        return generic_out(outlet, object, out, err);
    return sorted_out(outlet, object, out, err);
}

/* The exact types first, by their frequency. */
static krait_status from_python(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    PyTypeObject *type = krait__type(object);
    krait__set_none(out);
    if (type == py.PyFloat_Type) return krait__float_out(object, out);
    if (type == krait__np.array_type && krait__numpy_loaded())
        return krait__array_out_quick(outlet->thread, outlet->loans, outlet->loan_count, object, out)
                   ? KRAIT_OK
                   : array_out(outlet, object, out, err);
    if (object == py._Py_NoneStruct) {
        py.Py_DecRef(object);
        return KRAIT_OK;
    }
    if (type == py.PyLong_Type) return int_out(object, out, err);
    if (type == py.PyBool_Type) {
        out->kind = KRAIT_KIND_BOOL;
        out->as.b = py.PyObject_IsTrue(object) == 1;
        py.Py_DecRef(object);
        return KRAIT_OK;
    }
    if (type == py.PyUnicode_Type) return text_out(outlet, object, out, err);
    if (type == py.PyTuple_Type || type == py.PyList_Type) return list_out(outlet, object, out, err);
    if (type == py.PyDict_Type) return map_out(outlet, object, out, err);
    return rare_out(outlet, object, out, err);
}

krait_status krait__from_python(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    krait_status status = from_python(outlet, object, out, err);
    if (!status) return KRAIT_OK;
    krait__set_none(out);
    krait__at(err, "convert result");
    return status;
}

static bool drop_object(void **object, void (**release)(void *object)) {
    if (!*release) return false;
    (*release)(*object);
    *object = NULL;
    *release = NULL;
    return true;
}

bool krait__let_go(krait_value *value) {
    bool any = false;
    if (!(value->flags & KRAIT_VALUE_PYTHON_)) return false;
    if (value->kind == KRAIT_KIND_TABLE) {
        krait_table *table = value->owner;
        return drop_object(&table->object, &table->object_release);
    }
    if (value->kind == KRAIT_KIND_LIST || value->kind == KRAIT_KIND_MAP) {
        krait__tree *tree = value->owner;
        for (size_t i = 0; i < tree->count; i++) any |= krait__let_go(&tree->items[i]);
        if (any) drop_object(&tree->object, &tree->object_release); /* it keeps those of the tables */
    }
    return any;
}

/* Types that no coroutine is of: not worth asking. */
static bool is_common(PyObject *object) {
    PyTypeObject *type = krait__type(object);
    return object == py._Py_NoneStruct || is_plain_scalar(object) || type == krait__np.array_type ||
           type == py.PyTuple_Type || type == py.PyList_Type || type == py.PyDict_Type;
}

krait_status krait__drop_result(PyObject *object, krait_error **err) {
    int          sort = is_common(object) ? SORT_OBJECT : sort_of(object);
    krait_status status = KRAIT_OK;
    if (sort == SORT_COROUTINE) object = run_coroutine(object);
    if (sort == SORT_FAILED || !object) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (object) py.Py_DecRef(object);
    krait__at(err, "call");
    return status;
}
