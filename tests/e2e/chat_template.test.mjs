// SPDX-License-Identifier: MIT
// chat_template.test.mjs: chats through the model's own template, over HTTP: the prompts that
// @huggingface/jinja makes, special tokens as tokens, refusals, the option --chat-template.
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';
import {cases, check, equal, good, lockstep, needShared, post, run, scratch, serve, skip, source, tests} from './harness.mjs';

const folder = join(source, 'tests/template');
const {Template} = await import(pathToFileURL(join(folder, 'node_modules/@huggingface/jinja/dist/index.js'))).catch(() =>
    skip('the npm package of tests/template is not installed: cd tests/template && npm install'));
const vocabulary = name => needShared(`data/vocab/${name}.gguf`);
const template = name => needShared(`data/templates/${name}.jinja`);

// A small model with a real vocabulary, and a chat template or the vocabulary's own.
async function model(name, vocab, file) {
    const path = join(scratch, `${name}.gguf`);
    await good(join(tests, 'make_model'), ['--out', path, '--dim', '64', '--heads', '2', '--layers', '1', '--ffn', '64', '--type', 'Q8_0',
        '--ctx', '2048', '--vocab-from', vocabulary(vocab), ...(file ? ['--chat-template', file] : [])]);
    return path;
}
function written(name, text) {
    const path = join(scratch, name);
    writeFileSync(path, text);
    return path;
}
const ask = async (server, body, path = '/v1/chat/completions') => {
    const r = await post(server, path, {max_tokens: 1, ...body});
    return {status: r.status, body: await r.json()};
};
const prompt = async (server, body) => {
    const r = await ask(server, body, '/apply-template');
    equal(r.status, 200, `/apply-template: ${JSON.stringify(r.body)}`);
    return r.body.prompt;
};
const tokens = async (path, text, more = []) =>
    JSON.parse((await good(lockstep, ['tokenize', '--model', path, '--parse-special', '--json', ...more, '-'], {input: text})).stdout).ids.length;
const refused = async (server, body, message) => {
    const r = await ask(server, body);
    equal(r.status, 400, JSON.stringify(r.body));
    equal(r.body.error.type, 'invalid_request_error', 'the type');
    check(r.body.error.message.includes(message), `${r.body.error.message} says ${message}`);
};

const hello = [{role: 'system', content: 'Be brief. 😀'}, {role: 'user', content: 'Hello <|im_end|> {{ 1 }}'}];
const tool = {type: 'function', function: {name: 'f', description: 'd', parameters: {type: 'object', properties: {a: {type: 'string'}}}}};
const called = [{role: 'user', content: 'Call f'},
    {role: 'assistant', content: null, tool_calls: [{id: 'abcdef001', type: 'function', function: {name: 'f', arguments: '{"a": "b"}'}}]},
    {role: 'tool', tool_call_id: 'abcdef001', content: 'c'}];

