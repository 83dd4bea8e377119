// SPDX-License-Identifier: MIT
/* test_step_golden.c: log-probabilities of the demo models against an exact forward pass.
 *
 * The tokens of each golden file go through step_run as one chunk, and what comes back is held
 * against the four marks of the golden data's README: largest difference, RMS, best token, and
 * perplexity; with an f32 KV cache the f16 model must be within 0.002.  FFN columns are cut inside
 * blocks, and a rank has none.  Arguments: none; needs LOCKSTEP_SHARED. */

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/mpi/mpi_expect.h"
#include "tests/mpi/step_rig.h"

#define MAX_TOKENS 256
#define TOP        256

struct golden {
    char path[600];
    double tolerance, perplexity, rms_of_llamacpp, perplexity_tolerance;
    size_t n;
    int32_t tokens[MAX_TOKENS];
    json_t *top[MAX_TOKENS]; // [[token, logprob], …]
};

static bool read_golden(struct golden *g, const char *shared, const char *model,
                        const char *prompt) {
    char line[4096];
    *g = (struct golden){0};
    snprintf(g->path, sizeof g->path, "%s/golden/%s.%s.exact.jsonl", shared, model, prompt);
    FILE *f = fopen(g->path, "r");
    if (!f) return false;
    while (fgets(line, sizeof line, f)) {
        json_t *j = json_loads(line, 0, NULL);
        EXPECT(0, j, "%s: not JSON", g->path);
        if (json_object_get(j, "tolerance")) {
            g->tolerance = json_number_value(json_object_get(j, "tolerance"));
            g->perplexity = json_number_value(json_object_get(j, "perplexity"));
            g->rms_of_llamacpp = json_number_value(json_object_get(j, "rms_of_llamacpp"));
        } else {
            EXPECT(0, g->n < MAX_TOKENS, "%s: too long", g->path);
            g->tokens[g->n] = (int32_t)json_integer_value(json_object_get(j, "token"));
            g->top[g->n++] = json_incref(json_object_get(j, "top"));
        }
        json_decref(j);
    }
    fclose(f);
    bool four_bits = strstr(model, "q4") != NULL;
    g->perplexity_tolerance = four_bits ? 0.01 : 0.003;
    return true;
}

static void free_golden(struct golden *g) {
    for (size_t i = 0; i < g->n; i++) json_decref(g->top[i]);
}

/* All positions of the prompt in one step, with the log-probability of the token that follows. */
static void run_prompt(struct rig *r, const struct golden *g, bool kv_f32,
                       struct batch_result *result, struct step_runner **runner) {
    static uint32_t blocks[MAX_TOKENS / KV_BLOCK_TOKENS];
    static int32_t targets[MAX_TOKENS];
    const struct step_limits limits = {.kv_blocks = MAX_TOKENS / KV_BLOCK_TOKENS,
                                       .kv_f32 = kv_f32,
                                       .max_step_tokens = MAX_TOKENS,
                                       .max_batch = 1,
                                       .check_ranks = true};
    for (uint32_t i = 0; i < limits.kv_blocks; i++) blocks[i] = limits.kv_blocks - 1 - i;
    for (size_t i = 0; i < g->n; i++) targets[i] = i + 1 < g->n ? g->tokens[i + 1] : -1;
    const struct batch_seq seq = {.n_tokens = (uint32_t)g->n,
                                  .tokens = g->tokens,
                                  .n_blocks = limits.kv_blocks,
                                  .blocks = blocks,
                                  .n_outputs = (uint32_t)g->n,
                                  .top_n = TOP,
                                  .targets = targets};
    const struct batch b = {.n_seqs = 1, .n_tokens = seq.n_tokens, .seqs = &seq};
    rig_must(
        r,
        step_create(runner, r->comm, &r->model->shape, &r->plan, r->weights, r->kernels, &limits),
        "step_create");
    rig_must(r, step_check(*runner, &b), "step_check");
    rig_must(r, step_run(*runner, &b, result), "step_run");
}

static float logprob_of(const struct batch_output *o, int32_t token) {
    for (uint32_t i = 0; i < o->n_top; i++)
        if (o->top[i].token == token) return o->top[i].logprob;
    return -INFINITY;
}

