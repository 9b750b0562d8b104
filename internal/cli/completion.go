package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/jsonview"
)

// completionExamples adds examples to the completion commands, which cobra makes.
func (a *app) completionExamples(root *cobra.Command) {
	name := a.program.Name
	for shell, rest := range map[string]string{
		"":           "bash",
		"bash":       "bash > /etc/bash_completion.d/" + name,
		"zsh":        `zsh > "${fpath[1]}/_` + name + `"`,
		"fish":       "fish > ~/.config/fish/completions/" + name + ".fish",
		"powershell": "powershell | Out-String | Invoke-Expression",
	} {
		cmd, _, err := root.Find(strings.Fields("completion " + shell))
		if err == nil {
			a.example(cmd, "completion "+rest)
		}
	}
}

// completeFlows proposes the names of flows to the shell, if the database answers.
func (a *app) completeFlows(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	propose := a.on(func(ctx context.Context, s *session, _ []string) error {
		flows, err := s.flows(ctx, "")
		names = jsonview.All(flows, func(f *dataflow.Flow) string { return f.Name })
		return err
	})
	if len(args) > 0 || propose(cmd, nil) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
