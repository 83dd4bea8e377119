// SPDX-License-Identifier: MIT
// faults.test.mjs: what must happen when something breaks: clients are told, everything ends, the exit code
// says so, the message names who was lost, and nothing is left behind.
//
// A long context on the demo model makes streams that outlast every fault.
import {copyFileSync, readFileSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {connect} from 'node:net';
import {hostname} from 'node:os';
import {join} from 'node:path';
import {cases, check, demo, dial, equal, get, good, lockstep, mpirun, openStream, post, run, sanitized, scratch, serve,
    sleep, status, tests, until} from './harness.mjs';
import {named, noteSegments, nothingLeft, ours, runtime, someRanks, temporary, within} from './leftovers.mjs';

const host = hostname();
const long = ['--ctx', '65536', '--log-level', 'info'];
const code = {model: 3, mismatch: 7, rankLost: 8, launch: 9};
const fakeWorker = join(tests, 'fake_worker');
const secret = '00112233445566778899aabbccddeeff';

async function exited(server, limitMs = 10000) {
    await until('lockstep ends', () => server.child.exitCode !== null || server.child.signalCode !== null, limitMs);
    return server.child.exitCode;
}

// ---- a rank is killed in mid stream ----

async function killInStream(n, victim, {prefix = [], count = n} = {}) {
    const server = await serve([...(prefix.length ? [] : ['-n', String(n)]), ...long], {prefix});
    const streams = await Promise.all([1, 2].map(() => openStream(server, {max_tokens: 60000})));
    const whole = post(server, '/v1/completions', {prompt: 'A', max_tokens: 60000, ignore_eos: true}).catch(e => e);
    await Promise.all(streams.map(s => s.first));
    await until('all three requests run', async () => (await status(server)).running === 3);
    noteSegments();
    const job = await someRanks(count);
    const begin = performance.now();
    process.kill(job[victim].pid, 'SIGKILL');
    await Promise.all(streams.map(s => s.ended));
    const late = await post(server, '/v1/completions', {prompt: 'B', max_tokens: 1}).catch(e => e);
    const told = Math.round(streams[0].errorAt - begin);
    for (const s of streams) {
        check(s.error && !s.done, `a stream must end with an error event and no [DONE]: ${JSON.stringify(s.events.at(-1))} ${s.broken ?? ''}`);
        equal(s.error.type, 'engine_lost', 'type of the error event');
    }
    const answer = await whole;
    check(!(answer instanceof Error), `the request that was not streamed got no answer: ${answer} ${answer.cause}`);
    equal(answer.status, 503, 'status of the request that was not streamed');
    check((await answer.json()).error.message, 'it has a sentence');
    check(late instanceof Error || late.status === 503, `a request after the loss got ${late.status}`);
    const exitCode = await exited(server);
    const gone = Math.round(performance.now() - begin);
    check(told <= 2000 * (sanitized ? 4 : 1), `clients were told after ${told} ms`);
    await nothingLeft('a killed rank', 5000);
    return {server, exitCode, note: `clients told after ${told} ms, everything ended after ${gone} ms`};
}

async function killRank(n, victim) {
    const {server, exitCode, note} = await killInStream(n, victim);
    equal(exitCode, code.rankLost, 'exit code');
    const sentence = `rank ${victim} on ${host} was ended by signal 9`;
    check(server.log().includes(sentence), `"${sentence}" is missing:\n${server.log()}`);
    return note;
}

// ---- loading ----

let bigModel;
async function big() {
    if (bigModel) return bigModel;
    const path = join(scratch, 'big.gguf');
    await good(join(tests, 'make_model'), ['--out', path, '--preset', 'tinyllama-1.1b', '--type', 'Q4_0']);
    return (bigModel = path);
}
// Starts serve on the big model and does `what` as soon as the ranks begin to read it.
async function whileLoading(model, what) {
    for (let i = 0; i < 5; i++) {
        const server = await serve(['--model', model, '-n', '2', '-t', '1', '--log-level', 'debug'], {waitReady: false});
        await until('the ranks have opened the model', () => server.log().includes('the model is opened'));
        const begin = performance.now();
        await what();
        const exitCode = await Promise.race([exited(server), until('', () => server.log().includes(' ready'), 20000).then(() => null)]);
        if (exitCode !== null) return {server, exitCode, ms: performance.now() - begin};
        await server.stop(); // it was faster than we: once more
    }
    throw new Error('the model was always loaded before anything could happen to it');
}

// A launcher of our own: a shell script that gets mpirun's part of the command line.  As lockstep's, it waits for
// nothing between asking the other ranks to end and ending them (two seconds otherwise).
const myMpirun = 'exec mpirun --oversubscribe --bind-to none --mca odls_base_sigkill_timeout 0';
function launcher(script) {
    const path = join(scratch, 'launch.sh');
    const start = `${myMpirun} "$@"`;
    writeFileSync(path, `#!/bin/sh\n${script.replace('START', start)}\n`, {mode: 0o755});
    return path;
}
async function oneOfFive(attempt) {
    for (let i = 0; i < 4; i++) if (await attempt().then(() => true, () => false)) return;
    await attempt();
}
// Such a launch must fail with this code and these words, soon.
async function launchFails(script, exitCode, words, args = []) {
    const r = await within(3000, `a launch that fails (${script})`, () => run(lockstep,
        ['run', '-n', '2', '--prompt', 'x', '--launcher', launcher(script), '--control-addr', '127.0.0.1', ...args]));
    equal(r.code, exitCode, `exit code after "${script}":\n${r.stderr}`);
    for (const word of words) check(r.stderr.includes(word), `"${word}" is missing after "${script}":\n${r.stderr}`);
    equal(r.stdout, '', 'standard output');
    await nothingLeft(`a launch that fails (${script})`);
}

// ---- the control port ----

async function waiting(n) {
    const server = await serve(['--wait', '-n', String(n), '--control-addr', '127.0.0.1', '--log-level', 'debug'],
        {env: {LOCKSTEP_SECRET: secret}, waitReady: false});
    const found = await until('it waits for ranks', () => /--coordinator 127\.0\.0\.1:(\d+)/.exec(server.log()));
    server.controlPort = +found[1];
    return server;
}
const hello = (server, values) => run(fakeWorker, [String(server.controlPort), 'secret', secret,
    ...Object.entries(values).flat().map(String)]);

// This hello is refused: the worker hears why, the coordinator ends with the same sentence and its own exit code.
async function mismatch(values, ...words) {
    await within(2000, 'a mismatch is found', async () => {
        const server = await waiting(2);
        const begin = performance.now();
        const r = await hello(server, {size: 2, ...values});
        check(r.stdout.startsWith('refused MISMATCH '), `${JSON.stringify(values)}: the worker heard "${r.stdout}"`);
        equal(await exited(server), code.mismatch, `exit code for ${JSON.stringify(values)}`);
        await server.ended; // its last words may come after its end
        for (const word of words) {
            check(r.stdout.includes(word), `the worker does not hear "${word}": ${r.stdout}`);
            check(server.log().includes(word), `the user does not read "${word}":\n${server.log()}`);
        }
        return {ms: performance.now() - begin};
    });
}

// Sends bytes to the control port; resolves when the other side closes.
const knock = (port, bytes, limitMs = 10000) => new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const timer = setTimeout(() => reject(new Error(`a stranger was not dropped in ${limitMs} ms`)), limitMs);
    socket.on('error', () => {});
    socket.on('data', () => reject(new Error('a stranger got an answer')));
    socket.on('close', () => { clearTimeout(timer); resolve(); });
});
const frame = (length, bytes = Buffer.alloc(0)) => {
    const head = Buffer.alloc(4);
    head.writeUInt32LE(length);
    return Buffer.concat([head, bytes]);
};

