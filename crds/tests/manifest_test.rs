//! Manifests as people write them: where a complaint points, what is filled in, and what survives a round trip.
#![allow(clippy::unwrap_used, clippy::panic)]

use thermocline_crds::v1alpha1::{StorageTier, StorageTierSpec};
use thermocline_crds::{Kind, Object, validate};

const TWO: &str = "\
# a comment
apiVersion: thermocline.dev/v1alpha1
kind: StorageCluster
metadata:
  name: demo
spec:
  version: 0.1.0
---
apiVersion: thermocline.dev/v1alpha1
kind: StoragePool
metadata: {name: main}
spec:
  cluster: demo
  tiers:
    - name: hot
    - size: 1Gi
      name: warm
    - name: COLD
  colour: blue
";

#[test]
fn a_complaint_names_the_document_the_line_the_object_and_the_field() {
    let complaints: Vec<String> = validate::manifest(TWO).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(complaints.len(), 2, "{complaints:#?}");
    assert!(
        complaints[0].starts_with("document 2, line 19: StoragePool/main: spec.colour: unknown field"),
        "{}",
        complaints[0]
    );
    assert!(
        complaints[1].starts_with("document 2, line 18: StoragePool/main: spec.tiers[2].name: \"COLD\""),
        "{}",
        complaints[1]
    );
}

#[test]
fn a_missing_field_points_at_what_should_hold_it() {
    let text = TWO.replace("  version: 0.1.0\n", "  pause: true\n");
    let complaints = validate::manifest(&text).unwrap_err();
    assert_eq!((complaints[0].document, complaints[0].line), (Some(1), Some(6)), "{}", complaints[0]);
}

#[test]
fn a_torn_document_tells_its_line_and_hides_nothing_that_came_before() {
    let text = format!("{}---\nkind: [", TWO.replace("0.1.0", "latest"));
    let complaints = validate::manifest(&text).unwrap_err();
    assert_eq!(complaints[0].document, Some(1));
    let last = complaints.last().unwrap();
    assert!(last.message.contains("not readable as YAML"), "{last}");
    assert!(last.line >= Some(20), "{last}");
}

#[test]
fn defaults_are_filled_in_at_every_depth() {
    let text = "{apiVersion: thermocline.dev/v1alpha1, kind: MigrationPolicy, metadata: {name: p},
                 spec: {cluster: demo, temperatures: {hot: {reads: 5, readWithin: 1h}}}}";
    let Object::MigrationPolicy(policy) = validate::manifest(text).unwrap().remove(0).object else {
        panic!("not a policy")
    };
    assert_eq!(policy.spec.temperatures["hot"].per, "24h");
    assert_eq!(policy.spec.evaluation_interval, "1h");
    assert_eq!(policy.spec.min_residency, "10m");
}

#[test]
fn an_object_made_in_code_gets_the_defaults_of_its_schema() {
    let spec: StorageTierSpec =
        serde_yaml::from_str("{cluster: demo, rank: 0, medium: NVMe, size: 1Gi, watermarks: {highPercent: 80}}")
            .unwrap();
    let object = validate::with_defaults(&Object::StorageTier(StorageTier::new("hot", spec))).unwrap();
    let Object::StorageTier(tier) = object else { panic!("not a tier") };
    assert_eq!((tier.spec.watermarks.high_percent, tier.spec.watermarks.low_percent), (80, 75));
}

#[test]
fn what_is_written_is_read_as_the_same_object_and_accepted_again() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/good");
    let mut kinds = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for located in validate::manifest(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap() {
            let written = located.object.to_yaml().unwrap();
            assert_eq!(Object::from_yaml(&written).unwrap(), located.object);
            assert_eq!(validate::manifest(&written).unwrap()[0].object, located.object);
            kinds.insert(located.object.kind());
        }
    }
    assert_eq!(kinds, Kind::ALL.into_iter().collect());
}
