/* dlpack: tensors of every version, flag and fault from and to array values; every allocation failed in turn. Build with
 * -DKRAIT_FAULTS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <krait/arrow.h>

#include "error.h"
#include "mem.h"
#include "value.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The structs of the DLPack specification 1.0, written again so that a mistake in the library's would show. */
typedef struct {
    void    *data;
    int32_t  device_type, device_id;
    int32_t  ndim;
    uint8_t  code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;

struct DLManagedTensor {
    DLTensor dl_tensor;
    void    *manager_ctx;
    void (*deleter)(struct DLManagedTensor *self);
};

struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void    *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    DLTensor dl_tensor;
};

static krait_error *err;
static int          deleted;

static void assert_good(void) {
    if (err) fail_msg("%s: %s", krait_error_step(err), krait_error_message(err));
}

static void says(krait_status status, const char *message) {
    if (krait_error_status(err) != status) fail_msg("%s", krait_error_message(err));
    assert_string_equal(krait_error_message(err), message);
    krait_error_clear(&err);
}

/* ---- import ------------------------------------------------------------------------------------------------------ */

static double  memory[24];
static int64_t shape[KRAIT_MAX_NDIM + 1], strides[KRAIT_MAX_NDIM + 1];

static void delete_plain(struct DLManagedTensor *self) {
    assert_true(self->manager_ctx == memory);
    deleted++;
}

static void delete_versioned(struct DLManagedTensorVersioned *self) {
    assert_true(self->manager_ctx == memory);
    deleted++;
}

/* A tensor of 24 doubles, (2, 3, 4). */
static DLTensor tensor(void) {
    DLTensor made = { memory, 1, 0, 3, 2, 64, 1, shape, NULL, 0 };
    for (int i = 0; i <= KRAIT_MAX_NDIM; i++) shape[i] = 1;
    shape[0] = 2;
    shape[1] = 3;
    shape[2] = 4;
    for (int i = 0; i < 24; i++) memory[i] = i;
    return made;
}

static struct DLManagedTensor plain(void) {
    struct DLManagedTensor made = { tensor(), memory, delete_plain };
    return made;
}

static struct DLManagedTensorVersioned versioned(void) {
    struct DLManagedTensorVersioned made = { 1, 0, memory, delete_versioned, 0, tensor() };
    return made;
}

static krait_array import(void *from, bool later, krait_value *value) {
    krait_array array;
    krait_dlpack_import(from, later, value, &err);
    krait_get_array(value, KRAIT_ANY, -1, &array, &err);
    assert_good();
    return array;
}

static void both_versions(void **state) {
    struct DLManagedTensor          old = plain();
    struct DLManagedTensorVersioned new = versioned();
    krait_value                     value;
    krait_array                     array = import(&old, false, &value);
    (void)state;
    deleted = 0;
    assert_ptr_equal(array.data, memory);
    assert_true(array.dtype.code == KRAIT_F64 && array.ndim == 3 && array.size == 24);
    assert_true(array.strides[0] == 96 && array.strides[1] == 32 && array.strides[2] == 8);
    assert_true(array.flags & KRAIT_ARRAY_C_CONTIGUOUS && array.flags & KRAIT_ARRAY_WRITABLE);
    krait_value_clear(&value);
    assert_int_equal(deleted, 1);
    array = import(&new, true, &value);
    assert_true(array.flags & KRAIT_ARRAY_WRITABLE);
    krait_value_clear(&value);
    krait_value_clear(&value);
    assert_int_equal(deleted, 2);
    new.flags = 1;
    new.minor = 7; /* only the major version changes layouts */
    array = import(&new, true, &value);
    assert_false(array.flags & KRAIT_ARRAY_WRITABLE);
    new.deleter = NULL;
    krait_value_clear(&value);
    assert_int_equal(deleted, 2);
}

static void strides_and_offset(void **state) {
    struct DLManagedTensor one = plain();
    krait_value            value;
    krait_array            array;
    double                 second;
    (void)state;
    one.dl_tensor.ndim = 2;
    one.dl_tensor.strides = strides;
    one.dl_tensor.byte_offset = 23 * sizeof(double);
    strides[0] = -12;
    strides[1] = 0; /* one element again and again */
    array = import(&one, false, &value);
    assert_true(array.strides[0] == -96 && array.strides[1] == 0);
    assert_true(*(double *)array.data == 23);
    memcpy(&second, (char *)array.data + array.strides[0], sizeof second);
    assert_true(second == 11);
    krait_value_clear(&value);
}

