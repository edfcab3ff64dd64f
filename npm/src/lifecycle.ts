/** A hint about the network or the page. */
export type Hint =
  | { t: "network"; state: "online" | "offline" | "changed" }
  | { t: "lifecycle"; state: "shown" | "hidden" | "frozen" | "resumed" };

/**
 * Reports changes of the page's visibility and of the network. Reports at once if the page is
 * hidden or offline. Returns a function that stops it.
 */
export function watchLifecycle(report: (hint: Hint) => void): () => void {
  if (typeof window === "undefined" || typeof document === "undefined") return () => {};
  const controller = new AbortController();
  const { signal } = controller;
  const network = (state: "online" | "offline" | "changed") => report({ t: "network", state });
  const lifecycle = (state: "shown" | "hidden" | "frozen" | "resumed") => report({ t: "lifecycle", state });

  window.addEventListener("online", () => network("online"), { signal });
  window.addEventListener("offline", () => network("offline"), { signal });
  const connection = (navigator as Navigator & { connection?: EventTarget }).connection;
  connection?.addEventListener("change", () => network("changed"), { signal });
  document.addEventListener(
    "visibilitychange",
    () => lifecycle(document.visibilityState === "visible" ? "shown" : "hidden"),
    {
      signal,
    },
  );
  document.addEventListener("freeze", () => lifecycle("frozen"), { signal });
  document.addEventListener("resume", () => lifecycle("resumed"), { signal });
  // The page ends or enters the back/forward cache. `persisted` says that it comes back from there.
  window.addEventListener("pagehide", () => lifecycle("frozen"), { signal });
  window.addEventListener("pageshow", (event) => event.persisted && lifecycle("resumed"), { signal });

  if (navigator.onLine === false) network("offline");
  if (document.visibilityState === "hidden") lifecycle("hidden");
  return () => controller.abort();
}
