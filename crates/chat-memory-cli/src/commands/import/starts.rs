//! When sessions start of which the file has no time: in the file's order, no two in the same millisecond, and none in the future,
//! which would count as now.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use chat_memory::Timestamp;
use chat_memory::store::{ChatStore, SessionQuery};

const MS: Duration = Duration::from_millis(1);

/// How long before the import its first session may start.
const LONGEST: Duration = Duration::from_mins(10);

/// The starts of these sessions, one after another.
pub struct Starts {
    last: Timestamp,
    /// How long before now the next one starts: a millisecond for each line that the file still has, so that none has to wait for its
    /// own.
    before_now: Duration,
}

impl Starts {
    /// For the sessions of this file. In a store that can show its newest session, all start after that one, and as long before now as
    /// the file may have sessions, one a line at most; in others, from now on, and so at most one a millisecond.
    pub async fn new(store: &dyn ChatStore, file: &Path) -> Self {
        let from_now_on = Self { last: Timestamp::UNIX_EPOCH, before_now: Duration::ZERO };
        if !store.capabilities().any_owner {
            return from_now_on;
        }
        // What cannot be read here is reported by what needs it.
        let (Ok(lines), Ok(page)) = (lines_of(file), store.sessions(&SessionQuery::of_any_owner().limit(1)).await) else {
            return from_now_on;
        };
        let last = page.sessions.first().map_or(Timestamp::UNIX_EPOCH, |newest| newest.created_at);
        Self { last, before_now: (MS * lines).min(LONGEST) }
    }

    /// The next start, if need be once it is past.
    pub async fn next(&mut self) -> Timestamp {
        self.before_now = self.before_now.saturating_sub(MS);
        let next = (self.last + MS).max(Timestamp::now() - self.before_now);
        while Timestamp::now() < next {
            tokio::time::sleep(MS).await;
        }
        self.last = next;
        next
    }
}

/// The number of lines of a file; 0 for standard input and what else can be read only once.
fn lines_of(path: &Path) -> io::Result<u32> {
    if !path.is_file() {
        return Ok(0);
    }
    let (mut file, mut buffer, mut lines) = (File::open(path)?, vec![0; 1 << 16], 0_u32);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(lines.saturating_add(1));
        }
        let here = buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        lines = lines.saturating_add(u32::try_from(here).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use chat_memory::store::InMemoryStore;
    use chat_memory::{Append, Message, SessionId};

    use super::*;

    #[tokio::test]
    async fn starts_follow_one_another_and_the_newest_session_and_are_past() {
        let store = InMemoryStore::new();
        let began = Timestamp::now();
        let session = SessionId::new("before").expect("an id");
        store.append(&session, &Append::new([Message::user("x")])).await.expect("in memory");
        let folder = tempfile::tempdir().expect("a folder");
        for lines in [0, 5_000, 1_000_000] {
            let file = folder.path().join(lines.to_string());
            if lines > 0 {
                std::fs::write(&file, "\n".repeat(lines)).expect("a file");
            }
            let mut starts = Starts::new(&store, &file).await;
            let mut last = began - MS;
            for _ in 0..200 {
                let next = starts.next().await;
                assert!(next > last && next <= Timestamp::now(), "{next} after {last}");
                last = next;
            }
        }
    }

    #[test]
    fn lines_are_counted_with_the_last_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.jsonl");
        std::fs::write(&path, "{}\n".repeat(100_000) + "{}").expect("a file");
        assert_eq!(lines_of(&path).expect("readable"), 100_001);
        assert_eq!(lines_of(Path::new("-")).expect("nothing to read"), 0);
    }
}
