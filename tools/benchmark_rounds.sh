#!/bin/sh
# benchmark_rounds.sh [-p PLATFORM] [-r RUNTIME] [-d DEVICE] [-n ROUNDS] [-b BATON] [SCENE...] - times the rounds of scenes,
# with and without reuse of what a run needs, and prints one table of the means of the second half, in microseconds, and
# their sums.
#
# PLATFORM and RUNTIME are as in `baton bench`; default: all. Default scenes: the corpus below. Without BATON it builds the
# preset `release` and takes that. The last line counts the cases: N passed, N failed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
platform=all
runtime=all
device=0
rounds=100
baton=''

usage() {
  echo "usage: benchmark_rounds.sh [-p PLATFORM] [-r RUNTIME] [-d DEVICE] [-n ROUNDS] [-b BATON] [SCENE...]" >&2
  exit 2
}

while getopts p:r:d:n:b: option; do
  case $option in
    p) platform=$OPTARG ;;
    r) runtime=$OPTARG ;;
    d) device=$OPTARG ;;
    n) rounds=$OPTARG ;;
    b) baton=$OPTARG ;;
    *) usage ;;
  esac
done
shift $((OPTIND - 1))

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
  "$baton" bench "$@" --json --skip-golden -p "$platform" --runtime "$runtime" -d "$device" --rounds "$rounds" \
    >"$results/$name.json" 2>"$results/log" || [ -s "$results/$name.json" ] || {
    cat "$results/log" >&2
    exit 1
  }
}

measure with "$@"
measure without "$@" --no-reuse
"$baton" "$root/tools/benchmark_rounds.lua" "$results/with.json" "$results/without.json"
