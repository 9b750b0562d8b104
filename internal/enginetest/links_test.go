package enginetest_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// markdown returns the Markdown files of the repository by their paths from its root.
func markdown(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "../.." && strings.HasPrefix(entry.Name(), "."), entry.IsDir() && entry.Name() == "node_modules":
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(filepath.ToSlash(path), "../../")] = string(text)
		return err
	}))
	return files
}

var (
	inlineLink   = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)`)
	linkTarget   = regexp.MustCompile(`(?m)^\[[^\]]+\]:\s*(\S+)`)
	heading      = regexp.MustCompile(`(?m)^#{1,6} +(.+?)(?: +#+)?$`)
	elsewhereURL = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`) // such as https: and mailto:
)

// links returns the targets of a page's links and images that are in the repository.
func links(page string) []string {
	page = comment.ReplaceAllString(code.ReplaceAllString(codeBlock.ReplaceAllString(page, ""), ""), "")
	var targets []string
	for _, pattern := range []*regexp.Regexp{inlineLink, linkTarget} {
		for _, match := range pattern.FindAllStringSubmatch(page, -1) {
			if !elsewhereURL.MatchString(match[1]) {
				targets = append(targets, match[1])
			}
		}
	}
	return targets
}

// anchors returns the names that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	names := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		text := strings.ReplaceAll(link.ReplaceAllString(match[1], "$1"), "`", "")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, text)
		unique := name
		for n := 1; names[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", name, n)
		}
		names[unique] = true
	}
	return names
}

// brokenLinks returns what is wrong with the links of a page.
func brokenLinks(pages map[string]string, name string) []string {
	var broken []string
	for _, target := range links(pages[name]) {
		path, anchor, _ := strings.Cut(target, "#")
		path, err := url.PathUnescape(path)
		file := filepath.ToSlash(filepath.Join(filepath.Dir(name), path))
		if path == "" {
			file = name
		}
		if err == nil {
			_, err = os.Stat(filepath.Join("../..", file))
		}
		switch page, known := pages[file]; {
		case err != nil:
			broken = append(broken, fmt.Sprintf("%s: %s: %v", name, target, err))
		case anchor != "" && known && !anchors(page)[anchor]:
			broken = append(broken, fmt.Sprintf("%s: %s: there is no such heading", name, target))
		}
	}
	return broken
}

func TestPages_Links(t *testing.T) {
	t.Parallel()
	pages := markdown(t)
	require.Contains(t, pages, "README.md")
	require.Contains(t, pages, "docs/internals/commit.md")
	var broken []string
	for name := range pages {
		broken = append(broken, brokenLinks(pages, name)...)
	}
	require.Empty(t, broken, strings.Join(broken, "\n"))
}

// The index of the manual lists every page.
func TestPages_Index(t *testing.T) {
	t.Parallel()
	pages := markdown(t)
	listed := make(map[string]bool)
	for _, target := range links(pages["docs/README.md"]) {
		path, _, _ := strings.Cut(target, "#")
		listed[filepath.ToSlash(filepath.Join("docs", path))] = true
	}
	for name := range pages {
		if strings.HasPrefix(name, "docs/") && name != "docs/README.md" {
			require.True(t, listed[name], "docs/README.md does not list %s", name)
		}
	}
}

// A test that a page names exists.
func TestPages_Tests(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	contract := flattened(t, "../../connector/connectortest/sink.go") + flattened(t, "../../connector/connectortest/source.go") + flattened(t, "../../connector/connectortest/fenced.go")
	for name, page := range markdown(t) {
		for _, match := range regexp.MustCompile("`(Test[A-Z]\\w*)`").FindAllStringSubmatch(page, -1) {
			require.True(t, tests[match[1]] || strings.Contains(contract, "func "+match[1]), "%s names %s, which is not there", name, match[1])
		}
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	pages := map[string]string{
		"docs/README.md": "# Here\n[a](../README.md#what-it-guarantees) ![b](images/none.png \"title\") [c](#there) [d](https://example.com/x) `[e](f)`\n" +
			"```text\n[g](h)\n```\n[i]\n\n[i]: none.md\n[j](../ARCHITECTURE.md#x)",
		"README.md": "## What it guarantees\n## `Code`, [links](x.md) & more!\n## What it guarantees\n",
	}
	require.Equal(t, []string{"../README.md#what-it-guarantees", "images/none.png", "#there", "../ARCHITECTURE.md#x", "none.md"}, links(pages["docs/README.md"]))
	require.Equal(t, map[string]bool{"what-it-guarantees": true, "code-links--more": true, "what-it-guarantees-1": true}, anchors(pages["README.md"]))
	broken := brokenLinks(pages, "docs/README.md")
	require.Len(t, broken, 3)
	require.Contains(t, broken[0], "docs/README.md: images/none.png: ")
	require.Contains(t, broken[1], "#there: there is no such heading")
	require.Contains(t, broken[2], "none.md: ")
}
