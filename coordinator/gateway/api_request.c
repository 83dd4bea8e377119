// SPDX-License-Identifier: MIT
/* api_request.c: see api_request.h.  Scalars come from the table `fields`; the few fields with a
 * structure of their own (prompt, messages, stop, logit_bias, stream_options) have a function each.
 */

#include "coordinator/gateway/api_request.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/mem.h"
#include "coordinator/gateway/api_chat.h"
#include "coordinator/gateway/chat.h"

struct scalars {
    double temperature, top_p, min_p, presence_penalty, frequency_penalty, repeat_penalty;
    int64_t top_k, n, max_tokens, max_completion_tokens, seed, logprobs_count, top_logprobs;
    bool stream, echo, ignore_eos, logprobs;
    bool has_seed, has_logprobs_count, has_top_logprobs; // said, and not null
};

enum field_type { FIELD_FLOAT, FIELD_INT, FIELD_BOOL, FIELD_IGNORED_STRING };
enum { CHAT = 1, TEXT = 2, BOTH = 3 };

struct field {
    const char *name;
    enum field_type type;
    int where;
    size_t offset;
    double low, high;
    size_t said; // offset of a bool that says the field was there, 0: nobody asks
};

#define AT(member) offsetof(struct scalars, member)
static const struct field fields[] = {
    {"temperature", FIELD_FLOAT, BOTH, AT(temperature), 0, 2, 0},
    {"top_p", FIELD_FLOAT, BOTH, AT(top_p), 0, 1, 0},
    {"min_p", FIELD_FLOAT, BOTH, AT(min_p), 0, 1, 0},
    {"presence_penalty", FIELD_FLOAT, BOTH, AT(presence_penalty), -2, 2, 0},
    {"frequency_penalty", FIELD_FLOAT, BOTH, AT(frequency_penalty), -2, 2, 0},
    {"repeat_penalty", FIELD_FLOAT, BOTH, AT(repeat_penalty), 0.01, 100, 0},
    {"top_k", FIELD_INT, BOTH, AT(top_k), -1, 1e9, 0},
    {"n", FIELD_INT, BOTH, AT(n), 1, REQUEST_MAX_CHOICES, 0},
    {"max_tokens", FIELD_INT, BOTH, AT(max_tokens), 0, 1e15, 0},
    {"max_completion_tokens", FIELD_INT, BOTH, AT(max_completion_tokens), 0, 1e15, 0},
    {"seed", FIELD_INT, BOTH, AT(seed), -9.3e18, 9.3e18, AT(has_seed)},
    {"logprobs", FIELD_INT, TEXT, AT(logprobs_count), 0, REQUEST_MAX_TOP, AT(has_logprobs_count)},
    {"logprobs", FIELD_BOOL, CHAT, AT(logprobs), 0, 0, 0},
    {"top_logprobs", FIELD_INT, CHAT, AT(top_logprobs), 0, REQUEST_MAX_TOP, AT(has_top_logprobs)},
    {"stream", FIELD_BOOL, BOTH, AT(stream), 0, 0, 0},
    {"echo", FIELD_BOOL, TEXT, AT(echo), 0, 0, 0},
    {"ignore_eos", FIELD_BOOL, BOTH, AT(ignore_eos), 0, 0, 0},
    {"user", FIELD_IGNORED_STRING, BOTH, 0, 0, 0, 0},
};
#undef AT

static bool read_field(const struct field *f, const json_t *value, struct scalars *s,
                       struct api_error *e) {
    char *place = (char *)s + f->offset;
    if (f->type == FIELD_IGNORED_STRING)
        return json_is_string(value) || api_refuse(e, f->name, "%s must be a string", f->name);
    if (f->type == FIELD_BOOL) {
        if (!json_is_boolean(value))
            return api_refuse(e, f->name, "%s must be true or false", f->name);
        *(bool *)(void *)place = json_is_true(value);
        return true;
    }
    if (f->type == FIELD_INT ? !json_is_integer(value) : !json_is_number(value))
        return api_refuse(e, f->name, "%s must be %s", f->name,
                          f->type == FIELD_INT ? "an integer" : "a number");
    double v = json_number_value(value);
    if (!(v >= f->low && v <= f->high))
        return api_refuse(e, f->name, "%s is %g, allowed is %g to %g", f->name, v, f->low, f->high);
    if (f->type == FIELD_INT)
        *(int64_t *)(void *)place = json_integer_value(value);
    else
        *(double *)(void *)place = v;
    if (f->said) *(bool *)(void *)((char *)s + f->said) = true;
    return true;
}

