/** What a person does about duplicates, and what must then be seen. */
import assert from "node:assert/strict";

const RUN = { timeout: 180_000 };
const SCREENS = [["light", 1280], ["dark", 375]];
const twins = (page) => page.locator("[data-image]");

export const duplicateScenarios = {
  async "duplicates"({ open }) {
    for (const [colorScheme, width] of SCREENS) {
      const tab = await open({ path: "/?view=duplicates", colorScheme, viewport: { width, height: 900 } });
      const { page } = tab;
      await page.waitForSelector(".twins", RUN);
      await page.waitForSelector(".twins .edits:has-text('cropped by')");
      await tab.assertNoSidewaysScroll("groups");
      await tab.assertAccessible(`groups, ${colorScheme}`);

      await page.focus(".classes input >> nth=3");
      await page.keyboard.press("Space");
      await page.waitForFunction(() => [...document.querySelectorAll(".twins h2")].every((title) => title.textContent.startsWith("Altered copies")));
      assert.match(await page.textContent(".twins >> nth=0 >> .marks >> nth=0"), /best/);

      await twins(page).nth(0).focus();
      await page.keyboard.press("ArrowRight");
      const second = await twins(page).nth(1);
      assert.ok(await second.evaluate((twin) => document.activeElement === twin), "the arrows go on");
      await page.keyboard.press("d");
      assert.equal(await second.getAttribute("aria-pressed"), "true");
      await tab.assertAccessible(`one is marked, ${colorScheme}`);
      await page.keyboard.press("k");
      assert.equal(await second.getAttribute("aria-pressed"), "false");
      assert.equal(await page.locator(".marked").count(), 0);

      await page.keyboard.press("c");
      await page.waitForSelector("dialog .over canvas");
      await page.waitForSelector("dialog .verdict li");
      await tab.assertNoSidewaysScroll("compared");
      await tab.assertAccessible(`compared, ${colorScheme}`);
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog", { state: "detached" });
      assert.ok(await second.evaluate((twin) => document.activeElement === twin), "focus returns");
    }
  },

  async "not duplicates"({ open }) {
    const tab = await open({ path: "/?view=duplicates" });
    const { page } = tab;
    await page.waitForSelector(".twins", RUN);
    const titles = () => page.$$eval(".twins", (groups) => groups.map((group) => group.querySelector(".twin").title));
    const before = await titles();
    await twins(page).first().focus();
    await page.keyboard.press("n");
    await page.waitForSelector(".told:has-text('Remembered')");
    await page.waitForFunction((n) => document.querySelectorAll(".twins").length === n, before.length - 1);
    await page.click(".told >> text=Undo");
    await page.waitForFunction((n) => document.querySelectorAll(".twins").length === n, before.length);
    assert.deepEqual(await titles(), before);
  },

  async "delete a duplicate"({ open }) {
    const tab = await open({ path: "/?view=duplicates" });
    const { page } = tab;
    await page.waitForSelector(".twins", RUN);
    const id = await twins(page).nth(1).getAttribute("title");
    await twins(page).nth(1).focus();
    await page.keyboard.press("Delete");
    await page.click(".marked >> text=Delete 1");
    await page.waitForSelector("dialog h2:has-text('Delete 1 image?')");
    await tab.assertAccessible("asked once more");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.equal(await twins(page).nth(1).getAttribute("aria-pressed"), "true", "nothing happened yet");
    await page.click(".marked >> text=Delete 1");
    await page.click("dialog >> text=/^Delete$/");
    await page.waitForFunction((id) => ![...document.querySelectorAll(".twin")].some(({ title }) => title === id), id);
    for (const count of await page.$$eval(".twins", (groups) => groups.map((group) => group.querySelectorAll(".twin").length))) {
      assert.ok(count >= 2, "no group has one image");
    }
    return id;
  },
};
