//! The workloads that have names.

use clap::ValueEnum;

use super::{distribution::KeyDistribution, operation::Mix, zipf::Zipf};

/// A workload by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Builtin {
    /// Update heavy: 50 % reads, 50 % updates, scrambled zipf.
    YcsbA,
    /// Read mostly: 95 % reads, 5 % updates, scrambled zipf.
    YcsbB,
    /// Read only, scrambled zipf.
    YcsbC,
    /// Read latest: 95 % reads, 5 % inserts.
    YcsbD,
    /// Short ranges: 95 % scans of 1 to 100 records, 5 % inserts, scrambled zipf.
    YcsbE,
    /// Read-modify-write: 50 % reads, 50 % read-modify-writes, scrambled zipf.
    YcsbF,
    /// 90 % reads, 10 % updates, all records alike.
    Uniform,
    /// 90 % reads, 10 % updates, zipf(theta 0.99) in key order.
    Zipf,
    /// 90 % reads, 10 % updates; 95 % of them on 5 % of the records.
    Hotspot,
    /// Reads, one record after the other.
    Sequential,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::YcsbA,
        Self::YcsbB,
        Self::YcsbC,
        Self::YcsbD,
        Self::YcsbE,
        Self::YcsbF,
        Self::Uniform,
        Self::Zipf,
        Self::Hotspot,
        Self::Sequential,
    ];

    /// The shares of its operations: reads, updates, inserts, scans, read-modify-writes.
    #[must_use]
    pub const fn mix(self) -> Mix {
        match self {
            Self::YcsbA => Mix::stated([0.5, 0.5, 0.0, 0.0, 0.0]),
            Self::YcsbB => Mix::stated([0.95, 0.05, 0.0, 0.0, 0.0]),
            Self::YcsbC | Self::Sequential => Mix::stated([1.0, 0.0, 0.0, 0.0, 0.0]),
            Self::YcsbD => Mix::stated([0.95, 0.0, 0.05, 0.0, 0.0]),
            Self::YcsbE => Mix::stated([0.0, 0.0, 0.05, 0.95, 0.0]),
            Self::YcsbF => Mix::stated([0.5, 0.0, 0.0, 0.0, 0.5]),
            Self::Uniform | Self::Zipf | Self::Hotspot => Mix::stated([0.9, 0.1, 0.0, 0.0, 0.0]),
        }
    }

    /// Which records it touches.
    #[must_use]
    pub const fn distribution(self) -> KeyDistribution {
        match self {
            Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbE | Self::YcsbF => KeyDistribution::ScrambledZipf,
            Self::YcsbD => KeyDistribution::Latest,
            Self::Uniform => KeyDistribution::Uniform,
            Self::Zipf => KeyDistribution::Zipf { theta: Zipf::YCSB_THETA },
            Self::Hotspot => KeyDistribution::Hotspot { records: 0.05, operations: 0.95 },
            Self::Sequential => KeyDistribution::Sequential,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::workload::OperationKind;

    #[test]
    fn the_shares_of_every_workload_add_up() {
        for builtin in Builtin::ALL {
            let mix = builtin.mix();
            let shares = OperationKind::ALL.map(|kind| mix.share(kind));
            assert_eq!(Mix::new(shares).unwrap(), mix, "{builtin:?}");
        }
    }

    #[test]
    fn the_ycsb_workloads_are_those_of_its_core_properties() {
        let share = |builtin: Builtin, kind| builtin.mix().share(kind);
        assert_eq!(share(Builtin::YcsbA, OperationKind::Update), 0.5);
        assert_eq!(share(Builtin::YcsbB, OperationKind::Update), 0.05);
        assert_eq!(share(Builtin::YcsbC, OperationKind::Read), 1.0);
        assert_eq!(share(Builtin::YcsbD, OperationKind::Insert), 0.05);
        assert_eq!(share(Builtin::YcsbE, OperationKind::Scan), 0.95);
        assert_eq!(share(Builtin::YcsbF, OperationKind::ReadModifyWrite), 0.5);
        assert_eq!(Builtin::YcsbD.distribution(), KeyDistribution::Latest);
    }
}