static void judge(const struct golden *g, const struct batch_result *result, bool nearly_exact) {
    double largest = 0, squares = 0, loss = 0;
    size_t compared = 0;
    for (size_t i = 0; i < g->n; i++) {
        const struct batch_output *o = &result->seqs[0].outputs[i];
        double best[2] = {0};
        for (size_t k = 0; k < json_array_size(g->top[i]); k++) {
            json_t *pair = json_array_get(g->top[i], k);
            int32_t token = (int32_t)json_integer_value(json_array_get(pair, 0));
            double want = json_number_value(json_array_get(pair, 1));
            if (k < 2) best[k] = want;
            if (want <= -12) continue;
            double difference = fabs((double)logprob_of(o, token) - want);
            if (difference > largest) largest = difference;
            squares += difference * difference;
            compared++;
        }
        int32_t first =
            (int32_t)json_integer_value(json_array_get(json_array_get(g->top[i], 0), 0));
        if (best[0] - best[1] > g->tolerance)
            EXPECT(0, o->top[0].token == first, "%s position %zu: best is %d, wanted %d", g->path,
                   i, o->top[0].token, first);
        if (i + 1 < g->n) loss -= (double)o->target_logprob / (double)(g->n - 1);
    }
    double rms = sqrt(squares / (double)compared), perplexity = exp(loss);
    printf("%s: largest %.5f of %.5f, rms %.5f of %.5f, perplexity %.4f for %.4f\n",
           strrchr(g->path, '/') + 1, largest, g->tolerance, rms, 1.1 * g->rms_of_llamacpp + 0.002,
           perplexity, g->perplexity);
    double limit = nearly_exact ? 0.002 : g->tolerance;
    EXPECT(0, largest <= limit, "%s: %g off, allowed %g", g->path, largest, limit);
    EXPECT(0, rms <= 1.1 * g->rms_of_llamacpp + 0.002, "%s: rms %g", g->path, rms);
    EXPECT(0, fabs(perplexity / g->perplexity - 1) <= g->perplexity_tolerance,
           "%s: perplexity %g, wanted %g", g->path, perplexity, g->perplexity);
}

static bool check(struct comm *c, const char *shared, const char *model, bool kv_f32) {
    static const char *const prompts[] = {"short", "prose", "play"};
    char path[600];
    struct rig r;
    snprintf(path, sizeof path, "%s/models/%s.gguf", shared, model);
    rig_open(&r, c, path, &(struct rig_options){.ffn_unit = 4, .skewed = true});
    rig_load(&r);
    bool found = true;
    for (size_t i = 0; found && i < sizeof prompts / sizeof *prompts; i++) {
        struct golden g;
        struct batch_result result;
        struct step_runner *runner;
        found = read_golden(&g, shared, model, prompts[i]);
        if (!found) break;
        run_prompt(&r, &g, kv_f32, &result, &runner);
        if (r.rank == 0) judge(&g, &result, kv_f32 && strcmp(model, "demo-f16") == 0);
        step_free(runner);
        free_golden(&g);
    }
    rig_close(&r);
    return found;
}

int main(int argc, char **argv) {
    static const char *const models[] = {"demo-f16", "demo-q8_0", "demo-q4_0", "demo-q4_k_m"};
    struct comm *c;
    if (comm_init(&c, &argc, &argv) != ERR_OK) return 1;
    const char *shared = getenv("LOCKSTEP_SHARED");
    char path[600];
    snprintf(path, sizeof path, "%s/models/demo-f16.gguf", shared ? shared : "");
    FILE *f = shared ? fopen(path, "r") : NULL;
    if (!f) {
        printf("skipped: no golden data (LOCKSTEP_SHARED)\n");
        comm_finalize(c);
        return 77;
    }
    fclose(f);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        EXPECT(comm_rank(c), check(c, shared, models[m], false), "no golden data of %s", models[m]);
    EXPECT(comm_rank(c), check(c, shared, "demo-f16", true), "no golden data");
    comm_finalize(c);
    return 0;
}
