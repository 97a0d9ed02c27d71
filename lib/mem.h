/* mem: every C allocation of krait goes through here.
 *
 * One allocator for the process (krait_options.allocator, else malloc), a count of the blocks that live, and, in test
 * builds
 * (-DKRAIT_FAULTS), a way to make the n-th allocation fail. Refuses to change the allocator while a block lives. */
#ifndef KRAIT_LIB_MEM_H
#define KRAIT_LIB_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <krait/runtime.h>

void *krait__alloc(size_t size);  /* NULL when there is none */
void *krait__zalloc(size_t size); /* the same, zeroed */
void *krait__realloc(void *block, size_t size);
void  krait__free(void *block); /* NULL is fine */
char *krait__strndup(const char *text, size_t size);
char *krait__strdup(const char *text);

/* a * b + c, or SIZE_MAX when that does not fit: no allocation of it can succeed. */
size_t krait__size(size_t a, size_t b, size_t c);

uint64_t krait__mem_blocks(void);
bool     krait__mem_set_allocator(const krait_allocator *allocator);

#ifdef KRAIT_FAULTS
void     krait__mem_fail_at(uint64_t n); /* the n-th allocation from now fails, once; 0: none */
uint64_t krait__mem_count(void);         /* allocations asked for since krait__mem_fail_at */
#endif

#endif
