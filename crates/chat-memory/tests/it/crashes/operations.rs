//! The operations to cut off: a session's operation, its steps, and the expected view after each.

use chat_memory::store::{Append, ChatStore, Load};
use chat_memory::{Error, Message, Owner, SessionId};

use crate::dynamodb::noise;

/// A session's visible records, as their messages.
pub type View = Vec<Vec<Message>>;

/// One call of the store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Appends turn `n` with this many bytes.
    Append { n: usize, bytes: usize, keyed: bool },
    /// Rewinds to this number and puts turn `n` there, with a key.
    Rewind { to: u64, n: usize },
    /// Replaces everything with turn `n`, with a key, and sweeps.
    ReplaceAll { n: usize },
    /// Clears and sweeps.
    Clear,
    /// Deletes.
    Delete,
}

use Step::{Append as A, Clear, Delete, ReplaceAll, Rewind};

impl Step {
    fn append(n: usize) -> Self {
        A { n, bytes: 100, keyed: false }
    }

    fn keyed(n: usize) -> Self {
        A { n, bytes: 100, keyed: true }
    }

    /// A record too large for one item.
    fn large(n: usize) -> Self {
        A { n, bytes: 800_000, keyed: true }
    }

    /// Whether running it again changes nothing.
    fn is_known_again(self) -> bool {
        !matches!(self, A { keyed: false, .. })
    }

    /// Whether it erases what was there before.
    pub fn erases(self) -> bool {
        matches!(self, Clear | Delete | ReplaceAll { .. })
    }

    pub async fn run(self, store: &dyn ChatStore, session: &SessionId) -> Result<(), Error> {
        let append = match self {
            A { n, bytes, keyed } => {
                let append = Append::new(turn(n, bytes));
                if keyed { append.with_key(format!("{self:?}")) } else { append }
            }
            Rewind { to, n } => {
                let history = store.load(session, &Load::all()).await?;
                if history.records.iter().all(|record| record.seq != to) {
                    // Already rewound.
                    return Ok(());
                }
                Append::rewind(&history, to, turn(n, 100))?.with_key(format!("{self:?}"))
            }
            ReplaceAll { n } => Append::replace_all(turn(n, 100)).with_key(format!("{self:?}")),
            Clear => return store.clear(session).await.map(drop),
            Delete => return store.delete(session).await.map(drop),
        };
        store.append(session, &append.with_owner(owner(session)?).with_title("a title")).await?;
        if matches!(self, ReplaceAll { .. }) {
            store.sweep(session).await?;
        }
        Ok(())
    }

    fn change(self, view: &mut View) {
        match self {
            A { n, bytes, .. } => view.push(turn(n, bytes)),
            // Nothing is rewound before this, so a record's number is its index.
            Rewind { to, n } => {
                view.truncate(usize::try_from(to).expect("a place"));
                view.push(turn(n, 100));
            }
            ReplaceAll { n } => *view = vec![turn(n, 100)],
            Clear | Delete => view.clear(),
        }
    }
}

/// Gives each session its own owner, so that its directory entries can be counted.
pub fn owner(session: &SessionId) -> Result<Owner, Error> {
    Owner::new(format!("owner of {session}"))
}

/// A question with its number, and an answer. The tests search the table for `what was` where it should have been erased.
pub fn turn(n: usize, bytes: usize) -> Vec<Message> {
    vec![Message::user(format!("what was {n}?")), Message::assistant(noise(bytes, n as u64))]
}

/// An operation to cut off.
#[derive(Debug, Clone)]
pub struct Operation {
    pub name: &'static str,
    /// What the session contained before.
    pub before: Vec<Step>,
    /// The steps that a process then takes; it prints each completed one.
    pub steps: Vec<Step>,
}

impl Operation {
    /// Returns the expected view after this many steps.
    pub fn after(&self, steps: usize) -> View {
        let mut view = View::new();
        self.before.iter().chain(&self.steps[..steps]).for_each(|step| step.change(&mut view));
        view
    }

    /// Returns the expected view if `found` was seen after `done` acknowledged steps and the others are run again.
    pub fn after_next_run(&self, done: usize, found: &View) -> View {
        match self.steps.get(done) {
            Some(step) if !step.is_known_again() => {
                let mut view = found.clone();
                self.steps[done..].iter().for_each(|step| step.change(&mut view));
                view
            }
            _ => self.after(self.steps.len()),
        }
    }
}

/// All operations.
pub fn all() -> Vec<Operation> {
    let of = |name, before: &[Step], steps: &[Step]| Operation { name, before: before.to_vec(), steps: steps.to_vec() };
    let some = [Step::append(0), Step::append(1), Step::append(2)];
    let with_parts = [Step::append(0), Step::large(1), Step::append(2)];
    vec![
        of("an append that is the first of its session", &[], &[Step::keyed(0)]),
        of("an append by a process that knows nothing yet", &some, &[Step::append(3)]),
        of("appends, one after the other", &some, &[Step::append(3), Step::append(4)]),
        of("appends with a key", &some, &[Step::keyed(3), Step::keyed(4)]),
        of("an append in parts", &some, &[Step::large(3)]),
        of("a rewind with a new answer", &some, &[Rewind { to: 1, n: 3 }]),
        of("a replacement of all", &with_parts, &[ReplaceAll { n: 3 }]),
        of("a clear", &with_parts, &[Clear]),
        of("a delete", &with_parts, &[Delete]),
        // If the list is rolled, one of these appends does it.
        of("appends of some size", &some, &[3, 4, 5].map(|n| A { n, bytes: 1_500, keyed: true })),
    ]
}
