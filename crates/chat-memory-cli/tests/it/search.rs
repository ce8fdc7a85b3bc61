//! `search`, on a SQLite file, with and without its index, and on DynamoDB Local.

use chat_memory_testkit::{credentials_env, dynamodb_endpoint, table_name};

use crate::common::Place;

fn filled(place: Place) -> Place {
    place.run(&["append", "trip", "Where to in May?", "--title", "A trip to Lisbon", "--owner", "ada"]).done();
    place.run(&["append", "trip", "--role", "assistant", "To Lisbon, in May. \u{1b}[31mRed\nroofs."]).done();
    place.run(&["append", "work", "The lisbon office"]).done();
    place
}

#[test]
fn search_prints_hits_under_their_session() {
    let place = filled(Place::sqlite());
    for indexed in [false, true] {
        if indexed {
            let built = place.run(&["search", "--index"]).done();
            assert!(built.ends_with("is complete: 3 records added\n"), "{built}");
            assert!(place.run(&["search", "--index"]).done().ends_with("is complete: 0 records added\n"));
        }
        let ran = place.run(&["search", "lisb", "may", "--utc"]);
        assert_eq!(ran.err.contains("build it with `chat-memory search --index`"), !indexed, "{}", ran.err);
        let text = ran.done();
        let (head, hit) = text.trim_end().split_once('\n').expect("two lines");
        assert_eq!(head, "trip  A trip to Lisbon  ada");
        assert!(hit.starts_with("  [1] 20") && hit.ends_with("assistant: To Lisbon, in May. \\u{1b}[31mRed roofs."), "{hit}");

        let answer = place.run(&["search", "lisbon", "--json"]).json();
        let seqs: Vec<_> = answer["hits"].as_array().expect("hits").iter().map(|hit| hit["message"]["seq"].clone()).collect();
        assert_eq!((answer["indexed"].as_bool(), seqs.len()), (Some(indexed), 3), "{answer}");
        assert_eq!(seqs.iter().filter(|seq| seq.is_null()).count(), 1, "the title");
        assert_eq!(answer["hits"][0]["session"]["id"], "trip", "{answer}");

        assert_eq!(place.run(&["search", "lisbon", "--titles"]).done(), "trip  A trip to Lisbon  ada\n  A trip to Lisbon\n");
        assert!(place.run(&["search", "lisbon", "--unowned"]).done().starts_with("work\n"));
        assert!(place.run(&["search", "lisbon", "--session", "work"]).done().contains("user: The lisbon office"));
        assert_eq!(place.run(&["search", "lisbon", "--until", "2020-01-31"]).err.lines().next(), Some("nothing found"));
        assert_eq!(
            place
                .run(&["search", "--since", "1h"])
                .done()
                .lines()
                .filter(|line| !line.starts_with(' ') && !line.is_empty())
                .count(),
            2
        );

        // One page after the other.
        let first = place.run(&["search", "lisbon", "--limit", "1"]);
        let cursor = first.err.lines().next().and_then(|line| line.rsplit_once("--after ")).expect("more").1.to_owned();
        let rest = place.run(&["search", "lisbon", "--after", &cursor, "--json"]).json();
        assert_eq!(rest["hits"].as_array().map(Vec::len), Some(2), "{rest}");
    }
    place.run(&["delete", "trip", "--yes"]).done();
    assert_eq!(place.run(&["search", "may"]).err, "nothing found\n");
    assert!(place.run(&["search", "--remove-index"]).done().starts_with("removed the search index of"));
    assert!(place.run(&["search", "--remove-index"]).done().starts_with("there is no search index in"));
}

#[test]
fn search_errors_say_what_to_do() {
    let place = filled(Place::sqlite());
    place.run(&["search"]).fails(2, &["give words, or a time with --since or --until"]);
    place.run(&["search", "x", "--since", "soon"]).fails(2, &["invalid --since \"soon\"", "2026-05-01", "7d"]);
    place.run(&["search", "x", "--since", "2026-02-30"]).fails(2, &["invalid --since"]);
    place.run(&["search", "??"]).fails(2, &["nothing to search for in \"??\""]);
    place.run(&["search", "x", "--after", "y"]).fails(2, &["it belongs to another search"]);
    place.run(&["search", "x", "--owner", "a", "--session", "b"]).fails(2, &["cannot be used with"]);
    place.run(&["--store", "memory:", "search", "--index"]).fails(2, &["only a SQLite file can have one"]);
    let none = Place::sqlite();
    none.run(&["search", "--index"]).fails(1, &["there is no such file"]);
}

#[test]
fn search_of_a_table_says_its_cost_first() {
    let place = Place::at(format!("dynamodb://{}?endpoint={}", table_name("search"), dynamodb_endpoint()));
    let place = credentials_env().into_iter().fold(place, |place, (name, value)| place.with(name, value));
    place.run(&["table", "create"]).done();
    let place = filled(place);
    place.run(&["search", "lisbon"]).fails(2, &["this reads all sessions: about", "give --yes"]);
    let ran = place.run(&["search", "lisbon", "--yes", "--json"]);
    assert_eq!(ran.json()["hits"].as_array().map(Vec::len), Some(3));
    let ran = place.run(&["search", "lisbon", "--yes", "--owner", "ada"]);
    assert!(ran.err.contains("this reads the sessions of ada: about"), "{}", ran.err);
    assert_eq!(ran.done().lines().count(), 3, "a session, its title and a message");
    assert!(place.run(&["search", "lisbon", "--session", "work"]).done().contains("office"), "without a question");
    assert!(place.run(&["search", "trip", "--titles", "--owner", "ada"]).done().starts_with("trip"));
    place.run(&["search", "--index"]).fails(2, &["a search of a table reads the sessions"]);
}
