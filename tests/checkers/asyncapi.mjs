// Prints every fault of an AsyncAPI document: node asyncapi.mjs FILE
import { readFileSync } from "node:fs";
import { DiagnosticSeverity, Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { severity, path, message } of diagnostics) {
  if (severity <= DiagnosticSeverity.Warning) console.log(`${path.join(".")}: ${message}`);
}
process.exit(document && diagnostics.every(({ severity }) => severity > DiagnosticSeverity.Warning) ? 0 : 1);
