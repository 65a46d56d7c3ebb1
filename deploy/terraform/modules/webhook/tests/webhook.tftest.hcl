mock_provider "github" {}

variables {
  url    = "https://hooks.example.com/webhook"
  secret = "a secret of the test"
}

run "organization" {
  command = apply

  assert {
    condition     = length(github_organization_webhook.this) == 1 && length(github_repository_webhook.this) == 0 && length(output.ids) == 1
    error_message = "without repositories one webhook of the organization"
  }
  assert {
    condition     = github_organization_webhook.this[0].events == toset(["workflow_job"]) && github_organization_webhook.this[0].active
    error_message = "of jobs, and active"
  }
  assert {
    condition     = github_organization_webhook.this[0].configuration[0].content_type == "json" && !github_organization_webhook.this[0].configuration[0].insecure_ssl
    error_message = "as JSON, with the certificate checked"
  }
}

run "repositories" {
  command = apply

  variables {
    repositories = ["acme/web", "acme/app"]
    active       = false
  }

  assert {
    condition     = length(github_organization_webhook.this) == 0 && keys(output.ids) == ["acme/app", "acme/web"] && github_repository_webhook.this["acme/web"].repository == "web"
    error_message = "one of each repository, and none of the organization"
  }
  assert {
    condition     = alltrue([for hook in github_repository_webhook.this : !hook.active && hook.events == toset(["workflow_job"])])
    error_message = "of jobs, and inactive"
  }
}

run "values_that_cannot_work" {
  command = plan

  variables {
    url          = "http://hooks.example.com"
    secret       = "short"
    repositories = ["web"]
  }

  expect_failures = [var.url, var.secret, var.repositories]
}

run "repositories_of_two_owners" {
  command = plan

  variables {
    repositories = ["acme/web", "other/web"]
  }

  expect_failures = [var.repositories]
}
