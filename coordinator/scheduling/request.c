// SPDX-License-Identifier: MIT
/* request.c: makes and frees requests; checks what clients ask for.
 *
 * All memory a request will ever need for tokens and block ids is taken here, bounded by the
 * context, so that a step in steady state takes none. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/scheduling/block.h"
#include "coordinator/scheduling/sequence.h"

void request_params_init(struct request_params *p) {
    *p = (struct request_params){.sampling = {.temperature = 0, .top_p = 1},
                                 .n = 1,
                                 .max_tokens = 16,
                                 .repeat_penalty = 1,
                                 .pause_at = REQUEST_NO_PAUSE};
}

const char *finish_reason_name(enum finish_reason r) {
    static const char *const names[] = {
        [FINISH_STOP] = "stop",
        [FINISH_LENGTH] = "length",
        [FINISH_CANCELLED] = "cancelled",
        [FINISH_ERROR] = "error",
    };
    return r == FINISH_NONE ? NULL : names[r];
}

static err check_range(const char *name, double value, double low, double high) {
    if (value >= low && value <= high) return ERR_OK; // false for NaN
    return FAIL(ERR_REQUEST, "%s is %g, allowed is %g to %g", name, value, low, high);
}

static err check_params(const struct request_params *p, uint32_t n_vocab) {
    TRY(check_range("n", p->n, 1, REQUEST_MAX_CHOICES));
    TRY(check_range("temperature", (double)p->sampling.temperature, 0, 100));
    TRY(check_range("top_p", (double)p->sampling.top_p, 0, 1));
    TRY(check_range("min_p", (double)p->sampling.min_p, 0, 1));
    TRY(check_range("presence_penalty", (double)p->presence_penalty, -2, 2));
    TRY(check_range("frequency_penalty", (double)p->frequency_penalty, -2, 2));
    TRY(check_range("repeat_penalty", (double)p->repeat_penalty, 0.01, 100));
    TRY(check_range("logprobs", p->top_n, 0, BATCH_MAX_TOP));
    TRY(check_range("logprobs", p->prompt_top_n, 0, BATCH_MAX_TOP));
    if (p->n_stops > REQUEST_MAX_STOPS)
        return FAIL(ERR_REQUEST, "stop has %zu strings, allowed are %d", p->n_stops,
                    REQUEST_MAX_STOPS);
    for (size_t i = 0; i < p->n_stops; i++) {
        size_t n = strlen(p->stops[i]);
        if (n == 0 || n > REQUEST_MAX_STOP_BYTES)
            return FAIL(ERR_REQUEST, "a stop string has %zu bytes, allowed are 1 to %d", n,
                        REQUEST_MAX_STOP_BYTES);
    }
    if (p->n_bias > REQUEST_MAX_BIAS)
        return FAIL(ERR_REQUEST, "logit_bias has %zu entries, allowed are %d", p->n_bias,
                    REQUEST_MAX_BIAS);
    for (size_t i = 0; i < p->n_bias; i++) {
        if (p->bias[i].token < 0 || (uint32_t)p->bias[i].token >= n_vocab)
            return FAIL(ERR_REQUEST, "logit_bias names token %d, the vocabulary has %u",
                        p->bias[i].token, n_vocab);
        TRY(check_range("logit_bias", (double)p->bias[i].bias, -1e6, 1e6));
    }
    return ERR_OK;
}

static err check_prompt(const int32_t *prompt, uint32_t n, uint32_t n_vocab) {
    if (n == 0) return FAIL(ERR_REQUEST, "the prompt is empty: give at least one token");
    for (uint32_t i = 0; i < n; i++) {
        if (prompt[i] < 0 || (uint32_t)prompt[i] >= n_vocab)
            return FAIL(ERR_REQUEST, "prompt has token %d at position %u, the vocabulary has %u",
                        prompt[i], i, n_vocab);
    }
    return ERR_OK;
}

static err check_length(uint32_t n_prompt, const struct request_params *p, uint32_t ctx) {
    if (n_prompt < ctx || (n_prompt == ctx && p->max_tokens == 0)) return ERR_OK;
    return FAIL(ERR_CONTEXT, "the prompt has %u tokens and the context holds %u%s", n_prompt, ctx,
                n_prompt == ctx ? ", so no token can follow it" : "");
}

static int by_token(const void *a, const void *b) {
    const struct request_bias *x = a, *y = b;
    return (x->token > y->token) - (x->token < y->token);
}

/* Every step looks tokens up among them: sorted, and each token once, with the sum of its biases.
 */
