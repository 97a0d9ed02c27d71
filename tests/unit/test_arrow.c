/* arrow: arrays and streams made by hand, in every format, sliced at every level, malformed in every way that can be
 * seen; tables that leave and come back; every release counted; every allocation failed in turn. Build with
 * -DKRAIT_FAULTS. KRAIT_TEST_SEED repeats a run of the random tests, KRAIT_TEST_CASES sets how many. */
#include "../support.h"

#include <inttypes.h>
#include <errno.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../arrow_trees.h"
#include "arrow.h"
#include "mem.h"

enum { TIME_LIMIT_S = 120 };

static krait_error *err;

/* ---- making ------------------------------------------------------------------------------------------------------ */

/* A column, or a whole table, as Arrow has it. */
typedef struct pair {
    struct ArrowSchema *schema;
    struct ArrowArray  *array;
} pair;

/* `length` rows from `offset` on; data has length + offset elements of `item` bytes. bits: validity from row 0 of the
 * buffer on as text, NULL for none. */
static pair plain(const char *format, const char *name, int64_t length, int64_t offset, const char *bits,
                  const void *data, size_t item) {
    pair p = { make_schema(format, name), make_array(length, offset, bits ? -1 : 0, 2) };
    if (bits) set_bits(p.array, 0, bits);
    set_buffer(p.array, 1, data, (size_t)(length + offset) * item);
    return p;
}

static pair bools(const char *name, int64_t length, int64_t offset, const char *bits, const char *values) {
    pair p = plain("b", name, length, offset, bits, NULL, 0);
    set_bits(p.array, 1, values);
    return p;
}

/* Texts of "|" separated parts; formats u, U, z, Z. */
static pair texts(const char *format, const char *name, int64_t length, int64_t offset, const char *bits,
                  const char *parts) {
    pair    p = { make_schema(format, name), make_array(length, offset, bits ? -1 : 0, 3) };
    char    data[512];
    int64_t wide[64] = { 0 }, n = 0, size = 0;
    int32_t narrow[64];
    bool    large = *format == 'U' || *format == 'Z';
    for (const char *c = parts;; c++) {
        if (*c && *c != '|') data[size++] = *c;
        else wide[++n] = size;
        if (!*c) break;
    }
    if (n != length + offset) fail_msg("%s has %d parts, expected %d", parts, (int)n, (int)(length + offset));
    for (int64_t i = 0; i <= n; i++) narrow[i] = (int32_t)wide[i];
    if (bits) set_bits(p.array, 0, bits);
    set_buffer(p.array, 1, large ? (void *)wide : (void *)narrow, (size_t)(n + 1) * (large ? 8 : 4));
    set_buffer(p.array, 2, data, (size_t)size);
    return p;
}

/* `codes` with values as their dictionary. */
static pair coded(pair codes, pair values, bool ordered) {
    codes.schema->dictionary = values.schema;
    codes.array->dictionary = values.array;
    if (ordered) codes.schema->flags |= ARROW_FLAG_DICTIONARY_ORDERED;
    return codes;
}

/* A view: 16 bytes. */
static void put_view(char *at, const char *text, int32_t size, int32_t block, int32_t offset) {
    memset(at, 0, 16);
    memcpy(at, &size, 4);
    if (size <= 12) {
        memcpy(at + 4, text, (size_t)size);
        return;
    }
    memcpy(at + 4, text, 4);
    memcpy(at + 8, &block, 4);
    memcpy(at + 12, &offset, 4);
}

static const char long_text[] = "a text of more than twelve bytes";
static const char other_text[] = "xxanother long text, somewhere else";

/* Views of: "twelve bytes", long_text, missing (nonsense), "", other_text + 2; the first row again in front, when offset. */
static pair views(const char *format, const char *name, int64_t offset) {
    pair    p = { make_schema(format, name), make_array(5, offset, 1, 5) };
    char    data[6 * 16];
    int64_t sizes[] = { (int64_t)strlen(long_text), (int64_t)strlen(other_text) };
    char   *at = data + offset * 16;
    put_view(data, "twelve bytes", 12, 0, 0);
    put_view(at, "twelve bytes", 12, 0, 0);
    put_view(at + 16, long_text, (int32_t)sizes[0], 0, 0);
    memset(at + 32, 0x77, 16);
    put_view(at + 48, "", 0, 0, 0);
    put_view(at + 64, other_text + 2, (int32_t)sizes[1] - 2, 1, 2);
    set_bits(p.array, 0, offset ? "111011" : "11011");
    set_buffer(p.array, 1, data, (size_t)(5 + offset) * 16);
    set_buffer(p.array, 2, long_text, strlen(long_text));
    set_buffer(p.array, 3, other_text, strlen(other_text));
    set_buffer(p.array, 4, sizes, sizeof sizes);
    return p;
}

static pair frame(int64_t length, int64_t offset, const char *bits) {
    pair p = { make_schema("+s", ""), make_array(length, offset, bits ? -1 : 0, 1) };
    if (bits) set_bits(p.array, 0, bits);
    return p;
}

static void add(pair *table, pair column) {
    add_child_schema(table->schema, column.schema);
    add_child_array(table->array, column.array);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static void assert_shows(const krait_table *table, const char *expected) {
    char *got = show_table(table);
    if (strcmp(got, expected) != 0) {
        print_error("got:\n%s\nexpected:\n%s\n", got, expected);
        free(got);
        fail();
    }
    free(got);
}

/* Imports and frees the structs, which must have moved. */
static krait_table *imported(pair p) {
    krait_table *table = NULL;
    krait_arrow_import(p.schema, p.array, &table, &err);
    assert_good(err);
    assert_non_null(table);
    assert_null(p.schema->release);
    assert_null(p.array->release);
    drop(p.schema, p.array);
    return table;
}

/* The table is this, also after it left and came back; frees it. */
static void assert_is(krait_table *table, const char *expected) {
    pair         out = { calloc(1, sizeof(struct ArrowSchema)), calloc(1, sizeof(struct ArrowArray)) };
    krait_table *again;
    assert_shows(table, expected);
    krait_arrow_export(table, out.schema, out.array, &err);
    assert_good(err);
    krait_table_free(table);
    again = imported(out);
    assert_shows(again, expected);
    krait_table_free(again);
    assert_int_equal(live_structs, 0);
}

static void assert_imports(pair p, const char *expected) {
    assert_is(imported(p), expected);
}

/* Refused with that status and words; both structs are as they were, and are released. */
static void assert_refuses(pair p, krait_status status, const char *words) {
    krait_table *table = (krait_table *)1;
    assert_int_equal(krait_arrow_import(p.schema, p.array, &table, &err), status);
    assert_error(err, status, words);
    assert_null(table);
    drop(p.schema, p.array);
    assert_int_equal(live_structs, 0);
}

static int check_blocks(void **state) {
    static uint64_t blocks;
    if (!*state) {
        blocks = krait__mem_blocks();
        *state = &blocks;
        live_structs = 0;
        return 0;
    }
    if (krait__mem_blocks() != blocks || live_structs || err) {
        print_error("left: %d blocks, %d structs, error: %s\n", (int)(krait__mem_blocks() - blocks), live_structs,
                    krait_error_message(err));
        return -1;
    }
    return 0;
}

static int begin_test(void **state) {
    alarm(TIME_LIMIT_S);
    krait_error_clear(&err); /* of a test that failed */
    *state = NULL;
    return check_blocks(state);
}

/* ---- every format ------------------------------------------------------------------------------------------------ */

/* One value of a format beside another: what it is shown as. */
struct format_case {
    const char *format;
    size_t      item;
    char        data[48]; /* three elements, the first one cut off by the offset */
    const char *shown;    /* of elements 2 and 3 */
};

#define LE16(a) (char)((a)&255), (char)((a) >> 8 & 255)
#define LE32(a) LE16(a), LE16((a) >> 16)
#define LE64(a) LE32(a), LE32((int64_t)(a) >> 32)

static const struct format_case format_cases[] = {
    { "c", 1, { 9, -5, 127 }, "int8: -5 127" },
    { "C", 1, { 9, (char)200, 0 }, "uint8: 200 0" },
    { "s", 2, { LE16(9), LE16(-300), LE16(32767) }, "int16: -300 32767" },
    { "S", 2, { LE16(9), LE16(65535), LE16(1) }, "uint16: 65535 1" },
    { "i", 4, { LE32(9), LE32(-70000), LE32(1) }, "int32: -70000 1" },
    { "I", 4, { LE32(9), LE32(4000000000), LE32(1) }, "uint32: 4000000000 1" },
    { "l", 8, { LE64(9), LE64(-5000000000), LE64(1) }, "int64: -5000000000 1" },
    { "L", 8, { LE64(9), LE64(-1), LE64(1) }, "uint64: 18446744073709551615 1" },
    { "e", 2, { LE16(9), LE16(15360), LE16(0) }, "float16: 15360 0" },
    { "f", 4, { LE32(9), LE32(0x3fc00000), LE32(0x7fc00000) }, "float32: 1.5 nan" },
    { "g", 8, { LE64(9), LE64(0x3ff8000000000000), LE64(0) }, "float64: 1.5 0" },
    { "tdD", 4, { LE32(9), LE32(-1), LE32(20000) }, "date: -1 20000" },
    { "tdm", 8, { LE64(9), LE64(-1), LE64(86400000) }, "datetime64[ms]: -1 86400000" },
    { "tss:", 8, { LE64(9), LE64(-1), LE64(5) }, "datetime64[s]: -1 5" },
    { "tsm:", 8, { LE64(9), LE64(-1), LE64(5) }, "datetime64[ms]: -1 5" },
    { "tsu:UTC", 8, { LE64(9), LE64(-1), LE64(5) }, "datetime64[us] in UTC: -1 5" },
    { "tsn:Europe/Berlin", 8, { LE64(9), LE64(-1), LE64(5) }, "datetime64[ns] in Europe/Berlin: -1 5" },
    { "tDs", 8, { LE64(9), LE64(-1), LE64(5) }, "timedelta64[s]: -1 5" },
    { "tDm", 8, { LE64(9), LE64(-1), LE64(5) }, "timedelta64[ms]: -1 5" },
    { "tDu", 8, { LE64(9), LE64(-1), LE64(5) }, "timedelta64[us]: -1 5" },
    { "tDn", 8, { LE64(9), LE64(-1), LE64(5) }, "timedelta64[ns]: -1 5" },
    { "d:5,2", 16, { LE64(9), LE64(0), LE64(-12345), LE64(-1), LE64(5), LE64(0) }, "decimal(5,2): -12345 5" },
    { "d:38,-3,128", 16, { LE64(9), LE64(0), LE64(1), LE64(1), LE64(5), LE64(0) },
      "decimal(38,-3): 00000000000000010000000000000001 5" },
    { "w:2", 2, { 'x', 'x', 'a', 'b', 'c', 0 }, "bytes: 'ab' 'c\\x00'" },
    { "w:0", 0, { 0 }, "bytes: '' ''" },
};

/* Elements of fixed width: where they lie, from an offset on, with and without validity. */
static void elements_are_not_copied(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(format_cases); i++) {
        const struct format_case *c = &format_cases[i];
        pair                      p = plain(c->format, "x", 2, 1, NULL, c->data, c->item);
        const char               *data = p.array->buffers[1];
        char                      expected[160];
        krait_table              *table = imported(p);
        krait_column              column;
        krait_table_column(table, 0, &column, &err);
        assert_good(err);
        assert_ptr_equal(column.data, data + c->item);
        assert_null(column.valid);
        if (*c->format != 'w') assert_int_equal(column.flags, 0);
        snprintf(expected, sizeof expected, "x: %s\n", c->shown);
        if (strcmp(c->format, "tdm") != 0 && *c->format != 'w') {
            assert_is(table, expected);
        } else { /* leave as another type */
            assert_shows(table, expected);
            krait_table_free(table);
        }
    }
}

