// SPDX-License-Identifier: MIT
/* answer.c: see answer.h.  llhttp finds the body, the event reader the events in it; what an object
 * of the API says is read in answer_json.c. */

#include "coordinator/load/answer.h"

#include <llhttp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "coordinator/load/answer_json.h"
#include "coordinator/load/event_reader.h"

struct answer {
    struct answer_result result;
    llhttp_t llhttp;
    struct event_reader events;
    struct buf body;
    char field[16], type[32]; // names and the content type as far as they matter
    size_t field_bytes, type_bytes;
    bool in_value;
    size_t head_bytes;
    bool informational; // the head under way is a 1xx: the answer is still to come
    bool is_stream;
    bool finished; // a choice had its finish_reason, or [DONE] was seen
    bool over;
    uint32_t max_chunks;
    uint64_t now_ns;
};

/* ---- the end ---- */

/* A server's words may hold anything; a terminal must not obey them. */
static void put_printable(char *out, size_t size, const char *text) {
    size_t used = 0, n = strlen(text);
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t width = utf8_sequence(text + i, n - i, &c);
        bool good = width > 0 && c >= 0x20 && (c < 0x7f || c > 0x9f);
        if (used + (good ? width : 1) >= size) break;
        if (good)
            memcpy(out + used, text + i, width);
        else
            out[used] = ' ';
        used += good ? width : 1;
        i += width ? width : 1;
    }
    out[used] = '\0';
}

void answer_fail(struct answer *a, enum answer_error error, const char *message) {
    a->over = true;
    a->result.error = error;
    a->result.keep_alive = false;
    a->result.end_ns = a->now_ns;
    put_printable(a->result.message, sizeof a->result.message, message);
}

/* For callbacks of llhttp: ends its work. */
static int broken(struct answer *a, const char *message) {
    answer_fail(a, ANSWER_ERROR_STREAM, message);
    return HPE_USER;
}

/* ---- chunks ---- */

static void count_chunk(struct answer *a) {
    struct answer_result *r = &a->result;
    if (r->n_chunks++ == 0)
        r->first_ns = a->now_ns;
    else
        samples_add(&r->gaps, a->now_ns - r->latest_ns);
    r->latest_ns = a->now_ns;
}

/* One object of the API: a chunk, or a whole answer. */
static void take_object(struct answer *a, const char *text, size_t n) {
    struct answer_object o;
    struct answer_result *r = &a->result;
    answer_object_read(&o, text, n);
    if (o.error[0]) {
        answer_fail(a, ANSWER_ERROR_STREAM, o.error);
        return;
    }
    if (o.has_usage) {
        r->has_usage = true;
        r->prompt_tokens = o.prompt_tokens;
        r->cached_tokens = o.cached_tokens;
        r->completion_tokens = o.completion_tokens;
    }
    if (o.finished) a->finished = true;
    if (!o.has_text) return;
    if (r->n_chunks == a->max_chunks)
        answer_fail(a, ANSWER_ERROR_STREAM, "the server sent more chunks than tokens were asked");
    else
        count_chunk(a);
}

static bool on_event(void *ctx, const char *data, size_t n) {
    struct answer *a = ctx;
    if (n == 6 && memcmp(data, "[DONE]", 6) == 0)
        a->finished = true;
    else
        take_object(a, data, n);
    return !a->over;
}

/* The body is complete. */
static void conclude(struct answer *a) {
    struct answer_result *r = &a->result;
    a->over = true;
    r->end_ns = a->now_ns;
    if (r->status < 200 || r->status > 299) {
        char said[160], message[200];
        answer_error_text(said, sizeof said, a->body.length ? a->body.data : "", a->body.length);
        snprintf(message, sizeof message, "HTTP %d%s%s", r->status, *said ? ": " : "", said);
        bool keep_alive = r->keep_alive;
        answer_fail(a, ANSWER_ERROR_STATUS, message);
        r->keep_alive = keep_alive;
        return;
    }
    if (a->max_chunks == 0) return;
    if (!a->is_stream) take_object(a, a->body.length ? a->body.data : "", a->body.length);
    if (r->error == ANSWER_ERROR_NONE && !a->finished)
        answer_fail(a, ANSWER_ERROR_STREAM,
                    a->is_stream ? "the stream ended without finish_reason and [DONE]"
                                 : "the answer is no completion");
}

/* ---- what llhttp finds ---- */

static struct answer *answer_of(llhttp_t *l) {
    return l->data;
}

static int count_head(struct answer *a, size_t n) {
    a->head_bytes += n;
    return a->head_bytes > ANSWER_MAX_HEAD_BYTES
               ? broken(a, "the headers of the answer are too large")
               : 0;
}

static int on_other(llhttp_t *l, const char *at, size_t n) {
    (void)at;
    return count_head(answer_of(l), n);
}

/* Appends as much as there is room for: a longer name or type is none that matters. */
static void append(char *out, size_t size, size_t *used, const char *bytes, size_t n) {
    for (size_t i = 0; i < n && *used + 1 < size; i++) out[(*used)++] = bytes[i];
    out[*used] = '\0';
}

