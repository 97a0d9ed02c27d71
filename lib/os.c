#include "os.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <link.h>
#include <sched.h>
#endif

enum { THREAD_STACK = 16 * 1024 * 1024 };

int64_t krait__os_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct timespec krait__os_after(clockid_t clock, int64_t timeout_ms) {
    struct timespec until;
    clock_gettime(clock, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

/* ---- events: semaphores, since a post must not block ------------------------------------------------------------- */

#ifdef __APPLE__
bool krait__event_init(krait__event *event) {
    event->semaphore = dispatch_semaphore_create(0);
    return event->semaphore != NULL;
}

void krait__event_free(krait__event *event) {
    dispatch_release(event->semaphore);
}

void krait__event_post(krait__event *event) {
    dispatch_semaphore_signal(event->semaphore);
}

bool krait__event_wait(krait__event *event, int64_t timeout_ms) {
    dispatch_time_t until =
        timeout_ms < 0 ? DISPATCH_TIME_FOREVER : dispatch_time(DISPATCH_TIME_NOW, timeout_ms * 1000000);
    return dispatch_semaphore_wait(event->semaphore, until) == 0;
}
#else
/* POSIX's sem_timedwait knows only the clock that can be set; glibc has one for any clock, which ThreadSanitizer does
 * not know. */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 30) && !defined(__SANITIZE_THREAD__)
enum { SEMAPHORE_CLOCK = CLOCK_MONOTONIC };
#define WAIT_UNTIL(semaphore, until) sem_clockwait(semaphore, CLOCK_MONOTONIC, until)
#else
enum { SEMAPHORE_CLOCK = CLOCK_REALTIME };
#define WAIT_UNTIL(semaphore, until) sem_timedwait(semaphore, until)
#endif

bool krait__event_init(krait__event *event) {
    return sem_init(&event->semaphore, 0, 0) == 0;
}

void krait__event_free(krait__event *event) {
    sem_destroy(&event->semaphore);
}

void krait__event_post(krait__event *event) {
    sem_post(&event->semaphore);
}

bool krait__event_wait(krait__event *event, int64_t timeout_ms) {
    struct timespec until;
    int             rc;
    if (timeout_ms < 0) {
        do rc = sem_wait(&event->semaphore);
        while (rc != 0 && errno == EINTR);
        return rc == 0;
    }
    until = krait__os_after(SEMAPHORE_CLOCK, timeout_ms);
    do rc = WAIT_UNTIL(&event->semaphore, &until);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}
#endif

/* ---- threads ----------------------------------------------------------------------------------------------------- */

static void set_name(pthread_t thread, const char *name) {
#ifdef __APPLE__
    (void)thread, (void)name;
#else
    pthread_setname_np(thread, name);
#endif
}

/* A handler of the host must not run on krait's threads; a fault there must still be seen. */
static void mask_all_but_faults(sigset_t *old) {
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
    sigset_t         mask;
    sigfillset(&mask);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&mask, faults[i]);
    pthread_sigmask(SIG_SETMASK, &mask, old);
}

bool krait__thread_start(const char *name, void *(*run)(void *user), void *user) {
    pthread_attr_t attributes;
    pthread_t      thread;
    sigset_t       old;
    int            rc;
    if (pthread_attr_init(&attributes)) return false;
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    mask_all_but_faults(&old);
    rc = pthread_create(&thread, &attributes, run, user);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (rc) return false;
    set_name(thread, name); /* before it is detached: one that has ended by now would be a dangling handle */
    pthread_detach(thread);
    return true;
}

#ifdef __APPLE__
size_t krait__os_stack(void) {
    return pthread_get_stacksize_np(pthread_self());
}
#else
static size_t main_stack(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit)) return 0;
    return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t)limit.rlim_cur;
}

size_t krait__os_stack(void) {
    pthread_attr_t attributes;
    size_t         size = 0;
    if (getpid() == gettid()) return main_stack();
    if (pthread_getattr_np(pthread_self(), &attributes)) return 0;
    if (pthread_attr_getstacksize(&attributes, &size)) size = 0;
    pthread_attr_destroy(&attributes);
    return size;
}
#endif

/* ---- processors -------------------------------------------------------------------------------------------------- */

unsigned krait__os_affinity(void) {
    long count;
#ifdef CPU_COUNT
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set) && CPU_COUNT(&set) > 0) return (unsigned)CPU_COUNT(&set);
#endif
    count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

/* cgroup v2's cpu.max: "50000 100000" or "max 100000". */
static double quota_of(const char *path) {
    char   quota[32];
    double period = 0, cpus = 0;
    FILE  *file = fopen(path, "re");
    if (!file) return 0;
    if (fscanf(file, "%31s %lf", quota, &period) == 2 && period > 0 && strcmp(quota, "max") != 0)
        cpus = strtod(quota, NULL) / period;
    fclose(file);
    return cpus;
}

