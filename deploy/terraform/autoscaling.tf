# Of the ingress on CPU. Of the workers only where autoscaling.worker_max is set: one does for most fleets.

locals {
  scales = { for program, most in {
    ingress = var.autoscaling.ingress_max
    worker  = coalesce(var.autoscaling.worker_max, 0)
  } : program => most if contains(local.programs, program) && most > var.desired_count[program] }
}

resource "aws_appautoscaling_target" "service" {
  for_each = local.scales

  service_namespace  = "ecs"
  resource_id        = "service/${local.cluster_name}/${aws_ecs_service.scaled[each.key].name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.desired_count[each.key]
  max_capacity       = each.value
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "ingress" {
  count = contains(keys(local.scales), "ingress") ? 1 : 0

  name               = "${var.name_prefix}-ingress-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.service["ingress"].service_namespace
  resource_id        = aws_appautoscaling_target.service["ingress"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["ingress"].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = var.autoscaling.ingress_cpu_percent
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# One more while jobs wait although nothing holds them; one less after a quarter of an hour without.
resource "aws_appautoscaling_policy" "worker" {
  for_each = toset(contains(keys(local.scales), "worker") ? ["out", "in"] : [])

  name               = "${var.name_prefix}-worker-${each.key}"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.service["worker"].service_namespace
  resource_id        = aws_appautoscaling_target.service["worker"].resource_id
  scalable_dimension = aws_appautoscaling_target.service["worker"].scalable_dimension

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = each.key == "out" ? 120 : 300

    step_adjustment {
      metric_interval_lower_bound = each.key == "out" ? 0 : null
      metric_interval_upper_bound = each.key == "out" ? null : 0
      scaling_adjustment          = each.key == "out" ? 1 : -1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "worker_scaling" {
  for_each = aws_appautoscaling_policy.worker

  alarm_name          = "${var.name_prefix}-worker-scale-${each.key}"
  alarm_description   = "Jobs wait although no cap, rate or circuit holds them: scales the workers, and wakes nobody."
  namespace           = "Mayfly"
  metric_name         = "launchable_backlog"
  dimensions          = { deployment = var.name_prefix }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = each.key == "out" ? 2 : 15
  comparison_operator = each.key == "out" ? "GreaterThanThreshold" : "LessThanOrEqualToThreshold"
  threshold           = 0
  treat_missing_data  = "missing"
  alarm_actions       = [each.value.arn]
  tags                = var.tags
}
