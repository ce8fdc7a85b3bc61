//! The settings of `chat-memory serve`. Flags override the environment, which overrides a TOML file, which overrides the defaults.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use chat_memory::{Error, ErrorKind};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use crate::secret::Secret;
pub use arguments::parse;
pub use units::{Bytes, Count, HostName, Origin, Period, Span};

use crate::keys::Keys;
use crate::serve::Listening;
use crate::service::Options;
use crate::tls::TlsFiles;

mod arguments;
mod units;

/// The default address.
const LISTEN: &str = "127.0.0.1:8080";

macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $type:ty,)*) => {
        /// The settings, each given or not. The names in a file are those of the flags.
        #[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct Settings {
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }

        impl Settings {
            /// The names of all settings in a file.
            pub fn names() -> impl Iterator<Item = String> {
                [$(stringify!($name)),*].into_iter().map(|name| name.replace('_', "-"))
            }

            /// These settings, completed from `below`.
            #[must_use]
            pub fn over(self, below: Self) -> Self {
                Self { $($name: self.$name.or(below.$name)),* }
            }
        }
    };
}

settings! {
    /// The store: sqlite:PATH, dynamodb://TABLE or memory:
    // The program has a flag of this name for all its commands, and an environment variable.
    #[arg(skip)]
    store: String,
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT", env = "CHAT_MEMORY_LISTEN", help = "Address to listen on [default: 127.0.0.1:8080]")]
    listen: String,
    /// The file of API keys, created by `chat-memory key new`. Without keys everyone who reaches the service may do everything, so
    /// it listens on loopback only
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_KEYS")]
    keys: PathBuf,
    /// The content of such a file, for platforms that pass secrets as environment variables. Creating or revoking a key then needs
    /// a restart
    #[arg(long, value_name = "TOML", env = "CHAT_MEMORY_KEYS_TEXT", hide_env_values = true)]
    keys_text: Secret,
    /// The TLS certificate, in PEM. It is reloaded when the file changes
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_TLS_CERT")]
    tls_cert: PathBuf,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_TLS_KEY")]
    tls_key: PathBuf,
    /// A separate address for /metrics, /healthz and /readyz, without a key; the main address then does not serve /metrics
    #[arg(long, value_name = "HOST:PORT", env = "CHAT_MEMORY_METRICS_LISTEN")]
    metrics_listen: String,
    /// Trusted proxies, whose X-Forwarded-For and X-Forwarded-Proto headers are used: addresses or networks, separated by commas
    #[arg(long, value_name = "NET", env = "CHAT_MEMORY_TRUSTED_PROXY", value_delimiter = ',', value_parser = net)]
    trusted_proxy: Vec<IpNet>,
    /// Origins whose pages may call the API from a browser, such as `https://app.example.com`; none by default
    #[arg(long, value_name = "ORIGIN", env = "CHAT_MEMORY_CORS_ORIGIN", value_delimiter = ',')]
    cors_origin: Vec<Origin>,
    /// Host names under which a service without keys may be called, in addition to loopback's
    #[arg(long, value_name = "NAME", env = "CHAT_MEMORY_HOST", value_delimiter = ',')]
    host: Vec<HostName>,
    /// Whether to serve the console
    #[arg(long, value_name = "BOOL", env = "CHAT_MEMORY_CONSOLE", help = "Whether to serve the console [default: true]")]
    console: bool,
    /// The largest request body
    #[arg(long, value_name = "SIZE", env = "CHAT_MEMORY_MAX_BODY", help = "The largest request body [default: 16MB]")]
    max_body: Bytes,
    /// The memory for the bodies of all requests together, estimated; beyond it, requests get 503
    #[arg(long, value_name = "SIZE", env = "CHAT_MEMORY_BODY_MEMORY", help = "The memory for the bodies of all requests together, estimated; beyond it, requests get 503 [default: 128MB]")]
    body_memory: Bytes,
    /// The most event streams open at once
    #[arg(long, value_name = "N", env = "CHAT_MEMORY_MAX_STREAMS", help = "The most event streams open at once [default: 512]")]
    max_streams: usize,
    /// The most event streams that one key may have open at once
    #[arg(long, value_name = "N", env = "CHAT_MEMORY_MAX_STREAMS_PER_KEY", help = "The most event streams that one key may have open at once [default: 256]")]
    max_streams_per_key: usize,
    /// The longest path and query of a request
    #[arg(long, value_name = "SIZE", env = "CHAT_MEMORY_MAX_PATH", help = "The longest path and query of a request [default: 8192]")]
    max_path: Bytes,
    /// The most connections open at once
    #[arg(long, value_name = "N", env = "CHAT_MEMORY_MAX_CONNECTIONS", help = "The most connections open at once [default: 1024]")]
    max_connections: Count,
    /// How long a connection may take for a request's header
    #[arg(long, value_name = "TIME", env = "CHAT_MEMORY_HEADER_TIMEOUT", help = "How long a connection may take for a request's header [default: 30s]")]
    header_timeout: Period,
    /// How long a request may take, its body included
    #[arg(long, value_name = "TIME", env = "CHAT_MEMORY_REQUEST_TIMEOUT", help = "How long a request may take, its body included [default: 60s]")]
    request_timeout: Period,
    /// How often event streams check for other processes' writes
    #[arg(long, value_name = "TIME", env = "CHAT_MEMORY_POLL", help = "How often event streams check for other processes' writes [default: 1s]")]
    poll: Period,
    /// How long new requests are accepted after /readyz turned 503
    #[arg(long, value_name = "TIME", env = "CHAT_MEMORY_SHUTDOWN_DELAY", help = "On shutdown: how long new requests are accepted after /readyz turned 503 [default: 0s]")]
    shutdown_delay: Span,
    /// How long accepted requests may take to finish
    #[arg(long, value_name = "TIME", env = "CHAT_MEMORY_DRAIN", help = "On shutdown: how long accepted requests may take to finish [default: 30s]")]
    drain: Span,
    /// How much to log, on standard error
    #[arg(long, value_name = "LEVEL", env = "CHAT_MEMORY_LOG", help = "How much to log, on standard error [default: info]")]
    log: LogLevel,
    /// Format of the log
    #[arg(long, value_name = "FORM", env = "CHAT_MEMORY_LOG_FORMAT", help = "Format of the log [default: text]")]
    log_format: LogFormat,
}