static int on_field(llhttp_t *l, const char *at, size_t n) {
    struct answer *a = answer_of(l);
    if (a->in_value) a->field_bytes = 0;
    a->in_value = false;
    append(a->field, sizeof a->field, &a->field_bytes, at, n);
    return count_head(a, n + 1); // a header without a name or value counts too
}

static int on_value(llhttp_t *l, const char *at, size_t n) {
    struct answer *a = answer_of(l);
    a->in_value = true;
    if (strcasecmp(a->field, "content-type") == 0)
        append(a->type, sizeof a->type, &a->type_bytes, at, n);
    return count_head(a, n);
}

static int on_value_complete(llhttp_t *l) {
    answer_of(l)->in_value = true; // also when it is empty
    return 0;
}

static int on_headers_complete(llhttp_t *l) {
    struct answer *a = answer_of(l);
    if (l->http_major != 1) return broken(a, "the server does not speak HTTP/1.1");
    a->informational = l->status_code / 100 == 1;
    if (a->informational) {
        bool switching = l->status_code == 101;
        return switching ? broken(a, "the server wants to speak another protocol") : 0;
    }
    a->result.status = l->status_code;
    a->is_stream = l->status_code / 100 == 2 && strncasecmp(a->type, "text/event-stream", 17) == 0;
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t n) {
    struct answer *a = answer_of(l);
    if (a->is_stream && a->max_chunks) {
        err e = event_reader_feed(&a->events, at, n, on_event, a);
        if (e != ERR_OK) return broken(a, error_message());
        return a->over ? HPE_USER : 0;
    }
    buf_append(&a->body, at, n);
    return a->body.failed ? broken(a, "the body of the answer is larger than 1 MiB") : 0;
}

static int on_message_complete(llhttp_t *l) {
    struct answer *a = answer_of(l);
    if (a->informational) {
        a->type[a->type_bytes = 0] = '\0';
        return 0;
    }
    a->result.keep_alive = llhttp_should_keep_alive(l) != 0;
    conclude(a);
    return HPE_PAUSED;
}

static const struct llhttp_settings_s callbacks = {
    .on_status = on_other,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_chunk_extension_name = on_other,
    .on_chunk_extension_value = on_other,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- the owner's side ---- */

struct answer *answer_create(void) {
    struct answer *a = mem_zalloc(sizeof *a);
    event_reader_init(&a->events);
    buf_init(&a->body, ANSWER_MAX_BODY_BYTES);
    return a;
}

void answer_free(struct answer *a) {
    if (!a) return;
    event_reader_deinit(&a->events);
    buf_deinit(&a->body);
    samples_deinit(&a->result.gaps);
    mem_free(a);
}

void answer_begin(struct answer *a, uint32_t max_chunks) {
    struct samples gaps = a->result.gaps;
    samples_clear(&gaps);
    *a = (struct answer){
        .result.gaps = gaps, .events = a->events, .body = a->body, .max_chunks = max_chunks};
    event_reader_reset(&a->events);
    buf_clear(&a->body);
    llhttp_init(&a->llhttp, HTTP_RESPONSE, &callbacks);
    a->llhttp.data = a;
}

static void explain(struct answer *a) {
    char message[160];
    snprintf(message, sizeof message, "the answer is not HTTP/1.1: %s",
             llhttp_get_error_reason(&a->llhttp));
    answer_fail(a, ANSWER_ERROR_STREAM, message);
}

bool answer_feed(struct answer *a, const char *bytes, size_t n, uint64_t now_ns) {
    a->now_ns = now_ns;
    if (n > 0) a->result.began = true;
    enum llhttp_errno e = llhttp_execute(&a->llhttp, bytes, n);
    if (e == HPE_PAUSED) { // complete; more bytes are no answer to anything that was asked
        bool surplus = llhttp_get_error_pos(&a->llhttp) != bytes + n;
        if (surplus) a->result.keep_alive = false;
    } else if (e != HPE_OK && !a->over) {
        explain(a);
    }
    return a->over;
}

void answer_end(struct answer *a, uint64_t now_ns) {
    if (a->over) return;
    a->now_ns = now_ns;
    (void)llhttp_finish(&a->llhttp); // a body without a length ends with the connection
    a->result.keep_alive = false;
    if (a->over) return;
    answer_fail(a, ANSWER_ERROR_STREAM,
                a->result.began ? "the connection ended in the middle of the answer"
                                : "the connection ended without an answer");
}

const struct answer_result *answer_result(const struct answer *a) {
    return &a->result;
}

const char *answer_body(const struct answer *a, size_t *n) {
    *n = a->body.length;
    return a->body.length ? a->body.data : "";
}

const char *answer_error_name(enum answer_error e) {
    static const char *const names[] = {
#define X(name, text) text,
        ANSWER_ERROR_MAP(X)
#undef X
    };
    return names[e];
}
