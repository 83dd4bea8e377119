// SPDX-License-Identifier: MIT
// random_templates.mjs: templates made by chance from the constructs of the language.  Most of them make
// little sense; what counts is that both interpreters find the same sense in them.

export const variables = {
    n: 3, zero: 0, neg: -2, f: 2.5, whole: 4.0, big: 12345678901, t: true, no: false, nothing: null,
    s: 'Hello World', empty: '', blank: '  pad \n', uni: 'Ünï 😀 ßx', csv: 'a,b,,c', num: '42.5x', lines: 'one\n\n two\nthree',
    l: [1, 2, 3], names: ['b', 'A', 'c', 'a'], mixed: [1, 'a', null, 2.5, true, 'a', [1]], nested: [[1, 2], [3, 4]], none_list: [],
    o: { a: 1, b: 'two', c: [1, 2], d: { e: null } }, eo: {}, caps: { B: 2, a: 1, C: 3 },
    rows: [{ k: 'x', v: 2, in: { z: 1 } }, { k: 'Y', v: 1 }, { k: 'z', v: 3, in: { z: 0 } }, { v: 9 }],
};

// A small generator with a seed: the same templates in every run (mulberry32).
function generator(seed) {
    let a = seed >>> 0;
    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), 1 | a);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

export function randomTemplates(seed, count) {
    const random = generator(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const chance = (p) => random() < p;
    const names = [...Object.keys(variables), 'missing', 'x', 'y', 'loop', 'ns', 'true', 'false', 'none', 'True', 'None'];
    const literals = ['0', '1', '2', '-1', '3.0', '1.5', '"a"', "'b c'", '""', "'\\n'", '"\\u00e9"', '[]', '{}', "['a', 'b']", '(1, 2)', "{'k': 1, 'j': [2]}", '"a" "b"', '1000000', '0.1'];
    const filters = ['upper', 'lower', 'title', 'capitalize', 'trim', 'length', 'first', 'last', 'list', 'reverse', 'sort', 'unique', 'join', 'string', 'int', 'float', 'abs', 'items', 'tojson', 'safe', 'indent', 'keys', 'values', 'dictsort', 'bool',
        "join(', ')", 'default(7)', "default('d', true)", 'default(1, boolean=true)', 'indent(2)', 'indent(2, true)', 'indent(width=3, blank=true)', "replace('a', 'b')", "replace('l', '', 1)", "replace('', '-')", "replace(' ', '_', count=1)",
        'tojson(indent=2)', 'tojson(indent=4, sort_keys=true)', 'tojson(ensure_ascii=true)', "tojson(separators=(',', ':'))", 'sort(reverse=true)', 'sort(case_sensitive=true)', "sort(attribute='v')", "sort(false, true, 'v')", "map(attribute='k')", "map(attribute='in.z')", "map(attribute='k', default='?')",
        "selectattr('k')", "rejectattr('v')", "selectattr('k', 'equalto', 'x')", "rejectattr('k', 'string')", "selectattr('in', 'defined')", "dictsort(true)", "dictsort(by='value')", 'dictsort(reverse=true)', 'int(5)', 'float(1.5)', "int(default=2)", "get('a')", "get('q', 4)"];
    const tests = ['defined', 'undefined', 'none', 'string', 'mapping', 'iterable', 'sequence', 'number', 'integer', 'boolean', 'true', 'false', 'odd', 'even', 'lower', 'upper', 'callable'];
    const methods = ['.upper()', '.lower()', '.strip()', '.lstrip()', '.rstrip()', '.title()', '.capitalize()', ".split()", ".split(',')", ".split(' ', 1)", ".split('l', 0)", '.split(none, 1)', ".startswith('H')", ".endswith(('d', 'x'))", ".replace('o', '0')", ".replace('l', 'L', 1)", '.items()', '.keys()', '.values()', ".get('a')", ".get('zz', 5)", '.length', '.a', '.d.e', "['b']", '[0]', '[-1]', '[1:]', '[:2]', '[::-1]', '[::2]', '[-2:]', '[1:3]', '[:-1]', '.0', '[n]', '.k', '.in.z', "['length']"];
    const operators = ['+', '-', '*', '/', '//', '%', '~', '==', '!=', '<', '>', '<=', '>=', 'in', 'not in', 'and', 'or', '+', '~', '=='];

    function expression(depth) {
        if (depth <= 0 || chance(0.15)) return chance(0.6) ? pick(names) : pick(literals);
        const sub = () => expression(depth - 1);
        switch (Math.floor(random() * 13)) {
            case 0: case 1: case 2: return `${sub()} ${pick(operators)} ${sub()}`;
            case 3: case 4: case 5: return `${sub()}${chance(0.5) ? ' | ' : '|'}${pick(filters)}`;
            case 6: return `(${sub()})${pick(methods)}`;
            case 7: return `${pick(names)}${pick(methods)}${chance(0.3) ? pick(methods) : ''}`;
            case 8: return `${sub()} is ${chance(0.3) ? 'not ' : ''}${pick(tests)}`;
            case 9: return `${sub()} if ${sub()} else ${sub()}`;
            case 10: return `[${sub()}, ${sub()}]`;
            case 11: return pick([`not ${sub()}`, `-${sub()}`, `(${sub()})`, `{'a': ${sub()}}`, `range(${pick(['3', 'n', '1, 4', '5, 0, -2'])})`]);
            default: return `(${sub()})`;
        }
    }
    const open = () => pick(['{%', '{%', '{%-', '{%- ']);
    const close = () => pick(['%}', '%}', '-%}', ' -%}']);
    const text = () => pick(['', ' ', '\n', '\n    ', 'text', ' a \n', '\t', '\n\n', 'x{y}z', '  \n  ', '{ %', '}}'.slice(1)]);
    const tag = (body) => `${open()} ${body} ${close()}`;

    function statement(depth) {
        const body = () => block(depth - 1);
        if (depth <= 0) return `{{${pick(['', '-'])} ${expression(2)} ${pick(['', '-'])}}}`;
        switch (Math.floor(random() * 12)) {
            case 0: case 1: return `{{${pick(['', '-'])} ${expression(3)} ${pick(['', '-'])}}}`;
            case 2: return `${tag(`if ${expression(2)}`)}${body()}${chance(0.4) ? tag(`elif ${expression(2)}`) + body() : ''}${chance(0.5) ? tag('else') + body() : ''}${tag('endif')}`;
            case 3: case 4: return `${tag(`for x in ${pick(['l', 'names', 'o', 'rows', 'mixed', 'range(3)', 'csv.split(",")', expression(1)])}${chance(0.3) ? ` if ${expression(2)}` : ''}`)}${body()}${chance(0.2) ? tag('else') + body() : ''}${tag('endfor')}`;
            case 5: return `${tag(`for x, y in ${pick(['o.items()', 'nested', 'caps|items', 'caps|dictsort'])}`)}${body()}${tag('endfor')}`;
            case 6: return tag(`set ${pick(['x', 'y', 'x, y', 'ns.a'])} = ${expression(2)}`);
            case 7: return `${tag('set x')}${body()}${tag('endset')}`;
            case 8: return `${tag(`set ns = namespace(a=${expression(1)}, b=0)`)}${tag('set ns.b = ns.b + 1')}{{ ns.a }}${chance(0.3) ? '{{ ns }}' : ''}`;
            case 9: return `${tag(`macro m(x, y=${pick(['1', 'x', "'d'"])})`)}${body()}${chance(0.3) ? '{{ caller() }}' : ''}${tag('endmacro')}${pick(['{{ m(1) }}', '{{ m("a", y=2) }}', '{{ m() }}', '{% call m(3) %}in{{ x }}{% endcall %}', '{{ m(1, 2, 3) }}'])}`;
            case 10: return `${tag(`filter ${pick(['upper', 'trim', 'indent(2)', 'length', "replace('e', 'E')"])}`)}${body()}${tag('endfilter')}`;
            default: return pick(['{# note #}', '{#- note -#}', '  {# note #}\n', tag('break'), tag('continue'), '{% generation %}', '{%- endgeneration -%}', `{{ loop.${pick(['index', 'index0', 'first', 'last', 'length', 'revindex', 'previtem', 'nextitem'])} }}`]);
        }
    }
    function block(depth) {
        let out = text();
        for (let i = 1 + Math.floor(random() * 3); i > 0; i--) out += statement(depth) + text();
        return out;
    }
    // Two of three are one expression: the longer a template, the likelier that something in it fails.
    return Array.from({ length: count }, (_, i) =>
        i % 3 ? `{{ ${expression(1 + Math.floor(random() * 3))} }}` : block(1 + Math.floor(random() * 2)));
}
