// SPDX-License-Identifier: MIT
// queue.test.mjs: more requests than can be worked on: a bounded queue, 429 beyond it, first come first served.
import {cases, check, equal, openStream, post, serve, sleep, status, until} from './harness.mjs';

const endless = {max_tokens: 100000, ignore_eos: true};

await cases({
    async 'a full queue says 429 and when to come back'() {
        const server = await serve(['--max-batch', '1', '--queue-requests', '2']);
        const running = await openStream(server, endless);
        await running.first;
        const waiting = [openStream(server, {max_tokens: 3}), openStream(server, {max_tokens: 3})];
        await until('two requests wait', async () => (await status(server)).waiting === 2);
        const refused = await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1});
        equal(refused.status, 429, 'status');
        check(+refused.headers.get('retry-after') >= 1, `Retry-After: ${refused.headers.get('retry-after')}`);
        equal((await refused.json()).error.type, 'rate_limit_error', 'type');
        running.abort();
        const order = [];
        await Promise.all(waiting.map(async (s, i) => {
            const stream = await s;
            await stream.ended;
            check(stream.done && !stream.error, `request ${i} ended well`);
            order.push(i);
        }));
        equal(order, [0, 1], 'first come first served');
        equal((await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1})).status, 200, 'status afterwards');
        equal((await status(server)).kv_blocks_used, 0, 'blocks in use');
        equal(await server.stop(), 0, 'exit code');
    },
    async 'prompts that wait are counted in tokens'() {
        const server = await serve(['--max-batch', '1', '--queue-tokens', '100']);
        const running = await openStream(server, endless);
        await running.first;
        const prompt = Array.from({length: 80}, (_, i) => 300 + i);
        const waiting = post(server, '/v1/completions', {prompt, max_tokens: 1});
        await until('one request waits', async () => (await status(server)).waiting === 1);
        equal((await post(server, '/v1/completions', {prompt, max_tokens: 1})).status, 429, 'status');
        running.abort();
        equal((await waiting).status, 200, 'status of the one that waited');
        equal(await server.stop(), 0, 'exit code');
    },
    // More than the pool holds: some are preempted, all end, and each has the text that it gets alone.
    async 'few blocks'() {
        const server = await serve(['--ctx', '256', '--kv-tokens', '512', '--max-batch', '8']);
        const ask = async seed => {
            const r = await post(server, '/v1/completions', {prompt: `Chapter ${seed}.`, seed, temperature: 1, max_tokens: 200, ignore_eos: true});
            equal(r.status, 200, 'status');
            return (await r.json()).choices[0].text;
        };
        const seeds = [1, 2, 3, 4, 5, 6, 7, 8], together = await Promise.all(seeds.map(ask));
        for (const seed of seeds) equal(together[seed - 1], await ask(seed), `text ${seed}`);
        await sleep(50);
        equal((await status(server)).kv_blocks_used, 0, 'blocks in use');
        equal(await server.stop(), 0, 'exit code');
    },
});
