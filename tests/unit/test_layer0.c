/* Layer 0: error, mem, log, os. No Python, no file but those of a temporary folder. What changes the process for good
 * (an allocator, a limit, a mount) happens in a child that tells its outcome by its exit code. Needs -DKRAIT_FAULTS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error.h"
#include "log.h"
#include "mem.h"
#include "os.h"

#ifndef KRAIT_FAULTS
#error "the tests of running out of memory need -DKRAIT_FAULTS"
#endif

static const int64_t MS = 1000000; /* ns */

/* Runs fn in a child and returns its exit code: fn returns 0, or the number of what went wrong. */
static int in_child(int (*fn)(void)) {
    int   code;
    pid_t pid = fork();
    if (pid == 0) _exit(fn());
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &code, 0), pid);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1000 + WTERMSIG(code);
}

static int no_block_is_left(void **state) {
    (void)state;
    krait__mem_fail_at(0);
    return krait__mem_blocks() != 0;
}

/* ---- error ------------------------------------------------------------------------------------------------------- */

struct row {
    krait_status status;
    krait_class  group;
    int          http, grpc;
    const char  *name, *text;
};

static const struct row rows[] = {
#define ROW(name, number, group, http, grpc, text) { (krait_status)(number), group, http, grpc, #name, text },
    KRAIT_STATUS_MAP(ROW)
#undef ROW
};

enum { ROWS = sizeof rows / sizeof *rows };

static void each_status_has_a_number_of_its_own(void **state) {
    (void)state;
    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = i + 1; j < ROWS; j++) {
            assert_int_not_equal(rows[i].status, rows[j].status);
            assert_string_not_equal(rows[i].name, rows[j].name);
        }
}

static void each_status_is_described(void **state) {
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        assert_string_equal(krait_status_name(row->status), row->name);
        assert_string_equal(krait_status_text(row->status), row->text);
        assert_int_equal(krait_status_class(row->status), row->group);
        assert_int_equal(krait_status_http(row->status), row->http);
        assert_int_equal(krait_status_grpc(row->status), row->grpc);
        assert_int_equal(row->group == KRAIT_CLASS_NONE, row->status >= 0);
        assert_int_equal(row->http < 300, row->status >= 0);
        assert_true(row->http >= 200 && row->http < 600);
        assert_true(row->grpc >= 0 && row->grpc <= 16);
        assert_true(row->text[0] != 0);
    }
}

static void a_number_that_is_no_status(void **state) {
    static const int none[] = { -1, 2, -9, -1000, INT_MIN, INT_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        volatile int number = none[i];
        krait_status status;
        memcpy(&status, (const void *)(uintptr_t)&number, sizeof status);
        assert_string_equal(krait_status_name(status), "unknown status");
        assert_int_equal(krait_status_class(status), KRAIT_CLASS_CALLER);
        assert_int_equal(krait_status_http(status), 500);
        assert_int_equal(krait_status_grpc(status), 2);
    }
}

static void an_error_sticks(void **state) {
    krait_error *err = NULL;
    (void)state;
    assert_false(krait__stuck(&err));
    assert_int_equal(krait__fail(&err, KRAIT_E_RANGE, "%d is too much", 7), KRAIT_E_RANGE);
    assert_true(krait__stuck(&err));
    assert_int_equal(krait__fail(&err, KRAIT_E_KIND, "later"), KRAIT_E_KIND);
    assert_int_equal(krait__fail_nomem(&err), KRAIT_E_NOMEM);
    assert_int_equal(krait_error_status(err), KRAIT_E_RANGE);
    assert_string_equal(krait_error_message(err), "7 is too much");
    assert_string_equal(krait_error_step(err), "");
    krait__at(&err, "convert argument %d", 2);
    krait__at(&err, "call");
    assert_string_equal(krait_error_step(err), "convert argument 2");
    krait_error_clear(&err);
    assert_null(err);
    krait_error_clear(&err);
}

static void nobody_need_want_an_error(void **state) {
    const krait_frame *frames = (const krait_frame *)&frames;
    (void)state;
    assert_int_equal(krait__fail(NULL, KRAIT_E_RANGE, "x"), KRAIT_E_RANGE);
    assert_int_equal(krait__fail_nomem(NULL), KRAIT_E_NOMEM);
    assert_false(krait__stuck(NULL));
    krait__at(NULL, "x");
    krait_error_clear(NULL);
    krait__error_free(NULL);
    assert_int_equal(krait_error_status(NULL), KRAIT_OK);
    assert_string_equal(krait_error_message(NULL), "");
    assert_string_equal(krait_error_step(NULL), "");
    assert_null(krait_error_python_type(NULL));
    assert_null(krait_error_traceback(NULL));
    assert_null(krait_error_cause(NULL));
    assert_int_equal(krait_error_frames(NULL, &frames), 0);
    assert_null(frames);
    assert_int_equal(krait_error_frames(NULL, NULL), 0);
    assert_int_equal(krait_error_note_count(NULL), 0);
    assert_null(krait_error_note(NULL, 0));
}

