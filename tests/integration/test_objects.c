/* Objects: attributes, methods, items, functions of callables and methods, iterators; what they keep of what was lent;
 * many threads, a forked child, want of memory. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#ifdef KRAIT_FAULTS
#include "mem.h"
#endif

static const char module[] =
    "import collections, dataclasses, threading, weakref\n"
    "import numpy\n"
    "class Thing:\n"
    "    kind = 'thing'\n"
    "    def __init__(self, x=2.5): self.x = x\n"
    "    def __repr__(self): return f'<Thing {self.x}>'\n"
    "    def add(self, a, b=10.0, *, c=100.0): return self.x + a + b + c\n"
    "    def fails(self): raise ValueError('as told')\n"
    "    def keep(self, a): self.kept = a\n"
    "    def take(self, a): self.kept = a; return self\n"
    "    def total(self): return float(self.kept.sum())\n"
    "    def drop(self): del self.kept\n"
    "    def __call__(self, a): return self.x * a\n"
    "    def __len__(self): return 7\n"
    "    def __getitem__(self, key): return {'a': 1, 'b': [1, 2]}[key]\n"
    "    @property\n"
    "    def broken(self): return self.no_such\n"
    "    @property\n"
    "    def refusing(self): raise AttributeError('not today')\n"
    "    @property\n"
    "    def bad(self): raise ValueError('bad property')\n"
    "    @property\n"
    "    def fixed(self): return 1\n"
    "class Slots:\n"
    "    __slots__ = ('a', 'b')\n"
    "class Dynamic:\n"
    "    def __getattr__(self, name):\n"
    "        if name == 'there': return 5\n"
    "        raise AttributeError(f'{name} is not served')\n"
    "class Odd:\n"
    "    def __getitem__(self, key): return {}['elsewhere' if key == 'inner' else key]\n"
    "    def __repr__(self): raise RuntimeError('no words')\n"
    "class Huge:\n"
    "    def __len__(self): raise OverflowError('too long to tell')\n"
    "class Count:\n" /* an iterator with nothing but __next__ */
    "    n = 0\n"
    "    def __next__(self):\n"
    "        self.n += 1\n"
    "        if self.n > 3: raise StopIteration\n"
    "        return self.n\n"
    "@dataclasses.dataclass(frozen=True)\n"
    "class Frozen:\n"
    "    x: int = 1\n"
    "class Holder:\n"
    "    def __init__(self, a): self.a = a\n"
    "def make(expression): return eval(expression)\n"
    "def hold(a): return Holder(a)\n"
    "def pull(a):\n"
    "    for x in a: yield float(x)\n"
    "def identity(x): return x\n"
    "def numbers(n):\n"
    "    for i in range(n): yield float(i)\n"
    "def failing(n):\n"
    "    for i in range(n): yield i\n"
    "    raise ValueError('no more of this')\n"
    "finals = []\n"
    "def finally_(name):\n"
    "    try:\n"
    "        yield 1\n"
    "        yield 2\n"
    "    finally: finals.append(name)\n"
    "def count_finals(): return len(finals)\n"
    "def slow():\n"
    "    while True:\n"
    "        started.set()\n"
    "        go_on.wait(10)\n"
    "        yield 1\n"
    "started, go_on = threading.Event(), threading.Event()\n"
    "def await_start(): return started.wait(10)\n"
    "def release(): go_on.set()\n"
    "dead = []\n"
    "def mortal():\n"
    "    thing = Thing()\n"
    "    weakref.finalize(thing, dead.append, 1)\n"
    "    return thing\n"
    "def deaths(): return len(dead)\n"
    "def double(a): return a * 2\n";

/* scikit-learn where it is, else what has its interface and, like most models, keeps its training data. Not under
 * LeakSanitizer: on 3.11 importing it loses 128 bytes by itself. */
#ifdef KRAIT_FAULTS
#define TAKE_SKLEARN "False"
#else
#define TAKE_SKLEARN "True"
#endif
static const char models[] =
    "import importlib.util\n"
    "if " TAKE_SKLEARN " and importlib.util.find_spec('sklearn'):\n"
    "    from sklearn.linear_model import LinearRegression\n"
    "else:\n"
    "    import numpy\n"
    "    class LinearRegression:\n"
    "        def fit(self, x, y):\n"
    "            self.x, self.y = x, y\n"
    "            wide = numpy.column_stack([x, numpy.ones(len(x))])\n"
    "            solution = numpy.linalg.lstsq(wide, y, rcond=None)[0]\n"
    "            self.coef_, self.intercept_ = solution[:-1], float(solution[-1])\n"
    "            return self\n"
    "        def predict(self, x):\n"
    "            return x @ self.coef_ + self.intercept_\n";

static krait_value make(const char *expression) {
    krait_error *err = NULL;
    krait_value  out;
    call1("objects:make", krait_str(expression), 0, &out, &err);
    assert_good(err);
    return out;
}

