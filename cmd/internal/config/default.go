package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
)

// fill gives every field below v that is zero the value of its default tag.
// Lists, maps and the options of stores are gone through, too. The tags are
// part of the program, so one that does not parse is a panic.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			c := reflect.New(v.Type().Elem()).Elem()
			c.Set(it.Value())
			fill(c)
			v.SetMapIndex(it.Key(), c)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fillField(v.Field(i), v.Type().Field(i))
		}
	}
}

func fillField(v reflect.Value, f reflect.StructField) {
	if !f.IsExported() {
		return
	}
	if text, ok := f.Tag.Lookup("default"); ok && v.IsZero() {
		if err := setText(v, text); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", f.Name, err))
		}
	}
	fill(v)
}

// setText sets a scalar from its text.
func setText(v reflect.Value, text string) error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return err
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		v.SetInt(n)
		return err
	default:
		return fmt.Errorf("no text for a %s", v.Kind())
	}
	return nil
}

// inherit gives every field of s that is zero the value that d has.
func (s *Settings) inherit(d Settings) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(d)
	for i := range to.NumField() {
		if to.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
}

// complete fills in what the file leaves to be understood: the defaults, the
// defaults section in each secret, and the store where there is only one.
func (c *Config) complete() {
	only := ""
	if len(c.Stores) == 1 {
		for name := range c.Stores {
			only = name
		}
	}
	secrets := c.Secrets
	c.Secrets = nil
	fill(reflect.ValueOf(c).Elem())
	for i := range secrets {
		s := &secrets[i]
		s.inherit(c.Defaults)
		if s.Store == "" {
			s.Store = only
		}
		if s.Path == "" {
			s.Path = s.ID
		}
	}
	for _, s := range c.Stores {
		s.discover().complete()
	}
	c.Secrets = secrets
	fill(reflect.ValueOf(&c.Secrets).Elem())
}
