//! An op's way from a client into the log (protocol section 3).

use crate::answers;
use crate::channel::Channel;
use crate::hub::{self, Denied};
use crate::identity::Identity;
use crate::log::{Duplicate, NewEvent, Outcome, Refusal, StoreError, Stored, Write};
use crate::session::{Ask, Flow, Session, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidewire_core::Now;
use tidewire_core::wire::json::{self, Object};
use tidewire_core::wire::{MAX_BODY_DEPTH, MAX_TEXT, Op, Problem, ServerFrame, UserKind, codes};
use uuid::Uuid;

/// The unanswered ops of a connection.
pub(crate) struct Inflight {
    most: usize,
    most_bytes: usize,
    ops: AtomicUsize,
    bytes: AtomicUsize,
}

impl Inflight {
    pub(crate) fn new(most: usize, most_bytes: usize) -> Inflight {
        Inflight { most, most_bytes, ops: AtomicUsize::new(0), bytes: AtomicUsize::new(0) }
    }

    /// Only the connection's own session calls it, so looking and adding need not be one step.
    fn take(&self, bytes: usize) -> bool {
        let fits = self.ops.load(Ordering::Acquire) < self.most
            && self.bytes.load(Ordering::Acquire) + bytes <= self.most_bytes;
        if fits {
            self.ops.fetch_add(1, Ordering::AcqRel);
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.ops.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// What an op asks for, once its body was read.
enum Wish {
    Message,
    Cancel(String),
}

/// A `nack` in the making.
struct Refused {
    code: &'static str,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

fn refused(code: &'static str, message: impl Into<String>) -> Refused {
    Refused { code, message: message.into(), retryable: false, retry_after_ms: None }
}

fn later(code: &'static str, message: impl Into<String>, retry_after_ms: u64) -> Refused {
    Refused { code, message: message.into(), retryable: true, retry_after_ms: Some(retry_after_ms) }
}

/// An op whose form is right; its channel is looked for.
pub(crate) struct Checked {
    op: Op,
    id: Uuid,
    after: Option<Uuid>,
    wish: Wish,
}

impl Session {
    /// Checks an op and hands it to the writer; the answer comes after the commit.
    pub(crate) fn submit(&mut self, now: Now, identity: &Identity, op: Op) -> Flow {
        let id = op.id.clone();
        let checked = match self.check(now, identity, op) {
            Ok(checked) => checked,
            Err(refused) => {
                self.outgoing().send(&nack(id, refused));
                // Also one beyond the op budget: it costs an answer all the same.
                return self.flooded(now).unwrap_or(Flow::Ready);
            }
        };
        match self.engine().hub.loaded(&checked.op.ch) {
            Some(channel) => self.submit_to(identity, checked, Ok(Some(channel))),
            None => {
                let ask = Ask::Channel(checked.op.ch.clone());
                self.wait(Waiting::Op(checked));
                Flow::Ask(ask)
            }
        }
    }

    /// Goes on once the channel was looked for.
    pub(crate) fn submit_to(
        &mut self,
        identity: &Identity,
        checked: Checked,
        found: Result<Option<Arc<Channel>>, StoreError>,
    ) -> Flow {
        let id = checked.op.id.clone();
        if let Err(refused) = self.hand_in(identity, checked, found) {
            self.outgoing().send(&nack(id, refused));
        }
        Flow::Ready
    }

    fn check(&self, now: Now, identity: &Identity, op: Op) -> Result<Checked, Refused> {
        let id = parse(&op.id).ok_or_else(|| refused(codes::BAD_OP_ID, "`id` must be a UUID"))?;
        let after = match op.after.as_deref() {
            None => None,
            Some(after) => {
                Some(parse(after).ok_or_else(|| refused(codes::BAD_OP_ID, "`after` must be a UUID"))?)
            }
        };
        let budget = self.engine().limits.budget(identity.user.kind);
        if let Err(wait) = self.engine().limiter.take(&identity.key(), budget, now.mono) {
            return Err(later(codes::RATE_LIMITED, "too many ops; wait a little", wait));
        }
        let wish = wish(&op)?;
        Ok(Checked { op, id, after, wish })
    }

    fn hand_in(
        &mut self,
        identity: &Identity,
        Checked { op, id: uuid, after, wish }: Checked,
        found: Result<Option<Arc<Channel>>, StoreError>,
    ) -> Result<(), Refused> {
        let named = found.as_ref().ok().cloned().flatten();
        let (channel, forbidden) = match (hub::visible(found, identity, &self.engine().revocations), named) {
            (Ok(channel), _) => (channel, false),
            // What was committed while it was allowed is not refused now: only the log knows.
            (Err(Denied::Forbidden), Some(channel)) => (channel, true),
            (Err(denied), _) => {
                return Err(Refused {
                    code: denied.code(),
                    message: denied.message(),
                    retryable: denied.is_retryable(),
                    retry_after_ms: None,
                });
            }
        };
        let bytes = op.body.len();
        if !self.inflight().take(bytes) {
            return Err(later(codes::RATE_LIMITED, "too many ops are unanswered", 1_000));
        }
        let (kind, needs_run) = match &wish {
            Wish::Message => ("message", None),
            Wish::Cancel(run) => ("run.cancel", Some(run.clone())),
        };
        let wants_answer = needs_run.is_none()
            && self.engine().answers.is_some()
            && matches!(identity.user.kind, UserKind::Guest | UserKind::User);
        let event = NewEvent {
            channel: channel.id,
            name: channel.name.clone(),
            author: identity.key(),
            by: identity.user.clone(),
            op: uuid,
            id: op.id.clone(),
            kind,
            body: json::on_one_line(&op.body).into_owned(),
            after,
            needs_run,
            wants_answer,
            forbidden,
        };
        let (outgoing, inflight) = (self.outgoing().clone(), self.inflight().clone());
        let (answering, id, ch) = (self.engine().answers.clone(), op.id, op.ch);
        let publish = move |channel: &Arc<Channel>, stored: &Stored| {
            if !channel.publish(stored) {
                return;
            }
            match &wish {
                Wish::Message => {
                    if let Some(answering) = answering.filter(|_| wants_answer) {
                        answers::want(answering, channel, stored.offset);
                    }
                }
                Wish::Cancel(run) => channel.stop_run(run),
            }
        };
        self.engine().log.submit(
            Write::Append(event),
            Box::new(move |result| {
                inflight.give_back(bytes);
                let frame = match result {
                    Ok(Outcome::Stored(stored)) => {
                        publish(&channel, &stored);
                        ServerFrame::Ok { id, ch, offset: stored.offset, at: stored.at, dup: false }
                    }
                    Ok(Outcome::Duplicate(Duplicate { offset, at, frame })) => {
                        // Nothing happens here, unless its commit reported an error and reconciling could not read it.
                        if let Some(frame) = frame {
                            publish(&channel, &Stored { offset, at, frame });
                        }
                        ServerFrame::Ok { id, ch, offset, at, dup: true }
                    }
                    Ok(Outcome::Refused(refusal)) => nack(id, of_refusal(refusal)),
                    Ok(_) => nack(id, refused(codes::INTERNAL, "no event")),
                    Err(error) => nack(id, of_store(error)),
                };
                outgoing.send(&frame);
            }),
        );
        Ok(())
    }
}

fn parse(id: &str) -> Option<Uuid> {
    // The crate reads other forms too; the protocol has one. The nil UUID names nothing (RFC 9562, 5.9).
    let uuid = tidewire_core::wire::is_uuid(id).then(|| Uuid::try_parse(id).ok()).flatten();
    uuid.filter(|uuid| !uuid.is_nil())
}

fn wish(op: &Op) -> Result<Wish, Refused> {
    let bad = |message| refused(codes::BAD_BODY, message);
    if json::depth(&op.body) > MAX_BODY_DEPTH {
        let message = format!("`body` may be nested {MAX_BODY_DEPTH} levels deep");
        return Err(refused(codes::TOO_DEEP, message));
    }
    let body = Object::parse(&op.body).map_err(|_| bad("`body` must be an object"))?;
    match op.kind.as_str() {
        "message" => {
            let text = body.str("text").ok_or_else(|| bad("`body.text` must be a string"))?;
            if text.len() > MAX_TEXT {
                let message = format!("`body.text` may have at most {MAX_TEXT} bytes");
                return Err(refused(codes::TOO_LARGE, message));
            }
            if text.trim().is_empty() {
                return Err(bad("`body.text` must not be empty"));
            }
            Ok(Wish::Message)
        }
        "run.cancel" => {
            let run = body.str("run").ok_or_else(|| bad("`body.run` must be a string"))?;
            Ok(Wish::Cancel(run.into_owned()))
        }
        _ => Err(refused(codes::UNKNOWN_KIND, "this server knows the kinds message and run.cancel")),
    }
}

fn of_refusal(refusal: Refusal) -> Refused {
    match refusal {
        Refusal::Blocked => Refused {
            code: codes::BLOCKED,
            message: "the op named by `after` is not committed".to_owned(),
            retryable: true,
            retry_after_ms: None,
        },
        Refusal::OpIdReused => {
            refused(codes::OP_ID_REUSED, "this op id was used for another op; make a new one")
        }
        Refusal::Forbidden => refused(codes::FORBIDDEN, Denied::Forbidden.message()),
        Refusal::RunNotFound => refused(codes::RUN_NOT_FOUND, "no such answer is under way"),
        Refusal::DialogTaken | Refusal::Exchanged => refused(codes::FORBIDDEN, Denied::Forbidden.message()),
    }
}

fn of_store(error: StoreError) -> Refused {
    later(error.code(), error.to_string(), 1_000)
}

fn nack(id: String, refused: Refused) -> ServerFrame {
    let problem = Problem {
        code: refused.code.to_owned(),
        message: refused.message,
        retry_after_ms: refused.retry_after_ms,
    };
    ServerFrame::Nack { id, problem, retryable: refused.retryable }
}
