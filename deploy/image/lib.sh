# Shared by the image builders. Sourced, not run: sh, set -eu, and these variables:
#   work   a scratch directory    cache  where downloads are kept    arch  Debian's name (amd64, arm64)

# The timestamp of all files in an image, so that equal inputs give equal images.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1767225600}
export SOURCE_DATE_EPOCH

# The modules that a VM needs before its root file system is mounted. Their dependencies are added;
# those that a kernel has built in are skipped.
boot_modules="virtio_pci virtio_blk virtio_net virtio_console virtio-rng ext4 crc32c_generic overlay"

say() {
    echo "image: $*" >&2
}

die() {
    echo "image: $*" >&2
    exit 1
}

need() {
    for tool in "$@"; do
        command -v "$tool" > /dev/null || die "$tool is missing (Debian packages: busybox-static cpio e2fsprogs gzip qemu-utils)"
    done
}

find_busybox() {
    busybox=$(command -v busybox) || die "busybox is missing: apt-get install busybox-static"
    if ldd "$busybox" > /dev/null 2>&1; then
        die "$busybox is not static: apt-get install busybox-static"
    fi
}

# newest_build PATH: of the project's build directories, for the host's architecture; empty if there is none.
newest_build() {
    find "$project/build" -path "*/$1" -not -path '*/build/arm64/*' -type f -printf '%T@ %p\n' 2> /dev/null | sort -rn | sed -n '1s/^[^ ]* //p'
}

# check_static FILE TARGET: dies unless it can run in an image without libraries.
check_static() {
    [ -n "$1" ] || die "there is no ${2} yet: build the target $2, or name the file"
    [ -x "$1" ] || die "$1 is not an executable"
    if ldd "$1" 2> /dev/null | grep -q '=>'; then
        die "$1 is not statically linked (a sanitizer's build is not)"
    fi
}

# find_agent, find_listener: set `agent` to the installed or the newest built one, `listener` to that of the agent's build, unless it
# is given.
find_agent() {
    [ -n "$agent" ] || [ ! -x "$here/../mayfly-agent" ] || agent=$here/../mayfly-agent
    [ -n "$agent" ] || agent=$(newest_build deploy/image/agent/mayfly-agent)
    check_static "$agent" mayfly-agent
}

find_listener() {
    [ -n "$listener" ] || listener=${agent%/agent/mayfly-agent}/standin/Runner.Listener
    [ -e "$listener" ] || listener=$(newest_build deploy/image/standin/Runner.Listener)
    check_static "$listener" standin-listener
}

# verify_package FILE NAME VERSION: dies unless the file is the one that apt's signed lists name; a cached one may be another by now.
verify_package() {
    wanted=$(apt-cache show "$2=$3" 2> /dev/null | sed -n 's/^SHA256: //p' | head -n 1)
    [ -n "$wanted" ] || die "apt has no SHA256 of $2 $3: run apt-get update"
    echo "$wanted  $1" | sha256sum --status -c - || die "$1 is not the package of apt's lists (SHA-256 $wanted): delete it, and run this again"
}

# fetch_kernel: the newest cloud kernel's package into the cache, unpacked into $work/kernel. Sets kernel_version.
fetch_kernel() {
    if [ -z "${kernel_deb:-}" ]; then
        package=$(apt-cache depends "linux-image-cloud-$arch" 2> /dev/null | sed -n 's/^ *Depends: *\(linux-image-[^ ]*\)$/\1/p' | head -n 1)
        [ -n "$package" ] || die "apt knows no linux-image-cloud-$arch: run apt-get update, or give --kernel-deb FILE"
        version=$(apt-cache show "$package" | sed -n 's/^Version: //p' | head -n 1)
        mkdir -p "$cache"
        kernel_deb=$cache/${package}_$(echo "$version" | sed 's/:/%3a/g')_$arch.deb
        if [ ! -e "$kernel_deb" ]; then
            say "fetching $package $version"
            # As root, apt would complain that its own user cannot write here.
            (cd "$cache" && apt-get -q -o APT::Sandbox::User= download "$package" > /dev/null) || die "cannot fetch $package"
        fi
        verify_package "$kernel_deb" "$package" "$version"
    fi
    dpkg-deb -x "$kernel_deb" "$work/kernel"
    modules=$(find "$work/kernel" -type d -path '*/lib/modules/*' -prune | head -n 1)
    [ -n "$modules" ] || die "$kernel_deb contains no modules"
    kernel_version=${modules##*/}
    say "kernel $kernel_version"
}

# add_module NAME: copies it and what it depends on to $initrd/modules, in loading order.
add_module() {
    line=$(grep -E "(^|/)$1\.ko(\.xz|\.zst|\.gz)?:" "$modules/modules.dep") || return 0
    reversed=
    for dependency in ${line#*:}; do reversed="$dependency $reversed"; done
    for path in $reversed ${line%%:*}; do
        module_file=${path##*/}
        module_file=${module_file%%.ko*}.ko
        if grep -qx "$module_file" "$initrd/modules/order"; then continue; fi
        case $path in
            *.xz) "$busybox" xzcat "$modules/$path" > "$initrd/modules/$module_file" ;;
            *.zst) zstd -qdc "$modules/$path" > "$initrd/modules/$module_file" ;;
            *.gz) gzip -dc "$modules/$path" > "$initrd/modules/$module_file" ;;
            *) cp "$modules/$path" "$initrd/modules/$module_file" ;;
        esac
        echo "$module_file" >> "$initrd/modules/order"
    done
}