/* Without memory the static error stands in; clearing and filling it again does no harm. */
static void a_program_makes_errors_of_its_own(void **state) {
    static const krait_status none[] = { KRAIT_OK, KRAIT_DONE, (krait_status)-12345, (krait_status)77, KRAIT_STATUS_LAST_ };
    krait_error              *err = NULL;
    char                     *longest = malloc(KRAIT__MESSAGE_MAX * 2);
    (void)state;
    assert_int_equal(krait_error_new(&err, KRAIT_E_RANGE, "%d of %s", 7, "9"), KRAIT_E_RANGE);
    assert_string_equal(krait_error_message(err), "7 of 9");
    assert_string_equal(krait_error_step(err), "");
    assert_int_equal(krait_error_new(&err, KRAIT_E_SHAPE, "later"), KRAIT_E_RANGE); /* sticks */
    assert_string_equal(krait_error_message(err), "7 of 9");
    krait_error_clear(&err);
    assert_int_equal(krait_error_new(NULL, KRAIT_E_RANGE, "nobody %s", "listens"), KRAIT_E_RANGE);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(krait_error_new(&err, none[i], "told all the same"), KRAIT_E_ARGUMENT);
        assert_int_equal(krait_error_status(err), KRAIT_E_ARGUMENT);
        assert_string_equal(krait_error_message(err), "told all the same");
        krait_error_clear(&err);
        assert_int_equal(krait_error_new(NULL, none[i], "x"), KRAIT_E_ARGUMENT);
    }
    memset(longest, 'x', KRAIT__MESSAGE_MAX * 2 - 1);
    longest[KRAIT__MESSAGE_MAX * 2 - 1] = 0;
    krait_error_new(&err, KRAIT_E_RANGE, "%s", longest);
    assert_true(strlen(krait_error_message(err)) <= KRAIT__MESSAGE_MAX);
    assert_non_null(strstr(krait_error_message(err), "[cut; 131071 bytes in all]"));
    krait_error_clear(&err);
    krait__mem_fail_at(1);
    assert_int_equal(krait_error_new(&err, KRAIT_E_RANGE, "x"), KRAIT_E_NOMEM);
    krait__mem_fail_at(0);
    assert_int_equal(krait_error_status(err), KRAIT_E_NOMEM);
    krait_error_clear(&err);
    free(longest);
}

static void failures_are_found_by_name(void **state) {
    (void)state;
    assert_int_equal(krait__status_named("KRAIT_E_RANGE"), KRAIT_E_RANGE);
    assert_int_equal(krait__status_named("KRAIT_E_FORKED"), KRAIT_E_FORKED);
    assert_int_equal(krait__status_named("KRAIT_OK"), KRAIT_OK);
    assert_int_equal(krait__status_named("KRAIT_DONE"), KRAIT_OK);
    assert_int_equal(krait__status_named("RANGE"), KRAIT_OK);
    assert_int_equal(krait__status_named(""), KRAIT_OK);
    assert_int_equal(krait__status_named(NULL), KRAIT_OK);
    assert_true(krait__is_failure(KRAIT_E_NOMEM));
    assert_false(krait__is_failure(KRAIT_OK));
    assert_false(krait__is_failure(KRAIT_DONE));
    assert_false(krait__is_failure((krait_status)-1));
}

static void reporting_cannot_fail(void **state) {
    krait_error *err = NULL;
    char         json[512];
    (void)state;
    for (int i = 0; i < 3; i++) {
        krait__mem_fail_at(1);
        assert_int_equal(krait__fail(&err, KRAIT_E_RANGE, "x"), KRAIT_E_NOMEM);
        assert_int_equal(krait_error_status(err), KRAIT_E_NOMEM);
        assert_string_equal(krait_error_message(err), "out of memory");
        krait__at(&err, "call");
        assert_string_equal(krait_error_step(err), "");
        assert_true(krait_error_json(err, json, sizeof json) < sizeof json);
        assert_non_null(strstr(json, "KRAIT_E_NOMEM"));
        krait_error_clear(&err);
    }
    krait__mem_fail_at(2); /* the error fits, its message does not */
    assert_int_equal(krait__fail(&err, KRAIT_E_RANGE, "x"), KRAIT_E_RANGE);
    assert_string_equal(krait_error_message(err), krait_status_text(KRAIT_E_RANGE));
    krait__mem_fail_at(1);
    krait__at(&err, "call");
    assert_string_equal(krait_error_step(err), "");
    krait_error_clear(&err);
}

static void a_message_is_bounded(void **state) {
    size_t       size = 200 * 1024;
    char        *text = malloc(size + 1);
    krait_error *err = NULL;
    (void)state;
    memset(text, 'x', size);
    text[size] = 0;
    krait__fail(&err, KRAIT_E_RANGE, "%.*s", KRAIT__MESSAGE_MAX, text);
    assert_int_equal(strlen(krait_error_message(err)), KRAIT__MESSAGE_MAX); /* fits: whole */
    krait_error_clear(&err);
    for (size_t i = 1; i + 2 <= size; i += 2) memcpy(text + i, "\xc3\xa9", 2);
    krait__fail(&err, KRAIT_E_RANGE, "%s", text);
    assert_true(strlen(krait_error_message(err)) <= KRAIT__MESSAGE_MAX);
    assert_non_null(strstr(krait_error_message(err), "[cut; 204800 bytes in all]"));
    assert_int_equal((strstr(krait_error_message(err), " ...") - krait_error_message(err)) % 2, 1); /* no half letter */
    krait_error_clear(&err);
    free(text);
}

/* An error as the layer that reads exceptions fills it. */
static krait_error *make_full(krait_status status, const char *message) {
    krait_error *error = krait__error_make(status);
    error->step = krait__strdup("call");
    error->message = krait__strdup(message);
    error->python_type = krait__strdup("ValueError");
    error->traceback = krait__strdup("Traceback\n");
    error->frames = krait__zalloc(2 * sizeof *error->frames);
    error->frame_count = 2;
    error->frames[0] = (krait_frame){ .file = krait__strdup("a.py"), .function = krait__strdup("f"), .line = 3 };
    error->frames[1] = (krait_frame){ .file = krait__strdup("b.py") }; /* half filled */
    error->notes = krait__zalloc(2 * sizeof *error->notes);
    error->note_count = 2;
    error->notes[0] = krait__strdup("first");
    error->notes[1] = krait__strdup("second");
    return error;
}

