// The page as people meet it: consent, donating, asking, looking, a second tab, a lost relay.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import AxeBuilder from "@axe-core/playwright";
import { openPage, root, startBrowser, startRelay, until } from "./harness.mjs";

let relay, browser;
before(async () => {
  relay = await startRelay();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await relay?.remove();
});

const shots = path.join(root, "test-results");
mkdirSync(shots, { recursive: true });
const answers = JSON.parse(readFileSync(path.join(root, "tests/vectors/answers.json"), "utf8"));

const by = (page, id) => page.getByTestId(id);

/** Opens the page and waits until its buttons work. */
async function open(options = {}) {
  const opened = await openPage(browser, relay.origin, options);
  await by(opened.page, "connect").or(by(opened.page, "pause")).first().waitFor();
  return opened;
}

async function start(options, button) {
  const opened = await open(options);
  await by(opened.page, button).click();
  const id = by(opened.page, "peer-id");
  await id.waitFor();
  return { ...opened, peerId: await id.getAttribute("data-peer-id") };
}

const ready = (page) =>
  until("the node is ready", async () => /ready|working/i.test(await by(page, "status").innerText()));

const peerRow = (page, peerId) => page.locator(`[data-testid="peer-row"][data-peer-id="${peerId}"]`);

/** Types a prompt, sends it and returns the text and provider of the finished answer. */
async function ask(page, prompt, route) {
  if (route) await by(page, "route").selectOption(route);
  const finished = page.locator('[data-testid="answer"][data-done="true"]');
  const before = await finished.count();
  await by(page, "prompt").fill(prompt);
  await by(page, "send").click();
  await until(`an answer to ${prompt}`, async () => (await finished.count()) > before);
  const answer = finished.last();
  return { text: (await answer.getByTestId("answer-text").innerText()).trim(), provider: await answer.getAttribute("data-provider") };
}

test("nothing connects, computes or downloads a model before a click", async () => {
  const context = await browser.newContext();
  const asked = [];
  context.on("request", (request) => asked.push(request.url()));
  const { page, errors } = await open({ context });
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.waitForLoadState("networkidle");
  assert.ok(!asked.some((url) => url.endsWith(".gguf")), asked.join("\n"));
  assert.deepEqual(sockets, []);
  assert.deepEqual(errors, []);
  await context.close();
});

test("the text is there before any wasm arrives", async () => {
  const context = await browser.newContext();
  await context.route("**/*.wasm", () => {});
  const { page } = await openPage(browser, relay.origin, { context });
  assert.match(await page.locator("h1").innerText(), /hive of browser tabs/i);
  assert.ok((await page.locator("button").count()) >= 2);
  await context.close();
});

test("a prompt typed in one profile is computed in the other", async () => {
  const donor = await start({}, "donate");
  const asker = await start({}, "connect");
  assert.notEqual(donor.peerId, asker.peerId);
  await until("the donor shows up as donating", async () =>
    /Thrum Demo/.test(await peerRow(asker.page, donor.peerId).innerText()));
  for (const { instruction, answer } of answers.instructions.slice(0, 3)) {
    const { text, provider } = await ask(asker.page, instruction, "peer");
    assert.equal(text, answer, instruction);
    assert.equal(provider, donor.peerId);
  }
  await asker.page.setViewportSize({ width: 1280, height: 900 });
  for (const [scheme, width] of [["light", 1280], ["dark", 1280], ["light", 320], ["dark", 320]]) {
    await asker.page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await asker.page.setViewportSize({ width, height: 900 });
    await asker.page.screenshot({ path: path.join(shots, `page-${scheme}-${width}.png`), fullPage: true });
    const overflow = await asker.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${scheme} ${width}: ${overflow} px wider than the window`);
    const { violations } = await new AxeBuilder({ page: asker.page }).withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]).analyze();
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), [], `${scheme} ${width}`);
  }
  if (process.env.THRUM_KEEP_SCREENSHOT) copyFileSync(path.join(shots, "page-light-1280.png"), path.join(root, "docs/images/page.png"));
  assert.deepEqual(asker.errors, []);
  assert.deepEqual(donor.errors, []);
  await donor.context.close();
  await asker.context.close();
});

test("donating is remembered over a reload, with the same peer id, and can be ended", async () => {
  const { page, context, peerId } = await start({}, "donate");
  await ready(page);
  await page.reload();
  await by(page, "peer-id").waitFor();
  assert.equal(await by(page, "peer-id").getAttribute("data-peer-id"), peerId);
  await by(page, "pause").waitFor();
  await by(page, "pause").click();
  await until("it says that it is paused", async () => /paused/i.test(await by(page, "status").innerText()));
  await context.close();
});

test("a second tab of the same profile shows the same node", async () => {
  const first = await start({}, "connect");
  await ready(first.page);
  const second = await openPage(browser, relay.origin, { context: first.context });
  await by(second.page, "follower-banner").waitFor();
  assert.equal(await by(second.page, "peer-id").getAttribute("data-peer-id"), first.peerId);
  await first.page.close();
  await by(second.page, "follower-banner").waitFor({ state: "detached" });
  await ready(second.page);
  assert.equal(await by(second.page, "peer-id").getAttribute("data-peer-id"), first.peerId);
  await first.context.close();
});

test("every example prompt that the page offers is answered here too", async () => {
  const { page, context } = await start({}, "connect");
  await ready(page);
  for (const { instruction, answer } of answers.instructions) {
    const { text } = await ask(page, instruction, "local");
    assert.equal(text, answer, instruction);
  }
  await context.close();
});

test("a file that is no model is refused in words", async () => {
  const { page, context } = await start({}, "connect");
  await by(page, "model-file").setInputFiles({ name: "x.gguf", mimeType: "application/octet-stream", buffer: Buffer.from("not a model at all") });
  await until("the page says what is wrong", async () =>
    /not a GGUF file/i.test((await by(page, "notice").allInnerTexts()).join(" ")));
  await context.close();
});

test("a full disk: the page says that it forgets, and goes on", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: relay.origin, quotaSize: 1 });
  await page.goto(relay.origin);
  await by(page, "donate").click();
  await ready(page);
  const note = by(page, "storage-note");
  assert.equal(await note.getAttribute("data-persistent"), "false");
  assert.match(await note.innerText(), /no more room/);
  const { instruction, answer } = answers.instructions[0];
  assert.equal((await ask(page, instruction, "local")).text, answer);
  await context.close();
});

test("a frozen tab comes back and answers again", async () => {
  const donor = await start({}, "donate");
  const asker = await start({}, "connect");
  await ready(donor.page);
  const devtools = await donor.context.newCDPSession(donor.page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await until("the asker sees the donor", async () =>
    /Thrum Demo/.test(await peerRow(asker.page, donor.peerId).innerText()));
  const { instruction, answer } = answers.instructions[1];
  const { text, provider } = await ask(asker.page, instruction, "peer");
  assert.equal(text, answer);
  assert.equal(provider, donor.peerId);
  await donor.context.close();
  await asker.context.close();
});
