// SPDX-License-Identifier: MIT
// harness.mjs: what the end-to-end tests share: run a command, serve a model, check, skip.
//
// A test is a node script; it fails by throwing.  Environment: LOCKSTEP_BIN (folder of the two
// programs), LOCKSTEP_SOURCE (the tree), LOCKSTEP_SHARED (data from outside, may be absent).
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {connect} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

export const source = process.env.LOCKSTEP_SOURCE ?? join(import.meta.dirname ?? '.', '../..');
export const bin = process.env.LOCKSTEP_BIN ?? join(source, 'build/bin');
export const shared = process.env.LOCKSTEP_SHARED ?? join(source, '../shared');
export const tests = process.env.LOCKSTEP_TESTS ?? join(source, 'build/tests');
export const lockstep = join(bin, 'lockstep');
export const demo = join(source, 'configs/demo/demo-q8_0.gguf');
export const sanitized = process.env.LOCKSTEP_SANITIZED === '1';

export const scratch = mkdtempSync(join(tmpdir(), 'lockstep-test-'));
process.on('exit', () => rmSync(scratch, {recursive: true, force: true}));

// Exit code 77 is ctest's SKIP_RETURN_CODE here.
export function skip(why) {
    console.log(`skipped: ${why}`);
    process.exit(77);
}
export function needShared(path = '') {
    const full = join(shared, path);
    if (!existsSync(full)) skip(`${path || 'shared data'} is not beside the project`);
    return full;
}

export function check(condition, message) {
    if (!condition) throw new Error(`check failed: ${message}`);
}
export function equal(got, want, what) {
    const a = JSON.stringify(got), b = JSON.stringify(want);
    if (a !== b) throw new Error(`${what}: got ${a}, expected ${b}`);
}

export const sleep = ms => new Promise(done => setTimeout(done, ms));
export async function until(what, condition, limitMs = 30000) {
    const end = Date.now() + limitMs;
    for (;;) {
        const value = await condition();
        if (value) return value;
        if (Date.now() > end) throw new Error(`this did not happen in ${limitMs} ms: ${what}`);
        await sleep(20);
    }
}

// mpirun's environment for tests that call it themselves, as root or not.
export const mpiEnv = {OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1'};
export const mpirun = n => ['mpirun', '--oversubscribe', '--bind-to', 'none', '-n', String(n)];

// Runs a command to its end: {code, signal, stdout, stderr, ms}.  Its stdout is kept as bytes too.
export async function run(command, args, {env = {}, cwd, input, limitMs = 120000} = {}) {
    const started = Date.now();
    const child = spawn(command, args, {env: {...process.env, ...env}, cwd, stdio: ["pipe", "pipe", "pipe"]});
    const out = [], errors = [];
    child.stdout.on('data', d => out.push(d));
    child.stderr.on('data', d => errors.push(d));
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs);
    const [code, signal] = await once(child, 'close');
    clearTimeout(timer);
    const stdout = Buffer.concat(out);
    return {code, signal, bytes: stdout, stdout: stdout.toString(), stderr: Buffer.concat(errors).toString(),
        ms: Date.now() - started};
}
// The same, and it must succeed.
export async function good(command, args, options) {
    const r = await run(command, args, options);
    if (r.code !== 0)
        throw new Error(`${command} ${args.join(' ')}\nexit code ${r.code} ${r.signal ?? ''}\n${r.stderr}\n${r.stdout.slice(0, 2000)}`);
    return r;
}
export const runJson = async (args, options) => JSON.parse((await good(lockstep, ['run', '--json', ...args], options)).stdout);

const servers = new Set(); // that run: a test that fails leaves none behind
process.on('exit', () => servers.forEach(child => child.kill('SIGTERM')));

// Starts `lockstep serve` and waits until it is ready: {url, child, log(), stop()}.
export async function serve(args = [], {env = {}, waitReady = true, prefix = []} = {}) {
    const portFile = join(scratch, `port-${process.pid}-${Math.random().toString(36).slice(2)}`);
    const command = [...prefix, lockstep, 'serve', '--port', '0', '--port-file', portFile, ...args];
    const child = spawn(command[0], command.slice(1), {env: {...process.env, ...mpiEnv, ...env}, stdio: ['ignore', 'pipe', 'pipe']});
    const logs = [];
    child.stdout.on('data', d => logs.push(d.toString()));
    child.stderr.on('data', d => logs.push(d.toString()));
    const server = {child, log: () => logs.join(''), ended: once(child, 'close')};
    const exited = () => child.exitCode !== null || child.signalCode !== null;
    servers.add(child);
    child.once('exit', () => servers.delete(child));
    await until('serve writes its port file', () => {
        if (exited()) throw new Error(`serve ended early (${child.exitCode}):\n${server.log()}`);
        return existsSync(portFile) && readFileSync(portFile, 'utf8').endsWith('\n');
    });
    server.port = +readFileSync(portFile, 'utf8');
    server.url = `http://127.0.0.1:${server.port}`;
    if (waitReady)
        await until('serve is ready', async () => {
            if (exited()) throw new Error(`serve ended early (${child.exitCode}):\n${server.log()}`);
            const r = await fetch(`${server.url}/ready`);
            await r.arrayBuffer(); // or its connection stays in use
            return r.status === 200;
        }, 60000);
    server.stop = async (signal = 'SIGTERM') => {
        if (!exited()) child.kill(signal);
        const [code] = await server.ended;
        return code;
    };
    return server;
}
export const status = async server => (await fetch(`${server.url}/health`)).json();
export const post = (server, path, body, options = {}) => fetch(server.url + path, {
    method: 'POST', headers: {'Content-Type': 'application/json'},
    body: typeof body === 'string' ? body : JSON.stringify(body), ...options,
});

