/* table: krait_table in plain C: building, checking, reading, copying. Knows no Python.
 *
 * A table owns its description (names, copied strings, bits made of bools) in blocks that are freed with it, and keeps
 * things alive that are released with it. It is shared by count, since an exported Arrow array outlives the value. */
#ifndef KRAIT_LIB_TABLE_H
#define KRAIT_LIB_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "column.h"

enum {
    KRAIT__COLUMNS_MAX = 1000000 /* of a table built by hand, and as many levels of its index */
};

/* One column, or one level of the index. */
typedef struct krait__part {
    krait_column column;  /* its name, zone and dictionary belong to the table */
    const char  *refusal; /* why it cannot be read (the whole message); NULL: it can */
} krait__part;

typedef struct krait__parts {
    krait__part *items;
    size_t       count, room;
} krait__parts;

typedef struct krait__keep {
    void (*release)(void *owner);
    void *owner;
} krait__keep;

struct krait_table {
    _Atomic uint32_t refs;
    int64_t          rows; /* -1: no column has told yet; krait_table_rows says 0 then */
    krait__parts     columns, index;
    void           **blocks; /* memory of krait__table_alloc */
    size_t           block_count, block_room;
    krait__keep     *keeps;
    size_t           keep_count, keep_room;
    void            *object; /* krait__hold of the Python object that this table is, released with it; NULL: none */
    void (*object_release)(void *object);
};

krait_table *krait__table_new(int64_t rows); /* one reference; NULL without memory */
krait_table *krait__table_ref(const krait_table *table);
void         krait__table_release(void *table); /* one reference less: the release function of table values */

/* Memory of the table's own, aligned to 64 bytes; NULL without. */
void *krait__table_alloc(krait_table *table, size_t bytes);
char *krait__table_text(krait_table *table, const char *text, size_t size); /* a copy with a NUL */

/* From now on released with the table. False without memory: then nothing was taken over. */
bool krait__table_keep(krait_table *table, void (*release)(void *owner), void *owner);

/* A new column (or level of the index) named name[0..size), zeroed but for its name and the table's rows; NULL without
 * memory. The pointer is good until the next push. */
krait_column *krait__table_push(krait_table *table, bool index, const char *name, size_t size);

/* The last column pushed (or level) cannot be read, and this is the message. False without memory. */
bool krait__table_refuse(krait_table *table, bool index, const char *format, ...) KRAIT_PRINTF(3, 4);

/* What a value of kind TABLE may lack: a table. One without columns is fine, it has no rows. */
krait_status krait__table_check(const krait_value *value, krait_error **err);

/* Does [lo, hi) touch memory of a column? An empty range that lies within or at the end of one does too. */
bool krait__table_touches(const krait_table *table, const char *lo, const char *hi);

/* The same, begun at column *near, where one was found the last time. */
bool krait__table_touches_near(const krait_table *table, const char *lo, const char *hi, size_t *near);

/* The least range that all columns with rows lie in; both NULL when there is no memory at all. */
void krait__table_hull(const krait_table *table, const char **lo, const char **hi);

/* A deep copy that outlives Python and the caller's memory. */
krait_status krait__table_copy(const krait_table *table, krait_table **out, krait_error **err);

/* For value: what krait_get_array and krait_get_column do with a table; shape and strides lie in the table. */
krait_status krait__table_single(const krait_table *table, int code, krait_array *out, krait_error **err);
krait_status krait__table_named(const krait_table *table, const char *name, int code, krait_array *out,
                                krait_error **err);

/* "table of 3 columns, 10 rows" */
size_t krait__table_describe(const krait_table *table, char *buffer, size_t size);

#endif
