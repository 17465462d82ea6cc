//! Prints an answer in the format that was asked for.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, Table, presets};
use serde::Serialize;

use crate::CommandError;

/// In which form answers are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document; of streams, one per line.
    Json,
    /// YAML; of streams, one document each.
    Yaml,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// Where the output is a terminal and `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// The decision, from what is known of the output.
    #[must_use]
    pub const fn styled(self, is_terminal: bool, no_color: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Where and how answers are printed.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// The form.
    pub format: Format,
    /// Whether colours and bold type are used.
    pub styled: bool,
}

impl Printer {
    /// Prints an answer: `table` makes the form for people.
    ///
    /// # Errors
    /// That the output cannot be written.
    pub fn print<T: Serialize>(&self, answer: &T, table: impl FnOnce(&T) -> String) -> Result<(), CommandError> {
        let text = self.render(answer, table)?;
        self.text(&text)
    }

    /// The text that [`Self::print`] writes.
    ///
    /// # Errors
    /// That the answer cannot be encoded.
    pub fn render<T: Serialize>(&self, answer: &T, table: impl FnOnce(&T) -> String) -> Result<String, CommandError> {
        match self.format {
            Format::Table => Ok(table(answer)),
            Format::Json => serde_json::to_string_pretty(answer).map_err(|error| CommandError::Encode(error.into())),
            Format::Yaml => serde_yaml::to_string(answer).map_err(|error| CommandError::Encode(error.into())),
        }
    }

    /// Writes text and, where it lacks one, a newline.
    ///
    /// # Errors
    /// That the output cannot be written.
    pub fn text(&self, text: &str) -> Result<(), CommandError> {
        let mut output = io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') || text.is_empty() { Ok(()) } else { output.write_all(b"\n") })
            .and_then(|()| output.flush())
            .map_err(CommandError::output)
    }

    /// A remark for a person, on standard error; left out where a program reads.
    pub fn remark(&self, text: &str) {
        if self.format == Format::Table {
            // A remark that cannot be shown is no reason to fail what was done.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says beside the answer what it does not tell, whatever its form: it may not be taken for the whole.
    pub fn warn(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether progress may be drawn.
    #[must_use]
    pub fn draws_progress(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Lays out rows under a header.
    #[must_use]
    pub fn table(&self, header: &[&str], rows: Vec<Vec<String>>) -> String {
        table(header, rows, self.styled)
    }
}

/// Lays out rows under a header: columns two blanks apart, no lines.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<String>>, styled: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if styled {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(header.iter().map(|title| {
        let cell = Cell::new(title);
        if styled { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn printer(format: Format) -> Printer {
        Printer { format, styled: false }
    }

    #[test]
    fn colours_need_a_terminal_and_no_no_color_unless_asked_for() {
        assert!(ColorChoice::Auto.styled(true, false));
        assert!(!ColorChoice::Auto.styled(false, false));
        assert!(!ColorChoice::Auto.styled(true, true));
        assert!(ColorChoice::Always.styled(false, true));
        assert!(!ColorChoice::Never.styled(true, false));
    }

    #[test]
    fn an_answer_is_printed_in_the_form_asked_for() {
        let answer = vec![("a", 1)];
        let shown = |format| printer(format).render(&answer, |_| "people".to_owned()).unwrap();
        assert_eq!(shown(Format::Table), "people");
        assert_eq!(serde_json::from_str::<Vec<(String, u8)>>(&shown(Format::Json)).unwrap(), [("a".to_owned(), 1)]);
        assert_eq!(serde_yaml::from_str::<Vec<(String, u8)>>(&shown(Format::Yaml)).unwrap(), [("a".to_owned(), 1)]);
    }

    #[test]
    fn a_table_lines_up_and_has_no_escape_codes_without_style() {
        let text = table(
            &["TIER", "USED"],
            vec![vec!["hot".into(), "1".into()], vec!["longer-name".into(), "22".into()]],
            false,
        );
        assert_eq!(text, "TIER         USED\nhot          1\nlonger-name  22\n");
        let styled = table(&["TIER"], Vec::new(), true);
        assert!(styled.contains('\u{1b}'), "{styled:?}");
    }
}
