/** A collection whose engine finds about the nearest: its answers say so, and how much is done for one can be chosen. */
import assert from "node:assert/strict";

export const engineScenarios = {
  async "answers that are not exact"({ open, args }) {
    for (const [colorScheme, width] of [["light", 1280], ["dark", 375]]) {
      const tab = await open({ colorScheme, viewport: { width, height: 900 } });
      const { page } = tab;
      await page.waitForSelector(".welcome:has-text('nearly all of the nearest')");
      await tab.assertAccessible(`nothing asked yet, ${colorScheme}`);
      await page.goto(`${new URL(page.url()).origin}/?id=${encodeURIComponent(args.id)}&k=5`);
      assert.equal((await tab.matches())[0].distance, 0);
      await page.waitForSelector(`.covered dd:has-text("${args.count} images, about")`);
      // Recall is measured a moment after searches.
      await page.waitForSelector(".covered dd:has-text('100 % of the nearest are found, measured over')", { timeout: 60_000 });
      const asked = page.waitForRequest(/\/v1\/search\?.*effort=high/);
      await page.selectOption(".effort select", "high");
      await asked;
      await page.waitForFunction(() => new URL(location.href).searchParams.get("effort") === "high");
      assert.equal((await tab.matches())[0].distance, 0);
      await tab.assertAccessible(`an answer, ${colorScheme}`);
      await tab.assertNoSidewaysScroll("an answer");
      await page.reload();
      await tab.matches();
      assert.equal(await page.inputValue(".effort select"), "high", "it is in the address");
      await page.selectOption(".effort select", "thorough");
      await page.waitForFunction(() => new URL(location.href).searchParams.get("effort") === "thorough");
      assert.equal((await tab.matches())[0].distance, 0);
      await tab.view("Live");
      await page.waitForSelector(`h2:has-text("Table of embeddings") ~ dl dd:has-text("${args.count} images")`);
      await tab.assertAccessible(`live, ${colorScheme}`);
      tab.assertClean();
    }
  },
};
