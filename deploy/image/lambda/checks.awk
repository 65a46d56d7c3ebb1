# build-zip's checks of a Dockerfile: prints each error with its fix, one per line.
#     awk -v base=… -v port=… -v files=yes|no -v pinned=yes|no -v runner_arch=arm64|x64 -v machine=aarch64|x86_64 -f checks.awk Dockerfile
# Lines that end in a backslash are joined, comments and empty lines dropped; names of stages are followed to their base.

function report(text) { print text; found++ }

function instruction(line,    words, count, word) {
    sub(/^[ \t]+/, "", line)
    count = split(line, words, /[ \t]+/)
    word = toupper(words[1])
    rest = line
    sub(/^[^ \t]+[ \t]*/, "", rest)
    if (word == "FROM") { from(words, count); return }
    if (word == "ENTRYPOINT") entrypoint = rest
    if (word == "CMD") cmd = rest
    if (word == "USER") user = words[2]
    if (word == "COPY" || word == "ADD") {
        if (rest ~ /mayfly-agent[ \t]*$/) agent_copied = 1
        if (rest ~ /^(--[^ ]+ )*files\/ \/$/) files_copied = 1
        if (word == "ADD" && rest ~ /https?:\/\//) report("ADD " rest ": its content may change; download it with curl in a RUN and check its sha256sum")
    }
    if (word == "ENV" || word == "ARG") secret_name(word, rest)
    if (rest ~ /\/opt\/runner/) runner_mentioned = 1
    if (word == "RUN" && rest ~ /actions-runner-linux/ && rest !~ /sha256sum/) report("the runner's archive is downloaded without sha256sum -c in the same RUN: check it")
    if (word == "RUN" && match(rest, /actions-runner-linux-(arm64|x64)/)) check_architecture("the runner's archive", substr(rest, RSTART + 21, RLENGTH - 21), runner_arch)
    if (word == "RUN" && match(rest, /docker-compose-linux-(aarch64|x86_64)/)) check_architecture("docker-compose", substr(rest, RSTART + 21, RLENGTH - 21), machine)
}

function check_architecture(what, named, wanted) {
    if (named != wanted) report(what " is for " named ", but the image for " wanted ": name it by ARG RUNNER_ARCH or MACHINE, which build-zip --architecture fills in")
}

function has_digest(image,    at, digest) {
    at = index(image, "@sha256:")
    digest = substr(image, at + 8)
    return at > 0 && length(digest) == 64 && digest !~ /[^0-9a-f]/
}

function from(words, count,    i, image) {
    i = 2
    while (i <= count && words[i] ~ /^--/) {
        if (words[i] ~ /^--platform=/ && words[i] !~ (machine == "aarch64" ? "arm64" : "amd64")) report("FROM " words[i] ": the image is for " machine " (--architecture)")
        i++
    }
    image = words[i]
    if (pinned == "yes" && !(image in alias) && image != "scratch" && !has_digest(image))
        report("FROM " image ": its content may change; write FROM " image "@sha256:… with what \"docker buildx imagetools inspect " image "\" prints, or accept it with --unpinned")
    if (toupper(words[i + 1]) == "AS") alias[words[i + 2]] = image
    last_image = image
    # A new stage starts from its base alone.
    if (!(image in alias)) { entrypoint = ""; cmd = ""; user = ""; agent_copied = 0; files_copied = 0; runner_mentioned = 0 }
    stages++
}

function secret_name(word, text) {
    if (text ~ /(^|[ _])(SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY|ACCESS_KEY(_ID)?)([_A-Z0-9]*)[= ]./ && text !~ /SHA256/)
        report(word " " substr(text, 1, 40) ": it looks like a secret, and would be in every VM's snapshot; pass it to the workflow through GitHub")
}

/^[ \t]*#/ { next }
/^[ \t]*$/ { next }
{
    line = line $0
    if (line ~ /\\$/) { sub(/\\$/, " ", line); next }
    instruction(line)
    line = ""
}

END {
    if (stages == 0) { report("there is no FROM line"); exit 1 }
    for (i = 0; i < 20 && (last_image in alias) && alias[last_image] != last_image; i++) last_image = alias[last_image]
    if (last_image != base && index(last_image, base "@sha256:") != 1)
        report("the last stage is FROM " last_image ": use FROM " base " (only Lambda's own base has an OpenSSL that reseeds after a snapshot)")
    if (entrypoint != "") report("ENTRYPOINT " entrypoint ": it would run instead of the agent; remove it, and start other programs with the agent's --prepare")
    if (cmd !~ /^\[[ \t]*"\/usr\/sbin\/mayfly-agent"[ \t]*,/) report("the last stage has no CMD [\"/usr/sbin/mayfly-agent\", \"--lambda\", …]: without the agent there is no response to hooks, and the build times out")
    else {
        if (cmd !~ /"--lambda"/) report("CMD lacks \"--lambda\": without it the agent waits for QEMU's port")
        cmd_port = 9000
        if (match(cmd, /"--port"[ \t]*,[ \t]*"[0-9]+"/)) { text = substr(cmd, RSTART, RLENGTH); gsub(/[^0-9]/, "", text); cmd_port = text + 0 }
        if (cmd_port != port) report("CMD serves the hooks on port " cmd_port ", but " port " is what Lambda is configured with: use the same --port")
        if (cmd ~ /"--bind"/) report("CMD has --bind: Lambda reaches the hooks on 0.0.0.0 only, the agent's default")
    }
    if (!agent_copied) report("nothing copies the agent to /usr/sbin/mayfly-agent: keep the agent stage and COPY --from=agent /mayfly-agent /usr/sbin/mayfly-agent")
    if (user != "" && user != "root" && user != "0" && user !~ /^(root|0):/) report("USER " user ": the agent must be root; it starts the runner as user runner by itself")
    if (!runner_mentioned) report("nothing puts GitHub's runner into /opt/runner, where the agent looks for run.sh")
    if (files == "yes" && !files_copied) report("--add is given, but the last stage has no line COPY files/ /")
    exit found > 0
}
