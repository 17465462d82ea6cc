//! Devices that can be filled up, slowed down and partly unreadable while a store on them is open.
//!
//! A test that needs them runs its body in a process of its own: in a private mount namespace with small ext4 file
//! systems on loop devices ([`Kind::Mounted`]), which vanish with the process however it ends, or under the preloaded shim
//! that injects the errors and the delays ([`Kind::Injected`]).

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use thermocline_engine::{DeviceProbe, DeviceSpace, SystemProbe};
use thermocline_power_loss::DeviceFaults;

/// Tells the process where its devices are.
const BASE: &str = "THERMOCLINE_TEST_DEVICES";
/// ... and of which kind they are.
const KIND: &str = "THERMOCLINE_TEST_DEVICES_KIND";
/// The size of a mounted device.
const DEVICE_BYTES: u64 = 32 << 20;

/// How devices are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Small file systems on loop devices. Needs root.
    Mounted,
    /// Folders of the machine's file system, with errors and delays from the shim.
    Injected,
}

/// Devices by name, one folder each.
#[derive(Debug)]
pub struct Devices {
    base: PathBuf,
    kind: Kind,
    faults: DeviceFaults,
}

/// Runs the body of the test `name` in a process of its own with these devices. `body` gets them there.
///
/// # Errors
/// When the process cannot be started, or what the body answered.
pub fn on_devices(name: &str, kind: Kind, devices: &[&str], body: impl FnOnce(&Devices) -> Result<()>) -> Result<()> {
    if let Some(base) = std::env::var_os(BASE) {
        let kind = if std::env::var(KIND)? == "mounted" { Kind::Mounted } else { Kind::Injected };
        return body(&Devices::here(Path::new(&base), kind, devices)?);
    }
    let scratch = tempfile::tempdir()?;
    let base = fs::canonicalize(scratch.path())?;
    let program = std::env::current_exe()?;
    let kind = if kind == Kind::Mounted && !mounts_are_allowed(&base) {
        println!("{name}: mounting loop devices is not allowed here, so errors are injected instead");
        Kind::Injected
    } else {
        kind
    };
    let mut command = match kind {
        Kind::Mounted => {
            let mut command = Command::new("unshare");
            command.args(["--mount", "--propagation", "private", "--"]).arg(program);
            command
        }
        Kind::Injected => Command::new(program),
    };
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(BASE, &base);
    command.env(KIND, if kind == Kind::Mounted { "mounted" } else { "injected" });
    let folders = folders(&base, devices);
    folders.iter().try_for_each(fs::create_dir)?;
    if kind == Kind::Injected {
        DeviceFaults::new(&base.join("control"), &folders)?.command(&mut command);
    }
    let output = command.output().with_context(|| format!("start {name} on its own devices"))?;
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !String::from_utf8_lossy(&output.stdout).contains("1 passed") {
        bail!("{name} on its own devices: {}", output.status);
    }
    Ok(())
}

