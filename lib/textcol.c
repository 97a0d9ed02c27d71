/* textcol: columns of object arrays and of numpy's StringDType. Attached.
 *
 * What the first value is decides what the column is; the first other value ends it: the column is there, and says why
 * it cannot be read. No Python code runs while the pointers in an object array are followed, so they stay good: dates
 * and decimals, which Python converts, are snapshot there first. Texts go into one growing block, in one pass. */
#include "textcol.h"

#include <stdio.h>
#include <string.h>

#include "column.h"
#include "mem.h"
#include "pyerr.h"

PyObject *krait__frame_out_ask(const char *function, PyObject *argument) {
    static PyObject *module; /* kept for good */
    PyObject        *callable, *answer;
    if (!module) module = py.PyImport_ImportModule("krait._frame_out");
    callable = module ? py.PyObject_GetAttrString(module, function) : NULL;
    answer = callable ? py.PyObject_Vectorcall(callable, &argument, 1, NULL) : NULL;
    if (callable) py.Py_DecRef(callable);
    return answer;
}

/* ---- an object array --------------------------------------------------------------------------------------------- */

/* What the values are; also how far a column got. */
enum { MISSING, TEXT, BOOL, DATE, DECIMAL, OTHER };

typedef struct objects {
    PyObject     *array;
    const char   *at; /* pointers to objects, perhaps at odd addresses */
    int64_t       stride, rows;
    PyObject     *na, *nat;                          /* of pandas, when it has been imported */
    PyTypeObject *bool_, *date, *datetime, *decimal; /* numpy.bool_, datetime.date, ...; NULL while nobody has them */
} objects;

/* An attribute of a module that has been imported by somebody; NULL of one that has not, or only in part. *good is
 * cleared, with an exception set, where that could not be seen. */
static PyObject *attribute(const char *module, const char *name, bool *good) {
    PyObject *modules = *good ? py.PyImport_GetModuleDict() : NULL;
    PyObject *found = modules ? py.PyDict_GetItemString(modules, module) : NULL, *value = NULL;
    if (found && found != py._Py_NoneStruct) value = py.PyObject_GetAttrString(found, name);
    if (krait__pyerr_is(*py.PyExc_AttributeError)) py.PyErr_Clear();
    if (py.PyErr_Occurred()) *good = false;
    return value;
}

