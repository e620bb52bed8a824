import { access, constants, open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { findKeyProblem } from '../channel/ssh/private-key.js'
import { nearestNames } from '../common/nearest-name.js'
import { hasTerminal } from '../common/terminal.js'
import { queryDeviceProperties } from '../host/device-properties.js'
import type { QemuBinary } from '../host/qemu-binary.js'
import { queryCapabilities } from '../host/qemu-capabilities.js'
import { findMissingScreens } from '../host/screens.js'
import { findKernelProblem, KERNEL_HEAD_BYTES } from '../kernel/kernel-format.js'
import { findLinksOutside } from '../net/served-folder.js'
import { ARCHITECTURES, resolveArch } from '../spec/architectures.js'
import { PreparedSource } from '../spec/image-definition.js'
import type { NetbootOptions } from '../spec/netboot.js'
import type { NetworkOptions } from '../spec/options/network.js'
import type { VMOptions } from '../spec/options.js'
import type { OptionProblem } from '../spec/validate-options.js'

/**
 * Finds options that refer to missing or unsuitable files of this host. Skips values of a wrong
 * type.
 */
export async function findFileProblems(options: VMOptions): Promise<OptionProblem[]> {
  const problems = await Promise.all([
    checkKernel(options.kernel, options.arch),
    checkPath('initrd', options.initrd, 'file'),
    checkPath('dtb', options.dtb, 'file'),
    ...listCards(options).map(({ path, card }) => checkServed(`${path}.tftp`, card.tftp, card.bootfile)),
    ...listCards(options).map(({ path, card }) => checkPath(`${path}.smb`, card.smb, 'folder')),
    ...checkFirmware(options.firmware),
    checkServed('netboot.root', options.netboot?.root, servedBootfile(options.netboot)),
    ...checkNetbootFiles(options.netboot),
    checkKey(options.ssh),
    checkPath('image.secret.file', secretFile(options.image), 'file'),
  ])
  return problems.flat()
}

function checkFirmware(firmware: VMOptions['firmware']): Promise<OptionProblem[]>[] {
  if (typeof firmware !== 'object' || firmware === null) return []
  return firmware.type === 'bios'
    ? [checkPath('firmware.file', firmware.file, 'file')]
    : [checkPath('firmware.vars', firmware.vars, 'file')]
}

/** Finds options that QEMU on this host does not support. Skips values of a wrong type. */
export async function findQemuProblems(options: VMOptions, qemu: QemuBinary): Promise<OptionProblem[]> {
  const [{ machines, cpus, devices }, screens] = await Promise.all([
    queryCapabilities(qemu),
    findMissingScreens(qemu, options),
  ])
  const properties = await findUnknownProperties(listDrivers(options), devices, qemu)
  const check = (
    path: string,
    got: unknown,
    known: readonly string[] | undefined,
    what: string,
  ): OptionProblem[] => {
    if (typeof got !== 'string' || known === undefined || known.includes(got)) return []
    const expected = `${what} supported by QEMU ${qemu.version.text}${suggest(got, known)}`
    return [{ path, got: `"${got}"`, expected }]
  }
  const cpu = typeof options.cpu === 'string' ? options.cpu.split(',', 1)[0] : undefined
  return [
    ...check('machine', options.machine, machines, 'a machine type'),
    ...check('cpu', cpu, cpus, 'a CPU model'),
    ...screens.map(({ option, got, expected }) => ({ path: option, got, expected })),
    ...checkTerminal(options.display),
    ...listCards(options).flatMap(({ path, card }) =>
      check(`${path}.model`, card.model, devices, 'a network card'),
    ),
    ...listDrivers(options).flatMap(({ path, driver }) =>
      check(`${path}.driver`, driver, devices, 'a device'),
    ),
    ...properties,
    ...check('vga', vgaDevice(options.vga), devices, 'a display card').map((problem) => ({
      ...problem,
      got: `"${options.vga}"`,
    })),
  ]
}

function suggest(name: string, known: readonly string[]): string {
  const near = nearestNames(name, known)
  return near.length > 0 ? `, such as ${near.map((one) => `'${one}'`).join(', ')}` : ''
}

/** Checks `display: 'curses'`, which draws on the terminal of this process. */
function checkTerminal(display: unknown): OptionProblem[] {
  if (display !== 'curses' || hasTerminal()) return []
  const expected = 'a process with a terminal, or `vnc: true`'
  return [{ path: 'display', got: "'curses' in a process without a terminal", expected }]
}

/** Returns the network cards that are objects, with their option paths. */
function listCards({ network }: VMOptions): Array<{ path: string; card: NetworkOptions }> {
  const isList = Array.isArray(network)
  const all: readonly unknown[] = isList ? network : [network]
  return all.flatMap((card, index) => {
    if (typeof card !== 'object' || card === null) return []
    return [{ path: isList ? `network[${index}]` : 'network', card: card as NetworkOptions }]
  })
}

interface Driver {
  readonly path: string
  readonly driver: unknown
  readonly properties: readonly string[]
}

function listDrivers({ devices }: VMOptions): Driver[] {
  if (!Array.isArray(devices)) return []
  return devices.map((device, index) => {
    const { driver, ...properties } = device ?? {}
    return { path: `devices[${index}]`, driver, properties: Object.keys(properties) }
  })
}

/** Properties of every device: options of `-device` itself. */
const COMMON_PROPERTIES = ['id', 'bus']

/** Finds unknown properties of known devices. */
async function findUnknownProperties(
  wanted: readonly Driver[],
  devices: readonly string[],
  qemu: QemuBinary,
): Promise<OptionProblem[]> {
  const named = wanted.flatMap((device) => {
    const { driver } = device
    const isKnown = typeof driver === 'string' && devices.includes(driver) && device.properties.length > 0
    return isKnown ? [{ ...device, driver }] : []
  })
  if (named.length === 0) return []
  const known = await queryDeviceProperties(
    qemu,
    named.map(({ driver }) => driver),
  )
  return named.flatMap(({ path, driver, properties }) => {
    const all = known.get(driver)?.map(({ name }) => name)
    if (all === undefined) return []
    const names = [...COMMON_PROPERTIES, ...all]
    // `a[0]` is an item of an array property, whose length is the property `len-a`.
    const isKnown = (name: string) =>
      names.includes(name) || names.includes(`len-${name.replace(/\[\d+\]$/, '')}`)
    return properties
      .filter((name) => !isKnown(name))
      .map((name) => {
        const expected = `a property of '${driver}' in QEMU ${qemu.version.text}${suggest(name, names)}`
        return { path: `${path}.${name}`, got: 'an unknown property', expected }
      })
  })
}

/** Returns the device that `-vga` selects. Some distributions ship it in a separate package. */
function vgaDevice(vga: VMOptions['vga']): string | undefined {
  const names = {
    none: undefined,
    std: 'VGA',
    cirrus: 'cirrus-vga',
    vmware: 'vmware-svga',
    qxl: 'qxl-vga',
    virtio: 'virtio-vga',
  }
  return vga === undefined ? undefined : names[vga]
}

async function checkKey(ssh: VMOptions['ssh']): Promise<OptionProblem[]> {
  const { privateKey, passphrase } = typeof ssh === 'object' && ssh !== null ? ssh : {}
  const file = typeof privateKey === 'object' && !Buffer.isBuffer(privateKey) ? privateKey?.file : undefined
  if (file !== undefined) {
    const problems = await checkPath('ssh.privateKey.file', file, 'file')
    if (problems.length > 0 || typeof file !== 'string') return problems
  }
  const key = file === undefined ? privateKey : await readFile(file)
  if (key === '' || !(typeof key === 'string' || Buffer.isBuffer(key))) return []
  const problem = await findKeyProblem(key, typeof passphrase === 'string' ? passphrase : undefined)
  if (problem === undefined) return []
  const expected = `a private key (OpenSSH or PEM)${passphrase === undefined ? ', and `ssh.passphrase` if the key is encrypted' : ' that `ssh.passphrase` decrypts'}`
  return [{ path: 'ssh.privateKey', got: `an unusable key: ${problem}`, expected }]
}

function secretFile(image: VMOptions['image']): unknown {
  const source = image instanceof PreparedSource ? image.source : image
  const secret =
    typeof source === 'object' && source !== null && 'secret' in source ? source.secret : undefined
  return typeof secret === 'object' ? secret?.file : undefined
}

async function checkPath(option: string, path: unknown, kind: 'file' | 'folder'): Promise<OptionProblem[]> {
  if (typeof path !== 'string') return []
  const problem = (why: string) => [
    { path: option, got: `"${path}", ${why}`, expected: `a readable ${kind}` },
  ]
  try {
    const found = await stat(path)
    if (kind === 'file' && found.isDirectory()) return problem('which is a folder')
    if (kind === 'file' && (found.isFIFO() || found.isSocket() || found.isCharacterDevice()))
      return problem('which is not a regular file')
    if (kind === 'folder' && !found.isDirectory()) return problem('which is not a folder')
    await access(path, constants.R_OK)
    return []
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return problem(code === 'ENOENT' ? 'which does not exist' : `which is not readable (${code})`)
  }
}

/**
 * Checks the format of the kernel. QEMU starts an invalid kernel without an error, and the boot
 * would only time out.
 */
async function checkKernel(path: unknown, given: unknown): Promise<OptionProblem[]> {
  const problems = await checkPath('kernel', path, 'file')
  const arch = resolveArch(typeof given === 'string' ? given : undefined)
  if (problems.length > 0 || typeof path !== 'string' || !Object.hasOwn(ARCHITECTURES, arch)) return problems
  await using file = await open(path)
  const { buffer, bytesRead } = await file.read(Buffer.alloc(KERNEL_HEAD_BYTES), 0, KERNEL_HEAD_BYTES, 0)
  const why = findKernelProblem(buffer.subarray(0, bytesRead), arch)
  if (why === undefined) return []
  return [{ path: 'kernel', got: `"${path}", ${why}`, expected: `a kernel for ${arch} guests` }]
}

/**
 * Checks a folder that is served to the guest: it contains the boot file, and no link leads out of
 * it.
 */
async function checkServed(option: string, root: unknown, bootfile: unknown): Promise<OptionProblem[]> {
  const problems = await checkPath(option, root, 'folder')
  if (problems.length > 0 || typeof root !== 'string') return problems
  const outside = await findLinksOutside(root)
  if (outside.length > 0) {
    const got = `"${root}", which contains links that lead outside: ${outside.slice(0, 5).join(', ')}`
    problems.push({
      path: option,
      got,
      expected: 'a folder without links that lead out of it (copy the linked files into the folder)',
    })
  }
  if (typeof bootfile !== 'string' || /^\w+:/.test(bootfile)) return problems
  const found = await stat(join(root, bootfile)).catch(() => undefined)
  if (found?.isFile()) return problems
  const path = option.replace(/\.\w+$/, '.bootfile')
  const got = `"${bootfile}", which ${found === undefined ? 'does not exist' : 'is not a file'}`
  const expected = `a file in ${root}${suggest(bootfile, await readdir(root))}`
  return [...problems, { path, got, expected }]
}

/**
 * Returns the boot file that must be in the folder. With `trees` or `files`, the boot file may come
 * from there instead.
 */
function servedBootfile(netboot: NetbootOptions | undefined): string | undefined {
  return netboot?.trees === undefined && netboot?.files === undefined ? netboot?.bootfile : undefined
}

function checkNetbootFiles(netboot: NetbootOptions | undefined): Promise<OptionProblem[]>[] {
  const files = netboot?.files
  if (typeof files !== 'object' || files === null) return []
  return Object.entries(files).map(([name, file]) => {
    const path = typeof file === 'object' && file !== null && 'path' in file ? file.path : undefined
    return checkPath(`netboot.files['${name}'].path`, path, 'file')
  })
}
