// SPDX-License-Identifier: MIT
/* test_template.c: what Jinja knows and the reference does not, what is said about mistakes, and
 * the bounds.  tests/template compares everything else with the reference. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "coordinator/template/template.h"

#define NOW 1785326400 // Wednesday, 29 July 2026, 12:00 UTC

/* Renders with variables as JSON.  *out is the text, or the message. */
static err render(const char *source, size_t n, const char *variables, struct buf *out) {
    struct template *t;
    buf_init(out, 0);
    json_t *json = json_loads(variables, 0, NULL);
    assert_non_null(json);
    err e = template_parse(&t, source, n);
    if (e == ERR_OK) {
        e = template_render(t, json, NOW, out);
        template_free(t);
    }
    json_decref(json);
    if (e != ERR_OK) buf_puts(out, error_message());
    return e;
}

static void expect(const char *source, const char *variables, const char *text) {
    struct buf out;
    err e = render(source, strlen(source), variables, &out);
    if (e != ERR_OK || strcmp(out.data ? out.data : "", text) != 0)
        fail_msg("%s\n  gives  %s\n  wanted %s", source, out.data ? out.data : "", text);
    buf_deinit(&out);
}

static void refuse(const char *source, err code, const char *message) {
    struct buf out;
    err e = render(source, strlen(source), "{}", &out);
    if (e != code || !strstr(out.data ? out.data : "", message))
        fail_msg("%s\n  gives  %s: %s\n  wanted %s", source, error_name(e),
                 out.data ? out.data : "", message);
    buf_deinit(&out);
}

/* Expected texts are Python Jinja's (3.1.6), but for lists and booleans, shown as the reference
 * shows them. */
static void jinja_beyond_the_reference(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{{ 6 is divisibleby 3 }} {{ 7 is divisibleby(3) }} {{ 7 is not divisibleby 3 }}",
         "true false true"},
        {"{{ 2 is in [1, 2] }} {{ 1 is eq 1 and 2 is ne(3) }} {{ 3 is gt 2 }} {{ 1.5 is float }}",
         "true true true true"},
        {"{{ [1, 2, 3, 4]|select('even')|list }} {{ [0, 1]|reject|list }}", "[2, 4] [0]"},
        {"{{ [1, 5, 9]|select('gt', 4)|list }} {{ ['a', 'b']|reject('equalto', 'a')|join }}",
         "[5, 9] b"},
        {"{{ ['a', 'b']|map('upper')|join('-') }} {{ [' x']|map('trim')|first }}", "A-B x"},
        {"{{ ['a_b', 'c_d']|map('replace', '_', ' ')|list }}", "[\"a b\", \"c d\"]"},
        {"{{ [1, 2]|sum }} {{ [{'n': 1}, {'n': 2}]|sum('n', 10) }} {{ [3, 1]|min }}"
         "{{ ['b', 'A']|max }}",
         "3 13 1b"},
        {"{{ 2.5|round }} {{ 3.14159|round(2) }} {{ 2.1|round(0, 'ceil') }}", "2.0 3.14 3.0"},
        {"{{ '<a & \"b\">'|e }}", "&lt;a &amp; &#34;b&#34;&gt;"},
        {"{{ x|d('q') }} {{ [1, 2]|count }} {{ 'xxaxx'|trim('x') }}", "q 2 a"},
        {"{{ 'ab'|list }} {{ 'ab'|first }} {{ 'ab'|reverse }} {{ {'k': 1}|list }}",
         "[\"a\", \"b\"] a ba [\"k\"]"},
        {"{{ 'x' * 3 }} {{ [1] * 2 }} {{ 'a' < 'b' }} {{ true + 1 }}", "xxx [1, 1] true 2"},
        {"{{ '%s is %05.2f|%-4s|%3d%%|%x' % ('a', 3.14159, 'x', 7, 255) }}",
         "a is 03.14|x   |  7%|ff"},
        {"{{ '%(a)s' % {'a': 1} }} {{ '%s' % 'one' }} {{ '%s-%s'|format(1, 2) }}", "1 one 1-2"},
        {"{{ '{} {0} {n:>4}|{:^5}|{:03d}'.format(1, 'mid', 5, n='r') }}", "1 1    r| mid |005"},
        {"{% for c in 'h\xC3\xA9' %}{{ c }},{% endfor %}", "h,\xC3\xA9,"},
        {"{% for a, b in [(1, 2)] %}{{ a }}{{ b }}{% endfor %} {{ (1,) }}", "12 [1]"},
        {"{{ {1: 'a', 2: 'b'}[2] }} {% for k, v in {5: 1, 3: 2}|dictsort %}{{ k + 1 }}{{ v }} "
         "{% endfor %}",
         "b 42 61 "},
        {"{{ dict(a=1, b=2).b }} {{ dict({'x': 3}).x }}", "2 3"},
        {"{{ 'abcb'.find('b') }}{{ 'abcb'.rfind('b') }}{{ 'abcb'.count('b') }}"
         "{{ 'abc'.find('z') }}{{ [5, 6].index(6) }}",
         "132-11"},
        {"{{ 'a-b-c'.rsplit('-', 1) }} {{ 'a\\nb'.splitlines() }} {{ 'a=b'.partition('=') }}",
         "[\"a-b\", \"c\"] [\"a\", \"b\"] [\"a\", \"=\", \"b\"]"},
        {"{{ ','.join(['a', 'b']) }} {{ 'unhappy'.removeprefix('un') }} {{ '7'.zfill(3) }} "
         "{{ '-7'.zfill(4) }} {{ '42'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'AB'.isupper() }}",
         "a,b happy 007 -007 true true true"},
        {"{% for k, v in {'items': 5}.items() %}{{ k }}{{ v }}{% endfor %} "
         "{{ none|selectattr('x')|list|length }}",
         "items5 0"},
        {"{% set x | upper | trim %} abc {% endset %}[{{ x }}]", "[ABC]"},
        {"a\n  {%+ if true %}b\n{% endif +%}\nc", "a\n  b\n\nc"},
        {"{{ '\\d+' }} {{ 'a' 'b' }}", "\\d+ ab"},
        {"{{ strftime_now('%A, %-d %B %Y') }}", "Wednesday, 29 July 2026"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i][0], "{}", cases[i][1]);
}

