//! The pages with cost estimates: of one session, and of the sessions on a page of the list.

use std::time::Instant;

use maud::{Markup, html};

use super::costs::{Costs, PATIENCE, Point, estimate};
use super::page::{Page, Refused, count, number, session_path, size};
use super::sessions::{Listing, name_of};
use super::viewer::{Kind, Viewer};
use crate::extract::{Params, Session};

/// The names of the two layouts, here and in the figures.
const HERE: &str = "An item for each record";
const ONE_ITEM: &str = "One item for the session";

/// What a session's records cost, in a box.
pub(crate) fn panel(kind: Kind, costs: &Costs) -> Markup {
    let most = costs.one_item.max(costs.units_in_item).max(1);
    html! {
        p.small { "Write units " (on(kind)) ", for the " (count(costs.records, "record")) " in view" (so_far(costs)) ":" }
        dl.bars {
            div { dt { (HERE) } dd { (bar("here", costs.units_in_item, most)) b { (number(costs.units_in_item)) } } }
            div { dt { (ONE_ITEM) } dd { (bar("other", costs.one_item, most)) b { (number(costs.one_item)) } } }
        }
        @if let Some(factor) = costs.factor().filter(|factor| *factor >= 1.05) {
            p.small { "One item takes " strong { (format!("{factor:.1} times")) } " as many, and more with each turn." }
        }
        @if costs.units_in_item < costs.units {
            p.small { "All records take " strong { (number(costs.units)) } " write units; one item cannot hold them." }
        }
    }
}

/// How far both layouts can be compared.
fn so_far(costs: &Costs) -> String {
    costs.full_at.map(|seq| format!(" up to record {seq}, at which one item would be full (400 KB)")).unwrap_or_default()
}

fn on(kind: Kind) -> &'static str {
    match kind {
        Kind::DynamoDb => "on this table",
        Kind::List => "in a table of the turns layout",
        Kind::Memory | Kind::Sqlite | Kind::Other => "on DynamoDB",
    }
}

/// A bar with its number next to it.
fn bar(class: &str, n: usize, most: usize) -> Markup {
    let width = (n * 100).div_ceil(most).clamp(1, 100);
    html! {
        svg.bar.(class) viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect width=(width) height="8" {}
        }
    }
}

/// How the cost was estimated.
fn how() -> Markup {
    html! {
        p.small {
            "Estimated, not measured: an item takes a write unit for each 1,024 bytes, as AWS bills them. One item for the session is what chat classes do that "
            "write a whole session at each turn: then a turn takes as many units as the session has kilobytes so far. What was taken back or cleared is not counted. "
            "Records are numbered from 0, as the API's seq."
        }
    }
}

