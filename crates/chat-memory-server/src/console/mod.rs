//! The console.
use crate::service::Service;
use axum::Router;
use axum::response::Redirect;
pub(crate) fn routes(_: &Service) -> Router<Service> {
    Router::new()
}
pub(crate) async fn home() -> Redirect {
    Redirect::to("/console")
}
