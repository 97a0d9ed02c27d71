#include "options.h"

#include <string.h>

#include "error.h"

/* The fields one by one, so that a set one can be named. */
typedef struct field {
    const char *name;
    size_t      offset, size;
} field;
enum { LARGEST = 4096 }; /* bytes of an option struct of any release to come */
#define FIELD(type, name)                                                                                              \
    { #name, offsetof(type, name), sizeof((type *)0)->name }

static bool is_set(const void *bytes, size_t size) {
    const unsigned char *byte = bytes;
    return size && (*byte || memcmp(byte, byte + 1, size - 1) != 0);
}

/* Copies what the caller has of a struct of `size` bytes; `least` is that of its first release. */
static krait_status take(const void *options, size_t given, void *copy, size_t size, size_t least, const char *type,
                         krait_error **err) {
    if (given < least)
        return krait__fail(err, KRAIT_E_ARGUMENT,
                           "%s.size is %zu, expected at least %zu: start with its KRAIT_..._OPTIONS_INIT", type, given,
                           least);
    if (given > LARGEST)
        return krait__fail(err, KRAIT_E_ARGUMENT, "%s.size is %zu: it was not initialised", type, given);
    if (given > size && is_set((const char *)options + size, given - size))
        return krait__fail(err, KRAIT_E_UNSUPPORTED,
                           "%s: a field beyond its first %zu bytes is set; this libkrait is older than the header",
                           type, size);
    memset(copy, 0, size);
    memcpy(copy, options, given < size ? given : size);
    return KRAIT_OK;
}

static krait_status refuse_fields(const void *options, const field *fields, size_t count, const char *type,
                                  krait_error **err) {
    for (size_t i = 0; i < count; i++)
        if (is_set((const char *)options + fields[i].offset, fields[i].size))
            return krait__fail(err, KRAIT_E_UNSUPPORTED, "%s.%s is not supported yet", type, fields[i].name);
    return KRAIT_OK;
}

krait_status krait__check_options(const krait_options *options, krait_options *copy, krait_error **err) {
    static const krait_options none = KRAIT_OPTIONS_INIT;
    static const field         later[] = { FIELD(krait_options, reserved) };
    krait_status               status;
    if (!options) options = &none;
    status = take(options, options->size, copy, sizeof *copy, sizeof *copy, "krait_options", err);
    if (!status) status = refuse_fields(copy, later, 1, "krait_options", err);
    if (status) return status;
    if (copy->flags & ~(uint32_t)KRAIT_ISOLATED)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "krait_options.flags 0x%x are not known", (unsigned)copy->flags);
    if (copy->blas_threads > 4096)
        return krait__fail(err, KRAIT_E_RANGE, "krait_options.blas_threads is %u, expected at most 4096",
                           (unsigned)copy->blas_threads);
    if (copy->allocator && (!copy->allocator->allocate || !copy->allocator->reallocate || !copy->allocator->release))
        return krait__fail(err, KRAIT_E_ARGUMENT, "krait_options.allocator: all three functions are needed");
    return KRAIT_OK;
}

krait_status krait__check_call_options(const krait_call_options *options, krait_error **err) {
    static const field later[] = {
        FIELD(krait_call_options, reserved0),  FIELD(krait_call_options, on),
        FIELD(krait_call_options, timeout_ms), FIELD(krait_call_options, deadline_ns),
        FIELD(krait_call_options, trace),      FIELD(krait_call_options, cancel),
        FIELD(krait_call_options, tag),        FIELD(krait_call_options, reserved),
    };
    krait_call_options copy;
    krait_status status = take(options, options->size, &copy, sizeof copy, sizeof copy, "krait_call_options", err);
    if (!status) status = refuse_fields(&copy, later, sizeof later / sizeof *later, "krait_call_options", err);
    if (status) return status;
    if (copy.flags & KRAIT_IDEMPOTENT)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "krait_call_options.flags KRAIT_IDEMPOTENT is not supported yet");
    if (copy.flags & ~(uint32_t)KRAIT_KEEP_STRIDES)
        return krait__fail(err, KRAIT_E_UNSUPPORTED, "krait_call_options.flags 0x%x are not known",
                           (unsigned)copy.flags);
    return KRAIT_OK;
}
