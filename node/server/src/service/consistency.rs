//! Which replicas a request lets answer, as it says so itself.

use std::time::Duration;

use thermocline_proto::v1;
use thermocline_shard::host::Consistency;

use super::Rejection;

/// The oldest state that anybody may ask for, in milliseconds.
const OLDEST: u64 = 3_600_000;

/// What a read asks for; without options the leader.
pub fn of(options: Option<v1::ReadOptions>) -> Result<Consistency, Rejection> {
    let v1::ReadOptions { consistency, max_staleness_ms } = options.unwrap_or_default();
    let known = v1::Consistency::try_from(consistency).map_err(|_| Rejection::Unknown {
        field: "read.consistency".to_owned(),
        actual: consistency.to_string(),
        allowed: "0 or 1 (LEADER), 2 (FOLLOWER) or 3 (STALE)".to_owned(),
    })?;
    let staleness = |allowed: &str| Rejection::Unknown {
        field: "read.max_staleness_ms".to_owned(),
        actual: max_staleness_ms.to_string(),
        allowed: allowed.to_owned(),
    };
    match (known, max_staleness_ms) {
        (v1::Consistency::Stale, 1..=OLDEST) => Ok(Consistency::Stale(Duration::from_millis(max_staleness_ms))),
        (v1::Consistency::Stale, _) => Err(staleness("with STALE it is from 1 to 3600000; FOLLOWER shows everything")),
        (_, 1..) => Err(staleness("it is said with STALE alone")),
        (v1::Consistency::Unspecified | v1::Consistency::Leader, 0) => Ok(Consistency::Leader),
        (v1::Consistency::Follower, 0) => Ok(Consistency::Follower),
    }
}

/// As an answer says it: rounded up, and never 0, which says that nothing is missing.
pub fn staleness_ms(staleness: Option<Duration>) -> u64 {
    let whole = |age: Duration| u64::try_from(age.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    staleness.map_or(0, |age| whole(age).max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(consistency: i32, max_staleness_ms: u64) -> Result<Consistency, String> {
        of(Some(v1::ReadOptions { consistency, max_staleness_ms })).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn a_read_is_the_leaders_unless_it_says_otherwise() {
        assert_eq!(of(None).unwrap(), Consistency::Leader);
        assert_eq!(asked(0, 0).unwrap(), Consistency::Leader);
        assert_eq!(asked(1, 0).unwrap(), Consistency::Leader);
        assert_eq!(asked(2, 0).unwrap(), Consistency::Follower);
        assert_eq!(asked(3, 1500).unwrap(), Consistency::Stale(Duration::from_millis(1500)));
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_what_is_allowed() {
        assert!(asked(4, 0).unwrap_err().starts_with("read.consistency is 4; 0 or 1 (LEADER)"));
        assert!(asked(3, 0).unwrap_err().starts_with("read.max_staleness_ms is 0; with STALE it is from 1 to 3600000"));
        assert!(asked(3, 3_600_001).unwrap_err().contains("from 1 to 3600000"));
        for other in [0, 1, 2] {
            assert_eq!(asked(other, 5).unwrap_err(), "read.max_staleness_ms is 5; it is said with STALE alone");
        }
    }

    #[test]
    fn an_answer_never_says_that_it_is_newer_than_it_is() {
        assert_eq!(staleness_ms(None), 0);
        assert_eq!(staleness_ms(Some(Duration::ZERO)), 1);
        assert_eq!(staleness_ms(Some(Duration::from_micros(1001))), 2);
        assert_eq!(staleness_ms(Some(Duration::from_millis(7))), 7);
    }
}
