//! Panics of tasks, which a runtime catches and nobody would see: a library's broken assertion among them.

use std::sync::OnceLock;

static FIRST: OnceLock<String> = OnceLock::new();

/// Remembers the first panic of this process.
pub fn listen() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        FIRST.get_or_init(|| panic.to_string());
        before(panic);
    }));
}

/// It, if there was one.
pub fn first() -> Option<String> {
    FIRST.get().cloned()
}
