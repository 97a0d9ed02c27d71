/* Arrays of every dtype, shape and layout, both ways. What is right is never asked of krait: numpy builds the same
 * array from the same bytes, and a plain walk in C gathers the elements. The last test does so with arrays drawn by
 * lot: KRAIT_TEST_SEED repeats a run, KRAIT_TEST_CASES sets how many. */
#include "check.h"

#include <stdatomic.h>

static const char module[] =
    "import struct\n"
    "import numpy\n"
    "address = 0\n"
    "\n"
    "def numbers(data):\n"
    "    return struct.unpack(f'{len(data) // 8}q', data)\n"
    "def build(name, shape, strides, raw, first):\n"
    "    return numpy.ndarray(numbers(shape), name, raw, first, numbers(strides))\n"
    "def check(a, name, shape, strides, raw, first, at, writable):\n"
    "    want = build(name, shape, strides, raw, first)\n"
    "    rows = [('type', type(a), numpy.ndarray), ('dtype', a.dtype, want.dtype), ('shape', a.shape, want.shape),\n"
    "            ('elements', a.tobytes(), want.tobytes()), ('writable', a.flags.writeable, writable),\n"
    "            ('C order', a.flags.c_contiguous, want.flags.c_contiguous),\n"
    "            ('F order', a.flags.f_contiguous, want.flags.f_contiguous)]\n"
    "    if a.size:\n"
    "        steps = [i for i, n in enumerate(a.shape) if n > 1]\n"
    "        rows.append(('strides', [a.strides[i] for i in steps], [want.strides[i] for i in steps]))\n"
    "        rows.append(('address', a.__array_interface__['data'][0], at))\n"
    "    return ', '.join(f'{what}: {got}, expected {expected}' for what, got, expected in rows if got != expected)\n"
    "def make(name, shape, strides, raw, first, shift, writable):\n"
    "    global address\n"
    "    block = numpy.empty(len(raw) + 128, numpy.uint8)\n"
    "    start = -block.__array_interface__['data'][0] % 64 + shift\n"
    "    block[start:start + len(raw)] = numpy.frombuffer(raw, numpy.uint8)\n"
    "    a = build(name, shape, strides, block, start + first)\n"
    "    a.flags.writeable = writable\n"
    "    address = a.__array_interface__['data'][0]\n"
    "    return a\n"
    "def last_address():\n"
    "    return address\n"
    "def identity(a):\n"
    "    return a\n"
    "def fill(a, number):\n"
    "    a[...] = number\n";

/* ---- layouts ----------------------------------------------------------------------------------------------------- */

/* An array in a block of memory of its own. */
typedef struct layout {
    krait_dtype dtype;
    int32_t     ndim;
    int64_t     shape[KRAIT_MAX_NDIM], strides[KRAIT_MAX_NDIM];
    int64_t     size;  /* elements */
    size_t      bytes; /* of the block */
    size_t      first; /* where in it the first element lies */
    size_t      shift; /* of the block behind a multiple of 64 */
} layout;

/* How one dimension is laid out; dimensions are placed one after the other, the fastest first. */
typedef struct axis {
    int32_t dimension;
    bool    negative, zero;
    int64_t gap;
} axis;

static void place(layout *l, const axis *axes) {
    int64_t step = (int64_t)l->dtype.item_size, bytes = step, first = 0;
    l->size = 1;
    for (int32_t i = 0; i < l->ndim; i++) {
        int64_t n = l->shape[axes[i].dimension], stride, span;
        step += axes[i].gap;
        stride = axes[i].zero ? 0 : step;
        span = n > 0 ? (n - 1) * stride : 0;
        l->strides[axes[i].dimension] = axes[i].negative ? -stride : stride;
        if (axes[i].negative) first += span;
        bytes += span;
        if (stride && n > 1) step *= n;
        l->size *= n;
    }
    l->bytes = (size_t)bytes;
    l->first = (size_t)first;
}