static void assert_text(krait_value *value, const char *expected) {
    krait_error *err = NULL;
    const char  *text;
    krait_get_text(value, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
    krait_value_clear(value);
}

static void assert_f64(krait_value *value, double expected) {
    krait_error *err = NULL;
    double       x = 0;
    krait_get_f64(value, &x, &err);
    assert_good(err);
    assert_true(x == expected);
    krait_value_clear(value);
}

static int64_t int_of(const char *function) {
    krait_error *err = NULL;
    krait_value  out;
    int64_t      n = 0;
    call(function, NULL, 0, &out, &err);
    krait_get_i64(&out, &n, &err);
    assert_good(err);
    return n;
}

/* ---- attributes -------------------------------------------------------------------------------------------------- */

static void attributes_are_read_and_set(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), out;
    krait_arg     arg = krait_pos(krait_f64(4));
    (void)state;
    assert_int_equal(thing.kind, KRAIT_KIND_OBJECT);
    krait_object_get(&thing, "x", &out, &err);
    assert_f64(&out, 2.5);
    krait_object_get(&thing, "kind", &out, &err);
    assert_text(&out, "thing");
    assert_int_equal(krait_object_set(&thing, "x", &arg, &err), KRAIT_OK);
    krait_object_get(&thing, "x", &out, &err);
    assert_f64(&out, 4);
    arg = krait_kw("ignored", krait_str("new"));
    krait_object_set(&thing, "fresh", &arg, &err);
    krait_object_get(&thing, "fresh", &out, &err);
    assert_text(&out, "new");
    krait_object_get(&thing, "add", &out, &err);
    assert_good(err);
    assert_int_equal(out.kind, KRAIT_KIND_OBJECT);
    krait_value_clear(&out);
    assert_int_equal(krait_object_get(&thing, "x", NULL, &err), KRAIT_OK);
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static void refused_get(const char *object, const char *name, krait_status status, const char *part) {
    krait_error *err = NULL;
    krait_value  thing = make(object), out;
    krait_object_get(&thing, name, &out, &err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_error(err, status, part);
    krait_value_clear(&thing);
}

static void missing_attributes_are_told_from_failing_ones(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), out;
    (void)state;
    refused_get("Thing()", "y", KRAIT_E_NOT_FOUND, "'Thing' object has no attribute 'y'");
    refused_get("Thing", "y", KRAIT_E_NOT_FOUND, "type object 'Thing' has no attribute 'y'");
    refused_get("numpy", "no_such", KRAIT_E_NOT_FOUND, "no attribute 'no_such'");
    refused_get("Dynamic()", "here", KRAIT_E_NOT_FOUND, "here is not served");
    refused_get("Slots()", "a", KRAIT_E_NOT_FOUND, "a");
    refused_get("Thing()", "broken", KRAIT_E_PYTHON, "no attribute 'no_such'");
    refused_get("Thing()", "refusing", KRAIT_E_PYTHON, "not today");
    refused_get("Thing()", "bad", KRAIT_E_PYTHON, "bad property");
    refused_get("Thing()", "\xff", KRAIT_E_ENCODING, "utf-8");
    krait_object_get(&thing, "y", &out, &err);
    assert_string_equal(krait_error_python_type(krait_error_cause(err)), "AttributeError");
    krait_error_clear(&err);
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static void refused_set(const char *object, const char *name, krait_status status, const char *part) {
    krait_error *err = NULL;
    krait_value  thing = make(object);
    krait_arg    arg = krait_pos(krait_i64(1));
    krait_object_set(&thing, name, &arg, &err);
    assert_error(err, status, part);
    krait_value_clear(&thing);
}

static void attributes_that_cannot_be_set(void **state) {
    (void)state;
    refused_set("Slots()", "c", KRAIT_E_NOT_FOUND, "no attribute 'c'");
    refused_set("object()", "c", KRAIT_E_NOT_FOUND, "no attribute 'c'");
    refused_set("Thing()", "fixed", KRAIT_E_PYTHON, "fixed");
    refused_set("Frozen()", "x", KRAIT_E_PYTHON, "cannot assign to field");
}

/* ---- what is no object ------------------------------------------------------------------------------------------- */

static void refused_object(const krait_value *object, krait_status status, const char *part) {
    krait_error *err = NULL;
    krait_arg    arg = krait_pos(krait_i64(1));
    krait_value  out;
    size_t       length = 9;
    bool         is = true;
    krait_object_get(object, "x", &out, &err);
    assert_string_equal(krait_error_step(err), "object_get");
    assert_error(err, status, part);
    krait_object_set(object, "x", &arg, &err);
    assert_error(err, status, part);
    krait_object_call(object, "x", NULL, 0, NULL, &out, &err);
    assert_error(err, status, part);
    krait_object_call(object, NULL, NULL, 0, NULL, &out, &err);
    assert_error(err, status, part);
    krait_object_item(object, &arg, &out, &err);
    assert_error(err, status, part);
    krait_object_len(object, &length, &err);
    assert_int_equal(length, 0);
    assert_error(err, status, part);
    krait_object_isinstance(object, "builtins:int", &is, &err);
    assert_false(is);
    assert_error(err, status, part);
    assert_null(krait_func_of(object, &err));
    assert_string_equal(krait_error_step(err), "func_of");
    assert_error(err, status, part);
    assert_null(krait_method(object, "x", &err));
    assert_error(err, status, part);
}

static void values_without_an_object_are_refused(void **state) {
    const double data[] = { 1, 2 };
    krait_error *err = NULL;
    krait_value  values[] = { krait_none(), krait_f64(1), krait_str("text"), krait_vector_f64(data, 2) }, gone, out;
    (void)state;
    refused_object(&values[0], KRAIT_E_KIND, "value is none, expected a Python object");
    refused_object(&values[1], KRAIT_E_KIND, "value is float, expected a Python object");
    refused_object(&values[2], KRAIT_E_KIND, "value is text of 4 bytes, expected a Python object");
    refused_object(&values[3], KRAIT_E_KIND, "value is float64 array (2), expected a Python object");
    refused_object(NULL, KRAIT_E_ARGUMENT, "object is NULL");
    gone = make("Thing()");
    krait_value_clear(&gone);
    refused_object(&gone, KRAIT_E_KIND, "value is none, expected a Python object");
    krait_next(&gone, &out, &err);
    assert_error(err, KRAIT_E_KIND, "value is none, expected an iterator");
    krait_next(NULL, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "iterator is NULL");
}

static void nulls_are_refused(void **state) {
    krait_error *err = NULL;
    krait_value  thing = make("Thing()"), out;
    (void)state;
    krait_object_get(&thing, NULL, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "name is NULL");
    krait_object_set(&thing, "x", NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "value is NULL");
    krait_object_item(&thing, NULL, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "key is NULL");
    krait_object_len(&thing, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "out is NULL");
    krait_object_isinstance(&thing, "builtins:int", NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "out is NULL");
    krait_object_repr(NULL, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "object is NULL");
    assert_null(krait_method(&thing, NULL, &err));
    assert_error(err, KRAIT_E_ARGUMENT, "name is NULL");
    assert_int_equal(krait_object_get(&thing, "y", &out, NULL), KRAIT_E_NOT_FOUND);
    assert_int_equal(krait_object_call(&thing, "y", NULL, 0, NULL, &out, NULL), KRAIT_E_NOT_FOUND);
    assert_null(krait_method(&thing, "y", NULL));
    krait_value_clear(&thing);
}

/* What works on an object works on anything that came from Python. */
static void other_results_are_objects_too(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   array = make("numpy.arange(6.0).reshape(2, 3)"), list = make("[1, 2, 3]"), out;
    krait_value   text = make("'some text'"), time = make("numpy.datetime64('2024-01-02')");
    krait_arg     arg = krait_pos(krait_i64(1));
    size_t        length;
    (void)state;
    krait_object_call(&array, "sum", NULL, 0, NULL, &out, &err);
    assert_f64(&out, 15);
    krait_object_len(&array, &length, &err);
    assert_int_equal(length, 2);
    krait_object_item(&list, &arg, &out, &err);
    assert_f64(&out, 2);
    krait_object_call(&text, "upper", NULL, 0, NULL, &out, &err);
    assert_text(&out, "SOME TEXT");
    krait_object_call(&time, "__str__", NULL, 0, NULL, &out, &err);
    assert_text(&out, "2024-01-02");
    assert_good(err);
    krait_value_clear(&array);
    krait_value_clear(&list);
    krait_value_clear(&text);
    krait_value_clear(&time);
    assert_nothing_left(&before);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* Known by name from the second call on, a method is looked up as it is called; what it says, and of whom, stays. */
static void a_method_known_by_name(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), frozen = make("Frozen()"), slots = make("Slots()"), other, out;
    krait_arg     args[] = { krait_pos(krait_f64(1)), krait_pos(krait_f64(2)) };
    (void)state;
    define("known", "class Same:\n"
                    "    def add(self): return self.no_such\n"
                    "    def x(self): return 5\n"
                    "    @staticmethod\n"
                    "    def fails(): return 'not I'\n"
                    "def other(): return Same()\n");
    call("known:other", NULL, 0, &other, &err);
    krait_object_call(&other, "x", NULL, 0, NULL, &out, &err); /* now "x" is known as a method */
    assert_good(err);
    for (int i = 0; i < 3; i++) {
        krait_object_call(&thing, "add", args, 2, NULL, &out, &err);
        assert_f64(&out, 105.5);
        krait_object_call(&frozen, "add", args, 1, NULL, &out, &err);
        assert_error(err, KRAIT_E_NOT_FOUND, "no attribute 'add'");
        krait_object_call(&thing, "x", NULL, 0, NULL, &out, &err);
        assert_error(err, KRAIT_E_KIND, "objects:Thing.x is of type float, which cannot be called");
        assert_int_equal(krait_object_call(&slots, "x", NULL, 0, NULL, &out, NULL), KRAIT_E_NOT_FOUND);
        krait_object_call(&other, "add", NULL, 0, NULL, &out, &err); /* it is there; what it looks for is not */
        assert_string_equal(krait_error_python_type(err), "AttributeError");
        assert_error(err, KRAIT_E_PYTHON, "no_such");
        krait_object_call(&thing, "add", NULL, 0, NULL, &out, &err); /* too few: its own TypeError */
        assert_error(err, KRAIT_E_PYTHON, "missing 1 required positional argument");
        krait_object_call(&thing, "fails", NULL, 0, NULL, &out, &err);
        assert_error(err, KRAIT_E_PYTHON, "as told");
        krait_object_call(&other, "fails", NULL, 0, NULL, &out, &err);
        assert_good(err);
        assert_int_equal(out.kind, KRAIT_KIND_TEXT);
        krait_value_clear(&out);
    }
    krait_value_clear(&thing);
    krait_value_clear(&frozen);
    krait_value_clear(&slots);
    krait_value_clear(&other);
    assert_nothing_left(&before);
}

static void methods_are_called(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), out;
    krait_arg     args[] = { krait_pos(krait_f64(1)), krait_pos(krait_f64(2)), krait_kw("c", krait_f64(3)) };
    (void)state;
    krait_object_call(&thing, "add", args, 3, NULL, &out, &err);
    assert_f64(&out, 8.5);
    krait_object_call(&thing, "add", args, 1, NULL, &out, &err);
    assert_f64(&out, 113.5);
    krait_object_call(&thing, NULL, args, 1, NULL, &out, &err);
    assert_f64(&out, 2.5);
    assert_int_equal(krait_object_call(&thing, "add", args, 1, NULL, NULL, &err), KRAIT_OK);
    krait_object_call(&thing, "fails", NULL, 0, NULL, &out, &err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_error(err, KRAIT_E_PYTHON, "as told");
    krait_object_call(&thing, "nothing", NULL, 0, NULL, &out, &err);
    assert_error(err, KRAIT_E_NOT_FOUND, "no attribute 'nothing'");
    krait_object_call(&thing, "x", NULL, 0, NULL, &out, &err);
    assert_error(err, KRAIT_E_KIND, "objects:Thing.x is of type float, which cannot be called");
    args[1] = krait_pos(krait_str(NULL));
    krait_object_call(&thing, "add", args, 2, NULL, &out, &err);
    assert_string_equal(krait_error_step(err), "convert argument 2"); /* of the caller's, not counting the object */
    assert_error(err, KRAIT_E_ARGUMENT, "the text is NULL");
    krait_object_call(&thing, "add", NULL, 2, NULL, &out, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "args is NULL");
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static atomic_int releases;

static void count_release(void *user) {
    (void)user;
    releases++;
}

static krait_arg owned_arg(const double *data) {
    return krait_pos(krait_owned(krait_vector_f64(data, 2), count_release, NULL));
}

/* Handed over is handed over, also when nothing came of it. */
static void refused_calls_consume_what_is_owned(void **state) {
    static const double data[] = { 1, 2 };
    krait_error        *err = NULL;
    krait_value         none = krait_none(), thing = make("Thing()"), out;
    krait_arg           arg = owned_arg(data);
    (void)state;
    releases = 0;
    krait_object_set(&none, "x", &arg, &err);
    krait_object_item(&none, &arg, &out, &err); /* sticks */
    krait_error_clear(&err);
    assert_int_equal(releases, 2);
    krait_object_item(&none, &arg, &out, NULL);
    krait_object_call(&none, "x", &arg, 1, NULL, &out, NULL);
    krait_object_call(&thing, "nothing", &arg, 1, NULL, &out, NULL);
    krait_object_call(&thing, "x", &arg, 1, NULL, &out, NULL);
    krait_object_set(&thing, NULL, &arg, NULL);
    assert_int_equal(releases, 7);
    krait_object_call(&thing, "nothing", NULL, 0, NULL, NULL, &err);
    krait_object_call(&thing, "add", &arg, 1, NULL, &out, &err); /* sticks */
    assert_int_equal(releases, 8);
    assert_error(err, KRAIT_E_NOT_FOUND, "nothing");
    krait_value_clear(&thing);
}

/* ---- items, length, isinstance, repr ----------------------------------------------------------------------------- */

static void refused_item(const char *object, krait_value key, krait_status status, const char *part) {
    krait_error *err = NULL;
    krait_value  thing = make(object), out;
    krait_arg    arg = krait_pos(key);
    krait_object_item(&thing, &arg, &out, &err);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_error(err, status, part);
    krait_value_clear(&thing);
}

static void items_by_key_and_index(void **state) {
    static const bool mask[] = { true, false, true };
    krait_metrics     before = at_rest();
    krait_error      *err = NULL;
    krait_value       thing = make("Thing()"), array = make("numpy.array([1.5, 2.5, 3.5])"), out;
    krait_arg         key = krait_pos(krait_str("a")), last = krait_pos(krait_i64(-1));
    krait_arg         which = krait_pos(krait_vector_bool(mask, 3));
    krait_array       picked;
    (void)state;
    krait_object_item(&thing, &key, &out, &err);
    assert_f64(&out, 1);
    krait_object_item(&array, &last, &out, &err);
    assert_f64(&out, 3.5);
    krait_object_item(&array, &which, &out, &err);
    krait_get_array(&out, KRAIT_F64, 1, &picked, &err);
    assert_good(err);
    assert_int_equal(picked.size, 2);
    assert_true(((double *)picked.data)[1] == 3.5);
    krait_value_clear(&out);
    refused_item("Thing()", krait_str("z"), KRAIT_E_NOT_FOUND, "no item 'z' in objects.Thing");
    refused_item("{'a': 1}", krait_str("z"), KRAIT_E_NOT_FOUND, "no item 'z' in dict");
    refused_item("[1, 2]", krait_i64(2), KRAIT_E_NOT_FOUND, "no item 2 in list: list index out of range");
    refused_item("numpy.arange(3)", krait_i64(7), KRAIT_E_NOT_FOUND, "no item 7 in numpy.ndarray: index 7");
    refused_item("Odd()", krait_str("z"), KRAIT_E_NOT_FOUND, "no item 'z' in objects.Odd");
    refused_item("Odd()", krait_str("inner"), KRAIT_E_PYTHON, "elsewhere"); /* another key was missing */
    refused_item("object()", krait_i64(0), KRAIT_E_PYTHON, "not subscriptable");
    krait_value_clear(&thing);
    krait_value_clear(&array);
    assert_nothing_left(&before);
}

static void lengths(void **state) {
    krait_error *err = NULL;
    krait_value  thing = make("Thing()"), plain = make("object()"), huge = make("Huge()");
    size_t       length = 0;
    (void)state;
    krait_object_len(&thing, &length, &err);
    assert_good(err);
    assert_int_equal(length, 7);
    krait_object_len(&plain, &length, &err);
    assert_int_equal(length, 0);
    assert_error(err, KRAIT_E_KIND, "value is of type object, which has no length");
    krait_object_len(&huge, &length, &err);
    assert_error(err, KRAIT_E_PYTHON, "too long to tell");
    krait_value_clear(&thing);
    krait_value_clear(&plain);
    krait_value_clear(&huge);
}

static void classes_by_name(void **state) {
    static const struct {
        const char  *type;
        bool         is;
        krait_status status;
        const char  *part;
    } rows[] = {
        { "objects:Thing", true, KRAIT_OK, NULL },
        { "builtins:object", true, KRAIT_OK, NULL },
        { "collections.abc:Sized", true, KRAIT_OK, NULL },
        { "builtins:int", false, KRAIT_OK, NULL },
        { "objects:Thing.add", false, KRAIT_E_KIND, "is no class" },
        { "objects:finals", false, KRAIT_E_KIND, "objects:finals is no class" },
        { "objects:Nothing", false, KRAIT_E_NOT_FOUND, "Nothing" },
        { "no_such_module:Thing", false, KRAIT_E_IMPORT, "no_such_module" },
        { "Thing", false, KRAIT_E_ARGUMENT, "class name is \"Thing\", expected \"package.module:Class\"" },
        { ":x", false, KRAIT_E_ARGUMENT, "class name is" },
        { NULL, false, KRAIT_E_ARGUMENT, "type is NULL" },
    };
    krait_metrics before = at_rest();
    krait_value   thing = make("Thing()");
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = NULL;
        bool         is = !rows[i].is;
        krait_object_isinstance(&thing, rows[i].type, &is, &err);
        assert_true(is == rows[i].is);
        if (rows[i].part) assert_error(err, rows[i].status, rows[i].part);
        assert_good(err);
        assert_int_equal(krait_object_isinstance(&thing, rows[i].type, &is, NULL), rows[i].status);
    }
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static void repr_of_anything(void **state) {
    static const double data[] = { 1, 2 };
    krait_metrics       before = at_rest();
    krait_error        *err = NULL;
    krait_value         values[] = { krait_none(), krait_f64(0.1), krait_str("a'b"), krait_vector_f64(data, 2) }, out;
    static const char  *expected[] = { "None", "0.1", "\"a'b\"", "array([1., 2.])" };
    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        krait_object_repr(&values[i], &out, &err);
        assert_text(&out, expected[i]);
    }
    krait_value thing = make("Thing()"), odd = make("Odd()");
    krait_object_repr(&thing, &out, &err);
    assert_text(&out, "<Thing 2.5>");
    krait_object_repr(&odd, &out, &err);
    assert_error(err, KRAIT_E_PYTHON, "no words");
    krait_value_clear(&thing);
    krait_value_clear(&odd);
    assert_nothing_left(&before);
}

/* ---- functions of objects ---------------------------------------------------------------------------------------- */

static void check_func(krait_func *func, const char *name, double x, double expected) {
    krait_error *err = NULL;
    krait_arg    args[] = { krait_pos(krait_f64(x)) };
    krait_value  out;
    assert_non_null(func);
    assert_string_equal(krait_func_name(func), name);
    krait_func_check(func, NULL, &err);
    krait_call(func, args, 1, NULL, &out, &err);
    assert_good(err);
    assert_f64(&out, expected);
    krait_acquire(&err);
    krait_call(func, args, 1, NULL, &out, &err); /* the short way */
    krait_release();
    assert_f64(&out, expected);
    krait_func_unref(krait_func_ref(func));
    krait_func_unref(func);
}

static void callables_become_functions(void **state) {
    static const struct {
        const char *expression, *name;
        double      x, expected;
    } rows[] = {
        { "double", "objects:double", 3, 6 },
        { "Thing()", "objects:Thing.__call__", 2, 5 },
        { "Thing().__call__", "objects:Thing.__call__", 2, 5 },
        { "float", "builtins:float", 2, 2 },
        { "abs", "builtins:abs", -2, 2 },
        { "lambda x: x + 1", "objects:<lambda>", 2, 3 },
        { "(1.5).__add__", "builtins:float.__add__", 2, 3.5 },
        { "__import__('functools').partial(Thing().add, b=0.0)", "functools:partial.__call__", 2, 104.5 },
        { "type('T', (), {'__call__': lambda self, x: x, '__qualname__': chr(0xd800)})()", "a Python callable", 2, 2 },
    };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_value callable = make(rows[i].expression);
        krait_func *func = krait_func_of(&callable, &err);
        assert_good(err);
        krait_value_clear(&callable);
        check_func(func, rows[i].name, rows[i].x, rows[i].expected);
    }
    krait_value thing = make("object()");
    assert_null(krait_func_of(&thing, &err));
    assert_error(err, KRAIT_E_KIND, "value is of type object, which cannot be called");
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static void methods_become_functions(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), out;
    krait_arg     args[] = { krait_pos(krait_f64(1)), krait_kw("c", krait_f64(0)) };
    krait_func   *add = krait_method(&thing, "add", &err);
    (void)state;
    assert_good(err);
    krait_call(add, args, 2, NULL, &out, &err);
    assert_f64(&out, 13.5);
    krait_call(add, args, 2, NULL, &out, &err); /* its keywords are remembered */
    assert_f64(&out, 13.5);
    check_func(add, "objects:Thing.add", 1, 113.5);
    check_func(krait_method(&thing, "__call__", &err), "objects:Thing.__call__", 2, 5);
    assert_null(krait_method(&thing, "nothing", &err));
    assert_error(err, KRAIT_E_NOT_FOUND, "no attribute 'nothing'");
    assert_null(krait_method(&thing, "refusing", &err));
    assert_error(err, KRAIT_E_PYTHON, "not today");
    assert_null(krait_method(&thing, "kind", &err));
    assert_error(err, KRAIT_E_KIND, "objects:Thing.kind is of type str, which cannot be called");
    assert_null(krait_method(&thing, "\xff", &err));
    assert_error(err, KRAIT_E_ENCODING, "utf-8");
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

static void a_function_keeps_its_object(void **state) {
    krait_error *err = NULL;
    int64_t      before = int_of("objects:deaths");
    krait_value  thing, out;
    krait_arg    args[] = { krait_pos(krait_f64(1)) };
    krait_func  *add;
    (void)state;
    call("objects:mortal", NULL, 0, &thing, &err);
    add = krait_method(&thing, "add", &err);
    assert_good(err);
    krait_value_clear(&thing);
    krait_gc(&err);
    at_rest();
    assert_int_equal(int_of("objects:deaths"), before);
    krait_call(add, args, 1, NULL, &out, &err);
    assert_good(err);
    assert_f64(&out, 113.5);
    krait_func_unref(add);
    for (int ms = 0; ms < PATIENCE_MS && int_of("objects:deaths") == before; ms += 5) wait_ms(5);
    assert_int_equal(int_of("objects:deaths"), before + 1);
}

typedef struct worker {
    pthread_t    thread;
    krait_func  *func;
    krait_error *err;
    bool         right;
} worker;

enum { THREADS = 8, CALLS_EACH = 1000 };

static void *call_many(void *user) {
    worker *self = user;
    self->right = true;
    for (int i = 0; i < CALLS_EACH && !self->err; i++) {
        krait_arg   args[] = { krait_pos(krait_f64(i)), krait_kw("c", krait_f64(0)) };
        krait_value out;
        double      x = 0;
        krait_call(self->func, args, 2, NULL, &out, &self->err);
        krait_get_f64(&out, &x, &self->err);
        self->right &= x == i + 12.5;
        krait_value_clear(&out);
    }
    return NULL;
}

static void run_all(worker *workers, void *(*run)(void *user)) {
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_good(workers[i].err);
        assert_true(workers[i].right);
    }
}

static void a_method_from_many_threads(void **state) {
    worker       workers[THREADS] = { 0 };
    krait_error *err = NULL;
    krait_value  thing = make("Thing()");
    krait_func  *add = krait_method(&thing, "add", &err);
    (void)state;
    assert_good(err);
    for (int i = 0; i < THREADS; i++) workers[i].func = add;
    run_all(workers, call_many);
    krait_func_unref(add);
    krait_value_clear(&thing);
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static double lent[3] = { 1, 2, 3 };

static void objects_that_hold_a_lent_array_are_escapes(void **state) {
    static const char *const functions[] = { "objects:hold", "objects:pull" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(functions); i++) {
        krait_error *err = NULL;
        krait_value  out;
        call1(functions[i], krait_vector_f64(lent, 3), 0, &out, &err);
        assert_int_equal(out.kind, KRAIT_KIND_NONE);
        assert_error(err, KRAIT_E_ESCAPED, i ? "returned iterator" : "returned object");
        for (int ms = 0; ms < PATIENCE_MS && counters().loans; ms += 5) wait_ms(5);
        assert_int_equal(counters().loans, 0); /* with the result went what it kept */
        call1(functions[i], krait_vector_f64(lent, 3), KRAIT_COPY, &out, &err);
        assert_good(err);
        assert_int_equal(out.kind, i ? KRAIT_KIND_ITERATOR : KRAIT_KIND_OBJECT);
        krait_value_clear(&out);
        releases = 0;
        krait_arg owned = krait_pos(krait_owned(krait_vector_f64(lent, 3), count_release, NULL));
        call(functions[i], &owned, 1, &out, &err);
        assert_good(err);
        assert_int_equal(releases, 0);
        krait_value_clear(&out);
        for (int ms = 0; ms < PATIENCE_MS && !releases; ms += 5) wait_ms(5);
        assert_int_equal(releases, 1);
    }
    assert_nothing_left(&before);
}

static void attributes_are_not_lent(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   thing = make("Thing()"), out;
    krait_arg     arg = krait_pos(krait_vector_f64(lent, 3));
    (void)state;
    krait_object_set(&thing, "kept", &arg, &err);
    assert_non_null(strstr(krait_error_message(err), "krait_object_set"));
    assert_error(err, KRAIT_E_ESCAPED, "Python kept argument 3 (float64 array (3))");
    assert_int_equal(counters().loans, 1);
    krait_object_call(&thing, "drop", NULL, 0, NULL, NULL, &err);
    assert_good(err);
    assert_int_equal(counters().loans, 0);
    krait_object_call(&thing, "keep", &arg, 1, NULL, NULL, &err);
    assert_error(err, KRAIT_E_ESCAPED, "Python kept argument 1 (float64 array (3))");
    krait_object_call(&thing, "drop", NULL, 0, NULL, NULL, &err);
    arg.flags = KRAIT_COPY;
    krait_object_set(&thing, "kept", &arg, &err);
    krait_object_call(&thing, "total", NULL, 0, NULL, &out, &err);
    assert_good(err);
    assert_f64(&out, 6);
    krait_value_clear(&thing);
    assert_nothing_left(&before);
}

/* ---- a model ----------------------------------------------------------------------------------------------------- */

enum { ROWS = 50, COLUMNS = 2 };

static void *predict_many(void *user) {
    worker *self = user;
    self->right = true;
    for (int i = 0; i < CALLS_EACH && !self->err; i++) {
        double      x[2][COLUMNS] = { { i, 2 }, { 1, i } }, first, second;
        krait_arg   args[] = { krait_pos(krait_matrix_f64(x[0], 2, COLUMNS)) };
        krait_value out;
        krait_array y;
        krait_call(self->func, args, 1, NULL, &out, &self->err);
        if (!krait_get_array(&out, KRAIT_F64, 1, &y, &self->err)) {
            first = ((double *)y.data)[0] - (3.0 * i - 4 + 5);
            second = ((double *)y.data)[1] - (3 - 2.0 * i + 5);
            self->right &= y.size == 2 && first < 1e-6 && first > -1e-6 && second < 1e-6 && second > -1e-6;
        }
        krait_value_clear(&out);
    }
    return NULL;
}

static void fit(const krait_value *model, int how, krait_error **err) {
    static double x[ROWS][COLUMNS], y[ROWS];
    krait_value   fitted;
    krait_arg     args[2] = { krait_pos(krait_matrix_f64(x[0], ROWS, COLUMNS)), krait_pos(krait_vector_f64(y, ROWS)) };
    for (int i = 0; i < ROWS; i++) {
        x[i][0] = i % 7;
        x[i][1] = i % 11;
        y[i] = 3 * x[i][0] - 2 * x[i][1] + 5;
    }
    for (int i = 0; i < 2; i++) {
        if (how) args[i].value = krait_owned(args[i].value, count_release, NULL);
        else args[i].flags = KRAIT_COPY;
    }
    krait_object_call(model, "fit", args, 2, NULL, &fitted, err);
    krait_value_clear(&fitted);
}

/* Fitted once, with copies or with memory handed over, asked from many threads. */
static void a_model_is_fitted_once(void **state) {
    krait_metrics before;
    krait_error  *err = NULL;
    (void)state;
    define("models", models);
    before = at_rest();
    for (int how = 0; how < 2; how++) {
        worker      workers[THREADS] = { 0 };
        krait_value model, coefficients;
        krait_array weights;
        krait_func *predict;
        releases = 0;
        call("models:LinearRegression", NULL, 0, &model, &err);
        fit(&model, how, &err);
        krait_object_get(&model, "coef_", &coefficients, &err);
        krait_get_array(&coefficients, KRAIT_F64, 1, &weights, &err);
        predict = krait_method(&model, "predict", &err);
        assert_good(err);
        assert_non_null(strstr(krait_func_name(predict), ":LinearRegression.predict"));
        assert_true(((double *)weights.data)[0] > 2.999 && ((double *)weights.data)[0] < 3.001);
        for (int i = 0; i < THREADS; i++) workers[i].func = predict;
        run_all(workers, predict_many);
        krait_value_clear(&coefficients);
        krait_value_clear(&model);
        krait_func_unref(predict);
        for (int ms = 0; ms < PATIENCE_MS && how && releases < 2; ms += 20) {
            wait_ms(20);
            krait_gc(NULL);
        }
        assert_int_equal(releases, how ? 2 : 0);
    }
    assert_nothing_left(&before);
}

/* ---- iterators --------------------------------------------------------------------------------------------------- */

static void iterators_are_pulled_to_their_end(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   numbers, item;
    double        x;
    (void)state;
    call1("objects:numbers", krait_i64(1000), 0, &numbers, &err);
    assert_good(err);
    assert_int_equal(numbers.kind, KRAIT_KIND_ITERATOR);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(krait_next(&numbers, &item, &err), KRAIT_OK);
        krait_get_f64(&item, &x, &err);
        assert_true(x == i);
        krait_value_clear(&item);
    }
    for (int i = 0; i < 3; i++) {
        item = krait_f64(1);
        assert_int_equal(krait_next(&numbers, &item, &err), KRAIT_DONE);
        assert_null(err);
        assert_int_equal(item.kind, KRAIT_KIND_NONE);
    }
    krait_value_clear(&numbers);
    assert_nothing_left(&before);
}

static void what_iterates(void **state) {
    static const struct {
        const char *expression;
        int         kind;
        int         count;
    } rows[] = {
        { "iter([1, 2])", KRAIT_KIND_ITERATOR, 2 },
        { "map(str, 'abc')", KRAIT_KIND_ITERATOR, 3 },
        { "zip('ab', [1, 2])", KRAIT_KIND_ITERATOR, 2 },
        { "(x for x in ())", KRAIT_KIND_ITERATOR, 0 },
        { "iter([[1, 2], {'a': iter('xy')}, None, numpy.arange(3), Thing()])", KRAIT_KIND_ITERATOR, 5 },
        { "Count()", KRAIT_KIND_OBJECT, 3 },
    };
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   value, item;
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int count = 0;
        value = make(rows[i].expression);
        assert_int_equal(value.kind, rows[i].kind);
        while (krait_next(&value, &item, &err) == KRAIT_OK) {
            count++;
            krait_value_clear(&item);
        }
        assert_good(err);
        assert_int_equal(count, rows[i].count);
        krait_value_clear(&value);
    }
    value = make("Thing()");
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_E_KIND);
    assert_error(err, KRAIT_E_KIND, "value is of type objects.Thing, expected an iterator");
    krait_value_clear(&value);
    value = make("[1, 2]");
    krait_next(&value, &item, &err);
    assert_error(err, KRAIT_E_KIND, "value is list of 2 items, expected an iterator");
    krait_value_clear(&value);
    value = krait_f64(1);
    krait_next(&value, &item, &err);
    assert_error(err, KRAIT_E_KIND, "value is float, expected an iterator");
    assert_nothing_left(&before);
}

