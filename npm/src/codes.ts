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
  /** No `hello` came in time. */
  | "hello_timeout"
  /** `hello.v` is not a version this server speaks. */
  | "unsupported_version"
  /** The token is not valid. */
  | "unauthorized"
  /** The token has expired. */
  | "token_expired"
  /** `auth` brought another user's token. */
  | "user_changed"
  /** The page's origin is not on the allow-list. */
  | "origin_not_allowed"
  /** The server, the user or the dialog has the most connections it may have. */
  | "too_many_connections"
  /** The peer reads too slowly. */
  | "slow_consumer"
  /** The peer does not follow the protocol. */
  | "bad_request"
  /** There is nothing at the address of a request. */
  | "not_found"
  /** There is no such channel. */
  | "unknown_channel"
  /** The channel belongs to somebody else. */
  | "forbidden"
  /** `limits.subscriptions` is reached. */
  | "too_many_subscriptions"
  /** The user is a member of all the channels that a user may be a member of. */
  | "too_many_memberships"
  /** `next` or `prev` for a channel without a subscription. */
  | "not_subscribed"
  /** The channel's rule does not have people. */
  | "people_off"
  /** The user holds all the leases in the channel that a user may hold. */
  | "too_many_leases"
  /** There is no event at this offset. */
  | "bad_offset"
  /** No such op kind. */
  | "unknown_kind"
  /** The op's body is not valid for its kind. */
  | "bad_body"
  /** The op id is not a UUID. */
  | "bad_op_id"
  /** The op id was used for another op. */
  | "op_id_reused"
  /** The op that comes before this one is not committed. */
  | "blocked"
  /** More ops than the budget allows. */
  | "rate_limited"
  /** No such answer is under way. */
  | "run_not_found"
  /** The dialog is not in a state that allows this step of a hand-off. */
  | "handoff_conflict"
  /** The disk is full. */
  | "storage_full"
  /** The store can't be read or written now. */
  | "store_unavailable"
  /** An internal error of the server. */
  | "internal"
  /** The server is going away. */
  | "goaway"
  /** A newer connection of the same session took this one's place. */
  | "replaced"
  /** Nothing was received in time. */
  | "ping_timeout"
  /** The user did nothing on the connection for as long as the server allows. */
  | "idle_timeout"
  /** The application's backend closed the connection. */
  | "kicked"
  /** There is no such table. */
  | "unknown_table"
  /** A column does not exist, or rows can't be filtered by it. */
  | "bad_column"
  /** More rows than a subscription may have. */
  | "too_many_rows"
  /** A row or a transaction is larger than a frame may be. */
  | "too_big"
  /** The table's database can't be reached now. */
  | "table_unavailable"
  /** The database knows no such transaction. */
  | "unknown_tx"
  /** The transaction was rolled back. */
  | "aborted_tx"
  /** A transaction did not come within the time that the wait allows. */
  | "timeout"
  /** The table's filter is not valid. */
  | "bad_filter"
  /** A value in a filter is not of its column's type. */
  | "bad_literal"
  /** A filter is too long. */
  | "filter_too_long"
  /** A filter has too many terms. */
  | "too_many_terms"
  /** The answer of the model's service can't be read. */
  | "model_bad_response"
  /** The model's answer was cut off. */
  | "model_cut"
  /** The model's service is overloaded. */
  | "model_rate_limited"
  /** The model's service did not answer in time. */
  | "model_timeout"
  /** The model's service refused the server's key. */
  | "model_unauthorized"
  /** The model's service can't be reached. */
  | "model_unavailable"
  /** The connection was lost without a close frame. */
  | "connection_lost"
  /** The connection was not made in time. */
  | "connect_timeout"
  /** An op was not answered in time. */
  | "op_timeout"
  /** The peer violated the protocol. */
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
  /** The server speaks another protocol. */
  | "bad_answer"
  /** The network failed. */
  | "network"
  /** The application's token provider gave no token in time. */
  | "token_timeout"
  /** The application's token provider failed. */
  | "token_unavailable"
  /** The value from the application's token provider is not a token. */
  | "bad_token"
  /** The answer of the token endpoint can't be read. */
  | "bad_response"
  /** The user was logged out on this device. */
  | "logged_out"
  /** The channel's name is not valid. */
  | "bad_channel"
  /** The kind is empty or reserved. */
  | "bad_kind"
  /** The text is empty. */
  | "empty"
  /** The outbox is full. */
  | "outbox_full"
  /** The op waited too long. */
  | "expired"
  /** The application discarded the op. */
  | "discarded"
  /** A stored record can't be read. */
  | "record_unreadable"
  /** The store on the device can't be read or written. */
  | "storage_unavailable"
  /** Another client uses the store. */
  | "store_in_use"
  /** A newer version wrote the store. */
  | "store_newer"
  /** The table's name is not valid. */
  | "bad_table"
  /** The list of selected columns is not valid. */
  | "bad_select"
  /** The order is not valid. */
  | "bad_order"
  /** The limit is not a whole number. */
  | "bad_limit"
  /** The client, dialog or table was closed. */
  | "closed"
  /** An argument is not valid. */
  | "bad_argument"
  /** A setting is not valid. */
  | "bad_config"
  /** The core can't read the package's input: their versions differ. */
  | "bad_input"
  /** The core does not have the command: the versions of package and core differ. */
  | "bad_command"
  /** The core could not be loaded. */
  | "core_unavailable"
  /** The core crashed; the client can't be used any more. */
  | "core_crashed"
  /** The server's address is not valid. */
  | "bad_url"
  /** Neither a token provider nor a guest's name was given. */
  | "no_identity"
  /** The guest's nickname is not valid. */
  | "bad_nickname"
  /** The application's own code failed. */
  | "callback_failed";
