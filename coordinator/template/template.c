// SPDX-License-Identifier: MIT
/* template.c: see template.h: a template from its source, and one rendering from beginning to end.
 */

#include "coordinator/template/template.h"

#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "coordinator/template/tpl_eval.h"
#include "coordinator/template/tpl_globals.h"
#include "coordinator/template/tpl_json.h"
#include "coordinator/template/tpl_parser.h"

struct template {
    struct tpl_arena arena;
    struct text source; // as it was given
    struct node_list body;
};

static err parse(struct template *t, const char *source, size_t n) {
    struct tpl_source prepared;
    struct token *tokens;
    if (n > TEMPLATE_MAX_SOURCE_BYTES)
        return FAIL(ERR_MODEL, "a template may have %zu bytes, this one has %zu",
                    TEMPLATE_MAX_SOURCE_BYTES, n);
    if (!utf8_valid(source, n)) return FAIL(ERR_MODEL, "the template is not valid UTF-8");
    char *copy = tpl_arena_grow(&t->arena, NULL, 0, n);
    if (!copy) return FAIL(ERR_MEMORY, "there is no memory for a template of %zu bytes", n);
    if (n) memcpy(copy, source, n);
    t->source = (struct text){copy, (uint32_t)n};
    TRY(tpl_source_prepare(&prepared, &t->arena, source, n));
    TRY(tpl_lexer_run(&tokens, &t->arena, &prepared));
    return tpl_parser_run(&t->body, &t->arena, tokens);
}

err template_parse(struct template **out, const char *source, size_t n) {
    struct template *t = mem_zalloc(sizeof *t);
    tpl_arena_init(&t->arena, TEMPLATE_MAX_MEMORY_BYTES);
    err e = parse(t, source, n);
    if (e != ERR_OK) {
        template_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void template_free(struct template *t) {
    if (!t) return;
    tpl_arena_deinit(&t->arena);
    mem_free(t);
}

static err add_variables(struct run *r, const json_t *variables, struct scope *s) {
    for (void *i = json_object_iter((json_t *)variables); i;
         i = json_object_iter_next((json_t *)variables, i)) {
        struct text name = {json_object_iter_key(i), (uint32_t)json_object_iter_key_len(i)};
        struct value v;
        TRY(tpl_json_read(r, json_object_iter_value(i), &v));
        TRY(tpl_scope_set(r, s, name, v));
    }
    return ERR_OK;
}

static err render(struct run *r, const struct template *t, const json_t *variables) {
    struct scope *s;
    TRY(tpl_scope_create(r, NULL, &s));
    TRY(tpl_globals_add(r, s));
    TRY(add_variables(r, variables, s));
    return tpl_exec(r, &t->body, s);
}

err template_render(const struct template *t, const json_t *variables, int64_t now_s,
                    struct buf *out) {
    struct run r = {.now_s = now_s};
    tpl_arena_init(&r.arena, TEMPLATE_MAX_MEMORY_BYTES);
    buf_init(&r.out, TEMPLATE_MAX_OUTPUT_BYTES);
    err e = render(&r, t, variables);
    if (e == ERR_OK) tpl_text_put_clean(out, (struct text){r.out.data, (uint32_t)r.out.length});
    if (e != ERR_OK && !r.raised && r.line) e = error_prefix(e, "line %u", r.line);
    buf_deinit(&r.out);
    tpl_arena_deinit(&r.arena);
    return e;
}

bool template_mentions(const struct template *t, const char *word) {
    return tpl_text_find(t->source, tpl_text_of(word), 0) != TEXT_NOT_FOUND;
}
