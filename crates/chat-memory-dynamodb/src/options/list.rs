//! The settings of the `list` layout: how they combine, and whether they can work.

use super::Options;
use crate::common::names;
use crate::layouts::list::Lists;
use chat_memory_core::backend::{Dialect, Layout, MAX_ROLL_BYTES, MIN_ROLL_BYTES, Roll};
use chat_memory_core::error::Error;

impl Options {
    /// The layout, as far as the options themselves show it.
    pub(crate) fn said_layout(&self) -> Option<Layout> {
        self.settled_layout().or(self.dialect.map(|_| Layout::List))
    }

    /// The layout, if the options leave no doubt. A dialect alone leaves some: it says how to begin a session if the table has the
    /// `list` layout, which it may not have.
    pub(crate) fn settled_layout(&self) -> Option<Layout> {
        let is_list = self.sort_value.is_some() || self.list_attribute.is_some() || self.ttl_attribute.is_some();
        self.layout.or(is_list.then_some(Layout::List))
    }

    /// Whether to request the table's keys before the first request, since they are unlikely to be those of the `turns` layout.
    pub(crate) fn hints_at_list(&self) -> bool {
        self.dialect.is_some() || self.partition_key_name() != names::PARTITION_KEY || self.sort_key_name() != names::SORT_KEY
    }

    /// Whether a table of the `list` layout must be asked for its keys, since they are not given here.
    pub(crate) fn asks_for_keys(&self) -> bool {
        self.partition_key.is_none() || self.sort_value.is_some() && self.sort_key.is_none()
    }

    /// The names of the lists in the `list` layout. A configured name replaces this dialect's own.
    pub(crate) fn lists(&self, dialect: Option<Dialect>) -> Lists {
        let named = |of| self.list_attribute.clone().filter(|_| dialect.unwrap_or(Dialect::Js) == of);
        Lists {
            js: named(Dialect::Js).unwrap_or_else(|| names::LIST_JS.to_owned()),
            python: named(Dialect::Python).unwrap_or_else(|| names::LIST_PYTHON.to_owned()),
            named: self.list_attribute.clone(),
        }
    }

    /// Checks whether the settings of the `list` layout can work.
    pub(super) fn check_list(&self) -> Result<(), Error> {
        let settings = [
            ("dialect", self.dialect.is_some()),
            ("list_attribute", self.list_attribute.is_some()),
            ("sort_value", self.sort_value.is_some()),
            ("ttl_attribute", self.ttl_attribute.is_some()),
        ];
        if self.layout == Some(Layout::Turns)
            && let Some((name, _)) = settings.iter().find(|(_, said)| *said)
        {
            return Err(Error::invalid(format!(
                "{name} is a setting of the list layout, and the layout given is turns; leave one out"
            )));
        }
        if self.sort_value.as_ref().is_some_and(|value| value.is_empty() || value.len() > 1024) {
            return Err(Error::invalid("the sort key's fixed value has 1 to 1,024 bytes"));
        }
        let lists = self.lists(self.dialect);
        let keys = [self.partition_key.as_deref(), self.sort_key.as_deref()];
        let ours = [names::LIST_HEAD, names::LIST_GENERATION, names::LIST_IDS];
        for name in [Some(lists.js.as_str()), Some(lists.python.as_str()), self.ttl_attribute.as_deref()].into_iter().flatten() {
            if name.is_empty() || keys.contains(&Some(name)) || ours.contains(&name) {
                return Err(Error::invalid(format!(
                    "the attribute {name:?} cannot hold messages or a time as well, since it is a key or one of our own; name another"
                )));
            }
        }
        if lists.js == lists.python
            || Some(&lists.js) == self.ttl_attribute.as_ref()
            || Some(&lists.python) == self.ttl_attribute.as_ref()
        {
            return Err(Error::invalid(format!(
                "two of the attributes {:?}, {:?} and the TTL attribute have the same name; name another list attribute",
                lists.js, lists.python
            )));
        }
        match self.roll {
            Roll::At(bytes) if !(MIN_ROLL_BYTES..=MAX_ROLL_BYTES).contains(&bytes) => Err(Error::invalid(format!(
                "a session's item is rolled from {MIN_ROLL_BYTES} to {MAX_ROLL_BYTES} bytes on, or never (off); {bytes} is neither"
            ))),
            _ => Ok(()),
        }
    }
}
