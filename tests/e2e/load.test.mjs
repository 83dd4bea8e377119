// SPDX-License-Identifier: MIT
// load.test.mjs: `lockstep load` against our server, and against small servers that are slow, wrong or gone.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync} from 'node:fs';
import {createServer} from 'node:http';
import {createServer as createTcpServer} from 'node:net';
import {join} from 'node:path';
import {cases, check, equal, lockstep, run, sanitized, scratch, serve, sleep, status, until} from './harness.mjs';

const load = (url, ...args) => run(lockstep, ['load', '--url', url, ...args], {limitMs: 60000});
async function levels(url, ...args) {
    const r = await load(url, '--json', ...args);
    equal(r.code, 0, `exit code: ${r.stderr}`);
    return JSON.parse(r.stdout);
}
const failed = (r, code, ...words) => {
    equal(r.code, code, `exit code: ${r.stdout}${r.stderr}`);
    for (const w of words) check(r.stderr.includes(w), `"${w}" is missing: ${r.stderr}`);
};

// A server of completions that does what `answer` says: answer(response, number, body, socket), number from 1.
async function pretend(answer, {models = true} = {}) {
    let number = 0;
    const bodies = [], heads = [];
    const server = createServer(async (request, response) => {
        let text = '';
        for await (const d of request) text += d;
        if (request.url === '/v1/models') {
            response.statusCode = models ? 200 : 404;
            response.end(models ? '{"data": [{"id": "pretended"}]}' : '<html>');
            return;
        }
        bodies.push(JSON.parse(text));
        heads.push({url: request.url, ...request.headers});
        answer(response, ++number, bodies.at(-1), request.socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {url: `http://127.0.0.1:${server.address().port}`, bodies, heads, count: () => number, refuse: () => server.close(),
        close: () => { server.close(); server.closeAllConnections(); }};
}
const chunk = (text, reason = null) => `data: ${JSON.stringify({choices: [{index: 0, text, finish_reason: reason}]})}\n\n`;
const words = body => (body.prompt ?? body.messages[0].content).split(' ').length;
const usage = (body, cached) => `data: ${JSON.stringify({choices: [], usage: {prompt_tokens: 3 * words(body) + 7, completion_tokens: body.max_tokens,
    ...cached === undefined ? {} : {prompt_tokens_details: {cached_tokens: cached}}}})}\n\n`;
const stream = {'Content-Type': 'text/event-stream'};
const good = (response, number, body) => {
    response.writeHead(200, stream);
    for (let i = 0; i < body.max_tokens; i++) response.write(chunk('a'));
    response.end(chunk('', 'length') + usage(body) + 'data: [DONE]\n\n');
};
const rude = (wrong, first = 3) => (response, number, body, socket) => // the two requests before the first level go well
    (number < first ? good : wrong)(response, number, body, socket);

const ours = await serve(['-n', '2']);

await cases({
    async 'our own server'() {
        const out = join(scratch, 'load.json');
        const r = await load(ours.url, '--clients', '1,3', '--requests', '7', '--max-tokens', '8', '--json-out', out, '--seed', '5');
        equal(r.code, 0, r.stderr);
        const lines = r.stdout.trimEnd().split('\n');
        check(/completions, model demo-q8_0, prompts of 128 tokens, 8 generated, seed 5$/.test(lines[0]), lines[0]);
        for (const l of lines.slice(-2)) check(/^ +[13] +7 +0 +[\d.]+ +[\d.]+ +[\d.]+( +[\d.]+){9}$/.test(l), `a line of numbers: ${l}`);
        const j = JSON.parse(readFileSync(out, 'utf8'));
        equal(j.levels.map(l => [l.clients, l.complete, l.failed, l.generated_tokens, l.counted_by_chunks]),
            [[1, 7, 0, 56, 0], [3, 7, 0, 56, 0]], 'levels');
        for (const l of j.levels) {
            check(Math.abs(l.prompt_tokens / 7 - 128) < 16, `prompts have ${l.prompt_tokens / 7} tokens`);
            equal([l.first_token_ms.count, l.answer_ms.count], [7, 7], 'samples');
            check(l.between_tokens_ms.count > 0, 'gaps');
            for (const t of [l.first_token_ms, l.between_tokens_ms, l.answer_ms])
                check(t.p50 <= t.p95 && t.p95 <= t.p99 && t.p99 <= t.max && t.max < l.seconds * 1000 + 1, JSON.stringify(t));
            check(Math.abs(l.requests_per_s * l.seconds - 7) < 1e-3, 'requests per second');
            check(l.first_token_ms.p50 < l.answer_ms.p50, 'the first token comes before the last');
        }
        const chat = await levels(ours.url, '--clients', '2', '--requests', '4', '--max-tokens', '8', '--chat', '--shared-prefix', '60');
        equal([chat.levels[0].complete, chat.levels[0].generated_tokens], [4, 32], 'chats');
        check(Math.abs(chat.levels[0].prompt_tokens / 4 - 188) < 20, `with a prefix: ${chat.levels[0].prompt_tokens / 4}`);
        const timed = await levels(`${ours.url}/v1/`, '--clients', '2', '--duration', '0.5', '--max-tokens', '4');
        check(timed.levels[0].complete > 2 && timed.levels[0].seconds < 5, 'a level of half a second');
        const clients = await levels(ours.url, '--clients', '64', '--requests', '64', '--max-tokens', '4', '--prompt-tokens', '16');
        equal(clients.levels[0].complete, 64, '64 clients');
        await until('all blocks are free', async () => (await status(ours)).kv_blocks_used === 0);
    },

    async 'what is sent'() {
        const server = await pretend(good);
        await levels(server.url, '--clients', '2', '--requests', '6', '--max-tokens', '3', '--api-key', 'secret', '--prompt-tokens', '97', '--seed', '1');
        equal(server.count(), 8, 'two requests before the level, and the level');
        const measured = server.bodies.slice(2);
        for (const b of measured) equal({...b, prompt: 0}, {model: 'pretended', prompt: 0, max_tokens: 3, temperature: 0, stream: true,
            stream_options: {include_usage: true}, ignore_eos: true}, 'a body');
        equal(measured.map(words), Array(6).fill(30), '3 tokens each and 7 around them are 97');
        equal(new Set(server.bodies.map(b => b.prompt.slice(0, 40))).size, 8, 'all prompts differ from the beginning');
        check(server.heads.every(h => h.authorization === 'Bearer secret' && h.url === '/v1/completions'), 'heads');
        server.bodies.length = 0;
        await levels(`${server.url}/v1`, '--clients', '1', '--requests', '2', '--max-tokens', '3', '--shared-prefix', '300', '--chat', '--may-stop',
            '--model', 'mine', '--temperature', '0.5', '--prompt-tokens', '97');
        const [a, b] = server.bodies.slice(2).map(x => x.messages[0].content.split(' '));
        equal([a.length, a.slice(0, 100).join()], [130, b.slice(0, 100).join()], '100 words shared');
        check(a.slice(100, 110).join() !== b.slice(100, 110).join(), 'the others not');
        equal([server.bodies[2].model, server.bodies[2].temperature, server.bodies[2].ignore_eos], ['mine', 0.5, undefined], 'options');
        equal(server.heads.at(-1).url, '/v1/chat/completions', 'path');
        server.close();
    },

    async 'servers that do it their own way'() {
        // Whole answers, without usage; closing after each; no list of models.
        let server = await pretend((response, number, body) => response.writeHead(200, {Connection: 'close'})
            .end(JSON.stringify({choices: [{text: 'aaa', finish_reason: 'stop'}]})), {models: false});
        let r = await levels(server.url, '--clients', '2', '--requests', '4');
        equal([r.model, r.usage_reported, r.levels[0].complete, r.levels[0].counted_by_chunks, r.levels[0].generated_tokens],
            ['default', false, 4, 4, 4], 'whole answers');
        server.close();
        // CRLF, comments, pieces of a byte, no [DONE], cached tokens, Content-Length.
        server = await pretend((response, number, body) => {
            const text = (': hello\n\n' + chunk('a') + chunk('b') + chunk('', 'stop') + usage(body, 11)).replaceAll('\n', '\r\n');
            response.writeHead(200, {...stream, 'Content-Length': text.length});
            response.socket.setNoDelay(true);
            for (const byte of text) response.write(byte);
            response.end();
        });
        r = await levels(server.url, '--clients', '1', '--requests', '3');
        equal([r.levels[0].complete, r.levels[0].cached_tokens, r.levels[0].between_tokens_ms.count], [3, 33, 3], 'odd pieces');
        server.close();
        // A connection that is closed when it is used again costs nothing but the time.
        const seen = new WeakSet();
        server = await pretend((response, number, body, socket) => {
            if (seen.has(socket)) return void socket.destroy();
            seen.add(socket);
            good(response, number, body);
        });
        r = await levels(server.url, '--clients', '2', '--requests', '6');
        equal([r.levels[0].complete, r.levels[0].failed], [6, 0], 'asked again on a new connection');
        server.close();
    },

    async 'errors by their kind'() {
        const kinds = {
            'every second one is refused': [(response, number, body) => number % 2 ? good(response, number, body)
                : response.writeHead(429).end('{"error": {"message": "slow \\u001b[31mdown"}}'),
            {status: 3}, /429: slow  \[31mdown/],
            'the stream breaks off': [(response, number) => { response.writeHead(200, stream); response.write(chunk('a'), () => response.destroy()); },
                {stream: 6}, /in the middle/],
            'the stream just ends': [response => response.writeHead(200, stream).end(chunk('a')), {stream: 6}, /without finish_reason/],
            'an error event': [response => response.writeHead(200, stream).end(chunk('a') + 'data: {"error": {"message": "a rank was lost"}}\n\n'),
                {stream: 6}, /a rank was lost/],
            'too many chunks': [response => response.writeHead(200, stream).end(chunk('a').repeat(500)), {stream: 6}, /more chunks/],
            'no JSON': [response => response.writeHead(200, stream).end('data: nonsense\n\n'), {stream: 6}, /no JSON object: nonsense/],
            'no HTTP': [(response, number, body, socket) => socket.end('SSH-2.0-OpenSSH\r\n'), {stream: 6}, /not HTTP/],
            'silence': [() => {}, {timeout: 6}, /did not begin within 0.2 s/],
            'too slow': [response => { response.writeHead(200, stream); response.write(chunk('a')); }, {timeout: 6}, /was not complete within 0.2 s/],
        };
        for (const [what, [wrong, errors, says]] of Object.entries(kinds)) {
            const server = await pretend(rude(wrong));
            const r = await load(server.url, '--clients', '3', '--requests', '6', '--max-tokens', '4', '--timeout', sanitized ? '1' : '0.2', '--json');
            const bad = Object.values(errors)[0];
            equal(r.code, bad === 6 ? 12 : 0, `${what}: exit code: ${r.stderr}`);
            const l = JSON.parse(r.stdout).levels[0];
            const {statuses, messages, ...counts} = l.errors;
            equal(counts, {connect: 0, status: 0, stream: 0, timeout: 0, ...errors}, what);
            equal([l.complete, l.failed], [6 - bad, bad], what);
            const message = Object.values(messages).join();
            check(says.test(sanitized ? message.replace('within 1 s', 'within 0.2 s') : message), `${what}: ${message}`);
            if (errors.status) equal(statuses, {429: 3}, 'statuses');
            if (bad === 6) check(/no request was answered completely; the first error: /.test(r.stderr), r.stderr);
            server.close();
        }
    },

    async 'a server that goes away'() {
        const server = await pretend(rude((response, number, body) => {
            if (number === 6) { // the listener is gone before the answer ends: no request can slip into its queue
                server.refuse();
                response.setHeader('Connection', 'close');
            }
            good(response, number, body);
        }));
        const r = await load(server.url, '--clients', '1', '--requests', '8');
        equal(r.code, 0, r.stderr);
        check(/^ +1 +4 +4 /m.test(r.stdout), r.stdout);
        check(/^ +4 x connect: 127\.0\.0\.1:\d+: connection refused$/m.test(r.stdout), r.stdout);
    },

    async 'what stops it before the first level'() {
        failed(await load('http://127.0.0.1:1'), 6, 'connection refused');
        failed(await load('http://no-such-host.invalid:80'), 6, 'no-such-host.invalid');
        failed(await run(lockstep, ['load']), 2, '--url http://HOST:PORT is needed');
        failed(await load('https://localhost'), 2, 'TLS');
        failed(await load(ours.url, '--clients', '1,5000'), 2, '--clients 1,5000', 'from 1 to 4096');
        failed(await load(ours.url, '--api-key', 'a\r\nb'), 2, '--api-key');
        failed(await load(ours.url, '--prompt-tokens', '100000'), 10, 'HTTP 400');
        let server = await pretend(response => response.writeHead(401).end('{"error": {"message": "who are you?"}}'));
        failed(await load(server.url), 10, 'HTTP 401: who are you?');
        server.close();
        // Endless heads, events and bodies: refused at a bound, not collected.
        for (const [head, unit] of [['HTTP/1.1 200 OK\r\n', 'X: yyyyyyyyyy\r\n'.repeat(1000)], ['HTTP/1.1 200 OK\r\n\r\n', 'x'.repeat(65536)]]) {
            const tcp = createTcpServer(socket => {
                socket.on('error', () => {});
                socket.write(head);
                const more = () => { while (!socket.destroyed && socket.write(unit)); };
                socket.on('drain', more);
                more();
            });
            tcp.listen(0, '127.0.0.1');
            await once(tcp, 'listening');
            failed(await load(`http://127.0.0.1:${tcp.address().port}`, '--timeout', '20'), 12, head.endsWith('\r\n\r\n') ? 'larger than 1 MiB' : 'headers');
            tcp.close();
        }
    },

    async 'Ctrl-C shows what there is'() {
        const server = await pretend(rude((response, number, body) => number < 8 && good(response, number, body)));
        for (const json of [[], ['--json']]) {
            const child = spawn(lockstep, ['load', '--url', server.url, '--clients', '2,4', '--requests', '100', ...json]);
            let text = '', errors = '';
            child.stdout.on('data', d => { text += d; });
            child.stderr.on('data', d => { errors += d; });
            const before = server.count();
            await until('the clients wait', () => server.count() >= (before ? before + 1 : 9));
            await sleep(100);
            child.kill('SIGINT');
            const [code] = await once(child, 'close');
            equal(code, 130, `exit code: ${errors}`);
            check(errors.includes('stopped'), errors);
            if (before === 0) check(/^ +2 +5 +0 /m.test(text), text);
            else equal(text, '', 'stopped before the first level');
        }
        server.close();
    },
});

equal(await ours.stop(), 0, `exit code:\n${ours.log()}`);
