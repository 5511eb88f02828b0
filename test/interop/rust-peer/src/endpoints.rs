//! Commands on endpoints and incomings.

use std::{
    net::UdpSocket,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use iroh::{
    Watcher,
    endpoint::{ConnectOptions, Incoming as IrohIncoming, IncomingAddr},
};
use noq::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use serde_json::{Value, json};

use crate::{
    config,
    peer::{Connection, Endpoint, Incoming, NoqEndpoint, Peer},
    raw_keys,
    transfer::{Service, spawn_service},
    wire::{Command, hex},
};

pub async fn run(peer: &Arc<Peer>, name: &str, command: &Command) -> Option<Result<Value>> {
    Some(match name {
        "bind" => bind(peer, command).await,
        "addr" => addr(peer, command).await,
        "online" => online(peer, command).await,
        "relayStatus" => relay_status(peer, command),
        "setAlpns" => set_alpns(peer, command),
        "dial" => dial(peer, command, false).await,
        "early" => dial(peer, command, true).await,
        "incoming" => incoming(peer, command).await,
        "accept" => accept_next(peer, command).await,
        "serve" => serve(peer, command),
        "incoming.accept" => incoming_accept(peer, command).await,
        "incoming.retry" => incoming_retry(peer, command),
        "incoming.refuse" => incoming_end(peer, command, true),
        "incoming.ignore" => incoming_end(peer, command, false),
        "networkChange" => network_change(peer, command).await,
        "rebind" => rebind(peer, command),
        "addExternalAddr" => external_addr(peer, command, true).await,
        "removeExternalAddr" => external_addr(peer, command, false).await,
        "remoteInfo" => remote_info(peer, command).await,
        "netReport" => net_report(peer, command),
        "closeEndpoint" => close(peer, command).await,
        _ => return None,
    })
}

fn iroh(peer: &Peer, command: &Command) -> Result<iroh::Endpoint> {
    match peer.endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => Ok(endpoint),
        Endpoint::Noq(_) => bail!("not on the noq layer"),
    }
}

async fn bind(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let endpoint = match command.opt_text("layer")?.unwrap_or("iroh") {
        "iroh" => Endpoint::Iroh(config::iroh_builder(command)?.bind().await?),
        "noq" => Endpoint::Noq(Arc::new(bind_noq(command)?)),
        other => bail!("layer: {other}"),
    };
    let (id, sockets, addrs) = match &endpoint {
        Endpoint::Iroh(endpoint) => (
            endpoint.id(),
            endpoint.bound_sockets(),
            endpoint.addr().addrs.iter().map(transport_addr).collect::<Vec<_>>(),
        ),
        Endpoint::Noq(noq) => {
            let local = noq.endpoint.local_addr()?;
            (noq.id, vec![local], vec![local.to_string()])
        }
    };
    Ok(json!({
        "endpoint": peer.add_endpoint(endpoint),
        "endpointId": hex(id.as_bytes()),
        "sockets": sockets.iter().map(|addr| addr.to_string()).collect::<Vec<_>>(),
        "addrs": addrs,
    }))
}

fn bind_noq(command: &Command) -> Result<NoqEndpoint> {
    let key = config::secret_key(command)?;
    let provider = config::crypto_provider(command)?;
    let (client_tls, server_tls) = raw_keys::configs(&key, &provider, command.flag("keylog", false))?;
    let bind = command.socket_addrs("bind")?;
    let addr = bind.first().copied().unwrap_or_else(|| ([127, 0, 0, 1], 0).into());
    let noq = NoqEndpoint {
        endpoint: noq::Endpoint::client(addr)?,
        id: key.public(),
        client_tls,
        server_tls,
        transport: Arc::new(config::noq_transport(&command.nested("transport")?)?),
        tokens: Arc::new(noq::TokenMemoryCache::default()),
        address_tokens: u32::try_from(command.opt_number("addressTokens")?.unwrap_or(0))?,
    };
    noq.serve(command.alpns("alpns")?)?;
    Ok(noq)
}

/// Packet keys of Initial packets are AES-128-GCM whatever the suites offered (RFC 9001 §5.2).
fn initial_suite() -> Result<rustls::quic::Suite> {
    rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .and_then(|suite| suite.quic_suite())
        .context("no Initial cipher suite")
}

/// Takes every token for unused. noq's default log does the opposite, unless it is built with its Bloom filter.
struct TrustingLog;

impl noq::TokenLog for TrustingLog {
    fn check_and_insert(&self, _: u128, _: SystemTime, _: Duration) -> Result<(), noq::TokenReuseError> {
        Ok(())
    }
}

