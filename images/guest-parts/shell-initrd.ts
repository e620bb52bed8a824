import { quoteWord } from '../../src/common/process/shell-quote.js'
import { CREDENTIALS_FOLDER } from '../../src/provisioning/initrd-credentials.js'
import type { InitStep } from './init-steps.js'
import { INIT_TEXTS, type InitrdPlan, packInit } from './initrd.js'

export interface ShellInitrdPlan extends InitrdPlan {
  /** Static busybox for the guest's architecture. */
  readonly busybox: Uint8Array
  /** Target folder of the run's credentials, after the root is mounted on `/root`. */
  readonly credentialsTo: string
}

/**
 * Maximum number of checks for the disk, 50 ms apart: some buses report disks some time after their
 * drivers are loaded.
 */
const DISK_TRIES = 200

/**
 * Packs an initrd with a script that does the same as the system call program, for any
 * architecture. It also copies the credentials appended by the run.
 */
export function packShellInitrd(plan: ShellInitrdPlan): Buffer {
  return packInit(Buffer.from(buildScript(plan)), plan.modules, [
    { path: 'bin', mode: 0o040755 },
    { path: 'bin/busybox', mode: 0o100755, content: plan.busybox },
  ])
}

/**
 * Builds the script. Each line starts at most one process, because processes are slow on an
 * emulated processor.
 */
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
