import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Limits of the control groups of this process. */
export interface CgroupLimits {
  /** Memory limit of all processes in the group, in bytes. */
  readonly memoryBytes?: number
  /** Free memory below that limit, in bytes. Reclaimable page cache counts as free. */
  readonly freeBytes?: number
  /** CPU quota, in processors. */
  readonly processors?: number
}

/**
 * Reads the limits of the control groups of this process and of their ancestors, for cgroup v2 and
 * v1 (cgroups(7)). The tightest limit applies. A limit that is not set or not readable is left out.
 *
 * @param root replaces `/` in tests
 */
export function readCgroupLimits(root = '/'): CgroupLimits {
  const memory = [...listGroups('memory', root)].map(readMemory).filter((found) => found !== undefined)
  const processors = [...listGroups('cpu', root)].map(readProcessors).filter((found) => found !== undefined)
  return {
    ...(memory.length === 0
      ? {}
      : {
          memoryBytes: Math.min(...memory.map(({ limit }) => limit)),
          freeBytes: Math.min(...memory.map(({ free }) => free)),
        }),
    ...(processors.length === 0 ? {} : { processors: Math.min(...processors) }),
  }
}

/** Lists the folders of a controller's groups, from the group of this process to the root. */
export function* listGroups(controller: string, root: string): Generator<string> {
  for (const line of readTextOrEmpty(join(root, 'proc/self/cgroup')).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined) continue
    const isUnified = controllers === ''
    if (!isUnified && !controllers?.split(',').includes(controller)) continue
    const base = join(root, 'sys/fs/cgroup', isUnified ? '' : (controllers as string))
    // In a container the path may be that of the host, of which only the root is mounted.
    for (let group = path; ; group = dirname(group)) {
      yield join(base, group)
      if (dirname(group) === group) break
    }
  }
}

function readMemory(group: string): { limit: number; free: number } | undefined {
  const limit = readNumber(group, 'memory.max') ?? readNumber(group, 'memory.limit_in_bytes')
  // cgroup v1 represents "no limit" as a number above any real memory size.
  if (limit === undefined || limit > 2 ** 60) return undefined
  const used = readNumber(group, 'memory.current') ?? readNumber(group, 'memory.usage_in_bytes') ?? 0
  const cached = readCached(readTextOrEmpty(join(group, 'memory.stat')))
  return { limit, free: Math.max(0, limit - used + cached) }
}

/**
 * Returns the inactive page cache, which the kernel reclaims first. In v1 only the `total_`
 * counters include child groups.
 */
function readCached(stat: string): number {
  const find = (name: string) => new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1]
  return Number(find('total_inactive_file') ?? find('inactive_file') ?? 0)
}

function readProcessors(group: string): number | undefined {
  const [quota, period] = readTextOrEmpty(join(group, 'cpu.max')).trim().split(' ')
  const share =
    period === undefined
      ? (readNumber(group, 'cpu.cfs_quota_us') ?? -1) / (readNumber(group, 'cpu.cfs_period_us') ?? 100_000)
      : Number(quota) / Number(period)
  return share > 0 ? share : undefined // `max` and -1 mean no limit
}

function readNumber(group: string, file: string): number | undefined {
  const text = readTextOrEmpty(join(group, file)).trim()
  return /^\d+$/.test(text) ? Number(text) : undefined
}

function readTextOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
