package rowmap

// The rows and bytes of a page.
const (
	DefaultPageSize  = 8000
	DefaultPageBytes = 4 << 20
	firstPage        = 125 // the most rows of a read's first page
)

// PageLimit is how much the next page of a read may hold. A read begins with a small page,
// because nothing is known about the weight of its rows: the read before may have died of
// that weight. The zero value must be replaced by [Keyset.FirstPage].
type PageLimit struct {
	// Rows is the greatest number of rows.
	Rows int
	// Bytes is the greatest weight of the rows after the first.
	Bytes int
	// Single is true if the page must hold all rows of its query: those have no order, so that
	// a second page could leave rows out.
	Single bool

	most int // of Rows
}

// FirstPage returns the limit of a read's first page.
func (k *Keyset) FirstPage() PageLimit {
	l := PageLimit{Bytes: DefaultPageBytes, most: DefaultPageSize}
	if k.PageBytes > 0 {
		l.Bytes = k.PageBytes
	}
	if k.PageSize > 0 {
		l.most = k.PageSize
	}
	l.Rows = min(firstPage, l.most)
	return l
}

// PageWeight is what a page holds so far.
type PageWeight struct {
	Rows  int
	Bytes int

	first int // bytes of the first row
	next  int // bytes of the row that was too much
}

// Add adds a row. It reports false, and adds nothing, if the page would exceed its limit.
func (w *PageWeight) Add(l PageLimit, bytes int) bool {
	switch {
	case w.Rows == 0:
		w.first = bytes
	case w.Rows >= l.Rows, w.Bytes-w.first+bytes > l.Bytes:
		w.next = bytes
		return false
	}
	w.Rows++
	w.Bytes += bytes
	return true
}

// Learn moves the number of rows after a page. It doubles while pages are full and light.
// After a heavy page it falls, so that the next page weighs half of what it may. It moves by
// factors of two, because each number is another statement to prepare.
func (l *PageLimit) Learn(page PageWeight) {
	if page.Rows == l.Rows && page.Bytes < l.Bytes/4 {
		l.Rows = min(2*l.Rows, l.most)
		return
	}
	for l.Rows > 1 && page.mean()*l.Rows > l.Bytes/2 {
		l.Rows /= 2
	}
}

func (w *PageWeight) mean() int { return w.Bytes / max(w.Rows, 1) }

// Shrink sets the greatest number of rows of this page and of later ones.
func (l *PageLimit) Shrink(rows int) { l.Rows, l.most = rows, rows }

// Rest estimates the bytes of the rows that were asked for and are not in the page.
func (l *PageLimit) Rest(page PageWeight) int {
	return max(page.mean(), page.next) * (l.Rows - page.Rows)
}
