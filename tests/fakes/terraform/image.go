package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/booldefault"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

const (
	images = "/2025-09-09/microvm-images"
	// As the service: creation and update wait for the build.
	buildTimeout = 60 * time.Minute
	pollInterval = 50 * time.Millisecond
)

// image is awscc_lambda_microvm_image. As with the real provider, the service is asked for the read-only attributes
// alone: what was configured is never read back (the properties are write-only in CloudFormation), so that what
// another changes of it is no drift; and an update plans the read-only attributes as they were before it.
type image struct{ caller *caller }

var readOnly = map[string]string{
	"id": "imageArn", "image_arn": "imageArn", "state": "state", "latest_active_image_version": "latestActiveImageVersion",
	"latest_failed_image_version": "latestFailedImageVersion", "created_at": "createdAt", "updated_at": "updatedAt",
}

func (r *image) Metadata(_ context.Context, _ resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = "awscc_lambda_microvm_image"
}

func (r *image) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	r.caller, _ = req.ProviderData.(*caller)
}

func (r *image) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	required := func(longest int, pattern string) schema.StringAttribute {
		return schema.StringAttribute{Required: true, Validators: like(longest, pattern)}
	}
	set := func(max int, attributes map[string]schema.Attribute) schema.SetNestedAttribute {
		return schema.SetNestedAttribute{
			Required: true, NestedObject: schema.NestedAttributeObject{Attributes: attributes}, Validators: []validator.Set{atMost(max)},
		}
	}
	texts := func(max int) schema.SetAttribute {
		return schema.SetAttribute{Required: true, ElementType: types.StringType, Validators: []validator.Set{atMost(max)}}
	}
	part := func(attributes map[string]schema.Attribute) schema.SingleNestedAttribute {
		return schema.SingleNestedAttribute{Optional: true, Computed: true, Attributes: attributes}
	}
	attributes := map[string]schema.Attribute{
		"additional_os_capabilities": texts(1),
		"base_image_arn":             required(2048, `\S+`),
		"base_image_version":         required(2048, `\S+`),
		"build_role_arn":             required(2048, `arn:aws[a-zA-Z-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`),
		"code_artifact":              schema.SingleNestedAttribute{Required: true, Attributes: map[string]schema.Attribute{"uri": required(2048, `\S+`)}},
		"cpu_configurations":         set(1, map[string]schema.Attribute{"architecture": required(6, "ARM_64")}),
		"description":                schema.StringAttribute{Required: true},
		"egress_network_connectors":  texts(10),
		"environment_variables":      set(50, map[string]schema.Attribute{"key": required(256, `\S+`), "value": required(4096, `(?s).*`)}),
		"hooks": schema.SingleNestedAttribute{Required: true, Attributes: map[string]schema.Attribute{
			"port":                schema.Int64Attribute{Optional: true, Computed: true, Validators: within(1, 65535)},
			"microvm_hooks":       part(hookAttributes(60, "run", "resume", "suspend", "terminate")),
			"microvm_image_hooks": part(hookAttributes(3600, "ready", "validate")),
		}},
		"logging": schema.SingleNestedAttribute{Required: true, Attributes: map[string]schema.Attribute{
			"cloudwatch": part(map[string]schema.Attribute{
				"log_group":  schema.StringAttribute{Optional: true, Computed: true, Validators: like(512, `[a-zA-Z0-9_\-/.#]+`)},
				"log_stream": schema.StringAttribute{Optional: true, Computed: true, Validators: like(512, `[^:*]+`)},
			}),
			"disabled": schema.BoolAttribute{Optional: true, Computed: true, Default: booldefault.StaticBool(false)},
		}},
		"name": schema.StringAttribute{
			Required: true, Validators: like(64, `[a-zA-Z0-9-_]+`), PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
		},
		"resources": set(1, map[string]schema.Attribute{"minimum_memory_in_mi_b": schema.Int64Attribute{Required: true}}),
		"tags": schema.SetNestedAttribute{Optional: true, Computed: true, NestedObject: schema.NestedAttributeObject{Attributes: map[string]schema.Attribute{
			"key": schema.StringAttribute{Optional: true, Computed: true}, "value": schema.StringAttribute{Optional: true, Computed: true},
		}}},
	}
	for name := range readOnly {
		attributes[name] = schema.StringAttribute{Computed: true, PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()}}
	}
	resp.Schema = schema.Schema{Version: 1, Attributes: attributes}
}

func hookAttributes(longest int64, names ...string) map[string]schema.Attribute {
	attributes := map[string]schema.Attribute{}
	for _, name := range names {
		attributes[name] = schema.StringAttribute{Optional: true, Computed: true, Validators: like(8, "ENABLED|DISABLED")}
		attributes[name+"_timeout_in_seconds"] = schema.Int64Attribute{Optional: true, Computed: true, Validators: within(1, longest)}
	}
	return attributes
}

