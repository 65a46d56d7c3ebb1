// A stand-in for two Terraform providers, hashicorp/awscc and integrations/github: of each as much as Mayfly's module
// uses. It calls the stand-ins for Lambda MicroVMs and GitHub. See README.md.
package main

import (
	"context"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// standIn is one of the two providers; which one the name of the program says, as Terraform calls it.
type standIn struct {
	name      string
	address   string // of the provider: for its own log, since Terraform finds it by its folder
	variable  string // with the address of the stand-in that it calls
	settings  map[string]schema.Attribute
	resources []func() resource.Resource
}

var standIns = []standIn{
	{
		name: "awscc", address: "mayfly.invalid/hashicorp/awscc", variable: "MAYFLY_FAKE_LAMBDA_MICROVMS",
		settings:  map[string]schema.Attribute{"region": schema.StringAttribute{Optional: true}},
		resources: []func() resource.Resource{func() resource.Resource { return &image{} }},
	},
	{
		name: "github", address: "mayfly.invalid/integrations/github", variable: "MAYFLY_FAKE_GITHUB",
		settings: map[string]schema.Attribute{
			"owner": schema.StringAttribute{Optional: true}, "token": schema.StringAttribute{Optional: true},
		},
		resources: []func() resource.Resource{
			func() resource.Resource { return &hook{} },
			func() resource.Resource { return &hook{ofRepository: true} },
		},
	},
}

func (s *standIn) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = s.name
}

func (s *standIn) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{Attributes: s.settings}
}

func (s *standIn) DataSources(context.Context) []func() datasource.DataSource { return nil }

func (s *standIn) Resources(context.Context) []func() resource.Resource { return s.resources }

// Configure does without an address until a resource needs one, so that plans and tests with mocks need none.
func (s *standIn) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	client := &caller{address: os.Getenv(s.variable), variable: s.variable, owner: os.Getenv("GITHUB_OWNER"), token: os.Getenv("GITHUB_TOKEN")}
	for name := range s.settings {
		var value types.String
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, rootPath(name), &value)...)
		if value.ValueString() == "" {
			continue
		}
		switch name {
		case "owner":
			client.owner = value.ValueString()
		case "token":
			client.token = value.ValueString()
		}
	}
	resp.ResourceData = client
}

func main() {
	program := filepath.Base(os.Args[0])
	for i := range standIns {
		s := &standIns[i]
		if !strings.HasPrefix(program, "terraform-provider-"+s.name) {
			continue
		}
		err := providerserver.Serve(context.Background(), func() provider.Provider { return s },
			providerserver.ServeOpts{Address: s.address, ProtocolVersion: 6})
		if err != nil {
			log.Fatal(err)
		}
		return
	}
	log.Fatalf("%s is named after neither provider: terraform-provider-awscc, terraform-provider-github", program)
}
