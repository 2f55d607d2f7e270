#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for the time given (default 5s).
set -euo pipefail

fuzztime=${1:-5s}

# Lines "./package FuzzName". The go command lists targets too, but links the tests of every package for that.
targets=$(grep -roE '^func Fuzz\w+' --include='*_test.go' cmd integration internal pkg tools |
	sed -E 's|^(.*)/[^/]+:func (.*)$|./\1 \2|' | sort)

while read -r package name; do
	echo "fuzz: $name ($package)"
	go test ${TESTFLAGS:-} -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package" </dev/null
done <<<"$targets"
