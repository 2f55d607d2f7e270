package config

import (
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
)

// Config is the whole configuration. Every key is optional; one without secrets
// is a node that waits for some.
type Config struct {
	// How to reach the message bus. Without a URL the program runs a single
	// node with an embedded server.
	NATS NATS `json:"nats,omitzero"`
	// The embedded server and what it keeps on disk. Only a single node has
	// one.
	Node Node `json:"node,omitzero"`
	// The keys that events are signed with and checked against.
	Signing Signing `json:"signing,omitzero"`
	// Where /metrics, /healthz and /readyz are served.
	HTTP HTTP `json:"http,omitzero"`
	// What is logged, on standard error.
	Log Log `json:"log,omitzero"`
	// The role that finds out which secrets are due.
	Scheduler Scheduler `json:"scheduler,omitzero"`
	// The role that rotates.
	Worker Worker `json:"worker,omitzero"`
	// The role that tells services and follows rollouts.
	Notifier Notifier `json:"notifier,omitzero"`
	// Announcements to Amazon EventBridge.
	EventBridge EventBridge `json:"eventbridge,omitzero"`
	// Events of AWS Secrets Manager, from Amazon EventBridge.
	AWSEvents AWSEvents `json:"aws_events,omitzero"`
	// Which identities of the stores belong to which service.
	Readers Readers `json:"readers,omitzero"`
	// Logs of reads that the scheduler hears.
	AuditSources []AuditSource `json:"audit_sources,omitzero" jsonschema:"maxItems=100"`
	// The sidecar that keeps secrets in files, notifier agent.
	Agent Agent `json:"agent,omitzero"`
	// The program as a rotation function of AWS Secrets Manager.
	Lambda Lambda `json:"lambda,omitzero"`
	// The stores that hold secrets, by a name of your choice.
	Stores map[string]Store `json:"stores,omitzero"`
	// The places besides the stores where values have to be valid, by a name of your
	// choice.
	Targets map[string]Target `json:"targets,omitzero"`
	// Rules for values, by a name that secrets can refer to.
	Policies map[string]Policy `json:"policies,omitzero"`
	// What is known of services, by their names, whichever secrets list them: in their
	// own services or, for discovered ones, in a tag.
	Services map[string]Service `json:"services,omitzero"`
	// Times in which scheduled rotations wait.
	Freeze []Freeze `json:"freeze,omitzero" jsonschema:"maxItems=1000"`
	// What holds for every secret that does not say otherwise.
	Defaults Settings `json:"defaults,omitzero"`
	// The secrets to rotate.
	Secrets []Secret `json:"secrets,omitzero"`

	warnings []Problem
	freezes  []*secret.Freeze // what Freeze says, once it was asked for
}

// NATS is how the bus is reached.
type NATS struct {
	settings.NATS
	// Copies that the cluster keeps of each stream. Use 3 on a cluster of three
	// or more; a single node has 1.
	Replicas int `json:"replicas,omitzero" default:"1" jsonschema:"enum=1,enum=3,enum=5"`
	// How many messages the log of what happened to secrets, and the stream of
	// notifications, hold each. The oldest make room for new ones. Every secret needs one
	// for each type of event, and one for each service.
	LogRecords int `json:"log_records,omitzero" default:"10000000" jsonschema:"minimum=1000"`
	// How many records about instances the bus holds: one for each instance and one
	// for each secret that it uses. At this bound new ones are refused and nothing
	// is retired.
	UsesRecords int `json:"uses_records,omitzero" default:"1000000" jsonschema:"minimum=1000"`
	// How long the receipt of a retirement is kept. Without it receipts are kept
	// forever.
	RecordRetention Duration `json:"record_retention,omitzero"`
	// How many bytes the records of retirements, and of what people confirmed and
	// had forgotten, may take. At this bound nothing is retired. Without it there
	// is no bound.
	RecordBytes int `json:"record_bytes,omitzero" jsonschema:"minimum=1048576"`
}

// Ref says where a secret of the program itself is kept, see [settings.Ref].
type Ref = settings.Ref

// Node is what a single node needs besides.
type Node struct {
	// Directory for what has to survive a restart. Without it
	// $STATE_DIRECTORY (as systemd sets it), else /var/lib/rotator for root,
	// else $XDG_STATE_HOME/rotator, else ~/.local/state/rotator.
	DataDir string `json:"data_dir,omitzero" jsonschema:"format=file"`
	// Address on which services reach the embedded NATS server; none keeps it
	// within the process.
	Listen string `json:"listen,omitzero" default:"127.0.0.1:4222" jsonschema:"format=listen"`
	// When a write is safe on disk: always before it is acknowledged, default
	// for the server's own interval of two minutes, or a duration. Anything but
	// always can lose acknowledged writes with the power.
	SyncInterval string `json:"sync_interval,omitzero" default:"always" jsonschema:"format=sync-interval"`
}

