import { TidewireError } from "./imports.ts";

/** Something that has to be closed. */
export interface Closable {
  close(): void;
}

/**
 * Something that is open while a component is mounted. It is closed a moment after the component has
 * left: strict mode and hot reloads leave and come back at once.
 */
export class Opening<H extends Closable> {
  handle: H | undefined;
  /** Why it could not be opened. */
  error: TidewireError | undefined;
  readonly #open: () => H | undefined;
  #uses = 0;

  constructor(open: () => H | undefined) {
    this.#open = open;
  }

  /** Opens it. Returns a function that ends this use. */
  use(): () => void {
    this.#uses += 1;
    try {
      this.handle ??= this.#open();
    } catch (error) {
      // A client throws no other errors.
      this.error = error as TidewireError;
    }
    return () => {
      this.#uses -= 1;
      setTimeout(() => {
        if (this.#uses > 0) return;
        this.handle?.close();
        this.handle = undefined;
      });
    };
  }

  /** The handle. Throws why there is none. */
  get opened(): H {
    if (this.handle) return this.handle;
    throw this.error ?? new TidewireError("closed", "not open: wait until it is `ready`", true);
  }
}
