//! Bulk data and the canned servers: sources, sinks and echoes run here so that no payload crosses stdin or stdout.

use std::{sync::Arc, time::Instant};

use anyhow::Result;
use bytes::Bytes;
use iroh::endpoint::{RecvStream, SendStream, VarInt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    peer::{Connection, Peer, on_connection},
    wire::hex,
};

/// Length of the repeated block. Coprime with every power of two, so that misplaced chunks change the hash.
const BLOCK: usize = 1_000_003;
const READ_CHUNK: usize = 1 << 20;

/// Bytes `[0, BLOCK)` of the linear congruential generator that `test/interop/source-bytes.ts` repeats.
fn block(seed: u32) -> Bytes {
    let mut state = seed;
    (0..BLOCK)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// Writes `length` bytes and FIN, then waits until all of it was acknowledged.
pub async fn source(send: &mut SendStream, length: u64, seed: u32, chunk: usize) -> Result<Value> {
    let block = block(seed);
    let started = Instant::now();
    let mut hash = Sha256::new();
    let mut sent = 0u64;
    while sent < length {
        let at = (sent % BLOCK as u64) as usize;
        let size = chunk.min(BLOCK - at).min((length - sent) as usize);
        let piece = block.slice(at..at + size);
        hash.update(&piece);
        send.write_chunk(piece).await?;
        sent += size as u64;
    }
    let written = started.elapsed();
    send.finish()?;
    let stopped = send.stopped().await?;
    Ok(json!({
        "bytes": sent,
        "sha256": hex(&hash.finalize()),
        "writtenMs": written.as_secs_f64() * 1e3,
        "ms": started.elapsed().as_secs_f64() * 1e3,
        "stopped": stopped.map(|code: VarInt| code.into_inner().to_string()),
    }))
}

/// Reads to the end. `ms` runs from the first byte to the last.
pub async fn sink(recv: &mut RecvStream) -> Result<Value> {
    let mut hash = Sha256::new();
    let mut received = 0u64;
    let mut first: Option<Instant> = None;
    let mut last = Instant::now();
    while let Some(chunk) = recv.read_chunk(READ_CHUNK).await? {
        last = Instant::now();
        first.get_or_insert(last);
        received += chunk.len() as u64;
        hash.update(&chunk);
    }
    let ms = first.map_or(0.0, |first| (last - first).as_secs_f64() * 1e3);
    Ok(json!({ "bytes": received, "sha256": hex(&hash.finalize()), "ms": ms }))
}

async fn echo_stream(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    while let Some(chunk) = recv.read_chunk(READ_CHUNK).await? {
        send.write_chunk(chunk).await?;
    }
    send.finish()?;
    send.stopped().await?;
    Ok(())
}

/// Answers with the number of bytes received, 8 bytes big endian.
async fn count_stream(mut send: SendStream, mut recv: RecvStream) -> Result<()> {
    let mut received = 0u64;
    while let Some(chunk) = recv.read_chunk(READ_CHUNK).await? {
        received += chunk.len() as u64;
    }
    send.write_all(&received.to_be_bytes()).await?;
    send.finish()?;
    send.stopped().await?;
    Ok(())
}

#[derive(Clone, Copy)]
pub enum Service {
    /// Bidi streams and datagrams come back; uni streams come back on a uni stream of ours.
    Echo,
    /// Streams are read; bidi streams are answered with their length.
    Count,
}

impl Service {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "echo" => Ok(Self::Echo),
            "count" => Ok(Self::Count),
            other => anyhow::bail!("service: {other}"),
        }
    }
}

/// Serves a connection until it closes. Errors of single streams end that stream only.
pub async fn serve(connection: Connection, service: Service) {
    on_connection!(connection, connection => {
        let streams = connection.clone();
        let bidi = async move {
            while let Ok((send, recv)) = streams.accept_bi().await {
                tokio::spawn(async move {
                    match service {
                        Service::Echo => echo_stream(send, recv).await,
                        Service::Count => count_stream(send, recv).await,
                    }
                });
            }
        };
        let streams = connection.clone();
        let uni = async move {
            while let Ok(mut recv) = streams.accept_uni().await {
                let streams = streams.clone();
                tokio::spawn(async move {
                    match service {
                        Service::Echo => {
                            let send = streams.open_uni().await?;
                            echo_stream(send, recv).await
                        }
                        Service::Count => sink(&mut recv).await.map(drop),
                    }
                });
            }
        };
        let datagrams = async move {
            while let Ok(datagram) = connection.read_datagram().await {
                if matches!(service, Service::Echo) {
                    let _ = connection.send_datagram_wait(datagram).await;
                }
            }
        };
        tokio::join!(bidi, uni, datagrams);
    });
}

/// Serves one connection in the background and reports its end as an event.
pub fn spawn_service(peer: &Arc<Peer>, handle: u64, connection: Connection, service: Service) {
    let peer = peer.clone();
    tokio::spawn(async move {
        let reason = on_connection!(&connection, inner => {
            tokio::join!(serve(connection.clone(), service), inner.closed()).1
        });
        peer.forget(handle);
        peer.send(json!({ "event": "closed", "connection": handle, "reason": crate::wire::close_reason(&reason) }));
    });
}
