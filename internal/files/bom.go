package files

import (
	"errors"
	"strings"
)

// The bytes with which a program may begin a text file, to say how it is encoded.
const (
	bomUTF8    = "\xEF\xBB\xBF"
	bomUTF16LE = "\xFF\xFE"
	bomUTF16BE = "\xFE\xFF"
)

// ErrUTF16 is returned for a file that says that it is encoded so. No retry can
// mend it.
var ErrUTF16 = errors.New("it is encoded as UTF-16: save it as UTF-8")

// TextStart is the byte at which the text of the file begins, behind a mark of
// its encoding.
func (f *File) TextStart() (int64, error) {
	start, err := f.Bytes(0, int64(len(bomUTF8)))
	switch text := string(start); {
	case err != nil:
		return 0, err
	case text == bomUTF8:
		return int64(len(bomUTF8)), nil
	case strings.HasPrefix(text, bomUTF16LE), strings.HasPrefix(text, bomUTF16BE):
		return 0, ErrUTF16
	default:
		return 0, nil
	}
}
