//! `cargo xtask test dist`: each artefact is tried from its file, in a folder or a root of its own with nothing of the checkout.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, root, run};
use crate::{Result, node, wheel};

use super::{IMAGE_USER, artefact, copy, files, folder, fresh, image_file, make, name_of, program_target};

/// What the program may have, in bytes, so that it does not grow unnoticed. The goal is 15 MB.
const PROGRAM_LIMIT: u64 = 22_000_000;

/// What the addon may have, in bytes, unpacked, likewise. The goal is 12 MB.
const ADDON_LIMIT: u64 = 15_000_000;

/// Makes everything for this platform and tries it.
pub fn test() -> Result {
    make(&[], None)?;
    let temporary = tempfile::tempdir().map_err(|e| format!("no temporary folder could be made: {e}."))?;
    let place = |name: &str| {
        let place = temporary.path().join(name);
        fresh(&place).map(|()| place)
    };
    program(&place("program")?)?;
    installer(&place("installer")?)?;
    if cfg!(target_os = "linux") {
        deb(&place("deb")?)?;
        image(&place("image")?)?;
    }
    npm(&place("npm")?)?;
    python(&place("python")?)
}

/// The archive: its program's size, the first conversation, and every command that the README shows.
fn program(place: &Path) -> Result {
    let triple = program_target()?;
    let start = Instant::now();
    run(Command::new("tar").arg("-xzf").arg(artefact(&format!("chat-memory-{triple}"), ".tar.gz")?).current_dir(place))?;
    let program = place.join(format!("chat-memory-{triple}")).join("chat-memory");
    conversation(&program, place)?;
    println!("the program: from the archive to the first stored messages in {:.2} s", start.elapsed().as_secs_f64());
    limit(&program, PROGRAM_LIMIT)?;
    let mut readme = cargo("test --workspace --all-features --test it readme_shows_what_the_program_prints");
    run(readme.env("CHAT_MEMORY_PROGRAM", &program))?;
    // Only printed: a busy machine says nothing about the program.
    let runs = 20;
    let start = Instant::now();
    for _ in 0..runs {
        said(Command::new(&program).arg("--version"))?;
    }
    println!("`chat-memory --version`: {:.1} ms, the mean of {runs} runs", start.elapsed().as_secs_f64() * 1e3 / f64::from(runs));
    Ok(())
}

/// The installer: from a server on this machine, into a folder of its own; a changed archive is refused.
fn installer(place: &Path) -> Result {
    let (files, bin) = (place.join("files"), place.join("bin"));
    fresh(&files)?;
    let archive = artefact(&format!("chat-memory-{}", program_target()?), ".tar.gz")?;
    let served = files.join(archive.file_name().unwrap_or_default());
    copy(&archive, &served)?;
    copy(&folder().join("SHA256SUMS"), &files.join("SHA256SUMS"))?;
    let server = Server::start(&files)?;
    let install = || {
        let mut sh = Command::new("sh");
        sh.arg(root().join("deploy/install.sh")).env("CHAT_MEMORY_DOWNLOAD_URL", server.url()).env("CHAT_MEMORY_BIN", &bin);
        sh.stdin(Stdio::null());
        sh
    };
    run(&mut install())?;
    conversation(&bin.join("chat-memory"), place)?;
    std::fs::write(&served, "another archive").map_err(|e| format!("{} cannot be written: {e}.", served.display()))?;
    let refused = install().output().map_err(|e| format!("sh could not be started: {e}."))?;
    let error = String::from_utf8_lossy(&refused.stderr);
    if refused.status.success() || !error.contains("checksum") {
        return Err(format!("the installer took a changed archive: {error}"));
    }
    Ok(())
}

/// The Debian package, unpacked into an empty root: the program needs nothing else there.
fn deb(place: &Path) -> Result {
    run(Command::new("dpkg-deb").arg("-x").arg(artefact("chat-memory_", ".deb")?).arg(place))?;
    for file in ["usr/lib/systemd/system/chat-memory.service", "usr/share/doc/chat-memory/copyright"] {
        if !place.join(file).is_file() {
            return Err(format!("the Debian package has no /{file}."));
        }
    }
    isolated(place, "/", 0, "/usr/bin/chat-memory")
}

/// The image's own files, as its user in a root without anything else.
fn image(place: &Path) -> Result {
    let mut tar = Command::new("tar");
    tar.args(["--no-same-owner", "-xf"]).arg(image_file(&folder(), &program_target()?));
    run(tar.current_dir(place))?;
    // The user of a namespace owns what we own, as the image's user owns its folders.
    isolated(place, "/data", IMAGE_USER, "/usr/local/bin/chat-memory")
}