fn folders(base: &Path, devices: &[&str]) -> Vec<PathBuf> {
    devices.iter().map(|name| base.join(name)).collect()
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Makes a file system in a file and mounts it.
fn mount(image: &Path, folder: &Path) -> Result<()> {
    File::create(image)?.set_len(DEVICE_BYTES)?;
    let (image, folder) = (image.to_string_lossy(), folder.to_string_lossy());
    run("mkfs.ext4", &["-q", "-F", "-m", "0", "-O", "^has_journal", &image])?;
    run("mount", &["-o", "loop", &image, &folder])
}

/// Tries it, in a namespace of its own.
fn mounts_are_allowed(base: &Path) -> bool {
    let (image, folder) = (base.join("trial.image"), base.join("trial"));
    let tried = File::create(&image).and_then(|file| file.set_len(4 << 20)).and_then(|()| fs::create_dir(&folder));
    let script = format!(
        "mkfs.ext4 -q -F {image} && mount -o loop {image} {folder}",
        image = image.display(),
        folder = folder.display()
    );
    tried.is_ok() && run("unshare", &["--mount", "--propagation", "private", "--", "sh", "-c", &script]).is_ok()
}

impl Devices {
    fn here(base: &Path, kind: Kind, devices: &[&str]) -> Result<Self> {
        let folders = folders(base, devices);
        if kind == Kind::Mounted {
            for (name, folder) in devices.iter().zip(&folders) {
                mount(&base.join(format!("{name}.image")), folder)?;
            }
        }
        let faults = DeviceFaults::attach(&base.join("control"), &folders);
        Ok(Self { base: base.to_owned(), kind, faults })
    }

    /// The folder in which each device has one of its name.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Names the injected device that is full.
    fn full(&self) -> PathBuf {
        self.base.join("control").join("full-device")
    }

    /// Fills a device up to `left` bytes. One injected device is full at a time; while something is left of it, it only
    /// says so.
    ///
    /// # Errors
    /// When it cannot be filled.
    pub fn fill(&self, device: &str, left: u64) -> Result<()> {
        let folder = self.base.join(device);
        if self.kind == Kind::Injected {
            fs::write(self.full(), format!("{device} {left}"))?;
            return Ok(self.faults.fill_up(&folder, left == 0)?);
        }
        let mut filler = File::options().create(true).append(true).open(folder.join("filler"))?;
        loop {
            let free = SystemProbe.space(&folder)?.free;
            let Some(bytes) = free.checked_sub(left).filter(|bytes| *bytes > 0) else {
                return Ok(());
            };
            let block = usize::try_from(bytes.min(1 << 20))?;
            match filler.write(&vec![0xA5; block]) {
                // The last blocks of a file system may not be for data.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                written => written?,
            };
            filler.sync_all()?;
        }
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// When it cannot.
    pub fn free(&self, device: &str) -> Result<()> {
        let folder = self.base.join(device);
        match self.kind {
            Kind::Injected => {
                fs::write(self.full(), "")?;
                Ok(self.faults.fill_up(&folder, false)?)
            }
            Kind::Mounted => Ok(fs::remove_file(folder.join("filler"))?),
        }
    }

    /// Slows a device down to so many bytes a second; `None`: as fast as it is. Injected devices only.
    ///
    /// # Errors
    /// When the device is not injected.
    pub fn throttle(&self, device: &str, bytes_per_second: Option<u64>) -> Result<()> {
        Ok(self.faults.throttle(&self.base.join(device), bytes_per_second)?)
    }

    /// Lets every read of a file on a device fail, or succeed again. Injected devices only.
    ///
    /// # Errors
    /// When the device is not injected.
    pub fn unreadable(&self, file: &Path, unreadable: bool) -> Result<()> {
        Ok(self.faults.unreadable(file, unreadable)?)
    }

    /// Lets every sync of a file or folder on a device fail, or succeed again. Injected devices only.
    ///
    /// # Errors
    /// When the device is not injected.
    pub fn unsyncable(&self, path: &Path, unsyncable: bool) -> Result<()> {
        Ok(self.faults.unsyncable(path, unsyncable)?)
    }

    /// What the store asks for free space: the system, and for injected devices their switches.
    #[must_use]
    pub fn probe(&self) -> Arc<dyn DeviceProbe> {
        match self.kind {
            Kind::Mounted => Arc::new(SystemProbe),
            Kind::Injected => Arc::new(Switches { full: self.full(), base: self.base.clone() }),
        }
    }
}

/// Injected devices have a size like mounted ones, and only so much free as their switch says.
struct Switches {
    full: PathBuf,
    base: PathBuf,
}

impl DeviceProbe for Switches {
    fn space(&self, path: &Path) -> std::io::Result<DeviceSpace> {
        let full = fs::read_to_string(&self.full).unwrap_or_default();
        let left = full.split_once(' ').filter(|(device, _)| path.starts_with(self.base.join(device)));
        let left = left.and_then(|(_, left)| left.parse().ok());
        Ok(DeviceSpace { total: DEVICE_BYTES, free: left.unwrap_or(DEVICE_BYTES) })
    }
}
