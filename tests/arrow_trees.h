/* What the tests of Arrow share: schemas and arrays made by hand, whose buffers are exactly as large as the format says
 * (so that a sanitizer sees any read beyond) and whose releases are counted; and tables as text, every row read. */
#ifndef KRAIT_TESTS_ARROW_TREES_H
#define KRAIT_TESTS_ARROW_TREES_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <krait/arrow.h>

/* ---- schemas and arrays by hand ---------------------------------------------------------------------------------- */

/* Structs that were made and not released yet. One that is released twice brings it below what it was. */
static int live_structs;

static inline void free_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < (schema->private_data ? *(int64_t *)schema->private_data : 0); i++) {
        if (schema->children[i] && schema->children[i]->release) schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    if (schema->dictionary && schema->dictionary->release) schema->dictionary->release(schema->dictionary);
    free(schema->dictionary);
    free(schema->children);
    free((void *)(uintptr_t)schema->format);
    free((void *)(uintptr_t)schema->name);
    free(schema->private_data);
    schema->release = NULL;
    live_structs--;
}

/* private_data is the true number of children, whatever n_children is made to say later. */
static inline struct ArrowSchema *make_schema(const char *format, const char *name) {
    struct ArrowSchema *schema = calloc(1, sizeof *schema);
    schema->format = strdup(format);
    schema->name = name ? strdup(name) : NULL;
    schema->flags = ARROW_FLAG_NULLABLE;
    schema->release = free_schema;
    schema->private_data = calloc(1, sizeof(int64_t));
    live_structs++;
    return schema;
}

/* The true sizes of an array, whatever it is made to say later. */
typedef struct array_truth {
    int64_t buffers, children;
    int64_t shift; /* bytes that buffer 1 begins behind its memory */
} array_truth;