/// What a session costs
pub(crate) async fn of_session(viewer: Viewer, Session(session): Session) -> Result<impl axum::response::IntoResponse, Refused> {
    let problem = |e| viewer.access.problem(&e);
    let costs = estimate(&*viewer.access.store, &session, Instant::now() + PATIENCE).await.map_err(problem)?;
    let main = html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/console" { "Sessions" } " / " a dir="auto" href=(session_path(&session, "")) { (session) } }
        h1 { "Cost of this session" }
        @match costs {
            None => p.error role="alert" { "The session is too long to be read in " (PATIENCE.as_secs()) " seconds." },
            Some(costs) if costs.records == 0 => p { "No messages in this session." },
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

/// The width and height of the chart's area.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 200.0;

/// The running totals of both layouts, record by record.
fn chart(costs: &Costs) -> Markup {
    let Some(end) = costs.curve.last().filter(|_| costs.curve.len() > 2) else { return html! {} };
    let last = (costs.curve.len() - 1).max(1) as f64;
    let most = round_up(costs.units.max(costs.one_item).max(1));
    let (x, y) = (|at: usize| at as f64 / last * WIDTH, |units: usize| HEIGHT - units as f64 / most as f64 * HEIGHT);
    // As many points as a picture can show.
    let step = costs.curve.len().div_ceil(200);
    let points = |sum: fn(&Point) -> Option<usize>| {
        let all: Vec<(usize, usize)> = costs.curve.iter().enumerate().filter_map(|(at, point)| Some((at, sum(point)?))).collect();
        let shown = all.iter().enumerate().filter(|(n, _)| n % step == 0 || n + 1 == all.len());
        let shown = shown.map(|(_, (at, units))| format!("{:.1},{:.1}", x(*at), y(*units)));
        (shown.collect::<Vec<_>>().join(" "), all.last().copied())
    };
    let (here, _) = points(|point| Some(point.sum));
    let (one_item, full) = points(|point| point.one_item.map(|(_, sum)| sum));
    let full = full.zip(costs.full_at);
    let first = costs.curve.first().map_or(0, |point| point.seq);
    html! {
        figure.chart {
            svg viewBox=(format!("-70 -12 {} {}", WIDTH + 86.0, HEIGHT + 52.0)) role="img" aria-label=(format!(
                "Write units from record {first} to record {}: {HERE} rises to {}, {ONE_ITEM} to {}{}",
                end.seq, number(costs.units), number(costs.one_item), so_far(costs)
            )) {
                @for quarter in 0..=4 {
                    @let units = most * quarter / 4;
                    line.grid x1="0" y1=(y(units)) x2=(WIDTH) y2=(y(units)) {}
                    text.tick x="-8" y=(y(units) + 4.0) text-anchor="end" { (number(units)) }
                }
                text.tick x="0" y=(HEIGHT + 18.0) text-anchor="start" { (first) }
                @let middle = costs.curve.len() / 2;
                text.tick x=(x(middle)) y=(HEIGHT + 18.0) text-anchor="middle" { (costs.curve[middle].seq) }
                text.tick x=(WIDTH) y=(HEIGHT + 18.0) text-anchor="end" { (end.seq) }
                text.tick x=(WIDTH / 2.0) y=(HEIGHT + 36.0) text-anchor="middle" { "record" }
                line.axis x1="0" y1=(HEIGHT) x2=(WIDTH) y2=(HEIGHT) {}
                line.axis x1="0" y1="0" x2="0" y2=(HEIGHT) {}
                polyline.other points=(one_item) {}
                polyline.here points=(here) {}
                @if let Some(((at, units), _)) = full { circle.full cx=(x(at)) cy=(y(units)) r="5" {} }
            }
            figcaption {
                span.key.other { (ONE_ITEM) @if let Some((_, seq)) = full { ", full (400 KB) at record " (seq) } } span.key.here { (HERE) }
                span { "write units in all, up to each of the " (count(costs.records, "record")) }
            }
        }
    }
}

/// The next number with one significant digit that four steps divide well.
fn round_up(n: usize) -> usize {
    let mut size = 4;
    while size < n {
        // 4, 8, 20, 40, 80, 200, …
        size = if size.to_string().starts_with('8') { size / 8 * 20 } else { size * 2 };
    }
    size
}

/// What some of the records cost.
fn table(curve: &[Point]) -> Markup {
    let mut some: Vec<&Point> = [0, 10, 100, 1_000, 10_000].into_iter().filter_map(|at| curve.get(at)).collect();
    some.extend(curve.last().filter(|last| some.iter().all(|point| point.seq != last.seq)));
    html! {
        table.figures {
            caption { "Write units of single records" }
            thead { tr { th scope="col" { "Record" } th scope="col" { (HERE) } th scope="col" { (ONE_ITEM) } } }
            tbody {
                @for point in some {
                    tr {
                        th scope="row" { (point.seq) } td { (number(point.units)) }
                        td { @match point.one_item { Some((units, _)) => (number(units)), None => "full" } }
                    }
                }
            }
        }
    }
}

/// What the sessions on a page of the list cost
pub(crate) async fn of_list(
    viewer: Viewer,
    Params(listing): Params<Listing>,
) -> Result<impl axum::response::IntoResponse, Refused> {
    let until = Instant::now() + PATIENCE;
    let page = listing.read(&viewer).await?;
    let (mut rows, mut sum) = (Vec::new(), Costs::default());
    let mut left = page.sessions.len();
    for session in &page.sessions {
        let costs = estimate(&*viewer.access.store, &session.id, until).await.map_err(|e| viewer.access.problem(&e))?;
        let Some(costs) = costs else { break };
        left -= 1;
        sum.records += costs.records;
        sum.bytes += costs.bytes;
        sum.units += costs.units;
        sum.one_item += costs.one_item;
        sum.units_in_item += costs.units_in_item;
        rows.push((session, costs));
        if Instant::now() >= until {
            break;
        }
    }
    let main = html! {
        nav.crumbs aria-label="Breadcrumb" { a href=(listing.path("/console")) { "Sessions" } }
        h1 { "Cost of these sessions" }
        @if left > 0 { p.error role="alert" { "Reading took over " (PATIENCE.as_secs()) " seconds, so " (count(left, "session")) " of this page could not be estimated." } }
        @if rows.is_empty() { p { "No messages in these sessions." } } @else {
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
                                th scope="row" { a dir="auto" href=(session_path(&session.id, "")) { (name_of(session)) } }
                                td { (number(costs.records)) } td { (size(costs.bytes)) }
                                td { (number(costs.units)) }
                                td { (number(costs.one_item)) @if let Some(seq) = costs.full_at { " (full at record " (seq) ")" } }
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

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn chart_axis_ends_at_a_round_number() {
        assert_eq!([1, 4, 5, 9, 21, 100, 60_001].map(round_up), [4, 4, 8, 20, 40, 200, 80_000]);
    }
}
