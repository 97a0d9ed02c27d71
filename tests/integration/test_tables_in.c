/* Tables as arguments: what each kind of column becomes in pandas, that it lies over the program's memory, and whose
 * that memory is afterwards. Everything runs a second time, in a process of its own, where pyarrow cannot be
 * imported. */
#include "check.h"

#include <math.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

#ifdef KRAIT_FAULTS
#include <dlfcn.h>

#include "mem.h"
#include "pyapi.h"
#endif

static const char module[] =
    "import datetime\n"
    "import decimal\n"
    "import gc\n"
    "import sys\n"
    "import warnings\n"
    "import numpy as np\n"
    "import pandas as pd\n"
    "warnings.simplefilter('error')\n"
    "try:\n"
    "    import pyarrow\n"
    "except ImportError:\n"
    "    pyarrow = None\n"
    "MAJOR = int(pd.__version__.split('.')[0])\n"
    "ARROW = MAJOR >= 3 and pyarrow is not None\n"
    "UNITS = ('s', 'ms', 'us', 'ns') if MAJOR >= 2 else ('ns',)\n"
    "kept = []\n"
    "def under(column):\n"
    "    'The ndarray that a Series, an Index or an array of pandas stands on.'\n"
    "    a = getattr(column, 'array', column)\n"
    "    while not isinstance(a, np.ndarray):\n"
    "        a = next(getattr(a, n) for n in ('_ndarray', '_data', '_codes') if hasattr(a, n))\n"
    "    return a\n"
    "def address(column):\n"
    "    return under(column).__array_interface__['data'][0]\n"
    "def same(column, expected):\n"
    "    got = [None if pd.isna(x) else x for x in column]\n"
    "    assert got == expected, (got, expected)\n"
    /* kinds of column */
    "def plain(df, *arrays):\n"
    "    assert len(df.columns) == len(arrays) and df.index.equals(pd.RangeIndex(len(df)))\n"
    "    for name, a in zip(df.columns, arrays):\n"
    "        u = under(df[name])\n"
    "        assert df[name].dtype == u.dtype == a.dtype, (name, df[name].dtype, a.dtype)\n"
    "        assert address(u) == address(a) and u.strides == a.strides, name\n"
    "        assert u.tobytes() == a.tobytes() and not u.flags.writeable, name\n"
    "def own(df, *arrays):\n"
    "    for name, a in zip(df.columns, arrays):\n"
    "        u = under(df[name])\n"
    "        assert u.dtype == a.dtype.newbyteorder('=') and u.dtype.isnative and u.flags.aligned, name\n"
    "        assert not np.shares_memory(u, a) and u.tolist() == a.tolist(), name\n"
    "        df.groupby(name)[name].count(), df[name].rank(), df.sort_values(name)\n"
    "def times(df, a, unit, direct):\n"
    "    if MAJOR < 2:\n"
    "        direct, unit = unit == 'ns' and direct, 'ns'\n"
    "    got, dtype = df['t'], f'{a.dtype.kind}8[{unit}]'\n"
    "    assert got.dtype == dtype, got.dtype\n"
    "    assert (address(got) == address(a)) == direct, (dtype, direct)\n"
    "    wide = a.astype(f'{a.dtype.kind}8[{np.datetime_data(a.dtype)[0]}]')\n"
    "    assert under(got).view('i8').tolist() == wide.astype(dtype).view('i8').tolist()\n"
    "def pandas_major():\n"
    "    return MAJOR\n"
    "def has_arrow():\n"
    "    return ARROW\n"
    "def work_times(df):\n"
    "    assert df['t'].isna().tolist() == [False, True, False] and df['t'][0] == pd.Timestamp(0), df\n"
    "def has(df, ticks):\n"
    "    assert under(df['t']).view('i8').tolist() == ticks.tolist(), under(df['t']).view('i8').tolist()\n"
    "def zoned(df, a, zone):\n"
    "    unit = np.datetime_data(a.dtype)[0]\n"
    "    assert df['t'].dt.tz is not None and str(df['t'].dt.tz) == zone, df['t'].dtype\n"
    "    assert (address(df['t']) == address(a)) == (unit in UNITS)\n"
    "    naive = df['t'].dt.tz_convert('UTC').dt.tz_localize(None)\n"
    "    assert under(naive).tolist() == a.astype(under(naive).dtype).tolist()\n"
    "    if zone == 'Europe/Berlin':\n"
    "        assert [x.hour for x in df['t'].dropna()] == [1, 2], df['t']\n"
    "def masked(df, *arrays):\n"
    "    missing = [i % 7 == 3 and not 8 <= i < 24 for i in range(len(df))]\n"
    "    for name, a in zip(df.columns, arrays):\n"
    "        got = df[name]\n"
    "        assert got.isna().tolist() == missing, (name, got)\n"
    "        kept_values = [x for x, gone in zip(a.tolist(), missing) if not gone]\n"
    "        assert under(got.dropna()).astype(a.dtype).tolist() == kept_values, (name, got)\n"
    "        if a.dtype.kind in 'iub' or a.dtype in ('f4', 'f8'):\n"
    "            assert str(got.dtype).lower() == {'bool': 'boolean'}.get(str(a.dtype), str(a.dtype)), got.dtype\n"
    "            assert address(got) == address(a) and not under(got).flags.writeable, name\n"
    "        else:\n"
    "            assert got.dtype == a.dtype and address(got) != address(a), name\n"
    "def unmissed(df, *arrays):\n"
    "    'Validity that says all rows have a value: the dtype is that of one that does not.'\n"
    "    for name, a in zip(df.columns, arrays):\n"
    "        nullable = a.dtype.kind in 'iub' or a.dtype in ('f4', 'f8')\n"
    "        assert nullable == pd.api.types.is_extension_array_dtype(df[name].dtype), name\n"
    "        assert address(df[name]) == address(a), name\n"
    "def texts(df, data, offsets, missing):\n"
    "    expected = ['plain', '', 'ünï☃𝄞', 'a\\0b', 'end']\n"
    "    if missing:\n"
    "        expected[1] = None\n"
    "    t = df['t']\n"
    "    same(t, expected)\n"
    "    if MAJOR >= 3:\n"
    "        assert t.dtype == 'str' and t.dtype.storage == ('pyarrow' if ARROW else 'python'), t.dtype\n"
    "        assert t.array.dtype.na_value is np.nan\n"
    "    else:\n"
    "        assert t.dtype == object and (not missing or t[1] is np.nan), t.dtype\n"
    "    if ARROW:\n"
    "        bits, ends, text = t.array._pa_array.chunk(0).buffers()\n"
    "        assert text.address == data.__array_interface__['data'][0] and not text.is_mutable\n"
    "        assert (ends.address == offsets.__array_interface__['data'][0]) == (offsets.dtype == 'i8')\n"
    "    assert t.str.len().dropna().tolist() == [len(x) for x in expected if x is not None]\n"
    "    assert df.groupby('t', dropna=False).size().sum() == 5 and (t == 'end').sum() == 1\n"
    "def no_values(df):\n"
    "    assert df['t'].dtype == ('str' if MAJOR >= 3 else object) and df['t'].isna().all(), df['t']\n"
    "    for name in ('b', 'd', 'm'):\n"
    "        assert df[name].dtype == object and all(x is None for x in df[name]), df[name]\n"
    "def objects(df):\n"
    "    D, day = decimal.Decimal, datetime.date\n"
    "    assert (df.dtypes == object).all(), df.dtypes\n"
    "    same(df['bytes'], [b'\\xff\\0', b'', None])\n"
    "    same(df['date'], [day(1, 1, 1), None, day(9999, 12, 31)])\n"
    "    same(df['digits'], [D('9' * 38).scaleb(-2, decimal.Context(50)), D('-0.01'), None])\n"
    "    same(df['whole'], [D('-' + '9' * 38), D(0), D(7)])\n"
    "    same(df['small'], [D('0.' + '9' * 38), D('1e-38'), D(-1).scaleb(-38)])\n"
    "    same(df['round'], [D('12e5'), D('-3e5'), D(0)])\n"
    "    assert [type(x) for x in df.iloc[0]] == [bytes, day, D, D, D, D]\n"
    "    assert df['digits'][1].as_tuple().exponent == -2 and df['round'][0].as_tuple().exponent == 5\n"
    "    assert df['bytes'][2] is None and df['date'][1] is None and df['digits'][2] is None\n"
    "def categories(df, codes, shared, labels, values, ordered):\n"
    "    c = df['c']\n"
    "    assert isinstance(c.dtype, pd.CategoricalDtype) and c.cat.ordered == ordered\n"
    "    assert [str(x) for x in c.cat.categories] == labels, c.cat.categories\n"
    "    assert ['' if pd.isna(x) else str(x) for x in c] == values, c\n"
    "    assert (address(c) == address(codes)) == shared\n"
    "    assert not shared or not under(c).flags.writeable\n"
    /* the frame as a whole */
    "def names(df, *arrays):\n"
    "    assert [str(x) for x in df.columns] == ['a', '', 'a', 'ü'], df.columns\n"
    "    for i, a in enumerate(arrays):\n"
    "        assert address(df.iloc[:, i]) == address(a) and df.iloc[:, i].tolist() == a.tolist()\n"
    "def one_level(df, a, name, dtype):\n"
    "    if MAJOR < 2 and dtype == 'float32':\n"
    "        dtype = 'float64'\n"
    "    assert df.index.name == (name or None) and str(df.index.dtype) == dtype, df.index\n"
    "    assert df.index.tolist() == a.tolist() and df['x'].tolist() == [1, 2, 3]\n"
    "def one_level_of_times(df, a, name, dtype):\n"
    "    assert df.index.name is None and str(df.index.dtype) == dtype and isinstance(df.index, pd.DatetimeIndex)\n"
    "    assert under(df.index).tolist() == a.tolist()\n"
    "def shared_level(df, a):\n"
    "    assert address(df.index) == address(a) and not under(df.index).flags.writeable\n"
    "    assert df.loc[20.0, 'x'] == 2\n"
    "def levels(df, x):\n"
    "    assert isinstance(df.index, pd.MultiIndex) and list(df.index.names) == ['city', None, 'day']\n"
    "    assert df.index.tolist()[1] == ('Köln', 20, datetime.date(1970, 1, 3)), df.index.tolist()\n"
    "    assert pd.isna(df.index.tolist()[2][0])\n"
    "    assert address(df['x']) == address(x) and df.xs('Köln', level=0)['x'].tolist() == [2]\n"
    "def empty(df, shape):\n"
    "    assert df.shape == tuple(shape.tolist()), (df.shape, shape)\n"
    "    assert len(df.index) == df.shape[0] and df.describe is not None and str(df)\n"
    "    if len(df.columns) == 6:\n"
    "        expected = ['str' if MAJOR >= 3 else 'object', 'int32', 'Int32', 'category', 'object', 'object']\n"
    "        assert [str(d) for d in df.dtypes] == expected, df.dtypes\n"
    "def many(df):\n"
    "    return float(sum(df[f'c{i}'].iloc[i] * i for i in range(64)))\n"
    /* whose memory */
    "def write(df, column):\n"
    "    df.iloc[0, column] = 5\n"
    "    return float(df.iloc[0, column])\n"
    "def write_under(df, column):\n"
    "    u = under(df.iloc[:, column])\n"
    "    u.flags.writeable = True\n"
    "    u[0] = 5\n"
    "def unchanged(df):\n"
    "    return df\n"
    "def keep(df):\n"
    "    kept.append(df)\n"
    "    return 1\n"
    "def keep_column(df, name):\n"
    "    kept.append(df[name])\n"
    "def kept_texts():\n"
    "    return list(kept[0]['t'])\n"
    "def total_kept():\n"
    "    return float(sum(df['x'].sum() for df in kept))\n"
    "def forget():\n"
    "    kept.clear()\n"
    "def column(df, name):\n"
    "    return df[name].to_numpy()\n"
    "def total(df):\n"
    "    return float(df['x'].sum())\n"
    "def work(df):\n"
    "    'Ordinary work on all columns; nothing of it may hold the memory.'\n"
    "    df.groupby('c', observed=True)['x'].sum(), df.sort_values('t'), df.merge(df, on='x'), df.describe()\n"
    "    df.isna().sum(), str(df), df.assign(y=df['x'] * 2).query('y > 1'), pd.concat([df, df])\n"
    "    df.drop_duplicates('t')\n"
    "    return len(df)\n"
    "def fail(df):\n"
    "    raise ValueError('no')\n"
    "def second(df, array):\n"
    "    return array\n"
    "def held():\n"
    "    gc.collect()\n"
    "    return sys.getallocatedblocks() + sys.getrefcount(None) + sys.getrefcount(False)\n"
    "def first(items):\n"
    "    kept.append(items[0])\n"
    "    return float(items[0]['x'].sum())\n";

