package files

import (
	"bytes"
	"errors"
	"strings"
)

// The byte order marks with which a program may begin a text file to name its
// encoding.
const (
	bomUTF8    = "\xEF\xBB\xBF"
	bomUTF16LE = "\xFF\xFE"
	bomUTF16BE = "\xFE\xFF"
)

// ErrUTF16 is returned for a file that begins with a UTF-16 byte order mark. No
// retry can fix it.
var ErrUTF16 = errors.New("the file is encoded as UTF-16: save it as UTF-8")

// TextStart returns the byte at which the text begins, after any byte order mark.
// It returns ErrUTF16 for a UTF-16 file.
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

// TrimMark removes a byte order mark from the beginning of a line. Files that each begin with
// one may have been put together.
func TrimMark(line []byte) []byte { return bytes.TrimPrefix(line, []byte(bomUTF8)) }
