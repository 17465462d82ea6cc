//! `shards`: which nodes have which keys, who leads, and what changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use thermocline_client::NodeEndpoint;
use thermocline_proto::v1::{MemberStatus, NodeStatus, ShardJob, ShardStatus};

use super::Ended;
use crate::{
    answers::{Answers, ended_without},
    context::Context,
    output::{TextField, bound, bytes, estimate, rate},
};

/// A shard, as its leader tells it; where nobody leads, as the replica that is furthest does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardView {
    shard: u64,
    epoch: u64,
    start: TextField,
    end: TextField,
    #[serde(skip)]
    shown: String,
    /// The node that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    members: Vec<MemberView>,
    bytes: u64,
    records: u64,
    reads_per_second: f64,
    writes_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// What is wrong with it, in words.
    problems: Vec<String>,
}

/// A replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    node: String,
    replica: u64,
    role: &'static str,
    /// Entries that it lacks, where the leader knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ShardsView {
    shards: Vec<ShardView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<String>,
}

pub(super) async fn run(context: &Context) -> Ended {
    let client = context.connect().await?;
    let Answers { told, silent } = Answers::of(context.statuses(&client).await)?;
    let view = ShardsView { shards: view(&told), silent };
    context.printer.print(&view, |view| {
        if view.shards.is_empty() {
            return "no shards: the pools of this cluster have no replication, each node owns a range of keys\n"
                .to_owned();
        }
        let header = ["SHARD", "KEYS", "LEADER", "FOLLOWERS", "WITNESS", "SIZE", "RECORDS", "READS", "WRITES", "STATE"];
        context.printer.table(&header, view.shards.iter().map(row).collect())
    })?;
    Ok(ended_without(&view.silent, &context.printer))
}

fn view(told: &[(NodeEndpoint, NodeStatus)]) -> Vec<ShardView> {
    let names: BTreeMap<u64, &str> = told.iter().map(|(node, status)| (status.node_id, node.name.as_str())).collect();
    let mut best: BTreeMap<u64, &ShardStatus> = BTreeMap::new();
    for shard in told.iter().flat_map(|(_, status)| &status.shards) {
        let rank = |of: &ShardStatus| (of.leads, of.term, of.applied);
        if best.get(&shard.shard).is_none_or(|known| rank(known) < rank(shard)) {
            best.insert(shard.shard, shard);
        }
    }
    let mut shards: Vec<&ShardStatus> = best.into_values().collect();
    // The cluster's own first, then by key.
    shards.sort_by_key(|shard| (shard.shard != 0, shard.start.clone()));
    let failures = failures(told);
    shards.into_iter().map(|shard| ShardView::of(shard, &names, &failures)).collect()
}

/// Why replicas do not run, by their numbers.
fn failures(told: &[(NodeEndpoint, NodeStatus)]) -> BTreeMap<u64, &str> {
    let all = told.iter().flat_map(|(_, status)| &status.shards);
    all.filter(|shard| !shard.failure.is_empty()).map(|shard| (shard.replica, shard.failure.as_str())).collect()
}

impl ShardView {
    fn of(told: &ShardStatus, names: &BTreeMap<u64, &str>, failures: &BTreeMap<u64, &str>) -> Self {
        let name = |node: u64| names.get(&node).map_or_else(|| format!("node {node}"), |name| (*name).to_owned());
        let of = if told.shard == 0 { ("the index of shards", "") } else { ("(first key)", "(last key)") };
        let shown = match told.shard {
            0 => of.0.to_owned(),
            _ => format!("{} to {}", bound(&told.start, of.0), bound(&told.end, of.1)),
        };
        let member = |member: &MemberStatus| MemberView {
            node: name(member.node),
            replica: member.replica,
            role: role(member),
            lag: member.lag,
        };
        Self {
            shard: told.shard,
            epoch: told.epoch,
            start: TextField::of(&told.start),
            end: TextField::of(&told.end),
            shown,
            leader: told
                .leads
                .then(|| told.members.iter().find(|member| member.replica == told.replica))
                .flatten()
                .map(|leader| name(leader.node)),
            members: told.members.iter().map(member).collect(),
            bytes: told.bytes.iter().map(|of| of.bytes).sum(),
            records: told.records,
            reads_per_second: told.reads_per_second,
            writes_per_second: told.writes_per_second,
            job: told.job.as_ref().map(|job| job_in_words(job, &name)),
            problems: problems(told, &name, names, failures),
        }
    }

    fn nodes(&self, role: &str) -> String {
        let of_role = self.members.iter().filter(|member| member.role == role);
        let others: Vec<&str> =
            of_role.map(|member| member.node.as_str()).filter(|node| Some(*node) != self.leader.as_deref()).collect();
        if others.is_empty() { "-".to_owned() } else { others.join(" ") }
    }
}

