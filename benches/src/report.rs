//! The results: per figure the medians, and the ratio pair by pair.

use std::fmt;

use serde::Serialize;

use crate::machine::Machine;

/// One figure.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What was measured, with everything that matters: value size, durability, distribution.
    pub name: String,
    /// What the numbers count.
    pub unit: &'static str,
    /// The median of ours.
    pub ours: f64,
    /// The median of raw RocksDB's, where there is one.
    pub raw: Option<f64>,
    /// The median of ours over raw, pair by pair, with the least and the largest.
    pub ratio: Option<[f64; 3]>,
    /// What is promised, as text.
    pub goal: &'static str,
    /// Whether it is kept.
    pub kept: bool,
}

/// All figures.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    seed: u64,
    figures: Vec<Figure>,
}

/// The middle of some numbers.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    pub const fn new(machine: Machine, seed: u64) -> Self {
        Self { machine, seed, figures: Vec::new() }
    }

    /// Adds a figure that stands alone.
    pub fn single(
        &mut self,
        name: &str,
        unit: &'static str,
        ours: &[f64],
        goal: &'static str,
        keeps: impl Fn(f64) -> bool,
    ) {
        let ours = median(ours);
        let kept = keeps(ours);
        self.add(Figure { name: name.to_owned(), unit, ours, raw: None, ratio: None, goal, kept });
    }

    /// Adds a figure measured in pairs; `keeps` judges the median ratio of ours over the other.
    pub fn pair(
        &mut self,
        name: &str,
        unit: &'static str,
        pairs: &[(f64, f64)],
        goal: &'static str,
        keeps: impl Fn(f64) -> bool,
    ) {
        let (ours, raw): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let ratios: Vec<f64> = pairs.iter().map(|(a, b)| a / b).collect();
        let (least, largest) =
            ratios.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), r| (lo.min(*r), hi.max(*r)));
        let middle = median(&ratios);
        self.add(Figure {
            name: name.to_owned(),
            unit,
            ours: median(&ours),
            raw: Some(median(&raw)),
            ratio: Some([least, middle, largest]),
            goal,
            kept: keeps(middle),
        });
    }

    fn add(&mut self, figure: Figure) {
        eprintln!("{figure}");
        self.figures.push(figure);
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} {} |", self.name, number(self.ours), self.unit)?;
        match self.raw {
            Some(raw) => write!(f, " {} |", number(raw))?,
            None => write!(f, " - |")?,
        }
        match self.ratio {
            Some([least, middle, largest]) => write!(f, " {middle:.2} ({least:.2} to {largest:.2}) |")?,
            None => write!(f, " - |")?,
        }
        write!(f, " {} | {} |", self.goal, if self.kept { "yes" } else { "no" })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, memory_gib, kernel, file_system, huge_pages } = &self.machine;
        let pages = if *huge_pages { ", memory in huge pages" } else { "" };
        writeln!(
            f,
            "Measured on {processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}, {file_system}{pages}; seed {}.\n",
            self.seed
        )?;
        writeln!(f, "| what | Thermocline | raw RocksDB or reference | ratio (least to largest) | goal | kept |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.figures.iter().try_for_each(|figure| writeln!(f, "{figure}"))
    }
}

fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}K", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}
