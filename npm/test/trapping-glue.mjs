// The glue of the core, around a core that traps when a test says so: `globalThis.trap` is the name of the call that does.
import { initSync, Core as Real } from "../wasm/core.js";

export { initSync };

const CALLS = ["received", "handle", "command", "poll"];

export const Core = {
  create(...given) {
    const core = Real.create(...given);
    const calls = CALLS.map((name) => {
      const call = (...values) => {
        if (globalThis.trap === name) throw new WebAssembly.RuntimeError("unreachable");
        return core[name](...values);
      };
      return [name, call];
    });
    return { ...Object.fromEntries(calls), free: () => core.free() };
  },
};
