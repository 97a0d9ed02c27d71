/* Every allocation of lib/mem fails once, and every call of a CPython function that can fail fails once, on the way of everything that krait
 * converts: krait gives an error or does without, loses nothing, leaves no exception behind, and works the next time. Python's own allocator is
 * left alone: numpy and pandas are not safe when that fails.
 *
 * Built with the library's objects (-DKRAIT_FAULTS), so only in the sanitized flavour. KRAIT_TEST_WORK=name does one work only;
 * KRAIT_TEST_VERBOSE=1 tells what each of them took. */
#include "support.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gil.h"
#include "leaks.h"
#include "mem.h"
#include "pyapi.h"

enum { TIME_LIMIT_S = 235 };

size_t __sanitizer_get_current_allocated_bytes(void); /* gcc's headers may be elsewhere */

/* ---- what went wrong --------------------------------------------------------------------------------------------- */

static struct {
    const char   *work, *fault, *name; /* what is being done, and what of it fails: */
    unsigned long n;                   /* the n-th of it all */
    int           complaints;
    uint64_t      seen;        /* digest of all that the work has been given */
    int           given, back; /* owned memory, registrations: each comes back once */
} now;

static void complain(const char *format, ...) KRAIT_PRINTF(1, 2);
static void complain(const char *format, ...) {
    va_list args;
    if (++now.complaints > 60) return;
    fprintf(stderr, "    %s, %s %lu%s%s fails: ", now.work, now.fault, now.n, now.name ? " " : "", now.name ? now.name : "");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- a digest of what came out ----------------------------------------------------------------------------------- */

/* A failure that was done without must not change the result. */
static void see_bytes(const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) now.seen = (now.seen ^ bytes[i]) * 1099511628211u;
}

static void see_number(int64_t number) {
    see_bytes(&number, sizeof number);
}

static void see_text(const char *text) {
    see_bytes(text ? text : "NULL", text ? strlen(text) + 1 : 5);
}

static void see_dtype(krait_dtype dtype) {
    char name[64];
    krait_dtype_name(dtype, name, sizeof name);
    see_text(name);
}

static void see_elements(const krait_array *array, int32_t dimension, const char *at) {
    if (dimension == array->ndim) {
        see_bytes(at, array->dtype.item_size);
        return;
    }
    for (int64_t i = 0; i < array->shape[dimension]; i++) see_elements(array, dimension + 1, at + i * array->strides[dimension]);
}

static void see_row(const krait_column *column, int64_t row) {
    static const size_t sizes[] = { [KRAIT_COLUMN_DECIMAL] = 16, [KRAIT_COLUMN_DATE] = 4 };
    size_t              size;
    see_number(krait_column_has(column, row));
    if (!krait_column_has(column, row)) return;
    if (column->kind == KRAIT_COLUMN_TEXT || column->kind == KRAIT_COLUMN_BYTES) {
        const char *text = krait_column_text(column, row, &size);
        see_number((int64_t)size);
        see_bytes(text, size);
    } else {
        size = column->kind == KRAIT_COLUMN_ARRAY || column->kind == KRAIT_COLUMN_CATEGORY ? column->dtype.item_size : sizes[column->kind];
        see_bytes((const char *)column->data + row * column->stride, size);
    }
}

static void see_column(const krait_column *column) {
    see_text(column->name);
    see_number(column->kind * 256 + column->ordered);
    see_number(column->precision * 256 + column->scale);
    see_text(column->zone);
    if (column->kind == KRAIT_COLUMN_ARRAY || column->kind == KRAIT_COLUMN_CATEGORY) see_dtype(column->dtype);
    for (int64_t row = 0; row < column->rows; row++) see_row(column, row);
    if (column->dictionary) see_column(column->dictionary);
}

static void see_part(const krait_table *table, bool index, size_t i) {
    krait_column column;
    krait_error *err = NULL;
    see_text(index ? "level" : krait_table_column_name(table, i));
    see_number((index ? krait_table_index(table, i, &column, &err) : krait_table_column(table, i, &column, &err)) == KRAIT_OK);
    if (!err) see_column(&column);
    krait_error_clear(&err);
}

static void see_table(const krait_table *table) {
    see_number(krait_table_rows(table));
    for (size_t i = 0; i < krait_table_column_count(table); i++) see_part(table, false, i);
    for (size_t i = 0; i < krait_table_index_count(table); i++) see_part(table, true, i);
}

static void see_value(const krait_value *value) {
    krait_array array;
    see_number(value->kind);
    switch (value->kind) {
    case KRAIT_KIND_BOOL: see_number(value->as.b); break;
    case KRAIT_KIND_I64:
    case KRAIT_KIND_U64:
    case KRAIT_KIND_F64: see_number(value->as.i64); break;
    case KRAIT_KIND_COMPLEX: see_bytes(&value->as.complex, sizeof value->as.complex); break;
    case KRAIT_KIND_TEXT:
    case KRAIT_KIND_DECIMAL:
    case KRAIT_KIND_BYTES: see_bytes(value->as.bytes.data, value->as.bytes.size); break;
    case KRAIT_KIND_TIME:
        see_number(value->as.time.ticks);
        see_dtype(value->as.time.dtype);
        see_text(value->as.time.zone);
        break;
    case KRAIT_KIND_ARRAY:
        if (krait_get_array(value, KRAIT_ANY, -1, &array, NULL)) return;
        see_dtype(array.dtype);
        see_elements(&array, 0, array.data);
        break;
    case KRAIT_KIND_LIST:
    case KRAIT_KIND_MAP:
        see_number((int64_t)value->as.list.count);
        for (size_t i = 0; i < value->as.list.count; i++) {
            if (value->as.list.keys) see_text(value->as.list.keys[i]);
            see_value(&value->as.list.items[i]);
        }
        break;
    case KRAIT_KIND_TABLE: see_table(value->as.table); break;
    default: break;
    }
}

/* An exception that nobody took: Python would find it at its next step. */
static void check_exception(void) {
    if (krait_acquire(NULL)) return;
    if (krait__py.PyErr_Occurred()) {
        complain("an exception is left set");
        krait__py.PyErr_Clear();
    }
    krait_release();
}

static void see(const krait_value *value) {
    check_exception();
    see_value(value);
}

/* Looks at a result and clears it. */
static krait_status seen(krait_status status, krait_value *value) {
    if (!status) see(value);
    else if (value->kind != KRAIT_KIND_NONE || value->release) complain("there is a result beside the error");
    krait_value_clear(value);
    return status;
}

static krait_status see_result_of(const char *function, const krait_arg *args, size_t n, krait_error **err) {
    krait_value  out;
    krait_status status = call(function, args, n, &out, err);
    return seen(status, &out);
}

/* An error that is what the work is about becomes success. Its words may be fewer where a failure hit the telling. */
static krait_status expected(krait_status status, krait_status wanted, krait_error **err) {
    const char *type = krait_error_python_type(*err);
    if (!status) complain("no %s", krait_status_name(wanted));
    if (status != wanted || (type && !strcmp(type, "MemoryError"))) return status;
    krait_error_clear(err);
    return KRAIT_OK;
}

/* ---- the Python side --------------------------------------------------------------------------------------------- */

