/* Arrow in one process with pyarrow: what it exports comes through krait unchanged, by the C interfaces and as the
 * result of a call: data drawn by lot of every type, and the files that pyarrow tests itself with. What is right is
 * asked of pyarrow only. Without pyarrow the arrays made by hand are what there is, and the program says so.
 * KRAIT_TEST_SEED repeats a run. */
#include "check.h"

#include <pthread.h>

#include "../arrow_trees.h"

static const char module[] =
    "import decimal\n"
    "import glob\n"
    "import random\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = None\n"
    "try:\n"
    "    import polars\n"
    "except ImportError:\n"
    "    polars = None\n"
    "cases, held = [], None\n"
    "def version():\n"
    "    return pa.__version__ if pa else ''\n"
    "def has_polars():\n"
    "    return polars is not None\n"
    "# ---- data by lot, of every type that krait has a column for ----\n"
    "def number(r, bits, signed):\n"
    "    low = -2 ** (bits - 1) if signed else 0\n"
    "    return r.choice([0, 1, low, low + 2 ** bits - 1, r.randrange(low, low + 2 ** bits)])\n"
    "def text(r):\n"
    "    return ''.join(r.choice('ab\\u00e9\\u20ac\\U0001f600 ') for _ in range(r.choice([0, 1, 5, 12, 13, 40])))\n"
    "def data(r):\n"
    "    return text(r).encode() + bytes([r.randrange(256)])\n"
    "def real(r):\n"
    "    return r.choice([0.0, -0.0, 1.5, -2.25, float('inf'), float('nan'), 65504.0])\n"
    "def digits(r, precision, scale):\n"
    "    return decimal.Decimal(r.randrange(-10 ** precision + 1, 10 ** precision)).scaleb(-scale, context)\n"
    "context = decimal.Context(prec=60)\n"
    "def types():\n"
    "    found = {}\n"
    "    for bits in (8, 16, 32, 64):\n"
    "        for signed in (True, False):\n"
    "            t = getattr(pa, ('int' if signed else 'uint') + str(bits))()\n"
    "            found[str(t)] = t, lambda r, b=bits, s=signed: number(r, b, s)\n"
    "    for t in (pa.float16(), pa.float32(), pa.float64()):\n"
    "        found[str(t)] = t, real\n"
    "    found['bool'] = pa.bool_(), lambda r: r.random() < 0.5\n"
    "    found['null'] = pa.null(), lambda r: None\n"
    "    for name in ('string', 'large_string', 'string_view'):\n"
    "        found[name] = getattr(pa, name)(), text\n"
    "    for name in ('binary', 'large_binary', 'binary_view'):\n"
    "        found[name] = getattr(pa, name)(), data\n"
    "    found['fixed'] = pa.binary(5), lambda r: bytes(r.randrange(256) for _ in range(5))\n"
    "    found['empty'] = pa.binary(0), lambda r: b''\n"
    "    found['date32'] = pa.date32(), lambda r: r.randrange(-2 ** 31, 2 ** 31)\n"
    "    found['date64'] = pa.date64(), lambda r: r.randrange(-10 ** 5, 10 ** 5) * 86400000\n"
    "    for unit in ('s', 'ms', 'us', 'ns'):\n"
    "        found['duration ' + unit] = pa.duration(unit), lambda r: number(r, 63, True)\n"
    "        for zone in (None, 'UTC', 'Europe/Berlin', '+02:00'):\n"
    "            found[f'timestamp {unit} {zone}'] = pa.timestamp(unit, zone), lambda r: number(r, 63, True)\n"
    "    for precision, scale in ((1, 0), (5, 2), (18, 5), (19, 0), (38, 10), (38, 38), (7, -3)):\n"
    "        found[f'decimal {precision} {scale}'] = (pa.decimal128(precision, scale),\n"
    "                                                  lambda r, p=precision, s=scale: digits(r, p, s))\n"
    "    return found\n"
    "def array(r, t, make, n, missing):\n"
    "    values = [None if r.random() < missing else make(r) for _ in range(n)]\n"
    "    if pa.types.is_date32(t):\n"
    "        return pa.array(values, pa.int32()).cast(t)\n"
    "    if pa.types.is_temporal(t):\n"
    "        return pa.array(values, pa.int64()).cast(t)\n"
    "    return pa.array(values, t)\n"
    "INDICES = ('int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64')\n"
    "def coded(r, index, n, missing):\n"
    "    t, make = r.choice([x for k, x in types().items() if k not in ('null', 'empty', 'bool') and 'view' not in k])\n"
    "    values = array(r, t, make, r.randrange(1, 9), 0)\n"
    "    codes = [None if r.random() < missing else r.randrange(len(values)) for _ in range(n)]\n"
    "    ordered = r.random() < 0.5\n"
    "    return pa.DictionaryArray.from_arrays(pa.array(codes, getattr(pa, index)()), values, ordered=ordered)\n"
    "def batch(r, n, missing):\n"
    "    columns = {name: array(r, t, make, n, missing) for name, (t, make) in types().items()}\n"
    "    for index in INDICES:\n"
    "        columns['coded ' + index] = coded(r, index, n, missing)\n"
    "    columns['values missing'] = pa.DictionaryArray.from_arrays(\n"
    "        pa.array([r.randrange(3) for _ in range(n)], 'int8'), pa.array(['x', None, 'y']))\n"
    "    columns['duplicate \\u00e9'] = columns['int32']\n"
    "    return pa.RecordBatch.from_pydict(columns)\n"
    "def refused():\n"
    "    'Types without a column: what the message says.'\n"
    "    lists = pa.array([[1], None, [2, 3]])\n"
    "    found = {\n"
    "        'list': (lists, 'list'),\n"
    "        'large list': (lists.cast(pa.large_list(pa.int64())), 'large list'),\n"
    "        'fixed list': (pa.array([[1, 2], None, [2, 3]], pa.list_(pa.int64(), 2)), 'list of a fixed size'),\n"
    "        'struct': (pa.array([{'a': 1}, None, {'a': 2}]), 'struct'),\n"
    "        'map': (pa.array([[('a', 1)], None, []], pa.map_(pa.string(), pa.int32())), 'map'),\n"
    "        'time32': (pa.array([1, None, 2], pa.time32('s')), 'time of day'),\n"
    "        'time64': (pa.array([1, None, 2], pa.time64('ns')), 'time of day'),\n"
    "        'interval': (pa.array([(1, 2, 3), None, (4, 5, 6)], pa.month_day_nano_interval()),\n"
    "                     'interval of months, days and nanoseconds'),\n"
    "        'decimal256': (pa.array([1, None, 2], pa.decimal256(50, 0)), 'decimal of other than 128 bits'),\n"
    "        'sparse': (pa.UnionArray.from_sparse(pa.array([0, 0, 1], 'int8'), [pa.array([1, 2, 3]),\n"
    "                   pa.array(['a', 'b', 'c'])]), 'sparse union'),\n"
    "        'dense': (pa.UnionArray.from_dense(pa.array([0, 0, 1], 'int8'), pa.array([0, 1, 0], 'int32'),\n"
    "                  [pa.array([1, 2]), pa.array(['a'])]), 'dense union'),\n"
    "        'coded list': (pa.DictionaryArray.from_arrays(pa.array([0, 0, 0], 'int8'), lists), 'dictionary of type list'),\n"
    "    }\n"
    "    if hasattr(pa, 'RunEndEncodedArray'):\n"
    "        found['runs'] = (pa.RunEndEncodedArray.from_arrays(pa.array([3], 'int32'), pa.array([1])), 'run-end encoded')\n"
    "    if hasattr(pa, 'decimal32'):\n"
    "        found['decimal32'] = (pa.array([1, None, 2], pa.decimal32(5, 0)), 'decimal of other than 128 bits')\n"
    "    if hasattr(pa, 'ListViewArray'):\n"
    "        views = pa.ListViewArray.from_arrays([0, 1, 1], [1, 0, 2], pa.array([1, 2, 3]))\n"
    "        found['list view'] = (views, 'list view')\n"
    "    return found\n"
    "def own_data():\n"
    "    'The files that pyarrow tests itself with, where the wheel has them.'\n"
    "    folder = pa.__path__[0] + '/tests/data/'\n"
    "    for name in sorted(glob.glob(folder + '*/*')):\n"
    "        if name.endswith('.parquet'):\n"
    "            import pyarrow.parquet\n"
    "            yield name, pyarrow.parquet.read_table(name)\n"
    "        elif name.endswith('.orc'):\n"
    "            import pyarrow.orc\n"
    "            yield name, pyarrow.orc.read_table(name)\n"
    "        elif name.endswith('.feather'):\n"
    "            import pyarrow.feather\n"
    "            yield name, pyarrow.feather.read_table(name)\n"
    "def make_cases(seed):\n"
    "    'Fills `cases` with (name, what: a RecordBatch, a StructArray or a Table).'\n"
    "    r = random.Random(seed)\n"
    "    cases.clear()\n"
    "    for n in (0, 1, 7, 8, 9, 64, 200):\n"
    "        for missing in (0, 0.3, 1):\n"
    "            cases.append((f'{n} rows, {missing} missing', batch(r, n, missing)))\n"
    "    for _ in range(6):\n"
    "        whole = batch(r, 100, r.choice([0, 0.2]))\n"
    "        first = r.randrange(40)\n"
    "        cases.append((f'rows from {first}', whole.slice(first, r.randrange(60))))\n"
    "    for missing in (0, 0.4):\n"
    "        b = batch(r, 50, 0.2)\n"
    "        mask = pa.array([r.random() < missing for _ in range(50)])\n"
    "        s = pa.StructArray.from_arrays(b.columns, b.schema.names, mask=mask if missing else None)\n"
    "        cases.append((f'struct, {missing} missing', s))\n"
    "        cases.append((f'slice of a struct, {missing} missing', s.slice(13, 21)))\n"
    "    one = batch(r, 30, 0.2).slice(3)\n"
    "    for name, column in zip(one.schema.names, one.columns):\n"
    "        if name in ('int32', 'bool', 'string', 'string_view', 'coded uint8', 'null', 'decimal 5 2'):\n"
    "            cases.append(('alone: ' + name, column))\n"
    "    cases.append(('no columns', pa.RecordBatch.from_arrays([], names=[])))\n"
    "    pieces = [batch(random.Random(seed + 1), n, 0.3) for n in (5, 0, 17, 1)]\n"
    "    pieces = [p.select([i for i, t in enumerate(p.schema.types) if not pa.types.is_dictionary(t)]) for p in pieces]\n"
    "    cases.append(('chunks', pa.Table.from_batches(pieces)))\n"
    "    cases.append(('chunks of slices', pa.Table.from_batches([p.slice(1) for p in pieces if p.num_rows])))\n"
    "    cases.append(('empty chunks', pa.Table.from_batches([p.slice(0, 0) for p in pieces])))\n"
    "    cases.append(('no chunks', pa.Table.from_batches([], pieces[0].schema)))\n"
    "    t, make = types()['string']\n"
    "    words = [array(r, t, make, 20, 0.2).dictionary_encode() for _ in range(4)]\n"
    "    cases.append(('other dictionaries', pa.table({'a': pa.chunked_array(words)})))\n"
    "    cases.append(('same dictionary', pa.table({'a': pa.chunked_array([words[0], words[0].slice(3, 5)])})))\n"
    "    many = [pa.array([str(k * 100 + i) for i in range(100)]).dictionary_encode().cast(\n"
    "            pa.dictionary(pa.int8(), pa.string())) for k in range(4)]\n"
    "    cases.append(('more values than codes', pa.table({'a': pa.chunked_array(many)})))\n"
    "    cases.extend(own_data())\n"
    "    return len(cases)\n"
    "def name_of(i):\n"
    "    return cases[i][0]\n"
    "def is_table(i):\n"
    "    return isinstance(cases[i][1], pa.Table)\n"
    "# ---- the way through C ----\n"
    "def give(i, schema, array):\n"
    "    what = cases[i][1]\n"
    "    what._export_to_c(array, schema)\n"
    "def give_stream(i, stream):\n"
    "    cases[i][1].to_reader()._export_to_c(stream)\n"
    "def as_columns(what):\n"
    "    if isinstance(what, pa.StructArray):\n"
    "        return {f.name: c for f, c in zip(what.type, what.flatten())}\n"
    "    if isinstance(what, pa.Array):\n"
    "        return {'': what}\n"
    "    return dict(zip(what.schema.names, what.columns))\n"
    "def known(t):\n"
    "    if pa.types.is_dictionary(t):\n"
    "        return not pa.types.is_dictionary(t.value_type) and known(t.value_type)\n"
    "    return not (pa.types.is_nested(t) or pa.types.is_time(t))\n"
    "def through(column):\n"
    "    'What a column is after it came through krait.'\n"
    "    t = column.type\n"
    "    if isinstance(column, pa.ChunkedArray):\n"
    "        if pa.types.is_dictionary(t):\n"
    "            return pa.concat_arrays([c.dictionary_decode() for c in column.chunks])\n"
    "        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], t)\n"
    "    wider = {'uint8': 'int16', 'uint16': 'int32', 'uint32': 'int64', 'uint64': 'int64'}\n"
    "    if pa.types.is_dictionary(t) and str(t.index_type) in wider:\n"
    "        codes = column.indices.cast(wider[str(t.index_type)])\n"
    "        return pa.DictionaryArray.from_arrays(codes, through(column.dictionary), ordered=t.ordered)\n"
    "    if pa.types.is_dictionary(t):\n"
    "        return pa.DictionaryArray.from_arrays(column.indices, through(column.dictionary), ordered=t.ordered)\n"
    "    if pa.types.is_null(t):\n"
    "        return pa.nulls(len(column), pa.string())\n"
    "    if pa.types.is_date64(t):\n"
    "        return column.cast(pa.timestamp('ms'))\n"
    "    if str(t) in ('string_view', 'binary_view'):\n"
    "        return column.cast(pa.string() if str(t) == 'string_view' else pa.binary())\n"
    "    if pa.types.is_fixed_size_binary(t):\n"
    "        return pa.array(column.to_pylist(), pa.binary())\n"
    "    return column\n"
    "def bits(column):\n"
    "    'Floats by their bits: NaN equals itself.'\n"
    "    t = column.type\n"
    "    if pa.types.is_dictionary(t):\n"
    "        return pa.DictionaryArray.from_arrays(column.indices, bits(column.dictionary), ordered=t.ordered)\n"
    "    return column.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[t.bit_width]) if pa.types.is_floating(t) else column\n"
    "def differences(i, got):\n"
    "    'What is not as it was; nothing when all is.'\n"
    "    got.validate(full=True)\n"
    "    expected = {k: c for k, c in as_columns(cases[i][1]).items() if known(c.type)}\n"
    "    if list(expected) != got.schema.names:\n"
    "        return f'names {got.schema.names}'\n"
    "    for name, column in expected.items():\n"
    "        want, have = through(column), got[name]\n"
    "        if isinstance(have, pa.ChunkedArray):\n"
    "            have = have.chunk(0) if have.num_chunks == 1 else pa.concat_arrays(have.chunks)\n"
    "        if isinstance(column, pa.ChunkedArray) and pa.types.is_dictionary(column.type):\n"
    "            values = have.dictionary.to_pylist()\n"
    "            if len(set(values)) != len(values):\n"
    "                return f'{name}: values stand twice in {values}'\n"
    "            have = have.dictionary_decode()\n"
    "        if want.type != have.type:\n"
    "            return f'{name}: {have.type}, expected {want.type}'\n"
    "        if not bits(want).equals(bits(have)):\n"
    "            return f'{name}: {have.to_pylist()[:20]}, expected {want.to_pylist()[:20]}'\n"
    "    return ''\n"
    "def take(i, schema, array):\n"
    "    return differences(i, pa.RecordBatch._import_from_c(array, schema))\n"
    "def take_stream(i, stream):\n"
    "    table = pa.RecordBatchReader._import_from_c(stream).read_all()\n"
    "    return differences(i, table)\n"
    "def known_only(i):\n"
    "    'Columns that krait cannot read, one name a line, with what it is to say of each.'\n"
    "    return '\\n'.join(k for k, c in as_columns(cases[i][1]).items() if not known(c.type))\n"
    "def give_refused(schema, array):\n"
    "    found = refused()\n"
    "    columns = {'before': pa.array([1, 2, 3]), **{k: a for k, (a, _) in found.items()}, 'after': pa.array(['a', None, 'c'])}\n"
    "    pa.RecordBatch.from_pydict(columns)._export_to_c(array, schema)\n"
    "    return len(found)\n"
    "def words_of(name):\n"
    "    return refused()[name][1]\n"
    "# ---- memory that is numpy's ----\n"
    "def give_numpy(schema, array):\n"
    "    import weakref\n"
    "    import numpy\n"
    "    global held\n"
    "    numbers = numpy.arange(1000.0)\n"
    "    held = weakref.finalize(numbers, int)\n"
    "    pa.RecordBatch.from_arrays([pa.array(numbers)], names=['x'])._export_to_c(array, schema)\n"
    "    return numbers.ctypes.data\n"
    "def is_held():\n"
    "    return held.alive\n"
    "def allocated():\n"
    "    import gc\n"
    "    cases.clear()\n"
    "    gc.collect()\n"
    "    return pa.total_allocated_bytes()\n"
    "# ---- the way through a call ----\n"
    "def returned(i):\n"
    "    what = cases[i][1]\n"
    "    return pa.Table.from_batches([what]) if isinstance(what, pa.RecordBatch) and i % 2 else what\n"
    "def frame():\n"
    "    import datetime\n"
    "    p = polars\n"
    "    day = datetime.date(2024, 2, 29)\n"
    "    moment = datetime.datetime(2024, 2, 29, 12, 30, 1, 5)\n"
    "    whole = p.DataFrame([\n"
    "        p.Series('i', [5, None, -3, 7], p.Int8), p.Series('u', [1, 2, None, 2 ** 64 - 1], p.UInt64),\n"
    "        p.Series('f', [0.5, None, float('inf'), -0.0]), p.Series('b', [True, None, False, True]),\n"
    "        p.Series('text', ['short', None, 'a text of more than twelve bytes \\u20ac', '']),\n"
    "        p.Series('bytes', [b'\\xff', None, b'', b'0123456789abcdef']), p.Series('date', [day, None, day, day]),\n"
    "        p.Series('zoned', [moment, None, moment, moment], p.Datetime('us', 'Europe/Berlin')),\n"
    "        p.Series('plain', [moment, None, moment, moment], p.Datetime('ns')),\n"
    "        p.Series('span', [datetime.timedelta(1, 2, 3), None, None, datetime.timedelta(-1)], p.Duration('ms')),\n"
    "        p.Series('kind', ['x', None, 'y', 'x'], p.Categorical), p.Series('enum', ['b', 'a', None, 'b'], p.Enum(['a', 'b'])),\n"
    "        p.Series('money', [decimal.Decimal('1.50'), None, decimal.Decimal('-2.25'), None], p.Decimal(10, 2)),\n"
    "        p.Series('nothing', [None] * 4, p.Null)])\n"
    "    return p.concat([whole, whole.slice(1, 2), whole.clear()], rechunk=False)\n"
    "def frame_came_back(schema, array):\n"
    "    want, got = frame(), polars.from_arrow(pa.RecordBatch._import_from_c(array, schema))\n"
    "    text = [polars.col(n).cast(polars.String) for n in ('kind', 'enum', 'nothing')]\n"
    "    return '' if want.with_columns(text).equals(got.with_columns(text)) else f'{got}, expected {want}'\n";

