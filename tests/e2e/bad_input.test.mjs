// SPDX-License-Identifier: MIT
// bad_input.test.mjs: what bad input gets: one sentence that names the thing, the documented exit code, soon, and
// nothing left behind.  Formats and requests have fuzzers and unit tests; here it is what the user sees.
import {copyFileSync, existsSync, mkdirSync, readFileSync, rmdirSync, truncateSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {once} from 'node:events';
import {join} from 'node:path';
import {bin, cases, check, demo, equal, good, lockstep, mpiEnv, mpirun, post, run, scratch, serve} from './harness.mjs';
import {nothingLeft, within} from './leftovers.mjs';

const code = {usage: 2, model: 3, memory: 4, plan: 5, address: 6, launch: 9, request: 10, context: 13};
const quick = 2000;

// Runs a command that must be refused with this code and these words.
async function refused(args, exitCode, words, {limitMs = quick, command = lockstep, ...options} = {}) {
    const what = args.join(' ').slice(-100);
    const r = await within(limitMs, what, () => run(command, args, options));
    equal(r.code, exitCode, `exit code of "${what}" (${r.signal}):\n${r.stderr}`);
    equal(r.stdout.replace(/^listening on .*\n/, ''), '', `standard output of "${what}"`);
    const said = r.stderr.split('\n').filter(l => /^lockstep: | error /.test(l));
    check(said.length >= 1 && said[0].length < 1200, `"${what}" is refused without a sentence:\n${r.stderr}`);
    for (const w of words) check(said.join('\n').includes(w), `"${w}" is missing in what "${what}" gets:\n${r.stderr}`);
    return r;
}

// ---- damaged models: the demo model with some bytes changed ----

const original = readFileSync(demo);
// GGUF writes a string as its length and its bytes.
const field = text => {
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([head, Buffer.from(text)]);
};
const find = text => {
    const at = original.indexOf(field(text));
    check(at >= 0, `the demo model has no "${text}"`);
    return at + 8 + text.length;
};
function variant(name, change) {
    const path = join(scratch, `${name}.gguf`), bytes = Buffer.from(original);
    writeFileSync(path, change(bytes) ?? bytes);
    return path;
}
// The text value of a key, replaced by another of the same length.
const withText = (name, key, text) => variant(name, bytes => {
    const at = find(key) + 4; // behind the type
    equal(Number(bytes.readBigUInt64LE(at)), text.length, `length of ${key}`);
    bytes.write(text, at + 8);
});
const withType = (name, tensor, type) => variant(name, bytes => {
    const at = find(tensor), dims = bytes.readUInt32LE(at);
    bytes.writeUInt32LE(type, at + 4 + 8 * dims);
});

const modelCommands = path => [['inspect', '--model', path], ['plan', '--model', path], ['tokenize', '--model', path, 'x'],
    ['run', '--model', path, '--prompt', 'x'], ['eval', '--model', path, '--prompt', 'x'], ['serve', '--port', '0', '--model', path]];

async function occupied(what) {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    try {
        await what(squatter.address().port);
    } finally {
        squatter.close();
    }
}

// A control group whose limit is `bytes`, or null where none can be made.
function controlGroup(bytes) {
    const name = `lockstep-test-${process.pid}`;
    for (const [base, file] of [['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'], ['/sys/fs/cgroup', 'memory.max']]) {
        const path = join(base, name);
        try {
            if (!existsSync(join(base, 'cgroup.procs'))) continue;
            mkdirSync(path);
            writeFileSync(join(path, file), String(bytes));
            return path;
        } catch {
            try { rmdirSync(path); } catch {}
        }
    }
    return null;
}

await cases({
    async 'options'() {
        await refused([], code.usage, ['--help']);
        await refused(['walk'], code.usage, ['walk', '--help']);
        for (const [args, ...words] of [
            [['--no-such-option'], '--no-such-option'], [['--temperature'], 'temperature'], [['--temperature', 'hot'], 'temperature', 'hot'],
            [['--temperature', '-1'], 'temperature', '-1'], [['--top-p', 'nan'], 'top-p', 'nan'], [['-n', '0'], '0'], [['-n', '99999'], '99999'],
            [['-n', '1e3'], '1e3'], [['--ctx', '-5'], 'ctx'], [['--kv-memory', '12Q'], 'kv-memory', '12Q'], [['--kv-type', 'f8'], 'kv-type', 'f8'],
            [['--max-batch', '0'], 'max-batch'], [['--seed', '99999999999999999999999'], 'seed'], [['--log-level', 'loud'], 'log-level', 'loud'],
            [['one', 'two'], 'one'], [['--port', '1'], '--port'], [['--control-addr', 'host:99999'], 'host:99999'],
            [['--stop', 'a', '--stop', 'b', '--stop', 'c', '--stop', 'd', '--stop', 'e'], 'stop'], [['--launcher', 'a "b'], 'quote'],
            [['--hostfile', '/no/such/hosts'], '/no/such/hosts'], [['--prompt-file', 'f'], 'exclude']])
            await refused(['run', '--prompt', 'x', ...args], code.usage, words);
        await refused(['run'], code.usage, ['--prompt']);
        await refused(['run', '--prompt-file', '/no/such/text'], code.usage, ['/no/such/text']);
        await refused(['eval'], code.usage, ['--prompt']);
        await refused(['serve', '--port', '70000'], code.usage, ['70000']);
        await refused([], code.usage, ['mpirun'], {command: join(bin, 'lockstep-worker')});
        await refused(['--walk'], code.usage, ['--walk'], {command: join(bin, 'lockstep-worker')});
        await nothingLeft('options');
    },

    async 'files that are no model'() {
        const file = (name, bytes) => variant(name, () => bytes);
        for (const [path, word] of [['/no/such/model.gguf', 'No such file'], [scratch, 'regular'], [file('empty', Buffer.alloc(0)), ''],
            [file('text', Buffer.from('This is no model, only a text of some length.')), 'GGUF'], [file('magic', original.subarray(0, 4)), '']])
            for (const args of modelCommands(path)) await refused(args, code.model, [path, word]);
        for (const args of [['run', '--prompt', 'x'], ['plan']]) {
            const r = await within(quick + 1000, 'a missing model under mpirun', () => run(mpirun(2)[0],
                [...mpirun(2).slice(1), lockstep, ...args, '--model', '/no/such/model.gguf'], {env: mpiEnv}));
            equal(r.code, code.model, `exit code under mpirun: ${r.stderr}`);
            check(r.stderr.includes('/no/such/model.gguf'), r.stderr);
        }
        await nothingLeft('files that are no model');
    },

    async 'truncated and hostile models'() {
        for (const keep of [5, 24, 100, 20000, original.length >> 1, original.length - 1]) {
            const path = variant(`cut-${keep}`, bytes => bytes.subarray(0, keep));
            for (const args of modelCommands(path)) await refused(args, code.model, [path]);
        }
        const huge = 0xffffffffffffffffn;
        const hostile = {
            version: b => b.writeUInt32LE(77, 4), tensors: b => b.writeBigUInt64LE(huge, 8), keys: b => b.writeBigUInt64LE(huge, 16),
            'key-length': b => b.writeBigUInt64LE(huge, 24), layers: b => b.writeUInt32LE(1000000, find('llama.block_count') + 4),
            heads: b => b.writeUInt32LE(0, find('llama.attention.head_count') + 4), dims: b => b.writeBigUInt64LE(huge >> 1n, find('token_embd.weight') + 4),
            offset: b => b.writeBigUInt64LE(huge - 31n, find('token_embd.weight') + 4 + 16 + 4),
        };
        for (const [name, change] of Object.entries(hostile)) {
            const path = variant(`hostile-${name}`, b => void change(b));
            const all = modelCommands(path).filter(([c]) => !(c === 'inspect' || c === 'tokenize') || ['version', 'tensors', 'keys', 'key-length', 'dims', 'offset'].includes(name));
            for (const args of all) await refused(args, code.model, []);
        }
        await nothingLeft('truncated and hostile models');
    },

    async 'what this build does not know'() {
        const run1 = path => ['run', '--model', path, '--prompt', 'x'], plan = path => ['plan', '--model', path];
        const arch = withText('arch', 'general.architecture', 'lxama');
        const type = withType('type', 'blk.0.attn_q.weight', 99), q2k = withType('q2k', 'blk.0.attn_q.weight', 10);
        const tokenizer = withText('tokenizer', 'tokenizer.ggml.model', 'xpt2'), pre = withText('pre', 'tokenizer.ggml.pre', 'zzz-2');
        for (const make of [run1, plan]) {
            await refused(make(arch), code.model, ['lxama']);
            await refused(make(type), code.model, ['99', 'blk.0.attn_q.weight']);
            await refused(make(q2k), code.model, ['Q2_K', 'blk.0.attn_q.weight']);
        }
        for (const make of [run1, path => ['tokenize', '--model', path, 'x']]) {
            await refused(make(tokenizer), code.model, ['xpt2']);
            await refused(make(pre), code.model, ['zzz-2']);
        }
        const shown = JSON.parse((await good(lockstep, ['inspect', '--model', arch, '--json'])).stdout);
        check(shown.model === null && shown.problem.includes('lxama'), 'inspect shows what it can, and why it is not served');
        await nothingLeft('what this build does not know');
    },

    async 'more ranks than query heads'() {
        for (const command of [['run', '--prompt', 'x'], ['plan'], ['serve', '--port', '0']])
            await refused([...command, '-n', '9'], code.plan, ['9', '8']);
        // mpirun itself (Open MPI 4.1.4) is ended now and then by SIGPIPE when it writes to a rank that is gone.
        let r;
        for (let i = 0; i === 0 || (i < 5 && r.signal === 'SIGPIPE'); i++)
            r = await within(quick + 2000, 'nine ranks under mpirun', () => run(mpirun(9)[0], [...mpirun(9).slice(1), lockstep, 'run', '--prompt', 'x'], {env: mpiEnv}));
        equal(r.code, code.plan, `exit code under mpirun (${r.signal}): ${r.stderr}`);
        check(/\b9\b/.test(r.stderr) && /\b8\b/.test(r.stderr), r.stderr);
        await nothingLeft('more ranks than query heads');
    },

    async 'more memory than there is'() {
        const numbers = /needs? [\d.]+ [KMGT]iB .*but [\d.]+ [KMGT]iB are/;
        for (const args of [['--kv-memory', '900T'], ['--kv-tokens', '1000G'], ['--ctx', '16M', '--kv-type', 'f32']]) {
            const r = await refused(['run', '--prompt', 'x', ...args], code.memory, [], {limitMs: quick + 1000});
            check(numbers.test(r.stderr), `both numbers: ${r.stderr}`);
        }
        await refused(['run', '--prompt', 'x', '--ctx', '4096', '--kv-tokens', '256'], code.memory, ['4096', '256'], {limitMs: quick + 1000});
        await nothingLeft('more memory than there is');
    },

    async 'more memory than the control group has'() {
        const group = controlGroup(400 << 20);
        if (!group) return 'no control group can be made here: left out';
        try {
            const inside = args => ['-c', 'echo $$ >"$0/cgroup.procs" && exec "$@"', group, lockstep, 'run', '--prompt', 'Call me', '--max-tokens', '4', ...args];
            const r = await refused(inside(['--kv-memory', '600M']), code.memory, [], {limitMs: quick + 1000, command: 'sh'});
            const [, need, have] = /needs? (\d+)\S* MiB .*but (\d+)\S* MiB are/.exec(r.stderr) ?? [];
            check(need > 600 && have < 400, `both numbers: ${r.stderr}`);
            await good('sh', inside([])); // and what fits, fits
            await nothingLeft('more memory than the control group has');
        } finally {
            rmdirSync(group);
        }
    },

    async 'ports that are taken'() {
        await occupied(async port => {
            await refused(['serve', '--port', String(port)], code.address, [String(port)]);
            await refused(['serve', '--port', '0', '--wait', '-n', '2', '--control-addr', `127.0.0.1:${port}`], code.address, [String(port)], {env: {LOCKSTEP_SECRET: 'ab'.repeat(16)}});
            await refused(['run', '--prompt', 'x', '--control-addr', `127.0.0.1:${port}`], code.address, [String(port)]);
            const r = await within(quick + 1000, 'a taken port under mpirun', () => run(mpirun(2)[0], [...mpirun(2).slice(1), lockstep, 'serve', '--port', String(port)], {env: mpiEnv}));
            equal(r.code, code.address, `exit code under mpirun: ${r.stderr}`);
        });
        await refused(['serve', '--host', '203.0.113.77', '--port', '0'], code.address, ['203.0.113.77']);
        await refused(['run', '--prompt', 'x', '--control-addr', '/no/such/folder/socket'], code.address, ['/no/such/folder/socket']);
        await nothingLeft('ports that are taken');
    },

    async 'prompts'() {
        const longFile = join(scratch, 'long.txt'), badFile = join(scratch, 'bad.txt');
        writeFileSync(longFile, 'word '.repeat(1000));
        writeFileSync(badFile, Buffer.from('good until here \xff\xfe', 'latin1'));
        const limitMs = quick + 1000;
        const r = await refused(['run', '--prompt-file', longFile], code.context, ['256'], {limitMs});
        check(/\b(\d{4})\b/.test(r.stderr.split('\n').find(l => l.startsWith('lockstep: '))), `both numbers: ${r.stderr}`);
        await refused(['eval', '--file', longFile], code.context, ['256'], {limitMs});
        await refused(['run', '--prompt-file', badFile], code.request, ['UTF-8', '16']);
        await refused(['eval', '--file', badFile], code.request, ['UTF-8', '16']);
        await refused(['-c', '"$0" run --prompt "$(printf "ab\\377")"', lockstep], code.request, ['UTF-8', '2'], {command: 'sh'});
        await refused(['run', '--prompt', ''], code.request, ['empty'], {limitMs});
        await nothingLeft('prompts');
    },

    async 'requests'() {
        const server = await serve(['-n', '2']);
        const bad = async (body, status, ...words) => {
            const begin = performance.now(), r = await post(server, '/v1/completions', body), answer = await r.json();
            equal(r.status, status, `status of ${String(JSON.stringify(body)).slice(0, 100)}: ${JSON.stringify(answer)}`);
            for (const w of words) check(answer.error.message.includes(w), `"${w}" is missing: ${answer.error.message}`);
            check(performance.now() - begin < 5 * quick, 'it took too long');
            return answer.error;
        };
        equal((await bad({prompt: 'word '.repeat(1000)}, 400, '256')).code, 'context_length_exceeded', 'code of a prompt that is too long');
        await bad('{"prompt": ', 400);
        await bad('[1, 2]', 400);
        await bad(Buffer.from('{"prompt": "\xff"}', 'latin1').toString('latin1').replace('\xff', '\\ud800'), 400);
        equal((await bad({prompt: 5}, 400, 'prompt')).param, 'prompt', 'param of a wrong type');
        equal((await bad({prompt: 'x', max_tokens: 'many'}, 400, 'max_tokens')).param, 'max_tokens', 'param of a wrong type');
        equal((await bad({prompt: 'x', n: 1e9}, 400, 'n')).param, 'n', 'param of a wrong range');
        equal((await bad({prompt: [5, 99999999]}, 400)).param, 'prompt', 'param of an unknown token');
        const raw = await fetch(`${server.url}/v1/completions`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: Buffer.from('{"prompt": "\xff\xfe"}', 'latin1')});
        equal(raw.status, 400, 'status of invalid UTF-8');
        await raw.json();
        equal((await (await post(server, '/v1/completions', {prompt: 'x', max_tokens: 2})).json()).usage.completion_tokens, 2, 'and it serves on');
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('requests');
    },
});
