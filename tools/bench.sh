#!/usr/bin/env bash
# Runs every benchmark, one package after the other, and prints one line for each with what it measured.
# With a pattern runs the ones that match.
set -euo pipefail

pattern=${1:-.}

summary() {
	awk '
		/^Benchmark/ {
			name = $1
			sub(/^Benchmark/, "", name)
			sub(/-[0-9]+$/, "", name)
			line = ""
			for (i = 3; i < NF; i += 2) line = line (line == "" ? "" : ", ") $i " " $(i + 1)
			printf "  %-36s %s\n", name, line
			next
		}
		/^(goos|goarch|cpu|pkg):/ || /^(PASS|ok)/ { next }
		{ print }'
}

run() { # directory of the module, packages
	local module=$1 package
	shift
	for package in "$@"; do
		echo "${package#./}"
		GOWORK=off go -C "$module" test -run '^$' -bench "$pattern" -timeout 1h "$package" | summary
	done
}

packages() { # directory of the module, folders in it
	(cd "$1" && shift && grep -rlE '^func Benchmark' --include='*_test.go' "$@" | xargs -n1 dirname | sort -u | sed 's|^\([^.]\)|./\1|')
}

mapfile -t product < <(packages . cmd integration internal pkg)
mapfile -t peers < <(packages tools/bench .)
run . "${product[@]}"
run tools/bench "${peers[@]}"