static void a_full_error_is_read_and_freed(void **state) {
    krait_error       *err = make_full(KRAIT_E_PYTHON, "bad");
    const krait_frame *frames;
    (void)state;
    assert_string_equal(krait_error_python_type(err), "ValueError");
    assert_string_equal(krait_error_traceback(err), "Traceback\n");
    assert_int_equal(krait_error_frames(err, &frames), 2);
    assert_string_equal(frames[0].file, "a.py");
    assert_int_equal(frames[0].line, 3);
    assert_int_equal(krait_error_frames(err, NULL), 2);
    assert_int_equal(krait_error_note_count(err), 2);
    assert_string_equal(krait_error_note(err, 1), "second");
    assert_null(krait_error_note(err, 2));
    assert_null(krait_error_note(err, SIZE_MAX));
    krait_error_clear(&err); /* the tear-down sees whether all of it went */
}

static void causes_are_a_chain(void **state) {
    krait_error       *first = NULL;
    const krait_error *each;
    size_t             count = 0, length;
    char              *json;
    (void)state;
    for (int i = 0; i < KRAIT__CAUSES_MAX; i++) {
        krait_error *error = make_full(KRAIT_E_PYTHON, "one of a chain");
        error->cause = first;
        first = error;
    }
    for (each = first; each; each = krait_error_cause(each)) count++;
    assert_int_equal(count, KRAIT__CAUSES_MAX);
    length = krait_error_json(first, NULL, 0);
    json = malloc(length + 1);
    assert_int_equal(krait_error_json(first, json, length + 1), length);
    assert_int_equal(strlen(json), length);
    assert_string_equal(json + length - 28, "\"cause\":null}}}}}}}}}}}}}}}}");
    free(json);
    krait_error_clear(&first);
}

static void a_copy_is_deep(void **state) {
    static char  ours[2048], theirs[2048];
    krait_error *from = make_full(KRAIT_E_PYTHON, "bad"), *copy = NULL;
    (void)state;
    from->cause = make_full(KRAIT_E_IMPORT, "why");
    assert_int_equal(krait__error_copy(from, NULL), KRAIT_E_PYTHON);
    assert_int_equal(krait__error_copy(from, &copy), KRAIT_E_PYTHON);
    assert_int_equal(krait__error_copy(from->cause, &copy), KRAIT_E_IMPORT); /* sticks */
    krait_error_json(from, theirs, sizeof theirs);
    krait_error_clear(&from);
    krait_error_json(copy, ours, sizeof ours);
    assert_string_equal(ours, theirs);
    krait_error_clear(&copy);
    krait__fail_nomem(&from);
    assert_int_equal(krait__error_copy(from, &copy), KRAIT_E_NOMEM);
    assert_string_equal(krait_error_message(copy), "out of memory");
    krait_error_clear(&copy);
}

/* Texts may be missing from it; the status never is. */
static void a_copy_survives_failing_allocations(void **state) {
    krait_error *from = make_full(KRAIT_E_PYTHON, "bad");
    uint64_t     n = 0;
    bool         failed;
    (void)state;
    from->cause = make_full(KRAIT_E_IMPORT, "why");
    do {
        krait_error *copy = NULL;
        krait_status status, expected = ++n == 1 ? KRAIT_E_NOMEM : KRAIT_E_PYTHON;
        char         json[2048];
        krait__mem_fail_at(n);
        status = krait__error_copy(from, &copy);
        failed = krait__mem_count() >= n;
        krait__mem_fail_at(0);
        assert_int_equal(status, expected);
        assert_int_equal(krait_error_status(copy), expected);
        assert_true(krait_error_json(copy, json, sizeof json) < sizeof json);
        krait_error_clear(&copy);
    } while (failed);
    assert_true(n > 10);
    krait_error_clear(&from);
}

static void an_error_in_json(void **state) {
    static const char expected[] =
        "{\"status\":\"KRAIT_E_PYTHON\",\"number\":-50,\"step\":\"call\",\"message\":\"bad\",\"python_type\":"
        "\"ValueError\","
        "\"traceback\":\"Traceback\\u000a\",\"frames\":[{\"file\":\"a.py\",\"line\":3,\"function\":\"f\"},"
        "{\"file\":\"b.py\",\"line\":0,\"function\":null}],\"notes\":[\"first\",\"second\"],\"cause\":null}";
    const size_t length = sizeof expected - 1;
    krait_error *err = make_full(KRAIT_E_PYTHON, "bad");
    char         json[1024];
    (void)state;
    assert_int_equal(krait_error_json(err, json, sizeof json), length);
    assert_string_equal(json, expected);
    memset(json, '!', sizeof json);
    assert_int_equal(krait_error_json(err, json, 10), length); /* as snprintf */
    assert_memory_equal(json, expected, 9);
    assert_int_equal(json[9], 0);
    assert_int_equal(json[10], '!');
    assert_int_equal(krait_error_json(err, json, 0), length);
    assert_int_equal(krait_error_json(err, json, length), length);
    assert_int_equal(strlen(json), length - 1);
    assert_int_equal(krait_error_json(NULL, json, sizeof json), 4);
    assert_string_equal(json, "null");
    krait_error_clear(&err);
}

static void json_without_memory_is_still_json(void **state) {
    krait_error *err = make_full(KRAIT_E_PYTHON, "bad");
    uint64_t     n = 0;
    size_t       length;
    char         json[1024];
    (void)state;
    do {
        krait__mem_fail_at(++n);
        length = krait_error_json(err, json, sizeof json);
        assert_int_equal(length, strlen(json));
        assert_int_equal(json[0], '{');
        assert_int_equal(json[strlen(json) - 1], '}');
        if (krait__mem_count() >= n) assert_non_null(strstr(json, "KRAIT_E_NOMEM"));
    } while (krait__mem_count() >= n);
    assert_true(n > 5);
    krait_error_clear(&err);
}

/* JSON is UTF-8: a path of other bytes must not make a log line unreadable. */
static void assert_json(const char *string, const char *expected) {
    krait__text text = { 0 };
    krait__text_json(&text, string);
    assert_string_equal(text.data, expected);
    krait__text_free(&text);
}