static krait_status open_objects(objects *o, PyObject *array, krait_error **err) {
    const krait__array_head *head = krait__head(array);
    bool                     good = true;
    o->array = array;
    o->at = head->data;
    o->stride = head->strides[0];
    o->rows = head->shape[0];
    o->na = attribute("pandas", "NA", &good);
    o->nat = attribute("pandas", "NaT", &good);
    o->bool_ = (PyTypeObject *)attribute("numpy", "bool_", &good);
    o->date = (PyTypeObject *)attribute("datetime", "date", &good);
    o->datetime = (PyTypeObject *)attribute("datetime", "datetime", &good);
    o->decimal = (PyTypeObject *)attribute("decimal", "Decimal", &good);
    return good ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

static void close_objects(objects *o) {
    PyObject *held[] = {
        o->na, o->nat, (PyObject *)o->bool_, (PyObject *)o->date, (PyObject *)o->datetime, (PyObject *)o->decimal
    };
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        if (held[i]) py.Py_DecRef(held[i]);
}

static inline PyObject *object_at(const objects *o, int64_t row) {
    PyObject *object;
    memcpy(&object, o->at + row * o->stride, sizeof object);
    return object ? object : py._Py_NoneStruct; /* as numpy itself reads it */
}

static bool is_missing(const objects *o, PyObject *object) {
    double number;
    if (object == py._Py_NoneStruct || object == o->na || object == o->nat) return true;
    if (!krait__is(object, py.PyFloat_Type)) return false;
    number = py.PyFloat_AsDouble(object);
    return number != number;
}

static int kind_of(const objects *o, PyObject *object) {
    PyTypeObject *type = krait__type(object);
    if (krait__is(object, py.PyUnicode_Type)) return TEXT;
    if (is_missing(o, object)) return MISSING;
    if (type == py.PyBool_Type || type == o->bool_) return BOOL;
    if (o->decimal && krait__is(object, o->decimal)) return DECIMAL;
    if (o->datetime && krait__is(object, o->datetime)) return OTHER; /* they are dates too, by inheritance */
    return o->date && krait__is(object, o->date) ? DATE : OTHER;
}

/* The first row from `row` on that has a value, `rows` if none has. */
static int64_t first_value(const objects *o, int64_t row) {
    while (row < o->rows && kind_of(o, object_at(o, row)) == MISSING) row++;
    return row;
}

/* The first row that is neither missing nor of that kind, `rows` if there is none. */
static int64_t first_other(const objects *o, int kind) {
    int64_t row = 0;
    for (; row < o->rows; row++) {
        int its = kind_of(o, object_at(o, row));
        if (its != kind && its != MISSING) break;
    }
    return row;
}

/* ---- what cannot be read ----------------------------------------------------------------------------------------- */

typedef struct target {
    krait__outlet *outlet;
    krait_table   *table;
    bool           index;
    krait_column  *column;
} target;

static target target_of(krait__outlet *outlet, krait_table *table, bool index) {
    krait__parts *parts = index ? &table->index : &table->columns;
    return (target){ outlet, table, index, &parts->items[parts->count - 1].column };
}

static krait_status refuse(const target *to, const char *reason, krait_error **err) {
    const char *name = to->column->name;
    bool        good = krait__table_refuse(to->table, to->index, "%s '%.*s' cannot be read: %s",
                                    to->index ? "level of the index" : "column", krait__shown(name), name, reason);
    return good ? KRAIT_OK : krait__fail_nomem(err);
}

static const char *cure_of(const objects *o, PyObject *object) {
    if (o->datetime && krait__is(object, o->datetime)) return "make instants of it with pandas.to_datetime";
    if (krait__is(object, py.PyBytes_Type)) return "make text of it with .str.decode";
    if (krait__is(object, py.PyLong_Type) || krait__is(object, py.PyFloat_Type))
        return "make numbers of it with pandas.to_numeric, or .astype('Int64'), or text with .astype(str)";
    return "make one type of it with .astype or .map";
}

/* "column 'x' cannot be read: row 3 is of type list; expected ..." */
static krait_status refuse_row(const target *to, const objects *o, int64_t row, int kind, krait_error **err) {
    static const char *const wanted[] = {
        [MISSING] = "text, bool, date or Decimal",   [TEXT] = "text as in the rows before",
        [BOOL] = "bool as in the rows before",       [DATE] = "datetime.date as in the rows before",
        [DECIMAL] = "Decimal as in the rows before", [OTHER] = "text, bool, date or Decimal"
    };
    char         before[64], after[256];
    krait_error *why = NULL;
    krait_status status;
    snprintf(before, sizeof before, "row %lld is of type ", (long long)row);
    snprintf(after, sizeof after, "; expected %s or missing: %s", wanted[kind], cure_of(o, object_at(o, row)));
    krait__fail_type(object_at(o, row), KRAIT_E_UNSUPPORTED, &why, before, after);
    if (krait_error_status(why) == KRAIT_E_NOMEM) status = krait__fail_nomem(err);
    else status = refuse(to, krait_error_message(why), err);
    krait_error_clear(&why);
    return status;
}

/* ---- growing text ------------------------------------------------------------------------------------------------ */

/* Offsets and bits are made for all rows at once; the bytes grow. */
typedef struct texts {
    int64_t *offsets;
    uint8_t *valid;
    char    *data;
    size_t   size, room;
    int64_t  missing;
} texts;

enum { ROOM_A_ROW = 12 }; /* to begin with: short texts never grow, long ones soon do not matter */

/* All bits set; NULL without memory. */
static uint8_t *all_valid(krait_table *table, int64_t rows) {
    uint8_t *bits = krait__table_alloc(table, (size_t)(rows + 7) / 8);
    if (bits) memset(bits, 0xff, (size_t)(rows + 7) / 8);
    return bits;
}

static inline void clear_bit(uint8_t *bits, int64_t row) {
    bits[row / 8] &= (uint8_t) ~(1u << row % 8);
}

static bool open_texts(texts *t, krait_table *table, int64_t rows) {
    *t = (texts){ .offsets = krait__table_alloc(table, krait__size((size_t)rows + 1, sizeof *t->offsets, 0)),
                  .valid = all_valid(table, rows),
                  .room = krait__size((size_t)rows, ROOM_A_ROW, 64) };
    t->data = krait__alloc(t->room);
    if (t->offsets) t->offsets[0] = 0;
    return t->offsets && t->valid && t->data;
}

static bool grow(texts *t, size_t more) {
    size_t wanted = krait__size(t->room, 2, more);
    char  *grown = krait__realloc(t->data, wanted);
    if (!grown) return false;
    t->data = grown;
    t->room = wanted;
    return true;
}

static inline bool add_text(texts *t, int64_t row, const char *text, size_t size) {
    if (size > t->room - t->size && !grow(t, size)) return false;
    if (size) memcpy(t->data + t->size, text, size); /* numpy has no address for none */
    t->size += size;
    t->offsets[row + 1] = (int64_t)t->size;
    return true;
}

static inline void add_missing(texts *t, int64_t row) {
    clear_bit(t->valid, row);
    t->offsets[row + 1] = (int64_t)t->size;
    t->missing++;
}

static void counted(const target *to, size_t bytes) {
    KRAIT__COUNT(to->outlet->thread, copies, 1);
    KRAIT__COUNT(to->outlet->thread, copied_bytes, bytes);
    to->column->flags = KRAIT_ARRAY_COPIED;
}

/* The bytes go over to the table, no more of them than there are. */
static krait_status close_texts(const target *to, texts *t, krait_error **err) {
    char *fitted = krait__realloc(t->data, t->size ? t->size : 1);
    if (fitted) t->data = fitted;
    if (!krait__table_keep(to->table, krait__free, t->data)) {
        krait__free(t->data);
        return krait__fail_nomem(err);
    }
    to->column->kind = KRAIT_COLUMN_TEXT;
    to->column->data = t->data;
    to->column->data_bytes = (int64_t)t->size;
    to->column->offsets = t->offsets;
    to->column->offset_bytes = (int32_t)sizeof *t->offsets;
    to->column->valid = t->missing ? t->valid : NULL;
    counted(to, t->size + (size_t)to->column->rows * sizeof *t->offsets);
    return KRAIT_OK;
}

/* ---- text out of objects ----------------------------------------------------------------------------------------- */

enum { DONE, FULL, BROKEN, ANOTHER }; /* why it ended: all rows, no memory, no UTF-8, another type */

static int read_texts(const objects *o, texts *t, int64_t *row) {
    for (*row = 0; *row < o->rows; ++*row) {
        PyObject   *object = object_at(o, *row);
        Py_ssize_t  size;
        const char *text;
        if (krait__type(object) != py.PyUnicode_Type && !krait__is(object, py.PyUnicode_Type)) {
            if (!is_missing(o, object)) return ANOTHER;
            add_missing(t, *row);
            continue;
        }
        text = py.PyUnicode_AsUTF8AndSize(object, &size);
        if (!text) return BROKEN;
        if (!add_text(t, *row, text, (size_t)size)) return FULL;
    }
    return DONE;
}

/* A surrogate alone has no UTF-8; anything else that went wrong was memory. */
static krait_status refuse_text(const target *to, int64_t row, krait_error **err) {
    char         reason[128];
    krait_error *why = NULL;
    const char  *type;
    bool         encoding;
    krait__pyerr_take(KRAIT_E_ENCODING, &why);
    type = krait_error_python_type(why);
    encoding = type && strcmp(type, "UnicodeEncodeError") == 0;
    krait_error_clear(&why);
    if (!encoding) return krait__fail_nomem(err);
    snprintf(reason, sizeof reason, "row %lld is text with a lone surrogate, which UTF-8 has no bytes for",
             (long long)row);
    return refuse(to, reason, err);
}

static krait_status texts_of(const target *to, const objects *o, krait_error **err) {
    texts   t;
    int64_t row = 0;
    int     end = open_texts(&t, to->table, o->rows) ? read_texts(o, &t, &row) : FULL;
    if (end == DONE) return close_texts(to, &t, err);
    krait__free(t.data);
    if (end == BROKEN) return refuse_text(to, row, err);
    return end == FULL ? krait__fail_nomem(err) : refuse_row(to, o, row, TEXT, err);
}

/* ---- bools, dates, decimals out of objects ----------------------------------------------------------------------- */

static krait_status bools_of(const target *to, const objects *o, krait_error **err) {
    uint8_t *data = krait__table_alloc(to->table, (size_t)o->rows), *valid = all_valid(to->table, o->rows);
    if (!data || !valid) return krait__fail_nomem(err);
    for (int64_t row = 0; row < o->rows; row++) {
        bool missing = is_missing(o, object_at(o, row));
        int  truth = missing ? 0 : py.PyObject_IsTrue(object_at(o, row));
        if (truth < 0) return krait__pyerr_take(KRAIT_E_PYTHON, err);
        if (missing) clear_bit(valid, row);
        data[row] = (uint8_t)truth;
    }
    to->column->kind = KRAIT_COLUMN_ARRAY;
    to->column->dtype = krait_bool_type();
    to->column->data = data;
    to->column->stride = 1;
    to->column->valid = valid;
    counted(to, (size_t)o->rows);
    return KRAIT_OK;
}

/* From int64 days, INT64_MIN where there is none, that Python made. */
static krait_status days_of(const target *to, const objects *o, krait_error **err) {
    PyObject      *made = krait__frame_out_ask("days", o->array);
    int32_t       *data = krait__table_alloc(to->table, krait__size((size_t)o->rows, sizeof *data, 0));
    uint8_t       *valid = all_valid(to->table, o->rows);
    const int64_t *days = made ? (const int64_t *)(const void *)krait__head(made)->data : NULL;
    if (!made) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    for (int64_t row = 0; data && valid && row < o->rows; row++) {
        bool missing = days[row] == INT64_MIN;
        data[row] = missing ? 0 : (int32_t)days[row];
        if (missing) clear_bit(valid, row);
        if (missing) to->column->valid = valid;
    }
    py.Py_DecRef(made);
    if (!data || !valid) return krait__fail_nomem(err);
    to->column->kind = KRAIT_COLUMN_DATE;
    to->column->data = data;
    to->column->stride = sizeof *data;
    counted(to, (size_t)o->rows * sizeof *data);
    return KRAIT_OK;
}

/* A copy of a bytes object that must have that size; NULL without memory, or with an exception set. */
static void *bytes_at(const target *to, PyObject *tuple, Py_ssize_t i, size_t size) {
    char      *data, *copy;
    Py_ssize_t length;
    if (py.PyBytes_AsStringAndSize(py.PyTuple_GetItem(tuple, i), &data, &length) || (size_t)length != size) return NULL;
    copy = krait__table_alloc(to->table, size);
    if (copy) memcpy(copy, data, size);
    return copy;
}

static krait_status decimals_made(const target *to, const objects *o, PyObject *made, krait_error **err) {
    enum { BYTES = 16 };
    krait_column *column = to->column;
    int           overflow;
    if (krait__is(made, py.PyUnicode_Type)) {
        const char *reason = py.PyUnicode_AsUTF8AndSize(made, NULL);
        return reason ? refuse(to, reason, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    column->data = bytes_at(to, made, 0, krait__size((size_t)o->rows, BYTES, 0));
    column->valid = bytes_at(to, made, 1, (size_t)(o->rows + 7) / 8);
    if (!column->data || !column->valid) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    column->kind = KRAIT_COLUMN_DECIMAL;
    column->precision = (uint8_t)py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(made, 2), &overflow);
    column->scale = (int8_t)py.PyLong_AsLongLongAndOverflow(py.PyTuple_GetItem(made, 3), &overflow);
    column->stride = BYTES;
    counted(to, (size_t)o->rows * BYTES);
    return KRAIT_OK;
}

static krait_status decimals_of(const target *to, const objects *o, krait_error **err) {
    PyObject    *made = krait__frame_out_ask("decimals", o->array);
    krait_status status;
    if (!made) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    status = decimals_made(to, o, made, err);
    py.Py_DecRef(made);
    return status;
}

/* ---- the two ways in --------------------------------------------------------------------------------------------- */

static krait_status objects_out(const target *to, const objects *o, krait_error **err) {
    int64_t first = first_value(o, 0), other;
    int     kind = first < o->rows ? kind_of(o, object_at(o, first)) : TEXT;
    if (kind == TEXT) return texts_of(to, o, err);
    other = kind == OTHER ? first : first_other(o, kind);
    if (other < o->rows) return refuse_row(to, o, other, kind, err);
    if (kind == BOOL) return bools_of(to, o, err);
    return kind == DATE ? days_of(to, o, err) : decimals_of(to, o, err);
}

krait_status krait__objects_out(krait__outlet *outlet, krait_table *table, bool index, PyObject *array,
                                krait_error **err) {
    target       to = target_of(outlet, table, index);
    objects      o;
    krait_status status;
    status = open_objects(&o, array, err);
    if (!status) status = objects_out(&to, &o, err);
    close_objects(&o);
    return status;
}

/* Under numpy's lock: no Python here. */
static int load_texts(PyObject *array, int64_t rows, texts *t) {
    const krait__array_head *head = krait__head(array);
    void                    *allocator = krait__np_texts.acquire(head->descr);
    int                      end = DONE;
    for (int64_t row = 0; row < rows && end == DONE; row++) {
        krait__numpy_text text = { 0, NULL };
        int               missing = krait__np_texts.load(allocator, head->data + row * head->strides[0], &text);
        if (missing < 0) end = BROKEN;
        else if (missing) add_missing(t, row);
        else if (!add_text(t, row, text.data, text.size)) end = FULL;
    }
    krait__np_texts.release(allocator);
    return end;
}

static krait_status strings_out(const target *to, PyObject *array, krait_error **err) {
    texts t;
    int   end = open_texts(&t, to->table, to->column->rows) ? load_texts(array, to->column->rows, &t) : FULL;
    if (end == DONE) return close_texts(to, &t, err);
    krait__free(t.data);
    return end == BROKEN ? krait__pyerr_take(KRAIT_E_PYTHON, err) : krait__fail_nomem(err);
}

krait_status krait__strings_out(krait__outlet *outlet, krait_table *table, bool index, PyObject *array,
                                krait_error **err) {
    target       to = target_of(outlet, table, index);
    PyObject    *plain;
    krait_status status;
    if (!krait__np_texts.load) return refuse(&to, "this numpy has no calls for StringDType", err);
    if (krait__head(array)->flags & NPY_ALIGNED) return strings_out(&to, array, err);
    plain = krait__array_plain(array); /* numpy reads its elements as two words each */
    if (!plain) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    status = strings_out(&to, plain, err);
    py.Py_DecRef(plain);
    return status;
}
