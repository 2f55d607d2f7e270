package mysql

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestTransactions: what the monitor does not list completely leaves every session busy.
func TestTransactions(t *testing.T) {
	t.Parallel()
	const list = `
TRANSACTIONS
------------
LIST OF TRANSACTIONS FOR EACH SESSION:
---TRANSACTION 421, ACTIVE 2 sec
1 lock struct(s), heap size 1128, 0 row lock(s)
MariaDB thread id 31, OS thread handle 140, query id 17 127.0.0.1 app
---TRANSACTION (0x7f), not started
MariaDB thread id 32, OS thread handle 141, query id 18 127.0.0.1 app
---TRANSACTION 422, ACTIVE (PREPARED) 0 sec
MySQL thread id 33, OS thread handle 142, query id 19 localhost app starting
---TRANSACTION 423, ACTIVE 0 sec recovered trx
--------
FILE I/O
`
	ofNone := strings.Replace(list, " recovered trx", "", 1)
	broken := strings.Replace(list, "---TRANSACTION 423", "---TRANSACTION 424, ACTIVE 3 sec\n1 lock struct(s)\n---TRANSACTION 423", 1)
	for text, all := range map[string]bool{list: false, ofNone: true, broken: true, "": true, "TRANSACTIONS": true, list + "... truncated...": true} {
		open, gotAll := transactions(text)
		if gotAll != all {
			t.Errorf("all is %t for %q", gotAll, text)
		}
		if got := slices.Sorted(maps.Keys(open)); text != "" && text != "TRANSACTIONS" && !slices.Equal(got, []int64{31, 33}) {
			t.Errorf("the sessions are %v", got)
		}
	}
}
