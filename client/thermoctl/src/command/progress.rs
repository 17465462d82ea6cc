//! Progress on a terminal; nothing where there is none.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Printer;

/// A bar over a known total, or a counter where the total is not known. Drawn on standard error.
pub(super) fn bar(printer: &Printer, total: Option<u64>, bytes: bool) -> ProgressBar {
    let target = if printer.draws_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(total, target);
    let template = match (total.is_some(), bytes) {
        (true, true) => "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        (true, false) => "{bar:30} {percent:>3} %  {human_pos}/{human_len}  {per_sec}  {eta} left  {msg}",
        (false, true) => "{spinner} {bytes}  {bytes_per_sec}  {elapsed}  {msg}",
        (false, false) => "{spinner} {human_pos}  {per_sec}  {elapsed}  {msg}",
    };
    // The templates are constants; were one wrong, the default style is still progress.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use indicatif::ProgressStyle;

    #[test]
    fn a_bar_counts_also_where_nothing_is_drawn() {
        assert!(ProgressStyle::with_template("{spinner} {human_pos}  {per_sec}  {elapsed}  {msg}").is_ok());
        let printer = crate::output::Printer { format: crate::output::Format::Table, styled: false };
        let bar = super::bar(&printer, Some(10), true);
        bar.inc(4);
        assert_eq!(bar.position(), 4);
    }
}
