//! The cookie of a login: the key's id, the expiry, a token that only a holder of the key has, and a signature.
//!
//! The token proves possession of the key; the key's hash in the keys file is not enough to compute it. The signature prevents
//! extending a stolen cookie; its secret is known to those who can read that file.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_memory::{Error, ErrorKind};
use jiff::Timestamp;

use crate::auth;
use crate::keys::{Key, Keys};

const NAME: &str = "chat_memory_console";

/// How long a login lasts, in seconds.
const LASTS_S: i64 = 12 * 60 * 60;

/// The signature's purpose, so that no other signature of the key passes for one.
const WHAT: &str = "console login";

/// A valid login.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) key: Arc<Key>,
    /// Random, so that the forms of two logins differ.
    pub(crate) nonce: String,
    expires: i64,
}

impl Login {
    /// Returns the valid login in these headers: not expired, and its key neither revoked nor replaced.
    pub(crate) fn of(headers: &HeaderMap, keys: &Keys) -> Option<Self> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut cookies = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.find_map(|(name, value)| if name == NAME { Self::read(value, keys, Timestamp::now()) } else { None })
    }

    fn read(value: &str, keys: &Keys, now: Timestamp) -> Option<Self> {
        let [id, expires, nonce, token, signature] = value.split('.').collect::<Vec<_>>().try_into().ok()?;
        let key = keys.by_id(id)?;
        let signature = BASE64.decode(signature).ok()?;
        if !auth::verify(&key.derived_secret(), WHAT, &[id, expires, nonce, token], &signature) || !key.opens_console(token) {
            return None;
        }
        let login = Self { key, nonce: nonce.to_owned(), expires: expires.parse().ok()? };
        login.is_before_its_end(now).then_some(login)
    }

    /// Whether it is still valid; a page that stays open has to check repeatedly.
    pub(crate) fn holds(&self, keys: &Keys) -> bool {
        self.is_before_its_end(Timestamp::now()) && keys.by_id(&self.key.id).is_some_and(|key| key == self.key)
    }

    fn is_before_its_end(&self, now: Timestamp) -> bool {
        now.as_second() < self.expires
    }
}

/// The header that logs in with this key and its console token, for some hours.
pub(crate) fn logs_in(key: &Key, token: &str, secure: bool) -> Result<HeaderValue, Error> {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce)
        .map_err(|e| Error::new(ErrorKind::Unavailable, format!("no random bytes from the system ({e})")))?;
    let expires = Timestamp::now().as_second() + LASTS_S;
    set(&value(key, expires, &BASE64.encode(nonce), token), LASTS_S, secure)
}

fn value(key: &Key, expires: i64, nonce: &str, token: &str) -> String {
    let expires = expires.to_string();
    let signature = auth::sign(&key.derived_secret(), WHAT, &[&key.id, &expires, nonce, token]);
    format!("{}.{expires}.{nonce}.{token}.{}", key.id, BASE64.encode(signature))
}

/// The header that logs out.
pub(crate) fn logs_out(secure: bool) -> Result<HeaderValue, Error> {
    set("", 0, secure)
}

fn set(value: &str, seconds: i64, secure: bool) -> Result<HeaderValue, Error> {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{NAME}={value}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).map_err(|_| Error::invalid("this key's id cannot be stored in a cookie"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Right, console_token, create, revoke};

    #[test]
    fn login_is_valid_until_expiry_for_its_own_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let (key, text) = create(&path, "a", None, &[Right::Read]).expect("a key");
        let token = console_token(&text).expect("a token");
        let (other, _) = create(&path, "b", None, &[Right::Read]).expect("a key");
        let keys = Keys::open(&path).expect("the keys");
        let now = Timestamp::now();
        let good = value(&key, now.as_second() + 10, "n", &token);
        assert_eq!(Login::read(&good, &keys, now).expect("it holds").key.id, key.id);
        assert!(Login::read(&value(&key, now.as_second(), "n", &token), &keys, now).is_none(), "it has ended");
        let parts: Vec<&str> = good.split('.').collect();
        for (at, with) in [(0, other.id.as_str()), (1, "99999999999"), (2, "m"), (3, "AAAA"), (4, "AAAA")] {
            let mut forged = parts.clone();
            forged[at] = with;
            assert!(Login::read(&forged.join("."), &keys, now).is_none(), "{forged:?}");
        }
        for wrong in ["", "a", "a.b.c.d", "a.b.c.d.e", "a.b.c.d.e.f"] {
            assert!(Login::read(wrong, &keys, now).is_none());
        }
        let login = Login::read(&good, &keys, now).expect("it holds");
        assert!(login.holds(&keys));
        revoke(&path, &key.id).expect("revoked");
        let without = Keys::open(&path).expect("the keys");
        assert!(!login.holds(&without) && Login::read(&good, &without, now).is_none());
    }

    #[test]
    fn keys_file_alone_cannot_forge_a_login() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let (_, text) = create(&path, "a", None, &[Right::Read]).expect("a key");
        let (other, others) = create(&path, "b", None, &[Right::Read]).expect("a key");
        let keys = Keys::open(&path).expect("the keys");
        let (now, soon) = (Timestamp::now(), Timestamp::now().as_second() + 10);
        // The signing secrets derive from the file, so anyone who reads it can sign like the service.
        let read = crate::keys::list(&path).expect("the file").remove(0);
        let file: toml::Table = std::fs::read_to_string(&path).expect("the file").parse().expect("TOML");
        let fields = file["key"][0].as_table().expect("a key").values().map(ToString::to_string);
        let own = console_token(&others).expect("a token");
        for token in fields.map(|field| field.trim_matches('"').to_owned()).chain([String::new(), own.clone()]) {
            assert!(Login::read(&value(&read, soon, "n", &token), &keys, now).is_none(), "{token}");
        }
        // A holder of one login cannot turn it into another's.
        let mine = value(&other, soon, "n", &own);
        assert!(Login::read(&mine, &keys, now).is_some());
        assert!(Login::read(&mine.replace(&other.id, &read.id), &keys, now).is_none());
        assert!(Login::read(&value(&read, soon, "n", &console_token(&text).expect("a token")), &keys, now).is_some());
    }

    #[test]
    fn cookie_is_strict_same_site_and_http_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, text) = create(&folder.path().join("keys.toml"), "a", None, &[Right::Read]).expect("a key");
        let token = console_token(&text).expect("a token");
        let cookie = logs_in(&key, &token, true).expect("a cookie");
        let cookie = cookie.to_str().expect("ASCII");
        for part in ["; Path=/console;", "; HttpOnly", "; SameSite=Strict", "; Secure", "; Max-Age=43200"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains(&text) && !text.splitn(3, '_').any(|part| part.len() > 20 && cookie.contains(part)));
        assert!(!logs_out(false).expect("a cookie").to_str().expect("ASCII").contains("Secure"));
    }
}
