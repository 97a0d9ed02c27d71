/* Tables as results: what each kind of DataFrame, Series, Index and Arrow data becomes, that it lies in the memory it
 * had in Python, and what happens when that was lent. Everything runs a second time, in a process of its own, where
 * pyarrow cannot be imported. */
#include "hidden.h"

#include <math.h>
#include <pthread.h>

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

static const char module[] =
    "import datetime, decimal, gc, sys, warnings\n"
    "import numpy as np\n"
    "import pandas as pd\n"
    "from decimal import Decimal\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = None\n"
    "try:\n"
    "    import polars as pl\n"
    "except ImportError:\n"
    "    pl = None\n"
    "warnings.simplefilter('ignore')\n"
    "MAJOR = int(pd.__version__.split('.')[0])\n"
    "NUMPY = int(np.__version__.split('.')[0])\n"
    "def has(what):\n"
    "    return {'arrow': pa is not None, 'polars': pl is not None and pa is not None, 'numpy 2': NUMPY >= 2,\n"
    "            'arrow dtype': pa is not None and MAJOR >= 2, 'pandas 2': MAJOR >= 2, 'pandas 1': MAJOR < 2,\n"
    "            'arrow text': pa is not None and MAJOR >= 3}[what]\n"
    "def make(expression, a=None, b=None):\n"
    "    return eval(expression, dict(globals(), a=a, b=b))\n"
    "def make_list(expression, a=None):\n"
    "    return [make(expression, a)]\n"
    "def at(array):\n"
    "    return array.__array_interface__['data'][0]\n"
    "def chunk(series, buffer):\n"
    "    one = series.array.__arrow_array__().chunk(0)\n"
    "    return one.buffers()[buffer].address\n"
    "def with_facts(expression, facts):\n"
    "    value = make(expression)\n"
    "    return [value, eval(facts, dict(globals(), v=value))]\n"
    "kept = []\n"
    "def keep(expression, a=None):\n"
    "    kept[:] = [make(expression, a)]\n"
    "    return kept[0]\n"
    "def is_kept(x):\n"
    "    return x is kept[0]\n"
    "def equals_kept(x):\n"
    "    want = kept[0]\n"
    "    pd.testing.assert_frame_equal(x, want.to_frame() if isinstance(want, pd.Series) else want)\n"
    "    return x is not want\n"
    "def forget():\n"
    "    kept.clear()\n"
    "def dtype_of(expression):\n"
    "    return str(make(expression).dtype)\n"
    /* things that are no good tables */
    "class NoCapsule:\n"
    "    def __arrow_c_stream__(self, requested_schema=None): return 42\n"
    "class Raises:\n"
    "    def __arrow_c_stream__(self, requested_schema=None): raise ValueError('no stream today')\n"
    "class OtherCapsule:\n"
    "    def __arrow_c_stream__(self, requested_schema=None): return pa.array([1]).__arrow_c_array__()[1]\n"
    "class OneArray:\n"
    "    def __init__(self, array): self.array = array\n"
    "    def __arrow_c_array__(self, requested_schema=None): return self.array.__arrow_c_array__()\n"
    "class Used:\n"
    "    def __init__(self): self.capsule = pa.table({'a': [1]}).__arrow_c_stream__()\n"
    "    def __arrow_c_stream__(self, requested_schema=None): return self.capsule\n"
    "class BadLabel:\n"
    "    def __str__(self): raise ValueError('no name today')\n"
    "class Masked(pd.api.extensions.ExtensionArray):\n"
    "    dtype = pd.api.types.pandas_dtype('f8')\n"
    "    def __len__(self): return 2\n"
    /* as lib/frame_out.c should see it, told by pandas */
    "def number(x):\n"
    "    if isinstance(x, (bool, np.bool_)): return str(int(x))\n"
    "    if isinstance(x, (complex, np.complexfloating)): return f'({number(x.real)},{number(x.imag)})'\n"
    "    return format(float(x), '.17g') if isinstance(x, (float, np.floating)) else str(int(x))\n"
    "def objects(s):\n"
    "    values = [None if pd.isna(x) else x for x in s.array]\n"
    "    there = [x for x in values if x is not None]\n"
    "    first = there[0] if there else ''\n"
    "    if isinstance(first, str): return 'text', [x if x is None else repr_of(x) for x in values]\n"
    "    if isinstance(first, (bool, np.bool_)): return 'bool', [x if x is None else number(x) for x in values]\n"
    "    if isinstance(first, datetime.date):\n"
    "        return 'date', [x if x is None else str(x.toordinal() - 719163) for x in values]\n"
    "    scale = max(max(-x.as_tuple().exponent, 0) for x in there)\n"
    "    digits = max(max(max(x.adjusted() + 1, 0) if x else 0 for x in there) + scale, 1)\n"
    "    return f'decimal({digits},{scale})', [x if x is None else str(int(x.scaleb(scale))) for x in values]\n"
    "def repr_of(text):\n"
    "    return f\"'{text}'\"\n"
    "def times(values, zone=''):\n"
    "    values = values.to_numpy()\n"
    "    ticks = ['NaT' if x == np.iinfo('i8').min else str(x) for x in values.view('i8')]\n"
    "    return f'{values.dtype.name}{zone}', ticks\n"
    "def arrow(s):\n"
    "    kind, values = s.dtype.pyarrow_dtype, [None if pd.isna(x) else x for x in s]\n"
    "    if pa.types.is_timestamp(kind):\n"
    "        ticks = s.array.__arrow_array__().cast('int64').to_pylist()\n"
    "        return f'datetime64[{kind.unit}]' + (f'@{kind.tz}' if kind.tz else ''), [x if x is None else str(x) for x "
    "in ticks]\n"
    "    if pa.types.is_date(kind):\n"
    "        return 'date', [x if x is None else str(x.toordinal() - 719163) for x in values]\n"
    "    if pa.types.is_decimal(kind):\n"
    "        name = f'decimal({kind.precision},{kind.scale})'\n"
    "        return name, [x if x is None else str(int(x.scaleb(kind.scale))) for x in values]\n"
    "    if pa.types.is_string(kind) or pa.types.is_large_string(kind):\n"
    "        return 'text', [x if x is None else repr_of(x) for x in values]\n"
    "    return kind.to_pandas_dtype().__name__.rstrip('_'), [x if x is None else number(x) for x in values]\n"
    "def told(s):\n"
    "    'Type and values of a Series.'\n"
    "    d = s.dtype\n"
    "    if isinstance(d, np.dtype):\n"
    "        if d.kind in 'mM': return times(s)\n"
    "        return objects(s) if d.kind == 'O' else (d.name, [number(x) for x in s.to_numpy()])\n"
    "    if isinstance(d, pd.DatetimeTZDtype):\n"
    "        return times(s.dt.tz_convert('UTC').dt.tz_localize(None), f'@{d.tz}')\n"
    "    if isinstance(d, pd.CategoricalDtype):\n"
    "        name, values = told(pd.Series(d.categories))\n"
    "        codes = [None if x < 0 else values[x] for x in s.cat.codes]\n"
    "        return f\"{'ordered' if d.ordered else 'category'}<{name} {{{' '.join(values)}}}>\", codes\n"
    "    if isinstance(d, pd.StringDtype):\n"
    "        return 'text', [None if pd.isna(x) else repr_of(x) for x in s]\n"
    "    if hasattr(d, 'pyarrow_dtype'): return arrow(s)\n"
    "    return d.numpy_dtype.name, [None if x is pd.NA else number(x) for x in s.array]\n"
    "def line(what, name, s):\n"
    "    kind, values = told(s)\n"
    "    return f\"{what} '{name}' {kind}:\" + ''.join(' ' + ('_' if x is None else x) for x in values) + '\\n'\n"
    "def label(x):\n"
    "    return str(tuple(str(i) for i in x)) if isinstance(x, tuple) else str(x)\n"
    "def expected(df):\n"
    "    lines, index = [], df.index\n"
    "    named = any(name is not None for name in index.names)\n"
    "    if named or not pd.api.types.is_integer_dtype(index.dtype) or list(index) != list(range(len(df))):\n"
    "        for i, name in enumerate(index.names):\n"
    "            lines.append(line('index', name or '', pd.Series(index.get_level_values(i))))\n"
    "    for i, name in enumerate(df.columns):\n"
    "        lines.append(line('column', label(name), df.iloc[:, i]))\n"
    "    return ''.join(lines)\n"
    /* random frames */
    "def random_column(r, n):\n"
    "    missing = r.random(n) < r.choice([0, .3, 1], p=[.4, .5, .1])\n"
    "    ints, words = r.integers(-100, 100, n), np.array(['', 'x', 'caf\\u00e9', 'long enough to be told apart', "
    "'\\u65e5'])\n"
    "    texts = [None if m else str(w) for m, w in zip(missing, r.choice(words, n))]\n"
    "    unit = r.choice(['s', 'ms', 'us', 'ns']) if MAJOR >= 2 else 'ns'\n"
    "    ticks = np.where(missing, np.iinfo('i8').min, r.integers(-10**9, 10**9, n))\n"
    "    nullable = lambda kind, values: pd.array([pd.NA if m else v for m, v in zip(missing, values.tolist())], "
    "dtype=kind)\n"
    "    strided = lambda values: np.repeat(values, 3)[::3] if r.random() < .5 else values\n"
    "    ways = [\n"
    "        lambda: strided(ints.astype(r.choice(['i1', 'i2', 'i4', 'i8', '>i4']))),\n"
    "        lambda: strided(abs(ints).astype(r.choice(['u1', 'u2', 'u4', 'u8']))),\n"
    "        lambda: strided(np.where(missing, np.nan, r.random(n)).astype(r.choice(['f4', 'f8', '>f8']))),\n"
    "        lambda: (ints + 1j * ints).astype(r.choice(['c8', 'c16'])),\n"
    "        lambda: ints > 0,\n"
    "        lambda: strided(ticks).view(f'M8[{unit}]'),\n"
    "        lambda: ticks.view(f'm8[{unit}]'),\n"
    "        lambda: "
    "pd.Series(ticks.view(f'M8[{unit}]')).dt.tz_localize('UTC').dt.tz_convert(r.choice(['Europe/Berlin', "
    "'UTC'])).array,\n"
    "        lambda: nullable(r.choice(['Int8', 'Int64', 'Float64']), ints),\n"
    "        lambda: nullable('UInt16', abs(ints)),\n"
    "        lambda: nullable('boolean', ints > 0),\n"
    "        lambda: np.array(texts + [0], dtype=object)[:n],\n"
    "        lambda: pd.array(texts, dtype='string[python]'),\n"
    "        lambda: pd.Series(texts, dtype='str' if MAJOR >= 3 else 'string').array,\n"
    "        lambda: pd.Categorical(texts, ordered=bool(r.random() < .5)),\n"
    "        lambda: pd.Categorical.from_codes(np.where(missing, -1, abs(ints) % 3), pd.Index([30, 20, 10])),\n"
    "        lambda: pd.Categorical.from_codes(np.where(missing, -1, abs(ints) % 2), pd.DatetimeIndex(['2024-01-01', "
    "'2020-01-01'])),\n"
    "        lambda: np.array([None if m else Decimal(int(v)).scaleb(int(e)) for m, v, e in zip(missing, ints, "
    "r.integers(-3, 3, n))] + [0], object)[:n],\n"
    "        lambda: np.array([None if m else datetime.date(2000 + int(v) // 2, 3, 1) for m, v in zip(missing, ints)] "
    "+ [0], object)[:n],\n"
    "        lambda: np.array([np.nan if m else bool(v > 0) for m, v in zip(missing, ints)] + [0], object)[:n],\n"
    "    ]\n"
    "    if pa is not None and MAJOR >= 2:\n"
    "        of_arrow = lambda kind, values: pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, kind, "
    "mask=missing)]))\n"
    "        ways += [\n"
    "            lambda: of_arrow(pa.int32(), ints),\n"
    "            lambda: of_arrow(pa.bool_(), ints > 0),\n"
    "            lambda: of_arrow(pa.timestamp(str(unit), 'Europe/Berlin'), ticks),\n"
    "            lambda: of_arrow(pa.date32(), ints.astype('i4')),\n"
    "            lambda: of_arrow(pa.decimal128(9, 2), np.array([Decimal(int(v)) for v in ints] + [0], object)[:n]),\n"
    "            lambda: pd.array(texts, dtype='string[pyarrow]'),\n"
    "            lambda: pd.Series(pd.concat([pd.Series(texts[:n // 2], dtype='string[pyarrow]'), pd.Series(texts[n // "
    "2:], dtype='string[pyarrow]')])).array,\n"
    "        ]\n"
    "    return ways[int(r.integers(len(ways)))]()\n"
    "def random_index(r, n):\n"
    "    texts = lambda: pd.Index(np.array([f'key {i}' for i in range(n)] + [0], object)[:n], name='texts')\n"
    "    ints = lambda: pd.Index(r.integers(0, 50, n), name='ints')\n"
    "    return [lambda: pd.RangeIndex(n), lambda: pd.Index(np.arange(n)), texts, ints, lambda: pd.RangeIndex(3, 3 + 2 "
    "* n, 2),\n"
    "            lambda: pd.MultiIndex.from_arrays([ints(), texts()], names=['k', None]),\n"
    "            lambda: pd.date_range('2024-01-01', periods=n, name='when'), lambda: "
    "pd.CategoricalIndex(texts())][int(r.integers(8))]()\n"
    "def random_frame(seed):\n"
    "    r = np.random.default_rng(seed)\n"
    "    n = int(r.choice([0, 1, 7, 8, 9, 40]))\n"
    "    columns = [random_column(r, n) for i in range(int(r.integers(0, 6)))]\n"
    "    df = pd.DataFrame(dict(enumerate(columns)), index=None if columns else range(n), copy=bool(r.random() < .5))\n"
    "    df.index = random_index(r, n)\n"
    "    names = np.empty(len(columns), object)\n"
    "    names[:] = [['a', 'b', 0, 1.5, ('t', 1), None, 'caf\\u00e9'][int(i)] for i in r.integers(0, 7, "
    "len(columns))]\n"
    "    df.columns = pd.Index(names, tupleize_cols=False)\n"
    "    start, step = int(r.integers(0, 3)), int(r.choice([1, 1, 2, -1]))\n"
    "    return df.iloc[start:][::step] if r.random() < .5 else df\n"
    "def random_case(seed):\n"
    "    df = random_frame(seed)\n"
    "    return [df, expected(df)]\n";

