//! A client's connection to the simulated table, and its clocks. Requests and responses get lost; writes arrive minutes late or
//! twice.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

use super::super::table::{Change, Changed, Generation, ListTable, Share, Slice};
use super::world::{Answer, World, Write};
use crate::iam::Operation;
use crate::sim::{Network, deliver, turn, unknown};
use crate::table::{Attributes, Clock, Fault, Item, Key};
use chat_memory_core::backend::Moment;
use chat_memory_core::error::{Error, ErrorKind};
use chat_memory_core::store::Cost;

/// One client's connection and clock.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) world: Arc<Mutex<World>>,
    /// How far its machine's wall clock is ahead.
    pub(super) skew_ms: i64,
}

impl Client {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no schedule panics while it holds the world")
    }

    async fn write(&self, write: Write) -> Result<Answer, Fault> {
        match deliver(&self.world, write).await {
            Ok(Answer::TooLarge) => {
                let error = Error::new(ErrorKind::TooLarge, "larger than an item may be");
                Err(Fault { error, may_have_landed: false, retry: false })
            }
            other => other,
        }
    }
}

#[async_trait]
impl ListTable for Client {
    async fn read(&self, key: &Key, _: bool, cost: &mut Cost) -> Result<Option<Attributes>, Fault> {
        cost.requests += 1;
        turn().await;
        let answer = {
            let mut world = self.world();
            let lost = world.faults.lost_answer;
            if world.chance(lost) { Err(unknown()) } else { Ok(world.items.get(key).cloned()) }
        };
        turn().await;
        answer
    }

    async fn change(&self, change: &Change, cost: &mut Cost) -> Result<Changed, Fault> {
        cost.requests += 1;
        match self.write(Write::Change(change.clone())).await? {
            Answer::Changed(changed) => Ok(changed),
            _ => unreachable!(),
        }
    }

    async fn store(&self, item: &Item, _: &mut Cost) -> Result<(), Fault> {
        self.write(Write::Store(item.clone())).await.map(drop)
    }

    async fn discard(&self, key: &Key, _: &mut Cost) -> Result<(), Fault> {
        self.write(Write::Discard(key.clone())).await.map(drop)
    }

    async fn slice(&self, _: Share, _: &[&str], _: &[&str], _: Option<&Key>, _: &mut Cost) -> Result<Slice, Fault> {
        let world = self.world();
        let items = world.items.iter().map(|(key, attributes)| Item { key: key.clone(), attributes: attributes.clone() });
        Ok(Slice { items: items.collect(), after: None })
    }

    async fn sample(&self, cost: &mut Cost) -> Result<Vec<Item>, Fault> {
        let whole = Share { number: 0, of: 1 };
        self.slice(whole, &[], &[], None, cost).await.map(|slice| slice.items)
    }

    async fn discard_if(
        &self,
        key: &Key,
        generation: Generation,
        equal: &[(String, Option<AttributeValue>)],
        _: &mut Cost,
    ) -> Result<bool, Fault> {
        match self.write(Write::DiscardIf(key.clone(), generation, equal.to_vec())).await? {
            Answer::Discarded(done) => Ok(done),
            _ => unreachable!(),
        }
    }

    async fn purges_by(&self, _: &mut Cost) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    async fn try_out(&self, _: Operation, _: &Key, _: &mut Cost) -> Result<(), Fault> {
        Ok(())
    }
}

#[async_trait]
impl Clock for Client {
    fn now(&self) -> Moment {
        let now_ms = self.world().now_ms;
        Moment { mono_ms: (now_ms - 1_700_000_000_000) as u64, wall_ms: now_ms + self.skew_ms }
    }

    async fn sleep(&self, ms: u64) {
        let until = self.world().now_ms + ms as i64;
        turn().await;
        let mut world = self.world();
        let left = until - world.now_ms;
        if left > 0 {
            world.pass(left);
        }
    }

    fn random(&self) -> f64 {
        self.world().rng.f64()
    }
}

/// Stands for the table and the clock where only items are decoded.
#[derive(Debug)]
pub(super) struct Nothing;

#[async_trait]
impl ListTable for Nothing {
    async fn read(&self, _: &Key, _: bool, _: &mut Cost) -> Result<Option<Attributes>, Fault> {
        unreachable!()
    }
    async fn change(&self, _: &Change, _: &mut Cost) -> Result<Changed, Fault> {
        unreachable!()
    }
    async fn store(&self, _: &Item, _: &mut Cost) -> Result<(), Fault> {
        unreachable!()
    }
    async fn discard(&self, _: &Key, _: &mut Cost) -> Result<(), Fault> {
        unreachable!()
    }
    async fn slice(&self, _: Share, _: &[&str], _: &[&str], _: Option<&Key>, _: &mut Cost) -> Result<Slice, Fault> {
        unreachable!()
    }
    async fn sample(&self, _: &mut Cost) -> Result<Vec<Item>, Fault> {
        unreachable!()
    }
    async fn discard_if(
        &self,
        _: &Key,
        _: Generation,
        _: &[(String, Option<AttributeValue>)],
        _: &mut Cost,
    ) -> Result<bool, Fault> {
        unreachable!()
    }
    async fn purges_by(&self, _: &mut Cost) -> Result<Option<String>, Fault> {
        unreachable!()
    }
    async fn try_out(&self, _: Operation, _: &Key, _: &mut Cost) -> Result<(), Fault> {
        unreachable!()
    }
}

#[async_trait]
impl Clock for Nothing {
    fn now(&self) -> Moment {
        Moment { mono_ms: 0, wall_ms: 0 }
    }
    async fn sleep(&self, _: u64) {}
    fn random(&self) -> f64 {
        0.0
    }
}
