// cluster.js: the cluster at a glance: what GET /cluster says, drawn once and then only changed.
//
// Times of steps come as totals; what is shown is the difference to an older answer, so that it speaks of the latest
// steps.  Before any difference it speaks of all.
import {bytes, byId, count, duration, element, percent, plural, rounded, setStyle, setText, shortCount} from './dom.js';
import {RateChart} from './chart.js';

const OLDER_SAMPLES = 10; // of answers between which steps were made
const states = {ok: ['up', 'ready'], loading: ['busy', 'loading'], draining: ['busy', 'draining: takes no new requests'],
    ranks_lost: ['down', 'ranks are lost'], stopped: ['down', 'stopped']};
const cuts = [['heads', 'Query heads', 'heads'], ['ffn', 'FFN columns', 'ffn'], ['vocab', 'Vocabulary', 'vocab']];
const length = ([begin, end]) => end - begin;
const spanOf = ([begin, end]) => end === begin ? 'none' : end === begin + 1 ? count(begin) : `${count(begin)}–${count(end - 1)}`;
const mean = values => values.reduce((a, b) => a + b, 0) / (values.length || 1);

export const speedOf = data => mean(data.tokens.per_second.slice(-3));
export const stateOf = data => states[data.status] ?? ['down', data.status];

function meter() {
    const bar = element('span');
    return {root: element('span', {class: 'meter'}, bar), set: part => setStyle(bar, '--part', `${(100 * part).toFixed(1)}%`)};
}

// The summary: speed, requests, KV cache.
class Summary {
    constructor() {
        this.chart = new RateChart();
        for (const name of ['speed', 'peak', 'running', 'waiting', 'used', 'kvNote', 'cached']) this[name] = element('span');
        this.kv = meter();
        this.hits = meter();
        const big = (value, unit) => element('p', {class: 'big'}, value, element('small', {}, ` ${unit}`));
        this.root = element('div', {class: 'cards'},
            element('section', {class: 'panel rate'}, element('h2', {}, 'Generated'), element('div', {}, big(this.speed, 'tokens/s'), element('p', {class: 'note'}, this.peak)), this.chart.root),
            element('section', {class: 'panel'}, element('h2', {}, 'Requests'), big(this.running, 'running'), element('p', {class: 'note'}, this.waiting)),
            element('section', {class: 'panel'}, element('h2', {}, 'KV cache in use'), big(this.used, ''), this.kv.root, element('p', {class: 'note'}, this.kvNote)));
    }

    update({tokens, requests, kv, prefix_cache: prefix, preempted}) {
        const rate = tokens.per_second;
        this.chart.update(rate);
        setText(this.speed, rounded(mean(rate.slice(-3))));
        setText(this.peak, `${shortCount(tokens.generated)} in all`);
        setText(this.running, count(requests.running));
        const more = [`${count(requests.waiting)} waiting`];
        if (prefix.hits) more.push(`${percent(prefix.hits / prefix.queries)} of prompts cached`);
        if (preempted) more.push(`${count(preempted)} preempted`);
        setText(this.waiting, more.join(' · '));
        const part = kv.blocks ? kv.blocks_used / kv.blocks : 0;
        setText(this.used, percent(part));
        this.kv.set(part);
        setText(this.kvNote, `${shortCount(kv.blocks_used * kv.block_tokens)} of ${shortCount(kv.blocks * kv.block_tokens)} tokens`);
    }
}

// Parts of a whole in colours, with their names and numbers below.
class Split {
    constructor(names) {
        this.bars = names.map(name => element('span', {class: name}));
        this.notes = names.map(name => element('li', {class: name}));
        this.parts = [element('div', {class: 'split', 'aria-hidden': 'true'}, ...this.bars), element('ul', {class: 'legend'}, ...this.notes)];
    }

    set(values, texts) {
        values.forEach((v, i) => setStyle(this.bars[i], '--share', v));
        texts.forEach((text, i) => setText(this.notes[i], text));
    }
}

class RankPanel {
    constructor(index, rank, model) {
        this.dot = element('span', {class: 'dot', role: 'img'});
        this.memory = new Split(['weights', 'kv']);
        this.time = new Split(['compute', 'wait', 'wire']);
        for (const name of ['whole', 'steps', 'reduced', 'resident', 'kvUse']) this[name] = element('span');
        const fact = (name, ...value) => [element('dt', {}, name), element('dd', {}, ...value)];
        const share = (name, range, all) => fact(name, `${count(length(range))} of ${count(all)}`, element('small', {}, ` (${spanOf(range)})`));
        this.root = element('section', {class: `panel rank r${index % 4}`, 'aria-label': `Rank ${index}`},
            element('header', {}, element('span', {class: 'swatch', 'aria-hidden': 'true'}), element('h3', {}, `Rank ${index}`), element('span', {class: 'host', title: rank.host}, rank.host), this.dot),
            element('dl', {}, ...share('Query heads', rank.heads, model.heads), ...share('KV heads', rank.kv_heads, model.kv_heads),
                ...share('FFN columns', rank.ffn, model.ffn), ...share('Vocabulary', rank.vocab, model.vocab),
                ...fact('Threads', `${count(rank.threads)} on CPU ${rank.cpus.replaceAll('-', '–')}`), ...fact('Kernels', rank.isa)),
            element('h4', {}, 'Memory', this.whole), ...this.memory.parts,
            element('h4', {}, 'Time of a step', this.steps), ...this.time.parts,
            element('dl', {}, ...fact('All-reduce per step', this.reduced), ...fact('KV cache in use', this.kvUse), ...fact('Resident at most', this.resident)));
    }

