#!/bin/sh
# Installs OpenVINO GenAI into its own environment: $COLLOQUY_HOME/peers/openvino/venv. It reads the GGUF file itself.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${COLLOQUY_HOME:-$here/../../../.colloquy}/peers/openvino
mkdir -p "$out"
[ -d "$out/venv" ] || python3 -m venv "$out/venv"
"$out/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