static void any_number_of_dimensions(void **state) {
    struct DLManagedTensor one = plain();
    krait_value            value;
    krait_array            array;
    (void)state;
    one.dl_tensor.ndim = KRAIT_MAX_NDIM;
    array = import(&one, false, &value);
    memset(shape, 0, sizeof shape); /* the value has its own */
    assert_true(array.ndim == 32 && array.size == 24 && array.shape[2] == 4);
    krait_value_clear(&value);
    one.dl_tensor.ndim = 0;
    one.dl_tensor.shape = NULL;
    array = import(&one, false, &value);
    assert_true(array.ndim == 0 && array.size == 1);
    krait_value_clear(&value);
    one = plain();
    shape[1] = 0;
    one.dl_tensor.data = NULL;
    one.dl_tensor.byte_offset = 64; /* of nothing */
    array = import(&one, false, &value);
    assert_true(array.size == 0 && !array.data);
    krait_value_clear(&value);
}

static void every_dtype(void **state) {
    static const struct {
        uint8_t code, bits, dtype;
    } rows[] = {
        { 0, 8, KRAIT_I8 },    { 0, 16, KRAIT_I16 }, { 0, 32, KRAIT_I32 }, { 0, 64, KRAIT_I64 },  { 1, 8, KRAIT_U8 },
        { 1, 16, KRAIT_U16 },  { 1, 32, KRAIT_U32 }, { 1, 64, KRAIT_U64 }, { 2, 16, KRAIT_F16 },  { 2, 32, KRAIT_F32 },
        { 2, 64, KRAIT_F64 },  { 5, 64, KRAIT_C64 }, { 5, 128, KRAIT_C128 }, { 6, 8, KRAIT_BOOL },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct DLManagedTensor one = plain();
        krait_value            value, fresh;
        void                  *back;
        krait_array            array;
        shape[0] = 1; /* 12 elements of up to 16 bytes */
        one.dl_tensor.code = rows[i].code;
        one.dl_tensor.bits = rows[i].bits;
        array = import(&one, false, &value);
        assert_int_equal(array.dtype.code, rows[i].dtype);
        assert_int_equal(array.strides[2] * 8, rows[i].bits);
        fresh = krait_borrow(&value);
        krait_dlpack_export(&fresh, true, &back, &err);
        assert_good();
        const struct DLManagedTensorVersioned *made = back;
        assert_true(made->dl_tensor.code == rows[i].code && made->dl_tensor.bits == rows[i].bits);
        assert_true(made->dl_tensor.lanes == 1);
        ((struct DLManagedTensorVersioned *)back)->deleter(back);
        krait_value_clear(&value);
    }
}

/* The tensor stays the caller's. */
static void refused(struct DLManagedTensor one, krait_status status, const char *message) {
    krait_value value;
    deleted = 0;
    assert_int_equal(krait_dlpack_import(&one, false, &value, &err), status);
    assert_int_equal(value.kind, KRAIT_KIND_NONE);
    assert_string_equal(krait_error_step(err), "import tensor");
    says(status, message);
    assert_int_equal(deleted, 0);
}

#define REFUSED(field, number, status, message)                                                                        \
    do {                                                                                                               \
        struct DLManagedTensor one_ = plain();                                                                         \
        one_.dl_tensor.field = (number);                                                                               \
        refused(one_, (status), (message));                                                                            \
    } while (0)

#define ELSEWHERE(what, number)                                                                                        \
    "the tensor lies on " what " device 0 (DLPack type " number "); krait reads memory of the CPU only: copy it there" \
    " before"

static void devices_are_refused(void **state) {
    (void)state;
    REFUSED(device_type, 2, KRAIT_E_UNSUPPORTED, ELSEWHERE("CUDA", "2"));
    REFUSED(device_type, 3, KRAIT_E_UNSUPPORTED, ELSEWHERE("CUDA host", "3"));
    REFUSED(device_type, 16, KRAIT_E_UNSUPPORTED, ELSEWHERE("Hexagon", "16"));
    REFUSED(device_type, 0, KRAIT_E_UNSUPPORTED, ELSEWHERE("an unknown", "0"));
    REFUSED(device_type, -7, KRAIT_E_UNSUPPORTED, ELSEWHERE("an unknown", "-7"));
    REFUSED(device_type, 19, KRAIT_E_UNSUPPORTED, ELSEWHERE("an unknown", "19"));
}

