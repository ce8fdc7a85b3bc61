//! What the service has used since it started, by operation, and what that costs per day.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use chat_memory::store::Cost;
use chat_memory::store::dynamodb::{READ_PRICE, WRITE_PRICE};
use maud::{Markup, html};

use super::message::when;
use super::page::{Page, Refused, count, number, size};
use super::viewer::{Kind, Viewer};
use crate::keys::Right;
use crate::metrics::{Operation, Usage};
use crate::problem::Problem;

/// For how long the service must have counted before a rate per day means something.
const SHORTEST: Duration = Duration::from_mins(1);

const DAY: Duration = Duration::from_hours(24);

/// The dollars that these units cost.
fn dollars(cost: &Cost) -> f64 {
    (cost.write_units * WRITE_PRICE + cost.read_units * READ_PRICE) / 1e6
}

/// What a total becomes per day at the rate so far; `None` if it is too early to tell.
fn per_day(total: f64, during: Duration) -> Option<f64> {
    (during >= SHORTEST).then(|| total * DAY.as_secs_f64() / during.as_secs_f64())
}

/// Formats dollars with as many digits as matter.
fn money(dollars: f64) -> String {
    match dollars {
        0.0 => "$0".to_owned(),
        ..0.000_1 => "under $0.0001".to_owned(),
        ..1.0 => format!("${dollars:.4}"),
        _ => format!("${dollars:.2}"),
    }
}

/// Formats units: halves occur, as eventually consistent reads take them.
fn units(units: f64) -> String {
    let whole = number(units.trunc() as u64);
    if units.fract() == 0.0 { whole } else { format!("{whole}.{}", (units.fract() * 10.0).trunc() as u8) }
}

/// What an operation is called here.
fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Append => "Append messages",
        Operation::Fork => "Fork a session",
        Operation::Rewind => "Take back, edit",
        Operation::Redact => "Redact a record",
        Operation::Load => "Read messages",
        Operation::Clear => "Clear a session",
        Operation::Sweep => "Erase what was cleared",
        Operation::Delete => "Delete a session",
        Operation::Sessions => "List sessions",
        Operation::Session => "Title and metadata",
        Operation::Search => "Search",
        Operation::Threads => "LangGraph's threads",
    }
}

/// Whether a viewer may see what the whole service used, of all namespaces: who may read the metrics at this address.
pub(crate) fn may_see(viewer: &Viewer) -> bool {
    viewer.access.may(Right::Metrics) && (viewer.login.is_some() || viewer.access.service.options().metrics)
}

/// What the service has used
pub(crate) async fn usage(viewer: Viewer) -> Result<Response, Refused> {
    viewer.access.check(Right::Metrics)?;
    if !may_see(&viewer) {
        return Err(Problem::not_found("the metrics are served at another address: see metrics-listen").into());
    }
    let metrics = viewer.access.service.metrics();
    let (since, during) = metrics.since();
    let used = metrics.usage();
    let is_billed = matches!(viewer.kind(), Kind::DynamoDb | Kind::List);
    let main = html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/console" { "Sessions" } }
        h1 { "Cost per day" }
        p.small {
            "What this process has used since it started, " (when(since)) ", in all namespaces; the same figures as " code { "/metrics" } ". "
            @if !is_billed { "This store is not billed: it has no read and write units. " }
        }
        @if used.is_empty() { p.nothing { "Nothing has been read or written yet." } } @else {
            (table(&used, during, is_billed))
            @if is_billed { (how(during)) }
        }
        section.card.ask aria-labelledby="compare" {
            div {
                h2 id="compare" { "Before a migration" }
                p.small { "Compare the write units of sessions with those of chat classes that keep one item per session. This reads every record of the first page of sessions." }
            }
            a.button href="/console/costs" { "Compare" }
        }
    };
    Ok(Page { title: "Cost per day", viewer: Some(&viewer), class: "list", main }.into_response())
}

fn table(used: &[Usage], during: Duration, is_billed: bool) -> Markup {
    let total = used.iter().fold(Cost::default(), |mut total, usage| {
        total += usage.cost;
        total
    });
    let times = used.iter().map(|usage| usage.times).sum();
    let cells = |times: u64, cost: &Cost| {
        let daily = |total: f64| per_day(total, during);
        html! {
            td { (number(times)) } td { (number(cost.requests)) }
            @if is_billed { td { (units(cost.read_units)) } td { (units(cost.write_units)) } }
            td { (size(usize::try_from(cost.bytes).unwrap_or(usize::MAX))) }
            td { @match daily(times as f64) { Some(times) => (number(times.round() as u64)), None => "–" } }
            @if is_billed { td { @match daily(dollars(cost)) { Some(dollars) => (money(dollars)), None => "–" } } }
        }
    };
    html! {
        div.wide role="region" aria-label="Use by operation" tabindex="0" {
            table.figures.usage {
                caption { "Use by operation" }
                thead { tr {
                    th scope="col" { "Operation" } th scope="col" { "Times" } th scope="col" { "Requests" }
                    @if is_billed { th scope="col" { "Read units" } th scope="col" { "Write units" } }
                    th scope="col" { "Read or written" } th scope="col" { "Times a day" }
                    @if is_billed { th scope="col" { "Dollars a day" } }
                } }
                tbody { @for usage in used { tr { th scope="row" { (name(usage.operation)) } (cells(usage.times, &usage.cost)) } } }
                tfoot { tr { th scope="row" { "Total" } (cells(times, &total)) } }
            }
        }
        @if during < SHORTEST { p.small { "The rates per day are shown once the service has run for a minute." } }
    }
}

fn how(during: Duration) -> Markup {
    html! {
        p.small {
            "Dollars are at DynamoDB's on-demand prices in us-east-1: $" (WRITE_PRICE) " per million write units, $" (READ_PRICE) " per million read units; another region or "
            "provisioned capacity costs otherwise. A day is the rate so far (" (count(usize::try_from(during.as_secs() / 60).unwrap_or(usize::MAX), "minute")) ") continued for 24 hours. "
            "Storage, transfer, other processes, and what this service reads for titles and threads are not included."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_per_day_continues_the_rate_so_far() {
        assert_eq!(per_day(10.0, Duration::from_secs(59)), None);
        assert_eq!(per_day(10.0, Duration::from_hours(6)), Some(40.0));
    }

    #[test]
    fn million_units_cost_what_aws_publishes() {
        let mut cost = Cost::default();
        (cost.read_units, cost.write_units) = (1e6, 2e6);
        assert_eq!(dollars(&cost), 1.375);
        assert_eq!([0.0, 0.000_05, 0.012_34, 1.375].map(money), ["$0", "under $0.0001", "$0.0123", "$1.38"]);
        assert_eq!([0.5, 1_234.0].map(units), ["0.5", "1,234"]);
    }
}
