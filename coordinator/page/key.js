// key.js: the API key: asked for when the server answers 401, kept for this tab.
import {byId} from './dom.js';

const keyPlace = 'lockstep.key';
let key = '';
try { key = sessionStorage.getItem(keyPlace) ?? ''; } catch {} // storage is not allowed: the key lives with the page
const waiting = new Set();

export const authorization = () => key ? {Authorization: `Bearer ${key}`} : {};

// Calls back once, when a key was given.
export function whenKeyIsGiven(callback) {
    waiting.add(callback);
    if (key) byId('key-label').textContent = 'The server does not take this API key. Another?';
    byId('key-form').hidden = false;
}

export function buildKeyForm() {
    byId('key-form').addEventListener('submit', e => {
        e.preventDefault();
        key = byId('key-input').value.trim();
        byId('key-input').value = '';
        byId('key-form').hidden = true;
        try { sessionStorage.setItem(keyPlace, key); } catch {}
        const callbacks = [...waiting];
        waiting.clear();
        callbacks.forEach(callback => callback());
    });
}
