/* Escape and aliasing: what Python keeps of lent memory is found and named, what only seems to be kept is not, what a
 * result views is copied, or left a view where KRAIT_ALIAS says so. */
#include "check.h"

/* Each of these keeps what was lent. */
static const char keeping[] =
    "import asyncio, collections, concurrent.futures, contextvars, functools, gc, logging, threading, weakref\n"
    "import numpy, pandas\n"
    "held = []\n"
    "class Model:\n"
    "    def fit(self, a):\n"
    "        self.x = a\n"
    "        return float(a.sum())\n"
    "model = Model()\n"
    "variable = contextvars.ContextVar('variable')\n"
    "local = threading.local()\n"
    "go_on = threading.Event()\n"
    "threads = []\n"
    "cache = functools.lru_cache(maxsize=None)(lambda n: held.pop())\n"
    "def in_a_global(a):\n"
    "    held.append(a)\n"
    "def a_slice(a):\n"
    "    held.append(a[1:])\n"
    "def an_empty_slice(a):\n"
    "    held.append(a[:0])\n"
    "def a_transposed_view(a):\n"
    "    held.append(a.reshape(-1, 1).T)\n"
    "def a_memoryview(a):\n"
    "    held.append(memoryview(a))\n"
    "def an_iterator(a):\n"
    "    held.append(iter(a))\n"
    "def a_started_generator(a):\n"
    "    g = (x for x in a)\n"
    "    next(g)\n"
    "    held.append(g)\n"
    "def a_closure(a):\n"
    "    held.append(lambda: a)\n"
    "def a_default_argument(a):\n"
    "    def later(x=a): return x\n"
    "    held.append(later)\n"
    "def a_partial(a):\n"
    "    held.append(functools.partial(numpy.sum, a))\n"
    "def a_cache(a):\n"
    "    held.append(a)\n"
    "    cache(1)\n"
    "def a_context_variable(a):\n"
    "    context = contextvars.copy_context()\n"
    "    context.run(variable.set, a)\n"
    "    held.append(context)\n"
    "def a_thread_local(a):\n"
    "    local.a = a\n"
    "def a_running_thread(a):\n"
    "    threads.append(threading.Thread(target=lambda: (go_on.wait(60), a.sum())))\n"
    "    threads[-1].start()\n"
    "def a_caught_exception(a):\n"
    "    try:\n"
    "        raise ValueError('kept')\n"
    "    except ValueError as error:\n"
    "        held.append(error)\n"
    "def a_frame(a):\n"
    "    held.append(pandas.DataFrame(a.reshape(-1, 2), copy=False))\n"
    "def a_suspended_coroutine(a):\n"
    "    async def work():\n"
    "        await asyncio.sleep(0)\n"
    "        return a\n"
    "    c = work()\n"
    "    c.send(None)\n"
    "    held.append(c)\n"
    "def kept_and_failed(a):\n"
    "    held.append(a)\n"
    "    raise KeyError('after keeping')\n"
    "def kept_and_returned(a):\n"
    "    held.append(a)\n"
    "    return a\n"
    "def kept_inside_what_is_returned(a):\n"
    "    class Named(dict): pass\n"
    "    result = Named(x=1)\n"
    "    result.a = a\n"
    "    return result\n"
    "def forget():\n"
    "    held.clear()\n"
    "    cache.cache_clear()\n"
    "    model.__dict__.clear()\n"
    "    local.__dict__.clear()\n"
    "    go_on.set()\n"
    "    while threads: threads.pop().join()\n"
    "    go_on.clear()\n";

