//! Which path is asked for next: by rank, more or less skewed, and the same for the same seed.

use std::path::Path;

/// The most paths, so that a file that is none of ours doesn't fill the memory.
const MAX_PATHS: usize = 1_000_000;

/// The paths, the most wanted first, and how often each is asked for.
pub struct Choice {
    paths: Vec<String>,
    /// For each rank, the share of requests for it and all before it.
    up_to: Vec<f64>,
}

impl Choice {
    /// From a file with a path a line.
    pub fn read(file: &Path, zipf: f64) -> Result<Choice, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let paths: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let wrong = paths.iter().find(|path| !path.starts_with('/') || path.contains(' '));
        match wrong {
            Some(path) => Err(format!("{}: `{path}` is no path; one begins with / and has no spaces", file.display())),
            None if paths.is_empty() => Err(format!("{} has no paths", file.display())),
            None if paths.len() > MAX_PATHS => Err(format!("{} has more than {MAX_PATHS} paths", file.display())),
            None => Ok(Choice::new(paths, zipf)),
        }
    }

    fn new(paths: Vec<String>, zipf: f64) -> Choice {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = Vec::with_capacity(paths.len());
        for rank in 1..=paths.len() {
            sum += (rank as f64).powf(-zipf);
            up_to.push(sum);
        }
        for part in &mut up_to {
            *part /= sum;
        }
        Choice { paths, up_to }
    }

    /// The number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// The next one, by its rank from 0.
    pub fn next(&self, random: &mut Random) -> usize {
        let draw = random.share();
        // Rounding may leave the last share a little below 1.
        self.up_to.partition_point(|part| *part <= draw).min(self.paths.len() - 1)
    }

    /// The path of a rank.
    pub fn path(&self, rank: usize) -> &str {
        self.paths.get(rank).map_or("/", String::as_str)
    }
}

/// Sebastiano Vigna's `SplitMix64`: quick, good enough to choose by, and the same on every machine.
pub struct Random(u64);

impl Random {
    /// The numbers of one connection.
    pub fn new(seed: u64, connection: u32) -> Random {
        let mut random = Random(seed ^ u64::from(connection).wrapping_mul(0xd134_2543_de82_ef95));
        random.number();
        random
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to just below 1.
    pub fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(paths: usize, zipf: f64, draws: usize) -> Vec<usize> {
        let choice = Choice::new((0..paths).map(|number| format!("/{number}")).collect(), zipf);
        let (mut random, mut counts) = (Random::new(7, 0), vec![0; paths]);
        (0..draws).for_each(|_| counts[choice.next(&mut random)] += 1);
        counts
    }

    #[test]
    fn ranks_are_asked_for_as_zipf_says() {
        let counts = counts(100, 1.0, 200_000);
        // 1 + 1/2 + … + 1/100.
        let all: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_usize, 2, 10, 100] {
            let expected = 200_000.0 / all / rank as f64;
            let found = counts[rank - 1] as f64;
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {found}, expected {expected}");
        }
    }

    #[test]
    fn without_skew_all_are_alike() {
        let counts = counts(10, 0.0, 100_000);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_seed_repeats_and_connections_differ() {
        let draws = |seed, connection| {
            let mut random = Random::new(seed, connection);
            (0..5).map(|_| random.number()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, 3), draws(1, 3));
        assert_ne!(draws(1, 3), draws(1, 4));
        assert_ne!(draws(1, 3), draws(2, 3));
    }

    #[test]
    fn a_file_that_is_none_of_paths_is_refused() {
        let folder = tempfile::tempdir().expect("make a folder");
        let file = folder.path().join("paths.txt");
        let read = |text: &str| {
            std::fs::write(&file, text).expect("write");
            Choice::read(&file, 1.0).map(|choice| choice.len())
        };
        assert_eq!(read("/a\n/b\n\n"), Ok(2));
        assert!(read("/a\nb\n").is_err_and(|error| error.contains("`b` is no path")));
        assert!(read("\n").is_err_and(|error| error.contains("has no paths")));
        assert!(Choice::read(&folder.path().join("none"), 1.0).is_err_and(|error| error.contains("cannot read")));
    }
}
