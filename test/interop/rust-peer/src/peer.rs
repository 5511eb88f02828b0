//! What the driver holds handles to: endpoints, incomings, connections, streams.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use iroh::endpoint::{IncomingZeroRttConnection, OutgoingZeroRttConnection, RecvStream, SendStream};
use serde_json::{Value, json};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// The layer that a handle belongs to: iroh proper, or bare noq with iroh's TLS profile.
#[derive(Clone)]
pub enum Endpoint {
    Iroh(iroh::Endpoint),
    Noq(Arc<NoqEndpoint>),
}

pub struct NoqEndpoint {
    pub endpoint: noq::Endpoint,
    pub id: iroh::EndpointId,
    pub client_tls: rustls::ClientConfig,
    pub server_tls: rustls::ServerConfig,
    pub transport: Arc<noq::TransportConfig>,
    pub tokens: Arc<dyn noq::TokenStore>,
    pub address_tokens: u32,
}

pub enum Incoming {
    Iroh(iroh::endpoint::Incoming),
    Noq(noq::Incoming),
}

#[derive(Clone)]
pub enum Connection {
    Full(iroh::endpoint::Connection),
    /// Client, early data in use; `connected` turns it into `Full`.
    Dialed(OutgoingZeroRttConnection),
    /// Server, accepted before the handshake completed.
    Accepted(IncomingZeroRttConnection),
    Noq(noq::Connection),
}

/// Runs the same expression on whichever connection type it is.
macro_rules! on_connection {
    ($connection:expr, $inner:ident => $body:expr) => {
        match $connection {
            $crate::peer::Connection::Full($inner) => $body,
            $crate::peer::Connection::Dialed($inner) => $body,
            $crate::peer::Connection::Accepted($inner) => $body,
            $crate::peer::Connection::Noq($inner) => $body,
        }
    };
}
pub(crate) use on_connection;

#[derive(Clone)]
pub struct Stream {
    pub id: u64,
    pub send: Option<Arc<AsyncMutex<SendStream>>>,
    pub recv: Option<Arc<AsyncMutex<RecvStream>>>,
}

#[derive(Default)]
struct Tables {
    endpoints: HashMap<u64, Endpoint>,
    incomings: HashMap<u64, Incoming>,
    connections: HashMap<u64, Connection>,
    /// Whether the server accepted early data, once known (noq layer; iroh tells with `handshake_completed`).
    early: HashMap<u64, noq::ZeroRttAccepted>,
    streams: HashMap<u64, Stream>,
    relays: HashMap<u64, iroh_relay::server::Server>,
    lookups: HashMap<u64, iroh_dns_server::Server>,
}

pub struct Peer {
    next: AtomicU64,
    tables: Mutex<Tables>,
    out: mpsc::UnboundedSender<String>,
}

impl Peer {
    pub fn new(out: mpsc::UnboundedSender<String>) -> Self {
        Self { next: AtomicU64::new(1), tables: Mutex::default(), out }
    }

    pub fn send(&self, line: Value) {
        // The writer only goes away at exit.
        let _ = self.out.send(line.to_string());
    }

    fn handle(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn add_endpoint(&self, endpoint: Endpoint) -> u64 {
        let handle = self.handle();
        self.tables.lock().unwrap().endpoints.insert(handle, endpoint);
        handle
    }

    pub fn endpoint(&self, handle: u64) -> Result<Endpoint> {
        self.tables.lock().unwrap().endpoints.get(&handle).cloned().with_context(|| format!("no endpoint {handle}"))
    }

    pub fn take_endpoint(&self, handle: u64) -> Result<Endpoint> {
        self.tables.lock().unwrap().endpoints.remove(&handle).with_context(|| format!("no endpoint {handle}"))
    }

    pub fn add_incoming(&self, incoming: Incoming) -> u64 {
        let handle = self.handle();
        self.tables.lock().unwrap().incomings.insert(handle, incoming);
        handle
    }

    pub fn take_incoming(&self, handle: u64) -> Result<Incoming> {
        self.tables.lock().unwrap().incomings.remove(&handle).with_context(|| format!("no incoming {handle}"))
    }

    pub fn add_connection(&self, connection: Connection) -> u64 {
        let handle = self.handle();
        self.tables.lock().unwrap().connections.insert(handle, connection);
        handle
    }

    pub fn replace_connection(&self, handle: u64, connection: Connection) {
        self.tables.lock().unwrap().connections.insert(handle, connection);
    }

    pub fn connection(&self, handle: u64) -> Result<Connection> {
        self.tables.lock().unwrap().connections.get(&handle).cloned().with_context(|| format!("no connection {handle}"))
    }

    pub fn put_early(&self, handle: u64, accepted: noq::ZeroRttAccepted) {
        self.tables.lock().unwrap().early.insert(handle, accepted);
    }

    pub fn take_early(&self, handle: u64) -> Option<noq::ZeroRttAccepted> {
        self.tables.lock().unwrap().early.remove(&handle)
    }

    /// Adds a stream and describes it.
    pub fn add_stream(&self, send: Option<SendStream>, recv: Option<RecvStream>) -> Value {
        let handle = self.handle();
        let early = recv.as_ref().map(RecvStream::is_0rtt);
        let id = match (&send, &recv) {
            (Some(send), _) => u64::from(send.id()),
            (None, Some(recv)) => u64::from(recv.id()),
            (None, None) => unreachable!("a stream has at least one half"),
        };
        let stream = Stream {
            id,
            send: send.map(|half| Arc::new(AsyncMutex::new(half))),
            recv: recv.map(|half| Arc::new(AsyncMutex::new(half))),
        };
        self.tables.lock().unwrap().streams.insert(handle, stream);
        json!({ "stream": handle, "id": id, "early": early })
    }

    pub fn stream(&self, handle: u64) -> Result<Stream> {
        self.tables.lock().unwrap().streams.get(&handle).cloned().with_context(|| format!("no stream {handle}"))
    }

    pub fn add_relay(&self, server: iroh_relay::server::Server) -> u64 {
        let handle = self.handle();
        self.tables.lock().unwrap().relays.insert(handle, server);
        handle
    }

    pub fn with_relay<T>(&self, handle: u64, read: impl FnOnce(&iroh_relay::server::Server) -> T) -> Result<T> {
        self.tables.lock().unwrap().relays.get(&handle).map(read).with_context(|| format!("no relay {handle}"))
    }

    pub fn add_lookup(&self, server: iroh_dns_server::Server) -> u64 {
        let handle = self.handle();
        self.tables.lock().unwrap().lookups.insert(handle, server);
        handle
    }

    pub fn take_lookup(&self, handle: u64) -> Result<iroh_dns_server::Server> {
        self.tables.lock().unwrap().lookups.remove(&handle).with_context(|| format!("no lookup server {handle}"))
    }

    /// Forgets a handle of any kind, which is what dropping the Rust value does.
    pub fn forget(&self, handle: u64) {
        let mut tables = self.tables.lock().unwrap();
        // Bound first: dropping a connection may take noq's locks, and must not happen under ours.
        let dropped =
            (tables.incomings.remove(&handle), tables.connections.remove(&handle), tables.streams.remove(&handle));
        drop(tables);
        drop(dropped);
    }

    pub fn counts(&self) -> Value {
        let tables = self.tables.lock().unwrap();
        json!({
            "endpoints": tables.endpoints.len(),
            "incomings": tables.incomings.len(),
            "connections": tables.connections.len(),
            "streams": tables.streams.len(),
        })
    }
}
