package dataflowpgx

import (
	"encoding/json"
	"slices"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// A database of another encoding than UTF-8 refuses a text with a character that its encoding lacks,
// such as LATIN1 of Chinese. An error may quote any record, and a key may name any file. So once a text was refused,
// the texts of errors, the keys of dead letters and cursors are stored with escapes.

// lackError says that a text was refused which was not escaped. The next try escapes it.
type lackError struct{ err error }

func (e *lackError) Error() string { return e.err.Error() }
func (e *lackError) Unwrap() error { return e.err }

// lacks looks whether the database has refused a text. narrow says that the texts were escaped.
func (s *server) lacks(narrow bool, err error) error {
	if narrow || !sqlstate.Has(err, sqlstate.Untranslatable) {
		return err
	}
	s.narrow.Store(true)
	return &lackError{err: err}
}

// storable escapes all characters of a text but ASCII, as JSON would, if the database is narrow.
func storable(narrow bool, text string) string {
	if !narrow {
		return text
	}
	return driverkit.Escaped(text)
}

// storableJSON is storable for JSON, which has the same escapes.
func storableJSON(narrow bool, raw json.RawMessage) *string {
	text := nullJSON(raw)
	if text != nil {
		*text = storable(narrow, *text)
	}
	return text
}

// storableEnd does the same to the error of an attempt that ends.
func storableEnd(narrow bool, p *dataflow.RunEndParams) *dataflow.RunEndParams {
	if !narrow || p.Error == nil {
		return p
	}
	end, failed := *p, *p.Error
	failed.Error, failed.Stack = storable(narrow, failed.Error), storable(narrow, failed.Stack)
	end.Error = &failed
	return &end
}

// storableJobs does the same to the errors of River jobs that end. Their column is jsonb, which refuses
// JSON's own escapes, too.
func storableJobs(narrow bool, p *riverdriver.JobSetStateIfRunningManyParams) *riverdriver.JobSetStateIfRunningManyParams {
	if !narrow {
		return p
	}
	ends := *p
	ends.ErrData = slices.Clone(p.ErrData)
	for i, data := range ends.ErrData {
		var failed rivertype.AttemptError
		if data == nil || json.Unmarshal(data, &failed) != nil {
			continue
		}
		failed.Error, failed.Trace = storable(narrow, failed.Error), storable(narrow, failed.Trace)
		if escaped, err := json.Marshal(&failed); err == nil {
			ends.ErrData[i] = escaped
		}
	}
	return &ends
}