/* ---- helpers ----------------------------------------------------------------------------------------------------- */

static krait_table *new_table(void) {
    krait_error *err = NULL;
    krait_table *table = krait_table_new(&err);
    assert_good(err);
    return table;
}

static void add(krait_table *table, const char *name, krait_value values, const krait_value *valid) {
    krait_error *err = NULL;
    krait_table_add(table, name, values, valid, &err);
    assert_good(err);
}

static void add_column(krait_table *table, const krait_column *column) {
    krait_error *err = NULL;
    krait_table_add_column(table, column, &err);
    assert_good(err);
}

static void add_level(krait_table *table, const krait_column *column) {
    krait_error *err = NULL;
    krait_table_add_index(table, column, &err);
    assert_good(err);
}

static krait_column column_of(const char *name, uint8_t kind, krait_dtype dtype, const void *data, int64_t rows) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.name = name;
    column.kind = kind;
    column.dtype = dtype;
    column.data = data;
    column.rows = rows;
    column.stride = dtype.item_size;
    return column;
}

/* A text or bytes column. */
static krait_column texts_of(const char *name, uint8_t kind, const char *data, int64_t bytes, const void *offsets,
                             int32_t offset_bytes, int64_t rows) {
    krait_column column = column_of(name, kind, krait_u8_type(), data, rows);
    column.dtype.code = 0;
    column.dtype.item_size = 0;
    column.stride = 0;
    column.data_bytes = bytes;
    column.offsets = offsets;
    column.offset_bytes = offset_bytes;
    return column;
}

enum { MORE_MAX = 24 };

/* Calls "tables_in:function" with the table and more arguments. */
static krait_status give(const char *function, const krait_table *table, uint32_t flags, const krait_value *more,
                         size_t n, krait_value *out, krait_error **err) {
    krait_arg args[1 + MORE_MAX];
    char      name[64];
    snprintf(name, sizeof name, "tables_in:%s", function);
    args[0] = krait_with(krait_pos(krait_table_value(table)), flags);
    for (size_t i = 0; i < n; i++) {
        args[1 + i] = krait_pos(krait_none());
        args[1 + i].value = more[i];
    }
    return call(name, args, 1 + n, out, err);
}

/* The same, lent, and it must succeed: the function asserts what it wants. */
static void look(const char *function, const krait_table *table, const krait_value *more, size_t n) {
    krait_error *err = NULL;
    give(function, table, 0, more, n, NULL, &err);
    assert_good(err);
    assert_int_equal(krait_loans(NULL, NULL), 0);
}

static double number(const char *function, const krait_table *table, uint32_t flags, krait_error **err) {
    krait_value out;
    double      x = NAN;
    give(function, table, flags, NULL, 0, &out, err);
    krait_get_f64(&out, &x, err);
    krait_value_clear(&out);
    return x;
}

static void run(const char *name) {
    krait_error *err = NULL;
    call(name, NULL, 0, NULL, &err);
    assert_good(err);
}

/* ---- columns that are taken as they are -------------------------------------------------------------------------- */

static void every_dtype_is_shared(void **state) {
    static const char *const names[] = {
#define NAME(NAME, name, code, type, bytes, text) text,
        KRAIT_DTYPE_MAP(NAME)
#undef NAME
            "times", "spans"
    };
    const krait_dtype dtypes[] = {
#define TYPE(NAME, name, code, type, bytes, text) krait_##name##_type(),
        KRAIT_DTYPE_MAP(TYPE)
#undef TYPE
            krait_datetime(KRAIT_NS, 1),
        krait_timedelta(KRAIT_NS, 1)
    };
    static uint64_t memory[COUNT(names)][6]; /* three rows of up to 16 bytes, of which each byte is 0 or 1 */
    krait_value     arrays[COUNT(names)];
    krait_table    *table = new_table();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        memset((char *)memory[i] + dtypes[i].item_size, 1, 2 * dtypes[i].item_size);
        arrays[i] = krait_vector(memory[i], dtypes[i], 3);
        add(table, names[i], arrays[i], NULL);
    }
    look("plain", table, arrays, COUNT(arrays));
    krait_table_free(table);
}

