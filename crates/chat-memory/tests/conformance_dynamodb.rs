//! The conformance suite on the DynamoDB store, on AWS's DynamoDB Local: as it is, and behind a proxy that loses requests and
//! answers. One table for all, since each case takes sessions of its own.
#![cfg(all(feature = "conformance", feature = "dynamodb"))]

mod dynamodb;

mod plain {
    use chat_memory::conformance::Suite;
    use chat_memory::store::Capabilities;

    fn suite() -> Suite {
        Suite::new(|| async { crate::dynamodb::open(&chat_memory_testkit::dynamodb_endpoint()).await })
    }

    chat_memory::conformance_tests! {
        suite: suite(),
        capabilities: Capabilities::all(),
    }
}
