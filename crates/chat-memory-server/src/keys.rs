//! API keys: a file with each key's rights and hashes, never the keys themselves.
//!
//! A key is `cm_ID_SECRET`. Its secret has 256 random bits, so it cannot be guessed from its SHA-256 in the file, and no slow hash
//! is needed. It is shown once, when it is created.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_memory::{Error, ErrorKind, Namespace};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The version of the file format that this program writes and reads.
const VERSION: u32 = 1;

/// How often a running service checks whether the file changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const HEADER: &str = "# The API keys of `chat-memory serve`, each as the SHA-256 of its secret. `chat-memory key` changes this file; a running\n\
    # service sees it within a second.\n";

/// A right of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read sessions
    Read,
    /// Write sessions: append, rewind, redact, clear, fork, delete, change title and metadata
    Write,
    /// Read /metrics
    Metrics,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Metrics => "metrics",
        })
    }
}

/// A key, as stored in the file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its id, the middle part of the key's text. Not a secret.
    pub id: String,
    /// Its purpose, in its owner's words.
    pub name: String,
    /// The namespace that it sees; `None` for sessions without a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its rights.
    pub rights: Vec<Right>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The SHA-256 of its secret, in hexadecimal digits.
    sha256: String,
    /// The SHA-256 of its [token for the console](console_token), in hexadecimal digits.
    console_sha256: String,
}

/// Omits the hashes, which the signing secrets derive from.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, namespace, rights, created_at, sha256: _, console_sha256: _ } = self;
        let mut fields = f.debug_struct("Key");
        fields.field("id", id).field("name", name).field("namespace", namespace).field("rights", rights);
        fields.field("created_at", created_at).finish_non_exhaustive()
    }
}

impl Key {
    /// Whether it has this right.
    pub fn allows(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// The namespace.
    pub fn namespace(&self) -> Option<Namespace> {
        // Checked when the file was read.
        self.namespace.as_ref().and_then(|name| Namespace::new(name).ok())
    }

    /// Verifies in constant time that this is the [token](console_token) of the key's secret.
    pub(crate) fn opens_console(&self, token: &str) -> bool {
        hash_of(token).as_bytes().ct_eq(self.console_sha256.as_bytes()).into()
    }

    /// A signing secret that lasts as long as the key; never shown. Whoever reads the file can compute it, so its signature alone
    /// must not grant access.
    pub(crate) fn derived_secret(&self) -> [u8; 32] {
        Sha256::digest(format!("chat-memory signatures of {}", self.sha256)).into()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default, rename = "key")]
    keys: Vec<Key>,
}

/// The keys of a file, reloaded when it changes, or of a text, which never does.
pub struct Keys {
    path: Option<PathBuf>,
    current: ArcSwap<Vec<Arc<Key>>>,
    looked: Mutex<Looked>,
}

/// When the file was last checked, and its modification time and length then.
struct Looked {
    at: Instant,
    stamp: Option<(SystemTime, u64)>,
}