static void iterators_that_fail(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   value, item;
    (void)state;
    call1("objects:failing", krait_i64(1), 0, &value, &err);
    assert_int_equal(krait_next(&value, NULL, &err), KRAIT_OK);
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_E_PYTHON);
    assert_int_equal(item.kind, KRAIT_KIND_NONE);
    assert_string_equal(krait_error_step(err), "next");
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_E_PYTHON); /* sticks */
    assert_error(err, KRAIT_E_PYTHON, "no more of this");
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_DONE); /* a generator that raised is at its end */
    krait_value_clear(&value);
    value = make("iter([2**70, 1])");
    krait_next(&value, &item, &err);
    assert_error(err, KRAIT_E_RANGE, "an int beyond 64 bits");
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_OK); /* and goes on */
    krait_value_clear(&item);
    krait_value_clear(&value);
    assert_nothing_left(&before);
}

static void await_finals(int64_t count) {
    for (int ms = 0; ms < PATIENCE_MS && int_of("objects:count_finals") < count; ms += 5) wait_ms(5);
    assert_int_equal(int_of("objects:count_finals"), count);
}

/* Cleared early, a generator runs its finally; one that was never started has none to run. */
static void clearing_closes(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    krait_value   value, item;
    int64_t       finals = int_of("objects:count_finals");
    (void)state;
    call1("objects:finally_", krait_str("early"), 0, &value, &err);
    assert_int_equal(krait_next(&value, &item, &err), KRAIT_OK);
    assert_int_equal(int_of("objects:count_finals"), finals);
    krait_value_clear(&value);
    await_finals(finals + 1);
    call1("objects:finally_", krait_str("never"), 0, &value, &err);
    krait_value_clear(&value);
    at_rest();
    assert_int_equal(int_of("objects:count_finals"), finals + 1);
    krait_acquire(&err); /* with the GIL held nobody else can: a later call does */
    call1("objects:finally_", krait_str("held"), 0, &value, &err);
    krait_next(&value, &item, &err);
    krait_value_clear(&value);
    assert_int_equal(int_of("objects:count_finals"), finals + 2);
    krait_release();
    assert_good(err);
    assert_nothing_left(&before);
}

