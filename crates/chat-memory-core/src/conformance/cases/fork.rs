//! Several records in one step, and forks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, json};

use crate::conformance::failure::all as all_of;
use crate::conformance::sample::{Random, all, count_to, say, saying, seqs, texts};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::session::Owner;
use crate::store::{Append, AppendId, Fork, History, SessionUpdate, Ticket};
use crate::timestamp::Timestamp;
use crate::{ChatStore as _, ChatStoreExt as _};

const NOTHING: [String; 0] = [];

/// The appends of these texts, one each.
fn appends(texts: &[&str]) -> Vec<Append> {
    texts.iter().map(|text| saying(*text)).collect()
}

/// What a fork must keep of each record: its entries, their times, and its metadata.
fn copied(history: &History) -> Vec<String> {
    let of = |record: &crate::store::Record| {
        let times: Vec<_> = record.entry_times().map(|at| at.map(Timestamp::as_millis)).collect();
        format!("{:?} at {times:?} with {:?}", record.entries, record.metadata)
    };
    history.records.iter().filter(|record| !record.entries.is_empty()).map(of).collect()
}

pub(super) async fn records_are_appended_together(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    let (a, b) = (appends(&["0", "1", "2"]), appends(&["4", "5"]));
    let first = context.store.append_all(&session, &a).await?;
    ensure_eq!((first.seq, first.position.next(), first.repeated), (0, 3, false), "the first number and the position after");
    ensure_eq!(first.position, all(&context.store, &session).await?.position, "the position after the last record");
    ensure_eq!(say(&context.open().await?, &session, "3").await?.seq, 3, "the number after them on another handle");
    let position = say(&context.store, &session, "x").await.map(|appended| appended.position)?;
    let mut outdated = b.clone();
    outdated[0] = outdated[0].clone().with_expected(first.position);
    ensure_err!(context.store.append_all(&session, &outdated).await, Conflict, "an outdated position");
    let mut expecting = b;
    expecting[0] = expecting[0].clone().with_expected(position);
    ensure_eq!(context.store.append_all(&session, &expecting).await?.seq, 5, "the first number at the expected position");
    for handle in context.handles(1).await? {
        let history = all(&handle, &session).await?;
        ensure_eq!(seqs(&history), (0..7).collect::<Vec<_>>(), "the numbers");
        let texts: Vec<_> = history.messages().map(Message::text).collect();
        ensure_eq!(texts, ["0", "1", "2", "3", "x", "4", "5"], "the order");
    }
    let clear = vec![saying("a"), Append::clear()];
    let keyed_second = vec![saying("a"), saying("b").with_key("k")];
    for bad in [&Vec::new(), &clear, &keyed_second] {
        ensure_err!(context.store.append_all(&session, bad).await, Invalid, "records that cannot be appended together");
    }
    Ok(())
}

pub(super) async fn records_appended_together_are_stored_once(context: TestContext) -> Result<(), Failure> {
    let ticket = Ticket::new(AppendId::random(), 0);
    for by_key in [true, false] {
        let session = context.session()?;
        let mut group = appends(&["0", "1", "2"]);
        group[0] = if by_key { group[0].clone().with_key("k") } else { group[0].clone().with_ticket(ticket) };
        let first = context.store.append_all(&session, &group).await?;
        say(&context.store, &session, "3").await?;
        for handle in context.handles(1).await? {
            let again = handle.append_all(&session, &group).await?;
            ensure!(again.repeated, "a repeat is taken for a new append");
            ensure_eq!((again.seq, again.position), (first.seq, first.position.clone()), "what a repeat returns");
        }
        ensure_eq!(texts(&context.store, &session).await?, ["0", "1", "2", "3"], "the messages after repeats");
    }
    Ok(())
}

