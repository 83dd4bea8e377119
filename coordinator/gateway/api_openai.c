// SPDX-License-Identifier: MIT
/* api_openai.c: POST /v1/completions and /v1/chat/completions: an exchange from body to last byte.
 *
 * One exchange submits one request per prompt; their choices are numbered through.  A stream sends
 * its head with the first event, so that what fails before is a proper HTTP status; after the head
 * an error is an event and the stream ends without [DONE].
 *
 *   read → submit… ─► text ─► chunk, chunk, … ─► finish ─► usage ─► [DONE]      (stream)
 *                         └──► collected ──────────────────► one JSON object     (whole) */

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "coordinator/gateway/api_answer.h"
#include "coordinator/gateway/api_reply.h"
#include "coordinator/gateway/api_request.h"
#include "coordinator/gateway/router.h"
#include "coordinator/gateway/sse.h"

#define REQUEST_ID "X-Request-Id: %s\r\n" // the access log has it too

/* The part of an exchange that answers one prompt: the sink's context. */
struct part {
    struct completion *exchange;
    uint64_t request_id; // 0 when it has ended
    size_t first_choice;
    uint32_t n_generated;
    bool prompt_counted;
    struct top_entry previous_top[REQUEST_MAX_TOP]; // what the model expected at the next position
    uint32_t n_previous_top;
};

struct completion {
    struct exchange exchange;
    struct side_work side;
    struct buf body; // of a long request, until it is read
    struct gateway *gateway;
    const struct responder *responder;
    void *conn;
    const struct tokenizer *tokenizer;
    bool reading, gone, read, submitted; // reading: beside the loop; gone: the client, meanwhile
    struct api_error refusal;            // unless it was read
    struct api_request request;
    struct reply_head head;
    struct part parts[API_MAX_PROMPTS];
    size_t n_open;                 // parts that have not ended
    struct reply_choice *choices;  // [n_choices]
    size_t n_choices, last_choice; // last: the one that finished last
    bool *role_sent;               // [n_choices]
    uint64_t *token_ns;            // [n_choices] when its latest token came
    uint64_t begun_ns, first_token_ns;
    struct request_usage usage;
    bool head_sent;
    uint64_t last_sent_ns;
    err error; // the first that a part ended with
    char message[400];
    struct buf out;
};

static void completion_free(struct completion *x) {
    for (size_t i = 0; i < x->n_choices; i++) reply_choice_deinit(&x->choices[i]);
    mem_free(x->choices);
    mem_free(x->role_sent);
    mem_free(x->token_ns);
    api_request_deinit(&x->request);
    buf_deinit(&x->out);
    buf_deinit(&x->body);
    mem_free(x);
}

/* ---- sending ---- */

static void send_out(struct completion *x) {
    char lines[200];
    if (!x->head_sent) {
        x->head_sent = true;
        snprintf(lines, sizeof lines,
                 REQUEST_ID "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n", x->head.id);
        x->responder->head(x->conn, 200, SSE_CONTENT_TYPE, lines, -1);
    }
    x->last_sent_ns = clock_ns();
    x->responder->body(x->conn, x->out.data, x->out.length);
    buf_clear(&x->out);
}

/* The first chunk of a choice of a chat. */
static void put_role(struct completion *x, size_t choice) {
    if (!x->head.chat || x->role_sent[choice]) return;
    x->role_sent[choice] = true;
    sse_begin(&x->out);
    reply_put_chunk(&x->out, &x->head, (uint32_t)choice, "", 0, NULL, true, FINISH_NONE,
                    x->request.include_usage);
    sse_end(&x->out);
}

static void send_chunk(struct completion *x, size_t choice, const char *text, size_t n,
                       enum finish_reason reason) {
    struct reply_choice *c = &x->choices[choice];
    put_role(x, choice);
    bool logprobs = x->request.params.want_logprobs && reason == FINISH_NONE;
    sse_begin(&x->out);
    reply_put_chunk(&x->out, &x->head, (uint32_t)choice, text, n, logprobs ? c : NULL, false,
                    reason, x->request.include_usage);
    sse_end(&x->out);
    reply_choice_clear_logprobs(c);
    send_out(x);
}