enum { C_ORDER = 0, F_ORDER = 1, REVERSED = 2, GAPS = 4, REPEATED = 8, ODD = 16 };
static const unsigned ways[] = { C_ORDER,     F_ORDER,       REVERSED,     F_ORDER | REVERSED,     GAPS,
                                 GAPS | ODD,  REPEATED,      ODD,          REVERSED | GAPS | ODD,  F_ORDER | GAPS,
                                 F_ORDER | ODD };

static void lay_out(layout *l, krait_dtype dtype, int32_t ndim, const int64_t *shape, unsigned way) {
    axis axes[KRAIT_MAX_NDIM];
    l->dtype = dtype;
    l->ndim = ndim;
    l->shift = way & ODD ? 1 : 0;
    for (int32_t i = 0; i < ndim; i++) {
        l->shape[i] = shape[i];
        axes[i].dimension = way & F_ORDER ? i : ndim - 1 - i;
        axes[i].negative = way & REVERSED;
        axes[i].zero = way & REPEATED && i == ndim - 1;
        axes[i].gap = way & GAPS ? (int64_t)dtype.item_size * (i % 3 == 0) : 0;
    }
    place(l, axes);
}

/* The block ends where its memory ends, so that a sanitizer sees one byte too many. */
static char *new_block(const layout *l, uint64_t (*random)(void)) {
    char *memory = NULL;
    if (posix_memalign((void **)&memory, 64, l->shift + l->bytes)) return NULL;
    for (size_t i = 0; i < l->shift + l->bytes; i++) memory[i] = (char)(random() >> 56);
    if (l->dtype.code == KRAIT_BOOL)
        for (size_t i = 0; i < l->bytes; i++) memory[l->shift + i] &= 1;
    return memory + l->shift;
}

static void free_block(const layout *l, char *block) {
    free(block - l->shift);
}

static void put_native(char *to, const char *from, krait_dtype dtype) {
    size_t size = dtype.item_size;
    size_t width = dtype.code == KRAIT_C64 || dtype.code == KRAIT_C128 ? size / 2 : size;
    for (size_t i = 0; i < size; i++) to[i] = from[dtype.swapped ? i / width * width + width - 1 - i % width : i];
}

/* The elements in C order and native, one after the other. */
static char *gather(const layout *l, const char *block) {
    int64_t     index[KRAIT_MAX_NDIM] = { 0 };
    size_t      item = l->dtype.item_size;
    char       *all = malloc((size_t)l->size * item + 1);
    const char *from = block + l->first;
    for (int64_t i = 0; i < l->size; i++) {
        put_native(all + (size_t)i * item, from, l->dtype);
        for (int32_t d = l->ndim - 1; d >= 0; d--) {
            from += l->strides[d];
            if (++index[d] < l->shape[d]) break;
            from -= l->strides[d] * l->shape[d];
            index[d] = 0;
        }
    }
    return all;
}

static bool is_c_ordered(const layout *l) {
    int64_t step = (int64_t)l->dtype.item_size;
    if (!l->size) return true;
    for (int32_t d = l->ndim - 1; d >= 0; d--) {
        if (l->shape[d] > 1 && l->strides[d] != step) return false;
        step *= l->shape[d];
    }
    return true;
}

static size_t alignment(krait_dtype dtype) {
    return dtype.code == KRAIT_C64 || dtype.code == KRAIT_C128 ? dtype.item_size / 2 : dtype.item_size;
}

static bool is_aligned(const layout *l) {
    int64_t align = (int64_t)alignment(l->dtype);
    if (!l->size) return true;
    for (int32_t d = 0; d < l->ndim; d++)
        if (l->shape[d] > 1 && l->strides[d] % align) return false;
    return ((int64_t)(l->shift + l->first)) % align == 0;
}

