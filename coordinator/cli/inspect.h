/* inspect.h: what is in a model file, as JSON and as text for people.
 *
 * Pure functions of an open file: headers only, no weight is read, nothing is printed.  The file
 * may be one that this build cannot serve (an unknown architecture or type, a vocabulary only); the
 * reason is then part of the answer.  Bytes of the file appear as valid UTF-8 without control
 * characters, whatever they were.  Any thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_INSPECT_H
#define COORDINATOR_INSPECT_H

#include "common/buf.h"
#include "common/gguf.h"

/* Appends one JSON object: {"file", "version", "parts", "file_bytes", "identity", "vocab_only",
 * "model", "problem", "tokenizer", "types", "metadata", "tensors"}.  `model` is null and `problem`
 * the reason where there is no model to serve.  Arrays of metadata show their first elements and
 * their count.  One line for each key and tensor. */
void inspect_put_json(const struct gguf *g, struct buf *out);
/* Appends the same as tables. */
void inspect_put_text(const struct gguf *g, struct buf *out);

#endif
