//! A real iroh endpoint driven by JSON lines.
//!
//! stdin: `{"id": 1, "cmd": "bind", ...}`; stdout: `{"id": 1, "ok": {...}}`, `{"id": 1, "error": {...}}` or
//! `{"event": "...", ...}`. Every command runs in its own task; answers come in the order in which things happen.
//! `test/interop/rust/rust-peer.ts` drives it. The process exits when stdin ends.

mod config;
mod connections;
mod endpoints;
mod lookups;
mod paths;
mod peer;
mod raw_keys;
mod relays;
mod streams;
mod transfer;
mod wire;

use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    sync::mpsc,
};

use crate::{peer::Peer, wire::Command};

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let (out, mut lines) = mpsc::unbounded_channel::<String>();
    let writer = tokio::spawn(async move {
        let mut stdout = tokio::io::stdout();
        while let Some(mut line) = lines.recv().await {
            line.push('\n');
            if stdout.write_all(line.as_bytes()).await.is_err() || stdout.flush().await.is_err() {
                break;
            }
        }
    });
    let peer = Arc::new(Peer::new(out));
    peer.send(json!({ "event": "ready", "iroh": "1.0.3", "noq": "1.1.0" }));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = input.next_line().await? {
        match serde_json::from_str::<Value>(&line) {
            Ok(Value::Object(map)) => {
                let peer = peer.clone();
                tokio::spawn(async move {
                    let command = Command(map);
                    let id = command.0.get("id").cloned().unwrap_or(Value::Null);
                    peer.send(match run(&peer, &command).await {
                        Ok(value) => json!({ "id": id, "ok": value }),
                        Err(error) => json!({ "id": id, "error": wire::failure(&error) }),
                    });
                });
            }
            _ => peer.send(json!({ "event": "badInput", "line": line })),
        }
    }
    writer.abort();
    std::process::exit(0);
}

async fn run(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let name = command.text("cmd")?;
    if let Some(result) = endpoints::run(peer, name, command).await {
        return result;
    }
    if let Some(result) = connections::run(peer, name, command).await {
        return result;
    }
    if let Some(result) = streams::run(peer, name, command).await {
        return result;
    }
    if let Some(result) = relays::run(peer, name, command).await {
        return result;
    }
    if let Some(result) = lookups::run(peer, name, command).await {
        return result;
    }
    match name {
        "forget" => {
            peer.forget(command.number("handle")?);
            Ok(json!({}))
        }
        "counts" => Ok(peer.counts()),
        other => bail!("unknown command: {other}"),
    }
}
