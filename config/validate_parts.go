package config

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

var (
	dnsLabel     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	dnsSubdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	dataKey      = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
	durationForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
)

// objectName checks the name of a Kubernetes object: an RFC 1123 subdomain.
func (c *checker) objectName(field, name string) {
	if name == "" {
		c.mistake(field, "is missing", "a name")
	} else if len(name) > 253 || !dnsSubdomain.MatchString(name) {
		c.mistake(field, quote(name)+" is not a name", "lower-case letters, digits, hyphens and dots, at most 253")
	}
}

// proxyNameRule is what the name of a proxy must be: its Service is called mcp-<name>-remote-proxy, in 63 characters.
const proxyNameRule = "lower-case letters, digits and hyphens, at most 46, because the Service is named after it"

func goodProxyName(name string) bool { return len(name) <= 46 && dnsLabel.MatchString(name) }

// valueKey checks the key of a value in a Secret or ConfigMap, which becomes the name of a file.
func (c *checker) valueKey(field, key string) {
	if key == "" {
		c.mistake(field, "is missing", "the key of the value")
	} else if len(key) > 253 || !dataKey.MatchString(key) || key == "." || strings.HasPrefix(key, "..") {
		c.mistake(field, quote(key)+" is not a key", "letters, digits, hyphens, underscores and dots, at most 253")
	}
}

func (c *checker) secretKey(path string, r *SecretKeyRef) {
	if r != nil {
		c.objectName(path+".name", r.Name)
		c.valueKey(path+".key", r.Key)
	}
}

func (c *checker) caBundle(path string, r *CABundleRef) {
	if r == nil {
		return
	}
	if r.ConfigMapRef == nil {
		c.mistake(path, "names no ConfigMap", "configMapRef: {name, key}")
		return
	}
	c.objectName(path+".configMapRef.name", r.ConfigMapRef.Name)
	c.valueKey(path+".configMapRef.key", r.ConfigMapRef.Key)
}

func (c *checker) limits(l *Limits) {
	for _, n := range []struct {
		name       string
		value, min int64
	}{
		{"maxBodyBytes", l.MaxBodyBytes, 1024},
		{"maxHeaderBytes", int64(l.MaxHeaderBytes), 8192},
		{"maxConnections", int64(l.MaxConnections), 1},
		{"maxStreamsPerCaller", int64(l.MaxStreamsPerCaller), 1},
	} {
		if n.value < n.min {
			c.mistake("limits."+n.name, fmt.Sprintf("is %d", n.value), fmt.Sprintf("at least %d", n.min))
		}
	}
	for _, d := range []struct {
		name  string
		value Duration
	}{
		{"headerTimeout", l.HeaderTimeout},
		{"bodyTimeout", l.BodyTimeout},
		{"idleTimeout", l.IdleTimeout},
		{"writeTimeout", l.WriteTimeout},
		{"responseTimeout", l.ResponseTimeout},
	} {
		if v, err := time.ParseDuration(string(d.value)); err != nil || v <= 0 || !durationForm.MatchString(string(d.value)) {
			c.mistake("limits."+d.name, quote(string(d.value))+" is not a length of time", "such as 30s, 5m or 1h30m")
		}
	}
}