static void dtypes_are_refused(void **state) {
    (void)state;
    REFUSED(lanes, 4, KRAIT_E_UNSUPPORTED, "the tensor's elements are vectors of 4 lanes, expected 1");
    REFUSED(lanes, 0, KRAIT_E_UNSUPPORTED, "the tensor's elements are vectors of 0 lanes, expected 1");
    REFUSED(bits, 128, KRAIT_E_UNSUPPORTED,
            "the tensor's elements are of float, 128 bits (DLPack code 2), which krait has no dtype for");
    REFUSED(bits, 0, KRAIT_E_UNSUPPORTED,
            "the tensor's elements are of float, 0 bits (DLPack code 2), which krait has no dtype for");
    REFUSED(code, 3, KRAIT_E_UNSUPPORTED,
            "the tensor's elements are of opaque handle, 64 bits (DLPack code 3), which krait has no dtype for");
    REFUSED(code, 4, KRAIT_E_UNSUPPORTED,
            "the tensor's elements are of bfloat, 64 bits (DLPack code 4), which krait has no dtype for");
    REFUSED(code, 255, KRAIT_E_UNSUPPORTED,
            "the tensor's elements are of small float, 64 bits (DLPack code 255), which krait has no dtype for");
}

static void shapes_are_refused(void **state) {
    struct DLManagedTensor one;
    (void)state;
    REFUSED(ndim, -1, KRAIT_E_SHAPE, "the tensor has -1 dimensions, expected 0 to 32");
    REFUSED(ndim, 33, KRAIT_E_SHAPE, "the tensor has 33 dimensions, expected 0 to 32");
    REFUSED(shape, NULL, KRAIT_E_ARGUMENT, "the tensor's shape is NULL, expected 3 lengths");
    REFUSED(data, NULL, KRAIT_E_ARGUMENT, "data is NULL, expected 24 elements of float64");
    REFUSED(byte_offset, UINT64_MAX, KRAIT_E_SHAPE,
            "the tensor's byte_offset 18446744073709551615 reaches beyond memory");
    one = plain();
    shape[1] = -3;
    refused(one, KRAIT_E_SHAPE, "shape (2, -3, 4): dimension 1 is negative");
    one = plain();
    shape[0] = shape[1] = INT64_C(1) << 32;
    refused(one, KRAIT_E_SHAPE, "shape (4294967296, 4294967296, 4): more bytes than memory can have");
    one = plain();
    one.dl_tensor.strides = strides;
    strides[0] = INT64_MAX;
    refused(one, KRAIT_E_SHAPE, "the tensor's stride of 9223372036854775807 elements in dimension 0 reaches beyond"
                                " memory");
    strides[0] = INT64_C(1) << 59;
    strides[1] = strides[2] = INT64_C(1) << 59;
    refused(one, KRAIT_E_SHAPE, "shape (2, 3, 4): strides reach beyond memory");
}

static void versions_are_refused(void **state) {
    struct DLManagedTensorVersioned one = versioned();
    krait_value                     value;
    (void)state;
    one.major = 2;
    krait_dlpack_import(&one, true, &value, &err);
    says(KRAIT_E_UNSUPPORTED, "the tensor is of DLPack 2.0, expected 1.x");
    krait_dlpack_import(NULL, true, &value, &err);
    says(KRAIT_E_ARGUMENT, "tensor is NULL");
    krait_dlpack_import(&one, true, NULL, &err);
    says(KRAIT_E_ARGUMENT, "out is NULL");
    krait__fail(&err, KRAIT_E_RANGE, "before");
    assert_int_equal(krait_dlpack_import(&one, true, &value, &err), KRAIT_E_RANGE);
    assert_int_equal(value.kind, KRAIT_KIND_NONE);
    says(KRAIT_E_RANGE, "before");
}

/* ---- export ------------------------------------------------------------------------------------------------------ */

static void released(void *user) {
    ++*(int *)user;
}

/* A value that owns memory, as results and copies do. */
static krait_value owning(int *count) {
    const int64_t lengths[] = { 2, 3 }, steps[] = { 8, 16 };
    krait_value   value = krait_ndarray(memory, krait_f64_type(), 2, lengths, steps);
    value.as.array.flags |= KRAIT_ARRAY_WRITABLE;
    value.release = released;
    value.owner = count;
    return value;
}

