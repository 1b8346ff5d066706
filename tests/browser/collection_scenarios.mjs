/** What a person does where there are several collections. */
import assert from "node:assert/strict";

export const collectionScenarios = {
  /** `few` holds three digits, `bare` none. */
  async "switch between collections"({ open, args: { few, bare, id, fresh } }) {
    for (const width of [1280, 375]) {
      const tab = await open({ path: "/?view=live", viewport: { width, height: 800 }, tolerated: /status of 404/ });
      const { page } = tab;
      const images = (count) => page.waitForSelector(`.standing b:text-is("${count}")`);
      await page.waitForSelector(".switch summary:has-text('default')");
      await page.focus(".switch summary");
      await page.keyboard.press("Enter");
      await page.waitForSelector(`.switch a:has-text('${bare}'):has-text('empty')`);
      await tab.assertAccessible(`menu of collections, ${width}`);
      await tab.assertNoSidewaysScroll("menu of collections");
      await page.keyboard.press("Escape");
      assert.ok(await page.$eval(".switch", (menu) => !menu.open && menu.contains(document.activeElement)), "closed, and not lost");
      await page.keyboard.press("Enter");
      await page.click(`.switch a:has-text('${few}')`);
      await images(3);
      assert.equal(new URL(page.url()).searchParams.get("view"), "live", "the same view");
      const shown = await page.$$eval(".strip img", (all) => all.map((one) => new URL(one.src).pathname));
      assert.ok(shown.every((path) => path.startsWith(`/v1/collections/${few}/`)), `thumbnails of ${shown}`);
      await tab.view("Search");
      await page.click(".samples button >> nth=3");
      assert.equal((await tab.matches()).length, 3);
      await page.click(".match >> nth=0");
      await page.waitForSelector(".facts dd:has-text('28 × 28')");
      await page.keyboard.press("Escape");
      await page.goBack();
      await page.goBack();
      await page.goBack();
      await page.waitForSelector(".switch summary:has-text('default')");
      await page.goto(`${new URL(page.url()).origin}/?collection=${few}&id=${encodeURIComponent(id)}`);
      assert.equal((await tab.matches())[0].distance, 0);
      await page.goto(`${new URL(page.url()).origin}/?collection=${bare}`);
      await page.waitForSelector(`.welcome:has-text('${bare} is empty'):has-text('--collection ${bare}')`);
      await tab.assertAccessible(`an empty collection, ${width}`);
      await page.goto(`${new URL(page.url()).origin}/?collection=nobodys`);
      await page.waitForSelector(".welcome:has-text('no collection nobodys')");
      await tab.assertAccessible(`an unknown collection, ${width}`);
      await tab.assertNoSidewaysScroll("an unknown collection");
      await page.click(`.others a:has-text('${few}')`);
      await images(3);
      tab.assertClean();
    }
    const tab = await open({ path: `/?collection=${bare}&view=add` });
    await tab.choose(".add", fresh);
    await tab.page.waitForSelector(".own:has-text('Finds itself: number 1 of 1')");
    await tab.page.waitForSelector('.standing b:text-is("1")');
    tab.assertClean();
  },
};
