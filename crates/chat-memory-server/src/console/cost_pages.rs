//! The pages that reckon: of one session, and of all sessions of a page of the list.

use std::time::Instant;

use axum::extract::State;
use chat_memory::SessionId;
use maud::{Markup, html};

use super::costs::{Costs, PATIENCE, Point, reckon};
use super::page::{Page, Refused, count, number, session_path, size};
use super::sessions::{Listing, name_of};
use super::viewer::{Kind, Viewer};
use crate::api::extract::{Params, Session};
use crate::service::Service;

/// What the two ways are called, here and in the figures.
const HERE: &str = "An item for each record";
const ONE_ITEM: &str = "One item for the session";

/// What a session's records take, in a box.
pub(crate) fn panel(kind: Kind, costs: &Costs) -> Markup {
    let most = costs.one_item.max(costs.units).max(1);
    html! {
        p.small { "Write units " (on(kind)) ", for the " (count(costs.records, "record")) " in view:" }
        dl.bars {
            div { dt { (HERE) } dd { (bar("here", costs.units, most)) b { (number(costs.units)) } } }
            div { dt { (ONE_ITEM) } dd { (bar("other", costs.one_item, most)) b { (number(costs.one_item)) } } }
        }
        @if let Some(factor) = costs.factor().filter(|factor| *factor >= 1.05) {
            p.small {
                "One item takes " strong { (format!("{factor:.1} times")) } " as many, and more with each turn."
                @if let Some(full_at) = costs.full_at { " It would have been full (400 KB) at record " (number(full_at)) "." }
            }
        }
    }
}

fn on(kind: Kind) -> &'static str {
    match kind {
        Kind::DynamoDb => "on this table",
        Kind::List => "in a table of this project's own layout",
        Kind::Memory | Kind::Sqlite => "on DynamoDB",
    }
}

/// A bar whose number stands beside it.
fn bar(class: &str, n: usize, most: usize) -> Markup {
    let width = (n * 100).div_ceil(most).clamp(1, 100);
    html! {
        svg.bar.(class) viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect width=(width) height="8" {}
        }
    }
}

/// How it was reckoned.
fn how() -> Markup {
    html! {
        p.small {
            "Reckoned, not measured: an item takes a write unit for each 1,024 bytes, as AWS bills them. One item for the session is what chat classes do that "
            "write a whole session at each turn: then a turn takes as many units as the session has kilobytes so far. What was taken back or cleared is not counted."
        }
    }
}

/// What a session takes
pub(crate) async fn of_session(viewer: Viewer, Session(session): Session) -> Result<impl axum::response::IntoResponse, Refused> {
    let problem = |e| Refused::from(viewer.access.problem(&e)).in_session(&session);
    let costs = reckon(&*viewer.access.store, &session, Instant::now() + PATIENCE).await.map_err(problem)?;
    let main = html! {
        nav.crumbs aria-label="Where this is" { a href="/console" { "Sessions" } " / " a href=(session_path(&session, "")) { (session) } }
        h1 { "What this session takes" }
        @match costs {
            None => p.error role="alert" { "The session is so long that it could not be read in " (PATIENCE.as_secs()) " seconds." },
            Some(costs) if costs.records == 0 => p { "There is nothing in this session." },
            Some(costs) => {
                section.card { (panel(viewer.kind(), &costs)) }
                (chart(&costs))
                (table(&costs.curve))
                (how())
            }
        }
    };
    Ok(Page { title: "Costs", viewer: Some(&viewer), class: "narrow", main }.whole())
}

