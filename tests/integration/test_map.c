/* The map of types as it is measured. For each row, the memory on C's side is compared with the memory on Python's side
 * (or on that of the Arrow or DLPack struct): the same address is "no copy", the same bytes elsewhere "one copy", other
 * bytes "converted", and what cannot be done here is "-" with the reason in one word.
 *
 * docs/types.md holds what was measured, a column for each environment; the last test fails where it says otherwise.
 * KRAIT_WRITE_TYPES=1 writes this environment's column anew. KRAIT_TEST_TYPES is the file, where it is not
 * docs/types.md below the current folder. All of it runs a second time, in a process of its own, without pyarrow. */
#include "hidden.h"

#include "../arrow_trees.h"

static const char module[] =
    "import datetime\n"
    "import decimal\n"
    "import sys\n"
    "import numpy as np\n"
    "import pandas as pd\n"
    "class Missing(Exception):\n"
    "    'What a row needs and is not here, in one word.'\n"
    "class Absent:\n"
    "    def __init__(self, name):\n"
    "        self._name = name\n"
    "    def __getattr__(self, name):\n"
    "        raise Missing(self._name)\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = Absent('pyarrow')\n"
    "try:\n"
    "    import polars as pl\n"
    "except ImportError:\n"
    "    pl = Absent('polars')\n"
    "PANDAS = int(pd.__version__.split('.')[0])\n"
    "NUMPY = int(np.__version__.split('.')[0])\n"
    "day = datetime.date(2024, 2, 29)\n"
    /* what the expressions of the rows use */
    "WORDS = ['a', 'more than a few bytes', '']\n"
    "def numpy2(make):\n"
    "    if NUMPY < 2:\n"
    "        raise Missing('numpy')\n"
    "    return make()\n"
    "def texts(storage, missing=np.nan, words=WORDS):\n"
    "    if storage == 'pyarrow':\n"
    "        pa.array\n"
    "    if missing is pd.NA:\n"
    "        return pd.Series(words, dtype=pd.StringDtype(storage))\n"
    "    if PANDAS < 3:\n"
    "        raise Missing('pandas')\n"
    "    return pd.Series(words, dtype=pd.StringDtype(storage, na_value=missing))\n"
    "def arrow_dtype(values):\n"
    "    if PANDAS < 2:\n"
    "        raise Missing('pandas')\n"
    "    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([values])))\n"
    "def chunks(*arrays):\n"
    "    return pa.table({'x': pa.chunked_array(list(arrays))})\n"
    "def frames(*values):\n"
    "    return pl.concat([pl.DataFrame({'x': v}) for v in values], rechunk=False)\n"
    "def odd(a):\n"
    "    raw = np.zeros(a.nbytes + 1, 'u1')\n"
    "    b = raw[1:].view(a.dtype)\n"
    "    b[...] = a\n"
    "    return b\n"
    "class Tensor:\n"
    "    'What only has the methods of DLPack.'\n"
    "    def __init__(self, a):\n"
    "        self.array = a\n"
    "    def __dlpack__(self, **how):\n"
    "        return self.array.__dlpack__(**how)\n"
    "    def __dlpack_device__(self):\n"
    "        return self.array.__dlpack_device__()\n"
    "class Stream:\n"
    "    'What only has the method of Arrow streams.'\n"
    "    def __init__(self, table):\n"
    "        self.table = table\n"
    "    def __arrow_c_stream__(self, requested_schema=None):\n"
    "        return self.table.__arrow_c_stream__(requested_schema)\n"
    /* memory: label -> [address, bytes]; nothing of what is made of Python objects */
    "def raw(a):\n"
    "    return [a.__array_interface__['data'][0], a.tobytes()]\n"
    "def of_text(x):\n"
    "    return {'text': [id(x) + sys.getsizeof('') - 1, x.encode()]} if x.isascii() else {}\n"
    "def of_arrow(x):\n"
    "    parts = x.chunks if isinstance(x, pa.ChunkedArray) else [x]\n"
    "    t = parts[0].type\n"
    "    if pa.types.is_dictionary(t):\n"
    "        found = of_arrow(pa.chunked_array([p.indices for p in parts]))\n"
    "        return {'codes': found.pop('data'), **found, **categories(of_arrow(parts[0].dictionary))}\n"
    "    if str(t).endswith('_view') or pa.types.is_nested(t):\n"
    "        return {}\n"
    "    large = str(t).startswith('large_')\n"
    "    text = large or pa.types.is_string(t) or pa.types.is_binary(t)\n"
    "    wide = (8 if large else 4) if text else 0 if t == pa.bool_() else t.bit_width // 8\n"
    "    pieces = [(p.offset, len(p), p.buffers()) for p in parts]\n"
    "    first, n, mine = pieces[0]\n"
    "    found = {}\n"
    "    if any(b[0] for _, _, b in pieces):\n"
    "        bits = np.concatenate([np.array(p.is_valid()) for p in parts])\n"
    "        packed = np.packbits(bits, bitorder='little').tobytes()\n"
    "        found['validity'] = [mine[0].address + first // 8 if mine[0] else 0, packed]\n"
    "    if text:\n"
    "        ends = [np.frombuffer(b[1], f'i{wide}')[o:o + m + 1] for o, m, b in pieces]\n"
    "        found['offsets'] = [mine[1].address + first * wide, joined(ends).tobytes()]\n"
    "        words = b''.join([bytes(b[2])[e[0]:e[-1]] for e, (_, _, b) in zip(ends, pieces)])\n"
    "        found['text'] = [mine[2].address, words]\n"
    "    elif wide:\n"
    "        data = b''.join([bytes(b[1])[o * wide:(o + m) * wide] for o, m, b in pieces])\n"
    "        found['data'] = [mine[1].address + first * wide, data]\n"
    "    else:\n"
    "        found['data'] = [mine[1].address, bytes(mine[1])[:(first + n + 7) // 8]]\n"
    "    return found\n"
    "def joined(ends):\n"
    "    'Offsets that begin at 0, of texts one piece after the other.'\n"
    "    all = [ends[0] - ends[0][0]]\n"
    "    for e in ends[1:]:\n"
    "        all.append(e[1:] - e[0] + all[-1][-1])\n"
    "    return np.concatenate(all).astype(ends[0].dtype)\n"
    "def categories(found):\n"
    "    return {'categories': next(found[k] for k in ('data', 'text') if k in found)} if found else {}\n"
    "def of_array(x):\n"
    "    'Of an array of pandas.'\n"
    "    if isinstance(x, pd.Categorical):\n"
    "        return {'codes': raw(x.codes), **categories(memory(x.categories))}\n"
    "    if hasattr(x, '_mask'):\n"
    "        return {'data': raw(x._data), 'validity': raw(x._mask)}\n"
    "    if not isinstance(pa, Absent) and 'Arrow' in type(x).__name__:\n"
    "        return of_arrow(x.__arrow_array__())\n"
    "    return memory(x._ndarray) if hasattr(x, '_ndarray') else {}\n"
    "def memory(x):\n"
    "    if isinstance(x, np.ndarray):\n"
    "        return {} if x.dtype.kind in 'OT' else {'data': raw(x)}\n"
    "    if isinstance(x, pd.DataFrame):\n"
    "        return memory(x.iloc[:, 0])\n"
    "    if isinstance(x, pd.MultiIndex) or isinstance(x, pd.RangeIndex):\n"
    "        return {}\n"
    "    if isinstance(x, (pd.Series, pd.Index)):\n"
    "        return of_array(x.array)\n"
    "    if isinstance(x, pd.api.extensions.ExtensionArray):\n"
    "        return of_array(x)\n"
    "    if isinstance(x, str):\n"
    "        return of_text(x)\n"
    "    if isinstance(x, (bytes, bytearray, memoryview)):\n"
    "        return {'data': raw(np.frombuffer(x, 'u1'))}\n"
    "    if isinstance(x, (list, tuple)):\n"
    "        return memory(x[0])\n"
    "    if isinstance(x, dict):\n"
    "        return memory(list(x.values())[0])\n"
    "    if isinstance(x, Tensor):\n"
    "        return memory(x.array)\n"
    "    if isinstance(x, Stream):\n"
    "        return memory(x.table)\n"
    "    if type(x).__module__.startswith('polars'):\n"
    "        s = x if isinstance(x, pl.Series) else x.to_series(0)\n"
    "        if not s.dtype.is_numeric() and not s.dtype.is_temporal():\n"
    "            return {}\n"
    "        s = s.to_physical()  # to_numpy of times would leak a dtype\n"
    "        return {'data': [raw(s.get_chunks()[0].to_numpy(allow_copy=False))[0], s.to_numpy().tobytes()]}\n"
    "    if type(x).__module__.startswith('pyarrow'):\n"
    "        return of_arrow(x if isinstance(x, (pa.Array, pa.ChunkedArray)) else x.column(0))\n"
    "    return {}\n"
    "def level(frame):\n"
    "    return memory(frame.index)\n"
    /* results */
    "kept = noted = None\n"
    "def make(text, of_level):\n"
    "    'The value of an expression; its memory is noted before anybody converts it, which may move it.'\n"
    "    global kept, noted\n"
    "    kept = eval(text)\n"
    "    noted = level(kept) if of_level else memory(kept)\n"
    "    return kept\n"
    "def drop():\n"
    "    global kept, noted\n"
    "    found = noted\n"
    "    kept = noted = None\n"
    "    return found\n"
    "def is_kept(x):\n"
    "    return x is kept\n"
    "def tail(x):\n"
    "    return x[1:]\n"
    "def same(x):\n"
    "    return x[:]\n"
    "def ask_host(name, *args):\n"
    "    import functools\n"
    "    from krait import host\n"
    "    return memory(functools.reduce(getattr, name.split('.'), host)(*args))\n"
    "def ask_host_kept(name):\n"
    "    import functools\n"
    "    from krait import host\n"
    "    functools.reduce(getattr, name.split('.'), host)(kept)\n"
    /* the page */
    "COLUMNS = ['numpy 1.24, pandas 1.5, no pyarrow', 'numpy 2, pandas 3, no pyarrow', 'numpy 2, pandas 3, pyarrow']\n"
    "BEGIN, END = '<!-- measured: begin -->', '<!-- measured: end -->'\n"
    "def environment():\n"
    "    'Which column this is; -1: none that the page has.'\n"
    "    n, p = ([int(x) for x in m.__version__.split('.')[:2]] for m in (np, pd))\n"
    "    arrow = not isinstance(pa, Absent)\n"
    "    if n == [1, 24] and p == [1, 5] and not arrow:\n"
    "        return 0\n"
    "    return 1 + arrow if n[0] == 2 and p[0] == 3 else -1\n"
    "def cells(line):\n"
    "    return [c.strip() for c in line.strip().strip('|').split('|')]\n"
    "def parse(text):\n"
    "    'What stands between the marks: the text before, (way, what) -> cells, the text behind.'\n"
    "    before, _, rest = text.partition(BEGIN)\n"
    "    inner, mark, behind = rest.partition(END)\n"
    "    if not mark:\n"
    "        raise ValueError(f'no {BEGIN} ... {END}')\n"
    "    rows = [cells(x) for x in inner.splitlines() if x.startswith('| ')]\n"
    "    return before, {(r[0], r[1]): r[2:] for r in rows if r[2:] != COLUMNS}, behind\n"
    "def write(path, text, column, measured):\n"
    "    before, documented, behind = parse(text)\n"
    "    lines = ['| | | ' + ' | '.join(COLUMNS) + ' |', '|---|---|---|---|---|']\n"
    "    ways = list(dict.fromkeys(way for way, _, _ in measured))\n"
    "    for way, what, cell in sorted(measured, key=lambda row: ways.index(row[0])):\n"
    "        others = documented.get((way, what), ['?'] * len(COLUMNS))\n"
    "        others[column] = cell\n"
    "        lines.append(f'| {way} | {what} | ' + ' | '.join(others) + ' |')\n"
    "    with open(path, 'w') as page:\n"
    "        page.write('\\n'.join([before + BEGIN, '', *lines, '', END + behind]))\n"
    "    return ''\n"
    "def page(path, measured, anew):\n"
    "    'What is wrong with the page; nothing when it is right.'\n"
    "    column = environment()\n"
    "    if column < 0:\n"
    "        return ''\n"
    "    with open(path) as page:\n"
    "        text = page.read()\n"
    "    if anew:\n"
    "        return write(path, text, column, measured)\n"
    "    documented, wrong = parse(text)[1], []\n"
    "    for way, what, cell in measured:\n"
    "        said = documented.pop((way, what), ['no such row'] * len(COLUMNS))[column]\n"
    "        if said != cell and '- (polars)' not in (said, cell):  # a package that the environment does not tell\n"
    "            wrong.append(f'{way}: {what}: documented \"{said}\", measured \"{cell}\"')\n"
    "    wrong += [f'{way}: {what}: documented, but no row of the test' for way, what in documented]\n"
    "    return '\\n'.join([f'{path}, {COLUMNS[column]}:', *wrong]) if wrong else ''\n";

