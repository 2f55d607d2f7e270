#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other, for the number of inputs given (5000x).
# Not for a time: at its end the go command sometimes reports "context deadline exceeded" as a failure
# (golang.org/issue/75804).
# It builds the tests of a package once: the go command would for each of its targets.
set -euo pipefail

fuzztime=${1:-5000x}

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
module=$(go list -m) cache=$(go env GOCACHE)/fuzz
events= # as go test -json
case " ${TESTFLAGS:-} " in *" -json "*) events=yes ;; esac

# Lines "package FuzzName". The go command lists targets too, but links the tests of every package for that.
targets=$(grep -roE '^func Fuzz\w+' --include='*_test.go' cmd integration internal pkg tools |
	sed -E 's|^(.*)/[^/]+:func (.*)$|\1 \2|' | sort)

built=
while read -r package name; do
	echo "fuzz: $name (./$package)"
	test "$built" = "$package" || go test -c -fuzz . -o "$bin/test" "./$package" </dev/null
	built=$package
	(
		cd "$package"
		${events:+go tool test2json -t -p "$module/$package"} "$bin/test" -test.paniconexit0 ${events:+-test.v=test2json} -test.run '^$' -test.timeout 0 \
			-test.fuzz "^$name\$" -test.fuzztime "$fuzztime" -test.fuzzcachedir "$cache/$module/$package" </dev/null
	)
done <<<"$targets"
