//! Power loss and device faults, emulated below a process.
//!
//! A shim, preloaded into the tested process, logs every change of the files below some folders before the change is made.
//! After the process was killed, [`DurableImage::rebuild`] turns the folders into what a disk would hold had the power gone
//! at that moment: every byte and every directory entry that was not synced is dropped ([`Survival::Nothing`]), or a seeded
//! part of them is ([`Survival::Random`]). The same shim slows devices down and fills them up ([`DeviceFaults`]).
//!
//! # What counts as durable
//! - A file's content: what it was when the last `fsync` or `fdatasync` that *returned* began. `sync_file_range`, `sync`,
//!   `syncfs`, `O_SYNC` and `O_DSYNC` promise nothing here.
//! - A directory entry (create, link, rename, unlink, mkdir, rmdir): once its own folder was synced. ext4 also makes a new
//!   file's or link's entry durable when the file is synced; [`Options::lenient_create`] grants that, the default does not, since
//!   neither POSIX nor other file systems do. A folder's entry in a root's parent is outside the roots and always durable.
//! - A rename between folders never loses the file: the new name is durable with its folder, the old one goes once both
//!   folders were synced. Journaling file systems promise more (both at once), none promises less.
//! - Everything that was there when the first process started.
//!
//! # What is not seen
//! Writes through `mmap`, through stdio (`fopen`) and by raw system calls, so also those of `rustix`; files created that way
//! are named in [`Report::unrecorded`], which a test should find empty. Two processes may append to one log, but not change
//! one root at the same time. A file that loses its name keeps its blocks (in the graveyard) until the next rebuild.

mod baseline;
mod content;
mod faults;
mod image;
mod power_loss;
mod record;
mod state;
mod survival;

pub use crate::{
    faults::{DeviceFaults, FaultError},
    image::{Destination, DurableImage, Options, RebuildError, Report},
    power_loss::{PowerLoss, PowerLossError},
    record::RecordError,
    survival::Survival,
};

/// The shared object to preload, made by this crate's build script.
pub const SHIM_LIBRARY: &str = env!("THERMOCLINE_POWER_LOSS_SHIM");
