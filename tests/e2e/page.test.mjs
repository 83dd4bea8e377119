// SPDX-License-Identifier: MIT
// page.test.mjs: the built-in page in Debian's Chromium: a chat, what can be done with an answer, the cluster.
//
// Every page that a case opens is watched: an error on its console, a request to another origin or a breach of its
// policy fails the case.  PAGE_SCREENSHOTS=FOLDER keeps pictures.
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {chromium} from 'playwright-core';
import {cases, check, equal, openStream, sanitized, serve, skip, sleep, until} from './harness.mjs';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
if (!executablePath) skip('chromium is not installed');

const server = await serve(['-n', '3', '--ctx', '65536']);
const browser = await chromium.launch({executablePath, args: ['--no-sandbox']});
const trouble = [];

async function open({path = '/', url = server.url, ...context} = {}) {
    const page = await (await browser.newContext({viewport: {width: 1280, height: 800}, ...context})).newPage();
    page.setDefaultTimeout(sanitized ? 30000 : 8000);
    // A refused request is reported on the console by the browser itself.
    page.on('console', m => m.type() === 'error' && !/Failed to load resource/.test(m.text()) && trouble.push(m.text()));
    page.on('pageerror', e => trouble.push(e.stack));
    page.on('request', r => r.url().startsWith(url) || r.url().startsWith('data:') || trouble.push(`a request to ${r.url()}`));
    await page.goto(url + path);
    return page;
}

const picture = (page, name) => process.env.PAGE_SCREENSHOTS && page.screenshot({path: join(process.env.PAGE_SCREENSHOTS, `${name}.png`)});
const words = page => page.locator('.t', {hasText: /\w/}); // tokens that can be pointed at: line breaks cannot
const answers = page => page.locator('.turn .text');
const over = page => page.waitForFunction(() => document.querySelector('.turn') && !document.querySelector('.writing'));
const rest = () => sleep(100); // the log follows an answer to its end: what scrolls away takes the card along
const say = async (page, text) => {
    await page.fill('#prompt', text);
    await page.press('#prompt', 'Enter');
};
const set = (page, key, value) => page.fill(`#setting-${key}`, String(value));

// Answers of this form instead of the server's: parts are texts, each a token with these alternatives.
const alternatives = (token, p = 0.6) => ({token, logprob: Math.log(p), bytes: [...Buffer.from(token)],
    top_logprobs: [[token, p], [' other', 0.2], ['\n', 0.1]].map(([t, q]) => ({token: t, logprob: Math.log(q), bytes: [...Buffer.from(t)]}))});
const chunk = (content, finish = null, tokens = [content]) => `data: ${JSON.stringify({choices: [{index: 0, delta: content === null ? {} : {content},
    finish_reason: finish, logprobs: content ? {content: tokens.map(t => alternatives(t))} : null}]})}\n\n`;
const script = (page, body, status = 200, headers = {}) => page.route('**/v1/chat/completions', route => route.fulfill({status,
    headers: {'Content-Type': status === 200 ? 'text/event-stream' : 'application/json', ...headers}, body}));
const spoken = parts => parts.map(p => chunk(p)).join('') + chunk(null, 'stop') + 'data: [DONE]\n\n';