// Process ids and ranks of the job that the server with this pid started (its lockstep-worker processes).
export function workers() {
    return processes().filter(p => p.name === 'lockstep-worke'.slice(0, 15) || p.command.includes('lockstep-worker'))
        .filter(p => !p.command.includes('mpirun') && !p.command.includes('orted'));
}
export function processes() {
    const list = [];
    for (const entry of readdirSafe('/proc')) {
        if (!/^\d+$/.test(entry)) continue;
        try {
            const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
            const end = stat.lastIndexOf(')');
            const fields = stat.slice(end + 2).split(' ');
            list.push({pid: +entry, name: stat.slice(stat.indexOf('(') + 1, end), state: fields[0], parent: +fields[1],
                session: +fields[3], command: readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' '),
                environment: ''});
        } catch {} // it ended meanwhile
    }
    return list;
}
import {readdirSync} from 'node:fs';
const readdirSafe = path => { try { return readdirSync(path); } catch { return []; } };
// What a job may leave in shared memory.
export const sharedMemoryFiles = () => readdirSafe('/dev/shm').filter(n => /^(vader_segment|osc_sm|lockstep)/.test(n));

// Runs the named cases in order, all or those that match the command line, and says how long each took.
export async function cases(list) {
    const only = new RegExp(process.argv[2] ?? '');
    for (const [name, run] of Object.entries(list)) {
        if (!only.test(name)) continue;
        const begin = performance.now();
        const note = await run();
        console.log(`${name}: ${((performance.now() - begin) / 1000).toFixed(1)} s${note ? `; ${note}` : ''}`);
    }
}

// POSTs a streaming completion and collects what comes: {status, events, text, done, error, first,
// ended, abort()}.  `first` resolves with the first event, `ended` when the stream is over.
export async function openStream(server, body = {}) {
    const controller = new AbortController();
    const response = await post(server, '/v1/completions',
        {prompt: 'Call me Ishmael.', stream: true, ignore_eos: true, ...body}, {signal: controller.signal});
    const s = {status: response.status, events: [], text: '', done: false, error: null, abort: () => controller.abort()};
    let tellFirst;
    s.first = new Promise(resolve => { tellFirst = resolve; });
    const take = line => {
        if (line === 'data: [DONE]') return void (s.done = true);
        if (!line.startsWith('data: ')) return;
        const event = JSON.parse(line.slice(6));
        s.events.push(event);
        if (event.error) {
            s.error = event.error;
            s.errorAt = performance.now();
        }
        s.text += event.choices?.[0]?.text ?? '';
        tellFirst(event);
    };
    s.ended = (async () => {
        let rest = '';
        const decoder = new TextDecoder();
        try {
            for await (const bytes of response.body) {
                rest += decoder.decode(bytes, {stream: true});
                const lines = rest.split('\n');
                rest = lines.pop();
                lines.forEach(take);
            }
        } catch (e) {
            s.broken = e; // aborted here, or the connection ended
        }
        s.endedAt = performance.now();
        tellFirst(null);
    })();
    return s;
}

// A connection that keeps what it hears: {text, closed, socket, send(bytes), hears(pattern), ends()}.
export async function dial(server, {localAddress} = {}) {
    const c = {text: '', closed: false, socket: connect({port: server.port, host: '127.0.0.1', localAddress})};
    c.socket.on('data', d => { c.text += d.toString('latin1'); });
    c.socket.on('error', () => {});
    c.socket.on('close', () => { c.closed = true; });
    await new Promise((done, fail) => c.socket.once('connect', done).once('error', fail));
    c.send = bytes => c.socket.write(bytes);
    c.hears = (pattern, limitMs) => until(`the server says ${pattern} after ${JSON.stringify(c.text.slice(-300))}`, () => pattern.exec(c.text), limitMs);
    c.ends = limitMs => until(`the server closes after ${JSON.stringify(c.text.slice(-300))}`, () => c.closed, limitMs);
    return c;
}
// The bytes of a request for a completion.
export const completion = (body, {version = '1.1', headers = ''} = {}) => {
    const json = JSON.stringify({prompt: 'Call me', max_tokens: 5, temperature: 0, ...body});
    return `POST /v1/completions HTTP/${version}\r\nHost: h\r\nContent-Type: application/json\r\n${headers}Content-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`;
};
export const get = (path, headers = '') => `GET ${path} HTTP/1.1\r\nHost: h\r\n${headers}\r\n`;
// Resident bytes of the coordinator.
export const rss = server => +/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1] * 1024;
// A value of GET /metrics: metric(server, 'connections_ended_total{reason="idle"}').
export const metric = async (server, series) => {
    const line = (await (await fetch(`${server.url}/metrics`)).text()).split('\n').find(l => l.startsWith(`lockstep:${series} `));
    check(line, `there is no lockstep:${series}`);
    return +line.split(' ').at(-1);
};
