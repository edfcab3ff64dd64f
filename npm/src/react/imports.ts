// What the hooks import from outside, in one place: each import of its own would be in the bundle.
import { internal as own } from "../index.ts";

export {
  createContext,
  createElement,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
export { createClient, TidewireError } from "../index.ts";
/** @internal */
export const internal = own;
