//! The certificate and its key, reloaded when their files change.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use chat_memory::{Error, ErrorKind};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are checked: certificates are renewed days before the old ones expire.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The files of a certificate (PEM, with the intermediate ones) and of its private key (PEM).
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificates, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The TLS configuration, and the task that keeps it up to date with the files.
pub(crate) fn config(files: &TlsFiles) -> Result<(RustlsConfig, impl Future<Output = ()> + Send + 'static), Error> {
    let config = RustlsConfig::from_config(read(files)?);
    let (files, reloaded) = (files.clone(), config.clone());
    let reloading = async move {
        let mut seen = stamp(&files);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stamp(&files);
            if now == seen {
                continue;
            }
            match read(&files) {
                Ok(config) => {
                    tracing::info!("reloaded the certificate");
                    reloaded.reload_from_config(config);
                    seen = now;
                }
                Err(error) => tracing::error!(%error, "reloading the certificate failed; the previous one stays in use"),
            }
        }
    };
    Ok((config, reloading))
}

fn stamp(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    [&files.certificate, &files.key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, Error> {
    let wrong = |path: &Path, what: &str, why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Invalid, format!("{} contains no usable {what} in PEM ({why})", path.display()))
    };
    let text = |path: &Path, setting: &str| {
        std::fs::read(path).map_err(|e| {
            let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::AccessDenied };
            let what = format!("cannot read the file {} of {setting}: {e}", path.display());
            Error::new(kind, format!("{what}; check its name and its permissions"))
        })
    };
    let (certificate, key) = (text(&files.certificate, "tls-cert")?, text(&files.key, "tls-key")?);
    let certificates = CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|e| wrong(&files.certificate, "certificate", &e))?;
    if certificates.is_empty() {
        return Err(wrong(&files.certificate, "certificate", &"there is none in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| wrong(&files.key, "private key", &e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|e| Error::new(ErrorKind::Unsupported, format!("cannot set up TLS ({e})")))?;
    let config = versions.with_no_client_auth().with_single_cert(certificates, key);
    let mut config = config.map_err(|e| wrong(&files.key, "private key of that certificate", &e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
