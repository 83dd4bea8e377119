// SPDX-License-Identifier: MIT
/* test_wire.c: every message survives the way out and back; what a peer may not say is refused.
 *
 * The encoder does not judge what it is given, so the bad messages are made with it. */

#include "common/wire.h"

#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/frame.h"

static struct arena scratch, arena;
static struct buf out;

static int setup(void **state) {
    (void)state;
    arena_init(&scratch, WIRE_ARENA_BYTES);
    arena_init(&arena, WIRE_ARENA_BYTES);
    buf_init(&out, 0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_deinit(&scratch);
    arena_deinit(&arena);
    buf_deinit(&out);
    return 0;
}

/* Encodes and decodes; the payload stays in `out`. */
static err round_trip(struct wire_message *back, const struct wire_message *m) {
    const uint8_t *payload;
    size_t n, used;
    buf_clear(&out);
    arena_reset(&scratch);
    arena_reset(&arena);
    assert_int_equal(wire_encode(&out, m, &scratch), ERR_OK);
    assert_int_equal(frame_next(out.data, out.length, FRAME_MAX_BYTES, &payload, &n, &used),
                     ERR_OK);
    assert_int_equal(used, out.length);
    return wire_decode(back, payload, n, &arena);
}

/* --- one message of each kind --- */

static const char *const files[] = {"vader_segment.1", "osc_sm.2"};
static const char *const warnings[] = {
    "4 ranks share 2 CPUs: pass --bind-to none \xE2\x80\x93 or fewer"};
static struct plan_rank cuts[2] = {{{0, 3}, {0, 2}, {0, 256}, {0, 128}},
                                   {{3, 8}, {1, 4}, {256, 768}, {128, 260}}};
static const struct wire_rank_stats stats[2] = {{1u << 30, 2, 3, 4, 5}, {6, 7, 8, 9, 10}};
static const int32_t prompt[40] = {1, 0, 7, 2147483647};
static const int32_t pending[1] = {BATCH_TOKEN_PENDING};
static const uint32_t blocks[3] = {9, 0, 4294967295u};
static const int32_t targets[41] = {-1, 31999}; // the longest list that a test announces
static const struct logit_edit edits[2] = {{5, 1.5f, -INFINITY}, {0, 1.0f, 0.25f}};
static const struct batch_seq seqs[2] = {
    {.seq_id = 77,
     .start = 50,
     .n_tokens = 40,
     .tokens = prompt,
     .n_blocks = 3,
     .blocks = blocks,
     .n_outputs = 2,
     .top_n = 5,
     .targets = targets,
     .sample = true,
     .sampling = {0.7f, 40, 0.95f, 0.05f, 0xfedcba9876543210u, 3},
     .n_edits = 2,
     .edits = edits},
    {.seq_id = 78, .start = 9, .n_tokens = 1, .tokens = pending, .n_blocks = 1, .blocks = blocks},
};
static const struct top_entry top[3] = {{4, -0.1f}, {9, -2.5f}, {0, -INFINITY}};
static const struct batch_output outputs[3] = {
    {NAN, 2, top}, {-1.25f, 0, NULL}, {-INFINITY, 1, top + 2}};
static const struct batch_seq_result results[2] = {
    {.seq_id = 77, .n_outputs = 3, .outputs = outputs, .token = 9, .token_logprob = -2.5f},
    {.seq_id = 78, .token = -1, .token_logprob = NAN},
};

static const struct wire_message samples[WIRE_KIND_COUNT] = {
    [WIRE_HELLO] = {WIRE_HELLO, .hello = {.protocol = 1,
                                          .build_id = "0.1.0+abc",
                                          .secret = "00ff",
                                          .epoch = 1ull << 60,
                                          .rank = 1,
                                          .size = 2,
                                          .is_link = true,
                                          .host = "n1",
                                          .pid = 4711,
                                          .isa = "avx2",
                                          .mpi = "Open MPI 4.1.4",
                                          .transport = "vader",
                                          .threads = 2,
                                          .cpus = "0-1",
                                          .local_rank = 1,
                                          .local_size = 2,
                                          .memory_available_bytes = 1ull << 40,
                                          .n_shm_files = 2,
                                          .shm_files = files,
                                          .n_warnings = 1,
                                          .warnings = warnings}},
    [WIRE_WELCOME] = {WIRE_WELCOME, .step = 0},
    [WIRE_HEARTBEAT] =
        {WIRE_HEARTBEAT,
         .heartbeat = {12345, true, 1ull << 33, 99, true, {7, 1ull << 40, 5, 6, 1ull << 50}}},
    [WIRE_WAKE] = {WIRE_WAKE, .step = 1ull << 50},
    [WIRE_ERROR] = {WIRE_ERROR, .error = {ERR_MEMORY, 3, "12 GiB are needed, 8 GiB are there"}},
    [WIRE_OPEN] = {WIRE_OPEN, .open = {"/models/m\xC3\xA4rz.gguf", true}},
    [WIRE_OPENED] = {WIRE_OPENED, .opened = {~0ull, 4, 70000}},
    [WIRE_HEADERS] = {WIRE_HEADERS, .headers = {"GGUF\0\3", 6, true}},
    [WIRE_LOAD] = {WIRE_LOAD, .load = {.identity = 5,
                                       .plan_hash = 6,
                                       .plan = {2, cuts},
                                       .kv_blocks = 100,
                                       .kv_f32 = true,
                                       .max_step_tokens = BATCH_MAX_TOKENS,
                                       .max_batch = BATCH_MAX_SEQS,
                                       .threads = 3,
                                       .mpi_allreduce = true,
                                       .check_ranks = true}},
    [WIRE_PROGRESS] = {WIRE_PROGRESS, .progress = {1, 1ull << 41}},
    [WIRE_LOADED] = {WIRE_LOADED, .loaded = {2, stats, 123456789}},
    [WIRE_STEP] = {WIRE_STEP, .batch = {8, 9, 2, 41, seqs}},
    [WIRE_RESULT] = {WIRE_RESULT, .result = {8, 9, 2, results, 1000, 2000}},
    [WIRE_IDLE] = {WIRE_IDLE, .step = 10},
    [WIRE_SHUTDOWN] = {WIRE_SHUTDOWN, .step = 0},
    [WIRE_MEASURE] = {WIRE_MEASURE, .measure = {MEASURE_KERNELS, 3, 10, 1u << 30}},
    [WIRE_MEASURED] = {WIRE_MEASURED, .measured = {.limits = {1, 2, 3, 4, 5, "one stream"}}},
};

static bool same_bits(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

static void test_hello(void **state) {
    (void)state;
    struct wire_message back;
    const struct wire_hello *a = &samples[WIRE_HELLO].hello, *b = &back.hello;
    assert_int_equal(round_trip(&back, &samples[WIRE_HELLO]), ERR_OK);
    assert_int_equal(back.kind, WIRE_HELLO);
    assert_int_equal(b->protocol, a->protocol);
    assert_string_equal(b->build_id, a->build_id);
    assert_string_equal(b->secret, a->secret);
    assert_true(b->epoch == a->epoch);
    assert_int_equal(b->rank, a->rank);
    assert_int_equal(b->size, a->size);
    assert_true(b->is_link);
    assert_string_equal(b->host, a->host);
    assert_int_equal(b->pid, a->pid);
    assert_string_equal(b->isa, a->isa);
    assert_string_equal(b->mpi, a->mpi);
    assert_string_equal(b->transport, a->transport);
    assert_int_equal(b->threads, a->threads);
    assert_string_equal(b->cpus, a->cpus);
    assert_int_equal(b->local_rank, a->local_rank);
    assert_int_equal(b->local_size, a->local_size);
    assert_true(b->memory_available_bytes == a->memory_available_bytes);
    assert_int_equal(b->n_shm_files, 2);
    assert_string_equal(b->shm_files[0], files[0]);
    assert_string_equal(b->shm_files[1], files[1]);
    assert_int_equal(b->n_warnings, 1);
    assert_string_equal(b->warnings[0], warnings[0]);
}

static void test_control(void **state) {
    (void)state;
    struct wire_message back;
    static const enum wire_kind plain[] = {WIRE_WELCOME, WIRE_WAKE, WIRE_IDLE, WIRE_SHUTDOWN};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(round_trip(&back, &samples[plain[i]]), ERR_OK);
        assert_int_equal(back.kind, plain[i]);
        assert_true(back.step == samples[plain[i]].step);
    }
    assert_int_equal(round_trip(&back, &samples[WIRE_HEARTBEAT]), ERR_OK);
    assert_int_equal(back.kind, WIRE_HEARTBEAT);
    assert_int_equal(back.heartbeat.progress, 12345);
    assert_true(back.heartbeat.in_step && back.heartbeat.last);
    assert_true(back.heartbeat.peak_rss_bytes == 1ull << 33 && back.heartbeat.cpu_ns == 99);
    const struct wire_totals *t = &back.heartbeat.totals;
    assert_true(t->steps == 7 && t->compute_ns == 1ull << 40 && t->wait_ns == 5);
    assert_true(t->wire_ns == 6 && t->allreduce_bytes == 1ull << 50);
    assert_int_equal(round_trip(&back, &samples[WIRE_ERROR]), ERR_OK);
    assert_int_equal(back.kind, WIRE_ERROR);
    assert_int_equal(back.error.code, ERR_MEMORY);
    assert_int_equal(back.error.rank, 3);
    assert_string_equal(back.error.message, samples[WIRE_ERROR].error.message);
}

static void test_opening(void **state) {
    (void)state;
    struct wire_message back;
    assert_int_equal(round_trip(&back, &samples[WIRE_OPEN]), ERR_OK);
    assert_int_equal(back.kind, WIRE_OPEN);
    assert_string_equal(back.open.path, samples[WIRE_OPEN].open.path);
    assert_true(back.open.want_headers);
    assert_int_equal(round_trip(&back, &samples[WIRE_OPENED]), ERR_OK);
    assert_int_equal(back.kind, WIRE_OPENED);
    assert_true(back.opened.identity == ~0ull);
    assert_int_equal(back.opened.n_readers, 4);
    assert_int_equal(back.opened.headers_bytes, 70000);
    assert_int_equal(round_trip(&back, &samples[WIRE_HEADERS]), ERR_OK);
    assert_int_equal(back.kind, WIRE_HEADERS);
    assert_int_equal(back.headers.n, 6);
    assert_memory_equal(back.headers.bytes, "GGUF\0\3", 6);
    assert_true(back.headers.last);
}

static void test_loading(void **state) {
    (void)state;
    struct wire_message back;
    const struct wire_load *a = &samples[WIRE_LOAD].load, *b = &back.load;
    assert_int_equal(round_trip(&back, &samples[WIRE_LOAD]), ERR_OK);
    assert_int_equal(back.kind, WIRE_LOAD);
    assert_true(plan_hash(&a->plan) == plan_hash(&b->plan));
    assert_int_equal(b->identity, 5);
    assert_int_equal(b->plan_hash, 6);
    assert_int_equal(b->kv_blocks, 100);
    assert_int_equal(b->max_step_tokens, BATCH_MAX_TOKENS);
    assert_int_equal(b->max_batch, BATCH_MAX_SEQS);
    assert_int_equal(b->threads, 3);
    assert_true(b->kv_f32 && b->mpi_allreduce && b->check_ranks);
    assert_int_equal(round_trip(&back, &samples[WIRE_PROGRESS]), ERR_OK);
    assert_int_equal(back.kind, WIRE_PROGRESS);
    assert_true(back.progress.bytes_done == 1 && back.progress.bytes_total == 1ull << 41);
    assert_int_equal(round_trip(&back, &samples[WIRE_LOADED]), ERR_OK);
    assert_int_equal(back.kind, WIRE_LOADED);
    assert_int_equal(back.loaded.size, 2);
    for (uint32_t r = 0; r < 2; r++) {
        assert_int_equal(back.loaded.ranks[r].weight_bytes, stats[r].weight_bytes);
        assert_int_equal(back.loaded.ranks[r].kv_bytes, stats[r].kv_bytes);
        assert_int_equal(back.loaded.ranks[r].file_bytes_read, stats[r].file_bytes_read);
        assert_int_equal(back.loaded.ranks[r].peak_rss_bytes, stats[r].peak_rss_bytes);
        assert_int_equal(back.loaded.ranks[r].threads, stats[r].threads);
    }
    assert_int_equal(back.loaded.load_ns, 123456789);
}

static void check_seq(const struct batch_seq *a, const struct batch_seq *b) {
    assert_int_equal(b->seq_id, a->seq_id);
    assert_int_equal(b->start, a->start);
    assert_int_equal(b->n_tokens, a->n_tokens);
    assert_memory_equal(b->tokens, a->tokens, a->n_tokens * sizeof *a->tokens);
    assert_int_equal(b->n_blocks, a->n_blocks);
    assert_memory_equal(b->blocks, a->blocks, a->n_blocks * sizeof *a->blocks);
    assert_int_equal(b->n_outputs, a->n_outputs);
    assert_int_equal(b->top_n, a->top_n);
    assert_int_equal(b->targets != NULL, a->targets != NULL);
    if (a->targets) assert_memory_equal(b->targets, a->targets, a->n_outputs * sizeof *a->targets);
    assert_int_equal(b->sample, a->sample);
    assert_true(same_bits(b->sampling.temperature, a->sampling.temperature));
    assert_true(same_bits(b->sampling.top_p, a->sampling.top_p));
    assert_true(same_bits(b->sampling.min_p, a->sampling.min_p));
    assert_int_equal(b->sampling.top_k, a->sampling.top_k);
    assert_true(b->sampling.seed == a->sampling.seed);
    assert_int_equal(b->sampling.choice, a->sampling.choice);
    assert_int_equal(b->n_edits, a->n_edits);
    for (uint32_t i = 0; i < a->n_edits; i++) {
        assert_int_equal(b->edits[i].token, a->edits[i].token);
        assert_true(same_bits(b->edits[i].repeat, a->edits[i].repeat));
        assert_true(same_bits(b->edits[i].bias, a->edits[i].bias));
    }
}

static void test_step(void **state) {
    (void)state;
    struct wire_message back;
    assert_int_equal(round_trip(&back, &samples[WIRE_STEP]), ERR_OK);
    assert_int_equal(back.kind, WIRE_STEP);
    assert_int_equal(back.batch.epoch, 8);
    assert_int_equal(back.batch.step, 9);
    assert_int_equal(back.batch.n_tokens, 41);
    assert_int_equal(back.batch.n_seqs, 2);
    for (uint32_t i = 0; i < 2; i++) check_seq(&seqs[i], &back.batch.seqs[i]);
}

static void test_result(void **state) {
    (void)state;
    struct wire_message back;
    assert_int_equal(round_trip(&back, &samples[WIRE_RESULT]), ERR_OK);
    assert_int_equal(back.kind, WIRE_RESULT);
    assert_int_equal(back.result.epoch, 8);
    assert_int_equal(back.result.step, 9);
    assert_int_equal(back.result.compute_ns, 1000);
    assert_int_equal(back.result.wait_ns, 2000);
    assert_int_equal(back.result.n_seqs, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct batch_seq_result *a = &results[i], *b = &back.result.seqs[i];
        assert_int_equal(b->seq_id, a->seq_id);
        assert_int_equal(b->token, a->token);
        assert_true(same_bits(b->token_logprob, a->token_logprob)); // NaN for the second
        assert_int_equal(b->n_outputs, a->n_outputs);
        for (uint32_t k = 0; k < a->n_outputs; k++) {
            assert_true(same_bits(b->outputs[k].target_logprob, a->outputs[k].target_logprob));
            assert_int_equal(b->outputs[k].n_top, a->outputs[k].n_top);
            for (uint32_t t = 0; t < a->outputs[k].n_top; t++) {
                assert_int_equal(b->outputs[k].top[t].token, a->outputs[k].top[t].token);
                assert_true(same_bits(b->outputs[k].top[t].logprob, a->outputs[k].top[t].logprob));
            }
        }
    }
}

/* --- limits --- */

static struct wire_message step_of(const struct batch_seq *s, uint32_t n) {
    uint32_t n_tokens = 0;
    for (uint32_t i = 0; i < n; i++) n_tokens += s[i].n_tokens;
    return (struct wire_message){WIRE_STEP,
                                 .batch = {.n_seqs = n, .n_tokens = n_tokens, .seqs = s}};
}

#define REFUSED(message)                                                                           \
    do {                                                                                           \
        struct wire_message back_;                                                                 \
        assert_int_equal(round_trip(&back_, &(message)), ERR_PROTOCOL);                            \
    } while (0)

#define REFUSED_SEQ(field, value)                                                                  \
    do {                                                                                           \
        struct batch_seq seq_ = seqs[0];                                                           \
        seq_.field = (value);                                                                      \
        struct wire_message m_ = step_of(&seq_, 1);                                                \
        REFUSED(m_);                                                                               \
    } while (0)

static void test_bad_sequences(void **state) {
    (void)state;
    static int32_t many[BATCH_MAX_TOKENS + 1], bad_token[40] = {-1}, bad_target[2] = {0, -2};
    static uint32_t many_blocks[BATCH_MAX_TOKENS];
    static struct logit_edit many_edits[BATCH_MAX_EDITS + 1];
    static const struct logit_edit bad_edits[3] = {{-1, 1, 0}, {1, 0, 0}, {1, 1, NAN}};
    for (uint32_t i = 0; i <= BATCH_MAX_EDITS; i++) many_edits[i].repeat = 1;

    REFUSED_SEQ(n_tokens, 0);
    REFUSED_SEQ(tokens, bad_token);
    REFUSED_SEQ(n_blocks, 2); // 64 positions, 90 needed
    REFUSED_SEQ(start, 57);   // position 96 is in the fourth block
    REFUSED_SEQ(start, 0xffffffffu);
    REFUSED_SEQ(n_outputs, 41);
    REFUSED_SEQ(n_outputs, 0); // but sampled
    REFUSED_SEQ(targets, bad_target);
    REFUSED_SEQ(top_n, BATCH_MAX_TOP + 1);
    REFUSED_SEQ(sampling.temperature, NAN);
    REFUSED_SEQ(sampling.temperature, -1.0f);
    REFUSED_SEQ(sampling.top_p, INFINITY);
    for (size_t i = 0; i < 3; i++) {
        struct batch_seq s = seqs[0];
        s.n_edits = 1;
        s.edits = &bad_edits[i];
        struct wire_message m = step_of(&s, 1);
        REFUSED(m);
    }
    struct batch_seq s = seqs[0];
    s.edits = many_edits;
    s.n_edits = BATCH_MAX_EDITS;
    struct wire_message m = step_of(&s, 1), back;
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    s.n_edits++;
    REFUSED(m);

    s = (struct batch_seq){.n_tokens = BATCH_MAX_TOKENS,
                           .tokens = many,
                           .n_blocks = BATCH_MAX_TOKENS,
                           .blocks = many_blocks};
    m = step_of(&s, 1);
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    s.n_tokens++;
    m = step_of(&s, 1);
    REFUSED(m);
}

static void test_bad_batches(void **state) {
    (void)state;
    static struct batch_seq many[BATCH_MAX_SEQS + 1];
    struct wire_message m = step_of(seqs, 0), back;
    REFUSED(m);
    m = step_of(seqs, 2);
    m.batch.n_tokens++;
    REFUSED(m);
    for (uint32_t i = 0; i <= BATCH_MAX_SEQS; i++) many[i] = seqs[1];
    m = step_of(many, BATCH_MAX_SEQS);
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    m = step_of(many, BATCH_MAX_SEQS + 1);
    REFUSED(m);
    for (uint32_t i = 0; i < 52; i++) many[i] = seqs[0]; // 52 * 40 tokens
    m = step_of(many, 52);
    REFUSED(m);
    m = step_of(many, 51);
    assert_int_equal(round_trip(&back, &m), ERR_OK);
}

static void test_bad_results(void **state) {
    (void)state;
    static struct top_entry many[BATCH_MAX_TOP + 1];
    static struct batch_output lines[BATCH_MAX_TOKENS + 1];
    static struct batch_seq_result rows[BATCH_MAX_SEQS + 1];
    struct batch_output o = {0, BATCH_MAX_TOP, many};
    struct batch_seq_result r = {.n_outputs = 1, .outputs = &o};
    struct wire_message m = {WIRE_RESULT, .result = {.n_seqs = 1, .seqs = &r}}, back;
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    o.n_top++;
    REFUSED(m);
    o.n_top = 1;
    many[0].token = -1;
    REFUSED(m);
    many[0].token = 0;
    r.token = -2;
    REFUSED(m);
    r = (struct batch_seq_result){.n_outputs = BATCH_MAX_TOKENS, .outputs = lines};
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    r.n_outputs++;
    REFUSED(m);
    rows[0] = rows[1] = (struct batch_seq_result){.n_outputs = 1025, .outputs = lines};
    m.result.seqs = rows;
    m.result.n_seqs = 2;
    REFUSED(m);
    m.result.n_seqs = BATCH_MAX_SEQS + 1;
    rows[0].n_outputs = rows[1].n_outputs = 0;
    REFUSED(m);
}

static void test_bad_control(void **state) {
    (void)state;
    static struct plan_rank many[PLAN_MAX_RANKS + 1];
    static struct wire_rank_stats many_stats[PLAN_MAX_RANKS + 1];
    struct wire_message m = samples[WIRE_HELLO], back;
    m.hello.rank = 2;
    REFUSED(m);
    m.hello.size = PLAN_MAX_RANKS + 1;
    REFUSED(m);
    m = samples[WIRE_HELLO];
    m.hello.host = "\xC3(";
    REFUSED(m);
    assert_non_null(strstr(error_message(), "UTF-8"));
    m = samples[WIRE_ERROR];
    m.error.message = "\xED\xA0\x80"; // a surrogate
    REFUSED(m);
    m = samples[WIRE_OPEN];
    m.open.path = "\xFF";
    REFUSED(m);
    m = samples[WIRE_LOAD];
    m.load.max_batch = BATCH_MAX_SEQS + 1;
    REFUSED(m);
    m = samples[WIRE_LOAD];
    m.load.max_step_tokens = BATCH_MAX_TOKENS + 1;
    REFUSED(m);
    m = samples[WIRE_LOAD];
    m.load.plan = (struct plan){PLAN_MAX_RANKS, many};
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    m.load.plan.size++;
    REFUSED(m);
    m.load.plan.size = 1;
    many[0].ffn.begin = 1;
    REFUSED(m);
    m.load.plan.size = 0;
    REFUSED(m);
    m = samples[WIRE_LOADED];
    m.loaded = (struct wire_loaded){.size = PLAN_MAX_RANKS + 1, .ranks = many_stats};
    REFUSED(m);
}

/* The largest messages that the limits allow fit a frame and the arenas. */
static void test_largest_result(void **state) {
    (void)state;
    static struct top_entry many[BATCH_MAX_TOP];
    static struct batch_output lines[BATCH_MAX_TOKENS];
    static struct batch_seq_result rows[BATCH_MAX_SEQS];
    uint32_t each = BATCH_MAX_TOKENS / BATCH_MAX_SEQS;
    for (uint32_t i = 0; i < BATCH_MAX_TOP; i++) many[i] = (struct top_entry){16000000, -1};
    for (uint32_t i = 0; i < BATCH_MAX_TOKENS; i++)
        lines[i] = (struct batch_output){-1, BATCH_MAX_TOP, many};
    for (uint32_t i = 0; i < BATCH_MAX_SEQS; i++)
        rows[i] = (struct batch_seq_result){.n_outputs = each, .outputs = lines + i * each};
    struct wire_message m = {WIRE_RESULT, .result = {.n_seqs = BATCH_MAX_SEQS, .seqs = rows}}, back;
    assert_int_equal(round_trip(&back, &m), ERR_OK);
    assert_int_equal(back.result.seqs[255].outputs[each - 1].top[255].token, 16000000);
}

static void test_no_room(void **state) {
    (void)state;
    struct wire_message back;
    struct arena tiny;
    arena_init(&tiny, 256);
    buf_clear(&out);
    buf_puts(&out, "before");
    assert_int_equal(wire_encode(&out, &samples[WIRE_STEP], &tiny), ERR_PROTOCOL);
    assert_string_equal(out.data, "before");

    arena_reset(&scratch);
    static char huge[FRAME_MAX_BYTES];
    struct wire_message m = {WIRE_HEADERS, .headers = {huge, sizeof huge, false}};
    assert_int_equal(wire_encode(&out, &m, &scratch), ERR_PROTOCOL); // with its envelope too long
    assert_string_equal(out.data, "before");
    out.limit = 20;
    assert_int_equal(wire_encode(&out, &samples[WIRE_ERROR], &scratch), ERR_PROTOCOL);
    assert_string_equal(out.data, "before");
    out.limit = SIZE_MAX / 2;

    assert_int_equal(round_trip(&back, &samples[WIRE_STEP]), ERR_OK);
    arena_reset(&tiny);
    assert_int_equal(
        wire_decode(&back, out.data + FRAME_HEADER_BYTES, out.length - FRAME_HEADER_BYTES, &tiny),
        ERR_PROTOCOL);
    assert_non_null(strstr(error_message(), "256 bytes"));
    arena_deinit(&tiny);
}

static void test_unknown_kind(void **state) {
    (void)state;
    struct wire_message back;
    arena_reset(&arena);
    assert_int_equal(wire_decode(&back, "\xA2\x06\x00", 3, &arena), ERR_PROTOCOL); // field 100
    assert_int_equal(wire_decode(&back, "", 0, &arena), ERR_PROTOCOL);
    assert_int_equal(wire_decode(&back, "GET / HTTP/1.1\r\n", 16, &arena), ERR_PROTOCOL);
}

/* Damaged bytes give an error or another valid message, never anything worse (see the sanitizers).
 * A copy of exact size stands for the socket's buffer, so that a read past it is seen. */
static void test_damage(void **state) {
    (void)state;
    uint64_t random = 1;
    uint32_t refused = 0;
    for (int kind = 0; kind < WIRE_KIND_COUNT; kind++) {
        struct wire_message back;
        assert_int_equal(round_trip(&back, &samples[kind]), ERR_OK);
        size_t n = out.length - FRAME_HEADER_BYTES;
        for (int i = 0; i < 2000; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t length = i % 4 ? n : (size_t)(random >> 33) % (n + 1);
            uint8_t *copy = mem_alloc(length);
            memcpy(copy, out.data + FRAME_HEADER_BYTES, length);
            for (int k = 0; k <= i % 3 && length > 0; k++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                copy[(random >> 40) % length] = (uint8_t)(random >> 32);
            }
            arena_reset(&arena);
            if (wire_decode(&back, copy, length, &arena) != ERR_OK) refused++;
            mem_free(copy);
        }
    }
    assert_true(refused > 1000);
}

/* A steady stream of messages allocates nothing. */
static void test_steady_state(void **state) {
    (void)state;
    struct wire_message back;
    assert_int_equal(round_trip(&back, &samples[WIRE_STEP]), ERR_OK);
    assert_int_equal(round_trip(&back, &samples[WIRE_RESULT]), ERR_OK);
    struct mallinfo2 before = mallinfo2();
    mem_guard_begin();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(round_trip(&back, &samples[WIRE_STEP]), ERR_OK);
        assert_int_equal(round_trip(&back, &samples[WIRE_RESULT]), ERR_OK);
    }
    mem_guard_end();
    struct mallinfo2 after = mallinfo2();
    assert_int_equal(after.uordblks, before.uordblks);
}

static void test_names(void **state) {
    (void)state;
    for (int kind = 0; kind < WIRE_KIND_COUNT; kind++)
        assert_string_not_equal(wire_kind_name((enum wire_kind)kind), "unknown");
    assert_string_equal(wire_kind_name(WIRE_KIND_COUNT), "unknown");
    // The version, a plus and twelve hexadecimal digits.
    const char *id = wire_build_id();
    assert_int_equal(strncmp(id, LOCKSTEP_VERSION "+", strlen(LOCKSTEP_VERSION) + 1), 0);
    assert_int_equal(strspn(id + strlen(LOCKSTEP_VERSION) + 1, "0123456789abcdef"), 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),          cmocka_unit_test(test_control),
        cmocka_unit_test(test_opening),        cmocka_unit_test(test_loading),
        cmocka_unit_test(test_step),           cmocka_unit_test(test_result),
        cmocka_unit_test(test_bad_sequences),  cmocka_unit_test(test_bad_batches),
        cmocka_unit_test(test_bad_results),    cmocka_unit_test(test_bad_control),
        cmocka_unit_test(test_largest_result), cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_unknown_kind),   cmocka_unit_test(test_damage),
        cmocka_unit_test(test_steady_state),   cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
