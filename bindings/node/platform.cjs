"use strict";
// The name under which an addon is built and found.

/** The platforms that have a package of their own, `chat-memory-PLATFORM`, with the addon for it. */
const PLATFORMS = ["linux-x64-gnu", "linux-x64-musl", "linux-arm64-gnu", "darwin-arm64", "darwin-x64", "win32-x64-msvc"];

/** The name of this platform: `linux-x64-gnu`, `linux-arm64-musl`, `darwin-arm64`. */
function platform() {
  const abi = { linux: () => (usesGlibc() ? "-gnu" : "-musl"), win32: () => "-msvc" }[process.platform]?.() ?? "";
  return `${process.platform}-${process.arch}${abi}`;
}

function usesGlibc() {
  // Without the network section, which looks up names and can take seconds.
  process.report.excludeNetwork = true;
  return Boolean(process.report.getReport().header.glibcVersionRuntime);
}

exports.PLATFORMS = PLATFORMS;
exports.platform = platform;