static const char source[] =
    "import datetime, decimal, gc, sys, warnings\n"
    "import numpy as np\n"
    "import pandas as pd\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = None\n"
    "try:\n"
    "    import polars as pl\n"
    "except ImportError:\n"
    "    pl = None\n"
    "from krait import host\n"
    "records = np.array([(1, 2.5, (3, 4))], dtype=[('i', 'i4'), ('f', '>f8'), ('p', [('x', 'i2'), ('y', 'i2')])])\n"
    "class Thing:\n"
    "    def __init__(self): self.kept = 1\n"
    "    def method(self, a, k=2): return a + k\n"
    "    def __call__(self, a): return a * 2\n"
    "    def __getitem__(self, key): return {'key': 'item'}[key]\n"
    "    def __len__(self): return 7\n"
    "    def __repr__(self): return 'thing'\n"
    "class Tensor:\n"
    "    def __init__(self): self.array = np.arange(6.0).reshape(2, 3)\n"
    "    def __dlpack__(self, **options): return self.array.__dlpack__()\n"
    "    def __dlpack_device__(self): return self.array.__dlpack_device__()\n"
    "def mixed(a, t, b, k=None, *, m=0):\n"
    "    return {'a': a[1:], 'list': [1, 2.5, 'text', b'bytes', bytearray(b'x'), None, True, 2**63, 1j, (a.sum(), t)],\n"
    "            'rec': records, 'deep': np.zeros((2, 2, 2, 2)), 'strided': np.arange(10.)[::2], 'time': np.array(['2020'], 'M8[us]')}\n"
    "def boom(a):\n"
    "    try:\n"
    "        {}['key']\n"
    "    except KeyError as e:\n"
    "        e.add_note('a note')\n"
    "        raise ValueError('boom') from e\n"
    "kept = []\n"
    "def keep(a): kept.append(a)\n"
    "def drop(): kept.clear()\n"
    "def same(a): return a\n"
    "def pair(a): return [a, a]\n"
    "def text_of(x):\n"
    "    if isinstance(x, (pd.DataFrame, pd.Series, pd.Index)):\n"
    "        columns = [(str(n), str(x.iloc[:, i].dtype), [str(v) for v in x.iloc[:, i]]) for i, n in enumerate(x.columns)]\n"
    "        return f'{columns} {[str(i) for i in x.index]} {list(x.index.names)}'\n"
    "    if isinstance(x, np.ndarray):\n"
    "        return f'{x.dtype} {x.tolist()}'\n"
    "    return f'{type(x).__name__} {x}'\n"
    "def told(*args): return '; '.join(map(text_of, args))\n"
    "def frame_plain():\n"
    "    return pd.DataFrame({'i': np.arange(3), 'f': np.array([1.5, np.nan, 3], 'f4'), 't': np.array([1, 2, 3], 'M8[ns]'), 'b': [True, False, True]})\n"
    "def frame_texts():\n"
    "    return pd.DataFrame({'o': np.array(['a', None, '\\u20ac'], object), 's': pd.array(['x', None, 'long' * 20], dtype='string'),\n"
    "                         'c': pd.Categorical(['x', 'y', None], ordered=True), 'n': pd.Categorical([3, 4, 3])})\n"
    "def frame_objects():\n"
    "    return pd.DataFrame({'d': [decimal.Decimal('1.50'), None, decimal.Decimal(7)], 'day': [datetime.date(2020, 1, 1), None, datetime.date(1960, 1, 2)],\n"
    "                         'b': np.array([True, None, False], object), 'odd': [[1], None, 2], 'big': np.array([1, 2, 3], '>i4')})\n"
    "def frame_masked():\n"
    "    return pd.DataFrame({'i': pd.array([1, None, 3], dtype='Int64'), 'b': pd.array([True, None, False], dtype='boolean'),\n"
    "                         'f': pd.array([1.5, None, 2], dtype='Float64')})\n"
    "def frame_times():\n"
    "    z = pd.date_range('2020', periods=3, tz='Europe/Berlin')\n"
    "    return pd.DataFrame({'z': z, 'd': pd.to_timedelta([1, 2, 3], unit='s'), 'p': pd.period_range('2020', periods=3, freq='D')})\n"
    "def frame_labels():\n"
    "    rows = pd.MultiIndex.from_tuples([('x', 1), ('y', 2)], names=['k', None])\n"
    "    return pd.DataFrame(np.arange(6).reshape(2, 3), columns=['a', 'a', 0], index=rows)\n"
    "def frame_groups(): return pd.DataFrame(np.arange(4.0).reshape(2, 2), columns=pd.MultiIndex.from_tuples([('v', 'mean'), ('v', 'std')]))\n"
    "def multi_index(): return pd.MultiIndex.from_tuples([('x', 1), ('y', 2)], names=['k', None])\n"
    "def series(): return pd.Series([1.5, 2.5], name='s', index=[3, 4])\n"
    "def index(): return pd.Index(['a', 'b'], name='i')\n"
    "def arrow_table():\n"
    "    if pa is None: return None\n"
    "    one = pa.table({'i': pa.array([1, None, 3]), 's': ['a', None, 'b'], 'd': pa.array(['x', 'y', 'x']).dictionary_encode(),\n"
    "                    'b': [True, None, False], 'l': [[1], [], None]})\n"
    "    return pa.concat_tables([one, one.slice(1)])\n"
    "def arrow_batch(): return None if pa is None else pa.record_batch({'i': pa.array([1, 2]), 's': ['a', None]})\n"
    "def arrow_array(): return None if pa is None else pa.array(['a', None, 'b'])\n"
    "def arrow_frame(): return None if pa is None else arrow_table().select(['i', 's', 'b']).to_pandas(types_mapper=pd.ArrowDtype)\n"
    "def polars_frame(): return None if pl is None else pl.DataFrame({'i': [1, None], 's': ['a', None], 'f': [0.5, 1.5]})\n"
    "def strings():\n"
    "    if not hasattr(np, 'dtypes') or not hasattr(np.dtypes, 'StringDType'): return None\n"
    "    return np.array(['a', 'longer than what fits into an element', None], dtype=np.dtypes.StringDType(na_object=None))\n"
    "def texts(): return np.array(['a', None, 'b' * 50] * 20, object)\n"
    "def surrogate(): return np.array(['a', '\\ud800'], object)\n"
    "def days(): return np.array([datetime.date(2020, 1, 1), None], object)\n"
    "def decimals(): return np.array([decimal.Decimal('1.5'), None, decimal.Decimal('-2')], object)\n"
    "def times():\n"
    "    return [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), datetime.date(2020, 1, 1),\n"
    "            pd.Timestamp('2020', tz='Europe/Berlin'), pd.NaT, np.datetime64('2020-01-01'), np.timedelta64(5, 's'), datetime.timedelta(1),\n"
    "            pd.Timedelta(5, 's'), decimal.Decimal('1.50'), pd.NA, np.float32(1.5), np.int16(3), np.bool_(True), np.str_('s')]\n"
    "def things(): return [Thing(), Thing, len, {1}, iter([1])]\n"
    "def thing(): return Thing()\n"
    "def tensor(): return Tensor()\n"
    "closed = []\n"
    "def count(n):\n"
    "    try:\n"
    "        for i in range(n): yield [1.5, 'text', i, np.arange(3.0)][i % 4]\n"
    "    finally:\n"
    "        closed.append(n)\n"
    "def closings():\n"
    "    n = len(closed)\n"
    "    closed.clear()\n"
    "    return n\n"
    "async def later(a): return a.sum()\n"
    "def long_double(): return np.zeros(2, np.longdouble)\n"
    "def long_scalar(): return np.longdouble(1)\n"
    "def structs():\n"
    "    kind = [('t', 'M8[25s]'), ('p', '>f8'), ('n', 'S4'), ('u', 'U2'), ('v', 'i2', (2, 2)), ('in', [('x', 'i1'), ('y', 'f4')])]\n"
    "    return np.array([(1, 2.5, b'ab', '\\u20acx', [[1, 2], [3, 4]], (5, 6.5)), (2, 3.5, b'', '', [[0, 0], [0, 0]], (0, 0))], dtype=kind)\n"
    "def fixed(): return {'S': np.array([b'ab', b'c']), 'U': np.array(['\\u20ac', 'xyz']), 'big': np.array(['\\u20ac'], '>U1')}\n"
    "def ask(a): return told(host.faults.answer(a, 'text', 2.5, k=[1, None]))\n"
    "def ask_for(kind): return told(host.faults.make(kind))\n"
    "def ask_many(): return host.faults.count(*range(20), k=1)\n"
    "def ask_names(): return [n for n in dir(host) if n == 'faults'] + dir(host.faults)\n"
    "def ask_wrapped():\n"
    "    try:\n"
    "        host.faults.make('error')\n"
    "    except Exception as e:\n"
    "        raise ValueError('wrapped') from e\n"
    "warnings.filterwarnings('ignore')\n"
    "clear_names = getattr(sys, '_clear_type_cache', lambda: None)\n" /* it keeps the names that were looked up last */
    "def settle():\n"
    "    gc.collect()\n"
    "    clear_names()\n"
    "    if len(gc.get_objects()) > 3000: gc.freeze()\n";

static double data[4] = { 1, 2, 3, 4 };

/* ---- works: calls ------------------------------------------------------------------------------------------------ */

