// turn.js: one question with its answer: what was asked, the answer as it grows, how fast it came, what went wrong.
import {AnswerText} from './answer.js';
import {copyText, count, duration, element, plural, rounded, setText} from './dom.js';
import {watchTokens} from './token_card.js';

const endings = {stop: 'complete', length: 'cut at the limit', stopped: 'stopped'};

export class Turn {
    // chat: a message and its answer; else a text and what follows it.  actions: {retry, edit, goOn}, called with the turn.
    constructor(asked, chat, actions) {
        this.chat = chat;
        this.actions = actions;
        this.said = element('div', {class: 'said', dir: 'auto'});
        this.body = element('div', {class: chat ? 'text' : 'text plain', role: 'group', tabindex: 0,
            'aria-label': 'Answer. The arrow keys go from token to token.'});
        this.answer = new AnswerText(this.body, {plain: !chat});
        this.failure = element('div', {class: 'failure', role: 'alert', hidden: true});
        this.meta = element('div', {class: 'meta'});
        this.stats = element('span', {class: 'stats'});
        this.root = element('article', {class: 'turn', 'aria-label': chat ? 'Message and answer' : 'Text'}, chat ? this.said : null,
            element('div', {class: 'answer'}, this.body, this.failure, this.meta));
        this.buildMeta();
        watchTokens(this.body, this.answer);
        this.ask(asked);
    }

    buildMeta() {
        const button = (name, title, onclick, kind = 'quiet') => element('button', {type: 'button', class: kind, title, onclick}, name);
        this.copy = button('Copy', 'Copy the answer', e => copyText(this.chat ? this.written : this.asked + this.written, e.currentTarget));
        this.more = button('Continue', 'Go on where the text ends', () => this.actions.goOn(this), 'quiet latest-only');
        this.retry = button('Retry', 'Answer again', () => this.actions.retry(this), 'quiet latest-only');
        this.change = button('Edit', 'Edit what was asked and answer again', () => this.openEditor(), 'quiet latest-only');
        this.meta.append(this.stats, this.copy, this.chat ? '' : this.more, this.retry, this.change);
    }

    // Sets what is asked and forgets the answer.
    ask(text) {
        this.asked = text;
        this.said.textContent = text;
        this.forget();
    }

    forget() {
        this.answer.clear();
        this.written = '';
        if (!this.chat) this.answer.append(this.asked, [], 'given');
        this.settle('');
    }

    // The answer begins, or goes on.
    begin(now, goesOn) {
        Object.assign(this, {beganAt: now, goesOn, firstAt: 0, lastAt: 0, tokens: 0, usage: null, finish: null, state: 'writing'});
        this.root.classList.add('writing');
        this.root.setAttribute('aria-busy', 'true');
        this.failure.hidden = true;
        this.showButtons();
    }

    // A part of the answer and when it came, drawn at once: the caller collects parts for a frame.
    receive(part) {
        if (part.usage) this.usage = part.usage;
        if (part.finish) this.finish = part.finish;
        if (part.text === undefined || (part.text === '' && !part.tokens.length)) return;
        this.firstAt ||= part.at;
        this.lastAt = part.at;
        this.tokens += part.tokens.length || 1;
        this.written += part.text;
        this.answer.append(part.text, part.tokens);
    }

    // The answer is over: how it ended, or '' for an answer that was never begun.
    settle(ending) {
        this.answer.end();
        this.state = ending;
        this.finish ??= ending;
        this.root.classList.remove('writing');
        this.root.removeAttribute('aria-busy');
        this.failure.hidden = true;
        this.showStats();
        this.showButtons();
    }

    fail(message) {
        this.settle('failed');
        const again = () => this.goesOn ? this.actions.goOn(this) : this.actions.retry(this);
        this.failure.replaceChildren(element('p', {}, message), element('button', {type: 'button', onclick: again, class: 'latest-only'}, 'Try again'));
        this.failure.hidden = false;
    }

    get speed() {
        const seconds = (this.lastAt - this.firstAt) / 1000;
        return this.tokens > 1 && seconds > 0 ? (this.tokens - 1) / seconds : 0;
    }

    showStats() {
        const parts = [];
        const tokens = this.usage?.completion_tokens ?? this.tokens;
        if (tokens) parts.push(plural(tokens, 'token'));
        if (this.speed) parts.push(`${rounded(this.speed)} tokens/s`);
        if (this.firstAt) parts.push(`first after ${duration((this.firstAt - this.beganAt) / 1000)}`);
        const cached = this.usage?.prompt_tokens_details?.cached_tokens;
        if (cached) parts.push(`${count(cached)} of ${count(this.usage.prompt_tokens)} prompt tokens cached`);
        if (this.state !== 'writing' && endings[this.finish]) parts.push(endings[this.finish]);
        while (this.stats.childElementCount > parts.length) this.stats.lastChild.remove();
        while (this.stats.childElementCount < parts.length) this.stats.append(element('span'));
        parts.forEach((text, i) => setText(this.stats.children[i], text));
    }

    showButtons() {
        const over = this.state !== 'writing';
        this.copy.hidden = !over || !this.written;
        this.more.hidden = !over || !this.written;
        this.change.hidden = !over;
        this.retry.hidden = !over || this.state === 'failed'; // beside the message there is a button for it
    }

    openEditor() {
        const area = element('textarea', {dir: 'auto', 'aria-label': 'Edit what was asked'});
        const close = () => {
            form.replaceWith(this.chat ? this.said : this.body);
            this.meta.hidden = false;
            this.change.focus();
        };
        const save = () => {
            if (!area.value.trim()) return;
            close();
            this.actions.edit(this, area.value);
        };
        const form = element('form', {class: 'edit', onsubmit: e => { e.preventDefault(); save(); }, onkeydown: e => {
            if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); save(); }
            if (e.key === 'Escape') { e.stopPropagation(); close(); }
        }}, area, element('div', {}, element('button', {type: 'button', class: 'quiet', onclick: close}, 'Cancel'),
            element('button', {class: 'primary'}, 'Send')));
        area.value = this.asked;
        (this.chat ? this.said : this.body).replaceWith(form);
        this.meta.hidden = true;
        area.focus();
    }
}
