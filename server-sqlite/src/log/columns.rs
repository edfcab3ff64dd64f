//! Columns of SQL as types of the protocol, and the other way round.

use rusqlite::{Row, types::Type};
use tidewire_core::wire::{ChannelName, Offset};
use tidewire_server_core::store::Account;

/// An offset for SQL, whose integers are signed. Offsets stay far below 2^63: a client can't make
/// one.
pub(super) fn number(Offset(offset): Offset) -> i64 {
    offset.cast_signed()
}

/// The offset in a column.
pub(super) fn offset(row: &Row<'_>, column: usize) -> rusqlite::Result<Offset> {
    row.get::<_, i64>(column).map(|offset| Offset(offset.cast_unsigned()))
}

/// The channel's name in a column.
///
/// # Errors
///
/// It is not a name: somebody else wrote into the database.
pub(super) fn channel_name(row: &Row<'_>, column: usize) -> rusqlite::Result<ChannelName> {
    let name = row.get_ref(column)?.as_str()?;
    ChannelName::parse(name).ok_or_else(|| {
        let error = format!("`{}` is not a channel name", name.escape_debug());
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

/// An account for SQL: none for the server's own.
pub(super) fn account_text(account: &Account) -> Option<&str> {
    match account {
        Account::Own => None,
        Account::Named(name) => Some(name),
    }
}

/// The account in a column: the server's own for none, or an empty text.
pub(super) fn account(row: &Row<'_>, column: usize) -> rusqlite::Result<Account> {
    let name = row.get::<_, Option<String>>(column)?.filter(|name| !name.is_empty());
    Ok(name.map_or(Account::Own, Account::Named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_an_error_and_not_a_channel() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let name = |name: &str| connection.query_row("SELECT ?", [name], |row| channel_name(row, 0));
        assert_eq!(name("dialog:a").unwrap(), "dialog:a");
        for bad in ["", "dialog a", "dialog:ä"] {
            assert!(name(bad).unwrap_err().to_string().contains("channel name"), "{bad}");
        }
    }
}
