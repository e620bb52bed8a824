import { createHash } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** `unknown`: a process of another host or container, which is not visible from here. */
export type Liveness = 'alive' | 'dead' | 'unknown'

/** 8 hexadecimal digits for the scope, then the thread id and its start time in base 36. */
export const IDENTITY_PATTERN = '[0-9a-f]{8}\\.[0-9a-z]+\\.[0-9a-z]+'

const IDENTITY = new RegExp(`^${IDENTITY_PATTERN}$`)

let own: string | undefined

/**
 * Returns the identity of this thread: its scope (see {@link processScope}), the thread id and the
 * start time of the thread. A reused id has another start time, so identities are unique. A worker
 * thread has its own identity, because it can end before its process.
 */
export function currentProcess(): string {
  own ??= readOwnIdentity()
  return own
}

function readOwnIdentity(): string {
  const own = readStat('thread-self') ?? readStat('self')
  const { id, startedAt } = typeof own === 'object' ? own : { id: process.pid, startedAt: 0 }
  return [processScope(), id.toString(36), startedAt.toString(36)].join('.')
}

/**
 * A process of this PID namespace. Ids are reused, so the start time tells it from a later process.
 */
export interface ProcessReference {
  readonly pid: number
  /** Ticks since the host booted; 0 if unknown, as where `/proc` shows other ids. */
  readonly startedAt: number
}

/** Returns a reference to the process that has this id now; undefined if there is none. */
export function referTo(pid: number): ProcessReference | undefined {
  const stat = hasOwnProc() ? readStat(String(pid)) : 'unreadable'
  return stat === undefined ? undefined : { pid, startedAt: stat === 'unreadable' ? 0 : stat.startedAt }
}

/**
 * Returns the id of this process in `/proc`. It differs from `process.pid` in a PID namespace
 * without its own `/proc`. Empty on a system without `/proc`.
 */
export function idInProc(): string {
  return readLink('/proc/self')
}

/** Returns true if `/proc` shows the ids of this PID namespace, not those of an outer one. */
export function hasOwnProc(): boolean {
  return idInProc() === String(process.pid)
}

/** Returns true if the thread of an identity still runs. An invalid identity is `unknown`. */
export function livenessOf(identity: string): Liveness {
  if (!IDENTITY.test(identity)) return 'unknown'
  const [scope, id = '', start = ''] = identity.split('.')
  if (scope !== processScope()) return 'unknown'
  return livenessOfProcess({ pid: Number.parseInt(id, 36), startedAt: Number.parseInt(start, 36) })
}

/** Returns true if a process or thread still runs. */
export function livenessOfProcess({ pid, startedAt }: ProcessReference): Liveness {
  if (startedAt === 0) return signalReaches(pid)
  const stat = readStat(String(pid))
  if (stat === 'unreadable') return 'unknown'
  const runs = stat !== undefined && stat.startedAt === startedAt && !['Z', 'X'].includes(stat.state)
  return runs ? 'alive' : 'dead'
}

let scope: string | undefined

/**
 * Returns 8 hexadecimal digits that identify the set of processes visible to each other: those of
 * one boot, in one PID namespace (pid_namespaces(7)) and one time namespace, which shifts start
 * times (time_namespaces(7)). Hosts that share a folder over a network differ in the boot id,
 * containers of one host in the namespace.
 */
export function processScope(): string {
  scope ??= createHash('sha256').update(readScope()).digest('hex').slice(0, 8)
  return scope
}

function readScope(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')
    const pids = readlinkSync('/proc/self/ns/pid')
    const outerId = hasOwnProc() ? '' : idInProc()
    return [boot, pids, readLink('/proc/self/ns/time'), outerId].join(' ')
  } catch {
    return hostname() // a system without /proc
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return '' // Linux before 5.6 has no time namespaces, and other systems have no /proc
  }
}

/**
 * Reads the id, state and start time of a process or thread (proc(5), `/proc/[pid]/stat`: fields 1,
 * 3 and 22). Returns undefined if it does not exist, and `unreadable` if this process can open no
 * more files.
 */
function readStat(name: string) {
  try {
    const text = readFileSync(`/proc/${name}/stat`, 'latin1')
    // The name of the program is in parentheses and may contain any character.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { id: Number.parseInt(text, 10), state: fields[0] ?? '', startedAt: Number(fields[19]) }
  } catch (error) {
    const hasEnded = ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')
    return hasEnded ? undefined : 'unreadable'
  }
}

function signalReaches(pid: number): Liveness {
  try {
    process.kill(pid, 0)
    return 'alive'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH' ? 'dead' : 'alive'
  }
}
