/** What a person does on a page of photographs, and what must then be seen. */
import assert from "node:assert/strict";

/** The explainer's child starts with the first question. */
const VERDICT = { timeout: 60_000 };
const SCREENS = [["light", 1280], ["dark", 375]];

export const photoScenarios = {
  async "photographs"({ open, args }) {
    for (const [colorScheme, width] of SCREENS) {
      const tab = await open({ colorScheme, viewport: { width, height: 900 } });
      const { page } = tab;
      assert.equal(await page.locator(".pad, .ways, [aria-label=Samples]").count(), 0, "nothing of digits");
      await page.waitForSelector("[aria-label='Newest images'] img");
      await tab.assertAccessible(`start, ${colorScheme}`);
      await dropAnywhere(page, args.altered);
      assert.equal((await tab.matches())[0].caption, "flower.jpg");
      await pictures(page);
      await assertWellLaid(page);
      await tab.assertNoSidewaysScroll("results");
      await tab.assertAccessible(`results, ${colorScheme}`);
      assert.ok((await page.locator(".ask .shown img").boundingBox()).width >= 260, "the query is shown large");

      const first = page.locator(".match >> nth=0");
      await first.focus();
      await page.keyboard.press("Enter");
      await pictures(page);
      assert.ok((await page.locator(".sides img >> nth=1").boundingBox()).width >= Math.min(400, width - 80), "and the result");
      await page.keyboard.press("ArrowRight");
      await page.waitForSelector(".stepping:has-text('2 of 15')");
      await page.keyboard.press("ArrowLeft");
      await page.waitForSelector("dialog h2:has-text('album/flower.jpg')");
      await assertAlterationsDrawn(page, args.box);
      await tab.assertNoSidewaysScroll("details");
      await tab.assertAccessible(`details, ${colorScheme}`);
      await page.keyboard.press("Escape");
      await page.waitForSelector("dialog", { state: "detached" });
      assert.ok(await first.evaluate((card) => document.activeElement === card), "focus returns to the result");
    }
  },

  async "an address, history and camera"({ open, args }) {
    for (const [colorScheme, width] of SCREENS) {
      const tab = await open({ colorScheme, viewport: { width, height: 900 }, tolerated: /status of 502/ });
      const { page } = tab;
      const asked = [];
      page.on("request", (request) => asked.push(new URL(request.url()).host));
      const field = page.locator("[aria-label='Address of a picture']");
      await field.fill(`${args.elsewhere}/nothing.jpg`);
      await page.keyboard.press("Enter");
      await page.waitForSelector(".problem:has-text('address-failed')");
      await tab.assertAccessible(`no picture there, ${colorScheme}`);
      await field.fill(`${args.elsewhere}/flower.jpg`);
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      assert.equal((await tab.matches())[0].caption, "flower.jpg");
      assert.match(await page.textContent(".asked"), /Nearest to .*flower\.jpg/);
      await tab.assertNoSidewaysScroll("results by address");
      await tab.assertAccessible(`results by address, ${colorScheme}`);
      await page.locator(".match >> nth=0").focus();
      await page.keyboard.press("Enter");
      await page.waitForSelector(".history li >> nth=1");
      const [newest, oldest] = await page.$$eval(".history li", (records) => records.map((record) => record.textContent));
      assert.match(newest, /Took the place of the one before, \d+ × \d+ pixels/);
      assert.match(oldest, /Published, \d+ × \d+ pixels/);
      const facts = await page.textContent(".facts");
      assert.match(facts, /CameraCanon EOS R5.*Settings1\/200 s, f\/1\.8, ISO 400/s);
      assert.doesNotMatch(facts, /33\.8|Ann/, "no place, no name");
      await tab.assertNoSidewaysScroll("details by address");
      await tab.assertAccessible(`details with history and camera, ${colorScheme}`);
      assert.ok(asked.every((host) => host === new URL(page.url()).host), "the page asks nobody but the API");
    }
  },

  async "seen at an angle"({ open, args }) {
    const tab = await open({ path: "/?k=3" });
    const { page } = tab;
    await paste(page, args.tilted);
    await tab.matches();
    await page.click(".match >> nth=0");
    await page.waitForSelector(".verdict li:has-text('seen at an angle')", VERDICT);
    await page.waitForSelector(".sides figcaption:has-text('%')");
    const [, left] = /Difference, ([\d.]+) %/.exec(await page.textContent(".sides"));
    assert.ok(Number(left) < 5, `aligned, the pictures differ by ${left} %`);
  },

  async "thorough"({ open, args }) {
    const tab = await open({ path: "/?k=6" });
    const { page } = tab;
    await paste(page, args.pasted);
    await tab.matches();
    await page.focus(".effort input");
    await page.keyboard.press("Space");
    await page.waitForURL(/effort=thorough/);
    await page.waitForSelector(".match >> nth=0 >> .hypothesis:has-text('by a part')");
    const found = (await tab.matches()).map(({ caption }) => caption);
    assert.ok(found.includes("flower.jpg") && found.includes("china.jpg"), `both are found: ${found}`);
    await page.waitForFunction(() => document.querySelectorAll(".ask .outlines text").length === 2, null, VERDICT);
    const parts = await page.$$eval(".ask .outlines g", (groups) => groups.map((group) => {
      const { x, y, width, height } = group.querySelector("polygon").getBBox();
      return [group.querySelector("text").textContent.split(", ")[0], x + width / 2 < 480 ? "left" : "right", y + height / 2 < 360 ? "top" : "bottom"];
    }));
    const rank = (name) => String(found.indexOf(name) + 1);
    assert.deepEqual(parts.sort(), [[rank("flower.jpg"), "left", "top"], [rank("china.jpg"), "right", "top"]].sort(), "each part says what it found");
    await tab.assertAccessible("a thorough search");
    await page.click(".match:has-text('china.jpg')");
    await page.waitForSelector(".facts dd:has-text('by a part')");
    await page.waitForSelector(".verdict li:has-text('in a collage, 2')");
    await page.click("text=Search with this one");
    await page.waitForURL(/id=.*effort=thorough/);
    assert.equal((await tab.matches())[0].mark, "same bytes", "an id is searched thoroughly too");
  },
};