impl NoqEndpoint {
    fn serve(&self, alpns: Vec<Vec<u8>>) -> Result<()> {
        let mut tls = self.server_tls.clone();
        tls.alpn_protocols = alpns;
        let crypto = QuicServerConfig::with_initial(Arc::new(tls), initial_suite()?)?;
        let mut server = noq::ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(self.transport.clone());
        if self.address_tokens > 0 {
            let mut tokens = noq::ValidationTokenConfig::default();
            tokens.sent(self.address_tokens);
            tokens.log(Arc::new(TrustingLog));
            server.validation_token_config(tokens);
        }
        self.endpoint.set_server_config(Some(server));
        Ok(())
    }

    fn connect(&self, command: &Command) -> Result<noq::Connecting> {
        let mut tls = self.client_tls.clone();
        tls.alpn_protocols = vec![command.text("alpn")?.as_bytes().to_vec()];
        tls.alpn_protocols.extend(command.alpns("extraAlpns")?);
        let crypto = QuicClientConfig::with_initial(Arc::new(tls), initial_suite()?)?;
        let mut client = noq::ClientConfig::new(Arc::new(crypto));
        client.transport_config(if command.has("transport") {
            Arc::new(config::noq_transport(&command.nested("transport")?)?)
        } else {
            self.transport.clone()
        });
        client.token_store(self.tokens.clone());
        let to = command.socket_addrs("addrs")?.first().copied().context("addrs: missing")?;
        let id = command.text("remote")?.parse()?;
        Ok(self.endpoint.connect_with(client, to, &raw_keys::tls_name(id))?)
    }
}

fn transport_addr(addr: &iroh::TransportAddr) -> String {
    match addr {
        iroh::TransportAddr::Ip(addr) => addr.to_string(),
        iroh::TransportAddr::Relay(url) => url.to_string(),
        other => format!("{other:?}"),
    }
}

async fn addr(peer: &Peer, command: &Command) -> Result<Value> {
    let endpoint = iroh(peer, command)?;
    Ok(json!({
        "endpointId": hex(endpoint.id().as_bytes()),
        "addrs": endpoint.addr().addrs.iter().map(transport_addr).collect::<Vec<_>>(),
    }))
}

async fn online(peer: &Peer, command: &Command) -> Result<Value> {
    iroh(peer, command)?.online().await;
    Ok(json!({}))
}

fn relay_status(peer: &Peer, command: &Command) -> Result<Value> {
    let status = iroh(peer, command)?.home_relay_status().get();
    Ok(json!({
        "relays": status
            .iter()
            .map(|relay| {
                json!({
                    "url": relay.url().to_string(),
                    "connected": relay.is_connected(),
                    "lastError": relay.last_error().map(|error| format!("{error:#}")),
                })
            })
            .collect::<Vec<_>>(),
    }))
}

fn set_alpns(peer: &Peer, command: &Command) -> Result<Value> {
    let alpns = command.alpns("alpns")?;
    match peer.endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => endpoint.set_alpns(alpns),
        Endpoint::Noq(noq) => noq.serve(alpns)?,
    }
    Ok(json!({}))
}

/// What is known about a connection whose handshake completed.
pub fn describe(connection: &Connection) -> Value {
    match connection {
        Connection::Full(connection) => json!({
            "remote": hex(connection.remote_id().as_bytes()),
            "alpn": String::from_utf8_lossy(connection.alpn()),
        }),
        Connection::Noq(connection) => json!({
            "alpn": connection
                .handshake_data()
                .and_then(|data| data.downcast::<noq::crypto::rustls::HandshakeData>().ok())
                .and_then(|data| data.protocol)
                .map(|alpn| String::from_utf8_lossy(&alpn).into_owned()),
            "multipath": connection.is_multipath_enabled(),
        }),
        Connection::Dialed(_) | Connection::Accepted(_) => json!({}),
    }
}

fn opened(peer: &Peer, connection: Connection, early: bool) -> Value {
    let mut out = describe(&connection);
    out["early"] = json!(early);
    out["connection"] = json!(peer.add_connection(connection));
    out
}

