# The webhook that reports jobs to Mayfly: one of the organization, or one of each repository.

resource "github_organization_webhook" "this" {
  count = length(var.repositories) == 0 ? 1 : 0

  active = var.active
  events = ["workflow_job"]

  configuration {
    url          = var.url
    content_type = "json"
    insecure_ssl = false
    secret       = var.secret
  }
}

resource "github_repository_webhook" "this" {
  for_each = var.repositories

  repository = split("/", each.key)[1]
  active     = var.active
  events     = ["workflow_job"]

  configuration {
    url          = var.url
    content_type = "json"
    insecure_ssl = false
    secret       = var.secret
  }
}