/* ---- memory ------------------------------------------------------------------------------------------------------ */

enum { BYTES = 512, WORDS = 96, ROWS_MAX = 400 };

static const char *const labels[] = { "data", "codes", "text", "offsets", "validity", "categories" };
enum { DATA, CODES, TEXT, OFFSETS, VALIDITY, CATEGORIES, LABELS };

/* What holds a value: buffers by label, not there where `there` is false. Bits of validity begin with the first row,
 * offsets at 0, whatever lies before them in memory. */
typedef struct memory {
    struct {
        bool   there;
        size_t at, size;
        char   bytes[BYTES];
    } of[LABELS];
} memory;

static void put(memory *m, int label, const void *at, const void *bytes, size_t size) {
    assert_true(size <= BYTES);
    m->of[label].there = true;
    m->of[label].at = (size_t)at;
    m->of[label].size = size;
    if (size) memcpy(m->of[label].bytes, bytes, size);
}

/* Elements in C order, as they are, of up to three dimensions. */
static void put_array(memory *m, int label, const krait_array *array) {
    char    packed[BYTES];
    size_t  item = array->dtype.item_size, size = 0;
    int64_t shape[3] = { 1, 1, 1 }, strides[3] = { 0 };
    assert_true((size_t)array->size * item <= BYTES);
    for (int32_t i = 0; i < array->ndim && array->ndim <= 3; i++) {
        shape[i] = array->shape[i];
        strides[i] = array->strides[i];
    }
    if (array->ndim > 3) shape[0] = array->size, strides[0] = (int64_t)item; /* of one element each, here */
    for (int64_t i = 0; i < shape[0]; i++)
        for (int64_t j = 0; j < shape[1]; j++)
            for (int64_t k = 0; k < shape[2]; k++, size += item)
                memcpy(packed + size, (const char *)array->data + i * strides[0] + j * strides[1] + k * strides[2],
                       item);
    put(m, label, array->data, packed, size);
}

static void put_elements(memory *m, int label, const void *data, int64_t rows, int64_t stride, size_t item) {
    krait_array array = { 0 };
    array.data = (void *)(uintptr_t)data;
    array.dtype.item_size = (uint32_t)item;
    array.ndim = 1;
    array.shape = &rows;
    array.strides = &stride;
    array.size = rows;
    put_array(m, label, &array);
}

static void put_bits(memory *m, const uint8_t *bits, int64_t first, int64_t rows) {
    uint8_t packed[BYTES] = { 0 };
    for (int64_t i = 0; i < rows; i++)
        packed[i / 8] |= (uint8_t)((bits[(first + i) / 8] >> ((first + i) % 8) & 1) << i % 8);
    put(m, VALIDITY, bits + first / 8, packed, (size_t)(rows + 7) / 8);
}

static void put_texts(memory *m, const void *offsets, int32_t offset_bytes, const char *data, int64_t rows) {
    int32_t     narrow[BYTES / 8];
    int64_t     wide[BYTES / 8], first = 0;
    const void *ends = offset_bytes == 4 ? (const void *)narrow : (const void *)wide;
    for (int64_t i = 0; i <= rows; i++) {
        wide[i] = offset_bytes == 4 ? ((const int32_t *)offsets)[i] : ((const int64_t *)offsets)[i];
        if (i == 0) first = wide[0];
        narrow[i] = (int32_t)(wide[i] -= first);
    }
    put(m, OFFSETS, offsets, ends, (size_t)((rows + 1) * offset_bytes));
    put(m, TEXT, data, data + first, (size_t)wide[rows]);
}

static size_t item_of(const krait_column *column) {
    return column->kind == KRAIT_COLUMN_DECIMAL ? 16 : column->kind == KRAIT_COLUMN_DATE ? 4 : column->dtype.item_size;
}

static void put_column(memory *m, const krait_column *column) {
    bool category = column->kind == KRAIT_COLUMN_CATEGORY;
    memset(m, 0, sizeof *m);
    if (column->kind == KRAIT_COLUMN_TEXT || column->kind == KRAIT_COLUMN_BYTES)
        put_texts(m, column->offsets, column->offset_bytes, column->data, column->rows);
    else put_elements(m, category ? CODES : DATA, column->data, column->rows, column->stride, item_of(column));
    if (column->valid) put_bits(m, column->valid, column->valid_offset, column->rows);
    if (category) {
        memory dictionary;
        int    from = column->dictionary->kind == KRAIT_COLUMN_TEXT ? TEXT : DATA;
        put_column(&dictionary, column->dictionary);
        m->of[CATEGORIES] = dictionary.of[from];
    }
}

