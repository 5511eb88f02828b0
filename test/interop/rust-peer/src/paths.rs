//! Paths as JSON: snapshots and events of both layers.

use std::sync::Arc;

use iroh::TransportAddr;
use iroh::endpoint::PathEvent as IrohPathEvent;
use n0_future::StreamExt;
use noq::{PathEvent, PathId, PathStats, PathStatus};
use noq_proto::PathAbandonReason;
use serde_json::{Value, json};

use crate::peer::{Connection, Peer};

/// Path ids have no public number; their text is one.
fn number(id: PathId) -> u32 {
    id.to_string().parse().expect("a path id prints as a number")
}

pub fn status(status: PathStatus) -> &'static str {
    match status {
        PathStatus::Available => "available",
        PathStatus::Backup => "backup",
    }
}

fn addr(addr: &TransportAddr) -> String {
    match addr {
        TransportAddr::Ip(addr) => addr.to_string(),
        TransportAddr::Relay(url) => url.to_string(),
        other => format!("{other:?}"),
    }
}

pub fn stats(stats: &PathStats) -> Value {
    json!({
        "rttMs": stats.rtt.as_secs_f64() * 1e3,
        "cwnd": stats.cwnd,
        "mtu": stats.current_mtu,
        "udpTx": { "datagrams": stats.udp_tx.datagrams, "bytes": stats.udp_tx.bytes },
        "udpRx": { "datagrams": stats.udp_rx.datagrams, "bytes": stats.udp_rx.bytes },
        "lostPackets": stats.lost_packets,
        "congestionEvents": stats.congestion_events,
        "lostPlpmtudProbes": stats.lost_plpmtud_probes,
        "blackHolesDetected": stats.black_holes_detected,
        "frames": { "tx": format!("{:?}", stats.frame_tx), "rx": format!("{:?}", stats.frame_rx) },
    })
}

/// Open paths. The noq layer cannot enumerate; ids up to the highest possible one are tried.
pub fn list(connection: &Connection) -> Vec<Value> {
    match connection {
        Connection::Full(connection) => connection
            .paths()
            .iter()
            .map(|path| {
                json!({
                    "path": number(path.id()),
                    "remote": addr(path.remote_addr()),
                    "selected": path.is_selected(),
                    "rttMs": path.rtt().as_secs_f64() * 1e3,
                    "stats": stats(&path.stats()),
                })
            })
            .collect(),
        Connection::Noq(connection) => (0u32..256)
            .filter_map(|id| connection.path(PathId::from(id)))
            .map(|path| {
                json!({
                    "path": number(path.id()),
                    "remote": path.remote_address().map(|addr| addr.to_string()).ok(),
                    "status": path.status().map(status).ok(),
                    "rttMs": path.stats().rtt.as_secs_f64() * 1e3,
                    "stats": stats(&path.stats()),
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn iroh_event(event: IrohPathEvent) -> Value {
    match event {
        IrohPathEvent::Opened { id, remote_addr, .. } => {
            json!({ "type": "opened", "path": number(id), "remote": addr(&remote_addr) })
        }
        IrohPathEvent::Closed { id, remote_addr, last_stats, .. } => {
            json!({ "type": "closed", "path": number(id), "remote": addr(&remote_addr), "stats": stats(&last_stats) })
        }
        IrohPathEvent::Selected { id, remote_addr, .. } => {
            json!({ "type": "selected", "path": number(id), "remote": addr(&remote_addr) })
        }
        IrohPathEvent::Lagged { missed, .. } => json!({ "type": "lagged", "missed": missed }),
        other => json!({ "type": "other", "debug": format!("{other:?}") }),
    }
}

fn noq_event(event: PathEvent) -> Value {
    match event {
        PathEvent::Established { id, .. } => json!({ "type": "established", "path": number(id) }),
        PathEvent::Abandoned { id, reason, .. } => {
            let reason = match reason {
                PathAbandonReason::ApplicationClosed { error_code } => {
                    json!({ "type": "applicationClosed", "code": error_code.into_inner() })
                }
                PathAbandonReason::TimedOut => json!({ "type": "timedOut" }),
                PathAbandonReason::UnusableAfterNetworkChange => json!({ "type": "unusableAfterNetworkChange" }),
                PathAbandonReason::RemoteAbandoned { error_code } => {
                    json!({ "type": "remoteAbandoned", "code": error_code.into_inner() })
                }
                #[allow(deprecated)]
                PathAbandonReason::ValidationFailed => json!({ "type": "validationFailed" }),
            };
            json!({ "type": "abandoned", "path": number(id), "reason": reason })
        }
        PathEvent::Discarded { id, path_stats, .. } => {
            json!({ "type": "discarded", "path": number(id), "stats": stats(&path_stats) })
        }
        PathEvent::RemoteStatus { id, status: new, .. } => {
            json!({ "type": "remoteStatus", "path": number(id), "status": status(new) })
        }
        PathEvent::ObservedAddr { id, addr, .. } => {
            json!({ "type": "observedAddr", "path": number(id), "addr": addr.to_string() })
        }
        other => json!({ "type": "other", "debug": format!("{other:?}") }),
    }
}

/// Sends `{"event": "path", ...}` and, on the noq layer, `{"event": "nat", ...}` lines until the connection ends.
pub fn watch(peer: &Arc<Peer>, handle: u64, connection: &Connection) -> anyhow::Result<()> {
    let peer = peer.clone();
    match connection {
        Connection::Full(connection) => {
            let mut events = connection.path_events();
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    peer.send(json!({ "event": "path", "connection": handle, "path": iroh_event(event) }));
                }
            });
        }
        Connection::Noq(connection) => {
            let mut events = connection.path_events();
            let mut nat = connection.nat_traversal_updates();
            let nat_peer = peer.clone();
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    let event = event.map_or_else(|lagged| json!({ "type": "lagged", "missed": lagged.0 }), noq_event);
                    peer.send(json!({ "event": "path", "connection": handle, "path": event }));
                }
            });
            tokio::spawn(async move {
                while let Some(Ok(event)) = nat.next().await {
                    use noq_proto::n0_nat_traversal::Event;
                    let (kind, addr) = match event {
                        Event::AddressAdded(addr) => ("added", addr),
                        Event::AddressRemoved(addr) => ("removed", addr),
                    };
                    nat_peer.send(json!({
                        "event": "nat", "connection": handle, "type": kind, "addr": addr.to_string(),
                    }));
                }
            });
        }
        _ => anyhow::bail!("path events: wait for `connected` first"),
    }
    Ok(())
}
