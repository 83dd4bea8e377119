// SPDX-License-Identifier: MIT
// memory.test.mjs: a 1.1-billion-parameter Q4_0 model over four ranks: what a rank holds, what it peaks at, and what
// is read from the file.  The speed is printed; only a floor against accidents is asserted.
import {statSync} from 'node:fs';
import {freemem} from 'node:os';
import {join} from 'node:path';
import {cases, check, good, runJson, scratch, skip, tests} from './harness.mjs';
import {nothingLeft} from './leftovers.mjs';

const MB = 1e6;
if (freemem() < 4e9) skip('less than 4 GB of memory are free');
const model = join(scratch, 'big.gguf');
await good(join(tests, 'make_model'), ['--out', model, '--preset', 'tinyllama-1.1b', '--type', 'Q4_0']);
const file = statSync(model).size;
const run = args => runJson(['--model', model, '--prompt', 'The quick brown fox jumps over the lazy dog.', '--ignore-eos', '--ctx', '512', ...args]);

await cases({
    async 'four ranks'() {
        const j = await run(['-n', '4', '-t', '1', '--max-tokens', '16']);
        for (const k of j.ranks) {
            check(k.weight_bytes <= 1.1 * file / 4, `rank ${k.rank} holds ${k.weight_bytes} bytes of weights, a quarter of the file are ${file / 4}`);
            check(k.weight_bytes >= 0.7 * file / 4, `rank ${k.rank} holds ${k.weight_bytes} bytes of weights only`);
            const limit = k.weight_bytes + k.kv_bytes + 150 * MB;
            check(k.peak_rss_bytes <= limit, `rank ${k.rank} peaked at ${k.peak_rss_bytes} bytes, the limit is ${limit}`);
        }
        const read = j.ranks.reduce((sum, k) => sum + k.file_bytes_read, 0);
        check(read <= 1.02 * file, `${read} bytes were read from a file of ${file}`);
        check(read >= 0.98 * file, `only ${read} bytes were read from a file of ${file}`);
        await nothingLeft('four ranks');
        const over = Math.max(...j.ranks.map(k => k.peak_rss_bytes - k.weight_bytes - k.kv_bytes));
        return `weights ${j.ranks.map(k => (k.weight_bytes / MB).toFixed(0)).join(', ')} MB of a quarter of ${(file / 4 / MB).toFixed(0)} MB; ` +
            `peak at most ${(over / MB).toFixed(0)} MB above weights and KV; read ${(read / file).toFixed(4)} of the file`;
    },
    async 'speed'() {
        const notes = [];
        for (const args of [['-n', '1', '-t', '2'], ['-n', '2', '-t', '1']]) {
            const j = await run([...args, '--max-tokens', '48']);
            check(j.timings.predicted_per_second >= 3, `${args.join(' ')}: ${j.timings.predicted_per_second} tokens/s`);
            notes.push(`${args.join(' ')}: ${j.timings.predicted_per_second.toFixed(1)} tokens/s decoded, ` +
                `${j.timings.prompt_per_second.toFixed(1)} prefilled, loaded in ${(j.timings.load_ms / 1000).toFixed(1)} s`);
        }
        await nothingLeft('speed');
        return notes.join('; ');
    },
});
