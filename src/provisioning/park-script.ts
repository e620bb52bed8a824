import { FILE_BYTES } from './guest-identity.js'
import { AGENT_PORT, buildIdentityAgent, INSTALLED_AGENT } from './identity-agent/program.js'
import type { AgentArch } from './identity-agent/target.js'
import { HOSTS_BYTES, MAX_AUTHORIZED_KEYS } from './probed-identity.js'

/** Descriptor with which the identity agent is started. */
const PORT_FD = 4
/** Maximum length of a line: a terminal accepts 4095 characters. */
const BYTES_PER_LINE = 200
/** Runs of zeros of this length are not written as text. */
const ZEROS = Buffer.alloc(64)

/** Settings of the script that quiesces a guest. */
export interface ParkOptions {
  readonly arch: AgentArch
  /** Announcement of the identity agent when the guest may be saved. */
  readonly announcement: string
  /** Public SSH key of the run; undefined if the guest has none. */
  readonly authorizedKey: string | undefined
  /** Port of the guest's SSH server; undefined without SSH. */
  readonly sshPort: number | undefined
  /** Maximum time to wait until the boot is complete, seconds. */
  readonly bootSeconds: number
}

/**
 * Builds the script that quiesces a guest without withvm's programs, for `sh` of any Linux system:
 * it starts the identity agent from RAM and reports the places of the guest's identity. These files
 * get fields of a fixed size, so a clone overwrites them without disk access.
 */
export function buildParkScript(options: ParkOptions): string {
  const { arch, announcement, authorizedKey = '', sshPort, bootSeconds } = options
  const agent = buildIdentityAgent(arch, { announcement, port: PORT_FD })
  const port = (sshPort ?? 0).toString(16).toUpperCase().padStart(4, '0')
  return `${[
    SETUP,
    `boot_seconds=${Math.ceil(bootSeconds)} ssh_port=${port} run_key='${authorizedKey.replaceAll("'", '')}'`,
    `write_agent() {\n${printBytes(agent)}\n}`,
    FIND_PORT,
    NAMES,
    KEYS,
    OPENSSH,
    DROPBEAR,
    START,
    MAIN,
    // The last line starts everything, so an incomplete script does nothing.
    'main </dev/null',
  ].join('\n')}\n`
}

/** Returns commands that print bytes. Only escapes that every `printf` supports are used. */
function printBytes(bytes: Buffer): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const zeros = countZeros(bytes, at)
    if (zeros >= ZEROS.length) {
      lines.push(`dd if=/dev/zero bs=${zeros} count=1 2>/dev/null`)
      at += zeros
      continue
    }
    const next = bytes.indexOf(ZEROS, at)
    const end = Math.min(at + BYTES_PER_LINE, next < 0 ? bytes.length : next)
    const escapes = [...bytes.subarray(at, end)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`)
    lines.push(`printf '${escapes.join('')}'`)
    at = end
  }
  return lines.join('\n')
}

function countZeros(bytes: Buffer, from: number): number {
  let end = from
  while (bytes[end] === 0) end++
  return end - from
}

const SETUP = `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH LC_ALL=C
umask 077
trap '' HUP
report() { echo "withvm: $*"; }
fail() { report "failed $1"; [ -n "$dir" ] && umount -l "$dir" && rmdir "$dir"; exit 1; }
# Runs a program that survives the session of this script.
detach() {
  if command -v setsid >/dev/null; then setsid "$@" >/dev/null 2>&1 & else "$@" >/dev/null 2>&1 & fi
}
blank() { printf "%$1s" '' | tr ' ' '\\n'; }
dir=`

/** The agent opens the port that it finds in sysfs: the link of udev may not exist. */
const FIND_PORT = `find_port() {
  for name in /sys/class/virtio-ports/*/name; do
    read -r text <"$name" || continue
    [ "$text" = ${AGENT_PORT} ] && port=\${name%/name} && return
  done
  return 1
}
# An image of withvm, or one made from it, has an agent of its own.
stop_agent() {
  [ -e ${INSTALLED_AGENT.path} ] || return
  if [ -d /run/systemd/system ]; then systemctl stop ${INSTALLED_AGENT.unit}
  else read -r pid <${INSTALLED_AGENT.pidFile} && kill "$pid"; fi
}
open_port() {
  find_port || modprobe virtio_console
  tries=0
  until find_port; do
    tries=$((tries + 1))
    [ "$tries" -gt 20 ] && fail no-port
    sleep 1
  done
  IFS=: read -r major minor <"$port/dev"
  stop_agent >/dev/null 2>&1
  mknod "$dir/port" c "$major" "$minor" || fail no-port
  (: <>"$dir/port") 2>/dev/null || fail port-used
}
make_folder() {
  mkdir /dev/withvm || fail no-memory
  if mount -t tmpfs -o mode=700,size=256k withvm /dev/withvm || mount -t ramfs withvm /dev/withvm; then
    dir=/dev/withvm
  else
    rmdir /dev/withvm
    fail no-memory
  fi
}`

const NAMES = `probe_machine_id() {
  for file in /etc/machine-id /var/lib/dbus/machine-id; do
    [ -f "$file" ] && ! [ -L "$file" ] && grep -Eq '^[0-9a-f]{32}$' "$file" && report "machine-id $file"
  done
}
probe_hostname() {
  read -r host </proc/sys/kernel/hostname
  [ -f /etc/hostname ] && report "hostname /etc/hostname"
  [ -f /etc/hosts ] || return
  split_hosts </etc/hosts >"$dir/hosts"
  [ -e "$dir/found" ] || return
  { blank ${HOSTS_BYTES}; cat "$dir/hosts"; } >"$dir/new"
  cat "$dir/new" >/etc/hosts && report "hosts /etc/hosts"
}
# Removes the host name from the lines of the guest's own addresses.
split_hosts() {
  set -f
  while read -r address names; do
    case $address in
      127.*)
        rest=
        for name in $names; do
          case $name in "$host" | "$host".*) : >"$dir/found" ;; *) rest="$rest $name" ;; esac
        done
        [ -n "$rest" ] && printf '%s%s\\n' "$address" "$rest" ;;
      *) printf '%s\\n' "$address\${names:+ $names}" ;;
    esac
  done
  set +f
}`