/* As items of lists and maps they are what they are, and go with the whole. */
static void iterators_and_objects_within_lists_and_maps(void **state) {
    krait_metrics      before = at_rest();
    krait_error       *err = NULL;
    int64_t            finals = int_of("objects:count_finals");
    krait_value        list = make("[Thing(7.0), {'it': finally_('nested'), 'f': double}]"), item;
    const krait_value *thing, *map, *iterator, *function;
    krait_func        *twice;
    (void)state;
    krait_list_at(&list, 0, &thing, &err);
    krait_list_at(&list, 1, &map, &err);
    krait_map_get(map, "it", &iterator, &err);
    krait_map_get(map, "f", &function, &err);
    assert_good(err);
    krait_object_get(thing, "x", &item, &err);
    assert_f64(&item, 7);
    assert_int_equal(krait_next(iterator, &item, &err), KRAIT_OK);
    assert_f64(&item, 1);
    twice = krait_func_of(function, &err);
    assert_good(err);
    krait_value_clear(&list);
    await_finals(finals + 1);
    check_func(twice, "objects:double", 4, 8);
    assert_nothing_left(&before);
}

typedef struct puller {
    const krait_value *iterator;
    krait_status       status;
} puller;

static void *pull_one(void *user) {
    puller     *self = user;
    krait_value item;
    self->status = krait_next(self->iterator, &item, NULL);
    krait_value_clear(&item);
    return NULL;
}