static krait_error *err;

static krait_arg address_of(void *pointer) {
    return krait_pos(krait_i64((int64_t)(intptr_t)pointer));
}

/* The function's text. */
static char *said(const char *name, const krait_arg *args, size_t n) {
    krait_value out;
    const char *text;
    char       *copy;
    call(name, args, n, &out, &err);
    assert_good(err);
    krait_get_text(&out, &text, NULL, &err);
    assert_good(err);
    copy = strdup(text);
    krait_value_clear(&out);
    return copy;
}

static int64_t counted(const char *name, const krait_arg *args, size_t n) {
    krait_value out;
    int64_t     number;
    call(name, args, n, &out, &err);
    assert_good(err);
    krait_get_i64(&out, &number, &err);
    assert_good(err);
    krait_value_clear(&out);
    return number;
}

static bool is_true(const char *name, const krait_arg *args, size_t n) {
    return counted(name, args, n);
}

static void done(const char *name, const krait_arg *args, size_t n) {
    krait_value out;
    call(name, args, n, &out, &err);
    assert_good(err);
    krait_value_clear(&out);
}

static uint64_t seed(void) {
    static uint64_t drawn;
    const char     *text = getenv("KRAIT_TEST_SEED");
    if (!drawn) {
        drawn = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
        print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", drawn);
    }
    return drawn;
}

