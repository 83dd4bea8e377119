// chart.js: tokens in each of the last seconds, as bars.
import {count, element, setText, svgElement} from './dom.js';

const WIDTH = 300, HEIGHT = 76;

// The next of 1, 2, 5, 10, 20, 50, …: the scale does not jump with every value.
function niceTop(n) {
    const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
    return [1, 2, 5, 10].map(f => f * power).find(v => v >= n) ?? n;
}

export class RateChart {
    constructor() {
        this.bars = svgElement('path', {class: 'bars'});
        this.svg = svgElement('svg', {class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img'},
            svgElement('path', {class: 'floor', d: `M0 ${HEIGHT}H${WIDTH}`}), this.bars);
        this.peak = element('span');
        this.root = element('figure', {}, this.svg, element('figcaption', {}, element('span', {}, 'a minute ago'), this.peak, element('span', {}, 'now')));
    }

    update(values) {
        const most = Math.max(...values), top = niceTop(most), step = WIDTH / values.length, wide = step * 0.72;
        const bar = (v, i) => v ? `M${(i * step).toFixed(2)} ${HEIGHT}v${(-HEIGHT * v / top).toFixed(2)}h${wide.toFixed(2)}V${HEIGHT}z` : '';
        this.bars.setAttribute('d', values.map(bar).join(''));
        setText(this.peak, `peak ${count(most)}/s`);
        const mean = values.reduce((a, b) => a + b, 0) / values.length;
        this.svg.setAttribute('aria-label', `Tokens per second over the last minute: ${count(mean)} on average, at most ${count(most)}`);
    }
}
