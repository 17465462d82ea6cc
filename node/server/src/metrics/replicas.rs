//! What the replicas of a node add up to: a figure for each shard would be a label without bound.

use thermocline_proto::v1::ShardStatus;

/// Sums over the replicas of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplicaFigures {
    /// That lead.
    pub leaders: u64,
    /// That vote, store data and do not lead.
    pub followers: u64,
    /// That store data and do not vote.
    pub learners: u64,
    /// That store no data.
    pub witnesses: u64,
    /// That do not run.
    pub failed: u64,
    /// That know of nobody who leads.
    pub leaderless: u64,
    /// Members of shards led here of which it is not known how far they are.
    pub unheard: u64,
    /// Entries that the member furthest behind lacks, of shards led here.
    pub lag: u64,
    /// Changes of members under way, of shards led here.
    pub jobs: u64,
    /// Bytes still to be copied for them.
    pub copy_left: u64,
}

impl ReplicaFigures {
    /// Of what the node tells of its shards.
    #[must_use]
    pub fn of(shards: &[ShardStatus]) -> Self {
        let mut sums = Self::default();
        shards.iter().for_each(|shard| sums.add(shard));
        sums
    }

    fn add(&mut self, shard: &ShardStatus) {
        if !shard.failure.is_empty() {
            self.failed += 1;
            return;
        }
        self.leaderless += u64::from(shard.leader == 0);
        let votes = shard.members.iter().any(|member| member.replica == shard.replica && member.votes);
        let role = match (shard.witness, shard.leads, votes) {
            (true, ..) => &mut self.witnesses,
            (_, true, _) => &mut self.leaders,
            (_, false, true) => &mut self.followers,
            (_, false, false) => &mut self.learners,
        };
        *role += 1;
        if shard.leads {
            let others = || shard.members.iter().filter(|member| member.replica != shard.replica);
            self.unheard += others().filter(|member| member.lag.is_none()).count() as u64;
            self.lag = others().filter_map(|member| member.lag).max().unwrap_or_default().max(self.lag);
            self.jobs += u64::from(shard.job.is_some());
            self.copy_left += shard.job.as_ref().map_or(0, |job| job.copy_bytes.saturating_sub(job.copied_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thermocline_proto::v1::{MemberStatus, ShardJob};

    fn shard(replica: u64, leads: bool, leader: u64) -> ShardStatus {
        let member =
            |replica, lag| MemberStatus { replica, node: replica, votes: true, lag, ..MemberStatus::default() };
        let members = vec![member(1, None), member(2, Some(7)), member(3, Some(900))];
        ShardStatus { replica, leads, leader, members, ..ShardStatus::default() }
    }

    #[test]
    fn replicas_are_counted_by_what_they_are_and_lag_is_of_those_led_here() {
        let job = ShardJob { copy_bytes: 100, copied_bytes: 30, ..ShardJob::default() };
        let led = ShardStatus { job: Some(job), ..shard(1, true, 1) };
        let witness = ShardStatus { witness: true, ..shard(3, false, 1) };
        let failed = ShardStatus { failure: "the device is full".to_owned(), ..shard(2, false, 0) };
        let figures = ReplicaFigures::of(&[led, shard(2, false, 0), shard(9, false, 1), witness, failed]);
        let expected = ReplicaFigures {
            leaders: 1,
            followers: 1,
            learners: 1,
            witnesses: 1,
            failed: 1,
            leaderless: 1,
            unheard: 0,
            lag: 900,
            jobs: 1,
            copy_left: 70,
        };
        assert_eq!(figures, expected);
    }
}
