import { cpus, loadavg, totalmem } from 'node:os'
import { formatBytes } from '../common/units.js'
import { readFreeMemory } from './memory.js'

/**
 * Returns the factor by which the load of the host slows a program down: the load average of the
 * last minute per processor, at least 1.
 */
export function readLoadFactor(load = loadavg()[0] ?? 0, processors = cpus().length): number {
  return Math.max(1, load / Math.max(1, processors))
}

/** Describes the load of this host: `load 3.2 on 2 processors, 812 MiB of 7.8 GiB memory free`. */
export function describeHostLoad(): string {
  const load = `load ${(loadavg()[0] ?? 0).toFixed(1)} on ${cpus().length} processors`
  return `${load}, ${formatBytes(readFreeMemory())} of ${formatBytes(totalmem())} memory free`
}