static void validity_is_kept(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(format_cases); i++) {
        const struct format_case *c = &format_cases[i];
        pair                      p = plain(c->format, "x", 2, 1, "001", c->data, c->item);
        const uint8_t            *bits = p.array->buffers[0];
        krait_table              *table = imported(p);
        krait_column              column;
        char                     *shown = show_table(table);
        krait_table_column(table, 0, &column, &err);
        assert_good(err);
        assert_ptr_equal(column.valid, bits);
        assert_int_equal(column.valid_offset, 1);
        assert_non_null(strstr(shown, ": - "));
        assert_null(strstr(shown, ": - -"));
        free(shown);
        krait_table_free(table);
        assert_int_equal(live_structs, 0);
    }
}

static void no_bits_where_none_is_missing(void **state) {
    static const int64_t numbers[] = { 1, 2 };
    pair                 p = plain("l", "x", 2, 0, "00", numbers, 8);
    krait_table         *table;
    krait_column         column;
    (void)state;
    p.array->null_count = 0;
    table = imported(p);
    krait_table_column(table, 0, &column, &err);
    assert_good(err);
    assert_null(column.valid);
    krait_table_free(table);
}

static void bools_become_bytes(void **state) {
    (void)state;
    assert_imports(bools("x", 9, 3, "111101111111", "110010010011"), "x: bool: no - no no yes no no yes yes\n");
    assert_imports(bools("x", 1, 0, NULL, "1"), "x: bool: yes\n");
    assert_imports(bools("x", 0, 0, NULL, ""), "x: bool:\n");
}

static void texts_of_every_kind(void **state) {
    static const char *const formats[] = { "u", "U", "z", "Z" };
    (void)state;
    for (size_t i = 0; i < COUNT(formats); i++) {
        const char *kind = i < 2 ? "text" : "bytes";
        char        expected[160];
        snprintf(expected, sizeof expected, "x: %s: 'abc' '' - 'z'\n", kind);
        assert_imports(texts(formats[i], "x", 4, 0, "1101", "abc||q|z"), expected);
        snprintf(expected, sizeof expected, "x: %s: '' 'q'\n", kind);
        assert_imports(texts(formats[i], "x", 2, 1, NULL, "abc||q"), expected);
        snprintf(expected, sizeof expected, "x: %s: '' ''\n", kind);
        assert_imports(texts(formats[i], "x", 2, 0, NULL, "|"), expected);
    }
    assert_imports(texts("z", "x", 1, 0, NULL, "\xff\xfe"), "x: bytes: '\\xff\\xfe'\n");
    assert_imports(texts("u", "x", 2, 0, "10", "ok|\xff"), "x: text: 'ok' -\n"); /* what is missing may be anything */
}

/* Producers may leave out even the one offset that an empty column has. */
static void empty_columns_without_buffers(void **state) {
    static const char *const formats[] = { "u", "U", "z", "Z", "w:3", "l", "b", "g", "tdD", "d:5,2", "vu" };
    (void)state;
    for (size_t i = 0; i < COUNT(formats); i++) {
        int64_t      buffers = strchr("uUzZv", *formats[i]) ? 3 : 2;
        pair         p = { make_schema(formats[i], "x"), make_array(0, 0, 0, buffers) };
        krait_table *table = imported(p);
        krait_column column;
        krait_table_column(table, 0, &column, &err);
        assert_good(err);
        assert_int_equal(column.rows, 0);
        krait_table_free(table);
    }
    assert_imports((pair){ make_schema("n", "x"), make_array(0, 0, 0, 0) }, "x: text:\n");
}

static void views_become_one_text(void **state) {
    char expected[160];
    (void)state;
    snprintf(expected, sizeof expected, "x: text: 'twelve bytes' '%s' - '' '%s'\n", long_text, other_text + 2);
    assert_imports(views("vu", "x", 0), expected);
    assert_imports(views("vu", "x", 1), expected);
    snprintf(expected, sizeof expected, "x: bytes: 'twelve bytes' '%s' - '' '%s'\n", long_text, other_text + 2);
    assert_imports(views("vz", "x", 1), expected);
}

static void nulls_are_missing_text(void **state) {
    (void)state;
    assert_imports((pair){ make_schema("n", "x"), make_array(3, 2, 3, 0) }, "x: text: - - -\n");
    assert_imports((pair){ make_schema("n", "x"), make_array(3, 0, 3, 1) }, "x: text: - - -\n"); /* as polars does */
    assert_refuses((pair){ make_schema("n", "x"), make_array(3, 0, 3, 2) }, KRAIT_E_ARGUMENT,
                   "column 'x' has 2 buffers, expected none for type 'n'");
}

static void categories_of_every_index(void **state) {
    static const char *const formats[] = { "c", "C", "s", "S", "i", "I", "l", "L" };
    static const size_t      items[] = { 1, 1, 2, 2, 4, 4, 8, 8 };
    static const size_t      widths[] = { 1, 2, 2, 4, 4, 8, 8, 8 };
    (void)state;
    for (size_t i = 0; i < COUNT(formats); i++) {
        char         codes[4 * 8] = { 0 };
        krait_table *table;
        krait_column column;
        pair         p;
        codes[0 * items[i]] = 7; /* cut off */
        codes[1 * items[i]] = 2;
        memset(codes + 2 * items[i], 0xee, items[i]); /* missing */
        codes[3 * items[i]] = 0;
        p = coded(plain(formats[i], "x", 3, 1, "1101", codes, items[i]), texts("u", NULL, 3, 1, NULL, "cut|a|b|c"), i % 2);
        table = imported(p);
        krait_table_column(table, 0, &column, &err);
        assert_good(err);
        assert_int_equal(column.dtype.item_size, widths[i]);
        if (i % 2) assert_int_equal(((const char *)column.data)[widths[i]], 0); /* what is missing, where it was copied */
        assert_is(table, i % 2 ? "x: ordered category of text: 'c' - 'a'\n" : "x: category of text: 'c' - 'a'\n");
    }
}

static void dictionaries_of_other_types(void **state) {
    static const int8_t  codes[] = { 1, 0, 1 };
    static const double  doubles[] = { 0.5, 2.5 };
    static const int64_t ticks[] = { 5, INT64_MIN };
    pair                 none;
    (void)state;
    assert_imports(coded(plain("c", "x", 3, 0, NULL, codes, 1), plain("g", NULL, 2, 0, NULL, doubles, 8), false),
                   "x: category of float64: 2.5 0.5 2.5\n");
    assert_imports(coded(plain("c", "x", 3, 0, NULL, codes, 1), bools(NULL, 2, 1, NULL, "001"), false),
                   "x: category of bool: yes no yes\n");
    assert_imports(coded(plain("c", "x", 3, 0, NULL, codes, 1), texts("U", NULL, 2, 0, "01", "x|y"), false),
                   "x: category of text: 'y' - 'y'\n");
    assert_imports(coded(plain("c", "x", 3, 0, NULL, codes, 1), plain("tsn:UTC", NULL, 2, 0, "10", ticks, 8), false),
                   "x: category of datetime64[ns] in UTC: - 5 -\n");
    none = (pair){ make_schema("n", NULL), make_array(2, 0, 2, 0) };
    assert_imports(coded(plain("c", "x", 3, 0, NULL, codes, 1), none, false), "x: category of text: - - -\n");
    assert_imports(coded(plain("c", "x", 0, 0, NULL, codes, 1), texts("u", NULL, 1, 0, NULL, "y"), false),
                   "x: category of text:\n");
}

/* Buffers that a C program could not read as they lie. */
static void misaligned_buffers_are_copied(void **state) {
    static const int64_t numbers[] = { 1, 0, 2, 0 };
    struct {
        pair        p;
        size_t      bytes;
        const char *expected;
    } cases[] = {
        { plain("l", "x", 2, 0, NULL, numbers, 8), 16, "x: int64: 1 0\n" },
        { plain("d:5,0", "x", 2, 0, NULL, numbers, 16), 32, "x: decimal(5,0): 1 2\n" },
        { plain("tsn:", "x", 1, 1, NULL, numbers, 8), 16, "x: datetime64[ns]: 0\n" },
        { plain("S", "x", 2, 0, NULL, numbers, 2), 4, "x: uint16: 1 0\n" },
        { texts("u", "x", 2, 0, NULL, "a|b"), 12, "x: text: 'a' 'b'\n" },
        { texts("Z", "x", 1, 1, NULL, "a|b"), 24, "x: bytes: 'b'\n" },
        { views("vu", "x", 0), 80, "x: text: 'twelve bytes' 'a text of more than twelve bytes' - '' 'another long text, somewhere else'\n" },
        { coded(plain("S", "x", 2, 0, NULL, numbers, 2), texts("u", NULL, 2, 0, NULL, "a|b"), false), 4,
          "x: category of text: 'b' 'a'\n" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        krait_table *table;
        krait_column column;
        char        *shown;
        misalign(cases[i].p.array, cases[i].bytes);
        table = imported(cases[i].p);
        krait_table_column(table, 0, &column, &err);
        assert_good(err);
        assert_true(column.flags & KRAIT_ARRAY_COPIED);
        shown = show_table(table);
        assert_string_equal(shown, cases[i].expected);
        free(shown);
        krait_table_free(table);
    }
    assert_int_equal(live_structs, 0);
}

/* ---- structs ----------------------------------------------------------------------------------------------------- */

static void columns_of_a_struct(void **state) {
    static const int32_t numbers[] = { 1, 2, 3 };
    pair                 p = frame(3, 0, NULL);
    (void)state;
    add(&p, plain("i", "a", 3, 0, NULL, numbers, 4));
    add(&p, texts("u", "b", 3, 0, "101", "x||z"));
    add(&p, plain("i", NULL, 3, 0, NULL, numbers, 4));
    add(&p, bools("c", 3, 0, NULL, "101"));
    assert_imports(p, "a: int32: 1 2 3\nb: text: 'x' - 'z'\n: int32: 1 2 3\nc: bool: yes no yes\n");
}

/* Offset of the struct and of each child, children longer than the struct, and rows that are missing as a whole. */
static void slices_at_every_level(void **state) {
    static const int32_t numbers[] = { 90, 91, 1, 2, 3, 4, 92 };
    static const int8_t  codes[] = { 7, 7, 0, 1, 0, 1 };
    pair                 p = frame(3, 1, "1101");
    (void)state;
    add(&p, plain("i", "a", 5, 2, NULL, numbers, 4)); /* rows 1 to 3 of it are 2, 3, 4 */
    add(&p, bools("b", 4, 0, "0110", "0101"));
    add(&p, texts("u", "c", 5, 3, "11111011", "q|q|q|a|b|c|d|e"));
    add(&p, coded(plain("c", "d", 4, 2, NULL, codes, 1), texts("u", NULL, 2, 1, NULL, "q|x|y"), false));
    add(&p, (pair){ make_schema("n", "e"), make_array(4, 0, 4, 0) });
    add(&p, views("vu", "f", 0));
    assert_imports(p, "a: int32: 2 - 4\nb: bool: yes - -\nc: text: 'b' - 'd'\nd: category of text: 'y' - 'y'\n"
                      "e: text: - - -\nf: text: 'a text of more than twelve bytes' - ''\n");
}

static void structs_without_rows_or_columns(void **state) {
    pair         p = frame(0, 0, NULL);
    krait_table *table;
    (void)state;
    add(&p, texts("u", "a", 1, 0, NULL, "x"));
    assert_imports(p, "a: text:\n");
    table = imported(frame(7, 2, NULL));
    assert_int_equal(krait_table_rows(table), 7);
    assert_int_equal(krait_table_column_count(table), 0);
    assert_is(table, "");
}

static void many_columns(void **state) {
    enum { N = 3000 };
    static const double x[] = { 0.5 };
    pair                p = frame(1, 0, NULL);
    krait_table        *table;
    krait_column        column;
    (void)state;
    for (int i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "c%d", i);
        add(&p, plain("g", name, 1, 0, NULL, x, 8));
    }
    table = imported(p);
    assert_int_equal(krait_table_column_count(table), N);
    krait_table_find(table, "c2999", &column, &err);
    assert_good(err);
    krait_table_free(table);
    assert_int_equal(live_structs, 0);
}

