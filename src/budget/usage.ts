import { readFile } from 'node:fs/promises'
import { resolveCacheDir } from '../common/cache-dir.js'
import { digestOf, openHostCache } from '../host/host-cache.js'

const MIB = 1024 ** 2
/** A guest may do a little more than those before it. */
const MARGIN = 1.25
/** How much of the most that was seen is kept when a guest takes less. */
const KEPT = 0.9
/** What QEMU takes beside its guest's RAM: its code, its caches of translated code under TCG. Measured: 60 to 110 MiB. */
const QEMU_MIB = 128

/** What memory such a guest takes: usually, by those that were measured; and at most. */
export interface MemoryEstimate {
  readonly expectedMiB: number
  readonly maxMiB: number
}

/** What a guest is like, as far as it tells what memory it takes. */
export interface GuestKind {
  readonly memoryBytes: number
  /** What its memory may be grown to. @default memoryBytes */
  readonly mostBytes?: number | undefined
  /** All else. */
  readonly traits: ReadonlyArray<string | number>
}

/** What guests of that kind took. One of which nothing is known is thought to take all that it can. */
export async function estimateMemory(kind: GuestKind): Promise<MemoryEstimate> {
  const { memoryBytes, mostBytes = memoryBytes } = kind
  const maxMiB = Math.ceil(mostBytes / MIB) + QEMU_MIB
  const wholeMiB = Math.ceil(memoryBytes / MIB) + QEMU_MIB
  const seenMiB = await readSeen(kind)
  return {
    expectedMiB: seenMiB === undefined ? wholeMiB : Math.min(maxMiB, Math.ceil(seenMiB * MARGIN)),
    maxMiB,
  }
}

/** Notes what a guest takes at its end. */
export async function learnUsage(kind: GuestKind, pid: number): Promise<void> {
  const tookMiB = await readPssMiB(pid)
  if (tookMiB === undefined) return
  const seenMiB = await readSeen(kind)
  const next =
    seenMiB === undefined ? tookMiB : Math.max(tookMiB, Math.round(seenMiB * KEPT + tookMiB * (1 - KEPT)))
  if (next !== seenMiB) await openCache().write(factName(kind), { mib: next })
}

/**
 * The memory of a process, what it shares with others in equal parts, MiB (proc(5), `smaps_rollup`). Undefined where
 * nobody tells, or it has ended.
 */
export async function readPssMiB(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  const kib = /^Pss:\s+(\d+) kB$/m.exec(text)?.[1]
  return kib === undefined ? undefined : Math.ceil(Number(kib) / 1024)
}

function readSeen(kind: GuestKind): Promise<number | undefined> {
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
