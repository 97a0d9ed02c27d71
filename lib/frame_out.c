/* frame_out: DataFrames, Series, Indexes and Arrow data out of Python, as krait_table.
 *
 * krait._frame_out takes the object apart into parts, one for each column and level of the index; here each part
 * becomes a krait_column over the memory that it has, and a hold keeps that memory. Of a part that lies in lent memory
 * the column is copied, and neither the part nor the object is kept: then the loan can end. A part of a type that krait
 * lacks is a column all the same, one that says so when it is read. */
#include "frame.h"

#include <stdio.h>
#include <string.h>

#include "arrow.h"
#include "column.h"
#include "mem.h"
#include "pyerr.h"
#include "textcol.h"
#include "value.h"

/* As in krait._frame_out: what a split object is, how the values of a part lie, what stands where in its tuple. */
enum { PARTS, STREAM, PAIR };
enum { PLAIN, MASKED, ZONED, OBJECTS, STRINGS, ARROW, CATEGORY, REFUSED };
enum { PART_NAME, PART_HOW, PART_VALUES, PART_EXTRA };
enum { SPLIT_SORT, SPLIT_ROWS, SPLIT_LEVELS, SPLIT_COLUMNS, SPLIT_LOCKED, SPLIT_HIDDEN };
enum { SPLIT_TRUSTED = 1, SPLIT_CAPSULE, SPLIT_ONCE };

/* What is known of some memory. */
typedef struct search {
    const krait__outlet *outlet;
    bool                 lent, alias; /* some of it lies in a loan without KRAIT_ALIAS, with it */
    bool                 hollow;      /* Arrow data without rows, which may keep a loan that cannot be seen */
} search;

/* A table in the making. */
typedef struct framing {
    krait__outlet *outlet;
    krait_table   *table;
    bool           lent; /* a loan is alive: memory has to be looked at */
} framing;

/* Where the next part goes. */
typedef struct place {
    krait_table *table;
    bool         index, locked; /* locked: others see the memory, whatever numpy says of writing to it */
} place;

/* A part's column and what keeps its memory: a Python object, of Arrow's also the imported table, of categories the
 * table of the dictionary. `found` is what was seen before of the memory that these keep. */
typedef struct source {
    krait_column *column;
    PyObject     *object;
    krait_table  *imported;
    search        found;
} source;

static PyObject *item(PyObject *tuple, Py_ssize_t i) {
    return py.PyTuple_GetItem(tuple, i);
}

static int64_t number(PyObject *object) {
    int overflow;
    return py.PyLong_AsLongLongAndOverflow(object, &overflow);
}

/* ---- lent memory ------------------------------------------------------------------------------------------------- */

static void look_at(void *user, const char *lo, const char *hi) {
    search      *found = user;
    krait__loan *loan = krait__loan_under(found->outlet, lo, hi);
    if (!loan) return;
    if (loan->alias) loan->kept = found->alias = true;
    else found->lent = true;
}

/* Of an empty array too: it keeps what it is a view of. */
static void look_at_array(search *found, PyObject *array) {
    const char *lo, *hi;
    if (!krait__is_array(array)) return;
    krait__span(krait__head(array), 1, &lo, &hi);
    look_at(found, lo, hi);
}

/* Memory that begins there. How far it reaches was not told, but none that begins before lent memory reaches into it;
 * that of no rows may begin where nothing is lent. */
static void look_at_start(search *found, const char *start) {
    if (!start) return;
    look_at(found, start, start + 1);
    look_at(found, start, start);
}

/* All buffers of an Arrow array that is about to be imported. */
static void look_at_arrow(search *found, const struct ArrowArray *array) {
    for (int64_t i = 0; array->buffers && i < array->n_buffers; i++) look_at_start(found, array->buffers[i]);
    for (int64_t i = 0; array->children && i < array->n_children; i++)
        if (array->children[i]) look_at_arrow(found, array->children[i]);
    if (array->dictionary) look_at_arrow(found, array->dictionary);
}

/* An array that no column needs, but the object keeps: a mask, an index that only counts the rows. */
static void look_beside(framing *f, PyObject *array) {
    search found = { .outlet = f->outlet };
    if (f->lent) look_at_array(&found, array);
    f->outlet->detached |= found.lent;
}

