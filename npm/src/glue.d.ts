/** What wasm-bindgen writes beside the module; the build resolves the name. */
declare module "tidewire-glue" {
  import type { CoreInstance } from "./wasm.ts";
  export const Core: {
    create(config: string, seed: Uint8Array, restored: string, mono: number, wall: number): CoreInstance | undefined;
  };
  export function initSync(options: { module: WebAssembly.Module }): unknown;
}
