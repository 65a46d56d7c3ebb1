# The configuration of all three programs, as MAYFLY_CONFIG. Secrets are references in it, so it is none itself.

locals {
  config_of_classes = [
    for name, class in local.classes : merge(
      {
        name            = name
        labels          = class.labels
        required_labels = class.required_labels
        provider        = "lambda"
        max_vms         = class.max_vms == null ? "auto" : tostring(class.max_vms)
        max_duration    = class.max_duration
        idle_timeout    = class.idle_timeout
        lambda = { for key, value in {
          image             = local.image_arns[name] # with targets: where VMs ran before there were any
          image_version     = class.image_version
          egress_connectors = length(class.egress_network_connectors) > 0 ? class.egress_network_connectors : null
          execution_role    = class.execution_role_arn != null ? class.execution_role_arn : var.vm_logs ? local.role_arns["vm"] : null
          log_group         = var.vm_logs ? aws_cloudwatch_log_group.vm[0].name : null
          kms_key           = length(class.targets) == 0 ? var.kms_key_arn : null # a key is in one region
        } : key => value if value != null }
      },
      length(class.targets) == 0 ? {} : { targets = concat(
        [{ name = "home", image = local.image_arns[name], max_vms = "auto", launch_rate = { per_second = "auto", burst = "auto" } }],
        [for target in class.targets : { for key, value in {
          name        = target.name
          image       = target.image_arn
          role_arn    = target.role_arn
          max_vms     = target.max_vms == null ? "auto" : tostring(target.max_vms)
          launch_rate = try({ per_second = tostring(target.launch_rate.per_second), burst = tostring(target.launch_rate.burst) }, { per_second = "auto", burst = "auto" })
          weight      = target.weight
        } : key => value if value != null }],
      ) },
      { for key, value in { scope = class.scope, runner_group = class.runner_group, launch_rate = class.launch_rate } : key => value if value != null },
      { for key, idle in { min_idle = class.min_idle } : key => {
        count                       = idle.count
        scopes                      = idle.scopes != null ? idle.scopes : compact([var.github_organization])
        schedule                    = idle.schedule
        replace_after               = idle.replace_after
      } if idle != null },
    )
  ]

  config_of_github = { for key, value in {
    api_url = var.github_api_url
    app = can(var.settings.github.apps) ? null : {
      id          = var.github_app.app_id
      private_key = var.app_key_kms_arn != null ? "kms:${var.app_key_kms_arn}" : "ssm:${local.app_key_parameter}"
    }
    installation    = var.github_app.installation_id == null ? null : tonumber(var.github_app.installation_id)
    webhook_secrets = local.has_entry ? [for name in local.webhook_secret_parameters : "ssm:${name}"] : null
    pull            = var.pull_interval == null ? null : { interval = var.pull_interval }
    repositories    = length(var.github_repositories) > 0 ? var.github_repositories : var.github_organization == null ? null : ["${var.github_organization}/*"]
  } : key => value if value != null }

  config_of_limits = {
    max_vms                = var.limits.max_vms == null ? "auto" : tostring(var.limits.max_vms)
    max_vms_per_repository = var.limits.max_vms_per_repository
    launch_rate            = try({ per_second = tostring(var.limits.launch_rate.per_second), burst = tostring(var.limits.launch_rate.burst) }, { per_second = "auto", burst = "auto" })
    terminate_rate         = try({ per_second = tostring(var.limits.terminate_rate.per_second), burst = tostring(var.limits.terminate_rate.burst) }, { per_second = "auto", burst = "auto" })
  }

  ledger_url = var.ledger == "dynamodb" ? "dynamodb://${var.name_prefix}?region=${local.region}" : "rediss://${try(aws_elasticache_replication_group.redis[0].primary_endpoint_address, "")}:6379/0?prefix=${var.name_prefix}"

  config_of_sections = { for name, section in {
    aws    = { region = local.region }
    github = local.config_of_github
    limits = local.config_of_limits
    # The security group admits the load balancer or the VPC link alone, whose addresses are private ones of the VPC: what each
    # of GitHub's senders may hold counts for that sender.
    ingress = { trusted_proxies = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] }
    retry   = var.retry
    worker  = { capacity_poll = var.ledger == "dynamodb" ? "250ms" : "20ms" }
    metrics = { emf = true }
  } : name => section if local.has_entry || name != "ingress" }

  # Sections of `settings` over those of the module, one level deep.
  config = merge(
    { log_level = var.log_level },
    { for name, section in var.settings : name => section if !contains(keys(local.config_of_sections), name) },
    { for name, section in local.config_of_sections : name => merge(section, try(var.settings[name], {})) },
    {
      deployment = var.name_prefix
      queue      = "sqs://${var.name_prefix}?region=${local.region}"
      ledger     = local.ledger_url
      classes    = local.config_of_classes
    },
  )
  config_json = jsonencode(local.config)
}