static krait_status copied(framing *f, krait_table *table, krait_column *column, krait_error **err) {
    uint64_t     bytes = 0;
    krait_status status = krait__column_copy(table, column, &bytes, err);
    KRAIT__COUNT(f->outlet->thread, copies, 1);
    KRAIT__COUNT(f->outlet->thread, copied_bytes, bytes);
    column->flags |= KRAIT_ARRAY_COPIED;
    return status;
}

/* ---- what keeps the memory --------------------------------------------------------------------------------------- */

static void drop(const source *from) {
    if (from->imported) krait__table_release(from->imported);
    if (from->object) py.Py_DecRef(from->object);
}

/* The table keeps the source. In a hold, so that all of it is released where Python may be waited for: pyarrow takes
 * the GIL to free what lies in numpy's memory. */
static krait_status keep(framing *f, krait_table *table, const source *from, size_t bytes, krait_error **err) {
    krait__hold *hold = krait__hold_new(f->outlet->thread, from->object, bytes);
    if (!hold) {
        drop(from);
        return krait__fail_nomem(err);
    }
    hold->extra = from->imported;
    hold->extra_free = krait__table_release;
    if (krait__table_keep(table, krait__hold_release, hold)) return KRAIT_OK;
    krait__hold_release(hold);
    return krait__fail_nomem(err);
}

/* The column is described: it is copied out of lent memory, or its source kept. Takes over the source. */
static krait_status settle(framing *f, krait_table *table, source *from, krait_error **err) {
    krait_status status = KRAIT_OK;
    if (f->lent) {
        krait__column_ranges(from->column, look_at, &from->found);
        look_at_array(&from->found, from->object);
    }
    if (!from->found.lent && !from->found.hollow) {
        if (from->found.alias) from->column->flags |= KRAIT_ARRAY_ALIAS;
        return keep(f, table, from, (size_t)(from->column->rows * krait__column_item(from->column)), err);
    }
    f->outlet->detached |= from->found.lent;
    status = copied(f, table, from->column, err);
    drop(from);
    return status;
}

/* ---- columns that cannot be read --------------------------------------------------------------------------------- */

/* "column 'x' " before the reason. */
static krait_status refuse(const place *at, const char *name, const char *reason, krait_error **err) {
    const char *what = at->index ? "level of the index" : "column";
    bool good = krait__table_refuse(at->table, at->index, "%s '%.*s' %s", what, krait__shown(name), name, reason);
    return good ? KRAIT_OK : krait__fail_nomem(err);
}

/* What went wrong with one part is told when it is read; the others are good. But for want of memory. */
static krait_status refuse_failed(const place *at, const char *name, krait_status status, krait_error **failure,
                                  krait_error **err) {
    char        reason[512];
    const char *message = krait_error_message(*failure), *type = krait_error_python_type(*failure);
    if (status == KRAIT_E_NOMEM || (type && !strcmp(type, "MemoryError"))) status = krait__fail_nomem(err);
    else {
        snprintf(reason, sizeof reason, "cannot be read: %s", message ? message : krait_status_text(status));
        status = refuse(at, name, reason, err);
    }
    krait_error_clear(failure);
    return status;
}

/* ---- numpy arrays ------------------------------------------------------------------------------------------------ */

/* Eight bits, the first row's least, of the rows whose byte has not that bit set. */
static inline unsigned eight_bits(const uint8_t *at, int64_t stride, int bit) {
    const uint16_t one = 1;
    uint64_t       word;
    unsigned       byte = 0;
    if (stride == 1 && *(const uint8_t *)&one) { /* of 8 bytes at once: the product moves bit 8 i to 56 + i */
        memcpy(&word, at, sizeof word);
        return (unsigned)(((~word >> bit & 0x0101010101010101u) * 0x0102040810204080u) >> 56);
    }
    for (int i = 0; i < 8; i++) byte |= (unsigned)!(at[i * stride] >> bit & 1) << i;
    return byte;
}

