#!/usr/bin/env bash
# Builds the preset dev and runs every test: C tests through ctest, specs through `baton test`.
# --sanitize repeats them with smaller cases under the address and undefined sanitizers and under the thread sanitizer.
# At the end come the ten slowest tests and what failed. The last line counts all of them: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

# Specs that hold for both isolations, and so are run with each; the slow ones only without sanitizers, under which a child takes
# long to begin, and its arenas long to be shadowed.
for_both=(spec/chip/{buffer,conformance,graph,in_flight,kept_graph,mix,object,program,record,submit}_spec.lua)
for_both_slow=(spec/chip/{arena,blocks,fault,rounds_fault}_spec.lua)

passed=0
failed=0
failures= # what the tools said about each failed test
times=    # of all tests: seconds, a tab, the preset and the name

# Adds what a tool counted. No numbers mean that the tool itself broke: one failure.
add() { # PASSED FAILED
  if [ -z "$1" ] || [ -z "$2" ]; then
    failed=$((failed + 1))
  else
    passed=$((passed + $1))
    failed=$((failed + $2))
  fi
}

# The thread sanitizer of this compiler cannot place its shadow memory beside widely randomised mappings.
plain_addresses() {
  local bits
  bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)
  if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then setarch -R "$@"; else "$@"; fi
}

note() { failures+="-- $1"$'\n'"$2"$'\n'; } # PRESET TEXT

# Adds lines of seconds, a tab and a name from standard input.
add_times() { times+=$(sed "s/\t/\t$1  /")$'\n'; } # PRESET

print_slowest() {
  echo "== the ten slowest tests"
  LC_ALL=C sort -rn <<<"$times" | awk -F '\t' 'NF == 2 && NR <= 10 { printf "%8.1f s  %s\n", $1, $2 }'
}

run_c_tests() { # PRESET
  local log=build/$1/ctest.log total bad
  plain_addresses ctest --preset "$1" 2>&1 | tee "$log" || true
  total=$(sed -nE 's/.* tests failed out of ([0-9]+).*/\1/p' "$log")
  bad=$(sed -nE 's/.*, ([0-9]+) tests failed out of .*/\1/p' "$log")
  add "${total:+$((total - bad))}" "$bad"
  add_times "$1" < <(sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+) .* ([0-9.]+) sec.*/\2\tctest \1/p' "$log")
  [ "$bad" = 0 ] || note "$1" "$(grep -aE '^\[  ERROR|^\[   LINE|^\[  FAILED|\*\*\*|WARNING: Thread|ERROR: Addr|runtime error' "$log" | head -n 30)"
}

run_specs() { # PRESET ISOLATION [FILE…]
  local log=build/$1/spec_$2.log spec_times=build/$1/spec_times code=0 summary good bad
  rm -f "$spec_times"
  plain_addresses "build/$1/baton" test --isolation "$2" -- -o tools/spec_times.lua -Xoutput "$spec_times" "${@:3}" 2>&1 |
    tee "$log" || code=$?
  summary=$(sed -nE '/^[0-9]+ success(es)? \/ [0-9]+ failures? \/ [0-9]+ errors? /p' "$log" | tail -n 1)
  good=$(awk '{ print $1 }' <<<"$summary")
  bad=$(awk 'NF { print $4 + $7 }' <<<"$summary")
  if [ "$code" -ne 0 ] && [ "${bad:-0}" -eq 0 ]; then bad=$((${bad:-0} + 1)); fi
  add "$good" "$bad"
  if [ -f "$spec_times" ]; then add_times "$1" <"$spec_times"; fi
  [ "${bad:-1}" -eq 0 ] || note "$1" "$(awk '/^(Pending|Failure|Error|Suite) /{ show = !/^Pending/ } show' "$log" | head -n 60)"
}

run_preset() { # PRESET
  local folder
  echo "== $1"
  cmake --preset "$1" >/dev/null
  cmake --build --preset "$1" -- --quiet
  run_c_tests "$1"
  if [ "$1" = tsan ]; then
    # shadow memory is not given back: no process runs all of them
    for folder in spec/*/; do
      if compgen -G "$folder*_spec.lua" >/dev/null; then run_specs "$1" thread "${folder%/}"; fi
    done
  else
    run_specs "$1" thread
  fi
  if [ "$1" = dev ]; then
    run_specs "$1" process "${for_both[@]}" "${for_both_slow[@]}"
  else
    run_specs "$1" process "${for_both[@]}"
  fi
}

# A process waits a second for races at its end, and there are thousands of them.
export TSAN_OPTIONS="${TSAN_OPTIONS:-} atexit_sleep_ms=0"

presets=(dev)
case "${1:-}" in
"") ;;
--sanitize) presets+=(asan tsan) ;;
*)
  echo "tools/test.sh: unknown argument $1; usage: tools/test.sh [--sanitize]" >&2
  exit 2
  ;;
esac

tools/packages.sh build test
for preset in "${presets[@]}"; do
  [ "$preset" = dev ] || export BATON_TEST_SMALL=1
  # OpenBLAS is not instrumented: how its threads wait for each other would be reported as races
  [ "$preset" != tsan ] || export OPENBLAS_NUM_THREADS=1
  run_preset "$preset"
done

print_slowest
printf '%s' "$failures"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
