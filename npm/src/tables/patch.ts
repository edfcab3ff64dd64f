/** What makes one list of another: texts that are new, and places of those that were there, as first and number. */
export type Patch = readonly (string | readonly [first: number, number: number])[];

/** The texts of a list all differ. */
export function patchOf(before: readonly string[], after: readonly string[]): Patch {
  const places = new Map(before.map((text, place) => [text, place]));
  const patch: (string | [number, number])[] = [];
  for (const text of after) {
    const place = places.get(text);
    const last = patch.at(-1);
    if (place === undefined) patch.push(text);
    else if (Array.isArray(last) && last[0] + last[1] === place) last[1] += 1;
    else patch.push([place, 1]);
  }
  return patch;
}

export function patched(before: readonly string[], patch: Patch): readonly string[] {
  return patch.flatMap((part) => (typeof part === "string" ? part : before.slice(part[0], part[0] + part[1])));
}