pub(super) async fn fork_copies_what_is_visible(context: TestContext) -> Result<(), Failure> {
    let (session, mut random) = (context.session()?, Random::new(11));
    count_to(&context.store, &session, 2).await?;
    context.store.clear(&session).await?;
    let asked = Timestamp::from_millis(1_700_000_000_123);
    let note = Map::from_iter([("note".to_owned(), json!({"n": 1.0, "big": u64::MAX}))]);
    let timed = Append::new([Message::user("when?"), Message::assistant("then")]).sent_at([Some(asked), None]);
    context.store.append(&session, &timed.with_metadata(note)).await?;
    for _ in 0..6 {
        context.store.append(&session, &Append::new([random.message(), random.message()])).await?;
    }
    if context.store.capabilities().rewind {
        let history = all(&context.store, &session).await?;
        let last = history.records.last().map_or(0, |record| record.seq);
        context.store.append(&session, &Append::rewind(&history, last - 1, [Message::user("instead")])?).await?;
    }
    let source = all(&context.store, &session).await?;
    let want = copied(&source);
    let target = context.session()?;
    let forked = context.store.fork(&session, &target, &Fork::new()).await?;
    ensure_eq!((forked.records, forked.repeated), (want.len() as u64, false), "what a fork reports");
    for handle in context.handles(1).await? {
        let fork = all(&handle, &target).await?;
        ensure_eq!(copied(&fork), want, "the records of a fork");
        ensure!(fork.complete, "a fork is not complete");
        ensure_eq!(fork.position, forked.position, "the position that a fork reports");
        ensure_eq!(copied(&all(&handle, &session).await?), want, "the session after it was forked");
    }
    // Up to each record.
    let shown: Vec<u64> = source.records.iter().filter(|record| !record.entries.is_empty()).map(|record| record.seq).collect();
    for (count, seq) in (1..).zip(&shown) {
        let part = context.session()?;
        let forked = context.store.fork(&session, &part, &Fork::new().up_to(*seq)).await?;
        ensure_eq!((forked.seq, forked.records), (*seq, count as u64), "what a fork up to record {seq} reports");
        ensure_eq!(copied(&all(&context.store, &part).await?), &want[..count], "the records of a fork up to record {seq}");
    }
    for hidden in [0, source.position.next()] {
        let refused = context.store.fork(&session, &context.session()?, &Fork::new().up_to(hidden)).await;
        ensure_err!(refused, Invalid, "a fork at a record that is not shown");
    }
    ensure_err!(context.store.fork(&context.session()?, &context.session()?, &Fork::new()).await, Invalid, "a fork of nothing");
    Ok(())
}

pub(super) async fn fork_and_source_do_not_affect_each_other(context: TestContext) -> Result<(), Failure> {
    let (session, fork) = (context.session()?, context.session()?);
    count_to(&context.store, &session, 3).await?;
    context.store.fork(&session, &fork, &Fork::new()).await?;
    say(&context.store, &session, "source").await?;
    say(&context.open().await?, &fork, "fork").await?;
    ensure_eq!(texts(&context.store, &session).await?, ["0", "1", "2", "source"], "the source after an append to each");
    ensure_eq!(texts(&context.store, &fork).await?, ["0", "1", "2", "fork"], "the fork after an append to each");
    if context.store.capabilities().rewind {
        context.store.rewind_turns(&fork, 2).await?;
        ensure_eq!(texts(&context.store, &fork).await?, ["0", "1"], "a fork that was rewound into what it copied");
    }
    let fork_before = texts(&context.store, &fork).await?;
    context.store.delete(&session).await?;
    context.store.sweep(&session).await?;
    ensure_eq!(texts(&context.open().await?, &fork).await?, fork_before, "a fork whose source was deleted");
    let again = context.session()?;
    context.store.fork(&fork, &again, &Fork::new()).await?;
    context.store.clear(&fork).await?;
    ensure_eq!(texts(&context.store, &fork).await?, NOTHING, "a fork that was cleared");
    ensure_eq!(texts(&context.store, &again).await?, fork_before, "the fork of a fork that was cleared");
    Ok(())
}

