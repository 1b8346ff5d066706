/** A real Chromium that comes from npm with everything that it needs: libraries, fonts, and a folder of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Both must stand before the import: it brings its own nss libraries only where it thinks that it runs on Lambda, and unpacks into TMPDIR.
const folder = mkdtempSync(join(tmpdir(), "lookalike-chromium-"));
process.env.TMPDIR = folder;
process.env.AWS_EXECUTION_ENV ??= "AWS_Lambda_nodejs22.x";
const { default: packed } = await import("@sparticuz/chromium");
const { chromium } = await import("playwright-core");

/** Start it; `close` also removes what it unpacked. */
export async function launch() {
  const executablePath = await packed.executablePath();
  // Its own configuration looks for fonts in /tmp alone.
  writeFileSync(
    join(folder, "fonts", "fonts.conf"),
    `<?xml version="1.0"?><fontconfig><dir>${folder}/fonts</dir><cachedir>${folder}/fonts-cache</cachedir></fontconfig>`,
  );
  process.env.FONTCONFIG_PATH = join(folder, "fonts");
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  return {
    browser,
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
