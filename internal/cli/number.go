package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

var errEmptyFlag = errors.New("it is empty: give a value, or leave the flag out")

// filled is a flag that takes a text, and refuses an empty one.
type filled struct{ to *string }

func (f filled) String() string { return "" }
func (f filled) Type() string   { return "string" }

func (f filled) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errEmptyFlag
	}
	*f.to = text
	return nil
}

// pageMost is the most that lists and previews show at once.
const pageMost = 10_000

// number is a flag that takes a number in a range. It refuses anything else, even if the
// command would not use the value.
type number[T int | int64] struct {
	to          *T
	least, most T
}

// numberFlag adds a number to a command's flags. name may include a short form, as in
// "name,n".
func numberFlag[T int | int64](cmd *cobra.Command, to *T, name string, value, least, most T, help string) {
	*to = value
	name, short, _ := strings.Cut(name, ",")
	cmd.Flags().VarP(&number[T]{to: to, least: least, most: most}, name, short, help)
}

// limitFlag adds --limit.
func limitFlag(cmd *cobra.Command, to *int, value int, help string) {
	numberFlag(cmd, to, "limit", value, 1, pageMost, help)
}

// idFlag adds a flag that takes the id of a row.
func idFlag(cmd *cobra.Command, to *int64, name, help string) {
	numberFlag(cmd, to, name, 0, 1, math.MaxInt64, help)
}

func (n *number[T]) String() string {
	if n.to == nil { // pflag makes a zero value to find out whether a default is zero
		return "0"
	}
	return strconv.FormatInt(int64(*n.to), 10)
}

func (*number[T]) Type() string { return "int" }

func (n *number[T]) Set(text string) error {
	i, err := parseNumber(text, int64(n.least), int64(n.most))
	if err == nil {
		*n.to = T(i)
	}
	return err
}

func parseNumber(text string, least, most int64) (int64, error) {
	i, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case (err != nil || i < least) && most == math.MaxInt64:
		return 0, fmt.Errorf("use a number from %d on", least)
	case err != nil || i < least || i > most:
		return 0, fmt.Errorf("use a number from %d to %d", least, most)
	}
	return i, nil
}

// idList is a flag that takes ids of rows, separated by commas. It can be repeated.
type idList struct{ to *[]int64 }

func (l idList) String() string { return "" }
func (l idList) Type() string   { return "ints" }

func (l idList) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		id, err := parseNumber(part, 1, math.MaxInt64)
		if err != nil {
			return err
		}
		*l.to = append(*l.to, id)
	}
	return nil
}

// priorityMost is the highest number among River's priorities, which is the lowest priority.
const priorityMost = 4
