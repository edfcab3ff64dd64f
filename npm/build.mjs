// Bundles the package and the demo page. `node build.mjs [DEMO_FOLDER]`, after npm/wasm/ was made.
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const demo = process.argv[2];

/** Leaves imports of the client out of a bundle, so that a page loads it once whoever needs it. */
const shareClient = (path) => ({
  name: "share-client",
  setup(bundle) {
    bundle.onResolve({ filter: /^(\.\.\/index\.ts|tidewire)$/ }, () => ({ path, external: true }));
    bundle.onResolve({ filter: /^tidewire\/widget$/ }, () => ({
      path: path.replace("index.js", "widget.js"),
      external: true,
    }));
  },
});

const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: "linked",
  legalComments: "none",
  logLevel: "warning",
  alias: { "tidewire-glue": join(here, "wasm/core.js") },
  // The glue's own loader is never called: wasm.ts loads the module.
  treeShaking: true,
};

await mkdir(dist, { recursive: true });
// What few networks need is loaded by those few.
const apart = {
  name: "apart",
  setup(bundle) {
    bundle.onResolve({ filter: /^\.\/http\.ts$/ }, () => ({ path: "./requests.js", external: true }));
    bundle.onResolve({ filter: /^\.\/tables\.ts$/ }, () => ({ path: "./tables.js", external: true }));
  },
};
await build({ ...common, entryPoints: [join(here, "src/index.ts")], outfile: join(dist, "index.js"), plugins: [apart] });
await build({ ...common, entryPoints: [join(here, "src/http.ts")], outfile: join(dist, "requests.js") });
// Its glue is another module's, its errors are the client's.
const client = {
  name: "client",
  setup(bundle) {
    bundle.onResolve({ filter: /\/types\.ts$/ }, () => ({ path: "./index.js", external: true }));
  },
};
await build({
  ...common,
  alias: { "tidewire-glue": join(here, "wasm/tables.js") },
  entryPoints: [join(here, "src/tables.ts")],
  outfile: join(dist, "tables.js"),
  plugins: [client],
});
await build({
  ...common,
  entryPoints: [join(here, "src/widget/widget.ts")],
  outfile: join(dist, "widget.js"),
  plugins: [shareClient("./index.js")],
});
for (const file of ["core.wasm", "tables.wasm"]) await cp(join(here, "wasm", file), join(dist, file));

if (demo !== undefined) {
  const source = join(here, "../examples/demo");
  await rm(demo, { recursive: true, force: true });
  await mkdir(join(demo, "tidewire"), { recursive: true });
  await build({
    ...common,
    sourcemap: false,
    entryPoints: [join(source, "demo.ts")],
    outfile: join(demo, "demo.js"),
    plugins: [shareClient("./tidewire/index.js")],
  });
  await build({
    ...common,
    sourcemap: false,
    entryPoints: [join(source, "dashboard/dashboard.ts")],
    outfile: join(demo, "dashboard/dashboard.js"),
    plugins: [shareClient("../tidewire/index.js")],
  });
  for (const file of ["index.html", "demo.css", "icon.svg", "dashboard/index.html", "dashboard/dashboard.css"])
    await cp(join(source, file), join(demo, file));
  for (const file of ["index.js", "requests.js", "tables.js", "widget.js", "core.wasm", "tables.wasm"])
    await cp(join(dist, file), join(demo, "tidewire", file));
  // The service worker changes with every file it keeps, so that browsers take the new ones.
  const files = [
    "index.html",
    "demo.css",
    "icon.svg",
    "demo.js",
    "dashboard/index.html",
    "dashboard/dashboard.css",
    "dashboard/dashboard.js",
    "tidewire/index.js",
    "tidewire/requests.js",
    "tidewire/tables.js",
    "tidewire/widget.js",
    "tidewire/core.wasm",
    "tidewire/tables.wasm",
  ];
  const hash = createHash("sha256");
  for (const file of files) hash.update(await readFile(join(demo, file)));
  await build({
    ...common,
    sourcemap: false,
    entryPoints: [join(source, "sw.ts")],
    outfile: join(demo, "sw.js"),
    define: { FILES: JSON.stringify(files), VERSION: JSON.stringify(hash.digest("hex").slice(0, 16)) },
  });
}
