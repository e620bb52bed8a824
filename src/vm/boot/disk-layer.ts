import { join } from 'node:path'
import { pickToolEnvironment } from '../../common/process/environment.js'
import { quoteWord, renderCommand } from '../../common/process/shell-quote.js'
import { copyWrittenOverlay } from '../../disk/written-overlay.js'
import { CommandError, vmError } from '../../errors.js'
import { type LayerWork, packFiles } from '../../image/defined-image.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { VM } from '../guest/vm.js'

/** Time limit of a command of `run` and of the transfer of files, as for the build of a system. */
const COMMAND_TIMEOUT = '30m'
const MOUNT_TIMEOUT = '2m'
/** Where the helper guest mounts the root file system, and the disk with the package lists. */
const ROOT = '/mnt'
const LISTS = '/run/apt'
/** List of the files in `/boot` before the commands. */
const KERNELS = '/run/withvm-kernels'

/** Waits for the disk with a serial number, $1, and sets `disk`. */
const FIND_DISK = `set -e
tries=0
disk=
while [ -z "$disk" ]; do
  for file in /sys/block/vd*/serial; do
    serial=
    read -r serial <"$file" || :
    [ "$serial" = "$1" ] && disk=\${file%/serial} && disk=/dev/\${disk##*/}
  done
  tries=$((tries + 1))
  [ "$tries" -lt 1000 ] || { echo "no disk $1" >&2; exit 1; }
  [ -n "$disk" ] || usleep 10000
done
`

/** Mounts partition $2 of the disk. */
const MOUNT = `${FIND_DISK}
tries=0
while ! [ -e "$disk$2" ] && [ "$tries" -lt 100 ]; do usleep 10000; tries=$((tries + 1)); done
mount -t ext4 "$disk$2" ${ROOT}
`

const MOUNT_LISTS = `${FIND_DISK}
mkdir -p ${LISTS}
mount -t ext4 "$disk" ${LISTS}
`

const ENVIRONMENT = '/run/withvm-environment'
const IN_ROOT = `. ${ENVIRONMENT}; cd /; exec chroot ${ROOT} /bin/sh -c "$1"`

/**
 * Adds the parts of a system that commands need, and prevents packages from starting services. The
 * package lists and downloads stay out of the layer.
 */
const ENTER = `set -e
(umask 077; cat >${ENVIRONMENT})
mount -t proc proc ${ROOT}/proc
mount -t sysfs sysfs ${ROOT}/sys
mount -o rbind /dev ${ROOT}/dev
for folder in lib/apt/lists cache/apt; do
  mkdir -p ${LISTS}/\${folder##*/} ${ROOT}/var/$folder
  mount -o bind ${LISTS}/\${folder##*/} ${ROOT}/var/$folder
done
ls ${ROOT}/boot >${KERNELS}
if ! [ -e ${ROOT}/usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\\nexit 101\\n' >${ROOT}/usr/sbin/policy-rc.d
  chmod 755 ${ROOT}/usr/sbin/policy-rc.d
  : >/run/withvm-policy
fi
`

/**
 * Undoes ENTER, and ends processes that a command has left behind. Prints the names of new kernels.
 */
const LEAVE = `left=$(ls -l /proc/[0-9]*/root 2>/dev/null | sed -n 's|.* /proc/\\([0-9]*\\)/root -> ${ROOT}$|\\1|p')
[ -z "$left" ] || kill -KILL $left
set -e
[ -e /run/withvm-policy ] && rm ${ROOT}/usr/sbin/policy-rc.d /run/withvm-policy
umount -l ${ROOT}/var/cache/apt
umount -l ${ROOT}/var/lib/apt/lists
umount -l ${ROOT}/dev
umount -l ${ROOT}/sys
umount -l ${ROOT}/proc
ls ${ROOT}/boot | grep '^vmlinu' | grep -vxFf ${KERNELS} || :
`

/** A killed process releases its files a moment later. */
const UNMOUNT = `tries=0
until umount ${ROOT}; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || exit 1
  usleep 50000
done
`

/** Address of the host in the user network of a guest. */
const HOST_ADDRESS = '10.0.2.2'

/** Helper guest that changes the disks of other guests without booting them. */
export class DiskEditor {
  readonly #vm: VM
  #count = 0
  #hasLists = false

  constructor(vm: VM) {
    this.#vm = vm
  }

