// Builds the Rust interoperability peer into the ignored folder .rust/ (minutes on the first run).
// Needs cargo (https://rustup.rs). Environment: CARGO_BUILD_JOBS limits parallel compilers.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const target = `${root}.rust/target`;
const manifest = `${root}test/interop/rust-peer/Cargo.toml`;

const result = spawnSync('cargo', ['build', '--release', '--locked', '--manifest-path', manifest], {
  stdio: 'inherit',
  env: { ...process.env, CARGO_TARGET_DIR: target },
});
if (result.error) {
  console.error(`rust:build needs cargo on the PATH (https://rustup.rs): ${result.error.message}`);
  process.exit(1);
}
if (result.status !== 0) process.exit(result.status ?? 1);
const binary = `${target}/release/rust-peer${process.platform === 'win32' ? '.exe' : ''}`;
if (!existsSync(binary)) {
  console.error(`cargo succeeded but ${binary} is missing`);
  process.exit(1);
}
console.log(binary);
