import { basename, resolve } from 'node:path'
import { type Duration, parseDuration } from '../../common/duration.js'
import { MIB, parseMemorySize } from '../../common/units.js'
import { describeArch, isPc, resolveArch } from '../architectures.js'
import type { BaseImage } from '../base-image.js'
import { hasBootIndex } from '../boot-index.js'
import { resolveCloudInit } from '../cloud-init.js'
import { DEFAULTS } from '../defaults.js'
import { listDisks, readSystemDisk, WITHOUT_BOOT_INDEX } from '../list-disks.js'
import type { MachineSpec, PortForward, SshSpec } from '../machine-spec.js'
import { adaptToMicrovm, MICROVM } from '../microvm.js'
import type { DebugOptions } from '../options/debug.js'
import type { PrivateKey, VMOptions } from '../options.js'
import { isHotplugEnabled, resolveDevices } from './resolve-devices.js'
import { type DiskFiles, resolveConnection, resolveDisks } from './resolve-disks.js'
import { resolveDisplay } from './resolve-display.js'
import { resolveFirmware, resolveTpm } from './resolve-firmware.js'
import { resolveClock, resolveCpus, resolveMemory } from './resolve-machine.js'
import { resolveNetboot } from './resolve-netboot.js'
import { listNetworks, resolveNetwork } from './resolve-network.js'

/**
 * RAM and CPUs of a guest without an image: enough for the kernel and init system of a
 * distribution.
 */
const WITHOUT_IMAGE = { memoryBytes: 512 * MIB, cpus: 1 } as const

/** Fills in all defaults. The options must be valid, and the file of a private key already read. */
export function resolveSpec(
  options: VMOptions,
  given: BaseImage | undefined,
  diskFiles: DiskFiles = [],
): MachineSpec {
  const image = options.machine === MICROVM ? adaptToMicrovm(given) : given
  const ssh = hasSsh(options) ? resolveSsh(options, image) : undefined
  const defaults = image?.defaults ?? WITHOUT_IMAGE
  const arch = resolveArch(options.arch)
  const directBoot = resolveDirectBoot(options, image)
  const firmware = resolveFirmware(options, directBoot !== undefined)
  const [network, ...furtherNetworks] = listNetworks(options)
  const cloudInit = resolveCloudInitDisk(options, image)
  return {
    name: options.name ?? guestName(options, image),
    start: options.start ?? 'auto',
    identity: options.identity ?? 'own',
    accel: options.accel ?? DEFAULTS.accel,
    qemu: options.qemu,
    arch,
    machine:
      options.machine ??
      (isPc(arch) && firmware.type === 'uefi' && firmware.secureBoot
        ? DEFAULTS.secureBootMachine
        : describeArch(arch).machine),
    cpu: options.cpu,
    ...resolveCpus(options.cpus, defaults.cpus),
    ...resolveMemory(options, defaults.memoryBytes),
    smbios: options.smbios ?? {},
    rtc: resolveClock(options.rtc),
    firmware,
    tpm: resolveTpm(options),
    bootOrder: options.boot,
    bootOnce: options.bootOnce,
    bootMenu: options.bootMenu ?? false,
    directBoot,
    image,
    systemDisk: resolveSystemDisk(options, cloudInit),
    disks: resolveDisks(listDisks(options), diskFiles, arch),
    network: resolveNetwork(arch, network),
    furtherNetworks: furtherNetworks.map((further, index) => resolveNetwork(arch, further, index + 1)),
    display: resolveDisplay(options),
    devices: resolveDevices(options, image),
    ports: (options.ports ?? []).map(({ name, type = 'virtio' }) => ({ name, type })),
    debug: resolveDebug(options),
    netboot: resolveNetboot(options),
    forwards: resolveForwards(options, ssh),
    ssh,
    cloudInit,
    login: options.login,
    ready: options.ready ?? defaultReady(options),
    timeouts: {
      startMs: milliseconds(options.timeouts?.start),
      bodyMs: milliseconds(options.timeouts?.body),
      commandMs: milliseconds(options.timeouts?.command),
      shutdownMs: milliseconds(options.timeouts?.shutdown),
    },
    limits: {
      diskBytes: parseMemorySize(options.limits?.disk) ?? DEFAULTS.diskLimitBytes,
      consoleBytes: parseMemorySize(options.limits?.console) ?? DEFAULTS.consoleLimitBytes,
    },
    qemuArgs: options.qemuArgs ?? [],
  }
}

function resolveDebug({ debug = {} }: VMOptions): DebugOptions {
  return debug.logFile === undefined ? debug : { ...debug, logFile: resolve(debug.logFile) }
}

/**
 * A custom disk image may contain cloud-init; a recipe or a root file system does not. If the
 * system disk cannot have a boot index, the cloud-init disk is attached only on request, because a
 * BIOS would try to boot from that disk alone.
 */
function resolveCloudInitDisk(options: VMOptions, image: BaseImage | undefined): MachineSpec['cloudInit'] {
  const { cloudInit } = options
  if (cloudInit === false) return undefined
  const { interface: at } = readSystemDisk(options).connection
  // Without virtio, the disk cannot be attached.
  const { virtio } = describeArch(resolveArch(options.arch))
  const isPossible = virtio !== undefined && !WITHOUT_BOOT_INDEX.includes(at ?? 'virtio')
  const isOffered = image?.traits.mayHaveCloudInit && isPossible
  return cloudInit !== undefined || isOffered ? resolveCloudInit(cloudInit) : undefined
}

