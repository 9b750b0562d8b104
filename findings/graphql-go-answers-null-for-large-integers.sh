#!/usr/bin/env bash
# github.com/graphql-go/graphql v0.8.1.
#
# A good guess: a value that does not fit the type Int, which has 32 bits, is an error, for answers and for arguments. So
# says its specification (October 2021, 3.5.1): a result that does not fit raises a field error, and input that
# is no integer, such as a string of digits, raises a request error. Seen, without an error:
#   - An int64 of three billion, or a time in microseconds, is null in the answer. So a client that copies records stores
#     no id and no time. A result of 2.9 is 2.
#   - An argument given as a variable is 2 for 2.9, 12 for "12", and 1 for true. Written in the query itself, 2.9 is refused.
#   - For 3000000000 it is the other way round: as a variable it is refused, in the query it reaches the resolver.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"

	"github.com/graphql-go/graphql"
)

func main() {
	of := func(value any) *graphql.Field {
		return &graphql.Field{Type: graphql.Int, Resolve: func(graphql.ResolveParams) (any, error) { return value, nil }}
	}
	query := graphql.NewObject(graphql.ObjectConfig{Name: "Query", Fields: graphql.Fields{
		"id":    of(int64(3_000_000_000)),
		"at":    of(int64(1767225600123456)),
		"price": of(2.9),
		"echo": {
			Type:    graphql.String,
			Args:    graphql.FieldConfigArgument{"n": {Type: graphql.Int}},
			Resolve: func(p graphql.ResolveParams) (any, error) { return fmt.Sprint(p.Args["n"]), nil },
		},
	}})
	schema, err := graphql.NewSchema(graphql.SchemaConfig{Query: query})
	check(err)
	ask := func(query string, variables map[string]any) string {
		result := graphql.Do(graphql.Params{Schema: schema, RequestString: query, VariableValues: variables})
		if result.HasErrors() {
			return "refused"
		}
		answer, err := json.Marshal(result.Data)
		check(err)
		return string(answer)
	}

	fmt.Println("results:", ask("{id at price}", nil))
	for _, text := range []string{"2.9", `"12"`, "true", "3000000000"} {
		var n any
		check(json.Unmarshal([]byte(text), &n))
		fmt.Printf("argument %s: as a variable %s, in the query %s\n", text,
			ask("query($n: Int) {echo(n: $n)}", map[string]any{"n": n}), ask("{echo(n: "+text+")}", nil))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/graphql-go/graphql@v0.8.1 && go mod tidy) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
results: {"at":null,"id":null,"price":2}
argument 2.9: as a variable {"echo":"2"}, in the query refused
argument "12": as a variable {"echo":"12"}, in the query refused
argument true: as a variable {"echo":"1"}, in the query refused
argument 3000000000: as a variable refused, in the query {"echo":"3000000000"}
SEEN
