package dataflow

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow/internal/stored"
)

const (
	gidScheme = "gid://"
	gidApp    = "dataflow"
	gidFlow   = "Flow"
)

// GlobalID names a row of an application, as text that can be kept elsewhere. Ours have
// the App "dataflow" and the Model "Flow".
type GlobalID struct {
	App   string
	Model string
	ID    int64
	// Params are the parameters after a question mark, such as "expires_in=3600", as they
	// are written. They do not change which row it is. Empty: none.
	Params string
}

// String returns the id as text, such as "gid://dataflow/Flow/7".
func (g GlobalID) String() string {
	text := gidScheme + g.App + "/" + g.Model + "/" + strconv.FormatInt(g.ID, 10)
	if g.Params != "" {
		text += "?" + g.Params
	}
	return text
}

// GlobalID returns the flow's global id, such as "gid://dataflow/Flow/7". It returns ""
// for a flow that no client returned, because such a flow is not stored.
func (f *Flow) GlobalID() string {
	if f.ID == 0 {
		return ""
	}
	return GlobalID{App: gidApp, Model: gidFlow, ID: f.ID}.String()
}

// gidPart matches the name of an application or a model. The names of the Ruby gem have
// modules, such as ActiveDataFlow::DataFlow.
var gidPart = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:-]*$`)

// ParseGlobalID reads "gid://APP/MODEL/ID" of any application and model, with or without
// "?params". ID is a positive number. Any other text returns ErrGlobalID.
func ParseGlobalID(text string) (GlobalID, error) {
	g, err := parseGlobalID(text)
	return g, public(err)
}

func parseGlobalID(text string) (GlobalID, error) {
	fail := func(why string) (GlobalID, error) {
		return GlobalID{}, fmt.Errorf("%q is %w: %s: use gid://%s/%s/ID", stored.Clip(text), ErrGlobalID, why, gidApp, gidFlow)
	}
	rest, ok := strings.CutPrefix(text, gidScheme)
	if !ok {
		return fail("it does not begin with " + gidScheme)
	}
	rest, params, _ := strings.Cut(rest, "?")
	parts := strings.Split(rest, "/")
	if len(parts) != 3 {
		return fail(fmt.Sprintf("it has %d parts, not 3", len(parts)))
	}
	if !gidPart.MatchString(parts[0]) || !gidPart.MatchString(parts[1]) {
		return fail("its application and its model must be names")
	}
	id, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || id <= 0 || parts[2] != strconv.FormatInt(id, 10) {
		return fail(fmt.Sprintf("its last part, %q, is not a positive number", stored.Clip(parts[2])))
	}
	return GlobalID{App: parts[0], Model: parts[1], ID: id, Params: params}, nil
}

// ownFlow returns an error for an id of anything but a flow.
func (g GlobalID) ownFlow() error {
	if g.Model != gidFlow {
		return fmt.Errorf("%q is %w of a flow, but of a %s: use gid://%s/%s/ID", g.String(), ErrGlobalID, g.Model, gidApp, gidFlow)
	}
	return nil
}
