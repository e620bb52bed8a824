/** What systemd starts of ours, and how it starts what is Debian's. */

/** Where the run's own is kept while the guest runs. */
export const RUN_FOLDER = '/run/withvm'
export const LIBRARY = '/usr/lib/withvm'
export const AUTHORIZED_KEYS = `${RUN_FOLDER}/authorized_keys`
export const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key'

/** Before the journal is opened, which is kept under the name of the machine. */
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
Description=Clock and random numbers of a guest that stood still

[Service]
ExecStart=${LIBRARY}/clock-agent
StandardInput=null
Restart=on-failure
`

/** It goes on as the identity agent, so it is not to end with what asked for it. */
const PARK = `[Unit]
Description=Rest, until a clone of this guest begins
Conflicts=withvm-identity-agent.service
After=withvm-identity-agent.service

[Service]
Type=exec
ExecStart=${LIBRARY}/park-now
KillMode=process
StandardInput=null
`

/**
 * A guest that is to be frozen asks for no address: QEMU's DHCP server would keep it for a card that is no more. It is given
 * what that server gives the first guest that asks.
 */
const TEMPLATE_NETWORK = `[Unit]
Description=Address of a guest that is to be frozen
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

/** Its own check of the configuration costs as much as its start. */
const SSH_START = `[Unit]
After=withvm-identity.service

[Service]
ExecStartPre=
ExecStartPost=${LIBRARY}/announce
`

/** The agent tells the journal of each command, and of each look whether it has ended. */
const QUIET_AGENT = `[Service]
LogLevelMax=notice
`

/** Whoever holds the serial console holds the machine: a test can do without a password. */
const CONSOLE_LOGIN = `[Service]
ExecStart=
ExecStart=-/sbin/agetty -o '-p -f -- \\\\u' --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
`

const SYSTEM = '/etc/systemd/system'

/** By path. */
export const UNITS: Readonly<Record<string, string>> = {
  [`${SYSTEM}/withvm-identity.service`]: IDENTITY,
  [`${SYSTEM}/withvm-identity-agent.service`]: IDENTITY_AGENT,
  [`${SYSTEM}/withvm-park.service`]: PARK,
  [`${SYSTEM}/withvm-template-network.service`]: TEMPLATE_NETWORK,
  [`${SYSTEM}/systemd-networkd.service.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/systemd-networkd.socket.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/systemd-networkd-wait-online.service.d/withvm.conf`]: UNLESS_TEMPLATE,
  [`${SYSTEM}/ssh.service.d/withvm.conf`]: SSH_START,
  [`${SYSTEM}/qemu-guest-agent.service.d/withvm.conf`]: QUIET_AGENT,
  [`${SYSTEM}/serial-getty@ttyS0.service.d/withvm.conf`]: CONSOLE_LOGIN,
}

/** What a machine is for that lives for weeks. */
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

/** Of no use on this disk and these devices: what they load comes by itself where it is asked for. */
export const MASKED_UNITS: readonly string[] = [
  'systemd-repart.service',
  'modprobe@drm.service',
  'sys-fs-fuse-connections.mount',
]

/** Drivers that a look at the processor would load at each start, for hypervisors within and for clocks that nothing sets. */
export const UNASKED_MODULES: readonly string[] = ['kvm_amd', 'kvm_intel', 'powernow_k8', 'acpi_cpufreq']

/** Each is a process at every start, and looks for what this machine has not: encrypted disks, hibernation, old scripts. */
export const MASKED_GENERATORS: readonly string[] = [
  'systemd-cryptsetup-generator',
  'systemd-gpt-auto-generator',
  'systemd-hibernate-resume-generator',
  'systemd-integritysetup-generator',
  'systemd-system-update-generator',
  'systemd-veritysetup-generator',
]