/// `early` answers at once with `early: true` when a ticket allows it, else after the full handshake.
async fn dial(peer: &Arc<Peer>, command: &Command, early: bool) -> Result<Value> {
    match peer.endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => {
            let mut options = ConnectOptions::new().with_additional_alpns(command.alpns("extraAlpns")?);
            if command.has("transport") {
                options = options.with_transport_config(config::iroh_transport(&command.nested("transport")?)?);
            }
            let alpn = command.text("alpn")?.as_bytes();
            let connecting = endpoint.connect_with_opts(config::endpoint_addr(command)?, alpn, options).await?;
            let connecting = if early {
                match connecting.into_0rtt() {
                    Ok(dialed) => return Ok(opened(peer, Connection::Dialed(dialed), true)),
                    Err(connecting) => connecting,
                }
            } else {
                connecting
            };
            Ok(opened(peer, Connection::Full(connecting.await?), false))
        }
        Endpoint::Noq(noq) => {
            let connecting = noq.connect(command)?;
            if !early {
                return Ok(opened(peer, Connection::Noq(connecting.await?), false));
            }
            match connecting.into_0rtt() {
                Ok((connection, accepted)) => {
                    let out = opened(peer, Connection::Noq(connection), true);
                    peer.put_early(out["connection"].as_u64().unwrap_or_default(), accepted);
                    Ok(out)
                }
                Err(connecting) => Ok(opened(peer, Connection::Noq(connecting.await?), false)),
            }
        }
    }
}

async fn next_incoming(peer: &Peer, command: &Command) -> Result<Option<Incoming>> {
    Ok(match peer.endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => endpoint.accept().await.map(Incoming::Iroh),
        Endpoint::Noq(noq) => noq.endpoint.accept().await.map(Incoming::Noq),
    })
}

fn remote_addr(incoming: &IrohIncoming) -> String {
    match incoming.remote_addr() {
        IncomingAddr::Ip(addr) => addr.to_string(),
        IncomingAddr::Relay { url, .. } => url.to_string(),
        other => format!("{other:?}"),
    }
}

/// Waits for a connection attempt and leaves it undecided. Answers `null` when the endpoint closes.
async fn incoming(peer: &Peer, command: &Command) -> Result<Value> {
    let Some(incoming) = next_incoming(peer, command).await? else { return Ok(Value::Null) };
    let (remote, validated, initial) = match &incoming {
        Incoming::Iroh(incoming) => (remote_addr(incoming), incoming.remote_addr_validated(), incoming.decrypt()),
        Incoming::Noq(incoming) => {
            (incoming.remote_address().to_string(), incoming.remote_address_validated(), incoming.decrypt())
        }
    };
    let alpns = initial
        .and_then(|initial| initial.alpns())
        .map(|alpns| alpns.flatten().map(|alpn| String::from_utf8_lossy(&alpn).into_owned()).collect::<Vec<_>>());
    // Only a relay says whose datagrams it brings.
    let relayed = match &incoming {
        Incoming::Iroh(incoming) => match incoming.remote_addr() {
            IncomingAddr::Relay { endpoint_id, .. } => Some(hex(endpoint_id.as_bytes())),
            _ => None,
        },
        Incoming::Noq(_) => None,
    };
    Ok(json!({
        "incoming": peer.add_incoming(incoming),
        "relayedId": relayed,
        "remoteAddr": remote,
        "remoteAddrValidated": validated,
        "alpns": alpns,
    }))
}

async fn accept_incoming(incoming: Incoming, early: bool) -> Result<Connection> {
    Ok(match incoming {
        Incoming::Iroh(incoming) => {
            let accepting = incoming.accept()?;
            if early { Connection::Accepted(accepting.into_0rtt()) } else { Connection::Full(accepting.await?) }
        }
        Incoming::Noq(incoming) => {
            let connecting = incoming.accept()?;
            if !early {
                return Ok(Connection::Noq(connecting.await?));
            }
            match connecting.into_0rtt() {
                Ok((connection, _)) => Connection::Noq(connection),
                Err(connecting) => Connection::Noq(connecting.await?),
            }
        }
    })
}

async fn accept_next(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let Some(incoming) = next_incoming(peer, command).await? else { return Ok(Value::Null) };
    let early = command.flag("early", false);
    Ok(opened(peer, accept_incoming(incoming, early).await?, early))
}

async fn incoming_accept(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let incoming = peer.take_incoming(command.number("incoming")?)?;
    let early = command.flag("early", false);
    Ok(opened(peer, accept_incoming(incoming, early).await?, early))
}

/// `{ retried: false }` when the address was validated already; the incoming stays undecided then.
fn incoming_retry(peer: &Peer, command: &Command) -> Result<Value> {
    let handle = command.number("incoming")?;
    let back = match peer.take_incoming(handle)? {
        Incoming::Iroh(incoming) => incoming.retry().err().map(|error| Incoming::Iroh(error.into_incoming())),
        Incoming::Noq(incoming) => incoming.retry().err().map(|error| Incoming::Noq(error.into_incoming())),
    };
    Ok(match back {
        None => json!({ "retried": true }),
        Some(incoming) => json!({ "retried": false, "incoming": peer.add_incoming(incoming) }),
    })
}