  /**
   * Writes the files of a layer and runs its commands in the root file system of `base`, and leaves
   * the overlay with the changes at `to`.
   *
   * @throws {InfrastructureError} IMAGE_BUILD_FAILED when a command fails, with its output.
   */
  async edit(
    work: LayerWork,
    options: {
      readonly base: BaseImage
      readonly to: string
      readonly report: (step: string) => void
      readonly signal: AbortSignal | undefined
    },
  ): Promise<void> {
    const { base, to, report, signal } = options
    const { disk: below, root } = base
    if (below === undefined || root === undefined) throw new TypeError('The root file system is not known.')
    const serial = `layer-${++this.#count}`
    const image = { path: below.path, format: below.format, backingFolders: ['/'] }
    const disk = await this.#vm.plug.disk({ image, serial })
    await this.#run(MOUNT, [serial, String(root.partition ?? '')], signal)
    const count = Object.keys(work.files).length
    if (count > 0) {
      report(`writing ${count === 1 ? 'a file' : `${count} files`}`)
      await this.#vm.ssh(`umask 022; chroot ${ROOT} tar -C / -xf -`, {
        stdin: packFiles(work),
        timeout: COMMAND_TIMEOUT,
        signal,
      })
    }
    if (work.run.length > 0) await this.#runCommands(work, root.aptLists, { report, signal })
    report('saving the layer')
    await this.#run(UNMOUNT, [], signal)
    await disk.unplug({ signal })
    await copyWrittenOverlay({ from: join(this.#vm.runFolder, `${disk.id}.qcow2`), to, base: below, signal })
  }

  async #runCommands(
    work: LayerWork,
    lists: string | undefined,
    options: { readonly report: (step: string) => void; readonly signal: AbortSignal | undefined },
  ): Promise<void> {
    const { report, signal } = options
    if (lists !== undefined && !this.#hasLists) {
      await this.#vm.plug.disk({ image: { path: lists, format: 'qcow2' }, serial: 'apt-lists' })
      await this.#run(MOUNT_LISTS, ['apt-lists'], signal)
      this.#hasLists = true
    }
    // Proxies may contain passwords, and the text of a failed command is part of its error.
    const exports = Object.entries(chrootEnvironment(process.env)).map(
      ([name, value]) => `export ${name}=${quoteWord(value)}\n`,
    )
    await this.#run(ENTER, [], signal, exports.join(''))
    for (const command of work.run) {
      report(`running ${command.split('\n', 1)[0]?.slice(0, 60)}`)
      const line = renderCommand`exec env -i /bin/sh -c ${IN_ROOT} withvm ${command}`
      const timeout = work.guest?.timeouts?.command ?? COMMAND_TIMEOUT
      await this.#vm.ssh(line, { timeout, signal }).catch((error: unknown) => {
        throw error instanceof CommandError ? commandError(work, command, error) : error
      })
    }
    const kernels = await this.#run(LEAVE, [], signal)
    if (kernels !== '') throw newKernelError(work, kernels)
  }

  async #run(
    script: string,
    args: readonly string[],
    signal: AbortSignal | undefined,
    stdin?: string,
  ): Promise<string> {
    const words = ['/bin/sh', '-c', script, 'withvm', ...args].map(quoteWord)
    return (await this.#vm.ssh(words.join(' '), { timeout: MOUNT_TIMEOUT, signal, stdin })).stdout
  }
}

/**
 * Returns the environment of a command: that of the build of a Debian system, with the proxy
 * settings of this process. A proxy on the host itself has another address in a guest. Pure.
 */
export function chrootEnvironment(env: NodeJS.ProcessEnv): Record<string, string> {
  const proxies = Object.entries(pickToolEnvironment(env, { usesNetwork: true }))
    .filter(([name]) => /_proxy$/i.test(name))
    .map(([name, value]) => [
      name,
      /^no_proxy$/i.test(name)
        ? value
        : value.replace(/(^|\/\/|@)(localhost|127(?:\.\d+){3}|\[::1\])(?=[:/]|$)/, `$1${HOST_ADDRESS}`),
    ])
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LC_ALL: 'C.UTF-8',
    DEBIAN_FRONTEND: 'noninteractive',
    // The image has its own initrd (a switch of initramfs-tools).
    INITRD: 'No',
    ...Object.fromEntries(proxies),
  }
}

function commandError(work: LayerWork, command: string, error: CommandError) {
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `A command of \`run\` of the image ${work.name} failed.`,
    expected: 'exit code 0',
    got: error.details.got,
    evidence: [{ label: 'Command', text: command }, ...error.evidence],
    hint: 'Correct the command. It runs without services; the layers before it are kept.',
    cause: error,
  })
}

/** QEMU loads the kernel of the packages, so a newer one on the disk would not be booted. */
function newKernelError(work: LayerWork, kernels: string) {
  return vmError('IMAGE_BUILD_FAILED', {
    summary: `A command of \`run\` of the image ${work.name} installed a kernel, which guests would not boot.`,
    expected: 'kernels in `packages` only',
    got: kernels.split('\n').join(', '),
    hint: 'List the package of the kernel in `packages`. To upgrade the installed kernel, remove the image below (`withvm images rm`), so that it is built again.',
  })
}
