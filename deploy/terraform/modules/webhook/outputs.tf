output "ids" {
  description = "Ids of the webhooks: of each repository, or of the organization under its empty name."
  value = merge(
    { for hook in github_organization_webhook.this : "" => hook.id },
    { for name, hook in github_repository_webhook.this : name => hook.id },
  )
}
