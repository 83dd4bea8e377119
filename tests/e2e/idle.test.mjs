// SPDX-License-Identifier: MIT
// idle.test.mjs: ranks that have nothing to do cost nothing, and wake at once.
import {cases, check, equal, post, serve, sleep} from './harness.mjs';
import {noteSegments, nothingLeft, ours, ranks} from './leftovers.mjs';

const ticksPerSecond = 100; // USER_HZ, the same on every Linux we run on
const cpuSeconds = () => ours().reduce((sum, p) => sum + p.cpuTicks, 0) / ticksPerSecond;
const median = list => [...list].sort((a, b) => a - b)[list.length >> 1];

async function firstTokenMs(server) {
    const begin = performance.now();
    const r = await post(server, '/v1/completions', {prompt: 'Call me Ishmael.', max_tokens: 1, temperature: 0});
    await r.json();
    equal(r.status, 200, 'status');
    return performance.now() - begin;
}
const several = async (server, n) => {
    const list = [];
    for (let i = 0; i < n; i++) list.push(await firstTokenMs(server));
    return list;
};

await cases({
    async 'eight ranks idle for ten seconds'() {
        const server = await serve(['-n', '8']);
        equal(ranks().length, 8, 'ranks');
        noteSegments();
        await several(server, 10);
        await sleep(500);
        const before = cpuSeconds();
        await sleep(10000);
        const used = cpuSeconds() - before;
        check(before > 0, 'CPU time is counted');
        check(used < 0.3, `the cluster used ${used.toFixed(2)} s of CPU in 10 s of idling`);

        // The next request after a pause against those that follow each other.  A busy machine makes single
        // measurements worse, never better, so the best counts on both sides.
        const after = [], busy = [];
        for (let i = 0; i < 8; i++) {
            await sleep(1500);
            after.push(await firstTokenMs(server));
            busy.push(median(await several(server, 5)));
        }
        const late = Math.min(...after) - Math.min(...busy);
        check(late <= 5, `the first token after a pause comes ${late.toFixed(1)} ms later`);
        equal(await server.stop(), 0, 'exit code');
        await nothingLeft('idling');
        return `${used.toFixed(2)} s of CPU; first token after a pause ${Math.min(...after).toFixed(1)} ms (median ${median(after).toFixed(1)}), ` +
            `in a row ${Math.min(...busy).toFixed(1)} ms (median ${median(busy).toFixed(1)})`;
    },
});