static bool read_scalars(const json_t *root, bool chat, struct scalars *s, struct api_error *e) {
    *s = (struct scalars){.temperature = 1,
                          .top_p = 1,
                          .repeat_penalty = 1,
                          .n = 1,
                          .max_tokens = chat ? INT64_MAX : 16,
                          .max_completion_tokens = INT64_MAX};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!(fields[i].where & (chat ? CHAT : TEXT))) continue;
        const json_t *value = json_object_get(root, fields[i].name);
        if (value && !json_is_null(value) && !read_field(&fields[i], value, s, e)) return false;
    }
    if (s->has_top_logprobs && s->top_logprobs > 0 && !s->logprobs)
        return api_refuse(e, "top_logprobs", "top_logprobs needs logprobs to be true");
    return true;
}

static bool read_stop(const json_t *root, struct api_request *r, struct api_error *e) {
    struct request_params *p = &r->params;
    const json_t *stop = r->stop = json_incref(json_object_get(root, "stop"));
    if (!stop || json_is_null(stop)) return true;
    size_t n = json_is_array(stop) ? json_array_size(stop) : 1;
    if (n > REQUEST_MAX_STOPS)
        return api_refuse(e, "stop", "stop has %zu strings, allowed are %d", n, REQUEST_MAX_STOPS);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(s))
            return api_refuse(e, "stop", "stop must be a string or an array of strings");
        size_t length = json_string_length(s);
        if (length == 0) continue; // what would stop at nothing stops nothing
        if (length > REQUEST_MAX_STOP_BYTES || strlen(json_string_value(s)) != length)
            return api_refuse(e, "stop",
                              "a stop string has %zu bytes or a NUL, allowed are %d bytes", length,
                              REQUEST_MAX_STOP_BYTES);
        p->stops[p->n_stops++] = json_string_value(s);
    }
    return true;
}

static bool read_bias(const json_t *root, struct api_request *r, size_t n_vocab,
                      struct api_error *e) {
    json_t *bias = json_object_get(root, "logit_bias");
    if (!bias || json_is_null(bias)) return true;
    if (!json_is_object(bias) || json_object_size(bias) > REQUEST_MAX_BIAS)
        return api_refuse(e, "logit_bias", "logit_bias must be an object with at most %d token ids",
                          REQUEST_MAX_BIAS);
    r->bias = mem_zalloc_array(json_object_size(bias), sizeof *r->bias);
    const char *key;
    json_t *value;
    json_object_foreach(bias, key, value) {
        char *end;
        errno = 0;
        long token = strtol(key, &end, 10);
        bool plain = *key >= '0' && *key <= '9' && !*end; // strtol would take blanks and signs
        if (errno || !plain || (size_t)token >= n_vocab)
            return api_refuse(e, "logit_bias", "logit_bias names '%.20s', token ids are 0 to %zu",
                              key, n_vocab - 1);
        double v = json_number_value(value);
        if (!json_is_number(value) || !(v >= -100 && v <= 100))
            return api_refuse(e, "logit_bias", "logit_bias of token %ld must be -100 to 100",
                              token);
        r->bias[r->params.n_bias++] =
            (struct request_bias){.token = (int32_t)token, .bias = (float)v};
    }
    r->params.bias = r->bias;
    return true;
}

/* ---- prompts ---- */

static bool encode(struct api_request *r, const struct tokenizer *t, const char *text, size_t n,
                   struct api_error *e) {
    int flags = TOKENIZE_ADD_SPECIAL | TOKENIZE_PARSE_SPECIAL;
    const char *name = r->chat ? "messages" : "prompt";
    struct token_list *list = &r->prompts[r->n_prompts];
    if (tokenizer_encode(t, text, n, flags, list) != ERR_OK)
        return api_refuse(e, name, "%s", error_message());
    if (list->count == 0) return api_refuse(e, name, "%s is empty: give at least one token", name);
    r->n_prompts++;
    return true;
}

