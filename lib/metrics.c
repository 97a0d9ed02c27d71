/* metrics: gathers the counters that the layers below keep. */
#include <string.h>

#include <krait/metrics.h>

#include "gil.h"
#include "leaks.h"
#include "mem.h"

krait_status krait_metrics_get(krait_metrics *metrics, krait_error **err) {
    krait__counters sum;
    krait_metrics   all = { .size = sizeof all };
    size_t          size;
    if (krait__stuck(err)) return (*err)->status;
    if (!metrics || metrics->size < sizeof metrics->size)
        return krait__fail(err, KRAIT_E_ARGUMENT, "metrics%s, expected krait_metrics m = { sizeof m }",
                           metrics ? "->size is not set" : " is NULL");
    krait__gil_counters(&sum);
    all.calls = sum.calls;
    all.failures = sum.failures;
    all.copies = sum.copies;
    all.copied_bytes = sum.copied_bytes;
    all.escapes = sum.escapes;
    all.gil_enters = sum.gil_enters;
    all.gil_wait_ns = sum.gil_wait_ns;
    all.pending_releases = atomic_load(&krait__lists.pending);
    all.pending_bytes = atomic_load(&krait__lists.pending_bytes);
    all.live_results = sum.held - sum.dropped;
    all.thread_states = sum.states;
    all.loans = krait__leaks_count(KRAIT_LOAN_VIEW);
    all.blocks = krait__mem_blocks();
    size = metrics->size < sizeof all ? metrics->size : sizeof all;
    all.size = metrics->size;
    memcpy(metrics, &all, size);
    return KRAIT_OK;
}
