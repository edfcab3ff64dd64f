//! Randomness from the seed that was given once, and the ids made with it.

/// xoshiro256++ 1.0 (Blackman, Vigna: "Scrambled Linear Pseudorandom Number Generators", 2021): small, fast, and good for
/// jitter and unique ids. Nothing secret is made with it.
#[derive(Clone)]
pub(crate) struct Rng {
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
        // The generator's one forbidden state.
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

    /// Uniform in 0 to `most`, both included. The bias of the product is below 2^-32 for the ranges used here.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

/// Makes UUIDs version 7 (RFC 9562 section 5.7), each greater than the one before even when the clock goes back
/// (section 6.2, method 1: a counter in `rand_a`).
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
