//! Where endpoints find each other, of iroh's own: its lookup server, and a network of Mainline DHT nodes.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, Result, anyhow};
use iroh::{RelayUrl, SecretKey, endpoint_info::EndpointInfo};
use iroh_dns_server::{
    Server,
    config::{Config, MainlineConfig, MetricsConfig, RateLimitConfig},
};
use n0_mainline::Testnet;
use redb::{Database, Durability, MultimapTableDefinition, TableDefinition};
use serde_json::{Value, json};

use crate::{peer::Peer, wire::Command};

pub async fn run(peer: &Arc<Peer>, name: &str, command: &Command) -> Option<Result<Value>> {
    Some(match name {
        "lookup.listen" => listen(peer, command).await,
        "lookup.close" => close(peer, command).await,
        "lookup.fill" => fill(command).await,
        "dht.listen" => dht(command).await,
        _ => return None,
    })
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The lookup server with HTTP and DNS on loopback, and no limit on puts. Fields: `dataDir`, `origins` (with `.`, which it
/// wants to be among them), `httpPort` and `dnsPort` (default: free ones), `dht: { bootstrap }` to look in the DHT for keys
/// that it does not know.
async fn listen(peer: &Peer, command: &Command) -> Result<Value> {
    let port = |key| Ok::<_, anyhow::Error>(u16::try_from(command.opt_number(key)?.unwrap_or(0))?);
    let mut config = Config::default();
    let http = config.http.as_mut().context("no HTTP")?;
    http.port = port("httpPort")?;
    http.bind_addr = Some(LOOPBACK);
    config.https = None;
    config.dns.port = port("dnsPort")?;
    config.dns.bind_addr = Some(LOOPBACK);
    config.dns.origins = command.strings("origins")?;
    config.metrics = Some(MetricsConfig::disabled());
    config.pkarr_put_rate_limit = RateLimitConfig::Disabled;
    config.data_dir = Some(PathBuf::from(command.text("dataDir")?));
    if command.has("dht") {
        let mut mainline = MainlineConfig::default();
        mainline.enabled = true;
        mainline.bootstrap = Some(command.nested("dht")?.strings("bootstrap")?);
        config.mainline = Some(mainline);
    }
    let server = Server::bind(config).await.map_err(|error| anyhow!("{error:#}"))?;
    let http = server.http_addr().context("no HTTP")?;
    let dns = server.dns_addr();
    Ok(json!({
        "lookup": peer.add_lookup(server),
        "url": format!("http://{http}/"),
        "httpPort": http.port(),
        "dnsAddr": dns.to_string(),
        "dnsPort": dns.port(),
    }))
}

async fn close(peer: &Peer, command: &Command) -> Result<Value> {
    let server = peer.take_lookup(command.number("lookup")?)?;
    server.shutdown().await.map_err(|error| anyhow!("{error:#}"))?;
    Ok(json!({}))
}

/// The tables of the server's store (`iroh-dns-server/src/store/signed_packets.rs`).
const PACKETS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("signed-packets-1");
const UPDATE_TIMES: MultimapTableDefinition<[u8; 8], [u8; 32]> = MultimapTableDefinition::new("update-time-1");
/// Packets in one transaction.
const FILL_BATCH: u64 = 50_000;

/// Writes packets that are signed as they should be into the database of a server that does not run: `records` of them into
/// that of `dataDir`, and their keys, 32 bytes each, into `keysFile`.
async fn fill(command: &Command) -> Result<Value> {
    let records = command.number("records")?;
    let folder = PathBuf::from(command.text("dataDir")?);
    let keys_file = PathBuf::from(command.text("keysFile")?);
    tokio::task::spawn_blocking(move || fill_blocking(records, &folder, &keys_file)).await??;
    Ok(json!({}))
}

fn fill_blocking(records: u64, folder: &Path, keys_file: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let database = Database::create(folder.join("signed-packets-1.db"))?;
    let relay: RelayUrl = "https://euc1-1.relay.n0.iroh.link./".parse()?;
    let mut keys = Vec::new();
    for first in (0..records).step_by(usize::try_from(FILL_BATCH)?) {
        let mut transaction = database.begin_write()?;
        let is_last = first + FILL_BATCH >= records;
        transaction.set_durability(if is_last { Durability::Immediate } else { Durability::None })?;
        {
            let mut packets = transaction.open_table(PACKETS)?;
            let mut update_times = transaction.open_multimap_table(UPDATE_TIMES)?;
            for i in first..records.min(first + FILL_BATCH) {
                let mut seed = [0x5a; 32];
                seed[..8].copy_from_slice(&i.to_be_bytes());
                let secret = SecretKey::from_bytes(&seed);
                let packet = EndpointInfo::new(secret.public())
                    .with_relay_url(relay.clone())
                    .to_pkarr_signed_packet(&secret, 30)?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                let mut row = u64::try_from(now.as_micros())?.to_be_bytes().to_vec();
                row.extend_from_slice(packet.as_bytes());
                let key = *secret.public().as_bytes();
                packets.insert(&key, row.as_slice())?;
                update_times.insert(packet.timestamp().to_be_bytes(), key)?;
                keys.extend_from_slice(&key);
            }
        }
        transaction.commit()?;
    }
    fs::write(keys_file, keys)?;
    Ok(())
}

/// A DHT of its own on this host, of `nodes` nodes (default 5), until the process ends.
async fn dht(command: &Command) -> Result<Value> {
    let count = command.opt_number("nodes")?.unwrap_or(5);
    let testnet = Testnet::new(usize::try_from(count)?).await?;
    testnet.leak();
    Ok(json!({ "bootstrap": testnet.bootstrap }))
}
