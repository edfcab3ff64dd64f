// Prints the sizes of what is shipped, as JSON.
import { readFile } from "node:fs/promises";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = constants;
const files = {};
for (const name of ["core.wasm", "index.js", "widget.js", "react.js", "tables.wasm", "tables.js"]) {
  const bytes = await readFile(new URL(`dist/${name}`, import.meta.url));
  const params = { [BROTLI_PARAM_QUALITY]: 11, [BROTLI_PARAM_LGWIN]: 24, [BROTLI_PARAM_SIZE_HINT]: bytes.length };
  files[name] = {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, { params }).length,
  };
}
// index.js is the glue and the client in one file.
const core_glue_client_brotli = files["core.wasm"].brotli + files["index.js"].brotli;
const with_tables_brotli = files["tables.wasm"].brotli + files["index.js"].brotli + files["tables.js"].brotli;
console.log(JSON.stringify({ files, core_glue_client_brotli, with_tables_brotli }));
