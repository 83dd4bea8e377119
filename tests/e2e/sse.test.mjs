// SPDX-License-Identifier: MIT
// sse.test.mjs: the bytes of event streams: framing, order, whole characters, the end.
import {connect} from 'node:net';
import {cases, check, equal, post, serve, status, until} from './harness.mjs';

const server = await serve(['-n', '2']);
const completions = {path: '/v1/completions', body: {prompt: 'Call me Ishmael.'}, text: c => c.text};
const chats = {path: '/v1/chat/completions', body: {messages: [{role: 'user', content: 'To be?'}]}, text: c => c.delta.content ?? ''};

// The events of a stream; each is decoded alone, so half a character in one of them throws.
async function events(kind, body) {
    const response = await post(server, kind.path, {...kind.body, temperature: 0, max_tokens: 20, stream: true, ...body});
    equal(response.status, 200, 'status');
    check(/^text\/event-stream($|;)/.test(response.headers.get('content-type')), 'Content-Type');
    equal(response.headers.get('cache-control'), 'no-cache', 'Cache-Control');
    const bytes = Buffer.from(await response.arrayBuffer());
    const list = [];
    for (let at = 0; at < bytes.length;) {
        const end = bytes.indexOf('\n\n', at);
        check(end > 0, 'the stream ends with a blank line');
        const event = new TextDecoder('utf-8', {fatal: true}).decode(bytes.subarray(at, end));
        at = end + 2;
        if (event.startsWith(':')) continue;
        check(event.startsWith('data: ') && !event.includes('\n'), `one line of data: ${event}`);
        list.push(event.slice(6));
    }
    equal(list.pop(), '[DONE]', 'the last event');
    check(!list.includes('[DONE]'), 'and only there');
    return list.map(e => JSON.parse(e));
}
const joined = (kind, list, index = 0) =>
    list.flatMap(e => e.choices).filter(c => c.index === index).map(kind.text).join('');

await cases({
    async 'the order of events'() {
        for (const kind of [completions, chats]) {
            const list = await events(kind, {stream_options: {include_usage: true}});
            const usage = list.pop();
            equal(usage.choices, [], 'choices of the usage chunk');
            equal(usage.usage.completion_tokens, 20, 'usage');
            const last = list.pop();
            equal(last.choices[0].finish_reason, 'length', 'finish_reason of the last chunk');
            equal(kind.text(last.choices[0]), '', 'which has no text');
            for (const e of list) {
                equal(e.choices[0].finish_reason, null, 'finish_reason before it');
                equal(e.usage, null, 'usage before it');
                equal([e.id, e.created, e.model], [usage.id, usage.created, usage.model], 'what all share');
            }
            if (kind === chats) {
                equal(list[0].choices[0].delta, {role: 'assistant', content: ''}, 'the first chunk of a chat');
                check(list.slice(1).every(e => !e.choices[0].delta.role), 'the role is said once');
                equal(last.choices[0].delta, {}, 'the last delta');
            }
        }
    },

    async 'without usage unless asked for'() {
        for (const options of [{}, {stream_options: null}, {stream_options: {}}, {stream_options: {include_usage: false}}])
            check((await events(completions, options)).every(e => e.choices.length === 1 && e.usage == null), JSON.stringify(options));
    },

    // At a high temperature byte tokens come in any order: characters in pieces, and pieces of none.
    async 'whole characters only'() {
        let foreign = 0;
        for (let seed = 0; seed < 10; seed++) {
            const body = {temperature: 2, seed, max_tokens: 100, ignore_eos: true};
            const streamed = joined(completions, await events(completions, body));
            const whole = await (await post(server, '/v1/completions', {...completions.body, ...body})).json();
            equal(streamed, whole.choices[0].text, 'the streamed text is the whole one');
            equal(streamed.isWellFormed?.() ?? true, true, 'no half of a surrogate pair');
            foreign += /[^\x00-\x7f]/.test(streamed);
        }
        check(foreign > 0, 'some text was not ASCII');
        const prompt = 'naïve 中文 😀';
        for (const options of [{}, {logprobs: 2}]) {
            const list = await events(completions, {prompt, echo: true, max_tokens: 3, ...options});
            check(joined(completions, list).startsWith(prompt), 'echoed characters');
        }
    },

    async 'choices in one stream'() {
        for (const kind of [completions, chats]) {
            const body = {n: 3, temperature: 1, seed: 5};
            const list = await events(kind, body);
            const whole = await (await post(server, kind.path, {...kind.body, ...body, max_tokens: 20})).json();
            for (let i = 0; i < 3; i++) {
                equal(joined(kind, list, i), whole.choices[i].text ?? whole.choices[i].message.content, `text ${i}`);
                const reasons = list.flatMap(e => e.choices).filter(c => c.index === i).map(c => c.finish_reason);
                equal(reasons.filter(Boolean).length, 1, 'one finish_reason for each');
                check(reasons.at(-1), 'and it comes last');
            }
        }
    },

    async 'the connection is used again'() {
        const socket = connect(server.port, '127.0.0.1');
        let answer = '';
        socket.on('data', d => { answer += d.toString('latin1'); });
        const body = JSON.stringify({...completions.body, max_tokens: 5, stream: true});
        const request = `POST /v1/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
        for (let i = 1; i <= 2; i++) {
            socket.write(request);
            await until('the stream ends', () => answer.split('\r\n0\r\n\r\n').length === i + 1);
        }
        equal(answer.match(/data: \[DONE\]/g).length, 2, 'two streams');
        check(!/connection: close/i.test(answer), 'it stays open');
        socket.destroy();
    },

    async 'old clients get the bare events'() {
        const socket = connect(server.port, '127.0.0.1');
        let answer = '';
        socket.on('data', d => { answer += d.toString('latin1'); });
        const closed = new Promise(done => socket.on('close', done));
        const body = JSON.stringify({...completions.body, max_tokens: 5, stream: true});
        socket.write(`POST /v1/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        await closed; // the end of the stream is the end of the connection
        const [head, events] = answer.split(/\r\n\r\n(.*)/s);
        check(!/transfer-encoding/i.test(head) && /connection: close/i.test(head), head);
        check(events.startsWith('data: {') && events.endsWith('data: [DONE]\n\n'), events);
    },
});

await until('all blocks are free', async () => (await status(server)).kv_blocks_used === 0);
equal(await server.stop(), 0, `exit code:\n${server.log()}`);
