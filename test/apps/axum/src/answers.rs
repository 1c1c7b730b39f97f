//! The routes, and what each answers. Every answer says who gave it, in `x-demo-version` and `x-demo-instance`.
//!
//!   GET  /                   an HTML page
//!   GET  /api/hello?n=ID     ~100 bytes of JSON; ID comes back, so that a swapped answer shows
//!   POST /api/orders         {"id"}: not idempotent; says how often this instance has seen the id
//!   POST /upload             {bytes, sha256} of the body
//!   GET  /download?bytes=N&ms=T&chunked=1   known bytes, over T ms, `x-demo-sha256` in the head
//!   GET  /events?count=N     server-sent events, one each 200 ms, ids 1, 2, ...; goes on after Last-Event-ID
//!   GET  /poll?ms=T          answers after T ms
//!   GET  /slow?ms=T          the head at once, the body after T ms
//!   GET  /ws                 WebSocket: each message comes back in JSON, with this connection's number for it
//!   GET  /healthz            200, or 503 while stopping

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::{self, hex};
use crate::identity::Identity;
use crate::socket;

const MAX_BYTES: u64 = 1 << 30;
const MAX_WAIT_MS: u64 = 120_000;
const ORDERS_KEPT: usize = 20_000;
const ORDER_BYTES: usize = 64 << 10;

const VERSION: HeaderName = HeaderName::from_static("x-demo-version");
const INSTANCE: HeaderName = HeaderName::from_static("x-demo-instance");
const SHA256: HeaderName = HeaderName::from_static("x-demo-sha256");

#[derive(Clone)]
pub struct App {
    pub identity: Arc<Identity>,
    pub stopping: CancellationToken,
    /// Upgraded connections, which the server does not wait for.
    pub sockets: TaskTracker,
    orders: Arc<Mutex<Orders>>,
}

type Asked = Query<HashMap<String, String>>;

impl App {
    pub fn new(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            stopping: CancellationToken::new(),
            sockets: TaskTracker::new(),
            orders: Arc::default(),
        }
    }

    pub fn routes(self) -> Router {
        Router::new()
            .route("/", get(page))
            .route("/api/hello", get(hello))
            .route("/api/orders", post(order))
            .route("/upload", post(upload))
            .route("/download", get(download))
            .route("/events", get(events))
            .route("/poll", get(poll))
            .route("/slow", get(slow))
            .route("/ws", any(ws))
            .route("/healthz", get(health))
            .layer(middleware::from_fn_with_state(self.clone(), signed))
            .with_state(self)
    }

    /// A JSON answer that says who gave it.
    fn json(&self, status: StatusCode, body: Value) -> Response {
        let mut fields = match body {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.insert("version".to_owned(), json!(self.identity.version));
        fields.insert("instance".to_owned(), json!(self.identity.instance));
        (status, [(CONTENT_TYPE, "application/json")], Value::Object(fields).to_string()).into_response()
    }
}

async fn signed(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [(VERSION, &app.identity.version), (INSTANCE, &app.identity.instance)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    if app.stopping.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn page(State(app): State<App>) -> Html<String> {
    let Identity { version, instance } = &*app.identity;
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><title>demo {version}</title></head>\n\
         <body><h1>{version}</h1><p>{instance}, in Rust</p></body></html>\n"
    ))
}

async fn hello(State(app): State<App>, Query(asked): Asked) -> Response {
    app.json(StatusCode::OK, json!({ "hello": "world", "n": text(&asked, "n") }))
}

async fn order(State(app): State<App>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), ORDER_BYTES).await.unwrap_or_default();
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = parsed["id"].as_str() else {
        return app.json(StatusCode::BAD_REQUEST, json!({ "error": "the body must be JSON with a text \"id\"" }));
    };
    let times = match app.orders.lock() {
        Ok(mut orders) => orders.seen(id),
        Err(poisoned) => poisoned.into_inner().seen(id),
    };
    app.json(StatusCode::CREATED, json!({ "id": id, "times": times }))
}

async fn upload(State(app): State<App>, request: Request) -> Response {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut stream = request.into_body().into_data_stream();
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else {
            // The client is gone in mid-body: nobody reads this.
            return app.json(StatusCode::BAD_REQUEST, json!({ "error": "the body was cut" }));
        };
        bytes += chunk.len();
        hash.update(&chunk);
    }
    app.json(StatusCode::OK, json!({ "bytes": bytes, "sha256": hex(&hash.finalize()) }))
}

async fn download(Query(asked): Asked) -> Response {
    let bytes = number(&asked, "bytes", 1_024, MAX_BYTES);
    let over = Duration::from_millis(number(&asked, "ms", 0, MAX_WAIT_MS));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(sum) = HeaderValue::from_str(&body::pattern_sha256(bytes)) {
        headers.insert(SHA256, sum);
    }
    if !asked.contains_key("chunked") {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    (headers, Body::from_stream(body::pattern(bytes, over))).into_response()
}

async fn events(State(app): State<App>, Query(asked): Asked, headers: HeaderMap) -> Response {
    let last: u64 = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
    let first = last.saturating_add(1);
    let count = number(&asked, "count", u64::MAX, u64::MAX);
    let stream = body::events(app.identity, app.stopping, first, first.saturating_add(count));
    ([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")], Body::from_stream(stream)).into_response()
}

async fn poll(State(app): State<App>, Query(asked): Asked) -> Response {
    let ms = number(&asked, "ms", 1_000, MAX_WAIT_MS);
    sleep(Duration::from_millis(ms)).await;
    app.json(StatusCode::OK, json!({ "waited": ms, "n": text(&asked, "n") }))
}

async fn slow(State(app): State<App>, Query(asked): Asked) -> Response {
    let wait = Duration::from_millis(number(&asked, "ms", 1_000, MAX_WAIT_MS));
    let line = format!("slow but sure, {}\n", app.identity.version);
    ([(CONTENT_TYPE, "text/plain")], Body::from_stream(body::after(wait, line))).into_response()
}

async fn ws(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    let App { identity, stopping, sockets, .. } = app;
    upgrade.on_upgrade(move |socket| sockets.track_future(socket::echo(socket, identity, stopping)))
}

async fn health(State(app): State<App>) -> Response {
    if app.stopping.is_cancelled() {
        return app.json(StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "stopping" }));
    }
    app.json(StatusCode::OK, json!({ "status": "ok" }))
}

/// How often each order was seen; the oldest are forgotten.
#[derive(Default)]
struct Orders {
    times: HashMap<String, u64>,
    oldest: VecDeque<String>,
}

impl Orders {
    fn seen(&mut self, id: &str) -> u64 {
        if let Some(times) = self.times.get_mut(id) {
            *times += 1;
            return *times;
        }
        self.times.insert(id.to_owned(), 1);
        self.oldest.push_back(id.to_owned());
        if self.oldest.len() > ORDERS_KEPT
            && let Some(forgotten) = self.oldest.pop_front()
        {
            self.times.remove(&forgotten);
        }
        1
    }
}

fn text<'a>(asked: &'a HashMap<String, String>, name: &str) -> &'a str {
    asked.get(name).map_or("", String::as_str)
}

fn number(asked: &HashMap<String, String>, name: &str, otherwise: u64, most: u64) -> u64 {
    asked.get(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise).min(most)
}
