// Runs on a host of the laboratory: a Chromium there, commanded line by line from outside. A page's
// function is sent as text, as Playwright sends it.
import { createInterface } from "node:readline";
import { openPage, startBrowser } from "../browser/harness.mjs";

const browser = await startBrowser({
  webgpu: false,
  // An address is no secure context, and a page needs one to have keys and storage.
  extra: [`--unsafely-treat-insecure-origin-as-secure=${process.argv.slice(2).join(",")}`],
});
const pages = [];
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const functionOf = (text) => new Function(`return (${text})`)();

const does = {
  open: async ({ url, init }) => pages.push(await openPage(browser, url, init ? { init: functionOf(init) } : {})) - 1,
  evaluate: async ({ page, body, argument }) => pages[page].page.evaluate(functionOf(body), argument),
  lines: async ({ page }) => pages[page].lines,
  close: async ({ page }) => {
    await pages[page].context.close();
    return null;
  },
};

say({ value: null });
// Answers come in the order of questions, and questions do not wait for each other.
let last = Promise.resolve();
for await (const line of createInterface(process.stdin)) {
  const question = JSON.parse(line);
  const answer = does[question.do](question).then(
    (value) => ({ value: value ?? null }),
    (error) => ({ error: error.message }),
  );
  last = last.then(async () => say(await answer));
}
await browser.close();
