// SPDX-License-Identifier: MIT
// api_access.test.mjs: who may ask, what of, and every refusal that is not about a field: keys, pages of other
// origins, models, tokens, methods, types, sizes, a full queue, and a server that loads, drains or has lost a rank.
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {cases, check, equal, good, lockstep, openStream, post, processes, run, scratch, serve, sleep, status, until} from './harness.mjs';
import {OpenAI, collect, connect, fails, model} from './openai.mjs';

const quiet = ['--access-log', 'off'];
const secrets = ['sk-alice-0123456789', 'sk-bob-9876543210', 'sk-environment'];
const keyFile = join(scratch, 'keys');
writeFileSync(keyFile, `# alice\n${secrets[0]}\n\n# bob\r\n${secrets[1]}\r\n`, {mode: 0o600});
const origin = 'https://chat.example.org';
const guarded = await serve(['-n', '1', '--api-key-file', keyFile, '--cors-origin', origin, '--cors-origin', 'http://localhost:3000', ...quiet],
    {env: {LOCKSTEP_API_KEY: secrets[2]}});
// A context that the demo model was not trained for, so that a stream is as long as a test needs it.
const ctx = 65536;
const open = await serve(['-n', '2', '--ctx', String(ctx), '--max-batch', '1', '--queue-requests', '1', ...quiet]);
const ask = (client, body) => client.completions.create({model, prompt: 'Call me', temperature: 0, max_tokens: 3, ...body});
const endless = {max_tokens: 100000, ignore_eos: true};
const errorOf = async (response, wanted) => {
    const {error} = await response.json();
    equal([response.status, error.type, error.code], wanted, error.message);
    check(error.message.length > 10 && 'param' in error, 'a whole error object');
    return error;
};

