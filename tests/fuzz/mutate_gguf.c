// SPDX-License-Identifier: MIT
/* mutate_gguf.c: `mutate_gguf MODEL COUNT SEED`: a real model file, damaged in COUNT ways.
 *
 * Each mutation is opened, its shape read and all of it printed by the code of `inspect` (into
 * memory).  It must be refused with a sentence that names the file, or everything must work, within
 * 100 ms of processor time and the size of the file + 16 MiB of memory (the latter is not measured
 * under a sanitizer, whose allocator keeps what is freed).  Mutation i uses the random numbers of
 * seed SEED + i, so `mutate_gguf MODEL 1 SEED+i` repeats one. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/gguf_internal.h"
#include "common/mem.h"
#include "common/model.h"
#include "coordinator/cli/inspect.h"

#define EXTRA_MEMORY_KIB (16 * 1024)
#ifdef LOCKSTEP_SANITIZED
#define LIMIT_MS 1000.0
#else
#define LIMIT_MS 100.0
#endif

struct subject {
    char path[64]; // of the file in memory
    int fd;
    uint8_t *original; // [window]
    uint8_t *bytes;    // [window] the mutated copy
    size_t size;       // of the original file
    size_t length;     // of the mutation: a cut makes it shorter
    size_t header;     // bytes of the headers
    size_t window;     // the headers and a little: what is mutated (weights are not looked at)
    size_t *places;    // [n_places] of counts, lengths, types, dims and offsets
    size_t n_places;
    uint64_t random;
    unsigned long refused, accepted;
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(struct subject *s) {
    uint64_t z = s->random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static size_t below(struct subject *s, size_t n) {
    return (size_t)(next_random(s) % n);
}

/* ---- the subject ------------------------------------------------------------------------- */

/* A file in memory with the same beginning and length: the weights are left out. */
static err copy_file(struct subject *s, const char *path) {
    struct gguf *g;
    TRY(gguf_open(&g, path));
    s->size = (size_t)gguf_file_bytes(g);
    s->header = g->parts[0].header_bytes;
    s->window = s->header + 4096 < s->size ? s->header + 4096 : s->size;
    s->original = mem_alloc(s->window);
    s->bytes = mem_alloc(s->window);
    ssize_t got = pread(g->parts[0].fd, s->original, s->window, 0);
    gguf_close(g);
    if (got != (ssize_t)s->window) return FAIL(ERR_IO, "%s: it could not be read", path);
    s->fd = memfd_create("mutation", MFD_CLOEXEC);
    CHECK(s->fd >= 0 && ftruncate(s->fd, (off_t)s->size) == 0);
    CHECK(pwrite(s->fd, s->original, s->window, 0) == (ssize_t)s->window);
    snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", s->fd);
    return ERR_OK;
}

/* Where the numbers of the good file are: the fields around each name. */
static err find_places(struct subject *s) {
    struct gguf *g;
    TRY(gguf_open(&g, s->path));
    const uint8_t *base = g->parts[0].bytes;
    s->places = mem_alloc((3 + 4 * g->n_kvs + 7 * g->n_tensors) * sizeof *s->places);
    for (size_t at = 4; at <= 16; at += at == 4 ? 4 : 8) s->places[s->n_places++] = at;
    for (size_t i = 0; i < g->n_kvs; i++) { // length of the key, type, type of elements, count
        size_t at = (size_t)((const uint8_t *)g->kvs[i].key.data - base);
        size_t end = at + g->kvs[i].key.length;
        for (int k = 0; k < 3; k++) s->places[s->n_places++] = end + 4 * (size_t)k;
        s->places[s->n_places++] = at - 8;
    }
    for (size_t i = 0; i < g->n_tensors; i++) { // length, dimensions, dims, type, offset
        const struct gguf_tensor *t = &g->tensors[i];
        size_t at = (size_t)((const uint8_t *)t->name.data - base), end = at + t->name.length;
        s->places[s->n_places++] = at - 8;
        s->places[s->n_places++] = end;
        for (uint32_t d = 0; d < t->n_dims; d++) s->places[s->n_places++] = end + 4 + 8 * d;
        s->places[s->n_places++] = end + 4 + 8 * t->n_dims;
        s->places[s->n_places++] = end + 8 + 8 * t->n_dims;
    }
    gguf_close(g);
    return ERR_OK;
}

/* ---- mutations --------------------------------------------------------------------------- */

static size_t random_place(struct subject *s, size_t width) {
    return below(s, s->window - width);
}

static void flip_bits(struct subject *s) {
    for (size_t n = 1 + below(s, 4); n > 0; n--)
        s->bytes[random_place(s, 1)] ^= (uint8_t)(1u << below(s, 8));
}

/* An extreme or a slightly different number, 1 to 8 bytes wide. */
static void replace_number(struct subject *s, size_t at) {
    static const uint64_t extremes[] = {
        0,          1,
        2,          3,
        7,          31,
        255,        256,
        65535,      65536,
        INT32_MAX,  (uint64_t)INT32_MAX + 1,
        UINT32_MAX, 1ull << 32,
        1000000,    1ull << 24,
        1ull << 40, 1ull << 61,
        1ull << 62, INT64_MAX,
        1ull << 63, UINT64_MAX - 7,
        UINT64_MAX,
    };
    size_t width = (size_t)1 << below(s, 4);
    uint64_t value = extremes[below(s, sizeof extremes / sizeof extremes[0])];
    if (below(s, 4) == 0) { // the old one and a little
        value = 0;
        memcpy(&value, s->bytes + at, width);
        value += below(s, 65) - (uint64_t)32;
    }
    if (at + width <= s->window) memcpy(s->bytes + at, &value, width);
}

