//! The policy of moves between media: as stated, and as checked against the tiers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What earns a key its place in a tier: more than `reads` in `per`, the last no longer ago than `read_within`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// The tier's name.
    pub tier: String,
    /// More reads than this ...
    pub reads: f64,
    /// ... in this long ...
    pub per: Duration,
    /// ... and the last read no longer ago than this.
    pub read_within: Duration,
}

/// A policy as an operator states it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Grows with every change.
    pub generation: u64,
    /// Nothing moves between media while set.
    pub paused: bool,
    /// Fastest first; the slowest tier takes the rest.
    pub temperatures: Vec<Temperature>,
    /// How often data is classified.
    pub evaluation_interval: Duration,
    /// Data moves up at so many times the rate at which it moves down.
    pub hysteresis: f64,
    /// Data stays at least so long where it was moved to.
    pub min_residency: Duration,
    /// Budget of moves between media; `None`: the engine's default.
    pub bytes_per_second: Option<u64>,
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The default thresholds from the fastest tier down: reads per day, read within.
const DEFAULT_THRESHOLDS: [(f64, Duration); 3] =
    [(1000.0, HOUR), (100.0, DAY), (10.0, Duration::from_secs(7 * 24 * 3600))];
/// Shorter and the classifier would never rest.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const LARGEST_HYSTERESIS: f64 = 1000.0;

impl Default for Policy {
    /// hot: more than 1000 reads per day and read within 1 h; warm: more than 100 and within 24 h; hourly.
    fn default() -> Self {
        Self::for_tiers(&["hot", "warm", "cold"])
    }
}

impl Policy {
    /// The default thresholds for tiers of these names, fastest first.
    #[must_use]
    pub fn for_tiers(names: &[&str]) -> Self {
        let all_but_slowest = &names[..names.len().saturating_sub(1)];
        Self {
            generation: 0,
            paused: false,
            temperatures: all_but_slowest
                .iter()
                .zip(DEFAULT_THRESHOLDS)
                .map(|(tier, (reads, read_within))| Temperature {
                    tier: (*tier).to_owned(),
                    reads,
                    per: DAY,
                    read_within,
                })
                .collect(),
            evaluation_interval: HOUR,
            hysteresis: 2.0,
            min_residency: Duration::from_secs(600),
            bytes_per_second: None,
        }
    }

    /// Checks the policy against the tiers' names, fastest first.
    ///
    /// # Errors
    /// The first field that is not allowed, with what is.
    pub fn validate(&self, tier_names: &[&str]) -> Result<ValidPolicy, PolicyError> {
        let mut temperatures: Vec<ValidTemperature> = Vec::with_capacity(self.temperatures.len());
        for (index, stated) in self.temperatures.iter().enumerate() {
            let checked = stated.validate(index, tier_names)?;
            if let Some(before) = temperatures.last() {
                checked.comes_after(before, index)?;
            }
            temperatures.push(checked);
        }
        if self.evaluation_interval < LEAST_INTERVAL {
            return Err(PolicyError::new("evaluationInterval", self.evaluation_interval, "at least 100ms"));
        }
        if !(1.0..=LARGEST_HYSTERESIS).contains(&self.hysteresis) {
            return Err(PolicyError::new("hysteresis", self.hysteresis, "1 to 1000"));
        }
        if self.bytes_per_second == Some(0) {
            return Err(PolicyError::new(
                "bytesPerSecond",
                0,
                "at least 1; leave it out for the default, or set paused",
            ));
        }
        Ok(ValidPolicy {
            generation: self.generation,
            paused: self.paused,
            temperatures,
            evaluation_interval: self.evaluation_interval,
            hysteresis: self.hysteresis,
            min_residency: self.min_residency,
            bytes_per_second: self.bytes_per_second,
        })
    }
}

