// SPDX-License-Identifier: MIT
/* api_tokens.c: POST /tokenize and /detokenize: text as the model's tokens and back, as
 * llama-server has them.
 *
 *   {"content", "add_special", "parse_special", "with_pieces"} → {"tokens": [ids or {id, piece}]}
 *   {"tokens": [ids]}                                          → {"content"}
 *
 * A piece that is no whole text is an array of its bytes.  Both directions are bounded, so that
 * what one request takes of memory and time is. */

#include <stdio.h>
#include <string.h>

#include "common/utf8.h"
#include "coordinator/gateway/api_body.h"
#include "coordinator/gateway/router.h"

#define MAX_TEXT_BYTES ((size_t)1 << 20)

static void refuse(const struct responder *responder, void *conn, const char *param,
                   const char *message) {
    gateway_reply_error(responder, conn, 400, "invalid_request_error", param, NULL, message);
}

/* NULL after 503 was answered: the model is not known yet. */
static const struct tokenizer *get_tokenizer(const struct gateway *g,
                                             const struct responder *responder, void *conn) {
    const struct cluster_info *info = engine_info(g->engine);
    if (info) return info->tokenizer;
    gateway_reply_unready(g, responder, conn);
    return NULL;
}

/* ---- to tokens ---- */

static void put_piece(struct buf *out, const struct tokenizer *t, int32_t id) {
    struct buf piece;
    buf_init(&piece, 0);
    tokenizer_decode_piece(t, id, true, &piece);
    const char *s = piece.length ? piece.data : "";
    if (utf8_valid(s, piece.length)) {
        buf_putc(out, '"');
        buf_append_json(out, s, piece.length);
        buf_putc(out, '"');
    } else {
        for (size_t i = 0; i < piece.length; i++)
            buf_printf(out, "%c%u", i ? ',' : '[', (unsigned char)s[i]);
        buf_putc(out, ']');
    }
    buf_deinit(&piece);
}

static void reply_tokens(const struct tokenizer *t, const struct token_list *ids, bool with_pieces,
                         const struct responder *responder, void *conn) {
    struct buf json;
    buf_init(&json, 0);
    buf_puts(&json, "{\"tokens\":[");
    for (size_t i = 0; i < ids->count; i++) {
        buf_printf(&json, with_pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", i ? "," : "",
                   ids->ids[i]);
        if (!with_pieces) continue;
        put_piece(&json, t, ids->ids[i]);
        buf_putc(&json, '}');
    }
    buf_puts(&json, "]}");
    gateway_reply(responder, conn, 200, NULL, &json);
    buf_deinit(&json);
}

static void tokenize(const struct tokenizer *t, const json_t *root,
                     const struct responder *responder, void *conn) {
    bool add_special = false, parse_special = true, with_pieces = false;
    if (!api_body_flag(root, "add_special", &add_special, responder, conn) ||
        !api_body_flag(root, "parse_special", &parse_special, responder, conn) ||
        !api_body_flag(root, "with_pieces", &with_pieces, responder, conn))
        return;
    const json_t *content = json_object_get(root, "content");
    if (!json_is_string(content) || json_string_length(content) > MAX_TEXT_BYTES) {
        refuse(responder, conn, "content", "content must be a string of at most 1 MiB");
        return;
    }
    struct token_list ids = {0};
    int flags =
        (add_special ? TOKENIZE_ADD_SPECIAL : 0) | (parse_special ? TOKENIZE_PARSE_SPECIAL : 0);
    if (tokenizer_encode(t, json_string_value(content), json_string_length(content), flags, &ids) ==
        ERR_OK)
        reply_tokens(t, &ids, with_pieces, responder, conn);
    else
        refuse(responder, conn, "content", error_message());
    token_list_deinit(&ids);
}

void api_tokenize(struct gateway *g, const struct http_request *request, const char *rest,
                  const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest, (void)x;
    const struct tokenizer *t = get_tokenizer(g, responder, conn);
    json_t *root = t ? api_body_read(request, responder, conn) : NULL;
    if (root) tokenize(t, root, responder, conn);
    json_decref(root);
}

/* ---- to text ---- */

/* Answers 400 and returns false at what is no token. */
static bool read_ids(const json_t *root, size_t n_vocab, struct token_list *ids,
                     const struct responder *responder, void *conn) {
    const json_t *tokens = json_object_get(root, "tokens"), *id;
    char message[120] = "tokens must be an array of token ids";
    size_t i;
    bool good = json_is_array(tokens);
    json_array_foreach((json_t *)tokens, i, id) {
        json_int_t v = json_integer_value(id);
        good = json_is_integer(id) && v >= 0 && (uint64_t)v < n_vocab;
        if (!good) {
            snprintf(message, sizeof message, "tokens[%zu] is no token id (0 to %zu)", i,
                     n_vocab - 1);
            break;
        }
        token_list_push(ids, (int32_t)v);
    }
    if (!good) refuse(responder, conn, "tokens", message);
    return good;
}

static void detokenize(const struct tokenizer *t, const json_t *root,
                       const struct responder *responder, void *conn) {
    struct token_list ids = {0};
    struct buf text, json;
    buf_init(&text, MAX_TEXT_BYTES);
    buf_init(&json, 0);
    if (read_ids(root, tokenizer_vocab_size(t), &ids, responder, conn)) {
        tokenizer_decode(t, ids.ids, ids.count, true, &text);
        if (text.failed) {
            refuse(responder, conn, "tokens", "tokens make a text of more than 1 MiB");
        } else {
            buf_puts(&json, "{\"content\":\"");
            buf_append_json(&json, text.length ? text.data : "", text.length);
            buf_puts(&json, "\"}");
            gateway_reply(responder, conn, 200, NULL, &json);
        }
    }
    buf_deinit(&json);
    buf_deinit(&text);
    token_list_deinit(&ids);
}

void api_detokenize(struct gateway *g, const struct http_request *request, const char *rest,
                    const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest, (void)x;
    const struct tokenizer *t = get_tokenizer(g, responder, conn);
    json_t *root = t ? api_body_read(request, responder, conn) : NULL;
    if (root) detokenize(t, root, responder, conn);
    json_decref(root);
}
