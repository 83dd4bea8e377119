// SPDX-License-Identifier: MIT
/* cause.c: see cause.h. */

#include "coordinator/cluster/cause.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"

void cause_error(struct cause *c, err code, const char *message) {
    c->found = true;
    if (c->has_error) return;
    c->has_error = true;
    c->error_before_loss = !c->has_loss;
    c->error_code = code;
    snprintf(c->error_message, sizeof c->error_message, "%s", message);
}

void cause_rank_error(struct cause *c, const struct roster *r, const struct wire_error *e) {
    char name[96], sentence[1024];
    roster_name(r, e->rank, name);
    bool named = strncmp(e->message, "rank ", 5) == 0; // agreed by the ranks: says whose it is
    snprintf(sentence, sizeof sentence, "%s%s%s", named ? "" : name, named ? "" : ": ", e->message);
    cause_error(c, e->code, sentence);
}

void cause_loss(struct cause *c, uint32_t rank, const char *why, bool on_purpose) {
    c->found = true;
    // A rank that goes without having said so is more telling than one that had announced it.
    if (c->has_loss && !(c->loss_on_purpose && !on_purpose)) return;
    c->has_loss = true;
    c->lost_rank = rank;
    c->lost_silent = !why;
    snprintf(c->lost_why, sizeof c->lost_why, "%s", why ? why : "");
    c->loss_on_purpose = on_purpose;
}

void cause_launcher_end(struct cause *c) {
    c->found = true;
}

/* After a loss the others may complain about it: such errors explain nothing. */
static bool error_is_telling(const struct cause *c) {
    if (!c->has_error) return false;
    if (c->error_before_loss || c->loss_on_purpose) return true;
    return c->error_code != ERR_RANK_LOST && c->error_code != ERR_INTERNAL &&
           c->error_code != ERR_PROTOCOL;
}

static void describe_launcher(const struct cause_launcher *l, struct buf *out) {
    if (l->signal)
        buf_printf(out, "%s was ended by signal %d (%s)", l->name, l->signal, strsignal(l->signal));
    else
        buf_printf(out, "%s ended with exit code %d", l->name, l->exit_code);
    if (l->output->n_lines) buf_puts(out, "; it said: ");
    launcher_output_explain(l->output, out);
}

static void describe_loss(const struct cause *c, const struct roster *r, struct buf *out) {
    char name[96];
    roster_name(r, c->lost_rank, name);
    buf_printf(out, "%s is gone: %s", name,
               c->loss_on_purpose ? "it ended without being asked to" : c->lost_why);
}

static void describe_fate(const struct launcher_output *fate, const struct roster *r,
                          struct buf *out) {
    char name[96];
    roster_name(r, (uint32_t)fate->rank, name);
    if (fate->signal)
        buf_printf(out, "%s was ended by signal %d (%s)", name, fate->signal,
                   strsignal(fate->signal));
    else
        buf_printf(out, "%s ended with exit code %d", name, fate->exit_code);
}

/* The strongest evidence goes first. */
static err describe(const struct cause *c, const struct roster *r, const struct cause_launcher *l,
                    bool started, struct buf *out) {
    char name[96];
    const struct launcher_output *fate = l->output;
    if (error_is_telling(c)) {
        buf_puts(out, c->error_message);
        return c->error_code;
    }
    if (c->has_loss && c->lost_silent) {
        roster_name(r, c->lost_rank, name);
        buf_printf(out, "%s does not answer", name);
    } else if (fate->rank >= 0 && (fate->signal || fate->exit_code >= 0)) {
        describe_fate(fate, r, out);
    } else if (c->has_error) {
        buf_puts(out, c->error_message);
        return c->error_code;
    } else {
        bool launcher_failed = l->name && l->ended && (l->signal || l->exit_code);
        if (c->has_loss) describe_loss(c, r, out);
        if (c->has_loss && launcher_failed) buf_puts(out, "; ");
        if (launcher_failed || !c->has_loss) describe_launcher(l, out);
    }
    return started ? ERR_RANK_LOST : ERR_LAUNCH;
}

err cause_decide(const struct cause *c, const struct roster *r, const struct cause_launcher *l,
                 bool started, char *out, size_t size) {
    struct buf sentence;
    buf_init(&sentence, 0);
    err code = describe(c, r, l, started, &sentence);
    snprintf(out, size, "%s", sentence.data);
    buf_deinit(&sentence);
    return code;
}
