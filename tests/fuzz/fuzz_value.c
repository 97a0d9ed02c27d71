/* Fuzzes values: arrays of any dtype, shape and strides over exactly as much memory as they were given, texts, lists,
 * maps and tables of them, made well and badly. Each is described, read by every reader, copied, and the copy compared
 * and read again; owned memory is released once. Arrays that reach beyond their memory are only checked, as nobody but
 * the caller can know its size. For libFuzzer. */
#include "choices.h"

#include <krait/arrow.h>
#include <krait/table.h>

enum { BLOCKS_MAX = 512, TABLES_MAX = 8, NODES_MAX = 300, ITEMS_MAX = 6, READ_MAX = 4096, TEXT_MAX = 24 };

/* ---- memory of one input ----------------------------------------------------------------------------------------- */

static struct {
    void         *blocks[BLOCKS_MAX];
    krait_table  *tables[TABLES_MAX];
    krait_struct *record;
    size_t        block_count, table_count, nodes;
    int           owned, released;
} input;

static void *room_for(size_t size) {
    void *made = input.block_count < BLOCKS_MAX ? malloc(size + !size) : NULL;
    if (made) input.blocks[input.block_count++] = made;
    return made;
}

/* Filled; beyond the first bytes it is not worth choices. */
static void *block(size_t size) {
    char *made = room_for(size);
    if (!made) return NULL;
    choose_bytes(made, size < 24 ? size : 24);
    if (size > 24) memset(made + 24, 0x41, size - 24);
    return made;
}

static void released(void *user) {
    (void)user;
    input.released++;
}

