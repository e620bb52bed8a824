import { INSTALLED_AGENT } from '../../src/provisioning/identity-agent/program.js'
import type { IdentityTraits } from '../../src/spec/base-image.js'
import {
  IDENTITY_AGENT_PATHS,
  identityAgentFiles,
  printBlank,
  RESTORED_FIFO,
} from '../guest-parts/identity.js'
import { assembleSyscallProgram, KEPT } from '../guest-parts/syscall-program.js'
import type { GuestFile } from '../recipe.js'
import { AUTHORIZED_KEYS, HOST_KEY, LIBRARY, RUN_FOLDER, UNITS } from './units.js'

/**
 * Installs the credentials of the run, which systemd copied from SMBIOS into files. Uses only shell
 * builtins, because each program costs time.
 */
const TAKE_IDENTITY = `#!/bin/sh
umask 022
mkdir -p ${RUN_FOLDER}
cd /run/credentials/@system 2>/dev/null || cd ${RUN_FOLDER}
take() {
  [ -s "$1" ] || return 1
  while IFS= read -r line || [ -n "$line" ]; do echo "$line"; done <"$1"
}
name=$(take system.hostname) && echo "$name" >/etc/hostname && echo "$name" >/proc/sys/kernel/hostname
id=$(take system.machine_id) && echo "$id" >/etc/machine-id
take ssh.authorized_keys.root >${AUTHORIZED_KEYS}
umask 077
key=$(take withvm.ssh_host_ed25519_key) && echo "$key" >${HOST_KEY}
[ -s ${HOST_KEY} ] || ssh-keygen -q -t ed25519 -N '' -f ${HOST_KEY}
`

/** Files of a clone's own identity. */
export const IDENTITY: IdentityTraits = {
  machineId: '/etc/machine-id',
  authorizedKeys: AUTHORIZED_KEYS,
  hostKey: { path: HOST_KEY, format: 'openssh' },
  restoredFifo: RESTORED_FIFO,
}

/** Delay before a clone requests its DHCP lease, seconds, so the test starts first. */
const LEASE_AFTER_S = 1

/** Called by withvm through the guest agent, which must not wait for it. */
const PARK = `#!/bin/sh
exec systemctl restart --no-block withvm-park.service
`

const PARK_NOW = `#!/bin/sh
# Brings the guest to the initial state of its clones: no user is logged in, and the identity agent waits for the identity of the clone.
umask 022
systemctl is-system-running --wait >/dev/null
for session in $(pgrep -f '^sshd: [a-z]'); do kill "$session"; done
umount /run/credentials/@system
rm -f ${RESTORED_FIFO}
mkfifo -m 600 ${RESTORED_FIFO}
${printBlank('authorizedKeys')} >${AUTHORIZED_KEYS}
${printBlank('openssh')} >${HOST_KEY}
ip route flush default
cd /proc/sys/net
echo 1 >ipv4/conf/eth0/arp_notify
read -r without_ipv6 <ipv6/conf/eth0/disable_ipv6
echo 1 >ipv6/conf/eth0/disable_ipv6
cd /
read -r id </etc/machine-id
${LIBRARY}/restored "$without_ipv6" "$id" &
journalctl --sync
# The script restored creates this file before it waits for the restore.
while ! [ -e ${RUN_FOLDER}/restored.ready ]; do sleep 0.1; done
rm ${RUN_FOLDER}/restored.ready
sync
exec ${IDENTITY_AGENT_PATHS.parked}
`

/**
 * The identity of a clone is installed before this starts; its remaining work must not delay the
 * first test.
 */
