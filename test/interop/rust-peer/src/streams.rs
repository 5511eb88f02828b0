//! Commands on streams.

use std::sync::Arc;

use anyhow::{Context, Result};
use iroh::endpoint::{RecvStream, SendStream};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    peer::{Peer, Stream, on_connection},
    transfer,
    wire::{Command, base64},
};

/// One write to noq; large enough to keep its send buffer filled.
const SOURCE_CHUNK: u64 = 256 * 1024;

pub async fn run(peer: &Arc<Peer>, name: &str, command: &Command) -> Option<Result<Value>> {
    Some(match name {
        "openBi" => open_bi(peer, command).await,
        "openUni" => open_uni(peer, command).await,
        "acceptBi" => accept_bi(peer, command).await,
        "acceptUni" => accept_uni(peer, command).await,
        "write" => write(peer, command).await,
        "finish" => finish(peer, command).await,
        "reset" => reset(peer, command).await,
        "stopped" => stopped(peer, command).await,
        "priority" => priority(peer, command).await,
        "read" => read(peer, command).await,
        "readToEnd" => read_to_end(peer, command).await,
        "stop" => stop(peer, command).await,
        "receivedReset" => received_reset(peer, command).await,
        "source" => source(peer, command).await,
        "sink" => sink(peer, command).await,
        _ => return None,
    })
}

async fn open_bi(peer: &Peer, command: &Command) -> Result<Value> {
    let (send, recv) = on_connection!(peer.connection(command.number("connection")?)?, inner => inner.open_bi().await?);
    Ok(peer.add_stream(Some(send), Some(recv)))
}

async fn open_uni(peer: &Peer, command: &Command) -> Result<Value> {
    let send = on_connection!(peer.connection(command.number("connection")?)?, inner => inner.open_uni().await?);
    Ok(peer.add_stream(Some(send), None))
}

async fn accept_bi(peer: &Peer, command: &Command) -> Result<Value> {
    let (send, recv) =
        on_connection!(peer.connection(command.number("connection")?)?, inner => inner.accept_bi().await?);
    Ok(peer.add_stream(Some(send), Some(recv)))
}

async fn accept_uni(peer: &Peer, command: &Command) -> Result<Value> {
    let recv = on_connection!(peer.connection(command.number("connection")?)?, inner => inner.accept_uni().await?);
    Ok(peer.add_stream(None, Some(recv)))
}

fn stream(peer: &Peer, command: &Command) -> Result<Stream> {
    peer.stream(command.number("stream")?)
}

fn send_half(peer: &Peer, command: &Command) -> Result<Arc<Mutex<SendStream>>> {
    let stream = stream(peer, command)?;
    stream.send.with_context(|| format!("stream {} is receive-only", stream.id))
}

fn recv_half(peer: &Peer, command: &Command) -> Result<Arc<Mutex<RecvStream>>> {
    let stream = stream(peer, command)?;
    stream.recv.with_context(|| format!("stream {} is send-only", stream.id))
}

async fn write(peer: &Peer, command: &Command) -> Result<Value> {
    let data = command.bytes("data")?;
    send_half(peer, command)?.lock().await.write_all(&data).await?;
    Ok(json!({}))
}

async fn finish(peer: &Peer, command: &Command) -> Result<Value> {
    send_half(peer, command)?.lock().await.finish()?;
    Ok(json!({}))
}

async fn reset(peer: &Peer, command: &Command) -> Result<Value> {
    send_half(peer, command)?.lock().await.reset(command.varint("code")?)?;
    Ok(json!({}))
}

/// The STOP_SENDING code, or `null` once all data is acknowledged.
async fn stopped(peer: &Peer, command: &Command) -> Result<Value> {
    // The future owns what it needs: writes go on meanwhile.
    let stopped = send_half(peer, command)?.lock().await.stopped();
    Ok(json!({ "code": stopped.await?.map(|code| code.into_inner().to_string()) }))
}

async fn priority(peer: &Peer, command: &Command) -> Result<Value> {
    let half = send_half(peer, command)?;
    let half = half.lock().await;
    if let Some(priority) = command.0.get("set").and_then(Value::as_i64) {
        half.set_priority(i32::try_from(priority)?)?;
    }
    Ok(json!({ "priority": half.priority()? }))
}

/// Up to `max` bytes; `null` at the end.
async fn read(peer: &Peer, command: &Command) -> Result<Value> {
    let max = usize::try_from(command.opt_number("max")?.unwrap_or(65_536))?;
    let chunk = recv_half(peer, command)?.lock().await.read_chunk(max).await?;
    Ok(json!({ "data": chunk.map(|chunk| base64(&chunk)) }))
}

async fn read_to_end(peer: &Peer, command: &Command) -> Result<Value> {
    let limit = usize::try_from(command.opt_number("limit")?.unwrap_or(16 << 20))?;
    let data = recv_half(peer, command)?.lock().await.read_to_end(limit).await?;
    Ok(json!({ "data": base64(&data) }))
}

async fn stop(peer: &Peer, command: &Command) -> Result<Value> {
    recv_half(peer, command)?.lock().await.stop(command.varint("code")?)?;
    Ok(json!({}))
}

async fn received_reset(peer: &Peer, command: &Command) -> Result<Value> {
    let code = recv_half(peer, command)?.lock().await.received_reset().await?;
    Ok(json!({ "code": code.map(|code| code.into_inner().to_string()) }))
}

/// On `stream`, or on a new uni stream of `connection`.
async fn source(peer: &Peer, command: &Command) -> Result<Value> {
    let length = command.number("bytes")?;
    let seed = u32::try_from(command.opt_number("seed")?.unwrap_or(1))?;
    let chunk = usize::try_from(command.opt_number("chunk")?.unwrap_or(SOURCE_CHUNK))?;
    if command.has("stream") {
        let half = send_half(peer, command)?;
        return transfer::source(&mut *half.lock().await, length, seed, chunk).await;
    }
    let mut send = on_connection!(peer.connection(command.number("connection")?)?, inner => inner.open_uni().await?);
    transfer::source(&mut send, length, seed, chunk).await
}

/// From `stream`, or from the next uni stream of `connection`.
async fn sink(peer: &Peer, command: &Command) -> Result<Value> {
    if command.has("stream") {
        let half = recv_half(peer, command)?;
        return transfer::sink(&mut *half.lock().await).await;
    }
    let mut recv = on_connection!(peer.connection(command.number("connection")?)?, inner => inner.accept_uni().await?);
    transfer::sink(&mut recv).await
}
