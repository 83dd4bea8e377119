// SPDX-License-Identifier: MIT
/* fuzz_gguf.c: model files and received headers made of whatever libFuzzer finds.
 *
 * The first byte chooses: the rest is the contents of a file that is opened, or headers that
 * another process sent.  What is accepted must be good for everything that comes after: the shape,
 * `lockstep inspect`, and the way to another process and back with the same identity. */

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/model.h"
#include "coordinator/cli/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void use(const struct gguf *g) {
    struct model *m = NULL;
    struct gguf *copy = NULL;
    struct buf out;
    if (model_create(&m, g) == ERR_OK) CHECK(model_weight_bytes(m) > 0);
    model_free(m);

    buf_init(&out, 0);
    inspect_put_json(g, &out);
    buf_clear(&out);
    inspect_put_text(g, &out);
    buf_clear(&out);
    gguf_put_headers(g, &out);
    CHECK(gguf_from_headers(&copy, out.data, out.length) == ERR_OK);
    CHECK(gguf_identity(copy) == gguf_identity(g));
    gguf_close(copy);
    buf_deinit(&out);
}

static err open_file(struct gguf **g, const uint8_t *data, size_t n) {
    static int fd = -1;
    char path[64];
    if (fd < 0) fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, 0) == 0);
    CHECK(pwrite(fd, data, n, 0) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return gguf_open(g, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct gguf *g = NULL;
    if (n == 0) return 0;
    err e = data[0] % 2 ? gguf_from_headers(&g, data + 1, n - 1) : open_file(&g, data + 1, n - 1);
    if (e == ERR_OK)
        use(g);
    else
        CHECK(e == ERR_MODEL && error_message()[0] != '\0');
    gguf_close(g);
    return 0;
}
