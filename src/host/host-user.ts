import type { HostUser } from '../common/process/host-user.js'
import { requireTool, type ToolNeed } from './tools.js'
import { mayUse } from './user-access.js'

const SETPRIV: ToolNeed = {
  program: 'setpriv',
  aptPackage: 'util-linux',
  why: 'runs QEMU as another user',
}

/** Numeric form of a user, `uid` or `uid:gid`, as in `-runas` of QEMU. */
const NUMERIC = /^(\d+)(?::(\d+))?$/

/** Reason why QEMU cannot run as a user, in the form of an option problem. */
export interface UserProblem {
  readonly got: string
  readonly expected: string
}

/**
 * Finds the user that QEMU runs as when root starts it, and checks that programs can run as that
 * user.
 *
 * @param wanted user name, `uid` or `uid:gid`. With a gid the user has no supplementary groups.
 * @throws {InfrastructureError} TOOL_NOT_FOUND when setpriv is not installed.
 */
export async function findHostUser(wanted: string): Promise<HostUser | UserProblem> {
  const got = `"${wanted}"`
  if (process.platform !== 'linux')
    return { got: `${got} on ${process.platform}`, expected: 'a Linux host, or no `runAs`' }
  if (process.geteuid?.() !== 0) {
    const expected = 'a process that runs as root, or no `runAs` (QEMU already runs as the current user)'
    return { got: `${got} in a process that does not run as root`, expected }
  }
  const found = await readUser(wanted)
  if (found === undefined) {
    const expected = NUMERIC.test(wanted)
      ? '`uid:gid`, or the uid of an existing user'
      : 'an existing user of the host'
    return { got: `${got}, which does not exist on this host`, expected }
  }
  if (found.uid === 0) return { got: `${got}, which is root`, expected: 'a user other than root' }
  const user = { ...found, name: wanted, setpriv: await requireTool(SETPRIV) }
  const failure = await tryAs(user)
  if (failure === undefined) return user
  const expected = 'a process with CAP_SETUID and CAP_SETGID, which this container drops'
  return { got: `${got}, but programs cannot run as that user (${failure})`, expected }
}

async function readUser(wanted: string): Promise<Omit<HostUser, 'name' | 'setpriv'> | undefined> {
  const [, uid, gid] = NUMERIC.exec(wanted) ?? []
  const entry = await readEntry(uid ?? wanted)
  const home = entry?.home || '/'
  if (uid !== undefined && gid !== undefined)
    return { uid: Number(uid), gid: Number(gid), hasGroups: false, home }
  return entry && { uid: entry.uid, gid: entry.gid, hasGroups: true, home }
}

/** Looks up a user in the name services of this host (getent(1)). */
async function readEntry(user: string) {
  const { execa } = await import('execa')
  const { stdout, failed } = await execa('getent', ['passwd', '--', user], { reject: false })
  const [, , uid, gid, , home = ''] = failed ? [] : stdout.split(':')
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid), home }
}

/** Runs a trivial program as the user. Returns the error message if it fails. */
async function tryAs(user: HostUser): Promise<string | undefined> {
  return mayUse(user, '/', 'x').then(
    () => undefined,
    (error: Error) => error.message,
  )
}
