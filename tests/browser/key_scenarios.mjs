/** A page whose API wants a key: asked for, refused, taken, kept over a reload, given back, and revoked. */
import assert from "node:assert/strict";

// Without Cassandra there are no thumbnails; without a key the first questions are refused.
const TOLERATED = /Failed to load resource/;

export const keyScenarios = {
  async "sign in"({ open, outside, args }) {
    for (const [colorScheme, width] of [["light", 1280], ["dark", 375]]) {
      const tab = await open({ colorScheme, viewport: { width, height: 900 }, ready: "#key:focus", tolerated: TOLERATED });
      const { page } = tab;
      const refused = [];
      await tab.assertAccessible(`the door, ${colorScheme}`);
      await tab.assertNoSidewaysScroll("the door");
      await page.keyboard.type("lk_wrong");
      await page.keyboard.press("Enter");
      await page.waitForSelector("[role=alert]:has-text('was revoked')");
      await tab.assertAccessible(`refused, ${colorScheme}`);
      await page.fill("#key", args.key);
      page.on("response", (response) => { if (response.status() === 401) refused.push(response.url()); });
      await page.keyboard.press("Enter");
      // The event stream told how many there are.
      await page.waitForSelector(".standing:has-text('3 images')");
      await page.waitForSelector(`footer >> text=Sign out ${args.name}`);
      await page.reload();
      await page.waitForSelector(".standing:has-text('3 images')");
      await page.goto(`${page.url().split("?")[0]}?id=digit/1&k=3`);
      assert.equal((await tab.matches()).length, 3);
      await tab.assertAccessible(`signed in, ${colorScheme}`);
      const thumbnail = await page.getAttribute(".match img, .match .unshown", "src").catch(() => null);
      assert.ok(!thumbnail || thumbnail.startsWith("/below/v1/"), thumbnail);
      assert.deepEqual(refused, [], "the browser sends the key with everything");
      const known = await page.evaluate(() => [document.cookie, JSON.stringify([{ ...localStorage }, { ...sessionStorage }])].join());
      assert.ok(!known.includes(args.key.slice(-20)), "no script can read the key");
      assert.ok(page.url().includes("/below/?"), "its own addresses lie where a proxy serves it");
      await page.click("footer >> text=Sign out");
      await page.waitForSelector("#key");
      await page.reload();
      await page.waitForSelector("#key");
    }
    const tab = await open({ ready: "#key:focus", tolerated: TOLERATED });
    await tab.page.fill("#key", args.key);
    await tab.page.keyboard.press("Enter");
    await tab.page.waitForSelector(".standing:has-text('3 images')");
    await outside("revoke");
    await tab.page.waitForSelector("#key", { timeout: 10_000 });
  },
};
