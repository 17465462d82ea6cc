//! `policy`: what is in force, and how it is changed.
//!
//! A fleet keeps its policies as objects and brings them to its nodes, so there the object is changed. Named by
//! `--endpoints`, nodes are told directly; they do not give a policy back, so pausing needs the manifest in force.

use std::path::Path;

use futures::future::join_all;
use serde::Serialize;
use thermocline_client::{Client, NodeEndpoint};
use thermocline_crds::{
    Validated,
    v1alpha1::{Tiering, ValidatedPolicy},
    validate,
};
use thermocline_fleet::policy_message::policy_message;
use thermocline_proto::v1::{NodeStatus, Policy, SetPolicyRequest};

use super::{
    Ended, fleet,
    manifests::{text_of, violations_text},
    objects,
};
use crate::{
    CommandError, ExitCode,
    answers::{Answers, ended_without},
    args::{PolicyCommand, PolicyTarget},
    context::Context,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InForce {
    node: String,
    policy_generation: u64,
    mover: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    classified_millis_ago: Option<u64>,
}

pub(super) async fn run(context: &Context, command: &PolicyCommand) -> Ended {
    let direct = context.global.endpoints.is_some();
    match command {
        PolicyCommand::Show => show(context, direct).await,
        PolicyCommand::Set { file } if direct => set_on_nodes(context, &read(file)?).await,
        PolicyCommand::Set { file } => {
            // Refused here where the file is no policy; the fleet takes any manifest.
            read(file)?;
            objects::apply(context, std::slice::from_ref(file)).await
        }
        PolicyCommand::Pause(target) => change(context, target, direct, Tiering::Paused).await,
        PolicyCommand::Resume(target) => change(context, target, direct, Tiering::Auto).await,
    }
}

async fn change(context: &Context, target: &PolicyTarget, direct: bool, tiering: Tiering) -> Ended {
    match (&target.file, direct) {
        (Some(file), true) => {
            let mut policy = read(file)?;
            policy.tiering = tiering;
            set_on_nodes(context, &policy).await
        }
        (None, true) => Err(CommandError::Usage(
            "nodes do not give their policy back: name the manifest that is in force with -f FILE".to_owned(),
        )),
        (Some(_), false) => Err(CommandError::Usage(
            "-f is for nodes named by --endpoints; a fleet keeps its policies: name one, or none where there is only one".to_owned(),
        )),
        (None, false) => fleet::set_tiering(context, target.name.as_deref(), tiering).await,
    }
}

async fn show(context: &Context, direct: bool) -> Ended {
    let client = context.connect().await?;
    let Answers { told, silent } = Answers::of(context.statuses(&client).await)?;
    let in_force = |(node, status): (NodeEndpoint, NodeStatus)| {
        let mover = status.mover.unwrap_or_default();
        InForce {
            node: node.name,
            policy_generation: status.policy_generation,
            mover: mover.state,
            classified_millis_ago: Some(mover.last_classified_ms_ago),
        }
    };
    let rows: Vec<InForce> = told.into_iter().map(in_force).collect();
    let policies = if direct { Vec::new() } else { fleet::policies(context)? };
    let mut answer = serde_json::json!({ "policies": policies, "nodes": rows });
    if !silent.is_empty() {
        answer["silent"] = serde_json::json!(silent);
    }
    context.printer.print(&answer, |_| {
        let nodes = context.printer.table(
            &["NODE", "POLICY GENERATION", "MOVER", "CLASSIFIED"],
            rows.iter()
                .map(|row| {
                    vec![
                        row.node.clone(),
                        row.policy_generation.to_string(),
                        row.mover.clone(),
                        row.classified_millis_ago.map_or_else(String::new, |millis| super::heat::ago(Some(millis))),
                    ]
                })
                .collect(),
        );
        if policies.is_empty() && !direct {
            return format!("{nodes}\nno MigrationPolicy: the defaults are in force\n");
        }
        policies.iter().fold(nodes, |text, policy| {
            let shown = serde_yaml::to_string(policy).unwrap_or_default();
            format!("{text}---\n{shown}")
        })
    })?;
    Ok(ended_without(&silent, &context.printer))
}

/// Reads a manifest that holds one MigrationPolicy.
fn read(path: &Path) -> Result<ValidatedPolicy, CommandError> {
    parse(&text_of(path)?).map_err(|detail| CommandError::Manifest { what: path.display().to_string(), detail })
}

fn parse(text: &str) -> Result<ValidatedPolicy, String> {
    let objects = validate::manifest(text).map_err(|violations| violations_text(&violations))?;
    let mut policies = Vec::new();
    for located in &objects {
        match located.object.validated().map_err(|error| error.to_string())? {
            Validated::MigrationPolicy(policy) => policies.push(policy),
            _ => return Err(format!("it holds a {}; only one MigrationPolicy is allowed", located.object.kind())),
        }
    }
    match <[_; 1]>::try_from(policies) {
        Ok([policy]) => Ok(policy),
        Err(policies) => Err(format!("it holds {} MigrationPolicies; exactly one is allowed", policies.len())),
    }
}

async fn set_on_nodes(context: &Context, policy: &ValidatedPolicy) -> Ended {
    let client = context.connect().await?;
    let mut statuses = Vec::new();
    for (_, status) in context.statuses(&client).await {
        statuses.push(status?);
    }
    // Above what any node has, so that all of them take it.
    let generation = statuses.iter().map(|status| status.policy_generation).max().unwrap_or(0) + 1;
    let policies = statuses
        .iter()
        .map(|status| {
            resolve(policy, status, generation)
                .map_err(|detail| CommandError::Manifest { what: "the policy".to_owned(), detail })
        })
        .collect::<Result<Vec<_>, _>>()?;
    send(context, &client, policies).await?;
    context.printer.print(&serde_json::json!({ "generation": generation }), |_| {
        format!("policy generation {generation} is in force on {} nodes", statuses.len())
    })?;
    Ok(ExitCode::Success)
}

async fn send(context: &Context, client: &Client, policies: Vec<Policy>) -> Result<(), CommandError> {
    let sent = policies.into_iter().enumerate().map(|(node, policy)| {
        context.admin(client, node, "set policy", |mut admin| async move {
            admin.set_policy(SetPolicyRequest { policy: Some(policy) }).await
        })
    });
    let (mut done, mut failures) = (Vec::new(), Vec::new());
    for (node, answer) in client.nodes().iter().zip(join_all(sent).await) {
        match answer {
            Ok(_) => done.push(format!("node {} took it", node.name)),
            Err(error) => failures.push(error.of_change("`thermoctl policy show` shows the generation in force")),
        }
    }
    CommandError::unless_all(&done, failures)
}

/// The policy with tiers in the node's order.
fn resolve(policy: &ValidatedPolicy, status: &NodeStatus, generation: u64) -> Result<Policy, String> {
    let mut tiers: Vec<_> = status.tiers.iter().collect();
    tiers.sort_by_key(|tier| tier.rank);
    let names: Vec<&str> = tiers.iter().map(|tier| tier.name.as_str()).collect();
    let Some((slowest, faster)) = names.split_last() else {
        return Err(format!("node {} reports no tiers", status.node));
    };
    for tier in policy.temperatures.keys() {
        if !faster.contains(&tier.as_str()) {
            return Err(format!(
                "temperatures names the tier {:?}; allowed are {} (the slowest, {slowest:?}, takes the rest)",
                tier.as_str(),
                faster.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
            ));
        }
    }
    Ok(policy_message(Some(policy), faster.iter().copied(), generation))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use thermocline_proto::v1::TierStatus;

    use super::*;

    fn node() -> NodeStatus {
        let tier = |name: &str, rank| TierStatus { name: name.into(), rank, ..TierStatus::default() };
        NodeStatus { tiers: vec![tier("hot", 0), tier("warm", 10), tier("cold", 20)], ..NodeStatus::default() }
    }

    fn manifest(spec: &str) -> String {
        format!(
            "{{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {{name: by-heat}}, spec: {{cluster: demo, {spec}}}}}"
        )
    }

    #[test]
    fn a_manifest_becomes_a_policy_with_tiers_in_the_order_of_the_node() {
        let text = manifest(
            "tiering: Paused, evaluationInterval: 2s, minResidency: 1m, temperatures: {warm: {reads: 5, per: 1h, readWithin: 10m}, hot: {reads: 50, per: 1h, readWithin: 1m}}",
        );
        let policy = resolve(&parse(&text).unwrap(), &node(), 7).unwrap();
        assert_eq!((policy.generation, policy.tiering_paused), (7, true));
        assert_eq!((policy.evaluation_interval_ms, policy.min_residency_ms), (2000, 60_000));
        let tiers: Vec<_> = policy
            .temperatures
            .iter()
            .map(|one| (one.tier.as_str(), one.reads, one.per_ms, one.read_within_ms))
            .collect();
        assert_eq!(tiers, [("hot", 50.0, 3_600_000, 60_000), ("warm", 5.0, 3_600_000, 600_000)]);
    }

    #[test]
    fn a_policy_without_thresholds_leaves_them_to_the_node() {
        let policy = resolve(&parse(&manifest("")).unwrap(), &node(), 1).unwrap();
        assert_eq!(policy.temperatures, []);
        assert_eq!(policy.promote_over_demote, 2.0);
    }

    #[test]
    fn a_tier_that_is_not_there_or_takes_the_rest_is_refused() {
        for tier in ["lukewarm", "cold"] {
            let text = manifest(&format!("temperatures: {{{tier}: {{reads: 5, readWithin: 1h}}}}"));
            let error = resolve(&parse(&text).unwrap(), &node(), 1).unwrap_err();
            assert!(error.contains("\"hot\", \"warm\""), "{error}");
        }
    }

    #[test]
    fn a_file_that_holds_anything_else_is_refused() {
        assert!(parse("").unwrap_err().contains("exactly one"));
        let cluster = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageCluster, metadata: {name: demo}, spec: {version: 0.1.0}}";
        assert!(parse(cluster).unwrap_err().contains("StorageCluster"));
        assert!(parse(&manifest("nonsense: 1")).unwrap_err().contains("nonsense"));
    }
}