/* Bits of the rows that have a value: those whose byte has not that bit set. NULL without memory. */
static uint8_t *bits_of(krait_table *table, const uint8_t *at, int64_t stride, int64_t rows, int bit) {
    uint8_t *bits = krait__table_alloc(table, (size_t)(rows + 7) / 8);
    int64_t  row = 0;
    for (; bits && row + 8 <= rows; row += 8, at += 8 * stride) bits[row / 8] = (uint8_t)eight_bits(at, stride, bit);
    if (bits && row < rows) bits[row / 8] = 0;
    for (; bits && row < rows; row++, at += stride) bits[row / 8] |= (uint8_t)(!(*at >> bit & 1) << row % 8);
    return bits;
}

static krait_status mask_of(krait_table *table, krait_column *column, PyObject *mask, krait_error **err) {
    const krait__array_head *head = krait__head(mask);
    column->valid = bits_of(table, (const uint8_t *)head->data, head->strides[0], column->rows, 0);
    return column->valid ? KRAIT_OK : krait__fail_nomem(err);
}

static krait_status zone_of(krait_table *table, krait_column *column, PyObject *zone, krait_error **err) {
    Py_ssize_t  size;
    const char *text = py.PyUnicode_AsUTF8AndSize(zone, &size);
    if (!text) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    column->zone = krait__table_text(table, text, (size_t)size);
    return column->zone ? KRAIT_OK : krait__fail_nomem(err);
}

static krait_status dtype_of(PyObject *array, krait_dtype *dtype, krait_error **err) {
    PyObject            *descr = krait__head(array)->descr;
    struct krait_struct *fields = NULL;
    uint8_t              code = krait__descr_code(descr);
    krait_status         status = KRAIT_OK;
    if (code) *dtype = krait_dtype_make_(code, 0, krait__code_size(code), 0);
    else status = krait__descr_read(descr, dtype, &fields, err);
    krait__struct_free(fields);
    if (!status && dtype->code > KRAIT_TIMEDELTA)
        status = krait__fail(err, KRAIT_E_UNSUPPORTED, "it holds records or fixed text; expected numbers or times");
    return status;
}

/* Describes a one-dimensional array, in *array's place perhaps a copy that is aligned and native. */
static krait_status describe(framing *f, const place *at, krait_column *column, PyObject **array, krait_error **err) {
    enum { GOOD = NPY_ALIGNED };
    krait_status status = dtype_of(*array, &column->dtype, err);
    bool         bad = !status && (!(krait__head(*array)->flags & GOOD) || column->dtype.swapped);
    PyObject    *plain = bad ? krait__array_plain(*array) : NULL;
    if (status) return status;
    if (bad && !plain) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    if (bad) {
        py.Py_DecRef(*array);
        *array = plain;
        column->dtype.swapped = 0;
        column->flags = KRAIT_ARRAY_COPIED;
        KRAIT__COUNT(f->outlet->thread, copies, 1);
        KRAIT__COUNT(f->outlet->thread, copied_bytes, (uint64_t)column->rows * column->dtype.item_size);
    }
    if (krait__head(*array)->flags & NPY_WRITABLE && (bad || !at->locked)) column->flags |= KRAIT_ARRAY_WRITABLE;
    column->kind = KRAIT_COLUMN_ARRAY;
    column->data = krait__head(*array)->data;
    column->stride = krait__head(*array)->strides[0];
    return KRAIT_OK;
}

/* An array of another number of rows would be read beyond its end. */
static krait_status check_rows(const krait_column *column, PyObject *array, krait_error **err) {
    const krait__array_head *head = krait__is_array(array) ? krait__head(array) : NULL;
    if (head && head->ndim == 1 && head->shape[0] == column->rows) return KRAIT_OK;
    return krait__fail(err, KRAIT_E_SHAPE, "its values are no array of one dimension and %lld rows",
                       (long long)column->rows);
}

static krait_status array_part(framing *f, const place *at, krait_column *column, int how, PyObject *part,
                               krait_error **err) {
    source       from = { .column = column, .object = item(part, PART_VALUES), .found.outlet = f->outlet };
    krait_error *failure = NULL;
    krait_status status = check_rows(column, from.object, &failure);
    if (!status && how == MASKED) status = check_rows(column, item(part, PART_EXTRA), &failure);
    py.Py_IncRef(from.object);
    if (!status) status = describe(f, at, column, &from.object, &failure);
    if (!status && how == MASKED) status = mask_of(at->table, column, item(part, PART_EXTRA), &failure);
    if (!status && how == MASKED) look_beside(f, item(part, PART_EXTRA));
    if (!status && how == ZONED) status = zone_of(at->table, column, item(part, PART_EXTRA), &failure);
    if (!status) return settle(f, at->table, &from, err);
    drop(&from);
    return refuse_failed(at, column->name, status, &failure, err);
}

