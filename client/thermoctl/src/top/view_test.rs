//! What a person sees, drawn into memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};
use thermocline_proto::v1::{CacheStatus, Health, MoveProgress, MoveTotal, MoverStatus, NodeStatus, OperationTotals};

use super::*;
use crate::top::Update;

fn tier(name: &str, rank: u32, used: u64, capacity: u64, reads: u64) -> TierStatus {
    TierStatus { name: name.into(), rank, used_bytes: used, capacity_bytes: capacity, reads, ..TierStatus::default() }
}

fn status(uptime_ms: u64, reads: u64) -> Update {
    Update::Status(Box::new(NodeStatus {
        uptime_ms,
        health: Health::Serving.into(),
        operations: Some(OperationTotals {
            reads,
            writes: reads / 10,
            read_p50_nanos: 12_300,
            read_p99_nanos: 1_500_000,
            write_p50_nanos: 45_000,
            write_p99_nanos: 2_000_000,
            ..OperationTotals::default()
        }),
        row_cache: Some(CacheStatus { hits: 75, misses: 25, ..CacheStatus::default() }),
        tiers: vec![tier("hot", 0, 90 << 20, 100 << 20, 900), tier("cold", 20, 1 << 30, 4 << 30, 100)],
        mover: Some(MoverStatus {
            state: "moving".into(),
            totals: vec![MoveTotal {
                from: "hot".into(),
                to: "cold".into(),
                reason: "demote".into(),
                moves: 3,
                records: 10,
                bytes: 5 << 20,
            }],
            ..MoverStatus::default()
        }),
        ..NodeStatus::default()
    }))
}

fn range(start: u8, reads_per_day: f64) -> RangeHeat {
    RangeHeat { start: vec![start].into(), reads_per_day, ..RangeHeat::default() }
}

fn model() -> Model {
    let mut model = Model::new("demo".into(), ["main-0".into(), "main-1".into()]);
    model.update(0, Duration::from_secs(1), status(1000, 0));
    model.sample();
    model.update(0, Duration::from_secs(2), status(2000, 5000));
    model.sample();
    let heat = vec![range(3, 1e6), range(1, 0.0), range(2, 40.0)];
    model.update(0, Duration::from_secs(2), Update::Heat(heat));
    let manual = MoveProgress { move_id: 7, state: "running".into(), percent: 40, ..MoveProgress::default() };
    model.update(0, Duration::from_secs(2), Update::Moves(vec![manual]));
    model.update(1, Duration::from_secs(2), Update::Silent("connection refused".into()));
    model
}

fn drawn(model: &Model, width: u16, height: u16, styled: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, styled)).unwrap();
    terminal
}

fn lines(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    buffer
        .content
        .chunks(width)
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned())
        .collect()
}

#[test]
fn the_view_shows_load_nodes_tiers_heat_and_moves() {
    let lines = lines(&drawn(&model(), 120, 30, false));
    let holds = |texts: &[&str]| {
        assert!(
            lines.iter().any(|line| texts.iter().all(|text| line.contains(text))),
            "{texts:?} on one line of\n{}",
            lines.join("\n")
        );
    };
    holds(&["Thermocline demo", "1 of 2 nodes serve", "q quits"]);
    holds(&["reads 5000/s", "writes 500/s"]);
    holds(&["main-0", "serving", "5000/s", "12.3 us", "1.5 ms", "75.0 %", "moving"]);
    holds(&["main-1", "silent"]);
    holds(&["hot", "90.0 MiB", "100.0 MiB", "90.0 %", "90.0 % of reads", "█"]);
    holds(&["cold", "25.0 %", "10.0 % of reads", "─"]);
    holds(&["main-0 ·▒█"]);
    holds(&["main-0/7 running 40 %"]);
    holds(&["hot -> cold (demote): 3 moves, 5.0 MiB"]);
    holds(&["main-1 is silent: connection refused"]);
}

#[test]
fn without_style_no_cell_has_a_colour_and_with_style_some_have() {
    let colored = |styled| {
        let terminal = drawn(&model(), 100, 30, styled);
        let buffer = terminal.backend().buffer();
        buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(!colored(false));
    assert!(colored(true));
}

#[test]
fn a_small_terminal_and_an_empty_model_are_drawn_too() {
    for (width, height) in [(1, 1), (20, 5), (80, 24)] {
        drawn(&model(), width, height, true);
        drawn(&Model::default(), width, height, true);
    }
}

#[test]
fn a_cell_shows_the_hottest_of_its_ranges() {
    let ranges: Vec<RangeHeat> = (0..10).map(|start| range(start, if start == 7 { 50.0 } else { 0.0 })).collect();
    assert_eq!(node_heat(&ranges, 2), [0, 2]);
    assert_eq!(node_heat(&ranges[..3], 100), [0, 0, 0]);
    assert!(node_heat(&[], 5).is_empty());
}
