//! Runs the conformance suite on the store in files, and tests what is particular to it.

use std::fs;
use std::path::{Path, PathBuf};

use chat_memory::store::{Append, ChatStore, Load, SessionQuery};
use chat_memory::{Error, Message, SessionId};
use chat_memory_files::FilesStore;

/// Each handle is opened separately, as by another process. The folder is deleted with the suite.
mod files {
    use chat_memory::conformance::Suite;
    use chat_memory::store::Capabilities;
    use chat_memory_files::FilesStore;

    fn suite() -> Suite {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Suite::new(move || FilesStore::open(folder.path().to_owned()))
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all().with_bounded_cost(false).with_fork(false).with_redact(false),
    }
}

fn saying(text: impl Into<String>) -> Append {
    Append::new([Message::user(text.into())])
}

async fn texts(store: &FilesStore, session: &SessionId) -> Result<Vec<String>, Error> {
    Ok(store.load(session, &Load::all()).await?.messages().map(Message::text).collect())
}

/// The one session's file in the folder.
fn file(folder: &Path) -> PathBuf {
    let mut paths = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "jsonl")).expect("a session's file")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handles_append_at_once_and_lose_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let session = SessionId::new("trip").expect("an id");
    let writers = ["a", "b"].map(|writer| {
        let (path, session) = (folder.path().to_owned(), session.clone());
        tokio::spawn(async move {
            let store = FilesStore::open(path).await?;
            for n in 0..40 {
                store.append(&session, &saying(format!("{writer}{n}"))).await?;
            }
            Ok::<_, Error>(())
        })
    });
    for writer in writers {
        writer.await.expect("no panic").expect("it appends");
    }
    let store = FilesStore::open(folder.path()).await.expect("it opens");
    let texts = texts(&store, &session).await.expect("it loads");
    for writer in ["a", "b"] {
        let of_writer: Vec<_> = texts.iter().filter(|text| text.starts_with(writer)).cloned().collect();
        assert_eq!(of_writer, (0..40).map(|n| format!("{writer}{n}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn torn_last_line_is_ignored_and_cut_off() {
    let session = SessionId::new("trip").expect("an id");
    for torn in [&b"[{\"seq\":2,\"app"[..], b"[{\"seq\":2,\"append_id\":\"\0\0\0\0\0\0\"}]\n", b"\0\0\0\0"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = FilesStore::open(folder.path()).await.expect("it opens");
        for text in ["one", "two"] {
            store.append(&session, &saying(text)).await.expect("it appends");
        }
        let file = file(folder.path());
        let whole = fs::read(&file).expect("the file");
        fs::write(&file, [&whole, torn].concat()).expect("the file");
        assert_eq!(texts(&store, &session).await.expect("it loads"), ["one", "two"]);
        assert_eq!(store.append(&session, &saying("three")).await.expect("it appends").seq, 2);
        assert_eq!(texts(&store, &session).await.expect("it loads"), ["one", "two", "three"]);
        assert!(fs::read(&file).expect("the file").starts_with(&whole));
    }
}

#[tokio::test]
async fn torn_first_line_leaves_an_empty_session() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, session) = (FilesStore::open(folder.path()).await.expect("it opens"), SessionId::new("trip").expect("an id"));
    store.append(&session, &saying("one")).await.expect("it appends");
    fs::write(file(folder.path()), "[{\"seq\":0,").expect("the file");
    assert!(store.load(&session, &Load::all()).await.expect("it loads").is_empty());
    assert_eq!(store.session(&session).await.expect("it reads"), None);
    assert!(store.append(&session, &saying("two")).await.expect("it appends").started);
    assert_eq!(texts(&store, &session).await.expect("it loads"), ["two"]);
}

#[tokio::test]
async fn damaged_line_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = FilesStore::open(folder.path()).await.expect("it opens");
    let (trip, work) = (SessionId::new("trip").expect("an id"), SessionId::new("work").expect("an id"));
    for text in ["one", "two", "three"] {
        store.append(&trip, &saying(text)).await.expect("it appends");
    }
    let file = file(folder.path());
    store.append(&work, &saying("hello")).await.expect("it appends");
    let whole = fs::read_to_string(&file).expect("the file");
    let lines: Vec<_> = whole.lines().collect();
    for (damaged, reason) in [
        (format!("{}\n{}\n", lines[0], lines[2]), "line 2"),
        (format!("{}\n[{{\"se\n{}\n", lines[0], lines[2]), "line 2"),
        (format!("{}\nnot JSON\n", lines[0]), "line 2"),
        (whole.replacen("{\"role\"", "7,{\"role\"", 1), "record 0"),
    ] {
        fs::write(&file, &damaged).expect("the file");
        let error = store.load(&trip, &Load::all()).await.expect_err(&damaged);
        assert!(error.is_corrupt() && error.to_string().contains(reason), "{error}");
        assert!(store.append(&trip, &saying("four")).await.expect_err(&damaged).is_corrupt());
        assert_eq!(fs::read_to_string(&file).expect("the file"), damaged);
        let page = store.sessions(&SessionQuery::unowned()).await.expect("it lists");
        assert_eq!(page.sessions.iter().map(|info| &info.id).collect::<Vec<_>>(), [&work]);
        assert!(page.warnings.len() == 1 && page.warnings[0].contains(reason), "{:?}", page.warnings);
    }
}

#[tokio::test]
async fn cleared_text_is_erased_from_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = FilesStore::open(folder.path()).await.expect("it opens");
    let session = SessionId::new("secret-session").expect("an id");
    store.append(&session, &saying("secret-text").with_title("secret-title")).await.expect("it appends");
    store.clear(&session).await.expect("it clears");
    let text = fs::read_to_string(file(folder.path())).expect("the file");
    assert!(text.contains("secret-title") && !text.contains("secret-text"), "{text}");
    store.delete(&session).await.expect("it deletes");
    let text = fs::read_to_string(file(folder.path())).expect("the file");
    assert!(!text.contains("secret"), "{text}");
}