static void swap_ranges(struct subject *s) {
    size_t n = 1 + below(s, 48), a = random_place(s, n), b = random_place(s, n);
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = s->bytes[a + i];
        s->bytes[a + i] = s->bytes[b + i];
        s->bytes[b + i] = byte;
    }
}

static void copy_range(struct subject *s) {
    size_t n = 1 + below(s, 200), a = random_place(s, n), b = random_place(s, n);
    memmove(s->bytes + a, s->bytes + b, n);
}

/* Bytes vanish or appear: all that follows is somewhere else. */
static void shift_bytes(struct subject *s) {
    size_t n = 1 + below(s, 40), at = random_place(s, n), rest = s->window - at - n;
    if (below(s, 2))
        memmove(s->bytes + at, s->bytes + at + n, rest);
    else
        memmove(s->bytes + at + n, s->bytes + at, rest);
}

static void cut_file(struct subject *s) {
    size_t end = below(s, 3) ? s->header + 64 : s->size;
    s->length = below(s, end < s->size ? end : s->size);
}

static void mutate(struct subject *s) {
    memcpy(s->bytes, s->original, s->window);
    s->length = s->size;
    for (size_t n = 1 + below(s, 3); n > 0; n--) {
        switch (below(s, 10)) {
        case 0: flip_bits(s); break;
        case 1: replace_number(s, random_place(s, 8)); break;
        case 2: swap_ranges(s); break;
        case 3: copy_range(s); break;
        case 4: shift_bytes(s); break;
        case 5: cut_file(s); break;
        default: replace_number(s, s->places[below(s, s->n_places)]); break;
        }
    }
    size_t kept = s->length < s->window ? s->length : s->window;
    CHECK(ftruncate(s->fd, (off_t)s->length) == 0);
    CHECK(pwrite(s->fd, s->bytes, kept, 0) == (ssize_t)kept);
}

/* ---- the trial --------------------------------------------------------------------------- */

static double cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void inspect(const struct gguf *g) {
    struct buf out;
    buf_init(&out, 0);
    inspect_put_json(g, &out);
    buf_clear(&out);
    inspect_put_text(g, &out);
    buf_deinit(&out);
}

static void try_once(struct subject *s) {
    struct gguf *g = NULL;
    struct model *m = NULL;
    err e = gguf_open(&g, s->path);
    if (e == ERR_OK) inspect(g);
    if (e == ERR_OK) e = model_create(&m, g);
    CHECK(e == ERR_OK || (e == ERR_MODEL && strstr(error_message(), s->path)));
    if (e == ERR_OK)
        s->accepted++;
    else
        s->refused++;
    model_free(m);
    gguf_close(g);
}

/* False, with a line on standard error, when a mutation took too much. */
static bool run(struct subject *s, unsigned long count, uint64_t seed) {
#ifndef LOCKSTEP_SANITIZED
    const long allowed = peak_kib() + (long)(s->size / 1024) + EXTRA_MEMORY_KIB;
#endif
    double slowest = 0;
    for (unsigned long i = 0; i < count; i++) {
        s->random = seed + i;
        if (i % 1000 == 0) {
            printf("mutations from seed %llu\n", (unsigned long long)s->random);
            fflush(stdout);
        }
        mutate(s);
        double start = cpu_ms();
        try_once(s);
        double ms = cpu_ms() - start;
        if (ms > slowest) slowest = ms;
        if (ms > LIMIT_MS) {
            fprintf(stderr, "seed %llu: %.1f ms of processor time, the limit is %.0f\n",
                    (unsigned long long)(seed + i), ms, LIMIT_MS);
            return false;
        }
#ifndef LOCKSTEP_SANITIZED
        if (peak_kib() > allowed) {
            fprintf(stderr, "seed %llu: %ld KiB in memory, the limit is %ld\n",
                    (unsigned long long)(seed + i), peak_kib(), allowed);
            return false;
        }
#endif
    }
    printf("%lu refused, %lu accepted, the slowest took %.2f ms, %ld KiB in memory at most\n",
           s->refused, s->accepted, slowest, peak_kib());
    return true;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: mutate_gguf MODEL COUNT SEED\n");
        return 2;
    }
    static struct subject s;
    unsigned long count = strtoul(argv[2], NULL, 10);
    if (access(argv[1], R_OK) != 0) {
        fprintf(stderr, "skipped: there is no %s\n", argv[1]);
        return 77;
    }
    if (copy_file(&s, argv[1]) != ERR_OK || find_places(&s) != ERR_OK) {
        fprintf(stderr, "%s\n", error_message());
        return 1;
    }
    bool good = run(&s, count, strtoull(argv[3], NULL, 10));
    if (good && count >= 1000 && (s.refused == 0 || s.accepted == 0)) {
        fprintf(stderr, "the mutations are all refused or all accepted: they test nothing\n");
        good = false;
    }
    close(s.fd);
    mem_free(s.original);
    mem_free(s.bytes);
    mem_free(s.places);
    return good ? 0 : 1;
}
