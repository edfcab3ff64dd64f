//! Checks how far the first channel was read: positions never go back, and what was answered or kept
//! on a device is not lost.

use crate::client::Device;
use crate::script::CHANNELS;
use crate::watch::Watch;
use std::collections::BTreeMap;
use tidewire_core::wire::Marks;
use tidewire_core::wire::json::{Object, validate};

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

    /// Checks that the server's position is not one that goes back.
    pub(crate) fn has_position(&mut self, epoch: String, device: &Device, own: u64) {
        let key = (epoch, device.number);
        let lost = [("stored", &self.reads.stored), ("kept", &self.reads.kept)]
            .into_iter()
            .find_map(|(what, known)| Some((what, *known.get(&key).filter(|known| **known > own)?)));
        if let Some((what, known)) = lost {
            let name = device.name();
            self.broken(
                "R1",
                format!("{name} had read up to {known}, which was {what}; the server has {own}"),
            );
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