static bool has_pyarrow(void) {
    char *version = said("arrow_cases:version", NULL, 0);
    bool  there = *version;
    free(version);
    return there;
}

/* False, and says so, where there is no pyarrow. */
static bool prepare(int64_t *cases) {
    krait_arg args[] = { krait_pos(krait_i64((int64_t)(seed() % 1000000))) };
    if (!has_pyarrow()) {
        print_message("no pyarrow in this Python: only arrays made by hand are tested\n");
        return false;
    }
    *cases = counted("arrow_cases:make_cases", args, 1);
    return true;
}

/* The columns that can be read, over the memory of `table`; refused ones must be of a type that krait lacks. */
static krait_table *readable(const krait_table *table, int64_t i) {
    krait_arg    args[] = { krait_pos(krait_i64(i)) };
    char        *lacking = said("arrow_cases:known_only", args, 1), *at = lacking;
    krait_table *copy = krait_table_new(&err);
    assert_good(err);
    for (size_t k = 0; k < krait_table_column_count(table); k++) {
        const char  *name = krait_table_column_name(table, k);
        krait_column column;
        if (strncmp(at, name, strlen(name)) == 0 && *name && strchr("\n", at[strlen(name)])) {
            assert_int_equal(krait_table_column(table, k, &column, &err), KRAIT_E_UNSUPPORTED);
            assert_error(err, KRAIT_E_UNSUPPORTED, name);
            at += strlen(name) + (at[strlen(name)] == '\n');
        } else {
            krait_table_column(table, k, &column, &err);
            krait_table_add_column(copy, &column, &err);
            assert_good(err);
        }
    }
    assert_string_equal(at, "");
    free(lacking);
    return copy;
}