static krait_status do_mixed(krait_error **err) {
    static const int64_t shape[5] = { 1, 2, 1, 2, 1 };
    krait_value          out, again, copy;
    krait_func          *mixed = krait_func_new("faults:mixed", err);
    krait_arg            args[] = { krait_pos(krait_vector_f64(data, 4)), krait_pos(krait_str("text")), krait_pos(krait_bytes("b", 1)),
                                    krait_kw("k", krait_ndarray(data, krait_f64_type(), 5, shape, NULL)),
                                    krait_with(krait_kw("m", krait_vector_f64(data, 4)), KRAIT_COPY) };
    krait_status         status = krait_call(mixed, args, 5, NULL, &out, err);
    if (!status) {
        krait_func *same = krait_func_new("builtins:dict", err);
        krait_arg   passed[] = { krait_pos(krait_borrow(&out)) };
        see(&out);
        status = krait_call(same, passed, 1, NULL, &again, err);
        krait_func_unref(same);
        status = seen(status, &again);
        if (!status) status = seen(krait_value_copy(&out, &copy, err), &copy);
    }
    krait_value_clear(&out);
    krait_func_unref(mixed);
    return status;
}

/* The error's texts, to the last of the chain. */
static krait_status do_boom(krait_error **err) {
    krait_status status = call1("faults:boom", krait_vector_f64(data, 4), 0, NULL, err);
    if (status == KRAIT_E_PYTHON) {
        char json[4096];
        krait_error_json(*err, json, sizeof json);
    }
    return expected(status, KRAIT_E_PYTHON, err);
}

/* What was kept is let go of, whatever fails meanwhile. */
static void drop_kept(void) {
    krait_error *err = NULL;
    for (int i = 0; i < 3 && call("faults:drop", NULL, 0, NULL, &err); i++) krait_error_clear(&err);
    krait_error_clear(&err);
}

static krait_status do_keep(krait_error **err) {
    krait_status status = expected(call1("faults:keep", krait_vector_f64(data, 4), 0, NULL, err), KRAIT_E_ESCAPED, err);
    drop_kept();
    return status;
}

static krait_status do_source(krait_error **err) {
    krait_status status = krait_module_from_source("faults_small", "def f(): return 1\n", err);
    if (!status) status = krait_add_path("/krait/faults", -1, err);
    if (!status) status = krait_gc(err);
    if (!status) status = see_result_of("faults_small:f", NULL, 0, err);
    return status;
}

/* Values made by hand, nested; keywords. */
static krait_status do_tree(krait_error **err) {
    static const char *const keys[] = { "array", "time", "none" };
    const krait_value        items[] = { krait_vector_f64(data, 4), krait_time(krait_datetime(KRAIT_S, 1), 5), krait_none() };
    krait_value              map = krait_map(keys, items, 3);
    const krait_value        both[] = { map, krait_list(items, 3), krait_bool(true), krait_u64(UINT64_MAX), krait_complex(1, 2) };
    krait_arg                args[] = { krait_pos(krait_list(both, 5)) };
    return see_result_of("faults:told", args, 1, err);
}

/* Within krait_acquire calls go short ways of their own. */
static krait_status do_short_ways(krait_error **err) {
    krait_func  *add = krait_func_new("operator:add", err), *negative = krait_func_new("operator:neg", err);
    krait_arg    numbers[] = { krait_pos(krait_f64(1)), krait_pos(krait_i64(2)) }, array[] = { krait_pos(krait_vector_f64(data, 4)) };
    krait_value  out;
    krait_status status = krait_acquire(err);
    bool         held = !status;
    for (int i = 0; i < 2 && !status; i++) {
        status = seen(krait_call(add, numbers, 2, NULL, &out, err), &out);
        if (!status) status = seen(krait_call(negative, numbers, 1, NULL, &out, err), &out);
        if (!status) status = seen(krait_call(negative, array, 1, NULL, &out, err), &out);
    }
    if (held) krait_release();
    krait_func_unref(add);
    krait_func_unref(negative);
    return status;
}

/* Arrays as they lie. */
static krait_status do_strides(krait_error **err) {
    krait_call_options options = KRAIT_CALL_OPTIONS_INIT;
    krait_arg          args[] = { krait_with(krait_pos(krait_matrix_f64(data, 2, 2)), KRAIT_ALIAS | KRAIT_WRITABLE) };
    krait_func        *turn = krait_func_new("numpy:transpose", err), *fixed = krait_func_new("faults:fixed", err);
    krait_value        out;
    krait_status       status;
    options.flags = KRAIT_KEEP_STRIDES;
    status = krait_func_check(turn, &options, err);
    if (!status) status = seen(krait_call(turn, args, 1, &options, &out, err), &out);
    if (!status) status = seen(krait_call(fixed, NULL, 0, &options, &out, err), &out);
    krait_func_unref(turn);
    krait_func_unref(fixed);
    return status;
}

static krait_status do_coroutine(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_vector_f64(data, 4)) };
    return see_result_of("faults:later", args, 1, err);
}

/* ---- tables to lend ---------------------------------------------------------------------------------------------- */

static struct {
    krait_table *plain, *texts, *objects, *times, *valid, *labels;
} tables;

static void add_column(krait_table *table, const char *name, krait_column column, krait_error **err) {
    column.name = name;
    column.rows = 3;
    krait_table_add_column(table, &column, err);
}

static krait_table *plain_table(krait_error **err) {
    static const int32_t numbers[] = { 1, 2, 3 };
    static const bool    bools[] = { true, false, true };
    static const int64_t ticks[] = { 1, INT64_MIN, 3 };
    krait_table         *table = krait_table_new(err);
    krait_table_add(table, "f", krait_vector_f64(data, 3), NULL, err);
    krait_table_add(table, "i", krait_vector_i32(numbers, 3), NULL, err);
    krait_table_add(table, "b", krait_vector_bool(bools, 3), NULL, err);
    krait_table_add(table, "t", krait_vector(ticks, krait_datetime(KRAIT_NS, 1), 3), NULL, err);
    return table;
}

static krait_table *text_table(krait_error **err) {
    static const int64_t      offsets[] = { 0, 1, 1, 4 };
    static const int8_t       codes[] = { 1, -1, 0 };
    static const uint8_t      valid = 5;
    static const char *const  strings[] = { "a", NULL, "\xe2\x82\xac" };
    static const krait_column dictionary = { .name = "", .kind = KRAIT_COLUMN_TEXT, .rows = 2, .data = "axyz", .offsets = offsets,
                                             .offset_bytes = 8, .data_bytes = 4 };
    krait_column              bytes = KRAIT_COLUMN_INIT, category = KRAIT_COLUMN_INIT;
    krait_table              *table = krait_table_new(err);
    krait_table_add_strings(table, "s", strings, 3, err);
    krait_table_add_strings(table, "no nulls", (const char *const[]){ "x", "y", "z" }, 3, err);
    bytes.kind = KRAIT_COLUMN_BYTES;
    bytes.data = "axyz";
    bytes.data_bytes = 4;
    bytes.offsets = offsets;
    bytes.offset_bytes = 8;
    bytes.valid = &valid;
    add_column(table, "bytes", bytes, err);
    category.kind = KRAIT_COLUMN_CATEGORY;
    category.dtype = krait_i8_type();
    category.data = codes;
    category.stride = 1;
    category.valid = &valid;
    category.dictionary = &dictionary;
    add_column(table, "c", category, err);
    krait_table_add(table, "fixed", krait_vector("ab\0c\0\0", krait_fixed_bytes(2), 3), NULL, err);
    return table;
}

static krait_table *object_table(krait_error **err) {
    static const int64_t decimals[] = { 150, 0, 0, 0, -7, -1 };
    static const int32_t days[] = { 0, 1, -5 };
    static const uint8_t valid = 5;
    krait_column         decimal = KRAIT_COLUMN_INIT, date = KRAIT_COLUMN_INIT;
    krait_table         *table = krait_table_new(err);
    decimal.kind = KRAIT_COLUMN_DECIMAL;
    decimal.precision = 5;
    decimal.scale = 2;
    decimal.data = decimals;
    decimal.stride = 16;
    decimal.valid = &valid;
    add_column(table, "decimal", decimal, err);
    date.kind = KRAIT_COLUMN_DATE;
    date.data = days;
    date.stride = 4;
    date.valid = &valid;
    add_column(table, "date", date, err);
    return table;
}

