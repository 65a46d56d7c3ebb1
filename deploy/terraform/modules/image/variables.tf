variable "name" {
  description = "Name of the image; one for each deployment and class."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "name must have 1 to 64 letters, digits, - and _."
  }
}

variable "artifact_uri" {
  description = "S3 URI of the archive that deploy/image/lambda/build-zip made, for the first version. Later ones are made by `mayfly-publish-image refresh`, which gets the wanted archive: a change here changes nothing."
  type        = string

  validation {
    condition     = can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+$", var.artifact_uri))
    error_message = "artifact_uri must be an S3 URI, s3://BUCKET/KEY."
  }
}

variable "base_image_arn" {
  description = "ARN of Lambda's managed base image, arn:aws:lambda:REGION:aws:microvm-image:al2023-1, in the region of the image."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:aws:microvm-image:.+$", var.base_image_arn))
    error_message = "base_image_arn must be the ARN of a base image, arn:aws:lambda:REGION:aws:microvm-image:NAME."
  }
}

variable "build_role_arn" {
  description = "ARN of the role that Lambda builds with: it reads the artifact and writes the build's log."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.build_role_arn))
    error_message = "build_role_arn must be the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME."
  }
}

variable "description" {
  description = "Description of the image."
  type        = string
  default     = "Mayfly runner"
}

variable "base_image_version" {
  description = "Version of the base image. `aws lambda-microvms list-managed-microvm-image-versions` lists them, and which are recalled."
  type        = string

  validation {
    condition     = can(regex("^\\S+$", var.base_image_version))
    error_message = "base_image_version must not be empty, nor have blanks."
  }
}

variable "architecture" {
  description = "arm64, or x86_64 where the region lists it and the awscc provider takes it (1.90 does not)."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "memory_mib" {
  description = "Memory of a VM: 512, 1024, 2048, 4096 or 8192 MiB."
  type        = number
  default     = 2048

  validation {
    condition     = contains([512, 1024, 2048, 4096, 8192], var.memory_mib)
    error_message = "memory_mib must be 512, 1024, 2048, 4096 or 8192."
  }
}

variable "additional_os_capabilities" {
  description = "[\"ALL\"] for Docker and sudo, [] for less."
  type        = list(string)
  default     = ["ALL"]

  validation {
    condition     = length(setsubtract(var.additional_os_capabilities, ["ALL"])) == 0
    error_message = "additional_os_capabilities must be [\"ALL\"] or []: the service has no others."
  }
}

variable "egress_network_connectors" {
  description = "ARN of the network connector that the image is built through, at most one. Empty: INTERNET_EGRESS."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.egress_network_connectors) <= 1 && alltrue([for arn in var.egress_network_connectors : can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:(aws|[0-9]{12}):network-connector:.+$", arn))])
    error_message = "egress_network_connectors has at most one item, the ARN of a network connector."
  }
}

variable "environment" {
  description = "Environment of the image's container. No secrets: each job can read it."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(var.environment) <= 50 && alltrue([for key, value in var.environment : can(regex("^\\S{1,256}$", key)) && length(value) <= 4096])
    error_message = "environment has at most 50 variables, names of at most 256 characters without blanks, and values of at most 4096."
  }
}

variable "log_group" {
  description = "CloudWatch log group for the build's output; null logs nothing."
  type        = string
  default     = null

  validation {
    condition     = var.log_group == null || can(regex("^[A-Za-z0-9_./#-]{1,512}$", var.log_group))
    error_message = "log_group must be the name of a log group, not its ARN."
  }
}

variable "hook_port" {
  description = "Port of the agent's hooks, that of build-zip's --port."
  type        = number
  default     = 9000

  validation {
    condition     = var.hook_port >= 1 && var.hook_port <= 65535 && floor(var.hook_port) == var.hook_port
    error_message = "hook_port must be between 1 and 65535."
  }
}

variable "hook_seconds" {
  description = "Time of the hooks run, resume, suspend and terminate. The runner needs up to 35 s to end."
  type        = number
  default     = 60

  validation {
    condition     = var.hook_seconds >= 1 && var.hook_seconds <= 60 && floor(var.hook_seconds) == var.hook_seconds
    error_message = "hook_seconds must be between 1 and 60."
  }
}

variable "ready_seconds" {
  description = "Time of the ready hook, in which the image's runner is tried."
  type        = number
  default     = 900

  validation {
    condition     = var.ready_seconds >= 1 && var.ready_seconds <= 3600 && floor(var.ready_seconds) == var.ready_seconds
    error_message = "ready_seconds must be between 1 and 3600."
  }
}

variable "validate_seconds" {
  description = "Time of the validate hook, in which Docker is tried."
  type        = number
  default     = 900

  validation {
    condition     = var.validate_seconds >= 1 && var.validate_seconds <= 3600 && floor(var.validate_seconds) == var.validate_seconds
    error_message = "validate_seconds must be between 1 and 3600."
  }
}

variable "tags" {
  description = "Tags of the image."
  type        = map(string)
  default     = {}
}