await cases({
    async 'the document'() {
        const r = await fetch(server.url), text = await r.text(), tag = r.headers.get('etag');
        equal([r.status, r.headers.get('content-type'), r.headers.get('cache-control')], [200, 'text/html; charset=utf-8', 'no-cache'], 'GET /');
        const policy = r.headers.get('content-security-policy');
        check(/default-src 'none'; script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}=';/.test(policy) && !policy.includes('unsafe'), policy);
        equal(text.match(/(?:src|href)="?(?:https?:)?\/\/[^"]*|url\(|@import/g), null, 'references to elsewhere');
        const head = await fetch(server.url, {method: 'HEAD'});
        equal([head.status, +head.headers.get('content-length'), await head.text()], [200, Buffer.byteLength(text), ''], 'HEAD /');
        for (const method of ['GET', 'HEAD']) {
            const same = await fetch(server.url, {method, headers: {'If-None-Match': tag}});
            equal([same.status, same.headers.get('etag'), await same.text()], [304, tag, ''], `${method} with the tag`);
        }
        equal((await fetch(server.url, {method: 'POST'})).status, 405, 'POST /');
        return `${text.length} bytes`;
    },

    async 'without a page'() {
        const bare = await serve(['-n', '1', '--no-page'], {waitReady: false});
        equal((await fetch(bare.url)).status, 404, 'GET /');
        equal((await fetch(`${bare.url}/cluster`)).status, 200, 'GET /cluster');
        equal(await bare.stop(), 0, 'exit code');
    },

    async 'a chat: streamed, stopped, again, edited, cleared'() {
        const page = await open();
        await set(page, 'max_tokens', 20000);
        await say(page, 'Call me Ishmael.');
        await page.waitForFunction(() => document.querySelectorAll('.writing .t').length > 40);
        await picture(page, 'streaming');
        const soFar = await answers(page).innerText();
        await page.keyboard.press('Escape');
        await over(page);
        check((await answers(page).innerText()).startsWith(soFar.slice(0, 60)), 'what had come stays');
        check((await page.locator('.stats').innerText()).match(/tokens.*tokens\/s.*first after.*stopped/s), await page.locator('.stats').innerText());
        await until('the server is idle', async () => (await (await fetch(`${server.url}/health`)).json()).running === 0);

        await set(page, 'max_tokens', 30);
        await page.getByRole('button', {name: 'Retry'}).click();
        await over(page);
        equal(await page.locator('.turn').count(), 1, 'turns after a retry');
        check((await page.locator('.stats').innerText()).includes('30 tokens'), await page.locator('.stats').innerText());

        await page.getByRole('button', {name: 'Edit'}).click();
        await page.locator('.edit textarea').fill('Now is the winter');
        const asked = page.waitForRequest('**/v1/chat/completions');
        await page.keyboard.press('Enter');
        equal((await asked).postDataJSON().messages, [{role: 'user', content: 'Now is the winter'}], 'messages');
        await over(page);
        equal(await page.locator('.said').innerText(), 'Now is the winter', 'what was said');

        const first = await answers(page).evaluate(node => node.innerText);
        const second = page.waitForRequest('**/v1/chat/completions');
        await say(page, 'And then?');
        const {messages} = (await second).postDataJSON();
        equal(messages.map(m => m.role), ['user', 'assistant', 'user'], 'roles');
        check(messages[1].content.replace(/\s+/g, ' ').trim() === first.replace(/\s+/g, ' ').trim(), 'the answer before goes with it');
        await over(page);
        equal(await page.getByRole('button', {name: 'Retry'}).count(), 1, 'only the last can be tried again');
        await page.getByRole('button', {name: 'Clear'}).click();
        equal(await page.locator('.turn').count(), 0, 'turns');
        check(await page.locator('.welcome').isVisible(), 'the welcome is back');
        await page.context().close();
    },

    async 'settings reach the request and are remembered'() {
        const page = await open();
        const wanted = {temperature: 0.35, top_p: 0.9, min_p: 0.05, top_k: 40, max_tokens: 12, seed: 7, repeat_penalty: 1.1, presence_penalty: -0.5, frequency_penalty: 0.25};
        for (const [key, value] of Object.entries(wanted)) await set(page, key, value);
        await set(page, 'system', 'Be brief.');
        await set(page, 'stop', 'END\n\\n\\n');
        await set(page, 'alternatives', 3);
        const text = [];
        for (let i = 0; i < 2; i++) {
            const asked = page.waitForRequest('**/v1/chat/completions');
            await say(page, 'Hello');
            const {messages, ...fields} = (await asked).postDataJSON();
            equal(messages, [{role: 'system', content: 'Be brief.'}, {role: 'user', content: 'Hello'}], 'messages');
            equal(Object.fromEntries(Object.entries(fields).sort()), Object.fromEntries(Object.entries({...wanted, stop: ['END', '\n\n'], logprobs: true, top_logprobs: 3, stream: true,
                stream_options: {include_usage: true}}).sort()), 'fields');
            await over(page);
            text.push(await answers(page).innerText());
            await page.reload();
        }
        equal(text[0], text[1], 'the same seed, the same answer');
        await set(page, 'top_p', 1.5);
        equal(await page.locator('#setting-top_p-problem').innerText(), '0 to 1.', 'what is wrong');
        await page.getByRole('button', {name: 'Reset all'}).click();
        equal(await page.inputValue('#setting-top_k'), '', 'top_k after a reset');
        await page.context().close();
    },

    async 'the probabilities of a token'() {
        const page = await open();
        await set(page, 'max_tokens', 40);
        await set(page, 'temperature', 0);
        await say(page, 'Call me Ishmael.');
        await over(page);
        await rest();
        const card = page.locator('#token-card');
        await words(page).nth(5).hover();
        await card.waitFor();
        await picture(page, 'hover');
        const rows = await card.locator('li').evaluateAll(all => all.map(li => [li.className, parseFloat(li.querySelector('.percent').textContent.replace('<', ''))]));
        equal(rows.map(r => r[0]), ['chosen', '', '', '', '', 'rest'], 'rows: the likeliest was taken');
        const sum = rows.reduce((a, r) => a + r[1], 0);
        check(Math.abs(sum - 100) < 0.5 && rows[0][1] >= rows[1][1], `percentages ${JSON.stringify(rows)}`);
        await page.mouse.move(5, 400);
        check(await card.isHidden(), 'gone with the pointer');

        await answers(page).focus();
        await page.keyboard.press('ArrowRight');
        await page.keyboard.press('ArrowRight');
        check(await card.isVisible() && await page.locator('.t:focus').getAttribute('aria-describedby') === 'token-card', 'by keyboard');
        const chosen = await card.locator('.chosen .piece').innerText();
        equal(chosen.replaceAll('␣', ' ').replaceAll('↵', '\n').trim(), (await page.locator('.t').nth(1).textContent()).trim(), 'the token it is about');
        await page.keyboard.press('Escape');
        check(await card.isHidden() && await answers(page).evaluate(n => n === document.activeElement), 'Escape leaves the tokens');
        await page.context().close();
    },

    async 'texts go on'() {
        const page = await open({path: '/#complete'});
        await set(page, 'max_tokens', 25);
        await set(page, 'temperature', 0);
        await say(page, 'Call me Ishmael.');
        await over(page);
        const once = await answers(page).innerText();
        check(once.startsWith('Call me Ishmael.') && once.length > 30, once);
        const asked = page.waitForRequest('**/v1/completions');
        await page.getByRole('button', {name: 'Continue'}).click();
        check((await asked).postDataJSON().prompt.startsWith('Call me Ishmael.') && (await asked).postDataJSON().prompt.length > 30, 'the prompt is all of it');
        await over(page);
        check((await answers(page).innerText()).startsWith(once.trimEnd()), 'the text grows');
        await rest();
        await words(page).nth(15).click();
        await page.locator('#token-card').waitFor();
        check(await page.locator('#token-card li').count() >= 4, 'alternatives');
        await page.context().close();
    },

    async 'any text is shown as text'() {
        const page = await open();
        const parts = ['<img src=x onerror=alert(1)>', ' & **bold**\n', '\n', '`', '``', 'js\n', 'const x = "', '</code>', '";\n', '```', '\n', 'שלום עולם, 你好世界', '。', '\n\n', 'x'.repeat(400), '\n\n``', 'not code'];
        await script(page, spoken(parts));
        await say(page, '<b>who</b>');
        await over(page);
        await picture(page, 'text');
        equal(await page.locator('.said').innerText(), '<b>who</b>', 'what was said');
        equal(await page.locator('.text img, .text b, .said b').count(), 0, 'elements out of text');
        equal(await page.locator('.text p').allTextContents(), ['<img src=x onerror=alert(1)> & **bold**\n', 'שלום עולם, 你好世界。\n', 'x'.repeat(400) + '\n', '``not code'], 'paragraphs');
        equal(await page.locator('.code code').textContent(), 'const x = "</code>";\n', 'code');
        equal(await page.locator('.code header span').innerText(), 'js', 'its language');
        check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && document.querySelector('#log').scrollWidth <= document.querySelector('#log').clientWidth), 'nothing sticks out');
        await page.context().close();
    },

    async 'a character of many tokens'() {
        const page = await open();
        const smile = Buffer.from('😀'), part = i => ({token: '\ufffd', logprob: -1, bytes: [smile[i]], top_logprobs: []});
        const event = (content, token) => `data: ${JSON.stringify({choices: [{delta: {content}, finish_reason: null, logprobs: {content: [token]}}]})}\n\n`;
        await script(page, event('', part(0)) + event('', part(1)) + event('', part(2)) + event('😀', part(3)) + chunk(null, 'stop') + 'data: [DONE]\n\n');
        await say(page, 'smile');
        await over(page);
        equal(await page.locator('.t').allTextContents(), ['😀'], 'one element');
        await rest();
        await page.locator('.t').click();
        equal(await page.locator('#token-card h3').allTextContents(), [1, 2, 3, 4].map(i => `Token ${i} of 4`), 'its tokens');
        await page.context().close();
    },

    async 'what goes wrong is said in place'() {
        const page = await open();
        const refuse = (status, message, headers) => script(page, JSON.stringify({error: {message, type: 'x', param: null, code: null}}), status, headers);
        await refuse(429, 'the queue is full', {'Retry-After': '2'});
        await say(page, 'Hello');
        await page.getByRole('alert').waitFor();
        equal(await page.getByRole('alert').locator('p').innerText(), 'The queue is full (again in 2 s).', 'full');
        await picture(page, 'error');
        const rows = [[chunk('So far') + 'data: {"error":{"message":"rank 1 was lost","type":"engine_lost"}}\n\n', 'Rank 1 was lost.'],
            [chunk('So far'), 'The connection ended before the answer did.']];
        for (const [body, want] of rows) {
            await page.unroute('**/v1/chat/completions');
            await script(page, body);
            await page.getByRole('button', {name: 'Try again'}).click();
            await page.waitForFunction(text => document.querySelector('.failure:not([hidden]) p')?.textContent === text, want);
            equal(await answers(page).innerText(), 'So far', 'what had come');
        }
        await page.unroute('**/v1/chat/completions');
        await refuse(503, 'the model is still loading');
        await page.getByRole('button', {name: 'Try again'}).click();
        await page.getByText('The model is still loading.').waitFor();
        const asked = page.waitForRequest('**/v1/chat/completions');
        await say(page, 'Once more');
        equal((await asked).postDataJSON().messages, [{role: 'user', content: 'Once more'}], 'messages without what was not answered');
        await page.locator('.turn').last().getByRole('button', {name: 'Try again'}).waitFor();
        await page.unroute('**/v1/chat/completions');
        await page.route('**/v1/chat/completions', route => route.abort());
        await page.getByRole('button', {name: 'Try again'}).click();
        await page.waitForFunction(() => document.querySelector('.turn:last-child .failure:not([hidden]) p')?.textContent === 'The server cannot be reached.');
        await page.unroute('**/v1/chat/completions');
        await set(page, 'max_tokens', 5);
        await page.getByRole('button', {name: 'Try again'}).click();
        await page.waitForFunction(() => document.querySelectorAll('.t').length > 2 && !document.querySelector('.writing'));
        check(await page.locator('.failure').last().isHidden(), 'the trouble is over');
        await page.context().close();
    },

    async 'the key'() {
        const page = await open();
        const keys = [];
        await page.route(/\/(v1\/chat\/completions|cluster)$/, route => {
            const given = route.request().headers().authorization;
            if (given === 'Bearer s3cret') return route.continue();
            keys.push(given);
            return route.fulfill({status: 401, contentType: 'application/json', body: '{"error":{"message":"a key is needed","type":"invalid_request_error"}}'});
        });
        await set(page, 'max_tokens', 5);
        await say(page, 'Hello');
        await page.locator('#key-form').waitFor();
        await picture(page, 'key');
        equal(await page.evaluate(() => document.activeElement.id), 'key-input', 'focus');
        for (const key of ['wrong', 's3cret']) {
            await page.keyboard.type(key);
            await page.keyboard.press('Enter');
            if (key === 'wrong') await page.getByText('The server does not take this API key.').waitFor();
        }
        await page.waitForFunction(() => document.querySelectorAll('.t').length > 2 && !document.querySelector('.writing'));
        check(await page.locator('#key-form').isHidden() && keys.every(k => !k || k === 'Bearer wrong'), `${keys}`);
        await page.context().close();
    },

    async 'the cluster'() {
        const page = await open({path: '/#cluster'});
        await page.locator('.rank').nth(2).waitFor();
        equal(await page.locator('.rank').count(), 3, 'ranks');
        const data = await (await fetch(`${server.url}/cluster`)).json();
        const text = await page.locator('.rank').nth(1).innerText();
        const heads = data.ranks[1].heads[1] - data.ranks[1].heads[0];
        for (const want of [data.ranks[1].host, `${heads} of ${data.model.heads}`, 'KV cache in use', 'compute', 'wait', 'wire']) check(text.includes(want), `${want} in ${text}`);
        const metrics = await (await fetch(`${server.url}/metrics`)).text();
        for (const [i, r] of data.ranks.entries())
            check(metrics.includes(`lockstep:weights_bytes{rank="${i}",host="${r.host}"} ${r.weights_bytes}\n`), 'the numbers of /metrics');
        const asked = [];
        page.on('request', r => r.url().endsWith('/cluster') && asked.push(Date.now()));
        const stream = await openStream(server, {max_tokens: 60000});
        await page.waitForFunction(() => [...document.querySelectorAll('.cards .big')].some(b => /^[1-9]\d* running/.test(b.textContent)));
        await page.waitForFunction(() => +document.querySelector('.rate .big').textContent.replace(/[^\d.]/g, '').slice(0, 4) > 0);
        await sleep(1200);
        await picture(page, 'cluster');
        stream.abort();
        const gaps = asked.slice(1).map((t, i) => t - asked[i]);
        check(asked.length && gaps.every(g => g > 800), `gaps between questions: ${gaps}`);
        check(!server.log().includes('path=/cluster'), 'the access log has no line of it');
        await page.context().close();
    },

    async 'small, dark, by finger'() {
        const page = await open({viewport: {width: 360, height: 640}, colorScheme: 'dark', hasTouch: true, isMobile: true, deviceScaleFactor: 2});
        const fits = () => page.evaluate(() => [document.documentElement, ...document.querySelectorAll('#log, #cluster-view, #settings, .bar')]
            .filter(n => n.checkVisibility() && n.scrollWidth > n.clientWidth + 1).map(n => n.id || n.tagName));
        equal(await fits(), [], 'wider than the screen');
        await page.locator('#settings-button').tap();
        await set(page, 'max_tokens', 40);
        equal(await fits(), [], 'wider than the screen, settings');
        await page.locator('#settings-close').tap();
        await page.fill('#prompt', 'Call me Ishmael.');
        await page.locator('#send').tap();
        await over(page);
        await rest();
        await words(page).nth(3).tap();
        await page.locator('#token-card').waitFor();
        const box = await page.locator('#token-card').boundingBox();
        check(box.x >= 0 && box.x + box.width <= 360 && box.y >= 0 && box.y + box.height <= 640, `the card is on the screen: ${JSON.stringify(box)}`);
        await picture(page, 'phone');
        const shade = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
        equal(await shade(), 'rgb(19, 20, 22)', 'dark');
        await page.locator('#theme-button').tap();
        equal(await shade(), 'rgb(246, 245, 241)', 'light, as chosen');
        await page.getByRole('link', {name: 'Cluster', exact: true}).tap();
        await page.locator('.rank').nth(2).waitFor();
        equal(await fits(), [], 'wider than the screen, cluster');
        await picture(page, 'phone-cluster');
        for (const [width, height] of [[320, 480], [640, 400]]) { // the narrowest that must fit, and 1280 pixels at 200 %
            await page.setViewportSize({width, height});
            equal(await fits(), [], `wider than ${width}`);
        }
        await page.context().close();
    },

    async 'thousands of tokens'() {
        const page = await open();
        await set(page, 'max_tokens', sanitized ? 300 : 2000);
        await page.evaluate(() => {
            window.frames_ms = [];
            let last = performance.now();
            const frame = now => { window.frames_ms.push(now - last); last = now; requestAnimationFrame(frame); };
            requestAnimationFrame(frame);
        });
        await say(page, 'Call me Ishmael.');
        await page.waitForFunction(() => document.querySelector('.turn') && !document.querySelector('.writing'), null, {timeout: 60000});
        const frames = (await page.evaluate(() => window.frames_ms)).sort((a, b) => a - b);
        const tokens = await page.locator('.t').count(), atEnd = await page.evaluate(() => { const l = document.querySelector('#log'); return l.scrollHeight - l.scrollTop - l.clientHeight; });
        check(atEnd < 60, `the end is in sight: ${atEnd} px`);
        await page.context().close();
        return `${tokens} tokens, frames: p50 ${frames[frames.length >> 1].toFixed(0)}, p95 ${frames[Math.floor(frames.length * 0.95)].toFixed(0)}, worst ${frames.at(-1).toFixed(0)} ms`;
    },
});

await browser.close();
equal(trouble, [], 'errors, and requests to elsewhere');
equal(await server.stop(), 0, `exit code:\n${server.log()}`);