fn incoming_end(peer: &Peer, command: &Command, refuse: bool) -> Result<Value> {
    match (peer.take_incoming(command.number("incoming")?)?, refuse) {
        (Incoming::Iroh(incoming), true) => incoming.refuse(),
        (Incoming::Iroh(incoming), false) => incoming.ignore(),
        (Incoming::Noq(incoming), true) => incoming.refuse(),
        (Incoming::Noq(incoming), false) => incoming.ignore(),
    }
    Ok(json!({}))
}

/// Accepts everything from now on and serves it; each connection is announced as an event.
fn serve(peer: &Arc<Peer>, command: &Command) -> Result<Value> {
    let handle = command.number("endpoint")?;
    let endpoint = peer.endpoint(handle)?;
    let service = Service::parse(command.text("service")?)?;
    let early = command.flag("early", false);
    // Retry every unvalidated attempt first, like a server under load.
    let retry = command.flag("retry", false);
    let peer = peer.clone();
    tokio::spawn(async move {
        loop {
            let incoming = match &endpoint {
                Endpoint::Iroh(endpoint) => endpoint.accept().await.map(Incoming::Iroh),
                Endpoint::Noq(noq) => noq.endpoint.accept().await.map(Incoming::Noq),
            };
            let Some(mut incoming) = incoming else { break };
            if retry {
                let validated = match incoming {
                    Incoming::Iroh(incoming) => {
                        incoming.retry().err().map(|error| Incoming::Iroh(error.into_incoming()))
                    }
                    Incoming::Noq(incoming) => incoming.retry().err().map(|error| Incoming::Noq(error.into_incoming())),
                };
                match validated {
                    Some(validated) => incoming = validated,
                    None => continue,
                }
            }
            let peer = peer.clone();
            tokio::spawn(async move {
                match accept_incoming(incoming, early).await {
                    Ok(connection) => {
                        let mut event = opened(&peer, connection.clone(), early);
                        let connection_handle = event["connection"].as_u64().unwrap_or_default();
                        spawn_service(&peer, connection_handle, connection, service);
                        event["event"] = json!("connection");
                        event["endpoint"] = json!(handle);
                        peer.send(event);
                    }
                    Err(error) => peer.send(json!({
                        "event": "acceptFailed", "endpoint": handle, "error": crate::wire::failure(&error),
                    })),
                }
            });
        }
    });
    Ok(json!({}))
}

async fn network_change(peer: &Peer, command: &Command) -> Result<Value> {
    match peer.endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => endpoint.network_change().await,
        Endpoint::Noq(noq) => noq.endpoint.handle_network_change(None),
    }
    Ok(json!({}))
}

/// noq: moves the endpoint to a fresh socket, as when a phone changes networks.
fn rebind(peer: &Peer, command: &Command) -> Result<Value> {
    let Endpoint::Noq(noq) = peer.endpoint(command.number("endpoint")?)? else { bail!("only on the noq layer") };
    noq.endpoint.rebind(UdpSocket::bind(command.text("addr")?)?)?;
    Ok(json!({ "addr": noq.endpoint.local_addr()?.to_string() }))
}

async fn external_addr(peer: &Peer, command: &Command, add: bool) -> Result<Value> {
    let endpoint = iroh(peer, command)?;
    let addr = command.text("addr")?.parse()?;
    if add {
        endpoint.add_external_addr(addr).await;
        return Ok(json!({}));
    }
    Ok(json!({ "removed": endpoint.remove_external_addr(&addr).await }))
}

async fn remote_info(peer: &Peer, command: &Command) -> Result<Value> {
    let info = iroh(peer, command)?.remote_info(command.text("remote")?.parse()?).await;
    Ok(json!({ "info": info.map(|info| format!("{info:?}")) }))
}

fn net_report(peer: &Peer, command: &Command) -> Result<Value> {
    let report = iroh(peer, command)?.net_report().get();
    Ok(json!({ "report": report.map(|report| format!("{report:?}")) }))
}

async fn close(peer: &Peer, command: &Command) -> Result<Value> {
    match peer.take_endpoint(command.number("endpoint")?)? {
        Endpoint::Iroh(endpoint) => endpoint.close().await,
        Endpoint::Noq(noq) => {
            noq.endpoint.close(0u32.into(), b"");
            tokio::time::timeout(Duration::from_secs(3), noq.endpoint.wait_all_draining()).await.ok();
        }
    }
    Ok(json!({}))
}
