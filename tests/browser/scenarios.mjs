/** What a person does on the page, and what must then be seen. */
import assert from "node:assert/strict";

import { collectionScenarios } from "./collection_scenarios.mjs";
import { duplicateScenarios } from "./duplicate_scenarios.mjs";
import { engineScenarios } from "./engine_scenarios.mjs";
import { keyScenarios } from "./key_scenarios.mjs";
import { machineScenarios } from "./machine_scenarios.mjs";
import { photoScenarios } from "./photo_scenarios.mjs";
import { DIGITS, drawOn } from "./strokes.mjs";
import { watchScenarios } from "./watch_scenarios.mjs";

const AWAY = /Failed to load resource|ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|ERR_NETWORK/;
const THEMES = ["light", "dark"];
const QUERY = /^\/v1\/search/;

export const scenarios = {
  ...collectionScenarios,
  ...photoScenarios,
  ...duplicateScenarios,
  ...engineScenarios,
  ...keyScenarios,
  ...machineScenarios,
  ...watchScenarios,

  async "search by file"({ open, args }) {
    for (const colorScheme of THEMES) {
      const tab = await open({ colorScheme });
      const { page } = tab;
      await tab.assertAccessible(`start, ${colorScheme}`);
      await page.click(".ways >> text=Choose");
      await tab.choose(".ask", args.known);
      const matches = await tab.matches();
      assert.equal(matches.length, 15);
      assert.deepEqual({ ...matches[0], caption: "" }, { distance: 0, mark: "same bytes", caption: "" });
      assert.match(await page.textContent(".covered"), /images, exactly.*0:\d+.*ms here.*ms there/s);
      await tab.assertAccessible(`results, ${colorScheme}`);
      await page.click(".match >> nth=1");
      await page.waitForSelector(".sides figcaption:has-text('%')");
      assert.match(await page.textContent(".facts"), /28 × 28 pixels.*image\/png.*partition \d+, offset \d+/s);
      await tab.assertAccessible(`details, ${colorScheme}`);
      const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download original")]);
      assert.ok(await download.path());
      await page.keyboard.press("Escape");
      await page.locator(".k input").fill("3");
      await page.waitForFunction(() => document.querySelectorAll(".match").length === 3);
    }
  },

  async "altered copy"({ open, args }) {
    for (const [colorScheme, width] of [["light", 1280], ["dark", 375]]) {
      const tab = await open({ path: "/?k=10", colorScheme, viewport: { width, height: 900 } });
      const { page } = tab;
      await page.click(".ways >> text=Choose");
      await tab.choose(".ask", args.small);
      await tab.matches();
      await page.waitForSelector(".match:has-text('larger ×1.3')");
      await tab.choose(".ask", args.altered);
      await tab.matches();
      await page.selectOption(".sort select", "most_changed");
      await page.waitForSelector(".match >> nth=0 >> text=altered copy");
      await tab.assertAccessible(`most changed first, ${colorScheme}`);
      const comeOriginal = await holdOriginals(page);
      if (colorScheme === "dark") await page.evaluate(slowPictures);
      await page.click(".match >> nth=0");
      await page.waitForSelector(".verdict:has-text('Altered copy')");
      assert.match(await page.textContent("dialog h2"), new RegExp(args.id));
      assert.match(await page.textContent(".verdict"), /% sure.*turned 1[12]\.\d° counter-clockwise/s);
      const shown = () => page.$eval(".over canvas", (canvas) => canvas.toDataURL());
      await page.focus(".over input");
      await page.waitForSelector(".facts:has-text('bytes')");
      await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
      await comeOriginal();
      await page.keyboard.press("Home");
      const result = await shown();
      await page.keyboard.press("End");
      assert.notEqual(await shown(), result, "the slider shows the other picture");
      const left = /Difference, ([\d.]+) %/.exec(await page.textContent(".sides"));
      assert.ok(Number(left[1]) < 3, `aligned, the pictures differ by ${left[1]} %`);
      await tab.assertNoSidewaysScroll("details of a copy");
      await tab.assertAccessible(`an altered copy, ${colorScheme}`);
      await page.locator(".over input").fill("50");
      if (args.picture) await page.screenshot({ path: args.picture.replace(".png", `-${colorScheme}.png`) });
    }
  },

  async "search by paste"({ open, args }) {
    const tab = await open();
    await tab.page.evaluate(async (base64) => {
      const held = new DataTransfer();
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      held.items.add(new File([bytes], "image.png", { type: "image/png" }));
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: held, bubbles: true }));
    }, args.known.base64);
    assert.equal((await tab.matches())[0].mark, "same bytes");
  },

  async "search by id, back and forward"({ open, args }) {
    const tab = await open({ path: `/?id=${encodeURIComponent(args.id)}` });
    const { page } = tab;
    const asked = () => page.textContent(".asked b");
    assert.equal((await tab.matches())[0].distance, 0);
    await page.click(".match >> nth=1");
    await page.click("text=Search with this one");
    await page.waitForFunction((id) => document.querySelector(".asked b")?.textContent !== id, args.id);
    const second = await asked();
    assert.equal(new URL(page.url()).searchParams.get("id"), second);
    await page.goBack();
    assert.equal(await asked(), args.id);
    await page.goForward();
    assert.equal(await asked(), second);
    assert.equal((await tab.matches())[0].distance, 0);
  },

  /** Each drawn digit's neighbours, as their captions; and a picture of all. */
  async "search by drawing"({ open, args }) {
    const tab = await open({ path: "/?k=10", viewport: { width: 1280, height: 760 } });
    const { page } = tab;
    const found = [];
    const pictures = [];
    let inFlight = 0, most = 0;
    page.on("request", (request) => { if (QUERY.test(new URL(request.url()).pathname)) most = Math.max(most, ++inFlight); });
    page.on("response", (response) => { if (QUERY.test(new URL(response.url()).pathname)) inFlight--; });
    for (const strokes of DIGITS) {
      if (found.length) await page.click("text=Clear");
      await drawOn(page, strokes);
      await page.waitForSelector(".pad[aria-busy=false]");
      found.push((await tab.matches()).map(({ caption }) => caption));
      pictures.push(await page.evaluate(() => [document.querySelector(".pad canvas").toDataURL(), ...[...document.querySelectorAll(".match img")].map(({ src }) => src)]));
    }
    assert.equal(most, 1, "one request in flight");
    if (args.picture) await drawnPicture(page, pictures, args.picture);
    return found;
  },

  async "add, watch, find, delete"({ open, args }) {
    const tab = await open({ path: "/?view=add", tolerated: /status of 415/ });
    const { page } = tab;
    await tab.assertAccessible("add, empty");
    await tab.choose(".add", args.fresh, args.broken, args.text);
    await page.waitForSelector(".progress:has-text('3 of 3')");
    const [text, broken, fresh] = await page.$$eval(".life", (lives) => lives.map((life) => life.textContent));
    assert.match(text, /<img src=x onerror=alert\(1\)>\.txt.*unsupported-type/s);
    assert.match(broken, /Confirmed \d.*truncated/s);
    assert.match(fresh, /Confirmed [\d.]+ ms.*Embedded \+.*ms.*Searchable \+.*ms.*Finds itself: number 1 of/s);
    await tab.assertAccessible("add, all kinds of life lines");

    await tab.view("Live");
    await page.waitForSelector(`.strip button[aria-label*="${args.fresh.id.slice(0, 40)}"]`);
    await page.waitForSelector(".refused li:has-text('truncated')");
    await page.waitForFunction(async () => {
      const { count } = await (await fetch("/v1/index")).json();
      return document.querySelector(".standing b").textContent === count.toLocaleString("en");
    });
    await tab.assertAccessible("live");

    await tab.view("Add");
    await page.click("text=See its neighbours");
    assert.equal((await tab.matches())[0].distance, 0);
    await page.click(".match >> nth=0");
    await page.click("text=Delete");
    await page.click("text=Really delete?");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.waitForSelector(".problem:has-text('unknown-image')");
    await tab.assertAccessible("a problem");
    tab.problems.splice(0, Infinity, ...tab.problems.filter((problem) => !/status of 404/.test(problem)));
  },

  async "hostile metadata is text"({ open, args }) {
    const tab = await open({ path: `/?id=${encodeURIComponent(args.id)}`, viewport: { width: 375, height: 800 } });
    const { page } = tab;
    await tab.matches();
    await tab.assertNoSidewaysScroll("results");
    await page.click(".match >> nth=0");
    await page.waitForSelector(".facts dd:has-text('<img src=x onerror=alert(1)>')");
    const facts = await page.textContent(".facts");
    assert.ok(!/[\u202A-\u202E\u2066-\u2069]/.test(facts), "no marks that turn the direction");
    assert.ok(facts.length < 5000, "long values are cut");
    assert.equal(await page.locator("img[src=x]").count(), 0);
    await tab.assertNoSidewaysScroll("details");
    await tab.assertAccessible("hostile details");
  },

  async "keyboard only"({ open }) {
    const tab = await open();
    const { page } = tab;
    const focused = (selector) => page.evaluate((selector) => !!document.activeElement?.matches(selector), selector);
    const tabTo = async (selector) => {
      for (let n = 0; n < 60 && !(await focused(selector)); n++) await page.keyboard.press("Tab");
      assert.ok(await focused(selector), `Tab reaches ${selector}`);
    };
    await tabTo(".samples button");
    await page.keyboard.press("Enter");
    await tab.matches();
    await tabTo(".k input");
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction(() => document.querySelectorAll(".match").length === 14);
    await tabTo(".match");
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.ok(await focused(".match"), "focus returns to the result");
    for (let n = 0; n < 60 && !(await focused("nav button")); n++) await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".add input, .charts");
  },

  async "an answer that breaks off"({ open }) {
    const tab = await open({ before: breakOff });
    const { page } = tab;
    await page.evaluate(() => { globalThis.breaking = "cut"; });
    await page.click(".samples button >> nth=3");
    await page.waitForSelector(".problem:has-text('unreachable')");
    await page.evaluate(() => { globalThis.breaking = "nothing"; });
    await page.click(".problem button");
    await tab.matches();
    await page.evaluate(() => { globalThis.breaking = "stalled"; });
    await page.click(".match >> nth=0");
    await page.waitForFunction(() => globalThis.stalled);
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.waitForFunction(() => globalThis.stalled === "given up");
    assert.equal((await tab.matches()).length, 15);
  },

  async "narrow, and with reduced motion"({ open, args }) {
    const tab = await open({ viewport: { width: 375, height: 800 }, reducedMotion: "reduce" });
    const { page } = tab;
    for (const name of ["Live", "Add", "Search"]) {
      await tab.view(name);
      await tab.assertNoSidewaysScroll(name);
      await tab.assertAccessible(`${name}, narrow`);
    }
    await page.click(".samples button >> nth=3");
    await tab.matches();
    await tab.assertNoSidewaysScroll("results");
    const moving = await page.$$eval("*", (all) => all.filter((one) => parseFloat(getComputedStyle(one).transitionDuration) > 0).length);
    assert.equal(moving, 0);
    if (args.picture) await page.screenshot({ path: args.picture });
  },

  async "sixty updates a second"({ open }) {
    const tab = await open({ path: "/?view=live", before: flood });
    const { page } = tab;
    await page.waitForSelector(".charts");
    const longest = await page.evaluate(async () => {
      let longest = 0, last = performance.now();
      for (const end = last + 3000; last < end;) {
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        longest = Math.max(longest, now - last);
        last = now;
      }
      return longest;
    });
    assert.ok(longest < 2000, `the page stood still for ${longest} ms`);
    await tab.view("Add");
    await page.waitForSelector(".add:not([hidden])");
    await tab.view("Live");
    assert.ok(await page.locator(".happenings li").count() <= 7);
  },

  async "API away and back"({ open, outside }) {
    const tab = await open({ path: "/?view=live", tolerated: AWAY });
    const { page } = tab;
    await page.waitForSelector(".charts");
    await outside("kill the api");
    await page.waitForSelector(".standing[data-state=lost]:has-text('trying again')");
    await tab.assertAccessible("connection lost");
    await tab.view("Search");
    await page.waitForSelector(".standing:not([data-state=lost])", { timeout: 60_000 });
    await page.click(".samples button >> nth=5");
    assert.equal((await tab.matches()).length, 15);
  },

  async "indexer standing still"({ open, outside, args }) {
    const tab = await open();
    const { page } = tab;
    await outside("freeze the indexer");
    try {
      await tab.view("Add");
      await tab.choose(".add", args.fresh);
      await tab.view("Live");
      await page.waitForSelector(".problem:has-text('stands still since'):has-text('the indexer does not go on')", { timeout: 40_000 });
      await tab.assertAccessible("indexer standing still");
      await tab.view("Search");
      await page.click(".samples button >> nth=6");
      assert.equal((await tab.matches()).length, 15);
      await page.waitForSelector(".problem:has-text('The index stands still (indexer)')");
    } finally {
      await outside("thaw the indexer");
    }
    await tab.view("Live");
    await page.waitForSelector(".problem:has-text('stands still since')", { state: "detached", timeout: 60_000 });
  },

  async "Kafka away"({ open, outside, args }) {
    const tab = await open({ tolerated: /status of 503/ });
    const { page } = tab;
    await outside("freeze kafka");
    try {
      await tab.view("Add");
      await tab.choose(".add", args.fresh);
      await page.waitForSelector(".life .problem:has-text('kafka-unconfirmed')");
      await tab.view("Search");
      await page.click(".samples button >> nth=7");
      assert.equal((await tab.matches()).length, 15);
      await page.waitForSelector(".standing:has-text('kafka away')", { timeout: 40_000 });
      await tab.assertAccessible("Kafka away");
    } finally {
      await outside("thaw kafka");
    }
    await page.waitForSelector(".standing[data-state=well]", { timeout: 60_000 });
  },

  /** Milliseconds from dropping a file to its neighbours on screen, with the API's own share: [[browser, api], …]. */
  async "time from drop to neighbours"({ open, args }) {
    const tab = await open({ path: "/?k=10" });
    const { page } = tab;
    await page.click(".ways >> text=Choose");
    return page.evaluate(async (files) => {
      const times = [];
      for (const [n, base64] of files.entries()) {
        const held = new DataTransfer();
        held.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], `number ${n}`, { type: "image/png" }));
        const isShown = () => document.querySelector(".asked b")?.textContent === `number ${n}`
          && document.querySelector(".answer")?.getAttribute("aria-busy") === "false"
          && [...document.querySelectorAll(".match img")].every((image) => image.complete);
        const start = performance.now();
        document.querySelector(".ask .drop").dispatchEvent(new DragEvent("drop", { dataTransfer: held, bubbles: true, cancelable: true }));
        do await new Promise(requestAnimationFrame); while (!isShown());
        const shown = performance.now() - start;
        times.push([shown, Number(/([\d.]+) (?:ms) there/.exec(document.querySelector(".covered").textContent)?.[1])]);
      }
      return times;
    }, args.files);
  },
};

