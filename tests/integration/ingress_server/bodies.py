"""Bodies as GitHub sends them: a workflow_job delivery with the long repository object around it."""

import json

REPOSITORY_URLS = """forks keys collaborators teams hooks issue_events events assignees branches tags
blobs git_tags git_refs trees statuses languages stargazers contributors subscribers subscription
commits git_commits comments issue_comment contents compare merges archive downloads issues pulls
milestones notifications labels releases deployments""".split()
ACCOUNT_URLS = """followers following gists starred subscriptions organizations repos events
received_events""".split()


def account(login, number):
    urls = {f"{u}_url": f"https://api.github.com/users/{login}/{u}{{/privacy}}" for u in ACCOUNT_URLS}
    return {"login": login, "id": number, "node_id": "MDQ6VXNlcjE=", **urls, "site_admin": False}


def workflow_job(action="queued", job=100520616165, labels=("self-hosted", "linux", "x64"), **changes):
    """The delivery as a dict; `changes` replace members of its workflow_job."""
    base = "https://api.github.com/repos/octo-org/octo-repo"
    details = {
        "id": job,
        "run_id": 33714470481,
        "workflow_name": "CI",
        "head_branch": "main",
        "run_url": f"{base}/actions/runs/33714470481",
        "run_attempt": 1,
        "node_id": "CR_kwDOLbgKK88AAAAXZ4L8JQ",
        "head_sha": "3484a3fb816e0859fd6e1cea078d76385ff50625",
        "url": f"{base}/actions/jobs/{job}",
        "html_url": f"https://github.com/octo-org/octo-repo/actions/runs/33714470481/job/{job}",
        "status": "queued" if action == "queued" else action,
        "conclusion": None,
        "created_at": "2026-11-20T18:12:03Z",
        "started_at": "2026-11-20T18:12:03Z",
        "completed_at": None,
        "name": "build (ubuntu, \u00fc)",
        "steps": [],
        "check_run_url": f"{base}/check-runs/{job}",
        "labels": list(labels),
        "runner_id": None,
        "runner_name": None,
        "runner_group_id": None,
        "runner_group_name": None,
    }
    details.update(changes)
    repository = {
        "id": 186853002,
        "name": "octo-repo",
        "full_name": "octo-org/octo-repo",
        "private": True,
        "owner": account("octo-org", 21031067),
        "description": "caf\u00e9 \U0001f680",
        **{f"{u}_url": f"{base}/{u}{{/number}}" for u in REPOSITORY_URLS},
    }
    return {
        "action": action,
        "workflow_job": details,
        "repository": repository,
        "organization": account("octo-org", 21031067),
        "sender": account("octocat", 1),
        "installation": {"id": 6003001, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u"},
    }


def encode(delivery, size=0):
    """Compact JSON text, padded to `size` bytes if it is shorter."""
    text = json.dumps(delivery, separators=(",", ":")).encode()
    if size > len(text) + 9:
        delivery = {**delivery, "pad": "x" * (size - len(text) - 9)}
        text = json.dumps(delivery, separators=(",", ":")).encode()
    return text
