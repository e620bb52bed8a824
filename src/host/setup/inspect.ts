import { lstat, readdir, statfs } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { findTemporaryCache, resolveCacheDir } from '../../common/cache-dir.js'
import { formatBytes, GIB, MIB } from '../../common/units.js'
import { VMError } from '../../errors.js'
import { readDistribution } from '../distribution.js'
import { type Accelerator, chooseAccelerator } from '../kvm/accelerator.js'
import { readLoadFactor } from '../load.js'
import { readFreeMemory } from '../memory.js'
import { findQemu, type QemuBinary } from '../qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../qemu-capabilities.js'
import { findTools, QEMU_PROGRAM, type ToolNeed } from '../tools.js'

/**
 * Report of `withvm doctor --json`. Fields and checks may be added; existing ones keep their names
 * and meanings while `schema` is 1.
 */
export interface HostReport {
  readonly schema: 1
  /** False if any check has the state `problem`. */
  readonly canRunGuests: boolean
  readonly checks: readonly HostCheck[]
  readonly facts: HostFacts
}

export interface HostCheck {
  /**
   * `qemu`, `accelerator`, `kvm`, `network`, `recipes`, `sources`, `namespaces`, `memory`,
   * `temporary`, `cache`, `load`, or `tool:<program>`.
   */
  readonly id: string
  readonly label: string
  /**
   * `ok`; `note`: guests run, but slower or with missing features; `problem`: guests cannot run.
   */
  readonly state: 'ok' | 'note' | 'problem'
  /** Result of the check, in a few words. */
  readonly found: string
  /** Action that solves the problem; null without one. */
  readonly fix: string | null
}

/** Facts about the host; null if unknown. */
export interface HostFacts {
  readonly qemuPath: string | null
  readonly qemuVersion: string | null
  readonly accelerator: 'kvm' | 'tcg' | null
  /** Slowdown of guests relative to an idle host with KVM. */
  readonly timeFactor: number | null
  readonly processors: number
  readonly memoryBytes: number
  readonly freeMemoryBytes: number
  readonly temporaryDir: string
  readonly freeTemporaryBytes: number | null
  readonly cacheDir: string
  readonly freeCacheBytes: number | null
  /** Disk usage of the cache. */
  readonly cacheBytes: number
}

export interface InspectOptions {
  /** Programs to check besides QEMU. */
  readonly needs: readonly ToolNeed[]
  /** If true, the accelerators are probed again. */
  readonly fresh: boolean
  readonly env?: NodeJS.ProcessEnv
  readonly osReleasePath?: string
  readonly signal?: AbortSignal
}

/** Memory of the default guest, 256 MiB, plus about 100 MiB for QEMU, with a margin. */
const MIN_MEMORY_BYTES = 400 * MIB

/**
 * Minimum for sockets, logs and a small overlay. Overlays with the writes of guests are in the
 * temporary directory.
 */
const MIN_TEMPORARY_BYTES = 64 * MIB
const RECOMMENDED_TEMPORARY_BYTES = GIB

/** Peak disk usage of building the default image, with a margin. */
const RECOMMENDED_CACHE_BYTES = GIB