/* ---- looking at tables ------------------------------------------------------------------------------------------- */

enum { PICTURE = 1 << 16 };

typedef struct picture {
    char   text[PICTURE];
    size_t used;
} picture;

static void put(picture *p, const char *format, ...) {
    va_list args;
    int     n;
    va_start(args, format);
    n = vsnprintf(p->text + p->used, PICTURE - p->used, format, args);
    va_end(args);
    p->used += n > 0 ? (size_t)n : 0;
    assert_true(p->used < PICTURE);
}

static void put_double(picture *p, double x) {
    if (isnan(x)) put(p, "nan");
    else put(p, "%.17g", x);
}

static void put_element(picture *p, const krait_column *column, const char *at) {
    union {
        int8_t   i8;
        int16_t  i16;
        int32_t  i32;
        int64_t  i64;
        uint8_t  u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        float    f32[2];
        double   f64[2];
    } x;
    memcpy(&x, at, column->dtype.item_size);
    switch (column->dtype.code) {
    case KRAIT_BOOL:
    case KRAIT_U8: put(p, "%u", x.u8); break;
    case KRAIT_I8: put(p, "%d", x.i8); break;
    case KRAIT_I16: put(p, "%d", x.i16); break;
    case KRAIT_I32: put(p, "%" PRId32, x.i32); break;
    case KRAIT_I64: put(p, "%" PRId64, x.i64); break;
    case KRAIT_U16: put(p, "%u", x.u16); break;
    case KRAIT_U32: put(p, "%" PRIu32, x.u32); break;
    case KRAIT_U64: put(p, "%" PRIu64, x.u64); break;
    case KRAIT_F32: put_double(p, (double)x.f32[0]); break;
    case KRAIT_F64: put_double(p, x.f64[0]); break;
    case KRAIT_C64:
    case KRAIT_C128:
        put(p, "(");
        put_double(p, column->dtype.code == KRAIT_C64 ? (double)x.f32[0] : x.f64[0]);
        put(p, ",");
        put_double(p, column->dtype.code == KRAIT_C64 ? (double)x.f32[1] : x.f64[1]);
        put(p, ")");
        break;
    case KRAIT_DATETIME:
    case KRAIT_TIMEDELTA:
        if (x.i64 == INT64_MIN) put(p, "NaT");
        else put(p, "%" PRId64, x.i64);
        break;
    default: put(p, "?"); break;
    }
}

static int64_t code_at(const krait_column *column, const char *at) {
    switch (column->dtype.code) {
    case KRAIT_I8: return *(const int8_t *)at;
    case KRAIT_I16: return *(const int16_t *)(const void *)at;
    case KRAIT_I32: return *(const int32_t *)(const void *)at;
    default: return *(const int64_t *)(const void *)at;
    }
}

static void put_value(picture *p, const krait_column *column, int64_t row) {
    const char *at = (const char *)column->data + row * column->stride, *text;
    int64_t     big;
    size_t      size;
    if (!krait_column_has(column, row)) {
        put(p, "_");
        return;
    }
    switch (column->kind) {
    case KRAIT_COLUMN_TEXT:
    case KRAIT_COLUMN_BYTES:
        text = krait_column_text(column, row, &size);
        put(p, "'%.*s'", (int)size, text);
        break;
    case KRAIT_COLUMN_CATEGORY: put_value(p, column->dictionary, code_at(column, at)); break;
    case KRAIT_COLUMN_DATE: put(p, "%" PRId32, *(const int32_t *)(const void *)at); break;
    case KRAIT_COLUMN_DECIMAL: /* no test has numbers of more than 64 bits but one, which looks for itself */
        memcpy(&big, at, sizeof big);
        put(p, "%" PRId64, big);
        break;
    default: put_element(p, column, at); break;
    }
}

static void put_type(picture *p, const krait_column *column) {
    char name[64];
    switch (column->kind) {
    case KRAIT_COLUMN_TEXT: put(p, "text"); break;
    case KRAIT_COLUMN_BYTES: put(p, "bytes"); break;
    case KRAIT_COLUMN_DATE: put(p, "date"); break;
    case KRAIT_COLUMN_DECIMAL: put(p, "decimal(%d,%d)", column->precision, column->scale); break;
    case KRAIT_COLUMN_CATEGORY:
        assert_string_equal(column->dictionary->name, "");
        put(p, column->ordered ? "ordered<" : "category<");
        put_type(p, column->dictionary);
        put(p, " {");
        for (int64_t i = 0; i < column->dictionary->rows; i++) {
            if (i) put(p, " ");
            put_value(p, column->dictionary, i);
        }
        put(p, "}>");
        break;
    default:
        krait_dtype_name(column->dtype, name, sizeof name);
        put(p, "%s%s%s", name, column->zone ? "@" : "", column->zone ? column->zone : "");
        break;
    }
}

static void put_part(picture *p, const krait_table *table, bool index, size_t i, bool values) {
    krait_error *err = NULL;
    krait_column column;
    if (index) krait_table_index(table, i, &column, &err);
    else krait_table_column(table, i, &column, &err);
    if (err) {
        put(p, "%s refused\n", index ? "index" : "column");
        krait_error_clear(&err);
        return;
    }
    assert_int_equal(column.rows, krait_table_rows(table));
    put(p, "%s '%s' ", index ? "index" : "column", column.name);
    put_type(p, &column);
    put(p, ":");
    for (int64_t row = 0; values && row < column.rows; row++) {
        put(p, " ");
        put_value(p, &column, row);
    }
    put(p, "\n");
}

/* "index 'k' int64: 1 2\ncolumn 'a' text: 'x' _\n" */
static const char *draw(const krait_value *value, bool values) {
    static picture     p;
    krait_error       *err = NULL;
    const krait_table *table;
    p.used = 0;
    p.text[0] = 0;
    krait_get_table(value, &table, &err);
    assert_good(err);
    for (size_t i = 0; i < krait_table_index_count(table); i++) put_part(&p, table, true, i, values);
    for (size_t i = 0; i < krait_table_column_count(table); i++) put_part(&p, table, false, i, values);
    return p.text;
}