impl Keys {
    /// Reads the file.
    ///
    /// # Errors
    /// Not found, or invalid with the place; a service therefore does not start without its keys.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let stamp = stamp(&path);
        let keys = read(&path)?.keys;
        if keys.is_empty() {
            tracing::warn!("no API key in the file; create one with: chat-memory key new --keys FILE --name NAME");
        }
        let current = ArcSwap::from_pointee(keys.into_iter().map(Arc::new).collect());
        Ok(Self { path: Some(path), current, looked: Mutex::new(Looked { at: Instant::now(), stamp }) })
    }

    /// The keys of a text, where there is no file. They do not change while the process runs. `place` names the text's origin in
    /// errors.
    ///
    /// # Errors
    /// Invalid with the line; also if the text contains no key, since nobody could ever use the service.
    pub fn of_text(text: &str, place: &str) -> Result<Self, Error> {
        let keys = parse(text, place)?.keys;
        if keys.is_empty() {
            return Err(Error::invalid(format!(
                "no API key in {place}: expected the text of a file that `chat-memory key new` wrote"
            )));
        }
        let current = ArcSwap::from_pointee(keys.into_iter().map(Arc::new).collect());
        Ok(Self { path: None, current, looked: Mutex::new(Looked { at: Instant::now(), stamp: None }) })
    }

    /// The key with this text.
    pub fn find(&self, text: &str) -> Option<Arc<Key>> {
        let (id, secret) = parts(text)?;
        let hash = hash_of(secret);
        let key = self.by_id(id)?;
        bool::from(hash.as_bytes().ct_eq(key.sha256.as_bytes())).then_some(key)
    }

    /// The key with this id.
    pub fn by_id(&self, id: &str) -> Option<Arc<Key>> {
        self.look();
        self.current.load().iter().find(|key| key.id == id).cloned()
    }

    /// Reloads the file if it changed. If it cannot be read, the keys stay as they were. If it was removed, none are left, since
    /// removing it may be how they were revoked.
    fn look(&self) {
        let Some(path) = &self.path else { return };
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.at.elapsed() < LOOK_EVERY {
            return;
        }
        looked.at = Instant::now();
        let now = stamp(path);
        if now == looked.stamp {
            return;
        }
        looked.stamp = now;
        match read(path) {
            Ok(file) => {
                tracing::info!(keys = file.keys.len(), "reloaded the API keys");
                self.current.store(Arc::new(file.keys.into_iter().map(Arc::new).collect()));
            }
            Err(error) if error.is_not_found() => {
                tracing::error!("the file of API keys is gone: all keys are refused");
                self.current.store(Arc::default());
            }
            Err(error) => tracing::error!(%error, "reloading the API keys failed; the previous ones stay valid"),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("path", &self.path).finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn hash_of(secret: &str) -> String {
    Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Proves possession of the key without revealing it: it cannot be computed from the file, nor the secret from it.
pub(crate) fn console_token(key: &str) -> Option<String> {
    let (_, secret) = parts(key)?;
    Some(console_token_of(secret))
}

fn console_token_of(secret: &str) -> String {
    BASE64.encode(Sha256::digest(format!("chat-memory console {secret}")))
}

/// Splits a key's text into id and secret.
fn parts(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("cm_")?.split_once('_')
}

/// Returns the keys in a file.
///
/// # Errors
/// Not found; invalid with the line, and for what is no regular file.
pub fn list(path: &Path) -> Result<Vec<Key>, Error> {
    read(path).map(|file| file.keys)
}

fn read(path: &Path) -> Result<File, Error> {
    let shown = path.display();
    // Reading a pipe would wait for its writer.
    if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(Error::invalid(format!("cannot read the key file {shown}: it is not a regular file; give the path of one")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!("no key file {shown}; create it, with its first key: chat-memory key new --keys {shown} --name NAME"),
        ),
        std::io::ErrorKind::InvalidData => {
            Error::invalid(format!("cannot read the key file {shown}: it is not UTF-8; restore it as `chat-memory key` wrote it"))
        }
        _ => Error::new(
            ErrorKind::AccessDenied,
            format!("cannot read the key file {shown}: {e}; check its permissions and those of its folder"),
        ),
    })?;
    parse(&text, &format!("the key file {shown}"))
}

/// Parses the keys in a text; `place` names it in errors.
fn parse(text: &str, place: &str) -> Result<File, Error> {
    // The parser's message would repeat the line, which contains a hash.
    let file: File = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::invalid(format!(
            "{place} cannot be read: line {line}: {}; correct the line, or restore the file as `chat-memory key` wrote it",
            e.message()
        ))
    })?;
    if file.version != VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{place} has version {}, and this program supports {VERSION}; update chat-memory", file.version),
        ));
    }
    for key in &file.keys {
        key.namespace.as_deref().map_or(Ok(()), check_namespace).map_err(|e| e.context(format!("key {} in {place}", key.id)))?;
    }
    Ok(file)
}

/// Whether a key may have this namespace. It becomes part of a file name on SQLite, so the rules are stricter than the library's.
///
/// # Errors
/// Invalid.
pub fn check_namespace(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if (1..=48).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid("invalid namespace of a key: expected 1 to 48 of the characters a-z, 0-9, - and _"))
}

