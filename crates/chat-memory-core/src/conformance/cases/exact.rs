//! What was appended is loaded unchanged.

use serde_json::{Value, json};

use crate::conformance::sample::{Random, canonical, comes_back, with_field};
use crate::conformance::{Failure, TestContext};
use crate::json;
use crate::message::{Content, Message, Part, Role, ToolCall};
use crate::store::{Append, Load};

pub(super) async fn text_round_trips_byte_for_byte(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let mut texts = vec![
        String::new(),
        " ".into(),
        "\r\n".into(),
        "\n".into(),
        "\r".into(),
        "\0".into(),
        "a\0b\0".into(),
        "\u{1}\u{1f}\u{7f}\u{80}\u{85}\u{2028}\u{2029}".into(),
        "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽".into(),
        "e\u{301} is not é".into(),
        "שלום עולם \u{202e}abc\u{202c}".into(),
        "日本語 한국어 ไทย हिन्दी".into(),
        "\u{feff}with a mark".into(),
        "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}".into(),
        r#"{"not": "JSON but text"}"#.into(),
        r#"\u0000 \" \\ '; DROP TABLE records; --"#.into(),
        "  spaces around  ".into(),
    ];
    texts.push("x".repeat(100_000));
    texts.push("ünï¢ødé ".repeat(10_000));
    // All at once and one by one: the two may be stored in different ways.
    let messages: Vec<Message> = texts.iter().map(|text| Message::user(text.clone())).collect();
    comes_back(&context.store, &session, &messages).await?;
    for message in messages {
        comes_back(&context.store, &session, &[message]).await?;
    }
    Ok(())
}

pub(super) async fn numbers_round_trip_exactly(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let numbers = [
        json!(0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(9_007_199_254_740_993_i64),
        json!(0.0),
        json!(-0.0),
        json!(1.0),
        json!(-1.0),
        json!(1e300),
        json!(-1e300),
        json!(5e-324),
        json!(f64::MAX),
        json!(f64::MIN_POSITIVE),
        json!(0.1),
        json!(0.1 + 0.2),
        json!(1e15),
        json!(1e16),
        json!(1e17),
        json!(1e21),
        json!(1e22),
        json!(9_007_199_254_740_992.0),
        json!(123_456_789.125),
        json!(18_446_744_073_709_551_616.0),
        json!(1.0e-7),
    ];
    for number in &numbers {
        comes_back(&context.store, &session, &[with_field("n", number.clone())]).await?;
    }
    comes_back(&context.store, &session, &[with_field("all", numbers.iter().cloned().collect())]).await?;
    let part = Part::from(serde_json::Map::from_iter([("type".to_owned(), json!("x")), ("n".to_owned(), json!([1, 1.0, -0.0]))]));
    comes_back(&context.store, &session, &[Message::user(Content::Parts(vec![part]))]).await
}

pub(super) async fn number_literals_round_trip_as_the_nearest_double(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let literals = [
        ("2.98023223876953125E-8", 2.0_f64.powi(-25)),
        ("0.10000000000000001", 0.1),
        ("0.30000000000000004440892", 0.1 + 0.2),
        ("140635632025307.13", 140_635_632_025_307.13),
        ("9007199254740993.0", 9_007_199_254_740_992.0),
        ("18446744073709551616", 18_446_744_073_709_551_616.0),
        ("-9223372036854775809", -9_223_372_036_854_775_808.0),
        ("123456789012345678901234567890123456789012", 1.234_567_890_123_456_8e41),
        ("1e23", 1e23),
        ("1e-400", 0.0),
        ("-0", -0.0),
        ("-1e-400", -0.0),
        ("0e99999999999999999999", 0.0),
    ];
    for (literal, float) in literals {
        let text = format!(r#"{{"role":"user","content":"x","n":{literal}}}"#);
        let message = Message::from_json(&text).map_err(|e| Failure::new(format!("{text}: {e}")))?;
        comes_back(&context.store, &session, &[message]).await?;
        let back = context.open().await?.load(&session, &Load::last(1)).await?.into_messages().pop();
        let bits = back.and_then(|message| message.extra.get("n")?.as_f64()).map(f64::to_bits);
        ensure_eq!(bits, Some(float.to_bits()), "the double that {literal} stands for");
    }
    Ok(())
}

pub(super) async fn unknown_fields_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let mut messages = Vec::new();
    for text in [
        r#"{"role":"assistant","content":null,"refusal":null,"annotations":[],"audio":{},"score":1.0}"#,
        r#"{"role":"assistant","content":"","tool_calls":[],"function_call":null}"#,
        r#"{"role":"user","content":"x","name":null,"id":null,"tool_call_id":null,"tool_calls":null}"#,
        r#"{"role":"user","content":"x","":"","text":"not the content","type":"human","data":{"content":"y"}}"#,
        r##"{"role":"user","content":"x","a.b":1,"a[0]":2,"$ref":3,"\u0000":4,"👍":5,":v":6,"#attr":7,"S":"8"}"##,
        r#"{"z":1,"y":{"b":2,"a":[{"d":3,"c":4}]},"role":"user","content":"fields in another order"}"#,
    ] {
        messages.push(Message::from_json(text).map_err(|e| Failure::new(format!("{text}: {e}")))?);
    }
    comes_back(&context.store, &session, &messages).await
}

pub(super) async fn tool_calls_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let odd =
        json!({"id": "call_3", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}, "index": 0, "extra": null});
    let Value::Object(odd) = odd else { return Err(Failure::new("an object")) };
    let turn = [
        Message::user("do it"),
        Message::tool_calls([
            ToolCall::function("call_1", "f", r#"{ "a" : 1.0,  "b":"é\n" }"#),
            ToolCall::function("call_2", "g", "not JSON at all {"),
            odd.into(),
        ]),
        Message::tool("call_1", r#"{"ok": true}"#),
        Message::tool("call_2", ""),
        Message::tool("call_3", Content::Parts(vec![Part::text("a result in parts")])),
        Message { tool_calls: vec![ToolCall::function("call_4", "h", "")], ..Message::assistant("with text next to the call") },
    ];
    comes_back(&context.store, &session, &turn).await
}

pub(super) async fn content_parts_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let parts = vec![
        Part::text("look at this"),
        Part::text(""),
        Part::image_url("data:image/png;base64,iVBORw0KGgo="),
        serde_json::Map::from_iter([
            ("type".to_owned(), json!("input_audio")),
            ("input_audio".to_owned(), json!({"data": "", "format": null})),
        ])
        .into(),
        serde_json::Map::new().into(),
    ];
    let messages = [Message::user(Content::Parts(parts)), Message::assistant(Content::Parts(Vec::new())), Message::user("plain")];
    comes_back(&context.store, &session, &messages).await
}

