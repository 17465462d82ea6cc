//! `crdgen [--check] [FOLDER]`: writes the CustomResourceDefinitions, or says which committed file differs.
//!
//! The folder is `charts/thermocline/files/crds` under the current one unless given. Exit status: 0 done or no difference,
//! 1 a difference (each named on standard error) or a file that cannot be accessed, 2 a wrong argument.

use std::path::PathBuf;
use std::process::ExitCode;

use thermocline_crds::generate;

const DEFAULT_FOLDER: &str = "charts/thermocline/files/crds";

fn main() -> ExitCode {
    let mut check = false;
    let mut folder = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--check" => check = true,
            flag if flag.starts_with('-') || folder.is_some() => {
                eprintln!("crdgen: unexpected argument {flag:?}; usage: crdgen [--check] [FOLDER]");
                return ExitCode::from(2);
            }
            path => folder = Some(PathBuf::from(path)),
        }
    }
    let folder = folder.unwrap_or_else(|| PathBuf::from(DEFAULT_FOLDER));
    let outcome = if check { generate::drift(&folder) } else { generate::write(&folder).map(|()| Vec::new()) };
    match outcome {
        Ok(differing) if differing.is_empty() => ExitCode::SUCCESS,
        Ok(differing) => {
            for path in differing {
                eprintln!("crdgen: {} is not what the types say; run crdgen and commit the result", path.display());
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("crdgen: {error}{source}");
            ExitCode::FAILURE
        }
    }
}
