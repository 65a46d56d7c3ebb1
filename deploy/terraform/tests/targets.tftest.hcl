# A class that launches in other regions and accounts, too; several Apps; jobs of scale sets.
mock_provider "aws" {
  source = "./tests/mocks/aws"
}
mock_provider "awscc" {
  source = "./tests/mocks/awscc"
}

variables {
  github_app      = { app_id = "123456" }
  app_key_kms_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "targets" {
  command = plan

  variables {
    artifact        = "s3://images/mayfly.zip"
    container_image = "registry.example.com/mayfly@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    classes = [{
      name   = "small"
      labels = ["self-hosted", "small"]
      targets = [
        { name = "virginia", image_arn = "arn:aws:lambda:us-east-1:123456789012:microvm-image:small", max_vms = 50 },
        { name = "second", image_arn = "arn:aws:lambda:eu-west-1:210987654321:microvm-image:small", role_arn = "arn:aws:iam::210987654321:role/mayfly-target", launch_rate = { per_second = 5, burst = 5 }, weight = 0 },
      ]
    }]
  }

  assert {
    condition     = jsondecode(output.config).classes[0].targets[*].name == ["home", "virginia", "second"] && jsondecode(output.config).classes[0].lambda.image == jsondecode(output.config).classes[0].targets[0].image
    error_message = "the deployment's own account and region is one of them, where VMs of before are looked after: ${output.config}"
  }
  assert {
    condition     = jsondecode(output.config).classes[0].targets[0].image == "arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-small" && jsondecode(output.config).classes[0].targets[1].max_vms == "50" && jsondecode(output.config).classes[0].targets[2].weight == 0
    error_message = "each with its image and limits: ${output.config}"
  }
  assert {
    condition = alltrue([for role in ["worker", "reaper"] :
    [for statement in jsondecode(aws_iam_role_policy.task[role].policy).Statement : statement.Resource if statement.Sid == "TargetRoles"] == [["arn:aws:iam::210987654321:role/mayfly-target"]]])
    error_message = "worker and reaper may assume the role: ${aws_iam_role_policy.task["worker"].policy}"
  }
  assert {
    condition     = !contains(jsondecode(aws_iam_role_policy.task["ingress"].policy).Statement[*].Sid, "TargetRoles")
    error_message = "and nobody else"
  }
  assert {
    condition = alltrue([for role in ["worker", "reaper"] :
      [for statement in jsondecode(aws_iam_role_policy.task[role].policy).Statement : toset(statement.Resource) if statement.Sid == "VmEnd"] == [toset(["arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-small", "arn:aws:lambda:us-east-1:123456789012:microvm-image:small"])] &&
    [for statement in jsondecode(aws_iam_role_policy.task[role].policy).Statement : statement.Condition.StringEquals["aws:RequestedRegion"] if statement.Sid == "VmList"] == [["eu-west-1", "us-east-1"]]])
    error_message = "of the images and regions without a role, and no other: ${aws_iam_role_policy.task["worker"].policy}"
  }
  assert {
    condition     = strcontains(aws_ecs_task_definition.refresh[0].container_definitions, "small@home=s3://images/mayfly.zip")
    error_message = "the image here is renewed, and no other: ${aws_ecs_task_definition.refresh[0].container_definitions}"
  }
}

run "targets_refuse_what_is_of_one_account" {
  command = plan

  variables {
    vm_logs = true
    classes = [{ name = "small", labels = ["self-hosted"], targets = [{ name = "home", image_arn = "arn:aws:lambda:us-east-1:123456789012:microvm-image:small" }] }]
  }

  expect_failures = [var.classes]
}

run "several_apps_and_scale_sets_are_settings" {
  command = plan

  variables {
    artifact        = "s3://images/mayfly.zip"
    container_image = "registry.example.com/mayfly@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    entry           = "none"
    settings = {
      github  = { apps = [{ id = "1001", private_key = "kms:alias/first", organizations = ["acme"] }, { id = "1002", private_key = "kms:alias/second", organizations = ["acme"] }] }
      sources = [{ scale_set = "small-arm", class = "default", organization = "acme" }]
    }
  }

  assert {
    condition     = jsondecode(output.config).github.apps[*].id == ["1001", "1002"] && !contains(keys(jsondecode(output.config).github), "app")
    error_message = "they take the place of the one App: ${output.config}"
  }
  assert {
    condition     = jsondecode(output.config).sources[0].scale_set == "small-arm" && !contains(keys(jsondecode(output.config)), "ingress")
    error_message = "and no ingress is needed: ${output.config}"
  }
}
