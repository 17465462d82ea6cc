//! Moves whose nodes do not answer, and how what they answer is understood.

use super::*;

fn told(state: &str, may_pass: bool) -> v1::MoveProgress {
    v1::MoveProgress { state: state.to_owned(), may_pass, bytes: 7, message: "why".to_owned(), ..Default::default() }
}

#[test]
fn a_move_that_failed_for_what_passes_is_held_and_not_over() {
    let why = || "why".to_owned();
    assert_eq!(end(&told("running", false)), None);
    assert_eq!(end(&told("completed", false)), Some(Part::Done { bytes: 7 }));
    assert_eq!(end(&told("failed", false)), Some(Part::Failed { reason: why() }));
    assert_eq!(end(&told("failed", true)), Some(Part::Held { reason: why() }));
}

#[tokio::test(start_paused = true)]
async fn a_move_that_was_held_is_begun_again_after_a_rest_and_not_at_once() {
    let (moves, place) = (Moves::default(), ("uid".to_owned(), "main-0".to_owned()));
    // No URI at all would be a failure for ever; there nothing listens.
    moves.begin(&place.0, &place.1, "http://127.255.255.254:9".to_owned(), v1::MoveRangeRequest::default());
    let part = || moves.parts("uid", &["main-0".to_owned()])["main-0"].clone();
    while matches!(part(), Part::Running { .. }) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(part(), Part::Held { .. }), "{:?}", part());
    tokio::time::sleep(REST).await;
    assert_eq!(part(), Part::Waiting);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_connections_and_answers_nothing_holds_nobody_up() {
    let frozen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", frozen.local_addr().unwrap());
    let asked = tokio::time::timeout(Duration::from_secs(3600), cancel(&uri, 1)).await;
    assert!(asked.unwrap().is_err(), "it was not ended");
}

#[test]
fn a_move_that_is_left_is_kept_until_it_has_ended_and_nothing_is_begun_in_its_place() {
    let ids = [("uid".to_owned(), [("main-0".to_owned(), 7)].into())].into();
    let moves = Moves::taken_up(&ids);
    // Without a runtime a move that is begun would panic.
    moves.begin("uid", "main-0", String::new(), v1::MoveRangeRequest::default());
    moves.forget("uid");
    assert_eq!(moves.ids(), ids, "for whoever takes over next");
    moves.ended(&("uid".to_owned(), "main-0".to_owned()));
    assert!(moves.ids().is_empty() && moves.left().is_empty());
}
