/* dlpack: DLPack tensors from and to array values, in plain C. Knows no Python.
 *
 * The layouts are those of the DLPack specification 1.0 (structs DLTensor, DLManagedTensor, DLManagedTensorVersioned):
 * shape and strides in elements, int64. A tensor is checked in full before an address in it is formed. Refuses every
 * device but the CPU, vectors (lanes), and dtypes that C has no type for. */
#include "dlpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "value.h"

/* ---- layouts of the specification -------------------------------------------------------------------------------- */

typedef struct device {
    int32_t type, number;
} device;

typedef struct data_type {
    uint8_t  code, bits;
    uint16_t lanes;
} data_type;

typedef struct tensor {
    void     *data;
    device    device;
    int32_t   ndim;
    data_type dtype;
    int64_t  *shape, *strides; /* strides may be NULL: C order */
    uint64_t  byte_offset;
} tensor;

typedef struct DLManagedTensor {
    tensor tensor;
    void  *manager;
    void (*deleter)(struct DLManagedTensor *self); /* NULL: nothing to do */
} plain_tensor;

typedef struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void    *manager;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    tensor   tensor;
} versioned_tensor;

enum { READ_ONLY = 1, MAJOR = 1, CODE_INT = 0, CODE_UINT = 1, CODE_FLOAT = 2, CODE_COMPLEX = 5, CODE_BOOL = 6 };

/* ---- what is refused --------------------------------------------------------------------------------------------- */

krait_status krait__dlpack_device(int32_t type, int32_t number, krait_error **err) {
    static const char *const names[] = {
        [2] = "CUDA",    [3] = "CUDA host", [4] = "OpenCL",     [7] = "Vulkan",     [8] = "Metal",
        [9] = "VPI",     [10] = "ROCm",     [11] = "ROCm host", [12] = "extension", [13] = "CUDA managed",
        [14] = "oneAPI", [15] = "WebGPU",   [16] = "Hexagon",   [17] = "MAIA",      [18] = "Trainium"
    };
    const char *name = type >= 0 && type < (int32_t)(sizeof names / sizeof *names) ? names[type] : NULL;
    if (type == KRAIT__DLPACK_CPU) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_UNSUPPORTED,
                       "the tensor lies on %s device %" PRId32 " (DLPack type %" PRId32
                       "); krait reads memory of the CPU only: copy it there before",
                       name ? name : "an unknown", number, type);
}

static krait_status refuse_dtype(data_type type, krait_error **err) {
    static const char *const names[] = { "int", "uint", "float", "opaque handle", "bfloat", "complex", "bool" };
    const char              *name = type.code < sizeof names / sizeof *names ? names[type.code] : "small float";
    if (type.lanes != 1)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "the tensor's elements are vectors of %u lanes, expected 1",
                           type.lanes);
    return krait__fail(err, KRAIT_E_UNSUPPORTED,
                       "the tensor's elements are of %s, %u bits (DLPack code %u), which krait has no dtype for", name,
                       type.bits, type.code);
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

static uint8_t dlpack_code(uint8_t code) {
    if (code == KRAIT_BOOL) return CODE_BOOL;
    if (code <= KRAIT_I64) return CODE_INT;
    if (code <= KRAIT_U64) return CODE_UINT;
    return code <= KRAIT_F64 ? CODE_FLOAT : CODE_COMPLEX;
}

static krait_status read_dtype(data_type type, krait_dtype *dtype, krait_error **err) {
    for (uint8_t code = KRAIT_BOOL; code <= KRAIT_C128 && type.lanes == 1; code++) {
        if (dlpack_code(code) != type.code || krait__code_size(code) * 8 != type.bits) continue;
        *dtype = krait_dtype_make_(code, 0, krait__code_size(code), 0);
        return KRAIT_OK;
    }
    return refuse_dtype(type, err);
}

/* ---- import ------------------------------------------------------------------------------------------------------ */

/* What the value owns: the tensor, and its shape with strides in bytes. */
typedef struct imported {
    void   *tensor;
    bool    versioned;
    int64_t dims[]; /* shape, then strides */
} imported;

static void release_imported(void *owner) {
    imported         *own = owner;
    plain_tensor     *plain = own->tensor;
    versioned_tensor *versioned = own->tensor;
    if (own->versioned && versioned->deleter) versioned->deleter(versioned);
    if (!own->versioned && plain->deleter) plain->deleter(plain);
    krait__free(own);
}

