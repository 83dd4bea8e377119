// SPDX-License-Identifier: MIT
/* inspect.c: see inspect.h.
 *
 * Everything becomes JSON first and the text is written from that, so the two cannot disagree and
 * the file's bytes are made harmless in one place.  Keys and tensors go one by one: a file with
 * very many of them does not become a tree in memory.  Loop thread of `lockstep inspect`. */

#include "coordinator/cli/inspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model.h"
#include "common/utf8.h"

#define SHOWN_ELEMENTS 8  // of an array
#define SHOWN_BYTES    64 // of a string, in the table

/* ---- values ------------------------------------------------------------------------------ */

/* Bytes of the file as a JSON string; what is not UTF-8 becomes U+FFFD. */
static json_t *string_json(struct gguf_str s) {
    if (utf8_valid(s.data, s.length)) return json_stringn_nocheck(s.data, s.length);
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < s.length;) {
        size_t width = utf8_sequence(s.data + i, s.length - i, NULL);
        if (width > 0)
            buf_append(&b, s.data + i, width);
        else
            buf_puts(&b, "\xEF\xBF\xBD");
        i += width > 0 ? width : 1;
    }
    json_t *json = json_stringn_nocheck(b.data, b.length);
    buf_deinit(&b);
    return json;
}

static json_t *unsigned_json(uint64_t u) {
    if (u <= INT64_MAX) return json_integer((json_int_t)u);
    return json_sprintf("%" PRIu64, u);
}

/* The shortest decimal that is the same f32 (or f64): 1e-05, not 9.99999975e-06. */
static json_t *float_json(double value, bool is_f32) {
    char text[320]; // the longest that %g may claim to need
    if (!isfinite(value)) return json_sprintf("%f", value);
    int digits = is_f32 ? 6 : 15;
    double back;
    do {
        snprintf(text, sizeof text, "%.*g", digits++, value);
        back = strtod(text, NULL);
    } while (is_f32 ? (float)back != (float)value : back != value);
    return json_real(back);
}

/* Element i of an array of numbers or bools. */
static json_t *element_json(const struct gguf_array *a, size_t i) {
    const uint8_t *p = a->data + i * gguf_type_bytes(a->type);
    uint64_t raw = 0;
    float f;
    double d;
    memcpy(&raw, p, gguf_type_bytes(a->type)); // little endian, as the file
    switch (a->type) {
    case GGUF_I8: return json_integer((int8_t)raw);
    case GGUF_I16: return json_integer((int16_t)raw);
    case GGUF_I32: return json_integer((int32_t)raw);
    case GGUF_I64: return json_integer((int64_t)raw);
    case GGUF_F32: memcpy(&f, p, sizeof f); return float_json((double)f, true);
    case GGUF_F64: memcpy(&d, p, sizeof d); return float_json(d, false);
    case GGUF_BOOL: return json_boolean(raw != 0);
    default: return unsigned_json(raw);
    }
}

static json_t *value_json(const struct gguf_kv *kv) {
    switch (kv->type) {
    case GGUF_STRING: return string_json(kv->s);
    case GGUF_BOOL: return json_boolean(kv->u != 0);
    case GGUF_F32:
    case GGUF_F64: return float_json(kv->f, kv->type == GGUF_F32);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: return json_integer(kv->i);
    case GGUF_ARRAY: break;
    default: return unsigned_json(kv->u);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < kv->a.count && i < SHOWN_ELEMENTS; i++)
        json_array_append_new(list, kv->a.strings ? string_json(kv->a.strings[i])
                                                  : element_json(&kv->a, i));
    return list;
}

/* ---- the object -------------------------------------------------------------------------- */

static json_t *kv_json(const struct gguf_kv *kv) {
    json_t *entry =
        json_pack("{s:o, s:s}", "key", string_json(kv->key), "type", gguf_type_name(kv->type));
    if (kv->type == GGUF_ARRAY) {
        json_object_set_new(entry, "of", json_string(gguf_type_name(kv->a.type)));
        json_object_set_new(entry, "count", json_integer((json_int_t)kv->a.count));
    }
    json_object_set_new(entry, "value", value_json(kv));
    return entry;
}

