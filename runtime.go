package dataflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"github.com/activedataflow/dataflow/internal/schedule"
	"github.com/activedataflow/dataflow/internal/stored"
)

// DefaultBatchSize is the batch size of a flow whose Runtime sets none and whose sink
// is outside the database ([To]).
const DefaultBatchSize = 1000

// Runtime decides when and where a flow's runs are worked. It is a plain value:
// [Heartbeat], [JobQueue], or a type of the user's own, which Config.Runtimes reads
// back from JSON. Its methods are safe for concurrent use. They take a flow that a
// client returned, and return ErrNotRegistered for any other.
//
// A Runtime that calls another Runtime hands on the Flow that it was given, because that
// Flow carries who asks for the run, why, and with which parameters. A Flow that it gets anew
// from a client asks for a plain run.
//
// If the Runtime is disabled or the flow is inactive, the three methods that start a
// run return ErrDisabled and store nothing.
type Runtime interface {
	// Type is the name under which the Runtime is stored, such as "job_queue".
	Type() string
	// Settings returns what all Runtimes have, defaults filled in.
	Settings() RuntimeSettings

	// Execute starts a run now. If a run that was started by Execute is still waiting,
	// it returns that run, with Coalesced set.
	Execute(ctx context.Context, flow *Flow) (*Run, error)
	// ExecuteAt starts a run at a time. A time in the past is due at once. If a run for
	// exactly that time is still waiting, it returns that run, with Coalesced set.
	ExecuteAt(ctx context.Context, flow *Flow, at time.Time) (*Run, error)
	// ScheduleNext starts a run one Interval after from, or at the first tick of the
	// Cron after from. A Runtime that has neither returns a *[ConfigError].
	ScheduleNext(ctx context.Context, flow *Flow, from time.Time) (*Run, error)
}

// TxRuntime is the power of a Runtime to start a run in the caller's transaction.
// [Client.TriggerTx] and schedules need it. [Heartbeat] and [JobQueue] have it, and so
// has a type that embeds one of them.
type TxRuntime interface {
	// ExecuteTx starts a run at a time. The zero time is now.
	ExecuteTx(ctx context.Context, tx Tx, flow *Flow, at time.Time) (*Run, error)
}

// RuntimeSettings are the settings that all Runtimes have.
type RuntimeSettings struct {
	// Enabled is false if the flow's runs are not to be started or worked.
	Enabled bool
	// Interval is the time between two ticks. 0: none.
	Interval time.Duration
	// Schedule holds the other options of the schedule.
	Schedule Schedule
	// BatchSize is the least number of records between two checkpoints. 0: automatic.
	BatchSize int

	options string // of the Ruby gem, as JSON
}

// RuntimeDecoder reads a Runtime from the JSON object as which it was stored. It must
// be safe for concurrent use.
type RuntimeDecoder func(data []byte) (Runtime, error)

// ParseRuntime reads a Runtime from JSON, as [json.Marshal] writes one:
//
//	{"type":"job_queue","queue":"etl","priority":null,"batch_size":500,"enabled":true,"interval":300}
//
// What is absent or null has its default. Objects of the Ruby gem, with a "class_name"
// in place of the "type", are read too. Then enabled must be true, as in Ruby; a priority
// becomes one of River's 1 to 4; a queue's name becomes one that River takes; and what is
// unknown is kept under "options". For the class of a flow's own Runtime, such as
// "ProductSyncFlow::Runtime", the decoder under that name is asked. A type that neither the library nor decoders
// know is ErrUnknownType. decoders may be nil.
func ParseRuntime(data []byte, decoders map[string]RuntimeDecoder) (Runtime, error) {
	r, err := parseRuntime(data, decoders)
	return r, public(err)
}

