import { cpus } from 'node:os'
import { readReportedTscKhz, readTscKhz } from '../../host/tsc-frequency.js'
import type { Machine } from './machine.js'

/** Properties of the host processor that affect the clock of a guest. */
export interface HostProcessor {
  readonly model: string
  /** Frequency of its time-stamp counter, if a hypervisor reports it. */
  readonly tscKhz: number | undefined
}

let hostProcessor: HostProcessor | undefined

/**
 * Returns the processor of the host. Cached for the process: on a host with many processors reading
 * takes milliseconds.
 */
export function readHostProcessor(): HostProcessor {
  hostProcessor ??= { model: cpus()[0]?.model ?? '', tscKhz: readReportedTscKhz() }
  return hostProcessor
}

/**
 * Returns the TSC frequency to pass to a kernel of the image. Undefined for a kernel of the author
 * and under `-icount`, where the guest's counter counts instructions.
 */
export async function findTscKhz({
  spec,
  host,
}: Pick<Machine, 'spec' | 'host'>): Promise<number | undefined> {
  const { kernel, efiKernel, takesTscFrequency } = spec.image?.directBoot ?? {}
  const used = spec.directBoot?.kernel
  if (spec.qemuArgs.some((arg) => /^--?icount\b/.test(arg))) return undefined
  const isOfImage = used !== undefined && (used === kernel || used === efiKernel)
  return isOfImage && takesTscFrequency && host.accelerator === 'tcg' ? readTscKhz() : undefined
}
