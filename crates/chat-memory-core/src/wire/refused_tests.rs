//! Tests `testdata/refused.json`: bad input, and the sentence that the library, the program, the HTTP service and the npm package
//! report for it.

use serde_json::Value;

use super::{Format, JsonLines};
use crate::json;
use crate::message::Message;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../testdata/refused.json")).expect("a list")
}

/// Returns a case's bytes, if it is a text and not a message.
fn bytes(case: &Value) -> Option<Vec<u8>> {
    let hex = |text: &str| {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect()
    };
    case["text"].as_str().map(|text| text.as_bytes().to_vec()).or_else(|| case["bytes"].as_str().map(hex))
}

#[test]
fn refused_texts_have_the_shared_error_text() {
    for case in cases() {
        let Some(bytes) = bytes(&case) else { continue };
        let error = json::parse_document(&bytes).expect_err("it is no JSON").to_string();
        assert_eq!(error, case["says"].as_str().expect("a text"), "{}", case["name"]);
    }
}

#[test]
fn refused_lines_have_the_shared_error_text() {
    for case in cases() {
        let Some(bytes) = bytes(&case).filter(|bytes| !bytes.trim_ascii().is_empty()) else { continue };
        let error = JsonLines::new(&bytes[..]).find_map(Result::err).map(|error| error.to_string());
        assert_eq!(error.as_deref(), case["says"].as_str(), "{}", case["name"]);
    }
}

#[test]
fn refused_messages_have_the_shared_error_text() {
    for case in cases() {
        let Some(message) = case.get("message") else { continue };
        let format: Format = case["format"].as_str().expect("a text").parse().expect("a format");
        let read = format.read(vec![message.clone()]).and_then(|messages| messages.iter().try_for_each(Message::check));
        assert_eq!(read.expect_err("refused").reason(), case["says"].as_str().expect("a text"), "{}", case["name"]);
    }
}
