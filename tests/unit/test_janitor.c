/* The release list and the janitor, without Python: run under ThreadSanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>

#include "janitor.h"
#include "os.h"

enum { THREADS = 8, EACH = 20000 };

typedef struct item {
    krait__node node;
    int         owner;
    atomic_int  taken;
} item;

static krait__stack stack;
static item         items[THREADS][EACH];
static atomic_long  total;

static void take_all(krait__stack *from) {
    for (krait__node *node = krait__stack_take(from); node;) {
        item *one = (item *)node;
        node = node->next; /* before it may be pushed again by its owner */
        atomic_fetch_add(&one->taken, 1);
        atomic_fetch_add(&total, 1);
    }
}

static void *pushes(void *user) {
    item *own = user;
    for (int i = 0; i < EACH; i++) {
        krait__stack_push(&stack, &own[i].node);
        if (i % 64 == 0) take_all(&stack);
    }
    return NULL;
}

static void test_every_node_is_taken_once(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, pushes, items[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    take_all(&stack);
    assert_int_equal(atomic_load(&total), (long)THREADS * EACH);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < EACH; k++) assert_int_equal(atomic_load(&items[i][k].taken), 1);
}

static void test_chain_is_pushed_whole(void **state) {
    item  chain[3] = { { .owner = 1 }, { .owner = 2 }, { .owner = 3 } }, first = { .owner = 0 };
    int   seen = 0;
    (void)state;
    krait__stack_push(&stack, &first.node);
    chain[0].node.next = &chain[1].node;
    chain[1].node.next = &chain[2].node;
    krait__stack_push_chain(&stack, &chain[0].node, &chain[2].node);
    for (krait__node *node = krait__stack_take(&stack); node; node = node->next) seen = seen * 10 + ((item *)node)->owner;
    assert_int_equal(seen, 1230);
    assert_false(krait__stack_any(&stack));
}

/* ---- the janitor's thread ---------------------------------------------------------------------------------------- */

static atomic_long drained, jobs;
static pthread_t   janitor_thread;

static void drain(void) {
    janitor_thread = pthread_self();
    for (krait__node *node = krait__stack_take(&krait__lists.holds); node;) {
        node = node->next;
        atomic_fetch_add(&drained, 1);
    }
}

static bool until(atomic_long *counter, long wanted) {
    for (int i = 0; i < 1000 && atomic_load(counter) < wanted; i++) usleep(5000);
    return atomic_load(counter) == wanted;
}

static void *clears(void *user) {
    item *own = user;
    for (int i = 0; i < EACH; i++) {
        krait__stack_push(&krait__lists.holds, &own[i].node);
        krait__janitor_poke();
    }
    return NULL;
}

/* No push is forgotten, whatever the janitor is doing at that moment. */
static void test_janitor_drains_all(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    assert_true(krait__janitor_start(drain));
    assert_true(krait__janitor_start(drain)); /* twice is once */
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, clears, items[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_true(until(&drained, (long)THREADS * EACH));
}

/* One push at a time, each met by a sleeping or a just waking janitor. */
static void test_single_pushes_are_not_lost(void **state) {
    long before = atomic_load(&drained);
    (void)state;
    for (int i = 0; i < 50; i++) {
        krait__stack_push(&krait__lists.holds, &items[0][i].node);
        krait__janitor_poke();
        assert_true(until(&drained, before + i + 1));
    }
}

static void count_job(void *user) {
    atomic_fetch_add((atomic_long *)user, 1);
}

static void test_jobs_run_once(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        while (!krait__janitor_run(count_job, &jobs)) usleep(1000);
        assert_true(until(&jobs, i + 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_node_is_taken_once), cmocka_unit_test(test_chain_is_pushed_whole),
        cmocka_unit_test(test_janitor_drains_all),       cmocka_unit_test(test_single_pushes_are_not_lost),
        cmocka_unit_test(test_jobs_run_once),
    };
    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