/* Each of these only seems to. */
static const char seeming[] =
    "import asyncio, concurrent.futures, logging, threading, weakref\n"
    "import numpy, pandas\n"
    "from keeping import Model, held\n"
    "def nothing(a):\n"
    "    return float(a.sum())\n"
    "def a_cycle(a):\n"
    "    loop = [a]\n"
    "    loop.append(loop)\n"
    "def an_old_cycle(a):\n"
    "    loop = [a]\n"
    "    loop.append(loop)\n"
    "    many = [[] for i in range(200000)]\n"
    "def a_cycle_through_an_object(a):\n"
    "    m = Model()\n"
    "    m.me = m\n"
    "    m.fit(a)\n"
    "def a_weak_reference(a):\n"
    "    held.append(weakref.ref(a))\n"
    "def an_ended_thread(a):\n"
    "    t = threading.Thread(target=a.sum)\n"
    "    t.start()\n"
    "    t.join()\n"
    "def an_executor(a):\n"
    "    with concurrent.futures.ThreadPoolExecutor(2) as pool:\n"
    "        return float(sum(pool.map(numpy.sum, [a, a[1:], a[::2]])))\n"
    "def asyncio_run(a):\n"
    "    async def work():\n"
    "        await asyncio.sleep(0)\n"
    "        return float(a.sum())\n"
    "    return asyncio.run(work())\n"
    "async def coroutine(a):\n"
    "    await asyncio.sleep(0)\n"
    "    return float(a.sum())\n"
    "def a_consumed_generator(a):\n"
    "    return float(sum(x for x in a))\n"
    "def a_dropped_generator(a):\n"
    "    g = (x for x in a)\n"
    "    next(g)\n"
    "def a_handled_exception(a):\n"
    "    try:\n"
    "        a['no such']\n"
    "    except IndexError:\n"
    "        return 1.0\n"
    "def a_logged_exception(a):\n"
    "    logger = logging.getLogger('escape')\n"
    "    logger.propagate = False\n"
    "    logger.handlers = [logging.NullHandler()]\n"
    "    try:\n"
    "        a['no such']\n"
    "    except IndexError:\n"
    "        logger.exception('failed on %s', a.shape)\n"
    "def pandas_work(a):\n"
    "    df = pandas.DataFrame({'k': numpy.arange(len(a)) % 3, 'v': a}, copy=False)\n"
    "    df.groupby('k')['v'].agg(['mean', 'std'])\n"
    "    df.rolling(3).mean()\n"
    "    df.merge(df, on='k')\n"
    "    df.query('v > 0')\n"
    "    return float(df['v'].describe()['mean'])\n";

/* Each of these raises. */
static const char raising[] =
    "import asyncio, concurrent.futures\n"
    "import numpy, pandas\n"
    "saved = ValueError('saved')\n"
    "def raises(a):\n"
    "    raise ValueError('plain')\n"
    "def raises_saved(a):\n"
    "    raise saved\n"
    "def raises_a_local(a):\n"
    "    error = ValueError('local')\n"
    "    raise error\n"
    "def raises_deep(a, n=50):\n"
    "    b = a[n:]\n"
    "    return raises_deep(a, n - 1) if n else 1 / 0\n"
    "def raises_from(a):\n"
    "    try:\n"
    "        b = a[1:]\n"
    "        raise KeyError('inner')\n"
    "    except KeyError as inner:\n"
    "        raise ValueError('outer') from inner\n"
    "def raises_while_handling(a):\n"
    "    try:\n"
    "        a['no such']\n"
    "    except IndexError:\n"
    "        1 / 0\n"
    "def raises_with_the_argument(a):\n"
    "    raise ValueError('holds it', a)\n"
    "def raises_in_asyncio(a):\n"
    "    async def inner():\n"
    "        b = a[1:]\n"
    "        await asyncio.sleep(0)\n"
    "        raise ValueError('task')\n"
    "    async def outer():\n"
    "        await asyncio.gather(inner(), inner(), asyncio.sleep(0.01))\n"
    "    asyncio.run(outer())\n"
    "async def raises_in_a_coroutine(a):\n"
    "    await asyncio.sleep(0)\n"
    "    raise ValueError('coroutine')\n"
    "def raises_in_a_thread(a):\n"
    "    with concurrent.futures.ThreadPoolExecutor(1) as pool:\n"
    "        pool.submit(raises_from, a).result()\n"
    "def raises_a_group(a):\n"
    "    found = []\n"
    "    for f in (raises_from, raises_a_local, raises_while_handling):\n"
    "        try:\n"
    "            f(a)\n"
    "        except Exception as error:\n"
    "            found.append(error)\n"
    "    raise ExceptionGroup('several', found)\n"
    "def raises_in_a_task_group(a):\n"
    "    async def work():\n"
    "        async with asyncio.TaskGroup() as group:\n"
    "            group.create_task(raises_in_a_coroutine(a))\n"
    "    asyncio.run(work())\n"
    "def raises_in_numpy(a):\n"
    "    numpy.linalg.inv(a.reshape(2, -1))\n"
    "def raises_in_pandas(a):\n"
    "    pandas.DataFrame({'v': a}, copy=False).groupby('no such').sum()\n"
    "def exits(a):\n"
    "    raise SystemExit(3)\n"
    "def recurses(a):\n"
    "    return recurses(a[:])\n";

