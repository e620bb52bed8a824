/** systemd units of withvm, and changes of Debian's units. */

import { INSTALLED_AGENT } from '../../src/provisioning/identity-agent/program.js'

/** Folder for data of the run while the guest runs. */
export const RUN_FOLDER = '/run/withvm'
export const LIBRARY = '/usr/lib/withvm'
export const AUTHORIZED_KEYS = `${RUN_FOLDER}/authorized_keys`
export const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key'

/** Runs before the journal is opened, whose folder is named after the machine id. */
const IDENTITY = `[Unit]
Description=Names and keys of this run
DefaultDependencies=no
Before=systemd-journald.service sysinit.target systemd-networkd.service ssh.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${LIBRARY}/identity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console

[Install]
WantedBy=sysinit.target
`

const IDENTITY_AGENT = `[Unit]
Description=Identity agent of withvm

[Service]
ExecStart=${INSTALLED_AGENT.path}
StandardInput=null
Restart=on-failure
`

/** Becomes the identity agent, so it must not end with its caller. */
const PARK = `[Unit]
Description=Wait for the restore of a clone
Conflicts=${INSTALLED_AGENT.unit}
After=${INSTALLED_AGENT.unit}

[Service]
Type=exec
ExecStart=${LIBRARY}/park-now
KillMode=process
StandardInput=null
`

/**
 * A guest that becomes a template requests no lease: QEMU's DHCP server would keep it for a card
 * that no longer exists. It gets the address that this server gives to the first client.
 */
const TEMPLATE_NETWORK = `[Unit]
Description=Network address of a template
DefaultDependencies=no
ConditionCredential=withvm.template
After=systemd-sysctl.service
Before=network.target
Wants=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip link set dev eth0 up
ExecStart=/usr/sbin/ip addr replace 10.0.2.15/24 brd 10.0.2.255 dev eth0
ExecStart=/usr/sbin/ip route replace default via 10.0.2.2

[Install]
WantedBy=multi-user.target
`

const UNLESS_TEMPLATE = `[Unit]
ConditionCredential=!withvm.template
`

/** Skips sshd's check of the configuration, which costs as much as its start. */
const SSH_START = `[Unit]
After=withvm-identity.service

[Service]
ExecStartPre=
ExecStartPost=${LIBRARY}/announce
`

/** The agent would log each command and each query of its status. */
const QUIET_AGENT = `[Service]
LogLevelMax=notice
`

/** Access to the serial console is full access to the guest, so no password is required. */
const CONSOLE_LOGIN = `[Service]
ExecStart=
ExecStart=-/sbin/agetty -o '-p -f -- \\\\u' --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
`

/** On a busy host without KVM, the console may appear later than after 90 s, the default. */
const CONSOLE_DEVICE = `[Unit]
JobRunningTimeoutSec=10min
`

const SYSTEM = '/etc/systemd/system'

/** Units by path. */
export const UNITS: Readonly<Record<string, string>> = {
  [`${SYSTEM}/withvm-identity.service`]: IDENTITY,
  [`${SYSTEM}/${INSTALLED_AGENT.unit}`]: IDENTITY_AGENT,
  [`${SYSTEM}/withvm-park.service`]: PARK,
  [`${SYSTEM}/withvm-template-network.service`]: TEMPLATE_NETWORK,
  [`${SYSTEM}/systemd-networkd.service.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/systemd-networkd.socket.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/systemd-networkd-wait-online.service.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/ssh.service.d/withvm.conf`]: SSH_START,
  [`${SYSTEM}/qemu-guest-agent.service.d/withvm.conf`]: QUIET_AGENT,
  [`${SYSTEM}/dev-ttyS0.device.d/withvm.conf`]: CONSOLE_DEVICE,
  [`${SYSTEM}/serial-getty@ttyS0.service.d/withvm.conf`]: CONSOLE_LOGIN,
}

/** Units for machines that run for weeks. */
export const DISABLED_UNITS: readonly string[] = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'systemd-pstore.service',
]

export const ENABLED_UNITS: readonly string[] = [
  'systemd-networkd.service',
  'ssh.service',
  'withvm-identity.service',
  'withvm-template-network.service',
]

/** Units that are useless with these devices. Modules they load are loaded on demand. */
export const MASKED_UNITS: readonly string[] = [
  'systemd-repart.service',
  'modprobe@drm.service',
  'sys-fs-fuse-connections.mount',
]

/**
 * Modules that would be loaded at each boot for the processor: nested virtualization and CPU
 * frequency.
 */
export const BLACKLISTED_MODULES: readonly string[] = ['kvm_amd', 'kvm_intel', 'powernow_k8', 'acpi_cpufreq']

/**
 * Generators that cost a process at every boot and look for absent features: encrypted disks,
 * hibernation, old scripts.
 */
export const MASKED_GENERATORS: readonly string[] = [
  'systemd-cryptsetup-generator',
  'systemd-gpt-auto-generator',
  'systemd-hibernate-resume-generator',
  'systemd-integritysetup-generator',
  'systemd-system-update-generator',
  'systemd-veritysetup-generator',
]