static void any_stride_is_shared(void **state) {
    static double      data[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
    static const int64_t shape[] = { 4 }, strides[] = { 24, -16, 0 };
    const krait_value    arrays[] = { krait_ndarray(data, krait_f64_type(), 1, shape, &strides[0]),
                                      krait_ndarray(data + 11, krait_f64_type(), 1, shape, &strides[1]),
                                      krait_ndarray(data + 5, krait_f64_type(), 1, shape, &strides[2]) };
    krait_table         *table = new_table();
    (void)state;
    add(table, "forward", arrays[0], NULL);
    add(table, "backward", arrays[1], NULL);
    add(table, "still", arrays[2], NULL);
    look("plain", table, arrays, 3);
    krait_table_free(table);
}

static void odd_bytes_are_copied(void **state) {
    static const unsigned char big[] = { 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xfe, 0, 1, 0, 0 };
    static uint64_t            block[4];
    char                      *odd = (char *)block + 1;
    const double               doubles[] = { 1.5, -2, 3 };
    krait_dtype                swapped = krait_i32_type();
    (void)state;
    swapped.swapped = 1;
    memcpy(odd, doubles, sizeof doubles);
    const krait_value arrays[] = { krait_vector(big, swapped, 3), krait_vector(odd, krait_f64_type(), 3) };
    for (size_t i = 0; i < COUNT(arrays); i++) {
        krait_table *table = new_table();
        add(table, i ? "odd" : "swapped", arrays[i], NULL);
        look("own", table, &arrays[i], 1);
        krait_table_free(table);
    }
}

static void sixty_four_columns(void **state) {
    static double data[64][64];
    krait_error  *err = NULL;
    krait_table  *table = new_table();
    double        expected = 0;
    char          name[8];
    (void)state;
    for (size_t i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "c%zu", i);
        data[i][i] = (double)i + 0.5;
        expected += data[i][i] * (double)i;
        add(table, name, krait_vector_f64(data[i], 64), NULL);
    }
    assert_true(number("many", table, 0, &err) == expected);
    assert_good(err);
    krait_table_free(table);
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static void times_get_a_unit_that_pandas_has(void **state) {
    static const int64_t ticks[] = { 1, INT64_MIN, -3, 90 };
    static const struct {
        uint8_t     code, unit;
        int32_t     count;
        const char *becomes; /* in pandas 2 and later; 1.5 has ns only */
    } rows[] = {
        { KRAIT_DATETIME, KRAIT_YEAR, 1, "s" },    { KRAIT_DATETIME, KRAIT_YEAR, 2, "s" },
        { KRAIT_DATETIME, KRAIT_MONTH, 1, "s" },   { KRAIT_DATETIME, KRAIT_MONTH, 5, "s" },
        { KRAIT_DATETIME, KRAIT_WEEK, 1, "s" },    { KRAIT_DATETIME, KRAIT_DAY, 1, "s" },
        { KRAIT_DATETIME, KRAIT_HOUR, 6, "s" },    { KRAIT_DATETIME, KRAIT_MINUTE, 15, "s" },
        { KRAIT_DATETIME, KRAIT_S, 1, "s" },       { KRAIT_DATETIME, KRAIT_S, 25, "s" },
        { KRAIT_DATETIME, KRAIT_MS, 1, "ms" },     { KRAIT_DATETIME, KRAIT_MS, 10, "ms" },
        { KRAIT_DATETIME, KRAIT_US, 1, "us" },     { KRAIT_DATETIME, KRAIT_NS, 1, "ns" },
        { KRAIT_DATETIME, KRAIT_NS, 100, "ns" },   { KRAIT_TIMEDELTA, KRAIT_WEEK, 1, "s" },
        { KRAIT_TIMEDELTA, KRAIT_DAY, 2, "s" },    { KRAIT_TIMEDELTA, KRAIT_HOUR, 1, "s" },
        { KRAIT_TIMEDELTA, KRAIT_MINUTE, 1, "s" }, { KRAIT_TIMEDELTA, KRAIT_S, 1, "s" },
        { KRAIT_TIMEDELTA, KRAIT_MS, 1, "ms" },    { KRAIT_TIMEDELTA, KRAIT_US, 3, "us" },
        { KRAIT_TIMEDELTA, KRAIT_NS, 1, "ns" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_table *table = new_table();
        bool         direct = rows[i].count == 1 && rows[i].unit >= KRAIT_S;
        krait_value  more[] = { krait_vector(ticks, krait_dtype_make_(rows[i].code, rows[i].unit, 8, rows[i].count), 4),
                                krait_str(rows[i].becomes), krait_bool(direct) };
        add(table, "t", more[0], NULL);
        look("times", table, more, 3);
        krait_table_free(table);
    }
}

/* The last that fits, and the first that does not. */
static void times_are_never_wrapped(void **state) {
    static const struct {
        uint8_t code, unit;
        int32_t count;
        int64_t most;    /* ticks */
        int64_t becomes; /* in ns, or s of pandas 2 */
        bool    in_ns;   /* the limit is that of ns, the only unit of pandas 1.5 */
    } rows[] = {
        { KRAIT_DATETIME, KRAIT_NS, 2, INT64_MAX / 2, INT64_MAX - 1, true },
        { KRAIT_DATETIME, KRAIT_NS, 100, INT64_MAX / 100, INT64_MAX / 100 * 100, true },
        { KRAIT_TIMEDELTA, KRAIT_NS, 7, INT64_MAX / 7, INT64_MAX / 7 * 7, true },
        { KRAIT_TIMEDELTA, KRAIT_WEEK, 3, INT64_MAX / 1814400, INT64_MAX / 1814400 * 1814400, false },
        { KRAIT_DATETIME, KRAIT_DAY, 1, INT64_MAX / 86400, INT64_MAX / 86400 * 86400, false },
        { KRAIT_DATETIME, KRAIT_S, 25, INT64_MAX / 25, INT64_MAX / 25 * 25, false },
    };
    krait_error *err = NULL;
    krait_value  out;
    int64_t      major;
    (void)state;
    call("tables_in:pandas_major", NULL, 0, &out, &err);
    krait_get_i64(&out, &major, &err);
    assert_good(err);
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_dtype  dtype = krait_dtype_make_(rows[i].code, rows[i].unit, 8, rows[i].count);
        int64_t      ticks[] = { 0, -rows[i].most, INT64_MIN, rows[i].most };
        int64_t      becomes[] = { 0, -rows[i].becomes, INT64_MIN, rows[i].becomes };
        krait_value  expected = krait_vector_i64(becomes, 4);
        krait_table *table = new_table();
        add(table, "t", krait_vector(ticks, dtype, 4), NULL);
        if (rows[i].in_ns || major >= 2) look("has", table, &expected, 1);
        ticks[3]++;
        give("work", table, 0, NULL, 0, NULL, &err);
        assert_error(err, KRAIT_E_RANGE, major >= 2 || rows[i].in_ns ? "column 't', row 3: " : "column 't', row 1: ");
        ticks[3] = 0;
        ticks[1]--;
        give("work", table, 0, NULL, 0, NULL, &err);
        assert_error(err, KRAIT_E_RANGE, "column 't', row 1: ");
        krait_table_free(table);
    }
}

static void far_years_and_missing_rows(void **state) {
    static const int64_t far[] = { 0, INT64_MAX, 5 }, zero[] = { 0, INT64_MIN, 0 };
    static const bool    valid[] = { true, false, true };
    const uint8_t        units[] = { KRAIT_YEAR, KRAIT_MONTH, KRAIT_DAY };
    krait_error         *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(units); i++) {
        krait_dtype  dtype = krait_datetime(units[i], 3);
        krait_value  more[] = { krait_vector(far, dtype, 3), krait_vector_bool(valid, 3) };
        krait_table *table = new_table(), *good = new_table();
        add(table, "t", more[0], NULL);
        give("work", table, 0, NULL, 0, NULL, &err);
        assert_error(err, KRAIT_E_RANGE, "column 't', row 1: 9223372036854775807 of datetime64[3");
        add(good, "t", more[0], &more[1]); /* what lies in a row without a value does not matter */
        look("work_times", good, NULL, 0);
        krait_table_free(table);
        krait_table_free(good);
    }
    krait_table *table = new_table();
    krait_value  expected = krait_vector_i64(zero, 3);
    add(table, "t", krait_vector(zero, krait_timedelta(KRAIT_WEEK, INT32_MAX), 3), NULL);
    look("has", table, &expected, 1); /* 0 of the largest unit there is */
    krait_table_free(table);
}