/* Each of these returns something of its argument. */
static const char returning[] =
    "import numpy, pandas\n"
    "from keeping import held\n"
    "def returns_it(a): return a\n"
    "def returns_a_slice(a): return a[1:]\n"
    "def returns_every_second(a): return a[::2]\n"
    "def returns_reversed(a): return a[::-1]\n"
    "def returns_nothing_of_it(a): return a[:0]\n"
    "def returns_the_end_of_it(a): return a[len(a):]\n"
    "def returns_an_element(a): return a[3:4].reshape(())\n"
    "def returns_another_dtype(a): return a.view('i8')\n"
    "def returns_broadcast(a): return numpy.broadcast_to(a[:1], (5, 5))\n"
    "def returns_from_a_buffer(a): return numpy.frombuffer(memoryview(a), 'f8')[2:]\n"
    "def returns_a_subclass(a): return numpy.matrix(a, copy=False)\n"
    "def in_a_list(a): return [1, a]\n"
    "def in_a_tuple(a): return 1, a[1:]\n"
    "def in_a_dict(a): return {'a': a, 'n': 1}\n"
    "def deep_inside(a): return {'x': [(1, {'y': a[2:]})], 'z': a}\n"
    "def keep_list(l): held.append(l)\n"
    "def total(x): return float(numpy.sum(x[1]))\n"
    "def returns_a_memoryview(a): return memoryview(a)\n"
    "def returns_a_generator(a): return (x for x in a)\n"
    "def returns_a_frame(a): return pandas.DataFrame({'a': a}, copy=False)\n"
    "def returns_a_closure(a): return lambda: a\n"
    "def second_of(a, b): return {'b': b[1:], 'a': a}\n";

/* Operations on a frame that was lent without a copy. */
static const char operating[] =
    "import numpy, pandas\n"
    "def frame(a, copy):\n"
    "    return pandas.DataFrame(a.copy() if copy else a, columns=list('abcd'), copy=False)\n"
    "operations = [f.strip() for f in '''\n"
    "    df; df.fillna(0); df.astype('float64'); df.astype('float32'); df.rename(columns={'a': 'z'});\n"
    "    df.assign(e=df['a'] * 2); df.clip(-1e300, 1e300); df.where(df == df); df.where(df > 0, 0);\n"
    "    df.mask(df != df, 7); df[df['a'] == df['a']]; df[numpy.ones(len(df), bool)];\n"
    "    pandas.concat([df, df], axis=1); pandas.concat([df, df]); df.copy(deep=False);\n"
    "    df.reset_index(drop=True); df.set_axis(list('efgh'), axis=1); df.T; df.iloc[:]; df.iloc[2:];\n"
    "    df.iloc[::2]; df.loc[:]; df[['a', 'b']]; df['b']; df.iloc[:, 1:3]; df.head(5); df.tail(5);\n"
    "    df.drop(columns='a'); df.dropna(); df.sort_index(); df.sort_values('a'); df.reindex(df.index);\n"
    "    df.reindex(columns=list('dcba')); df.add_prefix('p'); df.infer_objects(); df.transform(lambda c: c);\n"
    "    df.apply(lambda c: c); df.replace(1e300, 0); df.round(20); df.ffill(); df.interpolate();\n"
    "    df.truncate(0, 99); df.pipe(lambda d: d); df.squeeze(); df.filter(list('ab')); df.query('a == a');\n"
    "    df.eval('e = a + b'); df.stack(); df.drop_duplicates(); df.shift(0); df.shift(1); df.diff();\n"
    "    df.cumsum(); df.abs(); df + 0; df * 1; df.rank(); df.align(df)[0]; df.combine_first(df);\n"
    "    df.join(df.rename(columns=str.upper)); df.sample(frac=1, random_state=1); df.rolling(2).mean();\n"
    "    df.describe(); df.corr(); df.agg(['min', 'max']); df.groupby(df.index % 2).transform('mean');\n"
    "    df.swaplevel() if df.index.nlevels > 1 else df; df.set_index('a', drop=False);\n"
    "    df.insert(0, 'n', df['a']) or df; df.pop('a'); df.melt()[['value']]; df.nlargest(3, 'a');\n"
    "    df['a'].to_frame(); df['a'].map(lambda x: x); pandas.Series(a[:, 0], copy=False);\n"
    "'''.split(';') if f.strip()]\n"
    "def name_of(i):\n"
    "    return operations[i] if i < len(operations) else None\n"
    "def operate(a, i, copy):\n"
    "    return eval(operations[i], {'df': frame(a, copy), 'numpy': numpy, 'pandas': pandas, 'a': a}).to_numpy()\n"
    "def same(x, y):\n"
    "    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()\n";

enum { ROWS = 20 };
static double data[ROWS];

static void refill(void) {
    for (size_t i = 0; i < ROWS; i++) data[i] = (double)(i + 1);
}

