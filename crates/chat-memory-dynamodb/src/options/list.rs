//! The settings of the `list` layout: how they combine, and whether they can work.

use super::{Dialect, Layout, Options};
use crate::common::names;
use crate::layouts::list::Lists;
use chat_memory_core::backend::settings::invalid;
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

    /// Whether the options say enough to try the `list` layout before the table's keys are requested: a table without a sort key
    /// whose partition key they name (by another name than that of our own tables). If that is wrong, the first request is refused for its keys, and changes nothing.
    pub(crate) fn suggests_list(&self) -> bool {
        let is_named = self.partition_key.as_deref().is_some_and(|name| name != names::PARTITION_KEY);
        self.said_layout() == Some(Layout::List) && is_named && self.sort_key.is_none()
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

    /// Checks whether the settings of the `list` layout can work together.
    pub(super) fn check_list(&self) -> Result<(), Error> {
        let dialect = self.dialect.map(|dialect| dialect.to_string());
        let ttl = ("ttl_attribute", self.ttl_attribute.as_deref());
        let given = [("dialect", dialect.as_deref()), ("list_attribute", self.list_attribute.as_deref()), ttl];
        let mut given = given.into_iter().chain([("sort_value", self.sort_value.as_deref())]);
        if self.layout == Some(Layout::Turns) {
            return given.find_map(|(name, value)| Some((name, value?))).map_or(Ok(()), |(name, value)| {
                Err(invalid(name, value, "it requires the list layout, but the layout is turns; leave one out"))
            });
        }
        let lists = self.lists(self.dialect);
        let named = self.list_attribute.as_deref();
        let keys = [("partition_key", self.partition_key.as_deref()), ("sort_key", self.sort_key.as_deref())];
        let key_of = |list: &str| keys.into_iter().find(|(_, name)| *name == Some(list));
        if let Some((key, Some(list))) = key_of(&lists.js).or_else(|| key_of(&lists.python)) {
            return Err(if named == Some(list) {
                invalid("list_attribute", list, format_args!("it is also the {key}; name the attribute that holds the messages"))
            } else {
                invalid(key, list, "sessions keep their messages in an attribute of that name; name another with list_attribute")
            });
        }
        let ours = [names::LIST_HEAD, names::LIST_GENERATION, names::LIST_IDS];
        for (setting, name) in [("list_attribute", named), ttl].into_iter().filter_map(|(setting, name)| Some((setting, name?))) {
            if ours.contains(&name) {
                return Err(invalid(setting, name, "the store keeps its own data in an attribute of that name; name another"));
            }
        }
        if let (Some(name), true) = (named, lists.js == lists.python) {
            let other = if self.dialect == Some(Dialect::Python) { Dialect::Js } else { Dialect::Python };
            return Err(invalid(
                "list_attribute",
                name,
                format_args!("that is where dialect={other} keeps messages; give that, or name another"),
            ));
        }
        let taken = keys.iter().filter_map(|(_, name)| *name).chain([lists.js.as_str(), lists.python.as_str()]);
        match ttl {
            (setting, Some(name)) if taken.into_iter().any(|taken| taken == name) => {
                Err(invalid(setting, name, "it is a key, or holds the messages; name the attribute that holds the time"))
            }
            _ => Ok(()),
        }
    }
}