/* What the Python functions above answer. */
static void put_answer(memory *m, const krait_value *answer, krait_error **err) {
    memset(m, 0, sizeof *m);
    for (size_t i = 0; i < krait_map_len(answer); i++) {
        const char        *key;
        const krait_value *pair, *item;
        uint64_t           at = 0;
        const void        *bytes = NULL;
        size_t             size = 0;
        int                label = 0;
        krait_map_at(answer, i, &key, &pair, err);
        krait_list_at(pair, 0, &item, err);
        krait_get_u64(item, &at, err);
        krait_list_at(pair, 1, &item, err);
        krait_get_bytes(item, &bytes, &size, err);
        if (*err) return;
        while (strcmp(labels[label], key) != 0) label++;
        put(m, label, (const void *)(uintptr_t)at, bytes, size);
    }
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

static const char *compare(const memory *a, const memory *b, int label) {
    if (!a->of[label].there || !b->of[label].there) return "converted";
    if (a->of[label].at == b->of[label].at) return "no copy";
    if (a->of[label].size != b->of[label].size) return "converted";
    return memcmp(a->of[label].bytes, b->of[label].bytes, a->of[label].size) != 0 ? "converted" : "one copy";
}

/* "no copy" where that is so of all buffers, else "data no copy, validity converted". */
static void verdict(const memory *a, const memory *b, char cell[WORDS]) {
    const char *first = NULL;
    bool        mixed = false;
    int         length = 0;
    for (int i = 0; i < LABELS; i++) {
        const char *word = compare(a, b, i);
        if (!a->of[i].there && !b->of[i].there) continue;
        length += snprintf(cell + length, (size_t)(WORDS - length), "%s%s %s", first ? ", " : "", labels[i], word);
        mixed |= first && strcmp(first, word) != 0;
        if (!first) first = word;
    }
    assert_true(length < WORDS);
    if (!mixed) snprintf(cell, WORDS, "%s", first ? first : "converted");
}

static struct row {
    const char *way;
    char        what[WORDS], cell[WORDS];
} rows[ROWS_MAX];
static size_t row_count;

/* Several measurements may share a row; then they must agree. */
static void record(const char *way, const char *what, const char *cell) {
    struct row *row = rows;
    while (row < rows + row_count && (strcmp(row->way, way) != 0 || strcmp(row->what, what) != 0)) row++;
    if (row < rows + row_count) {
        if (strcmp(row->cell, cell) != 0)
            fail_msg("%s: %s: one is \"%s\", another \"%s\": they need rows of their own", way, what, row->cell, cell);
        return;
    }
    assert_true(row_count < ROWS_MAX);
    row_count++;
    row->way = way;
    snprintf(row->what, sizeof row->what, "%s", what);
    snprintf(row->cell, sizeof row->cell, "%s", cell);
}

/* A call failed: "- (polars)" when the program's Python lacks something, "- (unit)" when that was the reason given;
 * else the test fails. Clears the error. */
static void record_failure(const char *way, const char *what, const char *reason, krait_error *err) {
    const char *type = krait_error_python_type(err);
    char        cell[WORDS];
    if (type && strstr(type, "Missing")) reason = krait_error_message(err);
    if (!reason) {
        print_error("%s: %s\n", way, what);
        assert_good(err);
    }
    snprintf(cell, sizeof cell, "- (%s)", reason);
    krait_error_clear(&err);
    record(way, what, cell);
}

/* What Python sees of the first argument, against `mine`. `reason`: why it may be impossible. */
static void measure_args(const char *way, const char *what, const memory *mine, const char *look, const krait_arg *args,
                         size_t n, const char *reason) {
    krait_error *err = NULL;
    krait_value  answer;
    memory       theirs;
    char         cell[WORDS];
    call(look, args, n, &answer, &err);
    if (err) {
        record_failure(way, what, reason, err);
        return;
    }
    put_answer(&theirs, &answer, &err);
    assert_good(err);
    krait_value_clear(&answer);
    verdict(mine, &theirs, cell);
    record(way, what, cell);
}

static void measure_in(const char *way, const char *what, const memory *mine, krait_value value, uint32_t flags,
                       const char *reason) {
    const krait_arg arg = krait_with(krait_pos(value), flags);
    measure_args(way, what, mine, "types_map:memory", &arg, 1, reason);
}

/* ---- arrays in --------------------------------------------------------------------------------------------------- */

static uint64_t block[64]; /* what the program lends */

/* n elements that count from 1; of bool, that alternate. */
static void count_up(void *to, krait_dtype dtype, size_t n) {
    memset(to, 0, n * dtype.item_size);
    for (size_t i = 0; i < n; i++)
        ((char *)to)[i * dtype.item_size] = (char)(dtype.code == KRAIT_BOOL ? i % 2 : i + 1); /* little-endian */
}

static void array_in(const char *what, krait_value value, uint32_t flags) {
    krait_error *err = NULL;
    krait_array  array;
    memory       mine = { 0 };
    int64_t      strides[KRAIT_MAX_NDIM] = { 0 };
    krait_get_array(&value, KRAIT_ANY, -1, &array, &err);
    assert_good(err);
    if (!array.strides) array.strides = strides; /* all dimensions of one */
    put_array(&mine, DATA, &array);
    measure_in("array in", what, &mine, value, flags, NULL);
}

static void family_in(const char *what, krait_dtype dtype) {
    count_up(block, dtype, 4);
    array_in(what, krait_vector(block, dtype, 4), 0);
}

static void arrays_in_by_dtype(void **state) {
    static const char *const whats[] = {
        "",          "bool",      "int, uint", "int, uint", "int, uint",        "int, uint",        "int, uint",
        "int, uint", "int, uint", "int, uint", "float16",   "float32, float64", "float32, float64", "complex",
        "complex"
    };
    (void)state;
#define FAMILY(NAME, name, code, type, bytes, text) family_in(whats[code], krait_##name##_type());
    KRAIT_DTYPE_MAP(FAMILY)
#undef FAMILY
    for (uint8_t unit = KRAIT_YEAR; unit <= KRAIT_AS; unit++) {
        family_in("datetime64, any unit", krait_datetime(unit, 1));
        family_in("timedelta64, any unit", krait_timedelta(unit, 1));
    }
    family_in("datetime64[25s]", krait_datetime(KRAIT_S, 25));
    family_in("fixed bytes, S4", krait_fixed_bytes(4));
    family_in("fixed text, U4", krait_fixed_text(4));
}

static void arrays_in_by_layout(void **state) {
    static const int64_t shape[] = { 3, 2 }, ones[KRAIT_MAX_NDIM] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                                      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    static const int64_t forward[] = { 32, 8 }, backward[] = { -16, 8 }, still[] = { 0, 8 }, fortran[] = { 8, 24 };
    krait_dtype          f64 = krait_f64_type(), big = krait_i32_type();
    (void)state;
    big.swapped = 1;
    count_up(block, f64, 40);
    array_in("strided", krait_ndarray(block, f64, 2, shape, forward), 0);
    array_in("negative strides", krait_ndarray(block + 8, f64, 2, shape, backward), 0);
    array_in("strides of 0", krait_ndarray(block, f64, 2, shape, still), 0);
    array_in("column by column", krait_ndarray(block, f64, 2, shape, fortran), 0);
    array_in("the other byte order", krait_vector(block, big, 4), 0);
    array_in("misaligned", krait_vector((char *)block + 1, f64, 4), 0);
    array_in("0 dimensions", krait_ndarray(block, f64, 0, NULL, NULL), 0);
    array_in("32 dimensions", krait_ndarray(block, f64, KRAIT_MAX_NDIM, ones, NULL), 0);
    array_in("empty", krait_vector(block, f64, 0), 0);
    array_in("KRAIT_WRITABLE", krait_vector(block, f64, 4), KRAIT_WRITABLE);
    array_in("KRAIT_ALIAS", krait_vector(block, f64, 4), KRAIT_ALIAS);
    array_in("KRAIT_COPY", krait_vector(block, f64, 4), KRAIT_COPY);
}

static void noted(void *user) {
    ++*(int *)user;
}

static void arrays_in_otherwise(void **state) {
    static struct tick {
        char    name[6];
        int32_t size;
        double  price;
    } ticks[] = { { "ab", 1, 2.5 }, { "c", 2, 3.5 } };
    const krait_member members[] = { KRAIT_FIELD_CHARS(struct tick, name),
                                     KRAIT_FIELD(struct tick, size, krait_i32_type),
                                     KRAIT_FIELD(struct tick, price, krait_f64_type) };
    krait_error       *err = NULL;
    krait_struct      *description = krait_struct_new(members, COUNT(members), sizeof(struct tick), &err);
    krait_value        item;
    const char *const  keys[] = { "x" };
    memory             mine = { 0 };
    int                released = 0;
    (void)state;
    assert_good(err);
    array_in("C structs", krait_structs(ticks, 2, description), 0);
    krait_struct_free(description);
    count_up(block, krait_f64_type(), 4);
    item = krait_vector_f64((double *)block, 4);
    put(&mine, DATA, block, block, 32);
    measure_in("array in", "krait_owned", &mine, krait_owned(item, noted, &released), 0, NULL);
    krait_gc(NULL);
    assert_int_equal(released, 1);
    measure_in("array in", "in a list or map", &mine, krait_list(&item, 1), 0, NULL);
    measure_in("array in", "in a list or map", &mine, krait_map(keys, &item, 1), 0, NULL);
}

/* ---- results of expressions -------------------------------------------------------------------------------------- */

enum { COLUMN = 0, LEVEL = 1, KEEP_STRIDES = 2 };

/* A row of a result: the expression is evaluated in Python, `reason` says why it may be refused. */
typedef struct out_row {
    const char *what, *expression;
    int         how;
    const char *reason;
} out_row;

/* The memory of a result, array or table. */
static void put_result(memory *m, const krait_value *value, bool level, krait_error **err) {
    krait_column       column;
    krait_array        array;
    const krait_table *table;
    memset(m, 0, sizeof *m);
    switch (value->kind) {
    case KRAIT_KIND_ARRAY:
        krait_get_array(value, KRAIT_ANY, -1, &array, err);
        if (!*err) put_array(m, DATA, &array);
        break;
    case KRAIT_KIND_TABLE:
        krait_get_table(value, &table, err);
        if (level) krait_table_index(table, 0, &column, err);
        else krait_table_column(table, 0, &column, err);
        if (!*err) put_column(m, &column);
        break;
    case KRAIT_KIND_TEXT: put(m, TEXT, value->as.bytes.data, value->as.bytes.data, value->as.bytes.size); break;
    case KRAIT_KIND_BYTES: put(m, DATA, value->as.bytes.data, value->as.bytes.data, value->as.bytes.size); break;
    case KRAIT_KIND_LIST:
    case KRAIT_KIND_MAP: put_result(m, &value->as.list.items[0], level, err); break;
    default: krait_error_new(err, KRAIT_E_KIND, "a result of kind %d", value->kind);
    }
}

static void evaluate(const char *expression, int how, krait_value *out, krait_error **err) {
    krait_call_options options = KRAIT_CALL_OPTIONS_INIT;
    const krait_arg    args[] = { krait_pos(krait_str(expression)), krait_pos(krait_bool(how & LEVEL)) };
    krait_func        *func = krait_func_new("types_map:make", err);
    if (how & KEEP_STRIDES) options.flags = KRAIT_KEEP_STRIDES;
    krait_call(func, args, 2, &options, out, err);
    krait_func_unref(func);
}

/* What Python noted of the object that it returned, which it keeps no longer. */
static void put_noted(memory *m) {
    krait_error *err = NULL;
    krait_value  answer;
    call("types_map:drop", NULL, 0, &answer, &err);
    if (!err) put_answer(m, &answer, &err);
    assert_good(err);
    krait_value_clear(&answer);
}

static void measure_out(const char *way, const out_row *row) {
    krait_error *err = NULL;
    krait_value  result = krait_none();
    memory       mine, theirs;
    char         cell[WORDS];
    evaluate(row->expression, row->how, &result, &err);
    if (!err) put_result(&mine, &result, row->how & LEVEL, &err);
    if (err) {
        record_failure(way, row->what, row->reason, err);
        call("types_map:drop", NULL, 0, NULL, NULL);
    } else {
        put_noted(&theirs);
        verdict(&mine, &theirs, cell);
        record(way, row->what, cell);
    }
    krait_value_clear(&result);
}

static const out_row arrays_out[] = {
    { "bool", "np.array([True, False, True])", 0, NULL },
    { "int, uint", "np.arange(1, 4, dtype='i1')", 0, NULL },
    { "int, uint", "np.arange(1, 4, dtype='u2')", 0, NULL },
    { "int, uint", "np.arange(1, 4, dtype='i4')", 0, NULL },
    { "int, uint", "np.arange(1, 4, dtype='u8')", 0, NULL },
    { "float16", "np.arange(1, 4, dtype='f2')", 0, NULL },
    { "float32, float64", "np.arange(1, 4, dtype='f4')", 0, NULL },
    { "float32, float64", "np.arange(1, 4, dtype='f8')", 0, NULL },
    { "complex", "np.arange(1, 4, dtype='c8')", 0, NULL },
    { "complex", "np.arange(1, 4, dtype='c16')", 0, NULL },
    { "datetime64, any unit", "np.array([1, 2, 'NaT'], 'M8[D]')", 0, NULL },
    { "datetime64, any unit", "np.array([1, 2, 'NaT'], 'M8[as]')", 0, NULL },
    { "timedelta64, any unit", "np.array([1, 2, 'NaT'], 'm8[M]')", 0, NULL },
    { "timedelta64, any unit", "np.array([1, 2, 'NaT'], 'm8[ns]')", 0, NULL },
    { "datetime64[25s]", "np.array([1, 2, 'NaT'], 'M8[25s]')", 0, NULL },
    { "fixed bytes, S4", "np.array([b'ab', b'cdef'], 'S4')", 0, NULL },
    { "fixed text, U4", "np.array(['ab', 'cdef'], 'U4')", 0, NULL },
    { "records", "np.array([(1, 2.5), (2, 3.5)], 'i4,f8')", 0, NULL },
    { "0 dimensions", "np.array(2.5)", 0, NULL },
    { "empty", "np.zeros((2, 0))", 0, NULL },
    { "read-only", "np.frombuffer(b'12345678')", 0, NULL },
    { "strided", "np.arange(12.0).reshape(3, 4)[:, ::2]", 0, NULL },
    { "strided, KRAIT_KEEP_STRIDES", "np.arange(12.0).reshape(3, 4)[:, ::2]", KEEP_STRIDES, NULL },
    { "negative strides", "np.arange(4.0)[::-1]", 0, NULL },
    { "negative strides, KRAIT_KEEP_STRIDES", "np.arange(4.0)[::-1]", KEEP_STRIDES, NULL },
    { "column by column", "np.arange(6.0).reshape(2, 3).T", 0, NULL },
    { "column by column, KRAIT_KEEP_STRIDES", "np.arange(6.0).reshape(2, 3).T", KEEP_STRIDES, NULL },
    { "the other byte order", "np.arange(1, 4, dtype='>i4')", 0, NULL },
    { "the other byte order, KRAIT_KEEP_STRIDES", "np.arange(1, 4, dtype='>i4')", KEEP_STRIDES, NULL },
    { "misaligned", "odd(np.arange(3.0))", 0, NULL },
    { "misaligned, KRAIT_KEEP_STRIDES", "odd(np.arange(3.0))", KEEP_STRIDES, NULL },
    { "a subclass of ndarray", "np.asmatrix([[1.0, 2.0]])", 0, NULL },
    { "in a list or dict", "[np.arange(3.0)]", 0, NULL },
    { "in a list or dict", "{'x': np.arange(3.0)}", 0, NULL },
    { "objects, all str", "np.array(WORDS, object)", 0, NULL },
    { "StringDType", "numpy2(lambda: np.array(WORDS, np.dtypes.StringDType()))", 0, NULL },
    { "objects of mixed types", "np.array([1, 'a'], object)", 0, "mixed" },
    { "float128", "np.zeros(3, np.longdouble)", 0, "dtype" },
    { "masked array", "np.ma.masked_array([1.0, 2.0], [True, False])", 0, "masked" },
};

static const out_row values_out[] = {
    { "str, ASCII", "'x' * 20", 0, NULL },
    { "str, other characters", "'\\u20ac' * 20", 0, NULL },
    { "bytes", "b'x' * 20", 0, NULL },
    { "bytearray, memoryview", "bytearray(b'x' * 20)", 0, NULL },
    { "bytearray, memoryview", "memoryview(b'x' * 20)", 0, NULL },
};

static const out_row tensors_out[] = {
    { "an object with `__dlpack__`", "Tensor(np.arange(3.0))", 0, NULL },
    { "the same, strided", "Tensor(np.arange(6.0)[::2])", 0, NULL },
    { "the same, strided, KRAIT_KEEP_STRIDES", "Tensor(np.arange(6.0)[::2])", KEEP_STRIDES, NULL },
    { "the same, read-only", "Tensor(np.frombuffer(b'12345678'))", 0, "numpy" },
    { "the same, bool", "Tensor(np.array([True, False]))", 0, "numpy" },
};

#define MEASURE_ALL(way, list)                                                                                         \
    for (size_t i_ = 0; i_ < COUNT(list); i_++) measure_out((way), &(list)[i_])

static void arrays_out_of_python(void **state) {
    (void)state;
    MEASURE_ALL("array out", arrays_out);
    MEASURE_ALL("value out", values_out);
    MEASURE_ALL("DLPack from Python", tensors_out);
}

/* ---- results that view an argument ------------------------------------------------------------------------------- */

/* `function` answers with a view that begins `shift` bytes into the argument. */
static void measure_view(const char *way, const char *what, const char *function, krait_value value, uint32_t flags,
                         size_t shift) {
    krait_error *err = NULL;
    krait_value  result;
    memory       mine = { 0 }, theirs;
    char         cell[WORDS];
    call1(function, value, flags, &result, &err);
    if (!err) put_result(&theirs, &result, false, &err);
    assert_good(err);
    put(&mine, DATA, (const char *)block + shift, (const char *)block + shift, 32 - shift);
    verdict(&mine, &theirs, cell);
    record(way, what, cell);
    krait_value_clear(&result);
}

static void views_of_arguments(void **state) {
    krait_error *err = NULL;
    krait_table *table = krait_table_new(&err);
    krait_value  array = krait_vector_f64((double *)block, 4), frame = krait_table_value(table);
    int          released = 0;
    (void)state;
    count_up(block, krait_f64_type(), 4);
    krait_table_add(table, "x", array, NULL, &err);
    assert_good(err);
    measure_view("array out", "a view of a lent argument", "types_map:tail", array, 0, 8);
    measure_view("array out", "a view of an argument with KRAIT_ALIAS", "types_map:tail", array, KRAIT_ALIAS, 8);
    measure_view("array out", "a view of a krait_owned argument", "types_map:tail",
                 krait_owned(array, noted, &released), 0, 8);
    measure_view("table out", "a view of a lent argument", "types_map:same", frame, 0, 0);
    measure_view("table out", "a view of an argument with KRAIT_ALIAS", "types_map:same", frame, KRAIT_ALIAS, 0);
    measure_view("table out", "a view of a krait_owned argument", "types_map:same",
                 krait_owned(frame, noted, &released), 0, 0);
    for (int ms = 0; released < 2 && ms < PATIENCE_MS; ms++) {
        krait_gc(NULL);
        wait_ms(1);
    }
    assert_int_equal(released, 2);
    krait_table_free(table);
}

/* ---- results passed on ------------------------------------------------------------------------------------------- */

static void results_passed_on(void **state) {
    static const struct {
        const char *what, *expression;
    } list[] = {
        { "a result passed on: array", "np.arange(3.0)" },
        { "a result passed on: table", "pd.DataFrame({'x': [1.0, 2.0]})" },
        { "a result passed on: list, dict", "[1, [2, 3]]" },
        { "a result passed on: list, dict", "{'a': 1}" },
        { "a result passed on: any other object", "Tensor" },
        { "a result passed on: any other object", "iter([1])" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(list); i++) {
        krait_error *err = NULL;
        krait_value  result, answer;
        bool         same = false;
        evaluate(list[i].expression, 0, &result, &err);
        call1("types_map:is_kept", krait_borrow(&result), 0, &answer, &err);
        krait_get_bool(&answer, &same, &err);
        assert_good(err);
        record("value in", list[i].what, same ? "no copy" : "converted");
        krait_value_clear(&result);
        call("types_map:drop", NULL, 0, NULL, &err);
    }
}

static void texts_in(void **state) {
    static const char ascii[] = "a text of some length", other[] = "a text of some l\xc3\xa4ngth";
    memory            mine = { 0 };
    (void)state;
    put(&mine, TEXT, ascii, ascii, strlen(ascii));
    measure_in("value in", "text, ASCII", &mine, krait_str(ascii), 0, NULL);
    put(&mine, TEXT, other, other, strlen(other));
    measure_in("value in", "text, other characters", &mine, krait_str(other), 0, NULL);
    memset(&mine, 0, sizeof mine);
    put(&mine, DATA, ascii, ascii, strlen(ascii));
    measure_in("value in", "bytes", &mine, krait_bytes(ascii, strlen(ascii)), 0, NULL);
}

/* ---- host functions ---------------------------------------------------------------------------------------------- */

static size_t seen_by_host; /* address */

static krait_status host_takes(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    krait_array array;
    (void)user, (void)n, (void)out;
    krait_get_array(&args[0].value, KRAIT_ANY, -1, &array, err);
    seen_by_host = *err ? 0 : (size_t)array.data;
    return krait_error_status(*err);
}

static krait_status host_gives(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)args, (void)n, (void)err;
    *out = krait_vector_f64((double *)block, 4);
    if (user) *out = krait_owned(*out, noted, user);
    return KRAIT_OK;
}

static void host_functions(void **state) {
    krait_error    *err = NULL;
    int             released = 0;
    krait_value     result;
    memory          mine = { 0 }, theirs;
    const krait_arg takes = krait_pos(krait_str("map.takes")), gives = krait_pos(krait_str("map.gives")),
                    hands = krait_pos(krait_str("map.hands"));
    (void)state;
    krait_register("map.takes", host_takes, NULL, NULL, &err);
    krait_register("map.gives", host_gives, NULL, NULL, &err);
    krait_register("map.hands", host_gives, &released, NULL, &err);
    evaluate("np.arange(3.0)", 0, &result, &err);
    call("types_map:ask_host_kept", &takes, 1, NULL, &err);
    assert_good(err);
    put_noted(&theirs);
    record("host function", "array as argument", theirs.of[DATA].at == seen_by_host ? "no copy" : "converted");
    krait_value_clear(&result);
    count_up(block, krait_f64_type(), 4);
    put(&mine, DATA, block, block, 32);
    measure_args("host function", "array as result", &mine, "types_map:ask_host", &gives, 1, NULL);
    measure_args("host function", "array as result, krait_owned", &mine, "types_map:ask_host", &hands, 1, NULL);
    krait_unregister("map.takes", &err);
    krait_unregister("map.gives", &err);
    krait_unregister("map.hands", &err);
    assert_good(err);
}

/* ---- tables in --------------------------------------------------------------------------------------------------- */

enum { TABLE_ROWS = 4 };
static const uint8_t one_missing[] = { 0x0d }, all_there[] = { 0x0f };
static const char    text[] = "onethree\xe2\x82\xac"; /* "one", "", "three", "EUR" */
static const int32_t ends32[] = { 0, 3, 3, 8, 11 };
static const int64_t ends64[] = { 0, 3, 3, 8, 11 };

static krait_column column_of(uint8_t kind, krait_dtype dtype, const void *data) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.name = "x";
    column.kind = kind;
    column.dtype = dtype;
    column.data = data;
    column.rows = TABLE_ROWS;
    column.stride = dtype.item_size;
    return column;
}

