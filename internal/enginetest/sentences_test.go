package enginetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// The most words that a sentence of the pages, and that ARCHITECTURE.md, may have.
const (
	mostWords             = 35
	mostArchitectureWords = 1800
)

// pages returns the Markdown files that people read.
func pages(t *testing.T) []string {
	t.Helper()
	files := []string{"../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md", "../../SECURITY.md", "../../connector/README.md"}
	for _, pattern := range []string{"../../docs/*.md", "../../docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found, pattern)
		files = append(files, found...)
	}
	return files
}

func TestPages_Sentences(t *testing.T) {
	t.Parallel()
	var offenders []string
	for _, file := range pages(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all := sentences(string(text))
		require.NotEmpty(t, all, file)
		for _, s := range all {
			if n := words(s); n > mostWords {
				offenders = append(offenders, fmt.Sprintf("%s: %d words: %s", file, n, s))
			}
		}
	}
	require.Empty(t, offenders, "sentences of more than %d words: split them, one condition a sentence, or make a list:\n\n%s", mostWords, strings.Join(offenders, "\n\n"))
}

func TestPages_Architecture(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	require.NoError(t, err)
	require.LessOrEqual(t, len(strings.Fields(string(text))), mostArchitectureWords, "move the depth to docs/internals")
}

// Two branches that add the same line are merged without a conflict.
func TestPages_Changelog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../CHANGELOG.md")
	require.NoError(t, err)
	entries := strings.Split(string(text), "\n- ")
	require.Greater(t, len(entries), 100)
	seen := make(map[string]bool)
	for _, e := range entries {
		begin := e[:min(len(e), 60)]
		require.False(t, seen[begin], "two entries begin alike: %s", begin)
		seen[begin] = true
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	comment   = regexp.MustCompile(`(?s)<!--.*?-->`)
	code      = regexp.MustCompile("``[^`]+(`[^`]+)*``|`[^`]*`")
	link      = regexp.MustCompile(`!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])`)
	listItem  = regexp.MustCompile(`^\s*([-*+]|\d+[.)])\s+`)
	// A sentence ends at a mark that is followed by what may begin another one.
	sentenceEnd = regexp.MustCompile(`[.!?]["')\]]*\s+["'(\[]*[\p{Lu}\d]`)
	// What looks like the end of a sentence, and is none.
	abbreviation = regexp.MustCompile(`(^|[\s(])(e\.g|i\.e|vs|cf|No)\.$`)
)

// sentences returns the sentences of a page: of its paragraphs, of its list items, and of
// the cells of its tables. Code blocks, comments and headings have none.
func sentences(page string) []string {
	page = comment.ReplaceAllString(codeBlock.ReplaceAllString(page, ""), "")
	var all []string
	var block strings.Builder
	flush := func() {
		all = append(all, split(block.String())...)
		block.Reset()
	}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(strings.TrimLeft(strings.TrimRight(line, "\n"), "> "))
		switch {
		case line == "", strings.HasPrefix(line, "#"):
			flush()
		case strings.HasPrefix(line, "|"):
			flush()
			for _, cell := range strings.Split(code.ReplaceAllString(line, "Code"), "|") {
				all = append(all, split(cell)...)
			}
		case listItem.MatchString(line):
			flush()
			block.WriteString(listItem.ReplaceAllString(line, ""))
		default:
			block.WriteString(" " + line)
		}
	}
	flush()
	return all
}

// split returns the sentences of a paragraph. A piece of code is a word, and of a link only
// its text is read.
func split(text string) []string {
	text = link.ReplaceAllString(code.ReplaceAllString(text, "Code"), "$1")
	text = strings.NewReplacer("**", "", "*", "").Replace(text)
	var all []string
	add := func(s string) {
		if s = strings.Join(strings.Fields(s), " "); words(s) > 0 {
			all = append(all, s)
		}
	}
	begin := 0
	for _, m := range sentenceEnd.FindAllStringIndex(text, -1) {
		end := m[0] + 1
		if abbreviation.MatchString(text[begin:end]) {
			continue
		}
		add(text[begin:end])
		begin = end
	}
	add(text[begin:])
	return all
}

// words counts what has a letter or a digit.
func words(sentence string) int {
	n := 0
	for _, field := range strings.Fields(sentence) {
		if strings.ContainsFunc(field, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}

func TestSentences(t *testing.T) {
	t.Parallel()
	page := "# A heading of no sentence\n\nOne `a. B c` two.\nThree, e.g. Four! **Five.** (Six.)\n\n" +
		"```go\nnot.A(\"sentence\")\n```\n\n- Seven\n  eight: nine.\n- [Ten](https://example.com/a.%20B)\n1. Eleven 1.2 twelve\n\n" +
		"| Thirteen. Fourteen | `a|b` |\n|---|---|\n\n<!-- hidden -->\n> Fifteen\n> — sixteen\n"
	require.Equal(t, []string{
		"One Code two.", "Three, e.g. Four!", "Five.", "(Six.)", "Seven eight: nine.", "Ten", "Eleven 1.2 twelve",
		"Thirteen.", "Fourteen", "Code", "Fifteen — sixteen",
	}, sentences(page))
	require.Equal(t, 2, words("Fifteen — sixteen"))
}