static void two_threads_on_one_generator(void **state) {
    krait_error *err = NULL;
    krait_value  slow = make("slow()"), item;
    puller       other = { &slow, KRAIT_E_CLOSED };
    pthread_t    thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, pull_one, &other), 0);
    assert_true(call("objects:await_start", NULL, 0, NULL, &err) == KRAIT_OK);
    krait_next(&slow, &item, &err);
    call("objects:release", NULL, 0, NULL, NULL);
    pthread_join(thread, NULL);
    assert_error(err, KRAIT_E_PYTHON, "generator already executing");
    assert_int_equal(other.status, KRAIT_OK);
    assert_int_equal(krait_next(&slow, &item, &err), KRAIT_OK); /* none the worse */
    krait_value_clear(&item);
    krait_value_clear(&slow);
}

/* ---- elsewhere --------------------------------------------------------------------------------------------------- */

/* The child counts what is right. */
static int right_in_child(const krait_value *thing, const krait_value *iterator, krait_func *add) {
    krait_arg   arg = krait_pos(krait_f64(1));
    krait_value out;
    size_t      length;
    bool        is;
    int         right = 0;
    right += krait_object_get(thing, "x", &out, NULL) == KRAIT_E_FORKED;
    right += krait_object_set(thing, "x", &arg, NULL) == KRAIT_E_FORKED;
    right += krait_object_call(thing, "add", &arg, 1, NULL, &out, NULL) == KRAIT_E_FORKED;
    right += krait_object_item(thing, &arg, &out, NULL) == KRAIT_E_FORKED;
    right += krait_object_len(thing, &length, NULL) == KRAIT_E_FORKED;
    right += krait_object_isinstance(thing, "builtins:int", &is, NULL) == KRAIT_E_FORKED;
    right += krait_object_repr(thing, &out, NULL) == KRAIT_E_FORKED;
    right += krait_next(iterator, &out, NULL) == KRAIT_E_FORKED;
    right += krait_method(thing, "add", NULL) == NULL;
    right += krait_call(add, &arg, 1, NULL, &out, NULL) == KRAIT_E_FORKED;
    return right;
}

