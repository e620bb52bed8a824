import { readFile } from 'node:fs/promises'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import { VMError, vmError } from '../../errors.js'
import { type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'

/** What a guest takes of this host's memory, bytes, and what it says of its own. */
export interface MemoryUse {
  /** What the QEMU process has in memory, what it shares with others counted whole. */
  readonly rss: number
  /** The same, what is shared divided among those who share it: the sum over all guests is what they take. */
  readonly pss: number
  /** What others have too: of the file of a template, of libraries. */
  readonly shared: number
  /** What it has alone. */
  readonly private: number
  /** What the kernel has merged with equal pages (KSM); undefined where it does not tell (before Linux 5.19). */
  readonly merged: number | undefined
  /** What the guest says by the driver of its balloon; undefined where it has none, or has said nothing yet. */
  readonly guest: GuestMemory | undefined
}

/** The guest's own account, bytes. What its driver does not tell is undefined. */
export interface GuestMemory {
  /** What it has, without what the balloon has taken. */
  readonly actual: number
  readonly total: number | undefined
  readonly free: number | undefined
  /** What could be had without swapping. */
  readonly available: number | undefined
  readonly caches: number | undefined
  readonly majorFaults: number | undefined
}

/** Linux gives the pages of KSM in pages of its own size: 4 KiB on the machines that QEMU's KVM and TCG run on here (x86). */
const PAGE_BYTES = 4096
/** QEMU has no answer of the guest at first, and gives the statistics that it lacks as -1, as 64 bits without a sign. */
const UNKNOWN = 2 ** 63
/** How often the guest is asked for its statistics, seconds. */
const POLLING_S = 1

/**
 * Reads what a QEMU process takes, by proc_pid_smaps(5).
 *
 * @throws {InfrastructureError} QEMU_DIED when there is no such process.
 */
export async function readMemoryUse(qmp: QmpClient, pid: number, { spec }: Machine): Promise<MemoryUse> {
  const [rollup, merging, guest] = await Promise.all([
    readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch((cause: unknown) => {
      throw vmError('QEMU_DIED', {
        summary: `What the process ${pid} takes of memory cannot be read.`,
        got: String(cause),
        hint: 'this needs Linux 4.14 or newer, and a QEMU that runs.',
        cause,
      })
    }),
    readFile(`/proc/${pid}/ksm_merging_pages`, 'utf8').catch(() => undefined),
    spec.devices.balloon ? readGuestMemory(qmp, spec.arch) : undefined,
  ])
  return {
    ...parseRollup(rollup),
    merged: merging === undefined ? undefined : Number(merging) * PAGE_BYTES,
    guest,
  }
}

/** Reads proc_pid_smaps(5). */
export function parseRollup(rollup: string): Pick<MemoryUse, 'rss' | 'pss' | 'shared' | 'private'> {
  const read = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1024
  return {
    rss: read('Rss'),
    pss: read('Pss'),
    shared: read('Shared_Clean') + read('Shared_Dirty'),
    private: read('Private_Clean') + read('Private_Dirty'),
  }
}

async function readGuestMemory(qmp: QmpClient, arch: GuestArch): Promise<GuestMemory | undefined> {
  try {
    const path = await findBalloon(qmp, arch)
    if (path === undefined) return undefined
    await qmp.execute('qom-set', { path, property: 'guest-stats-polling-interval', value: POLLING_S })
    const { actual } = (await qmp.execute('query-balloon')) as { readonly actual: number }
    const { stats } = (await qmp.execute('qom-get', { path, property: 'guest-stats' })) as {
      readonly stats: Readonly<Record<string, number>>
    }
    const read = (name: string) => {
      const value = stats[name]
      return value === undefined || value < 0 || value >= UNKNOWN ? undefined : value
    }
    return {
      actual,
      total: read('stat-total-memory'),
      free: read('stat-free-memory'),
      available: read('stat-available-memory'),
      caches: read('stat-disk-caches'),
      majorFaults: read('stat-major-faults'),
    }
  } catch (error) {
    // A guest whose driver is not loaded has no statistics.
    if (error instanceof VMError && error.code === 'QMP_FAILED') return undefined
    throw error
  }
}

/** It has no name of its own: it is found by its type. */
async function findBalloon(qmp: QmpClient, arch: GuestArch): Promise<string | undefined> {
  const path = '/machine/peripheral-anon'
  const devices = (await qmp.execute('qom-list', { path })) as ReadonlyArray<{ name: string; type: string }>
  const found = devices.find(({ type }) => type === `child<${virtioDevice('balloon', arch)}>`)
  return found && `${path}/${found.name}`
}
