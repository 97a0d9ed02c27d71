/* doctor: the diagnosis. Looks first, then tells: whatever part cannot be told is left out, and the rest stands.
 *
 * What is wrong is learned the way a host would meet it: by krait_init and by a call of krait.analysis with a known
 * answer. What only Python knows is asked of krait._doctor; whether pandas can be imported, of a child, since half a
 * second of imports is more than a diagnosis may leave behind in its host. In a forked child no lock is taken and no
 * Python touched: another thread may have held them as it was forked. After krait_shutdown Python is not touched. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <krait/call.h>
#include <krait/metrics.h>
#include <krait/runtime.h>

#include "blas.h"
#include "gil.h"
#include "leaks.h"
#include "locate.h"
#include "mem.h"
#include "os.h"
#include "report.h"
#include "runtime.h"
#include "value.h"

#ifdef __APPLE__
#include <crt_externs.h>
#define environ (*_NSGetEnviron())
#endif

enum {
    READY_MS = 30 * 1000,         /* for modules that are being preloaded */
    PANDAS_MS = 30 * 1000,        /* for the child that imports pandas; 0.3-0.7 s where all is well */
    STACK_GOOD = 4 * 1024 * 1024, /* below, deep recursion of Python code ends early */
    LOANS_SHOWN = 20
};

static const char function_name[] = "krait.analysis:normalize";

typedef struct diagnosis {
    int           life;     /* as it was found */
    bool          runs;     /* Python runs in this process, and it was not forked */
    krait_metrics counters; /* before the doctor's own calls */
    krait__text   loans;    /* likewise: the first that are open */
    size_t        open;     /* and how many there are */
    krait__place  found;    /* what would be chosen now */
    krait__text   steps;
    krait_error  *error;     /* why a real call does not work; NULL: it does */
    bool          from_call; /* the error is that of the call, not of krait_init */
    double        call_ms;   /* the first call, imports and all; 0: none was made */
    krait_value   survey;    /* of krait._doctor; none: it could not be asked */
    krait_error  *no_survey; /* why not */
    krait_error  *preload;   /* a module that was to be preloaded and could not be */
    krait__text   pandas;    /* what the child said that could not import pandas */
    krait__report report;
} diagnosis;

/* ---- looking ----------------------------------------------------------------------------------------------------- */

/* Preloaded modules first: a call would wait for them without a bound, and take away an error that is the host's. */
static krait_status start(diagnosis *d) {
    krait_status status;
    if (d->life == KRAIT__FORKED || d->life == KRAIT__SHUT) return krait__refuse(0, &d->error);
    status = krait_init(NULL, &d->error);
    if (status) return status;
    d->runs = true;
    if (krait_wait_ready(READY_MS, &d->preload) == KRAIT_E_TIMEOUT) {
        d->error = d->preload;
        d->preload = NULL;
    }
    return krait_error_status(d->error);
}

/* The place that runs is known, but not how it was come by: so look once more, as krait_init did. */
static void look_around(diagnosis *d) {
    const krait__place *running = &krait__runtime.place;
    bool                by_option = d->runs && running->rule && !strcmp(running->rule, "krait_options.python");
    if (d->life == KRAIT__FORKED || (d->runs && krait__runtime.attached)) return;
    krait__locate(by_option ? running->given : NULL, &d->found, &d->steps, NULL);
}

/* Columns 1, 2, 3 and 10, 20, 30: each becomes -1, 0, 1. */
static krait_status check_answer(const krait_value *out, krait_error **err) {
    krait_array  z;
    krait_status status = krait_get_array(out, KRAIT_F64, 2, &z, err);
    if (!status && (z.shape[0] != 3 || z.shape[1] != 2))
        return krait__fail(err, KRAIT_E_SHAPE, "%s of a 3 x 2 matrix is %lld x %lld", function_name,
                           (long long)z.shape[0], (long long)z.shape[1]);
    for (int64_t i = 0; !status && i < 6; i++) {
        double got = ((const double *)z.data)[i], right = (double)(i / 2 - 1);
        if (!(fabs(got - right) < 1e-12))
            status = krait__fail(err, KRAIT_E_NO_NUMPY, "%s gives %g where %g is right", function_name, got, right);
    }
    krait__at(err, "call");
    return status;
}

