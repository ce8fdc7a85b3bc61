// Compiles src twice, for `import` and for `require`. The second time the sources' own `"type": "module"` must not count, so a copy
// of the sources gets another package.json.
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");

if (!existsSync(tsc)) {
  console.error("cannot compile the package: TypeScript is not installed; run `npm ci` in bindings/node");
  process.exit(1);
}

function compile(project, outDir) {
  const { status } = spawnSync(process.execPath, [tsc, "-p", project, "--outDir", outDir], { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

const dist = join(root, "dist");
rmSync(dist, { recursive: true, force: true });
compile("tsconfig.json", join(dist, "esm"));

const copy = join(root, ".cjs");
rmSync(copy, { recursive: true, force: true });
mkdirSync(copy);
// The installer is a program, and needed only once.
cpSync(join(root, "src"), join(copy, "src"), { recursive: true, filter: (path) => !path.endsWith("install.ts") });
for (const file of ["tsconfig.json", "native.d.cts"]) cpSync(join(root, file), join(copy, file));
const imports = { "#native": { types: "./native.d.cts", default: "./native.cjs" } };
writeFileSync(join(copy, "package.json"), JSON.stringify({ type: "commonjs", imports }));
symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
compile(join(copy, "tsconfig.json"), join(dist, "cjs"));
rmSync(copy, { recursive: true });
// A folder's own package.json sets its module system. `#native` is then looked up in it as well, and may not point outside it.
writeFileSync(join(dist, "cjs", "package.json"), JSON.stringify({ type: "commonjs", imports: { "#native": "./native.cjs" } }));
writeFileSync(join(dist, "cjs", "native.cjs"), 'module.exports = require("../../native.cjs");\n');
writeFileSync(join(dist, "cjs", "native.d.cts"), 'export * from "../../native.cjs";\n');

// The licences are at the repository's root; a package has its own copies.
for (const name of ["LICENSE-MIT", "LICENSE-APACHE"]) copyFileSync(join(root, "..", "..", name), join(root, name));
