#!/bin/sh
# run.sh [--json] [--peers] [--only NAME,...] - measures Baton and prints a table, or with --json one JSON
# value on stdout and everything else on stderr.
#
# Builds what it measures with the preset `release`. --peers also installs the peers' packages where that is possible and
# builds the peers into build/bench-peers; one that is missing is said, with the reason, and left out. Peers run right after
# Baton's own figures, on the same machine and with the same number of threads.
#
# A figure is a row of a table in figures.c, wake.c, window.c, map.c, rounds.c or node.c, or a call of `start`, `orchestrations`,
# `attention`, `submits` or `node_submits` below; `--only node` is all of those of node.c, and node_submit_lua. Times are of a machine that does nothing else: two runs at once spoil each other.
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

# The figures that `node` stands for.
node_figures=node_submit,node_submit_lua,node_run_thread,node_roundtrip_awake,node_roundtrip_asleep,node_program_roundtrip
node_figures=$node_figures,node_throughput_1,node_throughput_2,node_program_throughput,node_copy,node_poison,node_idle
case ,$only, in *,node,*)
  only=$(echo ",$only," | sed -e "s/,node,/,$node_figures,/" -e 's/^,//' -e 's/,$//')
  ;;
esac

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

# orchestrations: ns a task of a C orchestration, from the call of the run to its end.
orchestrations() {
  wanted orchestration_1000000 || wanted orchestration_c || return 0
  "$release/baton-bench-orchestration" ${only:+--only "$only"} 1000000 "$root/tools/bench/orchestration_graph.c" ||
    say "no orchestration: it does not run"
}

# attention: the scene's medium case, and how long its user waits.
attention() {
  wanted paged_attention || wanted paged_attention_host || return 0
  if build baton; then
    (cd "$root" && "$release/baton" tools/bench/paged_attention.lua) || say "no paged_attention: it does not run"
  fi
}

# submits: ns that a submit costs from C, and what it costs more from Lua.
submits() {
  wanted submit_c || wanted lua_prepared || wanted lua_positional || wanted lua_table || wanted lua_named || return 0
  if build baton; then
    (cd "$root" && "$release/baton" tools/bench/submit.lua) || say "no submit_c: it does not run"
  fi
}

# node_submits: ns that a submit at a node costs from Lua.
node_submits() {
  wanted node_submit_lua || return 0
  if build baton; then
    (cd "$root" && "$release/baton" tools/bench/node.lua) || say "no node_submit_lua: it does not run"
  fi
}

# absent PEER REASON: a line of the report.
absent() {
  say "no peer $1: $2"
  printf 'absent\t%s\t%s\n' "$1" "$2"
}

# compile PEER COMPILER PROGRAM SOURCE... -- FLAG...: builds a program of a peer from files of this folder.
compile() {
  peer=$1 compiler=$2 program=$peers/$3
  shift 3
  if ! command -v "$compiler" >/dev/null; then
    absent "$peer" "$compiler is not installed"
    return 1
  fi
  sources=''
  while [ "$1" != -- ]; do
    sources="$sources tools/bench/$1"
    shift
  done
  shift
  # shellcheck disable=SC2086 # a list of files of ours
  if ! (cd "$root" && "$compiler" -O3 -DNDEBUG -D_GNU_SOURCE -Iinclude -Isrc -Itools/bench $sources "$@" \
    -o "$program") >&2; then
    absent "$peer" "it does not build with $compiler (is its library installed?)"
    return 1
  fi
}

# The parts that programs with the figures of figures.c have in common, for C++ as objects.
common='figures.c body.c sample.c'

# openmp COMPILER: one OpenMP run-time library, under both ways to wait.
openmp() {
  # shellcheck disable=SC2086 # a list of names
  compile openmp "$1" "openmp-$1" openmp.c $common -- -std=gnu11 -fopenmp -lm || return 0
  for policy in active passive; do
    OMP_WAIT_POLICY=$policy "$program" ${only:+--only "$only"} || absent openmp "it ended with status $?"
  done
}

# attention_peer COMPILER: the same arithmetic as a plain C program, under both ways to wait.
attention_peer() {
  wanted paged_attention || return 0
  compile openmp_c "$1" "paged-attention-$1" paged_attention.c sample.c -- -std=gnu11 -march=native -fopenmp -lm || return 0
  for policy in active passive; do
    OMP_WAIT_POLICY=$policy "$program"
  done
}

onetbb() {
  for part in figures body sample edges; do
    compile onetbb gcc "$part.o" "$part.c" -- -std=gnu11 -c || return 0
  done
  compile onetbb g++ onetbb onetbb.cc -- -std=c++17 "$peers/figures.o" "$peers/body.o" "$peers/sample.o" \
    "$peers/edges.o" -ltbb -lm || return 0
  "$program" ${only:+--only "$only"} || absent onetbb "it ended with status $?"
}

# StarPU submits from one thread and runs tasks on others: with one of those it has as many threads as Baton.
starpu() {
  if ! flags=$(pkg-config --cflags --libs starpu-1.3 2>/dev/null); then
    absent starpu "libstarpu-dev is not installed"
    return 0
  fi
  # shellcheck disable=SC2086 # lists of names and of flags
  compile starpu gcc starpu starpu.c $common -- -std=gnu11 $flags -lm || return 0
  for workers in 1 2; do
    STARPU_HOME=$peers STARPU_SILENT=1 STARPU_NCPU=$workers "$program" ${only:+--only "$only"} ||
      absent starpu "it ended with status $?"
  done
}

# by_hand PEER: floor or spin.
by_hand() {
  # shellcheck disable=SC2086 # a list of names
  compile "$1" gcc "$1" "$1.c" team.c $common -- -std=gnu11 -pthread -lm || return 0
  "$program" ${only:+--only "$only"} || absent "$1" "it ended with status $?"
}

[ -f "$release/build.ninja" ] || (cd "$root" && cmake --preset release >&2)
build baton-bench-engine baton-bench-wake baton-bench-window baton-bench-map \
  baton-bench-rounds baton-bench-node baton-bench-orchestration baton-bench-start baton-bench-report

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
trap 'exit 130' INT TERM

{
  for program in engine wake window map rounds node; do
    "$release/baton-bench-$program" ${only:+--only "$only"}
  done
  start start_vector_example scenes/vector_example.lua
  orchestrations
  attention
  submits
  node_submits
  if [ -n "$with_peers" ]; then
    mkdir -p "$peers"
    "$root/tools/packages.sh" peer >&2 || say "packages of peers are missing and cannot be installed"
    by_hand floor
    by_hand spin
    onetbb
    openmp gcc
    openmp clang
    starpu
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
