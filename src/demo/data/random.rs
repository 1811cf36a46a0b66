//! Random numbers that are the same everywhere: integers only, no crate whose next version may draw differently.

/// `SplitMix64` (Steele, Lea, Flood 2014): small, well mixed, and defined to the bit.
pub struct SplitMix64(u64);

impl SplitMix64 {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` − 1, or 0 when `bound` is 0. The multiplication's bias is below 2⁻³² for the bounds in use.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// An index into a list of `len` entries.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in `percent` of 100 draws.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Draws an index with a probability in proportion to its weight.
pub struct Weighted {
    /// Running sums of the weights.
    sums: Vec<u64>,
}

impl Weighted {
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut total = 0_u64;
        let sums = weights.into_iter().map(|weight| {
            total = total.saturating_add(weight);
            total
        });
        Self { sums: sums.collect() }
    }

    /// The weights must not all be zero; an empty list gives 0.
    pub fn draw(&self, random: &mut SplitMix64) -> usize {
        let total = self.sums.last().copied().unwrap_or(0);
        let at = random.below(total);
        self.sums.partition_point(|sum| *sum <= at)
    }
}
