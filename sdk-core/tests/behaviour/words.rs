//! The words that every binding uses, and what `Debug` shows.

use crate::rig::*;
use tidewire_core::*;

#[test]
fn words_are_read_back() {
    for (lane, word) in [(Lane::Durable, "durable"), (Lane::Session, "session")] {
        assert_eq!((lane.as_str(), Lane::parse(word)), (word, Some(lane)));
    }
    for (transport, word) in Transport::ALL.into_iter().zip(["websocket", "stream", "long_poll", "poll"]) {
        assert_eq!((transport.as_str(), Transport::parse(word)), (word, Some(transport)));
    }
    assert_eq!((Lane::parse(""), Transport::parse("")), (None, None));
    assert_eq!((RowKind::Message.as_str(), RowKind::Answer.as_str()), ("message", "answer"));
}

#[test]
fn only_a_full_outbox_is_worth_another_try() {
    use SendError::{BadBody, BadChannel, BadOpId, Empty, OutboxFull, TooLarge};
    for error in [BadBody, BadChannel, BadOpId, Empty, TooLarge] {
        assert!(!error.is_retryable(), "{error:?}");
    }
    assert!(OutboxFull.is_retryable());
}

#[test]
fn debug_output_says_what_it_is_of() {
    let mut rig = Rig::online();
    let draft = rig.client.draft_text(rig.now, "demo", "text").unwrap();
    assert!(format!("{draft:?}").contains(draft.id.as_str()));
    rig.send("text");
    let row = rig.rows().remove(0);
    assert!(format!("{row:?}").contains(&row.id));
    assert_eq!(format!("{:?}", Message("text".into())), "Message");
    assert_eq!(format!("{:?}", Change::<Row>::Append { index: 3, text: "text".into() }), "Append(3, 4)");
    assert_eq!(format!("{:?}", Change::<Row>::Remove { index: 3 }), "Remove(3)");
}
