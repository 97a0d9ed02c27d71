/* What an error of Python code tells: type, message, traceback, frames, causes, notes and JSON; within limits,
 * however hostile the exception is. */
#include "check.h"

#include <pthread.h>

/* The line numbers count: they are looked for. */
static const char lines[] =
    /* 1 */ "def level3(): return 1 / 0\n"
    /* 2 */ "def level2():\n"
    /* 3 */ "    return level3()\n"
    /* 4 */ "def level1():\n"
    /* 5 */ "    x = 1\n"
    /* 6 */ "    return level2()\n"
    /* 7 */ "def chained():\n"
    /* 8 */ "    try:\n"
    /* 9 */ "        level3()\n"
    /* 10 */ "    except ZeroDivisionError as low:\n"
    /* 11 */ "        raise KeyError('middle') from low\n";

static const char module[] =
    "import json, sys\n"
    "import numpy\n"
    "class Outer:\n"
    "    class Custom(Exception): pass\n"
    "    def method(self):\n"
    "        def nested():\n"
    "            raise Outer.Custom('from within')\n"
    "        nested()\n"
    "outer = Outer()\n"
    "class Broken(Exception):\n"
    "    def __str__(self): raise RuntimeError('no text')\n"
    "class NotText(Exception):\n"
    "    def __str__(self): return 5\n"
    "class Exits(Exception):\n"
    "    def __str__(self): raise SystemExit(1)\n"
    "class Endless(Exception):\n"
    "    def __str__(self): return str(self)\n"
    "class EndlessRepr:\n"
    "    def __repr__(self): return repr(self)\n"
    "class NoModule(Exception):\n"
    "    __module__ = None\n"
    "class HostileNotes(Exception):\n"
    "    @property\n"
    "    def __notes__(self): raise RuntimeError('no notes')\n"
    "class UnprintableNote:\n"
    "    def __str__(self): raise RuntimeError('no note')\n"
    "class Text(str): pass\n"
    "def throw(expression):\n"
    "    raise eval(expression)\n"
    "from error_lines import level1, level3, chained\n"
    "def chained_twice():\n"
    "    try:\n"
    "        chained()\n"
    "    except KeyError:\n"
    "        raise ValueError('top')\n"
    "def suppressed():\n"
    "    try:\n"
    "        level3()\n"
    "    except ZeroDivisionError:\n"
    "        raise ValueError('alone') from None\n"
    "def circular():\n"
    "    a, b = ValueError('a'), ValueError('b')\n"
    "    a.__cause__, b.__cause__ = b, a\n"
    "    raise a\n"
    "def chain_of(n):\n"
    "    error = None\n"
    "    for i in range(n):\n"
    "        new = ValueError(f'link {i}')\n"
    "        new.__cause__ = error\n"
    "        error = new\n"
    "    raise error\n"
    "def context_of(n):\n"
    "    if n:\n"
    "        try:\n"
    "            context_of(n - 1)\n"
    "        finally:\n"
    "            raise ValueError(f'context {n}')\n"
    "    raise ValueError('first')\n"
    "def deep(n):\n"
    "    if n: return deep(n - 1)\n"
    "    raise ValueError('bottom')\n"
    "def endless(): return endless()\n"
    "def endless_repr(): return repr(EndlessRepr())\n"
    "def noted(count):\n"
    "    error = ValueError('noted')\n"
    "    for i in range(count): error.add_note(f'note {i} \\u20ac')\n"
    "    raise error\n"
    "def odd_notes():\n"
    "    error = ValueError('odd')\n"
    "    error.__notes__ = [1, UnprintableNote(), 'last']\n"
    "    raise error\n"
    "def no_list_of_notes():\n"
    "    error = ValueError('odd')\n"
    "    error.__notes__ = 'text'\n"
    "    raise error\n"
    "def long_message(n): raise ValueError('x\\u00e9' * n)\n"
    "def long_everything():\n"
    "    error = ValueError('m' * 10_000_000)\n"
    "    for i in range(100): error.add_note('n' * 1_000_000)\n"
    "    raise error from KeyError('c' * 10_000_000)\n"
    "def low_limit():\n"
    "    frame, depth = sys._getframe(), 0\n"
    "    while frame: frame, depth = frame.f_back, depth + 1\n"
    "    sys.setrecursionlimit(depth + 8)\n"
    "    raise ValueError('with little room')\n"
    "def usual_limit(): sys.setrecursionlimit(1000)\n"
    "def group():\n"
    "    raise ExceptionGroup('all of it', [ValueError('one'), ExceptionGroup('more', [KeyError('two')])])\n"
    "def parse(text):\n"
    "    def flat(e):\n"
    "        if e is None: return 'end'\n"
    "        names = ['status', 'number', 'step', 'message', 'python_type', 'traceback', 'frames', 'notes', 'cause']\n"
    "        assert list(e) == names, list(e)\n"
    "        frames = ' '.join(f\"{f['function']}:{f['line']}\" for f in e['frames'])\n"
    "        head = f\"{e['status']} {e['number']} {e['step']!r} {e['message']!r} {e['python_type']}\"\n"
    "        return f\"{head} [{frames}] {e['notes']} < {flat(e['cause'])}\"\n"
    "    return flat(json.loads(text))\n"
    "def parsed_traceback(text): return json.loads(text)['traceback']\n";

