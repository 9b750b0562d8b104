package jsonrpc

import (
	"encoding/json"
	"slices"
)

// named is a record that an error names, with its own error.
type named struct {
	index int
	err   error
}

// place identifies a record in an error's data.
type place struct {
	Index   *int   `json:"index"`
	Key     string `json:"key"`
	Message string `json:"message"`
}

// records returns the records of a batch of n rows that the error's data names. It
// returns none if any of them is not in the batch: the data then means something
// else.
func (e *Error) records(keys []string, n int) []named {
	var data struct {
		place
		Errors []place `json:"errors"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return nil
	}
	places := data.Errors
	if len(places) == 0 {
		places = []place{data.place}
	}
	var list []named
	for _, p := range places {
		at := -1
		switch {
		case p.Index != nil:
			at = *p.Index
		case p.Key != "":
			at = slices.Index(keys, p.Key)
		}
		if at < 0 || at >= n {
			return nil
		}
		err := *e
		if p.Message != "" {
			err.Message = p.Message
		}
		list = append(list, named{index: at, err: &err})
	}
	return list
}
