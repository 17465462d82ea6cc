//! What the shards' leaders are asked, and how it went.

use std::collections::BTreeMap;
use std::time::Duration;

use thermocline_crds::Kind;
use thermocline_proto::v1;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use super::{Controller, Scene};
use crate::home::Home;
use crate::migrations::AskState;
use crate::rebalance;
use crate::watch;

/// A leader answers so soon, or is asked again.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a leader did shows in what the nodes say after so long.
const SHOWS_AFTER: Duration = Duration::from_secs(3);
/// A leader that refuses for so long will not do it: until then it may know of less than was decided by.
const REFUSES: Duration = Duration::from_secs(20);

/// What was asked for Migrations, by their uids.
#[derive(Default)]
pub(super) struct Asking {
    under_way: JoinSet<(String, Result<(), Refused>)>,
    asked: BTreeMap<String, Asked>,
}

struct Asked {
    answered: bool,
    at: Instant,
    /// Since when it has been refused, and why.
    refused: Option<(Instant, String)>,
}

/// What a leader said.
struct Refused {
    why: String,
    /// It, or another one, may say otherwise when it is asked again.
    passes: bool,
}

impl Asking {
    /// How it went for a Migration.
    pub(super) fn state(&self, uid: &str) -> AskState {
        match self.asked.get(uid) {
            None => AskState::Free,
            Some(asked) if !asked.answered || asked.at.elapsed() < SHOWS_AFTER => AskState::UnderWay,
            Some(Asked { refused: Some((since, why)), .. }) if since.elapsed() >= REFUSES => {
                AskState::Refused(why.clone())
            }
            Some(_) => AskState::Free,
        }
    }

    /// Asks for a Migration.
    pub(super) fn ask(&mut self, uid: &str, uri: String, request: v1::ChangeShardRequest) {
        let refused = self.asked.remove(uid).and_then(|asked| asked.refused);
        self.asked.insert(uid.to_owned(), Asked { answered: false, at: Instant::now(), refused });
        let uid = uid.to_owned();
        self.under_way.spawn(async move {
            let outcome = ask(&uri, request).await;
            (uid, outcome)
        });
    }

    /// Notes what was answered; what was refused, for the first time since it was not.
    fn take(&mut self) -> Vec<(String, String)> {
        let mut refusals = Vec::new();
        while let Some(answered) = self.under_way.try_join_next() {
            let Ok((uid, outcome)) = answered else { continue };
            let Some(asked) = self.asked.get_mut(&uid) else { continue };
            (asked.answered, asked.at) = (true, Instant::now());
            match outcome {
                Ok(()) => asked.refused = None,
                Err(Refused { why, passes }) => {
                    if asked.refused.as_ref().is_none_or(|(_, before)| *before != why) {
                        refusals.push((uid, why.clone()));
                    }
                    let since = asked.refused.take().filter(|_| !passes).map_or_else(Instant::now, |(since, _)| since);
                    asked.refused = (!passes).then_some((since, why));
                }
            }
        }
        refusals
    }

    /// Forgets all but these.
    pub(super) fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.asked.retain(|uid, _| is_live(uid));
    }
}

async fn ask(uri: &str, request: v1::ChangeShardRequest) -> Result<(), Refused> {
    let passing = |why: String| Refused { why, passes: true };
    let mut client = watch::admin(uri).map_err(|error| passing(error.to_string()))?;
    match tokio::time::timeout(PATIENCE, client.change_shard(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => {
            let lasts = matches!(
                status.code(),
                Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented
            );
            Err(Refused { why: status.message().to_owned(), passes: !lasts })
        }
        Err(_) => Err(passing(format!("no answer within {PATIENCE:?}"))),
    }
}

impl<H: Home> Controller<H> {
    pub(super) async fn take_answers(&mut self, scene: &Scene<'_>) {
        for (uid, why) in self.migrations.asking.take() {
            let Some(item) = scene.items.iter().find(|item| item.uid == uid) else { continue };
            self.failed(Kind::Migration, &item.name, "Refused", &scene.in_words(&why)).await;
        }
    }

    /// Asks the node that leads a shard; nobody where none does.
    pub(super) fn ask_leader(&mut self, scene: &Scene<'_>, uid: &str, request: v1::ChangeShardRequest) {
        let Some(told) = rebalance::led(&scene.known, request.shard) else { return };
        let is_leader = |heard: &&rebalance::Heard| {
            let shards = &heard.status.shards;
            heard.is_fresh() && shards.iter().any(|of| of.replica == told.replica && of.shard == told.shard)
        };
        let leader = scene.known.values().find(is_leader).map(|heard| heard.name.clone());
        if let Some(uri) = leader.and_then(|name| self.watches.heard_at(&name)) {
            self.migrations.asking.ask(uid, uri, request);
        }
    }
}
