#!/bin/sh
# Builds llama.cpp's own tools for this machine from the source distribution of llama-cpp-python, and requantises the
# model. Usage: bench/peers/llama-cpp/set-up.sh MODEL.gguf. Everything lands in $COLLOQUY_HOME/peers/llama-cpp.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
model=$(realpath "${1:?name a GGUF file}")
out=${COLLOQUY_HOME:-$here/../../../.colloquy}/peers/llama-cpp
mkdir -p "$out"
cd "$out"

if [ ! -d source ]; then
  pip download --no-deps --no-binary llama-cpp-python --requirement "$here/requirements.txt" --dest download
  mkdir unpacked
  tar -xzf download/llama_cpp_python-*.tar.gz -C unpacked --strip-components=1
  mv unpacked source
fi

llama="$PWD/source/vendor/llama.cpp"
cmake -S "$here" -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_CPP="$llama"
cmake --build build -j"${JOBS:-2}" --target llama-batched-bench llama-perplexity llama-quantize greedy
if grep -q amx_int8 /proc/cpuinfo; then
  cmake -S "$here" -B build-without-amx -DCMAKE_BUILD_TYPE=Release -DLLAMA_CPP="$llama" -DWITHOUT_AMX=ON
  cmake --build build-without-amx -j"${JOBS:-2}" --target llama-batched-bench
fi

# The same weights in the format that llama.cpp has its fastest kernels for.
[ -f model.Q4_0.gguf ] || build/bin/llama-quantize --allow-requantize "$model" model.Q4_0.gguf Q4_0 2
