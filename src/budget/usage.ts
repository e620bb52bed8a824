import { readFile } from 'node:fs/promises'
import { resolveCacheDir } from '../common/cache-dir.js'
import { MIB } from '../common/units.js'
import { digestOf, openHostCache } from '../host/host-cache.js'

/** Safety factor on the recorded memory: a guest may use more than earlier ones. */
const MARGIN = 1.25
/** Weight of the recorded memory when a guest used less. */
const DECAY = 0.9
/**
 * Memory of QEMU besides the guest's RAM: code, and translated code under TCG, in MiB. Measured: 60
 * to 110 MiB.
 */
const QEMU_MIB = 128

/** Memory of a guest: the expected use, from measurements of earlier guests, and the maximum. */
export interface MemoryEstimate {
  readonly expectedMiB: number
  readonly maxMiB: number
}

/** Properties of a guest that determine its memory use. */
export interface GuestKind {
  readonly memoryBytes: number
  /** Maximum memory after hot-plug. @default memoryBytes */
  readonly maxBytes?: number | undefined
  /** All other properties. */
  readonly traits: ReadonlyArray<string | number>
}

/**
 * Estimates the memory of a guest from earlier guests of its kind. Without a measurement, expects
 * the maximum.
 */
export async function estimateMemory(kind: GuestKind): Promise<MemoryEstimate> {
  const { memoryBytes, maxBytes = memoryBytes } = kind
  const maxMiB = Math.ceil(maxBytes / MIB) + QEMU_MIB
  const bootMiB = Math.ceil(memoryBytes / MIB) + QEMU_MIB
  const recordedMiB = await readRecorded(kind)
  return {
    expectedMiB: recordedMiB === undefined ? bootMiB : Math.min(maxMiB, Math.ceil(recordedMiB * MARGIN)),
    maxMiB,
  }
}

/** Records the memory of a guest that is about to end. */
export async function recordMemory(kind: GuestKind, pid: number): Promise<void> {
  const usedMiB = await readPssMiB(pid)
  if (usedMiB === undefined) return
  const recordedMiB = await readRecorded(kind)
  const next =
    recordedMiB === undefined
      ? usedMiB
      : Math.max(usedMiB, Math.round(recordedMiB * DECAY + usedMiB * (1 - DECAY)))
  if (next !== recordedMiB) await openCache().write(factName(kind), { mib: next })
}

/**
 * Reads the proportional set size of a process, MiB (proc(5), `smaps_rollup`). Undefined if it is
 * not readable or the process has ended.
 */
export async function readPssMiB(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  const kib = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1]
  return kib === undefined ? undefined : Math.ceil(Number(kib) / 1024)
}

function readRecorded(kind: GuestKind): Promise<number | undefined> {
  return openCache().read(factName(kind), (value) => {
    const { mib } = value as { readonly mib?: unknown }
    return typeof mib === 'number' && mib > 0 ? mib : undefined
  })
}

function factName(kind: GuestKind): string {
  return `guest-memory-${digestOf(kind.memoryBytes, ...kind.traits)}`
}

function openCache() {
  return openHostCache(resolveCacheDir())
}
