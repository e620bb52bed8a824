import { lstat, readdir } from 'node:fs/promises'
import { tryReadSmallFile } from '../../common/files/read-small-file.js'
import { isFileLimit, toHostError } from '../../common/host-error.js'
import { pollUntil } from '../../common/poll.js'
import { KIB } from '../../common/units.js'

/** Time limit for QEMU to close its disks, milliseconds. Measured: 5. */
const SHUTDOWN_TIMEOUT_MS = 2000
const POLL_MS = 20
/** Maximum size of a command line that is read: longer ones of foreign processes are ignored. */
const MAX_ARGS_BYTES = 512 * KIB

/**
 * Returns the process id of the QEMU that uses one of the folders.
 * @throws {InfrastructureError} HOST_UNSUITABLE when too many files are open to determine that.
 */
export async function findQemuOf(folders: readonly string[]): Promise<number | undefined> {
  for (const pid of await listPids()) if (await isQemuOf(pid, folders)) return pid
  return undefined
}

/** Ends QEMU. With `orderly`, QEMU first closes its disks. */
export async function endQemu(
  pid: number,
  folders: readonly string[],
  how: 'orderly' | 'at-once',
): Promise<void> {
  const hasEnded = async () => !(await isQemuOf(pid, folders)) || undefined
  if (how === 'orderly') {
    sendSignal(pid, 'SIGTERM')
    if (await pollUntil(hasEnded, { intervalMs: POLL_MS, timeoutMs: SHUTDOWN_TIMEOUT_MS })) return
  }
  const kill = async () => {
    if (await hasEnded()) return true
    sendSignal(pid, 'SIGKILL')
    return undefined
  }
  await pollUntil(kill, { intervalMs: POLL_MS })
}

/**
 * Returns whether a process is the QEMU of one of the folders. Process ids are reused, so this is
 * checked each time: only QEMU itself has the monitor's socket in its arguments.
 * @param uids users that the process may belong to. @default any
 */
export async function isQemuOf(
  pid: number,
  folders: readonly string[],
  uids?: readonly number[],
): Promise<boolean> {
  if (uids !== undefined && !uids.includes((await readUid(pid)) ?? -1)) return false
  return (await readArgs(pid)).some((arg) => folders.some((folder) => monitorSocketDir(arg) === folder))
}

export async function listPids(): Promise<number[]> {
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

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // The process has ended in the meantime.
  }
}