/// Whether a key may have this name, namespace and these rights.
///
/// # Errors
/// Invalid.
pub fn check(name: &str, namespace: Option<&str>, rights: &[Right]) -> Result<(), Error> {
    namespace.map_or(Ok(()), check_namespace)?;
    if name.is_empty() || name.len() > 100 || name.chars().any(char::is_control) {
        return Err(Error::invalid("invalid name of a key: expected 1 to 100 bytes without control characters"));
    }
    if rights.is_empty() {
        return Err(Error::invalid("a key needs a right: read, write or metrics"));
    }
    Ok(())
}

/// Creates a key and adds it to the file, which is created if it is missing. A right given twice counts once. Returns the key's
/// text, which is stored nowhere.
///
/// # Errors
/// Invalid, as [`check`] finds it; and if the file cannot be read or written.
pub fn create(path: &Path, name: &str, namespace: Option<&str>, rights: &[Right]) -> Result<(Key, String), Error> {
    check(name, namespace, rights)?;
    let _lock = lock(path)?;
    let mut file = match read(path) {
        Err(error) if error.is_not_found() => File { version: VERSION, keys: Vec::new() },
        read => read?,
    };
    let (mut id, mut secret) = ([0; 6], [0; 32]);
    let random = |bytes: &mut [u8]| {
        getrandom::fill(bytes).map_err(|e| Error::new(ErrorKind::Unavailable, format!("no random bytes from the system ({e})")))
    };
    random(&mut id)?;
    random(&mut secret)?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = BASE64.encode(secret);
    let key = Key {
        id: id.clone(),
        name: name.to_owned(),
        namespace: namespace.map(str::to_owned),
        rights: [Right::Read, Right::Write, Right::Metrics].into_iter().filter(|right| rights.contains(right)).collect(),
        created_at: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        sha256: hash_of(&secret),
        console_sha256: hash_of(&console_token_of(&secret)),
    };
    file.keys.push(key.clone());
    write(path, &file)?;
    Ok((key, format!("cm_{id}_{secret}")))
}

/// Removes the key with this id, or the only one with this name, from the file.
///
/// # Errors
/// Not found; invalid if several keys have the name.
pub fn revoke(path: &Path, which: &str) -> Result<Key, Error> {
    // If there is no file, do not create one for the lock.
    read(path)?;
    let _lock = lock(path)?;
    let mut file = read(path)?;
    let matching: Vec<usize> =
        (0..file.keys.len()).filter(|at| file.keys[*at].id == which || file.keys[*at].name == which).collect();
    match matching[..] {
        [at] => {
            let key = file.keys.remove(at);
            write(path, &file)?;
            Ok(key)
        }
        [] => Err(Error::new(
            ErrorKind::NotFound,
            format!("unknown key {which:?}: `chat-memory key list --keys {}` shows ids and names", path.display()),
        )),
        _ => Err(Error::invalid(format!(
            "ambiguous key {which:?}: several have this name; give the id of one, as `chat-memory key list --keys {}` shows it",
            path.display()
        ))),
    }
}

/// Locks the file of keys against other changes until it is dropped: a change reads and rewrites the file, so one of two concurrent
/// changes would be lost. The lock is on a separate file, since the file of keys is replaced; that file is never removed, since
/// others may be waiting for it.
fn lock(path: &Path) -> Result<std::fs::File, Error> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lock");
    let lock = path.with_file_name(name);
    let folder = folder_of(path);
    if !folder.exists() {
        let why = format!("there is no folder {}; create it, or name a file in another one", folder.display());
        return Err(Error::new(ErrorKind::NotFound, format!("cannot change the key file {}: {why}", path.display())));
    }
    let mut options = std::fs::File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let locked = options.open(&lock).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|e| {
        let (shown, lock) = (path.display(), lock.display());
        let what = format!("cannot change the key file {shown}: {lock} cannot be locked: {e}");
        Error::new(ErrorKind::AccessDenied, format!("{what}; check the permissions of the folder and of that file"))
    })
}

