// Server addresses from applications, and which server gets which token.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { source } from "./bundle.mjs";

const { baseOf, guestToken } = await source("address.ts", "token.ts");

const realFetch = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = realFetch;
});

test("an address may have a path, and none of what has no place in it", () => {
  for (const [address, base] of [
    ["https://h", "https://h"],
    ["https://h/", "https://h"],
    ["https://h/rt", "https://h/rt"],
    ["https://h/rt/", "https://h/rt"],
    ["https://h/a/b//", "https://h/a/b"],
    ["wss://h:444/rt", "https://h:444/rt"],
    ["ws://[::1]:9", "http://[::1]:9"],
    ["HTTPS://H:443/rt", "https://h/rt"],
    [new URL("http://h/rt"), "http://h/rt"],
  ]) {
    assert.equal(baseOf(address, "x", "bad_config"), base, String(address));
  }
  for (const address of [
    "",
    "x",
    "/rt",
    "ftp://h",
    "file:///x",
    "https://u@h",
    "https://u:p@h",
    "https://h?x",
    "https://h/#x",
  ]) {
    assert.throws(
      () => baseOf(address, "createClient: url", "bad_config"),
      (error) => {
        assert.equal(error.code, "bad_config");
        assert.match(error.message, /^createClient: url /);
        return true;
      },
    );
  }
});

test("a guest of a server below a path is asked for there", async () => {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(String(url));
    return new Response(JSON.stringify({ token: "a.b.c" }));
  };
  const provider = guestToken("https://h/rt/", { place: { get: () => null, set: () => {} } });
  assert.equal(await provider(), "a.b.c");
  assert.deepEqual(asked, ["https://h/rt/v1/guest"]);
});

test("no server sees a token of another one, whatever they are kept under", async () => {
  const shown = [];
  globalThis.fetch = async (url, { headers }) => {
    shown.push([new URL(url).host, headers.authorization]);
    return new Response(JSON.stringify({ token: `${new URL(url).host}.b.c` }));
  };
  let kept = null;
  const place = {
    get: () => kept,
    set: (value) => {
      kept = value;
    },
  };
  for (const server of ["https://one", "https://two", "https://two", "https://one"]) await guestToken(server, { place })();
  assert.deepEqual(shown, [
    ["one", undefined],
    ["two", undefined],
    ["two", "Bearer two.b.c"],
    ["one", undefined],
  ]);
});