/* Elements that count up in `block`. */
static krait_column numbers_of(krait_dtype dtype) {
    count_up(block, dtype, TABLE_ROWS);
    return column_of(KRAIT_COLUMN_ARRAY, dtype, block);
}

static krait_column texts_of(uint8_t kind, int32_t offset_bytes) {
    krait_column column = column_of(kind, krait_dtype_make_(0, 0, 0, 0), text);
    column.data_bytes = (int64_t)strlen(text);
    column.offsets = offset_bytes == 4 ? (const void *)ends32 : (const void *)ends64;
    column.offset_bytes = offset_bytes;
    return column;
}

static krait_column dates_of(void) {
    krait_column column = numbers_of(krait_i32_type());
    column.kind = KRAIT_COLUMN_DATE;
    return column;
}

static krait_column decimals_of(void) {
    krait_column column = numbers_of(krait_c128_type());
    column.kind = KRAIT_COLUMN_DECIMAL;
    column.precision = 10;
    column.scale = 2;
    return column;
}

static const int8_t three_codes[] = { 1, 0, 2, 1 };

static krait_column category_of(const krait_column *dictionary) {
    krait_column column = column_of(KRAIT_COLUMN_CATEGORY, krait_i8_type(), three_codes);
    column.dictionary = dictionary;
    return column;
}

