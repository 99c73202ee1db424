#!/bin/sh
# Installs Portkey's gateway: $COLLOQUY_HOME/peers/portkey/node_modules.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${COLLOQUY_HOME:-$here/../../../.colloquy}/peers/portkey
mkdir -p "$out"
cp "$here/package.json" "$out/"
cd "$out"
npm install --no-audit --no-fund
