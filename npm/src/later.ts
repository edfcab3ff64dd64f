import type { Link, LinkReports, Transport } from "./link.ts";
import { ABNORMAL } from "./link.ts";

/** A connection over plain requests, whose code is loaded only where a WebSocket could not be had. */
export function openLater(base: string, transport: Transport, reports: LinkReports): Link {
  let link: Link | undefined;
  let over = false;
  import("./http.ts").then(
    ({ openRequests }) => {
      if (!over) link = openRequests(base, transport, reports);
    },
    () => reports.closed(ABNORMAL),
  );
  return {
    transmit: (text) => link?.transmit(text),
    close(code) {
      over = true;
      link?.close(code);
    },
  };
}