impl Temperature {
    fn validate(&self, index: usize, tier_names: &[&str]) -> Result<ValidTemperature, PolicyError> {
        let field = |name: &str| format!("temperatures[{index}].{name}");
        let allowed = tier_names.split_last().map_or(&[][..], |(_, faster)| faster);
        let Some(tier) = allowed.iter().position(|name| *name == self.tier) else {
            let allowed = if allowed.is_empty() {
                "nothing: with one tier there is nowhere to move, leave temperatures empty".to_owned()
            } else {
                format!("one of {} (the slowest tier takes the rest)", allowed.join(", "))
            };
            return Err(PolicyError::new(field("tier"), format!("{:?}", self.tier), allowed));
        };
        if !(self.reads.is_finite() && self.reads >= 0.0) {
            return Err(PolicyError::new(field("reads"), self.reads, "a number of at least 0"));
        }
        if self.per < Duration::from_millis(1) {
            return Err(PolicyError::new(field("per"), self.per, "at least 1ms"));
        }
        if self.read_within < Duration::from_millis(1) {
            return Err(PolicyError::new(field("readWithin"), self.read_within, "at least 1ms"));
        }
        Ok(ValidTemperature {
            tier,
            name: self.tier.clone(),
            reads_per_day: self.reads * DAY.as_secs_f64() / self.per.as_secs_f64(),
            stated: self.clone(),
        })
    }
}

/// A temperature whose tier exists.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidTemperature {
    /// Index of the tier, 0 the fastest.
    pub tier: usize,
    /// The tier's name.
    pub name: String,
    /// The threshold as a daily rate.
    pub reads_per_day: f64,
    /// As the policy states it.
    pub stated: Temperature,
}

impl ValidTemperature {
    /// A faster tier asks for more, or the slower one could never be reached.
    fn comes_after(&self, faster: &Self, index: usize) -> Result<(), PolicyError> {
        if self.tier <= faster.tier {
            let allowed = format!("a tier slower than {:?}, each tier once, fastest first", faster.name);
            return Err(PolicyError::new(format!("temperatures[{index}].tier"), format!("{:?}", self.name), allowed));
        }
        if self.reads_per_day > faster.reads_per_day {
            let allowed =
                format!("at most the rate of {:?}, which is {} reads per day", faster.name, faster.reads_per_day);
            return Err(PolicyError::new(format!("temperatures[{index}].reads"), self.stated.reads, allowed));
        }
        if self.stated.read_within < faster.stated.read_within {
            let allowed = format!("at least that of {:?}, which is {:?}", faster.name, faster.stated.read_within);
            return Err(PolicyError::new(
                format!("temperatures[{index}].readWithin"),
                self.stated.read_within,
                allowed,
            ));
        }
        Ok(())
    }
}

/// A policy that fits the tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidPolicy {
    /// Of the stated policy.
    pub generation: u64,
    /// Nothing moves between media while set.
    pub paused: bool,
    /// Fastest first, none for the slowest tier.
    pub temperatures: Vec<ValidTemperature>,
    /// How often data is classified.
    pub evaluation_interval: Duration,
    /// Data moves up at so many times the rate at which it moves down.
    pub hysteresis: f64,
    /// Data stays at least so long where it was moved to.
    pub min_residency: Duration,
    /// Budget of moves between media.
    pub bytes_per_second: Option<u64>,
}

impl ValidPolicy {
    /// The half life at which rates measure what the policy asks: a rate then weighs the shortest `per` of the policy,
    /// between a second and a day.
    #[must_use]
    pub fn half_life(&self) -> Duration {
        let shortest = self.temperatures.iter().map(|temperature| temperature.stated.per).min().unwrap_or(DAY);
        shortest.mul_f64(std::f64::consts::LN_2).clamp(Duration::from_secs(1), DAY)
    }
}

/// A field of a policy that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy.{field} is {value}; allowed is {allowed}")]
pub struct PolicyError {
    /// The field, as the API names it.
    pub field: String,
    /// What it holds.
    pub value: String,
    /// What it may hold.
    pub allowed: String,
}

impl PolicyError {
    fn new(field: impl Into<String>, value: impl ShownInError, allowed: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.shown(), allowed: allowed.into() }
    }
}

/// A refused value as its error shows it.
trait ShownInError {
    fn shown(&self) -> String;
}

impl ShownInError for Duration {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl ShownInError for f64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl ShownInError for i32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl ShownInError for String {
    fn shown(&self) -> String {
        self.clone()
    }
}
