//! The admin HTTP: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::facade::Facade;

/// The format of Prometheus texts.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes over a node.
pub fn routes(facade: Arc<Facade>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .with_state(facade)
}

async fn metrics(State(facade): State<Arc<Facade>>) -> Response {
    match facade.metrics_text().await {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "metrics could not be collected");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

/// The process lives. That its storage failed is no reason to kill it before a person has looked: reads go on.
async fn alive() -> &'static str {
    "ok\n"
}

async fn ready(State(facade): State<Arc<Facade>>) -> Response {
    let health = facade.health.now();
    let (code, reason) = (health.label(), health.reason());
    let text = if reason.is_empty() { format!("{code}\n") } else { format!("{code}: {reason}\n") };
    let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, text).into_response()
}
