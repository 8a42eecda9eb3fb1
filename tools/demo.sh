#!/usr/bin/env bash
# Builds Baton and multiplies two matrices from files on a simulated chip. For a fresh Debian 12.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/packages.sh build
cmake --preset release >/dev/null
cmake --build --preset release --target baton baton_module

baton=build/release/baton
mkdir -p build/demo

echo
echo "Two matrices in files of their own: build/demo/a.npy and build/demo/b.npy"
"$baton" - build/demo/a.npy build/demo/b.npy <<'LUA'
local tensor = require "baton.tensor"
tensor.uniform("f32", { 1000, 700 }, { lo = -1, hi = 1, seed = 1 }):save(arg[1])
tensor.uniform("f32", { 700, 900 }, { lo = -1, hi = 1, seed = 2 }):save(arg[2])
LUA

echo
set -x
"$baton" run scenes/matmul.lua --input A=@build/demo/a.npy --input B=@build/demo/b.npy --output C=@build/demo/c.npy
{ set +x; } 2>/dev/null

echo
echo "What came out, in build/demo/c.npy:"
"$baton" -e 'print(require "baton.tensor".load "build/demo/c.npy")'

echo
echo "Attention over paged caches; the graph follows a block table that it reads while it is built:"
set -x
"$baton" run scenes/paged_attention.lua
{ set +x; } 2>/dev/null
