// What the hooks import from outside, in one place: each import of its own would be in the bundle.
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
export { createClient, internal, TidewireError } from "../index.ts";
