//! Commands on connections.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use iroh::endpoint::ZeroRttStatus;
use noq::{FourTuple, PathId, PathStatus, Side};
use serde_json::{Value, json};

use crate::{
    endpoints::describe,
    paths,
    peer::{Connection, Peer, on_connection},
    transfer::{Service, spawn_service},
    wire::{Command, base64, close_reason},
};

pub async fn run(peer: &Arc<Peer>, name: &str, command: &Command) -> Option<Result<Value>> {
    Some(match name {
        "connected" => connected(peer, command).await,
        "echo" => echo(peer, command),
        "sendDatagram" => send_datagram(peer, command).await,
        "readDatagram" => read_datagram(peer, command).await,
        "maxDatagramSize" => max_datagram_size(peer, command),
        "close" => close(peer, command),
        "closed" => closed(peer, command).await,
        "stats" => stats(peer, command),
        "paths" => paths_of(peer, command),
        "watchPaths" => watch_paths(peer, command),
        "exportKeyingMaterial" => export(peer, command),
        "setLimits" => set_limits(peer, command),
        "keyUpdate" => noq(peer, command).map(|connection| {
            connection.force_key_update();
            json!({})
        }),
        "handshakeConfirmed" => handshake_confirmed(peer, command).await,
        "openPath" => open_path(peer, command).await,
        "closePath" => path(peer, command).and_then(|path| Ok(path.close().map(|()| json!({}))?)),
        "pingPath" => path(peer, command).and_then(|path| Ok(path.ping().map(|()| json!({}))?)),
        "setPathStatus" => set_path_status(peer, command),
        "addNatAddress" => nat_address(peer, command, true),
        "removeNatAddress" => nat_address(peer, command, false),
        "natAddresses" => nat_addresses(peer, command),
        "natRound" => nat_round(peer, command),
        _ => return None,
    })
}

fn connection(peer: &Peer, command: &Command) -> Result<Connection> {
    peer.connection(command.number("connection")?)
}

fn noq(peer: &Peer, command: &Command) -> Result<noq::Connection> {
    match connection(peer, command)? {
        Connection::Noq(connection) => Ok(connection),
        _ => bail!("only on the noq layer: iroh's API hides this"),
    }
}

/// Waits for the handshake of a connection that carries early data. `status`: `accepted`, `rejected` or `full`.
async fn connected(peer: &Peer, command: &Command) -> Result<Value> {
    let handle = command.number("connection")?;
    let (full, status) = match peer.connection(handle)? {
        Connection::Dialed(connection) => match connection.handshake_completed().await? {
            ZeroRttStatus::Accepted(full) => (Connection::Full(full), "accepted"),
            ZeroRttStatus::Rejected(full) => (Connection::Full(full), "rejected"),
        },
        Connection::Accepted(connection) => (Connection::Full(connection.handshake_completed().await?), "full"),
        Connection::Noq(connection) => {
            let status = match peer.take_early(handle) {
                Some(accepted) => {
                    if accepted.await {
                        "accepted"
                    } else {
                        "rejected"
                    }
                }
                None => "full",
            };
            if let Some(error) = connection.close_reason() {
                return Err(error.into());
            }
            (Connection::Noq(connection), status)
        }
        full @ Connection::Full(_) => (full, "full"),
    };
    let mut out = describe(&full);
    out["status"] = json!(status);
    peer.replace_connection(handle, full);
    Ok(out)
}

fn echo(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let service = Service::parse(command.opt_text("service")?.unwrap_or("echo"))?;
    spawn_service(peer, command.number("connection")?, connection(peer, command)?, service);
    Ok(json!({}))
}

async fn send_datagram(peer: &Peer, command: &Command) -> Result<Value> {
    let data = Bytes::from(command.bytes("data")?);
    let wait = command.flag("wait", true);
    on_connection!(connection(peer, command)?, connection => {
        if wait { connection.send_datagram_wait(data).await? } else { connection.send_datagram(data)? }
    });
    Ok(json!({}))
}

async fn read_datagram(peer: &Peer, command: &Command) -> Result<Value> {
    let data = on_connection!(connection(peer, command)?, connection => connection.read_datagram().await?);
    Ok(json!({ "data": base64(&data) }))
}

fn max_datagram_size(peer: &Peer, command: &Command) -> Result<Value> {
    let (max, space) = on_connection!(connection(peer, command)?, connection => {
        (connection.max_datagram_size(), connection.datagram_send_buffer_space())
    });
    Ok(json!({ "max": max, "sendBufferSpace": space }))
}

fn close(peer: &Peer, command: &Command) -> Result<Value> {
    let code = if command.has("code") { command.varint("code")? } else { 0u32.into() };
    let reason = command.opt_text("reason")?.unwrap_or("");
    on_connection!(connection(peer, command)?, connection => connection.close(code, reason.as_bytes()));
    Ok(json!({}))
}

