import type { HostUser } from '../common/process/host-user.js'
import { requireTool, type ToolNeed } from './tools.js'
import { mayUse } from './user-access.js'

const SETPRIV: ToolNeed = {
  program: 'setpriv',
  aptPackage: 'util-linux',
  why: 'runs QEMU as another user',
}

/** As QEMU's `-runas` has it: a user's name, or numbers. */
const NUMBERS = /^(\d+)(?::(\d+))?$/

/** Why nothing can be run as a user, as a problem with an option is told. */
export interface UserProblem {
  readonly got: string
  readonly expected: string
}

/**
 * Finds the user as whom root is to run QEMU, and makes sure that a program can be.
 *
 * @param wanted a user's name, or `uid` or `uid:gid`. With a gid the user has no other group.
 * @throws {InfrastructureError} TOOL_NOT_FOUND without setpriv.
 */
export async function findHostUser(wanted: string): Promise<HostUser | UserProblem> {
  const got = `"${wanted}"`
  if (process.platform !== 'linux')
    return { got: `${got} on ${process.platform}`, expected: 'a host with Linux, or no `runAs`' }
  if (process.geteuid?.() !== 0) {
    const expected = 'it where root starts the guest: QEMU runs as this user already, so leave `runAs` out'
    return { got: `${got} in a process that is not root's`, expected }
  }
  const found = await readUser(wanted)
  if (found === undefined) {
    const expected = NUMBERS.test(wanted) ? '`uid:gid`, or a uid that this host knows' : 'a user of this host'
    return { got: `${got}, whom this host does not know`, expected }
  }
  if (found.uid === 0) return { got: `${got}, who is root`, expected: 'another user than root' }
  const user = { ...found, name: wanted, setpriv: await requireTool(SETPRIV) }
  const refusal = await tryAs(user)
  if (refusal === undefined) return user
  const expected = 'CAP_SETUID and CAP_SETGID, which this container has taken from root'
  return { got: `${got}, as whom nothing can be run (${refusal})`, expected }
}

async function readUser(wanted: string): Promise<Omit<HostUser, 'name' | 'setpriv'> | undefined> {
  const [, uid, gid] = NUMBERS.exec(wanted) ?? []
  const entry = await readEntry(uid ?? wanted)
  const home = entry?.home || '/'
  if (uid !== undefined && gid !== undefined)
    return { uid: Number(uid), gid: Number(gid), hasGroups: false, home }
  return entry && { uid: entry.uid, gid: entry.gid, hasGroups: true, home }
}

/** What this host has of a user, from wherever it has its users (getent(1)). */
async function readEntry(user: string) {
  const { execa } = await import('execa')
  const { stdout, failed } = await execa('getent', ['passwd', '--', user], { reject: false })
  const [, , uid, gid, , home = ''] = failed ? [] : stdout.split(':')
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid), home }
}

/** Runs a program of no matter. Gives why it could not be run. */
async function tryAs(user: HostUser): Promise<string | undefined> {
  return mayUse(user, '/', 'x').then(
    () => undefined,
    (error: Error) => error.message,
  )
}