const KEYS = `probe_keys() {
  [ -n "$run_key" ] || return
  count=0
  sshd -T 2>/dev/null | sed -n 's/^authorizedkeysfile //p' | tr ' ' '\\n' >"$dir/patterns"
  { echo /root/.ssh/authorized_keys
    echo /etc/dropbear/authorized_keys
    while IFS=: read -r user _ _ _ _ home _; do
      echo "$home/.ssh/authorized_keys"
      sed "s|%u|$user|g; s|%h|$home|g; s|^[^/]|$home/&|" "$dir/patterns"
    done </etc/passwd
  } | sort -u >"$dir/candidates"
  while read -r file; do
    [ -f "$file" ] && grep -q "^$run_key" "$file" || continue
    { blank ${FILE_BYTES.authorizedKeys}; grep -v "$run_key" "$file"; } >"$dir/new"
    cat "$dir/new" >"$file" && report "authorized-keys $file"
    count=$((count + 1))
    [ "$count" = ${MAX_AUTHORIZED_KEYS} ] && break
  done <"$dir/candidates"
}
# Without SSH, the server of a guest is not reached, and its host key may stay.
needs_ssh() { [ "$ssh_port" != 0000 ]; }
# Prints the lowest process id with this name: that of the listening server.
find_process() {
  found=
  for comm in /proc/[0-9]*/comm; do
    read -r text <"$comm" || continue
    [ "$text" = "$1" ] || continue
    pid=\${comm#/proc/}
    pid=\${pid%/comm}
    if [ -z "$found" ] || [ "$pid" -lt "$found" ]; then found=$pid; fi
  done 2>/dev/null
  [ -n "$found" ]
}`

/** OpenSSH 9.8 and newer pass the host keys to the program of a connection, older ones do not. */
const OPENSSH = `park_openssh() {
  find_process sshd || return
  server=$found
  sshd -T 2>/dev/null | sed -n 's/^hostkey //p' >"$dir/keys"
  [ -s "$dir/keys" ] || ls /etc/ssh/ssh_host_*_key >"$dir/keys"
  key=$(grep ed25519 "$dir/keys" | head -n 1)
  [ -n "$key" ] && [ -f "$key" ] || { needs_ssh && fail no-host-key; return; }
  while read -r file; do [ "$file" = "$key" ] || rm -f "$file" "$file.pub"; done <"$dir/keys"
  rm -f "$key.pub"
  blank ${FILE_BYTES.hostKey.openssh} >"$key" && report "openssh-key $key"
  for folder in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec; do
    [ -e "$folder/sshd-session" ] && report "sshd-pid $server" && break
  done
}`

/** With `-R`, dropbear starts without a host key and reads that of the clone. */
const DROPBEAR = `park_dropbear() {
  find_process dropbear || return
  tr '\\000' '\\n' <"/proc/$found/cmdline" >"$dir/arguments"
  set --
  skip=
  while IFS= read -r argument; do
    if [ -n "$skip" ]; then skip=; continue; fi
    case $argument in
      -r) skip=1 ;;
      -R | -F | -E) ;;
      *) set -- "$@" "$argument" ;;
    esac
  done <"$dir/arguments"
  # A server that is not executable does not start itself again for each connection.
  program=$(readlink "/proc/$found/exe")
  [ -x "$program" ] || chmod 755 "$program"
  command -v "$1" >/dev/null || { needs_ssh && fail no-restart; return; }
  kill "$found"
  tries=0
  while [ -e "/proc/$found" ] && [ "$tries" -lt 50 ]; do sleep 0.1 || sleep 1; tries=$((tries + 1)); done
  rm -f /etc/dropbear/dropbear_*_host_key
  detach "$@" -R
  report "dropbear-key /etc/dropbear/dropbear_ed25519_host_key"
}`

/**
 * The agent belongs to no service or session. It starts after the connection of the script has
 * ended, through which a clone could not be reached.
 */
const START = `write_start() {
  cat <<'END'
cd /
umask 022
{ echo 0 >/sys/fs/cgroup/cgroup.procs || echo 0 >/sys/fs/cgroup/systemd/cgroup.procs; } 2>/dev/null
{ echo -1000 >/proc/self/oom_score_adj; } 2>/dev/null
is_connected() {
  grep -q ":$ssh_port [0-9A-F]*:[0-9A-F]* 01 " /proc/net/tcp /proc/net/tcp6
}
tries=0
while is_connected && [ "$tries" -lt 60 ]; do sleep 0.5 || sleep 1; tries=$((tries + 1)); done
command -v journalctl && journalctl --sync
sync
exec 3<"$dir/agent" 4<>"$dir/port"
umount -l "$dir"
rmdir "$dir"
exec /proc/self/fd/3
END
}`

const MAIN = `main() {
  [ "$(id -u)" = 0 ] || fail not-root
  [ -d /run/systemd/system ] && timeout "$boot_seconds" systemctl is-system-running --wait >/dev/null 2>&1
  make_folder
  open_port
  write_agent >"$dir/agent"
  chmod 700 "$dir/agent"
  probe_machine_id
  probe_hostname
  probe_keys
  park_openssh
  park_dropbear
  write_start >"$dir/start"
  export dir ssh_port
  detach sh "$dir/start"
  report parking now
}`
