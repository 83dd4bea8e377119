// SPDX-License-Identifier: MIT
// prefix.test.mjs: what is found in the prefix cache changes nothing but the time: the same bits for quantised
// models with and without a hit, at every N, on all ranks alike, for everything that may follow a prompt.
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {check, equal, needShared, post, serve} from '../e2e/harness.mjs';

const BLOCK = 32; // KV_BLOCK_TOKENS
const line = readFileSync(needShared('golden/demo-q8_0.prose.exact.jsonl'), 'utf8').split('\n')[0];
const text = JSON.parse(line).prompt;
const standard = {max_tokens: 30, temperature: 0.8, seed: 5, logprobs: 5, ignore_eos: true};

// What is asked in turn, and how many tokens of its prompt must come from the cache (p: tokens of the prompt).
const whole = p => Math.floor((p - 1) / BLOCK) * BLOCK;
const questions = [
    ['first', {prompt: text.slice(0, 400)}, () => 0],
    ['the same', {prompt: text.slice(0, 400)}, whole],
    ['another end', {prompt: text.slice(0, 350) + ' Then he said'}, (p, tokens) => Math.floor((tokens(text.slice(0, 350)) - 1) / BLOCK) * BLOCK],
    ['another beginning', {prompt: 'No. ' + text.slice(0, 400)}, () => 0],
    ['several choices', {prompt: text.slice(100, 500), n: 4}, () => 0],
    ['several choices again', {prompt: text.slice(100, 500), n: 4}, whole],
    ['penalties', {prompt: text.slice(0, 400), frequency_penalty: 0.7, repeat_penalty: 1.1}, whole],
    ['echo with log-probabilities', {prompt: text.slice(0, 400), echo: true}, () => 0],
    ['echo again', {prompt: text.slice(0, 400), echo: true, max_tokens: 0}, () => 0],
];

async function ask(server, body) {
    const r = await post(server, '/v1/completions', {...standard, ...body});
    const answer = await r.json();
    check(r.status === 200, JSON.stringify(answer));
    return answer;
}

const countTokens = async (server, prompt) => (await ask(server, {prompt, max_tokens: 1})).usage.prompt_tokens;

for (const type of ['q8_0', 'q4_0', 'q4_k_m']) {
    const model = needShared(join('models', `demo-${type}.gguf`));
    for (const n of [1, 2, 3]) {
        const base = ['--model', model, '-n', String(n), '--check-ranks'];
        const plain = await serve([...base, '--prefix-cache', 'off', '--chunk-tokens', '50']);
        const server = await serve(base);
        const lengths = new Map();
        for (const [, body] of questions) lengths.set(body.prompt, await countTokens(plain, body.prompt));
        lengths.set(text.slice(0, 350), await countTokens(plain, text.slice(0, 350)));
        for (const [name, body, cached] of questions) {
            const want = await ask(plain, body), got = await ask(server, body);
            equal(got.choices, want.choices, `${type} -n ${n} ${name}: choices`);
            equal(want.usage.prompt_tokens_details.cached_tokens, 0, `${type} -n ${n} ${name}: cached tokens without a cache`);
            equal(got.usage.prompt_tokens_details.cached_tokens, cached(want.usage.prompt_tokens, p => lengths.get(p)),
                `${type} -n ${n} ${name}: cached tokens of ${want.usage.prompt_tokens}`);
        }
        // The next turn of a conversation begins with the prompt and the answer before.
        const turn = await ask(server, {prompt: text.slice(0, 400), max_tokens: 60, temperature: 0});
        const next = {prompt: text.slice(0, 400) + turn.choices[0].text + ' And then', temperature: 0};
        const want = await ask(plain, next), got = await ask(server, next);
        equal(got.choices, want.choices, `${type} -n ${n} the next turn: choices`);
        check(got.usage.prompt_tokens_details.cached_tokens > turn.usage.prompt_tokens,
            `the next turn found ${got.usage.prompt_tokens_details.cached_tokens} tokens`);
        equal([await plain.stop(), await server.stop()], [0, 0], 'exit codes');
    }
    console.log(`${type}: the same bits from the cache at N = 1, 2 and 3`);
}