static void units_that_pandas_cannot_keep(void **state) {
    static const int64_t ticks[] = { 1000, 2000 };
    static const struct {
        krait_dtype dtype;
        const char *words;
    } rows[] = {
        { { KRAIT_DATETIME, 0, KRAIT_PS, 0, 8, { 1 } }, "datetime64[ps]: its finest unit is ns" },
        { { KRAIT_DATETIME, 0, KRAIT_AS, 0, 8, { 5 } }, "datetime64[5as]: its finest unit is ns" },
        { { KRAIT_TIMEDELTA, 0, KRAIT_FS, 0, 8, { 1 } }, "timedelta64[fs]: its finest unit is ns" },
        { { KRAIT_TIMEDELTA, 0, KRAIT_YEAR, 0, 8, { 1 } }, "have no fixed length" },
        { { KRAIT_TIMEDELTA, 0, KRAIT_MONTH, 0, 8, { 1 } }, "have no fixed length" },
        { { KRAIT_TIMEDELTA, 0, KRAIT_GENERIC, 0, 8, { 1 } }, "without a unit" },
    };
    krait_error *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_table *table = new_table();
        add(table, "when", krait_vector(ticks, rows[i].dtype, 2), NULL);
        give("total", table, 0, NULL, 0, NULL, &err);
        if (!strstr(krait_error_message(err), "column 'when'")) fail_msg("%s", krait_error_message(err));
        assert_error(err, KRAIT_E_UNSUPPORTED, rows[i].words);
        krait_table_free(table);
    }
}

static void zones(void **state) {
    static const int64_t     ticks[] = { 0, INT64_MIN, 3600 };
    static const int64_t     nanos[] = { 0, INT64_MIN, 3600000000000 };
    static const char *const names[] = { "Europe/Berlin", "UTC", "UTC+02:00" };
    static const char *const wrong[] = { "Europe/Nowhere", "../zone", "a zone" };
    krait_error             *err = NULL;
    krait_value              more[2];
    char                     words[64];
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(names); i++) {
        krait_column column = i % 2 ? column_of("t", KRAIT_COLUMN_ARRAY, krait_datetime(KRAIT_S, 1), ticks, 3)
                                    : column_of("t", KRAIT_COLUMN_ARRAY, krait_datetime(KRAIT_NS, 1), nanos, 3);
        krait_table *table = new_table();
        column.zone = names[i / 2];
        add_column(table, &column);
        more[0] = krait_vector(column.data, column.dtype, 3);
        more[1] = krait_str(names[i / 2]);
        look("zoned", table, more, 2);
        krait_table_free(table);
    }
    for (size_t i = 0; i < COUNT(wrong); i++) {
        krait_column column = column_of("when", KRAIT_COLUMN_ARRAY, krait_datetime(KRAIT_NS, 1), nanos, 3);
        krait_table *table = new_table();
        column.zone = wrong[i];
        add_column(table, &column);
        give("total", table, 0, NULL, 0, NULL, &err);
        snprintf(words, sizeof words, "'%s'", wrong[i]);
        assert_non_null(strstr(krait_error_message(err), "column 'when'"));
        assert_error(err, KRAIT_E_ARGUMENT, words);
        krait_table_free(table);
    }
}

/* ---- missing values ---------------------------------------------------------------------------------------------- */

enum { ROWS = 40 };

static bool is_missing(int i) {
    return i % 7 == 3 && !(8 <= i && i < 24); /* whole bytes of the bits are set */
}

static void missing_rows_become_a_mask(void **state) {
    const krait_dtype dtypes[] = { krait_bool_type(), krait_i8_type(),   krait_i16_type(),
                                   krait_i32_type(),  krait_i64_type(),  krait_u8_type(),
                                   krait_u16_type(),  krait_u32_type(),  krait_u64_type(),
                                   krait_f32_type(),  krait_f64_type(),  krait_f16_type(),
                                   krait_c64_type(),  krait_c128_type(), krait_datetime(KRAIT_NS, 1),
                                   krait_timedelta(KRAIT_NS, 1) };
    static const int64_t offsets[] = { 0, 5, 8, 15 };
    static uint64_t      memory[COUNT(dtypes)][2 * ROWS];
    krait_value          arrays[COUNT(dtypes)];
    (void)state;
    for (size_t i = 0; i < COUNT(dtypes); i++)
        for (size_t row = 0; row < ROWS; row++)
            memset((char *)memory[i] + row * dtypes[i].item_size, row % 3 == 0, dtypes[i].item_size);
    for (size_t k = 0; k < 2 * COUNT(offsets); k++) {
        bool         all = k >= COUNT(offsets);
        int64_t      offset = offsets[k % COUNT(offsets)];
        uint8_t      bits[8] = { 0 };
        krait_table *table = new_table();
        for (int i = 0; i < ROWS; i++)
            if (all || !is_missing(i)) bits[(offset + i) / 8] |= (uint8_t)(1 << (offset + i) % 8);
        for (size_t i = 0; i < COUNT(dtypes); i++) {
            char         name[8];
            krait_column column = column_of(name, KRAIT_COLUMN_ARRAY, dtypes[i], memory[i], ROWS);
            snprintf(name, sizeof name, "c%zu", i);
            column.valid = bits;
            column.valid_offset = offset;
            add_column(table, &column);
            arrays[i] = krait_vector(memory[i], dtypes[i], ROWS);
        }
        look(all ? "unmissed" : "masked", table, arrays, COUNT(arrays));
        krait_table_free(table);
    }
}

static void validity_as_bools(void **state) {
    static int16_t data[ROWS];
    static bool    valid[ROWS];
    krait_value    values = krait_vector_i16(data, ROWS), has = krait_vector_bool(valid, ROWS);
    krait_table   *table = new_table();
    (void)state;
    for (int i = 0; i < ROWS; i++) data[i] = (int16_t)(i - 9);
    for (int i = 0; i < ROWS; i++) valid[i] = !is_missing(i);
    add(table, "n", values, &has);
    look("masked", table, &values, 1);
    krait_table_free(table);
}

/* ---- text, objects, categories ----------------------------------------------------------------------------------- */

/* Begins at an offset that is not 0. */
static const char text_data[] = "??plain\xc3\xbcn\xc3\xaf\xe2\x98\x83\xf0\x9d\x84\x9e"
                                "a\0bend";
enum { TEXT_BYTES = sizeof text_data - 1 };
static const int32_t ends32[] = { 2, 7, 7, 19, 22, 25 };
static const int64_t ends64[] = { 2, 7, 7, 19, 22, 25 };

static void text(void **state) {
    static const int64_t offsets[] = { -1, 0, 3, 8 };
    (void)state;
    for (size_t k = 0; k < 2 * COUNT(offsets); k++) {
        int64_t      at = offsets[k / 2];
        bool         wide = k % 2;
        uint8_t      bits[2];
        unsigned     all = at < 0 ? 0 : 0x1du << at;
        krait_table *table = new_table();
        krait_column column = texts_of("t", KRAIT_COLUMN_TEXT, text_data, TEXT_BYTES,
                                       wide ? (const void *)ends64 : ends32, wide ? 8 : 4, 5);
        krait_value  more[] = { krait_vector_u8((const uint8_t *)text_data, TEXT_BYTES),
                                wide ? krait_vector_i64(ends64, 6) : krait_vector_i32(ends32, 6), krait_bool(at >= 0) };
        bits[0] = (uint8_t)(all & 0xff);
        bits[1] = (uint8_t)(all >> 8);
        column.valid = at < 0 ? NULL : bits;
        column.valid_offset = at < 0 ? 0 : at;
        add_column(table, &column);
        look("texts", table, more, 3);
        krait_table_free(table);
    }
}

__extension__ typedef __int128 wide_int;

/* 38 nines, times a sign */
static wide_int nines(int sign) {
    wide_int number = 0;
    for (int i = 0; i < 38; i++) number = number * 10 + 9;
    return sign * number;
}

static void add_decimals(krait_table *table, const char *name, const wide_int *numbers, int8_t scale,
                         const uint8_t *valid) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.name = name;
    column.kind = KRAIT_COLUMN_DECIMAL;
    column.precision = 38;
    column.scale = scale;
    column.rows = 3;
    column.data = numbers;
    column.stride = sizeof *numbers;
    column.valid = valid;
    add_column(table, &column);
}

static void bytes_dates_and_decimals(void **state) {
    static const uint8_t first_two[] = { 3 }, not_second[] = { 5 };
    static const int32_t ends[] = { 0, 2, 2, 2 }, days[] = { -719162, INT32_MAX, 2932896 };
    const wide_int       digits[] = { nines(1), -1, 5 }, whole[] = { nines(-1), 0, 7 }, small[] = { nines(1), 1, -1 },
                   round[] = { 12, -3, 0 };
    krait_table *table = new_table();
    krait_column bytes = texts_of("bytes", KRAIT_COLUMN_BYTES, "\xff", 2, ends, 4, 3), date = KRAIT_COLUMN_INIT;
    (void)state;
    bytes.valid = first_two;
    add_column(table, &bytes);
    date.name = "date";
    date.kind = KRAIT_COLUMN_DATE;
    date.rows = 3;
    date.data = days;
    date.stride = sizeof *days;
    date.valid = not_second;
    add_column(table, &date);
    add_decimals(table, "digits", digits, 2, first_two);
    add_decimals(table, "whole", whole, 0, NULL);
    add_decimals(table, "small", small, 38, NULL);
    add_decimals(table, "round", round, -5, NULL);
    look("objects", table, NULL, 0);
    krait_table_free(table);
}

