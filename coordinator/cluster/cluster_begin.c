// SPDX-License-Identifier: MIT
/* cluster_begin.c: how the ranks come to be and where they find us.
 *
 *   MODE_LAUNCH   lockstep … -n N                 we start mpirun; the line goes to its stdin
 *   MODE_MPIRUN   mpirun -n N lockstep …          rank 0 is our parent; the line goes to its socket
 *   MODE_WAIT     lockstep serve --wait -n N      workers join by themselves; no line
 *
 * Ranks on this host only are met on a Unix socket in a private folder, others over TCP. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "coordinator/cli/install.h"
#include "coordinator/cluster/address.h"
#include "coordinator/cluster/cluster_internal.h"
#include "coordinator/cluster/launch.h"
#include "coordinator/cluster/rundir.h"
#include "coordinator/cluster/secret.h"

#define FIRST_EPOCH 1 // workers that join by themselves expect it

struct beginning {
    bool one_host;
    char run_dir[RUNDIR_BYTES];
    char remote[256]; // a host of the hostfile that is not this one
    char secret[SECRET_MAX_BYTES + 1];
    struct address listen;    // what we bind
    struct address published; // what the ranks are told
};

static enum cluster_mode choose_mode(const struct cluster *c) {
    if (c->bootstrap_fd >= 0) return MODE_MPIRUN;
    return c->options->wait_for_ranks ? MODE_WAIT : MODE_LAUNCH;
}

/* Do all ranks run on this host? */
static err find_hosts(const struct cluster *c, struct beginning *b) {
    const struct options *o = c->options;
    if (o->hostfile) TRY(address_first_remote(o->hostfile, c->host, b->remote, sizeof b->remote));
    switch (c->mode) {
    case MODE_LAUNCH: b->one_host = o->hostfile ? !*b->remote : !launch_spans_hosts(o); break;
    case MODE_MPIRUN: b->one_host = !o->spans_hosts; break;
    case MODE_WAIT: b->one_host = false; break;
    }
    return ERR_OK;
}

static bool is_wildcard(const char *host) {
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

/* An address of this host that the others can reach, as far as can be told from here. */
static void find_own_address(const struct cluster *c, const struct beginning *b, char *out,
                             size_t size) {
    if (*b->remote && address_toward(b->remote, out, size)) return;
    if (!address_of_this_host(out, size)) snprintf(out, size, "%s", c->host);
    if (c->mode != MODE_WAIT)
        log_debug("ranks are told to connect to %s; --control-addr chooses another address", out);
}

static err choose_address(const struct cluster *c, struct beginning *b) {
    if (c->options->control_addr) {
        TRY(address_parse(&b->listen, c->options->control_addr));
        b->published = b->listen;
        if (!b->listen.is_unix && is_wildcard(b->listen.host)) {
            if (b->listen.host[0] == '*') strcpy(b->listen.host, "::");
            find_own_address(c, b, b->published.host, sizeof b->published.host);
        }
        return ERR_OK;
    }
    if (b->one_host) {
        b->listen.is_unix = true;
        snprintf(b->listen.path, sizeof b->listen.path, "%s/control", b->run_dir);
    } else {
        find_own_address(c, b, b->listen.host, sizeof b->listen.host);
    }
    b->published = b->listen;
    return ERR_OK;
}

static uint32_t choose_size(const struct cluster *c) {
    const struct options *o = c->options;
    const struct model *m = c->model.model;
    bool by_default = c->mode != MODE_MPIRUN && !o->ranks_given;
    if (by_default && m && m->shape.n_heads < o->ranks) return m->shape.n_heads;
    return o->ranks;
}

/* Everything that can be refused before anything was started. */
static err prepare(struct cluster *c, struct beginning *b) {
    *b = (struct beginning){0};
    TRY(find_hosts(c, b));
    TRY(cluster_model_init(&c->model, c->options->model, !b->one_host));
    uint32_t size = choose_size(c);
    if (c->model.gguf && size > 0) TRY(cluster_model_cut(&c->model, c->options, size));
    if (c->mode == MODE_WAIT)
        TRY(secret_read(b->secret, c->options->secret_file));
    else
        TRY(secret_make(b->secret));
    roster_init(&c->roster, size, b->secret, wire_build_id(), FIRST_EPOCH);
    if (size > 0) cluster_set_size(c);
    if (b->one_host) TRY(rundir_create(b->run_dir));
    return choose_address(c, b);
}

static err launch(struct cluster *c, const struct beginning *b, const char *line) {
    char **argv;
    const struct launch_facts facts = {.ranks = c->roster.size,
                                       .worker = install_worker(),
                                       .run_dir = b->run_dir,
                                       .one_host = b->one_host,
                                       .no_cma = !launch_cma_works()};
    if (access(facts.worker, X_OK) != 0)
        return FAIL(ERR_LAUNCH, "%s: %s; it belongs beside lockstep", facts.worker,
                    strerror(errno));
    TRY(launch_build(&argv, c->options, &facts));
    launch_clean_environment();
    err e = supervisor_launch(c->supervisor, argv, line);
    launch_free(argv);
    return e;
}

static err tell_rank0(const struct cluster *c, const char *line, size_t n) {
    if (write(c->bootstrap_fd, line, n) != (ssize_t)n)
        return FAIL(ERR_LAUNCH, "rank 0 is gone before it was told anything: %s", strerror(errno));
    return ERR_OK;
}

static err start_ranks(struct cluster *c, struct beginning *b) {
    char line[SECRET_LINE_BYTES], where[ADDRESS_TEXT_BYTES];
    uint32_t expected = c->roster.size ? c->roster.size + 1 : PLAN_MAX_RANKS;
    TRY(link_open(&c->link, c->loop, &b->listen, expected, &cluster_link_events, c));
    c->n_open++;
    b->published.port = b->listen.port;
    address_format(&b->published, where);
    log_debug("the ranks connect to %s", where);
    size_t n = secret_format_line(line, FIRST_EPOCH, b->secret, &b->published);
    switch (c->mode) {
    case MODE_LAUNCH: return launch(c, b, line);
    case MODE_MPIRUN: return tell_rank0(c, line, n);
    case MODE_WAIT:
        log_info("waiting for %u ranks: mpirun -n %u lockstep-worker --coordinator %s",
                 c->roster.size, c->roster.size, where + strlen("tcp:"));
        return ERR_OK;
    }
    return ERR_OK;
}

err cluster_begin(struct cluster *c) {
    struct beginning b;
    if (gethostname(c->host, sizeof c->host - 1) != 0) strcpy(c->host, "localhost");
    c->mode = choose_mode(c);
    c->parent = c->mode == MODE_MPIRUN ? getppid() : 0;
    err e = prepare(c, &b);
    if (e != ERR_OK) {
        rundir_remove(b.run_dir);
        return e;
    }
    supervisor_own_folder(c->supervisor, b.run_dir);
    e = start_ranks(c, &b);
    memset(&b, 0, sizeof b); // the secret lives on in the roster only
    if (e != ERR_OK) cluster_fail(c, e, error_message());
    return ERR_OK;
}
