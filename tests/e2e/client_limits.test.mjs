// SPDX-License-Identifier: MIT
// client_limits.test.mjs: every limit of what a client may take is an option: small ones are reached here, and what
// happens then is what the gateway's README says.
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {cases, check, completion, dial, equal, get, good, metric, openStream, post, rss, sanitized, scratch, serve, sleep, status, until} from './harness.mjs';

const slow = ['--header-timeout', '0.4', '--body-timeout', '0.8', '--idle-timeout', '1.2', '--write-timeout', '1', '--ping-interval', '0.2'];
const head = 'POST /v1/completions HTTP/1.1\r\nHost: h\r\n';
const ended = (server, reason) => metric(server, `connections_ended_total{reason="${reason}"}`);
const statusOf = text => +/^HTTP\/1.1 (\d+)/.exec(text)?.[1];
// Sends it a byte at a time until the server has had enough.
async function drip(c, bytes, everyMs) {
    for (const b of bytes) {
        if (c.closed || c.text) break;
        c.send(b);
        await sleep(everyMs);
    }
    await c.ends();
    return c.text;
}

await cases({
    async 'slow clients'() {
        const server = await serve(['-n', '1', ...slow, '--max-batch', '1']);
        const stream = openStream(server, {max_tokens: 60});
        const begin = performance.now(), took = () => performance.now() - begin;
        const [headers, body, chunks, silent, used] = await Promise.all([
            dial(server).then(c => drip(c, `${head}A: ${'a'.repeat(1000)}`, 20)),
            dial(server).then(c => drip(c, [`${head}Content-Length: 1000\r\n\r\n`, ...'{"prompt": "x'.repeat(100)], 20)),
            dial(server).then(c => drip(c, [`${head}Transfer-Encoding: chunked\r\n\r\n`, ...Array(1000).fill('1\r\n{\r\n')], 20)),
            dial(server).then(async c => { await c.ends(); check(took() > 1100, 'an idle one had its time'); return c.text; }),
            dial(server).then(async c => { c.send(get('/health')); await c.ends(); return c.text; }),
        ]);
        for (const [what, text] of Object.entries({headers, body, chunks})) {
            equal(statusOf(text), 408, `slow ${what}: ${text}`);
            check(/connection: close/i.test(text) && JSON.parse(text.split('\r\n\r\n')[1]).error.message, 'a sentence, and the end');
        }
        equal(silent, '', 'a connection that says nothing is closed without a word');
        check(statusOf(used) === 200 && used.split('HTTP/1.1').length === 2, 'one that is not used again too');
        await (await stream).ended;
        check((await stream).done, 'a stream went on beside them');
        equal([await ended(server, 'slow_request'), await ended(server, 'idle') >= 2], [3, true], 'counted');
        equal(await server.stop(), 0, 'exit code');
    },

    // One at a time: the second waits, and hears that it is not forgotten; then the third is gone before its turn.
    async 'comments while a request waits'() {
        const server = await serve(['-n', '1', '--ctx', '8192', '--max-batch', '1', '--ping-interval', '0.2']);
        const first = await openStream(server, {max_tokens: 8000});
        await first.first;
        const waits = await dial(server), leaves = await dial(server), whole = await dial(server);
        for (const c of [waits, leaves]) c.send(completion({stream: true}));
        whole.send(completion());
        await waits.hears(/^HTTP\/1.1 200 OK\r\n[^]*\r\n\r\n8\r\n: ping\n\n\r\n8\r\n: ping\n\n\r\n/);
        await leaves.hears(/: ping/);
        equal((await status(server)).waiting, 3, 'they wait');
        equal(whole.text, '', 'a whole answer has no place for comments');
        leaves.socket.end();
        await until('it is gone', async () => (await status(server)).waiting === 2);
        first.abort();
        await waits.hears(/data: \[DONE\]/);
        await whole.hears(/"finish_reason":"length"/);
        for (const c of [waits, whole]) c.socket.destroy();
        equal(await server.stop(), 0, 'exit code');
    },

    async 'sizes'() {
        const server = await serve(['-n', '1', '--max-header-bytes', '2048', '--max-headers', '10', '--max-body-bytes', '4096']);
        const tell = async bytes => { const c = await dial(server); c.send(bytes); await c.ends(); return c.text; };
        const length = n => `${head}Content-Length: ${n}\r\n\r\n`, chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;
        const cases = {
            [get('/health', `A: ${'a'.repeat(1900)}\r\nConnection: close\r\n`)]: 200, [get('/health', `A: ${'a'.repeat(2100)}\r\n`)]: 431,
            [get('/health', `${'A: b\r\n'.repeat(8)}Connection: close\r\n`)]: 200, [get('/health', 'A: b\r\n'.repeat(10))]: 431,
            [length(4097)]: 413, [`${length(4097)}${' '.repeat(4097)}`]: 413, [length('9223372036854775808')]: 413,
            [`${chunked}1001\r\n`]: 413, [`${chunked}${'800\r\n' + 'a'.repeat(2048) + '\r\n'}800\r\n${'a'.repeat(2048)}\r\n1\r\n`]: 413,
            [`${chunked}0\r\n${'A: b\r\n'.repeat(10)}\r\n`]: 431, [`${chunked}0\r\nA: ${'b'.repeat(2100)}\r\n\r\n`]: 431,
        };
        for (const [bytes, wanted] of Object.entries(cases)) equal(statusOf(await tell(bytes)), wanted, bytes.slice(0, 120));
        equal((await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1, user: 'u'.repeat(4000)})).status, 200, 'a body that just fits');
        equal(await server.stop(), 0, 'exit code');
    },

    // Other clients wait in the kernel's queue, at the limit of connections and at that of open files.
    // What a body may become in memory is bounded, not only its bytes; and none of it stays.
    async 'bodies of many values'() {
        const server = await serve(['-n', '1']);
        const ask = (value, n) => post(server, '/v1/completions', `{"prompt":"x","max_tokens":1,"junk":[${Array(n).fill(value)}]}`);
        equal((await ask('"aaa"', 10)).status, 200, 'status of a body with a few');
        const before = rss(server), peak = () => +/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1] * 1024;
        for (const value of ['{}', '[]']) {
            const refused = await ask(value, 2000000);
            equal(refused.status, 400, `status of a body with two million ${value}`);
            check(/ values, or \d+ arrays/.test((await refused.json()).error.message), 'a sentence');
        }
        for (let i = 0; i < 8; i++) equal((await ask('"aaa"', 1000000)).status, 200, 'status of a body with a million strings');
        const most = (peak() - before) / 2 ** 20, left = (rss(server) - before) / 2 ** 20;
        if (!sanitized) check(most < 256 && left < 128, `they took ${most.toFixed(0)} MiB, ${left.toFixed(0)} MiB stay`);
        equal(await server.stop(), 0, 'exit code');
        return `they took ${most.toFixed(0)} MiB, ${left.toFixed(0)} MiB stay`;
    },

    async 'more clients than there is room for'() {
        for (const [what, args, prefix] of [['connections', ['--max-connections', '20'], []], ['open files', [], ['sh', '-c', 'ulimit -n 120 && exec "$@"', 'sh']]]) {
            const server = await serve(['-n', '1', ...args], {prefix});
            const open = [];
            for (let i = 0; i < 150; i++) open.push(await dial(server));
            const late = await dial(server);
            late.send(get('/health'));
            await sleep(200);
            const cpu = () => readFileSync(`/proc/${server.child.pid}/schedstat`, 'utf8').split(' ')[0] / 1e9, before = cpu();
            await sleep(500);
            check(cpu() - before < 0.05, `${what}: waiting costs ${cpu() - before} s of CPU`);
            equal(late.text, '', 'nobody is answered beyond the limit');
            check(!open.some(c => c.closed), 'nobody is refused');
            check(/the next clients wait/.test(server.log()) && (what === 'connections' || /ulimit -n/.test(server.log())), server.log());
            for (const c of open) c.socket.destroy();
            await late.hears(/HTTP\/1.1 200 /);
            check(await metric(server, 'accept_pauses_total') >= 1, 'it was counted');
            late.socket.destroy();
            equal(await server.stop(), 0, 'exit code');
        }
    },

    async 'a client that does not read'() {
        const server = await serve(['-n', '1', '--ctx', '16384', '--max-unread-bytes', '16K', '--write-timeout', '1']);
        const c = await dial(server), before = rss(server);
        c.socket.pause();
        c.send(completion({stream: true, ignore_eos: true, max_tokens: 16000, logprobs: 20}));
        await until('it is dropped', async () => await ended(server, 'unread') + await ended(server, 'stalled') === 1, 120000);
        await until('its blocks are free', async () => (await status(server)).kv_blocks_used === 0);
        check(sanitized || rss(server) - before < 16 << 20, 'memory is bounded');
        c.socket.destroy();
        equal(await server.stop(), 0, 'exit code');
    },

    async 'the time to drain'() {
        const server = await serve(['-n', '1', '--ctx', '65536', '--drain', '0.5']);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        const kept = await dial(server), silent = await dial(server);
        kept.send(get('/health'));
        await kept.hears(/200 OK/);
        check(!/connection: close/i.test(kept.text), 'it is kept');
        server.child.kill('SIGTERM');
        await until('it drains', async () => (await fetch(`${server.url}/ready`)).status === 503);
        kept.send(completion());
        await kept.hears(/HTTP\/1.1 503 [^]*Retry-After: [^]*"error"/);
        check(/connection: close/i.test(kept.text), 'no connection is kept any more');
        await Promise.all([kept.ends(), silent.ends(), stream.ended]);
        check(!stream.done, 'what still ran was cut off');
        equal((await server.ended)[0], 0, 'exit code');
        check(/drain limit/.test(server.log()), server.log());
    },

    // Under a limit of the size of files a log can take no more, and neither can standard output that is full.
    async 'logs that cannot grow'() {
        const log = join(scratch, 'full.log');
        const server = await serve(['-n', '1', '--access-log', log]);
        const used = readFileSync(log).length;
        await good('prlimit', ['--pid', String(server.child.pid), `--fsize=${used + 2000}`]); // of the coordinator only
        for (let i = 0; i < 40; i++) equal((await post(server, '/v1/completions', {prompt: 'x', max_tokens: 1})).status, 200, 'it serves on');
        const text = readFileSync(log, 'utf8');
        check(text.length <= used + 2000 && text.length > used + 1000 && text.endsWith('\n'), `whole lines only: ${text}`);
        equal(server.log().match(/the access log cannot be written/g)?.length, 1, 'it warns once');
        equal(await server.stop(), 0, 'exit code');
        const mute = await serve(['-n', '1'], {prefix: ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh']});
        equal((await post(mute, '/v1/completions', {prompt: 'x', max_tokens: 1})).status, 200, 'standard error may be full');
        equal(await mute.stop(), 0, 'exit code');
    },
});
