// A full context through the page's API: refused or ended by default, gone on with truncation "auto".
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openNode, startBrowser, startRelay, until } from "./harness.mjs";

let relay, browser;
before(async () => {
  relay = await startRelay();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await relay?.remove();
});

/** Tokens of the demonstrator's context, each of which is a byte. */
const CONTEXT = 512;

const open = (backend = "cpu") => openNode(browser, relay, { backend });

const complete = (page, params) => page.evaluate(
  (body) => window.node.completions.create({ temperature: 0, ...body, thrum: { ignoreEos: true, ...body.thrum } }), params);

/** Answers, or the code and the words of the refusal. */
const chat = (page, params) => page.evaluate((body) =>
  window.node.chat.completions.create({ temperature: 0, ...body, thrum: { route: "local", ignoreEos: true } })
    .catch(({ code, message }) => ({ code, message })), params);

const NOTHING = { messages: 0, promptTokens: 0, contextTokens: 0 };

const long = { prompt: "ab>ba;cd>dc;".repeat(30), max_tokens: 400 };

test("an answer that fills the context ends, or goes on and says what it lost", async () => {
  const { page, context } = await open();
  const ended = await complete(page, { ...long, thrum: { route: "local" } });
  const length = ended.usage.completion_tokens;
  assert.ok(length < 400 && ended.usage.prompt_tokens + length <= CONTEXT + 1, `${length} tokens`);
  assert.equal(ended.choices[0].finish_reason, "length");
  assert.deepEqual(ended.thrum.discarded, NOTHING);

  const named = await complete(page, { ...long, truncation: "disabled", thrum: { route: "local" } });
  assert.equal(named.choices[0].text, ended.choices[0].text);

  const whole = await complete(page, { ...long, truncation: "auto", n: 2, temperature: 1, seed: 3, thrum: { route: "local" } });
  assert.equal(whole.usage.completion_tokens, 800);
  const { contextTokens, ...rest } = whole.thrum.discarded;
  assert.ok(contextTokens > 0 && contextTokens % 64 === 0, `${contextTokens} tokens of two answers`);
  assert.deepEqual(rest, { messages: 0, promptTokens: 0 });
  assert.notEqual(whole.choices[0].text, whole.choices[1].text);
  await context.close();
});

test("a conversation that is too long is refused with its numbers, or loses its oldest turns", async () => {
  const { page, context } = await open();
  const turns = [..."abcd"].flatMap((letter) => [
    { role: "user", content: letter.repeat(100) }, { role: "assistant", content: letter.repeat(40) },
  ]);
  const messages = [{ role: "system", content: "reverse" }, ...turns, { role: "user", content: "reverse: starling" }];
  const refused = await chat(page, { messages, max_tokens: 4 });
  assert.equal(refused.code, "invalid_request");
  assert.match(refused.message, /prompt has \d+ tokens and the context holds 512/);

  const answer = await chat(page, { messages, max_tokens: 4, truncation: "auto" });
  const { messages: dropped, promptTokens } = answer.thrum.discarded;
  assert.ok(dropped > 0 && dropped % 2 === 0 && promptTokens >= 140 * (dropped / 2), JSON.stringify(answer.thrum.discarded));
  const kept = [messages[0], ...messages.slice(1 + dropped)];
  const same = await chat(page, { messages: kept, max_tokens: 4 });
  assert.equal(same.choices[0].message.content, answer.choices[0].message.content);
  assert.equal(same.usage.prompt_tokens, answer.usage.prompt_tokens);
  assert.equal(Number(refused.message.match(/has (\d+)/)[1]), same.usage.prompt_tokens + promptTokens);

  const alone = [{ role: "user", content: "x".repeat(CONTEXT) }];
  assert.equal((await chat(page, { messages: alone, truncation: "auto" })).code, "invalid_request");
  const wrong = await chat(page, { messages: alone, truncation: "middle" });
  assert.equal(wrong.code, "invalid_request");
  assert.match(wrong.message, /truncation/);
  await context.close();
});

test("a peer goes on beyond the context as this tab does, in parts as well", async () => {
  const provider = await open();
  const asker = await open();
  const body = { ...long, truncation: "auto" };
  const here = await complete(asker.page, { ...body, thrum: { route: "local" } });
  for (const maxNewTokens of [512, 150]) {
    await provider.page.evaluate((limits) => window.node.donate(limits), { maxNewTokens });
    await until("the asker knows the limit", () => asker.page.evaluate(([id, most]) =>
      window.node.peers().some((peer) => peer.peerId === id && peer.capabilities?.maxNewTokens === most), [provider.peerId, maxNewTokens]));
    const there = await complete(asker.page, { ...body, thrum: { route: "peer", peer: provider.peerId } });
    assert.equal(there.thrum.provider, provider.peerId);
    assert.equal(there.choices[0].text, here.choices[0].text);
    assert.deepEqual(there.thrum.discarded, here.thrum.discarded);
  }
  const ended = await complete(asker.page, { ...long, max_tokens: 8, thrum: { route: "peer", peer: provider.peerId } });
  assert.deepEqual(ended.thrum.discarded, NOTHING);
  await provider.context.close();
  await asker.context.close();
});
