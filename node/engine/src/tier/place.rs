//! Which folders are one and the same, whatever their paths look like.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether two paths name one folder: through links, a mount in two places, or before it is made.
pub(crate) fn same_folder(a: &Path, b: &Path) -> bool {
    let inode = |path: &Path| path.metadata().ok().map(|facts| (facts.dev(), facts.ino()));
    resolved(a) == resolved(b) || inode(a).is_some_and(|found| inode(b) == Some(found))
}

/// The path without links: those of the part that exists, and what is to be made in it.
fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = whole.ancestors().find_map(|part| {
        let real = part.canonicalize().ok()?;
        Some(real.join(whole.strip_prefix(part).ok()?))
    });
    real.unwrap_or(whole)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_through_links_and_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("real/tier")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        assert!(same_folder(&at("real/tier"), &at("link/tier")));
        assert!(same_folder(&at("real/not/yet"), &at("link/./not/yet/")));
        assert!(!same_folder(&at("real/tier"), &at("real")));
        assert!(!same_folder(&at("real/not"), &at("link/yet")));
    }
}
