/* fake_model.h: a model of any shape that exists only as headers, for tests of plans.
 *
 * All layers share one set of tensors, except that every second down projection may have a type of
 * its own, as in files called Q4_K_M. */
// SPDX-License-Identifier: MIT
#ifndef TESTS_FAKE_MODEL_H
#define TESTS_FAKE_MODEL_H

#include "common/model.h"

struct fake_shape {
    uint32_t n_layers, dim, n_heads, n_kv_heads, head_dim, n_ff, n_vocab;
    enum dtype type;      // of all matrices
    enum dtype down_type; // of every second layer's down projection
    bool tied, qkv_bias;
};

/* Every row must be whole blocks of its type.  Release with fake_model_free. */
struct model *fake_model_create(const struct fake_shape *s);
void fake_model_free(struct model *m);

#endif
