// SPDX-License-Identifier: MIT
// join.test.mjs: `lockstep serve --wait` and a job of lockstep-worker that somebody else has started.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {bin, cases, check, equal, good, lockstep, mpiEnv, mpirun, openStream, post, run, scratch, serve, sleep, until} from './harness.mjs';
import {noteSegments, nothingLeft, someRanks} from './leftovers.mjs';

const worker = join(bin, 'lockstep-worker');
const secret = 'a1b2c3d4e5f60718293a4b5c6d7e8f90';
const prompt = 'Call me Ishmael.';

async function waiting(args, env = {}) {
    const server = await serve(['--wait', '-n', '2', '--control-addr', '127.0.0.1:0', ...args], {env, waitReady: false});
    const found = await until('it says where it waits', () => /--coordinator (127\.0\.0\.1:\d+)/.exec(server.log()));
    return {server, address: found[1]};
}
function startWorkers(n, args, env = {}) {
    const [program, ...rest] = mpirun(n);
    const child = spawn(program, [...rest, worker, ...args], {env: {...process.env, ...mpiEnv, ...env}, stdio: ['ignore', 'pipe', 'pipe']});
    const job = {child, log: '', ended: once(child, 'close')};
    child.stdout.on('data', d => { job.log += d; });
    child.stderr.on('data', d => { job.log += d; });
    return job;
}
const ready = (server, job) => until('the workers have joined', async () => {
    check(server.child.exitCode === null, `serve ended:\n${server.log()}`);
    check(job.child.exitCode === null, `the workers ended:\n${job.log}`);
    return (await fetch(`${server.url}/ready`)).status === 200;
});
async function completion(server) {
    const r = await post(server, '/v1/completions', {prompt, max_tokens: 24, temperature: 0});
    equal(r.status, 200, 'status of a completion');
    return (await r.json()).choices[0].text;
}
async function joins(server, job) {
    await ready(server, job);
    noteSegments();
    const text = await completion(server);
    const expected = (await good(lockstep, ['run', '-n', '2', '--prompt', prompt, '--max-tokens', '24'])).stdout;
    equal(text, expected, 'the text of ranks that joined');
    equal(await server.stop(), 0, 'exit code of serve');
    equal((await job.ended)[0], 0, `exit code of the workers' mpirun:\n${job.log}`);
    await nothingLeft('a job that joined');
}

await cases({
    async 'secret from a file'() {
        const file = join(scratch, 'secret');
        const {server, address} = await waiting(['--secret-file', file]);
        equal(statSync(file).mode & 0o777, 0o600, 'mode of the secret file that was made');
        check(/^[0-9a-f]{32,}\n$/.test(readFileSync(file, 'utf8')), 'the secret file holds hex digits');
        equal((await fetch(`${server.url}/ready`)).status, 503, '/ready before anybody has joined');
        equal((await post(server, '/v1/completions', {prompt})).status, 503, 'a completion before anybody has joined');
        await joins(server, startWorkers(2, ['--coordinator', address, '--secret-file', file]));
    },

    async 'secret from the environment, workers first'() {
        const env = {LOCKSTEP_SECRET: secret};
        // find a port, leave it, start the workers, and only then who they look for
        const probe = await waiting([], env);
        await probe.server.stop('SIGINT');
        const job = startWorkers(2, ['--coordinator', probe.address], env);
        await someRanks(2);
        const server = await serve(['--wait', '-n', '2', '--control-addr', probe.address], {env, waitReady: false});
        await joins(server, job);
    },

    async 'a wrong secret'() {
        const {server, address} = await waiting([], {LOCKSTEP_SECRET: secret});
        const job = startWorkers(2, ['--coordinator', address], {LOCKSTEP_SECRET: secret.replace('a', 'b')});
        check((await job.ended)[0] !== 0, 'workers with a wrong secret end with an error');
        check(/coordinator/.test(job.log), `they say why: ${job.log}`);
        equal(server.child.exitCode, null, 'the coordinator waits on');
        await joins(server, startWorkers(2, ['--coordinator', address], {LOCKSTEP_SECRET: secret}));
    },

    async 'a job of another size'() {
        const {server, address} = await waiting([], {LOCKSTEP_SECRET: secret});
        const job = startWorkers(3, ['--coordinator', address], {LOCKSTEP_SECRET: secret});
        equal((await job.ended)[0], 7, `exit code of three workers where two are awaited:\n${job.log}`);
        equal((await server.ended)[0], 7, `exit code of serve:\n${server.log()}`);
        for (const log of [job.log, server.log()]) check(/\b3\b/.test(log) && /\b2\b/.test(log), `both numbers: ${log}`);
        await nothingLeft('a job of another size');
    },

    async 'a worker that is killed'() {
        const {server, address} = await waiting(['--ctx', '65536'], {LOCKSTEP_SECRET: secret});
        const job = startWorkers(2, ['--coordinator', address], {LOCKSTEP_SECRET: secret});
        await ready(server, job);
        const stream = await openStream(server, {max_tokens: 60000});
        await stream.first;
        noteSegments();
        process.kill((await someRanks(2))[1].pid, 'SIGKILL');
        await stream.ended;
        check(stream.error && !stream.done, 'the stream ends with an error event');
        equal((await server.ended)[0], 8, `exit code of serve:\n${server.log()}`);
        check(/rank 1 on \S+/.test(server.log()), `rank and host: ${server.log()}`);
        check((await job.ended)[0] !== 0, 'exit code of the workers\' mpirun');
        await nothingLeft('a worker that is killed');
    },

    async 'the coordinator is killed'() {
        const {server, address} = await waiting([], {LOCKSTEP_SECRET: secret});
        const job = startWorkers(2, ['--coordinator', address], {LOCKSTEP_SECRET: secret});
        await ready(server, job);
        noteSegments();
        server.child.kill('SIGKILL');
        equal((await job.ended)[0], 8, `exit code of the workers' mpirun:\n${job.log}`);
        await nothingLeft('a coordinator that is killed');
    },

    async 'nobody to join'() {
        const r = await run(mpirun(1)[0], [...mpirun(1).slice(1), worker, '--coordinator', '127.0.0.1:1'], {env: {...mpiEnv, LOCKSTEP_SECRET: secret}});
        equal(r.code, 9, `exit code:\n${r.stderr}`);
        check(r.stderr.includes('127.0.0.1:1'), r.stderr);
        const {server} = await waiting([], {LOCKSTEP_SECRET: secret});
        await sleep(300);
        equal(await server.stop('SIGINT'), 0, 'exit code of a serve that waits and is interrupted');
        for (const [args, env] of [[['--wait'], {}], [['--wait', '--secret-file', join(scratch, 'short')], {}], [['--wait'], {LOCKSTEP_SECRET: 'xyz'}]]) {
            writeFileSync(join(scratch, 'short'), 'abc\n');
            const bad = await run(lockstep, ['serve', '--port', '0', '--control-addr', '127.0.0.1', ...args], {env});
            equal(bad.code, 2, `exit code with a bad secret: ${bad.stderr}`);
            check(/secret/.test(bad.stderr), bad.stderr);
        }
        await nothingLeft('nobody to join');
    },
});
