import { Core, initSync } from "tidewire-glue";
import { encode } from "./json.ts";
import type { WasmSource } from "./types.ts";
import { TidewireError } from "./types.ts";

/**
 * The core as the WebAssembly module exports it, with JSON texts as arguments and results. `mono`
 * is a monotonic clock, `wall` the time since the Unix epoch, both in ms.
 */
export interface CoreInstance {
  received(conn: number, text: string, mono: number, wall: number): void;
  body(request: number, bytes: Uint8Array, mono: number, wall: number): void;
  handle(input: string, mono: number, wall: number): boolean;
  command(command: string, mono: number, wall: number): string;
  poll(mono: number, wall: number): string;
  free(): void;
}

let loading: Promise<void> | undefined;

/** Loads the module, once per page. After a failure the next call tries again. */
export function loadCore(source: WasmSource): Promise<void> {
  loading ??= compile(source).then(
    (module) => {
      initSync({ module });
    },
    (error: unknown) => {
      loading = undefined;
      throw new TidewireError("core_unavailable", `the core could not be loaded: ${String(error)}`, true);
    },
  );
  return loading;
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  const given = await (source instanceof URL || typeof source === "string" ? fetch(source) : source);
  if (!(given instanceof Response)) return WebAssembly.compile(given);
  const response = given;
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
  // Compiling while loading needs the right media type; with another one the module is loaded
  // first.
  if (response.headers.get("content-type")?.startsWith("application/wasm")) {
    return WebAssembly.compileStreaming(response);
  }
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Makes a core. `loadCore` must have resolved before. Throws `bad_config`. */
export function createCore(config: object, restored: object, mono: number, wall: number): CoreInstance {
  const seed = crypto.getRandomValues(new Uint8Array(32));
  const core = Core.create(encode(config), seed, encode(restored), mono, wall);
  if (core === undefined) throw new TidewireError("bad_config", "the settings or the stored data can't be read", false);
  return core;
}