await cases({
    async 'a key is asked for'() {
        for (const key of secrets) equal((await ask(connect(guarded, {apiKey: key}))).usage.completion_tokens, 3, `with ${key}`);
        for (const key of ['none', secrets[0].slice(0, -1), `${secrets[0]}x`, `${secrets[0]},${secrets[1]}`, 'alice']) {
            const client = connect(guarded, {apiKey: key});
            for (const request of [() => ask(client), () => ask(client, {stream: true}), () => client.models.list().then(l => l), () => client.chat.completions.create({model, messages: []})]) {
                const e = await fails(request(), OpenAI.AuthenticationError, key);
                equal([e.status, e.code, e.type], [401, 'invalid_api_key', 'invalid_request_error'], 'the error');
                check(!e.message.includes(key) && secrets.every(s => !e.message.includes(s)), 'no key in it');
            }
        }
        const bare = await fetch(`${guarded.url}/v1/models`);
        equal(bare.headers.get('www-authenticate'), 'Bearer realm="lockstep"', 'the challenge');
        await errorOf(bare, [401, 'invalid_request_error', 'invalid_api_key']);
        const wrong = await fetch(`${guarded.url}/v1/models`, {headers: {Authorization: 'Bearer x'}});
        equal(wrong.headers.get('www-authenticate'), 'Bearer realm="lockstep", error="invalid_token"', 'of a wrong key');
        for (const path of ['/health', '/ready']) equal((await fetch(guarded.url + path)).status, 200, path);
        for (const path of ['/metrics', '/nothing', '/v1/completions', '/tokenize']) equal((await fetch(guarded.url + path)).status, 401, path);
        equal((await fetch(`${guarded.url}/metrics`, {headers: {Authorization: `bearer ${secrets[1]}`}})).status, 200, '/metrics with a key');
        await good(lockstep, ['load', '--url', guarded.url, '--api-key', secrets[0], '--clients', '1', '--requests', '1', '--prompt-tokens', '8', '--max-tokens', '2']);
    },

    async 'and not to be seen by others'() {
        for (const p of processes().filter(p => p.pid !== process.pid)) {
            check(!secrets.some(s => p.command.includes(s)), `a key in the command line of ${p.command}`);
            let environment = '';
            try { environment = readFileSync(`/proc/${p.pid}/environ`, 'utf8'); } catch {} // it ended, or is another user's
            check(p.pid === guarded.child.pid || !environment.includes(secrets[2]), `the key goes on to ${p.command}`);
        }
        check(!secrets.some(s => guarded.log().includes(s)), 'no key in the log');
    },

    async 'keys and origins that make no sense'() {
        const empty = join(scratch, 'empty');
        writeFileSync(empty, '# nobody\n');
        for (const [args, env, says] of [[['--api-key-file', empty], {}, 'no key'], [['--api-key-file', '/no/such'], {}, '/no/such'], [['--api-key', 'two words'], {}, '--api-key'],
            [[], {LOCKSTEP_API_KEY: ''}, 'LOCKSTEP_API_KEY'], [['--cors-origin', 'example.org'], {}, 'example.org'], [['--cors-origin', 'https://example.org/'], {}, 'origin']]) {
            const r = await run(lockstep, ['serve', '--port', '0', ...args], {env});
            equal(r.code, 2, `exit code: ${r.stderr}`);
            check(r.stderr.includes(says), r.stderr);
        }
        const ini = join(scratch, 'serve.ini');
        writeFileSync(ini, '[serve]\napi-key = sk-one\napi-key = sk-two\ncors-origin = *\n[cluster]\nranks = 1\n');
        const server = await serve(['--config', ini, ...quiet]);
        for (const key of ['sk-one', 'sk-two']) equal((await connect(server, {apiKey: key}).models.list()).data[0].id, model, `with ${key}`);
        await fails(ask(connect(server, {apiKey: 'sk-three'})), OpenAI.AuthenticationError);
        equal((await fetch(`${server.url}/health`, {headers: {Origin: 'https://any.org'}})).headers.get('access-control-allow-origin'), '*', 'all origins');
        equal(await server.stop(), 0, 'exit code');
    },

    async 'pages of other origins'() {
        const preflight = (server, path, from) => fetch(server.url + path, {method: 'OPTIONS',
            headers: {Origin: from, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,content-type,x-stainless-os'}});
        const headers = r => ['allow-origin', 'allow-methods', 'allow-headers', 'max-age'].map(n => r.headers.get(`access-control-${n}`));
        const yes = await preflight(guarded, '/v1/chat/completions', origin);
        equal([yes.status, ...headers(yes)], [204, origin, 'POST, OPTIONS', 'authorization,content-type,x-stainless-os', '7200'], 'a preflight');
        equal((await yes.text()) + yes.headers.get('content-length'), 'null', 'which has no body');
        equal(headers(await preflight(guarded, '/v1/models', 'http://localhost:3000'))[1], 'GET, HEAD, OPTIONS', 'methods');
        for (const from of ['https://evil.example', 'null', `${origin}:8443`, 'http://chat.example.org']) {
            const no = await preflight(guarded, '/v1/chat/completions', from);
            equal([no.status, ...headers(no), no.headers.get('vary')], [401, null, null, null, null, 'Origin'], from);
        }
        const client = connect(guarded, {apiKey: secrets[0], defaultHeaders: {Origin: origin}});
        for (const body of [{}, {stream: true}]) {
            const {data, response} = await client.completions.create({model, prompt: 'Call me', max_tokens: 3, temperature: 0, ...body}).withResponse();
            equal([response.headers.get('access-control-allow-origin'), response.headers.get('vary')], [origin, 'Origin'], JSON.stringify(body));
            if (body.stream) await collect(data);
        }
        const refused = await fetch(`${guarded.url}/v1/models`, {headers: {Origin: origin}});
        equal([refused.status, refused.headers.get('access-control-allow-origin')], [401, origin], 'a page may read refusals');
        const off = await preflight(open, '/v1/chat/completions', origin);
        equal([off.status, ...headers(off), off.headers.get('vary')], [405, null, null, null, null, null], 'off by default');
    },

    async 'models and tokens'() {
        const client = connect(open);
        const list = (await client.models.list()).data, one = await client.models.retrieve(model);
        equal(list, [one], 'the list');
        equal([one.id, one.object, one.owned_by, one.context_length], [model, 'model', 'lockstep', ctx], 'the model');
        const e = await fails(client.models.retrieve('gpt-4o/x y'), OpenAI.NotFoundError);
        equal([e.code, e.param], ['model_not_found', 'model'], 'another one');
        for (const request of [() => ask(client, {model: 'gpt-4o'}), () => client.chat.completions.create({model: 'gpt-4o', messages: [{role: 'user', content: 'x'}]})])
            equal((await fails(request(), OpenAI.NotFoundError)).code, 'model_not_found', 'a request for it');
        equal((await ask(client, {model: undefined})).model, model, 'a request for none in particular');
        const call = async (path, body) => (await post(open, path, body)).json();
        const content = 'Call me "Ishmael". \u05d0\n';
        const named = await serve(['-n', '1', '--alias', 'gpt-4o/x y', ...quiet]);
        const other = connect(named);
        equal((await other.models.list()).data.map(m => m.id), ['gpt-4o/x y'], 'the list of a server with a name of its own');
        equal((await other.models.retrieve('gpt-4o/x y')).id, 'gpt-4o/x y', 'which is found');
        equal((await ask(other, {model: 'gpt-4o/x y'})).model, 'gpt-4o/x y', 'and answers');
        await fails(ask(other), OpenAI.NotFoundError);
        equal(await named.stop(), 0, 'exit code');
        const {tokens} = await call('/tokenize', {content, add_special: true, with_pieces: true});
        const bytes = Buffer.concat(tokens.map(t => Buffer.from(t.piece)));
        check(bytes.toString().endsWith(content), 'the pieces are the text');
        check(tokens.some(t => Array.isArray(t.piece)), 'a byte of a letter is no text');
        equal(await call('/tokenize', {content, add_special: true}), {tokens: tokens.map(t => t.id)}, 'ids alone');
        equal(await call('/detokenize', await call('/tokenize', {content})), {content}, 'there and back');
        equal((await ask(client, {prompt: content})).usage.prompt_tokens, tokens.length, 'what a prompt counts');
    },

    async 'paths, methods, types, sizes'() {
        const send = (method, path, headers, body) => fetch(open.url + path, {method, headers, body});
        const json = {'Content-Type': 'application/json'};
        await errorOf(await send('GET', '/v1/nothing'), [404, 'invalid_request_error', 'not_found']);
        for (const [method, path, allow] of [['GET', '/v1/chat/completions', 'POST'], ['PUT', '/tokenize', 'POST'], ['DELETE', `/v1/models/${model}`, 'GET, HEAD'], ['OPTIONS', '/health', 'GET, HEAD']]) {
            const r = await send(method, path);
            equal(r.headers.get('allow'), allow, `${method} ${path}`);
            await errorOf(r, [405, 'invalid_request_error', 'method_not_allowed']);
        }
        for (const path of ['/v1/completions', '/v1/chat/completions', '/tokenize', '/detokenize', '/apply-template']) {
            for (const type of ['text/plain', 'application/jsonx', 'multipart/form-data; boundary=x'])
                await errorOf(await send('POST', path, {'Content-Type': type}, '{}'), [415, 'invalid_request_error', null]);
            await errorOf(await send('POST', path, json, '{"a": '), [400, 'invalid_request_error', null]);
            await errorOf(await send('POST', path, json, '[]'), [400, 'invalid_request_error', null]);
        }
        // A type that browsers send without asking first is for clients that are no pages.
        const plain = {'Content-Type': 'application/x-www-form-urlencoded'}, short = '{"prompt": "x", "max_tokens": 1}';
        equal((await send('POST', '/v1/completions', plain, short)).status, 200, "curl's bare -d");
        await errorOf(await send('POST', '/v1/completions', {...plain, Origin: origin}, short), [415, 'invalid_request_error', null]);
        const fine = await send('POST', '/v1/completions', {'Content-Type': 'Application/JSON ; charset=utf-8'}, '{"prompt": "x", "max_tokens": 1}');
        equal([fine.status, (await fine.json()).object], [200, 'text_completion'], 'a type with a parameter');
        await errorOf(await send('POST', '/v1/completions', json, `{"prompt": "${'x'.repeat(9 << 20)}"}`), [413, 'invalid_request_error', null]);
        await errorOf(await send('GET', '/health', {Cookie: 'x'.repeat(20000)}), [431, 'invalid_request_error', null]);
    },

    // One runs, one waits, the third is sent away; the official client comes back by itself when it was told to.
    async 'a full queue'() {
        const running = await openStream(open, endless);
        await running.first;
        const waiting = openStream(open, {max_tokens: 2});
        await until('one waits', async () => (await status(open)).waiting === 1);
        const e = await fails(ask(connect(open)), OpenAI.RateLimitError);
        equal([e.status, e.type, e.code, e.headers.get?.('retry-after') ?? e.headers['retry-after']], [429, 'rate_limit_error', 'queue_full', '1'], 'at once');
        await sleep(1100);
        const later = await post(open, '/v1/completions', {prompt: 'x'});
        check(+later.headers.get('retry-after') >= 2, `as long as others have waited: ${later.headers.get('retry-after')}`);
        await later.arrayBuffer();
        const patient = ask(connect(open, {maxRetries: 2}));
        await sleep(100);
        running.abort();
        await (await waiting).ended;
        equal((await patient).usage.completion_tokens, 3, 'the client that came back');
    },

    async 'a server that loads, drains or has lost a rank'() {
        const request = server => ask(connect(server));
        const states = async (server, health, ready, word) => {
            for (const [path, wanted] of [['/health', health], ['/ready', ready]]) {
                const r = await fetch(server.url + path);
                equal([r.status, (await r.json()).status], [wanted, word], path);
            }
        };
        const loading = await serve(['--wait', '-n', '2', '--control-addr', '127.0.0.1:0', ...quiet], {waitReady: false, env: {LOCKSTEP_SECRET: 'ab'.repeat(16)}});
        await states(loading, 200, 503, 'loading');
        const e = await fails(request(loading), OpenAI.InternalServerError);
        equal([e.status, e.type, e.code], [503, 'server_error', 'loading'], 'while it loads');
        await errorOf(await post(loading, '/tokenize', {content: 'x'}), [503, 'server_error', 'loading']);
        equal((await connect(loading).models.list()).data[0].id, model, 'its model is known');
        await loading.stop();

        await states(guarded, 200, 200, 'ok');
        const stream = await connect(open).completions.create({model, prompt: 'Call me', ...endless, stream: true});
        let n = 0;
        for await (const _ of stream) {
            if (++n === 20) stream.controller.abort(); // what runs goes on; `drain` sees it to its end
            if (n > 1) continue;
            open.child.kill('SIGTERM');
            await until('it drains', async () => (await fetch(`${open.url}/ready`)).status === 503);
            await states(open, 200, 503, 'draining');
            const d = await fails(request(open), OpenAI.InternalServerError);
            equal([d.status, d.code], [503, 'draining'], 'while it drains');
        }
        check(n >= 20, `${n} chunks`);
        equal(await open.stop(), 0, 'exit code');

        const lost = await serve(['-n', '1', ...quiet]);
        const rank = processes().find(p => p.name.startsWith('lockstep-worke') && ancestors(p.pid).includes(lost.child.pid));
        const broken = await connect(lost).completions.create({model, prompt: 'Call me', ...endless, stream: true, max_tokens: 200});
        const failure = await (async () => {
            let n = 0;
            for await (const _ of broken) if (n++ === 0) process.kill(rank.pid, 'SIGKILL');
        })().catch(error => error);
        check(failure instanceof OpenAI.APIError && failure.type === 'engine_lost', `an error event: ${failure}`);
        equal((await lost.ended)[0], 8, 'exit code');
    },
});

function ancestors(pid) {
    const all = new Map(processes().map(p => [p.pid, p.parent])), list = [];
    for (let p = pid; p > 1; p = all.get(p) ?? 0) list.push(p);
    return list;
}
await open.stop(); // where a filter passed over its end
equal(await guarded.stop(), 0, `exit code:\n${guarded.log()}`);
