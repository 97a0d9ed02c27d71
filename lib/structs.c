/* structs: descriptions of C structs, records' fields, text in arrays of fixed width, in plain C.
 *
 * A description is checked as a whole when it is made, so that no use of it needs to look again: members lie within the
 * struct and apart from each other, sizes and shapes agree. Misaligned members are taken, since packed structs have
 * them. Refuses more than KRAIT__FIELDS_MAX fields and records nested deeper than KRAIT__RECORD_DEPTH_MAX. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "column.h"
#include "error.h"
#include "mem.h"
#include "value.h"

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

struct krait_struct *krait__struct_new(size_t count) {
    struct krait_struct *made = krait__zalloc(krait__size(count, sizeof(krait_field), sizeof *made));
    if (!made) return NULL;
    made->count = count;
    made->fields = (krait_field *)(void *)(made + 1);
    return made;
}

static bool copy_field(krait_field *to, const krait_field *from) {
    size_t   bytes = (size_t)from->ndim * sizeof *from->shape;
    int64_t *shape = NULL;
    *to = *from;
    to->name = krait__strdup(from->name);
    if (from->ndim > 0) shape = krait__alloc(bytes);
    if (shape) memcpy(shape, from->shape, bytes);
    to->shape = shape;
    if (from->dtype.code == KRAIT_STRUCT) to->dtype.of.fields = krait__struct_copy(from->dtype.of.fields);
    return to->name && (shape || from->ndim <= 0) && (from->dtype.code != KRAIT_STRUCT || to->dtype.of.fields);
}

/* Without the recipe: most copies are never passed to Python. */
struct krait_struct *krait__struct_copy(const struct krait_struct *from) {
    struct krait_struct *made = krait__struct_new(from->count);
    for (size_t i = 0; made && i < from->count; i++) {
        if (copy_field(&made->fields[i], &from->fields[i])) continue;
        krait__struct_free(made);
        return NULL;
    }
    if (made) made->size = from->size;
    return made;
}

void krait__struct_free(struct krait_struct *fields) {
    for (size_t i = 0; fields && i < fields->count; i++) {
        krait_field *field = &fields->fields[i];
        krait__free((char *)(uintptr_t)field->name);
        krait__free((int64_t *)(uintptr_t)field->shape);
        if (field->dtype.code == KRAIT_STRUCT)
            krait__struct_free((struct krait_struct *)(uintptr_t)field->dtype.of.fields);
    }
    if (fields) krait__free(fields->recipe);
    krait__free(fields);
}

/* ---- the recipe -------------------------------------------------------------------------------------------------- */

static krait_status add_recipe(krait__text *text, const struct krait_struct *fields, krait_error **err);

/* "<f8", or ["<f8",[2,3]] of a field that is an array; a record in the place of the string. */
static krait_status add_format(krait__text *text, const krait_field *field, krait_error **err) {
    krait_status status = KRAIT_OK;
    char         format[64];
    if (field->dtype.code < KRAIT_BOOL || field->dtype.code > KRAIT_FIXED_TEXT)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "field '%.*s' is of a dtype that krait does not read",
                           krait__shown(field->name), field->name);
    if (field->ndim) krait__text_add(text, "[", 1);
    if (field->dtype.code == KRAIT_STRUCT) {
        status = add_recipe(text, field->dtype.of.fields, err);
    } else {
        krait__dtype_format(field->dtype, format, sizeof format);
        krait__text_json(text, format);
    }
    for (int32_t i = 0; i < field->ndim; i++) krait__text_addf(text, "%s%" PRId64, i ? "," : ",[", field->shape[i]);
    if (field->ndim) krait__text_add(text, "]]", 2);
    return status;
}

static krait_status add_recipe(krait__text *text, const struct krait_struct *fields, krait_error **err) {
    krait_status status = KRAIT_OK;
    krait__text_addf(text, "{\"names\":[");
    for (size_t i = 0; i < fields->count; i++) {
        if (i) krait__text_add(text, ",", 1);
        krait__text_json(text, fields->fields[i].name);
    }
    krait__text_addf(text, "],\"formats\":[");
    for (size_t i = 0; i < fields->count && !status; i++) {
        if (i) krait__text_add(text, ",", 1);
        status = add_format(text, &fields->fields[i], err);
    }
    krait__text_addf(text, "],\"offsets\":[");
    for (size_t i = 0; i < fields->count; i++)
        krait__text_addf(text, "%s%" PRId64, i ? "," : "", fields->fields[i].offset);
    krait__text_addf(text, "],\"itemsize\":%" PRIu32 "}", fields->size);
    return status;
}

