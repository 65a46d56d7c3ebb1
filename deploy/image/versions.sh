# The versions of a runner image: directories beside each other in DIR.versions, and DIR, a symbolic link to the one in use.
# Sourced after lib.sh, with `output` (DIR), `versions` and `github_api`.

day=86400

# open_versions: one program at a time changes them. What a killed one left is removed.
open_versions() {
    if [ -e "$output" ] && [ ! -L "$output" ]; then
        die "$output is no link to a version of an image: move it away, or name another directory (-o)"
    fi
    mkdir -p "$versions"
    exec 9> "$versions/.lock"
    flock -n 9 || die "another program changes the versions in $versions: try again when it has ended"
    rm -rf "$versions/.new" "$versions/.link"
}

# list_versions: oldest first; their names begin with the time.
list_versions() {
    find "$versions" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' -printf '%f\n' 2> /dev/null | LC_ALL=C sort
}

version_in_use() {
    basename "$(readlink "$output" 2> /dev/null || echo -)"
}

# use_version NAME: a launch sees the former version or this one.
use_version() {
    [ -e "$versions/$1/image.json" ] || die "there is no version $1 in $versions: $(list_versions | tr '\n' ' ')"
    rm -f "$versions/.link"
    ln -s "${versions##*/}/$1" "$versions/.link"
    mv -T "$versions/.link" "$output"
    sync "${output%/*}"
    say "version $1 is in use: systemctl reload mayfly-worker.service has the worker launch from it"
}

# use_former: the newest that is older than the one in use.
use_former() {
    former=$(list_versions | LC_ALL=C awk -v used="$(version_in_use)" '$0 "" < used "" { last = $0 } END { print last }')
    [ -n "$former" ] || die "there is no version before $(version_in_use) in $versions"
    use_version "$former"
}

# add_version: of $versions/.new, which is complete. On a power failure the former version stays.
add_version() {
    sync "$versions/.new"/* "$versions/.new"
    added=$(date -u +%Y%m%dT%H%M%SZ)-$image_version
    mv "$versions/.new" "$versions/$added"
    sync "$versions"
    use_version "$added"
}

# is_open NAME: whether a process, such as a VM's QEMU, has a file of the version open.
is_open() {
    find /proc/[0-9]*/fd -maxdepth 1 -lname "*/${versions##*/}/$1/*" 2> /dev/null | grep -q .
}

# prune_versions KEEP: the newest, the one in use and those that are open stay.
prune_versions() {
    for old in $(list_versions | head -n "-$1"); do
        if [ "$old" != "$(version_in_use)" ] && ! is_open "$old"; then
            rm -rf "${versions:?}/$old"
            say "version $old is deleted"
        fi
    done
}

# seconds_of AGE: 20d, 12h, 30m, 5s.
seconds_of() {
    case $1 in
        *d) unit=$day ;;
        *h) unit=3600 ;;
        *m) unit=60 ;;
        *s) unit=1 ;;
        *) unit= ;;
    esac
    case ${1%?} in '' | *[!0-9]*) unit= ;; esac
    [ -n "$unit" ] || die "$1 is no age such as 20d, 12h or 0s"
    echo $((${1%?} * unit))
}

# age_of DIR: seconds since it was built.
age_of() {
    echo $(($(date +%s) - $(stat -c %Y "$1/image.json")))
}

# is_young AGE: whether the newest version that is not damaged is younger, with a line that says so.
is_young() {
    limit=$(seconds_of "$1") || exit 1
    for newest in $(list_versions | tac); do
        if (verify_files "$versions/$newest") > /dev/null; then
            age=$(age_of "$versions/$newest")
            [ "$age" -lt "$limit" ] || return 1
            say "version $newest is $((age / day)) days old, younger than $1: nothing to do"
            return 0
        fi
        say "version $newest is damaged (--verify $versions/$newest says what it is)"
    done
    return 1
}

# --- releases of GitHub's runner --------------------------------------------------------------------

# read_api PATH: the JSON, one member a line.
read_api() {
    need curl
    curl -fsSL --retry 2 --max-time 60 -H 'Accept: application/vnd.github+json' "$github_api/repos/actions/runner/$1" | tr -d '\n' | tr ',{}' '\n\n\n' |
        sed 's/^[[:space:]]*//; s/^\("[a-z_]*"\): */\1:/'
}