/* The error of one call; the caller clears it. */
static krait_error *error_of(const char *name, const krait_arg *args, size_t n) {
    krait_error *err = NULL;
    krait_value  out;
    call(name, args, n, &out, &err);
    if (!err) fail_msg("%s did not fail", name);
    assert_int_equal(out.kind, KRAIT_KIND_NONE);
    assert_int_equal(krait_error_status(err), KRAIT_E_PYTHON);
    return err;
}

static krait_error *error_of_throwing(const char *expression) {
    krait_arg args[] = { krait_pos(krait_str(expression)) };
    return error_of("errors:throw", args, 1);
}

static krait_error *error_of_number(const char *name, int64_t n) {
    krait_arg args[] = { krait_pos(krait_i64(n)) };
    return error_of(name, args, 1);
}

static bool is_utf8(const char *text) {
    krait_error *err = NULL;
    krait_value  out;
    call1("builtins:len", krait_str(text), 0, &out, &err);
    bool good = !err;
    krait_error_clear(&err);
    return good;
}

static void assert_contains(const char *text, const char *part) {
    if (!text || !strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text ? text : "NULL");
}

/* ---- type and message -------------------------------------------------------------------------------------------- */

static void types_and_messages(void **state) {
    static const struct {
        const char *expression, *type, *message;
    } rows[] = {
        { "ValueError('plain')", "ValueError", "plain" },
        { "ValueError()", "ValueError", "ValueError" }, /* its type, where it says nothing */
        { "ValueError(1, 'two')", "ValueError", "(1, 'two')" },
        { "KeyError('key')", "KeyError", "'key'" },
        { "OSError(2, 'gone', 'file')", "FileNotFoundError", "[Errno 2] gone: 'file'" },
        { "numpy.linalg.LinAlgError('singular')", "numpy.linalg.LinAlgError", "singular" },
        { "Outer.Custom('inside')", "errors.Outer.Custom", "inside" },
        { "json.JSONDecodeError('bad', 'x', 0)", "json.decoder.JSONDecodeError", "bad: line 1 column 1 (char 0)" },
        { "KeyboardInterrupt()", "KeyboardInterrupt", "KeyboardInterrupt" },
        { "GeneratorExit()", "GeneratorExit", "GeneratorExit" },
        { "StopIteration(3)", "StopIteration", "3" },
        { "MemoryError('little')", "MemoryError", "little" },
        { "ValueError('two\\nlines')", "ValueError", "two\nlines" },
        { "ValueError('\\U0001f600 \\u00e9')", "ValueError", "\xf0\x9f\x98\x80 \xc3\xa9" },
        { "ValueError('lone \\udcff surrogate')", "ValueError", "lone \\udcff surrogate" },
        { "ValueError(Text('subclass'))", "ValueError", "subclass" },
        { "Broken()", "errors.Broken", "<no message: Broken.__str__ raised RuntimeError>" },
        { "NotText()", "errors.NotText", "<no message: NotText.__str__ raised TypeError>" },
        { "Exits()", "errors.Exits", "<no message: Exits.__str__ raised SystemExit>" },
        { "Endless()", "errors.Endless", "<no message: Endless.__str__ raised RecursionError>" },
        { "Exception", "Exception", "Exception" },
    };
    krait_metrics before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        krait_error *err = error_of_throwing(rows[i].expression);
        assert_string_equal(krait_error_python_type(err), rows[i].type);
        assert_string_equal(krait_error_message(err), rows[i].message);
        assert_string_equal(krait_error_step(err), "call");
        assert_contains(krait_error_traceback(err), "Traceback (most recent call last):");
        assert_contains(krait_error_traceback(err), "in throw");
        krait_error_clear(&err);
        assert_null(err);
        krait_error_clear(&err);
    }
    assert_nothing_left(&before);
}

