#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_rwlock_t lock; /* guards all below; a sink is called under it, so it must not log */
    krait_log_fn     fn;
    void            *user;
    void (*destroy)(void *user);
} sink = { .lock = PTHREAD_RWLOCK_INITIALIZER };

void krait__log_set(krait_log_fn fn, void *user, void (*destroy)(void *user)) {
    void (*old_destroy)(void *);
    void *old_user;
    pthread_rwlock_wrlock(&sink.lock);
    old_destroy = sink.destroy;
    old_user = sink.user;
    sink.fn = fn;
    sink.user = user;
    sink.destroy = destroy;
    pthread_rwlock_unlock(&sink.lock);
    if (old_destroy) old_destroy(old_user);
}

static void to_stderr(const char *line) {
    const char *where = getenv("KRAIT_LOG");
    if (where && !strcmp(where, "stderr")) fprintf(stderr, "krait: %s\n", line);
}

void krait__log(int level, const char *format, ...) {
    char    line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' '; /* a sink gets one line for each call */
    pthread_rwlock_rdlock(&sink.lock);
    if (sink.fn) sink.fn(sink.user, level, line);
    else to_stderr(line);
    pthread_rwlock_unlock(&sink.lock);
}
