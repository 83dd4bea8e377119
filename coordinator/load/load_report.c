// SPDX-License-Identifier: MIT
/* load_report.c: see load_report.h.  Times in milliseconds, rates per second of the level. */

#include "coordinator/load/load_report.h"

#include <inttypes.h>

/* ---- the table ---- */

void load_report_print_head(FILE *f, const struct load_plan *p, const struct load_facts *facts) {
    fprintf(f, "%s: %s, model %s, prompts of %u tokens", p->url, p->chat ? "chats" : "completions",
            facts->model, p->prompt_tokens);
    if (p->shared_prefix_tokens) fprintf(f, " behind %u shared ones", p->shared_prefix_tokens);
    fprintf(f, ", %s%u generated, seed %" PRIu64 "\n", p->may_stop ? "up to " : "", p->max_tokens,
            p->seed);
    if (!facts->reports_usage)
        fputs("The server reports no usage: a prompt's length is its words, and every chunk with "
              "text counts as one token.\n",
              f);
    fprintf(f, "\n%7s %8s %6s %8s %19s %25s %25s %28s\n", "", "", "", "", "tokens/s",
            "first token, ms", "between tokens, ms", "whole answer, ms");
    fprintf(f, "%7s %8s %6s %8s %9s %9s", "clients", "answers", "errors", "req/s", "prompt",
            "generated");
    fprintf(f, " %9s %7s %7s %9s %7s %7s %10s %8s %8s\n", "p50", "p95", "p99", "p50", "p95", "p99",
            "p50", "p95", "p99");
}

static void print_times(FILE *f, const struct samples_summary *s, int width, int decimals) {
    const double values[] = {s->p50_ms, s->p95_ms, s->p99_ms};
    for (size_t i = 0; i < 3; i++) {
        int w = i == 0 ? width + 2 : width;
        if (s->count)
            fprintf(f, " %*.*f", w, decimals, values[i]);
        else
            fprintf(f, " %*s", w, "-");
    }
}

void load_report_print_level(FILE *f, struct tally *t) {
    struct samples_summary first = samples_summarize(&t->first_token),
                           between = samples_summarize(&t->between_tokens),
                           whole = samples_summarize(&t->whole);
    fprintf(f, "%7u %8" PRIu64 " %6" PRIu64 " %8.2f %9.1f %9.1f", t->clients, t->complete,
            tally_n_errors(t), tally_rate(t, t->complete), tally_rate(t, t->prompt_tokens),
            tally_rate(t, t->generated_tokens));
    print_times(f, &first, 7, 1);
    print_times(f, &between, 7, 1);
    print_times(f, &whole, 8, 0);
    fputc('\n', f);
    for (size_t i = 0; i < ANSWER_ERROR_COUNT; i++)
        if (t->errors[i])
            fprintf(f, "%7s %" PRIu64 " x %s: %s\n", "", t->errors[i],
                    answer_error_name((enum answer_error)i), t->messages[i]);
}

/* ---- JSON ---- */

static void put(json_t *object, const char *key, json_t *value) {
    json_object_set_new(object, key, value);
}

static void put_count(json_t *object, const char *key, uint64_t n) {
    put(object, key, json_integer((json_int_t)n));
}

json_t *load_report_head_json(const struct load_plan *p, const struct load_facts *facts) {
    json_t *o = json_object();
    put(o, "url", json_string(p->url));
    put(o, "model", json_string(facts->model));
    put(o, "chat", json_boolean(p->chat));
    put_count(o, "prompt_tokens", p->prompt_tokens);
    put_count(o, "shared_prefix_tokens", p->shared_prefix_tokens);
    put_count(o, "max_tokens", p->max_tokens);
    put(o, "temperature", json_real(p->temperature));
    put_count(o, "seed", p->seed);
    put(o, "usage_reported", json_boolean(facts->reports_usage));
    put(o, "levels", json_array());
    return o;
}

/* null instead of percentiles of nothing. */
static json_t *times_json(struct samples *samples) {
    struct samples_summary s = samples_summarize(samples);
    if (s.count == 0) return json_null();
    json_t *o = json_object();
    put_count(o, "count", s.count);
    put(o, "p50", json_real(s.p50_ms));
    put(o, "p95", json_real(s.p95_ms));
    put(o, "p99", json_real(s.p99_ms));
    put(o, "mean", json_real(s.mean_ms));
    put(o, "max", json_real(s.max_ms));
    return o;
}

static json_t *errors_json(const struct tally *t) {
    json_t *o = json_object(), *statuses = json_object(), *messages = json_object();
    for (size_t i = ANSWER_ERROR_NONE + 1; i < ANSWER_ERROR_COUNT; i++) {
        const char *name = answer_error_name((enum answer_error)i);
        put_count(o, name, t->errors[i]);
        if (t->errors[i]) put(messages, name, json_string(t->messages[i]));
    }
    for (unsigned i = 0; i < TALLY_MAX_STATUS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        if (t->statuses[i]) put_count(statuses, name, t->statuses[i]);
    }
    put(o, "statuses", statuses);
    put(o, "messages", messages);
    return o;
}

json_t *load_report_level_json(struct tally *t) {
    json_t *o = json_object();
    double seconds = t->complete ? (double)(t->ended_ns - t->begun_ns) / 1e9 : 0;
    put_count(o, "clients", t->clients);
    put_count(o, "complete", t->complete);
    put_count(o, "failed", tally_n_errors(t));
    put(o, "seconds", json_real(seconds));
    put(o, "requests_per_s", json_real(tally_rate(t, t->complete)));
    put_count(o, "prompt_tokens", t->prompt_tokens);
    put_count(o, "cached_tokens", t->cached_tokens);
    put_count(o, "generated_tokens", t->generated_tokens);
    put_count(o, "counted_by_chunks", t->counted_by_chunks);
    put(o, "prompt_tokens_per_s", json_real(tally_rate(t, t->prompt_tokens)));
    put(o, "generated_tokens_per_s", json_real(tally_rate(t, t->generated_tokens)));
    put(o, "first_token_ms", times_json(&t->first_token));
    put(o, "between_tokens_ms", times_json(&t->between_tokens));
    put(o, "answer_ms", times_json(&t->whole));
    put(o, "errors", errors_json(t));
    return o;
}
