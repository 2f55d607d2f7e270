package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

var options = &store.Options{Logger: slog.New(slog.DiscardHandler)}

// One rotation: pending, current, and what was current is previous.
func ExampleStore() {
	ctx := context.Background()
	s, err := store.New("main", storetest.NewMem(nil), options)
	if err != nil {
		panic(err)
	}
	defer s.Close()
	var from secret.VersionID
	for _, value := range []string{"first", "second"} {
		v, err := s.Put(ctx, "app/key", store.Write{Token: secret.NewToken("app/key", from, "policy", 0), From: from, Value: secret.NewValue([]byte(value)), Create: true})
		if err != nil {
			panic(err)
		}
		if err := s.Promote(ctx, "app/key", from, v.ID); err != nil {
			panic(err)
		}
		from = v.ID
	}
	for _, stage := range []secret.Stage{secret.StageCurrent, secret.StagePrevious, secret.StagePending} {
		_, val, err := s.Get(ctx, "app/key", store.Selector{Stage: stage})
		fmt.Println(stage, string(val.Reveal()), err)
	}
	// Output:
	// current second <nil>
	// previous first <nil>
	// pending  store main: get app/key: not found: no pending version
}

// What another writer has changed meanwhile is not overwritten.
func ExampleStore_Promote() {
	ctx := context.Background()
	s, err := store.New("main", storetest.NewMem(nil), options)
	if err != nil {
		panic(err)
	}
	defer s.Close()
	v, err := s.Put(ctx, "app/key", store.Write{Token: "one", Value: secret.NewValue([]byte("value")), Create: true})
	if err != nil {
		panic(err)
	}
	err = s.Promote(ctx, "app/key", "of-another-time", v.ID)
	fmt.Println(err)
	fmt.Println(store.Reason(err), store.Permanent(err))
	// Output:
	// store main: promote app/key: changed by another writer: the current version is not "of-another-time"
	// conflict false
}

// How a driver whose service knows no stages keeps them.
func ExampleDocument() {
	var d store.Document
	v, fresh, err := d.Put(store.Write{Token: "one"}, time.Now())
	fmt.Println(v.ID, v.Stage, fresh, err)
	changed, err := d.Promote("", "one")
	fmt.Println(changed, err, d.Versions[0].Stage)
	changed, err = d.Promote("", "one")
	fmt.Println(changed, err)
	// Output:
	// one pending true <nil>
	// true <nil> current
	// false <nil>
}

func ExampleSelector_Find() {
	m := secret.Metadata{Versions: []secret.Version{{ID: "7", Stage: secret.StagePrevious}, {ID: "8", Stage: secret.StageCurrent}}}
	for _, sel := range []store.Selector{{}, {Stage: secret.StagePrevious}, {Version: "7"}} {
		v, err := sel.Find(m)
		fmt.Println(v.ID, err)
	}
	// Output:
	// 8 <nil>
	// 7 <nil>
	// 7 <nil>
}
