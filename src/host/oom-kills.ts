import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { listGroups } from './cgroup.js'

/** How many processes the kernel's out-of-memory killer has killed. Undefined where the kernel does not tell. */
export interface OomKills {
  /** On the whole host (Linux 4.13). */
  readonly host: number | undefined
  /** In the control group of this process. */
  readonly cgroup: number | undefined
}

/**
 * Reads the counters of the out-of-memory killer: `/proc/vmstat`, and `memory.events` (cgroup v2) or `memory.oom_control` (v1).
 * @param root replaces `/` in tests
 */
export async function readOomKills(root = '/'): Promise<OomKills> {
  const [vmstat, ...groups] = await Promise.all([
    readText(join(root, 'proc/vmstat')),
    ...[...listGroups('memory', root)].map(readGroup),
  ])
  // A group counts its own processes. In a container its path may be that of the host, and only its root is there.
  return { host: parseCounter(vmstat), cgroup: groups.find((kills) => kills !== undefined) }
}

/** Who killed a process, by the counters before and after: as a hint of an error. Pure. */
export function explainKill(before: OomKills | undefined, after: OomKills | undefined): string {
  const [ofGroup, ofHost] = [increase(before?.cgroup, after?.cgroup), increase(before?.host, after?.host)]
  if (ofGroup !== undefined && ofGroup > 0)
    return "Give the container or the control group more memory, or run fewer guests at a time: the kernel's out-of-memory killer killed a process of this group meanwhile."
  if (ofHost !== undefined && ofHost > 0)
    return "Run fewer guests at a time: the kernel's out-of-memory killer killed a process of this host meanwhile (`dmesg` names it)."
  if (ofHost === undefined)
    return 'Find out what killed QEMU: this kernel does not tell whether it ran out of memory (`dmesg` may).'
  return "Find out what killed QEMU: it was another program or a person, as the kernel's out-of-memory killer killed no process meanwhile. Programs such as systemd-oomd and earlyoom log what they kill."
}

function increase(before: number | undefined, after: number | undefined): number | undefined {
  return before === undefined || after === undefined ? undefined : after - before
}

async function readGroup(group: string): Promise<number | undefined> {
  const events = await readText(join(group, 'memory.events'))
  return parseCounter(events || (await readText(join(group, 'memory.oom_control'))))
}

function parseCounter(text: string): number | undefined {
  const found = /^oom_kill (\d+)$/m.exec(text)?.[1]
  return found === undefined ? undefined : Number(found)
}

function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
