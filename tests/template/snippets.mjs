// SPDX-License-Identifier: MIT
// snippets.mjs: small templates: every operator, filter, test and method on every kind of value, and the corners
// of the language that chat templates lean on.

import { variables } from './random_templates.mjs';

const values = ['0', '1', '-3', '2.0', '-2.5', '1e21' && '1000000000000000000000', '0.1', '"a"', '"Ab c"', '""', '"12.5e1x"', "' x\\t'", '"é😀ß"', 'true', 'false', 'none', 'missing',
    '[]', '[1]', "[3, 1.5, 2]", "['b', 'A', 'a']", '[[1], [2]]', '(1, 2)', '()', '{}', "{'b': 1, 'a': 'x'}", 'rows', 'o', 'namespace(a=1)', 'range(4)', 'range', 'o.items'];
const operators = ['+', '-', '*', '/', '//', '%', '~', '==', '!=', '<', '>', '<=', '>=', 'in', 'not in', 'and', 'or'];
const filters = ['abs', 'bool', 'capitalize', 'default', 'dictsort', 'first', 'float', 'indent', 'int', 'items', 'join', 'keys', 'last', 'length', 'list', 'lower', 'reverse', 'safe', 'sort', 'string', 'title', 'tojson', 'trim', 'unique', 'upper', 'values',
    "default('d')", "default('d', true)", "default('d', boolean=true)", 'float(7)', 'int(7)', "int(default='q')", "join('-')", "join(separator=', ')", 'join(1)', 'indent(2)', 'indent(2, true)', 'indent(first=true, blank=true)', "replace('a', 'A')", "replace('', '.')", "replace('', '.', 2)", "replace('x', 'yy', count=1)", "replace('a')",
    "sort(reverse=true)", 'sort(case_sensitive=true)', "sort(attribute='v')", 'sort(attribute=0)', 'dictsort(true)', "dictsort(by='value')", "dictsort(reverse=true)", "map(attribute='v')", "map(attribute='in.z')", "map(attribute='v', default=0)", 'map(attribute="0")',
    "selectattr('k')", "rejectattr('k')", "selectattr('v', 'odd')", "selectattr('k', 'equalto', 'x')", "rejectattr('k', 'eq', 'x')", "selectattr('q', 'undefined')",
    'tojson(indent=2)', 'tojson(indent=0)', 'tojson(4)', 'tojson(ensure_ascii=true)', 'tojson(sort_keys=true)', "tojson(separators=(',', ':'))", "tojson(indent=1, separators=['; ', ' = '])", "get('a')", "get('q', 5)", 'frobnicate'];
const tests = ['boolean', 'callable', 'odd', 'even', 'false', 'true', 'none', 'string', 'number', 'integer', 'iterable', 'mapping', 'sequence', 'lower', 'upper', 'defined', 'undefined', 'frobnicated'];
const methods = ['upper()', 'lower()', 'strip()', "strip('a')", 'lstrip()', 'rstrip()', 'title()', 'capitalize()', 'length', 'split()', "split('b')", "split(' ', 1)", 'split(none, 1)', "split('')", 'split(1)', "startswith('A')", "startswith(['x', 'a'])", "startswith()", "endswith('c')", "endswith(('c', 1))", "replace('a', 'b')", "replace('a', 'b', 1)", "replace('a', 'b', count=0)", 'items()', 'keys()', 'values()', "get('a')", "get('q')", "get('q', 1)", 'get(1)', 'dictsort()', 'a', 'b.c.d', '0', 'frob()'];
const subscripts = ['[0]', '[-1]', '[5]', '[1.0]', "['a']", "['length']", '[none]', '[missing]', '[true]', '[0:1]', '[1:]', '[:-1]', '[::2]', '[::-1]', '[-1:-3:-1]', '[5:1]', '[:0]', '[::0]', '[1:none]', '["a":]', '[-100:100]', '[2::-1]', '[:1:-1]'];

