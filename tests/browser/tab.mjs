/** A tab that notes every error, and can be asked what axe-core finds. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function openTab(browser, address, { path = "/", tolerated = null, before = null, ready = ".standing[data-state=well]", ...options }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale: "en-US", ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !tolerated?.test(message.text())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("dialog", (dialog) => { problems.push(`dialog ${dialog.message()}`); void dialog.dismiss(); });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  if (before) await page.addInitScript(before);
  await page.goto(address + path);
  await page.waitForSelector(ready);
  return {
    page,
    problems,
    assertClean: () => assert.deepEqual(problems, []),
    /** No violation of any rule in the state that is shown. */
    async assertAccessible(state) {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120))}`), [], state);
    },
    async assertNoSidewaysScroll(state) {
      const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(inner <= outer, `${state}: the page is ${inner} pixels wide in a window of ${outer}`);
    },
    view: (name) => page.click(`nav >> text=${name}`),
    /** The answer for what was asked last, as [{ caption, distance, mark }]. */
    async matches() {
      await page.waitForSelector(".answer[aria-busy=false] .match");
      return page.$$eval(".match", (cards) => cards.map((card) => ({
        caption: card.querySelector(".caption").textContent,
        distance: Number(card.querySelector(".distance b").textContent),
        mark: card.querySelector(".same")?.textContent ?? "",
      })));
    },
    async choose(selector, ...files) {
      await page.setInputFiles(`${selector} input[type=file]`, files.map(({ name, type = "image/png", base64 }) => (
        { name, mimeType: type, buffer: Buffer.from(base64, "base64") })));
    },
  };
}
