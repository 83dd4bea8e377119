// SPDX-License-Identifier: MIT
// metrics.test.mjs: GET /metrics read by the rules of the exposition format, what moves in it, what deploy/ makes of
// it, and the access log.
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {cases, check, equal, openStream, post, scratch, serve, source, until} from './harness.mjs';

// Reads the text format 0.0.4: {name: {type, help, samples: [{name, labels, value}]}}; throws at a line that breaks it.
function read(text) {
    const metrics = {}, seen = new Set();
    let current = null;
    check(text.endsWith('\n'), 'the last line has an end');
    for (const line of text.slice(0, -1).split('\n')) {
        const where = `line '${line}'`;
        const help = line.match(/^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/);
        if (help) {
            check(!metrics[help[1]], `${where}: all lines of a metric stand together`);
            current = metrics[help[1]] = {help: help[2], samples: []};
            current.name = help[1];
            continue;
        }
        const type = line.match(/^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$/);
        if (type) {
            check(current?.name === type[1] && !current.type && current.samples.length === 0, `${where}: TYPE follows HELP`);
            current.type = type[2];
            continue;
        }
        const sample = line.match(/^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)$/);
        check(sample, `${where} is no sample`);
        const labels = {};
        const rest = (sample[2] ?? '').replace(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/g, (_, name, value) => {
            check(!(name in labels), `${where}: a label twice`);
            labels[name] = value;
            return '';
        });
        equal(rest, '', `${where}: labels`);
        check(!seen.has(line.slice(0, line.lastIndexOf(' '))), `${where}: a series twice`);
        seen.add(line.slice(0, line.lastIndexOf(' ')));
        const suffixes = {histogram: /^(_bucket|_sum|_count)$/, summary: /^(|_sum|_count)$/}[current?.type] ?? /^$/;
        check(current && sample[1].startsWith(current.name) && suffixes.test(sample[1].slice(current.name.length)),
            `${where} is under ${current?.name}`);
        current.samples.push({name: sample[1], labels, value: Number(sample[3].replace('Inf', 'Infinity'))});
    }
    for (const m of Object.values(metrics)) {
        check(m.type && m.samples.length, `${m.name} has a type and samples`);
        if (m.type === 'counter') check(m.name.endsWith('_total'), `${m.name} is a counter`);
        if (m.type !== 'histogram') continue;
        const buckets = m.samples.filter(s => s.name.endsWith('_bucket')).map(s => [s.labels.le === '+Inf' ? Infinity : +s.labels.le, s.value]);
        for (let i = 1; i < buckets.length; i++)
            check(buckets[i][0] > buckets[i - 1][0] && buckets[i][1] >= buckets[i - 1][1], `buckets of ${m.name} grow`);
        equal(buckets.at(-1), [Infinity, m.samples.at(-1).value], `the last bucket of ${m.name} holds all`);
    }
    return metrics;
}
const scrape = async server => {
    const r = await fetch(`${server.url}/metrics`);
    equal([r.status, r.headers.get('content-type')], [200, 'text/plain; version=0.0.4; charset=utf-8'], 'GET /metrics');
    return read(await r.text());
};
// The value of a series: value(metrics, 'rank_up', {rank: '0'}).
function value(metrics, name, labels = {}) {
    const found = Object.values(metrics).flatMap(m => m.samples).filter(s => s.name === `lockstep:${name}` &&
        Object.entries(labels).every(([k, v]) => s.labels[k] === v));
    equal(found.length, 1, `series ${name} ${JSON.stringify(labels)}`);
    return found[0].value;
}
// ../shared/API.md's table of names.
const names = {gauge: ['num_requests_running', 'num_requests_waiting', 'num_connections', 'kv_cache_usage_perc', 'weights_bytes', 'kv_bytes', 'rank_up', 'epoch'],
    counter: ['prompt_tokens_total', 'generation_tokens_total', 'request_success_total', 'allreduce_bytes_total',
        'prefix_cache_queries_total', 'prefix_cache_hits_total', 'num_preemptions_total',
        'connections_total', 'accept_pauses_total', 'connections_ended_total'],
    summary: ['step_compute_seconds', 'step_wait_seconds', 'step_wire_seconds'],
    histogram: ['time_to_first_token_seconds', 'inter_token_latency_seconds', 'e2e_request_latency_seconds', 'request_queue_time_seconds']};

