//! An op's way from a client into the log (protocol section 3).

use super::state::{Flow, Session};
use super::waiting::{Checked, Waiting};
use crate::access::{Denied, Identity};
use crate::dialog::Channel;
use crate::dialog::ops::Refused;
use crate::lock::calls_out;
use crate::store::{Account, Duplicate, NewEvent, Outcome, Read, Refusal, StoreError, Stored, Write};
use std::sync::Arc;
use tidewire_core::Now;
use tidewire_core::wire::{Conflict, MAX_BODY_DEPTH, Op, OpId, Problem, ServerFrame, Step, codes, json};
use uuid::Uuid;

/// Why an op is refused whose author may only read the channel.
const NOT_WRITTEN_BY: &str = "this user may not write this kind of event in this channel";

impl Session {
    /// Checks an op and hands it to the writer; the answer comes after the commit.
    pub(super) fn submit(&mut self, now: Now, identity: &Identity, op: Op) -> Flow {
        let id = op.id.clone();
        let checked = match self.check(now, identity, op) {
            Ok(checked) => checked,
            Err(refused) => {
                self.refuse_op(id, refused);
                // An op beyond the op budget counts too: it costs an answer.
                return self.flooded(now).unwrap_or(Flow::Ready);
            }
        };
        match self.engine().hub.loaded(&checked.op.ch) {
            Some(channel) => self.submit_to(identity, checked, Ok(Some(channel))),
            None => {
                let ask = Read::Channel(checked.op.ch.clone());
                self.wait(Waiting::Op(checked));
                Flow::Read(ask)
            }
        }
    }

    /// Continues once the channel was read.
    pub(super) fn submit_to(
        &mut self,
        identity: &Identity,
        checked: Checked,
        found: Result<Option<Arc<Channel>>, StoreError>,
    ) -> Flow {
        let id = checked.op.id.clone();
        if let Ok(None) = &found
            && !checked.opened
            && self.opens(identity, &checked.op.ch)
        {
            if let Err(wait) = self.may_open(identity) {
                let refused = Refused::for_now(
                    codes::RATE_LIMITED,
                    "too many channels were opened; wait a little",
                    wait,
                );
                self.refuse_op(id, refused);
                return Flow::Ready;
            }
            let ch = checked.op.ch.clone();
            self.wait(Waiting::Op(Checked { opened: true, ..checked }));
            return Flow::Open(ch, identity.account.clone().unwrap_or(Account::Own));
        }
        if let Err(refused) = self.hand_in(identity, checked, found) {
            self.refuse_op(id, refused);
        }
        Flow::Ready
    }

    fn refuse_op(&self, id: OpId, refused: Refused) {
        self.engine().metrics.ops_refused.count(refused.code);
        self.outgoing().send(&nack(id, refused));
    }

    fn check(&self, now: Now, identity: &Identity, op: Op) -> Result<Checked, Refused> {
        let id = parse(&op.id).ok_or_else(|| Refused::new(codes::BAD_OP_ID, "`id` must be a UUID"))?;
        let after = match op.after.as_deref() {
            None => None,
            Some(after) => {
                Some(parse(after).ok_or_else(|| Refused::new(codes::BAD_OP_ID, "`after` must be a UUID"))?)
            }
        };
        let budget = self.engine().limits.budget(identity.user.kind);
        if let Err(wait) = self.engine().limiter.take(&identity.key(), budget, now.mono) {
            return Err(Refused::for_now(codes::RATE_LIMITED, "too many ops; wait a little", wait));
        }
        if json::depth(&op.body) > MAX_BODY_DEPTH {
            let message = format!("`body` may be nested {MAX_BODY_DEPTH} levels deep");
            return Err(Refused::new(codes::TOO_DEEP, message));
        }
        let kinds = &self.engine().kinds;
        let read = match kinds.has(&op.kind) || !self.names_kind(&op) {
            true => kinds.parse(&op.kind, &op.body)?,
            false => kinds.read(&op.kind, &op.body),
        };
        read.authorize(&identity.user)?;
        Ok(Checked { op, id, after, read, opened: false })
    }

    /// Whether the rule of the op's channel names its kind.
    fn names_kind(&self, op: &Op) -> bool {
        let matched = self.engine().hub.rules().of(&op.ch);
        matched.is_some_and(|matched| matched.rule.kinds.contains_key(&op.kind))
    }

