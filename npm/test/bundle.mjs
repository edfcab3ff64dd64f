// Lets tests import single source files, which the package does not export.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const npm = fileURLToPath(new URL("..", import.meta.url));

/** The modules of files in `src`, as one. */
export async function source(...files) {
  const contents = files.map((file) => `export * from "./${file}";`).join("\n");
  const result = await build({
    stdin: { contents, resolveDir: join(npm, "src"), loader: "ts" },
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
