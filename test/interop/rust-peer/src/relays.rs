//! Relay servers of iroh's own, for our clients.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use iroh_relay::server::{
    Access, AccessControl, CertConfig, ClientRequest, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{peer::Peer, wire::Command};

pub async fn run(peer: &Arc<Peer>, name: &str, command: &Command) -> Option<Result<Value>> {
    Some(match name {
        "relay.listen" => listen(peer, command).await,
        "relay.counts" => counts(peer, command),
        _ => return None,
    })
}

/// Lets in who shows it.
#[derive(Debug)]
struct Token(String);

impl AccessControl for Token {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        if request.auth_token().as_deref() == Some(&self.0) { Access::Allow } else { Access::Deny { reason: None } }
    }
}

/// With TLS and address discovery, on loopback, until the process ends: `Server::shutdown` leaves connections as they are.
/// `cert` and `key` are PEM texts, the chain leaf first. `port`: that of an earlier one.
async fn listen(peer: &Peer, command: &Command) -> Result<Value> {
    let chain = CertificateDer::pem_slice_iter(command.text("cert")?.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(command.text("key")?.as_bytes())?;
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let any = (Ipv4Addr::LOCALHOST, 0);
    let port = u16::try_from(command.opt_number("port")?.unwrap_or(0))?;
    let mut relay = RelayConfig::new(any);
    relay.tls = Some(TlsConfig::new((Ipv4Addr::LOCALHOST, port), CertConfig::Manual { server_config: tls }));
    if let Some(token) = command.opt_text("token")? {
        relay.access = Arc::new(Token(token.to_owned()));
    }
    let mut config = ServerConfig::default();
    config.relay = Some(relay);
    config.quic = Some(QuicConfig::new(any));
    let server = Server::spawn(config).await?;
    let https = server.https_addr().context("no HTTPS")?;
    let quic = server.quic_addr().context("no address discovery")?;
    Ok(json!({
        "relay": peer.add_relay(server),
        "url": format!("https://{https}/"),
        "port": https.port(),
        "quicPort": quic.port(),
    }))
}

fn counts(peer: &Peer, command: &Command) -> Result<Value> {
    peer.with_relay(command.number("relay")?, |server| {
        let metrics = &server.metrics().server;
        json!({
            "bytesSent": metrics.bytes_sent.get(),
            "accepts": metrics.accepts.get(),
            "disconnects": metrics.disconnects.get(),
        })
    })
}
