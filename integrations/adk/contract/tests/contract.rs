//! adk-rust's contract for session services.

include!(concat!(env!("OUT_DIR"), "/contract.rs"));

use chat_memory_adk::ChatSessionService;
use chat_memory_testkit::store_urls;

#[tokio::test]
async fn contract_holds_on_sqlite_and_dynamodb() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in store_urls("adk-contract", folder.path()).await {
        let store = chat_memory::open(&url).await.expect("it opens");
        let service = ChatSessionService::new(store);
        session_contract::assert_session_contract(&service, "contract_app", "contract_app_2").await;
        println!("it holds on {}", url.split(':').next().unwrap_or_default());
    }
}
