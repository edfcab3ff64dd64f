//! The commands that write: they check an op, give it an id, and put it into the outbox.

use super::{Client, MESSAGE_BYTES};
use crate::delivery::{Draft, EntryState, Lane, NewOp};
use crate::error::SendError;
use crate::event::{OpState, RowState};
use crate::part::Part;
use crate::time::Now;
use crate::wire::json::{Writer, depth, validate_within};
use crate::wire::{self, ChannelName, MAX_BODY_DEPTH, MAX_KIND, MAX_TEXT, OpId, RunId, Step, is_uuid};

/// Upper limit of an op frame's length without its body, in bytes.
const OP_OVERHEAD: u64 = 512;

impl<T: Part> Client<T> {
    /// Writes a message into a dialog. Its row is there at once. Returns the op's id.
    pub fn send_text(&mut self, now: Now, dialog: &str, text: &str) -> Result<OpId, SendError> {
        let draft = self.draft_text(now, dialog, text)?;
        self.submit(now, &draft)
    }

    /// Stops the newest answer under way in an open dialog; its text so far stays. Returns the op's
    /// id.
    ///
    /// # Errors
    ///
    /// [`SendError::RunNotFound`] if none is under way.
    pub fn stop(&mut self, now: Now, dialog: &str) -> Result<OpId, SendError> {
        let draft = self.draft_stop(now, dialog, None)?;
        self.submit(now, &draft)
    }

    /// Stops this answer, which need not be in an open dialog. Returns the op's id.
    pub fn stop_run(&mut self, now: Now, dialog: &str, run: &RunId) -> Result<OpId, SendError> {
        let draft = self.draft_stop(now, dialog, Some(run))?;
        self.submit(now, &draft)
    }

    /// Takes a step of a hand-off in a dialog. Asking for a person waits for the next connection like
    /// a message does; any other step is given up with this client. The server refuses a step that the
    /// dialog's state does not allow, as `handoff_conflict`. Returns the op's id.
    pub fn hand_off(&mut self, now: Now, dialog: &str, step: &Step) -> Result<OpId, SendError> {
        let draft = self.draft_handoff(now, dialog, step)?;
        self.submit(now, &draft)
    }

    /// The op that [`Client::hand_off`] would send.
    pub fn draft_handoff(&mut self, now: Now, dialog: &str, step: &Step) -> Result<Draft, SendError> {
        let lane = if *step == Step::Request { Lane::Durable } else { Lane::Session };
        self.draft(now, lane, ChannelName::of_dialog(dialog), Step::KIND, &step.encode())
    }

    /// Sends an op of any kind; `body` is the JSON text of an object. Returns the op's id.
    pub fn send(&mut self, now: Now, channel: &str, kind: &str, body: &str) -> Result<OpId, SendError> {
        self.send_in(now, Lane::Durable, channel, kind, body)
    }

    /// As [`Client::send`], in the given lane. Ops of one lane and channel keep their order.
    pub fn send_in(
        &mut self,
        now: Now,
        lane: Lane,
        channel: &str,
        kind: &str,
        body: &str,
    ) -> Result<OpId, SendError> {
        let draft = self.draft_op(now, lane, channel, kind, body)?;
        self.submit(now, &draft)
    }

    /// The op that [`Client::send_in`] would send.
    pub fn draft_op(
        &mut self,
        now: Now,
        lane: Lane,
        channel: &str,
        kind: &str,
        body: &str,
    ) -> Result<Draft, SendError> {
        self.draft(now, lane, ChannelName::parse(channel), kind, body)
    }

