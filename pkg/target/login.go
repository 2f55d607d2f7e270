package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Login is a value with which a service logs in to a database. It is a JSON document
// in the shape that AWS Secrets Manager documents, so that services written for that
// need no change.
type Login struct {
	Engine   string
	Host     string
	Port     int
	Username string
	Password string
	DBName   string
}

// ParseLogin reads the fields of a document that the driver of a database needs. The
// port may be a number or a string. Its errors quote nothing of the document.
func ParseLogin(v secret.Value) (Login, error) {
	var doc struct {
		Engine   string `json:"engine"`
		Host     string `json:"host"`
		Port     any    `json:"port"`
		Username string `json:"username"`
		Password string `json:"password"`
		DBName   string `json:"dbname"`
	}
	if err := json.Unmarshal(v.Reveal(), &doc); err != nil {
		return Login{}, errors.New(`the value is not a JSON document with "username" and "password"`) // the decoder's own error could quote the value
	}
	out := Login{Engine: doc.Engine, Host: doc.Host, Username: doc.Username, Password: doc.Password, DBName: doc.DBName}
	switch port := doc.Port.(type) {
	case float64:
		out.Port = int(port)
	case string:
		out.Port, _ = strconv.Atoi(port) // 0 means the port of the target
	}
	if out.Username == "" || out.Password == "" {
		return Login{}, errors.New(`the document has no "username" or no "password"`)
	}
	return out, nil
}

// Document returns a login as a value without a password, for a first version.
func (l Login) Document() (secret.Value, error) {
	b, err := json.Marshal(struct { //nolint:gosec // the password is empty
		Engine   string `json:"engine"`
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Username string `json:"username"`
		Password string `json:"password"`
		DBName   string `json:"dbname,omitempty"`
	}{l.Engine, l.Host, l.Port, l.Username, "", l.DBName})
	if err != nil {
		return secret.Value{}, fmt.Errorf("encode the first value: %w", err)
	}
	return secret.NewValue(b), nil
}
