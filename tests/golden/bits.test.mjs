// SPDX-License-Identifier: MIT
// bits.test.mjs: the same bits at a given N, whatever the chunks of the prompt, the batch and
// the threads; and the same text across N but for near ties.
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {check, equal, good, lockstep, needShared, post, serve} from '../e2e/harness.mjs';

const types = ['f16', 'q8_0', 'q4_0', 'q4_k_m'];
const text = readFileSync(needShared('golden/demo-q8_0.prose.exact.jsonl'), 'utf8').split('\n')[0];
const prompt = JSON.parse(text).prompt.slice(0, 400);
const model = type => needShared(join('models', `demo-${type}.gguf`));

// Five decimals of the ten best at every position: any change of a bit in the last layer shows.
const evalText = async (type, args) =>
    (await good(lockstep, ['eval', '--model', model(type), '--prompt', prompt, '--top', '20', '--json', ...args])).stdout;

for (const type of types) {
    for (const n of [1, 3]) {
        const base = ['-n', String(n)];
        const want = await evalText(type, [...base, '-t', '1', '--chunk-tokens', '64']);
        for (const args of [['-t', '1', '--chunk-tokens', '1'], ['-t', '1', '--chunk-tokens', '7'], ['-t', '2', '--chunk-tokens', '64'],
            ['-t', '2', '--chunk-tokens', '7']])
            equal(await evalText(type, [...base, ...args]) === want, true, `${type} -n ${n} ${args.join(' ')} gives the same output`);
    }
    console.log(`${type}: the same for chunks of 1, 7 and 64 tokens, with 1 and 2 threads`);
}

// Decoded alone or in a batch of 8, 32 or 64: full-precision log-probabilities of the API must be equal.
for (const type of types) {
    const server = await serve(['--model', model(type), '-n', '2', '--max-batch', '64']);
    const ask = async seed => {
        const r = await post(server, '/v1/completions', {prompt: prompt.slice(seed * 3, 60 + seed * 4), max_tokens: 40, temperature: 0.8,
            seed, logprobs: 5, ignore_eos: true});
        const body = await r.json();
        check(r.status === 200, JSON.stringify(body));
        return body.choices[0];
    };
    const alone = [];
    for (let seed = 0; seed < 64; seed++) alone.push(await ask(seed));
    for (const batch of [8, 32, 64]) {
        const together = await Promise.all(alone.slice(0, batch).map((_, seed) => ask(seed)));
        for (let seed = 0; seed < batch; seed++) equal(together[seed], alone[seed], `${type}: request ${seed} in a batch of ${batch}`);
    }
    equal(await server.stop(), 0, 'exit code');
    console.log(`${type}: the same alone and in batches of 8, 32 and 64`);
}

// Across N greedy texts part only at near ties.
for (const type of types) {
    const texts = {};
    for (const n of [1, 2, 3, 4, 5, 8]) {
        const r = await good(lockstep, ['run', '--json', '--model', model(type), '--prompt', 'Call me Ishmael.', '--max-tokens', '80',
            '--logprobs', '2', '-n', String(n)]);
        texts[n] = JSON.parse(r.stdout).tokens;
    }
    for (const n of [2, 3, 4, 5, 8]) {
        const at = texts[1].findIndex((t, i) => texts[n][i]?.id !== t.id);
        if (at < 0) continue;
        const [a, b] = texts[1][at].top;
        check(Math.abs(a[1] - b[1]) < 0.05, `${type}: N = 1 and N = ${n} part at token ${at}, where the margin is ${a[1] - b[1]}`);
        console.log(`${type}: N = 1 and N = ${n} part at token ${at}, a near tie (${(a[1] - b[1]).toFixed(4)})`);
    }
    console.log(`${type}: greedy texts agree across N`);
}