/* Objects, or texts of StringDType: a class of somebody else's may say so of any array. */
static krait_status texts_part(framing *f, const place *at, krait_column *column, PyObject *values, krait_error **err) {
    krait_error *failure = NULL;
    krait_status status = check_rows(column, values, &failure);
    if (status) return refuse_failed(at, column->name, status, &failure, err);
    switch (krait__descr_kind(krait__head(values)->descr)) {
    case 'O': return krait__objects_out(f->outlet, at->table, at->index, values, err);
    case 'T': return krait__strings_out(f->outlet, at->table, at->index, values, err);
    case 0: return krait__pyerr_take(KRAIT_E_PYTHON, err);
    default: return refuse(at, column->name, "cannot be read: its values are not of its dtype", err);
    }
}

/* ---- Arrow ------------------------------------------------------------------------------------------------------- */

/* Without rows nothing need be kept. */
static krait_status imported(const framing *f, source *from, krait_status status) {
    from->found.hollow = !status && f->lent && !from->found.alias && from->imported->rows == 0;
    return status;
}

static krait_status import_pair(framing *f, PyObject *schema, PyObject *array, bool trusted, source *from,
                                krait_error **err) {
    struct ArrowSchema *its_schema = py.PyCapsule_GetPointer(schema, "arrow_schema");
    struct ArrowArray  *its_array = its_schema ? py.PyCapsule_GetPointer(array, "arrow_array") : NULL;
    if (!its_array) return krait__pyerr_take(KRAIT_E_ARGUMENT, err);
    if (f->lent && its_array->release) look_at_arrow(&from->found, its_array);
    return imported(f, from, krait__arrow_import(its_schema, its_array, trusted, &from->imported, err));
}

/* A stream whose batches are looked at as they pass: the import may copy them, while the object that they come from
 * still keeps lent memory. */
typedef struct passing {
    struct ArrowArrayStream *stream;
    search                  *found;
} passing;

static int passing_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
    struct ArrowArrayStream *stream = ((passing *)self->private_data)->stream;
    return stream->get_schema(stream, out);
}

static int passing_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
    passing *through = self->private_data;
    int      failure = through->stream->get_next(through->stream, out);
    if (!failure && out->release) look_at_arrow(through->found, out);
    return failure;
}

static const char *passing_error(struct ArrowArrayStream *self) {
    struct ArrowArrayStream *stream = ((passing *)self->private_data)->stream;
    return stream->get_last_error ? stream->get_last_error(stream) : NULL;
}

static void passing_release(struct ArrowArrayStream *self) {
    struct ArrowArrayStream *stream = ((passing *)self->private_data)->stream;
    stream->release(stream);
    stream->release = NULL;
    self->release = NULL;
}

/* What has no rows may come without a batch, and keep lent memory all the same. */
static krait_status look_at_empty(search *found, PyObject *arrow, krait_error **err) {
    PyObject *kept = krait__frame_out_ask("kept_by", arrow);
    if (!kept) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    for (Py_ssize_t i = 0; i < py.PyTuple_Size(kept); i++)
        look_at_start(found, (const char *)(uintptr_t)number(item(kept, i)));
    py.Py_DecRef(kept);
    return KRAIT_OK;
}

/* `arrow` is what the stream comes from. */
static krait_status import_stream(framing *f, PyObject *capsule, PyObject *arrow, bool trusted, source *from,
                                  krait_error **err) {
    struct ArrowArrayStream *stream = py.PyCapsule_GetPointer(capsule, "arrow_array_stream");
    passing                  through = { stream, &from->found };
    struct ArrowArrayStream  watched = { passing_schema, passing_next, passing_error, passing_release, &through };
    bool                     watch = f->lent && stream && stream->release && stream->get_schema && stream->get_next;
    krait_status             status;
    if (!stream) return krait__pyerr_take(KRAIT_E_ARGUMENT, err);
    status = krait__arrow_import_stream(watch ? &watched : stream, trusted, &from->imported, err);
    if (status || !watch || from->imported->rows) return status;
    status = look_at_empty(&from->found, arrow, err);
    if (status) krait__table_release(from->imported);
    return imported(f, from, status);
}

