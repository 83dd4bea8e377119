// SPDX-License-Identifier: MIT
// shapes.test.mjs: models of many shapes and all types, from the fixture generator, judged by llama.cpp.
//
// The weights are random, so both engines' 8-bit activations move log-probabilities by a few
// hundredths; a mistake in a cut, a mask or a kernel moves them by whole units.
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {check, good, lockstep, needShared, run, scratch, skip, source, tests} from '../e2e/harness.mjs';

const here = join(source, 'tests/golden');
const oracle = needShared('tools/oracle.mjs');
if (!existsSync(join(here, 'node_modules/node-llama-cpp'))) skip('node-llama-cpp is not installed in tests/golden (tests/run.sh does it)');

const text = 'The quick brown fox jumps over the lazy dog, 1234567 times.';
const shape = {
    'gqa-1-kv-head': ['--dim', '320', '--heads', '5', '--kv-heads', '1', '--head-dim', '64', '--ffn', '864'],
    'seven-heads': ['--dim', '448', '--heads', '7', '--kv-heads', '7', '--head-dim', '64', '--ffn', '1000'],
    'head-dim-80': ['--dim', '512', '--heads', '4', '--kv-heads', '2', '--head-dim', '80', '--ffn', '1376', '--rope-freqs'],
    'head-dim-128-tied': ['--dim', '512', '--heads', '4', '--kv-heads', '2', '--head-dim', '128', '--ffn', '1280', '--tied'],
    'qwen2': ['--arch', 'qwen2', '--dim', '512', '--heads', '8', '--kv-heads', '2', '--ffn', '1536'],
    'qwen2-tied': ['--arch', 'qwen2', '--dim', '448', '--heads', '7', '--kv-heads', '1', '--ffn', '1216', '--tied'],
};
const types = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q4_K', 'Q5_K', 'Q6_K', 'Q4_K_M'];
// [shape, type, ranks…]: every type once at an uneven cut, every shape with the common types.
const cases = [
    ...types.map(t => ['head-dim-128-tied', t, 1, 3]),
    ...['F16', 'Q8_0', 'Q4_0'].flatMap(t => [['gqa-1-kv-head', t, 1, 2, 5], ['seven-heads', t, 3, 7], ['qwen2-tied', t, 2, 3]]),
    ...['F16', 'Q4_0', 'Q4_K_M'].flatMap(t => [['head-dim-80', t, 1, 3], ['qwen2', t, 1, 5]]),
];
const rmsLimit = type => ({F32: 0.02, F16: 0.05, BF16: 0.1}[type] ?? 0.3);
const lines = s => s.trim().split('\n').map(l => JSON.parse(l));

for (const [name, type, ...ranks] of cases) {
    const file = join(scratch, `${name}-${type}.gguf`);
    await good(join(tests, 'make_model'), ['--out', file, ...shape[name], '--layers', '3', '--vocab', '1000', '--ctx', '256', '--type', type, '--seed', '11']);
    const judge = await run('node', [oracle, 'logits', file, text, '10'], {env: {PWD: here}, cwd: here});
    check(judge.code === 0, `the oracle refuses ${file}: ${judge.stderr}`);
    const want = lines(judge.stdout);
    for (const n of ranks) {
        const ours = lines((await good(lockstep, ['eval', '--model', file, '--prompt', text, '--top', '256', '--json', '-n', String(n)])).stdout);
        check(ours.length === want.length + 1, `${name} ${type}: ${ours.length - 1} positions, the oracle has ${want.length}`);
        let squares = 0, count = 0;
        want.forEach((w, i) => {
            const got = new Map(ours[i].top);
            for (const [id, logprob] of w.top) {
                check(got.has(id), `${name} ${type} -n ${n}: position ${i}, token ${id} is not among the best 256`);
                squares += (got.get(id) - logprob) ** 2;
                count++;
            }
        });
        const rms = Math.sqrt(squares / count);
        console.log(`${name} ${type} -n ${n}: RMS ${rms.toFixed(4)} from llama.cpp (${rmsLimit(type)})`);
        check(rms <= rmsLimit(type), `${name} ${type} -n ${n}: RMS ${rms}`);
    }
}