static bool more(void) {
    return input.nodes++ < NODES_MAX && input.block_count + 8 < BLOCKS_MAX;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static krait_value text_value(void) {
    size_t      size = choose(TEXT_MAX);
    krait_value value = krait_text(block(size), size);
    if (choose(16) == 15) value.as.bytes.data = NULL;
    return value;
}

/* Bytes before and behind the first element, as the sum of the dimensions says; false when they are too many to be
 * read, or made so that the sum cannot be trusted. */
static bool span(krait_dtype dtype, int32_t ndim, const int64_t *shape, const int64_t *strides, int64_t *before,
                 int64_t *behind) {
    int64_t size = 1, step = dtype.item_size;
    *before = 0;
    *behind = dtype.item_size;
    if (ndim < 0 || ndim > KRAIT_MAX_NDIM || dtype.item_size > READ_MAX) return false;
    for (int32_t i = ndim - 1; i >= 0; i--) {
        int64_t stride = strides ? strides[i] : step;
        if (shape[i] < 0 || shape[i] > 99 || stride > READ_MAX || stride < -READ_MAX) return false;
        if (stride < 0) *before += (shape[i] - 1) * stride;
        else *behind += (shape[i] - 1) * stride;
        size *= shape[i];
        if (shape[i]) step *= shape[i];
        if (size > READ_MAX || step > READ_MAX) return false;
    }
    if (!size) *before = *behind = 0;
    return *behind - *before <= READ_MAX;
}

/* The library's own opinion of the array; `trusted` where it must be the same. */
static bool checked(const krait_value *value, const char *memory, size_t room, bool trusted) {
    krait_error *err = NULL;
    const char  *lo, *hi;
    int64_t      size;
    bool         good = krait__array_check(value, &lo, &hi, &size, &err) == KRAIT_OK;
    must(good || *krait_error_message(err) != 0, "a check without a message");
    if (trusted && krait__dtype_check(value->as.array.dtype, NULL) == KRAIT_OK)
        must(good && (!size || (lo == memory && hi == memory + room)), "the span of an array");
    krait_error_clear(&err);
    return good && trusted;
}

static krait_value array_value(void) {
    krait_dtype dtype = choose_dtype();
    int32_t     ndim = choose(4) ? (int32_t)choose(3) : (int32_t)choose(8);
    int64_t    *shape = room_for(KRAIT_MAX_NDIM * sizeof *shape), *strides = room_for(KRAIT_MAX_NDIM * sizeof *strides);
    int64_t     before, behind;
    bool        in_c_order = choose(2), trusted;
    size_t      room;
    char       *memory;
    krait_value value;
    if (!shape || !strides) return krait_none();
    if (dtype.code == KRAIT_STRUCT && input.record) dtype = krait_struct_type(input.record);
    if (choose(32) == 31) dtype.item_size = (uint32_t)choose_number();
    if (choose(32) == 31) ndim = choose(2) ? KRAIT_MAX_NDIM : (int32_t)choose_number();
    for (int i = 0; i < KRAIT_MAX_NDIM; i++) {
        shape[i] = i < ndim && i < 8 ? (int64_t)choose(5) : 1;
        strides[i] = i < ndim && i < 8 ? ((int64_t)choose(9) - 4) * (choose(3) ? (int64_t)dtype.item_size : 1) : 0;
    }
    if (choose(16) == 15) shape[choose(8)] = (int64_t)choose_number();
    if (choose(16) == 15) strides[choose(8)] = (int64_t)choose_number();
    trusted = span(dtype, ndim, shape, in_c_order ? NULL : strides, &before, &behind);
    room = trusted ? (size_t)(behind - before) : 0;
    memory = block(room);
    if (!memory) return krait_none();
    value = krait_ndarray(memory - (trusted ? before : 0), dtype, ndim, shape, in_c_order ? NULL : strides);
    if (choose(32) == 31) {
        value.as.array.shape = NULL;
        value.as.array.data = NULL;
        value.as.array.dims[0] = INT64_MIN;
        trusted = false;
    }
    return checked(&value, memory, room, trusted) ? value : krait_none();
}

static krait_value build(int depth);

static krait_value list_value(int depth, bool map) {
    static const char *const keys[] = { "a", "b", "", "größe", "a" };
    size_t                   count = choose(ITEMS_MAX);
    krait_value             *items = room_for(count * sizeof *items), value;
    const char             **names = map ? room_for(count * sizeof *names) : NULL;
    if (!items || (map && !names)) return krait_none();
    value = krait_make_(map ? KRAIT_KIND_MAP : KRAIT_KIND_LIST);
    value.as.list.items = items;
    value.as.list.keys = names;
    value.as.list.count = count;
    for (size_t i = 0; i < count; i++) {
        items[i] = choose(64) == 63 ? value : build(depth + 1); /* it may contain itself */
        if (map) names[i] = choose(32) == 31 ? NULL : keys[choose(5)];
    }
    if (choose(32) == 31) value.as.list.items = NULL;
    if (map && choose(32) == 31) value.as.list.keys = NULL;
    return value;
}

/* Texts and bytes whose offsets may be anything, over as many bytes as told. */
static krait_column text_column(void) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.kind = choose(4) ? KRAIT_COLUMN_TEXT : KRAIT_COLUMN_BYTES;
    column.rows = choose(6);
    column.offset_bytes = choose(2) ? 4 : 8;
    column.data_bytes = choose(TEXT_MAX);
    column.data = block((size_t)column.data_bytes);
    column.offsets = block((size_t)(column.rows + 1) * (size_t)column.offset_bytes);
    for (int64_t i = 0, at = 0; column.offsets && i <= column.rows && choose(8) != 7;
         i++) { /* most of them run forward */
        if (column.offset_bytes == 4) ((int32_t *)(uintptr_t)column.offsets)[i] = (int32_t)at;
        else ((int64_t *)(uintptr_t)column.offsets)[i] = at;
        at += choose(6);
    }
    return column;
}

