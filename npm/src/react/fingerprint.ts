/**
 * A text that is the same for options of the same value, though they are new objects. Functions
 * count as equal, and so do bytes: neither is worth a new connection.
 */
export function fingerprint(options: unknown): string {
  try {
    return JSON.stringify(options, function (this: Readonly<Record<string, unknown>>, name, value: unknown) {
      if (typeof value === "function" || ArrayBuffer.isView(value)) return typeof value;
      if (typeof value === "object" && value !== null) return value;
      // What JSON leaves out, or writes as `null`, must not look like something else.
      return `${typeof value} ${value} ${this[name]}`;
    });
  } catch {
    // Whoever gets the options says what is wrong with them.
    return "";
  }
}
