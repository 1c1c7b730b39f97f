//! The WebSocket echo: each message comes back in JSON with this connection's number for it. A stop closes it with 1012
//! (service restart) and reads on until the client has said its own Close, so that nothing is reset under it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;

const SERVICE_RESTART: u16 = 1012;
/// For the client's Close, once ours is said.
const FAREWELL: Duration = Duration::from_secs(5);

pub async fn echo(mut socket: WebSocket, identity: Arc<Identity>, stopping: CancellationToken) {
    let mut n: u64 = 0;
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = stopping.cancelled() => break,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text.to_string(),
            Some(Ok(Message::Binary(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
            // The peer's Close is answered by the library, while it is read to its end.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => continue,
            Some(Err(_)) | None => return,
        };
        n += 1;
        let reply = json!({ "n": n, "echo": text, "version": identity.version, "instance": identity.instance });
        if socket.send(Message::Text(reply.to_string().into())).await.is_err() {
            return;
        }
    }
    let frame = CloseFrame { code: SERVICE_RESTART, reason: "service restart".into() };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
}