// Signing is about the signatures of events.
type Signing struct {
	// Ed25519 private key that this program signs events with. Without it
	// signing.key in the data directory, which a single node makes itself on
	// its first start.
	Key Ref `json:"key,omitzero"`
	// Files with the public keys of the other programs whose events are
	// believed, or directories of such files (*.pub), which are read again when
	// they change. The own key always is. Roles and = before a file limit its key
	// to what these programs sign, as in worker,scheduler=rotator.pub: scheduler,
	// worker, notifier, operator (the command line), lambda.
	TrustedKeys []string `json:"trusted_keys,omitzero" jsonschema:"format=trusted-key,uniqueItems=true,maxItems=1000"`
}

// HTTP is where the programs can be watched.
type HTTP struct {
	// Address of the rotator; none serves nothing. There is no authentication:
	// give it an address that only the monitoring reaches.
	Listen string `json:"listen,omitzero" default:"127.0.0.1:8080" jsonschema:"format=listen"`
	// Address of the notifier where that is a program of its own; none serves
	// nothing.
	NotifierListen string `json:"notifier_listen,omitzero" default:"127.0.0.1:8081" jsonschema:"format=listen"`
	// ID of the secret whose current value is the token for acts on the status page
	// of rotator: rotate, pause, resume and forget. Without it the page is read
	// only. For a single node.
	AdminToken string `json:"admin_token,omitzero"`
	// Address of the agent; none serves nothing.
	AgentListen string `json:"agent_listen,omitzero" default:"127.0.0.1:8082" jsonschema:"format=listen"`
}

// Log is what is logged.
type Log struct {
	// The least that is logged.
	Level string `json:"level,omitzero" default:"info" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// Form of a line; auto is text on a terminal and json elsewhere.
	Format string `json:"format,omitzero" default:"auto" jsonschema:"enum=auto,enum=text,enum=json"`
}

// Scheduler is about finding what is due.
type Scheduler struct {
	// How often the stores are compared with the timers. It bounds how long a
	// lost message can go unnoticed.
	SweepEvery Duration `json:"sweep_every,omitzero" default:"5m"`
}

// Worker is about rotating.
type Worker struct {
	// Rotations at a time, in one process.
	Concurrency int `json:"concurrency,omitzero" default:"4" jsonschema:"minimum=1,maximum=1024"`
	// After how many tries a pending version of another writer, who left it
	// behind, is replaced.
	TakeoverAttempts int `json:"takeover_attempts,omitzero" default:"3" jsonschema:"minimum=1,maximum=1000"`
	// Time to the second try of a rotation that failed. It doubles with each
	// further one.
	RetryBase Duration `json:"retry_base,omitzero" default:"5s"`
	// Longest time between two tries.
	RetryCap Duration `json:"retry_cap,omitzero" default:"15m"`
	// How long a rotation of the external strategy may take before it is given up.
	ExternalDeadline Duration `json:"external_deadline,omitzero" default:"1h"`
	// Time between two logins with the current version of each secret that has a target, by
	// each worker; none switches them off.
	VerifyEvery DurationOrNone `json:"verify_every,omitzero" default:"1h"`
	// How long a program that is told to stop lets the step in hand finish.
	DrainTimeout Duration `json:"drain_timeout,omitzero" default:"30s"`
}

// Notifier is about telling services.
type Notifier struct {
	// Announcements that are handled at a time, in one process.
	Concurrency int `json:"concurrency,omitzero" default:"16" jsonschema:"minimum=1,maximum=1024"`
	// Secrets with metrics that name them, such as rotator_secret_time_to_expiry. A
	// negative number means none.
	SecretMetrics int `json:"secret_metrics,omitzero" default:"1000" jsonschema:"minimum=-1,maximum=100000"`
}

// Lambda is about running in AWS Lambda.
type Lambda struct {
	// Where a rotation is announced: on NATS if nats.url is set and can be
	// reached, else on the event bus of eventbridge if that is set (auto), or on
	// both.
	Announce string `json:"announce,omitzero" default:"auto" jsonschema:"enum=auto,enum=both"`
	// How long one invocation waits for NATS before it goes on without.
	NATSTimeout Duration `json:"nats_timeout,omitzero" default:"2s"`
	// Whether the command rotate takes secrets that are neither listed nor discovered. What
	// AWS schedules is rotated in any case.
	AllowUnlisted bool `json:"allow_unlisted,omitzero"`
	// Secret in Secrets Manager whose value is a JSON object of the variables
	// that signing.key and nats.credentials name by env, so that none of them
	// stands in the settings of the function. Variables that are set win.
	Credentials string `json:"credentials,omitzero" jsonschema:"format=secret-id"`
}

// SingleNode reports whether the bus is embedded in the program.
func (c *Config) SingleNode() bool { return c.NATS.URL == "" }

// Warnings returns what is legal and probably not meant, in the order of the
// file.
func (c *Config) Warnings() []Problem { return c.warnings }