static krait_column fixed_column(void) {
    krait_column column = KRAIT_COLUMN_INIT;
    uint32_t     item = 0;
    column.rows = choose(6);
    column.kind = (uint8_t)(choose(8) == 7 ? choose(8) : choose(2) ? KRAIT_COLUMN_DECIMAL : KRAIT_COLUMN_DATE);
    if (column.kind == KRAIT_COLUMN_DECIMAL) item = 16;
    if (column.kind == KRAIT_COLUMN_DATE) item = 4;
    if (column.kind == KRAIT_COLUMN_ARRAY || column.kind == KRAIT_COLUMN_CATEGORY) {
        column.dtype = choose_dtype();
        if (column.dtype.item_size > 16) column.dtype.item_size = 16;
        item = column.dtype.item_size;
    }
    column.precision = (uint8_t)(choose(8) ? 10 : choose_byte());
    column.scale = (int8_t)choose(12);
    column.stride = (int64_t)item * (choose(4) ? 1 : 2);
    column.data = block((size_t)column.rows * (size_t)column.stride);
    return column;
}

static krait_column category_column(krait_column *dictionary) {
    krait_column column = KRAIT_COLUMN_INIT;
    *dictionary = text_column();
    column.kind = KRAIT_COLUMN_CATEGORY;
    column.ordered = (uint8_t)choose(2);
    switch (choose(4)) {
    case 0: column.dtype = krait_i8_type(); break;
    case 1: column.dtype = krait_i16_type(); break;
    case 2: column.dtype = krait_i32_type(); break;
    default: column.dtype = krait_i64_type();
    }
    column.rows = choose(6);
    column.stride = column.dtype.item_size;
    column.data = block((size_t)(column.rows * column.stride));
    column.dictionary = choose(16) == 15 ? NULL : dictionary;
    return column;
}

static void add_column(krait_table *table, const char *name, krait_error **err) {
    krait_column dictionary = KRAIT_COLUMN_INIT, column;
    unsigned     kind = choose(3);
    column = kind == 0 ? text_column() : kind == 1 ? category_column(&dictionary) : fixed_column();
    column.name = name;
    if (choose(4) == 3) {
        column.valid_offset = (int64_t)choose(9);
        column.valid = block((size_t)(column.valid_offset + column.rows + 7) / 8);
    }
    if (choose(8) == 7) krait_table_add_index(table, &column, err);
    else krait_table_add_column(table, &column, err);
}

static void add_strings(krait_table *table, const char *name, krait_error **err) {
    static const char *const texts[] = { "", "a", "größe", NULL, "\xff", "a long text, which is not short" };
    const char              *strings[6];
    size_t                   rows = choose(6);
    for (size_t i = 0; i < rows; i++) strings[i] = texts[choose(6)];
    krait_table_add_strings(table, name, strings, rows, err);
}

static void add_array(krait_table *table, const char *name, krait_error **err) {
    krait_value values = array_value(), valid = choose(4) == 3 ? array_value() : krait_none();
    if (choose(4) == 3 && values.kind == KRAIT_KIND_ARRAY) {
        input.owned++;
        values = krait_owned(values, released, NULL);
    }
    krait_table_add(table, name, values, valid.kind == KRAIT_KIND_ARRAY ? &valid : NULL, err);
}

static krait_value table_value(void) {
    static const char *const names[] = { "x", "y", "x", "", NULL, "\xff", "größe" };
    krait_error             *err = NULL;
    krait_table             *table = input.table_count < TABLES_MAX ? krait_table_new(&err) : NULL;
    if (table) input.tables[input.table_count++] = table;
    for (unsigned n = choose(5); table && n > 0 && more(); n--) {
        const char *name = names[choose(7)];
        unsigned    how = choose(8);
        if (choose(16) == 15) krait__mem_fail_at(1 + choose(12));
        if (how < 3) add_array(table, name, &err);
        else if (how < 5) add_strings(table, name, &err);
        else if (how < 6) krait_table_add_structs(table, array_value(), &err);
        else add_column(table, name, &err);
        krait__mem_fail_at(0);
        if (err) must(*krait_error_message(err) != 0, "an error without a message");
        krait_error_clear(&err);
    }
    krait_error_clear(&err);
    return table || choose(2) ? krait_table_value(table) : krait_none();
}

