//! The rig's store does what drivers' stores do, so that what is tested with it holds for them.

use crate::rig::Store;
use crate::store_cases::{cases, sorted};

#[test]
fn the_rigs_store_passes_the_cases_of_every_store() {
    for case in cases() {
        let mut store = Store::default();
        for change in &case.changes {
            store.apply(change);
        }
        assert_eq!(sorted(store.restored()), case.then, "{}", case.name);
    }
}
