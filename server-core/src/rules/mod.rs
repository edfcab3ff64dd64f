//! Rules of channels: who may do what in which, as the configuration says. [`crate::access`] decides
//! by them.

mod pattern;
mod who;

pub use pattern::{Pattern, PatternError};
pub use who::{Who, WhoError};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;
use tidewire_core::wire::{
    AnswerEnd, AnswerStart, ChannelName, DIALOG_PREFIX, MAX_KIND, UNREADABLE, UserKind,
};

/// What holds for the channels that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The channels.
    pub pattern: Pattern,
    /// Who may subscribe.
    pub read: Vec<Who>,
    /// Who of them may write ops of the kinds that `kinds` does not name, and signals.
    pub write: Vec<Who>,
    /// Who of them may write ops of these kinds: kinds of the application's own, whose bodies may
    /// be any object, and kinds of the protocol.
    pub kinds: BTreeMap<String, Vec<Who>>,
    /// Whether a channel exists as soon as somebody who may read it asks for it. Otherwise it has
    /// to be created.
    pub open: bool,
    /// Whether the server's model answers messages.
    pub answers: bool,
    /// Whether those who read a channel are told who else is there and what they are doing.
    pub people: bool,
    /// Whether those who read a channel are told how far others have read it.
    pub receipts: bool,
    /// Maximum number of connections that are subscribed to a channel; `None` for the server's
    /// limit.
    pub connections: Option<usize>,
}

impl Rule {
    /// A rule by which these users may read and write, in channels that have to be created.
    pub fn new(pattern: Pattern, who: Vec<Who>) -> Rule {
        Rule {
            pattern,
            read: who.clone(),
            write: who,
            kinds: BTreeMap::new(),
            open: false,
            answers: false,
            people: false,
            receipts: false,
            connections: None,
        }
    }

    /// Who may write ops of this kind, if they may read.
    pub fn writers(&self, kind: &str) -> &[Who] {
        self.kinds.get(kind).unwrap_or(&self.write)
    }
}

/// The rules of a server; the first one that matches a channel's name holds for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
}

/// The rule that holds for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What the pattern's placeholder stands for in the channel's name; empty if the pattern has
    /// none.
    pub part: String,
}

/// Why rules make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RulesError {
    /// A rule is of no use, because an earlier one matches all of its channels.
    #[error(
        "the rule for `{shadowed}` is never used: the one for `{by}` comes before it and matches all of its channels"
    )]
    Shadowed {
        /// The pattern that is never reached.
        shadowed: Pattern,
        /// The pattern before it.
        by: Pattern,
    },
    /// A rule names a kind that nobody can write.
    #[error("the rule for `{of}` names the kind `{kind}`, but {reason}")]
    Kind {
        /// The rule's pattern.
        of: Pattern,
        /// The kind.
        kind: String,
        /// Why not.
        reason: &'static str,
    },
}

impl Rules {
    /// The application's rules, then those of the protocol for dialogs (section 7): their owner and
    /// operators may read and write, and users whose token lists them in `dialogs`. The dialogs of
    /// `public` are everybody's, before all other rules.
    pub fn new(public: impl IntoIterator<Item = ChannelName>, own: Vec<Rule>) -> Result<Rules, RulesError> {
        for (at, rule) in own.iter().enumerate() {
            if let Some(by) = own[..at].iter().find(|earlier| earlier.pattern.covers(&rule.pattern)) {
                let (shadowed, by) = (rule.pattern.clone(), by.pattern.clone());
                return Err(RulesError::Shadowed { shadowed, by });
            }
            for kind in rule.kinds.keys() {
                if let Some(reason) = unwritable(kind) {
                    return Err(RulesError::Kind { of: rule.pattern.clone(), kind: kind.clone(), reason });
                }
            }
        }
        let of_everyone = |name: ChannelName| Rule {
            answers: true,
            people: true,
            receipts: true,
            ..Rule::new(Pattern::exactly(&name), vec![Who::Everyone])
        };
        let Rules { rules: of_dialogs } = Rules::of_dialogs();
        let before = public.into_iter().map(of_everyone).chain(own).map(Arc::new);
        Ok(Rules { rules: before.chain(of_dialogs).collect() })
    }