func parseRuntime(data []byte, decoders map[string]RuntimeDecoder) (Runtime, error) {
	var head struct {
		Type      string `json:"type"`
		ClassName string `json:"class_name"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read runtime %s: it must be a JSON object: %w", stored.Clip(string(data)), err)
	}
	name := head.Type
	if name == "" {
		name = rubyType(head.ClassName)
	}
	decode := decoders[name]
	if fromGem := head.Type == "" && head.ClassName != ""; fromGem {
		if own := decoders[head.ClassName]; own != nil {
			name, decode = head.ClassName, own
		} else if name != "" {
			ours, err := fromRuby(data)
			if err != nil {
				return nil, fmt.Errorf("read runtime of class_name %q: %w", head.ClassName, err)
			}
			data = ours
		}
	}
	if b := builtinOfType(name); decode == nil && b != nil {
		decode = b.decode
	}
	switch {
	case decode != nil:
	case head.Type == "" && head.ClassName == "":
		return nil, fmt.Errorf("read runtime %s: it has no \"type\": %w", stored.Clip(string(data)), ErrUnknownType)
	case head.Type == "":
		return nil, fmt.Errorf("read runtime of class_name %q: %w: supported are %s, %s and %s; give Config.Runtimes a decoder under this name for a class of the flow's own", head.ClassName, ErrUnknownType, rubyBase, rubyHeartbeat, rubyActiveJob)
	default:
		return nil, fmt.Errorf("read runtime of type %q: %w: supported are %s", head.Type, ErrUnknownType, strings.Join(supportedRuntimes(decoders), ", "))
	}
	r, err := decode(data)
	if err == nil && isNil(r) {
		err = errors.New("its decoder in Config.Runtimes returned nil")
	}
	if err != nil {
		return nil, fmt.Errorf("read runtime of type %q: %w", name, err)
	}
	return r, nil
}

// builtinRuntime is a Runtime of the library's.
type builtinRuntime struct {
	zero   Runtime // its zero value, which also tells its Type
	decode RuntimeDecoder
	// migrate returns the Runtime with the settings of another one, and with a queue and a
	// priority if it has any.
	migrate func(s RuntimeSettings, queue string, priority int) Runtime
}

// builtinRuntimes are the Runtimes of the library's. What differs between them, the rest of the
// package asks their methods and [queuedOf].
var builtinRuntimes = []builtinRuntime{ //nolint:gochecknoglobals // it is constant
	{zero: Heartbeat{}, decode: decodeHeartbeat, migrate: migrateToHeartbeat},
	{zero: JobQueue{}, decode: decodeJobQueue, migrate: migrateToJobQueue},
}

// builtinOfType returns the library's Runtime of a type, nil if there is none.
func builtinOfType(name string) *builtinRuntime {
	for i := range builtinRuntimes {
		if builtinRuntimes[i].zero.Type() == name {
			return &builtinRuntimes[i]
		}
	}
	return nil
}

// isBuiltin reports whether a Runtime is of one of the library's Go types. A type that embeds one
// of them is not.
func isBuiltin(r Runtime) bool {
	return slices.ContainsFunc(builtinRuntimes, func(b builtinRuntime) bool { return reflect.TypeOf(b.zero) == reflect.TypeOf(r) })
}

// builtinTypes lists the types for an error message.
func builtinTypes() string {
	names := make([]string, len(builtinRuntimes))
	for i, b := range builtinRuntimes {
		names[i] = strconv.Quote(b.zero.Type())
	}
	return strings.Join(names, " or ")
}

// queuelessTypes are the types of the library's Runtimes whose runs need no River job.
func queuelessTypes() []string {
	var names []string
	for _, b := range builtinRuntimes {
		if _, ok := queuedOf(b.zero); !ok {
			names = append(names, b.zero.Type())
		}
	}
	return names
}

func supportedRuntimes(decoders map[string]RuntimeDecoder) []string {
	names := slices.Collect(maps.Keys(decoders))
	for _, b := range builtinRuntimes {
		names = append(names, b.zero.Type())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// marshalRuntime writes a Runtime with its type, which a user's own type need not write
// itself.
func marshalRuntime(r Runtime) (json.RawMessage, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write runtime of type %q: %w", r.Type(), err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || fields == nil {
		return nil, fmt.Errorf("write runtime of type %q: its JSON must be an object, not %s", r.Type(), stored.Clip(string(data)))
	}
	name, err := json.Marshal(r.Type())
	if err != nil {
		return nil, err
	}
	if bytes.Equal(fields["type"], name) {
		return data, nil
	}
	fields["type"] = name
	return json.Marshal(fields)
}

// validateRuntime returns what is wrong with a Runtime's settings.
func validateRuntime(r Runtime) error {
	if isNil(r) {
		return errors.New("it is nil: name a Runtime, or leave it out for Heartbeat{}")
	}
	if r.Type() == "" {
		return errors.New("its Type is empty: return the name under which it is to be stored")
	}
	if v, ok := r.(Validator); ok {
		return v.Validate()
	}
	return nil
}

func validRuntime(r Runtime) bool { return validateRuntime(r) == nil }

// validateCommon checks the settings that all of our Runtimes have.
func validateCommon(interval time.Duration, s *Schedule, batchSize int) error {
	errs := []error{s.validate(interval)}
	if batchSize < 0 {
		errs = append(errs, &ConfigError{Field: "BatchSize", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for an automatic size", batchSize)})
	}
	return errors.Join(errs...)
}

// commonJSON are the settings that all of our Runtimes store.
type commonJSON struct {
	BatchSize *int              `json:"batch_size"` // null: automatic
	Enabled   *bool             `json:"enabled"`
	Interval  *schedule.Seconds `json:"interval"`
	Schedule  Schedule          `json:"schedule,omitzero"`
	Options   json.RawMessage   `json:"options,omitempty"` // of the Ruby gem, kept as they are
}

func (c commonJSON) batchSize() int {
	if c.BatchSize == nil {
		return 0
	}
	return *c.BatchSize
}

func (c commonJSON) disabled() bool { return c.Enabled != nil && !*c.Enabled }

func (c commonJSON) interval() time.Duration {
	if c.Interval == nil {
		return 0
	}
	return time.Duration(*c.Interval)
}

func commonOf(s RuntimeSettings) commonJSON {
	c := commonJSON{Enabled: &s.Enabled, Schedule: s.Schedule, Options: rawOptions(s.options)}
	if s.BatchSize != 0 {
		c.BatchSize = &s.BatchSize
	}
	if s.Interval != 0 {
		interval := schedule.Seconds(s.Interval)
		c.Interval = &interval
	}
	return c
}

// next returns the time for which ScheduleNext starts a run.
func (s RuntimeSettings) nextAt(flow *Flow, from time.Time) (time.Time, error) {
	if s.Interval > 0 {
		return from.Add(s.Interval), nil
	}
	fail := func(err error) (time.Time, error) {
		return time.Time{}, public(fmt.Errorf("schedule next run of flow %q: %w", flow.Name, err))
	}
	if !s.Enabled {
		return fail(fmt.Errorf("%w: its runtime is", ErrDisabled))
	}
	if s.Schedule.Cron == "" {
		return fail(&ConfigError{Field: "Interval", Reason: "the flow's runtime has neither an Interval nor a Cron: set one, or use ExecuteAt"})
	}
	ticks, err := s.ticks(flow.Name)
	if err != nil {
		return fail(err)
	}
	at := ticks.Next(from)
	if at.IsZero() {
		return fail(fmt.Errorf("its schedule has no tick after %s", from.Format(time.RFC3339)))
	}
	return at, nil
}

// ticks returns the schedule of the flow of this name. There must be one.
func (s RuntimeSettings) ticks(name string) (*schedule.Schedule, error) {
	return s.Schedule.compile(s.Interval, schedule.Stagger(name, s.Schedule.Stagger))
}

// scheduled reports whether there are ticks at all.
func (s RuntimeSettings) scheduled() bool { return s.Interval > 0 || s.Schedule.Cron != "" }

// unreadRuntime stands for a stored Runtime that this program cannot read, so that the
// flow can still be shown.
type unreadRuntime struct{ err error }

// unread returns why this program cannot read the flow's Runtime, nil if it can. Another process
// may be able to.
func (f *Flow) unread() error {
	u, _ := f.Runtime.(unreadRuntime)
	return u.err
}

func (unreadRuntime) Type() string              { return "unknown" }
func (unreadRuntime) Settings() RuntimeSettings { return RuntimeSettings{} }

func (u unreadRuntime) Execute(context.Context, *Flow) (*Run, error) { return nil, public(u.err) }

func (u unreadRuntime) ExecuteAt(context.Context, *Flow, time.Time) (*Run, error) {
	return nil, public(u.err)
}

func (u unreadRuntime) ScheduleNext(context.Context, *Flow, time.Time) (*Run, error) {
	return nil, public(u.err)
}

// queued is the power of a Runtime to have runs worked by River jobs. [JobQueue] has it, and so
// has a type that embeds it.
type queued interface {
	QueueName() string
	insertOpts() river.InsertOpts
}

// queuedOf returns a Runtime's power to have runs worked by River jobs.
func queuedOf(rt Runtime) (queued, bool) {
	q, ok := rt.(queued)
	return q, ok
}

// queueOf returns the River queue that a Runtime names. A user's type may name one without being
// queued: it may hold a JobQueue in a field.
func queueOf(rt Runtime) (string, bool) {
	q, ok := rt.(interface{ QueueName() string })
	if !ok {
		return "", false
	}
	return q.QueueName(), true
}
