/* router.h: which function answers which path.  One const table.  Loop thread. */
// SPDX-License-Identifier: MIT
#ifndef COORDINATOR_ROUTER_H
#define COORDINATOR_ROUTER_H

#include "coordinator/gateway/gateway.h"

/* `rest` is what follows the route's prefix ("" for an exact route). */
typedef void route_handler(struct gateway *g, const struct http_request *request, const char *rest,
                           const struct responder *responder, void *conn, struct exchange **x);

route_handler api_health, api_ready, api_models, api_model; // api_admin.c
route_handler api_metrics;                                  // api_metrics.c
route_handler api_cluster;                                  // api_cluster.c
route_handler api_page;                                     // api_page.c
route_handler api_completions, api_chat_completions;        // api_openai.c
route_handler api_tokenize, api_detokenize;                 // api_tokens.c
route_handler api_apply_template;                           // api_template.c

#endif
