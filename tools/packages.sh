#!/usr/bin/env bash
# Installs what is missing of the package groups given as arguments (build, test, lint, peer): tools/packages.sh build test
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for group in "$@"; do
  while read -r name; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$name")
  done < <(awk -v group="$group" '$1 == group { print $2 }' tools/packages.txt)
done
[ ${#missing[@]} -gt 0 ] || exit 0

export DEBIAN_FRONTEND=noninteractive
if [ "$(id -u)" -eq 0 ]; then
  apt-get update -q
  apt-get install -q -y --no-install-recommends "${missing[@]}"
elif command -v sudo >/dev/null; then
  sudo apt-get update -q
  sudo apt-get install -q -y --no-install-recommends "${missing[@]}"
else
  echo "Packages are missing and there is no sudo. Run this as root, then start again:" >&2
  echo "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 2
fi