async fn closed(peer: &Peer, command: &Command) -> Result<Value> {
    let reason = on_connection!(connection(peer, command)?, connection => connection.closed().await);
    Ok(json!({ "reason": close_reason(&reason) }))
}

fn stats(peer: &Peer, command: &Command) -> Result<Value> {
    let connection = connection(peer, command)?;
    let stats = on_connection!(&connection, connection => connection.stats());
    let side = match &connection {
        Connection::Full(connection) => Some(connection.side()),
        Connection::Noq(connection) => Some(connection.side()),
        _ => None,
    };
    Ok(json!({
        "side": side.map(|side| if matches!(side, Side::Client) { "client" } else { "server" }),
        "udpTx": { "datagrams": stats.udp_tx.datagrams, "bytes": stats.udp_tx.bytes },
        "udpRx": { "datagrams": stats.udp_rx.datagrams, "bytes": stats.udp_rx.bytes },
        "lostPackets": stats.lost_packets,
        "lostBytes": stats.lost_bytes,
        "frames": { "tx": format!("{:?}", stats.frame_tx), "rx": format!("{:?}", stats.frame_rx) },
    }))
}

fn paths_of(peer: &Peer, command: &Command) -> Result<Value> {
    Ok(json!({ "paths": paths::list(&connection(peer, command)?) }))
}

fn watch_paths(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    paths::watch(peer, command.number("connection")?, &connection(peer, command)?)?;
    Ok(json!({}))
}

fn export(peer: &Peer, command: &Command) -> Result<Value> {
    let mut out = vec![0u8; usize::try_from(command.number("length")?)?];
    let label = command.text("label")?.as_bytes();
    let context = command.bytes("context")?;
    on_connection!(connection(peer, command)?, connection => {
        connection.export_keying_material(&mut out, label, &context).map_err(|error| anyhow!("{error:?}"))?
    });
    Ok(json!({ "data": base64(&out) }))
}

fn set_limits(peer: &Peer, command: &Command) -> Result<Value> {
    on_connection!(connection(peer, command)?, connection => {
        if command.has("bidi") {
            connection.set_max_concurrent_bi_streams(command.varint("bidi")?);
        }
        if command.has("uni") {
            connection.set_max_concurrent_uni_streams(command.varint("uni")?);
        }
        if command.has("receiveWindow") {
            connection.set_receive_window(command.varint("receiveWindow")?);
        }
    });
    Ok(json!({}))
}

async fn handshake_confirmed(peer: &Peer, command: &Command) -> Result<Value> {
    noq(peer, command)?.handshake_confirmed().await?;
    Ok(json!({}))
}

fn path_status(command: &Command) -> Result<PathStatus> {
    Ok(match command.opt_text("status")?.unwrap_or("available") {
        "available" => PathStatus::Available,
        "backup" => PathStatus::Backup,
        other => bail!("status: {other}"),
    })
}

fn path(peer: &Peer, command: &Command) -> Result<noq::Path> {
    let id = u32::try_from(command.number("path")?)?;
    noq(peer, command)?.path(PathId::from(id)).with_context(|| format!("no path {id}"))
}

/// Answers once the path is validated.
async fn open_path(peer: &Peer, command: &Command) -> Result<Value> {
    let connection = noq(peer, command)?;
    let local: Option<IpAddr> = command.opt_text("localIp")?.map(str::parse).transpose()?;
    let tuple = FourTuple::new(command.text("addr")?.parse()?, local);
    let status = path_status(command)?;
    let opening = if command.flag("ensure", true) {
        connection.open_path_ensure(tuple, status)
    } else {
        connection.open_path(tuple, status)
    };
    let path = opening.await?;
    Ok(json!({ "path": path.id().to_string().parse::<u32>()? }))
}

fn set_path_status(peer: &Peer, command: &Command) -> Result<Value> {
    let previous = path(peer, command)?.set_status(path_status(command)?)?;
    Ok(json!({ "previous": paths::status(previous) }))
}

fn nat_address(peer: &Peer, command: &Command, add: bool) -> Result<Value> {
    let connection = noq(peer, command)?;
    let addr = command.text("addr")?.parse()?;
    if add {
        connection.add_nat_traversal_address(addr)?
    } else {
        connection.remove_nat_traversal_address(addr)?
    }
    Ok(json!({}))
}

fn nat_addresses(peer: &Peer, command: &Command) -> Result<Value> {
    let connection = noq(peer, command)?;
    let text = |addrs: Vec<std::net::SocketAddr>| addrs.iter().map(|addr| addr.to_string()).collect::<Vec<_>>();
    Ok(json!({
        "local": text(connection.get_local_nat_traversal_addresses()?),
        "remote": text(connection.get_remote_nat_traversal_addresses()?),
    }))
}

fn nat_round(peer: &Peer, command: &Command) -> Result<Value> {
    let probed = noq(peer, command)?.initiate_nat_traversal_round()?;
    Ok(json!({ "probed": probed.iter().map(|addr| addr.to_string()).collect::<Vec<_>>() }))
}