static krait_column with_valid(krait_column column, const uint8_t *valid) {
    column.valid = valid;
    return column;
}

static krait_column in_zone(krait_column column) {
    column.zone = "Europe/Berlin";
    return column;
}

static krait_table *table_of(const krait_column *column, bool level) {
    krait_error *err = NULL;
    krait_table *table = krait_table_new(&err);
    if (level) krait_table_add_index(table, column, &err);
    else krait_table_add_column(table, column, &err);
    assert_good(err);
    return table;
}

static void column_in_with(const char *what, krait_column column, uint32_t flags, const char *reason) {
    krait_table *table = table_of(&column, false);
    memory       mine;
    put_column(&mine, &column);
    measure_in("table in", what, &mine, krait_table_value(table), flags, reason);
    krait_table_free(table);
}

static void column_in(const char *what, krait_column column) {
    column_in_with(what, column, 0, NULL);
}

static void level_in(const char *what, krait_column column) {
    krait_table *table = table_of(&column, true);
    krait_arg    arg = krait_pos(krait_table_value(table));
    memory       mine;
    put_column(&mine, &column);
    measure_args("table in", what, &mine, "types_map:level", &arg, 1, NULL);
    krait_table_free(table);
}

static void columns_in_of_numbers(void **state) {
    static const struct {
        const char *what, *missing;
        krait_dtype (*dtype)(void);
    } list[] = {
        { "bool", "bool, int, uint with validity", krait_bool_type },
        { "int, uint", "bool, int, uint with validity", krait_i8_type },
        { "int, uint", "bool, int, uint with validity", krait_u16_type },
        { "int, uint", "bool, int, uint with validity", krait_i32_type },
        { "int, uint", "bool, int, uint with validity", krait_u64_type },
        { "float16", "float16, complex with validity", krait_f16_type },
        { "float32, float64", "float32, float64 with validity", krait_f32_type },
        { "float32, float64", "float32, float64 with validity", krait_f64_type },
        { "complex", "float16, complex with validity", krait_c64_type },
        { "complex", "float16, complex with validity", krait_c128_type },
    };
    krait_column column;
    krait_dtype  big = krait_i32_type();
    (void)state;
    for (size_t i = 0; i < COUNT(list); i++) column_in(list[i].what, numbers_of(list[i].dtype()));
    for (size_t i = 0; i < COUNT(list); i++)
        column_in(list[i].missing, with_valid(numbers_of(list[i].dtype()), one_missing));
    count_up(block, krait_f64_type(), 40);
    column = column_of(KRAIT_COLUMN_ARRAY, krait_f64_type(), block);
    column.stride = 24;
    column_in("strided", column);
    column.data = block + 20;
    column.stride = -16;
    column_in("negative stride", column);
    column = column_of(KRAIT_COLUMN_ARRAY, krait_f64_type(), (char *)block + 1);
    column_in("misaligned", column);
    big.swapped = 1;
    column_in("the other byte order", column_of(KRAIT_COLUMN_ARRAY, big, block));
}

static void columns_in_of_times(void **state) {
    static const struct {
        const char *name;
        uint8_t     unit;
        int32_t     count;
    } list[] = {
        { "ns", KRAIT_NS, 1 },           { "us", KRAIT_US, 1 },
        { "ms", KRAIT_MS, 1 },           { "s", KRAIT_S, 1 },
        { "25s", KRAIT_S, 25 },          { "m, h, D, W", KRAIT_MINUTE, 1 },
        { "m, h, D, W", KRAIT_HOUR, 1 }, { "m, h, D, W", KRAIT_DAY, 1 },
        { "m, h, D, W", KRAIT_WEEK, 1 },
    };
    char what[WORDS];
    (void)state;
    for (size_t i = 0; i < COUNT(list); i++) {
        snprintf(what, sizeof what, "datetime64, timedelta64 in %s", list[i].name);
        column_in(what, numbers_of(krait_datetime(list[i].unit, list[i].count)));
        column_in(what, numbers_of(krait_timedelta(list[i].unit, list[i].count)));
    }
    column_in("datetime64 in Y, M", numbers_of(krait_datetime(KRAIT_YEAR, 1)));
    column_in("datetime64 in Y, M", numbers_of(krait_datetime(KRAIT_MONTH, 1)));
    column_in_with("timedelta64 in Y, M", numbers_of(krait_timedelta(KRAIT_YEAR, 1)), 0, "unit");
    column_in_with("datetime64, timedelta64 in ps", numbers_of(krait_datetime(KRAIT_PS, 1)), 0, "unit");
    column_in("datetime64[ns] with a zone", in_zone(numbers_of(krait_datetime(KRAIT_NS, 1))));
    column_in("datetime64[s] with a zone", in_zone(numbers_of(krait_datetime(KRAIT_S, 1))));
    column_in("datetime64[ns] with validity, one missing",
              with_valid(numbers_of(krait_datetime(KRAIT_NS, 1)), one_missing));
    column_in("datetime64[ns] with validity, none missing",
              with_valid(numbers_of(krait_datetime(KRAIT_NS, 1)), all_there));
}

