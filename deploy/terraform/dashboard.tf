# One page: is it well, what waits, what runs, what was refused.

locals {
  # title, metrics of the fleet, whether each class has a line
  charts = [
    { title = "Jobs", metrics = ["jobs_waiting", "jobs_running"], of_class = false },
    { title = "VMs by class: slots used", metrics = ["slots_used"], of_class = true },
    { title = "Longest wait, of any cause and of none (s)", metrics = ["oldest_wait", "oldest_launchable_wait"], of_class = false },
    { title = "Waiting jobs by class", metrics = ["jobs_waiting"], of_class = true },
    { title = "Dead letters, open circuits", metrics = ["dead_letters", "circuits_open"], of_class = false },
    { title = "Processes that live", metrics = ["workers", "reapers"], of_class = false },
    { title = "Quota use (1: all), age of the last sweep (s)", metrics = ["quota_use", "last_sweep_age"], of_class = false },
    { title = "Age of images (s)", metrics = ["runner_image_age"], of_class = true },
    { title = "Depth of lanes", metrics = ["queue_depth"], of_class = true },
    { title = "GitHub calls left this hour", metrics = ["github_rate_remaining"], of_class = false },
  ]
  chart_widgets = [for i, chart in local.charts : {
    type = "metric", x = 12 * (i % 2), y = 6 * floor(i / 2), width = 12, height = 6
    properties = {
      title = chart.title, region = local.region, view = "timeSeries", stat = "Maximum", period = 60
      metrics = concat([for metric in chart.metrics : chart.of_class
        ? [for name in keys(local.classes) : ["Mayfly", metric, "deployment", var.name_prefix, "class", name]]
      : [["Mayfly", metric, "deployment", var.name_prefix]]]...)
    }
  }]
  entry_metrics = concat(
    [for metric in ["Count", "4xx", "5xx"] : ["AWS/ApiGateway", metric, "ApiId", aws_apigatewayv2_api.webhook[0].id] if local.uses_api_gateway],
    [for metric in ["RequestCount", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] : ["AWS/ApplicationELB", metric, "LoadBalancer", aws_lb.this[0].arn_suffix] if local.uses_alb],
  )
  entry_widgets = [for metrics in [local.entry_metrics] : {
    type       = "metric", x = 0, y = 30, width = 12, height = 6
    properties = { title = "Deliveries", region = local.region, view = "timeSeries", stat = "Sum", period = 60, metrics = metrics }
  } if local.has_entry]
  log_widget = {
    type = "log", x = 12, y = 30, width = 12, height = 6
    properties = {
      title = "Warnings and errors", region = local.region, view = "table"
      query = "${join(" | ", [for program in sort(local.programs) : "SOURCE '${local.log_group}/${program}'"])} | filter level in ['warn', 'error'] | stats count(*) as lines by program, msg | sort lines desc"
    }
  }
}

resource "aws_cloudwatch_dashboard" "fleet" {
  dashboard_name = var.name_prefix
  dashboard_body = jsonencode({ widgets = concat(local.chart_widgets, local.entry_widgets, [local.log_widget]) })
}
