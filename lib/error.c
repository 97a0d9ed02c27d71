#include "error.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"

/* ---- the status list --------------------------------------------------------------------------------------------- */

struct status_row {
    krait_status status;
    krait_class  group;
    int          http, grpc;
    const char  *name, *text;
};

static const struct status_row status_rows[] = {
#define ROW(name, number, group, http, grpc, text) { name, group, http, grpc, #name, text },
    KRAIT_STATUS_MAP(ROW)
#undef ROW
};

static const struct status_row *row_of(krait_status status) {
    static const struct status_row unknown = { KRAIT_STATUS_LAST_, KRAIT_CLASS_CALLER, 500, 2,
                                               "unknown status",   "unknown status" };
    for (size_t i = 0; i < sizeof status_rows / sizeof *status_rows; i++)
        if (status_rows[i].status == status) return &status_rows[i];
    return &unknown;
}

const char *krait_status_name(krait_status status) {
    return row_of(status)->name;
}

const char *krait_status_text(krait_status status) {
    return row_of(status)->text;
}

bool krait__is_failure(krait_status status) {
    return status < 0 && row_of(status)->status == status;
}

krait_status krait__status_named(const char *name) {
    for (size_t i = 0; name && i < sizeof status_rows / sizeof *status_rows; i++)
        if (status_rows[i].status < 0 && !strcmp(status_rows[i].name, name)) return status_rows[i].status;
    return KRAIT_OK;
}

krait_class krait_status_class(krait_status status) {
    return row_of(status)->group;
}

int krait_status_http(krait_status status) {
    return row_of(status)->http;
}

int krait_status_grpc(krait_status status) {
    return row_of(status)->grpc;
}

/* ---- making and freeing ------------------------------------------------------------------------------------------ */

static krait_error no_memory = { .status = KRAIT_E_NOMEM, .fixed = true };

krait_error *krait__error_make(krait_status status) {
    krait_error *error = krait__zalloc(sizeof *error);
    if (error) error->status = status;
    return error;
}

static void free_one(krait_error *error) {
    for (size_t i = 0; i < error->frame_count; i++) {
        krait__free((char *)(uintptr_t)error->frames[i].file);
        krait__free((char *)(uintptr_t)error->frames[i].function);
    }
    for (size_t i = 0; i < error->note_count; i++) krait__free(error->notes[i]);
    krait__free(error->frames);
    krait__free(error->notes);
    krait__free(error->step);
    krait__free(error->message);
    krait__free(error->python_type);
    krait__free(error->traceback);
    krait__free(error);
}

void krait__error_free(krait_error *error) {
    while (error && !error->fixed) {
        krait_error *cause = error->cause;
        free_one(error);
        error = cause;
    }
}

void krait_error_clear(krait_error **err) {
    if (!err) return;
    krait__error_free(*err);
    *err = NULL;
}

static char *copy_text(const char *text) {
    return text ? krait__strdup(text) : NULL;
}

static void copy_lists(krait_error *to, const krait_error *from) {
    to->frames = from->frame_count ? krait__zalloc(from->frame_count * sizeof *to->frames) : NULL;
    for (; to->frames && to->frame_count < from->frame_count; to->frame_count++) {
        krait_frame *frame = &to->frames[to->frame_count];
        *frame = from->frames[to->frame_count];
        frame->file = copy_text(frame->file);
        frame->function = copy_text(frame->function);
    }
    to->notes = from->note_count ? krait__zalloc(from->note_count * sizeof *to->notes) : NULL;
    for (; to->notes && to->note_count < from->note_count; to->note_count++)
        to->notes[to->note_count] = copy_text(from->notes[to->note_count]);
}

/* Texts that there is no memory for are missing from the copy; the status never is. */
krait_status krait__error_copy(const krait_error *from, krait_error **err) {
    krait_error *first = NULL, **last = &first;
    krait_status status = from->status;
    if (!err || *err) return status;
    for (; from; from = from->cause) {
        krait_error *to = krait__error_make(from->status);
        if (!to) break;
        to->step = copy_text(from->step);
        to->message = copy_text(from->message);
        to->python_type = copy_text(from->python_type);
        to->traceback = copy_text(from->traceback);
        copy_lists(to, from);
        *last = to;
        last = &to->cause;
    }
    if (!first) return krait__fail_nomem(err);
    *err = first;
    return status;
}

