//! `heat`: the hottest keys and ranges over all nodes.

use serde::Serialize;
use thermocline_client::{Client, DisplayKey, KeyRange};
use thermocline_proto::v1::{HeatRequest, KeyHeat, RangeHeat};

use super::Ended;
use crate::{
    answers::{Answers, ended_without},
    args::HeatArguments,
    context::Context,
    output::{TextField, TextOrBase64, bound, bytes},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeatView {
    keys: Vec<KeyView>,
    ranges: Vec<RangeView>,
    tracked_bytes: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<String>,
}

/// Heat of a key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip)]
    shown: String,
    pub(super) reads_per_day: f64,
    pub(super) writes_per_day: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_read_millis_ago: Option<u64>,
    pub(super) tier: String,
    pub(super) node: String,
}

/// Heat of a range.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RangeView {
    start: TextField,
    end: TextField,
    #[serde(skip)]
    shown: String,
    pub(super) reads_per_day: f64,
    pub(super) writes_per_day: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_read_millis_ago: Option<u64>,
    pub(super) pattern: String,
    pub(super) class: String,
    bytes: Vec<TierBytesView>,
    node: String,
}

#[derive(Debug, Serialize)]
struct TierBytesView {
    tier: String,
    bytes: u64,
}

impl KeyView {
    pub(super) fn of(heat: KeyHeat, node: &str) -> Self {
        let (key, key_base64) = TextOrBase64::of(&heat.key).fields();
        Self {
            key,
            key_base64,
            shown: DisplayKey(&heat.key).to_string(),
            reads_per_day: heat.reads_per_day,
            writes_per_day: heat.writes_per_day,
            last_read_millis_ago: since_read(heat.last_read_ms_ago),
            tier: heat.tier,
            node: node.to_owned(),
        }
    }
}

impl RangeView {
    /// Of a node that owns these keys: what it measures together may reach beyond them.
    pub(super) fn of(heat: RangeHeat, node: &str, owned: &KeyRange) -> Self {
        let start = heat.start.max(owned.start().clone());
        let end = [heat.end, owned.end().clone()].into_iter().filter(|end| !end.is_empty()).min().unwrap_or_default();
        Self {
            shown: format!("{} to {}", bound(&start, "(first key)"), bound(&end, "(last key)")),
            start: TextField::of(&start),
            end: TextField::of(&end),
            reads_per_day: heat.reads_per_day,
            writes_per_day: heat.writes_per_day,
            last_read_millis_ago: since_read(heat.last_read_ms_ago),
            pattern: heat.pattern,
            class: heat.class,
            bytes: heat.bytes.into_iter().map(|bytes| TierBytesView { tier: bytes.tier, bytes: bytes.bytes }).collect(),
            node: node.to_owned(),
        }
    }

