#include "report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

enum {
    COLUMNS = 78, /* sentences are broken here; paths and commands never are, since they are copied */
    KEY_COLUMNS = 17
};

static bool is_json(const krait__report *report) {
    return report->format == KRAIT_REPORT_JSON;
}

static void add_string(krait__text *out, const char *string) {
    krait__text_add(out, string, strlen(string));
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void add_number(krait__text *out, const krait_value *value) {
    if (value->kind == KRAIT_KIND_I64) krait__text_addf(out, "%lld", (long long)value->as.i64);
    else if (value->kind == KRAIT_KIND_U64) krait__text_addf(out, "%llu", (unsigned long long)value->as.u64);
    else if (value->kind == KRAIT_KIND_F64 && isfinite(value->as.f64)) krait__text_addf(out, "%.6g", value->as.f64);
    else add_string(out, "null");
}

static void add_json(krait__text *out, const krait_value *value) {
    bool keyed = value->kind == KRAIT_KIND_MAP;
    switch (value->kind) {
    case KRAIT_KIND_BOOL: add_string(out, value->as.b ? "true" : "false"); return;
    case KRAIT_KIND_TEXT: krait__text_json(out, value->as.bytes.data); return;
    case KRAIT_KIND_LIST:
    case KRAIT_KIND_MAP: break;
    default: add_number(out, value); return;
    }
    add_string(out, keyed ? "{" : "[");
    for (size_t i = 0; i < value->as.list.count; i++) {
        if (i) add_string(out, ", ");
        if (keyed) krait__text_json(out, value->as.list.keys[i]);
        if (keyed) add_string(out, ": ");
        add_json(out, &value->as.list.items[i]);
    }
    add_string(out, keyed ? "}" : "]");
}

/* Items of a list stand below each other, values of a map beside each other. */
static void add_plain(krait__text *out, const krait_value *value) {
    bool keyed = value->kind == KRAIT_KIND_MAP;
    bool many = keyed || value->kind == KRAIT_KIND_LIST;
    if (many && value->as.list.count) {
        for (size_t i = 0; i < value->as.list.count; i++) {
            if (i) krait__text_addf(out, keyed ? "  " : "\n  %*s ", keyed ? 0 : KEY_COLUMNS, "");
            add_plain(out, &value->as.list.items[i]);
        }
    } else if (many || value->kind == KRAIT_KIND_NONE || (value->kind == KRAIT_KIND_TEXT && !value->as.bytes.data)) {
        add_string(out, "none");
    } else if (value->kind == KRAIT_KIND_BOOL) {
        add_string(out, value->as.b ? "yes" : "no");
    } else if (value->kind == KRAIT_KIND_TEXT) {
        add_string(out, value->as.bytes.data);
    } else {
        add_number(out, value);
    }
}

/* ---- sections ---------------------------------------------------------------------------------------------------- */

/* Names in capitals are those of variables, to be read as they are. */
static void add_words(krait__text *out, const char *name) {
    bool capital = *name >= 'A' && *name <= 'Z';
    for (; *name; name++) krait__text_add(out, *name == '_' && !capital ? " " : name, 1);
}

static void end_section(krait__report *report) {
    if (report->section && is_json(report)) add_string(&report->body, "\n  },\n");
    report->section = NULL;
}

void krait__report_section(krait__report *report, const char *name) {
    end_section(report);
    report->section = name;
    report->has_entry = false;
    if (!is_json(report)) return;
    add_string(&report->body, "  ");
    krait__text_json(&report->body, name);
    add_string(&report->body, ": {");
}

/* In text a section is worth a heading only once it has an entry. */
static void begin_entry(krait__report *report) {
    if (is_json(report)) {
        add_string(&report->body, report->has_entry ? ",\n    " : "\n    ");
    } else if (!report->has_entry) {
        add_string(&report->body, "\n");
        add_words(&report->body, report->section);
        add_string(&report->body, "\n");
    }
    report->has_entry = true;
}

void krait__report_value(krait__report *report, const char *key, const krait_value *value) {
    krait__text *body = &report->body;
    size_t       width = strlen(key);
    begin_entry(report);
    if (is_json(report)) {
        krait__text_json(body, key);
        add_string(body, ": ");
        add_json(body, value);
    } else {
        add_string(body, "  ");
        add_words(body, key);
        krait__text_addf(body, "%*s ", width < KEY_COLUMNS ? KEY_COLUMNS - (int)width : 0, "");
        add_plain(body, value);
        add_string(body, "\n");
    }
}

void krait__report_text(krait__report *report, const char *key, const char *text) {
    krait_value value = text ? krait_str(text) : krait_none();
    krait__report_value(report, key, &value);
}

void krait__report_number(krait__report *report, const char *key, int64_t number) {
    krait_value value = krait_i64(number);
    krait__report_value(report, key, &value);
}

void krait__report_lines(krait__report *report, const char *key, const char *text) {
    krait_value list = krait_none();
    size_t      count = 0;
    char       *copy = krait__strdup(text ? text : ""), *rest = copy, *line;
    for (const char *c = copy; c && *c; c++) count += *c == '\n' || !c[1];
    list.kind = KRAIT_KIND_LIST;
    list.as.list.keys = NULL;
    list.as.list.count = 0;
    list.as.list.items = krait__alloc(krait__size(count ? count : 1, sizeof *list.as.list.items, 0));
    if (!copy || !list.as.list.items) report->body.failed = true;
    while (list.as.list.items && list.as.list.count < count && (line = strsep(&rest, "\n")))
        list.as.list.items[list.as.list.count++] = krait_str(line);
    if (list.as.list.items) krait__report_value(report, key, &list);
    krait__free(list.as.list.items);
    krait__free(copy);
}

/* ---- problems and warnings --------------------------------------------------------------------------------------- */

/* Broken between words; what follows the first line is indented. Newlines count as blanks. */
static void add_wrapped(krait__text *out, const char *lead, const char *sentence) {
    size_t column = strlen(lead);
    add_string(out, lead);
    for (bool first = true; *sentence; first = false) {
        size_t length = strcspn(sentence, " \n");
        if (!first && column + 1 + length > COLUMNS) {
            add_string(out, "\n  ");
            column = 2;
        } else if (!first) {
            add_string(out, " ");
            column++;
        }
        krait__text_add(out, sentence, length);
        column += length;
        sentence += length;
        sentence += strspn(sentence, " \n");
    }
    add_string(out, "\n");
}

void krait__report_tell(krait__report *report, krait__grade grade, const char *cure, const char *format, ...) {
    krait__text *out = &report->told[grade];
    char         what[4096];
    va_list      args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (is_json(report)) {
        add_string(out, report->count[grade] ? ",\n    {\"what\": " : "\n    {\"what\": ");
        krait__text_json(out, what);
        add_string(out, ", \"cure\": ");
        krait__text_json(out, cure);
        add_string(out, "}");
    } else {
        add_string(out, "\n");
        add_wrapped(out, grade == KRAIT__PROBLEM ? "problem: " : "warning: ", what);
        if (cure) krait__text_addf(out, "  cure: %s\n", cure);
    }
    report->count[grade]++;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void add_error_json(krait__text *out, const krait_error *error) {
    size_t size = error ? krait_error_json(error, NULL, 0) + 1 : 0;
    char  *json = error ? krait__alloc(size) : NULL;
    if (json) krait_error_json(error, json, size);
    if (error && !json) out->failed = true;
    add_string(out, json ? json : "null");
    krait__free(json);
}

static void write_json(const krait__report *report, const krait_error *error, krait__text *out) {
    static const char *const names[] = { "problems", "warnings" };
    krait__text_addf(out, "{\n  \"ok\": %s,\n  \"status\": \"%s\"", error ? "false" : "true",
                     krait_status_name(krait_error_status(error)));
    for (int grade = 0; grade < KRAIT__GRADES; grade++) {
        krait__text_addf(out, ",\n  \"%s\": [", names[grade]);
        krait__text_add(out, report->told[grade].data, report->told[grade].size);
        add_string(out, report->count[grade] ? "\n  ]" : "]");
    }
    add_string(out, ",\n");
    krait__text_add(out, report->body.data, report->body.size);
    add_string(out, "  \"error\": ");
    add_error_json(out, error);
    add_string(out, "\n}\n");
}

static void add_count(krait__text *out, const char *lead, unsigned count, const char *name) {
    if (count) krait__text_addf(out, "%s%u %s%s", lead, count, name, count == 1 ? "" : "s");
}

static void write_text(const krait__report *report, const krait_error *error, krait__text *out) {
    const char *traceback = error ? krait_error_traceback(error) : NULL;
    krait__text_addf(out, "krait %s %s here", krait_version(), error ? "does not work" : "works");
    add_count(out, ": ", report->count[KRAIT__PROBLEM], "problem");
    add_count(out, report->count[KRAIT__PROBLEM] ? ", " : ": ", report->count[KRAIT__WARNING], "warning");
    add_string(out, "\n");
    for (int grade = 0; grade < KRAIT__GRADES; grade++)
        krait__text_add(out, report->told[grade].data, report->told[grade].size);
    krait__text_add(out, report->body.data, report->body.size);
    if (traceback && *traceback) {
        add_string(out, "\nerror\n");
        add_string(out, traceback);
    }
}

/* Bytes of the UTF-8 character that begins here, 0 when there is none. Overlong forms and surrogates are none. */
static size_t utf8_length(const unsigned char *at, size_t left) {
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        size_t        length;
    } forms[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    if (*at < 0x80) return 1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = 2;
        if (*at < forms[i].first || *at > forms[i].last || forms[i].length > left) continue;
        if (at[1] < forms[i].low || at[1] > forms[i].high) return 0;
        while (n < forms[i].length && at[n] >= 0x80 && at[n] <= 0xbf) n++;
        return n == forms[i].length ? n : 0;
    }
    return 0;
}

/* File names and variables may hold any bytes; a text value is UTF-8. */
static void make_utf8(krait__text *text) {
    for (size_t i = 0; i < text->size;) {
        size_t length = utf8_length((unsigned char *)text->data + i, text->size - i);
        if (!length) text->data[i] = '?';
        i += length ? length : 1;
    }
}

krait_status krait__report_finish(krait__report *report, const krait_error *error, krait_value *out,
                                  krait_error **err) {
    krait__text text = { 0 };
    end_section(report);
    if (is_json(report)) write_json(report, error, &text);
    else write_text(report, error, &text);
    text.failed |= report->body.failed;
    for (int grade = 0; grade < KRAIT__GRADES; grade++) {
        text.failed |= report->told[grade].failed;
        krait__text_free(&report->told[grade]);
    }
    krait__text_free(&report->body);
    if (text.failed) {
        krait__text_free(&text);
        return krait__fail_nomem(err);
    }
    make_utf8(&text);
    *out = krait_text(text.data, text.size);
    out->release = krait__free;
    out->owner = text.data;
    return KRAIT_OK;
}
