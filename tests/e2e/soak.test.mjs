// SPDX-License-Identifier: MIT
// soak.test.mjs: mixed traffic on three ranks for a while: streams, whole answers, clients that leave, bad requests and
// long prompts.  Every answer is the one that the same request gets alone, no error comes that was not provoked, and
// memory and descriptors stay where they were.
//
//   LOCKSTEP_SOAK_SECONDS=600 node tests/e2e/soak.test.mjs      the long version
import {cases, check, equal, openStream, post, serve, sleep, status, until} from './harness.mjs';
import {nothingLeft, ranks} from './leftovers.mjs';
import {readFileSync, readdirSync} from 'node:fs';

const seconds = +(process.env.LOCKSTEP_SOAK_SECONDS ?? 12);
const MiB = 1 << 20;
const clients = 12;

// The same numbers in every run (mulberry32).
function randomOf(seed) {
    return below => {
        seed = (seed + 0x6D2B79F5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return (((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * below) | 0;
    };
}

const long = Array.from({length: 600}, (_, i) => 300 + i * 7 % 900);
const requests = [
    ...['Call me Ishmael.', 'The sea was', 'Once upon a time', 'Whales are', 'Chapter 1', 'In the beginning', 'He said that', 'é 漢字 🐋']
        .map((prompt, i) => ({prompt, max_tokens: 12 + 9 * i, temperature: 0, ignore_eos: true})),
    ...[1, 2, 3].map(seed => ({prompt: 'A sampled line:', max_tokens: 30, temperature: 1, top_p: 0.9, seed, ignore_eos: true})),
    {prompt: long, max_tokens: 10, temperature: 0, ignore_eos: true},
    {prompt: long.slice(0, 333), max_tokens: 40, temperature: 0, ignore_eos: true},
];
const refusals = [
    ['{"prompt": ', 400], [{prompt: 'x', temperature: 'hot'}, 400], [{prompt: 'x', n: 1e9}, 400],
    [{prompt: 'x', max_tokens: -1}, 400], [{prompt: Array(100000).fill(300)}, 400], ['[]', 400],
];

async function textOf(server, request, stream) {
    if (stream) {
        const s = await openStream(server, request);
        await s.ended;
        check(s.done && !s.error && !s.broken, `a stream ended well: ${JSON.stringify(s.error ?? s.broken?.message ?? s.status)}`);
        return s.text;
    }
    const r = await post(server, '/v1/completions', request);
    check(r.status === 200, `status ${r.status}: ${r.status === 200 ? '' : await r.text()}`);
    return (await r.json()).choices[0].text;
}

const acts = {
    async stream(server, random, expected) {
        const i = random(requests.length);
        equal(await textOf(server, requests[i], true), expected[i], `text ${i}, streamed`);
    },
    async whole(server, random, expected) {
        const i = random(requests.length);
        equal(await textOf(server, requests[i], false), expected[i], `text ${i}, whole`);
    },
    // The client goes away: while it waits, in its prompt, or in its answer.
    async leave(server, random) {
        const s = await openStream(server, {...requests[random(requests.length)], max_tokens: 2000});
        const events = random(20);
        if (events > 12)
            await sleep(random(15));
        else
            await until('some tokens', () => s.events.length >= events || s.error || s.done);
        s.abort();
        await s.ended;
        check(!s.error, `no error before a client leaves: ${JSON.stringify(s.error)}`);
    },
    async refused(server, random) {
        const [body, want] = refusals[random(refusals.length)];
        const r = await post(server, '/v1/completions', body);
        equal(r.status, want, `status of ${JSON.stringify(body).slice(0, 60)}`);
        check((await r.json()).error.message, 'an error has a message');
    },
};
const mix = ['stream', 'stream', 'stream', 'whole', 'whole', 'leave', 'leave', 'refused'];

const residentBytes = pid => +/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1] * 1024;
const descriptors = pid => readdirSync(`/proc/${pid}/fd`).length;
const measure = pids => pids.map(pid => ({bytes: residentBytes(pid), fds: descriptors(pid)}));
const worst = (before, after) => Math.max(...after.map((a, i) => a.bytes - before[i].bytes));

async function traffic(server, expected, seed, until) {
    const counts = {};
    await Promise.all(Array.from({length: clients}, async (_, c) => {
        const random = randomOf(seed * 1000 + c);
        while (performance.now() < until) {
            const act = mix[random(mix.length)];
            await acts[act](server, random, expected);
            counts[act] = (counts[act] ?? 0) + 1;
        }
    }));
    return counts;
}

await cases({
    async 'mixed traffic'() {
        const server = await serve(['-n', '3', '-t', '1', '--ctx', '2048', '--kv-tokens', '6144', '--max-batch', '8']);
        const pids = [server.child.pid, ...ranks().map(r => r.pid)];
        equal(pids.length, 4, 'processes');
        const expected = [];
        for (const r of requests) expected.push(await textOf(server, r, false));

        // A first part fills what is made to be filled: the KV pool, buffers, the heap.
        await traffic(server, expected, 1, performance.now() + seconds * 250);
        const idle = async () => {
            await until('nothing runs', async () => {
                const s = await status(server);
                return s.running === 0 && s.waiting === 0 && s.kv_blocks_used === 0;
            });
            return measure(pids);
        };
        const before = await idle();
        const counts = await traffic(server, expected, 2, performance.now() + seconds * 750);
        const after = await idle();
        for (const [i, r] of requests.entries()) equal(await textOf(server, r, true), expected[i], `text ${i} afterwards`);

        for (const [i, a] of after.entries()) // a client's kept connection may have come or gone
            check(Math.abs(a.fds - before[i].fds) <= 2 * clients, `process ${i}: ${before[i].fds} descriptors became ${a.fds}`);
        check(worst(before, after) <= 4 * MiB, `memory grew: ${JSON.stringify([before, after])}`);
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('mixed traffic');
        return `${JSON.stringify(counts)}; memory ${(worst(before, after) / MiB).toFixed(2)} MiB up at most`;
    },
});
