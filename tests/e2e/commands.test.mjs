// SPDX-License-Identifier: MIT
// commands.test.mjs: every command as the issue and --help describe it: what goes where, in which form, with
// which exit code, in both ways of starting.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {bin, cases, check, demo, equal, good, lockstep, mpiEnv, mpirun, run, runJson, scratch, shared, source, tests, until} from './harness.mjs';
import {named, noteSegments, nothingLeft} from './leftovers.mjs';

const prompt = 'Call me Ishmael.';
const commands = ['run', 'serve', 'eval', 'plan', 'inspect', 'tokenize', 'bench', 'load'];
const underMpirun = (n, args, options = {}) => run(mpirun(n)[0], [...mpirun(n).slice(1), lockstep, ...args], {...options, env: mpiEnv});
const lines = text => text.trimEnd().split('\n').map(l => JSON.parse(l));
const keys = (object, names, what) => { for (const k of names) check(k in object, `${what} has no "${k}": ${JSON.stringify(object).slice(0, 300)}`); };
const refused = (r, code, ...words) => {
    equal(r.code, code, `exit code: ${r.stderr}`);
    equal(r.stdout, '', 'standard output of a refusal');
    for (const w of words) check(r.stderr.includes(w), `"${w}" is missing: ${r.stderr}`);
    check(r.stderr.trimEnd().split('\n').filter(l => l.startsWith('lockstep: ')).length === 1, `one sentence: ${r.stderr}`);
};

let greedy; // what `run` says to the prompt, 24 tokens