static void objects_do_not_live_in_a_forked_child(void **state) {
    krait_error *err = NULL;
    krait_value  thing = make("Thing()"), iterator = make("iter([1])"), item;
    krait_func  *add = krait_method(&thing, "add", &err);
    int          status = 0;
    pid_t        child = fork();
    (void)state;
    if (child == 0) {
        int right = right_in_child(&thing, &iterator, add);
        krait_value_clear(&thing);
        krait_value_clear(&iterator);
        _exit(right);
    }
    assert_true(child > 0);
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 10);
    assert_int_equal(krait_next(&iterator, &item, &err), KRAIT_OK); /* here they do */
    krait_value_clear(&item);
    krait_value_clear(&iterator);
    krait_value_clear(&thing);
    krait_func_unref(add);
}

/* ---- want of memory ---------------------------------------------------------------------------------------------- */

#ifdef KRAIT_FAULTS
static krait_status all_of_it(krait_error **err) {
    krait_value  thing = krait_none(), out, iterator, item;
    krait_arg    arg = krait_pos(krait_str("b"));
    krait_func  *keys;
    bool         is;
    krait_status end;
    call1("objects:make", krait_str("Thing()"), 0, &thing, err);
    krait_object_get(&thing, "add", &out, err);
    krait_func_unref(krait_func_of(&out, err));
    krait_value_clear(&out);
    krait_object_item(&thing, &arg, &out, err);
    krait_value_clear(&out);
    krait_object_set(&thing, "x", &arg, err);
    krait_object_isinstance(&thing, "objects:Thing", &is, err);
    keys = krait_method(&thing, "__dir__", err);
    krait_call(keys, NULL, 0, NULL, &out, err);
    krait_func_unref(keys);
    krait_value_clear(&out);
    call1("objects:make", krait_str("iter(['a', [1, 2]])"), 0, &iterator, err);
    while (!(end = krait_next(&iterator, &item, err))) krait_value_clear(&item);
    krait_value_clear(&iterator);
    krait_value_clear(&thing);
    return end == KRAIT_DONE ? KRAIT_OK : end;
}