static void strings_are_escaped_for_json(void **state) {
    (void)state;
    assert_json(NULL, "null");
    assert_json("", "\"\"");
    assert_json("a\"b\\c/", "\"a\\\"b\\\\c/\"");
    assert_json("\n\t\x01\x1f ", "\"\\u000a\\u0009\\u0001\\u001f \"");
    assert_json("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d \x7f", "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x8d \x7f\"");
    assert_json("caf\xe9", "\"caf\xef\xbf\xbd\"");
    assert_json("\xe9t\xe9", "\"\xef\xbf\xbdt\xef\xbf\xbd\"");
    assert_json("\x80\xff", "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_json("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");                                 /* overlong */
    assert_json("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");                 /* half a surrogate pair */
    assert_json("\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* above U+10FFFF */
    assert_json("\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"");
    assert_json("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""); /* ends too early */
    assert_json("\xe2\x82\"", "\"\xef\xbf\xbd\xef\xbf\xbd\\\"\"");
}

static void a_text_grows(void **state) {
    krait__text text = { 0 };
    char        expected[5000 * 3 + 1];
    (void)state;
    for (int i = 0; i < 5000; i++) {
        krait__text_add(&text, "a\0b", 3);
        memcpy(expected + (size_t)i * 3, "a\0b", 4);
        assert_int_equal(text.data[text.size], 0);
    }
    assert_int_equal(text.size, 15000);
    assert_memory_equal(text.data, expected, 15000);
    krait__text_add(&text, NULL, 0); /* an empty text has no address */
    assert_int_equal(text.size, 15000);
    krait__text_free(&text);
    assert_null(text.data);
    krait__text_free(&text);
    krait__text_addf(&text, "%0600d|%s", 7, "end"); /* longer than what is formatted on the stack */
    assert_int_equal(text.size, 604);
    assert_string_equal(text.data + 599, "7|end");
    krait__text_free(&text);
}

static void a_text_that_failed_stays_as_it_was(void **state) {
    krait__text text = { 0 };
    (void)state;
    krait__text_add(&text, "kept", 4);
    krait__mem_fail_at(1);
    krait__text_addf(&text, "lost");
    assert_true(text.failed);
    krait__text_add(&text, "lost", 4);
    assert_string_equal(text.data, "kept");
    krait__text_free(&text);
    assert_false(text.failed);
    krait__mem_fail_at(1);
    krait__text_add(&text, "lost", 4);
    assert_true(text.failed);
    assert_null(text.data);
    krait__text_free(&text);
}

static void copying_out_is_as_snprintf(void **state) {
    char buffer[8] = "1234567";
    (void)state;
    assert_int_equal(krait__copy_out("abc", 3, NULL, 0), 3);
    assert_int_equal(krait__copy_out("abc", 3, buffer, 1), 3);
    assert_string_equal(buffer, "");
    assert_int_equal(krait__copy_out("abc", 3, buffer, 3), 3);
    assert_string_equal(buffer, "ab");
    assert_int_equal(krait__copy_out("abc", 3, buffer, 4), 3);
    assert_string_equal(buffer, "abc");
    assert_int_equal(buffer[5], '6');
    assert_int_equal(krait__copy_out(NULL, 0, buffer, 8), 0);
    assert_string_equal(buffer, "");
}

/* ---- mem --------------------------------------------------------------------------------------------------------- */

static void sizes_do_not_wrap(void **state) {
    static const size_t half = SIZE_MAX / 2;
    (void)state;
    assert_int_equal(krait__size(0, 0, 0), 0);
    assert_int_equal(krait__size(3, 4, 5), 17);
    assert_int_equal(krait__size(0, SIZE_MAX, 5), 5);
    assert_int_equal(krait__size(SIZE_MAX, 0, 5), 5);
    assert_true(krait__size(1, SIZE_MAX - 1, 0) == SIZE_MAX - 1); /* the largest there is */
    assert_true(krait__size(half, 2, 0) == SIZE_MAX - 1);
    assert_true(krait__size(half, 2, 1) == SIZE_MAX);
    assert_true(krait__size(half, 3, 0) == SIZE_MAX);
    assert_true(krait__size(SIZE_MAX, 2, 0) == SIZE_MAX);
    assert_true(krait__size(2, SIZE_MAX, 0) == SIZE_MAX);
    assert_true(krait__size(SIZE_MAX, SIZE_MAX, SIZE_MAX) == SIZE_MAX);
    assert_true(krait__size(1, SIZE_MAX - 1, 1) == SIZE_MAX);
    assert_true(krait__size(1, 1, SIZE_MAX - 1) == SIZE_MAX);
    assert_true(krait__size(1, 1, SIZE_MAX) == SIZE_MAX); /* the sum of one that did not fit */
    assert_true(krait__size(5, 1, SIZE_MAX - 2) == SIZE_MAX);
    assert_true(krait__size(0, 0, SIZE_MAX) == SIZE_MAX);
}

static void blocks_are_counted(void **state) {
    char *a = krait__alloc(0), *b = krait__zalloc(100), *c = krait__realloc(NULL, 10), *d = krait__strdup("text"),
         *e = krait__strndup("text", 2);
    (void)state;
    assert_true(a && b && c && d && e && a != b);
    assert_int_equal(krait__mem_blocks(), 5);
    for (int i = 0; i < 100; i++) assert_int_equal(b[i], 0);
    memset(c, 7, 10);
    c = krait__realloc(c, 1000);
    assert_int_equal(c[9], 7);
    c = krait__realloc(c, 0);
    assert_non_null(c);
    assert_string_equal(d, "text");
    assert_string_equal(e, "te");
    assert_int_equal(krait__mem_blocks(), 5);
    krait__free(a), krait__free(b), krait__free(c), krait__free(d), krait__free(e);
    krait__free(NULL);
    assert_int_equal(krait__mem_blocks(), 0);
}

static void what_cannot_fit_is_not_there(void **state) {
    char *block = krait__strdup("kept");
    (void)state;
    assert_null(krait__alloc(SIZE_MAX));
    assert_null(krait__zalloc(SIZE_MAX));
    assert_null(krait__realloc(NULL, SIZE_MAX));
    assert_null(krait__realloc(block, SIZE_MAX));
    assert_string_equal(block, "kept");
    assert_int_equal(krait__mem_blocks(), 1);
    krait__free(block);
}

static void the_chosen_allocation_fails_once(void **state) {
    void *blocks[5];
    (void)state;
    krait__mem_fail_at(3);
    for (int i = 0; i < 5; i++) blocks[i] = krait__alloc(8);
    for (int i = 0; i < 5; i++) assert_int_equal(blocks[i] == NULL, i == 2);
    assert_int_equal(krait__mem_count(), 5);
    assert_int_equal(krait__mem_blocks(), 4);
    krait__mem_fail_at(1);
    assert_null(krait__realloc(blocks[0], 100)); /* and leaves the old block */
    assert_non_null(blocks[0] = krait__realloc(blocks[0], 100));
    for (int i = 0; i < 5; i++) krait__free(blocks[i]);
    krait__mem_fail_at(0);
    assert_non_null(blocks[0] = krait__alloc(8));
    krait__free(blocks[0]);
}

struct counted {
    int allocated, reallocated, released;
};

static void *count_allocate(void *user, size_t size) {
    ((struct counted *)user)->allocated++;
    return size > 1000 ? NULL : malloc(size);
}

static void *count_reallocate(void *user, void *block, size_t size) {
    ((struct counted *)user)->reallocated++;
    return realloc(block, size);
}

static void count_release(void *user, void *block) {
    ((struct counted *)user)->released++;
    free(block);
}

static int swap_allocator(void) {
    struct counted        counts = { 0, 0, 0 };
    const krait_allocator mine = { count_allocate, count_reallocate, count_release, &counts };
    void                 *block = krait__alloc(8);
    if (krait__mem_set_allocator(&mine)) return 1; /* a block of malloc's lives */
    krait__free(block);
    if (counts.released) return 2;
    if (!krait__mem_set_allocator(&mine)) return 3;
    block = krait__realloc(krait__zalloc(8), 16);
    if (!block || krait__alloc(2000)) return 4;
    if (krait__mem_set_allocator(&mine)) return 5;
    if (krait__mem_blocks() != 1) return 6;
    krait__free(block);
    if (krait__mem_blocks() != 0) return 7;
    return counts.allocated == 2 && counts.reallocated == 1 && counts.released == 1 ? 0 : 8;
}

static void the_allocator_can_be_the_hosts(void **state) {
    (void)state;
    assert_int_equal(in_child(swap_allocator), 0);
}

/* ---- log --------------------------------------------------------------------------------------------------------- */

struct lines {
    int  count, level, destroyed;
    char last[2048];
};

static void take_line(void *user, int level, const char *line) {
    struct lines *lines = user;
    lines->count++;
    lines->level = level;
    snprintf(lines->last, sizeof lines->last, "%s", line);
}

static void take_end(void *user) {
    ((struct lines *)user)->destroyed++;
}

static void the_sink_gets_each_line(void **state) {
    struct lines first = { 0 }, second = { 0 };
    (void)state;
    krait__log_set(take_line, &first, take_end);
    krait__log(KRAIT_LOG_WARNING, "%s of %d", "one", 2);
    assert_int_equal(first.count, 1);
    assert_int_equal(first.level, KRAIT_LOG_WARNING);
    assert_string_equal(first.last, "one of 2");
    krait__log_set(take_line, &second, NULL);
    assert_int_equal(first.destroyed, 1);
    krait__log(KRAIT_LOG_DEBUG, "second");
    assert_int_equal(first.count, 1);
    assert_int_equal(second.count, 1);
    krait__log_set(NULL, NULL, NULL);
    assert_int_equal(first.destroyed, 1);
    krait__log(KRAIT_LOG_DEBUG, "nobody");
    assert_int_equal(second.count, 1);
}

static void a_line_is_one_line_and_bounded(void **state) {
    struct lines lines = { 0 };
    char         text[4000];
    (void)state;
    krait__log_set(take_line, &lines, NULL);
    krait__log(KRAIT_LOG_ERROR, "Traceback\n  File\r\nValueError");
    assert_int_equal(lines.count, 1);
    assert_null(strpbrk(lines.last, "\r\n"));
    assert_non_null(strstr(lines.last, "ValueError"));
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    krait__log(KRAIT_LOG_ERROR, "%s", text);
    assert_int_equal(strlen(lines.last), 1023);
    krait__log_set(NULL, NULL, NULL);
}

/* What krait__log writes to stderr with KRAIT_LOG set so (NULL: unset). */
static void assert_stderr(const char *value, const char *expected) {
    int     ends[2], before = dup(STDERR_FILENO);
    char    text[256];
    ssize_t size;
    assert_int_equal(pipe(ends), 0);
    if (value)
        setenv("KRAIT_LOG", value, 1);
    else
        unsetenv("KRAIT_LOG");
    dup2(ends[1], STDERR_FILENO);
    krait__log(KRAIT_LOG_INFO, "a line");
    dup2(before, STDERR_FILENO);
    close(ends[1]), close(before);
    size = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[size > 0 ? size : 0] = 0;
    unsetenv("KRAIT_LOG");
    assert_string_equal(text, expected);
}

static void stderr_is_written_only_when_asked_for(void **state) {
    (void)state;
    assert_stderr(NULL, "");
    assert_stderr("", "");
    assert_stderr("stdout", "");
    assert_stderr("stderr", "krait: a line\n");
}

static atomic_int logged;

static void count_line(void *user, int level, const char *line) {
    (void)user, (void)level, (void)line;
    atomic_fetch_add(&logged, 1);
}

static void *log_often(void *user) {
    for (int i = 0; i < 1000; i++) krait__log(KRAIT_LOG_DEBUG, "%d", i);
    return user;
}

static void many_threads_may_log(void **state) {
    pthread_t threads[4];
    (void)state;
    krait__log_set(count_line, NULL, NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, log_often, NULL), 0);
    for (int i = 0; i < 100; i++) krait__log_set(count_line, NULL, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    krait__log_set(NULL, NULL, NULL);
    assert_int_equal(atomic_load(&logged), 4000);
}

/* ---- os: events -------------------------------------------------------------------------------------------------- */

static void time_goes_on(void **state) {
    int64_t before = krait__os_now();
    (void)state;
    usleep(2000);
    assert_true(krait__os_now() - before >= 2 * MS);
    assert_true(krait__os_now() - before < 10000 * MS);
}

static void posts_add_up_and_a_wait_takes_one(void **state) {
    krait__event event;
    (void)state;
    assert_true(krait__event_init(&event));
    assert_false(krait__event_wait(&event, 0));
    for (int i = 0; i < 3; i++) krait__event_post(&event);
    assert_true(krait__event_wait(&event, 0));
    assert_true(krait__event_wait(&event, -1));
    assert_true(krait__event_wait(&event, INT64_MAX));
    assert_false(krait__event_wait(&event, 0));
    krait__event_free(&event);
}

static void a_wait_ends_at_its_limit(void **state) {
    static const int64_t limits[] = { 1, 60, 999, 1001 };
    krait__event         event;
    (void)state;
    assert_true(krait__event_init(&event));
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int64_t before = krait__os_now();
        assert_false(krait__event_wait(&event, limits[i]));
        /* Another clock than krait__os_now's ends it: that may be slewed. */
        assert_in_range(krait__os_now() - before, limits[i] * MS - limits[i] * MS / 100, (limits[i] + 2000) * MS);
    }
    krait__event_free(&event);
}

static krait__event shared_event;

static void *post_later(void *user) {
    usleep(20000);
    krait__event_post(&shared_event);
    return user;
}

static void a_post_wakes_the_one_who_waits(void **state) {
    static const int64_t limits[] = { -1, 20000, INT64_MAX };
    (void)state;
    assert_true(krait__event_init(&shared_event));
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        pthread_t thread;
        int64_t   before = krait__os_now();
        assert_int_equal(pthread_create(&thread, NULL, post_later, NULL), 0);
        assert_true(krait__event_wait(&shared_event, limits[i]));
        assert_true(krait__os_now() - before < 10000 * MS);
        pthread_join(thread, NULL);
    }
    krait__event_free(&shared_event);
}

static volatile sig_atomic_t interrupts;

static void post_on_the_fifth(int number) {
    (void)number;
    if (++interrupts == 5) krait__event_post(&shared_event);
}

/* Signals interrupt the wait, and do not end it; a post inside a handler does. */
static void a_wait_outlasts_signals(void **state) {
    static const int64_t limits[] = { -1, 20000 };
    struct sigaction     mine = { .sa_handler = post_on_the_fifth }, before;
    struct itimerval     timer = { { 0, 5000 }, { 0, 5000 } }, off = { { 0, 0 }, { 0, 0 } };
    (void)state;
    assert_true(krait__event_init(&shared_event));
    sigaction(SIGALRM, &mine, &before);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        bool woken;
        interrupts = 0;
        setitimer(ITIMER_REAL, &timer, NULL);
        woken = krait__event_wait(&shared_event, limits[i]);
        setitimer(ITIMER_REAL, &off, NULL);
        assert_true(woken);
        assert_true(interrupts >= 5);
    }
    sigaction(SIGALRM, &before, NULL);
    krait__event_free(&shared_event);
}

/* ---- os: threads ------------------------------------------------------------------------------------------------- */

struct thread_report {
    krait__event done;
    sigset_t     mask;
    size_t       stack;
    char         name[32];
    int          detached;
};

/* A name is set by the one who starts the thread, maybe after it began. */
static void *report_thread(void *user) {
    struct thread_report *report = user;
    pthread_attr_t        attributes;
    pthread_sigmask(SIG_SETMASK, NULL, &report->mask);
    report->stack = krait__os_stack();
    for (int i = 0; i < 1000 && strcmp(report->name, "krait-test") != 0; i++) {
        pthread_getname_np(pthread_self(), report->name, sizeof report->name);
        usleep(1000);
    }
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getdetachstate(&attributes, &report->detached);
    pthread_attr_destroy(&attributes);
    krait__event_post(&report->done);
    return NULL;
}

static void a_thread_of_kraits_own(void **state) {
    static const int     faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
    static const int     others[] = { SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGPROF, SIGUSR1, SIGPIPE, SIGHUP, SIGWINCH };
    struct thread_report report = { .name = "" };
    sigset_t             before, after;
    (void)state;
    assert_true(krait__event_init(&report.done));
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_true(krait__thread_start("krait-test", report_thread, &report));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_true(krait__event_wait(&report.done, 10000));
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        assert_int_equal(sigismember(&report.mask, faults[i]), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(sigismember(&report.mask, others[i]), 1);
        assert_int_equal(sigismember(&after, others[i]), sigismember(&before, others[i]));
    }
    assert_true(report.stack >= 16 * 1024 * 1024);
    assert_string_equal(report.name, "krait-test");
    assert_int_equal(report.detached, PTHREAD_CREATE_DETACHED);
    krait__event_free(&report.done);
}

static atomic_int ended;

static void *end_at_once(void *user) {
    atomic_fetch_add(&ended, 1);
    return user;
}

/* They may be gone before their starter has named them. */
static void threads_that_end_at_once(void **state) {
    enum { THREADS = 3000 };
    (void)state;
    for (int i = 0; i < THREADS; i++)
        while (!krait__thread_start("short", end_at_once, NULL)) usleep(1000);
    for (int i = 0; i < 10000 && atomic_load(&ended) < THREADS; i++) usleep(1000);
    assert_int_equal(atomic_load(&ended), THREADS);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void *stay(void *user) {
    pause();
    return user;
}

/* The first ones may get the stacks of threads that have ended. */
static int start_without_room(void) {
    struct rlimit limit = { 8 * 1024 * 1024, 8 * 1024 * 1024 };
    if (setrlimit(RLIMIT_AS, &limit)) return 1;
    for (int i = 0; i < 10; i++)
        if (!krait__thread_start("none", stay, NULL)) return 0;
    return 2;
}

static void a_thread_that_cannot_start_is_told(void **state) {
    (void)state;
    assert_int_equal(in_child(start_without_room), 0);
}
#endif

static void *report_stack(void *user) {
    *(size_t *)user = krait__os_stack();
    return NULL;
}

static int unlimited_stack(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit)) return 1;
    limit.rlim_cur = 3 * 1024 * 1024;
    if (setrlimit(RLIMIT_STACK, &limit)) return 2;
    if (krait__os_stack() != 3 * 1024 * 1024) return 3;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_STACK, &limit)) return 4;
    if (limit.rlim_max == RLIM_INFINITY) return krait__os_stack() == SIZE_MAX ? 0 : 5;
    return krait__os_stack() == limit.rlim_max ? 0 : 6;
}

