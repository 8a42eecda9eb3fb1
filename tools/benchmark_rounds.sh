#!/bin/sh
# benchmark_rounds.sh [--platform P] [--runtime R] [--device D] [--rounds N] [--baton PROGRAM] [SCENE...] - times the rounds
# of scenes, with and without reuse of what a run needs, and prints one table of the means of the second half, in
# microseconds, and their sums.
#
# The options are those of `baton bench`, with all platforms and runtimes as defaults. Default scenes: the corpus below.
# Without PROGRAM it builds the preset `release` and takes that. The last line counts the cases: N passed, N failed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
platform=all
runtime=all
device=0
rounds=100
baton=''

usage() {
  echo "usage: benchmark_rounds.sh [--platform P] [--runtime R] [--device D] [--rounds N] [--baton PROGRAM] [SCENE...]" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --platform | --runtime | --device | --rounds | --baton) [ $# -ge 2 ] || usage ;;
    -*) usage ;;
    *) break ;;
  esac
  case $1 in
    --platform) platform=$2 ;;
    --runtime) runtime=$2 ;;
    --device) device=$2 ;;
    --rounds) rounds=$2 ;;
    --baton) baton=$2 ;;
  esac
  shift 2
done

if [ $# -eq 0 ]; then
  for scene in hello_worker vector_example vector_add vector_add_c scalar_data mixed_example matmul alternating_matmul_add \
    bgemm paged_attention; do
    set -- "$@" "$root/scenes/$scene.lua"
  done
fi

if [ -z "$baton" ]; then
  baton=$root/build/release/baton
  (cd "$root" && cmake --preset release && cmake --build --preset release --target baton) >&2
fi

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'exit 130' INT TERM

# measure NAME [OPTION]: a failure is in the results, unless there are none.
measure() {
  name=$1
  shift
  echo "benchmark_rounds.sh: $rounds rounds $name reuse" >&2
  "$baton" bench "$@" --json --skip-golden --platform "$platform" --runtime "$runtime" --device "$device" --rounds "$rounds" \
    >"$results/$name.json" 2>"$results/log" || [ -s "$results/$name.json" ] || {
    cat "$results/log" >&2
    exit 1
  }
}

measure with "$@"
measure without "$@" --no-reuse
"$baton" "$root/tools/benchmark_rounds.lua" "$results/with.json" "$results/without.json"