    /// The rules of the protocol for dialogs alone.
    pub fn of_dialogs() -> Rules {
        let insiders = vec![Who::Owner, Who::Claim("dialogs".to_owned()), Who::Kind(UserKind::Operator)];
        let dialogs = Pattern::starting_with(DIALOG_PREFIX);
        let of_dialogs = Rule::new(dialogs, insiders);
        let rule = Rule { answers: true, people: true, receipts: true, ..of_dialogs };
        Rules { rules: vec![Arc::new(rule)] }
    }

    /// The rule of a channel; none if no rule matches.
    pub fn of(&self, name: &ChannelName) -> Option<Matched> {
        self.rules.iter().find_map(|rule| {
            let part = rule.pattern.matches(name)?.to_owned();
            Some(Matched { rule: rule.clone(), part })
        })
    }

    /// The claims that rules name: identities have to keep them.
    pub fn claims(&self) -> BTreeSet<String> {
        let claim = |who: &Who| match who {
            Who::Claim(name) => Some(name.clone()),
            _ => None,
        };
        self.words().filter_map(claim).collect()
    }

    /// Whether a rule names members: those of connected users have to be known.
    pub fn names_members(&self) -> bool {
        self.words().any(|who| *who == Who::Members)
    }

    fn words(&self) -> impl Iterator<Item = &Who> {
        self.rules
            .iter()
            .flat_map(|rule| rule.read.iter().chain(&rule.write).chain(rule.kinds.values().flatten()))
    }
}

/// Why no client can write ops of this kind, if that is so.
fn unwritable(kind: &str) -> Option<&'static str> {
    match kind {
        AnswerStart::KIND | AnswerEnd::KIND => Some("only the server writes it"),
        UNREADABLE => Some("it stands for events that can't be read"),
        _ if !(1..=MAX_KIND).contains(&kind.len()) => Some("a kind has 1 to 64 bytes"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str) -> Rule {
        Rule::new(Pattern::parse(pattern).unwrap(), vec![Who::Everyone])
    }

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_holds() {
        let own = vec![rule("guild:7"), rule("guild:{id}"), rule("dialog:{id}")];
        let rules = Rules::new([name("dialog:demo")], own).unwrap();
        for (of, pattern) in [
            ("guild:7", "guild:7"),
            ("guild:8", "guild:{id}"),
            ("dialog:demo", "dialog:demo"),
            ("dialog:a", "dialog:{id}"),
            ("dialog:a:b", "dialog:{rest}"),
        ] {
            assert_eq!(rules.of(&name(of)).unwrap().rule.pattern.to_string(), pattern, "{of}");
        }
        assert_eq!(rules.of(&name("status:7")), None);
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let error = Rules::new([], vec![rule("guild:{id}"), rule("guild:7")]).unwrap_err();
        let text = "the rule for `guild:7` is never used: the one for `guild:{id}` comes before it and matches all of its channels";
        assert_eq!(error.to_string(), text);
        assert!(Rules::new([], vec![rule("a"), rule("a")]).is_err());
        for kind in ["", "answer.start", "answer.end", "unreadable", &"k".repeat(65)] {
            let kinds = BTreeMap::from([(kind.to_owned(), vec![])]);
            let error = Rules::new([], vec![Rule { kinds, ..rule("a") }]).unwrap_err();
            assert!(matches!(error, RulesError::Kind { .. }), "{kind}");
        }
        // The application may say otherwise about all dialogs.
        assert!(Rules::new([name("dialog:demo")], vec![rule("dialog:{rest}")]).is_ok());
    }
}
