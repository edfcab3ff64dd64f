//! Checks connections: what is sent on them, and when clients dial, wait and give up.

use crate::client::{Bucket, Device, Process};
use crate::script::CHANNELS;
use crate::watch::{Watch, device_of};
use tidewire_core::State;
use tidewire_core::wire::{ClientFrame, Mode, ServerFrame, decode_client_message, decode_server_message};

/// Longest silence that a client accepts: the server's `ping_ms` and `grace_ms`.
const SILENCE_MS: u64 = 35_000;
/// Shortest time-out of a probe.
const PROBE_MS: u64 = 3_000;

impl Watch {
    /// A message is about to be given to the core.
    pub(crate) fn arrives(
        &mut self,
        process: &mut Process,
        conn: u64,
        text: &str,
        mono: u64,
        healed: bool,
        devices: &mut [Device],
    ) {
        let Ok(frames) = decode_server_message(text) else {
            return self.mark("nonsense");
        };
        for frame in frames {
            match frame {
                ServerFrame::Welcome(welcome) => {
                    let limits = &welcome.limits;
                    if process.budget.is_none() {
                        process.budget = Some(Bucket::new(limits.ops, limits.per_ms, limits.burst, mono));
                    }
                    if healed && !process.zombie {
                        devices[process.device].person.welcomes_healed += 1;
                    }
                    self.mark("welcome");
                }
                ServerFrame::SubOk(sub) => {
                    self.mark(match sub.mode {
                        Mode::Resumed => "sub:resumed",
                        Mode::Fresh => "sub:fresh",
                        Mode::Reset => "sub:reset",
                    });
                    if let Some(reason) = &sub.reason {
                        self.mark(&format!("reset:{reason}"));
                    }
                    sub.page.events.iter().for_each(|event| lands(process, conn, &event.id));
                    if sub.page.ch == CHANNELS[1] {
                        process.answered = Some((sub.epoch.into(), sub.page.from.0));
                    } else {
                        process.told = sub.epoch.into();
                    }
                }
                ServerFrame::People(people) => {
                    process.told_gone.extend(people.gone.iter().map(|(_, id)| device_of(id)));
                    if people.full && people.settle_ms.is_none() {
                        let listed = |device: &usize| {
                            people.people.iter().any(|person| device_of(&person.user.id) == *device)
                        };
                        process.told_gone.extend((0..devices.len()).filter(|device| !listed(device)));
                    }
                    process.told_by = conn;
                }
                ServerFrame::Marks(marks) => {
                    self.reads_told(&process.told, process.device, &marks);
                }
                ServerFrame::SubErr { problem, .. } => self.mark(&format!("sub_err:{}", problem.code)),
                ServerFrame::Page(page) => {
                    page.events.iter().for_each(|event| lands(process, conn, &event.id));
                    self.mark("page");
                }
                ServerFrame::Past(past) => {
                    past.page.events.iter().for_each(|event| lands(process, conn, &event.id));
                    self.mark(if past.retry_after_ms.is_some() { "past:later" } else { "past" });
                }
                ServerFrame::Ok { id, dup, .. } => {
                    self.mark(if dup { "ok:dup" } else { "ok" });
                    lands(process, conn, &id);
                }
                ServerFrame::Nack { id, problem, .. } => {
                    self.mark(&format!("nack:{}", problem.code));
                    lands(process, conn, &id);
                }
                ServerFrame::Error(problem) => self.mark(&format!("error:{}", problem.code)),
                ServerFrame::Goaway { .. } => self.mark("goaway"),
                ServerFrame::AuthOk { .. } => self.mark("auth_ok"),
                ServerFrame::Piece(_) => self.mark("piece"),
                ServerFrame::Event(event) => {
                    // The event of an op counts as its acknowledgement.
                    lands(process, conn, &event.id);
                }
                ServerFrame::Ping { .. }
                | ServerFrame::Pong { .. }
                | ServerFrame::Signal { .. }
                | ServerFrame::Table(_)
                | ServerFrame::Unknown => {}
                ServerFrame::Unreadable { .. } => {
                    self.broken("S3", "an event that can't be read".to_owned());
                }
            }
        }
    }

    pub(crate) fn dials(&mut self, process: &mut Process, open: usize, mono: u64) {
        if self.aloud {
            println!("{} u{} dials, {open} open, {:?}", self.now, process.device, process.state);
        }
        if open >= 2 || (open == 1 && process.state != State::Online) {
            self.broken("S14", format!("dials while {open} are open and the state is {:?}", process.state));
        }
        if !process.wants {
            self.broken("S11", "dials although nobody wants it".to_owned());
        }
        while process.dials.front().is_some_and(|first| mono - first >= 60_000) {
            process.dials.pop_front();
        }
        if process.dials.len() >= 12 {
            self.broken("S11", "more than 12 dials in a minute".to_owned());
        }
        process.dials.push_back(mono);
    }

    pub(crate) fn sends(
        &mut self,
        process: &mut Process,
        device: &mut Device,
        conn: u64,
        text: &str,
        mono: u64,
    ) {
        self.trace(self.now, "sent", text);
        let Ok(frames) = decode_client_message(text) else {
            return self.broken("S2", "the client sends what is no frame".to_owned());
        };
        for frame in frames {
            if let ClientFrame::Op(op) = frame {
                if let Some(sent) = device.person.open.get_mut(op.id.as_str()) {
                    *sent = true;
                }
                let flying = process.flying.entry(conn).or_default();
                flying.insert(op.id.into(), op.body.len());
                let bytes: usize = flying.values().sum();
                let count = flying.len();
                if count > 32 || (count > 1 && bytes > 262_144) {
                    self.broken("S8", format!("{count} ops of {bytes} bytes are unanswered"));
                }
                if process.budget.as_mut().is_some_and(|budget| !budget.take(mono)) {
                    self.broken("S10", "an op beyond the budget".to_owned());
                }
            }
        }
    }

    pub(crate) fn gives_up(&mut self, conn: u64, code: u16, heard: Option<u64>, mono: u64) {
        if code == tidewire_core::wire::codes::close::PING_TIMEOUT {
            self.mark("found_dead");
            if heard.is_some_and(|heard| mono.saturating_sub(heard) < PROBE_MS) {
                self.broken("S12", format!("connection {conn} is dropped for silence while bytes arrive"));
            }
        }
    }

    pub(crate) fn waits(&mut self, process: &Process, until: Option<u64>, heard: Option<u64>, mono: u64) {
        let sleeps =
            matches!(process.state, State::Idle | State::Disconnected | State::Failed | State::Parked);
        match until {
            None if !sleeps && process.core.explain().counters.waiting == 0 => {
                self.broken("S14", format!("no timer while {:?}", process.state));
            }
            Some(until) if until <= mono => self.broken("S14", "a wait for the past".to_owned()),
            // A client that is late because it slept sends a probe before it gives up.
            Some(until)
                if process.state == State::Online
                    && heard.is_some_and(|heard| until > heard.max(mono) + SILENCE_MS) =>
            {
                self.broken("S13", "no look at the heartbeat in time".to_owned());
            }
            _ => {}
        }
    }
}

fn lands(process: &mut Process, conn: u64, id: &str) {
    if let Some(flying) = process.flying.get_mut(&conn) {
        flying.remove(id);
    }
}
