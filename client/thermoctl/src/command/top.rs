//! `top`: feeds the live view from the nodes and the keyboard.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
};
use thermocline_client::AdminClient;
use thermocline_proto::v1::{HeatRequest, ListMovesRequest, StatusRequest};
use tokio::{sync::mpsc, task::JoinSet};

use super::Ended;
use crate::{
    CommandError, ExitCode,
    args::TopArguments,
    context::Context,
    top::{Model, Update, draw},
};

/// News waiting to be shown: a few per node; older ones make the senders wait.
const QUEUE: usize = 64;
/// Ranges of a node's heat map: more than a terminal is wide.
const HEAT_RANGES: u32 = 512;
/// Between two tries of a node that is silent.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long the keyboard is waited for at a time; bounds how long quitting takes.
const KEY_POLL: Duration = Duration::from_millis(100);

enum News {
    Node(usize, Update),
    Quit,
    Redraw,
}

pub(super) async fn run(context: &Context, arguments: &TopArguments) -> Ended {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage(
            "top needs a terminal; use `thermoctl tiers -o json` and `thermoctl heat -o json` in scripts".to_owned(),
        ));
    }
    let client = context.connect().await?;
    let names = client.nodes().iter().map(|node| node.name.clone());
    let mut model = Model::new(cluster_name(context), names);
    let (news, mut inbox) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    for node in 0..client.nodes().len() {
        if let Some(admin) = client.admin(node) {
            tasks.spawn(watch_status(admin.clone(), node, arguments.interval, news.clone()));
            tasks.spawn(watch_heat(admin, node, arguments.interval, news.clone()));
        }
    }
    let quitting = Arc::new(AtomicBool::new(false));
    let keyboard = tokio::task::spawn_blocking({
        let quitting = Arc::clone(&quitting);
        move || watch_keyboard(&news, &quitting)
    });
    let mut terminal = ratatui::try_init().map_err(CommandError::output)?;
    let shown = show(&mut terminal, &mut model, &mut inbox, arguments.interval, context.printer.styled).await;
    quitting.store(true, Ordering::Relaxed);
    ratatui::try_restore().map_err(CommandError::output)?;
    // The keyboard's thread may be waiting for room.
    drop(inbox);
    let _ = keyboard.await;
    shown?;
    Ok(ExitCode::Success)
}

fn cluster_name(context: &Context) -> String {
    crate::home::endpoints(context.global.endpoints.as_deref(), context.global.home.as_deref())
        .ok()
        .and_then(|endpoints| endpoints.cluster)
        .unwrap_or_default()
}

async fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    inbox: &mut mpsc::Receiver<News>,
    interval: Duration,
    styled: bool,
) -> Result<(), CommandError> {
    let begin = Instant::now();
    let mut tick = tokio::time::interval(interval.max(Duration::from_millis(100)));
    loop {
        terminal.draw(|frame| draw(frame, model, styled)).map_err(CommandError::output)?;
        tokio::select! {
            _ = tick.tick() => model.sample(),
            news = inbox.recv() => match news {
                Some(News::Node(node, update)) => model.update(node, begin.elapsed(), update),
                Some(News::Redraw) => {}
                Some(News::Quit) | None => return Ok(()),
            },
        }
    }
}

async fn watch_status(mut admin: AdminClient, node: usize, interval: Duration, news: mpsc::Sender<News>) {
    let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX).max(100);
    loop {
        let request = StatusRequest { interval_ms, once: false };
        let reason = match admin.status(request).await {
            Ok(response) => {
                let mut stream = response.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(status)) => {
                            let update = Update::Status(Box::new(status));
                            if news.send(News::Node(node, update)).await.is_err() {
                                return;
                            }
                        }
                        Ok(None) => break "it ended its status stream".to_owned(),
                        Err(status) => break status.message().to_owned(),
                    }
                }
            }
            Err(status) => status.message().to_owned(),
        };
        if news.send(News::Node(node, Update::Silent(reason))).await.is_err() {
            return;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

async fn watch_heat(mut admin: AdminClient, node: usize, interval: Duration, news: mpsc::Sender<News>) {
    // Heat changes slowly and costs more to ask for than status.
    let mut tick = tokio::time::interval(interval.max(Duration::from_millis(500)) * 2);
    loop {
        tick.tick().await;
        let request = HeatRequest { top_keys: 1, ranges: HEAT_RANGES };
        // A node that does not answer is shown as silent by its status.
        if let Ok(heat) = admin.heat(request).await {
            let update = Update::Heat(heat.into_inner().ranges);
            if news.send(News::Node(node, update)).await.is_err() {
                return;
            }
        }
        if let Ok(moves) = admin.list_moves(ListMovesRequest {}).await {
            let update = Update::Moves(moves.into_inner().moves);
            if news.send(News::Node(node, update)).await.is_err() {
                return;
            }
        }
    }
}

fn watch_keyboard(news: &mpsc::Sender<News>, quitting: &AtomicBool) {
    while !quitting.load(Ordering::Relaxed) {
        let event = match event::poll(KEY_POLL) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        let item = match event {
            Ok(event) if is_quit(&event) => News::Quit,
            Ok(Event::Resize(..)) => News::Redraw,
            Ok(_) => continue,
            // Without a keyboard nobody could quit.
            Err(_) => News::Quit,
        };
        if news.blocking_send(item).is_err() {
            return;
        }
    }
}

fn is_quit(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn q_escape_and_control_c_quit_and_nothing_else() {
        let press = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(is_quit(&press(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(is_quit(&press(KeyCode::Esc, KeyModifiers::NONE)));
        assert!(is_quit(&press(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!is_quit(&press(KeyCode::Char('c'), KeyModifiers::NONE)));
        assert!(!is_quit(&Event::Resize(1, 1)));
    }
}
