/* template.h: Jinja templates: what a chat template needs of the language, bounded.
 *
 * The reference is the npm package @huggingface/jinja with trim_blocks and lstrip_blocks: whatever
 * it renders is rendered here, byte for byte; constructs that it refuses and Jinja knows work as in
 * Jinja.  README.md here lists the language and the limits.
 *
 * A template and its variables may be hostile: nesting, steps, memory and output are bounded by the
 * constants below, and what passes a bound is an error.  A parsed template is never changed: any
 * thread, several at once.  Nothing here does I/O; the time is an argument. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_TEMPLATE_H
#define COORDINATOR_TEMPLATE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

#define TEMPLATE_MAX_SOURCE_BYTES ((size_t)256 << 10)
#define TEMPLATE_MAX_OUTPUT_BYTES ((size_t)16 << 20)
#define TEMPLATE_MAX_MEMORY_BYTES ((size_t)64 << 20)  // of one parse or one rendering
#define TEMPLATE_MAX_STEPS        ((uint64_t)4 << 20) // a fraction of a second
#define TEMPLATE_MAX_NESTING      200                 // of brackets and blocks in the source
#define TEMPLATE_MAX_DEPTH        1000                // of evaluation, and of nested values

struct template;

/* Parses source[0..n), UTF-8.  ERR_MODEL "line 3: …" when it is no template. */
MUST_USE err template_parse(struct template **out, const char *source, size_t n);
void template_free(struct template *t);

/* Renders with the members of the object `variables` as variables; `now_s` is the Unix time that
 * strftime_now shows, in the local time zone.  Appends valid UTF-8 to `out`, or nothing on errors.
 * ERR_REQUEST: the template's own sentence when it calls raise_exception, else "line 3: …". */
MUST_USE err template_render(const struct template *t, const json_t *variables, int64_t now_s,
                             struct buf *out);

/* True when the source contains `word`: what a model's template knows of (a role, a variable). */
bool template_mentions(const struct template *t, const char *word);

#endif
