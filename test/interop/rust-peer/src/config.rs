//! From the JSON of `bind` and `dial` to endpoint configurations of both layers.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use iroh::{
    EndpointAddr, EndpointId, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey, TransportAddr,
    address_lookup::{AddrFilter, DnsAddressLookup, PkarrPublisher, PkarrResolver},
    dns::DnsResolver,
    endpoint::{Builder, QuicTransportConfig, presets},
    tls::CaTlsConfig,
};
use iroh_mainline_address_lookup::DhtAddressLookup;
use iroh_mdns_address_lookup::MdnsAddressLookup;
use n0_mainline::DhtBuilder;
use noq::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt, congestion};
use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};

use crate::wire::Command;

pub fn secret_key(command: &Command) -> Result<SecretKey> {
    match command.opt_text("secretKey")? {
        None => Ok(SecretKey::generate()),
        Some(text) => {
            let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).context("secretKey: not hex")?;
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| anyhow!("secretKey: expected 32 bytes"))?;
            Ok(SecretKey::from_bytes(&bytes))
        }
    }
}

/// Cipher suites and key exchange groups in the order given: `suites: ["chacha20"]`, `groups: ["secp256r1", "x25519"]`.
pub fn crypto_provider(command: &Command) -> Result<Arc<CryptoProvider>> {
    use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
    let mut provider = default_provider();
    let suites = command.strings("suites")?;
    if !suites.is_empty() {
        provider.cipher_suites = suites
            .iter()
            .map(|name| match name.as_str() {
                "aes128" => Ok(cipher_suite::TLS13_AES_128_GCM_SHA256),
                "aes256" => Ok(cipher_suite::TLS13_AES_256_GCM_SHA384),
                "chacha20" => Ok(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
                other => bail!("suites: {other}"),
            })
            .collect::<Result<_>>()?;
    }
    let groups = command.strings("groups")?;
    if !groups.is_empty() {
        provider.kx_groups = groups
            .iter()
            .map(|name| match name.as_str() {
                "x25519" => Ok(kx_group::X25519),
                "secp256r1" => Ok(kx_group::SECP256R1),
                "secp384r1" => Ok(kx_group::SECP384R1),
                other => bail!("groups: {other}"),
            })
            .collect::<Result<_>>()?;
    }
    Ok(Arc::new(provider))
}

fn mtu_discovery(command: &Command) -> Result<Option<MtuDiscoveryConfig>> {
    if !command.flag("mtuDiscovery", true) {
        return Ok(None);
    }
    let mut config = MtuDiscoveryConfig::default();
    if let Some(bound) = command.opt_number("mtuUpperBound")? {
        config.upper_bound(u16::try_from(bound)?);
    }
    Ok(Some(config))
}

fn controller(name: &str) -> Result<Arc<dyn congestion::ControllerFactory + Send + Sync + 'static>> {
    Ok(match name {
        "cubic" => Arc::new(congestion::CubicConfig::default()),
        "newReno" => Arc::new(congestion::NewRenoConfig::default()),
        other => bail!("congestionControl: {other}"),
    })
}

