// Short texts in `localStorage`: a guest's session, a dialog's id, unsent messages. Keys are
// `tidewire:WHAT:SCOPE`, optionally with more parts after further colons, so that a logout finds
// all keys of a scope.

/** Values that `localStorage` does not hold. They last until the page ends. */
const memory = new Map<string, string>();

/** The key of a value that belongs to a scope. */
export function keyOf(what: string, scope: string, ...more: string[]): string {
  return ["tidewire", what, scope, ...more.map(encodeURIComponent)].join(":");
}

/** The key of a value that must not outlive the page, because its user is not known. */
export function transientKey(what: string, ...more: string[]): string {
  return ["passing", what, ...more.map(encodeURIComponent)].join(":");
}

const isTransient = (key: string): boolean => key.startsWith("passing:");

/** The value of a key; `null` if there is none. */
export function get(key: string): string | null {
  try {
    return memory.get(key) ?? localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Stores a value. Returns false if it lasts only until the page ends. */
export function set(key: string, value: string): boolean {
  memory.set(key, value);
  if (isTransient(key)) return false;
  try {
    localStorage.setItem(key, value);
    memory.delete(key);
    return true;
  } catch {
    return false;
  }
}

/** Removes a key. */
export function remove(key: string): void {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // The browser denies access, so nothing was stored.
  }
}

/** All keys that begin with `prefix`, sorted. */
export function keys(prefix: string): string[] {
  const found = new Set(memory.keys());
  try {
    for (let at = 0; at < localStorage.length; at += 1) found.add(localStorage.key(at) ?? "");
  } catch {
    // Denied.
  }
  return [...found].filter((key) => key.startsWith(prefix)).sort();
}

/** Removes all keys of a scope. */
export function forgetScope(scope: string): void {
  for (const key of keys("tidewire:")) if (key.split(":")[2] === scope) remove(key);
}
