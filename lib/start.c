#include "start.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* PyConfig is only ever seen as this: larger than any (456 bytes on 3.15), zeroed, filled by CPython's own functions.
 * Its first five ints stand on 3.11-3.15; int [4] is install_signal_handlers. */
enum { CONFIG_BYTES = 4096, CONFIG_INTS = CONFIG_BYTES / sizeof(int), CONFIG_SIGNALS = 4 };
typedef union opaque_config {
    int         ints[CONFIG_INTS];
    max_align_t align;
} opaque_config;

/* ---- the words that Python gets as its command line -------------------------------------------------------------- */

typedef struct words {
    char  *at[4 + 2 * 60 + 1]; /* krait's own words, 60 options of two words each, and a NULL */
    size_t count;
    bool   full;
} words;

static void add_word(words *list, const char *word) {
    if (list->count + 1 < sizeof list->at / sizeof *list->at) list->at[list->count++] = (char *)(uintptr_t)word;
    else list->full = true;
}

static void add_words(words *list, const char *flag, const char *const *texts) {
    for (; texts && *texts; texts++) {
        add_word(list, flag);
        add_word(list, *texts);
    }
}

static krait_status too_many(krait_error **err) {
    return krait__fail(err, KRAIT_E_ARGUMENT, "more than 60 x_options and warnings");
}

/* ---- the config -------------------------------------------------------------------------------------------------- */

static krait_status check(PyStatus result, krait_error **err) {
    if (result.type == 0) return KRAIT_OK;
    if (result.type == 2)
        return krait__fail(err, KRAIT_E_INIT,
                           "Python asked to exit with code %d: one of x_options or warnings is not known to it",
                           result.exitcode);
    return krait__fail(err, KRAIT_E_INIT, "Python could not be started: %s%s%s", result.func ? result.func : "",
                       result.func ? ": " : "", result.err_msg ? result.err_msg : "no reason given");
}

static bool has_word(const char *const *words, const char *wanted) {
    for (; words && *words; words++)
        if (!strcmp(*words, wanted)) return true;
    return false;
}

/* Locale and environment stay untouched when the pre-initialisation is the isolated one; UTF-8 mode makes up for it.
 * What it decides for good (PYTHONMALLOC, PYTHONDEVMODE, -X dev) is given back to those who ask. */
static krait_status preinitialize(const krait_options *options, krait_error **err) {
    PyPreConfig config;
    memset(&config, 0, sizeof config);
    py.PyPreConfig_InitIsolatedConfig(&config);
    config.field[PRECONFIG_UTF8_MODE] = 1;
    config.field[PRECONFIG_ISOLATED] = (options->flags & KRAIT_ISOLATED) != 0; /* else it wins over the next */
    config.field[PRECONFIG_USE_ENVIRONMENT] = !(options->flags & KRAIT_ISOLATED);
    if (has_word(options->x_options, "dev")) config.field[PRECONFIG_DEV_MODE] = 1;
    return check(py.Py_PreInitialize(&config), err);
}

/* PYTHONUNBUFFERED would make the host's own stdout unbuffered, unless configure_c_stdio is 0. Where that int stands
 * differs between versions, but not how it behaves: user_site_directory, configure_c_stdio and buffered_stdio lie side
 * by side, and are 1, 1, 1 by default and 0, 0, 1 in the isolated config, which no other three are. (PyInitConfig
 * of 3.14 would name it, but starts from the isolated defaults, and does not let go of them: PYTHONHASHSEED,
 * PYTHONFAULTHANDLER and -X words stay ignored.) */
static void leave_c_stdio(opaque_config *config) {
    opaque_config *isolated = krait__zalloc(sizeof *isolated);
    int            found = 0, at = 0;
    if (!isolated) return;
    py.PyConfig_InitIsolatedConfig((PyConfig *)isolated);
    for (int i = 1; i + 1 < CONFIG_INTS; i++) {
        const int *here = config->ints + i, *there = isolated->ints + i;
        if (here[-1] != 1 || here[0] != 1 || here[1] != 1 || there[-1] != 0 || there[0] != 0 || there[1] != 1) continue;
        at = i;
        found++;
    }
    if (found == 1) config->ints[at] = 0;
    py.PyConfig_Clear((PyConfig *)isolated);
    krait__free(isolated);
}

static void make_argv(words *argv, const char *executable, const krait_options *options) {
    add_word(argv, executable);
    add_word(argv, "-X");
    add_word(argv, "utf8");
    if (options->flags & KRAIT_ISOLATED) add_word(argv, "-I");
    add_words(argv, "-X", options->x_options);
    add_words(argv, "-W", options->warnings);
}

krait_status krait__start_check(const krait_options *options, krait_error **err) {
    words argv = { .count = 0 };
    make_argv(&argv, "python", options);
    return argv.full ? too_many(err) : KRAIT_OK;
}

krait_status krait__start_python(const krait__place *place, const krait_options *options, krait_error **err) {
    opaque_config *config = krait__zalloc(sizeof *config);
    words          argv = { .count = 0 };
    krait_status   status;
    if (!config) return krait__fail_nomem(err);
    make_argv(&argv, place->executable, options); /* krait__start_check saw that it fits */
    status = preinitialize(options, err);
    if (!status) {
        py.PyConfig_InitPythonConfig((PyConfig *)config);
        config->ints[CONFIG_SIGNALS] = 0;
        leave_c_stdio(config);
        status = check(py.PyConfig_SetBytesArgv((PyConfig *)config, (Py_ssize_t)argv.count, argv.at), err);
        if (!status) status = check(py.Py_InitializeFromConfig((PyConfig *)config), err);
        py.PyConfig_Clear((PyConfig *)config);
    }
    krait__free(config);
    return status;
}
