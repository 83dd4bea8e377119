// answer.js: text that grows, token by token, in paragraphs and code blocks, every token an element that can be
// pointed at.
//
// Nothing is ever drawn twice: a piece of text is appended to the last block or begins a new one, so the cost of a
// token does not grow with the answer.  Only the beginning of a line is held back, until it is known whether it
// opens or closes a fence (```).  What came with one token is a cell; a cell that spans lines has several elements.
import {copyText, element} from './dom.js';

const mayOpen = /^ {0,3}(`{0,2}$|```[^`]*$)/, opens = /^ {0,3}```[^`]*$/;
const mayClose = /^ {0,3}(`{0,2}$|```+ *$)/, closes = /^ {0,3}```+ *$/;

export class AnswerText {
    // plain: every character as it is, without code blocks and paragraphs.
    constructor(root, {plain = false} = {}) {
        this.root = root;
        this.plain = plain;
        this.clear();
    }

    clear() {
        this.root.replaceChildren();
        this.cells = []; // tokens of each cell
        this.text = '';
        this.block = null; // what is appended to: a p or a code
        this.code = false;
        this.held = [];    // [text, class, cell] of a line's beginning
        this.lineBegin = true;
        this.carried = []; // tokens whose text has not come: parts of a character
    }

    // kind: a class for text that is no token's, or ''.
    append(text, tokens = [], kind = '') {
        const all = [...this.carried, ...tokens];
        this.carried = text === '' ? all : [];
        if (text === '') return;
        this.text += text;
        for (const [part, its] of this.cut(text, all)) {
            const cell = its.length ? this.cells.push(its) - 1 : -1;
            for (const piece of part.match(/\n|[^\n]+/g)) this.put(piece, kind, cell);
        }
    }

    // Text that came with several tokens belongs to each of them where their pieces make it up.
    cut(text, tokens) {
        const whole = tokens.length > 1 && tokens.map(t => t.piece).join('') === text && tokens.every(t => t.piece);
        return whole ? tokens.map(t => [t.piece, [t]]) : [[text, tokens]];
    }

    put(piece, kind, cell) {
        if (this.plain) return this.putPlain(piece, kind, cell);
        if (piece === '\n') return this.endLine(kind, cell);
        if (!this.lineBegin) return this.draw(piece, kind, cell);
        this.held.push([piece, kind, cell]);
        if (!(this.code ? mayClose : mayOpen).test(this.heldText())) this.release();
    }

    putPlain(piece, kind, cell) {
        if (!this.block) this.begin('p');
        this.draw(piece, kind, cell);
        if (piece === '\n') this.block = null;
    }

    heldText() {
        return this.held.map(h => h[0]).join('');
    }

    release() {
        for (const h of this.held) this.draw(...h);
        this.held = [];
        this.lineBegin = false;
    }

    endLine(kind, cell) {
        const line = this.heldText();
        if ((this.code ? closes : opens).test(line)) {
            if (this.code) this.block = null;
            else this.beginCode(line.replace(/^ *`+/, '').trim());
            this.code = !this.code;
            this.held = [];
        } else {
            const blank = this.lineBegin && line.trim() === '';
            if (blank && !this.code) this.held = [], this.block = null;
            else this.release(), this.draw('\n', kind, cell);
        }
        this.lineBegin = true;
    }

    begin(tag) {
        this.block = element(tag);
        this.root.append(this.block);
    }

    beginCode(language) {
        this.block = element('code');
        const code = this.block;
        const button = element('button', {type: 'button', class: 'quiet', onclick: e => copyText(code.textContent.replace(/\n$/, ''), e.currentTarget)}, 'Copy');
        this.root.append(element('div', {class: 'code'}, element('header', {}, element('span', {}, language || 'code'), button),
            element('pre', {tabindex: 0, dir: 'ltr'}, code)));
    }

    draw(piece, kind, cell) {
        if (!this.block) this.begin('p');
        const last = this.block.lastChild;
        if (cell < 0 && !kind) {
            if (last?.nodeType === Node.TEXT_NODE) last.appendData(piece);
            else this.block.append(piece);
            return;
        }
        const span = document.createElement('span');
        span.className = cell < 0 ? kind : `t ${unlikeliness(this.cells[cell])}`;
        if (cell >= 0) span.dataset.cell = cell;
        span.textContent = piece;
        this.block.append(span);
    }

    // No more text comes.
    end() {
        if (this.held.length && this.code && closes.test(this.heldText())) this.held = [];
        this.release();
        this.lineBegin = this.text === '' || this.text.endsWith('\n');
    }
}

function unlikeliness(tokens) {
    const p = Math.exp(Math.min(...tokens.map(t => t.logprob ?? 0)));
    return p >= 0.5 ? '' : p >= 0.2 ? 'u1' : p >= 0.05 ? 'u2' : 'u3';
}
