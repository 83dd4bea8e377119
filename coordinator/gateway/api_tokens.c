// SPDX-License-Identifier: MIT
/* api_tokens.c: POST /tokenize and /detokenize: text as the model's tokens and back, as
 * llama-server has them.
 *
 *   {"content", "add_special", "parse_special", "with_pieces"} → {"tokens": [ids or {id, piece}]}
 *   {"tokens": [ids]}                                          → {"content"}
 *
 * A piece that is no whole text is an array of its bytes.  Both directions are bounded, so that
 * what one request takes of memory and time is. */

#include "common/utf8.h"
#include "coordinator/gateway/api_answer.h"
#include "coordinator/gateway/router.h"

#define MAX_TEXT_BYTES ((size_t)1 << 20)

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

static void put_tokens(struct buf *json, const struct tokenizer *t, const struct token_list *ids,
                       bool with_pieces) {
    buf_puts(json, "{\"tokens\":[");
    for (size_t i = 0; i < ids->count; i++) {
        buf_printf(json, with_pieces ? "%s{\"id\":%d,\"piece\":" : "%s%d", i ? "," : "",
                   ids->ids[i]);
        if (!with_pieces) continue;
        put_piece(json, t, ids->ids[i]);
        buf_putc(json, '}');
    }
    buf_puts(json, "]}");
}

static bool tokenize(const struct api_input *in, struct buf *json, struct api_error *e) {
    bool add_special = false, parse_special = true, with_pieces = false;
    if (!api_body_flag(in->root, "add_special", &add_special, e) ||
        !api_body_flag(in->root, "parse_special", &parse_special, e) ||
        !api_body_flag(in->root, "with_pieces", &with_pieces, e))
        return false;
    const json_t *content = json_object_get(in->root, "content");
    if (!json_is_string(content) || json_string_length(content) > MAX_TEXT_BYTES)
        return api_refuse(e, "content", "content must be a string of at most 1 MiB");
    struct token_list ids = {0};
    int flags =
        (add_special ? TOKENIZE_ADD_SPECIAL : 0) | (parse_special ? TOKENIZE_PARSE_SPECIAL : 0);
    bool good = tokenizer_encode(in->tokenizer, json_string_value(content),
                                 json_string_length(content), flags, &ids) == ERR_OK ||
                api_refuse(e, "content", "%s", error_message());
    if (good) put_tokens(json, in->tokenizer, &ids, with_pieces);
    token_list_deinit(&ids);
    return good;
}

void api_tokenize(struct gateway *g, const struct http_request *request, const char *rest,
                  const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest;
    api_answer(g, request, tokenize, responder, conn, x);
}

/* ---- to text ---- */

/* False with *e filled in at what is no token. */
static bool read_ids(const json_t *root, size_t n_vocab, struct token_list *ids,
                     struct api_error *e) {
    const json_t *tokens = json_object_get(root, "tokens"), *id;
    size_t i;
    if (!json_is_array(tokens))
        return api_refuse(e, "tokens", "tokens must be an array of token ids");
    json_array_foreach((json_t *)tokens, i, id) {
        json_int_t v = json_integer_value(id);
        if (!json_is_integer(id) || v < 0 || (uint64_t)v >= n_vocab)
            return api_refuse(e, "tokens", "tokens[%zu] is no token id (0 to %zu)", i, n_vocab - 1);
        token_list_push(ids, (int32_t)v);
    }
    return true;
}

static bool detokenize(const struct api_input *in, struct buf *json, struct api_error *e) {
    struct token_list ids = {0};
    struct buf text;
    buf_init(&text, MAX_TEXT_BYTES);
    bool good = read_ids(in->root, tokenizer_vocab_size(in->tokenizer), &ids, e);
    if (good) tokenizer_decode(in->tokenizer, ids.ids, ids.count, true, &text);
    if (text.failed) good = api_refuse(e, "tokens", "tokens make a text of more than 1 MiB");
    if (good) {
        buf_puts(json, "{\"content\":\"");
        buf_append_json(json, text.length ? text.data : "", text.length);
        buf_puts(json, "\"}");
    }
    buf_deinit(&text);
    token_list_deinit(&ids);
    return good;
}

void api_detokenize(struct gateway *g, const struct http_request *request, const char *rest,
                    const struct responder *responder, void *conn, struct exchange **x) {
    (void)rest;
    api_answer(g, request, detokenize, responder, conn, x);
}
