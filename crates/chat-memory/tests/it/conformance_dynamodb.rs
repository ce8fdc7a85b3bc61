//! Runs the conformance suite on the DynamoDB store, on AWS's DynamoDB Local: directly, and behind a proxy that loses requests
//! and responses. All cases share a table, since each uses its own sessions.
#![cfg(all(feature = "conformance", feature = "dynamodb"))]

mod plain {
    use chat_memory::conformance::Suite;
    use chat_memory::store::Capabilities;

    fn suite() -> Suite {
        Suite::new(|| async { crate::dynamodb::open(&chat_memory_testkit::dynamodb_endpoint()).await })
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all().with_last_activity(Some(std::time::Duration::from_secs(60 * 60))).with_any_owner(false),
    }
}

mod behind_faults {
    use chat_memory::conformance::{Capability, Suite};
    use chat_memory_testkit::{Fault, FaultProxy, Seeded, dynamodb_endpoint};

    /// A single test, because all faults must come from one proxy: they are chosen by the number of the request.
    #[tokio::test(flavor = "multi_thread")]
    async fn cases_except_cost_hold_behind_a_faulty_network() {
        let plan = Seeded { drop_answers: 0.03, drop_requests: 0.02, ..Seeded::new(5) };
        let proxy = FaultProxy::start(&dynamodb_endpoint(), plan);
        let url = proxy.url();
        let suite = Suite::new(move || {
            let url = url.clone();
            async move { crate::dynamodb::open(&url).await }
        });
        // Retries cost extra; and of two callers who lost their responses, it is unknown who was first.
        let untold = |name: &str| name == "key_used_concurrently_is_stored_once";
        let cases = Suite::cases().filter(|case| case.needs != Some(Capability::BoundedCost) && !untold(case.name));
        crate::dynamodb::run(&suite, cases).await;
        let requests = proxy.requests();
        let lost = requests.iter().filter(|recorded| !matches!(recorded.fault, Fault::Pass)).count();
        println!("{} requests, {lost} of which were lost or not answered", requests.len());
        assert!(lost * 40 > requests.len(), "the network was not bad enough");
    }
}
