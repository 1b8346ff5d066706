/** Screenshots of the running system: node pictures.mjs ADDRESS FOLDER. The index should be growing meanwhile. */
import { join } from "node:path";

import { launch } from "./chromium.mjs";
import { DIGITS, drawOn } from "./strokes.mjs";
import { openTab } from "./tab.mjs";

const WATCHED_MS = 20_000;
const [address, folder] = process.argv.slice(2);
const { browser, close } = await launch();
await Promise.all(["light", "dark"].map(async (colorScheme) => {
  const { page } = await openTab(browser, address, { path: "/?view=live", colorScheme, viewport: { width: 1280, height: 950 }, deviceScaleFactor: 1.5 });
  const take = (name) => page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
  await page.waitForTimeout(WATCHED_MS);
  await page.waitForFunction(() => [...document.querySelectorAll(".strip img")].every((image) => image.complete));
  await page.screenshot({ path: join(folder, `live-${colorScheme}.png`), fullPage: true });
  await page.click("nav >> text=Search");
  await drawOn(page, DIGITS[8]);
  await page.waitForTimeout(1500);
  await take("search");
}));
await close();
