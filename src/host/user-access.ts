import { requireFiles } from '../common/host-error.js'
import { asUser, type HostUser } from '../common/process/host-user.js'

/** Access modes as in access(2): read, write, and execute (for folders: traverse). */
export type Access = 'r' | 'w' | 'x' | 'rw' | 'rx' | 'wx'

/** Returns true if a user has access to a path. Tests it as that user, so that ACLs and security modules apply. */
export async function mayUse(user: HostUser, path: string, access: Access): Promise<boolean> {
  const { execa } = await import('execa')
  const tests = [...access].flatMap((one, index) => [...(index === 0 ? [] : ['-a']), `-${one}`, path])
  const { file, args } = asUser(user, { file: 'test', args: tests })
  // The environment of this process may contain secrets, so the other user does not receive it.
  const env = { PATH: process.env.PATH }
  requireFiles()
  const { exitCode, stderr } = await execa(file, args, { reject: false, env, extendEnv: false })
  if (exitCode !== 0 && exitCode !== 1) throw new Error(`programs cannot run as ${user.name}: ${stderr}`)
  return exitCode === 0
}
