import { quoteWord } from '../../src/common/process/shell-quote.js'
import { CREDENTIALS_FOLDER } from '../../src/provisioning/initrd-credentials.js'
import type { InitStep } from './init-steps.js'
import { INIT_TEXTS, type InitrdPlan, packInit } from './initrd.js'

export interface ShellInitrdPlan extends InitrdPlan {
  /** A static busybox of the guest's architecture. */
  readonly busybox: Uint8Array
  /** Where what the run gives to the guest goes, once the root is mounted on `/root`. */
  readonly credentialsTo: string
}

/** Tries, a twentieth of a second apart: some buses tell of their disks a while after their drivers were loaded. */
const DISK_TRIES = 200

/**
 * Packs a RAM disk that does what that of system calls does, as a script: the same for each architecture. What a run has put
 * behind it for the guest, the script hands on.
 */
export function packShellInitrd(plan: ShellInitrdPlan): Buffer {
  return packInit(Buffer.from(buildScript(plan)), plan.modules, [
    { path: 'bin', mode: 0o040755 },
    { path: 'bin/busybox', mode: 0o100755, content: plan.busybox },
  ])
}

/** Each line starts a process at most: that is what costs an emulated processor time. */
function buildScript({ modules, rootDevice, prepareRoot = [], credentialsTo }: ShellInitrdPlan): string {
  return `#!/bin/busybox sh
export PATH=/bin
fail() { echo "$1"; exit 1; }
echo '${INIT_TEXTS.greeting}'
busybox mount -t devtmpfs -o nosuid devtmpfs /dev
${modules.map(({ fileName }) => `busybox insmod ${quoteWord(`/m/${fileName}`)}`).join('\n')}
tries=0
until [ -b ${rootDevice} ] || [ $tries -ge ${DISK_TRIES} ]; do busybox usleep 50000; tries=$((tries + 1)); done
busybox mount -t ext4 ${rootDevice} /root || fail '${INIT_TEXTS.noRoot(rootDevice)}'
busybox mount --move /dev /root/dev
${prepareRoot.flatMap(toCommands).join('\n')}
[ -d ${CREDENTIALS_FOLDER} ] && busybox cp ${CREDENTIALS_FOLDER}/* ${credentialsTo}/
[ -x /root/sbin/init ] || fail '${INIT_TEXTS.noInit(rootDevice)}'
exec busybox switch_root /root /sbin/init
`
}

function toCommands(step: InitStep): string[] {
  switch (step.does) {
    case 'mount': {
      const options = [...step.flags, ...(step.data === '' ? [] : [step.data])].join(',')
      return [`busybox mount -t ${step.type} -o ${quoteWord(options)} ${step.source} ${step.target}`]
    }
    case 'make a directory':
      return [`busybox mkdir -p -m ${step.mode.toString(8)} ${step.path}`]
    case 'set up the network':
      return [
        'busybox ifconfig lo up',
        `busybox ifconfig eth0 ${step.address} netmask ${step.netmask} up`,
        `busybox route add default gw ${step.gateway}`,
      ]
  }
}
