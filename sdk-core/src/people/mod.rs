//! Who is in a channel and what they are doing there: leases, which end when their holders are gone.

mod leases;
mod roster;

pub(crate) use leases::Leases;
pub(crate) use roster::Roster;
