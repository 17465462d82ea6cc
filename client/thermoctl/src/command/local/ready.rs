//! Waiting for a fleet: until it is ready, or until it is clear that nobody but a person gets it there.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use thermocline_crds::{Object, condition, reasons::Reason};
use thermocline_fleet::local::{Layout, SupervisorRecord};

use super::LOOK;
use crate::{CommandError, ExitCode, command::fleet, context::Context};

/// Waits until every node serves as declared; `ended` says why nothing more will come. What only a person can change is not
/// waited for.
pub(in crate::command) async fn wait_until_ready(
    context: &Context,
    layout: &Layout,
    wait: Duration,
    mut ended: impl FnMut() -> Option<String>,
) -> Result<(), CommandError> {
    let store = fleet::store(layout);
    let target =
        if context.printer.draws_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let spinner = ProgressBar::with_draw_target(None, target);
    spinner.enable_steady_tick(LOOK);
    let begun = Instant::now();
    loop {
        let told = SupervisorRecord::alive(layout).is_some_and(|record| record.told);
        let objects = store.list().map_err(fleet::failure("reading the fleet"))?;
        let state = Readiness::of(&objects);
        if told && state.ready {
            spinner.finish_and_clear();
            return Ok(());
        }
        spinner.set_message(state.line());
        // What an earlier supervisor told is not this one's.
        let stuck = state.stuck.as_ref().filter(|_| told);
        let late = || (begun.elapsed() >= wait).then(|| format!("not ready after {wait:?}; {GOES_ON}"));
        let over = match stuck {
            Some(stuck) => Some((stuck.code, format!("{}; {GOES_ON}", stuck.what))),
            None => ended().or_else(late).map(|why| (ExitCode::Unavailable, format!("{why}: {}", state.line()))),
        };
        if let Some((code, detail)) = over {
            spinner.finish_and_clear();
            return Err(CommandError::Fleet { attempted: "starting the fleet".to_owned(), detail, code });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What becomes of a fleet that is not waited for any longer.
const GOES_ON: &str = "the fleet is tried further in the background, `thermoctl local down` ends that";

/// How far a fleet is, from its objects.
struct Readiness {
    ready: bool,
    nodes: Vec<String>,
    message: String,
    stuck: Option<Stuck>,
}

/// What does not pass by waiting.
struct Stuck {
    code: ExitCode,
    what: String,
}

impl Readiness {
    fn of(objects: &[Object]) -> Self {
        use condition::ConditionType::{Degraded, Ready};
        let mut state = Self { ready: true, nodes: Vec::new(), message: String::new(), stuck: None };
        for object in objects {
            match object {
                Object::StorageNode(node) => {
                    let status = node.status.clone().unwrap_or_default();
                    state.nodes.push(format!("{} {:?}", object.name(), status.state));
                    let needs_attention = condition::get(&status.conditions, Degraded);
                    if let Some(told) = needs_attention.filter(|told| told.status == "True")
                        && let Some(code) = stuck_code(&told.reason)
                        && state.stuck.is_none()
                    {
                        state.stuck = Some(Stuck { code, what: format!("{}: {}", object.name(), told.message) });
                    }
                }
                Object::StorageCluster(cluster) => {
                    let conditions =
                        cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
                    state.ready &= condition::is_true(conditions, Ready, cluster.metadata.generation);
                    // What needs attention says more than that something is not ready.
                    let shown = [Degraded, Ready].into_iter().filter_map(|about| condition::get(conditions, about));
                    let mut shown = shown.filter(|one| (one.type_ == "Degraded") == (one.status == "True"));
                    if let Some(told) = shown.next() {
                        state.message.clone_from(&told.message);
                    }
                }
                _ => {}
            }
        }
        state
    }

    fn line(&self) -> String {
        format!("{}{}{}", self.nodes.join(", "), if self.nodes.is_empty() { "" } else { "; " }, self.message)
    }
}

/// How a start ends where a node is in such a state; `None` where waiting may help.
fn stuck_code(reason: &str) -> Option<ExitCode> {
    let is = |known: Reason| reason == known.as_str();
    if [Reason::Refused, Reason::CannotStart, Reason::CrashLooping, Reason::TierDamaged].into_iter().any(is) {
        return Some(ExitCode::Failed);
    }
    is(Reason::OutOfSpace).then_some(ExitCode::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_given_up_for_what_only_a_person_can_change() {
        for reason in [Reason::Refused, Reason::CannotStart, Reason::CrashLooping, Reason::TierDamaged] {
            assert_eq!(stuck_code(reason.as_str()), Some(ExitCode::Failed), "{reason:?}");
        }
        assert_eq!(stuck_code(Reason::OutOfSpace.as_str()), Some(ExitCode::Unavailable));
        // One end by itself, a device that failed: the supervisor goes on.
        assert_eq!(stuck_code(Reason::NodesNotReady.as_str()), None);
    }
}
