//! What the checkpoints before one contributed to its channels.

use super::keys::Log;
use super::read::{Walk, steady};
use super::store::CheckpointStore;
use super::{ChannelHistory, Costed};
use crate::error::Error;
use crate::session::SessionId;
use crate::store::Cost;

impl CheckpointStore {
    /// Returns what the ancestors of a checkpoint contributed to channels whose values are computed: for each channel, the value at
    /// the nearest ancestor that has one, and the writes since. The checkpoint is the one with this id, or the newest.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn history(
        &self,
        thread: &SessionId,
        namespace: &str,
        id: Option<&str>,
        channels: &[String],
    ) -> Result<Costed<Vec<ChannelHistory>>, Error> {
        let mut cost = Cost::default();
        let (partition, log) = (self.partition(thread), Log::new(namespace));
        self.settle(&partition, &mut cost).await?;
        let read = steady!(self, self.history_once(&partition, &log, id, channels, &mut cost).await);
        let mut value = self.unless_deleted(&partition, &log, id, read, &mut cost).await?;
        value.resize_with(channels.len(), ChannelHistory::default);
        Ok(Costed { value, cost })
    }

    async fn history_once(
        &self,
        partition: &str,
        log: &Log,
        id: Option<&str>,
        channels: &[String],
        cost: &mut Cost,
    ) -> Result<Vec<ChannelHistory>, Error> {
        let mut histories = vec![ChannelHistory::default(); channels.len()];
        let mut walk = Walk::new(&self.0, partition, log, id.map_or_else(|| log.whole(), |id| log.until(id)));
        let (mut target, mut next): (bool, Option<String>) = (false, id.map(str::to_owned));
        while let Some(run) = walk.run(cost).await? {
            for found in run {
                if next.as_deref().is_some_and(|next| next != found.id()) {
                    continue;
                }
                next = found.known.head.parent.clone();
                if std::mem::replace(&mut target, true) {
                    let state = found.known.decode()?;
                    for (channel, history) in channels.iter().zip(&mut histories).filter(|(_, history)| history.seed.is_none()) {
                        history.writes.extend(found.writes.iter().rev().filter(|write| write.channel == *channel).cloned());
                        history.seed = state.channels.get(channel).and_then(|(_, value)| value.clone());
                    }
                }
                if next.is_none() || histories.iter().all(|history| history.seed.is_some()) {
                    return Ok(oldest_first(histories));
                }
            }
        }
        Ok(oldest_first(histories))
    }
}

fn oldest_first(mut histories: Vec<ChannelHistory>) -> Vec<ChannelHistory> {
    for history in &mut histories {
        history.writes.reverse();
    }
    histories
}
