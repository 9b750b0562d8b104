package pgchange
import _ "github.com/jackc/pglogrepl"