krait_status krait__fail_nomem(krait_error **err) {
    if (err && !*err) *err = &no_memory;
    return KRAIT_E_NOMEM;
}

static char *format_text(const char *format, va_list args) {
    char    small[512];
    va_list again;
    int     length;
    char   *text;
    va_copy(again, args);
    length = vsnprintf(small, sizeof small, format, args);
    text = length < 0 ? NULL : krait__alloc((size_t)length + 1);
    if (text && (size_t)length < sizeof small) memcpy(text, small, (size_t)length + 1);
    else if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

/* A message may hold a text of any length that a caller gave. Cut between letters, its end says what was cut. */
static void bound_message(char *message) {
    enum { MARK_MAX = 64 };
    size_t length = message ? strlen(message) : 0, end = KRAIT__MESSAGE_MAX - MARK_MAX;
    if (length <= KRAIT__MESSAGE_MAX) return;
    for (int i = 0; i < 3 && ((unsigned char)message[end] & 0xc0) == 0x80; i++) end--;
    snprintf(message + end, MARK_MAX, " ... [cut; %zu bytes in all]", length);
}

static krait_status fail_with(krait_error **err, krait_status status, const char *format, va_list args) {
    krait_error *error = krait__error_make(status);
    if (!error) return krait__fail_nomem(err);
    error->message = format_text(format, args);
    bound_message(error->message);
    *err = error;
    return status;
}

krait_status krait__fail(krait_error **err, krait_status status, const char *format, ...) {
    va_list args;
    if (!err || *err) return status;
    va_start(args, format);
    status = fail_with(err, status, format, args);
    va_end(args);
    return status;
}

krait_status krait_error_new(krait_error **err, krait_status status, const char *format, ...) {
    va_list args;
    if (!krait__is_failure(status)) status = KRAIT_E_ARGUMENT;
    if (!err) return status;
    if (*err) return (*err)->status;
    va_start(args, format);
    status = fail_with(err, status, format ? format : "no message was given", args);
    va_end(args);
    return status;
}

void krait__at(krait_error **err, const char *format, ...) {
    va_list args;
    if (!err || !*err || (*err)->fixed || (*err)->step) return;
    va_start(args, format);
    (*err)->step = format_text(format, args);
    va_end(args);
}

/* ---- getters ----------------------------------------------------------------------------------------------------- */

krait_status krait_error_status(const krait_error *err) {
    return err ? err->status : KRAIT_OK;
}

const char *krait_error_message(const krait_error *err) {
    if (!err) return "";
    return err->message ? err->message : krait_status_text(err->status);
}

const char *krait_error_step(const krait_error *err) {
    return err && err->step ? err->step : "";
}

const char *krait_error_python_type(const krait_error *err) {
    return err ? err->python_type : NULL;
}

const char *krait_error_traceback(const krait_error *err) {
    return err ? err->traceback : NULL;
}

size_t krait_error_frames(const krait_error *err, const krait_frame **frames) {
    if (frames) *frames = err ? err->frames : NULL;
    return err ? err->frame_count : 0;
}

const krait_error *krait_error_cause(const krait_error *err) {
    return err ? err->cause : NULL;
}

size_t krait_error_note_count(const krait_error *err) {
    return err ? err->note_count : 0;
}

const char *krait_error_note(const krait_error *err, size_t index) {
    return err && index < err->note_count ? err->notes[index] : NULL;
}

/* ---- growing texts ----------------------------------------------------------------------------------------------- */

void krait__text_add(krait__text *text, const char *data, size_t size) {
    if (text->failed) return;
    if (size >= text->room - text->size || !text->data) {
        size_t room = krait__size(text->size + size, 2, 64);
        char  *bigger = krait__realloc(text->data, room);
        if (!bigger) {
            text->failed = true;
            return;
        }
        text->data = bigger;
        text->room = room;
    }
    if (size) memcpy(text->data + text->size, data, size); /* an empty text may have no address */
    text->size += size;
    text->data[text->size] = 0;
}

void krait__text_addf(krait__text *text, const char *format, ...) {
    va_list args;
    char   *formatted;
    va_start(args, format);
    formatted = format_text(format, args);
    va_end(args);
    if (formatted) krait__text_add(text, formatted, strlen(formatted));
    else text->failed = true;
    krait__free(formatted);
}

/* Bytes of the UTF-8 character that text begins with; 0 when it begins with none. */
static size_t character(const char *text) {
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 }; /* of that many bytes: a smaller one is overlong */
    const unsigned char  *c = (const unsigned char *)text;
    size_t                size = c[0] < 0x80 ? 1 : c[0] >> 5 == 6 ? 2 : c[0] >> 4 == 14 ? 3 : c[0] >> 3 == 30 ? 4 : 0;
    uint32_t              code = size > 1 ? c[0] & (0x7fu >> size) : c[0];
    for (size_t i = 1; i < size; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (c[i] & 0x3f);
    }
    if (size && (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))) return 0;
    return size;
}