static krait_table *time_table(krait_error **err) {
    static const int64_t ticks[] = { 1, INT64_MIN, 3 };
    static const double  swapped[] = { 1, 2, 3 };
    krait_column         zoned = KRAIT_COLUMN_INIT;
    krait_dtype          other = krait_f64_type();
    krait_table         *table = krait_table_new(err);
    zoned.kind = KRAIT_COLUMN_ARRAY;
    zoned.dtype = krait_datetime(KRAIT_NS, 1);
    zoned.data = ticks;
    zoned.stride = 8;
    zoned.zone = "Europe/Berlin";
    add_column(table, "zoned", zoned, err);
    krait_table_add(table, "days", krait_vector(ticks, krait_datetime(KRAIT_DAY, 1), 3), NULL, err);
    krait_table_add(table, "25s", krait_vector(ticks, krait_timedelta(KRAIT_S, 25), 3), NULL, err);
    other.swapped = 1;
    krait_table_add(table, "swapped", krait_vector(swapped, other, 3), NULL, err);
    return table;
}

static krait_table *valid_table(krait_error **err) {
    static const int32_t numbers[] = { 1, 2, 3 };
    static const bool    bools[] = { true, false, true };
    static const uint8_t bits = 5, late = 0x1f;
    static const int32_t offsets[] = { 0, 1, 2, 3 };
    krait_value          some = krait_vector_bool(bools, 3), packed = krait_vector_u8(&bits, 1);
    krait_column         shifted = KRAIT_COLUMN_INIT;
    krait_table         *table = krait_table_new(err);
    krait_table_add(table, "i", krait_vector_i32(numbers, 3), &some, err);
    krait_table_add(table, "b", krait_vector_bool(bools, 3), &packed, err);
    krait_table_add(table, "f", krait_vector_f64(data, 3), &some, err);
    shifted.kind = KRAIT_COLUMN_TEXT;
    shifted.data = "abc";
    shifted.data_bytes = 3;
    shifted.name = "text";
    shifted.rows = 3;
    shifted.offsets = offsets;
    shifted.offset_bytes = 4;
    shifted.valid = &late;
    shifted.valid_offset = 3;
    krait_table_add_column(table, &shifted, err);
    return table;
}

static krait_table *label_table(krait_error **err) {
    static const int32_t labels[] = { 7, 8, 9 };
    static const char    letters[] = "abc";
    static const int64_t offsets[] = { 0, 1, 2, 3 };
    krait_column         level = KRAIT_COLUMN_INIT;
    krait_table         *table = krait_table_new(err);
    krait_table_add(table, "twice", krait_vector_f64(data, 3), NULL, err);
    krait_table_add(table, "twice", krait_vector_f64(data + 1, 3), NULL, err);
    level.name = "letter";
    level.kind = KRAIT_COLUMN_TEXT;
    level.rows = 3;
    level.data = letters;
    level.data_bytes = 3;
    level.offsets = offsets;
    level.offset_bytes = 8;
    krait_table_add_index(table, &level, err);
    level = (krait_column){ .name = "", .kind = KRAIT_COLUMN_ARRAY, .rows = 3, .data = labels, .stride = 4, .dtype = krait_i32_type() };
    krait_table_add_index(table, &level, err);
    return table;
}

/* Building, and nothing else: no Python. */
static krait_status do_build(krait_error **err) {
    krait_table *(*const makers[])(krait_error **err) = { plain_table, text_table, object_table, time_table, valid_table, label_table };
    for (size_t i = 0; i < COUNT(makers) && !*err; i++) {
        krait_table *table = makers[i](err);
        if (!*err) see_table(table);
        krait_table_free(table);
    }
    return krait_error_status(*err);
}

/* ---- works: tables into Python ----------------------------------------------------------------------------------- */

static krait_status tell_table(const krait_table *table, uint32_t flags, krait_error **err) {
    krait_arg args[] = { krait_with(krait_pos(krait_table_value(table)), flags) };
    return see_result_of("faults:told", args, 1, err);
}

static krait_status do_in_plain(krait_error **err) {
    return tell_table(tables.plain, 0, err);
}
static krait_status do_in_texts(krait_error **err) {
    return tell_table(tables.texts, 0, err);
}
static krait_status do_in_objects(krait_error **err) {
    return tell_table(tables.objects, 0, err);
}
static krait_status do_in_times(krait_error **err) {
    return tell_table(tables.times, KRAIT_WRITABLE, err);
}
static krait_status do_in_valid(krait_error **err) {
    return tell_table(tables.valid, 0, err);
}
static krait_status do_in_labels(krait_error **err) {
    return tell_table(tables.labels, 0, err);
}
static krait_status do_copy_plain(krait_error **err) {
    return tell_table(tables.plain, KRAIT_COPY, err);
}
static krait_status do_copy_texts(krait_error **err) {
    return tell_table(tables.texts, KRAIT_COPY, err);
}
static krait_status do_copy_labels(krait_error **err) {
    return tell_table(tables.labels, KRAIT_COPY, err);
}

/* The result is the argument: what lies in lent memory is copied out, in a list too. */
static krait_status do_back_plain(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_table_value(tables.plain)) };
    return see_result_of("faults:pair", args, 1, err);
}
static krait_status do_back_texts(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_table_value(tables.texts)) };
    return see_result_of("faults:same", args, 1, err);
}
static krait_status do_back_valid(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_table_value(tables.valid)) };
    return see_result_of("faults:same", args, 1, err);
}
static krait_status do_back_labels(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_table_value(tables.labels)) };
    return see_result_of("faults:same", args, 1, err);
}
static krait_status do_alias(krait_error **err) {
    krait_arg args[] = { krait_with(krait_pos(krait_table_value(tables.plain)), KRAIT_ALIAS) };
    return see_result_of("faults:same", args, 1, err);
}
static krait_status do_keep_table(krait_error **err) {
    krait_status status = expected(call1("faults:keep", krait_table_value(tables.plain), 0, NULL, err), KRAIT_E_ESCAPED, err);
    drop_kept();
    return status;
}

/* ---- works: memory handed over ----------------------------------------------------------------------------------- */

static void count_back(void *user) {
    (void)user;
    __atomic_fetch_add(&now.back, 1, __ATOMIC_SEQ_CST);
}

static krait_value counted(krait_value value) {
    now.given++;
    return krait_owned(value, count_back, NULL);
}

static krait_status do_owned(krait_error **err) {
    krait_arg args[] = { krait_pos(counted(krait_vector_f64(data, 4))), krait_pos(counted(krait_table_value(tables.plain))),
                         krait_pos(counted(krait_table_value(tables.texts))),
                         krait_with(krait_pos(counted(krait_vector_f64(data, 4))), KRAIT_COPY),
                         krait_with(krait_pos(counted(krait_table_value(tables.labels))), KRAIT_COPY),
                         krait_kw("unknown", counted(krait_str("owned text"))) };
    return expected(see_result_of("faults:told", args, 6, err), KRAIT_E_PYTHON, err);
}

static krait_status do_owned_result(krait_error **err) {
    krait_arg args[] = { krait_pos(counted(krait_table_value(tables.plain))) };
    return see_result_of("faults:same", args, 1, err);
}

static krait_status do_owned_many(krait_error **err) {
    krait_arg    args[12];
    krait_value  out;
    krait_status status;
    for (size_t i = 0; i < COUNT(args); i++) args[i] = krait_pos(i % 2 ? counted(krait_vector_f64(data, 4)) : krait_i64((int64_t)i));
    status = call("faults:told", args, COUNT(args), &out, err);
    return seen(status, &out);
}

/* Tables that take memory over. */
static krait_status do_owned_columns(krait_error **err) {
    krait_table *table = krait_table_new(err);
    krait_value  valid = counted(krait_vector_u8((const uint8_t[]){ 5 }, 1)), bools = counted(krait_vector_bool((const bool[]){ 1, 0, 1 }, 3));
    krait_table_add(table, "x", counted(krait_vector_f64(data, 3)), &valid, err);
    krait_table_add(table, "s", counted(krait_vector("abc", krait_fixed_bytes(1), 3)), &bools, err);
    if (!*err) see_table(table);
    krait_table_free(table);
    return krait_error_status(*err);
}

/* ---- works: results ---------------------------------------------------------------------------------------------- */

/* Also passed on as the object it is, and copied. */
static krait_status see_and_pass_on(const char *function, krait_error **err) {
    krait_value  out, copy;
    krait_status status = call(function, NULL, 0, &out, err);
    if (!status) {
        krait_arg args[] = { krait_pos(krait_borrow(&out)) };
        see(&out);
        status = krait_value_copy(&out, &copy, err);
        if (status == KRAIT_E_UNSUPPORTED) { /* of a column that cannot be read */
            krait_error_clear(err);
            status = KRAIT_OK;
        } else status = seen(status, &copy);
        if (!status) status = call("faults:same", args, 1, NULL, err);
    }
    krait_value_clear(&out);
    return status;
}

