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
  /** As QEMU writes it, with the distribution's own part: `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`. */
  readonly text: string
}

export interface QemuBinary {
  /** Absolute. */
  readonly path: string
  readonly version: QemuVersion
  readonly arch: GuestArch
  /** Changes when the binary does: what was found out about it is kept under this name. */
  readonly identity: string
}

/** The oldest version with which withvm is tested. */
const LEAST_QEMU = { major: 7, minor: 2 } as const

export interface FindQemuOptions {
  /** @default this host's */
  readonly arch?: GuestArch | undefined
  /** The path of a QEMU binary, or its name on PATH. */
  readonly qemu?: string | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  readonly cacheDir?: string | undefined
  readonly osReleasePath?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** A cold disk can take seconds to read a QEMU and its libraries. */
const VERSION_TIMEOUT_MS = 10_000

/**
 * Finds the QEMU that runs guests: the option `qemu`, else `WITHVM_QEMU`, else `qemu-system-<arch>` on PATH, else
 * what distributions call it: `qemu-kvm`, `/usr/libexec/qemu-kvm`, `kvm`. Its version is remembered as long as the
 * file does not change.
 *
 * @throws {InfrastructureError} QEMU_NOT_FOUND when there is none, or the one that was named is not a QEMU.
 * @throws {InfrastructureError} QEMU_TOO_OLD when it is older than 7.2, the least version that is tested.
 */
export async function findQemu(options: FindQemuOptions = {}): Promise<QemuBinary> {
  const { arch = hostArch(), env = process.env } = options
  const named = options.qemu ?? (env.WITHVM_QEMU || undefined)
  const source = options.qemu === undefined ? 'WITHVM_QEMU' : 'The option qemu'
  const names = named === undefined ? distributionNames(arch) : [named]
  for (const name of names) {
    const path = await findProgram(name, env)
    if (path !== undefined) return inspect(path, arch, options)
  }
  throw vmError('QEMU_NOT_FOUND', {
    ...(named === undefined ? describeNone(arch, names, env) : describeNamed(named, source, env)),
    hint: installHint(arch, options),
  })
}

function describeNone(arch: GuestArch, names: readonly string[], env: NodeJS.ProcessEnv) {
  return {
    summary: `No QEMU for ${arch} guests was found.`,
    expected: names.join(', or '),
    got: `none of them in ${listPath(env)}`,
  }
}

function describeNamed(named: string, source: string, env: NodeJS.ProcessEnv) {
  return {
    summary: `${source} names ${named}, which is not a program that can be run here.`,
    expected: 'an executable file',
    got: named.includes('/') ? `nothing executable at ${resolve(named)}` : `no ${named} in ${listPath(env)}`,
  }
}

function listPath(env: NodeJS.ProcessEnv): string {
  return env.PATH ? env.PATH.split(delimiter).join(', ') : 'PATH, which is empty'
}

/** Those without an architecture in their name run what the host's processors run. */
function distributionNames(arch: GuestArch): string[] {
  const names = programs(arch).map((name) => `qemu-system-${name}`)
  return isNative(arch) ? [...names, 'qemu-kvm', '/usr/libexec/qemu-kvm', 'kvm'] : names
}

/** The architectures whose QEMU runs such guests. That of newer PCs runs older ones, under the KVM that was proved with it. */
function programs(arch: GuestArch): readonly GuestArch[] {
  return arch === 'i386' ? ['x86_64', 'i386'] : [arch]
}

async function inspect(path: string, arch: GuestArch, options: FindQemuOptions): Promise<QemuBinary> {
  const real = await realpath(path)
  const other = /^qemu-system-(\w+)$/.exec(basename(real))?.[1]
  if (other !== undefined && !(programs(arch) as readonly string[]).includes(other)) {
    throw vmError('QEMU_NOT_FOUND', {
      summary: `${path} is a QEMU for other guests.`,
      expected: programs(arch)
        .map((name) => `qemu-system-${name}`)
        .join(' or '),
      got: `qemu-system-${other}`,
      hint: `${installHint(arch, options)} \`arch\` says for which guests.`,
    })
  }
  const { size, mtimeMs } = await stat(real)
  const file = digestOf(real, size, mtimeMs)
  const version = await readVersion(path, real, file, arch, options)
  if (
    version.major < LEAST_QEMU.major ||
    (version.major === LEAST_QEMU.major && version.minor < LEAST_QEMU.minor)
  ) {
    const least = `${LEAST_QEMU.major}.${LEAST_QEMU.minor}`
    throw vmError('QEMU_TOO_OLD', {
      summary: `${path} is too old: ${least} is the least version that withvm is tested with.`,
      expected: `QEMU ${least} or newer`,
      got: `QEMU ${version.text}`,
      hint: `Install a newer QEMU, or name one with the option qemu or with WITHVM_QEMU=/path/to/qemu-system-${arch}.`,
    })
  }
  return { path, version, arch, identity: digestOf(file, version.text) }
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
    endsWithUs: true,
    timeoutMs: VERSION_TIMEOUT_MS,
    signal: options.signal,
    env: options.env,
  })
  const version = parseVersion(result.stdout)
  if (version === undefined) {
    throw vmError('QEMU_NOT_FOUND', {
      summary: `${path} is not QEMU.`,
      expected: '`--version` to print "QEMU emulator version …"',
      got:
        result.problem ??
        (result.stdout.trim() ? JSON.stringify(result.stdout.slice(0, 200)) : `exit code ${result.exitCode}`),
      evidence: [{ label: 'What it wrote on stderr', text: result.stderr.slice(0, 2000) }],
      hint: installHint(arch, options),
    })
  }
  if (!(await isScript(real))) await cache.write(fact, result.stdout)
  return version
}

/** Reads what `qemu-system-… --version` prints. */
export function parseVersion(text: string): QemuVersion | undefined {
  const match = /^QEMU emulator version ((\d+)\.(\d+)(?:\.(\d+))?.*)$/m.exec(text)
  if (match === null) return undefined
  const [, full = '', major, minor, micro = '0'] = match
  return { major: Number(major), minor: Number(minor), micro: Number(micro), text: full.trim() }
}

/** A wrapper script stays the same while the QEMU that it starts is replaced, so it is asked each time. */
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
  const orNamed = 'or name a binary with the option qemu or with WITHVM_QEMU.'
  if (command === undefined)
    return `Install QEMU for ${arch} guests with the package manager of ${name}, ${orNamed}`
  // What is set up is what every host needs.
  const setup = arch === hostArch() ? '`npx withvm setup`, or ' : ''
  return `Run ${setup}\`${command}\`, ${orNamed}`
}
