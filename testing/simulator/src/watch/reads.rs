//! Checks how far the first channel was read: positions never go back, what was answered or kept on
//! a device is not lost, and what is shown is what the log says.

use crate::client::Device;
use crate::script::CHANNELS;
use crate::watch::{Watch, device_of};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::wire::json::{Object, validate};
use tidewire_core::wire::{Marks, counts_as_unread};
use tidewire_core::{PeopleStatus, State};

/// What the server has to know, by the epoch and the device's number.
#[derive(Default)]
pub(crate) struct ReadsWatch {
    /// The greatest position that a client was told is stored.
    stored: BTreeMap<(String, usize), u64>,
    /// The greatest position that a device had kept when its client crashed.
    kept: BTreeMap<(String, usize), u64>,
}

impl Watch {
    /// A client is told how far the first channel was read.
    pub(crate) fn reads_told(&mut self, epoch: &str, device: usize, frame: &Marks) {
        if let Some(offset) = frame.offset.filter(|_| frame.ch == CHANNELS[0]) {
            let known = self.reads.stored.entry((epoch.to_owned(), device)).or_default();
            *known = (*known).max(offset.0);
            self.mark(if frame.unread.is_some() { "marks:all" } else { "marks:stored" });
        }
        if let Some(code) = &frame.refused {
            self.mark(&format!("marks:{code}"));
        }
    }

    /// A client crashed, with this on its disk.
    pub(crate) fn crashed(&mut self, device: &Device) {
        let profile = device.disk.restored().profile.unwrap_or_default();
        let Some(profile) = validate(&profile).ok().and_then(|text| Object::parse(text).ok()) else { return };
        for mark in profile.opt_array("marks").unwrap_or_default() {
            let Ok(mark) = Object::parse(mark) else { continue };
            if mark.str("ch").as_deref() == Some(CHANNELS[0]) {
                let epoch = mark.text("epoch").unwrap_or_default();
                let known = self.reads.kept.entry((epoch, device.number)).or_default();
                *known = (*known).max(mark.u64("offset").unwrap_or_default());
                self.mark("marks:kept");
            }
        }
    }
}

/// Everybody's positions are at the server, and everybody is shown them.
pub(crate) fn reads_are_known(world: &mut World, process: usize, name: &str) -> rusqlite::Result<()> {
    let Some(one) = &world.processes[process] else { return Ok(()) };
    if one.holders == 0 || one.state != State::Online || !one.live {
        return Ok(());
    }
    let epoch = world.server.epoch();
    let Some(found) = world.server.positions(CHANNELS[0], one.device)? else { return Ok(()) };
    let own = found.own.0;
    let key = (epoch, one.device);
    let ReadsWatch { stored, kept } = &world.watch.reads;
    let lost = [("stored", stored), ("kept", kept)].into_iter().find_map(|(what, known)| {
        let known = known.get(&key).filter(|known| **known > own)?;
        Some(format!("{name} had read up to {known}, which was {what}; the server has {own}"))
    });
    if let Some(how) = lost {
        world.watch.broken("R1", how);
        return Ok(());
    }
    let Some((state, receipts)) = one.core.reads(CHANNELS[0]) else { return Ok(()) };
    let others: BTreeSet<(usize, u64)> =
        found.others.iter().map(|(_, one)| (device_of(&one.user.id), one.offset.0)).collect();
    let shown: BTreeSet<(usize, u64)> =
        receipts.iter().map(|one| (device_of(&one.user.id), one.offset.0)).collect();
    let (floor, events) = world.server.log(CHANNELS[0])?;
    let unread = events.iter().filter(|event| {
        event.offset > own && event.by != format!("u{}", one.device) && counts_as_unread(&event.kind)
    });
    let unread = unread.count() as u64;
    let how = format!(
        "{name} shows {state:?} and {shown:?}; the server has {own}, {others:?}, {unread} unread, floor {floor}"
    );
    if state.status != PeopleStatus::Live || state.position.0 != own || shown != others {
        world.watch.broken("R2", how);
    } else if floor <= own && state.unread != Some(unread) {
        world.watch.broken("R3", how);
    }
    Ok(())
}
