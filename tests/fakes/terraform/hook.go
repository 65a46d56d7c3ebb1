package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// hook is github_organization_webhook, or github_repository_webhook. As with the real provider the secret stands in the
// state, since GitHub tells none.
type hook struct {
	caller       *caller
	ofRepository bool
}

func (h *hook) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "github_organization_webhook"
	if h.ofRepository {
		resp.TypeName = "github_repository_webhook"
	}
}

func (h *hook) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	h.caller, _ = req.ProviderData.(*caller)
}

func (h *hook) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	computed := schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()}}
	attributes := map[string]schema.Attribute{
		"id": computed, "url": computed, "etag": schema.StringAttribute{Computed: true},
		"events": schema.SetAttribute{Required: true, ElementType: types.StringType},
		"active": schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(true)},
	}
	if h.ofRepository {
		attributes["repository"] = schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}}
	}
	resp.Schema = schema.Schema{Attributes: attributes, Blocks: map[string]schema.Block{
		"configuration": schema.ListNestedBlock{Validators: []validator.List{one{}}, NestedObject: schema.NestedBlockObject{Attributes: map[string]schema.Attribute{
			"url": schema.StringAttribute{Required: true, Sensitive: true}, "secret": schema.StringAttribute{Optional: true, Sensitive: true},
			"content_type": schema.StringAttribute{Optional: true}, "insecure_ssl": schema.BoolAttribute{Optional: true},
		}}},
	}}
}

// one refuses a second block.
type one struct{}

func (one) Description(context.Context) string { return "at most one block" }

func (one) MarkdownDescription(context.Context) string { return "at most one block" }

func (one) ValidateList(_ context.Context, req validator.ListRequest, resp *validator.ListResponse) {
	if len(req.ConfigValue.Elements()) > 1 {
		resp.Diagnostics.AddAttributeError(req.Path, "Too many blocks", "No more than 1 \"configuration\" block is allowed")
	}
}

// path is that of the hooks, or with an id of one.
func (h *hook) path(state object, id string) string {
	path := "/orgs/" + h.caller.owner + "/hooks"
	if h.ofRepository {
		path = "/repos/" + h.caller.owner + "/" + text(state, "repository") + "/hooks"
	}
	if id != "" {
		path += "/" + id
	}
	return path
}

func body(plan object) object {
	list := plan["configuration"].([]any)
	config := object{"content_type": "form", "insecure_ssl": "0"}
	for name, key := range map[string]string{"url": "url", "secret": "secret", "contentType": "content_type"} {
		if value, ok := list[0].(object)[name]; ok {
			config[key] = value
		}
	}
	if list[0].(object)["insecureSsl"] == true {
		config["insecure_ssl"] = "1"
	}
	return object{"name": "web", "events": plan["events"], "active": plan["active"], "config": config}
}

// keepHook writes what GitHub told into the state.
func keepHook(ctx context.Context, state *tfsdk.State, answer object) diag.Diagnostics {
	var problems diag.Diagnostics
	config := answer["config"].(object)
	events := []string{}
	for _, event := range answer["events"].([]any) {
		events = append(events, event.(string))
	}
	block := rootPath("configuration").AtListIndex(0)
	set := func(to any, name string) { problems.Append(state.SetAttribute(ctx, rootPath(name), to)...) }
	set(fmt.Sprintf("%.0f", answer["id"]), "id")
	set(text(answer, "url"), "url")
	set(strings.Join([]string{"W/", text(answer, "updated_at")}, ""), "etag")
	set(answer["active"], "active")
	set(events, "events")
	problems.Append(state.SetAttribute(ctx, block.AtName("url"), text(config, "url"))...)
	problems.Append(state.SetAttribute(ctx, block.AtName("content_type"), text(config, "content_type"))...)
	problems.Append(state.SetAttribute(ctx, block.AtName("insecure_ssl"), text(config, "insecure_ssl") == "1")...)
	if config["secret"] == nil { // GitHub tells whether there is one
		problems.Append(state.SetAttribute(ctx, block.AtName("secret"), types.StringNull())...)
	}
	return problems
}

func (h *hook) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	plan := plain(req.Plan.Raw).(object)
	answer, err := h.caller.call(ctx, "POST", h.path(plan, ""), body(plan))
	if err != nil {
		resp.Diagnostics.AddError("create the webhook", err.Error())
		return
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(keepHook(ctx, &resp.State, answer)...)
}

func (h *hook) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	state := plain(req.State.Raw).(object)
	answer, err := h.caller.call(ctx, "GET", h.path(state, text(state, "id")), nil)
	if isNotFound(err) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("read the webhook", err.Error())
		return
	}
	resp.Diagnostics.Append(keepHook(ctx, &resp.State, answer)...)
}

func (h *hook) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	state, plan := plain(req.State.Raw).(object), plain(req.Plan.Raw).(object)
	answer, err := h.caller.call(ctx, "PATCH", h.path(state, text(state, "id")), body(plan))
	if err != nil {
		resp.Diagnostics.AddError("change the webhook", err.Error())
		return
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(keepHook(ctx, &resp.State, answer)...)
}

func (h *hook) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	state := plain(req.State.Raw).(object)
	if _, err := h.caller.call(ctx, "DELETE", h.path(state, text(state, "id")), nil); err != nil && !isNotFound(err) {
		resp.Diagnostics.AddError("delete the webhook", err.Error())
	}
}
