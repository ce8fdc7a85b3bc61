//! `serve`

mod demo;

use std::net::SocketAddr;
use std::path::PathBuf;

use chat_memory_server::config::{Settings, Span};
use chat_memory_server::{Service, log, serve};
use clap::Args;
use tokio::signal;

use crate::app::App;
use crate::failure::{Failure, OnCommandLine};
use crate::output::say;

const EXAMPLES: &str = "\
Examples:
  chat-memory serve --demo                     a temporary store with sample conversations
  chat-memory serve                            your own, on http://127.0.0.1:8080/
  chat-memory --store 'dynamodb://chats?region=eu-west-1' serve
  chat-memory key new --keys keys.toml --name backend
  chat-memory serve --listen 0.0.0.0:8443 --keys keys.toml --tls-cert cert.pem --tls-key key.pem
  chat-memory serve --config serve.toml --print-config

Each setting is taken from its flag, else its environment variable, else the configuration file, which names it as the flag does without \
the dashes (listen = \"127.0.0.1:8080\"), else its default.

It stops on SIGTERM or Ctrl-C: /readyz turns 503, event streams end, and accepted requests are finished. A second Ctrl-C stops it at once.";

/// Serve the memory over HTTP, with a console
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// A TOML file of settings
    #[arg(long, value_name = "FILE", env = "CHAT_MEMORY_CONFIG")]
    config: Option<PathBuf>,
    /// Print the effective settings as a settings file, and exit
    // A demo's store is gone before anyone could use the file.
    #[arg(long, conflicts_with = "demo")]
    print_config: bool,
    /// Serve a temporary store with sample conversations, deleted at the end
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(app: &App, arguments: Arguments) -> Result<(), Failure> {
    let Arguments { config, print_config, demo, settings } = arguments;
    let file = config.map(|path| Settings::read(&path)).transpose()?.unwrap_or_default();
    let mut settings = settings.over(file).over(Settings::defaults());
    let demo = demo.then(|| demo::Demo::new(app)).transpose()?;
    let store = match &demo {
        Some(demo) => demo.store()?,
        None => app.store_url_or(settings.store.as_deref())?,
    };
    settings.store = Some(store.to_string());
    let listening = settings.listening().on_command_line()?;
    if print_config {
        return app.out.text(settings.to_toml());
    }
    let keys = match settings.open_keys(&listening) {
        Err(error) if error.is_invalid() && settings.keys.is_none() => return Err(error).on_command_line(),
        keys => keys?,
    };
    log::start(settings.log.unwrap_or_default(), settings.log_format.unwrap_or_default());
    let open = keys.is_none();
    let service = Service::new(store, keys, settings.options())?;
    if let Err(error) = service.stores().look().await {
        // Waiting may help with a network, but not with a file, table or permission.
        let may_pass = error.is_retryable() && service.stores().url().is_some_and(|url| url.scheme() == "dynamodb");
        if !may_pass {
            return Err(error.into());
        }
        say(format_args!("not ready: the store cannot be read yet: {error}"));
    }
    if let Some(demo) = &demo {
        demo.fill(&*service.stores().of(None).await?).await?;
        demo::fill_threads(&service.stores().checkpoints(None).await?).await?;
    }
    let scheme = if listening.tls.is_some() { "https" } else { "http" };
    let greeting = |address, metrics| greet(app, scheme, address, metrics, &settings, open, demo.is_some());
    let drain = settings.drain;
    serve::serve(service, listening, greeting, stop(drain)).await?;
    Ok(())
}

/// Prints the address. If that fails, the service runs anyway.
fn greet(app: &App, scheme: &str, at: SocketAddr, metrics: Option<SocketAddr>, settings: &Settings, open: bool, demo: bool) {
    let at = format!("{scheme}://{at}");
    let mut lines = vec![format!("listening on {at}")];
    if settings.console != Some(false) {
        lines.push(format!("  the console   {at}/"));
    }
    lines.push(format!("  the HTTP API  {at}/docs/"));
    lines.extend(metrics.map(|at| format!("  metrics       http://{at}/metrics")));
    lines.push(match demo {
        true => "  the store     a temporary one with samples, deleted at the end".to_owned(),
        false => format!("  the store     {}", settings.store.as_deref().unwrap_or_default()),
    });
    if open {
        lines.push("  no API keys: anyone on this machine has full access".to_owned());
    }
    lines.push("Ctrl-C stops it.".to_owned());
    let _ = app.out.line(lines.join("\n")).and(app.out.flush());
}

/// Becomes ready when the process is asked to stop. A second request ends it at once.
async fn stop(drain: Option<Span>) {
    told().await;
    if let Some(drain) = drain {
        say(format_args!("stopping: accepted requests have {drain} to finish; press Ctrl-C again to stop now"));
    }
    tokio::spawn(async {
        told().await;
        std::process::exit(i32::from(crate::failure::FAILED));
    });
}

async fn told() {
    let interrupted = async {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
