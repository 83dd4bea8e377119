// SPDX-License-Identifier: MIT
/* api_reply.c: see api_reply.h.  JSON numbers have no infinity: a log-probability of minus infinity
 * is written as -9999, as other servers of this API do. */

#include "coordinator/gateway/api_reply.h"

#include <math.h>
#include <string.h>

#include "common/utf8.h"

size_t reply_count_characters(const char *s, size_t n) {
    size_t count = 0;
    // bytes that do not continue a code point
    for (size_t i = 0; i < n; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

void reply_choice_init(struct reply_choice *c) {
    *c = (struct reply_choice){.reason = FINISH_NONE};
    buf_init(&c->text, 0);
    buf_init(&c->logprobs, 0);
    buf_init(&c->tokens, 0);
    buf_init(&c->token_logprobs, 0);
    buf_init(&c->top_logprobs, 0);
    buf_init(&c->text_offset, 0);
}

void reply_choice_deinit(struct reply_choice *c) {
    buf_deinit(&c->text);
    buf_deinit(&c->logprobs);
    buf_deinit(&c->tokens);
    buf_deinit(&c->token_logprobs);
    buf_deinit(&c->top_logprobs);
    buf_deinit(&c->text_offset);
}

void reply_choice_clear_logprobs(struct reply_choice *c) {
    buf_clear(&c->logprobs);
    buf_clear(&c->tokens);
    buf_clear(&c->token_logprobs);
    buf_clear(&c->top_logprobs);
    buf_clear(&c->text_offset);
}

static void put_string(struct buf *out, const char *s, size_t n) {
    buf_putc(out, '"');
    buf_append_json(out, s, n);
    buf_putc(out, '"');
}

static void put_logprob(struct buf *out, float v) {
    if (isnan(v))
        buf_puts(out, "null");
    else
        buf_printf(out, "%.6g", v < -9999.0f ? -9999.0 : (double)v);
}

static void put_comma(struct buf *out) {
    if (out->length) buf_putc(out, ',');
}

static void put_bytes(struct buf *out, const char *s, size_t n) {
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) buf_printf(out, "%s%u", i ? "," : "", (unsigned char)s[i]);
    buf_putc(out, ']');
}

static void put_chat_token(struct buf *out, const char *piece, size_t n, float logprob) {
    buf_puts(out, "{\"token\":");
    put_string(out, piece, n);
    buf_puts(out, ",\"logprob\":");
    put_logprob(out, logprob);
    buf_puts(out, ",\"bytes\":");
    put_bytes(out, piece, n);
}

static void add_chat_token(struct reply_choice *c, const struct tokenizer *t,
                           const struct token_entry *e) {
    struct buf piece;
    buf_init(&piece, 0);
    put_comma(&c->logprobs);
    put_chat_token(&c->logprobs, e->piece, e->piece_bytes, e->logprob);
    buf_puts(&c->logprobs, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < e->n_top; i++) {
        buf_clear(&piece);
        tokenizer_decode_piece(t, e->top[i].token, true, &piece);
        if (i) buf_putc(&c->logprobs, ',');
        put_chat_token(&c->logprobs, piece.length ? piece.data : "", piece.length,
                       e->top[i].logprob);
        buf_putc(&c->logprobs, '}');
    }
    buf_puts(&c->logprobs, "]}");
    buf_deinit(&piece);
}

/* The name of a token in an object of alternatives: its text, or "bytes:\\xe2\\x80" when it is no
 * whole text, as OpenAI's API does it. */
static void put_token_name(struct buf *out, const struct tokenizer *t, int32_t token) {
    size_t begin = out->length;
    tokenizer_decode_piece(t, token, true, out);
    size_t n = out->length - begin;
    if (n == 0 || utf8_valid(out->data + begin, n)) return;
    struct buf bytes;
    buf_init(&bytes, 0);
    buf_append(&bytes, out->data + begin, n);
    out->length = begin;
    buf_puts(out, "bytes:");
    for (size_t i = 0; i < n; i++) buf_printf(out, "\\x%02x", (unsigned char)bytes.data[i]);
    buf_deinit(&bytes);
}

/* Two tokens can have the same text, a JSON object has each key once: the likelier one stays. */
static void put_alternatives(struct buf *out, const struct tokenizer *t,
                             const struct top_entry *top, uint32_t n_top) {
    struct buf names[REQUEST_MAX_TOP];
    uint32_t n = n_top < REQUEST_MAX_TOP ? n_top : REQUEST_MAX_TOP, n_put = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct buf *name = &names[i];
        buf_init(name, 0);
        put_token_name(name, t, top[i].token);
        bool taken = false;
        for (uint32_t k = 0; k < i && !taken; k++)
            taken = names[k].length == name->length &&
                    (name->length == 0 || memcmp(names[k].data, name->data, name->length) == 0);
        if (taken) continue;
        if (n_put++) buf_putc(out, ',');
        put_string(out, name->length ? name->data : "", name->length);
        buf_putc(out, ':');
        put_logprob(out, top[i].logprob);
    }
    for (uint32_t i = 0; i < n; i++) buf_deinit(&names[i]);
}

