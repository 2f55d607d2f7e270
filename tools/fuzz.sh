#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for the time given (default 5s).
set -euo pipefail

fuzztime=${1:-5s}

# `go test -list` prints the targets of a package, then the line "ok <package> <time>".
targets=$(go test -list '^Fuzz' ./... | awk '
	/^Fuzz/ { names[n++] = $1 }
	/^ok/   { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }')

if [[ -z $targets ]]; then
	echo "fuzz: no targets"
	exit
fi

while read -r package name; do
	echo "fuzz: $name ($package)"
	go test ${TESTFLAGS:-} -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "$package" </dev/null
done <<<"$targets"