static void stacks_are_measured(void **state) {
    size_t         size = 0;
    pthread_attr_t attributes;
    pthread_t      thread;
    (void)state;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 768 * 1024);
    assert_int_equal(pthread_create(&thread, &attributes, report_stack, &size), 0);
    pthread_attr_destroy(&attributes);
    pthread_join(thread, NULL);
    assert_in_range(size, 768 * 1024, 1024 * 1024); /* a sanitizer adds to it */
    assert_int_equal(in_child(unlimited_stack), 0);
}

/* ---- os: processors ---------------------------------------------------------------------------------------------- */

static int bind_to_one(void) {
    cpu_set_t set, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof set, &set)) return 1;
    for (size_t i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
        if (CPU_ISSET(i, &set)) CPU_SET(i, &one);
    if (krait__os_affinity() != (unsigned)CPU_COUNT(&set)) return 2;
    if (sched_setaffinity(0, sizeof one, &one)) return 3;
    if (krait__os_affinity() != 1) return 4;
    return krait__os_cpus() == 1 ? 0 : 5;
}

static void affinity_counts(void **state) {
    (void)state;
    assert_int_equal(in_child(bind_to_one), 0);
    assert_in_range(krait__os_cpus(), 1, krait__os_affinity());
}

/* A folder of our own in place of /sys/fs/cgroup, in a child that has its own mounts. */
static char cgroups[PATH_MAX];
static char own_group[PATH_MAX];