/* Reads what Python says of the way back, and fails where it differs. */
static void assert_no_difference(const char *check, krait_arg *args, size_t n, const char *name) {
    char *difference = said(check, args, n);
    if (*difference) fail_msg("%s: %s", name, difference);
    free(difference);
}

/* One case there and back: table is freed. */
static void assert_returns(krait_table *table, int64_t i, const char *name) {
    krait_table       *kept = readable(table, i);
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_arg          args[] = { krait_pos(krait_i64(i)), address_of(&schema), address_of(&array) };
    if (krait_table_column_count(kept) == 0) { /* a table of hand-picked columns has no rows without columns */
        krait_arrow_export(table, &schema, &array, &err);
    } else {
        krait_arrow_export(kept, &schema, &array, &err);
    }
    if (err) fail_msg("%s: %s", name, krait_error_message(err));
    krait_table_free(kept);
    assert_no_difference("arrow_cases:take", args, 3, name);
    assert_null(schema.release); /* pyarrow moved them and let go of them */
    assert_null(array.release);
    krait_table_free(table);
}

static void assert_streams_back(krait_table *table, int64_t i, const char *name) {
    krait_table            *kept = readable(table, i);
    struct ArrowArrayStream stream;
    krait_arg               args[] = { krait_pos(krait_i64(i)), address_of(&stream) };
    krait_arrow_export_stream(kept, &stream, &err);
    if (err) fail_msg("%s: %s", name, krait_error_message(err));
    krait_table_free(kept);
    assert_no_difference("arrow_cases:take_stream", args, 2, name);
    assert_null(stream.release);
    krait_table_free(table);
}

