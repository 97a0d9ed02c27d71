/* Fuzzes descriptions of C structs: members of any dtype, place, size and shape, nested ones too. What is taken must
 * lie within the struct and apart; arrays of exactly as much memory are then read by every reader, copied and compared.
 * For libFuzzer. */
#include "choices.h"

enum { MEMBERS_MAX = 8, STRUCTS_MAX = 5, BYTES_MAX = 1 << 16, ROWS_MAX = 4 };

static krait_struct *made[STRUCTS_MAX];
static size_t        made_count;

static krait_member choose_member(size_t *at) {
    static const char *const names[] = {
        "a", "b", "c", "d", "e", "f", "g", "h", "", "\xff", "\"\\\n", "größe", "i", "j"
    };
    krait_member member = krait_member_(names[choose(14)], *at, 0, choose_dtype());
    size_t       count = 1;
    unsigned     twist = choose(32);
    if (member.dtype.code == KRAIT_STRUCT)
        member.dtype = krait_struct_type(made_count ? made[choose((unsigned)made_count)] : NULL);
    member.ndim = choose(4) ? 0 : (int32_t)choose(5);
    for (int32_t i = 0; i < member.ndim; i++) count *= (size_t)(member.shape[i] = 1 + choose(3));
    if (!member.ndim && choose(4) == 3) count = 1 + choose(5);
    member.size = count * member.dtype.item_size;
    member.offset += choose(3) ? 0 : choose(9);
    *at = member.offset + member.size;
    if (twist == 31) member.offset = (size_t)choose_number();
    if (twist >= 22 && twist < 26 && member.offset) member.offset--;
    if (twist == 30) member.size = (size_t)choose_number();
    if (twist == 29) member.ndim = (int32_t)choose_number();
    if (twist == 28) member.shape[choose(4)] = (int64_t)choose_number();
    if (twist == 27) member.reserved = 1;
    if (twist == 26) member.name = NULL;
    return member;
}

static int64_t bytes_of(const krait_field *field) {
    int64_t bytes = field->dtype.item_size;
    for (int32_t i = 0; i < field->ndim; i++) bytes *= field->shape[i];
    return bytes;
}

static void check_fields(krait_dtype dtype) {
    const krait_field *fields;
    size_t             n = krait_dtype_fields(dtype, &fields);
    must(n > 0, "a struct without fields");
    for (size_t i = 0; i < n; i++) {
        must(fields[i].offset >= 0 && bytes_of(&fields[i]) > 0, "a field without bytes");
        must(fields[i].offset + bytes_of(&fields[i]) <= dtype.item_size, "a field beyond its struct");
        for (size_t k = 0; k < i; k++) {
            must(strcmp(fields[i].name, fields[k].name) != 0, "a name twice");
            must(fields[i].offset + bytes_of(&fields[i]) <= fields[k].offset ||
                     fields[k].offset + bytes_of(&fields[k]) <= fields[i].offset,
                 "fields that overlap");
        }
        if (fields[i].dtype.code == KRAIT_STRUCT) check_fields(fields[i].dtype);
    }
}

/* Touches every byte of every element, so that the sanitizer sees what lies outside. */
static void touch(const krait_array *array) {
    volatile unsigned char sum = 0;
    for (int64_t i = 0; i < array->size && array->ndim == 1; i++)
        for (uint32_t k = 0; k < array->dtype.item_size; k++)
            sum = (unsigned char)(sum + ((unsigned char *)array->data)[i * array->strides[0] + k]);
}

static void read_texts(const krait_array *array) {
    for (int64_t i = 0; i < array->size; i++) {
        krait_error *err = NULL;
        char         text[12] = "";
        size_t       length = 0, room = choose(2) ? sizeof text : choose(12);
        if (krait_array_text(array, i, text, room, &length, &err)) length = 0;
        else if (!memchr(text, 0, room < length ? room : length)) check_text(length, text, room);
        krait_error_clear(&err);
    }
}

static void read_fields(const krait_array *array) {
    const krait_field *fields;
    size_t             n = krait_dtype_fields(array->dtype, &fields);
    for (size_t i = 0; i < n; i++) {
        krait_error *err = NULL;
        krait_array  one;
        char         name[64];
        check_text(krait_dtype_name(fields[i].dtype, name, sizeof name), name, sizeof name);
        if (krait_array_field(array, fields[i].name, KRAIT_ANY, &one, &err)) {
            must(krait_error_status(err) == KRAIT_E_UNSUPPORTED, "a field that cannot be read");
        } else {
            touch(&one);
            if (one.dtype.code == KRAIT_STRUCT) read_fields(&one);
            if (one.dtype.code >= KRAIT_FIXED_BYTES) read_texts(&one);
        }
        krait_error_clear(&err);
    }
}

static void use(const krait_struct *type) {
    krait_dtype    dtype = krait_struct_type(type);
    int64_t        rows = choose(ROWS_MAX), step = (int64_t)dtype.item_size + (choose(2) ? choose(5) : 0);
    size_t         room = rows ? (size_t)((rows - 1) * step) + dtype.item_size : 0;
    krait_error   *err = NULL;
    krait_value    value, copy;
    krait_array    array, second;
    unsigned char *memory;
    if (dtype.item_size > BYTES_MAX) return;
    memory = malloc(room + !room); /* exactly what the rows take */
    choose_bytes(memory, room < 64 ? room : 64);
    memset(memory + (room < 64 ? room : 64), 0x41, room < 64 ? 0 : room - 64);
    value = krait_ndarray(memory, dtype, 1, &rows, &step);
    must(krait_get_array(&value, KRAIT_STRUCT, 1, &array, &err) == KRAIT_OK, "rows cannot be read");
    touch(&array);
    read_fields(&array);
    if (krait_value_copy(&value, &copy, &err) == KRAIT_OK) {
        must(krait_get_array(&copy, KRAIT_STRUCT, 1, &second, &err) == KRAIT_OK, "a copy cannot be read");
        for (int64_t i = 0; i < rows; i++)
            must(!memcmp((char *)second.data + i * second.strides[0], memory + i * step, dtype.item_size), "a copy");
        read_fields(&second);
    }
    krait_value_clear(&copy);
    free(memory);
    krait_error_clear(&err);
}

static void describe_one(void) {
    krait_member  members[MEMBERS_MAX];
    krait_error  *err = NULL;
    krait_struct *type;
    size_t        n = choose(MEMBERS_MAX + 1), at = 0, size;
    for (size_t i = 0; i < n; i++) members[i] = choose_member(&at);
    size = at + (choose(3) ? 0 : choose(9));
    if (choose(32) == 31) size = (size_t)choose_number();
    if (choose(8) == 7) krait__mem_fail_at(1 + choose(40));
    type = krait_struct_new(members, n, size, &err);
    krait__mem_fail_at(0);
    must(!type == (err != NULL), "a description or an error");
    if (err) must(*krait_error_message(err) != 0, "an error without a message");
    krait_error_clear(&err);
    if (!type) return;
    must(krait_struct_type(type).item_size == size && type->recipe, "the description");
    check_fields(krait_struct_type(type));
    made[made_count++] = type;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    krait_error *err = NULL;
    choices = data;
    choices_left = size;
    made_count = 0;
    for (size_t i = 0; i < STRUCTS_MAX && choices_left; i++) describe_one();
    for (size_t i = 0; i < made_count; i++) use(made[i]);
    while (made_count) krait_struct_free(made[--made_count]);
    end_input(&err);
    return 0;
}