/* The dtype does not depend on what is in the column. */
static void columns_without_a_value(void **state) {
    static const uint8_t none[] = { 0 };
    static const wide_int amounts[3] = { 1, 2, 3 };
    (void)state;
    for (int64_t rows = 0; rows <= 3; rows += 3) {
        krait_table *table = new_table();
        krait_column text = texts_of("t", KRAIT_COLUMN_TEXT, text_data, TEXT_BYTES, ends32, 4, rows), bytes = text;
        krait_column date = column_of("d", KRAIT_COLUMN_DATE, krait_i32_type(), ends32, rows);
        krait_column decimal = column_of("m", KRAIT_COLUMN_DECIMAL, krait_c128_type(), amounts, rows);
        bytes.name = "b";
        bytes.kind = KRAIT_COLUMN_BYTES;
        decimal.precision = 5;
        text.valid = bytes.valid = date.valid = decimal.valid = none;
        add_column(table, &text);
        add_column(table, &bytes);
        add_column(table, &date);
        add_column(table, &decimal);
        look("no_values", table, NULL, 0);
        krait_table_free(table);
    }
}

static void a_date_that_python_has_not(void **state) {
    static const int32_t days[] = { 0, 2932897 }, before[] = { 5, 0, -719163 };
    krait_column         date = KRAIT_COLUMN_INIT;
    krait_error         *err = NULL;
    (void)state;
    for (int i = 0; i < 2; i++) {
        krait_table *table = new_table();
        date.name = "due";
        date.kind = KRAIT_COLUMN_DATE;
        date.data = i ? before : days;
        date.rows = i ? 3 : 2;
        date.stride = sizeof *days;
        add_column(table, &date);
        give("total", table, 0, NULL, 0, NULL, &err);
        assert_error(err, KRAIT_E_RANGE, i ? "column 'due', row 2: day -719163" : "column 'due', row 1: day 2932897");
        krait_table_free(table);
    }
}

static krait_value list_of(krait_value *items, const char *const *texts, size_t n) {
    krait_value list = krait_make_(KRAIT_KIND_LIST);
    for (size_t i = 0; i < n; i++) items[i] = krait_str(texts[i]);
    list.as.list.items = items;
    list.as.list.keys = NULL;
    list.as.list.count = n;
    return list;
}

/* codes in a dictionary, and what must come out */
static void check_categories(const krait_column *column, bool shared, const char *const *labels, size_t label_count,
                             const char *const *values, size_t rows) {
    krait_value  items[16];
    krait_table *table = new_table();
    krait_value  more[] = { krait_vector(column->data, column->dtype, rows), krait_bool(shared),
                            list_of(items, labels, label_count), list_of(items + 8, values, rows),
                            krait_bool(column->ordered) };
    add_column(table, column);
    look("categories", table, more, 5);
    krait_table_free(table);
}

static void categories(void **state) {
    static const int8_t      codes8[] = { 2, 0, 0, 1 };
    static const int64_t     codes64[] = { 2, 0, 0, 1 };
    static const uint8_t     not_third[] = { 0xb }, not_first[] = { 6 };
    static const char        letters[] = "ABCABA";
    static const int32_t     ends[] = { 0, 1, 2, 3 }, again[] = { 3, 4, 5, 6 };
    static const char *const abc[] = { "A", "B", "C" }, *const four[] = { "C", "A", "A", "B" },
                             *const gap[] = { "C", "A", "", "B" }, *const ab[] = { "A", "B" },
                             *const aab[] = { "A", "A", "A", "B" }, *const gone[] = { "A", "", "", "B" },
                             *const ba[] = { "B", "A" };
    static const int64_t     numbers[] = { 10, 20, 30 };
    static const char *const tens[] = { "10", "20", "30" }, *const ten_four[] = { "30", "10", "10", "20" };
    krait_column             text = texts_of("", KRAIT_COLUMN_TEXT, letters, 6, ends, 4, 3);
    krait_column             whole = column_of("", KRAIT_COLUMN_ARRAY, krait_i64_type(), numbers, 3);
    static const uint16_t    halves[] = { 0x3c00, 0x4000, 0x4200 };
    static const char *const halves_text[] = { "1.0", "2.0", "3.0" };
    krait_column             half = column_of("", KRAIT_COLUMN_ARRAY, krait_f16_type(), halves, 3);
    krait_column             column = column_of("c", KRAIT_COLUMN_CATEGORY, krait_i8_type(), codes8, 4);
    (void)state;
    column.dictionary = &text;
    check_categories(&column, true, abc, 3, four, 4);
    column.ordered = 1;
    check_categories(&column, true, abc, 3, four, 4);
    column.dictionary = &whole;
    check_categories(&column, true, tens, 3, ten_four, 4);
    column.dictionary = &half;
    check_categories(&column, true, halves_text, 3, (const char *const[]){ "3.0", "1.0", "1.0", "2.0" }, 4);
    column.dictionary = &text;
    column.valid = not_third;
    check_categories(&column, false, abc, 3, gap, 4);
    column.valid = NULL;
    column.ordered = 0;
    text.offsets = again; /* A, B, A */
    check_categories(&column, false, ab, 2, aab, 4);
    column.valid = not_third;
    check_categories(&column, false, ab, 2, (const char *const[]){ "A", "A", "", "B" }, 4);
    column.valid = NULL;
    text.valid = not_first; /* none, B, A: pandas has no category that is missing, and B comes first */
    check_categories(&column, false, ba, 2, gone, 4);
    text.offsets = ends;
    text.valid = NULL;
    column.data = codes64; /* pandas keeps codes as small as they can be */
    column.dtype = krait_i64_type();
    column.stride = 8;
    check_categories(&column, false, abc, 3, four, 4);
}

/* ---- names and index --------------------------------------------------------------------------------------------- */

static const double xs[] = { 1, 2, 3 };

static void names_that_stand_twice(void **state) {
    static const double      data[4][3] = { { 1 }, { 2 }, { 3 }, { 4 } };
    static const char *const names[] = { "a", "", "a", "\xc3\xbc" };
    krait_table             *table = new_table();
    krait_value              arrays[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        arrays[i] = krait_vector_f64(data[i], 3);
        add(table, names[i], arrays[i], NULL);
    }
    look("names", table, arrays, 4);
    krait_table_free(table);
}

static void an_index_of_one_level(void **state) {
    static const double  doubles[] = { 10, 20, 30 };
    static const int64_t instants[] = { 0, 1000000000, 2000000000 };
    static const uint16_t halves[] = { 0x3c00, 0x4000, 0x4200 };
    static const struct {
        const char *name, *dtype;
    } rows[] = { { "id", "float64" }, { "", "datetime64[ns]" }, { "half", "float32" } };
    krait_column columns[] = { column_of("id", KRAIT_COLUMN_ARRAY, krait_f64_type(), doubles, 3),
                               column_of("", KRAIT_COLUMN_ARRAY, krait_datetime(KRAIT_NS, 1), instants, 3),
                               column_of("half", KRAIT_COLUMN_ARRAY, krait_f16_type(), halves, 3) };
    (void)state;
    for (size_t i = 0; i < COUNT(columns); i++) {
        krait_table *table = new_table();
        add(table, "x", krait_vector_f64(xs, 3), NULL);
        add_level(table, &columns[i]);
        krait_value plain = krait_vector(columns[i].data, columns[i].dtype, 3);
        krait_value more[] = { plain, krait_str(rows[i].name), krait_str(rows[i].dtype) };
        look(i == 1 ? "one_level_of_times" : "one_level", table, more, 3);
        if (i == 0) look("shared_level", table, &plain, 1);
        krait_table_free(table);
    }
}

static void an_index_of_several_levels(void **state) {
    static const int32_t ends[] = { 0, 4, 9, 9 }, days[] = { 1, 2, 3 };
    static const int8_t  numbers[] = { 10, 20, 30 };
    static const uint8_t first_two[] = { 3 };
    krait_column         city = texts_of("city", KRAIT_COLUMN_TEXT, "BonnK\xc3\xb6ln", 9, ends, 4, 3);
    krait_column         number_level = column_of("", KRAIT_COLUMN_ARRAY, krait_i8_type(), numbers, 3);
    krait_column         day = column_of("day", KRAIT_COLUMN_DATE, krait_i32_type(), days, 3);
    krait_table         *table = new_table();
    krait_value          x = krait_vector_f64(xs, 3);
    (void)state;
    city.valid = first_two;
    add_level(table, &city);
    add(table, "x", x, NULL);
    add_level(table, &number_level);
    add_level(table, &day);
    look("levels", table, &x, 1);
    krait_table_free(table);
}