static void copy_biases(struct request_params *to, const struct request_params *from) {
    struct request_bias *bias = mem_zalloc_array(from->n_bias, sizeof *bias);
    size_t n = 0;
    for (size_t i = 0; i < from->n_bias; i++) {
        bias[i] = from->bias[i];
        if (bias[i].bias <= -100) bias[i].bias = -INFINITY;
    }
    if (from->n_bias) qsort(bias, from->n_bias, sizeof *bias, by_token);
    for (size_t i = 0; i < from->n_bias; i++) {
        if (n > 0 && bias[n - 1].token == bias[i].token)
            bias[n - 1].bias += bias[i].bias;
        else
            bias[n++] = bias[i];
    }
    to->bias = bias;
    to->n_bias = n;
}

static void copy_params(struct request_params *to, const struct request_params *from) {
    *to = *from;
    for (size_t i = 0; i < from->n_stops; i++) to->stops[i] = mem_strdup(from->stops[i]);
    copy_biases(to, from);
}

err request_create(struct request **out, const int32_t *prompt, uint32_t n_prompt,
                   const struct request_params *p, const struct sched_limits *l,
                   uint64_t first_seq_id, const struct tokenizer *t) {
    TRY(check_params(p, l->n_vocab));
    TRY(check_length(n_prompt, p, l->ctx));
    TRY(check_prompt(prompt, n_prompt, l->n_vocab));

    struct request *r = mem_zalloc(sizeof *r + p->n * sizeof r->sequences[0]);
    copy_params(&r->params, p);
    r->n_open = p->n;
    r->usage.prompt_tokens = n_prompt;
    uint32_t room = l->ctx - n_prompt;
    for (uint32_t i = 0; i < p->n; i++) {
        struct sequence *s = &r->sequences[i];
        s->seq_id = first_seq_id + i;
        s->request = r;
        s->choice = i;
        s->capacity = n_prompt + (p->max_tokens < room ? p->max_tokens : room);
        s->tokens = mem_zalloc_array(s->capacity, sizeof *s->tokens);
        s->blocks = mem_zalloc_array(block_count_for(s->capacity), sizeof *s->blocks);
        memcpy(s->tokens, prompt, n_prompt * sizeof *prompt);
        s->n_tokens = s->n_prompt = n_prompt;
        s->next_prompt_logprob = NAN;
        stream_init(&s->stream, t, (const char *const *)r->params.stops, r->params.n_stops);
    }
    *out = r;
    return ERR_OK;
}

void request_free(struct request *r) {
    if (!r) return;
    for (uint32_t i = 0; i < r->params.n; i++) {
        struct sequence *s = &r->sequences[i];
        CHECK(s->n_blocks == 0);
        mem_free(s->tokens);
        mem_free(s->blocks);
        mem_free(s->counts);
        stream_deinit(&s->stream);
    }
    for (size_t i = 0; i < r->params.n_stops; i++) mem_free((void *)(uintptr_t)r->params.stops[i]);
    mem_free((void *)(uintptr_t)r->params.bias);
    mem_free(r);
}

static void count_token(struct sequence *s, int32_t token) {
    for (uint32_t i = 0; i < s->n_counts; i++) {
        if (s->counts[i].token == token) {
            s->counts[i].count++;
            return;
        }
    }
    if (s->n_counts == s->counts_capacity) {
        s->counts_capacity = s->counts_capacity ? 2 * s->counts_capacity : 64;
        s->counts = mem_realloc(s->counts, s->counts_capacity * sizeof *s->counts);
    }
    s->counts[s->n_counts++] = (struct token_count){.token = token, .count = 1};
}

void sequence_append(struct sequence *s, int32_t token) {
    CHECK(s->n_tokens < s->capacity);
    s->tokens[s->n_tokens++] = token;
    const struct request_params *p = &s->request->params;
    if (p->presence_penalty != 0 || p->frequency_penalty != 0) count_token(s, token);
}
