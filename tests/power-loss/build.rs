//! Compiles the shim into a shared object of its own: it is loaded into the tested process, never linked into a program.

use std::{env, error::Error, path::PathBuf};

const SOURCES: [&str; 8] =
    ["closing.c", "configuration.c", "data.c", "descriptors.c", "faults.c", "log.c", "names.c", "sync.c"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=shim");
    let library = PathBuf::from(env::var("OUT_DIR")?).join("libthermocline_power_loss.so");

    // The `cc` crate only makes archives, so its compiler is called directly.
    let mut build = cc::Build::new();
    build.cargo_metadata(false).pic(true).warnings(true).extra_warnings(true).std("gnu11").opt_level(2);
    build.flag("-fvisibility=hidden").flag("-pthread").flag("-U_FORTIFY_SOURCE");
    let mut command = build.try_get_compiler()?.to_command();
    command.arg("-shared").arg("-o").arg(&library);
    command.args(SOURCES.map(|source| format!("shim/{source}"))).arg("-ldl");
    let status = command.status()?;
    if !status.success() {
        return Err(format!("the C compiler could not build the shim: {status}").into());
    }
    println!("cargo::rustc-env=THERMOCLINE_POWER_LOSS_SHIM={}", library.display());
    Ok(())
}