static krait_table *imported_case(int64_t i, const char *name, bool table) {
    struct ArrowArrayStream stream = { 0 };
    struct ArrowSchema      schema = { 0 };
    struct ArrowArray       array = { 0 };
    krait_arg               to_stream[] = { krait_pos(krait_i64(i)), address_of(&stream) };
    krait_arg               to_array[] = { krait_pos(krait_i64(i)), address_of(&schema), address_of(&array) };
    krait_table            *out = NULL;
    if (table) {
        done("arrow_cases:give_stream", to_stream, 2);
        krait_arrow_import_stream(&stream, &out, &err);
    } else {
        done("arrow_cases:give", to_array, 3);
        krait_arrow_import(&schema, &array, &out, &err);
    }
    if (err) fail_msg("%s: %s", name, krait_error_message(err));
    assert_true(!stream.release && !schema.release && !array.release);
    return out;
}

static void data_of_pyarrow_comes_back_unchanged(void **state) {
    krait_metrics before = at_rest();
    int64_t       cases, allocated;
    (void)state;
    if (!prepare(&cases)) return;
    assert_true(cases >= 45);
    for (int64_t i = 0; i < cases; i++) {
        krait_arg args[] = { krait_pos(krait_i64(i)) };
        char     *name = said("arrow_cases:name_of", args, 1);
        bool      table = is_true("arrow_cases:is_table", args, 1);
        if (table) assert_streams_back(imported_case(i, name, true), i, name);
        else assert_returns(imported_case(i, name, false), i, name);
        free(name);
    }
    allocated = counted("arrow_cases:allocated", NULL, 0);
    if (allocated) fail_msg("pyarrow still holds %d bytes", (int)allocated);
    assert_nothing_left(&before);
}