static bool read_ids(struct api_request *r, const json_t *array, size_t n_vocab,
                     struct api_error *e) {
    struct token_list *list = &r->prompts[r->n_prompts];
    size_t i;
    json_t *id;
    json_array_foreach(array, i, id) {
        json_int_t v = json_integer_value(id);
        if (!json_is_integer(id) || v < 0 || (uint64_t)v >= n_vocab)
            return api_refuse(e, "prompt", "prompt[%zu] is no token id (0 to %zu)", i, n_vocab - 1);
        token_list_push(list, (int32_t)v);
    }
    if (list->count == 0)
        return api_refuse(e, "prompt", "an array of token ids in prompt is empty");
    r->n_prompts++;
    return true;
}

/* A string, an array of strings, an array of ids, or an array of arrays of ids. */
static bool read_prompt(const json_t *root, struct api_request *r, const struct tokenizer *t,
                        struct api_error *e) {
    const json_t *prompt = json_object_get(root, "prompt");
    size_t n_vocab = tokenizer_vocab_size(t);
    if (json_is_string(prompt))
        return encode(r, t, json_string_value(prompt), json_string_length(prompt), e);
    if (!json_is_array(prompt) || json_array_size(prompt) == 0)
        return api_refuse(e, "prompt",
                          "prompt must be a string, an array of strings or of token ids");
    if (json_is_integer(json_array_get(prompt, 0))) return read_ids(r, prompt, n_vocab, e);
    size_t n = json_array_size(prompt);
    if (n > API_MAX_PROMPTS)
        return api_refuse(e, "prompt", "prompt has %zu entries, allowed are %d", n,
                          API_MAX_PROMPTS);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(prompt, i);
        bool ok =
            json_is_string(one) ? encode(r, t, json_string_value(one), json_string_length(one), e)
            : json_is_array(one)
                ? read_ids(r, one, n_vocab, e)
                : api_refuse(e, "prompt", "prompt[%zu] must be a string or an array of ids", i);
        if (!ok) return false;
    }
    return true;
}

/* A template says itself where the text begins: BOS is added when it has not written it, EOS never.
 */
static bool encode_rendered(struct api_request *r, const struct tokenizer *t,
                            const struct buf *text, struct api_error *e) {
    struct token_list *list = &r->prompts[r->n_prompts];
    int32_t bos = tokenizer_adds_bos(t) ? tokenizer_bos(t) : -1;
    struct gguf_str name = bos >= 0 ? tokenizer_spelling(t, bos) : (struct gguf_str){0};
    bool written = name.length > 0 && name.length <= text->length &&
                   memcmp(text->data, name.data, name.length) == 0;
    if (bos >= 0 && !written) token_list_push(list, bos);
    if (tokenizer_encode(t, text->length ? text->data : "", text->length, TOKENIZE_PARSE_SPECIAL,
                         list) != ERR_OK)
        return api_refuse(e, "messages", "%s", error_message());
    if (list->count == 0) return api_refuse(e, "messages", "messages make an empty prompt");
    r->n_prompts++;
    return true;
}

static bool read_messages(const json_t *root, struct api_request *r, const struct tokenizer *t,
                          const struct chat_template *c, struct api_error *e) {
    struct buf prompt;
    char param[64];
    buf_init(&prompt, 0);
    bool ok = api_chat_put_prompt(&prompt, root, c, param) == ERR_OK ||
              api_refuse(e, param, "%s", error_message());
    if (ok && !chat_template_is_plain(c)) {
        ok = encode_rendered(r, t, &prompt, e);
    } else if (ok) {
        ok = encode(r, t, prompt.data, prompt.length, e);
        if (r->params.n_stops < REQUEST_MAX_STOPS)
            r->params.stops[r->params.n_stops++] = CHAT_PLAIN_STOP;
    }
    buf_deinit(&prompt);
    return ok;
}

/* ---- all of it ---- */

