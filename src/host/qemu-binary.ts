import { open, realpath, stat } from 'node:fs/promises'
import { basename, delimiter, resolve } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'
import { findProgram } from '../common/process/find-program.js'
import { vmError } from '../errors.js'
import { type GuestArch, hostArch, isNative } from '../spec/architectures.js'
import { installCommand, qemuPackage, readDistribution } from './distribution.js'
import { digestOf, openHostCache } from './host-cache.js'
import { runProgram } from './program.js'

export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
  /**
   * Version text of QEMU, including the distribution's suffix:
   * `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`.
   */
  readonly text: string
}

export interface QemuBinary {
  /** Absolute path. */
  readonly path: string
  readonly version: QemuVersion
  readonly arch: GuestArch
  /** Digest of the binary. Cached facts about the binary depend on it. */
  readonly fingerprint: string
}

/** Oldest version that withvm is tested with. */
const MIN_QEMU = { major: 7, minor: 2 } as const

export interface FindQemuOptions {
  /** Guest architecture. @default the architecture of this host */
  readonly arch?: GuestArch | undefined
  /** Path of a QEMU binary, or its name on PATH. */
  readonly qemu?: string | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly cacheDir?: string | undefined
  readonly osReleasePath?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Timeout of `qemu --version`: reading QEMU and its libraries from a cold disk can take seconds.
 */
const VERSION_TIMEOUT_MS = 10_000

/**
 * Finds the QEMU binary for guests of an architecture. In order: the option `qemu`, `WITHVM_QEMU`,
 * `qemu-system-<arch>` on PATH, and the names of distributions: `qemu-kvm`,
 * `/usr/libexec/qemu-kvm`, `kvm`. The version is cached until the file changes.
 *
 * @throws {InfrastructureError} QEMU_NOT_FOUND when no QEMU is found, or the specified program is
 *   not QEMU.
 * @throws {InfrastructureError} QEMU_TOO_OLD when it is older than 7.2, the oldest version that is
 *   tested.
 */
export async function findQemu(options: FindQemuOptions = {}): Promise<QemuBinary> {
  const { arch = hostArch(), env = process.env } = options
  const named = options.qemu ?? (env.WITHVM_QEMU || undefined)
  const source = options.qemu === undefined ? 'WITHVM_QEMU' : 'The option `qemu`'
  const names = named === undefined ? distributionNames(arch) : [named]
  for (const name of names) {
    const path = await findProgram(name, env)
    if (path !== undefined) return verifyQemuBinary(path, arch, options)
  }
  throw vmError('QEMU_NOT_FOUND', {
    ...(named === undefined ? describeNone(arch, names, env) : describeNamed(named, source, env)),
    hint: installHint(arch, options),
  })
}

function describeNone(arch: GuestArch, names: readonly string[], env: NodeJS.ProcessEnv) {
  return {
    summary: `No QEMU for ${arch} guests was found.`,
    expected: `one of ${names.join(', ')}`,
    got: `none of these programs in ${listPath(env)}`,
  }
}

function describeNamed(named: string, source: string, env: NodeJS.ProcessEnv) {
  return {
    summary: `${source} is set to ${named}, which is not an executable program.`,
    expected: 'an executable file',
    got: named.includes('/') ? `no executable file at ${resolve(named)}` : `no ${named} in ${listPath(env)}`,
  }
}

function listPath(env: NodeJS.ProcessEnv): string {
  return env.PATH ? env.PATH.split(delimiter).join(', ') : 'an empty PATH'
}

/**
 * Returns the names of QEMU. Names without an architecture are used only for guests of the host's
 * architecture.
 */
function distributionNames(arch: GuestArch): string[] {
  const names = qemuArchs(arch).map((name) => `qemu-system-${name}`)
  return isNative(arch) ? [...names, 'qemu-kvm', '/usr/libexec/qemu-kvm', 'kvm'] : names
}

/**
 * Returns the architectures whose QEMU runs guests of `arch`. QEMU for x86_64 also runs i386, under
 * the KVM that the probe tested.
 */
function qemuArchs(arch: GuestArch): readonly GuestArch[] {
  return arch === 'i386' ? ['x86_64', 'i386'] : [arch]
}

async function verifyQemuBinary(
  path: string,
  arch: GuestArch,
  options: FindQemuOptions,
): Promise<QemuBinary> {
  const real = await realpath(path)
  const other = /^qemu-system-(\w+)$/.exec(basename(real))?.[1]
  if (other !== undefined && !(qemuArchs(arch) as readonly string[]).includes(other)) {
    throw vmError('QEMU_NOT_FOUND', {
      summary: `${path} is QEMU for another guest architecture.`,
      expected: qemuArchs(arch)
        .map((name) => `qemu-system-${name}`)
        .join(' or '),
      got: `qemu-system-${other}`,
      hint: `${installHint(arch, options)} The option \`arch\` sets the guest architecture.`,
    })
  }
  const { size, mtimeMs } = await stat(real)
  const file = digestOf(real, size, mtimeMs)
  const version = await readVersion(path, real, file, arch, options)
  if (
    version.major < MIN_QEMU.major ||
    (version.major === MIN_QEMU.major && version.minor < MIN_QEMU.minor)
  ) {
    const minimum = `${MIN_QEMU.major}.${MIN_QEMU.minor}`
    throw vmError('QEMU_TOO_OLD', {
      summary: `${path} is too old: withvm requires QEMU ${minimum}.`,
      expected: `QEMU ${minimum} or newer`,
      got: `QEMU ${version.text}`,
      hint: `Install a newer QEMU, or specify one with the option \`qemu\` or with WITHVM_QEMU=/path/to/qemu-system-${arch}.`,
    })
  }
  return { path, version, arch, fingerprint: digestOf(file, version.text) }
}

async function readVersion(
  path: string,
  real: string,
  file: string,
  arch: GuestArch,
  options: FindQemuOptions,
): Promise<QemuVersion> {
  const cache = openHostCache(options.cacheDir ?? resolveCacheDir(options.env))
  const fact = `qemu-version-${file}`
  const known = await cache.read(fact, (value) =>
    typeof value === 'string' ? parseVersion(value) : undefined,
  )
  if (known !== undefined) return known
  const result = await runProgram(path, ['--version'], {
    endsWithParent: true,
    timeoutMs: VERSION_TIMEOUT_MS,
    signal: options.signal,
    env: options.env,
  })
  const version = parseVersion(result.stdout)
  if (version === undefined) {
    throw vmError('QEMU_NOT_FOUND', {
      summary: `${path} is not QEMU.`,
      expected: 'the output "QEMU emulator version …" of `--version`',
      got:
        result.problem ??
        (result.stdout.trim() ? JSON.stringify(result.stdout.slice(0, 200)) : `exit code ${result.exitCode}`),
      evidence: [{ label: 'stderr', text: result.stderr.slice(0, 2000) }],
      hint: installHint(arch, options),
    })
  }
  if (!(await isScript(real))) await cache.write(fact, result.stdout)
  return version
}

/** Parses the output of `qemu-system-… --version`. */
export function parseVersion(text: string): QemuVersion | undefined {
  const match = /^QEMU emulator version ((\d+)\.(\d+)(?:\.(\d+))?.*)$/m.exec(text)
  if (match === null) return undefined
  const [, full = '', major, minor, micro = '0'] = match
  return { major: Number(major), minor: Number(minor), micro: Number(micro), text: full.trim() }
}

/**
 * Detects wrapper scripts. Their version is not cached, because the QEMU that they start can change
 * while the script does not.
 */
async function isScript(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return buffer.toString('latin1') === '#!'
  } finally {
    await file.close()
  }
}

function installHint(arch: GuestArch, options: FindQemuOptions): string {
  const { name, packageManager } = readDistribution(options.osReleasePath)
  const command = installCommand([qemuPackage(arch, packageManager), 'qemu-utils'], packageManager)
  const orSpecify = 'or specify a binary with the option `qemu` or with WITHVM_QEMU.'
  if (command === undefined)
    return `Install QEMU for ${arch} guests with the package manager of ${name}, ${orSpecify}`
  // `withvm setup` installs QEMU for the architecture of the host only.
  const setup = arch === hostArch() ? '`npx withvm setup`, or ' : ''
  return `Run ${setup}\`${command}\`, ${orSpecify}`
}
