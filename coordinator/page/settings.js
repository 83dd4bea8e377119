// settings.js: what is sent with a prompt besides the prompt: a table, a form made of it, and what the browser keeps.
//
// A setting that is empty is not sent: the server's own default holds.  Ranges are those of the API.
import {byId, element} from './dom.js';

const table = [
    {key: 'system', label: 'System prompt', type: 'text', wide: true, chatOnly: true, value: '',
        hint: 'Goes before the conversation.'},
    {rule: true},
    {key: 'temperature', label: 'Temperature', type: 'range', min: 0, max: 2, step: 0.05, value: 0.8, wide: true,
        hint: '0 always takes the likeliest token.'},
    {key: 'top_p', label: 'Top p', type: 'range', min: 0, max: 1, step: 0.01, value: 1, wide: true},
    {key: 'min_p', label: 'Min p', type: 'range', min: 0, max: 1, step: 0.01, value: 0, wide: true},
    {key: 'top_k', label: 'Top k', type: 'number', min: 0, max: 1e9, step: 1, value: '', empty: 'off'},
    {key: 'max_tokens', label: 'Max tokens', type: 'number', min: 1, max: 1e9, step: 1, value: 512, empty: 'to the end'},
    {key: 'seed', label: 'Seed', type: 'number', min: 0, max: 9007199254740991, step: 1, value: '', empty: 'random'},
    {key: 'repeat_penalty', label: 'Repeat penalty', type: 'number', min: 0.01, max: 100, step: 0.01, value: '', empty: '1'},
    {key: 'presence_penalty', label: 'Presence penalty', type: 'number', min: -2, max: 2, step: 0.1, value: '', empty: '0'},
    {key: 'frequency_penalty', label: 'Frequency penalty', type: 'number', min: -2, max: 2, step: 0.1, value: '', empty: '0'},
    {key: 'stop', label: 'Stop strings', type: 'text', wide: true, value: '',
        hint: 'One a line, up to four. \\n is a line break.'},
    {rule: true},
    {key: 'alternatives', label: 'Alternatives per token', type: 'number', min: 0, max: 20, step: 1, value: 5, wide: true, beside: true,
        hint: 'Shown on hover. 0 asks for no probabilities.'},
    {key: 'tint', label: 'Tint unlikely tokens', type: 'check', value: false, wide: true},
];
const settings = table.filter(s => s.key);
const storagePlace = 'lockstep.settings';
const values = {};
const controls = {};

const isValue = (s, v) => s.type === 'check' ? typeof v === 'boolean' : s.type === 'text' ? typeof v === 'string'
    : v === '' || (typeof v === 'number' && !problemOf(s, String(v)));

function load() {
    let kept = {};
    try { kept = JSON.parse(localStorage.getItem(storagePlace)) ?? {}; } catch {} // damaged, or storage is not allowed
    for (const s of settings) values[s.key] = isValue(s, kept[s.key]) ? kept[s.key] : s.value;
}

function keep() {
    const changed = Object.fromEntries(settings.filter(s => values[s.key] !== s.value).map(s => [s.key, values[s.key]]));
    try { localStorage.setItem(storagePlace, JSON.stringify(changed)); } catch {}
    document.documentElement.classList.toggle('tint', values.tint);
}

const stopStrings = () => values.stop.split('\n').filter(Boolean).map(s => s.replaceAll('\\n', '\n').replaceAll('\\t', '\t'));
export const systemPrompt = () => values.system.trim();

// The fields of a request's body.
export function requestFields(chat) {
    const fields = {};
    for (const {key, type} of settings)
        if ((type === 'range' || type === 'number') && key !== 'alternatives' && values[key] !== '') fields[key] = values[key];
    if (!chat && values.max_tokens === '') fields.max_tokens = 1e9; // the API's own default is 16 there
    const stops = stopStrings();
    if (stops.length) fields.stop = stops;
    const n = values.alternatives || 0;
    if (n) Object.assign(fields, chat ? {logprobs: true, top_logprobs: n} : {logprobs: n});
    return fields;
}

// ---- the form ----

