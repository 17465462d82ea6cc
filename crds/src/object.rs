//! One object of any kind.
//!
//! Contract: parsing here checks types alone; what comes from a person goes through [`crate::validate`] first.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use crate::v1alpha1::{
    API_VERSION, FieldError, Migration, MigrationPolicy, StorageCluster, StorageNode, StoragePool, StorageTier,
    ValidatedCluster, ValidatedMigration, ValidatedNode, ValidatedPolicy, ValidatedPool, ValidatedTier,
};

/// The six kinds, in the order in which they are made: what is named before what names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What pools have in common.
    StorageCluster,
    /// A medium.
    StorageTier,
    /// A group of like nodes.
    StoragePool,
    /// One node.
    StorageNode,
    /// When data moves.
    MigrationPolicy,
    /// One move.
    Migration,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::StorageCluster,
        Self::StorageTier,
        Self::StoragePool,
        Self::StorageNode,
        Self::MigrationPolicy,
        Self::Migration,
    ];

    /// As a manifest writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The plural, in lower case.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        self.names().1
    }

    /// The short name.
    #[must_use]
    pub const fn short_name(self) -> &'static str {
        self.names().2
    }

    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::StorageCluster => ("StorageCluster", "storageclusters", "tc"),
            Self::StorageTier => ("StorageTier", "storagetiers", "tct"),
            Self::StoragePool => ("StoragePool", "storagepools", "tcp"),
            Self::StorageNode => ("StorageNode", "storagenodes", "tcn"),
            Self::MigrationPolicy => ("MigrationPolicy", "migrationpolicies", "tcmp"),
            Self::Migration => ("Migration", "migrations", "tcm"),
        }
    }

    /// The kind of a manifest's `kind`.
    #[must_use]
    pub fn from_manifest(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The kind a person means on a command line: kind, plural, singular or short name, in any case.
    #[must_use]
    pub fn from_argument(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        Self::ALL.into_iter().find(|kind| {
            text == kind.as_str().to_ascii_lowercase() || text == kind.plural() || text == kind.short_name()
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One object of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// What pools have in common.
    StorageCluster(StorageCluster),
    /// A medium.
    StorageTier(StorageTier),
    /// A group of like nodes.
    StoragePool(StoragePool),
    /// One node.
    StorageNode(StorageNode),
    /// When data moves.
    MigrationPolicy(MigrationPolicy),
    /// One move.
    Migration(Migration),
}

/// One object of any kind whose texts are parsed.
#[derive(Debug, Clone, PartialEq)]
pub enum Validated {
    /// What pools have in common.
    StorageCluster(ValidatedCluster),
    /// A medium.
    StorageTier(Box<ValidatedTier>),
    /// A group of like nodes.
    StoragePool(ValidatedPool),
    /// One node.
    StorageNode(ValidatedNode),
    /// When data moves.
    MigrationPolicy(ValidatedPolicy),
    /// One move.
    Migration(ValidatedMigration),
}

/// Reading or writing an object failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The `apiVersion` or `kind` is none of ours.
    #[error(
        "apiVersion {api_version:?}, kind {kind:?} is not known: apiVersion must be {API_VERSION}, kind one of {}",
        kinds()
    )]
    Unknown {
        /// What it says.
        api_version: String,
        /// What it says.
        kind: String,
    },
    /// A field is missing or of another type.
    #[error("cannot read a {kind}")]
    Read {
        /// The kind it says it is.
        kind: Kind,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The text is not one YAML document.
    #[error("cannot read an object from YAML")]
    Yaml(#[source] serde_yaml::Error),
    /// It cannot be written.
    #[error("cannot write a {kind}")]
    Write {
        /// Its kind.
        kind: Kind,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It cannot be written as YAML.
    #[error("cannot write an object as YAML")]
    WriteYaml(#[source] serde_yaml::Error),
}

/// The kinds for an error message.
pub(crate) fn kinds() -> String {
    Kind::ALL.map(Kind::as_str).join(", ")
}

macro_rules! each {
    ($self:expr, $object:ident => $result:expr) => {
        match $self {
            Object::StorageCluster($object) => $result,
            Object::StorageTier($object) => $result,
            Object::StoragePool($object) => $result,
            Object::StorageNode($object) => $result,
            Object::MigrationPolicy($object) => $result,
            Object::Migration($object) => $result,
        }
    };
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::StorageCluster(_) => Kind::StorageCluster,
            Self::StorageTier(_) => Kind::StorageTier,
            Self::StoragePool(_) => Kind::StoragePool,
            Self::StorageNode(_) => Kind::StorageNode,
            Self::MigrationPolicy(_) => Kind::MigrationPolicy,
            Self::Migration(_) => Kind::Migration,
        }
    }

    /// Its name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its metadata.
    #[must_use]
    pub const fn metadata(&self) -> &ObjectMeta {
        each!(self, object => &object.metadata)
    }

    /// Its metadata, to be changed.
    pub const fn metadata_mut(&mut self) -> &mut ObjectMeta {
        each!(self, object => &mut object.metadata)
    }

    /// The cluster it belongs to; a cluster belongs to itself.
    #[must_use]
    pub fn cluster(&self) -> &str {
        match self {
            Self::StorageCluster(_) => self.name(),
            Self::StorageTier(object) => &object.spec.cluster,
            Self::StoragePool(object) => &object.spec.cluster,
            Self::StorageNode(object) => &object.spec.cluster,
            Self::MigrationPolicy(object) => &object.spec.cluster,
            Self::Migration(object) => &object.spec.cluster,
        }
    }

    /// Reads one from JSON.
    pub fn from_json(value: Value) -> Result<Self, ObjectError> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let kind = match Kind::from_manifest(&kind) {
            Some(known) if api_version == API_VERSION => known,
            _ => return Err(ObjectError::Unknown { api_version, kind }),
        };
        let read = |source| ObjectError::Read { kind, source };
        Ok(match kind {
            Kind::StorageCluster => Self::StorageCluster(serde_json::from_value(value).map_err(read)?),
            Kind::StorageTier => Self::StorageTier(serde_json::from_value(value).map_err(read)?),
            Kind::StoragePool => Self::StoragePool(serde_json::from_value(value).map_err(read)?),
            Kind::StorageNode => Self::StorageNode(serde_json::from_value(value).map_err(read)?),
            Kind::MigrationPolicy => Self::MigrationPolicy(serde_json::from_value(value).map_err(read)?),
            Kind::Migration => Self::Migration(serde_json::from_value(value).map_err(read)?),
        })
    }

    /// Reads one from a YAML document that is known to be valid, such as a file that [`Self::to_yaml`] wrote.
    pub fn from_yaml(text: &str) -> Result<Self, ObjectError> {
        Self::from_json(serde_yaml::from_str(text).map_err(ObjectError::Yaml)?)
    }

    /// Writes it as JSON.
    pub fn to_json(&self) -> Result<Value, ObjectError> {
        fn write<T: Serialize>(kind: Kind, object: &T) -> Result<Value, ObjectError> {
            serde_json::to_value(object).map_err(|source| ObjectError::Write { kind, source })
        }
        each!(self, object => write(self.kind(), object))
    }

    /// Writes it as one YAML document.
    pub fn to_yaml(&self) -> Result<String, ObjectError> {
        each!(self, object => serde_yaml::to_string(object)).map_err(ObjectError::WriteYaml)
    }

    /// Parses its texts.
    pub fn validated(&self) -> Result<Validated, FieldError> {
        Ok(match self {
            Self::StorageCluster(object) => Validated::StorageCluster((&object.spec).try_into()?),
            Self::StorageTier(object) => Validated::StorageTier(Box::new(object.try_into()?)),
            Self::StoragePool(object) => Validated::StoragePool(object.try_into()?),
            Self::StorageNode(object) => Validated::StorageNode((&object.spec).try_into()?),
            Self::MigrationPolicy(object) => Validated::MigrationPolicy((&object.spec).try_into()?),
            Self::Migration(object) => Validated::Migration((&object.spec).try_into()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::Resource;

    #[test]
    fn the_names_of_the_kinds_are_those_of_the_generated_definitions() {
        for definition in crate::generate::definitions() {
            let names = &definition.spec.names;
            let kind = Kind::from_manifest(&names.kind);
            assert_eq!(kind.map(Kind::plural), Some(names.plural.as_str()));
            let short: Vec<&str> = names.short_names.iter().flatten().map(String::as_str).collect();
            assert_eq!(kind.map(|kind| vec![kind.short_name()]), Some(short));
            assert_eq!(names.categories.as_deref(), Some(["thermocline".to_owned()].as_slice()));
        }
        assert_eq!(StorageCluster::api_version(&()), API_VERSION);
    }

    #[test]
    fn a_kind_is_found_by_every_name_that_a_person_may_type() {
        for text in ["StorageTier", "storagetier", "storagetiers", "tct", "TCT"] {
            assert_eq!(Kind::from_argument(text), Some(Kind::StorageTier), "{text}");
        }
        assert_eq!(Kind::from_argument("tiers"), None);
    }
}
