/* Arrays of C structs, and text and bytes of fixed width: the same memory in Python and back, with offsets, padding,
 * nested structs and array members where the compiler put them; random layouts. KRAIT_TEST_SEED repeats a run. */
#include "check.h"

#include <stdbool.h>

static const char module[] =
    "import numpy\n"
    "def identity(a): return a\n"
    "def address(a): return a.__array_interface__['data'][0]\n"
    "def writable(a): return a.flags.writeable\n"
    /* name@offset:format(shape) of every field, nested ones in braces, and the size. */
    "def layout(d):\n"
    "    words = []\n"
    "    for name in d.names:\n"
    "        one, at = d.fields[name][:2]\n"
    "        shape = ','.join(str(n) for n in one.shape)\n"
    "        inner = layout(one.base) if one.base.names else one.base.str\n"
    "        words.append(f'{name}@{at}:{inner}' + (f'({shape})' if shape else ''))\n"
    "    return '{' + ' '.join(words) + f'}}{d.itemsize}'\n"
    "def layout_of(a): return layout(a.dtype)\n"
    "def dtype_of(a): return str(a.dtype)\n"
    "def kept(a): return a.__array_interface__['data'][0], a.shape, a.strides\n"
    "def raw(a): return numpy.asarray(a).view(f'V{a.dtype.itemsize}').tobytes()\n"
    "def sums(a): return a['price'].sum(), a['qty'].sum(), a['at']['y'].sum(), a['times'][:, 1].max()\n"
    "def bump(a): a['qty'] += 1\n"
    "def names(a): return b','.join(a['sym'].tolist())\n"
    "def texts(a): return '|'.join(a.ravel().tolist())\n"
    "def make(text): return eval(text)\n";

/* ---- one struct of everything ------------------------------------------------------------------------------------ */

struct inner {
    int16_t x;
    float   y[2][3];
};
struct tick {
    int64_t      when;
    double       price;
    int32_t      qty;
    char         sym[6];
    bool         live;
    struct inner at;
    int64_t      times[2];
    uint32_t     code[3];
    float        pair[2][2]; /* two complex numbers */
    struct inner legs[2];
};

static krait_struct *inner_type(krait_error **err) {
    krait_member members[] = {
        KRAIT_FIELD(struct inner, x, krait_i16_type),
        KRAIT_FIELD(struct inner, y, krait_f32_type),
    };
    members[1].ndim = 2;
    members[1].shape[0] = 2;
    members[1].shape[1] = 3;
    return krait_struct_new(members, COUNT(members), sizeof(struct inner), err);
}

/* The inner description may go once it was used. */
static krait_struct *tick_type(krait_error **err) {
    krait_struct      *inner = inner_type(err), *made;
    const krait_member members[] = {
        KRAIT_FIELD_OF(struct tick, when, krait_datetime(KRAIT_NS, 1)),
        KRAIT_FIELD(struct tick, price, krait_f64_type),
        KRAIT_FIELD(struct tick, qty, krait_i32_type),
        KRAIT_FIELD_CHARS(struct tick, sym),
        KRAIT_FIELD(struct tick, live, krait_bool_type),
        KRAIT_FIELD_OF(struct tick, at, krait_struct_type(inner)),
        KRAIT_FIELD_OF(struct tick, times, krait_timedelta(KRAIT_S, 25)),
        KRAIT_FIELD_OF(struct tick, code, krait_fixed_text(3)),
        KRAIT_FIELD(struct tick, pair, krait_c64_type),
        KRAIT_FIELD_OF(struct tick, legs, krait_struct_type(inner)),
    };
    made = krait_struct_new(members, COUNT(members), sizeof(struct tick), err);
    krait_struct_free(inner);
    return made;
}

enum { TICKS = 4 };

/* Padding is filled too: what is copied must bring it along. */
static void fill_ticks(struct tick ticks[TICKS]) {
    static const char *const names[] = { "a", "EURUSD", "x\0y", "" };
    memset(ticks, 0xa5, TICKS * sizeof *ticks);
    for (int i = 0; i < TICKS; i++) {
        ticks[i].when = 1000 + i;
        ticks[i].price = i + 0.5;
        ticks[i].qty = 10 * i;
        memset(ticks[i].sym, 0, sizeof ticks[i].sym);
        memcpy(ticks[i].sym, names[i], i == 2 ? 3 : strlen(names[i]));
        ticks[i].live = i % 2;
        ticks[i].at.x = (int16_t)-i;
        for (int k = 0; k < 6; k++) ticks[i].at.y[k / 3][k % 3] = (float)(i + k);
        ticks[i].times[0] = INT64_MIN;
        ticks[i].times[1] = i;
        memcpy(ticks[i].code, U"é\U0001F40D", 3 * sizeof(uint32_t));
        for (int k = 0; k < 4; k++) ticks[i].pair[k / 2][k % 2] = (float)k;
        for (int k = 0; k < 12; k++) ticks[i].legs[k / 6].y[k % 6 / 3][k % 3] = (float)k;
        ticks[i].legs[0].x = ticks[i].legs[1].x = 7;
    }
}