#define RESULT(name)                                                                                                                    \
    static krait_status do_##name(krait_error **err) {                                                                                  \
        return see_and_pass_on("faults:" #name, err);                                                                                   \
    }
#define RESULTS(X)                                                                                                                      \
    X(frame_plain) X(frame_texts) X(frame_objects) X(frame_masked) X(frame_times) X(frame_labels) X(frame_groups) X(multi_index) X(series) X(index)      \
    X(arrow_table) X(arrow_batch) X(arrow_array) X(arrow_frame) X(polars_frame) X(strings) X(texts) X(surrogate) X(days) X(decimals)     \
    X(tensor) X(structs) X(fixed)
RESULTS(RESULT)

static krait_status do_times(krait_error **err) {
    return see_result_of("faults:times", NULL, 0, err);
}
static krait_status do_things(krait_error **err) {
    return see_result_of("faults:things", NULL, 0, err);
}

static krait_status do_times_in(krait_error **err) {
    krait_arg args[] = { krait_pos(krait_time(krait_datetime(KRAIT_S, 25), 5)), krait_pos(krait_time(krait_timedelta(KRAIT_MS, 1), INT64_MIN)),
                         krait_pos(krait_time_in(krait_datetime(KRAIT_MS, 1), 5, "Europe/Berlin")),
                         krait_pos(krait_time_in(krait_datetime(KRAIT_S, 1), 5, "UTC+02:00")), krait_pos(krait_decimal("12.50")) };
    return see_result_of("faults:told", args, 5, err);
}

/* ---- works: structs and text of fixed width ---------------------------------------------------------------------- */

struct inner {
    int16_t x, y;
};
struct tick {
    int64_t      time;
    double       price;
    char         name[6];
    struct inner in;
    float        pair[2];
};

static krait_status do_structs_in(krait_error **err) {
    static const struct tick ticks[2] = { { 1, 2.5, "abc", { 3, 4 }, { 5, 6 } }, { 2, 3.5, "", { 0, 0 }, { 0, 0 } } };
    const krait_member       inners[] = { KRAIT_FIELD(struct inner, x, krait_i16_type), KRAIT_FIELD(struct inner, y, krait_i16_type) };
    krait_struct            *inner = krait_struct_new(inners, 2, sizeof(struct inner), err), *tick;
    const krait_member       members[] = { KRAIT_FIELD_OF(struct tick, time, krait_datetime(KRAIT_NS, 1)),
                                           KRAIT_FIELD(struct tick, price, krait_f64_type), KRAIT_FIELD_CHARS(struct tick, name),
                                           KRAIT_FIELD_OF(struct tick, in, krait_struct_type(inner)),
                                           KRAIT_FIELD(struct tick, pair, krait_f32_type) };
    krait_status             status = krait_error_status(*err);
    tick = krait_struct_new(members, 5, sizeof(struct tick), err);
    status = krait_error_status(*err);
    if (!status) {
        krait_arg args[] = { krait_pos(krait_structs(ticks, 2, tick)), krait_with(krait_pos(krait_structs(ticks, 2, tick)), KRAIT_COPY) };
        status = see_result_of("faults:told", args, 2, err);
        if (!status) status = see_result_of("faults:same", args, 1, err);
    }
    krait_struct_free(tick);
    krait_struct_free(inner);
    return status;
}

static krait_status do_structs_as_table(krait_error **err) {
    static const struct tick ticks[2] = { { 1, 2.5, "abc", { 3, 4 }, { 5, 6 } }, { 2, 3.5, "", { 0, 0 }, { 0, 0 } } };
    const krait_member       members[] = { KRAIT_FIELD_OF(struct tick, time, krait_datetime(KRAIT_NS, 1)),
                                           KRAIT_FIELD(struct tick, price, krait_f64_type), KRAIT_FIELD_CHARS(struct tick, name) };
    krait_struct            *tick = krait_struct_new(members, 3, sizeof(struct tick), err);
    krait_table             *table = krait_table_new(err);
    krait_status             status = krait_error_status(*err);
    if (!status) status = krait_table_add_structs(table, krait_structs(ticks, 2, tick), err);
    if (!status) status = tell_table(table, 0, err);
    krait_table_free(table);
    krait_struct_free(tick);
    return status;
}

static krait_status do_fixed_in(krait_error **err) {
    static const uint32_t points[] = { 'a', 0x20ac, 'b', 0 };
    krait_arg             args[] = { krait_pos(krait_vector("ab\0c", krait_fixed_bytes(2), 2)), krait_pos(krait_vector(points, krait_fixed_text(2), 2)),
                         krait_with(krait_pos(krait_vector(points, krait_fixed_text(1), 4)), KRAIT_COPY) };
    return see_result_of("faults:told", args, 3, err);
}

/* ---- works: refusals --------------------------------------------------------------------------------------------- */

