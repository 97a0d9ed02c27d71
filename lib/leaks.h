/* leaks: what was lent or handed out and is not back yet; the registry behind krait_loans.
 *
 * Views that outlive their call are always in it. With KRAIT_DEBUG_LEAKS=1 in the environment also the borrowed
 * arguments of the calls that run and every result until it is released, each with the place of the C program that
 * called. Calls then take none of the short ways, so that without it nothing of this stands in theirs. Needs no GIL. */
#ifndef KRAIT_LIB_LEAKS_H
#define KRAIT_LIB_LEAKS_H

#include <krait/call.h>
#include <krait/runtime.h>

#include <stdbool.h>

enum { KRAIT__ORIGIN_FRAMES = 5 };

/* Return addresses, the innermost first, and the thread as the system names it; all zero when it is not known. */
typedef struct krait__origin {
    void         *frames[KRAIT__ORIGIN_FRAMES];
    unsigned long thread;
} krait__origin;

typedef struct krait__leak krait__leak;

/* KRAIT_DEBUG_LEAKS, as it was when krait was first initialised. */
extern bool krait__leaks_on;
void        krait__leaks_start(void);

/* A view that outlives its call; NULL without memory. Its origin is that of the call that is watched. */
krait__leak *krait__leaks_view(const void *data, size_t bytes, const char *function, const char *argument);
void         krait__leaks_forget(krait__leak *leak);

/* How many of that kind are open. */
size_t krait__leaks_count(uint32_t kind);

/* One public function that runs, on its stack. */
typedef struct krait__watch {
    struct krait__watch *outer; /* of a call that runs further down this thread's stack */
    const char          *function;
    krait__leak         *arguments;
    krait__origin        origin;
} krait__watch;

/* Around a public function that hands out results, when krait__leaks_on: `function` is its name for people, `caller`
 * its return address. The end notes *out (NULL: there is none), whose release then tells. */
void krait__watch_begin(krait__watch *watch, const char *function, const krait_arg *args, size_t n, void *caller);
void krait__watch_end(krait__watch *watch, krait_value *out);

/* What is open, in lines for people, like ones told once with their number; at most `limit` of them. */
void krait__leaks_tell(void (*tell)(void *user, const char *line), void *user, size_t limit);

/* The same into the log, as the last word at the end of the program. Nothing unless krait__leaks_on. */
void krait__leaks_log(void);

#endif
