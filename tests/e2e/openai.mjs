// SPDX-License-Identifier: MIT
// openai.mjs: what the tests with the official client share.  They are skipped where it is not installed.
import {existsSync} from 'node:fs';
import {check, skip, source} from './harness.mjs';

if (!existsSync(`${source}/tests/e2e/node_modules/openai`))
    skip('the npm packages of tests/e2e are not installed: cd tests/e2e && npm install');
export const {default: OpenAI} = await import('openai');
export const model = 'demo-q8_0';

// A client that says at once what it was told.
export const connect = (server, options = {}) =>
    new OpenAI({baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0, ...options});
export async function collect(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
}
export const joined = chunks => chunks.map(c => c.choices[0]?.text ?? c.choices[0]?.delta?.content ?? '').join('');
// The error of this class that a request ends with.
export async function fails(promise, kind, what = 'it') {
    const e = await promise.then(() => null, error => error);
    check(e instanceof kind, `${what} throws ${kind.name}, not ${e?.constructor?.name}: ${e?.message}`);
    return e;
}
