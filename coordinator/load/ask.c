// SPDX-License-Identifier: MIT
/* ask.c: see ask.h. */

#include "coordinator/load/ask.h"

#include <math.h>
#include <string.h>

#include "coordinator/load/pseudo_text.h"

#define PREFIX_TEXT UINT64_MAX // its number among the texts of a run

static void put_head(struct buf *out, const struct ask_form *f, const char *method,
                     const char *path) {
    buf_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: lockstep-load\r\n", method,
               f->target->prefix, path, f->target->authority);
    if (f->api_key) buf_printf(out, "Authorization: Bearer %s\r\n", f->api_key);
}

static void put_prompt(struct buf *out, const struct ask_form *f, uint64_t number, uint32_t words) {
    if (f->prefix_words) {
        pseudo_text_put(out, pseudo_text_seed(f->seed, PREFIX_TEXT), f->prefix_words);
        buf_putc(out, ' ');
    }
    pseudo_text_put(out, pseudo_text_seed(f->seed, number), words);
}

static void put_body(struct buf *out, const struct ask_form *f, uint64_t number, uint32_t words,
                     uint32_t max_tokens) {
    buf_puts(out, "{\"model\":\"");
    buf_append_json(out, f->model, strlen(f->model));
    buf_puts(out,
             f->chat ? "\",\"messages\":[{\"role\":\"user\",\"content\":\"" : "\",\"prompt\":\"");
    put_prompt(out, f, number, words);
    buf_printf(out,
               "\"%s,\"max_tokens\":%u,\"temperature\":%g,\"stream\":true,"
               "\"stream_options\":{\"include_usage\":true}%s}",
               f->chat ? "}]" : "", max_tokens, f->temperature,
               f->may_stop ? "" : ",\"ignore_eos\":true");
}

void ask_put_completion(struct buf *out, const struct ask_form *f, uint64_t number, uint32_t words,
                        uint32_t max_tokens) {
    struct buf body;
    buf_init(&body, 0);
    put_body(&body, f, number, words, max_tokens);
    put_head(out, f, "POST", f->chat ? "/v1/chat/completions" : "/v1/completions");
    buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.length);
    buf_append(out, body.data, body.length);
    buf_deinit(&body);
}

void ask_put_get(struct buf *out, const struct ask_form *f, const char *path) {
    put_head(out, f, "GET", path);
    buf_puts(out, "\r\n");
}

struct ask_fit ask_fit_make(uint32_t words_1, uint32_t tokens_1, uint32_t words_2,
                            uint32_t tokens_2) {
    if (words_2 > words_1 && tokens_2 > tokens_1) {
        double per_word = (double)(tokens_2 - tokens_1) / (words_2 - words_1);
        double fixed = tokens_1 - per_word * words_1;
        if (fixed >= 0) return (struct ask_fit){.fixed = fixed, .per_word = per_word};
    }
    // No straight line: all of it counts as the words' own.
    double per_word = words_2 && tokens_2 ? (double)tokens_2 / words_2 : 1;
    return (struct ask_fit){.per_word = per_word};
}

uint32_t ask_words_for(const struct ask_fit *fit, uint32_t tokens, bool part) {
    double words = round((tokens - (part ? 0 : fit->fixed)) / fit->per_word);
    if (words > tokens) words = tokens; // a word is at least one token, whatever the server says
    return words < 1 ? 1 : (uint32_t)words;
}
