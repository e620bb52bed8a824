import { lstat, readdir, statfs } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { findTemporaryCache, resolveCacheDir } from '../../common/cache-dir.js'
import { VMError } from '../../errors.js'
import { readDistribution } from '../distribution.js'
import { type Accelerator, chooseAccelerator } from '../kvm/accelerator.js'
import { readLoadFactor } from '../load.js'
import { formatBytes, readFreeMemory } from '../memory.js'
import { findQemu, type QemuBinary } from '../qemu-binary.js'
import { type QemuCapabilities, queryCapabilities } from '../qemu-capabilities.js'
import { findTools, QEMU_NEED, type ToolNeed } from '../tools.js'

/**
 * What this host can do, as `withvm doctor --json` prints it. Fields and checks may be added; those that are here keep their name
 * and meaning as long as `schema` is 1.
 */
export interface HostReport {
  readonly schema: 1
  /** False when a check is a problem. */
  readonly canRunGuests: boolean
  readonly checks: readonly HostCheck[]
  readonly facts: HostFacts
}

export interface HostCheck {
  /** `qemu`, `accelerator`, `kvm`, `network`, `recipes`, `sources`, `memory`, `temporary`, `cache`, `load`, or `tool:<program>`. */
  readonly id: string
  readonly label: string
  /** `ok`; `note`: guests run, but something is slower or missing; `problem`: no guest can run. */
  readonly state: 'ok' | 'note' | 'problem'
  /** What is there, in a few words. */
  readonly found: string
  /** What to do about it; null when there is nothing to do. */
  readonly fix: string | null
}

/** Null for what could not be found out. */
export interface HostFacts {
  readonly qemuPath: string | null
  readonly qemuVersion: string | null
  readonly accelerator: 'kvm' | 'tcg' | null
  /** How many times longer guests take than on an idle host with KVM. */
  readonly timeFactor: number | null
  readonly processors: number
  readonly memoryBytes: number
  readonly freeMemoryBytes: number
  readonly temporaryDir: string
  readonly freeTemporaryBytes: number | null
  readonly cacheDir: string
  readonly freeCacheBytes: number | null
  /** What the cache takes on the disk. */
  readonly cacheBytes: number
}

export interface InspectOptions {
  /** Programs beyond QEMU that are good to have. */
  readonly needs: readonly ToolNeed[]
  /** Probe the accelerators again. */
  readonly fresh: boolean
  readonly env?: NodeJS.ProcessEnv
  readonly osReleasePath?: string
  readonly signal?: AbortSignal
}

const MIB = 1024 ** 2

/** The default guest has 256 MiB, and QEMU itself takes about 100. */
const LEAST_MEMORY = 400 * MIB

/** What a guest writes in a test is in the temporary directory; 64 MiB is what the sockets, logs and a small overlay take. */
const LEAST_TEMPORARY = 64 * MIB
const GOOD_TEMPORARY = 1024 * MIB

/** What building the default guest takes at its peak, with reserve. */
const GOOD_CACHE = 1024 * MIB

/** Looks at everything that guests need. Rejects only when the signal aborts. */
export async function inspectHost(options: InspectOptions): Promise<HostReport> {
  const { env = process.env, signal } = options
  const cacheDir = resolveCacheDir(env)
  const checks: HostCheck[] = []
  const qemu = await attempt(findQemu({ env, cacheDir, signal }), checks, 'qemu', 'QEMU')
  if (qemu !== undefined) {
    checks.push(good('qemu', 'QEMU', `${qemu.version.text}, ${qemu.path}`))
  }
  const accelerator = qemu && (await inspectAccelerator(qemu, cacheDir, options, checks))
  const capabilities =
    qemu && (await attempt(queryCapabilities(qemu, { cacheDir, signal }), checks, 'network', 'Network'))
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
  const accelerator = await attempt(choice, checks, 'accelerator', 'Accelerator')
  if (accelerator === undefined) return undefined
  const { name, timeFactor, reason, fix } = accelerator
  const pace =
    timeFactor === 1 ? 'at full speed' : `about ${timeFactor} times slower than an idle host with KVM`
  checks.push(good('accelerator', 'Accelerator', `${name.toUpperCase()}, ${pace}`))
  checks.push(
    reason === undefined
      ? good('kvm', 'KVM', 'a probe guest ran under it at the speed of hardware')
      : { id: 'kvm', label: 'KVM', state: 'note', found: reason, fix: fix ?? null },
  )
  return accelerator
}