const log = join(scratch, 'access.log');
const server = await serve(['-n', '2', '--ctx', '16384', '--access-log', log, '--access-format', 'json']);
const lines = () => readFileSync(log, 'utf8').trimEnd().split('\n').map(l => JSON.parse(l));
const complete = async body => (await post(server, '/v1/completions', {prompt: 'Call me Ishmael.', temperature: 0, ignore_eos: true, ...body})).json();

await cases({
    async 'names and types'() {
        const m = await scrape(server);
        for (const [type, list] of Object.entries(names))
            for (const n of list) equal(m[`lockstep:${n}`]?.type, type, `type of ${n}`);
        for (const rank of ['0', '1']) {
            equal(value(m, 'rank_up', {rank}), 1, 'rank_up');
            check(value(m, 'weights_bytes', {rank}) > 1e6 && value(m, 'kv_bytes', {rank}) > 1e5, 'memory of a rank');
        }
        equal([value(m, 'epoch'), value(m, 'num_requests_running'), value(m, 'kv_cache_usage_perc')], [1, 0, 0], 'an idle server');
        equal((await fetch(`${server.url}/metrics`, {method: 'POST'})).status, 405, 'POST /metrics');
    },

    async 'counters move'() {
        const before = await scrape(server);
        const {usage} = await complete({max_tokens: 20, n: 2});
        await complete({max_tokens: 40, stop: ' '});
        const after = await scrape(server);
        const moved = (name, labels) => value(after, name, labels) - value(before, name, labels);
        equal(usage.completion_tokens, 40, 'usage');
        equal(moved('prompt_tokens_total'), 2 * usage.prompt_tokens, 'prompt tokens');
        check(moved('generation_tokens_total') > 40, 'generated tokens');
        equal([moved('request_success_total', {finished_reason: 'length'}), moved('request_success_total', {finished_reason: 'stop'})], [2, 1], 'reasons');
        equal([moved('time_to_first_token_seconds_count'), moved('e2e_request_latency_seconds_count'), moved('request_queue_time_seconds_count')],
            [3, 2, 2], 'times are counted');
        check(moved('inter_token_latency_seconds_count') >= 38, 'gaps');
        check(moved('time_to_first_token_seconds_sum') > 0 && moved('inter_token_latency_seconds_sum') > 0, 'and summed up');
    },

    async 'what the prefix cache saves'() {
        const prompt = 'It was the best of times, it was the worst of times. '.repeat(8);
        const before = await scrape(server);
        const {usage} = await complete({prompt, max_tokens: 1});
        const {usage: again} = await complete({prompt, max_tokens: 1});
        const after = await scrape(server);
        const moved = name => value(after, name) - value(before, name);
        check(again.prompt_tokens_details.cached_tokens > usage.prompt_tokens / 2, JSON.stringify(again));
        equal(moved('prefix_cache_hits_total'), usage.prompt_tokens_details.cached_tokens + again.prompt_tokens_details.cached_tokens, 'hits');
        equal(moved('prefix_cache_queries_total'), 2 * usage.prompt_tokens, 'queries');
        equal(moved('prompt_tokens_total'), 2 * usage.prompt_tokens, 'prompt tokens count all the same');
    },

    // Ranks say what their steps cost with their heartbeats, two a second.
    async 'what steps cost each rank'() {
        const ranks = ['0', '1'];
        const before = await scrape(server);
        await complete({max_tokens: 30});
        const moved = (m, name, rank) => value(m, name, {rank}) - value(before, name, {rank});
        const after = await until('both ranks have said the same', async () => {
            const m = await scrape(server);
            const [one, other] = ranks.map(rank => moved(m, 'step_wait_seconds_count', rank));
            return one >= 30 && one === other && m;
        });
        for (const rank of ranks) {
            check(moved(after, 'step_compute_seconds_sum', rank) > 0 && moved(after, 'step_compute_seconds_sum', rank) < 60, 'computing');
            for (const part of ['wait', 'wire']) check(moved(after, `step_${part}_seconds_sum`, rank) >= 0, part);
            check(moved(after, 'allreduce_bytes_total', rank) > 30 * 1000, 'bytes of all-reduces');
        }
    },

    async 'while requests run, and after their clients left'() {
        const before = await scrape(server);
        const streams = await Promise.all([1, 2, 3].map(() => openStream(server, {max_tokens: 10000, temperature: 1})));
        await Promise.all(streams.map(s => s.first));
        const during = await scrape(server);
        streams.forEach(s => s.abort());
        const after = await until('the streams are gone', async () => {
            const m = await scrape(server);
            return value(m, 'num_requests_running') === 0 && m;
        });
        const ended = value(after, 'request_success_total', {finished_reason: 'abort'}) -
            value(before, 'request_success_total', {finished_reason: 'abort'});
        equal(ended, 3, 'aborts');
        check(value(during, 'num_requests_running') + value(during, 'num_requests_waiting') > 0 && value(during, 'kv_cache_usage_perc') > 0, 'running');
        equal(value(after, 'kv_cache_usage_perc'), 0, 'and nothing is left');
    },

    async 'the dashboard asks for what there is'() {
        const known = Object.keys(await scrape(server));
        const dashboard = JSON.parse(readFileSync(join(source, 'deploy/grafana/lockstep.json'), 'utf8'));
        const used = new Set();
        for (const panel of dashboard.panels) {
            check(panel.title && panel.targets.length && panel.gridPos.w, 'a panel');
            for (const t of panel.targets) for (const [, name] of t.expr.matchAll(/(lockstep:[a-z0-9_]+)/g)) used.add(name);
        }
        for (const name of used)
            check(known.includes(name) || known.includes(name.replace(/_(bucket|sum|count)$/, '')), `the dashboard asks for ${name}`);
        equal(new Set(dashboard.panels.map(p => p.id)).size, dashboard.panels.length, 'ids of panels');
        for (const name of known) check([...used].some(u => u.startsWith(name)), `no panel shows ${name}`);
        const example = readFileSync(join(source, 'deploy/prometheus/prometheus.yml'), 'utf8');
        check(/^    metrics_path: \/metrics$/m.test(example) && !/\t/.test(example), 'the example of a scrape');
    },

    async 'the access log'() {
        const begin = lines().length;
        const body = await complete({max_tokens: 4});
        const stream = await openStream(server, {max_tokens: 6});
        await stream.ended;
        await post(server, '/v1/completions', '{"prompt": 7}');
        await fetch(`${server.url}/nothing?key=secret`);
        const gone = await openStream(server, {max_tokens: 10000, temperature: 1});
        await gone.first;
        gone.abort();
        const written = await until('five lines', () => lines().length >= begin + 5 && lines().slice(begin));
        const [whole, streamed, bad, nothing, left] = written;
        equal([whole.id, whole.status, whole.method, whole.path, whole.generated_tokens, whole.prompt_tokens, whole.cached_tokens, whole.finish],
            [body.id, 200, 'POST', '/v1/completions', 4, body.usage.prompt_tokens, body.usage.prompt_tokens_details.cached_tokens, 'length'], 'a whole answer');
        equal([streamed.id, streamed.generated_tokens], [stream.events[0].id, 6], 'a stream');
        for (const l of [whole, streamed]) check(l.first_token_ms > 0 && l.total_ms >= l.first_token_ms && l.bytes > 100, JSON.stringify(l));
        equal([bad.status, bad.id, nothing.status, nothing.path], [400, undefined, 404, '/nothing'], 'refusals');
        equal([left.status, left.finish], [200, 'abort'], 'a client that left');
        for (const l of written) check(/^127\.0\.0\.1:\d+$/.test(l.client) && /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/.test(l.time), JSON.stringify(l));
        check(!readFileSync(log, 'utf8').includes('Ishmael'), 'no text of a prompt');
    },

    async 'to standard error, with prompts when asked for'() {
        const other = await serve(['-n', '1', '--log-prompts']);
        await (await post(other, '/v1/completions', {prompt: 'Call me "Ishmael".', max_tokens: 2})).json();
        await until('a line', () => / path=\/v1\/completions status=200 id=cmpl-\w+ .* prompt="Call me \\"Ishmael\\"\."\n/.test(other.log()));
        equal(await other.stop(), 0, 'exit code');
        const silent = await serve(['-n', '1', '--access-log', 'off']);
        await fetch(`${silent.url}/health`);
        equal(await silent.stop(), 0, 'exit code');
        check(!silent.log().includes('path='), silent.log());
    },
});

equal(await server.stop(), 0, `exit code:\n${server.log()}`);
