//! Opening: which files are ours, which are not, and what is created.

use super::*;
use crate::FORMAT_VERSION;

#[tokio::test]
async fn foreign_file_is_refused_and_left_untouched() {
    let (folder, path) = folder();
    let foreign_wal = folder.path().join("wal.db");
    change(&folder.path().join("foreign.db"), "CREATE TABLE t (x); INSERT INTO t VALUES (1);");
    change(&foreign_wal, "PRAGMA journal_mode = wal; CREATE TABLE t (x); PRAGMA user_version = 1;");
    change(&folder.path().join("other-id.db"), "PRAGMA application_id = 7; CREATE TABLE t (x);");
    std::fs::write(folder.path().join("notes.txt"), "these are notes, and not a database\n".repeat(20)).expect("a file");
    std::fs::write(folder.path().join("short.txt"), "x").expect("a file");
    std::fs::write(folder.path().join("cut.db"), b"SQLite format 3\0").expect("a file");
    let before = contents(folder.path());
    for name in ["foreign.db", "wal.db", "other-id.db", "notes.txt", "short.txt", "cut.db"] {
        for read_only in [false, true] {
            let result = SqliteStore::builder(folder.path().join(name)).read_only(read_only).open().await;
            let error = result.expect_err(name);
            let said = error.to_string();
            assert!(error.is_invalid() && said.contains(name) && said.contains("not a chat memory"), "{said}");
        }
    }
    assert_eq!(contents(folder.path()), before);
    assert!(!path.exists());
}

#[tokio::test]
async fn newer_format_version_is_refused() {
    let (_folder, path) = folder();
    say(&SqliteStore::open(&path).await.expect("a new file"), "s", "kept").await;
    change(&path, &format!("PRAGMA user_version = {}", FORMAT_VERSION + 1));
    for read_only in [false, true] {
        let error = SqliteStore::builder(&path).read_only(read_only).open().await.expect_err("a newer version");
        assert!(error.is_unsupported(), "{error}");
        assert!(error.to_string().contains(&format!("version {}", FORMAT_VERSION + 1)), "{error}");
    }
    change(&path, &format!("PRAGMA user_version = {FORMAT_VERSION}"));
    assert_eq!(texts(&SqliteStore::open(&path).await.expect("our version"), "s").await, ["kept"]);
}

#[tokio::test]
async fn only_a_created_file_counts_as_new() {
    let (_folder, path) = folder();
    std::fs::write(&path, "").expect("an empty file");
    let error = SqliteStore::builder(&path).read_only(true).open().await.expect_err("nothing to read");
    assert!(error.is_not_found(), "{error}");
    assert!(!SqliteStore::open(&path).await.expect("an empty file").is_new());
    std::fs::remove_file(&path).expect("the file");
    assert!(SqliteStore::open(&path).await.expect("no file").is_new());
    assert!(!SqliteStore::open(&path).await.expect("the file").is_new());
}

#[cfg(unix)]
#[tokio::test]
async fn new_file_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = folder();
    let store = SqliteStore::open(&path).await.expect("a new file");
    say(&store, "s", "private").await;
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("its mode").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn folders_are_created_only_on_request() {
    let (folder, _) = folder();
    let path = folder.path().join("a/b/chat.db");
    let error = SqliteStore::open(&path).await.expect_err("no folder");
    assert!(error.is_not_found() && error.to_string().contains("no folder"), "{error}");
    let error = SqliteStore::builder(&path).create_parent(true).read_only(true).open().await.expect_err("read-only");
    assert!(error.is_not_found(), "{error}");
    assert!(!folder.path().join("a").exists());
    let store = SqliteStore::builder(&path).create_parent(true).open().await.expect("the folders are created");
    say(&store, "s", "x").await;
    let error = SqliteStore::open(folder.path()).await.expect_err("a folder");
    assert!(error.is_invalid() && error.to_string().contains("is a folder"), "{error}");
}

