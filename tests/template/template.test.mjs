// SPDX-License-Identifier: MIT
// template.test.mjs: chat templates rendered by render_template and by @huggingface/jinja: the same bytes
// wherever the package renders; where it refuses a template we may know more of Jinja.
//
//   templates   every file of ../shared/data/templates and of templates/ here, over the table of conversations
//   snippets    every operator, filter, test and method on every kind of value; corners; upper and lower case
//   random      templates made by chance

import fs from 'node:fs';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { conversations } from './conversations.mjs';
import { caseSnippets, snippets } from './snippets.mjs';
import { randomTemplates, variables } from './random_templates.mjs';

const here = import.meta.dirname;
const shared = path.join(process.env.LOCKSTEP_SHARED ?? path.join(here, '../../../shared'), 'data/templates');
const program = path.join(process.env.LOCKSTEP_TESTS ?? path.join(here, '../../build/tests'), 'render_template');
const NOW = 1785326400; // 29 July 2026, 12:00 UTC

process.env.TZ = 'UTC';
const RealDate = Date;
globalThis.Date = class extends RealDate {
    constructor(...args) {
        super(...(args.length ? args : [NOW * 1000]));
    }
};
let Template;
try {
    ({ Template } = await import('@huggingface/jinja'));
} catch {
    console.log('skipped: @huggingface/jinja is not installed in tests/template');
    process.exit(77);
}

function reference(c) {
    try {
        const text = new Template(c.template).render(structuredClone(c.variables));
        if (/\) => (\{\n|this\.|new )/.test(text)) return { error: 'a function was shown as its source' };
        // Halves of surrogate pairs become U+FFFD, as on the way to a tokenizer.
        return { text: Buffer.from(text).toString() };
    } catch (e) {
        return { error: e.message };
    }
}

function ours(cases) {
    const input = cases.map((c) => JSON.stringify({ template: c.template, variables: c.variables, now: NOW })).join('\n');
    const run = spawnSync(program, { input: input + '\n', maxBuffer: 1 << 30 });
    if (run.status !== 0) throw new Error(`render_template ended with ${run.status ?? run.signal}: ${run.stderr}`);
    return run.stdout.toString().trimEnd().split('\n').map((line) => JSON.parse(line));
}

let failed = 0;
// `least`: how many must have been rendered by both, so that the comparison cannot become empty.
function compare(name, cases, least) {
    const answers = ours(cases);
    let same = 0, refused = 0, more = 0, different = 0;
    cases.forEach((c, i) => {
        const want = reference(c), got = answers[i];
        if (want.error !== undefined) return got.error !== undefined ? refused++ : more++;
        if (got.text === want.text) return same++;
        if (different++ < 10) console.log(`DIFFERENT ${c.name}\n  template  ${JSON.stringify(c.template).slice(0, 400)}\n  reference ${JSON.stringify(want.text)}\n  ours      ${JSON.stringify(got)}`);
    });
    console.log(`${name}: ${same} the same, ${different} different, ${refused} refused by both, ${more} refused by the package only`);
    if (different || same < least) {
        failed++;
        if (same < least) console.log(`  at least ${least} should have been rendered`);
    }
}

const files = [shared, path.join(here, 'templates')].flatMap((dir) =>
    fs.existsSync(dir) ? fs.readdirSync(dir).filter((f) => f.endsWith('.jinja')).map((f) => path.join(dir, f)) : []);
for (const file of files) {
    const template = fs.readFileSync(file, 'utf8');
    compare(path.basename(file), conversations().map((c) => ({ ...c, template })), 25);
}
compare('snippets', snippets(), 6000);
compare('case', caseSnippets(), 3);
compare('random', randomTemplates(20260729, 8000).map((template, i) => ({ name: `random ${i}`, template, variables })), 2000);
process.exit(failed ? 1 : 0);
