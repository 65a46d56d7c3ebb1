# --- the deployment ---------------------------------------------------------------------------------------------------------

variable "name_prefix" {
  description = "Name of the deployment, and the beginning of the name of everything made here. Two deployments in one GitHub organization or one account need different ones."
  type        = string
  default     = "mayfly"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name_prefix)) && length(var.name_prefix) <= 20
    error_message = "name_prefix has 1 to 20 lower-case letters, digits and single hyphens, and begins with a letter, such as mayfly-eu."
  }
}

variable "tags" {
  description = "Tags of everything that can have tags."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "permissions_boundary" {
  description = "ARN of a policy that is the permissions boundary of every role made here."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:[^:]+:iam::[0-9]{12}:policy/", var.permissions_boundary))
    error_message = "permissions_boundary is the ARN of an IAM policy: arn:aws:iam::123456789012:policy/NAME."
  }
}

variable "kms_key_arn" {
  description = "ARN of a symmetric KMS key of yours that encrypts queues, table, log groups, parameters, bucket, repository, topic and cache. Its policy must let CloudWatch Logs and CloudWatch (alarms) use it. Default: keys of AWS."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key (not of an alias): arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "deletion_protection" {
  description = "Whether table and load balancer refuse to be deleted, and the bucket and the repository to be deleted with what is in them. Set it to false, apply, then destroy."
  type        = bool
  default     = true
  nullable    = false
}

# --- GitHub -----------------------------------------------------------------------------------------------------------------

variable "github_app" {
  description = <<-EOT
    The GitHub App, made by `mayflyctl app create`.
    app_id: its id or client id.
    installation_id: of its installation; default: looked up for each delivery.
    Its private key is given by `app_key_kms_arn` (best), `app_key_parameter` or `github_app_private_key`.
  EOT
  type = object({
    app_id          = string
    installation_id = optional(string)
  })
  nullable = false

  validation {
    condition     = length(var.github_app.app_id) > 0
    error_message = "github_app.app_id is the App's id (or client id), as its settings page shows it."
  }
  validation {
    condition     = can(regex("^[0-9]+$", coalesce(var.github_app.installation_id, "0")))
    error_message = "github_app.installation_id is a number: the last part of the installation's URL."
  }
}

variable "app_key_kms_arn" {
  description = "ARN of the KMS key that holds the App's private key, made by `mayflyctl app import-key`. It signs, and never leaves KMS."
  type        = string
  default     = null

  validation {
    condition     = var.app_key_kms_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", var.app_key_kms_arn))
    error_message = "app_key_kms_arn is the ARN of a key (not of an alias): arn:aws:kms:REGION:ACCOUNT:key/ID."
  }
}

variable "app_key_parameter" {
  description = "Name of an SSM parameter that holds the App's private key (PEM), as `mayflyctl app create --ssm` writes it; instead of `app_key_kms_arn`."
  type        = string
  default     = null

  validation {
    condition     = var.app_key_parameter == null || can(regex("^/[A-Za-z0-9_./-]+$", var.app_key_parameter))
    error_message = "app_key_parameter is a parameter's name that begins with /, such as /mayfly/app-key."
  }
}

variable "github_app_private_key" {
  description = "The App's private key (the PEM's text, not a path); instead of `app_key_kms_arn`. Stored in an SSM parameter by a write-only argument: neither state nor plan holds it."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = length([for given in [var.app_key_kms_arn, var.app_key_parameter, var.github_app_private_key] : given if given != null]) == 1
    error_message = "The App's private key is given once: by app_key_kms_arn, app_key_parameter or github_app_private_key."
  }
  validation {
    condition     = var.github_app_private_key == null || can(regex("-----BEGIN (RSA )?PRIVATE KEY-----", var.github_app_private_key))
    error_message = "github_app_private_key is the text of the PEM file, not its path: file(\"app.pem\")."
  }
}

variable "github_app_private_key_version" {
  description = "Raise it by one when `github_app_private_key` changes: Terraform cannot see that a write-only value did."
  type        = number
  default     = 1
  nullable    = false
}

variable "webhook_secret_parameter" {
  description = "Name of an SSM parameter that holds the webhook's secret, as `mayflyctl app create --ssm` writes it. Default: a secret is generated and stored in `/NAME_PREFIX/webhook-secret`."
  type        = string
  default     = null

  validation {
    condition     = var.webhook_secret_parameter == null || can(regex("^/[A-Za-z0-9_./-]+$", var.webhook_secret_parameter))
    error_message = "webhook_secret_parameter is a parameter's name that begins with /, such as /mayfly/webhook-secret."
  }
}

variable "webhook_secret_version" {
  description = "Raise it by one to generate a new webhook secret. The former is then gone: to rotate without a lost delivery see deploy/docs/aws.md."
  type        = number
  default     = 1
  nullable    = false
}

