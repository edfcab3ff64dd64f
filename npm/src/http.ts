import type { PlainRequest, ResponseReports } from "./link.ts";

/**
 * Makes a request to the server at `base` and reports the parts of the response. Never throws:
 * failures are reported too.
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
    // A browser's error message for a failed network has no code of ours.
    ended(true);
  }
}
