package mcp

import "math"

// mostOpen bounds the nesting of an answer; the message itself is at depth 1.
const mostOpen = 256

// step is what may come next in a message, or what is being read.
type step uint8

const (
	atValue     step = iota
	atFirstItem      // or ]
	atFirstName      // or }
	atName
	afterName // a colon
	afterItem // a comma, or the end of what is open
	atEnd     // nothing but space
	inString
	inName // one that may matter
	inWord
	inNumber
	noJSON
)

// gist is what becomes known of one message while its bytes pass: the grammar here, the meaning in outcome.go. What
// takes p and i goes through p from there, and gives the index of the first byte that it has not taken. The zero gist
// stands before the message.
type gist struct {
	step   step
	then   step  // after the string
	escape uint8 // in an escape: 1 after the backslash, 2 and the digits so far after the u
	number numberStep
	digits [4]byte // of the escape
	depth  uint16  // how much is open
	word   string  // the rest of true, false or null
	spelt  uint64  // the name so far, as pack has it
	member member  // whose value comes, in an object whose members matter
	parent member  // in what the value at depth 2 stands

	result, failure, toolFailure, method bool // what the message has

	object   bool   // the innermost of what is open is an object
	coded    bool   // there is a code
	coding   bool   // the number may be one
	negative bool   // it is, if it is one
	code     uint64 // the magnitude so far; the code itself, as two's complement, when it is known

	open [mostOpen / 64]uint64 // a bit for each object and array that is open: 1 for an object
}

// write takes the next bytes of the message.
func (g *gist) write(p []byte) {
	for i := 0; i < len(p); {
		i = g.next(p, i)
	}
}

// next takes the next bytes of one step.
func (g *gist) next(p []byte, i int) int {
	switch g.step {
	case inString:
		return g.readString(p, i)
	case inName:
		return g.readName(p, i)
	case inWord:
		return g.readWord(p, i)
	case inNumber:
		return g.readNumber(p, i)
	case noJSON:
		return len(p)
	default:
		return g.readTokens(p, i)
	}
}

// readTokens goes through what stands between words, numbers and strings, and through those too that are whole in p
// and plain.
func (g *gist) readTokens(p []byte, i int) int {
	for i < len(p) && g.step <= atEnd {
		c := p[i]
		i++
		switch chars[c] {
		case charSpace:
			for i < len(p) && p[i] == ' ' {
				i++
			}
		case charColon:
			if g.step != afterName {
				g.step = noJSON
				break
			}
			g.step = atValue
		case charComma:
			switch {
			case g.step != afterItem:
				g.step = noJSON
			case g.object:
				g.step = atName
			default:
				g.step = atValue
			}
		case charQuote:
			i = g.beginString(p, i)
		case charBegin:
			g.enter(c)
		case charEnd:
			g.leave(c)
		default:
			i = g.beginScalar(p, i-1)
		}
	}
	return i
}

// beginString is called after a quote. It goes on to the string's end if that is in p and there is no escape.
func (g *gist) beginString(p []byte, i int) int {
	switch {
	case g.step == atFirstName || g.step == atName:
		if g.matters() {
			g.step, g.spelt = inName, noName
			return i
		}
		g.then = afterName
	case g.value('"'):
		g.then = afterItem
	default:
		return i
	}
	i = plain(p, i)
	if i == len(p) || p[i] != '"' {
		g.step = inString
		return i
	}
	i++
	if g.step = g.then; g.step == afterName && i < len(p) && p[i] == ':' {
		g.step = atValue
		i++
	}
	return i
}

// enter is called where an object or an array begins.
func (g *gist) enter(c byte) {
	switch {
	case !g.value(c):
		return
	case g.depth == mostOpen:
		g.step = noJSON
		return
	}
	bit := uint64(1) << (g.depth % 64)
	if g.object = c == '{'; g.object {
		g.open[g.depth/64] |= bit
		g.step = atFirstName
	} else {
		g.open[g.depth/64] &^= bit
		g.step = atFirstItem
	}
	g.depth++
}

// leave is called where an object or an array ends.
func (g *gist) leave(c byte) {
	first := atFirstItem
	if c == '}' {
		first = atFirstName
	}
	if g.step != afterItem && g.step != first || g.object != (c == '}') {
		g.step = noJSON
		return
	}
	if g.depth--; g.depth == 0 {
		g.step = atEnd
	} else {
		g.step = afterItem
		g.object = g.open[(g.depth-1)/64]>>((g.depth-1)%64)&1 != 0
	}
}

// readString goes on in a string that is of no interest.
func (g *gist) readString(p []byte, i int) int {
	for i < len(p) && g.step == inString {
		if g.escape > 0 {
			g.readEscape(p[i])
			i++
			continue
		}
		if i = plain(p, i); i == len(p) {
			return i
		}
		switch c := p[i]; {
		case c == '"':
			g.step = g.then
		case c != '\\':
			g.step = noJSON
		case i+1 < len(p) && letters[p[i+1]]:
			i++
		case i+6 <= len(p) && p[i+1] == 'u' && hex4(p[i+2:]) >= 0:
			i += 5
		default:
			g.escape = 1
		}
		i++
	}
	return i
}

// letters are the bytes that are an escape after a backslash.
var letters = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// readName goes on in a name that may matter.
func (g *gist) readName(p []byte, i int) int {
	for i < len(p) && g.step == inName {
		c := p[i]
		i++
		switch {
		case g.escape > 0:
			if r := g.readEscape(c); g.escape == 0 {
				g.spell(r)
			}
		case c == '"':
			g.member, g.step = g.spelled(), afterName
		case c == '\\':
			g.escape = 1
		case c < ' ':
			g.step = noJSON
		default:
			g.spell(rune(c))
		}
	}
	return i
}

