# --- runner classes ---------------------------------------------------------------------------------------------------------

variable "classes" {
  description = <<-EOT
    Runner classes; default: one, named `default`, of `runner_labels`, `required_labels`, `runner_memory_mib`, `max_duration_seconds`, `image_version` and `additional_os_capabilities`.
    name: in logs, metrics and queues' names.
    labels, required_labels: what `runs-on` selects (deploy/docs/config-reference.md).
    max_vms: most VMs at once; default: what the account's quota allows.
    max_duration, idle_timeout, scope, runner_group, launch_rate: as in the configuration reference.
    min_idle: VMs that are kept without a job, as in the configuration reference; scopes: default, `github_organization`.
    memory_mib: 512, 1024, 2048, 4096 or 8192.
    artifact: as the variable `artifact`, for this class.
    image_arn: an image of yours, instead of one that is made here. No other class and no other deployment may use it.
    image_version: a version that launches are pinned to.
    additional_os_capabilities: ["ALL"] for Docker and sudo; default: the variable's.
    environment: variables of the image, not secret.
    egress_network_connectors: ARNs of the VMs' network connectors; default: INTERNET_EGRESS.
    execution_role_arn: a role whose credentials jobs can read; default: none, or that of `vm_logs`.
    targets: more accounts and regions where the class's VMs are launched (deploy/docs/targets.md); here is then the target `home`. Each has an image of yours;
    role_arn: in another account, such as that of modules/target; max_vms, launch_rate: default, what that account's quotas allow. The VMs'
    data are then encrypted with the service's key, since kms_key_arn is in one region.
  EOT
  type = list(object({
    name                       = string
    labels                     = list(string)
    required_labels            = optional(list(string), [])
    max_vms                    = optional(number)
    max_duration               = optional(string, "1h")
    idle_timeout               = optional(string, "2m")
    scope                      = optional(string)
    runner_group               = optional(string)
    launch_rate                = optional(object({ per_second = number, burst = optional(number, 1) }))
    min_idle                   = optional(object({ count = number, scopes = optional(list(string)), schedule = optional(list(string), []), replace_after = optional(string, "75s") }))
    memory_mib                 = optional(number, 2048)
    artifact                   = optional(string)
    image_arn                  = optional(string)
    image_version              = optional(string)
    additional_os_capabilities = optional(list(string))
    environment                = optional(map(string), {})
    egress_network_connectors  = optional(list(string), [])
    execution_role_arn         = optional(string)
    targets = optional(list(object({
      name        = string
      image_arn   = string
      role_arn    = optional(string)
      max_vms     = optional(number)
      launch_rate = optional(object({ per_second = number, burst = number }))
      weight      = optional(number, 1)
    })), [])
  }))
  default = null

  validation {
    condition     = var.classes == null || try(length(var.classes), 1) > 0 && try(length(var.classes), 1) <= 64
    error_message = "classes has 1 to 64 classes, or is left out."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : can(regex("^[a-z][a-z0-9-]{0,29}$", class.name)) && !endswith(class.name, "-dead")])
    error_message = "A class's name has 1 to 30 lower-case letters, digits and hyphens, begins with a letter, and does not end with -dead, which its dead-letter queue does."
  }
  validation {
    condition     = length(distinct([for class in coalesce(var.classes, []) : class.name])) == length(coalesce(var.classes, []))
    error_message = "Two classes have the same name."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : length(class.labels) > 0 && length(setsubtract(class.required_labels, class.labels)) == 0])
    error_message = "A class has labels, and its required_labels are among them."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : contains([512, 1024, 2048, 4096, 8192], class.memory_mib)])
    error_message = "A class's memory_mib is 512, 1024, 2048, 4096 or 8192: the sizes that Lambda has."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : class.image_arn == null || can(regex("^arn:[^:]+:lambda:[^:]+:[0-9]{12}:microvm-image:.+$", class.image_arn))])
    error_message = "A class's image_arn is arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME, with a colon before the name."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : can(regex("^([0-9.]+(ms|s|m|h|d))+$", class.max_duration)) && can(regex("^([0-9.]+(ms|s|m|h|d))+$", class.idle_timeout))])
    error_message = "A class's max_duration and idle_timeout are durations with their unit, such as 90s, 20m or 6h."
  }
  validation {
    condition     = alltrue([for target in flatten([for class in coalesce(var.classes, []) : class.targets]) : can(regex("^[a-z0-9-]{1,32}$", target.name)) && target.name != "home" && can(regex("^arn:[^:]+:lambda:[^:]+:[0-9]{12}:microvm-image:.+$", target.image_arn)) && (target.role_arn == null || can(regex("^arn:[^:]+:iam::[0-9]{12}:role/.+$", target.role_arn)))])
    error_message = "A target has a name of lower-case letters, digits and hyphens other than home, the ARN of an image, and the ARN of a role or none."
  }
  validation {
    condition     = alltrue([for class in coalesce(var.classes, []) : length(class.targets) == 0 || !var.vm_logs && class.execution_role_arn == null && length(class.egress_network_connectors) == 0])
    error_message = "A class with targets goes without vm_logs, execution_role_arn and egress_network_connectors: each of these is in one account and region."
  }
}

