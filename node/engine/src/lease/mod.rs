//! Who may write slower tiers, and which ranges writers stay out of.

#[cfg(test)]
mod fairness_test;
mod fence;
mod range_lease;

pub(crate) use fence::Fences;
pub use range_lease::RangeLease;
pub(crate) use range_lease::{Holder, Leases};
