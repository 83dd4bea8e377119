// SPDX-License-Identifier: MIT
/* test_chat_template.c: where templates come from, and the shape of messages that they get. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "coordinator/gateway/api_chat.h"
#include "tests/unit/common/gguf_builder.h"
#include "tests/unit/coordinator/gateway/group_tokenizer.h"

/* A file without tensors that holds templates: key, text, key, text, …, NULL. */
static struct gguf *model_with(const char *const pairs[]) {
    struct gguf_builder b;
    struct buf bytes;
    struct gguf *g;
    buf_init(&bytes, 0);
    gguf_builder_init(&b);
    gguf_builder_str(&b, "general.architecture", "llama");
    for (size_t i = 0; pairs[i]; i += 2) gguf_builder_str(&b, pairs[i], pairs[i + 1]);
    gguf_builder_finish(&b, &bytes);
    assert_int_equal(gguf_builder_open(&g, &bytes), ERR_OK);
    buf_deinit(&bytes);
    gguf_builder_deinit(&b);
    return g;
}

static err use(struct chat_template **c, const char *choice, const char *const pairs[]) {
    err e = chat_template_create(c, choice);
    if (e != ERR_OK) return e;
    struct gguf *g = model_with(pairs);
    e = chat_template_use_model(*c, g, tokenizer);
    gguf_close(g);
    if (e != ERR_OK) chat_template_free(*c);
    return e;
}

/* The prompt of a body, or "param: message". */
static void expect(const struct chat_template *c, const char *body, const char *wanted) {
    struct buf out;
    char param[64];
    json_error_t where;
    json_t *root = json_loads(body, 0, &where);
    if (!root) fail_msg("%s: %s", body, where.text);
    buf_init(&out, 0);
    if (api_chat_put_prompt(&out, root, c, param) != ERR_OK)
        buf_printf(&out, "%s: %s", param, error_message());
    if (strcmp(out.data ? out.data : "", wanted) != 0)
        fail_msg("%s\n  gives  %s\n  wanted %s", body, out.data, wanted);
    buf_deinit(&out);
    json_decref(root);
}

/* One template, one body, one prompt. */
static void expect_of(const char *source, const char *body, const char *wanted) {
    struct chat_template *c;
    const char *const pairs[] = {"tokenizer.chat_template", source, NULL};
    assert_int_equal(use(&c, NULL, pairs), ERR_OK);
    assert_false(chat_template_is_plain(c));
    expect(c, body, wanted);
    chat_template_free(c);
}

#define LOOP(inner)   "{% for m in messages %}" inner "{% endfor %}"
#define USER(content) "{\"messages\":[{\"role\":\"user\",\"content\":" content "}]"

static const char *const none[] = {NULL};

static void without_a_template_chats_are_plain(void **state) {
    (void)state;
    struct chat_template *c;
    assert_true(chat_template_is_plain(NULL));
    assert_int_equal(use(&c, NULL, none), ERR_OK);
    assert_true(chat_template_is_plain(c));
    expect(c, USER("\"hi\"") "}", "User: hi\n\nAssistant:");
    chat_template_free(c);
    const char *const pairs[] = {"tokenizer.chat_template", "x", NULL};
    assert_int_equal(use(&c, "plain", pairs), ERR_OK);
    assert_true(chat_template_is_plain(c));
    chat_template_free(c);
}

static void the_model_s_template_is_used(void **state) {
    (void)state;
    expect_of("{{ bos_token }}" LOOP("[{{ m.role }}]{{ m.content }}") "{% if add_generation_prompt "
                                                                      "%}>{% endif %}",
              USER("\"hi\"") "}", "<|endoftext|>[user]hi>");
    expect_of("{{ add_generation_prompt }}{{ tools|length if tools else 0 }}{{ style }}",
              USER("\"hi\"") ",\"add_generation_prompt\":false,\"tools\":[{}],"
                             "\"chat_template_kwargs\":{\"style\":\"x\"}}",
              "false1x");
    expect_of("{{ tools is defined }}", USER("\"hi\"") ",\"tools\":[]}", "false");
    expect_of("{{ tools is defined }}", USER("\"hi\"") ",\"tools\":null}", "false");
}

static void tools_may_have_a_template_of_their_own(void **state) {
    (void)state;
    struct chat_template *c;
    const char *const pairs[] = {"tokenizer.chat_template",
                                 "without",
                                 "tokenizer.chat_template.tool_use",
                                 "with {{ tools|length }}",
                                 "tokenizer.chat_template.rag",
                                 "rag",
                                 NULL};
    assert_int_equal(use(&c, NULL, pairs), ERR_OK);
    expect(c, USER("\"hi\"") "}", "without");
    expect(c, USER("\"hi\"") ",\"tools\":[{}]}", "with 1");
    chat_template_free(c);
    assert_int_equal(use(&c, "rag", pairs), ERR_OK);
    expect(c, USER("\"hi\"") ",\"tools\":[{}]}", "rag");
    chat_template_free(c);
    assert_int_equal(use(&c, "frob", pairs), ERR_USAGE);
    assert_non_null(strstr(error_message(), "frob"));
    assert_non_null(strstr(error_message(), "tool_use, rag"));
}

