import type { ClientState, Status } from "../types.ts";
import { internal, useSyncExternalStore } from "./imports.ts";
import { useTidewire } from "./provider.ts";

/** The connection. */
export interface Connection extends Status, Omit<ClientState, "status"> {
  /** Connects, and stays connected. It also creates the client again if that has failed. */
  connect(): void;
  /** Disconnects until `connect`. */
  disconnect(): void;
  /** Tries at once what waits for its next attempt. */
  retryNow(): void;
}

const first = (): ClientState => internal.NEW_CLIENT;
const never = () => () => {};

/**
 * The state of the connection. While the client is being created it is `idle`; if that fails,
 * `failed` with the code as its `cause`.
 */
export function useConnection(): Connection {
  const { client, error, retry } = useTidewire();
  const { status, ...state } = useSyncExternalStore(client?.subscribe ?? never, client?.getState ?? first, first);
  return {
    ...status,
    ...(error && { state: "failed", cause: error.code, message: error.message }),
    ...state,
    connect: client?.connect ?? retry,
    disconnect: client?.disconnect ?? first,
    retryNow: client?.retryNow ?? retry,
  };
}
