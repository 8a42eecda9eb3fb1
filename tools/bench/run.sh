#!/bin/sh
# run.sh [--json] [--peers] [--only NAME,...] - measures Baton and prints a table, or with --json one JSON
# value on stdout and everything else on stderr.
#
# Builds what it measures with the preset `release`. --peers also builds the peers, with whatever
# compilers the machine has, into build/bench-peers; one that is missing is said and left out. Peers run
# right after Baton's own figures, on the same machine and with the same number of threads.
#
# A figure is a row of the table in engine.c, or a call of `start`, `orchestration` or `attention` below.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
release=$root/build/release
peers=$root/build/bench-peers
json=''
with_peers=''
only=''

say() { echo "run.sh: $*" >&2; }

usage() {
  echo "usage: run.sh [--json] [--peers] [--only NAME,...]" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --json) json=--json ;;
    --peers) with_peers=yes ;;
    --only)
      [ $# -ge 2 ] || usage
      only=$2
      shift
      ;;
    *) usage ;;
  esac
  shift
done

wanted() {
  [ -z "$only" ] && return 0
  case ,$only, in *,"$1",*) return 0 ;; *) return 1 ;; esac
}

build() { cmake --build "$release" --target "$@" >&2; }

# start NAME SCENE: milliseconds of `baton run SCENE`, from start to exit.
start() {
  wanted "$1" || return 0
  if [ ! -f "$root/$2" ]; then
    say "no $1: there is no $2"
  elif ! build baton; then
    say "no $1: baton does not build"
  else
    "$release/baton-bench-start" --repetitions 20 --seconds 0 "$1" "$release/baton" run "$root/$2" ||
      say "no $1: $2 does not run"
  fi
}

# orchestration NAME: ns a task of a C orchestration, from the call of the run to its end.
orchestration() {
  wanted "$1" || return 0
  "$release/baton-bench-orchestration" || say "no $1: it does not run"
}

# attention: the scene's medium case, and how long its user waits.
attention() {
  wanted paged_attention || wanted paged_attention_host || return 0
  if build baton; then
    (cd "$root" && "$release/baton" tools/bench/paged_attention.lua) || say "no paged_attention: it does not run"
  fi
}

# attention_peer COMPILER: the same arithmetic as a plain C program, under both ways to wait.
attention_peer() {
  wanted paged_attention || return 0
  program=$peers/paged-attention-$1
  command -v "$1" >/dev/null || return 0
  if ! "$1" -std=gnu11 -O3 -march=native -DNDEBUG -D_GNU_SOURCE -fopenmp -I"$root/include" -I"$root/src" \
    -I"$root/tools/bench" "$root/tools/bench/paged_attention.c" "$root/tools/bench/sample.c" -o "$program" >&2; then
    say "no peer openmp_c from $1: it does not build (is its OpenMP library installed?)"
    return 0
  fi
  for policy in active passive; do
    OMP_WAIT_POLICY=$policy "$program"
  done
}

# openmp COMPILER: the figures of one OpenMP run-time library, under both ways to wait.
openmp() {
  program=$peers/openmp-$1
  if ! command -v "$1" >/dev/null; then
    say "no peer openmp from $1: it is not installed"
    return 0
  fi
  if ! "$1" -std=gnu11 -O3 -DNDEBUG -D_GNU_SOURCE -fopenmp -I"$root/src" -I"$root/tools/bench" \
    "$root/tools/bench/openmp.c" "$root/tools/bench/sample.c" -o "$program" >&2; then
    say "no peer openmp from $1: it does not build (is its OpenMP library installed?)"
    return 0
  fi
  for policy in active passive; do
    OMP_WAIT_POLICY=$policy "$program" ${only:+--only "$only"}
  done
}

[ -f "$release/build.ninja" ] || (cd "$root" && cmake --preset release >&2)
build baton-bench-engine baton-bench-orchestration baton-bench-start baton-bench-report

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
trap 'exit 130' INT TERM

{
  "$release/baton-bench-engine" ${only:+--only "$only"}
  start start_vector_example scenes/vector_example.lua
  orchestration orchestration_1000000
  attention
  if [ -n "$with_peers" ]; then
    mkdir -p "$peers"
    openmp gcc
    openmp clang
    attention_peer gcc
    attention_peer clang
  fi
} >"$lines"
"$release/baton-bench-report" $json <"$lines"

# What was asked for by name must be there.
tab=$(printf '\t')
missing=0
for name in $(echo "$only" | tr ',' ' '); do
  grep -q "^baton$tab$name$tab" "$lines" && continue
  say "there is no figure $name"
  missing=1
done
exit "$missing"