static void add_text_token(struct reply_choice *c, const struct tokenizer *t,
                           const struct token_entry *e) {
    put_comma(&c->tokens);
    put_string(&c->tokens, e->piece, e->piece_bytes);
    put_comma(&c->token_logprobs);
    put_logprob(&c->token_logprobs, e->logprob);
    put_comma(&c->text_offset);
    buf_printf(&c->text_offset, "%llu", (unsigned long long)c->offset);
    put_comma(&c->top_logprobs);
    if (isnan(e->logprob)) { // the first token of a prompt follows nothing
        buf_puts(&c->top_logprobs, "null");
        return;
    }
    buf_putc(&c->top_logprobs, '{');
    put_alternatives(&c->top_logprobs, t, e->top, e->n_top);
    buf_putc(&c->top_logprobs, '}');
}

void reply_add_token(struct reply_choice *c, bool chat, const struct tokenizer *t,
                     const struct token_entry *e) {
    if (chat)
        add_chat_token(c, t, e);
    else
        add_text_token(c, t, e);
    if (!tokenizer_is_control(t, e->token))
        c->offset += reply_count_characters(e->piece, e->piece_bytes);
}

static void put_head(struct buf *out, const struct reply_head *h) {
    const char *object =
        h->chat ? (h->stream ? "chat.completion.chunk" : "chat.completion") : "text_completion";
    buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", h->id, object,
               (long long)h->created_s);
    put_string(out, h->model_id, strlen(h->model_id));
    buf_puts(out, ",\"system_fingerprint\":");
    put_string(out, h->fingerprint, strlen(h->fingerprint));
}

static void put_logprobs(struct buf *out, bool chat, const struct reply_choice *c) {
    buf_puts(out, ",\"logprobs\":");
    if (!c) {
        buf_puts(out, "null");
    } else if (chat) {
        buf_puts(out, "{\"content\":[");
        buf_append(out, c->logprobs.data, c->logprobs.length);
        buf_puts(out, "],\"refusal\":null}");
    } else {
        const struct {
            const char *name;
            const struct buf *elements;
        } arrays[] = {{"{\"tokens\":[", &c->tokens},
                      {"],\"token_logprobs\":[", &c->token_logprobs},
                      {"],\"top_logprobs\":[", &c->top_logprobs},
                      {"],\"text_offset\":[", &c->text_offset}};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
            buf_puts(out, arrays[i].name);
            buf_append(out, arrays[i].elements->data, arrays[i].elements->length);
        }
        buf_puts(out, "]}");
    }
}

static void put_reason(struct buf *out, enum finish_reason reason) {
    const char *name = finish_reason_name(reason);
    if (name)
        buf_printf(out, ",\"finish_reason\":\"%s\"", name);
    else
        buf_puts(out, ",\"finish_reason\":null");
}

