// What the bindings of this package use of the client's module, so that no page loads it twice. It is
// no part of the package's surface, and may change with each release.
export { NEW_CLIENT, NO_EVENTS, NO_ROWS, NO_TABLE, NOBODY } from "./initial.ts";
