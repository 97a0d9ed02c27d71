/* Version, export marks. */
#ifndef KRAIT_VERSION_H
#define KRAIT_VERSION_H

#define KRAIT_VERSION_MAJOR 0
#define KRAIT_VERSION_MINOR 1
#define KRAIT_VERSION_PATCH 0
#define KRAIT_VERSION_STRING "0.1.0"
/* major * 10000 + minor * 100 + patch, to compare. */
#define KRAIT_VERSION_NUMBER (KRAIT_VERSION_MAJOR * 10000 + KRAIT_VERSION_MINOR * 100 + KRAIT_VERSION_PATCH)

#if defined(__GNUC__)
#define KRAIT_API __attribute__((visibility("default")))
#define KRAIT_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define KRAIT_API
#define KRAIT_PRINTF(text, first)
#endif

#ifdef __cplusplus
#define KRAIT_BEGIN extern "C" {
#define KRAIT_END }
#else
#define KRAIT_BEGIN
#define KRAIT_END
#endif

KRAIT_BEGIN

/* Version of the library that runs, "0.1.0"; KRAIT_VERSION_STRING is that of the header.
 * Ownership: static.  Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API const char *krait_version(void);

/* The same as a number: major * 10000 + minor * 100 + patch.
 * Threads: any.  GIL: not needed.  Errors: none.  Since: 0.1 */
KRAIT_API int krait_version_number(void);

KRAIT_END
#endif
