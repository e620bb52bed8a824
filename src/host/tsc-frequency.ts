import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { resolveCacheDir } from '../common/cache-dir.js'
import { digestOf, openHostCache } from './host-cache.js'

/** No processor's counter is outside of this range. */
const LEAST_KHZ = 1_000
const MOST_KHZ = 20_000_000

/**
 * Returns the frequency of the host's time-stamp counter, which is also that of a guest under TCG (QEMU's
 * `cpu_get_host_ticks`). It is measured by an earlier guest, or reported by the hypervisor that the host itself runs on;
 * undefined where neither is known.
 */
export async function readTscKhz(): Promise<number | undefined> {
  const learned = await openCache().read(factName(), (value) => {
    const { khz } = value as { readonly khz?: unknown }
    return typeof khz === 'number' && isPlausible(khz) ? khz : undefined
  })
  return learned ?? parseTscKhz(await readFile('/proc/cpuinfo', 'utf8').catch(() => ''))
}

/** Stores a measured frequency until the host is booted again. */
export async function rememberTscKhz(khz: number): Promise<void> {
  const rounded = Math.round(khz)
  if (isPlausible(rounded)) await openCache().write(factName(), { khz: rounded })
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

/** A cache may be shared by several hosts. */
function factName(): string {
  return `tsc-frequency-${digestOf(cpus()[0]?.model ?? '', readBootId())}`
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  } catch {
    return ''
  }
}

function openCache() {
  return openHostCache(resolveCacheDir())
}