/// Applies the fields that both builders spell alike. Unset fields keep the layer's default.
macro_rules! apply_common {
    ($builder:ident, $command:ident, $assign:ident) => {{
        if $command.has("maxBidiStreams") {
            $assign!($builder, max_concurrent_bidi_streams($command.varint("maxBidiStreams")?));
        }
        if $command.has("maxUniStreams") {
            $assign!($builder, max_concurrent_uni_streams($command.varint("maxUniStreams")?));
        }
        if let Some(idle) = $command.millis("maxIdleTimeoutMs")? {
            let idle = if idle.is_zero() { None } else { Some(IdleTimeout::try_from(idle)?) };
            $assign!($builder, max_idle_timeout(idle));
        }
        if $command.has("streamReceiveWindow") {
            $assign!($builder, stream_receive_window($command.varint("streamReceiveWindow")?));
        }
        if $command.has("receiveWindow") {
            $assign!($builder, receive_window($command.varint("receiveWindow")?));
        }
        if let Some(window) = $command.opt_number("sendWindow")? {
            $assign!($builder, send_window(window));
        }
        if let Some(rtt) = $command.millis("initialRttMs")? {
            $assign!($builder, initial_rtt(rtt));
        }
        if let Some(mtu) = $command.opt_number("initialMtu")? {
            $assign!($builder, initial_mtu(u16::try_from(mtu)?));
        }
        if $command.has("mtuDiscovery") || $command.has("mtuUpperBound") {
            $assign!($builder, mtu_discovery_config(mtu_discovery($command)?));
        }
        if let Some(size) = $command.opt_number("datagramReceiveBufferSize")? {
            $assign!($builder, datagram_receive_buffer_size((size > 0).then_some(size as usize)));
        }
        if let Some(name) = $command.opt_text("congestionControl")? {
            $assign!($builder, congestion_controller_factory(controller(name)?));
        }
        if let Some(threshold) = $command.opt_number("ackElicitingThreshold")? {
            let mut acks = AckFrequencyConfig::default();
            acks.ack_eliciting_threshold(VarInt::from_u64(threshold)?);
            acks.max_ack_delay($command.millis("maxAckDelayMs")?);
            $assign!($builder, ack_frequency_config(Some(acks)));
        }
        if $command.has("sendObservedAddresses") {
            $assign!($builder, send_observed_address_reports($command.flag("sendObservedAddresses", false)));
        }
        if $command.has("receiveObservedAddresses") {
            $assign!($builder, receive_observed_address_reports($command.flag("receiveObservedAddresses", false)));
        }
        if let Some(paths) = $command.opt_number("maxPaths")? {
            $assign!($builder, max_concurrent_multipath_paths(u32::try_from(paths)?));
        }
        if let Some(count) = $command.opt_number("maxNatAddresses")? {
            $assign!($builder, max_remote_nat_traversal_addresses(u8::try_from(count)?));
        }
        if let Some(dir) = $command.opt_text("qlogDir")? {
            $assign!($builder, qlog_from_path(dir, "rust-peer"));
        }
    }};
}

macro_rules! consume {
    ($builder:ident, $($call:tt)*) => { $builder = $builder.$($call)* };
}
macro_rules! mutate {
    ($builder:ident, $($call:tt)*) => { $builder.$($call)*; };
}

pub fn iroh_transport(command: &Command) -> Result<QuicTransportConfig> {
    let mut builder = QuicTransportConfig::builder();
    apply_common!(builder, command, consume);
    if let Some(interval) = command.millis("keepAliveIntervalMs")? {
        builder = builder.keep_alive_interval(interval);
    }
    if let Some(idle) = command.millis("pathMaxIdleTimeoutMs")? {
        builder = builder.default_path_max_idle_timeout(idle);
    }
    if let Some(interval) = command.millis("pathKeepAliveIntervalMs")? {
        builder = builder.default_path_keep_alive_interval(interval);
    }
    Ok(builder.build())
}

/// noq with iroh's defaults underneath, so that both layers look alike on the wire.
pub fn noq_transport(command: &Command) -> Result<TransportConfig> {
    let mut config = TransportConfig::default();
    let beat = Some(Duration::from_secs(5));
    config.keep_alive_interval(beat);
    config.default_path_keep_alive_interval(beat);
    config.default_path_max_idle_timeout(Some(Duration::from_secs(15)));
    config.max_concurrent_multipath_paths(8);
    config.max_remote_nat_traversal_addresses(32);
    config.server_handshake_migration(true);
    apply_common!(config, command, mutate);
    // Zero switches a timer off here; iroh's builder has no off.
    let optional = |duration: Duration| (!duration.is_zero()).then_some(duration);
    if let Some(interval) = command.millis("keepAliveIntervalMs")? {
        config.keep_alive_interval(optional(interval));
    }
    if let Some(idle) = command.millis("pathMaxIdleTimeoutMs")? {
        config.default_path_max_idle_timeout(optional(idle));
    }
    if let Some(interval) = command.millis("pathKeepAliveIntervalMs")? {
        config.default_path_keep_alive_interval(optional(interval));
    }
    Ok(config)
}