const completion = async (server, max_tokens = 8) => {
    const r = await post(server, '/v1/completions', {prompt: 'Call me Ishmael.', max_tokens, temperature: 0, ignore_eos: true});
    equal(r.status, 200, 'status of a completion');
    return (await r.json()).choices[0].text;
};
const blocksFree = (server, limitMs = 5000) => until('all requests have left and all blocks are free', async () => {
    const s = await status(server);
    return s.running === 0 && s.waiting === 0 && s.kv_blocks_used === 0;
}, limitMs);

await cases({
    'kill -9 of rank 0 in mid stream': () => killRank(2, 0),
    'kill -9 of another rank in mid stream': () => killRank(3, 2),

    async 'kill -9 of a rank under mpirun'() {
        for (const victim of [0, 1]) {
            const {server, exitCode, note} = await killInStream(2, victim, {prefix: mpirun(2)});
            check(exitCode !== 0, `the exit code is ${exitCode} after rank ${victim} was killed`);
            check(server.log().includes(`rank ${victim} on ${host}`), `rank and host are missing:\n${server.log()}`);
            if (victim === 1) return note;
        }
    },

    async 'kill -9 of a rank while loading'() {
        const model = await big();
        const {server, exitCode, ms} = await whileLoading(model, async () => {
            noteSegments();
            process.kill((await someRanks(2))[1].pid, 'SIGKILL');
        });
        equal(exitCode, code.rankLost, `exit code:\n${server.log()}`);
        check(server.log().includes(`rank 1 on ${host} was ended by signal 9`), `rank, host, signal:\n${server.log()}`);
        await nothingLeft('a rank killed while loading');
        return `ended after ${Math.round(ms)} ms`;
    },

    async 'a rank that cannot start'() {
        await launchFails('echo "no such partition" >&2; exit 3', code.launch, ['no such partition', 'exit code 3']);
        await launchFails('kill -9 $$', code.launch, ['signal 9']);
        await launchFails('exec sleep 0', code.launch, ['exit code 0']);
        // what stands behind "-n 2" is the worker's command line: rank 1 runs something else, or otherwise
        const rank1 = what => `${myMpirun} -n 2 sh -c '
            [ "$OMPI_COMM_WORLD_RANK" = 1 ] && ${what}
            shift 2; exec "$@"' sh "$@"`;
        // Open MPI 4.1 now and then forgets to say which rank it was, and nobody else can know
        await oneOfFive(() => launchFails(rank1('exit 7'), code.launch, ['rank 1', '7']));
        await oneOfFive(() => launchFails(rank1('kill -9 $$'), code.launch, ['rank 1', 'signal 9']));
        await launchFails(rank1('export LOCKSTEP_ISA=z80'), code.launch, ['rank 1', 'z80']);

        const alone = join(scratch, 'alone');
        await good('mkdir', [alone]);
        copyFileSync(lockstep, join(alone, 'lockstep'));
        const r = await run(join(alone, 'lockstep'), ['run', '--model', demo, '--prompt', 'x']);
        equal(r.code, code.launch, `exit code without lockstep-worker:\n${r.stderr}`);
        check(r.stderr.includes('lockstep-worker'), r.stderr);
        const missing = await run(lockstep, ['run', '--prompt', 'x', '--launcher', 'no-such-launcher']);
        equal(missing.code, code.launch, 'exit code without a launcher');
        check(missing.stderr.includes('no-such-launcher'), missing.stderr);
        await nothingLeft('a rank that cannot start');
    },

    // The coordinator has read the headers; the launcher changes the file before the ranks open it.
    async 'a model that the ranks cannot use'() {
        const model = join(scratch, 'm.gguf'), other = join(scratch, 'other.gguf'), args = ['--model', model];
        const again = () => copyFileSync(demo, model);
        again();
        await launchFails(`rm ${model}; START`, code.model, [model], args);
        again();
        await launchFails(`truncate -s 2000000 ${model}; START`, code.model, [model], args);
        again();
        await good(join(tests, 'make_model'), ['--out', other, '--heads', '8', '--dim', '256', '--seed', '5']);
        await launchFails(`cp ${other} ${model}; START`, code.mismatch, [model], args);
    },

    async 'the file shrinks while it is read'() {
        const model = join(scratch, 'shrinking.gguf');
        renameSync(await big(), model);
        bigModel = undefined;
        const size = statSync(model).size;
        const {server, exitCode, ms} = await whileLoading(model, () => truncateSync(model, size >> 3));
        equal(exitCode, code.model, `exit code:\n${server.log()}`);
        check(server.log().includes(model), `the file's name is missing:\n${server.log()}`);
        rmSync(model);
        await nothingLeft('a file that shrinks');
        return `ended after ${Math.round(ms)} ms`;
    },

    // A client that does not read its answers holds the end up, for the two seconds that it may.
    async 'SIGTERM while a server ends that has lost a rank'() {
        const server = await serve(['-n', '2', ...long]);
        const deaf = await dial(server);
        deaf.socket.pause();
        deaf.send(get('/metrics').repeat(2000));
        const job = await someRanks(2);
        process.kill(job[1].pid, 'SIGKILL');
        await until('it takes no clients any more', () => dial(server).then(c => void c.socket.destroy(), () => true));
        equal(server.child.exitCode, null, 'exit code while the client does not read');
        server.child.kill('SIGTERM');
        equal(await exited(server), code.rankLost, 'exit code');
        deaf.socket.destroy();
        await nothingLeft('SIGTERM after a lost rank');
    },

    async 'kill -9 of mpirun'() {
        const server = await serve(['-n', '2', ...long]);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        const begin = performance.now();
        process.kill(named('mpirun')[0].pid, 'SIGKILL');
        await stream.ended;
        check(stream.error && !stream.done, 'the stream ends with an error event');
        equal(await exited(server), code.rankLost, 'exit code');
        await nothingLeft('kill -9 of mpirun');
        return `everything ended after ${Math.round(performance.now() - begin)} ms`;
    },

    async 'kill -9 of an mpirun that the user started'() {
        const server = await serve(long, {prefix: mpirun(2)});
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        server.child.kill('SIGKILL');
        await stream.ended;
        check(stream.error && !stream.done, 'the stream ends with an error event');
        await until('all processes end', () => ours().length === 0, 5000);
        // only that mpirun itself can clear its session folder
        for (const f of readdirSync(temporary)) rmSync(join(temporary, f), {recursive: true});
        await nothingLeft('kill -9 of the user\'s mpirun');
    },

    async 'kill -9 of the coordinator, and another one after it'() {
        const server = await serve(['-n', '2', ...long]);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        const begin = performance.now();
        server.child.kill('SIGKILL');
        await stream.ended;
        check(!stream.done, 'a stream that was cut off has no [DONE]');
        await until('the ranks end', () => ours().length === 0, 3000 * (sanitized ? 4 : 1));
        const ms = Math.round(performance.now() - begin);
        // The run folder of a coordinator that was killed is removed by the next one.
        const next = await serve(['-n', '2', '--port', String(server.port)]);
        equal(next.port, server.port, 'the same port');
        await completion(next);
        equal(await next.stop(), 0, 'exit code of the next one');
        await nothingLeft('kill -9 of the coordinator');
        return `ranks ended after ${ms} ms`;
    },

    async 'kill -9 of the coordinator while it starts'() {
        const notes = [];
        for (const wait of [0, 60, 150]) {
            const server = await serve(['-n', '2'], {waitReady: false});
            await until('mpirun runs', () => named('mpirun').length > 0);
            await sleep(wait);
            const begin = performance.now();
            server.child.kill('SIGKILL');
            await until('the ranks end', () => ours().length === 0, 5000 * (sanitized ? 4 : 1));
            notes.push(Math.round(performance.now() - begin));
        }
        await good(lockstep, ['run', '--prompt', 'x', '--max-tokens', '1']); // removes the run folders of the dead
        await nothingLeft('kill -9 of the coordinator while it starts');
        return `ranks ended after ${notes.join(', ')} ms`;
    },

    async 'kill -9 of the coordinator under mpirun'() {
        const server = await serve(long, {prefix: mpirun(2)});
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        process.kill(named('lockstep')[0].pid, 'SIGKILL');
        await stream.ended;
        check(await exited(server, 5000) !== 0, 'the exit code of mpirun is not 0');
        await good(lockstep, ['run', '--prompt', 'x', '--max-tokens', '1']); // removes the run folder of the dead one
        await nothingLeft('kill -9 of the coordinator under mpirun');
    },

    async 'clients that leave'() {
        const server = await serve(['-n', '2', ...long, '--max-batch', '2']);
        const before = (await status(server)).cancelled;
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        check((await status(server)).kv_blocks_used > 0, 'a running stream holds blocks');
        stream.abort();
        await blocksFree(server);

        const ids = Array.from({length: 60000}, (_, i) => 300 + i % 1500);
        const prefill = new AbortController();
        const gone = post(server, '/v1/completions', {prompt: ids, max_tokens: 1000}, {signal: prefill.signal}).catch(e => e);
        await until('the prompt is being prefilled', async () => (await status(server)).running === 1);
        await sleep(50);
        equal((await status(server)).running, 1, 'the prefill is still going on');
        prefill.abort();
        await gone;
        await blocksFree(server);

        const busy = await Promise.all([1, 2].map(() => openStream(server, {max_tokens: 60000})));
        await Promise.all(busy.map(s => s.first));
        const queued = new AbortController();
        const never = post(server, '/v1/completions', {prompt: 'q', max_tokens: 1000}, {signal: queued.signal}).catch(e => e);
        await until('a request waits', async () => (await status(server)).waiting === 1);
        queued.abort();
        await never;
        await until('it waits no more', async () => (await status(server)).waiting === 0, 5000);
        equal((await status(server)).running, 2, 'the running ones go on');
        busy.forEach(s => s.abort());
        await blocksFree(server);
        equal((await status(server)).cancelled - before, 5, 'requests counted as cancelled');
        await completion(server);
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('clients that leave');
    },

    async 'a KV cache that is too small for all'() {
        const server = await serve(['-n', '2', '--kv-tokens', '320']);
        const alone = await completion(server, 200);
        const together = await Promise.all(Array.from({length: 6}, () => completion(server, 200)));
        together.forEach((text, i) => equal(text, alone, `text ${i} of six that have to take turns`));
        await blocksFree(server);
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('a KV cache that is too small for all');
    },

    async 'the edges of the context'() {
        const server = await serve(['-n', '2']), ctx = 256;
        const ids = n => Array.from({length: n}, (_, i) => 300 + i);
        const ask = async (n, max_tokens) => {
            const r = await post(server, '/v1/completions', {prompt: ids(n), max_tokens, ignore_eos: true});
            return {status: r.status, ...await r.json()};
        };
        const inside = await ask(ctx - 4, 100);
        equal([inside.status, inside.choices[0].finish_reason, inside.usage.completion_tokens], [200, 'length', 4], 'a text that fills the context');
        const almost = await ask(ctx - 1, 100);
        equal([almost.status, almost.choices[0].finish_reason, almost.usage.completion_tokens], [200, 'length', 1], 'a prompt one below the context');
        for (let i = 0; i < 100; i++) {
            const over = await ask(ctx + 1 + i, 4);
            equal([over.status, over.error.code], [400, 'context_length_exceeded'], 'a prompt over the context');
            for (const number of [ctx, ctx + 1 + i]) check(over.error.message.includes(String(number)), `${number} is missing: ${over.error.message}`);
        }
        const exact = await ask(ctx, 4);
        check([200, 400].includes(exact.status), `a prompt of exactly the context gets ${exact.status}`);
        if (exact.status === 200) equal(exact.choices[0].finish_reason, 'length', 'a prompt of exactly the context');
        else equal(exact.error.code, 'context_length_exceeded', 'a prompt of exactly the context');
        await blocksFree(server);
        await completion(server);
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('the edges of the context');
        return `a prompt of exactly the context gets ${exact.status}`;
    },

    async 'workers that do not match'() {
        const version = (await good(lockstep, ['--version'])).stdout.trim().split(' ')[1];
        await mismatch({'build-id': '0.0.9+0123456789ab'}, '0.0.9+0123456789ab', version);
        await mismatch({protocol: 77}, '77', 'lockstep speaks 1');
        await mismatch({size: 3}, '3', '2');
        const server = await waiting(2);
        const stale = await hello(server, {size: 2, epoch: 12});
        check(stale.stdout.startsWith('refused MISMATCH') && /12\D+1\b/.test(stale.stdout), `another epoch: ${stale.stdout}`);
        equal((await hello(server, {size: 2, secret: 'ff'.repeat(16)})).stdout, 'closed\n', 'a wrong secret');
        equal((await hello(server, {size: 2, secret: ''})).stdout, 'closed\n', 'no secret');
        equal(server.child.exitCode, null, 'a stale worker and strangers do not end the coordinator');
        await server.stop('SIGINT');
        await nothingLeft('workers that do not match');
    },

    async 'the control socket is private'() {
        const server = await serve(['-n', '2']);
        const folder = join(runtime, readdirSync(runtime).find(f => f.startsWith('lockstep-')));
        equal((statSync(folder).mode & 0o777).toString(8), '700', 'mode of the run folder');
        equal((statSync(join(folder, 'control')).mode & 0o777).toString(8), '600', 'mode of the control socket');
        for (const p of ours()) {
            const words = readFileSync(`/proc/${p.pid}/cmdline`, 'utf8');
            check(!/[0-9a-f]{32}/.test(words), `a secret on the command line: ${words}`);
            check(!Object.keys(p.env).some(k => /SECRET/.test(k)), 'a secret in the environment');
        }
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('the control socket is private');
    },

    async 'strangers on the control port'() {
        const server = await serve(['-n', '2', '--control-addr', '127.0.0.1', '--log-level', 'debug']);
        const port = +/connect to tcp:127\.0\.0\.1:(\d+)/.exec(server.log())[1];
        const before = await completion(server);
        await knock(port, frame(0xffffffff));
        await knock(port, frame(0));
        await knock(port, frame(65537));
        await knock(port, frame(8, Buffer.from('08ffffffffffff0f', 'hex')));
        await knock(port, frame(3, Buffer.from('7a0100', 'hex')));
        await knock(port, frame(100, Buffer.alloc(20))); // the rest never comes
        await knock(port, Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
        for (let i = 0; i < 200; i++) // a port scan
            await new Promise(done => { const s = connect(port, '127.0.0.1', () => s.destroy()); s.on('close', done); s.on('error', () => {}); });
        const wrong = await run(fakeWorker, [String(port), 'secret', secret, 'size', '2']);
        equal(wrong.stdout, 'closed\n', 'a hello with a wrong secret');
        equal(await completion(server), before, 'the same text as before');
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('strangers on the control port');
    },
});