/* JSON is UTF-8, a path need not be: other bytes become U+FFFD. */
void krait__text_json(krait__text *text, const char *string) {
    size_t size;
    if (!string) {
        krait__text_add(text, "null", 4);
        return;
    }
    krait__text_add(text, "\"", 1);
    for (; *string; string += size ? size : 1) {
        unsigned char c = (unsigned char)*string;
        char          escaped[8];
        size = character(string);
        if (c == '"' || c == '\\') krait__text_add(text, (char[]){ '\\', (char)c }, 2);
        else if (!size) krait__text_add(text, "\xef\xbf\xbd", 3);
        else if (c >= 0x20) krait__text_add(text, string, size);
        else krait__text_add(text, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
    }
    krait__text_add(text, "\"", 1);
}

void krait__text_free(krait__text *text) {
    krait__free(text->data);
    *text = (krait__text){ 0 };
}

size_t krait__copy_out(const char *text, size_t length, char *buffer, size_t size) {
    if (size) {
        size_t n = length < size ? length : size - 1;
        if (n) memcpy(buffer, text, n);
        buffer[n] = 0;
    }
    return length;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void json_frames(krait__text *text, const krait_error *err) {
    krait__text_addf(text, ",\"frames\":[");
    for (size_t i = 0; i < err->frame_count; i++) {
        krait__text_addf(text, "%s{\"file\":", i ? "," : "");
        krait__text_json(text, err->frames[i].file);
        krait__text_addf(text, ",\"line\":%d,\"function\":", (int)err->frames[i].line);
        krait__text_json(text, err->frames[i].function);
        krait__text_add(text, "}", 1);
    }
    krait__text_addf(text, "],\"notes\":[");
    for (size_t i = 0; i < err->note_count; i++) {
        if (i) krait__text_add(text, ",", 1);
        krait__text_json(text, err->notes[i]);
    }
    krait__text_add(text, "]", 1);
}

/* The cause is nested in its effect; the chain is at most KRAIT__CAUSES_MAX long. */
static void json_error(krait__text *text, const krait_error *err) {
    size_t depth = 0;
    for (; err; err = err->cause, depth++) {
        krait__text_addf(text, "{\"status\":\"%s\",\"number\":%d,\"step\":", krait_status_name(err->status),
                         (int)err->status);
        krait__text_json(text, krait_error_step(err));
        krait__text_addf(text, ",\"message\":");
        krait__text_json(text, krait_error_message(err));
        krait__text_addf(text, ",\"python_type\":");
        krait__text_json(text, err->python_type);
        krait__text_addf(text, ",\"traceback\":");
        krait__text_json(text, err->traceback);
        json_frames(text, err);
        krait__text_addf(text, ",\"cause\":");
    }
    krait__text_add(text, "null", 4);
    while (depth--) krait__text_add(text, "}", 1);
}

size_t krait_error_json(const krait_error *err, char *buffer, size_t size) {
    static const char failed[] = "{\"status\":\"KRAIT_E_NOMEM\",\"message\":\"out of memory\"}";
    krait__text       text = { 0 };
    size_t            length;
    json_error(&text, err);
    if (text.failed) length = krait__copy_out(failed, sizeof failed - 1, buffer, size);
    else length = krait__copy_out(text.data, text.size, buffer, size);
    krait__text_free(&text);
    return length;
}