static krait_status do_refused(krait_error **err) {
    krait_arg    half[] = { krait_pos(krait_list((const krait_value[]){ krait_vector_f64(data, 4), krait_str("\xff") }, 2)) };
    krait_column column;
    krait_array  array;
    krait_value  labels = krait_table_value(tables.labels), out;
    krait_status status = expected(krait_table_find(tables.texts, "none", &column, err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = expected(krait_table_column(tables.texts, 9, &column, err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = expected(krait_get_column(&labels, "twice", KRAIT_ANY, &array, err), KRAIT_E_AMBIGUOUS, err);
    if (!status) status = expected(krait_table_add(tables.texts, "x", krait_vector_f64(NULL, 3), NULL, err), KRAIT_E_ARGUMENT, err);
    if (!status) status = expected(krait_table_add(tables.texts, "x", krait_vector_f64(data, 2), NULL, err), KRAIT_E_SHAPE, err);
    if (!status) status = expected(krait_unregister("faults.none", err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = expected(call("faults:long_double", NULL, 0, &out, err), KRAIT_E_UNSUPPORTED, err);
    if (!status) status = expected(call("faults:long_scalar", NULL, 0, &out, err), KRAIT_E_UNSUPPORTED, err);
    if (!status) status = expected(call("faults:told", half, 1, &out, err), KRAIT_E_ENCODING, err);
    if (!status) status = expected(call("faults:none", NULL, 0, &out, err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = expected(call("no_such_module:f", NULL, 0, &out, err), KRAIT_E_IMPORT, err);
    return status;
}

/* ---- works: objects ---------------------------------------------------------------------------------------------- */

static krait_status use_thing(const krait_value *thing, krait_error **err) {
    krait_arg    one[] = { krait_pos(krait_i64(5)) }, two[] = { krait_pos(krait_i64(5)), krait_kw("k", krait_i64(3)) };
    krait_arg    value = krait_with(krait_pos(krait_vector_f64(data, 4)), KRAIT_COPY), handed = krait_pos(counted(krait_vector_f64(data, 4)));
    krait_arg    key = krait_pos(krait_str("key")), missing = krait_pos(krait_str("none"));
    krait_value  out;
    bool         is = false;
    size_t       length = 0;
    krait_status status = krait_object_set(thing, "kept", &handed, err);
    if (!status) status = krait_object_set(thing, "kept", &value, err);
    if (!status) status = seen(krait_object_get(thing, "kept", &out, err), &out);
    if (!status) status = seen(krait_object_item(thing, &key, &out, err), &out);
    if (!status) status = expected(krait_object_item(thing, &missing, &out, err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = krait_object_len(thing, &length, err);
    if (!status) status = krait_object_isinstance(thing, "faults:Thing", &is, err);
    if (!status) status = seen(krait_object_repr(thing, &out, err), &out);
    if (!status) status = seen(krait_object_call(thing, "method", two, 2, NULL, &out, err), &out);
    for (int i = 0; i < 2 && !status; i++) /* once its name is known it is looked up by Python */
        status = seen(krait_object_call(thing, "method", one, 1, NULL, &out, err), &out);
    if (!status) status = expected(krait_object_call(thing, "none", one, 1, NULL, &out, err), KRAIT_E_NOT_FOUND, err);
    if (!status) status = seen(krait_object_call(thing, NULL, one, 1, NULL, &out, err), &out);
    see_number((int64_t)length + is);
    return status;
}

static krait_status do_object(krait_error **err) {
    krait_value  thing;
    krait_status status = call("faults:thing", NULL, 0, &thing, err);
    if (!status) status = use_thing(&thing, err);
    krait_value_clear(&thing);
    return status;
}

static krait_status do_method(krait_error **err) {
    krait_arg    args[] = { krait_pos(krait_i64(5)) };
    krait_value  thing, out;
    krait_func  *method = NULL, *itself = NULL;
    krait_status status = call("faults:thing", NULL, 0, &thing, err);
    if (!status) method = krait_method(&thing, "method", err);
    if (method) itself = krait_func_of(&thing, err);
    krait_value_clear(&thing);
    status = krait_error_status(*err);
    if (!status) status = seen(krait_call(method, args, 1, NULL, &out, err), &out);
    if (!status) status = seen(krait_call(itself, args, 1, NULL, &out, err), &out);
    krait_func_unref(method);
    krait_func_unref(itself);
    return status;
}

/* To the end, and closed after the second item. */
static krait_status pull(bool to_the_end, krait_error **err) {
    krait_value  iterator, item;
    krait_arg    args[] = { krait_pos(krait_i64(4)) };
    krait_status status = call("faults:count", args, 1, &iterator, err);
    if (!status)
        for (int i = 0; i < (to_the_end ? 9 : 2); i++) {
            status = krait_next(&iterator, &item, err);
            if (status) break;
            see(&item);
            krait_value_clear(&item);
        }
    krait_value_clear(&iterator);
    if (status == KRAIT_DONE && *err) complain("an error at the end");
    return status == KRAIT_DONE ? KRAIT_OK : status;
}

static krait_status do_iterator(krait_error **err) {
    krait_status status = call("faults:closings", NULL, 0, NULL, err);
    if (!status) status = pull(true, err);
    if (!status) status = pull(false, err);
    if (!status) status = krait_gc(err);
    if (!status) status = see_result_of("faults:closings", NULL, 0, err);
    return status;
}

/* ---- works: Arrow and DLPack ------------------------------------------------------------------------------------- */

/* Out and in again. */
static krait_status there_and_back(const krait_table *table, krait_error **err) {
    struct ArrowSchema schema = { .release = NULL };
    struct ArrowArray  array = { .release = NULL };
    krait_table       *again = NULL;
    krait_status       status = krait_arrow_export(table, &schema, &array, err);
    if (!status) status = krait_arrow_import(&schema, &array, &again, err);
    if (!status) see_table(again);
    krait_table_free(again);
    if (schema.release) schema.release(&schema);
    if (array.release) array.release(&array);
    return status;
}

static krait_status do_arrow(krait_error **err) {
    krait_status status = there_and_back(tables.plain, err);
    if (!status) status = there_and_back(tables.texts, err);
    if (!status) status = there_and_back(tables.objects, err);
    if (!status) status = there_and_back(tables.times, err);
    if (!status) status = there_and_back(tables.valid, err);
    if (!status) status = expected(there_and_back(tables.labels, err), KRAIT_E_AMBIGUOUS, err);
    return status;
}

static krait_status do_arrow_stream(krait_error **err) {
    struct ArrowArrayStream stream = { .release = NULL };
    krait_table            *again = NULL;
    krait_status            status = krait_arrow_export_stream(tables.texts, &stream, err);
    if (!status) status = krait_arrow_import_stream(&stream, &again, err);
    if (!status) see_table(again);
    krait_table_free(again);
    if (stream.release) stream.release(&stream);
    return status;
}

/* A stream of three batches: they are put together. */
struct batches {
    int          left;
    krait_error *err;
};

static int batches_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct batches   *batches = stream->private_data;
    struct ArrowArray array = { .release = NULL };
    krait_status      status = krait_arrow_export(tables.texts, out, &array, &batches->err);
    if (array.release) array.release(&array);
    return status ? 12 : 0;
}

static int batches_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct batches    *batches = stream->private_data;
    struct ArrowSchema schema = { .release = NULL };
    krait_status       status;
    out->release = NULL;
    if (!batches->left--) return 0;
    status = krait_arrow_export(tables.texts, &schema, out, &batches->err);
    if (schema.release) schema.release(&schema);
    return status ? 12 : 0;
}

static const char *batches_error(struct ArrowArrayStream *stream) {
    return krait_error_message(((struct batches *)stream->private_data)->err);
}

static void batches_release(struct ArrowArrayStream *stream) {
    krait_error_clear(&((struct batches *)stream->private_data)->err);
    stream->release = NULL;
}

static krait_status do_arrow_batches(krait_error **err) {
    struct batches          batches = { .left = 3 };
    struct ArrowArrayStream stream = { batches_schema, batches_next, batches_error, batches_release, &batches };
    krait_table            *joined = NULL;
    krait_status            status = krait_arrow_import_stream(&stream, &joined, err);
    if (!status) see_table(joined);
    krait_table_free(joined);
    if (stream.release) stream.release(&stream);
    return status;
}

/* What came from Arrow as an argument, and a result of Python out by Arrow. */
static krait_status do_arrow_call(krait_error **err) {
    struct ArrowSchema schema = { .release = NULL };
    struct ArrowArray  array = { .release = NULL };
    krait_table       *imported = NULL;
    const krait_table *table;
    krait_value        out;
    krait_status       status = krait_arrow_export(tables.texts, &schema, &array, err);
    if (!status) status = krait_arrow_import(&schema, &array, &imported, err);
    if (!status) status = tell_table(imported, 0, err);
    krait_table_free(imported);
    if (schema.release) schema.release(&schema);
    if (array.release) array.release(&array);
    if (status) return status;
    status = call("faults:frame_masked", NULL, 0, &out, err);
    if (!status) status = krait_get_table(&out, &table, err);
    if (!status) status = there_and_back(table, err);
    krait_value_clear(&out);
    return status;
}

struct versioned { /* how a DLManagedTensorVersioned begins */
    uint32_t major, minor;
    void    *manager;
    void (*deleter)(struct versioned *self);
};

static krait_status do_dlpack(krait_error **err) {
    krait_value  array = krait_matrix_f64(data, 2, 2), back;
    void        *tensor = NULL;
    krait_status status = krait_dlpack_export(&array, true, &tensor, err);
    if (!status) status = krait_dlpack_import(tensor, true, &back, err);
    if (status) {
        if (tensor) ((struct versioned *)tensor)->deleter(tensor);
        return status;
    }
    krait_arg args[] = { krait_pos(krait_borrow(&back)) };
    see(&back);
    status = see_result_of("faults:told", args, 1, err);
    krait_value_clear(&back);
    return status;
}

struct plain { /* a DLManagedTensor, of which the first seven words are no matter here */
    void *rest[7];
    void (*deleter)(struct plain *self);
};

static krait_status do_dlpack_plain(krait_error **err) {
    krait_value  array = krait_matrix_f64(data, 2, 2), back;
    void        *tensor = NULL;
    krait_status status;
    array.as.array.flags |= KRAIT_ARRAY_WRITABLE;
    status = krait_dlpack_export(&array, false, &tensor, err);
    if (!status) status = krait_dlpack_import(tensor, false, &back, err);
    if (!status) return seen(status, &back);
    if (tensor) ((struct plain *)tensor)->deleter(tensor);
    return status;
}

/* A result moves into the tensor. */
static krait_status do_dlpack_result(krait_error **err) {
    krait_value  out;
    void        *tensor = NULL;
    krait_status status = call("faults:tensor", NULL, 0, &out, err);
    if (!status) status = krait_dlpack_export(&out, true, &tensor, err);
    krait_value_clear(&out);
    if (tensor) ((struct versioned *)tensor)->deleter(tensor);
    return status;
}

/* ---- works: the host's functions --------------------------------------------------------------------------------- */

static krait_status answer(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)user;
    for (size_t i = 0; i < n; i++) see(&args[i].value);
    *out = n ? args[0].value : krait_none();
    return krait_error_status(*err);
}

static krait_status count_args(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    (void)user, (void)args, (void)err;
    *out = krait_i64((int64_t)n);
    return KRAIT_OK;
}

static krait_status make(void *user, const krait_arg *args, size_t n, krait_value *out, krait_error **err) {
    const char  *kind = NULL;
    krait_status status = n ? krait_get_text(&args[0].value, &kind, NULL, err) : KRAIT_E_ARGUMENT;
    (void)user;
    if (status) return status;
    if (!strcmp(kind, "error")) return krait_error_new(err, KRAIT_E_RANGE, "the %s error", "host's");
    if (!strcmp(kind, "array")) *out = krait_vector_f64(data, 4);
    else if (!strcmp(kind, "owned")) *out = counted(krait_vector_f64(data, 4));
    else if (!strcmp(kind, "table")) *out = krait_table_value(tables.texts);
    else if (!strcmp(kind, "owned table")) *out = counted(krait_table_value(tables.plain));
    else if (!strcmp(kind, "list")) *out = krait_list(&args[0].value, 1);
    else return call("faults:frame_plain", NULL, 0, out, err);
    return KRAIT_OK;
}

static krait_status with_host(const char *name, krait_host_fn fn, krait_status (*run)(krait_error **err), krait_error **err) {
    krait_error *end = NULL;
    krait_status status;
    now.given++;
    status = krait_register(name, fn, NULL, count_back, err);
    if (status) return status;
    status = run(err);
    if (krait_unregister(name, &end)) complain("unregistering: %s", krait_error_message(end));
    krait_error_clear(&end);
    return status;
}

static krait_status run_ask(krait_error **err) {
    krait_arg    args[] = { krait_pos(krait_vector_f64(data, 4)) };
    krait_status status = see_result_of("faults:ask", args, 1, err);
    return status ? status : see_result_of("faults:ask_names", NULL, 0, err);
}
static krait_status run_many(krait_error **err) {
    return see_result_of("faults:ask_many", NULL, 0, err);
}
static krait_status run_make(krait_error **err) {
    static const char *const kinds[] = { "array", "owned", "table", "owned table", "list", "result" };
    krait_status             status = KRAIT_OK;
    for (size_t i = 0; i < COUNT(kinds) && !status; i++) {
        krait_arg args[] = { krait_pos(krait_str(kinds[i])) };
        status = see_result_of("faults:ask_for", args, 1, err);
    }
    return status;
}
static krait_status run_error(krait_error **err) {
    krait_arg    args[] = { krait_pos(krait_str("error")) };
    krait_status status = expected(see_result_of("faults:ask_for", args, 1, err), KRAIT_E_RANGE, err);
    return status ? status : expected(see_result_of("faults:ask_wrapped", NULL, 0, err), KRAIT_E_PYTHON, err);
}

static krait_status do_host(krait_error **err) {
    return with_host("faults.answer", answer, run_ask, err);
}
static krait_status do_host_many(krait_error **err) {
    return with_host("faults.count", count_args, run_many, err);
}
static krait_status do_host_make(krait_error **err) {
    return with_host("faults.make", make, run_make, err);
}
static krait_status do_host_error(krait_error **err) {
    return with_host("faults.make", make, run_error, err);
}

/* ---- all works --------------------------------------------------------------------------------------------------- */

static const struct work {
    const char *name;
    krait_status (*run)(krait_error **err);
} works[] = {
#define WORK(name) { #name, do_##name },
    WORK(mixed) WORK(boom) WORK(keep) WORK(source) WORK(tree) WORK(short_ways) WORK(strides) WORK(coroutine)
    WORK(build) WORK(in_plain) WORK(in_texts) WORK(in_objects) WORK(in_times) WORK(in_valid) WORK(in_labels)
    WORK(copy_plain) WORK(copy_texts) WORK(copy_labels) WORK(back_plain) WORK(back_texts) WORK(back_valid) WORK(back_labels) WORK(alias)
    WORK(keep_table) WORK(owned) WORK(owned_result) WORK(owned_many) WORK(owned_columns)
    RESULTS(WORK) WORK(times) WORK(things) WORK(times_in) WORK(structs_in) WORK(structs_as_table) WORK(fixed_in) WORK(refused)
    WORK(object) WORK(method) WORK(iterator) WORK(arrow) WORK(arrow_stream) WORK(arrow_batches) WORK(arrow_call) WORK(dlpack) WORK(dlpack_plain)
    WORK(dlpack_result) WORK(host) WORK(host_many) WORK(host_make) WORK(host_error)
#undef WORK
};

/* ---- failing CPython functions ----------------------------------------------------------------------------------- */

enum { NEVER, NULL_, MINUS, STATE };
enum {
#define PY_FUNCTION(need, fails, type, name, args) INDEX_##name,
#define PY_DATA(type, name)
#include "pyapi.def"
#undef PY_FUNCTION
    ENTRIES
};

/* All calls of what can fail go through `pass`, with whatever arguments: six words and two doubles are what registers
 * hold on every machine that krait knows, and no function of the list has more. */
typedef void *generic(long a, long b, long c, long d, long e, long f, double x, double y);

static struct {
    generic      *real[ENTRIES];
    bool          failed[ENTRIES]; /* at some time */
    pthread_t     thread;
    unsigned long calls, fail_at; /* 0: none */
} faults;
static void *(*no_memory)(void);

/* krait's own capsules always have the name that they were given. */
static bool cannot_fail(int index, long name) {
    return index == INDEX_PyCapsule_GetPointer && name && !strncmp((const char *)name, "krait_", 6);
}

static void *pass(int index, int fails, const char *name, long a, long b, long c, long d, long e, long f, double x, double y) {
    if (!faults.fail_at || cannot_fail(index, b) || !pthread_equal(pthread_self(), faults.thread) || ++faults.calls != faults.fail_at)
        return faults.real[index](a, b, c, d, e, f, x, y);
    faults.failed[index] = true;
    now.name = name;
    if (index == INDEX_PyTuple_SetItem || index == INDEX_PyList_SetItem) /* they take the reference over also when they fail */
        krait__py.Py_DecRef((PyObject *)c);
    no_memory();
    return fails == MINUS ? (void *)-1 : NULL;
}

#define PY_FUNCTION(need, fails, type, name, args)                                                                                      \
    static void *pass_##name(long a, long b, long c, long d, long e, long f, double x, double y) {                                      \
        return pass(INDEX_##name, fails, #name, a, b, c, d, e, f, x, y);                                                                \
    }
#include "pyapi.def"
#undef PY_FUNCTION

static const struct entry {
    const char *name;
    size_t      offset;
    int         fails;
    generic    *pass;
} entries[] = {
#define PY_FUNCTION(need, fails, type, name, args) { #name, offsetof(krait__pyapi, name), fails, pass_##name },
#include "pyapi.def"
#undef PY_FUNCTION
#undef PY_DATA
};

static void put_between(void) {
    void *symbol = dlsym(RTLD_DEFAULT, "PyErr_NoMemory");
    memcpy(&no_memory, &symbol, sizeof symbol);
    faults.thread = pthread_self();
    for (size_t i = 0; i < ENTRIES; i++) {
        char *slot = (char *)&krait__py + entries[i].offset;
        if (entries[i].fails != NULL_ && entries[i].fails != MINUS) continue;
        memcpy(&faults.real[i], slot, sizeof(void *));
        memcpy(slot, &entries[i].pass, sizeof(void *));
    }
}

/* ---- one run, and what it may leave ------------------------------------------------------------------------------ */

static uint64_t asked; /* allocations of the last run */
static char     words[256]; /* of its error */

static krait_status run_once(const struct work *work) {
    krait_error *err = NULL;
    krait_status status;
    now.work = work->name;
    now.seen = 14695981039346656037u;
    status = work->run(&err);
    faults.fail_at = 0;
    asked = krait__mem_count();
    krait__mem_fail_at(0);
    if (!status != !err || status != krait_error_status(err)) complain("status %d, error %s", status, err ? krait_error_message(err) : "NULL");
    snprintf(words, sizeof words, "%s", krait_error_message(err));
    krait_error_clear(&err);
    check_exception();
    return status;
}

/* Bytes that live when all is at rest, with the garbage of Python gone; memory that was handed over is back. */
static size_t at_rest(void) {
    enum { PATIENCE_MS = 3000 };
    for (int ms = 0; ms < PATIENCE_MS; ms++) {
        struct timespec pause = { 0, 1000000 };
        krait_acquire(NULL);
        call("faults:settle", NULL, 0, NULL, NULL);
        krait_release();
        if (now.given == now.back && !krait_loans(NULL, NULL) && !counters().pending_releases) break;
        nanosleep(&pause, NULL);
    }
    if (now.given != now.back) complain("%d blocks and functions were handed over, %d came back", now.given, now.back);
    now.given = now.back = 0;
    if (krait_loans(NULL, NULL)) complain("%zu loans are listed", krait_loans(NULL, NULL));
    while (krait__self->spare) { /* so that each hold needs an allocation */
        krait__node *node = krait__self->spare;
        krait__self->spare = node->next;
        krait__free(node);
    }
    krait__self->spares = 0;
    return __sanitizer_get_current_allocated_bytes();
}

/* One fault, and the work done well after it; again where memory grew, since only what is lost grows each time. */
static bool run_with_fault(const struct work *work, uint64_t good, void (*arm)(unsigned long n), bool (*hit)(unsigned long n), unsigned long n) {
    enum { TIMES = 6 };
    size_t before = at_rest(), after;
    bool   was_hit = true;
    for (int i = 0; i < TIMES; i++) {
        krait_status status;
        arm(n);
        status = run_once(work);
        was_hit = hit(n);
        if (!status && now.seen != good) complain("no error, but another result");
        if (run_once(work)) complain("after that it works no more: %s", words);
        else if (now.seen != good) complain("after that there is another result");
        after = at_rest();
        if (after <= before || !was_hit) return was_hit;
        before = after;
    }
    complain("memory is lost");
    return was_hit;
}

/* ---- allocations ------------------------------------------------------------------------------------------------- */

static uint64_t goods[COUNT(works)]; /* what each work sees when nothing fails */

static bool is_chosen(const struct work *work) {
    const char *one = getenv("KRAIT_TEST_WORK");
    return !one || !strcmp(one, work->name);
}

static void tell(const char *what, const struct work *work, unsigned long n) {
    static double last;
    struct timespec time;
    double          seconds;
    clock_gettime(CLOCK_MONOTONIC, &time);
    seconds = (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
    if (getenv("KRAIT_TEST_VERBOSE")) fprintf(stderr, "    %s: %lu %s, %.2f s\n", work->name, n, what, last > 0 ? seconds - last : 0);
    last = seconds;
}

static void arm_allocation(unsigned long n) {
    now.fault = "allocation";
    now.n = n;
    now.name = NULL;
    krait__mem_fail_at(n);
}
static bool hit_allocation(unsigned long n) {
    return asked >= n;
}

static void every_allocation(size_t i) {
    unsigned long n = 1;
    while (run_with_fault(&works[i], goods[i], arm_allocation, hit_allocation, n)) n++;
    tell("allocations", &works[i], n - 1);
    if (n < 3) complain("only %lu allocations were seen", n - 1);
}

static void test_every_allocation(void **state) {
    (void)state;
    now.complaints = 0;
    for (size_t i = 0; i < COUNT(works); i++)
        if (is_chosen(&works[i])) every_allocation(i);
    assert_int_equal(now.complaints, 0);
}

/* The same while krait notes where all comes from, of which it does without when there is no memory. */
static void test_every_allocation_with_origins(void **state) {
    static const char *const some[] = { "mixed", "keep", "in_texts", "owned", "frame_texts", "iterator", "host_make", "dlpack_result" };
    (void)state;
    now.complaints = 0;
    krait__leaks_on = true;
    for (size_t i = 0; i < COUNT(works); i++)
        for (size_t k = 0; k < COUNT(some); k++)
            if (!strcmp(works[i].name, some[k]) && is_chosen(&works[i])) every_allocation(i);
    krait__leaks_on = false;
    assert_int_equal(now.complaints, 0);
}

/* Starting happens once in a process: each allocation in a child of its own. */
static int init_with_failure(unsigned long n) {
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "json", NULL }, *paths[] = { "/krait/p", NULL };
    krait_error  *err = NULL;
    krait_status  status;
    options.preload = names;
    options.paths = paths;
    krait__mem_fail_at(n);
    status = krait_init(&options, &err);
    if (!status) status = krait_wait_ready(-1, &err);
    if (!status != !err) return 1;
    krait_error_clear(&err);
    if (!status && krait__mem_count() < n) return 77; /* all of them had their turn */
    krait__mem_fail_at(0);
    return 0;
}

static char self[4096];

static void test_every_allocation_of_init(void **state) {
    int code = 0;
    (void)state;
    for (unsigned long n = 1; n < 400 && code == 0; n++) {
        char  number[32];
        int   status = -1;
        pid_t child;
        snprintf(number, sizeof number, "%lu", n);
        child = fork();
        if (child == 0) {
            setenv("ASAN_OPTIONS", "detect_leaks=0:handle_segv=2:handle_abort=2", 1); /* a half-started Python is kept by nobody */
            alarm(60);
            execl(self, self, "init", number, (char *)NULL);
            _exit(127);
        }
        waitpid(child, &status, 0);
        code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (code != 0 && code != 77) fail_msg("krait_init with allocation %lu failing ended with status 0x%x", n, (unsigned)status);
    }
    assert_int_equal(code, 77);
}

/* ---- CPython functions ------------------------------------------------------------------------------------------- */

static void arm_function(unsigned long n) {
    now.fault = "function";
    now.n = n;
    now.name = NULL;
    faults.calls = 0;
    faults.fail_at = n;
}
static bool hit_function(unsigned long n) {
    return faults.calls >= n;
}

/* The first time a work is done krait looks up what it keeps for good: nothing goes well in between here, so that each
 * of these steps fails too. */
static void first_times(size_t i) {
    enum { MANY = 2000 };
    static uint64_t digests[MANY];
    static const char *names[MANY];
    unsigned long      n = 1, most;
    krait_status       status;
    for (; n < MANY; n++) {
        arm_function(n);
        status = run_once(&works[i]);
        if (!hit_function(n)) break;
        digests[n] = status ? 0 : now.seen;
        names[n] = now.name;
    }
    goods[i] = now.seen;
    if (status) complain("it does not work: %s", words);
    for (most = n, n = 1; n < most; n++) {
        now.n = n;
        now.name = names[n];
        if (digests[n] && digests[n] != goods[i]) complain("no error, but another result");
    }
    tell("functions at first", &works[i], most - 1);
}

static void test_first_times(void **state) {
    (void)state;
    now.complaints = 0;
    for (size_t i = 0; i < COUNT(works); i++)
        if (is_chosen(&works[i])) first_times(i);
    assert_int_equal(now.complaints, 0);
}

static void test_every_function(void **state) {
    (void)state;
    now.complaints = 0;
    for (size_t i = 0; i < COUNT(works); i++) {
        unsigned long n = 1;
        if (!is_chosen(&works[i])) continue;
        while (run_with_fault(&works[i], goods[i], arm_function, hit_function, n)) n++;
        tell("functions", &works[i], n - 1);
    }
    assert_int_equal(now.complaints, 0);
}

/* Only what starts Python is on the way of no work, and what newer ones have another function for. */
static bool has_no_turn(int index) {
    if (index == INDEX_PyException_SetTraceback) return krait__py.PyErr_GetRaisedException != NULL;
    return index == INDEX_Py_CompileString || index == INDEX_PyEval_EvalCode || index == INDEX_PyLong_FromVoidPtr;
}

static void test_all_functions_had_their_turn(void **state) {
    int missed = 0;
    (void)state;
    if (getenv("KRAIT_TEST_WORK")) return;
    for (int i = 0; i < ENTRIES; i++) {
        if ((entries[i].fails != NULL_ && entries[i].fails != MINUS) || faults.failed[i] || has_no_turn(i)) continue;
        fprintf(stderr, "    %s has not failed\n", entries[i].name);
        missed++;
    }
    assert_int_equal(missed, 0);
}

static int set_up(void) {
    krait_error *err = NULL;
    if (start_python(NULL)) return -1;
    krait_module_from_source("faults", source, &err);
    call("faults:settle", NULL, 0, NULL, &err);
    tables.plain = plain_table(&err);
    tables.texts = text_table(&err);
    tables.objects = object_table(&err);
    tables.times = time_table(&err);
    tables.valid = valid_table(&err);
    tables.labels = label_table(&err);
    if (err) fprintf(stderr, "%s: %s\n", krait_error_step(err), krait_error_message(err));
    if (!err) put_between();
    return err ? -1 : 0;
}

static void let_go(void) {
    krait_table *const all[] = { tables.plain, tables.texts, tables.objects, tables.times, tables.valid, tables.labels };
    for (size_t i = 0; i < COUNT(all); i++) krait_table_free(all[i]);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_times),
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_every_allocation_with_origins),
        cmocka_unit_test(test_every_function),
        cmocka_unit_test(test_all_functions_had_their_turn),
        cmocka_unit_test(test_every_allocation_of_init),
    };
    int failed;
    if (!realpath(argv[0], self)) return 1;
    if (argc > 2 && !strcmp(argv[1], "init")) return init_with_failure(strtoul(argv[2], NULL, 10));
    alarm(TIME_LIMIT_S);
    if (set_up()) return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    let_go();
    return failed;
}
