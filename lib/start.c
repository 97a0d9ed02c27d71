#include "start.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

/* PyConfig is only ever seen as this: larger than any (456 bytes on 3.15), zeroed, filled by CPython's own functions. Its first five
 * ints stand on 3.11-3.15; int [4] is install_signal_handlers. configure_c_stdio is set by offset on the three versions that have no
 * PyInitConfig; their layouts are final. */
typedef union opaque_config {
    char        bytes[4096];
    int         ints[8];
    max_align_t align;
} opaque_config;

enum { CONFIG_SIGNALS = 4, C_STDIO_311 = 212, C_STDIO_312 = 220 };

/* ---- the words that Python gets as its command line ----------------------------------------------------------------------------------- */

typedef struct words {
    char  *at[128];
    size_t count;
    bool   full;
} words;

static void add_word(words *list, const char *word) {
    if (list->count + 1 < sizeof list->at / sizeof *list->at)
        list->at[list->count++] = (char *)(uintptr_t)word;
    else
        list->full = true;
}

static void add_words(words *list, const char *flag, const char *const *texts) {
    for (; texts && *texts; texts++) {
        if (flag) add_word(list, flag);
        add_word(list, *texts);
    }
}

static krait_status too_many(krait_error **err) {
    return krait__fail(err, KRAIT_E_ARGUMENT, "more than 60 x_options and warnings");
}

/* ---- 3.11 to 3.13: PyConfig ------------------------------------------------------------------------------------------------------------- */

static krait_status check(PyStatus result, krait_error **err) {
    if (result.type == 0) return KRAIT_OK;
    if (result.type == 2)
        return krait__fail(err, KRAIT_E_INIT, "Python asked to exit with code %d: one of x_options or warnings is not known to it",
                           result.exitcode);
    return krait__fail(err, KRAIT_E_INIT, "Python could not be started: %s%s%s", result.func ? result.func : "", result.func ? ": " : "",
                       result.err_msg ? result.err_msg : "no reason given");
}

static bool has_word(const char *const *words, const char *wanted) {
    for (; words && *words; words++)
        if (!strcmp(*words, wanted)) return true;
    return false;
}

/* Locale and environment stay untouched when the pre-initialisation is the isolated one; UTF-8 mode makes up for it. What it decides for good
 * (PYTHONMALLOC, PYTHONDEVMODE, -X dev) is given back to those who ask. */
static krait_status preinitialize(const krait_options *options, krait_error **err) {
    PyPreConfig config;
    memset(&config, 0, sizeof config);
    py.PyPreConfig_InitIsolatedConfig(&config);
    config.field[PRECONFIG_UTF8_MODE] = 1;
    config.field[PRECONFIG_USE_ENVIRONMENT] = !(options->flags & KRAIT_ISOLATED);
    if (has_word(options->x_options, "dev")) config.field[PRECONFIG_DEV_MODE] = 1;
    return check(py.Py_PreInitialize(&config), err);
}

/* PYTHONUNBUFFERED would make the host's own stdout unbuffered. The place is believed only where it behaves as it must: the isolated
 * config has 0 there and 1 in buffered_stdio beside it. */
static void leave_c_stdio(opaque_config *config) {
    static const opaque_config zero;
    opaque_config             *isolated = krait__alloc(sizeof *isolated);
    size_t                     at = py.minor == 11 ? C_STDIO_311 : C_STDIO_312;
    int                        here, next, there, beside;
    if (!isolated) return;
    *isolated = zero;
    py.PyConfig_InitIsolatedConfig((PyConfig *)isolated);
    memcpy(&here, config->bytes + at, sizeof here);
    memcpy(&next, config->bytes + at + sizeof here, sizeof next);
    memcpy(&there, isolated->bytes + at, sizeof there);
    memcpy(&beside, isolated->bytes + at + sizeof there, sizeof beside);
    if (here == 1 && next == 1 && there == 0 && beside == 1) memset(config->bytes + at, 0, sizeof here);
    py.PyConfig_Clear((PyConfig *)isolated);
    krait__free(isolated);
}

static krait_status start_by_config(const char *executable, const krait_options *options, krait_error **err) {
    opaque_config *config = krait__zalloc(sizeof *config);
    words          argv = { .count = 0 };
    krait_status   status;
    add_word(&argv, executable);
    add_word(&argv, "-X");
    add_word(&argv, "utf8");
    if (options->flags & KRAIT_ISOLATED) add_word(&argv, "-I");
    add_words(&argv, "-X", options->x_options);
    add_words(&argv, "-W", options->warnings);
    if (!config) return krait__fail_nomem(err);
    status = argv.full ? too_many(err) : preinitialize(options, err);
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

/* ---- 3.14 and later: PyInitConfig (PEP 741), by name ------------------------------------------------------------------------------------- */

static int set_ints(PyInitConfig *config, bool isolated) {
    const struct {
        const char *name;
        int64_t     value;
    } ints[] = {
        { "isolated", isolated },          { "use_environment", !isolated }, { "user_site_directory", !isolated },
        { "utf8_mode", 1 },                { "configure_locale", 0 },        { "install_signal_handlers", 0 },
        { "configure_c_stdio", 0 },        { "parse_argv", 0 },
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        if (py.PyInitConfig_SetInt(config, ints[i].name, ints[i].value)) return -1;
    return 0;
}

static int set_all(PyInitConfig *config, const char *executable, const krait_options *options, const words *x, const words *w) {
    static char *const no_argument[] = { (char *)(uintptr_t) "" };
    return set_ints(config, options->flags & KRAIT_ISOLATED) || py.PyInitConfig_SetStr(config, "program_name", executable) ||
           py.PyInitConfig_SetStrList(config, "argv", 1, no_argument) ||
           (x->count && py.PyInitConfig_SetStrList(config, "xoptions", x->count, x->at)) ||
           (w->count && py.PyInitConfig_SetStrList(config, "warnoptions", w->count, w->at));
}

static krait_status start_by_init_config(const char *executable, const krait_options *options, krait_error **err) {
    PyInitConfig *config = py.PyInitConfig_Create();
    words         x = { .count = 0 }, w = { .count = 0 };
    const char   *reason = NULL;
    krait_status  status = KRAIT_OK;
    add_words(&x, NULL, options->x_options);
    add_words(&w, NULL, options->warnings);
    if (!config) return krait__fail_nomem(err);
    if (x.full || w.full) {
        status = too_many(err);
    } else if (set_all(config, executable, options, &x, &w) || py.Py_InitializeFromInitConfig(config)) {
        py.PyInitConfig_GetError(config, &reason);
        status = krait__fail(err, KRAIT_E_INIT, "Python could not be started: %s", reason ? reason : "no reason given");
    }
    py.PyInitConfig_Free(config);
    return status;
}

krait_status krait__start_python(const krait__place *place, const krait_options *options, krait_error **err) {
    if (py.PyInitConfig_Create && py.PyInitConfig_SetInt && py.PyInitConfig_SetStr && py.PyInitConfig_SetStrList &&
        py.PyInitConfig_GetError && py.PyInitConfig_Free && py.Py_InitializeFromInitConfig)
        return start_by_init_config(place->executable, options, err);
    return start_by_config(place->executable, options, err);
}
