//! Checks what the documentation says about token counts.
#![cfg(feature = "tokens")]

use chat_memory::memory::{Encoding, IMAGE_TOKENS, LOW_DETAIL_IMAGE_TOKENS, Policy, TokenCounter};
use chat_memory::wire::openai;
use chat_memory::{Message, Part, ToolCall};
use serde_json::json;

fn exact() -> TokenCounter {
    TokenCounter::exact(Encoding::O200kBase).expect("this build has it")
}

#[test]
fn message_tokens_follow_the_counting_rules() {
    let count = |message: &Message| exact().count(message);
    let text = |text: &str| count(&Message::user(text)) - 4;
    assert_eq!(text(""), 0);
    assert_eq!(text("Hello, world!"), 4);
    // A text that looks like a control token is plain text.
    assert!(text("<|endoftext|>") > 1);

    let mut named = Message::user("Hello, world!");
    named.name = Some("ada".into());
    assert_eq!(count(&named), 4 + 4 + 1 + text("ada"));

    let call = Message::tool_calls([ToolCall::function("call_0123456789", "get_weather", r#"{"city":"Paris"}"#)]);
    assert_eq!(count(&call), 3 + 1 + 3 + text("get_weather") + text(r#"{"city":"Paris"}"#));
    let old = json!({"role": "assistant", "content": null, "function_call": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}});
    assert_eq!(count(&openai::from_value(old).expect("good")), count(&call));

    let image = |part: Part| count(&Message::user(chat_memory::Content::Parts(vec![part]))) - 4;
    let data_url = format!("data:image/png;base64,{}", "A".repeat(100_000));
    assert_eq!(image(Part::image_url(data_url)), IMAGE_TOKENS);
    let low = json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}});
    assert_eq!(image(Part::from(low.as_object().expect("an object").clone())), LOW_DETAIL_IMAGE_TOKENS);
}

#[test]
fn models_map_to_their_vocabularies() {
    let hard = Message::user("नमस्ते 안녕하세요");
    let [new, old] = ["gpt-4o-mini", "gpt-4-turbo"].map(|model| TokenCounter::for_model(model).expect("known").count(&hard));
    assert!(new < old);
    assert_eq!(TokenCounter::default().count(&hard), new);
    assert_eq!(TokenCounter::for_model("gpt-5-nano").expect("known").count(&hard), new);
    let error = TokenCounter::for_model("some-model").expect_err("not known");
    assert!(error.is_invalid() && error.to_string().contains("\"some-model\""), "{error}");
}

#[test]
fn estimate_error_is_within_the_documented_range() {
    let (conversations, real) = crate::data::conversations();
    let (estimate, exact) = (TokenCounter::estimate(), exact());
    let sum = |counter: &TokenCounter, messages: &[Message]| messages.iter().map(|message| counter.count(message)).sum::<u64>();
    let (mut sums, mut ratios) = ((0, 0), Vec::new());
    for (_, values) in &conversations {
        let messages: Vec<_> = values.iter().map(|value| openai::from_value(value.clone()).expect("good")).collect();
        let (estimated, counted) = (sum(&estimate, &messages), sum(&exact, &messages));
        sums = (sums.0 + estimated, sums.1 + counted);
        ratios.push(estimated as f64 / counted as f64);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    let whole = sums.0 as f64 / sums.1 as f64;
    println!("estimate {} of {} tokens: {whole:.3} in sum, {least:.3} to {most:.3} a conversation", sums.0, sums.1);
    if real {
        assert!((1.07..1.10).contains(&whole) && least > 1.05 && most < 1.14);
    } else {
        assert!((0.85..1.4).contains(&whole));
    }
}

#[test]
fn estimate_holds_for_other_languages_and_code() {
    let texts = [
        "The mountain train only runs at weekends during the winter, so anyone who wants to ride should reserve seats early.",
        "Die Zahnradbahn fährt im Winter nur am Wochenende, und wer mitfahren will, sollte seine Plätze rechtzeitig bestellen.",
        "Le petit train ne circule en hiver que le samedi et le dimanche, et il vaut mieux réserver ses places à l'avance.",
        "El tren de montaña solo funciona los fines de semana durante el invierno, así que conviene reservar con tiempo.",
        "Зимой поезд ходит только по выходным, поэтому места лучше заказать заранее.",
        "في الشتاء يعمل القطار في عطلة نهاية الأسبوع فقط، لذلك من الأفضل حجز المقاعد مسبقا.",
        "सर्दियों में ट्रेन केवल सप्ताहांत में चलती है, इसलिए सीटें पहले से बुक करना बेहतर है।",
        "冬天火车只在周末运行，所以最好提前订座。如果下大雪，最后一班车会取消。",
        "冬の間、登山列車は週末だけ運行しますので、席は早めに予約してください。",
        "겨울에는 주말에만 열차가 운행되므로 미리 좌석을 예약하는 것이 좋습니다.",
        include_str!("tokens.rs"),
        r#"[{"orderId": 1001, "total_price": 12.75, "items": ["lamp", "desk"], "createdAt": "2024-05-17T10:00:00Z"}]"#,
    ];
    let (estimate, o200k) = (TokenCounter::estimate(), exact());
    let cl100k = TokenCounter::exact(Encoding::Cl100kBase).expect("this build has it");
    for text in texts {
        let message = Message::user(text);
        let [estimated, new, old] = [&estimate, &o200k, &cl100k].map(|counter| counter.count(&message) as f64);
        let start: String = text.chars().take(30).collect();
        println!("{start:?}: {:.2} of o200k_base, {:.2} of cl100k_base", estimated / new, estimated / old);
        assert!((0.85..1.65).contains(&(estimated / new)), "{text}");
        assert!(estimated / old > 0.38, "{text}");
    }
    let (mut random, letters) = (fastrand::Rng::with_seed(1), ['A'..='Z', 'a'..='z', '0'..='9', '+'..='+', '/'..='/']);
    let letters: Vec<char> = letters.into_iter().flatten().collect();
    let base64 = Message::user(String::from_iter((0..4_000).map(|_| letters[random.usize(..letters.len())])));
    let ratio = estimate.count(&base64) as f64 / o200k.count(&base64) as f64;
    println!("base64: {ratio:.2} of o200k_base");
    assert!((0.85..1.0).contains(&ratio));
}

/// A naive merge is quadratic, which a long word without a space would reveal.
#[test]
fn long_word_is_counted_in_a_token_budget() {
    let history = vec![Message::user("ab".repeat(250_000)), Message::user("Hello, world!")];
    let window = Policy::token_budget(100, exact()).window(history);
    assert_eq!((window.messages.len(), window.tokens, window.left_out.older), (1, Some(8), 1));
}
