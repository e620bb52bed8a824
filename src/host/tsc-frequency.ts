import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { cpus } from 'node:os'
import { resolveCacheDir } from '../common/cache-dir.js'
import { digestOf, openHostCache } from './host-cache.js'

/** No processor's counter is outside of this range. */
const LEAST_KHZ = 1_000
const MOST_KHZ = 20_000_000
/** A measured frequency that differs by more than this share contradicts a reported one: guests' clocks are compared to the same share. */
const TOLERANCE = 0.02

/** Files of the host that the frequency is read from, and by which boot it is stored. */
export interface TscSources {
  readonly cpuinfo: string
  readonly bootId: string
}

const HOST: TscSources = { cpuinfo: '/proc/cpuinfo', bootId: '/proc/sys/kernel/random/boot_id' }
/** More than `/proc/cpuinfo` has about one processor; the whole of it takes milliseconds where there are hundreds. */
const CPUINFO_BYTES = 8192

/**
 * Returns the frequency of the host's time-stamp counter, which is also that of a guest under TCG (QEMU's
 * `cpu_get_host_ticks`). It is what the hypervisor that the host itself runs on reports, unless an earlier guest measured another;
 * without a hypervisor, what an earlier guest measured. Undefined where neither is known.
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

/** Returns the frequency that the hypervisor of this host reports; undefined where none does. */
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

/** Stores a measured frequency until the host is booted again; nothing where the boot of the host cannot be told. */
export async function rememberTscKhz(khz: number, sources: TscSources = HOST): Promise<void> {
  const rounded = Math.round(khz)
  const name = factName(sources)
  if (isPlausible(rounded) && name !== undefined) await openCache().write(name, { khz: rounded })
}

/**
 * Reads the frequency from `/proc/cpuinfo`. Its `cpu MHz` is the frequency of the counter only where a hypervisor reported it
 * (`tsc_known_freq`) and the kernel does not measure the present speed of the processor (`aperfmperf`).
 */
export function parseTscKhz(cpuinfo: string): number | undefined {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(' '))
  const isReported = ['hypervisor', 'constant_tsc', 'tsc_known_freq'].every((flag) => flags.has(flag))
  if (!isReported || flags.has('aperfmperf')) return undefined
  const khz = Math.round(Number(/^cpu MHz\s*:\s*([\d.]+)$/m.exec(cpuinfo)?.[1]) * 1000)
  return isPlausible(khz) ? khz : undefined
}

function isPlausible(khz: number): boolean {
  return khz >= LEAST_KHZ && khz <= MOST_KHZ
}

/** A cache may be shared by several hosts. Undefined where the boot of this host cannot be told from others. */
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
