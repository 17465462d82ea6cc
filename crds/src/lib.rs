//! The API of `thermocline.dev/v1alpha1`: types, generated schemas, and validation without an API server.
//!
//! # Shape
//!
//! - [`v1alpha1`]: the six kinds. `StorageTierSpec` and so on are what a manifest says, with the schema's defaults filled in;
//!   `ValidatedTier` and so on are the same with every text parsed, reached by `TryFrom<&StorageTier>` (tiers and pools need
//!   their metadata) or `TryFrom<&MigrationPolicySpec>` and the like.
//! - [`Object`], [`Kind`], [`Validated`]: one object of any kind; `from_json`, `from_yaml`, `to_json`, `to_yaml`, `validated`.
//! - [`validate`]: [`validate::manifest`] reads the YAML documents that a person wrote, [`validate::update`] judges a change,
//!   [`validate::set`] judges what objects say about each other. They evaluate the generated schemas and their CEL rules.
//! - [`generate`]: the CustomResourceDefinitions, their files, and whether the committed ones differ.
//! - [`names`], [`quantity`], [`time_span`]: parsed newtypes. [`condition`], [`reasons`]: how status is told.
//!
//! A leaf: it names none of the other crates, and no client of Kubernetes.
//!
//! ```
//! use thermocline_crds::{Validated, validate};
//! let text = "{apiVersion: thermocline.dev/v1alpha1, kind: StorageTier, metadata: {name: hot},
//!              spec: {cluster: demo, rank: 0, medium: NVMe, size: 1Gi}}";
//! let located = validate::manifest(text).map_err(|violations| violations[0].to_string())?;
//! let Validated::StorageTier(tier) = located[0].object.validated().map_err(|error| error.to_string())? else {
//!     return Err("not a tier".to_owned());
//! };
//! assert_eq!((tier.size.bytes(), tier.high_percent), (1 << 30, 85));
//! # Ok::<(), String>(())
//! ```

pub mod condition;
pub mod generate;
pub mod names;
mod object;
pub mod quantity;
pub mod reasons;
mod schema;
pub mod time_span;
pub mod v1alpha1;
pub mod validate;

pub use object::{Kind, Object, ObjectError, Validated};