# find_newest_runner ARCH: sets runner_version and sha256, as GitHub's page of the release has them.
find_newest_runner() {
    read_api releases/latest > "$work/release" || die "cannot read the newest release of GitHub's runner at $github_api"
    runner_version=$(sed -n 's/^"tag_name":"v\{0,1\}\([0-9][0-9.]*\)".*/\1/p' "$work/release" | head -n 1)
    [ -n "$runner_version" ] || die "$github_api: the newest release of GitHub's runner has no version"
    sha256=$(awk -v file="\"name\":\"actions-runner-linux-$1-$runner_version.tar.gz\"" '
        /^"name":/ { found = index($0, file) == 1 }
        found && /^"digest":"sha256:/ { split($0, part, "[:\"]+"); print part[4]; exit }' "$work/release")
    [ ${#sha256} -eq 64 ] || die "$github_api: release $runner_version of GitHub's runner has no archive for $1 with a SHA-256"
}

# replaced_at VERSION: when the release after it was published; "newest" where there is none.
replaced_at() {
    read_api 'releases?per_page=50' | awk -v tag="\"tag_name\":\"v$1\"" '
        index($0, tag) == 1 { print newer == "" ? "newest" : newer; found = 1; exit }
        /^"published_at":"/ { split($0, part, "\""); newer = part[4] }
        END { if (!found) exit 1 }'
}

# --- verify -----------------------------------------------------------------------------------------

passed() {
    echo "ok: $*"
}

failed() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# member KEY: of $json, a text or a number.
member() {
    tr ',{}' '\n\n\n' < "$json" | sed -n "s/^[[:space:]]*\"$1\": *\"\{0,1\}\([^\"]*\)\"\{0,1\}[[:space:]]*\$/\1/p" | head -n 1
}

# verify_file KEY: that image.json names a file of the directory. Sets `file`.
verify_file() {
    file=$(member "$1")
    case $file in
        '' | .* | */*) failed "image.json: \"$1\" must be the name of a file in that directory: build the image again" && return 1 ;;
    esac
    file=$image/$file
    [ -s "$file" ] || { failed "$file is missing or empty: build the image again" && return 1; }
    case $(stat -L -c %A "$file") in
        ???????r*) ;;
        *) failed "$file cannot be read by the VMs' users: chmod o+r $file" ;;
    esac
}

# verify_files DIR: that the image is whole. Its version is a hash of its files.
verify_files() {
    image=$1
    json=$image/image.json
    failures=0
    [ -s "$json" ] || { failed "there is no image at $image: it has no image.json" && return 1; }
    if [ "$(member arch)" = "$arch" ]; then
        passed "image $(member name) $(member version) for $arch"
    else
        failed "the image is for $(member arch), and this host is $arch: build it here"
    fi
    if verify_file kernel && verify_file initrd && verify_file disk; then
        found=$(cd "$image" && sha256sum "$(member kernel)" "$(member initrd)" "$(member disk)" 2> /dev/null | sha256sum | cut -c 1-16)
        if [ "$found" = "$(member version)" ]; then
            passed "its files are those that were built"
        else
            failed "its files are not those that were built ($found): copy it again, or build it again"
        fi
        if ! command -v qemu-img > /dev/null; then
            passed "the disk's format is not checked: qemu-img is missing"
        elif qemu-img check -q "$image/$(member disk)" > /dev/null 2>&1 || [ $? -eq 63 ]; then # 63: a format without checks
            passed "qemu-img has nothing to say about the disk"
        else
            failed "qemu-img check finds errors in $image/$(member disk): build the image again"
        fi
    fi
    [ "$failures" -eq 0 ]
}

# verify_agent: the installed agent is of the worker's release.
verify_agent() {
    protocol=$(member protocol)
    wanted=$("$agent" --protocol)
    if [ "$protocol" = "$wanted" ]; then
        passed "its agent understands the worker (protocol $wanted)"
    else
        failed "its agent has protocol ${protocol:-of an unknown version}, and this release's workers have $wanted: build the image again with this release"
    fi
}

# verify_runner: GitHub gives a runner no jobs 30 days after the next release.
verify_runner() {
    version=$(member runner_version)
    age=$(($(age_of "$image") / day))
    if [ -z "$version" ]; then
        failed "image.json does not say which version of GitHub's runner is in it (runner_version): build the image again"
    elif ! replaced=$(replaced_at "$version" 2> /dev/null); then
        if [ "$age" -lt 30 ]; then
            passed "runner $version: its releases cannot be read at $github_api, or it is not among the newest 50; the image is $age days old"
        else
            failed "the image is $age days old, and GitHub gives no jobs to a runner 30 days after the next release: build it again (--runner-version latest)"
        fi
    elif [ "$replaced" = newest ]; then
        passed "runner $version is the newest"
    else
        left=$(((($(date -d "$replaced" +%s) - $(date +%s)) / day) + 30))
        if [ "$left" -gt 0 ]; then
            passed "runner $version was replaced on ${replaced%T*}: GitHub gives it jobs for $left more days"
        else
            failed "runner $version was replaced on ${replaced%T*}: GitHub gives it no jobs any more; build the image again (--runner-version latest)"
        fi
    fi
}

# verify_image DIR: prints what is right and wrong with it; fails where something is wrong.
verify_image() {
    wrong=0
    verify_files "$1" || wrong=$failures
    if [ -s "$json" ]; then
        failures=0
        verify_agent
        verify_runner
        wrong=$((wrong + failures))
    fi
    [ "$wrong" -eq 0 ]
}
