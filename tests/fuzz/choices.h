/* The input of a fuzzer as a row of choices: when it has run out, all of them are 0. */
#ifndef KRAIT_TESTS_FUZZ_CHOICES_H
#define KRAIT_TESTS_FUZZ_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "mem.h"
#include "value.h"

static const uint8_t *choices;
static size_t         choices_left;

static inline uint8_t choose_byte(void) {
    if (!choices_left) return 0;
    choices_left--;
    return *choices++;
}

static inline unsigned choose(unsigned below) {
    return choose_byte() % below;
}

/* `size` bytes as they come, zeros at the end. */
static inline void choose_bytes(void *to, size_t size) {
    size_t n = size < choices_left ? size : choices_left;
    memset(to, 0, size);
    if (n) memcpy(to, choices, n);
    choices += n;
    choices_left -= n;
}

/* Mostly a small number, sometimes any or one at the edge of what fits. */
static inline uint64_t choose_number(void) {
    static const uint64_t edges[] = { INT32_MAX,         UINT32_MAX,        INT64_MAX,         UINT64_MAX,
                                      (uint64_t)1 << 63, (uint64_t)1 << 31, (uint64_t)1 << 61, UINT64_MAX - 7 };
    uint64_t              number = 0;
    unsigned              how = choose(16);
    if (how < 12) return choose_byte();
    if (how == 12) return edges[choose(8)];
    choose_bytes(&number, how == 13 ? 2 : how == 14 ? 4 : 8);
    return number;
}

static inline void must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static inline krait_dtype choose_dtype(void) {
    static const uint8_t sizes[] = { 0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 8, 16, 8, 8, 0, 0, 0 };
    unsigned             code = choose(20), how = choose(16);
    krait_dtype          dtype = krait_dtype_make_((uint8_t)code, 0, sizes[code], 0);
    if (code == KRAIT_DATETIME || code == KRAIT_TIMEDELTA) {
        dtype.unit = (uint8_t)choose(14);
        dtype.of.count = 1 + (int64_t)choose(30);
    }
    if (code == KRAIT_FIXED_BYTES) dtype.item_size = choose(9);
    if (code == KRAIT_FIXED_TEXT) dtype.item_size = 4 * choose(5);
    dtype.swapped = how & 1;
    if (how == 15) { /* made badly */
        dtype.code = choose_byte();
        dtype.swapped = choose_byte();
        dtype.unit = choose_byte();
        dtype.reserved = (uint8_t)(choose(4) == 3);
        dtype.item_size = (uint32_t)choose_number();
        dtype.of.count = dtype.code == KRAIT_STRUCT ? 0 : (int64_t)choose_number(); /* no wild pointer */
    }
    return dtype;
}

/* All text that the library makes of a dtype or a value: ended, and as long as told. */
static inline void check_text(size_t length, const char *text, size_t room) {
    must(room == 0 || strlen(text) == (length < room ? length : room - 1), "the length of a text");
}

/* An error, where there is one, says something; all blocks are freed. */
static inline void end_input(krait_error **err) {
    if (*err) must(*krait_error_message(*err) != 0, "an error without a message");
    krait_error_clear(err);
    krait__mem_fail_at(0);
    must(krait__mem_blocks() == 0, "blocks are left");
}

#endif