static krait_status real_call(diagnosis *d) {
    static const double matrix[6] = { 1, 10, 2, 20, 3, 30 };
    krait_arg           arg = krait_pos(krait_matrix_f64(matrix, 3, 2));
    krait_func         *func = krait_func_new(function_name, &d->error);
    krait_value         out = krait_none();
    int64_t             began = krait__os_now();
    krait_status        status = krait_call(func, &arg, 1, NULL, &out, &d->error);
    d->call_ms = (double)(krait__os_now() - began) / 1e6;
    if (!status) status = check_answer(&out, &d->error);
    krait_value_clear(&out);
    krait_func_unref(func);
    d->from_call = status != KRAIT_OK;
    return status;
}

static void ask_python(diagnosis *d) {
    krait_func *func = krait_func_new("krait._doctor:survey", &d->no_survey);
    krait_call(func, NULL, 0, NULL, &d->survey, &d->no_survey);
    krait_func_unref(func);
}

/* What stands at section.key of the survey; NULL when there is no such entry. */
static const krait_value *survey_value(const diagnosis *d, const char *section, const char *key) {
    const krait_value *map, *value;
    if (krait_map_get(&d->survey, section, &map, NULL) || krait_map_get(map, key, &value, NULL)) return NULL;
    return value;
}

static const char *survey_text(const diagnosis *d, const char *section, const char *key) {
    const krait_value *value = survey_value(d, section, key);
    const char        *text;
    return value && !krait_get_text(value, &text, NULL, NULL) ? text : NULL;
}

static void try_pandas(diagnosis *d) {
    const char *source = survey_text(d, "checks", "pandas"), *executable = krait__runtime.place.executable;
    if (d->error || !source || krait__runtime.attached || !executable || access(executable, X_OK)) return;
    if (!krait__locate_run(executable, source, PANDAS_MS, &d->pandas)) krait__text_free(&d->pandas);
}

static void add_line(void *user, const char *line) {
    krait__text_addf(user, "%s\n", line);
}

static void look(diagnosis *d) {
    if (d->life != KRAIT__FORKED) {
        krait_metrics_get(&d->counters, NULL);
        krait__leaks_tell(add_line, &d->loans, LOANS_SHOWN);
        d->open = krait_loans(NULL, NULL);
    }
    if (!start(d)) real_call(d);
    look_around(d);
    if (d->runs && (d->from_call || !d->error)) ask_python(d);
    try_pandas(d);
}

/* ---- telling: what is wrong -------------------------------------------------------------------------------------- */

static const char stack_cure[] =
    "pthread_attr_setstacksize(&attributes, 8 << 20) for a thread; ulimit -s 8192 for a program's main thread";

/* Messages about a Python that was not found or is not usable end with "; " and the cure. */
static const char *cure_within(const krait_error *error) {
    const char *at = krait_error_message(error), *cure = NULL;
    switch (krait_error_status(error)) {
    case KRAIT_E_NO_PYTHON:
    case KRAIT_E_NO_LIBPYTHON:
    case KRAIT_E_PYTHON_VERSION:
    case KRAIT_E_STATIC:
    case KRAIT_E_NO_NUMPY:
    case KRAIT_E_CONFLICT:
        while ((at = strstr(at, "; "))) cure = at += 2;
        return cure;
    default: return NULL;
    }
}

/* An interpreter that is whole and does not start was told something it cannot do, and nearly always by a variable. */
static void add_variables(krait__text *cure) {
    for (char **variable = environ; variable && *variable; variable++)
        if (!strncmp(*variable, "PYTHON", 6))
            krait__text_addf(cure, "%s%.*s", cure->size ? " " : "unset ", (int)strcspn(*variable, "="), *variable);
    if (cure->size) krait__text_addf(cure, ", or start krait with KRAIT_ISOLATED");
}

