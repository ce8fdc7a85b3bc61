//! Several processes of `serve` on one DynamoDB table: each shows what the others store, and killing one under load loses nothing
//! acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::Place;
use crate::common::service::{Client, Service, body_of};
use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};

const CLIENTS: usize = 64;
const APPENDS: usize = 12;
const SESSIONS: usize = 4;

fn table() -> Place {
    let place = Place::at(format!("dynamodb://{}?endpoint={}", table_name("replicas"), dynamodb_endpoint()));
    let place = credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value));
    place.run(&["table", "create"]).done();
    place
}

#[test]
fn replicas_see_each_others_writes_at_once() {
    let place = table();
    let services = [Service::start(&place, &[]), Service::start(&place, &[])];
    let clients = [services[0].client(), services[1].client()];
    let mut said = Vec::new();
    for turn in 0..20 {
        let text = format!("turn {turn}");
        let appended = clients[turn % 2].say("s", &text);
        assert_eq!((appended.status, appended.json()["seq"].as_u64()), (201, Some(turn as u64)));
        said.push(text);
        assert_eq!(clients[(turn + 1) % 2].texts("s"), said);
    }
    let position = clients[0].get("/v1/sessions/s/messages?last=1").header("etag").expect("a position").to_owned();
    assert_eq!(clients[1].say("s", "between").status, 201);
    let stale = clients[0].ask("POST", "/v1/sessions/s/messages", &[("If-Match", &position)], &body_of("too late"));
    assert_eq!(stale.status, 412, "{stale:?}");
    let key = [("Idempotency-Key", "one and the same")];
    let first = clients[0].ask("POST", "/v1/sessions/s/messages", &key, &body_of("once"));
    let again = clients[1].ask("POST", "/v1/sessions/s/messages", &key, &body_of("once"));
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")), "{again:?}");
    assert_eq!((&first.json()["seq"], &first.json()["position"]), (&again.json()["seq"], &again.json()["position"]));
}

/// Appends until a replica answers; returns the record's number.
fn append(urls: &[String; 2], clients: &mut [Client; 2], first: usize, session: usize, text: &str, retries: &AtomicUsize) -> u64 {
    let until = Instant::now() + Duration::from_secs(120);
    for attempt in 0.. {
        assert!(Instant::now() < until, "{text} is not answered");
        let at = (first + attempt) % 2;
        let answer = clients[at].try_ask(
            "POST",
            &format!("/v1/sessions/s{session}/messages"),
            &[("Idempotency-Key", text)],
            &body_of(text),
        );
        match answer {
            Ok(answer) if answer.status == 201 => return answer.json()["seq"].as_u64().expect("a number"),
            Ok(answer) if matches!(answer.status, 409 | 429 | 503) => {}
            Ok(answer) => panic!("{answer:?}"),
            // Its connection may be the killed one's.
            Err(_) => clients[at] = Client::new(&urls[at]),
        }
        retries.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
    unreachable!("it ends by an answer or by its patience")
}

#[test]
fn killed_replica_loses_no_acknowledged_append() {
    let place = table();
    let (stays, killed) = (Service::start(&place, &[]), Service::start(&place, &[]));
    let urls = [stays.url.clone(), killed.url.clone()];
    let acknowledged = Arc::new(Mutex::new(HashMap::new()));
    let (done, retries, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..CLIENTS)
        .map(|writer| {
            let (urls, acknowledged, done, retries) = (urls.clone(), acknowledged.clone(), done.clone(), retries.clone());
            std::thread::spawn(move || {
                let mut clients = [Client::new(&urls[0]), Client::new(&urls[1])];
                for n in 0..APPENDS {
                    let (session, text) = (writer % SESSIONS, format!("{writer}/{n}"));
                    let seq = append(&urls, &mut clients, writer % 2, session, &text, &retries);
                    acknowledged.lock().expect("no panic").insert(text, (session, seq));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let watching = {
        let (done, over) = (done.clone(), over.clone());
        std::thread::spawn(move || {
            while done.load(Ordering::Relaxed) < CLIENTS * APPENDS / 3 && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            killed.signal("KILL");
            let (status, _) = killed.ended();
            assert!(!status.success());
        })
    };
    for writer in writers {
        writer.join().expect("each append is answered in the end");
    }
    over.store(true, Ordering::Relaxed);
    watching.join().expect("it was killed");
    assert!(retries.load(Ordering::Relaxed) > 0, "it was killed too late to matter");

    let acknowledged = acknowledged.lock().expect("no panic");
    assert_eq!(acknowledged.len(), CLIENTS * APPENDS);
    let client = stays.client();
    let mut found = 0;
    for session in 0..SESSIONS {
        for (seq, text) in client.texts(&format!("s{session}")).iter().enumerate() {
            assert_eq!(acknowledged.get(text), Some(&(session, seq as u64)), "{text}: stored where it was said, and once");
            found += 1;
        }
    }
    assert_eq!(found, CLIENTS * APPENDS, "no acknowledged message is lost, none is there twice");
    println!("{} repeats by the clients", retries.load(Ordering::Relaxed));
}
