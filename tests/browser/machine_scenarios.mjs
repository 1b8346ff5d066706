/** A page behind whose address several machines answer, which are not equally far. */
import assert from "node:assert/strict";

// Without Cassandra there are no thumbnails; connections end where the proxy leads elsewhere; and a machine that is behind says so.
const TOLERATED = /Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|ERR_NETWORK/;

/** Every number of images that the head of the page has shown is noted. */
const noteCounts = () => {
  globalThis.shownCounts = [];
  new MutationObserver(() => {
    const shown = Number.parseInt(document.querySelector(".standing b")?.textContent ?? "", 10);
    if (shown && shown !== globalThis.shownCounts.at(-1)) globalThis.shownCounts.push(shown);
  }).observe(document, { subtree: true, childList: true, characterData: true });
};

export const machineScenarios = {
  /** First the machine ahead answers, then the one behind, which catches up. */
  async "a machine behind"({ open, outside, args: { few, all } }) {
    const tab = await open({ path: "/?k=3&id=digit/1", ready: ".standing[data-state=partly]", tolerated: TOLERATED, before: noteCounts });
    const { page } = tab;
    const counts = () => page.evaluate(() => globalThis.shownCounts);
    await page.waitForSelector(`.covered:has-text("${all} images")`);
    await page.waitForSelector(`.standing b:text-is("${all}")`);
    await outside("lead to the one behind");
    await page.waitForSelector(".standing:has-text('catching up')");
    await page.locator(".k input").fill("2");
    await page.waitForSelector(".problem:has-text('not-covered'):has-text('catching up')");
    await tab.assertAccessible("a machine behind");
    assert.deepEqual(await counts(), [all], "the head of the page");
    await outside("catch up");
    await page.click(".problem >> text=Try again");
    assert.equal((await tab.matches()).length, 2);
    await page.waitForSelector(`.covered:has-text("${all + 1} images")`);
    await page.waitForSelector(`.standing:not(:has-text('catching up')) b:text-is("${all + 1}")`);
    assert.deepEqual(await counts(), [all, all + 1], "the head of the page");
    // What a page has not seen yet, it is content with.
    await outside("lead to the one ahead");
    const other = await open({ path: "/?k=3&id=digit/1", ready: ".standing[data-state=partly]", tolerated: TOLERATED });
    await other.page.waitForSelector(`.covered:has-text("${all} images")`);
    assert.ok(few < all);
  },

  async "an address in a collection"({ open, args: { name, count } }) {
    const tab = await open({ path: `/?collection=${name}`, ready: ".standing[data-state=partly]", tolerated: TOLERATED });
    const { page } = tab;
    const sample = await page.$eval(".samples img", (image) => image.src);
    await page.fill("[aria-label='Address of a picture']", sample);
    await page.keyboard.press("Enter");
    await page.waitForSelector(`.covered:has-text("${count} images")`);
    assert.match(await page.getAttribute(".match", "title"), /^cat\//);
  },
};