pub(super) async fn fork_into_an_existing_session_conflicts(context: TestContext) -> Result<(), Failure> {
    let (session, used, deleted) = (context.session()?, context.session()?, context.session()?);
    count_to(&context.store, &session, 3).await?;
    say(&context.store, &used, "mine").await?;
    for target in [&used, &session] {
        let before = texts(&context.store, target).await?;
        for fork in [Fork::new(), Fork::new().with_key("k")] {
            ensure_err!(context.store.fork(&session, target, &fork).await, Conflict, "a fork into a session with messages");
            ensure_err!(context.store.plan_fork(&session, target, &fork).await, Conflict, "the plan of such a fork");
        }
        ensure_eq!(texts(&context.store, target).await?, before, "the messages after a refused fork");
    }
    if context.store.capabilities().directory {
        context.store.clear(&used).await?;
        ensure_err!(context.store.fork(&session, &used, &Fork::new()).await, Conflict, "a fork into a session that is listed");
    }
    // What was deleted is free again.
    count_to(&context.store, &deleted, 2).await?;
    context.store.delete(&deleted).await?;
    let forked = context.store.fork(&session, &deleted, &Fork::new()).await?;
    ensure_eq!(texts(&context.store, &deleted).await?, ["0", "1", "2"], "a fork into a session that was deleted");
    ensure_eq!(say(&context.open().await?, &deleted, "3").await?.seq, forked.position.next(), "the number after the fork");
    Ok(())
}

pub(super) async fn load_during_a_fork_sees_all_or_nothing(context: TestContext) -> Result<(), Failure> {
    let session = context.session()?;
    for n in 0..20 {
        // Some of them are large, and are stored in several pieces.
        let text = if n % 7 == 3 { "x".repeat(40_000) } else { n.to_string() };
        say(&context.store, &session, text).await?;
    }
    let handles = context.handles(2).await?;
    for _ in 0..4 {
        let target = context.session()?;
        let done = Arc::new(AtomicBool::new(false));
        let readers = handles[1..].iter().map(|handle| {
            let (handle, target, done) = (Arc::clone(handle), target.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut counts = Vec::new();
                while !done.load(Ordering::SeqCst) {
                    counts.push(all(&handle, &target).await?.records.len());
                    tokio::task::yield_now().await;
                }
                Ok::<_, Failure>(counts)
            })
        });
        let readers: Vec<_> = readers.collect();
        let forked = context.store.fork(&session, &target, &Fork::new()).await;
        done.store(true, Ordering::SeqCst);
        for counts in all_of(readers).await? {
            ensure!(counts.iter().all(|count| [0, 20].contains(count)), "loads during a fork of 20 records showed {counts:?}");
            ensure!(counts.is_sorted(), "loads during a fork showed {counts:?}");
        }
        forked?;
        ensure_eq!(all(&context.store, &target).await?.records.len(), 20, "the records after the fork");
    }
    Ok(())
}

pub(super) async fn one_of_many_concurrent_forks_wins(context: TestContext) -> Result<(), Failure> {
    let (session, target) = (context.session()?, context.session()?);
    count_to(&context.store, &session, 4).await?;
    let handles = context.handles(3).await?;
    let forks = (0..8_u64).map(|n| {
        let (handle, session, target) = (Arc::clone(&handles[n as usize % 4]), session.clone(), target.clone());
        tokio::spawn(async move {
            match handle.fork(&session, &target, &Fork::new().up_to(n % 4)).await {
                Ok(forked) => Ok(Some(forked.records)),
                Err(error) if error.is_conflict() => Ok(None),
                Err(error) => Err(Failure::from(error)),
            }
        })
    });
    let won: Vec<u64> = all_of(forks).await?.into_iter().flatten().collect();
    ensure_eq!(won.len(), 1, "the forks into one session that succeeded");
    ensure_eq!(all(&context.store, &target).await?.records.len() as u64, won[0], "the records of the fork that succeeded");
    Ok(())
}

