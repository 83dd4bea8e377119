// token_card.js: the card that shows what else the model might have said: under the pointer, at the finger, or at the
// token that has the keyboard's focus.
//
// One card for the page.  An answer is one stop of the Tab key; inside it the arrow keys go from token to token.
import {byId, element, percent} from './dom.js';

let shown = null; // the token's element
let pointer = ''; // where it was last: text that moves under a pointer at rest shows nothing

function visible(piece) {
    if (piece === '') return [element('i', {}, 'end of text')];
    return [...piece.matchAll(/[ \n\t\r]|[^ \n\t\r]+/g)].map(([s]) => {
        const mark = {' ': '␣', '\n': '↵', '\t': '⇥', '\r': '␍'}[s];
        return mark ? element('i', {}, mark) : s;
    });
}

function row(name, logprob, kind) {
    const p = Math.exp(logprob), bar = element('span');
    bar.style.setProperty('--part', `${Math.min(100, 100 * p)}%`);
    return element('li', {class: kind}, element('span', {class: 'piece', dir: 'auto'}, ...name), element('span', {class: 'meter'}, bar),
        element('span', {class: 'percent'}, percent(p)));
}

function list(token) {
    const rows = token.top.map(a => ({...a, chosen: a.piece === token.piece && a.logprob === token.logprob}));
    if (!rows.some(a => a.chosen)) rows.push({piece: token.piece, logprob: token.logprob, chosen: true});
    const rest = 1 - rows.reduce((sum, a) => sum + Math.exp(a.logprob), 0);
    return element('ol', {}, ...rows.map(a => row(visible(a.piece), a.logprob, a.chosen ? 'chosen' : null)),
        rest > 0.0005 ? row(['all others'], Math.log(rest), 'rest') : null);
}

function placeCard(card, token) {
    const box = token.getClientRects()[0] ?? token.getBoundingClientRect(), gap = 8;
    const width = card.offsetWidth, height = card.offsetHeight;
    const below = box.bottom + gap + height <= innerHeight || box.top < height + 2 * gap;
    const x = Math.max(gap, Math.min(box.left - 12, innerWidth - width - gap));
    const y = below ? Math.min(box.bottom + gap, innerHeight - height - gap) : box.top - gap - height;
    card.style.setProperty('transform', `translate(${Math.round(x)}px, ${Math.round(Math.max(gap, y))}px)`);
}

// tokens: of the cell that the element belongs to.
export function showCard(node, tokens) {
    const card = byId('token-card');
    hideCard();
    shown = node;
    for (const part of shown.parentNode.querySelectorAll(`[data-cell="${shown.dataset.cell}"]`)) part.classList.add('on');
    const parts = tokens.flatMap((t, i) => [
        element('h3', {}, tokens.length > 1 ? `Token ${i + 1} of ${tokens.length}` : 'What the model might have said'),
        list(t)]);
    card.replaceChildren(...parts.slice(0, 8), element('small', {}, 'Before temperature and penalties.'));
    card.hidden = false;
    node.setAttribute('aria-describedby', 'token-card');
    placeCard(card, node);
}

export function hideCard() {
    if (!shown) return;
    for (const part of document.querySelectorAll('.t.on')) part.classList.remove('on');
    shown.removeAttribute('aria-describedby');
    shown = null;
    byId('token-card').hidden = true;
}

function focusToken(root, node) {
    root.querySelector('.t[tabindex]')?.removeAttribute('tabindex');
    node.tabIndex = -1;
    node.focus({preventScroll: true});
    node.scrollIntoView({block: 'nearest'});
}

function neighbour(root, from, step) {
    const all = root.querySelectorAll('.t');
    if (!from) return step > 0 ? all[0] : all[all.length - 1];
    let i = Array.prototype.indexOf.call(all, from);
    do i += step; while (all[i] && all[i].dataset.cell === from.dataset.cell);
    return all[i] ?? null;
}

function onKey(e, root) {
    const current = e.target.closest('.t');
    const target = {
        ArrowRight: () => neighbour(root, current, 1), ArrowLeft: () => neighbour(root, current, -1),
        Home: () => neighbour(root, null, 1), End: () => neighbour(root, null, -1)}[e.key]?.();
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest('pre') === e.target) return;
    if (target) {
        focusToken(root, target);
        e.preventDefault();
    } else if (e.key === 'Escape' && current) {
        root.focus();
        e.stopPropagation();
    }
}

// Watches the tokens of an answer.  answer: its AnswerText.
export function watchTokens(root, answer) {
    const at = e => {
        const node = e.target.closest?.('.t');
        if (node) showCard(node, answer.cells[node.dataset.cell]);
    };
    root.addEventListener('pointermove', e => {
        const here = `${e.clientX} ${e.clientY}`;
        if (e.pointerType !== 'mouse' || here === pointer) return;
        pointer = here;
        if (e.target !== shown) at(e);
    });
    root.addEventListener('pointerout', e => { if (e.pointerType === 'mouse' && e.target === shown && document.activeElement !== shown) hideCard(); });
    root.addEventListener('click', at); // a finger's way
    root.addEventListener('focusin', at);
    root.addEventListener('focusout', hideCard);
    root.addEventListener('keydown', e => onKey(e, root));
}

export function buildTokenCard() {
    // The answer moves: the card goes with a token that has the focus, and away from the pointer.
    document.addEventListener('scroll', () => {
        if (shown && shown === document.activeElement) placeCard(byId('token-card'), shown);
        else hideCard();
    }, {capture: true, passive: true});
    document.addEventListener('pointerdown', e => { if (!e.target.closest?.('.t')) hideCard(); });
    addEventListener('resize', hideCard);
}
