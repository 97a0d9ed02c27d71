/* Properties that hold for any data: arrays, tables and Arrow data drawn by lot go to Python and come back as they
 * were. What is right is asked of numpy and pandas, which get the same data as plain lists, and of plain walks in C.
 *
 * Each case draws from a seed of its own, printed when it fails. KRAIT_TEST_SEED repeats a run, KRAIT_TEST_FIRST begins
 * it at a case, KRAIT_TEST_CASES sets how many cases each test has; without that they end after some seconds. */
#include "check.h"

#include <math.h>
#include <stdatomic.h>

static const char module[] =
    "import datetime\n"
    "import sys\n"
    "import numpy as np\n"
    "import pandas as pd\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = None\n"
    "np.seterr(invalid='ignore')  # some NaNs are signalling ones\n"
    "MAJOR = int(pd.__version__.split('.')[0])\n"
    "UNITS = ('s', 'ms', 'us', 'ns') if MAJOR >= 2 else ('ns',)\n"
    "NAT = np.iinfo('i8').min\n"
    "ARRAY, TEXT, BYTES, CATEGORY, DECIMAL, DATE = range(1, 7)\n"
    "def major():\n"
    "    return MAJOR\n"
    "def has_pyarrow():\n"
    "    return pa is not None\n"
    /* arrays */
    "def same(a, b):\n"
    "    'Elements bit by bit; what lies between the fields of records is nobody\\'s.'\n"
    "    if a.dtype.names:\n"
    "        return all(same(a[n], b[n]) for n in a.dtype.names)\n"
    "    return a.tobytes() == b.tobytes()\n"
    "def array(a, dtype, shape, strides, elements, address, writable, copied):\n"
    "    want = np.ndarray(tuple(shape), eval(dtype), elements or b'\\0' * 4096)\n"
    "    assert a.dtype == want.dtype or (copied and a.dtype == want.dtype.newbyteorder('=')), (a.dtype, want.dtype)\n"
    "    assert a.shape == want.shape, (a.shape, want.shape)\n"
    "    if not copied:\n"
    "        steps = [(x, y) for x, y, n in zip(a.strides, strides, a.shape) if n > 1]\n"
    "        assert a.size == 0 or all(x == y for x, y in steps), (a.strides, strides)\n"
    "    elif not a.dtype.names:\n"
    "        want = want.astype(a.dtype)\n"
    "    assert same(a, want), (a, want)\n"
    "    assert a.flags.writeable == writable\n"
    "    assert a.size == 0 or (a.__array_interface__['data'][0] == address) != copied\n"
    "    return a\n"
    /* tables: (kind, name, dtype, zone, has validity, values, ordered, dictionary) */
    "def filled(values, filler, dtype):\n"
    "    return np.array([filler if v is None else v for v in values], dtype)\n"
    "def objects(values, missing):\n"
    "    found = np.empty(len(values), object)\n"
    "    found[:] = [missing if v is None else v for v in values]\n"
    "    return found\n"
    "def numbers(dtype, masked, values):\n"
    "    dtype = np.dtype(dtype)\n"
    "    missing = np.array([v is None for v in values], bool)\n"
    "    if not masked:\n"
    "        return np.array(values, dtype)\n"
    "    if dtype.kind in 'ui':\n"
    "        return pd.arrays.IntegerArray(filled(values, 1, dtype), missing)\n"
    "    if dtype.kind == 'b':\n"
    "        return pd.arrays.BooleanArray(filled(values, False, dtype), missing)\n"
    "    if dtype.name in ('float32', 'float64'):\n"
    "        return pd.arrays.FloatingArray(filled(values, 1, dtype), missing)\n"
    "    return filled(values, np.nan, dtype)\n"
    "def times(dtype, zone, values):\n"
    "    unit, _ = np.datetime_data(dtype)\n"
    "    unit = unit if unit in UNITS else UNITS[0]\n"
    "    found = filled(values, NAT, 'i8').view(dtype).astype(f'{dtype[1]}8[{unit}]')\n"
    "    return pd.Series(found).dt.tz_localize('UTC').dt.tz_convert(zone).array if zone else found\n"
    "def texts(values):\n"
    "    return pd.array(objects(values, np.nan), dtype='str') if MAJOR >= 3 else objects(values, np.nan)\n"
    "def series(spec):\n"
    "    kind, name, dtype, zone, masked, values, ordered, dictionary = spec\n"
    "    if kind == ARRAY:\n"
    "        made = times(dtype, zone, values) if dtype[1] in 'mM' else numbers(dtype, masked, values)\n"
    "    elif kind == TEXT:\n"
    "        made = texts(values)\n"
    "    elif kind == CATEGORY:\n"
    "        labels = pd.Index(series(dictionary))\n"
    "        made = pd.Categorical.from_codes(filled(values, -1, 'i8'), labels, ordered=ordered)\n"
    "    elif kind == DATE:\n"
    "        epoch = datetime.date(1970, 1, 1).toordinal()\n"
    "        made = objects([v if v is None else datetime.date.fromordinal(v + epoch) for v in values], None)\n"
    "    else:\n"
    "        made = objects(values, None)\n"
    "    return pd.Series(made, dtype=object) if getattr(made, 'dtype', None) == object else pd.Series(made)\n"
    "def labels(spec):\n"
    "    s = series(spec)\n"
    "    s = s.astype('f4') if s.dtype == 'f2' else s\n"
    "    return pd.Index(s, name=spec[1] or None, dtype=object if s.dtype == object else None)\n"
    "def index(levels, rows):\n"
    "    found = [labels(spec) for spec in levels]\n"
    "    if len(found) > 1:\n"
    "        return pd.MultiIndex.from_arrays(found, names=[x.name for x in found])\n"
    "    return found[0] if found else pd.RangeIndex(rows)\n"
    "def frame(columns, levels, rows):\n"
    "    made = pd.DataFrame(dict(enumerate(map(series, columns))))\n"
    "    made.columns = pd.Index([spec[1] for spec in columns])\n"
    "    if not columns:\n"
    "        made = pd.DataFrame(index=range(rows))\n"
    "    made.index = index(levels, rows)\n"
    "    return made\n"
    "def table(got, columns, levels, rows):\n"
    "    want = frame(columns, levels, rows)\n"
    "    pd.testing.assert_frame_equal(got, want, check_exact=True, check_freq=False, "
    "check_column_type=bool(columns))\n"
    "    assert [str(d) for d in got.dtypes] == [str(d) for d in want.dtypes]\n"
    "    return got\n"
    /* Arrow */
    "def plain(spec):\n"
    "    'The values as pyarrow lists them; None for what it lists otherwise.'\n"
    "    kind, name, dtype, zone, masked, values, ordered, dictionary = spec\n"
    "    if kind == CATEGORY:\n"
    "        inner = plain(dictionary)\n"
    "        return None if inner is None else [v if v is None else inner[v] for v in values]\n"
    "    if kind == DATE:\n"
    "        return [v if v is None else datetime.date(1970, 1, 1) + datetime.timedelta(v) for v in values]\n"
    "    return None if kind == ARRAY and dtype[1] in 'mM' else values\n"
    "def through_arrow(schema, array, columns):\n"
    "    batch = pa.RecordBatch._import_from_c(array, schema)\n"
    "    batch.validate(full=True)\n"
    "    assert batch.schema.names == [spec[1] for spec in columns], batch.schema\n"
    "    for spec, column in zip(columns, batch.columns):\n"
    "        want = plain(spec)\n"
    "        got = column.to_pylist()\n"
    "        same = want is None or all(x == y or (x != x and y != y) for x, y in zip(got, want))\n"
    "        assert same and len(got) == len(spec[5]), (spec, got)\n"
    "        nat = NAT if spec[2][1:2] in ('m', 'M') else None\n"
    "        assert column.null_count == sum(v in (None, nat) for v in spec[5]), spec\n"
    "    batch._export_to_c(array, schema)\n";

