/* error: makes and fills krait_error, and the text helpers that messages and reports share.
 *
 * Reporting cannot fail: without memory *err becomes a static out-of-memory error. An err of NULL is fine everywhere.
 */
#ifndef KRAIT_LIB_ERROR_H
#define KRAIT_LIB_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#include <krait/status.h>

enum {
    KRAIT__MESSAGE_MAX = 64 * 1024, /* bytes of a message; a 10 MB exception text would sink the log it is written to */
    KRAIT__TRACEBACK_MAX = 256 * 1024, /* bytes of a traceback */
    KRAIT__FRAMES_MAX = 128,
    KRAIT__CAUSES_MAX = 16,
    KRAIT__NOTES_MAX = 64
};

struct krait_error {
    krait_status status;
    bool         fixed; /* static: never freed */
    char        *step, *message, *python_type, *traceback;
    krait_frame *frames; /* their texts are owned too */
    size_t       frame_count;
    char       **notes;
    size_t       note_count;
    krait_error *cause;
};

/* True when *err holds an error already: then the function does nothing and returns its status. */
static inline bool krait__stuck(krait_error **err) {
    return err && *err;
}

/* Fills *err unless it is set, and returns status. The step is left open for krait__at. */
krait_status krait__fail(krait_error **err, krait_status status, const char *format, ...) KRAIT_PRINTF(3, 4);
krait_status krait__fail_nomem(krait_error **err);

/* Fills the step of *err where it is still open. */
void krait__at(krait_error **err, const char *format, ...) KRAIT_PRINTF(2, 3);

/* Is it one of the statuses that an error may have? */
bool krait__is_failure(krait_status status);

/* The failure of that name, "KRAIT_E_RANGE"; KRAIT_OK when there is none. NULL is none. */
krait_status krait__status_named(const char *name);

/* An empty error of that status to be filled by hand; NULL without memory. */
krait_error *krait__error_make(krait_status status);
void         krait__error_free(krait_error *error);
/* A deep copy into *err; returns its status. */
krait_status krait__error_copy(const krait_error *from, krait_error **err);

/* A text that grows. After running out of memory it stays as it was, `failed` set. */
typedef struct krait__text {
    char  *data; /* NUL-terminated once anything was added */
    size_t size, room;
    bool   failed;
} krait__text;

void krait__text_add(krait__text *text, const char *data, size_t size);
void krait__text_addf(krait__text *text, const char *format, ...) KRAIT_PRINTF(2, 3);
void krait__text_json(krait__text *text, const char *string); /* quoted and escaped; NULL is null */
void krait__text_free(krait__text *text);

/* As snprintf: copies what fits of text, NUL-terminated, and returns its whole length. */
size_t krait__copy_out(const char *text, size_t length, char *buffer, size_t size);

#endif