pub(super) async fn repeated_fork_is_made_once(context: TestContext) -> Result<(), Failure> {
    let (session, target) = (context.session()?, context.session()?);
    count_to(&context.store, &session, 3).await?;
    let fork = Fork::new().up_to(1).with_key("k");
    let first = context.store.fork(&session, &target, &fork).await?;
    say(&context.store, &session, "later").await?;
    for handle in context.handles(1).await? {
        let again = handle.fork(&session, &target, &fork).await?;
        ensure_eq!((first.repeated, again.repeated), (false, true), "whether a fork reports that it was repeated");
        ensure_eq!((again.records, again.position), (2, first.position.clone()), "what a repeated fork reports");
    }
    ensure_eq!(texts(&context.store, &target).await?, ["0", "1"], "the fork after its repeats");
    say(&context.store, &target, "more").await?;
    ensure!(context.open().await?.fork(&session, &target, &fork).await?.repeated, "a repeat after an append is not recognised");
    ensure_eq!(texts(&context.store, &target).await?, ["0", "1", "more"], "the fork after an append and a repeat");

    // Of all that is shown: a repeat returns what the first one copied, though the source has grown since.
    let (target, fork) = (context.session()?, Fork::new().with_key("all"));
    let first = context.store.fork(&session, &target, &fork).await?;
    say(&context.store, &session, "later still").await?;
    let again = context.open().await?.fork(&session, &target, &fork).await?;
    ensure_eq!((first.records, again.repeated), (4, true), "a fork of all, and its repeat");
    if context.store.capabilities().directory {
        ensure_eq!((again.seq, again.records, again.position), (first.seq, 4, first.position), "what its repeat reports");
    }
    ensure_eq!(texts(&context.store, &target).await?.len(), 4, "the messages after the repeat");
    if !context.store.capabilities().directory {
        return Ok(());
    }
    // Whatever has become of the source. Another fork has another key.
    let short = Fork::new().up_to(0).with_key("all");
    ensure_err!(context.store.fork(&session, &target, &short).await, KeyReused, "a key of a longer fork");
    let other = context.session()?;
    ensure_err!(context.store.fork(&other, &target, &fork).await, KeyReused, "a key of another session's fork");
    ensure_err!(
        context.store.fork(&session, &target, &Fork::new().up_to(first.seq + 1).with_key("all")).await,
        KeyReused,
        "a key of a shorter fork"
    );
    // Nor do changes of the new session: its metadata, and its end.
    let (changed, fork_changed) = (context.session()?, Fork::new().up_to(1).with_key("changed"));
    let made = context.store.fork(&session, &changed, &fork_changed).await?;
    context.store.clear(&changed).await?;
    say(&context.store, &other, "another").await?;
    let another = Fork::new().with_key("changed");
    ensure_err!(context.store.fork(&other, &changed, &another).await, KeyReused, "a key, and another source");
    context.store.update_session(&changed, &SessionUpdate::default().with_metadata(Map::new())).await?;
    let again = context.store.fork(&session, &changed, &fork_changed).await?;
    ensure_eq!((again.records, again.position, again.repeated), (2, made.position, true), "a repeat after a clear");
    context.store.delete(&session).await?;
    let again = context.open().await?.fork(&session, &target, &fork).await?;
    ensure_eq!((again.seq, again.records, again.repeated), (first.seq, 4, true), "a repeat once the source is deleted");
    Ok(())
}

pub(super) async fn fork_is_listed_with_its_origin(context: TestContext) -> Result<(), Failure> {
    if !context.store.capabilities().fork {
        return Ok(());
    }
    let (session, same, other) = (context.session()?, context.session()?, context.session()?);
    let (ada, bob) = (Owner::new("conformance-ada")?, Owner::new("conformance-bob")?);
    context.store.append(&session, &saying("0").with_owner(ada.clone()).with_title("Trip")).await?;
    let pinned = Map::from_iter([("pinned".to_owned(), json!(true))]);
    context.store.update_session(&session, &SessionUpdate::default().with_metadata(pinned)).await?;
    say(&context.store, &session, "1").await?;
    context.store.fork(&session, &same, &Fork::new()).await?;
    context.store.fork(&session, &other, &Fork::new().up_to(0).with_owner(bob.clone()).with_title("Rome")).await?;
    for (fork, seq, owner, title) in [(&same, 1, ada, "Trip"), (&other, 0, bob, "Rome")] {
        for handle in context.handles(1).await? {
            let info = handle.session(fork).await?.ok_or_else(|| Failure::new("a fork is not listed"))?;
            ensure_eq!((info.owner.as_ref(), info.title.as_deref()), (Some(&owner), Some(title)), "the owner and the title");
            let origin = info.forked_from().ok_or_else(|| Failure::new("a fork has no origin"))?;
            ensure_eq!((&origin.session, origin.seq), (&session, seq), "the origin of a fork");
            let pinned = info.metadata.as_ref().map(|metadata| metadata["pinned"].clone());
            ensure_eq!(pinned, Some(json!(true)), "the session's metadata");
            ensure!(info.last_at.is_none_or(|at| at >= info.created_at), "a fork was last written to before it began");
        }
    }
    Ok(())
}