static inline void free_array(struct ArrowArray *array) {
    array_truth *truth = array->private_data;
    for (int64_t i = 0; i < truth->children; i++) {
        if (array->children[i] && array->children[i]->release) array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    if (array->dictionary && array->dictionary->release) array->dictionary->release(array->dictionary);
    free(array->dictionary);
    for (int64_t i = 0; i < truth->buffers; i++)
        free((void *)((uintptr_t)array->buffers[i] - (uintptr_t)(i == 1 ? truth->shift : 0)));
    free(array->buffers);
    free(array->children);
    free(truth);
    array->release = NULL;
    live_structs--;
}

static inline struct ArrowArray *make_array(int64_t length, int64_t offset, int64_t null_count, int64_t buffers) {
    struct ArrowArray *array = calloc(1, sizeof *array);
    array_truth       *truth = calloc(1, sizeof *truth);
    array->length = length;
    array->offset = offset;
    array->null_count = null_count;
    array->n_buffers = truth->buffers = buffers;
    if (buffers) array->buffers = calloc((size_t)buffers, sizeof *array->buffers);
    array->release = free_array;
    array->private_data = truth;
    live_structs++;
    return array;
}

/* A copy in memory of exactly that size; NULL stays NULL. */
static inline void set_buffer(struct ArrowArray *array, int64_t i, const void *data, size_t bytes) {
    void *copy = data ? malloc(bytes) : NULL;
    if (data && bytes) memcpy(copy, data, bytes);
    free((void *)(uintptr_t)array->buffers[i]);
    array->buffers[i] = copy;
}

/* Buffer 1 moves to an address that is no multiple of anything. */
static inline void misalign(struct ArrowArray *array, size_t bytes) {
    char *block = malloc(bytes + 1);
    memcpy(block + 1, array->buffers[1], bytes);
    free((void *)(uintptr_t)array->buffers[1]);
    array->buffers[1] = block + 1;
    ((array_truth *)array->private_data)->shift = 1;
}

/* Bits from a text of 1 and 0. */
static inline void set_bits(struct ArrowArray *array, int64_t i, const char *bits) {
    uint8_t packed[64] = { 0 };
    size_t  n = strlen(bits);
    for (size_t k = 0; k < n && k < 512; k++) packed[k / 8] |= (uint8_t)((bits[k] == '1') << (k % 8));
    set_buffer(array, i, packed, (n + 7) / 8);
}

static inline void add_child_schema(struct ArrowSchema *parent, struct ArrowSchema *child) {
    size_t n = (size_t)++parent->n_children;
    *(int64_t *)parent->private_data = parent->n_children;
    parent->children = realloc(parent->children, n * sizeof *parent->children);
    parent->children[n - 1] = child;
}

static inline void add_child_array(struct ArrowArray *parent, struct ArrowArray *child) {
    size_t n = (size_t)++parent->n_children;
    ((array_truth *)parent->private_data)->children = parent->n_children;
    parent->children = realloc(parent->children, n * sizeof *parent->children);
    parent->children[n - 1] = child;
}

/* Releases both where they are not released, and frees the structs themselves. */
static inline void drop(struct ArrowSchema *schema, struct ArrowArray *array) {
    if (schema && schema->release) schema->release(schema);
    if (array && array->release) array->release(array);
    free(schema);
    free(array);
}

/* ---- tables as text ---------------------------------------------------------------------------------------------- */

static inline void show_number(FILE *out, const krait_column *column, const char *at) {
    int64_t  i64 = 0;
    uint64_t u64 = 0;
    float    f32;
    double   f64;
    switch (column->dtype.code) {
    case KRAIT_BOOL: fprintf(out, "%s", *at ? "yes" : "no"); break;
    case KRAIT_I8: fprintf(out, "%d", *(const int8_t *)at); break;
    case KRAIT_I16: fprintf(out, "%d", *(const int16_t *)(const void *)at); break;
    case KRAIT_I32: fprintf(out, "%d", *(const int32_t *)(const void *)at); break;
    case KRAIT_F32: memcpy(&f32, at, 4), fprintf(out, "%.9g", (double)f32); break;
    case KRAIT_F64: memcpy(&f64, at, 8), fprintf(out, "%.17g", f64); break;
    case KRAIT_U8:
    case KRAIT_U16:
    case KRAIT_F16:
    case KRAIT_U32:
    case KRAIT_U64: /* little-endian, as the machines that test this */
        memcpy(&u64, at, column->dtype.item_size);
        fprintf(out, "%" PRIu64, u64);
        break;
    default: memcpy(&i64, at, 8), fprintf(out, "%" PRId64, i64);
    }
}

static inline int64_t shown_code(const krait_column *column, const char *at) {
    switch (column->dtype.item_size) {
    case 1: return *(const int8_t *)at;
    case 2: return *(const int16_t *)(const void *)at;
    case 4: return *(const int32_t *)(const void *)at;
    default: return *(const int64_t *)(const void *)at;
    }
}

static inline void show_row(FILE *out, const krait_column *column, int64_t row) {
    const char *at = (const char *)column->data + row * column->stride, *text;
    int64_t     wide[2];
    size_t      size;
    if (!krait_column_has(column, row)) {
        fprintf(out, "-");
        return;
    }
    switch (column->kind) {
    case KRAIT_COLUMN_TEXT:
    case KRAIT_COLUMN_BYTES:
        text = krait_column_text(column, row, &size);
        fputc('\'', out);
        for (size_t i = 0; i < size; i++) fprintf(out, text[i] >= ' ' ? "%c" : "\\x%02x", (unsigned char)text[i]);
        fputc('\'', out);
        break;
    case KRAIT_COLUMN_CATEGORY: show_row(out, column->dictionary, shown_code(column, at)); break;
    case KRAIT_COLUMN_DECIMAL:
        memcpy(wide, at, 16);
        if (wide[1] == (wide[0] < 0 ? -1 : 0)) fprintf(out, "%" PRId64, wide[0]);
        else fprintf(out, "%016" PRIx64 "%016" PRIx64, (uint64_t)wide[1], (uint64_t)wide[0]);
        break;
    case KRAIT_COLUMN_DATE: fprintf(out, "%d", *(const int32_t *)(const void *)at); break;
    default: show_number(out, column, at);
    }
}

static inline void show_type(FILE *out, const krait_column *column) {
    char name[64] = "";
    switch (column->kind) {
    case KRAIT_COLUMN_TEXT: fprintf(out, "text"); break;
    case KRAIT_COLUMN_BYTES: fprintf(out, "bytes"); break;
    case KRAIT_COLUMN_DATE: fprintf(out, "date"); break;
    case KRAIT_COLUMN_DECIMAL: fprintf(out, "decimal(%d,%d)", column->precision, column->scale); break;
    case KRAIT_COLUMN_CATEGORY:
        fprintf(out, "%scategory of ", column->ordered ? "ordered " : "");
        show_type(out, column->dictionary);
        break;
    default: krait_dtype_name(column->dtype, name, sizeof name), fprintf(out, "%s", name);
    }
    if (column->zone) fprintf(out, " in %s", column->zone);
}

static inline void show_column(FILE *out, const krait_table *table, bool index, size_t i) {
    krait_column column;
    krait_error *err = NULL;
    if (index) krait_table_index(table, i, &column, &err);
    else krait_table_column(table, i, &column, &err);
    if (err) {
        fprintf(out, "%s: %s\n", krait_table_column_name(table, i), krait_error_message(err));
        krait_error_clear(&err);
        return;
    }
    fprintf(out, "%s%s: ", index ? "index " : "", column.name);
    show_type(out, &column);
    fputc(':', out);
    for (int64_t row = 0; row < column.rows; row++) {
        fputc(' ', out);
        show_row(out, &column, row);
    }
    fputc('\n', out);
}

/* "a: int32: 1 2 -\nb: text: 'x' - ''\n"; free() it. A number under the name of a column it cannot read: the message. */
static inline char *show_table(const krait_table *table) {
    char  *text = NULL;
    size_t size = 0;
    FILE  *out = open_memstream(&text, &size);
    for (size_t i = 0; i < krait_table_column_count(table); i++) show_column(out, table, false, i);
    for (size_t i = 0; i < krait_table_index_count(table); i++) show_column(out, table, true, i);
    fclose(out);
    return text;
}

#endif