static krait_value lent(void) {
    return krait_vector_f64(data, ROWS);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

/* What krait_loans tells; filled in a callback, looked at afterwards. */
typedef struct seen {
    size_t      count;
    const void *memory;
    size_t      bytes;
    char        function[128], argument[128];
} seen;

static void see(void *user, const krait_loan *loan) {
    seen *all = user;
    all->count++;
    all->memory = loan->data;
    all->bytes = loan->bytes;
    snprintf(all->function, sizeof all->function, "%s", loan->function);
    snprintf(all->argument, sizeof all->argument, "%s", loan->argument);
}

static seen look_at_loans(void) {
    seen   all = { .count = 0 };
    size_t count = krait_loans(see, &all);
    assert_int_equal(count, all.count);
    return all;
}

/* Waits until krait's own thread has released what was cleared. */
static void assert_no_loans(const char *when) {
    for (int ms = 0; ms < PATIENCE_MS && krait_loans(NULL, NULL); ms++) wait_ms(1);
    if (krait_loans(NULL, NULL)) fail_msg("%zu loans are still open: %s", krait_loans(NULL, NULL), when);
}

static void forget(void) {
    krait_error *err = NULL;
    call("keeping:forget", NULL, 0, NULL, &err);
    assert_good(err);
}

/* Before each test: what a failed one left is not the next one's matter. */
static int start_clean(void **state) {
    (void)state;
    refill();
    forget();
    krait_gc(NULL);
    return 0;
}

static void what_is_kept_is_named(void **state) {
    static const char *const names[] = {
        "in_a_global",
        "a_slice",
        "an_empty_slice",
        "a_transposed_view",
        "a_memoryview",
        "an_iterator",
        "a_started_generator",
        "a_closure",
        "a_default_argument",
        "a_partial",
        "a_cache",
        "a_context_variable",
        "a_thread_local",
        "a_running_thread",
        "a_caught_exception",
        "a_frame",
        "a_suspended_coroutine",
        "model.fit",
        "kept_and_failed",
        "kept_and_returned",
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_error *err = NULL;
        krait_value  out = krait_i64(1);
        char         name[128], word[256];
        seen         loan;
        snprintf(name, sizeof name, "keeping:%s", names[i]);
        snprintf(word, sizeof word,
                 "Python kept argument 1 (float64 array (20)), which was lent for the call only, after %s ", name);
        call1(name, lent(), 0, &out, &err);
        if (!err) fail_msg("%s was not found to keep its argument", name);
        assert_int_equal(out.kind, KRAIT_KIND_NONE);
        assert_string_equal(krait_error_step(err), "after the call");
        assert_error(err, KRAIT_E_ESCAPED, word);
        loan = look_at_loans();
        assert_int_equal(loan.count, 1);
        assert_ptr_equal(loan.memory, data);
        assert_int_equal(loan.bytes, sizeof data);
        assert_string_equal(loan.function, name);
        assert_string_equal(loan.argument, "argument 1");
        forget();
        assert_no_loans(name);
    }
    assert_int_equal(counters().escapes, before.escapes + COUNT(names));
    assert_nothing_left(&before);
}

/* The result's own object may keep the argument where no reader sees it; it goes, and with it the loan. */
static void what_the_result_keeps_hidden(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("keeping:kept_inside_what_is_returned", lent(), 0, &out, &err);
    assert_error(err, KRAIT_E_ESCAPED, "returned map of 1 item");
    krait_value_clear(&out);
    krait_gc(NULL);
    assert_no_loans("a dict with an attribute");
}

static void the_exception_is_the_cause(void **state) {
    krait_error       *err = NULL;
    const krait_error *cause;
    (void)state;
    call1("keeping:kept_and_failed", lent(), 0, NULL, &err);
    assert_int_equal(krait_error_status(err), KRAIT_E_ESCAPED);
    assert_non_null(strstr(krait_error_message(err), "failed with KRAIT_E_PYTHON"));
    cause = krait_error_cause(err);
    assert_int_equal(krait_error_status(cause), KRAIT_E_PYTHON);
    assert_string_equal(krait_error_python_type(cause), "KeyError");
    krait_error_clear(&err);
    forget();
    assert_no_loans("kept and failed");
}

static void every_kept_argument_is_listed(void **state) {
    static double second[3];
    krait_error  *err = NULL;
    krait_arg     args[] = { krait_pos(lent()), krait_kw("values", krait_vector_f64(second, 3)),
                             krait_kw("n", krait_i64(1)) };
    (void)state;
    define("escape_two",
           "held = []\ndef keep(a, values, n):\n    held.extend((a, values))\ndef forget():\n    held.clear()\n");
    call("escape_two:keep", args, 3, NULL, &err);
    assert_error(err, KRAIT_E_ESCAPED, "argument 1 (float64 array (20))");
    assert_int_equal(look_at_loans().count, 2);
    args[0] = krait_with(args[0], KRAIT_COPY);
    call("escape_two:keep", args, 3, NULL, &err);
    assert_error(err, KRAIT_E_ESCAPED, "argument 2 'values' (float64 array (3))");
    assert_int_equal(look_at_loans().count, 3);
    assert_string_equal(look_at_loans().argument, "argument 1"); /* the oldest is told last */
    call("escape_two:forget", NULL, 0, NULL, &err);
    assert_good(err);
    assert_no_loans("two arguments");
}

/* ---- what only seems to be kept ---------------------------------------------------------------------------------- */

static void what_is_dead_is_no_escape(void **state) {
    static const char *const names[] = {
        "nothing",
        "a_cycle",
        "an_old_cycle",
        "a_cycle_through_an_object",
        "a_weak_reference",
        "an_ended_thread",
        "an_executor",
        "asyncio_run",
        "coroutine",
        "a_consumed_generator",
        "a_dropped_generator",
        "a_handled_exception",
        "a_logged_exception",
        "pandas_work",
    };
    krait_metrics before;
    (void)state;
    call1("seeming:pandas_work", lent(), KRAIT_COPY, NULL, NULL); /* so that what pandas keeps for itself is there */
    before = at_rest();
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_error *err = NULL;
        char         name[128];
        snprintf(name, sizeof name, "seeming:%s", names[i]);
        call1(name, lent(), 0, NULL, &err);
        if (err) fail_msg("%s: %s", name, krait_error_message(err));
        assert_int_equal(krait_loans(NULL, NULL), 0);
    }
    forget();
    assert_nothing_left(&before);
}