/** What was altered: each edit with its amount, the outline in both pictures, and both over each other under a slider. */
async function assertAlterationsDrawn(page, box) {
  await page.waitForSelector(".verdict:has-text('Altered copy')", VERDICT);
  const edits = await page.$$eval(".verdict li", (edits) => edits.map((edit) => edit.textContent).join(", "));
  assert.match(edits, /cropped by 1[5-9] %.*text or logo over \d+ %.*1[2-8] % brighter/);
  assert.deepEqual(await outlineIn(page, 0), [0, 0, 1, 1], "the query shows nothing else");
  assert.deepEqual(await outlineIn(page, 1), box, "what is left of the result");
  const slider = page.locator(".over input");
  const over = () => page.$eval(".over canvas", (canvas) => canvas.toDataURL());
  await slider.focus();
  await page.keyboard.press("Home");
  const query = await over();
  await page.keyboard.press("End");
  assert.notEqual(await over(), query, "the slider uncovers the result");
  await page.keyboard.press("ArrowLeft");
  assert.match(await page.textContent(".stepping"), /1 of/, "its arrow keys are its own");
  const [, left] = /Difference, ([\d.]+) %/.exec(await page.textContent(".sides"));
  assert.ok(Number(left) < 12, `aligned, the pictures differ by ${left} %`);
}

/** Bounds of the outline in a picture, as shares of its sides to the twentieth: left, top, right, bottom. */
function outlineIn(page, figure) {
  return page.$eval(`.sides figure:nth-child(${figure + 1}) .outlines`, (lines) => {
    const [, , width, height] = lines.getAttribute("viewBox").split(" ").map(Number);
    const places = lines.querySelector("polygon").getAttribute("points").split(" ").map((place) => place.split(",").map(Number));
    const [xs, ys] = [places.map(([x]) => x / width), places.map(([, y]) => y / height)];
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)].map((share) => Math.round(share * 20) / 20);
  });
}

/** Nothing hangs over the edge of its picture, no picture is cut or squeezed, and those of a row are equally high. */
async function assertWellLaid(page) {
  const wrong = await page.$$eval(".match", (cards) => {
    const wrong = [];
    const rows = new Map();
    for (const card of cards) {
      const frame = card.querySelector(".frame").getBoundingClientRect();
      const name = card.querySelector(".caption").textContent;
      for (const mark of card.querySelectorAll(".rank, .marks > *")) {
        const box = mark.getBoundingClientRect();
        if (box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom) wrong.push(`${mark.textContent} hangs over ${name}`);
      }
      if (getComputedStyle(card.querySelector("img")).objectFit !== "contain") wrong.push(`${name} is cut`);
      if (/\d{4}-\d\d-\d\d/.test(name)) wrong.push(`${name} is a date`);
      rows.set(Math.round(frame.top), [...(rows.get(Math.round(frame.top)) ?? []), frame.height]);
    }
    for (const [top, heights] of rows) if (Math.max(...heights) - Math.min(...heights) > 4) wrong.push(`the row at ${top}: ${heights}`);
    return wrong;
  });
  assert.deepEqual(wrong, []);
}

const pictures = (page) => page.waitForFunction(() => [...document.querySelectorAll("img")].every((image) => image.complete && image.naturalWidth));

async function dropAnywhere(page, { name, type, base64 }) {
  await page.evaluate(async ([name, type, base64]) => {
    const held = new DataTransfer();
    held.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type }));
    const drop = (kind) => document.querySelector("footer").dispatchEvent(new DragEvent(kind, { dataTransfer: held, bubbles: true, cancelable: true }));
    if (drop("dragover") || drop("drop")) throw new Error("the browser would leave the page");
  }, [name, type, base64]);
}

async function paste(page, { type, base64 }) {
  await page.evaluate(async ([type, base64]) => {
    const held = new DataTransfer();
    held.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], "image.jpg", { type }));
    document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: held, bubbles: true }));
  }, [type, base64]);
}