/** Have the originals wait, as over a slow line, until what is given back is called. */
async function holdOriginals(page) {
  let letGo;
  const gate = new Promise((done) => { letGo = done; });
  const asked = page.waitForRequest(/images\/original/);
  await page.route(/images\/original/, async (route) => { await gate; await route.continue(); });
  return async () => {
    await asked;
    assert.equal(await page.locator(".over canvas").count(), 1, "the thumbnail is laid over until the original has come");
    await Promise.all([page.waitForResponse(/images\/original/), letGo()]);
  };
}

/** In the page: pictures that are loaded by hand come after what is known of the image. */
function slowPictures() {
  const isKnown = () => document.querySelector(".facts")?.textContent.includes("bytes");
  globalThis.Image = class extends Image {
    set onload(listener) {
      super.onload = (event) => {
        const wait = () => (isKnown() ? listener(event) : requestAnimationFrame(wait));
        wait();
      };
    }
  };
}

/** In the page, before its own code: an event stream that brings another generation sixty times a second. */
function flood() {
  globalThis.EventSource = class extends EventTarget {
    constructor() {
      super();
      void fetch("/v1/index").then((answer) => answer.json()).then((index) => {
        this.clock = setInterval(() => {
          index.generation++;
          index.count++;
          index.coverage.offsets[0]++;
          this.dispatchEvent(new MessageEvent("index", { data: JSON.stringify(index) }));
        }, 1000 / 60);
      });
    }
    close() { clearInterval(this.clock); }
  };
}

