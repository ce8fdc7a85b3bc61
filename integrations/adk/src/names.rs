//! The names of adk-rust's sessions, states and ids in a store.

use adk_core::identity::AdkIdentity;
use chat_memory::{Error, Owner, SessionId};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Characters that separate parts of a name, or that names may not contain.
const IN_NAME: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

fn joined<const N: usize>(kind: &str, names: [&str; N]) -> String {
    names.iter().fold(kind.to_owned(), |all, name| format!("{all}/{}", utf8_percent_encode(name, IN_NAME)))
}

/// The session of an identity.
pub fn session(identity: &AdkIdentity) -> Result<SessionId, Error> {
    let AdkIdentity { app_name, user_id, session_id } = identity;
    let id = SessionId::new(joined("adk", [app_name.as_ref(), user_id.as_ref(), session_id.as_ref()]));
    id.map_err(|e| e.context("the session's name, made of the app's name, the user's id and its own id"))
}

/// The owner of a user's sessions in an app, by which the directory lists them.
pub fn owner(app: &str, user: &str) -> Result<Owner, Error> {
    Owner::new(joined("adk", [app, user])).map_err(|e| e.context("the owner, made of the app's name and the user's id"))
}

/// The last part of a session's name: its id in adk-rust.
pub fn id_in(session: &SessionId) -> Option<String> {
    let mut parts = session.as_str().strip_prefix("adk/")?.split('/');
    let last = parts.nth(2).filter(|_| parts.next().is_none())?;
    Some(percent_decode_str(last).decode_utf8().ok()?.into_owned())
}

/// The state of an app, shared by all its users.
pub fn app_state(app: &str) -> Result<SessionId, Error> {
    SessionId::new(joined("adk-state", [app]))
}

/// The state of a user of an app.
pub fn user_state(app: &str, user: &str) -> Result<SessionId, Error> {
    SessionId::new(joined("adk-state", [app, user]))
}

/// The list of identities that have this session id.
pub fn ids(session_id: &str) -> Result<SessionId, Error> {
    SessionId::new(joined("adk-id", [session_id]))
}

/// The owner of everything that is not a session, so that the directory does not list it among the unowned sessions.
pub fn own() -> Result<Owner, Error> {
    Owner::new("adk-rust")
}

#[cfg(test)]
mod tests {
    use adk_core::identity::{AppName, SessionId as AdkSession, UserId};

    use super::*;

    #[test]
    fn session_names_are_unambiguous() {
        let name = |app: &str, user: &str, id: &str| {
            let identity = AdkIdentity::new(
                AppName::try_from(app).expect("an app"),
                UserId::try_from(user).expect("a user"),
                AdkSession::try_from(id).expect("an id"),
            );
            session(&identity).expect("a name")
        };
        assert_eq!(name("app", "user", "s").as_str(), "adk/app/user/s");
        assert_ne!(name("a/b", "c", "d"), name("a", "b/c", "d"));
        assert_eq!(id_in(&name("a", "b", "c/d%\n🦀")).as_deref(), Some("c/d%\n🦀"));
        assert_eq!(id_in(&SessionId::new("adk/a/b/c/d").expect("an id")), None);
    }
}
