package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	runtime "github.com/aws/aws-lambda-go/lambda"
	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/lambda"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

// runtimeAPI is the variable that the Lambda runtime sets for its programs.
const runtimeAPI = "AWS_LAMBDA_RUNTIME_API"

// lambdaStarts reports whether the Lambda runtime starts the program, which it
// does without arguments.
func lambdaStarts(args []string, lookup func(string) (string, bool)) bool {
	_, ok := lookup(runtimeAPI)
	return ok && len(args) == 1
}

func lambdaCommand(path *string) *cobra.Command {
	return &cobra.Command{
		Use:   "lambda",
		Short: "Serve as a rotation function in AWS Lambda",
		Long: `Serves the steps of rotations that AWS Secrets Manager drives, events of
EventBridge, and the commands {"action":"rotate"|"plan"|"status"}. The program
does this by itself when the Lambda runtime starts it as bootstrap, without
arguments.

The configuration is the file that --config or ROTATOR_CONFIG names, else
rotator.yaml beside the program, if there is one, and the environment. Secrets
that it does not list are rotated by its defaults. docs/lambda.md has more.`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv(runtimeAPI) == "" {
				return cli.UsageError{Err: errors.New(runtimeAPI + " is not set: only the Lambda runtime starts this command")}
			}
			return serveLambda(cmd.Context(), *path)
		},
	}
}

func serveLambda(ctx context.Context, path string) error {
	cfg, err := lambdaConfig(path, os.Getenv("LAMBDA_TASK_ROOT"))
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
	f, err := lambda.New(lambda.Options{Config: cfg, Region: os.Getenv("AWS_REGION"), Logger: log})
	if err != nil {
		return err
	}
	// The loop of the runtime never returns. A signal ends the process, and the
	// step in hand with it: AWS repeats that.
	go runtime.StartWithOptions(f, runtime.WithContext(ctx))
	<-ctx.Done()
	return f.Close()
}

// lambdaConfig reads the configuration of a function whose code is in dir.
func lambdaConfig(path, dir string) (*config.Config, error) {
	if path == "" {
		path = filepath.Join(dir, "rotator.yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { //nolint:gosec // the runtime says where the code is
			path = ""
		}
	}
	return config.Load(path, os.Environ())
}