static void every_allocation_fails_once(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = NULL;
    bool          reached = true;
    uint64_t      n;
    (void)state;
    assert_int_equal(all_of_it(&err), KRAIT_OK);
    for (n = 1; reached; n++) {
        krait_status status;
        krait__mem_fail_at(n);
        status = all_of_it(&err);
        reached = krait__mem_count() >= n;
        krait__mem_fail_at(0);
        if (!status != !err || (status && status != KRAIT_E_NOMEM))
            fail_msg("allocation %" PRIu64 ": %s, %s", n, krait_status_name(status), krait_error_message(err));
        krait_error_clear(&err);
    }
    assert_true(n > 10);
    assert_nothing_left(&before);
}
#endif

static int set_up(void **state) {
    int failed = begin(state);
    if (!failed) define("objects", module);
    return failed;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_are_read_and_set),
        cmocka_unit_test(missing_attributes_are_told_from_failing_ones),
        cmocka_unit_test(attributes_that_cannot_be_set),
        cmocka_unit_test(values_without_an_object_are_refused),
        cmocka_unit_test(nulls_are_refused),
        cmocka_unit_test(other_results_are_objects_too),
        cmocka_unit_test(methods_are_called),
        cmocka_unit_test(a_method_known_by_name),
        cmocka_unit_test(refused_calls_consume_what_is_owned),
        cmocka_unit_test(items_by_key_and_index),
        cmocka_unit_test(lengths),
        cmocka_unit_test(classes_by_name),
        cmocka_unit_test(repr_of_anything),
        cmocka_unit_test(callables_become_functions),
        cmocka_unit_test(methods_become_functions),
        cmocka_unit_test(a_function_keeps_its_object),
        cmocka_unit_test(a_method_from_many_threads),
        cmocka_unit_test(objects_that_hold_a_lent_array_are_escapes),
        cmocka_unit_test(attributes_are_not_lent),
        cmocka_unit_test(a_model_is_fitted_once),
        cmocka_unit_test(iterators_are_pulled_to_their_end),
        cmocka_unit_test(what_iterates),
        cmocka_unit_test(iterators_that_fail),
        cmocka_unit_test(clearing_closes),
        cmocka_unit_test(iterators_and_objects_within_lists_and_maps),
        cmocka_unit_test(two_threads_on_one_generator),
        cmocka_unit_test(objects_do_not_live_in_a_forked_child),
#ifdef KRAIT_FAULTS
        cmocka_unit_test(every_allocation_fails_once),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