static krait_column column_of(const krait_value *value, size_t i) {
    krait_error       *err = NULL;
    const krait_table *table;
    krait_column       column;
    krait_get_table(value, &table, &err);
    krait_table_column(table, i, &column, &err);
    assert_good(err);
    return column;
}

static bool has(const char *what) {
    krait_error *err = NULL;
    krait_value  out;
    bool         answer = false;
    if (!what) return true;
    call1("out:has", krait_str(what), 0, &out, &err);
    krait_get_bool(&out, &answer, &err);
    assert_good(err);
    return answer;
}

static bool truth(const char *function, const krait_value *value) {
    krait_error *err = NULL;
    krait_value  out;
    bool         answer = false;
    call1(function, krait_borrow(value), 0, &out, &err);
    krait_get_bool(&out, &answer, &err);
    assert_good(err);
    return answer;
}

static krait_value make(const char *expression) {
    krait_error *err = NULL;
    krait_value  out;
    call1("out:make", krait_str(expression), 0, &out, &err);
    if (err) fail_msg("%s: %s: %s", expression, krait_error_step(err), krait_error_message(err));
    return out;
}

/* ---- values, names, index ---------------------------------------------------------------------------------------- */

typedef struct row {
    const char *needs; /* out.has; NULL: nothing */
    const char *expression, *expected;
} row;

