// SPDX-License-Identifier: MIT
/* request_metrics.c: see request_metrics.h.  Names and meanings are vLLM's. */

#include "coordinator/gateway/request_metrics.h"

#include "coordinator/metrics/exposition.h"

#define MS              UINT64_C(1000000)
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const uint64_t token_bounds_ns[] = {
    1 * MS,   2 * MS,   3 * MS,   5 * MS,   7 * MS,    10 * MS,   15 * MS,
    20 * MS,  30 * MS,  40 * MS,  50 * MS,  75 * MS,   100 * MS,  150 * MS,
    200 * MS, 300 * MS, 500 * MS, 750 * MS, 1000 * MS, 2000 * MS, 5000 * MS};
static const uint64_t request_bounds_ns[] = {
    1 * MS,     5 * MS,      10 * MS,     20 * MS,     40 * MS,     60 * MS,
    80 * MS,    100 * MS,    250 * MS,    500 * MS,    750 * MS,    1000 * MS,
    2500 * MS,  5000 * MS,   7500 * MS,   10000 * MS,  20000 * MS,  40000 * MS,
    80000 * MS, 160000 * MS, 320000 * MS, 640000 * MS, 1280000 * MS};

void request_metrics_init(struct request_metrics *m) {
    *m = (struct request_metrics){0};
    histogram_init(&m->first_token, request_bounds_ns, COUNT_OF(request_bounds_ns));
    histogram_init(&m->between_tokens, token_bounds_ns, COUNT_OF(token_bounds_ns));
    histogram_init(&m->whole, request_bounds_ns, COUNT_OF(request_bounds_ns));
    histogram_init(&m->queue, request_bounds_ns, COUNT_OF(request_bounds_ns));
}

void request_metrics_tokens(struct request_metrics *m, uint64_t *last_ns, size_t n,
                            uint64_t begun_ns, uint64_t now_ns) {
    m->generated_tokens += n;
    token_rate_add(&m->rate, n, now_ns);
    if (*last_ns)
        histogram_observe(&m->between_tokens, (now_ns - *last_ns) / n, n);
    else
        histogram_observe(&m->first_token, now_ns - begun_ns, 1);
    *last_ns = now_ns;
}

void request_metrics_complete(struct request_metrics *m, uint64_t queue_ns, uint64_t whole_ns) {
    histogram_observe(&m->queue, queue_ns, 1);
    histogram_observe(&m->whole, whole_ns, 1);
}

static void put_finished(const struct request_metrics *m, struct buf *out) {
    static const char name[] = "lockstep:request_success_total";
    static const char *const reasons[] = {[FINISH_STOP] = "stop",
                                          [FINISH_LENGTH] = "length",
                                          [FINISH_CANCELLED] = "abort",
                                          [FINISH_ERROR] = "error"};
    exposition_begin(out, name, "counter", "Choices that have ended, by the reason.");
    for (int i = FINISH_STOP; i <= FINISH_ERROR; i++)
        exposition_put_count(out, name, "",
                             &(struct exposition_label){"finished_reason", reasons[i]}, 1,
                             m->finished[i]);
}

void request_metrics_put(const struct request_metrics *m, struct buf *out) {
    exposition_put_counter(out, "lockstep:prompt_tokens_total",
                           "Tokens of prompts, computed or found in the cache.", m->prompt_tokens);
    exposition_put_counter(out, "lockstep:generation_tokens_total", "Tokens that were generated.",
                           m->generated_tokens);
    put_finished(m, out);
    exposition_put_histogram(out, "lockstep:time_to_first_token_seconds",
                             "From a request to its first token.", &m->first_token);
    exposition_put_histogram(out, "lockstep:inter_token_latency_seconds",
                             "Between two tokens of a choice.", &m->between_tokens);
    exposition_put_histogram(out, "lockstep:e2e_request_latency_seconds",
                             "From a request to its last token, of complete ones.", &m->whole);
    exposition_put_histogram(out, "lockstep:request_queue_time_seconds",
                             "From a request to its first step, of complete ones.", &m->queue);
}
