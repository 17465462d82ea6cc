//! Which objects of moves that have ended are removed: the planner's, by age and number. A person's are theirs to remove.

use std::time::Duration;

use jiff::Timestamp;

use super::Item;
use super::item::moment;

/// How long an object of the planner's stays after its end.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How many of them stay, the newest.
const COUNT: usize = 64;

/// The names of the objects that go.
#[must_use]
pub fn superfluous(items: &[Item], now: Timestamp) -> Vec<String> {
    let mut over: Vec<&Item> = items.iter().filter(|item| item.planner_made && item.is_over()).collect();
    over.sort_by_key(|item| (std::cmp::Reverse(item.ended()), item.name.clone()));
    let old = |item: &Item| moment(now).left_of(AGE, item.ended()).is_none();
    let gone = over.into_iter().enumerate().filter(|(place, item)| *place >= COUNT || old(item));
    gone.map(|(_, item)| item.name.clone()).collect()
}
