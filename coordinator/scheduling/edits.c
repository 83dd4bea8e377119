// SPDX-License-Identifier: MIT
/* edits.c: see edits.h.  Presence and frequency penalties follow the OpenAI API's definition
 * (subtracted from the logit, over generated tokens), the repeat penalty CTRL (arXiv 1909.05858).
 */

#include "coordinator/scheduling/edits.h"

#include <math.h>

struct edit_list {
    struct logit_edit *edits; // the first `sorted` ones by ascending token
    uint32_t count, limit, sorted;
};

/* The edit of `token`, looked for among the first `known` ones, or a new one; NULL when full. */
static struct logit_edit *edit_of(struct edit_list *l, int32_t token, uint32_t known) {
    uint32_t begin = 0, end = l->sorted;
    while (begin < end) {
        uint32_t middle = begin + (end - begin) / 2;
        if (l->edits[middle].token < token)
            begin = middle + 1;
        else
            end = middle;
    }
    if (begin < l->sorted && l->edits[begin].token == token) return &l->edits[begin];
    for (uint32_t i = l->sorted; i < known; i++) {
        if (l->edits[i].token == token) return &l->edits[i];
    }
    if (l->count == l->limit) return NULL;
    l->edits[l->count] = (struct logit_edit){.token = token, .repeat = 1};
    return &l->edits[l->count++];
}

bool edits_depend_on_text(const struct request_params *p) {
    return p->repeat_penalty != 1 || p->presence_penalty != 0 || p->frequency_penalty != 0;
}

uint32_t edits_build(const struct sequence *s, struct logit_edit *out, uint32_t limit) {
    struct edit_list list = {.edits = out, .limit = limit};
    const struct request_params *p = &s->request->params;
    // Biases come first: when the list is full it is a penalty that is missing, never a ban.
    for (size_t i = 0; i < p->n_bias && list.count < limit; i++)
        out[list.count++] =
            (struct logit_edit){.token = p->bias[i].token, .repeat = 1, .bias = p->bias[i].bias};
    list.sorted = list.count;
    if (p->repeat_penalty != 1) {
        uint32_t first = s->n_tokens > EDITS_REPEAT_WINDOW ? s->n_tokens - EDITS_REPEAT_WINDOW : 0;
        for (uint32_t i = first; i < s->n_tokens; i++) {
            struct logit_edit *e = edit_of(&list, s->tokens[i], list.count);
            if (e) e->repeat = p->repeat_penalty;
        }
    }
    uint32_t known = list.count; // the counted tokens are distinct: no need to look among them
    for (uint32_t i = 0; i < s->n_counts; i++) {
        struct logit_edit *e = edit_of(&list, s->counts[i].token, known);
        if (e) e->bias -= p->presence_penalty + p->frequency_penalty * (float)s->counts[i].count;
    }
    return list.count;
}
