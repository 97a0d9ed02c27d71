/* Fuzzes the Arrow import: the input's bytes are the choices by which schemas and arrays are built, their buffers
 * exactly as large as their lengths promise (no consumer can check that), all that stands in them at will, and some
 * field of some struct twisted. Whatever is taken is read, leaves, comes back, and must be the same; whatever is refused
 * must be as it was; every struct is released exactly once, and no memory is lost. For libFuzzer. */
#include "../arrow_trees.h"
#include "mem.h"

enum { ROWS_MAX = 24, TEXT_MAX = 200, FIELDS_MAX = 5, BATCHES = 3, UNDO_MAX = 8 };

/* ---- choices ----------------------------------------------------------------------------------------------------- */

static const uint8_t *bytes;
static size_t         left;

static unsigned choose(unsigned below) {
    unsigned byte = left ? *bytes : 0;
    if (!left) return 0;
    left--;
    bytes++;
    return byte % below;
}

static void fill_bytes(void *to, size_t size) {
    size_t n = size < left ? size : left;
    memset(to, 0x41, size);
    if (n) memcpy(to, bytes, n);
    bytes += n;
    left -= n;
}

static void must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* ---- trees ------------------------------------------------------------------------------------------------------- */

static const char *const formats[] = {
    "n",   "b",   "c",    "C",    "s",    "S",      "i",   "I",       "l",     "L",         "e",   "f",   "g",    "u",
    "U",   "z",   "Z",    "vu",   "vz",   "tdD",    "tdm", "tss:",    "tsm:",  "tsu:UTC",   "tsn:", "tDs", "tDm",  "tDu",
    "tDn", "w:3", "w:0",  "d:5,2", "d:38,-1,128", "+l", "+s", "+L", "+m", "+w:2", "+ud:0", "+r", "tts", "tin", "d:5,2,256",
    "d:x", "w:",  "tsq:", "",     "\xff", "+vl",    "w:99999999999",
};

static const char *const names[] = { "a", "b", "c", "", NULL, "name with \xc3\xa4", "\xff" };

static struct ArrowSchema *build_schema(int depth, bool table) {
    const char         *format = table ? "+s" : formats[choose(sizeof formats / sizeof *formats)];
    struct ArrowSchema *schema = make_schema(format, names[choose(sizeof names / sizeof *names)]);
    unsigned            children = *format == '+' ? choose(FIELDS_MAX) : choose(64) == 63;
    for (unsigned i = 0; depth < 3 && i < children; i++) add_child_schema(schema, build_schema(depth + 1, false));
    if (!table && depth < 3 && choose(4) == 3) {
        static const char *const indices[] = { "c", "C", "s", "S", "i", "I", "l", "L" };
        if (choose(16) != 15) {
            free((void *)(uintptr_t)schema->format);
            schema->format = strdup(indices[choose(8)]);
        }
        schema->dictionary = build_schema(depth + 1, false);
        if (choose(2)) schema->flags |= ARROW_FLAG_DICTIONARY_ORDERED;
    }
    return schema;
}

static size_t width_of(const char *format) {
    static const char *const widths[] = { "cC", "sSe", "iIf", "lLg" };
    if (*format == 'd') return 16;
    if (*format == 'w') return format[1] == ':' && format[2] && !format[3] ? (size_t)(format[2] - '0') : 0;
    if (strcmp(format, "tdD") == 0) return 4;
    if (*format == 't') return 8;
    for (size_t i = 0; i < 4; i++)
        if (*format && strchr(widths[i], *format)) return (size_t)1 << i;
    return 0;
}

static void add_bits(struct ArrowArray *array, int64_t i) {
    uint8_t data[ROWS_MAX * 4];
    size_t  size = (size_t)(array->length + array->offset + 7) / 8;
    fill_bytes(data, size);
    set_buffer(array, i, data, size);
}

/* Offsets that mostly run forward, and as many bytes as the largest one says: any may be the last that is read. */
static void add_texts(struct ArrowArray *array, bool large) {
    int64_t n = array->length + array->offset, at = 0, size = 0;
    int64_t wide[ROWS_MAX * 4];
    int32_t narrow[ROWS_MAX * 4];
    char    text[TEXT_MAX];
    for (int64_t i = 0; i <= n; i++) {
        unsigned step = choose(256);
        wide[i] = at;
        if (step < 200) at += step % 4;
        else if (step > 250 && i < n) wide[i] = (int64_t)step - 253;
        if (at > TEXT_MAX) at = TEXT_MAX;
        if (wide[i] > size) size = wide[i];
        narrow[i] = (int32_t)wide[i];
    }
    set_buffer(array, 1, large ? (void *)wide : (void *)narrow, (size_t)(n + 1) * (large ? 8 : 4));
    fill_bytes(text, (size_t)size);
    if (choose(4))
        for (int64_t i = 0; i < size; i++) text[i] &= 0x7f;
    set_buffer(array, 2, text, (size_t)size);
}

