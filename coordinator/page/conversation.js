// conversation.js: the turns of a chat, or texts to complete, and the one answer that may be under way.
//
// Parts of an answer are collected and drawn at most once a frame, however fast they come.  The log follows the answer
// while its end is in sight, and stays where the reader has scrolled to.
import {byId, element, speak} from './dom.js';
import {CompletionError, streamCompletion} from './events.js';
import {whenKeyIsGiven} from './key.js';
import {requestFields, systemPrompt} from './settings.js';
import {Turn} from './turn.js';

const NEAR_END = 60, SPEAK_MS = 2500, STATS_MS = 200;

export const isAtEnd = log => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;

export class Conversation {
    // changed() is called when an answer begins or ends and when turns come or go.
    constructor(chat, changed) {
        this.chat = chat;
        this.changed = changed;
        this.turns = [];
        this.running = null; // {turn, controller}
        this.column = element('div', {class: 'column turns'});
        this.actions = {
            retry: turn => this.run(turn), goOn: turn => this.run(turn, true),
            edit: (turn, text) => { turn.ask(text); this.run(turn); }};
        byId('log').append(this.column);
    }

    send(text) {
        const turn = new Turn(text, this.chat, this.actions);
        this.turns.push(turn);
        this.column.append(turn.root);
        this.run(turn);
    }

    stop() {
        this.running?.controller.abort();
    }

    clear() {
        this.stop();
        this.turns = [];
        this.column.replaceChildren();
        this.changed();
    }

    body(turn, goOn) {
        const fields = requestFields(this.chat);
        if (!this.chat) return {...fields, prompt: goOn ? turn.asked + turn.written : turn.asked};
        const messages = systemPrompt() ? [{role: 'system', content: systemPrompt()}] : [];
        for (const t of this.turns) // those that were never answered are left out
            if (t !== turn && t.written) messages.push({role: 'user', content: t.asked}, {role: 'assistant', content: t.written});
        return {...fields, messages: [...messages, {role: 'user', content: turn.asked}]};
    }

    async run(turn, goOn = false) {
        if (this.running) return;
        const controller = new AbortController(), path = this.chat ? '/v1/chat/completions' : '/v1/completions';
        const fields = this.body(turn, goOn);
        this.running = {turn, controller};
        if (!goOn) turn.forget();
        turn.begin(performance.now(), goOn);
        this.spokenTo = turn.written.length;
        this.spokenAt = performance.now();
        this.queue = [];
        this.changed();
        this.follow(true);
        try {
            for await (const part of streamCompletion(path, fields, controller.signal)) {
                this.queue.push({...part, at: performance.now()});
                if (this.queue.length === 1) this.drawSoon();
            }
            this.draw();
            turn.settle(turn.finish);
        } catch (e) {
            this.draw();
            if (controller.signal.aborted) turn.settle('stopped');
            else this.failed(turn, e);
        }
        this.say(turn, true);
        this.running = null;
        this.changed();
        this.follow();
    }

    failed(turn, e) {
        if (!(e instanceof CompletionError)) console.error(e);
        turn.fail(e.message);
        if (e.status !== 401) return;
        whenKeyIsGiven(() => { if (turn.state === 'failed' && this.turns.at(-1) === turn) this.run(turn); });
        byId('key-input').focus();
    }

    // In the next frame, or later when the last drawing was slow: two thirds of the time are the reader's.
    drawSoon() {
        const frame = () => requestAnimationFrame(() => this.draw());
        if (this.drawing_ms > 8) setTimeout(frame, 2 * this.drawing_ms);
        else frame();
    }

    draw() {
        if (!this.running || !this.queue.length) return;
        const {turn} = this.running, now = performance.now(), log = byId('log'), atEnd = isAtEnd(log);
        for (const part of this.queue) turn.receive(part);
        this.queue = [];
        if (now - (this.statsAt ?? 0) > STATS_MS) {
            this.statsAt = now;
            turn.showStats();
        }
        this.say(turn, false);
        if (atEnd) this.follow(true);
        this.drawing_ms = performance.now() - now;
    }

    follow(always = false) {
        const log = byId('log');
        if (!this.column.hidden && (always || isAtEnd(log))) log.scrollTop = log.scrollHeight;
    }

    // Whole sentences, not too often: token by token nobody could listen.
    say(turn, over) {
        const now = performance.now();
        if (!over && now - this.spokenAt < SPEAK_MS) return;
        const rest = turn.written.slice(this.spokenTo);
        const end = over ? rest.length : rest.search(/[.!?。！？\n][^.!?。！？\n]*$/) + 1;
        if (end > 0) speak(rest.slice(0, end));
        if (end > 0 || over) this.spokenAt = now;
        this.spokenTo += Math.max(0, end);
        if (over && turn.state === 'stopped') speak('Stopped.');
    }
}
