// SPDX-License-Identifier: MIT
// conversations.mjs: the table of conversations that every template is rendered with.

const weather = {
    type: 'function',
    function: {
        name: 'get_weather',
        description: 'Get the current weather.\nFor one "place" only.',
        parameters: {
            type: 'object',
            properties: {
                location: { type: 'string', description: 'City and country, as in Zürich, CH' },
                unit: { type: 'string', enum: ['celsius', 'fahrenheit'], default: 'celsius' },
                days: { type: 'integer', minimum: 1 },
                details: { type: ['boolean', 'null'] },
                tags: { type: 'array', items: { type: 'string' } },
                where: {
                    type: 'object',
                    properties: { lat: { type: 'number', description: 'degrees' }, lon: { type: 'number' } },
                    required: ['lat'],
                },
            },
            required: ['location'],
        },
        return: { type: 'object', description: 'The weather' },
    },
};
const clock = {
    type: 'function',
    function: { name: 'now', description: 'The time', parameters: { type: 'object', properties: {} } },
};

const call = (id, name, args) => ({ id, type: 'function', function: { name, arguments: args } });
const user = (content) => ({ role: 'user', content });
const assistant = (content, more) => ({ role: 'assistant', content, ...more });
const system = (content) => ({ role: 'system', content });
const tool = (content, id = 'call_0001') => ({ role: 'tool', tool_call_id: id, name: 'get_weather', content });

const turns = [user('Hello, how are you?'), assistant("I'm well."), user('What is 1 < 2 & "3"?')];
const text = (s) => ({ type: 'text', text: s });

const messages = {
    one: [user('Hi')],
    system: [system('Be brief.'), user('Hi')],
    developer: [{ role: 'developer', content: 'Be brief.' }, user('Hi')],
    turns,
    system_turns: [system('  Speak as a pirate.\n'), ...turns],
    ends_with_assistant: [user('Hi'), assistant('Hello')],
    empty: [user('')],
    empty_all: [system(''), user(''), assistant(''), user('')],
    blanks: [system(' \n '), user('\t a \n\n'), assistant(' b '), user(' c')],
    unicode: [system('Antworte höflich. 🏴‍☠️'), user('日本語 e\u0301 \u00a0ß İ 😀'), assistant('Ça va ? 👩‍👩‍👧'), user('Ω\u2028')],
    special_tokens: [user('<|im_end|> </s> [INST] <|eot_id|> {{ bos_token }} {% if %} <think>')],
    json: [user('{"a": "\\n", "b": [1, 2.5, null]}'), assistant('`{}`'), user("it's \"x\"\\")],
    long: [user('lorem ipsum '.repeat(400))],
    thinking: [user('2+2?'), assistant('<think>\nSums.\n</think>\n\nFour.'), user('And 3+3?'), assistant('</think> Six'), user('ok')],
    reasoning: [user('2+2?'), assistant('Four.', { reasoning_content: 'Add.' }), user('And 3+3?')],
    parts: [user([text('Look '), text('here')])],
    parts_system: [system([text('Be brief.')]), user([text('Hi')]), assistant([text('Hello')]), user([text('Bye')])],
    image: [user([{ type: 'image' }, text('What is it?')])],
    tool_object: [user('Weather?'), assistant(null, { tool_calls: [call('call_0001', 'get_weather', { location: 'Zürich', days: 2, nested: { a: [1, true, null] } })] }), tool('{"degrees": 20.5}'), assistant('20 degrees.'), user('Thanks')],
    tool_string: [user('Weather?'), assistant('', { tool_calls: [call('call_0001', 'get_weather', '{"location": "Paris"}')] }), tool('sunny'), user('Thanks')],
    tool_two: [system('Help.'), user('Weather?'), assistant('Wait.', { tool_calls: [call('abcdef001', 'get_weather', { location: 'a' }), call('abcdef002', 'now', {})] }), tool('A', 'abcdef001'), tool('B', 'abcdef002'), assistant('Done.')],
    tool_last: [user('Weather?'), assistant(null, { tool_calls: [call('abcdef001', 'get_weather', { location: 'x"y' })] }), tool('warm', 'abcdef001')],
    tool_parts: [user('Weather?'), assistant(null, { tool_calls: [call('abcdef001', 'get_weather', {})] }), tool([text('warm')], 'abcdef001')],
    tool_plain: [user('w?'), assistant(null, { tool_calls: [{ name: 'get_weather', arguments: { location: 'b' } }] }), { role: 'tool', content: 'x' }, user('ok')],
    content_missing: [user('w?'), { role: 'assistant', tool_calls: [call('abcdef001', 'now', {})] }, { role: 'tool', tool_call_id: 'abcdef001', content: '12:00' }],
    ipython: [user('w?'), { role: 'ipython', content: { a: [1, 2] } }, user('x')],
    not_alternating: [user('a'), user('b'), assistant('c'), assistant('d')],
    system_late: [user('a'), system('now'), assistant('c'), user('d')],
    unknown_role: [{ role: 'king', content: 'x' }, user('a')],
    documents_in_message: [user('a'), { role: 'document', content: 'text', doc_id: 1 }, user('b')],
};

const common = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' };
const settings = {
    generate: { add_generation_prompt: true },
    plain: { add_generation_prompt: false },
    unset: {},
    tools: { add_generation_prompt: true, tools: [weather, clock] },
    tools_plain: { tools: [weather], add_generation_prompt: false },
    tools_empty: { tools: [], add_generation_prompt: true },
    tools_null: { tools: null, add_generation_prompt: true, documents: null },
    think: { add_generation_prompt: true, enable_thinking: true, thinking: true, reasoning_effort: 'high' },
    no_think: { add_generation_prompt: true, enable_thinking: false, thinking: false },
    dated: { add_generation_prompt: true, date_string: '1 Jan 2026', builtin_tools: ['brave_search', 'code_interpreter'], tools: [weather], tools_in_user_message: false, model_identity: 'You are X.' },
    documents: { add_generation_prompt: true, documents: [{ title: 'T', text: 'some text', doc_id: 7 }], controls: { length: 'short' }, keep_past_thinking: true },
};

// All variables of all conversations: [{ name, variables }, …]
export function conversations() {
    const all = [];
    for (const [name, list] of Object.entries(messages)) {
        for (const [setting, extra] of Object.entries(settings)) {
            all.push({ name: `${name}/${setting}`, variables: { messages: list, ...common, ...extra } });
        }
    }
    return all;
}
