//! Checks ops: none is lost, doubled or overtaken, whatever crashes.

use crate::client::Device;
use crate::script::CHANNELS;
use crate::server::Server;
use crate::watch::Watch;
use std::collections::BTreeSet;
use tidewire_core::Lane;
use tidewire_history::Event as Told;

impl Watch {
    pub(crate) fn sent(&mut self, device: &Device, id: &str, channel: &str, lane: Lane) {
        self.channels.insert(id.to_owned(), channel.to_owned());
        self.lanes.insert(id.to_owned(), lane);
        self.order.insert(id.to_owned(), self.order.len());
        self.record(Told::Send {
            client: device.name().into(),
            ch: channel.into(),
            lane: Some(lane.as_str().into()),
            id: id.into(),
        });
    }

    /// Whether a client that crashed before it had forgotten an acknowledged op may have sent it into
    /// a restored log.
    pub(crate) fn is_acked_anew(&self, id: &str) -> bool {
        self.undone.contains(id)
    }

    pub(crate) fn acked(&mut self, device: &Device, server: &Server, id: &str, offset: u64) {
        let Some(ch) = self.channels.get(id).cloned() else { return };
        // A failed op blocks later ones until the application decides. A crash may undo that
        // decision on disk after a later op was sent.
        let blocks = |failed: &&String| {
            !device.person.given_up.contains(*failed)
                && self.lanes.get(*failed) == Some(&Lane::Durable)
                && self.lanes.get(id) == Some(&Lane::Durable)
                && self.channels.get(*failed) == Some(&ch)
                && self.order.get(*failed) < self.order.get(id)
        };
        if let Some(failed) = device.person.failed.iter().find(blocks).filter(|_| !device.unreliable) {
            return self
                .broken("S6", format!("{id} went past {failed}, which failed and was not decided about"));
        }
        let stands = server.at(&ch, offset).ok().flatten().is_some_and(|logged| logged.id == id);
        // Retention or a restored backup may have removed it before the acknowledgement came.
        let gone = server.floor(&ch).unwrap_or(0) >= offset || self.marks.contains_key("restored");
        if !stands && !gone {
            return self.broken("S1", format!("{id} was acknowledged at {offset} and is not there"));
        }
        if !stands && self.marks.contains_key("restored") {
            // The acknowledgement was on its way when the backup was restored.
            return self.record(Told::Discard { client: device.name().into(), id: id.into() });
        }
        self.acked.insert(id.to_owned(), device.name());
        self.record(Told::Ack { client: device.name().into(), ch: ch.into(), id: id.into(), offset });
    }

    /// An op was reported as failed. If it was sent and timed out, nobody knows whether it arrived.
    pub(crate) fn failed(&mut self, device: &Device, id: &str, code: &str, sent: bool, found: bool) {
        if (code == "expired" && sent) || found || device.unreliable || self.marks.contains_key("restored") {
            self.record(Told::Discard { client: device.name().into(), id: id.into() });
        } else if let Some(ch) = self.channels.get(id).cloned() {
            self.record(Told::Fail {
                client: device.name().into(),
                ch: ch.into(),
                id: id.into(),
                code: code.into(),
            });
        }
    }

    pub(crate) fn retried(&mut self, client: &str, id: &str) {
        self.record(Told::Retry { client: client.into(), id: id.into() });
    }

    pub(crate) fn discarded(&mut self, device: &Device, id: &str) {
        self.record(Told::Discard { client: device.name().into(), id: id.into() });
    }

    /// A crash: what was not on disk was not promised.
    pub(crate) fn crashes(&mut self, device: &mut Device) {
        let promised = |id: &&String| !device.disk.has_op(id) && device.person.stored.contains(*id);
        if let Some(id) = device.person.open.keys().find(promised) {
            self.broken("S9", format!("{id} was said to be stored, and a crash loses it"));
        }
        let lost: Vec<String> =
            device.person.open.keys().filter(|id| !device.disk.has_op(id)).cloned().collect();
        for id in lost {
            self.record(Told::Discard { client: device.name().into(), id: id.as_str().into() });
            device.person.open.remove(&id);
            device.person.failed.remove(&id);
        }
        device.person.unsaved.clear();
        self.forgets_failures(device);
    }

    /// Failures and discards that the disk does not have are undone by a crash: a client that
    /// starts from the disk sends these ops again.
    fn forgets_failures(&mut self, device: &mut Device) {
        let (disk, person) = (&device.disk, &mut device.person);
        let forgotten: BTreeSet<String> = person
            .failed
            .union(&person.given_up)
            .filter(|id| disk.has_op(id) && !disk.has_failed(id))
            .cloned()
            .collect();
        for id in forgotten {
            person.failed.remove(&id);
            self.retried(&format!("u{}", device.number), &id);
        }
    }

    /// A new tab leads. It submits again what the old one had in memory only, except ops that make
    /// no sense later.
    pub(crate) fn hands_over(&mut self, device: &mut Device) {
        // An op that the old tab's disk refused, while it stored a later op of the same channel,
        // has lost its order.
        let person = &mut device.person;
        while let Some(at) = person.unsaved.iter().position(|draft| {
            let later = |other: &str| {
                self.order.get(other) > self.order.get(draft.id.as_str())
                    && self.channels.get(other).is_some_and(|channel| draft.channel == *channel)
            };
            person.open.keys().any(|other| device.disk.has_op(other) && later(other))
        }) {
            person.unsaved.remove(at);
        }
        let unsaved: BTreeSet<&str> = device.person.unsaved.iter().map(|draft| draft.id.as_str()).collect();
        let lost: Vec<String> = device
            .person
            .open
            .keys()
            .filter(|id| !device.disk.has_op(id) && !unsaved.contains(id.as_str()))
            .cloned()
            .collect();
        for id in lost {
            self.record(Told::Discard { client: device.name().into(), id: id.as_str().into() });
            device.person.open.remove(&id);
            device.person.failed.remove(&id);
        }
        self.forgets_failures(device);
        self.mark("handover_of_tabs");
    }

    pub(crate) fn restored(&mut self) {
        self.mark("restored");
        for channel in CHANNELS {
            self.record(Told::Restored { ch: channel.into() });
        }
        // What was acknowledged may be gone, and may be sent again if the client's disk did not
        // store the acknowledgement.
        for (id, client) in std::mem::take(&mut self.acked) {
            self.undone.insert(id.clone());
            self.record(Told::Discard { client: client.into(), id: id.into() });
        }
    }
}
