//! What commands print: a table for people, JSON or YAML for programs, colours only where a terminal shows them.

mod encoding;
mod figure;
mod printer;

pub use encoding::{TextField, TextOrBase64, bound, decode_base64, record_view};
pub use figure::{bytes, count, estimate, nanos, parse_bytes, parse_some_time, parse_time, percent, rate};
pub use printer::{ColorChoice, Format, Printer};