variable "previous_webhook_secret_parameter" {
  description = "Name of an SSM parameter with a second secret that is accepted while the webhook's is being rotated."
  type        = string
  default     = null

  validation {
    condition     = var.previous_webhook_secret_parameter == null || can(regex("^/[A-Za-z0-9_./-]+$", var.previous_webhook_secret_parameter))
    error_message = "previous_webhook_secret_parameter is a parameter's name that begins with /."
  }
}

variable "github_api_url" {
  description = "URL of GitHub's REST API: that of GitHub Enterprise Server (https://HOST/api/v3) or ghe.com."
  type        = string
  default     = "https://api.github.com"
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/]+", var.github_api_url))
    error_message = "github_api_url is a URL, such as https://github.example.com/api/v3."
  }
}

variable "github_organization" {
  description = "Organization whose jobs are run, if `github_repositories` names none. Default: those of all installations."
  type        = string
  default     = null

  validation {
    condition     = var.github_organization == null || can(regex("^[A-Za-z0-9-]{1,39}$", var.github_organization))
    error_message = "github_organization is the organization's login, such as acme."
  }
}

variable "github_repositories" {
  description = "Repositories whose jobs are run, as owner/name or owner/*. Deliveries of others are answered 200 and ignored."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.github_repositories : can(regex("^[^/]+/[^/]+$", name))])
    error_message = "github_repositories has entries of the form owner/name or owner/*."
  }
}

# --- the programs -----------------------------------------------------------------------------------------------------------

variable "container_image" {
  description = "Container image of the programs, for arm64, best with its digest. Default: built by `deploy/container/build` with docker, podman, buildah or finch where Terraform runs, and pushed to a repository that is made here (needs the AWS CLI)."
  type        = string
  default     = null

  validation {
    condition     = var.container_image == null || can(regex("[:@]", var.container_image))
    error_message = "container_image has a tag or a digest: with neither, nobody knows what runs."
  }
}

variable "build_base_image" {
  description = "Image of Debian 12 or 13 that the container image is built on. Default: docker.io/library/debian:12-slim."
  type        = string
  default     = null
}

variable "build_date" {
  description = "Another value builds the container image anew, with the fixes that Debian has made since. Default: the month of the plan, so that the first apply of a month does; set it, to any text, to decide yourself."
  type        = string
  default     = null
}

variable "cluster_arn" {
  description = "ARN of an ECS cluster of yours. Default: one is made."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_arn == null || can(regex("^arn:[^:]+:ecs:[^:]+:[0-9]{12}:cluster/", var.cluster_arn))
    error_message = "cluster_arn is arn:aws:ecs:REGION:ACCOUNT:cluster/NAME."
  }
}

variable "desired_count" {
  description = "Tasks of each program. Any number may run; two ingresses and workers survive the loss of a zone."
  type = object({
    ingress = optional(number, 2)
    worker  = optional(number, 2)
    reaper  = optional(number, 1)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for count in values(var.desired_count) : count >= 0 && count <= 100 && floor(count) == count])
    error_message = "desired_count has whole numbers of 0 to 100."
  }
}

variable "task_size" {
  description = "CPU units (256 are a quarter of a processor) and MiB of memory of each program's task, as Fargate has them."
  type = object({
    ingress = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
    worker  = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
    reaper  = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for size in values(var.task_size) : contains([256, 512, 1024, 2048, 4096], size.cpu) && size.memory >= 2 * size.cpu && size.memory <= 8 * size.cpu])
    error_message = "task_size has a cpu of 256, 512, 1024, 2048 or 4096, and a memory of 2 to 8 MiB for each unit."
  }
}

variable "autoscaling" {
  description = <<-EOT
    ingress_max: most ingress tasks; above desired_count.ingress they are scaled on CPU.
    worker_max: most worker tasks; default: not scaled, as one does (deploy/docs/aws.md). They are scaled on jobs that wait although nothing holds them.
    ingress_cpu_percent: what the ingress tasks' CPU is kept at.
  EOT
  type = object({
    ingress_max         = optional(number, 6)
    worker_max          = optional(number)
    ingress_cpu_percent = optional(number, 60)
  })
  default  = {}
  nullable = false

  validation {
    condition     = coalesce(var.autoscaling.worker_max, 100) >= var.desired_count.worker
    error_message = "autoscaling.worker_max is at least desired_count.worker."
  }
  validation {
    condition     = var.autoscaling.ingress_cpu_percent >= 10 && var.autoscaling.ingress_cpu_percent <= 90
    error_message = "autoscaling.ingress_cpu_percent is 10 to 90."
  }
}

variable "wait_for_steady_state" {
  description = "Whether `terraform apply` waits until the services run, and fails where they do not."
  type        = bool
  default     = true
  nullable    = false
}

variable "console" {
  description = "Whether `mayflyctl console` runs as a service of one task, which reads the fleet and changes nothing. Nothing can connect to it: the output `console_command` has the command that forwards its port to your machine by ECS Exec."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and more."
  }
}

