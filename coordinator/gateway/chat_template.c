// SPDX-License-Identifier: MIT
/* chat_template.c: see chat_template.h. */

#include "coordinator/gateway/chat_template.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "coordinator/gateway/chat_shape.h"

#define KEY   "tokenizer.chat_template"
#define PLAIN "plain"
#define TOOLS "tool_use" // the name of a second template, for chats with tools

struct variant {
    struct template *template; // NULL: there is none, or it is broken
    char *broken;              // why it does not parse
    struct chat_shape shape;
};

struct chat_template {
    const char *choice;
    struct variant main, with_tools;
    json_t *tokens; // {"bos_token": "…", "eos_token": "…"}
};

/* ---- where templates come from ---- */

static err read_file(const char *path, struct buf *out) {
    FILE *f = fopen(path, "rbe");
    char piece[4096];
    size_t n;
    if (!f) return FAIL(ERR_USAGE, "'%.200s' cannot be read: %s", path, strerror(errno));
    while (!out->failed && (n = fread(piece, 1, sizeof piece, f)) > 0) buf_append(out, piece, n);
    bool failed = ferror(f);
    int code = errno;
    fclose(f);
    if (failed) return FAIL(ERR_USAGE, "'%.200s' cannot be read: %s", path, strerror(code));
    return ERR_OK;
}

static bool is_file(const char *path) {
    FILE *f = fopen(path, "rbe");
    if (f) fclose(f);
    return f || errno != ENOENT;
}

static err use_file(struct chat_template *c) {
    struct buf source;
    buf_init(&source, TEMPLATE_MAX_SOURCE_BYTES + 4096);
    err e = read_file(c->choice, &source);
    if (e == ERR_OK &&
        template_parse(&c->main.template, source.data ? source.data : "", source.length) != ERR_OK)
        e = FAIL(ERR_USAGE, "'%.200s' is no chat template: %s", c->choice, error_message());
    buf_deinit(&source);
    return e == ERR_OK ? e : error_prefix(e, "--chat-template");
}

err chat_template_create(struct chat_template **out, const char *choice) {
    struct chat_template *c = mem_zalloc(sizeof *c);
    c->choice = choice;
    c->tokens = json_object();
    if (choice && strcmp(choice, PLAIN) != 0 && is_file(choice)) {
        err e = use_file(c);
        if (e != ERR_OK) {
            chat_template_free(c);
            return e;
        }
    }
    *out = c;
    return ERR_OK;
}

void chat_template_free(struct chat_template *c) {
    if (!c) return;
    template_free(c->main.template);
    template_free(c->with_tools.template);
    mem_free(c->main.broken);
    mem_free(c->with_tools.broken);
    json_decref(c->tokens);
    mem_free(c);
}

/* The template under `name` in the model (NULL: the one without a name); *found says whether it is
 * there. */
static void use_key(struct variant *v, const struct gguf *g, const char *name, bool *found) {
    char key[200];
    snprintf(key, sizeof key, name ? KEY ".%s" : KEY, name);
    const struct gguf_kv *kv = gguf_find(g, key);
    *found = kv && kv->type == GGUF_STRING;
    if (!*found || template_parse(&v->template, kv->s.data, kv->s.length) == ERR_OK) return;
    log_warn("%s: %s cannot be used: %s", gguf_name(g), key, error_message());
    v->broken = mem_strdup(error_message());
}

static err use_name(struct chat_template *c, const struct gguf *g) {
    struct buf names;
    bool found;
    use_key(&c->main, g, c->choice, &found);
    if (found) return ERR_OK;
    buf_init(&names, 500);
    for (size_t i = 0; i < gguf_kv_count(g); i++) {
        struct gguf_str key = gguf_kv_at(g, i)->key;
        if (key.length <= strlen(KEY ".") || memcmp(key.data, KEY ".", strlen(KEY ".")) != 0)
            continue;
        buf_puts(&names, names.length ? ", " : "; it has ");
        buf_append(&names, key.data + strlen(KEY "."), key.length - strlen(KEY "."));
    }
    err e = FAIL(ERR_USAGE,
                 "--chat-template: '%.200s' is neither a file nor the name of a template in the "
                 "model%s",
                 c->choice, names.data ? names.data : "");
    buf_deinit(&names);
    return e;
}

/* ---- what a template is given ---- */

/* A token's spelling, "" when the model has none: a template may add it to a string. */
static void set_token(json_t *tokens, const char *name, const struct tokenizer *t, int32_t id) {
    struct gguf_str s = id >= 0 ? tokenizer_spelling(t, id) : (struct gguf_str){0};
    json_t *value = json_stringn(s.length ? s.data : "", s.length); // NULL: not UTF-8
    json_object_set_new(tokens, name, value ? value : json_string(""));
}

err chat_template_use_model(struct chat_template *c, const struct gguf *g,
                            const struct tokenizer *t) {
    bool found;
    set_token(c->tokens, "bos_token", t, tokenizer_bos(t));
    set_token(c->tokens, "eos_token", t, tokenizer_eos(t));
    if (c->choice && strcmp(c->choice, PLAIN) == 0) return ERR_OK;
    if (!c->choice) {
        use_key(&c->main, g, NULL, &found);
        use_key(&c->with_tools, g, TOOLS, &found);
    } else if (!c->main.template) {
        TRY(use_name(c, g));
    }
    struct variant *const variants[] = {&c->main, &c->with_tools};
    for (size_t i = 0; i < 2; i++)
        if (variants[i]->template)
            variants[i]->shape = chat_shape_of(variants[i]->template, c->tokens);
    return ERR_OK;
}

bool chat_template_is_plain(const struct chat_template *c) {
    return !c || (!c->main.template && !c->main.broken);
}

err chat_template_render(const struct chat_template *c, const struct chat_input *in,
                         struct buf *out) {
    bool tools = json_array_size(in->tools) > 0;
    const struct variant *v = tools && c->with_tools.template ? &c->with_tools : &c->main;
    if (!v->template)
        return FAIL(ERR_REQUEST,
                    "the model's chat template cannot be used: %s.  The server needs "
                    "--chat-template FILE, or --chat-template plain",
                    v->broken);
    json_t *variables = json_copy(c->tokens);
    json_object_set_new(variables, "messages", chat_shape_messages(&v->shape, in->messages));
    json_object_set_new(variables, "add_generation_prompt",
                        json_boolean(in->add_generation_prompt));
    if (tools) json_object_set(variables, "tools", (json_t *)in->tools);
    if (in->variables) json_object_update(variables, (json_t *)in->variables);
    err e = template_render(v->template, variables, in->now_s, out);
    json_decref(variables);
    return e;
}
