// Keeps the demo page's own files, so that it can be reloaded while its server is stopped. Part of
// the demo, not of the SDK.
declare const FILES: readonly string[];
declare const VERSION: string;

/** The few things of a service worker that this one uses; the compiler's DOM types know none of them. */
interface WaitableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface RequestEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface WorkerScope extends EventTarget {
  skipWaiting(): Promise<void>;
  readonly clients: { claim(): Promise<void> };
}

const worker = self as unknown as WorkerScope;
const CACHE = `tidewire-demo-${VERSION}`;
/** How long a server that does not answer is waited for, ms. */
const PATIENCE = 3000;

worker.addEventListener("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(CACHE);
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "reload" })));
    await worker.skipWaiting();
  };
  (event as WaitableEvent).waitUntil(fill());
});

worker.addEventListener("activate", (event) => {
  const clean = async () => {
    const names = await caches.keys();
    await Promise.all(
      names.filter((name) => name.startsWith("tidewire-demo-") && name !== CACHE).map((name) => caches.delete(name)),
    );
    await worker.clients.claim();
  };
  (event as WaitableEvent).waitUntil(clean());
});

worker.addEventListener("fetch", (event) => {
  const { request } = event as RequestEvent;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  const file = url.pathname.slice(1) + (url.pathname.endsWith("/") ? "index.html" : "");
  if (FILES.includes(file)) (event as RequestEvent).respondWith(fresh(request, file));
});

/** From the server while it answers, else what was kept. */
async function fresh(request: Request, file: string): Promise<Response> {
  try {
    const response = await fetch(request.url, { cache: "no-cache", signal: AbortSignal.timeout(PATIENCE) });
    if (response.ok) return response;
  } catch {
    // The server is stopped.
  }
  const kept = await caches.match(new URL(`/${file}`, location.href), { ignoreSearch: true });
  return kept ?? Response.error();
}
