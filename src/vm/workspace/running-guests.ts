import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readSmallFile } from '../../common/files/read-small-file.js'
import { removeTree } from '../../common/files/remove-tree.js'
import { endQemu, listPids, monitorSocketDir, readArgs, readUid } from './qemu-of-folder.js'
import {
  forgetHandedOver,
  isHandedOver,
  isInScope,
  isPrivateFolder,
  KEPT_FILE,
  readKeeperLiveness,
} from './run-folder.js'

/** How long the keeper of a guest may take to remove its folder, milliseconds. Measured: 300. */
const KEEPER_MS = 5000
const RECORD_MOST_BYTES = 64 * 1024

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

/** Throws a guest away that was left running, as its keeper does when the time is up. */
export async function removeGuest({ pid, dir, socketDir }: RunningGuest): Promise<void> {
  const folders = [...new Set([socketDir, dir])]
  await endQemu(pid, folders, 'orderly')
  // The keeper sees that and removes the folders; one that was killed or stopped before does not.
  for (let waitedMs = 0; waitedMs < KEEPER_MS; waitedMs += 20) {
    if ((await readKeeperLiveness(dir)) === 'dead') break
    await sleep(20)
  }
  for (const folder of folders) {
    await removeTree(folder)
    await forgetHandedOver(folder)
  }
}

async function describe(pid: number, uptimeMs: number): Promise<RunningGuest | undefined> {
  const args = await readArgs(pid)
  const socketDir = args.map(monitorSocketDir).find((dir) => dir !== undefined)
  const log = optionValue(args, 'logfile')
  if (socketDir === undefined || log === undefined) return undefined
  const dir = dirname(log)
  if (!(await isGuestOf(pid, [socketDir, dir]))) return undefined
  const guest = optionValue(args, 'guest') ?? 'guest'
  return {
    name: guestName(guest, dir),
    guest,
    pid,
    ageMs: Math.max(0, uptimeMs - (await startedAtMs(pid))),
    ports: readPorts(args),
    dir,
    socketDir,
    kept: parseRecord(await readSmallFile(`${dir}/${KEPT_FILE}`, RECORD_MOST_BYTES)),
  }
}

/**
 * Whether a process is a guest of this user's. Any user can start a program with the arguments of a guest, and make a folder of such a
 * name: the folders have to belong to the user of the process, and that is this user, or the user to whom root gave them for `runAs`.
 */
async function isGuestOf(pid: number, folders: readonly string[]): Promise<boolean> {
  const [uid, own] = [await readUid(pid), process.geteuid?.()]
  if (uid === undefined || own === undefined || !folders.every(isInScope)) return false
  const areTheirs = await Promise.all(
    folders.map(
      async (dir) => (await isPrivateFolder(dir, [uid])) && (uid === own || (await isHandedOver(dir))),
    ),
  )
  return areTheirs.every(Boolean)
}

/** With `runAs` the file is in a folder into which a compromised QEMU can write. */
function parseRecord(text: string | undefined): KeptRecord | undefined {
  if (text === undefined) return undefined
  let record: Partial<Record<keyof KeptRecord, unknown>>
  try {
    record = Object(JSON.parse(text))
  } catch {
    return undefined
  }
  const { why, until, keeperPid, image, user, sshPort } = record
  if (typeof why !== 'string' || typeof until !== 'string' || Number.isNaN(Date.parse(until)))
    return undefined
  const isPort = Number.isInteger(sshPort) && Number(sshPort) > 0 && Number(sshPort) < 65_536
  return {
    why,
    until,
    keeperPid: Number.isSafeInteger(keeperPid) ? Number(keeperPid) : 0,
    image: typeof image === 'string' ? image : undefined,
    // A user's name that looks like an option would be one to ssh.
    user: typeof user === 'string' && /^[\w.][\w.@-]*$/.test(user) ? user : undefined,
    sshPort: isPort ? Number(sshPort) : undefined,
  }
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
