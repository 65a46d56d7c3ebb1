# Everything switched on: examples/complete, more or less.
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

run "complete" {
  command = plan

  variables {
    name_prefix          = "mayfly-eu"
    github_app           = { app_id = "Iv23liABCDEF", installation_id = "4711" }
    github_organization  = "acme"
    permissions_boundary = "arn:aws:iam::123456789012:policy/boundary"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111"
    container_image      = "registry.example.com/mayfly@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    artifact             = "s3://images/mayfly.zip"
    cluster_arn          = "arn:aws:ecs:eu-west-1:123456789012:cluster/shared"
    alarm_topic_arn      = "arn:aws:sns:eu-west-1:123456789012:oncall"
    autoscaling          = { ingress_max = 10, worker_max = 4 }
    vm_logs              = true
    settings             = { reaper = { retention = "7d" }, github = { public_repositories = "allow" } }
    limits               = { max_vms = 200, max_vms_per_repository = 50, launch_rate = { per_second = 5, burst = 5 } }
    retry                = { max_attempts = 4 }
    tags                 = { team = "ci" }
    classes = [
      { name = "small", labels = ["self-hosted", "arm64", "small"], required_labels = ["small"], memory_mib = 1024, max_vms = 100, launch_rate = { per_second = 2 }, min_idle = { count = 2, schedule = ["mon-fri 07:00-19:00"] } },
      { name = "large", labels = ["self-hosted", "arm64", "large"], required_labels = ["large"], memory_mib = 8192, egress_network_connectors = ["arn:aws:lambda:eu-west-1:123456789012:network-connector:vpc"] },
      { name = "own", labels = ["self-hosted", "own"], image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image:own", image_version = "3.0", execution_role_arn = "arn:aws:iam::123456789012:role/jobs" },
    ]
  }

  assert {
    condition     = toset(keys(module.image)) == toset(["small", "large"]) && length(aws_sqs_queue.this) == 8
    error_message = "an image for each class without one, two queues for each lane"
  }
  assert {
    condition     = length(aws_ecr_repository.this) == 0 && length(terraform_data.container_image) == 0 && length(terraform_data.artifact) == 0
    error_message = "a given container image and archive: nothing is built, and no Docker is needed"
  }
  assert {
    condition     = length(aws_ecs_cluster.this) == 0 && aws_ecs_service.scaled["ingress"].cluster == "arn:aws:ecs:eu-west-1:123456789012:cluster/shared" && length(aws_sns_topic.alarms) == 0
    error_message = "the given cluster and topic"
  }
  assert {
    condition = alltrue([for role in concat(values(aws_iam_role.task), aws_iam_role.build[*], aws_iam_role.refresh[*], aws_iam_role.scheduler[*], aws_iam_role.vm[*], [aws_iam_role.execution]) :
    role.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary" && role.tags.team == "ci" && startswith(role.name, "mayfly-eu-")])
    error_message = "every role has the boundary, the tags and the prefix"
  }
  assert {
    condition     = alltrue([for queue in aws_sqs_queue.this : queue.kms_master_key_id == var.kms_key_arn]) && one(aws_dynamodb_table.ledger[0].server_side_encryption).kms_key_arn == var.kms_key_arn
    error_message = "the own key encrypts queues and table"
  }
  assert {
    condition     = jsondecode(output.config).reaper.retention == "7d" && jsondecode(output.config).github.public_repositories == "allow" && jsondecode(output.config).github.repositories == ["acme/*"] && jsondecode(output.config).github.installation == 4711
    error_message = "settings are added to the module's: ${output.config}"
  }
  assert {
    condition     = jsondecode(output.config).limits.max_vms == "200" && jsondecode(output.config).retry.max_attempts == 4 && jsondecode(output.config).limits.terminate_rate.burst == "auto"
    error_message = "limits and retry: ${output.config}"
  }
  assert {
    condition     = jsondecode(output.config).classes[2].min_idle.scopes == ["acme"] && jsondecode(output.config).classes[2].min_idle.count == 2 && !contains(keys(jsondecode(output.config).classes[1]), "min_idle")
    error_message = "idle VMs of the class that keeps them, in the organization"
  }
  assert {
    condition     = jsondecode(output.config).classes[1].name == "own" && jsondecode(output.config).classes[1].lambda.image_version == "3.0"
    error_message = "classes in the order of their names: ${output.config}"
  }
  assert {
    condition     = keys(aws_appautoscaling_policy.worker) == ["in", "out"] && aws_appautoscaling_target.service["worker"].max_capacity == 4 && keys(aws_ecs_service.scaled) == ["ingress", "worker"] && keys(aws_ecs_service.fixed) == ["reaper"]
    error_message = "workers are scaled, and their number is not Terraform's"
  }
  assert {
    condition = alltrue([for role, reads in { ingress = false, worker = true, reaper = true } : reads == contains(jsondecode(aws_iam_role_policy.task[role].policy).Statement[*].Sid, "VmLogs") &&
    (!reads || strcontains(aws_iam_role_policy.task[role].policy, "\"Action\":[\"logs:GetLogEvents\"],\"Effect\":\"Allow\",\"Resource\":\"arn:aws:logs:eu-west-1:123456789012:log-group:/mayfly/mayfly-eu/vm:log-stream:*\""))])
    error_message = "worker and reaper read what VMs wrote, and no other log: ${aws_iam_role_policy.task["worker"].policy}"
  }
  assert {
    condition     = contains(jsondecode(aws_iam_role_policy.refresh[0].policy).Statement[*].Sid, "OwnKey")
    error_message = "the renewal may use the own key"
  }
}