static json_t *tensor_json(const struct gguf_tensor *t) {
    json_t *dims = json_array();
    for (uint32_t d = 0; d < t->n_dims; d++) json_array_append_new(dims, unsigned_json(t->dims[d]));
    return json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "name", string_json(t->name), "type",
                     dtype_ggml_name(t->type), "dims", dims, "bytes", (json_int_t)t->bytes, "part",
                     (json_int_t)t->part, "offset", (json_int_t)t->offset);
}

/* How many tensors and bytes there are of each type. */
static json_t *types_json(const struct gguf *g) {
    json_t *list = json_array();
    for (uint32_t type = 0; strcmp(dtype_ggml_name(type), "unknown") != 0; type++) {
        json_int_t tensors = 0, bytes = 0;
        for (size_t i = 0; i < gguf_tensor_count(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            if ((uint32_t)t->type != type) continue;
            tensors++;
            bytes += (json_int_t)t->bytes;
        }
        if (tensors > 0)
            json_array_append_new(
                list, json_pack("{s:s, s:I, s:I, s:b}", "type", dtype_ggml_name(type), "tensors",
                                tensors, "bytes", bytes, "supported", dtype_find(type) != NULL));
    }
    return list;
}

/* {"id", "piece"} of a token that a key names; null without the key. */
static json_t *token_json(const struct gguf *g, const char *key) {
    uint32_t id = 0;
    const struct gguf_array *tokens = NULL;
    if (!gguf_find(g, key) || gguf_get_u32(g, key, &id) != ERR_OK) return json_null();
    if (gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens) != ERR_OK || !tokens ||
        id >= tokens->count)
        return json_pack("{s:I, s:n}", "id", (json_int_t)id, "piece");
    return json_pack("{s:I, s:o}", "id", (json_int_t)id, "piece", string_json(tokens->strings[id]));
}

static json_t *count_json(const struct gguf *g, const char *key) {
    const struct gguf_kv *kv = gguf_find(g, key);
    return json_integer(kv && kv->type == GGUF_ARRAY ? (json_int_t)kv->a.count : 0);
}

static json_t *text_or_null(const struct gguf *g, const char *key) {
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv && kv->type == GGUF_STRING ? string_json(kv->s) : json_null();
}

static json_t *tokenizer_json(const struct gguf *g) {
    static const struct {
        const char *name, *key;
    } specials[] = {
        {"bos", "tokenizer.ggml.bos_token_id"},
        {"eos", "tokenizer.ggml.eos_token_id"},
        {"eot", "tokenizer.ggml.eot_token_id"},
        {"unknown", "tokenizer.ggml.unknown_token_id"},
        {"padding", "tokenizer.ggml.padding_token_id"},
    };
    if (!gguf_find(g, "tokenizer.ggml.model")) return json_null();
    json_t *json = json_pack(
        "{s:o, s:o, s:o, s:o, s:b}", "model", text_or_null(g, "tokenizer.ggml.model"), "pre",
        text_or_null(g, "tokenizer.ggml.pre"), "tokens", count_json(g, "tokenizer.ggml.tokens"),
        "merges", count_json(g, "tokenizer.ggml.merges"), "chat_template",
        gguf_find(g, "tokenizer.chat_template") != NULL);
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        json_object_set_new(json, specials[i].name, token_json(g, specials[i].key));
    return json;
}

static json_t *model_json(const struct model *m) {
    const struct model_shape *s = &m->shape;
    json_t *rope = json_pack(
        "{s:s, s:I, s:o, s:o, s:b}", "style", s->rope_style == ROPE_NEOX ? "neox" : "interleaved",
        "dims", (json_int_t)s->rope_dim, "theta", float_json((double)s->rope_theta, true),
        "position_scale", float_json((double)s->rope_linear_scale, true), "frequency_factors",
        m->rope_freqs != NULL);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:b, s:b, s:I, "
                     "s:I}",
                     "architecture", s->arch, "name", s->name, "layers", (json_int_t)s->n_layers,
                     "dim", (json_int_t)s->dim, "heads", (json_int_t)s->n_heads, "kv_heads",
                     (json_int_t)s->n_kv_heads, "head_dim", (json_int_t)s->head_dim, "ffn",
                     (json_int_t)s->n_ff, "vocab", (json_int_t)s->n_vocab, "context",
                     (json_int_t)s->n_ctx, "rope", rope, "norm_eps",
                     float_json((double)s->norm_eps, true), "qkv_bias", s->qkv_bias, "tied",
                     s->tied, "parameters", (json_int_t)model_parameters(m), "weight_bytes",
                     (json_int_t)model_weight_bytes(m));
}