static void assert_text(const krait_value *value, const char *expected) {
    const char  *text;
    krait_error *err = NULL;
    krait_get_text(value, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
}

static int64_t whole(krait_value *value) {
    int64_t      n;
    krait_error *err = NULL;
    krait_get_i64(value, &n, &err);
    assert_good(err);
    krait_value_clear(value);
    return n;
}

/* What the compiler made of the structs, in the words of the module. */
static void expected_layout(char *text, size_t size) {
    char inner[128];
    snprintf(inner, sizeof inner, "{x@%zu:<i2 y@%zu:<f4(2,3)}%zu", offsetof(struct inner, x), offsetof(struct inner, y),
             sizeof(struct inner));
    snprintf(text, size,
             "{when@%zu:<M8[ns] price@%zu:<f8 qty@%zu:<i4 sym@%zu:|S6 live@%zu:|b1 at@%zu:%s times@%zu:<m8[25s](2) "
             "code@%zu:<U3 pair@%zu:<c8(2) legs@%zu:%s(2)}%zu",
             offsetof(struct tick, when), offsetof(struct tick, price), offsetof(struct tick, qty),
             offsetof(struct tick, sym), offsetof(struct tick, live), offsetof(struct tick, at), inner,
             offsetof(struct tick, times), offsetof(struct tick, code), offsetof(struct tick, pair),
             offsetof(struct tick, legs), inner, sizeof(struct tick));
}

static void structs_are_lent_as_they_lie(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_struct *type = tick_type(&err);
    struct tick   ticks[TICKS];
    krait_value   value, out;
    char          layout[1024];
    double        price;
    bool          writable;
    (void)state;
    assert_good(err);
    fill_ticks(ticks);
    value = krait_structs(ticks, TICKS, type);
    expected_layout(layout, sizeof layout);
    call1("structs:layout_of", value, 0, &out, &err);
    assert_good(err);
    assert_text(&out, layout);
    krait_value_clear(&out);
    call1("structs:address", value, 0, &out, &err);
    assert_good(err);
    assert_int_equal(whole(&out), (intptr_t)ticks);
    call1("structs:sums", value, 0, &out, &err);
    assert_good(err);
    krait_get_f64(&out.as.list.items[0], &price, &err);
    assert_good(err);
    assert_true(price == 8);
    assert_int_equal(out.as.list.items[1].as.i64, 60);
    assert_true(out.as.list.items[2].as.f64 == 4 * 15 + 6 * 6);
    krait_value_clear(&out);
    call1("structs:names", value, 0, &out, &err);
    assert_good(err);
    assert_int_equal(out.as.bytes.size, 13);
    assert_memory_equal(out.as.bytes.data, "a,EURUSD,x\0y,", 13);
    krait_value_clear(&out);
    call1("structs:writable", value, 0, &out, &err);
    krait_get_bool(&out, &writable, &err);
    assert_good(err);
    assert_false(writable);
    call1("structs:bump", value, 0, NULL, &err);
    assert_error(err, KRAIT_E_PYTHON, "read-only");
    call1("structs:bump", value, KRAIT_WRITABLE, NULL, &err);
    assert_good(err);
    assert_int_equal(ticks[3].qty, 31);
    krait_struct_free(type);
    assert_nothing_left(&before);
}

/* Same fields, same places, whoever described them. */
static void assert_same_fields(krait_dtype a, krait_dtype b) {
    const krait_field *mine, *other;
    size_t             count = krait_dtype_fields(a, &mine);
    assert_int_equal(krait_dtype_fields(b, &other), count);
    assert_int_equal(a.item_size, b.item_size);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(mine[i].name, other[i].name);
        assert_int_equal(mine[i].offset, other[i].offset);
        assert_int_equal(mine[i].ndim, other[i].ndim);
        for (int32_t d = 0; d < mine[i].ndim; d++) assert_int_equal(mine[i].shape[d], other[i].shape[d]);
        assert_int_equal(mine[i].dtype.code, other[i].dtype.code);
        assert_int_equal(mine[i].dtype.swapped, other[i].dtype.swapped);
        assert_int_equal(mine[i].dtype.unit, other[i].dtype.unit);
        assert_int_equal(mine[i].dtype.item_size, other[i].dtype.item_size);
        if (mine[i].dtype.code == KRAIT_STRUCT) assert_same_fields(mine[i].dtype, other[i].dtype);
        else assert_int_equal(mine[i].dtype.of.count, other[i].dtype.of.count);
    }
}

