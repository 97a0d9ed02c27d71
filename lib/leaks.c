#include "leaks.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <link.h>
#include <sys/syscall.h>
#endif
#if defined(__GLIBC__) || defined(__APPLE__)
#include <execinfo.h>
#define HAS_BACKTRACE 1
#else
#define HAS_BACKTRACE 0
#endif

#include "gil.h"
#include "loan.h"
#include "log.h"
#include "mem.h"
#include "table.h"
#include "value.h"

enum {
    BUCKETS = 1024, /* for results, which are found by their owner */
    ORIGIN_SIZE = 512,
    LINE_SIZE = 1024,
    LOGGED = 50 /* lines at the end of the program */
};

struct krait__leak {
    krait__leak  *next, **link; /* the list of all; link is NULL when it has left that */
    krait__leak  *peer;         /* the next argument of its call, the next result of its bucket */
    unsigned      refs;         /* the list's, and those of listings that run: the rest never changes */
    uint32_t      kind;
    const void   *data;
    size_t        bytes;
    krait__origin origin;
    void         *owner; /* of a result: what its value says, and how that is really released */
    void (*release)(void *owner);
    char *function;
    char  argument[128];
};

bool krait__leaks_on;

static struct {
    pthread_mutex_t lock; /* guards all below; nothing is called under it */
    krait__leak    *first;
    krait__leak    *results[BUCKETS];
    size_t          count[KRAIT_LOAN_RESULT + 1]; /* of each kind */
} leaks = { .lock = PTHREAD_MUTEX_INITIALIZER };

static __thread krait__watch *watched; /* the innermost on this thread */

/* In a forked child the lock may have been held by a thread that is not there any more; there is only one left. */
static void lock_leaks(void) {
    if (atomic_load(&krait__life) != KRAIT__FORKED) pthread_mutex_lock(&leaks.lock);
}

static void unlock_leaks(void) {
    if (atomic_load(&krait__life) != KRAIT__FORKED) pthread_mutex_unlock(&leaks.lock);
}

/* ---- origins ----------------------------------------------------------------------------------------------------- */

static unsigned long thread_number(void) {
#ifdef __linux__
    return (unsigned long)syscall(SYS_gettid);
#else
    return (unsigned long)(uintptr_t)pthread_self();
#endif
}

/* From the caller outwards; where frames cannot be followed, the caller alone. */
static void find_origin(krait__origin *origin, void *caller) {
    memset(origin, 0, sizeof *origin);
    origin->frames[0] = caller;
    origin->thread = thread_number();
#if HAS_BACKTRACE
    void *frames[16];
    int   count = backtrace(frames, 16), at = 0;
    while (at < count && frames[at] != caller) at++;
    for (int i = 1; i < KRAIT__ORIGIN_FRAMES && at + i < count; i++) origin->frames[i] = frames[at + i];
#endif
}

/* Addresses of a program that cannot be moved in memory are told as they are: as addr2line takes them. */
static const char *base_of(const void *image) {
#ifdef __linux__
    const ElfW(Ehdr) *header = image;
    if (header->e_type == ET_EXEC) return NULL;
#endif
    return image;
}

/* "program+0x1234", of the call instruction, not of what comes after it. */
static void frame_text(const void *address, char *text, size_t size) {
    const char *call = (const char *)address - 1, *name;
    Dl_info     info;
    if (!dladdr(call, &info) || !info.dli_fname || !info.dli_fbase) {
        snprintf(text, size, "%p", (const void *)call);
        return;
    }
    name = strrchr(info.dli_fname, '/');
    snprintf(text, size, "%s+0x%lx", name ? name + 1 : info.dli_fname,
             (unsigned long)((uintptr_t)call - (uintptr_t)base_of(info.dli_fbase)));
}

/* "program+0x1234 < program+0x1300, thread 12", or "". */
static void origin_text(const krait__origin *origin, char text[ORIGIN_SIZE]) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < KRAIT__ORIGIN_FRAMES && origin->frames[i]; i++) {
        char frame[96];
        frame_text(origin->frames[i], frame, sizeof frame);
        if (!used && !strncmp(frame, "libkrait.", 9)) continue; /* of a public function that calls another */
        used += (size_t)snprintf(text + used, ORIGIN_SIZE - used, "%s%s", used ? " < " : "", frame);
    }
    if (used) snprintf(text + used, ORIGIN_SIZE - used, ", thread %lu", origin->thread);
}

