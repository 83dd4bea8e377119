// SPDX-License-Identifier: MIT
/* fake_ranks.c: see fake_ranks.h.  A failed check is a failure of the test that runs. */

#include "tests/sim/fake_ranks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/frame.h"
#include "common/mem.h"
#include "common/wire.h"

#define FIRST_TOKEN 300 // ordinary pieces of the demo tokenizer
#define N_TOKENS    1000
#define END_EVERY   60
#define MAX_WAITING 2
#define TOP         3 // alternatives that are made up at most

struct cell {
    uint64_t state;
    int32_t token;
};

struct sampled {
    uint64_t seq_id;
    uint32_t position;
    int32_t token;
};

struct fake_ranks {
    struct cell *cells; // [n_blocks, KV_BLOCK_TOKENS]
    uint32_t n_blocks;
    int32_t end_token;
    struct buf steps[MAX_WAITING]; // encoded
    uint32_t n_steps;
    struct arena arena, scratch;
    struct sampled sampled[BATCH_MAX_SEQS]; // by the last step
    uint32_t n_sampled;
    uint64_t n_computed, hash;
    /* of the result */
    struct batch_result result;
    struct batch_seq_result seqs[BATCH_MAX_SEQS];
    struct batch_output outputs[BATCH_MAX_TOKENS];
    struct top_entry tops[BATCH_MAX_TOKENS][TOP];
};

static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t h = (a ^ b * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 29;
}

static uint64_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

struct fake_ranks *fake_ranks_create(uint32_t n_blocks, int32_t end_token) {
    struct fake_ranks *f = mem_zalloc(sizeof *f);
    f->cells = mem_zalloc_array((size_t)n_blocks * KV_BLOCK_TOKENS, sizeof *f->cells);
    f->n_blocks = n_blocks;
    f->end_token = end_token;
    for (size_t i = 0; i < MAX_WAITING; i++) buf_init(&f->steps[i], 0);
    arena_init(&f->arena, WIRE_ARENA_BYTES);
    arena_init(&f->scratch, WIRE_ARENA_BYTES);
    return f;
}

void fake_ranks_free(struct fake_ranks *f) {
    for (size_t i = 0; i < MAX_WAITING; i++) buf_deinit(&f->steps[i]);
    arena_deinit(&f->arena);
    arena_deinit(&f->scratch);
    mem_free(f->cells);
    mem_free(f);
}

void fake_ranks_send(struct fake_ranks *f, const struct batch *b) {
    assert_true(f->n_steps < MAX_WAITING);
    struct wire_message m = {.kind = WIRE_STEP, .batch = *b};
    struct buf *step = &f->steps[f->n_steps++];
    buf_clear(step);
    arena_reset(&f->scratch);
    assert_int_equal(wire_encode(step, &m, &f->scratch), ERR_OK);
    for (size_t i = 0; i < step->length; i++)
        f->hash = (f->hash ^ (unsigned char)step->data[i]) * 0x100000001b3u;
}

/* ---- one sequence of a step ---- */

static struct cell *cell_at(struct fake_ranks *f, const struct batch_seq *s, uint32_t position) {
    uint32_t block = s->blocks[position / KV_BLOCK_TOKENS];
    return &f->cells[(size_t)block * KV_BLOCK_TOKENS + position % KV_BLOCK_TOKENS];
}

static uint64_t check_past(struct fake_ranks *f, const struct batch_seq *s) {
    uint64_t state = 0;
    for (uint32_t p = 0; p < s->start; p++) {
        const struct cell *c = cell_at(f, s, p);
        state = mix(state, (uint64_t)c->token);
        assert_true(c->state == state);
    }
    return state;
}

static int32_t pending_token(const struct fake_ranks *f, const struct batch_seq *s) {
    for (uint32_t i = 0; i < f->n_sampled; i++) {
        if (f->sampled[i].seq_id == s->seq_id && f->sampled[i].position == s->start)
            return f->sampled[i].token;
    }
    fail_msg("sequence %llu waits for a token that nobody sampled", (unsigned long long)s->seq_id);
    return -1;
}