static void structs_come_back_bit_for_bit(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_struct *type = tick_type(&err);
    struct tick   ticks[TICKS];
    krait_value   value, out, copy;
    krait_array   array;
    (void)state;
    fill_ticks(ticks);
    value = krait_structs(ticks, TICKS, type);
    call1("structs:identity", value, KRAIT_ALIAS, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, ticks);
    assert_true(array.flags & KRAIT_ARRAY_ALIAS);
    assert_same_fields(krait_struct_type(type), array.dtype);
    krait_value_clear(&out);
    call1("structs:identity", value, 0, &out, &err); /* lent memory: copied */
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    assert_ptr_not_equal(array.data, ticks);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_memory_equal(array.data, ticks, sizeof ticks);
    assert_same_fields(krait_struct_type(type), array.dtype);
    krait_value_copy(&out, &copy, &err);
    krait_value_clear(&out);
    assert_good(err);
    call1("structs:raw", krait_borrow(&copy), 0, &out, &err); /* a copy's description has no recipe of its own */
    assert_good(err);
    assert_int_equal(out.as.bytes.size, sizeof ticks);
    assert_memory_equal(out.as.bytes.data, ticks, sizeof ticks);
    krait_value_clear(&out);
    krait_value_clear(&copy);
    call1("structs:raw", value, KRAIT_COPY, &out, &err);
    assert_good(err);
    assert_memory_equal(out.as.bytes.data, ticks, sizeof ticks);
    krait_value_clear(&out);
    krait_struct_free(type);
    assert_nothing_left(&before);
}

