// SPDX-License-Identifier: MIT
/* roster.c: see roster.h.
 *
 * The order of the questions matters: the secret first, so that a stranger learns nothing; then
 * what only a newcomer gets wrong (a worker of an earlier launch); then what makes the job as a
 * whole impossible. */

#include "coordinator/cluster/roster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/cluster/secret.h"

void roster_init(struct roster *r, uint32_t size, const char *secret, const char *build_id,
                 uint64_t epoch) {
    *r = (struct roster){.size = size, .epoch = epoch};
    r->ranks = mem_zalloc_array(size, sizeof *r->ranks);
    snprintf(r->secret, sizeof r->secret, "%s", secret);
    snprintf(r->build_id, sizeof r->build_id, "%s", build_id);
}

void roster_deinit(struct roster *r) {
    for (uint32_t i = 0; i < r->size; i++) {
        for (uint32_t k = 0; k < r->ranks[i].n_warnings; k++) mem_free(r->ranks[i].warnings[k]);
        mem_free(r->ranks[i].warnings);
    }
    mem_free(r->ranks);
    *r = (struct roster){.size = 0};
}

/* The first rank that has said HELLO, to compare others with; NULL when nobody has. */
static const struct roster_rank *first_here(const struct roster *r) {
    for (uint32_t i = 0; i < r->size; i++)
        if (r->ranks[i].here) return &r->ranks[i];
    return NULL;
}

enum hello_verdict roster_judge(const struct roster *r, const struct wire_hello *h, char *why,
                                size_t why_size) {
    *why = '\0';
    if (!secret_equal(r->secret, h->secret)) return HELLO_STRANGER;
    if (h->epoch != r->epoch) {
        snprintf(why, why_size,
                 "rank %u on %s belongs to launch %" PRIu64 ", the running one is %" PRIu64,
                 h->rank, h->host, h->epoch, r->epoch);
        return HELLO_REFUSE;
    }
    if (h->protocol != WIRE_PROTOCOL_VERSION) {
        snprintf(why, why_size, "rank %u on %s speaks protocol %u, lockstep speaks %u", h->rank,
                 h->host, h->protocol, WIRE_PROTOCOL_VERSION);
        return HELLO_MISMATCH;
    }
    if (strcmp(h->build_id, r->build_id) != 0) {
        snprintf(why, why_size,
                 "lockstep-worker of rank %u on %s is build %s, lockstep is build %s: install the "
                 "same version on all hosts",
                 h->rank, h->host, h->build_id, r->build_id);
        return HELLO_MISMATCH;
    }
    if (r->size && h->size != r->size) {
        snprintf(why, why_size, "rank %u on %s belongs to a job of %u ranks, lockstep waits for %u",
                 h->rank, h->host, h->size, r->size);
        return HELLO_MISMATCH;
    }
    if (h->size == 0 || h->size > PLAN_MAX_RANKS || h->rank >= h->size ||
        (h->is_link && h->rank != 0)) {
        snprintf(why, why_size, "a worker on %s says that it is %srank %u of %u", h->host,
                 h->is_link ? "the link of " : "", h->rank, h->size);
        return HELLO_MISMATCH;
    }
    const struct roster_rank *first = first_here(r);
    if (first && strcmp(first->mpi, h->mpi) != 0) {
        snprintf(why, why_size, "rank %u on %s uses %s, the rank on %s uses %s", h->rank, h->host,
                 h->mpi, first->host, first->mpi);
        return HELLO_MISMATCH;
    }
    if (r->size && (h->is_link ? r->has_link : r->ranks[h->rank].here)) {
        const struct roster_rank *held = &r->ranks[h->rank];
        snprintf(why, why_size,
                 "rank %u is here already (process %" PRId64 " on %s), process %" PRId64
                 " on %s came second",
                 h->rank, held->pid, held->host, h->pid, h->host);
        return HELLO_REFUSE;
    }
    return HELLO_ACCEPT;
}

#define COPY(field) snprintf(k->field, sizeof k->field, "%s", h->field)

void roster_add(struct roster *r, const struct wire_hello *h) {
    if (r->size == 0) {
        mem_free(r->ranks);
        r->size = h->size;
        r->ranks = mem_zalloc_array(r->size, sizeof *r->ranks);
    }
    if (h->is_link) {
        r->has_link = true;
        return;
    }
    struct roster_rank *k = &r->ranks[h->rank];
    k->here = true;
    r->n_here++;
    COPY(host);
    COPY(isa);
    COPY(mpi);
    COPY(transport);
    COPY(cpus);
    k->pid = h->pid;
    k->threads = h->threads;
    k->local_size = h->local_size;
    k->memory_available_bytes = h->memory_available_bytes;
    k->warnings = mem_zalloc_array(h->n_warnings, sizeof *k->warnings);
    for (; k->n_warnings < h->n_warnings; k->n_warnings++)
        k->warnings[k->n_warnings] = mem_strdup(h->warnings[k->n_warnings]);
}

bool roster_is_complete(const struct roster *r) {
    return r->size > 0 && r->n_here == r->size && r->has_link;
}

void roster_describe_missing(const struct roster *r, struct buf *out) {
    if (r->size == 0) {
        buf_puts(out, "no rank has reported");
        return;
    }
    uint32_t missing = r->size - r->n_here, said = 0;
    if (missing == 0) {
        buf_puts(out, "rank 0 has not opened its second connection");
        return;
    }
    buf_puts(out, missing == 1 ? "rank " : "ranks ");
    for (uint32_t i = 0; i < r->size; i++) {
        if (r->ranks[i].here) continue;
        if (said == 8 && missing > 9) {
            buf_printf(out, " and %u more", missing - said);
            break;
        }
        buf_printf(out, "%s%u", said == 0 ? "" : said == missing - 1 ? " and " : ", ", i);
        said++;
    }
    buf_printf(out, " of %u did not report", r->size);
}

void roster_name(const struct roster *r, uint32_t rank, char out[96]) {
    if (rank < r->size && r->ranks[rank].here)
        snprintf(out, 96, "rank %u on %s", rank, r->ranks[rank].host);
    else
        snprintf(out, 96, "rank %u", rank);
}

uint32_t roster_host_leader(const struct roster *r, uint32_t rank) {
    uint32_t i = 0;
    while (strcmp(r->ranks[i].host, r->ranks[rank].host) != 0) i++;
    return i;
}

uint32_t roster_host_count(const struct roster *r) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->size; i++) n += roster_host_leader(r, i) == i;
    return n;
}
