#!/usr/bin/env bash
# Runs a command and fails if that added, removed or altered a file which git does not ignore.
set -euo pipefail

state() {
	git ls-files --cached --others --exclude-standard --deduplicate -z | while IFS= read -r -d '' file; do
		if [[ -f $file ]]; then
			git hash-object --no-filters -- "$file" | tr '\n' ' '
			echo "$file"
		fi
	done
}

before=$(state)
"$@"
after=$(state)

if [[ $before != "$after" ]]; then
	echo "\"$*\" altered:"
	diff <(echo "$before") <(echo "$after") | awk '/^[<>]/ { print "  " $3 }' | sort -u
	exit 1
fi >&2
echo "unchanged by $*"
