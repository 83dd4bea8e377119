// SPDX-License-Identifier: MIT
// sampling.test.mjs: 20,000 draws at temperature 1 fit the distribution that `eval` shows, without
// cut-offs and with top_p 0.95 (chi-square).  Draws are first tokens of requests with different seeds
// and choices, so they also pass through n > 1.
import {check, equal, good, lockstep, post, serve} from '../e2e/harness.mjs';

const prompt = 'HAMLET:\nI pray you, s'; // the best 256 of 2,048 cover 0.99
const lines = (await good(lockstep, ['eval', '--prompt', prompt, '--top', '256', '--json', '-n', '2'])).stdout.trim().split('\n');
const top = JSON.parse(lines.at(-2)).top.map(([id, logprob]) => ({id, p: Math.exp(logprob)}));

const server = await serve(['-n', '2', '--max-batch', '64']);
async function draw(extra) {
    const counts = new Map();
    const perRequest = 16, requests = 20000 / perRequest;
    let next = 0;
    const worker = async () => {
        while (next < requests) {
            const seed = 1000 + next++;
            const r = await post(server, '/v1/completions', {prompt, max_tokens: 1, temperature: 1, n: perRequest, seed, logprobs: 0, ...extra});
            const body = await r.json();
            check(r.status === 200, JSON.stringify(body));
            for (const c of body.choices) {
                // A token with no text of its own (half a character, end of text) has no piece to count by.
                const key = c.logprobs.tokens[0] ?? '(none)';
                counts.set(key, (counts.get(key) ?? 0) + 1);
            }
        }
    };
    await Promise.all(Array.from({length: 8}, worker));
    return counts;
}
async function pieces(ids) {
    const r = JSON.parse((await good(lockstep, ['tokenize', '--json', '--decode', ids.join(' ')])).stdout);
    return r.pieces;
}
// Chi-square of observed counts against expected probabilities; everything rare is one bin.
function chiSquare(counts, expected, total) {
    let rest = total, restP = 1, chi = 0, bins = 0;
    for (const {piece, p} of expected) {
        if (p * total < 10) continue;
        const got = counts.get(piece) ?? 0;
        chi += (got - p * total) ** 2 / (p * total);
        rest -= got;
        restP -= p;
        bins++;
    }
    if (restP * total >= 5) chi += (rest - restP * total) ** 2 / (restP * total);
    else check(rest <= restP * total + 30, `${rest} draws outside the distribution, expected ${restP * total}`);
    return {chi, degrees: bins};
}
// The chi-square distribution's upper quantile (Wilson-Hilferty), z = 4: one false alarm in 30,000.
const limit = k => k * (1 - 2 / (9 * k) + 4 * Math.sqrt(2 / (9 * k))) ** 3;

const named = await pieces(top.map(t => t.id));
top.forEach((t, i) => { t.piece = named[i]; });

const all = await draw({});
const a = chiSquare(all, top, 20000);
console.log(`no cut-off: chi-square ${a.chi.toFixed(1)} with ${a.degrees} degrees, limit ${limit(a.degrees).toFixed(1)}`);
check(a.chi < limit(a.degrees), 'draws without cut-offs do not fit');

let mass = 0;
const kept = top.filter(t => { const before = mass; mass += t.p; return before < 0.95; });
check(mass >= 0.95, 'the best 256 do not cover 0.95');
const total = kept.reduce((s, t) => s + t.p, 0);
const cut = await draw({top_p: 0.95});
const b = chiSquare(cut, kept.map(t => ({...t, p: t.p / total})), 20000);
console.log(`top_p 0.95: chi-square ${b.chi.toFixed(1)} with ${b.degrees} degrees, limit ${limit(b.degrees).toFixed(1)}`);
check(b.chi < limit(b.degrees), 'draws with top_p do not fit');
check([...cut.keys()].length <= kept.length + 2, `top_p drew ${cut.size} different tokens, kept are ${kept.length}`);

// n = 4 gives four texts; the same seed gives the same text in any batch.
const four = await (await post(server, '/v1/completions', {prompt, max_tokens: 24, temperature: 1, n: 4, seed: 5})).json();
equal(new Set(four.choices.map(c => c.text)).size, 4, 'different texts for n = 4');
const one = async () => (await (await post(server, '/v1/completions', {prompt, max_tokens: 24, temperature: 1, seed: 9})).json()).choices[0].text;
const alone = await one();
const crowd = await Promise.all(Array.from({length: 8}, one));
equal(crowd, Array(8).fill(alone), 'texts of one seed in a batch');
equal(await server.stop(), 0, 'exit code');