/* ---- counting ---- */

static void count_prompt(struct part *part) {
    const struct completion *x = part->exchange;
    if (part->prompt_counted) return;
    part->prompt_counted = true;
    x->gateway->metrics.prompt_tokens += x->request.prompts[part - x->parts].count;
}

static void count_tokens(struct part *part, size_t choice, size_t n) {
    struct completion *x = part->exchange;
    uint64_t now = clock_ns();
    if (n == 0) return;
    if (x->first_token_ns == 0) x->first_token_ns = now;
    count_prompt(part);
    part->n_generated += (uint32_t)n;
    request_metrics_tokens(&x->gateway->metrics, &x->token_ns[choice], n, x->begun_ns, now);
}

static void count_finish(struct completion *x, size_t choice, enum finish_reason reason) {
    x->choices[choice].reason = reason;
    x->gateway->metrics.finished[reason]++;
}

/* Choices that have no reason of their own get this one. */
static void count_unfinished(struct completion *x, size_t first, size_t n,
                             enum finish_reason reason) {
    for (size_t i = first; i < first + n; i++)
        if (x->choices[i].reason == FINISH_NONE) count_finish(x, i, reason);
}

/* Tokens that were never shown, an end of text or part of a stop string, are counted here. */
static void count_end(struct part *part, const struct request_usage *usage, err error) {
    struct completion *x = part->exchange;
    struct request_metrics *m = &x->gateway->metrics;
    if (usage->completion_tokens > part->n_generated) {
        m->generated_tokens += usage->completion_tokens - part->n_generated;
        part->n_generated = usage->completion_tokens;
    }
    if (error == ERR_OK) {
        count_prompt(part);
        request_metrics_complete(m, usage->queue_ns, clock_ns() - x->begun_ns);
    } else {
        count_unfinished(x, part->first_choice, x->request.params.n,
                         error == ERR_CANCELLED ? FINISH_CANCELLED : FINISH_ERROR);
    }
}

/* ---- the sink ---- */

static void show(struct completion *x, size_t choice, const char *text, size_t n) {
    if (x->request.stream)
        send_chunk(x, choice, text, n, FINISH_NONE);
    else
        buf_append(&x->choices[choice].text, text, n);
}

/* The prompt of a part as text, as it is echoed: the first n tokens. */
static void put_prompt_text(struct buf *out, const struct part *part, size_t n) {
    const struct completion *x = part->exchange;
    const struct token_list *prompt = &x->request.prompts[part - x->parts];
    tokenizer_decode(engine_info(x->gateway->engine)->tokenizer, prompt->ids, n, false, out);
}

static void echo_prompt(const struct part *part) {
    struct completion *x = part->exchange;
    struct buf text;
    buf_init(&text, 0);
    put_prompt_text(&text, part, x->request.prompts[part - x->parts].count);
    for (uint32_t k = 0; k < x->request.params.n; k++)
        show(x, part->first_choice + k, text.length ? text.data : "", text.length);
    buf_deinit(&text);
}

/* A tokenizer may drop a space before the first word: the offset of what follows is that of the
 * text, not of the pieces. */
static uint64_t prompt_characters(const struct part *part, size_t n) {
    struct buf text;
    buf_init(&text, 0);
    put_prompt_text(&text, part, n);
    uint64_t count = reply_count_characters(text.data, text.length);
    buf_deinit(&text);
    return count;
}

/* Echo with log-probabilities: the text is shown with those of its last token.  The engine reports
 * what may FOLLOW a position; the API wants the alternatives AT it, so they are kept for one
 * position. */
static void on_prompt(void *ctx, uint32_t first, const struct token_entry *entries, size_t n) {
    struct part *part = ctx;
    struct completion *x = part->exchange;
    const struct tokenizer *t = engine_info(x->gateway->engine)->tokenizer;
    for (size_t i = 0; i < n; i++) {
        struct token_entry e = entries[i];
        e.top = part->previous_top;
        e.n_top = part->n_previous_top;
        for (uint32_t k = 0; k < x->request.params.n; k++) {
            struct reply_choice *c = &x->choices[part->first_choice + k];
            bool no_text_yet = c->offset == 0;
            reply_add_token(c, x->head.chat, t, &e);
            if (no_text_yet && c->offset) c->offset = prompt_characters(part, first + i + 1);
        }
        part->n_previous_top =
            entries[i].n_top < REQUEST_MAX_TOP ? entries[i].n_top : REQUEST_MAX_TOP;
        for (uint32_t k = 0; k < part->n_previous_top; k++)
            part->previous_top[k] = entries[i].top[k];
    }
    if (first + n == x->request.prompts[part - x->parts].count) echo_prompt(part);
}

