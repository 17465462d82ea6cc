//! The judge: porcupine, a program in Go beside this crate, built from its vendored sources.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where Go is looked for when it is not on `PATH`.
const GO_ELSEWHERE: [&str; 2] = ["/usr/local/go/bin/go", "/usr/lib/go/bin/go"];
const VIOLATION: i32 = 1;
/// Builds of this process, so that each has a file of its own.
static BUILDS: AtomicU32 = AtomicU32::new(0);

/// What a history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order in which every answer is right.
    Linearizable {
        /// What was counted.
        said: String,
    },
    /// There is none.
    Violation {
        /// The key.
        said: String,
        /// porcupine's picture of it.
        picture: PathBuf,
    },
}

/// Why no verdict was reached.
#[derive(Debug, thiserror::Error)]
pub enum CheckerError {
    /// Go is not there.
    #[error(
        "Go is needed to build the checker of histories: `scripts/bootstrap --tests` installs it on Debian and Ubuntu"
    )]
    NoGo,
    /// A program could not be started.
    #[error("starting {} failed", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Go could not compile it.
    #[error("the checker of histories was not built: {0}")]
    Build(String),
    /// It could not read the history, or not judge it in time.
    #[error("the history was not judged: {0}")]
    Unjudged(String),
}

/// The built program.
#[derive(Debug, Clone)]
pub struct Checker {
    program: PathBuf,
    timeout: Duration,
}

impl Checker {
    /// Builds the program into `folder`, without a network; Go's own cache makes that quick from the second time on.
    ///
    /// # Errors
    /// That Go is missing, or what it says of the sources.
    pub fn build(folder: &Path) -> Result<Self, CheckerError> {
        let program = folder.join("histories-checker");
        // Others may be running the one that is there, or building their own: it is replaced, not written over.
        let build = BUILDS.fetch_add(1, Ordering::Relaxed);
        let new = folder.join(format!("histories-checker.{}.{build}", std::process::id()));
        let mut go = Command::new(go().ok_or(CheckerError::NoGo)?);
        go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("checker"))
            .args(["build", "-mod=vendor", "-buildvcs=false", "-o"])
            .arg(&new)
            .arg(".")
            .env("GOFLAGS", "")
            .env("GOTOOLCHAIN", "local");
        let built = run(&mut go)?;
        if !built.status.success() {
            return Err(CheckerError::Build(text(&built.stderr)));
        }
        std::fs::rename(&new, &program).map_err(|source| CheckerError::Start { program: program.clone(), source })?;
        Ok(Self { program, timeout: Duration::from_secs(120) })
    }

    /// With another time for all keys of a history together (two minutes).
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Judges a history; the picture of a violation is drawn beside its file.
    ///
    /// # Errors
    /// That it cannot be read, is empty, or takes too long.
    pub fn judge(&self, history: &Path) -> Result<Verdict, CheckerError> {
        let picture = history.with_extension("html");
        let mut command = Command::new(&self.program);
        command.arg("-timeout").arg(format!("{}s", self.timeout.as_secs()));
        command.arg("-html").arg(&picture).arg(history);
        let output = run(&mut command)?;
        let said = text(&output.stdout);
        match output.status.code() {
            Some(0) => Ok(Verdict::Linearizable { said }),
            Some(VIOLATION) => Ok(Verdict::Violation { said, picture }),
            _ => Err(CheckerError::Unjudged(text(&output.stderr))),
        }
    }
}

fn go() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&on_path).map(|folder| folder.join("go"));
    named.chain(GO_ELSEWHERE.map(PathBuf::from)).find(|program| program.is_file())
}

fn run(command: &mut Command) -> Result<Output, CheckerError> {
    let program = PathBuf::from(command.get_program());
    command.output().map_err(|source| CheckerError::Start { program, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
