// SPDX-License-Identifier: MIT
// bench.test.mjs: `lockstep bench` on the demo model: every number is there and could be true.  No speed is asserted.
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {cases, check, equal, good, lockstep, mpiEnv, mpirun, run, scratch, until} from './harness.mjs';
import {nothingLeft} from './leftovers.mjs';

// Small: the limits are of no interest here.
const quick = ['--reps', '1', '--read-memory', '1M', '--prefill', '16', '--decode', '8', '-t', '1', '--log-level', 'warn'];
const bench = args => good(lockstep, ['bench', ...quick, ...args]);
const flat = (object, prefix = '') => Object.entries(object).flatMap(([k, v]) =>
    v !== null && typeof v === 'object' ? flat(v, `${prefix}${k}.`) : [[prefix + k, v]]);
const refused = (r, code, ...words) => {
    equal(r.code, code, `exit code: ${r.stderr}`);
    equal(r.stdout, '', 'standard output of a refusal');
    for (const w of words) check(r.stderr.includes(w), `"${w}" is missing: ${r.stderr}`);
};

function checkRow(r) {
    const text = JSON.stringify(r), per = ['median', 'min', 'max'];
    for (const [key, value] of flat(r)) check(value === true || value === false || (Number.isFinite(value) && value >= 0), `${key} of ${text}`);
    for (const key of ['prefill_tokens_per_s', 'decode_tokens_per_s']) {
        equal(Object.keys(r[key]), per, key);
        check(r[key].min > 0 && r[key].min <= r[key].median && r[key].median <= r[key].max, `${key} of ${text}`);
    }
    for (const key of ['ms_per_token', 'decode_gb_per_s', 'read_bandwidth_gb_per_s', 'prefill_gops', 'peak_gops', 'step_compute_ms',
        'speedup', 'efficiency', 'peak_rss_bytes', 'load_s', 'load_gb_per_s', 'prefill_samples', 'decode_samples']) check(r[key] > 0, `${key} of ${text}`);
    const step = r.step_compute_ms + r.step_wait_ms + r.step_wire_ms;
    check(Math.abs(1000 / r.decode_tokens_per_s.median * r.batch / r.ms_per_token - 1) < 1e-3, `ms_per_token of ${text}`);
    check(r.allreduce_bytes_per_token === 9 * 256 * 4 && Math.abs(r.allreduce_calls_per_token * r.batch - 9) < 1e-3, `all-reduce of ${text}`);
    check(r.peak_rss_bytes < 1e9 && r.peak_rss_bytes > 3e6, `memory of ${text}`);
    return step;
}

