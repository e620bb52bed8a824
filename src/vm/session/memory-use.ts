import { readFile } from 'node:fs/promises'
import type { QmpClient } from '../../channel/qmp/qmp-client.js'
import { KIB } from '../../common/units.js'
import { VMError, vmError } from '../../errors.js'
import { type GuestArch, virtioDevice } from '../../spec/architectures.js'
import type { Machine } from '../machine/machine.js'

/** Host memory used by a guest, and the memory statistics of the guest, in bytes. */
export interface MemoryUse {
  /** Resident memory of the QEMU process. Shared pages count in full. */
  readonly rss: number
  /**
   * Proportional set size: shared pages are divided among the processes, so values of several
   * guests add up.
   */
  readonly pss: number
  /** Pages shared with other processes: of a template's RAM file, of libraries. */
  readonly shared: number
  /** Pages that no other process shares. */
  readonly private: number
  /** Pages merged by the kernel (KSM). Undefined before Linux 5.19. */
  readonly merged: number | undefined
  /**
   * Statistics of the guest's balloon driver. Undefined without a balloon, or before the first
   * report.
   */
  readonly guest: GuestMemory | undefined
}

/**
 * Memory statistics of the guest, in bytes. Values that its driver does not report are undefined.
 */
export interface GuestMemory {
  /** Memory of the guest without the part taken by the balloon. */
  readonly actual: number
  /** Memory known to the guest's kernel. */
  readonly total: number | undefined
  /** Unused memory. */
  readonly free: number | undefined
  /** Memory available to applications without swapping. */
  readonly available: number | undefined
  /** Memory used by disk caches. */
  readonly caches: number | undefined
  /** Number of major page faults. */
  readonly majorFaults: number | undefined
}

/** Unit of Linux's KSM counters: pages of the host kernel, 4 KiB on x86. */
const PAGE_BYTES = 4096
/**
 * Threshold for unknown statistics: QEMU reports a missing value as -1, as an unsigned 64-bit
 * number.
 */
const UNKNOWN = 2 ** 63
/** Polling interval of the guest's statistics, in seconds. */
const POLLING_S = 1

/**
 * Reads the memory use of a QEMU process, see proc_pid_smaps(5).
 *
 * @throws {InfrastructureError} QEMU_DIED when the process does not exist.
 */
export async function readMemoryUse(qmp: QmpClient, pid: number, { spec }: Machine): Promise<MemoryUse> {
  const [rollup, merging, guest] = await Promise.all([
    readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch((cause: unknown) => {
      throw vmError('QEMU_DIED', {
        summary: `The memory use of process ${pid} could not be read.`,
        got: String(cause),
        hint: 'Use Linux 4.14 or newer, and check that QEMU still runs.',
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

/** Parses `smaps_rollup`, see proc_pid_smaps(5). */
export function parseRollup(rollup: string): Pick<MemoryUse, 'rss' | 'pss' | 'shared' | 'private'> {
  const read = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * KIB
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

/** Finds the QOM path of the balloon by its type, because the device has no id. */
async function findBalloon(qmp: QmpClient, arch: GuestArch): Promise<string | undefined> {
  const path = '/machine/peripheral-anon'
  const devices = (await qmp.execute('qom-list', { path })) as ReadonlyArray<{ name: string; type: string }>
  const found = devices.find(({ type }) => type === `child<${virtioDevice('balloon', arch)}>`)
  return found && `${path}/${found.name}`
}
