/* janitor: frees Python objects without taking the GIL.
 *
 * Whoever clears a result pushes its hold on a lock-free list, from any thread, in any state; that never waits and
 * never fails, since the hold was allocated with the result. The list is drained by whoever holds the GIL next (a few
 * at a time) or, when nobody calls, by krait's janitor thread. Thread records of ended threads take the same way. Knows
 * no Python: what draining does is given to it.
 *
 * Order of memory: a push is a compare-and-swap that releases, a take is an exchange that acquires; nobody follows a
 * link of a node that is still on a shared list, so there is no ABA. */
#ifndef KRAIT_LIB_JANITOR_H
#define KRAIT_LIB_JANITOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node of a list: first member of what is listed. */
typedef struct krait__node {
    struct krait__node *next;
} krait__node;

typedef struct krait__stack {
    _Atomic(krait__node *) head;
} krait__stack;

static inline void krait__stack_push_chain(krait__stack *stack, krait__node *first, krait__node *last) {
    krait__node *head = atomic_load_explicit(&stack->head, memory_order_relaxed);
    do last->next = head;
    while (
        !atomic_compare_exchange_weak_explicit(&stack->head, &head, first, memory_order_seq_cst, memory_order_relaxed));
}

static inline void krait__stack_push(krait__stack *stack, krait__node *node) {
    krait__stack_push_chain(stack, node, node);
}

static inline bool krait__stack_any(krait__stack *stack) {
    return atomic_load_explicit(&stack->head, memory_order_relaxed) != NULL;
}

static inline krait__node *krait__stack_take(krait__stack *stack) {
    return atomic_exchange_explicit(&stack->head, NULL, memory_order_seq_cst);
}

/* What waits for the janitor. */
typedef struct krait__janitor_lists {
    krait__stack           holds;                  /* krait__hold: objects to release */
    _Atomic(krait__node *) backlog;                /* a chain taken from holds that a call did not finish */
    krait__stack           threads;                /* krait__thread: records of ended threads */
    _Atomic uint64_t       pending, pending_bytes; /* holds on the list, and what they keep alive */
    _Atomic uint64_t       drained; /* holds that callers drained, ever: tells the janitor that it need not hurry */
} krait__janitor_lists;

extern krait__janitor_lists krait__lists;

/* After a push: wakes the janitor if it sleeps. Does not block; safe anywhere. */
void krait__janitor_poke(void);

/* Starts the thread. work drains what there is; it is called on the janitor's thread only. */
bool krait__janitor_start(void (*work)(void));

/* Runs fn(user) once on the janitor's thread, soon. One job at a time: false when one is waiting. */
bool krait__janitor_run(void (*fn)(void *user), void *user);

#endif
