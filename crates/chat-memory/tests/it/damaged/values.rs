//! Values that can replace any attribute.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::dynamodb::{n, s};

/// A damaged attribute: the damage's name for output, and the new value; `None` removes the attribute.
pub type Damage = (String, Option<AttributeValue>);

pub fn binary(bytes: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes.into()))
}

pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).expect("a frame")
}

/// A 100 KB frame that expands to 3.2 GB: 25,000 blocks that each encode "131,072 spaces".
pub fn bomb() -> Vec<u8> {
    // The magic number; a window of a megabyte, no size and no checksum.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    for block in 1..=25_000 {
        // A block's header, RFC 8878: the last-block bit, two bits for the type "repeated", and 21 bits for the size.
        let header: u32 = u32::from(block == 25_000) | 1 << 1 | 131_072 << 3;
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

/// A frame whose header declares 2^62 bytes, and whose first block is whole.
pub fn boaster() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1100_0000, 0x58];
    frame.extend((1_u64 << 62).to_le_bytes());
    // A raw block of one byte, the last.
    frame.extend([0x09, 0x00, 0x00, b'[']);
    frame
}

/// JSON of this many nested lists.
pub fn deep(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

pub fn zstd_damages() -> Vec<(&'static str, Vec<u8>)> {
    let whole = compressed(br#"[{"role":"user","content":"hello"}]"#);
    let mut flipped = whole.clone();
    flipped[4] ^= 0xff;
    vec![
        ("a frame cut short", whole[..whole.len() - 3].to_vec()),
        ("a frame's beginning", whole[..3].to_vec()),
        ("a frame with bits turned", flipped),
        ("two frames", [whole.clone(), whole.clone()].concat()),
        ("a frame with something behind", [whole, b"more".to_vec()].concat()),
        ("a bomb", bomb()),
        ("a frame that boasts", boaster()),
        ("a frame of no JSON", compressed(b"hello")),
        ("a frame of an object", compressed(b"{}")),
        ("a frame of no messages", compressed(b"[]")),
        ("a frame of other things", compressed(b"[1, null, {}, [], \"x\"]")),
        ("a frame of deep JSON", compressed(deep(100_000).as_bytes())),
        ("a frame of no text", compressed(&[0xff; 40])),
    ]
}

/// Selects the cases to try: one in 21, spread over all kinds of damage, or all of them if `DAMAGE=all` is set.
pub fn some<T>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    cases.into_iter().step_by(stride())
}

/// This many cases, or the fraction of them that is tried.
pub fn at_least(of_all: usize) -> usize {
    of_all / stride()
}

fn stride() -> usize {
    match std::env::var("DAMAGE").as_deref() {
        Ok("all") => 1,
        Ok(other) => panic!("DAMAGE={other}: the only value is `all`."),
        Err(_) => 21,
    }
}

/// Every damage that any attribute can have: missing, of another type, empty, large, or absurd.
pub fn damages() -> Vec<Damage> {
    let mut damages: Vec<Damage> = vec![("gone".to_owned(), None)];
    let mut put = |name: &str, value: AttributeValue| damages.push((name.to_owned(), Some(value)));
    for number in [
        "0",
        "1",
        "2",
        "-1",
        "1.5",
        "10001",
        "999999999999",
        "1000000000000",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "99999999999999999999",
        "1E+125",
        "-1E+125",
        "1E-130",
    ] {
        put(&format!("the number {number}"), n(number));
    }
    for (name, text) in [
        ("an empty text", String::new()),
        ("a text", "x".to_owned()),
        ("a text with a line break", "x\ny".to_owned()),
        ("a number as text", "1".to_owned()),
        ("a large text", "x".repeat(100_000)),
        ("deep JSON as text", deep(100_000)),
        ("JSON of another shape", r#"["x", 1]"#.to_owned()),
        ("JSON with an absurd number", r#"{"x": 1e999999999}"#.to_owned()),
    ] {
        put(name, s(text));
    }
    put("no bytes", binary([]));
    put("15 bytes", binary([7; 15]));
    put("16 bytes", binary([7; 16]));
    put("many bytes", binary([7; 100_000]));
    for (name, bytes) in zstd_damages() {
        put(name, binary(bytes));
    }
    put("an empty list", AttributeValue::L(Vec::new()));
    put("a list of numbers", AttributeValue::L(vec![n(1)]));
    put("a list of texts", AttributeValue::L(vec![s("x"), s(r#"{"role":"robot"}"#)]));
    put("a list of deep JSON", AttributeValue::L(vec![s(deep(100_000))]));
    put("a long list", AttributeValue::L(vec![AttributeValue::Null(true); 10_000]));
    put("an empty map", AttributeValue::M(HashMap::new()));
    put("a map", AttributeValue::M(HashMap::from([("x".to_owned(), n(1))])));
    put("true", AttributeValue::Bool(true));
    put("null", AttributeValue::Null(true));
    put("a set of texts", AttributeValue::Ss(vec!["x".to_owned()]));
    put("a set of numbers", AttributeValue::Ns(vec!["1".to_owned()]));
    put("a set of bytes", AttributeValue::Bs(vec![Blob::new([7; 16])]));
    damages
}