/* All but the lists of keys and tensors. */
static json_t *overview_json(const struct gguf *g) {
    struct model *m = NULL;
    bool vocab_only = model_is_vocab_only(g);
    const char *name = gguf_name(g), *why = "";
    if (!vocab_only && model_create(&m, g) != ERR_OK) why = error_message();
    json_t *json = json_pack("{s:o, s:I, s:I, s:I, s:o, s:b, s:o, s:o, s:o, s:o}", "file",
                             string_json((struct gguf_str){name, strlen(name)}), "version",
                             (json_int_t)gguf_version(g), "parts", (json_int_t)gguf_part_count(g),
                             "file_bytes", (json_int_t)gguf_file_bytes(g), "identity",
                             json_sprintf("%016" PRIx64, gguf_identity(g)), "vocab_only",
                             vocab_only, "model", m ? model_json(m) : json_null(), "problem",
                             *why ? string_json((struct gguf_str){why, strlen(why)}) : json_null(),
                             "tokenizer", tokenizer_json(g), "types", types_json(g));
    model_free(m);
    return json;
}

static int append_dump(const char *bytes, size_t n, void *out) {
    buf_append(out, bytes, n);
    return 0;
}

/* Appends `json` and releases it. */
static void put_json(struct buf *out, json_t *json, size_t flags) {
    CHECK(json_dump_callback(json, append_dump, out, flags | JSON_REAL_PRECISION(15)) == 0);
    json_decref(json);
}

void inspect_put_json(const struct gguf *g, struct buf *out) {
    buf_puts(out, "{\n");
    put_json(out, overview_json(g), JSON_EMBED | JSON_INDENT(2));
    buf_puts(out, ",\n\"metadata\": [");
    for (size_t i = 0; i < gguf_kv_count(g); i++) {
        buf_puts(out, i > 0 ? ",\n  " : "\n  ");
        put_json(out, kv_json(gguf_kv_at(g, i)), 0);
    }
    buf_puts(out, "\n],\n\"tensors\": [");
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        buf_puts(out, i > 0 ? ",\n  " : "\n  ");
        put_json(out, tensor_json(gguf_tensor_at(g, i)), 0);
    }
    buf_puts(out, "\n]\n}\n");
}

/* ---- text, from the objects --------------------------------------------------------------- */

/* A string in quotes, cut, with escapes for what a terminal should not get. */
static void put_string(struct buf *out, const json_t *json) {
    const char *s = json_string_value(json);
    size_t n = json_string_length(json), shown = n < SHOWN_BYTES ? n : SHOWN_BYTES;
    shown -= utf8_incomplete_tail(s, shown);
    buf_putc(out, '"');
    buf_append_json(out, s, shown);
    buf_putc(out, '"');
    if (shown < n) buf_printf(out, "... (%zu bytes)", n);
}

static void put_value(struct buf *out, const json_t *json) {
    size_t i;
    const json_t *element;
    if (json_is_string(json))
        put_string(out, json);
    else if (json_is_integer(json))
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    else if (json_is_real(json))
        buf_printf(out, "%.15g", json_real_value(json));
    else if (json_is_boolean(json))
        buf_puts(out, json_is_true(json) ? "true" : "false");
    else if (json_is_null(json))
        buf_puts(out, "none");
    json_array_foreach(json, i, element) {
        if (i > 0) buf_puts(out, ", ");
        put_value(out, element);
    }
}

/* One line for each member: its name, then its value; objects are opened up. */
static void put_members(struct buf *out, const json_t *object, const char *prefix) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, key);
        if (json_is_object(value)) {
            snprintf(name, sizeof name, "%s%s ", prefix, key);
            put_members(out, value, name);
            continue;
        }
        buf_printf(out, "  %-28s ", name);
        put_value(out, value);
        buf_putc(out, '\n');
    }
}

