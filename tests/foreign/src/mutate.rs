//! Alters a seed as a fuzzer without coverage would: flips, cuts, doublings, numbers at their bounds, words of the
//! dictionary. The same number gives the same alterations.

/// A small generator (Steele's splitmix64) and what it does to bytes.
pub struct Mutator(u64);

impl Mutator {
    /// The same number, the same alterations.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound.max(1) as u64).unwrap_or(0)
    }

    /// Up to four alterations of a copy.
    pub fn altered(&mut self, seed: &[u8], words: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            self.alter(&mut bytes, words);
        }
        bytes
    }

    fn alter(&mut self, bytes: &mut Vec<u8>, words: &[Vec<u8>]) {
        let at = self.below(bytes.len());
        let to = at + self.below(bytes.len() - at + 1).min(16);
        match self.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x40, 0x60, 0x9b][self.below(8)],
            2 => drop(bytes.drain(at..to)),
            3 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            4 if !words.is_empty() => {
                let word = words[self.below(words.len())].clone();
                bytes.splice(at..at, word);
            }
            5 if !words.is_empty() => {
                let word = words[self.below(words.len())].clone();
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word);
            }
            _ => bytes.truncate(at),
        }
    }
}
