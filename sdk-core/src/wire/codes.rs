//! The stable codes: why something was refused or failed, the same text in every language, and the
//! close codes of the protocol, section 8.

/// Passes every code to another macro: its documentation, its name as a variant, its name as a
/// constant, and its text. All lists of codes are made from this one.
#[macro_export]
macro_rules! every_code {
    ($with:ident) => {
        $with! {
            // Codes of the server, in frames and in responses to requests (protocol section 9).
            /// Not a frame, or a member is missing or of the wrong type.
            BadFrame, BAD_FRAME, "bad_frame";
            /// Longer than the limit.
            TooLarge, TOO_LARGE, "too_large";
            /// Nested deeper than 32 levels.
            TooDeep, TOO_DEEP, "too_deep";
            /// The first frame was not `hello`.
            HelloRequired, HELLO_REQUIRED, "hello_required";
            /// No `hello` came in time.
            HelloTimeout, HELLO_TIMEOUT, "hello_timeout";
            /// `hello.v` is not a version this server speaks.
            UnsupportedVersion, UNSUPPORTED_VERSION, "unsupported_version";
            /// The token is not valid.
            Unauthorized, UNAUTHORIZED, "unauthorized";
            /// The token has expired.
            TokenExpired, TOKEN_EXPIRED, "token_expired";
            /// `auth` brought another user's token.
            UserChanged, USER_CHANGED, "user_changed";
            /// The page's origin is not on the allow-list.
            OriginNotAllowed, ORIGIN_NOT_ALLOWED, "origin_not_allowed";
            /// The server, the user or the dialog has the most connections it may have.
            TooManyConnections, TOO_MANY_CONNECTIONS, "too_many_connections";
            /// The peer reads too slowly.
            SlowConsumer, SLOW_CONSUMER, "slow_consumer";
            /// The peer does not follow the protocol.
            BadRequest, BAD_REQUEST, "bad_request";
            /// There is nothing at the address of a request.
            NotFound, NOT_FOUND, "not_found";
            /// There is no such channel.
            UnknownChannel, UNKNOWN_CHANNEL, "unknown_channel";
            /// The channel belongs to somebody else.
            Forbidden, FORBIDDEN, "forbidden";
            /// `limits.subscriptions` is reached.
            TooManySubscriptions, TOO_MANY_SUBSCRIPTIONS, "too_many_subscriptions";
            /// The user is a member of all the channels that a user may be a member of.
            TooManyMemberships, TOO_MANY_MEMBERSHIPS, "too_many_memberships";
            /// `next` or `prev` for a channel without a subscription.
            NotSubscribed, NOT_SUBSCRIBED, "not_subscribed";
            /// The channel's rule does not have people.
            PeopleOff, PEOPLE_OFF, "people_off";
            /// The user holds all the leases in the channel that a user may hold.
            TooManyLeases, TOO_MANY_LEASES, "too_many_leases";
            /// There is no event at this offset.
            BadOffset, BAD_OFFSET, "bad_offset";
            /// No such op kind.
            UnknownKind, UNKNOWN_KIND, "unknown_kind";
            /// The op's body is not valid for its kind.
            BadBody, BAD_BODY, "bad_body";
            /// The op id is not a UUID.
            BadOpId, BAD_OP_ID, "bad_op_id";
            /// The op id was used for another op.
            OpIdReused, OP_ID_REUSED, "op_id_reused";
            /// The op that comes before this one is not committed.
            Blocked, BLOCKED, "blocked";
            /// More ops than the budget allows.
            RateLimited, RATE_LIMITED, "rate_limited";
            /// No such answer is under way.
            RunNotFound, RUN_NOT_FOUND, "run_not_found";
            /// The dialog is not in a state that allows this step of a hand-off.
            HandoffConflict, HANDOFF_CONFLICT, "handoff_conflict";
            /// The disk is full.
            StorageFull, STORAGE_FULL, "storage_full";
            /// The store can't be read or written now.
            StoreUnavailable, STORE_UNAVAILABLE, "store_unavailable";
            /// An internal error of the server.
            Internal, INTERNAL, "internal";
            /// The server is going away.
            Goaway, GOAWAY, "goaway";
            /// A newer connection of the same session took this one's place.
            Replaced, REPLACED, "replaced";
            /// Nothing was received in time.
            PingTimeout, PING_TIMEOUT, "ping_timeout";
            /// The user did nothing on the connection for as long as the server allows.
            IdleTimeout, IDLE_TIMEOUT, "idle_timeout";
            /// The application's backend closed the connection.
            Kicked, KICKED, "kicked";
            /// There is no such table.
            UnknownTable, UNKNOWN_TABLE, "unknown_table";
            /// A column does not exist, or rows can't be filtered by it.
            BadColumn, BAD_COLUMN, "bad_column";
            /// More rows than a subscription may have.
            TooManyRows, TOO_MANY_ROWS, "too_many_rows";
            /// A row or a transaction is larger than a frame may be.
            TooBig, TOO_BIG, "too_big";
            /// The table's database can't be reached now.
            TableUnavailable, TABLE_UNAVAILABLE, "table_unavailable";
            /// The database knows no such transaction.
            UnknownTx, UNKNOWN_TX, "unknown_tx";
            /// The transaction was rolled back.
            AbortedTx, ABORTED_TX, "aborted_tx";
            /// A transaction did not come within the time that the wait allows.
            Timeout, TIMEOUT, "timeout";
            /// The table's filter is not valid.
            BadFilter, BAD_FILTER, "bad_filter";
            /// A value in a filter is not of its column's type.
            BadLiteral, BAD_LITERAL, "bad_literal";
            /// A filter is too long.
            FilterTooLong, FILTER_TOO_LONG, "filter_too_long";
            /// A filter has too many terms.
            TooManyTerms, TOO_MANY_TERMS, "too_many_terms";
            /// The answer of the model's service can't be read.
            ModelBadResponse, MODEL_BAD_RESPONSE, "model_bad_response";
            /// The model's answer was cut off.
            ModelCut, MODEL_CUT, "model_cut";
            /// The model's service is overloaded.
            ModelRateLimited, MODEL_RATE_LIMITED, "model_rate_limited";
            /// The model's service did not answer in time.
            ModelTimeout, MODEL_TIMEOUT, "model_timeout";
            /// The model's service refused the server's key.
            ModelUnauthorized, MODEL_UNAUTHORIZED, "model_unauthorized";
            /// The model's service can't be reached.
            ModelUnavailable, MODEL_UNAVAILABLE, "model_unavailable";
            // Why a client has no connection (the status's cause).
            /// The connection was lost without a close frame.
            ConnectionLost, CONNECTION_LOST, "connection_lost";
            /// The connection was not made in time.
            ConnectTimeout, CONNECT_TIMEOUT, "connect_timeout";
            /// An op was not answered in time.
            OpTimeout, OP_TIMEOUT, "op_timeout";
            /// The peer violated the protocol.
            Protocol, PROTOCOL, "protocol";
            /// The system says that there is no network.
            Offline, OFFLINE, "offline";
            /// The server's name can't be resolved.
            Dns, DNS, "dns";
            /// Nothing listens at the server's address.
            Refused, REFUSED, "refused";
            /// The server can't be reached.
            Unreachable, UNREACHABLE, "unreachable";
            /// The TLS handshake failed.
            Tls, TLS, "tls";
            /// The server speaks another protocol.
            BadAnswer, BAD_ANSWER, "bad_answer";
            /// The network failed.
            Network, NETWORK, "network";
            /// The application's token provider gave no token in time.
            TokenTimeout, TOKEN_TIMEOUT, "token_timeout";
            /// The application's token provider failed.
            TokenUnavailable, TOKEN_UNAVAILABLE, "token_unavailable";
            /// The value from the application's token provider is not a token.
            BadToken, BAD_TOKEN, "bad_token";
            /// The answer of the token endpoint can't be read.
            BadResponse, BAD_RESPONSE, "bad_response";
            /// The user was logged out on this device.
            LoggedOut, LOGGED_OUT, "logged_out";
            // Codes that a client itself uses.
            /// The channel's name is not valid.
            BadChannel, BAD_CHANNEL, "bad_channel";
            /// The kind is empty or reserved.
            BadKind, BAD_KIND, "bad_kind";
            /// The text is empty.
            Empty, EMPTY, "empty";
            /// The outbox is full.
            OutboxFull, OUTBOX_FULL, "outbox_full";
            /// The op waited too long.
            Expired, EXPIRED, "expired";
            /// The application discarded the op.
            Discarded, DISCARDED, "discarded";
            /// A stored record can't be read.
            RecordUnreadable, RECORD_UNREADABLE, "record_unreadable";
            /// The store on the device can't be read or written.
            StorageUnavailable, STORAGE_UNAVAILABLE, "storage_unavailable";
            /// Another client uses the store.
            StoreInUse, STORE_IN_USE, "store_in_use";
            /// A newer version wrote the store.
            StoreNewer, STORE_NEWER, "store_newer";
            /// The table's name is not valid.
            BadTable, BAD_TABLE, "bad_table";
            /// The list of selected columns is not valid.
            BadSelect, BAD_SELECT, "bad_select";
            /// The order is not valid.
            BadOrder, BAD_ORDER, "bad_order";
            /// The limit is not a whole number.
            BadLimit, BAD_LIMIT, "bad_limit";
            /// The client, dialog or table was closed.
            Closed, CLOSED, "closed";
            /// An argument is not valid.
            BadArgument, BAD_ARGUMENT, "bad_argument";
            /// A setting is not valid.
            BadConfig, BAD_CONFIG, "bad_config";
            /// The core can't read the package's input: their versions differ.
            BadInput, BAD_INPUT, "bad_input";
            /// The core does not have the command: the versions of package and core differ.
            BadCommand, BAD_COMMAND, "bad_command";
            /// The core could not be loaded.
            CoreUnavailable, CORE_UNAVAILABLE, "core_unavailable";
            /// The core crashed; the client can't be used any more.
            CoreCrashed, CORE_CRASHED, "core_crashed";
            /// The server's address is not valid.
            BadUrl, BAD_URL, "bad_url";
            /// Neither a token provider nor a guest's name was given.
            NoIdentity, NO_IDENTITY, "no_identity";
            /// The guest's nickname is not valid.
            BadNickname, BAD_NICKNAME, "bad_nickname";
            /// The application's own code failed.
            CallbackFailed, CALLBACK_FAILED, "callback_failed";
        }
    };
}

