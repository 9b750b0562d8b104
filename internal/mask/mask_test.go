package mask_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/mask"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	m := mask.New(nil)
	for data, want := range map[string]string{
		`{"id":1,"api_key":"s3"}`:               `{"api_key":"***","id":1}`,
		`{"id": 1, "list": [{"Password": 7}]}`:  `{"id":1,"list":[{"Password":"***"}]}`,
		`{"token": null}`:                       `{"token": null}`,
		`["2026-11-28T00:00:00Z", 7]`:           `["2026-11-28T00:00:00Z", 7]`,
		`{"next":"https://h/a?page=2&token=x"}`: `{"next":"https://h/a?page=2\u0026token=***"}`,
		`"{\"secret\":\"x\"}"`:                  `"{\"secret\":\"***\"}"`,
		`"{\"secret\":\"x\""`:                   `"***"`,
		`12345678901234567890`:                  `12345678901234567890`,
		``:                                      ``,
	} {
		require.Equal(t, want, string(m.JSON(json.RawMessage(data))), data)
	}
	require.JSONEq(t, `{"id":"***","token":"x"}`, string(mask.New(regexp.MustCompile(`^id$`)).JSON(json.RawMessage(`{"id":1,"token":"x"}`))))
}

func TestText(t *testing.T) {
	t.Parallel()
	m := mask.New(nil)
	for text, want := range map[string]string{
		`get https://h/a?api_key=s3&page=2: 401`:                `get https://h/a?api_key=***&page=2: 401`,
		`the record {"token":"s3","id":1} does not fit`:         `the record {"token":***,"id":1} does not fit`,
		`the record {\"token\": \"s3\", \"id\":1} does not fit`: `the record {\"token\": ***, \"id\":1} does not fit`,
		`column "password": "hunter2" is not a valid int64`:     `column "password": *** is not a valid int64`,
		`column "amount": "x" is not a valid int64`:             `column "amount": "x" is not a valid int64`,
		`dial postgres://ada:s3cret@db/shop: refused`:           `dial postgres://ada:***@db/shop: refused`,
		`header Authorization Bearer abc.def: 403`:              `header Authorization Bearer ***: 403`,
		`dial postgres://ada:s3c@ret@db/shop: refused`:          `dial postgres://ada:***@db/shop: refused`,
		`from https://a:b@c/d to https://e:f@g/h`:               `from https://a:***@c/d to https://e:***@g/h`,
		`Key (token)=(abc) already exists.`:                     `Key (token)=(***) already exists.`,
		`Key (id, api_key)=(7, a) b, c) already exists.`:        `Key (id, api_key)=(***) already exists.`,
		`Key (lower(token))=(abc) already exists.`:              `Key (lower(token))=(***) already exists.`,
		`Schlüssel »(token)=(abc)« existiert bereits.`:          `Schlüssel »(token)=(***)« existiert bereits.`,
		`Key (email)=(a@b) already exists.`:                     `Key (email)=(a@b) already exists.`,
		`Duplicate entry 'it's' for key 'users.api_token'`:      `Duplicate entry *** for key 'users.api_token'`,
		`Duplicate entry 'a@b' for key 'users.email'`:           `Duplicate entry 'a@b' for key 'users.email'`,
		`the token is expired: ask for another`:                 `the token is expired: ask for another`,
		`[OPS-12] rotate the token`:                             `[OPS-12] rotate the token`,
		`[7] token=abc, "secret": "x"`:                          `[7] token=***, "secret": ***`,
		`[{"token": "abc`:                                       `***`,
		`["token", "abc`:                                        `***`,
		`x {"at":"http://u:p@h","by":"a@b.c"}`:                  `x {"at":"http://u:***@h","by":"a@b.c"}`,
		`postgres://ada:a"b@c@@d"@db: refused`:                  `postgres://ada:***@d"@db: refused`,
		`postgres://ada:@b@db, ada:@db`:                         `postgres://ada:***@db, ada:@db`,
		`postgres://ada:@db`:                                    `postgres://ada:@db`,
		// Several in one text, as of errors that are joined.
		"Key (id)=(7) exists.\nKey (token)=(abc) exists.":                       "Key (id)=(7) exists.\nKey (token)=(***) exists.",
		`f(a)=(b): Key (lower((token)::text))=(abc) exists.`:                    `f(a)=(b): Key (lower((token)::text))=(***) exists.`,
		"Key (COALESCE(lower((token)::text), ''::text), id)=(a, 1) is":          "Key (COALESCE(lower((token)::text), ''::text), id)=(***) is",
		`:-) :-) Key (id)=((7) exists; Key (lower((id)::text))=(7) is`:          `:-) :-) Key (id)=((7) exists; Key (lower((id)::text))=(7) is`,
		"Duplicate entry 'a' for key 'token', Duplicate entry 'b' for key 'id'": "Duplicate entry *** for key 'token', Duplicate entry *** for key 'id'",
		"Duplicate entry 'b' for key 'id', Duplicate entry 'a' for key 'token'": "Duplicate entry *** for key 'id', Duplicate entry *** for key 'token'",
		"Duplicate entry 'a' for key 'id', Duplicate entry 'b' for key 'x'":     "Duplicate entry 'a' for key 'id', Duplicate entry 'b' for key 'x'",
	} {
		require.Equal(t, want, m.Text(text), text)
	}
	for _, text := range []string{"(", "()=(", ")=(", "Duplicate entry '", "(a(b))=(c) "} { // it takes no time that grows with the square
		require.NotPanics(t, func() { m.Text(strings.Repeat(text, 1<<16)) })
	}
	require.Equal(t, `Key (a, id)=(***) exists`, mask.New(regexp.MustCompile(`^id$`)).Text(`Key (a, id)=(1, 2) exists`))
}

// What was hidden must not be stored for the true value.
func TestHidden(t *testing.T) {
	t.Parallel()
	m := mask.New(nil)
	require.True(t, m.Hidden(json.RawMessage(`{"id": 1, "token": "***"}`)))
	require.True(t, m.Hidden(json.RawMessage(`{"id": 1, "token": "***", "password": "x", "note": "***"}`)))
	require.True(t, m.Hidden(json.RawMessage(`{"next": "https://h/a?token=***"}`)))
	require.False(t, m.Hidden(json.RawMessage(`{"id": 1, "token": "x"}`)))
	require.False(t, m.Hidden(json.RawMessage(`{"note": "***"}`)))
	require.False(t, m.Hidden(json.RawMessage(`7`)))
}
