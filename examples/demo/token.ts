// Tokens of the demo server's, which signs them for whoever asks.
import type { TokenProvider } from "tidewire";

/** `?token-ttl=` (s) shortens the life of tokens, `?tamper` spoils them. */
const query = new URLSearchParams(location.search);

export function demoToken(role: "user" | "operator", person: string): TokenProvider {
  const key = `demo:${role}:${person}`;
  return async (why) => {
    const kept = read(key);
    if (why === "connect" && kept !== undefined && kept.expires > Date.now() + 30_000) return kept.token;
    const ttl = query.get("token-ttl");
    const response = await fetch("/demo/token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ role, name: person, ...(ttl === null ? {} : { ttl_s: Number(ttl) }) }),
    });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const { token, expires_ms } = (await response.json()) as { token: string; expires_ms: number };
    if (query.has("tamper")) return `${token.slice(0, -8)}AAAAAAAA`;
    keep(key, { token, expires: Date.now() + expires_ms });
    return token;
  };
}

function read(key: string): { token: string; expires: number } | undefined {
  try {
    const text = localStorage.getItem(key);
    return text === null ? undefined : (JSON.parse(text) as { token: string; expires: number });
  } catch {
    // Denied, or not ours: the server gives another token.
    return undefined;
  }
}

function keep(key: string, value: { token: string; expires: number }): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Denied: asked for again next time.
  }
}
