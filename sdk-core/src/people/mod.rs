//! Who is in a channel and what they are doing there: leases, which end when their holders are gone;
//! and how far they have read: positions, which never go back.

mod leases;
mod reading;
mod roster;

pub(crate) use leases::Leases;
pub(crate) use reading::Reading;
pub(crate) use roster::Roster;
