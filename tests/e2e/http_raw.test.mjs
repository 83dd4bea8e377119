// SPDX-License-Identifier: MIT
// http_raw.test.mjs: clients that no library would be: raw sockets that send anything, leave at any time, or never
// read.  After each case the server answers and all blocks are free.
import {cases, check, completion, dial as dialTo, equal, get, openStream, post, rss as rssOf, sanitized, serve, sleep,
    status, until} from './harness.mjs';

// Two sequences at a time, so that a third request is queued; a context for long prompts and streams.
const ctx = 16384;
const server = await serve(['-n', '2', '--ctx', String(ctx), '--max-batch', '2']);
const MiB = 1 << 20;
const rss = () => rssOf(server), dial = () => dialTo(server);

// Sends bytes, waits until the server closes the connection, returns the answer.
async function tell(bytes) {
    const c = await dial();
    c.send(bytes);
    await c.ends();
    return c.text;
}
const bodyOf = answer => answer.slice(answer.indexOf('\r\n\r\n') + 4);
const endless = {max_tokens: 10000, ignore_eos: true, stream: true};
const blocksAreFree = () => until('all blocks are free', async () => {
    const s = await status(server);
    return s.kv_blocks_used === 0 && s.running === 0 && s.waiting === 0;
});
const running = n => until(`${n} sequences run`, async () => (await status(server)).running === n);
async function alive() {
    await blocksAreFree();
    const r = await post(server, '/v1/completions', {prompt: 'Call me', max_tokens: 3});
    equal(r.status, 200, 'a completion afterwards');
    await r.arrayBuffer();
}

