//! The document that describes the API, and the page that shows it.

use std::io::Read as _;

use axum::http::Method;
use flate2::read::GzDecoder;

use chat_memory_server::keys::Right;

use super::client::Api;

const RENEW: &str = "CHAT_MEMORY_GENERATE";

#[test]
fn committed_openapi_document_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let document = chat_memory_server::openapi();
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&path, &document).expect("docs/openapi.json can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == document, "docs/openapi.json is not what the code says; `cargo xtask gen` renews it");
}

#[tokio::test]
async fn api_docs_need_no_key_and_load_from_no_other_host() {
    let [api] = Api::locked("memory:", [(None, &[Right::Read])]);
    let api = api.without_key();
    let document = api.get("/openapi.json").await.ok(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document, serde_json::from_str::<serde_json::Value>(&chat_memory_server::openapi()).expect("JSON"));
    let redirect = api.get("/docs").await;
    assert!(redirect.status.is_redirection() && redirect.header("location") == "/docs/");

    let page = api.get("/docs/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'self'") && !policy.contains("script-src"), "{policy}");
    assert_eq!(page.header("content-encoding"), "gzip");
    let mut text = String::new();
    GzDecoder::new(&page.bytes[..]).read_to_string(&mut text).expect("a compressed page");
    assert!(!text.contains("http://") && !text.contains("https://"), "nothing of another host: {text}");
    // A script in the page itself would not run.
    for script in text.split("<script").skip(1) {
        let (tag, inner) = script.split_once('>').expect("a tag");
        let inner = inner.split("</script").next().expect("its end");
        assert!(tag.contains("src=") && inner.trim().is_empty(), "an inline script: {script}");
    }
    let attributes = ["src=\"", "href=\""];
    let files: Vec<_> =
        attributes.iter().flat_map(|name| text.split(name).skip(1).filter_map(|rest| rest.split('"').next())).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let file = file.trim_start_matches("./");
        let answer = api.get(&format!("/docs/{file}")).await;
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let kind = answer.header("content-type");
        let expected = match file.rsplit('.').next() {
            Some("js") => "javascript",
            Some("css") => "text/css",
            _ => "image/png",
        };
        assert!(kind.contains(expected), "{file} is {kind}");
    }
    let configuration = api.get("/docs/swagger-initializer.js").await;
    assert!(
        configuration.text().contains("\"/openapi.json\"") && !configuration.text().contains("https://"),
        "{}",
        configuration.text()
    );
    assert_eq!(api.raw(Method::HEAD, "/openapi.json", &[], "").await.status, 200);
}
