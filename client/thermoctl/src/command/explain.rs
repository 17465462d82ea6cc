//! `explain`: where a key is, how hot it is and which rule put it there.

use std::fmt::Write as _;

use serde::Serialize;
use thermocline_client::{DisplayKey, KeyRange};
use thermocline_proto::v1::{ExplainRequest, ExplainResponse};

use super::{
    Ended,
    heat::{KeyView, RangeView, ago, owned_by},
};
use crate::{
    CommandError, ExitCode,
    args::KeyArguments,
    context::{Context, typed_bytes},
    output::bytes,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    node: String,
    exists: bool,
    copies: Vec<CopyView>,
    in_row_cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    heat: Option<KeyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<RangeView>,
    class: String,
    rule: String,
    decision: String,
}

#[derive(Debug, Serialize)]
struct CopyView {
    tier: String,
    version: u64,
    kind: String,
    bytes: u64,
}

pub(super) async fn run(context: &Context, arguments: &KeyArguments) -> Ended {
    let key = typed_bytes(&arguments.key, arguments.base64, "key")?;
    let client = context.connect().await?;
    // In a cluster with shards the node is known once the key's shard is.
    client.route(&key).await?;
    let node = client.ranges().owner(&key);
    let request = ExplainRequest { key: key.clone().into() };
    let response =
        context.admin(&client, node, "explain", |mut admin| async move { admin.explain(request).await }).await?;
    let name = client.nodes()[node].name.clone();
    let owned = owned_by(&client, &name);
    let explanation = explanation(response, name, &owned);
    context.printer.print(&explanation, |explanation| text(context, &key, explanation))?;
    if explanation.exists {
        Ok(ExitCode::Success)
    } else {
        Err(CommandError::NotFound(format!("the key {} has no record", DisplayKey(&key))))
    }
}

fn explanation(response: ExplainResponse, node: String, owned: &KeyRange) -> Explanation {
    Explanation {
        exists: response.exists,
        copies: response
            .copies
            .into_iter()
            .map(|copy| CopyView { tier: copy.tier, version: copy.version, kind: copy.kind, bytes: copy.bytes })
            .collect(),
        in_row_cache: response.in_row_cache,
        heat: response.heat.map(|heat| KeyView::of(heat, &node)),
        range: response.range.map(|range| RangeView::of(range, &node, owned)),
        class: response.class,
        rule: response.rule,
        decision: response.decision,
        node,
    }
}

fn text(context: &Context, key: &[u8], explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "key        {}", DisplayKey(key));
    let _ = writeln!(text, "node       {}", explanation.node);
    if let Some(heat) = &explanation.heat {
        let _ = writeln!(
            text,
            "heat       {:.0} reads and {:.0} writes a day, last read {}",
            heat.reads_per_day,
            heat.writes_per_day,
            ago(heat.last_read_millis_ago)
        );
    }
    if let Some(range) = &explanation.range {
        let _ =
            writeln!(text, "range      {}: {:.0} reads a day, {}", range.shown(), range.reads_per_day, range.pattern);
    }
    let _ = writeln!(text, "row cache  {}", if explanation.in_row_cache { "yes" } else { "no" });
    let _ = writeln!(text, "class      {}", explanation.class);
    let _ = writeln!(text, "rule       {}", explanation.rule);
    let _ = writeln!(text, "decision   {}", explanation.decision);
    let rows = explanation
        .copies
        .iter()
        .map(|copy| vec![copy.tier.clone(), copy.kind.clone(), copy.version.to_string(), bytes(copy.bytes)]);
    let copies = context.printer.table(&["TIER", "COPY", "VERSION", "SIZE"], rows.collect());
    let _ = write!(text, "\n{copies}");
    text
}