static void columns_in_of_other_kinds(void **state) {
    static const int64_t numbers[] = { 10, 20, 30 };
    krait_column         words = texts_of(KRAIT_COLUMN_TEXT, 8), tens;
    (void)state;
    column_in("text, 32-bit offsets", texts_of(KRAIT_COLUMN_TEXT, 4));
    column_in("text, 64-bit offsets", words);
    column_in("text, 64-bit offsets, with validity", with_valid(words, one_missing));
    column_in("bytes", texts_of(KRAIT_COLUMN_BYTES, 8));
    column_in("dates", dates_of());
    column_in("decimals", decimals_of());
    words.rows = 3;
    words.name = "";
    tens = column_of(KRAIT_COLUMN_ARRAY, krait_i64_type(), numbers);
    tens.rows = 3;
    column_in("category of text", category_of(&words));
    column_in("category of int64", category_of(&tens));
    column_in("category with validity, one missing", with_valid(category_of(&tens), one_missing));
    column_in("category with validity, none missing", with_valid(category_of(&tens), all_there));
    column_in_with("KRAIT_WRITABLE", numbers_of(krait_f64_type()), KRAIT_WRITABLE, NULL);
    column_in_with("KRAIT_COPY", numbers_of(krait_f64_type()), KRAIT_COPY, NULL);
}

static void levels_in(void **state) {
    krait_error *err = NULL;
    krait_column level = numbers_of(krait_i64_type());
    krait_table *table = table_of(&level, true);
    krait_arg    arg = krait_pos(krait_table_value(table));
    memory       mine;
    (void)state;
    put_column(&mine, &level);
    krait_table_add_index(table, &level, &err);
    assert_good(err);
    level_in("index of int64, float64", numbers_of(krait_i64_type()));
    level_in("index of int64, float64", numbers_of(krait_f64_type()));
    level_in("index of int8 to int32, float32", numbers_of(krait_i32_type()));
    level_in("index of int8 to int32, float32", numbers_of(krait_f32_type()));
    level_in("index of datetime64[ns]", numbers_of(krait_datetime(KRAIT_NS, 1)));
    level_in("index of text, 64-bit offsets", texts_of(KRAIT_COLUMN_TEXT, 8));
    measure_args("table in", "index of several levels", &mine, "types_map:level", &arg, 1, NULL);
    krait_table_free(table);
}

static void lend_table(const char *what, krait_table *table, const memory *mine) {
    measure_in("table in", what, mine, krait_table_value(table), 0, NULL);
    krait_table_free(table);
}

/* What is built with more than a krait_column. */
static void columns_in_as_built(void **state) {
    static const bool        there[] = { true, false, true, true };
    static const char *const strings[] = { "one", NULL, "three", "four" };
    static const uint32_t    code_points[] = { 'o', 'n', 'e', 0, 0x20ac, 0, 'x', 'y' };
    static struct tick {
        char   name[8];
        double price;
    } ticks[TABLE_ROWS] = { { "ab", 1.5 }, { "c", 2.5 }, { "", 3.5 }, { "d", 4.5 } };
    const krait_member members[] = { KRAIT_FIELD(struct tick, price, krait_f64_type) },
                       names[] = { KRAIT_FIELD_CHARS(struct tick, name) };
    krait_value   valid = krait_vector_bool(there, TABLE_ROWS), item;
    krait_error  *err = NULL;
    krait_struct *prices = krait_struct_new(members, 1, sizeof(struct tick), &err);
    krait_struct *chars = krait_struct_new(names, 1, sizeof(struct tick), &err);
    krait_table  *tables[7];
    memory        mine = { 0 }, bits = { 0 };
    krait_column  column = numbers_of(krait_f64_type());
    (void)state;
    for (size_t i = 0; i < COUNT(tables); i++) tables[i] = krait_table_new(&err);
    put(&mine, DATA, block, block, 32);
    bits = mine;
    put(&bits, VALIDITY, there, there, sizeof there);
    krait_table_add(tables[0], "x", krait_vector_f64((double *)block, TABLE_ROWS), &valid, &err);
    krait_table_add(tables[1], "x", krait_vector(text, krait_fixed_bytes(2), TABLE_ROWS), NULL, &err);
    krait_table_add_strings(tables[2], "x", strings, TABLE_ROWS, &err);
    krait_table_add_structs(tables[3], krait_structs(ticks, TABLE_ROWS, prices), &err);
    krait_table_add_structs(tables[4], krait_structs(ticks, TABLE_ROWS, chars), &err);
    krait_table_add_column(tables[5], &column, &err);
    krait_table_add(tables[6], "x", krait_vector(code_points, krait_fixed_text(2), TABLE_ROWS), NULL, &err);
    assert_good(err);
    lend_table("validity as an array of bool", tables[0], &bits);
    lend_table("fixed bytes, fixed text", tables[1], &mine);
    put(&mine, DATA, code_points, code_points, sizeof code_points);
    lend_table("fixed bytes, fixed text", tables[6], &mine);
    lend_table("C strings", tables[2], &mine);
    memset(&mine, 0, sizeof mine);
    put_elements(&mine, DATA, &ticks[0].price, TABLE_ROWS, sizeof(struct tick), 8);
    lend_table("fields of C structs: numbers, times", tables[3], &mine);
    lend_table("fields of C structs: characters", tables[4], &mine);
    put(&mine, DATA, block, block, 32);
    item = krait_table_value(tables[5]);
    measure_in("table in", "in a list or map", &mine, krait_list(&item, 1), 0, NULL);
    krait_table_free(tables[5]);
    krait_struct_free(prices);
    krait_struct_free(chars);
}

/* ---- tables out -------------------------------------------------------------------------------------------------- */

static const out_row frames_out[] = {
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': [True, False]})", 0, NULL },
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': np.arange(3, dtype='i4')})", 0, NULL },
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': np.arange(3, dtype='u8')})", 0, NULL },
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': np.arange(3, dtype='f2')})", 0, NULL },
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': [1.0, np.nan]})", 0, NULL },
    { "DataFrame: bool, int, uint, float, complex", "pd.DataFrame({'x': [1j, 2j]})", 0, NULL },
    { "DataFrame over one 2-D array", "pd.DataFrame(np.arange(6.0).reshape(3, 2))", 0, NULL },
    { "DataFrame: datetime64, timedelta64", "pd.DataFrame({'x': np.array([1, 2, 'NaT'], 'M8[ns]')})", 0, NULL },
    { "DataFrame: datetime64, timedelta64", "pd.DataFrame({'x': np.array([1, 2, 'NaT'], 'M8[s]')})", 0, NULL },
    { "DataFrame: datetime64, timedelta64", "pd.DataFrame({'x': np.array([1, 2, 'NaT'], 'm8[ms]')})", 0, NULL },
    { "DataFrame: datetime64 with a zone", "pd.DataFrame({'x': pd.date_range('2024', periods=3, tz='Europe/Berlin')})",
      0, NULL },
    { "DataFrame: Int64, Float64, boolean", "pd.DataFrame({'x': pd.array([1, None], 'Int64')})", 0, NULL },
    { "DataFrame: Int64, Float64, boolean", "pd.DataFrame({'x': pd.array([1.5, None], 'Float64')})", 0, NULL },
    { "DataFrame: Int64, Float64, boolean", "pd.DataFrame({'x': pd.array([True, None], 'boolean')})", 0, NULL },
    { "DataFrame: category of text", "pd.DataFrame({'x': pd.Categorical(['a', 'b', 'a'])})", 0, NULL },
    { "DataFrame: category of numbers", "pd.DataFrame({'x': pd.Categorical([10, 20, 10])})", 0, NULL },
    { "DataFrame: category of numbers, one missing", "pd.DataFrame({'x': pd.Categorical([10, 20, None])})", 0, NULL },
    { "DataFrame: objects, all str or missing", "pd.DataFrame({'x': pd.Series(['a', None, 'b'], dtype=object)})", 0,
      NULL },
    { "DataFrame: objects, all Decimal or missing", "pd.DataFrame({'x': [decimal.Decimal('1.5'), None]})", 0, NULL },
    { "DataFrame: objects, all date or missing", "pd.DataFrame({'x': [day, None]})", 0, NULL },
    { "DataFrame: objects, all bool or missing", "pd.DataFrame({'x': pd.Series([True, None], dtype=object)})", 0,
      NULL },
    { "DataFrame: objects of mixed types", "pd.DataFrame({'x': [1, 'a']})", 0, "mixed" },
    { "DataFrame: objects, bytes", "pd.DataFrame({'x': [b'a', b'b']})", 0, "bytes" },
    { "DataFrame: str, kept as objects", "texts('python')", 0, NULL },
    { "DataFrame: str, kept by pyarrow", "texts('pyarrow')", 0, NULL },
    { "DataFrame: str, kept by pyarrow, a slice", "texts('pyarrow', words=WORDS * 9)[13:20]", 0, NULL },
    { "DataFrame: str, kept by pyarrow, one missing", "texts('pyarrow', words=['a', None])", 0, NULL },
    { "DataFrame: str, kept by pyarrow, two chunks", "pd.concat([texts('pyarrow')] * 2)", 0, NULL },
    { "DataFrame: string with pandas.NA, kept as objects", "texts('python', pd.NA)", 0, NULL },
    { "DataFrame: string with pandas.NA, kept by pyarrow", "texts('pyarrow', pd.NA)", 0, NULL },
    { "DataFrame: ArrowDtype, numbers, times", "arrow_dtype(pa.array([1, 2, None]))", 0, NULL },
    { "DataFrame: ArrowDtype, numbers, times", "arrow_dtype(pa.array([1.5, 2, None]))", 0, NULL },
    { "DataFrame: ArrowDtype, numbers, times", "arrow_dtype(pa.array([1, 2, None], pa.timestamp('us', 'UTC')))", 0,
      NULL },
    { "DataFrame: ArrowDtype, bool", "arrow_dtype(pa.array([True, False, True]))", 0, NULL },
    { "DataFrame: ArrowDtype, text", "arrow_dtype(pa.array(WORDS))", 0, NULL },
    { "DataFrame: ArrowDtype, decimal128, date32", "arrow_dtype(pa.array([decimal.Decimal('1.5')]))", 0, NULL },
    { "DataFrame: ArrowDtype, decimal128, date32", "arrow_dtype(pa.array([day]))", 0, NULL },
    { "DataFrame: ArrowDtype, lists, structs", "arrow_dtype(pa.array([[1], [2]]))", 0, "nested" },
    { "DataFrame: period, interval, sparse", "pd.DataFrame({'x': pd.period_range('2024', periods=2, freq='D')})", 0,
      "dtype" },
    { "DataFrame: period, interval, sparse", "pd.DataFrame({'x': pd.interval_range(0, 2)})", 0, "dtype" },
    { "DataFrame: period, interval, sparse", "pd.DataFrame({'x': pd.arrays.SparseArray([0.0, 1.0])})", 0, "dtype" },
    { "DataFrame: index of numbers, times", "pd.DataFrame({'x': [1, 2]}, index=np.array([5, 7]))", LEVEL, NULL },
    { "DataFrame: index of numbers, times", "pd.DataFrame({'x': [1, 2]}, index=np.array([5, 7], 'M8[ns]'))", LEVEL,
      NULL },
    { "DataFrame: MultiIndex", "pd.DataFrame({'x': [1]}, index=pd.MultiIndex.from_tuples([(5, 7)]))", LEVEL, NULL },
    { "Series of numbers", "pd.Series([1.5, 2.5])", 0, NULL },
    { "Index of numbers", "pd.Index([1.5, 2.5])", 0, NULL },
    { "RangeIndex", "pd.RangeIndex(3, 9, 2)", 0, NULL },
    { "array of pandas", "pd.array([1, 2], 'Int32')", 0, NULL },
};

