package main

import (
	"context"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func rootPath(name string) path.Path { return path.Root(name) }

// Members whose name in the API is not what their name here says.
var apiNames = map[string]string{"minimum_memory_in_mi_b": "minimumMemoryInMiB", "cloudwatch": "cloudWatch"}

// apiName is the member's name in the API: base_image_arn is baseImageArn.
func apiName(name string) string {
	if known, ok := apiNames[name]; ok {
		return known
	}
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// plain is a value of Terraform as JSON has it. What is null or unknown is nil, and left out of objects.
func plain(value tftypes.Value) any {
	if value.IsNull() || !value.IsKnown() {
		return nil
	}
	var text string
	var number big.Float
	var boolean bool
	var members map[string]tftypes.Value
	var items []tftypes.Value
	switch {
	case value.As(&text) == nil:
		return text
	case value.As(&number) == nil:
		whole, _ := number.Int64()
		return whole
	case value.As(&boolean) == nil:
		return boolean
	case value.As(&members) == nil:
		out := object{}
		for name, member := range members {
			if v := plain(member); v != nil {
				out[apiName(name)] = v
			}
		}
		return out
	case value.As(&items) == nil:
		out := []any{}
		for _, item := range items {
			out = append(out, plain(item))
		}
		return out
	}
	panic(fmt.Sprintf("no value of a kind that is known: %s", value))
}

// known is the value without what a plan left unknown: null takes its place.
func known(value tftypes.Value) (tftypes.Value, error) {
	return tftypes.Transform(value, func(_ *tftypes.AttributePath, v tftypes.Value) (tftypes.Value, error) {
		if !v.IsKnown() {
			return tftypes.NewValue(v.Type(), nil), nil
		}
		return v, nil
	})
}

// keyed turns [{key, value}, …] into {KEY: value, …}.
func keyed(pairs any) object {
	out := object{}
	list, _ := pairs.([]any)
	for _, item := range list {
		pair := item.(object)
		out[text(pair, "key")] = text(pair, "value")
	}
	return out
}

// matches refuses texts that are longer, or do not match.
type matches struct {
	longest int
	pattern *regexp.Regexp
}

func like(longest int, pattern string) []validator.String {
	return []validator.String{matches{longest, regexp.MustCompile("^(?:" + pattern + ")$")}}
}

func (m matches) Description(context.Context) string {
	return fmt.Sprintf("must have at most %d characters and match %s", m.longest, m.pattern)
}

func (m matches) MarkdownDescription(ctx context.Context) string { return m.Description(ctx) }

func (m matches) ValidateString(ctx context.Context, req validator.StringRequest, resp *validator.StringResponse) {
	value := req.ConfigValue
	if value.IsNull() || value.IsUnknown() || (len(value.ValueString()) <= m.longest && m.pattern.MatchString(value.ValueString())) {
		return
	}
	resp.Diagnostics.AddAttributeError(req.Path, "Invalid Attribute Value Match", fmt.Sprintf("%s %s, got: %q", req.Path, m.Description(ctx), value.ValueString()))
}

// between refuses numbers outside its bounds.
type between struct{ least, most int64 }

func within(least, most int64) []validator.Int64 { return []validator.Int64{between{least, most}} }

func (b between) Description(context.Context) string {
	return fmt.Sprintf("must be between %d and %d", b.least, b.most)
}

func (b between) MarkdownDescription(ctx context.Context) string { return b.Description(ctx) }

func (b between) ValidateInt64(ctx context.Context, req validator.Int64Request, resp *validator.Int64Response) {
	value := req.ConfigValue
	if value.IsNull() || value.IsUnknown() || (value.ValueInt64() >= b.least && value.ValueInt64() <= b.most) {
		return
	}
	resp.Diagnostics.AddAttributeError(req.Path, "Invalid Attribute Value", fmt.Sprintf("%s %s, got: %d", req.Path, b.Description(ctx), value.ValueInt64()))
}

// atMost refuses sets with more items.
type atMost int

func (a atMost) Description(context.Context) string {
	return fmt.Sprintf("must have at most %d items", int(a))
}

func (a atMost) MarkdownDescription(ctx context.Context) string { return a.Description(ctx) }

func (a atMost) ValidateSet(ctx context.Context, req validator.SetRequest, resp *validator.SetResponse) {
	if len(req.ConfigValue.Elements()) > int(a) {
		resp.Diagnostics.AddAttributeError(req.Path, "Invalid Attribute Value", fmt.Sprintf("%s %s", req.Path, a.Description(ctx)))
	}
}
