#include "mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct {
    krait_allocator  custom; /* written once, before the first block */
    bool             has_custom;
    _Atomic uint64_t blocks;
#ifdef KRAIT_FAULTS
    _Atomic uint64_t asked, fail_at;
#endif
} mem;

#ifdef KRAIT_FAULTS
void krait__mem_fail_at(uint64_t n) {
    atomic_store(&mem.asked, 0);
    atomic_store(&mem.fail_at, n);
}

uint64_t krait__mem_count(void) {
    return atomic_load(&mem.asked);
}

static bool fails_now(void) {
    uint64_t n = atomic_fetch_add(&mem.asked, 1) + 1;
    return n == atomic_load(&mem.fail_at);
}
#else
static bool fails_now(void) {
    return false;
}
#endif

void *krait__alloc(size_t size) {
    void *block;
    if (size == SIZE_MAX || fails_now()) return NULL;
    if (size == 0) size = 1;
    block = mem.has_custom ? mem.custom.allocate(mem.custom.user, size) : malloc(size);
    if (block) atomic_fetch_add_explicit(&mem.blocks, 1, memory_order_relaxed);
    return block;
}

void *krait__zalloc(size_t size) {
    void *block = krait__alloc(size);
    if (block) memset(block, 0, size);
    return block;
}

void *krait__realloc(void *block, size_t size) {
    if (!block) return krait__alloc(size);
    if (size == SIZE_MAX || fails_now()) return NULL;
    if (size == 0) size = 1;
    return mem.has_custom ? mem.custom.reallocate(mem.custom.user, block, size) : realloc(block, size);
}

void krait__free(void *block) {
    if (!block) return;
    atomic_fetch_sub_explicit(&mem.blocks, 1, memory_order_relaxed);
    if (mem.has_custom) mem.custom.release(mem.custom.user, block);
    else free(block);
}

char *krait__strndup(const char *text, size_t size) {
    char *copy = krait__alloc(krait__size(size, 1, 1));
    if (!copy) return NULL;
    memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

char *krait__strdup(const char *text) {
    return krait__strndup(text, strlen(text));
}

size_t krait__size(size_t a, size_t b, size_t c) {
    if (b && a > (SIZE_MAX - 1) / b) return SIZE_MAX;
    return c >= SIZE_MAX - a * b ? SIZE_MAX : a * b + c;
}

uint64_t krait__mem_blocks(void) {
    return atomic_load_explicit(&mem.blocks, memory_order_relaxed);
}

bool krait__mem_set_allocator(const krait_allocator *allocator) {
    if (krait__mem_blocks()) return false;
    mem.custom = *allocator;
    mem.has_custom = true;
    return true;
}
