// SPDX-License-Identifier: MIT
// openai_client.test.mjs: the official client of the API, unmodified, as its users use it.
import {cases, check, demo, equal, good, lockstep, serve, status, until} from './harness.mjs';
import {OpenAI, collect, connect, fails, joined, model} from './openai.mjs';

// A context that the demo model was not trained for, so that a stream can be as long as a test needs it.
const ctx = 16384;
const server = await serve(['-n', '2', '--ctx', String(ctx)]);
const client = connect(server);

const complete = body => client.completions.create({model, prompt: 'Call me Ishmael.', temperature: 0, max_tokens: 30, ...body});
const chat = body => client.chat.completions.create({model, temperature: 0, max_tokens: 30,
    messages: [{role: 'system', content: 'You are Hamlet.'}, {role: 'user', content: 'To be?'}], ...body});
const text = async body => (await complete(body)).choices[0].text;
const blocksAreFree = () => until('all blocks are free', async () => {
    const s = await status(server);
    return s.kv_blocks_used === 0 && s.running === 0 && s.waiting === 0;
});
await cases({
    async models() {
        const list = [];
        for await (const m of client.models.list()) list.push(m);
        equal(list.map(m => [m.id, m.object]), [[model, 'model']], 'the list of models');
        const one = await client.models.retrieve(model);
        equal(one.id, model, 'the model');
        equal(one.context_length, ctx, 'its context');
        check(one.owned_by && Number.isInteger(one.created), 'owned_by and created');
        await fails(client.models.retrieve('gpt-4'), OpenAI.NotFoundError);
    },

    async 'a completion, whole and streamed'() {
        const whole = await complete();
        equal(whole.object, 'text_completion', 'object');
        equal(whole.model, model, 'model');
        check(whole.id.startsWith('cmpl-') && whole.system_fingerprint, 'id and fingerprint');
        equal(whole.choices[0].finish_reason, 'length', 'finish_reason');
        equal(whole.usage.completion_tokens, 30, 'completion tokens');
        equal(whole.usage.total_tokens, whole.usage.prompt_tokens + 30, 'total tokens');
        const chunks = await collect(await complete({stream: true}));
        equal(joined(chunks), whole.choices[0].text, 'the streamed text');
        check(chunks.length > 10, `${chunks.length} chunks come one by one`);
        check(chunks.every(c => c.id === chunks[0].id && c.object === 'text_completion'), 'one id');
        equal(chunks.map(c => c.choices[0].finish_reason).filter(Boolean), ['length'], 'one finish_reason');
        check(chunks.at(-1).choices[0].finish_reason === 'length', 'and it comes last');
        check(chunks.every(c => c.usage == null), 'no usage unless asked for');
    },

    async 'a chat, whole and streamed'() {
        const whole = await chat();
        equal(whole.object, 'chat.completion', 'object');
        equal(whole.choices[0].message.role, 'assistant', 'role');
        const chunks = await collect(await chat({stream: true}));
        equal(chunks[0].choices[0].delta.role, 'assistant', 'the role comes first');
        check(chunks.slice(1).every(c => !('role' in c.choices[0].delta)), 'and once');
        check(chunks.every(c => c.object === 'chat.completion.chunk'), 'object of chunks');
        equal(joined(chunks), whole.choices[0].message.content, 'the streamed text');
        const parts = await chat({messages: [{role: 'developer', content: [{type: 'text', text: 'You are '}, {type: 'text', text: 'Hamlet.'}]},
            {role: 'user', content: 'To be?'}]});
        equal(parts.choices[0].message.content, whole.choices[0].message.content, 'the same messages, said otherwise');
        const helper = client.beta.chat.completions.stream({model, temperature: 0, max_tokens: 30,
            messages: [{role: 'system', content: 'You are Hamlet.'}, {role: 'user', content: 'To be?'}]});
        equal((await helper.finalChatCompletion()).choices[0].message.content, whole.choices[0].message.content, "the client's own collecting");
    },

    async usage() {
        for (const make of [complete, chat]) {
            const chunks = await collect(await make({stream: true, stream_options: {include_usage: true}}));
            const last = chunks.pop();
            equal(last.choices, [], 'the usage chunk has no choices');
            equal(last.usage.completion_tokens, 30, 'completion tokens');
            check(chunks.every(c => c.usage === null), 'the others say null');
            const whole = await make();
            equal(last.usage.prompt_tokens, whole.usage.prompt_tokens, 'prompt tokens');
        }
    },

    async 'logprobs of completions'() {
        const whole = await complete({logprobs: 3});
        const l = whole.choices[0].logprobs;
        for (const name of ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'])
            equal(l[name].length, 30, `length of ${name}`);
        equal(l.tokens.join(''), whole.choices[0].text, 'the tokens are the text');
        l.tokens.forEach((token, i) => {
            const best = Math.max(...Object.values(l.top_logprobs[i]));
            equal(Object.keys(l.top_logprobs[i]).length, 3, 'alternatives');
            equal(l.token_logprobs[i], best, `greedy token ${i} is the best one`);
            equal(l.top_logprobs[i][token], best, 'and stands among the alternatives');
            equal(l.text_offset[i], l.tokens.slice(0, i).join('').length, `offset of token ${i}`);
        });
        const chunks = await collect(await complete({logprobs: 3, stream: true}));
        const streamed = chunks.flatMap(c => c.choices[0].logprobs?.token_logprobs ?? []);
        equal(streamed, l.token_logprobs, 'the streamed log-probabilities');
        const offsets = chunks.flatMap(c => c.choices[0].logprobs?.text_offset ?? []);
        equal(offsets, l.text_offset, 'the streamed offsets');
    },

    async 'logprobs of chats'() {
        const whole = await chat({logprobs: true, top_logprobs: 2});
        const content = whole.choices[0].logprobs.content;
        equal(content.map(t => t.token).join(''), whole.choices[0].message.content, 'the tokens are the text');
        for (const t of content) {
            equal(t.top_logprobs.length, 2, 'alternatives');
            equal(Buffer.from(t.bytes).toString(), t.token, 'bytes');
            equal(t.logprob, t.top_logprobs[0].logprob, 'greedy');
            check(t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob, 'best first');
        }
        const chunks = await collect(await chat({logprobs: true, top_logprobs: 2, stream: true}));
        equal(chunks.flatMap(c => c.choices[0].logprobs?.content ?? []), content, 'streamed');
        equal((await chat()).choices[0].logprobs, null, 'null when not asked for');
    },

    // The echoed prompt is scored as `lockstep eval` scores it.
    async echo() {
        const prompt = 'It was the best of times, it was the worst of times.';
        const whole = await complete({prompt, echo: true, logprobs: 2, max_tokens: 0});
        equal(whole.choices[0].text, prompt, 'the echo');
        const l = whole.choices[0].logprobs;
        equal(l.token_logprobs[0], null, 'the first token follows nothing');
        const lines = (await good(lockstep, ['eval', '--prompt', prompt, '--top', '2', '--json'])).stdout.trim().split('\n').map(s => JSON.parse(s));
        equal(l.tokens.length, lines.length - 1, 'positions');
        for (let i = 1; i < l.tokens.length; i++) {
            const wanted = lines[i - 1].top.map(([, logprob]) => logprob);
            Object.values(l.top_logprobs[i]).forEach((got, k) =>
                check(Math.abs(got - wanted[k]) < 1e-3, `position ${i}: ${got} is ${wanted[k]}`));
        }
        const more = await complete({prompt, echo: true, max_tokens: 5});
        equal(more.choices[0].text, prompt + await text({prompt, max_tokens: 5}), 'echo and completion');
    },

    async 'stop strings are never sent'() {
        const full = await text({max_tokens: 60});
        for (const [from, length] of [[10, 7], [25, 3], [40, 12], [17, 1]]) {
            const stop = full.slice(from, from + length);
            const wanted = full.slice(0, full.indexOf(stop));
            for (const form of [stop, [stop], ['no such text', stop, '\u0001']]) {
                const whole = await complete({max_tokens: 60, stop: form});
                equal(whole.choices[0].text, wanted, `text before ${JSON.stringify(form)}`);
                equal(whole.choices[0].finish_reason, 'stop', 'finish_reason');
                const chunks = await collect(await complete({max_tokens: 60, stop: form, stream: true}));
                equal(joined(chunks), wanted, `streamed text before ${JSON.stringify(form)}`);
                equal(chunks.at(-1).choices[0].finish_reason, 'stop', 'streamed finish_reason');
            }
        }
        // half of it, and then something else: it comes out after all
        equal(await text({max_tokens: 60, stop: full.slice(20, 30) + '\u0001'}), full, 'half a stop string');
        const [first, second] = [full.slice(30, 34), full.slice(12, 15)];
        equal(await text({max_tokens: 60, stop: [first, second]}), full.slice(0, Math.min(full.indexOf(first), full.indexOf(second))), 'the first of two');
    },

    async 'the end of a text is a stop'() {
        const {stdout} = await good(lockstep, ['inspect', '--model', demo, '--json']);
        const eos = JSON.parse(stdout).tokenizer.eos.id;
        const end = await complete({logit_bias: {[eos]: 100}});
        equal([end.choices[0].text, end.choices[0].finish_reason], ['', 'stop'], 'text and finish_reason');
        const on = await complete({logit_bias: {[eos]: 100}, ignore_eos: true, max_tokens: 5});
        equal(on.choices[0].finish_reason, 'length', 'finish_reason with ignore_eos');
    },

    async 'logit_bias and penalties'() {
        const whole = await complete({logprobs: 0, max_tokens: 1});
        const ids = JSON.parse((await good(lockstep, ['tokenize', '--json', whole.choices[0].text])).stdout).ids;
        equal(ids.length, 1, 'one token');
        const other = await complete({logit_bias: {[ids[0]]: -100}, max_tokens: 1});
        check(other.choices[0].text !== whole.choices[0].text, 'a banned token does not come');
        const forced = await complete({logit_bias: {[ids[0]]: 100}, max_tokens: 5});
        equal(forced.choices[0].text, whole.choices[0].text.repeat(5), 'a wanted token comes');
        const penalised = await complete({logit_bias: {[ids[0]]: 20}, presence_penalty: 2, frequency_penalty: 2, max_tokens: 30});
        const free = await complete({logit_bias: {[ids[0]]: 20}, max_tokens: 30});
        const count = s => s.split(whole.choices[0].text).length;
        check(count(penalised.choices[0].text) < count(free.choices[0].text), 'penalties make it rarer');
    },

    async 'a seed is for one request'() {
        const seeded = await text({temperature: 1, seed: 42});
        const free = [await text({temperature: 1}), await text({temperature: 1})];
        equal(await text({temperature: 1, seed: 42}), seeded, 'the same seed, the same text');
        equal(new Set([seeded, ...free, await text({temperature: 1, seed: 43})]).size, 4, 'different texts');
    },

    async 'n choices'() {
        const four = await complete({temperature: 1, n: 4, seed: 7});
        equal(four.choices.map(c => c.index), [0, 1, 2, 3], 'indices');
        equal(new Set(four.choices.map(c => c.text)).size, 4, 'different texts');
        equal(four.usage.completion_tokens, 120, 'completion tokens');
        equal(four.choices[0].text, await text({temperature: 1, seed: 7}), 'the first is the one that n = 1 gives');
        const texts = ['', '', '', ''];
        for await (const chunk of await complete({temperature: 1, n: 4, seed: 7, stream: true}))
            for (const c of chunk.choices) texts[c.index] += c.text;
        equal(texts, four.choices.map(c => c.text), 'streamed');
        const prompts = await complete({prompt: ['Call me Ishmael.', 'To be, or not'], n: 2});
        equal(prompts.choices.map(c => c.text),
            [await text(), await text(), await text({prompt: 'To be, or not'}), await text({prompt: 'To be, or not'})], 'two prompts, two choices');
    },

    async 'many at once are as one alone'() {
        const prompts = Array.from({length: 12}, (_, i) => `${['Call me', 'The whale', 'O Romeo', 'Enter'][i % 4]} number ${i}${' and then'.repeat(i)}`);
        const alone = [];
        for (const prompt of prompts) alone.push(await text({prompt}));
        equal(await Promise.all(prompts.map(prompt => text({prompt}))), alone, 'texts');
        const seeded = i => text({prompt: prompts[i], temperature: 1, seed: i});
        const one = [];
        for (let i = 0; i < 4; i++) one.push(await seeded(i));
        const all = await Promise.all([...prompts.map(prompt => text({prompt})), ...[0, 1, 2, 3].map(seeded)]);
        equal(all.slice(-4), one, 'sampled texts in any batch');
        await blocksAreFree();
    },

    async 'a cancelled request frees its blocks'() {
        const before = (await status(server)).cancelled;
        for (const make of [complete, chat]) {
            const stream = await make({stream: true, max_tokens: 10000, ignore_eos: true});
            let n = 0;
            for await (const _ of stream) {
                if (++n !== 5) continue; // what was on the way still comes
                check((await status(server)).kv_blocks_used > 0, 'blocks are in use');
                stream.controller.abort();
            }
            await blocksAreFree();
        }
        const controller = new AbortController();
        const whole = client.completions.create({model, prompt: 'Call me', max_tokens: 10000, ignore_eos: true}, {signal: controller.signal});
        await until('it runs', async () => (await status(server)).running === 1);
        controller.abort();
        await fails(whole, OpenAI.APIUserAbortError);
        await blocksAreFree();
        equal((await status(server)).cancelled - before, 3, 'they are counted');
    },

    async errors() {
        let e = await fails(complete({temperature: 3}), OpenAI.BadRequestError);
        equal([e.status, e.param, e.type], [400, 'temperature', 'invalid_request_error'], 'a value out of range');
        e = await fails(chat({messages: 'hi'}), OpenAI.BadRequestError);
        equal(e.param, 'messages', 'a wrong type');
        e = await fails(complete({stop: 5, stream: true}), OpenAI.BadRequestError);
        equal(e.param, 'stop', 'in a stream too');
        e = await fails(complete({model: 'gpt-4'}), OpenAI.NotFoundError);
        equal([e.param, e.code], ['model', 'model_not_found'], 'another model');
        e = await fails(complete({prompt: Array(ctx).fill(300)}), OpenAI.BadRequestError);
        equal(e.code, 'context_length_exceeded', 'a prompt that fills the context');
        e = await fails(complete({prompt: Array(ctx + 7).fill(300)}), OpenAI.BadRequestError);
        check(e.message.includes(String(ctx)) && e.message.includes(String(ctx + 7)), `both numbers: ${e.message}`);
        equal((await complete({prompt: [300, 301], best_of: 1, unheard_of: {a: 1}})).choices.length, 1, 'unknown fields are ignored');
    },
});

await blocksAreFree();
equal(await server.stop(), 0, `exit code:\n${server.log()}`);