/* Takes column i of an imported table into *column, but for its name. */
static void move_column(krait_column *column, const krait_column *from) {
    const char *name = column->name;
    *column = *from;
    column->name = name;
}

static krait_status arrow_part(framing *f, const place *at, krait_column *column, PyObject *part, krait_error **err) {
    source       from = { .column = column, .object = item(part, PART_VALUES), .found.outlet = f->outlet };
    krait_error *failure = NULL;
    krait_status status = import_stream(f, from.object, item(part, PART_EXTRA), true, &from, &failure);
    const char  *refusal;
    if (status) return refuse_failed(at, column->name, status, &failure, err);
    py.Py_IncRef(from.object);
    refusal = from.imported->columns.items[0].refusal;
    if (!refusal && from.imported->rows == column->rows) {
        move_column(column, &from.imported->columns.items[0].column);
        return settle(f, at->table, &from, err);
    }
    if (!refusal) status = refuse(at, column->name, "comes with other rows than its frame", err);
    else if (!krait__table_refuse(at->table, at->index, "%s", refusal)) status = krait__fail_nomem(err);
    drop(&from);
    return status;
}

/* ---- categories -------------------------------------------------------------------------------------------------- */

static krait_status fill_part(framing *f, const place *at, PyObject *part, krait_error **err);

/* A code below 0 stands for a missing value: bits are made only where there is one. */
static krait_status codes_missing(krait_table *table, krait_column *column, krait_error **err) {
    const uint16_t one = 1;
    bool           little = *(const uint8_t *)&one == 1;
    const uint8_t *sign = (const uint8_t *)column->data + (little ? column->dtype.item_size - 1 : 0), *next = sign;
    unsigned       signs = 0;
    for (int64_t row = 0; row < column->rows; row++, next += column->stride) signs |= *next;
    if (!(signs & 0x80)) return KRAIT_OK;
    column->valid = bits_of(table, sign, column->stride, column->rows, 7);
    return column->valid ? KRAIT_OK : krait__fail_nomem(err);
}

/* The dictionary is the only column of a table of its own, which stays where it is. */
static krait_status dictionary_of(framing *f, PyObject *extra, krait_table **out, krait_error **err) {
    place        at = { .table = krait__table_new(number(item(extra, 1))), .locked = true };
    krait_status status;
    if (!at.table) return krait__fail_nomem(err);
    status = fill_part(f, &at, item(extra, 2), err);
    if (status) krait__table_release(at.table);
    else *out = at.table;
    return status;
}

