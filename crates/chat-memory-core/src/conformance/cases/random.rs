//! Random histories against a model of the contract.

use crate::conformance::sample::{Random, all, say, saying, seqs};
use crate::conformance::{Failure, TestContext};
use crate::message::Message;
use crate::store::{Append, Identity, Position};

use super::window::check_windows;

/// The contract's model of a log: the view at each record.
#[derive(Default)]
struct Model {
    /// Per record, the numbers visible at it.
    views: Vec<Vec<u64>>,
    /// Per record, its text.
    texts: Vec<String>,
    /// Per record, the number that it rewinds to, if it does.
    rewinds: Vec<Option<u64>>,
    keyed: Vec<(String, Append, u64)>,
}

impl Model {
    fn view(&self) -> &[u64] {
        self.views.last().map_or(&[], Vec::as_slice)
    }

    fn append(&mut self, rewind: Option<u64>, text: String) {
        let seq = self.views.len() as u64;
        let mut view = match rewind {
            None => self.view().to_vec(),
            Some(0) => Vec::new(),
            Some(k) => self.views[k as usize - 1].clone(),
        };
        self.rewinds.push(rewind);
        view.push(seq);
        self.views.push(view);
        self.texts.push(text);
    }
}

pub(super) async fn random_histories_match_the_model(context: TestContext) -> Result<(), Failure> {
    for seed in 0..6 {
        one_history(&context, seed).await.map_err(|e| Failure::new(format!("with the seed {seed}: {e}")))?;
    }
    Ok(())
}

async fn one_history(context: &TestContext, seed: u64) -> Result<(), Failure> {
    let session = context.session()?;
    let handles = context.handles(1).await?;
    let rewinds = context.store.capabilities().rewind;
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut old = all(&context.store, &session).await?.position;
    for step in 0..35 {
        let store = &handles[random.below(2)];
        let text = format!("{seed}/{step}");
        match random.below(20) {
            0 => {
                store.append(&session, &Append::clear()).await?;
                model.append(Some(0), String::new());
            }
            1 => drop(store.sweep(&session).await?),
            2 => {
                store.append(&session, &Append::replace_all([Message::user(text.clone())])).await?;
                model.append(Some(0), text);
            }
            3..=6 if rewinds && !model.view().is_empty() => {
                let k = model.view()[random.below(model.view().len())];
                let messages = (random.below(2) == 0).then(|| Message::user(text.clone()));
                let kept = if messages.is_some() { text } else { String::new() };
                let history = all(store, &session).await?;
                store.append(&session, &Append::rewind(&history, k, messages)?).await?;
                // Removing a rewind does not bring back what it hid.
                model.append(Some(model.rewinds[k as usize].unwrap_or(k)), kept);
            }
            7 | 8 if old.next() < model.views.len() as u64 => {
                let result = store.append(&session, &saying(text).with_expected(old.clone())).await;
                let error = ensure_err!(result, Conflict, "an append at an old position");
                ensure_eq!(
                    error.actual().map(Position::next),
                    Some(model.views.len() as u64),
                    "the number in the actual position"
                );
            }
            9 | 10 if !model.keyed.is_empty() => {
                let (key, append, seq) = &model.keyed[random.below(model.keyed.len())];
                let again = store.append(&session, append).await?;
                ensure!(
                    again.repeated && again.seq == *seq,
                    "the key {key} of record {seq} was not found but stored again as {}",
                    again.seq
                );
            }
            11 | 12 => {
                let append = saying(text.clone()).with_key(text.clone());
                ensure!(matches!(append.identity(), Identity::Key(_)), "a key");
                let appended = store.append(&session, &append).await?;
                model.keyed.push((text.clone(), append, appended.seq));
                model.append(None, text);
            }
            13 => old = all(store, &session).await?.position,
            _ => {
                let appended = say(store, &session, text.clone()).await?;
                ensure_eq!(appended.seq, model.views.len() as u64, "the next number");
                model.append(None, text);
            }
        }
        let history = all(&handles[random.below(2)], &session).await?;
        ensure_eq!(seqs(&history), model.view(), "the records in view after step {step}");
        for record in &history.records {
            let text: String = record.messages().map(Message::text).collect();
            ensure_eq!(text, model.texts[record.seq as usize], "the text of record {}", record.seq);
        }
        ensure_eq!(history.position.next(), model.views.len() as u64, "the next number after step {step}");
    }
    check_windows(context, &session, &[0, 1, 2, 4, 9, 100]).await
}
