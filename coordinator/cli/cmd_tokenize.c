// SPDX-License-Identifier: MIT
/* cmd_tokenize.c: `lockstep tokenize`: text to token ids, or back with --decode.
 *
 * Needs no ranks and no weights: a file that holds a vocabulary only will do.  Reads the argument,
 * or standard input when there is none or it is "-", byte for byte.  In JSON a piece is the text
 * that its token stands for; where those bytes are no whole UTF-8 (half a character) or none at all
 * (a control token) it is the token's spelling in the vocabulary, and bytes that even there are
 * invalid are U+FFFD.  --decode shows control tokens with --parse-special only and adds nothing to
 * the text but, on a terminal, a line's end. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/gguf.h"
#include "common/tokenizer.h"
#include "common/utf8.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"

#define MAX_INPUT_BYTES ((size_t)1 << 30)

static err open_tokenizer(struct tokenizer **out, const char *path) {
    struct gguf *g;
    TRY(gguf_open(&g, path));
    err e = tokenizer_create(out, g);
    gguf_close(g);
    return e == ERR_OK ? e : error_prefix(e, "%s", path);
}

static err read_input(struct buf *text, const struct options *o) {
    if (o->n_args > 0 && strcmp(o->args[0], "-") != 0) {
        buf_puts(text, o->args[0]);
        return ERR_OK;
    }
    char block[65536];
    size_t n;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0 && !text->failed) {
        buf_append(text, block, n);
    }
    if (ferror(stdin)) return FAIL(ERR_IO, "reading standard input: %s", strerror(errno));
    if (text->failed) {
        return FAIL(ERR_USAGE, "standard input holds more than %zu bytes", MAX_INPUT_BYTES);
    }
    return ERR_OK;
}

/* "ID ID …", commas allowed as well. */
static err parse_ids(struct token_list *ids, const struct tokenizer *t, const char *text) {
    while (*(text += strspn(text, " \t\r\n,")) != '\0') {
        size_t length = strcspn(text, " \t\r\n,");
        char *end;
        errno = 0;
        unsigned long long id = strtoull(text, &end, 10);
        if (!isdigit((unsigned char)*text) || end != text + length) {
            return FAIL(ERR_USAGE, "--decode: '%.*s' is no token id",
                        length < 40 ? (int)length : 40, text);
        }
        if (errno == ERANGE || id >= tokenizer_vocab_size(t)) {
            return FAIL(ERR_USAGE, "--decode: the vocabulary has ids 0 to %zu only, not %.*s",
                        tokenizer_vocab_size(t) - 1, length < 40 ? (int)length : 40, text);
        }
        token_list_push(ids, (int32_t)id);
        text = end;
    }
    return ERR_OK;
}

static void put_ids(struct buf *out, const struct token_list *ids, const char *separator) {
    for (size_t i = 0; i < ids->count; i++) {
        buf_printf(out, "%s%d", i > 0 ? separator : "", ids->ids[i]);
    }
}

static void put_json_ids(struct buf *out, const struct token_list *ids) {
    buf_puts(out, "{\"ids\": [");
    put_ids(out, ids, ", ");
    buf_puts(out, "]");
}

static void put_json_string(struct buf *out, const char *bytes, size_t n) {
    buf_putc(out, '"');
    buf_append_json(out, bytes, n);
    buf_putc(out, '"');
}

static void put_json_pieces(struct buf *out, const struct tokenizer *t,
                            const struct token_list *ids) {
    struct buf piece;
    buf_init(&piece, 0);
    buf_puts(out, ", \"pieces\": [");
    for (size_t i = 0; i < ids->count; i++) {
        struct gguf_str spelling = tokenizer_spelling(t, ids->ids[i]);
        buf_clear(&piece);
        tokenizer_decode_piece(t, ids->ids[i], false, &piece);
        if (i > 0) buf_puts(out, ", ");
        if (piece.length > 0 && utf8_valid(piece.data, piece.length)) {
            put_json_string(out, piece.data, piece.length);
        } else {
            put_json_string(out, spelling.data, spelling.length);
        }
    }
    buf_puts(out, "]");
    buf_deinit(&piece);
}

/* `plain` and `json` are the same result in both forms. */
static err print_result(const struct options *o, const struct buf *plain, const struct buf *json) {
    if (o->json_out) TRY(session_write_file(o->json_out, json->data, json->length));
    const struct buf *shown = o->json ? json : plain;
    bool failed =
        shown->length > 0 && fwrite(shown->data, 1, shown->length, stdout) != shown->length;
    if (failed || fflush(stdout) != 0) {
        return FAIL(ERR_IO, "writing to standard output: %s", strerror(errno));
    }
    return ERR_OK;
}

static err encode(const struct options *o, const struct tokenizer *t) {
    struct buf text, plain, json;
    struct token_list ids = {0};
    err e = ERR_OK;
    buf_init(&text, MAX_INPUT_BYTES);
    buf_init(&plain, 0);
    buf_init(&json, 0);
    int flags = (o->add_special ? TOKENIZE_ADD_SPECIAL : 0) |
                (o->parse_special ? TOKENIZE_PARSE_SPECIAL : 0);
    TRY_GOTO(e, read_input(&text, o), done);
    TRY_GOTO(e, tokenizer_encode(t, text.data ? text.data : "", text.length, flags, &ids), done);
    put_ids(&plain, &ids, " ");
    buf_putc(&plain, '\n');
    put_json_ids(&json, &ids);
    put_json_pieces(&json, t, &ids);
    buf_puts(&json, "}\n");
    e = print_result(o, &plain, &json);
done:
    token_list_deinit(&ids);
    buf_deinit(&text);
    buf_deinit(&plain);
    buf_deinit(&json);
    return e;
}

static err decode(const struct options *o, const struct tokenizer *t) {
    struct buf text, json;
    struct token_list ids = {0};
    err e = ERR_OK;
    buf_init(&text, 0);
    buf_init(&json, 0);
    TRY_GOTO(e, parse_ids(&ids, t, o->decode), done);
    tokenizer_decode(t, ids.ids, ids.count, o->parse_special, &text);
    put_json_ids(&json, &ids);
    put_json_pieces(&json, t, &ids);
    buf_puts(&json, ", \"text\": ");
    put_json_string(&json, text.data ? text.data : "", text.length);
    buf_puts(&json, "}\n");
    if (isatty(STDOUT_FILENO)) buf_putc(&text, '\n');
    e = print_result(o, &text, &json);
done:
    token_list_deinit(&ids);
    buf_deinit(&text);
    buf_deinit(&json);
    return e;
}

err cmd_tokenize(const struct options *o) {
    if (o->n_args > (o->decode ? 0 : 1)) {
        return FAIL(ERR_USAGE, "tokenize takes one TEXT (in quotes), or --decode and no TEXT");
    }
    struct tokenizer *t;
    TRY(open_tokenizer(&t, o->model));
    err e = o->decode ? decode(o, t) : encode(o, t);
    tokenizer_free(t);
    return e;
}