static void types_without_a_column_are_named(void **state) {
    struct ArrowSchema schema = { 0 };
    struct ArrowArray  array = { 0 };
    krait_arg          args[] = { address_of(&schema), address_of(&array) };
    krait_table       *table;
    krait_column       column;
    int64_t            refused;
    (void)state;
    if (!has_pyarrow()) return;
    refused = counted("arrow_cases:give_refused", args, 2);
    assert_true(refused >= 12);
    krait_arrow_import(&schema, &array, &table, &err);
    assert_good(err);
    assert_int_equal(krait_table_column_count(table), refused + 2);
    for (size_t i = 1; i <= (size_t)refused; i++) {
        const char *name = krait_table_column_name(table, i);
        krait_arg   named[] = { krait_pos(krait_str(name)) };
        char       *words = said("arrow_cases:words_of", named, 1), expected[160];
        snprintf(expected, sizeof expected, "column '%s' is of an Arrow type that krait has no column for: %s ('", name,
                 words);
        assert_int_equal(krait_table_column(table, i, &column, &err), KRAIT_E_UNSUPPORTED);
        assert_error(err, KRAIT_E_UNSUPPORTED, expected);
        free(words);
    }
    krait_table_find(table, "before", &column, &err);
    assert_good(err);
    assert_int_equal(((const int64_t *)column.data)[2], 3);
    krait_table_find(table, "after", &column, &err);
    assert_good(err);
    assert_false(krait_column_has(&column, 1));
    krait_table_free(table);
}

