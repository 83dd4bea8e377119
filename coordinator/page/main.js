// main.js: what ties the page together: views, the composer, the theme, the settings panel, and asking for /cluster.
import {buildCluster, speedOf, stateOf} from './cluster.js';
import {Conversation, isAtEnd} from './conversation.js';
import {byId, element, rounded, setText, speak} from './dom.js';
import {authorization, buildKeyForm, whenKeyIsGiven} from './key.js';
import {buildSettings, showSettingsOf} from './settings.js';
import {buildTokenCard} from './token_card.js';

const POLL_MS = 1000, POLL_QUIET_MS = 3000;
const log = byId('log'), prompt = byId('prompt'), panel = byId('settings');
const examples = {chat: ['Tell me about the sea.', 'Who are you?', 'Write a haiku about machines.'],
    complete: ['Call me Ishmael.', 'Once upon a time', 'The wind was']};
let view = 'chat', known = null; // known: the latest answer of /cluster

// ---- views ----

const conversations = {chat: new Conversation(true, showState), complete: new Conversation(false, showState)};
const current = () => conversations[view] ?? conversations.chat;
const drafts = {chat: '', complete: ''};

function showView() {
    if (conversations[view]) drafts[view] = prompt.value;
    const wanted = location.hash.slice(1);
    view = wanted === 'cluster' || wanted === 'complete' ? wanted : 'chat';
    for (const link of document.querySelectorAll('.views a')) {
        if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
        else link.removeAttribute('aria-current');
    }
    const talking = view !== 'cluster';
    byId('talk').hidden = !talking;
    byId('cluster-view').hidden = talking;
    byId('settings-button').disabled = !talking;
    if (!talking) showSettings(false, false);
    for (const [name, c] of Object.entries(conversations)) c.column.hidden = name !== view;
    if (talking) {
        const chat = view === 'chat';
        prompt.value = drafts[view];
        prompt.placeholder = chat ? 'Say something' : 'A text to go on with';
        setText(byId('prompt-label'), chat ? 'Message' : 'Text to complete');
        showSettingsOf(chat);
        showState();
        current().follow(true);
        if (matchMedia('(hover: hover)').matches) prompt.focus();
    }
    poll();
}

function welcome() {
    const chat = view === 'chat', base = known?.model && !known.model.chat_template;
    const use = text => { prompt.value = text; showState(); prompt.focus(); };
    return element('div', {class: 'welcome'}, element('h1', {}, chat ? `Talk to ${known?.model?.id ?? 'the model'}` : `Let ${known?.model?.id ?? 'the model'} go on`),
        element('p', {}, chat && base ? 'This model has no chat template, so it sees a plain transcript. It may do better at completing a text.'
            : chat ? 'Point at a word of an answer to see what else it might have been.' : 'Begin a text; the model writes what follows. Point at a word to see what else it might have been.'),
        element('ul', {'aria-label': 'Examples'}, ...examples[view].map(text => element('li', {}, element('button', {type: 'button', onclick: () => use(text)}, text)))));
}

// Everything that depends on whether there are turns and whether one is being answered.
function showState() {
    if (view === 'cluster') return;
    const c = current(), busy = !!c.running;
    const first = c.column.firstElementChild, empty = !c.turns.length;
    if (empty && !first) c.column.append(welcome());
    else if (!empty && first.className === 'welcome') first.remove();
    byId('composer').classList.toggle('busy', busy);
    byId('send').disabled = !busy && !prompt.value.trim();
    byId('send').title = busy ? 'Stop (Esc)' : 'Send (Enter)';
    setText(byId('send-name'), busy ? 'Stop' : 'Send');
    byId('clear').hidden = empty;
    showJump();
    grow();
}

// ---- the composer ----

// Where CSS cannot make a text area as high as its text.
function grow() {
    if (CSS.supports('field-sizing', 'content')) return;
    prompt.style.setProperty('height', 'auto');
    prompt.style.setProperty('height', `${prompt.scrollHeight}px`);
}

function send() {
    const c = current(), text = view === 'chat' ? prompt.value.trim() : prompt.value;
    if (c.running || !text.trim()) return;
    prompt.value = '';
    c.send(text);
}

function showJump() {
    byId('jump').hidden = isAtEnd(log) || !current().turns.length;
}

