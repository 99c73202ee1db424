#!/usr/bin/env bash
# Runs the engine's Rust tests as an Arm processor: compiled for aarch64 and emulated by qemu, once with the dot instructions
# (NEON set and scalar set must agree bit by bit) and once without (the scalar set alone). On an Arm machine they run as they are.
# Arguments go to the tests: `scripts/test-neon.sh kernels` runs those of the kernels.
set -euo pipefail
cd "$(dirname "$0")/../inference/native"

target=aarch64-unknown-linux-gnu
has_target() { [ -d "$("$1" --print target-libdir --target "$target" 2>/dev/null)" ]; }
find_qemu() { command -v qemu-aarch64-static || command -v qemu-aarch64; }

if [ "$(uname -m)" = aarch64 ]; then
  COLLOQUY_EXPECTED_KERNELS=neon exec cargo test --release --locked -- "$@"
fi

# rustup's compiler where it has the target, else Debian's.
for RUSTC in "${RUSTC:-rustc}" /usr/bin/rustc; do
  if command -v "$RUSTC" >/dev/null && has_target "$RUSTC"; then found=$RUSTC; break; fi
done
if [ -z "${found:-}" ] || ! command -v aarch64-linux-gnu-gcc >/dev/null || ! find_qemu >/dev/null; then
  cat >&2 <<'HINT'
This needs Rust's standard library for aarch64, a linker and qemu. With rustup:
  rustup target add aarch64-unknown-linux-gnu
  apt-get install gcc-aarch64-linux-gnu qemu-user-static
Without it, on Debian 12:
  dpkg --add-architecture arm64 && apt-get update
  apt-get install --no-install-recommends rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
HINT
  exit 2
fi

export RUSTC=$found
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Static, so that no library of the other architecture is looked for at run time.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static'
emulated() {
  echo "── $1, expecting $2"
  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$(find_qemu) -cpu $1" COLLOQUY_EXPECTED_KERNELS=$2 \
    cargo test --quiet --release --locked --lib --target "$target" --target-dir target/neon -- "${@:3}"
}
emulated max neon "$@"
emulated cortex-a72 scalar kernels
