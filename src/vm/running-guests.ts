import { readdir, readFile, rm } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findLockRealm, takeProcessLock } from '../common/process-lock.js'
import { keeperLockName, workspaceName } from './workspace.js'

/** In the folder of a kept guest: what {@link KeptRecord} says. */
export const KEPT_FILE = 'kept.json'
/** The socket on which the keeper of a kept guest serves its serial console, to one terminal at a time. */
export const TTY_SOCKET = 'tty.sock'
/** The socket of the keeper to which the QEMU of a kept guest connects its serial console. */
export const KEPT_CONSOLE_SOCKET = 'kept.sock'

/** What is noted of a guest that was left running. */
export interface KeptRecord {
  /** What failed. */
  readonly why: string
  /** ISO 8601 */
  readonly until: string
  readonly keeperPid: number
  readonly image?: string | undefined
  readonly user?: string | undefined
  /** The port of this host that leads to its SSH server. */
  readonly sshPort?: number | undefined
}

export interface RunningGuest {
  /** Names it among all of the host's: its name and what ends the name of its folder. */
  readonly name: string
  /** As its author named it. */
  readonly guest: string
  readonly pid: number
  readonly ageMs: number
  readonly ports: ReadonlyArray<{
    readonly protocol: string
    readonly bind: string
    readonly host: number
    readonly guest: number
  }>
  readonly dir: string
  readonly socketDir: string
  /** Undefined for a guest that is in use by the process that started it. */
  readonly kept: KeptRecord | undefined
}

/** How long QEMU is given to close its disks, milliseconds. Measured: 5. */
const PATIENCE_MS = 2000

export function guestName(guest: string, dir: string): string {
  return `${guest}-${dir.slice(-6)}`
}

/**
 * All guests of withvm on this host that this user may look at, the oldest first. They are found by their processes,
 * so that there is no list that could be wrong.
 */
export async function findRunningGuests(): Promise<RunningGuest[]> {
  const uptimeMs = Number((await readFile('/proc/uptime', 'utf8')).split(' ', 1)[0]) * 1000
  const guests = await Promise.all((await listPids()).map((pid) => describe(pid, uptimeMs)))
  return guests.filter((guest) => guest !== undefined).sort((a, b) => b.ageMs - a.ageMs || a.pid - b.pid)
}

/** The process id of the QEMU that works in one of the folders. */
export async function findQemuOf(folders: readonly string[]): Promise<number | undefined> {
  for (const pid of await listPids()) if (await worksIn(pid, folders)) return pid
  return undefined
}

/** Ends QEMU: `orderly` closes its disks. Gives up on none. */
export async function endQemu(
  pid: number,
  folders: readonly string[],
  how: 'orderly' | 'at-once',
): Promise<void> {
  if (how === 'orderly') {
    sendSignal(pid, 'SIGTERM')
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += 20) {
      if (!(await worksIn(pid, folders))) return
      await sleep(20)
    }
  }
  while (await worksIn(pid, folders)) {
    sendSignal(pid, 'SIGKILL')
    await sleep(20)
  }
}

/** Throws a guest away that was left running, as its keeper does when the time is up. */
export async function removeGuest({ pid, dir, socketDir }: RunningGuest): Promise<void> {
  const folders = [...new Set([socketDir, dir])]
  await endQemu(pid, folders, 'orderly')
  // The keeper sees that and removes the folders. Once it is gone, whether it did or was killed before, they are ours.
  const lock = await takeProcessLock(keeperLockName(basename(dir)))
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
  await lock.release()
}

/** A process id is used again, so it is looked at each time: only QEMU itself names the monitor's socket. */
async function worksIn(pid: number, folders: readonly string[]): Promise<boolean> {
  const args = await readArgs(pid)
  return args.some((arg) => folders.some((folder) => monitorSocketDir(arg) === folder))
}

async function describe(pid: number, uptimeMs: number): Promise<RunningGuest | undefined> {
  const args = await readArgs(pid)
  const socketDir = args.map(monitorSocketDir).find((dir) => dir !== undefined)
  const log = optionValue(args, 'logfile')
  if (socketDir === undefined || log === undefined) return undefined
  const dir = dirname(log)
  const isOurs = (path: string) => basename(path).startsWith(workspaceName(findLockRealm()))
  if (!isOurs(socketDir) || !isOurs(dir)) return undefined
  const guest = optionValue(args, 'guest') ?? 'guest'
  const record = await readFile(`${dir}/${KEPT_FILE}`, 'utf8').catch(() => undefined)
  return {
    name: guestName(guest, dir),
    guest,
    pid,
    ageMs: Math.max(0, uptimeMs - (await startedAtMs(pid))),
    ports: readPorts(args),
    dir,
    socketDir,
    kept: record === undefined ? undefined : (JSON.parse(record) as KeptRecord),
  }
}

async function listPids(): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  return names.filter((name) => /^\d+$/.test(name)).map(Number)
}

/** None for a process that is gone, has ended or is another user's. */
async function readArgs(pid: number): Promise<string[]> {
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return commandLine.split('\0')
}

function monitorSocketDir(arg: string): string | undefined {
  const match = /^socket,id=qmp,path=((?:[^,]|,,)*)\/qmp\.sock(?:,|$)/.exec(arg)
  return match?.[1]?.replaceAll(',,', ',')
}

function optionValue(args: readonly string[], key: string): string | undefined {
  const pattern = new RegExp(`(?:^|,)${key}=((?:[^,]|,,)*)`)
  for (const arg of args) {
    const value = pattern.exec(arg)?.[1]
    if (value !== undefined) return value.replaceAll(',,', ',')
  }
  return undefined
}

function readPorts(args: readonly string[]): RunningGuest['ports'] {
  const netdev = args.find((arg) => arg.startsWith('user,id=net0')) ?? ''
  return [...netdev.matchAll(/,hostfwd=(tcp|udp):([^:,]*):(\d+)-[^:,]*:(\d+)/g)].map(
    ([, protocol = '', bind = '', host, guest]) => ({
      protocol,
      bind,
      host: Number(host),
      guest: Number(guest),
    }),
  )
}

/** When a process was started, milliseconds since the host was (proc(5): `/proc/[pid]/stat`, field 22, in ticks of 10 ms). */
async function startedAtMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The program's name is in brackets and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[19] ?? 0) * 10
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended in between.
  }
}
