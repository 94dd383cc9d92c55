package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestReference: docs/reference/cli.md says what the program says. With -update it is written anew.
func TestReference(t *testing.T) {
	file := filepath.Join(root, "docs", "reference", "cli.md")
	want := reference(newRoot())
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := gocmp.Diff(want, strings.ReplaceAll(string(got), "\r\n", "\n")); d != "" {
		t.Errorf("docs/reference/cli.md is stale (make generate):\n%s", d)
	}
}

// reference is the page of a command and the commands below it.
func reference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Command line\n\n<!-- Generated from the commands themselves by make generate. -->\n\n%s\n\n", root.Long)
	b.WriteString("| command | what it does |\n|---|---|\n")
	commands := shown(root)
	for _, c := range commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	}
	b.WriteString("\nEvery command has `--help`.\n\n")
	b.WriteString("| exit code | meaning |\n|---|---|\n")
	fmt.Fprintf(&b, "| %d | as it should be |\n| %d | something went wrong while running |\n", exitOK, exitFailure)
	fmt.Fprintf(&b, "| %d | a mistake in the documents or on the command line |\n", exitMistake)
	for _, c := range commands {
		section(&b, c)
	}
	return b.String()
}

// shown are the commands below one, each before those below it.
func shown(root *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			all = append(append(all, c), shown(c)...)
		}
	}
	return all
}

func section(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
	fmt.Fprintf(b, "```text\n%s\n```\n\n%s\n", c.UseLine(), prose(cmp.Or(c.Long, c.Short+".")))
	var rows []string
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden {
			rows = append(rows, row(f))
		}
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "\n| flag | default | meaning |\n|---|---|---|\n%s", strings.Join(rows, ""))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
}

// prose is a help text as Markdown: what is indented in it becomes a block, and the exit codes a list.
func prose(help string) string {
	var out []string
	for _, part := range strings.Split(help, "\n\n") {
		codes, isCodes := strings.CutPrefix(part, "Exit codes: ")
		switch {
		case strings.HasPrefix(part, "  "):
			part = "```text\n" + strings.ReplaceAll(strings.TrimPrefix(part, "  "), "\n  ", "\n") + "\n```"
		case isCodes:
			codes = strings.TrimSuffix(strings.ReplaceAll(codes, "\n", " "), ".")
			part = "Exit codes:\n"
			for code := range strings.SplitSeq(codes, "; ") {
				number, meaning, _ := strings.Cut(code, " ")
				part += "\n- `" + number + "`: " + meaning
			}
		}
		out = append(out, part)
	}
	return strings.Join(out, "\n\n")
}

func row(f *pflag.Flag) string {
	name, usage := pflag.UnquoteUsage(f)
	flag := "--" + f.Name
	if f.Shorthand != "" {
		flag = "-" + f.Shorthand + ", " + flag
	}
	if name != "" {
		flag += " " + name
	}
	value := f.DefValue
	switch value {
	case "", "[]", "false":
		value = "" // not set; the meaning tells what then
	default:
		value = "`" + value + "`"
	}
	escape := strings.NewReplacer("|", `\|`, "*", `\*`)
	return fmt.Sprintf("| `%s` | %s | %s |\n", strings.ReplaceAll(flag, "|", `\|`), value, escape.Replace(usage))
}

// TestHelpIsPlain: every command says how it ends, or can't fail, and every flag has a meaning.
func TestHelpIsPlain(t *testing.T) {
	for _, c := range shown(newRoot()) {
		if c.Name() != "version" && !strings.Contains(c.Long, "\n\nExit codes: 0 ") {
			t.Errorf("%s does not tell its exit codes", c.CommandPath())
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len(line) > 120 {
				t.Errorf("%s: a line of %d characters: %s", c.CommandPath(), len(line), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no meaning", c.CommandPath(), f.Name)
			}
		})
	}
}