static void exceptions_do_not_keep_arguments(void **state) {
    static const struct {
        const char  *name, *type;
        krait_status status;
    } rows[] = {
        { "raises", "ValueError", KRAIT_E_PYTHON },
        { "raises_saved", "ValueError", KRAIT_E_PYTHON },
        { "raises_a_local", "ValueError", KRAIT_E_PYTHON },
        { "raises_deep", "ZeroDivisionError", KRAIT_E_PYTHON },
        { "raises_from", "ValueError", KRAIT_E_PYTHON },
        { "raises_while_handling", "ZeroDivisionError", KRAIT_E_PYTHON },
        { "raises_with_the_argument", "ValueError", KRAIT_E_PYTHON },
        { "raises_in_asyncio", "ValueError", KRAIT_E_PYTHON },
        { "raises_in_a_coroutine", "ValueError", KRAIT_E_PYTHON },
        { "raises_in_a_thread", "ValueError", KRAIT_E_PYTHON },
        { "raises_a_group", "ExceptionGroup", KRAIT_E_PYTHON },
        { "raises_in_a_task_group", "ExceptionGroup", KRAIT_E_PYTHON },
        { "raises_in_numpy", "numpy.linalg.LinAlgError", KRAIT_E_PYTHON },
        { "raises_in_pandas", "KeyError", KRAIT_E_PYTHON },
        { "exits", "SystemExit", KRAIT_E_EXIT },
        { "recurses", "RecursionError", KRAIT_E_PYTHON },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (int with_error = 1; with_error >= 0; with_error--)
        for (size_t i = 0; i < COUNT(rows); i++) {
            krait_error *err = NULL;
            krait_status status;
            char         name[128];
            snprintf(name, sizeof name, "raising:%s", rows[i].name);
            status = call1(name, lent(), 0, NULL, with_error ? &err : NULL);
            if (status != rows[i].status)
                fail_msg("%s: %s: %s", name, krait_status_name(status), krait_error_message(err));
            if (with_error) assert_string_equal(krait_error_python_type(err), rows[i].type);
            krait_error_clear(&err);
            assert_int_equal(krait_loans(NULL, NULL), 0);
        }
    assert_nothing_left(&before);
}

/* A full collection is made once a second for each function: a second old cycle within it may be told as kept, and is
 * listed until then. */
static void old_cycles_in_quick_succession(void **state) {
    krait_error *err = NULL;
    (void)state;
    for (int i = 0; i < 3; i++) {
        call1("seeming:an_old_cycle", lent(), 0, NULL, &err);
        if (err) assert_error(err, KRAIT_E_ESCAPED, "Python kept argument 1");
        krait_gc(&err);
        assert_good(err);
        assert_int_equal(krait_loans(NULL, NULL), 0);
    }
}

/* ---- what is returned -------------------------------------------------------------------------------------------- */

static bool in_lent(const void *at) {
    return (const char *)at >= (const char *)data && (const char *)at < (const char *)(data + ROWS);
}

/* Results: which elements of 1.0 to 20.0 they have. */
static const struct view {
    const char *name;
    int         first, step, count;
} views[] = {
    { "returns_it", 1, 1, 20 },           { "returns_a_slice", 2, 1, 19 },  { "returns_every_second", 1, 2, 10 },
    { "returns_reversed", 20, -1, 20 },   { "returns_an_element", 4, 1, 1 }, { "returns_from_a_buffer", 3, 1, 18 },
    { "returns_broadcast", 1, 0, 25 },    { "returns_a_subclass", 1, 1, 20 }, { "returns_nothing_of_it", 1, 1, 0 },
    { "returns_the_end_of_it", 1, 1, 0 },
};

static void assert_view(const krait_array *array, const struct view *view) {
    assert_int_equal(array->size, view->count);
    for (int64_t i = 0; i < array->size; i++) {
        const char *at = array->data; /* strided only in one dimension here */
        at += array->ndim && array->size > 1 ? array->strides[array->ndim - 1] * i : 0;
        if (*(const double *)(const void *)at != view->first + (double)i * view->step)
            fail_msg("returning:%s: element %" PRId64 " is wrong", view->name, i);
    }
}

static void a_returned_view_is_copied_once(void **state) {
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(views); i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        char         name[128];
        uint64_t     copies = counters().copies;
        snprintf(name, sizeof name, "returning:%s", views[i].name);
        call1(name, lent(), 0, &out, &err);
        krait_get_array(&out, KRAIT_F64, -1, &array, &err);
        assert_good(err);
        assert_int_equal(krait_loans(NULL, NULL), 0);
        assert_false(in_lent(array.data));
        assert_true(array.flags & KRAIT_ARRAY_COPIED);
        assert_false(array.flags & KRAIT_ARRAY_ALIAS);
        assert_int_equal(counters().copies, copies + 1);
        memset(data, 0xff, sizeof data); /* the host's memory goes */
        assert_view(&array, &views[i]);
        refill();
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

static void an_alias_stays_a_view(void **state) {
    krait_call_options as_is = KRAIT_CALL_OPTIONS_INIT;
    krait_metrics      before = at_rest();
    (void)state;
    as_is.flags = KRAIT_KEEP_STRIDES;
    for (size_t i = 0; i < COUNT(views); i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        char         name[128];
        snprintf(name, sizeof name, "returning:%s", views[i].name);
        krait_func *func = krait_func_new(name, &err);
        krait_arg   args[] = { krait_with(krait_pos(lent()), KRAIT_ALIAS) };
        krait_call(func, args, 1, &as_is, &out, &err);
        krait_func_unref(func);
        krait_get_array(&out, KRAIT_F64, -1, &array, &err);
        assert_good(err);
        if (array.size) assert_true(in_lent(array.data));
        assert_true(array.flags & KRAIT_ARRAY_ALIAS);
        assert_false(array.flags & KRAIT_ARRAY_COPIED);
        assert_view(&array, &views[i]);
        assert_int_equal(look_at_loans().count, 1);
        assert_ptr_equal(look_at_loans().memory, data);
        assert_string_equal(look_at_loans().function, name);
        krait_value_clear(&out);
        assert_no_loans(name);
    }
    assert_nothing_left(&before);
}

/* Made contiguous it is a copy, and the argument is free again. */
static void an_alias_that_must_be_copied(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    (void)state;
    call1("returning:returns_every_second", lent(), KRAIT_ALIAS, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_false(array.flags & KRAIT_ARRAY_ALIAS);
    assert_false(in_lent(array.data));
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_value_clear(&out);
}

static void an_alias_of_another_dtype(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    (void)state;
    call1("returning:returns_another_dtype", lent(), KRAIT_ALIAS, &out, &err);
    krait_get_array(&out, KRAIT_I64, 1, &array, &err);
    assert_good(err);
    assert_ptr_equal(array.data, data);
    krait_value_clear(&out);
    call1("returning:returns_another_dtype", lent(), 0, &out, &err);
    krait_get_array(&out, KRAIT_I64, 1, &array, &err);
    assert_good(err);
    assert_false(in_lent(array.data));
    krait_value_clear(&out);
    assert_no_loans("another dtype");
}

/* The array at the end of a path of keys and indices, "z" or "x.0.1.y". */
static krait_array array_at(const krait_value *value, const char *path) {
    krait_error *err = NULL;
    krait_array  array;
    char         key[16];
    while (*path) {
        size_t length = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)length, path);
        if (value->kind == KRAIT_KIND_MAP) krait_map_get(value, key, &value, &err);
        else krait_list_at(value, (size_t)atoi(key), &value, &err);
        assert_good(err);
        path += length + (path[length] == '.');
    }
    krait_get_array(value, KRAIT_F64, 1, &array, &err);
    assert_good(err);
    return array;
}

static const struct inside {
    const char *name, *path;
    int         first;
} insides[] = {
    { "in_a_list", "1", 1 },   { "in_a_tuple", "1", 2 },        { "in_a_dict", "a", 1 },
    { "deep_inside", "z", 1 }, { "deep_inside", "x.0.1.y", 3 },
};

static void a_view_inside_a_container_is_copied(void **state) {
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(insides); i++) {
        krait_error *err = NULL;
        krait_value  out;
        krait_array  array;
        char         name[128];
        snprintf(name, sizeof name, "returning:%s", insides[i].name);
        call1(name, lent(), 0, &out, &err);
        assert_good(err);
        assert_int_equal(krait_loans(NULL, NULL), 0);
        memset(data, 0xff, sizeof data);
        array = array_at(&out, insides[i].path);
        assert_true(array.flags & KRAIT_ARRAY_COPIED);
        assert_true(((double *)array.data)[0] == insides[i].first);
        assert_true(((double *)array.data)[array.size - 1] == 20);
        refill();
        krait_value_clear(&out);
    }
    assert_nothing_left(&before);
}

