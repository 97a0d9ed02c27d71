/* value: krait_value and krait_dtype in plain C: readers, copies, descriptions. Knows no Python; the bridge to it is
 * convert.
 *
 * A value is checked where it is used, not where it is made, since makers are inline and cannot fail. */
#ifndef KRAIT_LIB_VALUE_H
#define KRAIT_LIB_VALUE_H

#include <stdbool.h>

#include <krait/value.h>

/* How deep lists and maps may be nested: every walk over them recurses, on stacks that krait did not choose. */
enum { KRAIT__DEPTH_MAX = 64 };

/* Fields of a record, those of records within it counted too, and how deep these may be nested: of krait_struct_new,
 * and of what numpy tells. */
enum { KRAIT__FIELDS_MAX = 32767, KRAIT__RECORD_DEPTH_MAX = 16 };

/* Fields of a record; one tree of blocks. */
struct krait_struct {
    size_t       count;
    krait_field *fields; /* names, shapes and nested structs are owned */
    uint32_t     size;   /* bytes of one record; 0: not told */
    char        *recipe; /* krait__struct_recipe's answer, of krait_struct_new only */
};
struct krait_struct *krait__struct_new(size_t count); /* zeroed fields */
struct krait_struct *krait__struct_copy(const struct krait_struct *from);
void                 krait__struct_free(struct krait_struct *fields); /* NULL and half-built ones are fine */

/* The description as JSON, from which krait._arrays makes numpy's dtype; equal texts are equal dtypes. The caller's to
 * free. KRAIT_E_UNSUPPORTED names a field that krait does not read, KRAIT_E_NOMEM. */
krait_status krait__struct_recipe(const struct krait_struct *fields, char **recipe, krait_error **err);

/* What is wrong with a dtype: KRAIT_E_ARGUMENT. */
krait_status krait__dtype_check(krait_dtype dtype, krait_error **err);

/* numpy's type string of a dtype that passed the check and is no record, "<f8", "|S5", ">M8[25s]"; like snprintf. */
size_t krait__dtype_format(krait_dtype dtype, char *buffer, size_t size);

/* Writes the head only: zeroing all 128 bytes costs half a call. */
static inline void krait__set_none(krait_value *value) {
    value->kind = KRAIT_KIND_NONE;
    value->flags = 0;
    value->reserved0 = 0;
    value->reserved1 = 0;
    value->release = NULL;
    value->owner = NULL;
}

/* Bytes of one element of a dtype of the list in krait/value.h. */
static inline uint32_t krait__code_size(uint8_t code) {
    static const uint8_t sizes[] = { 0,
#define SIZE(NAME, name, code, type, bytes, text) bytes,
                                     KRAIT_DTYPE_MAP(SIZE)
#undef SIZE
    };
    return sizes[code];
}

/* What is wrong with an array value, checked in full: dtype and item size (KRAIT_E_ARGUMENT), dimensions, negative or
 * overflowing shapes and strides (KRAIT_E_SHAPE), NULL where there are elements (KRAIT_E_ARGUMENT). On success the
 * memory it spans, [*lo, *hi), both the data pointer when it is empty; and the number of its elements. */
krait_status krait__array_check(const krait_value *value, const char **lo, const char **hi, int64_t *size,
                                krait_error **err);

/* Most arguments: a vector or matrix of a numeric dtype in C order. Says nothing of those it does not take:
 * krait__array_check does. */
static inline bool krait__array_quick(const krait_value *value, const char **lo, const char **hi, int64_t *size) {
    const krait_dtype dtype = value->as.array.dtype;
    int64_t           columns = value->as.array.ndim == 2 ? value->as.array.dims[1] : 1, bytes;
    if (dtype.code < KRAIT_BOOL || dtype.code > KRAIT_C128 || dtype.item_size != krait__code_size(dtype.code))
        return false;
    if (dtype.swapped | dtype.unit | dtype.reserved || dtype.of.count) return false;
    if (value->as.array.ndim < 1 || value->as.array.ndim > 2 || value->as.array.shape || value->as.array.strides)
        return false;
    if (!(value->as.array.flags & KRAIT_ARRAY_C_CONTIGUOUS) || !value->as.array.data) return false;
    if (value->as.array.dims[0] <= 0 || columns <= 0 || __builtin_mul_overflow(value->as.array.dims[0], columns, size))
        return false;
    if (__builtin_mul_overflow(*size, (int64_t)dtype.item_size, &bytes)) return false;
    if ((uintptr_t)value->as.array.data > UINTPTR_MAX - (uintptr_t)bytes) return false;
    *lo = value->as.array.data;
    *hi = *lo + bytes;
    return true;
}

/* Shape of an array value that passed the check; strides are NULL for C order. */
static inline const int64_t *krait__array_shape(const krait_value *value) {
    return value->as.array.shape ? value->as.array.shape : value->as.array.dims;
}
static inline const int64_t *krait__array_strides(const krait_value *value) {
    if (value->as.array.strides) return value->as.array.strides;
    return value->as.array.shape ? NULL : value->as.array.dims + 3;
}

/* Items of a list or map with their keys, in one block that owns them. `object` is released too, after the items, by
 * `object_release` (NULL: none). */
typedef struct krait__tree {
    void (*object_release)(void *object);
    void        *object;
    size_t       count;
    krait_value *items; /* in this block */
    const char **keys;  /* in this block; NULL for a list */
    char        *text;  /* in this block: room for the keys' bytes */
} krait__tree;
krait__tree *krait__tree_new(size_t count, bool keyed, size_t key_bytes); /* all items none */
void         krait__tree_release(void *tree); /* the release function of list and map values: clears all items */

#endif