static void on_text(void *ctx, uint32_t choice, const char *text, size_t n,
                    const struct token_entry *tokens, size_t n_tokens) {
    struct part *part = ctx;
    struct completion *x = part->exchange;
    size_t index = part->first_choice + choice;
    count_tokens(part, index, n_tokens);
    for (size_t i = 0; x->request.params.want_logprobs && i < n_tokens; i++)
        reply_add_token(&x->choices[index], x->head.chat,
                        engine_info(x->gateway->engine)->tokenizer, &tokens[i]);
    if (n || (n_tokens && x->request.params.want_logprobs)) show(x, index, text, n);
}

/* The last choice has finished, and no usage chunk will follow: its chunk waits for the timings,
 * which the end brings. */
static bool ends_with_timings(const struct completion *x) {
    bool all = !x->request.include_usage;
    for (size_t i = 0; i < x->n_choices; i++) all &= x->choices[i].reason != FINISH_NONE;
    return all;
}

static void on_finish(void *ctx, uint32_t choice, enum finish_reason reason) {
    struct part *part = ctx;
    struct completion *x = part->exchange;
    size_t index = part->first_choice + choice;
    count_finish(x, index, reason);
    x->last_choice = index;
    if (x->request.stream && !ends_with_timings(x)) send_chunk(x, index, "", 0, reason);
}

static void put_last_chunk(struct completion *x) {
    put_role(x, x->last_choice);
    sse_begin(&x->out);
    reply_put_last_chunk(&x->out, &x->head, (uint32_t)x->last_choice,
                         x->choices[x->last_choice].reason, &x->usage);
    sse_end(&x->out);
}

static void finish_stream(struct completion *x) {
    if (x->error != ERR_OK) {
        sse_begin(&x->out);
        gateway_put_error(&x->out, gateway_status_of(x->error).type, NULL,
                          gateway_status_of(x->error).code, x->message);
        sse_end(&x->out);
    } else {
        if (x->request.include_usage) {
            sse_begin(&x->out);
            reply_put_usage_chunk(&x->out, &x->head, &x->usage);
            sse_end(&x->out);
        } else {
            put_last_chunk(x);
        }
        sse_put_done(&x->out);
    }
    send_out(x);
    x->responder->done(x->conn);
}

static void finish_exchange(struct completion *x) {
    if (x->request.stream && (x->head_sent || x->error == ERR_OK)) {
        finish_stream(x);
    } else if (x->error != ERR_OK) {
        gateway_reply_refusal(x->gateway, x->responder, x->conn, x->error, NULL, x->message);
    } else {
        char lines[100];
        snprintf(lines, sizeof lines, REQUEST_ID, x->head.id);
        reply_put_whole(&x->out, &x->head, x->choices, x->n_choices,
                        x->request.params.want_logprobs, &x->usage);
        gateway_reply(x->responder, x->conn, 200, lines, &x->out);
    }
    completion_free(x);
}

static void on_end(void *ctx, const struct request_usage *usage, err error, const char *message) {
    struct part *part = ctx;
    struct completion *x = part->exchange;
    part->request_id = 0;
    count_end(part, usage, error);
    x->usage.prompt_tokens += usage->prompt_tokens;
    x->usage.completion_tokens += usage->completion_tokens;
    x->usage.cached_tokens += usage->cached_tokens;
    if (usage->queue_ns > x->usage.queue_ns) x->usage.queue_ns = usage->queue_ns;
    if (usage->prefill_ns > x->usage.prefill_ns) x->usage.prefill_ns = usage->prefill_ns;
    if (usage->decode_ns > x->usage.decode_ns) x->usage.decode_ns = usage->decode_ns;
    if (error != ERR_OK && x->error == ERR_OK) {
        x->error = error;
        snprintf(x->message, sizeof x->message, "%s", message);
    }
    if (--x->n_open == 0) finish_exchange(x);
}