static void check_rows(const row *rows, size_t n) {
    krait_metrics before = at_rest();
    for (size_t i = 0; i < n; i++) {
        krait_value out;
        const char *got;
        if (!has(rows[i].needs)) continue;
        out = make(rows[i].expression);
        got = draw(&out, true);
        if (strcmp(got, rows[i].expected) != 0)
            fail_msg("%s\ngot:\n%sexpected:\n%s", rows[i].expression, got, rows[i].expected);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}
#define CHECK(rows) check_rows(rows, COUNT(rows))

static void plain_columns(void **state) {
    static const row rows[] = {
        { NULL, "pd.DataFrame({'a': [1.5, float('nan')], 'b': [1, 2], 'c': [True, False]})",
          "column 'a' float64: 1.5 nan\ncolumn 'b' int64: 1 2\ncolumn 'c' bool: 1 0\n" },
        { NULL,
          "pd.DataFrame({k: np.array([1, 2], k) for k in ['i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'u8', 'f4', 'c8']})",
          "column 'i1' int8: 1 2\ncolumn 'u1' uint8: 1 2\ncolumn 'i2' int16: 1 2\ncolumn 'u2' uint16: 1 2\n"
          "column 'i4' int32: 1 2\ncolumn 'u4' uint32: 1 2\ncolumn 'u8' uint64: 1 2\ncolumn 'f4' float32: 1 2\n"
          "column 'c8' complex64: (1,0) (2,0)\n" },
        { NULL, "pd.DataFrame(np.arange(6.).reshape(3, 2))", "column '0' float64: 0 2 4\ncolumn '1' float64: 1 3 5\n" },
        { NULL, "pd.DataFrame(np.arange(6.).reshape(3, 2))[::-2]",
          "index '' int64: 2 0\ncolumn '0' float64: 4 0\ncolumn '1' float64: 5 1\n" },
        { NULL, "pd.Series(np.array([1, 2], '>i4'), name='s')", "column 's' int32: 1 2\n" },
        { NULL, "pd.Series(np.frombuffer(b'x' + np.array([1., 2.]).tobytes(), 'u1')[1:].view('f8'))",
          "column '' float64: 1 2\n" },
        { NULL, "pd.Series([1, 2], name=7)", "column '7' int64: 1 2\n" },
        { NULL, "pd.Series([1, 2]).array", "column '' int64: 1 2\n" },
        { NULL, "pd.Index([5, 6], name='i')", "column 'i' int64: 5 6\n" },
        { NULL, "pd.RangeIndex(3)", "column '' int64: 0 1 2\n" },
    };
    (void)state;
    CHECK(rows);
}

static void times(void **state) {
    static const row rows[] = {
        { NULL, "pd.Series(np.array(['2024-01-01', 'NaT'], 'M8[ns]'))",
          "column '' datetime64[ns]: 1704067200000000000 NaT\n" },
        { NULL, "pd.Series(np.array([1, 2], 'm8[ns]'))", "column '' timedelta64[ns]: 1 2\n" },
        { "pandas 2", "pd.Series(np.array(['2024-01-01', 'NaT'], 'M8[s]'))",
          "column '' datetime64[s]: 1704067200 NaT\n" },
        { "pandas 2", "pd.Index(np.array([1, 2], 'm8[ms]'))", "column '' timedelta64[ms]: 1 2\n" },
        { NULL, "pd.DataFrame({'z': pd.Series(np.array([0], 'M8[ns]')).dt.tz_localize('Europe/Berlin')})",
          "column 'z' datetime64[ns]@Europe/Berlin: -3600000000000\n" },
        { NULL, "pd.Series(np.array([0], 'M8[ns]')).dt.tz_localize('UTC')", "column '' datetime64[ns]@UTC: 0\n" },
        { NULL, "pd.Series(np.array([0], 'M8[ns]')).dt.tz_localize(datetime.timezone(datetime.timedelta(hours=2)))",
          "column '' datetime64[ns]@UTC+02:00: -7200000000000\n" },
        { NULL, "pd.Series([1.], index=pd.DatetimeIndex(np.array([7], 'M8[ns]'), name='t'))",
          "index 't' datetime64[ns]: 7\ncolumn '' float64: 1\n" },
    };
    (void)state;
    CHECK(rows);
}

/* pandas has changed its own default twice: the unit is the one that is there. */
static void units_are_never_assumed(void **state) {
    static const char *const expressions[] = { "pd.Series(pd.to_datetime(['2024-01-01']))",
                                               "pd.Series([datetime.datetime(2024, 1, 1)])",
                                               "pd.Series(pd.date_range('2024-01-01', periods=2))",
                                               "pd.Series([pd.Timedelta(1, 's')])",
                                               "pd.Series(pd.to_timedelta([1], unit='s'))" };
    (void)state;
    for (size_t i = 0; i < COUNT(expressions); i++) {
        krait_error *err = NULL;
        krait_value  name, out = make(expressions[i]);
        char         got[64];
        const char  *wanted;
        call1("out:dtype_of", krait_str(expressions[i]), 0, &name, &err);
        krait_get_text(&name, &wanted, NULL, &err);
        assert_good(err);
        krait_dtype_name(column_of(&out, 0).dtype, got, sizeof got);
        assert_string_equal(got, wanted);
        krait_value_clear(&name);
        krait_value_clear(&out);
    }
}

static void missing_values(void **state) {
    static const row rows[] = {
        { NULL, "pd.Series(pd.array([1, None, 3], dtype='Int16'))", "column '' int16: 1 _ 3\n" },
        { NULL, "pd.Series(pd.array([1] * 9 + [None], dtype='UInt8'))", "column '' uint8: 1 1 1 1 1 1 1 1 1 _\n" },
        { NULL, "pd.array([True, None, False], dtype='boolean')", "column '' bool: 1 _ 0\n" },
        { NULL, "pd.Series(pd.array([1.5, None], dtype='Float32'))", "column '' float32: 1.5 _\n" },
        { NULL, "pd.Series(pd.array(range(20), dtype='Int64')).where(lambda s: s % 3 != 0)[::-3]",
          "index '' int64: 19 16 13 10 7 4 1\ncolumn '' int64: 19 16 13 10 7 4 1\n" },
        { NULL, "pd.Series(pd.array([None] * 3 + [4], dtype='Int64'))[1:]",
          "index '' int64: 1 2 3\ncolumn '' int64: _ _ 4\n" },
        { NULL, "pd.Series([float('nan')], dtype='f8')", "column '' float64: nan\n" },
    };
    (void)state;
    CHECK(rows);
}

/* Validity is there where the type can miss values, whatever is in the rows. */
static void masks_always_have_bits(void **state) {
    krait_value whole = make("pd.Series(pd.array([1, 2], dtype='Int64'))"),
                plain = make("pd.Series([1., float('nan')])"), category = make("pd.Categorical(['a', 'b'])");
    (void)state;
    assert_non_null(column_of(&whole, 0).valid);
    assert_null(column_of(&plain, 0).valid);
    assert_null(column_of(&category, 0).valid);
    krait_value_clear(&whole);
    krait_value_clear(&plain);
    krait_value_clear(&category);
}

static void text(void **state) {
    static const row rows[] = {
        { NULL, "pd.Series(['a', None, 'b\\u00e9'])", "column '' text: 'a' _ 'b\xc3\xa9'\n" },
        { NULL, "pd.Series(['a', np.nan, pd.NA, pd.NaT, None, ''], dtype=object)", "column '' text: 'a' _ _ _ _ ''\n" },
        { NULL, "pd.Series([np.str_('own class'), np.float64('nan')], dtype=object)",
          "column '' text: 'own class' _\n" },
        { NULL, "pd.Series(['a', None], dtype='string')", "column '' text: 'a' _\n" },
        { NULL, "pd.Series(['a', None], dtype='string[python]')", "column '' text: 'a' _\n" },
        { NULL, "pd.Series([None, None], dtype=object)", "column '' text: _ _\n" },
        { NULL, "pd.Series([], dtype='string')", "column '' text:\n" },
        { NULL, "pd.Series(['a', 'b', 'c'])[1:]", "index '' int64: 1 2\ncolumn '' text: 'b' 'c'\n" },
        { NULL, "pd.Series(['a', 'b', 'c'])[::-2]", "index '' int64: 2 0\ncolumn '' text: 'c' 'a'\n" },
        { NULL, "pd.concat([pd.Series(['a', None]), pd.Series(['b'])], ignore_index=True)",
          "column '' text: 'a' _ 'b'\n" },
        { NULL, "np.array(['a', None, '\\U0001f40d'], object)", "column '' text: 'a' _ '\xf0\x9f\x90\x8d'\n" },
        { NULL, "np.array(['a', 'b', 'c'], object)[::-2]", "column '' text: 'c' 'a'\n" },
        { NULL, "np.array([('a', 1), ('b', 2)], [('t', 'O'), ('n', 'i1')])['t']", "column '' text: 'a' 'b'\n" },
        { NULL, "np.empty(2, object)", "column '' text: _ _\n" },
        { NULL, "pd.Series([1], index=['k'])", "index '' text: 'k'\ncolumn '' int64: 1\n" },
        { "numpy 2", "np.array(['', 'short', 'longer than fifteen bytes \\u00e9', 'y' * 20], np.dtypes.StringDType())",
          "column '' text: '' 'short' 'longer than fifteen bytes \xc3\xa9' 'yyyyyyyyyyyyyyyyyyyy'\n" },
        { "numpy 2", "np.array(['a', None, 'b', 'c'], np.dtypes.StringDType(na_object=None))[::-1]",
          "column '' text: 'c' 'b' _ 'a'\n" },
        { "numpy 2", "np.array(['a', np.nan], np.dtypes.StringDType(na_object=np.nan))", "column '' text: 'a' _\n" },
        { "numpy 2", "np.zeros(2, np.dtypes.StringDType())", "column '' text: '' ''\n" },
        { "numpy 2", "pd.Series(np.array(['a', 'b'], np.dtypes.StringDType()))", "column '' text: 'a' 'b'\n" },
        { "arrow", "pd.Series(['a', None], dtype='string[pyarrow]')", "column '' text: 'a' _\n" },
    };
    (void)state;
    CHECK(rows);
}

/* A NUL is a character like any other; nothing is lost where the bytes outgrow their first room. */
static void long_text(void **state) {
    krait_value  out = make("np.array(['x' * i + '\\0' for i in range(3000)], object)");
    krait_column column = column_of(&out, 0);
    (void)state;
    assert_int_equal(column.rows, 3000);
    assert_int_equal(column.data_bytes, 2999 * 3000 / 2 + 3000);
    for (int64_t i = 0; i < column.rows; i++) {
        size_t      size;
        const char *one = krait_column_text(&column, i, &size);
        assert_int_equal(size, i + 1);
        assert_true(one[i] == 0 && memchr(one, 0, size) == one + i);
    }
    krait_value_clear(&out);
}

__extension__ typedef __int128 wide;

static void objects(void **state) {
    static const row rows[] = {
        { NULL, "pd.Series([Decimal('1.50'), None, Decimal('-12'), Decimal('NaN')], dtype=object)",
          "column '' decimal(4,2): 150 _ -1200 _\n" },
        { NULL, "pd.Series([Decimal('1E+3'), Decimal('0E+9'), Decimal('-0.5E-1')], dtype=object)",
          "column '' decimal(6,2): 100000 0 -5\n" },
        { NULL, "pd.Series([Decimal('NaN')], dtype=object)", "column '' decimal(1,0): _\n" },
        { NULL, "pd.Series([datetime.date(2024, 1, 1), None, np.nan, pd.NaT, pd.NA, datetime.date.min], dtype=object)",
          "column '' date: 19723 _ _ _ _ -719162\n" },
        { NULL, "pd.Series([True, None, np.bool_(False), np.nan], dtype=object)", "column '' bool: 1 _ 0 _\n" },
        { NULL, "pd.Series([True, False], dtype=object)", "column '' bool: 1 0\n" },
    };
    krait_value out;
    wide        number, wanted = 1;
    (void)state;
    CHECK(rows);
    out = make("pd.Series([Decimal('-99999999999999999999999999999999999999')], dtype=object)");
    assert_int_equal(column_of(&out, 0).precision, 38);
    memcpy(&number, column_of(&out, 0).data, sizeof number);
    for (int i = 0; i < 38; i++) wanted *= 10;
    assert_true(number == 1 - wanted);
    krait_value_clear(&out);
}

static void categories(void **state) {
    static const row rows[] = {
        { NULL, "pd.Categorical(['b', 'a', None, 'b'])", "column '' category<text {'a' 'b'}>: 'b' 'a' _ 'b'\n" },
        { NULL, "pd.Series(pd.Categorical([3, 1], ordered=True))", "column '' ordered<int64 {1 3}>: 3 1\n" },
        { NULL, "pd.Series(['x', 'y', 'x']).astype('category')[::-2]",
          "index '' int64: 2 0\ncolumn '' category<text {'x' 'y'}>: 'x' 'x'\n" },
        { NULL, "pd.Categorical([], categories=['a'])", "column '' category<text {'a'}>:\n" },
        { NULL, "pd.Categorical([None], categories=[])", NULL },
        { NULL, "pd.Categorical(list(range(200)) * 2, categories=range(200))[[0, 199]]", NULL },
        { NULL, "pd.Categorical.from_codes([1, 0], pd.DatetimeIndex(np.array([5, 6], 'M8[ns]'), tz='UTC'))",
          "column '' category<datetime64[ns]@UTC {5 6}>: 6 5\n" },
        { NULL, "pd.Series([1., 2.], index=pd.CategoricalIndex(['u', 'v'], name='c'))",
          "index 'c' category<text {'u' 'v'}>: 'u' 'v'\ncolumn '' float64: 1 2\n" },
        { NULL, "pd.cut(pd.Series([1, 5]), [0, 2, 9], labels=['low', 'high'])",
          "column '' ordered<text {'low' 'high'}>: 'low' 'high'\n" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value out;
        if (rows[i].expected) {
            check_rows(&rows[i], 1);
            continue;
        }
        out = make(rows[i].expression);
        assert_int_equal(column_of(&out, 0).kind, KRAIT_COLUMN_CATEGORY);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void names(void **state) {
    static const row rows[] = {
        { NULL, "pd.DataFrame([[1, 2]], columns=['a', 'a'])", "column 'a' int64: 1\ncolumn 'a' int64: 2\n" },
        { NULL, "pd.DataFrame([[1, 2, 3]], columns=[0, 1.5, None])",
          "column '0.0' int64: 1\ncolumn '1.5' int64: 2\ncolumn 'nan' int64: 3\n" },
        { NULL, "pd.DataFrame([[1, 2, 3]], columns=pd.Index([0, None, b'by'], dtype=object))",
          "column '0' int64: 1\ncolumn 'None' int64: 2\ncolumn 'by' int64: 3\n" },
        { NULL, "pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([('v', 'mean'), ('v', 1)]))",
          "column '('v', 'mean')' int64: 1\ncolumn '('v', '1')' int64: 2\n" },
        { NULL, "pd.DataFrame({'k': [1, 1, 2], 'v': [1., 2., 3.]}).groupby('k').agg(['mean', 'max'])",
          "index 'k' int64: 1 2\ncolumn '('v', 'mean')' float64: 1.5 3\ncolumn '('v', 'max')' float64: 2 3\n" },
        { NULL, "pd.DataFrame([[1]], columns=pd.DatetimeIndex(['2024-01-01']))",
          "column '2024-01-01 00:00:00' int64: 1\n" },
        { NULL, "pd.DataFrame([[1]], columns=['sp ace \\u00e9'])", "column 'sp ace \xc3\xa9' int64: 1\n" },
        { NULL, "pd.DataFrame([[1]], columns=[''])", "column '' int64: 1\n" },
    };
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    (void)state;
    CHECK(rows);
    out = make(rows[0].expression);
    krait_get_column(&out, "a", KRAIT_ANY, &array, &err);
    assert_error(err, KRAIT_E_AMBIGUOUS, "'a'");
    krait_value_clear(&out);
}

/* pyarrow is who says what a column of a label is called. */
static void names_are_those_of_pyarrow(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    if (!has("arrow")) return;
    call("out:make",
         (krait_arg[]){
             krait_pos(krait_str("[(df := pd.DataFrame([[1, 2, 3, 4]], columns=pd.Index(['x', ('t', 1), 2, b'y'], "
                                 "dtype=object, tupleize_cols=False))), pa.Table.from_pandas(df).column_names]")) },
         1, &out, &err);
    assert_good(err);
    for (size_t i = 0; i < 4; i++) {
        const krait_value *wanted;
        const char        *name;
        krait_list_at(krait_list_len(&out) ? &out.as.list.items[1] : NULL, i, &wanted, &err);
        krait_get_text(wanted, &name, NULL, &err);
        assert_good(err);
        assert_string_equal(column_of(&out.as.list.items[0], i).name, name);
    }
    krait_value_clear(&out);
}

static void the_index_apart(void **state) {
    static const row rows[] = {
        { NULL, "pd.DataFrame({'a': [1, 2]}, index=[0, 1])", "column 'a' int64: 1 2\n" },
        { NULL, "pd.DataFrame({'a': [1, 2]}, index=np.array([0, 1], 'u1'))", "column 'a' int64: 1 2\n" },
        { NULL, "pd.DataFrame({'a': [1, 2]}, index=[1, 0])", "index '' int64: 1 0\ncolumn 'a' int64: 1 2\n" },
        { NULL, "pd.DataFrame({'a': [1, 2, 3]}, index=[0, 0, 2])", "index '' int64: 0 0 2\ncolumn 'a' int64: 1 2 3\n" },
        { NULL, "pd.DataFrame({'a': [1, 2]}, index=[0.0, 1.0])", "index '' float64: 0 1\ncolumn 'a' int64: 1 2\n" },
        { NULL, "pd.DataFrame({'a': [1, 2]}, index=pd.RangeIndex(1, 3))",
          "index '' int64: 1 2\ncolumn 'a' int64: 1 2\n" },
        { NULL, "pd.DataFrame({'a': [1]}, index=pd.RangeIndex(0, 5, 5))", "column 'a' int64: 1\n" },
        { NULL, "pd.DataFrame({'a': [1]}, index=pd.RangeIndex(5, 6))", "index '' int64: 5\ncolumn 'a' int64: 1\n" },
        { NULL, "pd.Series([1, 2], index=pd.Index([4, 5], name='k'), name='v')",
          "index 'k' int64: 4 5\ncolumn 'v' int64: 1 2\n" },
        { NULL, "pd.Series([1, 2], index=pd.MultiIndex.from_tuples([('a', 1), ('b', 2)], names=['x', None]))",
          "index 'x' text: 'a' 'b'\nindex '' int64: 1 2\ncolumn '' int64: 1 2\n" },
        { NULL, "pd.MultiIndex.from_product([['a'], [1, 2]], names=['x', 'y'])",
          "column 'x' text: 'a' 'a'\ncolumn 'y' int64: 1 2\n" },
        { NULL, "pd.MultiIndex.from_arrays([[0, 1]])", "column '' int64: 0 1\n" },
        { NULL, "pd.Series([1, 2], index=pd.MultiIndex.from_arrays([[0, 1]]))",
          "index '' int64: 0 1\ncolumn '' int64: 1 2\n" },
        { "pandas 2", "pd.Series([1, 2], index=pd.array([0, 1], dtype='Int64'))", "column '' int64: 1 2\n" },
        { "pandas 2", "pd.Series([1, 2], index=pd.array([0, None], dtype='Int64'))",
          "index '' int64: 0 _\ncolumn '' int64: 1 2\n" },
        { "pandas 2", "pd.DataFrame()", "" },
        { NULL, "pd.DataFrame(index=range(3))", "" },
        { NULL, "pd.DataFrame({'a': [1.], 's': ['x']})[:0]", "column 'a' float64:\ncolumn 's' text:\n" },
    };
    krait_value out;
    (void)state;
    CHECK(rows);
    out = make("pd.DataFrame(index=range(3))");
    assert_int_equal(krait_table_rows(out.as.table), 3);
    krait_value_clear(&out);
}

static void arrow_columns(void **state) {
    static const row rows[] = {
        { "arrow dtype", "pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.int32()))[1:]",
          "index '' int64: 1 2\ncolumn '' int32: _ 3\n" },
        { "arrow dtype", "pd.Series([True, None], dtype=pd.ArrowDtype(pa.bool_()))", "column '' bool: 1 _\n" },
        { "arrow dtype", "pd.Series([1.5, float('nan')], dtype=pd.ArrowDtype(pa.float64())).iloc[:1]",
          "column '' float64: 1.5\n" },
        { "arrow dtype", "pd.Series([datetime.date(1970, 1, 3), None], dtype=pd.ArrowDtype(pa.date32()))",
          "column '' date: 2 _\n" },
        { "arrow dtype", "pd.Series([Decimal('1.5'), None], dtype=pd.ArrowDtype(pa.decimal128(9, 3)))",
          "column '' decimal(9,3): 1500 _\n" },
        { "arrow dtype", "pd.Series([1, None], dtype=pd.ArrowDtype(pa.timestamp('ms', 'Asia/Tokyo')))",
          "column '' datetime64[ms]@Asia/Tokyo: 1 _\n" },
        { "arrow dtype", "pd.Series([b'ab', None], dtype=pd.ArrowDtype(pa.binary()))", "column '' bytes: 'ab' _\n" },
        { "arrow dtype", "pd.Series(['a', None, 'a'], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))",
          "column '' category<text {'a'}>: 'a' _ 'a'\n" },
        { "arrow dtype",
          "pd.concat([pd.Series([1, None], dtype='int32[pyarrow]'), pd.Series([3], dtype='int32[pyarrow]')], "
          "ignore_index=True)",
          "column '' int32: 1 _ 3\n" },
        { "arrow dtype", "pd.Series([1], index=pd.Index(['k'], dtype=pd.ArrowDtype(pa.string()), name='i'))",
          "index 'i' text: 'k'\ncolumn '' int64: 1\n" },
        { "arrow", "pa.table({'a': [1, 2, None], 's': ['x', 'y', None]})",
          "column 'a' int64: 1 2 _\ncolumn 's' text: 'x' 'y' _\n" },
        { "arrow", "pa.table({'a': pa.chunked_array([[1], [2, 3]])}).slice(1)", "column 'a' int64: 2 3\n" },
        { "arrow", "pa.table({'x': [1, 2]}).filter(pa.array([False, True])).append_column('__index_level_0__', [[7]])",
          "column 'x' int64: 2\ncolumn '__index_level_0__' int64: 7\n" },
        { "arrow", "pa.record_batch({'a': [1.5], 'b': [True]})", "column 'a' float64: 1.5\ncolumn 'b' bool: 1\n" },
        { "arrow", "pa.array([1, None, 3])[1:]", "column '' int64: _ 3\n" },
        { "arrow", "pa.chunked_array([['a'], ['b', None]])", "column '' text: 'a' 'b' _\n" },
        { "arrow", "OneArray(pa.record_batch({'a': [1]}))", "column 'a' int64: 1\n" },
        { "arrow", "pa.table({})", "" },
        { "arrow", "pa.table({'a': pa.array([], 'float32')})", "column 'a' float32:\n" },
        { "arrow",
          "pa.RecordBatchReader.from_batches(pa.schema([('a', pa.int8())]), iter([pa.record_batch({'a': pa.array([i], "
          "'int8')}) for i in range(3)]))",
          "column 'a' int8: 0 1 2\n" },
        { "polars", "pl.DataFrame({'a': [1, None], 's': ['x', 'longer than twelve bytes']})",
          "column 'a' int64: 1 _\ncolumn 's' text: 'x' 'longer than twelve bytes'\n" },
        { "polars", "pl.Series('n', [1.5, 2.5])", "column 'n' float64: 1.5 2.5\n" },
        { "polars", "pl.concat([pl.DataFrame({'a': [1]}), pl.DataFrame({'a': [2]})], rechunk=False)",
          "column 'a' int64: 1 2\n" },
        { "polars", "pl.DataFrame({'d': [datetime.date(1970, 1, 2)], 'b': [True]})",
          "column 'd' date: 1\ncolumn 'b' bool: 1\n" },
    };
    (void)state;
    CHECK(rows);
}

/* Without pyarrow, pandas keeps text as objects: what comes out is the same. */
static void text_of_either_storage(void **state) {
    krait_value  out = make("pd.Series(['a', None], dtype='str' if MAJOR >= 3 else 'string')");
    krait_column column = column_of(&out, 0);
    (void)state;
    assert_int_equal(column.kind, KRAIT_COLUMN_TEXT);
    assert_int_equal(column.offset_bytes, 8);
    assert_int_equal((column.flags & KRAIT_ARRAY_COPIED) != 0, !has("arrow text"));
    assert_string_equal(draw(&out, true), "column '' text: 'a' _\n");
    krait_value_clear(&out);
}

static void random_frames(void **state) {
    enum { CASES = 400, FIRST = 20240 };
    krait_metrics before = at_rest();
    krait_func   *random_case;
    krait_error  *err = NULL;
    (void)state;
    random_case = krait_func_new("out:random_case", &err);
    for (int seed = FIRST; seed < FIRST + CASES; seed++) {
        krait_arg   args[] = { krait_pos(krait_i64(seed)) };
        krait_value out;
        const char *wanted, *got;
        krait_call(random_case, args, 1, NULL, &out, &err);
        if (err) fail_msg("seed %d: %s\n%s", seed, krait_error_message(err), krait_error_traceback(err));
        krait_get_text(&out.as.list.items[1], &wanted, NULL, &err);
        got = draw(&out.as.list.items[0], true);
        if (strcmp(got, wanted) != 0) fail_msg("seed %d\ngot:\n%sexpected:\n%s", seed, got, wanted);
        krait_value_clear(&out);
    }
    krait_func_unref(random_case);
    assert_nothing_left(&before);
}

/* ---- sharing and flags ------------------------------------------------------------------------------------------- */

typedef struct facts {
    const char *needs, *expression, *facts;
} facts;

/* The addresses of the columns' values are those that Python tells. */
static void columns_are_shared(void **state) {
    static const facts rows[] = {
        { NULL, "pd.DataFrame({'a': np.arange(5.), 'b': np.arange(5)}, copy=False)",
          "[at(v[c].to_numpy()) for c in v]" },
        { NULL, "pd.DataFrame(np.arange(12.).reshape(4, 3), copy=False)", "[at(v[c].to_numpy()) for c in v]" },
        { NULL, "pd.DataFrame(np.arange(12.).reshape(4, 3), copy=False)[::-1]", "[at(v[c].to_numpy()) for c in v]" },
        { NULL, "pd.DataFrame(np.arange(12.).reshape(4, 3), copy=False)[['x'] * 0 + [2, 0]]",
          "[at(v[c].to_numpy()) for c in v]" },
        { NULL, "pd.Series(np.arange(5, dtype='c16')[::2])", "[at(v.to_numpy())]" },
        { NULL, "pd.Series(np.arange(5).astype('M8[ns]'))", "[at(v.to_numpy())]" },
        { NULL, "pd.Series(np.arange(5).astype('M8[ns]')).dt.tz_localize('UTC')", "[at(v.array._ndarray)]" },
        { NULL, "pd.Series(pd.array([1, None], dtype='Int64'))", "[at(v.array._data)]" },
        { NULL, "pd.Series(pd.array([True, None], dtype='boolean'))", "[at(v.array._data)]" },
        { NULL, "pd.Categorical([7, 5, 7])", "[at(v.codes)]" },
        { NULL, "pd.Index([3., 2.])", "[at(v.to_numpy())]" },
        { "arrow text", "pd.Series(['a', 'bc', None])[1:]", "[chunk(v, 2)]" },
        { "arrow text", "pd.DataFrame({'s': pd.Series(['text %d' % i for i in range(1000)])})", "[chunk(v['s'], 2)]" },
        { "arrow dtype", "pd.Series([1, None, 3], dtype='int64[pyarrow]')[1:]", "[chunk(v, 1) + 8]" },
        { "arrow", "pa.table({'a': [1, 2], 's': ['x', None]})",
          "[c.chunk(0).buffers()[-1].address for c in v.columns]" },
        { "arrow", "pa.array([1.5, 2.5])", "[v.buffers()[1].address]" },
        { "polars", "pl.DataFrame({'a': [1.5, 2.5]})", "[at(v['a'].to_numpy())]" },
    };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_arg          args[] = { krait_pos(krait_str(rows[i].expression)), krait_pos(krait_str(rows[i].facts)) };
        krait_value        out;
        const krait_value *list, *item;
        krait_metrics      counted = counters();
        if (!has(rows[i].needs)) continue;
        call("out:with_facts", args, 2, &out, &err);
        if (err) fail_msg("%s: %s", rows[i].expression, krait_error_message(err));
        krait_list_at(&out, 1, &list, &err);
        assert_int_equal(krait_list_len(list), krait_table_column_count(out.as.list.items[0].as.table));
        for (size_t c = 0; c < krait_list_len(list); c++) {
            uint64_t     wanted = 0;
            krait_column column = column_of(&out.as.list.items[0], c);
            krait_list_at(list, c, &item, &err);
            krait_get_u64(item, &wanted, &err);
            assert_good(err);
            if ((uintptr_t)column.data != wanted || column.flags & (KRAIT_ARRAY_COPIED | KRAIT_ARRAY_ALIAS))
                fail_msg("%s: column %zu is not shared (flags %u)", rows[i].expression, c, column.flags);
        }
        assert_int_equal(counters().copies, counted.copies);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

/* Writable is what pandas itself would hand out as writable. */
static void writable_as_pandas_says(void **state) {
    static const facts rows[] = {
        { NULL, "pd.DataFrame({'a': [1., 2.], 'b': [1, 2]})", "[v[c].to_numpy().flags.writeable for c in v]" },
        { NULL, "pd.DataFrame(np.arange(6.).reshape(3, 2))", "[v[c].to_numpy().flags.writeable for c in v]" },
        { NULL, "pd.Series([1, 2])", "[v.to_numpy().flags.writeable]" },
        { NULL, "pd.Categorical(['a'])", "[v.codes.flags.writeable]" },
        { NULL, "pd.Index([3, 2])", "[False]" },
        { NULL, "pd.Series(np.array([1, 2], '>i8'))", "[True]" }, /* a copy, the caller's own */
        { "arrow", "pa.array([1, 2])", "[False]" },
    };
    krait_error *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_arg          args[] = { krait_pos(krait_str(rows[i].expression)), krait_pos(krait_str(rows[i].facts)) };
        krait_value        out;
        const krait_value *list;
        if (!has(rows[i].needs)) continue;
        call("out:with_facts", args, 2, &out, &err);
        krait_list_at(&out, 1, &list, &err);
        assert_good(err);
        for (size_t c = 0; c < krait_list_len(list); c++) {
            krait_column column = column_of(&out.as.list.items[0], c);
            if (((column.flags & KRAIT_ARRAY_WRITABLE) != 0) != list->as.list.items[c].as.b)
                fail_msg("%s: column %zu has flags %u", rows[i].expression, c, column.flags);
        }
        krait_value_clear(&out);
    }
}

static void strides_and_copies(void **state) {
    krait_value   out = make("pd.DataFrame(np.arange(12.).reshape(4, 3), copy=False)[::-1]");
    krait_metrics before = counters();
    krait_error  *err = NULL;
    krait_array   array;
    (void)state;
    krait_get_column(&out, "1", KRAIT_F64, &array, &err);
    assert_good(err);
    assert_int_equal(array.size, 4);
    for (int i = 0; i < 4; i++)
        assert_true(*(double *)(void *)((char *)array.data + i * array.strides[0]) == 10 - 3 * i);
    krait_value_clear(&out);
    out = make("pd.Series(np.arange(3, dtype='>i4'))");
    assert_true(column_of(&out, 0).flags & KRAIT_ARRAY_COPIED);
    assert_int_equal(counters().copies, before.copies + 1);
    assert_int_equal(counters().copied_bytes, before.copied_bytes + 12);
    krait_get_array(&out, KRAIT_I32, 1, &array, &err);
    assert_good(err);
    assert_int_equal(((int32_t *)array.data)[2], 2);
    krait_value_clear(&out);
}

/* ---- lent memory ------------------------------------------------------------------------------------------------- */

enum { LENT = 8 };
static double  lent[LENT] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static int64_t counts[LENT] = { 0, 1, 2, 3, 4, 5, 6, 7 };

static bool in_lent(const void *at) {
    const char *p = at;
    return (p >= (char *)lent && p < (char *)(lent + LENT)) || (p >= (char *)counts && p < (char *)(counts + LENT));
}

static void assert_no_loans(const char *when) {
    for (int ms = 0; ms < PATIENCE_MS && krait_loans(NULL, NULL); ms++) wait_ms(1);
    if (krait_loans(NULL, NULL)) fail_msg("%zu loans are still open: %s", krait_loans(NULL, NULL), when);
}

static krait_value over(const char *expression, uint32_t flags, krait_error **err) {
    krait_value out;
    krait_arg   args[] = { krait_pos(krait_str(expression)), krait_with(krait_pos(krait_vector_f64(lent, LENT)), flags),
                           krait_with(krait_pos(krait_vector_i64(counts, LENT)), flags) };
    call("out:make", args, 3, &out, err);
    return out;
}

/* `lies`: the columns that lie in lent memory, a digit each. */
static const struct {
    const char *needs, *expression, *lies;
} views[] = {
    { NULL, "pd.DataFrame({'x': a}, copy=False)", "0" },
    { NULL, "pd.DataFrame({'x': a, 'y': np.ones(8)}, copy=False)", "0" },
    { NULL, "pd.DataFrame({'o': np.ones(8), 'x': a[::-1], 'y': b}, copy=False)", "12" },
    { NULL, "pd.DataFrame(a.reshape(4, 2), copy=False)", "01" },
    { NULL, "pd.DataFrame({'x': a}, copy=False).iloc[2:4]", "0" },
    { NULL, "pd.DataFrame({'x': a}, copy=False).iloc[3:3]", "0" },
    { NULL, "pd.Series(a, copy=False)", "0" },
    { NULL, "pd.Series(a, copy=False).array", "0" },
    { NULL, "pd.Series(a.view('M8[ns]'), copy=False)", "0" },
    { NULL, "pd.Index(a, copy=False)", "0" },
    { NULL, "pd.arrays.IntegerArray(b, np.zeros(8, bool))", "0" },
    { NULL, "pd.Series(pd.arrays.IntegerArray(b, np.zeros(8, bool)), copy=False)", "0" },
    { NULL, "pd.Categorical.from_codes([0, 1], pd.Index(a[:2], copy=False))", "0" },
    { NULL, "pd.Series([1] * 8, index=pd.Index(a, copy=False))", "" },
    { NULL, "pd.Series([1] * 8, index=pd.Index(b, copy=False))", "" }, /* an index that counts the rows */
    { NULL, "pd.DataFrame([[1] * 8], columns=pd.Index(a, copy=False))", "" },
    { NULL, "pd.arrays.BooleanArray(np.ones(8, bool), b.view('?')[::8])", "" }, /* the mask alone */
    { "arrow", "pa.table({'x': a, 'y': [1] * 8})", "01" },                      /* pyarrow keeps all or nothing */
    { "arrow", "pa.table({'x': a}).slice(2, 3)", "0" },
    { "arrow", "pa.table({'x': a}).slice(0, 0)", "0" },
    { "arrow", "pa.array(a)[0:0]", "0" },
    { "arrow", "pa.array(a)", "0" },
    { "arrow", "OneArray(pa.record_batch({'x': pa.array(a)}))", "0" },
    { "arrow dtype", "pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(a)])))", "0" },
    { "arrow dtype", "pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(a)]))).iloc[0:0]", "0" },
    { "polars", "pl.DataFrame({'x': a})", "0" },
};

static void check_copied(size_t i) {
    krait_error *err = NULL;
    krait_value  out = over(views[i].expression, 0, &err);
    size_t       columns;
    if (err) fail_msg("%s: %s", views[i].expression, krait_error_message(err));
    assert_int_equal(krait_loans(NULL, NULL), 0);
    columns = krait_table_column_count(out.as.table);
    for (size_t c = 0; c < columns; c++) {
        krait_column column = column_of(&out, c);
        bool         lies = strchr(views[i].lies, (int)('0' + c)) != NULL;
        if (in_lent(column.data) || (column.dictionary && in_lent(column.dictionary->data)))
            fail_msg("%s: column %zu lies in lent memory", views[i].expression, c);
        if (column.dictionary) column.flags |= column.dictionary->flags;
        if (((column.flags & KRAIT_ARRAY_COPIED) != 0) != lies)
            fail_msg("%s: column %zu has flags %u", views[i].expression, c, column.flags);
    }
    krait_value_clear(&out);
}

/* What a result views of an argument is copied once, and the loan ends with the call. */
static void views_of_lent_memory_are_copied(void **state) {
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(views); i++)
        if (has(views[i].needs)) check_copied(i);
    assert_nothing_left(&before);
}

static void copies_have_the_values(void **state) {
    static const row rows[] = {
        { NULL, "pd.DataFrame({'x': a[::-1], 'y': b}, copy=False)",
          "column 'x' float64: 8 7 6 5 4 3 2 1\ncolumn 'y' int64: 0 1 2 3 4 5 6 7\n" },
        { NULL, "pd.DataFrame(a.reshape(4, 2), copy=False)",
          "column '0' float64: 1 3 5 7\ncolumn '1' float64: 2 4 6 8\n" },
        { NULL, "pd.Categorical.from_codes([1, -1, 0], pd.Index(a[:2], copy=False))",
          "column '' category<float64 {1 2}>: 2 _ 1\n" },
        { NULL, "pd.arrays.IntegerArray(b[:3], np.array([False, True, False]))", "column '' int64: 0 _ 2\n" },
        { NULL, "pd.Series([1, 2], index=pd.Index(a[:2], copy=False))",
          "index '' float64: 1 2\ncolumn '' int64: 1 2\n" },
        { "arrow", "pa.concat_tables([pa.table({'x': a[:2]}), pa.table({'x': [9.]})])", "column 'x' float64: 1 2 9\n" },
        { "polars", "pl.Series('x', a[:2]).append(pl.Series('x', [9.]))", "column 'x' float64: 1 2 9\n" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        if (!has(rows[i].needs)) continue;
        out = over(rows[i].expression, 0, &err);
        if (err) fail_msg("%s: %s", rows[i].expression, krait_error_message(err));
        assert_int_equal(krait_loans(NULL, NULL), 0);
        if (strcmp(draw(&out, true), rows[i].expected) != 0)
            fail_msg("%s\ngot:\n%sexpected:\n%s", rows[i].expression, draw(&out, true), rows[i].expected);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void aliases_stay_views(void **state) {
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(views); i++) {
        krait_error *err = NULL;
        krait_value  out;
        if (!has(views[i].needs)) continue;
        out = over(views[i].expression, KRAIT_ALIAS, &err);
        if (err) fail_msg("%s: %s", views[i].expression, krait_error_message(err));
        for (const char *c = views[i].lies; *c; c++) {
            krait_column column = column_of(&out, (size_t)(*c - '0'));
            const void  *at = column.dictionary ? column.dictionary->data : column.data;
            if (column.dictionary) column.flags |= column.dictionary->flags;
            if (!(column.flags & KRAIT_ARRAY_ALIAS) || column.flags & KRAIT_ARRAY_COPIED)
                fail_msg("%s: column %c has flags %u", views[i].expression, *c, column.flags);
            if (column.rows && !in_lent(at) && !strstr(views[i].expression, "'y': [1]"))
                fail_msg("%s: column %c is no view", views[i].expression, *c);
        }
        krait_value_clear(&out);
        krait_gc(NULL);
        assert_no_loans(views[i].expression);
    }
    assert_nothing_left(&before);
}

/* Of two arguments only one is granted: what views the other is copied. */
static void an_alias_beside_a_loan(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_arg    args[] = { krait_pos(krait_str("pd.DataFrame({'x': a, 'y': b}, copy=False)")),
                            krait_with(krait_pos(krait_vector_f64(lent, LENT)), KRAIT_ALIAS),
                            krait_pos(krait_vector_i64(counts, LENT)) };
    (void)state;
    call("out:make", args, 3, &out, &err);
    assert_good(err);
    assert_true(column_of(&out, 0).data == lent);
    assert_int_equal(column_of(&out, 0).flags & (KRAIT_ARRAY_ALIAS | KRAIT_ARRAY_COPIED), KRAIT_ARRAY_ALIAS);
    assert_int_equal(column_of(&out, 1).flags & (KRAIT_ARRAY_ALIAS | KRAIT_ARRAY_COPIED), KRAIT_ARRAY_COPIED);
    assert_int_equal(krait_loans(NULL, NULL), 1);
    krait_value_clear(&out);
    assert_no_loans("one alias of two");
}

/* A frame that Python keeps escapes, whatever was copied out of it. */
static void a_kept_frame_escapes(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_arg    args[] = { krait_pos(krait_str("pd.DataFrame({'x': a}, copy=False)")),
                            krait_pos(krait_vector_f64(lent, LENT)) };
    (void)state;
    call("out:keep", args, 2, &out, &err);
    assert_error(err, KRAIT_E_ESCAPED, "argument 2");
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    call("out:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_no_loans("forgotten");
}

/* Next to others in a list, each has its own object, or none. */
static void frames_in_a_list(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_arg args[] = { krait_pos(krait_str("kept.append(pd.Series([1])) or [pd.Series(a, copy=False), kept[0], a]")),
                         krait_pos(krait_vector_f64(lent, LENT)) };
    (void)state;
    call("out:forget", NULL, 0, NULL, &err);
    call("out:make", args, 2, &out, &err);
    assert_good(err);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    assert_true(column_of(&out.as.list.items[0], 0).flags & KRAIT_ARRAY_COPIED);
    assert_true(truth("out:is_kept", &out.as.list.items[1]));
    assert_false(truth("out:is_kept", &out.as.list.items[0]));
    krait_value_clear(&out);
    call("out:forget", NULL, 0, NULL, &err);
    assert_good(err);
}

/* ---- passing results on ------------------------------------------------------------------------------------------ */

static void the_same_object_goes_on(void **state) {
    static const char *const rows[][2] = {
        { NULL, "pd.DataFrame({'a': [1.], 's': ['x'], 'o': [object()]})" },
        { NULL, "pd.Series([1, 2], name='n')" },
        { NULL, "pd.Index([1, 2])" },
        { NULL, "pd.MultiIndex.from_product([['a'], [1]])" },
        { NULL, "pd.array([1, None], dtype='Int64')" },
        { NULL, "pd.Categorical(['a'])" },
        { NULL, "np.array(['a', None], object)" },
        { NULL, "pd.Series(np.array([1], '>i4'))" },
        { "numpy 2", "np.array(['a'], np.dtypes.StringDType())" },
        { "arrow", "pa.table({'a': [True]})" },
        { "arrow", "pa.chunked_array([[1], [2]])" },
        { "polars", "pl.DataFrame({'a': [1]})" },
    };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value out;
        if (!has(rows[i][0])) continue;
        call1("out:keep", krait_str(rows[i][1]), 0, &out, &err);
        if (err) fail_msg("%s: %s", rows[i][1], krait_error_message(err));
        if (!truth("out:is_kept", &out)) fail_msg("%s: another object", rows[i][1]);
        krait_value_clear(&out);
    }
    call("out:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_nothing_left(&before);
}

/* What had to be copied goes on as a new frame over the copies. */
static void a_detached_table_goes_on(void **state) {
    krait_error *err = NULL;
    krait_value  out = over("pd.DataFrame({'x': a, 's': list('abcdefgh')}, copy=False)", 0, &err), same;
    (void)state;
    assert_good(err);
    call1("out:keep", krait_str("pd.DataFrame({'x': np.arange(1., 9.), 's': list('abcdefgh')})"), 0, &same, &err);
    assert_good(err);
    assert_true(truth("out:equals_kept", &out));
    krait_value_clear(&out);
    krait_value_clear(&same);
    call("out:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_no_loans("a detached table");
}

/* ---- the schema -------------------------------------------------------------------------------------------------- */

static const char typed[] =
    "(lambda n: pd.DataFrame({'f': np.full(n, np.nan), 'i': np.ones(n, 'i4'), 'b': np.ones(n, bool),"
    " 'n': pd.array([None] * n, dtype='Int32'), 's': pd.array([None] * n, dtype='string'),"
    " 't': np.full(n, 'NaT', 'M8[ns]'), 'z': pd.Series(np.full(n, 'NaT', 'M8[ns]')).dt.tz_localize('UTC'),"
    " 'c': pd.Categorical([None] * n, categories=['p', 'q'])},"
    " index=pd.MultiIndex.from_arrays([np.arange(n), pd.array(['k'] * n, dtype='string')], names=['x', 'y'])))";

/* Rows or none, values or none: the columns are of the same types. */
static void the_schema_never_depends_on_values(void **state) {
    static const char *const forms[] = { "%s(3)", "%s(0)", "%s(3)[:0]", "%s(9).dropna()",
                                         "%s(3).assign(f=1.5, n=pd.array([1, 2, 3], dtype='Int32'),"
                                         " s=pd.array(['a', 'b', 'c'], dtype='string'),"
                                         " c=pd.Categorical(['p', 'q', 'p'], categories=['p', 'q']))" };
    char                     expression[2048];
    (void)state;
    for (size_t i = 0; i < COUNT(forms); i++) {
        krait_value out;
        snprintf(expression, sizeof expression, forms[i], typed);
        out = make(expression);
        assert_string_equal(draw(&out, false),
                            "index 'x' int64:\nindex 'y' text:\ncolumn 'f' float64:\ncolumn 'i' int32:\n"
                            "column 'b' bool:\ncolumn 'n' int32:\ncolumn 's' text:\ncolumn 't' datetime64[ns]:\n"
                            "column 'z' datetime64[ns]@UTC:\ncolumn 'c' category<text {'p' 'q'}>:\n");
        for (size_t c = 0; c < 8; c++) { /* bits where the type has them, and only there */
            krait_column column = column_of(&out, c);
            if (c == 3 && column.rows) assert_non_null(column.valid);
            if (c < 3 || c == 5 || c == 6) assert_null(column.valid);
        }
        krait_value_clear(&out);
    }
}

/* ---- what cannot be read ----------------------------------------------------------------------------------------- */

/* The table arrives, column 'ok' can be read, the other one says what it is and what would do. */
static void refused_columns(void **state) {
    static const char *const rows[][3] = {
        { NULL, "[1, None]", "column 'x' cannot be read: row 0 is of type int; expected text, bool, date or Decimal" },
        { NULL, "['a', 2.5]", "row 1 is of type float; expected text as in the rows before or missing: make numbers" },
        { NULL, "[None, b'x']",
          "row 1 is of type bytes; expected text, bool, date or Decimal or missing: make text of it with .str.decode" },
        { NULL, "[datetime.datetime(2024, 1, 1), None]", "row 0 is of type datetime.datetime" },
        { NULL, "[datetime.datetime(2024, 1, 1), None]", "make instants of it with pandas.to_datetime" },
        { NULL, "[pd.Timestamp(0), None]", "pandas.to_datetime" },
        { NULL, "[datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1)]",
          "row 1 is of type datetime.datetime; expected datetime.date" },
        { NULL, "[True, 1]", "row 1 is of type int; expected bool as in the rows before" },
        { NULL, "[Decimal(1), 1.5]", "row 1 is of type float; expected Decimal" },
        { NULL, "[[1], [2]]", "row 0 is of type list" },
        { NULL, "[object(), None]", "row 0 is of type object" },
        { NULL, "['ok', '\\ud800']", "row 1 is text with a lone surrogate" },
        { NULL, "[Decimal('1e38'), None]", "it needs 39 digits, 0 of them behind the point; at most 38" },
        { NULL, "[Decimal('1e30'), Decimal('1e-9')]", "up to row 1 it needs 40 digits, 9 of them" },
        { NULL, "[None, Decimal('-Infinity')]", "row 1 is -Infinity; expected finite numbers" },
        { NULL, "pd.period_range('2024', periods=2, freq='D')",
          "column 'x' is of dtype period[D], which krait has no column for: make instants of it with "
          ".dt.to_timestamp()" },
        { NULL, "pd.arrays.SparseArray([1., 0.])", "Sparse[float64, nan]" },
        { NULL, "pd.arrays.SparseArray([1., 0.])", ".sparse.to_dense()" },
        { NULL, "pd.interval_range(0, 2)", "interval[int64, right], which krait has no column for: take .array.left" },
        { NULL, "pd.cut([1, 2], 2)", "column 'x' is of categories that cannot be read" },
        { NULL, "pd.cut([1, 2], 2)", "pandas.cut: labels=" },
        { NULL, "pd.Categorical([b'a', b'b'])", "row 0 is of type bytes" },
        { NULL, "np.ones(2, 'longdouble')", "arrays of dtype float128 are not supported" },
        { "arrow dtype", "pd.array([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))",
          "column 'x' is of an Arrow type that krait has no column for: list" },
        { "arrow dtype", "pd.array([{'y': 1}, None], dtype=pd.ArrowDtype(pa.struct([('y', pa.int64())])))",
          "column 'x' is of an Arrow type that krait has no column for: struct" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char         expression[512];
        krait_error *err = NULL;
        krait_value  out;
        krait_column column;
        if (!has(rows[i][0])) continue;
        snprintf(expression, sizeof expression, "pd.DataFrame({'ok': [1, 2], 'x': pd.Series(%s%s)})", rows[i][1],
                 rows[i][1][0] == '[' ? ", dtype=object" : "");
        out = make(expression);
        assert_int_equal(column_of(&out, 0).rows, 2);
        assert_string_equal(krait_table_column_name(out.as.table, 1), "x");
        krait_table_column(out.as.table, 1, &column, &err);
        if (!err) fail_msg("%s was taken", expression);
        assert_error(err, KRAIT_E_UNSUPPORTED, rows[i][2]);
        krait_table_find(out.as.table, "x", &column, &err);
        assert_error(err, KRAIT_E_UNSUPPORTED, rows[i][2]);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void a_refused_level(void **state) {
    krait_error *err = NULL;
    krait_value  out = make("pd.Series([1, 2], index=pd.period_range('2024', periods=2, freq='D', name='when'))");
    krait_column column;
    (void)state;
    assert_int_equal(krait_table_index_count(out.as.table), 1);
    krait_table_index(out.as.table, 0, &column, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "level of the index 'when' is of dtype period[D]");
    assert_int_equal(column_of(&out, 0).rows, 2);
    krait_value_clear(&out);
}

/* What is no table at all is an error of the call. */
static void refused_results(void **state) {
    static const struct {
        const char  *needs, *expression;
        krait_status status;
        const char  *words;
    } rows[] = {
        { NULL, "pd.DataFrame([[1]], columns=['n\\0x'])", KRAIT_E_UNSUPPORTED,
          "the name of column 'n' goes on after a NUL character" },
        { NULL, "pd.DataFrame([[1]], columns=pd.Index(['\\ud800'], dtype=object))", KRAIT_E_ENCODING,
          "surrogates not allowed" },
        { NULL, "pd.DataFrame([[1]], columns=pd.Index([BadLabel()], dtype=object))", KRAIT_E_PYTHON, "no name today" },
        { NULL, "NoCapsule()", KRAIT_E_ARGUMENT, "PyCapsule" },
        { NULL, "Raises()", KRAIT_E_PYTHON, "no stream today" },
        { "arrow", "OtherCapsule()", KRAIT_E_ARGUMENT, "PyCapsule" },
        { "arrow", "[u := Used(), u][1]", KRAIT_OK, "" },
        { "arrow", "(u := Used()) and [u, u]", KRAIT_E_ARGUMENT, "released or moved already" },
        { "arrow", "pa.RecordBatchReader.from_batches(pa.schema([('a', 'f8')]), iter([7]))", KRAIT_E_SYSTEM,
          "the Arrow stream gave no next batch" },
        { "arrow", "pa.RecordBatchReader.from_batches(pa.schema([('a', 'f8')]), iter([pa.record_batch({'a': ['x']})]))",
          KRAIT_E_ARGUMENT, "batch 0: column 'a' has 3 buffers" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        krait_value  out;
        if (!has(rows[i].needs)) continue;
        call1("out:make", krait_str(rows[i].expression), 0, &out, &err);
        if (rows[i].status) {
            if (!err) fail_msg("%s was taken", rows[i].expression);
            if (strncmp(krait_error_step(err), "convert result", 14) != 0)
                fail_msg("%s: step \"%s\"", rows[i].expression, krait_error_step(err));
            assert_error(err, rows[i].status, rows[i].words);
            assert_int_equal(out.kind, KRAIT_KIND_NONE);
        }
        assert_good(err);
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

/* ---- release ----------------------------------------------------------------------------------------------------- */

static void *clear(void *value) {
    krait_value_clear(value);
    return NULL;
}

/* pyarrow takes the GIL to free what lies in numpy's memory: clearing must not wait for it. */
static void cleared_by_another_thread(void **state) {
    static const char *const rows[][2] = {
        { NULL, "pd.DataFrame({'a': [1.], 's': ['x'], 'c': pd.Categorical(['u'])})" },
        { NULL, "np.array(['a', None], object)" },
        { "arrow", "pa.table({'a': np.arange(5.), 's': ['x'] * 5})" },
        { "arrow dtype", "pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(np.arange(5.))])))" },
        { "polars", "pl.DataFrame({'a': np.arange(5.)})" },
    };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value out;
        pthread_t   thread;
        if (!has(rows[i][0])) continue;
        out = make(rows[i][1]);
        krait_acquire(&err); /* held by this thread: the other must not need it */
        assert_good(err);
        assert_int_equal(pthread_create(&thread, NULL, clear, &out), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        krait_release();
    }
    assert_nothing_left(&before);
}

/* The values are the table's own: Python may change the frame meanwhile. */
static void python_changes_the_frame(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("out:keep", krait_str("pd.DataFrame({'a': [1., 2.], 's': ['x', 'y']})"), 0, &out, &err);
    assert_good(err);
    call1("out:make",
          krait_str("[kept[0].insert(0, 'n', 5), kept[0].__setitem__('a', [7., 8.]), kept[0].__delitem__('s')]"), 0,
          NULL, &err);
    call1("out:make", krait_str("gc.collect()"), 0, NULL, &err);
    assert_good(err);
    assert_string_equal(draw(&out, true), "column 'a' float64: 1 2\ncolumn 's' text: 'x' 'y'\n");
    call("out:forget", NULL, 0, NULL, &err);
    assert_string_equal(draw(&out, true), "column 'a' float64: 1 2\ncolumn 's' text: 'x' 'y'\n");
    krait_value_clear(&out);
}

static const char mixed[] =
    "pd.DataFrame({'a': a, 'b': pd.array([1, None] * 4, dtype='Int64'), 's': ['x', None] * 4,"
    " 'o': np.array(['y', None] * 4, object), 'c': pd.Categorical(['u', None] * 4), 'q': [object()] * 8,"
    " 'd': np.array([Decimal(1)] * 8, object), 'e': np.array([datetime.date(2024, 1, 1)] * 8, object),"
    " 'l': np.array([True, None] * 4, object), 'w': np.arange(8, dtype='>i4'),"
    " 'z': pd.Series(np.zeros(8, 'M8[ns]')).dt.tz_localize('UTC')}, copy=False,"
    " index=pd.MultiIndex.from_arrays([['k'] * 8, range(8)]))";

#ifdef KRAIT_FAULTS
/* Every allocation of a call that gives a table fails once. */
static void without_memory(void **state) {
    const char *const expressions[] = { mixed, "pa.table({'a': a, 's': ['x'] * 8})",
                                        "pa.table({'s': ['x'], 't': [1]})" };
    (void)state;
    for (size_t i = 0; i < COUNT(expressions); i++) {
        krait_metrics before = at_rest();
        bool          reached = true;
        uint64_t      n;
        if (i && !has("arrow")) continue;
        for (n = 1; reached; n++) {
            krait_error *err = NULL;
            krait_value  out;
            krait__mem_fail_at(n);
            out = over(expressions[i], 0, &err);
            reached = krait__mem_count() >= n;
            krait__mem_fail_at(0);
            if (err && krait_error_status(err) != KRAIT_E_NOMEM)
                fail_msg("allocation %d fails: %s: %s", (int)n, krait_status_name(krait_error_status(err)),
                         krait_error_message(err));
            krait_error_clear(&err);
            krait_value_clear(&out);
            assert_no_loans("without memory");
        }
        assert_true(n > 8);
        assert_nothing_left(&before);
    }
}
#endif

/* Python's own objects: under a sanitizer, where its allocator does not count, the sanitizer sees what is lost. */
static void nothing_piles_up(void **state) {
    enum { ROUNDS = 10, TIMES = 100 }; /* caches fill up; what is lost is lost in every round */
    krait_error *err = NULL;
    int64_t      least = INT64_MAX;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        krait_value blocks = make("gc.collect() * 0 + sys.getallocatedblocks()"), more;
        for (int i = 0; i < TIMES; i++) {
            krait_value out = over(mixed, 0, &err);
            assert_good(err);
            krait_value_clear(&out);
        }
        at_rest();
        more = make("gc.collect() * 0 + sys.getallocatedblocks()");
        if (more.as.i64 - blocks.as.i64 < least) least = more.as.i64 - blocks.as.i64;
    }
    if (least >= TIMES / 2) fail_msg("%d objects more in %d calls", (int)least, TIMES);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed && getenv("KRAIT_TEST_HIDE_PYARROW")) define("hide", hide);
    if (!failed) define("out", module);
    return failed;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_columns),
        cmocka_unit_test(times),
        cmocka_unit_test(units_are_never_assumed),
        cmocka_unit_test(missing_values),
        cmocka_unit_test(masks_always_have_bits),
        cmocka_unit_test(text),
        cmocka_unit_test(long_text),
        cmocka_unit_test(objects),
        cmocka_unit_test(categories),
        cmocka_unit_test(names),
        cmocka_unit_test(names_are_those_of_pyarrow),
        cmocka_unit_test(the_index_apart),
        cmocka_unit_test(arrow_columns),
        cmocka_unit_test(text_of_either_storage),
        cmocka_unit_test(random_frames),
        cmocka_unit_test(columns_are_shared),
        cmocka_unit_test(writable_as_pandas_says),
        cmocka_unit_test(strides_and_copies),
        cmocka_unit_test(views_of_lent_memory_are_copied),
        cmocka_unit_test(copies_have_the_values),
        cmocka_unit_test(aliases_stay_views),
        cmocka_unit_test(an_alias_beside_a_loan),
        cmocka_unit_test(a_kept_frame_escapes),
        cmocka_unit_test(frames_in_a_list),
        cmocka_unit_test(the_same_object_goes_on),
        cmocka_unit_test(a_detached_table_goes_on),
        cmocka_unit_test(the_schema_never_depends_on_values),
        cmocka_unit_test(refused_columns),
        cmocka_unit_test(a_refused_level),
        cmocka_unit_test(refused_results),
        cmocka_unit_test(cleared_by_another_thread),
        cmocka_unit_test(python_changes_the_frame),
        cmocka_unit_test(nothing_piles_up),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(without_memory),
#endif
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