function buildComposer() {
    byId('composer').addEventListener('submit', e => {
        e.preventDefault();
        if (current().running) current().stop();
        else send();
        prompt.focus();
    });
    prompt.addEventListener('input', showState);
    prompt.addEventListener('keydown', e => {
        if (e.key !== 'Enter' || e.shiftKey || e.isComposing) return;
        e.preventDefault();
        send();
    });
    byId('clear').addEventListener('click', () => {
        current().clear();
        speak('Cleared.');
        prompt.focus();
    });
    document.querySelector('.skip').addEventListener('click', e => {
        e.preventDefault(); // the address says which view is shown
        (view === 'cluster' ? byId('cluster-view') : prompt).focus();
    });
    byId('jump').addEventListener('click', () => current().follow(true));
    log.addEventListener('scroll', showJump, {passive: true});
    document.addEventListener('keydown', e => {
        if (e.key !== 'Escape' || e.defaultPrevented) return;
        const inPanel = panel.contains(document.activeElement), running = view !== 'cluster' && current().running;
        if (inPanel && (!running || matchMedia('(max-width: 960px)').matches)) showSettings(false);
        else if (running) current().stop();
    });
}

// ---- theme and settings ----

const keepOption = (name, value) => { try { localStorage.setItem(`lockstep.${name}`, value); } catch {} };
const keptOption = name => { try { return localStorage.getItem(`lockstep.${name}`); } catch { return null; } };

function showTheme(theme) {
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const name = {auto: 'as the system', light: 'light', dark: 'dark'}[theme];
    byId('theme-button').title = `Theme: ${name}`;
    setText(byId('theme-name'), `Theme: ${name}`);
    keepOption('theme', theme);
}

function buildTheme() {
    const themes = ['auto', 'light', 'dark'];
    let theme = themes.includes(keptOption('theme')) ? keptOption('theme') : 'auto';
    showTheme(theme);
    byId('theme-button').addEventListener('click', () => {
        theme = themes[(themes.indexOf(theme) + 1) % themes.length];
        showTheme(theme);
        speak(byId('theme-name').textContent);
    });
}

function showSettings(open, byUser = true) {
    const button = byId('settings-button');
    if (byUser) keepOption('panel', open ? 'open' : 'closed');
    if (byUser && !open && panel.contains(document.activeElement)) button.focus();
    panel.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
    if (open && byUser) byId('settings-close').focus(); // no text field: phones would show their keyboard
}

function buildPanel() {
    byId('settings-button').addEventListener('click', () => showSettings(panel.hidden));
    byId('settings-close').addEventListener('click', () => showSettings(false));
    showSettings(matchMedia('(min-width: 1180px)').matches && keptOption('panel') !== 'closed', false);
}

// ---- the cluster, while somebody looks ----

const clusterView = buildCluster();
let timer = 0, asking = false;

function showChip(kind, text) {
    byId('chip').firstElementChild.className = `dot ${kind}`;
    setText(byId('chip-text'), text);
    byId('chip').setAttribute('aria-label', `Cluster: ${text}`);
}

function showCluster(data) {
    const first = !known?.model && data.model;
    known = data;
    const [kind, name] = stateOf(data), speed = speedOf(data);
    const ranks = data.ranks?.length ?? 0;
    showChip(kind, data.status !== 'ok' ? name.split(':')[0] : speed ? `${rounded(speed)} tokens/s` : `${ranks} rank${ranks === 1 ? '' : 's'}`);
    if (view === 'cluster') clusterView.update(data);
    if (!first) return;
    for (const stale of document.querySelectorAll('.welcome')) stale.remove(); // it can name the model now
    showState();
}

function showTrouble(text) {
    showChip('down', 'unreachable');
    if (view === 'cluster') clusterView.showMessage('down', text);
}

async function ask() {
    let response;
    try {
        response = await fetch('/cluster', {headers: authorization()});
        if (response.ok) return showCluster(await response.json());
    } catch {
        return showTrouble('The server cannot be reached.');
    }
    if (response.status === 401) {
        showChip('busy', 'key needed');
        if (view === 'cluster') clusterView.showMessage('busy', 'The server asks for an API key.');
        whenKeyIsGiven(poll);
        return 'stop';
    }
    showTrouble(`The server answered ${response.status}.`);
}

// One question at a time; none while the page is hidden.
async function poll() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    const asked = view, end = await ask();
    asking = false;
    if (end === 'stop') return;
    if (asked !== view) return poll();
    timer = setTimeout(poll, view === 'cluster' || current().running ? POLL_MS : POLL_QUIET_MS);
}

buildSettings();
buildTheme();
buildPanel();
buildKeyForm();
buildTokenCard();
buildComposer();
addEventListener('hashchange', showView);
document.addEventListener('visibilitychange', () => document.hidden || poll());
showView();
