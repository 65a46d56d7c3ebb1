variable "url" {
  description = "Address of the ingress, the module's output webhook_url."
  type        = string

  validation {
    condition     = can(regex("^https://[^/]+/", var.url))
    error_message = "url must begin with https:// and have a path, as the output webhook_url has."
  }
}

variable "secret" {
  description = "Secret that GitHub signs deliveries with, the same as the ingress reads. It stands in the state in clear."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.secret) >= 16
    error_message = "secret must have at least 16 characters."
  }
}

variable "repositories" {
  description = "Repositories of the provider's owner, as owner/name, that get a webhook each; empty makes one webhook of the whole organization."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.repositories : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", name))])
    error_message = "repositories must have the form owner/name."
  }
  validation {
    condition     = length(distinct([for name in var.repositories : lower(split("/", name)[0])])) <= 1
    error_message = "repositories must have one owner, that of the github provider: use the module once for each owner."
  }
}

variable "active" {
  description = "Whether GitHub sends deliveries."
  type        = bool
  default     = true
}
