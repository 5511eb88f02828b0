//! JSON in and out: typed access to a command's fields, errors and identifiers as JSON.

use std::{error::Error as StdError, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::BASE64;
use noq::{ConnectionError, ReadError, ResetError, StoppedError, VarInt, WriteError};
use serde_json::{Map, Value, json};

/// One line from the driver: `{"id": 1, "cmd": "dial", ...}`.
#[derive(Clone, Debug)]
pub struct Command(pub Map<String, Value>);

impl Command {
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| !value.is_null())
    }

    pub fn text(&self, key: &str) -> Result<&str> {
        self.opt_text(key)?.with_context(|| format!("{key}: missing"))
    }

    pub fn opt_text(&self, key: &str) -> Result<Option<&str>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => bail!("{key}: expected a string, got {other}"),
        }
    }

    pub fn number(&self, key: &str) -> Result<u64> {
        self.opt_number(key)?.with_context(|| format!("{key}: missing"))
    }

    /// A JSON number, or a decimal string where the number may exceed 2^53.
    pub fn opt_number(&self, key: &str) -> Result<Option<u64>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.parse().with_context(|| format!("{key}: not a number"))?)),
            Some(value) => Ok(Some(value.as_u64().with_context(|| format!("{key}: not a number: {value}"))?)),
        }
    }

    pub fn millis(&self, key: &str) -> Result<Option<Duration>> {
        Ok(self.opt_number(key)?.map(Duration::from_millis))
    }

    pub fn varint(&self, key: &str) -> Result<VarInt> {
        VarInt::from_u64(self.number(key)?).map_err(|_| anyhow!("{key}: above 2^62 - 1"))
    }

    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Base64.
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        BASE64.decode(self.text(key)?.as_bytes()).with_context(|| format!("{key}: not base64"))
    }

    pub fn strings(&self, key: &str) -> Result<Vec<String>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).with_context(|| format!("{key}: expected strings")))
                .collect(),
            Some(other) => bail!("{key}: expected an array, got {other}"),
        }
    }

    pub fn alpns(&self, key: &str) -> Result<Vec<Vec<u8>>> {
        Ok(self.strings(key)?.into_iter().map(String::into_bytes).collect())
    }

    pub fn socket_addrs(&self, key: &str) -> Result<Vec<SocketAddr>> {
        self.strings(key)?.iter().map(|text| text.parse().with_context(|| format!("{key}: {text}"))).collect()
    }

    /// A nested object as a command of its own; empty when absent.
    pub fn nested(&self, key: &str) -> Result<Command> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(Command(Map::new())),
            Some(Value::Object(map)) => Ok(Command(map.clone())),
            Some(other) => bail!("{key}: expected an object, got {other}"),
        }
    }
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// Why a connection ended; the same names as `CloseReason` in `src/quic/engine.ts`. Codes are decimal strings.
pub fn close_reason(error: &ConnectionError) -> Value {
    match error {
        ConnectionError::VersionMismatch => json!({ "type": "versionMismatch" }),
        ConnectionError::TransportError(error) => json!({
            "type": "transportError", "code": u64::from(error.code).to_string(), "reason": error.reason,
        }),
        ConnectionError::ConnectionClosed(close) => json!({
            "type": "connectionClosed",
            "code": u64::from(close.error_code).to_string(),
            "reason": String::from_utf8_lossy(&close.reason),
        }),
        ConnectionError::ApplicationClosed(close) => json!({
            "type": "applicationClosed",
            "code": close.error_code.into_inner().to_string(),
            "reason": String::from_utf8_lossy(&close.reason),
        }),
        ConnectionError::Reset => json!({ "type": "reset" }),
        ConnectionError::TimedOut => json!({ "type": "timedOut" }),
        ConnectionError::LocallyClosed => json!({ "type": "locallyClosed" }),
        ConnectionError::CidsExhausted => json!({ "type": "cidsExhausted" }),
    }
}

/// `{ message, kind, code?, closed? }`: what a test may want to tell apart.
pub fn failure(error: &anyhow::Error) -> Value {
    let mut out = json!({ "message": format!("{error:#}"), "kind": "other" });
    let mut next: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<ConnectionError>() {
            out["kind"] = json!("connection");
            out["closed"] = close_reason(error);
            break;
        }
        let (kind, code) = classify(cause);
        if let Some(kind) = kind {
            out["kind"] = json!(kind);
        }
        if let Some(code) = code {
            out["code"] = json!(code.into_inner().to_string());
        }
        next = cause.source();
    }
    out
}

fn classify(cause: &(dyn StdError + 'static)) -> (Option<&'static str>, Option<VarInt>) {
    match cause.downcast_ref::<WriteError>() {
        Some(WriteError::Stopped(code)) => return (Some("stopped"), Some(*code)),
        Some(WriteError::ClosedStream) => return (Some("closedStream"), None),
        Some(WriteError::ZeroRttRejected) => return (Some("zeroRttRejected"), None),
        _ => {}
    }
    match cause.downcast_ref::<ReadError>() {
        Some(ReadError::Reset(code)) => return (Some("reset"), Some(*code)),
        Some(ReadError::ClosedStream) => return (Some("closedStream"), None),
        Some(ReadError::ZeroRttRejected) => return (Some("zeroRttRejected"), None),
        _ => {}
    }
    match cause.downcast_ref::<StoppedError>() {
        Some(StoppedError::ZeroRttRejected) => return (Some("zeroRttRejected"), None),
        _ => {}
    }
    match cause.downcast_ref::<ResetError>() {
        Some(ResetError::ZeroRttRejected) => return (Some("zeroRttRejected"), None),
        _ => {}
    }
    if cause.downcast_ref::<noq::ClosedStream>().is_some() {
        return (Some("closedStream"), None);
    }
    (None, None)
}
