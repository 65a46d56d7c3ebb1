# What each validation refuses: several in a run, since each run starts the provider.
mock_provider "aws" {
  source = "./tests/mocks/aws"
}
mock_provider "awscc" {
  source = "./tests/mocks/awscc"
}

variables {
  github_app      = { app_id = "123456" }
  app_key_kms_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "refused_1" {
  command = plan

  variables {
    name_prefix                       = "Mayfly_EU"
    kms_key_arn                       = "alias/mayfly"
    permissions_boundary              = "boundary"
    github_app                        = { app_id = "" }
    app_key_kms_arn                   = "alias/app"
    webhook_secret_parameter          = "secret"
    previous_webhook_secret_parameter = "secret"
    github_api_url                    = "github.example.com"
    github_organization               = "acme/app"
    github_repositories               = ["app"]
    classes                           = []
    runner_memory_mib                 = 3000
    max_duration_seconds              = 30000
    image_version                     = "newest"
    settings                          = "reaper"
    artifact                          = "image.tar"
    runner                            = { sha256 = "abc" }
    base_image_version                = "newest"
    additional_os_capabilities        = ["SYS_ADMIN"]
    refresh                           = { older_than = 30 }
    artifacts_bucket_name             = "Bucket"
    container_image                   = "mayfly"
    cluster_arn                       = "mayfly"
    desired_count                     = { worker = -1 }
    task_size                         = { worker = { cpu = 300, memory = 512 } }
    log_retention_days                = 10
    log_level                         = "trace"
    subnet_ids                        = ["subnet-1", "subnet-2"]
    vpc_cidr                          = "10.0.0.0"
    entry                             = "function_url"
    ledger                            = "memcached"
    alarm_topic_arn                   = "oncall"
  }
  expect_failures = [
    var.name_prefix,
    var.kms_key_arn,
    var.permissions_boundary,
    var.github_app,
    var.app_key_kms_arn,
    var.webhook_secret_parameter,
    var.previous_webhook_secret_parameter,
    var.github_api_url,
    var.github_organization,
    var.github_repositories,
    var.classes,
    var.runner_memory_mib,
    var.max_duration_seconds,
    var.image_version,
    var.settings,
    var.artifact,
    var.runner,
    var.base_image_version,
    var.additional_os_capabilities,
    var.refresh,
    var.artifacts_bucket_name,
    var.container_image,
    var.cluster_arn,
    var.desired_count,
    var.task_size,
    var.log_retention_days,
    var.log_level,
    var.vpc_id,
    var.vpc_cidr,
    var.entry,
    var.ledger,
    var.alarm_topic_arn,
  ]
}

run "refused_2" {
  command = plan

  variables {
    github_app      = { app_id = "1", installation_id = "acme" }
    app_key_kms_arn = null
    classes         = [{ name = "Small", labels = ["a"] }]
    settings        = { queue = "redis://localhost" }
    refresh         = { schedule = "daily" }
    autoscaling     = { ingress_cpu_percent = 100 }
    vpc_id          = "vpc-1"
    subnet_ids      = ["subnet-1"]
    entry           = "alb"
  }
  expect_failures = [
    var.github_app,
    var.github_app_private_key,
    var.classes,
    var.settings,
    var.refresh,
    var.autoscaling,
    var.subnet_ids,
    var.alb,
  ]
}

run "refused_3" {
  command = plan

  variables {
    app_key_kms_arn   = null
    app_key_parameter = "key"
    pull_interval     = "5"
    classes           = [{ name = "gone-dead", labels = ["a"] }]
    refresh           = { keep_versions = 1 }
  }
  expect_failures = [
    var.app_key_parameter,
    var.pull_interval,
    var.classes,
    var.refresh,
  ]
}

run "refused_4" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"] }, { name = "a", labels = ["b"] }]
  }
  expect_failures = [
    var.classes,
  ]
}

run "refused_5" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], required_labels = ["b"] }]
  }
  expect_failures = [
    var.classes,
  ]
}

run "refused_6" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], memory_mib = 3000 }]
  }
  expect_failures = [
    var.classes,
  ]
}

run "refused_7" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image/a" }]
  }
  expect_failures = [
    var.classes,
  ]
}

run "refused_8" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], max_duration = "20" }]
  }
  expect_failures = [
    var.classes,
  ]
}

run "refused_9" {
  command = plan

  variables {
    entry = "none"
  }
  expect_failures = [
    var.pull_interval,
  ]
}

run "refused_together" {
  command = plan

  variables {
    app_key_parameter = "/mayfly/key"
    required_labels   = ["gpu"]
    autoscaling       = { worker_max = 1 }
  }
  expect_failures = [
    var.github_app_private_key,
    var.required_labels,
    var.autoscaling,
  ]
}