async function inspectTools(options: InspectOptions, env: NodeJS.ProcessEnv): Promise<HostCheck[]> {
  const needs = options.needs.filter(({ program }) => program !== QEMU_NEED.program)
  const tools = await findTools(needs, { env })
  return tools.map(({ program, aptPackage, why, path }) => {
    if (path !== undefined) return good(`tool:${program}`, program, path)
    return {
      id: `tool:${program}`,
      label: program,
      state: program === 'qemu-img' ? 'problem' : 'note',
      found: `not installed; it ${why}`,
      fix: `Run \`npx withvm setup\`; on Debian it is in ${aptPackage}.`,
    }
  })
}

function judgeNetwork({ hasUserNetwork }: QemuCapabilities): HostCheck {
  if (hasUserNetwork) return good('network', 'Network', 'this QEMU has user-mode networking')
  return {
    id: 'network',
    label: 'Network',
    state: 'problem',
    found: 'this QEMU is built without user-mode networking (slirp), so there is no SSH into guests',
    fix: "Use the distribution's QEMU, or name another with WITHVM_QEMU.",
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
      found: `images that have a name, as tiny, are made from packages of Debian or Ubuntu, and this is ${name}`,
      fix: 'Give the path of a disk image (qcow2, raw, vmdk …) instead.',
    },
  ]
}

function judgeMemory(freeBytes: number): HostCheck {
  const found = `${formatBytes(freeBytes)} free of ${formatBytes(totalmem())}`
  if (freeBytes >= LEAST_MEMORY) return good('memory', 'Memory', found)
  const fix = `A guest takes 256 MiB and QEMU about 100: end other programs, or run fewer guests at a time.`
  return { id: 'memory', label: 'Memory', state: 'note', found, fix }
}

function judgeTemporary(freeBytes: number | null): HostCheck {
  const found = `${freeBytes === null ? 'cannot be used' : `${formatBytes(freeBytes)} free`}, ${tmpdir()}`
  const check = { id: 'temporary', label: 'Temporary files', found }
  if (freeBytes !== null && freeBytes >= GOOD_TEMPORARY) return { ...check, state: 'ok', fix: null }
  const isUsable = freeBytes !== null && freeBytes >= LEAST_TEMPORARY
  const fix =
    'Free some space there, or point TMPDIR to a bigger disk: what guests write is kept there while they run.'
  return { ...check, state: isUsable ? 'note' : 'problem', fix }
}

function judgeCache(dir: string, freeBytes: number | null, usedBytes: number): HostCheck {
  const free = freeBytes === null ? 'cannot be made' : `${formatBytes(freeBytes)} free`
  const found = `${formatBytes(usedBytes)} used, ${free}, ${dir}`
  const temporary = findTemporaryCache()
  if (temporary?.dir === dir) {
    const fix = 'Set WITHVM_CACHE to a directory that is kept: this one is lost with the temporary directory.'
    return { id: 'cache', label: 'Cache', state: 'note', found: `${found} (${temporary.reason})`, fix }
  }
  if (freeBytes !== null && freeBytes >= GOOD_CACHE) return good('cache', 'Cache', found)
  const fix =
    'Free some space there, or point WITHVM_CACHE to a bigger disk: images are built and kept there.'
  return { id: 'cache', label: 'Cache', state: 'note', found, fix }
}

function judgeLoad(): HostCheck {
  const factor = readLoadFactor()
  const found = `${cpus().length} processors, ${factor === 1 ? 'not busy' : `${factor.toFixed(1)} times as much work`}`
  if (factor < 2) return good('load', 'Processors', found)
  const fix = 'Time-outs are stretched by it; run fewer guests at a time.'
  return { id: 'load', label: 'Processors', state: 'note', found, fix }
}

function good(id: string, label: string, found: string): HostCheck {
  return { id, label, state: 'ok', found, fix: null }
}

/** Turns a failure that withvm explains into a problem of the report. */
async function attempt<T>(
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

/** Free bytes for this user where the folder is, or where it would be made. */
async function readFreeSpace(dir: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(dir)
    return bavail * bsize
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    return isMissing && dirname(dir) !== dir ? readFreeSpace(dirname(dir)) : null
  }
}

/** What the files of a folder take on the disk: images have holes. */
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