static void fields_of_a_struct_array(void **state) {
    krait_error  *err = NULL;
    krait_struct *type = tick_type(&err);
    struct tick   ticks[TICKS];
    krait_value   value, list;
    krait_array   array, sym, code, at, x;
    char          text[16];
    size_t        length;
    int64_t       backwards = -(int64_t)sizeof(struct tick), n = TICKS;
    (void)state;
    fill_ticks(ticks);
    value = krait_ndarray(&ticks[TICKS - 1], krait_struct_type(type), 1, &n, &backwards);
    call1("structs:identity", value, KRAIT_COPY, &list, &err);
    krait_get_array(&list, KRAIT_STRUCT, 1, &array, &err);
    krait_array_field(&array, "sym", KRAIT_FIXED_BYTES, &sym, &err);
    krait_get_column(&list, "code", KRAIT_FIXED_TEXT, &code, &err);
    krait_array_field(&array, "at", KRAIT_STRUCT, &at, &err);
    krait_array_field(&at, "x", KRAIT_I16, &x, &err);
    assert_good(err);
    assert_int_equal(((int16_t *)x.data)[0], -3);
    krait_array_text(&sym, 1, text, sizeof text, &length, &err); /* the third from the start */
    assert_good(err);
    assert_int_equal(length, 3);
    assert_memory_equal(text, "x\0y", 4);
    krait_array_text(&code, 0, text, sizeof text, &length, &err);
    assert_good(err);
    assert_string_equal(text, "é\U0001F40D");
    assert_int_equal(length, strlen(text));
    krait_array_field(&array, "legs", KRAIT_ANY, &x, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'legs' is itself an array of 1 dimension");
    krait_value_clear(&list);
    krait_struct_free(type);
}

/* ---- packed ------------------------------------------------------------------------------------------------------ */

#pragma pack(push, 1)
struct packed {
    uint8_t  kind;
    double   price;
    uint32_t name[2];
    int16_t  qty;
};
#pragma pack(pop)

static void packed_structs_and_members_in_any_order(void **state) {
    krait_error       *err = NULL;
    const krait_member members[] = {
        KRAIT_FIELD(struct packed, qty, krait_i16_type),
        KRAIT_FIELD_OF(struct packed, name, krait_fixed_text(2)),
        KRAIT_FIELD(struct packed, kind, krait_u8_type),
        KRAIT_FIELD(struct packed, price, krait_f64_type),
    };
    krait_struct       *type = krait_struct_new(members, COUNT(members), sizeof(struct packed), &err);
    const struct packed rows[] = { { 1, 2.5, { 'a', 0 }, -3 }, { 2, 4.5, { 'b', 0x20ac }, -4 } };
    krait_value         out, sum;
    krait_array         array, price, name;
    char                text[8];
    (void)state;
    assert_good(err);
    call1("structs:layout_of", krait_structs(rows, 2, type), 0, &out, &err);
    assert_good(err);
    assert_text(&out, "{qty@17:<i2 name@9:<U2 kind@0:|u1 price@1:<f8}19");
    krait_value_clear(&out);
    call1("structs:identity", krait_structs(rows, 2, type), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    krait_array_field(&array, "price", KRAIT_F64, &price, &err);
    krait_array_field(&array, "name", KRAIT_FIXED_TEXT, &name, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_ALIGNED); /* records have no alignment; their fields do */
    assert_false(price.flags & KRAIT_ARRAY_ALIGNED);
    assert_false(name.flags & KRAIT_ARRAY_ALIGNED);
    assert_memory_equal(array.data, rows, sizeof rows);
    krait_array_text(&name, 1, text, sizeof text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, "b€");
    krait_value_clear(&out);
    define("packed", "def total(a): return float(a['price'].sum()) + int(a['qty'].sum())\n");
    call1("packed:total", krait_structs(rows, 2, type), 0, &sum, &err);
    assert_good(err);
    assert_true(sum.as.f64 == 0);
    krait_struct_free(type);
}

/* Padding that numpy itself would leave undefined in a copy. */
static void copies_keep_the_padding(void **state) {
    static const char *const made[] = { "wide()[::2]", "wide()[::-1]", "wide().reshape(2, 3).T",
                                        "wide().view(numpy.recarray)[::3]" };
    (void)state;
    define("wide",
           "import numpy\n"
           "d = numpy.dtype({'names': ['a', 'b'], 'formats': ['i1', '>f8'], 'offsets': [1, 8], 'itemsize': 24})\n"
           "def wide(): return (numpy.arange(24 * 6) % 251).astype('u1').view(d)\n"
           "def make(text): return numpy.asanyarray(eval(text))\n"
           "def raw(text): return make(text).view('V24').tobytes()\n");
    for (size_t i = 0; i < COUNT(made); i++) {
        krait_error *err = NULL;
        krait_value  out, raw;
        krait_array  array;
        call1("wide:make", krait_str(made[i]), 0, &out, &err);
        call1("wide:raw", krait_str(made[i]), 0, &raw, &err);
        krait_get_array(&out, KRAIT_STRUCT, -1, &array, &err);
        assert_good(err);
        assert_true(array.flags & KRAIT_ARRAY_COPIED);
        assert_int_equal(raw.as.bytes.size, array.size * 24);
        assert_memory_equal(array.data, raw.as.bytes.data, raw.as.bytes.size);
        krait_value_clear(&out);
        krait_value_clear(&raw);
    }
}

/* Records with Python objects in them are copied by numpy, which counts the references. */
static void records_with_objects(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array, x, o;
    (void)state;
    call1("structs:make",
          krait_str("numpy.array([('a' * 100, 1), ('b' * 100, 2), ('c' * 100, 3)], [('o', 'O'), ('x', 'i8')])[::2]"), 0,
          &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    krait_array_field(&array, "x", KRAIT_I64, &x, &err);
    assert_good(err);
    assert_int_equal(*(int64_t *)(void *)((char *)x.data + x.strides[0]), 3);
    krait_array_field(&array, "o", KRAIT_ANY, &o, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'o' is of a dtype that krait does not read");
    call1("structs:identity", krait_vector(array.data, array.dtype, 2), 0, NULL, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'o' is of a dtype that krait does not read");
    krait_value_clear(&out);
}

static void owned_and_empty_structs(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_struct *type = tick_type(&err);
    struct tick  *ticks = calloc(TICKS, sizeof *ticks);
    krait_value   out;
    krait_array   array;
    (void)state;
    fill_ticks(ticks);
    call1("structs:identity", krait_owned(krait_structs(ticks, TICKS, type), free, ticks), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, ticks); /* Python has it now: no copy */
    krait_value_clear(&out);
    call1("structs:identity", krait_structs(NULL, 0, type), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    assert_int_equal(array.size, 0);
    assert_same_fields(krait_struct_type(type), array.dtype);
    krait_value_clear(&out);
    krait_struct_free(type);
    assert_nothing_left(&before);
}

static void structs_are_refused(void **state) {
    krait_error  *err = NULL;
    krait_struct *type = tick_type(&err);
    struct tick   ticks[TICKS];
    krait_dtype   dtype = krait_struct_type(type);
    (void)state;
    call1("structs:identity", krait_structs(ticks, 1, NULL), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "dtype struct has of.fields NULL");
    dtype.item_size = 8;
    call1("structs:identity", krait_vector(ticks, dtype, 1), 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "dtype struct has item_size 8, its description says");
    call1("structs:identity", krait_vector(ticks, krait_fixed_bytes(0), 1), 0, NULL, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "numpy has no arrays of text or bytes of width 0");
    krait_struct_free(type);
}

/* dtypes nested or wide beyond the bounds: an error, or a field that cannot be read; no endless recursion. */
static void dtypes_beyond_the_bounds(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array, field;
    (void)state;
    define("deep", "import numpy\n"
                   "def deep(n):\n"
                   "    d = numpy.dtype('i4')\n"
                   "    for _ in range(n): d = numpy.dtype([('a', d)])\n"
                   "    return numpy.zeros(2, d)\n"
                   "def broad(n):\n" /* 8 to the n fields of no bytes */
                   "    d = numpy.dtype('S0')\n"
                   "    for _ in range(n): d = numpy.dtype([(f'f{i}', d) for i in range(8)])\n"
                   "    return numpy.zeros(2, [('d', d), ('x', 'i4')])\n");
    call1("deep:deep", krait_i64(16), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    for (int i = 0; i < 15; i++) krait_array_field(&array, "a", KRAIT_STRUCT, &array, &err);
    krait_array_field(&array, "a", KRAIT_I32, &field, &err);
    assert_good(err);
    krait_value_clear(&out);
    call1("deep:deep", krait_i64(600), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    for (int i = 0; i < 15; i++) krait_array_field(&array, "a", KRAIT_STRUCT, &array, &err);
    assert_good(err);
    krait_array_field(&array, "a", KRAIT_ANY, &field, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "field 'a' is of a dtype that krait does not read");
    krait_value_clear(&out);
    call1("deep:broad", krait_i64(6), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    krait_value_clear(&out);
}

/* More descriptions than krait keeps dtypes of, each made anew and right. */
static void many_descriptions(void **state) {
    krait_metrics before = at_rest();
    (void)state;
    for (int i = 0; i < 600; i++) {
        krait_error  *err = NULL;
        char          name[16], expected[64];
        int32_t       row[8] = { 0 };
        krait_member  member = krait_member_(name, (size_t)(i % 7) * 4, 4, krait_i32_type());
        krait_struct *type;
        krait_value   out;
        snprintf(name, sizeof name, "f%d", i % 300);
        type = krait_struct_new(&member, 1, sizeof row, &err);
        call1("structs:layout_of", krait_structs(row, 1, type), 0, &out, &err);
        assert_good(err);
        snprintf(expected, sizeof expected, "{%s@%d:<i4}32", name, i % 7 * 4);
        assert_text(&out, expected);
        krait_value_clear(&out);
        krait_struct_free(type);
    }
    assert_nothing_left(&before);
}

/* Names that JSON and numpy have to carry unharmed. */
static void names_of_any_text(void **state) {
    static const char *const names[] = { "a b", "\"quoted\\\"", "tab\tand\nline", "größe €\U0001F40D", "f0", "{}[]" };
    krait_error             *err = NULL;
    krait_member             members[COUNT(names)];
    int32_t                  row[COUNT(names)];
    krait_struct            *type;
    krait_value              out;
    krait_array              array, field;
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        members[i] = krait_member_(names[i], 4 * i, 4, krait_i32_type());
        row[i] = (int32_t)i;
    }
    type = krait_struct_new(members, COUNT(members), sizeof row, &err);
    call1("structs:identity", krait_structs(row, 1, type), 0, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_array_field(&array, names[i], KRAIT_I32, &field, &err);
        assert_good(err);
        assert_int_equal(*(int32_t *)field.data, i);
    }
    krait_value_clear(&out);
    krait_struct_free(type);
}

/* ---- text and bytes of fixed width ------------------------------------------------------------------------------- */

static void assert_element(const krait_array *array, int64_t index, const char *expected, size_t size) {
    krait_error *err = NULL;
    char         text[64];
    size_t       length;
    krait_array_text(array, index, text, sizeof text, &length, &err);
    assert_good(err);
    assert_int_equal(length, size);
    assert_memory_equal(text, expected, size + 1);
}

static void text_in_and_out(void **state) {
    static const char     bytes[2][3][4] = { { "ab", "abcd", "" }, { "a\0b", "x", "y" } };
    static const uint32_t points[3][4] = { U"añ", U"\U0001F40Dxyz", U"" };
    krait_metrics         before = at_rest();
    krait_error          *err = NULL;
    const int64_t         shape[] = { 2, 3 };
    krait_value           out;
    krait_array           array;
    char                  name[16];
    (void)state;
    call1("structs:identity", krait_ndarray(bytes, krait_fixed_bytes(4), 2, shape, NULL), KRAIT_ALIAS, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_BYTES, 2, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, bytes);
    krait_dtype_name(array.dtype, name, sizeof name);
    assert_string_equal(name, "S4");
    assert_element(&array, 1, "abcd", 4);
    assert_element(&array, 3, "a\0b", 3);
    krait_value_clear(&out);
    call1("structs:texts", krait_vector(points, krait_fixed_text(4), 3), 0, &out, &err);
    assert_good(err);
    assert_text(&out, "añ|\U0001F40Dxyz|");
    krait_value_clear(&out);
    call1("structs:make", krait_str("numpy.array(['größe', '', 'a\\0b', '\\U0001F40D'])"), 0, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_TEXT, 1, &array, &err);
    assert_good(err);
    assert_false(array.flags & KRAIT_ARRAY_COPIED);
    krait_dtype_name(array.dtype, name, sizeof name);
    assert_string_equal(name, "U5");
    assert_element(&array, 0, "größe", strlen("größe"));
    assert_element(&array, 1, "", 0);
    assert_element(&array, 2, "a\0b", 3);
    assert_element(&array, 3, "\U0001F40D", 4);
    krait_value_clear(&out);
    assert_nothing_left(&before);
}

static void strided_text_of_another_byte_order(void **state) {
    const char *const made = "numpy.array([['ab', 'cd', 'éf'], ['g', '', 'z']], '>U2')[::-1, ::2]";
    krait_error      *err = NULL;
    krait_value       out, copy, back;
    krait_array       array;
    char              name[16];
    krait_func       *func = krait_func_new("structs:make", &err);
    krait_arg         args[] = { krait_pos(krait_str(made)) };
    krait_call_options keep = KRAIT_CALL_OPTIONS_INIT;
    (void)state;
    keep.flags = KRAIT_KEEP_STRIDES;
    krait_call(func, args, 1, NULL, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_TEXT, 2, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_int_equal(array.dtype.swapped, 0);
    assert_memory_equal(array.data, U"g\0z\0ab\u00e9f", 8 * sizeof(uint32_t));
    krait_value_clear(&out);
    krait_call(func, args, 1, &keep, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_TEXT, 2, &array, &err);
    assert_good(err);
    assert_false(array.flags & KRAIT_ARRAY_COPIED);
    assert_int_equal(array.dtype.swapped, 1);
    krait_dtype_name(array.dtype, name, sizeof name);
    assert_string_equal(name, ">U2");
    assert_element(&array, 0, "g", 1);
    assert_element(&array, 3, "éf", 3);
    krait_value_copy(&out, &copy, &err);
    call1("structs:texts", krait_ndarray(array.data, array.dtype, 2, array.shape, array.strides), 0, &back, &err);
    assert_good(err);
    assert_text(&back, "g|z|ab|éf");
    krait_value_clear(&back);
    krait_get_array(&copy, KRAIT_FIXED_TEXT, 2, &array, &err);
    assert_good(err);
    assert_memory_equal(array.data, U"g\0z\0ab\u00e9f", 8 * sizeof(uint32_t));
    krait_value_clear(&copy);
    krait_value_clear(&out);
    krait_func_unref(func);
}

/* numpy lets a width of 0 stand in records only; a U array may hold what is no text. */
static void text_at_its_edges(void **state) {
    static const uint32_t lone[] = { 'a', 0xd800 };
    krait_error          *err = NULL;
    krait_value           out;
    krait_array           array;
    char                  text[8];
    (void)state;
    call1("structs:make", krait_str("numpy.zeros(3, [('n', 'S0'), ('u', 'U0'), ('x', 'i4')])['u']"), 0, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_TEXT, 1, &array, &err);
    assert_good(err);
    assert_int_equal(array.size, 3);
    assert_element(&array, 2, "", 0);
    krait_value_clear(&out);
    call1("structs:identity", krait_vector(lone, krait_fixed_text(2), 1), 0, &out, &err);
    krait_get_array(&out, KRAIT_FIXED_TEXT, 1, &array, &err);
    assert_good(err);
    krait_array_text(&array, 0, text, sizeof text, NULL, &err);
    assert_error(err, KRAIT_E_ENCODING, "element 0 has 0xD800 at character 1");
    assert_string_equal(text, "");
    krait_value_clear(&out);
}

/* ---- random layouts ---------------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint32_t dice(uint32_t sides) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % sides;
}

enum { MEMBERS_MAX = 6, WORDS = 4096, ROWS_MAX = 5 };

/* A random dtype of one element, and numpy's text for it, written by hand so as not to share code with the library. */
static krait_dtype random_dtype(char *text, size_t size) {
    static const char *const names[] = { "",   "|b1", "|i1", "i2", "i4", "i8", "|u1", "u2",
                                         "u4", "u8",  "f2",  "f4", "f8", "c8", "c16" };
    static const uint8_t     bytes[] = { 0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 8, 16 };
    static const char *const units[] = { "", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };
    uint8_t                  pick = (uint8_t)(1 + dice(18)), swapped = (uint8_t)dice(2);
    krait_dtype              dtype;
    if (pick <= 14) {
        dtype = krait_dtype_make_(pick, 0, bytes[pick], 0);
        snprintf(text, size, "%s%s", bytes[pick] == 1 ? "" : swapped ? ">" : "<", names[pick]);
    } else if (pick <= 16) {
        uint8_t unit = (uint8_t)(1 + dice(13));
        int32_t count = dice(2) ? 1 : 25;
        dtype = pick == 15 ? krait_datetime(unit, count) : krait_timedelta(unit, count);
        snprintf(text, size, count == 1 ? "%s%c8[%s]" : "%s%c8[25%s]", swapped ? ">" : "<", pick == 15 ? 'M' : 'm',
                 units[unit]);
    } else {
        uint32_t n = 1 + dice(5);
        dtype = pick == 17 ? krait_fixed_bytes(n) : krait_fixed_text(n);
        snprintf(text, size, "%s%c%u", pick == 17 ? "|" : swapped ? ">" : "<", pick == 17 ? 'S' : 'U', n);
    }
    dtype.swapped = swapped && pick != 17 && dtype.item_size > 1;
    return dtype;
}

static krait_struct *random_struct(int depth, char *text, size_t size);

/* One member at *at, which moves on behind it; appends it to the words. */
static krait_member random_member(int depth, const char *name, size_t *at, char *text, size_t size,
                                  krait_struct **nested) {
    char         words[WORDS], shape[64] = "";
    krait_member member;
    krait_dtype  dtype;
    size_t       count = 1, used = strlen(text);
    int32_t      ndim = dice(3) ? 0 : (int32_t)(1 + dice(3));
    *nested = depth < 3 && dice(5) == 0 ? random_struct(depth + 1, words, sizeof words) : NULL;
    dtype = *nested ? krait_struct_type(*nested) : random_dtype(words, sizeof words);
    *at += dice(3) ? 0 : dice(9);
    member = krait_member_(name, *at, 0, dtype);
    for (int32_t i = 0; i < ndim; i++) {
        member.shape[i] = (int64_t)(1 + dice(3));
        count *= (size_t)member.shape[i];
        snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%c%d", i ? ',' : '(', (int)member.shape[i]);
    }
    if (ndim) strcat(shape, ")");
    member.ndim = ndim;
    if (ndim == 1 && count > 1 && dice(2)) member.ndim = 0; /* told by the size */
    member.size = count * dtype.item_size;
    *at += member.size;
    snprintf(text + used, size - used, "%s%s@%zu:%s%s", used > 1 ? " " : "", name, member.offset, words, shape);
    return member;
}

static krait_struct *random_struct(int depth, char *text, size_t size) {
    static const char *const names[MEMBERS_MAX] = { "a", "b", "c", "d", "e", "f" };
    krait_error             *err = NULL;
    krait_member             members[MEMBERS_MAX];
    krait_struct            *nested[MEMBERS_MAX] = { NULL }, *made;
    size_t                   n = 1 + dice(MEMBERS_MAX), at = 0;
    strcpy(text, "{");
    for (size_t i = 0; i < n; i++) members[i] = random_member(depth, names[i], &at, text, size, &nested[i]);
    at += dice(3) ? 0 : dice(20);
    snprintf(text + strlen(text), size - strlen(text), "}%zu", at);
    made = krait_struct_new(members, n, at, &err);
    assert_good(err);
    for (size_t i = 0; i < n; i++) krait_struct_free(nested[i]);
    return made;
}

/* The rows as the value has them, one after the other in C order. */
static void gather(const krait_value *value, size_t item, unsigned char *rows) {
    krait_error *err = NULL;
    krait_array  array;
    krait_get_array(value, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    for (int64_t i = 0; i < array.size; i++)
        memcpy(rows + (size_t)i * item, (char *)array.data + i * array.strides[0], item);
}

static void check_trip(krait_value value, krait_struct *type, const unsigned char *rows, size_t size, uint32_t flags) {
    krait_error *err = NULL;
    krait_value  out, copy, raw;
    krait_array  array;
    call1("structs:identity", value, flags, &out, &err);
    krait_get_array(&out, KRAIT_STRUCT, 1, &array, &err);
    assert_good(err);
    assert_same_fields(krait_struct_type(type), array.dtype);
    assert_int_equal((size_t)array.size * array.dtype.item_size, size);
    if (size) assert_memory_equal(array.data, rows, size);
    krait_value_copy(&out, &copy, &err);
    krait_value_clear(&out);
    call1("structs:raw", krait_borrow(&copy), 0, &raw, &err);
    assert_good(err);
    assert_int_equal(raw.as.bytes.size, size);
    if (size) assert_memory_equal(raw.as.bytes.data, rows, size);
    krait_value_clear(&raw);
    krait_value_clear(&copy);
}

static void random_layout(int round) {
    char           words[4 * WORDS];
    krait_error   *err = NULL;
    krait_struct  *type = random_struct(0, words, sizeof words);
    krait_dtype    dtype = krait_struct_type(type);
    size_t         item = dtype.item_size, step = item + dice(4), n = dice(ROWS_MAX + 1);
    unsigned char *memory = malloc(step * ROWS_MAX + 16), *rows = malloc(item * ROWS_MAX + 1), *start;
    int64_t        length = (int64_t)n, stride = dice(2) ? (int64_t)step : -(int64_t)step;
    krait_value    value, out;
    for (size_t i = 0; i < step * ROWS_MAX + 16; i++) memory[i] = (unsigned char)dice(256);
    if (!dice(3)) stride = 0; /* told by the item size */
    start = memory + dice(16) + (stride < 0 && n ? (n - 1) * step : 0);
    value = krait_ndarray(start, dtype, 1, &length, stride ? &stride : NULL);
    gather(&value, item, rows);
    call1("structs:layout_of", value, 0, &out, &err);
    assert_good(err);
    if (strcmp(out.as.bytes.data, words) != 0) fail_msg("round %d: %s, expected %s", round, out.as.bytes.data, words);
    krait_value_clear(&out);
    check_trip(value, type, rows, n * item, 0);
    check_trip(value, type, rows, n * item, KRAIT_COPY);
    free(memory);
    free(rows);
    krait_struct_free(type);
}

static void random_layouts(void **state) {
    krait_metrics before = at_rest();
    const char   *given = getenv("KRAIT_TEST_SEED");
    (void)state;
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    for (int i = 0; i < 1000; i++) random_layout(i);
    assert_nothing_left(&before);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("structs", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structs_are_lent_as_they_lie),
        cmocka_unit_test(structs_come_back_bit_for_bit),
        cmocka_unit_test(fields_of_a_struct_array),
        cmocka_unit_test(packed_structs_and_members_in_any_order),
        cmocka_unit_test(copies_keep_the_padding),
        cmocka_unit_test(records_with_objects),
        cmocka_unit_test(owned_and_empty_structs),
        cmocka_unit_test(structs_are_refused),
        cmocka_unit_test(dtypes_beyond_the_bounds),
        cmocka_unit_test(many_descriptions),
        cmocka_unit_test(names_of_any_text),
        cmocka_unit_test(text_in_and_out),
        cmocka_unit_test(strided_text_of_another_byte_order),
        cmocka_unit_test(text_at_its_edges),
        cmocka_unit_test(random_layouts),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
