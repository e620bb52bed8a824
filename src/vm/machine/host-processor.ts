import { cpus } from 'node:os'
import { readReportedTscKhz, readTscKhz } from '../../host/tsc-frequency.js'
import type { Machine } from './machine.js'

/** The processor of the host, as far as the clock of a guest depends on it. */
export interface HostProcessor {
  readonly model: string
  /** Frequency of its time-stamp counter, where a hypervisor reports it. */
  readonly tscKhz: number | undefined
}

let hostProcessor: HostProcessor | undefined

/** Read once in a process: on a host of many processors it takes milliseconds. */
export function readHostProcessor(): HostProcessor {
  hostProcessor ??= { model: cpus()[0]?.model ?? '', tscKhz: readReportedTscKhz() }
  return hostProcessor
}

/**
 * Returns the frequency that a kernel of the image is told. A kernel of the author's is told nothing, nor is any under `-icount`,
 * where the guest's counter counts instructions.
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