#[tokio::test]
async fn read_only_store_refuses_every_write() {
    let (folder, path) = folder();
    let error = SqliteStore::builder(&path).read_only(true).open().await.expect_err("no file");
    assert!(error.is_not_found(), "{error}");
    assert_eq!(contents(folder.path()), []);

    let writer = SqliteStore::open(&path).await.expect("a new file");
    say(&writer, "s", "a").await;
    let reader = SqliteStore::builder(&path).read_only(true).open().await.expect("a file");
    say(&writer, "s", "b").await;
    assert_eq!(texts(&reader, "s").await, ["a", "b"], "it sees what others write");
    let id = session("s");
    let update = chat_memory_core::store::SessionUpdate::default().with_title("t".to_owned());
    for error in [
        reader.append(&id, &saying("c")).await.expect_err("an append"),
        reader.clear(&id).await.expect_err("a clear"),
        reader.sweep(&id).await.expect_err("a sweep"),
        reader.delete(&id).await.expect_err("a delete"),
        reader.update_session(&id, &update).await.expect_err("an update"),
        reader.purge().await.expect_err("a purge"),
    ] {
        assert!(error.is_read_only() && error.to_string().contains("chat.db"), "{error}");
    }
    assert_eq!(texts(&reader, "s").await, ["a", "b"]);
}

#[tokio::test]
async fn concurrent_opens_create_the_file_once() {
    let (_folder, path) = folder();
    let opening: Vec<_> = (0..12).map(|_| tokio::spawn(SqliteStore::open(path.clone()))).collect();
    let mut new = 0;
    for (n, task) in opening.into_iter().enumerate() {
        let store = task.await.expect("no panic").expect("the file, created or found");
        new += usize::from(store.is_new());
        assert_eq!(say(&store, "s", "x").await, n as u64);
    }
    assert_eq!(new, 1, "how many created it");
}

#[tokio::test]
async fn special_path_names_are_plain_files() {
    let (folder, _) = folder();
    for name in ["file:x.db?mode=memory", ":memory:", "a b#c%20.db", "ünï.db"] {
        let path = folder.path().join(name);
        say(&SqliteStore::open(&path).await.expect(name), "s", name).await;
        assert_eq!(texts(&SqliteStore::open(&path).await.expect(name), "s").await, [name]);
        assert!(path.is_file(), "{name}");
    }
    assert!(SqliteStore::open("").await.expect_err("no name").is_invalid());
}

#[tokio::test]
async fn invalid_settings_are_refused_on_open() {
    let (_folder, path) = folder();
    let short = SqliteStore::builder(&path).retention(std::time::Duration::from_millis(10)).open().await;
    assert!(short.expect_err("a retention of nothing").is_invalid());
    let large = SqliteStore::builder(&path).max_record_bytes(usize::MAX).open().await;
    assert!(large.expect_err("more than SQLite takes").is_invalid());
    assert!(!path.exists());
}

#[tokio::test]
async fn open_without_create_makes_no_file() {
    let (folder, path) = folder();
    let error = SqliteStore::builder(&path).create(false).open().await.expect_err("no file");
    assert!(error.is_not_found() && error.to_string().contains(&path.display().to_string()), "{error}");
    let below = folder.path().join("no/such/chats.db");
    let error = SqliteStore::builder(&below).create(false).create_parent(true).open().await.expect_err("no folder");
    assert!(error.is_not_found(), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
    std::fs::write(&path, "").expect("an empty file");
    assert!(SqliteStore::builder(&path).create(false).open().await.expect_err("an empty file").is_not_found());
    assert_eq!(std::fs::metadata(&path).expect("the file").len(), 0);
    say(&SqliteStore::open(&path).await.expect("an empty file"), "s", "kept").await;
    let existing = SqliteStore::builder(&path).create(false).open().await.expect("the file");
    assert_eq!(texts(&existing, "s").await, ["kept"]);
}