    // before: the rank in an older answer, or nothing.
    update(rank, before, usedPart) {
        this.root.classList.toggle('lost', !rank.up);
        this.dot.className = `dot ${rank.up ? 'up' : 'down'}`;
        this.dot.setAttribute('aria-label', rank.up ? 'up' : 'lost');
        this.memory.set([rank.weights_bytes, rank.kv_bytes], [`weights ${bytes(rank.weights_bytes)}`, `KV ${bytes(rank.kv_bytes)}`]);
        setText(this.whole, bytes(rank.weights_bytes + rank.kv_bytes));
        setText(this.kvUse, bytes(rank.kv_bytes * usedPart));
        setText(this.resident, bytes(rank.peak_rss_bytes));
        const since = name => rank[name] - (before?.[name] ?? 0);
        const steps = since('steps'), names = ['compute', 'wait', 'wire'];
        const times = names.map(name => Math.max(0, since(`${name}_seconds`)));
        const all = times.reduce((a, b) => a + b, 0);
        this.time.set(times, names.map((name, i) => `${name} ${all ? `${Math.round(100 * times[i] / all)}\u00a0%` : '–'}`));
        setText(this.steps, steps ? `${duration(all / steps)}, ${before ? 'last' : 'all'} ${count(steps)}` : 'no steps yet');
        setText(this.reduced, steps ? bytes(since('allreduce_bytes') / steps) : '–');
    }
}

export class ClusterView {
    constructor(root) {
        this.root = root;
        this.samples = [];
        this.key = '';
    }

    // What does not change while the ranks live.
    build({model, ranks, mpi, transport}) {
        this.samples = [];
        const fact = (value, name) => element('li', {}, element('b', {}, value), ` ${name}`);
        this.stateDot = element('span', {class: 'dot'});
        this.stateText = element('span');
        this.epoch = element('b');
        this.summary = new Summary();
        this.panels = ranks.map((r, i) => new RankPanel(i, r, model));
        const cut = cuts.map(([key, name, whole]) => [element('span', {class: 'what'}, name), element('div', {class: 'shares', role: 'img',
            'aria-label': `${name} by rank: ${ranks.map(r => count(length(r[key]))).join(', ')} of ${count(model[whole])}`},
            ...ranks.map((r, i) => {
                const own = length(r[key]);
                const part = element('span', {class: `r${i % 4}`, title: `rank ${i}: ${spanOf(r[key])}`, hidden: !own}, element('b', {class: own > 99 ? 'long' : null}, count(own)));
                part.style.setProperty('--share', own);
                return part;
            }))]);
        this.root.replaceChildren(
            element('div', {class: 'title'}, element('h1', {}, model.id), element('span', {class: 'state', role: 'status'}, this.stateDot, this.stateText)),
            element('ul', {class: 'facts', 'aria-label': 'The model'}, fact(model.architecture, model.name), fact(shortCount(model.parameters), 'parameters'), fact(bytes(model.bytes), 'weights'),
                fact(count(model.layers), 'layers'), fact(count(model.dim), 'wide'), fact(count(model.heads), 'query heads'), fact(count(model.kv_heads), 'KV heads'), fact(count(model.ffn), 'FFN'),
                fact(count(model.vocab), 'vocabulary'), fact(count(model.context), 'context'), element('li', {}, 'epoch ', this.epoch), element('li', {}, [mpi, transport].filter(Boolean).join(', '))),
            this.summary.root,
            element('section', {class: 'panel'}, element('h2', {}, `The cut: ${plural(ranks.length, 'rank')}`), element('div', {class: 'cut'}, ...cut.flat())),
            element('div', {class: 'ranks'}, ...this.panels.map(p => p.root)));
    }

    // The answer to compare with; keeps this one when steps were made since the last.
    older(data) {
        const steps = d => d.ranks[0].steps;
        if (!this.samples.length || steps(data) > steps(this.samples.at(-1))) this.samples.push(data);
        if (this.samples.length > OLDER_SAMPLES) this.samples.shift();
        return steps(this.samples[0]) < steps(data) ? this.samples[0] : null;
    }

    update(data) {
        if (!data.ranks) return this.showMessage(stateOf(data)[0], `The model is ${stateOf(data)[1]}.`);
        const key = JSON.stringify([data.model, data.epoch, data.fingerprint, data.ranks.length]);
        if (key !== this.key) this.build(data);
        this.key = key;
        const before = this.older(data);
        this.stateDot.className = `dot ${stateOf(data)[0]}`;
        setText(this.stateText, stateOf(data)[1]);
        setText(this.epoch, count(data.epoch));
        this.summary.update(data);
        const used = data.kv.blocks ? data.kv.blocks_used / data.kv.blocks : 0;
        data.ranks.forEach((rank, i) => this.panels[i].update(rank, before?.ranks[i], used));
    }

    // Instead of the cluster, or beside what was last known of it.
    showMessage(kind, text) {
        if (this.key) {
            this.stateDot.className = `dot ${kind}`;
            setText(this.stateText, text);
        } else {
            this.root.replaceChildren(element('p', {class: 'state', role: 'status'}, element('span', {class: `dot ${kind}`}), text));
        }
    }
}

export const buildCluster = () => new ClusterView(byId('cluster-view'));
