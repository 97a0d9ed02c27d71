/* log: krait's own lines to the host's sink, or to stderr with KRAIT_LOG=stderr. Never a destination that nobody asked
 * for. */
#ifndef KRAIT_LIB_LOG_H
#define KRAIT_LIB_LOG_H

#include <krait/runtime.h>

/* Sets the sink; the former one's destroy is called. For krait_init only. */
void krait__log_set(krait_log_fn fn, void *user, void (*destroy)(void *user));
void krait__log(int level, const char *format, ...) KRAIT_PRINTF(2, 3);

#endif
