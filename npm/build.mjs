// Bundles the package: `node build.mjs`, after npm/wasm/ was made. What it shares with site.mjs is
// exported.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

/** Leaves imports of the client, and of the widget, out of a bundle, so that a page loads each once whoever needs it. */
export const shareClient = (client, widget) => ({
  name: "share-client",
  setup(bundle) {
    bundle.onResolve({ filter: /^(\.\.\/index\.ts|tidewire)$/ }, () => ({ path: client, external: true }));
    bundle.onResolve({ filter: /^\.\.\/own\.ts$/ }, () => ({ path: client.replace("index", "own"), external: true }));
    bundle.onResolve({ filter: /^tidewire\/widget$/ }, () => ({ path: widget, external: true }));
  },
});

export const common = {
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

// What few pages need is loaded by those few.
const apart = {
  name: "apart",
  setup(bundle) {
    bundle.onResolve({ filter: /^\.\/tables\.ts$/ }, () => ({ path: "./tables.js", external: true }));
    bundle.onResolve({ filter: /^\.\/own\.ts$/ }, () => ({ path: "./own.js", external: true }));
  },
};
// What is loaded beside the client has the client's errors.
const client = {
  name: "client",
  setup(bundle) {
    bundle.onResolve({ filter: /\/types\.ts$/ }, () => ({ path: "./index.js", external: true }));
  },
};

/** Makes a bundle smaller than esbuild does by itself: 3 % after compression. */
async function shrink(file, banner) {
  const map = `${basename(file)}.map`;
  const { code, map: mapped } = await minify(await readFile(file, "utf8"), {
    module: true,
    ecma: 2020,
    compress: { passes: 3 },
    format: banner && { preamble: banner },
    sourceMap: { content: await readFile(`${file}.map`, "utf8"), url: map },
  });
  await writeFile(file, code);
  await writeFile(`${file}.map`, mapped);
}

async function bundlePackage() {
  await mkdir(dist, { recursive: true });
  const bundled = async (entry, file, { banner, ...more } = {}) => {
    const outfile = join(dist, file);
    await build({ ...common, entryPoints: [join(here, "src", entry)], outfile, ...more });
    await shrink(outfile, banner);
  };
  await bundled("index.ts", "index.js", { plugins: [apart] });
  await bundled("own.ts", "own.js", { plugins: [client] });
  await bundled("tables.ts", "tables.js", {
    alias: { "tidewire-glue": join(here, "wasm/tables.js") },
    plugins: [client],
  });
  // Both programs drop the directive that says where these components may run.
  const hooks = { banner: '"use client";', external: ["react"], plugins: [client, shareClient("./index.js")] };
  await bundled("react/react.ts", "react.js", hooks);
  await bundled("widget/widget.ts", "widget.js", { plugins: [shareClient("./index.js")] });
  for (const file of ["core.wasm", "tables.wasm"]) await cp(join(here, "wasm", file), join(dist, file));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundlePackage();