/* The same data as results of calls: tables, batches, arrays. */
static void results_of_calls_are_the_same_tables(void **state) {
    krait_metrics before = at_rest();
    int64_t       cases;
    (void)state;
    if (!prepare(&cases)) return;
    for (int64_t i = 0; i < cases; i++) {
        krait_arg           args[] = { krait_pos(krait_i64(i)) };
        char               *name = said("arrow_cases:name_of", args, 1);
        krait_value         out;
        const krait_table  *table;
        krait_table        *direct;
        char               *got, *expected;
        call("arrow_cases:returned", args, 1, &out, &err);
        if (err) fail_msg("%s: %s", name, krait_error_message(err));
        krait_get_table(&out, &table, &err);
        if (err) fail_msg("%s: %s", name, krait_error_message(err));
        direct = imported_case(i, name, is_true("arrow_cases:is_table", args, 1));
        got = show_table(table);
        expected = show_table(direct);
        if (strcmp(got, expected) != 0) fail_msg("%s: not the same as through the C interface", name);
        free(got);
        free(expected);
        krait_table_free(direct);
        krait_value_clear(&out);
        free(name);
    }
    counted("arrow_cases:allocated", NULL, 0);
    assert_nothing_left(&before);
}

static void *free_table(void *table) {
    krait_table_free(table);
    return NULL;
}

