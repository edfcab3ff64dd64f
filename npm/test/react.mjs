// React in a pretended browser, with the built hooks: for tests of both versions that they support.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { Window } from "happy-dom";

const npm = fileURLToPath(new URL("..", import.meta.url));
const dist = join(npm, "dist");
/** Where each version is installed. */
const VERSIONS = { 18: join(npm, "test/react-18"), 19: npm };

/** Bundles React, its renderers and the hooks, which then all have the same React. */
async function bundle(version) {
  const contents = `
    export * as React from "react";
    export * as dom from "react-dom/client";
    export * as server from "react-dom/server.browser";
    export { act as oldAct } from "react-dom/test-utils";
    export { useStore } from "zustand";
    export * as hooks from ${JSON.stringify(join(dist, "react.js"))};
  `;
  const own = {
    name: "own-react",
    setup(bundle) {
      const resolveDir = VERSIONS[version];
      bundle.onResolve({ filter: /^react(-dom)?(\/|$)/ }, ({ path, kind, pluginData }) =>
        pluginData === "own" ? undefined : bundle.resolve(path, { kind, resolveDir, pluginData: "own" }),
      );
      // The tests create their clients with the same module.
      const external = true;
      const path = pathToFileURL(join(dist, "index.js")).href;
      bundle.onResolve({ filter: /^\.\/index\.js$/ }, ({ importer }) =>
        dirname(importer) === dist.replace(/\/$/, "") ? { path, external } : undefined,
      );
    },
  };
  const made = await build({
    stdin: { contents, resolveDir: npm },
    bundle: true,
    format: "esm",
    platform: "browser",
    define: { "process.env.NODE_ENV": '"development"' },
    plugins: [own],
    write: false,
    logLevel: "error",
  });
  return made.outputFiles[0].text;
}

/** React's own would keep the process alive for ever. */
class Channel {
  port1 = {};
  port2 = { postMessage: () => setTimeout(() => this.port1.onmessage?.()) };
}

/** A version of React, with a pretended page to render to. */
export async function react(version) {
  const window = new Window({ url: "https://app.example/" });
  // Set before React is loaded, which looks for them.
  Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
  globalThis.navigator ??= window.navigator;
  globalThis.MessageChannel = Channel;
  const folder = await mkdtemp(join(tmpdir(), "tidewire-react-"));
  try {
    const file = join(folder, `react-${version}.mjs`);
    await writeFile(file, await bundle(version));
    const { React, dom, server, hooks, oldAct, useStore } = await import(pathToFileURL(file).href);
    return { ...hooks, useStore, React, dom, server, act: React.act ?? oldAct, document: window.document };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
