import { readdirSync, readFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** CAP_SYS_NICE (capabilities(7)). */
const SYS_NICE = 1n << 23n

/**
 * Returns true if the niceness of a process can be lowered again. If not, it must not be raised.
 */
export function canRaise(): boolean {
  try {
    const held = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
    // Within a user namespace the capability has no effect on niceness.
    const isInitialNamespace = /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))
    return isInitialNamespace && (BigInt(`0x${held}`) & SYS_NICE) !== 0n
  } catch {
    return false
  }
}

/**
 * Sets the niceness of a process, -20 to 19. Linux has one niceness for each thread, so all threads
 * are set.
 */
export function setNiceness(pid: number, niceness: number): void {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), niceness)
  } catch {
    // The process or one of its threads has ended.
  }
}
