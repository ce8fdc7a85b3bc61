//! `cargo xtask test`: the steps. Those that fail fast come first, and the test runner's summary comes last.
//!
//! All steps use one target folder and, except `features`, one set of features (`--workspace --all-features`, with those that
//! dev-dependencies turn on), so that nothing is compiled twice: clippy and docs share what `cargo check` makes of the dependencies,
//! all other steps share what [`BUILD`](crate::cargo::BUILD) makes.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Result;
use crate::cargo::{cargo, examples, features, run as run_command, scratch, target};
use crate::emulator::Endpoint;

struct Step {
    name: &'static str,
    /// Whether it needs only Rust and DynamoDB Local. A step that needs another language is not quick.
    quick: bool,
    /// Whether it runs only if it is named.
    on_demand: bool,
    run: fn(&mut Session) -> Result,
    /// What to do if it fails.
    remedy: &'static str,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        quick: true,
        on_demand: false,
        run: |_| run_command(&mut cargo("fmt --all --check")),
        remedy: "`cargo fmt --all` puts it right (`rustup component add rustfmt` if there is no such command)",
    },
    Step {
        name: "words",
        quick: true,
        on_demand: false,
        run: |_| crate::words::check(),
        remedy: "CONTRIBUTING.md, \"Style\", says how this project writes",
    },
    Step {
        name: "metadata",
        quick: true,
        on_demand: false,
        run: |_| crate::metadata::check(),
        remedy: "`cargo xtask repository URL` and `cargo xtask version VERSION` set them everywhere; the rest is a field of a manifest",
    },
    Step {
        name: "clippy",
        quick: true,
        on_demand: false,
        run: |_| run_command(&mut cargo("clippy --workspace --all-targets --all-features -- -D warnings")),
        remedy: "change what is said above (`rustup component add clippy` if there is no such command)",
    },
    Step {
        name: "supply",
        quick: true,
        on_demand: false,
        run: |_| {
            crate::supply::check()?;
            crate::sbom::check()
        },
        remedy: "deny.toml says what a dependency may be; take another one, or add to it with the reason",
    },
    Step {
        name: "docs",
        quick: true,
        on_demand: false,
        // Only libraries: the program's and the library's pages would have the same name. And one example, so that the features are
        // those of clippy's step, dev-dependencies' included: otherwise most dependencies are checked a second time.
        run: |_| {
            let mut doc = cargo("doc --workspace --all-features --no-deps --lib --example quickstart");
            run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
        },
        remedy: "mend the documentation named above",
    },
    Step {
        name: "features",
        quick: true,
        on_demand: false,
        run: each_feature_alone,
        remedy: "something is used without the feature that brings it: put it behind the same #[cfg(feature)]",
    },
    Step { name: "examples", quick: true, on_demand: false, run: run_examples, remedy: "mend the example, or what it shows" },
    Step {
        name: "tests",
        quick: true,
        on_demand: false,
        run: |session| {
            let mut tests = cargo("test --workspace --all-features --no-fail-fast");
            run_command(session.with_dynamodb(&mut tests)?)
        },
        remedy: "the failed tests are named above; \
            `cargo xtask emulator -- cargo test --workspace --all-features NAME` runs one of them",
    },
    Step {
        name: "rig-session",
        quick: true,
        on_demand: false,
        // A workspace of its own, since its dependencies declare a newer Rust than they need.
        run: |session| {
            let cargo = |words: &str| {
                let mut cargo = cargo(words);
                cargo.args(["--ignore-rust-version", "--locked", "--manifest-path", "integrations/rig-session/Cargo.toml"]);
                cargo.arg("--target-dir").arg(target());
                cargo
            };
            run_command(cargo("clippy --all-targets").args(["--", "-D", "warnings"]))?;
            run_command(session.with_dynamodb(&mut cargo("test"))?)
        },
        remedy: "change what is said above; integrations/rig-session/README.md says how to run its tests by hand",
    },
    Step {
        name: "deploy",
        quick: false,
        on_demand: false,
        run: |_| crate::deploy::check(),
        remedy: "mend what is named above in deploy/ or in the examples of docs/deploying.md",
    },
    Step {
        name: "workflows",
        quick: false,
        on_demand: false,
        run: |_| crate::workflows::check(),
        remedy: "mend the workflow in .github/workflows that is named above",
    },
    Step {
        name: "peers",
        quick: false,
        on_demand: false,
        run: |session| {
            let peers = crate::peers::install()?;
            let mut tests = cargo("test --workspace --all-features --test peers");
            run_command(session.with_dynamodb(&mut tests)?.envs(peers))
        },
        remedy: "the failed tests are named above; `cargo xtask peers` prints what to export to run one by hand",
    },
    Step {
        name: "service",
        quick: false,
        on_demand: false,
        run: |_| crate::service::test(),
        remedy: "what the README shows and what docs/openapi.json says must be what the service does",
    },
    Step {
        name: "node",
        quick: false,
        on_demand: false,
        run: |session| {
            let peers = crate::peers::install()?;
            crate::node::build("dev")?;
            crate::node::runtimes()?.into_iter().enumerate().try_for_each(|(n, node)| {
                let mut tests = crate::node::tests(&node, n == 0)?;
                run_command(session.with_dynamodb(&mut tests)?.envs(peers.iter().map(|(name, path)| (name, path))))
            })
        },
        remedy: "the failed tests are named above; bindings/node/README.md says how to run one file of them",
    },
    Step {
        name: "python",
        quick: false,
        on_demand: false,
        run: |session| crate::wheel::test(|tests| session.with_dynamodb(tests).map(|_| ())),
        remedy: "the failed tests are named above; bindings/python/README.md says how to run one of them",
    },
    Step {
        name: "console",
        quick: false,
        on_demand: false,
        run: |_| run_command(&mut crate::console::tests()?),
        remedy: "the failed tests are named above; `cargo xtask screenshots` makes pictures of what a browser shows",
    },
    Step {
        name: "dist",
        quick: false,
        // It compiles the program, the addon and the wheel for a release, which takes longer than all other steps together.
        on_demand: true,
        run: |_| crate::dist::test(),
        remedy: "docs/releasing.md says what each artefact is; `cargo xtask dist PART` makes one of them",
    },
];