/// The folder of a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the file atomically, readable only by its owner.
fn write(path: &Path, file: &File) -> Result<(), Error> {
    let cannot = |e: &dyn fmt::Display| {
        let what = format!("cannot change the key file {}: {e}", path.display());
        Error::new(ErrorKind::AccessDenied, format!("{what}; check the permissions of its folder, and the space on its disk"))
    };
    let text = toml::to_string(file).map_err(|e| cannot(&e))?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder_of(path)).map_err(|e| cannot(&e))?;
    std::io::Write::write_all(&mut temporary, format!("{HEADER}{text}").as_bytes()).map_err(|e| cannot(&e))?;
    temporary.as_file().sync_all().map_err(|e| cannot(&e))?;
    temporary.persist(path).map_err(|e| cannot(&e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_created_found_listed_and_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        assert!(Keys::open(&path).expect_err("no file").is_not_found());
        let (made, text) = create(&path, "backend", Some("acme"), &[Right::Read, Right::Write]).expect("a key");
        let (_, other) = create(&path, "metrics", None, &[Right::Metrics]).expect("a key");
        let kept = std::fs::read_to_string(&path).expect("the file");
        let secret = text.splitn(3, '_').nth(2).expect("a secret");
        assert!(!kept.contains(secret) && kept.contains(&hash_of(secret)) && !format!("{made:?}").contains(secret));
        let token = console_token(&text).expect("a token");
        assert!(made.opens_console(&token) && !kept.contains(&token) && !token.contains(secret));
        assert!(!made.opens_console(&console_token(&other).expect("a token")) && !made.opens_console(&made.console_sha256));

        let keys = Keys::open(&path).expect("the file");
        let found = keys.find(&text).expect("the key");
        assert_eq!(*found, made);
        assert!(found.allows(Right::Write) && !found.allows(Right::Metrics));
        assert_eq!(keys.find(&other).expect("the other").namespace(), None);
        for wrong in [
            "",
            "cm_",
            "cm_x_y",
            &text[..text.len() - 1],
            &format!("cm_{}_{}", made.id, other.splitn(3, '_').nth(2).unwrap_or("")),
        ] {
            assert!(keys.find(wrong).is_none(), "{wrong}");
        }
        assert_eq!(list(&path).expect("the file").len(), 2);
        assert_eq!(revoke(&path, "backend").expect("revoked").id, made.id);
        assert!(revoke(&path, "backend").expect_err("gone").is_not_found());
        std::thread::sleep(LOOK_EVERY + Duration::from_millis(50));
        assert!(keys.find(&text).is_none() && keys.find(&other).is_some(), "read again without a restart");
        std::fs::write(&path, "version = 1\n[[key]]\nid = 3").expect("written");
        std::thread::sleep(LOOK_EVERY + Duration::from_millis(50));
        assert!(keys.find(&other).is_some(), "a file that cannot be read takes no key away");
        assert!(list(&path).expect_err("broken").to_string().contains("line 3"));
    }

    #[test]
    fn concurrent_key_changes_are_all_kept() {
        const EACH: usize = 20;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let make = |who: &str| {
            for number in 0..EACH {
                create(&path, &format!("{who}{number}"), None, &[Right::Read]).expect("a key");
            }
        };
        make("old");
        std::thread::scope(|threads| {
            threads.spawn(|| make("a"));
            threads.spawn(|| make("b"));
            threads.spawn(|| (0..EACH).for_each(|number| drop(revoke(&path, &format!("old{number}")).expect("revoked"))));
        });
        let mut names: Vec<String> = list(&path).expect("the file").into_iter().map(|key| key.name).collect();
        let mut made: Vec<String> = (0..EACH).flat_map(|number| [format!("a{number}"), format!("b{number}")]).collect();
        names.sort();
        made.sort();
        assert_eq!(names, made);
        let nowhere = folder.path().join("none.toml");
        assert!(revoke(&nowhere, "a").expect_err("no file").is_not_found());
        assert!(!folder.path().join(".none.toml.lock").exists());
    }

    #[test]
    fn invalid_key_names_and_namespaces_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        for (name, namespace) in [("", None), ("a\n", None), ("a", Some("../x")), ("a", Some("A")), ("a", Some(""))] {
            assert!(create(&path, name, namespace, &[Right::Read]).expect_err("refused").is_invalid(), "{name:?} {namespace:?}");
        }
        assert!(create(&path, "a", None, &[]).is_err() && !path.exists());
    }
}