krait_status krait__struct_recipe(const struct krait_struct *fields, char **recipe, krait_error **err) {
    krait__text  text = { 0 };
    krait_status status = add_recipe(&text, fields, err);
    *recipe = NULL;
    if (!status && text.failed) status = krait__fail_nomem(err);
    if (status) krait__text_free(&text);
    else *recipe = text.data;
    return status;
}

/* ---- making a description ---------------------------------------------------------------------------------------- */

/* Two arguments for "%.*s". */
#define SHOWN(member) krait__shown((member)->name), (member)->name

static krait_status check_name(const krait_member *member, size_t index, krait_error **err) {
    size_t length;
    if (!member->name) return krait__fail(err, KRAIT_E_ARGUMENT, "name of member %zu is NULL", index);
    length = strlen(member->name);
    if (!length) return krait__fail(err, KRAIT_E_ARGUMENT, "name of member %zu is empty", index);
    if (krait__utf8_span(member->name, length) == length) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "name of member %zu is not valid UTF-8", index);
}

/* krait__dtype_check's words, with the member's name before them. */
static krait_status check_member_dtype(const krait_member *member, krait_error **err) {
    krait_error *why = NULL;
    krait_status status = krait__dtype_check(member->dtype, &why);
    if (status) krait__fail(err, status, "member '%.*s': %s", SHOWN(member), krait_error_message(why));
    krait_error_clear(&why);
    if (!status && member->dtype.item_size == 0)
        status = krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' is of elements of 0 bytes", SHOWN(member));
    return status;
}

static krait_status check_shape(const krait_member *member, krait_error **err) {
    uint64_t bytes = member->dtype.item_size;
    if (member->ndim < 0 || member->ndim > 4)
        return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' has %d dimensions, expected 0 to 4", SHOWN(member),
                           (int)member->ndim);
    for (int32_t i = 0; i < member->ndim; i++) {
        int64_t length = member->shape[i];
        if (length < 1 || __builtin_mul_overflow(bytes, (uint64_t)length, &bytes))
            return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' has length %" PRId64 " in dimension %d",
                               SHOWN(member), length, (int)i);
    }
    if (!member->ndim || bytes == member->size) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' has %zu bytes, its shape takes %" PRIu64, SHOWN(member),
                       member->size, bytes);
}

static krait_status check_member(const krait_member *member, size_t size, krait_error **err) {
    char         name[64];
    krait_status status = check_member_dtype(member, err);
    if (status) return status;
    if (member->reserved)
        return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' has reserved %d, expected 0", SHOWN(member),
                           (int)member->reserved);
    krait_dtype_name(member->dtype, name, sizeof name);
    if (!member->size || member->size % member->dtype.item_size)
        return krait__fail(err, KRAIT_E_ARGUMENT,
                           "member '%.*s' has %zu bytes, expected a multiple of the %" PRIu32 " of %s", SHOWN(member),
                           member->size, member->dtype.item_size, name);
    if (member->offset > size || member->size > size - member->offset)
        return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' has %zu bytes at %zu, beyond the struct's %zu",
                           SHOWN(member), member->size, member->offset, size);
    return check_shape(member, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const krait_member *const *)a)->name, (*(const krait_member *const *)b)->name);
}

static int by_offset(const void *a, const void *b) {
    size_t at = (*(const krait_member *const *)a)->offset, other = (*(const krait_member *const *)b)->offset;
    return at < other ? -1 : at > other;
}

/* Equal names and overlaps, seen on neighbours in sorted lists; `sorted` has room for n. */
static krait_status check_pairs(const krait_member **sorted, size_t n, krait_error **err) {
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
            return krait__fail(err, KRAIT_E_ARGUMENT, "two members are named '%.*s'", SHOWN(sorted[i]));
    qsort(sorted, n, sizeof *sorted, by_offset);
    for (size_t i = 1; i < n; i++) {
        const krait_member *a = sorted[i - 1], *b = sorted[i];
        if (a->offset + a->size > b->offset)
            return krait__fail(err, KRAIT_E_ARGUMENT,
                               "member '%.*s' at %zu to %zu overlaps member '%.*s' at %zu to %zu", SHOWN(b), b->offset,
                               b->offset + b->size, SHOWN(a), a->offset, a->offset + a->size);
    }
    return KRAIT_OK;
}

