// SPDX-License-Identifier: MIT
// two_hosts.test.mjs: four ranks on two simulated hosts, the coordinator on a third, TCP between them, and the model
// file visible on one of the two only.
//
// A host is a network namespace with a name, a /dev/shm and a view of the files of its own; a bridge joins them.
// The model's path is an empty folder but for host a, which mounts the file there.  Needs root; says so and skips
// where namespaces cannot be made.
import {copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {cases, check, demo, equal, good, lockstep, mpiEnv, mpirun, openStream, run, scratch, serve, skip, tests, until} from './harness.mjs';
import {named, nothingLeft, ours, ranks, temporary} from './leftovers.mjs';

const name = `lt${process.pid}`, hosts = [`${name}a`, `${name}b`];
const net = `10.${200 + process.pid % 50}.${Math.floor(process.pid / 50) % 250}`;
const store = join(scratch, 'store'), shown = join(scratch, 'shown');
const model = join(shown, 'model.gguf'), agent = join(scratch, 'agent.sh'), hostfile = join(scratch, 'hosts');

const ip = line => spawnSync('ip', line.split(' '), {encoding: 'utf8'});
const must = line => {
    const r = ip(line);
    if (r.status !== 0) skip(`no namespaces can be made here: ip ${line}: ${r.error?.message ?? r.stderr.trim()}`);
};
function remove() {
    for (const h of hosts) {
        ip(`netns del ${h}`);
        ip(`link del ${h}`);
    }
    ip(`link del ${name}`);
}
function build() {
    process.on('exit', remove);
    must(`link add ${name} type bridge`);
    must(`addr add ${net}.254/24 dev ${name}`);
    must(`link set ${name} up`);
    hosts.forEach((h, i) => {
        must(`netns add ${h}`);
        must(`link add ${h} type veth peer name e0 netns ${h}`);
        must(`link set ${h} master ${name} up`);
        must(`-n ${h} addr add ${net}.${i + 1}/24 dev e0`);
        must(`-n ${h} link set e0 up`);
        must(`-n ${h} link set lo up`);
    });
    if (spawnSync('unshare', ['--uts', '--mount', 'true']).status !== 0) skip('no mount namespaces can be made here');
    mkdirSync(store);
    mkdirSync(shown);
    copyFileSync(demo, join(store, 'model.gguf'));
    // mpirun calls it as ssh: HOST COMMAND…
    writeFileSync(agent, `#!/bin/sh
host=$1; shift
exec ip netns exec "$host" unshare --uts --mount -- sh -c '
hostname "$1"; mount -t tmpfs tmpfs /dev/shm; [ "$1" != ${hosts[0]} ] || mount --bind ${store} ${shown}
exec sh -c "$2"' sh "$host" "$*"
`, {mode: 0o755});
    writeFileSync(hostfile, hosts.map(h => `${h} slots=2\n`).join(''));
}
build();

const mpi = ['--mca', 'plm_rsh_agent', agent, '--mca', 'oob_tcp_if_include', `${net}.0/24`, '--mca', 'btl', 'self,tcp',
    '--mca', 'btl_tcp_if_include', `${net}.0/24`];
const args = ['--model', model, '-n', '4', '--hostfile', hostfile, '--control-addr', `${net}.254`,
    ...mpi.flatMap(a => ['--launcher-arg', a])];
const prompt = 'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing ' +
    'particular to interest me on shore, I thought I would sail about a little and see the watery part of the world.';
const lines = text => text.trimEnd().split('\n').map(l => JSON.parse(l));

await cases({
    // Ranks that make up nodes of the tree of sums and such that do not, alone and with neighbours, in turns.
    async 'the same sums whatever the hosts'() {
        for (const [a, b, more = []] of [[1, 1], [2, 2], [3, 2], [1, 3], [2, 2, ['--map-by', 'node']], [3, 2, ['--map-by', 'node']]])
            await good('mpirun', [...mpirun(a + b).slice(1), '-H', `${hosts[0]}:${a},${hosts[1]}:${b}`, ...more, ...mpi,
                join(tests, 'test_allreduce')], {env: {...mpiEnv, OMP_NUM_THREADS: '1'}});
    },

    async 'the same log-probabilities as on one host'() {
        const there = await good(lockstep, ['eval', ...args, '--prompt', prompt, '--top', '256']);
        const here = await good(lockstep, ['eval', '-n', '4', '--prompt', prompt, '--top', '256', '--allreduce', 'tree']);
        for (const h of hosts) check(there.stderr.includes(`host ${h}: ranks`), `the banner does not name ${h}:\n${there.stderr}`);
        check(/transport [^;]*tcp/.test(there.stderr) && !/transport [^;]*vader/.test(there.stderr), `TCP only:\n${there.stderr}`);
        const a = lines(there.stdout), b = lines(here.stdout);
        equal(a.length, b.length, 'positions');
        let worst = 0;
        a.slice(0, -1).forEach((row, i) => {
            equal(row.token, b[i].token, 'tokens');
            const other = new Map(b[i].top);
            for (const [id, p] of row.top.slice(0, 200)) worst = Math.max(worst, Math.abs(p - (other.get(id) ?? -99)));
        });
        check(worst <= 0.01, `the largest difference is ${worst}`);
        await nothingLeft('eval on two hosts');
        return `largest difference ${worst}`;
    },

    async 'every byte is read once, by those who see the file'() {
        const j = JSON.parse((await good(lockstep, ['run', ...args, '--prompt', prompt, '--max-tokens', '8', '--json'])).stdout);
        equal(j.ranks.map(k => k.host), [hosts[0], hosts[0], hosts[1], hosts[1]], 'hosts of the ranks');
        equal(j.ranks.slice(2).map(k => k.file_bytes_read), [0, 0], 'bytes read where there is no file');
        const read = j.ranks.reduce((sum, k) => sum + k.file_bytes_read, 0), inspected = JSON.parse((await good(lockstep, ['inspect', '--json'])).stdout);
        check(read >= inspected.model.weight_bytes && read <= 1.02 * inspected.file_bytes, `${read} bytes were read of a file of ${inspected.file_bytes}`);
        await nothingLeft('run on two hosts');
    },

    async 'kill -9 of a rank on the other host, and of its orted'() {
        for (const victim of ['rank 3', 'orted']) {
            const server = await serve([...args, '--ctx', '65536']);
            const stream = await openStream(server, {max_tokens: 60000});
            await stream.first;
            const pid = victim === 'orted' ? named('orted').at(-1).pid : ranks().find(r => r.rank === 3).pid;
            const begin = performance.now();
            process.kill(pid, 'SIGKILL');
            await stream.ended;
            const told = performance.now() - begin;
            check(stream.error && !stream.done, 'the stream ends with an error event');
            await until('lockstep ends', () => server.child.exitCode !== null, 10000);
            equal(server.child.exitCode, 8, `exit code after ${victim} was killed:\n${server.log()}`);
            if (victim === 'rank 3') check(server.log().includes(`rank 3 on ${hosts[1]} was ended by signal 9`), `rank, host, signal:\n${server.log()}`);
            else check(/rank [0-3] on lt|mpirun/.test(server.log()), `a reason:\n${server.log()}`);
            check(told < 5000, `clients were told after ${told} ms`);
            if (victim === 'orted') { // only orted itself can clear its session folder on that host
                await until('all processes end', () => ours().length === 0, 5000);
                for (const f of readdirSync(temporary)) rmSync(join(temporary, f), {recursive: true});
            }
            await nothingLeft(`kill -9 of ${victim} on two hosts`);
        }
    },

    async 'a file that no host has'() {
        const r = await run(lockstep, ['run', ...args.with(1, `${model}.none`), '--prompt', 'x']);
        equal(r.code, 3, `exit code:\n${r.stderr}`);
        check(r.stderr.includes(`${model}.none`), r.stderr);
        await nothingLeft('a file that no host has');
    },
});
