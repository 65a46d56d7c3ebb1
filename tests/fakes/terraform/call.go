package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const callTimeout = 30 * time.Second

// caller makes calls of one stand-in; for GitHub with the token and owner of the provider's settings.
type caller struct {
	address  string
	variable string
	owner    string
	token    string
}

// refusal is an answer that is no success.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.message) }

func isNotFound(err error) bool {
	r, ok := err.(*refusal)
	return ok && r.status == http.StatusNotFound
}

type object = map[string]any

// call sends body, if there is one, and returns the answer's object.
func (c *caller) call(ctx context.Context, method, path string, body object) (object, error) {
	if c.address == "" {
		return nil, fmt.Errorf("%s is not set: start the stand-in that this provider calls", c.variable)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.address+path, sent)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "mayfly-tests")
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	answer := object{}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &answer); err != nil {
			return nil, &refusal{resp.StatusCode, string(text)}
		}
	}
	if resp.StatusCode >= 300 {
		return nil, &refusal{resp.StatusCode, string(text)}
	}
	return answer, nil
}

// text is a member of an answer, or empty.
func text(answer object, name string) string {
	value, _ := answer[name].(string)
	return value
}
