//! A store that the embedding program opened itself.

use std::sync::Arc;

use chat_memory::store::{Append, ChatStore as _, InMemoryStore, Load};
use chat_memory::{Message, SessionId};
use chat_memory_server::keys::Right;
use chat_memory_server::{Options, Service};

use super::client::{Api, messages};

#[tokio::test]
async fn a_ready_store_is_served_and_has_no_namespaces() {
    let (store, session) = (Arc::new(InMemoryStore::new()), SessionId::new("trip").expect("a good id"));
    store.append(&session, &Append::new([Message::user("Hi")])).await.expect("in memory");
    let service = |keys| Service::with_store(store.clone(), Some(keys), Options::default()).expect("a service");
    let [api, namespaced] = Api::locked_as(service, [(None, &[Right::Read, Right::Write]), (Some("acme"), &[Right::Read])]);
    assert_eq!(api.texts("trip", "").await, ["Hi"]);
    api.turn("trip", "where").await;
    let stored = store.load(&session, &Load::all()).await.expect("in memory");
    assert_eq!(stored.messages().count(), 3);
    let first = api.get("/v1/sessions/trip/messages?limit=1").await.ok(200);
    let older = format!("/v1/sessions/trip/messages?before={}", first["next"].as_str().expect("a cursor"));
    assert_eq!(api.get(&older).await.ok(200)["messages"][0]["content"], "Hi");
    assert_eq!(api.get("/readyz").await.status, 200);
    namespaced.get(&messages("trip")).await.problem(503, "unavailable");

    let open = Service::with_store(store.clone(), None, Options::default()).expect("a service");
    let page = Api::of(open).get("/console").await;
    assert!(page.text().contains("Another store") && page.text().contains("trip"), "{}", page.text());
}