/** Checks all requirements of guests. Rejects only if the signal aborts. */
export async function inspectHost(options: InspectOptions): Promise<HostReport> {
  const { env = process.env, signal } = options
  const cacheDir = resolveCacheDir(env)
  const checks: HostCheck[] = []
  const qemu = await recordFailure(findQemu({ env, cacheDir, signal }), checks, 'qemu', 'QEMU')
  if (qemu !== undefined) {
    checks.push(okCheck('qemu', 'QEMU', `${qemu.version.text}, ${qemu.path}`))
  }
  const accelerator = qemu && (await inspectAccelerator(qemu, cacheDir, options, checks))
  const capabilities =
    qemu && (await recordFailure(queryCapabilities(qemu, { cacheDir, signal }), checks, 'network', 'Network'))
  if (capabilities !== undefined) checks.push(judgeNetwork(capabilities))
  checks.push(...(await inspectTools(options, env)), ...judgeRecipes(options.osReleasePath))

  const freeMemoryBytes = readFreeMemory()
  checks.push(judgeMemory(freeMemoryBytes))
  const [freeTemporaryBytes, freeCacheBytes, cacheBytes] = await Promise.all([
    readFreeSpace(tmpdir()),
    readFreeSpace(cacheDir),
    measureFolder(cacheDir),
  ])
  checks.push(
    judgeTemporary(freeTemporaryBytes),
    judgeCache(cacheDir, freeCacheBytes, cacheBytes),
    judgeLoad(),
  )
  return {
    schema: 1,
    canRunGuests: checks.every(({ state }) => state !== 'problem'),
    checks,
    facts: {
      qemuPath: qemu?.path ?? null,
      qemuVersion: qemu?.version.text ?? null,
      accelerator: accelerator?.name ?? null,
      timeFactor: accelerator?.timeFactor ?? null,
      processors: cpus().length,
      memoryBytes: totalmem(),
      freeMemoryBytes,
      temporaryDir: tmpdir(),
      freeTemporaryBytes,
      cacheDir,
      freeCacheBytes,
      cacheBytes,
    },
  }
}

async function inspectAccelerator(
  qemu: QemuBinary,
  cacheDir: string,
  { fresh, signal }: InspectOptions,
  checks: HostCheck[],
): Promise<Accelerator | undefined> {
  const choice = chooseAccelerator({ accel: 'auto', qemu, cacheDir, fresh, signal, notify: () => {} })
  const accelerator = await recordFailure(choice, checks, 'accelerator', 'Accelerator')
  if (accelerator === undefined) return undefined
  const { name, timeFactor, reason, fix } = accelerator
  const speed =
    timeFactor === 1 ? 'at full speed' : `about ${timeFactor} times slower than an idle host with KVM`
  checks.push(okCheck('accelerator', 'Accelerator', `${name.toUpperCase()}, ${speed}`))
  checks.push(
    reason === undefined
      ? okCheck('kvm', 'KVM', 'a probe guest ran at the speed of hardware')
      : { id: 'kvm', label: 'KVM', state: 'note', found: reason, fix: fix ?? null },
  )
  return accelerator
}

async function inspectTools(options: InspectOptions, env: NodeJS.ProcessEnv): Promise<HostCheck[]> {
  const needs = options.needs.filter(({ program }) => program !== QEMU_PROGRAM)
  const tools = await findTools(needs, { env })
  return tools.map(({ program, aptPackage, why, path }) => {
    if (path !== undefined) return okCheck(`tool:${program}`, program, path)
    return {
      id: `tool:${program}`,
      label: program,
      state: program === 'qemu-img' ? 'problem' : 'note',
      found: `not installed; ${why}`,
      fix: `Run \`npx withvm setup\`, or install the package that contains it (on Debian: ${aptPackage}).`,
    }
  })
}

function judgeNetwork({ hasUserNetwork }: QemuCapabilities): HostCheck {
  if (hasUserNetwork) return okCheck('network', 'Network', 'QEMU supports user-mode networking')
  return {
    id: 'network',
    label: 'Network',
    state: 'problem',
    found: 'QEMU is built without user-mode networking (slirp), which SSH to guests needs',
    fix: "Install the distribution's QEMU, or specify another one with WITHVM_QEMU.",
  }
}

function judgeRecipes(osReleasePath: string | undefined): HostCheck[] {
  const { name, packageManager } = readDistribution(osReleasePath)
  if (packageManager === 'apt') return []
  return [
    {
      id: 'recipes',
      label: 'Image recipes',
      state: 'note',
      found: `recipes such as tiny need the packages of Debian or Ubuntu, and this host runs ${name}`,
      fix: 'Use the path of a disk image (qcow2, raw, vmdk …) instead.',
    },
  ]
}

