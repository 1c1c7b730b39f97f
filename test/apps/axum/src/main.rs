//! The demo app as a real Axum program: the same answers as `test/apps/demo/server.ts` gives, so that the loss client
//! can judge either. Only what misbehaves on purpose is left to that one.
//!
//!   VERSION     (or BATON_VERSION) what it says of itself; else the VERSION it was built with; else v1
//!   HOST, PORT  where it listens; 127.0.0.1 and port 8080 by default, 0 asks the kernel
//!   INSTANCE    (or BATON_INSTANCE) its own name; else made of version and pid
//!
//! SIGTERM and SIGINT: /healthz answers 503, answers close their connections, event streams end between two events,
//! WebSockets close with 1012, the rest is finished; then it exits with 0. Exit 1: it could not listen, or was told
//! nonsense. Logs to stdout.

mod answers;
mod body;
mod identity;
mod socket;

use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::answers::App;
use crate::identity::Identity;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let identity = Identity::from_env();
    let name = identity.instance.clone();
    let address = identity::address_from_env()?;
    // Before it listens: who sees it listen may signal it.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    println!("{name} listening on {bound}");

    let app = App::new(identity);
    let stopping = app.stopping.clone();
    let sockets = app.sockets.clone();
    let said = name.clone();
    let stop = async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        println!("{said} {signal}: taking no more");
        stopping.cancel();
    };
    axum::serve(listener, app.routes()).with_graceful_shutdown(stop).await.map_err(|error| error.to_string())?;
    // An upgraded connection is no longer the server's.
    sockets.close();
    sockets.wait().await;
    println!("{name} all finished, bye");
    Ok(())
}