static void tell_of_start(diagnosis *d) {
    const char *message = krait_error_message(d->error), *cure = cure_within(d->error);
    size_t      length = cure ? (size_t)(cure - 2 - message) : strlen(message);
    krait__text variables = { 0 };
    if (krait_error_status(d->error) == KRAIT_E_INIT) add_variables(&variables);
    krait__report_tell(&d->report, KRAIT__PROBLEM, cure ? cure : variables.data, "%.*s", (int)length, message);
    krait__text_free(&variables);
}

/* numpy wraps its import errors in pages of advice; what happened is the first line of the innermost. */
static const krait_error *innermost(const krait_error *error) {
    while (krait_error_cause(error)) error = krait_error_cause(error);
    return error;
}

static const char *cure_of_call(const diagnosis *d) {
    switch (krait_error_status(d->error)) {
    case KRAIT_E_STACK: return stack_cure;
    case KRAIT_E_NO_NUMPY:
    case KRAIT_E_IMPORT: return survey_text(d, "cures", "numpy");
    default: return NULL;
    }
}

static void tell_of_call(diagnosis *d) {
    const krait_error *inner = innermost(d->error);
    const char        *type = krait_error_python_type(inner), *message = krait_error_message(inner);
    message += strspn(message, " \n");
    krait__report_tell(&d->report, KRAIT__PROBLEM, cure_of_call(d), "a call of %s does not work (%s): %s%s%.*s",
                       function_name, krait_error_step(d->error), type ? type : "", type ? ": " : "",
                       (int)strcspn(message, "\n"), message);
}