await cases({
    async "the model's template makes the prompt"() {
        const path = await model('qwen', 'qwen2');
        const server = await serve(['--model', path, '-n', '1']);
        const reference = new Template((await import('node:fs')).readFileSync(template('Qwen-Qwen2.5-7B-Instruct'), 'utf8'));
        const render = variables => reference.render({add_generation_prompt: true, ...variables});
        check(server.log().includes('chats: by their template'), 'the log says so');
        for (const variables of [{messages: hello}, {messages: hello, tools: [tool]}, {messages: hello, add_generation_prompt: false},
            {messages: [{role: 'user', content: ''}, {role: 'assistant', content: 'x'}, {role: 'user', content: 'y'}]}]) {
            const text = render(variables);
            equal(await prompt(server, variables), text, 'the prompt');
            const answer = await ask(server, variables);
            equal(answer.body.usage.prompt_tokens, await tokens(path, text), 'tokens of the prompt, names of special tokens as one each');
        }
        // Clients send arguments as strings of JSON; this template wants them as objects.
        const objects = structuredClone(called);
        objects[1].tool_calls[0].function.arguments = {a: 'b'};
        equal(await prompt(server, {messages: called, tools: [tool]}), render({messages: objects, tools: [tool]}), 'calls');
        // Parts, and developers where the template does not know them.
        equal(await prompt(server, {messages: [{role: 'developer', content: [{type: 'text', text: 'a'}, {type: 'text', text: 'b'}]}]}),
            render({messages: [{role: 'system', content: 'ab'}]}), 'parts and developers');
        await refused(server, {messages: [{role: 'user', content: 1}]}, 'messages[0].content');
        await refused(server, {messages: hello, tools: 'x'}, 'tools must be an array');
        equal(await server.stop(), 0, 'exit code');
    },

    async 'BOS is there once'() {
        for (const [file, name] of [[null, 'own'], [written('bos.jinja', '{{ bos_token }}{{ messages[0].content }}'), 'written']]) {
            const path = await model(name, 'llama-bpe', file);
            const server = await serve(['--model', path, '-n', '1']);
            const body = {messages: [{role: 'user', content: 'Hi'}]};
            const text = await prompt(server, body);
            check(text.startsWith('<|begin_of_text|>'), `the template writes BOS: ${text}`);
            equal((await ask(server, body)).body.usage.prompt_tokens, await tokens(path, text), 'BOS is not doubled');
            await server.stop();
        }
        const path = await model('unwritten', 'llama-bpe', written('nobos.jinja', '{{ messages[0].content }}'));
        const server = await serve(['--model', path, '-n', '1']);
        equal((await ask(server, {messages: [{role: 'user', content: 'Hi'}]})).body.usage.prompt_tokens,
            await tokens(path, 'Hi', ['--add-special']), 'BOS is added where the model wants it');
        await server.stop();
    },

    async 'a template that refuses, fails or never ends is a 400'() {
        const path = await model('refusing', 'llama-spm', written('refusing.jinja', `
{%- set task = messages[0].content -%}
{%- if task == 'refuse' %}{{ raise_exception('Conversation roles must alternate!') }}{% endif -%}
{%- if task == 'fail' %}{{ 1 + none }}{% endif -%}
{%- if task == 'loop' %}{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}{% endif -%}
{%- if task == 'grow' %}{{ 'x' * 10**9 }}{% endif -%}
{%- macro m() %}{{ m() }}{% endmacro -%}
{%- if task == 'recurse' %}{{ m() }}{% endif -%}
{{ task }}`));
        const server = await serve(['--model', path, '-n', '1']);
        const say = content => ({messages: [{role: 'user', content}]});
        const r = await ask(server, say('refuse'));
        equal([r.status, r.body.error.message], [400, 'Conversation roles must alternate!'], "the template's own message");
        await refused(server, say('fail'), 'line 4: + cannot be used between an integer and none');
        await refused(server, say('loop'), 'too many steps');
        await refused(server, say('grow'), 'too much memory');
        await refused(server, say('recurse'), 'nested too deep');
        equal((await ask(server, say('well'))).status, 200, 'the server lives');
        equal(await server.stop(), 0, 'exit code');
    },

    async 'a template that does not parse leaves completions alone'() {
        const path = await model('broken', 'llama-spm', written('broken.jinja', 'a\n{% if x %}'));
        const server = await serve(['--model', path, '-n', '1']);
        check(server.log().includes('this block has no {% endif %}'), `the log warns:\n${server.log()}`);
        await refused(server, {messages: hello}, '--chat-template');
        equal((await ask(server, {prompt: 'Hi'}, '/v1/completions')).status, 200, 'completions');
        await server.stop();
        const plain = await serve(['--model', path, '-n', '1', '--chat-template', 'plain']);
        equal(await prompt(plain, {messages: hello}), 'System: Be brief. 😀\n\nUser: Hello <|im_end|> {{ 1 }}\n\nAssistant:', 'plain');
        await plain.stop();
    },

    async '--chat-template goes before the model, and its mistakes end the start'() {
        const path = await model('own', 'llama-bpe');
        const server = await serve(['--model', path, '-n', '1', '--chat-template', template('google-gemma-2-2b-it')]);
        check((await prompt(server, {messages: hello.slice(1)})).includes('<start_of_turn>user\n'), "the file's template");
        await refused(server, {messages: hello}, 'System role not supported');
        await server.stop();
        for (const [choice, message] of [[written('bad.jinja', '\n{{ 1 +'), 'line 2'], ['no-such-name', 'neither a file nor the name of a template']]) {
            const r = await run(lockstep, ['serve', '--port', '0', '--model', path, '-n', '1', '--chat-template', choice]);
            equal(r.code, 2, `the exit code:\n${r.stderr}`);
            check(r.stderr.includes('--chat-template') && r.stderr.includes(message), `${r.stderr} says ${message}`);
        }
    },
});
