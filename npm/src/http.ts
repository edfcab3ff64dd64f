import type { PlainRequest, ResponseReports } from "./link.ts";

/**
 * Makes a request to the server with this base. Whatever comes of it is reported; it never throws.
 */
export async function makeRequest(
  base: string,
  request: PlainRequest,
  signal: AbortSignal,
  { status, received, ended }: ResponseReports,
): Promise<void> {
  try {
    // Neither a token nor the connection's id may follow a redirect.
    const response = await fetch(base + request.path, { ...request, redirect: "error", cache: "no-store", signal });
    status(response.status);
    const reader = response.body?.getReader();
    for (let chunk = await reader?.read(); chunk?.done === false; chunk = await reader?.read()) received(chunk.value);
    ended(false);
  } catch {
    // What a browser says of a network that failed is its own, and none of our codes.
    ended(true);
  }
}