static void results_move_into_the_tensor(void **state) {
    int                     count = 0;
    krait_value             value = owning(&count);
    struct DLManagedTensor *made;
    void                   *handle;
    (void)state;
    krait_dlpack_export(&value, false, &handle, &err);
    assert_good();
    assert_int_equal(value.kind, KRAIT_KIND_NONE);
    assert_null(value.release);
    made = handle;
    assert_true(made->dl_tensor.data == memory && made->dl_tensor.ndim == 2);
    assert_true(made->dl_tensor.device_type == 1 && made->dl_tensor.device_id == 0);
    assert_true(made->dl_tensor.code == 2 && made->dl_tensor.bits == 64 && made->dl_tensor.lanes == 1);
    assert_true(made->dl_tensor.shape[0] == 2 && made->dl_tensor.shape[1] == 3);
    assert_true(made->dl_tensor.strides[0] == 1 && made->dl_tensor.strides[1] == 2);
    assert_int_equal(made->dl_tensor.byte_offset, 0);
    memset(&value, 0xff, sizeof value); /* shape and strides are the tensor's own */
    assert_int_equal(made->dl_tensor.shape[1], 3);
    made->deleter(made);
    assert_int_equal(count, 1);
}

static void copies_and_owned_values_move_too(void **state) {
    int         count = 0;
    krait_value plain_value = krait_vector_f64(memory, 24), copy, owned;
    void       *handle;
    (void)state;
    krait_value_copy(&plain_value, &copy, &err);
    krait_dlpack_export(&copy, false, &handle, &err);
    assert_good();
    assert_int_equal(copy.kind, KRAIT_KIND_NONE);
    ((struct DLManagedTensor *)handle)->deleter(handle);
    owned = krait_owned(plain_value, released, &count);
    krait_dlpack_export(&owned, true, &handle, &err);
    assert_good();
    assert_int_equal(((struct DLManagedTensorVersioned *)handle)->flags, 1);
    ((struct DLManagedTensorVersioned *)handle)->deleter(handle);
    assert_int_equal(count, 1);
}

static void borrowed_arrays_stay(void **state) {
    krait_value                      value = krait_vector_f64(memory, 24);
    struct DLManagedTensorVersioned *made;
    void                            *handle;
    (void)state;
    krait_dlpack_export(&value, false, &handle, &err);
    says(KRAIT_E_UNSUPPORTED, "the array is read-only, which a plain DLPack tensor cannot say: export it versioned, or "
                              "set KRAIT_ARRAY_WRITABLE in its flags");
    assert_null(handle);
    krait_dlpack_export(&value, true, &handle, &err);
    assert_good();
    assert_int_equal(value.kind, KRAIT_KIND_ARRAY);
    made = handle;
    assert_true(made->major == 1 && made->flags == 1);
    made->deleter(made);
    value.as.array.flags |= KRAIT_ARRAY_WRITABLE;
    krait_dlpack_export(&value, true, &handle, &err);
    assert_good();
    made = handle;
    assert_int_equal(made->flags, 0);
    made->deleter(made);
}

static void export_of_any_shape(void **state) {
    int64_t                          many[KRAIT_MAX_NDIM];
    krait_value                      value;
    struct DLManagedTensorVersioned *made;
    void                            *handle;
    (void)state;
    for (int i = 0; i < KRAIT_MAX_NDIM; i++) many[i] = i < 3 ? 2 : 1;
    value = krait_ndarray(memory, krait_f64_type(), KRAIT_MAX_NDIM, many, NULL); /* borrowed shape, no strides */
    krait_dlpack_export(&value, true, &handle, &err);
    assert_good();
    made = handle;
    assert_true(made->dl_tensor.ndim == 32 && made->dl_tensor.strides[0] == 4 && made->dl_tensor.strides[31] == 1);
    made->deleter(made);
    value = krait_ndarray(memory, krait_f64_type(), 0, NULL, NULL);
    krait_dlpack_export(&value, true, &handle, &err);
    assert_good();
    made = handle;
    assert_true(made->dl_tensor.ndim == 0 && made->dl_tensor.data == memory);
    made->deleter(made);
    value = krait_matrix_f64(NULL, 0, 5);
    krait_dlpack_export(&value, true, &handle, &err);
    assert_good();
    made = handle;
    assert_true(made->dl_tensor.shape[0] == 0 && made->dl_tensor.shape[1] == 5);
    made->deleter(made);
}

