import { constants, existsSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { readOptionalFile } from '../../common/files/optional-file.js'
import { currentUserName } from '../../common/process/current-user.js'
import type { HostUser } from '../../common/process/host-user.js'
import { digestOf, type HostCache } from '../host-cache.js'
import { mayUse } from '../user-access.js'

/** Reason why KVM cannot be used, as a clause without a full stop, and a fix as a sentence. */
export interface Obstacle {
  readonly reason: string
  readonly fix: string
}

export interface KvmDeviceOptions {
  /** @default '/dev/kvm' */
  readonly devicePath?: string
  readonly cache: HostCache
  /** User that opens the device. @default the user of this process */
  readonly user?: HostUser | undefined
  /** @default whether the files of Docker or Podman exist */
  readonly isContainer?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** Time in which udev restores the permissions of devices after it starts, in milliseconds. */
const UDEV_RESET_MS = 300

/**
 * Returns the reason why the user cannot open the device of KVM, or undefined. Takes well under a
 * millisecond.
 */
export async function findKvmObstacle(options: KvmDeviceOptions): Promise<Obstacle | undefined> {
  if (process.platform !== 'linux') {
    return { reason: `KVM requires Linux, and this host runs ${process.platform}`, fix: 'Use a Linux host.' }
  }
  if (process.arch !== 'x64') {
    return {
      reason: `KVM is used on x86_64 hosts only, and this host is ${process.arch}`,
      fix: 'Use an x86_64 host.',
    }
  }
  const path = options.devicePath ?? '/dev/kvm'
  const error = await tryOpen(path)
  if (error === undefined) {
    const { user } = options
    if (user === undefined || (await mayUse(user, path, 'rw'))) return undefined
    return describeRefused(path, user.name, 'EACCES')
  }
  if (error.code === 'EACCES' || error.code === 'EPERM') return describeDenied(path, error.code, options)
  if (error.code === 'ENOENT' || error.code === 'ENODEV' || error.code === 'ENXIO')
    return describeMissing(path, options.isContainer ?? isContainer())
  return {
    reason: `${path} cannot be opened (${error.code})`,
    fix: 'Check `dmesg` for messages of KVM.',
  }
}

async function tryOpen(path: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    const device = await open(path, constants.O_RDWR)
    await device.close()
    return undefined
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
}

/**
 * Describes a denied access, after one wait for udev. The wait is not repeated until the
 * permissions of the device change.
 */
async function describeDenied(
  path: string,
  code: 'EACCES' | 'EPERM',
  options: KvmDeviceOptions,
): Promise<Obstacle | undefined> {
  const { ctimeMs, gid, mode } = await stat(path)
  const groups = process.getgroups?.() ?? []
  const fact = `kvm-denied-${digestOf(path, ctimeMs, gid, mode, process.geteuid?.() ?? 0, groups.join())}`
  const denied = await options.cache.read(fact, (value) => (value === true ? value : undefined))
  if (denied === undefined) {
    await sleep(UDEV_RESET_MS, undefined, { signal: options.signal }).catch(() => {})
    options.signal?.throwIfAborted()
    if ((await tryOpen(path)) === undefined) return undefined
    await options.cache.write(fact, true)
  }
  if (code === 'EPERM') {
    return {
      reason: `this container has no access to ${path} (EPERM)`,
      fix: 'Start the container with `--device /dev/kvm`.',
    }
  }
  if (options.isContainer ?? isContainer()) return describeForeignGroup(path, gid, mode)
  return describeRefused(path, currentUserName(), code)
}

/** Group of files whose group does not exist in a user namespace (user_namespaces(7)). */
const OVERFLOW_GID = 65_534

/**
 * Describes a device that is in the container, but whose group the user of the container is not in.
 * The user's groups are those of the container's image, so only the start of the container can add
 * the group.
 */
function describeForeignGroup(path: string, gid: number, mode: number): Obstacle {
  const reason = `the user ${currentUserName()} of this container has no permission to open ${path} (EACCES)`
  if (gid === OVERFLOW_GID) {
    return { reason, fix: 'Start the container with `--group-add keep-groups` (rootless Podman).' }
  }
  const isOpen = (mode & 0o060) === 0o060 && gid !== 0
  return {
    reason,
    fix: isOpen
      ? `Start the container with \`--group-add ${gid}\`.`
      : `Run \`sudo chgrp kvm ${path} && sudo chmod 660 ${path}\` on the host, then start the container with \`--group-add\` and the number of the group kvm.`,
  }
}

async function describeRefused(path: string, user: string, code: string): Promise<Obstacle> {
  const { gid, mode } = await stat(path)
  const group = groupName(gid)
  return {
    reason: `the user ${user} has no permission to open ${path} (${code})`,
    fix:
      (mode & 0o060) === 0o060 && gid !== 0
        ? `Run \`sudo usermod -aG ${group} ${user}\`, then log in again.`
        : `Grant access to a group, for example with \`sudo chgrp kvm ${path} && sudo chmod 660 ${path}\`, and join that group.`,
  }
}

function describeMissing(path: string, isInContainer: boolean): Obstacle {
  if (isInContainer) {
    return {
      reason: `${path} does not exist in this container`,
      fix: 'Start the container with `--device /dev/kvm` on a host with KVM.',
    }
  }
  const flags = readCpuFlags()
  const brand = flags.has('vmx') ? 'kvm_intel' : flags.has('svm') ? 'kvm_amd' : undefined
  if (brand !== undefined) {
    return {
      reason: `${path} does not exist: the module ${brand} is not loaded`,
      fix: `Run \`sudo modprobe ${brand}\`; if that fails, enable virtualization in the firmware setup.`,
    }
  }
  if (flags.has('hypervisor')) {
    return {
      reason: `${path} does not exist: this host is a virtual machine without nested virtualization`,
      fix: 'Enable nested virtualization for this machine in its hypervisor, or use another machine type of the cloud.',
    }
  }
  return {
    reason: `${path} does not exist, and the processor does not report support for virtualization`,
    fix: 'Enable virtualization (VT-x or AMD-V) in the firmware setup.',
  }
}

function isContainer(): boolean {
  return existsSync('/.dockerenv') || existsSync('/run/.containerenv')
}

function readCpuFlags(): Set<string> {
  const line = /^flags\s*:(.*)$/m.exec(readOptionalFile('/proc/cpuinfo'))?.[1] ?? ''
  return new Set(line.trim().split(' '))
}

function groupName(gid: number): string {
  const line = readOptionalFile('/etc/group')
    .split('\n')
    .find((entry) => entry.split(':')[2] === String(gid))
  return line?.split(':')[0] ?? String(gid)
}
