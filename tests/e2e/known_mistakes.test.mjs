// SPDX-License-Identifier: MIT
// known_mistakes.test.mjs: what other servers of this API are known to get wrong, one case for each.
import {connect as dial} from 'node:net';
import {cases, check, equal, openStream, post, serve, sleep, status, until} from './harness.mjs';
import {collect, connect, joined, model} from './openai.mjs';

const server = await serve(['-n', '2', '--ctx', '16384', '--max-batch', '4', '--access-log', 'off']);
const client = connect(server);
const messages = [{role: 'user', content: 'To be?'}];
const complete = body => client.completions.create({model, prompt: 'Call me Ishmael.', temperature: 0, max_tokens: 30, ...body});
const chat = body => client.chat.completions.create({model, messages, temperature: 0, max_tokens: 30, ...body});
const text = async body => (await complete(body)).choices[0].text;
const idle = () => until('nothing runs and all blocks are free', async () => {
    const s = await status(server);
    return s.running + s.waiting + s.kv_blocks_used === 0;
});
const endless = {max_tokens: 16000, ignore_eos: true};

await cases({
    async 'stop as a plain string crashes the server'() {
        const full = await text(), stop = full.slice(8, 12);
        for (const stream of [false, true]) {
            const answer = await complete({stop, stream});
            equal(stream ? joined(await collect(answer)) : answer.choices[0].text, full.slice(0, full.indexOf(stop)), 'the text before it');
            await (stream ? collect(await chat({stop: '\n', stream})) : chat({stop: '\n'}));
        }
        for (const odd of ['', [], [''], 'é', '\u0001']) equal(await text({stop: odd}), full, `stop ${JSON.stringify(odd)}`);
    },

    async 'finish_reason "" or missing instead of null'() {
        for (const make of [complete, chat]) {
            for (const n of [1, 3]) {
                const reasons = Array.from({length: n}, () => []);
                for (const c of await collect(await make({stream: true, n, max_tokens: 5, ignore_eos: true})))
                    for (const choice of c.choices) reasons[choice.index].push(choice.finish_reason);
                for (const r of reasons) {
                    equal(r.pop(), 'length', 'the last one');
                    check(r.length > 0 && r.every(v => v === null), JSON.stringify(r));
                }
            }
        }
    },

    async 'a seed sticks to the next request'() {
        const free = [];
        for (let i = 0; i < 3; i++) {
            await text({temperature: 1, seed: 42});
            free.push(await text({temperature: 1}));
        }
        equal(new Set([...free, await text({temperature: 1, seed: 42})]).size, 4, 'different texts');
    },

    // Also penalties, biases, stops and everything else that a request brings.
    async 'what one request asks for leaks into another'() {
        const plain = await text();
        const odd = {temperature: 2, top_k: 3, top_p: 0.5, min_p: 0.2, presence_penalty: 2, frequency_penalty: 2, repeat_penalty: 2,
            stop: ['e'], logit_bias: {300: 100, 301: -100}, logprobs: 5, echo: true, ignore_eos: true, n: 2, seed: 3};
        const mixed = await Promise.all([complete(odd), text(), complete(odd), text()]);
        equal([mixed[1], mixed[3], await text()], [plain, plain, plain], 'beside it and after it');
    },

    async 'a client that closes before its headers end kills the root process'() {
        for (const bytes of ['', 'P', 'POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Le', 'POST /v1/completions HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"prompt"']) {
            for (const leave of ['destroy', 'resetAndDestroy', 'end']) {
                const socket = dial(server.port, '127.0.0.1', () => socket.write(bytes, () => socket[leave]()));
                socket.on('error', () => {});
                socket.resume();
                await new Promise(done => socket.once('close', done));
            }
        }
        check((await text()).length > 0 && server.child.exitCode === null, 'it serves on');
    },

    async 'a usage chunk without choices'() {
        for (const make of [complete, chat]) {
            const last = (await collect(await make({stream: true, stream_options: {include_usage: true}}))).at(-1);
            check(Array.isArray(last.choices) && last.choices.length === 0 && last.usage.completion_tokens > 0, JSON.stringify(last));
        }
    },

    async '400 on unknown fields'() {
        const unknown = {best_of: 1, suffix: null, service_tier: 'auto', store: true, metadata: {a: [1]}, parallel_tool_calls: false, reasoning_effort: 'low',
            response_format: {type: 'text'}, cache_prompt: true, slot_id: -1, mirostat: 2, 'x-unheard-of': {deep: [[[]]]}};
        check((await complete(unknown)).choices[0].text === await text(), 'a completion');
        equal((await chat(unknown)).choices.length, 1, 'a chat');
    },

    async 'generation goes on after the client left'() {
        for (const stream of [true, false]) {
            const controller = new AbortController();
            const asked = post(server, '/v1/completions', {prompt: 'Call me', stream, ...endless}, {signal: controller.signal});
            asked.catch(() => {});
            await until('it runs', async () => (await status(server)).running === 1);
            controller.abort();
            const left = performance.now();
            await idle();
            check(performance.now() - left < 2000, `it ran on for ${performance.now() - left} ms`);
        }
    },

    async 'one slow reader blocks everybody'() {
        const body = JSON.stringify({messages, ...endless, stream: true, logprobs: true, top_logprobs: 20});
        const slow = dial(server.port, '127.0.0.1', () => slow.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
        slow.on('error', () => {});
        slow.pause();
        await until('it runs', async () => (await status(server)).running === 1);
        for (let i = 0; i < 5; i++) {
            const other = await openStream(server, {max_tokens: 30});
            await other.ended;
            check(other.done && other.events.length >= 30, 'another stream comes to its end');
            await sleep(20);
        }
        equal((await fetch(`${server.url}/health`)).status, 200, 'and the server answers');
        slow.destroy();
        await idle();
    },
});

await idle();
equal(await server.stop(), 0, `exit code:\n${server.log()}`);