/* ---- chance: splitmix64 ------------------------------------------------------------------------------------------ */

static uint64_t chance_state;

static uint64_t chance(void) {
    uint64_t z = chance_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int64_t below(int64_t n) {
    return (int64_t)(chance() >> 1) % n;
}

/* A number from low to high, both included. */
static int64_t between(int64_t low, int64_t high) {
    return low + below(high - low + 1);
}

static bool one_in(int64_t n) {
    return below(n) == 0;
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

enum { PATIENCE_S = 6 /* of each test */, DEFAULT_CASES = 3000 };

static uint64_t seed;
static int64_t  this_case, cases = DEFAULT_CASES;
static bool     hurry = true;
static time_t   late;

static int64_t number_from(const char *name, int64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? (int64_t)strtoull(text, NULL, 10) : otherwise;
}

static void begin_cases(void) {
    this_case = number_from("KRAIT_TEST_FIRST", 0) - 1;
    late = time(NULL) + PATIENCE_S;
}

static bool next_case(void) {
    int64_t first = number_from("KRAIT_TEST_FIRST", 0);
    if (++this_case >= first + cases || (hurry && time(NULL) > late)) {
        print_message("%" PRId64 " cases\n", this_case - first);
        return false;
    }
    chance_state = seed ^ ((uint64_t)this_case + 1) * 0xd1342543de82ef95u;
    return true;
}

/* Tells how to repeat it. */
#define WRONG(...)                                                                                                     \
    do {                                                                                                               \
        print_error("KRAIT_TEST_SEED=%" PRIu64 " KRAIT_TEST_FIRST=%" PRId64 ": ", seed, this_case);                    \
        fail_msg(__VA_ARGS__);                                                                                         \
    } while (0)

static void assert_fine(krait_error *err) {
    if (err)
        WRONG("%s: %s\n%s", krait_error_step(err), krait_error_message(err),
              krait_error_traceback(err) ? krait_error_traceback(err) : "");
}

/* Memory of a case, freed with it; of just the size asked for, so that a sanitizer sees one byte too many. */
static struct {
    void **blocks;
    size_t count, room;
} arena;

static void *room(size_t bytes) {
    if (arena.count == arena.room) {
        arena.room = arena.room * 2 + 64;
        arena.blocks = realloc(arena.blocks, arena.room * sizeof *arena.blocks);
    }
    return arena.blocks[arena.count++] = malloc(bytes ? bytes : 1);
}

static void free_from(size_t first) {
    while (arena.count > first) free(arena.blocks[--arena.count]);
}

static char *copied_text(const char *text) {
    return strcpy(room(strlen(text) + 1), text);
}

/* ---- dtypes ------------------------------------------------------------------------------------------------------ */

static const char units[][4] = { "", "Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as" };
static const bool little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;

enum { MEMBERS_MAX = 5, DEEP = 2 };

/* A dtype, and of records all that was given to krait_struct_new. */
typedef struct recipe {
    krait_dtype    dtype;
    krait_struct  *description; /* of records */
    krait_member   members[MEMBERS_MAX];
    struct recipe *inner[MEMBERS_MAX]; /* of one element of a member */
    size_t         count;
} recipe;

static const krait_dtype numeric[] = {
#define MAKE(NAME, name, code, type, bytes, text) { code, 0, 0, 0, bytes, { 0 } },
    KRAIT_DTYPE_MAP(MAKE)
#undef MAKE
};

static krait_dtype some_plain_dtype(void) {
    krait_dtype dtype = numeric[below((int64_t)COUNT(numeric))];
    int32_t     count = one_in(2) ? 1 : (int32_t)between(2, 1000);
    switch (below(8)) {
    case 0: dtype = krait_datetime((uint8_t)between(KRAIT_YEAR, KRAIT_AS), count); break;
    case 1: dtype = krait_timedelta((uint8_t)between(KRAIT_YEAR, KRAIT_AS), count); break;
    case 2: dtype = krait_fixed_bytes((uint32_t)between(1, 9)); break;
    case 3: dtype = krait_fixed_text((uint32_t)between(1, 5)); break;
    default: break;
    }
    if (one_in(4) && dtype.item_size > 1 && dtype.code != KRAIT_FIXED_BYTES) dtype.swapped = 1;
    return dtype;
}

static recipe *some_recipe(int depth);

/* A member at `offset`; returns where it ends. */
static size_t add_member(recipe *r, size_t offset, int depth) {
    krait_member *member = &r->members[r->count];
    recipe       *inner = r->inner[r->count] = some_recipe(depth + 1);
    char          name[8];
    int64_t       count = 1;
    snprintf(name, sizeof name, "f%zu", r->count++);
    *member = krait_member_(copied_text(name), offset, 0, inner->dtype);
    if (one_in(4)) {
        member->ndim = (int32_t)between(1, 3);
        for (int32_t i = 0; i < member->ndim; i++) count *= member->shape[i] = between(1, 3);
    }
    member->size = (size_t)count * inner->dtype.item_size;
    return offset + member->size;
}

static recipe *some_record(int depth) {
    recipe      *r = room(sizeof *r);
    size_t       end = 0, want = (size_t)between(1, MEMBERS_MAX);
    krait_error *err = NULL;
    memset(r, 0, sizeof *r);
    while (r->count < want) end = add_member(r, end + (size_t)(one_in(3) ? below(9) : 0), depth);
    end += (size_t)(one_in(3) ? below(9) : 0);
    r->description = krait_struct_new(r->members, r->count, end, &err);
    assert_fine(err);
    r->dtype = krait_struct_type(r->description);
    return r;
}

static recipe *some_recipe(int depth) {
    recipe *r;
    if (depth <= DEEP && one_in(6)) return some_record(depth);
    r = room(sizeof *r);
    memset(r, 0, sizeof *r);
    r->dtype = some_plain_dtype();
    return r;
}

static void free_recipe(recipe *r) {
    for (size_t i = 0; i < r->count; i++) free_recipe(r->inner[i]);
    krait_struct_free(r->description);
}

/* As Python makes the dtype: "'<i4'", "dict(names=['f0'], formats=[('<i4', (2,))], offsets=[0], itemsize=8)". */
static void write_dtype(FILE *out, const recipe *r) {
    static const char kinds[] = "?biiiiuuuufffccMm";
    krait_dtype       d = r->dtype;
    char              order = little == !d.swapped ? '<' : '>';
    if (d.code == KRAIT_STRUCT) {
        fprintf(out, "dict(names=[");
        for (size_t i = 0; i < r->count; i++) fprintf(out, "'%s', ", r->members[i].name);
        fprintf(out, "], formats=[");
        for (size_t i = 0; i < r->count; i++) {
            const krait_member *m = &r->members[i];
            fprintf(out, "(");
            write_dtype(out, r->inner[i]);
            fprintf(out, ", (");
            for (int32_t k = 0; k < m->ndim; k++) fprintf(out, "%d, ", (int)m->shape[k]);
            fprintf(out, ")), ");
        }
        fprintf(out, "], offsets=[");
        for (size_t i = 0; i < r->count; i++) fprintf(out, "%zu, ", r->members[i].offset);
        fprintf(out, "], itemsize=%u)", d.item_size);
    } else if (d.code == KRAIT_FIXED_BYTES) fprintf(out, "'S%u'", d.item_size);
    else if (d.code == KRAIT_FIXED_TEXT) fprintf(out, "'%cU%u'", order, d.item_size / 4);
    else if (d.code >= KRAIT_DATETIME)
        fprintf(out, "'%c%c8[%d%s]'", order, kinds[d.code], (int)d.of.count, units[d.unit]);
    else fprintf(out, "'%c%c%u'", order, kinds[d.code], d.item_size);
}

static char *dtype_words(const recipe *r) {
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    char  *kept;
    write_dtype(out, r);
    fclose(out);
    kept = copied_text(text);
    free(text);
    return kept;
}

/* Is it the dtype of the recipe, byte order aside where krait may have changed that? */
static bool same_dtype(krait_dtype d, const recipe *r, bool any_order) {
    const krait_field *fields;
    size_t             count = krait_dtype_fields(d, &fields);
    if (d.code != r->dtype.code || d.item_size != r->dtype.item_size || d.unit != r->dtype.unit) return false;
    if (!any_order && d.swapped != r->dtype.swapped) return false;
    if (d.code != KRAIT_STRUCT) return d.of.count == r->dtype.of.count;
    if (count != r->count) return false;
    for (size_t i = 0; i < count; i++) {
        const krait_member *m = &r->members[i];
        if (strcmp(fields[i].name, m->name) != 0 || fields[i].offset != (int64_t)m->offset) return false;
        if (fields[i].ndim != m->ndim || !same_dtype(fields[i].dtype, r->inner[i], false)) return false;
        for (int32_t k = 0; k < m->ndim; k++)
            if (fields[i].shape[k] != m->shape[k]) return false;
    }
    return true;
}

/* What not all bytes are good for: bools and code points. */
static void mend(char *at, const recipe *r) {
    if (r->dtype.code == KRAIT_BOOL) *at &= 1;
    for (uint32_t i = 0; r->dtype.code == KRAIT_FIXED_TEXT && i < r->dtype.item_size; i += 4) {
        uint32_t point = (uint32_t)below(0xd800);
        if (r->dtype.swapped) point = __builtin_bswap32(point);
        memcpy(at + i, &point, 4);
    }
    for (size_t m = 0; m < r->count; m++)
        for (size_t i = 0; i < r->members[m].size; i += r->inner[m]->dtype.item_size)
            mend(at + r->members[m].offset + i, r->inner[m]);
}

/* ---- layouts ----------------------------------------------------------------------------------------------------- */

enum { DIMS = 6, ELEMENTS_MAX = 600 };

typedef struct layout {
    recipe *of;
    int32_t ndim;
    int64_t shape[DIMS], strides[DIMS], size;
    size_t  bytes, first, shift; /* of the block, of the first element in it, of the block behind a multiple of 64 */
} layout;

static void some_shape(layout *l) {
    l->ndim = (int32_t)between(0, DIMS);
    l->size = 1;
    for (int32_t i = 0; i < l->ndim; i++) {
        int64_t most = l->size ? ELEMENTS_MAX / l->size : 8;
        l->shape[i] = one_in(12) ? 0 : one_in(4) || most < 2 ? 1 : between(1, most < 8 ? most : 8);
        l->size *= l->shape[i];
    }
}

/* Dimensions in any order, with gaps, backwards, repeated. */
static void some_strides(layout *l) {
    bool    plain = one_in(4), taken[DIMS] = { false };
    int64_t item = (int64_t)l->of->dtype.item_size, step = item, bytes = item, first = 0;
    for (int32_t done = 0; done < l->ndim; done++) {
        int32_t d = plain ? l->ndim - 1 - done : (int32_t)below(l->ndim);
        int64_t span, stride;
        while (taken[d]) d = (d + 1) % l->ndim;
        taken[d] = true;
        if (!plain && one_in(5)) step += item * between(1, 3);
        if (!plain && one_in(20)) step += between(1, 3);
        stride = !plain && one_in(12) ? 0 : step;
        span = l->shape[d] > 0 ? (l->shape[d] - 1) * stride : 0;
        if (!plain && one_in(4)) {
            l->strides[d] = -stride;
            first += span;
        } else l->strides[d] = stride;
        bytes += span;
        if (stride && l->shape[d] > 1) step *= l->shape[d];
    }
    l->bytes = (size_t)bytes;
    l->first = (size_t)first;
    l->shift = one_in(4) ? (size_t)between(1, 7) : 0;
}

/* Calls fn for each element in C order. */
static void walk(const layout *l, char *from, void (*fn)(char *at, const layout *l, void *user), void *user) {
    int64_t index[DIMS] = { 0 };
    for (int64_t i = 0; i < l->size; i++) {
        fn(from, l, user);
        for (int32_t d = l->ndim - 1; d >= 0; d--) {
            from += l->strides[d];
            if (++index[d] < l->shape[d]) break;
            from -= l->strides[d] * l->shape[d];
            index[d] = 0;
        }
    }
}

static void mend_one(char *at, const layout *l, void *user) {
    (void)user;
    mend(at, l->of);
}

static char *some_block(const layout *l) {
    char *memory = NULL;
    assert_int_equal(posix_memalign((void **)&memory, 64, l->shift + l->bytes), 0);
    for (size_t i = 0; i < l->shift + l->bytes; i++) memory[i] = (char)(chance() >> 56);
    walk(l, memory + l->shift + l->first, mend_one, NULL);
    return memory;
}

static void take_one(char *at, const layout *l, void *user) {
    char **to = user;
    memcpy(*to, at, l->of->dtype.item_size);
    *to += l->of->dtype.item_size;
}

/* The elements one after the other, as they are. */
static char *gather(const layout *l, const char *from) {
    char *all = room((size_t)l->size * l->of->dtype.item_size), *to = all;
    walk(l, (char *)(uintptr_t)from, take_one, &to);
    return all;
}

static size_t width_of(krait_dtype d) {
    if (d.code == KRAIT_C64 || d.code == KRAIT_C128) return d.item_size / 2;
    if (d.code == KRAIT_FIXED_TEXT) return 4;
    return d.code == KRAIT_FIXED_BYTES || d.code == KRAIT_STRUCT ? 1 : d.item_size;
}

static void turn(char *data, size_t bytes, size_t width) {
    for (size_t i = 0; i < bytes; i += width)
        for (size_t k = 0; k < width / 2; k++) {
            char c = data[i + k];
            data[i + k] = data[i + width - 1 - k];
            data[i + width - 1 - k] = c;
        }
}

/* The same without a copy for C? Then a result may stay a view without KRAIT_KEEP_STRIDES. */
static bool is_plain(const layout *l) {
    int64_t step = (int64_t)l->of->dtype.item_size, align = (int64_t)width_of(l->of->dtype);
    if (l->of->dtype.swapped) return false;
    if (!l->size) return true;
    for (int32_t d = l->ndim - 1; d >= 0; d--) {
        if (l->shape[d] > 1 && l->strides[d] != step) return false;
        step *= l->shape[d];
    }
    return (int64_t)(l->shift + l->first) % align == 0;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

typedef enum mode { LENT, WRITABLE, COPY, ALIAS, OWNED, MODES } mode;
static const uint32_t mode_flags[] = { 0, KRAIT_WRITABLE, KRAIT_COPY, KRAIT_ALIAS, 0 };

static _Atomic int released;

static void count_release(void *user) {
    (void)user;
    released++;
}

/* Other threads release too. */
static void assert_released(int times) {
    for (int ms = 0; released < times && ms < PATIENCE_MS; ms++) {
        if (ms) krait_gc(NULL);
        wait_ms(ms > 0);
    }
    if (released != times) WRONG("released %d times, expected %d", released, times);
}

static krait_value numbers_list(const int64_t *numbers, int32_t n) {
    krait_value *items = room((size_t)n * sizeof *items);
    for (int32_t i = 0; i < n; i++) items[i] = krait_i64(numbers[i]);
    return krait_list(items, (size_t)n);
}

/* The call; numpy checks what it gets. */
static void send_array(const layout *l, char *block, const char *elements, mode how, bool keep, krait_value *out) {
    const char        *first = block + l->shift + l->first;
    krait_value        value = krait_ndarray(first, l->of->dtype, l->ndim, l->shape, l->strides);
    krait_call_options options = KRAIT_CALL_OPTIONS_INIT;
    krait_error       *err = NULL;
    krait_func        *func = krait_func_new("properties:array", &err);
    krait_arg          args[8];
    if (how == OWNED) value = krait_owned(value, count_release, NULL);
    args[0] = krait_with(krait_pos(value), mode_flags[how]);
    args[1] = krait_pos(krait_str(dtype_words(l->of)));
    args[2] = krait_pos(numbers_list(l->shape, l->ndim));
    args[3] = krait_pos(numbers_list(l->strides, l->ndim));
    args[4] = krait_pos(krait_bytes(elements, (size_t)l->size * l->of->dtype.item_size));
    args[5] = krait_pos(krait_i64((int64_t)(intptr_t)first));
    args[6] = krait_pos(krait_bool(how == WRITABLE || how == COPY));
    args[7] = krait_pos(krait_bool(how == COPY));
    options.flags = keep ? KRAIT_KEEP_STRIDES : 0;
    krait_call(func, args, 8, &options, out, &err);
    krait_func_unref(func);
    assert_fine(err);
}

static void check_view(const layout *l, const krait_array *array, const char *first) {
    if (array->data != first) WRONG("the view begins at %p, expected %p", array->data, (const void *)first);
    for (int32_t i = 0; i < l->ndim; i++)
        if (l->shape[i] > 1 && array->strides[i] != l->strides[i])
            WRONG("the view has stride %" PRId64 ", expected %" PRId64, array->strides[i], l->strides[i]);
}

static void check_array(const layout *l, const krait_array *array, char *elements, bool view, bool keep, mode how) {
    const uint32_t good = KRAIT_ARRAY_C_CONTIGUOUS | KRAIT_ARRAY_ALIGNED;
    layout         got = *l;
    size_t         bytes = (size_t)l->size * l->of->dtype.item_size, width = width_of(l->of->dtype);
    char          *seen;
    if (array->ndim != l->ndim || array->size != l->size)
        WRONG("%d dimensions, %d elements", array->ndim, (int)array->size);
    for (int32_t i = 0; i < l->ndim; i++)
        if (array->shape[i] != l->shape[i]) WRONG("dimension %d is of %" PRId64, i, array->shape[i]);
    if (!same_dtype(array->dtype, l->of, !view)) WRONG("another dtype");
    if (!keep && ((array->flags & good) != good || array->dtype.swapped)) WRONG("flags 0x%x", array->flags);
    if (how != COPY && !(array->flags & KRAIT_ARRAY_COPIED) != view)
        WRONG("mode %d, %d elements of code %d in %d dimensions: flags 0x%x, a view: %d", how, (int)l->size,
              l->of->dtype.code, l->ndim, array->flags, view);
    if (!(array->flags & KRAIT_ARRAY_ALIAS) != !(view && how == ALIAS && l->size)) WRONG("flags 0x%x", array->flags);
    memcpy(got.strides, array->strides, (size_t)l->ndim * sizeof *got.strides);
    seen = gather(&got, array->data);
    if (array->dtype.swapped != l->of->dtype.swapped) turn(elements, bytes, width);
    if (memcmp(seen, elements, bytes) != 0) WRONG("other elements");
}

static void array_case(void) {
    layout       l = { .of = some_recipe(0) };
    mode         how = (mode)below(MODES);
    bool         keep = one_in(2), view;
    char        *block, *elements;
    krait_value  out;
    krait_array  array;
    krait_error *err = NULL;
    some_shape(&l);
    some_strides(&l);
    block = some_block(&l);
    elements = gather(&l, block + l.shift + l.first);
    view = how == ALIAS || how == OWNED || (how != COPY && !l.size); /* of no elements nothing is lent */
    view = view && (keep || is_plain(&l));
    released = 0;
    send_array(&l, block, elements, how, keep, &out);
    krait_get_array(&out, KRAIT_ANY, -1, &array, &err);
    assert_fine(err);
    if (view && l.size) check_view(&l, &array, block + l.shift + l.first);
    if (how != ALIAS && how != OWNED) { /* nobody may read it any more */
        free(block);
        block = NULL;
    }
    check_array(&l, &array, elements, view, keep, how);
    krait_value_clear(&out);
    assert_released(how == OWNED);
    free(block);
    free_recipe(l.of);
    free_from(0);
}

static void arrays(void **state) {
    krait_metrics before;
    (void)state;
    array_case(); /* what is loaded once */
    before = at_rest();
    begin_cases();
    while (next_case()) array_case();
    assert_nothing_left(&before);
}

/* ---- columns ----------------------------------------------------------------------------------------------------- */

enum { ROWS_MAX = 40, COLUMNS_MAX = 8, LEVELS_MAX = 2, DATE_LEAST = -719162, DATE_MOST = 2932896 };
static const int64_t SAFE_NS = 9000000000000000000; /* what every pandas can tell, in ns around 1970 */

__extension__ typedef __int128 wide;

/* How many ns a tick is; of years and months as long as they can be. */
static int64_t ns_of(krait_dtype d) {
    static const int64_t ns[] = { [KRAIT_YEAR] = 366 * 86400000000000,
                                  [KRAIT_MONTH] = 31 * 86400000000000,
                                  [KRAIT_WEEK] = 7 * 86400000000000,
                                  [KRAIT_DAY] = 86400000000000,
                                  [KRAIT_HOUR] = 3600000000000,
                                  [KRAIT_MINUTE] = 60000000000,
                                  [KRAIT_S] = 1000000000,
                                  [KRAIT_MS] = 1000000,
                                  [KRAIT_US] = 1000,
                                  [KRAIT_NS] = 1 };
    return ns[d.unit] * d.of.count;
}

/* Days from 1970 to the first of a month that many months later. */
static int64_t days_to(int64_t months) {
    int64_t year = 1970 + (months >= 0 ? months / 12 : -((11 - months) / 12)), month = months - (year - 1970) * 12;
    static const int64_t before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    bool                 leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int64_t              y = year - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month] + (leap && month > 1);
}

static wide ns_since(krait_dtype d, int64_t ticks) {
    wide day = 86400000000000;
    if (d.code == KRAIT_DATETIME && d.unit == KRAIT_YEAR) return day * days_to(ticks * d.of.count * 12);
    if (d.code == KRAIT_DATETIME && d.unit == KRAIT_MONTH) return day * days_to(ticks * d.of.count);
    return (wide)ticks * ns_of(d);
}

/* A column in the making: native elements, one after the other, and what Python is told. */
typedef struct draft {
    krait_column column;
    char        *native; /* of elements, codes, decimals, days */
    size_t       item;
    bool        *there;
    krait_value  spec; /* as krait lists */
} draft;

static const char *const names[] = { "a",   "a", "b",   "c", "", "\xc3\xbc", "two words", "\xe6\x97\xa5\xe6\x9c\xac",
                                     "x.y", "0", "None" };

static const char *some_name(bool unique, size_t number) {
    char text[32];
    if (!unique) return names[below((int64_t)COUNT(names))];
    snprintf(text, sizeof text, "%s %zu", names[below((int64_t)COUNT(names))], number);
    return copied_text(text);
}

static void some_validity(draft *d) {
    int64_t  rows = d->column.rows, offset = below(14);
    size_t   bytes = (size_t)(offset + rows + 7) / 8;
    uint8_t *bits;
    bool     full = one_in(4);
    d->there = room((size_t)rows);
    for (int64_t i = 0; i < rows; i++) d->there[i] = true;
    if (one_in(2)) return;
    bits = room(bytes);
    for (size_t i = 0; i < bytes; i++) bits[i] = (uint8_t)(full ? 0xff : chance() >> 56);
    d->column.valid = bits;
    d->column.valid_offset = offset;
    for (int64_t i = 0; i < rows; i++) d->there[i] = bits[(offset + i) / 8] >> ((offset + i) % 8) & 1;
}

/* Puts the native elements where the column has them: strided, misaligned, in the other byte order. */
static void lay_down(draft *d, bool may_swap) {
    krait_column *column = &d->column;
    int64_t       rows = column->rows, item = (int64_t)d->item;
    int64_t       step = item + (one_in(4) ? item * between(1, 2) : 0) + (one_in(10) ? between(1, 3) : 0);
    size_t        shift = one_in(6) ? (size_t)between(1, 7) : 0, bytes = (size_t)(rows ? (rows - 1) * step + item : 0);
    char         *memory = (char *)room(shift + bytes) + shift;
    bool          back = one_in(5);
    column->dtype.swapped = may_swap && one_in(5) && column->dtype.item_size > 1;
    column->stride = back ? -step : step;
    column->data = back && rows ? memory + (rows - 1) * step : memory;
    for (int64_t i = 0; i < rows; i++) {
        char *at = (char *)(uintptr_t)column->data + i * column->stride;
        memcpy(at, d->native + i * item, d->item);
        if (column->dtype.swapped) turn(at, d->item, width_of(column->dtype));
    }
}

static double double_of_half(uint16_t bits) {
    int    exponent = bits >> 10 & 31, fraction = bits & 1023;
    double x = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
               : exponent     ? ldexp(1024 + fraction, exponent - 25)
                              : ldexp(fraction, -24);
    return bits >> 15 ? -x : x;
}

static double some_double(void) {
    static const double odd[] = { 0.0, -0.0, 1.0, -1.0, (double)NAN, (double)INFINITY, (double)-INFINITY, 0.1, 5e-324 };
    return one_in(3) ? odd[below((int64_t)COUNT(odd))] : ldexp((double)(int64_t)chance(), (int)between(-100, 100));
}

static void some_element(char *at, krait_dtype dtype) {
    uint64_t bits = one_in(8) ? 0 : one_in(8) ? UINT64_MAX : one_in(8) ? UINT64_C(1) << 63 : chance();
    float    f32[2] = { (float)some_double(), (float)some_double() };
    double   f64[2] = { some_double(), some_double() };
    int64_t  most = dtype.code >= KRAIT_DATETIME ? SAFE_NS / ns_of(dtype) : 0;
    switch (dtype.code) {
    case KRAIT_BOOL: *at = (char)(bits & 1); break;
    case KRAIT_F32:
    case KRAIT_C64: memcpy(at, f32, dtype.item_size); break;
    case KRAIT_F64:
    case KRAIT_C128: memcpy(at, f64, dtype.item_size); break;
    case KRAIT_DATETIME:
    case KRAIT_TIMEDELTA:
        bits = one_in(10) ? UINT64_C(1) << 63 : (uint64_t)(below(most + 1) * (one_in(2) ? 1 : -1)); /* fall through */
    default:
        if (!little) turn((char *)&bits, 8, 8);
        memcpy(at, &bits, dtype.item_size);
        if (!little) turn(at, dtype.item_size, dtype.item_size);
    }
}

static int64_t load(const char *at, size_t item, bool is_signed) {
    int8_t   i8;
    int16_t  i16;
    int32_t  i32;
    uint16_t u16;
    uint32_t u32;
    int64_t  i64;
    switch (item) {
    case 1: return memcpy(&i8, at, 1), is_signed ? i8 : (uint8_t)i8;
    case 2: return is_signed ? (memcpy(&i16, at, 2), i16) : (memcpy(&u16, at, 2), u16);
    case 4: return is_signed ? (memcpy(&i32, at, 4), i32) : (memcpy(&u32, at, 4), (int64_t)u32);
    default: return memcpy(&i64, at, 8), i64;
    }
}

static krait_value value_of_element(const char *at, krait_dtype dtype) {
    float  f32[2];
    double f64[2];
    switch (dtype.code) {
    case KRAIT_BOOL: return krait_bool(*at != 0);
    case KRAIT_F16: return krait_f64(double_of_half((uint16_t)load(at, 2, false)));
    case KRAIT_F32: return memcpy(f32, at, 4), krait_f64((double)f32[0]);
    case KRAIT_F64: return memcpy(f64, at, 8), krait_f64(f64[0]);
    case KRAIT_C64: return memcpy(f32, at, 8), krait_complex((double)f32[0], (double)f32[1]);
    case KRAIT_C128: return memcpy(f64, at, 16), krait_complex(f64[0], f64[1]);
    default: break;
    }
    if (dtype.code >= KRAIT_U8 && dtype.code <= KRAIT_U64) return krait_u64((uint64_t)load(at, dtype.item_size, false));
    return krait_i64(load(at, dtype.item_size, true));
}

/* The spec that Python builds the column from; `values` are of the rows that have one. */
static void tell(draft *d, krait_value *values, const krait_value *dictionary) {
    const krait_column *column = &d->column;
    krait_value        *spec = room(8 * sizeof *spec);
    recipe              r = { .dtype = column->dtype };
    char               *dtype;
    r.dtype.swapped = 0;
    dtype = column->kind == KRAIT_COLUMN_ARRAY ? dtype_words(&r) : copied_text("''");
    for (int64_t i = 0; i < column->rows; i++)
        if (!d->there[i]) values[i] = krait_none();
    spec[0] = krait_i64(column->kind);
    spec[1] = krait_str(column->name);
    spec[2] = krait_text(dtype + 1, strlen(dtype) - 2); /* without the quotes */
    spec[3] = column->zone ? krait_str(column->zone) : krait_none();
    spec[4] = krait_bool(column->valid != NULL);
    spec[5] = krait_list(values, (size_t)column->rows);
    spec[6] = krait_bool(column->ordered);
    spec[7] = dictionary ? *dictionary : krait_none();
    d->spec = krait_list(spec, 8);
}

static void some_dtype_of_column(krait_column *column, bool arrow) {
    static const char *const zones[] = { "UTC", "Europe/Berlin", "America/New_York" };
    int32_t                  count = one_in(2) ? 1 : (int32_t)between(2, 30);
    uint8_t                  unit = (uint8_t)(one_in(2) ? between(KRAIT_S, KRAIT_NS) : between(KRAIT_WEEK, KRAIT_NS));
    column->dtype = numeric[below((int64_t)COUNT(numeric) - (arrow ? 2 : 0))]; /* Arrow has no complex numbers */
    if (!one_in(3)) return;
    column->dtype = krait_timedelta(unit, count);
    if (one_in(3)) return;
    if (one_in(6) && !arrow) unit = (uint8_t)between(KRAIT_YEAR, KRAIT_MONTH);
    column->dtype = krait_datetime(unit, count);
    if (one_in(3)) column->zone = zones[below((int64_t)COUNT(zones))];
    if (arrow && column->zone && unit < KRAIT_S) column->zone = NULL;
}

static void some_numbers(draft *d, bool arrow) {
    krait_value *values = room((size_t)d->column.rows * sizeof *values);
    some_dtype_of_column(&d->column, arrow);
    d->item = d->column.dtype.item_size;
    d->native = room((size_t)d->column.rows * d->item);
    for (int64_t i = 0; i < d->column.rows; i++) {
        some_element(d->native + (size_t)i * d->item, d->column.dtype);
        values[i] = value_of_element(d->native + (size_t)i * d->item, d->column.dtype);
    }
    lay_down(d, true);
    tell(d, values, NULL);
}

/* A text with a number at its end where it must differ from all others. */
static size_t some_text(char *to, bool is_text, int64_t unlike) {
    static const char *const pieces[] = {
        "a", "B7", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\n", "longer"
    };
    size_t size = 0;
    for (int64_t i = below(6); i > 0; i--) {
        const char *piece = pieces[below((int64_t)COUNT(pieces))];
        memcpy(to + size, piece, strlen(piece));
        size += strlen(piece);
    }
    if (!is_text && one_in(2)) to[size++] = (char)(chance() >> 56);
    if (unlike >= 0) size += (size_t)snprintf(to + size, 8, "%d", (int)unlike);
    return size;
}

/* Offsets of either width that begin anywhere; bytes before the first text, and behind the last. */
static void some_texts(draft *d, bool distinct) {
    krait_column *column = &d->column;
    int64_t      rows = column->rows, before = one_in(3) ? below(9) : 0, behind = one_in(3) ? below(9) : 0, at = before;
    char        *text = room((size_t)rows * 48 + 1), *data;
    int64_t     *ends = room((size_t)(rows + 1) * sizeof *ends);
    krait_value *values = room((size_t)rows * sizeof *values);
    bool         is_text = column->kind == KRAIT_COLUMN_TEXT;
    char        *to = text;
    for (int64_t i = 0; i <= rows; i++) {
        size_t size = i < rows ? some_text(to, is_text, distinct ? i : -1) : 0;
        ends[i] = at;
        if (i == rows) break;
        values[i] = is_text ? krait_text(to, size) : krait_bytes(to, size);
        at += (int64_t)size;
        to += size;
    }
    data = room((size_t)(at + behind));
    memset(data, 'x', (size_t)(at + behind));
    memcpy(data + before, text, (size_t)(at - before));
    for (int64_t i = 0; i < rows; i++) /* nobody is to look at it */
        if (!d->there[i] && ends[i + 1] > ends[i]) data[ends[i]] = (char)0xff;
    column->data = data;
    column->data_bytes = at + behind;
    column->offset_bytes = one_in(2) ? 4 : 8;
    column->offsets = column->offset_bytes == 8 ? (void *)ends : room((size_t)(rows + 1) * 4);
    for (int64_t i = 0; i <= rows && column->offset_bytes == 4; i++)
        ((int32_t *)(uintptr_t)column->offsets)[i] = (int32_t)ends[i];
    tell(d, values, NULL);
}

static void some_dates(draft *d) {
    krait_value *values = room((size_t)d->column.rows * sizeof *values);
    d->item = 4;
    d->native = room((size_t)d->column.rows * 4);
    for (int64_t i = 0; i < d->column.rows; i++) {
        int32_t day = d->there[i] ? (int32_t)between(DATE_LEAST, DATE_MOST) : INT32_MIN;
        memcpy(d->native + i * 4, &day, 4);
        values[i] = krait_i64(day);
    }
    lay_down(d, false);
    tell(d, values, NULL);
}

/* Up to 18 digits of up to 10 behind the point: what is scaled otherwise in Python still has 128 bits. */
static void some_decimals(draft *d) {
    krait_value *values = room((size_t)d->column.rows * sizeof *values);
    d->item = 16;
    d->native = room((size_t)d->column.rows * 16);
    d->column.precision = (uint8_t)between(19, 28);
    d->column.scale = (int8_t)between(-3, 10);
    for (int64_t i = 0; i < d->column.rows; i++) {
        int64_t part = one_in(5) ? 0 : between(-999999999999999999, 999999999999999999);
        wide    number = d->there[i] ? part : ((wide)INT64_MAX << 63);
        char    text[64];
        snprintf(text, sizeof text, "%" PRId64 "E%d", part, -d->column.scale);
        memcpy(d->native + i * 16, &number, 16);
        values[i] = krait_decimal(copied_text(text));
    }
    lay_down(d, false);
    tell(d, values, NULL);
}

/* Rows that differ, all of them there. */
static draft *some_dictionary(int64_t rows) {
    draft       *d = room(sizeof *d);
    krait_value *values = room((size_t)rows * sizeof *values);
    *d = (draft){ .column = KRAIT_COLUMN_INIT };
    d->column.name = "";
    d->column.rows = rows;
    d->there = room((size_t)rows);
    for (int64_t i = 0; i < rows; i++) d->there[i] = true;
    d->column.kind = one_in(2) ? KRAIT_COLUMN_TEXT : KRAIT_COLUMN_ARRAY;
    if (d->column.kind == KRAIT_COLUMN_TEXT) {
        some_texts(d, true);
        return d;
    }
    d->column.dtype = one_in(2) ? krait_i64_type() : krait_f64_type();
    d->item = 8;
    d->native = room((size_t)rows * 8);
    for (int64_t i = 0; i < rows; i++) {
        int64_t whole = between(0, 99) * 100 + i;
        double  part = (double)whole / 8;
        memcpy(d->native + i * 8, d->column.dtype.code == KRAIT_I64 ? (void *)&whole : (void *)&part, 8);
        values[i] = value_of_element(d->native + i * 8, d->column.dtype);
    }
    lay_down(d, true);
    tell(d, values, NULL);
    return d;
}

static void some_categories(draft *d) {
    static const uint8_t widths[] = { KRAIT_I8, KRAIT_I16, KRAIT_I32, KRAIT_I64 };
    draft               *dictionary = some_dictionary(between(1, 6));
    krait_value         *values = room((size_t)d->column.rows * sizeof *values);
    d->column.dictionary = &dictionary->column;
    d->column.ordered = one_in(2);
    d->column.dtype = numeric[widths[below(4)] - 1];
    d->item = d->column.dtype.item_size;
    d->native = room((size_t)d->column.rows * d->item);
    for (int64_t i = 0; i < d->column.rows; i++) {
        int64_t code = d->there[i] ? below(dictionary->column.rows) : between(-100, 100);
        int64_t ordered = code;
        if (!little) turn((char *)&ordered, 8, 8);
        memcpy(d->native + (size_t)i * d->item, &ordered, d->item);
        if (!little) turn(d->native + (size_t)i * d->item, d->item, d->item);
        values[i] = krait_i64(code);
    }
    lay_down(d, true);
    tell(d, values, &dictionary->spec);
}

static void some_column(draft *d, const char *name, int64_t rows, uint8_t kind, bool arrow) {
    *d = (draft){ .column = KRAIT_COLUMN_INIT };
    d->column.name = name;
    d->column.rows = rows;
    d->column.kind = kind;
    some_validity(d);
    switch (kind) {
    case KRAIT_COLUMN_ARRAY: some_numbers(d, arrow); break;
    case KRAIT_COLUMN_CATEGORY: some_categories(d); break;
    case KRAIT_COLUMN_DECIMAL: some_decimals(d); break;
    case KRAIT_COLUMN_DATE: some_dates(d); break;
    default: some_texts(d, false);
    }
}

/* ---- rows as text ------------------------------------------------------------------------------------------------ */

/* Without its zeros at the end, so that the scale makes no difference. */
static void show_decimal(FILE *out, const char *at, int scale) {
    wide number;
    char digits[48];
    int  n = 0;
    memcpy(&number, at, 16);
    if (!number) scale = 0;
    for (; number && number % 10 == 0; scale--) number /= 10;
    if (number < 0) fputc('-', out);
    for (; number; number /= 10) digits[n++] = (char)('0' + (number < 0 ? -(number % 10) : number % 10));
    while (n) fputc(digits[--n], out);
    fprintf(out, "E%d", -scale);
}

static void show_nanoseconds(FILE *out, wide ns) {
    fprintf(out, "%" PRId64 ".%09d", (int64_t)(ns / 1000000000), abs((int)(ns % 1000000000)));
    if (ns < 0) fputc('-', out);
}

static void show_double(FILE *out, double x) {
    fprintf(out, isnan(x) ? "nan" : "%a", x);
}

/* A NaT is missing, as in Arrow and in objects. */
static void show_element(FILE *out, const krait_column *column, const char *at) {
    krait_value value = value_of_element(at, column->dtype);
    switch (value.kind) {
    case KRAIT_KIND_BOOL: fprintf(out, "%s", value.as.b ? "yes" : "no"); break;
    case KRAIT_KIND_U64: fprintf(out, "%" PRIu64, value.as.u64); break;
    case KRAIT_KIND_F64: show_double(out, value.as.f64); break;
    case KRAIT_KIND_COMPLEX:
        if (isnan(value.as.complex.re) || isnan(value.as.complex.im)) value.as.complex.re = value.as.complex.im = NAN;
        show_double(out, value.as.complex.re);
        show_double(out, value.as.complex.im);
        break;
    default:
        if (column->dtype.code < KRAIT_DATETIME) fprintf(out, "%" PRId64, value.as.i64);
        else if (value.as.i64 == INT64_MIN) fputc('-', out);
        else show_nanoseconds(out, ns_since(column->dtype, value.as.i64));
    }
}

static void show_row(FILE *out, const krait_column *column, int64_t row) {
    const char *at = (const char *)column->data + row * column->stride;
    char        native[16] = { 0 };
    size_t      size = column->kind == KRAIT_COLUMN_DECIMAL ? 16
                       : column->kind == KRAIT_COLUMN_DATE  ? 4
                                                            : column->dtype.item_size;
    if (!krait_column_has(column, row)) {
        fputc('-', out);
        return;
    }
    if (column->kind == KRAIT_COLUMN_TEXT || column->kind == KRAIT_COLUMN_BYTES) {
        at = krait_column_text(column, row, &size);
        fputc('\'', out);
        for (size_t i = 0; i < size; i++) fprintf(out, "%02x", (unsigned char)at[i]);
        fputc('\'', out);
        return;
    }
    memcpy(native, at, size);
    if (column->dtype.swapped) turn(native, size, width_of(column->dtype));
    switch (column->kind) {
    case KRAIT_COLUMN_DECIMAL: show_decimal(out, native, column->scale); break;
    case KRAIT_COLUMN_DATE: show_nanoseconds(out, (wide)load(native, 4, true) * 86400000000000); break;
    case KRAIT_COLUMN_CATEGORY: show_row(out, column->dictionary, load(native, size, true)); break;
    default: show_element(out, column, native);
    }
}

/* pandas has a NaN for a missing float16 or complex number. */
static const char *nan_of(const krait_column *column) {
    if (column->kind != KRAIT_COLUMN_ARRAY) return NULL;
    if (column->dtype.code == KRAIT_F16) return "nan";
    return column->dtype.code == KRAIT_C64 || column->dtype.code == KRAIT_C128 ? "nannan" : NULL;
}

static void show_rows(FILE *out, const krait_column *column, bool in_pandas) {
    const char *missing = in_pandas ? nan_of(column) : NULL;
    for (int64_t row = 0; row < column->rows; row++) {
        fputc(' ', out);
        if (missing && !krait_column_has(column, row)) fputs(missing, out);
        else show_row(out, column, row);
    }
    fputc('\n', out);
}

/* A MultiIndex makes one label of 0.0 and -0.0. */
static void show_level(FILE *out, const krait_column *column) {
    char  *text = NULL;
    size_t size;
    FILE  *whole = open_memstream(&text, &size);
    show_rows(whole, column, true);
    fclose(whole);
    for (const char *at = text; *at; at++)
        if (strncmp(at, "-0x0p", 5) != 0) fputc(*at, out);
    free(text);
}

static void show_type(FILE *out, const krait_column *column) {
    static const char *const kinds[] = { "", "", "text", "bytes", "category", "decimal", "date" };
    char                     text[64] = "";
    if (column->kind == KRAIT_COLUMN_ARRAY) krait_dtype_name(column->dtype, text, sizeof text);
    fprintf(out, "%s%s%s%s%s", kinds[column->kind], text, column->zone ? " in " : "", column->zone ? column->zone : "",
            column->ordered ? " ordered" : "");
}

/* ---- tables through pandas --------------------------------------------------------------------------------------- */

static int pandas_major;

static bool all_missing(const krait_column *column) {
    for (int64_t i = 0; i < column->rows; i++)
        if (krait_column_has(column, i)) return false;
    return true;
}

/* The unit that pandas has for it. */
static krait_dtype settled(krait_dtype d) {
    bool keeps = d.unit >= KRAIT_S && pandas_major >= 2;
    d.swapped = 0;
    if (d.code < KRAIT_DATETIME) return d;
    d.unit = pandas_major < 2 ? KRAIT_NS : keeps ? d.unit : KRAIT_S;
    d.of.count = 1;
    return d;
}

/* What a column is after it was in a frame. */
static void show_expected(FILE *out, const krait_column *column) {
    krait_column as = *column;
    bool         objects =
        column->kind == KRAIT_COLUMN_BYTES || column->kind == KRAIT_COLUMN_DECIMAL || column->kind == KRAIT_COLUMN_DATE;
    if (objects && all_missing(column)) as.kind = KRAIT_COLUMN_TEXT; /* which of them nobody can tell */
    if (as.kind == KRAIT_COLUMN_BYTES) {
        fprintf(out, "refused\n");
        return;
    }
    as.dtype = settled(column->dtype);
    show_type(out, &as);
    show_rows(out, column, true);
}

static void show_result(FILE *out, const krait_table *table, size_t i) {
    krait_column column;
    krait_error *err = NULL;
    krait_table_column(table, i, &column, &err);
    if (err) fprintf(out, krait_error_status(err) == KRAIT_E_UNSUPPORTED ? "refused\n" : "broken\n");
    else {
        show_type(out, &column);
        show_rows(out, &column, true);
    }
    krait_error_clear(&err);
}

static krait_value specs_of(draft *drafts, size_t n) {
    krait_value *specs = room(n * sizeof *specs);
    for (size_t i = 0; i < n; i++) specs[i] = drafts[i].spec;
    return krait_list(specs, n);
}

/* Whether the levels are one without a name that counts the rows from 0, of which a result says nothing. */
static bool counts_rows(const draft *levels, size_t n) {
    const krait_column *column = &levels->column;
    if (n != 1 || *column->name || column->kind != KRAIT_COLUMN_ARRAY || column->dtype.code < KRAIT_I8 ||
        column->dtype.code > KRAIT_U64)
        return false;
    for (int64_t i = 0; i < column->rows; i++)
        if (!levels->there[i] || load(levels->native + (size_t)i * levels->item, levels->item, true) != i) return false;
    return true;
}

typedef struct table_case {
    draft   columns[COLUMNS_MAX], levels[LEVELS_MAX];
    size_t  column_count, level_count;
    int64_t rows;
} table_case;

static uint8_t some_kind(void) {
    return (uint8_t)(one_in(2) ? KRAIT_COLUMN_ARRAY : between(KRAIT_COLUMN_ARRAY, KRAIT_COLUMN_DATE));
}

/* Bytes in an index are objects, and cannot be read. */
static uint8_t some_kind_of_level(void) {
    uint8_t kind = some_kind();
    return kind == KRAIT_COLUMN_BYTES ? KRAIT_COLUMN_TEXT : kind;
}

static krait_table *some_table(table_case *c, bool arrow) {
    krait_error *err = NULL;
    krait_table *table = krait_table_new(&err);
    c->rows = one_in(8) ? 0 : between(1, ROWS_MAX);
    c->column_count = (size_t)(one_in(10) ? 0 : between(1, COLUMNS_MAX));
    c->level_count = arrow || one_in(2) ? 0 : (size_t)between(1, LEVELS_MAX);
    if (!c->column_count && !c->level_count) c->rows = 0;
    for (size_t i = 0; i < c->column_count; i++) {
        some_column(&c->columns[i], some_name(arrow, i), c->rows, some_kind(), arrow);
        krait_table_add_column(table, &c->columns[i].column, &err);
        assert_fine(err);
    }
    for (size_t i = 0; i < c->level_count; i++) {
        some_column(&c->levels[i], some_name(false, i), c->rows, some_kind_of_level(), false);
        krait_table_add_index(table, &c->levels[i].column, &err);
        assert_fine(err);
    }
    return table;
}

/* All that a result must be, as text. */
static char *expected_of(const table_case *c) {
    char  *text = NULL;
    size_t size, levels = counts_rows(c->levels, c->level_count) ? 0 : c->level_count;
    FILE  *out = open_memstream(&text, &size);
    for (size_t i = 0; i < c->column_count; i++) {
        fprintf(out, "%s: ", c->columns[i].column.name);
        show_expected(out, &c->columns[i].column);
    }
    for (size_t i = 0; i < levels; i++) {
        fprintf(out, "index %s:", c->levels[i].column.name);
        show_level(out, &c->levels[i].column);
    }
    fclose(out);
    return text;
}

static char *seen_of(const krait_table *table) {
    char        *text = NULL;
    size_t       size;
    FILE        *out = open_memstream(&text, &size);
    krait_column level;
    krait_error *err = NULL;
    for (size_t i = 0; i < krait_table_column_count(table); i++) {
        fprintf(out, "%s: ", krait_table_column_name(table, i));
        show_result(out, table, i);
    }
    for (size_t i = 0; i < krait_table_index_count(table); i++) {
        krait_table_index(table, i, &level, &err);
        assert_fine(err);
        fprintf(out, "index %s:", level.name);
        show_level(out, &level);
    }
    fclose(out);
    return text;
}

/* Shows where the first line begins that differs, up to where it does. */
static void check_text(const char *expected, const char *seen) {
    size_t line = 0, at = 0;
    for (; expected[at] && expected[at] == seen[at]; at++)
        if (expected[at] == '\n') line = at + 1;
    if (expected[at] == seen[at]) return;
    WRONG("%.*s: expected ...%.100s\ngot ...%.100s", (int)(at - line > 100 ? 100 : at - line), expected + line,
          expected + (at - line > 20 ? at - 20 : line), seen + (at - line > 20 ? at - 20 : line));
}

static void table_case_once(void) {
    static table_case  c;
    krait_error       *err = NULL;
    mode               how = (mode)below(MODES);
    krait_table       *table = some_table(&c, false);
    krait_value        value = krait_table_value(table), out;
    const krait_table *result;
    krait_arg          args[4];
    char              *expected = expected_of(&c), *seen;
    released = 0;
    if (how == OWNED) value = krait_owned(value, count_release, NULL);
    args[0] = krait_with(krait_pos(value), mode_flags[how]);
    args[1] = krait_pos(specs_of(c.columns, c.column_count));
    args[2] = krait_pos(specs_of(c.levels, c.level_count));
    args[3] = krait_pos(krait_i64(c.rows));
    call("properties:table", args, 4, &out, &err);
    krait_get_table(&out, &result, &err);
    assert_fine(err);
    if (how != ALIAS && how != OWNED) free_from(0); /* nobody may read it any more */
    seen = seen_of(result);
    check_text(expected, seen);
    krait_value_clear(&out);
    assert_released(how == OWNED);
    krait_table_free(table);
    free_from(0);
    free(expected);
    free(seen);
}

static int64_t answer_of(const char *name) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      number = 0;
    call(name, NULL, 0, &out, &err);
    krait_get_i64(&out, &number, &err);
    assert_good(err);
    krait_value_clear(&out);
    return number;
}

static void tables(void **state) {
    (void)state;
    pandas_major = (int)answer_of("properties:major");
    begin_cases();
    while (next_case()) table_case_once();
}

/* ---- Arrow ------------------------------------------------------------------------------------------------------- */

/* What Arrow makes of it: dates of days, the next finer unit that it has, a bit for each NaT. */
static char *expected_of_arrow(const table_case *c) {
    char  *text = NULL;
    size_t size;
    FILE  *out = open_memstream(&text, &size);
    for (size_t i = 0; i < c->column_count; i++) {
        fprintf(out, "%s:", c->columns[i].column.name);
        show_rows(out, &c->columns[i].column, false);
    }
    fclose(out);
    return text;
}

static char *rows_of(const krait_table *table) {
    char        *text = NULL;
    size_t       size;
    FILE        *out = open_memstream(&text, &size);
    krait_column column;
    krait_error *err = NULL;
    for (size_t i = 0; i < krait_table_column_count(table); i++) {
        krait_table_column(table, i, &column, &err);
        assert_fine(err);
        fprintf(out, "%s:", column.name);
        show_rows(out, &column, false);
    }
    fclose(out);
    return text;
}

static void arrow_case(bool pyarrow) {
    static table_case  c;
    krait_error       *err = NULL;
    krait_table       *table = some_table(&c, true), *back = NULL;
    struct ArrowSchema schema;
    struct ArrowArray  array;
    char              *expected = expected_of_arrow(&c), *seen;
    krait_arg          args[3];
    krait_arrow_export(table, &schema, &array, &err);
    assert_fine(err);
    krait_table_free(table); /* what was exported stays good */
    args[0] = krait_pos(krait_i64((int64_t)(intptr_t)&schema));
    args[1] = krait_pos(krait_i64((int64_t)(intptr_t)&array));
    args[2] = krait_pos(specs_of(c.columns, c.column_count));
    if (pyarrow) call("properties:through_arrow", args, 3, NULL, &err);
    assert_fine(err);
    krait_arrow_import(&schema, &array, &back, &err);
    assert_fine(err);
    seen = rows_of(back);
    check_text(expected, seen);
    krait_table_free(back);
    free_from(0);
    free(expected);
    free(seen);
}

static void arrow(void **state) {
    bool pyarrow = answer_of("properties:has_pyarrow");
    (void)state;
    if (!pyarrow) print_message("no pyarrow in this Python: from krait to krait only\n");
    begin_cases();
    while (next_case()) arrow_case(pyarrow);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!hurry) alarm(0); /* as long as all those cases take */
    if (!failed) define("properties", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays),
        cmocka_unit_test(tables),
        cmocka_unit_test(arrow),
    };
    int failed;
    seed = (uint64_t)number_from("KRAIT_TEST_SEED", (int64_t)time(NULL));
    hurry = !getenv("KRAIT_TEST_CASES");
    cases = number_from("KRAIT_TEST_CASES", DEFAULT_CASES);
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    failed = cmocka_run_group_tests(tests, set_up, NULL);
    free(arena.blocks);
    return failed;
}