await cases({
    async 'rows'() {
        const json = join(scratch, 'bench.json'), csv = join(scratch, 'bench.csv');
        const r = await bench(['-n', '2,1', '--batch', '1,3', '--ctx-depth', '0,40', '--alternate', '--json', '--json-out', json, '--csv', csv]);
        const j = JSON.parse(r.stdout);
        equal(JSON.parse(readFileSync(json, 'utf8')), j, 'what --json-out writes');
        equal(Object.keys(j), ['machine', 'rows'], 'the JSON');
        equal(j.rows.map(k => [k.ranks, k.threads, k.ctx_depth, k.batch]),
            [2, 1].flatMap(n => [0, 40].flatMap(d => [1, 3].map(b => [n, 1, d, b]))), 'every combination, in order');
        for (const k of j.rows) checkRow(k);
        for (const k of j.rows.filter(k => k.ranks === 1)) equal([k.speedup, k.efficiency, k.prefill_efficiency], [1, 1, 1], 'the row that others are compared with');
        for (const k of j.rows.filter(k => k.ranks === 2)) check(Math.abs(k.efficiency * 2 / k.speedup - 1) < 1e-3, 'efficiency of twice the threads');
        const lines = readFileSync(csv, 'utf8').trimEnd().split('\n').map(l => l.split(','));
        equal(lines[0], flat(j.rows[0]).map(([k]) => k), 'columns of the CSV are the keys of the JSON');
        equal(lines.length, 9, 'lines of the CSV');
        lines.slice(1).forEach((l, i) => flat(j.rows[i]).forEach(([k, v], c) =>
            check(l[c] === String(v) || Math.abs(+l[c] / v - 1) < 1e-5 || +l[c] === v, `${k} in the CSV: ${l[c]}, in the JSON ${v}`)));
        const m = j.machine;
        for (const path of ['date', 'host.name', 'host.cpu.visible', 'host.cpu.caches', 'host.memory.total_bytes', 'host.kernel.release', 'host.load_average',
            'build.id', 'build.compiler', 'build.flags', 'mpi', 'transport', 'isa', 'model.path', 'model.identity', 'model.tensor_bytes_by_type', 'clusters'])
            check(path.split('.').reduce((o, k) => o?.[k], m) != null, `machine.${path}: ${JSON.stringify(m).slice(0, 1500)}`);
        equal(m.clusters.map(c => c.ranks.length), [2, 1], 'ranks of the clusters');
        for (const c of m.clusters) check(c.limits.read_gb_per_s > 0 && c.limits.int8_gops > 0 && c.limits.f32_gops > 0 && c.limits.read_memory_bytes > 5e5, JSON.stringify(c));
        await nothingLeft('rows');
    },

    async 'a step is no longer than it took'() {
        // The clock of a step runs in the ranks, that of a token outside.  Medians of several samples need not keep
        // this order, so it is asked of a row that stands on one.
        for (let tries = 0, seen = 0; seen === 0 && tries < 5; tries++) {
            const r = await bench(['--reps', '1', '--decode', '64', '--json']);
            const [k] = JSON.parse(r.stdout).rows, step = checkRow(k);
            if (k.decode_samples !== 1) continue;
            check(step <= 1.2 * k.ms_per_token, JSON.stringify(k));
            seen++;
        }
    },

    async 'a table, and progress beside it'() {
        const r = await good(lockstep, ['bench', ...quick, '--log-level', 'info']);
        const lines = r.stdout.trimEnd().split('\n');
        check(lines.length === 4 && /^ *1x1 /.test(lines[1]) && /limits [\d.]+ GB\/s/.test(lines[2]), r.stdout);
        check(/sample 1: prefill 16 tokens.*tokens\/s/.test(r.stderr) && /sample 1: decode 8 tokens/.test(r.stderr), r.stderr);
    },

    async 'kernels'() {
        const csv = join(scratch, 'kernels.csv');
        const j = JSON.parse((await bench(['--kernels', '-n', '2', '--json', '--csv', csv])).stdout);
        equal(Object.keys(j), ['machine', 'rows'], 'the JSON');
        const products = j.rows.filter(k => k.kernel.startsWith('matmul'));
        equal([...new Set(products.map(k => k.count))], [1, 8, 32, 128, 512], 'tokens');
        equal(products.length % 5, 0, 'every shape with every number of tokens');
        for (const k of products) check(k.type === 'Q8_0' && k.rows > 0 && k.cols > 0 && k.gops > 0, JSON.stringify(k));
        for (const name of ['rms_norm', 'add', 'quantize_row', 'silu_mul', 'rope_neox', 'attn_softmax', 'attn_scores_f16', 'attn_values_f16'])
            check(j.rows.some(k => k.kernel === name), `${name} is missing`);
        for (const k of j.rows) check(k.ranks === 2 && k.us.min > 0 && k.us.min <= k.us.median && k.us.median <= k.us.max && k.gb_per_s > 0 &&
            k.of_limit > 0 && ['read', 'int8', 'f32'].includes(k.limit), JSON.stringify(k));
        equal(readFileSync(csv, 'utf8').split('\n')[0].split(','), flat(j.rows[0]).map(([k]) => k), 'columns of the CSV');
    },

    async 'collectives'() {
        const json = join(scratch, 'collectives.json');
        const table = (await bench(['--collectives', '-n', '2', '--json-out', json])).stdout;
        const {machine, rows} = JSON.parse(readFileSync(json, 'utf8')), ways = [...new Set(rows.map(k => k.algorithm))];
        equal(machine.clusters.map(c => c.ranks.length), [2], 'clusters');
        check(ways.length >= 3, `ways: ${ways}`);
        for (const way of ways) {
            equal(rows.filter(k => k.algorithm === way).map(k => k.size), Array.from({length: 20}, (_, i) => 8 << i), `sizes of ${way}`);
            check(table.includes(`# all-reduce, ${way}, 2 ranks\n# Size  `), table);
        }
        for (const k of rows) check(k.ranks === 2 && k.min_latency_us > 0 && k.min_latency_us <= k.avg_latency_us && k.avg_latency_us <= k.max_latency_us &&
            Math.abs(k.size / k.avg_latency_us / k.bandwidth_mb_per_s - 1) < 1e-3 && k.iterations > 0, JSON.stringify(k));
        refused(await run(lockstep, ['bench', '--collectives']), 2, '-n 2 or more');
    },

    async 'under mpirun'() {
        const start = (n, args) => run(mpirun(n)[0], [...mpirun(n).slice(1), lockstep, 'bench', ...quick, ...args], {env: mpiEnv});
        const r = await start(2, ['--json']);
        equal(r.code, 0, r.stderr);
        const {rows} = JSON.parse(r.stdout);
        equal([rows.length, rows[0].ranks], [1, 2], 'rows of the ranks that are there');
        checkRow(rows[0]);
        refused(await start(2, ['-n', '1,2']), 2, 'mpirun started 2 ranks');
        await nothingLeft('mpirun');
    },

    async 'refusals come before any cluster'() {
        refused(await run(lockstep, ['bench', '--ctx-depth', '1M']), 13, '1048', 'trained for');
        refused(await run(lockstep, ['bench', '--ctx-depth', '100', '--ctx', '64']), 13, '--ctx allows 64');
        refused(await run(lockstep, ['bench', '-n', '1,9']), 5, '9', '8');
        refused(await run(lockstep, ['bench', '--model', '/no/such.gguf']), 3, '/no/such.gguf');
        refused(await run(lockstep, ['bench', '--batch', '0']), 2, '--batch 0');
    },

    async 'Ctrl-C'() {
        const child = spawn(lockstep, ['bench', '--reps', '500', '--read-memory', '1M', '-n', '2'], {stdio: ['ignore', 'pipe', 'pipe']});
        let log = '';
        child.stderr.on('data', d => { log += d; });
        await until('a sample', () => log.includes('sample 1: '));
        child.kill('SIGINT');
        const [code] = await once(child, 'close');
        equal(code, 130, log);
        check(log.includes('stopped by Ctrl-C'), log);
        await nothingLeft('Ctrl-C');
    },
});
