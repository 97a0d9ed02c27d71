/* Every allocation of lib/mem fails once, and every entry of the symbol list that can fail fails once: krait gives an error, loses nothing, and
 * works the next time. Python's own allocator is left alone: numpy and pandas are not safe when that fails.
 *
 * Built with the library's objects (-DKRAIT_FAULTS), so only in the sanitized flavour. */
#include "support.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem.h"
#include "pyapi.h"

static const char source[] =
    "import numpy as np\n"
    "records = np.array([(1, 2.5, (3, 4))], dtype=[('i', 'i4'), ('f', '>f8'), ('p', [('x', 'i2'), ('y', 'i2')])])\n"
    "class Thing: pass\n"
    "def mixed(a, t, b, k=None, *, m=0):\n"
    "    return {'a': a[1:], 'list': [1, 2.5, 'text', b'bytes', None, True, 2**63, 1j, (a.sum(), t)],\n"
    "            'rec': records, 'deep': np.zeros((2, 2, 2, 2)), 'strided': np.arange(10.)[::2], 'time': np.array(['2020'], 'M8[us]')}\n"
    "def boom(a):\n"
    "    try:\n"
    "        {}['key']\n"
    "    except KeyError as e:\n"
    "        e.add_note('a note')\n"
    "        raise ValueError('boom') from e\n"
    "kept = []\n"
    "def keep(a): kept.append(a)\n"
    "def drop(): kept.clear()\n";

static double data[4] = { 1, 2, 3, 4 };

static krait_status do_mixed(krait_error **err) {
    static const int64_t shape[5] = { 1, 2, 1, 2, 1 };
    krait_value          out, again, copy;
    krait_error         *ignored = NULL;
    krait_func          *mixed = krait_func_new("faults:mixed", err);
    krait_arg            args[] = { krait_pos(krait_vector_f64(data, 4)), krait_pos(krait_str("text")), krait_pos(krait_bytes("b", 1)),
                                    krait_kw("k", krait_ndarray(data, krait_f64_type(), 5, shape, NULL)),
                                    krait_with(krait_kw("m", krait_vector_f64(data, 4)), KRAIT_COPY) };
    krait_status         status = krait_call(mixed, args, 5, NULL, &out, err);
    if (!status) {
        krait_func *same = krait_func_new("builtins:dict", err);
        krait_arg   passed[] = { krait_pos(krait_borrow(&out)) };
        status = krait_call(same, passed, 1, NULL, &again, err);
        krait_value_clear(&again);
        krait_func_unref(same);
        if (!status) status = krait_value_copy(&out, &copy, err);
        if (!status) krait_value_clear(&copy);
    }
    krait_value_clear(&out);
    krait_func_unref(mixed);
    krait_error_clear(&ignored);
    return status;
}

static krait_status do_boom(krait_error **err) {
    krait_error *inner = NULL;
    krait_status status = call1("faults:boom", krait_vector_f64(data, 4), 0, NULL, &inner);
    if (status != KRAIT_E_PYTHON && !inner) status = KRAIT_E_ARGUMENT; /* it cannot have succeeded */
    if (status == KRAIT_E_PYTHON) {
        char json[4096];
        krait_error_json(inner, json, sizeof json);
        status = KRAIT_OK;
    }
    if (status) *err = inner;
    else krait_error_clear(&inner);
    return status;
}

static krait_status do_keep(krait_error **err) {
    krait_error *inner = NULL, *dropped = NULL;
    krait_status status = call1("faults:keep", krait_vector_f64(data, 4), 0, NULL, &inner);
    if (status == KRAIT_E_ESCAPED) {
        krait_error_clear(&inner);
        status = KRAIT_OK;
    }
    *err = inner;
    call("faults:drop", NULL, 0, NULL, &dropped);
    if (dropped && !*err) {
        *err = dropped;
        status = krait_error_status(dropped);
    } else {
        krait_error_clear(&dropped);
    }
    return status;
}

static krait_status do_source(krait_error **err) {
    krait_status status = krait_module_from_source("faults_small", "def f(): return 1\n", err);
    if (!status) status = krait_add_path("/krait/faults", -1, err);
    if (!status) status = krait_gc(err);
    if (!status) status = call("faults_small:f", NULL, 0, NULL, err);
    return status;
}

static const struct work {
    const char *name;
    krait_status (*run)(krait_error **err);
} works[] = { { "mixed", do_mixed }, { "boom", do_boom }, { "keep", do_keep }, { "source", do_source } };

static int set_up(void **state) {
    krait_error *err = NULL;
    if (start_python(state)) return -1;
    krait_module_from_source("faults", source, &err);
    for (size_t i = 0; i < COUNT(works) && !err; i++) works[i].run(&err);
    if (err) fprintf(stderr, "%s\n", krait_error_message(err));
    return err ? -1 : 0;
}

/* Nothing lent, and it works. */
static void assert_well(const struct work *work, const char *what, unsigned long n) {
    krait_error *err = NULL;
    call("faults:drop", NULL, 0, NULL, &err);
    krait_error_clear(&err);
    if (work->run(&err)) fail_msg("%s works no more after %s %lu: %s", work->name, what, n, krait_error_message(err));
    assert_int_equal(krait_loans(NULL, NULL), 0);
}

