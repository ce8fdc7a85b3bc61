//! The listener: connections and their limits, TLS, and a shutdown that finishes accepted requests.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::routing::get;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use chat_memory::{Error, ErrorKind};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::service::Service;
use crate::stall::Impatient;
use crate::tls::{self, TlsFiles};
use crate::{api, app};

/// The limit for a request's headers in bytes, without its path.
const HEADER_BYTES: usize = 16 * 1024;

/// The bytes of bodies that one HTTP/2 connection, and one request of it, may send before they are read.
const WINDOW_OF_CONNECTION: u32 = 256 * 1024;
const WINDOW_OF_STREAM: u32 = 64 * 1024;

/// How long a client may read nothing of what is sent to it.
const STALLED: Duration = Duration::from_secs(30);

/// The concurrent requests of one HTTP/2 connection.
const STREAMS: u32 = 128;

/// Where the service listens, and its limits for connections.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listening {
    /// The address; port 0 chooses a free port.
    pub address: SocketAddr,
    /// The certificate and its key, for TLS.
    pub tls: Option<TlsFiles>,
    /// A separate address that serves `/metrics`, `/healthz` and `/readyz` without a key.
    pub metrics: Option<SocketAddr>,
    /// The most open connections; more get 503 and are closed.
    pub max_connections: usize,
    /// How long a connection may take for the header of its next request, including idle time.
    pub header_timeout: Duration,
    /// How long new requests are accepted after `/readyz` has turned 503, so that a load balancer notices first.
    pub shutdown_delay: Duration,
    /// How long accepted requests may take to finish after that.
    pub drain: Duration,
}

impl Listening {
    /// Listens on this address, with the defaults.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            metrics: None,
            max_connections: 1_024,
            header_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            drain: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop` is ready, then finishes what was accepted. Once connections are accepted, calls `listening` with the
/// addresses: the service's, and that of the metrics.
///
/// # Errors
/// If it cannot listen, or the certificate cannot be read, with the cause.
pub async fn serve(
    service: Service,
    listening: Listening,
    on_listening: impl FnOnce(SocketAddr, Option<SocketAddr>),
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let listener = bind(listening.address)?;
    let address = local_address(&listener)?;
    let tls = listening.tls.as_ref().map(tls::config).transpose()?;
    let metrics = listening.metrics.map(bind).transpose()?;
    let metrics_address = metrics.as_ref().map(local_address).transpose()?;

    let handle = Handle::new();
    let connections = Limited::new(listening.max_connections);
    let router = app(service.clone());
    let mut serving = Vec::new();
    let server = server(listener, &service, &listening, &handle)?;
    match tls {
        Some((config, reloading)) => {
            let acceptor = RustlsAcceptor::new(config).handshake_timeout(listening.header_timeout).acceptor(connections);
            serving.push(tokio::spawn(server.acceptor(acceptor).serve(with_addresses(router))));
            tokio::spawn(reloading);
        }
        None => serving.push(tokio::spawn(server.acceptor(connections).serve(with_addresses(router)))),
    }
    if let Some(listener) = metrics {
        let server = self::server(listener, &service, &listening, &handle)?;
        let connections = Limited::new(listening.max_connections);
        serving.push(tokio::spawn(server.acceptor(connections).serve(with_addresses(metrics_router(&service)))));
    }
    on_listening(address, metrics_address);

    tokio::select! {
        () = stop => {}
        ended = futures_util::future::select_all(&mut serving) => {
            let why = ended.0.map_or_else(|e| e.to_string(), |ended| ended.err().map_or_else(String::new, |e| e.to_string()));
            return Err(Error::new(ErrorKind::Unavailable, format!("the service stopped listening on {address}: {why}")));
        }
    }
    tracing::info!(delay = ?listening.shutdown_delay, drain = ?listening.drain, "stopping: no longer ready, finishing accepted requests");
    service.stop();
    tokio::time::sleep(listening.shutdown_delay).await;
    handle.graceful_shutdown(Some(listening.drain));
    let finish = async {
        for server in serving {
            let _ = server.await;
        }
        service.finish_writes().await;
    };
    // Connections have the drain time; a write whose client is gone may need a moment more to log its outcome.
    if tokio::time::timeout(listening.drain + Duration::from_secs(1), finish).await.is_err() {
        tracing::warn!("drain time over: some requests were cut off; their clients can repeat them with their Idempotency-Keys");
    }
    tracing::info!("stopped");
    Ok(())
}

fn with_addresses(router: Router) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    router.into_make_service_with_connect_info()
}

fn metrics_router(service: &Service) -> Router {
    let text = |service: Service| async move { api::metrics_text(&service) };
    let of = service.clone();
    Router::new()
        .route("/metrics", get(move || text(of.clone())))
        .route("/healthz", get(api::healthz))
        .route("/readyz", get(api::readyz))
        .with_state(service.clone())
}

fn server(
    listener: TcpListener,
    service: &Service,
    listening: &Listening,
    handle: &Handle<SocketAddr>,
) -> Result<Server<SocketAddr>, Error> {
    let cannot = |e: io::Error| Error::new(ErrorKind::Unavailable, format!("the listener cannot be used ({e})"));
    let server = axum_server::from_tcp(listener).map_err(cannot)?;
    let head = HEADER_BYTES.saturating_add(service.options().max_path);
    let mut server = server.handle(handle.clone()).first_request_timeout(listening.header_timeout);
    server.http_builder().http1().header_read_timeout(listening.header_timeout).max_buf_size(head);
    server
        .http_builder()
        .http2()
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_connection_window_size(WINDOW_OF_CONNECTION)
        .initial_stream_window_size(WINDOW_OF_STREAM)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(listening.header_timeout)
        .keep_alive_timeout(listening.header_timeout);
    Ok(server)
}

fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|e| {
        let remedy = match e.kind() {
            io::ErrorKind::AddrInUse => {
                "another program is listening there; stop it, or choose another port with --listen (port 0 finds a free one)"
            }
            io::ErrorKind::PermissionDenied => "that port needs more privileges; choose one above 1023 with --listen",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose another one with --listen",
            _ => "choose another address with --listen",
        };
        Error::new(ErrorKind::Unavailable, format!("cannot listen on {address} ({e}): {remedy}"))
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|e| Error::new(ErrorKind::Unavailable, format!("cannot determine the listening address ({e})")))
}

/// Accepts as many connections as there are permits; each connection holds one until it ends.
#[derive(Debug, Clone)]
struct Limited<A> {
    permits: Arc<Semaphore>,
    then: A,
}

impl Limited<NoDelayAcceptor> {
    fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), then: NoDelayAcceptor::new() }
    }
}

impl<A, S> Accept<TcpStream, S> for Limited<A>
where
    A: Accept<TcpStream, axum::middleware::AddExtension<S, Arc<OwnedSemaphorePermit>>>,
    A::Future: Send + 'static,
    A::Stream: Send + 'static,
    A::Service: Send + 'static,
{
    type Stream = Impatient<A::Stream>;
    type Service = A::Service;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<(Self::Stream, A::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            // With TLS, the client just sees a closed connection.
            const FULL: &[u8] =
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return Box::pin(async move {
                // A new connection has buffer space for it.
                if stream.writable().await.is_ok() {
                    let _ = stream.try_write(FULL);
                }
                Err(io::Error::other("too many connections"))
            });
        };
        // The service and its extensions live as long as the connection.
        let service = tower::Layer::layer(&axum::Extension(Arc::new(permit)), service);
        let accepting = self.then.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepting.await?;
            Ok((Impatient::new(stream, STALLED), service))
        })
    }
}