const RESTORED = `#!/bin/sh
# Waits for the restore of a clone, then does the work that depends on its identity and can be done later.
renice -n 19 $$ >/dev/null
# The present address is also that of the lease, so networkd keeps it in the meantime.
mkdir -p /run/systemd/network/80-ethernet.network.d /run/systemd/system/systemd-networkd.service.d
printf '[Network]\\nKeepConfiguration=static\\n' >/run/systemd/network/80-ethernet.network.d/keep.conf
printf '[Service]\\nNice=19\\n' >/run/systemd/system/systemd-networkd.service.d/late.conf
systemctl daemon-reload
: >${RUN_FOLDER}/restored.ready
read -r what <${RESTORED_FIFO}
sleep ${LEASE_AFTER_S}
read -r name </proc/sys/kernel/hostname
echo "$name" >/etc/hostname
read -r id </etc/machine-id
# The journal continues in its open files.
for journal in /run/log/journal /var/log/journal; do
  [ "$id" != "$2" ] && [ -d "$journal/$2" ] && mv "$journal/$2" "$journal/$id"
done
echo "$1" >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
if [ "$what" = lease ]; then
  systemctl start systemd-networkd.socket systemd-networkd.service
  renice -n 0 "$(systemctl show -P MainPID systemd-networkd)" >/dev/null
fi
`

const NETWORK = `[Match]
Type=ether
Kind=!*

[Network]
DHCP=yes

[DHCPv4]
ClientIdentifier=mac
UseDomains=yes
`

const SSHD = `# The only host key is that of the run.
HostKey ${HOST_KEY}
# The key of the run is valid for every user.
AuthorizedKeysFile .ssh/authorized_keys ${AUTHORIZED_KEYS}
UseDNS no
PrintLastLog no
`

const SSHD_PAM = `# Like Debian's file, without SELinux and without the message of the day, which is generated for each login.
@include common-auth
account required pam_nologin.so
@include common-account
session required pam_loginuid.so
session optional pam_keyinit.so force revoke
@include common-session
session required pam_limits.so
session required pam_env.so
session required pam_env.so envfile=/etc/default/locale
@include common-password
`

const UDEV = `SUBSYSTEM=="virtio-ports", ATTR{name}=="org.withvm.identity-agent.0", TAG+="systemd", ENV{SYSTEMD_WANTS}="${INSTALLED_AGENT.unit}"
`

const SYS = { write: 1, open: 2, exit: 60 } as const

/**
 * Assembles a program that announces the SSH server on the console: a shell would take ten times as
 * long.
 */
function assembleAnnouncement(): Buffer {
  const line = Buffer.from('withvm: sshd\r\n')
  return assembleSyscallProgram([
    { number: SYS.open, args: ['/dev/console', 1, 0], keep: true },
    { number: SYS.write, args: [KEPT, line, line.length] },
    { number: SYS.exit, args: [0] },
  ])
}

const program = (content: string | Uint8Array): GuestFile => ({ content, mode: 0o755 })
const text = (content: string): GuestFile => ({ content, mode: 0o644 })

/** Files of withvm in the guest, by path. */
export const GUEST_FILES: Readonly<Record<string, GuestFile>> = {
  ...Object.fromEntries(Object.entries(UNITS).map(([path, content]) => [path, text(content)])),
  [`${LIBRARY}/identity`]: program(TAKE_IDENTITY),
  [`${LIBRARY}/park`]: program(PARK),
  [`${LIBRARY}/park-now`]: program(PARK_NOW),
  [`${LIBRARY}/restored`]: program(RESTORED),
  [`${LIBRARY}/announce`]: program(assembleAnnouncement()),
  ...identityAgentFiles('x86_64'),
  '/etc/systemd/network/80-ethernet.network': text(NETWORK),
  '/etc/ssh/sshd_config.d/withvm.conf': text(SSHD),
  '/etc/pam.d/sshd': text(SSHD_PAM),
  '/etc/udev/rules.d/60-withvm.rules': text(UDEV),
  // Logins read this file: without it, PAM logs an error for each.
  '/etc/default/locale': text('LANG=C.UTF-8\n'),
  '/etc/hosts': text('127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'),
}

/** Files that are replaced after the build, because the build needs its own versions. */
export const LAST_FILES: Readonly<Record<string, GuestFile>> = {
  '/etc/hostname': text('debian\n'),
  '/etc/resolv.conf': text('nameserver 10.0.2.3\n'),
  // Set at the first boot.
  '/etc/machine-id': { content: '', mode: 0o444 },
  '/etc/fstab': text('# The root file system is mounted by the initial RAM disk.\n'),
}