/// The npm packages, in an empty project, on each supported Node.
fn npm(place: &Path) -> Result {
    std::fs::write(place.join("package.json"), r#"{"name":"project","private":true}"#)
        .map_err(|e| format!("{} cannot be written: {e}.", place.display()))?;
    let start = Instant::now();
    let mut install = Command::new("npm");
    install.args(["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    let tarballs = files(&folder().join("npm"))?;
    run(install.args(&tarballs).current_dir(place))?;
    let program = "const { ChatStore } = require('chat-memory'); (async () => { const store = new ChatStore('sqlite:chat.db'); \
        await store.append('trip', [{ role: 'user', content: 'Hello' }]); console.log((await store.load('trip')).messages.length); })()";
    for (n, node) in node::runtimes()?.iter().enumerate() {
        let printed = said(Command::new(node).args(["-e", program]).current_dir(place))?;
        if n == 0 {
            println!("npm: from `npm install` to the first stored message in {:.2} s", start.elapsed().as_secs_f64());
        }
        expect("the npm package", &printed, &format!("{}\n", n + 1))?;
    }
    let addon = std::fs::read_dir(place.join("node_modules")).map_err(|e| format!("nothing is installed: {e}."))?;
    for folder in addon.flatten().map(|entry| entry.path()).filter(|path| name_of(path).starts_with("chat-memory-")) {
        limit(&folder.join(name_of(&folder).replacen("chat-memory-", "chat-memory.", 1) + ".node"), ADDON_LIMIT)?;
    }
    Ok(())
}

/// The wheel, in an empty virtual environment of each supported Python.
fn python(place: &Path) -> Result {
    let wheel = artefact("chat_memory-", ".whl")?;
    let program = "import chat_memory\nstore = chat_memory.open('sqlite:chat.db')\nstore.append('trip', [{'role': 'user', 'content': 'Hello'}])\n\
        print(len(store.load('trip').messages))";
    for (n, python) in wheel::pythons()?.iter().enumerate() {
        let start = Instant::now();
        let installed = python.environment(&wheel, &[])?;
        let printed = said(Command::new(installed).args(["-c", program]).current_dir(place))?;
        println!("pip: from an empty environment to the first stored message in {:.2} s", start.elapsed().as_secs_f64());
        expect("the wheel", &printed, &format!("{}\n", n + 1))?;
    }
    Ok(())
}

/// The README's first conversation, in this folder.
fn conversation(program: &Path, place: &Path) -> Result {
    let store = format!("sqlite:{}", place.join("chat.db").display());
    let run =
        |arguments: &[&str]| said(Command::new(program).args(["--store", &store]).args(arguments).env_clear().current_dir(place));
    run(&["append", "trip", "Where should we go in May?"])?;
    run(&["append", "trip", "--role", "assistant", "To Lisbon."])?;
    let shown = run(&["show", "trip", "--last", "2", "--format", "openai"])?;
    run(&["delete", "trip", "--yes"])?;
    expect("the program", &shown, CONVERSATION)
}

const CONVERSATION: &str =
    "{\"role\":\"user\",\"content\":\"Where should we go in May?\"}\n{\"role\":\"assistant\",\"content\":\"To Lisbon.\"}\n";

/// The same in a root of its own, as this user: a program that needs a library, a shell or a file of the system fails there.
fn isolated(place: &Path, folder: &str, user: u32, program: &str) -> Result {
    let run = |arguments: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", &format!("--map-user={user}"), &format!("--map-group={user}"), "--wd", folder]);
        unshare.arg("--root").arg(place).arg(program).args(["--store", "sqlite:chat.db"]).args(arguments);
        said(unshare.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()))
    };
    run(&["append", "trip", "Where should we go in May?"])?;
    run(&["append", "trip", "--role", "assistant", "To Lisbon."])?;
    expect(program, &run(&["show", "trip", "--last", "2", "--format", "openai"])?, CONVERSATION)
}

/// What a command prints; an error if it fails.
fn said(command: &mut Command) -> Result<String> {
    let words = crate::cargo::words(command);
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("`{words}` could not be started: {e}."))?;
    if !output.status.success() {
        return Err(format!("`{words}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn expect(what: &str, found: &str, expected: &str) -> Result {
    if found == expected { Ok(()) } else { Err(format!("{what} printed {found:?}, not {expected:?}.")) }
}

fn limit(file: &Path, most: u64) -> Result {
    let size = std::fs::metadata(file).map_err(|e| format!("{} cannot be read: {e}.", file.display()))?.len();
    println!("{}: {:.2} MB", file.display(), size as f64 / 1e6);
    if size <= most { Ok(()) } else { Err(format!("{} has {size} bytes; {most} are the most.", file.display())) }
}

/// Serves a folder over HTTP on this machine until it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(files: &Path) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|e| format!("no port could be had: {e}."))?.port();
        let mut python = Command::new("python3");
        python.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]).current_dir(files);
        let child = python.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = Self { child: child.map_err(|e| format!("python3 could not be started: {e}."))?, port };
        // Until it answers: there is no other sign.
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(server)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
