// SPDX-License-Identifier: MIT
// drain.test.mjs: how `serve` ends when it is asked to: what runs is finished, nothing new begins, the exit code
// is 0 and nothing is left.
import {cases, check, equal, mpirun, openStream, post, sanitized, serve, sleep, until} from './harness.mjs';
import {named, noteSegments, nothingLeft} from './leftovers.mjs';

const long = ['--ctx', '65536'];
const exited = server => server.child.exitCode !== null || server.child.signalCode !== null;

async function drains(signal, {args = ['-n', '2'], prefix = [], target} = {}) {
    const server = await serve([...args, ...long], {prefix});
    const streams = await Promise.all(Array.from({length: 8}, () => openStream(server, {max_tokens: sanitized ? 150 : 500})));
    await Promise.all(streams.map(s => s.first));
    noteSegments();
    process.kill((target?.() ?? server.child).pid, signal);
    const refused = await until('new requests are refused', async () => {
        const r = await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1});
        return r.status !== 200 && r;
    });
    equal(refused.status, 503, 'status of a request while draining');
    check(refused.headers.get('retry-after'), 'Retry-After is said');
    check((await refused.json()).error.message, 'and a sentence');
    const ready = await fetch(`${server.url}/ready`);
    equal(ready.status, 503, '/ready while draining');
    await Promise.all(streams.map(s => s.ended));
    for (const s of streams) {
        check(s.done && !s.error, `a running stream is finished: ${JSON.stringify(s.events.at(-1))} ${s.broken ?? ''}`);
        equal(s.events.filter(e => e.choices[0]?.finish_reason).at(-1).choices[0].finish_reason, 'length', 'finish reason');
    }
    await until('lockstep ends', () => exited(server), 15000);
    equal(server.child.exitCode, 0, `exit code after ${signal}:\n${server.log()}`);
    await nothingLeft(signal);
}

// Long prompts, all of them beyond the context: when this returns their statuses, one was read and as many waited as may.
async function fillLine(server) {
    const body = JSON.stringify({prompt: 'Call me Ishmael. '.repeat(1 << 14)});
    const asked = [];
    let full = false, read = false, open = 0;
    const ask = () => {
        const status = post(server, '/v1/completions', body).then(r => {
            full ||= r.status === 429;
            read ||= r.status === 400;
            return r.status;
        });
        status.catch(() => {}).then(() => open--); // of who waits for it
        return status;
    };
    // On a slow machine prompts may come no faster than they are read: then as many again.
    for (let round = 0; round < 10 && !(full && read); round++) {
        open += 80;
        asked.push(...Array.from({length: 80}, ask));
        await until('the line is full and one was read, or all were answered', () => (full && read) || open === 0);
    }
    check(full && read, 'the line is full and one was read');
    return asked;
}

await cases({
    'SIGTERM with 8 streams': () => drains('SIGTERM'),
    'SIGINT with 8 streams': () => drains('SIGINT'),
    'SIGUSR1 to mpirun': () => drains('SIGUSR1', {args: [], prefix: mpirun(2)}),
    'SIGTERM to the coordinator under mpirun': () => drains('SIGTERM', {args: [], prefix: mpirun(2), target: () => named('lockstep')[0]}),

    async 'a second signal ends it at once'() {
        const server = await serve(['-n', '2', ...long]);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        server.child.kill('SIGINT');
        await until('it drains', async () => (await fetch(`${server.url}/ready`)).status === 503);
        server.child.kill('SIGINT');
        await stream.ended;
        check(!stream.done, 'a stream that was cut off has no [DONE]');
        await until('lockstep ends', () => exited(server), 10000);
        equal(server.child.exitCode, 0, `exit code:\n${server.log()}`);
        await nothingLeft('a second signal');
    },

    // The stream keeps the server draining until every prompt has been read.
    async 'a signal while long prompts are read'() {
        const server = await serve(['-n', '1', ...long]);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        const asked = await fillLine(server);
        server.child.kill('SIGTERM');
        const got = await Promise.all(asked);
        stream.abort();
        equal([...new Set(got)].sort(), [400, 429, 503], 'too long for the context, too many, and read when it drained');
        await until('lockstep ends', () => exited(server), 60000);
        equal(server.child.exitCode, 0, `exit code:\n${server.log()}`);
    },

    async 'it ends although long prompts are read'() {
        const server = await serve(['-n', '1']);
        const asked = (await fillLine(server)).map(status => status.catch(() => 'cut off'));
        server.child.kill('SIGTERM');
        await until('lockstep ends', () => exited(server), 60000);
        equal(server.child.exitCode, 0, `exit code:\n${server.log()}`);
        check(!(await Promise.all(asked)).includes(200), 'none of them was answered');
    },

    async 'a signal while nothing runs, or while it starts'() {
        for (const wait of [0, 5, 20, 80, 200, 400, null]) {
            const server = await serve(['-n', '2'], {waitReady: wait === null});
            await sleep(wait ?? 0);
            server.child.kill(wait === 80 ? 'SIGINT' : 'SIGTERM');
            await until('lockstep ends', () => exited(server), 10000);
            equal(server.child.exitCode, 0, `exit code after ${wait} ms:\n${server.log()}`);
            await nothingLeft(`a signal after ${wait} ms`);
        }
    },

    async 'SIGTERM to an idle mpirun that the user started'() {
        const server = await serve([], {prefix: mpirun(2)});
        noteSegments();
        server.child.kill('SIGTERM');
        await until('mpirun ends', () => exited(server), 15000);
        await nothingLeft('SIGTERM to mpirun');
    },
});