/* Such a container is no longer the object that Python returned: passed on, it is built anew and holds the copies. */
static void a_container_with_copies_is_passed_on(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out, sum;
    double        x;
    (void)state;
    call1("returning:in_a_list", lent(), 0, &out, &err);
    memset(data, 0, sizeof data);
    call1("returning:total", krait_borrow(&out), 0, &sum, &err);
    krait_get_f64(&sum, &x, &err);
    assert_good(err);
    assert_true(x == 210);
    call1("returning:keep_list", krait_borrow(&out), 0, NULL, &err); /* and may be kept */
    assert_good(err);
    krait_value_clear(&out);
    forget();
    refill();
    assert_nothing_left(&before);
}

static void an_alias_inside_a_container(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   out;
    krait_array   array;
    (void)state;
    call1("returning:deep_inside", lent(), KRAIT_ALIAS, &out, &err);
    assert_good(err);
    array = array_at(&out, "x.0.1.y");
    assert_ptr_equal(array.data, data + 2);
    assert_true(array.flags & KRAIT_ARRAY_ALIAS);
    assert_int_equal(look_at_loans().count, 1);
    krait_value_clear(&out);
    assert_no_loans("a container with aliases");
    assert_nothing_left(&before);
}

/* An alias passed on is the caller's matter: it stays listed until both have let go. */
static void an_alias_kept_by_a_later_call(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("returning:returns_it", lent(), KRAIT_ALIAS, &out, &err);
    call1("keeping:in_a_global", krait_borrow(&out), 0, NULL, &err);
    assert_good(err);
    krait_value_clear(&out);
    krait_gc(&err);
    assert_int_equal(look_at_loans().count, 1);
    forget();
    assert_no_loans("an alias kept later");
}

