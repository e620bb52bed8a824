import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { listGroups } from './cgroup.js'

/**
 * Numbers of processes that the kernel's out-of-memory killer has killed. Undefined if the kernel
 * does not report them.
 */
export interface OomKills {
  /** On the whole host (Linux 4.13). */
  readonly host: number | undefined
  /** In the control group of this process. */
  readonly cgroup: number | undefined
}

/**
 * Reads the counters of the out-of-memory killer: `/proc/vmstat`, and `memory.events` (cgroup v2)
 * or `memory.oom_control` (v1).
 *
 * @param root replaces `/` in tests
 */
export async function readOomKills(root = '/'): Promise<OomKills> {
  const [vmstat, ...groups] = await Promise.all([
    readCounters(join(root, 'proc/vmstat')),
    ...[...listGroups('memory', root)].map(readGroup),
  ])
  // In a container the path may be that of the host, of which only the root is mounted.
  return { host: parseCounter(vmstat), cgroup: groups.find((kills) => kills !== undefined) }
}

/** Returns an error hint about the cause of a kill, from the counters before and after. Pure. */
export function explainKill(before: OomKills | undefined, after: OomKills | undefined): string {
  const [ofGroup, ofHost] = [increase(before?.cgroup, after?.cgroup), increase(before?.host, after?.host)]
  if (ofGroup !== undefined && ofGroup > 0)
    return "Give the container or the control group more memory, or run fewer guests concurrently: the kernel's out-of-memory killer killed a process of this group."
  if (ofHost !== undefined && ofHost > 0)
    return "Run fewer guests concurrently: the kernel's out-of-memory killer killed a process of this host (see `dmesg`)."
  if (ofHost === undefined)
    return 'Check `dmesg` for the cause of the kill: this kernel does not report out-of-memory kills.'
  return "Check the logs of systemd-oomd, earlyoom and similar programs: another program or a user killed QEMU, because the kernel's out-of-memory killer killed no process."
}

function increase(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}

async function readGroup(group: string): Promise<number | undefined> {
  const events = await readCounters(join(group, 'memory.events'))
  return parseCounter(events || (await readCounters(join(group, 'memory.oom_control'))))
}

function parseCounter(text: string): number | undefined {
  const found = /^oom_kill (\d+)$/m.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

function readCounters(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