variable "runner_labels" {
  description = "Labels of the runners, where `classes` is left out."
  type        = list(string)
  default     = ["self-hosted", "linux", "arm64", "microvm"]
  nullable    = false
}

variable "required_labels" {
  description = "Labels that a job must have to get a VM, where `classes` is left out."
  type        = list(string)
  default     = ["self-hosted", "microvm"]
  nullable    = false

  validation {
    condition     = var.classes != null || length(setsubtract(var.required_labels, var.runner_labels)) == 0
    error_message = "required_labels must be among runner_labels."
  }
}

variable "runner_memory_mib" {
  description = "Memory of a VM (512, 1024, 2048, 4096 or 8192), where `classes` is left out. Docker builds often need 8192; a VM counts four times against the account's memory quota, which is 8 GB in a new account."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = contains([512, 1024, 2048, 4096, 8192], var.runner_memory_mib)
    error_message = "runner_memory_mib is 512, 1024, 2048, 4096 or 8192: the sizes that Lambda has."
  }
}

variable "max_duration_seconds" {
  description = "Longest life of a VM, where `classes` is left out; then it is terminated, and a job that still runs on it fails."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.max_duration_seconds >= 60 && var.max_duration_seconds <= 28800
    error_message = "max_duration_seconds is 60 to 28800: Lambda ends a MicroVM after eight hours."
  }
}

variable "image_version" {
  description = "Version of the image that launches are pinned to (such as \"3.0\"), where `classes` is left out. Default: the newest good one (deploy/image/README.md)."
  type        = string
  default     = null

  validation {
    condition     = var.image_version == null || can(regex("^[0-9]+(\\.[0-9]+)?$", var.image_version))
    error_message = "image_version is a version such as 3.0."
  }
}

variable "limits" {
  description = <<-EOT
    Caps and rates of the whole fleet. max_vms: most VMs at once; default: what the account's quota allows.
    max_vms_per_repository: 0 for no limit. launch_rate, terminate_rate: calls a second; default: the account's quotas.
  EOT
  type = object({
    max_vms                = optional(number)
    max_vms_per_repository = optional(number, 0)
    launch_rate            = optional(object({ per_second = number, burst = number }))
    terminate_rate         = optional(object({ per_second = number, burst = number }))
  })
  default  = {}
  nullable = false
}

variable "retry" {
  description = "Attempts of a message before it is dead-lettered, and the delays between them."
  type = object({
    max_attempts = optional(number, 8)
    base_delay   = optional(string, "1s")
    max_delay    = optional(string, "5m")
  })
  default  = {}
  nullable = false
}

variable "settings" {
  description = "More of the configuration, by sections as in deploy/docs/config-reference.md, such as { reaper = { retention = \"7d\" } }. Has precedence over what the module sets."
  type        = any
  default     = {}
  nullable    = false

  validation {
    condition     = can(keys(var.settings))
    error_message = "settings is an object of sections, such as { reaper = { retention = \"7d\" } }."
  }
  validation {
    condition     = length(setintersection(try(keys(var.settings), []), ["deployment", "queue", "ledger", "classes"])) == 0
    error_message = "settings may not have deployment, queue, ledger or classes: what is made here would not fit. Use name_prefix, ledger and classes."
  }
}

