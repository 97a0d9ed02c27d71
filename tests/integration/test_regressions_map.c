/* Regressions of the type map: defects that a hostile review of tables, objects and host functions found. What each
 * test proves stands above it. What ended in a crash runs in a process of its own: this program again, with the
 * scenario's name. */
#include "check.h"

#include <sys/wait.h>

static char self[4096];

/* A table of `rows` rows (2 at most), lent from static memory: numbers, text, a category that has values of its own. */
static krait_table *make_table(size_t rows) {
    static double        numbers[] = { 1.5, 2.5 };
    static int8_t        codes[] = { 0, 2 };
    static const int64_t offsets[] = { 0, 1, 2, 3 };
    krait_error         *err = NULL;
    krait_table         *table = krait_table_new(&err);
    krait_column         values = KRAIT_COLUMN_INIT, column = KRAIT_COLUMN_INIT;
    krait_table_add(table, "x", krait_vector_f64(numbers, rows), NULL, &err);
    values.kind = column.kind = KRAIT_COLUMN_TEXT;
    values.data = column.data = "abc";
    values.offsets = column.offsets = offsets;
    values.offset_bytes = column.offset_bytes = 8;
    values.data_bytes = values.rows = 3;
    column.data_bytes = column.rows = (int64_t)rows;
    column.name = "t";
    krait_table_add_column(table, &column, &err);
    column = (krait_column)KRAIT_COLUMN_INIT;
    column.name = "c";
    column.kind = KRAIT_COLUMN_CATEGORY;
    column.dtype = krait_i8_type();
    column.data = codes;
    column.stride = 1;
    column.rows = (int64_t)rows;
    column.dictionary = &values;
    krait_table_add_column(table, &column, &err);
    assert_good(err);
    return table;
}

static const char functions[] =
    "import gc\n"
    "import numpy as np, pandas as pd\n"
    "import krait\n"
    "try:\n"
    "    import pyarrow as pa\n"
    "except ImportError:\n"
    "    pa = None\n"
    "kept = []\n"
    "def same(d): return d\n"
    "def column(d): return d['x']\n"
    "def values(d): return d['x'].to_numpy()\n"
    "def labels(d): return d.set_index('x')\n"
    "def text(d): return d[['t']]\n"
    "def nested(d): return {'all': [d, d['x']]}\n"
    "def arrow(d): return pa.Table.from_pandas(d) if pa else d\n"
    "def arrow_array(d): return pa.array(d['x'].to_numpy()) if pa else d['x']\n"
    "def dummies(d): return pd.get_dummies(d['c'])\n"
    "def dtypes(d): return d.dtypes\n"
    "def between(d):\n"
    "    x = d['x'].to_numpy()\n"
    "    return pd.DataFrame({'y': [1.0] * len(d)}, index=pd.IntervalIndex.from_arrays(x, x))\n"
    "def in_a_list(d): return [dummies(d), 1]\n"
    "def keep(d):\n"
    "    kept.append(d)\n"
    "    return dummies(d)\n"
    "def forget(): kept.clear()\n"
    "def cycle(d):\n"
    "    loop = [d]\n"
    "    loop.append(loop)\n"
    "    made = pd.DataFrame({'y': [1.0]})\n"
    "    made.attrs['from'] = 'cycle'\n"
    "    return made\n"
    "def origin(d): return d.attrs.get('from', 'nowhere')\n"
    "def reader():\n"
    "    frame = pd.DataFrame({'y': [1.0, 2.0]})\n"
    "    return pa.Table.from_pandas(frame).to_reader() if pa else frame\n"
    "def rows(d): return len(d)\n"
    "class Short(pd.DataFrame):\n"
    "    def _iter_column_arrays(self): return iter([np.array(['a'], object)])\n"
    "def short(): return Short({'x': np.arange(1000)})\n"
    "class Codes(pd.Categorical):\n"
    "    codes = property(lambda self: np.array([0.0, 1.0]))\n"
    "def codes(): return Codes(['a', 'b'])\n"
    "def wild():\n"
    "    if pa is None: return pd.Categorical(['x', 'y', 'x', 'z'])\n"
    "    one = lambda code, values: pa.DictionaryArray.from_arrays(pa.array([0, code], pa.int8()), values, "
    "safe=False)\n"
    "    return pa.chunked_array([one(100, ['x', 'y']), one(-1, ['x', 'z'])])\n"
    "class Refusal(krait.Error):\n"
    "    def __init__(self, book): self.book = book\n"
    "def refuse(): raise Refusal('no such book')\n";

static int begin_with_functions(void **state) {
    if (begin(state)) return -1;
    define("regress", functions);
    return 0;
}

/* The call succeeds, and nothing that it was lent is kept. */
static void returns(const char *name, size_t rows) {
    krait_table *table = make_table(rows);
    krait_error *err = NULL;
    krait_value  out;
    call1(name, krait_table_value(table), 0, &out, &err);
    if (err) print_message("%s, %zu rows\n", name, rows);
    assert_good(err);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_value_clear(&out);
    krait_table_free(table);
}

/* ---- loans ------------------------------------------------------------------------------------------------------- */

/* A table without rows, but with the values of a category, lends memory. Views of its empty columns were not seen to be
 * lent: whatever function returned one was told that Python kept the table. */
static void tables_without_rows_are_returned(void **state) {
    static const char *const names[] = { "regress:same",   "regress:column",      "regress:values",
                                         "regress:labels", "regress:text",        "regress:nested",
                                         "regress:arrow",  "regress:arrow_array", "regress:dummies" };
    (void)state;
    for (size_t rows = 0; rows <= 2; rows++)
        for (size_t i = 0; i < COUNT(names); i++) returns(names[i], rows);
}

