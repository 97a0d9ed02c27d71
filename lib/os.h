/* os: what differs between operating systems, and nothing of Python.
 *
 * Threads of krait: 16 MiB of stack, every signal blocked but those of faults. Waits retry EINTR. */
#ifndef KRAIT_LIB_OS_H
#define KRAIT_LIB_OS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <krait/status.h>

#ifdef __APPLE__
#include <dispatch/dispatch.h>
#else
#include <semaphore.h>
#endif

int64_t         krait__os_now(void);                                  /* ns, CLOCK_MONOTONIC */
struct timespec krait__os_after(clockid_t clock, int64_t timeout_ms); /* that long from now */

/* An event: posts add up, a wait takes one. krait__event_post neither blocks nor fails, and is safe in a signal
 * handler. */
typedef struct krait__event {
#ifdef __APPLE__
    dispatch_semaphore_t semaphore;
#else
    sem_t semaphore;
#endif
} krait__event;

bool krait__event_init(krait__event *event);
void krait__event_free(krait__event *event);
void krait__event_post(krait__event *event);
/* False when timeout_ms passed first; negative waits for ever. */
bool krait__event_wait(krait__event *event, int64_t timeout_ms);

/* Starts a thread of krait's own; detached. `name` shows in debuggers, 15 bytes at most. */
bool krait__thread_start(const char *name, void *(*run)(void *user), void *user);

/* Bytes of the calling thread's stack, 0 when unknown. For the main thread what RLIMIT_STACK grants; SIZE_MAX when that
 * is unlimited. */
size_t krait__os_stack(void);

/* Processors this process may use: affinity, then the cgroup's CPU quota rounded up; at least 1. */
unsigned krait__os_cpus(void);
unsigned krait__os_affinity(void);
double   krait__os_quota(void); /* CPUs; 0: no quota */

/* All signal dispositions, to put back what an initialisation changed. */
enum { KRAIT__SIGNALS = 65 };
typedef struct krait__signals {
    struct sigaction action[KRAIT__SIGNALS];
    bool             known[KRAIT__SIGNALS];
} krait__signals;
void krait__signals_save(krait__signals *signals);
void krait__signals_restore(const krait__signals *signals);

/* Keeps the file that holds `address` (this library, or a plugin it was linked into) in memory for good; returns its
 * path or "". */
const char *krait__os_pin(const void *address);

/* Calls fn with the path of each file mapped into the process, until it returns true. */
bool krait__os_each_library(bool (*fn)(void *user, const char *path), void *user);

/* True in a program without a dynamic linker: nothing can be loaded there. */
bool krait__os_is_static(void);

#endif
