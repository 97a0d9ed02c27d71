/* Counters. */
#ifndef KRAIT_METRICS_H
#define KRAIT_METRICS_H

#include <krait/status.h>

KRAIT_BEGIN

/* The counters, written once: X(field, what it counts). All since krait_init, except the gauges, which are what is
 * there now. */
#define KRAIT_METRICS_MAP(X) \
    X(calls, "calls of Python functions begun") \
    X(failures, "of these, ended with an error") \
    X(copies, "arrays copied, in or out") \
    X(copied_bytes, "bytes of these") \
    X(escapes, "calls refused as KRAIT_E_ESCAPED") \
    X(gil_enters, "times a thread attached to the interpreter") \
    X(gil_wait_ns, "nanoseconds spent waiting for the GIL, measured on one enter in 64 and weighted") \
    X(pending_releases, "gauge: Python objects cleared by the host and not yet released") \
    X(pending_bytes, "gauge: bytes of these") \
    X(live_results, "gauge: Python objects that results hold; cleared ones count until they are released") \
    X(thread_states, "gauge: Python thread states that krait keeps") \
    X(loans, "gauge: memory of the host that Python still refers to") \
    X(blocks, "gauge: blocks of C memory that krait holds")

typedef struct krait_metrics {
    size_t size;
#define KRAIT_METRICS_FIELD(field, text) uint64_t field;
    KRAIT_METRICS_MAP(KRAIT_METRICS_FIELD)
#undef KRAIT_METRICS_FIELD
} krait_metrics;

/* Fills as many fields as metrics->size tells. `size` must be set: krait_metrics m; m.size = sizeof m;
 * Threads: any.  GIL: not needed.  Errors: KRAIT_E_ARGUMENT.  Since: 0.1 */
KRAIT_API krait_status krait_metrics_get(krait_metrics *metrics, krait_error **err);

KRAIT_END
#endif
