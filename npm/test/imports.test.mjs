// The import rules of the package's sources: no circles, and no import of a higher layer. Imports
// of types count too, because a type is a dependency like a value.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../src", import.meta.url));

/** The layers, the lowest first. A file imports files of lower layers, and of its own. */
const LAYERS = [
  ["vocabulary", /^(codes|initial|link|list|types|core|storage|lifecycle|tables\/types)\.ts$/],
  ["parts", /^(address|glue\.d|http|indexeddb|json|localstorage|options|resolvers|socket|store|token|validate|wasm)\.ts$/],
  ["driver", /^driver\.ts$/],
  ["tabs", /^tabs\/(election|extension|follower|leader|leases|membership|messages|pending|tab|tabs|views)\.ts$/],
  [
    "what a client has",
    /^(channel|conversation|dialog|events|handle|own|people|positions|roster|subscription|tables|tables\/(relay|ready|table|where)|watched)\.ts$/,
  ],
  ["client", /^(client|index|internal)\.ts$/],
  ["widget and hooks", /^(widget|react)\/[a-z]+\.ts$/],
];

/** Imports that are forbidden although the layers would allow them. */
const APART = [
  // The code of chat and tables is independent, so that a page with a chat only loads no code of
  // tables.
  [/^(channel|conversation|dialog|events|handle|subscription)\.ts$/, /^(tables\.ts|tables\/)/],
  [/^(tables\.ts|tables\/)/, /^(channel|conversation|dialog|events|handle|subscription)\.ts$/],
  // A page with the one loads no code of the other.
  [/^widget\//, /^react\//],
  [/^react\//, /^widget\//],
  // The election is pure. The extension's interface, the messages and the views are shared, so they
  // depend on no role.
  [/^tabs\/election\.ts$/, /./],
  [/^tabs\/(messages|extension|views)\.ts$/, /^(tabs\/(?!views)|driver\.ts)/],
  // The roles use their tab, but neither each other nor the class that composes them.
  [/^tabs\/(leader|follower|pending|membership)\.ts$/, /^tabs\/(leader|follower|tabs)\.ts$/],
];

/** Every source file with the files that it imports, types included. */
async function graph() {
  const entries = await readdir(src, { recursive: true });
  const files = entries.map((name) => name.replaceAll("\\", "/")).filter((name) => name.endsWith(".ts"));
  const imports = new Map();
  for (const file of files.sort()) {
    const text = await readFile(join(src, file), "utf8");
    const found = text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g);
    imports.set(file, [...new Set([...found].map(([, path]) => join(dirname(file), path).replaceAll("\\", "/")))]);
  }
  return imports;
}

/** Finds a circle of files that import each other, if there is one. */
function circleIn(imports) {
  const done = new Set();
  const visit = (file, path) => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const circle = visit(next, [...path, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const circle = visit(file, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

test("every import is of a file that is there", async () => {
  const imports = await graph();
  assert.ok(imports.get("client.ts").includes("tables.ts"), "an import made while running is found too");
  for (const [file, list] of imports) {
    for (const path of list) assert.ok(imports.has(path), `${file} imports ${path}`);
  }
});

test("no files import each other in a circle, types included", async () => {
  const circle = circleIn(await graph());
  assert.equal(circle?.join(" → "), undefined);
  const planted = new Map([
    ["a", ["b"]],
    ["b", ["c"]],
    ["c", ["b"]],
  ]);
  assert.deepEqual(circleIn(planted), ["b", "c", "b"]);
});

test("each file is in one layer, and no import runs upwards", async () => {
  const imports = await graph();
  const layerOf = (file) => {
    const layers = LAYERS.flatMap(([, files], place) => (files.test(file) ? place : []));
    assert.equal(layers.length, 1, `${file} is in ${layers.length} layers`);
    return layers[0];
  };
  for (const [file, list] of imports) {
    for (const path of list) {
      const [own, other] = [layerOf(file), layerOf(path)];
      assert.ok(other <= own, `${file} (${LAYERS[own][0]}) imports ${path} (${LAYERS[other][0]})`);
      const apart = APART.find(([from, to]) => from.test(file) && to.test(path));
      assert.equal(apart, undefined, `${file} must not import ${path}`);
    }
  }
});
