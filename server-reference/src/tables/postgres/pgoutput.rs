//! Decodes the messages of logical replication ("Logical Replication Message Formats"), protocol
//! version 1. They borrow from the received bytes.

use thiserror::Error;

/// Why bytes are not a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The message is incomplete.
    #[error("a message of the replication stream ends within {0}")]
    Short(&'static str),
    /// There are bytes after the end of the message.
    #[error("a message of the replication stream goes on for {0} bytes behind its end")]
    Long(usize),
    /// An unknown kind of message or value.
    #[error("a message of the replication stream has the unknown {0} {1:#04x}")]
    Unknown(&'static str, u8),
    /// A text is not valid UTF-8.
    #[error("a text of the replication stream is not UTF-8: the connection must have client_encoding UTF8")]
    Encoding,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message<'a> {
    /// A transaction begins. Everything until its `Commit` belongs to it.
    Begin {
        /// Where its commit record begins.
        lsn: u64,
        /// When it was committed, µs since 2000.
        at: i64,
        /// The low half of the transaction's id.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// Where its commit record begins.
        lsn: u64,
        /// Where the commit record ends.
        end: u64,
        /// When, µs since 2000.
        at: i64,
    },
    /// Where the transaction came from.
    Origin,
    /// The description of a table, valid from here on.
    Relation(Relation<'a>),
    /// A type that is not built in.
    Type,
    /// A row was inserted.
    Insert { relation: u32, new: Vec<Datum<'a>> },
    /// A row was updated.
    Update { relation: u32, old: Option<Old<'a>>, new: Vec<Datum<'a>> },
    /// A row was deleted.
    Delete { relation: u32, old: Old<'a> },
    /// Tables were emptied.
    Truncate { relations: Vec<u32> },
    /// A message that an application wrote into the log.
    Logical,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation<'a> {
    pub(crate) id: u32,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) columns: Vec<RelationColumn<'a>>,
}

/// One of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelationColumn<'a> {
    /// Whether it is part of the replica identity.
    pub(crate) identity: bool,
    pub(crate) name: &'a str,
    /// The type's oid in `pg_type`.
    pub(crate) kind: u32,
}

/// A row before a change, as far as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Old<'a> {
    /// Only the columns of the replica identity; the others are null.
    Identity(Vec<Datum<'a>>),
    /// All columns.
    Full(Vec<Datum<'a>>),
}

/// A column's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Datum<'a> {
    Null,
    /// A large value that is stored separately and did not change.
    Unchanged,
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Reads one message.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Message<'a>, DecodeError> {
        let mut reader = Reader(bytes);
        let message = match reader.byte("its first byte")? {
            b'B' => Message::Begin {
                lsn: reader.long("a position")?,
                at: reader.long("a time")?.cast_signed(),
                xid: reader.word("a transaction's number")?,
            },
            b'C' => {
                reader.byte("its flags")?;
                Message::Commit {
                    lsn: reader.long("a position")?,
                    end: reader.long("a position")?,
                    at: reader.long("a time")?.cast_signed(),
                }
            }
            b'O' => {
                reader.long("a position")?;
                reader.text("an origin's name")?;
                Message::Origin
            }
            b'R' => Message::Relation(reader.relation()?),
            b'Y' => {
                reader.word("a type's number")?;
                reader.text("a type's schema")?;
                reader.text("a type's name")?;
                Message::Type
            }
            b'I' => {
                let relation = reader.word("a table's number")?;
                match reader.byte("a row's kind")? {
                    b'N' => Message::Insert { relation, new: reader.tuple()? },
                    other => return Err(DecodeError::Unknown("kind of row", other)),
                }
            }
            b'U' => {
                let relation = reader.word("a table's number")?;
                let mut kind = reader.byte("a row's kind")?;
                let old = match kind {
                    b'K' => Some(Old::Identity(reader.tuple()?)),
                    b'O' => Some(Old::Full(reader.tuple()?)),
                    _ => None,
                };
                if old.is_some() {
                    kind = reader.byte("a row's kind")?;
                }
                match kind {
                    b'N' => Message::Update { relation, old, new: reader.tuple()? },
                    other => return Err(DecodeError::Unknown("kind of row", other)),
                }
            }
            b'D' => {
                let relation = reader.word("a table's number")?;
                let old = match reader.byte("a row's kind")? {
                    b'K' => Old::Identity(reader.tuple()?),
                    b'O' => Old::Full(reader.tuple()?),
                    other => return Err(DecodeError::Unknown("kind of row", other)),
                };
                Message::Delete { relation, old }
            }
            b'T' => {
                let count = reader.word("a number of tables")?;
                reader.byte("its options")?;
                // The count alone must not reserve memory; the bytes that follow limit it.
                let relations: Result<Vec<u32>, DecodeError> =
                    (0..count).map(|_| reader.word("a table's number")).collect();
                Message::Truncate { relations: relations? }
            }
            b'M' => {
                reader.byte("its flags")?;
                reader.long("a position")?;
                reader.text("a prefix")?;
                let length = reader.word("a content's length")?;
                reader.take(length as usize, "a content")?;
                Message::Logical
            }
            other => return Err(DecodeError::Unknown("kind of message", other)),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(DecodeError::Long(reader.0.len())) }
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Short(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Short(what))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(|[byte]| byte)
    }

    fn short(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    fn word(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn long(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A text up to its zero byte.
    fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(DecodeError::Short(what))?;
        let text = self.take(length, what)?;
        self.byte(what)?;
        std::str::from_utf8(text).map_err(|_| DecodeError::Encoding)
    }

    fn relation(&mut self) -> Result<Relation<'a>, DecodeError> {
        let id = self.word("a table's number")?;
        let namespace = self.text("a table's schema")?;
        let name = self.text("a table's name")?;
        self.byte("a replica identity")?;
        let count = self.short("a number of columns")?;
        let mut columns = Vec::new();
        for _ in 0..count {
            let identity = self.byte("a column's flags")? & 1 == 1;
            let name = self.text("a column's name")?;
            let kind = self.word("a column's type")?;
            self.word("a column's type modifier")?;
            columns.push(RelationColumn { identity, name, kind });
        }
        Ok(Relation { id, namespace, name, columns })
    }

    fn tuple(&mut self) -> Result<Vec<Datum<'a>>, DecodeError> {
        let count = usize::from(self.short("a number of columns")?);
        // Each takes at least one byte.
        let mut datums = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            datums.push(match self.byte("a value's kind")? {
                b'n' => Datum::Null,
                b'u' => Datum::Unchanged,
                kind @ (b't' | b'b') => {
                    let length = self.word("a value's length")?;
                    let value = self.take(length as usize, "a value")?;
                    if kind == b'b' {
                        Datum::Binary(value)
                    } else {
                        Datum::Text(std::str::from_utf8(value).map_err(|_| DecodeError::Encoding)?)
                    }
                }
                other => return Err(DecodeError::Unknown("kind of value", other)),
            });
        }
        Ok(datums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(values: &[Datum<'_>]) -> Vec<u8> {
        let mut bytes = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
        for value in values {
            let (kind, value) = match value {
                Datum::Null => (b'n', None),
                Datum::Unchanged => (b'u', None),
                Datum::Text(text) => (b't', Some(text.as_bytes())),
                Datum::Binary(bytes) => (b'b', Some(*bytes)),
            };
            bytes.push(kind);
            if let Some(value) = value {
                bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                bytes.extend(value);
            }
        }
        bytes
    }

    fn bytes(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    const ROW: [Datum<'static>; 4] =
        [Datum::Text("é7"), Datum::Null, Datum::Unchanged, Datum::Binary(&[0, 255])];
    const TABLE: [u8; 4] = 9_u32.to_be_bytes();

    /// The bytes of one message of each kind, and the decoded message.
    fn all() -> Vec<(Vec<u8>, Message<'static>)> {
        let (seven, eight) = (7_u64.to_be_bytes(), 8_u64.to_be_bytes());
        let row = tuple(&ROW);
        let new = ROW.to_vec();
        vec![
            (
                bytes(&[b"B", &eight, &(-5_i64).to_be_bytes(), &TABLE]),
                Message::Begin { lsn: 8, at: -5, xid: 9 },
            ),
            (bytes(&[b"C\0", &seven, &eight, &seven]), Message::Commit { lsn: 7, end: 8, at: 7 }),
            (bytes(&[b"O", &seven, b"far\0"]), Message::Origin),
            (bytes(&[b"Y", &TABLE, b"public\0mood\0"]), Message::Type),
            (
                bytes(&[
                    b"R",
                    &TABLE,
                    b"public\0room\0i",
                    &[0, 2],
                    b"\x01id\0\0\0\0\x14\xff\xff\xff\xff",
                    b"\0a\0\0\0\0\x19\0\0\0\0",
                ]),
                Message::Relation(Relation {
                    id: 9,
                    namespace: "public",
                    name: "room",
                    columns: vec![
                        RelationColumn { identity: true, name: "id", kind: 20 },
                        RelationColumn { identity: false, name: "a", kind: 25 },
                    ],
                }),
            ),
            (bytes(&[b"I", &TABLE, b"N", &row]), Message::Insert { relation: 9, new: new.clone() }),
            (
                bytes(&[b"U", &TABLE, b"N", &row]),
                Message::Update { relation: 9, old: None, new: new.clone() },
            ),
            (
                bytes(&[b"U", &TABLE, b"K", &row, b"N", &row]),
                Message::Update { relation: 9, old: Some(Old::Identity(new.clone())), new: new.clone() },
            ),
            (
                bytes(&[b"U", &TABLE, b"O", &row, b"N", &row]),
                Message::Update { relation: 9, old: Some(Old::Full(new.clone())), new: new.clone() },
            ),
            (
                bytes(&[b"D", &TABLE, b"K", &row]),
                Message::Delete { relation: 9, old: Old::Identity(new.clone()) },
            ),
            (bytes(&[b"D", &TABLE, b"O", &row]), Message::Delete { relation: 9, old: Old::Full(new) }),
            (
                bytes(&[b"T", &[0, 0, 0, 2], b"\x01", &TABLE, &TABLE]),
                Message::Truncate { relations: vec![9, 9] },
            ),
            (bytes(&[b"M\x01", &seven, b"app\0", &[0, 0, 0, 2], b"hi"]), Message::Logical),
        ]
    }

    #[test]
    fn every_message_is_read() {
        for (bytes, message) in all() {
            assert_eq!(Message::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_that_ends_too_early_or_too_late_is_refused() {
        for (bytes, message) in all() {
            for end in 0..bytes.len() {
                let read = Message::decode(&bytes[..end]);
                assert!(matches!(read, Err(DecodeError::Short(_))), "{message:?} up to {end}: {read:?}");
            }
            let longer = [bytes.as_slice(), b"!!"].concat();
            assert_eq!(Message::decode(&longer), Err(DecodeError::Long(2)), "{message:?}");
        }
    }

    #[test]
    fn damaged_messages_never_panic_or_take_memory() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        let all = all();
        let (mut read, mut refused) = (0, 0);
        for _ in 0..200_000 {
            let mut bytes = all[random() % all.len()].0.clone();
            for _ in 0..=random() % 4 {
                let at = random() % bytes.len();
                bytes[at] = u8::try_from(random() % 256).unwrap();
            }
            bytes.truncate(1 + random() % (2 * bytes.len()));
            match Message::decode(&bytes) {
                Ok(_) => read += 1,
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
            let noise: Vec<u8> = (0..random() % 40).map(|_| u8::try_from(random() % 256).unwrap()).collect();
            let _ = Message::decode(&noise);
        }
        assert!(read > 1_000 && refused > 100_000, "{read} read, {refused} refused");
    }

    #[test]
    fn what_is_unknown_is_named() {
        assert_eq!(Message::decode(b"Z"), Err(DecodeError::Unknown("kind of message", b'Z')));
        assert_eq!(Message::decode(b"I\0\0\0\x09K"), Err(DecodeError::Unknown("kind of row", b'K')));
        assert_eq!(Message::decode(b"I\0\0\0\x09N\0\x01x"), Err(DecodeError::Unknown("kind of value", b'x')));
        assert_eq!(Message::decode(b"I\0\0\0\x09N\0\x01t\0\0\0\x01\xff"), Err(DecodeError::Encoding));
        // A count of four billion tables reserves no memory.
        assert_eq!(Message::decode(b"T\xff\xff\xff\xff\0"), Err(DecodeError::Short("a table's number")));
    }
}