/// The log level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Also warnings.
    Warn,
    /// Also each request.
    #[default]
    Info,
    /// Also details for debugging.
    Debug,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// JSON lines.
    Json,
}

/// Parses a network; an address is a network of itself alone.
fn net(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from).ok();
    text.parse()
        .ok()
        .or_else(alone)
        .ok_or_else(|| format!("invalid address or network {text:?}: expected one such as 10.0.0.7 or 10.0.0.0/8"))
}

impl Settings {
    /// Parses the settings of a TOML file.
    ///
    /// # Errors
    /// Invalid, with the line and the cause; and if the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let what = format!("cannot read the configuration {shown}: {e}");
            Error::new(ErrorKind::NotFound, format!("{what}; give the path of a file as `serve --print-config` prints it"))
        })?;
        toml::from_str(&text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let line = text[..start].matches('\n').count() + 1;
            // The parser names an unknown setting, but not the one with a wrong value.
            let before = text[..start].rsplit('\n').next().and_then(|before| before.split_once('='));
            let setting = before.map(|(name, _)| format!("{}: ", name.trim())).unwrap_or_default();
            Error::invalid(format!("the configuration {shown}: line {line}: {setting}{}", e.message()))
        })
    }

    /// The defaults.
    #[must_use]
    pub fn defaults() -> Self {
        let (options, listening) = (Options::default(), Listening::new(SocketAddr::from(([127, 0, 0, 1], 0))));
        Self {
            listen: Some(LISTEN.to_owned()),
            console: Some(options.console),
            max_body: Some(Bytes(options.max_body)),
            body_memory: Some(Bytes(options.body_memory)),
            max_streams: Some(options.max_streams),
            max_streams_per_key: Some(options.max_streams_per_key),
            max_path: Some(Bytes(options.max_path)),
            max_connections: Some(Count(listening.max_connections)),
            header_timeout: Some(Period(listening.header_timeout)),
            request_timeout: Some(Period(options.request_timeout)),
            poll: Some(Period(options.poll)),
            shutdown_delay: Some(Span(listening.shutdown_delay)),
            drain: Some(Span(listening.drain)),
            log: Some(LogLevel::default()),
            log_format: Some(LogFormat::default()),
            ..Self::default()
        }
    }

    /// These settings as the text of a file.
    pub fn to_toml(&self) -> String {
        // Texts, numbers and lists of them can always be serialised.
        toml::to_string(self).unwrap_or_default()
    }

    /// The service's options.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        let Self { console, max_body, body_memory, max_streams, max_streams_per_key, max_path, request_timeout, poll, .. } = self;
        options.console = console.unwrap_or(options.console);
        options.max_body = max_body.map_or(options.max_body, |bytes| bytes.0);
        options.body_memory = body_memory.map_or(options.body_memory, |bytes| bytes.0);
        options.max_streams = max_streams.unwrap_or(options.max_streams);
        options.max_streams_per_key = max_streams_per_key.unwrap_or(options.max_streams_per_key);
        options.max_path = max_path.map_or(options.max_path, |bytes| bytes.0);
        options.request_timeout = request_timeout.map_or(options.request_timeout, |span| span.0);
        options.poll = poll.map_or(options.poll, |span| span.0);
        options.metrics = self.metrics_listen.is_none();
        options.tls = self.tls_cert.is_some();
        options.cors_origins = self.cors_origin.iter().flatten().map(ToString::to_string).collect();
        options.trusted_proxies = self.trusted_proxy.clone().unwrap_or_default();
        options.hosts = self.host.iter().flatten().map(ToString::to_string).collect();
        options
    }

    /// The keys of the file or of the text.
    pub(crate) fn given_keys(&self) -> Result<Option<Keys>, Error> {
        match (&self.keys, &self.keys_text) {
            (Some(path), None) => Keys::open(path).map(Some),
            (None, Some(text)) => Keys::of_text(text.text(), "keys-text").map(Some),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Error::invalid(
                "conflicting settings: keys names a file of API keys, and keys-text contains one; give only one",
            )),
        }
    }

    /// The keys; `None` if there are none, which is allowed on loopback only.
    ///
    /// # Errors
    /// As [`Keys::open`]; and invalid if other machines could reach a service without keys.
    pub fn open_keys(&self, listening: &Listening) -> Result<Option<Keys>, Error> {
        if let Some(keys) = self.given_keys()? {
            return Ok(Some(keys));
        }
        if listening.address.ip().is_loopback() {
            return Ok(None);
        }
        Err(Error::invalid(format!(
            "without API keys the service listens on loopback only, not on {}: make a key with `chat-memory key new --keys keys.toml --name NAME` and \
            add --keys keys.toml",
            listening.address
        )))
    }

    /// The listener's options.
    ///
    /// # Errors
    /// Invalid for an invalid address, and for a certificate without its key or a key without its certificate.
    pub fn listening(&self) -> Result<Listening, Error> {
        let mut listening = Listening::new(address("listen", self.listen.as_deref().unwrap_or(LISTEN))?);
        listening.metrics = self.metrics_listen.as_deref().map(|at| address("metrics-listen", at)).transpose()?;
        listening.tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
            (None, None) => None,
            _ => return Err(Error::invalid("tls-cert and tls-key belong together: give both, or neither")),
        };
        let Self { max_connections, header_timeout, shutdown_delay, drain, .. } = self;
        listening.max_connections = max_connections.map_or(listening.max_connections, |count| count.0);
        listening.header_timeout = header_timeout.map_or(listening.header_timeout, |span| span.0);
        listening.shutdown_delay = shutdown_delay.map_or(listening.shutdown_delay, |span| span.0);
        listening.drain = drain.map_or(listening.drain, |span| span.0);
        Ok(listening)
    }
}

