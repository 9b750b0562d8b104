package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm asks before something destructive is done, unless --yes is given.
func (a *app) confirm(ctx context.Context, what string) error {
	if a.yes {
		return nil
	}
	if !a.Ask {
		return usage("%s There is no terminal to ask on: use --yes to do it", what)
	}
	_, _ = fmt.Fprintf(a.Err, "%s Go on? [y/N] ", clean(a.redact(what)))
	answered := make(chan string, 1)
	go func() { // a read from a terminal cannot be interrupted
		line, _ := bufio.NewReader(a.In).ReadString('\n')
		answered <- line
	}()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w: nothing was done", errInterrupted)
	case line := <-answered:
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		case "":
			if !strings.HasSuffix(line, "\n") { // the end of the input, not an empty answer
				return usage("nobody answered: use --yes to do it")
			}
		}
		return refused("nothing was done")
	}
}