enum { NO_MOUNTS = 77 };

static bool put(const char *folder, const char *file, const char *text) {
    char  path[3 * PATH_MAX];
    FILE *out;
    snprintf(path, sizeof path, "mkdir -p '%s%s'", cgroups, folder);
    if (system(path)) return false;
    snprintf(path, sizeof path, "%s%s/%s", cgroups, folder, file);
    out = fopen(path, "w");
    return out && fputs(text, out) >= 0 && !fclose(out);
}

static bool quota_is(double expected) {
    unsigned affinity = krait__os_affinity();
    unsigned cpus = expected > 0 && expected < affinity ? (unsigned)ceil(expected) : affinity;
    return fabs(krait__os_quota() - expected) < 1e-9 && krait__os_cpus() == cpus;
}

/* A file in place of this process's own /proc/self/cgroup. */
static bool own_group_is(const char *group) {
    char text[PATH_MAX + 64], path[2 * PATH_MAX];
    snprintf(own_group, sizeof own_group, "%s", group);
    snprintf(text, sizeof text, "12:cpu,cpuacct:/v1\n0::%s\n", group);
    if (!put("", "own", text)) return false;
    snprintf(path, sizeof path, "%s/own", cgroups);
    return mount(path, "/proc/self/cgroup", NULL, MS_BIND, NULL) == 0;
}

