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

    async 'a signal while a long prompt is read'() {
        const server = await serve(['-n', '1']);
        const asked = post(server, '/v1/completions', {prompt: 'Call me Ishmael. '.repeat(1 << 17)}).then(r => r.status, () => 'cut off');
        await sleep(30);
        server.child.kill('SIGTERM');
        check([400, 503, 'cut off'].includes(await asked), `a refusal, not ${await asked}`);
        await until('lockstep ends', () => exited(server), 60000);
        equal(server.child.exitCode, 0, `exit code:\n${server.log()}`);
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
