import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** CAP_SYS_NICE (capabilities(7)). */
const SYS_NICE = 1n << 23n

/** Whether a process that was put last can be put first again: else it is left where it is. */
export function canRaise(): boolean {
  try {
    const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
    // Within a user namespace the capability is held, and does not count.
    const isInitialNamespace = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))
    return isInitialNamespace && (BigInt(`0x${held}`) & SYS_NICE) !== 0n
  } catch {
    return false
  }
}

/** Sets the niceness of a process, -20 to 19: of each of its threads, as Linux has one for each. */
export function setNiceness(pid: number, niceness: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), niceness)
  } catch {
    // It has ended, or a thread of it has.
  }
}