void krait__leaks_start(void) {
    const char *wanted = getenv("KRAIT_DEBUG_LEAKS");
    if (!wanted || !*wanted || !strcmp(wanted, "0")) return;
#if HAS_BACKTRACE
    void *frame;
    backtrace(&frame, 1); /* loads what it needs now, not within a call */
#endif
    krait__leaks_on = krait__careful = true;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static krait__leak *leak_new(uint32_t kind, const void *data, size_t bytes, const char *function) {
    krait__leak *leak = krait__zalloc(sizeof *leak);
    if (!leak) return NULL;
    leak->refs = 1;
    leak->kind = kind;
    leak->data = data;
    leak->bytes = bytes;
    leak->function = krait__strdup(function);
    if (watched) leak->origin = watched->origin;
    return leak;
}

static void enlist(krait__leak *leak) {
    leak->next = leaks.first;
    leak->link = &leaks.first;
    if (leaks.first) leaks.first->link = &leak->next;
    leaks.first = leak;
    leaks.count[leak->kind]++;
}

static krait__leak *add(krait__leak *leak) {
    lock_leaks();
    enlist(leak);
    unlock_leaks();
    return leak;
}

static void delist(krait__leak *leak) {
    *leak->link = leak->next;
    if (leak->next) leak->next->link = leak->link;
    leaks.count[leak->kind]--;
}

static void leak_unref(krait__leak *leak) {
    bool last;
    lock_leaks();
    last = --leak->refs == 0;
    unlock_leaks();
    if (!last) return;
    krait__free(leak->function);
    krait__free(leak);
}

void krait__leaks_forget(krait__leak *leak) {
    lock_leaks();
    delist(leak);
    unlock_leaks();
    leak_unref(leak);
}

krait__leak *krait__leaks_view(const void *data, size_t bytes, const char *function, const char *argument) {
    krait__leak *leak = leak_new(KRAIT_LOAN_VIEW, data, bytes, function);
    if (!leak) return NULL;
    snprintf(leak->argument, sizeof leak->argument, "%s", argument);
    return add(leak);
}

size_t krait__leaks_count(uint32_t kind) {
    size_t count;
    lock_leaks();
    count = leaks.count[kind];
    unlock_leaks();
    return count;
}

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* The memory that the argument lends for the call; false when it lends none. */
static bool lends(const krait_arg *arg, const char **lo, const char **hi) {
    const krait_value *value = &arg->value;
    int64_t            size;
    *lo = *hi = NULL;
    if (value->flags & (KRAIT_VALUE_OWNED_ | KRAIT_VALUE_PYTHON_) || arg->flags & KRAIT_COPY) return false;
    if (value->kind == KRAIT_KIND_ARRAY && krait__array_check(value, lo, hi, &size, NULL)) return false;
    if (value->kind == KRAIT_KIND_TABLE) {
        if (krait__table_check(value, NULL)) return false;
        krait__table_hull(value->as.table, lo, hi);
    }
    return *lo < *hi;
}

void krait__watch_begin(krait__watch *watch, const char *function, const krait_arg *args, size_t n, void *caller) {
    const char *lo, *hi;
    watch->function = function;
    watch->arguments = NULL;
    watch->outer = watched;
    watched = watch;
    find_origin(&watch->origin, caller);
    for (size_t i = 0; args && i < n; i++) {
        krait__leak *leak =
            lends(&args[i], &lo, &hi) ? leak_new(KRAIT_LOAN_ARGUMENT, lo, (size_t)(hi - lo), function) : NULL;
        if (!leak) continue;
        krait__argument_name(leak->argument, sizeof leak->argument, (uint32_t)i, args[i].name);
        leak->peer = watch->arguments;
        watch->arguments = add(leak);
    }
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static krait__leak **bucket_of(const void *owner) {
    return &leaks.results[((uintptr_t)owner >> 4) * 2654435761u >> 8 & (BUCKETS - 1)];
}

/* Stands in each watched result in the place of its own release. */
static void release_result(void *owner) {
    krait__leak **at, *leak;
    lock_leaks();
    for (at = bucket_of(owner); *at && (*at)->owner != owner;) at = &(*at)->peer;
    leak = *at;
    if (leak) {
        *at = leak->peer;
        delist(leak);
    }
    unlock_leaks();
    if (!leak) {
        krait__log(KRAIT_LOG_ERROR, "a result was released twice: clear one of the values that it was assigned to");
        return;
    }
    leak->release(owner);
    leak_unref(leak);
}

static void memory_of(const krait_value *value, const void **data, size_t *bytes) {
    const char *lo = NULL, *hi = NULL;
    int64_t     size;
    if (value->kind == KRAIT_KIND_TEXT || value->kind == KRAIT_KIND_BYTES) {
        lo = value->as.bytes.data;
        hi = lo + value->as.bytes.size;
    } else if (value->kind == KRAIT_KIND_ARRAY && krait__array_check(value, &lo, &hi, &size, NULL)) {
        lo = hi = NULL;
    }
    *data = lo;
    *bytes = (size_t)(hi - lo);
}

static void note_result(krait_value *out, const char *function) {
    krait__leak *leak, **bucket;
    const void  *data;
    size_t       bytes;
    memory_of(out, &data, &bytes);
    leak = leak_new(KRAIT_LOAN_RESULT, data, bytes, function);
    if (!leak) return;
    krait_value_describe(out, leak->argument, sizeof leak->argument);
    leak->owner = out->owner;
    leak->release = out->release;
    out->release = release_result;
    lock_leaks();
    bucket = bucket_of(leak->owner);
    leak->peer = *bucket;
    *bucket = leak;
    enlist(leak);
    unlock_leaks();
}

void krait__watch_end(krait__watch *watch, krait_value *out) {
    for (krait__leak *leak = watch->arguments, *next; leak; leak = next) {
        next = leak->peer;
        krait__leaks_forget(leak);
    }
    if (out && out->release && out->release != release_result) note_result(out, watch->function);
    watched = watch->outer;
}

/* ---- listing ----------------------------------------------------------------------------------------------------- */

/* All that is open now, each with a reference more; *count also without memory for them. */
static krait__leak **take_all(size_t *count) {
    krait__leak **all;
    size_t        i = 0;
    lock_leaks();
    *count = leaks.count[KRAIT_LOAN_VIEW] + leaks.count[KRAIT_LOAN_ARGUMENT] + leaks.count[KRAIT_LOAN_RESULT];
    all = *count ? krait__alloc(krait__size(*count, sizeof(krait__leak *), 0)) : NULL;
    for (krait__leak *leak = leaks.first; all && leak; leak = leak->next) {
        leak->refs++;
        all[i++] = leak;
    }
    unlock_leaks();
    return all;
}

/* fn may run Python code, which may end loans: so no lock is held around it. */
size_t krait_loans(void (*fn)(void *user, const krait_loan *loan), void *user) {
    char          origin[ORIGIN_SIZE];
    size_t        count;
    krait__leak **all;
    if (!fn)
        return krait__leaks_count(KRAIT_LOAN_VIEW) + krait__leaks_count(KRAIT_LOAN_ARGUMENT) +
               krait__leaks_count(KRAIT_LOAN_RESULT);
    all = take_all(&count);
    for (size_t i = 0; all && i < count; i++) {
        const krait__leak *leak = all[i];
        krait_loan         loan = {
                    leak->data, leak->bytes, leak->function ? leak->function : "", leak->argument, origin, leak->kind, 0
        };
        origin_text(&leak->origin, origin);
        fn(user, &loan);
    }
    for (size_t i = 0; all && i < count; i++) leak_unref(all[i]);
    krait__free(all);
    return count;
}

static const char *function_of(const krait__leak *leak) {
    return leak->function ? leak->function : "";
}

/* Alike are those that one place of the program made by one function. */
static int compare(const void *a, const void *b) {
    const krait__leak *one = *(krait__leak *const *)a, *other = *(krait__leak *const *)b;
    int                order = (one->kind > other->kind) - (one->kind < other->kind);
    if (!order) order = strcmp(function_of(one), function_of(other));
    if (!order) order = memcmp(one->origin.frames, other->origin.frames, sizeof one->origin.frames);
    return order;
}

static void describe(const krait__leak *leak, size_t alike, char line[LINE_SIZE]) {
    char        origin[ORIGIN_SIZE], bytes[32] = "", number[48] = "";
    const char *kind = leak->kind == KRAIT_LOAN_RESULT     ? ", the result of "
                       : leak->kind == KRAIT_LOAN_ARGUMENT ? " of a call now of "
                                                           : " of ";
    origin_text(&leak->origin, origin);
    if (leak->kind != KRAIT_LOAN_RESULT) snprintf(bytes, sizeof bytes, "%zu bytes, ", leak->bytes);
    if (alike > 1) snprintf(number, sizeof number, "; %zu more like it", alike - 1);
    snprintf(line, LINE_SIZE, "%s%s%s%s%s%s%s", bytes, leak->argument, kind, function_of(leak),
             *origin ? ", called at " : "", origin, number);
}

void krait__leaks_tell(void (*tell)(void *user, const char *line), void *user, size_t limit) {
    char          line[LINE_SIZE];
    size_t        count, told = 0;
    krait__leak **all = take_all(&count);
    if (!all) return;
    qsort(all, count, sizeof *all, compare);
    for (size_t i = 0, alike; i < count && told < limit; i += alike, told++) {
        for (alike = 1; i + alike < count && !compare(&all[i], &all[i + alike]);) alike++;
        describe(all[i], alike, line);
        tell(user, line);
    }
    for (size_t i = 0; i < count; i++) leak_unref(all[i]);
    krait__free(all);
}

static void log_line(void *unused, const char *line) {
    (void)unused;
    krait__log(KRAIT_LOG_WARNING, "KRAIT_DEBUG_LEAKS: %s", line);
}

void krait__leaks_log(void) {
    size_t results, views;
    if (!krait__leaks_on) return;
    results = krait__leaks_count(KRAIT_LOAN_RESULT);
    views = krait__leaks_count(KRAIT_LOAN_VIEW);
    krait__log(results + views ? KRAIT_LOG_WARNING : KRAIT_LOG_INFO,
               "KRAIT_DEBUG_LEAKS: %zu results were never cleared, %zu views of lent memory are left", results, views);
    krait__leaks_tell(log_line, NULL, LOGGED);
}
