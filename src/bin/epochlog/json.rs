//! JSON for programs: one document, or one object a line.
//!
//! Invariant: bytes that are UTF-8 stand as text under their name; other bytes as base64 under their name and
//! `_base64`. Offsets and counts are numbers, times RFC 3339, epochs and places the library's own text.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use epochlog::{Ack, Durability, RecordView};
use serde_json::{Map, Value, json};

use crate::time;

/// Prints one document and a line end.
pub(crate) fn document(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Prints one object on one line.
pub(crate) fn line(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Puts bytes into an object, as text if they are.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// Puts bytes that may not be there into an object: `null` if they aren't.
pub(crate) fn put_option(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put_bytes(object, name, bytes),
        None => {
            object.insert(name.to_owned(), Value::Null);
        }
    }
}

/// Headers as a list, since names may repeat.
pub(crate) fn headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Value {
    let object = |(name, value): (&str, &[u8])| {
        let mut object = Map::new();
        object.insert("name".into(), name.into());
        put_bytes(&mut object, "value", value);
        Value::Object(object)
    };
    Value::Array(headers.map(object).collect())
}

/// A record that was consumed.
pub(crate) fn record(record: &RecordView<'_>) -> Value {
    let mut object = Map::new();
    object.insert("partition".into(), record.partition().into());
    object.insert("offset".into(), record.offset().get().into());
    object.insert("timestamp".into(), time::show(record.timestamp()).into());
    put_option(&mut object, "key", record.key());
    put_option(&mut object, "value", (!record.is_tombstone()).then(|| record.value()));
    object.insert("headers".into(), headers(record.headers()));
    object.insert("place".into(), record.next().to_string().into());
    Value::Object(object)
}

/// An acknowledgement.
pub(crate) fn ack(ack: &Ack) -> Value {
    let offsets = ack.offsets();
    json!({
        "partition": ack.partition(),
        "start": offsets.start.get(),
        "end": offsets.end.get(),
        "place": ack.next().to_string(),
        "durability": durability(ack.durability()),
    })
}

/// The library's word for it.
pub(crate) fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability::Durable => "durable",
        Durability::Written => "written",
    }
}