static const out_row arrow_out[] = {
    { "Table, one chunk: numbers, times", "pa.table({'x': [1.5, 2.5]})", 0, NULL },
    { "Table, one chunk: numbers, times", "pa.table({'x': pa.array([1, None, 2], 'int16')})", 0, NULL },
    { "Table, one chunk: numbers, times", "pa.table({'x': pa.array([1, None], pa.duration('ms'))})", 0, NULL },
    { "Table, one chunk: bool", "pa.table({'x': [True, False, True]})", 0, NULL },
    { "Table, one chunk: string, large_string, binary", "pa.table({'x': WORDS})", 0, NULL },
    { "Table, one chunk: string, large_string, binary", "pa.table({'x': pa.array(WORDS, 'large_string')})", 0, NULL },
    { "Table, one chunk: string, large_string, binary", "pa.table({'x': [b'a', None, b'b']})", 0, NULL },
    { "Table, one chunk: string_view", "pa.table({'x': pa.array(WORDS, pa.string_view())})", 0, NULL },
    { "Table, one chunk: dictionary", "pa.table({'x': pa.array(['a', 'b', 'a']).dictionary_encode()})", 0, NULL },
    { "Table, one chunk: decimal128, date32", "pa.table({'x': [decimal.Decimal('1.50')]})", 0, NULL },
    { "Table, one chunk: decimal128, date32", "pa.table({'x': [day, None]})", 0, NULL },
    { "Table, one chunk: lists, structs, maps", "pa.table({'x': [[1], [2]]})", 0, "nested" },
    { "Table, a slice", "pa.table({'x': list(range(40))}).slice(13, 9)", 0, NULL },
    { "Table, a slice, one missing", "pa.table({'x': [*range(20), None, *range(20)]}).slice(13, 9)", 0, NULL },
    { "Table, several chunks: numbers", "chunks(pa.array([1, 2]), pa.array([3]))", 0, NULL },
    { "Table, several chunks: text", "chunks(pa.array(WORDS), pa.array(['x', None]))", 0, NULL },
    { "RecordBatch: numbers", "pa.record_batch({'x': [1.5, 2.5]})", 0, NULL },
    { "Array of numbers", "pa.array([1.5, 2.5])", 0, NULL },
    { "any object with `__arrow_c_stream__`", "Stream(pa.table({'x': [1.5, 2.5]}))", 0, NULL },
};

static const out_row polars_out[] = {
    { "DataFrame: numbers, times", "pl.DataFrame({'x': [1.5, 2.5]})", 0, NULL },
    { "DataFrame: numbers, times", "pl.DataFrame({'x': [datetime.datetime(2024, 1, 1)]})", 0, NULL },
    { "DataFrame: bool", "pl.DataFrame({'x': [True, False]})", 0, NULL },
    { "DataFrame: text", "pl.DataFrame({'x': WORDS})", 0, NULL },
    { "DataFrame, several chunks", "frames([1, 2], [3])", 0, NULL },
    { "Series of numbers", "pl.Series([1.5, 2.5])", 0, NULL },
};

static void tables_out_of_python(void **state) {
    (void)state;
    MEASURE_ALL("table out", frames_out);
    MEASURE_ALL("pyarrow out", arrow_out);
    MEASURE_ALL("polars out", polars_out);
}

/* ---- the Arrow C data interface ---------------------------------------------------------------------------------- */

/* The memory of an array, by the format that it says it has; `item`: bytes of an element, where that tells no other. */
static void put_exported(memory *m, const struct ArrowSchema *schema, const struct ArrowArray *array, size_t item) {
    const char *format = schema->format;
    memset(m, 0, sizeof *m);
    if (!strcmp(format, "tdD")) item = 4; /* dates, whatever they were made of */
    if (array->buffers[0]) put_bits(m, array->buffers[0], array->offset, array->length);
    if (strchr("uUzZ", *format) && !format[1]) {
        int32_t wide = *format == 'U' || *format == 'Z' ? 8 : 4;
        put_texts(m, (const char *)array->buffers[1] + array->offset * wide, wide, array->buffers[2], array->length);
    } else if (*format == 'w') put_elements(m, TEXT, array->buffers[1], array->length, (int64_t)item, item);
    else if (*format == 'b') put(m, DATA, array->buffers[1], array->buffers[1], (size_t)(array->length + 7) / 8);
    else
        put_elements(m, schema->dictionary ? CODES : DATA,
                     (const char *)array->buffers[1] + array->offset * (int64_t)item, array->length, (int64_t)item,
                     item);
    if (schema->dictionary) {
        memory dictionary;
        put_exported(&dictionary, schema->dictionary, array->dictionary, 8);
        m->of[CATEGORIES] = dictionary.of[dictionary.of[TEXT].there ? TEXT : DATA];
    }
}

static void exported(const char *what, krait_column column, const char *reason) {
    krait_error       *err = NULL;
    krait_table       *table = table_of(&column, false);
    struct ArrowSchema schema;
    struct ArrowArray  array;
    memory             mine, theirs;
    char               cell[WORDS];
    krait_arrow_export(table, &schema, &array, &err);
    krait_table_free(table);
    if (err) {
        record_failure("Arrow export", what, reason, err);
        return;
    }
    put_column(&mine, &column);
    put_exported(&theirs, schema.children[0], array.children[0], item_of(&column));
    verdict(&mine, &theirs, cell);
    record("Arrow export", what, cell);
    schema.release(&schema);
    array.release(&array);
}