function problemOf(s, text) {
    if (s.key === 'stop') return text.split('\n').filter(Boolean).length > 4 ? 'Four at most.' : '';
    if (s.type === 'text' || s.type === 'check' || text === '') return '';
    const n = Number(text);
    if (!Number.isFinite(n) || n < s.min || n > s.max) return s.max >= 1e9 ? `${s.min} or more.` : `${s.min} to ${s.max}.`;
    return s.step === 1 && !Number.isInteger(n) ? 'A whole number.' : '';
}

// How far a slider is filled.
function showPart(key) {
    const {range} = controls[key];
    range?.style.setProperty('--part', `${100 * (range.value - range.min) / (range.max - range.min)}%`);
}

function take(s, input) {
    const text = s.type === 'check' ? '' : input.value;
    // A number field is empty for the script while it holds what is no number.
    const problem = input.validity.badInput ? 'A number.' : problemOf(s, text);
    const {note, range, number} = controls[s.key];
    note.textContent = problem;
    (number ?? input).toggleAttribute('aria-invalid', false);
    if (problem) {
        (number ?? input).setAttribute('aria-invalid', 'true');
        return;
    }
    values[s.key] = s.type === 'check' ? input.checked : s.type === 'text' ? text : text === '' ? '' : Number(text);
    if (range && input !== range) range.value = text === '' ? s.value : text;
    showPart(s.key);
    if (number && input !== number) number.value = text;
    keep();
}

function makeField(s) {
    if (s.rule) return element('hr');
    const id = `setting-${s.key}`, note = element('small', {class: 'problem', id: `${id}-problem`, role: 'status'});
    const oninput = e => take(s, e.currentTarget);
    const common = {id, oninput, name: s.key, 'aria-describedby': note.id};
    const label = element('label', {for: id}, s.label);
    const hint = s.hint ? element('small', {}, s.hint) : null;
    const box = (...parts) => element('div', {class: s.wide ? 'field wide' : 'field', 'data-setting': s.key}, ...parts, hint, note);
    const numeric = {type: 'number', inputmode: s.step === 1 ? 'numeric' : 'decimal', min: s.min, max: s.max, step: s.step === 1 ? 1 : 'any', placeholder: s.empty, autocomplete: 'off'};
    if (s.type === 'text') {
        const input = element('textarea', {...common, rows: s.key === 'stop' ? 2 : 3, dir: 'auto', spellcheck: s.key === 'stop' ? 'false' : null});
        controls[s.key] = {input, note};
        return box(label, input);
    }
    if (s.type === 'check') {
        const input = element('input', {...common, type: 'checkbox'});
        controls[s.key] = {input, note};
        return box(element('span', {class: 'name'}, label, input));
    }
    const number = element('input', {...common, ...numeric});
    if (s.type === 'number') {
        controls[s.key] = {input: number, number, note};
        return s.beside ? box(element('span', {class: 'name'}, label, number)) : box(label, number);
    }
    const range = element('input', {type: 'range', min: s.min, max: s.max, step: s.step, oninput, 'aria-label': s.label, tabindex: -1});
    controls[s.key] = {input: number, number, range, note};
    return box(element('span', {class: 'name'}, label, number), range);
}

function show() {
    for (const s of settings) {
        const {input, range, note} = controls[s.key];
        if (s.type === 'check') input.checked = values[s.key];
        else input.value = values[s.key];
        if (range) range.value = values[s.key] === '' ? s.value : values[s.key];
        showPart(s.key);
        note.textContent = '';
        input.removeAttribute('aria-invalid');
    }
}

export function buildSettings() {
    load();
    const form = byId('settings-form');
    form.addEventListener('submit', e => e.preventDefault());
    form.append(...table.map(makeField), element('button', {type: 'button', class: 'quiet reset', onclick: () => {
        for (const s of settings) values[s.key] = s.value;
        show();
        keep();
    }}, 'Reset all'));
    show();
    keep();
}

export function showSettingsOf(chat) {
    for (const s of settings) if (s.chatOnly) byId(`setting-${s.key}`).closest('.field').hidden = !chat;
    byId('settings-form').querySelector('hr').hidden = !chat;
}
