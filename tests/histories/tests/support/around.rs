//! Faults around one node.

use thermocline_faults::{ClockError, Fault, Link, ProcessError, Signal, Surroundings, signal};
use thermocline_power_loss::FaultError;

use super::Node;

/// One node with what is around it: faults of process 0 are its own.
pub struct Around {
    pub node: Node,
    pub links: Vec<Link>,
    /// Whether a killed node comes back empty.
    pub forgets: bool,
}

impl Around {
    /// A node whose clients know its own address.
    pub fn of(node: Node) -> Self {
        Self { node, links: Vec::new(), forgets: false }
    }
}

/// A fault that could not be brought about.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum AroundError {
    /// A signal.
    Signal(#[from] ProcessError),
    /// A jump of the clock.
    Clock(#[from] ClockError),
    /// A switch of a device.
    Device(#[from] FaultError),
}

impl Surroundings for Around {
    type Error = AroundError;

    fn begin(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { .. } => self.node.kill(),
            Fault::Pause { .. } => signal(self.node.child.id(), Signal::STOP)?,
            Fault::Link { link, rule } => self.links[*link].set(*rule),
            Fault::Clock { seconds, .. } => self.node.clock().jump(*seconds)?,
            other => panic!("{other} around one node"),
        }
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> Result<(), AroundError> {
        match fault {
            Fault::Kill { .. } => {
                if self.forgets {
                    self.node.forget();
                }
                self.node.restart();
            }
            Fault::Pause { .. } => signal(self.node.child.id(), Signal::CONT)?,
            Fault::Link { link, .. } => self.links[*link].set(thermocline_faults::Rule::PASS),
            Fault::Clock { .. } => self.node.clock().jump(0)?,
            other => panic!("{other} around one node"),
        }
        Ok(())
    }
}