const fn role(member: &MemberStatus) -> &'static str {
    match (member.witness, member.votes) {
        (true, _) => "witness",
        (false, true) => "data",
        (false, false) => "learner",
    }
}

fn job_in_words(job: &ShardJob, name: &impl Fn(u64) -> String) -> String {
    let nodes = [(job.from, " from "), (job.to, " to ")].into_iter().filter(|(node, _)| *node != 0);
    let way: String = nodes.map(|(node, word)| format!("{word}{}", name(node))).collect();
    let share = match (job.copied_bytes, job.copy_bytes) {
        (_, 0) => String::new(),
        (copied, all) => format!(", {} of {}", bytes(copied), bytes(all)),
    };
    let state = match (job.cancelled, job.paused) {
        (true, _) => ", is taken back",
        (_, true) => ", paused",
        _ => "",
    };
    format!("{}{way}{share}{state}", job.kind)
}

fn problems(
    told: &ShardStatus,
    name: &impl Fn(u64) -> String,
    there: &BTreeMap<u64, &str>,
    failures: &BTreeMap<u64, &str>,
) -> Vec<String> {
    let mut problems = Vec::new();
    if !told.leads {
        problems.push("nobody leads".to_owned());
    }
    let away: BTreeSet<u64> =
        told.members.iter().map(|member| member.node).filter(|node| !there.contains_key(node)).collect();
    problems.extend(away.into_iter().map(|node| format!("{} does not answer", name(node))));
    let failed = told.members.iter().filter_map(|member| Some((member, failures.get(&member.replica)?)));
    problems.extend(failed.map(|(member, why)| format!("on {} it does not run: {why}", name(member.node))));
    problems
}

fn row(shard: &ShardView) -> Vec<String> {
    let state = shard.problems.iter().chain(&shard.job).cloned().collect::<Vec<_>>().join("; ");
    vec![
        shard.shard.to_string(),
        shard.shown.clone(),
        shard.leader.clone().unwrap_or_else(|| "-".to_owned()),
        [shard.nodes("data"), shard.nodes("learner")]
            .into_iter()
            .filter(|nodes| nodes != "-")
            .collect::<Vec<_>>()
            .join(" "),
        shard.nodes("witness"),
        bytes(shard.bytes),
        estimate(shard.records),
        rate(shard.reads_per_second),
        rate(shard.writes_per_second),
        if state.is_empty() { "ok".to_owned() } else { state },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64, shards: Vec<ShardStatus>) -> (NodeEndpoint, NodeStatus) {
        let name = format!("main-{number}");
        let endpoint = NodeEndpoint { name, kv: String::new(), admin: String::new(), http: None, range: None };
        (endpoint, NodeStatus { node_id: number, shards, ..NodeStatus::default() })
    }

    fn member(node: u64) -> MemberStatus {
        MemberStatus { replica: node, node, votes: true, witness: node == 3, lag: None }
    }

    fn shard(replica: u64, leads: bool) -> ShardStatus {
        let members = vec![member(1), member(2), member(3)];
        ShardStatus { shard: 5, replica, leads, term: 4, start: "a".into(), members, ..ShardStatus::default() }
    }

    #[test]
    fn a_shard_is_told_by_its_leader_with_the_names_of_its_nodes() {
        let told = [node(1, vec![shard(1, false)]), node(2, vec![shard(2, true)]), node(3, vec![shard(3, false)])];
        let shards = view(&told);
        let row = row(&shards[0]);
        assert_eq!(&row[..5], ["5", "\"a\" to (last key)", "main-2", "main-1", "main-3"]);
        assert_eq!(row.last().map(String::as_str), Some("ok"));
    }

    #[test]
    fn a_node_that_does_not_answer_a_replica_that_does_not_run_and_a_missing_leader_are_named() {
        let failed = ShardStatus { failure: "the device is full".to_owned(), ..shard(1, false) };
        let shards = view(&[node(1, vec![failed]), node(3, vec![shard(3, false)])]);
        let problems = shards[0].problems.join("; ");
        assert_eq!(problems, "nobody leads; node 2 does not answer; on main-1 it does not run: the device is full");
    }

    #[test]
    fn what_changes_is_told_with_how_far_it_is() {
        let job = ShardJob {
            kind: "MoveReplica".into(),
            from: 1,
            to: 3,
            copied_bytes: 1 << 20,
            copy_bytes: 4 << 20,
            ..ShardJob::default()
        };
        let words = job_in_words(&job, &|node| format!("main-{node}"));
        assert_eq!(words, "MoveReplica from main-1 to main-3, 1.0 MiB of 4.0 MiB");
    }
}
