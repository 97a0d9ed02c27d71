/* arrow: the Arrow C data and stream interfaces. arrow_in reads, arrow_join puts batches together, arrow_out gives
 * away. Knows no Python. */
#ifndef KRAIT_LIB_ARROW_H
#define KRAIT_LIB_ARROW_H

#include <krait/arrow.h>

#include "table.h"

/* krait_arrow_import and krait_arrow_import_stream. `trusted`: the producer is a library that checks what it makes
 * (pyarrow, polars), so that offsets, texts and codes are not read through; the structure is checked all the same. */
krait_status krait__arrow_import(struct ArrowSchema *schema, struct ArrowArray *array, bool trusted, krait_table **out,
                                 krait_error **err);
krait_status krait__arrow_import_stream(struct ArrowArrayStream *stream, bool trusted, krait_table **out,
                                        krait_error **err);

/* A table over the array, which moves into it; the schema stays the caller's. Without an array (NULL) the table has the
 * schema's columns and no rows. Names no step. */
krait_status krait__arrow_read(const struct ArrowSchema *schema, struct ArrowArray *array, bool trusted,
                               krait_table **out, krait_error **err);

/* The rows of n tables of the same columns, as arrow_in makes them, one after the other: a new table with memory of its
 * own. */
krait_status krait__arrow_join(krait_table *const *tables, size_t n, krait_table **out, krait_error **err);

/* n bits from bit `first` of `from` (NULL: all ones) to bit `at` of `to`, where they are still 0. Reads no byte that
 * holds none of them. */
void krait__bits_copy(uint8_t *to, int64_t at, const uint8_t *from, int64_t first, int64_t n);

/* Offset i of a TEXT or BYTES column. */
static inline int64_t krait__offset_at(const krait_column *column, int64_t i) {
    return column->offset_bytes == 4 ? ((const int32_t *)column->offsets)[i] : ((const int64_t *)column->offsets)[i];
}

/* The same, written: the offsets are memory of the table's own. */
static inline void krait__set_offset(const krait_column *column, int64_t i, int64_t offset) {
    void *offsets = (void *)(uintptr_t)column->offsets;
    if (column->offset_bytes == 4) ((int32_t *)offsets)[i] = (int32_t)offset;
    else ((int64_t *)offsets)[i] = offset;
}

#endif