/* The last line of what a failed Python printed says what it was. */
static const char *last_line(krait__text *text) {
    char *line;
    while (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = 0;
    line = text->data ? strrchr(text->data, '\n') : NULL;
    return line ? line + 1 : text->data ? text->data : "";
}

static void tell_of_pandas(diagnosis *d) {
    const krait_value *pandas = survey_value(d, "packages", "pandas");
    const char        *cure = survey_text(d, "cures", "pandas");
    if (d->pandas.data)
        krait__report_tell(&d->report, KRAIT__WARNING, cure, "pandas cannot be imported: %s", last_line(&d->pandas));
    else if (!d->error && pandas && pandas->kind == KRAIT_KIND_NONE)
        krait__report_tell(&d->report, KRAIT__WARNING, cure,
                           "pandas is not installed; krait.analysis does without it on arrays");
}

static void tell_of_others(diagnosis *d) {
    const char *module = survey_text(d, "krait", "foreign_module");
    const char *command = survey_text(d, "krait", "foreign_command");
    if (module)
        krait__report_tell(&d->report, KRAIT__WARNING, NULL,
                           "another Python module called krait is at %s; a Python that libkrait runs in imports the one"
                           " inside libkrait, and never that one",
                           module);
    if (command)
        krait__report_tell(&d->report, KRAIT__WARNING, NULL, "another command called krait is on PATH: %s", command);
    if (d->preload)
        krait__report_tell(&d->report, KRAIT__WARNING, NULL, "%s: %s", krait_error_step(d->preload),
                           krait_error_message(d->preload));
    if (d->no_survey && !d->error)
        krait__report_tell(&d->report, KRAIT__WARNING, NULL, "Python could not be asked about itself: %s: %s",
                           krait_error_step(d->no_survey), krait_error_message(d->no_survey));
}

static void tell_of_stack(diagnosis *d) {
    size_t stack = krait__os_stack();
    if (stack < STACK_GOOD && krait_error_status(d->error) != KRAIT_E_STACK)
        krait__report_tell(&d->report, KRAIT__WARNING, stack_cure,
                           "this thread has %zu KiB of stack; Python code that recurses deeply wants 4096, under 1024"
                           " calls are refused",
                           stack / 1024);
}

static void tell(diagnosis *d) {
    if (d->error && d->from_call) tell_of_call(d);
    else if (d->error) tell_of_start(d);
    tell_of_pandas(d);
    tell_of_stack(d);
    tell_of_others(d);
}

/* ---- telling: the sections --------------------------------------------------------------------------------------- */

static const char *state_of(const diagnosis *d) {
    if (d->life == KRAIT__FORKED) return "in the process that this one was forked from";
    if (d->life == KRAIT__SHUT) return "shut down";
    if (!d->runs) return "not started";
    return krait__runtime.attached ? "attached: it ran in this process before krait" : "started by krait";
}

/* Adds each entry of a map of the survey. */
static bool add_survey(diagnosis *d, const char *section) {
    const krait_value *map, *value;
    const char        *key;
    if (krait_map_get(&d->survey, section, &map, NULL)) return false;
    for (size_t i = 0; !krait_map_at(map, i, &key, &value, NULL); i++) krait__report_value(&d->report, key, value);
    return true;
}

static void add_krait(diagnosis *d) {
    krait__report_section(&d->report, "krait");
    krait__report_text(&d->report, "version", krait_version());
    krait__report_text(&d->report, "library", krait__runtime.library);
    add_survey(d, "krait");
}

/* The file that Python's functions really come from, when they are there. */
static const char *library_in_use(const diagnosis *d, const krait__place *place) {
    Dl_info info;
    void   *address = NULL;
    if (d->runs) memcpy(&address, &py.Py_GetVersion, sizeof address);
    return address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : place->libpython;
}

static void add_place(diagnosis *d, const krait__place *place) {
    char version[16];
    snprintf(version, sizeof version, "3.%d", place->minor);
    krait__report_text(&d->report, "executable", place->executable);
    krait__report_text(&d->report, "version", place->executable ? version : NULL);
    krait__report_text(&d->report, "prefix", place->prefix);
    krait__report_text(&d->report, "base_prefix", place->base_prefix);
}

static void add_python(diagnosis *d) {
    bool                ran = d->runs || d->life == KRAIT__FORKED || d->life == KRAIT__SHUT;
    const krait__place *place = ran ? &krait__runtime.place : &d->found;
    krait__report_section(&d->report, "python");
    krait__report_text(&d->report, "state", state_of(d));
    krait__report_text(&d->report, "chosen_by", place->rule);
    krait__report_text(&d->report, "given", place->given);
    krait__report_text(&d->report, "libpython", library_in_use(d, place));
    if (!add_survey(d, "python")) add_place(d, place);
    krait__report_lines(&d->report, "looked_at", d->steps.data);
}

static void add_packages(diagnosis *d) {
    krait_value works = krait_bool(!d->error), ms = d->call_ms > 0 ? krait_f64(d->call_ms) : krait_none();
    krait__report_section(&d->report, "packages");
    add_survey(d, "packages");
    krait__report_section(&d->report, "call");
    krait__report_text(&d->report, "function", function_name);
    krait__report_value(&d->report, "works", &works);
    krait__report_value(&d->report, "first_call_ms", &ms);
}

static void add_processors(diagnosis *d) {
    const char *blas = "";
    double      quota = krait__os_quota();
    krait_value value = quota > 0 ? krait_f64(quota) : krait_none();
    int         threads = d->runs ? krait__blas_threads(&blas) : -1, cpus = (int)krait__os_cpus();
    krait__report_section(&d->report, "processors");
    krait__report_number(&d->report, "affinity", krait__os_affinity());
    krait__report_value(&d->report, "cgroup_quota", &value);
    krait__report_number(&d->report, "usable", cpus);
    krait__report_text(&d->report, "blas", *blas ? blas : NULL);
    value = threads >= 0 ? krait_i64(threads) : krait_none();
    krait__report_value(&d->report, "blas_threads", &value);
    if (threads > cpus)
        krait__report_tell(&d->report, KRAIT__WARNING, "set krait_options.blas_threads or the variable *_NUM_THREADS",
                           "%s has %d threads for %d usable processors: they wait for each other", blas, threads, cpus);
}

static void add_bytes(diagnosis *d, const char *key, bool known, bool limited, uint64_t bytes) {
    if (known && limited) krait__report_number(&d->report, key, (int64_t)(bytes / 1024));
    else krait__report_text(&d->report, key, known ? "unlimited" : NULL);
}

static void add_stack(diagnosis *d) {
    struct rlimit limit;
    size_t        stack = krait__os_stack();
    bool          known = !getrlimit(RLIMIT_STACK, &limit);
    krait__report_section(&d->report, "stack");
    add_bytes(d, "this_thread_kib", stack > 0, stack < SIZE_MAX, stack);
    add_bytes(d, "rlimit_kib", known, known && limit.rlim_cur != RLIM_INFINITY, known ? limit.rlim_cur : 0);
}

/* Variables that change what Python, numpy, the loader or krait do. */
static bool matters(const char *variable) {
    static const char *const starts[] = { "PYTHON", "KRAIT_",           "VIRTUAL_ENV=", "CONDA_PREFIX=",
                                          "PYENV_", "LD_LIBRARY_PATH=", "LD_PRELOAD=",  "MALLOC_" };
    const char              *equals = strchr(variable, '=');
    static const char        threads[] = "_NUM_THREADS";
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(variable, starts[i], strlen(starts[i]))) return equals;
    return equals && equals - variable >= (ptrdiff_t)sizeof threads - 1 &&
           !strncmp(equals - (sizeof threads - 1), threads, sizeof threads - 1);
}

