// SPDX-License-Identifier: MIT
// connections.test.mjs: many clients at once: ten thousand that say nothing, some that never read, a thousand that
// leave at any moment.  Environment LOCKSTEP_SCALE=N makes the last two N times as large.
import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {cases, check, completion, demo, dial, equal, get, metric, openStream, rss, serve, sleep, status, until} from './harness.mjs';

const MiB = 1 << 20, scale = +(process.env.LOCKSTEP_SCALE ?? 1);
const descriptors = which => +spawnSync('sh', ['-c', `ulimit ${which}`]).stdout.toString().replace('unlimited', '1048576');
// Both ends of all connections are open files; the server raises its own limit.
if (descriptors('-n') < descriptors('-Hn')) {
    const again = spawnSync('sh', ['-c', 'ulimit -n "$(ulimit -Hn)" && exec "$@"', 'sh', ...process.argv], {stdio: 'inherit'});
    process.exit(again.status ?? 1);
}
const model = process.env.LOCKSTEP_MODEL ?? demo;
const shuffled = seed => () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648; // the same in every run

// Asks over a connection of its own that is closed afterwards: fetch keeps some open for a while.
async function ask(server, path) {
    const c = await dial(server);
    c.send(get(path, 'Connection: close\r\n'));
    await c.ends();
    return c.text.slice(c.text.indexOf('\r\n\r\n') + 4);
}
const nothingHeld = server => until('nothing runs, waits or holds blocks, and all connections but this one are closed', async () => {
    const s = JSON.parse(await ask(server, '/health'));
    return s.running + s.waiting + s.kv_blocks_used === 0 && /^lockstep:num_connections 1$/m.test(await ask(server, '/metrics'));
});
// Seconds that the coordinator has computed.
const cpuSeconds = server => +readFileSync(`/proc/${server.child.pid}/schedstat`, 'utf8').split(' ')[0] / 1e9;
// Tokens per second of one stream, and what a token costs the coordinator: a busy machine changes only the first.
async function pace(server) {
    const s = await openStream(server, {max_tokens: 300, temperature: 0});
    await s.first;
    const begin = performance.now(), cpu = cpuSeconds(server), already = s.events.length;
    await s.ended;
    check(s.done, 'the stream is complete');
    const n = s.events.length - already;
    return {pace: n / (performance.now() - begin) * 1000, cost: (cpuSeconds(server) - cpu) / n};
}
const best = list => ({pace: Math.max(...list.map(p => p.pace)), cost: Math.min(...list.map(p => p.cost))});

