package driverkit

import (
	"encoding/json"

	"github.com/activedataflow/dataflow"
)

// EndTexts returns what RunEnd stores of its error: the run's last error, "" to keep the one
// before if the attempt is given back, and the entry for the list of failed attempts, nil for
// none. A run that waits as a server asked has an error, and no failed attempt.
func EndTexts(p *dataflow.RunEndParams) (message string, entry *string, err error) {
	if p.Error == nil {
		return "", nil, nil
	}
	if !p.Refund || !p.Rescue {
		message = p.Error.Error
	}
	if p.Refund && !p.Rescue {
		return message, nil, nil
	}
	data, err := json.Marshal(p.Error)
	text := string(data)
	return message, &text, err
}

// EndRounds divides ends into rounds, each of which has at most one run of a flow. It returns
// the places of the ends.
func EndRounds(ends []*dataflow.RunEndParams) [][]int {
	var rounds [][]int
	of := make(map[int64]int, len(ends))
	for i, p := range ends {
		round := of[p.FlowID]
		of[p.FlowID]++
		if round == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[round] = append(rounds[round], i)
	}
	return rounds
}