static const struct request_sink sink = {
    .prompt = on_prompt, .text = on_text, .finish = on_finish, .end = on_end};

/* ---- the beginning ---- */

static void abandon_all(struct completion *x) {
    for (size_t i = 0; i < x->request.n_prompts; i++) {
        if (x->parts[i].request_id) engine_abandon(x->gateway->engine, x->parts[i].request_id);
        x->parts[i].request_id = 0;
    }
}

/* All or nothing: when one prompt is refused the others are taken back. */
static err submit_all(struct completion *x) {
    for (size_t i = 0; i < x->request.n_prompts; i++) {
        struct part *part = &x->parts[i];
        *part = (struct part){.exchange = x, .first_choice = i * x->request.params.n};
        err e = engine_submit(x->gateway->engine, x->request.prompts[i].ids,
                              x->request.prompts[i].count, &x->request.params, &sink, part,
                              &part->request_id);
        if (e != ERR_OK) {
            abandon_all(x);
            return e;
        }
        x->n_open++;
    }
    return ERR_OK;
}

/* Any thread. */
static void read_body(struct completion *x, const struct buf *body) {
    const struct gateway *g = x->gateway;
    x->read = api_request_parse(&x->request, x->head.chat, body->data, body->length, x->tokenizer,
                                g->chat_template, g->model_id, &x->refusal);
}

static err submit(struct completion *x) {
    x->head.stream = x->request.stream;
    x->n_choices = x->request.n_prompts * x->request.params.n;
    x->choices = mem_zalloc_array(x->n_choices, sizeof *x->choices);
    x->role_sent = mem_zalloc_array(x->n_choices, sizeof *x->role_sent);
    x->token_ns = mem_zalloc_array(x->n_choices, sizeof *x->token_ns);
    for (size_t i = 0; i < x->n_choices; i++) reply_choice_init(&x->choices[i]);
    TRY(submit_all(x));
    x->submitted = true;
    bool at_once = x->request.echo && !x->request.params.want_prompt;
    for (size_t i = 0; at_once && i < x->request.n_prompts; i++) echo_prompt(&x->parts[i]);
    return ERR_OK;
}

static bool is_taking(const struct gateway *g) {
    return engine_get_state(g->engine) == ENGINE_READY && !g->draining;
}

/* The body was read: its prompts go to the engine.  False when it was refused, and x is no more. */
static bool begin(struct completion *x) {
    struct gateway *g = x->gateway;
    err e = ERR_OK;
    if (!x->read) {
        api_answer_error(&x->refusal, x->responder, x->conn);
    } else if (!is_taking(g)) { // any more
        gateway_reply_unready(g, x->responder, x->conn);
    } else if ((e = submit(x)) != ERR_OK) {
        const char *param = x->head.chat ? "messages" : "prompt";
        gateway_reply_refusal(g, x->responder, x->conn, e, e == ERR_CONTEXT ? param : NULL,
                              error_message());
    } else {
        return true;
    }
    completion_free(x);
    return false;
}

/* ---- long bodies, beside the loop ---- */

static struct completion *completion_of(struct side_work *w) {
    return (struct completion *)(void *)((char *)w - offsetof(struct completion, side));
}

static void on_read_aside(struct side_work *w) {
    struct completion *x = completion_of(w);
    read_body(x, &x->body);
}

static void on_read(struct side_work *w) {
    struct completion *x = completion_of(w);
    x->reading = false;
    buf_deinit(&x->body);
    if (x->gone)
        completion_free(x);
    else
        begin(x);
}

/* False when it was refused, and x is no more. */
static bool read_aside(struct completion *x, const struct buf *body) {
    buf_append(&x->body, body->data, body->length);
    err e = side_line_add(&x->gateway->side, &x->side);
    x->reading = e == ERR_OK;
    if (e != ERR_OK) {
        gateway_reply_refusal(x->gateway, x->responder, x->conn, e, NULL, error_message());
        completion_free(x);
    }
    return e == ERR_OK;
}