/* In C a text ends at its NUL: what follows must not be lost without a word. */
static void a_message_with_nul(void **state) {
    krait_error *err = error_of_throwing("ValueError('before\\0after')");
    (void)state;
    assert_contains(krait_error_message(err), "before");
    assert_contains(krait_error_message(err), "after");
    krait_error_clear(&err);
}

static void a_type_without_a_module(void **state) {
    krait_error *err = error_of_throwing("NoModule('x')");
    (void)state;
    assert_contains(krait_error_python_type(err), "NoModule");
    assert_string_equal(krait_error_message(err), "x");
    krait_error_clear(&err);
}

static void what_is_no_exception(void **state) {
    krait_error *err = error_of_throwing("5");
    (void)state;
    assert_string_equal(krait_error_python_type(err), "TypeError");
    assert_string_equal(krait_error_message(err), "exceptions must derive from BaseException");
    krait_error_clear(&err);
}

static void long_messages_are_cut_and_say_so(void **state) {
    krait_error *err = error_of_number("errors:long_message", 5 * 1000 * 1000);
    const char  *message = krait_error_message(err);
    (void)state;
    assert_true(strlen(message) <= 64 * 1024);
    assert_true(strlen(message) > 63 * 1024);
    assert_contains(message, " ... [cut; 15000000 bytes in all]");
    assert_true(is_utf8(message));
    assert_true(strlen(krait_error_traceback(err)) <= 256 * 1024);
    assert_true(is_utf8(krait_error_traceback(err)));
    krait_error_clear(&err);
    err = error_of_number("errors:long_message", 20000); /* 60,000 bytes: whole */
    assert_int_equal(strlen(krait_error_message(err)), 60000);
    krait_error_clear(&err);
}

static void long_in_every_part(void **state) {
    krait_metrics before = at_rest();
    krait_error  *err = error_of("errors:long_everything", NULL, 0);
    (void)state;
    assert_true(strlen(krait_error_message(err)) <= 64 * 1024);
    assert_true(strlen(krait_error_traceback(err)) <= 256 * 1024);
    assert_true(strlen(krait_error_message(krait_error_cause(err))) <= 64 * 1024);
    assert_true(krait_error_note_count(err) <= 64);
    for (size_t i = 0; i < krait_error_note_count(err); i++) assert_true(strlen(krait_error_note(err, i)) <= 4096);
    krait_error_clear(&err);
    assert_nothing_left(&before);
}

/* ---- traceback and frames ---------------------------------------------------------------------------------------- */

static void frames_from_the_outermost(void **state) {
    static const char *const names[] = { "level1", "level2", "level3" };
    static const int         numbers[] = { 6, 3, 1 };
    krait_error             *err = error_of("errors:level1", NULL, 0);
    const krait_frame       *frames;
    (void)state;
    assert_int_equal(krait_error_frames(err, &frames), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(frames[i].function, names[i]);
        assert_string_equal(frames[i].file, "<krait_module_from_source error_lines>");
        assert_int_equal(frames[i].line, numbers[i]);
    }
    assert_contains(krait_error_traceback(err), "File \"<krait_module_from_source error_lines>\", line 1, in level3");
    assert_contains(krait_error_traceback(err), "def level3(): return 1 / 0");
    assert_contains(krait_error_traceback(err), "ZeroDivisionError: division by zero\n");
    assert_int_equal(krait_error_frames(err, NULL), 3);
    krait_error_clear(&err);
    assert_int_equal(krait_error_frames(NULL, &frames), 0);
    assert_null(frames);
}

static void functions_are_named_in_full(void **state) {
    krait_error       *err = error_of("errors:outer.method", NULL, 0);
    const krait_frame *frames;
    (void)state;
    assert_int_equal(krait_error_frames(err, &frames), 2);
    assert_string_equal(frames[0].function, "Outer.method");
    assert_string_equal(frames[1].function, "Outer.method.<locals>.nested");
    krait_error_clear(&err);
}

