// SPDX-License-Identifier: MIT
/* cmd_load.c: `lockstep load`: a load test of a server, ours or another.
 *
 * Starts no rank and reads no model.  The table grows by a line per level; JSON comes at the end,
 * also after Ctrl-C, with what was measured until then. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"
#include "coordinator/load/load_report.h"

#define SEED_MAX        ((uint64_t)1 << 53) // what JSON's readers keep exact
#define DEFAULT_SECONDS 10.0
#define OTHER_FILES     64 // descriptors that are no client's

struct load_output {
    const struct options *options;
    const struct load_plan *plan;
    json_t *json;
    uint64_t complete;
    char message[240]; // of the first error
};

/* A line end in it would begin another header. */
static err check_key(const char *key) {
    for (const char *c = key; c && *c; c++)
        if (*c <= ' ' || *c >= 0x7f)
            return FAIL(ERR_USAGE, "--api-key: a key has letters, digits and signs only");
    return ERR_OK;
}

static err make_plan(struct load_plan *p, const struct options *o) {
    *p = (struct load_plan){.url = o->url,
                            .model = o->model_name,
                            .api_key = o->api_key,
                            .clients = o->clients.v,
                            .n_levels = o->clients.n,
                            .requests = o->requests,
                            .duration_s = o->duration,
                            .timeout_s = o->timeout,
                            .prompt_tokens = o->prompt_tokens,
                            .shared_prefix_tokens = o->shared_prefix,
                            .max_tokens = o->max_tokens,
                            .chat = o->chat,
                            .may_stop = o->may_stop,
                            .temperature = o->temperature,
                            .seed = o->seed};
    if (p->requests == 0 && p->duration_s <= 0) p->duration_s = DEFAULT_SECONDS;
    if (!o->seed_given) {
        CHECK(getrandom(&p->seed, sizeof p->seed, 0) == (ssize_t)sizeof p->seed);
        p->seed %= SEED_MAX;
    }
    return check_key(p->api_key);
}

/* A client is a descriptor; the soft limit is often 1024. */
static err make_room(const struct load_plan *p) {
    struct rlimit limit;
    rlim_t need = OTHER_FILES;
    for (size_t i = 0; i < p->n_levels; i++)
        if (p->clients[i] + OTHER_FILES > need) need = p->clients[i] + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need) return ERR_OK;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    if (need > limit.rlim_max || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return FAIL(ERR_USAGE, "--clients: this process may open %llu files only; see ulimit -n",
                    (unsigned long long)limit.rlim_max);
    return ERR_OK;
}

static void on_begin(void *ctx, const struct load_facts *facts) {
    struct load_output *out = ctx;
    out->json = load_report_head_json(out->plan, facts);
    if (out->options->json) return;
    load_report_print_head(stdout, out->plan, facts);
    fflush(stdout);
}

static void on_level(void *ctx, struct tally *t) {
    struct load_output *out = ctx;
    enum answer_error e = tally_first_error(t);
    out->complete += t->complete;
    if (e != ANSWER_ERROR_NONE && !out->message[0])
        memcpy(out->message, t->messages[e], sizeof out->message);
    json_array_append_new(json_object_get(out->json, "levels"), load_report_level_json(t));
    if (out->options->json) return;
    load_report_print_level(stdout, t);
    fflush(stdout);
}

static err write_json(const struct load_output *out) {
    const struct options *o = out->options;
    char *text = json_dumps(out->json, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (!text) return FAIL(ERR_MEMORY, "there is no memory for the result as JSON");
    err e = ERR_OK;
    if (o->json) puts(text);
    if (o->json_out) e = session_write_file(o->json_out, text, strlen(text));
    free(text);
    return e;
}

err cmd_load(const struct options *o) {
    static const struct load_events events = {.begin = on_begin, .level = on_level};
    if (!o->url) return FAIL(ERR_USAGE, "--url http://HOST:PORT is needed: the server to ask");
    struct load_plan plan;
    TRY(make_plan(&plan, o));
    TRY(make_room(&plan));
    struct load_output out = {.options = o, .plan = &plan};
    err e = load_run(&plan, &events, &out);
    if (e == ERR_OK && out.complete == 0)
        e = FAIL(ERR_IO, "no request was answered completely; the first error: %s", out.message);
    char message[1024];
    snprintf(message, sizeof message, "%s", error_message());
    err written = out.json && (o->json || o->json_out) ? write_json(&out) : ERR_OK;
    json_decref(out.json);
    return e == ERR_OK ? written : FAIL(e, "%s", message);
}