static void put_output(struct batch_output *o, struct top_entry *top, const struct batch_seq *s,
                       uint32_t index, uint64_t state) {
    *o = (struct batch_output){.target_logprob = NAN, .top = top};
    if (s->targets && s->targets[index] >= 0)
        o->target_logprob = -(float)(mix(state, (uint64_t)s->targets[index]) % 1000) / 100;
    o->n_top = s->top_n < TOP ? s->top_n : TOP;
    for (uint32_t i = 0; i < o->n_top; i++)
        top[i] = (struct top_entry){FIRST_TOKEN + (int32_t)((state + i) % N_TOKENS), -(float)i};
}

static void sample(const struct fake_ranks *f, const struct batch_seq *s, uint64_t state,
                   struct batch_seq_result *r) {
    uint64_t h = mix(mix(state, s->sampling.seed), s->sampling.choice);
    for (uint32_t i = 0; i < s->n_edits; i++) {
        const struct logit_edit *e = &s->edits[i];
        h = mix(mix(h, (uint64_t)e->token), bits_of(e->repeat) << 32 | bits_of(e->bias));
    }
    r->token =
        h % END_EVERY == 0 ? f->end_token : FIRST_TOKEN + (int32_t)(h / END_EVERY % N_TOKENS);
    r->token_logprob = -(float)(h >> 20 & 0xfff) / 512;
}

/* ---- a step ---- */

static void take_oldest(struct fake_ranks *f, struct wire_message *m) {
    const uint8_t *payload;
    size_t n, used;
    assert_true(f->n_steps > 0);
    arena_reset(&f->arena);
    assert_int_equal(
        frame_next(f->steps[0].data, f->steps[0].length, FRAME_MAX_BYTES, &payload, &n, &used),
        ERR_OK);
    if (wire_decode(m, payload, n, &f->arena) != ERR_OK) fail_msg("%s", error_message());
    struct buf first = f->steps[0];
    f->steps[0] = f->steps[1];
    f->steps[1] = first;
    f->n_steps--;
}

/* As on real ranks everything is written before anything is read, layer by layer; here the order of
 * the batch does, since a sequence shares only with those before it. */
static void compute(struct fake_ranks *f, const struct batch_seq *s, struct batch_seq_result *r) {
    uint32_t first_output = s->n_tokens - s->n_outputs;
    uint64_t state = check_past(f, s);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        int32_t token = s->tokens[i] == BATCH_TOKEN_PENDING ? pending_token(f, s) : s->tokens[i];
        state = mix(state, (uint64_t)token);
        *cell_at(f, s, s->start + i) = (struct cell){state, token};
        if (i < first_output) continue;
        uint32_t o = (uint32_t)(r->outputs - f->outputs) + i - first_output;
        put_output(&f->outputs[o], f->tops[o], s, i - first_output, state);
    }
    if (s->sample) sample(f, s, state, r);
    f->n_computed += s->n_tokens;
}

const struct batch_result *fake_ranks_answer(struct fake_ranks *f) {
    struct wire_message m;
    take_oldest(f, &m);
    const struct batch *b = &m.batch;
    size_t n_outputs = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const struct batch_seq *s = &b->seqs[i];
        for (uint32_t k = 0; k < s->n_blocks; k++) assert_true(s->blocks[k] < f->n_blocks);
        f->seqs[i] = (struct batch_seq_result){.seq_id = s->seq_id,
                                               .n_outputs = s->n_outputs,
                                               .outputs = f->outputs + n_outputs,
                                               .token = -1,
                                               .token_logprob = NAN};
        n_outputs += s->n_outputs;
        compute(f, s, &f->seqs[i]);
    }
    f->n_sampled = 0;
    for (uint32_t i = 0; i < b->n_seqs; i++) {
        const struct batch_seq *s = &b->seqs[i];
        if (s->sample)
            f->sampled[f->n_sampled++] =
                (struct sampled){s->seq_id, s->start + s->n_tokens, f->seqs[i].token};
    }
    f->result = (struct batch_result){
        .epoch = b->epoch, .step = b->step, .n_seqs = b->n_seqs, .seqs = f->seqs};
    return &f->result;
}

uint64_t fake_ranks_n_computed(const struct fake_ranks *f) {
    return f->n_computed;
}

uint64_t fake_ranks_hash(const struct fake_ranks *f) {
    return f->hash;
}
