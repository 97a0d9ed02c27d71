/* Tables: named columns of equal length, as pandas and Arrow have them.
 *
 * A table that the caller builds borrows its columns; they must live as long as it is used. Handed to a call
 * (krait_table_value) it becomes a pandas DataFrame over the same memory. A result DataFrame, Series or Index, a
 * pyarrow Table, RecordBatch or Array, a polars frame, or anything else with __arrow_c_stream__ becomes a table that
 * owns what it points to; numeric columns are not copied. docs/types.md tells row by row what is copied where. */
#ifndef KRAIT_TABLE_H
#define KRAIT_TABLE_H

#include <krait/value.h>

KRAIT_BEGIN

typedef struct krait_table krait_table;

/* Kinds of column. */
enum {
    KRAIT_COLUMN_ARRAY = 1,    /* bool, numbers, times: elements of `dtype` */
    KRAIT_COLUMN_TEXT = 2,     /* UTF-8 of any length: `offsets` into `data` */
    KRAIT_COLUMN_BYTES = 3,    /* bytes of any length, likewise */
    KRAIT_COLUMN_CATEGORY = 4, /* codes (signed integers of `dtype`) that count rows of `dictionary` */
    KRAIT_COLUMN_DECIMAL = 5,  /* integers of 128 bits in this machine's byte order, times 10 to the power -scale */
    KRAIT_COLUMN_DATE = 6      /* int32 days since 1970-01-01 */
};

/* One column as it lies in memory. Start with KRAIT_COLUMN_INIT where one is filled by hand. */
typedef struct krait_column {
    const char    *name;       /* UTF-8; "" for none; NULL is refused but of a dictionary */
    uint8_t        kind;       /* KRAIT_COLUMN_... */
    uint8_t        ordered;    /* CATEGORY: 1 when the order of the dictionary has a meaning */
    uint8_t        precision;  /* DECIMAL: digits, 1 to 38 */
    int8_t         scale;      /* DECIMAL: digits behind the point */
    uint32_t       flags;      /* KRAIT_ARRAY_WRITABLE, _COPIED, _ALIAS */
    int64_t        rows;
    krait_dtype    dtype;      /* ARRAY, CATEGORY: of `data`; the others need none */
    const void    *data;       /* elements, codes, or the bytes of all texts */
    int64_t        stride;     /* bytes from one row to the next (not TEXT, BYTES); may be negative or 0 */
    const void    *offsets;    /* TEXT, BYTES: rows + 1, aligned; row i is the bytes from offset i to offset i + 1 */
    int64_t        data_bytes; /* TEXT, BYTES: size of `data` */
    const uint8_t *valid;      /* bit valid_offset + row, least first, is 1 where the row has a value; NULL: all have */
    int64_t        valid_offset;
    const char    *zone;       /* of a KRAIT_DATETIME that is UTC shown in a time zone; else NULL */
    const struct krait_column *dictionary; /* CATEGORY */
    int32_t        offset_bytes; /* TEXT, BYTES: 4 or 8, of one offset (int32_t, int64_t) */
    uint32_t       reserved0;
    uint64_t       reserved[2];
} krait_column;

#define KRAIT_COLUMN_INIT \
    { NULL, 0, 0, 0, 0, 0, 0, { 0, 0, 0, 0, 0, { 0 } }, NULL, 0, NULL, 0, NULL, 0, NULL, NULL, 0, 0, { 0, 0 } }

/* Has the row a value? */
static inline bool krait_column_has(const krait_column *column, int64_t row) {
    int64_t bit = column->valid_offset + row;
    return !column->valid || (column->valid[bit / 8] >> (bit % 8) & 1);
}

/* Bytes of a row of a TEXT or BYTES column, not ended by a NUL; NULL and 0 for a missing one. */
static inline const char *krait_column_text(const krait_column *column, int64_t row, size_t *size) {
    int64_t from, to;
    *size = 0;
    if (!krait_column_has(column, row)) return NULL;
    if (column->offset_bytes == 4) {
        from = ((const int32_t *)column->offsets)[row];
        to = ((const int32_t *)column->offsets)[row + 1];
    } else {
        from = ((const int64_t *)column->offsets)[row];
        to = ((const int64_t *)column->offsets)[row + 1];
    }
    *size = (size_t)(to - from);
    return (const char *)column->data + from;
}

/* Code of a row of a CATEGORY column in this machine's byte order, as results are, whatever its size; -1 for a missing
 * one. Row `code` of the dictionary is what it stands for. */
static inline int64_t krait_column_code(const krait_column *column, int64_t row) {
    const char *at = (const char *)column->data + row * column->stride;
    int8_t      i8;
    int16_t     i16;
    int32_t     i32;
    int64_t     i64;
    if (!krait_column_has(column, row)) return -1;
    switch (column->dtype.item_size) {
    case 1: memcpy(&i8, at, sizeof i8); return i8;
    case 2: memcpy(&i16, at, sizeof i16); return i16;
    case 4: memcpy(&i32, at, sizeof i32); return i32;
    default: memcpy(&i64, at, sizeof i64); return i64;
    }
}

/* ---- building ---------------------------------------------------------------------------------------------------- */