static int read_quotas(void) {
    if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS)) return NO_MOUNTS;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) return NO_MOUNTS;
    if (mount(cgroups, "/sys/fs/cgroup", NULL, MS_BIND, NULL)) return NO_MOUNTS;
    if (!own_group_is("/slice/job")) return NO_MOUNTS;
    if (!quota_is(0)) return 1; /* no file at all */
    if (!put("/slice/job", "cpu.max", "max 100000\n") || !quota_is(0)) return 2;
    if (!put("/slice/job", "cpu.max", "50000 100000\n") || !quota_is(0.5)) return 3;
    if (!put("/slice/job", "cpu.max", "150000 100000\n") || !quota_is(1.5)) return 4;
    if (!put("/slice", "cpu.max", "25000 50000\n") || !quota_is(0.5)) return 5; /* the one above binds too */
    if (!put("/slice", "cpu.max", "800000 100000\n") || !quota_is(1.5)) return 6;
    if (!put("", "cpu.max", "20000 100000\n") || !quota_is(0.2)) return 7; /* as a container sees its own */
    if (!put("", "cpu.max", "garbage\n") || !quota_is(1.5)) return 8;
    if (!put("", "cpu.max", "1000 0\n") || !quota_is(1.5)) return 9;
    if (!put("/cpu", "cpu.cfs_quota_us", "-1\n") || !put("/cpu", "cpu.cfs_period_us", "100000\n") || !quota_is(1.5))
        return 10;
    if (!put("/cpu", "cpu.cfs_quota_us", "30000\n") || !quota_is(0.3)) return 11;
    return 0;
}

