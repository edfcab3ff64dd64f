//! The built-in model: scripted answers that fit the message, for demos and tests without a key.

use super::{ModelError, Responder, Turn};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::time::Duration;

/// Highest number it counts to.
const MOST: u64 = 500;

/// The built-in model.
#[derive(Debug, Clone)]
pub struct Scripted {
    pace: Duration,
}

impl Scripted {
    /// A model that sends one word per `pace`.
    pub fn new(pace: Duration) -> Scripted {
        Scripted { pace }
    }
}

impl Responder for Scripted {
    fn answer(&self, turns: Vec<Turn>) -> BoxStream<'static, Result<String, ModelError>> {
        let pace = self.pace;
        stream::iter(words(&compose(&turns)))
            .then(move |word| async move {
                if !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                Ok(word)
            })
            .boxed()
    }
}

/// Splits after each run of white space, so that the parts join to the whole.
fn words(text: &str) -> Vec<String> {
    text.split_inclusive(char::is_whitespace).map(str::to_owned).collect()
}

fn compose(turns: &[Turn]) -> String {
    let Some(last) = turns.last() else { return "I am listening.".to_owned() };
    let asked = last.text.trim();
    let lower = asked.to_lowercase();
    if let Some(most) = number_after(&lower, "count to ") {
        let count: Vec<String> = (1..=most.clamp(1, MOST)).map(|n| n.to_string()).collect();
        return format!("{}.", count.join(", "));
    }
    if lower.contains("story") {
        return story(lower.contains("long"), &last.name);
    }
    if has_word(&lower, &["help", "?help", "/help"]) {
        return "I am the built-in demo model, so no key is needed. Ask me anything and I will quote you back. \
                Say \"count to 20\" and I count. Say \"tell me a long story\" and I take my time, which is a good \
                moment to reload the page, to pull the plug or to press stop: the answer goes on where it was. \
                A real model is one setting away: TIDEWIRE_MODEL_URL."
            .to_owned();
    }
    if has_word(&lower, &["hello", "hi", "hey", "hallo", "moin"]) {
        return format!("Hello {}! Nice to meet you. What would you like to talk about?", last.name);
    }
    if has_word(&lower, &["thanks", "thank", "danke"]) {
        return "You are welcome. Is there anything else I can do for you?".to_owned();
    }
    if has_word(&lower, &["bye", "goodbye"]) {
        return format!("Goodbye {}. This dialog stays here, so come back whenever you like.", last.name);
    }
    general(asked, turns.len())
}

/// An answer that quotes what was said; which one depends on the text, so the same question gets
/// the same answer.
fn general(asked: &str, turns: usize) -> String {
    let quote = quote(asked);
    let seed = asked.bytes().fold(turns, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let opening = match seed % 4 {
        0 => format!("You wrote \"{quote}\"."),
        1 => format!("Let me think about \"{quote}\" for a moment."),
        2 => format!("\"{quote}\": good that you bring it up."),
        _ => format!("So this is about \"{quote}\"."),
    };
    let question = asked.ends_with('?');
    let middle = match (question, seed / 4 % 3) {
        (true, 0) => "The short answer is that it depends on what matters most to you.",
        (true, 1) => "There are two ways to look at it, and both have something to say for themselves.",
        (true, _) => "I would start small, look at the result, and go on from there.",
        (false, 0) => "I have made a note of it, in the order in which it was said.",
        (false, 1) => "That reached me exactly once, whatever the network did in between.",
        (false, _) => "I can see why that matters.",
    };
    let closing = match seed / 12 % 3 {
        0 => "Tell me a little more and I can be more precise.",
        1 => "Shall we go through it step by step?",
        _ => "If you want to see what else I can do, say \"help\".",
    };
    format!("{opening} {middle} {closing}")
}

fn story(long: bool, name: &str) -> String {
    let scenes = [
        "Once there was a harbour town that lived by its tide.",
        "Every morning the keeper of the gauge wrote down how high the water stood, one line under the other, and never left one out.",
        "One autumn a storm took the lamp, then the telegraph, then the road.",
        "The keeper went on writing.",
        "When the first boat came back after nine days, its captain asked what had happened meanwhile.",
        "The keeper opened the book at the last line the captain knew and read from there.",
        "Nothing was told twice, and nothing was left out.",
        "The captain asked how the keeper had known where to begin.",
        "\"You told me yourself,\" said the keeper, \"by telling me where you had stopped.\"",
        "From then on every boat carried a small slip of paper with a number on it.",
        "Some lost their masts, some their anchors, but none of them ever lost its place in the book.",
        "Children learnt to read from it, and quarrels were settled by it.",
        "In the year of the great flood the book itself went under.",
        "The keeper bought a new one, wrote a new name on its cover, and told every boat to start afresh rather than to guess.",
        "That, they say, is why the town is still there.",
    ];
    let told = if long { scenes.len() } else { 4 };
    format!("{} And that is the story, {name}.", scenes[..told].join(" "))
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() { format!("{}…", short.trim_end()) } else { short }
}

fn has_word(text: &str, words: &[&str]) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word))
}

fn number_after(text: &str, phrase: &str) -> Option<u64> {
    let rest = &text[text.find(phrase)? + phrase.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::responder::Role;

    fn answer(text: &str) -> String {
        compose(&[Turn { role: Role::User, name: "Ada".to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn it_counts_and_stops_at_a_bound() {
        assert_eq!(answer("Please count to 5!"), "1, 2, 3, 4, 5.");
        assert!(answer("count to 99999999").ends_with("499, 500."));
        assert!(!answer("count to infinity").is_empty());
    }

    #[test]
    fn it_quotes_what_was_asked_and_varies() {
        assert!(answer("Is the tide late?").contains("Is the tide late?"));
        assert_ne!(answer("Is the tide late?"), answer("Is the tide early?"));
        assert!(answer(&"é".repeat(500)).contains('…'));
    }

    #[test]
    fn a_long_story_is_longer() {
        assert!(answer("tell me a long story").len() > 2 * answer("tell me a story").len());
    }

    #[test]
    fn the_words_join_to_the_whole() {
        let text = answer("help");
        assert_eq!(words(&text).concat(), text);
    }
}