/* ---- nothing ----------------------------------------------------------------------------------------------------- */

static void check_empty(const krait_table *table, int64_t rows, int64_t columns) {
    int64_t     shape[] = { rows, columns };
    krait_value more = krait_vector_i64(shape, 2);
    look("empty", table, &more, 1);
}

static void empty_tables(void **state) {
    static const int32_t zero[] = { 0 };
    static const uint8_t bits[] = { 0 };
    krait_column         text = texts_of("t", KRAIT_COLUMN_TEXT, NULL, 0, zero, 4, 0), category, date;
    krait_column         whole = column_of("n", KRAIT_COLUMN_ARRAY, krait_i32_type(), NULL, 0);
    krait_column         level = column_of("level", KRAIT_COLUMN_ARRAY, krait_f64_type(), xs, 3);
    krait_table         *nothing = new_table(), *no_rows = new_table(), *plain = new_table(), *bare = new_table();
    (void)state;
    check_empty(nothing, 0, 0);
    add(plain, "x", krait_vector_f64(NULL, 0), NULL);
    check_empty(plain, 0, 1);
    add_level(bare, &level);
    check_empty(bare, 3, 0);
    category = column_of("c", KRAIT_COLUMN_CATEGORY, krait_i8_type(), NULL, 0);
    category.dictionary = &text;
    date = column_of("d", KRAIT_COLUMN_DATE, krait_i32_type(), NULL, 0);
    add_column(no_rows, &text);
    add_column(no_rows, &whole);
    whole.valid = bits;
    add_column(no_rows, &whole);
    add_column(no_rows, &category);
    add_column(no_rows, &date);
    text.kind = KRAIT_COLUMN_BYTES;
    add_column(no_rows, &text);
    check_empty(no_rows, 0, 6);
    krait_table_free(nothing);
    krait_table_free(plain);
    krait_table_free(bare);
    krait_table_free(no_rows);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static double  written[] = { 1, 2, 3 };
static int32_t counted[] = { 1, 2, 3 };

/* A float column, which goes the quick way in a table of its own, and an integer one with a mask. */
static krait_table *table_to_write(bool masked) {
    static const bool valid[] = { true, true, false };
    krait_value       has = krait_vector_bool(valid, 3);
    krait_table      *table = new_table();
    written[0] = counted[0] = 1;
    add(table, "x", krait_vector_f64(written, 3), NULL);
    if (masked) add(table, "n", krait_vector_i32(counted, 3), &has);
    return table;
}

static void read_only_unless_granted(void **state) {
    krait_error *err = NULL;
    (void)state;
    for (int masked = 0; masked < 2; masked++) {
        krait_table *table = table_to_write(masked);
        for (int column = 0; column <= masked; column++) {
            krait_value at = krait_i64(column);
            give("write", table, 0, &at, 1, NULL, &err);
            assert_string_equal(krait_error_python_type(err), "ValueError");
            assert_error(err, KRAIT_E_PYTHON, "read-only");
            give("write_under", table, 0, &at, 1, NULL, &err);
            assert_error(err, KRAIT_E_PYTHON, "WRITEABLE");
        }
        assert_true(written[0] == 1 && counted[0] == 1);
        krait_table_free(table);
    }
}

static void writing_arrives_where_granted(void **state) {
    krait_error *err = NULL;
    (void)state;
    for (int masked = 0; masked < 2; masked++) {
        krait_table *table = table_to_write(masked);
        for (int column = 0; column <= masked; column++) {
            krait_value at = krait_i64(column);
            give("write", table, KRAIT_WRITABLE, &at, 1, NULL, &err);
            assert_good(err);
        }
        assert_true(written[0] == 5);
        assert_int_equal(counted[0], masked ? 5 : 1);
        krait_table_free(table);
    }
}

static void a_copy_is_pythons_own(void **state) {
    krait_error        *err = NULL;
    krait_value         at = krait_i64(1);
    krait_table        *table = table_to_write(true);
    const krait_metrics before = counters();
    (void)state;
    give("write", table, KRAIT_COPY, &at, 1, NULL, &err);
    assert_good(err);
    assert_true(counted[0] == 1);
    assert_true(counters().copies == before.copies + 1);
    assert_true(counters().copied_bytes >= before.copied_bytes + sizeof written + sizeof counted);
    give("keep", table, KRAIT_COPY, NULL, 0, NULL, &err);
    krait_table_free(table);
    assert_good(err); /* kept: no escape */
    assert_int_equal(krait_loans(NULL, NULL), 0);
    memset(written, 0xff, sizeof written);
    krait_value out;
    double      sum = 0;
    call("tables_in:total_kept", NULL, 0, &out, &err);
    krait_get_f64(&out, &sum, &err);
    assert_good(err);
    assert_true(sum == 6);
    for (int i = 0; i < 3; i++) written[i] = i + 1;
    run("tables_in:forget");
}

/* ---- loans ------------------------------------------------------------------------------------------------------- */

/* One of each kind of column. */
static krait_table *mixed_table(void) {
    static const int8_t  codes[] = { 0, 1, 0 };
    static const int32_t ends[] = { 0, 1, 2, 3 }, days[] = { 1, 2, 3 };
    static const bool    valid[] = { true, false, true };
    static const int32_t whole[] = { 7, 8, 9 };
    krait_column         text = texts_of("t", KRAIT_COLUMN_TEXT, "abc", 3, ends, 4, 3), labels = text;
    krait_column         category = column_of("c", KRAIT_COLUMN_CATEGORY, krait_i8_type(), codes, 3);
    krait_column         date = column_of("d", KRAIT_COLUMN_DATE, krait_i32_type(), days, 3), bytes = text;
    krait_value          has = krait_vector_bool(valid, 3);
    krait_table         *table = new_table();
    static wide_int      amounts[3] = { 100, 200, 300 };
    static const uint8_t not_second[] = { 5 };
    labels.rows = 2;
    bytes.name = "b";
    bytes.kind = KRAIT_COLUMN_BYTES;
    date.valid = bytes.valid = not_second;
    category.dictionary = &labels;
    add(table, "x", krait_vector_f64(xs, 3), NULL);
    add(table, "n", krait_vector_i32(whole, 3), &has);
    add_column(table, &text);
    add_column(table, &category);
    add_column(table, &date);
    add_column(table, &bytes);
    add_decimals(table, "m", amounts, 2, not_second);
    return table;
}

static void ordinary_work_keeps_nothing(void **state) {
    krait_metrics before = at_rest();
    krait_table  *table = mixed_table();
    (void)state;
    look("work", table, NULL, 0);
    krait_table_free(table);
    assert_nothing_left(&before);
}

static void what_is_kept_escapes(void **state) {
    static const char *const lent[] = { "x", "n", "c" };
    krait_error             *err = NULL;
    krait_table             *table = mixed_table();
    (void)state;
    give("keep", table, 0, NULL, 0, NULL, &err);
    assert_non_null(strstr(krait_error_message(err), "table of 7 columns"));
    assert_error(err, KRAIT_E_ESCAPED, "argument 1");
    assert_int_equal(krait_loans(NULL, NULL), 1); /* one for all columns */
    run("tables_in:forget");
    assert_int_equal(krait_loans(NULL, NULL), 0);
    for (size_t i = 0; i < COUNT(lent); i++) {
        krait_value name = krait_str(lent[i]);
        give("keep_column", table, 0, &name, 1, NULL, &err);
        assert_error(err, KRAIT_E_ESCAPED, "argument 1");
        run("tables_in:forget");
    }
    krait_value copied = krait_str("d");
    give("keep_column", table, 0, &copied, 1, NULL, &err); /* dates are objects of Python's own */
    assert_good(err);
    run("tables_in:forget");
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_table_free(table);
}

/* Text is lent where pandas has it as Arrow arrays, and made into objects elsewhere. */
static void kept_text(void **state) {
    krait_error *err = NULL;
    krait_value  out, name = krait_str("t");
    krait_table *table = mixed_table();
    bool         arrow;
    (void)state;
    call("tables_in:has_arrow", NULL, 0, &out, &err);
    krait_get_bool(&out, &arrow, &err);
    assert_good(err);
    give("keep_column", table, 0, &name, 1, NULL, &err);
    if (arrow) assert_error(err, KRAIT_E_ESCAPED, "argument 1");
    assert_good(err);
    run("tables_in:forget");
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_table_free(table);
}

static void a_result_that_views_is_copied(void **state) {
    krait_error *err = NULL;
    krait_value  out, name = krait_str("x");
    krait_array  array;
    krait_table *table = mixed_table();
    (void)state;
    give("column", table, 0, &name, 1, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_ptr_not_equal(array.data, xs);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_memory_equal(array.data, xs, sizeof xs);
    krait_value_clear(&out);
    give("column", table, KRAIT_ALIAS, &name, 1, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, xs);
    assert_true(array.flags & KRAIT_ARRAY_ALIAS);
    krait_value_clear(&out);
    krait_table_free(table);
}

/* What lies between the columns is not the table's. */
static void memory_between_columns_is_not_lent(void **state) {
    static double data[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    krait_error  *err = NULL;
    krait_value   out;
    krait_array   array;
    krait_table  *table = new_table();
    (void)state;
    add(table, "first", krait_vector_f64(data, 3), NULL);
    add(table, "last", krait_vector_f64(data + 6, 3), NULL);
    krait_arg args[] = { krait_pos(krait_table_value(table)),
                         krait_with(krait_pos(krait_vector_f64(data + 3, 3)), KRAIT_ALIAS) };
    call("tables_in:second", args, 2, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, data + 3);
    krait_value_clear(&out);
    krait_table_free(table);
}

static void a_table_in_a_list_is_copied(void **state) {
    krait_error *err = NULL;
    krait_value  out, list = krait_make_(KRAIT_KIND_LIST), item;
    krait_table *table = mixed_table();
    double       sum = 0;
    (void)state;
    item = krait_table_value(table);
    list.as.list.items = &item;
    list.as.list.keys = NULL;
    list.as.list.count = 1;
    call1("tables_in:first", list, 0, &out, &err);
    krait_table_free(table);
    krait_get_f64(&out, &sum, &err);
    assert_good(err); /* it was kept */
    assert_true(sum == 6);
    call("tables_in:total_kept", NULL, 0, &out, &err);
    krait_get_f64(&out, &sum, &err);
    assert_good(err);
    assert_true(sum == 6);
    run("tables_in:forget");
}

/* ---- memory that is given away ----------------------------------------------------------------------------------- */

typedef struct gift {
    krait_table *table;
    double       data[3];
    atomic_int   released;
} gift;

static void release_gift(void *user) {
    gift *mine = user;
    memset(mine->data, 0xff, sizeof mine->data);
    krait_table_free(mine->table);
    atomic_fetch_add(&mine->released, 1);
}

static krait_value given(gift *mine) {
    static const int32_t ends[] = { 0, 1, 2, 3 };
    krait_column         text = texts_of("t", KRAIT_COLUMN_TEXT, "abc", 3, ends, 4, 3);
    for (int i = 0; i < 3; i++) mine->data[i] = i + 1;
    atomic_init(&mine->released, 0);
    mine->table = new_table();
    add(mine->table, "x", krait_vector_f64(mine->data, 3), NULL);
    add_column(mine->table, &text);
    return krait_owned(krait_table_value(mine->table), release_gift, mine);
}

static void assert_released_once(gift *mine, const char *when) {
    for (int ms = 0; ms < PATIENCE_MS && !atomic_load(&mine->released); ms++) {
        if (ms % 100 == 50) krait_gc(NULL); /* a cycle may hold it */
        wait_ms(1);
    }
    wait_ms(5);
    if (atomic_load(&mine->released) != 1) fail_msg("released %d times: %s", atomic_load(&mine->released), when);
}

static void owned_tables_are_released_once(void **state) {
    static const struct {
        const char  *name;
        uint32_t     flags;
        krait_status status;
    } rows[] = {
        { "tables_in:total", 0, KRAIT_OK },
        { "tables_in:total", KRAIT_WRITABLE, KRAIT_OK },
        { "tables_in:total", KRAIT_COPY, KRAIT_OK },
        { "tables_in:fail", 0, KRAIT_E_PYTHON },
        { "tables_in:fail", KRAIT_COPY, KRAIT_E_PYTHON },
        { "tables_in:no_such_function", 0, KRAIT_E_NOT_FOUND },
        { "tables_in:total", 64, KRAIT_E_UNSUPPORTED },
        { "tables_in:total", KRAIT_COPY | KRAIT_ALIAS, KRAIT_E_ARGUMENT },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        gift         mine;
        krait_error *err = NULL;
        krait_value  out;
        call1(rows[i].name, given(&mine), rows[i].flags, &out, &err);
        if (krait_error_status(err) != rows[i].status)
            fail_msg("%s: %s: %s", rows[i].name, krait_status_name(krait_error_status(err)), krait_error_message(err));
        krait_value_clear(&out);
        krait_error_clear(&err);
        assert_released_once(&mine, rows[i].name);
    }
    assert_nothing_left(&before);
}

static void an_owned_table_that_cannot_go_in(void **state) {
    static const int64_t ticks[] = { 1 };
    gift                 mine;
    krait_error         *err = NULL;
    (void)state;
    atomic_init(&mine.released, 0);
    mine.table = new_table();
    add(mine.table, "when", krait_vector(ticks, krait_datetime(KRAIT_PS, 1), 1), NULL);
    call1("tables_in:total", krait_owned(krait_table_value(mine.table), release_gift, &mine), 0, NULL, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "column 'when'");
    assert_released_once(&mine, "refused by its column");
}

/* Of no rows nothing is lent, so nothing of the caller's may stay in the frame: pyarrow reads one offset all the same. */
static void offsets_of_no_rows(void **state) {
    krait_error       *err = NULL;
    krait_table       *table = new_table();
    krait_column       column = KRAIT_COLUMN_INIT;
    int64_t           *offsets = calloc(1, sizeof *offsets);
    const krait_table *read;
    krait_value        out;
    (void)state;
    assert_non_null(offsets);
    column.name = "t";
    column.kind = KRAIT_COLUMN_TEXT;
    column.offsets = offsets;
    column.offset_bytes = sizeof *offsets;
    krait_table_add_column(table, &column, &err);
    call1("tables_in:unchanged", krait_table_value(table), 0, &out, &err);
    krait_table_free(table);
    free(offsets);
    krait_get_table(&out, &read, &err);
    krait_table_find(read, "t", &column, &err);
    assert_good(err);
    assert_ptr_not_equal(column.offsets, offsets);
    assert_true(!column.offsets || column.offset_bytes == 4 || *(const int64_t *)column.offsets == 0);
    krait_value_clear(&out);
}

/* A leak, or a table freed too early, is LeakSanitizer's and ASan's to find. */
static void a_table_handed_over_whole(void **state) {
    static const char *const texts[] = { "a", NULL, "c" };
    krait_error             *err = NULL;
    krait_table             *table = new_table();
    krait_value              out;
    (void)state;
    krait_table_add_strings(table, "t", texts, 3, &err);
    call1("tables_in:keep", krait_table_owned(table), 0, NULL, &err);
    assert_good(err); /* it may be kept */
    call("tables_in:kept_texts", NULL, 0, &out, &err);
    assert_good(err);
    assert_int_equal(krait_list_len(&out), 3);
    krait_value_clear(&out);
    run("tables_in:forget");
}

static void an_owned_table_that_is_kept(void **state) {
    gift         mine;
    krait_error *err = NULL;
    krait_value  out;
    double       sum = 0;
    (void)state;
    call1("tables_in:keep", given(&mine), 0, NULL, &err);
    assert_good(err); /* given, not lent: no escape */
    assert_int_equal(krait_loans(NULL, NULL), 0);
    call("tables_in:total_kept", NULL, 0, &out, &err);
    krait_get_f64(&out, &sum, &err);
    assert_good(err);
    assert_true(sum == 6);
    assert_int_equal(atomic_load(&mine.released), 0);
    run("tables_in:forget");
    assert_released_once(&mine, "kept and dropped");
}

/* ---- refusals ---------------------------------------------------------------------------------------------------- */

static void no_table_at_all(void **state) {
    krait_error *err = NULL;
    (void)state;
    give("total", NULL, 0, NULL, 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "table is NULL");
    give("total", NULL, KRAIT_COPY, NULL, 0, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "table is NULL");
}

static int64_t held(void) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      count = 0;
    call("tables_in:held", NULL, 0, &out, &err);
    krait_get_i64(&out, &count, &err);
    assert_good(err);
    return count;
}

/* Python's own objects: under a sanitizer, where its allocator does not count, the sanitizer sees what is lost. Caches
 * fill up now and then, what is lost is lost in every round. */
static void nothing_piles_up(void **state) {
    enum { ROUNDS = 4, TIMES = 200 };
    static const int64_t ticks[] = { 1 };
    static const int32_t day[] = { INT32_MAX };
    krait_table         *good = mixed_table(), *late = new_table(), *bad = new_table();
    krait_column         date = column_of("late", KRAIT_COLUMN_DATE, krait_i32_type(), day, 1);
    krait_error         *err = NULL;
    int64_t              least = INT64_MAX;
    (void)state;
    add(bad, "when", krait_vector(ticks, krait_datetime(KRAIT_PS, 1), 1), NULL);
    add(late, "x", krait_vector_f64(xs, 1), NULL);
    add_column(late, &date);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t before = held(), more;
        for (int i = 0; i < TIMES; i++) {
            give("total", good, i % 2 ? KRAIT_COPY : 0, NULL, 0, NULL, &err);
            assert_good(err);
            give("total", i % 2 ? late : bad, 0, NULL, 0, NULL, &err);
            assert_int_equal(krait_error_status(err), i % 2 ? KRAIT_E_RANGE : KRAIT_E_UNSUPPORTED);
            krait_error_clear(&err);
        }
        more = held() - before;
        if (more < least) least = more;
    }
    if (least >= TIMES / 2) fail_msg("%d objects more in %d calls", (int)least, TIMES);
    krait_table_free(good);
    krait_table_free(late);
    krait_table_free(bad);
}

#ifdef KRAIT_FAULTS
/* Every allocation of a call with a table fails once. */
static void without_memory(void **state) {
    static const uint32_t flags[] = { 0, KRAIT_COPY };
    (void)state;
    for (size_t i = 0; i < COUNT(flags); i++) {
        krait_table  *table = mixed_table();
        krait_metrics before = at_rest();
        bool          reached = true;
        uint64_t      n;
        for (n = 1; reached; n++) {
            krait_error *err = NULL;
            krait_status status;
            krait__mem_fail_at(n);
            status = give("total", table, flags[i], NULL, 0, NULL, &err);
            reached = krait__mem_count() >= n;
            krait__mem_fail_at(0);
            if (!status != !err) fail_msg("allocation %d fails, status %d", (int)n, status);
            krait_error_clear(&err);
            assert_int_equal(krait_loans(NULL, NULL), 0);
        }
        assert_true(n > 3);
        assert_nothing_left(&before);
        look("work", table, NULL, 0);
        krait_table_free(table);
    }
}

static struct {
    void **slot;
    void  *real;
    int    hits;
} armed;
static void *(*no_memory)(void); /* PyErr_NoMemory */

static void disarm(void) {
    *armed.slot = armed.real;
}

static void *fail_with_null(void) {
    armed.hits++;
    disarm();
    return no_memory();
}

static int fail_with_minus(void) {
    armed.hits++;
    disarm();
    no_memory();
    return -1;
}

static const struct entry {
    size_t offset;
    char   fails[8]; /* "NULL_", "MINUS", ... */
} entries[] = {
#define PY_FUNCTION(need, fails, type, name, args) { offsetof(krait__pyapi, name), #fails },
#define PY_DATA(type, name)
#include "pyapi.def"
#undef PY_FUNCTION
#undef PY_DATA
};

static bool arm(const struct entry *entry) {
    void *(*null)(void) = fail_with_null;
    int (*minus)(void) = fail_with_minus;
    bool null_means_failure = !strcmp(entry->fails, "NULL_");
    if (!null_means_failure && strcmp(entry->fails, "MINUS") != 0) return false;
    armed.slot = (void **)(void *)((char *)&krait__py + entry->offset);
    armed.real = *armed.slot;
    if (null_means_failure) memcpy(armed.slot, &null, sizeof null);
    else memcpy(armed.slot, &minus, sizeof minus);
    return true;
}

/* Each of Python's functions fails the first time that a call with a table needs it; first of all tests, so that what
 * is loaded once is not there yet. */
static void without_pythons_help(void **state) {
    krait_table *mixed = mixed_table(), *plain = new_table();
    void        *symbol = dlsym(RTLD_DEFAULT, "PyErr_NoMemory");
    (void)state;
    memcpy(&no_memory, &symbol, sizeof symbol);
    add(plain, "x", krait_vector_f64(xs, 3), NULL);
    armed.hits = 0;
    for (size_t i = 0; i < 3 * COUNT(entries); i++) {
        krait_error       *err = NULL;
        krait_status       status;
        const krait_table *table = i % 3 == 1 ? plain : mixed;
        if (!arm(&entries[i / 3])) continue;
        status = give("total", table, i % 3 == 2 ? KRAIT_COPY : 0, NULL, 0, NULL, &err);
        disarm();
        if (!status != !err) fail_msg("entry %d fails, status %d", (int)(i / 3), status);
        krait_error_clear(&err);
        assert_int_equal(krait_loans(NULL, NULL), 0);
    }
    assert_true(armed.hits > 20);
    look("work", mixed, NULL, 0);
    krait_table_free(mixed);
    krait_table_free(plain);
}
#endif

/* ---- runs of their own ------------------------------------------------------------------------------------------- */

static const char hidden_by[] = "KRAIT_TEST_HIDE"; /* the variable that names a module which cannot be imported */

static const char hide[] = "import os\n"
                           "import sys\n"
                           "assert 'pandas' not in sys.modules\n"
                           "sys.modules[os.environ['KRAIT_TEST_HIDE']] = None\n";

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed && getenv(hidden_by)) define("hide", hide);
    if (!failed && !(getenv(hidden_by) && !strcmp(getenv(hidden_by), "pandas"))) define("tables_in", module);
    return failed;
}

