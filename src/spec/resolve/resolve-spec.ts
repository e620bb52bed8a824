import { basename, resolve } from 'node:path'
import { type Duration, parseDuration } from '../../common/duration.js'
import { parseMemorySize } from '../../common/units.js'
import { describeArch, isPc, resolveArch } from '../architectures.js'
import type { BaseImage } from '../base-image.js'
import { hasBootIndex } from '../boot-index.js'
import { resolveCloudInit } from '../cloud-init.js'
import { DEFAULTS } from '../defaults.js'
import { listDisks, readSystemDisk, WITHOUT_BOOT_INDEX } from '../list-disks.js'
import type { MachineSpec, PortForward, SshSpec } from '../machine-spec.js'
import { forMicrovm, MICROVM } from '../microvm.js'
import type { DebugOptions } from '../options/debug.js'
import type { PrivateKey, VMOptions } from '../options.js'
import { resolveDevices, resolveFirmware, resolveTpm, wantsHotplug } from './resolve-devices.js'
import { type DiskFiles, resolveConnection, resolveDisks } from './resolve-disks.js'
import { resolveDisplay } from './resolve-display.js'
import { resolveCpus, resolveMemory } from './resolve-machine.js'
import { resolveNetboot } from './resolve-netboot.js'
import { listNetworks, resolveNetwork } from './resolve-network.js'

/** RAM and CPUs where no image says what it needs: enough for a distribution's kernel and init system. */
const WITHOUT_IMAGE = { memoryBytes: 512 * 1024 ** 2, cpus: 1 } as const

/** Fills in every default. The options must have been found valid, and a private key's file been read. */
export function resolveSpec<VM>(
  options: VMOptions<VM>,
  given: BaseImage | undefined,
  diskFiles: DiskFiles = [],
): MachineSpec<VM> {
  const image = options.machine === MICROVM ? forMicrovm(given) : given
  const ssh = hasSsh(options) ? resolveSsh(options, image) : undefined
  const defaults = image?.defaults ?? WITHOUT_IMAGE
  const arch = resolveArch(options.arch)
  const directBoot = resolveDirectBoot(options, image)
  const firmware = resolveFirmware(options, directBoot !== undefined)
  const [network, ...furtherNetworks] = listNetworks(options)
  const cloudInit = resolveSeed(options, image)
  return {
    name: options.name ?? guestName(options, image),
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
    rtc: options.rtc ?? {},
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

function resolveDebug<VM>({ debug = {} }: VMOptions<VM>): DebugOptions {
  return debug.logFile === undefined ? debug : { ...debug, logFile: resolve(debug.logFile) }
}

/**
 * A disk of the author's may have cloud-init on it; that of a recipe, or of a root file system, has none. At an interface
 * without a place in the boot order, only where it is asked for: a BIOS would try the disk for cloud-init, and no other.
 */
function resolveSeed<VM>(options: VMOptions<VM>, image: BaseImage | undefined): MachineSpec['cloudInit'] {
  const { cloudInit } = options
  if (cloudInit === false) return undefined
  const { interface: at } = readSystemDisk(options).connection
  // Such a machine has nowhere to put that disk.
  const { virtio } = describeArch(resolveArch(options.arch))
  const isPossible = virtio !== undefined && !WITHOUT_BOOT_INDEX.includes(at ?? 'virtio')
  const isOffered = image?.traits.mayHaveCloudInit && isPossible
  return cloudInit !== undefined || isOffered ? resolveCloudInit(cloudInit) : undefined
}

/** The BIOS boots from one disk: the first at virtio, and that is the one for cloud-init where the system's is elsewhere. */
function resolveSystemDisk<VM>(
  options: VMOptions<VM>,
  cloudInit: MachineSpec['cloudInit'],
): MachineSpec['systemDisk'] {
  const disk = resolveConnection(readSystemDisk(options).connection, resolveArch(options.arch))
  const mayBeMissed = cloudInit !== undefined && disk.interface !== 'virtio'
  const isOrdered = hasBootIndex(options) || WITHOUT_BOOT_INDEX.includes(disk.interface)
  const isFirst = (options.bootOnce ?? options.boot ?? 'c').startsWith('c')
  return mayBeMissed && !isOrdered && isFirst ? { ...disk, bootIndex: 1 } : disk
}

function defaultReady<VM>(options: VMOptions<VM>): MachineSpec<VM>['ready'] {
  // Nothing happens in a guest whose processors wait.
  if (options.debug?.paused === true) return 'none'
  if (!hasSsh(options)) return options.login === undefined ? 'none' : 'login'
  return options.cloudInit ? 'cloud-init' : 'ssh'
}

/** What comes from the network alone is hardly a system with an SSH server: one who has that says so. */
function hasSsh<VM>({ ssh, netboot, image, ready }: VMOptions<VM>): boolean {
  if (ssh === undefined && netboot !== undefined && image === undefined) return ready === 'ssh'
  return ssh !== false
}

function resolveSsh<VM>(options: VMOptions<VM>, image: BaseImage | undefined): SshSpec {
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

/** Whether a private key is given by the file that it is in. */
export function isKeyFile(key: PrivateKey | undefined): key is { readonly file: string } {
  return typeof key === 'object' && !Buffer.isBuffer(key)
}

function resolveForwards<VM>(options: VMOptions<VM>, ssh: SshSpec | undefined): PortForward[] {
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
 * A kernel of the author's own takes the place of the image's: with its arguments only, since those of the
 * image are for the image's kernel. Without one, arguments of the author's go behind the image's.
 * A boot order, or a place in it, leaves the image's direct boot aside, since the firmware is to choose.
 */
function resolveDirectBoot<VM>(
  options: VMOptions<VM>,
  image: BaseImage | undefined,
): MachineSpec['directBoot'] {
  const given = typeof options.append === 'string' ? [options.append] : (options.append ?? [])
  if (options.kernel !== undefined) {
    const initrd = options.initrd === undefined ? undefined : resolve(options.initrd)
    const dtb = options.dtb === undefined ? undefined : resolve(options.dtb)
    return { kernel: resolve(options.kernel), initrd, dtb, append: given.join(' ') }
  }
  if (choosesByFirmware(options) || image?.directBoot === undefined) return undefined
  const { kernel, efiKernel, initrd, append, appendForOneCpu = [] } = image.directBoot
  const { cpus, topology } = resolveCpus(options.cpus, image.defaults.cpus)
  const isUefi = resolveFirmware(options, true).type === 'uefi'
  // What is left out for one CPU is what UEFI tells of the hardware by.
  const isSimple = cpus === 1 && topology.maxcpus === undefined && !isUefi && !wantsHotplug(options)
  return {
    kernel: isUefi ? (efiKernel ?? kernel) : kernel,
    initrd,
    dtb: undefined,
    append: [...append, ...(isSimple ? appendForOneCpu : []), ...given].join(' '),
  }
}

function choosesByFirmware<VM>(options: VMOptions<VM>): boolean {
  const isSaid = options.boot !== undefined || options.bootOnce !== undefined || options.bootMenu === true
  return isSaid || options.netboot !== undefined || hasBootIndex(options)
}

function guestName<VM>(options: VMOptions<VM>, image: BaseImage | undefined): string {
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