await cases({
    async 'bad requests'() {
        const post = 'POST /v1/completions HTTP/1.1\r\nHost: h\r\n';
        const requests = {
            'no HTTP': 'hello\r\n\r\n',
            'JSON alone': '{"prompt": "x"}\r\n\r\n',
            'a TLS handshake': Buffer.from('16030100c8010000c40303', 'hex'),
            'HTTP/0.9': 'GET /health\r\n\r\n',
            'two lengths': `${post}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
            'both lengths': `${post}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
            'an odd chunk': `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
            'a negative length': `${post}Content-Length: -2\r\n\r\n{}`,
            'a length beyond 64 bits': `${post}Content-Length: 99999999999999999999\r\n\r\n{}`,
            'a bare line feed': 'GET /health HTTP/1.1\nHost: h\n\n',
            'NUL in a header': 'GET /health HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n',
            'a bare line feed at the end': 'GET /health HTTP/1.1\r\nHost: h\r\n\n',
            'a folded header': 'GET /health HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n',
            'two hosts': 'GET /health HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n',
            'no host': 'GET /health HTTP/1.1\r\n\r\n',
            'a chunk that is too long': `${post}Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n`,
            'a chunk of 2^64': `${post}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n`,
            'trailers that end without CR': `${post}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\n`,
            'chunked in HTTP/1.0': 'POST /v1/completions HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
            'a space before the colon': 'GET /health HTTP/1.1\r\nHost : h\r\n\r\n',
        };
        for (const [what, bytes] of Object.entries(requests)) {
            const answer = await tell(bytes);
            check(answer.startsWith('HTTP/1.1 400 Bad Request\r\n'), `${what}: ${answer}`);
            check(/connection: close/i.test(answer), `${what}: it says that it closes`);
            const {error} = JSON.parse(bodyOf(answer));
            check(error.message && error.type === 'invalid_request_error', `${what}: an error object`);
        }
        const after = await tell(`${get('/health')}garbage\r\n\r\n`);
        check(/^HTTP\/1.1 200 [^]*HTTP\/1.1 400 /.test(after), 'an answer, then a refusal');
        await alive();
    },

    async 'requests that are too large'() {
        check((await tell(`GET /health HTTP/1.1\r\nA: ${'a'.repeat(20000)}\r\n\r\n`)).startsWith('HTTP/1.1 431 '), 'a header');
        check((await tell(`GET /health HTTP/1.1\r\nHost: h\r\n${'a: b\r\n'.repeat(200)}\r\n`)).startsWith('HTTP/1.1 431 '), 'many headers');
        check((await tell(`GET /${'a'.repeat(20000)} HTTP/1.1\r\n\r\n`)).startsWith('HTTP/1.1 431 '), 'a path');
        const head = 'POST /v1/completions HTTP/1.1\r\nHost: h\r\n';
        // the answer comes before the body: nothing of it is read
        for (const length of [8 * MiB + 1, 2n ** 63n])
            check((await tell(`${head}Content-Length: ${length}\r\n\r\n`)).startsWith('HTTP/1.1 413 '), `a body of ${length}`);
        check((await tell(`${head}Transfer-Encoding: chunked\r\n\r\n800001\r\n`)).startsWith('HTTP/1.1 413 '), 'a chunk');
        // and it reaches a client that sends its body regardless
        check((await tell(`${head}Content-Length: ${9 * MiB}\r\n\r\n${' '.repeat(9 * MiB)}`)).startsWith('HTTP/1.1 413 '), 'a whole body');
        await alive();
    },

    async 'malformed JSON'() {
        const before = rss();
        const prompt = '"prompt":"x"';
        const bodies = {
            'nothing': '', 'half': `{${prompt}`, 'an array': '[]', 'a string': '"x"', 'two objects': `{${prompt}}{}`,
            'depth': `{${prompt},"a":${'['.repeat(100000)}`, 'balanced depth': `{"prompt":${'['.repeat(50000)}${']'.repeat(50000)}}`,
            'depth of objects': `{"prompt":${'{"a":'.repeat(100000)}`,
            'a key twice': `{${prompt},${prompt}}`, '1e999': `{${prompt},"temperature":1e999}`,
            'a lone surrogate': '{"prompt":"\\ud800"}', 'another': '{"prompt":"\\udc00\\ud800"}',
            'NUL': '{"prompt":"a\0b"}', 'no UTF-8': Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
            'NaN': `{${prompt},"top_p":NaN}`, 'a comment': `{${prompt}/**/}`,
        };
        const named = {
            n: ['1000000000', '-1', '0', '1.5', '"1"', 'true', '[]', '{}', '9223372036854775807'],
            max_tokens: ['-1', '"5"', '-9223372036854775808', '1e3'], temperature: ['-1', '1e300', '"hot"'], top_p: ['-0.5', '2'],
            top_k: ['-5', '1e9'], seed: ['1.5', '"x"'], stop: ['5', '[5]', '["a","b","c","d","e"]', '"a\\u0000"', '{}'],
            logprobs: ['-1', '1000000000', 'true'], logit_bias: ['[]', '{"x":1}', '{"99999999":1}', '{"-1":1}', '{"1":1e9}'],
            stream: ['1', '"true"'], presence_penalty: ['-3'], frequency_penalty: ['1e30'], repeat_penalty: ['-1'],
        };
        const check400 = async (what, body, param) => {
            const r = await post(server, '/v1/completions', undefined, {body});
            const {error} = await r.json();
            equal([r.status, error.type, error.param], [400, 'invalid_request_error', param], what);
            check(error.message, `${what}: a sentence`);
        };
        const at = {'depth': 'a', 'balanced depth': 'prompt', 'depth of objects': 'prompt', '1e999': 'temperature', 'a lone surrogate': 'prompt',
            'another': 'prompt', 'NUL': 'prompt', 'NaN': 'top_p', 'a comment': 'prompt'};
        for (const [what, body] of Object.entries(bodies)) await check400(what, body, at[what] ?? null);
        for (const [field, values] of Object.entries(named))
            for (const v of values) await check400(`${field} = ${v}`, `{${prompt},"${field}":${v}}`, field);
        for (const p of ['1', 'null', '{}', '[]', '""', '[-1]', '[1000000000]', '[1,"a"]', '[[]]'])
            await check400(`prompt = ${p}`, `{"prompt":${p}}`, 'prompt');
        if (!sanitized) check(rss() - before < 32 * MiB, 'no memory in proportion to a number');
        const r = await post(server, '/v1/completions', '<x/>', {headers: {'Content-Type': 'text/xml'}});
        equal(r.status, 415, 'another media type');
        await alive();
    },

    async 'paths and methods'() {
        const c = await dial();
        c.send('HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n');
        await c.hears(/\r\n\r\n/);
        c.send(get('/v1/models'));
        await c.hears(/"object":"list"/);
        check(/^HTTP\/1.1 200 OK\r\n[^{]*\r\n\r\nHTTP\/1.1 200 OK\r\n/.test(c.text), 'HEAD has a head only');
        check(+/content-length: (\d+)/i.exec(c.text)[1] > 10, 'which says how long the body would be');
        c.socket.destroy();
        for (const [method, path, wanted, allow] of [['POST', '/health', 405, 'GET, HEAD'], ['GET', '/v1/completions', 405, 'POST'],
            ['DELETE', '/v1/models', 405, 'GET, HEAD'], ['PUT', '/v1/chat/completions', 405, 'POST'], ['GET', '/no/such/path', 404],
            ['POST', '/v1/engines', 404], ['GET', '/v1/models/none', 404], ['GET', '/health?a=b', 200]]) {
            const r = await fetch(server.url + path, {method});
            equal(r.status, wanted, `${method} ${path}`);
            if (allow) equal(r.headers.get('allow'), allow, 'Allow');
            if (wanted !== 200) check((await r.json()).error.message, 'an error object');
            else await r.arrayBuffer();
        }
        const answer = await tell('GET /health HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n');
        check(answer.startsWith('HTTP/1.1 200 '), `an offer to upgrade is passed over: ${answer}`);
        check((await tell('CONNECT h:1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n')).startsWith('HTTP/1.1 404 '), 'CONNECT');
    },

    async 'one connection, many requests'() {
        const c = await dial();
        for (let i = 1; i <= 3; i++) {
            c.send(completion());
            await until('an answer', () => c.text.split('"finish_reason":"length"').length === i + 1);
        }
        c.socket.destroy();

        const p = await dial(); // pipelined: answered one after the other, in order
        p.send(completion({max_tokens: 40}) + get('/health') + completion({stream: true}) + get('/v1/models') + get('/nowhere', 'Connection: close\r\n'));
        await p.ends();
        const order = ['"text_completion"', '"kv_blocks"', 'text/event-stream', 'data: [DONE]', '"object":"list"', '404 Not Found'].map(s => p.text.indexOf(s));
        check(order.every((at, i) => at > (order[i - 1] ?? 0)), `in order: ${order}`);
        equal(p.text.match(/HTTP\/1.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 404'], 'statuses');

        const q = await dial(); // a flood behind an answer that goes on
        q.send(completion(endless));
        await q.hears(/data: /);
        q.send(get('/health').repeat(20000));
        await q.ends();
        await alive();
    },

    async 'requests without end, answers never read'() {
        const before = rss();
        const c = await dial();
        c.socket.pause();
        const batch = get('/v1/models').repeat(1000);
        let sent = 0;
        for (; sent < 100000 && !c.closed; sent += 1000) {
            if (!c.send(batch)) await Promise.race([new Promise(done => c.socket.once('drain', done)), sleep(20)]);
        }
        await sleep(200);
        if (!sanitized) check(rss() - before < 24 * MiB, `memory grew by ${((rss() - before) / MiB).toFixed(1)} MiB for ${sent} requests`);
        c.socket.destroy();
        await alive();
    },

    async 'HTTP/1.0'() {
        const answer = await tell('GET /health HTTP/1.0\r\n\r\n');
        check(/^HTTP\/1.1 200 /.test(answer) && /connection: close/i.test(answer) && /content-length: /i.test(answer), answer);
        check(JSON.parse(bodyOf(await tell(completion({}, {version: '1.0'})))).choices[0].text, 'a completion');
        const c = await dial();
        for (let i = 1; i <= 2; i++) {
            c.send('GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
            await until('an answer', () => c.text.split('"status":"ok"').length === i + 1);
        }
        check(/connection: keep-alive/i.test(c.text), 'it stays open when asked');
        c.socket.destroy();
    },

    async 'bodies in pieces'() {
        const c = await dial();
        for (const byte of completion()) {
            c.send(byte);
            if (Math.random() < 0.2) await sleep(0);
        }
        await c.hears(/"finish_reason":"length"/);
        c.text = '';
        c.send('POST /v1/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n');
        for (const piece of ['{"prompt":', '"Call me",', '"max_tokens":3}']) c.send(`${piece.length.toString(16)}\r\n${piece}\r\n`);
        c.send('0\r\n\r\n');
        await c.hears(/"finish_reason":"length"/);
        c.text = '';
        const [head, body] = completion({}, {headers: 'Expect: 100-continue\r\n'}).split(/(?<=\r\n\r\n)/);
        c.send(head);
        await c.hears(/^HTTP\/1.1 100 Continue\r\n\r\n$/);
        c.send(body);
        await c.hears(/"finish_reason":"length"/);
        c.socket.destroy();
    },

    // A thread reads it; whoever leaves meanwhile, or asks for more on the same connection, is heard all the same.
    async 'long prompts'() {
        const long = completion({prompt: 'Call me Ishmael. '.repeat(1 << 16)});
        const c = await dial();
        c.send(long + get('/v1/models'));
        await c.hears(/HTTP\/1.1 400 [^]*context_length_exceeded[^]*HTTP\/1.1 200 [^]*"object":"list"/, 60000);
        const count = +/has (\d+) tokens/.exec(c.text)[1];
        check(count > 1 << 16 && c.text.includes(`holds ${ctx}`), c.text);
        c.socket.destroy();
        for (const leave of ['destroy', 'resetAndDestroy', 'end']) {
            const clients = await Promise.all(Array.from({length: 5}, dial));
            await Promise.all(clients.map(c => new Promise(sent => c.socket.write(long, sent))));
            for (const c of clients) c.socket[leave]();
            for (const c of clients) await c.ends();
            await alive();
        }
    },

    async 'the client leaves before its request is complete'() {
        const whole = completion({max_tokens: 3});
        for (const leave of ['destroy', 'resetAndDestroy', 'end']) {
            for (const part of [0, 1, 10, 60, whole.length - 1]) {
                const c = await dial();
                if (part) c.send(whole.slice(0, part));
                await sleep(2);
                c.socket[leave]();
                if (leave === 'end') await c.ends();
            }
        }
        await alive();
    },

    async 'the client leaves while it is answered'() {
        for (const leave of ['destroy', 'resetAndDestroy', 'end']) {
            const inStream = await dial();
            inStream.send(completion(endless));
            await inStream.hears(/data: /);
            const whole = await dial();
            whole.send(completion({...endless, stream: false}));
            await running(2);
            const queued = await dial();
            queued.send(completion(endless));
            await until('one waits', async () => (await status(server)).waiting === 1);
            queued.socket[leave](); // nobody gave it anything yet
            await until('it is gone from the queue', async () => (await status(server)).waiting === 0);
            equal((await status(server)).running, 2, 'the others run on');
            inStream.socket[leave]();
            await running(1);
            whole.socket[leave]();
            await blocksAreFree();

            const prefill = await dial();
            prefill.send(completion({...endless, prompt: Array.from({length: ctx - 100}, (_, i) => 300 + i % 1000)}));
            await until('blocks are in use', async () => (await status(server)).kv_blocks_used > 2);
            prefill.socket[leave]();
            await blocksAreFree();
            check(!prefill.text.includes('data: {'), 'it left before the first token');

            const several = await dial(); // several sequences of one request
            several.send(completion({...endless, n: 4}));
            await several.hears(/data: /);
            several.socket[leave]();
            await blocksAreFree();
            for (const c of [inStream, whole, queued, prefill, several]) await c.ends(); // FIN is answered with FIN
        }
        await alive();
    },

    // About 2 KiB for each token: more than all socket buffers hold, long before the context is full.
    async 'a client that never reads'() {
        const c = await dial();
        c.socket.pause();
        const before = rss();
        const json = JSON.stringify({messages: [{role: 'user', content: 'Sing!'}], max_tokens: 16000, ignore_eos: true, stream: true, logprobs: true, top_logprobs: 20});
        c.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: ${json.length}\r\n\r\n${json}`);
        await running(1);
        const other = await openStream(server, {max_tokens: 30});
        await other.ended;
        check(other.done, 'another client is served meanwhile');
        await until('it is dropped', async () => (await status(server)).running === 0, 120000);
        if (!sanitized) check(rss() - before < 16 * MiB, `memory grew by ${((rss() - before) / MiB).toFixed(1)} MiB`);
        c.socket.resume();
        await c.ends();
        check(!c.text.includes('[DONE]'), 'its stream has no end');
        await alive();
    },

    async 'many silent connections'() {
        const before = rss();
        const silent = await Promise.all(Array.from({length: 500}, dial));
        for (const c of silent.slice(0, 100)) c.send('POST /v1/completions HTTP/1.1\r\nContent-Le');
        equal((await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1})).status, 200, 'a completion beside them');
        if (!sanitized) check(rss() - before < 8 * MiB, `memory grew by ${((rss() - before) / MiB).toFixed(1)} MiB`);
        for (const c of silent) c.socket.destroy();
        await alive();
    },
});

await alive();
const left = await dial(); // open connections do not keep it from ending
equal(await server.stop(), 0, `exit code:\n${server.log()}`);
await left.ends();