/* A chunk as far as its choice. */
static void put_choice_chunk(struct buf *out, const struct reply_head *h, uint32_t index,
                             const char *text, size_t n, const struct reply_choice *logprobs,
                             bool first, enum finish_reason reason) {
    put_head(out, h);
    buf_printf(out, ",\"choices\":[{\"index\":%u,", index);
    if (h->chat) {
        buf_puts(out, "\"delta\":{");
        if (first) buf_puts(out, "\"role\":\"assistant\",");
        if (first || reason == FINISH_NONE) {
            buf_puts(out, "\"content\":");
            put_string(out, text, n);
        }
        buf_putc(out, '}');
    } else {
        buf_puts(out, "\"text\":");
        put_string(out, text, n);
    }
    put_logprobs(out, h->chat, logprobs);
    put_reason(out, reason);
    buf_puts(out, "}]");
}

void reply_put_chunk(struct buf *out, const struct reply_head *h, uint32_t index, const char *text,
                     size_t n, const struct reply_choice *logprobs, bool first,
                     enum finish_reason reason, bool null_usage) {
    put_choice_chunk(out, h, index, text, n, logprobs, first, reason);
    if (null_usage) buf_puts(out, ",\"usage\":null");
    buf_putc(out, '}');
}

static double per_second(double n, uint64_t ns) {
    return ns ? n / ((double)ns / 1e9) : 0;
}

/* As llama-server gives them: prompt_n was computed, cache_n found in the cache.  The first token
 * of a completion belongs to the prompt's time. */
static void put_timings(struct buf *out, const struct request_usage *u) {
    double decoded = u->completion_tokens > 1 ? u->completion_tokens - 1.0 : 0;
    double computed = u->prompt_tokens - u->cached_tokens;
    double prompt_ms = (double)u->prefill_ns / 1e6, predicted_ms = (double)u->decode_ns / 1e6;
    buf_printf(
        out,
        ",\"timings\":{\"queue_ms\":%.3f,\"cache_n\":%u,\"prompt_n\":%.0f,\"prompt_ms\":%.3f,"
        "\"prompt_per_token_ms\":%.3f,\"prompt_per_second\":%.3f,\"predicted_n\":%u,"
        "\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.3f,"
        "\"predicted_per_second\":%.3f}",
        (double)u->queue_ns / 1e6, u->cached_tokens, computed, prompt_ms,
        computed > 0 ? prompt_ms / computed : 0, per_second(computed, u->prefill_ns),
        u->completion_tokens, predicted_ms, decoded > 0 ? predicted_ms / decoded : 0,
        per_second(decoded, u->decode_ns));
}

static void put_usage(struct buf *out, const struct request_usage *u) {
    buf_printf(out,
               "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
               u->prompt_tokens, u->completion_tokens, u->prompt_tokens + u->completion_tokens,
               u->cached_tokens);
    put_timings(out, u);
}

void reply_put_last_chunk(struct buf *out, const struct reply_head *h, uint32_t index,
                          enum finish_reason reason, const struct request_usage *u) {
    put_choice_chunk(out, h, index, "", 0, NULL, false, reason);
    put_timings(out, u);
    buf_putc(out, '}');
}

void reply_put_usage_chunk(struct buf *out, const struct reply_head *h,
                           const struct request_usage *u) {
    put_head(out, h);
    buf_puts(out, ",\"choices\":[],");
    put_usage(out, u);
    buf_putc(out, '}');
}

void reply_put_whole(struct buf *out, const struct reply_head *h,
                     const struct reply_choice *choices, size_t n, bool logprobs,
                     const struct request_usage *u) {
    put_head(out, h);
    buf_puts(out, ",\"choices\":[");
    for (size_t i = 0; i < n; i++) {
        const struct reply_choice *c = &choices[i];
        buf_printf(out, "%s{\"index\":%zu,", i ? "," : "", i);
        if (h->chat)
            buf_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
        else
            buf_puts(out, "\"text\":");
        put_string(out, c->text.length ? c->text.data : "", c->text.length);
        if (h->chat) buf_puts(out, ",\"refusal\":null}");
        put_logprobs(out, h->chat, logprobs ? c : NULL);
        put_reason(out, c->reason);
        buf_putc(out, '}');
    }
    buf_puts(out, "],");
    put_usage(out, u);
    buf_putc(out, '}');
}