    /// The op that [`Client::send_text`] would send.
    pub fn draft_text(&mut self, now: Now, dialog: &str, text: &str) -> Result<Draft, SendError> {
        if text.chars().all(char::is_whitespace) {
            return Err(SendError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(SendError::TooLarge);
        }
        let body = Writer::object().str("text", text).end();
        self.draft(now, Lane::Durable, ChannelName::of_dialog(dialog), wire::Message::KIND, &body)
    }

    /// The op that [`Client::stop`], or with a run [`Client::stop_run`], would send.
    pub fn draft_stop(&mut self, now: Now, dialog: &str, run: Option<&RunId>) -> Result<Draft, SendError> {
        let run = run.cloned().or_else(|| self.run(dialog)).ok_or(SendError::RunNotFound)?;
        let body = Writer::object().str("run", &run).end();
        self.draft(now, Lane::Session, ChannelName::of_dialog(dialog), wire::CancelRun::KIND, &body)
    }

    /// Sends a draft. A draft that is in the outbox is not added again, and one whose row is
    /// committed is not sent again; in both cases the final state of the op, if there is one, is
    /// emitted again. The time in an id of version 7 counts as the op's time.
    pub fn send_draft(&mut self, now: Now, draft: &Draft) -> Result<OpId, SendError> {
        let now = self.clamp(now);
        if !is_uuid(&draft.id) {
            return Err(SendError::BadOpId);
        }
        self.check(&draft.channel, &draft.kind, &draft.body)?;
        let entry = self.outbox.get(&draft.id);
        let known = entry.is_some();
        let ended = match entry.map(|entry| &entry.state) {
            Some(EntryState::Failed { code, message }) => {
                Some(OpState::Failed { code: code.clone(), message: message.clone() })
            }
            Some(EntryState::Sent { .. } | EntryState::Ready { .. }) => None,
            None => self
                .timeline(&draft.channel)
                .and_then(|timeline| timeline.committed(&draft.id))
                .map(|offset| OpState::Acked { offset }),
        };
        match ended {
            Some(state) => self.emit_op(draft.id.clone(), draft.channel.clone(), state),
            None if known => {}
            None => return self.submit(now, draft),
        }
        Ok(draft.id.clone())
    }

    fn draft(
        &mut self,
        now: Now,
        lane: Lane,
        channel: Option<ChannelName>,
        kind: &str,
        body: &str,
    ) -> Result<Draft, SendError> {
        let now = self.clamp(now);
        let channel = channel.ok_or(SendError::BadChannel)?;
        self.check(&channel, kind, body)?;
        Ok(Draft {
            id: OpId::from(self.uuids.next(now.wall, &mut self.rng)),
            lane,
            channel,
            kind: kind.to_owned(),
            body: body.to_owned(),
        })
    }

    fn check(&self, channel: &ChannelName, kind: &str, body: &str) -> Result<(), SendError> {
        if channel.dialog() == Some("") {
            return Err(SendError::BadChannel);
        }
        check_body(body)?;
        let most = self.limits.as_ref().map_or(MESSAGE_BYTES, |limits| limits.message_bytes);
        if body.len() as u64 + OP_OVERHEAD > most || kind.len() > MAX_KIND {
            return Err(SendError::TooLarge);
        }
        Ok(())
    }

    /// Puts a checked op into the outbox and its row into the dialog.
    fn submit(&mut self, now: Now, draft: &Draft) -> Result<OpId, SendError> {
        let now = self.clamp(now);
        let made_at = uuid_time(&draft.id).map_or(now.wall, |made| made.min(now.wall));
        let user = self.me.as_ref().map(|me| me.id.clone());
        let record = self.outbox.push(NewOp { draft, since: now.mono, made_at, user })?.record();
        if draft.lane == Lane::Durable {
            self.put_op(&draft.id, record);
        }
        if draft.kind == wire::Message::KIND
            && let Some(at) = self.place(&draft.channel)
        {
            self.channels[at].leases.said();
        }
        if draft.kind == wire::Message::KIND
            && let Some(timeline) = self.timeline(&draft.channel)
        {
            timeline.write(&draft.id, &draft.body, made_at, RowState::Saving, None);
        }
        Ok(draft.id.clone())
    }
}

/// A body is a JSON object that every frame can carry.
pub(super) fn check_body(body: &str) -> Result<(), SendError> {
    let object = validate_within(body, usize::MAX).ok().filter(|body| body.starts_with('{'));
    match object {
        Some(body) if depth(body) <= MAX_BODY_DEPTH => Ok(()),
        Some(_) => Err(SendError::TooDeep),
        None => Err(SendError::BadBody),
    }
}

/// When an id of version 7 was made, ms since the Unix epoch (RFC 9562, 5.7).
fn uuid_time(id: &str) -> Option<u64> {
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    if id.as_bytes().get(14) != Some(&b'7') {
        return None;
    }
    Some(hex(id.get(..8)?)? << 16 | hex(id.get(9..13)?)?)
}
