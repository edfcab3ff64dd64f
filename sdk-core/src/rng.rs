//! Random numbers from the client's seed, and the ids made with them.

/// xoshiro256++ 1.0 (Blackman, Vigna: "Scrambled Linear Pseudorandom Number Generators", 2021):
/// small, fast, and good for jitter and unique ids. Nothing secret is made with it.
#[derive(Clone)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Rng {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            for byte in bytes {
                *word = *word << 8 | u64::from(*byte);
            }
        }
        // The generator does not work with an all-zero state.
        if state == [0; 4] {
            state[0] = 0x9E37_79B9_7F4A_7C15;
        }
        Rng { state }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let mixed = [a ^ d ^ b, b ^ c ^ a, c ^ a ^ (b << 17), (d ^ b).rotate_left(45)];
        self.state = mixed;
        result
    }

    /// Uniform in 0 to `most`, both included. The bias of the product is below 2^-32 for the ranges
    /// used here.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

/// Makes UUIDs version 7 (RFC 9562 section 5.7), each greater than the one before even when the
/// clock goes back (section 6.2, method 1: a counter in `rand_a`).
#[derive(Clone, Default)]
pub(crate) struct Uuids {
    ms: u64,
    counter: u64,
}

impl Uuids {
    pub(crate) fn next(&mut self, wall: u64, rng: &mut Rng) -> String {
        if wall > self.ms {
            self.ms = wall;
            self.counter = rng.next() & 0x3FF;
        } else {
            self.counter += 1;
            if self.counter > 0xFFF {
                self.ms += 1;
                self.counter = 0;
            }
        }
        let high = (self.ms & 0xFFFF_FFFF_FFFF) << 16 | 7 << 12 | self.counter;
        let low = (rng.next() & 0x3FFF_FFFF_FFFF_FFFF) | 1 << 63;
        let mut id = String::with_capacity(36);
        for nibble in 0..32 {
            if matches!(nibble, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            let word = if nibble < 16 { high } else { low };
            let digit = (word >> (60 - 4 * (nibble % 16))) & 15;
            id.push(char::from(b"0123456789abcdef"[digit as usize]));
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        // The first outputs of the authors' implementation for this state.
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let expected = [
            41943041,
            58720359,
            3588806011781223,
            3591011842654386,
            9228616714210784205,
            9973669472204895162,
        ];
        assert_eq!(expected.map(|_| rng.next()), expected);
    }

    #[test]
    fn every_byte_of_the_seed_counts_and_zeros_are_no_trap() {
        let first = |seed: [u8; 32]| {
            let mut rng = Rng::new(seed);
            [rng.next(), rng.next(), rng.next()]
        };
        let mut seen = vec![first([0; 32])];
        assert_ne!(seen[0], [0; 3]);
        for at in 0..32 {
            let mut seed = [0; 32];
            seed[at] = 1;
            seen.push(first(seed));
        }
        for (at, one) in seen.iter().enumerate() {
            assert!(!seen[..at].contains(one), "{at}");
        }
    }

    #[test]
    fn a_range_is_filled_to_both_its_ends() {
        let mut rng = Rng::new([3; 32]);
        let mut counts = [0; 4];
        for _ in 0..4_000 {
            counts[rng.up_to(3) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
        assert_eq!(rng.up_to(0), 0);
    }

    /// The 128 bits of an id.
    fn bits(id: &str) -> u128 {
        assert!(crate::wire::is_uuid(id), "{id}");
        u128::from_str_radix(&id.replace('-', ""), 16).unwrap()
    }

    #[test]
    fn an_id_is_a_uuid_of_version_7_that_carries_its_time() {
        let (mut ids, mut rng) = (Uuids::default(), Rng::new([9; 32]));
        for step in 0..1_000 {
            let wall = 0x0190_1234_5678 + step * 3;
            let id = bits(&ids.next(wall, &mut rng));
            assert_eq!((id >> 80) as u64, wall);
            assert_eq!(id >> 76 & 15, 7, "version");
            assert_eq!(id >> 62 & 3, 2, "variant");
            assert!(id >> 64 & 0xFFF <= 0x3FF, "a new ms leaves room for its counter");
        }
        assert_eq!(bits(&ids.next(u64::MAX, &mut rng)) >> 80, 0xFFFF_FFFF_FFFF, "48 bits of time");
    }

    #[test]
    fn ids_rise_within_a_ms_past_its_counter_and_when_the_clock_goes_back() {
        let (mut ids, mut rng) = (Uuids::default(), Rng::new([5; 32]));
        let mut last = 0;
        let mut tails = vec![];
        for step in 0..10_000u64 {
            let wall = if step < 9_000 { 1_000_000 } else { 1_000_000 - step };
            let id = bits(&ids.next(wall, &mut rng));
            assert!(id > last);
            last = id;
            tails.push(id as u64);
        }
        assert_eq!((last >> 80) as u64, 1_000_002, "4,096 ids a ms, then the next");
        tails.sort_unstable();
        tails.dedup();
        assert_eq!(tails.len(), 10_000, "the rest is random");
    }
}
