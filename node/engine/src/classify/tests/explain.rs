use super::*;
use crate::classify::{ExplainInput, Explanation, explain, range_class};

const ROOMY: [u64; 3] = [100 * MIB, 100 * MIB, 1000 * MIB];

fn ask(
    key: Option<&KeyHeat>,
    range: &RangeInput,
    placed_in: Option<usize>,
    change: impl FnOnce(&mut ExplainInput<'_>),
) -> Explanation {
    let (policy, tiers) = (policy(), tiers(ROOMY, [0; 3]));
    let range_keys: Vec<KeyHeat> = key.into_iter().cloned().collect();
    let mut input =
        ExplainInput { key, range, range_keys: &range_keys, policy: &policy, tiers: &tiers, placed_in, frozen: false };
    change(&mut input);
    explain(&input)
}

#[test]
fn a_hot_key_in_a_slow_tier_will_move_up_and_says_by_which_rule() {
    let hot = key("a", 2, 1520.0, minutes(3)).heat;
    let answer = ask(Some(&hot), &range("", "", 2, 2000.0, Some(minutes(3))), Some(2), |_| {});
    assert_eq!(answer.class, "hot");
    assert_eq!(
        answer.rule,
        "hot: more than 1000 reads in 24 h and read within 60 min; this key has about 1520 reads per day, last read 3 min ago"
    );
    assert_eq!(answer.decision, "will move up to hot at the next evaluation");
}

#[test]
fn a_key_nobody_reads_is_explained_by_its_range() {
    let answer = ask(None, &range("", "", 0, 0.0, None), Some(0), |_| {});
    assert_eq!(answer.class, "cold");
    assert!(
        answer.rule.contains("cold takes what is under the threshold warm: more than 100 reads in 24 h"),
        "{}",
        answer.rule
    );
    assert!(answer.rule.contains("not read often enough"), "{}", answer.rule);
    assert_eq!(answer.decision, "will move down to cold once it has been in hot for 10 min");
}

#[test]
fn every_reason_to_stay_is_told() {
    let unread = range("", "", 0, 0.0, None);
    let decision = |range: &RangeInput, placed: Option<usize>| ask(None, range, placed, |_| {}).decision;
    assert_eq!(decision(&unread, None), "nothing to move: no tier has this key");
    assert_eq!(decision(&unread, Some(2)), "stays in cold: that is where the policy wants it");
    let mut moved = unread.clone();
    moved.heat.moved_ago = Some(minutes(5));
    assert_eq!(
        decision(&moved, Some(0)),
        "stays in hot for now: its range was moved 5 min ago and stays for at least 10 min"
    );
    let between = range("", "", 0, 600_000.0, Some(minutes(5)));
    assert!(decision(&between, Some(0)).contains("not by the factor of 2"));
    let frozen = ask(None, &unread, Some(0), |input| input.frozen = true).decision;
    assert!(frozen.contains("read alike"), "{frozen}");
    let paused_policy = ValidPolicy { paused: true, ..policy() };
    let tiers = tiers(ROOMY, [0; 3]);
    let input = ExplainInput {
        key: None,
        range: &unread,
        range_keys: &[],
        policy: &paused_policy,
        tiers: &tiers,
        placed_in: Some(0),
        frozen: false,
    };
    assert_eq!(explain(&input).decision, "stays in hot: the policy is paused");
}

#[test]
fn a_ranges_class_leaves_its_hot_keys_out() {
    let range = range("", "", 0, 300_000.0, Some(minutes(1)));
    assert_eq!(range_class(&policy(), &range, &[], 3), 1);
    assert_eq!(range_class(&policy(), &range, &[key("a", 0, 290_000.0, minutes(1)).heat], 3), 2);
}
