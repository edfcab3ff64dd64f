// `node site.mjs FOLDER`, after build.mjs: makes the folder that a server shows to the world, the
// demo page, and below `tidewire/` what pages of other origins embed. `/tidewire/widget.js` and
// `/tidewire/index.js` keep their names and are asked for again each time; what they load is named
// by its content, so that browsers keep it for ever. Beside each file lies its compressed form.
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";
import { common, shareClient } from "./build.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const source = join(here, "../examples/demo");
const web = process.argv[2];

/** Modules that carry each other's names: they change together. */
const SCRIPTS = ["index.js", "own.js", "tables.js"];
const MODULES = ["core.wasm", "tables.wasm"];
/** What compression makes smaller. */
const COMPRESSED = new Set([".html", ".css", ".js", ".wasm", ".svg"]);
/** As many digits as the server looks for. */
const HASH = 16;

const hashOf = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex").slice(0, HASH);
};
const named = (file, hash) => file.replace(/(\.\w+)$/, `-${hash}$1`);

/** A script with other names for the files beside it, and without its map, which is not served. */
function renamed(text, names) {
  const bare = text.replace(/\n\/\/# sourceMappingURL=.*\n?$/, "\n");
  return [...names].reduce((done, [file, name]) => done.replaceAll(`"./${file}"`, `"./${name}"`), bare);
}

/** Puts the embedded files into a folder and returns what each is called there. */
async function embed(folder) {
  await mkdir(folder, { recursive: true });
  const names = new Map();
  for (const file of MODULES) {
    const bytes = await readFile(join(dist, file));
    names.set(file, named(file, hashOf(bytes)));
    await writeFile(join(folder, names.get(file)), bytes);
  }
  const texts = await Promise.all(SCRIPTS.map((file) => readFile(join(dist, file), "utf8")));
  const hash = hashOf(...texts.map((text) => renamed(text, names)));
  for (const file of SCRIPTS) names.set(file, named(file, hash));
  for (const [index, file] of SCRIPTS.entries()) {
    await writeFile(join(folder, names.get(file)), renamed(texts[index], names));
  }
  await writeFile(join(folder, "widget.js"), renamed(await readFile(join(dist, "widget.js"), "utf8"), names));
  await writeFile(join(folder, "index.js"), `export * from "./${names.get("index.js")}";\n`);
  return names;
}

/** All files of a folder, by their paths in it. */
async function filesOf(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

async function compress(folder) {
  for (const file of await filesOf(folder)) {
    if (!COMPRESSED.has(extname(file))) continue;
    const bytes = await readFile(join(folder, file));
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    };
    await writeFile(join(folder, `${file}.br`), brotliCompressSync(bytes, { params }));
    await writeFile(join(folder, `${file}.gz`), gzipSync(bytes, { level: 9 }));
  }
}

await rm(web, { recursive: true, force: true });
const names = await embed(join(web, "tidewire"));
const client = names.get("index.js");
for (const [entry, path] of [
  ["demo", "./tidewire"],
  ["dashboard/dashboard", "../tidewire"],
]) {
  await build({
    ...common,
    sourcemap: false,
    entryPoints: [join(source, `${entry}.ts`)],
    outfile: join(web, `${entry}.js`),
    plugins: [shareClient(`${path}/${client}`, `${path}/widget.js`)],
  });
}
for (const file of ["index.html", "demo.css", "icon.svg", "dashboard/index.html", "dashboard/dashboard.css"]) {
  if (!file.endsWith(".html")) await cp(join(source, file), join(web, file));
  else {
    const page = await readFile(join(source, file), "utf8");
    await writeFile(join(web, file), page.replaceAll("tidewire/index.js", `tidewire/${client}`));
  }
}
// The service worker changes with every file it keeps, so that browsers take the new ones.
const files = await filesOf(web);
const contents = await Promise.all(files.map((file) => readFile(join(web, file))));
await build({
  ...common,
  sourcemap: false,
  entryPoints: [join(source, "sw.ts")],
  outfile: join(web, "sw.js"),
  define: { FILES: JSON.stringify(files), VERSION: JSON.stringify(hashOf(...contents)) },
});
await compress(web);