function* matrix() {
    for (const v of values) {
        yield `{{ ${v} }}`;
        yield `{{ not ${v} }}|{{ -${v} }}`;
        yield `{{ -${v} }}|{{ +${v} }}`;
        yield `{% if ${v} %}yes{% else %}no{% endif %}`;
        yield `{% for x in ${v} %}{{ x }},{% else %}nothing{% endfor %}`;
        yield `{{ 1 if ${v} else 2 }}{{ ${v} if ${v} }}`;
        yield `{% set a, b = ${v} %}{{ b }}`;
        for (const f of filters) yield `{{ ${v}|${f} }}`;
        for (const t of tests) yield `{{ ${v} is ${t} }}{{ ${v} is not ${t} }}`;
        for (const m of methods) yield `{{ (${v}).${m} }}`;
        for (const s of subscripts) yield `{{ (${v})${s} }}`;
        for (const w of values) for (const op of operators) yield `{{ ${v} ${op} ${w} }}`;
    }
    for (const a of ['2', '-2', '0', '0.5', '10', 'true']) for (const b of ['2', '0', '-1', '3', 'false', '20']) yield `{{ ${a} ** ${b} }}`;
}

const corners = [
    // Numbers as JavaScript writes them.
    ...['1/3', '2/3', '10/5', '1/1000000', '1/10000000', '123456789*1000', '10**20', '10**21', '2.5*10**25', '1/3*10**-10', '5//2', '-5//2', '5%3', '-5%3', '5.5%2', '1/0', '0/0', '-1/0', '7//0', '0.1+0.2', '100000000000000000000000', '1.0', '1.50', '-0.0', '0 * -1', '1.0*0*-1', '3.0|int', '3.7|int', '-3.7|int', '3.7|int()', '3|float', '3|float()', '"3.99"|int', '"-7x"|int', '"x"|int(4)', '"1e3"|float', '".5"|float', '"Infinity"|float', '"  12 "|int', 'true|int', 'true|float'].map((e) => `{{ ${e} }}`),
    // Precedence and association.
    ...['1 + 2 * 3', '(1 + 2) * 3', '2 ** 3 ** 2', '-2 ** 2', '- 2 ** 2', '1 - 1 - 1', '2 * 3 % 4', '1 ~ 2 + 3', '1 + 2 ~ 3', '"a" ~ 1 == "a1"', 'not 1 == 2', 'not true and false', 'true or false and false', '1 < 2 == true', '1 < 3 < 2', '1 in [1] and 2 in [2]', '1 not in [1]', 'not 1 in [2]', '1 if true else 2 if true else 3', '1 if false else 2 if false else 3', '(1 if true else 2) + 1', '1 + 1 if true else 5', '2|string ~ "x"', '1 + "2"|int', '-"3"|int', '(-3)|abs', '-3|abs', '- 3|abs', '1 - -1', '1 -1', '[1,2][0] -1', '3 is odd and 2 is even', 'not 3 is odd', '3 is not odd', '1 is defined is true', '4 * 4 is even', 'x is defined or true', '[1 2 3]', "{'a': 1 'b': 2}", '"a" "b" ~ "c"', "1.5.0", '"abc"[1].upper()', '"abc".upper().lower()[0]', '[[1,2],[3]][0][1]', "{'a': {'b': [7]}}.a.b[0]", 'range(3)[1]', 'range(10)|list|length', 'range(5, 1, -2)', 'range(0)', 'range(2.5)', 'range(1, 2, 0)', 'range(0, 1, 0.25)', "'%'", "'{{'", "'%}'", "'a' if 'b' in 'abc' else 'c'"].map((e) => `{{ ${e} }}`),
    // Strings.
    ...["'it\\'s'", '"q\\"q"', "'\\\\n'", "'\\x41\\u00e9'", "'\\ud83d\\ude00'|length", "'\\ud83d' ~ '\\ude00'", "'\\ud83d'|tojson", "'😀x'[0] ~ '|' ~ '😀x'[1]", "'😀x'[0:1]", "'😀x'|length", "'a\u2028b'|tojson", "'\\b\\f\\v\\r\\t'|tojson", "'é'|tojson(ensure_ascii=true)", "'😀'|tojson(ensure_ascii=true)", "'\\x7f'|tojson(ensure_ascii=true)", "'ΑΣ ΑΣΑ'|lower", "'ßŉǰﬁ'|upper", "'İI'|lower", "'ßa'|capitalize", "'😀a'|capitalize", "\"it's o'clock-time é x_y 9z\"|title", "'\u00a0\ufeff\u0085x\u3000'|trim|length", "'a b\u00a0c\u3000d'.split()", "'a\\nb\\r\\nc'|indent", "''|indent(2, true, true)|length", "'aaa'.replace('aa', 'b')", "'abc'.replace('', '-')", "'aXbXc'.split('X', 1)", "'aXbXc'.split('X', -2)", "'aXbXc'.split('X', 0)", "' a  b c '.split(none, 1)", "' a  b c '.split(none, 0)", "'x'.split('x')", "''.split()", "''.split('x')", "'abc' 'def'[0]", "'a,b'.split(',')|join('+')", "['a', none, 1, 2.0, true, [1, none]]|join(' ')", "[1, none] ~ ''", "[1.0, [none, 'a']] ~ ''", "{'a': 1} ~ ''", "'' ~ 1.0 ~ true", "1.0 + '' + 2.5"].map((e) => `{{ ${e} }}`),
    // Equality as JavaScript's.
    ...["'1' == 1", "'' == 0", "' 2 ' == 2", "'a' == 0", 'true == 1', "true == '1'", 'none == missing', 'none == false', 'missing == missing', '[] == []', "[] == ''", "['a'] == 'a'", '[1, 2] == "1,2"', 'l == l', 'l == [1, 2, 3]', 'o == o', "o.c == o['c']", '1 == 1.0', "'0x10' == 16", "'1e2' == 100", "1 in ['1']", 'true in [1]', 'o in [o]', '[1] in [[1]]', "none in [none]", "'a' in missing", "missing in []", "'' in 'abc'", "'a' in o", "'z' in o", "'a' in namespace(a=1)"].map((e) => `{{ ${e} }}`),
    // Scopes.
    '{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}',
    '{% set ns = namespace(n=0) %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ ns }}',
    '{% if true %}{% set x = 5 %}{% endif %}{{ x }}', '{% for i in [1] %}{% set q = 1 %}{% endfor %}{{ q is defined }}',
    '{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 2 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}',
    '{% macro m() %}{{ y }}{% endmacro %}{% for y in [1, 2] %}{{ m() }}{% endfor %}', '{% for loop in [1, 2] %}{{ loop }}{% endfor %}',
    '{% set a, b = [1, 2] %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}', '{% set ns = namespace([["a", 1], "xy"], c=3) %}{{ ns.a }}{{ ns.x }}{{ ns.c }}', '{% set o.a = 1 %}', '{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]', '{% set x = "<" %}{{ x is string }}{% set x.y = 1 %}',
    // Loops.
    '{% for i in [5, 6, 7] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}', '{% for i in [1] %}{{ loop }}{% endfor %}',
    '{% for i in [1, 2, 3, 4] if i is odd %}{{ loop.index }}/{{ loop.length }}:{{ i }} {% endfor %}', '{% for i in [1, 2] if i > 5 %}x{% else %}none{% endfor %}', '{% for i in [] %}x{% else %}e{{ i is defined }}{% endfor %}', "{% for k in {'a': 1, 'b': 2} %}{{ k }}{% endfor %}", "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", '{% for a, b in [[1, 2], [3, 4]] if b > 2 %}{{ a }}{% endfor %}', '{% for a, b in [[1]] %}{% endfor %}', '{% for a in 5 %}{% endfor %}', '{% for a.b in [1] %}{% endfor %}', '{% for a, 1 in [[1, 2]] %}{% endfor %}',
    '{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}{% break %}{% endif %}b{% endfor %}.', '{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}{% continue %}{% endif %}b{% endfor %}.', '{% for i in [1] %}x{% break %}{% else %}e{% endfor %}', '{% for i in [1, 2] %}{% for j in [1, 2] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }}{% endfor %}{% endfor %}', '{% break %}', '{% macro m() %}{% break %}{% endmacro %}{% for i in [1, 2] %}{{ i }}{{ m() }}{% endfor %}', '{% for i in l[::-1] %}{{ i }}{% endfor %}', '{% for x in x %}{% endfor %}', '{% for m in rows|selectattr("k")|list %}{{ m.k }}{% endfor %}', '{% for i in [1,2] %}{% for j in [3] %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}',
    // Macros.
    '{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=4, a=5) }} {{ m() }}', '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}', '{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}', '{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}', '{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(7) }}', '{% macro m(a=b, b=1) %}{{ a }}{% endmacro %}{% set b = 9 %}{{ m() }}', '{% macro m(a=1, b) %}{% endmacro %}', '{% macro m(a, a) %}{% endmacro %}', '{% macro m() %} x {% endmacro %}[{{ m()|trim }}]', '{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}', '{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %}', '{% macro m(l) %}{% for i in l %}{{ caller(i) }}{% endfor %}{% endmacro %}{% call(x) m([1, 2]) %}({{ x }}){% endcall %}', '{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}', '{% macro m(*a) %}{% endmacro %}', '{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{"a": 1, "b": 2}) }}{{ m(1, *[2]) }}', '{% macro m() %}{% endmacro %}{{ m }}', '{% macro m(x) %}{{ x is undefined }}{% endmacro %}{{ m() }}', '{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}', '{% call(x, y=2) m() %}{% endcall %}', '{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(x, y=2) m() %}{{ x }}{{ y }}{% endcall %}', '{{ nofunction() }}', '{{ true() }}', '{{ o.a() }}',
    // Blocks.
    '{% filter upper %}a{{ "b" }}{% endfilter %}', '{% filter replace("a", "b") %}aXa{% endfilter %}', '{% filter indent(2) %}a\nb{% endfilter %}', '{% filter length %}abc{% endfilter %}', '{% if a %}1{% elif b %}2{% elif true %}3{% else %}4{% endif %}', '{% if false %}{% endif %}', '{% if false %}1{% else if true %}2{% endif %}',
    // White space.
    ' {%- if true -%} a {%- endif -%} b ', '  {% if true %}\n  a\n  {% endif %}\nb\n', 'a\n  {{ 1 }}\n  b\n', 'a  {{- 1 -}}  b', 'a\n\n{%- set x = 1 %}\n\nb', '{# c #}\na', '  {#- c -#}  a', 'a {# c -#} \n b', '{{ 1 }}\n\n', '\n\n{{ 1 }}\n', '\t{% if true %}x{% endif %}\ty\n', '{% if true %}\r\nx{% endif %}', 'a\u2028  {% if true %}b{% endif %}', '{{ "a" -}}\n{%- if true %} b{% endif %}', '{%- for i in [1, 2] -%}\n {{ i }}\n{%- endfor %}', '{% for i in [1, 2] %}\n {{ i }}\n{% endfor %}', 'x{% if true %}   \ny{% endif %}', '{{ 1 }} {%- set a = 1 -%} {{ 2 }}', '{#-#}a', '{# unclosed', '{##}x', 'a{{ -1 }}b{{- -1 -}}c', 'text {', 'text {a} {{ 1 }} }} %} #}', '{', '{{', '{%', '', '\n', '\n\n', ' ', '}}', "{{'a'}}{{'b'}}", '{{ {"a": {"b": 1}} }}', '{{ {"a": {"b": 1}}["a"]["b"] }}', '{%set x={"a":{"b":2}}%}{{x.a.b}}', '{{{"a":1}}}', '{{ {} }}',
    '{% generation %}a{% endgeneration %}', 'x {%- generation -%} y {%- endgeneration -%} z', ' \n{% generation %} \n a {% endgeneration %}\n', '{% generation %}\n{%- endgeneration %}  b', '{%- generation %} {%- endgeneration -%} q',
    // What is refused.
    '{% frob %}', '{{ }}', '{{ 1 + }}', '{{ (1 }}', '{{ [1 }}', '{{ {1} }}', "{{ 'a }}", '{{ a. }}', '{{ a[] }}', '{{ a[1:2:3:4] }}', '{{ a b }}', '{% if %}', '{% endif %}', '{% for x %}', '{% for x in %}{% endfor %}', '{% set %}', '{% if true %}', '{% macro %}', '{{ f(a=1, 2) }}', '{{ f(*a, *b) }}', '{{ f(**a, 1) }}', '{{ f(1=2) }}', '{{ @ }}', '{{ a | 1 }}', '{{ a is 1 }}', '{{ é }}', "{{ '\\xZZ' }}", '{{ 1 | upper }}', '{{ raise_exception("stop") }}', '{{ raise_exception(1) }}', '{{ {1: 2} }}', '{{ missing.a.b }}', '{{ missing[0] }}', '{{ none.a }}', '{{ missing + 1 }}', '{{ none ~ "a" }}', "{{ strftime_now('%Y-%m-%d %H:%M %b %B %%') }}",
    // Members.
    "{{ {'items': 5}.items }}", "{{ {'get': 1}.get }}", "{{ {'a': 1}.get is callable }}", "{{ o['a'] }}{{ o.get('a') }}{{ o.c.0 }}{{ o.d.e }}", "{{ s.length }}{{ l.length }}{{ o.length }}", "{{ rows[0].in.z }}{{ rows[-1]['v'] }}{{ rows[9].v }}", '{{ o|items|list }}', '{{ caps|dictsort }}', '{{ caps|dictsort(reverse=true) }}', "{{ caps|dictsort(by='value') }}", "{{ rows|map(attribute='k')|list }}", "{{ rows|selectattr('k', 'defined')|map(attribute='v')|join(',') }}", "{{ rows|sort(attribute='v')|map(attribute='v')|list }}", "{{ rows|map(attribute='in.z', default='-')|list }}",
    "{{ {'b': 1, 'a': {'d': [], 'c': {}}}|tojson(indent=2, sort_keys=true) }}", "{{ {'_': 1, 'A': 2, 'a': 3, 'B': 4, '-': 5, '1': 6, 'aa': 7, 'Ab': 8}|tojson(sort_keys=true) }}", "{{ [[], {}, [1, [2]], {'a': []}]|tojson(indent=3) }}", "{{ [1, 2.0, 2.5, none, missing, true, 'a\"b']|tojson }}", '{{ [1, 2.0, none, missing] }}', '{{ "a"|tojson|tojson }}',
    // A large list of strings in order, with equal keys: sorting is stable.
    "{% for x in [{'k': 'b', 'n': 1}, {'k': 'a', 'n': 2}, {'k': 'B', 'n': 3}, {'k': 'A', 'n': 4}]|sort(attribute='k') %}{{ x.n }}{% endfor %}", "{% for x in [{'k': 'b', 'n': 1}, {'k': 'a', 'n': 2}, {'k': 'B', 'n': 3}]|sort(attribute='k', reverse=true) %}{{ x.n }}{% endfor %}", "{{ [3, 'a']|sort }}", '{{ [none, none]|sort }}', '{{ [true, 0, 2.5]|sort }}', "{{ ['é', 'z', 'Z', '😀', '\uffee']|sort }}",
];

// Numeric member names, as JSON may have them.
const indexed = { d: { b: 1, 10: 2, 9: 3, '01': 4, 4294967295: 5, '-1': 6, '1.0': 7 }, q: { 1.5: 0, 2: 0 } };

export function snippets() {
    const all = [...matrix(), ...corners].map((template) => ({ name: template, template, variables }));
    for (const template of ['{{ d }}', '{{ d|tojson(sort_keys=true) }}', '{% for k in d %}{{ k }} {% endfor %}', '{{ q }}']) all.push({ name: template, template, variables: indexed });
    return all;
}

// All characters with a case, in rows of 500.
export function caseSnippets() {
    const rows = [];
    let row = '';
    for (let c = 0x80; c < 0x1e960; c++) {
        if (c >= 0xd800 && c < 0xe000) continue;
        const ch = String.fromCodePoint(c);
        if (ch.toUpperCase() === ch && ch.toLowerCase() === ch) continue;
        row += ch + ' ';
        if (row.length < 1000) continue;
        rows.push(row);
        row = '';
    }
    return [...rows, row].map((text, i) => ({ name: `case ${i}`, template: '{{ t|upper }}\n{{ t|lower }}', variables: { t: text } }));
}
