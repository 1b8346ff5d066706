/**
 * Runs one scenario after another in one browser. A line of JSON in: {"scenario", "address", "args"}; lines out: any number of
 * {"ask": text}, each of which waits for a line of JSON as its answer, then {"value"} or {"error"}.
 */
import { createInterface } from "node:readline";

import { launch } from "./chromium.mjs";
import { scenarios } from "./scenarios.mjs";
import { openTab } from "./tab.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const read = async () => JSON.parse((await lines.next()).value ?? "null");
const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const outside = async (ask) => {
  write({ ask });
  return read();
};

const { browser, close } = await launch();
for (let asked = await read(); asked; asked = await read()) {
  const tabs = [];
  const open = async (options = {}) => {
    const tab = await openTab(browser, asked.address, options);
    tabs.push(tab);
    return tab;
  };
  try {
    const value = await scenarios[asked.scenario]({ open, outside, args: asked.args });
    for (const tab of tabs) tab.assertClean();
    write({ value: value ?? null });
  } catch (error) {
    const seen = tabs.map(({ problems }) => problems.join("\n")).join("\n");
    write({ error: `${error.stack}\nthe browser said: ${seen || "nothing"}` });
  }
  for (const tab of tabs) await tab.page.context().close();
}
await close();