static void variables_are_json(void **state) {
    (void)state;
    expect("{{ a.b[1] }} {{ n }} {{ f }} {{ w }} {{ t }}{{ x is none }} {{ s }}",
           "{\"a\": {\"b\": [1, 2]}, \"n\": 12345678901, \"f\": 0.5, \"w\": 2.0, \"t\": true,"
           "\"x\": null, \"s\": \"\xF0\x9F\x98\x80\"}",
           "2 12345678901 0.5 2 truetrue \xF0\x9F\x98\x80");
}

static void mistakes_are_named_with_their_line(void **state) {
    (void)state;
    refuse("a\n{% if x %}\n  {% for", ERR_MODEL, "line 3");
    refuse("\n\n{{ 'abc }}", ERR_MODEL, "line 3: the string has no closing '");
    refuse("  {% if true %}\n  {% frob %}", ERR_MODEL, "line 2: there is no statement {% frob %}");
    refuse("\n{% for x in y %}\nabc", ERR_MODEL, "line 2: this block has no {% endfor %}");
    refuse("{% set a = 1 %}\n{% set b = 2 %}\n{{ a + missing }}", ERR_REQUEST,
           "line 3: + cannot be used between an integer and undefined");
    refuse("\n{{ 'a'|frob }}", ERR_REQUEST, "line 2: there is no filter frob");
    refuse("{{ 1 is frob }}", ERR_REQUEST, "there is no test frob");
    refuse("{{ f() }}", ERR_REQUEST, "there is no function f");
    refuse("{{ 'a'.frob() }}", ERR_REQUEST, "a string has no method frob");
    refuse("{% for x in missing %}{% endfor %}", ERR_REQUEST, "a loop needs a list");
    refuse("{% for o in [1, 2] %}{% for a, b in [[1, 2], [3]] %}{% continue %}{% endfor %}{% "
           "endfor %}",
           ERR_REQUEST, "there are 1 items for 2 names"); // the continue before it is over
    refuse("\xFF", ERR_MODEL, "not valid UTF-8");
}

static void a_template_may_refuse(void **state) {
    (void)state;
    struct buf out;
    const char *source = "\n{{ raise_exception('Roles must alternate!') }}";
    assert_int_equal(render(source, strlen(source), "{}", &out), ERR_REQUEST);
    assert_string_equal(out.data, "Roles must alternate!");
    buf_deinit(&out);
}

static void nothing_is_appended_on_errors(void **state) {
    (void)state;
    struct template *t;
    struct buf out;
    buf_init(&out, 0);
    buf_puts(&out, "before");
    assert_int_equal(template_parse(&t, "text{{ 1 + none }}", 18), ERR_OK);
    assert_int_equal(template_render(t, NULL, 0, &out), ERR_REQUEST);
    assert_string_equal(out.data, "before");
    assert_true(template_mentions(t, "none"));
    assert_false(template_mentions(t, "nothing"));
    template_free(t);
    buf_deinit(&out);
}

/* A source made of `head`, n times `middle`, and `tail`, must end in an error that says `message`.
 */