static krait_status category_part(framing *f, const place *at, krait_column *column, PyObject *part,
                                  krait_error **err) {
    source       from = { .column = column, .object = item(part, PART_VALUES), .found.outlet = f->outlet };
    PyObject    *extra = item(part, PART_EXTRA);
    krait_status status = dictionary_of(f, extra, &from.imported, err);
    krait__part *dictionary;
    if (status) return status;
    py.Py_IncRef(from.object);
    dictionary = &from.imported->columns.items[0];
    if (dictionary->refusal) {
        char reason[512];
        snprintf(reason, sizeof reason, "is of categories that cannot be read: %s", dictionary->refusal);
        status = refuse(at, column->name, reason, err);
        drop(&from);
        return status;
    }
    status = check_rows(column, from.object, err);
    if (!status) status = describe(f, at, column, &from.object, err);
    if (!status && (column->dtype.code < KRAIT_I8 || column->dtype.code > KRAIT_I64))
        status = krait__fail(err, KRAIT_E_UNSUPPORTED, "its codes are no signed integers");
    column->kind = KRAIT_COLUMN_CATEGORY;
    column->ordered = number(item(extra, 0)) != 0;
    column->dictionary = &dictionary->column;
    dictionary->column.name = ""; /* it had the column's, for messages */
    if (!status) status = codes_missing(at->table, column, err);
    if (!status) return settle(f, at->table, &from, err);
    drop(&from);
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static krait_status fill_column(framing *f, const place *at, krait_column *column, PyObject *part, krait_error **err) {
    PyObject *values = item(part, PART_VALUES);
    int       how = (int)number(item(part, PART_HOW));
    switch (how) {
    case OBJECTS:
    case STRINGS: return texts_part(f, at, column, values, err);
    case ARROW: return arrow_part(f, at, column, part, err);
    case CATEGORY: return category_part(f, at, column, part, err);
    case REFUSED: {
        const char *reason = py.PyUnicode_AsUTF8AndSize(values, NULL);
        return reason ? refuse(at, column->name, reason, err) : krait__pyerr_take(KRAIT_E_ENCODING, err);
    }
    default: return array_part(f, at, column, how, part, err);
    }
}

static krait_status fill_part(framing *f, const place *at, PyObject *part, krait_error **err) {
    Py_ssize_t    size;
    const char   *name = py.PyUnicode_AsUTF8AndSize(item(part, PART_NAME), &size);
    krait_column *column;
    if (!name) return krait__pyerr_take(KRAIT_E_ENCODING, err);
    if (strlen(name) != (size_t)size)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "the name of column '%s' goes on after a NUL character", name);
    column = krait__table_push(at->table, at->index, name, (size_t)size);
    return column ? fill_column(f, at, column, part, err) : krait__fail_nomem(err);
}

static krait_status fill_parts(framing *f, const place *at, PyObject *parts, krait_error **err) {
    krait_status status = KRAIT_OK;
    for (Py_ssize_t i = 0; i < py.PyTuple_Size(parts) && !status; i++) {
        status = fill_part(f, at, item(parts, i), err);
        krait__at(err, "convert result, %s %zd", at->index ? "level of the index" : "column", i);
    }
    return status;
}

static krait_status parts_out(framing *f, PyObject *split, krait_error **err) {
    PyObject    *hidden = item(split, SPLIT_HIDDEN);
    bool         locked = number(item(split, SPLIT_LOCKED)) != 0;
    place        at = { .index = true, .locked = true };
    krait_status status = krait__numpy_load(err);
    if (status) return status;
    f->table = krait__table_new(number(item(split, SPLIT_ROWS)));
    if (!f->table) return krait__fail_nomem(err);
    at.table = f->table;
    status = fill_parts(f, &at, item(split, SPLIT_LEVELS), err);
    at.index = false;
    at.locked = locked;
    if (!status) status = fill_parts(f, &at, item(split, SPLIT_COLUMNS), err);
    for (Py_ssize_t i = 0; i < py.PyTuple_Size(hidden); i++) look_beside(f, item(hidden, i));
    return status;
}

/* ---- Arrow data of its own --------------------------------------------------------------------------------------- */

static krait_status take_column(framing *f, const krait__part *part, const search *found, bool kept,
                                krait_error **err) {
    const char   *name = part->column.name;
    krait_column *column = krait__table_push(f->table, false, name, strlen(name));
    if (!column) return krait__fail_nomem(err);
    if (part->refusal)
        return krait__table_refuse(f->table, false, "%s", part->refusal) ? KRAIT_OK : krait__fail_nomem(err);
    move_column(column, &part->column);
    if (!kept) return copied(f, f->table, column, err);
    if (found->alias) column->flags |= KRAIT_ARRAY_ALIAS;
    return KRAIT_OK;
}

/* What keeps one column alive keeps all: if any is lent, all are copied. */
static krait_status imported_out(framing *f, source *from, krait_error **err) {
    const krait__parts *columns = &from->imported->columns;
    bool                kept = !from->found.lent && !from->found.hollow;
    krait_status        status = KRAIT_OK;
    f->table = krait__table_new(from->imported->rows);
    if (!f->table) status = krait__fail_nomem(err);
    for (size_t i = 0; !status && i < columns->count; i++)
        status = take_column(f, &columns->items[i], &from->found, kept, err);
    f->outlet->detached |= from->found.lent;
    if (!status && kept) return keep(f, f->table, from, 0, err);
    drop(from);
    return status;
}

