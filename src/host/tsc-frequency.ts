import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { cpus } from 'node:os'
import { resolveCacheDir } from '../common/cache-dir.js'
import { digestOf, openHostCache } from './host-cache.js'

/** Range of plausible frequencies. */
const MIN_KHZ = 1_000
const MAX_KHZ = 20_000_000
/**
 * Relative difference above which a measured frequency replaces a reported one. Guest clocks are
 * compared with the same tolerance.
 */
const TOLERANCE = 0.02

/** Files of the host that contain the frequency and the ID of the current boot. */
export interface TscSources {
  readonly cpuinfo: string
  readonly bootId: string
}

const HOST: TscSources = { cpuinfo: '/proc/cpuinfo', bootId: '/proc/sys/kernel/random/boot_id' }
/**
 * Size that covers the first processor in `/proc/cpuinfo`. The whole file takes milliseconds to
 * read with hundreds of processors.
 */
const CPUINFO_BYTES = 8192

/**
 * Returns the frequency of the host's time-stamp counter, which is also that of a guest under TCG
 * (`cpu_get_host_ticks()` of QEMU). A measurement of an earlier guest takes precedence over the
 * frequency that the hypervisor of the host reports, if the two differ. Undefined if neither is
 * known.
 */
export async function readTscKhz(sources: TscSources = HOST): Promise<number | undefined> {
  const reported = readReportedTscKhz(sources)
  const name = factName(sources)
  if (name === undefined) return reported
  const measured = await openCache().read(name, (value) => {
    const { khz } = value as { readonly khz?: unknown }
    return typeof khz === 'number' && isPlausible(khz) ? khz : undefined
  })
  if (reported === undefined || measured === undefined) return reported ?? measured
  return Math.abs(measured / reported - 1) > TOLERANCE ? measured : reported
}

/** Returns the frequency that the hypervisor of this host reports. Undefined without one. */
export function readReportedTscKhz({ cpuinfo }: TscSources = HOST): number | undefined {
  try {
    const file = openSync(cpuinfo, 'r')
    try {
      const head = Buffer.alloc(CPUINFO_BYTES)
      return parseTscKhz(head.toString('latin1', 0, readSync(file, head)))
    } finally {
      closeSync(file)
    }
  } catch {
    return undefined
  }
}

/**
 * Stores a measured frequency until the next boot of the host. Does nothing if the boot ID is not
 * readable.
 */
export async function rememberTscKhz(khz: number, sources: TscSources = HOST): Promise<void> {
  const rounded = Math.round(khz)
  const name = factName(sources)
  if (isPlausible(rounded) && name !== undefined) await openCache().write(name, { khz: rounded })
}

/**
 * Parses the frequency from `/proc/cpuinfo`. Its `cpu MHz` is the TSC frequency only if a
 * hypervisor reports it (`tsc_known_freq`) and the kernel does not measure the current CPU
 * frequency (`aperfmperf`).
 */
export function parseTscKhz(cpuinfo: string): number | undefined {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(' '))
  const isReported = ['hypervisor', 'constant_tsc', 'tsc_known_freq'].every((flag) => flags.has(flag))
  if (!isReported || flags.has('aperfmperf')) return undefined
  const khz = Math.round(Number(/^cpu MHz\s*:\s*([\d.]+)$/m.exec(cpuinfo)?.[1]) * 1000)
  return isPlausible(khz) ? khz : undefined
}

function isPlausible(khz: number): boolean {
  return khz >= MIN_KHZ && khz <= MAX_KHZ
}

/**
 * Returns the name of the fact, which includes the boot ID because several hosts may share a cache.
 * Undefined without a boot ID.
 */
function factName({ bootId }: TscSources): string | undefined {
  const id = readBootId(bootId)
  return id === '' ? undefined : `tsc-frequency-${digestOf(cpus()[0]?.model ?? '', id)}`
}

function readBootId(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch {
    return ''
  }
}

function openCache() {
  return openHostCache(resolveCacheDir())
}
