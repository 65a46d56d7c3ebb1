# Alarms, to one topic. All but those of the entry are on the fleet's gauges, which the reaper that holds the lease writes to its
# log each minute (metrics.emf). Where no reaper does its work there are no gauges: the alarm on the last sweep takes that as a fault.

locals {
  alarm_topic_arn = var.alarm_topic_arn != null ? var.alarm_topic_arn : aws_sns_topic.alarms[0].arn
  runbooks        = "deploy/docs/runbooks"

  # metric, threshold that is exceeded, minutes, what missing data means, what it says.
  fleet_alarms = {
    dead-letters = {
      metric = "dead_letters", above = 0, minutes = 1, missing = "notBreaching"
      text   = "Messages are in the dead-letter queue, and each needs a person: mayflyctl dlq list. ${local.runbooks}/MayflyDeadLetters.md"
    }
    jobs-not-launched = {
      metric = "oldest_launchable_wait", above = 300, minutes = 5, missing = "notBreaching"
      text   = "A job has waited for more than five minutes although no cap, rate or circuit holds it. ${local.runbooks}/MayflyJobsNotLaunched.md"
    }
    circuits-open = {
      metric = "circuits_open", above = 0, minutes = 10, missing = "notBreaching"
      text   = "A circuit has been open for ten minutes: mayflyctl circuits list. ${local.runbooks}/MayflyCircuitOpen.md"
    }
    last-sweep = {
      metric = "last_sweep_age", above = 180, minutes = 5, missing = "breaching"
      text   = "No reaper has finished a sweep lately: nothing enforces deadlines, and nothing repairs. ${local.runbooks}/MayflyReaperStopped.md"
    }
    runner-image-old = {
      metric = "runner_image_age", above = 25 * 86400, minutes = 60, missing = "notBreaching"
      text   = "An image is older than 25 days, and GitHub refuses runners 30 days after the next release. ${local.runbooks}/MayflyRunnerImageOld.md"
    }
    image-base-recalled = {
      metric = "images_recalled", above = 0, minutes = 120, missing = "notBreaching"
      text   = "An image was built on a version of AWS's image that AWS has recalled; the task that renews images builds it anew, unless base_image_version names that version. ${local.runbooks}/MayflyImageBaseRecalled.md"
    }
    image-rejected = {
      metric = "images_rejected", above = 0, minutes = 1, missing = "notBreaching"
      text   = "A new version of an image was rejected, since its VMs failed; launches use the one before it, which grows old: mayflyctl image list. ${local.runbooks}/MayflyImageRejected.md"
    }
    quota-nearly-used = {
      metric = "quota_use", above = 0.9, minutes = 10, missing = "notBreaching"
      text   = "More than nine tenths of a quota are in use (VMs, or GitHub's calls). ${local.runbooks}/MayflyQuotaNearlyUsed.md"
    }
    no-worker = {
      metric = "workers", below = 1, minutes = 5, missing = "notBreaching"
      text   = "No worker lives: nothing is launched. ${local.runbooks}/MayflyNoWorker.md"
    }
    credentials-expiring = {
      metric = "credentials_left", below = 120, minutes = 1, missing = "notBreaching"
      text   = "The credentials of AWS expire and are not renewed. ${local.runbooks}/MayflyCredentialsExpiring.md"
    }
  }
}

resource "aws_sns_topic" "alarms" {
  count = var.alarm_topic_arn == null ? 1 : 0

  name              = "${var.name_prefix}-alarms"
  kms_master_key_id = var.kms_key_arn
  tags              = var.tags
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = local.alarm_topic_arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "fleet" {
  for_each = local.fleet_alarms

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = each.value.text
  namespace           = "Mayfly"
  metric_name         = each.value.metric
  dimensions          = { deployment = var.name_prefix }
  statistic           = contains(keys(each.value), "above") ? "Maximum" : "Minimum"
  period              = 60
  evaluation_periods  = each.value.minutes
  comparison_operator = contains(keys(each.value), "above") ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.above, each.value.below)
  treat_missing_data  = each.value.missing
  alarm_actions       = [local.alarm_topic_arn]
  ok_actions          = [local.alarm_topic_arn]
  tags                = var.tags
}

# The ingress cannot say that it does not answer: the entry counts. More than one delivery of a hundred failed, which of a small fleet
# is any, in two five minutes of half an hour: a fault that lasts, however few the deliveries are (failed ones are sent again, and fail again).
locals {
  entry_errors = local.uses_api_gateway ? ["5xx"] : ["HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count"]
  entry_counts = local.has_entry ? {
    namespace  = local.uses_api_gateway ? "AWS/ApiGateway" : "AWS/ApplicationELB"
    dimensions = local.uses_api_gateway ? { ApiId = aws_apigatewayv2_api.webhook[0].id, Stage = aws_apigatewayv2_stage.webhook[0].name } : { LoadBalancer = aws_lb.this[0].arn_suffix }
    metrics    = merge({ requests = local.uses_api_gateway ? "Count" : "RequestCount" }, { for i, name in local.entry_errors : "errors${i}" => name })
  } : null
}

resource "aws_cloudwatch_metric_alarm" "webhook_5xx" {
  count = local.has_entry ? 1 : 0

  alarm_name          = "${var.name_prefix}-webhook-5xx"
  alarm_description   = "GitHub's deliveries fail (5xx). The reaper recovers them from the delivery log; jobs are late. ${local.runbooks}/MayflyIngressRefusing.md"
  evaluation_periods  = 6
  datapoints_to_alarm = 2
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [local.alarm_topic_arn]
  ok_actions          = [local.alarm_topic_arn]
  tags                = var.tags

  metric_query {
    id          = "failing"
    expression  = "IF(${join(" + ", [for i, _ in local.entry_errors : "FILL(errors${i}, 0)"])} > FILL(requests, 0) / 100, 1, 0)"
    label       = "more than 1 % of deliveries failed"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = local.entry_counts.metrics
    content {
      id = metric_query.key
      metric {
        namespace   = local.entry_counts.namespace
        metric_name = metric_query.value
        dimensions  = local.entry_counts.dimensions
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

# Where the delivery log is pulled, any reaper may be the one that does; it logs once that it cannot, and once that it can again. Between
# the two there are no data, and the alarm stays as it is.
resource "aws_cloudwatch_log_metric_filter" "pull" {
  for_each = { for event, value in { pull_failed = "1", pull_resumed = "0" } : event => value if var.pull_interval != null }

  name           = "${var.name_prefix}-${replace(each.key, "_", "-")}"
  log_group_name = aws_cloudwatch_log_group.program["reaper"].name
  pattern        = "{ $.msg = \"${each.key}\" }"

  metric_transformation {
    namespace = "Mayfly"
    name      = "${var.name_prefix}-pull-failed"
    value     = each.value
  }
}

resource "aws_cloudwatch_metric_alarm" "pull" {
  count = var.pull_interval != null ? 1 : 0

  alarm_name          = "${var.name_prefix}-pull-failed"
  alarm_description   = "GitHub's delivery log cannot be read, or what it has cannot be queued; new jobs wait. ${local.runbooks}/MayflyPullLate.md"
  namespace           = "Mayfly"
  metric_name         = "${var.name_prefix}-pull-failed"
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "ignore"
  alarm_actions       = [local.alarm_topic_arn]
  ok_actions          = [local.alarm_topic_arn]
  tags                = var.tags

  depends_on = [aws_cloudwatch_log_metric_filter.pull]
}