static void add_views(struct ArrowArray *array) {
    int64_t n = array->length + array->offset, blocks = array->n_buffers - 3, sizes[4];
    char    views[ROWS_MAX * 4 * 16], block[64];
    fill_bytes(views, (size_t)n * 16);
    for (int64_t i = 0; i < n; i++) {
        int32_t part[4];
        memcpy(part, views + i * 16, 16);
        if (choose(8)) part[0] = (int32_t)((uint32_t)part[0] % 20);
        if (choose(8)) part[2] = (int32_t)((uint32_t)part[2] % 3);
        if (choose(8)) part[3] = (int32_t)((uint32_t)part[3] % 50);
        memcpy(views + i * 16, part, part[0] > 12 || part[0] < 0 ? 16 : 4);
    }
    set_buffer(array, 1, views, (size_t)n * 16);
    for (int64_t i = 0; i < blocks; i++) {
        sizes[i] = choose(sizeof block);
        fill_bytes(block, (size_t)sizes[i]);
        set_buffer(array, i + 2, block, (size_t)sizes[i]);
    }
    set_buffer(array, blocks + 2, sizes, (size_t)blocks * 8);
}

static void add_elements(struct ArrowArray *array, size_t width, bool codes) {
    char   data[ROWS_MAX * 4 * 16];
    size_t size = (size_t)(array->length + array->offset) * width;
    fill_bytes(data, size);
    for (size_t i = 0; codes && i < size; i++) data[i] = i % width ? 0 : data[i] & 3;
    set_buffer(array, 1, data, size);
}

static int64_t buffers_of(const char *format) {
    if (*format == 'n') return choose(2);
    if (*format == '+') return 1;
    if (*format == 'v') return 3 + choose(3);
    return strchr("uUzZ", *format) && *format ? 3 : 2;
}

/* At least `rows` rows, mostly that many. */
static struct ArrowArray *build_array(const struct ArrowSchema *schema, int64_t rows) {
    const char        *format = schema->format;
    int64_t            length = rows + (choose(4) == 3 ? choose(4) : 0), offset = choose(3) == 2 ? choose(9) : 0;
    struct ArrowArray *array = make_array(length, offset, choose(2) ? -1 : 0, buffers_of(format));
    if (array->n_buffers && array->null_count) add_bits(array, 0);
    if (*format == 'b') add_bits(array, 1);
    else if (*format == 'v') add_views(array);
    else if (array->n_buffers == 3) add_texts(array, *format == 'U' || *format == 'Z');
    else if (array->n_buffers == 2) add_elements(array, width_of(format), schema->dictionary && choose(8));
    for (int64_t i = 0; i < schema->n_children; i++)
        add_child_array(array, build_array(schema->children[i], length + offset));
    if (schema->dictionary) array->dictionary = build_array(schema->dictionary, choose(6));
    return array;
}

/* ---- twists ------------------------------------------------------------------------------------------------------ */

static struct {
    void **where, *was;
} undo[UNDO_MAX];
static int undone;

static void twist_pointer(void *where) {
    if (undone == UNDO_MAX) return;
    undo[undone].where = where;
    undo[undone++].was = *(void **)where;
    *(void **)where = NULL;
}

static void untwist(void) {
    while (undone > 0) undone--, *undo[undone].where = undo[undone].was;
}

static int64_t odd_number(void) {
    static const int64_t odd[] = { 0, 1, 2, 3, 5, -1, -2, INT64_MIN, 1 << 21 };
    return odd[choose(sizeof odd / sizeof *odd)];
}

/* Only what the array's reader can see to be wrong, or reads less of it. */
static void twist_array(struct ArrowArray *array, bool root) {
    int64_t number = odd_number();
    switch (choose(9)) {
    case 0: if (number < array->length) array->length = number; break;
    case 1: if (number < 0) array->offset = number; break;
    case 2: array->null_count = array->n_buffers && array->buffers[0] ? number : 0; break;
    case 3: if (number < array->n_buffers && number < 3) array->n_buffers = number; break; /* fewer views lie */
    case 4: if (number < array->n_children) array->n_children = number; break;
    case 5: if (array->n_buffers > 0) set_buffer(array, choose((unsigned)array->n_buffers), NULL, 0); break;
    case 6: if (!root) twist_pointer(&array->buffers); break;
    case 7: if (!root) twist_pointer(&array->release); break;
    default: if (!root) twist_pointer(choose(2) ? (void *)&array->children : (void *)&array->dictionary);
    }
}