/* Whether C can read it as it is: then nothing is copied. */
static bool is_plain(const layout *l) {
    return is_c_ordered(l) && is_aligned(l) && !(l->dtype.swapped && l->dtype.item_size > 1);
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

static const char units[][8] = { "", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };

static const char *numpy_name(krait_dtype dtype) {
    static const char kinds[] = "?biiiiuuuufffccMm";
    static char       text[64];
    bool              little = (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) != (dtype.swapped != 0);
    int               length = snprintf(text, sizeof text, "%c%c%u", little ? '<' : '>', kinds[dtype.code],
                                        (unsigned)dtype.item_size);
    if (dtype.code >= KRAIT_DATETIME && dtype.unit)
        snprintf(text + length, sizeof text - (size_t)length, "[%" PRId64 "%s]", dtype.of.count, units[dtype.unit]);
    return text;
}

enum { DTYPES = 32 };

/* All of them, native and swapped. */
static size_t list_dtypes(krait_dtype *dtypes) {
    const krait_dtype native[] = {
#define MAKE(NAME, name, code, type, bytes, text) krait_##name##_type(),
        KRAIT_DTYPE_MAP(MAKE)
#undef MAKE
        krait_datetime(KRAIT_NS, 1), krait_timedelta(KRAIT_S, 25),
    };
    size_t count = 0;
    assert_true(2 * COUNT(native) <= DTYPES);
    for (size_t i = 0; i < COUNT(native); i++) {
        dtypes[count++] = native[i];
        dtypes[count] = native[i];
        dtypes[count++].swapped = 1;
    }
    return count;
}

static const struct {
    int32_t ndim;
    int64_t shape[KRAIT_MAX_NDIM];
} shapes[] = {
    { 0, { 0 } },
    { 1, { 1 } },
    { 1, { 7 } },
    { 1, { 0 } },
    { 2, { 3, 4 } },
    { 2, { 5, 1 } },
    { 3, { 2, 0, 3 } },
    { 3, { 2, 3, 4 } },
    { 5, { 2, 1, 3, 2, 2 } },
    { 32, { 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2 } },
};

/* ---- chance: splitmix64 ------------------------------------------------------------------------------------------ */

static uint64_t chance_state = 1;

static uint64_t chance(void) {
    uint64_t z = chance_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t below(int64_t n) {
    return (int64_t)(chance() >> 8) % n;
}

static bool one_in(int64_t n) {
    return below(n) == 0;
}

/* ---- into Python ------------------------------------------------------------------------------------------------- */

static const char *words_of(const layout *l) {
    static char text[1024];
    int         length = snprintf(text, sizeof text, "%s, shape (", numpy_name(l->dtype));
    for (int32_t i = 0; i < l->ndim && length < 900; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, "%" PRId64 "/%" PRId64 " ", l->shape[i],
                           l->strides[i]);
    snprintf(text + length, sizeof text - (size_t)length, "), first %zu, shift %zu", l->first, l->shift);
    return text;
}

static krait_value value_of(const layout *l, const char *block, bool no_strides) {
    return krait_ndarray(block + l->first, l->dtype, l->ndim, l->shape, no_strides ? NULL : l->strides);
}

/* What tells numpy to build the same: name, shape, strides, raw, first. */
static void describe(const layout *l, const char *block, krait_arg *args) {
    size_t dims = (size_t)l->ndim * sizeof *l->shape;
    args[0] = krait_pos(krait_str(numpy_name(l->dtype)));
    args[1] = krait_pos(krait_bytes(l->shape, dims));
    args[2] = krait_pos(krait_bytes(l->strides, dims));
    args[3] = krait_pos(krait_bytes(block, l->bytes));
    args[4] = krait_pos(krait_i64((int64_t)l->first));
}

static void check_in(krait_func *check, const layout *l, const char *block, bool no_strides, bool writable) {
    krait_error *err = NULL;
    krait_arg    args[8];
    krait_value  out;
    const char  *differs;
    args[0] = krait_with(krait_pos(value_of(l, block, no_strides)), writable ? KRAIT_WRITABLE : 0);
    describe(l, block, args + 1);
    args[6] = krait_pos(krait_i64((int64_t)(intptr_t)(block + l->first)));
    args[7] = krait_pos(krait_bool(writable));
    krait_call(check, args, 8, NULL, &out, &err);
    krait_get_text(&out, &differs, NULL, &err);
    assert_good(err);
    if (*differs) fail_msg("%s: %s", words_of(l), differs);
    krait_value_clear(&out);
}

static void every_layout_goes_in(void **state) {
    krait_dtype  dtypes[DTYPES];
    size_t       count = list_dtypes(dtypes);
    krait_error *err = NULL;
    krait_func  *check = krait_func_new("arrays:check", &err);
    (void)state;
    for (size_t i = 0; i < count * COUNT(shapes) * COUNT(ways); i++) {
        size_t shape = i / count % COUNT(shapes);
        layout l;
        char  *block;
        lay_out(&l, dtypes[i % count], shapes[shape].ndim, shapes[shape].shape, ways[i / count / COUNT(shapes)]);
        block = new_block(&l, chance);
        check_in(check, &l, block, false, i % 2);
        if (is_c_ordered(&l)) check_in(check, &l, block, true, i % 2 == 0);
        free_block(&l, block);
    }
    krait_func_unref(check);
}

/* ---- out of Python ----------------------------------------------------------------------------------------------- */

/* Fails unless the array has the shape, dtype and elements of the layout. */
static void check_elements(const layout *l, const char *block, const krait_array *array) {
    char  *expected = gather(l, block), *got;
    layout seen = *l;
    bool   same = array->ndim == l->ndim && array->size == l->size && array->dtype.code == l->dtype.code &&
                array->dtype.item_size == l->dtype.item_size && array->dtype.unit == l->dtype.unit &&
                array->dtype.of.count == l->dtype.of.count;
    for (int32_t i = 0; same && i < l->ndim; i++) same = array->shape[i] == l->shape[i];
    if (!same) fail_msg("%s: another dtype or shape", words_of(l));
    seen.dtype.swapped = array->dtype.swapped;
    seen.first = 0;
    if (l->ndim) memcpy(seen.strides, array->strides, (size_t)l->ndim * sizeof *seen.strides);
    got = gather(&seen, array->data);
    if (memcmp(got, expected, (size_t)l->size * l->dtype.item_size) != 0) fail_msg("%s: other elements", words_of(l));
    free(expected);
    free(got);
}

static void check_flags(const layout *l, const krait_array *array, bool as_is, bool writable) {
    layout seen = *l;
    if (as_is != !(array->flags & KRAIT_ARRAY_COPIED))
        fail_msg("%s: the mark of copies is %s", words_of(l), as_is ? "set" : "not set");
    if (!as_is &&
        (array->dtype.swapped || !(array->flags & KRAIT_ARRAY_C_CONTIGUOUS) || !(array->flags & KRAIT_ARRAY_ALIGNED)))
        fail_msg("%s: the copy is not plain", words_of(l));
    if (!(array->flags & KRAIT_ARRAY_WRITABLE) != (as_is && !writable))
        fail_msg("%s: wrong mark of writable", words_of(l));
    if (!as_is) return;
    if (!(array->flags & KRAIT_ARRAY_C_CONTIGUOUS) != !is_c_ordered(&seen))
        fail_msg("%s: wrong mark of C order", words_of(l));
    if (!(array->flags & KRAIT_ARRAY_ALIGNED) != !is_aligned(&seen))
        fail_msg("%s: wrong mark of alignment", words_of(l));
    for (int32_t i = 0; i < l->ndim; i++)
        if (array->strides[i] != l->strides[i]) fail_msg("%s: other strides", words_of(l));
}

static void check_out(krait_func *make, krait_func *where, const layout *l, const char *block, bool keep,
                      bool writable) {
    krait_call_options options = KRAIT_CALL_OPTIONS_INIT;
    krait_error       *err = NULL;
    krait_arg          args[7];
    krait_value        out, moved, address;
    krait_array        array;
    int64_t            at;
    bool               as_is = keep || is_plain(l);
    describe(l, block, args);
    args[5] = krait_pos(krait_i64((int64_t)l->shift));
    args[6] = krait_pos(krait_bool(writable));
    options.flags = keep ? KRAIT_KEEP_STRIDES : 0;
    krait_call(make, args, 7, &options, &out, &err);
    krait_call(where, NULL, 0, NULL, &address, &err);
    krait_get_i64(&address, &at, &err);
    moved = out;
    memset(&out, 0xa5, sizeof out); /* shape and strides must not lie in what the value was */
    krait_get_array(&moved, l->dtype.code, l->ndim, &array, &err);
    assert_good(err);
    check_elements(l, block, &array);
    check_flags(l, &array, as_is, writable);
    if (l->size && as_is != ((intptr_t)array.data == at))
        fail_msg("%s: %s", words_of(l), as_is ? "copied" : "not copied");
    krait_value_clear(&moved);
}

static void every_layout_comes_out(void **state) {
    krait_dtype   dtypes[DTYPES];
    size_t        count = list_dtypes(dtypes);
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_func   *make = krait_func_new("arrays:make", &err), *where = krait_func_new("arrays:last_address", &err);
    (void)state;
    for (size_t i = 0; i < count * COUNT(shapes) * COUNT(ways); i++) {
        size_t shape = i / count % COUNT(shapes);
        layout l;
        char  *block;
        lay_out(&l, dtypes[i % count], shapes[shape].ndim, shapes[shape].shape, ways[i / count / COUNT(shapes)]);
        block = new_block(&l, chance);
        check_out(make, where, &l, block, false, i % 2);
        check_out(make, where, &l, block, true, i % 2 == 0);
        free_block(&l, block);
    }
    krait_func_unref(make);
    krait_func_unref(where);
    assert_nothing_left(&before);
}

static void copies_are_counted(void **state) {
    static const double data[] = { 1, 2, 3 };
    krait_metrics       before = counters(), after;
    krait_error        *err = NULL;
    krait_value         out;
    (void)state;
    call1("arrays:identity", krait_vector_f64(data, 3), KRAIT_ALIAS, &out, &err);
    krait_value_clear(&out);
    after = counters();
    assert_int_equal(after.copies, before.copies);
    call1("arrays:identity", krait_vector_f64(data, 3), 0, &out, &err); /* returned: copied out */
    krait_value_clear(&out);
    call1("arrays:identity", krait_vector_f64(data, 3), KRAIT_COPY, &out, &err);
    krait_value_clear(&out);
    assert_good(err);
    after = counters();
    assert_int_equal(after.copies, before.copies + 2);
    assert_int_equal(after.copied_bytes, before.copied_bytes + 2 * sizeof data);
}

/* Of a NULL pointer with no elements nothing is read. */
static void empty_arrays_need_no_memory(void **state) {
    static const int64_t shape[] = { 3, 0, 2, 5 };
    const krait_value    values[] = { krait_vector_f64(NULL, 0), krait_matrix_i16(NULL, 0, 5),
                                      krait_ndarray(NULL, krait_c64_type(), 3, shape, NULL),
                                      krait_ndarray(NULL, krait_datetime(KRAIT_DAY, 1), 4, shape, NULL) };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        call1("arrays:identity", values[i], i % 2 ? KRAIT_WRITABLE : 0, &out, &err);
        krait_get_array(&out, values[i].as.array.dtype.code, values[i].as.array.ndim, &array, &err);
        assert_good(err);
        assert_int_equal(array.size, 0);
        krait_value_clear(&out);
    }
}

/* KRAIT_WRITABLE writes through any layout, and only into its elements. */
static void writing_reaches_the_elements_only(void **state) {
    static const int64_t shape[] = { 3, 4 };
    (void)state;
    for (size_t w = 0; w < COUNT(ways); w++) {
        krait_error *err = NULL;
        layout       l;
        char        *block, *all;
        int32_t      sum = 0;
        lay_out(&l, krait_i32_type(), 2, shape, ways[w]);
        block = new_block(&l, chance);
        memset(block, 0, l.bytes);
        krait_arg   args[] = { krait_with(krait_pos(value_of(&l, block, false)), KRAIT_WRITABLE),
                               krait_pos(krait_i64(0x01010101)) };
        krait_value none;
        call("arrays:fill", args, 2, &none, &err);
        assert_good(err);
        all = gather(&l, block);
        for (size_t i = 0; i < 12 * sizeof(int32_t); i++) assert_int_equal(all[i], 1);
        for (size_t i = 0; i < l.bytes; i++) sum += block[i];
        assert_int_equal(sum, (ways[w] & REPEATED ? 4 : 12) * (int32_t)sizeof(int32_t));
        free(all);
        free_block(&l, block);
    }
}

/* ---- by lot: C to Python to C ------------------------------------------------------------------------------------ */

static void draw_shape(layout *l) {
    int64_t left = 600;
    l->ndim = (int32_t)(one_in(8) ? below(KRAIT_MAX_NDIM + 1) : below(6));
    for (int32_t i = 0; i < l->ndim; i++) {
        int64_t most = left > 40 ? 40 : left;
        l->shape[i] = l->ndim > 6 && !one_in(6) ? 1 : 1 + below(most > 8 && one_in(2) ? 8 : most);
        if (one_in(60)) l->shape[i] = 0;
        if (l->shape[i]) left /= l->shape[i];
    }
}

static void draw_layout(layout *l) {
    axis    axes[KRAIT_MAX_NDIM];
    int64_t item = (int64_t)l->dtype.item_size;
    bool    simple = one_in(3), gaps = one_in(2), odd = one_in(4);
    l->shift = odd ? (size_t)below(16) : 0;
    for (int32_t i = 0; i < l->ndim; i++) {
        axes[i].dimension = l->ndim - 1 - i;
        axes[i].negative = !simple && one_in(4);
        axes[i].zero = !simple && one_in(12);
        axes[i].gap = simple || !gaps ? 0 : odd ? below(2 * item + 1) : item * below(3);
        if (l->ndim > 8 && i > 4) axes[i].gap = 0; /* a gap in each of 32 dimensions would be large */
    }
    for (int32_t i = l->ndim - 1; i > 0 && !simple && one_in(2); i--) { /* any order of dimensions */
        int32_t other = (int32_t)below(i + 1), dimension = axes[i].dimension;
        axes[i].dimension = axes[other].dimension;
        axes[other].dimension = dimension;
    }
    place(l, axes);
}

static void draw(layout *l) {
    krait_dtype dtypes[DTYPES];
    size_t      count = list_dtypes(dtypes);
    memset(l, 0, sizeof *l);
    l->dtype = dtypes[below((int64_t)count)];
    if (one_in(2)) l->dtype.swapped = 0;
    if (l->dtype.code >= KRAIT_DATETIME) {
        l->dtype.unit = (uint8_t)(1 + below(13));
        l->dtype.of.count = one_in(2) ? 1 : 1 + below(1000);
    }
    draw_shape(l);
    draw_layout(l);
}

static atomic_int freed;

static void count_freed(void *user) {
    (void)user;
    atomic_fetch_add(&freed, 1);
}

enum { LENT, ALIAS, COPY, OWNED, WAYS_TO_GIVE };

static krait_arg give(const layout *l, char *block, int how) {
    krait_value value = value_of(l, block, is_c_ordered(l) && one_in(2));
    uint32_t    flags = (how == ALIAS ? KRAIT_ALIAS : how == COPY ? KRAIT_COPY : 0) | (one_in(2) ? KRAIT_WRITABLE : 0);
    if (how == OWNED) value = krait_owned(value, count_freed, block);
    return krait_with(krait_pos(value), flags);
}

/* One array goes to Python and comes back, then the result once more as the object it is. */
static void round_trip(krait_func *identity, const layout *l, char *block, int how, bool keep) {
    krait_call_options options = KRAIT_CALL_OPTIONS_INIT;
    krait_error       *err = NULL;
    krait_arg          args[] = { give(l, block, how) };
    krait_value        out, again;
    krait_array        array, second;
    bool               lent = (how == LENT || how == ALIAS) && l->size > 0; /* of no bytes there is no loan */
    bool               same_memory = how != COPY && (keep || is_plain(l)) && !(lent && how == LENT);
    options.flags = keep ? KRAIT_KEEP_STRIDES : 0;
    krait_call(identity, args, 1, &options, &out, &err);
    krait_get_array(&out, l->dtype.code, l->ndim, &array, &err);
    args[0] = krait_pos(krait_borrow(&out));
    krait_call(identity, args, 1, &options, &again, &err);
    krait_get_array(&again, l->dtype.code, l->ndim, &second, &err);
    if (err) fail_msg("%s: %s", words_of(l), krait_error_message(err));
    check_elements(l, block, &array);
    check_elements(l, block, &second);
    if (l->size && same_memory != (array.data == block + l->first)) fail_msg("%s: given in way %d", words_of(l), how);
    if (l->size && second.data != array.data) fail_msg("%s: copied when passed on", words_of(l));
    if (how != COPY && !same_memory != !!(array.flags & KRAIT_ARRAY_COPIED))
        fail_msg("%s: mark of copies in way %d", words_of(l), how);
    if (how == COPY && array.flags & KRAIT_ARRAY_COPIED) fail_msg("%s: Python's own copy was copied", words_of(l));
    if (!(array.flags & KRAIT_ARRAY_ALIAS) != !(lent && how == ALIAS && same_memory))
        fail_msg("%s: mark of aliases in way %d", words_of(l), how);
    krait_value_clear(&out);
    krait_value_clear(&again);
}

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void arrays_by_lot_come_back_bit_for_bit(void **state) {
    struct timespec now;
    uint64_t        cases = setting("KRAIT_TEST_CASES", 4000), seed;
    krait_metrics   before = at_rest();
    krait_error    *err = NULL;
    krait_func     *identity = krait_func_new("arrays:identity", &err), *check = krait_func_new("arrays:check", &err);
    int             owned = 0;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = setting("KRAIT_TEST_SEED", (uint64_t)now.tv_sec * 1000003 + (uint64_t)now.tv_nsec);
    printf("           seed: KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    chance_state = seed;
    krait_acquire(&err);
    for (uint64_t i = 0; i < cases; i++) {
        layout l;
        char  *block;
        int    how = (int)below(WAYS_TO_GIVE);
        draw(&l);
        block = new_block(&l, chance);
        if (one_in(4)) check_in(check, &l, block, false, one_in(2));
        round_trip(identity, &l, block, how, one_in(2));
        owned += how == OWNED;
        krait_release(); /* frees what was cleared meanwhile, before the block goes */
        krait_acquire(&err);
        free_block(&l, block);
    }
    krait_release();
    assert_good(err);
    assert_int_equal(atomic_load(&freed), owned);
    krait_func_unref(identity);
    krait_func_unref(check);
    assert_nothing_left(&before);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("arrays", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_goes_in),
        cmocka_unit_test(every_layout_comes_out),
        cmocka_unit_test(copies_are_counted),
        cmocka_unit_test(empty_arrays_need_no_memory),
        cmocka_unit_test(writing_reaches_the_elements_only),
        cmocka_unit_test(arrays_by_lot_come_back_bit_for_bit),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
