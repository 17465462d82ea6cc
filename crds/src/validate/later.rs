//! Fields that later versions will have and this one does not: their refusal says what they are for and what to write instead.
//! None of them is in a schema; one that appears there leaves this list.

use super::path::{FieldPath, Step};

const NOT_YET: &str = "which this version does not have";

/// Kind, field, what it is for, what to do instead.
const FIELDS: [(&str, &str, &str, &str); 12] = [
    ("StorageCluster", "spec.image", "names the image of the pods of a cluster", "use `version`"),
    ("StorageCluster", "spec.defaults", "gives defaults for pools", "write them in each StoragePool"),
    (
        "StorageCluster",
        "spec.deletionPolicy",
        "decides what becomes of volumes",
        "data stays until a person removes it",
    ),
    ("StorageCluster", "spec.deletionConfirmation", "confirms `deletionPolicy`", "leave it out"),
    ("StorageCluster", "spec.tls", "sets up encryption of connections", "keep the listeners on a trusted network"),
    ("StoragePool", "spec.podTemplate", "is laid over the pods of a pool", "leave it out"),
    ("StoragePool", "spec.spread", "spreads replicas over zones and nodes", "leave it out"),
    ("StoragePool", "spec.tiers.storageClassName", "chooses the volumes of pods", "leave it out"),
    ("StorageTier", "spec.storageClassName", "chooses the volumes of pods", "leave it out"),
    ("MigrationPolicy", "spec.triggers", "starts moves between nodes", "use `temperatures` for moves between media"),
    ("MigrationPolicy", "spec.cooldown", "parts moves between nodes", "use `minResidency` for moves between media"),
    ("MigrationPolicy", "spec.windows", "limits moves to times of the day", "use `tiering: Paused` and `Auto` in turn"),
];

/// What to know of a field that a later version will have.
pub(super) fn field(kind: &str, path: &FieldPath) -> Option<String> {
    let place = place(path);
    let (_, _, what, instead) = FIELDS.iter().find(|(of, field, _, _)| *of == kind && *field == place)?;
    let name = place.rsplit('.').next()?;
    Some(format!("`{name}` {what}, {NOT_YET}; {instead}"))
}

/// The way to a field, over whatever elements of lists.
fn place(path: &FieldPath) -> String {
    let fields = path.steps().iter().filter_map(|step| match step {
        Step::Field(name) => Some(name.as_str()),
        Step::Index(_) => None,
    });
    fields.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn schema(kind: &str) -> serde_json::Value {
        let definition = crate::generate::definitions().into_iter().find(|one| one.spec.names.kind == kind).unwrap();
        serde_json::to_value(definition.spec.versions[0].schema.as_ref().unwrap()).unwrap()["openAPIV3Schema"].take()
    }

    #[test]
    fn what_comes_later_is_in_no_schema_but_what_it_would_stand_in_is() {
        for (kind, path, _, _) in FIELDS {
            let mut schema = schema(kind);
            let (parents, name) = path.rsplit_once('.').unwrap();
            for parent in parents.split('.') {
                let mut below = schema["properties"][parent].take();
                assert!(below.is_object(), "{kind} {path}: there is no {parent}");
                schema = if below["items"].is_object() { below["items"].take() } else { below };
            }
            assert!(schema["properties"][name].is_null(), "{kind} {path} is there: take it off the list");
        }
    }
}
