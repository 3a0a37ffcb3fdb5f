//! Randomness from the system.

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills the buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);

    /// A random number.
    fn number(&self) -> u64 {
        let mut bytes = [0u8; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number in `[0, 1)`.
    #[allow(clippy::cast_precision_loss)]
    fn fraction(&self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The system's entropy.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealEntropy;

impl Entropy for RealEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        #[allow(clippy::disallowed_methods)] // the one place that may ask the system
        // Without entropy no key, id or nonce is safe: ending the process is the only right answer.
        if let Err(error) = getrandom::fill(buffer) {
            panic!("the system gives no random bytes: {error}");
        }
    }
}