// readEscape takes the next byte of an escape, after its backslash. When that was the last, g.escape is 0; the result
// is then the code unit that was written in hexadecimal digits, or -1 for any other escape.
func (g *gist) readEscape(c byte) rune {
	switch {
	case g.escape > 1:
		g.digits[g.escape-2] = c
		if g.escape++; g.escape < 6 {
			break
		}
		if r := hex4(g.digits[:]); r >= 0 {
			g.escape = 0
			return r
		}
		g.step = noJSON
	case c == 'u':
		g.escape = 2
	case letters[c]:
		g.escape = 0
	default:
		g.step = noJSON
	}
	return -1
}

// spell takes the next character of a name, or -1 for one that stands in no name that matters.
func (g *gist) spell(r rune) {
	if g.spelt>>56 == 0 && r >= 0 && r < 0x80 {
		g.spelt = g.spelt<<8 | uint64(r)
		return
	}
	g.member, g.step, g.then = otherMember, inString, afterName
}

// beginScalar is called at the first byte of a number or a word, or at one that is none of JSON. It goes on to the end
// of a word, or of an integer that is no code, if that is in p.
func (g *gist) beginScalar(p []byte, i int) int {
	c := p[i]
	if !g.value(c) {
		return i
	}
	i++
	g.step = inWord
	switch c {
	case 't':
		g.word = "rue"
	case 'f':
		g.word = "alse"
	case 'n':
		g.word = "ull"
	default:
		if !g.beginNumber(c) {
			return i
		}
		for g.number == inInteger && !g.coding && i < len(p) && p[i]-'0' <= 9 {
			i++
		}
		return g.readNumber(p, i)
	}
	return g.readWord(p, i)
}

func (g *gist) readWord(p []byte, i int) int {
	n := min(len(g.word), len(p)-i)
	if string(p[i:i+n]) != g.word[:n] {
		g.step = noJSON
		return i
	}
	if g.word = g.word[n:]; g.word == "" {
		g.step = afterItem
	}
	return i + n
}

// numberStep is how far a number is.
type numberStep uint8

const (
	noNumber numberStep = iota
	afterMinus
	afterZero // which no digit may follow
	inInteger
	afterPoint
	inFraction
	afterE
	afterSign
	inExponent
	numNumberSteps
)

// numberSteps is the grammar of RFC 8259, section 6: where a byte leads; noNumber where it is no part of the number.
var numberSteps = [numNumberSteps][numChars]numberStep{
	noNumber:   {charMinus: afterMinus, charZero: afterZero, charDigit: inInteger},
	afterMinus: {charZero: afterZero, charDigit: inInteger},
	afterZero:  {charPoint: afterPoint, charE: afterE},
	inInteger:  {charZero: inInteger, charDigit: inInteger, charPoint: afterPoint, charE: afterE},
	afterPoint: {charZero: inFraction, charDigit: inFraction},
	inFraction: {charZero: inFraction, charDigit: inFraction, charE: afterE},
	afterE:     {charZero: inExponent, charDigit: inExponent, charMinus: afterSign, charPlus: afterSign},
	afterSign:  {charZero: inExponent, charDigit: inExponent},
	inExponent: {charZero: inExponent, charDigit: inExponent},
}

// beginNumber is false where the byte begins no number.
func (g *gist) beginNumber(c byte) bool {
	g.step, g.number = inNumber, numberSteps[noNumber][chars[c]]
	if g.number == noNumber {
		g.step = noJSON
		return false
	}
	if g.coding = g.depth == resultDepth && g.member == memberCode && !g.coded; g.coding {
		g.negative, g.code = c == '-', 0
		g.addDigit(c)
	}
	return true
}

func (g *gist) readNumber(p []byte, i int) int {
	for ; i < len(p); i++ {
		next := numberSteps[g.number][chars[p[i]]]
		if next == noNumber {
			g.endNumber()
			return i
		}
		if g.number = next; g.coding {
			g.addDigit(p[i])
		}
	}
	return i
}

// addDigit takes the next byte of a number that may be the code.
func (g *gist) addDigit(c byte) {
	switch g.number {
	case afterMinus:
	case afterZero, inInteger:
		// An int64 has 19 digits at most, and a number of 19 digits fits in an uint64.
		if g.coding = g.code < 1e18; g.coding {
			g.code = 10*g.code + uint64(c-'0')
		}
	default:
		g.coding = false
	}
}

// endNumber is called at the first byte that is no part of the number.
func (g *gist) endNumber() {
	switch g.number {
	case afterZero, inInteger, inFraction, inExponent:
		g.step = afterItem
	default:
		g.step = noJSON
		return
	}
	most := uint64(math.MaxInt64)
	if g.negative {
		most++
	}
	if g.coding && g.code <= most {
		g.coded = true
		if g.negative {
			g.code = -g.code
		}
	}
}

// char is what a byte can be outside strings.
type char uint8

const (
	charNone char = iota
	charMinus
	charZero
	charDigit // 1 to 9
	charPlus
	charPoint
	charE
	charSpace
	charQuote
	charComma
	charColon
	charBegin // of an object or an array
	charEnd
	numChars
)

var chars = [256]char{
	'-': charMinus, '+': charPlus, '.': charPoint, 'e': charE, 'E': charE,
	'0': charZero, '1': charDigit, '2': charDigit, '3': charDigit, '4': charDigit, '5': charDigit, '6': charDigit,
	'7': charDigit, '8': charDigit, '9': charDigit, ' ': charSpace, '\n': charSpace, '\r': charSpace, '\t': charSpace,
	'"': charQuote, ',': charComma, ':': charColon, '{': charBegin, '[': charBegin, '}': charEnd, ']': charEnd,
}