await cases({
    async 'help and version'() {
        const version = (await good(lockstep, ['--version'])).stdout;
        check(/^lockstep \d+\.\d+\.\d+\+[0-9a-f]{12}\n$/.test(version), version);
        equal((await good(join(bin, 'lockstep-worker'), ['--version'])).stdout, version.replace('lockstep', 'lockstep-worker'), 'both programs have one version');
        check((await good(join(bin, 'lockstep-worker'), ['--help'])).stdout.includes('--coordinator'), 'help of the worker');
        const overview = (await good(lockstep, ['--help'])).stdout;
        for (const c of commands) {
            check(overview.includes(`\n  ${c} `), `${c} is not in the overview`);
            const help = await good(lockstep, [c, '--help']);
            check(help.stdout.startsWith(`lockstep ${c}: `) && help.stderr === '', `help of ${c}`);
            for (const o of ['--model', '--config', '--log-level', '--version']) check(help.stdout.includes(o), `${c} --help does not say ${o}`);
            equal((await good(lockstep, [c, '--version'])).stdout, version, `version by ${c}`);
        }
        equal((await good(lockstep, ['run', '-h'])).stdout, (await good(lockstep, ['run', '--help'])).stdout, '-h');
    },

    async 'run: the text and nothing else on standard output'() {
        const r = await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24']);
        greedy = r.stdout;
        check(greedy.length > 24, `the text is too short: ${greedy}`);
        for (const [what, words] of Object.entries({ranks: /2 ranks/, first: /first token after [\d.]+ ms/, prefill: /prefill \d+ tokens, [\d.]+ tokens\/s/,
            decode: /decode 24 tokens, [\d.]+ tokens\/s/, weights: /rank 1 on \S+: [\d.]+ MiB of weights, [\d.]+ MiB read/}))
            check(words.test(r.stderr), `the summary has no ${what}:\n${r.stderr}`);
        for (const banner of ['lockstep 0.', 'Open MPI', 'transport', 'memory', 'CPUs']) check(r.stderr.includes(banner), `the banner does not say "${banner}"`);
        const quiet = await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24', '--log-level', 'warn']);
        equal(quiet.stdout, greedy, 'text at log level warn');
        check(!/ info /.test(quiet.stderr), 'no log lines at level warn');
        equal((await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '0'])).stdout, '', 'no tokens, no text');
    },

    async 'run: JSON'() {
        const out = join(scratch, 'run.json');
        const r = await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24', '--json', '--json-out', out, '--logprobs', '3', '-n', '3']);
        const j = JSON.parse(r.stdout);
        equal(JSON.parse(readFileSync(out, 'utf8')), j, 'what --json-out writes');
        keys(j, ['text', 'tokens', 'finish_reason', 'usage', 'ranks', 'timings'], 'the JSON');
        equal(j.tokens.length, 24, 'tokens');
        equal(j.tokens.map(t => t.piece).join(''), j.text, 'the pieces are the text');
        for (const t of j.tokens) {
            keys(t, ['id', 'piece', 'logprob', 'top'], 'a token');
            equal(t.top.length, 3, 'alternatives');
            equal(t.top[0], [t.id, t.logprob], 'the best alternative of a greedy text is the token');
            check(t.top[0][1] >= t.top[1][1] && t.top[1][1] >= t.top[2][1] && t.logprob < 0, 'alternatives in order');
        }
        equal(j.finish_reason, 'length', 'finish reason');
        equal(j.usage, {prompt_tokens: j.usage.prompt_tokens, completion_tokens: 24, total_tokens: j.usage.prompt_tokens + 24}, 'usage');
        equal(j.ranks.map(k => k.rank), [0, 1, 2], 'ranks');
        for (const k of j.ranks) {
            keys(k, ['host', 'weight_bytes', 'kv_bytes', 'file_bytes_read', 'peak_rss_bytes'], 'a rank');
            check(k.weight_bytes > 1e6 && k.kv_bytes > 0 && k.peak_rss_bytes > k.weight_bytes, JSON.stringify(k));
        }
        keys(j.timings, ['first_token_ms', 'prompt_per_second', 'predicted_per_second'], 'timings');
        const only = await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24', '--json-out', out]);
        equal(JSON.parse(readFileSync(out, 'utf8')).text, only.stdout, 'text on standard output with --json-out alone');
    },

    async 'run: prompts, stop strings, seeds'() {
        greedy ??= (await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24'])).stdout;
        const file = join(scratch, 'prompt.txt');
        writeFileSync(file, prompt);
        equal((await good(lockstep, ['run', '--prompt-file', file, '--max-tokens', '24'])).stdout, greedy, 'a prompt from a file');
        equal((await good(lockstep, ['run', '--prompt-file', '-', '--max-tokens', '24'], {input: prompt})).stdout, greedy, 'a prompt from standard input');

        const at = 7, stop = greedy.slice(at, at + 4);
        const stopped = await runJson(['--prompt', prompt, '--max-tokens', '24', '--stop', 'never said', '--stop', stop]);
        equal([stopped.text, stopped.finish_reason], [greedy.slice(0, greedy.indexOf(stop)), 'stop'], 'a stop string');

        const draw = seed => ['run', '--prompt', prompt, '--max-tokens', '24', '--temperature', '1', ...(seed ? ['--seed', seed] : [])];
        const [a, b, other, c, d] = [await good(lockstep, draw('7')), await good(lockstep, draw('7')), await good(lockstep, draw('8')),
            await good(lockstep, draw()), await good(lockstep, draw())];
        equal(b.stdout, a.stdout, 'the same seed');
        check(other.stdout !== a.stdout, 'another seed gives another text');
        check(c.stdout !== d.stdout, 'no seed: another text every time');
        equal((await good(lockstep, [...draw('7'), '--top-k', '1'])).stdout, greedy, 'top-k 1 is greedy');
        equal((await good(lockstep, [...draw('7'), '--min-p', '1'])).stdout, greedy, 'min-p 1 is greedy');
    },

    async 'run: Ctrl-C'() {
        for (const when of ['decoding', 'starting']) {
            const child = spawn(lockstep, ['run', '--prompt', prompt, '--ctx', '65536', '--max-tokens', '60000', '--ignore-eos'], {stdio: ['ignore', 'pipe', 'pipe']});
            let errors = '', text = '';
            child.stderr.on('data', d => { errors += d; });
            child.stdout.on('data', d => { text += d; });
            const ended = once(child, 'close');
            if (when === 'decoding') {
                await until('text comes', () => text.length > 20);
                noteSegments();
            } else {
                await until('the ranks are being started', () => named('mpirun').length > 0);
            }
            const begin = performance.now();
            child.kill('SIGINT');
            equal((await ended)[0], 130, `exit code after Ctrl-C while ${when}:\n${errors}`);
            const left = await nothingLeft(`Ctrl-C while ${when}`);
            check(performance.now() - begin < 10000, `Ctrl-C took ${performance.now() - begin} ms, ${left} of them for the rest`);
            if (when === 'decoding') check(/decode \d+ tokens/.test(errors), `the summary comes all the same:\n${errors}`);
        }
    },

    async 'eval'() {
        const out = join(scratch, 'eval.jsonl');
        const r = await good(lockstep, ['eval', '--prompt', prompt, '--top', '5', '--json', '--json-out', out]);
        equal(readFileSync(out, 'utf8'), r.stdout, 'what --json-out writes');
        const rows = lines(r.stdout), last = rows.pop();
        const {ids} = JSON.parse((await good(lockstep, ['tokenize', '--json', prompt])).stdout);
        equal(rows.map(p => p.token), ids, 'the tokens (this model has no BOS to add)');
        equal(rows.map(p => p.position), ids.map((_, i) => i), 'the positions');
        rows.forEach((row, i) => {
            equal(row.top.length, 5, 'next tokens shown');
            check(row.top.every(([id, p], k) => id >= 0 && p < 0 && (k === 0 || p <= row.top[k - 1][1])), `in order: ${JSON.stringify(row)}`);
        });
        equal(Object.keys(last), ['perplexity', 'tokens'], 'the last line');
        equal(last.tokens, ids.length, 'tokens');
        const all = lines((await good(lockstep, ['eval', '--prompt', prompt, '--top', '256', '-n', '1'])).stdout);
        check(all[0].top.length === 256, 'as many as were asked for');
        const file = join(scratch, 'text.txt');
        writeFileSync(file, prompt);
        equal((await good(lockstep, ['eval', '--file', file, '--top', '5'])).stdout, r.stdout, 'a text from a file');
        equal((await good(lockstep, ['eval', '--file', '-', '--top', '5'], {input: prompt})).stdout, r.stdout, 'a text from standard input');
        const one = lines((await good(lockstep, ['eval', '--prompt', 'a'])).stdout);
        equal([one.length, one[1].tokens], [2, 1], 'a text of one token');
    },

    // An output head of which nothing is a number: no token is possible, and the answers are JSON all the same.
    async 'numbers that JSON does not have'() {
        const model = join(scratch, 'nan.gguf');
        await good(join(tests, 'make_model'), ['--out', model, '--type', 'F32', '--output-type', 'F32']);
        const bytes = readFileSync(model);
        writeFileSync(model, bytes.fill(0xff, bytes.length - 256 * 512 * 4)); // output.weight is the last
        const rows = lines((await good(lockstep, ['eval', '--model', model, '--prompt', prompt, '--top', '2'])).stdout), last = rows.pop();
        for (const row of rows) equal(row.top.map(t => t[1]), [-9999, -9999], 'log-probabilities of what is impossible');
        equal(last, {perplexity: null, tokens: rows.length}, 'the last line');
        const j = await runJson(['--model', model, '--prompt', prompt, '--max-tokens', '2', '--logprobs', '2']);
        for (const t of j.tokens) equal([t.logprob, t.top.length, t.top[0][1]], [-9999, 2, -9999], 'a token');
    },

    async 'tokenize'() {
        const text = 'Grüße, 世界! <|endoftext|> ok\n';
        const r = JSON.parse((await good(lockstep, ['tokenize', '--json', text])).stdout);
        equal(Object.keys(r), ['ids', 'pieces'], 'the JSON');
        equal(r.ids.length, r.pieces.length, 'a piece for each id');
        check(!r.ids.includes(0), 'special tokens in the text are plain text');
        const plain = (await good(lockstep, ['tokenize', text])).stdout;
        equal(plain, `${r.ids.join(' ')}\n`, 'ids as text');
        equal((await good(lockstep, ['tokenize'], {input: text})).stdout, plain, 'from standard input');
        equal((await good(lockstep, ['tokenize', '-'], {input: text})).stdout, plain, 'from "-"');
        equal((await good(lockstep, ['tokenize', '--decode', plain])).stdout, text, 'and back');
        equal(JSON.parse((await good(lockstep, ['tokenize', '--json', '--decode', plain])).stdout).text, text, 'and back as JSON');
        const special = JSON.parse((await good(lockstep, ['tokenize', '--json', '--parse-special', text])).stdout);
        equal(special.ids.filter(i => i === 0).length, 1, 'a special token where it is asked for');
        equal((await good(lockstep, ['tokenize', ''])).stdout, '\n', 'nothing has no tokens');
        refused(await run(lockstep, ['tokenize', '--decode', '1 2 x']), 2, 'x');
        refused(await run(lockstep, ['tokenize', '--decode', '1 999999']), 2, '999999', '2047');
        refused(await run(lockstep, ['tokenize', 'a', 'b']), 2);
    },

    async 'tokenize and inspect on files that hold a vocabulary only'() {
        const file = join(shared, 'data/vocab/llama-spm.gguf');
        if (!existsSync(file)) return 'no shared data: left out';
        const text = 'Hello, world';
        const t = JSON.parse((await good(lockstep, ['tokenize', '--model', file, '--json', text])).stdout);
        const s = JSON.parse((await good(lockstep, ['tokenize', '--model', file, '--json', '--add-special', text])).stdout);
        equal(s.ids, [1, ...t.ids], 'BOS where it is asked for');
        equal((await good(lockstep, ['tokenize', '--model', file, '--decode', t.ids.join(' ')])).stdout.trim(), text, 'and back');
        const i = JSON.parse((await good(lockstep, ['inspect', '--model', file, '--json'])).stdout);
        equal([i.vocab_only, i.model, i.tensors.length], [true, null, 0], 'inspect');
        refused(await run(lockstep, ['run', '--model', file, '--prompt', 'x']), 3);
    },

    async 'plan'() {
        const out = join(scratch, 'plan.json');
        const p = JSON.parse((await good(lockstep, ['plan', '--json', '-n', '3', '--json-out', out])).stdout);
        equal(JSON.parse(readFileSync(out, 'utf8')), p, 'what --json-out writes');
        keys(p, ['ranks', 'imbalance', 'allreduce_calls_per_token', 'allreduce_bytes_per_token'], 'the plan');
        equal(p.ranks.length, 3, 'ranks');
        for (const [key, end] of [['heads', 8], ['ffn', 768], ['vocab', 2048]]) {
            let at = 0;
            for (const k of p.ranks) {
                equal(k[key][0], at, `${key} follow each other`);
                at = k[key][1];
            }
            equal(at, end, `${key} are all there`);
        }
        for (const k of p.ranks) {
            keys(k, ['kv_heads', 'weight_bytes', 'kv_bytes_per_token', 'read_bytes_per_token'], 'a rank');
            equal([k.kv_heads[0], k.kv_heads[1]], [k.heads[0] >> 1, (k.heads[1] + 1) >> 1], 'the KV heads of its query heads');
        }
        check(p.imbalance >= 1 && p.imbalance < 1.2, `imbalance ${p.imbalance}`);
        equal(p.allreduce_calls_per_token, 2 * 4 + 1, 'all-reduce calls');
        const table = (await good(lockstep, ['plan', '-n', '3'])).stdout;
        check(table.includes('imbalance') && !table.startsWith('{'), 'the plan as text');
        refused(await run(lockstep, ['plan', '-n', '9']), 5, '9', '8');
        const loaded = await runJson(['--prompt', 'x', '--max-tokens', '1', '-n', '3']);
        p.ranks.forEach((k, i) => {
            const packed = loaded.ranks[i].weight_bytes;
            check(Math.abs(packed / k.weight_bytes - 1) < 0.1, `rank ${i} holds ${packed} bytes of weights, the plan says ${k.weight_bytes}`);
        });
    },

    async 'inspect'() {
        const i = JSON.parse((await good(lockstep, ['inspect', '--json'])).stdout);
        equal([i.model.architecture, i.model.layers, i.model.heads, i.model.kv_heads, i.model.dim], ['llama', 4, 8, 4, 256], 'the shape');
        check(i.tokenizer.model === 'gpt2' && i.tokenizer.tokens === 2048, 'the tokenizer');
        check(i.tensors.length > 30 && i.tensors.every(t => t.name && t.type && t.dims), `every tensor: ${JSON.stringify(i.tensors[0])}`);
        check((await good(lockstep, ['inspect'])).stdout.includes('blk.3.ffn_down.weight'), 'as text');
    },

    async 'both ways of starting give the same text'() {
        greedy ??= (await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24'])).stdout;
        for (const n of [1, 2, 3, 5]) {
            const launched = await good(lockstep, ['run', '-n', String(n), '--prompt', prompt, '--max-tokens', '24']);
            const joined = await underMpirun(n, ['run', '--prompt', prompt, '--max-tokens', '24']);
            equal(joined.code, 0, `exit code under mpirun -n ${n}: ${joined.stderr}`);
            equal(joined.stdout, launched.stdout, `text under mpirun -n ${n}`);
        }
        const j = await underMpirun(3, ['run', '--json', '-n', '3', '--prompt', prompt, '--max-tokens', '4']);
        equal(JSON.parse(j.stdout).ranks.length, 3, 'ranks in the JSON, with an -n that agrees');
        const e = await underMpirun(2, ['eval', '--prompt', prompt, '--json']);
        equal(e.stdout, (await good(lockstep, ['eval', '--prompt', prompt, '--json'])).stdout, 'eval under mpirun');
        equal((await underMpirun(2, ['run', '--prompt-file', '-', '--max-tokens', '24'], {input: prompt})).stdout,
            (await good(lockstep, ['run', '-n', '2', '--prompt', prompt, '--max-tokens', '24'])).stdout, 'standard input under mpirun');
        await nothingLeft('both ways of starting');
    },

    async 'what mpirun starts says things once'() {
        for (const args of [['plan'], ['inspect', '--json'], ['tokenize', 'hello'], ['run', '--help'], ['--version']]) {
            const alone = await good(lockstep, args[0] === 'plan' ? [...args, '-n', '3'] : args), together = await underMpirun(3, args);
            equal([together.code, together.stdout], [0, alone.stdout], `${args.join(' ')} under mpirun -n 3`);
        }
        const disagree = await underMpirun(2, ['run', '-n', '3', '--prompt', 'x']);
        refused(disagree, 2, '-n 3', '2 ranks');
        const missing = await underMpirun(3, ['run', '--model', '/no/such.gguf', '--prompt', 'x']);
        refused(missing, 3, '/no/such.gguf');
        await nothingLeft('refusals under mpirun');
    },

    async 'the configuration file'() {
        greedy ??= (await good(lockstep, ['run', '--prompt', prompt, '--max-tokens', '24'])).stdout;
        const ini = join(scratch, 'lockstep.ini');
        writeFileSync(ini, `# a comment\n[cluster]\nranks = 3\n[run]\nmax-tokens = 24\n[log]\nlevel = warn\n[model]\npath = ${demo}\n`);
        const r = await good(lockstep, ['run', '--config', ini, '--prompt', prompt, '--json']);
        equal([JSON.parse(r.stdout).ranks.length, JSON.parse(r.stdout).text], [3, greedy], 'ranks and length of the file');
        equal(JSON.parse((await good(lockstep, ['run', '--config', ini, '--prompt', prompt, '--json', '-n', '1', '--max-tokens', '4'])).stdout).tokens.length, 4, 'the command line goes first');
        equal(JSON.parse((await good(lockstep, ['plan', '--config', ini, '--json'])).stdout).ranks.length, 3, 'the file in another command');
        await good(lockstep, ['run', '--config', join(source, 'configs/lockstep.ini'), '--prompt', prompt, '--max-tokens', '1']);
        for (const [text, ...words] of [['[cluster]\nrank = 3\n', ':2:', 'rank'], ['[run]\n\ntop-p = 7\n', ':3:', 'top-p', '7'], ['ranks 3\n', ':1:']]) {
            writeFileSync(ini, text);
            refused(await run(lockstep, ['run', '--config', ini, '--prompt', 'x']), 2, ini, ...words);
        }
        refused(await run(lockstep, ['run', '--config', join(scratch, 'none.ini'), '--prompt', 'x']), 2, 'none.ini');
    },

    async 'outputs that cannot be written'() {
        refused(await run(lockstep, ['plan', '--json-out', join(scratch, 'no/such/folder.json')]).then(r => ({...r, stdout: ''})), 12, 'no/such/folder.json');
        const full = await run('sh', ['-c', '"$@" >/dev/full', 'sh', lockstep, 'run', '--prompt', prompt, '--max-tokens', '24']);
        equal(full.code, 12, `exit code when standard output is full: ${full.stderr}`);
        const closed = await run('sh', ['-c', '{ "$@"; echo $? >&3; } 3>&2 | head -c 3 >/dev/null', 'sh', lockstep, 'run', '--prompt', prompt, '--ctx', '65536', '--max-tokens', '60000', '--ignore-eos']);
        check(/\n12\n/.test(closed.stderr), `exit code when the reader has gone: ${closed.stderr}`);
        await nothingLeft('outputs that cannot be written');
    },

    async 'the table of exit codes'() {
        const readme = readFileSync(join(source, 'README.md'), 'utf8'), header = readFileSync(join(source, 'common/error.h'), 'utf8');
        const inCode = [...header.matchAll(/X\((\w+), (\d+), "/g)].map(m => `${m[2]} ${m[1]}`);
        const table = readme.split('\n## Exit codes\n')[1].split('\n## ')[0];
        const inReadme = [...table.matchAll(/^\| (\d+) \| (\w+) \|/gm)].map(m => `${m[1]} ${m[2]}`);
        check(inCode.length > 10, 'codes in error.h');
        equal(inReadme, inCode, 'exit codes in the README');
    },
});
