// Small texts that this browser keeps: a guest's session, the name of a conversation, what was
// written and not yet taken. Their names are `tidewire:WHAT:SCOPE`, and more behind another colon,
// so that a logout finds all of a user's.

/** What is kept where the browser keeps nothing: until the page ends. */
const memory = new Map<string, string>();

/** The name under which something of a scope is kept. */
export function keyOf(what: string, scope: string, ...more: string[]): string {
  return ["tidewire", what, scope, ...more.map(encodeURIComponent)].join(":");
}

/** The name of what must not outlive the page, because nobody knows whose it is. */
export function transientKey(what: string, ...more: string[]): string {
  return ["passing", what, ...more.map(encodeURIComponent)].join(":");
}

const isTransient = (key: string): boolean => key.startsWith("passing:");

/** What is kept under a name. */
export function get(key: string): string | null {
  try {
    return memory.get(key) ?? localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** Keeps a text. False if only for as long as the page lives. */
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

/** Forgets it. */
export function remove(key: string): void {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Denied: then nothing was kept there.
  }
}

/** All names that begin with `prefix`, in their order. */
export function keys(prefix: string): string[] {
  const found = new Set(memory.keys());
  try {
    for (let at = 0; at < localStorage.length; at += 1) found.add(localStorage.key(at) ?? "");
  } catch {
    // Denied.
  }
  return [...found].filter((key) => key.startsWith(prefix)).sort();
}

/** Forgets all of a scope's. */
export function forgetScope(scope: string): void {
  for (const key of keys("tidewire:")) if (key.split(":")[2] === scope) remove(key);
}