    /// The range as a person reads it.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

pub(super) async fn run(context: &Context, arguments: &HeatArguments) -> Ended {
    let client = context.connect().await?;
    let request = HeatRequest { top_keys: arguments.keys, ranges: arguments.ranges };
    let asked = context.every_admin(&client, "heat", move |mut admin| async move { admin.heat(request).await }).await;
    let Answers { told, silent } = Answers::of(asked)?;
    let mut view = HeatView { keys: Vec::new(), ranges: Vec::new(), tracked_bytes: 0, silent };
    for (node, heat) in told {
        let owned = owned_by(&client, &node.name);
        view.tracked_bytes += heat.tracked_bytes;
        view.keys.extend(heat.keys.into_iter().map(|key| KeyView::of(key, &node.name)));
        view.ranges.extend(heat.ranges.into_iter().map(|range| RangeView::of(range, &node.name, &owned)));
    }
    view.keys.sort_by(|left, right| right.reads_per_day.total_cmp(&left.reads_per_day));
    view.keys.truncate(arguments.keys as usize);
    view.ranges.sort_by(|left, right| right.reads_per_day.total_cmp(&left.reads_per_day));
    view.ranges.truncate(arguments.ranges as usize);
    context.printer.print(&view, |view| tables(context, view))?;
    Ok(ended_without(&view.silent, &context.printer))
}

/// The keys that a node owns, as they were learned.
pub(super) fn owned_by(client: &Client, node: &str) -> KeyRange {
    let index = client.nodes().iter().position(|known| known.name == node);
    let ranges = client.ranges();
    let owned = ranges.iter().find(|(_, owner)| Some(*owner) == index);
    owned.map_or_else(KeyRange::all, |(range, _)| range.clone())
}

fn tables(context: &Context, view: &HeatView) -> String {
    let keys = view.keys.iter().map(|key| {
        vec![
            key.shown.clone(),
            format!("{:.0}", key.reads_per_day),
            format!("{:.0}", key.writes_per_day),
            ago(key.last_read_millis_ago),
            key.tier.clone(),
            key.node.clone(),
        ]
    });
    let ranges = view.ranges.iter().map(|range| {
        let held: Vec<String> = range.bytes.iter().map(|held| format!("{} {}", held.tier, bytes(held.bytes))).collect();
        vec![
            range.shown.clone(),
            format!("{:.0}", range.reads_per_day),
            format!("{:.0}", range.writes_per_day),
            range.pattern.clone(),
            range.class.clone(),
            held.join(", "),
            range.node.clone(),
        ]
    });
    let key_table =
        context.printer.table(&["KEY", "READS/DAY", "WRITES/DAY", "LAST READ", "TIER", "NODE"], keys.collect());
    let range_table = context
        .printer
        .table(&["RANGE", "READS/DAY", "WRITES/DAY", "PATTERN", "CLASS", "HELD", "NODE"], ranges.collect());
    format!("{key_table}\n{range_table}")
}

/// How long ago a key was read; nodes say the greatest number where it never was.
fn since_read(millis: u64) -> Option<u64> {
    (millis != u64::MAX).then_some(millis)
}

/// A time span since, coarsely.
pub(super) fn ago(millis: Option<u64>) -> String {
    let Some(millis) = millis else {
        return "never".to_owned();
    };
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_is_shown_in_its_largest_unit() {
        assert_eq!(ago(since_read(u64::MAX)), "never");
        assert_eq!(ago(Some(59_999)), "59s ago");
        assert_eq!(ago(Some(60_000)), "1m ago");
        assert_eq!(ago(Some(7_200_000)), "2h ago");
        assert_eq!(ago(Some(200_000_000)), "2d ago");
    }

    #[test]
    fn a_range_of_bytes_is_shown_and_encoded() {
        let view = RangeView::of(RangeHeat { start: vec![0xff].into(), ..RangeHeat::default() }, "n", &KeyRange::all());
        assert_eq!(view.shown(), "b\"\\xff\" to (last key)");
        let json = serde_json::to_value(&view).unwrap_or_default();
        assert_eq!(json["start"]["base64"], "/w==");
        assert_eq!(json["end"], "");
        let view = RangeView::of(RangeHeat { end: "m".into(), ..RangeHeat::default() }, "n", &KeyRange::all());
        assert_eq!(view.shown(), "(first key) to \"m\"");
    }

    #[test]
    fn a_range_is_shown_as_far_as_its_node_owns_it() {
        let owned = KeyRange::new("g", "n").unwrap_or_else(|_| KeyRange::all());
        for (start, end, shown) in [
            ("", "", "\"g\" to \"n\""),
            ("a", "k", "\"g\" to \"k\""),
            ("h", "z", "\"h\" to \"n\""),
            ("h", "k", "\"h\" to \"k\""),
        ] {
            let heat = RangeHeat { start: start.into(), end: end.into(), ..RangeHeat::default() };
            assert_eq!(RangeView::of(heat, "n", &owned).shown(), shown);
        }
    }
}