set_times() {
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}

# make_initrd FILE: modules and busybox; it mounts /dev/vda and executes the image's own init.
make_initrd() {
    initrd=$work/initrd
    mkdir -p "$initrd/bin" "$initrd/modules" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/root"
    cp "$busybox" "$initrd/bin/busybox"
    : > "$initrd/modules/order"
    if command -v depmod > /dev/null; then
        depmod -b "${modules%/lib/modules/*}" "$kernel_version"
    else
        "$busybox" depmod -b "${modules%/lib/modules/*}" "$kernel_version"
    fi
    for module in $boot_modules; do add_module "$module"; done
    cat > "$initrd/init" << 'INIT'
#!/bin/busybox sh
# Loads modules, mounts the disk, executes the image's own init.
bb=/bin/busybox
fail() {
    echo "initrd: $*"
    $bb poweroff -f
}
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
while read -r module; do
    $bb insmod "/modules/$module" || fail "cannot load $module"
done < /modules/order
init=/sbin/init
for word in $($bb cat /proc/cmdline); do
    case $word in init=*) init=${word#init=} ;; esac
done
$bb mount -t ext4 -o rw,noatime /dev/vda /root || fail "cannot mount /dev/vda"
for dir in dev proc sys; do $bb mount --move /$dir /root/$dir; done
exec $bb switch_root /root "$init" || fail "cannot start $init"
INIT
    chmod 755 "$initrd/init"
    set_times "$initrd"
    (cd "$initrd" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet) | gzip -n -6 > "$1"
}

# make_disk TREE MIB FILE: an ext4 file system of the tree as a qcow2 image; it can grow to 256 GiB while mounted.
make_disk() {
    rm -f "$work/disk.raw"
    truncate -s "${2}M" "$work/disk.raw"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -b 4096 -m 0 -L mayfly -U 6d617966-6c79-4000-8000-000000000001 \
        -O ^has_journal,resize_inode -E "hash_seed=6d617966-6c79-4000-8000-000000000002,resize=67108864,root_owner=0:0" \
        -d "$1" "$work/disk.raw"
    # The time of a file's last change of state is the one that touch cannot set; inodes are in use from the first on.
    used=$(dumpe2fs -h "$work/disk.raw" 2> /dev/null | awk -F: '/^Inode count/ { all = $2 } /^Free inodes/ { free = $2 } END { print all - free }')
    seq 11 "$used" | sed "s/.*/sif <&> ctime @$SOURCE_DATE_EPOCH/" > "$work/times"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH debugfs -w -f "$work/times" "$work/disk.raw" > /dev/null 2>&1
    qemu-img convert -f raw -O qcow2 "$work/disk.raw" "$3"
    rm -f "$work/disk.raw"
}

# describe_image DIR NAME CMDLINE [RUNNER_VERSION]: image.json, which the provider reads.
describe_image() {
    # The version is a hash of the content.
    image_version=$(cd "$1" && sha256sum kernel initrd disk.qcow2 | sha256sum | cut -c 1-16)
    agent_version=$("$agent" --version | sed 's/.* //')
    agent_protocol=$("$agent" --protocol)
    version_line=
    [ -z "${4:-}" ] || version_line="
  \"runner_version\": \"$4\","
    cat > "$1/image.json" << JSON
{
  "format": 1,
  "name": "$2",
  "version": "$image_version",
  "arch": "$arch",
  "kernel": "kernel",
  "kernel_version": "$kernel_version",
  "initrd": "initrd",
  "disk": "disk.qcow2",
  "cmdline": "$3",
  "runner": "/opt/runner/run.sh",$version_line
  "agent": "$agent_version",
  "protocol": $agent_protocol
}
JSON
}

# The command line of the kernel of every QEMU VM, by architecture. On x86 it would otherwise test its timer, and panic where an emulated VM gets too little of
# a busy processor; guests of KVM leave the test out by themselves.
kernel_words() {
    case $arch in
        arm64) echo "console=ttyAMA0 quiet panic=-1 net.ifnames=0" ;;
        *) echo "console=ttyS0 no_timer_check quiet panic=-1 net.ifnames=0" ;;
    esac
}