/* A frame keeps more than its columns: labels, dtypes. That these kept lent memory was called an escape, although it
 * was only kept for passing the frame on as itself. */
static void labels_over_lent_memory_are_no_escape(void **state) {
    static const char *const names[] = { "regress:dummies", "regress:dtypes", "regress:between", "regress:in_a_list" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) returns(names[i], 2);
}

/* Letting go of the result's frame does not hide what Python really kept. */
static void what_is_kept_besides_is_an_escape(void **state) {
    krait_table *table = make_table(2);
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("regress:keep", krait_table_value(table), 0, &out, &err);
    assert_error(err, KRAIT_E_ESCAPED, "regress:keep");
    assert_int_equal(krait_loans(NULL, NULL), 1);
    call("regress:forget", NULL, 0, NULL, &err);
    assert_good(err);
    krait_gc(NULL);
    assert_int_equal(krait_loans(NULL, NULL), 0);
    krait_table_free(table);
}

static void assert_says(const char *name, const krait_value *value, const char *expected) {
    krait_error *err = NULL;
    krait_value  out;
    const char  *text = NULL;
    call1(name, krait_borrow(value), 0, &out, &err);
    krait_get_text(&out, &text, NULL, &err);
    assert_good(err);
    assert_string_equal(text, expected);
    krait_value_clear(&out);
}

/* Where garbage keeps the lent memory, the result stays the object it is. */
static void cycles_do_not_cost_the_result_its_object(void **state) {
    krait_table *table = make_table(2);
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call1("regress:cycle", krait_table_value(table), 0, &out, &err);
    assert_good(err);
    assert_says("regress:origin", &out, "cycle");
    krait_value_clear(&out);
    krait_table_free(table);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* A reader was passed on as itself, though reading it had left nothing in it. */
static void readers_are_passed_on_with_their_rows(void **state) {
    krait_error *err = NULL;
    krait_value  out, count;
    int64_t      rows = 0;
    (void)state;
    call("regress:reader", NULL, 0, &out, &err);
    call1("regress:rows", krait_borrow(&out), 0, &count, &err);
    krait_get_i64(&count, &rows, &err);
    assert_good(err);
    assert_int_equal(rows, 2);
    krait_value_clear(&out);
}

/* Objects of another number of rows than their frame were taken for a column, and read beyond their end. */
static void objects_of_another_length_are_refused(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_column column;
    (void)state;
    call("regress:short", NULL, 0, &out, &err);
    assert_good(err);
    krait_table_column(out.as.table, 0, &column, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "1000 rows");
    krait_value_clear(&out);
}

/* Codes that were doubles came as codes. */
static void codes_that_are_no_integers_are_refused(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call("regress:codes", NULL, 0, &out, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "no signed integers");
    krait_value_clear(&out);
}

/* Codes that pyarrow was told not to check, of batches with different dictionaries, were looked up beyond the end. */
static void codes_that_nobody_checked_are_not_followed(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    krait_column column;
    (void)state;
    call("regress:wild", NULL, 0, &out, &err);
    assert_good(err);
    krait_table_column(out.as.table, 0, &column, &err);
    assert_good(err);
    assert_int_equal(column.rows, 4);
    for (int64_t row = 0; row < column.rows; row++) {
        int8_t code = ((const int8_t *)column.data)[row];
        assert_true(code >= 0 && code < column.dictionary->rows);
    }
    krait_value_clear(&out);
}

/* Of an exception whose class did not call krait.Error's __init__ nothing was told but its name. */
static void errors_half_made_are_told(void **state) {
    krait_error *err = NULL;
    krait_value  out;
    (void)state;
    call("regress:refuse", NULL, 0, &out, &err);
    assert_string_equal(krait_error_python_type(err), "regress.Refusal");
    assert_non_null(krait_error_traceback(err));
    assert_error(err, KRAIT_E_PYTHON, "no such book");
}

/* ---- crashes ----------------------------------------------------------------------------------------------------- */

/* What krait.host asks libkrait, asked without a name. */
static int find_nothing(void) {
    krait_error *err = NULL;
    bool         raised;
    krait_init(NULL, &err);
    krait_module_from_source("m", "def ask():\n    import _krait_host\n    _krait_host.find()\n", &err);
    if (err) return 1;
    call("m:ask", NULL, 0, NULL, &err);
    raised = krait_error_status(err) == KRAIT_E_PYTHON;
    krait_error_clear(&err);
    return !raised;
}

static void test_find_nothing(void **state) {
    pid_t child = fork();
    int   how = -1;
    (void)state;
    if (!child) {
        execl(self, self, "find_nothing", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_without_rows_are_returned),
        cmocka_unit_test(labels_over_lent_memory_are_no_escape),
        cmocka_unit_test(what_is_kept_besides_is_an_escape),
        cmocka_unit_test(cycles_do_not_cost_the_result_its_object),
        cmocka_unit_test(readers_are_passed_on_with_their_rows),
        cmocka_unit_test(objects_of_another_length_are_refused),
        cmocka_unit_test(codes_that_are_no_integers_are_refused),
        cmocka_unit_test(codes_that_nobody_checked_are_not_followed),
        cmocka_unit_test(errors_half_made_are_told),
        cmocka_unit_test(test_find_nothing),
    };
    if (!realpath(argv[0], self)) return 1;
    if (argc > 1) return strcmp(argv[1], "find_nothing") != 0 || find_nothing();
    return cmocka_run_group_tests(tests, begin_with_functions, NULL);
}