static krait_status check_all_pairs(const krait_member *members, size_t n, krait_error **err) {
    const krait_member **sorted = krait__alloc(krait__size(n, sizeof *sorted, 0));
    krait_status         status;
    if (!sorted) return krait__fail_nomem(err);
    for (size_t i = 0; i < n; i++) sorted[i] = &members[i];
    status = check_pairs(sorted, n, err);
    krait__free((void *)(uintptr_t)sorted);
    return status;
}

static krait_status check_frame(const krait_member *members, size_t n, size_t size, krait_error **err) {
    if (!n) return krait__fail(err, KRAIT_E_ARGUMENT, "the struct has no member, expected at least one");
    if (!members) return krait__fail(err, KRAIT_E_ARGUMENT, "members is NULL, expected %zu", n);
    if (n > KRAIT__FIELDS_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "the struct has %zu members, at most %d are supported", n,
                           KRAIT__FIELDS_MAX);
    if (!size || size > INT32_MAX)
        return krait__fail(err, KRAIT_E_ARGUMENT, "the struct has %zu bytes, expected 1 to %" PRId32, size, INT32_MAX);
    return KRAIT_OK;
}

/* How deep the records go, this one counted; adds their fields to *total. */
static int measure(const struct krait_struct *fields, size_t *total) {
    int deepest = 0;
    *total += fields->count;
    for (size_t i = 0; i < fields->count; i++) {
        krait_dtype dtype = fields->fields[i].dtype;
        int         below = dtype.code == KRAIT_STRUCT ? measure(dtype.of.fields, total) : 0;
        if (below > deepest) deepest = below;
    }
    return deepest + 1;
}

static krait_status check_nested(const krait_member *members, size_t n, krait_error **err) {
    size_t total = n;
    for (size_t i = 0; i < n; i++) {
        krait_dtype dtype = members[i].dtype;
        if (dtype.code == KRAIT_STRUCT && measure(dtype.of.fields, &total) >= KRAIT__RECORD_DEPTH_MAX)
            return krait__fail(err, KRAIT_E_ARGUMENT, "member '%.*s' nests structs deeper than %d", SHOWN(&members[i]),
                               KRAIT__RECORD_DEPTH_MAX);
        if (total > KRAIT__FIELDS_MAX)
            return krait__fail(err, KRAIT_E_ARGUMENT,
                               "the struct has more than %d members, those of structs within it counted too",
                               KRAIT__FIELDS_MAX);
    }
    return KRAIT_OK;
}

static krait_status check_members(const krait_member *members, size_t n, size_t size, krait_error **err) {
    krait_status status = check_frame(members, n, size, err);
    for (size_t i = 0; i < n && !status; i++) {
        status = check_name(&members[i], i, err);
        if (!status) status = check_member(&members[i], size, err);
    }
    return status ? status : check_all_pairs(members, n, err);
}

/* Without a shape, more bytes than one element has make one dimension. */
static bool make_field(krait_field *field, const krait_member *member) {
    int64_t     count = (int64_t)(member->size / member->dtype.item_size);
    krait_field given = { .name = member->name, .offset = (int64_t)member->offset, .dtype = member->dtype };
    given.ndim = member->ndim ? member->ndim : count > 1;
    if (given.ndim) given.shape = member->ndim ? member->shape : &count;
    return copy_field(field, &given);
}

static krait_status make_struct(const krait_member *members, size_t n, size_t size, krait_struct **out,
                                krait_error **err) {
    krait_status  status = KRAIT_OK;
    krait_struct *made = krait__struct_new(n);
    if (!made) return krait__fail_nomem(err);
    made->size = (uint32_t)size;
    for (size_t i = 0; i < n && !status; i++)
        if (!make_field(&made->fields[i], &members[i])) status = krait__fail_nomem(err);
    if (!status) status = krait__struct_recipe(made, &made->recipe, err);
    if (status) krait__struct_free(made);
    else *out = made;
    return status;
}

