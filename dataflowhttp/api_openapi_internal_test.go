package dataflowhttp

import (
	"encoding/json"
	"flag"
	"os"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var updateOpenAPI = flag.Bool("update-openapi", false, "write openapi.json anew")

// TestOpenAPI holds openapi.json against the routes, their parameters, and the types of their
// bodies and answers, which are what the handlers use.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	d := &describer{schemas: map[string]any{}}
	paths := map[string]map[string]any{}
	for _, r := range routes {
		if paths[r.path] == nil {
			paths[r.path] = map[string]any{}
		}
		paths[r.path][strings.ToLower(r.method)] = d.operation(r)
	}
	want, err := json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "dataflow", "version": "1",
			"description": "Flows and runs of a service. Paths are below where the service has mounted the API. Times are RFC 3339 in UTC.",
		},
		"paths":      paths,
		"components": map[string]any{"schemas": d.schemas},
	}, "", "  ")
	require.NoError(t, err)
	want = append(want, '\n')
	if *updateOpenAPI {
		require.NoError(t, os.WriteFile("openapi.json", want, 0o644))
		return
	}
	require.Equal(t, string(want), string(openAPI), "go test ./dataflowhttp -run TestOpenAPI -update-openapi writes it anew")
}

// describer makes schemas of types.
type describer struct{ schemas map[string]any }

func (d *describer) operation(r route) map[string]any {
	var params []any
	for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.path, -1) {
		schema := map[string]any{"type": "string"}
		if name[1] == "id" {
			schema = map[string]any{"type": "integer", "minimum": 1}
		}
		params = append(params, map[string]any{"name": name[1], "in": "path", "required": true, "schema": schema})
	}
	for _, p := range r.query {
		schema := map[string]any{"type": p.kind}
		if p.values != nil {
			schema["enum"] = p.values
		}
		if p.list {
			schema = map[string]any{"type": "array", "items": schema}
		}
		params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.says, "schema": schema})
	}
	problem := map[string]any{"description": "a problem (RFC 9457)", "content": map[string]any{"application/problem+json": map[string]any{"schema": d.schema(reflect.TypeFor[Problem]())}}}
	op := map[string]any{
		"operationId": strings.ToLower(r.method) + strings.NewReplacer("/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(r.path),
		"summary":     r.summary,
		"responses": map[string]any{
			strconv.Itoa(r.status): map[string]any{"description": "done", "content": map[string]any{"application/json": map[string]any{"schema": d.schema(reflect.TypeOf(r.work.answer).Elem())}}},
			"default":              problem,
		},
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.work.body != nil {
		op["requestBody"] = map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": d.schema(reflect.TypeOf(r.work.body()).Elem())}}}
	}
	return op
}

func (d *describer) schema(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{"description": "any JSON"}
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := d.schema(t.Elem())
		if ref, ok := inner["$ref"]; ok {
			return map[string]any{"anyOf": []any{map[string]any{"$ref": ref}, map[string]any{"type": "null"}}}
		}
		inner["type"] = []any{inner["type"], "null"}
		return inner
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": []any{"array", "null"}, "items": d.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	default:
		panic("no schema for " + t.String())
	}
}

func (d *describer) object(t reflect.Type) map[string]any {
	name := t.Name()
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if name != "" && d.schemas[name] != nil {
		return ref
	}
	properties := map[string]any{}
	var required []string
	if name != "" {
		d.schemas[name] = true // until it is made
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		properties[tag] = d.schema(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.HasSuffix(name, "Body") {
			required = append(required, tag)
		}
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		object["required"] = required
	}
	if name == "" {
		return object
	}
	d.schemas[name] = object
	return ref
}

// Every path is in the manual, and the manual has no other.
func TestOpenAPI_Manual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/http-api.md")
	require.NoError(t, err)
	var named []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]+) (/[^`]*)`").FindAllStringSubmatch(string(manual), -1) {
		named = append(named, row[1]+" "+path.Clean(row[2]))
	}
	var all []string
	for _, r := range routes {
		all = append(all, r.method+" "+r.path)
	}
	require.ElementsMatch(t, all, named)
}
