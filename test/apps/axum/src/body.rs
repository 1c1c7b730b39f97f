//! Bodies that come over time: the known bytes of /download, server-sent events, an answer that is late.
//!
//! The pattern is that of `test/apps/demo/pattern.ts`: a fixed block repeated, so that both ends know every byte. Its
//! length is prime, so that a piece that is lost, doubled or moved by any buffer's size changes what follows.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, Stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;

const PERIOD: usize = 65_521;
const EVENT_EVERY: Duration = Duration::from_millis(200);
const SLICE: Duration = Duration::from_millis(50);

type Chunk = Result<Bytes, Infallible>;

/// xorshift32 from a fixed seed: looks random to a compressor, the same everywhere.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state: u32 = 0x9e37_79b9;
    (0..PERIOD)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect()
});

/// `bytes` of the pattern, in slices of 50 ms over the time given.
pub fn pattern(bytes: u64, over: Duration) -> impl Stream<Item = Chunk> + Send + 'static {
    let slices = u64::try_from(over.as_millis() / SLICE.as_millis()).unwrap_or(u64::MAX);
    let step = if slices == 0 { bytes } else { bytes.div_ceil(slices) }.max(1);
    stream::unfold(0, move |at| async move {
        if at >= bytes {
            return None;
        }
        // Not before the first slice, and only where a slice begins.
        if slices > 0 && at > 0 && at % step == 0 {
            sleep(SLICE).await;
        }
        let end_of_slice = (at / step + 1) * step;
        let piece = piece(at, end_of_slice.min(bytes));
        let next = at + piece.len() as u64;
        Some((Ok(piece), next))
    })
}

/// From `at`, no further than `to` and the block's end; a view, not a copy.
fn piece(at: u64, to: u64) -> Bytes {
    let start = (at % PERIOD as u64) as usize;
    let length = (to - at).min((PERIOD - start) as u64) as usize;
    BLOCK.slice(start..start + length)
}

pub fn pattern_sha256(bytes: u64) -> String {
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < bytes {
        let piece = piece(at, bytes);
        at += piece.len() as u64;
        hash.update(&piece);
    }
    hex(&hash.finalize())
}

/// Ids [first, end), each followed by a rest; a stop in the rest is the end between two events.
pub fn events(
    identity: Arc<Identity>,
    stopping: CancellationToken,
    first: u64,
    end: u64,
) -> impl Stream<Item = Chunk> + Send + 'static {
    stream::unfold((first, identity, stopping), move |(id, identity, stopping)| async move {
        if id > first {
            tokio::select! {
                () = sleep(EVENT_EVERY) => (),
                () = stopping.cancelled() => return None,
            }
        }
        if id >= end {
            return None;
        }
        let data = json!({ "id": id, "version": identity.version, "instance": identity.instance });
        let event = Bytes::from(format!("id: {id}\ndata: {data}\n\n"));
        Some((Ok(event), (id + 1, identity, stopping)))
    })
}

/// One line, late.
pub fn after(wait: Duration, line: String) -> impl Stream<Item = Chunk> + Send + 'static {
    stream::once(async move {
        sleep(wait).await;
        Ok(Bytes::from(line))
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
