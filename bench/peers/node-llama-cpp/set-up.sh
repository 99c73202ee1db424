#!/bin/sh
# Installs node-llama-cpp with the binary it ships for this platform: $COLLOQUY_HOME/peers/node-llama-cpp/node_modules.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${COLLOQUY_HOME:-$here/../../../.colloquy}/peers/node-llama-cpp
mkdir -p "$out"
cp "$here/package.json" "$here/serve.mjs" "$out/"
cd "$out"
NODE_LLAMA_CPP_SKIP_DOWNLOAD=true npm install --no-audit --no-fund