/** In the page, before its own code: of a search's answer the head alone arrives; its body is cut, or stalls until it is given up. */
function breakOff() {
  const whole = globalThis.fetch;
  globalThis.breaking = "nothing";
  globalThis.fetch = async (address, asked) => {
    const answer = await whole(address, asked);
    if (globalThis.breaking === "nothing" || !String(address).startsWith("/v1/search")) return answer;
    return new Response(new ReadableStream({
      start(body) {
        if (globalThis.breaking === "cut") return body.error(new TypeError("network error"));
        globalThis.stalled = "still";
        asked.signal.addEventListener("abort", () => {
          body.error(asked.signal.reason);
          globalThis.stalled = "given up";
        });
      },
    }));
  };
}

/** One row a digit: the drawing, then its neighbours. */
async function drawnPicture(page, rows, path) {
  await page.evaluate(async (rows) => {
    const canvas = document.createElement("canvas");
    canvas.width = 12 * 56 + 16;
    canvas.height = rows.length * 56 + 8;
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    for (const [y, row] of rows.entries()) {
      for (const [x, source] of row.entries()) {
        const image = new Image();
        image.src = source;
        await image.decode();
        const left = 8 + x * 56 + (x ? 28 : 0);
        context.fillStyle = "#101116";
        context.fillRect(left, 8 + y * 56, 48, 48);
        context.imageSmoothingEnabled = !x;
        context.drawImage(image, left, 8 + y * 56, 48, 48);
      }
    }
    canvas.id = "drawn";
    document.body.replaceChildren(canvas);
  }, rows);
  await page.locator("#drawn").screenshot({ path });
}