/* ---- types that krait has no column for -------------------------------------------------------------------------- */

static void other_types_are_refused_by_name(void **state) {
    static const int32_t numbers[] = { 1, 2 };
    static const struct {
        const char *format, *words;
    } cases[] = {
        { "+l", "list ('+l')" },
        { "+L", "large list ('+L')" },
        { "+vl", "list view ('+vl')" },
        { "+vL", "large list view ('+vL')" },
        { "+w:3", "list of a fixed size ('+w:3')" },
        { "+s", "struct ('+s')" },
        { "+m", "map ('+m')" },
        { "+ud:0,1", "dense union" },
        { "+us:0,1", "sparse union" },
        { "+r", "run-end encoded" },
        { "tts", "time of day ('tts')" },
        { "ttm", "time of day" },
        { "ttu", "time of day" },
        { "ttn", "time of day" },
        { "tiM", "interval of months ('tiM')" },
        { "tiD", "interval of days and milliseconds" },
        { "tin", "interval of months, days and nanoseconds" },
        { "d:5,2,32", "decimal of other than 128 bits ('d:5,2,32')" },
        { "d:5,2,64", "decimal of other than 128 bits" },
        { "d:70,2,256", "decimal of other than 128 bits" },
        { "tsx:", "unknown ('tsx:')" },
        { "tss", "unknown" },
        { "q", "unknown ('q')" },
        { "", "unknown ('')" },
        { "\xff\xfe", "unknown ('')" },
        { "iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii", "unknown ('iiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiiii')" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        pair         p = frame(2, 0, NULL), odd = { make_schema(cases[i].format, "odd"), make_array(2, 0, 0, 1) };
        krait_table *table;
        krait_column column;
        char         expected[256];
        add(&p, plain("i", "a", 2, 0, NULL, numbers, 4));
        add(&odd, plain("i", "item", 2, 0, NULL, numbers, 4));
        add(&p, odd);
        table = imported(p);
        assert_int_equal(krait_table_column(table, 1, &column, &err), KRAIT_E_UNSUPPORTED);
        assert_error(err, KRAIT_E_UNSUPPORTED, cases[i].words);
        snprintf(expected, sizeof expected,
                 "a: int32: 1 2\nodd: column 'odd' is of an Arrow type that krait has no column for: %s", cases[i].words);
        {
            char *shown = show_table(table);
            assert_memory_equal(shown, expected, strlen(expected));
            free(shown);
        }
        krait_table_free(table);
        assert_int_equal(live_structs, 0);
    }
}

static void odd_dictionaries_are_refused_by_name(void **state) {
    static const int8_t codes[] = { 0, 0 };
    pair                p = coded(plain("c", "x", 2, 0, NULL, codes, 1),
                                  coded(plain("c", NULL, 1, 0, NULL, codes, 1), texts("u", NULL, 1, 0, NULL, "a"), false), false);
    pair                list = { make_schema("+l", NULL), make_array(1, 0, 0, 2) };
    krait_table        *table = imported(p);
    krait_column        column;
    (void)state;
    krait_table_column(table, 0, &column, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "column 'x' is of an Arrow type that krait has no column for: "
                                           "dictionary of type dictionary ('c')");
    krait_table_free(table);
    add(&list, plain("c", "item", 2, 0, NULL, codes, 1));
    table = imported(coded(plain("c", "x", 2, 0, NULL, codes, 1), list, false));
    krait_table_column(table, 0, &column, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "dictionary of type list ('+l')");
    krait_table_free(table);
}

/* ---- malformed --------------------------------------------------------------------------------------------------- */

/* A good table of four columns, two rows: number (int32), text (u), coded (c of text), seen (vu). */
static pair good_table(void) {
    static const int32_t numbers[] = { 1, 2, 3 };
    static const int8_t  codes[] = { 0, 1, 0 };
    pair                 p = frame(2, 1, NULL), seen;
    add(&p, plain("i", "number", 3, 0, "110", numbers, 4));
    add(&p, texts("u", "text", 3, 0, NULL, "ab|cd|ef"));
    add(&p, coded(plain("c", "coded", 3, 0, NULL, codes, 1), texts("u", NULL, 2, 0, NULL, "x|y"), false));
    seen = views("vu", "seen", 0);
    add(&p, seen);
    return p;
}

static struct ArrowArray *child(pair p, int i) {
    return p.array->children[i];
}
static struct ArrowSchema *child_schema(pair p, int i) {
    return p.schema->children[i];
}
static void rename_format(struct ArrowSchema *schema, const char *format) {
    free((void *)(uintptr_t)schema->format);
    schema->format = format ? strdup(format) : NULL;
}
static void drop_buffer(struct ArrowArray *array, int64_t i) {
    set_buffer(array, i, NULL, 0);
}
static void put_offset(pair p, int i, int32_t offset) {
    ((int32_t *)(uintptr_t)child(p, 1)->buffers[1])[i] = offset;
}
static int32_t *view(pair p, int row) {
    return (int32_t *)(uintptr_t)child(p, 3)->buffers[1] + row * 4;
}
/* Keeps the children that a test hides, so that they are freed. */
static struct ArrowArray  *hidden_array;
static struct ArrowSchema *hidden_schema;
static const void        **hidden_buffers;
static struct ArrowArray **hidden_children;
static struct ArrowSchema **hidden_fields;

#define BREAK(name, ...) static void name(pair p) { __VA_ARGS__; }
BREAK(released_array, hidden_array = calloc(1, sizeof *hidden_array); *hidden_array = *p.array; p.array->release = NULL)
BREAK(released_schema, hidden_schema = calloc(1, sizeof *hidden_schema); *hidden_schema = *p.schema; p.schema->release = NULL)
BREAK(no_format, rename_format(p.schema, NULL))
BREAK(negative_length, p.array->length = -1)
BREAK(negative_offset, p.array->offset = -1)
BREAK(endless, p.array->length = INT64_MAX; p.array->offset = 2)
BREAK(too_long, p.array->length = 3)
BREAK(too_far, p.array->offset = 2)
BREAK(null_count_low, p.array->null_count = -2)
BREAK(null_count_high, p.array->null_count = 3)
BREAK(nulls_without_bits, p.array->null_count = 1)
BREAK(root_buffers, p.array->n_buffers = 0)
BREAK(root_negative_buffers, p.array->n_buffers = -1)
BREAK(root_no_buffers, hidden_buffers = p.array->buffers; p.array->buffers = NULL)
BREAK(fewer_children, p.array->n_children = 3)
BREAK(more_children, p.array->n_children = 5)
BREAK(negative_children, p.schema->n_children = -1)
BREAK(too_many_children, p.schema->n_children = (1 << 20) + 1)
BREAK(no_fields, hidden_fields = p.schema->children; p.schema->children = NULL)
BREAK(no_children, hidden_children = p.array->children; p.array->children = NULL)
BREAK(null_field, hidden_schema = p.schema->children[1]; p.schema->children[1] = NULL)
BREAK(null_child, hidden_array = p.array->children[1]; p.array->children[1] = NULL)
BREAK(released_field, child_schema(p, 0)->release = NULL)
BREAK(released_child, child(p, 0)->release = NULL)
BREAK(field_no_format, rename_format(child_schema(p, 1), NULL))
BREAK(bad_name, ((char *)(uintptr_t)child_schema(p, 1)->name)[1] = (char)0xff)
BREAK(child_short, child(p, 0)->length = 2)
BREAK(child_negative, child(p, 0)->length = -3)
BREAK(child_offset, child(p, 0)->offset = -1)
BREAK(child_endless, child(p, 0)->offset = INT64_MAX - 1)
BREAK(child_far, child(p, 0)->offset = INT64_MAX - 3)
BREAK(child_null_count, child(p, 0)->null_count = -7)
BREAK(child_nulls_without_bits, child(p, 0)->null_count = 1; drop_buffer(child(p, 0), 0))
BREAK(child_two_many_nulls, child(p, 0)->null_count = 4)
BREAK(child_few_buffers, child(p, 0)->n_buffers = 1)
BREAK(child_many_buffers, child(p, 0)->n_buffers = 3)
BREAK(child_negative_buffers, child(p, 0)->n_buffers = -2)
BREAK(child_no_buffers, hidden_buffers = child(p, 0)->buffers; child(p, 0)->buffers = NULL)
BREAK(child_no_data, drop_buffer(child(p, 0), 1))
BREAK(child_has_children, child(p, 0)->n_children = child_schema(p, 0)->n_children = 1;
      hidden_children = calloc(1, sizeof *hidden_children); hidden_fields = calloc(1, sizeof *hidden_fields);
      child(p, 0)->children = hidden_children; child_schema(p, 0)->children = hidden_fields)
BREAK(text_as_number, rename_format(child_schema(p, 0), "u"))
BREAK(broken_decimal, rename_format(child_schema(p, 0), "d:5"))
BREAK(wild_decimal, rename_format(child_schema(p, 0), "d:39,0"))
BREAK(odd_decimal, rename_format(child_schema(p, 0), "d:5,2,100"))
BREAK(broken_width, rename_format(child_schema(p, 0), "w:-3"))
BREAK(wild_width, rename_format(child_schema(p, 0), "w:99999999999999999999"))
BREAK(no_width, rename_format(child_schema(p, 0), "w:"))
BREAK(no_offsets, drop_buffer(child(p, 1), 1))
BREAK(no_text, drop_buffer(child(p, 1), 2))
BREAK(offset_back, put_offset(p, 2, 1))
BREAK(offset_forth, put_offset(p, 2, 7))
BREAK(offset_negative, put_offset(p, 1, -2))
BREAK(offset_end, put_offset(p, 3, -1))
BREAK(bad_text, ((char *)(uintptr_t)child(p, 1)->buffers[2])[4] = (char)0xc0)
BREAK(cut_text, ((char *)(uintptr_t)child(p, 1)->buffers[2])[3] = (char)0xc3; ((char *)(uintptr_t)child(p, 1)->buffers[2])[4] = (char)0xa4)
BREAK(code_high, ((int8_t *)(uintptr_t)child(p, 2)->buffers[1])[1] = 2)
BREAK(code_low, ((int8_t *)(uintptr_t)child(p, 2)->buffers[1])[2] = -1)
BREAK(code_unsigned, rename_format(child_schema(p, 2), "C"); ((int8_t *)(uintptr_t)child(p, 2)->buffers[1])[2] = -1)
BREAK(no_dictionary, hidden_array = child(p, 2)->dictionary; child(p, 2)->dictionary = NULL)
BREAK(no_dictionary_type, hidden_schema = child_schema(p, 2)->dictionary; child_schema(p, 2)->dictionary = NULL)
BREAK(released_dictionary, child(p, 2)->dictionary->release = NULL)
BREAK(released_dictionary_type, child_schema(p, 2)->dictionary->release = NULL)
BREAK(dictionary_length, child(p, 2)->dictionary->length = -1)
BREAK(dictionary_offsets, drop_buffer(child(p, 2)->dictionary, 1))
BREAK(dictionary_format, rename_format(child_schema(p, 2)->dictionary, "d:x"))
BREAK(dictionary_buffers, child(p, 2)->dictionary->n_buffers = 2)
BREAK(float_codes, rename_format(child_schema(p, 2), "e"))
BREAK(list_codes, rename_format(child_schema(p, 2), "+l"))
BREAK(views_few_buffers, child(p, 3)->n_buffers = 2)
BREAK(no_views, drop_buffer(child(p, 3), 1))
BREAK(view_negative, view(p, 1)[0] = -1)
BREAK(view_long, view(p, 1)[0] = 33)
BREAK(view_block, view(p, 1)[2] = 2)
BREAK(view_block_low, view(p, 1)[2] = -1)
BREAK(view_offset, view(p, 1)[3] = -1)
BREAK(view_offset_far, view(p, 1)[3] = INT32_MAX)
BREAK(view_no_block, drop_buffer(child(p, 3), 2))
BREAK(view_no_sizes, drop_buffer(child(p, 3), 4))
BREAK(view_bad_text, ((char *)(uintptr_t)child(p, 3)->buffers[2])[4] = (char)0xc0)

static const struct malformed {
    void (*make)(pair p);
    krait_status status;
    const char  *words;
} malformed_cases[] = {
#define ROW(make, words) { make, KRAIT_E_ARGUMENT, words }
    ROW(released_array, "the table has an Arrow array that was released or moved already"),
    ROW(released_schema, "the table has an Arrow schema that was released or moved already"),
    ROW(no_format, "the table has an Arrow schema without a format"),
    ROW(negative_length, "the table has length -1 and offset 1 in its Arrow array: negative"),
    ROW(negative_offset, "the table has length 2 and offset -1 in its Arrow array: negative"),
    ROW(endless, "the table has length 9223372036854775807 and offset 2 in its Arrow array: too large"),
    ROW(too_long, "column 'number' has 3 rows in its Arrow array, fewer than the 3 of the table from row 1 on"),
    ROW(too_far, "column 'number' has 3 rows in its Arrow array, fewer than the 2 of the table from row 2 on"),
    ROW(null_count_low, "the table has -2 missing values of 2"),
    ROW(null_count_high, "the table has 3 missing values of 2"),
    ROW(nulls_without_bits, "the table has 1 missing rows but no validity bits"),
    ROW(root_buffers, "the table has 0 buffers, expected 1"),
    ROW(root_negative_buffers, "the table has -1 buffers"),
    ROW(root_no_buffers, "the table has an Arrow array whose buffers are NULL"),
    ROW(fewer_children, "the table has 3 children in its Arrow array, but 4 in its schema"),
    ROW(more_children, "the table has 5 children in its Arrow array, but 4 in its schema"),
    ROW(negative_children, "the table has an Arrow schema with -1 children, expected 0 to 1048576"),
    ROW(too_many_children, "the table has an Arrow schema with 1048577 children"),
    ROW(no_fields, "the table has an Arrow schema whose children are NULL"),
    ROW(no_children, "the table has an Arrow array whose children are NULL"),
    ROW(null_field, "column 1 has no Arrow schema: the pointer is NULL"),
    ROW(null_child, "column 'text' has no Arrow array: the pointer is NULL"),
    ROW(released_field, "column 'number' has an Arrow schema that was released or moved already"),
    ROW(released_child, "column 'number' has an Arrow array that was released or moved already"),
    ROW(field_no_format, "column 'text' has an Arrow schema without a format"),
    { bad_name, KRAIT_E_ENCODING, "column 1 has a name that is not UTF-8" },
    ROW(child_short, "column 'number' has 2 rows in its Arrow array, fewer than the 2 of the table from row 1 on"),
    ROW(child_negative, "column 'number' has length -3 and offset 0"),
    ROW(child_offset, "column 'number' has length 3 and offset -1"),
    ROW(child_endless, "column 'number' has length 3 and offset 9223372036854775806 in its Arrow array: too large"),
    ROW(child_far, "column 'number' has 2 rows, more than memory can hold"),
    ROW(child_null_count, "column 'number' has -7 missing values of 3"),
    ROW(child_nulls_without_bits, "column 'number' has 1 missing values but no validity bits"),
    ROW(child_two_many_nulls, "column 'number' has 4 missing values of 3"),
    ROW(child_few_buffers, "column 'number' has 1 buffers, expected 2 for type 'i'"),
    ROW(child_many_buffers, "column 'number' has 3 buffers, expected 2 for type 'i'"),
    ROW(child_negative_buffers, "column 'number' has -2 buffers"),
    ROW(child_no_buffers, "column 'number' has an Arrow array whose buffers are NULL"),
    ROW(child_no_data, "column 'number' has no buffer 1 in its Arrow array"),
    ROW(child_has_children, "column 'number' has 1 children, but type 'i' has none"),
    ROW(text_as_number, "column 'number' has 2 buffers, expected 3 for type 'u'"),
    ROW(broken_decimal, "column 'number' has an Arrow schema of format 'd:5': malformed"),
    ROW(wild_decimal, "column 'number' has an Arrow schema of format 'd:39,0': malformed"),
    ROW(odd_decimal, "column 'number' has an Arrow schema of format 'd:5,2,100': malformed"),
    ROW(broken_width, "column 'number' has an Arrow schema of format 'w:-3': malformed"),
    ROW(wild_width, "column 'number' has an Arrow schema of format 'w:99999999999999999999': malformed"),
    ROW(no_width, "column 'number' has an Arrow schema of format 'w:': malformed"),
    ROW(no_offsets, "column 'text' has no buffer 1 in its Arrow array"),
    ROW(no_text, "column 'text' has no buffer 2 in its Arrow array"),
    ROW(offset_back, "column 'text' has offsets 2 and 1 at row 0"),
    ROW(offset_forth, "column 'text'"),
    ROW(offset_negative, "column 'text' has offsets in its Arrow array that run from -2 to 6"),
    ROW(offset_end, "column 'text' has offsets in its Arrow array that run from 2 to -1"),
    { bad_text, KRAIT_E_ENCODING, "column 'text'" },
    { cut_text, KRAIT_E_ENCODING, "column 'text'" },
    ROW(code_high, "column 'coded' has code 2 at row 0"),
    ROW(code_low, "column 'coded' has code -1 at row 1"),
    ROW(code_unsigned, "column 'coded' has code 255 at row 1"),
    ROW(no_dictionary, "column 'coded' has a dictionary in its Arrow schema only"),
    ROW(no_dictionary_type, "column 'coded' has a dictionary in its Arrow array only"),
    ROW(released_dictionary, "column 'coded' has an Arrow array that was released or moved already"),
    ROW(released_dictionary_type, "column 'coded' has an Arrow schema that was released or moved already"),
    ROW(dictionary_length, "column 'coded' has length -1 and offset 0"),
    ROW(dictionary_offsets, "column 'coded' has no buffer 1"),
    ROW(dictionary_format, "column 'coded' has an Arrow schema of format 'd:x': malformed"),
    ROW(dictionary_buffers, "column 'coded' has 2 buffers, expected 3 for type 'u'"),
    ROW(float_codes, "column 'coded' has a dictionary, but indices of format 'e': expected integers"),
    ROW(list_codes, "column 'coded' has a dictionary, but indices of format '+l': expected integers"),
    ROW(views_few_buffers, "column 'seen' has 2 buffers, expected 3 or more for type 'vu'"),
    ROW(no_views, "column 'seen' has no buffer 1"),
    ROW(view_negative, "column 'seen' has a view in row 0 of -1 bytes"),
    ROW(view_long, "column 'seen' has a view in row 0 of 33 bytes at 0 in a block of 32"),
    ROW(view_block, "column 'seen' has a view in row 0 of 32 bytes at 0 in block 2 of 2"),
    ROW(view_block_low, "column 'seen' has a view in row 0 of 32 bytes at 0 in block -1 of 2"),
    ROW(view_offset, "column 'seen' has a view in row 0 of 32 bytes at -1 in block 0 of 2"),
    ROW(view_offset_far, "column 'seen' has a view in row 0 of 32 bytes at 2147483647 in a block of 32"),
    ROW(view_no_block, "column 'seen' has no buffer 2"),
    ROW(view_no_sizes, "column 'seen' has no buffer 4"),
    { view_bad_text, KRAIT_E_ENCODING, "column 'seen'" },
#undef ROW
};

/* What a case hid or changed goes back to where its release function looks for it. */
static void restore(pair p) {
    if (hidden_buffers && !p.array->buffers) p.array->buffers = hidden_buffers;
    if (hidden_fields && !p.schema->children) p.schema->children = hidden_fields;
    if (hidden_children && !p.array->children) p.array->children = hidden_children;
    for (int i = 0; i < 4; i++) {
        if (!child(p, i)) p.array->children[i] = hidden_array;
        if (!child_schema(p, i)) p.schema->children[i] = hidden_schema;
        child(p, i)->release = free_array;
        child_schema(p, i)->release = free_schema;
    }
    if (!child(p, 0)->buffers) child(p, 0)->buffers = hidden_buffers;
    if (!child(p, 2)->dictionary) child(p, 2)->dictionary = hidden_array;
    if (!child_schema(p, 2)->dictionary) child_schema(p, 2)->dictionary = hidden_schema;
    child(p, 2)->dictionary->release = free_array;
    child_schema(p, 2)->dictionary->release = free_schema;
}

static void malformed_tables_are_refused(void **state) {
    (void)state;
    assert_true(COUNT(malformed_cases) >= 40);
    for (size_t i = 0; i < COUNT(malformed_cases); i++) {
        const struct malformed *c = &malformed_cases[i];
        pair                    p = good_table();
        krait_table            *table = (krait_table *)1;
        int                     live = live_structs;
        bool                    had_array, had_schema;
        hidden_array = NULL, hidden_schema = NULL, hidden_buffers = NULL, hidden_children = NULL, hidden_fields = NULL;
        c->make(p);
        had_array = p.array->release, had_schema = p.schema->release;
        assert_int_equal(krait_arrow_import(p.schema, p.array, &table, &err), c->status);
        assert_error(err, c->status, c->words);
        assert_null(table);
        assert_int_equal(live_structs, live); /* nothing was released ... */
        assert_true(had_array == !!p.array->release && had_schema == !!p.schema->release);
        if (!had_array) p.array->release = free_array, free(hidden_array);
        if (!had_schema) p.schema->release = free_schema, free(hidden_schema);
        restore(p);
        drop(p.schema, p.array);
        assert_int_equal(live_structs, 0); /* ... and everything still can be */
    }
}

static void misuse_of_import(void **state) {
    pair         p = good_table();
    krait_table *table = (krait_table *)1;
    (void)state;
    assert_int_equal(krait_arrow_import(NULL, p.array, &table, &err), KRAIT_E_ARGUMENT);
    assert_error(err, KRAIT_E_ARGUMENT, "schema is NULL");
    assert_null(table);
    assert_int_equal(krait_arrow_import(p.schema, NULL, &table, &err), KRAIT_E_ARGUMENT);
    assert_error(err, KRAIT_E_ARGUMENT, "array is NULL");
    assert_int_equal(krait_arrow_import(p.schema, p.array, NULL, &err), KRAIT_E_ARGUMENT);
    assert_error(err, KRAIT_E_ARGUMENT, "out is NULL");
    assert_int_equal(krait_arrow_import(p.schema, p.array, NULL, NULL), KRAIT_E_ARGUMENT);
    krait_error_new(&err, KRAIT_E_SHAPE, "before");
    assert_int_equal(krait_arrow_import(p.schema, p.array, &table, &err), KRAIT_E_SHAPE); /* errors stick */
    assert_error(err, KRAIT_E_SHAPE, "before");
    table = imported(p);
    krait_table_free(table);
    /* once moved, it cannot come again */
    p = good_table();
    table = NULL;
    krait_arrow_import(p.schema, p.array, &table, &err);
    assert_good(err);
    krait_table_free(table);
    assert_refuses(p, KRAIT_E_ARGUMENT, "released or moved already");
}

/* What a library checked before is not read through: that shows by what then goes unseen. */
static void trusted_arrays_are_not_read_through(void **state) {
    pair         p = texts("u", "x", 1, 0, NULL, "\xff");
    krait_table *table = NULL;
    (void)state;
    krait__arrow_import(p.schema, p.array, true, &table, &err);
    assert_good(err);
    krait_table_free(table);
    drop(p.schema, p.array);
    p = texts("u", "x", 1, 0, NULL, "a");
    p.array->length = -1;
    krait__arrow_import(p.schema, p.array, true, &table, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "-1 rows");
    drop(p.schema, p.array);
}

/* ---- leaving ----------------------------------------------------------------------------------------------------- */

static krait_column column_of(const char *name, uint8_t kind, int64_t rows, const void *data, int64_t stride) {
    krait_column column = KRAIT_COLUMN_INIT;
    column.name = name;
    column.kind = kind;
    column.rows = rows;
    column.data = data;
    column.stride = stride;
    return column;
}

static krait_column array_of(const char *name, krait_dtype dtype, int64_t rows, const void *data) {
    krait_column column = column_of(name, KRAIT_COLUMN_ARRAY, rows, data, (int64_t)dtype.item_size);
    column.dtype = dtype;
    return column;
}

static krait_table *table_with(const krait_column *column) {
    krait_table *table = krait_table_new(&err);
    krait_table_add_column(table, column, &err);
    assert_good(err);
    return table;
}

/* Leaves and comes back as that; the table is freed. */
static void assert_leaves(const krait_column *column, const char *format, const char *expected) {
    krait_table       *table = table_with(column), *again;
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    krait_table_free(table);
    assert_string_equal(schema.children[0]->format, format);
    krait_arrow_import(&schema, &array, &again, &err);
    assert_good(err);
    assert_shows(again, expected);
    krait_table_free(again);
}

static void assert_stays(const krait_column *column, krait_status status, const char *words) {
    krait_table       *table = table_with(column);
    struct ArrowSchema schema;
    struct ArrowArray  array;
    assert_int_equal(krait_arrow_export(table, &schema, &array, &err), status);
    assert_error(err, status, words);
    assert_null(schema.release);
    assert_null(array.release);
    krait_table_free(table);
}

/* What leaves lies where a C program can read it. */
static void assert_aligned(const krait_column *column) {
    krait_table       *table = table_with(column);
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    assert_int_equal((uintptr_t)array.children[0]->buffers[1] % 8, 0);
    schema.release(&schema);
    array.release(&array);
    krait_table_free(table);
}

static krait_dtype swapped(krait_dtype dtype) {
    dtype.swapped = 1;
    return dtype;
}

static void shared_where_they_can_be(void **state) {
    static const double  x[] = { 1.5, 2.5 };
    static const uint8_t bits[] = { 0xff, 0x02 };
    krait_column         column = array_of("x", krait_f64_type(), 2, x);
    krait_table         *table;
    struct ArrowSchema   schema;
    struct ArrowArray    array;
    (void)state;
    column.valid = bits;
    column.valid_offset = 8;
    table = table_with(&column);
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    krait_table_free(table);
    assert_int_equal(array.length, 2);
    assert_int_equal(array.n_buffers, 1);
    assert_null(array.buffers[0]);
    assert_ptr_equal(array.children[0]->buffers[1], x);
    assert_ptr_equal(array.children[0]->buffers[0], bits + 1);
    assert_int_equal(schema.children[0]->flags, ARROW_FLAG_NULLABLE);
    assert_string_equal(schema.format, "+s");
    schema.release(&schema);
    array.release(&array);
    assert_null(schema.release);
    assert_null(array.release);
}

/* Strided, of the other byte order, at odd addresses, with bits in the middle of a byte: copied, and right. */
static void copied_where_they_must_be(void **state) {
    static const struct {
        int32_t number;
        int32_t other;
    } pairs[] = { { 1, 9 }, { 2, 9 }, { 3, 9 } };
    static const char   big[] = { 0, 0, 0, 1, 0, 0, 1, 0 };
    static const char   huge[] = { 0, 0, 0, 0, 0, 0, 1, 0 };
    static const char   half[] = { 0x3c, 0 };
    static const bool   flags[] = { true, false, true, true };
    static const uint8_t bits[] = { 0x28 };
    _Alignas(16) char   odd[17] = { 0, 5 };
    krait_column        column = column_of("x", KRAIT_COLUMN_ARRAY, 3, pairs, 8);
    (void)state;
    column.dtype = krait_i32_type();
    assert_leaves(&column, "i", "x: int32: 1 2 3\n");
    column.data = &pairs[2];
    column.stride = -8;
    assert_leaves(&column, "i", "x: int32: 3 2 1\n");
    column.stride = 0;
    column.valid = bits;
    column.valid_offset = 3; /* 1 0 1 */
    assert_leaves(&column, "i", "x: int32: 3 - 3\n");
    column = array_of("x", swapped(krait_i32_type()), 2, big);
    assert_leaves(&column, "i", "x: int32: 1 256\n");
    column = array_of("x", swapped(krait_datetime(KRAIT_MS, 1)), 1, huge);
    assert_leaves(&column, "tsm:", "x: datetime64[ms]: 256\n");
    column = array_of("x", swapped(krait_f16_type()), 1, half);
    assert_leaves(&column, "e", "x: float16: 15360\n");
    column = array_of("x", krait_i64_type(), 1, odd + 1);
    assert_leaves(&column, "l", "x: int64: 5\n");
    assert_aligned(&column);
    column = column_of("x", KRAIT_COLUMN_ARRAY, 2, flags, 2);
    column.dtype = krait_bool_type();
    assert_leaves(&column, "b", "x: bool: yes yes\n");
    column = column_of("x", KRAIT_COLUMN_DECIMAL, 1, odd + 1, 16);
    column.precision = 3;
    column.scale = 1;
    assert_leaves(&column, "d:3,1", "x: decimal(3,1): 5\n");
    assert_aligned(&column);
}

static void times_leave_in_units_that_arrow_has(void **state) {
    static const int64_t ticks[] = { 2, -1 };
    static const struct {
        uint8_t     code, unit;
        int32_t     count;
        const char *zone, *format, *expected;
    } cases[] = {
        { KRAIT_DATETIME, KRAIT_S, 1, NULL, "tss:", "datetime64[s]: 2 -1" },
        { KRAIT_DATETIME, KRAIT_NS, 1, "UTC", "tsn:UTC", "datetime64[ns] in UTC: 2 -1" },
        { KRAIT_DATETIME, KRAIT_S, 25, NULL, "tss:", "datetime64[s]: 50 -25" },
        { KRAIT_DATETIME, KRAIT_NS, 100, NULL, "tsn:", "datetime64[ns]: 200 -100" },
        { KRAIT_DATETIME, KRAIT_DAY, 1, NULL, "tdD", "date: 2 -1" },
        { KRAIT_DATETIME, KRAIT_DAY, 7, NULL, "tdD", "date: 14 -7" },
        { KRAIT_DATETIME, KRAIT_DAY, 1, "UTC", "tss:UTC", "datetime64[s] in UTC: 172800 -86400" },
        { KRAIT_DATETIME, KRAIT_HOUR, 1, NULL, "tss:", "datetime64[s]: 7200 -3600" },
        { KRAIT_DATETIME, KRAIT_MINUTE, 15, NULL, "tss:", "datetime64[s]: 1800 -900" },
        { KRAIT_DATETIME, KRAIT_WEEK, 1, NULL, "tss:", "datetime64[s]: 1209600 -604800" },
        { KRAIT_DATETIME, KRAIT_MONTH, 1, NULL, "tss:", "datetime64[s]: 5097600 -2678400" },
        { KRAIT_DATETIME, KRAIT_YEAR, 1, NULL, "tss:", "datetime64[s]: 63072000 -31536000" },
        { KRAIT_DATETIME, KRAIT_PS, 1000, NULL, "tsn:", "datetime64[ns]: 2 -1" },
        { KRAIT_TIMEDELTA, KRAIT_MS, 1, NULL, "tDm", "timedelta64[ms]: 2 -1" },
        { KRAIT_TIMEDELTA, KRAIT_US, 3, NULL, "tDu", "timedelta64[us]: 6 -3" },
        { KRAIT_TIMEDELTA, KRAIT_DAY, 1, NULL, "tDs", "timedelta64[s]: 172800 -86400" },
        { KRAIT_TIMEDELTA, KRAIT_HOUR, 1, NULL, "tDs", "timedelta64[s]: 7200 -3600" },
        { KRAIT_TIMEDELTA, KRAIT_WEEK, 2, NULL, "tDs", "timedelta64[s]: 2419200 -1209600" },
        { KRAIT_TIMEDELTA, KRAIT_FS, 1000000, NULL, "tDn", "timedelta64[ns]: 2 -1" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        krait_dtype  dtype = krait_dtype_make_(cases[i].code, cases[i].unit, 8, cases[i].count);
        krait_column column = array_of("x", dtype, 2, ticks);
        char         expected[160];
        column.zone = cases[i].zone;
        snprintf(expected, sizeof expected, "x: %s\n", cases[i].expected);
        assert_leaves(&column, cases[i].format, expected);
    }
}

static void times_that_cannot_leave(void **state) {
    static const int64_t big[] = { 0, INT64_MAX / 2 };
    static const int64_t days[] = { 0, 0, INT64_C(1) << 31 };
    static const int64_t odd[] = { 1000, 1001 };
    krait_column         column = array_of("when", krait_datetime(KRAIT_HOUR, 1), 2, big);
    (void)state;
    assert_stays(&column, KRAIT_E_RANGE, "column 'when' has 4611686018427387903 of datetime64[h] in row 1");
    column.dtype = krait_timedelta(KRAIT_S, 25);
    assert_stays(&column, KRAIT_E_RANGE, "column 'when' has 4611686018427387903 of timedelta64[25s] in row 1");
    column.dtype = krait_datetime(KRAIT_YEAR, 1);
    assert_stays(&column, KRAIT_E_RANGE, "in row 1");
    column = array_of("when", krait_datetime(KRAIT_DAY, 1), 3, days);
    assert_stays(&column, KRAIT_E_RANGE, "column 'when' has 2147483648 of datetime64[D] in row 2, which is no day");
    column = array_of("when", krait_datetime(KRAIT_PS, 1), 2, odd);
    assert_stays(&column, KRAIT_E_RANGE, "column 'when' has 1001 of datetime64[ps] in row 1, which is no whole number");
    column.dtype = krait_timedelta(KRAIT_MONTH, 1);
    assert_stays(&column, KRAIT_E_UNSUPPORTED, "column 'when' is timedelta64[M], for which Arrow has no type");
    column.dtype = krait_timedelta(KRAIT_GENERIC, 1);
    assert_stays(&column, KRAIT_E_UNSUPPORTED, "column 'when' is timedelta64, for which Arrow has no type");
}

static void nat_is_missing(void **state) {
    static const int64_t ticks[] = { 1, INT64_MIN, 3, INT64_MIN }, far[] = { INT64_MAX, 2 };
    static const uint8_t bits[] = { 0x0e };
    krait_column         column = array_of("x", krait_datetime(KRAIT_US, 1), 4, ticks);
    krait_column         category = column_of("x", KRAIT_COLUMN_CATEGORY, 2, "\0\1", 1);
    (void)state;
    assert_leaves(&column, "tsu:", "x: datetime64[us]: 1 - 3 -\n");
    column.valid = bits;
    assert_leaves(&column, "tsu:", "x: datetime64[us]: - - 3 -\n");
    column.dtype = krait_datetime(KRAIT_DAY, 1);
    assert_leaves(&column, "tdD", "x: date: - - 3 -\n");
    column.dtype = krait_timedelta(KRAIT_HOUR, 1);
    assert_leaves(&column, "tDs", "x: timedelta64[s]: - - 10800 -\n");
    column.data = ticks + 3; /* backwards */
    column.stride = -8;
    column.valid = NULL;
    assert_leaves(&column, "tDs", "x: timedelta64[s]: - 10800 - 3600\n");
    column.dtype = krait_timedelta(KRAIT_NS, 1);
    assert_leaves(&column, "tDn", "x: timedelta64[ns]: - 3 - 1\n");
    column.data = far;
    column.stride = 8;
    column.rows = 2;
    column.valid = bits;
    column.dtype = krait_datetime(KRAIT_HOUR, 1);
    assert_leaves(&column, "tss:", "x: datetime64[s]: - 7200\n"); /* what is missing need not fit */
    column = array_of("", krait_timedelta(KRAIT_HOUR, 1), 4, ticks);
    category.dtype = krait_i8_type();
    category.dictionary = &column;
    category.ordered = 1;
    assert_leaves(&category, "c", "x: ordered category of timedelta64[s]: 3600 -\n");
}

static void what_arrow_has_no_type_for(void **state) {
    static const double x[] = { 1, 2 };
    krait_column        column = array_of("z", krait_c128_type(), 1, x);
    krait_table        *table;
    struct ArrowSchema  schema;
    struct ArrowArray   array;
    pair                p = frame(1, 0, NULL), list = { make_schema("+l", "odd"), make_array(1, 0, 0, 2) };
    (void)state;
    assert_stays(&column, KRAIT_E_UNSUPPORTED, "column 'z' is complex128, for which Arrow has no type");
    column.dtype = krait_c64_type();
    column.stride = 8;
    assert_stays(&column, KRAIT_E_UNSUPPORTED, "column 'z' is complex64");
    add(&list, plain("g", "item", 2, 0, NULL, x, 8));
    add(&p, list);
    table = imported(p);
    krait_arrow_export(table, &schema, &array, &err);
    assert_error(err, KRAIT_E_UNSUPPORTED, "column 'odd' is of an Arrow type that krait has no column for: list");
    krait_table_free(table);
}

static void names_and_levels(void **state) {
    static const int64_t numbers[] = { 1, 2 };
    krait_column         column = array_of("x", krait_i64_type(), 2, numbers);
    krait_table         *table = table_with(&column);
    struct ArrowSchema   schema;
    struct ArrowArray    array;
    (void)state;
    column.name = "level";
    krait_table_add_index(table, &column, &err);
    column.name = "";
    krait_table_add_index(table, &column, &err);
    column.name = "";
    krait_table_add_column(table, &column, &err);
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    assert_int_equal(schema.n_children, 4);
    assert_string_equal(schema.children[0]->name, "x");
    assert_string_equal(schema.children[1]->name, "");
    assert_string_equal(schema.children[2]->name, "level");
    assert_string_equal(schema.children[3]->name, "__index_level_1__");
    schema.release(&schema);
    array.release(&array);
    column.name = "level";
    krait_table_add_column(table, &column, &err);
    assert_good(err);
    assert_int_equal(krait_arrow_export(table, &schema, &array, &err), KRAIT_E_AMBIGUOUS);
    assert_error(err, KRAIT_E_AMBIGUOUS, "more than one column is named 'level'");
    krait_table_free(table);
}

/* Consumers may move children out and release them when and in what order they like. */
static void children_may_be_moved_out(void **state) {
    static const bool  flags[] = { true, false };
    krait_column       column = array_of("x", krait_bool_type(), 2, flags), other = array_of("y", krait_u8_type(), 2, flags);
    krait_table       *table = table_with(&column);
    struct ArrowSchema schema, field;
    struct ArrowArray  array, first, second;
    (void)state;
    krait_table_add_column(table, &other, &err);
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    krait_table_free(table);
    first = *array.children[0];
    array.children[0]->release = NULL;
    second = *array.children[1];
    array.children[1]->release = NULL;
    field = *schema.children[0];
    schema.children[0]->release = NULL;
    array.release(&array);
    schema.release(&schema);
    assert_int_equal(*(const uint8_t *)first.buffers[1] & 3, 1);
    assert_string_equal(field.format, "b");
    second.release(&second);
    first.release(&first);
    field.release(&field);
}

static void misuse_of_export(void **state) {
    struct ArrowSchema      schema;
    struct ArrowArray       array;
    struct ArrowArrayStream stream;
    krait_table            *table = krait_table_new(&err);
    (void)state;
    assert_good(err);
    krait_arrow_export(NULL, &schema, &array, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "table is NULL");
    krait_arrow_export(table, NULL, &array, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "schema is NULL");
    krait_arrow_export(table, &schema, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "array is NULL");
    krait_arrow_export_stream(table, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "stream is NULL");
    krait_arrow_export_stream(NULL, &stream, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "table is NULL");
    krait_error_new(&err, KRAIT_E_SHAPE, "before");
    memset(&schema, 1, sizeof schema);
    memset(&array, 1, sizeof array);
    assert_int_equal(krait_arrow_export(table, &schema, &array, &err), KRAIT_E_SHAPE);
    assert_null(schema.release);
    assert_null(array.release);
    assert_int_equal(krait_arrow_export_stream(table, &stream, &err), KRAIT_E_SHAPE);
    assert_null(stream.release);
    krait_error_clear(&err);
    krait_arrow_export(table, &schema, &array, &err);
    assert_good(err);
    assert_int_equal(schema.n_children, 0);
    assert_int_equal(array.length, 0);
    schema.release(&schema);
    array.release(&array);
    krait_table_free(table);
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

enum { BATCHES_MAX = 8 };

/* A stream by hand. */
typedef struct source {
    struct ArrowSchema *schema;
    struct ArrowArray  *batches[BATCHES_MAX];
    int                 count, next, fail_at; /* fail_at: batch that fails, -1 none, -2 the schema */
    bool                silent, forever;
} source;

static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    source *own = stream->private_data;
    if (own->fail_at == -2) return EINVAL;
    *out = *own->schema;
    own->schema->release = NULL;
    return 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    source *own = stream->private_data;
    if (own->next == own->fail_at) return EIO;
    memset(out, 0, sizeof *out);
    if (own->next == own->count) return 0;
    *out = *own->batches[own->next];
    own->batches[own->next++]->release = NULL;
    return 0;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    source *own = stream->private_data;
    return own->silent ? NULL : "the disk is gone";
}

static void source_release(struct ArrowArrayStream *stream) {
    source *own = stream->private_data;
    drop(own->schema, NULL);
    for (int i = 0; i < own->count; i++) drop(NULL, own->batches[i]);
    free(own);
    stream->release = NULL;
    live_structs--;
}

/* The batches' schemas but the first one's are dropped. */
static struct ArrowArrayStream stream_of(struct ArrowSchema *schema, int count, pair *batches) {
    source *own = calloc(1, sizeof *own);
    own->schema = schema ? schema : batches[0].schema;
    own->count = count;
    own->fail_at = -1;
    for (int i = 0; i < count; i++) {
        own->batches[i] = batches[i].array;
        if (i || schema) drop(batches[i].schema, NULL);
    }
    live_structs++;
    return (struct ArrowArrayStream){ source_schema, source_next, source_error, source_release, own };
}

static krait_table *streamed(struct ArrowArrayStream stream) {
    krait_table *table = NULL;
    krait_arrow_import_stream(&stream, &table, &err);
    assert_good(err);
    assert_null(stream.release);
    return table;
}

static void one_batch_is_not_copied(void **state) {
    static const double x[] = { 0.5, 1.5, 2.5 };
    pair                batches[3] = { plain("g", "x", 0, 0, NULL, x, 8), plain("g", "x", 2, 1, NULL, x, 8),
                                       plain("g", "x", 0, 0, NULL, x, 8) };
    const char         *data = batches[1].array->buffers[1];
    krait_table        *table = streamed(stream_of(NULL, 3, batches));
    krait_column        column;
    (void)state;
    krait_table_column(table, 0, &column, &err);
    assert_good(err);
    assert_ptr_equal(column.data, data + 8);
    assert_is(table, "x: float64: 1.5 2.5\n");
}

/* One batch of every layout: numbers, bools, texts, views, a category, a refused column. */
static pair batch(int64_t rows, int64_t offset, const char *bits) {
    static const int16_t numbers[] = { 1, 2, 3, 4, 5, 6 };
    static const int8_t  codes[] = { 0, 1, 0, 1, 0, 1 };
    pair                 p = frame(rows, 0, NULL);
    pair                 odd = { make_schema("+s", "odd"), make_array(rows, 0, 0, 1) };
    char                 parts[16] = "a|b|c|d|e|f";
    parts[2 * (rows + offset) - 1] = 0;
    add(&p, plain("s", "n", rows, offset, bits, numbers, 2));
    add(&p, bools("b", rows, offset, NULL, "101100"));
    add(&p, texts("U", "t", rows, offset, bits, parts));
    add(&p, coded(plain("c", "c", rows, offset, NULL, codes, 1), texts("u", NULL, 2, 0, NULL, "p|q"), true));
    add(&p, odd);
    return p;
}

static void batches_are_put_together(void **state) {
    pair batches[4] = { batch(2, 0, "10"), batch(0, 1, NULL), batch(3, 1, NULL), batch(1, 4, "00000") };
    static const int64_t numbers[] = { 1, 2, 3 };
    char                *shown;
    krait_table         *table = streamed(stream_of(NULL, 4, batches));
    (void)state;
    shown = show_table(table);
    assert_string_equal(shown, "n: int16: 1 - 2 3 4 -\nb: bool: yes no no yes yes no\n"
                               "t: text: 'a' - 'b' 'c' 'd' -\n"
                               "c: ordered category of text: 'p' 'q' 'q' 'p' 'q' 'p'\n"
                               "odd: column 'odd' is of an Arrow type that krait has no column for: struct ('+s')\n");
    free(shown);
    krait_table_free(table);
    batches[0] = plain("l", "x", 2, 0, "10111111", numbers, 8); /* bits behind the last row mean nothing */
    batches[1] = plain("l", "x", 3, 0, "01011111", numbers, 8);
    assert_is(streamed(stream_of(NULL, 2, batches)), "x: int64: 1 - - 2 -\n");
}

static void streams_without_batches(void **state) {
    pair         p = batch(1, 0, NULL);
    krait_table *table;
    char        *shown;
    (void)state;
    drop(NULL, p.array);
    table = streamed(stream_of(p.schema, 0, NULL));
    shown = show_table(table);
    assert_string_equal(shown, "n: int16:\nb: bool:\nt: text:\nc: ordered category of text:\n"
                               "odd: column 'odd' is of an Arrow type that krait has no column for: struct ('+s')\n");
    free(shown);
    krait_table_free(table);
    p = views("vu", "x", 0);
    drop(NULL, p.array);
    assert_is(streamed(stream_of(p.schema, 0, NULL)), "x: text:\n");
}

static pair category(const char *codes, const char *bits, pair values, bool ordered) {
    int8_t  numbers[16];
    int64_t n = (int64_t)strlen(codes);
    for (int64_t i = 0; i < n; i++) numbers[i] = (int8_t)(codes[i] - '0');
    return coded(plain("c", "x", n, 0, bits, numbers, 1), values, ordered);
}

static void dictionaries_become_one(void **state) {
    static const double x[] = { 0.5, 1.5 }, y[] = { 1.5, 2.5 };
    static const char   same[] = "the batches of its stream have dictionaries of different order";
    static const char *const others[] = { "c|a", "a|b", "b|d", "d|c" };
    const char         *lo, *hi;
    pair                batches[4];
    krait_table        *table;
    krait_column        column;
    (void)state;
    batches[0] = category("010", NULL, texts("u", NULL, 2, 0, NULL, "a|b"), false);
    batches[1] = category("210", "101", texts("u", NULL, 3, 0, NULL, "b|c|a"), false);
    batches[2] = category("10", NULL, texts("u", NULL, 2, 0, "10", "d|"), false);
    batches[3] = category("10", NULL, texts("u", NULL, 2, 0, "10", "d|"), false);
    table = streamed(stream_of(NULL, 4, batches));
    krait_table_column(table, 0, &column, &err);
    assert_good(err);
    assert_int_equal(column.dictionary->rows, 5); /* a b c d missing */
    assert_is(table, "x: category of text: 'a' 'b' 'a' 'a' - 'b' - 'd' - 'd'\n");

    batches[0] = category("01", NULL, plain("g", NULL, 2, 0, NULL, x, 8), false);
    batches[1] = category("01", NULL, plain("g", NULL, 2, 0, NULL, y, 8), false);
    assert_is(streamed(stream_of(NULL, 2, batches)), "x: category of float64: 0.5 1.5 1.5 2.5\n");

    batches[0] = category("12", "00", (pair){ make_schema("n", NULL), make_array(0, 0, 0, 0) }, false);
    batches[1] = category("01", NULL, (pair){ make_schema("n", NULL), make_array(2, 0, 2, 0) }, false);
    assert_is(streamed(stream_of(NULL, 2, batches)), "x: category of text: - - - -\n");

    batches[0] = category("01", NULL, texts("u", NULL, 2, 0, NULL, "a|c"), true);
    batches[1] = category("012", NULL, texts("u", NULL, 3, 0, NULL, "a|c|d"), true); /* goes on where the first ended */
    assert_is(streamed(stream_of(NULL, 2, batches)), "x: ordered category of text: 'a' 'c' 'a' 'c' 'd'\n");

    batches[0] = category("201", NULL, texts("u", NULL, 3, 0, NULL, "a|c|d"), true);
    batches[1] = category("10", NULL, texts("u", NULL, 2, 0, NULL, "a|c"), true); /* the first one holds it */
    assert_is(streamed(stream_of(NULL, 2, batches)), "x: ordered category of text: 'd' 'a' 'c' 'c' 'a'\n");

    for (size_t i = 0; i < COUNT(others); i++) {
        batches[0] = category("01", "01", texts("u", NULL, 2, 0, NULL, "a|c"), true);
        batches[1] = category("10", NULL, texts("u", NULL, 2, 0, NULL, others[i]), true);
        table = streamed(stream_of(NULL, 2, batches));
        krait_table_column(table, 0, &column, &err);
        assert_error(err, KRAIT_E_UNSUPPORTED, same);
        krait__table_hull(table, &lo, &hi); /* nothing of it is left to look at */
        assert_null(lo);
        krait_table_free(table);
        assert_int_equal(live_structs, 0);
    }
}

/* 90 values each: together more than codes of 8 bits count. */
static void codes_grow_with_the_dictionary(void **state) {
    enum { VALUES = 90, PARTS = 3 };
    pair         batches[PARTS];
    krait_table *table;
    krait_column column;
    (void)state;
    for (int b = 0; b < PARTS; b++) {
        int32_t values[VALUES];
        int8_t  codes[VALUES];
        for (int i = 0; i < VALUES; i++) values[i] = b * 1000 + i, codes[i] = (int8_t)(VALUES - 1 - i);
        batches[b] = coded(plain("c", "x", VALUES, 0, NULL, codes, 1), plain("i", NULL, VALUES, 0, NULL, values, 4), false);
    }
    table = streamed(stream_of(NULL, PARTS, batches));
    krait_table_column(table, 0, &column, &err);
    assert_good(err);
    assert_int_equal(column.dtype.code, KRAIT_I16);
    assert_int_equal(column.dictionary->rows, VALUES * PARTS);
    for (int64_t row = 0; row < column.rows; row++) {
        int16_t code = ((const int16_t *)column.data)[row];
        int32_t value = ((const int32_t *)column.dictionary->data)[code];
        assert_int_equal(value, row / VALUES * 1000 + VALUES - 1 - row % VALUES);
    }
    krait_table_free(table);
}

/* Texts of batches that a wider offset would be needed for count from 64-bit offsets. */
static void wide_offsets_win(void **state) {
    static const int32_t narrow[] = { 1, 3 };
    static const int64_t wide[] = { 0, 1, 3 };
    krait_column         a = column_of("x", KRAIT_COLUMN_TEXT, 1, "abc", 0), b = a, column;
    krait_table         *tables[2], *table = NULL;
    (void)state;
    a.offsets = narrow, a.offset_bytes = 4, a.data_bytes = 3;
    b.offsets = wide, b.offset_bytes = 8, b.data_bytes = 3, b.rows = 2;
    tables[0] = table_with(&a);
    tables[1] = table_with(&b);
    krait__arrow_join(tables, 2, &table, &err);
    assert_good(err);
    krait_table_free(tables[0]);
    krait_table_free(tables[1]);
    krait_table_column(table, 0, &column, &err);
    assert_int_equal(column.offset_bytes, 8);
    assert_is(table, "x: text: 'bc' 'a' 'bc'\n");
}

/* On failure the stream is the caller's, who releases it; what was taken is released. */
static void assert_stream_fails(struct ArrowArrayStream stream, krait_status status, const char *words, const char *step) {
    krait_table *table = (krait_table *)1;
    assert_int_equal(krait_arrow_import_stream(&stream, &table, &err), status);
    assert_string_equal(krait_error_step(err), step);
    assert_error(err, status, words);
    assert_null(table);
    assert_non_null(stream.release);
    stream.release(&stream);
    assert_int_equal(live_structs, 0);
}

static void streams_that_fail(void **state) {
    pair                    batches[3];
    struct ArrowArrayStream stream;
    krait_table            *table;
    (void)state;
    for (int at = -2; at <= 2; at++) {
        if (at == -1) continue;
        for (int i = 0; i < 3; i++) batches[i] = batch(1, 0, NULL);
        stream = stream_of(NULL, 3, batches);
        ((source *)stream.private_data)->fail_at = at;
        assert_stream_fails(stream, KRAIT_E_SYSTEM,
                            at == -2 ? "the Arrow stream gave no schema: the disk is gone (code 22)"
                                     : "the Arrow stream gave no next batch: the disk is gone (code 5)",
                            "import Arrow stream");
    }
    batches[0] = batch(1, 0, NULL);
    stream = stream_of(NULL, 1, batches);
    ((source *)stream.private_data)->fail_at = 1;
    ((source *)stream.private_data)->silent = true;
    assert_stream_fails(stream, KRAIT_E_SYSTEM, "it does not say why (code 5)", "import Arrow stream");
    for (int i = 0; i < 2; i++) batches[i] = texts("u", "x", 1, 0, NULL, i ? "\xff" : "a");
    assert_stream_fails(stream_of(NULL, 2, batches), KRAIT_E_ENCODING, "column 'x'", "import Arrow batch 1");
    for (int i = 0; i < 2; i++) batches[i] = batch(1, 0, NULL);
    batches[1].array->length = -5;
    assert_stream_fails(stream_of(NULL, 2, batches), KRAIT_E_ARGUMENT, "length -5", "import Arrow batch 1");
    batches[0] = batch(1, 0, NULL);
    stream = stream_of(NULL, 1, batches);
    stream.get_next = NULL;
    krait_arrow_import_stream(&stream, &table, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "the Arrow stream has no get_schema or get_next");
    stream.release(&stream);
}

static void misuse_of_streams(void **state) {
    struct ArrowArrayStream released = { 0 };
    krait_table            *table = NULL;
    (void)state;
    krait_arrow_import_stream(NULL, &table, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "stream is NULL");
    krait_arrow_import_stream(&released, NULL, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "out is NULL");
    krait_arrow_import_stream(&released, &table, &err);
    assert_error(err, KRAIT_E_ARGUMENT, "the Arrow stream was released or moved already");
    krait_error_new(&err, KRAIT_E_SHAPE, "before");
    assert_int_equal(krait_arrow_import_stream(&released, &table, &err), KRAIT_E_SHAPE);
    krait_error_clear(&err);
}

static void tables_leave_as_streams(void **state) {
    struct ArrowArrayStream stream;
    struct ArrowSchema      first, second;
    struct ArrowArray       array;
    krait_table            *table = imported(good_table()), *again;
    (void)state;
    krait_arrow_export_stream(table, &stream, &err);
    assert_good(err);
    krait_table_free(table);
    assert_int_equal(stream.get_schema(&stream, &first), 0); /* as often as one likes */
    assert_int_equal(stream.get_schema(&stream, &second), 0);
    assert_string_equal(first.children[3]->name, second.children[3]->name);
    first.release(&first);
    second.release(&second);
    assert_null(stream.get_last_error(&stream));
    again = streamed(stream);
    assert_is(again, "number: int32: 2 -\ntext: text: 'cd' 'ef'\ncoded: category of text: 'y' 'x'\n"
                     "seen: text: 'a text of more than twelve bytes' -\n");
    table = imported(good_table());
    krait_arrow_export_stream(table, &stream, &err);
    assert_good(err);
    krait_table_free(table);
    assert_int_equal(stream.get_next(&stream, &array), 0);
    array.release(&array);
    assert_int_equal(stream.get_next(&stream, &array), 0);
    assert_null(array.release);
    stream.release(&stream); /* one that was not read to its end is released all the same */
    table = imported(good_table());
    krait_arrow_export_stream(table, &stream, &err);
    krait_table_free(table);
    stream.release(&stream);
    assert_null(stream.release);
}

/* ---- more than 2 GiB ------------------------------------------------------------------------------------------- */

enum { PAGE_BYTES = 16 << 20, WINDOWS = 8 };

/* Address space of any size over the same few pages, so that gigabytes can be written without having them. */
static struct {
    char  *at;
    size_t bytes;
} windows[WINDOWS];

static void *map_window(size_t bytes) {
    int   file = memfd_create("krait-test", 0);
    char *at = NULL;
    bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    if (file >= 0 && ftruncate(file, PAGE_BYTES) == 0)
        at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t i = 0; at && at != MAP_FAILED && i < bytes; i += PAGE_BYTES)
        if (mmap(at + i, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) return NULL;
    close(file);
    for (size_t i = 0; i < WINDOWS && at != MAP_FAILED; i++) {
        if (windows[i].at) continue;
        windows[i].at = at;
        windows[i].bytes = bytes;
        return at;
    }
    return NULL;
}

static void *allocate(void *user, size_t size) {
    (void)user;
    return size > (size_t)1 << 30 ? map_window(size) : malloc(size);
}

static void *reallocate(void *user, void *block, size_t size) {
    (void)user;
    return realloc(block, size);
}

static void release_block(void *user, void *block) {
    (void)user;
    for (size_t i = 0; i < WINDOWS; i++) {
        if (windows[i].at != block || !block) continue;
        munmap(block, windows[i].bytes);
        windows[i].at = NULL;
        return;
    }
    free(block);
}

/* Two texts of 1.1 GiB each: offsets of 32 bits become offsets of 64. */
static void texts_beyond_two_gigabytes(void **state) {
    static const krait_allocator allocator = { allocate, reallocate, release_block, NULL };
    const int32_t                bytes = (1 << 30) + (100 << 20);
    const int32_t                offsets[] = { 0, 3, bytes };
    pair                         batches[2];
    void                        *texts_of_both = map_window((size_t)bytes);
    krait_table                 *table = NULL;
    krait_column                 column;
    struct ArrowArrayStream      stream;
    size_t                       size;
    (void)state;
    assert_non_null(texts_of_both);
    assert_true(krait__mem_set_allocator(&allocator));
    for (int i = 0; i < 2; i++) {
        batches[i] = (pair){ make_schema("u", "x"), make_array(2, 0, 0, 3) };
        set_buffer(batches[i].array, 1, offsets, sizeof offsets);
        batches[i].array->buffers[2] = texts_of_both;
        ((array_truth *)batches[i].array->private_data)->buffers = 2; /* the third is not its own */
    }
    stream = stream_of(NULL, 2, batches);
    krait__arrow_import_stream(&stream, true, &table, &err);
    assert_good(err);
    krait_table_column(table, 0, &column, &err);
    assert_int_equal(column.offset_bytes, 8);
    assert_int_equal(((const int64_t *)column.offsets)[4], 2 * (int64_t)bytes);
    assert_int_equal(((const int64_t *)column.offsets)[3], (int64_t)bytes + 3);
    assert_ptr_equal(krait_column_text(&column, 3, &size), (const char *)column.data + bytes + 3);
    assert_int_equal(size, bytes - 3);
    krait_table_free(table);
    release_block(NULL, texts_of_both);
}

/* ---- by lot ------------------------------------------------------------------------------------------------------ */

static uint64_t lot_state;

static uint64_t lot(uint64_t below) {
    lot_state = lot_state * 6364136223846793005u + 1442695040888963407u;
    return (lot_state >> 33) % below;
}

static void lot_bits(char *bits, int64_t n, bool any) {
    for (int64_t i = 0; i < n; i++) bits[i] = lot(4) ? '1' : '0';
    bits[n] = 0;
    if (!any) memset(bits, '1', (size_t)n);
}

enum { KINDS = 8 };

/* A column of `total` rows, drawn by lot, of one of the kinds. */
static pair lot_column(int kind, int64_t total, int64_t offset, int64_t length) {
    static const char *const words = "aa|b|c\xc3\xa4|ddddddddddddddddd|e||g|hh|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z|1|2|3|4|5|6|7|8|9|0";
    char                     bits[64], flags[64], name[8], parts[160];
    int64_t                  data[64];
    pair                     p;
    size_t                   end = 0;
    snprintf(name, sizeof name, "k%d", kind);
    lot_bits(bits, total, lot(2));
    lot_bits(flags, total, true);
    for (int64_t i = 0; i < total; i++) data[i] = (int64_t)lot(3);
    for (int64_t n = 0; words[end]; end++)
        if (words[end] == '|' && ++n == total) break;
    snprintf(parts, sizeof parts, "%.*s", (int)end, words);
    switch (kind) {
    case 0: p = plain("l", name, total, 0, bits, data, 8); break;
    case 1: p = bools(name, total, 0, bits, flags); break;
    case 2: p = texts("u", name, total, 0, bits, parts); break;
    case 3: p = texts("Z", name, total, 0, NULL, parts); break;
    case 4: p = plain("tsn:UTC", name, total, 0, bits, data, 8); break;
    case 5: p = plain("w:8", name, total, 0, bits, data, 8); break;
    case 6: p = coded(plain("L", name, total, 0, bits, data, 8), texts("u", NULL, 3, 0, NULL, "x|y|z"), false); break;
    default: p = plain("g", name, total, 0, NULL, data, 8);
    }
    p.array->offset = offset;
    p.array->length = length;
    return p;
}

/* The same columns for the same seed, rows [from, to) of `total`, cut by the struct's offset or by the children's. */
static pair lot_table(uint64_t seed, int64_t total, int64_t from, int64_t to) {
    uint64_t keep = lot_state;
    bool     by_struct = lot(2);
    pair     p = frame(to - from, by_struct ? from : 0, NULL);
    for (int kind = 0; kind < KINDS; kind++) {
        lot_state = seed + (uint64_t)kind;
        lot(2);
        add(&p, by_struct ? lot_column(kind, total, 0, total) : lot_column(kind, total, from, to - from));
    }
    lot_state = keep * 6364136223846793005u + 1;
    return p;
}

/* A table cut into batches at random is what it is whole, and again after it left. */
static void cut_at_random(void **state) {
    const char *seed_text = getenv("KRAIT_TEST_SEED"), *cases_text = getenv("KRAIT_TEST_CASES");
    uint64_t    seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    long        cases = cases_text ? strtol(cases_text, NULL, 10) : 300;
    (void)state;
    print_message("KRAIT_TEST_SEED=%" PRIu64 "\n", seed);
    lot_state = seed;
    for (long c = 0; c < cases; c++) {
        int64_t      total = 1 + (int64_t)lot(35), at = 0;
        uint64_t     own = lot(1u << 30);
        pair         batches[BATCHES_MAX];
        int          n = 0;
        krait_table *whole = imported(lot_table(own, total, 0, total));
        char        *expected = show_table(whole);
        krait_table_free(whole);
        while (n < BATCHES_MAX) {
            int64_t to = n == BATCHES_MAX - 1 ? total : at + (int64_t)lot((uint64_t)(total - at) + 1);
            batches[n++] = lot_table(own, total, at, to);
            at = to;
        }
        assert_is(streamed(stream_of(NULL, n, batches)), expected);
        free(expected);
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Runs `work` with the first, second, ... allocation failing, until it succeeds without one that did. */
static void fail_each_allocation(krait_status (*work)(krait_error **err)) {
    uint64_t blocks = krait__mem_blocks();
    for (uint64_t n = 1;; n++) {
        krait_status status;
        krait__mem_fail_at(n);
        status = work(&err);
        if (krait__mem_count() < n) {
            krait__mem_fail_at(0);
            assert_good(err);
            break;
        }
        krait__mem_fail_at(0);
        if (status != KRAIT_E_NOMEM) fail_msg("allocation %d: %s", (int)n, krait_status_name(status));
        assert_int_equal(krait_error_status(err), KRAIT_E_NOMEM);
        krait_error_clear(&err);
        assert_int_equal(live_structs, 0);
        assert_int_equal(krait__mem_blocks(), blocks);
    }
}

static pair everything(void) {
    static const int64_t numbers[] = { 1, 2, 3, 4 };
    static const int8_t  codes[] = { 0, 1, 1, 0 };
    pair                 p = frame(2, 1, "101");
    add(&p, plain("tsn:UTC", "a", 3, 0, "110", numbers, 8));
    add(&p, bools("b", 3, 0, NULL, "101"));
    add(&p, texts("u", "c", 3, 0, NULL, "x|y|z"));
    add(&p, plain("w:8", "d", 3, 0, NULL, numbers, 8));
    add(&p, views("vu", "e", 0));
    add(&p, coded(plain("C", "f", 3, 0, NULL, codes, 1), texts("u", NULL, 2, 0, NULL, "x|y"), false));
    add(&p, (pair){ make_schema("n", "g"), make_array(3, 0, 3, 0) });
    add(&p, (pair){ make_schema("+s", "h"), make_array(3, 0, 0, 1) });
    return p;
}

static krait_status import_everything(krait_error **error) {
    pair         p = everything();
    krait_table *table = NULL;
    krait_status status = krait_arrow_import(p.schema, p.array, &table, error);
    if (status) assert_true(p.schema->release && p.array->release && !table);
    krait_table_free(table);
    drop(p.schema, p.array);
    return status;
}

static krait_status stream_everything(krait_error **error) {
    pair                    batches[3];
    struct ArrowArrayStream stream;
    krait_table            *table = NULL;
    krait_status            status;
    for (int i = 0; i < 3; i++) {
        batches[i] = everything();
        if (i == 1) { /* another dictionary */
            struct ArrowArray *dictionary = batches[i].array->children[5]->dictionary;
            set_buffer(dictionary, 2, "yz", 2);
        }
    }
    stream = stream_of(NULL, 3, batches);
    status = krait_arrow_import_stream(&stream, &table, error);
    if (status) assert_true(stream.release && !table);
    if (stream.release) stream.release(&stream);
    krait_table_free(table);
    return status;
}

static krait_table *table_to_leave; /* made before allocations fail */

static krait_status export_everything(krait_error **error) {
    struct ArrowSchema schema;
    struct ArrowArray  array;
    krait_status       status = krait_arrow_export(table_to_leave, &schema, &array, error);
    if (status) assert_true(!schema.release && !array.release);
    if (schema.release) schema.release(&schema);
    if (array.release) array.release(&array);
    return status;
}

static krait_status export_stream_everything(krait_error **error) {
    struct ArrowArrayStream stream;
    struct ArrowSchema      schema = { 0 };
    krait_status            status = krait_arrow_export_stream(table_to_leave, &stream, error);
    int                     code;
    if (status) return status;
    code = stream.get_schema(&stream, &schema);
    if (code) {
        assert_int_equal(code, ENOMEM);
        assert_null(schema.release);
        assert_non_null(stream.get_last_error(&stream));
        krait_error_new(error, KRAIT_E_NOMEM, "schema");
    } else {
        schema.release(&schema);
    }
    stream.release(&stream);
    return krait_error_status(error ? *error : NULL);
}

static void every_allocation_fails_once(void **state) {
    static const int64_t days[] = { 1, INT64_MIN, 3 };
    static const int16_t strided[] = { 1, 2, 3, 4, 5, 6 };
    static const uint8_t bits[] = { 0xf0 };
    krait_column         when = array_of("when", krait_datetime(KRAIT_DAY, 1), 3, days);
    krait_column         far = column_of("far", KRAIT_COLUMN_ARRAY, 3, strided, 4);
    krait_column         flag = array_of("flag", krait_bool_type(), 3, "\1\0\1");
    krait_column         words = column_of("words", KRAIT_COLUMN_TEXT, 3, "abc", 0);
    krait_column         kind = column_of("kind", KRAIT_COLUMN_CATEGORY, 3, "\0\1\2", 1);
    static const int32_t offsets[] = { 0, 1, 2, 3 };
    (void)state;
    fail_each_allocation(import_everything);
    fail_each_allocation(stream_everything);
    words.offsets = offsets, words.offset_bytes = 4, words.data_bytes = 3;
    far.dtype = krait_i16_type();
    far.valid = bits, far.valid_offset = 3;
    kind.dtype = krait_i8_type(), kind.dictionary = &words;
    table_to_leave = table_with(&when);
    krait_table_add_column(table_to_leave, &far, &err);
    krait_table_add_column(table_to_leave, &flag, &err);
    krait_table_add_column(table_to_leave, &words, &err);
    krait_table_add_column(table_to_leave, &kind, &err);
    flag.name = "";
    krait_table_add_index(table_to_leave, &flag, &err);
    assert_good(err);
    fail_each_allocation(export_everything);
    fail_each_allocation(export_stream_everything);
    krait_table_free(table_to_leave);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, check_blocks)
    const struct CMUnitTest tests[] = {
        TEST(elements_are_not_copied),
        TEST(validity_is_kept),
        TEST(no_bits_where_none_is_missing),
        TEST(bools_become_bytes),
        TEST(texts_of_every_kind),
        TEST(empty_columns_without_buffers),
        TEST(views_become_one_text),
        TEST(nulls_are_missing_text),
        TEST(categories_of_every_index),
        TEST(dictionaries_of_other_types),
        TEST(misaligned_buffers_are_copied),
        TEST(columns_of_a_struct),
        TEST(slices_at_every_level),
        TEST(structs_without_rows_or_columns),
        TEST(many_columns),
        TEST(other_types_are_refused_by_name),
        TEST(odd_dictionaries_are_refused_by_name),
        TEST(malformed_tables_are_refused),
        TEST(misuse_of_import),
        TEST(trusted_arrays_are_not_read_through),
        TEST(shared_where_they_can_be),
        TEST(copied_where_they_must_be),
        TEST(times_leave_in_units_that_arrow_has),
        TEST(times_that_cannot_leave),
        TEST(nat_is_missing),
        TEST(what_arrow_has_no_type_for),
        TEST(names_and_levels),
        TEST(children_may_be_moved_out),
        TEST(misuse_of_export),
        TEST(one_batch_is_not_copied),
        TEST(batches_are_put_together),
        TEST(streams_without_batches),
        TEST(dictionaries_become_one),
        TEST(codes_grow_with_the_dictionary),
        TEST(wide_offsets_win),
        TEST(streams_that_fail),
        TEST(misuse_of_streams),
        TEST(tables_leave_as_streams),
        TEST(cut_at_random),
        TEST(every_allocation_fails_once),
        TEST(texts_beyond_two_gigabytes), /* last: it changes the allocator */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