/* A C function has no frame, and its error no traceback lines. */
static void errors_of_builtins(void **state) {
    krait_error       *err = NULL;
    const krait_frame *frames;
    (void)state;
    call1("builtins:int", krait_str("x"), 0, NULL, &err);
    assert_int_equal(krait_error_frames(err, &frames), 0);
    assert_string_equal(krait_error_traceback(err), "ValueError: invalid literal for int() with base 10: 'x'\n");
    assert_error(err, KRAIT_E_PYTHON, "invalid literal");
}

static void deep_stacks_are_cut_in_the_middle(void **state) {
    krait_error       *err = error_of_number("errors:deep", 300);
    const krait_frame *frames;
    (void)state;
    assert_int_equal(krait_error_frames(err, &frames), 128);
    assert_string_equal(frames[0].function, "deep");
    assert_int_equal(frames[127].line, frames[0].line + 1); /* the raise itself */
    krait_error_clear(&err);
}

static void endless_recursion(void **state) {
    static const char *const names[] = { "errors:endless", "errors:endless_repr" };
    krait_metrics            before = at_rest();
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        krait_error       *err = error_of(names[i], NULL, 0);
        const krait_frame *frames;
        assert_string_equal(krait_error_python_type(err), "RecursionError");
        assert_contains(krait_error_message(err), "maximum recursion depth exceeded");
        assert_int_equal(krait_error_frames(err, &frames), 128);
        krait_error_clear(&err);
    }
    assert_nothing_left(&before);
}

/* The exception can hardly be described where Python allows few frames more; type and message must not be lost. */
static void with_little_room_for_recursion(void **state) {
    krait_error *err = error_of("errors:low_limit", NULL, 0), *none = NULL;
    (void)state;
    call("errors:usual_limit", NULL, 0, NULL, &none);
    assert_good(none);
    assert_string_equal(krait_error_python_type(err), "ValueError");
    krait_error_clear(&err);
}

/* ---- causes ------------------------------------------------------------------------------------------------------ */

static void causes_from_the_last_to_the_first(void **state) {
    krait_error       *err = error_of("errors:chained_twice", NULL, 0);
    const krait_error *middle = krait_error_cause(err), *low = krait_error_cause(middle);
    const krait_frame *frames;
    (void)state;
    assert_string_equal(krait_error_message(err), "top");
    assert_string_equal(krait_error_python_type(middle), "KeyError");
    assert_string_equal(krait_error_message(middle), "'middle'");
    assert_int_equal(krait_error_status(middle), KRAIT_E_PYTHON);
    assert_string_equal(krait_error_python_type(low), "ZeroDivisionError");
    assert_null(krait_error_cause(low));
    assert_int_equal(krait_error_frames(low, &frames), 2);
    assert_string_equal(frames[1].function, "level3");
    assert_contains(krait_error_traceback(err), "direct cause of the following exception");
    assert_contains(krait_error_traceback(err), "During handling of the above exception, another exception occurred");
    assert_true(strstr(krait_error_traceback(err), "ZeroDivisionError") <
                strstr(krait_error_traceback(err), "ValueError: top"));
    krait_error_clear(&err);
}

static void what_is_suppressed_is_no_cause(void **state) {
    krait_error *err = error_of("errors:suppressed", NULL, 0);
    (void)state;
    assert_null(krait_error_cause(err));
    assert_null(strstr(krait_error_traceback(err), "ZeroDivisionError"));
    krait_error_clear(&err);
}

static size_t depth_of(const krait_error *err) {
    size_t depth = 0;
    for (; err; err = krait_error_cause(err)) depth++;
    return depth;
}

static void circles_end(void **state) {
    krait_error *err = error_of("errors:circular", NULL, 0);
    (void)state;
    assert_int_equal(depth_of(err), 2);
    assert_string_equal(krait_error_message(krait_error_cause(err)), "b");
    krait_error_clear(&err);
}

static void long_chains_are_cut(void **state) {
    static const int64_t lengths[] = { 15, 16, 17, 10000 };
    krait_metrics        before = at_rest();
    struct timespec      start, end;
    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        krait_error *err = error_of_number("errors:chain_of", lengths[i]);
        assert_int_equal(depth_of(err), lengths[i] < 16 ? (size_t)lengths[i] : 16);
        krait_error_clear(&err);
    }
    krait_error *err = error_of_number("errors:context_of", 400);
    assert_int_equal(depth_of(err), 16);
    assert_string_equal(krait_error_message(krait_error_cause(err)), "context 399");
    krait_error_clear(&err);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 20); /* some 0.5 s */
    assert_nothing_left(&before);
}