static void the_quota_of_the_cgroup_counts(void **state) {
    const char *folder = getenv("TMPDIR");
    char        command[PATH_MAX + 16];
    int         code;
    (void)state;
    snprintf(cgroups, sizeof cgroups, "%s/krait-cgroup-XXXXXX", folder && *folder ? folder : "/tmp");
    assert_non_null(mkdtemp(cgroups));
    code = in_child(read_quotas);
    snprintf(command, sizeof command, "rm -r '%s'", cgroups);
    assert_int_equal(system(command), 0);
    if (code == NO_MOUNTS) print_message("[          ] may not mount here: quotas were not tried\n");
    if (code == NO_MOUNTS) skip();
    assert_int_equal(code, 0);
}

/* ---- os: signals and files in memory ----------------------------------------------------------------------------- */

static void handle_nothing(int number) {
    (void)number;
}

static void signals_are_put_back(void **state) {
    static krait__signals before, after;
    struct sigaction      mine = { .sa_handler = handle_nothing, .sa_flags = SA_RESTART };
    (void)state;
    sigaddset(&mine.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &mine, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGRTMAX, handle_nothing);
    krait__signals_save(&before);
    assert_true(before.known[SIGUSR1] && before.known[SIGRTMAX]);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGINT, handle_nothing);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGRTMAX, SIG_DFL);
    krait__signals_restore(&before);
    krait__signals_save(&after);
    for (int i = 1; i < KRAIT__SIGNALS; i++) {
        assert_int_equal(before.known[i], after.known[i]);
        if (!before.known[i]) continue;
        assert_true(before.action[i].sa_handler == after.action[i].sa_handler);
        /* glibc itself adds SA_RESTORER to whatever is set. */
        assert_int_equal((before.action[i].sa_flags ^ after.action[i].sa_flags) & ~0x04000000, 0);
    }
    assert_true(after.action[SIGUSR1].sa_handler == handle_nothing);
    assert_true(after.action[SIGPIPE].sa_handler == SIG_DFL);
    assert_int_equal(sigismember(&after.action[SIGUSR1].sa_mask, SIGUSR2), 1);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGRTMAX, SIG_DFL);
}

struct seen {
    const char *part;
    int         calls;
};

static bool has_part(void *user, const char *path) {
    struct seen *seen = user;
    seen->calls++;
    return seen->part && strstr(path, seen->part);
}

static bool is_mapped(const char *part) {
    struct seen seen = { part, 0 };
    return krait__os_each_library(has_part, &seen);
}

static void each_library_is_told_until_one_is_found(void **state) {
    struct seen all = { NULL, 0 }, first = { "", 0 };
    (void)state;
    assert_true(is_mapped("libcmocka"));
    assert_false(is_mapped("no such library"));
    assert_false(krait__os_each_library(has_part, &all));
    assert_true(all.calls >= 2);
    assert_true(krait__os_each_library(has_part, &first));
    assert_int_equal(first.calls, 1);
}

/* Two libraries of libc that nobody else loads: the one that was pinned outlives its handle. */
static void a_pinned_file_stays(void **state) {
    void            *pinned = dlopen("libBrokenLocale.so.1", RTLD_NOW), *other = dlopen("libutil.so.1", RTLD_NOW);
    struct link_map *map;
    const char      *path;
    (void)state;
    if (!pinned || !other) skip(); /* another libc than glibc */
    assert_int_equal(dlinfo(pinned, RTLD_DI_LINKMAP, &map), 0);
    path = krait__os_pin(map->l_ld);
    assert_non_null(strstr(path, "libBrokenLocale"));
    dlclose(pinned);
    dlclose(other);
    assert_true(is_mapped("libBrokenLocale"));
    assert_false(is_mapped("libutil"));
    assert_string_equal(krait__os_pin(NULL), "");
    assert_non_null(krait__os_pin((const void *)&rows)); /* the program itself: nothing to do */
}

static void this_program_is_not_static(void **state) {
    (void)state;
    assert_false(krait__os_is_static());
}

#define TEST(name) cmocka_unit_test_teardown(name, no_block_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_status_has_a_number_of_its_own),
        TEST(each_status_is_described),
        TEST(a_number_that_is_no_status),
        TEST(an_error_sticks),
        TEST(nobody_need_want_an_error),
        TEST(a_program_makes_errors_of_its_own),
        TEST(failures_are_found_by_name),
        TEST(reporting_cannot_fail),
        TEST(a_message_is_bounded),
        TEST(a_full_error_is_read_and_freed),
        TEST(causes_are_a_chain),
        TEST(a_copy_is_deep),
        TEST(a_copy_survives_failing_allocations),
        TEST(an_error_in_json),
        TEST(json_without_memory_is_still_json),
        TEST(strings_are_escaped_for_json),
        TEST(a_text_grows),
        TEST(a_text_that_failed_stays_as_it_was),
        TEST(copying_out_is_as_snprintf),
        TEST(sizes_do_not_wrap),
        TEST(blocks_are_counted),
        TEST(what_cannot_fit_is_not_there),
        TEST(the_chosen_allocation_fails_once),
        TEST(the_allocator_can_be_the_hosts),
        TEST(the_sink_gets_each_line),
        TEST(a_line_is_one_line_and_bounded),
        TEST(stderr_is_written_only_when_asked_for),
        TEST(many_threads_may_log),
        TEST(time_goes_on),
        TEST(posts_add_up_and_a_wait_takes_one),
        TEST(a_wait_ends_at_its_limit),
        TEST(a_post_wakes_the_one_who_waits),
        TEST(a_wait_outlasts_signals),
        TEST(a_thread_of_kraits_own),
        TEST(threads_that_end_at_once),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        TEST(a_thread_that_cannot_start_is_told),
#endif
        TEST(stacks_are_measured),
        TEST(affinity_counts),
        TEST(the_quota_of_the_cgroup_counts),
        TEST(signals_are_put_back),
        TEST(each_library_is_told_until_one_is_found),
        TEST(a_pinned_file_stays),
        TEST(this_program_is_not_static),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
