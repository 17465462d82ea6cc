#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::convert::Infallible;

use super::*;

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn everything() -> Palette {
    Palette {
        processes: 3,
        links: 6,
        devices: 2,
        kills: 1,
        pauses: 1,
        network: 3,
        pairs: 2,
        islands: 2,
        clocks: 1,
        full: 1,
        slow: 1,
        lasting: (milliseconds(500), milliseconds(3000)),
        quiet: (milliseconds(100), milliseconds(1000)),
    }
}

#[test]
fn a_seed_gives_the_same_schedule_again_and_another_one_another() {
    let length = Duration::from_secs(300);
    assert_eq!(schedule(5, length, &everything()), schedule(5, length, &everything()));
    assert_ne!(schedule(5, length, &everything()), schedule(6, length, &everything()));
}

#[test]
fn faults_follow_each_other_within_their_bounds_and_end_before_the_run() {
    let length = Duration::from_secs(600);
    let steps = schedule(1, length, &everything());
    assert!(steps.len() > 100, "{}", steps.len());
    let mut over = Duration::ZERO;
    for step in &steps {
        assert!(step.begins >= over + milliseconds(100) && step.begins <= over + milliseconds(1000), "{step:?}");
        assert!((milliseconds(500)..=milliseconds(3000)).contains(&step.lasts), "{step:?}");
        over = step.begins + step.lasts;
    }
    assert!(over <= length);
}

#[test]
fn every_kind_that_has_a_weight_comes_and_no_other() {
    let kinds = |palette: &Palette| -> BTreeSet<&'static str> {
        let steps = schedule(2, Duration::from_secs(1000), palette);
        steps.iter().map(|step| step.fault.kind()).collect()
    };
    assert_eq!(kinds(&everything()).len(), 8);
    let (devices, links, pairs) = (0, 0, 0);
    let few = Palette { kills: 0, clocks: 0, islands: 0, devices, links, pairs, ..everything() };
    assert_eq!(kinds(&few), BTreeSet::from(["pauses"]));
    let alone = kinds(&Palette { processes: 1, ..everything() });
    assert!(alone.iter().all(|kind| !kind.starts_with("p") || *kind == "pauses"), "{alone:?}");
    assert!(kinds(&Palette { processes: 0, links: 0, ..everything() }).is_empty());
}

#[test]
fn a_round_has_every_kind_as_often_as_it_weighs() {
    let steps = schedule(3, Duration::from_secs(1000), &everything());
    let mut kinds: Vec<&str> = steps.iter().take(12).map(|step| step.fault.kind()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 8, "{steps:?}");
}

#[test]
fn most_faults_are_short_and_some_are_long() {
    let lasting = (milliseconds(0), milliseconds(30_000));
    let steps = schedule(4, Duration::from_secs(10_000), &Palette { lasting, ..everything() });
    let shorter = |than| steps.iter().filter(|step| step.lasts < milliseconds(than)).count();
    assert!(shorter(10_000) * 2 > steps.len() && shorter(20_000) < steps.len(), "{}", steps.len());
}

#[test]
fn each_fault_is_begun_then_ended_and_told_in_words() {
    #[derive(Default)]
    struct Notes(Vec<(bool, Fault)>);
    impl Surroundings for Notes {
        type Error = Infallible;
        fn begin(&mut self, fault: &Fault) -> Result<(), Infallible> {
            self.0.push((true, *fault));
            Ok(())
        }
        fn end(&mut self, fault: &Fault) -> Result<(), Infallible> {
            self.0.push((false, *fault));
            Ok(())
        }
    }
    let kill = Fault::Kill { process: 1 };
    let cut = Fault::Link { link: 2, rule: Rule::CUT };
    let step = |begins, fault| Step { begins: milliseconds(begins), lasts: milliseconds(5), fault };
    let (mut notes, mut said) = (Notes::default(), Vec::new());
    let played = play(&[step(10, kill), step(20, cut)], &mut notes, |line| said.push(line.to_owned())).unwrap();
    assert_eq!(played, BTreeMap::from([("kills", 1), ("links", 1)]));
    assert_eq!(notes.0, [(true, kill), (false, kill), (true, cut), (false, cut)]);
    assert!(said[0].ends_with("s: kill of process 1, for 0.005 s"), "{said:?}");
    assert!(said[2].contains("holding both ways on link 2"), "{said:?}");
}
