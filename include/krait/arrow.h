/* Exchange with other libraries in the process: the Arrow C data and stream interfaces, and DLPack. */
#ifndef KRAIT_ARROW_H
#define KRAIT_ARROW_H

#include <krait/table.h>

KRAIT_BEGIN

/* The structs of the Arrow specification, layout and guards as it gives them (Apache Arrow, "The Arrow C data
 * interface" and "The Arrow C stream interface"). */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char          *format;
    const char          *name;
    const char          *metadata;
    int64_t              flags;
    int64_t              n_children;
    struct ArrowSchema **children;
    struct ArrowSchema  *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t             length;
    int64_t             null_count;
    int64_t             offset;
    int64_t             n_buffers;
    int64_t             n_children;
    const void        **buffers;
    struct ArrowArray **children;
    struct ArrowArray  *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif

/* A table from an Arrow struct array (a record batch), or a table of one column from any other array. Columns are
 * taken as they lie: not copied, but bools (bits become bytes), views, unsigned codes, what is misaligned, and the bits
 * of rows that are missing as a whole. Levels of the index that pandas noted in the schema's metadata stay columns. On
 * success both structs are moved: their release is NULL, and the table releases what was in them once; on failure they
 * are left as they were.
 * Ownership: *out is the caller's; krait_table_free.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_ARGUMENT (malformed, already released, buffers missing, offsets or codes out of range, ...; names the
 *         column), KRAIT_E_ENCODING, KRAIT_E_NOMEM. A type krait does not have is told when that column is read.
 * Since: 0.1 */
KRAIT_API krait_status krait_arrow_import(struct ArrowSchema *schema, struct ArrowArray *array, krait_table **out,
                                          krait_error **err);

/* The table as an Arrow struct array, levels of the index last, named as pyarrow does. Shares all memory but bools,
 * strided, byte-swapped and misaligned columns, validity that does not begin at a byte, and times in units that Arrow
 * lacks, which are copied; NaT becomes missing. The caller releases both; what the table borrows must live until then,
 * the table itself need not.
 * Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_AMBIGUOUS (a name that stands twice), KRAIT_E_UNSUPPORTED (a column that Arrow has no type for, or
 *         that cannot be read; names it), KRAIT_E_RANGE, KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_arrow_export(const krait_table *table, struct ArrowSchema *schema,
                                          struct ArrowArray *array, krait_error **err);

/* All batches of a stream as one table: not copied when there is one, else put together, one copy. On success the
 * stream is moved, on failure it is left to the caller, some of its batches taken.
 * Threads: any that the stream allows.  GIL: not needed, unless the stream needs it.
 * Errors: those of krait_arrow_import; KRAIT_E_RANGE (too many rows); KRAIT_E_SYSTEM with the stream's own message.
 * Since: 0.1 */
KRAIT_API krait_status krait_arrow_import_stream(struct ArrowArrayStream *stream, krait_table **out,
                                                 krait_error **err);

/* The table as a stream of one batch; as krait_arrow_export.
 * Threads: any.  GIL: not needed.  Errors: those of krait_arrow_export.  Since: 0.1 */
KRAIT_API krait_status krait_arrow_export_stream(const krait_table *table, struct ArrowArrayStream *stream,
                                                 krait_error **err);

struct DLManagedTensor;
struct DLManagedTensorVersioned;

/* An array value from a DLPack tensor in CPU memory, without a copy; `versioned` says which of the two structs
 * `tensor` is. On success the value owns the tensor and calls its deleter once; on failure it is left as it was.
 * Ownership: *out is the caller's.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_UNSUPPORTED (device, dtype, lanes, version), KRAIT_E_SHAPE, KRAIT_E_ARGUMENT, KRAIT_E_NOMEM.
 * Since: 0.1 */
KRAIT_API krait_status krait_dlpack_import(void *tensor, bool versioned, krait_value *out, krait_error **err);

/* An array as a DLPack tensor that shares its memory. A result moves into the tensor (*value becomes none); of any
 * other array the memory must live until the deleter was called. The plain struct cannot say read-only: such an array
 * is refused unless `versioned`. What a maker made is read-only unless KRAIT_ARRAY_WRITABLE is in as.array.flags.
 * Ownership: *tensor is the caller's, to pass on or to call its deleter.  Threads: any.  GIL: not needed.
 * Errors: KRAIT_E_KIND, KRAIT_E_UNSUPPORTED (times, text, records, byte-swapped, misaligned; strides that are no
 *         multiple of the element; read-only), KRAIT_E_NOMEM.  Since: 0.1 */
KRAIT_API krait_status krait_dlpack_export(krait_value *value, bool versioned, void **tensor, krait_error **err);

KRAIT_END
#endif