/**
 * A BIOS boots only from the first virtio disk: the cloud-init disk, if the system disk has another
 * interface and no boot index.
 */
function resolveSystemDisk(
  options: VMOptions,
  cloudInit: MachineSpec['cloudInit'],
): MachineSpec['systemDisk'] {
  const disk = resolveConnection(readSystemDisk(options).connection, resolveArch(options.arch))
  const isNotFirst = cloudInit !== undefined && disk.interface !== 'virtio'
  const isOrdered = hasBootIndex(options) || WITHOUT_BOOT_INDEX.includes(disk.interface)
  const isFirst = (options.bootOnce ?? options.boot ?? 'c').startsWith('c')
  return isNotFirst && !isOrdered && isFirst ? { ...disk, bootIndex: 1 } : disk
}

function defaultReady(options: VMOptions): MachineSpec['ready'] {
  // A guest with paused vCPUs never becomes ready.
  if (options.debug?.paused === true) return 'none'
  if (!hasSsh(options)) return options.login === undefined ? 'none' : 'login'
  return options.cloudInit ? 'cloud-init' : 'ssh'
}

/**
 * A guest that boots only from the network is not expected to run an SSH server, unless the options
 * request one.
 */
function hasSsh({ ssh, netboot, image, ready }: VMOptions): boolean {
  if (ssh === undefined && netboot !== undefined && image === undefined) return ready === 'ssh'
  return ssh !== false
}

function resolveSsh(options: VMOptions, image: BaseImage | undefined): SshSpec {
  const given = options.ssh === false ? undefined : options.ssh
  const hasLogin = given?.privateKey !== undefined || given?.password !== undefined
  return {
    user: given?.user ?? options.login?.user ?? image?.traits.sshUser ?? 'root',
    guestPort: given?.port ?? DEFAULTS.sshGuestPort,
    login: hasLogin
      ? {
          privateKey: isKeyFile(given.privateKey) ? undefined : given.privateKey,
          passphrase: given.passphrase,
          password: given.password,
        }
      : undefined,
  }
}

/** Returns true if a private key is given as a file. */
export function isKeyFile(key: PrivateKey | undefined): key is { readonly file: string } {
  return typeof key === 'object' && !Buffer.isBuffer(key)
}

function resolveForwards(options: VMOptions, ssh: SshSpec | undefined): PortForward[] {
  const forwards = (options.hostfwd ?? []).map((forward) => ({
    protocol: forward.protocol ?? 'tcp',
    bind: forward.bind ?? DEFAULTS.bind,
    host: forward.host,
    guest: forward.guest,
  }))
  if (ssh === undefined) return forwards
  const host = options.ssh === false ? undefined : options.ssh?.hostPort
  return [{ protocol: 'tcp', bind: DEFAULTS.bind, host, guest: ssh.guestPort }, ...forwards]
}

/**
 * A given kernel replaces the image's kernel and its arguments, which are specific to that kernel.
 * Without a given kernel, given arguments are appended to the image's. A boot order or boot index
 * disables the image's direct boot, so that the firmware selects the boot device.
 */
function resolveDirectBoot(options: VMOptions, image: BaseImage | undefined): MachineSpec['directBoot'] {
  const given = typeof options.append === 'string' ? [options.append] : (options.append ?? [])
  if (options.kernel !== undefined) {
    const initrd = options.initrd === undefined ? undefined : resolve(options.initrd)
    const dtb = options.dtb === undefined ? undefined : resolve(options.dtb)
    return { kernel: resolve(options.kernel), isCustom: true, initrd, dtb, append: given.join(' ') }
  }
  if (isBootedByFirmware(options) || image?.directBoot === undefined) return undefined
  const { kernel, efiKernel, initrd, append, appendForOneCpu = [] } = image.directBoot
  const { cpus, topology } = resolveCpus(options.cpus, image.defaults.cpus)
  const isUefi = resolveFirmware(options, true).type === 'uefi'
  // The arguments for one CPU bypass ACPI, through which UEFI describes the hardware.
  const isSimple = cpus === 1 && topology.maxcpus === undefined && !isUefi && !isHotplugEnabled(options)
  return {
    kernel: isUefi ? (efiKernel ?? kernel) : kernel,
    isCustom: false,
    initrd,
    dtb: undefined,
    append: [...append, ...(isSimple ? appendForOneCpu : []), ...given].join(' '),
  }
}

function isBootedByFirmware(options: VMOptions): boolean {
  const hasBootOption =
    options.boot !== undefined || options.bootOnce !== undefined || options.bootMenu === true
  return hasBootOption || options.netboot !== undefined || hasBootIndex(options)
}

function guestName(options: VMOptions, image: BaseImage | undefined): string {
  const source = image?.name ?? options.kernel ?? 'guest'
  const cleaned = basename(source)
    .replace(/\.[^.]*$/, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
  return cleaned.slice(0, 60) || 'guest'
}

function milliseconds(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : parseDuration(duration)
}
