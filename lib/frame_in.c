/* frame_in: a table becomes a pandas DataFrame over the columns' memory.
 *
 * C makes the arrays, all of them standing on one owner object; krait._frame_in puts them together as pandas wants
 * them. Columns that pandas takes as they are, the usual ones, do not even go there. KRAIT_COPY copies the table and
 * hands the copy over for good, so that no loan can live. Refused: columns that cannot be read, times that do not fit.
 */
#include "frame.h"

#include <stdio.h>
#include <string.h>

#include "column.h"
#include "mem.h"
#include "ndarray.h"
#include "pyerr.h"

/* ---- what is needed of Python ------------------------------------------------------------------------------------ */

static struct {
    PyObject *make;         /* krait._frame_in.frame; set last: says that all else is there */
    PyObject *arrow_text;   /* krait._frame_in.arrow_text */
    PyObject *missing_text; /* what stands for a missing text */
    PyObject *frame_type;   /* pandas.DataFrame */
    PyObject *copy_keyword; /* ("copy",) */
    uint32_t  units;        /* bit KRAIT_S and so on: times in this unit are taken as they are */
} pandas;

static PyObject *attribute(const char *module, const char *name) {
    PyObject *found = NULL, *from = py.PyImport_ImportModule(module);
    if (from) found = py.PyObject_GetAttrString(from, name);
    if (from) py.Py_DecRef(from);
    return found;
}

static bool load_units(void) {
    PyObject *bits = attribute("krait._frame_in", "UNIT_BITS");
    int       overflow;
    if (!bits) return false;
    pandas.units = (uint32_t)py.PyLong_AsLongLongAndOverflow(bits, &overflow);
    py.Py_DecRef(bits);
    return true;
}

static PyObject *keyword(const char *name) {
    PyObject *names = py.PyTuple_New(1), *text = names ? py.PyUnicode_InternFromString(name) : NULL;
    if (text && !py.PyTuple_SetItem(names, 0, text)) return names;
    if (names) py.Py_DecRef(names);
    return NULL;
}

