// dom.js: small helpers: elements from data, and numbers for people.
//
// Text of models and people only ever becomes text nodes: there is no innerHTML in this page, and its policy
// (trusted-types 'none') makes the browser refuse it.

export const byId = id => document.getElementById(id);

// element('p', {class: 'note', onclick: f, 'aria-label': 'x'}, 'text', child, …); properties that are null are left out.
export function element(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
        else node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.filter(c => c !== null && c !== undefined));
    return node;
}

const svgSpace = 'http://www.w3.org/2000/svg';
export function svgElement(tag, attributes = {}, ...children) {
    const node = document.createElementNS(svgSpace, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
}

// Writes only what has changed: a page that is asked once a second stays still where nothing happens.
export function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}
export function setStyle(node, name, value) {
    if (node.style.getPropertyValue(name) !== String(value)) node.style.setProperty(name, value);
}

// What a screen reader says, beside what is on the screen.
export function speak(text) {
    byId('spoken').textContent = text;
}

export async function copyText(text, button) {
    const before = button.textContent;
    try {
        await navigator.clipboard.writeText(text);
    } catch { // no clipboard without https: the old way
        const area = element('textarea', {class: 'hidden', 'aria-hidden': 'true'});
        area.value = text;
        document.body.append(area);
        area.select();
        document.execCommand('copy');
        area.remove();
        button.focus();
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = before; }, 1400);
}

// ---- numbers ----

const plain = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const compact = new Intl.NumberFormat('en', {notation: 'compact', maximumSignificantDigits: 3});
export const count = n => plain.format(n);
export const shortCount = n => n < 10000 ? plain.format(n) : compact.format(n);
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? '' : 's'}`;
export const rounded = n => n >= 100 || n === 0 ? plain.format(n) : n.toFixed(n < 1 ? 2 : 1);

export function bytes(n) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let i = 0;
    for (; n >= 1000 && i < units.length - 1; i++) n /= 1024;
    return `${i ? rounded(n) : count(n)}\u00a0${units[i]}`;
}

export function duration(seconds) {
    if (seconds >= 120) return `${count(Math.floor(seconds / 60))}\u00a0min`;
    if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 2 : 1)}\u00a0s`;
    if (seconds >= 1e-3) return `${rounded(seconds * 1e3)}\u00a0ms`;
    return `${rounded(seconds * 1e6)}\u00a0µs`;
}

export function percent(part) {
    const p = 100 * part;
    if (p === 0) return '0\u00a0%';
    return p >= 99.95 ? '100\u00a0%' : p >= 10 ? `${p.toFixed(1)}\u00a0%` : p >= 0.01 ? `${p.toFixed(p < 0.1 ? 2 : 1)}\u00a0%` : '<0.01\u00a0%';
}