krait_struct *krait_struct_new(const krait_member *members, size_t n, size_t size, krait_error **err) {
    krait_struct *made = NULL;
    krait_status  status;
    if (krait__stuck(err)) return NULL;
    status = check_members(members, n, size, err);
    if (!status) status = check_nested(members, n, err);
    if (!status) status = make_struct(members, n, size, &made, err);
    krait__at(err, "describe struct");
    return made;
}

void krait_struct_free(krait_struct *description) {
    krait__struct_free(description);
}

krait_dtype krait_struct_type(const krait_struct *description) {
    krait_dtype dtype = krait_dtype_make_(KRAIT_STRUCT, 0, description ? description->size : 0, 0);
    dtype.of.fields = description;
    return dtype;
}

/* ---- text of fixed width ----------------------------------------------------------------------------------------- */

/* Address of an element, counted in C order. */
static const char *element(const krait_array *array, int64_t index) {
    int64_t offset = 0, step = (int64_t)array->dtype.item_size;
    for (int32_t i = array->ndim - 1; i >= 0; i--) {
        offset += index % array->shape[i] * (array->strides ? array->strides[i] : step);
        step *= array->shape[i];
        index /= array->shape[i];
    }
    return (const char *)array->data + offset;
}

static uint32_t code_point(const char *at, size_t i, bool swapped) {
    uint32_t point;
    memcpy(&point, at + 4 * i, sizeof point);
    return swapped ? __builtin_bswap32(point) : point;
}

/* Written as snprintf would: what fits, NUL at the end. */
static krait_status read_points(const krait_array *array, int64_t index, char *buffer, size_t size, size_t *length,
                                krait_error **err) {
    const char *at = element(array, index);
    size_t      count = array->dtype.item_size / 4, needed = 0;
    while (count && code_point(at, count - 1, false) == 0) count--;
    for (size_t i = 0; i < count; i++) {
        char     utf8[4];
        uint32_t point = code_point(at, i, array->dtype.swapped);
        size_t   bytes = krait__utf8_encode(point, utf8);
        if (!bytes)
            return krait__fail(err, KRAIT_E_ENCODING,
                               "element %" PRId64 " has 0x%" PRIX32 " at character %zu, which is no code point", index,
                               point, i);
        for (size_t k = 0; k < bytes; k++, needed++)
            if (needed + 1 < size) buffer[needed] = utf8[k];
    }
    if (size) buffer[needed < size ? needed : size - 1] = 0;
    *length = needed;
    return KRAIT_OK;
}

static void read_bytes(const krait_array *array, int64_t index, char *buffer, size_t size, size_t *length) {
    const char *at = element(array, index);
    *length = array->dtype.item_size;
    while (*length && at[*length - 1] == 0) --*length;
    krait__copy_out(at, *length, buffer, size);
}

static krait_status check_text(const krait_array *array, int64_t index, const char *buffer, size_t size,
                               krait_error **err) {
    char name[64];
    if (!array) return krait__fail(err, KRAIT_E_ARGUMENT, "array is NULL");
    if (size && !buffer) return krait__fail(err, KRAIT_E_ARGUMENT, "buffer is NULL, expected %zu bytes", size);
    krait_dtype_name(array->dtype, name, sizeof name);
    if (array->dtype.code != KRAIT_FIXED_BYTES && array->dtype.code != KRAIT_FIXED_TEXT)
        return krait__fail(err, KRAIT_E_KIND, "array is of %s, expected text or bytes of fixed width", name);
    if (index < 0 || index >= array->size)
        return krait__fail(err, KRAIT_E_NOT_FOUND, "no element %" PRId64 " in an array of %" PRId64, index,
                           array->size);
    return KRAIT_OK;
}

krait_status krait_array_text(const krait_array *array, int64_t index, char *buffer, size_t size, size_t *length,
                              krait_error **err) {
    size_t       needed = 0;
    krait_status status;
    if (length) *length = 0;
    if (buffer && size) buffer[0] = 0;
    if (krait__stuck(err)) return krait_error_status(*err);
    status = check_text(array, index, buffer, size, err);
    if (!status && array->dtype.code == KRAIT_FIXED_BYTES) read_bytes(array, index, buffer, size, &needed);
    else if (!status) status = read_points(array, index, buffer, size, &needed, err);
    if (status && buffer && size) buffer[0] = 0;
    if (status) krait__at(err, "read value");
    else if (length) *length = needed;
    return status;
}
