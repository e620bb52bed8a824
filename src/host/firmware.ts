import { access, constants, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findHomeDir } from '../common/home-dir.js'
import { vmError } from '../errors.js'
import { installCommand, readDistribution } from './distribution.js'

/** Firmware file. */
interface FirmwareFile {
  readonly path: string
  readonly format: string
}

/** UEFI firmware of this host: code and a template of its variables. */
export interface UefiFiles {
  readonly code: FirmwareFile
  /** Template of the variable store of a guest. */
  readonly vars: FirmwareFile
}

export interface FirmwareRequest {
  readonly arch: string
  /** Machine type as in `-machine`: `pc`, `q35`, or a versioned type. */
  readonly machine: string
  readonly secureBoot: boolean
}

export interface FirmwareOptions {
  /**
   * Folders of descriptors, in order of precedence.
   * @default the folders of the user, administrator and distribution
   */
  readonly folders?: readonly string[]
  readonly osReleasePath?: string | undefined
}

/**
 * Finds UEFI firmware through the descriptors of firmware packages (QEMU's
 * docs/interop/firmware.json). A descriptor hides files of the same name in folders of lower
 * precedence. The first match, sorted by file name, is used.
 *
 * @throws {InfrastructureError} FIRMWARE_NOT_FOUND when no firmware of this host matches.
 */
export async function findUefi(request: FirmwareRequest, options: FirmwareOptions = {}): Promise<UefiFiles> {
  const folders = options.folders ?? descriptorFolders()
  const descriptors = await readDescriptors(folders)
  for (const descriptor of descriptors) {
    const files = readFiles(descriptor)
    if (files !== undefined && matchesRequest(descriptor, request) && (await areReadable(files))) return files
  }
  throw vmError('FIRMWARE_NOT_FOUND', {
    summary: `No UEFI firmware${request.secureBoot ? ' with secure boot' : ''} for ${request.arch} guests with the machine '${request.machine}' was found.`,
    expected: `a matching firmware descriptor in ${folders.join(', ')}`,
    got: descriptors.length === 0 ? 'no descriptors' : `${descriptors.length} descriptors of other firmware`,
    hint: hintFor(request, options),
  })
}

/** Machine types that EDK2 supports. No package contains firmware for others. */
const UEFI_MACHINES = /^(pc|q35|virt|microvm)(-|$)/

function hintFor({ arch, machine }: FirmwareRequest, { osReleasePath }: FirmwareOptions): string {
  if (!UEFI_MACHINES.test(machine))
    return `Set \`firmware: { type: 'bios', file }\` to firmware for '${machine}', or boot a \`kernel\`.`
  const { name, packageManager } = readDistribution(osReleasePath)
  const debian = UEFI_PACKAGES[arch] ?? 'ovmf'
  const command = installCommand([debian], packageManager)
  return command === undefined
    ? `Install UEFI firmware (EDK2, on Debian the package \`${debian}\`) with the package manager of ${name}.`
    : `Run \`${command}\`.`
}

/**
 * Checks that the files exist: the descriptors of Debian 12 list aarch64 firmware that its package
 * does not contain.
 */
async function areReadable({ code, vars }: UefiFiles): Promise<boolean> {
  const checks = [code, vars].map(({ path }) => access(path, constants.R_OK))
  return (await Promise.allSettled(checks)).every(({ status }) => status === 'fulfilled')
}

function descriptorFolders(env: NodeJS.ProcessEnv = process.env): string[] {
  const home = findHomeDir(env)
  const config = env.XDG_CONFIG_HOME || (home && join(home, '.config'))
  const own = config ? [join(config, 'qemu/firmware')] : []
  return [...own, '/etc/qemu/firmware', '/usr/share/qemu/firmware']
}

interface Descriptor {
  readonly 'interface-types'?: readonly string[]
  readonly mapping?: {
    readonly device?: string
    readonly mode?: string
    readonly executable?: { readonly filename?: string; readonly format?: string }
    readonly 'nvram-template'?: { readonly filename?: string; readonly format?: string }
  }
  readonly targets?: ReadonlyArray<{ readonly architecture?: string; readonly machines?: readonly string[] }>
  readonly features?: readonly string[]
}

async function readDescriptors(folders: readonly string[]): Promise<Descriptor[]> {
  const paths = new Map<string, string>()
  for (const folder of folders) {
    for (const name of await readdir(folder).catch(() => [] as string[])) {
      if (name.endsWith('.json') && !paths.has(name)) paths.set(name, join(folder, name))
    }
  }
  const sorted = [...paths].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path)
  const texts = await Promise.all(sorted.map((path) => readFile(path, 'utf8').catch(() => '')))
  // An empty file hides a descriptor of the same name, as the format specifies.
  return texts.flatMap((text) => {
    try {
      return [JSON.parse(text) as Descriptor]
    } catch {
      return []
    }
  })
}

function readFiles({ mapping }: Descriptor): UefiFiles | undefined {
  const [code, vars] = [mapping?.executable, mapping?.['nvram-template']]
  const isFlash = mapping?.device === 'flash' && (mapping.mode ?? 'split') === 'split'
  if (!isFlash || code?.filename === undefined || vars?.filename === undefined) return undefined
  return {
    code: { path: code.filename, format: code.format ?? 'raw' },
    vars: { path: vars.filename, format: vars.format ?? 'raw' },
  }
}

/**
 * Checks a descriptor against a request. Secure boot needs firmware with enrolled keys; without
 * keys it boots unsigned code.
 */
function matchesRequest(
  { 'interface-types': types = [], targets = [], features = [] }: Descriptor,
  { arch, machine, secureBoot }: FirmwareRequest,
): boolean {
  if (!types.includes('uefi')) return false
  if (features.some((feature) => CONFIDENTIAL_ONLY.test(feature))) return false
  const names = [machine, ...(LONG_NAMES[machine] ?? [])]
  const isForMachine = targets.some(
    ({ architecture, machines = [] }) =>
      architecture === arch && machines.some((pattern) => names.some((name) => matchesGlob(name, pattern))),
  )
  const isSecure = features.includes('secure-boot') && features.includes('enrolled-keys')
  return isForMachine && (secureBoot ? isSecure : !features.includes('requires-smm') && !isSecure)
}

/** Debian's packages of UEFI firmware. */
const UEFI_PACKAGES: Readonly<Record<string, string>> = {
  x86_64: 'ovmf',
  i386: 'ovmf-ia32',
  aarch64: 'qemu-efi-aarch64',
  arm: 'qemu-efi-arm',
  riscv64: 'qemu-efi-riscv64',
}

/** Features of firmware that supports only confidential computing. */
const CONFIDENTIAL_ONLY = /^(amd-sev-snp|intel-tdx)$/
/** Versioned names of machine types, as in the patterns of descriptors. */
const LONG_NAMES: Readonly<Record<string, readonly string[]>> = {
  pc: ['pc-i440fx-0'],
  q35: ['pc-q35-0'],
  virt: ['virt-0'],
}

function matchesGlob(name: string, pattern: string): boolean {
  const literal = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${literal}$`).test(name)
}