static void only_the_lent_part_is_copied(void **state) {
    static double second[4] = { 1, 2, 3, 4 };
    krait_error  *err = NULL;
    krait_value   out;
    krait_array   a, b;
    krait_arg     args[] = { krait_pos(lent()), krait_with(krait_kw("b", krait_vector_f64(second, 4)), KRAIT_ALIAS) };
    (void)state;
    call("returning:second_of", args, 2, &out, &err);
    assert_good(err);
    a = array_at(&out, "a");
    b = array_at(&out, "b");
    assert_true(a.flags & KRAIT_ARRAY_COPIED);
    assert_false(in_lent(a.data));
    assert_ptr_equal(b.data, second + 1);
    assert_true(b.flags & KRAIT_ARRAY_ALIAS);
    assert_int_equal(look_at_loans().count, 1);
    assert_string_equal(look_at_loans().argument, "argument 2 'b'");
    krait_value_clear(&out);
    assert_no_loans("one alias of two");
}

/* A frame over the argument is copied as an array is; a generator and a closure cannot be. */
static void other_results_that_hold_the_argument(void **state) {
    static const char *const kept[] = { "returns_a_generator", "returns_a_closure" };
    krait_metrics            before = at_rest();
    krait_error             *err = NULL;
    krait_value              out;
    krait_array              array;
    const void              *bytes;
    size_t                   size;
    (void)state;
    call1("returning:returns_a_memoryview", lent(), 0, &out, &err);
    krait_get_bytes(&out, &bytes, &size, &err);
    assert_good(err);
    assert_int_equal(size, sizeof data);
    assert_false(in_lent(bytes));
    assert_memory_equal(bytes, data, size);
    krait_value_clear(&out);
    call1("returning:returns_a_frame", lent(), 0, &out, &err);
    krait_get_column(&out, "a", KRAIT_F64, &array, &err);
    assert_good(err);
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_false(in_lent(array.data));
    assert_int_equal(array.size, COUNT(data));
    assert_memory_equal(array.data, data, sizeof data);
    krait_value_clear(&out);
    for (size_t i = 0; i < COUNT(kept); i++) {
        char name[128];
        snprintf(name, sizeof name, "returning:%s", kept[i]);
        call1(name, lent(), 0, &out, &err);
        assert_int_equal(out.kind, KRAIT_KIND_NONE);
        assert_error(err, KRAIT_E_ESCAPED, "argument 1");
        krait_gc(NULL);
        assert_no_loans(name);
    }
    assert_nothing_left(&before);
}