variable "log_level" {
  description = "The lowest level that is logged: debug, info, warn or error."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["debug", "info", "warn", "error"], var.log_level)
    error_message = "log_level is debug, info, warn or error."
  }
}

# --- network and entry ------------------------------------------------------------------------------------------------------

variable "vpc_id" {
  description = "A VPC of yours; with `subnet_ids`. Default: one is made, with two public subnets and no NAT gateway."
  type        = string
  default     = null

  validation {
    condition     = (var.vpc_id == null) == (length(var.subnet_ids) == 0)
    error_message = "vpc_id and subnet_ids are given together, or neither is."
  }
}

variable "subnet_ids" {
  description = "Subnets of `vpc_id` for the tasks, in two zones at least."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) != 1
    error_message = "subnet_ids has two subnets at least, in different zones."
  }
}

variable "load_balancer_subnet_ids" {
  description = "Public subnets of `vpc_id` for the load balancer, where `subnet_ids` are private. Default: `subnet_ids`."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "assign_public_ip" {
  description = "Whether tasks have public addresses: true where the subnets reach the internet without a NAT gateway. No address accepts a connection from outside."
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc_cidr" {
  description = "Addresses of the VPC that is made here."
  type        = string
  default     = "10.64.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrsubnet(var.vpc_cidr, 1, 0))
    error_message = "vpc_cidr is a block such as 10.64.0.0/24."
  }
}

variable "entry" {
  description = "Where GitHub's deliveries arrive: `api_gateway` (HTTPS without a domain of yours), `alb` (a load balancer with your certificate), or `none`: no ingress runs and nothing can be reached from outside; the reaper reads GitHub's delivery log (`pull_interval`), or asks for the jobs of scale sets (`sources` in `settings`)."
  type        = string
  default     = "api_gateway"
  nullable    = false

  validation {
    condition     = contains(["api_gateway", "alb", "none"], var.entry)
    error_message = "entry is api_gateway, alb or none."
  }
}

variable "pull_interval" {
  description = "How often the reaper reads the webhook's delivery log for deliveries that nobody accepted, such as 5s (github.pull): beside an entry, or instead of one. How many jobs an hour that serves: deploy/docs/pull.md. Default: not read, but for what the entry missed."
  type        = string
  default     = null

  validation {
    condition     = var.pull_interval == null || can(regex("^[1-9][0-9]*(ms|s|m|h)$", var.pull_interval))
    error_message = "pull_interval is a duration with its unit, such as 5s."
  }
  validation {
    condition     = var.entry != "none" || var.pull_interval != null || can(var.settings.sources[0])
    error_message = "pull_interval is given with entry = \"none\", such as 5s, or settings has sources (scale sets): nothing else learns of jobs."
  }
}

variable "alb" {
  description = <<-EOT
    With entry = "alb". certificate_arn: of ACM. domain_name: what the certificate is for, and GitHub calls.
    zone_id: the Route 53 zone in which domain_name becomes an alias of the load balancer; default: make the record yourself.
    allowed_cidr_blocks: who may connect; GitHub's are in `hooks` of https://api.github.com/meta.
    access_logs_bucket: a bucket of yours for its logs.
  EOT
  type = object({
    certificate_arn     = string
    domain_name         = string
    zone_id             = optional(string)
    allowed_cidr_blocks = optional(list(string), ["0.0.0.0/0"])
    access_logs_bucket  = optional(string)
  })
  default = null

  validation {
    condition     = (var.alb != null) == (var.entry == "alb")
    error_message = "alb is given with entry = \"alb\", and only then."
  }
}

# --- ledger -----------------------------------------------------------------------------------------------------------------

variable "ledger" {
  description = "The ledger: `dynamodb` (a table), or `redis` (ElastiCache for Valkey, two nodes): faster, and dearer when idle. The queue is SQS in either case: ElastiCache may lose what it confirmed."
  type        = string
  default     = "dynamodb"
  nullable    = false

  validation {
    condition     = contains(["dynamodb", "redis"], var.ledger)
    error_message = "ledger is dynamodb or redis."
  }
}

variable "redis_node_type" {
  description = "Node type of ElastiCache, with ledger = \"redis\"."
  type        = string
  default     = "cache.t4g.small"
  nullable    = false
}

# --- alarms -----------------------------------------------------------------------------------------------------------------

variable "alarm_topic_arn" {
  description = "ARN of an SNS topic of yours for the alarms. Default: one is made."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_topic_arn == null || can(regex("^arn:[^:]+:sns:", var.alarm_topic_arn))
    error_message = "alarm_topic_arn is the ARN of an SNS topic."
  }
}

variable "alarm_email" {
  description = "Address that the topic made here writes to; AWS asks its owner to confirm."
  type        = string
  default     = null
}
