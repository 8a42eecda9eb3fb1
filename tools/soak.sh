#!/bin/sh
# soak.sh [-n ROUNDS] [-b BATON] - runs one program 1,000,000 rounds on each platform and runtime, with other runs in between,
# and fails if the memory of the process grows. Without BATON it builds the preset `release` and takes that.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
rounds=1000000
baton=''

while getopts n:b: option; do
  case $option in
    n) rounds=$OPTARG ;;
    b) baton=$OPTARG ;;
    *)
      echo "usage: soak.sh [-n ROUNDS] [-b BATON]" >&2
      exit 2
      ;;
  esac
done

if [ -z "$baton" ]; then
  baton=$root/build/release/baton
  (cd "$root" && cmake --preset release && cmake --build --preset release --target baton) >&2
fi
exec "$baton" "$root/tools/soak.lua" "$rounds"
