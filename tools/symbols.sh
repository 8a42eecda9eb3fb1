#!/usr/bin/env bash
# The task library is freestanding: it may only ask for memcpy, memset, memmove and the names in tools/task_symbols.txt.
# Usage: tools/symbols.sh BUILD-FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

library=$1/src/task/libbaton_task.a
allowed=$(printf '%s\n' memcpy memset memmove && sed -e 's/#.*//' -e '/^[[:space:]]*$/d' tools/task_symbols.txt)
defined=$(nm --defined-only -g "$library" | awk 'NF == 3 { print $3 }')
asked=$(nm -u "$library" | awk '$1 == "U" { print $2 }')
foreign=$(comm -23 <(sort -u <<<"$asked") <(printf '%s\n%s\n' "$allowed" "$defined" | sort -u))
if [ -n "$foreign" ]; then
  echo "libbaton_task.a asks for symbols that tools/task_symbols.txt does not list:" >&2
  echo "$foreign" >&2
  exit 1
fi
