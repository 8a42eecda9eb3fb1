#!/bin/sh
# soak.sh [--rounds N] [--faults N | --minutes N] [--baton PROGRAM] - what takes too long for the tests: 1,000,000 rounds of one
# program on each platform and runtime, with other runs in between; as many runs of a node with each isolation; then every fault
# that a node survives, 1,000 times or for so many minutes. Fails if the memory of the process grows or something is wrong.
# Without PROGRAM it builds the preset `release` and takes that.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
rounds=1000000
faults=1000
seconds=-
baton=''

usage() {
  echo "usage: soak.sh [--rounds N] [--faults N | --minutes N] [--baton PROGRAM]" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  [ $# -ge 2 ] || usage
  case $1 in
    --rounds) rounds=$2 ;;
    --faults) faults=$2 seconds=- ;;
    --minutes) faults=- seconds=$(($2 * 60)) ;;
    --baton) baton=$(realpath "$2") ;;
    *) usage ;;
  esac
  shift 2
done

cd "$root"
if [ -z "$baton" ]; then
  baton=$root/build/release/baton
  { cmake --preset release && cmake --build --preset release --target baton baton-worker; } >&2
fi
"$baton" tools/soak.lua "$rounds"
"$baton" tools/soak_node.lua "$rounds"
exec "$baton" tools/soak_faults.lua "$faults" "$seconds"