// asked is the body of a creation; an update leaves out the name and the tags.
func asked(plan tftypes.Value, update bool) object {
	body := plain(plan).(object)
	for _, name := range readOnly {
		delete(body, name)
	}
	delete(body, "id")
	body["environmentVariables"] = keyed(body["environmentVariables"])
	body["tags"] = keyed(body["tags"])
	logging := body["logging"].(object)
	if logging["disabled"] == true {
		logging["disabled"] = object{}
	} else {
		delete(logging, "disabled")
	}
	if update {
		delete(body, "name")
		delete(body, "tags")
	}
	return body
}

func (r *image) path(arn, more string) string { return images + "/" + url.PathEscape(arn) + more }

// settled waits for the end of a build or a deletion: the image as it is then, and as an error what failed.
func (r *image) settled(ctx context.Context, arn, version string) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	for {
		answer, err := r.caller.call(ctx, "GET", r.path(arn, ""), nil)
		if err != nil {
			return nil, err
		}
		switch state := text(answer, "state"); state {
		case "CREATED", "UPDATED":
			return answer, nil
		case "CREATE_FAILED", "UPDATE_FAILED", "DELETE_FAILED":
			return answer, fmt.Errorf("the image %s is %s: %s", arn, state, r.reason(ctx, arn, version))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// reason is what the failed builds of a version say.
func (r *image) reason(ctx context.Context, arn, version string) string {
	answer, err := r.caller.call(ctx, "GET", r.path(arn, "/versions/"+version+"/builds"), nil)
	if err != nil {
		return err.Error()
	}
	said := "no build says why"
	items, _ := answer["items"].([]any)
	for _, item := range items {
		if reason := text(item.(object), "stateReason"); reason != "" {
			said = reason
		}
	}
	return said
}

// keep writes the read-only attributes of the answer into the state; `all`, or only what a plan left unknown.
func keep(ctx context.Context, state *tfsdk.State, answer object, all bool) diag.Diagnostics {
	var problems diag.Diagnostics
	for name, member := range readOnly {
		var was types.String
		problems.Append(state.GetAttribute(ctx, rootPath(name), &was)...)
		if !all && !was.IsUnknown() {
			continue
		}
		value := types.StringNull()
		if answer[member] != nil {
			value = types.StringValue(fmt.Sprint(answer[member]))
		}
		problems.Append(state.SetAttribute(ctx, rootPath(name), value)...)
	}
	if problems.HasError() {
		return problems
	}
	raw, err := known(state.Raw)
	if err != nil {
		problems.AddError("stand-in", err.Error())
	}
	state.Raw = raw
	return problems
}

func (r *image) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	made, err := r.caller.call(ctx, "POST", images, asked(req.Plan.Raw, false))
	if err != nil {
		resp.Diagnostics.AddError("CreateMicrovmImage", err.Error())
		return
	}
	answer, err := r.settled(ctx, text(made, "imageArn"), text(made, "imageVersion"))
	// What was created and failed is known, so that it is tainted, and replaced by the next apply.
	if answer == nil {
		answer = made
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(keep(ctx, &resp.State, answer, true)...)
	if err != nil {
		resp.Diagnostics.AddError("CreateMicrovmImage", err.Error())
	}
}

func (r *image) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var arn types.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, rootPath("image_arn"), &arn)...)
	answer, err := r.caller.call(ctx, "GET", r.path(arn.ValueString(), ""), nil)
	if isNotFound(err) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("GetMicrovmImage", err.Error())
		return
	}
	resp.Diagnostics.Append(keep(ctx, &resp.State, answer, true)...)
}

func (r *image) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var arn types.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, rootPath("image_arn"), &arn)...)
	before, after := plain(req.State.Raw).(object), plain(req.Plan.Raw).(object)
	if fmt.Sprint(keyed(before["tags"])) != fmt.Sprint(keyed(after["tags"])) {
		resp.Diagnostics.AddError("UpdateMicrovmImage", "this stand-in cannot change tags")
		return
	}
	made, err := r.caller.call(ctx, "PUT", r.path(arn.ValueString(), ""), asked(req.Plan.Raw, true))
	var answer object
	if err == nil {
		answer, err = r.settled(ctx, arn.ValueString(), text(made, "imageVersion"))
	}
	if err != nil {
		resp.Diagnostics.AddError("UpdateMicrovmImage", err.Error())
		return
	}
	resp.State.Raw = req.Plan.Raw
	resp.Diagnostics.Append(keep(ctx, &resp.State, answer, false)...)
}

func (r *image) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var arn types.String
	resp.Diagnostics.Append(req.State.GetAttribute(ctx, rootPath("image_arn"), &arn)...)
	_, err := r.caller.call(ctx, "DELETE", r.path(arn.ValueString(), ""), nil)
	if err == nil {
		_, err = r.settled(ctx, arn.ValueString(), "")
	}
	if err == nil {
		err = errors.New("the image is there after its deletion")
	}
	if !isNotFound(err) {
		resp.Diagnostics.AddError("DeleteMicrovmImage", err.Error())
	}
}