pub fn iroh_builder(command: &Command) -> Result<Builder> {
    let mut builder = match command.opt_text("preset")?.unwrap_or("minimal") {
        "minimal" => Builder::new(presets::Minimal),
        "n0" => Builder::new(presets::N0),
        other => bail!("preset: {other}"),
    };
    builder = builder
        .secret_key(secret_key(command)?)
        .alpns(command.alpns("alpns")?)
        .crypto_provider(crypto_provider(command)?)
        .transport_config(iroh_transport(&command.nested("transport")?)?)
        .keylog(command.flag("keylog", false));
    if command.has("bind") {
        builder = builder.clear_ip_transports();
        for addr in command.socket_addrs("bind")? {
            builder = builder.bind_addr(addr)?;
        }
    }
    for addr in command.socket_addrs("externalAddrs")? {
        builder = builder.external_addr(addr);
    }
    if let Some(tickets) = command.opt_number("maxTlsTickets")? {
        builder = builder.max_tls_tickets(tickets as usize);
    }
    if command.has("relays") {
        builder = builder.relay_mode(relay_mode(command)?);
    }
    if command.has("roots") {
        let roots: Vec<CertificateDer<'static>> = command
            .strings("roots")?
            .iter()
            .map(|der| Ok(CertificateDer::from(BASE64.decode(der.as_bytes()).context("roots: not base64 DER")?)))
            .collect::<Result<_>>()?;
        builder = builder.ca_tls_config(CaTlsConfig::custom_roots(roots));
    }
    let lookup = command.nested("lookup")?;
    if let Some(url) = lookup.opt_text("pkarrRelay")? {
        builder = builder
            .address_lookup(PkarrPublisher::builder(url.parse()?))
            .address_lookup(PkarrResolver::builder(url.parse()?));
    }
    if let Some(origin) = lookup.opt_text("dnsOrigin")? {
        builder = builder.address_lookup(DnsAddressLookup::builder(origin.to_owned()));
    }
    if let Some(addr) = lookup.opt_text("nameserver")? {
        builder = builder.dns_resolver(DnsResolver::with_nameserver(addr.parse()?));
    }
    if command.flag("mdns", false) {
        builder = builder.address_lookup(MdnsAddressLookup::builder());
    }
    if command.has("dht") {
        let mut dht = DhtBuilder::default();
        dht.bootstrap(&command.nested("dht")?.strings("bootstrap")?);
        // Direct addresses too; by default only relays are published there.
        let lookup = DhtAddressLookup::builder().dht_builder(dht).addr_filter(AddrFilter::unfiltered());
        builder = builder.address_lookup(lookup);
    }
    Ok(builder)
}

/// `relays: ["https://127.0.0.1:3340"]`; an empty array disables relays. `relayQuicPort` turns address discovery on,
/// `relayToken` is shown to them.
fn relay_mode(command: &Command) -> Result<RelayMode> {
    let urls = command.strings("relays")?;
    if urls.is_empty() {
        return Ok(RelayMode::Disabled);
    }
    let quic = match command.opt_number("relayQuicPort")? {
        None => None,
        Some(port) => Some(iroh_relay_quic(u16::try_from(port)?)),
    };
    let token = command.opt_text("relayToken")?;
    let configs = urls
        .iter()
        .map(|url| {
            let config = RelayConfig::new(url.parse::<RelayUrl>()?, quic.clone());
            Ok(match token {
                Some(token) => config.with_auth_token(token),
                None => config,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(RelayMode::Custom(RelayMap::from_iter(configs)))
}

fn iroh_relay_quic(port: u16) -> iroh_relay::RelayQuicConfig {
    iroh_relay::RelayQuicConfig::new(port)
}

/// Fields `remote` (endpoint id, hex) and `addrs` (`ip:port` or relay URL).
pub fn endpoint_addr(command: &Command) -> Result<EndpointAddr> {
    let id: EndpointId = command.text("remote")?.parse()?;
    let addrs = command
        .strings("addrs")?
        .iter()
        .map(|text| match text.parse() {
            Ok(addr) => Ok(TransportAddr::Ip(addr)),
            Err(_) => Ok(TransportAddr::Relay(text.parse::<RelayUrl>()?)),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(EndpointAddr::from_parts(id, addrs))
}
