#!/bin/sh
# Installs LiteLLM's proxy into its own environment: $COLLOQUY_HOME/peers/litellm/venv.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${COLLOQUY_HOME:-$here/../../../.colloquy}/peers/litellm
mkdir -p "$out"
[ -d "$out/venv" ] || python3 -m venv "$out/venv"
"$out/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
