//! The stable code strings and close codes of the protocol, sections 8 and 9.

/// Not a frame, or a member is missing or of the wrong type.
pub const BAD_FRAME: &str = "bad_frame";
/// Longer than the limit.
pub const TOO_LARGE: &str = "too_large";
/// Nested deeper than 32 levels.
pub const TOO_DEEP: &str = "too_deep";
/// The first frame was not `hello`.
pub const HELLO_REQUIRED: &str = "hello_required";
/// No `hello` in time.
pub const HELLO_TIMEOUT: &str = "hello_timeout";
/// `hello.v` is not a version this server speaks.
pub const UNSUPPORTED_VERSION: &str = "unsupported_version";
/// The token is not valid.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The token was valid once.
pub const TOKEN_EXPIRED: &str = "token_expired";
/// `auth` brought another user's token.
pub const USER_CHANGED: &str = "user_changed";
/// The page's origin is not on the allow-list.
pub const ORIGIN_NOT_ALLOWED: &str = "origin_not_allowed";
/// The server, the user or the dialog has all the connections it may have.
pub const TOO_MANY_CONNECTIONS: &str = "too_many_connections";
/// The peer does not read what is sent to it.
pub const SLOW_CONSUMER: &str = "slow_consumer";
/// The peer does not follow the protocol.
pub const BAD_REQUEST: &str = "bad_request";
/// There is no such channel.
pub const UNKNOWN_CHANNEL: &str = "unknown_channel";
/// The channel is somebody else's.
pub const FORBIDDEN: &str = "forbidden";
/// `limits.subscriptions` is reached.
pub const TOO_MANY_SUBSCRIPTIONS: &str = "too_many_subscriptions";
/// `next` for a channel without a subscription.
pub const NOT_SUBSCRIBED: &str = "not_subscribed";
/// No such op kind.
pub const UNKNOWN_KIND: &str = "unknown_kind";
/// The op's body does not fit its kind.
pub const BAD_BODY: &str = "bad_body";
/// The op id is not a UUID.
pub const BAD_OP_ID: &str = "bad_op_id";
/// The op id was used for something else.
pub const OP_ID_REUSED: &str = "op_id_reused";
/// The op that comes before this one is not committed.
pub const BLOCKED: &str = "blocked";
/// More ops than the budget allows.
pub const RATE_LIMITED: &str = "rate_limited";
/// No such answer is under way.
pub const RUN_NOT_FOUND: &str = "run_not_found";
/// The disk is full.
pub const STORAGE_FULL: &str = "storage_full";
/// The store can't be written or read now.
pub const STORE_UNAVAILABLE: &str = "store_unavailable";
/// A fault of the server.
pub const INTERNAL: &str = "internal";
/// The server is going away.
pub const GOAWAY: &str = "goaway";
/// A newer connection of the same session took this one's place.
pub const REPLACED: &str = "replaced";
/// Nothing was heard in time.
pub const PING_TIMEOUT: &str = "ping_timeout";
/// There is no such table.
pub const UNKNOWN_TABLE: &str = "unknown_table";
/// A column that is not there, or that rows can't be filtered by.
pub const BAD_COLUMN: &str = "bad_column";
/// More rows than a subscription may have.
pub const TOO_MANY_ROWS: &str = "too_many_rows";
/// A row, or a transaction, that is greater than a frame may be.
pub const TOO_BIG: &str = "too_big";
/// The table's database can't be asked now.
pub const TABLE_UNAVAILABLE: &str = "table_unavailable";
/// The database knows no such transaction.
pub const UNKNOWN_TX: &str = "unknown_tx";
/// The transaction was rolled back.
pub const ABORTED_TX: &str = "aborted_tx";
/// A transaction that was waited for did not come in time.
pub const TIMEOUT: &str = "timeout";

/// Close codes, section 8.
pub mod close {
    /// A normal end.
    pub const NORMAL: u16 = 1000;
    /// RFC 6455 section 7.4.1: text that is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// RFC 6455 section 7.4.1: a message too big to process.
    pub const TOO_BIG: u16 = 1009;
    /// The server restarts.
    pub const GOAWAY: u16 = 4000;
    /// Nothing was heard in time.
    pub const PING_TIMEOUT: u16 = 4001;
    /// The peer does not read.
    pub const SLOW_CONSUMER: u16 = 4002;
    /// Too much, too fast.
    pub const RATE_LIMITED: u16 = 4003;
    /// A fault of the server.
    pub const INTERNAL: u16 = 4004;
    /// No `hello` in time.
    pub const HELLO_TIMEOUT: u16 = 4006;
    /// All connections are taken.
    pub const TOO_MANY_CONNECTIONS: u16 = 4007;
    /// A newer connection of the same session took this one's place.
    pub const REPLACED: u16 = 4008;
    /// The token was valid once.
    pub const TOKEN_EXPIRED: u16 = 4020;
    /// The peer does not follow the protocol.
    pub const BAD_REQUEST: u16 = 4500;
    /// The token is not valid.
    pub const UNAUTHORIZED: u16 = 4501;
    /// Not from here, or not as this user.
    pub const FORBIDDEN: u16 = 4503;
    /// A version this server does not speak.
    pub const UNSUPPORTED_VERSION: u16 = 4526;

    /// Whether a client must not dial again by itself: 3500-3999 and from 4500 on.
    pub fn is_terminal(code: u16) -> bool {
        matches!(code, 3500..=3999 | 4500..=4999)
    }
}
