#!/usr/bin/env bash
# Runs the engine's Rust tests under AddressSanitizer: reads and writes beyond a buffer, of freed memory, and leaks end the run.
# Rust has the sanitizer behind a flag that its stable compiler takes with RUSTC_BOOTSTRAP; the standard library itself is not
# instrumented, what its containers hold is. Arguments go to the tests; FUZZ_CASES says how many damaged files are tried.
set -euo pipefail
cd "$(dirname "$0")/../inference/native"

target=$(rustc -vV | sed -n 's/^host: //p')
runtime=$(find "$(rustc --print target-libdir)" -name 'librustc*_rt.asan.*' -print -quit)
if [ -z "$runtime" ]; then
  echo "This toolchain has no AddressSanitizer runtime for $target; rustup's for Linux and macOS on x86-64 and Arm have one." >&2
  exit 2
fi

export RUSTC_BOOTSTRAP=1
# Debug assertions and overflow checks are on, as in `cargo test`; optimised, or the tests would take long.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
# A target named explicitly keeps the flag from build scripts and macros.
export RUSTFLAGS='-Zsanitizer=address -Cforce-frame-pointers=yes'
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}
exec cargo test --quiet --release --locked --lib --target "$target" --target-dir target/sanitized -- "$@"