    fn hand_in(
        &mut self,
        identity: &Identity,
        Checked { op, id: uuid, after, read, .. }: Checked,
        found: Result<Option<Arc<Channel>>, StoreError>,
    ) -> Result<(), Refused> {
        let access = &self.engine().access;
        let named = found.as_ref().ok().cloned().flatten();
        // An op that was committed while it was allowed must not be refused now: only the log
        // knows.
        let (channel, forbidden) = match (access.writable(found, identity), named) {
            (Ok(channel), _) if access.may_write(identity, &channel, &op.kind) => (channel, None),
            (Ok(channel), _) => (channel, Some(NOT_WRITTEN_BY.to_owned())),
            (Err(Denied::Forbidden), Some(channel)) => (channel, Some(Denied::Forbidden.message())),
            (Err(denied), _) => {
                return Err(Refused {
                    code: denied.code(),
                    message: denied.message(),
                    retryable: denied.is_retryable(),
                    retry_after_ms: None,
                });
            }
        };
        if op.kind == Step::KIND && channel.name.dialog().is_none() {
            return Err(Refused::new(codes::UNKNOWN_KIND, "only dialogs are handed off"));
        }
        let bytes = op.body.len();
        if !self.inflight().take(bytes) {
            return Err(Refused::for_now(codes::RATE_LIMITED, "too many ops are unanswered", 1_000));
        }
        let conditions = read.conditions(&identity.user);
        let event = NewEvent {
            channel: channel.id,
            name: channel.name.clone(),
            author: identity.key(),
            by: identity.shown(),
            op: uuid,
            id: op.id.clone(),
            kind: op.kind,
            body: json::on_one_line(&op.body).into_owned(),
            after,
            needs_run: conditions.needs_run,
            handing: conditions.handing.filter(|_| channel.name.dialog().is_some()),
            wants_answer: conditions.wants_answer && self.engine().answers.is_some() && channel.is_answered(),
            forbidden: forbidden.is_some(),
        };
        let (outgoing, inflight) = (self.outgoing().clone(), self.inflight().clone());
        let (answers, id, ch, by) = (self.engine().answers.clone(), op.id, op.ch, identity.user.clone());
        let apply = move |channel: &Arc<Channel>, stored: &Stored| {
            channel.apply(stored, &by, read.as_ref()).carry_out(answers.as_ref(), channel);
        };
        let metrics = self.engine().metrics.clone();
        calls_out();
        self.engine().store.write(
            Write::Append(event),
            Box::new(move |result| {
                inflight.give_back(bytes);
                let frame = match result {
                    Ok(Outcome::Stored(stored)) => {
                        metrics.ops_accepted.count();
                        apply(&channel, &stored);
                        ServerFrame::Ok { id, ch, offset: stored.offset, at: stored.at, dup: false }
                    }
                    Ok(Outcome::Duplicate(Duplicate { offset, at, frame })) => {
                        metrics.ops_repeated.count();
                        // It was applied before, unless its commit reported an error and the log
                        // could not be read afterwards.
                        if let Some(frame) = frame {
                            apply(&channel, &Stored { offset, at, frame });
                        }
                        ServerFrame::Ok { id, ch, offset, at, dup: true }
                    }
                    Ok(Outcome::Refused(Refusal::Forbidden)) => {
                        let message = forbidden.unwrap_or_else(|| Denied::Forbidden.message());
                        nack(id, Refused::new(codes::FORBIDDEN, message))
                    }
                    Ok(Outcome::Refused(refusal)) => nack(id, of_refusal(refusal)),
                    Ok(_) => nack(id, Refused::new(codes::INTERNAL, "no event")),
                    Err(error) => nack(id, of_store(error)),
                };
                if let ServerFrame::Nack { problem, .. } = &frame {
                    metrics.ops_refused.count(&problem.code);
                }
                outgoing.send(&frame);
            }),
        );
        Ok(())
    }
}

fn parse(id: &str) -> Option<Uuid> {
    // The crate reads other forms too; the protocol has one. The nil UUID is no id (RFC 9562
    // section 5.9).
    let uuid = tidewire_core::wire::is_uuid(id).then(|| Uuid::try_parse(id).ok()).flatten();
    uuid.filter(|uuid| !uuid.is_nil())
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
            Refused::new(codes::OP_ID_REUSED, "this op id was used for another op; make a new one")
        }
        Refusal::RunNotFound => Refused::new(codes::RUN_NOT_FOUND, "no such answer is under way"),
        Refusal::Handoff(Conflict(message)) => Refused::new(codes::HANDOFF_CONFLICT, message),
        Refusal::Silent
        | Refusal::Forbidden
        | Refusal::DialogTaken
        | Refusal::Exchanged
        | Refusal::TooManyMemberships
        | Refusal::SessionTaken
        | Refusal::TooManySites => Refused::new(codes::FORBIDDEN, Denied::Forbidden.message()),
    }
}

fn of_store(error: StoreError) -> Refused {
    Refused::for_now(error.code(), error.to_string(), 1_000)
}

fn nack(id: OpId, refused: Refused) -> ServerFrame {
    let problem = Problem {
        code: refused.code.to_owned(),
        message: refused.message,
        retry_after_ms: refused.retry_after_ms,
    };
    ServerFrame::Nack { id, problem, retryable: refused.retryable }
}