static void arrow_exports(void **state) {
    krait_column words = texts_of(KRAIT_COLUMN_TEXT, 4), strided = numbers_of(krait_f64_type());
    krait_dtype  big = krait_i32_type();
    (void)state;
    words.rows = 3;
    strided.stride = 16;
    big.swapped = 1;
#define PLAIN(NAME, name, code, type, bytes, text)                                                                     \
    if (code != KRAIT_BOOL && code < KRAIT_C64) exported("int, uint, float", numbers_of(krait_##name##_type()), NULL);
    KRAIT_DTYPE_MAP(PLAIN)
#undef PLAIN
    exported("int, uint, float with validity", with_valid(numbers_of(krait_f64_type()), one_missing), NULL);
    exported("bool", numbers_of(krait_bool_type()), NULL);
    exported("complex", numbers_of(krait_c128_type()), "dtype");
    for (uint8_t unit = KRAIT_S; unit <= KRAIT_NS; unit++) {
        exported("datetime64, timedelta64 in s, ms, us, ns", numbers_of(krait_datetime(unit, 1)), NULL);
        exported("datetime64, timedelta64 in s, ms, us, ns", numbers_of(krait_timedelta(unit, 1)), NULL);
    }
    exported("datetime64[ns] with a zone", in_zone(numbers_of(krait_datetime(KRAIT_NS, 1))), NULL);
    exported("datetime64[D]", numbers_of(krait_datetime(KRAIT_DAY, 1)), "unit");
    exported("datetime64[25s]", numbers_of(krait_datetime(KRAIT_S, 25)), "unit");
    exported("text, bytes", texts_of(KRAIT_COLUMN_TEXT, 4), NULL);
    exported("text, bytes", texts_of(KRAIT_COLUMN_BYTES, 8), NULL);
    exported("dates, decimals", dates_of(), NULL);
    exported("dates, decimals", decimals_of(), NULL);
    exported("category", category_of(&words), NULL);
    count_up(block, krait_f64_type(), 16);
    exported("strided", strided, NULL);
    exported("the other byte order", column_of(KRAIT_COLUMN_ARRAY, big, block), NULL);
}

/* Formats that are read: what buffer 1 and 2 hold, and how much of it. */
static const struct import_row {
    const char *what, *format;
    size_t      item; /* of an element in buffer 1; 0: bits */
    bool        texts;
    const char *reason;
} imports[] = {
    { "int, uint, float, date32, decimal128", "c", 1, false, NULL },
    { "int, uint, float, date32, decimal128", "S", 2, false, NULL },
    { "int, uint, float, date32, decimal128", "i", 4, false, NULL },
    { "int, uint, float, date32, decimal128", "L", 8, false, NULL },
    { "int, uint, float, date32, decimal128", "e", 2, false, NULL },
    { "int, uint, float, date32, decimal128", "g", 8, false, NULL },
    { "int, uint, float, date32, decimal128", "tdD", 4, false, NULL },
    { "int, uint, float, date32, decimal128", "d:10,2", 16, false, NULL },
    { "bool", "b", 0, false, NULL },
    { "timestamp, duration, date64", "tsu:", 8, false, NULL },
    { "timestamp, duration, date64", "tsn:Europe/Berlin", 8, false, NULL },
    { "timestamp, duration, date64", "tDs", 8, false, NULL },
    { "timestamp, duration, date64", "tdm", 8, false, NULL },
    { "string, large string, binary, large binary", "u", 4, true, NULL },
    { "string, large string, binary, large binary", "U", 8, true, NULL },
    { "string, large string, binary, large binary", "Z", 8, true, NULL },
    { "binary of a fixed size", "w:4", 4, false, NULL },
    { "time of day", "ttm", 4, false, "type" },
};

/* Buffers as the row says; with two rows before the first. Validity too where `missing`. */
static struct ArrowArray *foreign(const struct import_row *row, bool missing) {
    struct ArrowArray *array = make_array(TABLE_ROWS, 0, missing ? 1 : 0, row->texts ? 3 : 2);
    count_up(block, krait_dtype_make_(KRAIT_I64, 0, (uint32_t)(row->item ? row->item : 1), 0), TABLE_ROWS);
    if (missing) set_bits(array, 0, "1011");
    if (row->texts) {
        set_buffer(array, 1, row->item == 4 ? (const void *)ends32 : (const void *)ends64, 5 * row->item);
        set_buffer(array, 2, text, strlen(text));
    } else set_buffer(array, 1, block, row->item ? TABLE_ROWS * row->item : 1);
    return array;
}

static void imported(const char *what, struct ArrowSchema *schema, struct ArrowArray *array, size_t item,
                     const char *reason) {
    krait_error *err = NULL;
    krait_table *table = NULL;
    krait_column column;
    memory       mine, theirs;
    char         cell[WORDS];
    put_exported(&theirs, schema, array, item);
    krait_arrow_import(schema, array, &table, &err);
    assert_good(err);
    krait_table_column(table, 0, &column, &err);
    if (err) record_failure("Arrow import", what, reason, err);
    else {
        put_column(&mine, &column);
        verdict(&mine, &theirs, cell);
        record("Arrow import", what, cell);
    }
    krait_table_free(table);
    drop(schema, array);
}

static void arrow_imports(void **state) {
    const struct import_row coded = { "dictionary", "c", 1, false, NULL }, words = { "", "u", 4, true, NULL };
    struct ArrowSchema     *schema;
    struct ArrowArray      *array;
    (void)state;
    for (size_t i = 0; i < COUNT(imports); i++)
        imported(imports[i].what, make_schema(imports[i].format, "x"), foreign(&imports[i], false), imports[i].item,
                 imports[i].reason);
    imported("int64 with validity", make_schema("l", "x"),
             foreign(&(struct import_row){ "", "l", 8, false, NULL }, true), 8, NULL);
    schema = make_schema("c", "x");
    schema->dictionary = make_schema("u", "");
    array = foreign(&coded, false);
    set_buffer(array, 1, three_codes, sizeof three_codes);
    array->dictionary = foreign(&words, false);
    imported("dictionary", schema, array, 1, NULL);
}

/* ---- DLPack in C ------------------------------------------------------------------------------------------------- */

/* As DLPack has it (dmlc/dlpack, dlpack.h): what comes before the data pointer of the two structs. */
struct DLManagedTensor {
    void *data;
};
struct DLManagedTensorVersioned {
    uint32_t major, minor;
    void    *manager;
    void (*deleter)(void *);
    uint64_t flags;
    void    *data;
};

static void tensor_row(const char *what, krait_value *value, bool versioned, const void *data, const char *reason) {
    krait_error *err = NULL;
    krait_value  back;
    krait_array  array;
    void        *tensor = NULL, *at;
    krait_dlpack_export(value, versioned, &tensor, &err);
    if (err) {
        record_failure("DLPack export", what, reason, err);
        return;
    }
    at = versioned ? ((struct DLManagedTensorVersioned *)tensor)->data : ((struct DLManagedTensor *)tensor)->data;
    record("DLPack export", what, at == data ? "no copy" : "converted");
    krait_dlpack_import(tensor, versioned, &back, &err);
    krait_get_array(&back, KRAIT_ANY, -1, &array, &err);
    assert_good(err);
    record("DLPack import", "bool, int, uint, float, complex", array.data == at ? "no copy" : "converted");
    krait_value_clear(&back);
}

static void tensors(void **state) {
    krait_error *err = NULL;
    krait_value  value;
    krait_dtype  big = krait_i32_type();
    const void  *data;
    (void)state;
    big.swapped = 1;
    count_up(block, krait_f64_type(), 8);
#define TENSOR(NAME, name, code, type, bytes, text)                                                                    \
    value = krait_vector(block, krait_##name##_type(), 4);                                                             \
    value.as.array.flags |= KRAIT_ARRAY_WRITABLE;                                                                      \
    tensor_row("bool, int, uint, float, complex", &value, false, block, NULL);                                         \
    tensor_row("bool, int, uint, float, complex", &value, true, block, NULL);
    KRAIT_DTYPE_MAP(TENSOR)
#undef TENSOR
    value = krait_vector(block, krait_datetime(KRAIT_NS, 1), 4);
    tensor_row("times, text, records", &value, true, block, "dtype");
    value = krait_vector(block, big, 4);
    tensor_row("the other byte order", &value, true, block, "order");
    evaluate("np.arange(3.0)", 0, &value, &err);
    assert_good(err);
    data = value.as.array.data;
    tensor_row("a result", &value, true, data, NULL);
    krait_value_clear(&value);
    call("types_map:drop", NULL, 0, NULL, &err);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static void the_page_says_so(void **state) {
    static krait_value triples[ROWS_MAX][3], list[ROWS_MAX];
    const char        *path = getenv("KRAIT_TEST_TYPES"), *anew = getenv("KRAIT_WRITE_TYPES"), *wrong = "";
    krait_arg          args[3];
    krait_error       *err = NULL;
    krait_value        answer;
    char              *message = NULL;
    (void)state;
    for (size_t i = 0; i < row_count; i++) {
        triples[i][0] = krait_str(rows[i].way);
        triples[i][1] = krait_str(rows[i].what);
        triples[i][2] = krait_str(rows[i].cell);
        list[i] = krait_list(triples[i], 3);
    }
    args[0] = krait_pos(krait_str(path && *path ? path : "docs/types.md"));
    args[1] = krait_pos(krait_list(list, row_count));
    args[2] = krait_pos(krait_bool(anew && *anew));
    call("types_map:page", args, 3, &answer, &err);
    krait_get_text(&answer, &wrong, NULL, &err);
    assert_good(err);
    if (*wrong) message = strdup(wrong);
    krait_value_clear(&answer);
    if (message) fail_msg("%s\nKRAIT_WRITE_TYPES=1 build/integration/test_map writes what was measured", message);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed && getenv("KRAIT_TEST_HIDE_PYARROW")) define("hide", hide);
    if (!failed) define("types_map", module);
    return failed;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_in),
        cmocka_unit_test(results_passed_on),
        cmocka_unit_test(arrays_in_by_dtype),
        cmocka_unit_test(arrays_in_by_layout),
        cmocka_unit_test(arrays_in_otherwise),
        cmocka_unit_test(arrays_out_of_python),
        cmocka_unit_test(columns_in_of_numbers),
        cmocka_unit_test(columns_in_of_times),
        cmocka_unit_test(columns_in_of_other_kinds),
        cmocka_unit_test(columns_in_as_built),
        cmocka_unit_test(levels_in),
        cmocka_unit_test(tables_out_of_python),
        cmocka_unit_test(views_of_arguments),
        cmocka_unit_test(host_functions),
        cmocka_unit_test(arrow_exports),
        cmocka_unit_test(arrow_imports),
        cmocka_unit_test(tensors),
        cmocka_unit_test(the_page_says_so),
    };
    const struct CMUnitTest both[] = { cmocka_unit_test(without_pyarrow) };
    bool                    second = getenv("KRAIT_TEST_HIDE_PYARROW") != NULL;
    int                     failed;
    (void)argc;
    if (!second) run_without_pyarrow(argv);
    failed = cmocka_run_group_tests(tests, set_up, NULL);
    if (!second) failed += cmocka_run_group_tests(both, NULL, NULL);
    return failed;
}
