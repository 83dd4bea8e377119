// SPDX-License-Identifier: MIT
/* tally.c: see tally.h. */

#include "coordinator/load/tally.h"

#include <string.h>

void tally_init(struct tally *t, uint32_t clients, uint64_t now_ns) {
    *t = (struct tally){.clients = clients, .begun_ns = now_ns};
}

void tally_deinit(struct tally *t) {
    samples_deinit(&t->first_token);
    samples_deinit(&t->between_tokens);
    samples_deinit(&t->whole);
}

static void add_error(struct tally *t, const struct answer_result *r) {
    if (t->errors[r->error]++ == 0)
        memcpy(t->messages[r->error], r->message, sizeof t->messages[r->error]);
    if (r->error == ANSWER_ERROR_STATUS && r->status > 0 && r->status < TALLY_MAX_STATUS)
        t->statuses[r->status]++;
}

void tally_add(struct tally *t, const struct answer_result *r, uint64_t asked_ns) {
    if (r->error != ANSWER_ERROR_NONE) {
        add_error(t, r);
        return;
    }
    t->complete++;
    t->ended_ns = r->end_ns;
    if (r->has_usage) {
        t->prompt_tokens += r->prompt_tokens;
        t->cached_tokens += r->cached_tokens;
        t->generated_tokens += r->completion_tokens;
    } else {
        t->counted_by_chunks++;
        t->generated_tokens += r->n_chunks;
    }
    if (r->n_chunks) samples_add(&t->first_token, r->first_ns - asked_ns);
    samples_add_all(&t->between_tokens, &r->gaps);
    samples_add(&t->whole, r->end_ns - asked_ns);
}

uint64_t tally_n_errors(const struct tally *t) {
    uint64_t n = 0;
    for (size_t i = 0; i < ANSWER_ERROR_COUNT; i++) n += t->errors[i];
    return n;
}

enum answer_error tally_first_error(const struct tally *t) {
    for (size_t i = 0; i < ANSWER_ERROR_COUNT; i++)
        if (t->errors[i]) return (enum answer_error)i;
    return ANSWER_ERROR_NONE;
}

double tally_rate(const struct tally *t, uint64_t n) {
    return t->complete ? (double)n / ((double)(t->ended_ns - t->begun_ns) / 1e9) : 0;
}