static krait_status check_tensor(const tensor *from, krait_dtype *dtype, krait_error **err) {
    krait_status status = krait__dlpack_device(from->device.type, from->device.number, err);
    if (!status) status = read_dtype(from->dtype, dtype, err);
    if (status) return status;
    if (from->ndim < 0 || from->ndim > KRAIT_MAX_NDIM)
        return krait__fail(err, KRAIT_E_SHAPE, "the tensor has %" PRId32 " dimensions, expected 0 to %d", from->ndim,
                           KRAIT_MAX_NDIM);
    if (from->ndim && !from->shape)
        return krait__fail(err, KRAIT_E_ARGUMENT, "the tensor's shape is NULL, expected %" PRId32 " lengths",
                           from->ndim);
    return KRAIT_OK;
}

/* Strides in bytes; C order where there are none. A shape that is too large is left to the array's own check. */
static krait_status read_strides(const tensor *from, int64_t item, int64_t *strides, krait_error **err) {
    int64_t step = item;
    for (int32_t i = from->ndim - 1; i >= 0; i--) {
        strides[i] = step;
        step = (int64_t)((uint64_t)step * (uint64_t)from->shape[i]);
        if (from->strides && __builtin_mul_overflow(from->strides[i], item, &strides[i]))
            return krait__fail(err, KRAIT_E_SHAPE,
                               "the tensor's stride of %" PRId64 " elements in dimension %" PRId32
                               " reaches beyond memory",
                               from->strides[i], i);
    }
    return KRAIT_OK;
}

static krait_status describe(const tensor *from, krait_dtype dtype, imported *own, krait_value *value,
                             krait_error **err) {
    uintptr_t    at = (uintptr_t)from->data;
    const char  *lo, *hi;
    int64_t      size;
    krait_status status = read_strides(from, (int64_t)dtype.item_size, own->dims + from->ndim, err);
    if (status) return status;
    if (from->ndim) memcpy(own->dims, from->shape, (size_t)from->ndim * sizeof(int64_t));
    if (at && __builtin_add_overflow(at, from->byte_offset, &at))
        return krait__fail(err, KRAIT_E_SHAPE, "the tensor's byte_offset %" PRIu64 " reaches beyond memory",
                           from->byte_offset);
    *value = krait_ndarray((const void *)at, dtype, from->ndim, own->dims, own->dims + from->ndim);
    return krait__array_check(value, &lo, &hi, &size, err);
}

static krait_status import(void *handle, bool versioned, const tensor *from, bool read_only, krait_value *out,
                           krait_error **err) {
    krait_dtype  dtype = krait_dtype_make_(0, 0, 0, 0);
    imported    *own;
    krait_value  value;
    krait_status status = check_tensor(from, &dtype, err);
    if (status) return status;
    own = krait__alloc(krait__size((size_t)from->ndim * 2, sizeof(int64_t), sizeof *own));
    if (!own) return krait__fail_nomem(err);
    own->tensor = handle;
    own->versioned = versioned;
    status = describe(from, dtype, own, &value, err);
    if (status) {
        krait__free(own);
        return status;
    }
    value.as.array.flags = read_only ? 0 : KRAIT_ARRAY_WRITABLE;
    value.release = release_imported;
    value.owner = own;
    *out = value;
    return KRAIT_OK;
}

krait_status krait__dlpack_take(void *handle, bool versioned, krait_value *out, krait_error **err) {
    const versioned_tensor *later = handle;
    const plain_tensor     *plain = handle;
    if (!handle) return krait__fail(err, KRAIT_E_ARGUMENT, "tensor is NULL");
    if (!versioned) return import(handle, false, &plain->tensor, false, out, err);
    if (later->major != MAJOR) /* the rest of the struct may be another */
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "the tensor is of DLPack %" PRIu32 ".%" PRIu32 ", expected %d.x",
                           later->major, later->minor, MAJOR);
    return import(handle, true, &later->tensor, (later->flags & READ_ONLY) != 0, out, err);
}

void krait__dlpack_forget(krait_value *value) {
    krait__free(value->owner);
    krait__set_none(value);
}

krait_status krait_dlpack_import(void *tensor, bool versioned, krait_value *out, krait_error **err) {
    krait_status status;
    if (out) krait__set_none(out);
    if (krait__stuck(err)) return krait_error_status(*err);
    status = out ? krait__dlpack_take(tensor, versioned, out, err) : krait__fail(err, KRAIT_E_ARGUMENT, "out is NULL");
    krait__at(err, "import tensor");
    return status;
}

/* ---- export ------------------------------------------------------------------------------------------------------ */

