# The console: off by default, and on with nothing that anybody can connect to.
mock_provider "aws" {
  source = "./tests/mocks/aws"
}
mock_provider "awscc" {
  source = "./tests/mocks/awscc"
}

variables {
  github_app      = { app_id = "123456" }
  app_key_kms_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  container_image = "registry.example.com/mayfly@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

run "off_by_default" {
  command = plan

  assert {
    condition = (
      length(aws_ecs_service.console) + length(aws_ecs_task_definition.console) + length(aws_iam_role.console) + length(aws_iam_role_policy.console) +
      length(aws_security_group.console) + length(aws_vpc_security_group_egress_rule.console) + length(aws_vpc_security_group_ingress_rule.redis_console) +
      length(aws_cloudwatch_log_group.console) == 0
    )
    error_message = "nothing of it is made"
  }
  assert {
    condition     = output.console_command == null && !strcontains(aws_iam_policy.operator.policy, "ssm:")
    error_message = "no command, and no right to a session"
  }
  assert {
    condition     = alltrue([for service in merge(aws_ecs_service.fixed, aws_ecs_service.scaled) : service.enable_execute_command != true])
    error_message = "no task can be entered"
  }
}

run "on" {
  command = plan

  variables {
    console = true
  }

  assert {
    condition = (
      aws_ecs_service.console[0].desired_count == 1 && aws_ecs_service.console[0].deployment_maximum_percent == 100 && aws_ecs_service.console[0].enable_execute_command &&
      length(aws_ecs_service.console[0].load_balancer) == 0 && length(aws_ecs_service.console[0].service_registries) == 0
    )
    error_message = "one task, behind nothing"
  }
  assert {
    condition     = alltrue([for service in merge(aws_ecs_service.fixed, aws_ecs_service.scaled) : service.enable_execute_command != true])
    error_message = "of all tasks the console's alone can be entered"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ingress) == 1 && length(aws_vpc_security_group_ingress_rule.redis) == 0
    error_message = "no rule lets anybody in but the ingress's"
  }
  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.console[0].container_definitions)[0].command == ["mayflyctl", "console", "--listen", "127.0.0.1:9110"] &&
      length(jsondecode(aws_ecs_task_definition.console[0].container_definitions)[0].portMappings) == 0 &&
      !jsondecode(aws_ecs_task_definition.console[0].container_definitions)[0].readonlyRootFilesystem
    )
    error_message = "it listens on loopback, and ECS Exec's agent can write"
  }
  assert {
    condition     = alltrue([for definition in aws_ecs_task_definition.program : jsondecode(definition.container_definitions)[0].readonlyRootFilesystem])
    error_message = "no other root can be written"
  }
  assert {
    condition     = toset(jsondecode(aws_iam_role_policy.console[0].policy).Statement[*].Sid) == toset(["LookAtQueues", "LookForQueues", "LookAtLedger", "LookAtDeadLetters", "Sessions"])
    error_message = "it reads: ${aws_iam_role_policy.console[0].policy}"
  }
  assert {
    condition     = !can(regex("REGION|ACCOUNT|DEPLOYMENT|PutItem|DeleteItem|SendMessage|DeleteMessage|kms:|ssm:", aws_iam_role_policy.console[0].policy))
    error_message = "it changes nothing, and has no secret: ${aws_iam_role_policy.console[0].policy}"
  }
  assert {
    condition     = toset([for statement in jsondecode(aws_iam_policy.operator.policy).Statement : statement.Sid if endswith(statement.Sid, "Console")]) == toset(["FindConsole", "LookAtConsole", "OpenConsole", "CloseConsole"])
    error_message = "the operator may open it: ${aws_iam_policy.operator.policy}"
  }
  assert {
    condition     = strcontains(aws_iam_policy.operator.policy, "session/$${aws:userid}-*") && !strcontains(aws_iam_policy.operator.policy, "ecs:ExecuteCommand")
    error_message = "a session of one's own, and no shell: ${aws_iam_policy.operator.policy}"
  }
  assert {
    condition = (
      strcontains(output.console_command, "--cluster mayfly --service-name mayfly-console ") && strcontains(output.console_command, "--target \"ecs:mayfly_$${task##*/}_$runtime\"") &&
      strcontains(output.console_command, "--document-name AWS-StartPortForwardingSession --parameters portNumber=9110,localPortNumber=9110")
    )
    error_message = "the commands: ${coalesce(output.console_command, "none")}"
  }
}

run "on_in_a_cluster_of_others_with_a_key_and_the_cache" {
  command = plan

  variables {
    console     = true
    ledger      = "redis"
    kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-1111-1111-1111-111111111111"
    cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/shared"
  }

  assert {
    condition     = !strcontains(aws_iam_policy.operator.policy, "ssm:") && strcontains(output.console_command, "ecs:shared_")
    error_message = "a session could reach the tasks of others: the right to one is not given here"
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.redis_console) == 1 && length(aws_vpc_security_group_ingress_rule.redis) == 2
    error_message = "the cache lets it in"
  }
  assert {
    condition     = toset(jsondecode(aws_iam_role_policy.console[0].policy).Statement[*].Sid) == toset(["LookAtQueues", "LookForQueues", "LookAtDeadLetters", "OwnKey", "Sessions"])
    error_message = "no table, and the own key: ${aws_iam_role_policy.console[0].policy}"
  }
}
