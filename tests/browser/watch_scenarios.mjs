/** A watch: made of a search, told of an image that comes, and deleted. */
import assert from "node:assert/strict";

export const watchScenarios = {
  async "tell me"({ open, args }) {
    for (const [colorScheme, width] of [["light", 1280], ["dark", 375]]) {
      const tab = await open({ path: `/?id=${encodeURIComponent(args.id)}&k=5`, colorScheme, viewport: { width, height: 900 } });
      const { page } = tab;
      await tab.matches();
      await page.focus("text=Tell me when such an image comes");
      await page.keyboard.press("Enter");
      await page.waitForSelector("form.tell input:focus");
      assert.equal(await page.inputValue("form.tell [name=name]"), args.id);
      assert.ok(Number(await page.inputValue("form.tell [name=distance]")) > 0);
      await tab.assertNoSidewaysScroll("telling");
      await tab.assertAccessible(`telling, ${colorScheme}`);
      await page.fill("form.tell [name=name]", `mine <b>${width}</b>`);
      await page.keyboard.press("Enter");
      await page.click("text=See your watches");
      await page.waitForSelector(`.watches h2:has-text("mine <b>${width}</b>")`);
      await tab.assertAccessible(`watches, ${colorScheme}`);
      await page.evaluate(async ([base64, id]) => {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        const answer = await fetch(`/v1/images?${new URLSearchParams({ id })}`, { method: "POST", body: bytes, headers: { "Content-Type": "application/octet-stream" } });
        if (!answer.ok) throw new Error(await answer.text());
      }, [args.image, `fresh/${width}`]);
      await page.waitForSelector(`.watches .strip button[aria-label^="Search with fresh/${width}, distance 0"] img`, { timeout: 30_000 });
      assert.match(await page.textContent(".watches [role=status]"), /1 matched, the last at/);
      await tab.assertNoSidewaysScroll("watches");
      await tab.assertAccessible(`matched, ${colorScheme}`);
      await page.reload();
      await page.waitForSelector(`.watches .strip button[aria-label^="Search with fresh/${width}"]`);
      if (args.picture) await page.screenshot({ path: args.picture.replace(".png", `-${colorScheme}.png`) });
      await page.focus(".watches .danger");
      await page.keyboard.press("Enter");
      await page.waitForSelector("text=Nothing is watched");
    }
  },
};
