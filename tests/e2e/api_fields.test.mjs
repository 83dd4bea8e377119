// SPDX-License-Identifier: MIT
// api_fields.test.mjs: every field of a request and of an answer, with the official client: what it does, what a
// wrong value gets, what is said about the work.  `openai_client` has the texts, streams and log-probabilities.
import {cases, check, equal, post, serve} from './harness.mjs';
import {OpenAI, collect, connect, fails, joined, model} from './openai.mjs';

const server = await serve(['-n', '2']);
const client = connect(server);
const messages = [{role: 'user', content: 'To be?'}];
const complete = body => client.completions.create({model, prompt: 'Call me Ishmael.', temperature: 0, max_tokens: 20, ...body});
const chat = body => client.chat.completions.create({model, messages, temperature: 0, max_tokens: 20, ...body});
const text = async body => (await complete(body)).choices[0].text;
const said = async body => (await chat(body)).choices[0].message.content;
const call = async (path, body) => (await post(server, path, body)).json();

await cases({
    // At a temperature of 2 each of these alone leaves only the likeliest token.
    async 'fields that choose tokens'() {
        const greedy = await text();
        for (const narrow of [{top_k: 1}, {top_p: 0}, {min_p: 1}, {temperature: 0, top_k: 50, top_p: 0.5, min_p: 0.1}])
            equal(await text({temperature: 2, seed: 1, ...narrow}), greedy, `with ${JSON.stringify(narrow)}`);
        for (const off of [{top_k: 0}, {top_k: -1}, {top_p: 1}, {min_p: 0}, {repeat_penalty: 1}, {presence_penalty: 0, frequency_penalty: 0}])
            equal(await text({temperature: 1, seed: 5, ...off}), await text({temperature: 1, seed: 5}), `with ${JSON.stringify(off)}`);
        check(await text({temperature: 2, seed: 1}) !== greedy, 'without them it wanders');
        const repeats = async body => { // of a token that is wanted
            const {tokens} = (await complete({logit_bias: {300: 12}, logprobs: 0, max_tokens: 30, ...body})).choices[0].logprobs;
            return tokens.filter(t => t === tokens[0]).length;
        };
        const free = await repeats();
        for (const against of [{repeat_penalty: 4}, {presence_penalty: 2, frequency_penalty: 2}, {frequency_penalty: 2}])
            check(await repeats(against) < free, `${JSON.stringify(against)}: ${await repeats(against)} of ${free}`);
        check(await repeats({frequency_penalty: -2}) >= free, 'and a negative one does not');
    },

    async 'fields that bound the answer'() {
        for (const name of ['max_tokens', 'max_completion_tokens']) {
            equal((await complete({max_tokens: undefined, [name]: 3})).usage.completion_tokens, 3, `${name} of a completion`);
            equal((await chat({max_tokens: undefined, [name]: 3})).usage.completion_tokens, 3, `${name} of a chat`);
        }
        equal((await complete({max_tokens: undefined, ignore_eos: true})).usage.completion_tokens, 16, "OpenAI's default for completions");
        const long = await chat({max_tokens: undefined, ignore_eos: true, stop: null});
        equal(long.usage.total_tokens <= 256 && long.choices[0].finish_reason !== null, true, 'a chat goes on to the end of the context');
        const echo = await complete({max_tokens: 0, echo: true});
        equal([echo.choices[0].text, echo.choices[0].finish_reason, echo.usage.completion_tokens], ['Call me Ishmael.', 'length', 0], 'only an echo');
    },

    async 'a prompt has four forms'() {
        const {tokens} = await call('/tokenize', {content: 'Call me Ishmael.', add_special: true});
        const wanted = await text();
        for (const prompt of [['Call me Ishmael.'], tokens, [tokens]]) equal(await text({prompt}), wanted, `prompt ${JSON.stringify(prompt)}`);
        const two = await complete({prompt: [tokens, tokens.slice(0, -1)]});
        equal(two.choices.map(c => [c.index, c.text]), [[0, wanted], [1, await text({prompt: tokens.slice(0, -1)})]], 'two arrays');
        equal(two.usage.prompt_tokens, 2 * tokens.length - 1, 'tokens of both');
    },

    async 'roles and contents'() {
        const ask = list => said({messages: list});
        const system = await ask([{role: 'system', content: 'You are Hamlet.'}, ...messages]);
        equal(await ask([{role: 'developer', content: 'You are Hamlet.'}, ...messages]), system, 'a developer is a system');
        equal(await ask([{role: 'system', content: [{type: 'text', text: 'You are '}, {type: 'text', text: 'Hamlet.'}]}, ...messages]), system, 'parts');
        const history = [...messages, {role: 'assistant', content: null, tool_calls: [{id: '1', type: 'function', function: {name: 'f', arguments: '{}'}}]},
            {role: 'tool', content: 'Not to be.', tool_call_id: '1'}, {role: 'user', name: 'me', content: 'So?'}];
        check((await ask(history)).length > 0, 'assistants and tools');
        const prompt = (await call('/apply-template', {messages: history})).prompt;
        check(/User: To be\?[^]*Tool: Not to be\.[^]*User: So\?/.test(prompt), prompt);
    },

    async 'a known field with a wrong value is named'() {
        const wrong = {
            model: [5, {}], temperature: ['1', -0.1, 2.1, [], true], top_p: [-0.1, 1.1, '0.5'], min_p: [-1, 1.5, 'x'], top_k: [-2, 1.5, '40'],
            n: [0, 17, 1.5, '2'], stop: [5, [5], ['a', 'b', 'c', 'd', 'e'], {}, 'x'.repeat(257)], seed: ['7', 1.5, {}], presence_penalty: [-2.1, 2.1, '1'],
            frequency_penalty: [-2.1, 2.1, []], repeat_penalty: [0, -1, '1'], max_tokens: [-1, 0, '5', 1.5],
            max_completion_tokens: [-1, 0, '5'], logit_bias: [[], {x: 1}, {1: 101}, {1: 'x'}, {999999: 1}, 5], stream: [1, 'true'],
            stream_options: [true, {include_usage: 1}], ignore_eos: [1, 'no'], user: [5, {}],
        };
        const ofCompletions = {prompt: [null, 5, {}, [], '', [[]], [1.5], [-1], [999999], [1, 'a']], logprobs: [true, -1, 21, '3'], echo: [1, 'yes']};
        const ofChats = {messages: [null, 5, 'hi', [], [5], [{}], [{role: 5}], [{role: 'king', content: 'x'}]], logprobs: [5, 'yes'],
            top_logprobs: [-1, 21, '3', 1.5, 5], tools: [5], chat_template_kwargs: [5], add_generation_prompt: [5]};
        for (const [make, fields] of [[complete, {...wrong, ...ofCompletions}], [chat, {...wrong, ...ofChats}]]) {
            for (const [name, values] of Object.entries(fields)) {
                for (const value of values) {
                    const e = await fails(make({[name]: value}), OpenAI.BadRequestError, `${name} = ${JSON.stringify(value)}`);
                    equal([e.status, e.param, e.type], [400, name, 'invalid_request_error'], `${name} = ${JSON.stringify(value)}: ${e.message}`);
                    check(e.message.includes(name), e.message);
                }
            }
        }
        for (const content of [5, {}, ['x'], [{type: 'image_url'}], [{type: 'text'}]]) {
            const e = await fails(chat({messages: [...messages, {role: 'user', content}]}), OpenAI.BadRequestError);
            equal(e.param, 'messages[1].content', `content ${JSON.stringify(content)}`);
        }
        const e = await fails(complete({prompt: Array(300).fill(300)}), OpenAI.BadRequestError);
        equal([e.code, e.param], ['context_length_exceeded', 'prompt'], 'a prompt that is too long');
        check(e.message.includes('300') && e.message.includes('256'), `both numbers: ${e.message}`);
        equal((await fails(chat({messages: [{role: 'user', content: 'word '.repeat(300)}]}), OpenAI.BadRequestError)).code, 'context_length_exceeded', 'a chat too');
    },

    async 'what answers say of themselves'() {
        const begin = Math.floor(Date.now() / 1000);
        const [one, two, talk] = [await complete(), await complete(), await chat()];
        equal([one.object, talk.object], ['text_completion', 'chat.completion'], 'object');
        check(/^cmpl-\w+$/.test(one.id) && /^chatcmpl-\w+$/.test(talk.id) && one.id !== two.id, 'ids');
        for (const a of [one, two, talk]) {
            check(a.created >= begin && a.created <= begin + 60, `created ${a.created}`);
            equal([a.model, a.system_fingerprint], [model, one.system_fingerprint], 'model and fingerprint');
        }
        for (const stream of [false, true]) {
            const {data, response} = await client.completions.create({model, prompt: 'x', max_tokens: 1, stream}).withResponse();
            equal(response.headers.get('x-request-id'), stream ? (await collect(data))[0].id : data.id, 'X-Request-Id');
        }
        check(/^\S+\+\S+-[0-9a-f]{8}$/.test(one.system_fingerprint), `build and plan: ${one.system_fingerprint}`);
        equal(talk.choices[0].message.role, 'assistant', 'role');
        equal(talk.choices[0].logprobs, null, 'logprobs');
        const chunks = await collect(await chat({stream: true}));
        check(chunks.every(c => c.id === chunks[0].id && c.created === chunks[0].created && c.system_fingerprint === one.system_fingerprint), 'chunks');
        equal(chunks.map(c => c.choices[0].finish_reason).filter(r => r !== null).length, 1, 'null until the last one');
    },

    async 'usage and timings'() {
        const prompt = Array.from({length: 100}, (_, i) => 400 + i);
        const first = await complete({prompt}), again = await complete({prompt});
        equal(first.usage, {prompt_tokens: 100, completion_tokens: 20, total_tokens: 120, prompt_tokens_details: {cached_tokens: 0}}, 'usage');
        equal(again.usage.prompt_tokens_details.cached_tokens, 96, 'whole blocks are found again');
        const expect = (t, cached) => {
            equal([t.cache_n, t.prompt_n, t.predicted_n], [cached, 100 - cached, 20], 'counts');
            for (const name of ['prompt_ms', 'prompt_per_token_ms', 'prompt_per_second', 'predicted_ms', 'predicted_per_token_ms', 'predicted_per_second'])
                check(t[name] > 0, `${name} is ${t[name]}`);
            check(Math.abs(t.prompt_per_token_ms * (100 - cached) - t.prompt_ms) < 0.2, 'per token');
            check(Math.abs(t.predicted_per_second * t.predicted_per_token_ms - 1000) < 30, 'per second');
        };
        expect(first.timings, 0);
        expect(again.timings, 96);
        const bare = await collect(await complete({prompt, stream: true}));
        expect(bare.at(-1).timings, 96);
        check(bare.slice(0, -1).every(c => !c.timings), 'in the last chunk only');
        const asked = await collect(await complete({prompt, stream: true, stream_options: {include_usage: true}}));
        expect(asked.at(-1).timings, 96);
        equal(asked.at(-1).usage, again.usage, 'usage of a stream');
        const four = await complete({prompt, n: 4, max_tokens: 5});
        equal([four.usage.prompt_tokens, four.usage.completion_tokens], [100, 20], 'a prompt counts once for all its choices');
    },

    // What was found in the cache has no log-probabilities: an echo with them computes its prompt again.
    async 'an echo is scored whatever is cached'() {
        const prompt = Array.from({length: 80}, (_, i) => 700 + i);
        const ask = body => complete({prompt, echo: true, logprobs: 2, max_tokens: 2, ...body});
        await complete({prompt, max_tokens: 1});
        const [one, two] = [await ask(), await ask()];
        equal(two.choices, one.choices, 'the second time');
        equal(one.choices[0].logprobs.tokens.length, 82, 'tokens');
        equal(one.choices[0].logprobs.token_logprobs.filter(v => v === null).length, 1, 'only the first follows nothing');
        const chunks = await collect(await ask({stream: true}));
        equal(joined(chunks), one.choices[0].text, 'streamed text');
        equal(chunks.flatMap(c => c.choices[0].logprobs?.token_logprobs ?? []), one.choices[0].logprobs.token_logprobs, 'streamed');
        const many = await ask({n: 2, prompt: [prompt, 'Call me']});
        equal(many.choices.map(c => c.text.startsWith('Call me')), [false, false, true, true], 'of several prompts');
        for (const c of many.choices) equal(c.logprobs.tokens.join('').length, c.logprobs.text_offset.at(-1) + c.logprobs.tokens.at(-1).length, 'offsets');
    },
});

equal(await server.stop(), 0, `exit code:\n${server.log()}`);
