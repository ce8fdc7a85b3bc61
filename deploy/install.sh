#!/bin/sh
# Installs the program chat-memory: curl -fsSL https://github.com/OWNER/REPOSITORY/releases/latest/download/install.sh | sh
#
#   CHAT_MEMORY_VERSION       a version such as 0.1.0; the newest by default
#   CHAT_MEMORY_BIN           the folder to put it in; ~/.local/bin by default
#   CHAT_MEMORY_DOWNLOAD_URL  a folder with the archives and SHA256SUMS, for a mirror
set -eu

REPOSITORY=OWNER/REPOSITORY

fail() {
  echo "cannot install chat-memory: $1" >&2
  exit 1
}

target() {
  case "$(uname -s)/$(uname -m)" in
    Linux/x86_64 | Linux/amd64) echo x86_64-unknown-linux-musl ;;
    Linux/aarch64 | Linux/arm64) echo aarch64-unknown-linux-musl ;;
    Darwin/arm64) echo aarch64-apple-darwin ;;
    Darwin/x86_64) echo x86_64-apple-darwin ;;
    *) fail "there is no program for $(uname -s) on $(uname -m); compile it with \`cargo install chat-memory-cli\`, or on Windows take the zip file from https://github.com/$REPOSITORY/releases" ;;
  esac
}

download() {
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL --retry 3 -o "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -O "$2" "$1"
  else
    fail "neither curl nor wget is installed; install one of them"
  fi
}

checksum() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$1"
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 "$1"
  else
    fail "neither sha256sum nor shasum is installed, so the download cannot be checked; install coreutils"
  fi | cut -d ' ' -f 1
}

# All of it is in a function, so that a script that was cut off on the way does nothing.
main() {
  triple=$(target)
  archive="chat-memory-$triple.tar.gz"
  version="${CHAT_MEMORY_VERSION:-}"
  releases="https://github.com/$REPOSITORY/releases"
  if [ -n "$version" ]; then url="$releases/download/v${version#v}"; else url="$releases/latest/download"; fi
  url="${CHAT_MEMORY_DOWNLOAD_URL:-$url}"
  bin="${CHAT_MEMORY_BIN:-$HOME/.local/bin}"

  temporary=$(mktemp -d)
  trap 'rm -rf "$temporary"' EXIT
  trap 'exit 1' HUP INT TERM
  echo "downloading $url/$archive"
  download "$url/$archive" "$temporary/$archive" || fail "$url/$archive could not be downloaded; check the network and the version"
  download "$url/SHA256SUMS" "$temporary/SHA256SUMS" || fail "$url/SHA256SUMS could not be downloaded; try again"
  expected=$(sed -n "s/^\([0-9a-f]*\)  $archive\$/\1/p" "$temporary/SHA256SUMS")
  [ -n "$expected" ] || fail "SHA256SUMS does not list $archive; report this at https://github.com/$REPOSITORY/issues"
  [ "$(checksum "$temporary/$archive")" = "$expected" ] || fail "the checksum of $archive is not that of SHA256SUMS; nothing was installed, try again"

  tar -xzf "$temporary/$archive" -C "$temporary"
  mkdir -p "$bin" || fail "$bin could not be made; name another folder in CHAT_MEMORY_BIN"
  # First next to its place, then renamed: a program that runs is not overwritten.
  cp "$temporary/chat-memory-$triple/chat-memory" "$bin/.chat-memory.new" || fail "$bin cannot be written to; name another folder in CHAT_MEMORY_BIN"
  chmod 755 "$bin/.chat-memory.new"
  mv "$bin/.chat-memory.new" "$bin/chat-memory"
  echo "installed $("$bin/chat-memory" --version) as $bin/chat-memory"
  case ":$PATH:" in
    *":$bin:"*) echo "try: chat-memory serve --demo" ;;
    *) echo "$bin is not in PATH; add it, or try: $bin/chat-memory serve --demo" ;;
  esac
}

main
