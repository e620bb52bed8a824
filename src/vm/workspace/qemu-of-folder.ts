import { lstat, readdir } from 'node:fs/promises'
import { tryReadSmallFile } from '../../common/files/read-small-file.js'
import { isFileLimit, toHostError } from '../../common/host-error.js'
import {
  hasOwnProc,
  livenessOfProcess,
  type ProcessReference,
  referTo,
} from '../../common/locks/process-identity.js'
import { pollUntil } from '../../common/poll.js'
import { KIB } from '../../common/units.js'

/** Time limit for QEMU to close its disks, in milliseconds. Measured: 5. */
const SHUTDOWN_TIMEOUT_MS = 2000
/** Time limit for the kernel to end a killed QEMU, in milliseconds. */
const KILL_TIMEOUT_MS = 10_000
const POLL_MS = 20
/** Maximum size of a command line that is read: longer ones of foreign processes are ignored. */
const MAX_ARGS_BYTES = 512 * KIB

/**
 * Returns the QEMU processes that use one of the folders.
 * @param uids users that the processes may belong to: any process can have such arguments
 * @throws {InfrastructureError} HOST_UNSUITABLE when too many files are open to determine that.
 */
export async function findQemusOf(
  folders: readonly string[],
  uids: readonly number[],
): Promise<ProcessReference[]> {
  const found: ProcessReference[] = []
  for (const pid of await listPids()) {
    const process = referTo(pid)
    if (process !== undefined && (await isQemuOf(pid, folders, uids))) found.push(process)
  }
  return found
}

/**
 * Ends QEMU. With `orderly`, QEMU first closes its disks. A QEMU that the kernel cannot end in
 * time, for example while a file server does not answer, ends after that.
 */
export async function endQemu(qemu: ProcessReference, how: 'orderly' | 'at-once'): Promise<void> {
  if (how === 'orderly' && (await endsBy('SIGTERM', qemu, SHUTDOWN_TIMEOUT_MS))) return
  await endsBy('SIGKILL', qemu, KILL_TIMEOUT_MS)
}

/** Sends a signal. Returns true if the process ended in time. */
async function endsBy(
  signal: NodeJS.Signals,
  process: ProcessReference,
  timeoutMs: number,
): Promise<boolean> {
  const hasEnded = () => livenessOfProcess(process) === 'dead' || undefined
  if (hasEnded()) return true // its id may belong to another process
  return (
    sendSignal(process.pid, signal) &&
    (await pollUntil(hasEnded, { intervalMs: POLL_MS, timeoutMs })) === true
  )
}

/**
 * Returns true if a process is the QEMU of one of the folders: only QEMU itself has the monitor's
 * socket in its arguments.
 * @param uids users that the process may belong to: any process can have such arguments
 */
export async function isQemuOf(
  pid: number,
  folders: readonly string[],
  uids: readonly number[],
): Promise<boolean> {
  if (!uids.includes((await readUid(pid)) ?? -1)) return false
  return (await readArgs(pid)).some((arg) => folders.some((folder) => monitorSocketDir(arg) === folder))
}

/** Returns the ids of all visible processes. */
export async function listPids(): Promise<number[]> {
  if (!hasOwnProc()) return [] // these would be ids of an outer PID namespace
  const names = await readdir('/proc').catch((error: unknown) => {
    if (isFileLimit(error)) throw toHostError(error)
    return []
  })
  return names.filter((name) => /^\d+$/.test(name)).map(Number)
}

/**
 * Returns the arguments of a process; none if it has ended or cannot be inspected.
 * @throws {InfrastructureError} HOST_UNSUITABLE when too many files are open to read them.
 */
export async function readArgs(pid: number): Promise<string[]> {
  const commandLine = await tryReadSmallFile(`/proc/${pid}/cmdline`, MAX_ARGS_BYTES).catch(
    (error: unknown) => {
      if (isFileLimit(error)) throw toHostError(error)
      return undefined
    },
  )
  return (commandLine ?? '').split('\0')
}

/** Returns the effective user of a process. */
export async function readUid(pid: number): Promise<number | undefined> {
  const stat = await lstat(`/proc/${pid}`).catch(() => undefined)
  return stat?.uid
}

/** Returns the folder of QEMU's monitor socket if this argument names it. */
export function monitorSocketDir(arg: string): string | undefined {
  const match = /^socket,id=qmp,path=((?:[^,]|,,)*)\/qmp\.sock(?:,|$)/.exec(arg)
  return match?.[1]?.replaceAll(',,', ',')
}

/**
 * Returns false if the process has ended, or belongs to a user to whom this user cannot send
 * signals.
 */
function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