static void groups_tell_their_members(void **state) {
    krait_error *err = error_of("errors:group", NULL, 0);
    (void)state;
    assert_string_equal(krait_error_python_type(err), "ExceptionGroup");
    assert_string_equal(krait_error_message(err), "all of it (2 sub-exceptions)");
    assert_contains(krait_error_traceback(err), "ValueError: one");
    assert_contains(krait_error_traceback(err), "KeyError: 'two'");
    krait_error_clear(&err);
}

/* ---- notes ------------------------------------------------------------------------------------------------------- */

static void notes_of_pep_678(void **state) {
    krait_error *err = error_of_number("errors:noted", 3);
    (void)state;
    assert_int_equal(krait_error_note_count(err), 3);
    assert_string_equal(krait_error_note(err, 2), "note 2 \xe2\x82\xac");
    assert_null(krait_error_note(err, 3));
    assert_contains(krait_error_traceback(err), "note 1 \xe2\x82\xac");
    krait_error_clear(&err);
    err = error_of_number("errors:noted", 1000);
    assert_int_equal(krait_error_note_count(err), 64);
    krait_error_clear(&err);
    err = error_of("errors:odd_notes", NULL, 0);
    assert_int_equal(krait_error_note_count(err), 3);
    assert_string_equal(krait_error_note(err, 0), "1");
    assert_string_equal(krait_error_note(err, 1), "<unprintable note>");
    assert_string_equal(krait_error_note(err, 2), "last");
    krait_error_clear(&err);
    err = error_of("errors:no_list_of_notes", NULL, 0);
    assert_int_equal(krait_error_note_count(err), 0);
    krait_error_clear(&err);
    assert_int_equal(krait_error_note_count(NULL), 0);
}