static void a_file_goes_before_the_model(void **state) {
    (void)state;
    struct chat_template *c;
    const char *const pairs[] = {"tokenizer.chat_template", "the model's", NULL};
    char path[] = "/tmp/lockstep-template-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "\nthe file's {% ", 15), 15);
    assert_int_equal(chat_template_create(&c, path), ERR_USAGE);
    assert_non_null(strstr(error_message(), path));
    assert_non_null(strstr(error_message(), "line 2"));
    assert_int_equal(ftruncate(fd, 11), 0);
    assert_int_equal(use(&c, path, pairs), ERR_OK);
    expect(c, USER("\"hi\"") "}", "\nthe file's");
    chat_template_free(c);
    close(fd);
    unlink(path);
    assert_int_equal(chat_template_create(&c, "/tmp"), ERR_USAGE);
}

static void what_fails_is_a_refusal(void **state) {
    (void)state;
    expect_of("{{ raise_exception('No kings!') }}", USER("\"hi\"") "}", "messages: No kings!");
    expect_of("\n{{ 1 + none }}", USER("\"hi\"") "}",
              "messages: line 2: + cannot be used between an integer and none");
    expect_of(
        "a\n{% frob %}", USER("\"hi\"") "}",
        "messages: the model's chat template cannot be used: line 2: there is no statement {% "
        "frob %}.  The server needs --chat-template FILE, or --chat-template plain");
    static const char *const bodies[][2] = {
        {"{}", "messages: messages must be an array of 1 to 4096 messages"},
        {"{\"messages\":[{}]}", "messages: messages[0].role must be a string"},
        {USER("1") "}", "messages[0].content: messages[0].content must be a string or an array of "
                        "text parts"},
        {USER("\"x\"") ",\"tools\":{}}", "tools: tools must be an array"},
        {USER("\"x\"") ",\"add_generation_prompt\":1}",
         "add_generation_prompt: add_generation_prompt must be true or false"},
        {USER("\"x\"") ",\"chat_template_kwargs\":[]}",
         "chat_template_kwargs: chat_template_kwargs must be an object"},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        expect_of("x", bodies[i][0], bodies[i][1]);
}

static void contents_come_in_the_shape_that_is_shown(void **state) {
    (void)state;
    const char *parts =
        USER("[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]") "}";
    expect_of(LOOP("{{ m.content }}"), parts, "ab");
    expect_of(LOOP("{{ m.content|trim }}"), parts, "ab");
    expect_of(LOOP("{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
                   "{{ p.text }},{% endfor %}{% endif %}"),
              parts, "a,b,");
    expect_of(LOOP("{% for p in m.content %}<{{ p.text }}>{% endfor %}"), USER("\"hi\"") "}",
              "<hi>");
    expect_of(LOOP("{{ m.content is none }}"), USER("null") "}", "true");
    expect_of(LOOP("{{ m.content is none }}"), "{\"messages\":[{\"role\":\"user\"}]}", "true");
}

static void developers_are_the_system_s_where_unknown(void **state) {
    (void)state;
    const char *body = "{\"messages\":[{\"role\":\"developer\",\"content\":\"x\"}]}";
    expect_of(LOOP("{{ m.role }}"), body, "system");
    expect_of(LOOP("{{ m.role }}{# developer #}"), body, "developer");
}

static void arguments_of_calls_are_objects_where_needed(void **state) {
    (void)state;
    const char *body = "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":"
                       "[{\"id\":\"abcdef001\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                       "\"arguments\":\"{\\\"a\\\": 1}\"}}]}]}";
#define CALLS(shown)                                                                               \
    LOOP("{{ m.content if m.content }}{% for c in m.tool_calls or [] %}" shown "{% endfor %}")
    expect_of(CALLS("{{ c.function.arguments|tojson }}"), body, "{\"a\": 1}");
    expect_of(CALLS("{{ 'x' + c.function.arguments }}"), body, "x{\"a\": 1}");
    expect_of(CALLS("{% for k, v in c.function.arguments|items %}{{ k }}={{ v }}{% endfor %}"),
              body, "a=1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_template_chats_are_plain),
        cmocka_unit_test(the_model_s_template_is_used),
        cmocka_unit_test(tools_may_have_a_template_of_their_own),
        cmocka_unit_test(a_file_goes_before_the_model),
        cmocka_unit_test(what_fails_is_a_refusal),
        cmocka_unit_test(contents_come_in_the_shape_that_is_shown),
        cmocka_unit_test(developers_are_the_system_s_where_unknown),
        cmocka_unit_test(arguments_of_calls_are_objects_where_needed),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
