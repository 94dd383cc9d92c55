package mcp

// Members of params that others than the reader of the message ask for. The scanner has noted where they stand, under
// exact names that nothing else in the message resembles, so nobody has to go through params again. What is raw is a
// window on the body; without params, and after Release, there is none of it.

// raw is a member as it was sent; nil where it is missing.
func (c *Call) raw(f field) []byte {
	if x := c.found[f]; x.to != 0 && c.Body != nil {
		return c.Body[x.from:x.to:x.to]
	}
	return nil
}

// given is raw, but nil where the member is null.
func (c *Call) given(f field) []byte {
	if raw := c.raw(f); len(raw) > 0 && raw[0] != 'n' {
		return raw
	}
	return nil
}

// word is the text of a member; "" where it is missing or no string.
func (c *Call) word(f field) string {
	b, _ := text(c.raw(f))
	return string(b)
}

// Arguments is the raw JSON of params.arguments, which need not be an object; nil where they are missing or null.
func (c *Call) Arguments() []byte { return c.given(paramArguments) }

// Subscriptions is the raw JSON of params.notifications.resourceSubscriptions, which need not be a list; nil where they,
// or params.notifications, are missing or null. It is false where params.notifications is something else than an object.
func (c *Call) Subscriptions() (raw []byte, ok bool) {
	if filter := c.given(paramNotifications); filter != nil && filter[0] != '{' {
		return nil, false
	}
	return c.given(subscribed), true
}

// Client is what the client calls itself: in every request of the modern era, and in the initialize of any. What is
// missing or no string is "".
func (c *Call) Client() (name, version string) {
	switch {
	case c.Era == Modern && c.raw(metaClient) != nil:
		return c.word(metaClientName), c.word(metaClientVersion)
	case c.Method == MethodInitialize:
		return c.word(paramClientName), c.word(paramClientVersion)
	}
	return "", ""
}

// Trace is the W3C trace context of params._meta: traceparent and tracestate, as they were sent. What is missing or no
// string is "".
func (c *Call) Trace() (parent, state string) { return c.word(metaTraceParent), c.word(metaTraceState) }
