import { cpus, loadavg } from 'node:os'

/**
 * How many times longer a program takes because others want the processors too: the load of the last minute for each
 * processor, and 1 when there is less work than processors.
 */
export function readLoadFactor(load = loadavg()[0] ?? 0, processors = cpus().length): number {
  return Math.max(1, load / Math.max(1, processors))
}
