package cedar_test

import (
	"fmt"
	"strings"
)

// ask is a question about a value that is mostly of a type, in brackets where it must be.
func (w writer) ask(k kind, value string) string {
	switch k {
	case boolean:
		return w.pick("("+value+")", "!("+value+")", "("+value+" == true)", "("+value+" != false)")
	case long:
		return "(" + value + w.pick(" < ", " <= ", " > ", " >= ", " == ", " != ") + w.expression(long, 1) + ")"
	case text:
		if w.chance(50) {
			return "(" + value + " like " + w.pick(`"*"`, `"a*"`, `"*e*r"`, `"s3://*/k"`, `"x\*y"`, `"*\u{e9}"`, `""`) + ")"
		}
		return "(" + value + " == " + quoted(words[w.IntN(len(words))]) + ")"
	case decimal:
		if w.chance(60) {
			return value + "." + w.pick("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual") + "(" + w.expression(decimal, 0) + ")"
		}
		return "(" + value + " == " + w.expression(decimal, 0) + ")"
	case set:
		return w.askSet(value)
	case record:
		return w.askRecord(value)
	}
	switch w.IntN(5) {
	case 0:
		return "(" + value + " in " + w.one("") + ")"
	case 1:
		return "(" + value + " is " + w.pick("Client", "Tool", "Prompt", "Action") + ")"
	case 2:
		return "(" + value + " has " + w.pick("arg_n", "claim_team", "limit", "name", "readOnlyHint") + ")"
	case 3:
		return "(" + value + " in [" + w.one("") + ", " + w.expression(entity, 1) + "])"
	}
	return "(" + value + " == " + w.expression(entity, 1) + ")"
}

func (w writer) askSet(value string) string {
	switch w.IntN(6) {
	case 0:
		return value + ".containsAll(" + w.expression(set, 1) + ")"
	case 1:
		return value + ".containsAny(" + w.expression(set, 1) + ")"
	case 2:
		return value + ".isEmpty()"
	case 3:
		return "(" + value + " == " + w.expression(set, 1) + ")"
	}
	return value + ".contains(" + w.expression(kind(w.IntN(int(kinds))), 1) + ")"
}

func (w writer) askRecord(value string) string {
	if strings.HasSuffix(value, "arg_deep") && w.chance(70) {
		path := value + strings.Repeat(".low", max(w.IntN(12), w.IntN(11)))
		return "(" + path + " has " + w.pick("low", "at", "low_present") + " && " + w.ask(long, path+".at") + ")"
	}
	inner := w.pick("name", "tier", "mode", "depth", "at", "roles", "low")
	switch w.IntN(5) {
	case 0:
		return "(" + value + " has " + inner + ")"
	case 1:
		return "(" + value + " has " + inner + "." + w.pick("x", "low", "low_present") + ")"
	case 2:
		return "(" + value + " has " + inner + " && " + w.ask(text, value+"."+inner) + ")"
	case 3:
		return "(" + value + " == " + w.expression(record, 1) + ")"
	}
	return w.ask(kind(w.IntN(int(set))), value+"."+inner)
}

// expression is one that mostly has a type.
func (w writer) expression(k kind, depth int) string {
	if w.chance(4) {
		k = kind(w.IntN(int(kinds)))
	}
	if w.chance(30) {
		if a := attributes[w.IntN(len(attributes))]; a.kind == k {
			return a.read(w.holder(a, depth))
		}
	}
	if depth > 0 && w.chance(8) {
		return "(if " + w.boolean(depth-1) + " then " + w.expression(k, depth-1) + " else " + w.expression(k, depth-1) + ")"
	}
	switch k {
	case boolean:
		return w.boolean(depth)
	case long:
		return w.long(depth)
	case text:
		return quoted(words[w.IntN(len(words))])
	case decimal:
		if w.chance(15) {
			return "decimal(" + w.pick("context.arg_path", "principal.claim_team", `(if true then "1.23456" else "1.0")`) + ")"
		}
		return `decimal("` + w.pick("0.5", "1.0", "-2.25", "0.1234", "100.0", "3.0", "922337203685477.5807") + `")`
	case set:
		members := make([]string, w.IntN(4))
		for i := range members {
			members[i] = w.expression(kind(w.IntN(int(kinds))), depth-1)
			if w.chance(70) {
				members[i] = quoted(words[w.IntN(len(words))])
			}
		}
		return "[" + strings.Join(members, ", ") + "]"
	case record:
		return w.record(depth)
	default:
		return w.entity(depth)
	}
}

// holder is an expression for what has the attribute: mostly the variable, or else something that may be the same.
func (w writer) holder(a attribute, depth int) string {
	switch {
	case !w.chance(25):
		return a.on
	case a.on == "context":
		return w.pick("(if true then context else context)", "{c: context}.c", `{"a b": context}["a b"]`)
	case w.chance(50) || depth <= 0:
		return w.one(map[string]string{"principal": "Client", "resource": "Resource"}[a.on])
	}
	return "(" + w.entity(depth-1) + ")"
}

func (w writer) long(depth int) string {
	if depth > 0 && w.chance(30) {
		return "(" + w.expression(long, depth-1) + " " + w.pick("+", "-", "*") + " " + w.expression(long, depth-1) + ")"
	}
	if depth > 0 && w.chance(10) {
		return "-(" + w.expression(long, depth-1) + ")"
	}
	return w.pick("0", "1", "5", "(-3)", "42", "100", "9007199254740993", "9223372036854775807", "(-9223372036854775808)")
}

func (w writer) record(depth int) string {
	if w.chance(15) {
		return "context"
	}
	var members []string
	for _, name := range w.some(40, "name", "tier", `"a b"`, "mode") {
		members = append(members, name+": "+w.expression(kind(w.IntN(int(kinds))), depth-1))
	}
	return "{" + strings.Join(members, ", ") + "}"
}

func (w writer) entity(depth int) string {
	switch {
	case depth > 0 && w.chance(15):
		return "(if " + w.boolean(depth-1) + " then principal else resource)"
	case w.chance(15):
		return w.pick("principal.boss", "principal.claim_boss", "resource.owner")
	case w.chance(50):
		return w.pick("principal", "resource", "action")
	}
	return w.one("")
}

// boolean is an expression that is mostly true or false.
func (w writer) boolean(depth int) string {
	if depth <= 0 {
		if w.chance(40) {
			return w.pick("true", "false")
		}
		return w.question(attributes[w.IntN(len(attributes))])
	}
	switch w.IntN(10) {
	case 0, 1:
		return "(" + w.boolean(depth-1) + " && " + w.boolean(depth-1) + ")"
	case 2, 3:
		return "(" + w.boolean(depth-1) + " || " + w.boolean(depth-1) + ")"
	case 4:
		return "!(" + w.boolean(depth-1) + ")"
	case 5:
		return fmt.Sprintf("(if %s then %s else %s)", w.boolean(depth-1), w.boolean(depth-1), w.boolean(depth-1))
	case 6:
		k := kind(w.IntN(int(kinds)))
		return "(" + w.expression(k, depth-1) + " " + w.pick("==", "!=") + " " + w.expression(k, depth-1) + ")"
	case 7:
		tag := w.expression(text, 0)
		on := w.pick("principal", "resource", w.one(""))
		return "(" + on + ".hasTag(" + tag + ") && " + w.ask(text, on+".getTag("+tag+")") + ")"
	}
	k := kind(w.IntN(int(kinds)))
	return w.ask(k, w.expression(k, depth-1))
}