macro_rules! list {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:ident, $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Every code. The application's token provider may add codes of its own, and a status may
        /// have `http_` with an HTTP status.
        pub const ALL: &[&str] = &[$($text),+];
    };
}
every_code!(list);

/// Close codes, section 8.
pub mod close {
    /// A normal end.
    pub const NORMAL: u16 = 1000;
    /// RFC 6455 section 7.4.1: a frame that breaks the rules.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// RFC 6455 section 7.4.1: text that is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// RFC 6455 section 7.4.1: a message too big to process.
    pub const TOO_BIG: u16 = 1009;
    /// The server restarts.
    pub const GOAWAY: u16 = 4000;
    /// Nothing was received in time.
    pub const PING_TIMEOUT: u16 = 4001;
    /// The peer reads too slowly.
    pub const SLOW_CONSUMER: u16 = 4002;
    /// The peer sent too much in too short a time.
    pub const RATE_LIMITED: u16 = 4003;
    /// An internal error of the server.
    pub const INTERNAL: u16 = 4004;
    /// No `hello` came in time.
    pub const HELLO_TIMEOUT: u16 = 4006;
    /// There are too many connections.
    pub const TOO_MANY_CONNECTIONS: u16 = 4007;
    /// A newer connection of the same session took this one's place.
    pub const REPLACED: u16 = 4008;
    /// The application's backend closed the connection.
    pub const KICKED: u16 = 4009;
    /// The token has expired.
    pub const TOKEN_EXPIRED: u16 = 4020;
    /// The peer does not follow the protocol.
    pub const BAD_REQUEST: u16 = 4500;
    /// The token is not valid.
    pub const UNAUTHORIZED: u16 = 4501;
    /// The origin or the user is not allowed.
    pub const FORBIDDEN: u16 = 4503;
    /// The user did nothing on the connection for as long as the server allows.
    pub const IDLE_TIMEOUT: u16 = 4510;
    /// A version this server does not speak.
    pub const UNSUPPORTED_VERSION: u16 = 4526;

    /// All that a server sends.
    pub const ALL: [u16; 19] = [
        NORMAL,
        PROTOCOL_ERROR,
        NOT_UTF8,
        TOO_BIG,
        GOAWAY,
        PING_TIMEOUT,
        SLOW_CONSUMER,
        RATE_LIMITED,
        INTERNAL,
        HELLO_TIMEOUT,
        TOO_MANY_CONNECTIONS,
        REPLACED,
        KICKED,
        TOKEN_EXPIRED,
        BAD_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        IDLE_TIMEOUT,
        UNSUPPORTED_VERSION,
    ];

    /// Whether a client must not reconnect by itself: 3500-3999 and from 4500 on.
    pub fn is_terminal(code: u16) -> bool {
        matches!(code, 3500..=3999 | 4500..=4999)
    }
}
