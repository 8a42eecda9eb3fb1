#!/bin/sh
# soak.sh [--rounds N] [--baton PROGRAM] - runs one program 1,000,000 rounds on each platform and runtime, with other runs in
# between, and fails if the memory of the process grows. Without PROGRAM it builds the preset `release` and takes that.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
rounds=1000000
baton=''

usage() {
  echo "usage: soak.sh [--rounds N] [--baton PROGRAM]" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --rounds) rounds=$2 ;;
    --baton) baton=$2 ;;
    *) usage ;;
  esac
  shift 2
done

if [ -z "$baton" ]; then
  baton=$root/build/release/baton
  (cd "$root" && cmake --preset release && cmake --build --preset release --target baton) >&2
fi
exec "$baton" "$root/tools/soak.lua" "$rounds"
