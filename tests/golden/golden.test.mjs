// SPDX-License-Identifier: MIT
// golden.test.mjs: `eval` of the demo models against log-probabilities that others computed.
//
// The four marks, over the listed tokens with log-probability above -12: (1) the largest difference
// from the float64 reference within `tolerance`; (2) the RMS distance at most 1.1 times llama.cpp's
// + 0.002; (3) the same best token wherever the reference's margin exceeds the tolerance; (4)
// perplexity within 0.3 % (f16, q8_0) or 1 % (q4_0, q4_k_m).
//
// usage: node golden.test.mjs ranks|mpirun|isa|f32kv
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {check, good, lockstep, mpiEnv, mpirun, needShared} from '../e2e/harness.mjs';

const types = ['f16', 'q8_0', 'q4_0', 'q4_k_m'];
const prompts = ['short', 'prose', 'play'];
needShared('golden');

const lines = text => text.trim().split('\n').map(l => JSON.parse(l));
const reference = (type, prompt) => {
    const [head, ...rows] = lines(readFileSync(needShared(join('golden', `demo-${type}.${prompt}.exact.jsonl`)), 'utf8'));
    return {head, rows};
};

function distance(ours, rows) {
    let worst = 0, squares = 0, n = 0, wrongBest = [];
    rows.forEach((want, i) => {
        check(ours[i].position === want.position && ours[i].token === want.token, `token ids differ at position ${i}`);
        const got = new Map(ours[i].top);
        for (const [id, logprob] of want.top) {
            if (logprob <= -12) continue;
            check(got.has(id), `position ${i}: token ${id} (${logprob}) is not among the best 256`);
            const d = Math.abs(got.get(id) - logprob);
            worst = Math.max(worst, d);
            squares += d * d;
            n++;
        }
        wrongBest.push({margin: want.top[0][1] - want.top[1][1], same: want.top[0][0] === ours[i].top[0][0], i});
    });
    return {worst, rms: Math.sqrt(squares / n), wrongBest};
}

async function judge(type, prompt, {n = 1, way = 'launch', env = {}, args = [], tolerance, label}) {
    const {head, rows} = reference(type, prompt);
    const model = needShared(`models/demo-${type}.gguf`);
    const command = ['eval', '--model', model, '--prompt', head.prompt, '--top', '256', '--json', ...args];
    const r = way === 'launch' ? await good(lockstep, [...command, '-n', String(n)], {env})
        : await good(mpirun(n)[0], [...mpirun(n).slice(1), lockstep, ...command], {env: {...mpiEnv, ...env}});
    const ours = lines(r.stdout), last = ours.pop();
    check(ours.length === rows.length && last.tokens === rows.length, `${label}: ${ours.length} positions, expected ${rows.length}`);
    const {worst, rms, wrongBest} = distance(ours, rows);
    const limit = tolerance ?? head.tolerance;
    const off = 100 * Math.abs(last.perplexity / head.perplexity - 1);
    const offLimit = /^q4/.test(type) ? 1 : 0.3;
    console.log(`${label} ${type}.${prompt}: worst ${worst.toFixed(4)} (${limit}), rms ${rms.toFixed(5)} ` +
        `(llama.cpp ${head.rms_of_llamacpp}), perplexity off by ${off.toFixed(3)} %`);
    check(worst <= limit, `${label} ${type}.${prompt}: largest difference ${worst} > ${limit}`);
    check(rms <= 1.1 * head.rms_of_llamacpp + 0.002, `${label} ${type}.${prompt}: RMS ${rms} against ${head.rms_of_llamacpp}`);
    for (const b of wrongBest) check(b.same || b.margin <= head.tolerance, `${label} ${type}.${prompt}: another best token at ${b.i}`);
    check(off <= offLimit, `${label} ${type}.${prompt}: perplexity ${last.perplexity}, expected ${head.perplexity}`);
}

const modes = {
    async ranks() {
        for (const n of [1, 2, 3, 4, 5, 8])
            for (const type of types)
                for (const prompt of prompts) await judge(type, prompt, {n, label: `-n ${n}`});
    },
    async mpirun() {
        for (const n of [1, 2, 3, 4, 5, 8])
            for (const type of types) await judge(type, 'prose', {n, way: 'mpirun', label: `mpirun -n ${n}`});
    },
    async isa() {
        for (const isa of ['reference', 'avx2', 'avx512-vnni', 'neon-dotprod']) {
            const probe = await good(lockstep, ['eval', '--prompt', 'probe', '-n', '1'], {env: {LOCKSTEP_ISA: isa}}).catch(e => e);
            if (probe instanceof Error) {
                check(/LOCKSTEP_ISA/.test(probe.message), `${isa}: ${probe.message}`);
                console.log(`this machine cannot run ${isa}`);
                continue;
            }
            for (const n of [1, 3])
                for (const type of types) await judge(type, 'prose', {n, env: {LOCKSTEP_ISA: isa}, label: `${isa} -n ${n}`});
        }
    },
    async f32kv() {
        for (const n of [1, 2, 5])
            for (const prompt of prompts)
                await judge('f16', prompt, {n, args: ['--kv-type', 'f32'], tolerance: 0.002, label: `f32 KV -n ${n}`});
    },
};
await modes[process.argv[2]]();