/* A name from the file, padded to `width`. */
static void put_name(struct buf *out, const json_t *json, int width) {
    struct buf name;
    buf_init(&name, 0);
    buf_append_json(&name, json_string_value(json), json_string_length(json));
    buf_printf(out, "  %-*s ", width, name.data);
    buf_deinit(&name);
}

static long long integer_of(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

static void put_kv(struct buf *out, const struct gguf_kv *kv) {
    json_t *entry = kv_json(kv), *value = json_object_get(entry, "value");
    char type[48];
    put_name(out, json_object_get(entry, "key"), 40);
    snprintf(type, sizeof type, "%s", gguf_type_name(kv->type));
    if (kv->type == GGUF_ARRAY)
        snprintf(type, sizeof type, "%s[%zu]", gguf_type_name(kv->a.type), kv->a.count);
    buf_printf(out, "%-16s ", type);
    put_value(out, value);
    if (kv->type == GGUF_ARRAY && kv->a.count > json_array_size(value)) buf_puts(out, ", ...");
    buf_putc(out, '\n');
    json_decref(entry);
}

static void put_tensor(struct buf *out, const struct gguf_tensor *t, bool parts) {
    json_t *json = tensor_json(t);
    char dims[96];
    int used = 0;
    for (uint32_t d = 0; d < t->n_dims; d++)
        used += snprintf(dims + used, sizeof dims - (size_t)used, "%s%" PRIu64, d > 0 ? " x " : "",
                         t->dims[d]);
    put_name(out, json_object_get(json, "name"), 32);
    buf_printf(out, "%-8s %-20s %14zu bytes at %" PRIu64, dtype_ggml_name(t->type), dims, t->bytes,
               t->offset);
    if (parts) buf_printf(out, " of part %" PRIu32, t->part + 1);
    buf_putc(out, '\n');
    json_decref(json);
}

static void put_section(struct buf *out, const json_t *root, const char *key, const char *title) {
    const json_t *object = json_object_get(root, key);
    if (!json_is_object(object)) return;
    buf_printf(out, "\n%s\n", title);
    put_members(out, object, "");
}

static void put_types(struct buf *out, const json_t *list) {
    size_t i;
    const json_t *type;
    if (json_array_size(list) > 0) buf_puts(out, "\nTypes\n");
    json_array_foreach(list, i, type) {
        bool supported = json_is_true(json_object_get(type, "supported"));
        buf_printf(out, "  %-8s %6lld tensors %16lld bytes%s\n",
                   json_string_value(json_object_get(type, "type")), integer_of(type, "tensors"),
                   integer_of(type, "bytes"), supported ? "" : " (not supported)");
    }
}

void inspect_put_text(const struct gguf *g, struct buf *out) {
    static const char *const facts[] = {"file", "version", "parts", "file_bytes", "identity"};
    json_t *root = overview_json(g);
    const json_t *problem = json_object_get(root, "problem");
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        buf_printf(out, "%-30s ", facts[i]);
        put_value(out, json_object_get(root, facts[i]));
        buf_putc(out, '\n');
    }
    if (model_is_vocab_only(g)) buf_puts(out, "\nNo model: the file holds a vocabulary only.\n");
    if (json_is_string(problem)) {
        buf_puts(out, "\nThis model cannot be served: ");
        buf_append_json(out, json_string_value(problem), json_string_length(problem));
        buf_putc(out, '\n');
    }
    put_section(out, root, "model", "Model");
    put_section(out, root, "tokenizer", "Tokenizer");
    put_types(out, json_object_get(root, "types"));
    json_decref(root);

    buf_printf(out, "\nMetadata: %zu keys\n", gguf_kv_count(g));
    for (size_t i = 0; i < gguf_kv_count(g); i++) put_kv(out, gguf_kv_at(g, i));
    buf_printf(out, "\nTensors: %zu\n", gguf_tensor_count(g));
    for (size_t i = 0; i < gguf_tensor_count(g); i++)
        put_tensor(out, gguf_tensor_at(g, i), gguf_part_count(g) > 1);
}