/* ---- what the connection asks ---- */

static void abort_completion(struct exchange *e) {
    struct completion *x = (struct completion *)(void *)e;
    if (x->reading && !side_line_remove(&x->gateway->side, &x->side)) {
        x->gone = true; // on_read comes
        return;
    }
    abandon_all(x);
    count_unfinished(x, 0, x->n_choices, FINISH_CANCELLED);
    completion_free(x);
}

static void describe(const struct exchange *e, struct access_line *line) {
    const struct completion *x = (const struct completion *)(const void *)e;
    if (!x->submitted) return;
    const char *finish = finish_reason_name(x->choices[0].reason);
    line->id = x->head.id;
    line->finish = x->error != ERR_OK ? "error" : finish ? finish : "abort";
    line->cached_tokens = x->usage.cached_tokens;
    for (size_t i = 0; i < x->request.n_prompts; i++) {
        line->prompt_tokens += (uint32_t)x->request.prompts[i].count;
        line->generated_tokens += x->parts[i].n_generated;
    }
    if (x->first_token_ns) line->first_token_ns = x->first_token_ns - x->begun_ns;
}

static void put_prompts(const struct exchange *e, struct buf *out) {
    const struct completion *x = (const struct completion *)(const void *)e;
    for (size_t i = 0; x->submitted && i < x->request.n_prompts; i++) {
        if (i) buf_putc(out, '\n');
        put_prompt_text(out, &x->parts[i], x->request.prompts[i].count);
    }
}

static uint64_t tick(struct exchange *e, uint64_t now_ns) {
    struct completion *x = (struct completion *)(void *)e;
    uint64_t ping_ns = x->gateway->limits.ping_ns;
    if (!x->submitted || !x->request.stream) return UINT64_MAX;
    if (now_ns < x->last_sent_ns + ping_ns) return x->last_sent_ns + ping_ns;
    sse_put_ping(&x->out);
    send_out(x);
    return now_ns + ping_ns;
}

static const struct exchange_kind kind = {
    .abort = abort_completion, .describe = describe, .put_prompts = put_prompts, .tick = tick};

/* ---- the endpoints ---- */

static struct completion *create(struct gateway *g, bool chat, const struct tokenizer *t,
                                 const struct responder *responder, void *conn) {
    struct completion *x = mem_zalloc(sizeof *x);
    *x = (struct completion){.exchange.kind = &kind,
                             .side = {.work = on_read_aside, .done = on_read},
                             .gateway = g,
                             .responder = responder,
                             .conn = conn,
                             .tokenizer = t};
    x->begun_ns = x->last_sent_ns = clock_ns();
    buf_init(&x->body, 0);
    buf_init(&x->out, 0);
    x->head = (struct reply_head){.chat = chat,
                                  .created_s = clock_unix_s(),
                                  .model_id = g->model_id,
                                  .fingerprint = g->fingerprint};
    snprintf(x->head.id, sizeof x->head.id, "%s-%016llx%08llx", chat ? "chatcmpl" : "cmpl",
             (unsigned long long)g->id_prefix, (unsigned long long)g->next_id++);
    return x;
}

static void complete(struct gateway *g, bool chat, const struct http_request *request,
                     const struct responder *responder, void *conn, struct exchange **out) {
    const struct cluster_info *info = engine_info(g->engine);
    if (!info || !is_taking(g)) {
        gateway_reply_unready(g, responder, conn);
        return;
    }
    bool under_way, aside = side_line_wants(&g->side, request->body.length);
    struct completion *x = create(g, chat, info->tokenizer, responder, conn);
    if (!aside) read_body(x, &request->body);
    under_way = aside ? read_aside(x, &request->body) : begin(x);
    if (under_way) *out = &x->exchange;
}

void api_completions(struct gateway *g, const struct http_request *request, const char *rest,
                     const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest;
    complete(g, false, request, responder, conn, x);
}

void api_chat_completions(struct gateway *g, const struct http_request *request, const char *rest,
                          const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest;
    complete(g, true, request, responder, conn, x);
}
