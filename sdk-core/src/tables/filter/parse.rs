//! The parser of filters: from text to tree in one pass.

use super::{
    Compare, Filter, FilterError, FilterFault, Group, Is, Join, MAX_BYTES, MAX_COLUMN, MAX_DEPTH, MAX_TERMS,
    MAX_VALUES, Node, Place, Spot, Term, Test, is_space,
};

const COLUMN: &str =
    "expected a column's name: a letter or `_`, then letters, digits, `_` and `$`, 63 bytes at most";
const OPERATOR: &str =
    "expected eq, neq, gt, gte, lt, lte, like, ilike, in or is and a `.`, or white space before the `=`";

/// Parses a whole filter.
pub(super) fn filter(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_BYTES {
        let at = (0..=MAX_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        return Err(too_long(at));
    }
    let mut parser = Parser { text, at: 0, spots: Vec::new(), sugared: false };
    let mut members = Vec::new();
    loop {
        parser.space();
        members.push(parser.parameter()?);
        parser.space();
        match parser.peek() {
            None => break,
            Some(b'&') => parser.at += 1,
            Some(_) => return Err(parser.fault(FilterFault::BadFilter, "expected `&` or the end")),
        }
    }
    let filter = Filter { root: joined(false, Join::And, members), spots: parser.spots };
    // Only a text with sugar can be shorter than its canonical form.
    if parser.sugared && filter.encode().len() > MAX_BYTES {
        return Err(too_long(text.len()));
    }
    Ok(filter)
}

fn too_long(at: usize) -> FilterError {
    FilterError { fault: FilterFault::TooLong, at, expected: "expected at most 4,096 bytes" }
}

/// A group, or its only member. A double negation cancels out, in SQL's logic too.
fn joined(negated: bool, join: Join, mut members: Vec<Node>) -> Node {
    if members.len() != 1 {
        return Node::Group(Group { negated, join, members });
    }
    match members.remove(0) {
        Node::Term(term) => Node::Term(Term { negated: term.negated != negated, ..term }),
        Node::Group(group) => Node::Group(Group { negated: group.negated != negated, ..group }),
    }
}

/// A cursor over the text. All delimiters are ASCII, so it is always at the start of a character.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The positions of the terms so far.
    spots: Vec<Spot>,
    /// Whether there was any sugar.
    sugared: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn fault(&self, fault: FilterFault, expected: &'static str) -> FilterError {
        FilterError { fault, at: self.at, expected }
    }

    fn space(&mut self) {
        self.take(is_space);
    }

    /// Records the position of a part of the latest term.
    fn spot(&mut self, note: impl FnOnce(&mut Spot)) {
        if let Some(spot) = self.spots.last_mut() {
            note(spot);
        }
    }

    /// Takes ASCII bytes while they satisfy a condition.
    fn take(&mut self, such: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&such) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or("")
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn expect(&mut self, word: &str, expected: &'static str) -> Result<(), FilterError> {
        if self.eat(word) { Ok(()) } else { Err(self.fault(FilterFault::BadFilter, expected)) }
    }

    /// Takes `and` or `or`, if `then` follows.
    fn join(&mut self, then: &str) -> Option<Join> {
        for (word, join) in [("and", Join::And), ("or", Join::Or)] {
            if self.rest().strip_prefix(word).is_some_and(|rest| rest.starts_with(then)) {
                self.at += word.len() + then.len();
                return Some(join);
            }
        }
        None
    }

    /// Parses a parameter ("Horizontal Filtering", "Logical operators"). `and` is a column's name
    /// too, unless `(` follows its `=`.
    fn parameter(&mut self) -> Result<Node, FilterError> {
        let start = self.at;
        let negated = self.eat("not.");
        if let Some(join) = self.join("=(") {
            return self.group(start, negated, join, 1);
        }
        if negated {
            return Err(self.fault(FilterFault::BadFilter, "expected `and=(` or `or=(`"));
        }
        let column = self.column()?;
        let tight = !self.peek().is_some_and(is_space);
        if tight && self.eat("=") {
            return self.test(column, Place::Outside);
        }
        self.space();
        self.sugar(start, column)
    }

    /// A member of a group. PostgREST tries terms first: `not.eq.1` is about a column, `not.and(`
    /// can't be.
    fn member(&mut self, depth: usize) -> Result<Node, FilterError> {
        let start = self.at;
        let negated = self.eat("not.");
        if let Some(join) = self.join("(") {
            return self.group(start, negated, join, depth + 1);
        }
        self.at = start;
        let column = self.column()?;
        self.expect(".", "expected `.` and an operator")?;
        self.test(column, Place::Member)
    }

    /// Parses what follows the `(` of the group that begins at `start`. It is recursive, up to
    /// [`MAX_DEPTH`].
    fn group(&mut self, start: usize, negated: bool, join: Join, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_DEPTH {
            self.at = start;
            return Err(self.fault(FilterFault::TooDeep, "expected at most 4 levels of `and` and `or`"));
        }
        let mut members = Vec::new();
        loop {
            self.space();
            members.push(self.member(depth)?);
            self.space();
            if self.eat(")") {
                return Ok(joined(negated, join, members));
            }
            self.expect(",", "expected `,` or `)`")?;
        }
    }

    /// Parses a column's name, which begins a term.
    fn column(&mut self) -> Result<&'a str, FilterError> {
        let start = self.at;
        let name = self.take(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !begins || name.len() > MAX_COLUMN {
            self.at = start;
            return Err(self.fault(FilterFault::BadColumn, COLUMN));
        }
        let ends = |byte| is_space(byte) || b"=.!<>&,()".contains(&byte);
        if !self.peek().is_none_or(ends) {
            return Err(self.fault(FilterFault::BadColumn, COLUMN));
        }
        if self.spots.len() == MAX_TERMS {
            self.at = start;
            return Err(self.fault(FilterFault::TooManyTerms, "expected at most 16 terms"));
        }
        self.spots.push(Spot { column: start, operator: self.at, values: Vec::new() });
        Ok(name)
    }

    /// Parses what follows a column and its `=` or `.` ("Horizontal Filtering", "Operators").
    fn test(&mut self, column: &str, place: Place) -> Result<Node, FilterError> {
        let negated = self.eat("not.");
        let start = self.at;
        self.spot(|spot| spot.operator = start);
        let name = self.take(|byte| byte.is_ascii_lowercase());
        let compare = Compare::ALL.iter().find(|(other, _)| *other == name).map(|(_, compare)| *compare);
        if compare.is_none() && !matches!(name, "in" | "is") || !self.eat(".") {
            self.at = start;
            return Err(self.fault(FilterFault::BadFilter, OPERATOR));
        }
        let test = match compare {
            Some(compare) => Test::Compare(compare, pattern(compare, self.value(place)?)),
            None if name == "in" => Test::In(self.list()?),
            None => Test::Is(self.state(place)?),
        };
        Ok(Node::Term(Term { column: column.to_owned(), negated, test }))
    }

    /// Parses sugar: what follows a column and is not the name of an operator.
    fn sugar(&mut self, start: usize, column: &str) -> Result<Node, FilterError> {
        const OPERATORS: [(&str, Compare); 6] = [
            ("!=", Compare::Neq),
            (">=", Compare::Gte),
            ("<=", Compare::Lte),
            (">", Compare::Gt),
            ("<", Compare::Lt),
            ("=", Compare::Eq),
        ];
        let Some((_, compare)) = OPERATORS.iter().find(|(operator, _)| self.eat(operator)) else {
            return Err(self.fault(
                FilterFault::BadFilter,
                "expected `=` and an operator such as `eq.`, or one of = != > >= < <=",
            ));
        };
        // This is more likely a misspelt `or=(…)` than a column with a reserved name.
        if matches!(column, "and" | "or") {
            self.at = start;
            return Err(self.fault(FilterFault::BadColumn, "expected `=(` right behind `and` or `or`"));
        }
        self.space();
        match self.peek() {
            Some(b'=' | b'<' | b'>' | b'!') => Err(self.fault(
                FilterFault::BadFilter,
                "expected one of = != > >= < <=, and a value in double quotes if it begins so",
            )),
            None | Some(b'&' | b'\'') => {
                Err(self.fault(FilterFault::BadLiteral, "expected a value, bare or in double quotes"))
            }
            Some(_) => {
                let value = self.value(Place::Outside)?;
                self.sugared = true;
                let test = Test::Compare(*compare, value);
                Ok(Node::Term(Term { column: column.to_owned(), negated: false, test }))
            }
        }
    }

    /// Parses the values of an `in`. Empty parentheses hold no value; two commas in a row hold an
    /// empty one.
    fn list(&mut self) -> Result<Vec<String>, FilterError> {
        self.expect("(", "expected `(` and the values of `in`")?;
        let mut values = Vec::new();
        self.space();
        if self.eat(")") {
            return Ok(values);
        }
        loop {
            self.space();
            if values.len() == MAX_VALUES {
                return Err(self.fault(FilterFault::TooManyTerms, "expected at most 100 values of an `in`"));
            }
            values.push(self.value(Place::List)?);
            if self.eat(")") {
                return Ok(values);
            }
            self.expect(",", "expected `,` or `)`")?;
        }
    }

    fn state(&mut self, place: Place) -> Result<Is, FilterError> {
        self.space();
        let start = self.at;
        let word = self.unquoted(place);
        let found = Is::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, is)| *is).ok_or(FilterError {
            fault: FilterFault::BadLiteral,
            at: start,
            expected: "expected null, not_null, true, false or unknown",
        })
    }

    /// Parses a value up to its delimiter, which is not taken ("URL Grammar", "Reserved
    /// characters").
    fn value(&mut self, place: Place) -> Result<String, FilterError> {
        self.space();
        let start = self.at;
        self.spot(|spot| spot.values.push(start));
        match self.peek() {
            Some(b'"') => {
                let value = self.quoted()?;
                self.space();
                if self.peek().is_none_or(|byte| place.ends_at(byte)) {
                    return Ok(value);
                }
                Err(self.fault(FilterFault::BadLiteral, "expected nothing after the closing quote"))
            }
            Some(b'{') if place == Place::Member => Err(self.fault(
                FilterFault::BadLiteral,
                "expected double quotes around a value that begins with `{`",
            )),
            _ => Ok(self.unquoted(place).to_owned()),
        }
    }

    fn unquoted(&mut self, place: Place) -> &'a str {
        let found = self.take(|byte| !place.ends_at(byte));
        let spaces = found.bytes().rev().take_while(|byte| is_space(*byte)).count();
        found.get(..found.len() - spaces).unwrap_or("")
    }

    /// Parses a quoted value. A backslash takes the next character literally.
    fn quoted(&mut self) -> Result<String, FilterError> {
        let open = self.at;
        let mut value = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.at = open + at + 1;
                    return Ok(value);
                }
                '\\' => value.extend(chars.next().map(|(_, char)| char)),
                char => value.push(char),
            }
        }
        Err(self.fault(FilterFault::BadLiteral, "expected a closing quote"))
    }
}

/// Replaces `*` by `%`, everywhere in a pattern ("Horizontal Filtering", "Operators").
fn pattern(compare: Compare, value: String) -> String {
    match compare {
        Compare::Like | Compare::Ilike => {
            value.chars().map(|char| if char == '*' { '%' } else { char }).collect()
        }
        _ => value,
    }
}
