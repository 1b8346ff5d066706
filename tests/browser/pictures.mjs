/** Screenshots of a running system: node pictures.mjs photographs|digits ADDRESS FOLDER FILES. The digits' index should be growing meanwhile. */
import { join } from "node:path";

import { launch } from "./chromium.mjs";
import { DIGITS, drawOn } from "./strokes.mjs";
import { openTab } from "./tab.mjs";

const WATCHED_MS = 20_000;
const PATIENCE_MS = 60_000;
const PHONE = { width: 375, height: 812 };
const [kind, address, folder, files] = process.argv.slice(2);

const kinds = {
  /** A collage searched thoroughly; an altered copy beside its original; and that on a phone. */
  async photographs(open, [collage, copy]) {
    const { page, matches } = await open("/?effort=thorough", { width: 1280, height: 840 });
    await page.setInputFiles(".ask input[type=file]", collage);
    await matches();
    await page.waitForFunction(() => document.querySelectorAll(".ask .outlines text").length === 4);
    await take(page, "search");
    await page.uncheck(".effort input");
    await page.setInputFiles(".ask input[type=file]", copy);
    await page.waitForSelector(".asked:has-text('friend')");
    await page.setViewportSize({ width: 1280, height: 1040 });
    await openFirst(page, matches);
    await page.locator("dialog").screenshot(jpeg(page, "altered"));
    const phone = await open("/", PHONE);
    await phone.page.setInputFiles(".ask input[type=file]", copy);
    await openFirst(phone.page, phone.matches);
    await take(phone.page, "phone");
  },

  async digits(open) {
    const { page } = await open("/?view=live", { width: 1280, height: 950 });
    await page.waitForTimeout(WATCHED_MS);
    await shown(page);
    await page.screenshot({ path: path(page, "live"), fullPage: true });
    await page.click("nav >> text=Search");
    await page.setViewportSize({ width: 1280, height: 800 });
    await drawOn(page, DIGITS[8]);
    await page.waitForTimeout(1500);
    await page.screenshot({ path: path(page, "drawing") });
  },
};

const schemes = new Map();
const path = (page, name) => join(folder, `${name}-${schemes.get(page)}.png`);
// Of photographs a PNG would be four times as large.
const jpeg = (page, name) => ({ path: path(page, name).replace(/png$/, "jpg"), quality: 88 });
const shown = (page) => page.waitForFunction(() => [...document.querySelectorAll("img")].every((image) => image.complete));

async function take(page, name) {
  await shown(page);
  await page.screenshot(jpeg(page, name));
}

async function openFirst(page, matches) {
  await matches();
  await page.click(".match >> nth=0");
  await page.waitForSelector(".verdict[aria-busy=false]");
  await page.waitForSelector(".over canvas");
  await shown(page);
}

const { browser, close } = await launch();
try {
  for (const colorScheme of ["light", "dark"]) {
    const open = async (start, viewport) => {
      const tab = await openTab(browser, address, { path: start, colorScheme, viewport, deviceScaleFactor: 1.5 });
      tab.page.setDefaultTimeout(PATIENCE_MS);
      schemes.set(tab.page, colorScheme);
      return tab;
    };
    await kinds[kind](open, JSON.parse(files));
  }
} finally {
  await close();
}