/// Both sums, record after record.
fn chart(costs: &Costs) -> Markup {
    const WIDTH: f64 = 640.0;
    const HEIGHT: f64 = 220.0;
    if costs.curve.len() < 3 {
        return html! {};
    }
    let most = costs.one_item.max(costs.units).max(1) as f64;
    let last = (costs.curve.len() - 1) as f64;
    let step = costs.curve.len().div_ceil(200);
    let points = |sum: fn(&Point) -> usize| {
        let all = costs.curve.iter().enumerate().filter(|(at, _)| at % step == 0 || at + 1 == costs.curve.len());
        let point = |(at, point)| format!("{:.1},{:.1}", at as f64 / last * WIDTH, HEIGHT - sum(point) as f64 / most * HEIGHT);
        all.map(point).collect::<Vec<_>>().join(" ")
    };
    html! {
        figure.chart {
            svg viewBox=(format!("-4 -6 {} {}", WIDTH + 8.0, HEIGHT + 12.0)) role="img" aria-label=(format!(
                "Write units from the first record to the last: {HERE} rises to {}, {ONE_ITEM} to {}", number(costs.units), number(costs.one_item)
            )) {
                line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
                polyline.other points=(points(|point| point.sum_one_item)) {}
                polyline.here points=(points(|point| point.sum)) {}
            }
            figcaption {
                span.key.other { (ONE_ITEM) } span.key.here { (HERE) }
                span { "write units in all, up to each of the " (count(costs.records, "record")) }
            }
        }
    }
}

/// What some of the records took.
fn table(curve: &[Point]) -> Markup {
    let mut some: Vec<usize> = [1, 10, 100, 1_000, 10_000].into_iter().filter(|n| *n < curve.len()).collect();
    some.push(curve.len());
    html! {
        table.figures {
            caption { "Write units of single records" }
            thead { tr { th scope="col" { "Record" } th scope="col" { (HERE) } th scope="col" { (ONE_ITEM) } } }
            tbody {
                @for n in some {
                    @let point = curve[n - 1];
                    tr { th scope="row" { (number(n)) } td { (number(point.units)) } td { (number(point.one_item)) } }
                }
            }
        }
    }
}

/// What the sessions of a page of the list take
pub(crate) async fn of_list(
    axum::extract::State(_): State<Service>,
    viewer: Viewer,
    Params(listing): Params<Listing>,
) -> Result<impl axum::response::IntoResponse, Refused> {
    let until = Instant::now() + PATIENCE;
    let page = listing.read(&viewer).await?;
    let (mut rows, mut sum) = (Vec::new(), Costs::default());
    let mut left = page.sessions.len();
    for session in &page.sessions {
        let id = SessionId::stored(session.id.as_str()).map_err(|e| viewer.access.problem(&e))?;
        let costs = reckon(&*viewer.access.store, &id, until).await.map_err(|e| viewer.access.problem(&e))?;
        let Some(costs) = costs else { break };
        left -= 1;
        sum.records += costs.records;
        sum.bytes += costs.bytes;
        sum.units += costs.units;
        sum.one_item += costs.one_item;
        rows.push((session, costs));
        if Instant::now() >= until {
            break;
        }
    }
    let main = html! {
        nav.crumbs aria-label="Where this is" { a href=(listing.path("/console")) { "Sessions" } }
        h1 { "What these sessions take" }
        @if left > 0 { p.error role="alert" { "Reading took over " (PATIENCE.as_secs()) " seconds, so " (count(left, "session")) " of this page could not be reckoned." } }
        @if rows.is_empty() { p { "There is nothing to reckon." } } @else {
            section.card { (panel(viewer.kind(), &sum)) }
            div.wide role="region" aria-label="Costs by session" tabindex="0" {
                table.figures {
                    caption { "Write units by session" }
                    thead { tr {
                        th scope="col" { "Session" } th scope="col" { "Records" } th scope="col" { "Stored" }
                        th scope="col" { (HERE) } th scope="col" { (ONE_ITEM) }
                    } }
                    tbody {
                        @for (session, costs) in &rows {
                            tr {
                                th scope="row" { a href=(format!("/console/sessions/{}", super::page::query(&session.id))) { (name_of(session)) } }
                                td { (number(costs.records)) } td { (size(costs.bytes)) }
                                td { (number(costs.units)) } td { (number(costs.one_item)) }
                            }
                        }
                    }
                }
            }
            (how())
        }
    };
    Ok(Page { title: "Costs", viewer: Some(&viewer), class: "narrow", main }.whole())
}