static bool read_model(const json_t *root, const char *model_id, struct api_error *e) {
    const json_t *model = json_object_get(root, "model");
    if (!model || json_is_null(model)) return true;
    if (!json_is_string(model)) return api_refuse(e, "model", "model must be a string");
    if (strcmp(json_string_value(model), model_id) == 0 || json_string_length(model) == 0)
        return true;
    api_refuse(e, "model", "there is no model '%.60s' here; this server has '%.100s'",
               json_string_value(model), model_id);
    e->status = 404;
    snprintf(e->code, sizeof e->code, "model_not_found");
    return false;
}

static bool read_stream_options(const json_t *root, struct api_request *r, struct api_error *e) {
    const json_t *options = json_object_get(root, "stream_options");
    if (!options || json_is_null(options)) return true;
    if (!json_is_object(options))
        return api_refuse(e, "stream_options", "stream_options must be an object");
    const json_t *usage = json_object_get(options, "include_usage");
    if (usage && !json_is_boolean(usage) && !json_is_null(usage))
        return api_refuse(e, "stream_options",
                          "stream_options.include_usage must be true or false");
    r->include_usage = json_is_true(usage);
    return true;
}

static uint32_t to_u32(int64_t v) {
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* A seed nobody chose.  getrandom cannot fail for 8 bytes once the system is up. */
static uint64_t random_seed(void) {
    uint64_t seed = 0;
    CHECK(getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed);
    return seed;
}

static void use_scalars(struct api_request *r, const struct scalars *s) {
    struct request_params *p = &r->params;
    int64_t most = s->max_completion_tokens != INT64_MAX ? s->max_completion_tokens : s->max_tokens;
    p->max_tokens = to_u32(most);
    p->n = to_u32(s->n);
    p->sampling = (struct sampling){.temperature = (float)s->temperature,
                                    .top_k = to_u32(s->top_k),
                                    .top_p = (float)s->top_p,
                                    .min_p = (float)s->min_p,
                                    .seed = (uint64_t)s->seed};
    if (!s->has_seed) p->sampling.seed = random_seed();
    p->presence_penalty = (float)s->presence_penalty;
    p->frequency_penalty = (float)s->frequency_penalty;
    p->repeat_penalty = (float)s->repeat_penalty;
    p->ignore_eos = s->ignore_eos;
    r->stream = s->stream;
    r->echo = s->echo;
    p->want_logprobs = r->chat ? s->logprobs : s->has_logprobs_count;
    p->top_n = to_u32(r->chat ? s->top_logprobs : s->logprobs_count);
    p->want_prompt = r->echo && p->want_logprobs;
    p->prompt_top_n = p->want_prompt ? p->top_n : 0;
}

static bool read_all(const json_t *root, struct api_request *r, const struct tokenizer *t,
                     const struct chat_template *c, const char *model_id, struct api_error *e) {
    struct scalars s;
    if (!read_model(root, model_id, e) || !read_scalars(root, r->chat, &s, e) ||
        !read_stop(root, r, e) || !read_bias(root, r, tokenizer_vocab_size(t), e) ||
        !read_stream_options(root, r, e))
        return false;
    use_scalars(r, &s);
    if (r->params.max_tokens == 0 && !r->echo) {
        bool newer = s.max_completion_tokens != INT64_MAX;
        const char *name = newer ? "max_completion_tokens" : "max_tokens";
        return api_refuse(e, name, "%s must be at least 1 (0 only with echo)", name);
    }
    return r->chat ? read_messages(root, r, t, c, e) : read_prompt(root, r, t, e);
}

bool api_request_parse(struct api_request *r, bool chat, const char *body, size_t n,
                       const struct tokenizer *t, const struct chat_template *c,
                       const char *model_id, struct api_error *e) {
    *r = (struct api_request){.chat = chat};
    request_params_init(&r->params);
    json_t *root = api_body_parse(body, n, e); // may be large: only `stop` is kept
    bool ok = root && read_all(root, r, t, c, model_id, e);
    json_decref(root);
    if (!ok) api_request_deinit(r);
    return ok;
}

void api_request_deinit(struct api_request *r) {
    for (size_t i = 0; i < API_MAX_PROMPTS; i++) token_list_deinit(&r->prompts[i]);
    mem_free(r->bias);
    json_decref(r->stop);
    *r = (struct api_request){0};
}