/* The step is that of the call; which step of the import failed goes into the message. */
static krait_status import_failed(krait_error *failure, krait_status status, krait_error **err) {
    const char *step = krait_error_step(failure);
    if (krait_error_python_type(failure) && err && !*err) {
        *err = failure;
        return status;
    }
    if (status == KRAIT_E_NOMEM) krait__fail_nomem(err);
    else krait__fail(err, status, "%s: %s", step ? step : "Arrow", krait_error_message(failure));
    krait_error_clear(&failure);
    return status;
}

/* It keeps the object, not the capsules: those of polars let go of memory only when an object of its own goes last. */
static krait_status arrow_out(framing *f, PyObject *split, PyObject *object, krait_error **err) {
    source       from = { .object = object, .found.outlet = f->outlet };
    PyObject    *capsule = item(split, SPLIT_CAPSULE);
    krait_error *failure = NULL;
    bool         trusted = number(item(split, SPLIT_TRUSTED)) != 0;
    bool         stream = number(item(split, SPLIT_SORT)) == STREAM;
    krait_status status = stream ? import_stream(f, capsule, object, trusted, &from, &failure)
                                 : import_pair(f, capsule, item(split, SPLIT_CAPSULE + 1), trusted, &from, &failure);
    if (status) return import_failed(failure, status, err);
    if (stream) f->outlet->detached = number(item(split, SPLIT_ONCE)) != 0; /* nothing of it is left to be passed on */
    py.Py_IncRef(from.object);
    return imported_out(f, &from, err);
}

/* ---- the value --------------------------------------------------------------------------------------------------- */

/* The table is full: it becomes the value, and keeps the object to be passed on as itself. */
static krait_status finish(framing *f, PyObject *object, krait_value *out, krait_error **err) {
    if (!f->outlet->detached) {
        f->table->object = krait__hold_new(f->outlet->thread, object, 0);
        if (!f->table->object) return krait__fail_nomem(err);
        f->table->object_release = krait__hold_release;
        py.Py_IncRef(object);
    }
    out->kind = KRAIT_KIND_TABLE;
    out->flags = KRAIT_VALUE_PYTHON_;
    out->release = krait__table_release;
    out->owner = f->table;
    out->as.table = f->table;
    return KRAIT_OK;
}

/* Ends both ways out; takes over the reference. What was copied of other results is no matter of this one. */
static krait_status table_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err,
                              krait_status (*fill)(framing *f, PyObject *object, krait_error **err)) {
    framing      f = { .outlet = outlet, .lent = krait__any_loan(outlet) };
    bool         outer = outlet->detached;
    krait_status status;
    outlet->detached = false;
    status = fill(&f, object, err);
    if (!status) status = finish(&f, object, out, err);
    if (status && f.table) krait__table_release(f.table);
    outlet->detached |= outer;
    py.Py_DecRef(object);
    return status;
}

static krait_status fill_frame(framing *f, PyObject *object, krait_error **err) {
    PyObject    *split = krait__frame_out_ask("split", object);
    krait_status status;
    if (!split) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    status = number(item(split, SPLIT_SORT)) == PARTS ? parts_out(f, split, err) : arrow_out(f, split, object, err);
    py.Py_DecRef(split);
    return status;
}

krait_status krait__frame_out(krait__outlet *outlet, PyObject *object, krait_value *out, krait_error **err) {
    return table_out(outlet, object, out, err, fill_frame);
}

static krait_status fill_array(framing *f, PyObject *array, krait_error **err) {
    char kind = krait__descr_kind(krait__head(array)->descr);
    if (!kind) return krait__pyerr_take(KRAIT_E_PYTHON, err);
    f->table = krait__table_new(krait__head(array)->shape[0]);
    if (!f->table || !krait__table_push(f->table, false, "", 0)) return krait__fail_nomem(err);
    return kind == 'T' ? krait__strings_out(f->outlet, f->table, false, array, err)
                       : krait__objects_out(f->outlet, f->table, false, array, err);
}

krait_status krait__frame_of_array(krait__outlet *outlet, PyObject *array, krait_value *out, krait_error **err) {
    return table_out(outlet, array, out, err, fill_array);
}