/* Once. A second thread may come here while the first imports: what it finds is the same. */
static krait_status load(krait_error **err) {
    PyObject *make;
    if (pandas.make) return KRAIT_OK;
    make = attribute("krait._frame_in", "frame");
    if (!make) return krait__pyerr_take(KRAIT_E_IMPORT, err);
    if (!pandas.arrow_text) pandas.arrow_text = attribute("krait._frame_in", "arrow_text");
    if (!pandas.missing_text) pandas.missing_text = attribute("krait._frame_in", "MISSING_TEXT");
    if (!pandas.frame_type) pandas.frame_type = attribute("pandas", "DataFrame");
    if (!pandas.copy_keyword) pandas.copy_keyword = keyword("copy");
    if (pandas.arrow_text && pandas.missing_text && pandas.frame_type && pandas.copy_keyword && load_units()) {
        pandas.make = make;
        return KRAIT_OK;
    }
    py.Py_DecRef(make);
    return krait__pyerr_take(KRAIT_E_IMPORT, err);
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

static const char *at(const krait_column *column, int64_t row) {
    return (const char *)column->data + row * column->stride;
}

static PyObject *make_text(const krait_column *column, int64_t row, PyObject *callable) {
    size_t      size;
    const char *text = krait_column_text(column, row, &size);
    (void)callable;
    return py.PyUnicode_FromStringAndSize(size ? text : "", (Py_ssize_t)size);
}

static PyObject *make_bytes(const krait_column *column, int64_t row, PyObject *callable) {
    size_t      size;
    const char *text = krait_column_text(column, row, &size);
    (void)callable;
    return py.PyBytes_FromStringAndSize(size ? text : "", (Py_ssize_t)size);
}

__extension__ typedef __int128          wide;
__extension__ typedef unsigned __int128 unsigned_wide;

/* Writes the digits so that they end at `end`, and returns where they begin. */
static char *put_digits(char *end, unsigned_wide number) {
    uint64_t low;
    for (; number > UINT64_MAX; number /= 10) *--end = (char)('0' + (int)(number % 10));
    low = (uint64_t)number; /* dividing this is ten times as fast */
    do *--end = (char)('0' + (int)(low % 10));
    while (low /= 10);
    return end;
}

/* "-1234E-2": exact for any precision, which decimal's context only limits in arithmetic. */
static PyObject *make_decimal(const krait_column *column, int64_t row, PyObject *decimal) {
    char      text[64], *end = text + sizeof text; /* two signs, 39 digits, E and three digits */
    int       scale = column->scale;
    char     *start = put_digits(end, (unsigned_wide)(scale < 0 ? -scale : scale));
    wide      number;
    PyObject *argument, *made;
    memcpy(&number, at(column, row), sizeof number);
    if (scale > 0) *--start = '-';
    *--start = 'E';
    start = put_digits(start, number < 0 ? -(unsigned_wide)number : (unsigned_wide)number);
    if (number < 0) *--start = '-';
    argument = py.PyUnicode_FromStringAndSize(start, end - start);
    made = argument ? py.PyObject_Vectorcall(decimal, &argument, 1, NULL) : NULL;
    if (argument) py.Py_DecRef(argument);
    return made;
}

/* Days since 1970-01-01 of the first and the last date that Python has, 0001-01-01 and 9999-12-31. */
enum { FIRST_DAY = -719162, LAST_DAY = 2932896 };

static krait_status check_days(const krait_column *column, krait_error **err) {
    for (int64_t row = 0; row < column->rows; row++) {
        int32_t day = 0;
        if (krait_column_has(column, row)) memcpy(&day, at(column, row), sizeof day);
        if (day < FIRST_DAY || day > LAST_DAY)
            return krait__fail(err, KRAIT_E_RANGE,
                               "column '%.*s', row %lld: day %d since 1970-01-01 is no datetime.date, which has the "
                               "years 1 to 9999",
                               krait__shown(column->name), column->name, (long long)row, day);
    }
    return KRAIT_OK;
}

/* array.astype(dtype); takes over the reference to the array, which may be NULL. */
static PyObject *astype(PyObject *array, const char *dtype) {
    PyObject *method = array ? py.PyObject_GetAttrString(array, "astype") : NULL;
    PyObject *name = method ? py.PyUnicode_InternFromString(dtype) : NULL;
    PyObject *made = name ? py.PyObject_Vectorcall(method, &name, 1, NULL) : NULL;
    if (name) py.Py_DecRef(name);
    if (method) py.Py_DecRef(method);
    if (array) py.Py_DecRef(array);
    return made;
}

/* numpy makes dates by the dozen. In rows without a value stands whatever comes. */
static krait_status dates(const krait_column *column, PyObject **array, krait_error **err) {
    krait_value  days = krait_ndarray(column->data, krait_i32_type(), 1, &column->rows, &column->stride);
    PyObject    *owner = krait__owner_new(NULL, NULL); /* what stands on it is gone in a moment */
    krait_status status =
        owner ? krait__array_over(&days, false, owner, array, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (status) return status;
    *array = astype(astype(*array, "M8[D]"), "O");
    return *array ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

/* numpy.empty(rows, "O") */
static krait_status nothings(int64_t rows, PyObject **array, krait_error **err) {
    PyObject *args[2] = { py.PyLong_FromLongLong(rows), py.PyUnicode_InternFromString("O") };
    PyObject *empty = attribute("numpy", "empty");
    *array = args[0] && args[1] && empty ? py.PyObject_Vectorcall(empty, args, 2, NULL) : NULL;
    for (int i = 0; i < 2; i++)
        if (args[i]) py.Py_DecRef(args[i]);
    if (empty) py.Py_DecRef(empty);
    return *array ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
}

typedef PyObject *(*maker)(const krait_column *column, int64_t row, PyObject *callable);

/* Puts into each slot its object; without `make` the objects are there, and only what is missing is put in. */
static bool fill_objects(const krait_column *column, maker make, PyObject *callable, PyObject *missing,
                         PyObject *array) {
    PyObject **slots = (PyObject **)(void *)krait__head(array)->data;
    for (int64_t row = 0; row < column->rows; row++) {
        PyObject *before = slots[row], *now = missing;
        bool      has = krait_column_has(column, row);
        if (has && !make) continue;
        if (has) now = make(column, row, callable);
        else py.Py_IncRef(missing);
        if (!now) return false;
        slots[row] = now;
        if (before) py.Py_DecRef(before);
    }
    return true;
}

krait_status krait__objects_in(const krait_column *column, PyObject *missing, PyObject **array, krait_error **err) {
    static const maker makers[] = { [KRAIT_COLUMN_TEXT] = make_text,
                                    [KRAIT_COLUMN_BYTES] = make_bytes,
                                    [KRAIT_COLUMN_DECIMAL] = make_decimal,
                                    [KRAIT_COLUMN_DATE] = NULL };
    PyObject          *callable = NULL;
    krait_status       status = krait__numpy_load(err);
    *array = NULL;
    if (!status && column->kind == KRAIT_COLUMN_DECIMAL && !(callable = attribute("decimal", "Decimal")))
        status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (!status && column->kind == KRAIT_COLUMN_DATE) status = check_days(column, err);
    if (!status)
        status = column->kind == KRAIT_COLUMN_DATE ? dates(column, array, err) : nothings(column->rows, array, err);
    if (!status && !fill_objects(column, makers[column->kind], callable, missing, *array)) {
        status = krait__pyerr_take(KRAIT_E_PYTHON, err);
        py.Py_DecRef(*array);
        *array = NULL;
    }
    if (callable) py.Py_DecRef(callable);
    return status;
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

/* A table on its way in. */
typedef struct source {
    const krait_table *table;
    PyObject          *owner; /* of all its memory */
    bool               writable;
    bool               arrow; /* pandas keeps text as Arrow arrays */
} source;

static krait_status elements(const source *in, const void *data, krait_dtype dtype, int64_t n, int64_t stride,
                             PyObject **out, krait_error **err) {
    krait_value value = krait_vector(data, dtype, (size_t)n);
    if (stride != (int64_t)dtype.item_size) value = krait_ndarray(data, dtype, 1, &n, &stride);
    py.Py_IncRef(in->owner);
    return krait__array_over(&value, in->writable, in->owner, out, err);
}

/* What no column of pandas can be, whatever is done with it. */
static krait_status refuse_dtype(const krait_column *column, bool time, krait_error **err) {
    char name[64];
    krait_dtype_name(column->dtype, name, sizeof name);
    return krait__fail(err, KRAIT_E_UNSUPPORTED, "column '%.*s' is of dtype %s%s", krait__shown(column->name),
                       column->name, name,
                       time ? " without a unit; expected one, such as KRAIT_NS" : "; expected bools, numbers or times");
}

static krait_status values_of(const source *in, const krait_column *column, PyObject **out, krait_error **err) {
    krait_dtype dtype = column->dtype;
    bool        time = dtype.code == KRAIT_DATETIME || dtype.code == KRAIT_TIMEDELTA;
    if (time ? dtype.unit == KRAIT_GENERIC : dtype.code < KRAIT_BOOL || dtype.code > KRAIT_C128)
        return refuse_dtype(column, time, err);
    return elements(in, column->data, dtype, column->rows, column->stride, out, err);
}

/* An array over a block of n bytes, which it frees in the end; taken over in any case. */
static krait_status bytes_over(uint8_t *block, krait_dtype dtype, int64_t n, PyObject **out, krait_error **err) {
    krait_value value = krait_vector(block, dtype, (size_t)n);
    PyObject   *owner = block ? krait__owner_new(krait__free, block) : NULL;
    if (owner) return krait__array_over(&value, true, owner, out, err);
    if (!block) return krait__fail_nomem(err);
    krait__free(block);
    return krait__pyerr_take(KRAIT_E_PYTHON, err);
}

/* pandas' mask: a bool for each row, true where there is no value; NULL for a column that has no validity. */
static krait_status mask_of(const krait_column *column, PyObject **out, krait_error **err) {
    uint8_t *mask;
    int64_t  row = 0;
    if (!column->valid) return KRAIT_OK;
    mask = krait__zalloc((size_t)column->rows + 1);
    for (; mask && row < column->rows && (column->valid_offset + row) % 8; row++)
        mask[row] = !krait_column_has(column, row);
    for (; mask && column->rows - row >= 8; row += 8) {
        unsigned bits = column->valid[(column->valid_offset + row) / 8];
        for (int i = 0; bits != 0xff && i < 8; i++) mask[row + i] = !(bits >> i & 1);
    }
    for (; mask && row < column->rows; row++) mask[row] = !krait_column_has(column, row);
    return bytes_over(mask, krait_bool_type(), column->rows, out, err);
}

/* Arrow's validity: bits that begin with a byte. Copied where they do not. */
static krait_status bits_of(const source *in, const krait_column *column, PyObject **out, krait_error **err) {
    int64_t        bytes = (column->rows + 7) / 8, shift = column->valid_offset % 8;
    const uint8_t *from = column->valid ? column->valid + column->valid_offset / 8 : NULL;
    uint8_t       *bits;
    if (!from) return KRAIT_OK;
    if (!shift) return elements(in, from, krait_u8_type(), bytes, 1, out, err);
    bits = krait__zalloc((size_t)bytes + 1);
    for (int64_t row = 0; bits && row < column->rows; row++)
        if (krait_column_has(column, row)) bits[row / 8] |= (uint8_t)(1 << row % 8);
    return bytes_over(bits, krait_u8_type(), bytes, out, err);
}

/* ---- columns: tuples for krait._frame_in ------------------------------------------------------------------------- */

/* Kind, name, and what the function of that kind takes, in its order; NULL is None. */
enum { ITEM_KIND, ITEM_NAME, ITEM_FIRST, ITEMS = ITEM_FIRST + 4, KIND_OBJECTS = 7 };

static krait_status made(PyObject *object, PyObject **out, krait_error **err) {
    *out = object;
    return object ? KRAIT_OK : krait__pyerr_take(KRAIT_E_ENCODING, err); /* of texts; else out of memory */
}

static krait_status text_of(const char *text, PyObject **out, krait_error **err) {
    return made(py.PyUnicode_FromStringAndSize(text, (Py_ssize_t)strlen(text)), out, err);
}

static krait_status array_items(const source *in, const krait_column *column, PyObject **items, krait_error **err) {
    krait_status status = values_of(in, column, &items[0], err);
    if (!status) status = mask_of(column, &items[1], err);
    if (!status && column->zone) status = text_of(column->zone, &items[2], err);
    return status;
}

/* Without rows nothing may be lent, yet Arrow reads one offset: it gets a lasting one. */
static krait_status text_items(const source *in, const krait_column *column, PyObject **items, krait_error **err) {
    static const int64_t first = 0;
    const void          *offsets = column->rows ? column->offsets : &first;
    bool                 narrow = column->rows && column->offset_bytes == 4;
    krait_dtype          offset = narrow ? krait_i32_type() : krait_i64_type();
    krait_status         status = made(py.PyLong_FromLongLong(column->rows), &items[0], err);
    if (!status) status = elements(in, offsets, offset, column->rows + 1, (int64_t)offset.item_size, &items[1], err);
    if (!status) status = elements(in, column->data, krait_u8_type(), column->data_bytes, 1, &items[2], err);
    if (!status) status = bits_of(in, column, &items[3], err);
    return status;
}

static krait_status object_items(const krait_column *column, PyObject **items, krait_error **err) {
    bool         text = column->kind == KRAIT_COLUMN_TEXT;
    krait_status status = krait__objects_in(column, text ? pandas.missing_text : py._Py_NoneStruct, &items[0], err);
    return status ? status : made(py.PyBool_FromLong(text), &items[1], err);
}

static krait_status column_in(const source *in, const krait_column *column, PyObject **out, krait_error **err);

static krait_status category_items(const source *in, const krait_column *column, PyObject **items, krait_error **err) {
    krait_status status = values_of(in, column, &items[0], err);
    if (!status) status = mask_of(column, &items[1], err);
    if (!status) status = column_in(in, column->dictionary, &items[2], err);
    return status ? status : made(py.PyBool_FromLong(column->ordered), &items[3], err);
}

/* A tuple of the items, whose references it takes over in any case. */
static krait_status tuple_of(PyObject **items, size_t n, PyObject **out, krait_error **err) {
    PyObject *tuple = py.PyTuple_New((Py_ssize_t)n);
    bool      good = tuple != NULL;
    for (size_t i = 0; i < n; i++) {
        PyObject *item = items[i] ? items[i] : py._Py_NoneStruct;
        if (!items[i]) py.Py_IncRef(item);
        items[i] = NULL;
        if (!tuple) py.Py_DecRef(item);
        else if (py.PyTuple_SetItem(tuple, (Py_ssize_t)i, item)) good = false;
    }
    if (!good && tuple) py.Py_DecRef(tuple);
    return made(good ? tuple : NULL, out, err);
}

/* Fills items behind kind and name; returns by *n how many there are in all. */
static krait_status items_of(const source *in, int kind, const krait_column *column, PyObject **items, size_t *n,
                             krait_error **err) {
    switch (kind) {
    case KIND_OBJECTS: *n = ITEM_FIRST + 2; return object_items(column, items + ITEM_FIRST, err);
    case KRAIT_COLUMN_ARRAY: *n = ITEM_FIRST + 3; return array_items(in, column, items + ITEM_FIRST, err);
    case KRAIT_COLUMN_TEXT: *n = ITEM_FIRST + 4; return text_items(in, column, items + ITEM_FIRST, err);
    default: *n = ITEM_FIRST + 4; return category_items(in, column, items + ITEM_FIRST, err);
    }
}

static krait_status column_in(const source *in, const krait_column *column, PyObject **out, krait_error **err) {
    PyObject    *items[ITEMS] = { NULL };
    bool         arrays = column->kind == KRAIT_COLUMN_ARRAY || column->kind == KRAIT_COLUMN_CATEGORY;
    int          kind = arrays || (column->kind == KRAIT_COLUMN_TEXT && in->arrow) ? column->kind : KIND_OBJECTS;
    size_t       n;
    krait_status status = text_of(column->name ? column->name : "", &items[ITEM_NAME], err);
    if (!status) status = made(py.PyLong_FromLongLong(kind), &items[ITEM_KIND], err);
    if (!status) status = items_of(in, kind, column, items, &n, err);
    if (!status) return tuple_of(items, n, out, err);
    for (size_t i = 0; i < ITEMS; i++)
        if (items[i]) py.Py_DecRef(items[i]);
    return status;
}

static krait_status columns_in(const source *in, const krait__parts *parts, PyObject **out, krait_error **err) {
    PyObject    *tuple = py.PyTuple_New((Py_ssize_t)parts->count), *one;
    krait_status status = tuple ? KRAIT_OK : krait__pyerr_take(KRAIT_E_PYTHON, err);
    for (size_t i = 0; i < parts->count && !status; i++) {
        const krait__part *part = &parts->items[i];
        if (part->refusal) status = krait__fail(err, KRAIT_E_UNSUPPORTED, "%s", part->refusal);
        else status = column_in(in, &part->column, &one, err);
        if (!status && py.PyTuple_SetItem(tuple, (Py_ssize_t)i, one)) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (status && tuple) py.Py_DecRef(tuple);
    *out = status ? NULL : tuple;
    return status;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

/* Does pandas take it as it is? krait._frame_in looks closer at those that this says no to. */
static bool is_plain(const krait__part *part) {
    const krait_column *column = &part->column;
    const krait_dtype   dtype = column->dtype;
    uintptr_t           align = dtype.item_size < 8 ? dtype.item_size : 8;
    if (part->refusal || column->kind != KRAIT_COLUMN_ARRAY || column->valid || column->zone || dtype.swapped)
        return false;
    if (dtype.code < KRAIT_BOOL || dtype.code > KRAIT_TIMEDELTA) return false;
    if (((uintptr_t)column->data | (uintptr_t)column->stride) & (align - 1)) return false;
    return dtype.code <= KRAIT_C128 || (dtype.of.count == 1 && pandas.units >> dtype.unit & 1);
}

static bool all_plain(const krait_table *table) {
    if (table->index.count || !table->columns.count) return false;
    for (size_t i = 0; i < table->columns.count; i++)
        if (!is_plain(&table->columns.items[i])) return false;
    return true;
}

/* DataFrame(dict, copy=False) */
static PyObject *frame_of_dict(PyObject *dict) {
    PyObject *args[3] = { NULL, dict, py.PyBool_FromLong(0) }, *frame; /* the first belongs to the protocol */
    if (!args[2]) return NULL;
    frame = py.PyObject_Vectorcall(pandas.frame_type, args + 1, 1 | KRAIT__ARGUMENTS_OFFSET, pandas.copy_keyword);
    py.Py_DecRef(args[2]);
    return frame;
}

static krait_status dict_of(const source *in, PyObject *dict, krait_error **err) {
    for (size_t i = 0; i < in->table->columns.count; i++) {
        const krait_column *column = &in->table->columns.items[i].column;
        PyObject           *array;
        krait_status        status = values_of(in, column, &array, err);
        if (status) return status;
        if (py.PyDict_SetItemString(dict, column->name, array)) status = krait__pyerr_take(KRAIT_E_ENCODING, err);
        py.Py_DecRef(array);
        if (status) return status;
    }
    return KRAIT_OK;
}

/* Plain columns only. *frame stays NULL when a name stands twice. */
static krait_status plain_frame(const source *in, PyObject **frame, krait_error **err) {
    PyObject    *dict = py.PyDict_New();
    krait_status status = dict ? dict_of(in, dict, err) : krait__pyerr_take(KRAIT_E_PYTHON, err);
    *frame = NULL;
    if (!status && (size_t)py.PyDict_Size(dict) == in->table->columns.count) {
        *frame = frame_of_dict(dict);
        if (!*frame) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    if (dict) py.Py_DecRef(dict);
    return status;
}

static krait_status any_frame(const source *in, PyObject **frame, krait_error **err) {
    PyObject    *args[3] = { NULL };
    krait_status status = columns_in(in, &in->table->columns, &args[0], err);
    *frame = NULL;
    if (!status) status = columns_in(in, &in->table->index, &args[1], err);
    if (!status) status = made(py.PyLong_FromLongLong(krait_table_rows(in->table)), &args[2], err);
    if (!status) {
        *frame = py.PyObject_Vectorcall(pandas.make, args, 3, NULL);
        if (!*frame) status = krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    for (int i = 0; i < 3; i++)
        if (args[i]) py.Py_DecRef(args[i]);
    return status;
}

/* Asked each time: pandas has an option for it. */
static krait_status ask_for_arrow(bool *arrow, krait_error **err) {
    PyObject *answer = py.PyObject_Vectorcall(pandas.arrow_text, NULL, 0, NULL);
    int       truth = answer ? py.PyObject_IsTrue(answer) : -1;
    if (answer) py.Py_DecRef(answer);
    *arrow = truth == 1;
    return truth < 0 ? krait__pyerr_take(KRAIT_E_PYTHON, err) : KRAIT_OK;
}

static krait_status frame_over(const krait_table *table, bool writable, PyObject *owner, PyObject **frame,
                               krait_error **err) {
    source       in = { table, owner, writable, false };
    krait_status status = KRAIT_OK;
    *frame = NULL;
    if (all_plain(table)) status = plain_frame(&in, frame, err);
    if (status || *frame) return status;
    status = ask_for_arrow(&in.arrow, err);
    return status ? status : any_frame(&in, frame, err);
}

static void add_range(void *user, const char *lo, const char *hi) {
    *(uint64_t *)user += (uint64_t)(hi - lo);
}

static uint64_t bytes_of(const krait_table *table) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < table->columns.count; i++)
        krait__column_ranges(&table->columns.items[i].column, add_range, &bytes);
    for (size_t i = 0; i < table->index.count; i++)
        krait__column_ranges(&table->index.items[i].column, add_range, &bytes);
    return bytes;
}

/* Over a copy that lives as long as Python wants it. */
static krait_status frame_over_copy(krait__thread *thread, const krait_table *table, PyObject **frame,
                                    krait_error **err) {
    krait_table *copy;
    krait_status status = krait__table_copy(table, &copy, err);
    PyObject    *owner = status ? NULL : krait__owner_new(krait__table_release, copy);
    if (status) return status;
    if (!owner) {
        krait__table_release(copy);
        return krait__pyerr_take(KRAIT_E_PYTHON, err);
    }
    KRAIT__COUNT(thread, copies, 1);
    KRAIT__COUNT(thread, copied_bytes, bytes_of(copy));
    status = frame_over(copy, true, owner, frame, err);
    py.Py_DecRef(owner);
    return status;
}

krait_status krait__frame_in(krait__thread *thread, const krait_arg *arg, krait__loan *loan, bool *consumed,
                             PyObject **object, krait_error **err) {
    const krait_table *table = arg->value.as.table;
    PyObject          *owner;
    krait_status       status = krait__table_check(&arg->value, err);
    if (!status) status = krait__numpy_load(err);
    if (!status) status = load(err);
    if (status) return status;
    if (arg->flags & KRAIT_COPY) return frame_over_copy(thread, table, object, err);
    krait__table_hull(table, &loan->lo, &loan->hi);
    loan->table = table;
    loan->near = 0;
    status = krait__argument_owner(arg, loan, consumed, &owner, err);
    if (status) return status;
    status = frame_over(table, (arg->flags & KRAIT_WRITABLE) != 0, owner, object, err);
    py.Py_DecRef(owner); /* and with it the loan, when all was copied; an owned table may be gone now */
    return status;
}