/* ---- allocations ------------------------------------------------------------------------------------------------- */

static void test_every_allocation_of_a_call(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(works); i++) {
        bool     reached = true; /* there was an n-th allocation to fail */
        uint64_t n;
        for (n = 1; reached; n++) {
            krait_error *err = NULL;
            krait_status status;
            krait__mem_fail_at(n);
            status = works[i].run(&err);
            reached = krait__mem_count() >= n;
            krait__mem_fail_at(0);
            if (!status != !err) fail_msg("%s: allocation %lu fails, status %d, error %s", works[i].name, (unsigned long)n, status, err ? "set" : "NULL");
            krait_error_clear(&err);
            assert_well(&works[i], "allocation", (unsigned long)n);
        }
        if (n < 4) fail_msg("%s: only %lu allocations were seen", works[i].name, (unsigned long)n);
    }
}

/* Starting happens once in a process: each allocation in a child of its own. */
static int init_with_failure(unsigned long n) {
    krait_options options = KRAIT_OPTIONS_INIT;
    const char   *names[] = { "json", NULL }, *paths[] = { "/krait/p", NULL };
    krait_error  *err = NULL;
    krait_status  status;
    options.preload = names;
    options.paths = paths;
    krait__mem_fail_at(n);
    status = krait_init(&options, &err);
    if (!status) status = krait_wait_ready(-1, &err);
    if (!status != !err) return 1;
    krait_error_clear(&err);
    if (!status && krait__mem_count() < n) return 77; /* all of them had their turn */
    krait__mem_fail_at(0);
    return 0;
}

static char self[4096];

static void test_every_allocation_of_init(void **state) {
    int code = 0;
    (void)state;
    for (unsigned long n = 1; n < 400 && code == 0; n++) {
        char  number[32];
        int   status = -1;
        pid_t child;
        snprintf(number, sizeof number, "%lu", n);
        child = fork();
        if (child == 0) {
            setenv("ASAN_OPTIONS", "detect_leaks=0:handle_segv=2:handle_abort=2", 1); /* a half-started Python is kept by nobody */
            alarm(60);
            execl(self, self, "init", number, (char *)NULL);
            _exit(127);
        }
        waitpid(child, &status, 0);
        code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (code != 0 && code != 77) fail_msg("krait_init with allocation %lu failing ended with status 0x%x", n, (unsigned)status);
    }
    assert_int_equal(code, 77);
}

/* ---- the symbol list --------------------------------------------------------------------------------------------- */

static struct {
    void **slot;
    void  *real;
    int    hits;
} armed;
static void *(*no_memory)(void);

static void disarm(void) {
    if (armed.slot) *armed.slot = armed.real;
}
static void *fails_null(void) {
    armed.hits++;
    disarm();
    return no_memory();
}
static int fails_minus(void) {
    armed.hits++;
    disarm();
    no_memory();
    return -1;
}

enum { NEVER, NULL_, MINUS, STATE };
static const struct entry {
    const char *name;
    size_t      offset;
    int         fails;
} entries[] = {
#define PY_FUNCTION(need, fails, type, name, args) { #name, offsetof(krait__pyapi, name), fails },
#define PY_DATA(type, name)
#include "pyapi.def"
#undef PY_FUNCTION
#undef PY_DATA
};

static void arm(const struct entry *entry) {
    void *(*null)(void) = fails_null;
    int (*minus)(void) = fails_minus;
    armed.slot = (void **)(void *)((char *)&krait__py + entry->offset);
    armed.real = *armed.slot;
    armed.hits = 0;
    if (entry->fails == NULL_) memcpy(armed.slot, &null, sizeof null);
    else memcpy(armed.slot, &minus, sizeof minus);
}

static void test_every_fallible_symbol(void **state) {
    size_t hit = 0;
    (void)state;
    for (size_t e = 0; e < COUNT(entries); e++) {
        if (entries[e].fails != NULL_ && entries[e].fails != MINUS) continue;
        for (size_t i = 0; i < COUNT(works); i++) {
            krait_error *err = NULL;
            krait_status status;
            arm(&entries[e]);
            status = works[i].run(&err);
            disarm();
            if (!status != !err) fail_msg("%s: %s fails, status %d, error %s", works[i].name, entries[e].name, status, err ? "set" : "NULL");
            hit += armed.hits > 0;
            krait_error_clear(&err);
            assert_well(&works[i], entries[e].name, 1);
        }
    }
    assert_true(hit > 30); /* most entries are on the way of some work */
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_of_a_call),
        cmocka_unit_test(test_every_allocation_of_init),
        cmocka_unit_test(test_every_fallible_symbol),
    };
    void *symbol;
    int   failed;
    if (!realpath(argv[0], self)) return 1;
    if (argc > 2 && !strcmp(argv[1], "init")) return init_with_failure(strtoul(argv[2], NULL, 10));
    alarm(280);
    if (set_up(NULL)) return 1;
    symbol = dlsym(RTLD_DEFAULT, "PyErr_NoMemory");
    memcpy(&no_memory, &symbol, sizeof symbol);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
