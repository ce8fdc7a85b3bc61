//! Runs the conformance suite on tables as created by Flowise and LangChain, on AWS's DynamoDB Local: in both forms, with rolling
//! at its default and at a size that every case reaches, and with a fixed sort key.
#![cfg(all(feature = "conformance", feature = "dynamodb"))]

use chat_memory::store::Capabilities;

/// The capabilities that this layout declares.
const CAPABILITIES: Capabilities = Capabilities::all().with_directory(false).with_bounded_cost(false).with_entries(false);

mod javascript {
    use chat_memory::conformance::Suite;

    fn suite() -> Suite {
        Suite::new(|| async { crate::list::open(crate::list::table("js", None).await, |options| options).await })
    }

    chat_memory::conformance_tests! { suite: suite(), capabilities: super::CAPABILITIES }
}

mod others {
    use chat_memory::conformance::{Case, Suite};
    use chat_memory::store::dynamodb::{Dialect, Layout, Options, Roll};
    use chat_memory_testkit::{Fault, FaultProxy, Seeded, dynamodb_endpoint};

    /// Runs the cases that this layout's capabilities allow, on a new table.
    async fn run(name: &'static str, sort_key: Option<&'static str>, with: fn(Options) -> Options) {
        let suite = Suite::new(move || async move { crate::list::open(crate::list::table(name, sort_key).await, with).await });
        crate::dynamodb::run(&suite, cases()).await;
    }

    fn cases() -> impl Iterator<Item = &'static Case> {
        Suite::cases().filter(|case| case.needs.is_none_or(super::declared))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn python() {
        run("python", None, |options| options.with_dialect(Dialect::Python)).await;
    }

    /// At 4 KB nearly every case rolls.
    #[tokio::test(flavor = "multi_thread")]
    async fn cases_hold_when_rolling_often() {
        run("rolling", None, |options| options.with_roll(Roll::At(4_000))).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn cases_hold_with_a_fixed_sort_value() {
        run("sorted", Some("sk"), |options| {
            options.with_sort_value("sk").with_dialect(Dialect::Python).with_roll(Roll::At(8_000))
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn cases_hold_with_one_session_per_key_pair() {
        run("pairs", Some("sk"), |options| options.with_layout(Layout::List).with_roll(Roll::At(8_000))).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn behind_faults() {
        let plan = Seeded { drop_answers: 0.03, drop_requests: 0.02, ..Seeded::new(7) };
        let proxy = FaultProxy::start(&dynamodb_endpoint(), plan);
        let url = proxy.url();
        let suite = Suite::new(move || {
            let url = url.clone();
            async move {
                let table = crate::list::table("faults", None).await;
                crate::list::open(table, |options| options.with_roll(Roll::At(8_000)).with_endpoint(&url)).await
            }
        });
        // Of two callers who lost their responses, it is unknown who was first; and a first append whose response was lost stays
        // in doubt if others have written, since an original client might have deleted what it started.
        let untold = |name: &str| ["key_used_concurrently_is_stored_once", "one_of_many_first_appends_wins"].contains(&name);
        crate::dynamodb::run(&suite, cases().filter(|case| !untold(case.name))).await;
        let requests = proxy.requests();
        let lost = requests.iter().filter(|recorded| !matches!(recorded.fault, Fault::Pass)).count();
        assert!(lost * 40 > requests.len(), "the network was not bad enough");
    }
}

fn declared(needs: chat_memory::conformance::Capability) -> bool {
    use chat_memory::conformance::Capability;
    !matches!(needs, Capability::Directory | Capability::LastActivity | Capability::BoundedCost | Capability::Entries)
}
