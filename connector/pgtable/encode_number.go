package pgtable

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// maxNumeric is the length of the longest number that is encoded here.
const maxNumeric = 1000

// numeric appends a decimal number, such as "-12.50", in Postgres's form: groups of
// four digits, counted from the decimal point.
func (e *rowEncoder) numeric(text []byte) (bool, error) {
	sign := uint16(0)
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = 0x4000
		}
		text = text[1:]
	}
	whole, fraction, _ := bytes.Cut(text, []byte{'.'})
	if len(text) > maxNumeric || len(whole)+len(fraction) == 0 || !isDigits(whole) || !isDigits(fraction) {
		return false, errNotPlain
	}
	whole = bytes.TrimLeft(whole, "0")
	scale := len(fraction)
	start := len(e.buf)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // length and header, filled in below
	groups := (len(whole) + 3) / 4
	weight := groups - 1
	for i := range groups { // the first group may be shorter
		end := len(whole) - 4*(groups-1-i)
		e.group(whole[max(end-4, 0):end], 0)
	}
	for len(fraction) > 0 {
		n := min(4, len(fraction))
		e.group(fraction[:n], 4-n)
		fraction = fraction[n:]
	}
	digits := e.buf[start+12:]
	for len(digits) > 0 && digits[0]|digits[1] == 0 { // leading zero groups of a number below 1
		copy(digits, digits[2:])
		digits = digits[:len(digits)-2]
		weight--
	}
	for n := len(digits); n > 0 && digits[n-2]|digits[n-1] == 0; n = len(digits) {
		digits = digits[:n-2]
	}
	if len(digits) == 0 {
		weight, sign = 0, 0
	}
	e.buf = e.buf[:start+12+len(digits)]
	head := e.buf[start:]
	binary.BigEndian.PutUint32(head, uint32(8+len(digits)))
	binary.BigEndian.PutUint16(head[4:], uint16(len(digits)/2))
	binary.BigEndian.PutUint16(head[6:], uint16(weight))
	binary.BigEndian.PutUint16(head[8:], sign)
	binary.BigEndian.PutUint16(head[10:], uint16(scale))
	return false, nil
}

// group appends up to four digits, followed by zeros.
func (e *rowEncoder) group(digits []byte, zeros int) {
	n := 0
	for _, d := range digits {
		n = 10*n + int(d-'0')
	}
	for range zeros {
		n *= 10
	}
	e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(n))
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// uuid appends a UUID given in its usual text form.
func (e *rowEncoder) uuid(s string) (bool, error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return false, errNotPlain
	}
	e.scratch = append(e.scratch[:0], s[:8]...)
	e.scratch = append(append(append(append(e.scratch, s[9:13]...), s[14:18]...), s[19:23]...), s[24:]...)
	e.length(16)
	var err error
	if e.buf, err = hex.AppendDecode(e.buf, e.scratch); err != nil {
		return false, errNotPlain
	}
	return false, nil
}