# --- the image of the VMs ---------------------------------------------------------------------------------------------------

variable "artifact" {
  description = "The archive that the VMs' images are built from: a path of a .zip, or s3://BUCKET/KEY. Default: made by `deploy/image/lambda/build-zip` where Terraform runs (needs zip and the AWS CLI)."
  type        = string
  default     = null

  validation {
    condition     = var.artifact == null || can(regex("^s3://[^/]+/.+$|\\.zip$", var.artifact))
    error_message = "artifact is the path of a .zip file or s3://BUCKET/KEY."
  }
}

variable "runner" {
  description = <<-EOT
    GitHub's actions/runner in the archive that is made here. version: default: the newest.
    sha256: of its archive, from the release page; default: as GitHub's API gives it.
    docker, sudo: whether jobs have Docker, and may become root. packages: more packages of Amazon Linux 2023.
  EOT
  type = object({
    version  = optional(string)
    sha256   = optional(string)
    docker   = optional(bool, true)
    sudo     = optional(bool, true)
    packages = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.runner.sha256 == null || var.runner.version != null && can(regex("^[0-9a-f]{64}$", var.runner.sha256))
    error_message = "runner.sha256 has 64 lower-case hex digits and needs runner.version."
  }
}

variable "base_image_name" {
  description = "Name of Lambda's base image of the VMs."
  type        = string
  default     = "al2023-1"
  nullable    = false
}

variable "base_image_version" {
  description = "Version of Lambda's base image that images are built on. Default: 0 for the first build, and the newest when the scheduled task renews them."
  type        = string
  default     = null

  validation {
    condition     = var.base_image_version == null || can(regex("^[0-9]+(\\.[0-9]+)?$", var.base_image_version))
    error_message = "base_image_version is a number such as 0."
  }
}

variable "additional_os_capabilities" {
  description = "OS capabilities of the VMs' images: [\"ALL\"] for Docker and sudo, [] for less."
  type        = list(string)
  default     = ["ALL"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.additional_os_capabilities, ["ALL"])) == 0
    error_message = "additional_os_capabilities is [\"ALL\"] or []."
  }
}

variable "build_egress_network_connector" {
  description = "ARN of the network connector that images are built through. Default: INTERNET_EGRESS."
  type        = string
  default     = null
}

variable "vm_logs" {
  description = "Whether VMs write their output to a log group. They have a role for it then, whose credentials jobs can read; it allows nothing else. Worker and reaper may then read that group, so that the end of what a failed VM wrote is in `mayflyctl why`."
  type        = bool
  default     = false
  nullable    = false
}

variable "refresh" {
  description = <<-EOT
    Whether a scheduled task builds the images anew before GitHub refuses their runners, which it does 30 days after the next release, and when another version
    of this module (of the agent in them) or another `artifact` makes their archive another one. Without it an image keeps its first archive.
    older_than: days. schedule: how often it looks. keep_versions: the newest N of an image are not deleted, nor what runs, is good or is tried.
  EOT
  type = object({
    enabled       = optional(bool, true)
    older_than    = optional(number, 20)
    schedule      = optional(string, "rate(1 day)")
    keep_versions = optional(number, 5)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.refresh.older_than >= 1 && var.refresh.older_than <= 28
    error_message = "refresh.older_than is 1 to 28 days."
  }
  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.refresh.schedule))
    error_message = "refresh.schedule is rate(1 day) or cron(0 3 * * ? *)."
  }
  validation {
    condition     = var.refresh.keep_versions >= 2 && var.refresh.keep_versions <= 45
    error_message = "refresh.keep_versions is 2 to 45: Lambda keeps 50 versions of an image."
  }
}

variable "artifacts_bucket_name" {
  description = "Name of the bucket for the archives of images. Default: NAME_PREFIX-artifacts-ACCOUNT-REGION."
  type        = string
  default     = null

  validation {
    condition     = var.artifacts_bucket_name == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.artifacts_bucket_name))
    error_message = "artifacts_bucket_name has 3 to 63 lower-case letters, digits, hyphens and dots."
  }
}
