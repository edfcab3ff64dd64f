// Lets tests import single source files, which the package does not export.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const npm = fileURLToPath(new URL("..", import.meta.url));

/**
 * Bundles files of `src` into one module. The last argument may be `{ tables: true }` for the glue
 * of the module with live tables, or `{ glue }` for a file of the tests instead of it.
 */
export async function source(...given) {
  const files = given.filter((file) => typeof file === "string");
  const { tables = false, glue = join(npm, tables ? "wasm/tables.js" : "wasm/core.js") } =
    given.find((file) => typeof file !== "string") ?? {};
  const contents = files.map((file) => `export * from "./${file}";`).join("\n");
  const result = await build({
    stdin: { contents, resolveDir: join(npm, "src"), loader: "ts" },
    bundle: true,
    format: "esm",
    platform: "neutral",
    write: false,
    alias: { "tidewire-glue": glue },
  });
  return import(`data:text/javascript;base64,${Buffer.from(result.outputFiles[0].text).toString("base64")}`);
}

/** The bytes of `core.wasm`, or of `tables.wasm`. */
export const wasm = (name = "core") => readFile(join(npm, `dist/${name}.wasm`));