/* An empty table.  Ownership: the caller's; krait_table_free.  Threads: any; one at a time while it is built.
 * GIL: not needed.  Errors: KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_table *krait_table_new(krait_error **err);

/* Frees the table, not the borrowed columns. What krait_arrow_export gave away stays good.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API void krait_table_free(krait_table *table);

/* Adds an array of one dimension as a column: of any dtype, strided or not, but records. Fixed text and bytes become a
 * text and a bytes column and are copied. `valid` says which rows have a value, NULL all: an array of bool, one for
 * each row, which is copied into bits, or of uint8 with the bits as krait_column has them.
 * Ownership: values and bits are borrowed; those given with krait_owned are released with the table, or at once where
 * they are copied or refused; name is copied.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (no name, no array), KRAIT_E_SHAPE (other dimensions; other rows than the columns before;
 *         `valid` too short), KRAIT_E_ENCODING (a name; fixed text, names the row), KRAIT_E_UNSUPPORTED (over 1,000,000
 *         columns), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_table_add(krait_table *table, const char *name, krait_value values,
                                       const krait_value *valid, krait_error **err);

/* Adds `rows` C strings in UTF-8 as a text column; NULL is a missing one. They are copied.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT, KRAIT_E_SHAPE, KRAIT_E_ENCODING (names the row), KRAIT_E_UNSUPPORTED, KRAIT_E_NOMEM.
 * Since: 0.1 */
KRAIT_API krait_status krait_table_add_strings(krait_table *table, const char *name, const char *const *strings,
                                               size_t rows, krait_error **err);

/* Adds an array of C structs (krait_structs), each field as a column: strided over the structs, without a copy; fields
 * of characters become text. Fields that are structs or arrays are refused.
 * Ownership: the structs are borrowed.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT, KRAIT_E_SHAPE, KRAIT_E_UNSUPPORTED (names the field), KRAIT_E_ENCODING (text that is no
 *         UTF-8; names field and row), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_table_add_structs(krait_table *table, krait_value structs, krait_error **err);

/* Adds any column, or a level of the index, which comes first in the frame's rows: by hand, or as read from another
 * table. All that it points to is borrowed, but names, zones and the description of the dictionary, which are copied.
 * Text is checked to be UTF-8, offsets to run forward and within the data, codes to be in the dictionary.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (names the field), KRAIT_E_SHAPE, KRAIT_E_ENCODING, KRAIT_E_RANGE (offsets, codes; names the
 *         row), KRAIT_E_UNSUPPORTED, KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_table_add_column(krait_table *table, const krait_column *column, krait_error **err);
KRAIT_API krait_status krait_table_add_index(krait_table *table, const krait_column *column, krait_error **err);

/* The table as a value, for a call; columns whose names stand twice are fine. Lent like an array: read-only without
 * KRAIT_WRITABLE, a result may not keep it, KRAIT_COPY and KRAIT_ALIAS mean the same. To hand it over with what it
 * borrows: krait_owned(krait_table_value(t), release, user), where release calls krait_table_free. */
static inline krait_value krait_table_value(const krait_table *table) {
    krait_value value = krait_make_(KRAIT_KIND_TABLE);
    value.as.table = table;
    return value;
}

/* Release function of krait_table_owned. */
static inline void krait_table_free_(void *table) {
    krait_table_free((krait_table *)table);
}
/* The same, the table handed over with the call: freed when Python no longer needs it. What the table borrows must live
 * until then: use it for tables that own what they hold (krait_table_add_strings, krait_arrow_import, values given with
 * krait_owned). */
static inline krait_value krait_table_owned(krait_table *table) {
    return krait_owned(krait_table_value(table), krait_table_free_, table);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The table of a value.  Ownership: borrowed from the value.  Threads: any.  GIL: not needed.  Errors: KRAIT_E_KIND.
 * Since: 0.1 */
KRAIT_API krait_status krait_get_table(const krait_value *value, const krait_table **table, krait_error **err);

/* Rows, columns, levels of the index (0 when it has no name and counts the rows from 0); 0 for NULL.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API int64_t krait_table_rows(const krait_table *table);
KRAIT_API size_t krait_table_column_count(const krait_table *table);
KRAIT_API size_t krait_table_index_count(const krait_table *table);

/* One column by position, by name, one level of the index by position. A column that krait has no type for is there
 * all the same: reading it fails and says why.
 * Ownership: *column is filled; what it points to is borrowed from the table.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_NOT_FOUND (names what there is), KRAIT_E_AMBIGUOUS (the name stands twice), KRAIT_E_UNSUPPORTED
 *         (names column, row and type).  Since: 0.1 */
KRAIT_API krait_status krait_table_column(const krait_table *table, size_t i, krait_column *column, krait_error **err);
KRAIT_API krait_status krait_table_find(const krait_table *table, const char *name, krait_column *column,
                                        krait_error **err);
KRAIT_API krait_status krait_table_index(const krait_table *table, size_t i, krait_column *column, krait_error **err);

/* Name of column i, also of one that cannot be read; "" past the end.
 * Ownership: borrowed from the table.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_table_column_name(const krait_table *table, size_t i);

/* A column of kind ARRAY as an array of dtype `code` (KRAIT_ANY: any). One that has validity is taken with
 * `missing_too` only, whether a row is missing or not: krait_column_has tells of each. pandas' nullable dtypes have it.
 * Ownership: borrowed from `column` at its present address.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND (another kind or dtype; validity, unless `missing_too`).  Since: 0.1 */
KRAIT_API krait_status krait_column_array(const krait_column *column, int code, bool missing_too, krait_array *out,
                                          krait_error **err);

KRAIT_END
#endif