function judgeMemory(freeBytes: number): HostCheck {
  const found = `${formatBytes(freeBytes)} free of ${formatBytes(totalmem())}`
  if (freeBytes >= MIN_MEMORY_BYTES) return okCheck('memory', 'Memory', found)
  const fix = `Stop other programs, or run fewer guests concurrently: a guest needs 256 MiB and QEMU about 100 MiB.`
  return { id: 'memory', label: 'Memory', state: 'note', found, fix }
}

function judgeTemporary(freeBytes: number | null): HostCheck {
  const found = `${freeBytes === null ? 'not usable' : `${formatBytes(freeBytes)} free`}, ${tmpdir()}`
  const check = { id: 'temporary', label: 'Temporary files', found }
  if (freeBytes !== null && freeBytes >= RECOMMENDED_TEMPORARY_BYTES)
    return { ...check, state: 'ok', fix: null }
  const isUsable = freeBytes !== null && freeBytes >= MIN_TEMPORARY_BYTES
  const fix =
    'Free disk space in that directory, or set TMPDIR to a larger disk: it stores the writes of running guests.'
  return { ...check, state: isUsable ? 'note' : 'problem', fix }
}

function judgeCache(dir: string, freeBytes: number | null, usedBytes: number): HostCheck {
  const free = freeBytes === null ? 'cannot be created' : `${formatBytes(freeBytes)} free`
  const found = `${formatBytes(usedBytes)} used, ${free}, ${dir}`
  const temporary = findTemporaryCache()
  if (temporary?.dir === dir) {
    const fix = 'Set WITHVM_CACHE to a persistent directory: this cache is in the temporary directory.'
    return { id: 'cache', label: 'Cache', state: 'note', found: `${found} (${temporary.reason})`, fix }
  }
  if (freeBytes !== null && freeBytes >= RECOMMENDED_CACHE_BYTES) return okCheck('cache', 'Cache', found)
  const fix =
    'Free disk space in that directory, or set WITHVM_CACHE to a larger disk: it stores images and templates.'
  return { id: 'cache', label: 'Cache', state: 'note', found, fix }
}

function judgeLoad(): HostCheck {
  const factor = readLoadFactor()
  const found = `${cpus().length} processors, ${factor === 1 ? 'not overloaded' : `overloaded by a factor of ${factor.toFixed(1)}`}`
  if (factor < 2) return okCheck('load', 'Processors', found)
  const fix = 'Run fewer guests concurrently; timeouts are scaled by this factor.'
  return { id: 'load', label: 'Processors', state: 'note', found, fix }
}

function okCheck(id: string, label: string, found: string): HostCheck {
  return { id, label, state: 'ok', found, fix: null }
}

/** Awaits `work` and adds a `VMError` to the report as a problem. */
async function recordFailure<T>(
  work: Promise<T>,
  checks: HostCheck[],
  id: string,
  label: string,
): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof VMError)) throw error
    const { summary, got } = error.details
    const found = got === undefined ? summary : `${summary.replace(/\.$/, '')}: ${got}`
    checks.push({ id, label, state: 'problem', found, fix: error.hint })
    return undefined
  }
}

/**
 * Returns the free bytes for this user on the file system of a folder, or of its nearest existing
 * parent.
 */
async function readFreeSpace(dir: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(dir)
    return bavail * bsize
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return isMissing && dirname(dir) !== dir ? readFreeSpace(dirname(dir)) : null
  }
}

/** Sums the allocated bytes of a folder. Images are sparse, so their sizes do not count. */
async function measureFolder(dir: string): Promise<number> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => [])
  const sizes = entries.map(async (entry) => {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) return measureFolder(path)
    const status = await lstat(path).catch(() => undefined)
    return (status?.blocks ?? 0) * 512
  })
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
