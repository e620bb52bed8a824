import { INSTALLED_AGENT } from '../../src/provisioning/identity-agent/program.js'
import { describeArch, type GuestArch } from '../../src/spec/architectures.js'
import type { IdentityTraits } from '../../src/spec/base-image.js'
import {
  IDENTITY_AGENT_PATHS,
  identityAgentFiles,
  printBlank,
  RESTORED_FIFO,
} from '../guest-parts/identity.js'
import type { GuestFile } from '../recipe.js'
import { WGET } from './wget.js'

/** Host key that the SSH server of a clone, started without one, reads for each connection. */
const HOST_KEY = '/run/withvm/host-key'

/** Files of a clone's own identity. */
export const IDENTITY: IdentityTraits = {
  machineId: '/run/machine-id',
  authorizedKeys: '/root/.ssh/authorized_keys',
  hostKey: { path: HOST_KEY, format: 'dropbear' },
  restoredFifo: RESTORED_FIFO,
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Copy of the SSH server whose execute permission can be removed, so it cannot start itself again.
 */
const SERVER = '/run/dropbear'

/**
 * Process 1 until the SSH server listens, then busybox init. Each program costs milliseconds of
 * every boot, so builtins of the shell are used wherever possible.
 */
const INIT = `#!/bin/sh
export PATH=${PATH} HOME=/root
: >/root/.ssh/authorized_keys
[ -s /etc/hostname ] && read -r name </etc/hostname && echo "$name" >/proc/sys/kernel/hostname

echo 'nameserver 10.0.2.3' >/run/resolv.conf

# SMBIOS type 11 strings, as read by systemd. Each ends with a NUL; a header precedes the first.
umask 077
cd /run/credentials/@system
keep() {
  case "$1" in
    *io.systemd.credential.binary:*=*)
      set -- "\${1#*io.systemd.credential.binary:}"
      case "\${1%%=*}" in */*) return ;; esac
      base64 -d >"\${1%%=*}" <<END
\${1#*=}
END
      ;;
    *io.systemd.credential:*=*)
      set -- "\${1#*io.systemd.credential:}"
      case "\${1%%=*}" in */*) return ;; esac
      printf %s "\${1#*=}" >"\${1%%=*}" ;;
  esac
}
strings=/sys/firmware/dmi/tables/DMI
read -r -d '' line </dev/null 2>/dev/null
if [ $? -eq 2 ]; then
  # The read of this busybox does not support -d.
  tr '\\0' '\\n' <"$strings" | while IFS= read -r line; do keep "$line"; done
elif [ -r "$strings" ]; then
  while IFS= read -r -d '' line; do keep "$line"; done <"$strings"
fi
if [ -s ssh.authorized_keys.root ]; then
  while read -r line || [ -n "$line" ]; do echo "$line"; done <ssh.authorized_keys.root >/root/.ssh/authorized_keys
fi
if [ -s system.hostname ]; then
  read -r name <system.hostname || [ -n "$name" ]
  echo "$name" >/proc/sys/kernel/hostname
fi
[ -s system.machine_id ] && { read -r id <system.machine_id || [ -n "$id" ]; } && echo "$id" >/run/machine-id
set -- -R
[ -s withvm.dropbear_host_key ] && set -- -r "$PWD/withvm.dropbear_host_key"
cd /
umask 022

# dropbear re-executes itself for each connection, which takes a tenth of a second under emulation. Without execute permission,
# it continues without.
cp /usr/sbin/dropbear ${SERVER}
${SERVER} -s -p 22 -P /run/dropbear.pid -W 262144 "$@" && echo 'withvm: sshd' && chmod 644 ${SERVER}
exec /usr/bin/busybox init
`

/**
 * Work that can wait until logins are possible, at the lowest priority so it does not delay a test.
 */
const late = (console: string) => `#!/bin/sh
export PATH=${PATH} HOME=/root
renice -n 19 $$ >/dev/null
mkdir -p /run/withvm
# A guest that becomes a template takes no lease: each clone requests one with its own address.
if [ -e /run/credentials/@system/withvm.template ]; then
  ifconfig eth0 2>/dev/null | grep -q 'addr:10.0.2.15 ' && echo 'withvm: network 10.0.2.15' >/dev/console
else
  FROM_POWER_ON=1 /usr/lib/withvm/lease &
fi
modprobe -a virtio_console button evdev 2>/dev/null
mkdir -p /run/lock
${console === 'hvc0' ? '' : '[ -c /dev/hvc0 ] && setsid /usr/lib/withvm/console hvc0 &\n'}for port in /sys/class/virtio-ports/*; do
  [ -e "$port/name" ] || continue
  read -r name <"$port/name" || continue
  mkdir -p /dev/virtio-ports
  ln -sf "../\${port##*/}" "/dev/virtio-ports/$name"
done
if [ -x ${IDENTITY_AGENT_PATHS.booted} ] && [ -e /dev/virtio-ports/org.withvm.identity-agent.0 ]; then
  ${IDENTITY_AGENT_PATHS.booted} &
  echo $! >${INSTALLED_AGENT.pidFile}
  renice 0 $! >/dev/null
fi
[ -e /dev/virtio-ports/org.qemu.guest_agent.0 ] &&
  sh -c 'renice 0 $$ >/dev/null; exec "$@"' - \\
    qemu-ga -d -f /run/qemu-ga.pid -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run >/dev/null 2>&1
acpid -d -c /etc/acpi -l /dev/null -p /run/acpid.pid >/dev/null 2>&1 &
`

const LEASE = `#!/bin/sh
exec udhcpc -i eth0 -f -S -t 10 -T 1 -A 10 -s /usr/lib/withvm/dhcp >/dev/null 2>&1
`

const CONSOLE = `#!/bin/sh
# Runs a root shell on a terminal and restarts it when it ends.
while :; do
  setsid -c /bin/sh -l <>"/dev/$1" >&0 2>&1
  sleep 1
done
`

const DHCP = `#!/bin/sh
# Called by udhcpc with the lease in the environment. The initrd has already set the values of QEMU's user network, so
# usually nothing changes.
state=/run/dhcp.address
case "$1" in
  leasefail | nak)
    if [ ! -e "$state" ]; then
      echo 'withvm: network failed: no answer by DHCP' >/dev/console
      ifconfig "$interface" 0.0.0.0
      : >"$state"
    fi ;;
  bound | renew)
    announce=$FROM_POWER_ON
    [ "$ip" != 10.0.2.15 ] && announce=1
    if [ "$ip $subnet" != '10.0.2.15 255.255.255.0' ] || [ -e "$state" ]; then
      ifconfig "$interface" "$ip" netmask "\${subnet:-255.255.255.0}" \${broadcast:+broadcast "$broadcast"} up
    fi
    if [ "$router" != 10.0.2.2 ] || [ -e "$state" ]; then
      while route del default dev "$interface" 2>/dev/null; do :; done
      for gateway in $router; do route add default gw "$gateway" dev "$interface"; break; done
    fi
    {
      [ -n "$domain" ] && echo "search $domain"
      for server in $dns; do echo "nameserver $server"; done
    } >/run/resolv.conf.new
    mv /run/resolv.conf.new /run/resolv.conf
    # A clone does not announce an address that its console already contains.
    [ "$1" = bound ] && [ -n "$announce" ] && echo "withvm: network $ip" >/dev/console ;;
esac
`

const SHUTDOWN = `#!/bin/sh
# Called by init for a shutdown: performs the action that /sbin/poweroff, reboot or halt requested, without the delay of
# seconds of init itself. The built-in poweroff of the busybox shell notifies only init, which then performs the last step.
export PATH=${PATH}
action=
[ -e /run/withvm.action ] && read -r action </run/withvm.action
# An interactive shell ends only on SIGHUP.
kill -HUP -1
kill -TERM -1
tries=0
while [ "$tries" -lt 40 ]; do
  alive=
  for exe in /proc/[0-9]*/exe; do
    # Kernel threads have no executable.
    case "$exe" in /proc/1/exe | "/proc/$$/exe" | /proc/self/exe) continue ;; esac
    [ -e "$exe" ] && alive=1 && break
  done
  [ -z "$alive" ] && break
  usleep 50000
  tries=$((tries + 1))
done
kill -KILL -1
sync
cd /
mount -o remount,ro / 2>/dev/null || echo u >/proc/sysrq-trigger
umount -a -r 2>/dev/null
[ -n "$action" ] && exec busybox "$action" -f
`

const STOP = `#!/bin/sh
# poweroff, reboot and halt. As usual, -f acts at once without unmounting.
action=\${0##*/}
for option; do [ "$option" = -f ] && exec busybox "$action" -f; done
echo "$action" >/run/withvm.action
exec busybox "$action"
`

const PARK = `#!/bin/sh
# Called before the guest is saved as a template. Brings it to the initial state of its clones: no user is logged in, the SSH
# server has no host key, and the identity agent waits for the identity of the clone.
export PATH=${PATH} HOME=/root
umask 022
cd /
renice 0 $$ >/dev/null
read -r pid <${INSTALLED_AGENT.pidFile} && kill "$pid"
echo $$ >${INSTALLED_AGENT.pidFile}
killall -9 dropbear
rm -f ${HOST_KEY} ${RESTORED_FIFO} /run/credentials/@system/*
mkfifo -m 600 ${RESTORED_FIFO}
${printBlank('authorizedKeys')} >/root/.ssh/authorized_keys
ln -sf ${HOST_KEY} /etc/dropbear/dropbear_ed25519_host_key
while route del default 2>/dev/null; do :; done
cd /proc/sys/net
echo 1 >ipv4/conf/eth0/arp_notify
read -r without_ipv6 <ipv6/conf/eth0/disable_ipv6
echo 1 >ipv6/conf/eth0/disable_ipv6
cd /
(/usr/lib/withvm/restored "$without_ipv6" &)
chmod 755 ${SERVER}
# With re-execution, dropbear seeds its random numbers for each connection.
${SERVER} -s -R -p 22 -P /run/dropbear.pid -W 262144
chmod 644 ${SERVER}
sync
exec ${IDENTITY_AGENT_PATHS.parked}
`

const RESTORED = `#!/bin/sh
# Waits for the restore of a clone, then does the work that depends on its MAC address and can be done later.
renice 19 $$ >/dev/null
read -r what <${RESTORED_FIFO}
echo "$1" >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
[ "$what" = lease ] && exec /usr/lib/withvm/lease
`

const SHUTDOWN_COMMAND = `#!/bin/sh
# The subset of shutdown(8) that the guest agent and users need: -P, -h, -H, -r, and only the time now.
action=poweroff
for option; do
  case "$option" in
    -r) action=reboot ;;
    -H) action=halt ;;
    -P | -h) ;;
    now | +0 | 0) ;;
    +* | *:*) echo "shutdown: only 'now' is possible here" >&2; exit 1 ;;
  esac
done
exec /sbin/$action
`

const POWER_BUTTON = `#!/bin/sh
exec /sbin/poweroff
`

const inittab = (console: string) => `::once:/usr/lib/withvm/late
${console}::respawn:-/bin/sh
::ctrlaltdel:/sbin/reboot
::shutdown:/usr/lib/withvm/shutdown
`

const PROFILE = `export PATH=${PATH}
export PS1='\\u@\\h:\\w\\$ '
`

const PASSWD = `root:*:0:0:root:/root:/bin/sh
daemon:*:1:1:daemon:/:/bin/false
sshd:*:22:22:sshd:/run:/bin/false
nobody:*:65534:65534:nobody:/:/bin/sh
user:*:1000:1000:user:/home/user:/bin/sh
`
const GROUP = `root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
users:x:100:
user:x:1000:
nogroup:x:65534:
`

/** Path of the program that is installed if busybox's own wget has no timeouts. */
export const WGET_PATH = '/usr/bin/wget'

const program = (content: string | Buffer): GuestFile => ({ content, mode: 0o755 })
const text = (content: string, mode = 0o644): GuestFile => ({ content, mode })

const COMMON_FILES: Readonly<Record<string, GuestFile>> = {
  '/usr/sbin/init': program(INIT),
  '/usr/lib/withvm/console': program(CONSOLE),
  '/usr/lib/withvm/dhcp': program(DHCP),
  '/usr/lib/withvm/shutdown': program(SHUTDOWN),
  '/usr/lib/withvm/lease': program(LEASE),
  '/usr/sbin/poweroff': program(STOP),
  '/usr/sbin/reboot': program(STOP),
  '/usr/sbin/halt': program(STOP),
  '/usr/sbin/shutdown': program(SHUTDOWN_COMMAND),
  [WGET_PATH]: program(WGET),
  '/etc/acpi/PWRF/00000080': program(POWER_BUTTON),
  '/etc/profile': text(PROFILE),
  '/etc/passwd': text(PASSWD),
  '/etc/group': text(GROUP),
  '/etc/shells': text('/bin/sh\n'),
  '/etc/hostname': text('tiny\n'),
  '/etc/hosts': text('127.0.0.1 localhost tiny\n::1 localhost\n'),
  '/etc/nsswitch.conf': text('passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n'),
  '/etc/os-release': text('ID=withvm-tiny\nNAME="withvm tiny"\nPRETTY_NAME="withvm tiny guest"\n'),
  '/root/.ssh/authorized_keys': text('', 0o600),
}

/** Programs for templates and clones. */
const CLONE_FILES: Readonly<Record<string, GuestFile>> = {
  '/usr/lib/withvm/park': program(PARK),
  '/usr/lib/withvm/restored': program(RESTORED),
}

/** Returns all files of the guest that are not from a package. */
export function guestFiles(arch: GuestArch): Readonly<Record<string, GuestFile>> {
  const { console } = describeArch(arch)
  return {
    ...COMMON_FILES,
    ...CLONE_FILES,
    ...identityAgentFiles(arch),
    '/usr/lib/withvm/late': program(late(console)),
    '/etc/inittab': text(inittab(console)),
  }
}
