// GitHub's own client of scale sets against the stand-in: it runs one set from its creation to its removal and prints what it saw,
// one JSON object a line. Arguments: the URL of the scope, a token, the set's name. Lines on standard input are the test's turns:
// "go" lets it open its session, "jit NAME" registers a runner, "refresh" and "conflict" do what they say, "end" closes the session and removes the set.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/actions/scaleset"
	"github.com/actions/scaleset/listener"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func say(what string, more map[string]any) {
	if more == nil {
		more = map[string]any{}
	}
	more["event"] = what
	fmt.Println(string(must(json.Marshal(more))))
}

type scaler struct{}

func (scaler) HandleJobStarted(_ context.Context, job *scaleset.JobStarted) error {
	say("started", map[string]any{"runner": job.RunnerName, "runner_id": job.RunnerID, "job": job.JobID, "run": job.WorkflowRunID})
	return nil
}

func (scaler) HandleJobCompleted(_ context.Context, job *scaleset.JobCompleted) error {
	say("completed", map[string]any{"runner": job.RunnerName, "result": job.Result, "job": job.JobID})
	return nil
}

func (scaler) HandleDesiredRunnerCount(_ context.Context, count int) (int, error) {
	say("desired", map[string]any{"count": count})
	return count, nil
}

func main() {
	ctx := context.Background()
	url, token, name := os.Args[1], os.Args[2], os.Args[3]
	client := must(scaleset.NewClientWithPersonalAccessToken(scaleset.NewClientWithPersonalAccessTokenConfig{
		GitHubConfigURL: url, PersonalAccessToken: token,
		SystemInfo: scaleset.SystemInfo{System: "test", Version: "1", CommitSHA: "0", Subsystem: "test"},
	}, scaleset.WithRetryMax(1)))
	group := must(client.GetRunnerGroupByName(ctx, scaleset.DefaultRunnerGroup))
	if found := must(client.GetRunnerScaleSet(ctx, group.ID, name)); found != nil {
		must(0, errors.New("the set exists already"))
	}
	set := must(client.CreateRunnerScaleSet(ctx, &scaleset.RunnerScaleSet{Name: name, RunnerGroupID: group.ID}))
	again := must(client.GetRunnerScaleSet(ctx, group.ID, name))
	say("created", map[string]any{"id": set.ID, "same": again.ID == set.ID, "labels": len(again.Labels), "group": again.RunnerGroupName})
	if _, err := client.CreateRunnerScaleSet(ctx, &scaleset.RunnerScaleSet{Name: name, RunnerGroupID: group.ID}); err == nil {
		must(0, errors.New("two sets of one name"))
	}

	var session *scaleset.MessageSessionClient
	polling, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	turns := bufio.NewScanner(os.Stdin)
	for turns.Scan() {
		word, argument, _ := strings.Cut(turns.Text(), " ")
		switch word {
		case "go":
			session = must(client.MessageSessionClient(ctx, set.ID, "test-"+name))
			l := must(listener.New(session, listener.Config{ScaleSetID: set.ID, MaxRunners: 10}))
			say("session", map[string]any{"assigned": session.Session().Statistics.TotalAssignedJobs})
			go func() {
				if err := l.Run(polling, scaler{}); !errors.Is(err, context.Canceled) {
					must(0, err)
				}
				close(ended)
			}()
		case "conflict":
			_, err := client.MessageSessionClient(ctx, set.ID, "another")
			say("conflict", map[string]any{"refused": err != nil && strings.Contains(err.Error(), "SessionConflict")})
		case "jit":
			jit, err := client.GenerateJitRunnerConfig(ctx, &scaleset.RunnerScaleSetJitRunnerSetting{Name: argument, WorkFolder: "_work"}, set.ID)
			if errors.Is(err, scaleset.RunnerExistsError) {
				say("exists", nil)
				continue
			}
			must(0, err)
			byName := must(client.GetRunnerByName(ctx, argument))
			say("jit", map[string]any{"id": jit.Runner.ID, "same": byName.ID == jit.Runner.ID, "set": jit.Runner.RunnerScaleSetID, "config": jit.EncodedJITConfig})
		case "remove":
			byName := must(client.GetRunnerByName(ctx, argument))
			must(0, client.RemoveRunner(ctx, int64(byName.ID)))
			_, err := client.GetRunner(ctx, byName.ID)
			say("removed", map[string]any{"gone": errors.Is(err, scaleset.RunnerNotFoundError)})
		case "end":
			stop()
			<-ended
			must(0, session.Close(ctx))
			must(0, client.DeleteRunnerScaleSet(ctx, set.ID))
			say("ended", nil)
			return
		}
	}
}
