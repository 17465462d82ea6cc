//! `delete`: an object; of a pool that holds data only where somebody says that it is meant.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use thermocline_crds::{Kind, Object};
use thermocline_fleet::local::data_folders;

use super::{Ended, fleet};
use crate::{CommandError, ExitCode, context::Context, output::estimate};

pub(super) fn run(context: &Context, kind: Kind, name: &str, yes: bool) -> Ended {
    let layout = fleet::layout(context)?;
    let store = fleet::store(&layout);
    let deleting = || format!("deleting {kind}/{name}");
    let objects = store.list().map_err(fleet::failure(deleting()))?;
    let exists = objects.iter().any(|object| object.kind() == kind && object.name() == name);
    let folders = if exists && kind == Kind::StoragePool { data_folders(&layout, name) } else { Vec::new() };
    if !folders.is_empty() && !yes {
        let about = about(name, keys(&objects, name), &folders);
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CommandError::Usage(format!("{about}; say --yes as well if that is meant")));
        }
        if !agreed(&about).map_err(|source| CommandError::Read { path: "the answer".into(), source })? {
            return Err(CommandError::Usage("nothing was deleted".to_owned()));
        }
    }
    if !store.delete(kind, name).map_err(fleet::failure(deleting()))? {
        return Err(CommandError::NotFound(format!("{kind}/{name} does not exist")));
    }
    let answer =
        serde_json::json!({ "kind": kind.as_str(), "name": name, "change": "deleted", "dataFolders": folders });
    context.printer.print(&answer, |_| format!("{kind}/{name} deleted\n"))?;
    if !folders.is_empty() {
        context.printer.remark(&format!(
            "its data stays in {}: apply the pool again as it was (name, replicas, split points, tiers) to get it back, or remove these folders to be rid of it once its nodes have stopped",
            listed(&folders)
        ));
    }
    fleet::remind(context, &layout);
    Ok(ExitCode::Success)
}

/// The keys of a pool, as its nodes told last.
fn keys(objects: &[Object], pool: &str) -> u64 {
    let nodes = objects.iter().filter_map(|object| match object {
        Object::StorageNode(node) if node.spec.pool == pool => node.status.as_ref(),
        _ => None,
    });
    nodes.flat_map(|status| &status.tiers).map(|tier| tier.keys.unsigned_abs()).sum()
}

fn about(pool: &str, keys: u64, folders: &[PathBuf]) -> String {
    format!(
        "StoragePool/{pool} holds data ({} keys on {} nodes): deleting it stops its nodes, and nobody serves these keys any more; the data itself stays in {}, and the same pool applied again serves it again (`thermoctl get tcp {pool} -o yaml` shows it)",
        estimate(keys),
        folders.len(),
        listed(folders)
    )
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Asks on the terminal; everything but a yes is a no.
fn agreed(about: &str) -> io::Result<bool> {
    write!(io::stderr().lock(), "{about}\nDelete it? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes("Yes\n"));
        for no in ["", "\n", "n\n", "yeah\n", "delete\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn what_is_asked_says_what_happens_to_the_data() {
        let text = about("main", 1234, &["/state/nodes/main-0".into(), "/state/nodes/main-1".into()]);
        for part in ["~1,234 keys on 2 nodes", "stops its nodes", "stays in /state/nodes/main-0 /state/nodes/main-1"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