static void not_exported(krait_value value, krait_status status, const char *message) {
    int   count = 0;
    void *handle = memory;
    if (value.kind == KRAIT_KIND_ARRAY) {
        value.release = released;
        value.owner = &count;
    }
    assert_int_equal(krait_dlpack_export(&value, true, &handle, &err), status);
    assert_null(handle);
    says(status, message);
    krait_value_clear(&value); /* still the caller's */
    assert_true(count == 1 || value.kind != KRAIT_KIND_ARRAY);
}

static void export_refuses(void **state) {
    const int64_t two[] = { 2 }, odd[] = { 12 };
    krait_dtype   foreign = krait_f64_type();
    void         *handle;
    krait_value   value;
    (void)state;
    foreign.swapped = 1;
    not_exported(krait_f64(1), KRAIT_E_KIND, "value is float, expected an array");
    not_exported(krait_vector(memory, krait_datetime(KRAIT_NS, 1), 2), KRAIT_E_UNSUPPORTED,
                 "DLPack has no elements of datetime64[ns]");
    not_exported(krait_vector(memory, krait_fixed_text(2), 2), KRAIT_E_UNSUPPORTED, "DLPack has no elements of U2");
    not_exported(krait_vector(memory, foreign, 2), KRAIT_E_UNSUPPORTED, "DLPack has no elements of >f8");
    not_exported(krait_ndarray(memory, krait_f64_type(), 1, two, odd), KRAIT_E_UNSUPPORTED,
                 "the array is not aligned for float64, as DLPack asks for");
    not_exported(krait_ndarray(memory, krait_c128_type(), 1, two, &(int64_t){ 24 }), KRAIT_E_UNSUPPORTED,
                 "the array's stride of 24 bytes in dimension 0 is no multiple of its elements' 16");
    not_exported(krait_vector_f64(NULL, 2), KRAIT_E_ARGUMENT, "data is NULL, expected 2 elements of float64");
    value = krait_vector_f64(memory, 2);
    krait_dlpack_export(NULL, true, &handle, &err);
    says(KRAIT_E_ARGUMENT, "value is NULL");
    krait_dlpack_export(&value, true, NULL, &err);
    says(KRAIT_E_ARGUMENT, "tensor is NULL");
}

/* Out and in again gives the same array. */
static void there_and_back(void **state) {
    int         count = 0;
    krait_value value = owning(&count), back;
    krait_array before, after;
    void       *handle;
    (void)state;
    krait_get_array(&value, KRAIT_F64, 2, &before, &err);
    krait_dlpack_export(&value, true, &handle, &err);
    after = import(handle, true, &back);
    assert_true(after.data == memory && after.strides[0] == 8 && after.strides[1] == 16);
    assert_int_equal(after.flags, before.flags);
    krait_value_clear(&back);
    assert_int_equal(count, 1);
}

/* ---- every allocation fails once --------------------------------------------------------------------------------- */

static void out_and_in(int *count) {
    krait_value value = owning(count), back;
    void       *handle;
    krait_dlpack_export(&value, true, &handle, &err);
    krait_dlpack_import(handle, true, &back, &err);
    if (err && handle) ((struct DLManagedTensorVersioned *)handle)->deleter(handle);
    krait_value_clear(&back);
    krait_value_clear(&value);
}

static void without_memory(void **state) {
    uint64_t blocks = krait__mem_blocks();
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        int count = 0;
        krait__mem_fail_at(n);
        out_and_in(&count);
        krait__mem_fail_at(0);
        says(KRAIT_E_NOMEM, "out of memory");
        assert_int_equal(count, 1);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
}

static int clean(void **state) {
    (void)state;
    krait_error_clear(&err);
    return krait__mem_blocks() ? -1 : 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(both_versions),
        TEST(strides_and_offset),
        TEST(any_number_of_dimensions),
        TEST(every_dtype),
        TEST(devices_are_refused),
        TEST(dtypes_are_refused),
        TEST(shapes_are_refused),
        TEST(versions_are_refused),
        TEST(results_move_into_the_tensor),
        TEST(copies_and_owned_values_move_too),
        TEST(borrowed_arrays_stay),
        TEST(export_of_any_shape),
        TEST(export_refuses),
        TEST(there_and_back),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
