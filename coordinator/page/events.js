// events.js: a streamed completion, from fetch to its parts.
//
//   {text, tokens: [{piece, logprob, top: [{piece, logprob}]}], finish}     a piece of the answer
//   {usage}                                                                 the last, when all went well
//
// Whatever goes wrong is a CompletionError with a sentence for people.
import {authorization} from './key.js';

export class CompletionError extends Error {
    constructor(message, {status = 0, type = ''} = {}) {
        super(message);
        this.status = status;
        this.type = type;
    }
}

// The `data` of server-sent events.  Comments and other fields are passed over.
async function* readEvents(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '', data = [];
    for (;;) {
        const {value, done} = await reader.read();
        if (done) return;
        const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop();
        for (const line of lines) {
            if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
            if (line !== '' || !data.length) continue;
            yield data.join('\n');
            data = [];
        }
    }
}

// A token may be a part of a character: the bytes are then no text of their own.
function pieceOf({token, bytes}) {
    if (!bytes?.length) return token;
    try {
        return new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(new Uint8Array(bytes));
    } catch {
        return bytes.map(b => `\\x${b.toString(16).padStart(2, '0')}`).join('');
    }
}

const chatTokens = logprobs => (logprobs?.content ?? []).map(t => ({
    piece: pieceOf(t), logprob: t.logprob, top: t.top_logprobs.map(a => ({piece: pieceOf(a), logprob: a.logprob}))}));

const textTokens = logprobs => (logprobs?.tokens ?? []).map((piece, i) => ({
    piece, logprob: logprobs.token_logprobs[i],
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {}).map(([name, logprob]) => ({piece: name.replace(/^bytes:/, ''), logprob}))
        .sort((a, b) => b.logprob - a.logprob)}));

async function refusal(response) {
    let error = {};
    try { error = (await response.json()).error ?? {}; } catch {} // not from our server: a proxy's page
    const again = response.headers.get('Retry-After');
    const message = (error.message ?? `The server answered ${response.status} ${response.statusText}`) +
        (response.status === 429 && again ? ` (again in ${again} s)` : '');
    return new CompletionError(message, {status: response.status, type: error.type});
}

const sentence = text => `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

export async function* streamCompletion(path, fields, signal) {
    let response;
    try {
        response = await fetch(path, {method: 'POST', signal, headers: {'Content-Type': 'application/json', ...authorization()},
            body: JSON.stringify({...fields, stream: true, stream_options: {include_usage: true}})});
    } catch (e) {
        if (signal.aborted) throw e;
        throw new CompletionError('The server cannot be reached.');
    }
    if (!response.ok) {
        const e = await refusal(response);
        e.message = sentence(e.message);
        throw e;
    }
    try {
        for await (const data of readEvents(response.body)) {
            if (data === '[DONE]') return;
            const event = JSON.parse(data);
            if (event.error) throw new CompletionError(sentence(event.error.message), {type: event.error.type});
            const choice = event.choices[0];
            if (choice)
                yield {text: choice.delta ? choice.delta.content ?? '' : choice.text, finish: choice.finish_reason,
                    tokens: choice.delta ? chatTokens(choice.logprobs) : textTokens(choice.logprobs)};
            if (event.usage) yield {usage: event.usage};
        }
    } catch (e) {
        if (signal.aborted || e instanceof CompletionError) throw e;
    }
    throw new CompletionError('The connection ended before the answer did.');
}