/* A view of one argument that was lent twice, and of memory that two arguments share. */
static void overlapping_arguments(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_array  array;
    krait_arg    args[] = { krait_pos(krait_vector_f64(data, 12)), krait_pos(krait_vector_f64(data + 8, 12)) };
    (void)state;
    call("returning:second_of", args, 2, &out, &err);
    assert_good(err);
    array = array_at(&out, "b");
    assert_true(array.flags & KRAIT_ARRAY_COPIED);
    assert_true(((double *)array.data)[0] == 10);
    krait_value_clear(&out);
    assert_int_equal(krait_loans(NULL, NULL), 0);
}

/* ---- pandas ------------------------------------------------------------------------------------------------------ */

enum { COLUMNS = 4, FRAME_ROWS = 25 };

static void fill_frame(double *frame, bool with_nan) {
    for (int i = 0; i < FRAME_ROWS * COLUMNS; i++) frame[i] = (i * 37 % 101) - 40.5;
    if (!with_nan) return;
    memset(&frame[2 * COLUMNS + 1], 0xff, sizeof *frame); /* a NaN */
    memset(&frame[7 * COLUMNS], 0xff, sizeof *frame);
    memset(&frame[7 * COLUMNS + 3], 0xff, sizeof *frame);
}

/* Operation i on the lent frame gives what it gives on a copy, in memory of its own. */
static void check_operation(double *frame, int i, const char *name) {
    krait_error *err = NULL;
    krait_value  value = krait_matrix_f64(frame, FRAME_ROWS, COLUMNS), got, expected, same;
    krait_array  array;
    bool         is_same;
    krait_arg    args[] = { krait_pos(value), krait_pos(krait_i64(i)), krait_pos(krait_bool(false)) };
    call("operating:operate", args, 3, &got, &err);
    if (err) fail_msg("%s: %s", name, krait_error_message(err));
    krait_get_array(&got, KRAIT_ANY, -1, &array, &err);
    assert_good(err);
    if ((char *)array.data >= (char *)frame && (char *)array.data < (char *)(frame + FRAME_ROWS * COLUMNS))
        fail_msg("%s: the result lies in the lent memory", name);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    args[0] = krait_with(krait_pos(value), KRAIT_COPY);
    args[2] = krait_pos(krait_bool(true));
    call("operating:operate", args, 3, &expected, &err);
    krait_arg both[] = { krait_pos(krait_borrow(&got)), krait_pos(krait_borrow(&expected)) };
    call("operating:same", both, 2, &same, &err);
    krait_get_bool(&same, &is_same, &err);
    if (err || !is_same) fail_msg("%s: %s", name, err ? krait_error_message(err) : "another result");
    krait_value_clear(&got);
    krait_value_clear(&expected);
}

static void pandas_operations_on_a_lent_frame(void **state) {
    static double frame[FRAME_ROWS * COLUMNS], before[FRAME_ROWS * COLUMNS];
    krait_metrics start = at_rest();
    int           count = 0;
    (void)state;
    for (int with_nan = 0; with_nan < 2; with_nan++) {
        fill_frame(frame, with_nan);
        memcpy(before, frame, sizeof before);
        for (count = 0;; count++) {
            krait_error *err = NULL;
            krait_value  name;
            call1("operating:name_of", krait_i64(count), 0, &name, &err);
            assert_good(err);
            if (name.kind == KRAIT_KIND_NONE) break;
            check_operation(frame, count, name.as.bytes.data);
            krait_value_clear(&name);
        }
        assert_memory_equal(frame, before, sizeof frame); /* none wrote into it */
    }
    assert_true(count >= 60);
    assert_nothing_left(&start);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (failed) return failed;
    define("keeping", keeping);
    define("seeming", seeming);
    define("raising", raising);
    define("returning", returning);
    define("operating", operating);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup(function, start_clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_kept_is_named),
        TEST(what_the_result_keeps_hidden),
        TEST(the_exception_is_the_cause),
        TEST(every_kept_argument_is_listed),
        TEST(what_is_dead_is_no_escape),
        TEST(exceptions_do_not_keep_arguments),
        TEST(old_cycles_in_quick_succession),
        TEST(a_returned_view_is_copied_once),
        TEST(an_alias_stays_a_view),
        TEST(an_alias_that_must_be_copied),
        TEST(an_alias_of_another_dtype),
        TEST(a_view_inside_a_container_is_copied),
        TEST(a_container_with_copies_is_passed_on),
        TEST(an_alias_inside_a_container),
        TEST(an_alias_kept_by_a_later_call),
        TEST(only_the_lent_part_is_copied),
        TEST(other_results_that_hold_the_argument),
        TEST(overlapping_arguments),
        TEST(pandas_operations_on_a_lent_frame),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
