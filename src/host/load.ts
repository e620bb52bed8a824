import { cpus, loadavg, totalmem } from 'node:os'
import { formatBytes, readFreeMemory } from './memory.js'

/**
 * How many times longer a program takes because others want the processors too: the load of the last minute for each
 * processor, and 1 when there is less work than processors.
 */
export function readLoadFactor(load = loadavg()[0] ?? 0, processors = cpus().length): number {
  return Math.max(1, load / Math.max(1, processors))
}

/** What others leave of this host, in words: `load 3.2 on 2 processors, 812 MiB of 7.8 GiB memory free`. */
export function describeHostLoad(): string {
  const load = `load ${(loadavg()[0] ?? 0).toFixed(1)} on ${cpus().length} processors`
  return `${load}, ${formatBytes(readFreeMemory())} of ${formatBytes(totalmem())} memory free`
}
