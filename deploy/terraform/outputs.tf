output "webhook_payload_url" {
  description = "URL for the webhook of the GitHub App (content type application/json); null with entry = \"none\"."
  value       = local.webhook_url
}

output "webhook_secret_param_name" {
  description = "Name of the SSM parameter with the webhook's secret: `aws ssm get-parameter --with-decryption --query Parameter.Value --output text --name …`; null with entry = \"none\"."
  value       = local.webhook_secret_parameter
}

output "webhook_secret_param_arn" {
  description = "ARN of that parameter."
  value       = local.has_entry ? "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${local.webhook_secret_parameter}" : null
}

output "config" {
  description = "The programs' configuration (JSON), without secrets: for `mayflyctl --config` and `--check-config --online` on another machine."
  value       = local.config_json
}

output "image_arns" {
  description = "ARN of each class's MicroVM image."
  value       = local.image_arns
}

output "image_versions" {
  description = "Newest active version of each image that is made here, as Terraform last read it."
  value       = { for name, image in module.image : name => image.version }
}

output "artifacts_bucket" {
  description = "Name of the bucket with the archives of images; null where every class has an image of yours."
  value       = one(aws_s3_bucket.artifacts[*].id)
}

output "build_role_arn" {
  description = "ARN of the role that Lambda builds images with; null where none is built."
  value       = one(aws_iam_role.build[*].arn)
}

output "exec_role_arn" {
  description = "ARN of the VMs' role; null unless `vm_logs` is set."
  value       = one(aws_iam_role.vm[*].arn)
}

output "container_image" {
  description = "Container image that runs."
  value       = local.container_image
}

output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = local.cluster_arn
}

output "service_names" {
  description = "Name of each program's ECS service."
  value       = { for program, service in merge(aws_ecs_service.fixed, aws_ecs_service.scaled) : program => service.name }
}

output "task_role_arns" {
  description = "ARN of each program's task role."
  value       = { for program, role in aws_iam_role.task : program => role.arn }
}

output "operator_policy_arn" {
  description = "ARN of a policy for who runs `mayflyctl`: attach it to a role of yours."
  value       = aws_iam_policy.operator.arn
}

output "console_command" {
  description = "With `console`: shell commands that forward the console's port to this machine, where http://127.0.0.1:9110/ is then the console. They need the AWS CLI with its Session Manager plugin, and the policy `operator_policy_arn`. Else null."
  value       = !var.console ? null : <<-EOT
    task=$(aws ecs list-tasks --region ${local.region} --cluster ${local.cluster_name} --service-name ${aws_ecs_service.console[0].name} --query 'taskArns[0]' --output text)
    runtime=$(aws ecs describe-tasks --region ${local.region} --cluster ${local.cluster_name} --tasks "$task" --query 'tasks[0].containers[0].runtimeId' --output text)
    aws ssm start-session --region ${local.region} --target "ecs:${local.cluster_name}_$${task##*/}_$runtime" --document-name AWS-StartPortForwardingSession --parameters portNumber=${local.console_port},localPortNumber=${local.console_port}
  EOT
}

output "queue_names" {
  description = "Names of the SQS queues, lanes and dead-letter queues."
  value       = sort([for queue in aws_sqs_queue.this : queue.name])
}

output "ledger_table" {
  description = "Name of the ledger's DynamoDB table; null with ledger = \"redis\"."
  value       = one(aws_dynamodb_table.ledger[*].name)
}

output "log_group_names" {
  description = "Name of each program's log group."
  value       = { for program, group in aws_cloudwatch_log_group.program : program => group.name }
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic of the alarms."
  value       = local.alarm_topic_arn
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.fleet.dashboard_name
}
