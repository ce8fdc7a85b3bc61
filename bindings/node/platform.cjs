"use strict";
// The name under which an addon is built and found.

/** The name of this platform: `linux-x64-gnu`, `linux-arm64-musl`, `darwin-arm64`. */
function platform() {
  const libc = process.platform === "linux" ? (usesGlibc() ? "-gnu" : "-musl") : "";
  return `${process.platform}-${process.arch}${libc}`;
}

function usesGlibc() {
  // Without the network section, which looks up names and can take seconds.
  process.report.excludeNetwork = true;
  return Boolean(process.report.getReport().header.glibcVersionRuntime);
}

exports.platform = platform;
