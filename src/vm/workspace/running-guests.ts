import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import type { Entry } from '../../budget/entry.js'
import { readLeasesOfAllPools } from '../../budget/lease-files.js'
import { readSmallFile } from '../../common/files/read-small-file.js'
import { removeTree } from '../../common/files/remove-tree.js'
import { type ProcessReference, referTo } from '../../common/locks/process-identity.js'
import { pollUntil } from '../../common/poll.js'
import { KIB } from '../../common/units.js'
import { guestNameOf } from './guest-name.js'
import { endQemu, listPids, monitorSocketDir, readArgs, readUid } from './qemu-of-folder.js'
import {
  forgetHandedOver,
  isHandedOver,
  isInScope,
  isPrivateFolder,
  KEPT_FILE,
  readKeeperLiveness,
} from './run-folder.js'

/** Time limit for the keeper to remove its folder, in milliseconds. Measured: 300. */
const KEEPER_TIMEOUT_MS = 5000
const MAX_RECORD_BYTES = 64 * KIB

/**
 * Socket on which the keeper serves the serial console of a kept guest, to one terminal at a time.
 */
export const TTY_SOCKET = 'tty.sock'
/** Socket of the keeper to which the QEMU of a kept guest connects its serial console. */
export const KEPT_CONSOLE_SOCKET = 'kept.sock'

/** Record of a guest that was left running. */
export interface KeptRecord {
  /** Summary of the failure. */
  readonly why: string
  /** Time at which the keeper stops the guest, ISO 8601. */
  readonly until: string
  readonly keeperPid: number
  readonly image?: string | undefined
  readonly user?: string | undefined
  /** Host port that is forwarded to the guest's SSH server. */
  readonly sshPort?: number | undefined
}

/**
 * Use of a running guest. `template`: it is being prepared and saved as a template. `standby`:
 * paused until the next test takes it. `kept`: left running after a failure.
 */
export type GuestUse = 'starting' | 'running' | 'template' | 'standby' | 'kept'

export interface RunningGuest {
  /** Unique on this host, such as `web-9dde26`. */
  readonly name: string
  /** Name that the test gave to the guest. */
  readonly guest: string
  /** Recipe or file name of the image; undefined if it has none or that is unknown. */
  readonly image: string | undefined
  readonly use: GuestUse
  /** Process that started the guest and still uses it; undefined if that is unknown. */
  readonly ownerPid: number | undefined
  readonly pid: number
  /** The process with that id when the guest was found. */
  readonly qemu: ProcessReference
  readonly ageMs: number
  readonly ports: ReadonlyArray<{
    readonly protocol: string
    readonly bind: string
    readonly host: number
    readonly guest: number
  }>
  readonly dir: string
  readonly socketDir: string
  /** Undefined for a guest whose test process still uses it. */
  readonly kept: KeptRecord | undefined
}

/**
 * Returns all guests of withvm on this host that this user may inspect, oldest first. They are
 * found by their processes: a list on disk could be wrong.
 */
export async function findRunningGuests(): Promise<RunningGuest[]> {
  const uptimeMs = Number((await readFile('/proc/uptime', 'utf8')).split(' ', 1)[0]) * 1000
  const leases = new Map(readLeasesOfAllPools().map((entry) => [entry.qemuPid, entry]))
  const guests = await Promise.all(
    (await listPids()).map((pid) => describeProcess(pid, { uptimeMs, lease: leases.get(pid) })),
  )
  return guests.filter((guest) => guest !== undefined).sort((a, b) => b.ageMs - a.ageMs || a.pid - b.pid)
}

/**
 * Stops a guest that was left running and removes its folders, as its keeper does when its
 * time limit expires.
 */
export async function removeGuest({ qemu, dir, socketDir }: RunningGuest): Promise<void> {
  const folders = [...new Set([socketDir, dir])]
  await endQemu(qemu, 'orderly')
  // A running keeper detects that and removes the folders. A keeper that was killed or stopped does
  // not.
  await pollUntil(async () => (await readKeeperLiveness(dir)) === 'dead' || undefined, {
    intervalMs: 20,
    timeoutMs: KEEPER_TIMEOUT_MS,
  })
  for (const folder of folders) {
    await removeTree(folder)
    await forgetHandedOver(folder)
  }
}

async function describeProcess(
  pid: number,
  { uptimeMs, lease }: { readonly uptimeMs: number; readonly lease: Entry | undefined },
): Promise<RunningGuest | undefined> {
  const qemu = referTo(pid)
  const args = await readArgs(pid)
  const socketDir = args.map(monitorSocketDir).find((dir) => dir !== undefined)
  const log = optionValue(args, 'logfile')
  if (qemu === undefined || socketDir === undefined || log === undefined) return undefined
  const dir = dirname(log)
  if (!(await isGuestOf(pid, [socketDir, dir]))) return undefined
  const guest = optionValue(args, 'guest') ?? 'guest'
  const kept = parseRecord(await readSmallFile(`${dir}/${KEPT_FILE}`, MAX_RECORD_BYTES))
  return {
    name: guestNameOf(guest, dir),
    guest,
    image: lease?.image ?? (kept?.image === undefined ? undefined : basename(kept.image)),
    use: kept === undefined ? describeUse(args, lease) : 'kept',
    ownerPid: kept === undefined ? readOwner(lease) : undefined,
    pid,
    qemu,
    ageMs: Math.max(0, uptimeMs - (await startedAtMs(pid))),
    ports: readPorts(args),
    dir,
    socketDir,
    kept,
  }
}

/** Only the RAM of a guest that becomes a template is a file that QEMU writes. */
const WRITTEN_RAM = /^memory-backend-file,.*,share=on(?:,|$)/

function describeUse(args: readonly string[], lease: Entry | undefined): Exclude<GuestUse, 'kept'> {
  if (args.some((arg) => WRITTEN_RAM.test(arg))) return 'template'
  return lease?.state === 'standby' || lease?.state === 'starting' ? lease.state : 'running'
}

function readOwner(lease: Entry | undefined): number | undefined {
  const pid = Number(lease?.holder.split('.', 1)[0])
  return pid > 0 ? pid : undefined
}

/**
 * Returns true if a process is a guest of this user. Any user can start a program with the
 * arguments of a guest and create a folder with the name of a run folder. So the folders must
 * belong to the user of the process, and that is this user, or the user to whom root gave them for
 * `runAs`.
 */
async function isGuestOf(pid: number, folders: readonly string[]): Promise<boolean> {
  const [uid, own] = [await readUid(pid), process.geteuid?.()]
  if (uid === undefined || own === undefined || !folders.every(isInScope)) return false
  const areOwned = await Promise.all(
    folders.map(
      async (dir) => (await isPrivateFolder(dir, [uid])) && (uid === own || (await isHandedOver(dir))),
    ),
  )
  return areOwned.every(Boolean)
}

/** With `runAs`, a compromised QEMU can write to the folder of this file. */
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
    // A name that looks like an option would be interpreted as one by ssh.
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

/**
 * Returns the start time of a process, milliseconds since the host booted (proc(5):
 * `/proc/[pid]/stat`, field 22, in ticks of 10 ms).
 */
async function startedAtMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The program's name is in parentheses and may contain any character.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[19] ?? 0) * 10
}