static void notes_that_raise(void **state) {
    krait_error *err = error_of_throwing("HostileNotes('message')");
    (void)state;
    assert_string_equal(krait_error_python_type(err), "errors.HostileNotes");
    assert_string_equal(krait_error_message(err), "message");
    assert_int_equal(krait_error_note_count(err), 0);
    krait_error_clear(&err);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* What Python reads out of the JSON of an error, by the name of the reading function. */
static krait_value read_json(const char *reader, const krait_error *error) {
    size_t       length = krait_error_json(error, NULL, 0);
    char        *json = malloc(length + 1);
    krait_error *err = NULL;
    krait_value  out;
    assert_int_equal(krait_error_json(error, json, length + 1), length);
    assert_int_equal(strlen(json), length);
    call1(reader, krait_text(json, length), 0, &out, &err);
    assert_good(err);
    free(json);
    return out;
}

static void json_that_python_reads(void **state) {
    krait_error *err = error_of("errors:chained", NULL, 0);
    krait_value  text;
    (void)state;
    text = read_json("errors:parse", err);
    assert_string_equal(text.as.bytes.data,
                        "KRAIT_E_PYTHON -50 'call' \"'middle'\" KeyError [chained:11] [] < "
                        "KRAIT_E_PYTHON -50 '' 'division by zero' ZeroDivisionError [chained:9 level3:1] [] < end");
    krait_value_clear(&text);
    text = read_json("errors:parsed_traceback", err);
    assert_string_equal(text.as.bytes.data, krait_error_traceback(err));
    krait_value_clear(&text);
    krait_error_clear(&err);
}

static void json_of_odd_texts(void **state) {
    krait_error *err = error_of_throwing(
        "ValueError(''.join(map(chr, range(1, 129))) + '\\\\ \" \\u2028 \\U0001f600')");
    krait_value  text;
    (void)state;
    text = read_json("errors:parse", err);
    assert_contains(text.as.bytes.data, "'\\x01\\x02\\x03");
    assert_contains(text.as.bytes.data, "\\x7f\\x80\\\\ \" \\u2028 \xf0\x9f\x98\x80'");
    krait_value_clear(&text);
    krait_error_clear(&err);
    err = error_of_number("errors:noted", 2);
    text = read_json("errors:parse", err);
    assert_contains(text.as.bytes.data, "['note 0 \xe2\x82\xac', 'note 1 \xe2\x82\xac'] < end");
    krait_value_clear(&text);
    krait_error_clear(&err);
    call("errors:absent", NULL, 0, NULL, &err); /* of C errors there is no traceback, of these there is */
    text = read_json("errors:parse", err);
    assert_contains(text.as.bytes.data, "KRAIT_E_NOT_FOUND -17 'find errors:absent'");
    krait_value_clear(&text);
    krait_error_clear(&err);
    krait_func_new("bad name", &err);
    text = read_json("errors:parse", err);
    assert_string_equal(
        text.as.bytes.data,
        "KRAIT_E_ARGUMENT -10 'func_new' 'function name is \"bad name\", expected \"package.module:function\"' "
        "None [] [] < end");
    krait_value_clear(&text);
    krait_error_clear(&err);
}

/* Texts that a C program gave are told in messages; the JSON must be valid all the same. */
static void json_of_texts_that_are_not_utf8(void **state) {
    krait_error *err = NULL;
    krait_value  text;
    (void)state;
    krait_func_new("bad \xff\xfe name", &err);
    text = read_json("errors:parse", err);
    assert_contains(text.as.bytes.data, "KRAIT_E_ARGUMENT");
    krait_value_clear(&text);
    krait_error_clear(&err);
}

static void json_like_snprintf(void **state) {
    krait_error *err = error_of("errors:level1", NULL, 0);
    char         small[16];
    size_t       length = krait_error_json(err, NULL, 0);
    (void)state;
    memset(small, 'z', sizeof small);
    assert_int_equal(krait_error_json(err, small, 10), length);
    assert_int_equal(strlen(small), 9);
    assert_memory_equal(small, "{\"status\"", 9);
    assert_int_equal(small[10], 'z');
    assert_int_equal(krait_error_json(err, small, 1), length);
    assert_int_equal(small[0], 0);
    assert_int_equal(krait_error_json(NULL, small, sizeof small), 4);
    assert_string_equal(small, "null");
    krait_error_clear(&err);
}

/* ---- errors are the caller's ------------------------------------------------------------------------------------- */

static void *make_error(void *user) {
    call("errors:chained", NULL, 0, NULL, user);
    return NULL;
}

/* An error holds nothing of Python and nothing of the thread it was made in. */
static void an_error_outlives_its_thread_and_module(void **state) {
    krait_error *err = NULL, *none = NULL;
    pthread_t    thread;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, make_error, &err), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    define("errors_elsewhere", "import sys\nkept = sys.modules.pop('errors')\n");
    krait_gc(&none);
    assert_string_equal(krait_error_python_type(krait_error_cause(err)), "ZeroDivisionError");
    define("errors_again", "import sys, errors_elsewhere\nsys.modules['errors'] = errors_elsewhere.kept\n");
    assert_good(none);
    krait_error_clear(&err);
}

static int set_up(void **state) {
    int failed = begin(state);
    if (failed) return failed;
    define("error_lines", lines);
    define("errors", module);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_messages),
        cmocka_unit_test(a_message_with_nul),
        cmocka_unit_test(a_type_without_a_module),
        cmocka_unit_test(what_is_no_exception),
        cmocka_unit_test(long_messages_are_cut_and_say_so),
        cmocka_unit_test(long_in_every_part),
        cmocka_unit_test(frames_from_the_outermost),
        cmocka_unit_test(functions_are_named_in_full),
        cmocka_unit_test(errors_of_builtins),
        cmocka_unit_test(deep_stacks_are_cut_in_the_middle),
        cmocka_unit_test(endless_recursion),
        cmocka_unit_test(with_little_room_for_recursion),
        cmocka_unit_test(causes_from_the_last_to_the_first),
        cmocka_unit_test(what_is_suppressed_is_no_cause),
        cmocka_unit_test(circles_end),
        cmocka_unit_test(long_chains_are_cut),
        cmocka_unit_test(groups_tell_their_members),
        cmocka_unit_test(notes_of_pep_678),
        cmocka_unit_test(notes_that_raise),
        cmocka_unit_test(json_that_python_reads),
        cmocka_unit_test(json_of_odd_texts),
        cmocka_unit_test(json_of_texts_that_are_not_utf8),
        cmocka_unit_test(json_like_snprintf),
        cmocka_unit_test(an_error_outlives_its_thread_and_module),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