fn address(setting: &str, text: &str) -> Result<SocketAddr, Error> {
    let found = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        Error::invalid(format!("invalid {setting} {text:?}: expected an address such as 127.0.0.1:8080 or [::1]:8080"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).expect("a file");
        Settings::read(&path)
    }

    #[test]
    fn flags_override_the_file_and_the_file_the_defaults() {
        let flags = Settings { listen: Some("127.0.0.1:1".into()), ..Settings::default() };
        let file = file("listen = \"127.0.0.1:2\"\nmax-body = \"1KB\"\ntrusted-proxy = [\"10.0.0.0/8\"]").expect("a good file");
        let all = flags.over(file).over(Settings::defaults());
        assert_eq!((all.listen.as_deref(), all.max_body), (Some("127.0.0.1:1"), Some(Bytes(1_000))));
        assert_eq!(all.options().trusted_proxies.len(), 1);
        assert_eq!(all.options().request_timeout, Options::default().request_timeout);
        assert_eq!(toml::from_str::<Settings>(&all.to_toml()).expect("what was written"), all);
    }

    #[test]
    fn config_error_names_line_and_field() {
        for (text, line, what) in [
            ("\n\nlistem = 1", "line 3", "listem"),
            ("max-body = \"huge\"", "line 1", "size"),
            ("drain = 3", "line 1", "string"),
            ("poll = \"0s\"", "line 1", "poll"),
            ("cors-origin = [\"foo\"]", "line 1", "foo"),
            ("max-connections = 0", "line 1", "1 or more"),
        ] {
            let error = file(text).expect_err("a bad file").to_string();
            assert!(error.contains(line) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn service_without_keys_listens_on_loopback_only() {
        for (at, good) in [("127.0.0.1:0", true), ("[::1]:0", true), ("0.0.0.0:0", false), ("[::]:0", false)] {
            let settings = Settings { listen: Some(at.into()), ..Settings::default() };
            let listening = settings.listening().expect("an address");
            assert_eq!(settings.open_keys(&listening).is_ok(), good, "{at}");
        }
        assert!(Settings { listen: Some("nowhere".into()), ..Settings::default() }.listening().is_err());
        assert!(Settings { tls_cert: Some("a".into()), ..Settings::default() }.listening().is_err());
    }
}