/* The only test of its run. */
static void tables_need_pandas(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    gift         mine;
    (void)state;
    call1("builtins:len", given(&mine), 0, &out, &err);
    assert_error(err, KRAIT_E_IMPORT, "pandas");
    assert_released_once(&mine, "without pandas");
}

extern char **environ;
static int    without[2] = { -1, -1 }; /* wait statuses */

static void without_pyarrow(void **state) {
    (void)state;
    assert_int_equal(without[0], 0);
}

static void without_pandas(void **state) {
    (void)state;
    assert_int_equal(without[1], 0);
}

/* This program again, before any thread is there. */
static int run_without(const char *hidden, char *const *argv) {
    pid_t child;
    int   status = -1;
    setenv(hidden_by, hidden, 1);
    if (!posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ)) waitpid(child, &status, 0);
    unsetenv(hidden_by);
    return status;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
#ifdef KRAIT_FAULTS
        cmocka_unit_test(without_pythons_help),
#endif
        cmocka_unit_test(every_dtype_is_shared),
        cmocka_unit_test(any_stride_is_shared),
        cmocka_unit_test(odd_bytes_are_copied),
        cmocka_unit_test(sixty_four_columns),
        cmocka_unit_test(times_get_a_unit_that_pandas_has),
        cmocka_unit_test(times_are_never_wrapped),
        cmocka_unit_test(far_years_and_missing_rows),
        cmocka_unit_test(units_that_pandas_cannot_keep),
        cmocka_unit_test(zones),
        cmocka_unit_test(missing_rows_become_a_mask),
        cmocka_unit_test(validity_as_bools),
        cmocka_unit_test(text),
        cmocka_unit_test(bytes_dates_and_decimals),
        cmocka_unit_test(columns_without_a_value),
        cmocka_unit_test(a_date_that_python_has_not),
        cmocka_unit_test(categories),
        cmocka_unit_test(names_that_stand_twice),
        cmocka_unit_test(an_index_of_one_level),
        cmocka_unit_test(an_index_of_several_levels),
        cmocka_unit_test(empty_tables),
        cmocka_unit_test(read_only_unless_granted),
        cmocka_unit_test(writing_arrives_where_granted),
        cmocka_unit_test(a_copy_is_pythons_own),
        cmocka_unit_test(ordinary_work_keeps_nothing),
        cmocka_unit_test(what_is_kept_escapes),
        cmocka_unit_test(kept_text),
        cmocka_unit_test(a_result_that_views_is_copied),
        cmocka_unit_test(memory_between_columns_is_not_lent),
        cmocka_unit_test(a_table_in_a_list_is_copied),
        cmocka_unit_test(owned_tables_are_released_once),
        cmocka_unit_test(an_owned_table_that_cannot_go_in),
        cmocka_unit_test(an_owned_table_that_is_kept),
        cmocka_unit_test(offsets_of_no_rows),
        cmocka_unit_test(a_table_handed_over_whole),
        cmocka_unit_test(no_table_at_all),
        cmocka_unit_test(nothing_piles_up),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(without_memory),
#endif
    };
    const struct CMUnitTest bare[] = { cmocka_unit_test(tables_need_pandas) };
    const struct CMUnitTest others[] = { cmocka_unit_test(without_pyarrow), cmocka_unit_test(without_pandas) };
    const char             *hidden = getenv(hidden_by);
    int                     failed;
    (void)argc;
    if (hidden && !strcmp(hidden, "pandas")) return cmocka_run_group_tests(bare, set_up, NULL);
    if (hidden) return cmocka_run_group_tests(tests, set_up, NULL);
    without[0] = run_without("pyarrow", argv);
    without[1] = run_without("pandas", argv);
    failed = cmocka_run_group_tests(tests, set_up, NULL);
    return failed + cmocka_run_group_tests(others, NULL, NULL);
}
