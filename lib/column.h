/* column: one krait_column in plain C: what is wrong with it, what memory it spans, a copy of it, a view of it. Knows
 * no Python. table builds on it. */
#ifndef KRAIT_LIB_COLUMN_H
#define KRAIT_LIB_COLUMN_H

#include <stdbool.h>

#include <krait/table.h>

/* Bytes of one row in `data`: of an element, a code, a decimal, a date; 0 of TEXT and BYTES. */
int64_t krait__column_item(const krait_column *column);

static inline bool krait__column_is_text(const krait_column *column) {
    return column->kind == KRAIT_COLUMN_TEXT || column->kind == KRAIT_COLUMN_BYTES;
}

/* "float64", "text", "category of 3 values": what the column is, for messages; like snprintf. */
size_t krait__column_type(const krait_column *column, char *buffer, size_t size);

enum { KRAIT__NAME_SHOWN = 100 }; /* bytes of a name in a message */

/* Bytes of a name to show in a message: all, or as many whole UTF-8 characters as fit. */
int krait__shown(const char *name);

/* How many of the first bytes are UTF-8, as strict as Python: no overlong forms, no surrogates, nothing above U+10FFFF.
 * All `size` when the text is good. */
size_t krait__utf8_span(const char *text, size_t size);

/* UTF-8 of a code point: its bytes, written where `to` (4 bytes of room) is not NULL; 0 for what is none. */
size_t krait__utf8_encode(uint32_t point, char *to);

/* A name: there, and UTF-8. */
krait_status krait__name_check(const char *name, krait_error **err);

/* What is wrong with a column: all that can be checked, offsets, texts and codes too; names the column, and the row.
 * What lies in rows without a value is not looked at, but for their offsets. `trusted`: made by Python, numpy or Arrow
 * buffers that were checked before, so that only cheap things are looked at. Nothing that a message could be made of is
 * allocated when the column is good. */
krait_status krait__column_check(const krait_column *column, bool trusted, krait_error **err);

/* Only that its texts are UTF-8: of a text column whose offsets krait itself made. */
krait_status krait__column_check_texts(const krait_column *column, krait_error **err);

/* Makes the column's zone and the description of its dictionary (not what that points to) the table's own; its name is
 * so from the push. Sets what its kind does not use to zero, and offsets and data that need not be there for want of
 * rows to empty ones. False without memory. */
bool krait__column_own(krait_table *table, krait_column *column);

/* Replaces what the column points to, but its name, by copies in the table's memory, contiguous, aligned and native;
 * adds the bytes copied to *bytes (NULL is fine). The dictionary too. The column was checked. */
krait_status krait__column_copy(krait_table *table, krait_column *column, uint64_t *bytes, krait_error **err);

/* Turns a column whose dtype is KRAIT_FIXED_BYTES or KRAIT_FIXED_TEXT (data, stride, rows and valid are set) into one
 * of `kind`, TEXT or BYTES, in the table's memory, without the padding; rows without a value become empty.
 * KRAIT_E_ENCODING names the row of what is no code point; bytes are not checked. */
krait_status krait__column_of_fixed(krait_table *table, krait_column *column, uint8_t kind, krait_error **err);

/* All memory that a column points to lies in these ranges: calls fn(user, lo, hi) for each buffer (data, offsets,
 * valid, those of the dictionary). Without rows they are empty, but begin where the buffer does: so do views of it. */
typedef void krait__range_fn(void *user, const char *lo, const char *hi);
void         krait__column_ranges(const krait_column *column, krait__range_fn *fn, void *user);

#endif