/* Pointers only of a column's schema, where it is noticed: a schema that was taken is gone when the twist is undone. */
static void twist_schema(struct ArrowSchema *schema, bool column) {
    int64_t number = odd_number();
    switch (choose(6)) {
    case 0: if (number < schema->n_children) schema->n_children = number; break;
    case 1: if (number > 4) schema->n_children = number < 0 ? number : (1 << 20) + number; break;
    case 2: if (column) twist_pointer(&schema->format); break;
    case 3: if (column) twist_pointer(&schema->release); break;
    case 4: if (column && schema->n_children > 0) twist_pointer(&schema->children); break;
    default: if (column && schema->dictionary) twist_pointer(&schema->dictionary);
    }
}

static void twist(struct ArrowSchema *schema, struct ArrowArray *array) {
    bool table = strcmp(schema->format, "+s") == 0 && !schema->dictionary;
    int  depth = 0;
    while (array->n_children > 0 && schema->n_children > 0 && choose(4)) {
        int64_t i = choose((unsigned)schema->n_children);
        array = array->children[i];
        schema = schema->children[i];
        depth++;
    }
    if (array->dictionary && choose(2)) {
        array = array->dictionary;
        schema = schema->dictionary;
        depth += 2;
    }
    if (choose(3)) twist_array(array, depth == 0);
    else twist_schema(schema, table && depth == 1);
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

/* What was taken is the same after it left and came back. Frees it. */
static void use(krait_table *table) {
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_error       *err = NULL;
    krait_table       *again = NULL;
    char              *shown = show_table(table), *shown_again;
    krait_status       status = krait_arrow_export(table, &schema, &array, &err);
    must(status == KRAIT_OK || status == KRAIT_E_AMBIGUOUS || status == KRAIT_E_UNSUPPORTED, "status of an export");
    must((status == KRAIT_OK) == !err, "an error and nothing else");
    krait_error_clear(&err);
    krait_table_free(table);
    if (status == KRAIT_OK) {
        krait_arrow_import(&schema, &array, &again, &err);
        if (err) fprintf(stderr, "%s\n", krait_error_message(err));
        must(!err && !schema.release && !array.release, "what leaves comes back");
        shown_again = show_table(again);
        /* NaT and INT64_MIN in a time column leave as missing */
        if (!strstr(shown, "-9223372036854775808") && !strstr(shown, "datetime64[ms]") && strcmp(shown, shown_again) != 0) {
            fprintf(stderr, "%s\n%s\n", shown, shown_again);
            must(false, "the same after it came back");
        }
        free(shown_again);
        krait_table_free(again);
    }
    free(shown);
}

static void refused(krait_error **err) {
    krait_status status = krait_error_status(*err);
    must(status == KRAIT_E_ARGUMENT || status == KRAIT_E_ENCODING || status == KRAIT_E_NOMEM || status == KRAIT_E_SYSTEM,
         "status of an import");
    must(*krait_error_message(*err) && *krait_error_step(*err), "words of a refusal");
    krait_error_clear(err);
}

static void run_array(void) {
    struct ArrowSchema *schema = build_schema(0, choose(8) != 0);
    struct ArrowArray  *array = build_array(schema, choose(ROWS_MAX));
    krait_table        *table = NULL;
    krait_error        *err = NULL;
    if (choose(2)) twist(schema, array);
    krait_arrow_import(schema, array, &table, &err);
    must(!table == !!err, "a table or an error");
    must(table ? !schema->release && !array->release : schema->release && array->release, "moved on success only");
    untwist();
    if (table) use(table);
    else refused(&err);
    drop(schema, array);
}

typedef struct batches {
    struct ArrowSchema *schema;
    struct ArrowArray  *arrays[BATCHES];
    unsigned            count, next;
} batches;

static int next_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    batches *own = stream->private_data;
    *out = *own->schema;
    own->schema->release = NULL;
    return 0;
}

static int next_array(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    batches *own = stream->private_data;
    memset(out, 0, sizeof *out);
    if (own->next == own->count) return 0;
    *out = *own->arrays[own->next];
    own->arrays[own->next++]->release = NULL;
    return 0;
}

static void end_stream(struct ArrowArrayStream *stream) {
    stream->release = NULL;
}

static void run_stream(void) {
    batches                 all = { build_schema(0, choose(8) != 0), { NULL }, choose(BATCHES + 1), 0 };
    struct ArrowArrayStream stream = { next_schema, next_array, NULL, end_stream, &all };
    krait_table            *table = NULL;
    krait_error            *err = NULL;
    for (unsigned i = 0; i < all.count; i++) all.arrays[i] = build_array(all.schema, choose(ROWS_MAX));
    krait_arrow_import_stream(&stream, &table, &err);
    must(!table == !!err && !table == !!stream.release, "a table or an error");
    if (table) use(table);
    else refused(&err);
    drop(all.schema, NULL);
    for (unsigned i = 0; i < all.count; i++) drop(NULL, all.arrays[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bytes = data;
    left = size;
    undone = 0;
    live_structs = 0;
    if (choose(3) == 2) run_stream();
    else run_array();
    must(live_structs == 0, "every struct released exactly once");
    must(krait__mem_blocks() == 0, "no memory lost");
    return 0;
}
