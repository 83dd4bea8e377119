// SPDX-License-Identifier: MIT
// leftovers.mjs: which processes a test has started, and what they must not leave behind.
//
// Importing this file gives every program that the test starts from then on a mark in its environment,
// which ranks inherit, and folders of its own for temporary files.  So a test sees and kills only what
// is its own, even while other jobs of the same user run on the machine.
import {existsSync, mkdirSync, readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import {sanitized, scratch, sharedMemoryFiles, until} from './harness.mjs';

// Short names: a Unix socket has room for 107 bytes, and Open MPI puts one below its TMPDIR.
export const temporary = join(scratch, 't');
export const runtime = join(scratch, 'r');
mkdirSync(temporary, {mode: 0o700});
mkdirSync(runtime, {mode: 0o700});

const markName = 'LOCKSTEP_TEST_MARK';
const mark = `${process.pid}-${Math.random().toString(36).slice(2)}`;
process.env[markName] = mark;
process.env.TMPDIR = temporary;
process.env.XDG_RUNTIME_DIR = runtime;

const read = path => {
    try {
        return readFileSync(path, 'utf8');
    } catch {
        return ''; // it has ended, or is not ours to read
    }
};
const list = path => {
    try {
        return readdirSync(path);
    } catch {
        return [];
    }
};
const environment = pid => Object.fromEntries(read(`/proc/${pid}/environ`).split('\0')
    .map(e => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)]));

// Every process that carries this test's mark: {pid, name, parent, env, started}.  No zombies.
export function ours() {
    const found = [];
    for (const pid of list('/proc')) {
        if (!/^\d+$/.test(pid) || +pid === process.pid) continue;
        const env = environment(pid);
        if (env[markName] !== mark) continue;
        const stat = read(`/proc/${pid}/stat`), end = stat.lastIndexOf(')');
        const fields = stat.slice(end + 2).split(' ');
        if (!stat || fields[0] === 'Z') continue;
        found.push({pid: +pid, name: stat.slice(stat.indexOf('(') + 1, end), parent: +fields[1],
            cpuTicks: +fields[11] + +fields[12], env});
    }
    return found;
}
// The ranks among them, by rank: {rank, pid, …}.
export const ranks = () => ours().filter(p => p.env.OMPI_COMM_WORLD_RANK && read(`/proc/${p.pid}/cmdline`).includes('lockstep-worker'))
    .map(p => ({...p, rank: +p.env.OMPI_COMM_WORLD_RANK})).sort((a, b) => a.rank - b.rank);
export const named = name => ours().filter(p => p.name === name);
// Waits until n ranks have been started.
export const someRanks = n => until(`${n} ranks run`, () => {
    const found = ranks();
    return found.length === n && found;
});

// Shared memory that our processes hold, so that what stays of it is known for ours.
const segments = new Set();
export function noteSegments() {
    for (const p of ours())
        for (const [path] of read(`/proc/${p.pid}/maps`).matchAll(/\/dev\/shm\/\S+/g)) segments.add(path);
    return segments.size;
}
// Files there when the test began, and files that somebody maps, are not left by us.
const before = new Set(sharedMemoryFiles());
function orphans() {
    const fresh = sharedMemoryFiles().filter(f => !before.has(f));
    if (fresh.length === 0) return [];
    const maps = list('/proc').filter(pid => /^\d+$/.test(pid)).map(pid => read(`/proc/${pid}/maps`)).join('');
    return fresh.filter(f => !maps.includes(f));
}

// What is left: processes, shared memory, temporary files.
function remains() {
    const processes = ours().map(p => `process ${p.pid} (${p.name})`);
    const memory = [...new Set([...[...segments].filter(existsSync), ...orphans()])];
    const folders = [...list(runtime).map(f => join(runtime, f)),
        ...list(temporary).flatMap(f => f.startsWith('ompi.') ? list(join(temporary, f)).map(g => join(temporary, f, g))
            : [join(temporary, f)])];
    return [...processes, ...memory, ...folders];
}
// Nothing is left of anything that the test has started, within `limitMs`.  Returns how long it took.
export async function nothingLeft(what, limitMs = 5000) {
    const begin = performance.now();
    let left = [];
    await until('', () => (left = remains()).length === 0, limitMs * (sanitized ? 4 : 1)).catch(() => {
        throw new Error(`${what}: left behind after ${limitMs} ms: ${left.join(', ')}`);
    });
    return performance.now() - begin;
}

// However a test ends, its processes end with it.
function killOurs() {
    for (const p of ours()) try { process.kill(p.pid, 'SIGKILL'); } catch {}
}
process.on('exit', killOurs);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

// Something that must be quick is tried again when it was not: the machine may have been busy.  A
// program that waits for a time-out is slow every time.
export async function within(limitMs, what, attempt) {
    const limit = limitMs * (sanitized ? 5 : 1), took = [];
    for (let i = 0; i < 3; i++) {
        const begin = performance.now();
        const result = await attempt();
        const ms = result?.ms ?? performance.now() - begin;
        took.push(Math.round(ms));
        if (ms <= limit) return result;
    }
    throw new Error(`${what}: took ${took.join(', ')} ms, expected at most ${limit}`);
}
