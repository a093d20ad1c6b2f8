//! Chance: which connections are hit, and by how much a delay varies.

use std::time::Duration;
use wire::shard::virtual_time::Random;

/// No draw from a heavy tail is beyond this many times the jitter.
const TAIL_MAX: f64 = 100.0;

/// How delays are spread by their jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Evenly from `latency - jitter` to `latency + jitter`.
    #[default]
    Uniform,
    /// Around `latency`, the jitter being the standard deviation.
    Normal,
    /// `latency` and more: a Pareto tail with exponent 3 and scale `jitter`, which adds half the jitter on average.
    Pareto,
}

/// Uniform in 0..1.
pub(super) fn fraction(random: &mut Random) -> f64 {
    (random.bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// True with this probability.
pub(super) fn happens(random: &mut Random, share: f64) -> bool {
    share > 0.0 && fraction(random) < share
}

/// A delay around `latency`; never less than none.
pub(super) fn delay(random: &mut Random, latency: Duration, jitter: Duration, shape: Shape) -> Duration {
    if jitter.is_zero() {
        return latency;
    }
    let factor = match shape {
        Shape::Uniform => 2.0 * fraction(random) - 1.0,
        // Box and Muller; 1 - u so that no logarithm of zero is taken.
        Shape::Normal => {
            let radius = (-2.0 * (1.0 - fraction(random)).ln()).sqrt();
            radius * (std::f64::consts::TAU * fraction(random)).cos()
        }
        Shape::Pareto => ((1.0 - fraction(random)).powf(-1.0 / 3.0) - 1.0).min(TAIL_MAX),
    };
    let nanos = latency.as_nanos() as f64 + factor * jitter.as_nanos() as f64;
    Duration::from_nanos(nanos.max(0.0) as u64)
}

/// Where connection `number` stands in 0..1 for all toxics that share `salt`. The same for equal seeds.
pub(super) fn stand(seed: u64, salt: &str, number: u64) -> f64 {
    // FNV-1a over the salt; `Random` mixes it with the rest.
    let salt = salt.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut random = Random::new(Random::new(seed ^ salt).bits() ^ number);
    fraction(&mut random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(shape: Shape) -> Vec<f64> {
        let mut random = Random::new(7);
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        (0..100_000)
            .map(|_| ms(delay(&mut random, Duration::from_millis(500), Duration::from_millis(50), shape)))
            .collect()
    }

    #[test]
    fn delays_have_the_shape_that_was_asked_for() {
        for (shape, mean, least, most) in [
            (Shape::Uniform, 500.0, 450.0, 550.0),
            (Shape::Normal, 500.0, 250.0, 750.0),
            (Shape::Pareto, 525.0, 500.0, 5500.0),
        ] {
            let draws = draws(shape);
            let average = draws.iter().sum::<f64>() / draws.len() as f64;
            assert!((average - mean).abs() < 1.0, "{shape:?} {average}");
            assert!(draws.iter().all(|draw| (least..=most).contains(draw)), "{shape:?}");
            let far = draws.iter().filter(|draw| **draw > 600.0).count() as f64 / draws.len() as f64;
            let expected = match shape {
                Shape::Uniform => 0.0,
                Shape::Normal => 0.02275,
                Shape::Pareto => 1.0 / 27.0,
            };
            assert!((far - expected).abs() < 0.002, "{shape:?} {far}");
        }
    }

    #[test]
    fn a_share_is_of_connections_and_stays_with_them() {
        let hit = |seed, salt: &str| {
            (0..10_000).filter(|number| stand(seed, salt, *number) < 0.3).collect::<Vec<u64>>()
        };
        assert!((2_850..3_150).contains(&hit(1, "slow").len()));
        assert_eq!(hit(1, "slow"), hit(1, "slow"));
        assert!(hit(1, "slow") != hit(2, "slow") && hit(1, "slow") != hit(1, "lost"));
    }
}
