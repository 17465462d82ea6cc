//! The live view: a model fed by nodes' answers, and a pure drawing of it.

mod model;
mod view;

pub(crate) use model::{Model, Update};
pub(crate) use view::draw;
