#include "janitor.h"

#include <pthread.h>

#include "os.h"

enum {
    LAZY_MS = 10,    /* how long the janitor lets callers drain for themselves before it takes the GIL */
    LAZY_ROUNDS = 20 /* and how often it waits again while they do */
};

krait__janitor_lists krait__lists;

static struct {
    krait__event event;
    _Atomic bool asleep;
    void (*work)(void);
    _Atomic(void (*)(void *)) job; /* written last by krait__janitor_run, cleared by the janitor */
    void                     *job_user;
    _Atomic bool              started;
} janitor;

void krait__janitor_poke(void) {
    if (atomic_load(&janitor.asleep) && atomic_exchange(&janitor.asleep, false)) krait__event_post(&janitor.event);
}

static bool anything_to_free(void) {
    return atomic_load(&krait__lists.holds.head) || atomic_load(&krait__lists.backlog) ||
           atomic_load(&krait__lists.threads.head);
}

static bool anything(void) {
    return anything_to_free() || atomic_load(&janitor.job);
}

/* Sleeps until there is something. The flag goes up before the lists are looked at, a push comes before the flag is
 * looked at: one of the two sees the other. */
static void sleep_until_poked(void) {
    atomic_store(&janitor.asleep, true);
    if (anything() && atomic_exchange(&janitor.asleep, false)) return;
    krait__event_wait(&janitor.event, -1);
}

/* While callers drain, taking the GIL from them would only cost. */
static void let_callers_drain(void) {
    uint64_t before = atomic_load(&krait__lists.drained);
    for (int round = 0; round < LAZY_ROUNDS; round++) {
        uint64_t now;
        krait__event_wait(&janitor.event, LAZY_MS);
        now = atomic_load(&krait__lists.drained);
        if (now == before || atomic_load(&janitor.job)) return;
        before = now;
    }
}

static void *run(void *user) {
    (void)user;
    for (;;) {
        void (*job)(void *);
        sleep_until_poked();
        job = atomic_load(&janitor.job);
        if (job) {
            void *job_user = janitor.job_user;
            atomic_store(&janitor.job, NULL); /* the slot is free before the job tells anybody that it is done */
            job(job_user);
        } else {
            let_callers_drain();
        }
        if (anything_to_free()) janitor.work();
    }
    return NULL;
}

bool krait__janitor_start(void (*work)(void)) {
    if (atomic_load(&janitor.started)) return true;
    janitor.work = work;
    if (!krait__event_init(&janitor.event) || !krait__thread_start("krait-janitor", run, NULL)) return false;
    atomic_store(&janitor.started, true);
    return true;
}

bool krait__janitor_run(void (*fn)(void *user), void *user) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    bool                   free_slot;
    pthread_mutex_lock(&lock);
    free_slot = atomic_load(&janitor.job) == NULL;
    if (free_slot) {
        janitor.job_user = user;
        atomic_store(&janitor.job, fn);
    }
    pthread_mutex_unlock(&lock);
    if (free_slot) krait__janitor_poke();
    return free_slot;
}
