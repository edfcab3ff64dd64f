// Lets tests import single source files, which the package does not export.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const npm = fileURLToPath(new URL("..", import.meta.url));

/** The module of a file in `src`. */
export async function source(file) {
  const result = await build({
    entryPoints: [join(npm, "src", file)],
    bundle: true,
    format: "esm",
    platform: "neutral",
    write: false,
    alias: { "tidewire-glue": join(npm, "wasm/core.js") },
  });
  return import(`data:text/javascript;base64,${Buffer.from(result.outputFiles[0].text).toString("base64")}`);
}

/** The bytes of `core.wasm`. */
export const wasm = () => readFile(join(npm, "dist/core.wasm"));