/// The names of the steps.
pub fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// What the steps of one run share.
#[derive(Default)]
struct Session {
    dynamodb: Option<Endpoint>,
}

impl Session {
    /// The same command with DynamoDB Local, which starts when the first step needs it. Its environment holds nothing that could
    /// lead to a real account, a real model or the developer's own conversations.
    fn with_dynamodb<'a>(&mut self, command: &'a mut Command) -> Result<&'a mut Command> {
        let endpoint = match &mut self.dynamodb {
            Some(endpoint) => endpoint,
            none => none.insert(Endpoint::from_env_or_start()?),
        };
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_DEFAULT_REGION"] {
            command.env_remove(name);
        }
        for name in ["CHAT_MEMORY_STORE", "OPENAI_API_KEY", "OPENAI_BASE_URL"] {
            command.env_remove(name);
        }
        // Many tests wait for a process, a timeout or DynamoDB Local, so two of them per core.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            command.env("RUST_TEST_THREADS", (2 * cores).to_string());
        }
        let none = scratch()?.join("no-aws-configuration");
        command.env("AWS_CONFIG_FILE", &none).env("AWS_SHARED_CREDENTIALS_FILE", &none).env("AWS_EC2_METADATA_DISABLED", "true");
        Ok(command.envs(endpoint.env()))
    }
}

/// Runs all steps but those on demand, or the named ones, until one fails.
pub fn run(quick: bool, only: &[String]) -> Result {
    let chosen = |step: &&Step| {
        let named = only.iter().any(|name| name == step.name);
        (named || (only.is_empty() && !step.on_demand)) && (step.quick || !quick)
    };
    let mut session = Session::default();
    crate::debian::openssl()?;
    crate::debian::valgrind()?;
    crate::debian::shells()?;
    let mut timings: Vec<(&str, Duration)> = Vec::new();
    let start = Instant::now();
    for step in STEPS.iter().filter(chosen) {
        println!("\n== {} ==", step.name);
        let start = Instant::now();
        let done = (step.run)(&mut session);
        let took = start.elapsed();
        if let Err(error) = done {
            let name = step.name;
            let log = session.dynamodb.as_mut().and_then(Endpoint::keep_log);
            let log = log.map(|log| format!("\nDynamoDB Local's output is in {}.", log.display())).unwrap_or_default();
            return Err(format!(
                "step {name} failed after {}: {error}\nTo do: {}. Then `cargo xtask test {name}` tries this step again.{log}",
                seconds(took),
                step.remedy
            ));
        }
        println!("== {} passed in {} ==", step.name, seconds(took));
        timings.push((step.name, took));
    }
    if timings.is_empty() {
        return Err("none of the named steps is part of a quick run; leave out --quick.".into());
    }
    let steps: Vec<_> = timings.iter().map(|(name, took)| format!("{name} {}", seconds(*took))).collect();
    println!("\nAll steps passed in {}: {}.", seconds(start.elapsed()), steps.join(", "));
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// The library must build without features and with each one alone, and each of its component crates without any. Unlike the other
/// steps, this one compiles the dependencies with fewer features than the workspace enables: only that reveals a missing feature.
fn each_feature_alone(_: &mut Session) -> Result {
    let check = |package: &str, feature: &str| {
        let feature = if feature.is_empty() { String::new() } else { format!("--features {feature}") };
        run_command(&mut cargo(&format!("clippy -p {package} --lib --no-default-features {feature} -- -D warnings")))
    };
    for package in ["chat-memory-core", "chat-memory-sqlite", "chat-memory-dynamodb", "chat-memory"] {
        check(package, "")?;
    }
    features("chat-memory")?.iter().try_for_each(|feature| check("chat-memory", feature))
}

/// Runs every example in a folder of its own; it passes if it exits with success.
fn run_examples(session: &mut Session) -> Result {
    let examples = examples()?;
    println!("{} examples", examples.len());
    for (name, program) in examples {
        let folder = tempfile::tempdir().map_err(|e| format!("no temporary folder could be made: {e}."))?;
        println!("-- {name}");
        let mut command = Command::new(program);
        command.current_dir(folder.path()).stdin(std::process::Stdio::null());
        let status = session.with_dynamodb(&mut command)?.status().map_err(|e| format!("{name} could not be started: {e}."))?;
        if !status.success() {
            return Err(format!("the example {name} failed ({status})."));
        }
    }
    Ok(())
}