static void bomb(const char *head, const char *middle, size_t n, const char *tail,
                 const char *message) {
    struct buf source, out;
    buf_init(&source, 0);
    buf_puts(&source, head);
    for (size_t i = 0; i < n; i++) buf_puts(&source, middle);
    buf_puts(&source, tail);
    err e = render(source.data, source.length, "{}", &out);
    if (e == ERR_OK || !strstr(out.data, message))
        fail_msg("%s%s…%s\n  gives  %s\n  wanted %s", head, middle, tail, out.data, message);
    buf_deinit(&source);
    buf_deinit(&out);
}

static void nesting_is_bounded(void) {
    static const char *const nests[][2] = {{"{{ ", "("},
                                           {"{{ ", "["},
                                           {"{{ ", "{'a': "},
                                           {"{{ ", "not "},
                                           {"{{ ", "- "},
                                           {"{{ ", "f("},
                                           {"{{ ", "a["},
                                           {"", "{% if 1 %}"},
                                           {"", "{% for x in y %}"},
                                           {"", "{% macro m() %}"},
                                           {"", "{% set x %}"},
                                           {"", "{% filter upper %}"},
                                           {"{{ x", "|f(x"}};
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++)
        bomb(nests[i][0], nests[i][1], 10000, "", "nested deeper than 200");
    static const char *const chains[] = {".a", "[0]", "()", "|safe", " + 1", " if 0 else 2"};
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        bomb("{% set x = range %}{{ x", chains[i], 10000, " }}", "nested too deep");
    bomb("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}", "", 0, "", "nested too deep");
    bomb("{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}"
         "{% endfor %}{{ ns.a }}",
         "", 0, "", "nested too deep");
}

static void time_is_bounded(void) {
    static const char *const loops[] = {
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% set r = range(5000) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}",
        "{% set r = range(200000) %}{% for i in r %}{% if -1 in r %}{% endif %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% set t = s ~ '' %}{% for i in range(9999) %}"
        "{% if s == t or s < t or 'x' in s or s.startswith(t) or s[-1] %}{% endif %}{% endfor %}",
        "{% set s = ' ' * 1000000 %}{% for i in range(999999) %}{{ s|trim|upper }}{% endfor %}",
        "{% set d = {'a': 1} %}{% set s = 'k' * 1000000 %}{% for i in range(999999) %}{{ d[s] }}"
        "{% endfor %}",
        "{{ range(300000)|unique|list|length }}",
        "{% set s = 'x' * 4000000 %}{% for i in range(999999) %}{% set t = s.ljust(1) %}{% endfor "
        "%}",
        "{% set s = ' ' * 4000000 %}{% for i in range(999999) %}{% if s == 1 %}{% endif %}{% "
        "endfor %}",
        "{% set s = ' ' * 4000000 %}{% for i in range(999999) %}"
        "{% set t = [[1]]|map(attribute=s)|list %}{% endfor %}",
    };
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        bomb(loops[i], "", 0, "", "too many steps");
}

static void memory_is_bounded(void) {
    static const char *const hogs[] = {
        "{{ 'x' * 10**9 }}",
        "{{ [1] * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ 'x'.rjust(10**9) }}",
        "{{ ('\\n' * 1000000)|indent(100, true, true) }}",
        "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}"
        "{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(64) %}{% set ns.l = ns.l + ns.l %}"
        "{% endfor %}",
        "{% set a = 'a' * 10000 %}{{ a|replace('a', a) }}",
    };
    for (size_t i = 0; i < sizeof hogs / sizeof *hogs; i++) bomb(hogs[i], "", 0, "", "memory");
    bomb("{% for i in range(1000) %}{{ 'y' * 100000 }}{% endfor %}", "", 0, "", "beyond 16 MiB");
    bomb("", "x", TEMPLATE_MAX_SOURCE_BYTES + 1, "", "this one has 262145");
}

static void *all_bombs(void *unused) {
    (void)unused;
    nesting_is_bounded();
    time_is_bounded();
    memory_is_bounded();
    return NULL;
}

/* On a stack of 2 MiB, sanitizers or not. */
static void bombs_end_in_errors(void **state) {
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)2 << 20), 0);
    assert_int_equal(pthread_create(&thread, &attributes, all_bombs, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

/* A string that grows by pieces in a loop costs linear time and memory. */
static void growing_a_string_is_linear(void **state) {
    (void)state;
    expect(
        "{% set ns = namespace(s='') %}{% for i in range(100000) %}{% set ns.s = ns.s ~ '12345678' "
        "%}{% endfor %}{{ ns.s|length }}",
        "{}", "800000");
}

int main(void) {
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jinja_beyond_the_reference),
        cmocka_unit_test(variables_are_json),
        cmocka_unit_test(mistakes_are_named_with_their_line),
        cmocka_unit_test(a_template_may_refuse),
        cmocka_unit_test(nothing_is_appended_on_errors),
        cmocka_unit_test(growing_a_string_is_linear),
        cmocka_unit_test(bombs_end_in_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