/* cgroup v1 keeps the two numbers in two files. */
static double quota_v1(void) {
    double quota = 0, period = 0;
    FILE  *a = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
    FILE  *b = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
    if (a && fscanf(a, "%lf", &quota) != 1) quota = 0;
    if (b && fscanf(b, "%lf", &period) != 1) period = 0;
    if (a) fclose(a);
    if (b) fclose(b);
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double smaller_quota(double a, double b) {
    if (a <= 0) return b;
    return b > 0 && b < a ? b : a;
}

/* The line "0::/a/b" of /proc/self/cgroup, cut at its end; "" without one. */
static void own_cgroup(char *path, size_t size) {
    char  line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "re");
    path[0] = 0;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "0::", 3)) snprintf(path, size, "%s", line + 3);
    }
    if (file) fclose(file);
}

/* The quota of a cgroup binds all below it, so each level up to the root counts. */
double krait__os_quota(void) {
    char   group[PATH_MAX], path[PATH_MAX + 32];
    double cpus = quota_v1();
    own_cgroup(group, sizeof group);
    for (;;) {
        char *slash;
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        cpus = smaller_quota(cpus, quota_of(path));
        slash = strrchr(group, '/');
        if (!slash) return cpus;
        *slash = 0;
    }
}

unsigned krait__os_cpus(void) {
    unsigned cpus = krait__os_affinity();
    double   quota = krait__os_quota();
    if (quota > 0 && quota < cpus) cpus = (unsigned)ceil(quota);
    return cpus ? cpus : 1;
}

/* ---- signals ----------------------------------------------------------------------------------------------------- */

void krait__signals_save(krait__signals *signals) {
    for (int i = 1; i < KRAIT__SIGNALS; i++) signals->known[i] = sigaction(i, NULL, &signals->action[i]) == 0;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b) {
    if (a->sa_flags & SA_SIGINFO || b->sa_flags & SA_SIGINFO)
        return a->sa_flags == b->sa_flags && a->sa_sigaction == b->sa_sigaction;
    return a->sa_flags == b->sa_flags && a->sa_handler == b->sa_handler;
}

/* Only what has changed: the host may be setting another one at this moment. */
void krait__signals_restore(const krait__signals *signals) {
    for (int i = 1; i < KRAIT__SIGNALS; i++) {
        struct sigaction now;
        if (!signals->known[i] || i == SIGKILL || i == SIGSTOP || sigaction(i, NULL, &now)) continue;
        if (!same_action(&now, &signals->action[i])) sigaction(i, &signals->action[i], NULL);
    }
}

/* ---- files in memory --------------------------------------------------------------------------------------------- */

const char *krait__os_pin(const void *address) {
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname) return "";
    /* The handle is meant to be lost: that is what keeps the file. For the program itself this finds nothing, and
     * nothing is needed. */
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
    return info.dli_fname;
}

#ifdef __APPLE__
bool krait__os_each_library(bool (*fn)(void *user, const char *path), void *user) {
    for (uint32_t i = 0; i < _dyld_image_count(); i++)
        if (fn(user, _dyld_get_image_name(i))) return true;
    return false;
}

bool krait__os_is_static(void) {
    return false;
}
#else
/* Paths, each with its NUL, one after the other. */
struct paths {
    char  *data;
    size_t size;
};

static int collect_path(struct dl_phdr_info *info, size_t size, void *user) {
    struct paths *paths = user;
    size_t        length = info->dlpi_name ? strlen(info->dlpi_name) : 0;
    char         *bigger;
    (void)size;
    if (!length) return 0;
    bigger = realloc(paths->data, paths->size + length + 1);
    if (!bigger) return 1;
    memcpy(bigger + paths->size, info->dlpi_name, length + 1);
    paths->data = bigger;
    paths->size += length + 1;
    return 0;
}

/* The linker's lock is held while it iterates, and fn may well want to open a library: so collect first. */
bool krait__os_each_library(bool (*fn)(void *user, const char *path), void *user) {
    struct paths paths = { NULL, 0 };
    bool         found = false;
    dl_iterate_phdr(collect_path, &paths);
    for (size_t at = 0; at < paths.size && !found; at += strlen(paths.data + at) + 1) found = fn(user, paths.data + at);
    free(paths.data);
    return found;
}

static int has_dynamic(struct dl_phdr_info *info, size_t size, void *user) {
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP) *(bool *)user = true;
    return 1; /* the program comes first */
}

bool krait__os_is_static(void) {
    bool dynamic = false;
    dl_iterate_phdr(has_dynamic, &dynamic);
    return !dynamic;
}
#endif
