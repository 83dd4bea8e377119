// SPDX-License-Identifier: MIT
/* config.c: see config.h.  libinih reads the lines; each is one look-up in the option table.
 *
 * inih goes on after an error, so the first one is kept here, with its sentence. */

#include "coordinator/cli/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/cli/option_table.h"

#define MAX_ROWS 128

struct text {
    struct text *next;
    char bytes[]; // NUL-terminated
};

struct reading {
    struct options *options;
    struct options ignored; // takes the values of other commands' options
    unsigned command;
    const char *path;
    FILE *file;
    unsigned line; // the one that is being read
    bool seen[MAX_ROWS];
    err error;
    char message[512]; // of the first error
};

static const char *keep(struct options *o, const char *value) {
    size_t n = strlen(value) + 1;
    struct text *t = mem_alloc(sizeof *t + n);
    memcpy(t->bytes, value, n);
    t->next = o->storage;
    o->storage = t;
    return t->bytes;
}

static const struct option_row *find_key(const char *section, const char *name, size_t *index) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", section, name);
    for (*index = 0; *index < option_count(); (*index)++) {
        const struct option_row *row = option_at(*index);
        if (row->key && strcmp(row->key, key) == 0) return row;
    }
    return NULL;
}

static err take_line(struct reading *r, const char *section, const char *name, const char *value) {
    size_t index;
    const struct option_row *row = find_key(section, name, &index);
    if (!row)
        return FAIL(ERR_USAGE,
                    "%s:%u: unknown key '%.60s' in section [%.60s]; configs/lockstep.ini "
                    "lists all",
                    r->path, r->line, name, section);
    if (r->seen[index] && row->type != OPTION_LIST)
        return FAIL(ERR_USAGE,
                    "%s:%u: %s is given twice (an indented line continues the one above)", r->path,
                    r->line, row->key);
    r->seen[index] = true;
    bool wanted = (row->commands & r->command) != 0;
    char shown[128];
    snprintf(shown, sizeof shown, "%s =", row->key);
    err e = option_set(wanted ? r->options : &r->ignored, row, shown, keep(r->options, value));
    return e == ERR_OK ? e : error_prefix(e, "%s:%u", r->path, r->line);
}

static int on_line(void *ctx, const char *section, const char *name, const char *value) {
    struct reading *r = ctx;
    if (r->error != ERR_OK) return 1;
    r->error = take_line(r, section, name, value);
    if (r->error != ERR_OK) snprintf(r->message, sizeof r->message, "%s", error_message());
    return 1;
}

/* Counts what inih reads. */
static char *next_line(char *out, int size, void *ctx) {
    struct reading *r = ctx;
    r->line++;
    return fgets(out, size, r->file);
}

err config_load(struct options *o, unsigned command, const char *path) {
    FILE *f = fopen(path, "re");
    if (!f) return FAIL(ERR_USAGE, "--config %s: %s", path, strerror(errno));
    struct reading r = {.options = o, .command = command, .path = path, .file = f};
    int bad_line = ini_parse_stream(next_line, &r, on_line, &r);
    bool unreadable = ferror(f) != 0;
    fclose(f);
    if (unreadable) return FAIL(ERR_USAGE, "--config %s: it cannot be read", path);
    if (r.error != ERR_OK) return FAIL(r.error, "%s", r.message);
    if (bad_line > 0)
        return FAIL(ERR_USAGE,
                    "%s:%d: this is no section, no 'key = value' and no comment, or is "
                    "longer than 199 bytes",
                    path, bad_line);
    return ERR_OK;
}

void config_free(void *storage) {
    for (struct text *t = storage; t;) {
        struct text *next = t->next;
        mem_free(t);
        t = next;
    }
}