/* Whose release needs Python, on a thread that Python has never seen. */
static void memory_of_numpy_is_released_on_any_thread(void **state) {
    struct ArrowSchema schema = { 0 };
    struct ArrowArray  array = { 0 };
    krait_arg          args[] = { address_of(&schema), address_of(&array) };
    krait_table       *table;
    krait_column       column;
    pthread_t          thread;
    int64_t            address;
    (void)state;
    if (!has_pyarrow()) return;
    address = counted("arrow_cases:give_numpy", args, 2);
    krait_arrow_import(&schema, &array, &table, &err);
    krait_table_column(table, 0, &column, &err);
    assert_good(err);
    assert_ptr_equal(column.data, (void *)(intptr_t)address);
    assert_true(is_true("arrow_cases:is_held", NULL, 0));
    assert_int_equal(pthread_create(&thread, NULL, free_table, table), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(is_true("arrow_cases:is_held", NULL, 0));
}

/* Views, chunks, categories, as polars has them. */
static void frames_of_polars_come_back(void **state) {
    krait_metrics      before = at_rest();
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_arg          args[] = { address_of(&schema), address_of(&array) };
    krait_value        out;
    const krait_table *table;
    (void)state;
    if (!has_pyarrow() || !is_true("arrow_cases:has_polars", NULL, 0)) {
        print_message("no pyarrow, or no polars, in this Python: its frames are not tested\n");
        return;
    }
    call("arrow_cases:frame", NULL, 0, &out, &err);
    krait_get_table(&out, &table, &err);
    assert_good(err);
    assert_int_equal(krait_table_rows(table), 6);
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    krait_value_clear(&out);
    assert_no_difference("arrow_cases:frame_came_back", args, 2, "polars");
    assert_nothing_left(&before);
}

/* ---- by hand ----------------------------------------------------------------------------------------------------- */

/* two int64, a text, a bool: three rows behind one that is cut off, the second text missing */
static krait_table *made_by_hand(void) {
    static const int64_t numbers[] = { 9, 1, 2, 3 };
    static const int32_t offsets[] = { 0, 1, 3, 3, 6 };
    struct ArrowSchema  *schema = make_schema("+s", "");
    struct ArrowArray   *array = make_array(3, 1, 0, 1), *column;
    krait_table         *table = NULL;
    add_child_schema(schema, make_schema("l", "number"));
    column = make_array(4, 0, 0, 2);
    set_buffer(column, 1, numbers, sizeof numbers);
    add_child_array(array, column);
    add_child_schema(schema, make_schema("u", "text"));
    column = make_array(4, 0, 1, 3);
    set_bits(column, 0, "1101");
    set_buffer(column, 1, offsets, sizeof offsets);
    set_buffer(column, 2, "xab\xe2\x82\xac", 6);
    add_child_array(array, column);
    add_child_schema(schema, make_schema("b", "flag"));
    column = make_array(4, 0, 0, 2);
    set_bits(column, 1, "0101");
    add_child_array(array, column);
    krait_arrow_import(schema, array, &table, &err);
    assert_good(err);
    drop(schema, array);
    return table;
}

/* As an argument, a DataFrame, and as a result again. */
static void arrays_made_by_hand_go_through_a_call(void **state) {
    static const char expected[] = "number: int64: 1 2 3\ntext: text: 'ab' - '\\xe2\\x82\\xac'\nflag: bool: yes no yes\n";
    krait_metrics     before = at_rest();
    krait_table      *table = made_by_hand();
    krait_value       out;
    const krait_table *back;
    char             *shown = show_table(table);
    (void)state;
    assert_string_equal(shown, expected);
    free(shown);
    call1("arrow_by_hand:work", krait_table_value(table), 0, &out, &err);
    assert_good(err);
    krait_get_table(&out, &back, &err);
    assert_good(err);
    shown = show_table(back);
    assert_string_equal(shown, "number: int64: 2 3 4\ntext: text: 'ab' - '\\xe2\\x82\\xac'\nflag: bool: yes no yes\n");
    free(shown);
    krait_value_clear(&out);
    krait_table_free(table);
    assert_int_equal(live_structs, 0);
    assert_nothing_left(&before);
}

/* A result leaves as Arrow and outlives its value. */
static void results_leave_and_outlive_their_value(void **state) {
    krait_metrics      before = at_rest();
    krait_table       *table = made_by_hand(), *again;
    const krait_table *back;
    krait_value        out;
    struct ArrowSchema schema;
    struct ArrowArray  array;
    char              *shown;
    (void)state;
    call1("arrow_by_hand:work", krait_table_value(table), 0, &out, &err);
    krait_get_table(&out, &back, &err);
    krait_arrow_export(back, &schema, &array, &err);
    assert_good(err);
    krait_value_clear(&out);
    krait_table_free(table);
    krait_gc(&err);
    krait_arrow_import(&schema, &array, &again, &err);
    assert_good(err);
    shown = show_table(again);
    assert_string_equal(shown, "number: int64: 2 3 4\ntext: text: 'ab' - '\\xe2\\x82\\xac'\nflag: bool: yes no yes\n");
    free(shown);
    krait_table_free(again);
    assert_int_equal(live_structs, 0);
    assert_nothing_left(&before);
}

static int set_up(void **state) {
    int failed = begin(state);
    krait_module_from_source("arrow_cases", module, &err);
    krait_module_from_source("arrow_by_hand",
                             "def work(df):\n"
                             "    return df.assign(number=df['number'] + 1)\n",
                             &err);
    if (err) fprintf(stderr, "%s\n%s\n", krait_error_message(err), krait_error_traceback(err));
    return failed || err;
}

static int forget(void **state) {
    (void)state;
    krait_error_clear(&err); /* of a test that failed */
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, forget)
    const struct CMUnitTest tests[] = {
        TEST(data_of_pyarrow_comes_back_unchanged),
        TEST(types_without_a_column_are_named),
        TEST(results_of_calls_are_the_same_tables),
        TEST(memory_of_numpy_is_released_on_any_thread),
        TEST(frames_of_polars_come_back),
        TEST(arrays_made_by_hand_go_through_a_call),
        TEST(results_leave_and_outlive_their_value),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
