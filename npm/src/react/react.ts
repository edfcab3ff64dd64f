// Hooks for React. Importing this does nothing, on a server either.
export type { ChannelActions, ChannelListeners } from "./channel.ts";
export { useChannel } from "./channel.ts";
export type { Connection } from "./connection.ts";
export { useConnection } from "./connection.ts";
export type { DialogActions } from "./dialog.ts";
export { useDialog, useMessage, useMessageIds, useMessages } from "./dialog.ts";
export type { AgentStatus, Agents, Typing } from "./people.ts";
export { useAgentStatus, usePresence, useTyping } from "./people.ts";
export type { Nothing, Ready } from "./place.ts";
export type { Tidewire, TidewireProviderProps } from "./provider.ts";
export { TidewireProvider, useTidewire } from "./provider.ts";
export { useTable } from "./table.ts";