await cases({
    async 'ten thousand idle connections'() {
        const wanted = Math.min(10000, descriptors('-Hn') - 300);
        const server = await serve(['-n', '2', '--ctx', '2048', '--idle-timeout', '600', '--model', model]);
        await pace(server);
        const before = rss(server), alone = [], beside = [];
        for (let i = 0; i < 3; i++) alone.push(await pace(server));
        const during = openStream(server, {max_tokens: 1500});
        const idle = [];
        while (idle.length < wanted) // from several addresses, so that the ports last
            idle.push(...await Promise.all(Array.from({length: Math.min(200, wanted - idle.length)},
                (_, i) => dial(server, {localAddress: `127.0.0.${2 + i % 8}`}))));
        await until('all are accepted', async () => await metric(server, 'num_connections') >= wanted);
        const bytes = rss(server) - before;
        check(bytes <= 64 * MiB * wanted / 10000, `${wanted} connections cost ${(bytes / MiB).toFixed(1)} MiB`);
        const stream = await during;
        await stream.ended;
        check(stream.done && !stream.error, 'a stream went on while they came');
        for (let i = 0; i < 3; i++) beside.push(await pace(server));
        const ratio = best(beside).pace / best(alone).pace, cost = best(beside).cost / best(alone).cost;
        check(cost < 1.5, `a token costs the coordinator ${cost.toFixed(2)} times as much beside them`);
        const cpu = cpuSeconds(server);
        await sleep(2000);
        const used = cpuSeconds(server) - cpu;
        check(used < 0.1, `idle connections cost ${used} s of CPU in 2 s`);
        for (const c of idle.slice(0, 100)) c.send(get('/v1/models')); // they are alive
        for (const c of idle.slice(0, 100)) await c.hears(/"object":"list"/);
        for (const c of idle) c.socket.destroy();
        await nothingHeld(server);
        equal(await server.stop(), 0, 'exit code');
        return `${wanted} cost ${(bytes / MiB).toFixed(1)} MiB and ${(1000 * used).toFixed(1)} ms of CPU in 2 s; a stream beside them has ` +
            `${(100 * ratio).toFixed(0)} % of its pace, a token costs the coordinator ${cost.toFixed(2)} times as much`;
    },

    // Sixteen ask for much and read it, or not: the pace of the 48 others is compared.
    async 'clients that never read'() {
        const tokens = 300 * scale, much = 2 * tokens, all = 64, deaf = 16;
        const server = await serve(['-n', '2', '--ctx', String(much + 64), '--max-unread-bytes', '32K', '--max-batch', String(all),
            '--kv-tokens', String(all * (much + 64)), '--model', model]);
        // Raw sockets: what comes is kept, not looked at, so that this process is not what is measured.
        const ask = i => completion({prompt: `Chapter ${i}.`, max_tokens: tokens, stream: true, ignore_eos: true});
        const json = JSON.stringify({messages: [{role: 'user', content: 'Sing!'}], max_tokens: much, ignore_eos: true, stream: true, logprobs: true, top_logprobs: 20});
        const askMuch = `POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: ${json.length}\r\n\r\n${json}`; // 2 KiB for a token
        const round = async reads => {
            const loud = await Promise.all(Array.from({length: deaf}, () => dial(server)));
            const readers = await Promise.all(Array.from({length: all - deaf}, () => dial(server)));
            loud.forEach((c, i) => { if (!reads) c.socket.pause(); c.send(askMuch); });
            const begin = performance.now();
            readers.forEach((c, i) => c.send(ask(i)));
            let peak = 0;
            const watch = setInterval(() => { peak = Math.max(peak, rss(server)); }, 50);
            await until('the readers have their answers', () => readers.every(c => c.text.endsWith('data: [DONE]\n\n\r\n0\r\n\r\n')), 240000);
            const ms = performance.now() - begin;
            clearInterval(watch);
            for (const c of [...loud, ...readers]) c.socket.destroy();
            await nothingHeld(server);
            return {pace: tokens / ms * 1000, peak};
        };
        await round(true);
        const before = rss(server), beside = [], alone = [];
        let peak = 0;
        for (let i = 0; i < 2 * scale; i++) {
            alone.push((await round(true)).pace);
            const r = await round(false);
            beside.push(r.pace);
            peak = Math.max(peak, r.peak);
        }
        const unread = await metric(server, 'connections_ended_total{reason="unread"}');
        const ratio = Math.max(...beside) / Math.max(...alone);
        check(peak - before < 48 * MiB, `memory grew by ${((peak - before) / MiB).toFixed(1)} MiB`);
        check(ratio > 0.6, `the readers have ${(100 * ratio).toFixed(0)} % of their pace`);
        equal(await server.stop(), 0, 'exit code');
        return `the others have ${(100 * ratio).toFixed(0)} % of their pace (${beside.map(x => x.toFixed(1))} against ${alone.map(x => x.toFixed(1))} tokens/s each); ` +
            `${unread} were dropped; memory grew by ${((peak - before) / MiB).toFixed(1)} MiB`;
    },

    async 'clients that leave at any moment'() {
        const server = await serve(['-n', '2', '--ctx', '4096', '--max-batch', '8', '--kv-tokens', '16384', '--model', model]);
        const random = shuffled(7), pick = list => list[Math.floor(random() * list.length)];
        const long = Array.from({length: 3000}, (_, i) => 300 + (i * 7) % 1000);
        const stream = {stream: true, ignore_eos: true, max_tokens: 2000};
        const whole = completion({max_tokens: 3});
        const states = {
            'connected': async () => {},
            'in the head': async c => c.send(whole.slice(0, 5 + Math.floor(random() * 60))),
            'in the body': async c => c.send(whole.slice(0, whole.length - 1 - Math.floor(random() * 20))),
            'in a chunk': async c => c.send('POST /v1/completions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"prompt"'),
            'somewhere': async c => { c.send(completion({...stream, seed: Math.floor(random() * 1e6)})); await sleep(random() * 60); },
            'in decode': async c => { c.send(completion(stream)); await Promise.race([c.hears(/data: \{/), sleep(500)]); },
            'in prefill': async c => { c.send(completion({...stream, prompt: [300 + Math.floor(random() * 1000), ...long]})); await sleep(random() * 30); },
            'several choices': async c => { c.send(completion({...stream, n: 4})); await sleep(random() * 60); },
            'no stream': async c => { c.send(completion({...stream, stream: false})); await sleep(random() * 60); },
            'with requests ahead': async c => { c.send(completion(stream) + get('/health').repeat(20) + completion(stream)); await sleep(random() * 30); },
            'answered': async c => { c.send(get('/health')); await sleep(random() * 5); },
        };
        const leave = async n => {
            for (let i = 0; i < n; i++) {
                const c = await dial(server);
                await states[pick(Object.keys(states))](c);
                c.socket[pick(['destroy', 'resetAndDestroy', 'end'])]();
                if (!c.closed && random() < 0.1) await c.ends(); // who only ended its side is closed as well
                c.socket.destroySoon();
            }
        };
        const together = n => Promise.all(Array.from({length: 20}, () => leave(n / 20)));
        await together(200); // memory that is kept for good
        await nothingHeld(server);
        const before = rss(server), cancelled = (await status(server)).cancelled;
        await together(1000 * scale);
        await nothingHeld(server);
        const grown = rss(server) - before, left = await metric(server, 'connections_ended_total{reason="client_left"}');
        check(grown < 8 * MiB, `memory grew by ${(grown / MiB).toFixed(1)} MiB`);
        check((await status(server)).cancelled > cancelled && left > 300, 'they were counted');
        equal(await server.stop(), 0, 'exit code');
        return `memory grew by ${(grown / MiB).toFixed(1)} MiB; ${left} connections ended in the middle of something`;
    },
});