/* The tensor, what it keeps, and its shape with strides in elements: one block. */
typedef struct exported {
    union {
        plain_tensor     plain;
        versioned_tensor versioned;
    } as; /* first: the deleters get its address */
    void (*release)(void *owner);
    void   *owner;
    int64_t dims[]; /* shape, then strides */
} exported;

static void delete_exported(exported *made) {
    if (made->release) made->release(made->owner);
    krait__free(made);
}

static void delete_plain(plain_tensor *self) {
    delete_exported((exported *)(void *)self);
}

static void delete_versioned(versioned_tensor *self) {
    delete_exported((exported *)(void *)self);
}

static krait_status check_array(const krait_array *array, bool versioned, krait_error **err) {
    char name[64];
    krait_dtype_name(array->dtype, name, sizeof name);
    if (array->dtype.code > KRAIT_C128 || array->dtype.swapped)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "DLPack has no elements of %s", name);
    if (!(array->flags & KRAIT_ARRAY_ALIGNED))
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "the array is not aligned for %s, as DLPack asks for", name);
    if (!versioned && !(array->flags & KRAIT_ARRAY_WRITABLE))
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "the array is read-only, which a plain DLPack tensor cannot say: export it versioned, or "
                           "set KRAIT_ARRAY_WRITABLE in its flags");
    return KRAIT_OK;
}

/* Shape, and strides in elements; of an array without strides those of C order. */
static krait_status fill_dims(const krait_array *array, int64_t *dims, krait_error **err) {
    int64_t item = (int64_t)array->dtype.item_size, step = 1;
    for (int32_t i = array->ndim - 1; i >= 0; i--) {
        dims[i] = array->shape[i];
        dims[array->ndim + i] = array->strides ? array->strides[i] / item : step;
        if (array->strides && array->strides[i] % item)
            return krait__fail(err, KRAIT_E_UNSUPPORTED,
                               "the array's stride of %" PRId64 " bytes in dimension %d is no multiple of its "
                               "elements' %" PRId64,
                               array->strides[i], (int)i, item);
        step *= array->shape[i];
    }
    return KRAIT_OK;
}

static void fill_tensor(const krait_array *array, int64_t *dims, tensor *to) {
    data_type dtype = { dlpack_code(array->dtype.code), (uint8_t)(array->dtype.item_size * 8), 1 };
    to->data = array->data;
    to->device = (device){ KRAIT__DLPACK_CPU, 0 };
    to->ndim = array->ndim;
    to->dtype = dtype;
    to->shape = dims;
    to->strides = dims + array->ndim;
    to->byte_offset = 0;
}

static void *fill(const krait_array *array, bool versioned, exported *made) {
    if (!versioned) {
        fill_tensor(array, made->dims, &made->as.plain.tensor);
        made->as.plain.deleter = delete_plain;
        return &made->as.plain;
    }
    fill_tensor(array, made->dims, &made->as.versioned.tensor);
    made->as.versioned.major = MAJOR;
    made->as.versioned.flags = array->flags & KRAIT_ARRAY_WRITABLE ? 0 : READ_ONLY;
    made->as.versioned.deleter = delete_versioned;
    return &made->as.versioned;
}

static krait_status export(krait_value *value, bool versioned, void **tensor, krait_error **err) {
    krait_array  array;
    exported    *made;
    krait_status status = krait_get_array(value, KRAIT_ANY, -1, &array, err);
    if (!status) status = check_array(&array, versioned, err);
    if (status) return status;
    made = krait__zalloc(krait__size((size_t)array.ndim * 2, sizeof(int64_t), sizeof *made));
    if (!made) return krait__fail_nomem(err);
    status = fill_dims(&array, made->dims, err);
    if (status) {
        krait__free(made);
        return status;
    }
    *tensor = fill(&array, versioned, made);
    if (!value->release) return KRAIT_OK; /* borrowed */
    made->release = value->release;
    made->owner = value->owner;
    krait__set_none(value);
    return KRAIT_OK;
}

krait_status krait_dlpack_export(krait_value *value, bool versioned, void **tensor, krait_error **err) {
    krait_status status = KRAIT_OK;
    char         what[128];
    if (tensor) *tensor = NULL;
    if (krait__stuck(err)) return krait_error_status(*err);
    if (!value || !tensor) return krait__fail(err, KRAIT_E_ARGUMENT, "%s is NULL", value ? "tensor" : "value");
    if (value->kind != KRAIT_KIND_ARRAY) {
        krait_value_describe(value, what, sizeof what);
        status = krait__fail(err, KRAIT_E_KIND, "value is %s, expected an array", what);
    }
    if (!status) status = export(value, versioned, tensor, err);
    krait__at(err, "export tensor");
    return status;
}