static void add_environment(diagnosis *d) {
    krait__report_section(&d->report, "environment");
    for (char **variable = environ; variable && *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        char       *name = matters(*variable) ? krait__strndup(*variable, (size_t)(equals - *variable)) : NULL;
        if (name) krait__report_text(&d->report, name, equals + 1);
        krait__free(name);
    }
}

static void add_loans(diagnosis *d) {
    krait__report_section(&d->report, "loans");
    krait__report_number(&d->report, "open", (int64_t)d->open);
    krait__report_text(&d->report, "origins", krait__leaks_on ? "known" : "KRAIT_DEBUG_LEAKS=1 makes krait note them");
    krait__report_lines(&d->report, "first", d->loans.data);
}

static void add_counters(diagnosis *d) {
    krait__report_section(&d->report, "counters");
#define COUNTER(name, text) krait__report_number(&d->report, #name, (int64_t)d->counters.name);
    KRAIT_METRICS_MAP(COUNTER)
#undef COUNTER
}

static void add_sections(diagnosis *d) {
    add_krait(d);
    add_python(d);
    add_packages(d);
    add_processors(d);
    add_stack(d);
    add_environment(d);
    if (d->life == KRAIT__NOT_READY || d->life == KRAIT__FORKED) return; /* nothing counted yet, or the parent's */
    add_loans(d);
    add_counters(d);
}

/* ---- the entry --------------------------------------------------------------------------------------------------- */

static void forget(diagnosis *d) {
    krait__place_free(&d->found);
    krait__text_free(&d->steps);
    krait__text_free(&d->pandas);
    krait__text_free(&d->loans);
    krait_value_clear(&d->survey);
    krait_error_clear(&d->error);
    krait_error_clear(&d->no_survey);
    krait_error_clear(&d->preload);
}

static krait_status examine(diagnosis *d, krait_value *report, krait_error **err) {
    krait_status status;
    look(d);
    tell(d);
    add_sections(d);
    status = krait__report_finish(&d->report, d->error, report, err);
    if (status || !d->error) return status;
    status = krait_error_status(d->error);
    if (err) {
        *err = d->error;
        d->error = NULL;
    }
    return status;
}

krait_status krait_doctor(int format, krait_value *report, krait_error **err) {
    diagnosis      d = { .life = atomic_load(&krait__life), .report.format = format };
    PyThreadState *state = NULL;
    krait_status   status;
    d.counters.size = sizeof d.counters;
    if (report) krait__set_none(report);
    if (krait__stuck(err)) return (*err)->status;
    if (!report) {
        status = krait__fail(err, KRAIT_E_ARGUMENT, "report is NULL, expected where to put the report");
    } else if (format != KRAIT_REPORT_TEXT && format != KRAIT_REPORT_JSON) {
        status =
            krait__fail(err, KRAIT_E_ARGUMENT, "format is %d, expected KRAIT_REPORT_TEXT or KRAIT_REPORT_JSON", format);
    } else {
        /* Looking at files and waiting for a child takes long: not while other threads wait for the GIL. */
        if (d.life != KRAIT__FORKED) state = krait__gil_pause();
        status = examine(&d, report, err);
        forget(&d);
        krait__gil_resume(state);
    }
    krait__at(err, "doctor");
    return status;
}
