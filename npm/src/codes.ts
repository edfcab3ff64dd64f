// The stable codes: why something was refused or failed, the same text in every language. The list
// is the core's, `sdk-core/src/wire/codes.rs`; a test there keeps this one equal to it.

/** A stable code. */
export type Code =
  /** Not a frame, or a member is missing or of the wrong type. */
  | "bad_frame"
  /** Longer than the limit. */
  | "too_large"
  /** Nested deeper than 32 levels. */
  | "too_deep"
  /** The first frame was not `hello`. */
  | "hello_required"
  /** No `hello` in time. */
  | "hello_timeout"
  /** `hello.v` is not a version this server speaks. */
  | "unsupported_version"
  /** The token is not valid. */
  | "unauthorized"
  /** The token was valid once. */
  | "token_expired"
  /** `auth` brought another user's token. */
  | "user_changed"
  /** The page's origin is not on the allow-list. */
  | "origin_not_allowed"
  /** The server, the user or the dialog has all the connections it may have. */
  | "too_many_connections"
  /** The peer does not read what is sent to it. */
  | "slow_consumer"
  /** The peer does not follow the protocol. */
  | "bad_request"
  /** There is no such channel. */
  | "unknown_channel"
  /** The channel is somebody else's. */
  | "forbidden"
  /** `limits.subscriptions` is reached. */
  | "too_many_subscriptions"
  /** `next` for a channel without a subscription. */
  | "not_subscribed"
  /** No such op kind. */
  | "unknown_kind"
  /** The op's body does not fit its kind. */
  | "bad_body"
  /** The op id is not a UUID. */
  | "bad_op_id"
  /** The op id was used for something else. */
  | "op_id_reused"
  /** The op that comes before this one is not committed. */
  | "blocked"
  /** More ops than the budget allows. */
  | "rate_limited"
  /** No such answer is under way. */
  | "run_not_found"
  /** The disk is full. */
  | "storage_full"
  /** The store can't be written or read now. */
  | "store_unavailable"
  /** A fault of the server. */
  | "internal"
  /** The server is going away. */
  | "goaway"
  /** A newer connection of the same session took this one's place. */
  | "replaced"
  /** Nothing was heard in time. */
  | "ping_timeout"
  /** There is no such table. */
  | "unknown_table"
  /** A column that is not there, or that rows can't be filtered by. */
  | "bad_column"
  /** More rows than a subscription may have. */
  | "too_many_rows"
  /** A row, or a transaction, that is greater than a frame may be. */
  | "too_big"
  /** The table's database can't be asked now. */
  | "table_unavailable"
  /** The database knows no such transaction. */
  | "unknown_tx"
  /** The transaction was rolled back. */
  | "aborted_tx"
  /** A transaction that was waited for did not come in time. */
  | "timeout"
  /** The table's filter can't be read; the server's own words are behind it. */
  | "bad_filter"
  /** A value in a filter is none of its column's type. */
  | "bad_literal"
  /** A filter is longer than it may be. */
  | "filter_too_long"
  /** A filter has more terms than it may have. */
  | "too_many_terms"
  /** The model's service answered what can't be read. */
  | "model_bad_response"
  /** The model's answer was cut off. */
  | "model_cut"
  /** The model's service takes no more for now. */
  | "model_rate_limited"
  /** The model's service did not answer in time. */
  | "model_timeout"
  /** The model's service refused the server's key. */
  | "model_unauthorized"
  /** The model's service can't be reached. */
  | "model_unavailable"
  /** The connection was lost without a word. */
  | "connection_lost"
  /** The connection was not made in time. */
  | "connect_timeout"
  /** An op was not answered in time. */
  | "op_timeout"
  /** The peer said what is not in the protocol. */
  | "protocol"
  /** The system says that there is no network. */
  | "offline"
  /** The server's name can't be resolved. */
  | "dns"
  /** Nothing listens at the server's address. */
  | "refused"
  /** The server can't be reached. */
  | "unreachable"
  /** The TLS handshake failed. */
  | "tls"
  /** What answers speaks another protocol. */
  | "bad_answer"
  /** The network failed. */
  | "network"
  /** The application's token provider gave no token in time. */
  | "token_timeout"
  /** The application's token provider failed. */
  | "token_unavailable"
  /** What the application's token provider gave is no token. */
  | "bad_token"
  /** The endpoint that gives tokens answered what can't be read. */
  | "bad_response"
  /** The user was logged out on this device. */
  | "logged_out"
  /** The channel's name is not one. */
  | "bad_channel"
  /** The text is empty. */
  | "empty"
  /** All that may wait to be sent waits. */
  | "outbox_full"
  /** The op waited longer than it may. */
  | "expired"
  /** The application gave the op up. */
  | "discarded"
  /** What was kept on the device can't be read. */
  | "record_unreadable"
  /** What the device keeps can't be read or written. */
  | "storage_unavailable"
  /** Another client uses the store. */
  | "store_in_use"
  /** A newer version wrote the store. */
  | "store_newer"
  /** The table's name is not one. */
  | "bad_table"
  /** The columns that were selected are none. */
  | "bad_select"
  /** The order names what rows can't be ordered by. */
  | "bad_order"
  /** The limit is no whole number. */
  | "bad_limit"
  /** The client, dialog or table was closed. */
  | "closed"
  /** An argument makes no sense. */
  | "bad_argument"
  /** A setting makes no sense. */
  | "bad_config"
  /** What a package hands to the core can't be read: its parts are of different versions. */
  | "bad_input"
  /**
   * A package asks for a command that the core does not have: its parts are of different versions.
   */
  | "bad_command"
  /** The core could not be loaded. */
  | "core_unavailable"
  /** The core crashed; the client is of no more use. */
  | "core_crashed"
  /** The address of the server is not one. */
  | "bad_url"
  /** Neither a token provider nor a guest's name was given. */
  | "no_identity"
  /** A guest's nickname is not one. */
  | "bad_nickname"
  /** The application's own code failed. */
  | "callback_failed";