pub(super) async fn every_role_and_known_field_round_trips(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let mut messages = Vec::new();
    for role in [Role::System, Role::User, Role::Assistant, Role::Tool] {
        messages.push(Message::new(role, "text"));
        messages.push(Message { content: None, ..Message::new(role, "") });
        messages.push(Message { name: Some("Ada".into()), id: Some(String::new()), ..Message::new(role, "named") });
        messages.push(Message { tool_call_id: Some("call_1".into()), ..Message::new(role, "answers") });
    }
    comes_back(&context.store, &session, &messages).await
}

pub(super) async fn deeply_nested_messages_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    // The message itself is a level.
    for lists in [true, false] {
        let deep = (1..json::MAX_DEPTH).fold(json!(1.0), |inner, _| if lists { json!([inner]) } else { json!({"k": inner}) });
        comes_back(&context.store, &session, &[with_field("deep", deep.clone())]).await?;
        let metadata = serde_json::Map::from_iter([("deep".to_owned(), deep)]);
        context.store.append(&session, &Append::new([Message::user("x")]).with_metadata(metadata.clone())).await?;
        let back = context.store.load(&session, &Load::last(1)).await?.records.pop().and_then(|record| record.metadata);
        ensure_eq!(back, Some(metadata), "metadata nested as deeply as allowed");
    }
    Ok(())
}

pub(super) async fn random_messages_round_trip(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let messages: Vec<Message> = (0..=random.below(4)).map(|_| random.message()).filter(|m| m.check().is_ok()).collect();
        if !messages.is_empty() {
            comes_back(&context.store, &session, &messages)
                .await
                .map_err(|e| Failure::new(format!("with the seed {seed}: {e}")))?;
        }
    }
    Ok(())
}

/// Text that hardly compresses.
fn noise(seed: u64, bytes: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| rng.alphanumeric()).collect()
}

pub(super) async fn one_megabyte_message_round_trips(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    comes_back(&context.store, &session, &[Message::user(noise(1, 1_000_000))]).await?;
    comes_back(&context.store, &session, &[Message::user("repeated ".repeat(111_112))]).await?;
    comes_back(&context.store, &session, &[Message::user("\u{1}".repeat(200_000))]).await
}

pub(super) async fn three_megabyte_turn_round_trips_as_one_record(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let turn: Vec<Message> = (0..6).map(|i| Message::user(noise(i, 500_000))).collect();
    let append = Append::new(turn.clone()).with_key("large");
    let first = context.store.append(&session, &append).await?;
    context.store.append(&session, &Append::new([Message::assistant("short")])).await?;
    let again = context.open().await?.append(&session, &append).await?;
    ensure!(again.repeated && again.seq == first.seq, "a repeated large append does not return what the first returned");
    let history = context.open().await?.load(&session, &Load::all()).await?;
    ensure_eq!(history.records.len(), 2, "the number of records");
    for (back, sent) in history.records[0].messages().zip(&turn) {
        ensure_eq!(canonical(&back.to_value()), canonical(&sent.to_value()), "a message of a large turn");
    }
    ensure_eq!(history.records[0].entries.len(), 6, "the messages of the large turn");
    context.store.clear(&session).await?;
    ensure!(context.store.load(&session, &Load::all()).await?.is_empty(), "a large turn is there after a clear");
    Ok(())
}
