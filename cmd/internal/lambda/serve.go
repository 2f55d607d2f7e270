package lambda

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	runtime "github.com/aws/aws-lambda-go/lambda"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

// runtimeAPI is the variable that the Lambda runtime sets for its programs.
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

// ErrNotLambda is the error of a program that the Lambda runtime did not start.
var ErrNotLambda = errors.New(runtimeAPI + " is not set: only the Lambda runtime starts this command")

// Starts reports whether the Lambda runtime starts the program, which it does
// without arguments. A program of the name that the runtime wants is meant for it, and
// fails elsewhere.
func Starts(args []string, lookup func(string) (string, bool)) bool {
	_, ok := lookup(runtimeAPI)
	return len(args) == 1 && (ok || filepath.Base(args[0]) == "bootstrap")
}

// Serve serves the Lambda runtime until ctx ends. Without a path the
// configuration is rotator.yaml beside the code of the function, if there is one,
// and the environment.
func Serve(ctx context.Context, path string) error {
	if os.Getenv(runtimeAPI) == "" {
		return ErrNotLambda
	}
	cfg, err := configuration(path, os.Getenv("LAMBDA_TASK_ROOT"))
	if err != nil {
		return err
	}
	log, err := telemetry.NewLogger(os.Stderr, cfg.Log.Level, "json")
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	for _, w := range cfg.Warnings() {
		log.LogAttrs(ctx, slog.LevelWarn, "config.warning", slog.String("problem", w.String()))
	}
	f, err := New(Options{Config: cfg, Region: os.Getenv("AWS_REGION"), Logger: log})
	if err != nil {
		return err
	}
	// The loop of the runtime never returns. A signal ends the process, and the
	// step in hand with it: AWS repeats that.
	go runtime.StartWithOptions(f, runtime.WithContext(ctx))
	<-ctx.Done()
	return f.Close()
}

// configuration reads the configuration of a function whose code is in dir.
func configuration(path, dir string) (*config.Config, error) {
	if path == "" {
		path = filepath.Join(dir, "rotator.yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the runtime says where the code is
			path = ""
		}
	}
	return config.Load(path, os.Environ())
}
