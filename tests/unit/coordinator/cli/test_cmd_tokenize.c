// SPDX-License-Identifier: MIT
/* test_cmd_tokenize.c: what `lockstep tokenize` prints, on a vocabulary-only file made here.
 *
 * Standard output and input are memory files while the command runs; the writer of --json-out is
 * this file's own, as the real one comes with the engine. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/session.h"
#include "tests/unit/common/gguf_builder.h"

static char model_path[64];
static char json_file[512]; // what --json-out got

err session_write_file(const char *path, const char *text, size_t n) {
    snprintf(json_file, sizeof json_file, "%s: %.*s", path, (int)n, text);
    return ERR_OK;
}

static int make_model(void **state) {
    (void)state;
    static const char *const tokens[] = {"a",      "b",      "ab",      "\u0120",
                                         "\u00c3", "\u00a9", "<|end|>", "\""};
    const int32_t types[] = {1, 1, 1, 1, 1, 1, 3, 1};
    struct gguf_builder b;
    struct buf bytes;
    gguf_builder_init(&b);
    gguf_builder_str(&b, "tokenizer.ggml.model", "gpt2");
    gguf_builder_str(&b, "tokenizer.ggml.pre", "llama-bpe");
    gguf_builder_u32(&b, "tokenizer.ggml.bos_token_id", 6);
    gguf_builder_array(&b, "tokenizer.ggml.tokens", GGUF_STRING, 8);
    for (size_t i = 0; i < 8; i++) gguf_builder_put_string(&b.kvs, tokens[i]);
    gguf_builder_array(&b, "tokenizer.ggml.token_type", GGUF_I32, 8);
    buf_append(&b.kvs, types, sizeof types);
    gguf_builder_array(&b, "tokenizer.ggml.merges", GGUF_STRING, 1);
    gguf_builder_put_string(&b.kvs, "a b");
    gguf_builder_finish(&b, &bytes);
    gguf_builder_memory_file(&bytes, model_path);
    gguf_builder_deinit(&b);
    buf_deinit(&bytes);
    return 0;
}

/* Runs the command with `input` on standard input and returns what it printed. */
static err run(const struct options *o, const char *input, char out[512]) {
    int files[2] = {memfd_create("in", 0), memfd_create("out", 0)};
    int saved[2] = {dup(STDIN_FILENO), dup(STDOUT_FILENO)};
    assert_int_equal(write(files[0], input, strlen(input)), (ssize_t)strlen(input));
    assert_int_equal(lseek(files[0], 0, SEEK_SET), 0);
    fflush(stdout);
    for (int fd = 0; fd < 2; fd++) assert_int_equal(dup2(files[fd], fd), fd);
    clearerr(stdin);
    err e = cmd_tokenize(o);
    for (int fd = 0; fd < 2; fd++) {
        assert_int_equal(dup2(saved[fd], fd), fd);
        close(saved[fd]);
    }
    ssize_t n = pread(files[1], out, 511, 0);
    assert_true(n >= 0);
    out[n] = '\0';
    close(files[0]);
    close(files[1]);
    return e;
}

static void check_printed(struct options o, const char *text, const char *input,
                          const char *expected) {
    char out[512];
    o.model = model_path;
    o.args = &text;
    o.n_args = text != NULL;
    assert_int_equal(run(&o, input, out), ERR_OK);
    assert_string_equal(out, expected);
}

static void check_refused(struct options o, size_t n_args, err code, const char *sentence) {
    const char *args[] = {"a", "b"};
    char out[512];
    if (!o.model) o.model = model_path;
    o.args = args;
    o.n_args = n_args;
    assert_int_equal(run(&o, "", out), code);
    assert_string_equal(out, "");
    if (!strstr(error_message(), sentence)) {
        fail_msg("\"%s\" does not say \"%s\"", error_message(), sentence);
    }
}

static void test_ids(void **state) {
    (void)state;
    check_printed((struct options){0}, "ab ba", "", "2 3 1 0\n");
    check_printed((struct options){0}, "", "", "\n");
    check_printed((struct options){0}, "-", "ab", "2\n");
    check_printed((struct options){0}, NULL, "bab", "1 2\n");
    check_printed((struct options){.add_special = true}, "a", "", "6 0\n");
    check_printed((struct options){0}, "a<|end|>", "", "0\n"); // the other bytes have no token
    check_printed((struct options){.parse_special = true}, "a<|end|>", "", "0 6\n");
}

static void test_json(void **state) {
    (void)state;
    const struct options o = {.json = true, .add_special = true};
    check_printed(o, "ab \u00e9\"", "",
                  "{\"ids\": [6, 2, 3, 4, 5, 7], "
                  "\"pieces\": [\"<|end|>\", \"ab\", \" \", \"\u00c3\", \"\u00a9\", \"\\\"\"]}\n");
    check_printed((struct options){.json = true}, "", "", "{\"ids\": [], \"pieces\": []}\n");
    check_printed((struct options){.json_out = "file"}, "b", "", "1\n");
    assert_string_equal(json_file, "file: {\"ids\": [1], \"pieces\": [\"b\"]}\n");
}

static void test_decode(void **state) {
    (void)state;
    struct options o = {.decode = "2 3,1\t4 5 6"};
    check_printed(o, NULL, "", "ab b\u00e9");
    o.parse_special = true;
    check_printed(o, NULL, "", "ab b\u00e9<|end|>");
    o.json = true;
    check_printed(o, NULL, "",
                  "{\"ids\": [2, 3, 1, 4, 5, 6], \"pieces\": [\"ab\", \" \", \"b\", \"\u00c3\", "
                  "\"\u00a9\", \"<|end|>\"], \"text\": \"ab b\u00e9<|end|>\"}\n");
    check_printed((struct options){.decode = ""}, NULL, "", "");
}

static void test_wrong_arguments(void **state) {
    (void)state;
    check_refused((struct options){0}, 2, ERR_USAGE, "one TEXT");
    check_refused((struct options){.decode = "1"}, 1, ERR_USAGE, "--decode and no TEXT");
    check_refused((struct options){.decode = "1 x2"}, 0, ERR_USAGE, "'x2' is no token id");
    check_refused((struct options){.decode = "-1"}, 0, ERR_USAGE, "'-1' is no token id");
    check_refused((struct options){.decode = "1 8"}, 0, ERR_USAGE, "ids 0 to 7 only, not 8");
    check_refused((struct options){.decode = "99999999999999999999"}, 0, ERR_USAGE, "ids 0 to 7");
    check_refused((struct options){.model = "/nonexistent.gguf"}, 1, ERR_MODEL,
                  "/nonexistent.gguf");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