static krait_value scalar_value(void) {
    uint64_t number = choose_number();
    double   real;
    memcpy(&real, &number, sizeof real);
    switch (choose(8)) {
    case 0: return krait_bool(number & 1);
    case 1: return krait_i64((int64_t)number);
    case 2: return krait_u64(number);
    case 3: return krait_f64(real);
    case 4: return krait_complex(real, (double)number);
    case 5: return krait_decimal(choose(8) ? "12.50" : NULL);
    case 6: return krait_time_in(choose_dtype(), (int64_t)number, choose(2) ? NULL : "Europe/Berlin");
    default: return krait_make_(choose_byte());
    }
}

static krait_value build(int depth) {
    krait_value value;
    if (!more()) return krait_none();
    switch (choose(10)) {
    case 0:
    case 1: value = scalar_value(); break;
    case 2: return text_value();
    case 3:
        value = text_value();
        value.kind = KRAIT_KIND_BYTES;
        return value;
    case 4: return table_value();
    case 5: return depth < 80 ? list_value(depth, true) : krait_none();
    case 6: return depth < 80 ? list_value(depth, false) : krait_none();
    default: return array_value();
    }
    /* What a kind chosen at will points to is not set. */
    if (value.kind > KRAIT_KIND_COMPLEX && value.kind < KRAIT_KIND_TIME) value.kind = KRAIT_KIND_NONE;
    if (value.kind == KRAIT_KIND_TABLE) value.as.table = NULL;
    return value;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void read_value(const krait_value *value, int depth);

/* Every byte of every element. */
static void touch(const krait_array *array) {
    volatile unsigned char sum = 0;
    int64_t                count = array->size;
    for (int64_t n = 0; n < count; n++) {
        const char *at = array->data;
        int64_t     rest = n, step = (int64_t)array->dtype.item_size;
        for (int32_t i = array->ndim - 1; i >= 0; i--) {
            at += rest % array->shape[i] * (array->strides ? array->strides[i] : step);
            step *= array->shape[i];
            rest /= array->shape[i];
        }
        for (uint32_t k = 0; k < array->dtype.item_size; k++) sum = (unsigned char)(sum + (unsigned char)at[k]);
    }
}

static void read_array(const krait_value *value) {
    static const char *const names[] = { "x", "a", "n", "y" };
    krait_error             *err = NULL;
    krait_array              array, field;
    char                     text[16];
    size_t                   length;
    if (krait_get_array(value, choose(2) ? KRAIT_ANY : (int)choose(22), choose(2) ? -1 : (int)choose(4), &array,
                        &err) == KRAIT_OK) {
        touch(&array);
        for (int64_t i = -1; i <= array.size && i < 20; i++) {
            krait_array_text(&array, i, text, sizeof text, &length, &err);
            krait_error_clear(&err);
        }
        if (krait_array_field(&array, names[choose(4)], KRAIT_ANY, &field, &err) == KRAIT_OK) touch(&field);
    } else {
        must(!array.data && !array.size, "a failed reader filled its output");
    }
    krait_error_clear(&err);
    if (krait_get_column(value, names[choose(4)], KRAIT_ANY, &array, &err) == KRAIT_OK) touch(&array);
    krait_error_clear(&err);
}

static void read_scalars(const krait_value *value) {
    krait_error     *err = NULL;
    bool             b;
    int64_t          i;
    uint64_t         u;
    double           f, im;
    const char      *text;
    const void      *data;
    size_t           size;
    krait_time_parts time;
    if (krait_get_bool(value, &b, &err)) must(!b, "out of a failed reader");
    krait_error_clear(&err);
    if (krait_get_i64(value, &i, &err)) must(i == 0, "out of a failed reader");
    krait_error_clear(&err);
    if (krait_get_u64(value, &u, &err)) must(u == 0, "out of a failed reader");
    krait_error_clear(&err);
    if (krait_get_f64(value, &f, &err)) must(f == 0, "out of a failed reader");
    krait_error_clear(&err);
    krait_get_complex(value, &f, &im, &err);
    krait_error_clear(&err);
    krait_get_time(value, &time, &err);
    krait_error_clear(&err);
    krait_get_ticks(value, (int)choose(20), (int)choose(16), &i, &err);
    krait_error_clear(&err);
    if (krait_get_text(value, &text, choose(2) ? &size : NULL, &err)) must(!text, "out of a failed reader");
    krait_error_clear(&err);
    if (krait_get_bytes(value, &data, &size, &err)) must(!data && !size, "out of a failed reader");
    krait_error_clear(&err);
}

static void read_column(const krait_column *column) {
    krait_error  *err = NULL;
    krait_array   array;
    size_t        size;
    volatile char sum = 0;
    for (int64_t row = 0; row < column->rows; row++) {
        const char *text;
        if (column->kind != KRAIT_COLUMN_TEXT && column->kind != KRAIT_COLUMN_BYTES) break;
        text = krait_column_text(column, row, &size);
        for (size_t k = 0; text && k < size; k++) sum = (char)(sum ^ text[k]);
    }
    if (krait_column_array(column, KRAIT_ANY, choose(2), &array, &err) == KRAIT_OK) touch(&array);
    krait_error_clear(&err);
    if (column->dictionary) read_column(column->dictionary);
}

static void read_table(const krait_value *value) {
    const krait_table *table;
    krait_error       *err = NULL;
    krait_column       column;
    if (krait_get_table(value, &table, &err)) table = NULL;
    krait_error_clear(&err);
    for (size_t i = 0; i <= krait_table_column_count(table) + krait_table_index_count(table); i++) {
        krait_status status =
            choose(2) ? krait_table_column(table, i, &column, &err) : krait_table_index(table, i, &column, &err);
        if (!status) must(column.rows == krait_table_rows(table), "rows of a column");
        if (!status) read_column(&column);
        krait_error_clear(&err);
        if (krait_table_find(table, krait_table_column_name(table, i), &column, &err) == KRAIT_OK) read_column(&column);
        krait_error_clear(&err);
    }
}

static void read_items(const krait_value *value, int depth) {
    krait_error       *err = NULL;
    const krait_value *item;
    const char        *key;
    size_t             list = krait_list_len(value), count = list + krait_map_len(value);
    for (size_t i = 0; i <= count; i++) {
        krait_status status = list ? krait_list_at(value, i, &item, &err) : krait_map_at(value, i, &key, &item, &err);
        must(!status == (item != NULL), "an item or an error");
        krait_error_clear(&err);
        if (status) continue;
        read_value(item, depth + 1);
        if (!list && krait_map_get(value, key, &item, &err) == KRAIT_OK) must(item != NULL, "a named item");
        krait_error_clear(&err);
    }
}

static void read_value(const krait_value *value, int depth) {
    char   text[200];
    size_t room = choose(4) ? sizeof text : choose(20);
    if (depth > 6) return; /* it may contain itself */
    check_text(krait_value_describe(value, text, room), text, room);
    read_scalars(value);
    read_array(value);
    read_table(value);
    read_items(value, depth);
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

static bool same_array(const krait_value *a, const krait_value *b) {
    krait_array one, other;
    if (krait_get_array(a, KRAIT_ANY, -1, &one, NULL) || krait_get_array(b, KRAIT_ANY, -1, &other, NULL)) return false;
    if (one.ndim != other.ndim || one.size != other.size || one.dtype.item_size != other.dtype.item_size) return false;
    must(other.flags & KRAIT_ARRAY_C_CONTIGUOUS && other.flags & KRAIT_ARRAY_ALIGNED, "the layout of a copy");
    for (int32_t i = 0; i < one.ndim; i++)
        if (one.shape[i] != other.shape[i]) return false;
    if (one.size != 1 || (one.dtype.swapped && one.dtype.code != KRAIT_STRUCT)) return true;
    return !memcmp(one.data, other.data, one.dtype.item_size);
}

static void check_copy(const krait_value *value, const krait_value *copy) {
    char one[200], other[200];
    krait_value_describe(value, one, sizeof one);
    krait_value_describe(copy, other, sizeof other);
    must(value->kind == copy->kind, "the kind of a copy");
    must(value->kind == KRAIT_KIND_ARRAY || strcmp(one, other) == 0, "the description of a copy"); /* > of >f8 goes */
    must(value->kind != KRAIT_KIND_ARRAY || same_array(value, copy), "a copied array");
    must((value->kind != KRAIT_KIND_TEXT && value->kind != KRAIT_KIND_BYTES) || value->as.bytes.size == 0 ||
             memcmp(value->as.bytes.data, copy->as.bytes.data, value->as.bytes.size) == 0,
         "a copied text");
}

static void copy_value(const krait_value *value) {
    krait_error *err = NULL;
    krait_value  copy;
    bool         fault = choose(4) == 3;
    if (fault) krait__mem_fail_at(1 + choose(30));
    if (krait_value_copy(value, &copy, &err) == KRAIT_OK) {
        krait__mem_fail_at(0);
        check_copy(value, &copy);
        read_value(&copy, 0);
    } else {
        krait__mem_fail_at(0);
        must(copy.kind == KRAIT_KIND_NONE && *krait_error_message(err), "a failed copy");
    }
    krait_value_clear(&copy);
    krait_value_clear(&copy);
    krait_error_clear(&err);
}

struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void    *manager;
    void (*deleter)(struct DLManagedTensorVersioned *self);
};

/* Out as a tensor and in again: the same array. */
static void pass_as_tensor(const krait_value *value) {
    krait_error *err = NULL;
    krait_value  given = krait_borrow(value), back;
    void        *tensor;
    if (krait_dlpack_export(&given, true, &tensor, &err) == KRAIT_OK) {
        if (krait_dlpack_import(tensor, true, &back, &err) == KRAIT_OK) {
            krait_array one, other;
            krait_get_array(value, KRAIT_ANY, -1, &one, &err);
            must(krait_get_array(&back, one.dtype.code, one.ndim, &other, &err) == KRAIT_OK, "an imported tensor");
            must(other.data == one.data && other.size == one.size, "memory of an imported tensor");
            touch(&other);
            krait_value_clear(&back);
        } else {
            ((struct DLManagedTensorVersioned *)tensor)->deleter(tensor);
        }
    }
    krait_error_clear(&err);
}

static void make_record(void) {
    krait_error *err = NULL;
    krait_member members[] = { krait_member_("x", choose(4), 0, choose_dtype()),
                               krait_member_("n", 12, 0, choose_dtype()) };
    for (size_t i = 0; i < 2; i++) members[i].size = members[i].dtype.item_size * (1 + (size_t)choose(2));
    input.record = krait_struct_new(members, 1 + choose(2), 12 + choose(20), &err);
    krait_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    krait_error *err = NULL;
    krait_value  value;
    choices = data;
    choices_left = size;
    memset(&input, 0, sizeof input);
    make_record();
    while (choices_left && input.nodes < NODES_MAX) {
        value = build(0);
        read_value(&value, 0);
        copy_value(&value);
        if (value.kind == KRAIT_KIND_ARRAY) pass_as_tensor(&value);
        krait_value_clear(&value);
    }
    while (input.table_count) krait_table_free(input.tables[--input.table_count]);
    must(input.owned == input.released, "owned memory is released once");
    while (input.block_count) free(input.blocks[--input.block_count]);
    krait_struct_free(input.record);
    end_input(&err);
    return 0;
}
